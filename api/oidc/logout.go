package oidc

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"eidgate/api/claims"
	"eidgate/broker"
	"eidgate/relying"
)

// serveEnd logs a browser out (§21). It goes back to an address of the client's
// own only when the client has shown a token of ours, or the person has
// confirmed; otherwise the person is told here. A request that another site
// could have made asks first.
func (p *Provider) serveEnd(w http.ResponseWriter, r *http.Request) {
	if !method(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	noStore(w.Header())
	w.Header().Set("Referrer-Policy", "no-referrer")
	in, wrong := p.frontParams(w, r)
	if wrong != nil {
		p.refused(w, r, nil, *wrong)
		return
	}
	c, sid, sub, err := p.hint(r, in)
	if err != nil {
		p.broken(w, r, err)
		return
	}
	to := in["post_logout_redirect_uri"]
	if to != "" && (c == nil || !c.Logout(to)) {
		p.refused(w, r, c, *bad("invalid_request", "post_logout_redirect_uri is not registered for the client, or neither id_token_hint nor client_id says whose it is."))
		return
	}
	sso, err := p.sso(r)
	if err != nil {
		p.broken(w, r, err)
		return
	}
	other := sso != nil && (c == nil || sso.ID != sid) // not the login that the client speaks of, or not that alone
	if other || to != "" && sid == "" {
		if !p.confirmed(r, in) {
			next := ""
			if back, err := url.Parse(to); err == nil && to != "" {
				next = place(back)
			}
			p.c.Ended(w, r, true, confirming(in), next)
			return
		}
	}
	if other {
		err = p.end(r.Context(), sso.ID, "")
	}
	if err == nil && sid != "" {
		err = p.end(r.Context(), sid, sub)
	}
	if err != nil {
		p.broken(w, r, err)
		return
	}
	if _, err := r.Cookie(p.cookieName()); err == nil { // one that was not sent is left alone: the request may be another site's
		http.SetCookie(w, p.noCookie())
	}
	if to == "" {
		p.c.Ended(w, r, false, nil, "")
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

// hint reads id_token_hint: whose it is, and which login of whom it was about.
// A hint that is not one of ours says nothing; where there is none, client_id
// says whose the request is, which anybody can write.
func (p *Provider) hint(r *http.Request, in params) (c *relying.Client, sid, sub string, err error) {
	if in["id_token_hint"] == "" {
		c, err = p.client(r.Context(), in["client_id"])
		return c, "", "", err
	}
	cl, err := p.ownToken(r.Context(), in["id_token_hint"])
	if err != nil || len(cl.Audience) != 1 || in["client_id"] != "" && in["client_id"] != cl.Audience[0] {
		return nil, "", "", nil //nolint:nilerr // a bad hint is none
	}
	if c, err = p.client(r.Context(), cl.Audience[0]); c == nil || err != nil {
		return nil, "", "", err
	}
	if err := json.Unmarshal(cl.Raw["sid"], &sid); err != nil {
		return nil, "", "", nil //nolint:nilerr // likewise
	}
	return c, sid, cl.Subject, nil
}

// end ends a browser's session, and everything that was had by it, and tells
// the clients that had it. The session goes last, and the cookie after it: where
// something fails before, the person can do it again. What another tab got of it
// meanwhile ends after it.
func (p *Provider) end(ctx context.Context, sid, sub string) error {
	session, err := p.revoke(ctx, sid, sub)
	if err == nil && session != "" {
		// Once: whoever has an ID token can ask for the end of its login again.
		_, err = p.c.Broker.Note(ctx, session, "login.end/"+sid, broker.Audit{At: p.c.Now(), Actor: "person", Action: "login.end", Outcome: "ok"})
	}
	if err != nil && !errors.Is(err, broker.ErrNotFound) { // it was erased meanwhile
		return err
	}
	if err := p.c.Store.EndSSO(ctx, sid); err != nil {
		return err
	}
	_, err = p.revoke(ctx, sid, sub)
	return err
}

// revoke ends the grants of a browser's session and tells their clients; session
// is the one that they came from, "" where there are none.
func (p *Provider) revoke(ctx context.Context, sid, sub string) (session string, err error) {
	session, clients, err := p.c.Store.RevokeSSO(ctx, sid, p.c.Now())
	if err != nil || session == "" {
		return "", err
	}
	return session, p.tell(ctx, session, clients, sid, sub)
}

// A logout is what a client is told of a login that has ended.
type logout struct {
	Client  string `json:"client"`
	SID     string `json:"sid"`
	Subject string `json:"sub,omitempty"`
	ID      string `json:"jti"`
}

// tell writes a message to each client that wants one into the outbox, once,
// however often its login is ended (§21.2).
func (p *Provider) tell(ctx context.Context, session string, clients []string, sid, sub string) error {
	var out []broker.Delivery
	for _, id := range clients {
		c, err := p.client(ctx, id)
		if err != nil {
			return err
		}
		if c == nil || c.BackLogout == "" {
			continue
		}
		name := hex.EncodeToString(p.keyed("logout", sid+"|"+id)[:16])
		body, err := json.Marshal(logout{Client: id, SID: sid, Subject: sub, ID: name})
		if err != nil {
			return err
		}
		out = append(out, broker.Delivery{ID: "msg_" + name, Session: session, Account: c.Account, Environment: c.Environment, Kind: "logout", Type: "session.logout",
			Profile: "logout", URL: c.BackLogout, Body: body, Due: p.c.Now()})
	}
	if len(out) == 0 {
		return nil
	}
	return p.c.Broker.Tell(ctx, session, out...)
}

// logoutLife is how long a logout token counts; each attempt has its own.
const logoutLife = 2 * time.Minute

// LogoutToken signs what tell has written, for who delivers it.
func (p *Provider) LogoutToken(ctx context.Context, body []byte) (string, error) {
	var l logout
	if err := json.Unmarshal(body, &l); err != nil {
		return "", errors.New("stored logout is not readable")
	}
	c, err := p.client(ctx, l.Client)
	if err != nil {
		return "", err
	}
	if c == nil {
		return "", relying.ErrUnknown
	}
	now := p.c.Now()
	out := claims.Object{{Name: "iss", Value: p.issuer}, {Name: "aud", Value: c.ID}, {Name: "iat", Value: int(now.Unix())},
		{Name: "exp", Value: int(now.Add(logoutLife).Unix())}, {Name: "jti", Value: l.ID}, {Name: "sid", Value: l.SID},
		{Name: "events", Value: claims.Object{{Name: "http://schemas.openid.net/event/backchannel-logout", Value: claims.Object{}}}}}
	if l.Subject != "" {
		out = append(out, claims.Claim{Name: "sub", Value: l.Subject})
	}
	raw, err := out.MarshalJSON()
	if err != nil {
		return "", err
	}
	token, err := p.c.Keys().Sign(signedWith(c, c.IDTokenAlg), "logout+jwt", raw)
	if err != nil || c.IDTokenEnc.Alg == "" {
		return token, err
	}
	return p.encrypt(ctx, c, token, c.IDTokenEnc)
}
