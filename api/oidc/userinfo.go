package oidc

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"eidgate/api/claims"
	"eidgate/relying"
)

// serveUserInfo tells a client what its access token lets it know (§19).
func (p *Provider) serveUserInfo(w http.ResponseWriter, r *http.Request) {
	if !method(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	noStore(w.Header())
	if id := r.Header.Get("X-Fapi-Interaction-Id"); len(id) == 36 {
		w.Header().Set("X-Fapi-Interaction-Id", id)
	}
	c, t, g, err := p.bearer(w, r)
	share(w, r, c)
	if errors.Is(err, errToken) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if err != nil {
		p.trouble(w, r, err)
		return
	}
	if err := p.called(r, c); err != nil {
		p.failed(w, r, c, err)
		return
	}
	if g == nil || !slices.Contains(words(t.Scope), "openid") {
		w.Header().Set("WWW-Authenticate", kind(t.Bound)+` realm="eidgate", error="insufficient_scope", scope="openid"`)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	form, body, err := p.userInfo(r, c, t, g)
	if errors.Is(err, ErrUnmade) {
		p.unavailable(w, r, err)
		return
	}
	if err != nil {
		p.trouble(w, r, err)
		return
	}
	w.Header().Set("Content-Type", form)
	_, _ = w.Write(body) // the client has gone
}

var errToken = errors.New("no access token that counts")

// bearer reads the access token of a request, and the grant behind it. A token
// that is bound to a key comes with a proof of it, one that is bound to a
// certificate over a connection that shows that. The client is there with
// errToken, too, where it is known whose token it is or was.
func (p *Provider) bearer(w http.ResponseWriter, r *http.Request) (*relying.Client, *Token, *Grant, error) {
	kind, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if len(r.Header.Values("Authorization")) > 1 {
		kind, text = "", ""
	}
	bound := strings.EqualFold(kind, "DPoP")
	challenge := func(code string) {
		more := ""
		if code != "" {
			more = `, error="` + code + `"`
		}
		if bound {
			more += `, algs="` + strings.Join(proofAlgs, " ") + `"`
			w.Header().Set("WWW-Authenticate", `DPoP realm="eidgate"`+more)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="eidgate"`+more)
	}
	posted := false
	if r.Header.Get("Authorization") == "" && r.Method == http.MethodPost {
		if in, wrong := form(w, r, maxBody); wrong == nil && in["access_token"] != "" {
			kind, text, posted = "Bearer", in["access_token"], true
		}
	}
	if text == "" || !bound && !strings.EqualFold(kind, "Bearer") {
		challenge("")
		return nil, nil, nil, errToken
	}
	text = strings.TrimSpace(text)
	t, g, err := p.find(r.Context(), text, access)
	if errors.Is(err, ErrUnknown) {
		challenge("invalid_token")
		return p.former(r, text), nil, nil, errToken
	}
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := p.client(r.Context(), t.Client)
	if err != nil {
		return nil, nil, nil, err
	}
	byCert := strings.HasPrefix(t.Bound, byCertificate)
	if c == nil || g != nil && !g.of(c) || posted && c.Policy().Bound || // FAPI 2.0: in the header alone
		(t.Bound != "" && !byCert) != bound || byCert && t.Bound != certificateOf(r) {
		challenge("invalid_token")
		return c, nil, nil, errToken
	}
	if bound {
		proof, err := p.proven(r, c.Policy().Algs, "userinfo")
		if err != nil && !errors.Is(err, errProof) {
			return c, nil, nil, err
		}
		if proof == nil || proof.JKT != t.Bound || !proof.Bound(text) {
			challenge("invalid_dpop_proof")
			return c, nil, nil, errToken
		}
	}
	return c, t, g, nil
}

// userInfo is what scopes and names release, in the form that the client wants.
// That it was told is written down first.
func (p *Provider) userInfo(r *http.Request, c *relying.Client, t *Token, g *Grant) (kind string, body []byte, err error) {
	s, err := readSnapshot(g)
	if err != nil {
		return "", nil, err
	}
	if err := p.record(r.Context(), c, s.Session, "userinfo.read", "ok"); err != nil {
		return "", nil, err
	}
	out := claims.Object(claims.For(still(c, words(t.Scope)), &s.Identity, claims.FormatFor(c), s.Evidence...))
	out = append(out, p.named(s.Request.Asked.UserInfo, c, s, out)...)
	if issuer := claims.Issuer(&s.Identity); issuer != "" && c.Profile == relying.Signicat {
		out = append(out, claims.Claim{Name: "idp_issuer", Value: issuer})
	}
	out = append(out, claims.Claim{Name: "sub", Value: s.Subject})
	plain := c.Userinfo == "" || c.Userinfo == relying.JSON
	if !plain {
		out = append(claims.Object{{Name: "iss", Value: p.issuer}, {Name: "aud", Value: c.ID}}, out...)
	}
	if body, err = out.MarshalJSON(); err != nil {
		return "", nil, err
	}
	if plain {
		return "application/json", body, nil
	}
	token, err := p.c.Keys().Sign(signedWith(c, c.UserinfoAlg), "JWT", body)
	if err != nil {
		return "", nil, err
	}
	if c.Userinfo != relying.Signed { // what is encrypted is signed first, always: bare JSON proves nothing
		if token, err = p.encrypt(r.Context(), c, token, c.UserinfoEnc); err != nil { // its keys are out of reach, or fit no more
			return "", nil, fmt.Errorf("%w: %w", ErrUnmade, err)
		}
	}
	return "application/jwt", []byte(token), nil
}
