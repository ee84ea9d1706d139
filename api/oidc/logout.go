package oidc

import (
	"net/http"
	"net/url"

	"eidgate/relying"
)

// serveEnd logs a browser out (§21). It goes back to the client only when that
// has shown a token of ours and asks for an address of its own; otherwise the
// person is told here. A request that another site could have made asks first.
func (p *Provider) serveEnd(w http.ResponseWriter, r *http.Request) {
	if !method(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	noStore(w.Header())
	in, wrong := p.frontParams(w, r)
	if wrong != nil {
		p.c.Problem(w, r, http.StatusBadRequest, wrong.Code, wrong.Text)
		return
	}
	c, sid, err := p.hint(r, in)
	if err != nil {
		p.broken(w, r, err)
		return
	}
	to := in["post_logout_redirect_uri"]
	if to != "" && (c == nil || !c.Logout(to)) {
		p.c.Problem(w, r, http.StatusBadRequest, "invalid_request", "post_logout_redirect_uri is not registered for the client, or id_token_hint does not say whose it is.")
		return
	}
	sso, err := p.sso(r)
	if err != nil {
		p.broken(w, r, err)
		return
	}
	if sso != nil && (c == nil || sso.ID != sid) { // not the one that the client speaks of
		if !p.confirmed(r, in) {
			p.c.Ended(w, r, true, confirming(in))
			return
		}
		sid = sso.ID
	}
	if err := p.end(w, r, sid); err != nil {
		p.broken(w, r, err)
		return
	}
	if to == "" {
		p.c.Ended(w, r, false, nil)
		return
	}
	if in["state"] != "" {
		to = withQuery(to, url.Values{"state": {in["state"]}})
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// confirming is what the person's answer to our question carries on.
func confirming(in params) url.Values {
	fields := url.Values{"confirm": {"1"}}
	for _, name := range []string{"id_token_hint", "client_id", "post_logout_redirect_uri", "state"} {
		if in[name] != "" {
			fields.Set(name, in[name])
		}
	}
	return fields
}

// confirmed says whether a person has answered on our own page. Another site's
// form brings no cookie of ours, and browsers say that it is another site's.
func (p *Provider) confirmed(r *http.Request, in params) bool {
	return in["confirm"] == "1" && r.Method == http.MethodPost && p.cross.Check(r) == nil
}

// hint reads id_token_hint: whose it is, and which login it was about. A hint
// that is not one of ours says nothing.
func (p *Provider) hint(r *http.Request, in params) (*relying.Client, string, error) {
	if in["id_token_hint"] == "" {
		return nil, "", nil
	}
	cl, err := p.ownToken(r.Context(), in["id_token_hint"])
	if err != nil || len(cl.Audience) != 1 || in["client_id"] != "" && in["client_id"] != cl.Audience[0] {
		return nil, "", nil //nolint:nilerr // a bad hint is none
	}
	c, err := p.client(r.Context(), cl.Audience[0])
	var sid string
	if raw := cl.Raw["sid"]; len(raw) > 2 {
		sid = string(raw[1 : len(raw)-1])
	}
	return c, sid, err
}

// end ends a browser's session, and everything that was had by it.
// A cookie that was not sent is left alone: the request may be another site's.
func (p *Provider) end(w http.ResponseWriter, r *http.Request, sid string) error {
	if _, err := r.Cookie(p.cookieName()); err == nil {
		http.SetCookie(w, &http.Cookie{Name: p.cookieName(), Path: "/", MaxAge: -1, HttpOnly: true, Secure: p.c.Secure, SameSite: http.SameSiteLaxMode}) //nolint:gosec // Secure wherever the public address is https
	}
	if sid == "" {
		return nil
	}
	if err := p.c.Store.EndSSO(r.Context(), sid); err != nil {
		return err
	}
	_, err := p.c.Store.RevokeSSO(r.Context(), sid, p.c.Now())
	return err
}
