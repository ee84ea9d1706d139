// Package idin lets people identify with iDIN, the eID of the Dutch banks: it
// shows the banks, starts a transaction at the chosen one, and asks for its
// result as soon as the browser is back, since data are given once and for 30 s
// (docs/protocols/idin.md §7). A point of service shows a code instead, which a
// phone scans (docs/protocols/idinqr.md).
//
// Each transaction is owed a final status, whoever stays away: what is left of
// that when a session ends is a duty, which holds nothing of the person. A
// result that comes without a browser logs nobody in.
package idin

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/cache"
	"eidgate/internal/circuit"
	"eidgate/protocol/idin"
	"eidgate/protocol/idinqr"
)

// A Connector is iDIN for any number of contracts.
type Connector struct {
	// Watch, if any, learns of each request to the routing service: directory,
	// transaction or status, or generate of the QR back-end.
	Watch func(operation, result string, took time.Duration)
	// Circuits keep calls away from a service that does not answer; nil for none.
	Circuits *circuit.Board

	now       func() time.Time
	transport *http.Transport
	clients   *cache.Cache[string, *client]
	cpu       *semaphore.Weighted // decryption: one RSA operation an attribute
	down      *cache.Cache[downKey, time.Time]
}

// downKey names a bank as a contract reaches it.
type downKey struct{ settings, issuer string }

const (
	downFor    = time.Minute     // a bank that could not be reached is shown so
	statusTime = 8 * time.Second // of a status request on the return: an answer must come while it counts
	callTime   = 15 * time.Second
)

// New makes a connector whose clock is now.
func New(now func() time.Time) *Connector {
	return &Connector{now: now, clients: cache.New[string, *client](1024), cpu: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))),
		down: cache.New[downKey, time.Time](4096),
		transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second}}
}

// Trust says whom to believe to be the eID; nil for the system's roots. It comes
// before every other call.
func (c *Connector) Trust(roots *x509.CertPool) {
	c.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

// Info implements connector.Connector.
func (*Connector) Info() connector.Info {
	return connector.Info{EID: eid.IDIN, Purposes: []eid.Purpose{eid.Identify}, Modes: []string{""}, Breakout: true, Leaves: true, Anywhere: true,
		Deadline: callTime + 5*time.Second}
}

// List implements connector.Lister: the directory (docs/protocols/idin.md §3).
func (c *Connector) List(ctx context.Context, s connector.Settings) (*connector.List, error) {
	cl, err := c.client(s)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	d, err := cl.api.Directory(ctx)
	c.watch("directory", start, err)
	if err != nil {
		return nil, err
	}
	out := &connector.List{Changed: d.At}
	for _, country := range d.Countries {
		g := connector.Group{Name: country.Name}
		for _, i := range country.Issuers {
			g.Entries = append(g.Entries, connector.Entry{ID: i.ID, Name: i.Name})
		}
		out.Groups = append(out.Groups, g)
	}
	return out, nil
}

// watch tells how a request went that was made.
func (c *Connector) watch(operation string, start time.Time, err error) {
	if _, open := errors.AsType[*circuit.Open](err); open || c.Watch == nil {
		return
	}
	result := "ok"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		result = "timeout"
	case errors.Is(err, idin.ErrTransport):
		result = "error"
	case err != nil:
		result = "refused"
	}
	c.Watch(operation, result, time.Since(start))
}

// transactionForm is a transactionID (docs/protocols/idin.md §4).
var transactionForm = regexp.MustCompile(`^[0-9]{16}$`)

// Locate implements connector.Locator: a browser names its transaction, the QR
// back-end its code.
func (*Connector) Locate(in connector.Inbound) (connector.Ref, error) {
	if strings.Trim(in.Path, "/") == "qr" {
		return locateCode(in)
	}
	ids := in.Query["trxid"]
	if len(ids) != 1 || !transactionForm.MatchString(ids[0]) || len(in.Query["ec"]) != 1 {
		return "", errors.New("not a return from iDIN")
	}
	return connector.Ref(ids[0]), nil
}

