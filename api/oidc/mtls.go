package oidc

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"eidgate/api/claims"
	"eidgate/internal/jose"
	"eidgate/relying"
)

// MutualTLS is the listener for clients that show a certificate (RFC 8705,
// §23). It is one of its own, since browsers must never be asked for one.
type MutualTLS struct {
	Public string         // https://mtls.eid.example.com
	Roots  *x509.CertPool // who may name clients that have no roots of their own; nil for nobody
	// Proxy says whether a request comes from a proxy that ends TLS in place of
	// the listener: what it says in Client-Cert (RFC 9440) is what it was shown.
	// nil where the listener ends TLS itself.
	Proxy func(r *http.Request) bool
}

// RegisterTLS adds the addresses of that listener.
func (p *Provider) RegisterTLS(mux *http.ServeMux) {
	for path, h := range map[string]http.HandlerFunc{
		"par": p.servePush, "token": p.serveToken, "userinfo": p.serveUserInfo, "introspect": p.serveIntrospect, "revocation": p.serveRevoke,
	} {
		mux.HandleFunc(Root+"/connect/"+path, p.withCertificate(h))
	}
}

// describe is what metadata say of it.
func (m *MutualTLS) describe() claims.Object {
	at := m.Public + Root + "/connect/"
	return claims.Object{{Name: "tls_client_certificate_bound_access_tokens", Value: true}, {Name: "mtls_endpoint_aliases", Value: claims.Object{
		{Name: "token_endpoint", Value: at + "token"},
		{Name: "userinfo_endpoint", Value: at + "userinfo"},
		{Name: "revocation_endpoint", Value: at + "revocation"},
		{Name: "introspection_endpoint", Value: at + "introspect"},
		{Name: "pushed_authorization_request_endpoint", Value: at + "par"},
	}}}
}

// shownKey is where a context of that listener has its certificates.
type shownKey struct{}

// withCertificate lets a handler know what a client has shown.
func (p *Provider) withCertificate(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		chain, wrong := p.c.TLS.certificates(r)
		if wrong == nil {
			h(w, r.WithContext(context.WithValue(r.Context(), shownKey{}, chain)))
			return
		}
		p.c.Log.InfoContext(r.Context(), "certificate refused", "cause", wrong.Text)
		noStore(w.Header())
		if strings.HasSuffix(r.URL.Path, "/userinfo") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="eidgate", error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		p.oauth(w, r, nil, wrong)
	}
}

// shown is what the client of a request has shown, its own certificate first.
// listener is false at the public listener, where nobody is asked.
func shown(r *http.Request) (chain []*x509.Certificate, listener bool) {
	chain, listener = r.Context().Value(shownKey{}).([]*x509.Certificate)
	return chain, listener
}

// here is the public address of the listener that was called.
func (p *Provider) here(r *http.Request) string {
	if _, listener := shown(r); listener {
		return p.c.TLS.Public
	}
	return p.c.Public
}

// The headers of RFC 9440.
const (
	certHeader  = "Client-Cert"
	chainHeader = "Client-Cert-Chain"
)

// What a chain may be, whose signatures anybody can make us check: TLS has the
// second bound itself.
const (
	maxChain = 8    // certificates above a client's
	maxRSA   = 8192 // bits
)

// certificates are those of a request, from where alone they count: the
// connection, or a proxy that ends it (§23.1). Whoever writes the header
// elsewhere pretends.
func (m *MutualTLS) certificates(r *http.Request) ([]*x509.Certificate, *wireError) {
	named := len(r.Header.Values(certHeader))+len(r.Header.Values(chainHeader)) > 0
	switch {
	case m.Proxy == nil && named:
		return nil, bad("invalid_client", "The request has a certificate in a header, where the connection counts.")
	case m.Proxy == nil && r.TLS != nil && len(r.TLS.PeerCertificates) > 1+maxChain:
		return nil, bad("invalid_client", "The connection has too many certificates.")
	case m.Proxy == nil && r.TLS != nil:
		return r.TLS.PeerCertificates, nil
	case m.Proxy == nil || !m.Proxy(r):
		return nil, bad("invalid_client", "The request does not come from a proxy that is trusted.")
	case !named:
		return nil, nil
	}
	chain, err := readChain(r.Header.Values(certHeader), r.Header.Values(chainHeader))
	if err != nil {
		return nil, bad("invalid_client", "The header with the certificate cannot be read.")
	}
	return chain, nil
}

