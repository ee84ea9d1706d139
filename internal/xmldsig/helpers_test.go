package xmldsig_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
)

// clock is the moment at which the vectors are read.
var clock = time.Date(2030, 1, 2, 10, 0, 5, 0, time.UTC)

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

// merchant signs with the vectors' key and names it by its fingerprint.
func merchant(t testing.TB) xmldsig.Signer {
	t.Helper()
	return xmldsig.Signer{Key: merchantKey(t), Certificate: certificate(t, "merchant.pem"), KeyName: true}
}

var issuerKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// issuer signs with a key of its own and encloses its certificate.
func issuer(t testing.TB) xmldsig.Signer {
	t.Helper()
	return xmldsig.Signer{Key: issuerKey(), Certificate: selfSigned(t, issuerKey(), nil), Prefix: "ds"}
}

// selfSigned makes a certificate that is valid when the vectors are.
func selfSigned(t testing.TB, key *rsa.PrivateKey, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "issuer"},
		NotBefore:    clock.AddDate(-1, 0, 0),
		NotAfter:     clock.AddDate(1, 0, 0),
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var errUnknown = errors.New("unknown key")

// named trusts one certificate, by its KeyName.
func named(c *x509.Certificate) func(xmldsig.KeyInfo) (*x509.Certificate, error) {
	return func(k xmldsig.KeyInfo) (*x509.Certificate, error) {
		if len(k.Names) == 1 && strings.EqualFold(k.Names[0], xmldsig.Fingerprint(c)) {
			return c, nil
		}
		return nil, errUnknown
	}
}

// enclosed trusts the certificate that the signature holds.
func enclosed(k xmldsig.KeyInfo) (*x509.Certificate, error) {
	if len(k.Certificates) != 1 {
		return nil, errUnknown
	}
	return k.Certificates[0], nil
}

// always trusts one certificate, whatever the signature says.
func always(c *x509.Certificate) func(xmldsig.KeyInfo) (*x509.Certificate, error) {
	return func(xmldsig.KeyInfo) (*x509.Certificate, error) { return c, nil }
}

// tree parses what the tests wrote themselves.
func tree(t testing.TB, doc string) *etree.Element {
	t.Helper()
	d, err := xmldsig.Parse([]byte(doc), xmldsig.Limits{})
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return d.Root()
}

func text(t testing.TB, root *etree.Element) string {
	t.Helper()
	b, err := xmldsig.Bytes(root)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// message is an unsigned answer with an assertion, as iDIN builds them.
const message = `<Answer xmlns="urn:test:answer" version="1"><id>1</id><status>Success</status><container>` +
	`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="RES-1"><saml:Assertion ` +
	`xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="VS-1"><saml:Issuer>BANK</saml:Issuer>` +
	`<saml:Subject><saml:NameID>anna</saml:NameID></saml:Subject>` +
	`<saml:AttributeValue xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"` +
	` xsi:type="xsd:string">20480</saml:AttributeValue></saml:Assertion></samlp:Response></container></Answer>`

// signed gives message with the issuer's signature of the assertion and the
// merchant's of the whole, after change has had its way with the tree between.
func signed(t testing.TB, change func(root *etree.Element)) *etree.Element {
	t.Helper()
	root := tree(t, message)
	inner := issuer(t)
	inner.Inclusive = "xsd"
	if err := inner.SignAt(root.FindElement(".//Assertion"), 1, "VS-1"); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(root)
	}
	if err := merchant(t).Sign(root); err != nil {
		t.Fatal(err)
	}
	return root
}

// verify reads a message as a connector would: the whole, the assertion at its
// place, its NameID.
func verify(t testing.TB, doc string) (nameID string, err error) {
	t.Helper()
	s, err := xmldsig.Verify([]byte(doc), xmldsig.Limits{}, xmldsig.Rule{Select: named(certificate(t, "merchant.pem")), Now: clock, Others: 1})
	if err != nil {
		return "", err
	}
	a := s.Root.FindElement("./container/Response/Assertion")
	if a == nil {
		return "", errors.New("no assertion")
	}
	inner, err := s.VerifyElement(a, xmldsig.Rule{Select: enclosed})
	if err != nil {
		return "", err
	}
	return inner.Root.FindElement("./Subject/NameID").Text(), nil
}

// kind names why a document was refused: "" if it was not, "?" if the error has
// no kind.
func kind(err error) xmldsig.Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*xmldsig.Error](err); ok {
		return e.Kind
	}
	return "?"
}
