// Package bankidse lets people identify themselves and sign with Swedish
// BankID: on the device that they browse on, or on another one by an animated
// code. docs/protocols/bankidse.md describes the protocol; § in comments
// refers to that file.
//
// The order's owner collects every two seconds and nobody else does, because
// a result is delivered once. It is persisted as it came (Again) before it is
// verified. Pages read View, which computes the code's frame of the moment.
package bankidse

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/cache"
	"eidgate/internal/circuit"
	"eidgate/natid"
	"eidgate/protocol/bankidse"
)

const (
	interval    = 2 * time.Second  // between two collects (§8)
	maxRenewals = 6                // of a code that nobody scanned: three minutes in all
	maxFailures = 5                // collects in a row without an answer
	maxSilence  = time.Minute      // without a collect, since the circuit is open
	abandoned   = 30 * time.Second // a page not seen for so long gets no new code
)

// A Connector speaks to BankID for all accounts of one environment.
type Connector struct {
	// Watch, if any, learns of each request to BankID: auth, sign, collect or
	// cancel, and whether it was ok, refused, an error or a timeout.
	Watch func(operation, result string, took time.Duration)
	// Circuits keep calls away from a BankID that does not answer; nil for none.
	Circuits *circuit.Board

	now       func() time.Time
	clients   *cache.Cache[string, *client]
	verifiers *cache.Cache[string, *bankidse.Verifier] // by their roots
	states    *cache.Cache[string, state]              // by their JSON: pages and collects read one several times
}

// New makes a connector. Clients are built from each request's settings and
// kept.
func New(now func() time.Time) *Connector {
	return &Connector{now: now, clients: cache.New[string, *client](256), verifiers: cache.New[string, *bankidse.Verifier](16), states: cache.New[string, state](4096)}
}

// Info implements connector.Connector.
func (c *Connector) Info() connector.Info {
	return connector.Info{EID: eid.BankIDSE, Purposes: []eid.Purpose{eid.Identify, eid.Sign},
		Modes: []string{onSame, onOther}, Polls: true, Deadline: 12 * time.Second}
}

// numberMax is how much a person may type as their number.
const numberMax = 20

// Front asks where the BankID is, shows what will be signed, and asks for the
// personal number where the account wants that. A page with scripts goes on
// by itself where there is nothing to decide.
func (c *Connector) Front(r *connector.Request) connector.Ask {
	f := connector.Form{Name: "bankidse.device"}
	def := onOther
	if r.Mode == onSame || mobile(r.Browser) {
		def = onSame
	}
	if r.Params["ask_personal_number"] != "" && r.Pinned == "" {
		f.Fields = append(f.Fields, connector.Field{Name: "personalnumber", Kind: connector.TextField,
			Hint: "bankidse.personalnumber.hint", Max: numberMax, Numeric: true})
	}
	device := connector.Field{Name: "device", Kind: connector.Choice, Default: def, Options: []connector.Option{
		{Value: onSame, Label: "bankidse.device.same"}, {Value: onOther, Label: "bankidse.device.other"}}}
	if r.Mode == onSame {
		device.Options = device.Options[:1]
	}
	if def == onOther {
		device.Options[0], device.Options[1] = device.Options[1], device.Options[0]
	}
	f.Fields = append(f.Fields, device)
	return connector.Ask{Form: f, Auto: len(f.Fields) == 1 && r.Purpose != eid.Sign && r.Browser.Device != ""}
}

func mobile(b connector.Browser) bool {
	return b.Device == connector.IOS || b.Device == connector.Android
}

// Begin implements connector.Connector.
func (c *Connector) Begin(ctx context.Context, r *connector.Request) (connector.Result, error) {
	s := &state{Device: r.Mode, System: string(r.Browser.Device), Pinned: string(r.Pinned)}
	if d := r.Input.Get("device"); d == onSame || d == onOther {
		s.Device = d
	} else if s.Device == "" || mobile(r.Browser) {
		s.Device = onOther
		if mobile(r.Browser) {
			s.Device = onSame
		}
	}
	if r.Params["ask_personal_number"] != "" && s.Pinned == "" && !r.Headless {
		info, err := natid.Parse("SE", r.Input.Get("personalnumber"), c.now())
		if err != nil {
			if typed := r.Input.Get("personalnumber"); len(typed) <= numberMax {
				s.Typed = typed
			}
			return c.ask(r, s), nil
		}
		s.Pinned = info.Normalized
	}
	return c.start(ctx, r, s, !r.Repeated)
}

// ask shows the form once more, whose number could not be read.
func (c *Connector) ask(r *connector.Request, s *state) connector.Result {
	ask := c.Front(r)
	ask.Auto, ask.Form.Error = false, "bankidse.personalnumber.error"
	ask.Form.Fields[0].Error, ask.Form.Fields[0].Default = "bankidse.personalnumber.error", s.Typed
	return connector.Result{State: s.bytes(), Step: ask}
}

