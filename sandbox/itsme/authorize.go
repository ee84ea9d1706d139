package itsme

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
)

// A member is one of a JSON object whose order is kept.
type member struct {
	name  string
	value any
}

type members []member

// MarshalJSON implements json.Marshaler.
func (ms members) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range ms {
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}

func say(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

func (s *Simulator) issuer(g *generation) string { return s.Base() + g.path }

// discovery is what the provider publishes of itself (§2).
func (s *Simulator) discovery(w http.ResponseWriter, _ *http.Request, g *generation) {
	iss := s.issuer(g)
	algs := []string{"RSA-OAEP-256", "RSA-OAEP"}
	out := members{
		{"issuer", iss}, {"authorization_endpoint", iss + "/authorization"}, {"token_endpoint", iss + "/token"}, {"userinfo_endpoint", iss + "/userinfo"},
		{"jwks_uri", iss + "/jwkSet"}, {"response_types_supported", []string{"code"}}, {"response_modes_supported", []string{"query"}},
		{"grant_types_supported", []string{"authorization_code"}}, {"subject_types_supported", []string{"pairwise"}},
		{"acr_values_supported", []string{g.ns + "acr_basic", g.ns + "acr_advanced"}},
		{"scopes_supported", []string{"openid", "service", "profile", "email", "address", "phone", "eid", "idDocument"}},
		{"display_values_supported", []string{"page"}}, {"ui_locales_supported", []string{"fr", "nl", "de", "en"}},
		{"claims_parameter_supported", true}, {"request_parameter_supported", true}, {"request_uri_parameter_supported", false},
		{"token_endpoint_auth_methods_supported", []string{"private_key_jwt", "client_secret_post"}},
		{"token_endpoint_auth_signing_alg_values_supported", []string{"RS256"}}, {"id_token_signing_alg_values_supported", []string{"RS256"}},
		{"id_token_encryption_alg_values_supported", algs}, {"id_token_encryption_enc_values_supported", []string{"A128CBC-HS256", "A256GCM"}},
		{"userinfo_signing_alg_values_supported", []string{"RS256"}}, {"userinfo_encryption_alg_values_supported", algs},
		{"userinfo_encryption_enc_values_supported", []string{"A128CBC-HS256", "A256GCM"}},
		{"request_object_signing_alg_values_supported", []string{"RS256"}}, {"request_object_encryption_alg_values_supported", algs},
		{"request_object_encryption_enc_values_supported", []string{"A128CBC-HS256", "A256GCM"}},
	}
	if g.number == 2 {
		out = append(out, member{"code_challenge_methods_supported", []string{"S256"}})
	}
	say(w, http.StatusOK, out)
}

func (s *Simulator) jwks(w http.ResponseWriter, _ *http.Request, g *generation) {
	k := s.keys()
	say(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: &k[0].PublicKey, KeyID: "s1", Use: "sig", Algorithm: "RS256"},
		{Key: &k[1].PublicKey, KeyID: "e1", Use: "enc", Algorithm: string(g.keyAlg)},
	}})
}

var (
	errObject  = errors.New("invalid_request_object")
	errRequest = errors.New("invalid_request")
)

// open decrypts what a partner has encrypted to us.
func (s *Simulator) open(sealed string) (string, error) {
	e, err := jose.ParseEncryptedCompact(sealed, []jose.KeyAlgorithm{jose.RSA_OAEP, jose.RSA_OAEP_256}, []jose.ContentEncryption{jose.A128CBC_HS256, jose.A256GCM})
	if err != nil {
		return "", err
	}
	if e.Header.KeyID != "" && e.Header.KeyID != "e1" {
		return "", errors.New("kid")
	}
	plain, err := e.Decrypt(s.keys()[1])
	return string(plain), err
}

// signed reads what a partner has signed, perhaps encrypted.
func (s *Simulator) signed(c *client, token string, mustEncrypt bool) (map[string]json.RawMessage, error) {
	sealed := strings.Count(token, ".") == 4
	if mustEncrypt && !sealed || c.sig == nil {
		return nil, errObject
	}
	if sealed {
		var err error
		if token, err = s.open(token); err != nil {
			return nil, err
		}
	}
	j, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, err
	}
	if j.Signatures[0].Header.KeyID != signingKID {
		return nil, errors.New("kid")
	}
	raw, err := j.Verify(c.sig)
	if err != nil {
		return nil, err
	}
	var out map[string]json.RawMessage
	return out, json.Unmarshal(raw, &out)
}

