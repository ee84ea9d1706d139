package oidc

import (
	"net/http"
	"net/url"

	"eidgate/relying"
)

// serveEnd logs a browser out (§11). It goes back to the client only when that
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
		p.trouble(w, r, err)
		return
	}
	to := in["post_logout_redirect_uri"]
	if to != "" && (c == nil || !c.Logout(to)) {
		p.c.Problem(w, r, http.StatusBadRequest, "invalid_request", "post_logout_redirect_uri is not registered for the client, or id_token_hint does not say whose it is.")
		return
	}
	sso, err := p.sso(r)
	if err != nil {
		p.trouble(w, r, err)
		return
	}
	known := c != nil && (sso == nil || sso.ID == sid)
	if !known && in["confirm"] != "1" {
		if sso != nil {
			p.c.Ended(w, r, true, url.Values{"confirm": {"1"}})
			return
		}
	}
	if in["confirm"] == "1" && r.Method != http.MethodPost {
		p.c.Ended(w, r, true, url.Values{"confirm": {"1"}})
		return
	}
	if sso != nil {
		sid = sso.ID
	}
	if err := p.end(w, r, sid); err != nil {
		p.trouble(w, r, err)
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
func (p *Provider) end(w http.ResponseWriter, r *http.Request, sid string) error {
	http.SetCookie(w, &http.Cookie{Name: p.cookieName(), Path: "/", MaxAge: -1, HttpOnly: true, Secure: p.c.Secure, SameSite: http.SameSiteLaxMode}) //nolint:gosec // Secure wherever the public address is https
	if sid == "" {
		return nil
	}
	if err := p.c.Store.EndSSO(r.Context(), sid); err != nil {
		return err
	}
	_, err := p.c.Store.RevokeSSO(r.Context(), sid, p.c.Now())
	return err
}
