package openid_test

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/connector/openid"
	"eidgate/internal/keytest"
)

func text(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// TestSigningAlg: the kind of a key decides on its algorithm, and a kind that is
// not taken is named.
func TestSigningAlg(t *testing.T) {
	t.Parallel()
	const kinds = "must be a private key of RSA with 2048 to 8192 bits, or of EC on P-256 or P-384, without a password"
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	agrees, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256 := keytest.Curve(t, elliptic.P256())
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&p256.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	whole := keytest.RSA(t, 2048)
	for name, x := range map[string]struct{ pem, alg, no string }{
		"RSA":           {keytest.PEM(t, whole), "RS256", ""},
		"RSA, PKCS#1":   {text("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(whole)), "RS256", ""},
		"P-256":         {keytest.PEM(t, p256), "ES256", ""},
		"P-256, SEC 1":  {text("EC PRIVATE KEY", sec1), "ES256", ""},
		"P-384":         {keytest.PEM(t, keytest.Curve(t, elliptic.P384())), "ES384", ""},
		"weak RSA":      {keytest.PEM(t, keytest.RSA(t, 1024)), "", kinds + "; this one is RSA with 1024 bits"},
		"P-224":         {keytest.PEM(t, keytest.Curve(t, elliptic.P224())), "", kinds + "; this one is EC on P-224"},
		"P-521":         {keytest.PEM(t, keytest.Curve(t, elliptic.P521())), "", kinds + "; this one is EC on P-521"},
		"Ed25519":       {keytest.PEM(t, edwards), "", kinds + "; this one is Ed25519"},
		"X25519":        {keytest.PEM(t, agrees), "", kinds + "; this one is of another kind"},
		"a public key":  {text("PUBLIC KEY", public), "", kinds},
		"no PEM":        {"x", "", kinds},
		"with password": {text("ENCRYPTED PRIVATE KEY", []byte("x")), "", kinds},
	} {
		alg, err := openid.SigningAlg(x.pem)
		no := ""
		if err != nil {
			no = err.Error()
		}
		if alg != x.alg || no != x.no {
			t.Errorf("%s: %q, %q", name, alg, no)
		}
	}
}

// TestRenewal: a key of another kind is published at once, and signs when the
// older one has ended, whatever they are called.
func TestRenewal(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	at := start
	newer, older := keytest.PEM(t, keytest.Curve(t, elliptic.P256())), keytest.PEM(t, keytest.RSA(t, 2048))
	for _, ids := range [][2]string{{"a", "b"}, {"b", "a"}} {
		at = start
		set, err := openid.Settings{Keys: []openid.Key{{ID: ids[0], Use: "sig", Alg: "ES256", PEM: newer}, {ID: ids[1], Use: "sig", Alg: "RS256", PEM: older, Until: start.Add(time.Hour)}}}.Set(func() time.Time { return at })
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			after time.Duration
			want  string
			names int
		}{{0, "RS256", 2}, {time.Hour, "ES256", 2}, {26 * time.Hour, "ES256", 1}} {
			at = start.Add(x.after)
			body, _ := set.JWKS()
			var out struct {
				Keys []map[string]string `json:"keys"`
			}
			if err := json.Unmarshal(body, &out); err != nil {
				t.Fatal(err)
			}
			if got := set.Algs(); !cmp.Equal(got, []string{x.want}) || len(out.Keys) != x.names {
				t.Errorf("%v after %s: signs with %v; %d keys", ids, x.after, got, len(out.Keys))
			}
		}
	}
}

// TestOldKeys: which keys sign while no one of them follows another.
func TestOldKeys(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	curve, whole := keytest.PEM(t, keytest.Curve(t, elliptic.P256())), keytest.PEM(t, keytest.RSA(t, 2048))
	key := func(id, alg string, until time.Time) openid.Key {
		k := openid.Key{ID: id, Use: "sig", Alg: alg, PEM: whole, Until: until}
		if strings.HasPrefix(alg, "ES") {
			k.PEM = curve
		}
		return k
	}
	for name, x := range map[string]struct {
		keys []openid.Key
		want []string
	}{
		"one":                               {[]openid.Key{key("a", "ES256", time.Time{})}, []string{"ES256"}},
		"one that has ended":                {[]openid.Key{key("a", "ES256", now.Add(-time.Hour))}, nil},
		"an old one that has ended":         {[]openid.Key{key("a", "ES256", time.Time{}), key("b", "RS256", now.Add(-time.Hour))}, []string{"ES256"}},
		"three, of which one has ended":     {[]openid.Key{key("a", "ES256", time.Time{}), key("b", "RS256", now.Add(time.Hour)), key("c", "ES256", now.Add(-time.Hour))}, []string{"RS256"}},
		"a new one that ends before an old": {[]openid.Key{key("a", "ES256", now.Add(time.Hour)), key("b", "RS256", now.Add(2*time.Hour))}, []string{"ES256", "RS256"}},
	} {
		set, err := openid.Settings{Keys: x.keys}.Set(func() time.Time { return now })
		if err != nil {
			t.Fatal(name, err)
		}
		if got := set.Algs(); !cmp.Equal(got, x.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}
