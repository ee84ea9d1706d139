package mitid

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

// discovery is what the broker publishes of itself, in the recorded order (§2).
func (s *Simulator) discovery(w http.ResponseWriter, _ *http.Request) {
	iss := s.issuer()
	algs := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512"}
	openid.Say(w, http.StatusOK, openid.Members{
		{Name: "issuer", Value: iss}, {Name: "jwks_uri", Value: iss + "/.well-known/openid-configuration/jwks"}, {Name: "authorization_endpoint", Value: iss + "/connect/authorize"},
		{Name: "token_endpoint", Value: iss + "/connect/token"}, {Name: "userinfo_endpoint", Value: iss + "/connect/userinfo"}, {Name: "end_session_endpoint", Value: iss + "/connect/endsession"},
		{Name: "backchannel_authentication_endpoint", Value: iss + "/connect/ciba"}, {Name: "pushed_authorization_request_endpoint", Value: iss + "/connect/par"},
		{Name: "require_pushed_authorization_requests", Value: false}, {Name: "frontchannel_logout_supported", Value: true}, {Name: "frontchannel_logout_session_supported", Value: true},
		{Name: "backchannel_logout_supported", Value: true}, {Name: "backchannel_logout_session_supported", Value: true},
		{Name: "grant_types_supported", Value: []string{"authorization_code", "client_credentials", "refresh_token", "implicit", "urn:openid:params:grant-type:ciba"}},
		{Name: "response_types_supported", Value: []string{"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token"}},
		{Name: "response_modes_supported", Value: []string{"form_post", "query", "fragment"}},
		{Name: "token_endpoint_auth_methods_supported", Value: []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}},
		{Name: "token_endpoint_auth_signing_alg_values_supported", Value: algs}, {Name: "id_token_signing_alg_values_supported", Value: []string{"RS256"}},
		{Name: "userinfo_signing_alg_values_supported", Value: []string{"RS256"}}, {Name: "subject_types_supported", Value: []string{"public"}},
		{Name: "code_challenge_methods_supported", Value: []string{"plain", "S256"}}, {Name: "request_parameter_supported", Value: true},
		{Name: "request_object_signing_alg_values_supported", Value: algs}, {Name: "request_uri_parameter_supported", Value: true},
		{Name: "prompt_values_supported", Value: []string{"login", "none", "select_account"}}, {Name: "authorization_response_iss_parameter_supported", Value: true},
		{Name: "backchannel_token_delivery_modes_supported", Value: []string{"poll"}}, {Name: "backchannel_user_code_parameter_supported", Value: true},
		{Name: "request_object_encryption_alg_values_supported", Value: []string{"RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512"}},
	})
}

// jwks has certificates and no alg (§2).
func (s *Simulator) jwks(w http.ResponseWriter, _ *http.Request) {
	var out []openid.Members
	for _, k := range s.keys() {
		out = append(out, openid.Members{{Name: "kty", Value: "RSA"}, {Name: "use", Value: k.use}, {Name: "kid", Value: k.kid}, {Name: "x5t", Value: k.x5t},
			{Name: "n", Value: base64.RawURLEncoding.EncodeToString(k.N.Bytes())}, {Name: "e", Value: "AQAB"}, {Name: "x5c", Value: []string{k.x5c}}})
	}
	openid.Say(w, http.StatusOK, openid.Members{{Name: "keys", Value: out}})
}

