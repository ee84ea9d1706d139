package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// A Bench is a connector with its upstream, under a test's hand. It serves one
// flow after another; nothing of one may be needed by the next.
type Bench struct {
	// New makes a connector that has nothing in memory: another node.
	New func() connector.Connector
	// Request is what the broker knows of a session, new for each flow.
	Request func() *connector.Request
	// Act lets person and upstream do the next thing on the way to an end,
	// seeing what the page shows and the latest names of the order, and returns
	// the event that comes of it. Time goes on as far as the upstream's rules
	// want it. The end "" is success.
	Act func(end string, shown connector.Result) connector.Event
	// Calls counts what has reached the upstream.
	Calls func() int
	// Person is who completes a flow.
	Person eid.Number
	// Ends are the other ends that Act can bring about, and the reason that
	// each must have.
	Ends map[string]eid.Reason
	// Faults are things that go wrong at the upstream, each until the function
	// that it returns is called: out of reach, slow, garbage, an answer that is
	// forged or that belongs to another flow.
	Faults map[string]func() (mend func())
	// Private are texts that may appear in no error, note, reference or step
	// that a log may show.
	Private []string
}

const maxEvents = 60 // of one flow

// Run proves that a connector keeps the contract: it comes to each of its
// ends, a node may die after any call, events may come twice or late, and no
// fault of the upstream makes somebody of nobody. new makes a bench for each
// part, which run in parallel.
func Run(t *testing.T, bench func(t *testing.T) *Bench) {
	t.Helper()
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, found := range part(t.Context(), bench(t)) {
				t.Error(found)
			}
		})
	}
}

// parts each return what they have found wrong.
var parts = map[string]func(context.Context, *Bench) []string{
	"success": success, "ends": ends, "crash": crash, "twice": twice, "late": late, "faults": faults, "state": state, "pure": pure,
}

// A flow is one order on its way.
type flow struct {
	b     *Bench
	conn  connector.Connector
	req   *connector.Request
	res   connector.Result
	seen  []connector.Event
	found []string
}

func (b *Bench) flow() *flow { return &flow{b: b, conn: b.New(), req: b.Request()} }

func (f *flow) note(format string, args ...any) {
	f.found = append(f.found, fmt.Sprintf(format, args...))
}

// deliver gives an event, nil for Begin, and keeps its result as the broker
// does: an event whose outcome is unknown, and that may be repeated, is.
func (f *flow) deliver(ctx context.Context, e connector.Event, repeated bool) {
	f.req.Repeated = repeated
	for try := 0; ; try++ {
		res, err := f.ask(ctx, e)
		if err == nil {
			if len(res.Refs) == 0 {
				res.Refs = f.res.Refs // they stay
			}
			f.res = res
			f.inspect()
			return
		}
		var u *connector.Unknown
		f.hides("an error", err.Error())
		if !errors.As(err, &u) || !u.Repeat || try == 4 {
			f.res = connector.Result{State: f.res.State, Step: connector.Fail{Reason: eid.Internal}}
			if u != nil {
				f.res.Step = connector.Fail{Reason: u.Reason}
			}
			return
		}
	}
}

func (f *flow) ask(ctx context.Context, e connector.Event) (connector.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, max(f.conn.Info().Deadline, 10*time.Second))
	defer cancel()
	if e == nil {
		return f.conn.Begin(ctx, f.req)
	}
	return f.conn.Resume(ctx, f.req, f.res.State, e)
}

// inspect checks what holds of every result.
func (f *flow) inspect() {
	r := f.res
	if r.Step == nil {
		f.note("a result without a step")
		return
	}
	if _, err := connector.MarshalStep(r.Step); err != nil {
		f.note("a step that cannot be kept: %v", err)
	}
	if fail, ok := r.Step.(connector.Fail); ok {
		if _, known := eid.Reasons[fail.Reason]; !known {
			f.note("%q is no reason", fail.Reason)
		}
		f.hides("a code", fail.Code)
		if r.Confirmed != nil {
			f.note("somebody is confirmed by a step that fails")
		}
	}
	if _, ok := r.Step.(connector.Done); ok && r.Confirmed == nil && f.req.Identity == nil {
		f.note("done, and nobody is confirmed")
	}
	for _, n := range r.Notes {
		f.hides("a note", n)
	}
	for _, ref := range r.Refs {
		f.hides("a reference", string(ref))
	}
	if w, ok := r.Step.(connector.Wait); ok {
		f.hides("a hint", w.Hint+" "+w.Code)
	}
}

