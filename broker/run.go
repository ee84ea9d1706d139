package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

var (
	errUnreadable = errors.New("stored order is not readable")
	errFenced     = errors.New("the order is owned by another node")
)

const (
	maxAgain  = 8                      // Again steps in a row; more is a connector's loop
	maxTries  = 5                      // of one event whose outcome is unknown
	busyPause = 250 * time.Millisecond // until a tick tries again to find room among the calls
	callTime  = 10 * time.Second       // default deadline of one upstream call
)

// An act is one event on its way into an order.
type act struct {
	begin    bool
	event    connector.Event
	stored   bool              // the event is persisted already
	repeated bool              // and its call may have been made
	message  *Message          // it came through the inbox
	token    string            // of that message
	reply    **connector.Reply // where to put what the upstream is answered; nil for nowhere
	known    *known            // what was read a moment ago; nil for nothing
	first    *first            // what makes the order, and is not stored yet; nil otherwise
}

// first is the change that makes an order, and how it is stored. Where it makes
// the session too, a connector whose Begin is Free acts before that, and what it
// answers is stored with it.
type first struct {
	change *Change
	store  func(*Change) error
	stored bool
}

// waits says that the order cannot be acted on yet: nobody but its maker has it.
func (f *first) waits() bool { return f != nil && !f.stored }

// now stores the change alone, if that has not been done.
func (f *first) now() error {
	if !f.waits() {
		return nil
	}
	return f.save(f.change)
}

// save stores the change, with what else has come to pass.
func (f *first) save(c *Change) error {
	err := f.store(c)
	f.stored = err == nil
	return err
}

// known is an order with its session as they were a moment ago. What is made of
// them is committed only if the order's fence stands as it was.
type known struct {
	order   Order
	session Session
}

// take gives an event to an order that this node owns. The event is
// persisted, the connector is called outside any transaction, and the result
// is committed if the fence still stands.
func (b *Broker) take(ctx context.Context, id string, a act) error {
	defer b.orders.lock(id)()
	l, err := b.load(ctx, id, a.known)
	if err != nil {
		return err
	}
	if l.order.Owner != b.c.Epoch {
		return errFenced
	}
	if l.order.Ended {
		return b.settle(ctx, l, a)
	}
	if l.session.State.Ended() { // somewhere else, and what says so is on its way
		if err := b.settle(ctx, l, a); err != nil {
			return err
		}
		return b.abandon(ctx, l)
	}
	err = b.turn(ctx, l, a)
	if err == nil && a.reply != nil {
		*a.reply = l.body.Reply // persist has taken away what was there before
	}
	return err
}

