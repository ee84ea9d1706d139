package conformance

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Addresses of relying parties. Nobody is there: the browser stops before.
const (
	callback      = "https://rp.example/callback"
	callbackQuery = "https://rp.example/callback?dummy1=lorem&dummy2=ipsum"
	loggedOut     = "https://rp.example/bye"
)

// A client is a relying party that is registered with a provider.
type client struct {
	s          *system
	id, secret string
	auth       string  // token_endpoint_auth_method
	mode       string  // response_mode of its requests; "" for none
	alg        string  // of its ID tokens
	fapi       bool    // pushes, with PKCE, and has keys
	signed     bool    // signs its requests, and gets signed answers
	key        *key    // of its assertions and requests
	proof      *key    // that its tokens are bound to; nil for none
	issuer     *issuer // of its certificate; nil for itself, or none
}

// client registers one that speaks plain OpenID Connect, unless its members say
// otherwise.
func (s *system) client(t testing.TB, members map[string]any) *client {
	t.Helper()
	if members["redirect_uris"] == nil {
		members["redirect_uris"] = []string{callback, callbackQuery}
	}
	if members["profile"] == nil {
		members["profile"] = "standard" // what the suite is about
	}
	r := s.control(t, "/clients", members)
	c := &client{s: s, alg: "RS256"}
	c.id, _ = r["client_id"].(string)
	c.secret, _ = r["client_secret"].(string)
	c.auth, _ = r["token_endpoint_auth_method"].(string)
	return c
}

// fapiClient registers one of the strict profiles, which signs with alg and
// gets tokens that are signed with it.
func (s *system) fapiClient(t testing.TB, profile, alg, proof string) *client {
	t.Helper()
	k := newKey(t, alg, "of-"+random(8))
	c := s.client(t, map[string]any{"profile": profile, "token_endpoint_auth_method": "private_key_jwt", "id_token_signed_response_alg": alg,
		"jwks": map[string]any{"keys": []any{k.jwk()}}})
	c.alg, c.key, c.fapi, c.signed, c.proof = alg, k, true, profile == "fapi2-ms", newKey(t, proof, "")
	return c
}

// tlsClient registers one that has a certificate: to authenticate by, if auth is
// one of those methods, and to bind its tokens to, if it has no proof.
func (s *system) tlsClient(t testing.TB, auth, alg, proof string) *client {
	t.Helper()
	k := newKey(t, alg, "of-"+random(8))
	members := map[string]any{"profile": "fapi2", "token_endpoint_auth_method": auth, "id_token_signed_response_alg": alg, "tls_client_certificate_bound_access_tokens": proof == ""}
	keys := []any{k.jwk()}
	var by *issuer
	if auth == "tls_client_auth" {
		by = newIssuer(t)
		members["certificate"] = map[string]any{"tls_client_auth_subject_dn": "CN=client,O=Shop", "roots": by.pem}
	}
	card := by.issue(t)
	if auth == "self_signed_tls_client_auth" {
		keys = append(keys, certified(t, card))
	}
	members["jwks"] = map[string]any{"keys": keys}
	c := s.showing(card).client(t, members)
	c.alg, c.key, c.fapi, c.issuer = alg, k, true, by
	if proof != "" {
		c.proof = newKey(t, proof, "")
	}
	return c
}

// bare is the client without what its tokens are bound to.
func (c *client) bare() *client {
	out := *c
	if out.proof = nil; c.s.shows {
		out.s = c.s.showing(nil)
	}
	return &out
}

// renewed is the client with something else that its tokens are bound to.
func (c *client) renewed(t testing.TB) *client {
	t.Helper()
	out := *c
	switch {
	case c.proof != nil:
		out.proof = newKey(t, "ES256", "")
	case c.auth != "self_signed_tls_client_auth":
		out.s = c.s.showing(c.issuer.issue(t))
	}
	return &out
}

// proven is the header of a call with a proof, if the client has a key for that.
func (c *client) proven(t testing.TB, p *provider, endpoint string) http.Header {
	t.Helper()
	h := http.Header{}
	if c.proof != nil {
		h["DPoP"] = []string{c.prove(t, http.MethodPost, p.at(endpoint), nil)}
	}
	return h
}

