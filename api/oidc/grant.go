package oidc

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"eidgate/api/claims"
	"eidgate/broker"
	"eidgate/eid"
	"eidgate/relying"
)

// A snapshot is what a grant's tokens say, sealed: it outlives nothing, since
// the session's key seals it.
type snapshot struct {
	Request  terms          `json:"request"`
	Identity eid.Identity   `json:"identity"`
	Evidence []eid.Evidence `json:"evidence,omitempty"` // only where a scope shows it
	Subject  string         `json:"sub"`
	IDP      string         `json:"idp"`
	ACR      string         `json:"acr,omitempty"`
	Auth     time.Time      `json:"auth_time"`
	SID      string         `json:"sid"`
	Sandbox  bool           `json:"sandbox,omitempty"`
	Session  string         `json:"session"`           // transaction_id
	Binding  eid.Binding    `json:"binding,omitempty"` // "" for a strong one
}

// A Leaving is how a browser goes back to a relying party.
type Leaving struct {
	URL    string
	Post   url.Values   // nil for a redirect
	Cookie *http.Cookie // nil for none
	Over   bool         // the client has made tokens of the answer: to give it again would end them
}

// fetched is how long a browser may take to fetch the end of its login. After
// that another person may sit there.
const fetched = 30 * time.Minute

// Leave says where a session of this API that has ended sends the browser.
func (p *Provider) Leave(ctx context.Context, s *broker.Session, spec *broker.Spec) (Leaving, error) {
	var q request
	if err := json.Unmarshal(spec.Payload, &q); err != nil {
		return Leaving{}, errors.New("stored request is not readable")
	}
	c, err := p.client(ctx, q.Client)
	if err != nil {
		return Leaving{}, err
	}
	if c == nil || c.Account != s.Account || c.Environment != s.Environment || !c.Redirect(q.Redirect) {
		return Leaving{}, nil // it has been taken away meanwhile: the browser stays
	}
	if s.State == broker.Failed {
		return p.leaving(c, &q, failure(ending(c, s.Reason)))
	}
	if p.c.Now().After(s.Ended.Add(fetched)) {
		return p.leaving(c, &q, failure(ending(c, eid.Expired)))
	}
	person, err := p.identity(ctx, c, &q, s)
	if err != nil {
		return Leaving{}, err
	}
	sso := &SSO{ID: p.sid(s), Account: c.Account, Session: s.ID, EID: person.who.EID, Auth: person.who.At, Used: p.c.Now(), Expires: person.who.At.Add(c.Life().SSO)}
	strong := c.Life().SSO > 0 && s.Level == eid.Strong
	cookie := p.noCookie() // who was logged in here before is not who has come now
	if strong {
		cookie = p.cookie(sso)
	}
	fields, signedOn, err := p.issue(ctx, c, &q, ordered(s.Created, s.ID), sso, person, s)
	switch {
	case errors.Is(err, ErrRedeemed):
		return Leaving{Over: true}, nil
	case err != nil:
		return Leaving{}, err
	}
	out, err := p.leaving(c, &q, fields)
	if signedOn || !strong {
		out.Cookie = cookie
	}
	return out, err
}

// A person is who was identified, and the line of the audit trail that must be
// written with what is made of it.
type person struct {
	who      *eid.Identity
	evidence []eid.Evidence // only where a scope shows it
	read     broker.Audit
}

func (p *Provider) identity(ctx context.Context, c *relying.Client, q *request, s *broker.Session) (out person, err error) {
	out.who, out.evidence, out.read, err = p.c.Broker.Identity(ctx, s, "client "+c.ID, claims.Proofs(q.telling(c)))
	return out, err
}

func (p *Provider) leaving(c *relying.Client, q *request, fields url.Values) (Leaving, error) {
	fields, err := p.addressed(c, q, fields)
	if strings.HasPrefix(q.Mode, "form_post") {
		return Leaving{URL: q.Redirect, Post: fields}, err
	}
	if q.Mode == "fragment" {
		return Leaving{URL: q.Redirect + "#" + fields.Encode()}, err
	}
	return Leaving{URL: withQuery(q.Redirect, fields)}, err
}

// ending is what a client hears of a login that has failed (§13.5).
func ending(c *relying.Client, why eid.Reason) (code, text string) {
	info := eid.Reasons[why]
	signicat := c.Errors == relying.SignicatErrors
	switch {
	case info.Outcome == "cancelled" && signicat:
		return "IDP-3200", "The user cancelled at the identity provider."
	case info.Outcome == "cancelled":
		return "access_denied", "The person cancelled."
	case info.Outcome == "expired" && signicat:
		return "IDP-3400", "The identity provider timed out."
	case why == eid.Unavailable && signicat:
		return "IDP-3500", "The identity provider is not available."
	case signicat:
		return "IDP-3300", "The identity provider could not log the person in."
	case info.Outcome == "expired":
		return "access_denied", "The time ran out."
	case info.Outcome == "declined", why == eid.WrongPerson:
		return "access_denied", "The eID did not confirm the person."
	case why == eid.Unavailable:
		return "temporarily_unavailable", "The eID does not answer."
	}
	return "server_error", "The login did not succeed."
}

