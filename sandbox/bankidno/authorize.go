package bankidno

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

// discovery is what the provider publishes of itself (§2).
func (s *Simulator) discovery(w http.ResponseWriter, _ *http.Request) {
	iss := s.issuer()
	at := iss + "/protocol/openid-connect"
	out := openid.Members{
		{Name: "issuer", Value: iss}, {Name: "authorization_endpoint", Value: iss + "/precheck/auth"}, {Name: "token_endpoint", Value: at + "/token"},
		{Name: "introspection_endpoint", Value: at + "/token/introspect"}, {Name: "userinfo_endpoint", Value: s.tinfo() + "/userinfo"}, {Name: "end_session_endpoint", Value: at + "/logout"},
		{Name: "jwks_uri", Value: at + "/certs"}, {Name: "response_types_supported", Value: []string{"code"}}, {Name: "response_modes_supported", Value: []string{"query", "fragment", "form_post"}},
		{Name: "grant_types_supported", Value: []string{"authorization_code", "client_credentials", "refresh_token"}}, {Name: "subject_types_supported", Value: []string{"public"}},
		{Name: "id_token_signing_alg_values_supported", Value: []string{"RS256"}}, {Name: "userinfo_signing_alg_values_supported", Value: []string{"RS256"}},
		{Name: "request_parameter_supported", Value: true}, {Name: "request_object_signing_alg_values_supported", Value: openid.Algorithms},
		{Name: "request_object_encryption_alg_values_supported", Value: []string{"RSA-OAEP", "RSA-OAEP-256"}},
		{Name: "request_object_encryption_enc_values_supported", Value: contentAlgs},
		{Name: "token_endpoint_auth_methods_supported", Value: []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}},
		{Name: "token_endpoint_auth_signing_alg_values_supported", Value: openid.Algorithms},
		{Name: "scopes_supported", Value: scopes}, {Name: "acr_values_supported", Value: []string{"urn:bankid:bid;LOA=4", "urn:bankid:bis;LOA=3"}},
		{Name: "code_challenge_methods_supported", Value: []string{"S256"}}, {Name: "tls_client_certificate_bound_access_tokens", Value: false}, {Name: "release", Value: "sandbox"},
	}
	if s.Settings().PAR {
		out = append(out, openid.Member{Name: "pushed_authorization_request_endpoint", Value: at + "/ext/par/request"}, openid.Member{Name: "require_pushed_authorization_requests", Value: false})
	}
	openid.Say(w, http.StatusOK, out)
}

var (
	keyAlgs     = []jose.KeyAlgorithm{jose.RSA_OAEP, jose.RSA_OAEP_256}
	contentAlgs = []jose.ContentEncryption{jose.A128GCM, jose.A192GCM, jose.A256GCM, jose.A128CBC_HS256, jose.A192CBC_HS384, jose.A256CBC_HS512}
	scopes      = []string{"openid", "profile", "nnin_altsub", "nnin", "phone", "email", "address"}
	// shared are the scopes of UserInfo, to which the person must agree.
	shared = []string{"nnin", "phone", "email", "address"}
)

func (s *Simulator) jwks(w http.ResponseWriter, _ *http.Request) {
	k := s.keys()
	openid.Say(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: &k[0].PublicKey, KeyID: sigKID, Use: "sig", Algorithm: "RS256"},
		{Key: &k[1].PublicKey, KeyID: encKID, Use: "enc", Algorithm: "RSA-OAEP-256"},
	}})
}

