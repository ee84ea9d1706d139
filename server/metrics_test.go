package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/golden"
)

var (
	descText = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "([^"]*)", unit: "", constLabels: \{\}, variableLabels: \{([^}]*)\}\}$`)
	nameText = regexp.MustCompile(`^eidgate_[a-z_]+$`)
)

// TestMetricsManual renders what is registered to docs/metrics.md.
func TestMetricsManual(t *testing.T) {
	t.Parallel()
	var rows []string
	for _, c := range newMetrics("test").own {
		kind := ""
		switch c.(type) {
		case *prometheus.GaugeVec, *outboxGauge, *circuitGauge, prometheus.Gauge: // a Gauge has all that a Counter has
			kind = "gauge"
		case *prometheus.CounterVec, prometheus.Counter:
			kind = "counter"
		case *prometheus.HistogramVec:
			kind = "histogram"
		}
		ch := make(chan *prometheus.Desc, 4)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			f := descText.FindStringSubmatch(d.String())
			if f == nil || kind == "" {
				t.Fatalf("cannot describe %T: %s", c, d)
			}
			if !nameText.MatchString(f[1]) || kind == "counter" != strings.HasSuffix(f[1], "_total") || kind == "histogram" && !strings.HasSuffix(f[1], "_seconds") {
				t.Errorf("%s: a %s is not called so", f[1], kind)
			}
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", f[1], kind, strings.ReplaceAll(f[3], ",", ", "), f[2]))
		}
	}
	slices.Sort(rows)
	golden.File(t, "../docs/metrics.md", []byte(`# Metrics

The operations listener answers `+"`GET /metrics`"+` in the text format of Prometheus. Besides these there are the usual
`+"`go_…` and `process_…`"+`. This page is made by a test of package server from what is registered. No label has an id of a session,
a host of a relying party, or anything about a person.

| Name | Type | Labels | Meaning |
|---|---|---|---|
`+strings.Join(rows, "")))
}

// scrape reads one value; "" if there is no such line.
func scrape(t *testing.T, m *metrics, line string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for l := range strings.Lines(rec.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(l), line+" "); ok {
			return value
		}
	}
	return ""
}

func TestUpstreamIsDownAfterSilence(t *testing.T) {
	t.Parallel()
	m := newMetrics("test")
	watch := m.watch(eid.Live, eid.BankIDSE)
	const line = `eidgate_upstream_up{eid="bankidse",environment="live"}`
	for i, step := range []struct{ result, want string }{
		{"ok", "1"}, {"error", "1"}, {"timeout", "1"}, {"error", "1"}, {"error", "1"}, {"timeout", "0"}, {"error", "0"}, {"refused", "1"}, {"error", "1"},
	} {
		watch("collect", step.result, time.Millisecond)
		if got := scrape(t, m, line); got != step.want {
			t.Errorf("after %d, %s: up = %q, want %s", i, step.result, got, step.want)
		}
	}
	if got := scrape(t, m, `eidgate_upstream_request_duration_seconds_count{eid="bankidse",environment="live",operation="collect",result="error"}`); got != "5" {
		t.Errorf("errors counted: %q", got)
	}
}

// TestCircuits: circuits that open and close are counted, and the log names the
// eID and its host, and nothing of a request.
func TestCircuits(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &core{metrics: newMetrics("test"), now: func() time.Time { return now }, log: slog.New(slog.NewTextHandler(&log, nil))}
	status := http.StatusServiceUnavailable
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer srv.Close()
	client := &http.Client{Transport: c.circuits(eid.Live, eid.BankIDSE).Guard(http.DefaultTransport)}
	is := func(when, open, half string) {
		t.Helper()
		for state, want := range map[string]string{"open": open, "half_open": half} {
			if got := scrape(t, c.metrics, `eidgate_upstream_circuit_state{eid="bankidse",environment="live",state="`+state+`"}`); got != want {
				t.Errorf("%s: %s = %q, want %s", when, state, got, want)
			}
		}
	}
	call := func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/rp?number=199001012385", nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := client.Do(req); err == nil { // while the circuit is open there is none
			_ = res.Body.Close()
		}
	}
	is("at first", "0", "0")
	for range 5 {
		call()
	}
	is("after silence", "1", "0")
	now = now.Add(10 * time.Second)
	is("later", "0", "1")
	status = http.StatusOK
	call()
	is("after an answer", "0", "0")
	host := strings.TrimPrefix(srv.URL, "http://")
	for _, line := range []string{`level=WARN msg="an upstream does not answer: calls are kept back" eid=bankidse environment=live host=` + host,
		`level=INFO msg="an upstream answers again" eid=bankidse environment=live host=` + host} {
		if strings.Count(log.String(), line+"\n") != 1 {
			t.Errorf("the log has no line %q:\n%s", line, &log)
		}
	}
	if strings.Contains(log.String(), "199001012385") {
		t.Error("the log holds what was sent")
	}
}

