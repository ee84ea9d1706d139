package jose_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"sync"
	"testing"
	"time"

	"eidgate/internal/jose"
)

var (
	b64 = base64.RawURLEncoding.EncodeToString
	now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
)

func clock() time.Time { return now }

// algs are all algorithms of signatures, encs all of encryption.
var (
	algs  = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	wraps = []string{"RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW"}
	encs  = []string{"A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A256GCM"}
)

// The keys that tests share, since RSA keys take long to make. "sig" and "enc"
// are ours, "other" is somebody else's.
var rsaSig, rsaEnc, rsaOther = lazyRSA(), lazyRSA(), lazyRSA()

func lazyRSA() func() *rsa.PrivateKey {
	return sync.OnceValue(func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return k
	})
}

func curveKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ours is a set with a key for every algorithm, whose kid is the algorithm's
// name.
func ours(t testing.TB) *jose.Set {
	t.Helper()
	var keys []jose.Key
	add := func(use, alg string, key crypto.PrivateKey) {
		keys = append(keys, jose.Key{ID: alg, Use: use, Alg: alg, Private: key, From: now.Add(-time.Hour)})
	}
	for _, alg := range algs[:6] {
		add("sig", alg, rsaSig())
	}
	add("sig", "ES256", curveKey(t, elliptic.P256()))
	add("sig", "ES384", curveKey(t, elliptic.P384()))
	add("sig", "ES512", curveKey(t, elliptic.P521()))
	add("sig", "EdDSA", edKey(t))
	add("enc", "RSA-OAEP", rsaEnc())
	add("enc", "RSA-OAEP-256", rsaEnc())
	add("enc", "ECDH-ES", curveKey(t, elliptic.P256()))
	add("enc", "ECDH-ES+A256KW", curveKey(t, elliptic.P521()))
	s, err := jose.NewSet(jose.Schedule{Cache: 24 * time.Hour, Longest: time.Hour}, clock, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ring is what others see of a set.
func ring(t testing.TB, s *jose.Set) *jose.Ring {
	t.Helper()
	body, _ := s.JWKS()
	r, err := jose.ParseJWKS(body)
	if err != nil {
		t.Fatal(err)
	}
	if r.Ignored > 0 {
		t.Fatalf("%d of our own keys are ignored", r.Ignored)
	}
	return r
}

// recipient is the public key of a set by which one encrypts to it.
func recipient(t testing.TB, s *jose.Set, alg string) jose.PublicKey {
	t.Helper()
	keys, err := ring(t, s).Find(t.Context(), jose.Query{Alg: alg, Use: jose.Encrypting})
	if err != nil || len(keys) != 1 {
		t.Fatalf("%d keys for %s, %v", len(keys), alg, err)
	}
	return keys[0]
}

func sign(t testing.TB, s *jose.Set, alg, typ, claims string) string {
	t.Helper()
	token, err := s.Sign(alg, typ, []byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// raw signs any header and payload with ES256, without asking what it says.
func raw(t testing.TB, key *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	return signed(t, key, b64([]byte(header))+"."+b64([]byte(payload)))
}

// signed signs any two parts with ES256.
func signed(t testing.TB, key *ecdsa.PrivateKey, input string) string {
	t.Helper()
	sum := crypto.SHA256.New()
	sum.Write([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return input + "." + b64(sig)
}

// one is a party with a single ES256 key, named "k".
func one(key *ecdsa.PrivateKey) *jose.Ring {
	return &jose.Ring{Keys: []jose.PublicKey{{ID: "k", Use: "sig", Alg: "ES256", Key: key.Public()}}}
}

// wants fails unless err is a refusal of this kind.
func wants(t testing.TB, err error, kind jose.Kind) {
	t.Helper()
	e, ok := errors.AsType[*jose.Error](err)
	switch {
	case err == nil:
		t.Errorf("accepted, want %s", kind)
	case !ok || e.Kind != kind:
		t.Errorf("%v, want %s", err, kind)
	}
}

// counted is a party that counts how often it is asked.
type counted struct {
	jose.Keys
	asked int
}

func (c *counted) Find(ctx context.Context, q jose.Query) ([]jose.PublicKey, error) {
	c.asked++
	return c.Keys.Find(ctx, q)
}

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
