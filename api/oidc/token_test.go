package oidc_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/eid"
	"eidgate/relying"
	"eidgate/store"
)

func TestCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.client(), w.client()
	w.in(t, "OP-TOK-01 OP-HTTP-01 OP-HTTP-02 form of the answer", func(t *testing.T) {
		x := w.form("token", redeem(w.code(w.visitor(), request(c, "scope", "profile openid offline_access"))), basic(c)...)
		if x.status != 200 || x.header.Get("Content-Type") != "application/json" || !strings.Contains(x.header.Get("Cache-Control"), "no-store") || x.header.Get("Pragma") != "no-cache" {
			t.Fatalf("%d %v", x.status, x.header)
		}
		if !strings.HasPrefix(x.body, `{"id_token":"`) || x.json["token_type"] != "Bearer" || x.json["expires_in"] != 600.0 || x.json["scope"] != "profile openid offline_access" ||
			len(x.json["access_token"].(string)) != 54 || len(x.json["refresh_token"].(string)) != 54 {
			t.Errorf("%s", x.body)
		}
	})
	w.in(t, "OP-TOK-02 oidcc-codereuse fapi2-attempt-reuse-authorization-code-after-one-second and what it gave ends", func(t *testing.T) {
		for _, wait := range []time.Duration{0, time.Second} {
			form := redeem(w.code(w.visitor(), request(c, "scope", "openid offline_access")))
			out := w.form("token", form, basic(c)...).json
			w.clock.Advance(wait)
			terr(t, w.form("token", form, basic(c)...), "invalid_grant")
			if status, _, _ := w.userinfo(out["access_token"].(string)); status != http.StatusUnauthorized {
				t.Errorf("access token: %d", status)
			}
			terr(t, w.form("token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {out["refresh_token"].(string)}}, basic(c)...), "invalid_grant")
		}
	})
	w.in(t, "OP-TOK-02 oidcc-codereuse-30seconds", func(t *testing.T) {
		form := redeem(w.code(w.visitor(), request(c)))
		out := w.form("token", form, basic(c)...).json
		w.clock.Advance(90 * time.Second) // its time is over as well
		terr(t, w.form("token", form, basic(c)...), "invalid_grant")
		if status, _, _ := w.userinfo(out["access_token"].(string)); status != http.StatusUnauthorized {
			t.Errorf("access token: %d", status)
		}
	})
	w.in(t, "OP-TOK-03 fapi2-ensure-token-endpoint-fails-with-expired-auth-code", func(t *testing.T) {
		code := w.code(w.visitor(), request(c))
		w.clock.Advance(62 * time.Second)
		terr(t, w.form("token", redeem(code), basic(c)...), "invalid_grant")
		code = w.code(w.visitor(), request(c))
		w.clock.Advance(59 * time.Second)
		if x := w.form("token", redeem(code), basic(c)...); x.status != 200 {
			t.Errorf("%s", x.body)
		}
	})
	w.in(t, "OP-TOK-03 fapi2-ensure-authorization-code-is-bound-to-client and another client does not use it up", func(t *testing.T) {
		code := w.code(w.visitor(), request(c))
		terr(t, w.form("token", redeem(code), basic(other)...), "invalid_grant")
		if x := w.form("token", redeem(code), basic(c)...); x.status != 200 {
			t.Errorf("%s", x.body)
		}
	})
	w.in(t, "OP-TOK-04 redirect_uri as it was", func(t *testing.T) {
		for _, uri := range []string{"", shop + "?shop=1", shop + "/"} {
			code := w.code(w.visitor(), request(c))
			terr(t, w.form("token", redeem(code, "redirect_uri", uri), basic(c)...), "invalid_grant")
			terr(t, w.form("token", redeem(code), basic(c)...), "invalid_grant")
		}
	})
	w.in(t, "OP-PKCE-02 OP-PKCE-04 fapi2-ensure-pkce-code-verifier-required fapi2-incorrect-pkce-code-verifier-rejected oidcc-ensure-request-with-valid-pkce-succeeds", func(t *testing.T) {
		right := strings.Repeat("v", 43)
		for _, v := range []struct {
			challenge, verifier string
			ok                  bool
		}{{challenge(right), right, true}, {challenge(right), "", false}, {challenge(right), right[1:] + "w", false}, {challenge(right), challenge(right), false},
			{challenge("short"), "short", false}, {challenge(strings.Repeat("v", 129)), strings.Repeat("v", 129), false}} {
			code := w.code(w.visitor(), request(c, "code_challenge", v.challenge, "code_challenge_method", "S256"))
			x := w.form("token", redeem(code, "code_verifier", v.verifier), basic(c)...)
			if (x.status == 200) != v.ok {
				t.Errorf("%v: %d %s", v, x.status, x.body)
			}
			if !v.ok {
				terr(t, x, "invalid_grant")
				terr(t, w.form("token", redeem(code, "code_verifier", right), basic(c)...), "invalid_grant") // it was burned
			}
		}
	})
	w.in(t, "OP-PKCE-03 OP-ATK-02 a verifier without a challenge", func(t *testing.T) {
		terr(t, w.form("token", redeem(w.code(w.visitor(), request(c)), "code_verifier", strings.Repeat("v", 43)), basic(c)...), "invalid_grant")
	})
	w.in(t, "OP-ATK-02 a code put into another login", func(t *testing.T) {
		mine, theirs := strings.Repeat("m", 43), strings.Repeat("t", 43)
		stolen := w.code(w.visitor(), request(c, "code_challenge", challenge(theirs), "code_challenge_method", "S256"))
		terr(t, w.form("token", redeem(stolen, "code_verifier", mine), basic(c)...), "invalid_grant")
	})
	w.in(t, "OP-ATK-08 a code in 50 requests at once", func(t *testing.T) {
		form := redeem(w.code(w.visitor(), request(c)))
		if got := parallel(50, func(int) bool { return w.form("token", form, basic(c)...).status == 200 }); got != 1 {
			t.Errorf("%d of 50 succeeded", got)
		}
	})
	w.in(t, "OP-ATK-08 a pushed request in 50 logins at once", func(t *testing.T) {
		q := w.pushed(t, c, w.form("par", request(c), basic(c)...))
		codes := make([]string, 50)
		parallel(50, func(i int) bool {
			status, to := w.visitor().authorize(q)
			switch {
			case to == nil && status != http.StatusBadRequest:
				t.Errorf("a page with %d", status)
			case to == nil:
			case to.Query().Get("code") == "" && to.Query().Get("error") != "invalid_request_uri":
				t.Errorf("%v", to)
			default:
				codes[i] = to.Query().Get("code")
			}
			return true
		})
		codes = slices.DeleteFunc(codes, func(s string) bool { return s == "" })
		if len(codes) != 1 {
			t.Errorf("%d codes", len(codes))
		}
	})
	w.in(t, "OP-TOK-10 grants that are not served", func(t *testing.T) {
		for grant, want := range map[string]string{"password": "unsupported_grant_type", "implicit": "unsupported_grant_type", "": "invalid_request",
			"urn:ietf:params:oauth:grant-type:device_code": "unsupported_grant_type", "AUTHORIZATION_CODE": "unsupported_grant_type"} {
			terr(t, w.form("token", url.Values{"grant_type": {grant}, "username": {"u"}, "password": {"p"}}, basic(c)...), want)
		}
		for _, grant := range []string{"authorization_code", "refresh_token"} {
			terr(t, w.form("token", url.Values{"grant_type": {grant}}, basic(c)...), "invalid_request")
		}
		public := w.client(func(c *relying.Client) { c.Auth, c.Secrets = relying.Public, nil })
		terr(t, w.form("token", withForm(own, "client_id", public.ID)), "unauthorized_client")
	})
	w.in(t, "OP-TOK-11 a client's own token has no person", func(t *testing.T) {
		x := w.form("token", withForm(own, "scope", "openid offline_access"), basic(c)...)
		if x.status != 200 || x.json["id_token"] != nil || x.json["refresh_token"] != nil || x.json["scope"] != "" {
			t.Errorf("%s", x.body)
		}
		if status, h, _ := w.userinfo(x.json["access_token"].(string)); status != http.StatusForbidden || !strings.Contains(h.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
			t.Errorf("OP-UI-06: %d %v", status, h)
		}
		i := w.form("introspect", url.Values{"token": {x.json["access_token"].(string)}}, basic(c)...)
		if i.json["active"] != true || i.json["sub"] != "client:"+c.ID {
			t.Errorf("%s", i.body)
		}
	})
	w.in(t, "OP-TOK-12 a token is found whole or not at all", func(t *testing.T) {
		token := w.tokens(c, w.visitor())["access_token"].(string)
		for _, wrong := range []string{token[:len(token)-1], token + "A", strings.ToUpper(token), token[3:], " " + token + "x"} {
			if status, _, _ := w.userinfo(wrong); status != http.StatusUnauthorized {
				t.Errorf("%q: %d", wrong, status)
			}
		}
	})
	w.in(t, "OP-TOK-12 OP-ATK-07 JWT access tokens say nothing of the person, and are no ID tokens", func(t *testing.T) {
		compat := w.client(func(c *relying.Client) { c.Profile = relying.Signicat })
		v := w.visitor()
		out := w.tokens(compat, v, "scope", "openid profile nin")
		h, got := w.verified(out["access_token"])
		if h["typ"] != "at+jwt" || h["alg"] != "ES256" || got["iss"] != issuer || got["aud"] != issuer+"/resources" || got["client_id"] != compat.ID || got["scope"] != "openid profile nin" ||
			got["jti"] == nil || got["exp"].(float64)-got["iat"].(float64) != 600 || len(got) != 8 {
			t.Errorf("%v %v", h, got)
		}
		w.denied(t, v, silent(compat, "id_token_hint", out["access_token"].(string)), "login_required")
		if status, _, who := w.userinfo(out["access_token"].(string)); status != 200 || who["nin"] != "199001012385" {
			t.Errorf("%d %v", status, who)
		}
		if status, _, _ := w.userinfo(out["id_token"].(string)); status != http.StatusUnauthorized {
			t.Errorf("an ID token as an access token: %d", status)
		}
		reference := w.client(func(c *relying.Client) { c.Profile, c.ReferenceTokens = relying.Signicat, true })
		if got := w.tokens(reference, w.visitor())["access_token"].(string); strings.Contains(got, ".") {
			t.Errorf("%s", got)
		}
		x := w.form("token", own, basic(compat)...)
		if _, got := w.verified(x.json["access_token"]); got["account_id"] != w.account.ID || got["sub"] != "client:"+compat.ID {
			t.Errorf("%v", got)
		}
	})
}

func refreshed(token any, pairs ...string) url.Values {
	text, _ := token.(string)
	return withForm(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {text}}, pairs...)
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.client(), w.client()
	public := w.client(func(c *relying.Client) { c.Auth, c.Secrets = relying.Public, nil })
	verifier := strings.Repeat("v", 43)
	// loggedIn is what a public client gets.
	loggedIn := func(header ...string) map[string]any {
		code := w.code(w.visitor(), request(public, "scope", "openid offline_access", "code_challenge", challenge(verifier), "code_challenge_method", "S256"))
		return w.form("token", redeem(code, "client_id", public.ID, "code_verifier", verifier), header...).json
	}
	w.in(t, "OP-TOK-06 oidcc-refresh-token fapi2-refresh-token of a client with a secret", func(t *testing.T) {
		first := w.tokens(c, w.visitor(), "scope", "openid profile offline_access")
		before := payload(t, first["id_token"])
		w.clock.Advance(time.Minute)
		x := w.form("token", refreshed(first["refresh_token"]), basic(c)...)
		after := payload(t, x.json["id_token"])
		if x.status != 200 || x.json["refresh_token"] != first["refresh_token"] || x.json["access_token"] == first["access_token"] || x.json["scope"] != "openid profile offline_access" {
			t.Errorf("%s", x.body)
		}
		for _, same := range []string{"sub", "iss", "aud", "auth_time", "sid"} {
			if before[same] != after[same] {
				t.Errorf("%s: %v and then %v", same, before[same], after[same])
			}
		}
		if after["nonce"] != nil || after["iat"] == before["iat"] || after["at_hash"] == before["at_hash"] {
			t.Errorf("%v", after)
		}
		terr(t, w.form("token", refreshed(first["refresh_token"]), basic(other)...), "invalid_grant")
		terr(t, w.form("token", refreshed(first["refresh_token"])), "invalid_client")
		terr(t, w.form("token", refreshed(first["refresh_token"], "client_id", c.ID)), "invalid_client")
		terr(t, w.form("token", refreshed(first["access_token"]), basic(c)...), "invalid_grant")
		if status, _, _ := w.userinfo(first["refresh_token"].(string)); status != 401 {
			t.Errorf("a refresh token at userinfo: %d", status)
		}
		w.clock.Advance(24 * time.Hour)
		terr(t, w.form("token", refreshed(first["refresh_token"]), basic(c)...), "invalid_grant")
	})
	w.in(t, "OP-TOK-06 narrower scopes, never wider", func(t *testing.T) {
		compat := w.client(func(c *relying.Client) { c.Profile = relying.Signicat })
		first := w.tokens(compat, w.visitor(), "scope", "openid profile nin offline_access")
		terr(t, w.form("token", refreshed(first["refresh_token"], "scope", "openid email"), basic(compat)...), "invalid_scope")
		x := w.form("token", refreshed(first["refresh_token"], "scope", "openid"), basic(compat)...)
		if id := payload(t, x.json["id_token"]); x.json["scope"] != "openid" || id["name"] != nil || id["sub"] == nil {
			t.Errorf("%v %v", x.json, id)
		}
		if _, _, who := w.userinfo(x.json["access_token"].(string)); who["name"] != nil || who["nin"] != nil || who["sub"] == nil {
			t.Errorf("%v", who)
		}
		x = w.form("token", refreshed(first["refresh_token"], "scope", "profile"), basic(compat)...)
		if status, _, _ := w.userinfo(x.json["access_token"].(string)); x.json["id_token"] != nil || status != http.StatusForbidden {
			t.Errorf("%v, %d", x.json, status)
		}
		x = w.form("token", refreshed(first["refresh_token"]), basic(compat)...)
		if x.json["scope"] != "openid profile nin offline_access" {
			t.Errorf("%s", x.body)
		}
	})
	w.in(t, "OP-TOK-08 a public client's token is replaced, and a lost answer repeated", func(t *testing.T) {
		first := loggedIn()["refresh_token"]
		one := w.form("token", refreshed(first, "client_id", public.ID))
		w.clock.Advance(29 * time.Second)
		again := w.form("token", refreshed(first, "client_id", public.ID))
		if one.status != 200 || again.status != 200 || one.json["refresh_token"] == first || one.json["refresh_token"] != again.json["refresh_token"] {
			t.Fatalf("%s and %s", one.body, again.body)
		}
		if x := w.form("introspect", url.Values{"token": {first.(string)}}, basic(c)...); x.status != 200 || x.body != `{"active":false}` {
			t.Errorf("the replaced one introspected: %d %s", x.status, x.body)
		}
		if x := w.form("token", refreshed(one.json["refresh_token"], "client_id", public.ID)); x.status != 200 {
			t.Errorf("the successor: %s", x.body)
		}
	})
	w.in(t, "OP-TOK-08 a token that was stolen ends the family", func(t *testing.T) {
		first := loggedIn()["refresh_token"]
		thief := w.form("token", refreshed(first, "client_id", public.ID)).json
		w.clock.Advance(31 * time.Second)
		terr(t, w.form("token", refreshed(first, "client_id", public.ID)), "invalid_grant")
		terr(t, w.form("token", refreshed(thief["refresh_token"], "client_id", public.ID)), "invalid_grant")
		if status, _, _ := w.userinfo(thief["access_token"].(string)); status != http.StatusUnauthorized {
			t.Errorf("its access token: %d", status)
		}
	})
	w.in(t, "OP-TOK-08 OP-ATK-08 fifty at once have one successor", func(t *testing.T) {
		first := loggedIn()["refresh_token"]
		got := make([]any, 50)
		if n := parallel(50, func(i int) bool {
			x := w.form("token", refreshed(first, "client_id", public.ID))
			got[i] = x.json["refresh_token"]
			return x.status == 200
		}); n != 50 {
			t.Errorf("%d of 50 got one", n)
		}
		for _, s := range got {
			if s != got[0] || s == nil {
				t.Fatalf("%v and %v", s, got[0])
			}
		}
	})
	w.in(t, "OP-TOK-08 the chain ends with the absolute life", func(t *testing.T) {
		token := loggedIn()["refresh_token"]
		for range 23 {
			w.clock.Advance(time.Hour)
			x := w.form("token", refreshed(token, "client_id", public.ID))
			if token = x.json["refresh_token"]; token == nil {
				t.Fatal(x.body)
			}
		}
		w.clock.Advance(time.Hour)
		terr(t, w.form("token", refreshed(token, "client_id", public.ID)), "invalid_grant")
	})
	w.in(t, "OP-TOK-09 keys at refresh", func(t *testing.T) {
		d, e := w.dpop(), w.dpop()
		first := loggedIn("DPoP", d.proof("token"))["refresh_token"]
		terr(t, w.form("token", refreshed(first, "client_id", public.ID)), "invalid_grant")
		terr(t, w.form("token", refreshed(first, "client_id", public.ID), "DPoP", e.proof("token")), "invalid_grant")
		for range 2 {
			x := w.form("token", refreshed(first, "client_id", public.ID), "DPoP", d.proof("token"))
			if x.status != 200 || x.json["refresh_token"] != first || x.json["token_type"] != "DPoP" {
				t.Errorf("%s", x.body)
			}
		}
		q := request(c, "scope", "openid offline_access")
		x := w.form("token", redeem(w.code(w.visitor(), q)), append(basic(c), "DPoP", d.proof("token"))...)
		x = w.form("token", refreshed(x.json["refresh_token"]), append(basic(c), "DPoP", e.proof("token"))...)
		if x.status != 200 || x.json["token_type"] != "DPoP" {
			t.Errorf("a new key of a client that proves who it is: %s", x.body)
		}
	})
	w.in(t, "OP-TOK-06 no refresh token without offline_access", func(t *testing.T) {
		if out := w.tokens(c, w.visitor()); out["refresh_token"] != nil {
			t.Errorf("%v", out)
		}
	})
}

func TestIDToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, alg := range []string{"RS256", "PS256", "ES256"} {
		w.in(t, "OP-IDT-01 OP-IDT-02 OP-IDT-03 oidcc-idtoken-signature "+alg, func(t *testing.T) {
			c := w.client(func(c *relying.Client) { c.IDTokenAlg = alg })
			out := w.tokens(c, w.visitor(), "scope", "openid profile nin")
			h, got := w.verified(out["id_token"])
			if h["alg"] != alg || len(h) != 3 || h["typ"] != "JWT" {
				t.Errorf("header %v", h)
			}
			sum := sha256.Sum256([]byte(out["access_token"].(string)))
			iat := got["iat"].(float64)
			if got["iss"] != issuer || got["aud"] != c.ID || got["nonce"] != "n1" || len(got["sub"].(string)) != 44 || int64(iat) != w.clock.Now().Unix() || got["exp"].(float64)-iat != 600 ||
				got["auth_time"] != iat || got["acr"] != "substantial" || got["azp"] != nil || len(got["sid"].(string)) != 32 || got["at_hash"] != b64(sum[:16]) {
				t.Errorf("%v", got)
			}
			if amr, ok := got["amr"].([]any); !ok || len(amr) != 1 {
				t.Errorf("amr %v", got["amr"])
			}
		})
	}
	w.in(t, "OP-IDT-03 at_hash of EdDSA", func(t *testing.T) {
		c := w.client(func(c *relying.Client) { c.IDTokenAlg = "EdDSA" })
		out := w.tokens(c, w.visitor())
		sum := sha512.Sum512([]byte(out["access_token"].(string)))
		if got := payload(t, out["id_token"])["at_hash"]; got != b64(sum[:32]) {
			t.Errorf("%v", got)
		}
	})
	w.in(t, "OP-IDT-04 oidcc-server nothing but what a plain ID token has", func(t *testing.T) {
		got := payload(t, w.tokens(w.client(), w.visitor(), "scope", "openid profile nin idp-id")["id_token"])
		for name := range got {
			if !slices.Contains([]string{"iss", "nbf", "iat", "exp", "aud", "amr", "nonce", "at_hash", "sid", "sub", "auth_time", "acr"}, name) {
				t.Errorf("has %s", name)
			}
		}
	})
	w.in(t, "OP-IDT-04 three settings of what is told of the person", func(t *testing.T) {
		for setting, want := range map[relying.UserData][2]bool{relying.Minimal: {false, false}, relying.StandardScopes: {true, false}, relying.All: {true, true}} {
			c := w.client(func(c *relying.Client) { c.Profile, c.UserData = relying.Signicat, setting })
			got := payload(t, w.tokens(c, w.visitor(), "scope", "openid profile nin")["id_token"])
			if (got["name"] != nil) != want[0] || (got["nin"] != nil) != want[1] {
				t.Errorf("%s: %v", setting, got)
			}
		}
	})
	w.in(t, "oidcc-claims-essential fapi2-test-claims-parameter-identity-claims", func(t *testing.T) {
		c := w.client()
		out := w.tokens(c, w.visitor(), "scope", "openid", "claims", `{"userinfo":{"name":{"essential":true},"unknown":null},"id_token":{"birthdate":null,"unknown":{"essential":true}}}`)
		id := payload(t, out["id_token"])
		_, _, who := w.userinfo(out["access_token"].(string))
		if id["name"] != nil || id["birthdate"] != "1990-01-01" || who["name"] != "Ada Test" || who["birthdate"] != nil || who["unknown"] != nil {
			t.Errorf("%v %v", id, who)
		}
		narrow := w.client(func(c *relying.Client) { c.Scopes = []string{"openid", "profile"} })
		out = w.tokens(narrow, w.visitor(), "claims", `{"userinfo":{"nin":{"essential":true}},"id_token":{"nin":null}}`)
		_, _, who = w.userinfo(out["access_token"].(string))
		if who["nin"] != nil || payload(t, out["id_token"])["nin"] != nil {
			t.Errorf("a claim that the client may not have: %v", who)
		}
	})
	w.in(t, "OP-IDT-06 encrypted", func(t *testing.T) {
		key := foreign()[0]
		c := w.client(func(c *relying.Client) {
			c.JWKS, c.IDTokenEnc, c.EncryptIDToken = jwks("enc", key), relying.Encryption{Alg: "RSA-OAEP-256"}, true
		})
		h, inner := opened(t, key, w.tokens(c, w.visitor())["id_token"].(string))
		if _, got := w.verified(inner); h["kid"] != "enc" || h["cty"] != "JWT" || h["enc"] != "A256GCM" || got["aud"] != c.ID {
			t.Errorf("%v %v", h, got)
		}
	})
	w.in(t, "OP-IDT-07 a sub for each account and eID, and imported ones", func(t *testing.T) {
		a := w.client()
		first := payload(t, w.tokens(a, w.visitor())["id_token"])["sub"]
		if got := payload(t, w.tokens(w.client(), w.visitor())["id_token"])["sub"]; got != first {
			t.Errorf("another client of the account: %v", got)
		}
		w.eids[eid.IDIN].as("199001012385", func() {
			if got := payload(t, w.tokens(a, w.visitor(), "acr_values", "idp:idin")["id_token"])["sub"]; got == first {
				t.Error("two eIDs made one sub")
			}
		})
		raw, err := base64.URLEncoding.DecodeString(first.(string))
		if err != nil || len(raw) != 32 {
			t.Errorf("%v: %v", first, err)
		}
		if err := w.store.PutSubjects(t.Context(), w.account.ID, store.Subject{IDP: "sbid", Person: "199001012385", Sub: "sub-before"}); err != nil {
			t.Fatal(err)
		}
		if got := payload(t, w.tokens(a, w.visitor())["id_token"])["sub"]; got != "sub-before" {
			t.Errorf("%v", got)
		}
	})
}