// start makes an order. first is false where an order may have been started
// before without our knowing: then one answer "already in progress" is the
// echo of that, and both orders are gone.
func (c *Connector) start(ctx context.Context, r *connector.Request, s *state, first bool) (connector.Result, error) {
	cl, err := c.client(r.Settings)
	if err != nil {
		return connector.Result{}, err
	}
	s.Intent = intent(r)
	sent, err := c.texts(ctx, r, s)
	if err != nil {
		return connector.Result{}, err
	}
	s.Nonce = nonce()
	order, err := cl.order(ctx, r, s, sent)
	if code(err) == "alreadyinprogress" && !first {
		order, err = cl.order(ctx, r, s, sent)
	}
	if err != nil {
		return fault(s, err, r.Headless)
	}
	s.Ref, s.Token, s.QRToken, s.QRSecret = order.OrderRef, order.AutoStartToken, order.QRStartToken, order.QRStartSecret
	s.Began, s.Hint, s.Scanned, s.Rests, s.Failures, s.Silent = c.now(), "", false, false, 0, time.Time{}
	s.Linked = s.Device == onSame
	s.Launch = cl.launch(bankidse.Platform(s.System))
	return connector.Result{Step: c.step(s), State: s.bytes(), Refs: []connector.Ref{connector.Ref(s.Ref)},
		Due: c.now().Add(interval), Notes: []string{"order started"}}, nil
}

// step is what is committed; the code of the moment is View's affair.
func (c *Connector) step(s *state) connector.Step {
	w := s.wait(s.Began)
	w.QR = ""
	return w
}

// View implements connector.Viewer.
func (c *Connector) View(raw []byte, now time.Time) (connector.Wait, error) {
	s, err := c.read(raw)
	if err != nil {
		return connector.Wait{}, err
	}
	return s.wait(now), nil
}

// Cancel implements connector.Canceller.
func (c *Connector) Cancel(ctx context.Context, r *connector.Request, raw []byte) error {
	s, err := c.read(raw)
	if err != nil || s.Ref == "" || s.Rests || s.Answer != nil {
		return err
	}
	cl, err := c.client(r.Settings)
	if err != nil {
		return err
	}
	return cl.api.Cancel(ctx, s.Ref)
}

// Resume implements connector.Connector.
func (c *Connector) Resume(ctx context.Context, r *connector.Request, raw []byte, e connector.Event) (connector.Result, error) {
	s, err := c.read(raw)
	if err != nil {
		return connector.Result{}, err
	}
	switch ev := e.(type) {
	case connector.Submitted:
		return c.submitted(ctx, r, s, ev)
	case connector.Expired:
		return c.expired(ctx, r, s)
	case connector.Tick:
		if s.Answer != nil {
			return c.verify(ctx, r, s)
		}
		if s.Ref != "" && !s.Rests {
			return c.collect(ctx, r, s)
		}
	}
	if s.Ref == "" {
		return c.ask(r, s), nil
	}
	return c.same(s), nil
}

// same leaves everything as it is.
func (c *Connector) same(s *state) connector.Result {
	res := connector.Result{Step: c.step(s), State: s.bytes()}
	if !s.Rests && s.Ref != "" {
		res.Due = c.now().Add(interval)
	}
	return res
}

func (c *Connector) submitted(ctx context.Context, r *connector.Request, s *state, ev connector.Submitted) (connector.Result, error) {
	switch v := ev.Values; {
	case s.Ref == "": // the form that Begin has shown once more
		again := *r
		again.Input = v
		return c.Begin(ctx, &again)
	case v.Has("renew") && s.Rests:
		s.Renewals = 0
		return c.start(ctx, r, s, !r.Repeated)
	case v.Has("nonce") && !s.Returned:
		// One use; the session's binding has been checked by the broker.
		if subtle.ConstantTimeCompare([]byte(v.Get("nonce")), []byte(s.Nonce)) == 1 {
			s.Returned = true
			res := c.same(s)
			res.Notes = []string{"browser returned"}
			return res, nil
		}
	case v.Get("device") == onSame || v.Get("device") == onOther:
		s.Device = v.Get("device")
		s.Linked = s.Linked || s.Device == onSame
	}
	return c.same(s), nil
}

