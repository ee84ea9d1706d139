package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/connector/connectortest"
	"eidgate/eid"
	"eidgate/relying"
)

const api = "story"

// A world is one store, one story as upstream, and the nodes that share them.
type world struct {
	t     *testing.T
	store broker.Store
	story *connectortest.Story
	keep  map[eid.EID]connector.Connector
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: newStore(t), story: connectortest.NewStory("story", time.Now)}
	w.keep = map[eid.EID]connector.Connector{"story": w.story}
	return w
}

type node struct {
	*broker.Broker
	epoch string
	wakes atomic.Int64
}

// node starts a node; it runs until the test ends.
func (w *world) node(store broker.Store, change ...func(*broker.Config)) *node {
	w.t.Helper()
	n := &node{epoch: uuid.NewString()}
	c := broker.Config{
		Store:      store,
		Connectors: map[eid.Environment]map[eid.EID]connector.Connector{eid.Test: w.keep},
		Settings: func(context.Context, *broker.Session, eid.EID, string) (connector.Settings, error) {
			return connector.Settings{Key: "k"}, nil
		},
		Outbox: map[string]func(*broker.Final) []broker.Delivery{api: func(f *broker.Final) []broker.Delivery {
			return []broker.Delivery{{ID: "msg_" + f.Session.ID, Session: f.Session.ID, Account: f.Session.Account,
				Environment: f.Session.Environment, Kind: "webhook", Type: "session." + string(f.Session.State),
				Profile: "standard", URL: "https://rp.example/hook", Body: []byte(`{}`), Due: f.Now}}
		}},
		Public: "https://eid.example.com", HandleKey: make([]byte, 32), Epoch: n.epoch,
		NewID: uuid.NewString, Log: slog.New(slog.DiscardHandler), Wake: func() { n.wakes.Add(1) },
		Limits: broker.Limits{Save: 50 * time.Millisecond},
	}
	for _, f := range change {
		f(&c)
	}
	b, err := broker.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	n.Broker = b
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(ctx) // a crashed node's error is the point of the test
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	return n
}

func caller() relying.Caller {
	return relying.Caller{Account: &relying.Account{ID: "11111111-0000-4000-8000-000000000001", Name: "Shop"},
		Key: relying.Key{ID: "22222222-0000-4000-8000-000000000001", Environment: eid.Test}}
}

