package broker_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/connector/connectortest"
	"eidgate/eid"
)

// many is more than a node reads at a time.
const many = 130

// A worn store cannot write some sessions, nor read some orders.
type worn struct {
	broker.Store
	bad sync.Map // their ids
}

var errWorn = errors.New("the store is worn here")

func (s *worn) Apply(ctx context.Context, c *broker.Change) error {
	if _, bad := s.bad.Load(c.ID); bad {
		return errWorn
	}
	return s.Store.Apply(ctx, c)
}

func (s *worn) Order(ctx context.Context, id string) (*broker.Order, error) {
	if _, bad := s.bad.Load(id); bad {
		return nil, errWorn
	}
	return s.Store.Order(ctx, id)
}

// TestExpiryGoesOn: sessions that cannot be ended hold up no other, however many
// there are before it.
func TestExpiryGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ck := newClock()
	w.story.Now = ck.Now
	store := &worn{Store: w.store}
	n := w.node(store, ck.use)
	for range many {
		store.bad.Store(w.create(n).ID, nil)
	}
	ck.advance(time.Second)
	good := w.create(n).ID
	ck.advance(30 * time.Minute)
	until(t, "the last session expires", func() bool { return w.session(good).Reason == eid.Expired })
	store.bad.Range(func(id, _ any) bool {
		if s := w.session(id.(string)); s.State.Ended() {
			t.Errorf("%s has ended in a store that cannot write it", id)
		}
		return true
	})
}

// TestTakingOverGoesOn: orders that cannot be taken over hold up no other.
func TestTakingOverGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mute := &silent{Store: w.store}
	first := w.node(mute)
	var orders []string
	for range many {
		s := w.create(first)
		w.to(first, s.ID, "redirect")
		orders = append(orders, w.session(s.ID).Order)
	}
	slices.Sort(orders)
	good := orders[many-1]
	store := &worn{Store: w.store}
	for _, id := range orders[:many-1] {
		store.bad.Store(id, nil)
	}
	mute.on.Store(true)
	w.bury(first)
	second := w.node(store)
	until(t, "the last order is taken over", func() bool {
		o, err := w.store.Order(t.Context(), good)
		return err == nil && o.Owner == second.epoch
	})
}

// TestMessagesGoOn: messages that cannot be read hold up no other.
func TestMessagesGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.node(w.store)
	s := w.create(owner)
	w.to(owner, s.ID, "redirect")
	order := w.session(s.ID).Order
	junk := make([]broker.Message, many)
	for i := range junk {
		junk[i].Order = order
		if i%2 > 0 {
			junk[i].Event = []byte("{")
		}
	}
	if err := w.store.Apply(t.Context(), &broker.Change{ID: s.ID, Put: junk}); err != nil {
		t.Fatal(err)
	}
	other := w.node(w.store)
	if _, err := other.Returned(t.Context(), eid.Test, "story", connectortest.Inbound(order), ada, connector.Browser{}); err != nil {
		t.Error(err)
	}
	if s := w.finish(s.ID, func() *node { return other }); s.State != broker.Finished {
		t.Errorf("state = %s %s", s.State, s.Reason)
	}
	if left, err := w.store.Inbox(t.Context(), owner.epoch, 0, 2*many); err != nil || len(left) != many {
		t.Errorf("%d messages are left, %v; want those that cannot be read", len(left), err)
	}
}

// A late store lists orphans that others have taken over before they are read.
type late struct {
	broker.Store
	listed chan struct{} // closed when there is a list
	taken  chan struct{} // closed when they have been taken over
	rounds atomic.Int64  // that came after that
}

func (s *late) Orphans(ctx context.Context, silent time.Duration, after string, limit int) ([]string, error) {
	all, err := s.Store.Orphans(ctx, silent, after, limit)
	select {
	case <-s.listed:
		s.rounds.Add(1)
	default:
		if len(all) > 0 {
			close(s.listed)
			<-s.taken
		}
	}
	return all, err
}

// TestTakenOverOnce: what another node has taken over meanwhile is that node's.
func TestTakenOverOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mute := &silent{Store: w.store}
	first := w.node(mute)
	s := w.create(first)
	w.to(first, s.ID, "redirect")
	order := w.session(s.ID).Order
	store := &late{Store: w.store, listed: make(chan struct{}), taken: make(chan struct{})}
	mute.on.Store(true)
	w.bury(first)
	w.node(store)
	<-store.listed
	second := w.node(w.store)
	owner := func() string {
		o, err := w.store.Order(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		return o.Owner
	}
	until(t, "the order is taken over", func() bool { return owner() == second.epoch })
	close(store.taken)
	until(t, "the slower node's round is over", func() bool { return store.rounds.Load() > 0 })
	if owner() != second.epoch {
		t.Error("the slower node has taken the order away from the one that has it")
	}
}
