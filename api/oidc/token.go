package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"eidgate/api/claims"
	"eidgate/internal/jose"
	"eidgate/relying"
)

// accessType is what JWTs say that are access tokens (RFC 9068).
const accessType = "at+jwt"

// Kinds of stored tokens.
const (
	access  = "access"
	refresh = "refresh"

	accessPrefix  = "at_" // of one that is no JWT
	refreshPrefix = "rt_"
)

var errGrant = bad("invalid_grant", "The provided authorization grant is invalid.")

// An answer of the token endpoint, in the order of members that clients know.
type tokens struct {
	IDToken string `json:"id_token,omitempty"`
	Access  string `json:"access_token"`
	Expires int    `json:"expires_in"`
	Type    string `json:"token_type"`
	Refresh string `json:"refresh_token,omitempty"`
	Scope   string `json:"scope"` // "" tells a client that asked for some that it has none
}

// serveToken gives tokens for a grant (§17). The client is known before its
// grant is looked for, so that nobody else can try codes.
func (p *Provider) serveToken(w http.ResponseWriter, r *http.Request) {
	if !method(w, r, http.MethodPost) {
		return
	}
	noStore(w.Header())
	in, wrong := form(w, r, maxBody)
	if wrong != nil {
		p.oauth(w, r, nil, wrong)
		return
	}
	c, err := p.authenticate(r, in)
	if err != nil {
		p.failed(w, r, c, err)
		return
	}
	share(w, r, c)
	var out *tokens
	if err = p.called(r, c); err == nil {
		out, err = p.grant(r, c, in)
	}
	if err == nil {
		err = say(w, http.StatusOK, out)
	}
	if err != nil {
		p.failed(w, r, c, err)
	}
}

func (p *Provider) grant(r *http.Request, c *relying.Client, in params) (*tokens, error) {
	key, err := p.holder(r, c)
	if err != nil {
		return nil, err
	}
	switch in["grant_type"] {
	case "authorization_code":
		return p.redeem(r.Context(), c, in, key)
	case "refresh_token":
		return p.refresh(r.Context(), c, in, key)
	case "client_credentials":
		return p.credentials(r.Context(), c, key)
	case "":
		return nil, bad("invalid_request", "The request is missing a required parameter.")
	}
	return nil, bad("unsupported_grant_type", "The grant type is not served.")
}

// redeem turns a code into tokens, once.
func (p *Provider) redeem(ctx context.Context, c *relying.Client, in params, key string) (*tokens, error) {
	if in["code"] == "" {
		return nil, bad("invalid_request", "The request is missing a required parameter.")
	}
	now := p.c.Now()
	out := &tokens{Type: kind(key)}
	g, err := p.c.Store.Redeem(ctx, fingerprint(in["code"]), c.ID, now, func(g *Grant) (all []Token, err error) {
		snap, err := readSnapshot(g)
		if err != nil {
			return nil, err
		}
		if !g.of(c) || !snap.Request.fits(in, key) {
			return nil, errGrant
		}
		scopes := still(c, snap.Request.Scopes)
		out.Scope = strings.Join(scopes, " ")
		at, err := p.accessToken(c, out, g.ID, snap.Subject, key, now)
		if err == nil {
			out.IDToken, err = p.idToken(ctx, c, snap, scopes, out.Access, now, snap.Request.Nonce)
		}
		if err != nil { // the client's keys are out of reach, for example: whoever has the code has done nothing wrong
			return nil, fmt.Errorf("%w: %w", ErrUnmade, err)
		}
		all = []Token{at}
		if slices.Contains(scopes, "offline_access") {
			out.Refresh = refreshPrefix + p.secret()
			all = append(all, p.refreshToken(c, out, g.ID, key, now, now.Add(c.Life().Refresh)))
		}
		return all, nil
	})
	switch {
	case errors.Is(err, ErrUsed):
		p.c.Security("replay")
		if g.Revoked.IsZero() { // it is now
			if err := p.record(ctx, c, g.Session, "token.revoke", "replay"); err != nil {
				return nil, err
			}
		}
		return nil, errGrant
	case errors.Is(err, ErrUnknown):
		return nil, errGrant
	case err != nil:
		return nil, err
	}
	return out, nil
}

// record writes a line of the audit trail: what a client has done with what it
// was given of a session.
func (p *Provider) record(ctx context.Context, c *relying.Client, session, action, outcome string) error {
	return p.c.Broker.Record(ctx, session, "rp:client "+c.ID, action, outcome)
}

