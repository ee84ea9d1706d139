package oidc_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// recorded is what the audit trail has of a session beside its login, in order.
func (w *world) recorded(session string) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.trail {
		if text, ok := strings.CutPrefix(line, session+" "); ok {
			out = append(out, text)
		}
	}
	return out
}

// TestTrail: the audit trail has whatever is given out of a login after it, and
// how that ended.
func TestTrail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.client(), w.client()
	for name, v := range map[string]struct {
		do   func(v *visitor, out map[string]any, code string)
		want []string
	}{
		"new tokens": {func(_ *visitor, out map[string]any, _ string) {
			w.form("token", refreshed(out["refresh_token"]), basic(c)...)
		}, []string{"rp:client " + c.ID + " token.refresh ok"}},
		"none for another client": {func(_ *visitor, out map[string]any, _ string) {
			w.form("token", refreshed(out["refresh_token"]), basic(other)...)
			w.form("revocation", url.Values{"token": {out["refresh_token"].(string)}}, basic(other)...)
			w.form("revocation", url.Values{"token": {out["access_token"].(string)}}, basic(other)...)
		}, nil},
		"the client ends its access token": {func(_ *visitor, out map[string]any, _ string) {
			for range 2 { // the second time there is nothing left to end
				w.form("revocation", url.Values{"token": {out["access_token"].(string)}}, basic(c)...)
			}
		}, []string{"rp:client " + c.ID + " token.revoke ok"}},
		"and all of them": {func(_ *visitor, out map[string]any, _ string) {
			for range 2 {
				w.form("revocation", url.Values{"token": {out["refresh_token"].(string)}}, basic(c)...)
			}
		}, []string{"rp:client " + c.ID + " token.revoke ok"}},
		"a code that comes again": {func(_ *visitor, _ map[string]any, code string) {
			for range 2 {
				terr(t, w.form("token", redeem(code), basic(c)...), "invalid_grant")
			}
		}, []string{"rp:client " + c.ID + " token.revoke replay"}},
		"the person logs out": {func(v *visitor, out map[string]any, _ string) {
			for range 3 { // after the first time there is nothing left to end
				v.end(url.Values{"id_token_hint": {out["id_token"].(string)}})
			}
		}, []string{"person login.end ok"}},
	} {
		visitor := w.visitor()
		code := w.code(visitor, request(c, "scope", "openid profile offline_access"))
		x := w.form("token", redeem(code), basic(c)...)
		if x.json["refresh_token"] == nil {
			t.Fatalf("%s: %s", name, x.body)
		}
		v.do(visitor, x.json, code)
		session := strings.TrimSuffix(strings.TrimPrefix(visitor.seen[0], "/auth/open/login/"), "/")
		if got := w.recorded(session); !slices.Equal(got, v.want) {
			t.Errorf("%s: %q, want %q", name, got, v.want)
		}
	}
}
