package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// Create makes a session. Nothing is asked of an upstream yet. It fails with a
// limit.Exceeded around ErrOften or ErrOpen where a live session is held to a
// person whom its account has named too often.
func (b *Broker) Create(ctx context.Context, n NewSession) (*Session, error) {
	s, c, err := b.creation(&n)
	if err == nil {
		err = b.create(ctx, &n, c)
	}
	if err != nil {
		return nil, fmt.Errorf("create session: %w", err)
	}
	return s, nil
}

// Begin makes a session and begins its first order with that: for those who
// have nothing to ask before. It fails as Create does.
func (b *Broker) Begin(ctx context.Context, n NewSession, br connector.Browser, input url.Values) (*View, error) {
	s, c, err := b.creation(&n)
	if err != nil {
		return nil, fmt.Errorf("create session: %w", err)
	}
	return b.begin(ctx, s, &n, c, br, input)
}

// Enter makes a session for a browser that is here. Where its first order sends
// the browser away, and there is nothing for its person to read or to decide
// before, it begins; otherwise the View is nil, and the page is where to go on.
func (b *Broker) Enter(ctx context.Context, n NewSession, br connector.Browser) (*View, error) {
	s, c, err := b.creation(&n)
	if err != nil {
		return nil, fmt.Errorf("create session: %w", err)
	}
	input, straight, err := b.straight(ctx, s, &n.Spec, br)
	if err != nil {
		return nil, err
	}
	if straight {
		return b.begin(ctx, s, &n, c, br, input)
	}
	if err := b.create(ctx, &n, c); err != nil {
		return nil, fmt.Errorf("create session: %w", err)
	}
	return nil, nil
}

// straight is View.Straight of a session that is being made.
func (b *Broker) straight(ctx context.Context, s *Session, spec *Spec, br connector.Browser) (input url.Values, ok bool, err error) {
	conn := b.connector(s.Environment, s.EID)
	if s.Method == "" || conn == nil || !conn.Info().Leaves {
		return nil, false, nil
	}
	v := &View{Session: *s, Spec: *spec, Info: conn.Info()}
	if err := b.front(ctx, v, br, nil, nil); err != nil {
		return nil, false, err
	}
	input, ok = v.Straight()
	return input, ok, nil
}

// begin stores a new session with its first order.
func (b *Broker) begin(ctx context.Context, s *Session, n *NewSession, c *Change, br connector.Browser, input url.Values) (*View, error) {
	if s.Method == "" {
		return nil, fmt.Errorf("begin session: %w", ErrMove)
	}
	if err := b.join(ctx); err != nil {
		return nil, err
	}
	l, err := b.beginning(s, &n.Spec, br, input, false)
	if err != nil {
		return nil, err
	}
	l.begun(c, b.now())
	f := &first{change: c, store: func(c *Change) error { // what was asked of an upstream is kept, though whoever asked has left meanwhile
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.limits.Save)
		defer cancel()
		return b.create(ctx, n, c)
	}}
	err = b.start(ctx, l, f)
	switch {
	case err != nil && !f.stored:
		return nil, fmt.Errorf("create session: %w", err)
	case errors.Is(err, ErrConflict), errors.Is(err, errFenced): // somebody has acted on it already
		return b.Look(ctx, s.ID, n.Handle, br)
	case err != nil:
		return nil, err
	}
	now := *l.session
	return b.look(ctx, &now, &n.Spec, l, n.Handle, br)
}

