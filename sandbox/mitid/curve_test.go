package mitid_test

import (
	"crypto/elliptic"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

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
		r, key := b.party(t, "Shop", true), keytest.Curve(t, curve)
		if err := b.Publish(r.ClientID, openidtest.JWKS(t, &key.PublicKey, "c1")); err != nil {
			t.Fatal(err)
		}
		sign := func(claims map[string]any) string { return openidtest.SignWith(t, alg, key, "c1", claims) }
		say := func(client, path, token, object string) *httptest.ResponseRecorder {
			return b.send(t, http.MethodPost, op+path, url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {back}, "client_id": {client},
				"client_assertion_type": {assertionType}, "client_assertion": {token}, "request": {object}})
		}
		bare(t, string(alg), say(r.ClientID, "/connect/token", sign(b.assertion(r, "1")), ""), "invalid_grant") // the client is known; the code is not
		bare(t, "the secret of before", b.send(t, http.MethodPost, op+"/connect/token", openidtest.Redeems(r, "x")), "invalid_client")
		bare(t, "a curve, of one with RSA", say(straight.ClientID, "/connect/token", sign(b.assertion(straight, string(alg))), ""), "invalid_client")
		object := sign(map[string]any{"iss": r.ClientID, "aud": r.Issuer, "exp": b.Clock.Now().Add(time.Minute).Unix(), "client_id": r.ClientID, "response_type": "code", "redirect_uri": back, "scope": "openid mitid"})
		for name, text := range map[string]string{"signed": object, "signed and encrypted": b.seal(t, object, "")} {
			w := say(r.ClientID, "/connect/par", sign(b.assertion(r, name)), text)
			if w.Code != http.StatusCreated {
				t.Fatalf("%s, %s: %d %s", alg, name, w.Code, w.Body)
			}
			b.begin(t, url.Values{"client_id": {r.ClientID}, "request_uri": {openidtest.Read(t, w).URI}})
		}
		w := say(straight.ClientID, "/connect/par", openidtest.Sign(t, straight, b.assertion(straight, "par "+string(alg))), object)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"invalid_request_object"`) {
			t.Errorf("%s, of one with RSA: %d %s", alg, w.Code, w.Body)
		}
	}
}
