// Package openid is what connectors of eIDs that speak OpenID Connect have in
// common: a person goes to the provider and comes back with a code, which is
// spent once; what comes for it is kept before anybody reads it. What one eID
// asks for and how it names people is its Dialect.
package openid

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/cache"
	"eidgate/internal/circuit"
	"eidgate/internal/oidcrp"
)

// A Dialect is one eID.
type Dialect struct {
	EID   eid.EID
	Modes []string // of connector.Info; none: ""
	// Stranded is after how long nobody is expected back: some providers leave
	// people on a page of their own when something goes wrong. 0 for as long as
	// the session lives.
	Stranded time.Duration
	// Read reads one version of the settings. It may keep what it likes in what
	// it returns, which serves many logins at once.
	Read func(raw json.RawMessage, now func() time.Time) (Agreement, error)
}

// Check finds what is wrong with settings before anybody uses them.
func (d Dialect) Check(settings any) error {
	raw, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	a, err := d.Read(raw, time.Now)
	if err != nil {
		return err
	}
	conf, err := a.Config()
	if err != nil {
		return err
	}
	_, err = oidcrp.New(conf, nil)
	return err
}

// An Agreement is what one party has agreed on with the provider.
type Agreement interface {
	// Config is the relying party.
	Config() (oidcrp.Config, error)
	// Ask says what is asked for; RedirectURI is filled in afterwards. A Fail is a
	// request that cannot be.
	Ask(r *connector.Request) (oidcrp.Request, *connector.Fail)
	// Refused says what a no of the provider means.
	Refused(no *oidcrp.Refused) connector.Fail
	// Person reads what was told, and says who it is, or why nobody is confirmed.
	Person(ctx context.Context, r *connector.Request, t Told) (*Person, error)
}

// Told is what the provider has told of a person.
type Told struct {
	Client *oidcrp.Client
	Tokens *oidcrp.Tokens
	Now    time.Time
}

// A Person is who has logged in, with what proves it.
type Person struct {
	Identity *eid.Identity
	Evidence []eid.Evidence // beside the ID token
}

// No is an error that ends a login with a known reason.
type No struct{ Fail connector.Fail }

func (n *No) Error() string { return "nobody is confirmed: " + string(n.Fail.Reason) }

// Refuse makes a No.
func Refuse(reason eid.Reason, code string) error {
	return &No{connector.Fail{Reason: reason, Code: code}}
}

// A Connector is one eID for any number of parties.
type Connector struct {
	// Watch, if any, learns of each request: begin, token or userinfo.
	Watch func(operation, result string, took time.Duration)
	// Circuits keep calls away from a provider that does not answer; nil for none.
	Circuits *circuit.Board

	d       Dialect
	now     func() time.Time
	dir     *oidcrp.Directory
	clients *cache.Cache[string, *client]
}

// A client is one version of the settings.
type client struct {
	Agreement
	rp *oidcrp.Client
}

// SignalAsked names, among an identity's Signals, the attributes that a party
// had the eID asked for.
const SignalAsked = "asked"

// maxClients is how many settings stay built; the ones that are not used are
// forgotten first.
const maxClients = 1024

// Transport is how providers are reached, for the Directory of a process. roots
// are whom it believes; nil for the system's.
func Transport(roots *x509.CertPool) http.RoundTripper {
	return &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second}
}

// New makes a connector. What providers publish comes from dir.
func New(d Dialect, now func() time.Time, dir *oidcrp.Directory) *Connector {
	return &Connector{d: d, now: now, dir: dir, clients: cache.New[string, *client](maxClients)}
}

// Info implements connector.Connector.
func (c *Connector) Info() connector.Info {
	modes := c.d.Modes
	if modes == nil {
		modes = []string{""}
	}
	return connector.Info{EID: c.d.EID, Purposes: []eid.Purpose{eid.Identify}, Modes: modes, Breakout: true, Leaves: true, Free: true, Anywhere: true, Deadline: 25 * time.Second}
}

// maxState bounds what Locate takes for a name.
const maxState = 128