// creation is the rows of a new session.
func (b *Broker) creation(n *NewSession) (*Session, *Change, error) {
	if len(n.Spec.Methods) == 0 {
		return nil, nil, errors.New("no method")
	}
	now := b.now()
	s := &Session{
		ID: n.ID, Account: n.Caller.Account.ID, Key: n.Caller.Key.ID, Config: n.Config, API: n.API,
		Environment: n.Caller.Key.Environment, State: Created, Purpose: n.Purpose, Level: eid.None,
		Language: n.Language, Created: now, Due: now.Add(b.limits.Unopened),
	}
	if s.ID == "" {
		s.ID = b.c.NewID()
	}
	if err := b.bind(s, n.Handle); err != nil {
		return nil, nil, err
	}
	if len(n.Spec.Methods) == 1 {
		s.Method, s.EID = n.Spec.Methods[0].Name, n.Spec.Methods[0].EID
	}
	n.Spec.Keep = max(n.Caller.Account.Keep, 0)
	n.Spec.Texts, n.Spec.Held = n.Texts != nil, n.Handle != Handle{}
	spec, err := json.Marshal(n.Spec)
	if err != nil {
		return nil, nil, err
	}
	c := &Change{ID: s.ID, Session: s, Data: []Data{{DataSpec, spec}},
		Audit: []Audit{{now, "rp:" + s.Key, "session.create", "ok"}}}
	for _, text := range n.Notes {
		c.Notes = append(c.Notes, Note{now, "rp", text})
	}
	if n.Texts != nil {
		texts, err := json.Marshal(n.Texts)
		if err != nil {
			return nil, nil, err
		}
		c.Data = append(c.Data, Data{DataTexts, texts})
	}
	return s, c, nil
}

// create stores them, with what c has besides.
func (b *Broker) create(ctx context.Context, n *NewSession, c *Change) (err error) {
	store := func() error { return b.c.Store.Apply(ctx, c) }
	if person := cmp.Or(n.Person, n.Spec.Pinned); person != "" && c.Session.Environment == eid.Live { // test numbers are everybody's
		err = b.name(ctx, c.Session, person, store)
	} else {
		err = store()
	}
	if err == nil {
		b.specs.Put(c.ID, &n.Spec)
		b.observe(Observation{Kind: "created", Session: c.Session})
	}
	return err
}

// Session reads a session of an account. Unknown, foreign and erased ones are
// all ErrNotFound.
func (b *Broker) Session(ctx context.Context, account string, env eid.Environment, id string) (*Session, error) {
	s, err := b.c.Store.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.Account != account {
		b.observe(Observation{Kind: "cross_tenant", Session: s})
	}
	if s.Account != account || s.Environment != env || s.State == Erased {
		return nil, ErrNotFound
	}
	return s, nil
}

// ByRef reads the session whose order an upstream calls so.
func (b *Broker) ByRef(ctx context.Context, account string, env eid.Environment, e eid.EID, ref connector.Ref) (*Session, error) {
	o, err := b.c.Store.Find(ctx, e, env, ref)
	if err != nil {
		return nil, err
	}
	return b.Session(ctx, account, env, o.Session)
}

// Refs lists the upstream's names for the session's orders, oldest first.
func (b *Broker) Refs(ctx context.Context, session string) ([]connector.Ref, error) {
	return b.c.Store.Refs(ctx, session)
}

// Spec reads what the relying party asked for. It never changes, and is not to
// be altered.
func (b *Broker) Spec(ctx context.Context, s *Session) (*Spec, error) {
	if spec, ok := b.specs.Get(s.ID); ok && s.State != Erased {
		return spec, nil
	}
	raw, err := b.c.Store.Data(ctx, s.ID, DataSpec)
	if err != nil {
		return nil, err
	}
	var spec Spec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	b.specs.Put(s.ID, &spec)
	return &spec, nil
}

// Result reads who was identified and what proves it; the identity is nil
// unless the session is Finished. What a failed session had confirmed stays
// unread until it is erased. That it was read, with which key, is written to
// the audit trail first: what cannot be recorded is not told.
func (b *Broker) Result(ctx context.Context, s *Session, key string) (*eid.Identity, []eid.Evidence, error) {
	if s.State != Finished {
		return nil, nil, nil
	}
	if err := b.c.Store.Apply(ctx, &Change{ID: s.ID, Audit: []Audit{b.reading(key)}}); err != nil {
		return nil, nil, fmt.Errorf("record that the result is read: %w", err)
	}
	return b.confirmed(ctx, s.ID, true)
}

