package oidc

import (
	"errors"
	"net/http"
	"strings"

	"eidgate/api/claims"
	"eidgate/relying"
)

// back reads a client's request about a token.
func (p *Provider) back(w http.ResponseWriter, r *http.Request) (*relying.Client, params, bool) {
	if !method(w, r, http.MethodPost) {
		return nil, nil, false
	}
	noStore(w.Header())
	in, wrong := form(w, r, maxBody)
	if wrong != nil {
		p.oauth(w, r, nil, wrong)
		return nil, nil, false
	}
	c, err := p.authenticate(r, in)
	if err != nil {
		p.failed(w, r, c, err)
		return nil, nil, false
	}
	if in["token"] == "" {
		p.failed(w, r, c, bad("invalid_request", "The request is missing a required parameter."))
		return nil, nil, false
	}
	return c, in, true
}

// serveIntrospect says whether a token counts (RFC 7662). Of a token of another
// account nothing is said, as of one that does not exist (§20).
func (p *Provider) serveIntrospect(w http.ResponseWriter, r *http.Request) {
	c, in, ok := p.back(w, r)
	if !ok {
		return
	}
	if c.Auth == relying.Public {
		p.failed(w, r, c, errClient)
		return
	}
	if err := p.called(r, c); err != nil {
		p.failed(w, r, c, err)
		return
	}
	out := claims.Object{{Name: "active", Value: false}}
	for _, kind := range []string{access, refresh} {
		t, g, err := p.find(r.Context(), in["token"], kind)
		if errors.Is(err, ErrUnknown) || errors.Is(err, ErrUsed) {
			continue
		}
		if err != nil {
			p.trouble(w, r, err)
			return
		}
		owner, err := p.client(r.Context(), t.Client)
		if err != nil {
			p.trouble(w, r, err)
			return
		}
		if owner == nil || owner.Account != c.Account || owner.Environment != c.Environment || g != nil && !g.of(owner) {
			break
		}
		if out, err = p.active(owner, t, g); err != nil {
			p.trouble(w, r, err)
			return
		}
		break
	}
	if err := say(w, http.StatusOK, out); err != nil {
		p.trouble(w, r, err)
	}
}

func (p *Provider) active(c *relying.Client, t *Token, g *Grant) (claims.Object, error) {
	out := claims.Object{{Name: "active", Value: true}, {Name: "scope", Value: strings.Join(still(c, words(t.Scope)), " ")}, {Name: "client_id", Value: t.Client}, {Name: "iss", Value: p.issuer},
		{Name: "aud", Value: p.issuer + "/resources"}, {Name: "iat", Value: int(t.Created.Unix())}, {Name: "exp", Value: int(t.Expires.Unix())}, {Name: "token_type", Value: kind(t.Bound)}}
	out = append(out, confirm(t.Bound)...)
	if g == nil {
		return append(out, claims.Claim{Name: "sub", Value: "client:" + t.Client}), nil
	}
	s, err := readSnapshot(g)
	if err != nil {
		return nil, err
	}
	out = append(out, claims.Claim{Name: "sub", Value: s.Subject}, claims.Claim{Name: "auth_time", Value: int(s.Auth.Unix())})
	if s.ACR != "" {
		out = append(out, claims.Claim{Name: "acr", Value: s.ACR})
	}
	if s.Binding != "" {
		out = append(out, claims.Claim{Name: bindingClaim, Value: s.Binding})
	}
	return out, nil
}

// serveRevoke ends a token (RFC 7009). One that nobody knows has ended.
func (p *Provider) serveRevoke(w http.ResponseWriter, r *http.Request) {
	c, in, ok := p.back(w, r)
	if !ok {
		return
	}
	share(w, r, c)
	if err := p.called(r, c); err != nil {
		p.failed(w, r, c, err)
		return
	}
	hash, now := fingerprint(in["token"]), p.c.Now()
	if t := p.own(r.Context(), in["token"], hash); t != nil && t.Client == c.ID {
		if _, err := p.c.Store.Once(r.Context(), revokedPurpose, in["token"], t.Expires); err != nil {
			p.unavailable(w, r, err)
		}
		return
	}
	t, g, err := p.c.Store.ByToken(r.Context(), hash, refresh, now)
	whole := err == nil || errors.Is(err, ErrUsed) // a refresh token takes its access tokens with it
	if errors.Is(err, ErrUnknown) {
		t, g, err = p.c.Store.ByToken(r.Context(), hash, access, now)
	}
	if (err == nil || whole) && g != nil && t.Client == c.ID {
		err = p.record(r.Context(), c, g.Session, "token.revoke", "ok")
	}
	if err != nil && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrUsed) {
		p.unavailable(w, r, err)
		return
	}
	if err := p.c.Store.Revoke(r.Context(), hash, c.ID, whole, now); err != nil {
		p.unavailable(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// unavailable never says that something has ended which may have not.
func (p *Provider) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	p.c.Log.ErrorContext(r.Context(), "provider failed", "error", err)
	w.Header().Set("Retry-After", "5")
	_ = say(w, http.StatusServiceUnavailable, map[string]string{"error": "temporarily_unavailable"}) // two strings
}
