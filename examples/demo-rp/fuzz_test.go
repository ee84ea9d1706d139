package demorp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"
)

// FuzzIDToken: of all texts, only the one that the provider has signed is read.
func FuzzIDToken(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	set := fmt.Sprintf(`{"keys":[{"kid":"k","kty":"RSA","use":"sig","n":%q,"e":"AQAB"}]}`, b64(key.N.Bytes()))
	signed := b64([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + b64([]byte(`{"sub":"s","exp":1}`))
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		f.Fatal(err)
	}
	genuine := signed + "." + b64(sig)
	if id, err := readIDToken(genuine, []byte(set)); err != nil || id.Subject != "s" || id.Text != genuine {
		f.Fatalf("the genuine one: %v, %v", id, err)
	}
	for _, keys := range []string{set, `{"keys":[{"kid":"k","kty":"RSA","use":"sig","n":"","e":""}]}`, `{"keys":null}`, "null", ""} {
		for _, token := range []string{genuine, genuine + "=", genuine + "\n", signed + ".", signed, "..", "", b64([]byte(`{"alg":"none"}`)) + ".e30."} {
			f.Add(token, keys)
		}
	}
	f.Fuzz(func(t *testing.T, token, keys string) {
		_, _ = readIDToken(token, []byte(keys)) // whoever makes the keys can make tokens: it must not panic
		if _, err := readIDToken(token, []byte(set)); err == nil && token != genuine {
			t.Errorf("%q was read", token)
		}
	})
}
