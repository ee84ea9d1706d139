package oidc_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/relying"
)

// own asks for a client's own token, the shortest way to prove who one is.
var own = url.Values{"grant_type": {"client_credentials"}}

func credentials(id, secret string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))}
}

func withForm(base url.Values, pairs ...string) url.Values {
	out := url.Values{}
	for k, v := range base {
		out[k] = v
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		out.Set(pairs[i], pairs[i+1])
	}
	return out
}

func TestClientSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	body := w.client(func(c *relying.Client) { c.Auth = relying.SecretPost })
	public := w.client(func(c *relying.Client) { c.Auth, c.Secrets = relying.Public, nil })
	odd := w.client(func(c *relying.Client) {
		c.Secrets = []relying.ClientSecret{{Name: "old", Hash: relying.HashSecret("old"), Expires: w.clock.Now().Add(time.Hour)}, {Name: "new", Hash: relying.HashSecret("p%:+ ü")}}
	})
	for name, v := range map[string]struct {
		form   url.Values
		header []string
	}{
		"OP-CA-01 oidcc-server basic":                       {own, basic(c)},
		"OP-CA-01 client_id beside it":                      {withForm(own, "client_id", c.ID), basic(c)},
		"OP-HTTP-09 scheme in any case":                     {own, []string{"Authorization", strings.Replace(basic(c)[1], "Basic", "bASIC", 1)}},
		"OP-CA-01 oidcc-server-client-secret-post":          {withForm(own, "client_id", body.ID, "client_secret", "secret"), nil},
		"OP-CA-02 form-coded in the header":                 {own, credentials(odd.ID, url.QueryEscape("p%:+ ü"))},
		"OP-CA-02 the older of two secrets, before its end": {own, credentials(odd.ID, "old")},
	} {
		w.in(t, name, func(t *testing.T) {
			if x := w.form("token", v.form, v.header...); x.status != http.StatusOK {
				t.Errorf("%d %s", x.status, x.body)
			}
		})
	}
	for name, v := range map[string]struct {
		form   url.Values
		header []string
	}{
		"OP-CA-01 none":                                     {own, nil},
		"OP-CA-01 two methods at once":                      {withForm(own, "client_id", c.ID, "client_secret", "secret"), basic(c)},
		"OP-CA-01 two headers":                              {own, append(basic(c), basic(c)...)},
		"OP-CA-01 secret in the body of a basic client":     {withForm(own, "client_id", c.ID, "client_secret", "secret"), nil},
		"OP-CA-01 header of a post client":                  {own, credentials(body.ID, "secret")},
		"OP-CA-01 id alone of a client with a secret":       {withForm(own, "client_id", c.ID), nil},
		"OP-CA-01 assertion of a client with a secret":      {asserted(own, jws(newKey(), es256, w.assertion(c))), nil},
		"OP-CA-02 wrong secret":                             {own, credentials(c.ID, "Secret")},
		"OP-CA-02 longer secret":                            {own, credentials(c.ID, "secret1")},
		"OP-CA-02 no secret":                                {own, credentials(c.ID, "")},
		"OP-CA-02 nobody":                                   {own, credentials("nobody", "secret")},
		"OP-CA-02 long name":                                {own, credentials(strings.Repeat("x", 101), "secret")},
		"OP-CA-02 not base64":                               {own, []string{"Authorization", "Basic ?"}},
		"OP-CA-02 no colon":                                 {own, []string{"Authorization", "Basic eA=="}},
		"OP-CA-02 bad escapes":                              {own, credentials(c.ID, "%zz")},
		"OP-CA-02 bearer":                                   {own, []string{"Authorization", "Bearer secret"}},
		"OP-CA-02 secret of a public client":                {own, credentials(public.ID, "")},
		"OP-CA-02 another scheme":                           {own, []string{"Authorization", strings.Replace(basic(c)[1], "Basic", "Digest", 1)}},
		"OP-CA-01 type of an assertion that is not there":   {asserted(withForm(own, "client_id", public.ID), ""), nil},
		"OP-CA-01 assertion of a public client":             {withForm(own, "client_id", public.ID, "client_assertion", "x"), nil},
		"OP-CA-05 fapi2-ensure-client-id-in-token-endpoint": {withForm(own, "client_id", body.ID), basic(c)},
		"OP-CA-01 secret in the address":                    {withForm(own, "client_id", body.ID), nil},
	} {
		w.in(t, name, func(t *testing.T) {
			x := w.form("token?client_secret=secret", v.form, v.header...)
			terr(t, x, "invalid_client")
			if x.status != http.StatusUnauthorized || !strings.HasPrefix(x.header.Get("WWW-Authenticate"), `Basic realm="`) {
				t.Errorf("OP-HTTP-12: %d, WWW-Authenticate %q", x.status, x.header.Get("WWW-Authenticate"))
			}
		})
	}
	w.in(t, "OP-CA-02 a secret ends", func(t *testing.T) {
		w.clock.Advance(time.Hour)
		terr(t, w.form("token", own, credentials(odd.ID, "old")...), "invalid_client")
	})
	w.in(t, "signicat: always 400, with an address", func(t *testing.T) {
		compat := w.client(func(c *relying.Client) { c.Profile = relying.Signicat })
		x := w.form("token", own, credentials(compat.ID, "wrong")...)
		at, _ := x.json["error_uri"].(string)
		if x.status != http.StatusBadRequest || x.header.Get("WWW-Authenticate") == "" || at != issuer+"/config/errors/invalid_client" || !strings.HasPrefix(x.body, `{"error":"invalid_client","error_uri":"`) {
			t.Errorf("%d %s", x.status, x.body)
		}
		if y := w.send("GET", strings.TrimPrefix(at, "https://eid.example"), nil, nil); y.status != http.StatusSeeOther || y.header.Get("Location") != "/docs/errors/invalid_client" {
			t.Errorf("what it leads to: %d, %q", y.status, y.header.Get("Location"))
		}
	})
	w.in(t, "OP-CA-07 who has not proven who he is learns nothing of codes", func(t *testing.T) {
		code := w.code(w.visitor(), request(c))
		a := w.form("token", redeem(code), credentials(c.ID, "wrong")...)
		b := w.form("token", redeem("nosuch"), credentials(c.ID, "wrong")...)
		if a.body != b.body || a.status != b.status {
			t.Errorf("%s and %s", a.body, b.body)
		}
		if x := w.form("token", redeem(code), basic(c)...); x.status != http.StatusOK {
			t.Errorf("the code was used up: %s", x.body)
		}
	})
}

