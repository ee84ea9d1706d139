package oidcrp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/internal/jose"
	"eidgate/internal/oidcrp"
)

func signedInfo(c *oidcrp.Config) { c.UserInfo = oidcrp.Protection{} }

// TestLogin goes the usual way, and looks at what the provider got.
func TestLogin(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(t, signedInfo)
	u, l := p.begin(t, c, oidcrp.Request{Params: url.Values{"prompt": {"login"}}, Objects: map[string]json.RawMessage{"claims": []byte(`{"a":null}`)}})
	q := u.Query()
	for name, want := range map[string]string{"client_id": "me", "response_type": "code", "scope": "openid", "redirect_uri": "https://us.example/back", "state": l.State,
		"nonce": l.Nonce, "code_challenge_method": "S256", "prompt": "login", "claims": `{"a":null}`} {
		if got := q.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if len(l.State) != 43 || len(l.Nonce) != 43 || len(l.Verifier) != 43 || strings.Contains(u.String(), l.Verifier) {
		t.Error("state, nonce or verifier is not what it should be")
	}
	tokens, info, err := p.login(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if tokens.ID.Subject != "person" || tokens.Access != "access" || !tokens.Expires.Equal(start.Add(300*time.Second)) || strings.Count(tokens.Signed, ".") != 2 {
		t.Errorf("tokens %v %v", tokens.ID.Subject, tokens.Expires)
	}
	if string(info.Claims["name"]) != `"Ola Nordmann"` || strings.Count(info.Signed, ".") != 2 {
		t.Errorf("userinfo %s", info.Claims["name"])
	}
	user, pass, _ := (&http.Request{Header: p.header}).BasicAuth()
	if user != "me" || pass != "s%3Aecret" || p.form.Get("client_id") != "" || p.form.Get("redirect_uri") != "https://us.example/back" {
		t.Errorf("token request %v as %s:%s", p.form, user, pass)
	}
	for _, v := range []any{*tokens, *info, *l} {
		if text := fmt.Sprintf("%v %+v %#v", v, v, v); strings.Contains(text, "Ola") || strings.Contains(text, "access") || strings.Contains(text, l.State) {
			t.Errorf("a print shows what it holds: %s", text)
		}
	}
}

// TestNoKid: a token that names no key is checked by those of its algorithm.
func TestNoKid(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.sign = func(c []byte) string { return signed(p.t, gojose.RS256, "", rsaKeys()[0], c) }
	if _, _, err := p.login(t, p.client(t)); err != nil {
		t.Error(err)
	}
	p.sign = func(c []byte) string { return signed(p.t, gojose.RS256, "", rsaKeys()[1], c) } // which is to encrypt
	wants(t, p, p.client(t), oidcrp.BadIDToken, "another key")
}

// TestMeans: what reaches the provider by each way of asking.
func TestMeans(t *testing.T) {
	t.Parallel()
	objects := map[string]json.RawMessage{"claims": []byte(`{"id_token":{"age_gte_18":null}}`)}
	inside := func(t *testing.T, p *provider, claims map[string]any, l *oidcrp.Login) {
		t.Helper()
		if claims["iss"] != "me" || claims["aud"] != p.URL || claims["state"] != l.State || claims["nonce"] != l.Nonce || claims["response_type"] != "code" ||
			claims["redirect_uri"] != "https://us.example/back" || claims["exp"].(float64)-claims["nbf"].(float64) != 3600 || claims["jti"] == "" {
			t.Errorf("request object %v", claims)
		}
		if _, ok := claims["claims"].(map[string]any); !ok {
			t.Errorf("claims is a %T", claims["claims"])
		}
	}
	for by, look := range map[oidcrp.Means]func(*testing.T, *provider, url.Values, *oidcrp.Login){
		oidcrp.Signed: func(t *testing.T, p *provider, q url.Values, l *oidcrp.Login) {
			inside(t, p, opened(t, q.Get("request"), &rsaKeys()[2].PublicKey, nil), l)
		},
		oidcrp.Encrypted: func(t *testing.T, p *provider, q url.Values, l *oidcrp.Login) {
			inside(t, p, opened(t, q.Get("request"), &rsaKeys()[2].PublicKey, rsaKeys()[1]), l)
			if q.Has("nonce") || q.Has("claims") || q.Has("state") || q.Get("scope") != "openid" {
				t.Errorf("beside the request object: %v", q)
			}
		},
		oidcrp.Pushed: func(t *testing.T, p *provider, q url.Values, l *oidcrp.Login) {
			if len(q) != 2 || q.Get("request_uri") != "urn:ietf:params:oauth:request_uri:1" || p.pushed.Get("state") != l.State || p.pushed.Get("claims") != string(objects["claims"]) {
				t.Errorf("address %v, pushed %v", q, p.pushed)
			}
		},
		oidcrp.PushedSigned: func(t *testing.T, p *provider, q url.Values, l *oidcrp.Login) {
			inside(t, p, opened(t, p.pushed.Get("request"), &rsaKeys()[2].PublicKey, nil), l)
		},
	} {
		t.Run(string(by), func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			c := p.client(t, func(c *oidcrp.Config) { c.Auth, c.Keys = oidcrp.PrivateKeyJWT, p.keys(t) })
			u, l := p.begin(t, c, oidcrp.Request{By: by, Objects: objects})
			look(t, p, u.Query(), l)
		})
	}
}

// TestAssertion: the proof of who we are, signed and encrypted.
func TestAssertion(t *testing.T) {
	t.Parallel()
	for name, encrypt := range map[string]bool{"signed": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			c := p.client(t, func(c *oidcrp.Config) {
				c.Auth, c.Keys, c.EncryptAssertion, c.AssertionAudience = oidcrp.PrivateKeyJWT, p.keys(t), encrypt, "token"
			})
			if _, _, err := p.login(t, c); err != nil {
				t.Fatal(err)
			}
			said := opened(t, p.form.Get("client_assertion"), &rsaKeys()[2].PublicKey, rsaKeys()[1])
			once, _ := said["jti"].(string)
			if _, _, err := p.login(t, c); err != nil {
				t.Fatal(err)
			}
			if next := opened(t, p.form.Get("client_assertion"), &rsaKeys()[2].PublicKey, rsaKeys()[1])["jti"]; len(once) < 22 || next == once {
				t.Errorf("jti %q, then %q", once, next)
			}
			if said["iss"] != "me" || said["sub"] != "me" || said["aud"] != p.URL+"/token" || said["exp"].(float64)-said["iat"].(float64) != 60 {
				t.Errorf("assertion %v", said)
			}
			if p.form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
				t.Errorf("form %v", p.form)
			}
		})
	}
}

