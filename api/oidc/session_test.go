package oidc_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/api/oidc"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/relying"
)

// silent is a request that must not show a page.
func silent(c *relying.Client, change ...string) url.Values {
	return request(c, append([]string{"prompt", "none"}, change...)...)
}

func TestSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	w.in(t, "OP-SESS-02 oidcc-prompt-none-not-logged-in nobody is logged in", func(t *testing.T) {
		w.denied(t, w.visitor(), silent(c, "state", strings.Repeat("s", 128)), "login_required")
		for _, more := range []string{"none login", "none consent", "login none", "create", "NONE"} {
			w.denied(t, w.visitor(), request(c, "prompt", more), "invalid_request")
		}
	})
	w.in(t, "OP-SESS-01 oidcc-prompt-none-logged-in a login is used again", func(t *testing.T) {
		v := w.visitor()
		first := payload(t, w.tokens(c, v)["id_token"])
		w.clock.Advance(time.Minute)
		again := payload(t, w.tokens(c, v, "prompt", "none", "nonce", "n2")["id_token"])
		if again["sub"] != first["sub"] || again["auth_time"] != first["auth_time"] || again["sid"] != first["sid"] || again["nonce"] != "n2" || again["iat"] == first["iat"] {
			t.Errorf("%v and then %v", first, again)
		}
	})
	w.in(t, "OP-SESS-03 OP-SESS-07 oidcc-prompt-login prompt that asks for a new login", func(t *testing.T) {
		for _, prompt := range []string{"login", "consent", "select_account", "login consent"} {
			v := w.visitor()
			first := payload(t, w.tokens(c, v)["id_token"])
			old := v.cookie()
			w.clock.Advance(2 * time.Second)
			again := payload(t, w.tokens(c, v, "prompt", prompt)["id_token"])
			if again["auth_time"].(float64)-first["auth_time"].(float64) != 2 || again["sid"] != first["sid"] || again["sub"] != first["sub"] || v.cookie() == old || len(old) != 51 {
				t.Errorf("%s: %v and then %v, cookie %q and then %q", prompt, first, again, old, v.cookie())
			}
		}
	})
	w.in(t, "OP-SESS-04 oidcc-max-age-1 oidcc-max-age-10000", func(t *testing.T) {
		v := w.visitor()
		first := payload(t, w.tokens(c, v, "max_age", "15000")["id_token"])
		w.clock.Advance(2 * time.Second)
		if again := payload(t, w.tokens(c, v, "max_age", "10000")["id_token"]); again["auth_time"] != first["auth_time"] || first["auth_time"] == nil {
			t.Errorf("max_age=10000: %v", again)
		}
		w.denied(t, v, silent(c, "max_age", "1"), "login_required")
		w.denied(t, v, silent(c, "max_age", "0"), "login_required")
		w.code(v, silent(c, "max_age", "9000000000000000000"))
		if again := payload(t, w.tokens(c, v, "max_age", "1")["id_token"]); again["auth_time"].(float64)-first["auth_time"].(float64) != 2 {
			t.Errorf("max_age=1: %v", again)
		}
		for _, bad := range []string{"-1", "x", "1.5", "99999999999999999999"} {
			w.denied(t, v, request(c, "max_age", bad), "invalid_request")
		}
	})
	w.in(t, "OP-SESS-05 oidcc-id-token-hint", func(t *testing.T) {
		v := w.visitor()
		out := w.tokens(c, v)
		hint := out["id_token"].(string)
		w.clock.Advance(11 * time.Minute) // longer than it lives
		w.code(v, silent(c, "id_token_hint", hint))
		other := w.client()
		claims := object(payload(t, hint))
		stranger := foreign()[0]
		for name, bad := range map[string]string{
			"of another client": w.tokens(other, w.visitor())["id_token"].(string),
			"foreign key":       jws(stranger, object{"alg": "RS256", "kid": "key-RS256"}, claims),
			"none":              jws(nil, object{"alg": "none"}, claims),
			"HMAC":              jws([]byte("secret"), object{"alg": "HS256", "kid": "key-RS256"}, claims),
			"access token":      out["access_token"].(string),
			"encrypted":         jwe(&stranger.PublicKey, "key-RSA-OAEP", hint),
			"nonsense":          "x",
		} {
			w.denied(t, v, silent(c, "id_token_hint", bad), "login_required")
			w.denied(t, v, request(c, "id_token_hint", bad), "invalid_request")
			if t.Failed() {
				t.Fatal(name)
			}
		}
		// Somebody else logs in than the one whom the hint names.
		var in *visitor
		w.eids[eid.BankIDSE].as("199003032392", func() {
			w.denied(t, w.visitor(), request(c, "id_token_hint", hint), "login_required")
			v := w.visitor()
			w.tokens(c, v)
			w.denied(t, v, silent(c, "id_token_hint", hint), "login_required")
			in = v
		})
		w.code(in, request(c, "id_token_hint", hint)) // who is meant may log in over them
		sub := claims["sub"].(string)
		w.code(v, silent(c, "claims", `{"id_token":{"sub":{"value":"`+sub+`"}}}`))
		w.denied(t, v, silent(c, "claims", `{"id_token":{"sub":{"value":"somebody"}}}`), "login_required")
		w.denied(t, v, silent(c, "claims", `{"userinfo":{"sub":{"value":"a"}},"id_token":{"sub":{"value":"b"}}}`), "invalid_request")
	})
	w.in(t, "OP-SESS-06 a login does not stand in for more than it was", func(t *testing.T) {
		v := w.visitor()
		w.tokens(c, v)
		w.denied(t, v, silent(c, "acr_values", "idp:idin"), "login_required")
		w.denied(t, v, silent(c, "claims", `{"id_token":{"acr":{"essential":true,"value":"high"}}}`), "login_required")
		w.code(v, silent(c, "claims", `{"id_token":{"acr":{"essential":true,"values":["low","substantial"]}}}`))
		w.code(v, silent(w.client())) // of the same account
		w.denied(t, v, silent(w.client(func(c *relying.Client) { c.ForceLogin = true })), "login_required")
		w.denied(t, v, silent(w.client(func(c *relying.Client) { c.EIDs = []eid.EID{eid.IDIN} }), "acr_values", ""), "login_required")
		text := base64.StdEncoding.EncodeToString([]byte("Read this"))
		w.denied(t, v, silent(w.client(func(c *relying.Client) { c.ACRValues, c.ForceACR = "idp:sbid sbid_intention_text:"+text, true })), "login_required")
		iDIN := w.visitor()
		w.eids[eid.IDIN].tells(func(who *eid.Identity) {
			*who = eid.Identity{Subject: "TRANS0123456789", Country: "NL", Approved: who.Approved}
		}, func() {
			w.code(iDIN, request(c, "acr_values", "idp:idin", "scope", "openid eighteen-or-older"))
		})
		w.denied(t, iDIN, silent(c, "acr_values", "idp:idin", "scope", "openid"), "login_required")
		w.denied(t, iDIN, silent(c, "acr_values", "idp:idin", "scope", "openid address"), "login_required")
		w.code(iDIN, silent(c, "acr_values", "idp:idin", "scope", "openid eighteen-or-older"))
	})
	w.in(t, "OP-SESS-06 idle and absolute ends", func(t *testing.T) {
		v := w.visitor()
		w.tokens(c, v)
		for range 4 {
			w.clock.Advance(14 * time.Minute)
			w.code(v, silent(c))
		}
		w.clock.Advance(5 * time.Minute)
		w.denied(t, v, silent(c), "login_required") // an hour is over
		w.tokens(c, v)
		w.clock.Advance(15*time.Minute + time.Second)
		w.denied(t, v, silent(c), "login_required")
	})
	w.in(t, "OP-IDT-05 a level that is not reached", func(t *testing.T) {
		w.denied(t, w.visitor(), request(c, "claims", `{"id_token":{"acr":{"essential":true,"value":"high"}}}`), "access_denied")
		w.code(w.visitor(), request(c, "claims", `{"id_token":{"acr":{"value":"high"}}}`))
		out := w.tokens(c, w.visitor(), "claims", `{"id_token":{"acr":{"essential":true,"values":["substantial","high"]}}}`)
		if got := payload(t, out["id_token"])["acr"]; got != "substantial" {
			t.Errorf("acr %v", got)
		}
		deep := func(n int) string { // objects and arrays around nothing that is known
			return `{"x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`
		}
		w.code(w.visitor(), request(c, "claims", deep(32)))
		for _, bad := range []string{"x", "[]", `{"id_token":{"acr":"high"}}`, `{"id_token":[]}`, `{"id_token":{"acr":{"value":1}}}`, `{"userinfo":{"sub":"x"}}`, `{"id_token":{"sub":{"value":1}}}`, deep(33)} {
			w.denied(t, w.visitor(), request(c, "claims", bad), "invalid_request")
		}
	})
	w.in(t, "OP-SESS-08 auth_time is the eID's own", func(t *testing.T) {
		w.eids[eid.BankIDSE].mu.Lock()
		now := w.eids[eid.BankIDSE].now
		w.eids[eid.BankIDSE].now = func() time.Time { return w.clock.Now().Add(-7 * time.Second) }
		w.eids[eid.BankIDSE].mu.Unlock()
		got := payload(t, w.tokens(c, w.visitor())["id_token"])
		w.eids[eid.BankIDSE].now = now
		if got["iat"].(float64)-got["auth_time"].(float64) != 7 {
			t.Errorf("%v", got)
		}
	})
}