// by is the client with another mode of answers.
func (c *client) by(mode string) *client {
	out := *c
	out.mode = mode
	return &out
}

// A request is an authorization request.
type request struct {
	url.Values
	verifier string
}

// request is the client's usual one, with changes: names and values in turn,
// "" takes a parameter away.
func (c *client) request(changes ...string) *request {
	r := &request{Values: url.Values{"client_id": {c.id}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"},
		"state": {random(20)}, "nonce": {random(20)}}}
	if c.mode != "" {
		r.Set("response_mode", c.mode)
	}
	if c.fapi {
		r.pkce()
	}
	for i := 0; i < len(changes); i += 2 {
		r.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			r.Del(changes[i])
		}
	}
	return r
}

// pkce adds a challenge.
func (r *request) pkce() {
	r.verifier = random(50)
	sum := sha256.Sum256([]byte(r.verifier))
	r.Set("code_challenge", b64.EncodeToString(sum[:]))
	r.Set("code_challenge_method", "S256")
}

// assertion is the client's signed word that it is who calls.
func (c *client) assertion(t testing.TB, p *provider, claims change, k *key) string {
	t.Helper()
	now := c.s.now()
	return k.sign(t, nil, claims.to(map[string]any{"iss": c.id, "sub": c.id, "aud": p.issuer, "jti": random(20), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}))
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authenticate adds to a call who the client is.
func (c *client) authenticate(t testing.TB, p *provider, h http.Header, form url.Values) {
	t.Helper()
	switch c.auth {
	case "client_secret_basic":
		req := http.Request{Header: h}
		req.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret))
	case "client_secret_post":
		form.Set("client_id", c.id)
		form.Set("client_secret", c.secret)
	case "private_key_jwt":
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", c.assertion(t, p, nil, c.key))
	case "tls_client_auth", "self_signed_tls_client_auth": // by its connections
		if form.Get("client_id") == "" {
			form.Set("client_id", c.id)
		}
	default:
		t.Fatalf("no client of these tests authenticates by %q", c.auth)
	}
}

// prove is a DPoP proof for a request, with changes of its claims.
func (c *client) prove(t testing.TB, method, address string, claims change) string {
	t.Helper()
	return c.proof.sign(t, map[string]any{"typ": "dpop+jwt", "jwk": c.proof.members(), "kid": nil},
		claims.to(map[string]any{"jti": random(20), "htm": method, "htu": address, "iat": c.s.now().Unix()}))
}

// call posts a form to an endpoint as the client, with a proof where it has a
// key for that and is at the token endpoint.
func (c *client) call(t testing.TB, p *provider, endpoint string, form url.Values) *reply {
	t.Helper()
	h := http.Header{}
	if endpoint == "token_endpoint" {
		h = c.proven(t, p, endpoint)
	}
	c.authenticate(t, p, h, form)
	return c.s.form(t, http.MethodPost, p.at(endpoint), h, form)
}

// object is a signed request.
func (c *client) object(t testing.TB, p *provider, r *request, claims change, k *key) string {
	t.Helper()
	now := c.s.now()
	all := map[string]any{"iss": c.id, "aud": p.issuer, "nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	for name := range r.Values {
		all[name] = r.Get(name)
	}
	return k.sign(t, map[string]any{"typ": "oauth-authz-req+jwt"}, claims.to(all))
}

// pushed is what a client pushes of a request: itself, or the signed form.
func (c *client) pushed(t testing.TB, p *provider, r *request) url.Values {
	t.Helper()
	if c.signed {
		return url.Values{"request": {c.object(t, p, r, nil, c.key)}}
	}
	out := url.Values{}
	for name, values := range r.Values {
		out[name] = values
	}
	return out
}

// push pushes a request, which must be accepted (OP-PAR-01).
func (c *client) push(t testing.TB, p *provider, r *request) (uri string) {
	t.Helper()
	return checkPushed(t, c.call(t, p, "pushed_authorization_request_endpoint", c.pushed(t, p, r)))
}

// front is the address of a pushed request.
func (c *client) front(p *provider, uri string) string {
	return p.at("authorization_endpoint") + "?" + url.Values{"client_id": {c.id}, "request_uri": {uri}}.Encode()
}