// fits says whether what comes with a code is what the authorization began
// with: the same address, the verifier of its challenge, the key that it named.
func (t *terms) fits(in params, key string) bool {
	verifier := in["code_verifier"]
	switch {
	case in["redirect_uri"] != t.Redirect:
		return false
	case t.Bound != "" && t.Bound != key:
		return false
	case t.Challenge == "":
		return verifier == "" // one that comes without a challenge shows that somebody took that away
	case !unreserved(verifier, 43, 128):
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(t.Challenge)) == 1
}

func kind(key string) string {
	if key != "" && !strings.HasPrefix(key, byCertificate) {
		return "DPoP"
	}
	return "Bearer"
}

// accessToken makes one and says how it is stored. That of a client that
// expects a JWT says nothing of the person; it is signed with a curve, since
// only we read it.
func (p *Provider) accessToken(c *relying.Client, out *tokens, grant, subject, key string, now time.Time) (Token, error) {
	life := c.Life().AccessToken
	out.Expires = int(life.Seconds())
	made := momentOf(now)
	secret := made.secret()
	out.Access = accessPrefix + secret
	if c.Policy().JWTAccess {
		body := claims.Object{{Name: "iss", Value: p.issuer}, {Name: "aud", Value: p.issuer + "/resources"}, {Name: "sub", Value: subject}, {Name: "client_id", Value: c.ID},
			{Name: "iat", Value: int(now.Unix())}, {Name: "exp", Value: int(now.Add(life).Unix())}, {Name: "jti", Value: secret}, {Name: "scope", Value: out.Scope}}
		body = append(body, confirm(key)...)
		if grant == "" {
			body = append(body, claims.Claim{Name: "account_id", Value: c.Account})
		}
		raw, err := body.MarshalJSON()
		if err != nil {
			return Token{}, err
		}
		if out.Access, err = p.c.Keys().Sign(jose.ES256, accessType, raw); err != nil {
			return Token{}, err
		}
	}
	return Token{Hash: made.print(out.Access), Grant: grant, Client: c.ID, Kind: access, Scope: out.Scope, Created: now, Expires: now.Add(life), Bound: key}, nil
}

// refreshToken is stored so. A public client's is bound to its key.
func (p *Provider) refreshToken(c *relying.Client, out *tokens, grant, key string, now, last time.Time) Token {
	expires := now.Add(c.Life().RefreshSliding)
	if expires.After(last) {
		expires = last
	}
	t := Token{Hash: fingerprint(out.Refresh), Grant: grant, Client: c.ID, Kind: refresh, Scope: out.Scope, Created: now, Expires: expires}
	if c.Auth == relying.Public {
		t.Bound = key
	}
	return t
}

// refresh gives new tokens for old ones (§17.2).
func (p *Provider) refresh(ctx context.Context, c *relying.Client, in params, key string) (*tokens, error) {
	if in["refresh_token"] == "" {
		return nil, bad("invalid_request", "The request is missing a required parameter.")
	}
	now := p.c.Now()
	old, g, err := p.c.Store.ByToken(ctx, fingerprint(in["refresh_token"]), refresh, now)
	if errors.Is(err, ErrUsed) {
		err = p.reused(ctx, c, old, g, now)
	}
	if err == nil && old.Client != c.ID {
		p.c.Security("cross_tenant")
	}
	switch {
	case errors.Is(err, ErrUnknown), err == nil && (g == nil || old.Client != c.ID || !g.of(c) || old.Bound != "" && old.Bound != key):
		return nil, errGrant
	case err != nil:
		return nil, err
	}
	snap, err := readSnapshot(g)
	if err != nil {
		return nil, err
	}
	scopes := still(c, words(old.Scope))
	if !slices.Contains(scopes, "offline_access") {
		return nil, errGrant
	}
	if asked := words(in["scope"]); len(asked) > 0 {
		if slices.ContainsFunc(asked, func(s string) bool { return !slices.Contains(scopes, s) }) {
			return nil, bad("invalid_scope", "The scope is wider than the first one.")
		}
		scopes = asked
	}
	out := &tokens{Type: kind(key), Scope: strings.Join(scopes, " ")}
	at, err := p.accessToken(c, out, g.ID, snap.Subject, key, now)
	if err == nil && slices.Contains(scopes, "openid") {
		out.IDToken, err = p.idToken(ctx, c, snap, scopes, out.Access, now, "")
	}
	if err != nil { // before anything is written
		return nil, fmt.Errorf("%w: %w", ErrUnmade, err)
	}
	if err := p.record(ctx, c, g.Session, "token.refresh", "ok"); err != nil {
		return nil, err
	}
	if !c.Policy().RotateRefresh || old.Bound != "" {
		out.Refresh = in["refresh_token"]
		err = p.c.Store.PutTokens(ctx, []Token{at})
	} else {
		out.Refresh = p.successor(in["refresh_token"])
		next := p.refreshToken(c, out, g.ID, key, now, g.Created.Add(c.Life().Refresh))
		next.Scope = old.Scope
		_, err = p.c.Store.Rotate(ctx, old.Hash, next, now, at)
		if errors.Is(err, ErrUsed) { // by the same client, at the same moment: the successor is the same
			err = p.c.Store.PutTokens(ctx, []Token{at})
		}
	}
	switch {
	case errors.Is(err, ErrUnknown):
		return nil, errGrant
	case err != nil:
		return nil, err
	}
	return out, nil
}

