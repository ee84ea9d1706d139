package oidc_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/api/oidc"
	"eidgate/eid"
	"eidgate/relying"
)

// TestCanary lets a person with unmistakable data log in by every way in which
// that can succeed or fail, and looks for it, and for secrets, wherever they
// must not be.
func TestCanary(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const canary = "CANARYPERSON"
	w.eids[eid.BankIDSE].tells(func(who *eid.Identity) {
		who.Subject, who.Number, who.Name, who.Given, who.Family = canary+"-subject", canary+"-number", canary+" Name", canary, canary
	}, func() {
		w.in(t, "OP-ATK-13 nothing personal and no secret in logs, addresses and errors", func(t *testing.T) {
			c := w.client(func(c *relying.Client) { c.BackLogout = "https://shop.example/logout" })
			v := w.visitor()
			out := w.tokens(c, v, "scope", "openid profile nin offline_access", "login_hint", canary+"-hint", "state", "state-1")
			secrets := []string{canary, out["access_token"].(string), out["refresh_token"].(string), out["id_token"].(string), "Basic ", "secret"}
			if _, _, who := w.userinfo(out["access_token"].(string)); who["name"] != canary+" Name" || who["nin"] != canary+"-number" {
				t.Fatalf("the person is not told at all: %v", who)
			}
			var said []string
			hear := func(x exchange) { said = append(said, x.body, fmt.Sprint(x.header)) }
			w.code(v, silent(c))
			hear(w.form("token", redeem("x", "code_verifier", canary), basic(c)...))
			hear(w.form("token", refreshed(out["refresh_token"], "scope", canary), basic(c)...))
			hear(w.form("introspect", url.Values{"token": {out["access_token"].(string)}}, basic(c)...))
			hear(w.form("par", request(c, "claims", canary, "scope", canary), basic(c)...))
			hear(w.form("token", own, credentials(canary, "wrong")...))
			hear(w.send("GET", "userinfo", http.Header{"Authorization": {"Bearer " + canary}}, nil))
			hear(w.send("GET", "authorize?"+request(c, "redirect_uri", "https://"+canary+".example/").Encode(), nil, nil))
			hear(w.send("GET", "authorize?"+request(c, "request", canary).Encode(), nil, nil))
			hear(w.send("GET", "authorize?"+canary+"=1&"+canary+"=2", nil, nil))
			v.authorize(request(c, "claims", `{"id_token":{"sub":{"value":"`+canary+`"}}}`))
			v.end(url.Values{"id_token_hint": {out["id_token"].(string)}, "state": {canary}})
			if err := w.store.Close(); err != nil { // and what is said when nothing works
				t.Fatal(err)
			}
			hear(w.form("token", redeem("x"), basic(c)...))
			hear(w.send("GET", "authorize?"+request(c).Encode(), nil, nil))
			hear(w.form("par", request(c), basic(c)...))
			if log := w.log.String(); !strings.Contains(log, "provider failed") {
				t.Errorf("nothing was logged: %s", log)
			}
			for where, texts := range map[string][]string{"log": {w.log.String()}, "address": v.seen, "answer": said} {
				for _, text := range texts {
					for _, s := range secrets {
						if s == "Basic " {
							text = strings.ReplaceAll(text, `Basic realm="`, "")
						}
						if strings.Contains(text, s) {
							t.Errorf("%s has %.20q: %.300s", where, s, text)
						}
					}
				}
			}
			for _, text := range append(w.problemsShown(), fmt.Sprint(w.trail)) {
				if strings.Contains(text, canary) {
					t.Errorf("%s", text)
				}
			}
		})
	})
}

func (w *world) problemsShown() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string{w.shown}, w.problems...)
}

// TestNothingSecretIsLogged gives what the package hands out to both handlers,
// by value, by pointer, within another and inside an error.
func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	const canary = "canary"
	var out bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
		for _, v := range []any{
			oidc.Leaving{URL: canary, Post: url.Values{canary: {canary}}}, &oidc.Leaving{URL: canary},
			oidc.Grant{ID: "g", Client: "c", Body: []byte(canary)}, &oidc.Grant{Body: []byte(canary)},
			oidc.Pushed{Client: "c", Request: []byte(`"` + canary + `"`)}, &oidc.Pushed{Request: []byte(`"` + canary + `"`)},
			oidc.SigningKey{ID: "k", Private: []byte(canary)}, &oidc.SigningKey{Private: []byte(canary)},
		} {
			log.Info("x", "v", v, "e", fmt.Errorf("%v %+v %#v %s", v, v, v, v), "s", struct{ V any }{v})
		}
	}
	if text := out.String(); strings.Contains(text, canary) || strings.Contains(text, "Y2FuYXJ5") || strings.Contains(text, "99 97 110") {
		t.Errorf("a secret was printed:\n%s", text)
	}
}

