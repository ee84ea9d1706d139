package server

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	caFile     = "ca.pem"
	caKeyFile  = "ca-key.pem"
	caYears    = 2
	leafDays   = 90
	clockError = time.Hour // of the machines that certificates are shown to
)

// A devCA is the sandbox's certificate authority. Name constraints (RFC 5280
// section 4.2.1.10) keep it from certifying anything else, since browsers trust
// it and its key lies about as a developer's files do. Its times are real ones:
// browsers know nothing of the sandbox's clock.
type devCA struct {
	cert   *x509.Certificate
	key    crypto.Signer
	leaf   tls.Certificate // of this start
	file   string          // where it is kept, absolute; "" for nowhere
	notice string          // that it has replaced another one, and why; "" for it has not
}

// newDevCA takes the CA of a folder, or makes one there that certifies names:
// in memory for "".
func newDevCA(dir string, names []string, now time.Time) (*devCA, error) {
	for _, n := range names {
		if net.ParseIP(n) == nil && !hostName.MatchString(n) { // "" would be everything
			return nil, fmt.Errorf("--also-known-as: %q is no host name, and --tls needs ones", n)
		}
	}
	if dir == "" {
		return makeCA(names, now)
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, caFile)
	found, err := loadCA(dir, names, now)
	if err == nil {
		found.file = file
		return found, nil
	}
	_, absent := os.Stat(file)
	if errors.Is(err, fs.ErrPermission) || absent != nil && !errors.Is(absent, fs.ErrNotExist) {
		return nil, errors.Join(err, absent)
	}
	made, failed := makeCA(names, now)
	if failed == nil {
		failed = made.save(dir)
	}
	if failed != nil {
		return nil, failed
	}
	if made.file = file; absent == nil {
		made.notice = "The sandbox has a new CA, since the old one " + complaint(err) + ". Trust " + file + " again."
	}
	return made, nil
}

var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// complaint says what is wrong with a CA.
func complaint(err error) string {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		if invalid.Reason == x509.Expired {
			return "has expired"
		}
		if invalid.Reason == x509.CANotAuthorizedForThisName {
			return "does not cover every name of the sandbox"
		}
	}
	return "cannot be used (" + err.Error() + ")"
}

func loadCA(dir string, names []string, now time.Time) (*devCA, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile))
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("its key does not sign")
	}
	c := &devCA{cert: pair.Leaf, key: key}
	return c, c.certify(names, now)
}

func makeCA(names []string, now time.Time) (*devCA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	dns, ips := splitNames(names)
	t := &x509.Certificate{Subject: pkix.Name{CommonName: "eidgate sandbox CA"}, NotBefore: now.Add(-clockError), NotAfter: now.AddDate(caYears, 0, 0),
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, // no mail, no programs
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: dns,
		PermittedIPRanges: []*net.IPNet{{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}, {IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)}}}
	for _, ip := range ips {
		if !ip.IsLoopback() {
			t.PermittedIPRanges = append(t.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))})
		}
	}
	c := &devCA{key: key}
	if c.cert, err = issue(t, t, key.Public(), key); err == nil {
		err = c.certify(names, now)
	}
	if err != nil {
		return nil, fmt.Errorf("make a CA for %s: %w", strings.Join(names, ", "), err)
	}
	return c, nil
}

// certify makes the certificate of this start, if the CA may.
func (c *devCA) certify(names []string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	dns, ips := splitNames(names)
	t := &x509.Certificate{Subject: pkix.Name{CommonName: "eidgate sandbox"}, DNSNames: dns, IPAddresses: ips,
		NotBefore: now.Add(-clockError), NotAfter: now.AddDate(0, 0, leafDays), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if t.NotAfter.After(c.cert.NotAfter) {
		t.NotAfter = c.cert.NotAfter
	}
	leaf, err := issue(t, c.cert, key.Public(), c.key)
	if err != nil {
		return err
	}
	only := x509.NewCertPool()
	only.AddCert(c.cert)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: only, CurrentTime: now}); err != nil {
		return err
	}
	c.leaf = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	return nil
}

func issue(t, parent *x509.Certificate, of crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, of, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// splitNames tells addresses, of 4 or 16 bytes, from names.
func splitNames(names []string) (dns []string, ips []net.IP) {
	for _, n := range names {
		ip := net.ParseIP(n)
		switch v4 := ip.To4(); {
		case v4 != nil:
			ips = append(ips, v4)
		case ip != nil:
			ips = append(ips, ip)
		default:
			dns = append(dns, n)
		}
	}
	return dns, ips
}

// save writes the key first: a certificate without its key is replaced.
func (c *devCA) save(dir string) error {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return err
	}
	if err := writeWhole(filepath.Join(dir, caKeyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	return writeWhole(filepath.Join(dir, caFile), c.pem(), 0o644)
}

// pem is what others must trust; nil for no CA.
func (c *devCA) pem() []byte {
	if c == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// roots are those of this machine and the CA, since webhooks may go elsewhere
// too; nil for no CA.
func (c *devCA) roots() *x509.CertPool {
	if c == nil {
		return nil
	}
	all, err := x509.SystemCertPool()
	if err != nil {
		all = x509.NewCertPool() // a machine without one still reaches itself
	}
	all.AddCert(c.cert)
	return all
}

// trusting is the usual way out, which believes roots; nil for the system's.
func trusting(roots *x509.CertPool) http.RoundTripper {
	usual, ok := http.DefaultTransport.(*http.Transport)
	if roots == nil || !ok {
		return http.DefaultTransport
	}
	t := usual.Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	return t
}
