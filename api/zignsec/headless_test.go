package zignsec

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

// TestCollect: what cannot be read counts as collected by nobody, and of two that
// read it at the same time one is told it. The audit trail has what was told.
func TestCollect(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		call := func(method, path string) string {
			r := httptest.NewRequest(method, public+path, http.NoBody)
			r.Header.Set("Authorization", "11111111-1111-4111-8111-111111111111")
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)
			return rec.Body.String()
		}
		call("POST", "/v2/bankidse/authenticate")
		call("POST", "/-/bankid?ref=0de70000-0000-4000-8000-000000000001&complete=1")
		collect := func() string {
			return call("GET", "/v2/bankidse/collect?orderRef=0de70000-0000-4000-8000-000000000001")
		}
		w.proofs = func() error { return errors.New("the disk is broken") }
		if got := collect(); !strings.Contains(got, "Internal Exception") || w.told.Load() != 0 {
			t.Errorf("unread: %s, told %d times", got, w.told.Load())
		}
		both := make(chan bool)
		w.proofs = func() error { <-both; return nil }
		answers := make(chan string, 2)
		for range cap(answers) {
			go func() { answers <- collect() }()
		}
		synctest.Wait() // both are about to read
		close(both)
		all := <-answers + <-answers
		if strings.Count(all, `"progressStatus":"COMPLETE"`) != 1 || strings.Count(all, "ALREADY_COLLECTED") != 1 || w.told.Load() != 1 {
			t.Errorf("at the same time: %s, told %d times", all, w.told.Load())
		}
		if got := collect(); !strings.Contains(got, "ALREADY_COLLECTED") || w.told.Load() != 1 {
			t.Errorf("again: %s, told %d times", got, w.told.Load())
		}
	})
}
