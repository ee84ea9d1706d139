package broker_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/connector/connectortest"
	"eidgate/eid"
)

// A diary is a story that writes down which events it was told are repeated.
type diary struct {
	*connectortest.Story
	mu   sync.Mutex
	told []string
}

func (d *diary) note(r *connector.Request, event string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Repeated {
		event += " again"
	}
	d.told = append(d.told, event)
}

func (d *diary) Begin(ctx context.Context, r *connector.Request) (connector.Result, error) {
	d.note(r, "begin")
	return d.Story.Begin(ctx, r)
}

func (d *diary) Resume(ctx context.Context, r *connector.Request, state []byte, e connector.Event) (connector.Result, error) {
	d.note(r, connector.EventName(e))
	return d.Story.Resume(ctx, r, state, e)
}

// TestRepeatedIsTold: a connector learns that an event may have reached the upstream
// before, and only then.
func TestRepeatedIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := &diary{Story: w.story}
	w.keep["story"] = d
	var failed sync.Map
	w.story.Hook = func(at string) error {
		if _, has := failed.LoadOrStore(at, nil); has {
			return nil
		}
		return &connector.Unknown{Reason: eid.OutcomeUnknown, Repeat: true, Err: errors.New("reset"), After: time.Millisecond}
	}
	n := w.node(w.store)
	id := w.create(n).ID
	if _, err := push(t.Context(), n, id); err != nil {
		t.Fatal(err)
	}
	until(t, "the form is there", func() bool {
		v, err := n.Look(t.Context(), id, ada, connector.Browser{})
		return err == nil && connector.StepName(v.Step) == "ask"
	})
	if _, err := push(t.Context(), n, id); err != nil {
		t.Fatal(err)
	}
	until(t, "the browser is sent away", func() bool {
		v, err := n.Look(t.Context(), id, ada, connector.Browser{})
		return err == nil && connector.StepName(v.Step) == "redirect"
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if want := []string{"begin", "begin again", "submitted", "submitted again"}; !slices.Equal(d.told, want) {
		t.Errorf("told %q, want %q", d.told, want)
	}
}

// TestTriesOfOneEvent: an event has its five tries, whatever came to nothing before
// an answer, or for another event.
func TestTriesOfOneEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		reset := &connector.Unknown{Reason: eid.OutcomeUnknown, Repeat: true, Err: errors.New("reset"), After: time.Second}
		var polls atomic.Bool
		var calls atomic.Int64
		w.story.Hook = func(string) error {
			if !polls.Load() {
				return nil
			}
			if n := calls.Add(1); n <= 40 && n%2 == 0 || n >= 42 && n <= 46 {
				return reset
			}
			return nil
		}
		n := w.node(w.store)
		id := w.create(n).ID
		w.to(n, id, "wait")
		polls.Store(true)
		for range 600 {
			if later(100 * time.Millisecond); calls.Load() == 45 {
				break
			}
		}
		if s := w.session(id); s.State != broker.Started || calls.Load() != 45 {
			t.Fatalf("%s %s after %d ticks", s.State, s.Reason, calls.Load())
		}
		if _, err := n.Act(t.Context(), id, ada, connector.Browser{}, connector.Shown{}); err != nil {
			t.Fatal(err)
		}
		later(5 * time.Second)
		if v, err := n.Look(t.Context(), id, ada, connector.Browser{}); err != nil || v.Place != broker.AtStep {
			t.Errorf("the first try of an act was taken for the last one: %+v, %v", v, err)
		}
	})
}

