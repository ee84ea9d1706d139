package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/api/oidc"
	"eidgate/internal/need"
)

// TestMutualTLSConfiguration spoils a configuration with a listener for clients'
// certificates in one place.
func TestMutualTLSConfiguration(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	s.write(t, "text", "no certificate")
	s.write(t, "bare.json", `{"keys": [{"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)
	const (
		listener = "  listen: {mtls: \":8444\"}\n  mtls_url: https://mtls.eid.example.com\n"
		own      = "  mtls_tls: {certificate: DIR/house.pem, key: DIR/house.pem}\n"
		roots    = "  mtls_roots: DIR/tls-root.pem\n"
		named    = "certificate: {tls_client_auth_san_dns: shop.example}"
		at       = "accounts.0.oidc_clients.0"
	)
	with := strings.Replace(sound, "store:", listener+own+roots+"store:", 1)
	with = strings.Replace(with, "keys: [{environment: test, file: DIR/key}]\n", `oidc_clients:
      - client_id: shop
        environment: test
        redirect_uris: [https://shop.example/cb]
        token_endpoint_auth_method: tls_client_auth
        tls_client_certificate_bound_access_tokens: true
        `+named+"\n", 1)
	for _, c := range []struct {
		name, old, with string
		want            []string
	}{
		{"sound", "", "", nil},
		{"the certificate of the public listener", own, "  tls: {certificate: DIR/house.pem, key: DIR/house.pem}\n", nil},
		{"behind a proxy", own, "  trusted_proxies: [10.0.0.0/8]\n", nil},
		{"roots of the client's own", roots, "", []string{at + ".certificate.ca_file: or server.mtls_roots is required: who may issue the client's certificate"}},
		{"both roots", named, strings.Replace(named, "}", ", ca_file: DIR/tls-root.pem}", 1), nil},
		{"no listener", listener + own + roots, "", []string{
			at + ".token_endpoint_auth_method: tls_client_auth needs server.listen.mtls, where clients show their certificates",
			at + ".tls_client_certificate_bound_access_tokens: needs server.listen.mtls, where clients show their certificates",
			at + ".certificate.ca_file: or server.mtls_roots is required: who may issue the client's certificate"}},
		{"settings without a listener", "  listen: {mtls: \":8444\"}\n", "", []string{
			"server.mtls_url: has no effect without server.listen.mtls", "server.mtls_tls: has no effect without server.listen.mtls",
			"server.mtls_roots: has no effect without server.listen.mtls",
			at + ".token_endpoint_auth_method: tls_client_auth needs server.listen.mtls, where clients show their certificates",
			at + ".tls_client_certificate_bound_access_tokens: needs server.listen.mtls, where clients show their certificates"}},
		{"no name", "  mtls_url: https://mtls.eid.example.com\n", "", []string{"server.mtls_url: is required with server.listen.mtls, for example https://mtls.eid.example.com"}},
		{"the name of browsers", "https://mtls.eid", "https://EID", []string{"server.mtls_url: must be another one than public_url: browsers would be asked for a certificate"}},
		{"http", "https://mtls", "http://mtls", []string{`server.mtls_url: "http://mtls.eid.example.com" must be https and a host and nothing else, for example https://mtls.eid.example.com`}},
		{"a path", "mtls.eid.example.com", "mtls.eid.example.com/", []string{
			`server.mtls_url: "https://mtls.eid.example.com/" must be https and a host and nothing else, for example https://mtls.eid.example.com`}},
		{"a proxy that nobody trusts", own, "", []string{"server.trusted_proxies: must have the proxy that ends TLS for server.listen.mtls"}},
		{"half of TLS", ", key: DIR/house.pem", "", []string{"server.mtls_tls: needs both certificate and key, or neither", "server.mtls_tls.key: is required"}},
		{"roots that are none", "tls-root.pem", "text", []string{"server.mtls_roots: holds no certificate in PEM"}},
		{"roots that are not there", "tls-root.pem", "none", []string{"server.mtls_roots: DIR/none cannot be read: no such file or directory"}},
		{"a client's roots that are none", named, strings.Replace(named, "}", ", ca_file: DIR/text}", 1), []string{at + ".certificate.ca_file: must hold certificates in PEM"}},
		{"a client's roots that are not there", named, strings.Replace(named, "}", ", ca_file: DIR/none}", 1), []string{
			at + ".certificate.ca_file: DIR/none cannot be read: no such file or directory"}},
		{"two names", "example}", "example, tls_client_auth_san_ip: 192.0.2.1}", []string{at + ".certificate: must have exactly one name for tls_client_auth"}},
		{"a subject in another form", "tls_client_auth_san_dns: shop.example", `tls_client_auth_subject_dn: "/O=Shop/CN=client"`, []string{
			at + ".certificate.tls_client_auth_subject_dn: must be a subject as RFC 4514 writes it, such as CN=client,O=Shop; openssl x509 -noout -subject -nameopt RFC2253 shows it"}},
		{"a self-signed one and a key without it", "tls_client_auth\n        tls_client_certificate_bound_access_tokens: true\n        " + named, "self_signed_tls_client_auth\n        jwks_file: DIR/bare.json", []string{
			at + ".jwks_file: must have a key with its certificate (x5c) for self_signed_tls_client_auth"}},
	} {
		if c.old != "" && strings.Count(with, c.old) == 0 {
			t.Errorf("%s: there is no %q", c.name, c.old)
		}
		if got := problems(t, s, s.fill(strings.Replace(with, c.old, c.with, 1))); cmp.Diff(c.want, got) != "" {
			t.Errorf("%s:\n%s", c.name, cmp.Diff(c.want, got))
		}
	}
	got := strings.Join(s.config(t, with).Summary(), "\n")
	if !strings.Contains(got, "mtls      https://mtls.eid.example.com on :8444, with TLS\n") {
		t.Errorf("the summary does not name the listener:\n%s", got)
	}
}

// openssl runs it in the house's folder.
func (s *house) openssl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

// issued writes NAME.pem and NAME.key. by is the name of who issues it, "" for
// itself.
func (s *house) issued(t *testing.T, name, by, subject, extensions string) {
	t.Helper()
	s.write(t, name+".ext", extensions)
	s.openssl(t, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name+".key", "-out", name+".csr", "-utf8", "-subj", subject)
	sign := []string{"x509", "-req", "-in", name + ".csr", "-out", name + ".pem", "-days", "30", "-extfile", name + ".ext"}
	if by == "" {
		sign = append(sign, "-signkey", name+".key")
	} else {
		sign = append(sign, "-CA", by+".pem", "-CAkey", by+".key", "-CAcreateserial")
	}
	s.openssl(t, sign...)
	if err := os.Chmod(filepath.Join(s.dir, name+".key"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate reads NAME.pem.
func (s *house) certificate(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// keySet is a JWK set with the certificate of NAME.pem.
func (s *house) keySet(t *testing.T, name string) string {
	t.Helper()
	c := s.certificate(t, name)
	point, err := c.PublicKey.(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	raw, err := json.Marshal(map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:]), "x5c": [][]byte{c.Raw}}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// open serves a configuration, whose listeners are at free ports, and is where:
// public, ops, and that for certificates.
func (s *house) open(t *testing.T, text string) []string {
	t.Helper()
	c := s.core(t, text)
	t.Cleanup(func() { _ = c.store.Close() })
	doors, err := s.config(t, text).doors(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	var at []string
	for _, d := range doors {
		running.Go(func() {
			if err := serve(ctx, d.listener, d.server, time.Second, c.log); err != nil {
				t.Error(err)
			}
		})
		at = append(at, d.listener.Addr().String())
	}
	return at
}

const mtlsClients = `oidc_clients:
      - client_id: named
        environment: test
        redirect_uris: [https://shop.example/cb]
        token_endpoint_auth_method: tls_client_auth
        tls_client_certificate_bound_access_tokens: true
        profile: standard
        certificate: {tls_client_auth_subject_dn: 'SUBJECT', ca_file: DIR/ca.pem}
      - client_id: hosted
        environment: test
        redirect_uris: [https://shop.example/cb]
        token_endpoint_auth_method: tls_client_auth
        profile: standard
        certificate: {tls_client_auth_san_dns: client.shop.example}
      - client_id: pinned
        environment: test
        redirect_uris: [https://shop.example/cb]
        token_endpoint_auth_method: self_signed_tls_client_auth
        profile: standard
        jwks_file: DIR/jwks.json
`

// TestMutualTLS lets OpenSSL make every certificate and curl call the server:
// who may get tokens, and with what they count.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	need.Program(t, "curl")
	s := newHouse(t, "house")
	const ca, client = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n", "basicConstraints=CA:false\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:client.shop.example\n"
	s.issued(t, "ca", "", "/O=Shop/CN=Shop's own CA", ca)
	s.issued(t, "other-ca", "", "/O=Other/CN=Other CA", ca)
	s.issued(t, "server", "ca", "/CN=eid", "subjectAltName=DNS:eid.example.com,DNS:mtls.eid.example.com\nextendedKeyUsage=serverAuth\n")
	s.issued(t, "named", "ca", "/C=SE/O=Shop, Inc./CN=client+organizationIdentifier=NTRSE-5566304928", client)
	s.issued(t, "renewed", "ca", "/C=SE/O=Shop, Inc./CN=client+organizationIdentifier=NTRSE-5566304928", client)
	s.issued(t, "same-name", "other-ca", "/C=SE/O=Shop, Inc./CN=client+organizationIdentifier=NTRSE-5566304928", client)
	s.issued(t, "pinned", "", "/CN=pinned", client)
	s.write(t, "jwks.json", s.keySet(t, "pinned"))
	subject := strings.TrimPrefix(s.openssl(t, "x509", "-in", "named.pem", "-noout", "-subject", "-nameopt", "RFC2253"), "subject=")
	text := strings.Replace(sound, "store:", `  listen: {public: "127.0.0.1:0", ops: "127.0.0.1:0", mtls: "127.0.0.1:0"}
  tls: {certificate: DIR/server.pem, key: DIR/server.key}
  mtls_url: https://mtls.eid.example.com
  mtls_roots: DIR/other-ca.pem
store:`, 1)
	text = strings.Replace(text, "keys: [{environment: test, file: DIR/key}]\n", strings.Replace(mtlsClients, "SUBJECT", subject, 1), 1)
	at := s.open(t, text)
	const mtls, public = "https://mtls.eid.example.com" + oidc.Root + "/connect/", "https://eid.example.com" + oidc.Root + "/connect/"
	// curl calls an address and shows a certificate, "" for none.
	curl := func(address, show string, args ...string) (status string, body map[string]any) {
		t.Helper()
		args = append([]string{"-sS", "-w", "\n%{http_code}", "--cacert", "ca.pem", "--connect-to", "eid.example.com:443:" + at[0], "--connect-to", "mtls.eid.example.com:443:" + at[2]}, args...)
		if show != "" {
			args = append(args, "--cert", show+".pem", "--key", show+".key")
		}
		cmd := exec.CommandContext(t.Context(), "curl", append(args, address)...)
		cmd.Dir = s.dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("curl: %v", err)
		}
		cut := strings.LastIndex(string(out), "\n")
		_ = json.Unmarshal(out[:cut], &body) // what is none stays nil
		return string(out[cut+1:]), body
	}
	token := func(client, show string) (string, map[string]any) {
		t.Helper()
		return curl(mtls+"token", show, "-d", "grant_type=client_credentials", "-d", "client_id="+client)
	}
	for _, c := range []struct{ client, show, want string }{
		{"named", "named", "200"}, {"named", "renewed", "200"}, {"hosted", "same-name", "200"}, {"pinned", "pinned", "200"},
		{"named", "", "401"}, {"named", "same-name", "401"}, {"named", "pinned", "401"}, {"hosted", "named", "401"}, {"hosted", "pinned", "401"}, {"pinned", "named", "401"}, {"pinned", "", "401"},
	} {
		status, body := token(c.client, c.show)
		if status != c.want || (status == "401" && body["error"] != "invalid_client") || (body["access_token"] != nil) != (status == "200") {
			t.Errorf("client %s with the certificate %q: %s %v, want %s", c.client, c.show, status, body, c.want)
		}
	}
	_, got := token("named", "named")
	bound, _ := got["access_token"].(string)
	raw := s.openssl(t, "x509", "-in", "named.pem", "-noout", "-fingerprint", "-sha256")
	_, print, _ := strings.Cut(raw, "=")
	status, said := curl(mtls+"introspect", "named", "-d", "client_id=named", "-d", "token="+bound)
	cnf, _ := said["cnf"].(map[string]any)
	sum, err := base64.RawURLEncoding.DecodeString(cnf["x5t#S256"].(string))
	if err != nil || status != "200" || !strings.EqualFold(strings.ReplaceAll(print, ":", ""), hex.EncodeToString(sum)) {
		t.Errorf("introspection: %s %v, want the fingerprint %s", status, said, print)
	}
	for _, c := range []struct{ address, show, want string }{
		{mtls, "named", "403"}, {mtls, "renewed", "401"}, {mtls, "", "401"}, {public, "named", "401"}, // 403: it counts, and is of no person
	} {
		if status, _ := curl(c.address+"userinfo", c.show, "-H", "Authorization: Bearer "+bound); status != c.want {
			t.Errorf("userinfo at %s with %q: %s, want %s", c.address, c.show, status, c.want)
		}
	}
	der := base64.StdEncoding.EncodeToString(s.certificate(t, "named").Raw)
	for _, address := range []string{mtls, public} {
		if status, _ := curl(address+"userinfo", "", "-H", "Authorization: Bearer "+bound, "-H", "Client-Cert: :"+der+":"); status != "401" {
			t.Errorf("userinfo at %s with a header: %s", address, status)
		}
		if status, _ := curl(address+"token", "", "-d", "grant_type=client_credentials", "-d", "client_id=named", "-H", "Client-Cert: :"+der+":"); status != "401" {
			t.Errorf("token at %s with a header: %s", address, status)
		}
	}
	if status, _ := curl("https://mtls.eid.example.com"+oidc.Root+"/.well-known/openid-configuration", ""); status != "404" {
		t.Errorf("metadata at the listener for certificates: %s", status)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.certificate(t, "ca"))
	for i, asks := range map[int]bool{0: false, 2: true} {
		asked := false
		conf := &tls.Config{RootCAs: roots, ServerName: "mtls.eid.example.com", MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1),
			GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				if len(r.AcceptableCAs) > 0 {
					t.Error("the listener tells whose certificates it takes")
				}
				return &tls.Certificate{}, nil
			}}
		for range 2 {
			conn, err := tls.Dial("tcp", at[i], conf)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(conn); err != nil { // tickets come before the answer
				t.Fatal(err)
			}
			if conn.ConnectionState().DidResume && asks {
				t.Error("a connection was resumed, which shows no certificate anew")
			}
			_ = conn.Close() // the server has done so
		}
		if asked != asks {
			t.Errorf("listener %d: asks for a certificate: %t", i, asked)
		}
	}
}

// TestCertificatesOfAProxy has the listener behind a proxy, whose header counts
// by the address that it comes from.
func TestCertificatesOfAProxy(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	s := newHouse(t, "house")
	const client = "extendedKeyUsage=clientAuth\nsubjectAltName=DNS:client.shop.example\n"
	s.issued(t, "ca", "", "/O=Shop/CN=CA", "basicConstraints=critical,CA:true\n")
	s.issued(t, "named", "ca", "/CN=client", client)
	s.issued(t, "pinned", "", "/CN=pinned", client)
	s.write(t, "jwks.json", s.keySet(t, "pinned"))
	for network, want := range map[string]int{"127.0.0.0/8": http.StatusOK, "10.0.0.0/8": http.StatusUnauthorized} {
		text := strings.Replace(sound, "store:", `  listen: {public: "127.0.0.1:0", ops: "127.0.0.1:0", mtls: "127.0.0.1:0"}
  mtls_url: https://mtls.eid.example.com
  mtls_roots: DIR/ca.pem
  trusted_proxies: [`+network+`]
store:`, 1)
		text = strings.Replace(text, "x.db", strings.ReplaceAll(network, "/", "-")+".db", 1)
		text = strings.Replace(text, "keys: [{environment: test, file: DIR/key}]\n", strings.Replace(mtlsClients, "SUBJECT", "CN=client", 1), 1)
		at := s.open(t, text)
		for id, cert := range map[string]string{"named": "named", "hosted": "named", "pinned": "pinned"} {
			form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+at[2]+oidc.Root+"/connect/token", strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = "mtls.eid.example.com"
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(s.certificate(t, cert).Raw)+":")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close() // the status is the point
			if res.StatusCode != want {
				t.Errorf("%s from a proxy in %s: %d, want %d", id, network, res.StatusCode, want)
			}
		}
	}
}
