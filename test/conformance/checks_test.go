package conformance

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/language"
)

// The checks that every module makes. Their names in the suite's plans are in
// the comments.

// A provider is what a relying party learns from its metadata.
type provider struct {
	issuer string
	meta   map[string]any
	keys   map[string]published
}

func (p *provider) at(endpoint string) string {
	v, _ := p.meta[endpoint].(string)
	return v
}

// list is a member that is a list of texts; nil where it is anything else.
func (p *provider) list(t testing.TB, name string) (out []string) {
	t.Helper()
	all, ok := p.meta[name].([]any)
	if !ok {
		t.Errorf("%s is no list", name)
	}
	for _, v := range all {
		text, ok := v.(string)
		if !ok || text == "" || slices.Contains(out, text) {
			t.Errorf("%s has %v", name, v)
		}
		out = append(out, text)
	}
	return out
}

// members are those that metadata may have (IANA's registry), and whether each
// is a text, a list or a truth value.
var members = map[string]string{"issuer": "text", "jwks_uri": "text", "authorization_endpoint": "text", "token_endpoint": "text", "userinfo_endpoint": "text",
	"end_session_endpoint": "text", "revocation_endpoint": "text", "introspection_endpoint": "text", "pushed_authorization_request_endpoint": "text",
	"require_pushed_authorization_requests": "bool", "backchannel_logout_supported": "bool", "backchannel_logout_session_supported": "bool",
	"scopes_supported": "list", "claims_supported": "list", "grant_types_supported": "list", "response_types_supported": "list", "response_modes_supported": "list",
	"acr_values_supported": "list", "token_endpoint_auth_methods_supported": "list", "token_endpoint_auth_signing_alg_values_supported": "list",
	"introspection_endpoint_auth_methods_supported": "list", "introspection_endpoint_auth_signing_alg_values_supported": "list",
	"revocation_endpoint_auth_methods_supported": "list", "revocation_endpoint_auth_signing_alg_values_supported": "list",
	"introspection_signing_alg_values_supported": "list", "introspection_encryption_alg_values_supported": "list", "introspection_encryption_enc_values_supported": "list",
	"id_token_signing_alg_values_supported": "list", "id_token_encryption_alg_values_supported": "list", "id_token_encryption_enc_values_supported": "list",
	"userinfo_signing_alg_values_supported": "list", "userinfo_encryption_alg_values_supported": "list", "userinfo_encryption_enc_values_supported": "list",
	"request_object_signing_alg_values_supported": "list", "request_object_encryption_alg_values_supported": "list",
	"request_object_encryption_enc_values_supported": "list", "authorization_signing_alg_values_supported": "list",
	"authorization_encryption_alg_values_supported": "list", "authorization_encryption_enc_values_supported": "list", "subject_types_supported": "list",
	"code_challenge_methods_supported": "list", "request_parameter_supported": "bool", "request_uri_parameter_supported": "bool",
	"require_request_uri_registration": "bool", "require_signed_request_object": "bool", "claims_parameter_supported": "bool", "prompt_values_supported": "list",
	"claim_types_supported": "list", "display_values_supported": "list", "ui_locales_supported": "list", "claims_locales_supported": "list",
	"authorization_response_iss_parameter_supported": "bool", "dpop_signing_alg_values_supported": "list", "tls_client_certificate_bound_access_tokens": "bool",
	"mtls_endpoint_aliases": "object", "service_documentation": "text", "op_policy_uri": "text", "op_tos_uri": "text"}

