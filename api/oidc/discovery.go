package oidc

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"eidgate/api/claims"
	"eidgate/internal/gzipped"
	"eidgate/relying"
)

// A document is written once.
type document struct {
	body   []byte
	etag   string
	packed []byte // the same, compressed; nil where it is not worth it
}

// What is served of each kind of algorithm (§10).
var (
	signs       = []string{"RS256", "PS256", "ES256", "EdDSA"}
	requestAlgs = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	proofAlgs   = []string{"PS256", "ES256", "EdDSA", "RS256"}
	keyAlgs     = []string{"RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW"}
	contentEncs = []string{"A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A256GCM"}
	ourKeyAlgs  = []string{"RSA-OAEP"}
)

// ofLogin are the claims about a login, rather than about the person.
var ofLogin = []string{"sub", "auth_time", "acr", "amr", "sid", "idp", "idp_issuer", "transaction_id", "sandbox", bindingClaim}

// describe writes the provider's metadata, in the order of members that
// programs of Signicat's customers have seen.
func (p *Provider) describe() (document, error) {
	at := func(path string) string { return p.issuer + "/connect/" + path }
	proven := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	var more claims.Object
	if p.c.TLS != nil {
		proven = append(proven, string(relying.TLS), string(relying.SelfSignedTLS))
		more = p.c.TLS.describe()
	}
	methods := slices.Concat(proven, []string{string(relying.Public)})
	body, err := append(claims.Object{
		{Name: "issuer", Value: p.issuer},
		{Name: "jwks_uri", Value: p.issuer + "/.well-known/openid-configuration/jwks"},
		{Name: "authorization_endpoint", Value: at("authorize")},
		{Name: "token_endpoint", Value: at("token")},
		{Name: "userinfo_endpoint", Value: at("userinfo")},
		{Name: "end_session_endpoint", Value: at("endsession")},
		{Name: "revocation_endpoint", Value: at("revocation")},
		{Name: "introspection_endpoint", Value: at("introspect")},
		{Name: "pushed_authorization_request_endpoint", Value: at("par")},
		{Name: "require_pushed_authorization_requests", Value: false},
		{Name: "backchannel_logout_supported", Value: true},
		{Name: "backchannel_logout_session_supported", Value: true},
		{Name: "scopes_supported", Value: claims.Scopes()},
		{Name: "claims_supported", Value: slices.Concat(ofLogin, claims.Names())},
		{Name: "grant_types_supported", Value: []string{"authorization_code", "client_credentials", "refresh_token"}},
		{Name: "response_types_supported", Value: []string{"code"}},
		{Name: "response_modes_supported", Value: []string{"form_post", "query", "jwt", "query.jwt", "form_post.jwt"}},
		{Name: "token_endpoint_auth_methods_supported", Value: methods},
		{Name: "token_endpoint_auth_signing_alg_values_supported", Value: requestAlgs},
		{Name: "revocation_endpoint_auth_methods_supported", Value: methods},
		{Name: "revocation_endpoint_auth_signing_alg_values_supported", Value: requestAlgs},
		{Name: "introspection_endpoint_auth_methods_supported", Value: proven},
		{Name: "introspection_endpoint_auth_signing_alg_values_supported", Value: requestAlgs},
		{Name: "id_token_signing_alg_values_supported", Value: signs},
		{Name: "id_token_encryption_alg_values_supported", Value: keyAlgs},
		{Name: "id_token_encryption_enc_values_supported", Value: contentEncs},
		{Name: "userinfo_signing_alg_values_supported", Value: signs},
		{Name: "userinfo_encryption_alg_values_supported", Value: keyAlgs},
		{Name: "userinfo_encryption_enc_values_supported", Value: contentEncs},
		{Name: "request_object_signing_alg_values_supported", Value: requestAlgs},
		{Name: "request_object_encryption_alg_values_supported", Value: ourKeyAlgs},
		{Name: "request_object_encryption_enc_values_supported", Value: contentEncs},
		{Name: "subject_types_supported", Value: []string{"public"}},
		{Name: "code_challenge_methods_supported", Value: []string{"S256"}},
		{Name: "request_parameter_supported", Value: true},
		{Name: "request_uri_parameter_supported", Value: false},
		{Name: "claims_parameter_supported", Value: true},
		{Name: "prompt_values_supported", Value: promptWords},
		{Name: "ui_locales_supported", Value: []string{"en", "da", "de", "fi", "fr", "nb", "nl", "sv"}},
		{Name: "authorization_response_iss_parameter_supported", Value: true},
		{Name: "authorization_signing_alg_values_supported", Value: signs},
		{Name: "dpop_signing_alg_values_supported", Value: proofAlgs},
	}, more...).MarshalJSON()
	sum := sha256.Sum256(body)
	return document{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, gzipped.Bytes(body)}, err
}

func (p *Provider) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	p.public(w, r, p.discovery)
}

func (p *Provider) serveKeys(w http.ResponseWriter, r *http.Request) {
	body, etag := p.c.Keys().JWKS()
	p.public(w, r, document{body: body, etag: etag})
}

// everybodys are the headers of what everybody may have and keep for an hour.
var everybodys = http.Header{"Cache-Control": {"public, max-age=3600"}, "Access-Control-Allow-Origin": {"*"}, "Content-Type": {"application/json"}}

// public answers with such a document.
func (p *Provider) public(w http.ResponseWriter, r *http.Request, d document) {
	if !method(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	h := w.Header()
	maps.Copy(h, everybodys)
	if d.packed != nil {
		h.Add("Vary", "Accept-Encoding")
		if gzipped.Taken(r) {
			h.Set("Content-Encoding", "gzip")
			d.body, d.etag = d.packed, strings.TrimSuffix(d.etag, `"`)+`-gzip"`
		}
	}
	h.Set("ETag", d.etag)
	for _, about := range []string{"If-None-Match", "If-Match", "Range"} {
		if r.Header[about] != nil {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.body)) // knows a copy by a tag that a proxy has weakened, too
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(d.body)))
	_, _ = w.Write(d.body) // the client has gone
}