// Screen implements connector.Screener: a browser shows the entrance code, the
// QR back-end a hash. The numbers that Locate goes by are on screens, or can be
// guessed.
func (c *Connector) Screen(set connector.Settings, raw []byte, in connector.Inbound) *connector.Reply {
	s, err := readState(raw)
	if err != nil {
		return nil
	}
	if strings.Trim(in.Path, "/") != "qr" {
		if !s.entered(in) {
			return reply(http.StatusNotFound, idinqr.Refusal("not a return from iDIN"))
		}
		return nil
	}
	cl, err := c.client(set)
	if err != nil {
		return nil
	}
	if _, err := idinqr.ReadCall(in.Body, in.Header.Get(idinqr.HashHeader), cl.key); errors.Is(err, idinqr.ErrHash) {
		return reply(http.StatusUnauthorized, idinqr.Refusal("the hash does not fit"))
	}
	return nil
}

// entered says whether a browser shows the order's entrance code.
func (s *state) entered(in connector.Inbound) bool {
	return s.ID != "" && subtle.ConstantTimeCompare([]byte(in.Query.Get("ec")), []byte(s.Entrance)) == 1
}

// Begin implements connector.Connector.
func (c *Connector) Begin(ctx context.Context, r *connector.Request) (connector.Result, error) {
	cl, err := c.client(r.Settings)
	if err != nil {
		return connector.Result{}, err
	}
	service, fail := cl.service(r)
	if fail != nil {
		return connector.Result{Step: *fail}, nil
	}
	if cl.qr != nil && r.Input.Get("choose") == "code" {
		return c.show(ctx, cl, &state{Service: service}, nil)
	}
	issuer, fail := chosen(r, r.Input.Get("issuer"))
	if fail != nil {
		return connector.Result{Step: *fail}, nil
	}
	return c.start(ctx, cl, r, &state{Issuer: issuer, Service: service})
}

// service is what to ask the bank for: what is wanted, as far as the contract
// covers it (docs/protocols/idin.md §6). For an age nothing else is asked.
func (cl *client) service(r *connector.Request) (idin.ServiceID, *connector.Fail) {
	var id idin.ServiceID
	for _, w := range r.Wanted {
		id |= services[w]
	}
	if r.Purpose == eid.Age {
		if id&^idin.BIN != idin.Adult {
			return 0, &connector.Fail{Reason: eid.BadRequest, Code: "age_alone"}
		}
	} else {
		id |= idin.BIN
	}
	if cl.set.Services != 0 {
		covered := idin.ServiceID(0)
		for _, g := range id.Groups() {
			if idin.ServiceID(cl.set.Services).Has(g) {
				covered |= g
			}
		}
		if r.Purpose == eid.Age && covered&idin.Adult == 0 || r.Purpose != eid.Age && covered&idin.BIN == 0 {
			return 0, &connector.Fail{Reason: eid.BadRequest, Code: "not_in_contract"}
		}
		id = covered
	}
	if !id.Valid() {
		return 0, &connector.Fail{Reason: eid.BadRequest, Code: "birth_and_adult"}
	}
	return id, nil
}

// services are the groups of attributes that bring what a party may want.
var services = map[string]idin.ServiceID{
	eid.WantID: idin.BIN, eid.WantName: idin.Name, eid.WantAddress: idin.Address, eid.WantBirth: idin.Birth, eid.WantAdult: idin.Adult,
	eid.WantGender: idin.Gender, eid.WantPhone: idin.Phone, eid.WantEmail: idin.Mail,
}

// start begins a transaction at a bank. What was sent and not answered may
// exist there and is nobody's; another try has other references (§15.1).
func (c *Connector) start(ctx context.Context, cl *client, r *connector.Request, s *state) (connector.Result, error) {
	now := c.now()
	life := cl.set.Expiration
	if life == 0 {
		life = 5 * time.Minute
	}
	s.Reference, s.Entrance = idin.NewReference(), cl.entrance()
	language := spoken(r)
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	began := time.Now()
	started, err := cl.api.Start(call, idin.Transaction{Issuer: s.Issuer, ReturnURL: r.CallbackURL, EntranceCode: s.Entrance,
		Reference: s.Reference, Language: language, Service: s.Service, Expiration: life, Now: now})
	c.watch("transaction", began, err)
	if err != nil {
		fail := refused(err, language)
		if _, open := errors.AsType[*circuit.Open](err); !open && fail.Reason == eid.Unavailable {
			c.down.Put(downKey{r.Settings.Key, s.Issuer}, now)
		}
		e, _ := errors.AsType[*idin.Error](err)
		return connector.Result{Step: fail, Stale: e != nil && e.Retry() == idin.RetryDirectory}, nil
	}
	s.Phase, s.ID, s.URL, s.Began, s.Until = atBank, started.TransactionID, started.URL, now, now.Add(life)
	res := connector.Result{Step: connector.Redirect{URL: s.URL}, State: s.bytes(), Refs: []connector.Ref{connector.Ref(s.ID)}, Due: s.due(cl)}
	if s.Code != nil {
		res.Step = s.step()
	}
	return res, nil
}

