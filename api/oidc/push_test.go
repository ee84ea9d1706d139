package oidc_test

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/relying"
)

// pushed holds the form of a PAR answer and is the request to send a browser
// with.
func (w *world) pushed(t *testing.T, c *relying.Client, x exchange) url.Values {
	t.Helper()
	uri, _ := x.json["request_uri"].(string)
	handle, ok := strings.CutPrefix(uri, "urn:ietf:params:oauth:request_uri:")
	if x.status != http.StatusCreated || !ok || len(handle) != 51 || len(x.json) != 2 || x.header.Get("Content-Type") != "application/json" ||
		!strings.Contains(x.header.Get("Cache-Control"), "no-store") {
		t.Fatalf("%d %s", x.status, x.body)
	}
	return url.Values{"client_id": {c.ID}, "request_uri": {uri}}
}

func TestPAR(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	other := w.client()
	w.in(t, "OP-PAR-01 OP-HTTP-01 life by profile", func(t *testing.T) {
		x := w.form("par", request(c), basic(c)...)
		w.pushed(t, c, x)
		if x.json["expires_in"] != 300.0 {
			t.Errorf("%v", x.json)
		}
		f, key := w.strong(relying.FAPI2)
		x = w.form("par", asserted(request(f, "code_challenge", challenge("v"), "code_challenge_method", "S256"), jws(key, es256, w.assertion(f))))
		w.pushed(t, f, x)
		if x.json["expires_in"] != 90.0 {
			t.Errorf("%v", x.json)
		}
	})
	w.in(t, "OP-PAR-02 without or with wrong authentication", func(t *testing.T) {
		terr(t, w.form("par", request(c)), "invalid_client")
		terr(t, w.form("par", request(c), "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.ID+":wrong"))), "invalid_client")
		terr(t, w.form("par", request(c), basic(other)...), "invalid_client")
		if x := w.form("par", request(c)); x.status != http.StatusUnauthorized {
			t.Errorf("%d", x.status)
		}
		compat := w.client(func(c *relying.Client) { c.Profile = relying.Signicat })
		x := w.form("par", request(compat), "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(compat.ID+":wrong")))
		if terr(t, x, "invalid_client"); x.status != http.StatusBadRequest || x.json["error_uri"] != nil {
			t.Errorf("%d %s", x.status, x.body)
		}
	})
	w.in(t, "OP-PAR-03 fapi2-par-authorization-request-containing-request_uri-form-param", func(t *testing.T) {
		for _, uri := range []string{"https://shop.example/request", "urn:ietf:params:oauth:request_uri:x"} {
			q := request(c)
			q.Set("request_uri", uri)
			terr(t, w.form("par", q, basic(c)...), "invalid_request")
		}
	})
	w.in(t, "OP-PAR-04 all is checked when it is pushed fapi2-ensure-redirect-uri-in-authorization-request fapi2-plain-fapi-tolerate-unregistered-redirect-uri", func(t *testing.T) {
		for name, want := range map[[2]string]string{
			{"redirect_uri", ""}:                        "invalid_request",
			{"redirect_uri", "https://evil.example/cb"}: "invalid_request",
			{"response_type", ""}:                       "invalid_request",
			{"response_type", "token"}:                  "unsupported_response_type",
			{"response_mode", "fragment"}:               "invalid_request",
			{"scope", "profile"}:                        "invalid_scope",
			{"code_challenge", "x"}:                     "invalid_request",
			{"prompt", "none login"}:                    "invalid_request",
			{"claims", "x"}:                             "invalid_request",
			{"max_age", "x"}:                            "invalid_request",
			{"dpop_jkt", "x"}:                           "invalid_request",
			{"id_token_hint", "x"}:                      "invalid_request",
		} {
			terr(t, w.form("par", request(c, name[0], name[1]), basic(c)...), want)
			if t.Failed() {
				t.Fatal(name)
			}
		}
	})
	w.in(t, "OP-PAR-05 OP-ATK-11 fapi2-par-attempt-to-use-request_uri-for-different-client", func(t *testing.T) {
		q := w.pushed(t, c, w.form("par", request(c), basic(c)...))
		q.Set("client_id", other.ID)
		w.refused(t, w.visitor(), q, "invalid_request_uri")
		q.Set("client_id", c.ID)
		w.code(w.visitor(), q)
	})
	w.in(t, "OP-PAR-07 fapi2-par-attempt-to-use-expired-request_uri fapi2-par-without-duplicate-parameters", func(t *testing.T) {
		q := w.pushed(t, c, w.form("par", request(c, "state", "inside"), basic(c)...))
		for name, value := range map[string]string{"state": "outside", "redirect_uri": "https://evil.example", "scope": "openid nin", "response_type": "token", "request": "x"} {
			q.Set(name, value)
		}
		_, to := w.visitor().authorize(q)
		if to == nil || to.Query().Get("state") != "inside" || !strings.HasPrefix(to.String(), shop) {
			t.Errorf("%v", to)
		}
		q = w.pushed(t, c, w.form("par", request(c), basic(c)...))
		w.clock.Advance(299 * time.Second)
		page := w.visitor()
		w.clock.Advance(time.Second)
		w.refused(t, page, q, "invalid_request_uri")
		w.refused(t, page, url.Values{"client_id": {c.ID}, "request_uri": {"urn:ietf:params:oauth:request_uri:" + strings.Repeat("a", 43)}}, "invalid_request_uri")
	})
	w.in(t, "OP-PAR-08 OP-DPOP-16 fapi2-ensure-mismatched-dpop-jkt-fails", func(t *testing.T) {
		d, e := w.dpop(), w.dpop()
		terr(t, w.form("par", request(c, "dpop_jkt", e.jkt()), append(basic(c), "DPoP", d.proof("par"))...), "invalid_dpop_proof")
		w.pushed(t, c, w.form("par", request(c, "dpop_jkt", d.jkt()), append(basic(c), "DPoP", d.proof("par"))...))
		signed, key := w.strong(relying.Standard)
		inner := w.object(signed, "dpop_jkt", e.jkt())
		terr(t, w.form("par", asserted(url.Values{"request": {jws(key, es256, inner)}}, jws(key, es256, w.assertion(signed))), "DPoP", d.proof("par")), "invalid_dpop_proof")
		terr(t, w.form("par", request(c), append(basic(c), "DPoP", "x")...), "invalid_dpop_proof")
	})
	w.in(t, "OP-PAR-09 nothing of the request is in what the browser gets", func(t *testing.T) {
		q := w.pushed(t, c, w.form("par", request(c, "state", "canary-state", "nonce", "canary-nonce"), basic(c)...))
		x := w.send("GET", "authorize?"+q.Encode(), nil, nil)
		for _, text := range append([]string{x.body, x.header.Get("Location")}, x.header.Values("Set-Cookie")...) {
			if strings.Contains(text, "canary") || strings.Contains(text, "secret") {
				t.Errorf("%s", text)
			}
		}
	})
	w.in(t, "OP-AUTHZ-04 fapi2-ensure-unsigned-authorization-request-without-using-par-fails PAR that is required", func(t *testing.T) {
		strict := w.client(func(c *relying.Client) { c.RequirePAR = true })
		w.denied(t, w.visitor(), request(strict), "invalid_request")
		x := w.form("authorize", request(strict))
		if loc := x.header.Get("Location"); !strings.Contains(loc, "error=invalid_request") {
			t.Errorf("by POST: %s", loc)
		}
		w.code(w.visitor(), w.pushed(t, strict, w.form("par", request(strict), basic(strict)...)))
	})
	w.in(t, "OP-ATK-14 what anybody can push is not sealed", func(t *testing.T) {
		public := w.client(func(c *relying.Client) { c.Auth, c.Secrets = relying.Public, nil })
		text := "sbid_intention_text:" + base64.StdEncoding.EncodeToString([]byte("Pay me"))
		for c, want := range map[*relying.Client]bool{public: false, c: true} {
			q := request(c, "acr_values", "idp:sbid "+text, "code_challenge", challenge("v"), "code_challenge_method", "S256")
			var header []string
			if c == public {
				q.Set("client_id", c.ID)
			} else {
				header = basic(c)
			}
			v := w.visitor()
			w.code(v, w.pushed(t, c, w.form("par", q, header...)))
			id := strings.TrimSuffix(strings.TrimPrefix(v.seen[0], "/auth/open/login/"), "/")
			if _, err := w.broker.Texts(t.Context(), id); (err == nil) != want {
				t.Errorf("public %v: texts %v", c == public, err)
			}
		}
	})
}

// object is a request object of a client.
func (w *world) object(c *relying.Client, change ...any) object {
	now := w.clock.Now().Unix()
	return object{"iss": c.ID, "aud": issuer, "client_id": c.ID, "response_type": "code", "redirect_uri": shop, "scope": "openid profile", "state": "inside", "nonce": "n1",
		"acr_values": "idp:sbid", "iat": now, "nbf": now, "exp": now + 300, "code_challenge": challenge(strings.Repeat("v", 43)), "code_challenge_method": "S256"}.with(change...)
}

func TestJAR(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, key := w.strong(relying.Standard)
	stranger, strangersKey := w.strong(relying.Standard)
	now := w.clock.Now().Unix()
	ours, rsaKey := &keys()["enc"].(*rsa.PrivateKey).PublicKey, foreign()[0]
	// front sends an object by the browser, push by the client itself.
	front := func(object string) url.Values { return url.Values{"client_id": {c.ID}, "request": {object}} }
	push := func(object string) exchange {
		return w.form("par", asserted(url.Values{"request": {object}}, jws(key, es256, w.assertion(c))))
	}
	signed := func(change ...any) string { return jws(key, es256, w.object(c, change...)) }
	for name, object := range map[string]string{
		"OP-JAR-01 as it should be":        signed(),
		"OP-JAR-01 typ of request objects": jws(key, es256.with("typ", "oauth-authz-req+jwt"), w.object(c)),
		"OP-JAR-01 typ JWT":                jws(key, es256.with("typ", "jwt"), w.object(c)),
		"OP-JAR-01 no kid":                 jws(key, es256.with("kid", nil), w.object(c)),
		"OP-JAR-02 fapi2-ensure-request-object-with-multiple-aud-succeeds":                   signed("aud", []string{"https://other.example", issuer}),
		"OP-JAR-03 fapi2-ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted": signed("nbf", now+8, "iat", now+8),
		"OP-JAR-03 without times":       signed("nbf", nil, "iat", nil, "exp", nil),
		"OP-JAR-02 without client_id":   signed("client_id", nil),
		"OP-JAR-05 encrypted":           jwe(ours, "key-RSA-OAEP", signed()),
		"OP-JAR-01 numbers and objects": signed("max_age", 900, "claims", object{"id_token": object{"name": nil}}),
		"OP-JAR-06 another sub":         signed("sub", "somebody"),
	} {
		w.in(t, name, func(t *testing.T) {
			q := front(object)
			q.Set("state", "outside")
			_, to := w.visitor().authorize(q)
			if to == nil || to.Query().Get("state") != "inside" || to.Query().Get("code") == "" {
				t.Errorf("in front: %v, %s", to, w.problem())
			}
			w.pushed(t, c, push(object))
		})
	}
	none := jws(nil, object{"alg": "none"}, w.object(c))
	publicPEM := jwks("rp", key) // what an HMAC of a confused reader would be keyed with
	whole := signed()
	multiple, err := json.Marshal(object{"payload": strings.Split(whole, ".")[1], "signatures": []object{{"protected": strings.Split(whole, ".")[0], "signature": strings.Split(whole, ".")[2]}}})
	if err != nil {
		t.Fatal(err)
	}
	header := func(raw string) string { return sign(key, "ES256", b64([]byte(raw))+"."+strings.Split(whole, ".")[1]) }
	for name, object := range map[string]string{
		"OP-JAR-04 fapi2-ensure-request-object-signature-algorithm-is-not-none oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported": none,
		"OP-JAR-04 none with another case":                                    jws(nil, object{"alg": "NoNe"}, w.object(c)),
		"OP-ATK-06 HMAC with the public key":                                  jws(publicPEM, object{"alg": "HS256", "kid": "rp"}, w.object(c)),
		"OP-JAR-04 fapi2-ensure-request-object-with-invalid-signature-fails":  whole[:len(whole)-8] + "AAAAAAAA",
		"OP-JAR-04 fapi2-ensure-matching-key-in-authorization-request":        jws(strangersKey, es256, w.object(c)),
		"OP-JAR-04 of another client":                                         jws(strangersKey, es256, w.object(stranger)),
		"OP-JAR-04 algorithm of another key":                                  jws(rsaKey, object{"alg": "RS256", "kid": "rp"}, w.object(c)),
		"OP-JAR-02 fapi2-ensure-request-object-with-bad-aud-fails":            signed("aud", "https://other.example"),
		"OP-JAR-02 aud of an endpoint":                                        signed("aud", issuer+"/connect/authorize"),
		"OP-JAR-02 no aud":                                                    signed("aud", nil),
		"OP-JAR-02 no iss":                                                    signed("iss", nil),
		"OP-JAR-02 another iss":                                               signed("iss", stranger.ID),
		"OP-AUTHZ-13 another client_id inside":                                signed("client_id", stranger.ID),
		"OP-JAR-04 fapi2-ensure-expired-request-object-fails":                 signed("exp", now-31),
		"OP-JAR-03 nbf more than a minute ahead":                              signed("nbf", now+61),
		"OP-JAR-03 iat more than a minute ahead":                              signed("iat", now+61),
		"OP-JAR-04 exp is text":                                               signed("exp", "soon"),
		"OP-JAR-04 exp is years ahead, and its jti would be kept for so long": signed("exp", now+25*3600, "jti", "long"),
		"OP-JAR-06 sub that is the client":                                    signed("sub", c.ID),
		"OP-PAR-03 fapi2-par-authorization-request-containing-request_uri":    signed("request_uri", "urn:ietf:params:oauth:request_uri:x"),
		"OP-JAR-01 request inside":                                            signed("request", whole),
		"OP-JAR-01 nested":                                                    jws(key, es256.with("cty", "JWT"), object{"request": whole}),
		"OP-JAR-01 typ of an assertion":                                       jws(key, es256.with("typ", "dpop+jwt"), w.object(c)),
		"OP-ATK-06 kid that is a path":                                        jws(key, es256.with("kid", "../../dev/null"), w.object(c)),
		"OP-ATK-06 kid that is SQL":                                           jws(key, es256.with("kid", "' OR 1=1 --"), w.object(c)),
		"OP-ATK-06 key in the header":                                         jws(strangersKey, object{"alg": "ES256", "jwk": jwk(strangersKey)}, w.object(c)),
		"OP-ATK-06 address in the header":                                     jws(strangersKey, object{"alg": "ES256", "jku": "https://evil.example/jwks", "x5u": "https://evil.example/c"}, w.object(c)),
		"OP-ATK-06 crit":                                                      jws(key, es256.with("crit", []string{"x"}, "x", 1), w.object(c)),
		"OP-ATK-06 b64":                                                       jws(key, es256.with("b64", false, "crit", []string{"b64"}), w.object(c)),
		"OP-ATK-06 a member twice":                                            header(`{"alg":"none","kid":"rp","alg":"ES256"}`),
		"OP-ATK-06 a member of another case":                                  header(`{"Alg":"none","kid":"rp","alg":"ES256"}`),
		"OP-ATK-06 JSON serialisation":                                        string(multiple),
		"OP-ATK-06 8 KB of dots":                                              strings.Repeat(".", 8<<10),
		"OP-ATK-06 no payload":                                                "..",
		"OP-ATK-06 white space":                                               " " + whole,
		"OP-ATK-06 padding":                                                   whole + "=",
		"OP-JAR-05 plain JSON inside":                                         jwe(ours, "key-RSA-OAEP", `{"client_id":"`+c.ID+`","redirect_uri":"`+shop+`"}`),
		"OP-JAR-05 unsigned inside":                                           jwe(ours, "key-RSA-OAEP", none),
		"OP-JAR-05 encrypted twice":                                           jwe(ours, "key-RSA-OAEP", jwe(ours, "key-RSA-OAEP", whole)),
		"OP-JAR-05 no kid":                                                    jwe(ours, "", whole, "kid", nil),
		"OP-JAR-05 to a signing key":                                          jwe(ours, "key-RS256", whole),
		"OP-JAR-05 RSA1_5":                                                    jwe(ours, "key-RSA-OAEP", whole, "alg", "RSA1_5"),
		"OP-ATK-06 zip":                                                       jwe(ours, "key-RSA-OAEP", whole, "zip", "DEF"),
		"OP-ATK-06 PBES2":                                                     jwe(ours, "key-RSA-OAEP", whole, "alg", "PBES2-HS256+A128KW", "p2c", 1<<30, "p2s", "AAAA"),
		"OP-JAR-05 tampered":                                                  jwe(ours, "key-RSA-OAEP", whole) + "A",
		"OP-HTTP-07 over 64 KiB":                                              signed("x", strings.Repeat("x", 66<<10)),
	} {
		w.in(t, name, func(t *testing.T) {
			q := front(object)
			q.Set("redirect_uri", shop)
			if len(object) < 60<<10 { // what a server takes as an address
				w.refused(t, w.visitor(), q, "invalid_request_object")
			}
			terr(t, push(object), "invalid_request_object")
		})
	}
	w.in(t, "fapi2-ensure-request-object-without-redirect-uri-fails oidcc-ensure-request-object-with-redirect-uri", func(t *testing.T) {
		q := front(signed("redirect_uri", nil))
		q.Set("redirect_uri", shop)
		w.refused(t, w.visitor(), q, "invalid_request")
		q = front(signed())
		q.Set("redirect_uri", "https://evil.example/cb")
		if _, to := w.visitor().authorize(q); to == nil || !strings.HasPrefix(to.String(), shop) {
			t.Errorf("%v", to)
		}
	})
	w.in(t, "OP-AUTHZ-13 fapi2-ensure-different-nonce-inside-and-outside-request-object fapi2-ensure-different-state-inside-and-outside-request-object fapi2-state-only-outside-request-object-not-used", func(t *testing.T) {
		q := front(signed("state", nil, "nonce", nil))
		q.Set("state", "outside")
		q.Set("nonce", "outside")
		_, to := w.visitor().authorize(q)
		if to == nil || to.Query().Has("state") {
			t.Fatalf("%v", to)
		}
		x := w.form("token", asserted(redeem(to.Query().Get("code"), "code_verifier", strings.Repeat("v", 43)), jws(key, es256, w.assertion(c))))
		if n, ok := payload(t, x.json["id_token"])["nonce"]; ok {
			t.Errorf("nonce %v", n)
		}
	})
	w.in(t, "OP-ATK-08 a jti counts once, wherever it is sent", func(t *testing.T) {
		object := signed("jti", "j-1")
		w.pushed(t, c, push(object))
		terr(t, push(object), "invalid_request_object")
		w.refused(t, w.visitor(), front(object), "invalid_request_object")
		endless := signed("jti", "j-2", "exp", nil, "nbf", nil, "iat", nil)
		w.pushed(t, c, push(endless))
		w.clock.Advance(59 * time.Minute)
		terr(t, push(endless), "invalid_request_object")
		w.clock.Advance(-59 * time.Minute)
	})
	w.in(t, "OP-JAR-01 a number counts", func(t *testing.T) {
		terr(t, push(signed("max_age", -1)), "invalid_request")
	})
	w.in(t, "OP-JAR-07 oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported by reference, and nothing is fetched", func(t *testing.T) {
		w.denied(t, w.visitor(), request(c, "request_uri", "https://shop.example/request.jwt"), "request_uri_not_supported")
		w.refused(t, w.visitor(), request(c, "request_uri", "https://shop.example/request.jwt", "redirect_uri", "https://evil.example"), "request_uri_not_supported")
		w.refused(t, w.visitor(), request(c, "request_uri", "URN:ietf:params:oauth:request_uri:x", "redirect_uri", ""), "request_uri_not_supported")
		if w.fetched > 0 {
			t.Errorf("%d documents were fetched", w.fetched)
		}
	})
	w.in(t, "OP-JAR-04 a client that must sign", func(t *testing.T) {
		strict := w.client(func(c *relying.Client) { c.RequireRequest, c.JWKS, c.RequestAlg = true, jwks("rp", key), "ES256" })
		w.denied(t, w.visitor(), request(strict), "invalid_request")
		x := w.form("par", request(strict), basic(strict)...)
		if terr(t, x, "invalid_request"); x.json["error_description"] != "Client must use request object, but no request or request_uri parameter present" {
			t.Errorf("%s", x.body)
		}
		w.code(w.visitor(), url.Values{"client_id": {strict.ID}, "request": {jws(key, es256, w.object(strict))}})
	})
	w.in(t, "OP-JAR-01 another algorithm than the one that is registered", func(t *testing.T) {
		one := w.client(func(c *relying.Client) { c.JWKS, c.RequestAlg = jwks("rp", rsaKey), "PS256" })
		for alg, want := range map[string]string{"RS256": "invalid_request_object", "PS384": "invalid_request_object", "PS256": ""} {
			x := w.form("par", url.Values{"request": {jws(rsaKey, object{"alg": alg, "kid": "rp"}, w.object(one))}}, basic(one)...)
			if want == "" {
				w.pushed(t, one, x)
			} else {
				terr(t, x, want)
			}
		}
	})
	w.in(t, "OP-JAR-05 bare JSON of a client that may send it proves nothing", func(t *testing.T) {
		may := w.client(func(c *relying.Client) { c.Profile, c.BareObject, c.JWKS = relying.Signicat, true, jwks("rp", key) })
		bare := func(change ...any) string {
			raw, err := json.Marshal(w.object(may, "iss", nil, "aud", nil, "nbf", nil, "iat", nil, "exp", nil).with(change...))
			if err != nil {
				t.Fatal(err)
			}
			return jwe(ours, "key-RSA-OAEP", string(raw))
		}
		of := func(object string) url.Values { return url.Values{"client_id": {may.ID}, "request": {object}} }
		for _, object := range []string{bare(), bare("iss", may.ID, "aud", issuer, "exp", now+300), jwe(ours, "key-RSA-OAEP", jws(key, es256, w.object(may)))} {
			if _, to := w.visitor().authorize(of(object)); to == nil || to.Query().Get("code") == "" || to.Query().Get("state") != "inside" {
				t.Errorf("%v, %s", to, w.problem())
			}
		}
		for name, object := range map[string]string{
			"not encrypted":    `{"client_id":"` + may.ID + `"}`,
			"another iss":      bare("iss", c.ID),
			"another aud":      bare("aud", "https://other.example"),
			"another client":   bare("client_id", c.ID),
			"sub":              bare("sub", may.ID),
			"expired":          bare("exp", now-31),
			"request inside":   bare("request", whole),
			"alg none":         jwe(ours, "key-RSA-OAEP", jws(nil, object{"alg": "none"}, w.object(may))),
			"of another's key": jwe(ours, "key-RSA-OAEP", jws(strangersKey, es256, w.object(may))),
			"no object":        jwe(ours, "key-RSA-OAEP", `[]`),
		} {
			if w.refused(t, w.visitor(), of(object), "invalid_request_object"); t.Failed() {
				t.Fatal(name)
			}
		}
		// A stranger uses up no jti of the client's.
		for _, object := range []string{bare("jti", "j1"), bare("jti", "j1"), jws(key, es256, w.object(may, "jti", "j1"))} {
			w.code(w.visitor(), of(object))
		}
		w.refused(t, w.visitor(), of(jws(key, es256, w.object(may, "jti", "j1"))), "invalid_request_object")
		text := "idp:sbid sbid_intention_text:" + base64.StdEncoding.EncodeToString([]byte("Read me"))
		for object, want := range map[string]bool{bare("acr_values", text): false, jws(key, es256, w.object(may, "acr_values", text)): true} {
			v := w.visitor()
			w.code(v, of(object))
			id := strings.TrimSuffix(strings.TrimPrefix(v.seen[0], "/auth/open/login/"), "/")
			if _, err := w.broker.Texts(t.Context(), id); (err == nil) != want {
				t.Errorf("signed %v: texts %v", want, err)
			}
		}
	})
	w.in(t, "OP-JAR-03 OP-RM-04 fapi2-ensure-signed-request-object-with-RS256-fails fapi2-ensure-unsigned-request-at-par-endpoint-fails", func(t *testing.T) {
		ms, key := w.strong(relying.FAPI2Signed)
		push := func(object string) exchange {
			return w.form("par", asserted(url.Values{"request": {object}}, jws(key, es256, w.assertion(ms))))
		}
		now := w.clock.Now().Unix()
		good := w.object(ms, "response_mode", "jwt")
		for name, change := range map[string][]any{
			"fapi2-ensure-request-object-without-exp-fails":      {"exp", nil},
			"fapi2-ensure-request-object-without-nbf-fails":      {"nbf", nil},
			"fapi2-ensure-request-object-with-exp-over-60-fails": {"exp", now + 70*60},
			"fapi2-ensure-request-object-with-nbf-over-60-fails": {"nbf", now - 70*60},
		} {
			if terr(t, push(jws(key, es256, good.with(change...))), "invalid_request_object"); t.Failed() {
				t.Fatal(name)
			}
		}
		ring := w.client(func(c *relying.Client) {
			c.Profile, c.Auth, c.Secrets, c.JWKS = relying.FAPI2Signed, relying.PrivateKeyJWT, nil, jwks("rp", rsaKey)
		})
		ps256 := object{"alg": "PS256", "kid": "rp"}
		for alg, want := range map[string]int{"RS256": 400, "PS256": 201} {
			x := w.form("par", asserted(url.Values{"request": {jws(rsaKey, object{"alg": alg, "kid": "rp"}, w.object(ring, "response_mode", "jwt"))}}, jws(rsaKey, ps256, w.assertion(ring))))
			if x.status != want {
				t.Errorf("%s: %d %s", alg, x.status, x.body)
			}
		}
		terr(t, w.form("par", asserted(request(ms), jws(key, es256, w.assertion(ms)))), "invalid_request")
		_, to := w.visitor().authorize(w.pushed(t, ms, push(jws(key, es256, good))))
		if to == nil || len(to.Query()) != 1 {
			t.Fatalf("%v", to)
		}
		if h, got := w.verified(to.Query().Get("response")); h["alg"] != "PS256" || got["code"] == nil || got["state"] != "inside" {
			t.Errorf("%v %v", h, got)
		}
		x := push(jws(key, es256, good.with("response_mode", "query")))
		terr(t, x, "invalid_request")
	})
}