// push keeps a request until its browser comes (RFC 9126).
func (s *Simulator) push(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if r.ParseForm() != nil || !openid.Single(r.PostForm) || r.PostForm.Get("request_uri") != "" {
		tokenError(w, "invalid_request")
		return
	}
	c, err := s.clients.Authenticate(r, s.issuer(), s.issuer()+"/connect/token", s.issuer()+"/connect/par")
	if err != nil {
		tokenError(w, "invalid_client")
		return
	}
	p := r.PostForm
	if object := p.Get("request"); object != "" {
		if p, err = s.object(c, object); err != nil {
			openid.Say(w, http.StatusBadRequest, openid.Members{{Name: "error", Value: "invalid_request_object"}, {Name: "error_description", Value: "Invalid JWT request"}})
			return
		}
	}
	uri := "urn:ietf:params:oauth:request_uri:" + strings.ToUpper(openid.Random())
	if !s.clients.Push(c, uri, p, pushedIn) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	sandbox.Concerns(r.Context(), openid.RefOf(uri))
	openid.Say(w, http.StatusCreated, openid.Members{{Name: "request_uri", Value: uri}, {Name: "expires_in", Value: int(pushedIn.Seconds())}})
}

// object reads a signed request object, perhaps encrypted to us. It must end.
func (s *Simulator) object(c *openid.Client, text string) (url.Values, error) {
	if strings.Count(text, ".") == 4 {
		e, err := jose.ParseEncryptedCompact(text, []jose.KeyAlgorithm{jose.RSA_OAEP_256}, []jose.ContentEncryption{jose.A128CBC_HS256, jose.A256CBC_HS512, jose.A256GCM})
		if err != nil {
			return nil, err
		}
		k := s.keys()[2]
		plain, err := e.Decrypt(k.PrivateKey)
		if err != nil || e.Header.KeyID != k.kid {
			return nil, errors.Join(err, errors.New("kid"))
		}
		text = string(plain)
	}
	in, err := c.Signed(text)
	if err != nil {
		return nil, err
	}
	p := openid.Params(in)
	until, err := strconv.ParseInt(p.Get("exp"), 10, 64)
	if err != nil || s.Clock.Now().Unix() >= until || p.Get("iss") != c.ID || !openid.IsFor(in, s.issuer()) {
		return nil, errors.New("iss, aud or exp")
	}
	return p, nil
}

// authorize checks a request. What is wrong with it ends on the broker's own
// page, never at the client (§3).
func (s *Simulator) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	c := s.clients.Get(q.Get("client_id"))
	switch {
	case !openid.Single(q):
		s.fail(w, r, "invalid_request: A parameter stands there twice")
		return
	case c == nil:
		s.fail(w, r, "unauthorized_client: Unknown client or client not enabled")
		return
	}
	p, secret, err := q, false, error(nil)
	switch {
	case q.Get("request_uri") != "":
		var ok bool
		if p, ok = s.clients.Pushed(c, q.Get("request_uri")); !ok {
			s.fail(w, r, "invalid_request_uri: The request was not pushed here, or its time is over")
			return
		}
		secret = true
	case q.Get("request") != "":
		if p, err = s.object(c, q.Get("request")); err != nil {
			s.fail(w, r, "invalid_request_object: Invalid JWT request")
			return
		}
		secret = strings.Count(q.Get("request"), ".") == 4
	}
	l := openid.Login[asked]{Client: c, Redirect: p.Get("redirect_uri"), State: p.Get("state"), Nonce: p.Get("nonce"), Challenge: p.Get("code_challenge"), Scopes: strings.Fields(p.Get("scope"))}
	if wrong := s.read(&l, p, secret); wrong != "" {
		s.fail(w, r, wrong)
		return
	}
	if slices.Contains(strings.Fields(p.Get("prompt")), "none") {
		openid.Back(w, r, http.StatusFound, l.Redirect, "error", "login_required", "state", l.State)
		return
	}
	raw, _ := json.Marshal(p) // texts only
	l.Raw = string(raw)
	if uri := q.Get("request_uri"); uri != "" {
		l.Ref = openid.RefOf(uri)
	}
	ref := s.Add(r.Context(), l)
	if rest, ok := strings.CutPrefix(p.Get("simulation"), "no-ui "); ok {
		s.simulate(w, r, ref, rest)
		return
	}
	http.Redirect(w, r, s.issuer()+"/Account/Login/"+ref, http.StatusFound)
}

