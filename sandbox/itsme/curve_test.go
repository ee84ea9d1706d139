package itsme_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"eidgate/internal/keytest"
	"eidgate/sandbox"
	"eidgate/sandbox/openid"
	"eidgate/sandbox/openid/openidtest"
)

func jwks(t *testing.T, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// relabel gives a token another alg; its signature stays.
func relabel(token, alg string) string {
	_, rest, _ := strings.Cut(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`","kid":"c1"}`)) + "." + rest
}

// TestCurve: what a partner with a key on a curve signs is taken by that key's
// algorithm alone, in assertions and in request objects.
func TestCurve(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Approve)
	r, err := b.Partner("Shop", back, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	key, other, straight, enc := keytest.Curve(t, elliptic.P256()), keytest.Curve(t, elliptic.P256()), openid.NewKey(), openid.NewKey()
	if err := b.Publish(r.ClientID, jwks(t, jose.JSONWebKey{Key: &key.PublicKey, KeyID: "c1", Use: "sig", Algorithm: "ES256"}, jose.JSONWebKey{Key: &enc.PublicKey, KeyID: "e", Use: "enc"})); err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	set := openidtest.Keys(t, b.send(t, http.MethodGet, r.Issuer+"/jwkSet", nil))
	asserted := func(token string, id bool) string {
		form := url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {back}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {token}}
		if id {
			form.Set("client_id", r.ClientID)
		}
		return openidtest.Read(t, b.send(t, http.MethodPost, r.Issuer+"/token", form)).Error
	}
	requested := func(token string) string {
		q := url.Values{"client_id": {r.ClientID}, "response_type": {"code"}, "redirect_uri": {back}, "scope": {"openid"}, "request": {openidtest.Seal(t, set, token, "")}}
		to := openidtest.Location(t, b.send(t, http.MethodGet, r.Issuer+"/authorization?"+q.Encode(), nil))
		if strings.HasPrefix(to.Path, "/itsme/app/") {
			return ""
		}
		return to.Query().Get("error")
	}
	proof := func() map[string]any {
		return map[string]any{"iss": r.ClientID, "sub": r.ClientID, "aud": r.Issuer + "/token", "jti": openid.Random(), "exp": b.clock.Now().Add(time.Minute).Unix()}
	}
	say := func(alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
		return openidtest.SignWith(t, alg, key, "c1", claims)
	}
	object := map[string]any{"iss": r.ClientID, "aud": r.Issuer, "client_id": r.ClientID, "response_type": "code", "redirect_uri": back, "scope": "openid profile service:" + r.Service, "state": "s", "nonce": "n"}
	if got := asserted(say(jose.ES256, key, proof()), true); got != "invalid_grant" { // the partner is known; the code is not
		t.Errorf("assertion: %s", got)
	}
	if got := asserted(say(jose.ES256, key, proof()), false); got != "invalid_grant" {
		t.Errorf("assertion without client_id: %s", got)
	}
	if got := requested(say(jose.ES256, key, object)); got != "" {
		t.Errorf("request object: %s", got)
	}
	for after, want := range map[time.Duration]string{time.Second: "", 0: "invalid_request_object", -time.Minute: "invalid_request_object"} {
		until := maps.Clone(object)
		until["exp"] = b.clock.Now().Add(after).Unix()
		if got := requested(say(jose.ES256, key, until)); got != want {
			t.Errorf("request object that ends in %s: %s", after, got)
		}
	}
	for name, sign := range map[string]func(map[string]any) string{
		"another key":           func(c map[string]any) string { return say(jose.ES256, other, c) },
		"RS256, by another key": func(c map[string]any) string { return say(jose.RS256, straight, c) },
		"says RS256":            func(c map[string]any) string { return relabel(say(jose.ES256, key, c), "RS256") },
		"says ES384":            func(c map[string]any) string { return relabel(say(jose.ES256, key, c), "ES384") },
		"says none":             func(c map[string]any) string { return relabel(say(jose.ES256, key, c), "none") },
		"unsigned":              openidtest.Unsigned,
		"a MAC by the public key": func(c map[string]any) string {
			return say(jose.HS256, public, c)
		},
	} {
		if got := asserted(sign(proof()), true); got != "invalid_client" {
			t.Errorf("assertion, %s: %s", name, got)
		}
		if got := requested(sign(object)); got != "invalid_request_object" {
			t.Errorf("request object, %s: %s", name, got)
		}
	}
	straightly, err := b.Partner("Straight", back, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(straightly.ClientID, jwks(t, jose.JSONWebKey{Key: &straight.PublicKey, KeyID: "c1", Use: "sig"})); err != nil {
		t.Fatal(err)
	}
	r = straightly
	if got := asserted(say(jose.RS256, straight, proof()), true); got != "invalid_grant" {
		t.Errorf("RSA: %s", got)
	}
	if got := asserted(say(jose.ES256, key, proof()), true); got != "invalid_client" {
		t.Errorf("ES256 of a partner with RSA: %s", got)
	}
}

