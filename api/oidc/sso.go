package oidc

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"eidgate/api/claims"
	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/jose"
	"eidgate/relying"
)

// ssoIdle is how long a browser's session may rest.
const ssoIdle = 15 * time.Minute

func (p *Provider) cookieName() string {
	if p.c.Secure {
		return "__Host-eidgate_o"
	}
	return "eidgate_o"
}

// cookie gives a browser's session a secret: each authentication has one of its
// own.
func (p *Provider) cookie(s *SSO) *http.Cookie {
	secret := p.secret()
	s.Hash = fingerprint(secret)
	return &http.Cookie{Name: p.cookieName(), Value: secret, Path: "/", HttpOnly: true, Secure: p.c.Secure, SameSite: http.SameSiteLaxMode, //nolint:gosec // Secure wherever the public address is https
		MaxAge: int(s.Expires.Sub(p.c.Now()).Seconds())} // for a browser whose clock shows another time
}

// noCookie takes it away.
func (p *Provider) noCookie() *http.Cookie {
	return &http.Cookie{Name: p.cookieName(), Path: "/", MaxAge: -1, HttpOnly: true, Secure: p.c.Secure, SameSite: http.SameSiteLaxMode} //nolint:gosec // Secure wherever the public address is https
}

// sso is the session that a browser has at the provider; nil for none.
func (p *Provider) sso(r *http.Request) (*SSO, error) {
	c, err := r.Cookie(p.cookieName())
	if err != nil || len(c.Value) != secretLen {
		return nil, nil
	}
	s, err := p.c.Store.SSO(r.Context(), fingerprint(c.Value), p.c.Now())
	if errors.Is(err, ErrUnknown) {
		return nil, nil
	}
	return s, err
}

// An earlier login is one that a browser has had.
type earlier struct {
	*SSO
	person
	session *broker.Session
	sub     string
}

// earlier is the login that a browser has, if a client could have had it; nil
// for none.
func (p *Provider) earlier(r *http.Request, c *relying.Client, q *request) (*earlier, error) {
	sso, err := p.sso(r)
	if err != nil || sso == nil || sso.Account != c.Account {
		return nil, err
	}
	e := &earlier{SSO: sso}
	if e.session, err = p.c.Broker.Session(r.Context(), c.Account, c.Environment, sso.Session); err == nil && e.session.State == broker.Finished {
		e.person, err = p.identity(r.Context(), c, q, e.session)
	}
	if errors.Is(err, broker.ErrNotFound) || err == nil && e.who == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e.sub, err = p.subject(r.Context(), c.Account, e.who)
	return e, err
}

// reuse answers from a login that this browser has had, where the client and
// its request allow that (§13.2).
func (p *Provider) reuse(w http.ResponseWriter, r *http.Request, c *relying.Client, a *relying.Account, q *request, e *earlier, choice claims.Choice, pinned eid.Number) (done bool, err error) {
	// Where a text is to be read, or consent to be given, that happens at the eID.
	if c.ForceLogin || q.prompts("login") || q.prompts("select_account") || q.prompts("consent") || len(choice.Text) > 0 ||
		e == nil || !slices.Contains(choice.EIDs, same(e.EID)) {
		return false, nil
	}
	now := p.c.Now() // the client that has logged somebody in may have that last longer than this one
	if now.After(e.Used.Add(ssoIdle)) || now.After(e.Auth.Add(c.Life().SSO)) ||
		q.MaxAge != nil && now.Sub(e.Auth) > time.Duration(*q.MaxAge)*time.Second || q.MaxAge != nil && *q.MaxAge == 0 {
		return false, nil
	}
	if pinned != "" && pinned != e.who.Number {
		return false, nil
	}
	if !covers(q.wanted(c), e.who) || !choice.Bank(e.who) || q.Person != "" && q.Person != e.sub || len(q.Levels) > 0 && !slices.Contains(q.Levels, claims.ACR(e.who)) {
		return false, nil
	}
	if err := p.admit(r, c, a, "login"); err != nil {
		return false, err
	}
	e.Hash = [32]byte{} // it is there
	fields, _, err := p.issue(r.Context(), c, q, ordered(now, p.c.NewID()), e.SSO, e.person, e.session)
	if err != nil {
		return false, err
	}
	// After the grant is written: whoever ends the login either finds the grant,
	// or is found to have ended it, and then nobody hears of its code.
	err = p.c.Store.TouchSSO(r.Context(), e.ID, now)
	if errors.Is(err, ErrUnknown) {
		return true, p.answer(w, r, c, q, failure("login_required", "The login has been ended meanwhile."))
	}
	if err != nil {
		return false, err
	}
	return true, p.answer(w, r, c, q, fields)
}

// same is the eID that a request for a login by another name means.
func same(e eid.EID) eid.EID {
	if e == eid.IDINAge {
		return eid.IDIN
	}
	return e
}

// covers says whether an identity holds what is wanted of an eID that tells
// only what it is asked. An age check that such an eID would not have told who
// it was does not learn that from a login before it either.
func covers(wanted []string, who *eid.Identity) bool {
	if who.EID == eid.BankIDSE || who.EID == eid.NemID { // they tell everything, always
		return true
	}
	has := map[string]bool{eid.WantID: len(claims.For([]string{"idp-id"}, who, claims.Format{})) > 0, eid.WantName: who.Family != "",
		eid.WantDocument: who.Signals["document_number"] != "", eid.WantDevice: who.Signals["device_os"] != "", eid.WantNumber: who.Number != "",
		eid.WantAddress: who.Address != nil, eid.WantBirth: who.BirthText != "" || who.Birth != "",
		eid.WantAdult: who.Approved != nil || who.Age != nil, eid.WantGender: who.Sex != "" || who.Gender != "", eid.WantPhone: who.Phone != "", eid.WantEmail: who.Email != ""}
	if who.EID == eid.MitID && who.Approved != nil { // an age check names nobody
		has[eid.WantID] = false
	}
	if who.EID != eid.Itsme && has[eid.WantID] && !slices.Contains(wanted, eid.WantID) {
		return false
	}
	// What was asked for and not told will not be told the next time either; iDIN
	// has no numbers, documents and devices to tell.
	asked := strings.Fields(who.Signals["asked"])
	if who.EID == eid.IDIN || who.EID == eid.IDINAge {
		asked = []string{eid.WantNumber, eid.WantDocument, eid.WantDevice}
	}
	return !slices.ContainsFunc(wanted, func(w string) bool { return !has[w] && !slices.Contains(asked, w) })
}

// ownToken reads an ID token of ours, whenever it has expired.
func (p *Provider) ownToken(ctx context.Context, token string) (*jose.Claims, error) {
	v, err := jose.Verify(ctx, token, jose.Rule{Algs: signs, Typ: []string{"JWT"}, TypRequired: true, Keys: p.c.Keys().Ever()})
	if err != nil {
		return nil, err
	}
	cl, err := v.Claims()
	if err != nil {
		return nil, err
	}
	if cl.Issuer != p.issuer || len(cl.Raw["sid"]) == 0 { // answers of ours have no sid
		return nil, errors.New("not an ID token of ours")
	}
	return cl, nil
}