// as lets another person log in while f runs.
func (c *instant) as(number string, f func()) {
	c.tells(func(who *eid.Identity) { who.Subject, who.Number = number, eid.Number(number) }, f)
}

// tells lets the eID tell something else while f runs.
func (c *instant) tells(change func(*eid.Identity), f func()) {
	c.mu.Lock()
	old := c.who
	change(&c.who)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.who = old
		c.mu.Unlock()
	}()
	f()
}

// cookie is that of the browser's session.
func (v *visitor) cookie() string {
	u, err := url.Parse(v.w.server.URL)
	if err != nil {
		v.w.t.Fatal(err)
	}
	for _, c := range v.http.Jar.Cookies(u) {
		if c.Name == "eidgate_o" {
			return c.Value
		}
	}
	return ""
}

// TestCookieOfAnotherTime: a browser keeps the cookie for as long as the login may
// last, though its clock shows another time than ours.
func TestCookieOfAnotherTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.Set(w.clock.Now().Add(-2 * time.Hour))
	c, v := w.client(), w.visitor()
	w.code(v, request(c))
	w.code(v, silent(c))
}

// end asks for a logout and is its answer.
func (v *visitor) end(q url.Values) *http.Response {
	v.w.t.Helper()
	res, err := v.http.Get(v.w.server.URL + oidc.Root + "/connect/endsession?" + q.Encode())
	if err != nil {
		v.w.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}

// TestLayout: a client's pages look as it says, else as its account says.
func TestLayout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for layout, want := range map[string]string{"": "day", "night": "night", "gone": "day"} {
		w.tokens(w.client(func(c *relying.Client) { c.Layout = layout }), w.visitor())
		if w.layout != want {
			t.Errorf("%q: %q, want %q", layout, w.layout, want)
		}
	}
}