// header is that of a compact token.
func header(t testing.TB, token string) (out map[string]any) {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCurves: what a key on a curve signs, as another library reads it: by the
// algorithm of the key, under its name.
func TestCurves(t *testing.T) {
	t.Parallel()
	for alg, on := range map[string]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384()} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			key, err := ecdsa.GenerateKey(on, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			p := newProvider(t)
			set := p.keys(t, jose.Key{ID: "bent", Use: jose.Signing, Alg: alg, Private: key}, jose.Key{ID: "open", Use: jose.Encrypting, Alg: jose.RSAOAEP256, Private: rsaKeys()[3]})
			look := func(what, token, subject string) {
				t.Helper()
				s, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(alg)})
				if err != nil {
					t.Fatal(what, err)
				}
				raw, err := s.Verify(&key.PublicKey)
				if err != nil {
					t.Fatal(what, err)
				}
				var claims struct {
					Iss string `json:"iss"`
					Sub string `json:"sub"`
				}
				if err := json.Unmarshal(raw, &claims); err != nil || claims.Iss != "me" || claims.Sub != subject {
					t.Errorf("%s: %+v, %v", what, claims, err)
				}
				if h := header(t, token); len(h) != 2 || h["alg"] != alg || h["kid"] != "bent" {
					t.Errorf("%s: header %v", what, h)
				}
			}
			c := p.client(t, func(c *oidcrp.Config) { c.Auth, c.Keys = oidcrp.PrivateKeyJWT, set })
			u, _ := p.begin(t, c, oidcrp.Request{By: oidcrp.Signed})
			look("request object", u.Query().Get("request"), "")
			u, _ = p.begin(t, c, oidcrp.Request{By: oidcrp.Encrypted})
			e, err := gojose.ParseEncryptedCompact(u.Query().Get("request"), []gojose.KeyAlgorithm{gojose.RSA_OAEP_256}, []gojose.ContentEncryption{gojose.A128CBC_HS256})
			if err != nil {
				t.Fatal(err)
			}
			plain, err := e.Decrypt(rsaKeys()[1])
			if err != nil {
				t.Fatal(err)
			}
			look("request object inside", string(plain), "")
			p.begin(t, c, oidcrp.Request{By: oidcrp.PushedSigned})
			look("pushed request object", p.pushed.Get("request"), "")
			if _, _, err := p.login(t, c); err != nil {
				t.Fatal(err)
			}
			look("assertion", p.form.Get("client_assertion"), "me")
		})
	}
}

