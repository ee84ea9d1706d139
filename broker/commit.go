package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// commit makes a result true: order, session, timeline, audit and outbox in
// one change. A result is held until storage takes it, the fence is lost, or
// Limits.Save has passed: it may be one that the upstream gives only once. With
// first, which may be nil, the order is not stored yet, and is with the result;
// what comes of that is known at once.
func (b *Broker) commit(ctx context.Context, l *live, res connector.Result, f *first) error {
	if f.waits() {
		c, next, err := b.change(ctx, l, res)
		if err != nil {
			return err
		}
		if c.Session == nil {
			c.Session = next.session
		}
		c = f.change.and(c)
		if err := f.save(c); err != nil {
			return err
		}
		b.committed(l, next, c)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.limits.Save)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, next, err := b.change(ctx, l, res)
		if err == nil {
			err = b.c.Store.Apply(ctx, c)
		}
		switch {
		case err == nil:
			b.committed(l, next, c)
			return nil
		case errors.Is(err, ErrConflict):
			ended, err := b.reread(ctx, l)
			if err != nil {
				return err
			}
			if ended {
				return b.abandon(ctx, l)
			}
			continue
		}
		b.c.Log.ErrorContext(ctx, "result not stored yet", "session", l.session, "error", err)
		select {
		case <-ctx.Done():
			b.orders.forget(l.order.ID)
			return fmt.Errorf("commit result: %w", err)
		case <-time.After(pause):
		}
	}
}

// reread finds out who changed what: the session, which any node may do, or
// the order, which only a new owner does.
func (b *Broker) reread(ctx context.Context, l *live) (ended bool, err error) {
	o, err := b.c.Store.Order(ctx, l.order.ID)
	if err != nil {
		return false, err
	}
	if o.Fence != l.order.Fence { // its owner stands with it
		b.orders.forget(l.order.ID)
		return false, errFenced
	}
	if l.session, err = b.c.Store.Session(ctx, l.order.Session); err != nil {
		return false, err
	}
	return l.session.State.Ended(), nil
}

// change computes the rows that a result leads to. It alters nothing.
func (b *Broker) change(ctx context.Context, l *live, res connector.Result) (*Change, *live, error) {
	now := b.now()
	s, o, bd := *l.session, *l.order, *l.body
	err := bd.show(res.Step)
	if err != nil {
		return nil, nil, err
	}
	bd.State, bd.Pending, bd.Tries = res.State, nil, 0
	if res.Reply != nil {
		bd.Reply = res.Reply
	}
	o.Due = res.Due
	c := &Change{ID: s.ID, Order: &o, Refs: res.Refs}
	for _, n := range res.Notes {
		c.Notes = append(c.Notes, Note{now, "upstream", n})
	}
	for _, e := range res.Evidence {
		c.Data = append(c.Data, evidence(e))
		bd.Kept = true
	}
	before := s.State
	if res.Binding != "" {
		s.Level = res.Binding
	}
	final := res.Step
	if res.Confirmed != nil && before == Started {
		final, err = b.confirm(&s, l.spec, c, res, now)
		if err != nil {
			return nil, nil, err
		}
	}
	switch st := final.(type) {
	case connector.Done:
		if s.State != Confirmed { // nobody was confirmed: there is no result to finish with
			err = b.fail(ctx, &s, &o, &bd, l.spec, c, connector.Fail{Reason: eid.BadAnswer}, now)
			break
		}
		if o.Stage < len(l.spec.Stages) {
			o.Stage++
			s.Stage = o.Stage
			o.EID, o.Mode, o.Due = l.spec.Stages[o.Stage-1], "", time.Time{}
			bd = body{Browser: bd.Browser, Pending: &pending{Begin: true}, Last: bd.Last, Reply: bd.Reply, Earlier: bd.Earlier}
			c.Notes = append(c.Notes, Note{now, "step", "stage " + string(o.EID)})
			break
		}
		err = b.finish(ctx, &s, &o, &bd, l, c, res, now)
	case connector.Fail:
		err = b.fail(ctx, &s, &o, &bd, l.spec, c, st, now)
	default:
		c.Notes = append(c.Notes, Note{now, "step", stepText(final)})
	}
	if err != nil {
		return nil, nil, err
	}
	if s.State != before || s.Stage != l.session.Stage || s.Level != l.session.Level {
		c.Session = &s
	}
	if o.Ended {
		c.Duties = b.duty(&s, &o, bd.Set, res.State)
	}
	o.Body = bd.bytes()
	return c, &live{order: &o, session: &s, spec: l.spec, body: &bd}, nil
}

// and is both changes of one session: the rows are as d leaves them.
func (c *Change) and(d *Change) *Change {
	out := *d
	out.Data = append(slices.Clone(c.Data), d.Data...)
	out.Notes = append(slices.Clone(c.Notes), d.Notes...)
	out.Audit = append(slices.Clone(c.Audit), d.Audit...)
	return &out
}

// stepText is a step's line in the timeline.
func stepText(st connector.Step) string {
	t := connector.StepName(st)
	if w, ok := st.(connector.Wait); ok && w.Hint != "" {
		return t + " " + w.Hint
	}
	return t
}

// confirm keeps whom the eID has confirmed, unless it is not the person that
// was asked for: one without a number is not.
func (b *Broker) confirm(s *Session, spec *Spec, c *Change, res connector.Result, now time.Time) (connector.Step, error) {
	id := *res.Confirmed
	if spec.Pinned != "" && id.Number != spec.Pinned {
		return connector.Fail{Reason: eid.WrongPerson}, nil
	}
	raw, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	if err := s.move(confirm); err != nil {
		return nil, err
	}
	s.Confirmed = now
	s.Due = b.deadline(s, now, b.limits.Idle)
	c.Data = append(c.Data, Data{DataIdentity, raw})
	c.Notes = append(c.Notes, Note{now, "state", string(Confirmed)})
	return res.Step, nil
}

