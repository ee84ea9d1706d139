package broker

import (
	"context"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// A Duty is what a connector still owes an upstream after the attempt is over.
// It outlives the session and holds nothing of the person.
type Duty struct {
	ID          string // of the order
	Session     string
	Account     string
	Config      string
	Environment eid.Environment
	EID         eid.EID
	Set         string // Key of the settings that the order ran under
	State       []byte
	Due         time.Time
}

// duty is what an order that ends in this state leaves behind; none for most.
func (b *Broker) duty(s *Session, o *Order, set string, state []byte) []Duty {
	c, ok := b.connector(o.Environment, o.EID).(connector.Collector)
	if !ok || len(state) == 0 {
		return nil
	}
	d := c.Duty(state, b.now())
	if d == nil {
		return nil
	}
	return []Duty{{o.ID, o.Session, s.Account, s.Config, o.Environment, o.EID, set, d.State, d.Due}}
}

// duties sees to what is owed, one after another: upstreams want no bursts.
func (b *Broker) duties(ctx context.Context) error {
	const lease = time.Minute
	for {
		jumped := b.jumped()
		d, err := b.c.Store.ClaimDuty(ctx, b.now(), b.now().Add(lease))
		switch {
		case err != nil && ctx.Err() == nil:
			b.c.Log.WarnContext(ctx, "duties not readable", "error", err)
		case d != nil:
			if err := b.collect(ctx, d); err != nil && ctx.Err() == nil {
				b.c.Log.WarnContext(ctx, "duty not seen to", "order", d.ID, "eid", d.EID, "error", err)
			}
			continue
		}
		if !b.pause(ctx, time.Second, jumped, nil) {
			return nil
		}
	}
}

func (b *Broker) collect(ctx context.Context, d *Duty) error {
	c, ok := b.connector(d.Environment, d.EID).(connector.Collector)
	if !ok {
		return nil // comes again with the lease; the eID may be configured then
	}
	s := &Session{ID: d.Session, Account: d.Account, Config: d.Config, Environment: d.Environment, EID: d.EID}
	set, err := b.c.Settings(ctx, s, d.EID, d.Set)
	if err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	next, word := c.Collect(call, set, d.State, b.now())
	if ctx.Err() != nil {
		return ctx.Err() // we are being stopped: what came of it is not known
	}
	if next == nil && word == connector.GivenUp {
		b.c.Log.ErrorContext(ctx, "a duty is given up", "order", d.ID, "eid", d.EID, "account", d.Account)
	}
	b.observe(Observation{Kind: "collect", Session: s, Result: word})
	now := b.now()
	return b.c.Store.SettleDuty(ctx, d, next, Audit{now, "node", "order.collect", word})
}
