package server

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/circuit"
)

// metrics counts what docs/metrics.md lists. Labels come from closed sets of
// ours and from the configuration, never from what a client sends.
type metrics struct {
	registry *prometheus.Registry
	own      []prometheus.Collector // what the program adds to Go's own

	started  *prometheus.CounterVec
	ended    *prometheus.CounterVec
	took     *prometheus.HistogramVec
	requests *prometheus.HistogramVec
	upstream *prometheus.HistogramVec
	up       *prometheus.GaugeVec
	expiry   *prometheus.GaugeVec
	security *prometheus.CounterVec
	ignored  *prometheus.CounterVec
	webhooks *prometheus.CounterVec
	duties   *prometheus.CounterVec
	lists    *prometheus.CounterVec
	listAge  *prometheus.GaugeVec
	erased   prometheus.Counter
	verified prometheus.Gauge
	sealed   prometheus.Gauge
	former   prometheus.Gauge
	outbox   *outboxGauge
	circuits *circuitGauge

	mu      sync.Mutex
	failing map[[2]string]int // environment and eID → requests in a row without an answer
}

// downAfter is how many requests in a row without an answer mean that an
// upstream is down.
const downAfter = 5

func newMetrics(version string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), failing: map[[2]string]int{}}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.own = append(m.own, c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.own = append(m.own, h)
		return h
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		m.own = append(m.own, g)
		return g
	}
	gauge("eidgate_build_info", "Always 1.", "version", "goversion").WithLabelValues(version, runtime.Version()).Set(1)
	m.started = counter("eidgate_sessions_started_total", "Orders begun: the first of a session, and further tries.", "api", "eid", "environment")
	m.ended = counter("eidgate_sessions_ended_total", "Sessions that have ended.", "api", "eid", "outcome", "reason")
	m.took = histogram("eidgate_session_duration_seconds", "From creation to end.", []float64{2, 5, 10, 20, 30, 60, 120, 300, 900}, "eid", "outcome")
	m.requests = histogram("eidgate_http_request_duration_seconds", "Requests answered.", []float64{.005, .02, .05, .1, .5, 1, 5},
		"listener", "route", "method", "code")
	m.upstream = histogram("eidgate_upstream_request_duration_seconds", "Requests to an eID; result is ok, refused, timeout or error.",
		[]float64{.02, .1, .5, 1, 5, 10}, "eid", "environment", "operation", "result")
	m.up = gauge("eidgate_upstream_up", "0 after five requests in a row without an answer, 1 after the next answer.", "eid", "environment")
	m.expiry = gauge("eidgate_certificate_expiry_timestamp_seconds",
		"When a certificate ends, or the last key of a use. use is rp, or routing for the last of those of iDIN's routing service; sign or decrypt for keys that have an end. account and config are empty for the server's own.", "use", "eid", "environment", "account", "config")
	m.security = counter("eidgate_security_events_total", "What should not happen. proof_invalid: an eID's answer that does not verify; binding_mismatch: another browser than the one that began; replay: what works once came again; client_auth: a wrong key, secret or proof; cross_tenant: what belongs to another account or client; ssrf_blocked: an address inside a network was to be called; audit_failure: the audit trail was tampered with.", "kind")
	for _, kind := range []string{"proof_invalid", "binding_mismatch", "replay", "client_auth", "cross_tenant", "ssrf_blocked", "audit_failure"} {
		m.security.WithLabelValues(kind)
	}
	m.ignored = counter("eidgate_acr_values_ignored_total",
		"Keys of acr_values that had no effect on a login. kind is known for those that we have, and unknown; a session's timeline names them.", "kind")
	m.webhooks = counter("eidgate_webhook_attempts_total", "Notifications sent.", "kind", "result")
	m.duties = counter("eidgate_duties_total",
		"What was seen to after an order had ended: a final status of iDIN. result is the upstream's word for it, or given_up.", "eid", "environment", "result")
	m.lists = counter("eidgate_list_fetches_total",
		"Lists fetched from an upstream: the banks of iDIN. result is same, changed, older, empty or failed; with the last three the old list stays.", "eid", "environment", "result")
	m.listAge = gauge("eidgate_list_fetched_timestamp_seconds", "When a list was last fetched; more than 8 days ago means that it cannot be had.", "eid", "environment")
	m.erased = prometheus.NewCounter(prometheus.CounterOpts{Name: "eidgate_erasures_total", Help: "Sessions erased."})
	m.verified = prometheus.NewGauge(prometheus.GaugeOpts{Name: "eidgate_audit_verified_timestamp_seconds",
		Help: "When this node last found the audit trail whole; 0 before the first time. It looks once an hour; more than two hours ago means that the trail is not whole or cannot be read."})
	m.sealed = prometheus.NewGauge(prometheus.GaugeOpts{Name: "eidgate_audit_sealed_timestamp_seconds",
		Help: "When this node last found all sealed of the audit trail that can be, by itself or by another node; 0 before the first time. It looks once a minute; more than five minutes ago means that sealing is behind."})
	m.former = prometheus.NewGauge(prometheus.GaugeOpts{Name: "eidgate_former_master_key_values",
		Help: "How many values this node found sealed with the former master key when it last looked, a minute ago at most, and has sealed with the new one since. Once it is 0 on all nodes, keys.former_master_file can be taken away. 0 where there is none."})
	m.outbox = &outboxGauge{
		pending: prometheus.NewDesc("eidgate_outbox_pending", "Notifications that are not delivered yet, at most 10000 of them are counted. The same on every node.", nil, nil),
		late:    prometheus.NewDesc("eidgate_outbox_late_seconds", "How long the notification that was due first has waited; more than a minute means that nobody delivers. The same on every node.", nil, nil),
		given:   prometheus.NewDesc("eidgate_outbox_given_up", "Notifications that were given up within the last day and have not been put back, at most 10000 of them are counted; eidgate delivery list shows them. The same on every node.", nil, nil)}
	m.circuits = &circuitGauge{boards: map[[2]string]*circuit.Board{}, desc: prometheus.NewDesc("eidgate_upstream_circuit_state",
		"Agreements with an eID that is not called for want of answers: state is open, or half_open where the next call tries. 0 is well.", []string{"eid", "environment", "state"}, nil)}
	m.own = append(m.own, m.erased, m.verified, m.sealed, m.former, m.outbox, m.circuits)
	m.registry.MustRegister(m.own...)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch counts the requests to one eID. It is up until the contrary is seen.
