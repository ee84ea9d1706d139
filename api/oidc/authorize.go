package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"eidgate/api/claims"
	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/limit"
	"eidgate/relying"
)

// A refusal is a request that must not be answered to the address that it
// names: its client or that address cannot be trusted. A person sees it.
type refusal struct{ wireError }

func (e *refusal) Unwrap() error { return &e.wireError }

func refuse(code, text string) *refusal { return &refusal{wireError{code, text}} }

// serveAuthorize is where a login begins (§13).
func (p *Provider) serveAuthorize(w http.ResponseWriter, r *http.Request) {
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
	c, q, err := p.accept(r.Context(), in)
	if no, ok := errors.AsType[*refusal](err); ok {
		p.refused(w, r, c, no.wireError)
		return
	}
	wrong, known := errors.AsType[*wireError](err)
	switch {
	case known:
		err = p.answer(w, r, c, q, failure(wrong.Code, wrong.Text))
	case err != nil:
	case r.Method == http.MethodPost:
		err = p.onward(w, r, c, q, in["request_uri"])
	default:
		err = p.login(w, r, c, q)
	}
	if said, after, ok := exceeded(err); ok { // and the client hears nothing: its address would get one request for each
		w.Header().Set("Retry-After", limit.RetryAfter(after))
		p.show(w, r, c, http.StatusTooManyRequests, *said)
		return
	}
	if err != nil {
		p.broken(w, r, err)
	}
}

// onward lets a browser that has posted its request come again with GET. What
// another site lets it post comes without our cookies, and they say which
// browser it is and who is logged in there.
func (p *Provider) onward(w http.ResponseWriter, r *http.Request, c *relying.Client, q *request, uri string) error {
	if q.Pushed == nil {
		account, err := p.c.Accounts.Account(r.Context(), c.Account)
		if err != nil {
			return fmt.Errorf("account of client: %w", err)
		}
		if err := p.admit(r, c, account, "post"); err != nil {
			return err
		}
		if uri, err = p.keep(r.Context(), c, q); err != nil {
			return err
		}
	}
	w.Header().Set("Location", Root+"/connect/authorize?"+url.Values{"client_id": {c.ID}, "request_uri": {uri}}.Encode())
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// frontParams reads a browser's request: its address, or its form.
func (p *Provider) frontParams(w http.ResponseWriter, r *http.Request) (params, *wireError) {
	if r.Method == http.MethodPost {
		return form(w, r, maxBody)
	}
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("invalid_request", "The parameters cannot be read.")
	}
	return single(v)
}

// accept finds the client and checks its request, in the order of §13.1. The
// request is there whenever its answer may go to its address.
func (p *Provider) accept(ctx context.Context, in params) (*relying.Client, *request, error) {
	c, err := p.client(ctx, in["client_id"])
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		return nil, nil, nobody(in["client_id"])
	}
	if handle, ok := strings.CutPrefix(in["request_uri"], handlePrefix); ok {
		q, err := p.pushed(ctx, c, handle)
		return c, q, err
	}
	if in["request_uri"] != "" {
		if c.Redirect(in["redirect_uri"]) {
			q := &request{terms: terms{Client: c.ID, Redirect: in["redirect_uri"]}, State: in["state"]}
			q.Mode, _ = modeOf(c, q.Redirect, in["response_mode"], false) // what is not served is answered by default
			return c, q, bad("request_uri_not_supported", "Push the request, or send it in the parameter request.")
		}
		return c, nil, refuse("request_uri_not_supported", "Push the request, or send it in the parameter request.")
	}
	inner, signed, err := p.open(ctx, c, in)
	if err != nil {
		return c, nil, err
	}
	q, err := p.check(ctx, c, inner, signed, false)
	return c, q, err
}

// byDefault is how a client is answered that does not say how. A token is never
// put into a query: that is sent to servers, and written into their logs.
func byDefault(c *relying.Client, front bool) string {
	if front {
		return "fragment"
	}
	if slices.Contains(c.Policy().ResponseModes, "query") {
		return "query"
	}
	return "query.jwt"
}

