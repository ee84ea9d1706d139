package oidc_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/relying"
)

// TestSecurityEvents: what should not happen is counted by its kind, and a login
// counts nothing.
func TestSecurityEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.client(), w.client()
	public := w.client(func(c *relying.Client) { c.Auth, c.Secrets = relying.Public, nil })
	verifier := strings.Repeat("v", 43)
	f, key := w.strong(relying.FAPI2)
	d := w.dpop()
	for _, x := range []struct {
		name string
		do   func()
		want map[string]int
	}{
		{"a login", func() { w.tokens(c, w.visitor()) }, nil},
		{"a wrong secret", func() { w.form("token", redeem("code"), "Authorization", "Basic "+b64([]byte(c.ID+":wrong"))) }, map[string]int{"client_auth": 1}},
		{"an unknown client", func() { w.form("token", redeem("code", "client_id", "nobody")) }, map[string]int{"client_auth": 1}},
		{"a code twice", func() {
			form := redeem(w.code(w.visitor(), request(c)))
			w.form("token", form, basic(c)...)
			w.form("token", form, basic(c)...)
		}, map[string]int{"replay": 1}},
		{"an assertion twice", func() {
			form := asserted(request(f, "code_challenge", challenge("v"), "code_challenge_method", "S256"), jws(key, es256, w.assertion(f)))
			w.form("par", form)
			w.form("par", form)
		}, map[string]int{"replay": 1, "client_auth": 1}},
		{"a proof twice", func() {
			proof := d.proof("token")
			for range 2 {
				w.form("token", redeem(w.code(w.visitor(), request(c))), append(basic(c), "DPoP", proof)...)
			}
		}, map[string]int{"replay": 1}},
		{"a request that another client has pushed", func() {
			q := w.pushed(t, other, w.form("par", request(other), basic(other)...))
			q.Set("client_id", c.ID)
			w.visitor().authorize(q)
		}, map[string]int{"cross_tenant": 1}},
		{"another client's refresh token", func() {
			first := w.tokens(c, w.visitor(), "scope", "openid offline_access")
			w.form("token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first["refresh_token"].(string)}}, basic(other)...)
		}, map[string]int{"cross_tenant": 1}},
		{"another client's refresh token, replaced long ago", func() {
			code := w.code(w.visitor(), request(public, "scope", "openid offline_access", "code_challenge", challenge(verifier), "code_challenge_method", "S256"))
			old := w.form("token", redeem(code, "client_id", public.ID, "code_verifier", verifier)).json["refresh_token"]
			next := w.form("token", refreshed(old, "client_id", public.ID)).json["refresh_token"]
			w.clock.Advance(time.Minute)
			terr(t, w.form("token", refreshed(old), basic(other)...), "invalid_grant")
			if x := w.form("token", refreshed(next, "client_id", public.ID)); x.status != http.StatusOK || next == old { // the owner's goes on
				t.Errorf("%d %s", x.status, x.body)
			}
		}, map[string]int{"cross_tenant": 1}},
	} {
		w.mu.Lock()
		clear(w.alarms)
		w.mu.Unlock()
		x.do()
		w.mu.Lock()
		if !maps.Equal(w.alarms, x.want) {
			t.Errorf("%s: counted %v, want %v", x.name, w.alarms, x.want)
		}
		w.mu.Unlock()
	}
}
