package oidc_test

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"eidgate/api/oidc"
	"eidgate/relying"
)

// Tokens that relying parties make are made here by hand: what the provider
// reads them with must not agree with itself.

const issuer = "https://eid.example" + oidc.Root

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// An object is a JSON object of a token.
type object map[string]any

// with is a copy in which some members differ; nil takes one out.
func (o object) with(pairs ...any) object {
	out := object{}
	for k, v := range o {
		out[k] = v
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if out[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
			delete(out, pairs[i].(string))
		}
	}
	return out
}

func newKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// foreign are RSA keys that parties have, made once.
var foreign = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var out [2]*rsa.PrivateKey
	for i := range out {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		out[i] = k
	}
	return out
})

// jwk is the public half of a key.
func jwk(key any) object {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		raw, err := k.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		return object{"kty": "EC", "crv": "P-256", "x": b64(raw[1:33]), "y": b64(raw[33:])}
	case *rsa.PrivateKey:
		return object{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
	}
	panic("no key")
}

// jwks is a key set; pairs are kid and key.
func jwks(pairs ...any) []byte {
	var list []object
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, jwk(pairs[i+1]).with("kid", pairs[i]))
	}
	raw, err := json.Marshal(object{"keys": list})
	if err != nil {
		panic(err)
	}
	return raw
}

// jws signs by the algorithm that the header names; key is a private key, bytes
// for HMAC, or nil for none.
func jws(key any, header, claims object) string {
	h, err := json.Marshal(header)
	if err != nil {
		panic(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return sign(key, header["alg"], b64(h)+"."+b64(c))
}

func sign(key any, alg any, input string) string {
	sum := sha256.Sum256([]byte(input))
	var sig []byte
	var err error
	switch k := key.(type) {
	case nil:
	case []byte:
		m := hmac.New(sha256.New, k)
		m.Write([]byte(input))
		sig = m.Sum(nil)
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, k, sum[:])
		sig, err = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), e
	case *rsa.PrivateKey:
		if alg == "PS256" {
			sig, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: 32})
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		}
	}
	if err != nil {
		panic(err)
	}
	return input + "." + b64(sig)
}

// jwe encrypts by RSA-OAEP and A256GCM.
func jwe(to *rsa.PublicKey, kid, plain string, change ...any) string {
	h, err := json.Marshal(object{"alg": "RSA-OAEP", "enc": "A256GCM", "kid": kid, "cty": "JWT"}.with(change...))
	if err != nil {
		panic(err)
	}
	cek, iv := make([]byte, 32), make([]byte, 12)
	_, _ = rand.Read(cek) // never fails
	_, _ = rand.Read(iv)
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, to, cek, nil)
	if err != nil {
		panic(err)
	}
	sealed := gcm(cek).Seal(nil, iv, []byte(plain), []byte(b64(h)))
	n := len(sealed) - 16
	return strings.Join([]string{b64(h), b64(wrapped), b64(iv), b64(sealed[:n]), b64(sealed[n:])}, ".")
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return a
}

// opened is what was encrypted by RSA-OAEP-256 and A256GCM to a key.
func opened(t testing.TB, key *rsa.PrivateKey, token string) (header object, plain string) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 5 {
		t.Fatalf("%d parts, want those of an encrypted token", len(parts))
	}
	raw := make([][]byte, 5)
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.Unmarshal(raw[0], &header); err != nil {
		t.Fatal(err)
	}
	cek, err := rsa.DecryptOAEP(sha256.New(), nil, key, raw[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := gcm(cek).Open(nil, raw[2], append(raw[3], raw[4]...), []byte(parts[0]))
	if err != nil {
		t.Fatal(err)
	}
	return header, string(out)
}

// A dpop makes proofs with one key.
type dpop struct {
	w   *world
	key *ecdsa.PrivateKey
}

func (w *world) dpop() *dpop { return &dpop{w, newKey()} }

// jkt is the thumbprint of its key.
func (d *dpop) jkt() string {
	k := jwk(d.key)
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + k["x"].(string) + `","y":"` + k["y"].(string) + `"}`))
	return b64(sum[:])
}

