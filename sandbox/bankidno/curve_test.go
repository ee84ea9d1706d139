package bankidno_test

import (
	"crypto/elliptic"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"eidgate/internal/keytest"
	"eidgate/sandbox"
	"eidgate/sandbox/openid/openidtest"
)

// TestCurve: assertions and request objects by a key on a curve, of a client that
// has published it, and of no other.
func TestCurve(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	straight := b.party(t, "Straight", false)
	for alg, curve := range map[jose.SignatureAlgorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384()} {
		r, key := b.party(t, "Shop", false), keytest.Curve(t, curve)
		if err := b.Publish(r.ClientID, openidtest.JWKS(t, &key.PublicKey, "c1")); err != nil {
			t.Fatal(err)
		}
		sign := func(claims map[string]any) string { return openidtest.SignWith(t, alg, key, "c1", claims) }
		say := func(client, token string) *httptest.ResponseRecorder {
			return b.send(t, http.MethodPost, r.Issuer+tokenPath, url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {back}, "client_id": {client},
				"client_assertion_type": {assertionType}, "client_assertion": {token}})
		}
		b.refused(t, string(alg), say(r.ClientID, sign(b.assertion(r, "1"))), 400, "invalid_grant") // the client is known; the code is not
		b.refused(t, "the key of before", say(r.ClientID, openidtest.Sign(t, r, b.assertion(r, "2"))), 401, "invalid_client")
		b.refused(t, "a curve, of one with RSA", say(straight.ClientID, sign(b.assertion(straight, string(alg)))), 401, "invalid_client")
		object := sign(map[string]any{"iss": r.ClientID, "aud": r.Issuer, "client_id": r.ClientID, "response_type": "code", "redirect_uri": back, "scope": "openid profile", "login_hint": "BID:" + ola})
		for name, text := range map[string]string{"signed": object, "signed and encrypted": b.seal(t, r, object, "")} {
			if _, ref := b.begin(t, r, url.Values{"client_id": {r.ClientID}, "request": {text}}); ref == "" {
				t.Errorf("%s, %s", alg, name)
			}
		}
		to := openidtest.Location(t, b.authorize(t, straight, url.Values{"client_id": {straight.ClientID}, "redirect_uri": {back}, "request": {object}}))
		if to.Query().Get("error") != "invalid_request_object" {
			t.Errorf("%s, of one with RSA: %s", alg, to)
		}
	}
}

// TestSaysWhatItTakes: the metadata list the algorithms that clients may sign
// with.
func TestSaysWhatItTakes(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", false)
	var m struct {
		Assertions []string `json:"token_endpoint_auth_signing_alg_values_supported"`
		Objects    []string `json:"request_object_signing_alg_values_supported"`
		Tokens     []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := json.Unmarshal(b.send(t, http.MethodGet, r.Issuer+"/.well-known/openid-configuration", nil).Body.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields("RS256 ES256 ES384"); !cmp.Equal(m.Assertions, want) || !cmp.Equal(m.Objects, want) || !cmp.Equal(m.Tokens, []string{"RS256"}) {
		t.Errorf("%+v", m)
	}
}