// keyed is a value that only this provider makes of another one.
func (p *Provider) keyed(purpose, value string) []byte {
	m := hmac.New(sha256.New, p.codeKey)
	m.Write([]byte(purpose + "|" + value))
	return m.Sum(nil)
}

// code is the one that a grant leads to, the same whenever it is asked for.
func (p *Provider) code(grant string) string {
	return when(grant).text(p.keyed("code", grant))
}

// sid names a login to clients: 32 capitals of hex.
func (p *Provider) sid(s *broker.Session) string {
	m := momentOf(s.Created)
	return strings.ToUpper(hex.EncodeToString(append(m[:], p.keyed("sid", s.ID)[:10]...)))
}

// issue writes the grant of a login, which was s, and is the answer with its code, or with
// what stands against it. signedOn says whether sso, if it has a secret, was
// written too.
func (p *Provider) issue(ctx context.Context, c *relying.Client, q *request, grant string, sso *SSO, one person, s *broker.Session) (fields url.Values, signedOn bool, err error) {
	who := one.who
	snap := snapshot{Request: q.terms, Identity: *who, Evidence: one.evidence, IDP: claims.IDP(who.EID), ACR: claims.ACR(who), Auth: sso.Auth, Sandbox: s.Environment == eid.Test,
		Session: sso.Session}
	if s.Level != eid.Strong {
		snap.Binding = s.Level
	}
	snap.Subject, err = p.subject(ctx, c.Account, who)
	switch {
	case err != nil:
		return nil, false, err
	case snap.Subject == "":
		return failure("server_error", "The eID has named nobody."), false, nil
	case q.Person != "" && q.Person != snap.Subject:
		return failure("login_required", "Another person has logged in than the one that is asked for."), false, nil
	case len(q.Levels) > 0 && !slices.Contains(q.Levels, snap.ACR):
		return failure("access_denied", "The level of assurance that is asked for was not reached."), false, nil
	}
	own, begun := sso.ID, sso
	if sso.Hash == [32]byte{} {
		begun = nil
	} else if q.Before.Subject == snap.Subject { // the same person again, in the same browser
		sso.ID, sso.Goes = q.Before.SID, true
	}
	snap.SID = sso.ID
	raw, err := json.Marshal(snap)
	if err != nil {
		return nil, false, err
	}
	now := p.c.Now()
	code := p.code(grant)
	g := &Grant{ID: grant, Session: sso.Session, Client: c.ID, Account: c.Account, Environment: c.Environment, SSO: sso.ID, Created: now,
		Code: fingerprint(code), CodeUntil: now.Add(c.Life().Code), Body: raw}
	var pushed *[32]byte
	if len(q.Pushed) == 32 {
		pushed = (*[32]byte)(q.Pushed)
	}
	signedOn, err = p.c.Store.PutGrant(ctx, g, pushed, begun, one.read)
	switch {
	case errors.Is(err, ErrEnded): // clients have been told so: this is a login of its own
		sso.ID, sso.Goes = own, false
		again := *q
		again.Before = before{}
		return p.issue(ctx, c, &again, grant, sso, one, s)
	case errors.Is(err, ErrUsed):
		p.c.Security("replay")
		return failure("invalid_request_uri", "The pushed request was used before."), false, nil
	case errors.Is(err, ErrUnknown):
		return failure("server_error", "The login is over."), false, nil
	case err != nil:
		return nil, false, fmt.Errorf("write grant: %w", err)
	}
	fields = url.Values{"code": {code}}
	if q.Front {
		token, err := p.frontToken(ctx, c, &snap, code, now)
		if err != nil {
			return nil, false, err
		}
		fields.Set("id_token", token)
	}
	return fields, signedOn, nil
}

// SubjectKey is the key, 32 bytes, of claims.Subject for providers that have
// this secret. It makes the same names outside of a provider.
func SubjectKey(secret []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, nil, "eidgate oidc subjects", 32)
}

// subject is what an account's clients call a person; "" if the eID has named
// nobody.
func (p *Provider) subject(ctx context.Context, account string, who *eid.Identity) (sub string, err error) {
	sub = claims.Subject(p.subKey, account, claims.IDP(who.EID), who, func(account, idp, person string) (string, bool) {
		var imported string
		imported, err = p.c.Store.Subject(ctx, account, idp, person)
		return imported, imported != ""
	})
	return sub, err
}

// of says whether a grant is of a client as it is now. What a client had in
// another environment, or in another account, before it was moved, stays there.
func (g *Grant) of(c *relying.Client) bool {
	return g.Client == c.ID && g.Account == c.Account && g.Environment == c.Environment
}

// readSnapshot is the inverse of what issue has written.
func readSnapshot(g *Grant) (*snapshot, error) {
	var s snapshot
	if err := json.Unmarshal(g.Body, &s); err != nil {
		return nil, errors.New("stored grant is not readable")
	}
	return &s, nil
}