// TestRenewedByAnotherKind: a client that runs signs by the key of the hour.
func TestRenewedByAnotherKind(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	at := start.Add(time.Hour)
	c := p.client(t, func(c *oidcrp.Config) {
		c.Auth, c.Keys = oidcrp.PrivateKeyJWT, p.keys(t, jose.Key{ID: "a", Use: jose.Signing, Alg: jose.ES256, Private: curve(), From: at},
			jose.Key{ID: "b", Use: jose.Signing, Alg: jose.RS256, Private: rsaKeys()[2], Until: at})
	})
	for _, want := range []string{"RS256", "ES256"} {
		if _, _, err := p.login(t, c); err != nil {
			t.Fatal(err)
		}
		if h := header(t, p.form.Get("client_assertion")); h["alg"] != want {
			t.Errorf("header %v, want %s", h, want)
		}
		p.watch.wait(time.Hour)
	}
}

// TestNested: tokens that are signed, then encrypted to our keys, of which one
// is retired.
func TestNested(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	old := jose.Key{ID: "old", Use: jose.Encrypting, Alg: jose.RSAOAEP256, Private: rsaKeys()[2], Until: start}
	current := jose.Key{ID: "open", Use: jose.Encrypting, Alg: jose.RSAOAEP256, Private: rsaKeys()[3]}
	must := oidcrp.Protection{Encrypted: oidcrp.Must}
	c := p.client(t, func(c *oidcrp.Config) { c.Keys, c.IDToken, c.UserInfo = p.keys(t, old, current), must, must })
	to := func(kid string) func(string) string {
		key := map[string]int{"old": 2, "open": 3}[kid]
		return func(s string) string { return sealed(t, kid, &rsaKeys()[key].PublicKey, s) }
	}
	for _, kid := range []string{"open", "old"} {
		p.seal = to(kid)
		if tokens, info, err := p.login(t, c); err != nil || strings.Count(tokens.Signed, ".") != 2 || strings.Count(info.Signed, ".") != 2 {
			t.Errorf("to %s: %v", kid, err)
		}
	}
	p.watch.wait(24*time.Hour + time.Second)
	p.seal = to("old")
	wants(t, p, c, oidcrp.Encryption, "to a key whose overlap is over")
	p.seal = to("open")
	if _, _, err := p.login(t, c); err != nil {
		t.Errorf("to the current key: %v", err)
	}
	p.seal = nil
	wants(t, p, c, oidcrp.Encryption, "not encrypted")
	p.seal = func(s string) string { return sealed(t, "open", &rsaKeys()[3].PublicKey, `{"sub":"person"}`) }
	wants(t, p, c, oidcrp.Encryption, "nothing signed inside")
	p.seal = func(s string) string { return spoil(to("open")(s)) }
	wants(t, p, c, oidcrp.Encryption, "altered")
	plain := p.client(t, func(c *oidcrp.Config) { c.Keys = p.keys(t) })
	p.seal = to("open")
	wants(t, p, plain, oidcrp.Encryption, "encrypted where that was not agreed")
}

// spoil changes a character in the middle of the last part.
func spoil(token string) string {
	i := strings.LastIndexByte(token, '.') + 5
	c := byte('A')
	if token[i] == 'A' {
		c = 'B'
	}
	return token[:i] + string(c) + token[i+1:]
}

func wants(t *testing.T, p *provider, c *oidcrp.Client, kind oidcrp.Kind, what string) {
	t.Helper()
	_, _, err := p.login(t, c)
	e, ok := errors.AsType[*oidcrp.Error](err)
	if !ok || e.Kind != kind {
		t.Errorf("%s: %v, want %s", what, err, kind)
	}
	if err != nil && (strings.Contains(err.Error(), "Nordmann") || strings.Contains(err.Error(), p.URL)) {
		t.Errorf("%s: the error tells too much: %v", what, err)
	}
}

func redirect(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/jwks", http.StatusFound)
}