// Locate implements connector.Locator: a browser names its order by state.
func (c *Connector) Locate(in connector.Inbound) (connector.Ref, error) {
	q := in.Query["state"]
	if len(q) != 1 || q[0] == "" || len(q[0]) > maxState {
		return "", errors.New("not a return of an OpenID login")
	}
	return ref(q[0]), nil
}

// ref is the name of an order: not state itself, which is a secret until the
// browser is back.
func ref(state string) connector.Ref {
	sum := sha256.Sum256([]byte(state))
	return connector.Ref("state:" + base64.RawURLEncoding.EncodeToString(sum[:16]))
}

func (c *Connector) client(s connector.Settings) (*client, error) {
	if found, ok := c.clients.Get(s.Key); ok {
		return found, nil
	}
	a, err := c.d.Read(s.Data, c.now)
	if err != nil {
		return nil, &connector.Unknown{Reason: eid.Refused, Err: err}
	}
	conf, err := a.Config()
	if err != nil {
		return nil, &connector.Unknown{Reason: eid.Refused, Err: err}
	}
	conf.Circuits = c.Circuits
	rp, err := oidcrp.New(conf, c.dir)
	if err != nil {
		return nil, &connector.Unknown{Reason: eid.Refused, Err: err}
	}
	built := &client{a, rp}
	c.clients.Put(s.Key, built)
	return built, nil
}

// A state is what an order must remember between two calls.
type state struct {
	Login  *oidcrp.Login `json:"login"`
	URL    string        `json:"url"`
	Until  time.Time     `json:"until,omitzero"` // when nobody is expected any more
	Answer []byte        `json:"-"`              // stands behind the JSON
	Got    time.Time     `json:"got,omitzero"`   // when it came

	Foreign bool `json:"foreign,omitempty"` // the browser that came back is not the one that began
	Asks    bool `json:"asks,omitempty"`    // confirmed; the person must say there that it was them
}

func (s *state) bytes() []byte {
	return connector.MarshalBefore(s, s.Answer)
}

// readState reads what bytes wrote.
func readState(raw []byte) (*state, error) {
	var s state
	answer, err := connector.UnmarshalBefore(raw, &s)
	if err != nil || s.Login == nil {
		return nil, errors.New("stored state of an OpenID login is not readable")
	}
	s.Answer = answer
	return &s, nil
}

// Begin implements connector.Connector.
func (c *Connector) Begin(ctx context.Context, r *connector.Request) (connector.Result, error) {
	cl, err := c.client(r.Settings)
	if err != nil {
		return connector.Result{}, err
	}
	ask, no := cl.Ask(r)
	if no != nil {
		return connector.Result{Step: *no}, nil
	}
	ask.RedirectURI = r.CallbackURL
	start := time.Now()
	address, login, err := cl.rp.Begin(ctx, ask)
	c.watch("begin", start, err)
	if err != nil {
		return c.notBegun(cl, err)
	}
	s := &state{Login: login, URL: address}
	if c.d.Stranded > 0 {
		s.Until = c.now().Add(c.d.Stranded)
	}
	res := c.stay(s)
	res.Refs = []connector.Ref{ref(login.State)}
	return res, nil
}

// stay leaves everything as it is.
func (c *Connector) stay(s *state) connector.Result {
	res := connector.Result{Step: connector.Redirect{URL: s.URL, Renews: pushed(s.URL)}, State: s.bytes(), Due: s.Until}
	switch {
	case s.Asks:
		res.Step, res.Due = connector.Wait{Hint: "openid.asks", Asks: true}, time.Time{}
	case s.Answer != nil:
		res.Step, res.Due = connector.Again{}, time.Time{}
	}
	return res
}

// pushed says whether an address names a request that was pushed, which is good
// once, or for a minute.
func pushed(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Query().Has("request_uri")
}

// renew makes another address, for a browser that goes away again.
func (c *Connector) renew(ctx context.Context, cl *client, r *connector.Request, s *state) (connector.Result, error) {
	ask, no := cl.Ask(r)
	if no != nil {
		return connector.Result{Step: *no, State: s.bytes()}, nil
	}
	start := time.Now()
	address, err := cl.rp.Again(ctx, ask, s.Login)
	c.watch("begin", start, err)
	if err != nil {
		return c.notBegun(cl, err)
	}
	s.URL = address
	return c.stay(s), nil
}