func (m *metrics) watch(env eid.Environment, e eid.EID) func(operation, result string, took time.Duration) {
	up := m.up.WithLabelValues(string(e), string(env))
	up.Set(1)
	at := [2]string{string(env), string(e)}
	return func(operation, result string, took time.Duration) {
		m.upstream.WithLabelValues(string(e), string(env), operation, result).Observe(took.Seconds())
		m.mu.Lock()
		defer m.mu.Unlock()
		switch result {
		case "ok", "refused":
			m.failing[at] = 0
			up.Set(1)
		default:
			if m.failing[at]++; m.failing[at] >= downAfter {
				up.Set(0)
			}
		}
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// observe counts what the broker tells.
func (m *metrics) observe(o broker.Observation) {
	s := o.Session
	switch o.Kind {
	case "started":
		m.started.WithLabelValues(s.API, string(s.EID), string(s.Environment)).Inc()
	case "ended":
		outcome := "finished"
		if s.State == broker.Failed {
			outcome = eid.Reasons[s.Reason].Outcome
		}
		m.ended.WithLabelValues(s.API, string(s.EID), outcome, string(s.Reason)).Inc()
		m.took.WithLabelValues(string(s.EID), outcome).Observe(o.Took.Seconds())
		if s.Reason == eid.BadProof {
			m.alarm("proof_invalid")
		}
	case "binding_mismatch", "replay", "cross_tenant":
		m.alarm(o.Kind)
	case "erased":
		m.erased.Inc()
	case "collect":
		m.duties.WithLabelValues(string(s.EID), string(s.Environment), o.Result).Inc()
	case "list":
		m.lists.WithLabelValues(string(s.EID), string(s.Environment), o.Result).Inc()
		if !o.At.IsZero() {
			m.listAge.WithLabelValues(string(s.EID), string(s.Environment)).Set(float64(o.At.Unix()))
		}
	}
}

// alarm counts what should not happen; kind is one of those above.
func (m *metrics) alarm(kind string) { m.security.WithLabelValues(kind).Inc() }

// ignore counts a key of acr_values that had no effect.
func (m *metrics) ignore(known bool) {
	kind := "unknown"
	if known {
		kind = "known"
	}
	m.ignored.WithLabelValues(kind).Inc()
}

// request counts an answered request by the pattern that matched it.
func (m *metrics) request(listener string, r *http.Request, status int, took time.Duration) {
	route, method := r.Pattern, r.Method
	if route == "" {
		route = "other"
	}
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodHead, http.MethodDelete, http.MethodPatch, http.MethodPut:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(listener, route, method, strconv.Itoa(status)).Observe(took.Seconds())
}

// An outboxGauge looks into the outbox whenever it is asked. Where storage does
// not answer it shows nothing, which /readyz explains.
type outboxGauge struct {
	pending, late, given *prometheus.Desc
	backlog              func(context.Context) (pending int64, due time.Time, err error)
	givenUp              func(ctx context.Context, since time.Time) (int64, error)
	now                  func() time.Time
}

// Describe implements prometheus.Collector.
func (g *outboxGauge) Describe(to chan<- *prometheus.Desc) {
	to <- g.pending
	to <- g.late
	to <- g.given
}

// Collect implements prometheus.Collector.
func (g *outboxGauge) Collect(to chan<- prometheus.Metric) {
	if g.backlog == nil { // no storage is open yet
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	n, due, err := g.backlog(ctx)
	if err != nil {
		return
	}
	given, err := g.givenUp(ctx, g.now().Add(-24*time.Hour))
	if err != nil {
		return
	}
	late := 0.0
	if !due.IsZero() {
		late = max(0, g.now().Sub(due).Seconds())
	}
	to <- prometheus.MustNewConstMetric(g.pending, prometheus.GaugeValue, float64(n))
	to <- prometheus.MustNewConstMetric(g.late, prometheus.GaugeValue, late)
	to <- prometheus.MustNewConstMetric(g.given, prometheus.GaugeValue, float64(given))
}

// A circuitGauge counts circuits whenever it is asked.
type circuitGauge struct {
	desc   *prometheus.Desc
	boards map[[2]string]*circuit.Board // eID and environment → circuits; does not change while serving
}

// Describe implements prometheus.Collector.
func (g *circuitGauge) Describe(to chan<- *prometheus.Desc) { to <- g.desc }

// Collect implements prometheus.Collector.
func (g *circuitGauge) Collect(to chan<- prometheus.Metric) {
	for at, board := range g.boards {
		open, half := board.Count()
		to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(open), at[0], at[1], "open")
		to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(half), at[0], at[1], "half_open")
	}
}