// TestRefusals: what is wrong with an answer, and how that is called.
func TestRefusals(t *testing.T) {
	t.Parallel()
	set := func(name string, v any) func(*provider) {
		return func(p *provider) {
			p.claims = func(m map[string]any) {
				if m[name] = v; v == nil {
					delete(m, name)
				}
			}
		}
	}
	info := func(name string, v any) func(*provider) {
		return func(p *provider) { p.info = func(m map[string]any) { m[name] = v } }
	}
	tokens := func(name string, v any) func(*provider) {
		return func(p *provider) { p.tokens = func(m map[string]any) { m[name] = v } }
	}
	signs := func(f func(t testing.TB, claims []byte) string) func(*provider) {
		return func(p *provider) { p.sign = func(c []byte) string { return f(p.t, c) } }
	}
	at := func(path string, h http.HandlerFunc) func(*provider) {
		return func(p *provider) { p.instead[path] = h }
	}
	bare := func(alg string) func(t testing.TB, claims []byte) string {
		return func(_ testing.TB, claims []byte) string {
			b := base64.RawURLEncoding
			head := b.EncodeToString([]byte(`{"alg":"`+alg+`","kid":"s1"}`)) + "." + b.EncodeToString(claims)
			mac := hmac.New(sha256.New, rsaKeys()[0].N.Bytes())
			mac.Write([]byte(head))
			if alg == "none" {
				return head + "."
			}
			return head + "." + b.EncodeToString(mac.Sum(nil))
		}
	}
	long := strings.Repeat("x", 300<<10)
	for name, x := range map[string]struct {
		spoil func(*provider)
		kind  oidcrp.Kind
	}{
		"metadata of another issuer": {func(p *provider) { p.meta = func(m map[string]any) { m["issuer"] = "https://other.example" } }, oidcrp.WrongIssuer},
		"metadata without token":     {func(p *provider) { p.meta = func(m map[string]any) { delete(m, "token_endpoint") } }, oidcrp.BadMetadata},
		"metadata with a script":     {func(p *provider) { p.meta = func(m map[string]any) { m["jwks_uri"] = "file:///etc/passwd" } }, oidcrp.BadMetadata},
		"metadata with a fragment":   {func(p *provider) { p.meta = func(m map[string]any) { m["authorization_endpoint"] = p.URL + "/a#b" } }, oidcrp.BadMetadata},
		"metadata that is none":      {at("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }), oidcrp.BadMetadata},
		"metadata gone":              {at("/.well-known/openid-configuration", http.NotFound), oidcrp.BadStatus},
		"another issuer":             {set("iss", "https://other.example"), oidcrp.WrongIssuer},
		"for somebody else":          {set("aud", "you"), oidcrp.Audience},
		"for two, without azp":       {set("aud", []string{"me", "you"}), oidcrp.Audience},
		"azp is somebody else":       {set("azp", "you"), oidcrp.Audience},
		"azp is no text":             {set("azp", 5), oidcrp.Audience},
		"no nonce":                   {set("nonce", nil), oidcrp.WrongNonce},
		"another nonce":              {set("nonce", "x"), oidcrp.WrongNonce},
		"a long sub":                 {set("sub", strings.Repeat("s", 256)), oidcrp.BadIDToken},
		"no sub":                     {set("sub", ""), oidcrp.BadIDToken},
		"over":                       {set("exp", start.Add(-2*time.Minute).Unix()), oidcrp.Expired},
		"from tomorrow":              {set("iat", start.Add(2*time.Minute).Unix()), oidcrp.Expired},
		"from last week":             {set("iat", start.AddDate(0, 0, -7).Unix()), oidcrp.Expired},
		"good for a week":            {set("exp", start.AddDate(0, 0, 7).Unix()), oidcrp.Expired},
		"no exp":                     {set("exp", nil), oidcrp.BadIDToken},
		"no iat":                     {set("iat", nil), oidcrp.BadIDToken},
		"no iss":                     {set("iss", nil), oidcrp.WrongIssuer},
		"no aud":                     {set("aud", nil), oidcrp.Audience},
		"at_hash of another token":   {set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), oidcrp.WrongHash},
		"at_hash is no text":         {set("at_hash", 5), oidcrp.WrongHash},
		"an access token":            {signs(func(t testing.TB, c []byte) string { return typed(t, "at+jwt", gojose.RS256, "s1", rsaKeys()[0], c) }), oidcrp.BadIDToken},
		"altered": {func(p *provider) {
			p.sign = func(c []byte) string { return spoil(signed(p.t, gojose.RS256, "s1", rsaKeys()[0], c)) }
		}, oidcrp.BadIDToken},
		"signed by nobody":            {signs(bare("none")), oidcrp.BadIDToken},
		"signed with our public key":  {signs(bare("HS256")), oidcrp.BadIDToken},
		"another algorithm":           {signs(func(t testing.TB, c []byte) string { return signed(t, gojose.ES256, "c1", curve(), c) }), oidcrp.BadIDToken},
		"the encryption key":          {signs(func(t testing.TB, c []byte) string { return signed(t, gojose.RS256, "e1", rsaKeys()[1], c) }), oidcrp.NoKeys},
		"a kid that is not published": {signs(func(t testing.TB, c []byte) string { return signed(t, gojose.RS256, "s2", rsaKeys()[0], c) }), oidcrp.NoKeys},
		"UserInfo of somebody else":   {info("sub", "other"), oidcrp.OtherSubject},
		"UserInfo for somebody else":  {info("aud", "you"), oidcrp.Audience},
		"UserInfo of another issuer":  {info("iss", "https://other.example"), oidcrp.WrongIssuer},
		"UserInfo that is over":       {info("exp", start.Add(-2*time.Minute).Unix()), oidcrp.Expired},
		"UserInfo that nobody signed": {func(p *provider) { p.infoAs = func(c []byte) (string, string) { return "application/json", string(c) } }, oidcrp.BadUserInfo},
		"UserInfo as a page": {func(p *provider) {
			p.infoAs = func(c []byte) (string, string) { return "text/html", "<html>" + string(c) }
		}, oidcrp.BadUserInfo},
		"UserInfo refused":         {at("/userinfo", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }), oidcrp.BadStatus},
		"UserInfo elsewhere":       {at("/userinfo", redirect), oidcrp.Redirected},
		"token endpoint elsewhere": {at("/token", redirect), oidcrp.Redirected},
		"token endpoint broken": {at("/token", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 503, map[string]string{"error": "server_error"})
		}), oidcrp.BadStatus},
		"token endpoint says nothing": {at("/token", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }), oidcrp.BadStatus},
		"token endpoint hangs up":     {at("/token", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), oidcrp.Unreachable},
		"tokens too long":             {tokens("id_token", long), oidcrp.TooLarge},
		"an ID token too long":        {tokens("id_token", long[:100<<10]+".x.x"), oidcrp.TooLarge},
		"no access token":             {tokens("access_token", nil), oidcrp.BadResponse},
		"no ID token":                 {tokens("id_token", nil), oidcrp.BadResponse},
		"another type of token":       {tokens("token_type", "mac"), oidcrp.BadResponse},
		"a thousand keys":             {func(p *provider) { p.set = thousand }, oidcrp.NoKeys},
		"keys elsewhere":              {at("/jwks", redirect), oidcrp.NoKeys},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			x.spoil(p)
			c, err := oidcrp.New(oidcrp.Config{Issuer: p.URL, ClientID: "me", Auth: oidcrp.SecretPost, Secret: "s", AllowHTTP: true}, oidcrp.NewDirectory(http.DefaultTransport, p.watch.now))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "metadata") {
				_, _, err = c.Begin(t.Context(), oidcrp.Request{})
				if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Kind != x.kind {
					t.Errorf("%v, want %s", err, x.kind)
				}
				return
			}
			wants(t, p, c, x.kind, name)
		})
	}
}

