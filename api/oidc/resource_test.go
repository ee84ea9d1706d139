package oidc_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/language"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/relying"
)

func TestUserInfo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	out := w.tokens(c, w.visitor())
	token := out["access_token"].(string)
	sub := payload(t, out["id_token"])["sub"]
	bearer := http.Header{"Authorization": {"Bearer " + token}}
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for name, x := range map[string]exchange{
		"OP-UI-01 oidcc-userinfo-get":         w.send("GET", "userinfo", bearer, nil),
		"OP-UI-01 oidcc-userinfo-post-header": w.send("POST", "userinfo", bearer, nil),
		"OP-UI-01 oidcc-userinfo-post-body":   w.form("userinfo", url.Values{"access_token": {token}}),
		"OP-UI-08 whatever Accept says":       w.send("GET", "userinfo", http.Header{"Authorization": bearer["Authorization"], "Accept": {"text/html, image/*;q=0.1"}}, nil),
	} {
		w.in(t, name, func(t *testing.T) {
			if x.status != 200 || x.header.Get("Content-Type") != "application/json" || !strings.Contains(x.header.Get("Cache-Control"), "no-store") || x.header.Get("Date") == "" ||
				x.json["sub"] != sub || x.json["name"] != "Ada Test" || x.json["birthdate"] != "1990-01-01" {
				t.Errorf("OP-UI-02 OP-UI-03: %d %s", x.status, x.body)
			}
			for name, v := range x.json {
				if v == nil || v == "" || v == "null" {
					t.Errorf("%s is %v", name, v)
				}
			}
		})
	}
	ours := w.tokens(c, w.visitor())
	expired := ours["access_token"].(string)
	for name, x := range map[string]exchange{
		"no token":              w.send("GET", "userinfo", nil, nil),
		"nonsense":              w.send("GET", "userinfo", http.Header{"Authorization": {"Bearer x"}}, nil),
		"another scheme":        w.send("GET", "userinfo", http.Header{"Authorization": {"Basic " + token}}, nil),
		"two headers":           w.send("GET", "userinfo", http.Header{"Authorization": {"Bearer " + token, "Bearer " + token}}, nil),
		"in the address":        w.send("GET", "userinfo?access_token="+token, nil, nil),
		"posted in the address": w.send("POST", "userinfo?access_token="+token, form, nil),
		"in a form by GET":      w.send("GET", "userinfo", form, strings.NewReader("access_token="+token)),
		"as JSON":               w.send("POST", "userinfo", http.Header{"Content-Type": {"application/json"}}, strings.NewReader(`{"access_token":"`+token+`"}`)),
		"twice in a form":       w.send("POST", "userinfo", form, strings.NewReader("access_token="+token+"&access_token="+token)),
		"an ID token":           w.send("GET", "userinfo", http.Header{"Authorization": {"Bearer " + out["id_token"].(string)}}, nil),
	} {
		w.in(t, "OP-UI-06 OP-HTTP-12 "+name, func(t *testing.T) {
			if x.status != 401 || x.body != "" || !strings.HasPrefix(x.header.Get("WWW-Authenticate"), "Bearer realm=") {
				t.Errorf("%d %q %s", x.status, x.body, x.header.Get("WWW-Authenticate"))
			}
		})
	}
	w.in(t, "OP-UI-06 expired", func(t *testing.T) {
		w.clock.Advance(10*time.Minute + time.Second)
		if status, h, _ := w.userinfo(expired); status != 401 || !strings.Contains(h.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%d %v", status, h)
		}
	})
	w.in(t, "OP-UI-02 oidcc-scope-profile oidcc-scope-email oidcc-scope-address oidcc-scope-phone oidcc-scope-all what each scope tells", func(t *testing.T) {
		w.eids[eid.IDIN].tells(func(who *eid.Identity) {
			who.Email, who.Phone = "ada@example.com", "+31612345678"
			who.Address = &eid.Address{Street: "Pascalstreet", Number: "19", PostalCode: "0000AA", City: "Aachen", Country: "NL"}
		}, func() {
			for scope, names := range map[string][]string{"profile": {"name", "family_name"}, "email": {"email", "email_verified"}, "phone": {"phone_number", "phone_number_verified"},
				"address": {"address"}, "profile email phone address": {"name", "email", "phone_number", "address"}} {
				_, _, who := w.userinfo(w.tokens(c, w.visitor(), "acr_values", "idp:idin", "scope", "openid "+scope)["access_token"].(string))
				for _, n := range names {
					if who[n] == nil {
						t.Errorf("%s: no %s in %v", scope, n, who)
					}
				}
				for _, n := range []string{"email_verified", "phone_number_verified"} {
					if v, ok := who[n]; ok && v != false {
						t.Errorf("%s is %v", n, v)
					}
				}
				if scope == "profile" && (who["email"] != nil || who["address"] != nil) {
					t.Errorf("%v", who)
				}
			}
		})
	})
	w.in(t, "OP-UI-05 OP-HTTP-02 oidcc-userinfo-rs256 signed and encrypted", func(t *testing.T) {
		key := foreign()[0]
		for form, alg := range map[relying.UserinfoResponse]string{relying.Signed: "RS256", relying.Encrypted: "RS256", relying.SignedAndEncrypted: "ES256"} {
			c := w.client(func(c *relying.Client) {
				c.Userinfo, c.UserinfoAlg = form, alg
				if form != relying.Signed {
					c.JWKS, c.UserinfoEnc = jwks("enc", key), relying.Encryption{Alg: "RSA-OAEP-256", Enc: "A256GCM"}
				}
			})
			out := w.tokens(c, w.visitor())
			x := w.send("GET", "userinfo", http.Header{"Authorization": {"Bearer " + out["access_token"].(string)}}, nil)
			token := x.body
			if form != relying.Signed {
				_, token = opened(t, key, token)
			}
			h, got := w.verified(token)
			if x.header.Get("Content-Type") != "application/jwt" || h["alg"] != alg || got["iss"] != issuer || got["aud"] != c.ID || got["sub"] != payload(t, out["id_token"])["sub"] ||
				got["nonce"] != nil || got["name"] != "Ada Test" {
				t.Errorf("%s: %v %v", form, h, got)
			}
		}
	})
	w.in(t, "OP-UI-07 each read is in the audit trail, and none after the erasure", func(t *testing.T) {
		v := w.visitor()
		out := w.tokens(c, v, "scope", "openid profile offline_access")
		token := out["access_token"].(string)
		id := strings.TrimSuffix(strings.TrimPrefix(v.seen[0], "/auth/open/login/"), "/")
		before := w.audited(id)
		w.userinfo(token)
		w.userinfo(token)
		if got := w.audited(id) - before; got != 2 {
			t.Errorf("%d lines for two reads", got)
		}
		s, err := w.broker.Session(t.Context(), w.account.ID, eid.Test, id)
		if err != nil {
			t.Fatal(err)
		}
		s.State, s.Due = broker.Erased, time.Time{}
		if err := w.store.Apply(t.Context(), &broker.Change{ID: id, Session: s, Erase: true}); err != nil {
			t.Fatal(err)
		}
		if status, _, _ := w.userinfo(token); status != 401 {
			t.Errorf("after the erasure: %d", status)
		}
		terr(t, w.form("token", refreshed(out["refresh_token"]), basic(c)...), "invalid_grant")
		if x := w.form("introspect", url.Values{"token": {token}}, basic(c)...); x.body != `{"active":false}` {
			t.Errorf("%s", x.body)
		}
		w.denied(t, v, silent(c), "login_required")
	})
}

