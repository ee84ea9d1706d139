package broker_test

import (
	"bytes"
	"errors"
	"maps"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/connector/connectortest"
	"eidgate/eid"
)

// TestSecurityEvents: what another account asks for, what another browser brings
// and what comes once more are told of, each by its kind.
func TestSecurityEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	seen := map[string]int{}
	n := w.node(w.store, func(c *broker.Config) {
		c.Observe = func(o broker.Observation) {
			mu.Lock()
			defer mu.Unlock()
			if o.Kind == "replay" || o.Kind == "cross_tenant" || o.Kind == "binding_mismatch" {
				seen[o.Kind]++
			}
		}
	})
	is := func(when string, want map[string]int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !maps.Equal(seen, want) {
			t.Errorf("%s: %v, want %v", when, seen, want)
		}
	}
	s := w.create(n)
	order := w.to(n, s.ID, "redirect").Session.Order
	returns := func(h broker.Handle) {
		t.Helper()
		if _, err := n.Returned(t.Context(), eid.Test, "story", connectortest.Inbound(order), h, connector.Browser{}); err != nil {
			t.Fatal(err)
		}
	}
	returns(broker.Handle{Cookie: "another browser"})
	is("another browser", map[string]int{"binding_mismatch": 1})
	s = w.finish(s.ID, func() *node { return n })
	if _, err := n.Session(t.Context(), s.Account, s.Environment, s.ID); err != nil {
		t.Fatal(err)
	}
	is("a login", map[string]int{"binding_mismatch": 1})
	order = s.Order
	returns(ada)
	is("a return once more", map[string]int{"binding_mismatch": 1, "replay": 1})
	late := w.create(n)
	order = w.to(n, late.ID, "redirect").Session.Order
	if err := n.Stop(t.Context(), late.ID); err != nil {
		t.Fatal(err)
	}
	returns(ada)
	is("a first return that is late", map[string]int{"binding_mismatch": 1, "replay": 1})
	if _, err := n.Session(t.Context(), "33333333-0000-4000-8000-000000000001", s.Environment, s.ID); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("another account: %v", err)
	}
	is("another account", map[string]int{"binding_mismatch": 1, "replay": 1, "cross_tenant": 1})
}

// TestRowsOfOneBrowser: the rows of sessions do not tell that one browser has
// begun them, nor is what they keep of its secret made without the node's key.
func TestRowsOfOneBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	one, two := w.create(n), w.create(n)
	for _, s := range []*broker.Session{one, two} {
		if _, err := n.Speak(t.Context(), s.ID, ada, "sv"); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Equal(w.session(one.ID).Handle, w.session(two.ID).Handle) {
		t.Error("two sessions of one browser have the same handle")
	}
	w.to(n, one.ID, "ask")
	keyed := w.node(w.store, func(c *broker.Config) { c.HandleKey = bytes.Repeat([]byte{7}, 32) })
	if v, err := keyed.Look(t.Context(), one.ID, ada, connector.Browser{}); err != nil || v.Place != broker.AtElsewhere {
		t.Errorf("with another key: %+v, %v; want elsewhere", v, err)
	}
}

// TestPassIsOfOneOrder: a page that has opened the way to the eID does not open that
// of the next try.
func TestPassIsOfOneOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	id := w.create(n).ID
	old := w.to(n, id, "redirect").Pass
	failed := connector.Submitted{Values: url.Values{"fail": {"declined"}, "retry": {"1"}}}
	if _, err := n.Act(t.Context(), id, ada, connector.Browser{}, failed); err != nil {
		t.Fatal(err)
	}
	now := w.to(n, id, "redirect").Pass
	if now == old {
		t.Error("two orders have the same pass")
	}
	for pass, want := range map[string]string{old: "", now: "https://upstream.example/login"} {
		if to, err := n.Away(t.Context(), id, broker.Handle{}, pass); err != nil || to != want {
			t.Errorf("goes to %q, %v; want %q", to, err, want)
		}
	}
}

// TestErasedIsForgotten: what a node has in memory of a session goes with its
// erasure, also for those who have read the session before.
func TestErasedIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newStreet(t, newStore(t))
		n := w.node()
		synctest.Wait() // what it does each minute is done for the first time
		v := w.begin(n, "a")
		in := connector.Inbound{Method: "GET", Query: url.Values{"id": {v.Session.Order}}}
		v, err := n.Returned(t.Context(), eid.Test, "bank", in, ada, connector.Browser{})
		if err != nil {
			t.Fatal(err)
		}
		known := func() (spec, who bool) {
			_, errSpec := n.Spec(t.Context(), &v.Session)
			_, _, _, errWho := n.Identity(t.Context(), &v.Session, "k", false)
			return !errors.Is(errSpec, broker.ErrNotFound), !errors.Is(errWho, broker.ErrNotFound)
		}
		if spec, who := known(); !spec || !who {
			t.Fatalf("before: spec %v, who %v", spec, who)
		}
		w.clock.Advance(25 * time.Hour)
		until(t, "both are forgotten", func() bool {
			spec, who := known()
			return !spec && !who
		})
	})
}

// TestErasedElsewhereIsForgotten: what something else than this node erases is
// forgotten within a minute.
func TestErasedElsewhereIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.node(w.store)
		s := w.finish(w.create(n).ID, func() *node { return n })
		erased := *s
		if err := broker.Erase(t.Context(), w.store, &erased, "operator", time.Now()); err != nil {
			t.Fatal(err)
		}
		later(61 * time.Second)
		if _, err := n.Spec(t.Context(), s); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("Spec = %v, want ErrNotFound", err)
		}
		if who, _, _, err := n.Identity(t.Context(), s, "k", false); !errors.Is(err, broker.ErrNotFound) || who != nil {
			t.Errorf("Identity = %v, %v, want ErrNotFound", who, err)
		}
	})
}