// modeOf is the way of answering that a client asks for. An app's own scheme
// takes no form: what is posted there is lost.
func modeOf(c *relying.Client, redirect, name string, front bool) (mode string, ok bool) {
	switch {
	case name == "":
		return byDefault(c, front), true
	case strings.HasPrefix(name, "form_post") && !strings.HasPrefix(redirect, "https://") && !strings.HasPrefix(redirect, "http://"):
		return byDefault(c, front), false
	case !slices.Contains(c.Policy().ResponseModes, name), front && name == "query":
		return byDefault(c, front), false
	case name == "jwt":
		return "query.jwt", true
	}
	return name, true
}

// check holds a request to what its client may ask.
func (p *Provider) check(ctx context.Context, c *relying.Client, in params, signed, pushed bool) (*request, error) {
	if in["redirect_uri"] == "" || !c.Redirect(in["redirect_uri"]) {
		return nil, astray(c, in["redirect_uri"])
	}
	policy := c.Policy()
	q, wrong := readRequest(in, policy.ResponseTypes, p.c.Now())
	q.Client = c.ID
	q.Sealed = signed || pushed && c.Auth != relying.Public // anybody can push in the name of a client that proves nothing
	var served bool
	if q.Mode, served = modeOf(c, q.Redirect, in["response_mode"], q.Front); !served {
		return q, bad("invalid_request", "response_mode is not one that the client may use.")
	}
	switch {
	case policy.PAR && !pushed:
		return q, bad("invalid_request", "The client must push its requests.")
	case policy.RequestObject && !signed:
		return q, bad("invalid_request", "Client must use request object, but no request or request_uri parameter present")
	case wrong != nil:
		return q, wrong
	case policy.PKCE && q.Challenge == "":
		return q, bad("invalid_request", "The client must send code_challenge.")
	}
	if err := q.keepScopes(c); err != nil {
		return q, err
	}
	if claims.Exclusive(q.Scopes) {
		return q, bad("invalid_scope", "date-of-birth and eighteen-or-older exclude each other.")
	}
	if err := p.expect(ctx, c, q, in["id_token_hint"]); err != nil {
		return q, err
	}
	return q, nil
}

// expect reads id_token_hint: whoever logs in must be the person whom that was
// about (§13.3).
func (p *Provider) expect(ctx context.Context, c *relying.Client, q *request, hint string) *wireError {
	if hint == "" {
		return nil
	}
	cl, err := p.ownToken(ctx, hint)
	switch {
	case err == nil && cl.For(c.ID) && (q.Person == "" || q.Person == cl.Subject):
		q.Person = cl.Subject
		return nil
	case q.prompts("none"):
		return bad("login_required", "Nobody is logged in of whom id_token_hint speaks.")
	}
	return bad("invalid_request", "id_token_hint is no ID token of this provider for the client.")
}

// keepScopes leaves those that are served and that the client may ask for. A
// strict client is told of others; Signicat's are used to silence.
func (q *request) keepScopes(c *relying.Client) *wireError {
	var kept []string
	for _, s := range q.Scopes {
		ok := s == "openid" || slices.Contains(claims.Scopes(), s) && slices.Contains(scopesOf(c), s)
		switch {
		case ok:
			kept = append(kept, s)
		case c.Profile != relying.Signicat:
			return bad("invalid_scope", "A scope is not known, or not the client's.")
		default:
			q.ignore("scope", s)
		}
	}
	q.Scopes = kept
	return nil
}

// wordShape has no digits, so that no number of anybody gets into a note.
var wordShape = regexp.MustCompile(`^[A-Za-z][A-Za-z_-]{0,39}$`)

// ignore notes that a word of a parameter has no effect.
func (q *request) ignore(name, word string) {
	if !wordShape.MatchString(word) {
		word = "?"
	}
	if word = name + " " + word; len(q.Ignored) < 16 && !slices.Contains(q.Ignored, word) {
		q.Ignored = append(q.Ignored, word)
	}
}

