package server

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"eidgate/broker"
	"eidgate/eid"
)

// metrics counts what docs/metrics.md lists. Labels come from closed sets of
// ours, never from what a client sends.
type metrics struct {
	registry *prometheus.Registry
	started  *prometheus.CounterVec
	ended    *prometheus.CounterVec
	took     *prometheus.HistogramVec
	requests *prometheus.HistogramVec
	upstream *prometheus.HistogramVec
	security *prometheus.CounterVec
	webhooks *prometheus.CounterVec
	erased   prometheus.Counter
}

func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		started: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "eidgate_sessions_started_total",
			Help: "Sessions whose first order was begun."}, []string{"api", "eid", "environment"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "eidgate_sessions_ended_total",
			Help: "Sessions that have ended."}, []string{"api", "eid", "outcome", "reason"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "eidgate_session_duration_seconds",
			Help: "From creation to end.", Buckets: []float64{2, 5, 10, 20, 30, 60, 120, 300, 900}}, []string{"eid", "outcome"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "eidgate_http_request_duration_seconds",
			Help: "Requests answered.", Buckets: []float64{.005, .02, .05, .1, .5, 1, 5}}, []string{"listener", "route", "method", "code"}),
		upstream: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "eidgate_upstream_request_duration_seconds",
			Help: "Calls of connectors.", Buckets: []float64{.02, .1, .5, 1, 5, 10}}, []string{"eid", "result"}),
		security: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "eidgate_security_events_total",
			Help: "What should not happen."}, []string{"kind"}),
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "eidgate_webhook_attempts_total",
			Help: "Notifications sent."}, []string{"kind", "result"}),
		erased: prometheus.NewCounter(prometheus.CounterOpts{Name: "eidgate_erasures_total", Help: "Sessions erased."}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "eidgate_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}})
	info.Set(1)
	m.registry.MustRegister(m.started, m.ended, m.took, m.requests, m.upstream, m.security, m.webhooks, m.erased, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
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
			m.security.WithLabelValues("proof_invalid").Inc()
		}
	case "upstream":
		m.upstream.WithLabelValues(string(s.EID), o.Result).Observe(o.Took.Seconds())
	case "binding_mismatch":
		m.security.WithLabelValues(o.Kind).Inc()
	case "erased":
		m.erased.Inc()
	}
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
