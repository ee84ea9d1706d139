package broker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"eidgate/connector"
	"eidgate/eid"

	"golang.org/x/sync/errgroup"
)

// Leases between nodes are about processes that live or do not, so they use
// real time and not the injected clock, which a sandbox moves about: each node
// for itself what has passed since its last beat, and about others the clock of
// the database, which all have in common.

// A beat remembers when this node last proved that it lives.
type beat struct{ at atomic.Pointer[time.Time] }

func (b *beat) set(t time.Time) { b.at.Store(&t) }

// fresh says whether others must still take this node for alive. A node that
// could not beat stops acting a second before anybody takes over.
func (b *beat) fresh(dead time.Duration) bool {
	at := b.at.Load()
	return at == nil || time.Since(*at) < min(dead, takeAfter)-time.Second
}

// page is how many orders, messages or sessions are read at a time.
const page = 100

// Run does the node's own work until ctx ends: beats, ticks, messages from
// other nodes, orders of dead nodes, expiry and erasure.
func (b *Broker) Run(ctx context.Context) error {
	if err := b.beat(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.every(ctx, b.limits.Beat, b.beat) })
	g.Go(func() error { return b.ticks(ctx) })
	g.Go(func() error { return b.messages(ctx) })
	g.Go(func() error { return b.every(ctx, time.Second, b.adopt) })
	g.Go(func() error { return b.dues(ctx) })
	g.Go(func() error { return b.duties(ctx) })
	g.Go(func() error { return b.refreshes(ctx) })
	// What another node has erased leaves this one's memory too.
	g.Go(func() error {
		return b.every(ctx, time.Minute, func(context.Context) error { b.specs.Clear(); b.who.Clear(); return nil })
	})
	err := g.Wait()
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return errors.Join(err, b.c.Store.Leave(leave, b.c.Epoch))
}

