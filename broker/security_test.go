package broker_test

import (
	"errors"
	"maps"
	"sync"
	"testing"

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