func (d *dpop) header() object { return object{"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(d.key)} }

func (d *dpop) claims(method, endpoint string) object {
	return object{"jti": uuid.NewString(), "htm": method, "htu": issuer + "/connect/" + endpoint, "iat": d.w.clock.Now().Unix()}
}

// proof is one for a POST.
func (d *dpop) proof(endpoint string) string {
	return jws(d.key, d.header(), d.claims("POST", endpoint))
}

// forToken is one for a GET of userinfo.
func (d *dpop) forToken(token string) object {
	sum := sha256.Sum256([]byte(token))
	return d.claims("GET", "userinfo").with("ath", b64(sum[:]))
}

// assertion is a client's word of itself.
func (w *world) assertion(c *relying.Client, change ...any) object {
	now := w.clock.Now().Unix()
	return object{"iss": c.ID, "sub": c.ID, "aud": issuer, "jti": uuid.NewString(), "iat": now, "exp": now + 120}.with(change...)
}

var es256 = object{"alg": "ES256", "kid": "rp"}

// asserted adds it to a form.
func asserted(form url.Values, assertion string) url.Values {
	out := url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}
	for k, v := range form {
		out[k] = v
	}
	return out
}

// strong makes a client that proves itself with a key.
func (w *world) strong(profile relying.Profile, change ...func(*relying.Client)) (*relying.Client, *ecdsa.PrivateKey) {
	key := newKey()
	return w.client(append([]func(*relying.Client){func(c *relying.Client) {
		c.Profile, c.Auth, c.Secrets, c.JWKS = profile, relying.PrivateKeyJWT, nil, jwks("rp", key)
	}}, change...)...), key
}

// An exchange is one request and its answer.
type exchange struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

// send calls any address of the provider below /connect/ or, with a slash in
// front, below the server.
func (w *world) send(method, path string, header http.Header, body io.Reader) exchange {
	w.t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = oidc.Root + "/connect/" + path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	x := exchange{status: res.StatusCode, header: res.Header, body: string(raw)}
	_ = json.Unmarshal(raw, &x.json) // what is none stays nil
	return x
}

// form posts a form as it is.
func (w *world) form(path string, form url.Values, pairs ...string) exchange {
	w.t.Helper()
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return w.send(http.MethodPost, path, h, strings.NewReader(form.Encode()))
}

// code logs a person in and is the code.
func (w *world) code(v *visitor, q url.Values) string {
	w.t.Helper()
	_, to := v.authorize(q)
	if to == nil || to.Query().Get("code") == "" {
		w.t.Fatalf("no code: %v, problems %v", to, w.problems)
	}
	return to.Query().Get("code")
}

// redeem is the form for a code.
func redeem(code string, pairs ...string) url.Values {
	f := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {shop}}
	for i := 0; i+1 < len(pairs); i += 2 {
		if f.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			f.Del(pairs[i])
		}
	}
	return f
}

// verified checks a token of ours by its kid with what the provider publishes,
// by crypto alone, and is its header and payload.
func (w *world) verified(token any) (header, claims object) {
	w.t.Helper()
	text, _ := token.(string)
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		w.t.Fatalf("no token: %v", token)
	}
	for i, into := range []*object{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		w.t.Fatal(err)
	}
	alg, _ := header["alg"].(string)
	set := w.send("GET", oidc.Root+"/.well-known/openid-configuration/jwks", nil, nil)
	if !strings.Contains(set.body, `"kid":"key-`+alg+`"`) || header["kid"] != "key-"+alg {
		w.t.Fatalf("kid %v is not published", header["kid"])
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	ok := false
	switch k := keys()[alg].(type) {
	case *rsa.PrivateKey:
		if alg == "PS256" {
			ok = rsa.VerifyPSS(&k.PublicKey, crypto.SHA256, sum[:], sig, nil) == nil
		} else {
			ok = rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, sum[:], sig) == nil
		}
	case *ecdsa.PrivateKey:
		ok = len(sig) == 64 && ecdsa.Verify(&k.PublicKey, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	}
	if !ok {
		w.t.Fatalf("the signature by %s is wrong", alg)
	}
	return header, claims
}

// problem is what the last page said was wrong.
func (w *world) problem() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.problems) == 0 {
		return ""
	}
	return w.problems[len(w.problems)-1]
}

// refused holds that an authorization request ends on a page of ours, and the
// browser goes nowhere.
func (w *world) refused(t *testing.T, v *visitor, q url.Values, code string) {
	t.Helper()
	if status, to := v.authorize(q); status != http.StatusBadRequest || to != nil || w.problem() != code {
		t.Errorf("%d %v, problem %q; want a page about %q", status, to, w.problem(), code)
	}
}

// denied holds that an authorization request ends with an error at the client,
// in the whole form that such an answer has.
func (w *world) denied(t *testing.T, v *visitor, q url.Values, code string) {
	t.Helper()
	_, to := v.authorize(q)
	if to == nil {
		t.Errorf("no answer, problem %q; want %q", w.problem(), code)
		return
	}
	got := to.Query()
	for name := range got {
		if !strings.Contains(" error error_description state iss shop ", " "+name+" ") {
			t.Errorf("the error has the member %q", name)
		}
	}
	if got.Get("error") != code || got.Get("state") != q.Get("state") || got.Get("iss") != issuer || to.Fragment != "" {
		t.Errorf("%s; want %q", to, code)
	}
	if text := got.Get("error_description"); strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
		t.Errorf("error_description %q has what it must not have", text)
	}
}

// terr holds the form of an error of a back-channel endpoint.
func terr(t *testing.T, x exchange, codes ...string) {
	t.Helper()
	got, _ := x.json["error"].(string)
	text, _ := x.json["error_description"].(string)
	switch {
	case x.status != http.StatusBadRequest && (x.status != http.StatusUnauthorized || got != "invalid_client"),
		!strings.Contains(" "+strings.Join(codes, " ")+" ", " "+got+" ") || got == "":
		t.Errorf("%d %s; want %v", x.status, x.body, codes)
	case x.header.Get("Content-Type") != "application/json" || !strings.Contains(x.header.Get("Cache-Control"), "no-store") || x.header.Get("Pragma") != "no-cache":
		t.Errorf("headers %v", x.header)
	case strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }):
		t.Errorf("error_description %q", text)
	}
}

// in runs a subtest whose failures are its own.
func (w *world) in(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	outer := w.t
	t.Run(name, func(t *testing.T) {
		w.t = t
		defer func() { w.t = outer }()
		f(t)
	})
}
