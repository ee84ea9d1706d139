package parties

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"

	"eidgate/test/rig"
)

// fresh is a new key on P-256 as a JWK, private and public.
func fresh(t *testing.T, use string) (private, public json.RawMessage) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	d, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	half := fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":"data","use":%q,"x":%q,"y":%q`, use, text(point[1:33]), text(point[33:]))
	return json.RawMessage(half + `,"d":"` + text(d) + `"}`), json.RawMessage(half + "}")
}

// freshRSA is a new RSA key, private as PEM and public as a JWK.
func freshRSA(t *testing.T) (private []byte, public json.RawMessage) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	n, e := text(key.N.Bytes()), text(big.NewInt(int64(key.E)).Bytes())
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		json.RawMessage(fmt.Sprintf(`{"kty":"RSA","kid":"data","use":"enc","n":%q,"e":%q}`, n, e))
}

// encrypted registers a client whose ID tokens and userinfo are encrypted.
func encrypted(dev *rig.Dev, alg string, public json.RawMessage) *settings {
	return settingsFor(dev.NewClient(fmt.Sprintf(`{"profile":"standard","any_loopback":true,"jwks":{"keys":[%s]},
		"id_token_encryption":{"alg":%q,"enc":"A256GCM"},"require_encrypted_id_token":true,
		"userinfo_encryption":{"alg":%[2]q,"enc":"A256GCM"},"userinfo_response":"SignedAndEncrypted"}`, public, alg)))
}

// Parties read what is encrypted for them, and those with another key do not.
func TestEncrypted(t *testing.T) {
	t.Parallel()
	dev := rig.StartDev(t, "memory")
	private, public := fresh(t, "enc")
	other, _ := fresh(t, "enc")
	node, stranger := encrypted(dev, "ECDH-ES", public), encrypted(dev, "ECDH-ES", public)
	node.Decrypt, stranger.Decrypt = private, other
	inPEM, public := freshRSA(t)
	otherPEM, _ := freshRSA(t)
	httpd, strange := encrypted(dev, "RSA-OAEP", public), encrypted(dev, "RSA-OAEP", public)
	httpd.pem, strange.pem = inPEM, otherPEM
	for _, v := range []struct {
		name      string
		start     func(*testing.T, *settings)
		c         *settings
		decrypted int
		refused   string
	}{
		{"openid-client", openIDClient, node, 2, ""},
		{"openid-client, another key", openIDClient, stranger, 0, "OAUTH_DECRYPTION_FAILED"},
		{"mod_auth_openidc", apache, httpd, 0, ""},
		{"mod_auth_openidc, another key", apache, strange, 0, "Error in handling response type"},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			v.start(t, v.c)
			for _, e := range eids {
				l := decide(t, dev, v.c, e.name, "approve", e.person)
				p := l.arrive(l.browser, asItIs)
				if v.refused != "" {
					p.denied(t, v.refused)
					continue
				}
				p.told(t, v.c, e.name, "1975-07-25")
				if p.Decrypted != v.decrypted {
					t.Errorf("%d were encrypted, want %d", p.Decrypted, v.decrypted)
				}
			}
		})
	}
}

// A party of the FAPI 2.0 Security Profile pushes its requests, and proves itself
// and its access tokens with keys.
func TestFAPI(t *testing.T) {
	t.Parallel()
	dev := rig.StartDev(t, "memory")
	private, public := fresh(t, "sig")
	c := settingsFor(dev.NewClient(fmt.Sprintf(`{"profile":"fapi2","token_endpoint_auth_method":"private_key_jwt","any_loopback":true,
		"jwks":{"keys":[%s]}}`, public)))
	c.Sign = private
	fapiClient(t, c)
	for _, e := range eids {
		l := decide(t, dev, c, e.name, "approve", e.person)
		p := l.arrive(newBrowser(t, c.Self), asItIs)
		p.denied(t, "OAUTH_INVALID_RESPONSE")
		p = l.arrive(l.browser, asItIs)
		p.told(t, c, e.name, "1975-07-25")
		if p.TokenType != "dpop" {
			t.Errorf("the access token is a %q", p.TokenType)
		}
		l = decide(t, dev, c, e.name, "cancel", e.person)
		p = l.arrive(l.browser, asItIs)
		p.denied(t, `{"error":"access_denied","description":"The person cancelled."}`)
	}
}
