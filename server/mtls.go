package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"eidgate/api/oidc"
)

// mtlsTLS is the certificate of the listener for clients' certificates; empty
// where a proxy ends TLS.
func (s *ServerConfig) mtlsTLS() TLSConfig {
	if s.MTLSTLS != (TLSConfig{}) {
		return s.MTLSTLS
	}
	return s.TLS
}

// mtls checks what belongs to the listener for clients' certificates.
func (k *checker) mtls(s *ServerConfig) {
	if s.Listen.MTLS == "" {
		for name, set := range map[string]bool{"mtls_url": s.MTLSURL != "", "mtls_tls": s.MTLSTLS != TLSConfig{}, "mtls_roots": s.MTLSRoots != ""} {
			if set {
				k.doc.Report("server."+name, "has no effect without server.listen.mtls")
			}
		}
		return
	}
	u, err := url.Parse(s.MTLSURL)
	switch {
	case s.MTLSURL == "":
		k.doc.Report("server.mtls_url", "is required with server.listen.mtls, for example https://mtls.eid.example.com")
	case err != nil || u.Scheme != "https" || u.Host == "" || s.MTLSURL != "https://"+u.Host:
		k.doc.Report("server.mtls_url", "%q must be https and a host and nothing else, for example https://mtls.eid.example.com", s.MTLSURL)
	case strings.EqualFold(s.MTLSURL, s.PublicURL):
		k.doc.Report("server.mtls_url", "must be another one than public_url: browsers would be asked for a certificate")
	}
	if (s.MTLSTLS.Certificate == "") != (s.MTLSTLS.Key == "") {
		k.doc.Report("server.mtls_tls", "needs both certificate and key, or neither")
	}
	k.pair("server.mtls_tls", s.MTLSTLS)
	if s.mtlsTLS() == (TLSConfig{}) && len(s.TrustedProxies) == 0 {
		k.doc.Report("server.trusted_proxies", "must have the proxy that ends TLS for server.listen.mtls")
	}
	if s.MTLSRoots != "" && k.file("server.mtls_roots", s.MTLSRoots) {
		if _, err := readRoots(s.MTLSRoots); err != nil {
			k.doc.Report("server.mtls_roots", "%v", err)
		}
	}
}

// mtls is what the provider must know of that listener; nil where there is
// none. A header counts only where the listener does not end TLS itself: a
// proxy that passes connections on, with an address that is trusted for other
// listeners, would pass on what anybody writes there.
func (s *ServerConfig) mtls(trusted proxies) (*oidc.MutualTLS, error) {
	if s.Listen.MTLS == "" {
		return nil, nil
	}
	out := &oidc.MutualTLS{Public: s.MTLSURL}
	if s.MTLSRoots != "" {
		var err error
		if out.Roots, err = readRoots(s.MTLSRoots); err != nil {
			return nil, fmt.Errorf("server.mtls_roots: %w", err)
		}
	}
	if s.mtlsTLS() == (TLSConfig{}) {
		out.Proxy = trusted.passed
	}
	return out, nil
}

// passed says whether a request comes straight from a trusted proxy.
func (p proxies) passed(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && p.trust(peer.Addr().Unmap())
}

// mutualTLS asks every client for a certificate and lets the provider decide
// what it proves: it alone knows whose it must be. Connections are not resumed,
// so that each shows it anew.
func mutualTLS(shown showing) *tls.Config {
	c := publicTLS(shown)
	c.ClientAuth, c.SessionTicketsDisabled = tls.RequestClientCert, true
	return c
}

// clientRoutes is the listener for clients' certificates.
func (c *core) clientRoutes(p parts) http.Handler {
	mux := http.NewServeMux()
	c.provider.RegisterTLS(mux)
	known := newNames(p.mtls.Public, false)
	known.setting = "server.mtls_url"
	return edge{listener: "mtls", https: true, sandbox: p.sandbox, log: p.log, metrics: c.metrics, seen: p.seen}.wrap(known.only(mux))
}