// address is where a browser must go with a request.
func (c *client) address(t testing.TB, p *provider, r *request) string {
	t.Helper()
	if c.fapi {
		return c.front(p, c.push(t, p, r))
	}
	return p.at("authorization_endpoint") + "?" + r.Encode()
}

// ask sends a browser with a request, and is the answer, opened if it is signed.
func (c *client) ask(t *testing.T, p *provider, b *browser, r *request) *answer {
	t.Helper()
	return c.opened(t, p, b.open(t, c.address(t, p, r)))
}

// opened reads a signed answer (OP-RM-04).
func (c *client) opened(t *testing.T, p *provider, a *answer) *answer {
	t.Helper()
	if !c.signed || a.mode == "" {
		return a
	}
	token := a.params.Get("response")
	if token == "" || len(token) > 64<<10 {
		t.Fatalf("the answer is not signed: parameters %v", names(a.params))
	}
	_, claims := p.verify(t, token, c.alg)
	left := number(claims["exp"]) - c.s.now().Unix()
	if claims["iss"] != p.issuer || claims["aud"] != c.id || left <= 10 || left > 600 {
		t.Errorf("signed answer: iss %v, aud %v, %d s to live", claims["iss"], claims["aud"], left)
	}
	params := url.Values{}
	for name, values := range a.params {
		if name != "response" {
			params[name] = values
		}
	}
	for name, v := range claims {
		if name != "aud" && name != "exp" {
			text, ok := v.(string)
			if !ok {
				t.Errorf("member %s of a signed answer is no text", name)
			}
			params.Set(name, text)
		}
	}
	out := *a
	out.params = params
	return &out
}

// redeem asks for tokens for the code of an answer.
func (c *client) redeem(t testing.TB, p *provider, r *request, code string) *reply {
	t.Helper()
	return c.call(t, p, "token_endpoint", redemption(r, code))
}

func redemption(r *request, code string) url.Values {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {r.Get("redirect_uri")}}
	if r.verifier != "" {
		form.Set("code_verifier", r.verifier)
	}
	return form
}

// A login is one that has led to tokens.
type login struct {
	request *request
	answer  *answer
	*tokens
}

// A tokens is what the token endpoint has given.
type tokens struct {
	access, refresh, idToken string
	id                       map[string]any // claims of the ID token
}

func (l *login) code() string { return l.answer.params.Get("code") }

// login goes the whole way, with every standard check.
func (c *client) login(t *testing.T, p *provider, b *browser, changes ...string) *login {
	t.Helper()
	return c.finish(t, p, b, c.request(changes...))
}

func (c *client) finish(t *testing.T, p *provider, b *browser, r *request) *login {
	t.Helper()
	l := &login{request: r, answer: c.ask(t, p, b, r)}
	checkAnswer(t, p, c, r, l.answer)
	l.tokens = checkTokens(t, p, c, r, c.redeem(t, p, r, l.code()))
	return l
}

// refreshed asks for new tokens.
func (c *client) refreshed(t testing.TB, p *provider, token string) *reply {
	t.Helper()
	return c.call(t, p, "token_endpoint", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// userInfo asks for claims, and checks the answer.
func (c *client) userInfo(t testing.TB, p *provider, l *tokens) map[string]any {
	t.Helper()
	return checkUserInfo(t, l, c.s.send(t, http.MethodGet, p.at("userinfo_endpoint"), c.bearer(t, p, l.access), ""))
}

// bearer is the header of a request with an access token, and its proof.
func (c *client) bearer(t testing.TB, p *provider, token string) http.Header {
	t.Helper()
	if c.proof == nil {
		return http.Header{"Authorization": {"Bearer " + token}}
	}
	return http.Header{"Authorization": {"DPoP " + token}, "DPoP": {c.prove(t, http.MethodGet, p.at("userinfo_endpoint"), change{"ath": ath(token)})}}
}

// ath is the hash of an access token in a proof.
func ath(token string) string {
	sum := sha256.Sum256([]byte(token))
	return b64.EncodeToString(sum[:])
}

func names(v url.Values) string {
	var out []string
	for name := range v {
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// number is a JSON number without fractions; -1 for anything else.
func number(v any) int64 {
	n, ok := v.(json.Number)
	if !ok {
		return -1
	}
	i, err := n.Int64()
	if err != nil {
		return -1
	}
	return i
}
