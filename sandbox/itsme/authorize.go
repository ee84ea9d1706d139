package itsme

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox/openid"
)

func (s *Simulator) issuer(g *generation) string { return s.Base() + g.path }

// discovery is what the provider publishes of itself (§2).
func (s *Simulator) discovery(w http.ResponseWriter, _ *http.Request, g *generation) {
	iss := s.issuer(g)
	algs, methods := []string{"RSA-OAEP-256", "RSA-OAEP"}, []string{"private_key_jwt"}
	if g.number == 2 { // the first generation knows no secrets
		methods = append(methods, "client_secret_post")
	}
	out := openid.Members{
		{Name: "issuer", Value: iss}, {Name: "authorization_endpoint", Value: iss + "/authorization"}, {Name: "token_endpoint", Value: iss + "/token"}, {Name: "userinfo_endpoint", Value: iss + "/userinfo"},
		{Name: "jwks_uri", Value: iss + "/jwkSet"}, {Name: "response_types_supported", Value: []string{"code"}}, {Name: "response_modes_supported", Value: []string{"query"}},
		{Name: "grant_types_supported", Value: []string{"authorization_code"}}, {Name: "subject_types_supported", Value: []string{"pairwise"}},
		{Name: "acr_values_supported", Value: []string{g.ns + "acr_basic", g.ns + "acr_advanced"}},
		{Name: "scopes_supported", Value: []string{"openid", "service", "profile", "email", "address", "phone", "eid", "idDocument"}},
		{Name: "display_values_supported", Value: []string{"page"}}, {Name: "ui_locales_supported", Value: []string{"fr", "nl", "de", "en"}},
		{Name: "claims_parameter_supported", Value: true}, {Name: "request_parameter_supported", Value: true}, {Name: "request_uri_parameter_supported", Value: false},
		{Name: "token_endpoint_auth_methods_supported", Value: methods},
		{Name: "token_endpoint_auth_signing_alg_values_supported", Value: g.signs}, {Name: "id_token_signing_alg_values_supported", Value: []string{"RS256"}},
		{Name: "id_token_encryption_alg_values_supported", Value: algs}, {Name: "id_token_encryption_enc_values_supported", Value: []string{"A128CBC-HS256", "A256GCM"}},
		{Name: "userinfo_signing_alg_values_supported", Value: []string{"RS256"}}, {Name: "userinfo_encryption_alg_values_supported", Value: algs},
		{Name: "userinfo_encryption_enc_values_supported", Value: []string{"A128CBC-HS256", "A256GCM"}},
		{Name: "request_object_signing_alg_values_supported", Value: g.signs}, {Name: "request_object_encryption_alg_values_supported", Value: algs},
		{Name: "request_object_encryption_enc_values_supported", Value: []string{"A128CBC-HS256", "A256GCM"}},
	}
	if g.number == 2 {
		out = append(out, openid.Member{Name: "code_challenge_methods_supported", Value: []string{"S256"}})
	}
	openid.Say(w, http.StatusOK, out)
}

func (s *Simulator) jwks(w http.ResponseWriter, _ *http.Request, g *generation) {
	k := s.keys()
	openid.Say(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
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
	if mustEncrypt && !sealed || c.Key == nil {
		return nil, errObject
	}
	if sealed {
		var err error
		if token, err = s.open(token); err != nil {
			return nil, err
		}
	}
	return c.Signed(token)
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
	if !c.Knows(back) {
		s.render(w, http.StatusBadRequest, "notice", &pageView{Error: "invalid_redirect_uri: it is none of those that are registered"})
		return
	}
	l := login{Client: &c.Client, Redirect: back, State: p.Get("state"), Nonce: p.Get("nonce"), Challenge: p.Get("code_challenge"), Own: asked{gen: g, partner: c}}
	if err == nil {
		err = read(&l, p)
	}
	if err != nil {
		openid.Back(w, r, http.StatusFound, back, "error", err.Error(), "state", l.State)
		return
	}
	raw, _ := json.Marshal(p) // texts only
	l.Raw = string(raw)
	http.Redirect(w, r, s.Base()+"/itsme/app/"+s.Add(r.Context(), l), http.StatusFound)
}

// params are those of the query, or of the request object in it.
func (s *Simulator) params(q url.Values, c *client, g *generation) (url.Values, error) {
	if !openid.Single(q) {
		return q, errRequest
	}
	if q.Get("request") == "" {
		if g.needsObject && c.enc != nil {
			return q, errObject
		}
		return q, nil
	}
	in, err := s.signed(c, q.Get("request"), g.needsObject)
	if err != nil {
		return q, errObject
	}
	out := openid.Params(in)
	aud := out.Get("aud")
	if out.Has("exp") {
		if until, err := strconv.ParseInt(out.Get("exp"), 10, 64); err != nil || s.Clock.Now().Unix() >= until {
			return out, errObject
		}
	}
	if out.Get("iss") != c.ID || aud != s.issuer(g) && aud != s.issuer(g)+"/authorization" {
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
func read(l *login, p url.Values) error {
	if p.Get("response_type") != "code" {
		return errors.New("unsupported_response_type")
	}
	for _, scope := range strings.Fields(p.Get("scope")) {
		code, service := strings.CutPrefix(scope, "service:")
		switch {
		case service && l.Own.partner.services[code] == "":
			return errors.New("invalid_scope")
		case service:
			l.Own.service = code
		case !slices.Contains([]string{"openid", "profile", "email", "address", "phone", "eid", "idDocument"}, scope), scope == "idDocument" && l.Own.gen.number == 1:
			return errors.New("invalid_scope")
		default:
			l.Scopes = append(l.Scopes, scope)
		}
	}
	if !slices.Contains(l.Scopes, "openid") || l.Own.service == "" {
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
		l.Own.wants = map[string][]string{}
		for part, claims := range in {
			for name, how := range claims {
				if l.Own.gen.number == 1 && tag(name) != "" && how != nil && how.Value != nil {
					return errRequest // itsme gives no claim of its own a meaning with a value
				}
				l.Own.wants[part] = append(l.Own.wants[part], name)
			}
			slices.Sort(l.Own.wants[part])
		}
	}
	if l.Own.partner.services[l.Own.service] == "share" && len(l.Scopes) == 1 && !slices.ContainsFunc(slices.Concat(l.Own.wants["id_token"], l.Own.wants["userinfo"]), sharing) {
		return errRequest // nothing would be shared
	}
	switch {
	case p.Get("display") != "" && p.Get("display") != "page":
		return errors.New("unsupported_display")
	case p.Get("prompt") == "none":
		return errors.New("login_required")
	case p.Get("code_challenge") != "" && (p.Get("code_challenge_method") != "S256" || !openid.IsChallenge(p.Get("code_challenge"))):
		return errRequest
	}
	for _, acr := range strings.Fields(p.Get("acr_values")) {
		if acr == l.Own.gen.ns+"acr_advanced" || acr == l.Own.gen.ns+"acr_basic" && l.Own.level == "" {
			l.Own.level = acr
		}
	}
	return nil
}

// sharing says whether a claim is about the person, not about the login.
func sharing(claim string) bool {
	return !slices.Contains([]string{"sub", "acr", "auth_time"}, claim)
}

// text is a value as a person reads it: not to the end of a photo.
func text(v any) string {
	s, ok := v.(string)
	if !ok {
		raw, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		s = string(raw)
	}
	const most = 600
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