func TestLogouts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	const out = "https://shop.example/out"
	// goes holds that a logout sends the browser there and that nobody is logged
	// in after it.
	goes := func(t *testing.T, v *visitor, q url.Values, to string) {
		t.Helper()
		res := v.end(q)
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != to {
			t.Errorf("%d %q, want %q", res.StatusCode, res.Header.Get("Location"), to)
		}
		w.denied(t, v, silent(c), "login_required")
	}
	w.in(t, "OP-LO-01 OP-LO-04 oidcc-rp-initiated-logout back with the state and nothing else", func(t *testing.T) {
		v := w.visitor()
		state := strings.Repeat("s", 128)
		hint := w.tokens(c, v)["id_token"].(string)
		w.clock.Advance(11 * time.Minute) // a hint that has expired is good enough
		goes(t, v, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {out}, "state": {state}, "client_id": {c.ID}}, out+"?state="+state)
	})
	w.in(t, "OP-LO-01 oidcc-rp-initiated-logout-no-state back without", func(t *testing.T) {
		v := w.visitor()
		goes(t, v, url.Values{"id_token_hint": {w.tokens(c, v)["id_token"].(string)}, "post_logout_redirect_uri": {out}}, out)
	})
	w.in(t, "OP-LO-01 by POST of the client's page, which brings no cookie", func(t *testing.T) {
		v := w.visitor()
		got := w.tokens(c, v)
		x := w.form("endsession", url.Values{"id_token_hint": {got["id_token"].(string)}, "post_logout_redirect_uri": {out}})
		if x.status != http.StatusSeeOther || x.header.Get("Location") != out || x.header.Get("Set-Cookie") != "" {
			t.Errorf("%d %v", x.status, x.header)
		}
		w.denied(t, v, silent(c), "login_required")
	})
	for name, change := range map[string]func(q url.Values, hint string){
		"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri": func(q url.Values, _ string) { q.Set("post_logout_redirect_uri", "https://evil.example/out") },
		"OP-ATK-04 case":    func(q url.Values, _ string) { q.Set("post_logout_redirect_uri", "https://shop.example/OUT") },
		"a login's address": func(q url.Values, _ string) { q.Set("post_logout_redirect_uri", shop) },
		"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri": func(q url.Values, _ string) { q.Set("post_logout_redirect_uri", out+"?foo=bar") },
		"oidcc-rp-initiated-logout-modified-id-token-hint": func(q url.Values, hint string) {
			q.Set("id_token_hint", jws(nil, object{"alg": "none"}, payload(t, hint)))
		},
		"oidcc-rp-initiated-logout-bad-id-token-hint": func(q url.Values, hint string) {
			q.Set("id_token_hint", jws(foreign()[0], object{"alg": "RS256", "kid": "key-RS256"}, payload(t, hint)))
		},
		"oidcc-rp-initiated-logout-bad-id-token-hint, with client_id": func(q url.Values, hint string) {
			q.Set("id_token_hint", jws(foreign()[0], object{"alg": "RS256", "kid": "key-RS256"}, payload(t, hint)))
			q.Set("client_id", c.ID)
		},
		"oidcc-rp-initiated-logout-no-id-token-hint": func(q url.Values, _ string) { q.Del("id_token_hint") },
		"client_id alone, and another address": func(q url.Values, _ string) {
			q.Del("id_token_hint")
			q.Set("client_id", c.ID)
			q.Set("post_logout_redirect_uri", out+"?foo=bar")
		},
		"client_id of nobody": func(q url.Values, _ string) { q.Del("id_token_hint"); q.Set("client_id", "client-x") },
		"another client":      func(q url.Values, _ string) { q.Set("client_id", "client-x") },
	} {
		w.in(t, "OP-LO-02 "+name, func(t *testing.T) {
			v := w.visitor()
			hint := w.tokens(c, v)["id_token"].(string)
			q := url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {out}, "state": {"s"}}
			change(q, hint)
			if res := v.end(q); res.StatusCode != http.StatusBadRequest || res.Header.Get("Location") != "" {
				t.Errorf("%d %s", res.StatusCode, res.Header.Get("Location"))
			}
			w.code(v, silent(c)) // and nobody was logged out
		})
	}
	for name, q := range map[string]url.Values{
		"oidcc-rp-initiated-logout-no-params":                        {},
		"oidcc-rp-initiated-logout-only-state":                       {"state": {"s"}},
		"oidcc-rp-initiated-logout-no-id-token-hint, with client_id": {"client_id": {c.ID}, "post_logout_redirect_uri": {out}, "state": {"s"}},
		"a hint of somebody else":                                    nil,
	} {
		w.in(t, "OP-LO-03 OP-LO-05 "+name+": the person is asked first", func(t *testing.T) {
			v := w.visitor()
			w.tokens(c, v)
			if q == nil {
				q = url.Values{"id_token_hint": {w.tokens(c, w.visitor())["id_token"].(string)}, "post_logout_redirect_uri": {out}, "state": {"s"}}
			}
			res := v.end(q)
			next := ""
			if q.Has("post_logout_redirect_uri") {
				next = "https://shop.example"
			}
			if res.StatusCode != http.StatusOK || res.Header.Get("X-Asks") != "1" || w.fields.Get("confirm") != "1" || res.Header.Get("X-Leads-To") != next {
				t.Fatalf("%d %v", res.StatusCode, res.Header)
			}
			w.code(v, silent(c))
			answer := w.fields
			for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
				if res := v.post(answer, header); res.Header.Get("X-Asks") != "1" {
					t.Errorf("another site's form %v: %d", header, res.StatusCode)
				}
			}
			if res := v.end(answer); res.Header.Get("X-Asks") != "1" {
				t.Errorf("confirmed by a link: %d", res.StatusCode)
			}
			w.code(v, silent(c))
			res = v.post(answer, [2]string{"Sec-Fetch-Site", "same-origin"})
			if want := map[bool]string{true: out + "?state=s"}[answer.Has("post_logout_redirect_uri")]; res.Header.Get("Location") != want || res.Header.Get("X-Asks") != "" {
				t.Errorf("%d %q", res.StatusCode, res.Header.Get("Location"))
			}
			w.denied(t, v, silent(c), "login_required")
		})
	}
	w.in(t, "OP-LO-03 oidcc-rp-initiated-logout-no-post-logout-redirect-uri logged out and told so", func(t *testing.T) {
		v := w.visitor()
		res := v.end(url.Values{"id_token_hint": {w.tokens(c, v)["id_token"].(string)}})
		if res.StatusCode != http.StatusOK || res.Header.Get("X-Asks") != "" || v.cookie() != "" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		w.denied(t, v, silent(c), "login_required")
	})
	w.in(t, "OP-LO-02 who is logged in nowhere, and of whom a client says nothing, is asked too", func(t *testing.T) {
		v := w.visitor()
		if res := v.end(url.Values{"client_id": {c.ID}, "post_logout_redirect_uri": {out}}); res.StatusCode != http.StatusOK || res.Header.Get("X-Asks") != "1" {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		if res := v.post(w.fields, [2]string{"Sec-Fetch-Site", "same-origin"}); res.Header.Get("Location") != out {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	})
	w.in(t, "OP-LO-05 another site's form takes no cookie away", func(t *testing.T) {
		if x := w.form("endsession", url.Values{"confirm": {"1"}}); x.header.Get("Set-Cookie") != "" {
			t.Errorf("%v", x.header)
		}
	})
	w.in(t, "OP-LO-04 what was had by the login ends, and its page opens no other", func(t *testing.T) {
		v := w.visitor()
		got := w.tokens(c, v, "scope", "openid offline_access")
		page := v.seen[0]
		v.end(url.Values{"id_token_hint": {got["id_token"].(string)}})
		if status, _, _ := w.userinfo(got["access_token"].(string)); status != http.StatusUnauthorized {
			t.Errorf("access token: %d", status)
		}
		terr(t, w.form("token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got["refresh_token"].(string)}}, basic(c)...), "invalid_grant")
		again := v.at(page) // the button that goes back
		if v.cookie() != "" {
			t.Error("the page of the login that was ended gave a new session")
		}
		if again.Query().Get("error") == "" || again.Query().Get("code") != "" {
			t.Errorf("the page of the login that was ended answers %v", again)
		}
		w.denied(t, v, silent(c), "login_required")
	})
	w.in(t, "OP-LO-02 a userinfo answer is no hint", func(t *testing.T) {
		signed := w.client(func(c *relying.Client) { c.Userinfo = relying.Signed })
		v := w.visitor()
		x := w.send("GET", "userinfo", http.Header{"Authorization": {"Bearer " + w.tokens(signed, v)["access_token"].(string)}}, nil)
		if res := v.end(url.Values{"id_token_hint": {x.body}, "post_logout_redirect_uri": {out}}); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%d", res.StatusCode)
		}
		w.denied(t, v, silent(signed, "id_token_hint", x.body), "login_required")
	})
}

// basic is the header of a client with its secret.
func basic(c *relying.Client) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ID)+":secret"))}
}

