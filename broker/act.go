package broker

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// Choose settles on a method where the relying party left the choice to the
// person, before an order has begun, after one that may be tried again, or while
// the eID of another method awaits the person elsewhere. Binds the session.
func (b *Broker) Choose(ctx context.Context, id string, h Handle, br connector.Browser, method string) (*View, error) {
	err := b.alter(ctx, id, h, func(s *Session, spec *Spec, c *Change) error {
		i := slices.IndexFunc(spec.Methods, func(m Method) bool { return m.Name == method })
		if i < 0 {
			return ErrMove
		}
		if err := b.unbegun(ctx, s, method, c); err != nil {
			return err
		}
		s.Method, s.EID = method, spec.Methods[i].EID
		return nil
	})
	return b.after(ctx, id, h, br, err)
}

// unbegun takes a session back to before its order, if that has ended and may
// be tried again, or stands still for want of the person, who wants another
// method; ErrMove for one that is under way.
func (b *Broker) unbegun(ctx context.Context, s *Session, method string, c *Change) error {
	switch {
	case s.State != Created && s.State != Started:
		return ErrMove
	case s.Order == "":
		return nil
	}
	o, err := b.c.Store.Order(ctx, s.Order)
	if err != nil {
		return err
	}
	if !o.Ended {
		bd, err := o.body()
		if err != nil {
			return err
		}
		step, err := bd.step()
		if err != nil {
			return err
		}
		if method == s.Method || bd.Pending != nil || !leavable(s, b.connector(o.Environment, o.EID), step) {
			return ErrMove
		}
		b.leave(c, s, o, bd)
	}
	s.Order = ""
	return nil
}

// leavable says whether an order whose step this is can be left for another: the
// person is elsewhere, and the eID neither asks about it nor need be told. If an
// answer comes all the same, it is late.
func leavable(s *Session, conn connector.Connector, step connector.Step) bool {
	_, away := step.(connector.Redirect)
	_, cancels := conn.(connector.Canceller)
	return s.State == Started && away && conn != nil && !conn.Info().Polls && !cancels
}

// Speak sets the language of the session's pages.
func (b *Broker) Speak(ctx context.Context, id string, h Handle, language string) (*View, error) {
	err := b.alter(ctx, id, h, func(s *Session, _ *Spec, _ *Change) error {
		s.Language = language
		return nil
	})
	return b.after(ctx, id, h, connector.Browser{}, err)
}

// Extend gives a person who needs it more time; ErrMove when the absolute
// limit does not allow it.
func (b *Broker) Extend(ctx context.Context, id string, h Handle) (*View, error) {
	err := b.alter(ctx, id, h, func(s *Session, _ *Spec, _ *Change) error {
		due := b.deadline(s, maxTime(s.Due, b.now()), b.limits.Extend)
		if !due.After(s.Due) {
			return ErrMove
		}
		s.Due = due
		s.Extensions++
		return nil
	})
	return b.after(ctx, id, h, connector.Browser{}, err)
}