func (w *world) create(n *node) *broker.Session {
	w.t.Helper()
	s, err := n.Create(w.t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Language: "en",
		Spec: broker.Spec{Methods: []broker.Method{{Name: "story", EID: "story"}}, Party: "Shop", Page: "/s/"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

var ada = broker.Handle{Cookie: "ada's browser"}

// push does what a person and an upstream would do next, wherever the session
// stands. It is false when the session has ended.
func push(ctx context.Context, n *node, id string) (bool, error) {
	v, err := n.Look(ctx, id, ada, connector.Browser{})
	if err != nil {
		return true, err
	}
	order := v.Session.Order
	switch v.Place {
	case broker.AtEnd:
		return false, nil
	case broker.AtFront, broker.AtRetry:
		_, err = n.Open(ctx, id, ada, connector.Browser{Agent: "test"}, nil, false)
		return true, err
	case broker.AtStep:
	default:
		return false, fmt.Errorf("unexpected place %s", v.Place)
	}
	switch v.Step.(type) {
	case connector.Ask:
		_, err = n.Act(ctx, id, ada, connector.Browser{}, connector.Submitted{Values: url.Values{"go": {"1"}}})
	case connector.Redirect:
		_, err = n.Returned(ctx, eid.Test, v.Session.EID, connectortest.Inbound(order), ada, connector.Browser{})
	case connector.Embed:
		_, err = n.Act(ctx, id, ada, connector.Browser{}, connector.Shown{})
	case connector.Wait:
		var r *connector.Reply
		if r, err = n.Called(ctx, eid.Test, v.Session.EID, connectortest.Inbound(order)); err == nil && r != nil && r.Status != 200 {
			err = fmt.Errorf("reply %d", r.Status)
		}
		pause()
	}
	return true, err
}

// pause lets background work have its turn.
func pause() { <-time.After(2 * time.Millisecond) }

// finish pushes until the session has ended.
func (w *world) finish(id string, on func() *node) *broker.Session {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		more, err := push(ctx, on(), id)
		if !more {
			s, err := w.store.Session(ctx, id)
			if err != nil {
				w.t.Fatal(err)
			}
			return s
		}
		if err != nil {
			pause()
		}
	}
	w.t.Fatalf("session %s has not ended", id)
	return nil
}

func TestStoryUsesEveryStepAndEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.finish(w.create(n).ID, func() *node { return n })
	if s.State != broker.Finished {
		t.Fatalf("state = %s (%s), want finished", s.State, s.Reason)
	}
	id, ev, err := n.Result(t.Context(), s, "key")
	if err != nil || id == nil || id.Number != w.story.Person.Number || len(ev) != 1 || ev[0].Name != "story.answer" {
		t.Fatalf("Result = %v, %v, %v", id, ev, err)
	}
	for _, e := range []string{"begin", "submitted", "returned", "shown", "called", "tick"} {
		if w.story.Calls(e) == 0 {
			t.Errorf("event %s never reached the connector", e)
		}
	}
	if n.wakes.Load() != 1 {
		t.Errorf("outbox woken %d times, want 1", n.wakes.Load())
	}
	if s.Level != eid.Strong {
		t.Errorf("binding = %s, want strong", s.Level)
	}
}

// A crashing store stops taking and giving anything at its nth change, either
// before it is made or after: what a kill at that moment does to a node.
type crashing struct {
	broker.Store
	at    int64
	after bool
	n     atomic.Int64
}

var errKilled = errors.New("killed")

func (c *crashing) dead() bool { return c.n.Load() > c.at }

func (c *crashing) Apply(ctx context.Context, ch *broker.Change) error {
	n := c.n.Add(1)
	switch {
	case n > c.at+1:
		return errKilled
	case n == c.at+1 && c.after:
		if err := c.Store.Apply(ctx, ch); err != nil {
			return err
		}
		return errKilled
	case n == c.at+1:
		return errKilled
	}
	return c.Store.Apply(ctx, ch)
}

func (c *crashing) Beat(ctx context.Context, epoch string) error {
	if c.dead() {
		return errKilled
	}
	return c.Store.Beat(ctx, epoch)
}

func (c *crashing) Leave(ctx context.Context, epoch string) error {
	if c.dead() {
		return errKilled
	}
	return c.Store.Leave(ctx, epoch)
}

func (c *crashing) Order(ctx context.Context, id string) (*broker.Order, error) {
	if c.dead() {
		return nil, errKilled
	}
	return c.Store.Order(ctx, id)
}

// TestCrashBetweenAnyTwoSteps kills the node at each of its changes in turn,
// and lets another one finish the session. Only where the once-only answer
// was fetched and not yet stored may the session fail, and then it says so.
func TestCrashBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	counting := &crashing{Store: w.store, at: 1 << 30}
	n := w.node(counting)
	w.finish(w.create(n).ID, func() *node { return n })
	changes := counting.n.Load()
	if changes < 8 {
		t.Fatalf("a story takes %d changes; too few to have used its steps", changes)
	}
	for at := int64(1); at < changes; at++ { // 0 is Create: then there is no session
		for _, after := range []bool{false, true} {
			w := newWorld(t)
			c := &crashing{Store: w.store, at: at, after: after}
			first := w.node(c)
			id := w.create(first).ID
			var second *node
			s := w.finish(id, func() *node {
				if !c.dead() {
					return first
				}
				if second == nil {
					w.bury(first)
					second = w.node(w.store)
				}
				return second
			})
			switch {
			case s.State == broker.Finished:
			case s.Reason == eid.OutcomeUnknown && !after && !w.stored(s, "again"):
			default:
				t.Errorf("killed at change %d (after: %v): %s %s", at, after, s.State, s.Reason)
			}
		}
	}
}

// stored says whether a step reached the timeline, which is written with it.
func (w *world) stored(s *broker.Session, step string) bool {
	w.t.Helper()
	notes, err := w.store.Notes(context.Background(), s.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.ContainsFunc(notes, func(n broker.Note) bool { return n.Kind == "step" && n.Text == step })
}

// bury forgets a node's beats, as if the seconds had passed.
func (w *world) bury(n *node) {
	w.t.Helper()
	if err := w.store.Leave(context.Background(), n.epoch); err != nil {
		w.t.Fatal(err)
	}
}