// entrance is a new entrance code, with the marker of a test in it.
func (cl *client) entrance() string {
	code := idin.NewEntranceCode()
	if m := cl.set.Marker; m != "" {
		return code[:40-len(m)] + m
	}
	return code
}

// spoken is the language that the bank's pages and messages are asked for in:
// one of the two that the scheme uses.
func spoken(r *connector.Request) string {
	if r.Language == "nl" {
		return "nl"
	}
	return "en"
}

// refused says how an attempt ends whose transaction, in a language, could not be
// started.
func refused(err error, language string) connector.Fail {
	if e, ok := errors.AsType[*idin.Error](err); ok {
		switch e.Retry() {
		case idin.RetryElsewhere, idin.RetryDirectory, idin.RetryLater:
			return connector.Fail{Reason: eid.Unavailable, Code: e.Code, Text: e.Consumer, Lang: language, Retry: true}
		case idin.RetryNever:
		}
		return connector.Fail{Reason: eid.Refused, Code: code4(e)}
	}
	if e, ok := errors.AsType[*idin.RefusedError](err); ok {
		return distrusted(e)
	}
	if errors.Is(err, idin.ErrRequest) {
		return connector.Fail{Reason: eid.BadRequest, Code: "not_sent"}
	}
	return connector.Fail{Reason: eid.Unavailable, Code: "no_answer", Retry: true}
}

// code4 is the upstream's word: the errorCode, or the SAML status behind it.
func code4(e *idin.Error) string {
	if e.SAML.Second != "" {
		return strings.TrimPrefix(e.Code+":"+e.SAML.Second, ":")
	}
	return e.Code
}

// distrusted is an answer that must not be believed.
func distrusted(e *idin.RefusedError) connector.Fail {
	f := connector.Fail{Reason: eid.BadProof, Code: string(e.Reason)}
	if slices.Contains(unreadable, e.Reason) {
		f.Reason = eid.BadAnswer
	}
	return f
}

// unreadable are the reasons that speak of a mistake, not of a lie.
var unreadable = []idin.Reason{idin.ReasonRoot, idin.ReasonVersion, idin.ReasonShape, idin.ReasonTime, idin.ReasonStatus, idin.ReasonAttribute,
	idin.ReasonDuplicate, idin.ReasonDelivered, idin.ReasonURL}

// due is when the order wants to be looked at without anybody's doing.
func (s *state) due(cl *client) time.Time {
	switch {
	case s.Phase == counter:
		return s.Code.Expires
	case s.Phase == open && cl.set.RetryOpen && s.Tries < len(retries):
		return s.Asked.Add(retries[s.Tries])
	case s.Phase == atBank && cl.set.ThreeMinutes && !s.Third:
		return s.Began.Add(3 * time.Minute)
	case s.Phase == atBank || s.Phase == open:
		return s.last()
	}
	return time.Time{}
}

// retries are the pauses between status requests after a return that was too
// early, where the acquirer allows them (§12).
var retries = []time.Duration{2 * time.Second, 4 * time.Second, 6 * time.Second, 8 * time.Second}

// step is what a page shows in this state.
func (s *state) step() connector.Step {
	switch s.Phase {
	case atBank:
		if s.Code != nil {
			return connector.Wait{Hint: "idin.qr.scanned"}
		}
		return connector.Redirect{URL: s.URL}
	case open:
		return connector.Wait{Hint: "idin.open"}
	case asks:
		return connector.Wait{Hint: "idin.asks", Asks: true}
	case counter, rests:
		return s.Code.wait(s.Phase == rests)
	case answered:
		return connector.Again{}
	case lists: // Resume asks with what it knows of banks
	}
	return connector.Wait{Hint: "wait.working"}
}

