package idin_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/connectortest"
	cidin "eidgate/connector/idin"
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
	s := newService(t)
	wire := func(h http.HandlerFunc) func() func() {
		return func() func() { s.broken.Store(&h); return func() { s.broken.Store(nil) } }
	}
	result := func(kind string) func() func() {
		return func() func() {
			s.faults.Add(sandbox.Fault{Target: "idin.result", Kind: kind})
			return s.faults.Clear
		}
	}
	var ref connector.Ref
	return &connectortest.Bench{
		New:     func() connector.Connector { return cidin.New(s.clock.Now) },
		Request: func() *connector.Request { r := s.request; return &r },
		Act: func(end string, shown connector.Result) connector.Event {
			if len(shown.Refs) > 0 {
				ref = shown.Refs[0]
			}
			if end == "" {
				end = "approve"
			}
			switch shown.Step.(type) {
			case connector.Redirect:
				_, _ = s.Do(string(ref), sandbox.Act{Event: end, Person: "vries"}) // it may have ended
				if end == "expire" {
					s.clock.Advance(6 * time.Minute)
				}
				return s.back(t, ref)
			}
			s.clock.Advance(6 * time.Minute)
			return connector.Tick{}
		},
		Calls:  func() int { return int(s.calls.Load()) },
		Person: "",
		Ends:   map[string]eid.Reason{"cancel": eid.Cancelled, "expire": eid.Expired, "decline": eid.Declined},
		Faults: map[string]func() func(){
			"hangs up": wire(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
			"garbage":  wire(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }),
			"empty":    wire(func(http.ResponseWriter, *http.Request) {}),
			"500":      wire(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }),
			"forged":   result("bad_signature"), "wrong recipient": result("wrong_recipient"),
		},
		Private: []string{"Vries", "19750725", "1975", "Pascalstreet"},
	}
}