func thousand() any {
	var keys []gojose.JSONWebKey
	for i := range 1000 {
		keys = append(keys, gojose.JSONWebKey{Key: &rsaKeys()[0].PublicKey, KeyID: fmt.Sprint(i), Use: "sig", Algorithm: "RS256"})
	}
	return gojose.JSONWebKeySet{Keys: keys}
}

// TestAnswer: what a browser may bring.
func TestAnswer(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	free, strict := p.client(t), p.client(t, func(c *oidcrp.Config) { c.RequireIss = true })
	l := &oidcrp.Login{State: "s"}
	for _, x := range []struct {
		c    *oidcrp.Client
		q    string
		kind oidcrp.Kind
	}{
		{free, "code=c&state=s", ""},
		{free, "code=c&state=s&iss=" + url.QueryEscape(p.URL) + "&session_state=x", ""},
		{strict, "code=c&state=s&iss=" + url.QueryEscape(p.URL), ""},
		{strict, "code=c&state=s", oidcrp.MixUp},
		{strict, "code=c&state=s&error=", oidcrp.MixUp},
		{free, "code=c&state=s&iss=", oidcrp.MixUp},
		{free, "code=c&state=s&error=access_denied", oidcrp.Duplicate},
		{free, "code=c&state=s&iss=https%3A%2F%2Fother.example", oidcrp.MixUp},
		{free, "error=access_denied&state=s&iss=https%3A%2F%2Fother.example", oidcrp.MixUp},
		{free, "code=c&state=S", oidcrp.WrongState},
		{free, "code=c", oidcrp.WrongState},
		{free, "code=c&code=d&state=s", oidcrp.Duplicate},
		{free, "code=c&state=s&state=s", oidcrp.Duplicate},
		{free, "state=s", oidcrp.Missing},
		{free, "state=s&code=" + strings.Repeat("x", 5000), oidcrp.TooLarge},
	} {
		q, _ := url.ParseQuery(x.q)
		code, err := x.c.Answer(l, q)
		e, _ := errors.AsType[*oidcrp.Error](err)
		if x.kind == "" && (err != nil || code != "c") || x.kind != "" && (e == nil || e.Kind != x.kind) {
			t.Errorf("%s: %q, %v; want %q", x.q, code, err, x.kind)
		}
	}
	_, err := strict.Answer(l, url.Values{"error": {"access_denied"}, "error_description": {"mitid_user_aborted"}, "state": {"s"}})
	no, ok := errors.AsType[*oidcrp.Refused](err)
	if !ok || no.Code != "access_denied" || no.Description != "mitid_user_aborted" || strings.Contains(err.Error(), "mitid") {
		t.Errorf("refused: %v", err)
	}
}