func TestAssertions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := w.clock.Now().Unix()
	std, key := w.strong(relying.Standard)
	fapi, fapiKey := w.strong(relying.FAPI2)
	other, otherKey := w.strong(relying.FAPI2)
	rsaKey := foreign()[0]
	ring := w.client(func(c *relying.Client) {
		c.Profile, c.Auth, c.Secrets, c.JWKS = relying.FAPI2, relying.PrivateKeyJWT, nil, jwks("rp", rsaKey)
	})
	d := w.dpop()
	ask := func(assertion string, pairs ...string) exchange {
		return w.form("token", asserted(withForm(own, pairs...), assertion), "DPoP", d.proof("token"))
	}
	pushes := func(assertion string) exchange {
		return w.form("par", asserted(request(fapi, "client_id", "", "code_challenge", challenge("v"), "code_challenge_method", "S256"), assertion))
	}
	for name, assertion := range map[string]string{
		"OP-CA-03 aud is the issuer":         jws(key, es256, w.assertion(std)),
		"OP-CA-03 aud is the token endpoint": jws(key, es256, w.assertion(std, "aud", issuer+"/connect/token")),
		"OP-CA-03 aud alone in an array":     jws(key, es256, w.assertion(std, "aud", []string{issuer})),
		"OP-CA-03 no iat":                    jws(key, es256, w.assertion(std, "iat", nil)),
		"OP-CA-03 expired within the skew":   jws(key, es256, w.assertion(std, "exp", now-29)),
		"OP-CA-04 fapi2-par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted": jws(fapiKey, es256, w.assertion(fapi, "nbf", now+8, "iat", now+8)),
		"OP-CA-03 PS256": jws(rsaKey, object{"alg": "PS256", "kid": "rp"}, w.assertion(ring)),
	} {
		w.in(t, name, func(t *testing.T) {
			if x := ask(assertion); x.status != http.StatusOK {
				t.Errorf("%d %s", x.status, x.body)
			}
		})
	}
	id := payload(t, w.tokens(w.client(), w.visitor())["id_token"])
	for name, assertion := range map[string]string{
		"OP-CA-04 fapi2-par-test-array-as-audience-fails":              jws(fapiKey, es256, w.assertion(fapi, "aud", []string{issuer})),
		"OP-CA-04 fapi2-par-test-par-endpoint-url-as-audience-fails":   jws(fapiKey, es256, w.assertion(fapi, "aud", issuer+"/connect/par")),
		"OP-CA-04 fapi2-par-test-token-endpoint-url-as-audience-fails": jws(fapiKey, es256, w.assertion(fapi, "aud", issuer+"/connect/token")),
		"OP-CA-04 fapi2-ensure-client-assertion-with-wrong-aud-fails":  jws(fapiKey, es256, w.assertion(fapi, "aud", "https://other.example")),
		"OP-CA-04 aud with a slash":                                    jws(fapiKey, es256, w.assertion(fapi, "aud", issuer+"/")),
		"OP-CA-04 no aud":                                              jws(fapiKey, es256, w.assertion(fapi, "aud", nil)),
		"OP-CA-04 fapi2-ensure-client-assertion-with-no-sub-fails":     jws(fapiKey, es256, w.assertion(fapi, "sub", nil)),
		"OP-CA-03 no iss":            jws(fapiKey, es256, w.assertion(fapi, "iss", nil)),
		"OP-CA-03 another iss":       jws(fapiKey, es256, w.assertion(fapi, "iss", other.ID)),
		"OP-CA-03 of another client": jws(otherKey, es256, w.assertion(fapi)),
		"OP-CA-04 fapi2-ensure-client-assertion-with-exp-is-5-minutes-in-past-fails": jws(fapiKey, es256, w.assertion(fapi, "exp", now-300)),
		"OP-CA-03 no exp":            jws(fapiKey, es256, w.assertion(fapi, "exp", nil)),
		"OP-CA-03 exp an hour ahead": jws(fapiKey, es256, w.assertion(fapi, "exp", now+3600)),
		"OP-CA-04 fapi2-par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails": jws(fapiKey, es256, w.assertion(fapi, "nbf", now+61)),
		"OP-CA-04 iat over 60 s ahead":                             jws(fapiKey, es256, w.assertion(fapi, "iat", now+61)),
		"OP-CA-03 no jti":                                          jws(fapiKey, es256, w.assertion(fapi, "jti", nil)),
		"OP-CA-03 jti is a number":                                 jws(fapiKey, es256, w.assertion(fapi, "jti", 7)),
		"OP-CA-03 none":                                            jws(nil, object{"alg": "none"}, w.assertion(fapi)),
		"OP-ATK-06 HMAC with the public key":                       jws(jwks("rp", fapiKey), object{"alg": "HS256", "kid": "rp"}, w.assertion(fapi)),
		"OP-ATK-06 foreign kid":                                    jws(fapiKey, es256.with("kid", "other"), w.assertion(fapi)),
		"OP-ATK-06 key in the header":                              jws(otherKey, object{"alg": "ES256", "jwk": jwk(otherKey)}, w.assertion(fapi)),
		"OP-ATK-07 a DPoP proof":                                   jws(fapiKey, es256.with("typ", "dpop+jwt"), w.assertion(fapi)),
		"OP-ATK-07 a request object":                               jws(fapiKey, es256, w.object(fapi)),
		"OP-ATK-07 an ID token":                                    jws(fapiKey, es256, object(id)),
		"OP-ATK-06 two parts":                                      "a.b",
		"OP-ATK-06 8 KB of dots":                                   strings.Repeat(".", 8<<10),
		"OP-CA-04 fapi2-ensure-client-assertion-in-token-endpoint": "",
	} {
		w.in(t, name, func(t *testing.T) {
			terr(t, ask(assertion), "invalid_client")
			terr(t, pushes(assertion), "invalid_client")
		})
	}
	w.in(t, "OP-CA-04 fapi2-ensure-signed-client-assertion-with-RS256-fails", func(t *testing.T) {
		terr(t, ask(jws(rsaKey, object{"alg": "RS256", "kid": "rp"}, w.assertion(ring))), "invalid_client")
	})
	w.in(t, "OP-CA-03 another algorithm than the one that is registered", func(t *testing.T) {
		one := w.client(func(c *relying.Client) {
			c.Auth, c.Secrets, c.JWKS, c.AuthAlg = relying.PrivateKeyJWT, nil, jwks("rp", rsaKey), "PS256"
		})
		terr(t, ask(jws(rsaKey, object{"alg": "RS256", "kid": "rp"}, w.assertion(one))), "invalid_client")
		if x := ask(jws(rsaKey, object{"alg": "PS256", "kid": "rp"}, w.assertion(one))); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
	})
	w.in(t, "OP-CA-03 aud is the endpoint that is called", func(t *testing.T) {
		for endpoint, want := range map[string]int{"par": http.StatusCreated, "token": http.StatusCreated, "introspect": http.StatusUnauthorized} {
			x := w.form("par", asserted(request(std), jws(key, es256, w.assertion(std, "aud", issuer+"/connect/"+endpoint))))
			if x.status != want {
				t.Errorf("%s: %d %s", endpoint, x.status, x.body)
			}
		}
	})
	w.in(t, "OP-CA-03 client_assertion_type must be there and exact", func(t *testing.T) {
		for _, kind := range []string{"", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "jwt-bearer"} {
			form := asserted(own, jws(fapiKey, es256, w.assertion(fapi)))
			form.Set("client_assertion_type", kind)
			terr(t, w.form("token", form, "DPoP", d.proof("token")), "invalid_client")
		}
	})
	w.in(t, "OP-CA-05 another client_id beside it", func(t *testing.T) {
		terr(t, ask(jws(fapiKey, es256, w.assertion(fapi)), "client_id", other.ID), "invalid_client")
	})
	w.in(t, "OP-CA-03 OP-ATK-08 a jti counts once, at each endpoint, and for its client alone", func(t *testing.T) {
		used := jws(fapiKey, es256, w.assertion(fapi, "jti", "one"))
		if x := ask(used); x.status != http.StatusOK {
			t.Fatalf("%d %s", x.status, x.body)
		}
		terr(t, ask(used), "invalid_client")
		terr(t, pushes(used), "invalid_client")
		terr(t, ask(jws(fapiKey, es256, w.assertion(fapi, "jti", "one"))), "invalid_client")
		if x := ask(jws(otherKey, es256, w.assertion(other, "jti", "one"))); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
		race := jws(fapiKey, es256, w.assertion(fapi, "jti", "race"))
		if got := parallel(50, func(int) bool { return pushes(race).status == http.StatusCreated }); got != 1 {
			t.Errorf("%d of 50 were taken", got)
		}
	})
	w.in(t, "OP-CA-06 oidcc-refresh-token-rp-key-rotation keys by address, and a new one", func(t *testing.T) {
		const at = "https://shop.example/jwks"
		first, second := newKey(), newKey()
		c := w.client(func(c *relying.Client) { c.Auth, c.Secrets, c.JWKSURI = relying.PrivateKeyJWT, nil, at })
		terr(t, ask(jws(first, object{"alg": "ES256", "kid": "a"}, w.assertion(c))), "invalid_client") // nothing is there
		w.clock.Advance(6 * time.Second)
		w.docs[at] = jwks("a", first)
		for range 3 {
			if x := ask(jws(first, object{"alg": "ES256", "kid": "a"}, w.assertion(c))); x.status != http.StatusOK {
				t.Fatalf("%d %s", x.status, x.body)
			}
		}
		if w.fetched != 2 {
			t.Errorf("fetched %d times", w.fetched)
		}
		w.docs[at] = jwks("b", second)
		w.clock.Advance(31 * time.Second)
		if x := ask(jws(second, object{"alg": "ES256", "kid": "b"}, w.assertion(c))); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
		for range 5 {
			terr(t, ask(jws(second, object{"alg": "ES256", "kid": "x"}, w.assertion(c))), "invalid_client")
		}
		if w.fetched > 3 {
			t.Errorf("unknown names led to %d fetches", w.fetched)
		}
	})
}

// parallel calls f n times at once and counts how often it was true.
func parallel(n int, f func(i int) bool) (count int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			if f(i) {
				mu.Lock()
				count++
				mu.Unlock()
			}
		})
	}
	close(start)
	wg.Wait()
	return count
}