// TestTickWithoutRoom: a tick that finds no room among the calls comes again; whoever
// begins without room is told at once, and may try anew only on our page.
func TestTickWithoutRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		in, out := make(chan struct{}), make(chan struct{})
		w.story.Hook = func(at string) error {
			if at == "begin" && w.story.Calls("begin") == 2 {
				close(in)
				<-out
			}
			return nil
		}
		n := w.node(w.store, func(c *broker.Config) { c.Limits.Calls, c.Limits.Queue = 1, -1 })
		polls := w.create(n).ID
		w.to(n, polls, "wait")
		begun := make(chan error, 1)
		hangs := w.create(n).ID
		go func() {
			for { // a tick may have the only place
				v, err := n.Open(context.Background(), hangs, ada, connector.Browser{}, nil, false)
				if err != nil || v.Place != broker.AtRetry {
					begun <- err
					return
				}
			}
		}()
		<-in
		later(2 * time.Second)
		if v, err := n.Open(t.Context(), w.create(n).ID, ada, connector.Browser{}, nil, false); err != nil || v.Place != broker.AtRetry || v.Failed != eid.Unavailable {
			t.Errorf("without room: %+v, %v", v, err)
		}
		headless := newSession()
		headless.Spec.Headless = true
		if v, err := n.Begin(t.Context(), headless, connector.Browser{}, nil); err != nil || v.Place != broker.AtEnd || v.Failed != eid.Unavailable || v.Session.Code != broker.Busy {
			t.Errorf("without room and page: %+v, %v", v, err)
		}
		before := w.story.Calls("tick")
		close(out)
		if err := <-begun; err != nil {
			t.Fatal(err)
		}
		later(2 * time.Second)
		if s := w.session(polls); s.State != broker.Started || w.story.Calls("tick") == before {
			t.Errorf("%s %s, %d ticks since there is room", s.State, s.Reason, w.story.Calls("tick")-before)
		}
	})
}

// TestNotConfigured: an eID that is configured no more is told of, at whatever stage.
func TestNotConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	for name, spec := range map[string]broker.Spec{
		"the eID":          {Methods: []broker.Method{{Name: "gone", EID: "gone"}}, Page: "/s/"},
		"what comes after": {Methods: []broker.Method{{Name: "story", EID: "story"}}, Stages: []eid.EID{"gone"}, Page: "/s/"},
	} {
		s, err := n.Create(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Spec: spec})
		if err != nil {
			t.Fatal(err)
		}
		if s = w.finish(s.ID, func() *node { return n }); s.State != broker.Failed || s.Reason != eid.BadRequest || s.Code != "not_configured" {
			t.Errorf("%s: %s %s %s", name, s.State, s.Reason, s.Code)
		}
	}
}

// A looping connector asks to be called again, and again.
type looping struct{ calls int }

func (l *looping) Info() connector.Info {
	return connector.Info{EID: "story", Purposes: []eid.Purpose{eid.Identify}}
}

func (l *looping) Begin(context.Context, *connector.Request) (connector.Result, error) {
	if l.calls++; l.calls > 100 {
		return connector.Result{Step: connector.Fail{Reason: eid.Declined}}, nil
	}
	return connector.Result{Step: connector.Again{}}, nil
}

func (l *looping) Resume(ctx context.Context, r *connector.Request, _ []byte, _ connector.Event) (connector.Result, error) {
	return l.Begin(ctx, r)
}

// TestLoopingConnector: a connector that has never enough is stopped.
func TestLoopingConnector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &looping{}
	w.keep["story"] = l
	n := w.node(w.store)
	v, err := n.Open(t.Context(), w.create(n).ID, ada, connector.Browser{}, nil, false)
	if err != nil || v.Place != broker.AtEnd || v.Failed != eid.Internal || l.calls != 8 {
		t.Errorf("%+v, %v after %d calls; want an end after 8", v, err, l.calls)
	}
}

// TestSettingsOfAnOrder: an order stays with the settings that it began under.
func TestSettingsOfAnOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	var asked []string
	n := w.node(w.store, func(c *broker.Config) {
		c.Settings = func(_ context.Context, _ *broker.Session, _ eid.EID, key string) (connector.Settings, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, key)
			return connector.Settings{Key: "old"}, nil
		}
	})
	w.to(n, w.create(n).ID, "redirect")
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"", "old"}; !slices.Equal(asked, want) { // begin, submitted
		t.Errorf("asked for the settings %q, want %q", asked, want)
	}
}

// TestSecondClickWhileBeginning: of those who know a session one asks the upstream,
// also where one that nobody knows yet may be begun before it is stored.
func TestSecondClickWhileBeginning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep["story"] = &passage{Story: w.story, free: true}
	n := w.node(w.store)
	id := w.create(n).ID
	open := func() {
		if _, err := n.Open(context.Background(), id, ada, connector.Browser{}, nil, false); err != nil {
			t.Error(err)
		}
	}
	var once atomic.Bool
	w.story.Hook = func(at string) error {
		if at == "begin" && once.CompareAndSwap(false, true) {
			open()
		}
		return nil
	}
	open()
	if got := w.story.Calls("begin"); got != 1 {
		t.Errorf("%d orders begun, want 1", got)
	}
}

// A place is a connector that stays where its order has begun.
type place struct {
	step  connector.Step
	polls bool
	hook  func() // in the call of any event
}