// push keeps a request until its browser comes (RFC 9126).
func (s *Simulator) push(w http.ResponseWriter, r *http.Request) {
	if !s.Settings().PAR {
		http.NotFound(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if r.ParseForm() != nil {
		tokenError(w, "invalid_request", "the body is no form")
		return
	}
	c, err := s.clients.Authenticate(r, s.issuer(), s.issuer()+"/protocol/openid-connect/token", s.issuer()+"/protocol/openid-connect/ext/par/request")
	if err != nil {
		tokenError(w, "invalid_client", err.Error())
		return
	}
	p := r.PostForm
	if p.Get("request_uri") != "" || !openid.Single(p) {
		tokenError(w, "invalid_request", "request_uri stands here, or something stands here twice")
		return
	}
	if object := p.Get("request"); object != "" {
		if p, err = s.object(c, object); err != nil {
			tokenError(w, "invalid_request_object", "the request object cannot be read, or is not for this server")
			return
		}
	}
	p.Set("client_id", c.ID)
	uri := "urn:ietf:params:oauth:request_uri:" + openid.Random()
	if !s.clients.Push(c, uri, p, pushedIn) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	sandbox.Concerns(r.Context(), openid.RefOf(uri))
	w.Header().Set("Cache-Control", "no-store")
	openid.Say(w, http.StatusCreated, openid.Members{{Name: "request_uri", Value: uri}, {Name: "expires_in", Value: int(pushedIn.Seconds())}})
}

// object reads a request object: encrypted to us, signed, or both (§3). What is
// neither is none.
func (s *Simulator) object(c *openid.Client, text string) (url.Values, error) {
	sealed := strings.Count(text, ".") == 4
	if sealed {
		e, err := jose.ParseEncryptedCompact(text, keyAlgs, contentAlgs)
		if err != nil {
			return nil, err
		}
		if e.Header.KeyID != encKID {
			return nil, errors.New("kid")
		}
		plain, err := e.Decrypt(s.keys()[1])
		if err != nil {
			return nil, err
		}
		text = string(plain)
	}
	var in map[string]json.RawMessage
	var err error
	if sealed && strings.HasPrefix(text, "{") {
		err = json.Unmarshal([]byte(text), &in)
	} else {
		in, err = c.Signed(text)
	}
	if err != nil {
		return nil, err
	}
	p := openid.Params(in)
	if p.Get("iss") != c.ID || !openid.IsFor(in, s.issuer()) {
		return nil, errors.New("iss or aud")
	}
	if p.Has("exp") {
		if until, err := strconv.ParseInt(p.Get("exp"), 10, 64); err != nil || s.Clock.Now().Unix() >= until {
			return nil, errors.New("exp")
		}
	}
	return p, nil
}

var errRequest = errors.New("invalid_request")

// authorize checks a request (§3). What names no client, or no registered way
// back, ends on a page of BankID.
func (s *Simulator) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for name := range q { // names that a product of others insists on
		if bare, ok := strings.CutPrefix(name, "bid_"); ok && !q.Has(bare) {
			q[bare] = q[name]
		}
	}
	c := s.clients.Get(q.Get("client_id"))
	if c == nil {
		s.stranded(w, http.StatusBadRequest, "invalid_client")
		return
	}
	p, err := s.params(c, q)
	if err != nil && !p.Has("redirect_uri") {
		s.stranded(w, http.StatusBadRequest, err.Error())
		return
	}
	if !c.Knows(p.Get("redirect_uri")) {
		s.stranded(w, http.StatusBadRequest, "invalid_redirect_uri")
		return
	}
	l := openid.Login[asked]{Client: c, Redirect: p.Get("redirect_uri"), State: p.Get("state"), Nonce: p.Get("nonce"), Challenge: p.Get("code_challenge"), Scopes: strings.Fields(p.Get("scope"))}
	if err == nil {
		err = s.read(&l, p)
	}
	if err != nil {
		no := openid.Refusal{Code: err.Error()}
		if fault, ok := errors.AsType[hintError](err); ok {
			no = refusal("fail", string(fault))
		}
		openid.Back(w, r, http.StatusSeeOther, l.Redirect, "error", no.Code, "error_description", no.Description, "state", l.State)
		return
	}
	raw, _ := json.Marshal(p) // texts only
	l.Raw = string(raw)
	if uri := q.Get("request_uri"); uri != "" {
		l.Ref = openid.RefOf(uri)
	}
	http.Redirect(w, r, s.Base()+"/bankidno/login/"+s.Add(r.Context(), l), http.StatusSeeOther)
}

// params are those of the query, of a request object in it, or of a request
// that was pushed. A person's number is no part of an address.
func (s *Simulator) params(c *openid.Client, q url.Values) (url.Values, error) {
	if !openid.Single(q) {
		return q, errRequest
	}
	if hasNumber.MatchString(q.Get("login_hint")) {
		return q, errRequest
	}
	switch {
	case q.Get("request_uri") != "":
		p, ok := s.clients.Pushed(c, q.Get("request_uri"))
		if !ok {
			return q, errors.New("invalid_request_uri")
		}
		return p, nil
	case q.Get("request") != "":
		p, err := s.object(c, q.Get("request"))
		if err != nil {
			return q, errors.New("invalid_request_object")
		}
		return p, nil
	}
	return q, nil
}

var (
	hasNumber = regexp.MustCompile(`[0-9]{11}`)
	hintForm  = regexp.MustCompile(`^(?:(BID|BIS)?(?::([0-9]{11}))?)$`)
	mobile    = regexp.MustCompile(`^BIM(?::([0-9]{8}):([0-9]{6}))?$`)
)

// A hintError is a hint that BankID has a code of its own for.
type hintError string

func (e hintError) Error() string { return "access_denied" }

// read checks the rest of a request; the error is that of the redirect.
func (s *Simulator) read(l *openid.Login[asked], p url.Values) error {
	if p.Get("response_type") != "code" {
		return errors.New("unsupported_response_type")
	}
	if !l.Has("openid") || slices.ContainsFunc(l.Scopes, func(scope string) bool { return !slices.Contains(scopes, scope) }) {
		return errors.New("invalid_scope")
	}
	switch {
	case p.Get("response_mode") != "" && p.Get("response_mode") != "query":
		return errRequest // the others are not simulated
	case p.Get("prompt") == "none":
		return errors.New("login_required")
	case p.Get("code_challenge") != "" && (p.Get("code_challenge_method") != "S256" || !openid.IsChallenge(p.Get("code_challenge"))):
		return errRequest
	}
	hint := p.Get("login_hint")
	switch m := hintForm.FindStringSubmatch(hint); {
	case m != nil:
		l.Own.method = m[1]
		if m[2] != "" {
			l.For = s.byNumber(m[2])
		}
	case mobile.MatchString(hint):
		l.Own.method = "BIM"
	case strings.HasPrefix(hint, "BIM"):
		return hintError("4097")
	default:
		return hintError("4100")
	}
	if l.Own.method == "" { // the level may say which
		for _, acr := range strings.Fields(p.Get("acr_values")) {
			switch name, _, _ := strings.Cut(acr, ";"); name {
			case "urn:bankid:bid":
				l.Own.method = "BID"
			case "urn:bankid:bis":
				l.Own.method = "BIS"
			}
		}
	}
	if l.For != "" {
		l.Own.person = l.For
	}
	return nil
}

// byNumber is the key of a person; "" for nobody, who is then asked.
func (s *Simulator) byNumber(number string) string {
	for _, p := range s.Holders() {
		if p.BankIDNO.Number == number {
			return p.Key
		}
	}
	return ""
}

// stranded is a page from which nobody comes back.
func (s *Simulator) stranded(w http.ResponseWriter, status int, code string) {
	s.render(w, status, "notice", &pageView{Error: "Det har oppstått en feil. OIDC-" + code})
}
