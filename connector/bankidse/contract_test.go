package bankidse_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/bankidse"
	"eidgate/connector/connectortest"
	"eidgate/eid"
	"eidgate/sandbox"
)

// TestContract runs the connector through everything that every connector must
// keep.
func TestContract(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, newBench)
}

func newBench(t *testing.T) *connectortest.Bench {
	s := newService(t, sandbox.Ignore)
	var broken atomic.Pointer[http.HandlerFunc]
	s.wire.set(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h := broken.Load(); h != nil {
				(*h)(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	wire := func(h http.HandlerFunc) func() func() {
		return func() func() { broken.Store(&h); return func() { broken.Store(nil) } }
	}
	result := func(kind string) func() func() {
		return func() func() {
			s.faults.Add(sandbox.Fault{Target: "bankidse.result", Kind: kind})
			return s.faults.Clear
		}
	}
	var ref connector.Ref
	return &connectortest.Bench{
		New:     func() connector.Connector { return bankidse.New(s.clock.Now) },
		Request: func() *connector.Request { s.Clear(); r := s.request; return &r },
		Act: func(end string, shown connector.Result) connector.Event {
			if len(shown.Refs) > 0 {
				ref = shown.Refs[0]
			}
			if end == "" {
				end = "approve"
			}
			if o, err := s.Order(string(ref)); err == nil && o.State == "outstanding" {
				end = "open"
			}
			_, _ = s.Event(string(ref), end, "ada") // it may have ended
			s.clock.Advance(2 * time.Second)
			return connector.Tick{}
		},
		Calls:  s.wire.asked,
		Person: "199001012385",
		Ends: map[string]eid.Reason{"cancel": eid.Cancelled, "fail:certificateErr": eid.Unusable, "fail:notSupportedByUserApp": eid.AppTooOld,
			"fail:transactionRiskBlocked": eid.RiskBlocked, "fail:facialRecognitionFailed": eid.DocumentFailed, "fail:somethingNew": eid.Declined,
			"expire": eid.Expired},
		Faults: map[string]func() func(){
			"hangs up": wire(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
			"garbage":  wire(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }),
			"empty":    wire(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }),
			"500":      wire(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }),
			"403":      wire(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }),
			"forged":   result("bad_signature"), "truncated": result("truncate"), "another's answer": result("replay"),
		},
		Private: []string{"199001012385", "Ada", "Test,"},
	}
}