// load reads an order with what belongs to it, or takes it from memory.
func (b *Broker) load(ctx context.Context, id string, k *known) (*live, error) {
	if l := b.orders.get(id); l != nil {
		return l, nil
	}
	if k != nil {
		return b.attach(ctx, &k.order, &k.session)
	}
	o, err := b.c.Store.Order(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := b.c.Store.Session(ctx, o.Session)
	if err != nil {
		return nil, err
	}
	return b.attach(ctx, o, s)
}

func (b *Broker) attach(ctx context.Context, o *Order, s *Session) (_ *live, err error) {
	l := &live{order: o, session: s, spec: &Spec{}, body: &body{}}
	if s.State == Erased {
		return l, nil
	}
	if l.spec, err = b.Spec(ctx, s); err != nil {
		return nil, err
	}
	if len(o.Body) > 0 {
		if l.body, err = o.body(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// settle answers a message for an order or a session that has ended: there is
// nothing to do but to take it out of the inbox.
func (b *Broker) settle(ctx context.Context, l *live, a act) error {
	if a.message == nil {
		return nil
	}
	return b.c.Store.Apply(ctx, &Change{ID: l.session.ID, Took: []int64{a.message.ID},
		Notes: []Note{{b.now(), "event", "late " + connector.EventName(a.event)}}})
}

// turn runs one event to its end. The order's lock is held.
func (b *Broker) turn(ctx context.Context, l *live, a act) error {
	conn := b.connector(l.order.Environment, l.order.EID)
	if conn == nil || !conn.Info().Free || l.session.Version > 0 { // of those who know the session, one begins
		if err := a.first.now(); err != nil {
			return err
		}
	}
	if conn == nil {
		return b.commit(ctx, l, connector.Result{Step: connector.Fail{Reason: eid.BadRequest, Code: "not_configured"}}, nil)
	}
	_, tick := a.event.(connector.Tick)
	if tick && l.body.Pending != nil { // a call whose outcome was unknown: once more
		if p, err := l.body.Pending.act(); err == nil {
			a, tick = p, false
		}
	}
	if !tick && !a.stored {
		if err := b.persist(ctx, l, a); err != nil {
			return err
		}
	}
	for range maxAgain {
		if !b.beaten.fresh(b.limits.Dead) {
			if err := a.first.now(); err != nil {
				return err
			}
			b.orders.schedule(l.order.ID, b.now().Add(time.Second))
			return errFenced // our lease may be gone; whoever owns it acts
		}
		res, err := b.call(ctx, conn, l, a)
		switch {
		case errors.Is(err, errBusy) && a.begin && l.order.Stage == 0: // nothing was asked yet: better an answer now than a wait
			res = connector.Result{Step: connector.Fail{Reason: eid.Unavailable, Code: Busy, Retry: !l.spec.Headless}}
		case errors.Is(err, errBusy): // the event is persisted, and the next tick delivers it
			b.watch(conn, l, b.now().Add(busyPause))
			return nil
		case err != nil:
			var later bool
			if res, later = b.onError(ctx, l, a, err); later {
				if err := a.first.now(); err != nil {
					return err
				}
				if err := b.count(ctx, conn, l); err != nil {
					return err
				}
				b.watch(conn, l, res.Due)
				return nil
			}
		}
		if tick && b.unchanged(l, res) {
			l.body = l.body.tried(0)
			b.watch(conn, l, res.Due)
			return nil
		}
		if err := b.commit(ctx, l, res, a.first); err != nil {
			return err
		}
		if res.Stale {
			b.stale(ctx, conn, l)
		}
		if l.order.Ended {
			return nil
		}
		if l.body.Pending != nil { // the next stage
			if conn = b.connector(l.order.Environment, l.order.EID); conn == nil {
				return b.commit(ctx, l, connector.Result{Step: connector.Fail{Reason: eid.BadRequest, Code: "not_configured"}}, nil)
			}
			a, tick = act{begin: true, stored: true}, false
			continue
		}
		if _, again := res.Step.(connector.Again); !again {
			b.watch(conn, l, res.Due)
			return nil
		}
		a, tick = act{event: connector.Tick{}}, false
	}
	return b.commit(ctx, l, connector.Result{Step: connector.Fail{Reason: eid.Internal, Code: "again"}}, nil)
}

func (p *pending) act() (act, error) {
	if p.Begin {
		return act{begin: true, stored: true, repeated: true}, nil
	}
	e, err := connector.UnmarshalEvent(p.Event)
	return act{event: e, stored: true, repeated: true}, err
}

// persist writes the event before its call is made, so that a node that takes
// over knows that the call may have been made.
func (b *Broker) persist(ctx context.Context, l *live, a act) error {
	bd := *l.body
	bd.Tries = 0
	bd.next(a.token)
	bd.Pending = &pending{Begin: a.begin}
	word := "begin"
	if !a.begin {
		raw, err := connector.MarshalEvent(a.event)
		if err != nil {
			return err
		}
		bd.Pending.Event = raw
		word = connector.EventName(a.event)
	}
	o := *l.order
	o.Body = bd.bytes()
	c := &Change{ID: l.session.ID, Order: &o, Notes: []Note{{b.now(), "event", word}}}
	if a.message != nil {
		c.Took = []int64{a.message.ID}
	}
	if err := b.c.Store.Apply(ctx, c); err != nil {
		b.orders.forget(l.order.ID)
		if errors.Is(err, ErrConflict) {
			return errFenced
		}
		return err
	}
	l.order, l.body = &o, &bd
	return nil
}

// call lets the connector act. A request that was given up does not stop it:
// its answer may be given once.
func (b *Broker) call(ctx context.Context, conn connector.Connector, l *live, a act) (res connector.Result, err error) {
	_, tick := a.event.(connector.Tick)
	leave, err := b.pools[l.order.Environment][l.order.EID].enter(ctx, !tick)
	if err != nil {
		return res, err
	}
	defer leave()
	limit := conn.Info().Deadline
	if limit == 0 {
		limit = callTime
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			b.c.Log.ErrorContext(ctx, "connector panicked", "session", l.session, "stack", string(debug.Stack()))
			err = &connector.Unknown{Reason: eid.Internal, Err: errors.New("panic")}
		}
	}()
	r, err := b.request(ctx, l)
	if err != nil {
		return res, err
	}
	r.Repeated = a.repeated
	if l.body.Set != r.Settings.Key {
		bd := *l.body
		bd.Set = r.Settings.Key
		l.body = &bd
	}
	start := time.Now()
	if a.begin {
		res, err = conn.Begin(ctx, r)
	} else {
		res, err = conn.Resume(ctx, r, l.body.State, a.event)
	}
	b.observe(Observation{Kind: "upstream", Session: l.session, Took: time.Since(start), Result: word(res, err)})
	if err == nil && res.Step == nil {
		err = errors.New("connector returned no step")
	}
	return res, err
}

func word(res connector.Result, err error) string {
	if err != nil {
		return "error"
	}
	return connector.StepName(res.Step)
}

// request puts together what a connector may know.
func (b *Broker) request(ctx context.Context, l *live) (*connector.Request, error) {
	set, err := b.c.Settings(ctx, l.session, l.order.EID, l.body.Set)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", l.order.EID, err)
	}
	r := &connector.Request{
		Session: l.session.ID, Order: l.order.ID, Environment: l.order.Environment,
		Purpose: l.session.Purpose, Mode: l.order.Mode, Wanted: l.spec.Wanted, Pinned: l.spec.Pinned,
		Party: l.spec.Party, Language: cmp.Or(l.session.Language, l.body.Browser.Language), Browser: l.body.Browser, Framed: l.body.Framed,
		Seen: b.orders.shown(l.session.ID), Headless: l.spec.Headless,
		ReturnURL: b.c.Public + l.spec.Page, CallbackURL: b.c.Public + "/callback/" + string(l.order.Environment) + "/" + string(l.order.EID),
		Params: l.spec.params(l.session.Method), Input: l.body.Input, Settings: set,
		Texts: func(ctx context.Context) (connector.Texts, error) {
			if !l.spec.Texts {
				return connector.Texts{}, nil
			}
			t, err := b.Texts(ctx, l.session.ID)
			if err != nil {
				return connector.Texts{}, err
			}
			return *t, nil
		},
	}
	if r.List, err = b.list(ctx, b.connector(l.order.Environment, l.order.EID), l.order.Environment, l.order.EID, set); err != nil {
		return nil, err
	}
	if l.order.Stage > 0 {
		if r.Identity, err = b.identity(ctx, l.session.ID); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// params are the fixed inputs of the chosen method over those of the request.
func (s *Spec) params(method string) map[string]string {
	out := make(map[string]string, len(s.Params))
	maps.Copy(out, s.Params)
	for _, m := range s.Methods {
		if m.Name == method {
			maps.Copy(out, m.Params)
		}
	}
	return out
}

// identity reads whom the eID has confirmed. It is for sessions that were not
// erased when they were read.
func (b *Broker) identity(ctx context.Context, session string) (*eid.Identity, error) {
	raw, ok := b.who.Get(session)
	if !ok {
		var err error
		if raw, err = b.c.Store.Data(ctx, session, DataIdentity); err != nil {
			return nil, err
		}
	}
	var id eid.Identity
	if err := json.Unmarshal(raw, &id); err != nil {
		return nil, errors.New("read identity: stored value is not readable")
	}
	return &id, nil
}

// onError decides what an error means. With later, the same event comes again
// when its time has come; otherwise the result says how the attempt ends.
func (b *Broker) onError(ctx context.Context, l *live, a act, err error) (res connector.Result, later bool) {
	u := &connector.Unknown{Reason: eid.Internal, Err: err}
	if !errors.As(err, &u) && errors.Is(err, context.DeadlineExceeded) {
		u.Reason = eid.Unavailable
	}
	l.body = l.body.tried(l.body.Tries + 1)
	b.c.Log.WarnContext(ctx, "upstream call failed", "session", l.session, "reason", u.Reason,
		"error", u.Err, "try", l.body.Tries, "repeat", u.Repeat)
	if u.Repeat && l.body.Tries < maxTries {
		return connector.Result{Due: b.now().Add(max(u.After, 100*time.Millisecond))}, true
	}
	_, expired := a.event.(connector.Expired)
	return connector.Result{State: l.body.State, Step: connector.Fail{Reason: u.Reason, Retry: u.Reason == eid.Unavailable && !expired}}, false
}

// count stores how often an event was tried, unless the order stays in memory:
// it is read anew for the next try.
func (b *Broker) count(ctx context.Context, conn connector.Connector, l *live) error {
	if conn.Info().Polls {
		return nil
	}
	o := *l.order
	o.Body = l.body.bytes()
	switch err := b.c.Store.Apply(context.WithoutCancel(ctx), &Change{ID: l.session.ID, Order: &o}); {
	case errors.Is(err, ErrConflict):
		b.orders.forget(l.order.ID)
		return errFenced
	case err != nil: // it is tried once more than it should be
		b.c.Log.WarnContext(ctx, "try not counted", "session", l.session, "error", err)
		return nil
	}
	l.order = &o
	return nil
}

// unchanged says that a tick brought no news, so that nothing is written.
func (b *Broker) unchanged(l *live, r connector.Result) bool {
	if r.Confirmed != nil || r.Reply != nil || len(r.Evidence)+len(r.Refs)+len(r.Notes) > 0 {
		return false
	}
	step, err := connector.MarshalStep(r.Step)
	return err == nil && bytes.Equal(step, l.body.Step) && bytes.Equal(r.State, l.body.State)
}

// watch keeps a polling order in memory and sets the time of its next tick.
func (b *Broker) watch(conn connector.Connector, l *live, due time.Time) {
	if conn.Info().Polls {
		b.orders.keep(l)
	}
	b.orders.schedule(l.order.ID, due)
}
