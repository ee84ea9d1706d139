package bankidse_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"eidgate/protocol/bankidse"
)

// TestQRVectors has the widely published example of the animated code (§10).
func TestQRVectors(t *testing.T) {
	t.Parallel()
	o := bankidse.Order{QRStartToken: "67df3917-fa0d-44e5-b327-edcc928297f8", QRStartSecret: "d28db9a7-4cde-429e-a983-359be676944c"}
	for _, c := range []struct {
		at   time.Duration
		want string
	}{
		{0, "0.dc69358e712458a66a7525beef148ae8526b1c71610eff2c16cdffb4cdac9bf8"},
		{1900 * time.Millisecond, "1.949d559bf23403952a94d103e67743126381eda00f0b3cbddbf7c96b1adcbce2"},
		{2 * time.Second, "2.a9e5ec59cb4eee4ef4117150abc58fad7a85439a6a96ccbecc3668b41795b3f3"},
		{-time.Second, "0.dc69358e712458a66a7525beef148ae8526b1c71610eff2c16cdffb4cdac9bf8"},
	} {
		if got, want := o.QR(c.at), "bankid."+o.QRStartToken+"."+c.want; got != want {
			t.Errorf("QR(%s) = %s, want %s", c.at, got, want)
		}
	}
}

// TestRoots compares the pinned roots with their published fingerprints (§28).
func TestRoots(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"live-tls":       "E6A2D45C0A1051C959428649F86A09A9B2152CD551993CC2EB4CF094BDACBECB",
		"test-tls":       "F3D0740EBFB3700E3B81AA791FEE451472698C84E199C2EB48A443FF1D5B405C",
		"live-signature": "CA32588E385B961D58E26010C6F8C839F7CA071E497DE6B7841640A61506FD31",
		"test-signature": "C6FAEAF8CCADCFD0738DC99140CA788C1A19A93F843C5A9EC1369872D50E45F2",
	} {
		text, err := bankidse.Roots(name)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := pem.Decode([]byte(text))
		if b == nil {
			t.Fatalf("%s is not PEM", name)
		}
		if _, err := x509.ParseCertificate(b.Bytes); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sum := sha256.Sum256(b.Bytes)
		if got := strings.ToUpper(hex.EncodeToString(sum[:])); got != want {
			t.Errorf("%s has fingerprint %s, want %s", name, got, want)
		}
	}
}
