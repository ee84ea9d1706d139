package oidc_test

import (
	"net/http"
	"net/url"
	"testing"

	"eidgate/eid"
	"eidgate/relying"
)

// TestClientChanges holds that nothing which a client has from before a change
// crosses environments, or leads where it may not go any more.
func TestClientChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	change := func(c *relying.Client, f func(*relying.Client)) {
		w.t.Helper()
		next := *c
		f(&next)
		if err := w.store.PutClient(w.t.Context(), &next); err != nil {
			w.t.Fatal(err)
		}
	}
	w.in(t, "OP-ATK-11 what a client had for tests is nothing once it is live", func(t *testing.T) {
		c := w.client()
		v := w.visitor()
		out := w.tokens(c, v, "scope", "openid profile offline_access")
		code := w.code(v, silent(c))
		change(c, func(c *relying.Client) { c.Environment = eid.Live })
		terr(t, w.form("token", refreshed(out["refresh_token"]), basic(c)...), "invalid_grant")
		terr(t, w.form("token", redeem(code), basic(c)...), "invalid_grant")
		if status, _, _ := w.userinfo(out["access_token"].(string)); status != http.StatusUnauthorized {
			t.Errorf("userinfo: %d", status)
		}
		for _, name := range []string{"access_token", "refresh_token"} {
			if x := w.form("introspect", url.Values{"token": {out[name].(string)}}, basic(c)...); x.body != `{"active":false}` {
				t.Errorf("%s: %s", name, x.body)
			}
		}
	})
	w.in(t, "OP-TOK-06 a scope that was taken away tells nothing more", func(t *testing.T) {
		c := w.client()
		out := w.tokens(c, w.visitor(), "scope", "openid profile nin offline_access")
		of := func(token any) map[string]any {
			_, _, who := w.userinfo(token.(string))
			return who
		}
		change(c, func(c *relying.Client) { c.Scopes = []string{"openid", "profile", "offline_access"} })
		x := w.form("token", refreshed(out["refresh_token"]), basic(c)...)
		if x.json["scope"] != "openid profile offline_access" {
			t.Errorf("refreshed: %s", x.body)
		}
		for _, token := range []any{out["access_token"], x.json["access_token"]} {
			if who := of(token); who["nin"] != nil || who["name"] == nil {
				t.Errorf("userinfo: %v", who)
			}
		}
		if x := w.form("introspect", url.Values{"token": {out["access_token"].(string)}}, basic(c)...); x.json["active"] != true || x.json["scope"] != "openid profile offline_access" {
			t.Errorf("introspected: %s", x.body)
		}
		change(c, func(c *relying.Client) { c.Scopes = []string{"openid", "profile"} })
		terr(t, w.form("token", refreshed(out["refresh_token"]), basic(c)...), "invalid_grant")
	})
	w.in(t, "OP-TOK-06 nor does a login that ends after that", func(t *testing.T) {
		c := w.client(func(c *relying.Client) { c.UserData = relying.All })
		code := w.code(w.visitor(), request(c, "scope", "openid profile nin offline_access"))
		change(c, func(c *relying.Client) { c.Scopes = []string{"openid", "profile"} })
		x := w.form("token", redeem(code), basic(c)...)
		if who := payload(t, x.json["id_token"]); x.json["scope"] != "openid profile" || x.json["refresh_token"] != nil || who["nin"] != nil || who["name"] == nil {
			t.Errorf("%s: %v", x.body, who)
		}
	})
	w.in(t, "tokens of a client that is gone count no more", func(t *testing.T) {
		c, other := w.client(), w.client()
		token := w.tokens(c, w.visitor())["access_token"].(string)
		if err := w.store.KeepClients(t.Context(), w.account.ID, []string{other.ID}); err != nil {
			t.Fatal(err)
		}
		if status, _, _ := w.userinfo(token); status != http.StatusUnauthorized {
			t.Errorf("userinfo: %d", status)
		}
		if x := w.form("introspect", url.Values{"token": {token}}, basic(other)...); x.body != `{"active":false}` {
			t.Errorf("introspected: %s", x.body)
		}
	})
	w.in(t, "OP-ATK-04 a pushed request does not lead to an address that was taken away", func(t *testing.T) {
		c := w.client()
		v := w.visitor()
		w.tokens(c, v)
		q := w.pushed(t, c, w.form("par", request(c), basic(c)...))
		change(c, func(c *relying.Client) { c.Redirects = []string{"https://shop.example/new"} })
		w.refused(t, v, q, "invalid_request")
	})
}
