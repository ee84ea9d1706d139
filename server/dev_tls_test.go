package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eidgate/internal/need"
)

var here = tlsNames("192.168.7.9", []string{"Eid.Test"})

func mustCA(t *testing.T, dir string, names []string, now time.Time) *devCA {
	t.Helper()
	c, err := newDevCA(dir, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCACertifiesTheSandboxAlone: whoever steals its key can make no
// certificate for another site, and no further authority.
func TestCACertifiesTheSandboxAlone(t *testing.T) {
	t.Parallel()
	c, now := mustCA(t, "", here, noon()), noon()
	if c.cert.Subject.CommonName != "eidgate sandbox CA" || !c.cert.MaxPathLenZero || c.cert.MaxPathLen != 0 || !c.cert.PermittedDNSDomainsCritical ||
		c.cert.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("the CA is %+v", c.cert)
	}
	leaf := c.leaf.Leaf
	if got := leaf.NotAfter.Sub(now); got > 90*24*time.Hour || got < 89*24*time.Hour {
		t.Errorf("the certificate is valid for %s", got)
	}
	if strings.Join(leaf.DNSNames, " ") != "localhost eid.test" || len(leaf.IPAddresses) != 3 {
		t.Errorf("it names %v %v", leaf.DNSNames, leaf.IPAddresses)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.cert)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := func(use x509.ExtKeyUsage, names ...string) error {
		l := &x509.Certificate{NotBefore: now, NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use}}
		l.DNSNames, l.IPAddresses = splitNames(names)
		got, err := issue(l, c.cert, key.Public(), c.key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = got.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
		return err
	}
	for name, yes := range map[string]bool{"localhost": true, "shop.localhost": true, "eid.test": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "192.168.7.9": true,
		"example.com": false, "test": false, "localhost.example.com": false, "192.168.7.8": false, "8.8.8.8": false, "::2": false, "*.com": false} {
		if err := made(x509.ExtKeyUsageServerAuth, name); (err == nil) != yes {
			t.Errorf("a certificate for %s: %v", name, err)
		}
	}
	if made(x509.ExtKeyUsageServerAuth, "localhost", "example.com") == nil || made(x509.ExtKeyUsageCodeSigning, "localhost") == nil {
		t.Error("it certifies a foreign name beside ours, or who signs programs")
	}
	sub, err := issue(&x509.Certificate{NotBefore: now, NotAfter: now.Add(time.Hour), BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, c.cert, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	below, err := issue(&x509.Certificate{NotBefore: now, NotAfter: now.Add(time.Hour), DNSNames: []string{"localhost"}}, sub, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	between.AddCert(sub)
	if _, err := below.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now}); err == nil {
		t.Error("there can be an authority below it")
	}
	if other := mustCA(t, "", here, now); other.cert.Equal(c.cert) {
		t.Error("in memory it is the same again")
	}
}

func TestCAIsKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first := mustCA(t, dir, here, noon())
	for name, want := range map[string]fs.FileMode{caFile: 0o644, caKeyFile: 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if raw, err := os.ReadFile(first.file); err != nil || !bytes.Equal(raw, first.pem()) || first.file != filepath.Join(dir, caFile) {
		t.Errorf("%s holds %s, %v", first.file, raw, err)
	}
	fewer := mustCA(t, dir, tlsNames("localhost", nil), noon().AddDate(1, 11, 0))
	if !fewer.cert.Equal(first.cert) || first.notice+fewer.notice != "" || fewer.file != first.file {
		t.Errorf("it is another one: %q %q", first.notice, fewer.notice)
	}
	if fewer.leaf.Leaf.NotAfter.After(fewer.cert.NotAfter) || fewer.leaf.Leaf.SerialNumber.Cmp(first.leaf.Leaf.SerialNumber) == 0 {
		t.Error("the certificate outlives the CA, or is the former one")
	}
}

func TestCAIsReplaced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		names []string
		now   time.Time
		says  string // "" for nothing
	}{
		"expired":         {nil, here, noon().AddDate(2, 0, 1), "has expired"},
		"of the future":   {nil, here, noon().AddDate(0, 0, -1), "has expired"},
		"another name":    {nil, append(here, "eid2.test"), noon(), "does not cover every name of the sandbox"},
		"another address": {nil, tlsNames("192.168.7.10", nil), noon(), "does not cover every name of the sandbox"},
		"without its key": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, caKeyFile)); err != nil {
				t.Fatal(err)
			}
		}, here, noon(), "cannot be used (open "},
		"with another key": {func(t *testing.T, dir string) {
			other := mustCA(t, t.TempDir(), here, noon())
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(other.file), caKeyFile))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, caKeyFile), raw, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, here, noon(), "cannot be used (tls: "},
		"the key alone": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, caFile)); err != nil {
				t.Fatal(err)
			}
		}, here, noon(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			old := mustCA(t, dir, here, noon())
			if c.spoil != nil {
				c.spoil(t, dir)
			}
			got := mustCA(t, dir, c.names, c.now)
			if got.cert.Equal(old.cert) || (c.says == "") != (got.notice == "") || !strings.Contains(got.notice, c.says) || c.says != "" && !strings.Contains(got.notice, got.file) {
				t.Errorf("the notice is %q", got.notice)
			}
			if again := mustCA(t, dir, c.names, c.now); !again.cert.Equal(got.cert) || again.notice != "" {
				t.Errorf("the new one is not kept: %q", again.notice)
			}
		})
	}
}

func TestCARefusesWhatIsNoName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"eid.test:8700", "ä.test", "", ".test", "*.test", "eid.test."} {
		if _, err := newDevCA("", tlsNames("localhost", []string{name}), noon()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("--also-known-as: %q is", name)) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestOpenSSLAcceptsTheCA: another reading of RFC 5280, and a strict one.
func TestOpenSSLAcceptsTheCA(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	dir := t.TempDir()
	c := mustCA(t, dir, here, time.Now())
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := issue(&x509.Certificate{NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		DNSNames: []string{"example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, c.cert, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		der  []byte
		says string
	}{"leaf.pem": {c.leaf.Certificate[0], "leaf.pem: OK"}, "foreign.pem": {foreign.Raw, "permitted subtree violation"}} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.der}), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", c.file, file).CombinedOutput()
		if (err == nil) != (name == "leaf.pem") || !strings.Contains(string(out), x.says) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
