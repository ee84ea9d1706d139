package itsme

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

func tokenError(w http.ResponseWriter, g *generation, code, text string) {
	w.Header().Set("Cache-Control", "no-store")
	openid.Say(w, http.StatusBadRequest, openid.Members{{Name: "error", Value: code}, {Name: g.description, Value: text}})
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authenticate finds the partner that calls (§4).
func (s *Simulator) authenticate(r *http.Request, g *generation) (*client, error) {
	f := r.PostForm
	if f.Get("client_assertion") == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.clients[f.Get("client_id")]
		if c == nil || c.Secret == "" || c.gen != g.number || subtle.ConstantTimeCompare([]byte(c.Secret), []byte(f.Get("client_secret"))) != 1 {
			return nil, errors.New("the secret is wrong")
		}
		return c, nil
	}
	if f.Get("client_assertion_type") != assertionType {
		return nil, errors.New("client_assertion_type is another")
	}
	id := f.Get("client_id")
	if id == "" { // itsme's own examples have none here
		id = s.claimed(g, f.Get("client_assertion"))
	}
	s.mu.Lock()
	c := s.clients[id]
	s.mu.Unlock()
	if c == nil || c.gen != g.number {
		return nil, errors.New("client_id is not known")
	}
	in, err := s.signed(c, f.Get("client_assertion"), g.encryptedAssertion)
	if err != nil {
		return nil, errors.New("client_assertion cannot be read")
	}
	var iss, sub, aud, jti string
	var exp int64
	for name, at := range map[string]any{"iss": &iss, "sub": &sub, "aud": &aud, "jti": &jti, "exp": &exp} {
		if json.Unmarshal(in[name], at) != nil {
			return nil, errors.New(name + " of client_assertion is missing, or of another type")
		}
	}
	now := s.Clock.Now()
	until := time.Unix(exp, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case iss != c.ID || sub != c.ID || aud != s.issuer(g)+"/token" || jti == "" || len(jti) > 255:
		return nil, errors.New("client_assertion is for somebody else")
	case !now.Before(until):
		return nil, errors.New("client_assertion has expired")
	case !s.used[c.ID+" "+jti].IsZero():
		return nil, errors.New("jti was used before")
	}
	for id, until := range s.used {
		if now.After(until) {
			delete(s.used, id)
		}
	}
	s.used[c.ID+" "+jti] = until
	return c, nil
}

// claimed is who an assertion says it is of, before anybody has looked whether
// that is true; "" for nobody.
func (s *Simulator) claimed(g *generation, token string) string {
	if strings.Count(token, ".") == 4 {
		var err error
		if token, err = s.open(token); err != nil {
			return ""
		}
	}
	j, err := jose.ParseSignedCompact(token, g.signs)
	if err != nil {
		return ""
	}
	var in struct {
		Iss string `json:"iss"`
	}
	if json.Unmarshal(j.UnsafePayloadWithoutVerification(), &in) != nil {
		return ""
	}
	return in.Iss
}

// token spends a code, once (§4).
func (s *Simulator) token(w http.ResponseWriter, r *http.Request, g *generation) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if r.ParseForm() != nil || r.URL.RawQuery != "" {
		tokenError(w, g, "invalid_request", "the body is no form, or something stands in the query")
		return
	}
	c, err := s.authenticate(r, g)
	if err != nil {
		tokenError(w, g, "invalid_client", err.Error())
		return
	}
	if r.PostForm.Get("grant_type") != "authorization_code" {
		tokenError(w, g, "unsupported_grant_type", "only authorization_code")
		return
	}
	l, p, ok := s.Redeem(&c.Client, r.PostForm.Get("code"), r.PostForm.Get("redirect_uri"), r.PostForm.Get("code_verifier"))
	if !ok {
		tokenError(w, g, "invalid_grant", "the code is unknown, used, too old, or another request's")
		return
	}
	sandbox.Concerns(r.Context(), l.Ref)
	fault, _ := s.Faults.TakeBut(openid.OtherSubject, "itsme.result")
	id, err := s.pack(&l, s.idToken(&l, &p, fault.Kind), fault.Kind)
	if err != nil {
		openid.Say(w, http.StatusInternalServerError, openid.Members{{Name: "error", Value: "server_error"}})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	openid.Say(w, http.StatusOK, openid.Members{{Name: "access_token", Value: l.Access}, {Name: "token_type", Value: "Bearer"}, {Name: "id_token", Value: id}, {Name: "expires_in", Value: 3600}})
}

// bearer finds the login of an access token; without one it refuses the call.
func (s *Simulator) bearer(w http.ResponseWriter, r *http.Request, g *generation) (l login, p sandbox.Person, ok bool) {
	l, p, ok = s.Bearer(r.Header.Get("Authorization"))
	if !ok || l.Own.gen != g {
		w.Header().Set("WWW-Authenticate", `Bearer realm="itsme", error="invalid_token"`)
		openid.Say(w, http.StatusUnauthorized, openid.Members{{Name: "error", Value: "invalid_token"}})
		return l, p, false
	}
	sandbox.Concerns(r.Context(), l.Ref)
	return l, p, true
}

// picture is the one that the claim of this name leads to (§5): for who may see
// it.
func (s *Simulator) picture(w http.ResponseWriter, r *http.Request, g *generation) {
	l, _, ok := s.bearer(w, r, g)
	if !ok {
		return
	}
	if !asks(&l, "picture") {
		openid.Say(w, http.StatusForbidden, openid.Members{{Name: "error", Value: "insufficient_scope"}})
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	_, _ = w.Write(photo()) // the client has gone
}

// userInfo tells what was shared (§5).
func (s *Simulator) userInfo(w http.ResponseWriter, r *http.Request, g *generation) {
	l, p, ok := s.bearer(w, r, g)
	if !ok {
		return
	}
	fault, _ := s.Faults.TakeBut(openid.OtherNonce, "itsme.result")
	out, err := s.pack(&l, s.info(&l, &p, fault.Kind), fault.Kind)
	if err != nil {
		openid.Say(w, http.StatusInternalServerError, openid.Members{{Name: "error", Value: "server_error"}})
		return
	}
	w.Header().Set("Content-Type", "application/json") // as documented, though it is a token
	_, _ = w.Write([]byte(out))                        // the client has gone
}

// pack signs claims and encrypts them to the partner (§4), with what a fault
// spoils.
func (s *Simulator) pack(l *login, claims openid.Members, fault string) (string, error) {
	token, err := openid.Sign(s.keys()[0], "s1", "", claims, fault)
	if err != nil || l.Own.partner.enc == nil || fault == unencrypted {
		return token, err
	}
	to := l.Own.partner.enc[int(openid.Octets(1)[0])%len(l.Own.partner.enc)] // itsme takes any
	e, err := jose.NewEncrypter(jose.A128CBC_HS256, jose.Recipient{Algorithm: l.Own.gen.keyAlg, Key: to.Key, KeyID: to.KeyID}, (&jose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		return "", err
	}
	sealed, err := e.Encrypt([]byte(token))
	if err != nil {
		return "", err
	}
	return sealed.CompactSerialize()
}
