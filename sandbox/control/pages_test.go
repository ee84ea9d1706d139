package control_test

import (
	"net/url"
	"strings"
	"testing"
)

// submit posts a form of a page about the sandbox and shows the page again.
func (b *box) submit(page string, pairs ...string) string {
	b.t.Helper()
	f := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		f.Set(pairs[i], pairs[i+1])
	}
	res, raw := b.send("POST", page, f.Encode(), "Content-Type: application/x-www-form-urlencoded")
	if res.StatusCode != 303 || !strings.HasPrefix(res.Header.Get("Location"), page) {
		b.t.Fatalf("%v: %d %s", f, res.StatusCode, raw)
	}
	_, raw = b.send("GET", res.Header.Get("Location"), "")
	return raw
}

func TestPeoplePage(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	shows(t, b.submit("/people", "act", "add", "key", "eve", "number", "199001012385", "given", "Eve", "family", "Test", "kind", "card", "behaviour", "cancels"), "Eve Test")
	b.call(200, "GET", "/people/eve", "", `"bankid":["card"]`, `"behaviour":"cancels"`)
	shows(t, b.submit("/people", "act", "save", "key", "eve", "behaviour", "sings"), `role="alert"`, "Behaviour \"sings\" is none of normal")
	b.submit("/people", "act", "save", "key", "eve", "behaviour", "ignores")
	b.submit("/people", "act", "copy", "key", "eve")
	b.submit("/people", "act", "copy", "key", "eve")
	b.call(200, "GET", "/people/eve-3", "", `"behaviour":"ignores"`)
	b.submit("/people", "act", "remove", "key", "eve")
	b.call(404, "GET", "/people/eve", "")
	shows(t, b.submit("/people", "act", "remove", "key", "eve"), "No such person.")
	b.submit("/people", "act", "reset")
	b.call(404, "GET", "/people/eve-2", "")
	shows(t, b.submit("/people", "act", "copy", "key", "nobody"), `role="alert"`)
}

func TestQueueAndFidelityPages(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, page := b.send("GET", "/queue", "")
	shows(t, page, "Nothing waits.")
	shows(t, b.submit("/queue", "act", "add", "outcome", "bankidse/fail:certificateErr", "person", "bo"), "fail:certificateErr", `data-testid="queued"`)
	b.call(200, "GET", "/queue", "", `"outcome":"fail:certificateErr","person":"bo"`, `"eid":"bankidse"`)
	shows(t, b.submit("/queue", "act", "add", "outcome", "nemid/cancel"), `role="alert"`, "is not simulated here")
	shows(t, b.submit("/queue", "act", "add", "outcome", "idinage/fail:17"), `optgroup label="idinage agechecked"`, "fail:17")
	shows(t, b.submit("/queue", "act", "add", "outcome", "bankidse/win"), `role="alert"`)
	shows(t, b.submit("/queue", "act", "clear"), "Nothing waits.")
	b.call(200, "POST", "/faults", `{"target":"bankidse","kind":"reset"}`)
	res, page := b.send("GET", "/fidelity", "")
	shows(t, page, "not simulated", "/rp/v6.0/payment", "Fault is on:")
	if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self';") {
		t.Errorf("policy = %s", csp)
	}
}
