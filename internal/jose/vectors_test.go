package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/internal/jose"
)

type vector struct {
	From, Alg, Compact, Thumbprint string
	JWK                            json.RawMessage
}

func vectors(t *testing.T, file string) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSignaturesOfRFCs(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t, "signatures.json") {
		t.Run(v.From, func(t *testing.T) {
			t.Parallel()
			key, err := jose.ParseJWK(v.JWK)
			if err != nil {
				t.Fatal(err)
			}
			rule := jose.Rule{Algs: []string{v.Alg}, Keys: &jose.Ring{Keys: []jose.PublicKey{key}}}
			got, err := jose.Verify(t.Context(), v.Compact, rule)
			if err != nil {
				t.Fatal(err)
			}
			payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(v.Compact, ".")[1])
			if string(got.Payload) != string(payload) || got.Header.Alg != v.Alg || got.Header.ID != key.ID {
				t.Errorf("verified %q of %+v", got.Payload, got.Header.Raw)
			}
			if v.Thumbprint == "" {
				return
			}
			sum, err := hex.DecodeString(v.Thumbprint)
			if err != nil {
				t.Fatal(err)
			}
			if print, err := jose.Thumbprint(key.Key); err != nil || print != b64(sum) {
				t.Errorf("thumbprint %s, %v, want %s", print, err, b64(sum))
			}
		})
	}
}

// The plaintext of both is the same, and no token.
func TestEncryptionsOfRFCs(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t, "encryptions.json") {
		t.Run(v.From, func(t *testing.T) {
			t.Parallel()
			var jwk gojose.JSONWebKey
			if err := jwk.UnmarshalJSON(v.JWK); err != nil {
				t.Fatal(err)
			}
			set, err := jose.NewSet(jose.Schedule{}, clock, jose.Key{ID: jwk.KeyID, Use: "enc", Alg: v.Alg, Private: jwk.Key})
			if err != nil {
				t.Fatal(err)
			}
			plain, err := set.Decrypt(v.Compact, jose.Opening{Bare: true})
			if err != nil || !strings.HasPrefix(plain, "You can trust us to stick with you") || !strings.HasSuffix(plain, "We are your friends, Frodo.") {
				t.Errorf("decrypted %q, %v", plain, err)
			}
			_, err = set.Decrypt(v.Compact, jose.Opening{})
			wants(t, err, jose.Unsigned)
		})
	}
}

// RFC 7638 section 3.1, and what go-jose says of every kind of key.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	key, err := jose.ParseJWK([]byte(`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`))
	if err != nil {
		t.Fatal(err)
	}
	if print, err := jose.Thumbprint(key.Key); err != nil || print != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("%s, %v", print, err)
	}
	for _, k := range ring(t, ours(t)).Keys {
		sum, err := (&gojose.JSONWebKey{Key: k.Key}).Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if print, err := jose.Thumbprint(k.Key); err != nil || print != b64(sum) {
			t.Errorf("%s: %s, %v, want %s", k.ID, print, err, b64(sum))
		}
	}
	for _, other := range []any{nil, "key", []byte("key"), rsa.PublicKey{}, &ecdsa.PublicKey{}} {
		if print, err := jose.Thumbprint(other); err == nil {
			t.Errorf("%T: %s", other, print)
		}
	}
}

// go-jose reads what we sign, for every algorithm, and we what it signs.
func TestSignaturesAgainstGoJose(t *testing.T) {
	t.Parallel()
	set := ours(t)
	keys := ring(t, set)
	for _, alg := range algs {
		found, err := keys.Find(t.Context(), jose.Query{ID: alg, Alg: alg, Use: "sig"})
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %d keys, %v", alg, len(found), err)
		}
		token := sign(t, set, alg, "JWT", `{"sub":"x"}`)
		object, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(alg)})
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if payload, err := object.Verify(found[0].Key); err != nil || string(payload) != `{"sub":"x"}` {
			t.Errorf("%s: they read %q, %v", alg, payload, err)
		}
	}
	for _, alg := range algs {
		var key crypto.Signer = rsaOther()
		switch alg {
		case "ES256":
			key = curveKey(t, elliptic.P256())
		case "ES384":
			key = curveKey(t, elliptic.P384())
		case "ES512":
			key = curveKey(t, elliptic.P521())
		case "EdDSA":
			key = edKey(t)
		}
		theirs(t, alg, key)
	}
}

// theirs lets go-jose sign, and us verify.
func theirs(t *testing.T, alg string, key crypto.Signer) {
	t.Helper()
	signer, err := gojose.NewSigner(gojose.SigningKey{Algorithm: gojose.SignatureAlgorithm(alg), Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := signer.Sign([]byte(`{"sub":"y"}`))
	if err != nil {
		t.Fatal(err)
	}
	token, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	rule := jose.Rule{Algs: []string{alg}, Keys: &jose.Ring{Keys: []jose.PublicKey{{Key: key.Public()}}}}
	if v, err := jose.Verify(t.Context(), token, rule); err != nil || string(v.Payload) != `{"sub":"y"}` {
		t.Errorf("%s: %v", alg, err)
	}
}
