//go:debug x509usefallbackroots=1

package conformance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/server"
	"eidgate/test/rig"
)

// certificate is that of every https server of these tests: the proxy before
// the provider, and relying parties. Everybody in this process trusts it: the
// tests, the provider that calls relying parties, the sandbox's robot.
var certificate tls.Certificate

func TestMain(m *testing.M) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	now := time.Now()
	self := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	if err != nil {
		panic(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	x509.SetFallbackRoots(roots) // in place of the machine's, by the directive above
	m.Run()
}

// serveTLS starts an https server at localhost.
func serveTLS(t testing.TB, h http.Handler) (address string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
}

// A system is a provider under test with everything around it: the sandbox
// behind a proxy that speaks TLS, as an operator has it.
type system struct {
	dev   *rig.Dev
	http  *http.Client  // of relying parties: no cookies, no redirects
	ahead *atomic.Int64 // by which its clock was moved, in nanoseconds
	shows bool          // it is seen by a client with a certificate, which calls other addresses
}

func newSystem(t testing.TB) *system {
	t.Helper()
	var to atomic.Pointer[url.URL]
	public := serveTLS(t, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to.Load())
		r.Out.Host = r.In.Host
	}})
	asking := serveAsking(t)
	s := &system{ahead: &atomic.Int64{}, dev: rig.StartDev(t, "memory", func(o *server.DevOptions) { o.URL, o.MTLSURL = public, asking.url }),
		http: &http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for name, to := range map[string]*atomic.Pointer[url.URL]{"local": &to, "mtls_local": &asking.to} {
		local, err := url.Parse(s.dev.URLs[name])
		if err != nil {
			t.Fatal(err)
		}
		to.Store(local)
	}
	return s
}

// An asker is the proxy that asks clients for their certificates, and says
// behind it what it was shown (RFC 9440).
type asker struct {
	url string
	to  atomic.Pointer[url.URL]
}

func serveAsking(t testing.TB) *asker {
	t.Helper()
	a := &asker{}
	srv := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(a.to.Load())
		r.Out.Host = r.In.Host
		r.Out.Header.Del("Client-Cert")
		if shown := r.In.TLS.PeerCertificates; len(shown) > 0 {
			r.Out.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(shown[0].Raw)+":")
		}
	}})
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	a.url = strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	return a
}

// showing is the same system for who shows a certificate; nil for none.
func (s *system) showing(c *tls.Certificate) *system {
	out := *s
	out.shows = true
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c != nil {
		conf.Certificates = []tls.Certificate{*c}
	}
	out.http = &http.Client{Timeout: s.http.Timeout, CheckRedirect: s.http.CheckRedirect, Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
	return &out
}

func (s *system) issuer() string { return s.dev.URLs["public"] + "/auth/open" }

// now is the provider's time.
func (s *system) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// advance lets time pass, for everybody who uses this system.
func (s *system) advance(t *testing.T, d time.Duration) {
	t.Helper()
	s.control(t, "/clock", map[string]string{"advance": d.String()})
	s.ahead.Add(int64(d))
}

// control calls the sandbox's control API.
func (s *system) control(t testing.TB, path string, in any) map[string]any {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r := s.send(t, http.MethodPost, s.dev.URLs["control"]+"/sandbox/v1"+path, http.Header{"Content-Type": {"application/json"}}, string(body))
	if r.status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, r.status, r.body)
	}
	return r.json
}

// A reply is what came back from a server.
type reply struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any // nil where the body is none
}

func (r *reply) text(name string) string {
	v, _ := r.json[name].(string)
	return v
}

// send makes a request of a relying party.
func (s *system) send(t testing.TB, method, address string, h http.Header, body string) *reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range h {
		req.Header[name] = values
	}
	res, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out := &reply{status: res.StatusCode, header: res.Header}
	if out.body, err = io.ReadAll(io.LimitReader(res.Body, 1<<20)); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(out.body))
	d.UseNumber()
	if d.Decode(&out.json) != nil {
		out.json = nil
	}
	return out
}

// form sends a form.
func (s *system) form(t testing.TB, method, address string, h http.Header, form url.Values) *reply {
	t.Helper()
	h = h.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.send(t, method, address, h, form.Encode())
}