// audited counts how often userinfo was told of a session.
func (w *world) audited(session string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.trail {
		if strings.HasPrefix(line, session+" rp:client ") && strings.HasSuffix(line, " userinfo.read ok") {
			n++
		}
	}
	return n
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, sibling := w.client(), w.client()
	public := w.client(func(c *relying.Client) { c.Auth, c.Secrets = relying.Public, nil })
	foreign := w.client()
	w.elsewhere(foreign)
	out := w.tokens(c, w.visitor(), "scope", "openid profile offline_access")
	token := out["access_token"].(string)
	ask := func(c *relying.Client, token string) exchange {
		return w.form("introspect", url.Values{"token": {token}, "token_type_hint": {"access_token"}}, basic(c)...)
	}
	w.in(t, "OP-INT-01 OP-INT-02 a token that counts, for its client and others of the account", func(t *testing.T) {
		for _, asks := range []*relying.Client{c, sibling} {
			x := ask(asks, token)
			if x.status != 200 || x.json["active"] != true || x.json["scope"] != "openid profile offline_access" || x.json["client_id"] != c.ID || x.json["sub"] != payload(t, out["id_token"])["sub"] ||
				x.json["iss"] != issuer || x.json["token_type"] != "Bearer" || x.json["exp"].(float64)-x.json["iat"].(float64) != 600 || x.json["acr"] != "substantial" || x.json["auth_time"] == nil ||
				x.json["aud"] == nil || x.json["name"] != nil {
				t.Errorf("%s", x.body)
			}
		}
		if x := ask(c, out["refresh_token"].(string)); x.json["active"] != true {
			t.Errorf("a refresh token: %s", x.body)
		}
	})
	w.in(t, "OP-INT-01 OP-ATK-11 what is not the caller's is not there", func(t *testing.T) {
		for _, x := range []exchange{ask(foreign, token), ask(c, "x"), ask(c, token+"x"), ask(c, out["id_token"].(string)), ask(foreign, out["refresh_token"].(string))} {
			if x.status != 200 || x.body != `{"active":false}` || !strings.Contains(x.header.Get("Cache-Control"), "no-store") {
				t.Errorf("%d %s", x.status, x.body)
			}
		}
	})
	w.in(t, "OP-INT-01 who may ask", func(t *testing.T) {
		terr(t, w.form("introspect", url.Values{"token": {token}}), "invalid_client")
		terr(t, w.form("introspect", url.Values{"token": {token}, "client_id": {public.ID}}), "invalid_client")
		terr(t, w.form("introspect", url.Values{"token": {token}}, "Authorization", "Bearer "+token), "invalid_client")
		terr(t, w.form("introspect", url.Values{}, basic(c)...), "invalid_request")
	})
	w.in(t, "OP-REV-01 unknown, foreign and again are all 200, and nothing of others ends", func(t *testing.T) {
		for _, form := range []url.Values{{"token": {"x"}}, {"token": {"x"}, "token_type_hint": {"refresh_token"}}, {"token": {"x"}, "token_type_hint": {"nonsense"}}} {
			if x := w.form("revocation", form, basic(c)...); x.status != 200 || x.body != "" {
				t.Errorf("%d %s", x.status, x.body)
			}
		}
		for _, other := range []*relying.Client{sibling, foreign} {
			for _, kind := range []string{"access_token", "refresh_token"} {
				if x := w.form("revocation", url.Values{"token": {out[kind].(string)}}, basic(other)...); x.status != 200 {
					t.Errorf("%d", x.status)
				}
			}
		}
		if x := ask(c, token); x.json["active"] != true {
			t.Error("another client ended it")
		}
		terr(t, w.form("revocation", url.Values{"token": {token}}), "invalid_client")
		terr(t, w.form("revocation", url.Values{}, basic(c)...), "invalid_request")
	})
	w.in(t, "OP-REV-02 an access token leaves the refresh token, which takes all with it", func(t *testing.T) {
		wrong := url.Values{"token": {token}, "token_type_hint": {"refresh_token"}}
		for range 2 {
			if x := w.form("revocation", wrong, basic(c)...); x.status != 200 {
				t.Errorf("%d", x.status)
			}
		}
		if x := ask(c, token); x.json["active"] != false {
			t.Error("the access token counts")
		}
		again := w.form("token", refreshed(out["refresh_token"]), basic(c)...).json["access_token"].(string)
		w.form("revocation", url.Values{"token": {out["refresh_token"].(string)}, "token_type_hint": {"access_token"}}, basic(c)...)
		for _, token := range []string{again, out["refresh_token"].(string)} {
			if x := ask(c, token); x.json["active"] != false {
				t.Errorf("%s", x.body)
			}
		}
	})
	w.in(t, "OP-REV-01 never 200 when it could not be written", func(t *testing.T) {
		out := w.tokens(c, w.visitor())
		if err := w.store.Close(); err != nil {
			t.Fatal(err)
		}
		x := w.form("revocation", url.Values{"token": {out["access_token"].(string)}}, basic(c)...)
		if x.status != http.StatusServiceUnavailable && x.status != http.StatusInternalServerError || x.json["error"] == nil || len(x.json) != 1 {
			t.Errorf("%d %s", x.status, x.body)
		}
	})
}

