package bankidse_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"strings"
	"testing"

	"eidgate/protocol/bankidse"

	"software.sslmate.com/src/go-pkcs12"
)

// quiet swallows what a test server says about clients that go away.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func pemText(t *testing.T, c tls.Certificate) (cert, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestLoadPEM(t *testing.T) {
	t.Parallel()
	cert, key := pemText(t, rpCertificate(t))
	_, foreign := pemText(t, rpCertificate(t))
	for name, c := range map[string]struct {
		cert, key []byte
		ok        bool
	}{
		"two files": {cert, key, true}, "one file": {append(append([]byte{}, cert...), key...), nil, true}, "key first": {append(append([]byte{}, key...), cert...), nil, true},
		"no key": {cert, nil, false}, "another key": {cert, foreign, false}, "no PEM": {[]byte("hello"), key, false}, "nothing": {nil, nil, false},
	} {
		got, err := bankidse.LoadPEM(c.cert, c.key)
		if (err == nil) != c.ok || c.ok && got.Leaf == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadPKCS12(t *testing.T) {
	t.Parallel()
	rp := rpCertificate(t)
	file, err := pkcs12.Modern.Encode(rp.PrivateKey, rp.Leaf, []*x509.Certificate{rp.Leaf}, "qwerty123")
	if err != nil {
		t.Fatal(err)
	}
	got, err := bankidse.LoadPKCS12(file, "qwerty123")
	if err != nil || len(got.Certificate) != 2 || !got.Leaf.Equal(rp.Leaf) {
		t.Errorf("LoadPKCS12 = %v, %v", len(got.Certificate), err)
	}
	_, odd, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strange, err := pkcs12.Modern.Encode(odd, rp.Leaf, nil, "qwerty123")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		raw            []byte
		password, want string
	}{
		"another password": {file, "secret", "the password does not open"}, "no PKCS#12": {[]byte("hello"), "", "not a PKCS#12 file"},
		"half": {file[:len(file)/2], "qwerty123", "not a PKCS#12 file"}, "another kind of key": {strange, "qwerty123", "no RSA or ECDSA key"},
	} {
		if _, err := bankidse.LoadPKCS12(c.raw, c.password); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestRPName: most specific first, as signatures have it (§15.2).
func TestRPName(t *testing.T) {
	t.Parallel()
	got, err := bankidse.RPName(rpCertificate(t).Leaf)
	if want := "cn=Example Shop 1,name=Example Shop,serialNumber=5566304928,o=Example Bank AB (publ),c=SE"; err != nil || got != want {
		t.Errorf("RPName = %q, %v, want %q", got, err, want)
	}
	if _, err := bankidse.RPName(&x509.Certificate{}); err == nil {
		t.Error("a certificate without a subject has a name")
	}
}

func TestNoSuchRoot(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "live", "../client.go"} {
		if _, err := bankidse.Roots(name); err == nil {
			t.Errorf("Roots(%q) found something", name)
		}
	}
}