// Identity is Result for an API that keeps what it reads: it writes the line of
// the audit trail in the transaction in which it does so. The identity must be
// told to nobody before that.
func (b *Broker) Identity(ctx context.Context, s *Session, key string, evidence bool) (*eid.Identity, []eid.Evidence, Audit, error) {
	if s.State != Finished {
		return nil, nil, Audit{}, fmt.Errorf("identity of a session that is %s: %w", s.State, ErrMove)
	}
	who, ev, err := b.confirmed(ctx, s.ID, evidence)
	return who, ev, b.reading(key), err
}

func (b *Broker) reading(key string) Audit { return Audit{b.now(), "rp:" + key, "result.read", "ok"} }

func (b *Broker) confirmed(ctx context.Context, session string, evidence bool) (*eid.Identity, []eid.Evidence, error) {
	id, err := b.identity(ctx, session)
	if err != nil || !evidence {
		return id, nil, err
	}
	ev, err := b.c.Store.Evidence(ctx, session)
	if err != nil {
		return nil, nil, err
	}
	return id, ev, nil
}

// Record writes a line of the audit trail: what an API has told of a session's
// person from what it has kept itself.
func (b *Broker) Record(ctx context.Context, session, actor, action, outcome string) error {
	if err := b.c.Store.Apply(ctx, &Change{ID: session, Audit: []Audit{{b.now(), actor, action, outcome}}}); err != nil {
		return fmt.Errorf("record %s: %w", action, err)
	}
	return nil
}

// Tell puts messages about a session into the outbox: of what has come to pass
// after its end. One whose ID is there already is the same message.
func (b *Broker) Tell(ctx context.Context, session string, out ...Delivery) error {
	if err := b.c.Store.Apply(ctx, &Change{ID: session, Outbox: out}); err != nil {
		return fmt.Errorf("tell: %w", err)
	}
	if b.c.Wake != nil {
		b.c.Wake()
	}
	return nil
}

// Texts reads what is to be signed; ErrNotFound if there is nothing.
func (b *Broker) Texts(ctx context.Context, id string) (*connector.Texts, error) {
	raw, err := b.c.Store.Data(ctx, id, DataTexts)
	if err != nil {
		return nil, err
	}
	var t connector.Texts
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, errors.New("read texts: stored value is not readable")
	}
	return &t, nil
}

// Note marks a session once: it is true the first time that it is called with
// a kind, and then alone the lines of the audit trail are written. An API uses it
// for what may be told only once, which it has read before.
func (b *Broker) Note(ctx context.Context, id, kind string, lines ...Audit) (first bool, err error) {
	err = b.c.Store.Apply(ctx, &Change{ID: id, Data: []Data{{"mark/" + kind, []byte(b.c.NewID())}}, Audit: lines})
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// deadline is when a session that a person has just acted on expires.
func (b *Broker) deadline(s *Session, now time.Time, idle time.Duration) time.Time {
	last := s.Created.Add(b.limits.Before)
	if !s.Confirmed.IsZero() {
		last = s.Confirmed.Add(b.limits.After)
	}
	next := now.Add(idle)
	if next.After(last) {
		return last
	}
	return next
}

// Upstream reads the session whose order an upstream calls so, whoever's it
// is: for the sandbox, whose simulators know nothing else.
func (b *Broker) Upstream(ctx context.Context, env eid.Environment, e eid.EID, ref string) (*Session, *Spec, error) {
	o, err := b.c.Store.Find(ctx, e, env, connector.Ref(ref))
	if err != nil {
		return nil, nil, err
	}
	return b.open(ctx, o.Session)
}

// Nudge makes the next tick of a session's order come at once, if this node
// owns it: for the sandbox, where nobody wants to wait for an interval.
func (b *Broker) Nudge(ctx context.Context, session string) {
	s, err := b.c.Store.Session(ctx, session)
	if err != nil || s.Order == "" || s.Environment != eid.Test {
		return
	}
	b.orders.hurry(s.Order, b.now())
}
