package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"eidgate/internal/jose"
	"eidgate/internal/limit"
	"eidgate/relying"
)

// errClient is every way in which a client has not proven who it is.
var errClient = bad("invalid_client", "Client authentication failed (e.g., unknown client, no client authentication included, or unsupported authentication method).")

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// A proof is how a request says who its client is: by one method only.
type proof struct {
	method relying.AuthMethod
	id     string
	secret string // or the assertion
}

// proofOf finds it. Two at once are none (§16).
func proofOf(r *http.Request, in params) (proof, *wireError) {
	var all []proof
	if len(r.Header.Values("Authorization")) > 1 {
		return proof{}, errClient
	}
	if header := r.Header.Get("Authorization"); header != "" {
		kind, rest, _ := strings.Cut(header, " ")
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
		user, password, ok := strings.Cut(string(raw), ":")
		id, err1 := url.QueryUnescape(user)
		secret, err2 := url.QueryUnescape(password)
		if !strings.EqualFold(kind, "Basic") || !ok || errors.Join(err, err1, err2) != nil {
			return proof{}, errClient
		}
		all = append(all, proof{relying.SecretBasic, id, secret})
	}
	if in["client_secret"] != "" {
		all = append(all, proof{relying.SecretPost, in["client_id"], in["client_secret"]})
	}
	if in["client_assertion"] != "" || in["client_assertion_type"] != "" {
		if in["client_assertion_type"] != assertionType {
			return proof{}, errClient
		}
		all = append(all, proof{relying.PrivateKeyJWT, subjectOf(in["client_assertion"]), in["client_assertion"]})
	}
	if len(all) == 0 && in["client_id"] != "" {
		all = append(all, proof{relying.Public, in["client_id"], ""})
	}
	if len(all) != 1 || in["client_id"] != "" && in["client_id"] != all[0].id {
		return proof{}, errClient
	}
	return all[0], nil
}

