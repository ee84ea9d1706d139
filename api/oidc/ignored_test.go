package oidc_test

import (
	"maps"
	"testing"

	"eidgate/relying"
)

// TestIgnoredKeysAreCounted: keys of acr_values without effect are counted by
// whether they are known, and those with one are not.
func TestIgnoredKeysAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(func(c *relying.Client) { c.ACRValues = "" })
	for _, values := range []string{"idp:sbid sbid_flow:QR", "idp:sbid nosuch:1 19900101:2385 idin_idp:BANKNL2Y", "idp:nosuch"} {
		if _, to := w.visitor().authorize(request(c, "acr_values", values)); to == nil {
			t.Fatalf("%s: no login", values)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if want := map[bool]int{true: 2, false: 2}; !maps.Equal(w.ignored, want) {
		t.Errorf("counted %v, want %v", w.ignored, want)
	}
}
