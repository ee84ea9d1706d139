package oidc_test

import (
	"errors"
	"maps"
	"net/url"
	"testing"

	"eidgate/api/oidc"
	"eidgate/eid"
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

// TestWarning: what has had no effect is named to the developer of a test client,
// and in the timeline; what could be anybody's number is not.
func TestWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *oidc.Config) {
		c.Marker = func(text string) error {
			if text != "sandbox:cancel" {
				return errors.New("nobody acts on it")
			}
			return nil
		}
	})
	c := w.client(func(c *relying.Client) { c.Profile, c.Scopes = relying.Signicat, []string{"openid", "profile"} })
	live := w.client(func(c *relying.Client) { c.Profile, c.Environment = relying.Signicat, eid.Live })
	pushed := func(c *relying.Client, change ...string) url.Values {
		return w.pushed(t, c, w.form("par", request(c, change...), basic(c)...))
	}
	for _, x := range []struct {
		client                  *relying.Client
		scope, acr, hint, warns string
	}{
		{c, "openid profile", "idp:sbid", "", ""},
		{c, "openid nin spid-extra profile spid-extra", "idp:sbid nosuch:1", "", "no effect: scope nin, scope spid-extra, acr_values nosuch"},
		{c, "openid 199001012385 <b>", "idp:sbid 19900101:2385", "", "no effect: scope ?, acr_values ?"},
		{c, "openid", "idp:sbid", "sandbox:cancel", ""},
		{c, "openid", "idp:sbid", "sandbox:cancl", "no effect: login_hint ?"},
		{c, "openid", "idp:sbid", "phone:+46701234567", ""},
		{live, "openid spid", "idp:sbid", "sandbox:cancl", ""},
	} {
		change := []string{"scope", x.scope, "acr_values", x.acr, "login_hint", x.hint}
		for _, q := range []url.Values{request(x.client, change...), pushed(x.client, change...)} {
			y := w.send("GET", "authorize?"+q.Encode(), nil, nil)
			if got := y.header.Get("X-Eidgate-Warning"); got != x.warns || y.header.Get("Location") == "" {
				t.Errorf("%q %q %q: %d %q, want %q", x.scope, x.acr, x.hint, y.status, got, x.warns)
			}
		}
	}
}
