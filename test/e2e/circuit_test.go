package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"eidgate/test/rig"
)

// TestCircuit: a BankID that answers with 503 five times in a row is not called
// any more and logins fail at once; ten seconds later one tries, and the first
// that has an answer opens the way for all.
func TestCircuit(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	begin := func(want int) {
		t.Helper()
		status, out := w.Call("POST", w.URLs["public"]+"/v2/BankIDSE/Authenticate", "application/json", "{}")
		errs, _ := out["errors"].([]any)
		if status != want || status != http.StatusOK && (len(errs) != 1 || errs[0].(map[string]any)["code"] != "RETRY") {
			t.Fatalf("begin = %d %v, want %d", status, out, want)
		}
	}
	control := func(path, body string) {
		t.Helper()
		if status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/"+path, "application/json", body); status >= 300 {
			t.Fatalf("%s: %d %v", path, status, out)
		}
	}
	is := func(when, failed, open, half string) {
		t.Helper()
		_, _, text := visit(t, http.DefaultClient, w.URLs["ops"]+"/metrics")
		for name, want := range map[string]string{
			`circuit_state{eid="bankidse",environment="test",state="open"}`:                                     open,
			`circuit_state{eid="bankidse",environment="test",state="half_open"}`:                                half,
			`request_duration_seconds_count{eid="bankidse",environment="test",operation="auth",result="error"}`: failed,
		} {
			if line := "\neidgate_upstream_" + name + " " + want + "\n"; !strings.Contains(text, line) {
				t.Errorf("%s: no line %q", when, line)
			}
		}
	}
	control("faults", `{"target":"bankidse.auth","kind":"http","value":"503","times":6}`)
	for range 5 {
		begin(http.StatusBadGateway)
	}
	is("after five failures", "5", "1", "0")
	begin(http.StatusBadGateway)
	is("without a call", "5", "1", "0")
	control("clock", `{"advance":"10s"}`)
	is("ten seconds later", "5", "0", "1")
	begin(http.StatusBadGateway)
	is("after a try", "6", "1", "0")
	begin(http.StatusBadGateway)
	control("clock", `{"advance":"10s"}`)
	begin(http.StatusOK)
	is("after an answer", "6", "0", "0")
	id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}})
	if out := w.Decide(id, "approve", "ada"); out["state"] != "finished" {
		t.Errorf("decide = %v", out)
	}
}