// provider reads metadata and keys (S-META: OP-DISC-01 to 08, OP-JWKS-01, 03).
func (s *system) provider(t testing.TB) *provider {
	t.Helper()
	r := s.send(t, http.MethodGet, s.issuer()+"/.well-known/openid-configuration", nil, "")
	if r.status != http.StatusOK || r.json == nil || mediaType(r) != "application/json" {
		t.Fatalf("metadata: %d %s", r.status, mediaType(r))
	}
	p := &provider{issuer: s.issuer(), meta: r.json, keys: map[string]published{}}
	if p.at("issuer") != p.issuer || !strings.HasPrefix(p.issuer, "https://") {
		t.Errorf("issuer = %v, read at %s", p.meta["issuer"], p.issuer)
	}
	for name, v := range p.meta {
		kind := map[string]string{"string": "text", "bool": "bool", "[]interface {}": "list", "map[string]interface {}": "object"}[fmt.Sprintf("%T", v)]
		if kind == "" || members[name] != kind {
			t.Errorf("metadata: %s is a %T", name, v)
		}
		if u, err := url.Parse(p.at(name)); strings.HasSuffix(name, "_endpoint") || name == "jwks_uri" {
			if err != nil || u.Scheme != "https" || u.Host == "" || u.Fragment != "" {
				t.Errorf("%s = %v", name, v)
			}
		}
		if members[name] == "list" && len(p.list(t, name)) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
	for name, must := range map[string][]string{"response_types_supported": {"code"}, "subject_types_supported": {"public"},
		"id_token_signing_alg_values_supported": {"RS256"}, "scopes_supported": {"openid"}, "grant_types_supported": {"authorization_code"},
		"response_modes_supported": {"query", "form_post"}, "token_endpoint_auth_methods_supported": {"client_secret_basic", "client_secret_post"}} {
		have := p.list(t, name)
		for _, v := range must {
			if !slices.Contains(have, v) {
				t.Errorf("%s lacks %s", name, v)
			}
		}
	}
	for name := range p.meta { // nobody may be offered what proves nothing, or needs a shared key
		if strings.HasSuffix(name, "_alg_values_supported") {
			for _, alg := range p.list(t, name) {
				if alg == "none" || strings.HasPrefix(alg, "HS") || alg == "RSA1_5" || strings.HasPrefix(alg, "PBES2") {
					t.Errorf("%s has %s", name, alg)
				}
			}
		}
	}
	aliases, _ := p.meta["mtls_endpoint_aliases"].(map[string]any)
	for name, v := range aliases { // OP-DISC-09
		text, _ := v.(string)
		if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host == "" || text == p.at(name) || p.at(name) == "" {
			t.Errorf("alias of %s: %v", name, v)
		}
		if s.shows {
			p.meta[name] = v
		}
	}
	if s.shows && (len(aliases) != 5 || p.meta["tls_client_certificate_bound_access_tokens"] != true) {
		t.Error("the metadata lack what clients with certificates need")
	}
	for _, name := range []string{"claims_parameter_supported", "request_parameter_supported", "request_uri_parameter_supported"} {
		if _, there := p.meta[name]; !there {
			t.Errorf("%s has a default that is not meant", name)
		}
	}
	for _, name := range []string{"ui_locales_supported", "claims_locales_supported"} {
		if p.meta[name] != nil {
			for _, text := range p.list(t, name) {
				if tag, err := language.Parse(text); err != nil || tag.String() != text {
					t.Errorf("%s has %q, %v", name, text, err)
				}
			}
		}
	}
	s.readKeys(t, p)
	return p
}

func (s *system) readKeys(t testing.TB, p *provider) {
	t.Helper()
	r := s.send(t, http.MethodGet, p.at("jwks_uri"), nil, "")
	all, _ := r.json["keys"].([]any)
	if r.status != http.StatusOK || len(all) == 0 || r.header.Get("Etag") == "" || !strings.Contains(r.header.Get("Cache-Control"), "max-age=3600") {
		t.Fatalf("keys: %d, %d keys, %v", r.status, len(all), r.header)
	}
	for _, v := range all {
		m, _ := v.(map[string]any)
		kid, _ := m["kid"].(string)
		k, err := parseJWK(m)
		if _, twice := p.keys[kid]; err != nil || kid == "" || twice || k.alg == "" || k.use == "" {
			t.Errorf("key %q: alg %q, use %q, there twice: %v, %v", kid, k.alg, k.use, twice, err)
		}
		p.keys[kid] = k
	}
}

func mediaType(r *reply) string {
	kind, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	return kind
}

// entropy is Shannon's estimate of a text, in bits.
func entropy(s string) float64 {
	count := map[rune]int{}
	for _, c := range s {
		count[c]++
	}
	var h float64
	for _, n := range count {
		f := float64(n) / float64(len(s))
		h -= f * math.Log2(f)
	}
	return h * float64(len(s))
}

var described = regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]*$`)

// kept checks what every answer has: the way that was asked for, the query that
// the address had, the state, the issuer, and nothing else.
func kept(t testing.TB, p *provider, c *client, r *request, a *answer, allowed ...string) {
	t.Helper()
	mode := strings.TrimSuffix(orElse(r.Get("response_mode"), "query"), ".jwt")
	if mode == "jwt" {
		mode = "query"
	}
	if a.mode != mode {
		text := ""
		if a.page != nil {
			text = strings.Join(strings.Fields(a.page.text), " ")
		}
		t.Fatalf("answer came by %q, want %q: page %.300s", a.mode, mode, text)
	}
	registered, query, _ := strings.Cut(r.Get("redirect_uri"), "?")
	had, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	if a.mode == "query" {
		if a.to != registered || a.url.Fragment != "" || query != "" && !strings.HasPrefix(a.url.RawQuery, query+"&") {
			t.Errorf("answer went to %s, with the fragment %q and the parameters %s", a.to, a.url.Fragment, names(a.params))
		}
	} else {
		checkPosted(t, r, a)
		had = nil
	}
	for name := range a.params {
		if had.Has(name) || slices.Contains(allowed, name) && len(a.params[name]) == 1 {
			continue
		}
		t.Errorf("answer has %s, %d times", name, len(a.params[name]))
	}
	if a.params.Get("state") != r.Get("state") || r.Get("state") == "" && a.params.Has("state") {
		t.Errorf("state of %d characters came back as one of %d", len(r.Get("state")), len(a.params.Get("state")))
	}
	if a.params.Get("iss") != p.issuer {
		t.Errorf("iss = %q", a.params.Get("iss"))
	}
}

// checkPosted checks the page that posts an answer (OP-RM-02, 03).
func checkPosted(t testing.TB, r *request, a *answer) {
	t.Helper()
	f := a.page.forms[0]
	csp := a.page.header.Get("Content-Security-Policy")
	switch {
	case a.to != r.Get("redirect_uri"), !strings.EqualFold(f.method, "post"), len(f.buttons) != 1, f.texts != 0:
		t.Errorf("form: %s to %s, %d buttons", f.method, a.to, len(f.buttons))
	case a.page.status != http.StatusOK, !strings.Contains(a.page.header.Get("Cache-Control"), "no-store"):
		t.Errorf("page of the form: %d, %q", a.page.status, a.page.header.Get("Cache-Control"))
	case !strings.Contains(csp, "default-src 'none'"), !strings.Contains(csp, "form-action 'self' https://rp.example https:;"), strings.Contains(csp, "unsafe"),
		!strings.Contains(csp, "frame-ancestors 'none'"), !strings.Contains(csp, "base-uri 'none'"):
		t.Errorf("Content-Security-Policy: %s", csp)
	case a.page.at.Query().Has("code"), a.page.at.Query().Has("error"):
		t.Error("the answer is in the address of the page")
	}
	if kind := a.page.header.Get("Content-Type"); !strings.EqualFold(strings.ReplaceAll(kind, " ", ""), "text/html;charset=utf-8") {
		t.Errorf("page of the form: %q", kind)
	}
}

// checkAnswer checks an answer with a code (S-AUTHZ).
func checkAnswer(t testing.TB, p *provider, c *client, r *request, a *answer) {
	t.Helper()
	if a.params.Get("error") != "" {
		t.Fatalf("answer is %s: %s", a.params.Get("error"), a.params.Get("error_description"))
	}
	kept(t, p, c, r, a, "code", "state", "iss")
	code := a.params.Get("code")
	if len(code) < 22 || entropy(code) <= 96 || !described.MatchString(code) {
		t.Fatalf("code has %d characters and %.0f bits", len(code), entropy(code))
	}
}

// checkRefused checks an answer with an error (S-AERR).
func checkRefused(t testing.TB, p *provider, c *client, r *request, a *answer, codes ...string) {
	t.Helper()
	kept(t, p, c, r, a, "error", "error_description", "error_uri", "state", "iss")
	if got := a.params.Get("error"); !slices.Contains(codes, got) || !described.MatchString(a.params.Get("error_description")) {
		t.Errorf("error = %q (%s), want one of %v", got, a.params.Get("error_description"), codes)
	}
}

// checkPage checks that a person sees an error, and nobody else learns of it
// (OP-AUTHZ-05).
func checkPage(t testing.TB, b *browser, a *answer) {
	t.Helper()
	if a.mode != "" || a.page.status != http.StatusBadRequest || a.page.header.Get("Location") != "" || b.logins > 0 {
		t.Fatalf("answer by %q, status %d, %d logins; want a page with 400", a.mode, a.page.status, b.logins)
	}
	if strings.Contains(a.page.links, ".example") || a.page.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("the page leads to %s, with the Referrer-Policy %q", a.page.links, a.page.header.Get("Referrer-Policy"))
	}
}

// closed checks what back-channel answers have in common (OP-HTTP-01, 02).
func closed(t testing.TB, r *reply) {
	t.Helper()
	if !strings.Contains(r.header.Get("Cache-Control"), "no-store") || r.header.Get("Pragma") != "no-cache" || mediaType(r) != "application/json" || r.json == nil {
		t.Errorf("answer %d: %v", r.status, r.header)
	}
}

// checkTokens checks what a code has led to (S-TOK, S-IDT).
func checkTokens(t testing.TB, p *provider, c *client, r *request, got *reply) *tokens {
	t.Helper()
	if got.status != http.StatusOK {
		t.Fatalf("tokens: %d %s", got.status, got.body)
	}
	closed(t, got)
	out := &tokens{access: got.text("access_token"), refresh: got.text("refresh_token"), idToken: got.text("id_token")}
	kind := "Bearer"
	if c.proof != nil {
		kind = "DPoP"
	}
	life := number(got.json["expires_in"])
	if entropy(out.access) <= 96 || !described.MatchString(out.access) || !strings.EqualFold(got.text("token_type"), kind) || life <= 0 || life > 365*24*3600 {
		t.Errorf("access token of %d characters, %.0f bits, %s, for %d s", len(out.access), entropy(out.access), got.text("token_type"), life)
	}
	if (out.refresh != "") != slices.Contains(strings.Fields(r.Get("scope")), "offline_access") {
		t.Errorf("a refresh token of %d characters for the scope %q", len(out.refresh), r.Get("scope"))
	}
	for name := range got.json {
		if !slices.Contains([]string{"access_token", "token_type", "expires_in", "scope", "id_token", "refresh_token"}, name) {
			t.Errorf("tokens come with %s", name)
		}
	}
	out.id = checkIDToken(t, p, c, out, r.Get("nonce"))
	return out
}

// known are the claims that an ID token may have which nobody has asked for.
var known = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "at_hash", "auth_time", "acr", "amr", "sid", "azp", "jti", "c_hash"}

// checkIDToken checks an ID token (S-IDT: OP-IDT-01 to 04).
func checkIDToken(t testing.TB, p *provider, c *client, l *tokens, nonce string) map[string]any {
	t.Helper()
	header, id := p.verify(t, l.idToken, c.alg)
	for name := range header {
		if !slices.Contains([]string{"alg", "kid", "typ"}, name) {
			t.Errorf("header of the ID token has %s", name)
		}
	}
	now := c.s.now().Unix()
	sub, _ := id["sub"].(string)
	iat, exp, auth := number(id["iat"]), number(id["exp"]), number(id["auth_time"])
	switch {
	case id["iss"] != p.issuer || id["aud"] != c.id || sub == "" || len(sub) > 255:
		t.Errorf("ID token: iss %v, aud %v, sub of %d characters", id["iss"], id["aud"], len(sub))
	case iat > now+5 || iat < now-60 || exp < now || exp > now+24*3600 || auth > now+5 || auth <= 0:
		t.Errorf("ID token: iat %d, exp %d, auth_time %d, now %d", iat, exp, auth, now)
	case nonce != "" && id["nonce"] != nonce, nonce == "" && id["nonce"] != nil:
		t.Errorf("nonce of %d characters came back as %v", len(nonce), id["nonce"])
	case id["at_hash"] != nil && id["at_hash"] != halfHash(c.alg, l.access):
		t.Error("at_hash is that of another token")
	}
	if amr, ok := id["amr"].([]any); id["amr"] != nil && (!ok || len(amr) == 0) {
		t.Errorf("amr = %v", id["amr"])
	}
	if acr, ok := id["acr"].(string); id["acr"] != nil && (!ok || acr == "") {
		t.Errorf("acr = %v", id["acr"])
	}
	for name := range id {
		if !slices.Contains(known, name) {
			t.Errorf("ID token has %s, for which nobody has asked", name)
		}
	}
	return id
}

// checkDenied checks an error of a back-channel endpoint (S-TERR).
func checkDenied(t testing.TB, got *reply, codes ...string) {
	t.Helper()
	closed(t, got)
	code := got.text("error")
	if got.status != http.StatusBadRequest && (got.status != http.StatusUnauthorized || code != "invalid_client") || !slices.Contains(codes, code) {
		t.Errorf("answer is %d %s, want one of %v", got.status, got.body, codes)
	}
	if !described.MatchString(got.text("error_description")) || got.json["access_token"] != nil {
		t.Errorf("error is described as %q", got.text("error_description"))
	}
}

// checkUserInfo checks claims (S-UI: OP-UI-02, 03, 08).
func checkUserInfo(t testing.TB, l *tokens, got *reply) map[string]any {
	t.Helper()
	if got.status != http.StatusOK || got.json == nil || mediaType(got) != "application/json" || got.header.Get("Date") == "" {
		t.Fatalf("userinfo: %d %v", got.status, got.header)
	}
	if got.json["sub"] != l.id["sub"] {
		t.Error("sub at userinfo is another one than in the ID token")
	}
	for name, v := range got.json {
		ok := false
		switch name {
		case "email_verified", "phone_number_verified":
			_, ok = v.(bool)
		case "updated_at":
			ok = number(v) > 0
		case "address":
			var a map[string]any
			a, ok = v.(map[string]any)
			for _, part := range a {
				text, is := part.(string)
				ok = ok && is && text != ""
			}
		case "birthdate":
			text, _ := v.(string)
			day, err := time.Parse(time.DateOnly, text)
			year, err2 := time.Parse("2006", text)
			ok = err == nil && day.Year() >= 1850 && day.Before(time.Now()) || err2 == nil && year.Year() >= 1850
		default:
			text, is := v.(string)
			ok = !is && v != nil || is && text != "" && text != "null"
		}
		if !ok {
			raw, err := json.Marshal(v)
			t.Errorf("claim %s has the form of %d octets, %v", name, len(raw), err)
		}
	}
	return got.json
}

// checkUnknown checks the answer to an access token that does not count
// (OP-UI-06).
func checkUnknown(t testing.TB, got *reply) {
	t.Helper()
	if (got.status != http.StatusUnauthorized && got.status != http.StatusBadRequest) || got.status == http.StatusUnauthorized && got.header.Get("Www-Authenticate") == "" || got.json["sub"] != nil {
		t.Errorf("userinfo: %d %q", got.status, got.header.Get("Www-Authenticate"))
	}
}

// checkPushed checks the name of a pushed request (OP-PAR-01).
func checkPushed(t testing.TB, got *reply) (uri string) {
	t.Helper()
	if got.status != http.StatusCreated {
		t.Fatalf("pushed request: %d %s", got.status, got.body)
	}
	closed(t, got)
	uri = got.text("request_uri")
	life := number(got.json["expires_in"])
	if handle, ok := strings.CutPrefix(uri, "urn:ietf:params:oauth:request_uri:"); !ok || entropy(handle) <= 96 || life < 5 || life >= 600 {
		t.Fatalf("pushed request: name of %d characters, for %d s", len(uri), life)
	}
	return uri
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