// TestMetricsOfALogin holds what a login that fails leaves in the counters.
func TestMetricsOfALogin(t *testing.T) {
	t.Parallel()
	m := newMetrics("test")
	s := &broker.Session{ID: "9f2c41d8-0000-4000-8000-000000000001", API: "zignsec", EID: eid.BankIDSE, Environment: eid.Test, State: broker.Failed, Reason: eid.BadProof}
	for _, kind := range []string{"created", "started", "ended", "binding_mismatch", "erased"} {
		m.observe(broker.Observation{Kind: kind, Session: s, Took: 3 * time.Second})
	}
	for line, want := range map[string]string{
		`eidgate_sessions_started_total{api="zignsec",eid="bankidse",environment="test"}`:                                                                      "1",
		`eidgate_sessions_ended_total{api="zignsec",eid="bankidse",outcome="` + eid.Reasons[eid.BadProof].Outcome + `",reason="` + string(eid.BadProof) + `"}`: "1",
		`eidgate_session_duration_seconds_sum{eid="bankidse",outcome="failed"}`:                                                                                "3",
		`eidgate_security_events_total{kind="proof_invalid"}`:                                                                                                  "1",
		`eidgate_security_events_total{kind="binding_mismatch"}`:                                                                                               "1",
		`eidgate_erasures_total`: "1",
	} {
		if got := scrape(t, m, line); got != want {
			t.Errorf("%s = %q, want %s", line, got, want)
		}
	}
	rec := httptest.NewRecorder()
	m.handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if strings.Contains(rec.Body.String(), s.ID) {
		t.Error("a session's id is a label")
	}
}

// TestIgnoredKeys: what a client sends is no label.
func TestIgnoredKeys(t *testing.T) {
	t.Parallel()
	m := newMetrics("test")
	for _, known := range []bool{true, false, false} {
		m.ignore(known)
	}
	for line, want := range map[string]string{`eidgate_acr_values_ignored_total{kind="known"}`: "1", `eidgate_acr_values_ignored_total{kind="unknown"}`: "2"} {
		if got := scrape(t, m, line); got != want {
			t.Errorf("%s = %q, want %s", line, got, want)
		}
	}
}

// TestOutboxGauge: what waits is counted when somebody asks, and a storage that
// does not answer takes nothing else away.
func TestOutboxGauge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := newMetrics("test")
	m.outbox.now = func() time.Time { return now }
	for name, c := range map[string]struct {
		pending int64
		due     time.Time
		err     error
		lines   [3]string
	}{
		"nothing":   {0, time.Time{}, nil, [3]string{"eidgate_outbox_pending 0", "eidgate_outbox_late_seconds 0", "eidgate_outbox_given_up 0"}},
		"late":      {7, now.Add(-90 * time.Second), nil, [3]string{"eidgate_outbox_pending 7", "eidgate_outbox_late_seconds 90", "eidgate_outbox_given_up 7"}},
		"not due":   {1, now.Add(time.Hour), nil, [3]string{"eidgate_outbox_pending 1", "eidgate_outbox_late_seconds 0", "eidgate_outbox_given_up 1"}},
		"no answer": {0, time.Time{}, errors.New("away"), [3]string{"", "", ""}},
	} {
		m.outbox.givenUp = func(_ context.Context, since time.Time) (int64, error) {
			if !since.Equal(now.Add(-24 * time.Hour)) {
				t.Errorf("%s: counted since %s", name, since)
			}
			return c.pending, nil
		}
		m.outbox.backlog = func(context.Context) (int64, time.Time, error) { return c.pending, c.due, c.err }
		for i, line := range []string{"eidgate_outbox_pending", "eidgate_outbox_late_seconds", "eidgate_outbox_given_up"} {
			if got := scrape(t, m, line); got != strings.TrimPrefix(c.lines[i], line+" ") {
				t.Errorf("%s: %s is %q, want %q", name, line, got, c.lines[i])
			}
		}
		if scrape(t, m, "eidgate_erasures_total") == "" {
			t.Errorf("%s: the rest is gone", name)
		}
	}
}
