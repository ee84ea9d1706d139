package server

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAddressForAPhone(t *testing.T) {
	t.Parallel()
	parse := func(texts ...string) (out []netip.Prefix) {
		for _, s := range texts {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	for _, c := range []struct {
		own  []netip.Prefix
		want string
	}{
		{parse("127.0.0.1/32", "::1/128", "192.168.1.20/32"), "192.168.1.20"},
		{parse("203.0.113.9/32", "fd00::1/128", "10.1.2.3/32"), "10.1.2.3"},
		{parse("127.0.0.1/32", "203.0.113.9/32"), "invalid IP"},
		{nil, "invalid IP"},
	} {
		got, err := lanAddress(c.own)
		if got.String() != c.want || (err == nil) != got.IsValid() {
			t.Errorf("lanAddress(%v) = %s, %v; want %s", c.own, got, err, c.want)
		}
	}
	for _, p := range ownAddresses() {
		if p.Bits() != p.Addr().BitLen() {
			t.Errorf("%s is a network, not an address", p)
		}
	}
}

// TestWhoHoldsAPort holds that only a program of ours is named.
func TestWhoHoldsAPort(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"version":"1.0.0","command":"serve","process":4123}`:          `"eidgate serve", process 4123`,
		`{"version":"1.0.0","command":"\u001b[2Jserve","process":4123}`: `"eidgate [2Jserve", process 4123`,
		`{"version":"of something else"}`:                               "",
		`no json`:                                                       "",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		_, text, err := net.SplitHostPort(strings.TrimPrefix(srv.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := holderOf(t.Context(), port); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
		srv.Close()
	}
	if got := (&PortInUse{Port: 8700}).Error(); got != "port 8700 is already in use" {
		t.Error(got)
	}
}

// TestNamesOfTheSandbox holds which hosts are answered.
func TestNamesOfTheSandbox(t *testing.T) {
	t.Parallel()
	sandbox, live := newNames("http://localhost:8700", true, "eid.test"), newNames("https://eid.example.com", false)
	for host, want := range map[string][2]bool{ // sandbox, live
		"localhost:8700":            {true, false},
		"LOCALHOST":                 {true, false},
		"shop.localhost:1":          {true, false},
		"127.0.0.1:8700":            {true, false},
		"[::1]:8700":                {true, false},
		"host.docker.internal:8700": {true, false},
		"eid.test":                  {true, false},
		"eid.example.com":           {false, true},
		"EID.example.com:443":       {false, true},
		"eid.example.com.evil.test": {false, false},
		"localhost.evil.test":       {false, false},
		"10.99.99.99":               {false, false},
		"":                          {false, false},
	} {
		if got := [2]bool{sandbox.know(host), live.know(host)}; got != want {
			t.Errorf("%q: sandbox and live %v, want %v", host, got, want)
		}
	}
}

// The public listener speaks TLS 1.3, and of 1.2 four suites. Which of the two
// kinds of keys the certificate has decides about half of them.
func TestPublicTLS(t *testing.T) {
	t.Parallel()
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{curve, long} {
		self := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		conf := publicTLS(fixed(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}))
		taken := 0
		for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
			got, err := shake(conf, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
			if err != nil {
				continue
			}
			taken++
			if got.Version != tls.VersionTLS12 || !strings.HasPrefix(suite.Name, "TLS_ECDHE_") || !strings.Contains(suite.Name, "_GCM_") {
				t.Errorf("%T: %s is taken, with version %x", key, suite.Name, got.Version)
			}
		}
		if taken != 2 {
			t.Errorf("%T: %d suites are taken, want 2", key, taken)
		}
		for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			if got, err := shake(conf, &tls.Config{MinVersion: version, MaxVersion: version}); (err == nil) != ok {
				t.Errorf("%T: version %x: %x, %v", key, version, got.Version, err)
			}
		}
		if got, err := shake(conf, &tls.Config{}); err != nil || got.Version != tls.VersionTLS13 {
			t.Errorf("%T: both agree on %x, %v", key, got.Version, err)
		}
	}
}

// shake lets a client and a server begin a connection.
func shake(server, client *tls.Config) (tls.ConnectionState, error) {
	a, b := net.Pipe()
	defer a.Close()
	client.InsecureSkipVerify = true //nolint:gosec // whose certificate it is does not matter here
	c, s := tls.Client(a, client), tls.Server(b, server)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err != nil {
			_ = b.Close() // the client has nothing to wait for
		}
		done <- err
	}()
	err := c.Handshake()
	if err != nil {
		_ = a.Close() // nor has the server
	} else {
		go func() { _, _ = io.Copy(io.Discard, c) }() // tickets, until the pipe is closed
	}
	return c.ConnectionState(), errors.Join(err, <-done)
}