// alter changes a session that has not ended, for the browser that holds it.
func (b *Broker) alter(ctx context.Context, id string, h Handle, f func(*Session, *Spec, *Change) error) error {
	for range 5 {
		s, spec, err := b.open(ctx, id)
		if err != nil {
			return err
		}
		if s.State.Ended() {
			return ErrMove
		}
		if err := b.claim(s, spec, h); err != nil {
			return err
		}
		c := &Change{ID: id, Session: s}
		if err := f(s, spec, c); err != nil {
			return err
		}
		if err := b.c.Store.Apply(ctx, c); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

func (b *Broker) open(ctx context.Context, id string) (*Session, *Spec, error) {
	s, err := b.c.Store.Session(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if s.State == Erased {
		return nil, nil, ErrNotFound
	}
	spec, err := b.Spec(ctx, s)
	return s, spec, err
}

// claim binds a session, or binds it anew where a browser has lost its cookie
// before anything was asked of an upstream.
func (b *Broker) claim(s *Session, spec *Spec, h Handle) error {
	if !b.holds(s, h) && mayRebind(s, spec) {
		s.Handle, s.Level = nil, eid.None
	}
	if err := b.bind(s, h); err != nil {
		b.observe(Observation{Kind: "binding_mismatch", Session: s})
		return err
	}
	return nil
}

// after answers an act with what the page shows now. That the browser is
// another one is an answer, not an error.
func (b *Broker) after(ctx context.Context, id string, h Handle, br connector.Browser, err error) (*View, error) {
	if err != nil && !errors.Is(err, ErrElsewhere) {
		return nil, err
	}
	return b.Look(ctx, id, h, br)
}

// Open begins an order: the first one, or another try. A session whose order
// runs already is left alone, so that a double click starts nothing twice.
func (b *Broker) Open(ctx context.Context, id string, h Handle, br connector.Browser, input url.Values, framed bool) (*View, error) {
	s, spec, err := b.open(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.State.Ended() || s.State == Confirmed {
		return b.Look(ctx, id, h, br)
	}
	if err := b.claim(s, spec, h); err != nil {
		return b.after(ctx, id, h, br, err)
	}
	if s.Method == "" {
		return b.Look(ctx, id, h, br)
	}
	if s.Order != "" {
		o, err := b.c.Store.Order(ctx, s.Order)
		if err != nil {
			return nil, err
		}
		if !o.Ended {
			return b.Look(ctx, id, h, br)
		}
	}
	if err := b.join(ctx); err != nil {
		return nil, err
	}
	l, err := b.beginning(s, spec, br, input, framed)
	if err != nil {
		return nil, err
	}
	c := &Change{ID: s.ID, Session: l.session}
	l.begun(c, b.now())
	err = b.start(ctx, l, &first{change: c, store: func(c *Change) error { return b.c.Store.Apply(ctx, c) }})
	switch {
	case err == nil: // nobody knows better
		s := *l.session
		return b.look(ctx, &s, spec, l, h, br)
	case errors.Is(err, ErrConflict), errors.Is(err, errFenced):
		return b.Look(ctx, id, h, br)
	}
	return nil, err
}

// begun adds a new order to a change.
func (l *live) begun(c *Change, now time.Time) {
	c.Order = l.order
	c.Notes = append(c.Notes, Note{now, "event", "begin " + string(l.order.EID)})
	actor := "person"
	if l.spec.Headless { // it is asked for with the session
		actor = "rp:" + l.session.Key
	}
	c.Audit = append(c.Audit, Audit{now, actor, "order.begin", "ok"})
}

// start stores a new order and lets its connector begin, before that if it may.
func (b *Broker) start(ctx context.Context, l *live, f *first) error {
	defer b.orders.lock(l.order.ID)()
	store := f.store
	f.store = func(c *Change) error {
		err := store(c)
		if err == nil {
			b.observe(Observation{Kind: "started", Session: c.Session})
		}
		return err
	}
	return b.turn(ctx, l, act{begin: true, stored: true, first: f})
}

// beginning makes the rows of a new order; its Begin is pending from the
// start, so that a crash before the call is made good by a new owner.
func (b *Broker) beginning(s *Session, spec *Spec, br connector.Browser, input url.Values, framed bool) (*live, error) {
	now := b.now()
	if s.State == Created {
		if err := s.move(begin); err != nil {
			return nil, err
		}
	}
	br.Host = spec.Host
	bd := &body{Input: input, Browser: br, Framed: framed, Pending: &pending{Begin: true}}
	o := &Order{ID: b.c.NewRow(), Session: s.ID, EID: s.EID, Environment: s.Environment, Mode: spec.mode(s.Method),
		Owner: b.c.Epoch, Body: bd.bytes()}
	s.Order = o.ID
	due := b.deadline(s, now, b.limits.Idle)
	if s.Extensions > 0 { // what the person has asked for is not taken back
		due = maxTime(due, s.Due)
	}
	s.Due = due
	return &live{order: o, session: s, spec: spec, body: bd}, nil
}

// Act gives an event of the person's browser to the running order.
func (b *Broker) Act(ctx context.Context, id string, h Handle, br connector.Browser, e connector.Event) (*View, error) {
	s, err := b.c.Store.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.State.Ended() || s.Order == "" || !b.holds(s, h) {
		return b.Look(ctx, id, h, br)
	}
	if err := b.notIdle(ctx, s); err != nil {
		return nil, err
	}
	if _, err := b.send(ctx, s.Order, nil, e, b.limits.EffectFor); err != nil {
		return nil, err
	}
	return b.Look(ctx, id, h, br)
}

// notIdle gives a session whose person acts its time again.
func (b *Broker) notIdle(ctx context.Context, s *Session) error {
	due := b.deadline(s, b.now(), b.limits.Idle)
	if due.Sub(s.Due) <= time.Minute {
		return nil
	}
	s.Due = due
	if err := b.c.Store.Apply(ctx, &Change{ID: s.ID, Session: s}); err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	return nil
}

// Away makes anew the address at which an eID awaits the person: for the
// browser that holds the session, and for a page that one has opened, which
// shows View.Pass. It is "" for anybody else, and where no eID awaits anybody.
func (b *Broker) Away(ctx context.Context, id string, h Handle, pass string) (string, error) {
	s, err := b.c.Store.Session(ctx, id)
	if err != nil {
		return "", err
	}
	may := b.holds(s, h) || hmac.Equal([]byte(pass), []byte(b.pass(s)))
	if s.State.Ended() || s.Order == "" || s.Handle == nil || !may {
		return "", nil
	}
	if err := b.notIdle(ctx, s); err != nil {
		return "", err
	}
	if _, err := b.send(ctx, s.Order, nil, connector.Submitted{Values: url.Values{"go": {"1"}}}, b.limits.EffectFor); err != nil {
		return "", err
	}
	order := s.Order
	s, spec, l, err := b.peek(ctx, id)
	if err != nil || s.State.Ended() || s.Order != order { // left meanwhile
		return "", err
	}
	v := &View{Session: *s, Spec: *spec}
	err = b.step(ctx, v, connector.Browser{}, l)
	to, _ := v.Step.(connector.Redirect)
	return to.URL, err
}

// Cancel ends the session because the person wants it so. It is final, and
// the upstream is told by the order's owner.
func (b *Broker) Cancel(ctx context.Context, id string, h Handle) (*View, error) {
	err := b.stop(ctx, id, &h, connector.Fail{Reason: eid.Cancelled}, "person", 0)
	if err != nil && !errors.Is(err, ErrMove) && !errors.Is(err, ErrElsewhere) {
		return nil, err
	}
	return b.Look(ctx, id, h, connector.Browser{})
}

// Withdraw ends a session because the relying party wants it so, with one of its
// keys; ErrMove for one that has ended.
func (b *Broker) Withdraw(ctx context.Context, id, key string) error {
	return b.stop(ctx, id, nil, connector.Fail{Reason: eid.Cancelled}, "rp:"+key, 0)
}

// Stop ends a session whose account goes away. One that has ended already
// stays as it is.
func (b *Broker) Stop(ctx context.Context, id string) error {
	err := b.stop(ctx, id, nil, connector.Fail{Reason: eid.Cancelled}, "operator", 0)
	if errors.Is(err, ErrMove) {
		return nil
	}
	return err
}

// stop fails a session from outside of its order. With a handle, only the
// browser that holds the session may; with a version, only while it is that.
func (b *Broker) stop(ctx context.Context, id string, h *Handle, f connector.Fail, actor string, version int64) error {
	for range 10 {
		s, spec, err := b.open(ctx, id)
		if err != nil {
			return err
		}
		if s.State.Ended() || version > 0 && s.Version != version {
			return ErrMove
		}
		if h != nil && !b.holds(s, *h) && !mayRebind(s, spec) {
			b.observe(Observation{Kind: "binding_mismatch", Session: s})
			return ErrElsewhere
		}
		if err := s.move(fail); err != nil {
			return err
		}
		s.Reason, s.Code = f.Reason, f.Code
		c := &Change{ID: id, Audit: []Audit{{b.now(), actor, "session.stop", string(f.Reason)}}}
		if err := b.end(ctx, s, nil, nil, spec, c, nil, nil, b.now()); err != nil {
			return err
		}
		switch err := b.c.Store.Apply(ctx, c); {
		case errors.Is(err, ErrConflict):
			continue
		case err != nil:
			return err
		}
		b.told(s, len(c.Outbox) > 0)
		return b.release(ctx, s)
	}
	return ErrConflict
}

// release lets the owner of a stopped session's order end it upstream.
func (b *Broker) release(ctx context.Context, s *Session) error {
	if s.Order == "" {
		return nil
	}
	o, err := b.c.Store.Order(ctx, s.Order)
	if err != nil || o.Ended {
		return err
	}
	if o.Owner == b.c.Epoch {
		return b.drop(ctx, o.ID)
	}
	return b.post(ctx, o, envelope{Drop: true})
}

// drop ends an order of ours whose session has ended.
func (b *Broker) drop(ctx context.Context, id string) error {
	defer b.orders.lock(id)()
	b.orders.forget(id) // what is in memory says that the session goes on
	l, err := b.load(ctx, id, nil)
	if err != nil {
		return err
	}
	if l.order.Ended || l.order.Owner != b.c.Epoch {
		return nil
	}
	return b.abandon(ctx, l)
}

// An envelope is what goes through an inbox.
type envelope struct {
	Token string          `json:"token,omitempty"`
	Drop  bool            `json:"drop,omitempty"` // the session has ended; end the order
	Event json.RawMessage `json:"event,omitempty"`
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