// elsewhere moves a client into an account of its own.
func (w *world) elsewhere(c *relying.Client) {
	w.t.Helper()
	a := &relying.Account{ID: "5a4db0c5-0000-4000-8000-00000000b002", Name: "Other", Language: "en"}
	if err := w.store.PutAccount(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
	c.ID, c.Account = c.ID+"-o", a.ID
	if err := w.store.PutClient(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const at = "/auth/open/.well-known/openid-configuration"
	x := w.send("GET", at, nil, nil)
	list := func(name string) (out []string) {
		all, _ := x.json[name].([]any)
		for _, v := range all {
			s, ok := v.(string)
			if !ok {
				t.Fatalf("%s has %v", name, v)
			}
			out = append(out, s)
		}
		return out
	}
	w.in(t, "OP-DISC-01 oidcc-discovery-endpoint-verification fapi2-discovery-end-point-verification", func(t *testing.T) {
		if x.status != 200 || x.header.Get("Content-Type") != "application/json" || x.json["issuer"] != issuer || x.header.Get("Location") != "" {
			t.Fatalf("%d %s", x.status, x.body)
		}
		if y := w.send("GET", "/.well-known/oauth-authorization-server/auth/open", nil, nil); y.body != x.body {
			t.Error("what RFC 8414 finds is something else")
		}
	})
	w.in(t, "OP-DISC-02 addresses, and something is at each", func(t *testing.T) {
		n := 0
		for name, v := range x.json {
			if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
				continue
			}
			n++
			s, ok := v.(string)
			path, here := strings.CutPrefix(s, "https://eid.example")
			if !ok || !here {
				t.Errorf("%s is %v", name, v)
			}
			if y := w.send("PUT", path, nil, nil); y.status != http.StatusMethodNotAllowed || y.header.Get("Allow") == "" {
				t.Errorf("OP-HTTP-06 fapi2-par-attempt-invalid-http-method: PUT %s is %d", path, y.status)
			}
		}
		if n != 8 {
			t.Errorf("%d addresses", n)
		}
	})
	w.in(t, "OP-DISC-03 OP-DISC-04 OP-DISC-06 OP-DISC-08 oidcc-rp-initiated-logout-discovery-endpoint-verification oidcc-backchannel-logout-discovery-endpoint-verification", func(t *testing.T) {
		for name, must := range map[string][]string{"response_types_supported": {"code"}, "subject_types_supported": {"public"}, "id_token_signing_alg_values_supported": {"RS256", "ES256", "PS256"},
			"userinfo_signing_alg_values_supported": {"RS256"}, "scopes_supported": {"openid", "offline_access"}, "claims_supported": {"sub", "name"},
			"grant_types_supported": {"authorization_code", "refresh_token", "client_credentials"}, "token_endpoint_auth_methods_supported": {"client_secret_basic", "client_secret_post", "private_key_jwt"},
			"code_challenge_methods_supported": {"S256"}, "dpop_signing_alg_values_supported": {"ES256"}, "request_object_signing_alg_values_supported": {"PS256", "ES256"},
			"token_endpoint_auth_signing_alg_values_supported": {"PS256", "ES256"}, "response_modes_supported": {"query", "form_post", "jwt"}, "authorization_signing_alg_values_supported": {"PS256"}} {
			for _, m := range must {
				if !slices.Contains(list(name), m) {
					t.Errorf("%s lacks %s", name, m)
				}
			}
		}
		for name, want := range map[string]any{"request_parameter_supported": true, "request_uri_parameter_supported": false, "claims_parameter_supported": true,
			"require_pushed_authorization_requests": false, "authorization_response_iss_parameter_supported": true, "backchannel_logout_supported": true,
			"backchannel_logout_session_supported": true} {
			if x.json[name] != want {
				t.Errorf("%s is %v", name, x.json[name])
			}
		}
		for name := range x.json {
			for _, weak := range []string{"none", "HS256", "RSA1_5", "plain", "implicit", "password"} {
				other := name == "prompt_values_supported" || weak == "none" && strings.HasSuffix(name, "auth_methods_supported")
				if slices.Contains(list(name), weak) && !other {
					t.Errorf("OP-DISC-05: %s has %s", name, weak)
				}
			}
		}
		for _, s := range list("scopes_supported") {
			if strings.ContainsAny(s, ` "\`) {
				t.Errorf("scope %q", s)
			}
		}
		if got := list("code_challenge_methods_supported"); len(got) != 1 {
			t.Errorf("OP-DISC-05: %v", got)
		}
	})
	w.in(t, "OP-DISC-07 languages", func(t *testing.T) {
		for _, tag := range list("ui_locales_supported") {
			if parsed, err := language.Parse(tag); err != nil || parsed.String() != tag {
				t.Errorf("%s: %v", tag, err)
			}
		}
	})
	w.in(t, "OP-JWKS-03 OP-HTTP-10 copies", func(t *testing.T) {
		tags := map[string]bool{}
		for _, c := range []struct{ path, takes, has string }{{at, "identity", ""}, {at, "br, gzip", "gzip"}, {at + "/jwks", "identity", ""}, {at + "/jwks", "gzip", ""}} {
			as := func(name, value string) http.Header {
				return http.Header{"Accept-Encoding": {c.takes}, name: {value}}
			}
			y := w.send("GET", c.path, as("Origin", "https://any.example"), nil)
			if y.header.Get("Cache-Control") != "public, max-age=3600" || y.header.Get("Access-Control-Allow-Origin") != "*" || y.header.Get("ETag") == "" {
				t.Errorf("%v", y.header)
			}
			if y.header.Get("Content-Encoding") != c.has || y.header.Get("Content-Length") != strconv.Itoa(len(y.body)) || c.path == at && y.header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s for whoever takes %s: %v", c.path, c.takes, y.header)
			}
			tag := y.header.Get("ETag")
			tags[tag] = true
			for _, known := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
				if z := w.send("GET", c.path, as("If-None-Match", known), nil); z.status != http.StatusNotModified || z.body != "" {
					t.Errorf("%s: %d", known, z.status)
				}
			}
			if z := w.send("GET", c.path, as("If-None-Match", `"other"`), nil); z.status != 200 || z.body != y.body || z.header.Get("Content-Encoding") != c.has {
				t.Errorf("another copy: %d %v", z.status, z.header)
			}
			if z := w.send("HEAD", c.path, as("Origin", "https://any.example"), nil); z.status != 200 || z.body != "" || z.header.Get("Content-Length") != strconv.Itoa(len(y.body)) {
				t.Errorf("HEAD is %d %v", z.status, z.header)
			}
		}
		if len(tags) != 3 {
			t.Errorf("what differs has one tag: %v", tags)
		}
		clear, packed := w.send("GET", at, http.Header{"Accept-Encoding": {"identity"}}, nil), w.send("GET", at, nil, nil) // which the client opens
		if packed.body != clear.body || !strings.HasSuffix(packed.header.Get("ETag"), `-gzip"`) {
			t.Errorf("compressed it is another document: %q", packed.body)
		}
	})
	w.in(t, "OP-JWKS-04 other secrets are not among the keys", func(t *testing.T) {
		var set struct {
			Keys []struct{ Kty, Use string }
		}
		if err := json.Unmarshal([]byte(w.send("GET", at+"/jwks", nil, nil).body), &set); err != nil {
			t.Fatal(err)
		}
		for _, k := range set.Keys {
			if k.Kty == "oct" || k.Use != "sig" && k.Use != "enc" {
				t.Errorf("%+v", k)
			}
		}
	})
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	w.in(t, "OP-HTTP-06 methods", func(t *testing.T) {
		for path, allowed := range map[string]string{"authorize": "GET, POST", "par": "POST", "token": "POST", "userinfo": "GET, POST", "introspect": "POST", "revocation": "POST", "endsession": "GET, POST"} {
			for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"} {
				if strings.Contains(allowed, method) {
					continue
				}
				if x := w.send(method, path, nil, nil); x.status != http.StatusMethodNotAllowed || x.header.Get("Allow") != allowed {
					t.Errorf("%s %s is %d, Allow %q", method, path, x.status, x.header.Get("Allow"))
				}
			}
		}
		for _, path := range []string{"/auth/open/connect/token/", "/auth/open/connect/authorize/", "/auth/open/connect/TOKEN", "/AUTH/open/connect/token", "/auth/open/connect", "/auth/open/",
			"/auth/open/.well-known/openid-configuration/", "/auth/open/.well-known/openid-configuration/jwks/"} {
			if x := w.send("GET", path, nil, nil); x.status != http.StatusNotFound {
				t.Errorf("%s is %d", path, x.status)
			}
		}
	})
	w.in(t, "OP-HTTP-04 OP-HTTP-07 bodies", func(t *testing.T) {
		twice := withForm(own)
		twice["grant_type"] = []string{"client_credentials", "client_credentials"}
		terr(t, w.form("token", twice, basic(c)...), "invalid_request")
		terr(t, w.form("token", withForm(own, "x", strings.Repeat("x", 65<<10)), basic(c)...), "invalid_request")
		terr(t, w.form("par", withForm(request(c), "x", strings.Repeat("x", 129<<10)), basic(c)...), "invalid_request")
		many := withForm(own)
		for i := range 101 {
			many.Set(strings.Repeat("p", i+1), "x")
		}
		terr(t, w.form("token", many, basic(c)...), "invalid_request")
		for kind, body := range map[string]string{"application/json": `{"grant_type":"client_credentials"}`, "text/plain": "grant_type=client_credentials", "": "grant_type=client_credentials",
			"multipart/form-data; boundary=x": "--x--"} {
			x := w.send("POST", "token", http.Header{"Content-Type": {kind}, "Authorization": {basic(c)[1]}}, strings.NewReader(body))
			terr(t, x, "invalid_request")
		}
		x := w.send("POST", "token", http.Header{"Content-Type": {"Application/X-WWW-Form-Urlencoded;charset=UTF-8"}, "Authorization": {basic(c)[1]}}, strings.NewReader(own.Encode()))
		if x.status != 200 {
			t.Errorf("%d %s", x.status, x.body)
		}
		terr(t, w.send("POST", "token", http.Header{form[0]: {form[1]}, "Authorization": {basic(c)[1]}}, strings.NewReader("grant_type=%zz")), "invalid_request")
	})
	w.in(t, "OP-ATK-10 what stands in the address counts for nothing", func(t *testing.T) {
		code := w.code(w.visitor(), request(c))
		terr(t, w.form("token?code="+code+"&redirect_uri="+url.QueryEscape(shop), url.Values{"grant_type": {"authorization_code"}}, basic(c)...), "invalid_request")
		terr(t, w.form("token?grant_type=client_credentials", url.Values{}, basic(c)...), "invalid_request")
		terr(t, w.form("introspect?token=x", url.Values{}, basic(c)...), "invalid_request")
		if x := w.form("token?code=other&grant_type=x", redeem(code), basic(c)...); x.status != 200 {
			t.Errorf("%s", x.body)
		}
	})
	w.in(t, "OP-HTTP-10 pages of other origins", func(t *testing.T) {
		page := w.client(func(c *relying.Client) {
			c.Auth, c.Secrets, c.Redirects = relying.Public, nil, []string{"https://spa.example/cb", "https://spa.example:8443/cb"}
		})
		preflight := http.Header{"Origin": {"https://spa.example"}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"dpop"}}
		for path, want := range map[string]int{"token": 204, "userinfo": 204, "revocation": 204, "authorize": 405, "par": 405, "introspect": 405, "endsession": 405} {
			x := w.send("OPTIONS", path, preflight, nil)
			if x.status != want || want != 204 && x.header.Get("Access-Control-Allow-Origin") != "" || x.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: %d %v", path, x.status, x.header)
			}
		}
		for origin, want := range map[string]bool{"https://spa.example": true, "https://spa.example:8443": true, "https://spa.example.evil.example": false, "https://spa.exampl": false, "https://evil.example": false,
			"null": false, "https://spa.example/": false, "https://": false, "https:": false} {
			for _, x := range []exchange{w.form("token", redeem("x", "client_id", page.ID), "Origin", origin), w.form("revocation", url.Values{"token": {"x"}, "client_id": {page.ID}}, "Origin", origin)} {
				got := x.header.Get("Access-Control-Allow-Origin")
				if want != (got == origin) || !want && got != "" || !strings.Contains(strings.Join(x.header.Values("Vary"), ","), "Origin") {
					t.Errorf("%s: %q", origin, got)
				}
			}
		}
		if x := w.form("token", own, append(basic(c), "Origin", "https://shop.example")...); x.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("a client with a secret: %v", x.header)
		}
	})
	w.in(t, "OP-HTTP-10 errors that pages may read", func(t *testing.T) {
		const verifier = "a-verifier-of-43-characters-0123456789-abcde"
		public := func(change ...func(*relying.Client)) *relying.Client {
			return w.client(append([]func(*relying.Client){func(c *relying.Client) { c.Auth, c.Secrets = relying.Public, nil }}, change...)...)
		}
		plain, signed := public(), public(func(c *relying.Client) { c.Profile = relying.Signicat })
		tokens := func(c *relying.Client, pairs ...string) (access string) {
			code := w.code(w.visitor(), request(c, "code_challenge", challenge(verifier), "code_challenge_method", "S256"))
			x := w.form("token", redeem(code, "client_id", c.ID, "code_verifier", verifier), pairs...)
			if access, _ = x.json["access_token"].(string); access == "" {
				t.Fatalf("%d %s", x.status, x.body)
			}
			return access
		}
		ask := func(token string, pairs ...string) func(origin string) exchange {
			return func(origin string) exchange {
				h := http.Header{"Authorization": {token}, "Origin": {origin}}
				for i := 0; i+1 < len(pairs); i += 2 {
					h.Add(pairs[i], pairs[i+1])
				}
				return w.send("GET", "userinfo", h, nil)
			}
		}
		post := func(path string, form url.Values) func(string) exchange {
			return func(origin string) exchange { return w.form(path, form, "Origin", origin) }
		}
		d, other := w.dpop(), w.dpop()
		bound, secret := tokens(plain, "DPoP", d.proof("token")), "Bearer "+w.tokens(c, w.visitor())["access_token"].(string)
		expired, expiredJWT, revokedJWT := "Bearer "+tokens(plain), "Bearer "+tokens(signed), tokens(signed)
		w.form("revocation", url.Values{"token": {revokedJWT}, "client_id": {signed.ID}})
		const invalid, basicRealm = `Bearer realm="eidgate", error="invalid_token"`, `Basic realm="eidgate"`
		tries := map[string]struct {
			call   func(origin string) exchange
			status int
			says   string // WWW-Authenticate
			shared bool
		}{
			"bound, without a proof":       {ask("Bearer " + bound), 401, invalid, true},
			"bound, another key's proof":   {ask("DPoP "+bound, "DPoP", jws(other.key, other.header(), other.forToken(bound))), 401, `DPoP realm="eidgate", error="invalid_dpop_proof", algs="PS256 ES256 EdDSA RS256"`, true},
			"revoked, a JWT":               {ask("Bearer " + revokedJWT), 401, invalid, true},
			"nobody's token":               {ask("Bearer at_x"), 401, invalid, false},
			"no token":                     {ask(""), 401, `Bearer realm="eidgate"`, false},
			"a secret that is not wanted":  {post("token", redeem("x", "client_id", plain.ID, "client_secret", "x")), 401, basicRealm, true},
			"the same at the revocation":   {post("revocation", url.Values{"token": {"x"}, "client_id": {plain.ID}, "client_secret": {"x"}}), 401, basicRealm, true},
			"nothing to revoke":            {post("revocation", url.Values{"client_id": {plain.ID}}), 400, "", true},
			"introspection is for no page": {post("introspect", url.Values{"token": {"x"}, "client_id": {plain.ID}}), 401, basicRealm, false},
			"so are pushed requests":       {post("par", url.Values{"client_id": {plain.ID}, "client_secret": {"x"}}), 401, basicRealm, false},
			"a client with a secret":       {post("token", redeem("x", "client_id", c.ID, "client_secret", "x")), 401, basicRealm, false},
			"nobody's client":              {post("token", redeem("x", "client_id", "none")), 401, basicRealm, false},
		}
		check := func(t *testing.T) {
			for name, c := range tries {
				for _, origin := range []string{"https://shop.example", "https://evil.example"} {
					x := c.call(origin)
					want := ""
					if c.shared && origin == "https://shop.example" {
						want = origin
					}
					if h := x.header; x.status != c.status || h.Get("WWW-Authenticate") != c.says || h.Get("Access-Control-Allow-Origin") != want ||
						strings.Contains(h.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") != (want != "") {
						t.Errorf("%s, %s: %d %v", name, origin, x.status, h)
					}
				}
			}
		}
		check(t)
		w.clock.Advance(10*time.Minute + time.Second)
		clear(tries)
		for name, token := range map[string]string{"expired": expired, "expired, a JWT": expiredJWT, "of a client with a secret": secret} {
			tries[name] = struct {
				call   func(origin string) exchange
				status int
				says   string
				shared bool
			}{ask(token), 401, invalid, token != secret}
		}
		check(t)
	})
	w.in(t, "OP-HTTP-03 errors have only what they may", func(t *testing.T) {
		evil := "x\r\nSet-Cookie: a=b\"\\\x7fé<script>"
		for _, name := range []string{"scope", "response_type", "response_mode", "prompt", "max_age", "claims", "code_challenge_method", "id_token_hint", "dpop_jkt"} {
			q := request(c, name, evil)
			_, to := w.visitor().authorize(q)
			if to == nil {
				t.Fatalf("%s: %s", name, w.problem())
			}
			if text := to.Query().Get("error_description") + to.Query().Get("error"); strings.ContainsAny(text, "\r\n\"\\\x7f<é") || strings.Contains(text, "script") {
				t.Errorf("%s: %q", name, text)
			}
		}
		for _, name := range []string{"grant_type", "code", "refresh_token", "scope", "redirect_uri", "code_verifier", "client_id", "token"} {
			terr(t, w.form("token", withForm(redeem("x"), name, evil), basic(c)...), "invalid_grant", "invalid_client", "unsupported_grant_type", "invalid_request", "invalid_scope")
		}
	})
}
