package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"eidgate/relying"
)

// bound logs a person in and is an access token that is bound to a key.
func (w *world) bound(c *relying.Client, d *dpop) string {
	w.t.Helper()
	x := w.form("token", redeem(w.code(w.visitor(), request(c))), append(basic(c), "DPoP", d.proof("token"))...)
	if x.status != 200 || x.json["token_type"] != "DPoP" {
		w.t.Fatalf("%d %s", x.status, x.body)
	}
	return x.json["access_token"].(string)
}

// resource asks userinfo with a token and proofs.
func (w *world) resource(scheme, token string, proofs ...string) exchange {
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", scheme+" "+token)
	}
	if len(proofs) > 0 {
		h["Dpop"] = proofs
	}
	return w.send("GET", "userinfo", h, nil)
}

func TestDPoP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	d, e := w.dpop(), w.dpop()
	token, second := w.bound(c, d), w.bound(c, d)
	now := w.clock.Now().Unix()
	good := func(change ...any) string { return jws(d.key, d.header(), d.forToken(token).with(change...)) }
	headed := func(change ...any) string { return jws(d.key, d.header().with(change...), d.forToken(token)) }
	for name, proof := range map[string]string{
		"OP-DPOP-08 query added to htu":                                        good("htu", issuer+"/connect/userinfo?a=b"),
		"OP-DPOP-08 fragment added to htu":                                     good("htu", issuer+"/connect/userinfo#x"),
		"OP-DPOP-09 scheme and host in capitals":                               good("htu", "HTTPS://EID.example/auth/open/connect/userinfo"),
		"OP-DPOP-09 port 443":                                                  good("htu", "https://eid.example:443/auth/open/connect/userinfo"),
		"OP-DPOP-10 fapi2-ensure-dpopproof-with-iat-10seconds-before-succeeds": good("iat", now-10),
		"OP-DPOP-10 fapi2-ensure-dpopproof-with-iat-10seconds-after-succeeds":  good("iat", now+10),
		"OP-DPOP-14 fapi2-check-dpop-proof-nbf-exp":                            good("nbf", now-5, "exp", now+60),
		"OP-DPOP-14 members of its own":                                        jws(d.key, d.header().with("x", 1), d.forToken(token).with("y", object{"z": nil})),
		"OP-DPOP-03 as it should be":                                           good(),
		"OP-DPOP-14 a nonce that nobody asked for":                             good("nonce", "n"),
	} {
		w.in(t, name, func(t *testing.T) {
			if x := w.resource("DPoP", token, proof); x.status != 200 {
				t.Errorf("%d %v", x.status, x.header)
			}
		})
	}
	raw, err := d.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	private := jwk(d.key).with("d", b64(raw))
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	used := good()
	if x := w.resource("DPoP", token, used); x.status != 200 {
		t.Fatal(x.status)
	}
	sum := sha256.Sum256([]byte(second))
	for name, proof := range map[string]string{
		"OP-DPOP-03 two parts":               strings.Join(strings.Split(good(), ".")[:2], "."),
		"OP-DPOP-03 no typ":                  headed("typ", nil),
		"OP-DPOP-03 typ JWT":                 headed("typ", "JWT"),
		"OP-DPOP-03 no alg":                  jws(d.key, object{"typ": "dpop+jwt", "jwk": jwk(d.key)}, d.forToken(token)),
		"OP-DPOP-03 no jwk":                  headed("jwk", nil),
		"OP-DPOP-04 no jti":                  good("jti", nil),
		"OP-DPOP-04 no htm":                  good("htm", nil),
		"OP-DPOP-04 no htu":                  good("htu", nil),
		"OP-DPOP-04 no iat":                  good("iat", nil),
		"OP-DPOP-04 no ath":                  good("ath", nil),
		"OP-DPOP-05 none":                    jws(nil, d.header().with("alg", "none"), d.forToken(token)),
		"OP-DPOP-05 HMAC":                    jws([]byte("k"), d.header().with("alg", "HS256", "jwk", object{"kty": "oct", "k": b64([]byte("k"))}), d.forToken(token)),
		"OP-DPOP-06 wrong signature":         good()[:80] + good()[80:],
		"OP-DPOP-06 private key shown":       headed("jwk", private),
		"OP-DPOP-06 a weak key":              jws(small, object{"typ": "dpop+jwt", "alg": "PS256", "jwk": jwk(small)}, d.forToken(token)),
		"OP-DPOP-07 htm PUT":                 good("htm", "PUT"),
		"OP-DPOP-07 htm in small letters":    good("htm", "get"),
		"OP-DPOP-07 htu of another endpoint": good("htu", issuer+"/connect/token"),
		"OP-DPOP-07 htu of another host":     good("htu", "https://evil.example/auth/open/connect/userinfo"),
		"OP-ATK-09 htu of the Host header":   good("htu", w.server.URL+"/auth/open/connect/userinfo"),
		"OP-DPOP-07 htu http":                good("htu", "http://eid.example/auth/open/connect/userinfo"),
		"OP-DPOP-11 an hour ago":             good("iat", now-3600),
		"OP-DPOP-11 61 s ago":                good("iat", now-61),
		"OP-DPOP-11 an hour ahead":           good("iat", now+3600),
		"OP-DPOP-11 31 s ahead":              good("iat", now+31),
		"OP-DPOP-14 exp has passed":          good("exp", now-31),
		"OP-DPOP-14 nbf is ahead":            good("nbf", now+31),
		"OP-DPOP-12 used before":             used,
		"OP-DPOP-13 ath of another token":    good("ath", b64(sum[:])),
		"OP-DPOP-13 OP-DPOP-17 another key":  jws(e.key, e.header(), e.forToken(token)),
		"OP-DPOP-13 another key's signature": jws(e.key, d.header(), d.forToken(token)),
		"OP-ATK-07 an assertion as a proof":  jws(d.key, es256.with("jwk", jwk(d.key)), w.assertion(c)),
		"OP-DPOP-15 empty":                   "",
		"OP-DPOP-03 over 8 KiB":              good("x", strings.Repeat("x", 9<<10)),
	} {
		w.in(t, name, func(t *testing.T) {
			if name == "OP-DPOP-06 wrong signature" {
				proof = proof[:len(proof)-6] + "AAAAAA"
			}
			x := w.resource("DPoP", token, proof)
			if challenge := x.header.Get("WWW-Authenticate"); x.status != 401 || !strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, `error="invalid_dpop_proof"`) ||
				!strings.Contains(challenge, `algs="`) || x.body != "" {
				t.Errorf("%d %q", x.status, challenge)
			}
		})
	}
	w.in(t, "OP-DPOP-01 OP-HTTP-09 fapi2-access-token-type-header-case-sensitivity", func(t *testing.T) {
		for _, scheme := range []string{"dpop", "DPOP", "dPoP"} {
			if x := w.resource(scheme, token, good()); x.status != 200 {
				t.Errorf("%s: %d", scheme, x.status)
			}
		}
		plain := w.tokens(c, w.visitor())["access_token"].(string)
		for _, scheme := range []string{"bearer", "BEARER", "bEARER"} {
			if x := w.resource(scheme, plain); x.status != 200 {
				t.Errorf("%s: %d", scheme, x.status)
			}
		}
	})
	w.in(t, "OP-UI-06 a client's own token, in the scheme that it came in", func(t *testing.T) {
		mine := w.form("token", own, append(basic(c), "DPoP", d.proof("token"))...).json["access_token"].(string)
		x := w.resource("DPoP", mine, jws(d.key, d.header(), d.forToken(mine)))
		if challenge := x.header.Get("WWW-Authenticate"); x.status != http.StatusForbidden || !strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, `error="insufficient_scope"`) {
			t.Errorf("%d %q", x.status, challenge)
		}
	})
	w.in(t, "OP-DPOP-02 two proofs", func(t *testing.T) {
		if x := w.resource("DPoP", token, good(), good()); x.status != 401 {
			t.Errorf("%d", x.status)
		}
		terr(t, w.form("token", own, append(basic(c), "DPoP", d.proof("token"), "DPoP", d.proof("token"))...), "invalid_dpop_proof")
	})
	w.in(t, "OP-DPOP-15 bound token as a bearer's, bearer's as bound, no proof", func(t *testing.T) {
		plain := w.tokens(c, w.visitor())["access_token"].(string)
		sum := sha256.Sum256([]byte(plain))
		for name, x := range map[string]exchange{
			"Bearer":           w.resource("Bearer", token),
			"Bearer and proof": w.resource("Bearer", token, good()),
			"no proof":         w.resource("DPoP", token),
			"not bound":        w.resource("DPoP", plain, good("ath", b64(sum[:]))),
			"in a form":        w.form("userinfo", url.Values{"access_token": {token}}),
		} {
			if x.status != 401 || x.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %d %v", name, x.status, x.header)
			}
		}
	})
	w.in(t, "OP-DPOP-12 OP-ATK-08 one proof in 50 requests at once", func(t *testing.T) {
		proof := good()
		if got := parallel(50, func(int) bool { return w.resource("DPoP", token, proof).status == 200 }); got != 1 {
			t.Errorf("%d of 50 were taken", got)
		}
	})
	w.in(t, "OP-DPOP-17 client 2's token with client 1's key", func(t *testing.T) {
		other := w.bound(w.client(), e)
		if x := w.resource("DPoP", other, jws(d.key, d.header(), d.forToken(other))); x.status != 401 {
			t.Errorf("%d", x.status)
		}
	})
	for name, proof := range map[string]string{
		"OP-DPOP-05 none at the token endpoint":   jws(nil, d.header().with("alg", "none"), d.claims("POST", "token")),
		"OP-DPOP-07 htm GET":                      jws(d.key, d.header(), d.claims("GET", "token")),
		"OP-DPOP-07 htu of PAR":                   d.proof("par"),
		"OP-DPOP-04 no jti at the token endpoint": jws(d.key, d.header(), d.claims("POST", "token").with("jti", nil)),
	} {
		w.in(t, name, func(t *testing.T) {
			code := w.code(w.visitor(), request(c))
			terr(t, w.form("token", redeem(code), append(basic(c), "DPoP", proof)...), "invalid_dpop_proof")
			if x := w.form("token", redeem(code), append(basic(c), "DPoP", d.proof("token"))...); x.status != 200 {
				t.Errorf("and then with a good one: %s", x.body)
			}
		})
	}
	w.in(t, "OP-DPOP-16 fapi2-ensure-token-endpoint-fails-with-mismatched-dpop-jkt fapi2-ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt fapi2-ensure-dpop-auth-code-binding-success fapi2-ensure-dpopproof-at-par-endpoint-binding-success", func(t *testing.T) {
		for name, begin := range map[string]func() string{
			"dpop_jkt in front": func() string { return w.code(w.visitor(), request(c, "dpop_jkt", d.jkt())) },
			"dpop_jkt pushed": func() string {
				return w.code(w.visitor(), w.pushed(t, c, w.form("par", request(c, "dpop_jkt", d.jkt()), basic(c)...)))
			},
			"proof pushed": func() string {
				return w.code(w.visitor(), w.pushed(t, c, w.form("par", request(c), append(basic(c), "DPoP", d.proof("par"))...)))
			},
		} {
			terr(t, w.form("token", redeem(begin()), append(basic(c), "DPoP", e.proof("token"))...), "invalid_grant")
			terr(t, w.form("token", redeem(begin()), basic(c)...), "invalid_grant")
			if x := w.form("token", redeem(begin()), append(basic(c), "DPoP", d.proof("token"))...); x.status != 200 {
				t.Errorf("%s: %s", name, x.body)
			}
		}
	})
	w.in(t, "OP-INT-02 introspection says to which key", func(t *testing.T) {
		x := w.form("introspect", url.Values{"token": {token}}, basic(c)...)
		cnf, _ := x.json["cnf"].(map[string]any)
		if cnf["jkt"] != d.jkt() || x.json["token_type"] != "DPoP" {
			t.Errorf("%s", x.body)
		}
	})
}