// simulate logs a person in without pages: the broker's own hook for tests (§6).
func (s *Simulator) simulate(w http.ResponseWriter, r *http.Request, ref, who string) {
	for _, p := range s.Holders() {
		if who == "uuid:"+p.MitID.UUID || who == "username:"+p.MitID.User || p.MitID.CPR != "" && who == "cpr:"+p.MitID.CPR {
			s.desk.Act(w, r, ref, "approve", p.Key, "simulation")
			return
		}
	}
	s.desk.Act(w, r, ref, "fail:mitid_simulation_unknown_user", "", "simulation")
}

var (
	scopes   = []string{"openid", "mitid", "ssn", "nemid.pid", "ssn.details_name", "ssn.details_address", "minimal", "age"}
	ageScope = regexp.MustCompile(`^age_verify:([1-9][0-9]?)$`)
)

// params are the options of MitID in a request (§3).
type params struct {
	Reference string `json:"reference_text"`
	LOA       string `json:"loa_value"`
	AAL       string `json:"aal_value"`
	UUID      string `json:"uuid_hint"`
	CPR       string `json:"cpr_hint"`
	Action    string `json:"action_text"`
}

// read checks a request; what it returns is for the error page, "" for nothing
// wrong.
func (s *Simulator) read(l *openid.Login[asked], p url.Values, secret bool) string {
	switch {
	case !l.Client.Knows(l.Redirect):
		return "invalid_request: Invalid redirect_uri"
	case p.Get("response_type") != "code":
		return "unsupported_response_type: Response type not supported"
	case !l.Has("openid"):
		return "invalid_scope: Missing the openid scope"
	case p.Get("code_challenge") != "" && (p.Get("code_challenge_method") != "S256" || !openid.IsChallenge(p.Get("code_challenge"))):
		return "invalid_request: Invalid code_challenge; plain is not simulated"
	case p.Get("response_mode") != "" && p.Get("response_mode") != "query":
		return "invalid_request: Only response_mode query is simulated"
	}
	for _, scope := range l.Scopes {
		if m := ageScope.FindStringSubmatch(scope); m != nil {
			l.Own.age, _ = strconv.Atoi(m[1]) // two digits
		} else if !slices.Contains(scopes, scope) {
			return "invalid_scope: Scope not allowed"
		}
	}
	for _, idp := range strings.Fields(p.Get("idp_values")) {
		if idp != "mitid" {
			return "invalid_request: IdP not enabled"
		}
	}
	var in struct {
		MitID params `json:"mitid"`
	}
	if text := p.Get("idp_params"); text != "" && json.Unmarshal([]byte(text), &in) != nil {
		return "invalid_idp_params: idp_params is not JSON"
	}
	if in.MitID.CPR != "" && !secret {
		return "invalid_idp_params: cpr_hint needs a pushed or encrypted request"
	}
	l.Own.level = "substantial" // wrong values are not refused
	for _, level := range []string{in.MitID.AAL, in.MitID.LOA} {
		if slices.Contains(levels, level) {
			l.Own.level = level
		}
	}
	l.Own.action = in.MitID.Action
	if l.Own.age > 0 && len(l.Scopes) == 3 && minimal(l) && p.Get("idp_params") == "" { // the defaults of an age check
		l.Own.level, l.Own.action = "low", "CONFIRM"
	}
	if raw, err := base64.StdEncoding.DecodeString(in.MitID.Reference); err == nil && utf8.Valid(raw) && utf8.RuneCount(raw) <= 130 {
		l.Own.reference = string(raw)
	}
	for _, who := range s.Holders() {
		if in.MitID.UUID == who.MitID.UUID || in.MitID.CPR != "" && in.MitID.CPR == who.MitID.CPR {
			l.For, l.Own.person = who.Key, who.Key
		}
	}
	return ""
}