func (f *flow) hides(what, text string) {
	for _, p := range f.b.Private {
		if strings.Contains(text, p) {
			f.note("%s shows %q", what, p)
		}
	}
}

// ended says whether the flow is over.
func (f *flow) ended() bool {
	switch f.res.Step.(type) {
	case connector.Done, connector.Fail:
		return true
	}
	return false
}

// next is the event that comes after what is shown.
func (f *flow) next(end string) connector.Event {
	if _, again := f.res.Step.(connector.Again); again {
		return connector.Tick{}
	}
	e := f.b.Act(end, f.res)
	f.seen = append(f.seen, e)
	return e
}

// run goes on until the end.
func (f *flow) run(ctx context.Context, end string) *flow {
	if f.res.Step == nil {
		f.deliver(ctx, nil, false)
	}
	for range maxEvents {
		if f.ended() {
			return f
		}
		f.deliver(ctx, f.next(end), false)
	}
	f.note("no end after %d events; the last step is %s", maxEvents, connector.StepName(f.res.Step))
	return f
}

// reason is why the flow failed; "" if it did not.
func (f *flow) reason() eid.Reason {
	if fail, ok := f.res.Step.(connector.Fail); ok {
		return fail.Reason
	}
	return ""
}

// identified checks that the right person came out.
func (f *flow) identified() {
	id := f.res.Confirmed
	switch _, done := f.res.Step.(connector.Done); {
	case !done:
		f.note("ended as %s %s, want done", connector.StepName(f.res.Step), f.reason())
	case id == nil || id.Number != f.b.Person:
		f.note("another person than who completed was confirmed")
	case id.At.IsZero() || id.EID != f.conn.Info().EID || id.Country == "" || id.Subject == "":
		f.note("an identity without time, eID, country or subject: %v", *id)
	case len(f.res.Evidence) == 0:
		f.note("nothing proves it")
	}
}

func success(ctx context.Context, b *Bench) []string {
	f := b.flow().run(ctx, "")
	f.identified()
	return f.found
}

func ends(ctx context.Context, b *Bench) (found []string) {
	for end, want := range b.Ends {
		f := b.flow().run(ctx, end)
		if f.reason() != want {
			f.note("ended as %s %q, want %q", connector.StepName(f.res.Step), f.reason(), want)
		}
		for _, s := range f.found {
			found = append(found, end+": "+s)
		}
	}
	f := b.flow()
	f.deliver(ctx, nil, false)
	if !f.ended() {
		f.deliver(ctx, connector.Expired{}, false)
	}
	if !f.ended() {
		f.note("it goes on after its time was over")
	}
	return append(found, f.found...)
}

// crash lets the node die after each call in turn: its result is lost, and the
// event is delivered once more, to a node that knows the stored state alone.
// The flow ends well, or says that the outcome is unknown; it never makes up a
// reason, and never asks for an answer that has been stored.
func crash(ctx context.Context, b *Bench) (found []string) {
	for at := 0; ; at++ {
		f := b.flow()
		n := 0
		step := func(e connector.Event) {
			kept, seen := f.res, len(f.seen)
			f.deliver(ctx, e, false)
			if n == at {
				f.res, f.seen, f.conn = kept, f.seen[:seen], b.New()
				f.deliver(ctx, e, true)
			}
			n++
		}
		step(nil)
		for !f.ended() && n < maxEvents {
			step(f.next(""))
		}
		if r := f.reason(); r != eid.OutcomeUnknown && r != eid.InProgress {
			f.identified()
		}
		for _, s := range f.found {
			found = append(found, fmt.Sprintf("death after call %d: %s", at, s))
		}
		if at >= n || at >= maxEvents {
			return found
		}
	}
}