// finish ends the session with a result.
func (b *Broker) finish(ctx context.Context, s *Session, o *Order, bd *body, l *live, c *Change, res connector.Result, now time.Time) error {
	if err := s.move(finish); err != nil {
		return err
	}
	id, evidence := res.Confirmed, res.Evidence
	if l.session.State == Confirmed { // by an earlier result
		var err error
		if id, err = b.identity(ctx, s.ID); err != nil {
			return err
		}
	}
	if l.session.State == Confirmed || l.body.Kept {
		old, err := b.c.Store.Evidence(ctx, s.ID)
		if err != nil {
			return err
		}
		evidence = append(old, evidence...)
	}
	return b.end(ctx, s, o, bd, l.spec, c, id, evidence, now)
}

// fail ends the attempt and, unless it may be tried again, the session.
func (b *Broker) fail(ctx context.Context, s *Session, o *Order, bd *body, spec *Spec, c *Change, f connector.Fail, now time.Time) error {
	if err := bd.show(f); err != nil {
		return err
	}
	if f.Retry && s.State == Started {
		o.Ended, o.Due = true, time.Time{}
		bd.State = nil
		c.Notes = append(c.Notes, Note{now, "step", strings.TrimSpace("retry " + string(f.Reason) + " " + f.Code)})
		return nil
	}
	if err := s.move(fail); err != nil {
		return err
	}
	s.Reason, s.Code = f.Reason, f.Code
	return b.end(ctx, s, o, bd, spec, c, nil, nil, now)
}

// end writes what belongs to every end: times, timeline, audit, and the
// notifications that the session's API wants. o is nil when no order runs.
func (b *Broker) end(ctx context.Context, s *Session, o *Order, bd *body, spec *Spec, c *Change, id *eid.Identity, ev []eid.Evidence, now time.Time) error {
	s.Ended = now
	keep := b.limits.Keep
	if spec.Keep > 0 {
		keep = spec.Keep
	}
	s.Due = now.Add(keep)
	if o != nil {
		o.Ended, o.Due = true, time.Time{}
		bd.State = nil // what it held is evidence now, or worth nothing
	}
	outcome := "ok"
	if s.State == Failed {
		outcome = string(s.Reason)
	}
	text := string(s.State)
	if s.Reason != "" {
		text += " " + string(s.Reason)
	}
	c.Notes = append(c.Notes, Note{now, "state", text})
	c.Audit = append(c.Audit, Audit{now, "node", "session." + string(s.State), outcome})
	if render := b.c.Outbox[s.API]; render != nil {
		f := &Final{Session: s, Spec: spec, Identity: id, Evidence: ev, Now: now, NewRow: b.c.NewRow}
		if s.State == Failed && s.Order != "" {
			refs, err := b.c.Store.Refs(ctx, s.ID)
			if err != nil {
				return err
			}
			f.Refs = append(refs, c.Refs...)
		}
		c.Outbox = append(c.Outbox, render(f)...)
	}
	c.Session = s
	return nil
}

// committed takes over what has become true.
func (b *Broker) committed(l, next *live, c *Change) {
	ended := next.session.State.Ended() && !l.session.State.Ended()
	l.order, l.body = next.order, next.body
	for _, d := range c.Data {
		if d.Kind == DataIdentity {
			b.who.Put(c.ID, d.Value)
		}
	}
	if c.Session != nil {
		l.session = next.session
	}
	if l.order.Ended {
		b.orders.forget(l.order.ID)
	}
	if ended {
		b.told(l.session, len(c.Outbox) > 0)
	}
}

// told counts an end and wakes who delivers.
func (b *Broker) told(s *Session, outbox bool) {
	b.observe(Observation{Kind: "ended", Session: s, Took: s.Ended.Sub(s.Created), Result: string(s.Reason)})
	if outbox && b.c.Wake != nil {
		b.c.Wake()
	}
}

// leave adds to a change that an order ends without an outcome. What is owed to
// its eID stays.
func (b *Broker) leave(c *Change, s *Session, o *Order, bd *body) {
	c.Duties = append(c.Duties, b.duty(s, o, bd.Set, bd.State)...)
	bd.State, bd.Pending = nil, nil
	o.Ended, o.Due, o.Body = true, time.Time{}, bd.bytes()
	c.Order = o
	c.Notes = append(c.Notes, Note{b.now(), "step", "abandoned"})
}

// abandon ends an order whose session has ended without it, and tells the
// upstream so.
func (b *Broker) abandon(ctx context.Context, l *live) error {
	b.orders.forget(l.order.ID)
	state := l.body.State
	o, bd, c := *l.order, *l.body, &Change{ID: l.session.ID}
	b.leave(c, l.session, &o, &bd)
	l.order = &o // whatever comes of it: nothing more is done for this order
	err := b.c.Store.Apply(ctx, c)
	if err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	conn := b.connector(o.Environment, o.EID)
	can, ok := conn.(connector.Canceller)
	if !ok || state == nil || err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	r, err := b.request(ctx, l)
	if err != nil {
		return err
	}
	if err := can.Cancel(ctx, r, state); err != nil {
		b.c.Log.InfoContext(ctx, "cancel upstream", "session", l.session, "error", err)
	}
	return nil
}