// every does a piece of work at once and then at an interval of real time.
// Its errors are logged, not fatal: storage may be away for a while.
func (b *Broker) every(ctx context.Context, d time.Duration, work func(context.Context) error) error {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		if err := work(ctx); err != nil && ctx.Err() == nil {
			b.c.Log.WarnContext(ctx, "background work failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Lives says whether this node could write lately that it lives. Others take
// over the orders of one that could not.
func (b *Broker) Lives() bool {
	at := b.beaten.at.Load()
	return at == nil || time.Since(*at) < b.limits.Dead
}

func (b *Broker) beat(ctx context.Context) error {
	now := time.Now()
	if err := b.c.Store.Beat(ctx, b.c.Epoch); err != nil {
		return err
	}
	if !b.beaten.fresh(b.limits.Dead) { // a tick without news would not meet the fence of a new owner
		b.orders.lapse()
	}
	b.beaten.set(now)
	return nil
}

// ticks gives each order its tick when its time has come.
func (b *Broker) ticks(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		jumped := b.jumped()
		id, wait := b.orders.next(b.now())
		if id == "" {
			if !b.pause(ctx, wait, jumped, b.orders.kick) {
				return nil
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case b.ticking <- struct{}{}:
		}
		running.Add(1)
		go func() {
			defer running.Done()
			defer func() { <-b.ticking }()
			if err := b.take(ctx, id, act{event: connector.Tick{}}); err != nil && !errors.Is(err, errFenced) && ctx.Err() == nil {
				b.c.Log.WarnContext(ctx, "tick failed", "error", err)
			}
		}()
	}
}

// jumped is closed at the next jump of the clock. Whoever pauses asks for it before
// looking at the clock, or misses a jump in between.
func (b *Broker) jumped() <-chan struct{} {
	if b.c.Jumped == nil {
		return nil
	}
	return b.c.Jumped()
}

// pause waits for a while, for a jump of the clock, or for a kick. It is
// false when ctx has ended.
func (b *Broker) pause(ctx context.Context, d time.Duration, jumped, kick <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-jumped:
	case <-kick:
	}
	return true
}

// messages handles what other nodes have put into our inbox.
func (b *Broker) messages(ctx context.Context) error {
	last := int64(0) // of this round: what cannot be handled keeps nothing from being handled
	for {
		batch, err := b.c.Store.Inbox(ctx, b.c.Epoch, last, page)
		if err != nil && ctx.Err() == nil {
			b.c.Log.WarnContext(ctx, "inbox not readable", "error", err)
		}
		var wg sync.WaitGroup
		for _, m := range batch {
			wg.Go(func() { b.message(ctx, m) })
		}
		wg.Wait()
		if len(batch) == page {
			last = batch[page-1].ID
			continue
		}
		last = 0
		if !b.pause(ctx, time.Second, nil, b.inbox) {
			return nil
		}
	}
}

func (b *Broker) message(ctx context.Context, m Message) {
	if m.Event == nil {
		return
	}
	var env envelope
	err := json.Unmarshal(m.Event, &env)
	switch {
	case err != nil:
	case env.Drop:
		if err = b.drop(ctx, m.Order); err == nil {
			err = b.taken(ctx, m)
		}
	default:
		var e connector.Event
		if e, err = connector.UnmarshalEvent(env.Event); err == nil {
			err = b.take(ctx, m.Order, act{event: e, message: &m, token: env.Token})
		}
	}
	if err != nil && !errors.Is(err, errFenced) && ctx.Err() == nil {
		b.c.Log.WarnContext(ctx, "message not handled", "order", m.Order, "error", err)
	}
}

func (b *Broker) taken(ctx context.Context, m Message) error {
	o, err := b.c.Store.Order(ctx, m.Order)
	if err != nil {
		return err
	}
	return b.c.Store.Apply(ctx, &Change{ID: o.Session, Took: []int64{m.ID}})
}

// join registers the node before it owns anything: an order of a node that
// nobody knows, or that could not beat for a while, is taken for an orphan.
func (b *Broker) join(ctx context.Context) error {
	if b.beaten.at.Load() != nil && b.beaten.fresh(b.limits.Dead) {
		return nil
	}
	return b.beat(ctx)
}

// adopt takes over the orders of nodes that are dead. Its own it never does: a
// clock that jumps makes the node's last beat look old. One that cannot be taken
// over is logged and comes again; it holds nobody up.
func (b *Broker) adopt(ctx context.Context) error {
	last := ""
	for {
		batch, err := b.c.Store.Orphans(ctx, b.limits.Dead, last, page)
		if err != nil {
			return err
		}
		var left failures
		for _, id := range batch {
			if !b.beaten.fresh(b.limits.Dead) {
				return nil
			}
			if err := b.inherit(ctx, id); !errors.Is(err, errFenced) {
				left.add(id, err)
			}
		}
		left.log(ctx, b.c.Log, "order of a dead node")
		if len(batch) < page {
			return nil
		}
		last = batch[page-1]
	}
}

// inherit takes over an order of a dead node, unless another was quicker since
// the orders were listed.
func (b *Broker) inherit(ctx context.Context, id string) error {
	o, err := b.c.Store.Order(ctx, id)
	if err != nil || o.Owner == b.c.Epoch {
		return err
	}
	if alive, err := b.c.Store.Alive(ctx, o.Owner, b.limits.Dead); err != nil || alive {
		return err
	}
	return b.takeOver(ctx, o)
}

// takeOver makes an order ours and goes on where its owner stopped: a pending
// event is delivered once more, a persisted once-only answer is verified.
func (b *Broker) takeOver(ctx context.Context, o *Order) error {
	if err := b.join(ctx); err != nil {
		return err
	}
	mine := *o
	mine.Owner = b.c.Epoch
	err := b.c.Store.Apply(ctx, &Change{ID: o.Session, Order: &mine, Notes: []Note{{b.now(), "step", "taken over"}}})
	if errors.Is(err, ErrConflict) {
		return errFenced
	}
	if err != nil {
		return err
	}
	b.c.Log.InfoContext(ctx, "order taken over", "order", o.ID, "eid", o.EID)
	b.orders.schedule(o.ID, b.now()) // the first tick finds out what was pending
	return nil
}

// dues expires and erases sessions whose time has come.
func (b *Broker) dues(ctx context.Context) error {
	var last Mark      // of this round: a session that cannot be dealt with holds nobody up
	var upto time.Time // what comes due in this round, or is put off, is for the next one
	for {
		jumped := b.jumped()
		if last == (Mark{}) {
			upto = b.now()
		}
		batch, err := b.c.Store.Due(ctx, upto, last, page)
		if err != nil && ctx.Err() == nil {
			b.c.Log.WarnContext(ctx, "due sessions not readable", "error", err)
		}
		last = Mark{}
		if len(batch) == page {
			last = Mark{batch[page-1].Due, batch[page-1].ID}
		}
		g := errgroup.Group{}
		g.SetLimit(16)
		var left failures
		for _, s := range batch {
			g.Go(func() error {
				if err := b.due(ctx, s); !errors.Is(err, ErrConflict) {
					left.add(s.ID, err)
				}
				return nil
			})
		}
		_ = g.Wait() // they are among those left
		left.log(ctx, b.c.Log, "due session")
		if len(batch) == page {
			continue
		}
		if !b.pause(ctx, time.Second, jumped, nil) {
			return nil
		}
	}
}

// failures are what could not be dealt with of a page, for one line in the log.
type failures struct {
	mu    sync.Mutex
	count int
	id    string // of the first
	err   error
}

func (f *failures) add(id string, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count++; f.count == 1 {
		f.id, f.err = id, err
	}
}

func (f *failures) log(ctx context.Context, log *slog.Logger, kind string) {
	if f.count > 0 && ctx.Err() == nil {
		log.WarnContext(ctx, "could not be dealt with", "kind", kind, "count", f.count, "first", f.id, "error", f.err)
	}
}

func (b *Broker) due(ctx context.Context, s *Session) error {
	switch s.State {
	case Finished, Failed:
		return b.erase(ctx, s)
	case Erased:
		return nil
	default:
		return b.expire(ctx, s)
	}
}

// Erase destroys the key of a session that has ended and what was sealed with it;
// a bare record stays. ErrMove: it has not ended, or is erased. Nodes that serve
// beside forget what they keep of it within a minute.
func Erase(ctx context.Context, st Store, s *Session, actor string, now time.Time) error {
	if err := s.move(erase); err != nil {
		return err
	}
	s.Due = time.Time{}
	return st.Apply(ctx, &Change{ID: s.ID, Session: s, Erase: true,
		Notes: []Note{{now, "state", string(Erased)}},
		Audit: []Audit{{now, actor, "session.erase", "ok"}}})
}

// erase is Erase of a session whose time has come.
func (b *Broker) erase(ctx context.Context, s *Session) error {
	err := Erase(ctx, b.c.Store, s, "node", b.now())
	if err == nil {
		b.specs.Drop(s.ID)
		b.who.Drop(s.ID)
		b.observe(Observation{Kind: "erased", Session: s})
	}
	return err
}

// expire lets the connector collect once more, then ends the session.
func (b *Broker) expire(ctx context.Context, s *Session) error {
	const grace = 5 * time.Second
	version := s.Version // whoever asks for time or begins at this moment goes on
	if s.Order != "" {
		version = 0
		claim := *s
		claim.Due = b.now().Add(2 * grace) // ours for as long as this takes
		if err := b.c.Store.Apply(ctx, &Change{ID: s.ID, Session: &claim}); err != nil {
			return err
		}
		last, cancel := context.WithTimeout(ctx, grace)
		_, err := b.send(last, s.Order, nil, connector.Expired{}, grace)
		cancel()
		if err != nil {
			b.c.Log.InfoContext(ctx, "last collect", "session", s, "error", err)
		}
	}
	err := b.stop(ctx, s.ID, nil, connector.Fail{Reason: eid.Expired}, "node", version)
	if errors.Is(err, ErrMove) {
		return nil // it has ended by itself, or goes on
	}
	return err
}
