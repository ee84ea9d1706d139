package bankidse

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

//go:embed roots/*.pem
var roots embed.FS

// Roots is the PEM text of a pinned root (§28): "live-tls", "test-tls",
// "live-signature" or "test-signature".
func Roots(name string) (string, error) {
	b, err := roots.ReadFile("roots/" + name + ".pem")
	if err != nil {
		return "", fmt.Errorf("no root %q", name)
	}
	return string(b), nil
}

// Transport presents the relying party's certificate and trusts only the
// given roots (§2.2, §2.3). Connections are kept open, HTTP/1.1 is spoken.
func Transport(cert tls.Certificate, trust *x509.CertPool) *http.Transport {
	d := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:           d.DialContext,
		TLSClientConfig:       &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: trust, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 10 * time.Second,
		MaxIdleConns:          256, // as many as are busy at once, so that no burst shakes hands anew
		MaxIdleConnsPerHost:   256,
		MaxConnsPerHost:       256,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true,
	}
}

// LoadPKCS12 reads the usual form of an RP certificate (§2.4).
func LoadPKCS12(raw []byte, password string) (tls.Certificate, error) {
	key, leaf, chain, err := pkcs12.DecodeChain(raw, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return tls.Certificate{}, errors.New("the password does not open the PKCS#12 file")
	case err != nil:
		return tls.Certificate{}, errors.New("not a PKCS#12 file that can be read; old ones with RC2 must be converted with openssl pkcs12 -legacy")
	}
	switch key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey:
	default:
		return tls.Certificate{}, errors.New("the PKCS#12 file holds no RSA or ECDSA key")
	}
	out := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for _, c := range chain {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out, nil
}

// LoadPEM reads an RP certificate and its key, which may be in one text.
func LoadPEM(cert, key []byte) (tls.Certificate, error) {
	if len(key) == 0 {
		key = cert
	}
	if b, _ := pem.Decode(cert); b == nil {
		return tls.Certificate{}, errors.New("neither PKCS#12 nor PEM")
	}
	out, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, errors.New("the certificate and its key do not fit, or the key is missing")
	}
	return out, nil
}

// RPName is how signatures name the relying party: the subject of its
// certificate, most specific first (§15.2).
func RPName(c *x509.Certificate) (string, error) {
	short := map[string]string{"2.5.4.3": "cn", "2.5.4.41": "name", "2.5.4.5": "serialNumber", "2.5.4.10": "o", "2.5.4.11": "ou", "2.5.4.6": "c", "2.5.4.7": "l"}
	var parts []string
	for i := len(c.Subject.Names) - 1; i >= 0; i-- {
		a := c.Subject.Names[i]
		k := short[a.Type.String()]
		v, ok := a.Value.(string)
		if k == "" || !ok {
			continue
		}
		if k == "c" {
			parts = append(parts, k+"="+strings.ToUpper(v))
			continue
		}
		parts = append(parts, k+"="+v)
	}
	if len(parts) == 0 {
		return "", errors.New("the certificate has no subject")
	}
	return strings.Join(parts, ","), nil
}