// graceful is how long a refresh token that was replaced leads to its
// successor once more: a client whose answer was lost asks again.
const graceful = 30 * time.Second

// reused decides about a refresh token that was replaced: asked for again at
// once it is a lost answer, later it is a theft, which ends the grant.
func (p *Provider) reused(ctx context.Context, c *relying.Client, old *Token, g *Grant, now time.Time) error {
	if old.Client != c.ID || now.Sub(old.Replaced) <= graceful {
		return nil
	}
	p.c.Security("replay")
	if err := p.record(ctx, c, g.Session, "token.revoke", "replay"); err != nil {
		return err
	}
	if err := p.c.Store.Revoke(ctx, old.Hash, c.ID, true, now); err != nil {
		return err
	}
	return ErrUnknown
}

// successor is the one refresh token that follows another.
func (p *Provider) successor(token string) string {
	return refreshPrefix + said(token).text(p.keyed("refresh", token))
}

// credentials gives a client a token of its own: of no person, and with a
// subject that no person can have.
func (p *Provider) credentials(ctx context.Context, c *relying.Client, key string) (*tokens, error) {
	if c.Auth == relying.Public {
		return nil, bad("unauthorized_client", "The client may not use this grant type.")
	}
	out := &tokens{Type: kind(key)}
	at, err := p.accessToken(c, out, "", "client:"+c.ID, key, p.c.Now())
	if err != nil {
		return nil, err
	}
	if c.Policy().JWTAccess {
		return out, nil
	}
	return out, p.c.Store.PutTokens(ctx, []Token{at})
}

// revokedPurpose marks clients' own tokens that they have revoked.
const revokedPurpose = "revoked"

// find reads a token that counts, with its grant.
func (p *Provider) find(ctx context.Context, text, kind string) (*Token, *Grant, error) {
	hash := fingerprint(text)
	t, g, err := p.c.Store.ByToken(ctx, hash, kind, p.c.Now())
	if kind != access || !errors.Is(err, ErrUnknown) {
		return t, g, err
	}
	if t = p.own(ctx, text, hash); t == nil {
		return nil, nil, err
	}
	revoked, e := p.c.Store.Seen(ctx, revokedPurpose, text)
	switch {
	case e != nil:
		return nil, nil, e
	case revoked:
		return nil, nil, err
	}
	return t, nil, nil
}

// own reads a client's own access token, which is stored nowhere: it says what
// it is. nil for what is none that counts; one of a grant is never read so.
func (p *Provider) own(ctx context.Context, text string, hash [32]byte) *Token {
	v, err := jose.Verify(ctx, text, jose.Rule{Algs: []string{jose.ES256}, Typ: []string{accessType}, TypRequired: true, Keys: p.c.Keys()})
	if err != nil {
		return nil
	}
	cl, err := v.Claims()
	if err != nil || cl.Issuer != p.issuer || !cl.For(p.issuer+"/resources") || cl.Raw["account_id"] == nil || !p.c.Now().Before(cl.Expires) {
		return nil
	}
	t := &Token{Hash: hash, Kind: access, Created: cl.IssuedAt, Expires: cl.Expires}
	var cnf confirmation
	for name, into := range map[string]any{"client_id": &t.Client, "scope": &t.Scope, "cnf": &cnf} {
		if raw := cl.Raw[name]; raw != nil && json.Unmarshal(raw, into) != nil {
			return nil
		}
	}
	t.Bound = cnf.bound()
	return t
}

// signedWith is the algorithm that a client has set, else its profile's first.
func signedWith(c *relying.Client, alg string) string {
	if alg == "" {
		return c.Policy().Signs[0]
	}
	return alg
}

