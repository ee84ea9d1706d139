package broker_test

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/connector/connectortest"
	"eidgate/eid"
)

var errAway = errors.New("the store is away")

// A witness counts what one node asks of the story's upstream.
type witness struct {
	*connectortest.Story
	asked atomic.Int64
	slow  atomic.Int64 // how long the next answer takes
}

func (s *witness) Resume(ctx context.Context, r *connector.Request, state []byte, e connector.Event) (connector.Result, error) {
	s.asked.Add(1)
	<-time.After(time.Duration(s.slow.Swap(0)))
	return s.Story.Resume(ctx, r, state, e)
}

func (s *witness) use(c *broker.Config) {
	c.Connectors = map[eid.Environment]map[eid.EID]connector.Connector{eid.Test: {"story": s}}
}

// TestSilentNodeStops: a second before anybody may take its orders over, a node
// that cannot beat asks nothing more of an upstream.
func TestSilentNodeStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		seen := &witness{Story: w.story}
		n := w.node(w.store, seen.use, func(c *broker.Config) { c.Limits.Beat = time.Hour })
		w.to(n, w.create(n).ID, "wait")
		later(3 * time.Second)
		early := seen.asked.Load()
		later(900 * time.Millisecond)
		last := seen.asked.Load()
		if last == early {
			t.Error("it has stopped before four seconds are over")
		}
		later(200 * time.Millisecond)
		last = seen.asked.Load()
		later(900 * time.Millisecond) // a request may take the order over now
		if now := seen.asked.Load(); now != last {
			t.Errorf("it has asked %d times when its beat was more than four seconds old", now-last)
		}
	})
}

// TestBackFromSilence: a node that could not beat for a while, and whose order
// another has taken over, asks nothing more of the upstream when it can again.
func TestBackFromSilence(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]time.Duration{"between two calls": 0, "in a call": 16 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				store, seen := &silent{Store: w.store, err: errAway}, &witness{Story: w.story}
				first := w.node(store, seen.use)
				s := w.create(first)
				w.to(first, s.ID, "wait")
				w.node(w.store)
				synctest.Wait() // both have begun to beat
				seen.slow.Store(int64(slow))
				store.lapse()
				if !first.Lives() || !w.stored(s, "taken over") {
					t.Fatalf("its node lives: %v, taken over: %v", first.Lives(), w.stored(s, "taken over"))
				}
				before, all := seen.asked.Load(), w.story.Calls("tick")
				later(time.Second)
				if now := seen.asked.Load(); now != before {
					t.Errorf("it has asked the upstream %d times for an order that is another node's", now-before)
				}
				if w.story.Calls("tick") == all {
					t.Error("the node that has taken over does not poll")
				}
			})
		})
	}
}

// TestSilenceWithoutAnother: a node that could not beat for a while, and is the only
// one, goes on when it can again.
func TestSilenceWithoutAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := &silent{Store: w.store, err: errAway}
		n := w.node(store)
		w.to(n, w.create(n).ID, "wait")
		synctest.Wait() // it has begun to beat
		store.lapse()
		before := w.story.Calls("tick")
		later(time.Second)
		if w.story.Calls("tick") == before {
			t.Error("it polls no more")
		}
	})
}

// TestPageOfASilentNode: a page shows where its order stands, though the node that
// is asked could not beat, and another goes on with it.
func TestPageOfASilentNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := &silent{Store: w.store, err: errAway}
		first := w.node(store)
		s := w.create(first)
		w.to(first, s.ID, "ask")
		second := w.node(w.store)
		shows := func(when, step string) {
			t.Helper()
			v, err := first.Look(t.Context(), s.ID, ada, connector.Browser{})
			if err != nil || v.Place != broker.AtStep || connector.StepName(v.Step) != step {
				t.Errorf("%s: %+v, %v; want %s", when, v, err, step)
			}
		}
		synctest.Wait() // both have begun to beat
		store.on.Store(true)
		later(12 * time.Second)
		w.to(second, s.ID, "redirect")
		shows("while it is silent", "redirect")
		store.on.Store(false)
		later(5 * time.Second)
		w.to(second, s.ID, "embed")
		shows("when it beats again", "embed")
	})
}