// collect asks for the order's state and turns the answer into a step.
func (c *Connector) collect(ctx context.Context, r *connector.Request, s *state) (connector.Result, error) {
	cl, err := c.client(r.Settings)
	if err != nil {
		return connector.Result{}, err
	}
	got, err := cl.api.Collect(ctx, s.Ref)
	if err != nil {
		return c.collectFault(s, err, r.Headless)
	}
	s.Failures, s.Silent = 0, time.Time{}
	switch got.Status {
	case "complete":
		if s.Answer, err = keep(got); err != nil {
			return connector.Result{}, err
		}
		return connector.Result{Step: connector.Again{}, State: s.bytes(), Notes: []string{"complete"}}, nil
	case "failed":
		if got.HintCode == "startFailed" && s.Device == onOther && !r.Headless {
			return c.renew(ctx, r, s)
		}
		return connector.Result{Step: end(got.HintCode, r.Headless), State: s.bytes(), Notes: []string{"failed"}}, nil
	case "pending":
		s.Hint = word(got.HintCode)
		s.Scanned = s.Scanned || !unpicked(got.HintCode)
		return c.same(s), nil
	}
	return connector.Result{Step: connector.Fail{Reason: eid.BadAnswer, Code: "status"}, State: s.bytes()}, nil
}

// renew replaces a code that nobody has scanned in time, for as long as
// somebody looks at the page (§10).
func (c *Connector) renew(ctx context.Context, r *connector.Request, s *state) (connector.Result, error) {
	gone := !r.Seen.IsZero() && c.now().Sub(r.Seen) > abandoned
	if s.Renewals++; s.Renewals > maxRenewals || gone {
		s.Rests, s.Hint = true, "startFailed"
		return connector.Result{Step: c.step(s), State: s.bytes(), Notes: []string{"code rests"}}, nil
	}
	return c.start(ctx, r, s, false)
}

// expired takes what is there, or tells BankID that nobody waits.
func (c *Connector) expired(ctx context.Context, r *connector.Request, s *state) (connector.Result, error) {
	if s.Answer != nil {
		return c.verify(ctx, r, s)
	}
	over := connector.Result{Step: connector.Fail{Reason: eid.Expired}, State: s.bytes()}
	if s.Ref == "" || s.Rests {
		return over, nil
	}
	cl, err := c.client(r.Settings)
	if err != nil {
		return connector.Result{}, err
	}
	if got, err := cl.api.Collect(ctx, s.Ref); err == nil && got.Status == "complete" {
		if s.Answer, err = keep(got); err != nil {
			return connector.Result{}, err
		}
		return connector.Result{Step: connector.Again{}, State: s.bytes()}, nil
	}
	_ = cl.api.Cancel(ctx, s.Ref) // best effort: the order ends by itself
	return over, nil
}

// code is the API's word for an error, in lower case; "" if it has none.
func code(err error) string {
	var e *bankidse.Error
	if errors.As(err, &e) {
		return strings.ToLower(e.Code)
	}
	return ""
}

// fault is how an error of a start ends the attempt. A start is never
// repeated by itself: an order that may have been made dies in 30 s, and the
// person may try again.
func fault(s *state, err error, headless bool) (connector.Result, error) {
	if errors.Is(err, bankidse.ErrRequest) {
		return connector.Result{Step: connector.Fail{Reason: eid.BadRequest}, State: s.bytes()}, nil
	}
	var e *bankidse.Error
	if !errors.As(err, &e) {
		return connector.Result{Step: connector.Fail{Reason: eid.Unavailable, Retry: !headless}, State: s.bytes()}, nil
	}
	f, ok := refused[strings.ToLower(e.Code)]
	switch {
	case ok:
	case e.Status >= 500:
		f = connector.Fail{Reason: eid.Unavailable, Retry: true}
	default:
		f = connector.Fail{Reason: eid.Refused}
	}
	f.Code = word(e.Code)
	f.Retry = f.Retry && !headless
	return connector.Result{Step: f, State: s.bytes()}, nil
}

// collectFault goes on after errors that pass, and names the one that means
// that the answer is lost. A collect that was not made since the circuit is open
// is no failure of this order's.
func (c *Connector) collectFault(s *state, err error, headless bool) (connector.Result, error) {
	if code(err) == "invalidparameters" { // "No such order": it was given, and not to us
		return connector.Result{Step: connector.Fail{Reason: eid.OutcomeUnknown, Code: "invalidParameters"}, State: s.bytes()}, nil
	}
	if _, open := errors.AsType[*circuit.Open](err); open {
		if s.Silent.IsZero() {
			s.Silent = c.now()
		}
		if c.now().Sub(s.Silent) >= maxSilence {
			return fault(s, err, headless)
		}
		return c.same(s), nil
	}
	var e *bankidse.Error
	passes := !errors.As(err, &e) || e.Status >= 500 || e.Status == 429 || e.Status == 408
	if s.Failures++; !passes || s.Failures >= maxFailures {
		return fault(s, err, headless)
	}
	res := c.same(s)
	if e != nil && e.RetryAfter > interval {
		res.Due = c.now().Add(min(e.RetryAfter, 30*time.Second))
	}
	res.Notes = []string{"collect without an answer"}
	return res, nil
}

// word keeps an upstream's code short and plain; "other" is one of which
// nothing is left.
func word(s string) string {
	out := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return -1
	}, s[:min(len(s), 40)])
	if out == "" && s != "" {
		return "other"
	}
	return out
}

func nonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
