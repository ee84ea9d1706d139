package itsme

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
)

func tokenError(w http.ResponseWriter, g *generation, code, text string) {
	w.Header().Set("Cache-Control", "no-store")
	say(w, http.StatusBadRequest, members{{"error", code}, {g.description, text}})
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authenticate finds the partner that calls (§4).
func (s *Simulator) authenticate(r *http.Request, g *generation) (*client, error) {
	f := r.PostForm
	if f.Get("client_assertion") == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.clients[f.Get("client_id")]
		if c == nil || c.secret == "" || c.gen != g.number || subtle.ConstantTimeCompare([]byte(c.secret), []byte(f.Get("client_secret"))) != 1 {
			return nil, errors.New("the secret is wrong")
		}
		return c, nil
	}
	if f.Get("client_assertion_type") != assertionType {
		return nil, errors.New("client_assertion_type is another")
	}
	id := f.Get("client_id")
	if id == "" { // itsme's own examples have none here
		id = s.claimed(f.Get("client_assertion"))
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
	case iss != c.id || sub != c.id || aud != s.issuer(g)+"/token" || jti == "" || len(jti) > 255:
		return nil, errors.New("client_assertion is for somebody else")
	case !now.Before(until):
		return nil, errors.New("client_assertion has expired")
	case !s.used[c.id+" "+jti].IsZero():
		return nil, errors.New("jti was used before")
	}
	for id, until := range s.used {
		if now.After(until) {
			delete(s.used, id)
		}
	}
	s.used[c.id+" "+jti] = until
	return c, nil
}

// claimed is who an assertion says it is of, before anybody has looked whether
// that is true; "" for nobody.
func (s *Simulator) claimed(token string) string {
	if strings.Count(token, ".") == 4 {
		var err error
		if token, err = s.open(token); err != nil {
			return ""
		}
	}
	j, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
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
	l, p := s.redeem(c, r.PostForm.Get("code"), r.PostForm.Get("redirect_uri"), r.PostForm.Get("code_verifier"))
	if l == nil {
		tokenError(w, g, "invalid_grant", "the code is unknown, used, too old, or another request's")
		return
	}
	sandbox.Concerns(r.Context(), l.ref)
	fault, _ := s.Faults.TakeBut(otherSubject, "itsme.result")
	id, err := s.pack(l, s.idToken(l, p, fault.Kind), fault.Kind)
	if err != nil {
		say(w, http.StatusInternalServerError, members{{"error", "server_error"}})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	say(w, http.StatusOK, members{{"access_token", l.access}, {"token_type", "Bearer"}, {"id_token", id}, {"expires_in", 3600}})
}

// redeem finds the login of a code that has not been used.
func (s *Simulator) redeem(c *client, code, back, verifier string) (*login, *sandbox.Person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.logins {
		if l.code == "" || l.code != code {
			continue
		}
		sum := sha256.Sum256([]byte(verifier))
		proves := l.challenge == "" || base64.RawURLEncoding.EncodeToString(sum[:]) == l.challenge
		if l.client != c || l.spent || l.redirect != back || !proves || s.Clock.Now().After(l.ended.Add(window)) {
			l.spent = true
			return nil, nil
		}
		p, err := s.who(l, l.person)
		if err != nil {
			return nil, nil
		}
		l.spent, l.access = true, random()
		return l, &p
	}
	return nil, nil
}

// userInfo tells what was shared (§5).
func (s *Simulator) userInfo(w http.ResponseWriter, r *http.Request, g *generation) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	var l *login
	for _, x := range s.logins {
		if ok && token != "" && x.access == token && x.gen == g && s.Clock.Now().Before(x.ended.Add(time.Hour)) {
			l = x
		}
	}
	s.mu.Unlock()
	if l == nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="itsme", error="invalid_token"`)
		say(w, http.StatusUnauthorized, members{{"error", "invalid_token"}})
		return
	}
	sandbox.Concerns(r.Context(), l.ref)
	p, err := s.People.Get(l.person)
	if err != nil || p.Itsme == nil {
		say(w, http.StatusForbidden, members{{"error", "invalid_token"}})
		return
	}
	fault, _ := s.Faults.TakeBut(otherNonce, "itsme.result")
	out, err := s.pack(l, s.info(l, &p, fault.Kind), fault.Kind)
	if err != nil {
		say(w, http.StatusInternalServerError, members{{"error", "server_error"}})
		return
	}
	w.Header().Set("Content-Type", "application/json") // as documented, though it is a token
	_, _ = w.Write([]byte(out))                        // the client has gone
}

// pack signs claims and encrypts them to the partner (§4), with what a fault
// spoils.
func (s *Simulator) pack(l *login, claims members, fault string) (string, error) {
	raw, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	kid := "s1"
	if fault == wrongKID {
		kid = "s0"
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: s.keys()[0], KeyID: kid}}, nil)
	if err != nil {
		return "", err
	}
	j, err := signer.Sign(raw)
	if err != nil {
		return "", err
	}
	token, err := j.CompactSerialize()
	if err != nil {
		return "", err
	}
	switch fault {
	case unsigned:
		head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
		token = head + "." + base64.RawURLEncoding.EncodeToString(raw) + "."
	case badSignature:
		i := strings.LastIndexByte(token, '.') + 10
		other := byte('A')
		if token[i] == other {
			other = 'B'
		}
		token = token[:i] + string(other) + token[i+1:]
	}
	if l.client.enc == nil || fault == unencrypted {
		return token, nil
	}
	alg := l.gen.keyAlg
	e, err := jose.NewEncrypter(jose.A128CBC_HS256, jose.Recipient{Algorithm: alg, Key: l.client.enc, KeyID: encryptingKID}, (&jose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		return "", err
	}
	sealed, err := e.Encrypt([]byte(token))
	if err != nil {
		return "", err
	}
	return sealed.CompactSerialize()
}
