package broker_test

import (
	"context"
	"errors"
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

// A passage is a story that begins by sending the browser away.
type passage struct {
	*connectortest.Story
	free  bool
	input func(url.Values)
}

func (p *passage) Info() connector.Info {
	i := p.Story.Info()
	i.Leaves, i.Free = true, p.free
	return i
}

func (p *passage) Begin(ctx context.Context, r *connector.Request) (connector.Result, error) {
	if p.input != nil {
		p.input(r.Input)
	}
	ask, err := p.Story.Begin(ctx, r)
	if err != nil {
		return ask, err
	}
	res, err := p.Resume(ctx, r, ask.State, connector.Submitted{})
	res.Refs = ask.Refs
	return res, err
}

// asking is a passage that has a form before it.
type asking struct {
	*passage
	ask connector.Ask
}

func (a *asking) Front(*connector.Request) connector.Ask { return a.ask }

// newSession is one of ada's browser, from the start.
func newSession() broker.NewSession {
	return broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Language: "en", Handle: ada, ID: "4f6b1f0e-0000-4000-8000-000000000001",
		Spec: broker.Spec{Methods: []broker.Method{{Name: "story", EID: "story"}}, Party: "Shop", Page: "/s/"}}
}

// TestEnter: a person is sent away at once where there is nothing to read or to
// decide, and only there.
func TestEnter(t *testing.T) {
	t.Parallel()
	bank := connector.Field{Name: "issuer", Kind: connector.Choice, Options: []connector.Option{{Value: "ONE"}}}
	only := bank
	only.Default = "ONE"
	for name, c := range map[string]struct {
		front   *connector.Ask // nil for a connector without
		stays   bool           // it is no passage
		session func(*broker.NewSession)
		input   string // what Begin gets
		begins  bool
	}{
		"nothing to ask":         {begins: true},
		"a form without fields":  {front: &connector.Ask{}, begins: true},
		"a form that is decided": {front: &connector.Ask{Auto: true, Form: connector.Form{Fields: []connector.Field{only, {Name: "empty"}}}}, input: "issuer=ONE", begins: true},
		"a choice":               {front: &connector.Ask{Form: connector.Form{Fields: []connector.Field{bank}}}},
		"a form with an error":   {front: &connector.Ask{Auto: true, Form: connector.Form{Error: "idin.nolist"}}},
		"a document":             {front: &connector.Ask{Auto: true, Document: "Read this."}},
		"an eID on our page":     {stays: true},
		"two methods": {session: func(n *broker.NewSession) {
			n.Spec.Methods = append(n.Spec.Methods, broker.Method{Name: "other", EID: "story"})
		}},
		"a text to sign":         {session: func(n *broker.NewSession) { n.Texts = &connector.Texts{Visible: []byte("Read this.")} }},
		"an eID that is not set": {session: func(n *broker.NewSession) { n.Spec.Methods[0].EID = "none" }},
	} {
		for _, free := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", free"}[free], func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				var got url.Values
				p := &passage{Story: w.story, free: free, input: func(in url.Values) { got = in }}
				w.keep["story"] = p
				if c.front != nil {
					w.keep["story"] = &asking{p, *c.front}
				}
				if c.stays {
					w.keep["story"] = w.story
				}
				store := &crashing{Store: w.store, at: 1 << 30}
				n, in := w.node(store), newSession()
				if c.session != nil {
					c.session(&in)
				}
				v, err := n.Enter(t.Context(), in, connector.Browser{Agent: "test"})
				if err != nil {
					t.Fatal(err)
				}
				s := w.session(in.ID)
				if !c.begins {
					if v != nil || s.State != broker.Created || w.story.Calls("begin") > 0 || store.n.Load() != 1 {
						t.Errorf("%+v, a session that is %s after %d changes; want one whose page comes next", v, s.State, store.n.Load())
					}
					return
				}
				to, _ := v.Step.(connector.Redirect)
				if v.Place != broker.AtStep || to.URL != "https://upstream.example/login" || !v.Bound || v.Session.Version != s.Version {
					t.Errorf("%+v, want a redirect of the browser that holds the session", v)
				}
				if got.Encode() != c.input {
					t.Errorf("Begin got %v, want %s", got, c.input)
				}
				want := int64(2)
				if free {
					want = 1
				}
				if store.n.Load() != want {
					t.Errorf("%d changes, want %d", store.n.Load(), want)
				}
				if s.State != broker.Started || s.Level != eid.Strong {
					t.Errorf("the session is %s, bound %s", s.State, s.Level)
				}
				if s := w.finish(s.ID, func() *node { return n }); s.State != broker.Finished {
					t.Errorf("it ends %s (%s)", s.State, s.Reason)
				}
				if !w.stored(s, "redirect") {
					t.Error("the timeline does not say that the browser was sent away")
				}
			})
		}
	}
}