// TestCodeTwice: a code is spent by the first call, and the provider's word for
// the second is known, but not repeated.
func TestCodeTwice(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(t)
	_, l := p.begin(t, c, oidcrp.Request{})
	if _, err := c.Redeem(t.Context(), l, "code-1"); err != nil {
		t.Fatal(err)
	}
	_, err := c.Redeem(t.Context(), l, "code-1")
	no, ok := errors.AsType[*oidcrp.Refused](err)
	if !ok || no.Code != "invalid_grant" || no.Where != "token" || no.Status != 400 || strings.Contains(err.Error(), "Nordmann") {
		t.Errorf("the second time: %v", err)
	}
	_, l = p.begin(t, c, oidcrp.Request{})
	l.Verifier = "stolen"
	if _, err := c.Redeem(t.Context(), l, "code-1"); err == nil {
		t.Error("another verifier is good enough")
	}
}

// TestSent: whether a code may have been used is told.
func TestSent(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(t)
	_, l := p.begin(t, c, oidcrp.Request{})
	p.instead["/token"] = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	_, err := c.Redeem(t.Context(), l, "code-1")
	if e, ok := errors.AsType[*oidcrp.Error](err); !ok || !e.Sent {
		t.Errorf("hung up after the request: %v", err)
	}
	p.Close()
	_, err = c.Redeem(t.Context(), l, "code-1")
	if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Sent || e.Kind != oidcrp.Unreachable {
		t.Errorf("nobody there: %v", err)
	}
}