// Resume implements connector.Connector.
func (c *Connector) Resume(ctx context.Context, r *connector.Request, raw []byte, e connector.Event) (connector.Result, error) {
	s, err := readState(raw)
	if err != nil {
		return connector.Result{}, err
	}
	cl, err := c.client(r.Settings)
	if err != nil {
		return connector.Result{}, err
	}
	switch e := e.(type) {
	case connector.Returned:
		switch {
		case s.Answer == nil && !s.Asks:
			return c.returned(ctx, cl, r, s, e)
		case e.In.Query.Get("state") != s.Login.State: // any login's name can be guessed at, but not that
		case s.Asks && !e.Foreign:
			return connector.Result{Step: connector.Done{}, State: s.bytes()}, nil
		case s.Asks && e.In.Method == http.MethodPost:
			return connector.Result{Step: connector.Done{}, State: s.bytes(), Binding: eid.Weak, Notes: []string{"the person says in another browser that it was them"}}, nil
		default: // the browser that began counts, whoever looked before it
			s.Foreign = s.Foreign && e.Foreign
		}
	case connector.Submitted:
		if s.Answer == nil && !s.Asks && e.Values.Has("go") {
			return c.renew(ctx, cl, r, s)
		}
	case connector.Tick:
		switch {
		case s.Answer != nil && !s.Asks:
			return c.read(ctx, cl, r, s)
		case !s.Until.IsZero() && !c.now().Before(s.Until):
			return connector.Result{Step: connector.Fail{Reason: eid.Expired, Code: "stranded", Retry: true}, State: s.bytes()}, nil
		}
	case connector.Expired:
		reason := eid.Expired
		if s.Asks {
			reason = eid.BrowserNotReturned
		}
		return connector.Result{Step: connector.Fail{Reason: reason}, State: s.bytes()}, nil
	}
	return c.stay(s), nil
}

// returned has a browser that comes from the provider: its code is spent at
// once, and what comes for it kept unread.
func (c *Connector) returned(ctx context.Context, cl *client, r *connector.Request, s *state, e connector.Returned) (connector.Result, error) {
	code, err := cl.rp.Answer(s.Login, e.In.Query)
	if err != nil {
		return c.answered(cl, s, err)
	}
	start := time.Now()
	raw, err := cl.rp.Redeem(ctx, s.Login, code)
	c.watch("token", start, err)
	if err != nil {
		if no, ok := errors.AsType[*oidcrp.Refused](err); ok && no.Code == "invalid_grant" && r.Repeated { // spent by a node that died with the answer
			return connector.Result{Step: connector.Fail{Reason: eid.OutcomeUnknown, Code: "no_answer"}, State: s.bytes()}, nil
		}
		return c.failed(cl, err, true)
	}
	s.Answer, s.Got, s.Foreign = raw, c.now(), e.Foreign
	return c.stay(s), nil
}

// answered is for an answer without a code. One that another page can have made
// up changes nothing: the person may still be at the provider.
func (c *Connector) answered(cl *client, s *state, err error) (connector.Result, error) {
	if no, ok := errors.AsType[*oidcrp.Refused](err); ok {
		return connector.Result{Step: cl.Refused(no), State: s.bytes()}, nil
	}
	e, _ := errors.AsType[*oidcrp.Error](err)
	if e != nil && e.Kind == oidcrp.MixUp {
		return connector.Result{Step: connector.Fail{Reason: eid.BadProof, Code: string(e.Kind)}, State: s.bytes()}, nil
	}
	res := c.stay(s)
	res.Notes = []string{"a return that is no answer"}
	return res, nil
}