// idToken says who was logged in, and when, and of the person what scopes
// release there (§17.1).
func (p *Provider) idToken(ctx context.Context, c *relying.Client, s *snapshot, scopes []string, accessToken string, now time.Time, nonce string) (string, error) {
	told := claims.For(claims.IDToken(scopes, c.IDTokenData()), &s.Identity, claims.FormatFor(c), s.Evidence...)
	told = append(told, p.named(s.Request.Asked.IDToken, c, s, told)...)
	return p.sayWho(ctx, c, s, "at_hash", accessToken, now, nonce, told)
}

// frontToken is the ID token that goes through the browser with a code: it says
// nothing of the person but sub, since that way is in histories.
func (p *Provider) frontToken(ctx context.Context, c *relying.Client, s *snapshot, code string, now time.Time) (string, error) {
	return p.sayWho(ctx, c, s, "c_hash", code, now, s.Request.Nonce, nil)
}

// bindingClaim warns of a login whose browser may not be the one that began it
// (§17.1). It is ours, and absent where that is sure.
const bindingClaim = "eidgate_binding"

// sayWho makes an ID token with a hash that binds another text to it.
func (p *Provider) sayWho(ctx context.Context, c *relying.Client, s *snapshot, hash, bound string, now time.Time, nonce string, told []claims.Claim) (string, error) {
	alg := signedWith(c, c.IDTokenAlg)
	life := c.Life().IDToken
	body := claims.Object{{Name: "iss", Value: p.issuer}, {Name: "nbf", Value: int(now.Unix())}, {Name: "iat", Value: int(now.Unix())},
		{Name: "exp", Value: int(now.Add(life).Unix())}, {Name: "aud", Value: c.ID}, {Name: "amr", Value: []string{claims.AMR}}}
	add := func(name string, v any) { body = append(body, claims.Claim{Name: name, Value: v}) }
	if nonce != "" {
		add("nonce", nonce)
	}
	add(hash, leftHalf(alg, bound))
	add("sid", s.SID)
	add("sub", s.Subject)
	add("auth_time", int(s.Auth.Unix()))
	if c.Profile == relying.Signicat {
		add("idp", s.IDP)
	}
	body = append(body, told...)
	if c.Profile == relying.Signicat {
		if issuer := claims.Issuer(&s.Identity); issuer != "" {
			add("idp_issuer", issuer)
		}
		add("transaction_id", s.Session)
		if s.Sandbox {
			add("sandbox", true)
		}
	}
	if s.ACR != "" {
		add("acr", s.ACR)
	}
	if s.Binding != "" {
		add(bindingClaim, s.Binding)
	}
	raw, err := body.MarshalJSON()
	if err != nil {
		return "", err
	}
	token, err := p.c.Keys().Sign(alg, "JWT", raw)
	if err != nil || c.IDTokenEnc.Alg == "" {
		return token, err
	}
	return p.encrypt(ctx, c, token, c.IDTokenEnc)
}

// named are claims that were asked for by name and that the scopes have not
// released. All that the client's scopes could release may be asked so.
func (p *Provider) named(names []string, c *relying.Client, s *snapshot, have claims.Object) (out claims.Object) {
	if len(names) == 0 {
		return nil
	}
	for _, cl := range claims.For(scopesOf(c), &s.Identity, claims.FormatFor(c), s.Evidence...) {
		if slices.Contains(names, cl.Name) && !slices.ContainsFunc(have, func(h claims.Claim) bool { return h.Name == cl.Name }) {
			out = append(out, cl)
		}
	}
	return out
}

// leftHalf is at_hash and c_hash: the left half of a hash of the size of the
// signature's.
func leftHalf(alg, token string) string {
	var sum []byte
	switch {
	case strings.HasSuffix(alg, "256"):
		h := sha256.Sum256([]byte(token))
		sum = h[:]
	case strings.HasSuffix(alg, "384"):
		h := sha512.Sum384([]byte(token))
		sum = h[:]
	default: // and Ed25519, whose hash that is
		h := sha512.Sum512([]byte(token))
		sum = h[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// encrypt nests a signed token in one for a client's key.
func (p *Provider) encrypt(ctx context.Context, c *relying.Client, token string, e relying.Encryption) (string, error) {
	keys, err := p.keysOf(c)
	if err != nil {
		return "", err
	}
	found, err := keys.Find(ctx, jose.Query{Alg: e.Alg, Use: jose.Encrypting})
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", errors.New("the client has no key that its tokens could be encrypted for")
	}
	enc := e.Enc
	if enc == "" {
		enc = "A256GCM"
		if c.Profile == relying.Signicat {
			enc = "A256CBC-HS512"
		}
	}
	return jose.Encrypt(token, found[0], e.Alg, enc)
}