// stay leaves everything as it is.
func (c *Connector) stay(cl *client, r *connector.Request, s *state) connector.Result {
	res := connector.Result{Step: s.step(), State: s.bytes(), Due: s.due(cl)}
	if s.Phase == lists {
		ask := c.Front(r)
		ask.Auto = false // the person has left the code for this
		res.Step = ask
	}
	return res
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
		return c.returned(ctx, cl, r, s, e)
	case connector.Called:
		return c.called(ctx, cl, r, s, e.In)
	case connector.Submitted:
		return c.submitted(ctx, cl, r, s, e.Values)
	case connector.Tick:
		return c.tick(ctx, cl, r, s)
	case connector.Expired:
		if s.Phase == asks {
			return connector.Result{Step: connector.Fail{Reason: eid.BrowserNotReturned}, State: s.bytes()}, nil
		}
		return connector.Result{Step: connector.Fail{Reason: eid.Expired}, State: s.bytes()}, nil
	}
	return c.stay(cl, r, s), nil
}

// returned has a browser that comes from the bank. What the address says is no
// result; it only lets us ask for one, once (§13).
func (c *Connector) returned(ctx context.Context, cl *client, r *connector.Request, s *state, e connector.Returned) (connector.Result, error) {
	now := c.now()
	if !s.entered(e.In) {
		res := c.stay(cl, r, s)
		res.Notes = []string{"a return with a wrong entrance code"}
		return res, nil
	}
	switch s.Phase {
	case asks:
		switch {
		case !e.Foreign:
			return connector.Result{Step: connector.Done{}, State: s.bytes()}, nil
		case e.In.Method == http.MethodPost:
			return connector.Result{Step: connector.Done{}, State: s.bytes(), Binding: eid.Weak, Notes: []string{"the person says in another browser that it was them"}}, nil
		}
	case atBank:
		s.Came, s.Foreign = now, e.Foreign
		return c.ask(ctx, cl, s, lost)
	default: // it has been dealt with
		s.Foreign = s.Foreign && e.Foreign // the browser that began counts, whoever looked before it
	}
	return c.stay(cl, r, s), nil
}

// ask fetches the status and keeps it before anybody looks at it: what is in
// it comes once. otherwise says how the attempt ends if no answer comes.
func (c *Connector) ask(ctx context.Context, cl *client, s *state, otherwise connector.Fail) (connector.Result, error) {
	call, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	s.Asked = c.now()
	start := time.Now()
	raw, err := cl.api.Status(call, s.ID)
	c.watch("status", start, err)
	if err != nil {
		if e, ok := errors.AsType[*idin.TransportError](err); ok && !e.Sent {
			return connector.Result{}, &connector.Unknown{Reason: eid.Unavailable, Repeat: true, After: circuit.Pause(err, time.Second), Err: err}
		}
		return connector.Result{Step: otherwise, State: s.bytes()}, nil
	}
	s.Phase, s.Answer, s.Got = answered, raw, c.now()
	return connector.Result{Step: connector.Again{}, State: s.bytes()}, nil
}

// lost is the end of an attempt whose status request was sent and brought no
// answer: the bank may have given the data away with it.
var lost = connector.Fail{Reason: eid.OutcomeUnknown, Code: "no_answer"}

// tick comes when a status is due, an answer is to be read, or a code is over.
func (c *Connector) tick(ctx context.Context, cl *client, r *connector.Request, s *state) (connector.Result, error) {
	now := c.now()
	switch s.Phase {
	case answered:
		return c.read(ctx, cl, r, s)
	case counter:
		if !now.Before(s.Code.Expires) {
			s.Phase = rests
		}
	case atBank:
		if cl.set.ThreeMinutes && !s.Third && !now.Before(s.Began.Add(3*time.Minute)) {
			s.Third = true
			res, err := c.ask(ctx, cl, s, lost)
			if err != nil { // nothing was sent: the person may be at the bank still, and the status is due when the time is over
				return c.stay(cl, r, s), nil
			}
			return res, nil
		}
		if !now.Before(s.last()) {
			return c.ask(ctx, cl, s, connector.Fail{Reason: eid.Expired, Code: "no_answer"})
		}
	case open:
		if !now.Before(s.due(cl)) {
			s.Tries++
			return c.ask(ctx, cl, s, lost)
		}
	default: // nothing is due
	}
	return c.stay(cl, r, s), nil
}