// subjectOf is whom an assertion says that it is about. Nothing is believed
// yet: it names the client whose keys must fit.
func subjectOf(assertion string) string {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 || len(assertion) > 64<<10 {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var in struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(raw, &in) != nil {
		return ""
	}
	return in.Subject
}

// authenticate finds the client that calls, before anything else is looked at.
// The client is there with an error, too, where it is known who it claims to be.
func (p *Provider) authenticate(r *http.Request, in params) (*relying.Client, error) {
	have, wrong := proofOf(r, in)
	if wrong != nil { // names nobody: nothing is guessed, and nothing was looked up
		return nil, wrong
	}
	c, err := p.client(r.Context(), have.id)
	if err != nil {
		return nil, err
	}
	if c == nil { // takes as long as a wrong secret
		(&relying.Client{}).Secret(have.secret, p.c.Now())
		return nil, p.mistaken(r, nil)
	}
	if err := p.shut(r, c); err != nil {
		return c, err
	}
	if err = p.prove(r, c, have); errors.Is(err, errClient) {
		err = p.mistaken(r, c)
	}
	return c, err
}

// prove holds a client to the method that it is registered with; errClient.
func (p *Provider) prove(r *http.Request, c *relying.Client, have proof) error {
	if have.method == relying.Public && (c.Auth == relying.TLS || c.Auth == relying.SelfSignedTLS) {
		have.method = c.Auth // a request says who calls, and the connection proves it
	}
	if c.Auth != have.method {
		return errClient
	}
	switch have.method {
	case relying.SecretBasic, relying.SecretPost:
		if _, ok := c.Secret(have.secret, p.c.Now()); !ok {
			return errClient
		}
	case relying.PrivateKeyJWT:
		return p.assertion(r, c, have.secret)
	case relying.Public: // proves nothing, and is held to PKCE
	case relying.TLS, relying.SelfSignedTLS:
		return p.certified(r, c)
	default:
		return errClient
	}
	return nil
}

// assertion checks a client's signed word (RFC 7523), which counts once.
func (p *Provider) assertion(r *http.Request, c *relying.Client, text string) error {
	policy := c.Policy()
	keys, err := p.keysOf(c)
	if err != nil {
		return errClient
	}
	algs := policy.Algs
	if c.AuthAlg != "" {
		algs = []string{c.AuthAlg}
	}
	v, err := jose.Verify(r.Context(), text, jose.Rule{Algs: algs, Keys: keys})
	if err != nil {
		return errClient
	}
	cl, err := v.Claims()
	if err != nil || cl.Issuer != c.ID || cl.Subject != c.ID || cl.ID == "" || !p.forUs(cl, policy.IssuerOnly, r) {
		return errClient
	}
	if err := cl.Times(jose.Window{Now: p.c.Now(), Skew: skew, Need: []string{"exp"}, Ahead: 10 * time.Minute}); err != nil {
		return errClient
	}
	first, err := p.once(r.Context(), "assertion "+c.ID, cl.ID, cl.Expires.Add(skew))
	if err != nil {
		return err
	}
	if !first {
		return errClient
	}
	return nil
}

// once says whether a value that counts once comes for the first time.
func (p *Provider) once(ctx context.Context, purpose, value string, expires time.Time) (first bool, err error) {
	if first, err = p.c.Store.Once(ctx, purpose, value, expires); err == nil && !first {
		p.c.Security("replay")
	}
	return first, err
}

// forUs says whether an assertion was made for this provider: for its issuer,
// or, where the profile allows it, for the endpoint that was called.
func (p *Provider) forUs(cl *jose.Claims, issuerOnly bool, r *http.Request) bool {
	if len(cl.Audience) != 1 {
		return false
	}
	aud := cl.Audience[0]
	if issuerOnly {
		return aud == p.issuer && !cl.AudienceIsArray
	}
	here := p.here(r)
	return aud == p.issuer || aud == p.issuer+"/connect/token" || aud == here+Root+"/connect/token" || aud == here+r.URL.Path
}

// failed answers an error of a back-channel endpoint.
func (p *Provider) failed(w http.ResponseWriter, r *http.Request, c *relying.Client, err error) {
	shareFailure(w, r, c)
	if said, after, ok := exceeded(err); ok {
		w.Header().Set("Retry-After", limit.RetryAfter(after))
		p.refuseAs(w, r, c, http.StatusTooManyRequests, said)
		return
	}
	wrong, ok := errors.AsType[*wireError](err)
	switch {
	case ok:
	case errors.Is(err, ErrUnmade):
		p.unavailable(w, r, err)
		return
	default:
		p.trouble(w, r, err)
		return
	}
	p.oauth(w, r, c, wrong)
}

// oauth writes an error as clients read it: 400, but 401 for a client that has
// not proven who it is where the profile does not say otherwise. Only at the
// token endpoint does Signicat's form have an address.
func (p *Provider) oauth(w http.ResponseWriter, r *http.Request, c *relying.Client, e *wireError) {
	status := http.StatusBadRequest
	compat := c != nil && c.Policy().AlwaysBad
	if e.Code == "invalid_client" && !compat {
		status = http.StatusUnauthorized
	}
	if status == http.StatusUnauthorized || e == errClient && r.Header.Get("Authorization") != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="eidgate"`) // a 401 has one, however the client tried (RFC 9110, section 15.5.2)
	}
	p.refuseAs(w, r, c, status, e)
}

// refuseAs writes an error with a status.
func (p *Provider) refuseAs(w http.ResponseWriter, r *http.Request, c *relying.Client, status int, e *wireError) {
	w.Header().Set("X-Eidgate-Error", e.Code)
	out := struct {
		Error string `json:"error"`
		URI   string `json:"error_uri,omitempty"`
		Text  string `json:"error_description,omitempty"`
	}{e.Code, "", plain(e.Text)}
	if c != nil && c.Policy().AlwaysBad && strings.HasSuffix(r.URL.Path, "/connect/token") {
		out.URI = p.issuer + errorsPath + e.Code
	}
	_ = say(w, status, out) // three strings
}
