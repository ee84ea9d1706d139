package oidc_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/api/oidc"
	"eidgate/relying"
)

// TestOwnTokens is about tokens that clients get for themselves. A JWT says
// itself what it is and is stored nowhere; what it says counts until it expires
// or is revoked.
func TestOwnTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jwt := w.client(func(c *relying.Client) { c.Profile = relying.Signicat })
	other := w.client()
	opaque := w.client(func(c *relying.Client) { c.Profile, c.ReferenceTokens = relying.Signicat, true })
	get := func(c *relying.Client) string {
		x := w.form("token", own, basic(c)...)
		text, _ := x.json["access_token"].(string)
		if x.status != 200 || text == "" {
			t.Fatalf("%d %s", x.status, x.body)
		}
		return text
	}
	counts := func(asks *relying.Client, text string) bool {
		t.Helper()
		x := w.form("introspect", url.Values{"token": {text}}, basic(asks)...)
		if x.status != 200 || x.json["active"] == true && (x.json["sub"] != "client:"+x.json["client_id"].(string) || x.json["exp"] == nil) {
			t.Errorf("%d %s", x.status, x.body)
		}
		return x.json["active"] == true
	}
	revoke := func(c *relying.Client, text string) {
		if x := w.form("revocation", url.Values{"token": {text}}, basic(c)...); x.status != 200 {
			t.Errorf("revocation: %d %s", x.status, x.body)
		}
	}
	text := get(jwt)
	if _, _, err := w.store.ByToken(t.Context(), oidc.Fingerprint(text), "access", w.clock.Now()); !errors.Is(err, oidc.ErrUnknown) {
		t.Errorf("a JWT is stored: %v", err)
	}
	if !counts(jwt, text) || !counts(other, text) || !counts(opaque, get(opaque)) {
		t.Error("a token does not count")
	}
	parts := strings.Split(text, ".")
	login := w.tokens(jwt, w.visitor(), "state", "x")
	for name, bad := range map[string]string{
		"another signature": parts[0] + "." + parts[1] + "." + strings.Split(get(jwt), ".")[2],
		"no signature":      parts[0] + "." + parts[1] + ".",
		"an ID token":       login["id_token"].(string),
	} {
		if counts(jwt, bad) {
			t.Errorf("%s counts", name)
		}
	}
	// That of a login is stored and ends with its grant, whatever it says itself.
	of := login["access_token"].(string)
	w.form("revocation", url.Values{"token": {of}}, basic(jwt)...)
	if counts(jwt, of) {
		t.Error("a revoked token of a login counts by its signature")
	}
	if status, _, _ := w.userinfo(text); status != 401 && status != 403 {
		t.Errorf("UserInfo answers a client's own token with %d", status)
	}
	revoke(other, text)
	if !counts(jwt, text) {
		t.Error("another client has revoked it")
	}
	again := get(jwt)
	for range 2 {
		revoke(jwt, text)
	}
	if counts(jwt, text) || !counts(jwt, again) {
		t.Error("revocation does not end that token, or ends others")
	}
	w.clock.Advance(10*time.Minute - time.Second)
	if !counts(jwt, again) {
		t.Error("it ends too early")
	}
	w.clock.Advance(time.Second)
	if counts(jwt, again) {
		t.Error("it counts at its end")
	}
}