func TestAcross(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine := w.client()
	theirs := w.client()
	w.elsewhere(theirs)
	live := w.client(func(c *relying.Client) { c.Environment = eid.Live })
	w.in(t, "OP-ATK-11 OP-SESS-06 nothing crosses accounts and environments", func(t *testing.T) {
		v := w.visitor()
		out := w.tokens(mine, v, "scope", "openid offline_access")
		hint := out["id_token"].(string)
		w.denied(t, v, silent(theirs), "login_required")
		w.denied(t, v, silent(live), "login_required")
		w.denied(t, v, silent(theirs, "id_token_hint", hint), "login_required")
		for _, other := range []*relying.Client{theirs, live} {
			terr(t, w.form("token", redeem(w.code(w.visitor(), request(mine))), basic(other)...), "invalid_grant")
			terr(t, w.form("token", refreshed(out["refresh_token"]), basic(other)...), "invalid_grant")
			if x := w.form("introspect", url.Values{"token": {out["access_token"].(string)}}, basic(other)...); x.body != `{"active":false}` {
				t.Errorf("%s", x.body)
			}
			q := w.pushed(t, mine, w.form("par", request(mine), basic(mine)...))
			q.Set("client_id", other.ID)
			w.refused(t, w.visitor(), q, "invalid_request_uri")
		}
		first := payload(t, hint)["sub"]
		if got := payload(t, w.tokens(theirs, w.visitor())["id_token"])["sub"]; got == first {
			t.Error("one sub in two accounts")
		}
		w.code(v, silent(mine)) // none of that has ended the login
	})
	w.in(t, "OP-ATK-09 OP-ATK-01 OP-DISC-01 the Host and what a proxy says change nothing", func(t *testing.T) {
		for _, path := range []string{"/auth/open/.well-known/openid-configuration", "authorize?" + request(mine).Encode(), "authorize?" + silent(mine).Encode()} {
			x := w.send("GET", path, http.Header{"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"http"}, "Forwarded": {"host=evil.example"}, "X-Original-Url": {"https://evil.example/"}}, nil)
			if strings.Contains(x.body+fmt.Sprint(x.header), "evil") || strings.Contains(x.body, w.server.URL) {
				t.Errorf("%s: %s %v", path, x.body, x.header)
			}
		}
	})
	w.in(t, "OP-ATK-04 no address leads out", func(t *testing.T) {
		for _, q := range []url.Values{request(mine, "target", "https://evil.example", "error_uri", "https://evil.example", "ReturnUrl", "https://evil.example"), silent(mine, "target", "//evil.example")} {
			v := w.visitor()
			if _, to := v.authorize(q); to == nil || to.Host != "shop.example" || strings.Contains(fmt.Sprint(v.seen), "evil") {
				t.Errorf("%v %v", to, v.seen)
			}
		}
		x := w.send("GET", "/auth/open/config/errors/%2f%2fevil.example", nil, nil)
		if loc := x.header.Get("Location"); loc != "" && !strings.HasPrefix(loc, "/docs/errors/") {
			t.Errorf("%s", loc)
		}
	})
	w.in(t, "OP-ATK-06 what is refused is refused at once", func(t *testing.T) {
		key := newKey()
		c := w.client(func(c *relying.Client) { c.Auth, c.Secrets, c.JWKS = relying.PrivateKeyJWT, nil, jwks("rp", key) })
		deep := strings.Repeat(`[`, 20_000) + strings.Repeat(`]`, 20_000)
		for name, token := range map[string]string{
			"deep header":  b64([]byte(`{"alg":`+deep+`}`)) + ".e30.AA",
			"deep payload": sign(key, "ES256", b64([]byte(`{"alg":"ES256","kid":"rp"}`))+"."+b64([]byte(`{"sub":"`+c.ID+`","x":`+deep+`}`))),
			"many dots":    strings.Repeat(".", 60_000),
			"only header":  b64([]byte(`{"alg":"ES256"}`)),
		} {
			start := time.Now()
			terr(t, w.form("token", asserted(own, token)), "invalid_client")
			w.refused(t, w.visitor(), url.Values{"client_id": {c.ID}, "request": {token[:min(len(token), 50_000)]}}, "invalid_request_object")
			terr(t, w.form("token", own, "DPoP", token[:min(len(token), 60_000)], "Authorization", "x"), "invalid_client")
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("%s took %s", name, took)
			}
		}
	})
}

// TestProfiles holds what each profile demands of the same request and the same
// client.
func TestProfiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for profile, want := range map[relying.Profile]struct {
		plain, pkce, assertToken bool // a request in front, one without a challenge, an assertion for the token endpoint
		scope                    bool // an unknown scope is passed over
		idAlg, tokenType         string
		jwt                      bool
		status                   int // of invalid_client
	}{
		relying.Signicat:    {true, true, true, true, "RS256", "Bearer", true, 400},
		relying.Standard:    {true, true, true, false, "RS256", "Bearer", false, 401},
		relying.FAPI2:       {false, false, false, false, "PS256", "DPoP", false, 401},
		relying.FAPI2Signed: {false, false, false, false, "PS256", "DPoP", false, 401},
	} {
		w.in(t, string(profile), func(t *testing.T) {
			c, key := w.strong(profile)
			signed := profile == relying.FAPI2Signed
			verifier := strings.Repeat("v", 43)
			push := func(change ...any) exchange {
				o := w.object(c, append([]any{"nonce", "n1"}, change...)...)
				if signed {
					return w.form("par", asserted(url.Values{"request": {jws(key, es256, o.with("response_mode", "jwt"))}}, jws(key, es256, w.assertion(c))))
				}
				q := url.Values{}
				for _, name := range []string{"client_id", "response_type", "redirect_uri", "scope", "state", "acr_values", "code_challenge", "code_challenge_method"} {
					if v, ok := o[name].(string); ok {
						q.Set(name, v)
					}
				}
				return w.form("par", asserted(q, jws(key, es256, w.assertion(c))))
			}
			_, to := w.visitor().authorize(request(c, "code_challenge", challenge(verifier), "code_challenge_method", "S256"))
			if got := to.Query().Get("code") != ""; got != want.plain {
				t.Errorf("in front: %s", to)
			}
			if x := push("code_challenge", nil, "code_challenge_method", nil); (x.status == 201) != want.pkce {
				t.Errorf("without a challenge: %s", x.body)
			}
			if x := push("scope", "openid nosuch"); (x.status == 201) != want.scope {
				t.Errorf("an unknown scope: %s", x.body)
			}
			x := w.form("par", asserted(url.Values{}, jws(key, es256, w.assertion(c, "aud", issuer+"/connect/token"))))
			if got := x.json["error"] != "invalid_client"; got != want.assertToken {
				t.Errorf("aud of the token endpoint: %s", x.body)
			}
			if x := w.form("token", asserted(own, jws(newKey(), es256, w.assertion(c)))); x.status != want.status {
				t.Errorf("invalid_client is %d", x.status)
			}
			_, to = w.visitor().authorize(w.pushed(t, c, push()))
			answer := to.Query()
			if signed {
				_, inside := w.verified(answer.Get("response"))
				answer = url.Values{"code": {inside["code"].(string)}}
			}
			var header []string
			if want.tokenType == "DPoP" {
				header = []string{"DPoP", w.dpop().proof("token")}
			}
			x = w.form("token", asserted(redeem(answer.Get("code"), "code_verifier", verifier), jws(key, es256, w.assertion(c))), header...)
			if x.status != 200 {
				t.Fatalf("%s", x.body)
			}
			h, _ := w.verified(x.json["id_token"])
			if got := strings.Count(x.json["access_token"].(string), ".") == 2; h["alg"] != want.idAlg || x.json["token_type"] != want.tokenType || got != want.jwt {
				t.Errorf("%v %v, JWT %v", h["alg"], x.json["token_type"], got)
			}
		})
	}
}