// TestPublished: which keys a partner may have.
func TestPublished(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Approve)
	straight, enc := openid.NewKey(), openid.NewKey()
	weak := keytest.RSA(t, 1024)
	curve := keytest.Curve(t, elliptic.P256())
	key := func(key any, id, use string) jose.JSONWebKey {
		return jose.JSONWebKey{Key: key, KeyID: id, Use: use}
	}
	mislabelled := key(&curve.PublicKey, "s", "sig")
	mislabelled.Algorithm = "RS256"
	for name, x := range map[string]struct {
		gen  int
		keys []byte
		want bool
	}{
		"a curve":               {2, jwks(t, key(&curve.PublicKey, "s", "sig"), key(&enc.PublicKey, "e", "enc")), true},
		"a curve alone":         {2, jwks(t, key(&curve.PublicKey, "s", "sig")), true},
		"RSA, first generation": {1, jwks(t, key(&straight.PublicKey, "s", "sig"), key(&enc.PublicKey, "e", "enc")), true},
		"a curve, first":        {1, jwks(t, key(&curve.PublicKey, "s", "sig"), key(&enc.PublicKey, "e", "enc")), false},
		"RSA alone, first":      {1, jwks(t, key(&straight.PublicKey, "s", "sig")), false},
		"P-384":                 {2, jwks(t, key(&keytest.Curve(t, elliptic.P384()).PublicKey, "s", "sig")), false},
		"P-521":                 {2, jwks(t, key(&keytest.Curve(t, elliptic.P521()).PublicKey, "s", "sig")), false},
		"weak RSA":              {2, jwks(t, key(&weak.PublicKey, "s", "sig")), false},
		"a curve that decrypts": {2, jwks(t, key(&curve.PublicKey, "s", "sig"), key(&curve.PublicKey, "e", "enc")), false},
		"a private key":         {2, jwks(t, key(curve, "s", "sig")), false},
		"says RS256":            {2, jwks(t, mislabelled), false},
		"two to sign":           {2, jwks(t, key(&curve.PublicKey, "s", "sig"), key(&straight.PublicKey, "s2", "sig")), false},
		"none to sign":          {2, jwks(t, key(&enc.PublicKey, "e", "enc")), false},
		"no keys":               {2, []byte(`{}`), false},
		"no JWKS":               {2, []byte(`x`), false},
	} {
		r, err := b.Partner("Shop", back, x.gen, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(r.ClientID, x.keys); (err == nil) != x.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.Publish("x", jwks(t, key(&curve.PublicKey, "s", "sig"))); err == nil {
		t.Error("nobody has keys")
	}
	secret, err := b.Partner("Secret", back, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(secret.ClientID, jwks(t, key(&curve.PublicKey, "s", "sig"))); err != nil {
		t.Fatal(err)
	}
	w := b.send(t, http.MethodPost, secret.Issuer+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {b.code(t, secret)}, "redirect_uri": {back}, "client_id": {secret.ClientID}, "client_secret": {secret.Secret}})
	if got := openidtest.Read(t, w).Error; got != "invalid_client" {
		t.Errorf("the secret of a partner that signs now: %s", got)
	}
}

// TestSaysWhatItTakes: the metadata list how partners may prove who they are, and
// the algorithms that they may sign with.
func TestSaysWhatItTakes(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Approve)
	methods := map[int][]string{2: {"private_key_jwt", "client_secret_post"}, 1: {"private_key_jwt"}}
	for gen, want := range map[int][]string{2: {"RS256", "ES256"}, 1: {"RS256"}} {
		r, err := b.Partner("Shop", back, gen, false)
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Methods    []string `json:"token_endpoint_auth_methods_supported"`
			Assertions []string `json:"token_endpoint_auth_signing_alg_values_supported"`
			Objects    []string `json:"request_object_signing_alg_values_supported"`
			Tokens     []string `json:"id_token_signing_alg_values_supported"`
		}
		if err := json.Unmarshal(b.send(t, http.MethodGet, r.Issuer+"/.well-known/openid-configuration", nil).Body.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(m.Methods, methods[gen]) || !cmp.Equal(m.Assertions, want) || !cmp.Equal(m.Objects, want) || !cmp.Equal(m.Tokens, []string{"RS256"}) {
			t.Errorf("generation %d: %+v", gen, m)
		}
	}
}