// A sluggish store takes beats, but slowly.
type sluggish struct{ broker.Store }

func (s sluggish) Beat(ctx context.Context, epoch string) error {
	err := s.Store.Beat(ctx, epoch)
	<-time.After(4500 * time.Millisecond)
	return err
}

// TestSluggishNodeTakesNothing: a node that could not act on an order in time does
// not take it over from a dead one.
func TestSluggishNodeTakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.node(&silent{Store: w.store}, func(c *broker.Config) { c.Limits.Beat = time.Hour })
		s := w.create(first)
		w.to(first, s.ID, "redirect")
		w.node(sluggish{w.store})
		later(30 * time.Second)
		if w.stored(s, "taken over") {
			t.Fatal("a sluggish node has taken it over")
		}
		w.node(w.store)
		later(5 * time.Second)
		if !w.stored(s, "taken over") {
			t.Error("nobody has taken it over")
		}
	})
}

// give makes an order another node's, which lives.
func (w *world) give(order, epoch string) {
	w.t.Helper()
	ctx := context.Background()
	o, err := w.store.Order(ctx, order)
	if err == nil {
		o.Owner = epoch
		err = errors.Join(w.store.Beat(ctx, epoch), w.store.Apply(ctx, &broker.Change{ID: o.Session, Order: o}))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// A swap is a store that does something when an order has been read.
type swap struct {
	broker.Store
	then atomic.Pointer[func()]
}

func (s *swap) Order(ctx context.Context, id string) (*broker.Order, error) {
	defer s.fire()
	return s.Store.Order(ctx, id)
}

func (s *swap) Find(ctx context.Context, e eid.EID, env eid.Environment, ref connector.Ref) (*broker.Order, error) {
	defer s.fire()
	return s.Store.Find(ctx, e, env, ref)
}

func (s *swap) fire() {
	if then := s.then.Swap(nil); then != nil {
		(*then)()
	}
}

// TestOrderChangesHands: an order that another node has taken over since it was
// read is left to that node, with what has happened.
func TestOrderChangesHands(t *testing.T) {
	t.Parallel()
	const other = "another node"
	for name, c := range map[string]struct {
		step string
		act  func(context.Context, *node, *broker.View) (*broker.View, error)
	}{
		"an act": {"ask", func(ctx context.Context, n *node, v *broker.View) (*broker.View, error) {
			return n.Act(ctx, v.Session.ID, ada, connector.Browser{}, connector.Submitted{Values: url.Values{"go": {"1"}}})
		}},
		"a return": {"redirect", func(ctx context.Context, n *node, v *broker.View) (*broker.View, error) {
			return n.Returned(ctx, eid.Test, "story", connectortest.Inbound(v.Session.Order), ada, connector.Browser{})
		}},
		"a cancel": {"redirect", func(ctx context.Context, n *node, v *broker.View) (*broker.View, error) {
			return n.Cancel(ctx, v.Session.ID, ada)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			seen := &witness{Story: w.story}
			w.keep["story"] = &quiet{seen}
			store := &swap{Store: w.store}
			n := w.node(store, func(c *broker.Config) { c.Limits.EffectFor = time.Millisecond })
			v := w.to(n, w.create(n).ID, c.step)
			order := v.Session.Order
			before := seen.asked.Load()
			taken := func() { w.give(order, other) }
			store.then.Store(&taken)
			if _, err := c.act(t.Context(), n, v); err != nil {
				t.Fatal(err)
			}
			o, err := w.store.Order(t.Context(), order)
			if err != nil || o.Owner != other || o.Ended || seen.asked.Load() != before || w.story.Cancelled(order) > 0 {
				t.Errorf("owner %q, ended %v, %d calls, %d cancels, %v; want it untouched", o.Owner, o.Ended, seen.asked.Load()-before, w.story.Cancelled(order), err)
			}
			if name == "a cancel" { // its new owner sees to it that the session has ended
				return
			}
			if inbox, err := w.store.Inbox(t.Context(), other, 0, 10); err != nil || len(inbox) != 1 {
				t.Errorf("%d messages for the new owner, %v; want 1", len(inbox), err)
			}
		})
	}
}

// quiet is a witness that need not poll, so that its orders are read each time.
type quiet struct{ *witness }

func (q *quiet) Info() connector.Info {
	i := q.witness.Info()
	i.Polls = false
	return i
}

// TestOrderComesBack: an order that was another node's while its first owner was in
// a call, and is the first one's again, is not the order that the call was for.
func TestOrderComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	id := w.create(n).ID
	order := w.to(n, id, "redirect").Session.Order
	var once atomic.Bool
	w.story.Hook = func(at string) error {
		if at == "returned" && once.CompareAndSwap(false, true) {
			w.give(order, "another node")
			w.give(order, n.epoch)
		}
		return nil
	}
	done := make(chan error, 1)
	go func() {
		_, err := n.Returned(context.Background(), eid.Test, "story", connectortest.Inbound(order), ada, connector.Browser{})
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil || w.story.Calls("returned") != 2 {
			t.Errorf("%v after %d calls; want the event delivered once more", err, w.story.Calls("returned"))
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the result of a call for what the order was is tried to be stored for ever")
	}
	if s := w.finish(id, func() *node { return n }); s.State != broker.Finished {
		t.Errorf("state = %s %s", s.State, s.Reason)
	}
}

// TestSecondClickAfterAFailure: what was on its way into an order when that failed,
// and may be tried again, reaches no connector.
func TestSecondClickAfterAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &swap{Store: w.store}
	n := w.node(store)
	id := w.create(n).ID
	w.to(n, id, "ask")
	failing, read := make(chan struct{}), make(chan struct{})
	w.story.Hook = func(string) error {
		close(failing)
		<-read
		return nil
	}
	type answer struct {
		v   *broker.View
		err error
	}
	answers := make(chan answer, 2)
	click := func() {
		v, err := n.Act(context.Background(), id, ada, connector.Browser{}, connector.Submitted{Values: url.Values{"fail": {"declined"}, "retry": {"1"}}})
		answers <- answer{v, err}
	}
	go click()
	<-failing
	second := func() { close(read) }
	store.then.Store(&second)
	go click()
	for range 2 {
		if a := <-answers; a.err != nil || a.v.Place != broker.AtRetry {
			t.Errorf("%+v, %v; want another try", a.v, a.err)
		}
	}
	if n := w.story.Calls("submitted"); n != 1 {
		t.Errorf("the connector was asked %d times, want once", n)
	}
}

// TestLateMessage: what comes through the inbox for an order that has ended is done
// with, and told of once.
func TestLateMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.finish(w.create(n).ID, func() *node { return n })
	event, err := connector.MarshalEvent(connector.Shown{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.Apply(t.Context(), &broker.Change{ID: s.ID, Put: []broker.Message{{Order: s.Order, Event: []byte(`{"event":` + string(event) + `}`)}}}); err != nil {
		t.Fatal(err)
	}
	n.Hinted()
	until(t, "the inbox is empty", func() bool {
		left, err := w.store.Inbox(t.Context(), n.epoch, 0, 10)
		return err == nil && len(left) == 0
	})
	if n := w.count(s, "late shown"); n != 1 {
		t.Errorf("the timeline tells of it %d times", n)
	}
}

// count is how many lines of the timeline say that.
func (w *world) count(s *broker.Session, text string) (n int) {
	w.t.Helper()
	notes, err := w.store.Notes(context.Background(), s.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, note := range notes {
		if note.Text == text {
			n++
		}
	}
	return n
}
