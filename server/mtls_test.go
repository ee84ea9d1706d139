package server

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