// TestCrashWhileEntering kills the node at each change of a session that was
// begun with its making: what was never stored was never begun, for anybody.
func TestCrashWhileEntering(t *testing.T) {
	t.Parallel()
	for _, free := range []bool{false, true} {
		for at := int64(0); at < 4; at++ {
			for _, after := range []bool{false, true} {
				w := newWorld(t)
				w.keep["story"] = &passage{Story: w.story, free: free}
				c := &crashing{Store: w.store, at: at, after: after}
				first, in := w.node(c), newSession()
				v, err := first.Enter(t.Context(), in, connector.Browser{})
				switch _, stored := w.store.Session(t.Context(), in.ID); {
				case at == 0 && !after:
					if !errors.Is(stored, broker.ErrNotFound) || err == nil || v != nil {
						t.Errorf("free %v, killed before all: %v, %v, stored: %v", free, v, err, stored)
					}
					continue
				case stored != nil:
					t.Fatal(stored)
				}
				var second *node
				s := w.finish(in.ID, func() *node {
					if !c.dead() {
						return first
					}
					if second == nil {
						w.bury(first)
						second = w.node(w.store)
					}
					return second
				})
				if s.State != broker.Finished {
					t.Errorf("free %v, killed at change %d (after: %v): %s %s", free, at, after, s.State, s.Reason)
				}
			}
		}
	}
}

// TestEnterWithoutAnswer: an upstream that does not answer is asked again where
// that may be, and otherwise the person is told.
func TestEnterWithoutAnswer(t *testing.T) {
	t.Parallel()
	for _, free := range []bool{false, true} {
		w := newWorld(t)
		w.keep["story"] = &passage{Story: w.story, free: free}
		var mu sync.Mutex
		fails := []error{&connector.Unknown{Reason: eid.Unavailable, Repeat: true, Err: errors.New("reset"), After: time.Millisecond}}
		w.story.Hook = func(string) error {
			mu.Lock()
			defer mu.Unlock()
			if len(fails) == 0 {
				return nil
			}
			err := fails[0]
			fails = fails[1:]
			return err
		}
		n, in := w.node(w.store), newSession()
		v, err := n.Enter(t.Context(), in, connector.Browser{})
		if err != nil {
			t.Fatal(err)
		}
		if wait, ok := v.Step.(connector.Wait); !ok || wait.Hint != "wait.working" {
			t.Errorf("free %v: %+v, want a page that waits", free, v)
		}
		if s := w.finish(in.ID, func() *node { return n }); s.State != broker.Finished || w.story.Calls("begin") != 2 {
			t.Errorf("free %v: %s (%s) after %d tries", free, s.State, s.Reason, w.story.Calls("begin"))
		}

		mu.Lock()
		fails = []error{&connector.Unknown{Reason: eid.Unavailable, Err: errors.New("reset")}}
		mu.Unlock()
		in.ID = "4f6b1f0e-0000-4000-8000-000000000002"
		v, err = n.Enter(t.Context(), in, connector.Browser{})
		if err != nil || v.Place != broker.AtRetry || v.Failed != eid.Unavailable {
			t.Errorf("free %v: %+v, %v; want another try", free, v, err)
		}
		if s := w.finish(in.ID, func() *node { return n }); s.State != broker.Finished {
			t.Errorf("free %v: after another try %s (%s)", free, s.State, s.Reason)
		}
	}
}