// read makes a person of what was kept.
func (c *Connector) read(ctx context.Context, cl *client, r *connector.Request, s *state) (connector.Result, error) {
	tokens, err := cl.rp.Read(ctx, s.Login, s.Answer, s.Got)
	if err != nil {
		return c.failed(cl, err, false)
	}
	start := time.Now()
	p, err := cl.Person(ctx, r, Told{cl.rp, tokens, s.Got})
	if _, no := errors.AsType[*No](err); !no {
		c.watch("userinfo", start, err)
	}
	if err != nil {
		return c.failed(cl, err, false)
	}
	p.Identity.EID, p.Identity.At = c.d.EID, s.Got
	if r.Pinned != "" && p.Identity.Number != r.Pinned {
		return connector.Result{Step: connector.Fail{Reason: eid.WrongPerson, Code: "another_person"}}, nil
	}
	if r.Wanted != nil { // what was asked for and not told will not be told the next time either
		if p.Identity.Signals == nil {
			p.Identity.Signals = map[string]string{}
		}
		p.Identity.Signals[SignalAsked] = strings.Join(r.Wanted, " ")
	}
	evidence := append([]eid.Evidence{{Name: "id_token", Type: "application/jwt", Data: []byte(tokens.Signed)}}, p.Evidence...)
	res := connector.Result{Step: connector.Done{}, Confirmed: p.Identity, Evidence: evidence}
	if s.Foreign {
		s.Asks, s.Answer = true, nil // what it held is kept as evidence now
		res.Step, res.State = connector.Wait{Hint: "openid.asks", Asks: true}, s.bytes()
	}
	return res, nil
}

// notBegun is failed for a login that has not begun: nobody waits until a
// provider that does not answer is called again.
func (c *Connector) notBegun(cl *client, err error) (connector.Result, error) {
	if _, open := errors.AsType[*circuit.Open](err); open {
		return connector.Result{Step: connector.Fail{Reason: eid.Unavailable, Code: string(oidcrp.Unreachable), Retry: true}}, nil
	}
	return c.failed(cl, err, false)
}

// failed sorts what went wrong. once says that what was sent works one time only.
func (c *Connector) failed(cl *client, err error, once bool) (connector.Result, error) {
	if no, ok := errors.AsType[*No](err); ok {
		return connector.Result{Step: no.Fail}, nil
	}
	if no, ok := errors.AsType[*oidcrp.Refused](err); ok {
		return connector.Result{Step: cl.Refused(no)}, nil
	}
	e, ok := errors.AsType[*oidcrp.Error](err)
	if !ok {
		return connector.Result{}, err
	}
	fail := func(r eid.Reason) (connector.Result, error) {
		return connector.Result{Step: connector.Fail{Reason: r, Code: string(e.Kind)}}, nil
	}
	switch e.Kind {
	case oidcrp.Unreachable, oidcrp.Timeout, oidcrp.BadStatus, oidcrp.NoKeys:
		if once && e.Sent {
			return fail(eid.OutcomeUnknown)
		}
		if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden { // what it gave us it will take the next time no more than now
			return connector.Result{Step: connector.Fail{Reason: eid.Unavailable, Code: string(e.Kind), Retry: true}}, nil
		}
		return connector.Result{}, &connector.Unknown{Reason: eid.Unavailable, Repeat: true, After: circuit.Pause(err, time.Second), Err: err}
	case oidcrp.Redirected, oidcrp.TooLarge, oidcrp.ContentType, oidcrp.BadMetadata, oidcrp.BadResponse, oidcrp.BadUserInfo, oidcrp.Missing, oidcrp.Duplicate:
		return fail(eid.BadAnswer)
	case oidcrp.BadConfig:
		return fail(eid.Refused)
	default: // issuer, nonce, audience, signature, encryption, subject …
		return fail(eid.BadProof)
	}
}

// watch tells how a request went that was made.
func (c *Connector) watch(operation string, start time.Time, err error) {
	if _, open := errors.AsType[*circuit.Open](err); open || c.Watch == nil {
		return
	}
	result := "ok"
	e, _ := errors.AsType[*oidcrp.Error](err)
	switch {
	case e != nil && e.Kind == oidcrp.Timeout:
		result = "timeout"
	case e != nil:
		result = "error"
	case err != nil:
		result = "refused"
	}
	c.Watch(operation, result, time.Since(start))
}

var _ connector.Locator = (*Connector)(nil)