// twice delivers every event of a person or an upstream two times.
func twice(ctx context.Context, b *Bench) []string {
	f := b.flow()
	f.deliver(ctx, nil, false)
	for range maxEvents {
		if f.ended() {
			break
		}
		e := f.next("")
		f.deliver(ctx, e, false)
		if _, tick := e.(connector.Tick); !tick && !f.ended() {
			f.deliver(ctx, e, false)
		}
	}
	f.identified()
	return f.found
}

// late delivers events that have been long ago, and some that never fit, at
// every place of the flow.
func late(ctx context.Context, b *Bench) []string {
	f := b.flow()
	f.deliver(ctx, nil, false)
	for range maxEvents {
		if f.ended() {
			break
		}
		if _, again := f.res.Step.(connector.Again); !again {
			for _, e := range append(slices.Clone(f.seen), connector.Shown{}, connector.Returned{}, connector.Submitted{}) {
				if _, tick := e.(connector.Tick); tick || f.ended() {
					continue
				}
				f.deliver(ctx, e, false)
			}
		}
		if !f.ended() {
			f.deliver(ctx, f.next(""), false)
		}
	}
	f.identified()
	return f.found
}

// faults lets each of them last through a whole flow, and through one that has
// begun well: nobody is identified by an upstream that cannot be believed.
func faults(ctx context.Context, b *Bench) (found []string) {
	for name, cause := range b.Faults {
		for _, when := range []string{"from the beginning", "once it has begun"} {
			f := b.flow()
			if when != "from the beginning" {
				f.deliver(ctx, nil, false)
			}
			mend := cause()
			f.run(ctx, "")
			mend()
			if _, done := f.res.Step.(connector.Done); done {
				f.note("somebody was identified")
			}
			if r := f.reason(); r == eid.Cancelled || r == eid.Declined {
				f.note("it is called %s, as if the person or the eID had said so", r)
			}
			after := b.flow().run(ctx, "")
			after.identified()
			f.found = append(f.found, after.found...)
			for _, s := range f.found {
				found = append(found, name+" "+when+": "+s)
			}
		}
	}
	return found
}

// state must be the connector's own: what is damaged is an error, and nothing
// of it comes out.
func state(ctx context.Context, b *Bench) []string {
	f := b.flow()
	f.deliver(ctx, nil, false)
	for _, damaged := range [][]byte{nil, []byte("{"), []byte("null"), []byte("[]"), bytes.Repeat([]byte("x"), 1<<16), f.res.State[:len(f.res.State)/2]} {
		f.req.Repeated = false
		before := b.Calls()
		g := &flow{b: b, conn: f.conn, req: f.req, res: connector.Result{State: damaged}}
		res, err := g.ask(ctx, connector.Tick{})
		switch _, done := res.Step.(connector.Done); {
		case err == nil && (done || res.Confirmed != nil):
			f.note("a damaged state (%.10q) has identified somebody", damaged)
		case err == nil && b.Calls() > before:
			f.note("a damaged state (%.10q) has led to a call", damaged)
		}
	}
	return f.found
}

// pure calls what must ask nobody at every place of a flow.
func pure(ctx context.Context, b *Bench) []string {
	f := b.flow()
	before := b.Calls()
	f.conn.Info()
	if front, ok := f.conn.(connector.Fronter); ok {
		front.Front(f.req)
	}
	if loc, ok := f.conn.(connector.Locator); ok {
		if ref, err := loc.Locate(connector.Inbound{}); err == nil {
			f.note("an empty request names the order %q", ref)
		}
	}
	if b.Calls() != before {
		f.note("the upstream was asked before anything began")
	}
	f.deliver(ctx, nil, false)
	for range maxEvents {
		if f.ended() {
			break
		}
		if v, ok := f.conn.(connector.Viewer); ok {
			before, now := b.Calls(), time.Now()
			one, err1 := v.View(f.res.State, now)
			two, err2 := b.New().(connector.Viewer).View(f.res.State, now)
			if _, waits := f.res.Step.(connector.Wait); waits && (err1 != nil || err2 != nil || !reflect.DeepEqual(one, two)) {
				f.note("two nodes show different things: %v, %v", err1, err2)
			}
			if b.Calls() != before {
				f.note("a look has asked the upstream")
			}
		}
		f.deliver(ctx, f.next(""), false)
	}
	return f.found
}