// post answers the question whether to log out.
func (v *visitor) post(form url.Values, header [2]string) *http.Response {
	v.w.t.Helper()
	req, err := http.NewRequestWithContext(v.w.t.Context(), http.MethodPost, v.w.server.URL+oidc.Root+"/connect/endsession", strings.NewReader(form.Encode()))
	if err != nil {
		v.w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set(header[0], header[1])
	res, err := v.http.Do(req)
	if err != nil {
		v.w.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}

func TestBackChannelLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.client(func(c *relying.Client) { c.BackLogout = "https://shop.example/one" })
	two := w.client(func(c *relying.Client) { c.BackLogout, c.IDTokenAlg = "https://shop.example/two", "ES256" })
	mute := w.client()
	key := foreign()[0]
	sealed := w.client(func(c *relying.Client) {
		c.BackLogout, c.JWKS = "https://shop.example/sealed", jwks("enc", key)
		c.IDTokenEnc = relying.Encryption{Alg: "RSA-OAEP-256", Enc: "A256GCM"}
	})
	v := w.visitor()
	got := w.tokens(one, v)
	id := payload(t, got["id_token"])
	w.tokens(two, v, "prompt", "none")
	w.tokens(mute, v, "prompt", "none")
	w.tokens(sealed, v, "prompt", "none")
	w.in(t, "OP-BCL-01 OP-BCL-02 oidcc-backchannel-rp-initiated-logout each client of the login is told, once", func(t *testing.T) {
		for range 2 {
			w.form("endsession", url.Values{"id_token_hint": {got["id_token"].(string)}})
		}
		sent := map[string]string{}
		for _, d := range w.sent {
			if old := sent[d.URL]; old != "" && old != d.ID {
				t.Errorf("%s is told twice", d.URL)
			}
			sent[d.URL] = d.ID
		}
		if len(sent) != 3 {
			t.Fatalf("%v", sent)
		}
		due, err := w.store.ClaimDeliveries(t.Context(), w.clock.Now(), time.Minute, 10)
		if err != nil || len(due) != 3 {
			t.Fatalf("the outbox has %d, %v", len(due), err)
		}
		for _, d := range due {
			token, err := w.provider.LogoutToken(t.Context(), d.Body)
			if err != nil {
				t.Fatal(err)
			}
			c, alg := one, "RS256"
			switch d.URL {
			case two.BackLogout:
				c, alg = two, "ES256"
			case sealed.BackLogout:
				c = sealed
				var h object
				if h, token = opened(t, key, token); h["cty"] != "JWT" || h["kid"] != "enc" {
					t.Errorf("header %v", h)
				}
			}
			h, l := w.verified(token)
			events := fmt.Sprint(l["events"])
			if d.Kind != "logout" || h["typ"] != "logout+jwt" || h["alg"] != alg || l["iss"] != issuer || l["aud"] != c.ID || l["sid"] != id["sid"] || l["sub"] != id["sub"] ||
				l["exp"].(float64)-l["iat"].(float64) != 120 || l["jti"] == "" || l["nonce"] != nil || events != "map[http://schemas.openid.net/event/backchannel-logout:map[]]" {
				t.Errorf("%v %v", h, l)
			}
		}
	})
	w.in(t, "OP-BCL-02 a token is made anew for each attempt", func(t *testing.T) {
		body := w.told(one)
		first, err := w.provider.LogoutToken(t.Context(), body)
		if err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(3 * time.Minute)
		again, err := w.provider.LogoutToken(t.Context(), body)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := payload(t, first), payload(t, again); a["jti"] != b["jti"] || b["exp"].(float64)-a["exp"].(float64) != 180 {
			t.Errorf("%v and then %v", a, b)
		}
		if _, err := w.provider.LogoutToken(t.Context(), []byte("{")); err == nil {
			t.Error("what is not readable was signed")
		}
		if _, err := w.provider.LogoutToken(t.Context(), []byte(`{"client":"gone"}`)); err == nil {
			t.Error("a client that is gone is told")
		}
	})
	w.in(t, "OP-ATK-07 a logout token is no hint", func(t *testing.T) {
		v := w.visitor()
		w.tokens(one, v)
		token, err := w.provider.LogoutToken(t.Context(), w.told(one))
		if err != nil {
			t.Fatal(err)
		}
		w.denied(t, v, silent(one, "id_token_hint", token), "login_required")
	})
}

// told is what a client is to be told.
func (w *world) told(c *relying.Client) []byte {
	for _, d := range w.sent {
		if d.URL == c.BackLogout {
			return d.Body
		}
	}
	w.t.Fatal("nothing")
	return nil
}

// TestPushedOnlyOnce opens a pushed request until a code was made of it.
func TestPushedOnlyOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	w.in(t, "OP-PAR-06 fapi2-par-ensure-reused-request-uri-prior-to-auth-completion-succeeds fapi2-par-attempt-reuse-request_uri", func(t *testing.T) {
		_, _, out := w.post("par", c, request(c))
		q := url.Values{"client_id": {c.ID}, "request_uri": {out["request_uri"].(string)}}
		v := w.visitor()
		w.eids[eid.BankIDSE].ends(connector.Wait{Hint: "wait.working"})
		for range 2 { // opened twice, and not finished
			if status, to := v.authorize(q); status != http.StatusConflict || to != nil {
				t.Fatalf("%d %v", status, to)
			}
		}
		w.eids[eid.BankIDSE].ends(nil)
		w.code(v, q)
		w.refused(t, v, q, "invalid_request_uri")
		w.refused(t, w.visitor(), q, "invalid_request_uri")
	})
}
