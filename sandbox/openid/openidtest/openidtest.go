// Package openidtest is what a relying party does in tests of simulators: it
// sends forms, signs, encrypts, and reads what comes.
package openidtest

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox/openid"
)

// What every request of these tests has.
const (
	Back      = "https://party.example/back"
	Challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // of RFC 7636, appendix B
	Verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

// Send sends a form, with the header Authorization if one is given.
func Send(t testing.TB, h http.Handler, method, address string, form url.Values, authorization ...string) *httptest.ResponseRecorder {
	t.Helper()
	return Call(t, h, method, address, "application/x-www-form-urlencoded", form.Encode(), authorization...)
}

// Call is Send for any body.
func Call(t testing.TB, h http.Handler, method, address, kind, body string, authorization ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", kind)
	}
	for _, a := range authorization {
		r.Header.Set("Authorization", a)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Location is where an answer sends a browser.
func Location(t testing.TB, w *httptest.ResponseRecorder) *url.URL {
	t.Helper()
	to, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// Redeems is a good call of a token endpoint by a party with a secret.
func Redeems(r openid.Registration, code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {Back}, "client_id": {r.ClientID}, "client_secret": {r.Secret}, "code_verifier": {Verifier}}
}

// Said is an answer in JSON.
type Said struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	ID          string `json:"id_token"`
	Access      string `json:"access_token"`
	Expires     int    `json:"expires_in"`
	Type        string `json:"token_type"`
	Session     string `json:"session_state"`
	Scope       string `json:"scope"`
	URI         string `json:"request_uri"`
}

// Read reads one.
func Read(t testing.TB, w *httptest.ResponseRecorder) (out Said) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return out
}

// Sign is what a party with a key says.
func Sign(t testing.TB, r openid.Registration, claims map[string]any) string {
	t.Helper()
	block, _ := pem.Decode([]byte(r.Key))
	if block == nil {
		t.Fatal("a party without a key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return SignWith(t, jose.RS256, key, r.KeyID, claims)
}

// SignWith signs with any key.
func SignWith(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return SignText(t, alg, key, kid, string(raw))
}

// SignText signs what may be no claims at all.
func SignText(t testing.TB, alg jose.SignatureAlgorithm, key any, kid, text string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := signer.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	token, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// JWKS are the keys of a party that signs with this one, and has no other.
func JWKS(t testing.TB, key any, kid string) []byte {
	t.Helper()
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key, KeyID: kid, Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Keys are those that an answer publishes.
func Keys(t testing.TB, w *httptest.ResponseRecorder) (set jose.JSONWebKeySet) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// Seal encrypts to the provider; a kid that is "" is that of its key.
func Seal(t testing.TB, set jose.JSONWebKeySet, text, kid string) string {
	t.Helper()
	i := slices.IndexFunc(set.Keys, func(k jose.JSONWebKey) bool { return k.Use == "enc" })
	if i < 0 {
		t.Fatal("no key to encrypt to")
	}
	if kid == "" {
		kid = set.Keys[i].KeyID
	}
	e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.RSA_OAEP_256, Key: set.Keys[i].Key, KeyID: kid}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := e.Encrypt([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Unsigned is a token with the algorithm none.
func Unsigned(claims map[string]any) string {
	raw, _ := json.Marshal(claims) // texts and numbers
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(raw) + "."
}

// Verified reads a signed token: its header, and its members in their order.
func Verified(t testing.TB, set jose.JSONWebKeySet, token string) (head string, names []string, claims map[string]any) {
	t.Helper()
	j, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	found := set.Key(j.Signatures[0].Header.KeyID)
	if len(found) != 1 || found[0].Use != "sig" {
		t.Fatalf("kid %q names %d keys", j.Signatures[0].Header.KeyID, len(found))
	}
	raw, err := j.Verify(found[0])
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(token, ".")
	h, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return string(h), Members(t, raw), claims
}

// Members are the names of an object's members, in their order.
func Members(t testing.TB, raw []byte) (names []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			t.Fatal(err)
		}
		text, _ := name.(string) // a name is one
		names = append(names, text)
	}
	return names
}

// Together makes calls at the same time, and counts those that say yes.
func Together(n int, call func() bool) int64 {
	var yes atomic.Int64
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if call() {
				yes.Add(1)
			}
		})
	}
	all.Wait()
	return yes.Load()
}
