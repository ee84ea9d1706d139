package xmldsig_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"eidgate/internal/xmldsig"
)

func vector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/idin/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func certificate(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(vector(t, name))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func merchantKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode(vector(t, "merchant.key"))
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return k.(*rsa.PrivateKey)
}

// named trusts one certificate, by its KeyName.
func named(c *x509.Certificate) func(xmldsig.KeyInfo) (*x509.Certificate, error) {
	return func(k xmldsig.KeyInfo) (*x509.Certificate, error) {
		if len(k.Names) == 1 && strings.EqualFold(k.Names[0], xmldsig.Fingerprint(c)) {
			return c, nil
		}
		return nil, nil
	}
}

// enclosed trusts the certificate that the signature holds.
func enclosed(k xmldsig.KeyInfo) (*x509.Certificate, error) {
	if len(k.Certificates) != 1 {
		return nil, nil
	}
	return k.Certificates[0], nil
}

func TestVectors(t *testing.T) {
	t.Parallel()
	routing := certificate(t, "routing.pem")
	for name, cert := range map[string]*x509.Certificate{
		"request.xml": certificate(t, "merchant.pem"), "open.xml": routing, "ap3000.xml": routing, "success.xml": routing,
	} {
		s, err := xmldsig.Verify(vector(t, name), xmldsig.Limits{}, xmldsig.Rule{Select: named(cert), Others: 1})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name != "success.xml" {
			continue
		}
		a := s.Root.FindElement("./Transaction/container/Response/Assertion")
		inner, err := s.VerifyElement(a, xmldsig.Rule{Select: enclosed})
		if err != nil {
			t.Fatal(err)
		}
		if got := xmldsig.Fingerprint(inner.Certificate); got != "737460FE1C6C4DACCEF3C106523DD77F90CF3441" {
			t.Errorf("the assertion is signed by %s", got)
		}
		id, err := xmldsig.Decrypt(inner.Root.FindElement("./Subject/EncryptedID"), []crypto.Decrypter{merchantKey(t)}, xmldsig.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if id.Tag != "NameID" || id.Text() != "NLBANKvector0001" {
			t.Errorf("NameID = %s", id.Tag)
		}
	}
}