// heeding is a store that is not asked by those who have left.
type heeding struct{ broker.Store }

func (h heeding) Apply(ctx context.Context, c *broker.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.Store.Apply(ctx, c)
}

// TestEnterAndLeave: a person who leaves while the upstream is asked is no error,
// and the session is there, whatever the answer was.
func TestEnterAndLeave(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]error{
		"an answer": nil,
		"none yet":  &connector.Unknown{Reason: eid.Unavailable, Repeat: true, Err: errors.New("reset"), After: time.Hour},
		"none":      &connector.Unknown{Reason: eid.Unavailable, Err: errors.New("reset")},
	} {
		for _, free := range []bool{false, true} {
			w := newWorld(t)
			w.keep["story"] = &passage{Story: w.story, free: free}
			ctx, leave := context.WithCancel(t.Context())
			w.story.Hook = func(string) error {
				leave()
				return answer
			}
			in := newSession()
			v, err := w.node(heeding{w.store}).Enter(ctx, in, connector.Browser{})
			if err != nil || v == nil {
				t.Errorf("%s, free %v: %+v, %v", name, free, v, err)
				continue
			}
			if s := w.session(in.ID); s.State != broker.Started || s.Order == "" {
				t.Errorf("%s, free %v: the session is %s", name, free, s.State)
			}
		}
	}
}

// TestBeginIsTakenOnce: of two sessions with one name the second is refused, and
// of many who open one that is there, one begins.
func TestBeginIsTakenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep["story"] = &passage{Story: w.story, free: true}
	n, in := w.node(w.store), newSession()
	v, err := n.Begin(t.Context(), in, connector.Browser{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	order := v.Session.Order
	if _, err := n.Begin(t.Context(), in, connector.Browser{}, nil); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("a second session of the same id: %v", err)
	}
	if got := w.session(in.ID); got.Order != order {
		t.Errorf("it has taken the place of the first")
	}

	in.ID, in.Handle = "4f6b1f0e-0000-4000-8000-000000000003", broker.Handle{}
	if _, err := n.Create(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	before := w.story.Calls("begin")
	var wg sync.WaitGroup
	orders := make(chan string, 8)
	for range cap(orders) {
		wg.Go(func() {
			v, err := n.Open(t.Context(), in.ID, ada, connector.Browser{}, nil, false)
			if err != nil {
				t.Error(err)
				return
			}
			orders <- v.Session.Order
		})
	}
	wg.Wait()
	close(orders)
	if calls := w.story.Calls("begin") - before; calls != 1 {
		t.Errorf("the upstream was called %d times, want once", calls)
	}
	order = w.session(in.ID).Order
	for o := range orders {
		if o != order {
			t.Errorf("a click has begun order %q, and the session's is %q", o, order)
		}
	}
}

// TestBeginAfterSilence: a node that could not beat for a while begins at once
// when it can again, and does not wait for its next beat.
func TestBeginAfterSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.keep["story"] = &passage{Story: w.story, free: true}
		n := w.node(w.store, func(c *broker.Config) { c.Limits.Beat = time.Hour })
		for _, id := range []string{"4f6b1f0e-0000-4000-8000-000000000001", "4f6b1f0e-0000-4000-8000-000000000002"} {
			in := newSession()
			in.ID = id
			v, err := n.Begin(t.Context(), in, connector.Browser{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := v.Step.(connector.Redirect); !ok || !n.Lives() {
				t.Errorf("%s: %+v, want a redirect", id, v.Step)
			}
			later(10 * time.Second)
			if n.Lives() {
				t.Error("a node that is silent says that it lives")
			}
		}
		w.keep["story"] = w.story
		opened := w.create(n).ID
		if v, err := n.Open(t.Context(), opened, ada, connector.Browser{}, nil, false); err != nil || connector.StepName(v.Step) != "ask" || !n.Lives() {
			t.Errorf("on the page: %+v, %v; want a form", v, err)
		}
	})
}
