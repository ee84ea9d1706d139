package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// An issuer makes certificates for clients.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	card := sign(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	out := &issuer{cert: card.Leaf, pem: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: card.Certificate[0]}))}
	out.key, _ = card.PrivateKey.(*ecdsa.PrivateKey)
	return out
}

// issue makes one, of the name that all clients have; that of no issuer is its
// own.
func (i *issuer) issue(t testing.TB) *tls.Certificate {
	t.Helper()
	return sign(t, i, &x509.Certificate{Subject: pkix.Name{Organization: []string{"Shop"}, CommonName: "client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func sign(t testing.TB, by *issuer, in *x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	in.SerialNumber, in.NotBefore, in.NotAfter = big.NewInt(now.UnixNano()), now.Add(-time.Hour), now.Add(24*time.Hour)
	above, with := in, key
	if by != nil {
		above, with = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, in, above, &key.PublicKey, with)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// certified is the JWK of a certificate's key, with it.
func certified(t testing.TB, c *tls.Certificate) map[string]any {
	t.Helper()
	key, _ := c.PrivateKey.(*ecdsa.PrivateKey)
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"kty": "EC", "crv": "P-256", "x": b64.EncodeToString(point[1:33]), "y": b64.EncodeToString(point[33:]), "x5c": c.Certificate}
}

// Modules of the FAPI 2.0 plan that are about one way alone.
const (
	ofProofs     = "dpop"
	ofAssertions = "private_key_jwt"
)

// without is a plan's modules but for those of some way.
func without(all []module, ways ...string) (out []module) {
	for _, m := range all {
		left := true
		for _, w := range ways {
			left = left && m.of != w
		}
		if left {
			out = append(out, m)
		}
	}
	return out
}

// tlsClients have certificates: to authenticate by, or to bind their tokens to.
func tlsClients(first, other string, proofs bool) func(testing.TB, *system) []*client {
	return func(t testing.TB, s *system) []*client {
		proof := ""
		if proofs {
			proof = "ES256"
		}
		return []*client{s.tlsClient(t, first, "PS256", proof), s.tlsClient(t, other, "ES256", proof).by("form_post")}
	}
}