// login uses a login that this browser has, or begins one.
func (p *Provider) login(w http.ResponseWriter, r *http.Request, c *relying.Client, q *request) error {
	ctx := r.Context()
	account, err := p.c.Accounts.Account(ctx, c.Account)
	if err != nil {
		return fmt.Errorf("account of client: %w", err)
	}
	choice := claims.Choose(q.ACR, q.Sealed, c, p.eids(account, c.Environment))
	pinned, wrong := q.pinned(choice, p.c.Now())
	if wrong != nil {
		return p.answer(w, r, c, q, failure(wrong.Code, wrong.Text))
	}
	had, err := p.earlier(r, c, q)
	if err != nil {
		return err
	}
	if done, err := p.reuse(w, r, c, account, q, had, choice, pinned); done || err != nil {
		return err
	}
	if had != nil {
		q.Before = before{SID: had.ID, Subject: had.sub}
	}
	if q.prompts("none") {
		return p.answer(w, r, c, q, failure("login_required", "Nobody is logged in in this browser in the way that is asked for."))
	}
	if len(choice.EIDs) == 0 {
		return p.answer(w, r, c, q, failure("temporarily_unavailable", "No eID is configured that the client may use."))
	}
	if err := p.admit(r, c, account, "login"); err != nil {
		return err
	}
	if strings.HasPrefix(q.Hint, "sandbox:") && c.Environment == eid.Test && p.c.Marker != nil && p.c.Marker(q.Hint) != nil {
		q.ignore("login_hint", q.Hint)
	}
	h, browser := p.c.Browser(w, r)
	n, err := p.session(c, account, q, choice, pinned, h)
	if err != nil {
		return err
	}
	if c.Environment == eid.Test && len(q.Ignored) > 0 {
		w.Header().Set("X-Eidgate-Warning", "no effect: "+strings.Join(q.Ignored, ", "))
	}
	if p.c.Straight(r) {
		v, err := p.c.Broker.Enter(ctx, *n, browser)
		if err != nil {
			return err
		}
		if v != nil {
			return p.c.Onward(w, r, v)
		}
	} else if _, err := p.c.Broker.Create(ctx, *n); err != nil {
		return err
	}
	w.Header().Set("Location", n.Spec.Page)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// page is the address of a session's page.
func page(session string) string { return Root + "/login/" + session + "/" }

// nbidHint is what login_hint may say to Norwegian BankID: its method, and no
// number, which an address that anybody can make must not name.
var nbidHint = regexp.MustCompile(`^(BID|BIS|BIM)$`)

// numberHint is what login_hint may say to Swedish BankID, in the words that
// Signicat's clients have for it.
var numberHint = regexp.MustCompile(`^(?:(?:subject-|nin:)(.*)|([0-9+-]{10,}))$`)

// pinned is the person whom login_hint names to Swedish BankID; "" for nobody
// (§13.3). It counts only where no browser can have written it. A client that
// means somebody and says it wrong is told so: else anybody could log in.
func (q *request) pinned(choice claims.Choice, now time.Time) (eid.Number, *wireError) {
	hint := numberHint.FindStringSubmatch(q.Hint)
	if hint == nil || !q.Sealed || !slices.Equal(choice.EIDs, []eid.EID{eid.BankIDSE}) {
		return "", nil
	}
	number, err := claims.Person(eid.BankIDSE, hint[1]+hint[2], now)
	if err != nil {
		return "", bad("invalid_request", "login_hint must have a personal number in 12 digits.")
	}
	return eid.Number(number), nil
}

// place is what the policy of a page that leads to an address calls it.
func place(u *url.URL) string {
	if u.Host == "" { // an app's own scheme
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}

// session is what the broker makes for the browser that asks.
func (p *Provider) session(c *relying.Client, a *relying.Account, q *request, choice claims.Choice, pinned eid.Number, h broker.Handle) (*broker.NewSession, error) {
	payload, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	back, err := url.Parse(q.Redirect)
	if err != nil {
		return nil, err // it is registered
	}
	id := p.c.NewID()
	spec := broker.Spec{Wanted: q.wanted(c), Pinned: pinned, Party: c.Name, Host: back.Hostname(), Params: choice.Params, Frames: c.FrameAncestor, Layout: a.Look(c.Layout),
		Next: []string{place(back)}, Page: page(id), Payload: payload}
	if marker, ok := strings.CutPrefix(q.Hint, "sandbox:"); ok && c.Environment == eid.Test {
		spec.Marker = "sandbox:" + marker
	}
	if len(choice.EIDs) == 1 && choice.EIDs[0] == eid.BankIDNO && nbidHint.MatchString(q.Hint) {
		spec.Params = maps.Clone(spec.Params)
		if spec.Params == nil {
			spec.Params = map[string]string{}
		}
		spec.Params["login_hint"] = q.Hint
	}
	for _, e := range choice.EIDs {
		spec.Methods = append(spec.Methods, broker.Method{Name: claims.IDP(e), EID: e, Mode: mode(e, choice), Country: countries[e]})
	}
	n := &broker.NewSession{ID: id, Handle: h, API: Name, Purpose: q.use(c).Purpose(), Language: language(q.Locales, a.Language),
		Caller: relying.Caller{Account: a, Key: relying.Key{ID: "client " + c.ID, Account: a.ID, Environment: c.Environment}}, Spec: spec}
	if len(choice.Text) > 0 {
		n.Texts, n.Spec.Format = &connector.Texts{Visible: choice.Text, Format: choice.Format}, choice.Format
	}
	for _, key := range choice.Ignored {
		q.ignore("acr_values", key)
		p.c.Ignored(claims.Known(key))
	}
	for _, word := range q.Ignored {
		n.Notes = append(n.Notes, word+" has no effect")
	}
	return n, nil
}

// countries are those whose chooser lists an eID.
var countries = map[eid.EID]string{eid.BankIDSE: "se", eid.IDIN: "nl", eid.BankIDNO: "no", eid.MitID: "dk", eid.NemID: "dk", eid.Itsme: "be"}

// mode is how an eID begins. BankID asks on which device, unless it is told.
func mode(e eid.EID, c claims.Choice) string {
	switch {
	case e != eid.BankIDSE:
		return ""
	case c.Mode != "":
		return c.Mode
	}
	return "other"
}

// language is the first of ui_locales that pages have, else the account's.
func language(locales, account string) string {
	for _, l := range words(locales) {
		code, _, _ := strings.Cut(strings.ToLower(l), "-")
		if code == "no" || code == "nn" {
			code = "nb"
		}
		if slices.Contains([]string{"en", "da", "de", "fi", "fr", "nb", "nl", "sv"}, code) {
			return code
		}
	}
	return account
}

// failure is an answer that says what went wrong.
func failure(code, text string) url.Values {
	v := url.Values{"error": {code}}
	if text = plain(text); text != "" {
		v.Set("error_description", text)
	}
	return v
}

// addressed puts into an answer what every answer has (RFC 9207), and signs it
// if the client wants that (JARM).
func (p *Provider) addressed(c *relying.Client, q *request, fields url.Values) (url.Values, error) {
	if q.State != "" {
		fields.Set("state", q.State)
	}
	fields.Set("iss", p.issuer)
	if !strings.HasSuffix(q.Mode, ".jwt") {
		return fields, nil
	}
	body := claims.Object{{Name: "aud", Value: c.ID}, {Name: "exp", Value: int(p.c.Now().Add(answerLife).Unix())}}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		body = append(body, claims.Claim{Name: name, Value: fields.Get(name)})
	}
	raw, err := body.MarshalJSON()
	if err != nil {
		return nil, err
	}
	token, err := p.c.Keys().Sign(signedWith(c, c.IDTokenAlg), "JWT", raw)
	return url.Values{"response": {token}}, err
}

// answerLife is how long a signed answer may be on its way.
const answerLife = 2 * time.Minute

// answer sends the browser back with fields, in the way that was asked for.
func (p *Provider) answer(w http.ResponseWriter, r *http.Request, c *relying.Client, q *request, fields url.Values) error {
	l, err := p.leaving(c, q, fields)
	if err != nil {
		return err
	}
	if l.Post != nil {
		return p.c.Post(w, r, l.URL, l.Post, c.FrameAncestor)
	}
	w.Header().Set("Location", l.URL)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// withQuery adds to the query that an address has, and leaves that as it is.
func withQuery(address string, fields url.Values) string {
	join := "?"
	if strings.Contains(address, "?") {
		join = "&"
	}
	return address + join + fields.Encode()
}