func (p *place) Info() connector.Info {
	return connector.Info{EID: "story", Purposes: []eid.Purpose{eid.Identify}, Polls: p.polls}
}

func (p *place) Begin(context.Context, *connector.Request) (connector.Result, error) {
	return connector.Result{Step: p.step, State: []byte("x")}, nil
}

func (p *place) Resume(ctx context.Context, r *connector.Request, _ []byte, _ connector.Event) (connector.Result, error) {
	p.hook()
	return p.Begin(ctx, r)
}

// A toldPlace must be told of cancels.
type toldPlace struct{ *place }

func (toldPlace) Cancel(context.Context, *connector.Request, []byte) error { return nil }

// TestWhatCannotBeLeft: an order may be left for another method while its person is
// elsewhere, unless its eID is asked about it, is to be told, or has just answered.
func TestWhatCannotBeLeft(t *testing.T) {
	t.Parallel()
	away := connector.Redirect{URL: "https://upstream.example/login"}
	for name, c := range map[string]struct {
		conn connector.Connector
		busy bool // it has got an answer, and is with it
		may  bool
	}{
		"elsewhere":  {conn: &place{step: away}, may: true},
		"here":       {conn: &place{step: connector.Wait{}}},
		"asked":      {conn: &place{step: away, polls: true}},
		"to be told": {conn: toldPlace{&place{step: away}}},
		"answering":  {conn: &place{step: away}, busy: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.keep["story"], w.keep["other"] = c.conn, w.story
			n, in := w.node(w.store), newSession()
			in.Spec.Methods = append(in.Spec.Methods, broker.Method{Name: "other", EID: "other"})
			if _, err := n.Create(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			choose := func(method string) error {
				_, err := n.Choose(context.Background(), in.ID, ada, connector.Browser{}, method)
				return err
			}
			if v, err := n.Open(t.Context(), in.ID, ada, connector.Browser{}, nil, false); err != nil || v.Place != broker.AtChoice {
				t.Fatalf("before the choice: %+v, %v", v, err)
			}
			if err := choose("story"); err != nil {
				t.Fatal(err)
			}
			v, err := n.Open(t.Context(), in.ID, ada, connector.Browser{}, nil, false)
			if err != nil || v.Elective() != (c.may || c.busy) {
				t.Fatalf("%+v, %v", v, err)
			}
			want := broker.ErrMove
			if c.may {
				want = nil
			}
			try := func() {
				if err := choose("other"); !errors.Is(err, want) {
					t.Errorf("Choose = %v, want %v", err, want)
				}
			}
			if !c.busy {
				try()
				return
			}
			c.conn.(*place).hook = try
			if _, err := n.Act(t.Context(), in.ID, ada, connector.Browser{}, connector.Shown{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestNothingBeginsAfterTheEnd: who opens a session that has ended sees its end, and
// no eID is asked.
func TestNothingBeginsAfterTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.finish(w.create(n).ID, func() *node { return n })
	v, err := n.Open(t.Context(), s.ID, ada, connector.Browser{}, nil, false)
	if err != nil || v.Place != broker.AtEnd || w.story.Calls("begin") != 1 || w.session(s.ID).Order != s.Order {
		t.Errorf("%+v, %v, begun %d times", v, err, w.story.Calls("begin"))
	}
}

// TestEndsWithoutAPerson: an eID that is done and has confirmed nobody has answered
// badly, and what fails after a person was confirmed cannot be tried again.
func TestEndsWithoutAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep["nobody"] = &place{step: connector.Done{}}
	w.keep["register"] = &place{step: connector.Fail{Reason: eid.Unavailable, Retry: true}}
	n := w.node(w.store)
	for reason, spec := range map[eid.Reason]broker.Spec{
		eid.BadAnswer:   {Methods: []broker.Method{{Name: "nobody", EID: "nobody"}}, Page: "/s/"},
		eid.Unavailable: {Methods: []broker.Method{{Name: "story", EID: "story"}}, Stages: []eid.EID{"register"}, Page: "/s/"},
	} {
		s, err := n.Create(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Spec: spec})
		if err != nil {
			t.Fatal(err)
		}
		if s = w.finish(s.ID, func() *node { return n }); s.State != broker.Failed || s.Reason != reason {
			t.Errorf("%s %s, want failed %s", s.State, s.Reason, reason)
		}
	}
}