// authorize checks a request (§3). What names no partner, or no registered way
// back, is never sent back.
func (s *Simulator) authorize(w http.ResponseWriter, r *http.Request, g *generation) {
	q := r.URL.Query()
	s.mu.Lock()
	c := s.clients[q.Get("client_id")]
	s.mu.Unlock()
	if c == nil || c.gen != g.number {
		s.render(w, http.StatusBadRequest, "notice", &pageView{Error: "unauthorized_client: client_id is not known here"})
		return
	}
	p, err := s.params(q, c, g)
	back := p.Get("redirect_uri")
	if !registered(c, back) {
		s.render(w, http.StatusBadRequest, "notice", &pageView{Error: "invalid_redirect_uri: it is none of those that are registered"})
		return
	}
	l := &login{ref: random(), gen: g, client: c, redirect: back, state: p.Get("state"), nonce: p.Get("nonce"), challenge: p.Get("code_challenge"), lang: p.Get("ui_locales"), created: s.Clock.Now(), hint: "pending"}
	if err == nil {
		err = l.read(p)
	}
	if err != nil {
		redirect(w, r, back, l.state, url.Values{"error": {err.Error()}})
		return
	}
	raw, _ := json.Marshal(p) // texts only
	l.raw = string(raw)
	s.mu.Lock()
	s.logins[l.ref] = l
	if s.queue = append(s.queue, l.ref); len(s.queue) > maxKept {
		delete(s.logins, s.queue[0])
		s.queue = s.queue[1:]
	}
	s.wake()
	s.mu.Unlock()
	sandbox.Concerns(r.Context(), l.ref)
	http.Redirect(w, r, s.page(l), http.StatusFound)
}

// registered compares a way back exactly, but for the session that the sandbox
// adds to it.
func registered(c *client, back string) bool {
	u, err := url.Parse(back)
	if err != nil {
		return false
	}
	if u.Query().Has("session") && len(u.Query()) == 1 {
		u.RawQuery = ""
	}
	return slices.Contains(c.redirects, u.String())
}

// params are those of the query, or of the request object in it.
func (s *Simulator) params(q url.Values, c *client, g *generation) (url.Values, error) {
	for _, values := range q {
		if len(values) > 1 {
			return q, errRequest
		}
	}
	if q.Get("request") == "" {
		if g.needsObject && c.sig != nil {
			return q, errObject
		}
		return q, nil
	}
	in, err := s.signed(c, q.Get("request"), g.needsObject)
	if err != nil {
		return q, errObject
	}
	out := url.Values{}
	for name, raw := range in {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		out.Set(name, text)
	}
	aud := out.Get("aud")
	if out.Get("iss") != c.id || aud != s.issuer(g) && aud != s.issuer(g)+"/authorization" {
		return out, errObject
	}
	for _, name := range []string{"client_id", "response_type"} {
		if q.Get(name) != out.Get(name) {
			return out, errRequest
		}
	}
	if !slices.Contains(strings.Fields(q.Get("scope")), "openid") {
		return out, errRequest
	}
	return out, nil
}

// read checks the rest of a request; the error is that of the redirect.
func (l *login) read(p url.Values) error {
	if p.Get("response_type") != "code" {
		return errors.New("unsupported_response_type")
	}
	for _, scope := range strings.Fields(p.Get("scope")) {
		code, service := strings.CutPrefix(scope, "service:")
		switch {
		case service && l.client.services[code] == "":
			return errors.New("invalid_scope")
		case service:
			l.service = code
		case !slices.Contains([]string{"openid", "profile", "email", "address", "phone", "eid", "idDocument"}, scope):
			return errors.New("invalid_scope")
		default:
			l.scopes = append(l.scopes, scope)
		}
	}
	if !slices.Contains(l.scopes, "openid") || l.service == "" {
		return errors.New("invalid_scope")
	}
	if text := p.Get("claims"); text != "" {
		var in map[string]map[string]*struct {
			Essential bool `json:"essential"`
			Value     any  `json:"value"`
		}
		if json.Unmarshal([]byte(text), &in) != nil {
			return errRequest
		}
		l.wants = map[string][]string{}
		for part, claims := range in {
			for name := range claims {
				l.wants[part] = append(l.wants[part], name)
			}
			slices.Sort(l.wants[part])
		}
	}
	if l.client.services[l.service] == "share" && len(l.scopes) == 1 && len(l.wants) == 0 {
		return errRequest // nothing would be shared
	}
	switch {
	case p.Get("display") != "" && p.Get("display") != "page":
		return errors.New("unsupported_display")
	case p.Get("prompt") == "none":
		return errors.New("login_required")
	case p.Get("code_challenge") != "" && (p.Get("code_challenge_method") != "S256" || !challenge(p.Get("code_challenge"))):
		return errRequest
	}
	for _, acr := range strings.Fields(p.Get("acr_values")) {
		if acr == l.gen.ns+"acr_advanced" || acr == l.gen.ns+"acr_basic" && l.level == "" {
			l.level = acr
		}
	}
	return nil
}

func challenge(text string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && len(raw) == 32
}

// text is a value as a person reads it.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}