// TestFAPI walks the whole way of a strict client: pushed request, PKCE, a key
// of its own, DPoP, and iss in the answer.
func TestFAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, key := w.strong(relying.FAPI2)
	other, otherKey := w.strong(relying.FAPI2)
	rsaKey := foreign()[0]
	verifier := strings.Repeat("v", 64)
	strict := func(c *relying.Client, change ...string) url.Values {
		return request(c, append([]string{"code_challenge", challenge(verifier), "code_challenge_method", "S256"}, change...)...)
	}
	push := func(change ...string) exchange {
		return w.form("par", asserted(strict(c, change...), jws(key, es256, w.assertion(c))))
	}
	take := func(d *dpop, code string, pairs ...string) exchange {
		return w.form("token", asserted(redeem(code, append([]string{"code_verifier", verifier}, pairs...)...), jws(key, es256, w.assertion(c))), "DPoP", d.proof("token"))
	}
	w.in(t, "fapi2-happy-flow fapi2-ensure-authorization-request-with-64-char-nonce-success fapi2-ensure-authorization-request-with-long-nonce fapi2-ensure-authorization-request-with-long-state fapi2-ensure-other-scope-order-succeeds", func(t *testing.T) {
		d := w.dpop()
		nonce, state := strings.Repeat("n", 384), strings.Repeat("s", 512)
		_, to := w.visitor().authorize(w.pushed(t, c, push("nonce", nonce, "state", state, "redirect_uri", shop+"?shop=1", "scope", "profile openid")))
		if to == nil || to.Query().Get("iss") != issuer || to.Query().Get("state") != state || to.Query().Get("shop") != "1" {
			t.Fatalf("%v %s", to, w.problem())
		}
		x := take(d, to.Query().Get("code"), "redirect_uri", shop+"?shop=1")
		h, id := w.verified(x.json["id_token"])
		if x.status != 200 || x.json["token_type"] != "DPoP" || h["alg"] != "PS256" || id["nonce"] != nonce {
			t.Fatalf("%s", x.body)
		}
		token := x.json["access_token"].(string)
		interaction := uuid.NewString()
		r := w.send("GET", "userinfo", http.Header{"Authorization": {"DPoP " + token}, "Dpop": {jws(d.key, d.header(), d.forToken(token))},
			"X-Fapi-Interaction-Id": {interaction}, "X-Fapi-Customer-Ip-Address": {"2001:db8::1"}, "Accept": {"text/html;q=0.1"}}, nil)
		if r.status != 200 || r.json["sub"] != id["sub"] || r.json["name"] != "Ada Test" || r.header.Get("X-Fapi-Interaction-Id") != interaction || r.header.Get("Date") == "" {
			t.Errorf("OP-UI-08: %d %s %v", r.status, r.body, r.header)
		}
		if r := w.send("GET", "userinfo?access_token="+token, http.Header{"Dpop": {jws(d.key, d.header(), d.forToken(token))}}, nil); r.status != 401 {
			t.Errorf("token in the address: %d", r.status)
		}
	})
	w.in(t, "fapi2-ensure-authorization-request-without-state-success fapi2-ensure-authorization-request-without-nonce-success", func(t *testing.T) {
		_, to := w.visitor().authorize(w.pushed(t, c, push("state", "", "nonce", "")))
		if to == nil || to.Query().Has("state") {
			t.Fatalf("%v", to)
		}
		if id := payload(t, take(w.dpop(), to.Query().Get("code")).json["id_token"]); id["nonce"] != nil {
			t.Errorf("%v", id)
		}
	})
	w.in(t, "OP-TOK-05 fapi2-ensure-holder-of-key-required", func(t *testing.T) {
		code := w.code(w.visitor(), w.pushed(t, c, push()))
		terr(t, w.form("token", asserted(redeem(code, "code_verifier", verifier), jws(key, es256, w.assertion(c)))), "invalid_request")
		if x := take(w.dpop(), code); x.status != 200 {
			t.Errorf("%s", x.body)
		}
	})
	w.in(t, "OP-AUTHZ-04 not pushed", func(t *testing.T) { w.denied(t, w.visitor(), strict(c), "invalid_request") })
	w.in(t, "OP-PKCE-01 fapi2-par-ensure-pkce-required fapi2-par-plain-pkce-rejected", func(t *testing.T) {
		terr(t, push("code_challenge", "", "code_challenge_method", ""), "invalid_request")
		terr(t, push("code_challenge_method", "plain"), "invalid_request")
	})
	w.in(t, "fapi2-ensure-response-type-code-idtoken-fails fapi2-ensure-response-type-token-fails", func(t *testing.T) {
		terr(t, push("response_type", "code id_token"), "unsupported_response_type")
		terr(t, push("response_type", "token"), "unsupported_response_type")
	})
	w.in(t, "OP-DPOP-05 fapi2-dpop-negative-tests RS256, and a good one after it", func(t *testing.T) {
		d := w.dpop()
		code := w.code(w.visitor(), w.pushed(t, c, push()))
		proof := jws(rsaKey, object{"typ": "dpop+jwt", "alg": "RS256", "jwk": jwk(rsaKey)}, d.claims("POST", "token"))
		terr(t, w.form("token", asserted(redeem(code, "code_verifier", verifier), jws(key, es256, w.assertion(c))), "DPoP", proof), "invalid_dpop_proof")
		if x := take(d, code); x.status != 200 {
			t.Errorf("%s", x.body)
		}
	})
	w.in(t, "OP-TOK-07 refresh tokens stay as they are", func(t *testing.T) {
		d := w.dpop()
		first := take(d, w.code(w.visitor(), w.pushed(t, c, push("scope", "openid offline_access")))).json["refresh_token"]
		for range 2 {
			x := w.form("token", asserted(refreshed(first), jws(key, es256, w.assertion(c))), "DPoP", d.proof("token"))
			if x.status != 200 || x.json["refresh_token"] != first {
				t.Errorf("%s", x.body)
			}
		}
		terr(t, w.form("token", asserted(refreshed(first), jws(key, es256, w.assertion(c)))), "invalid_request")
		terr(t, w.form("token", asserted(refreshed(first), jws(otherKey, es256, w.assertion(other))), "DPoP", d.proof("token")), "invalid_grant")
	})
	w.in(t, "OP-TOK-03 a code of another client", func(t *testing.T) {
		code := w.code(w.visitor(), w.pushed(t, c, push()))
		terr(t, w.form("token", asserted(redeem(code, "code_verifier", verifier), jws(otherKey, es256, w.assertion(other))), "DPoP", w.dpop().proof("token")), "invalid_grant")
	})
	w.in(t, "OP-JWKS-01 the key of each token is published", func(t *testing.T) {
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		x := w.send("GET", "/auth/open/.well-known/openid-configuration/jwks", nil, nil)
		if err := json.Unmarshal([]byte(x.body), &set); err != nil {
			t.Fatal(err)
		}
		seen := map[any]bool{}
		for _, k := range set.Keys {
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k", "oth"} {
				if k[private] != nil {
					t.Errorf("%v shows %s", k["kid"], private)
				}
			}
			if seen[k["kid"]] || k["kid"] == nil || k["kty"] == nil || k["use"] == nil || k["alg"] == nil {
				t.Errorf("%v", k)
			}
			seen[k["kid"]] = true
		}
		if len(set.Keys) != 5 {
			t.Errorf("%d keys", len(set.Keys))
		}
	})
}