// readChain reads a certificate, of which there must be one, and those above it.
func readChain(cert, above []string) ([]*x509.Certificate, error) {
	if len(cert) != 1 {
		return nil, errors.New("not one certificate")
	}
	leaf, err := readCertificate(cert[0])
	if err != nil {
		return nil, err
	}
	chain := []*x509.Certificate{leaf}
	if len(above) == 0 {
		return chain, nil
	}
	for text := range strings.SplitSeq(strings.Join(above, ","), ",") {
		if len(chain) > maxChain {
			return nil, errors.New("too many certificates")
		}
		c, err := readCertificate(text)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	return chain, nil
}

// readCertificate reads a byte sequence of RFC 8941, padded and without
// parameters, as RFC 9440 has it.
func readCertificate(text string) (*x509.Certificate, error) {
	text = strings.Trim(text, " \t")
	if len(text) < 2 || text[0] != ':' || text[len(text)-1] != ':' || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("not a byte sequence")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(text[1 : len(text)-1])
	if err != nil {
		return nil, errors.New("not base64")
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSA {
		return nil, errors.New("key too large")
	}
	return c, nil
}

// certified checks what a client has shown that authenticates so (§23.2).
func (p *Provider) certified(r *http.Request, c *relying.Client) error {
	chain, _ := shown(r)
	now := p.c.Now()
	if len(chain) == 0 || now.Before(chain[0].NotBefore) || now.After(chain[0].NotAfter) {
		return errClient
	}
	if c.Auth == relying.SelfSignedTLS {
		keys, err := p.keysOf(c)
		if err != nil {
			return errClient
		}
		found, err := keys.Find(r.Context(), jose.Query{Use: jose.Signing, Certificate: string(chain[0].Raw)})
		if err != nil || len(found) == 0 {
			return errClient
		}
		return nil
	}
	roots := p.c.TLS.Roots
	if c.Certificate.Roots != "" {
		roots = c.Certificate.Pool()
	}
	if roots == nil { // and never those of the machine
		return errClient
	}
	between := x509.NewCertPool()
	for _, above := range chain[1:] {
		between.AddCert(above)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil || !c.Certificate.Names(chain[0]) {
		return errClient
	}
	return nil
}

// byCertificate begins what a token is bound to that is bound to a certificate;
// what is bound to a key has the key's thumbprint alone.
const byCertificate = "x5t#S256:"

// A confirmation is how a token tells what it is bound to (RFC 7800).
type confirmation struct {
	Key         string `json:"jkt"`
	Certificate string `json:"x5t#S256"`
}

// bound is the same as it is stored.
func (c confirmation) bound() string {
	if c.Certificate != "" {
		return byCertificate + c.Certificate
	}
	return c.Key
}

// confirm is the claim of a token that is bound; nil for a bearer's.
func confirm(bound string) claims.Object {
	if bound == "" {
		return nil
	}
	name := "jkt"
	if thumb, ok := strings.CutPrefix(bound, byCertificate); ok {
		name, bound = "x5t#S256", thumb
	}
	return claims.Object{{Name: "cnf", Value: claims.Object{{Name: name, Value: bound}}}}
}

// certificateOf is what is bound to the certificate of a request; "" without one.
func certificateOf(r *http.Request) string {
	chain, _ := shown(r)
	if len(chain) == 0 {
		return ""
	}
	sum := sha256.Sum256(chain[0].Raw)
	return byCertificate + base64.RawURLEncoding.EncodeToString(sum[:])
}

// holder is what a client's tokens are bound to: its certificate, if that is set,
// else the key of a proof, which clients of strict profiles must send (§23.3).
func (p *Provider) holder(r *http.Request, c *relying.Client) (string, error) {
	key, err := p.proofKey(r, c, "token")
	if err == nil && c.BoundTLS {
		key = certificateOf(r)
	}
	switch {
	case err != nil || key != "":
		return key, err
	case c.BoundTLS:
		return "", bad("invalid_request", "The client's tokens are bound to its certificate: show it at the address in mtls_endpoint_aliases.")
	case c.Policy().Bound:
		return "", bad("invalid_request", "The client's tokens are bound: send a DPoP proof.")
	}
	return "", nil
}
