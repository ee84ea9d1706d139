package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// takeAfter is how long a request trusts a silent owner before it takes the
// order over; the node itself stops acting before that (beat.fresh).
const takeAfter = 5 * time.Second

// send brings an event to the order's owner: us, or another node through its
// inbox, or us after all when that node is dead. It waits up to wait for the
// effect of what it sent away. The reply is that to this event alone: whoever
// made another one may not be entitled to it.
func (b *Broker) send(ctx context.Context, order string, k *known, e connector.Event, wait time.Duration) (*connector.Reply, error) {
	for range 5 {
		o, err := k.orElse(ctx, b.c.Store, order)
		if err != nil {
			return nil, err
		}
		if o.Ended {
			return nil, nil
		}
		if o.Owner != b.c.Epoch {
			alive, err := b.c.Store.Alive(ctx, o.Owner, takeAfter)
			if err != nil {
				return nil, err
			}
			if alive {
				return b.forward(ctx, o, e, wait)
			}
			if err := b.takeOver(ctx, o); err != nil && !errors.Is(err, errFenced) {
				return nil, err
			}
			k = nil
		}
		var reply *connector.Reply
		if err := b.take(ctx, order, act{event: e, reply: &reply, known: k}); !errors.Is(err, errFenced) {
			return reply, err
		}
		k = nil
	}
	return nil, errFenced
}

// orElse is the order that is known, or as it is in the store.
func (k *known) orElse(ctx context.Context, s Store, id string) (*Order, error) {
	if k != nil {
		return &k.order, nil
	}
	return s.Order(ctx, id)
}

// forward puts an event into the owner's inbox and waits for its effect.
func (b *Broker) forward(ctx context.Context, o *Order, e connector.Event, wait time.Duration) (*connector.Reply, error) {
	raw, err := connector.MarshalEvent(e)
	if err != nil {
		return nil, err
	}
	token := b.c.NewID()
	if err := b.post(ctx, o, envelope{Token: token, Event: raw}); err != nil {
		return nil, err
	}
	end := time.NewTimer(wait)
	defer end.Stop()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-end.C:
			return nil, nil // the page shows Wait and asks again
		case <-time.After(pause):
		}
		now, err := b.c.Store.Order(ctx, o.ID)
		if err != nil {
			return nil, err
		}
		bd, err := now.body()
		if err != nil {
			return nil, err
		}
		if reply, ok := bd.answer(token); ok || now.Ended {
			return reply, nil
		}
	}
}

func (b *Broker) post(ctx context.Context, o *Order, env envelope) error {
	raw, err := json.Marshal(env)
	if err != nil {
		return err
	}
	if err := b.c.Store.Apply(ctx, &Change{ID: o.Session, Put: []Message{{Order: o.ID, Event: raw}}}); err != nil {
		return fmt.Errorf("put into inbox: %w", err)
	}
	if b.c.Hint != nil {
		b.c.Hint(o.Owner)
	}
	return nil
}

// Returned gives the browser that comes back from an upstream to its order. A
// browser that does not hold the session is told so. What it brought is left
// unused, and the session is parked, not ended; only where the eID's apps open
// any browser (Info.Anywhere) the connector gets it, and knows.
func (b *Broker) Returned(ctx context.Context, env eid.Environment, e eid.EID, in connector.Inbound, h Handle, br connector.Browser) (*View, error) {
	o, err := b.locate(ctx, env, e, in)
	if err != nil {
		return nil, err
	}
	s, err := b.c.Store.Session(ctx, o.Session)
	if err != nil {
		return nil, err
	}
	if !b.holds(s, h) {
		b.observe(Observation{Kind: "binding_mismatch", Session: s})
		if !b.connector(env, e).Info().Anywhere {
			return b.Look(ctx, s.ID, h, br)
		}
		switch refusal, err := b.screen(ctx, o, s, in); {
		case err != nil:
			return nil, err
		case refusal != nil:
			return nil, ErrNotFound
		}
		if !s.State.Ended() && s.Order == o.ID {
			if _, err := b.send(ctx, o.ID, &known{*o, *s}, connector.Returned{In: in, Foreign: true}, b.limits.EffectFor); err != nil {
				return nil, err
			}
		}
		return b.landing(ctx, s.ID)
	}
	switch {
	case s.Order != o.ID: // the person has begun anew
	case !s.State.Ended():
		if _, err := b.send(ctx, o.ID, &known{*o, *s}, connector.Returned{In: in}, b.limits.EffectFor); err != nil {
			return nil, err
		}
	case s.State == Finished: // who comes to another end may only be late
		b.observe(Observation{Kind: "replay", Session: s})
	}
	return b.Look(ctx, s.ID, h, br)
}

// landing is what a browser sees that has brought an answer to another one's
// session: which party it is for, whether it is asked something, and no more.
func (b *Broker) landing(ctx context.Context, id string) (*View, error) {
	s, spec, err := b.open(ctx, id)
	if err != nil {
		return nil, err
	}
	v := &View{Place: AtLanding, Session: *s, Spec: *spec, Failed: s.Reason}
	if s.State.Ended() || s.Order == "" {
		return v, nil
	}
	o, err := b.c.Store.Order(ctx, s.Order)
	if err != nil {
		return nil, err
	}
	bd, err := o.body()
	if err != nil {
		return nil, err
	}
	v.Step, err = bd.step()
	return v, err
}

// Called gives an upstream's own call to its order and returns the answer; nil
// when there is none yet, or the order has ended.
func (b *Broker) Called(ctx context.Context, env eid.Environment, e eid.EID, in connector.Inbound) (*connector.Reply, error) {
	o, err := b.locate(ctx, env, e, in)
	if err != nil {
		return nil, err
	}
	s, err := b.c.Store.Session(ctx, o.Session)
	if err != nil {
		return nil, err
	}
	if refusal, err := b.screen(ctx, o, s, in); err != nil || refusal != nil {
		return refusal, err
	}
	return b.send(ctx, o.ID, &known{*o, *s}, connector.Called{In: in}, b.limits.EffectFor)
}

// screen is what an inbound request is refused with; nil lets it pass, as
// everything does once the order has forgotten what the upstream knows.
func (b *Broker) screen(ctx context.Context, o *Order, s *Session, in connector.Inbound) (*connector.Reply, error) {
	conn, ok := b.connector(o.Environment, o.EID).(connector.Screener)
	if !ok || o.Ended {
		return nil, nil
	}
	bd, err := o.body()
	if err != nil || bd.State == nil {
		return nil, err
	}
	set, err := b.c.Settings(ctx, s, o.EID, bd.Set)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", o.EID, err)
	}
	return conn.Screen(set, bd.State, in), nil
}

// locate finds the order that an inbound request names; ErrNotFound.
func (b *Broker) locate(ctx context.Context, env eid.Environment, e eid.EID, in connector.Inbound) (*Order, error) {
	loc, ok := b.connector(env, e).(connector.Locator)
	if !ok {
		return nil, ErrNotFound
	}
	ref, err := loc.Locate(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return b.c.Store.Find(ctx, e, env, ref)
}