// TestStorm: names of keys that somebody invents do not make us ask, and no load
// fetches more than once an hour.
func TestStorm(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	d := oidcrp.NewDirectory(http.DefaultTransport, p.watch.now)
	var clients []*oidcrp.Client
	for i := range 10_000 { // accounts at one provider
		clients = append(clients, p.clientOf(t, d, func(c *oidcrp.Config) { c.Secret = fmt.Sprint(i) }))
	}
	_, l := p.begin(t, clients[0], oidcrp.Request{})
	raw := func(kid string) []byte {
		now := p.watch.now()
		claims, _ := json.Marshal(map[string]any{"iss": p.URL, "aud": "me", "sub": "person", "nonce": l.Nonce, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
		out, _ := json.Marshal(map[string]any{"access_token": "a", "token_type": "bearer", "id_token": signed(t, gojose.RS256, kid, rsaKeys()[0], claims)})
		return out
	}
	good := raw("s1")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 50 {
				c := clients[(i*50+j)*12]
				if _, err := c.Read(t.Context(), l, good, p.watch.now()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if m, k := p.count("/.well-known/openid-configuration"), p.count("/jwks"); m != 1 || k != 1 {
		t.Errorf("800 logins have fetched metadata %d times and keys %d times", m, k)
	}
	for i := range 100 {
		if _, err := clients[i].Read(t.Context(), l, raw(fmt.Sprintf("invented-%d", i)), p.watch.now()); err == nil {
			t.Fatal("an invented name is good enough")
		}
	}
	if k := p.count("/jwks"); k > 2 {
		t.Errorf("invented names have fetched keys %d times", k-1)
	}
	p.watch.wait(59 * time.Minute)
	if _, err := clients[1].Read(t.Context(), l, raw("s1"), p.watch.now()); err != nil || p.count("/jwks") > 2 {
		t.Errorf("within the hour: %v, %d", err, p.count("/jwks"))
	}
}

// TestReadLater: an answer that was kept is read as it was when it came, however
// long its node was away.
func TestReadLater(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(t)
	_, l := p.begin(t, c, oidcrp.Request{})
	raw, err := c.Redeem(t.Context(), l, "code-1")
	if err != nil {
		t.Fatal(err)
	}
	came := p.watch.now()
	p.watch.wait(31 * time.Minute)
	if tokens, err := c.Read(t.Context(), l, raw, came); err != nil || tokens.Expires.After(p.watch.now()) {
		t.Errorf("in time, then: %+v, %v", tokens, err)
	}
	e := (*oidcrp.Error)(nil)
	if _, err := c.Read(t.Context(), l, raw, p.watch.now()); !errors.As(err, &e) || e.Kind != oidcrp.Expired {
		t.Errorf("late: %v, want %s", err, oidcrp.Expired)
	}
}

// TestUnknownMinute: names that nobody publishes make us ask once a minute.
func TestUnknownMinute(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(t)
	p.sign = func(claims []byte) string { return signed(p.t, gojose.RS256, "invented", rsaKeys()[0], claims) }
	for _, x := range []struct {
		wait time.Duration
		want int // calls in all: the first copy, and one for the name
	}{{0, 2}, {59 * time.Second, 2}, {2 * time.Second, 3}, {0, 3}} {
		p.watch.wait(x.wait)
		wants(t, p, c, oidcrp.NoKeys, "an invented name")
		if n := p.count("/jwks"); n != x.want {
			t.Errorf("keys fetched %d times, want %d", n, x.want)
		}
	}
}

// TestProviderDown: what is known is used while no newer copy can be had.
func TestProviderDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(t)
	p.begin(t, c, oidcrp.Request{})
	p.instead["/.well-known/openid-configuration"] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }
	p.watch.wait(23 * time.Hour)
	asked := func() int { return p.count("/.well-known/openid-configuration") }
	for end := time.Now().Add(10 * time.Second); asked() < 2; { // nobody waits for it
		if p.begin(t, c, oidcrp.Request{}); time.Now().After(end) {
			t.Fatal("nobody looks for a newer copy")
		}
	}
	for range 20 {
		p.begin(t, c, oidcrp.Request{})
	}
	if n := asked(); n != 2 {
		t.Errorf("asked %d times, want a pause after a failure", n)
	}
	p.watch.wait(2 * time.Hour)
	if _, _, err := c.Begin(t.Context(), oidcrp.Request{}); err == nil {
		t.Error("metadata of yesterday are used")
	}
}

// TestClocks: clocks may differ by a minute, and older Keycloaks have an nbf that
// says nothing.
func TestClocks(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		claim string
		at    time.Time
	}{
		"over, a moment ago": {"exp", start.Add(-30 * time.Second)},
		"not issued yet":     {"iat", start.Add(30 * time.Second)},
		"not good yet":       {"nbf", start.Add(30 * time.Second)},
		"since ever":         {"nbf", time.Unix(0, 0)},
	} {
		p := newProvider(t)
		p.claims = func(m map[string]any) { m[x.claim] = x.at.Unix() }
		if _, _, err := p.login(t, p.client(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHashes: at_hash is made with the hash of the signature.
func TestHashes(t *testing.T) {
	t.Parallel()
	sum256, sum384, sum512 := sha256.Sum256([]byte("access")), sha512.Sum384([]byte("access")), sha512.Sum512([]byte("access"))
	for alg, sum := range map[string][]byte{jose.RS256: sum256[:], jose.RS384: sum384[:], jose.RS512: sum512[:]} {
		p := newProvider(t)
		p.set = func() any {
			return gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{{Key: &rsaKeys()[0].PublicKey, KeyID: "s1", Use: "sig"}}}
		}
		p.sign = func(c []byte) string { return signed(p.t, gojose.SignatureAlgorithm(alg), "s1", rsaKeys()[0], c) }
		p.claims = func(m map[string]any) { m["at_hash"] = base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2]) }
		algs := oidcrp.Protection{Algs: []string{alg}}
		if _, _, err := p.login(t, p.client(t, func(c *oidcrp.Config) { c.IDToken, c.UserInfo = algs, algs })); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

// TestNeverUp: a provider of which nothing is known is not asked again at once by
// everybody who begins, unless the first of them has given up.
func TestNeverUp(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(t)
	const path = "/.well-known/openid-configuration"
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Begin(gone, oidcrp.Request{}); err == nil {
		t.Fatal("who has given up goes on")
	}
	p.instead[path] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }
	for _, x := range []struct {
		wait time.Duration
		want int
	}{{0, 1}, {0, 1}, {4 * time.Second, 1}, {time.Second, 2}, {0, 2}} {
		p.watch.wait(x.wait)
		_, _, err := c.Begin(t.Context(), oidcrp.Request{})
		if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Kind != oidcrp.BadStatus || p.count(path) != x.want {
			t.Errorf("after %v: %v, asked %d times, want %d", x.wait, err, p.count(path), x.want)
		}
	}
	delete(p.instead, path)
	p.watch.wait(5 * time.Second)
	p.begin(t, c, oidcrp.Request{})
}

// TestForTwo: an ID token may be for others too, if it says that it was issued to
// us.
func TestForTwo(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.claims = func(m map[string]any) { m["aud"], m["azp"] = []string{"you", "me"}, "me" }
	if _, _, err := p.login(t, p.client(t, func(*oidcrp.Config) {})); err != nil {
		t.Error(err)
	}
}

// TestAddressesOfConfig: an address names a host, and nobody's password.
func TestAddressesOfConfig(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"https:///x", "https://user@provider.example/x", "https://user:secret@provider.example/x", "provider.example/x", "http://provider.example/x"} {
		_, err := oidcrp.New(oidcrp.Config{Issuer: "https://provider.example", Metadata: address, ClientID: "me", Auth: oidcrp.SecretBasic, Secret: "hidden"}, nil)
		if e, ok := errors.AsType[*oidcrp.ConfigError](err); !ok || e.Field != "metadata" {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, issuer := range []string{"https:///x", "https://user@provider.example", "https://provider.example?tenant=1", "https://provider.example#x", "http://provider.example"} {
		_, err := oidcrp.New(oidcrp.Config{Issuer: issuer, ClientID: "me", Auth: oidcrp.SecretBasic, Secret: "hidden"}, nil)
		if e, ok := errors.AsType[*oidcrp.ConfigError](err); !ok || e.Field != "issuer" {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}

// TestConfig: what is wrong with settings is said of the setting.
func TestConfig(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	for field, change := range map[string]func(*oidcrp.Config){
		"issuer":             func(c *oidcrp.Config) { c.AllowHTTP = false },
		"metadata":           func(c *oidcrp.Config) { c.Metadata = "ftp://x/y" },
		"client_id":          func(c *oidcrp.Config) { c.ClientID = "" },
		"secret":             func(c *oidcrp.Config) { c.Secret = "" },
		"auth":               func(c *oidcrp.Config) { c.Auth = "client_secret_jwt" },
		"assertion_audience": func(c *oidcrp.Config) { c.AssertionAudience = "me" },
		"keys":               func(c *oidcrp.Config) { c.Auth = oidcrp.PrivateKeyJWT },
	} {
		c := oidcrp.Config{Issuer: p.URL, ClientID: "me", Auth: oidcrp.SecretBasic, Secret: "hidden", AllowHTTP: true}
		change(&c)
		_, err := oidcrp.New(c, nil)
		if e, ok := errors.AsType[*oidcrp.ConfigError](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", c, c, c), "hidden") {
			t.Error("a print shows the secret")
		}
	}
	_, err := oidcrp.New(oidcrp.Config{Issuer: p.URL, ClientID: "me", Auth: oidcrp.SecretPost, Secret: "s", AllowHTTP: true, IDToken: oidcrp.Protection{Encrypted: oidcrp.May}}, nil)
	if e, ok := errors.AsType[*oidcrp.ConfigError](err); !ok || e.Field != "keys" {
		t.Errorf("encrypted without keys: %v", err)
	}
}

// TestPlainUserInfo: JSON that nobody signed, where that was agreed.
func TestPlainUserInfo(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.infoAs = func(c []byte) (string, string) { return "application/json; charset=utf-8", string(c) }
	c := p.client(t, func(c *oidcrp.Config) { c.UserInfo.Plain = true })
	_, info, err := p.login(t, c)
	if err != nil || info.Signed != "" || string(info.Claims["name"]) != `"Ola Nordmann"` {
		t.Errorf("%v %v", info, err)
	}
	p.info = func(m map[string]any) { m["sub"] = "other" }
	wants(t, p, c, oidcrp.OtherSubject, "of somebody else")
	p.infoAs = func([]byte) (string, string) { return "application/json", `{"sub":"other","sub":"person"}` }
	wants(t, p, c, oidcrp.BadUserInfo, "of two")
}

func FuzzRead(f *testing.F) {
	p := newProvider(f)
	c := p.client(f)
	_, l := p.begin(f, c, oidcrp.Request{})
	raw, err := c.Redeem(f.Context(), l, "code-1")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"access_token":"a","token_type":"bearer","id_token":"e30.e30."}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if tokens, err := c.Read(t.Context(), l, in, p.watch.now()); err == nil && (tokens.ID.Subject != "person" || tokens.ID.Nonce != l.Nonce) {
			t.Errorf("%q is good enough", in)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	p := newProvider(f)
	c := p.client(f)
	f.Add("code=c&state=s")
	f.Add("error=e&state=s&error_description=%FF")
	f.Fuzz(func(t *testing.T, in string) {
		q, err := url.ParseQuery(in)
		if err != nil {
			return
		}
		if code, err := c.Answer(&oidcrp.Login{State: "s"}, q); err == nil && (q.Get("state") != "s" || code == "") {
			t.Errorf("%q is good enough", in)
		}
	})
}
