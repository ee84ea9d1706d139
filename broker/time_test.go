package broker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
)

// TestTimeEnds: more time begins where the time ends, and nobody gets any beyond
// the absolute limit.
func TestTimeEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ck := newClock()
	n := w.node(w.store, ck.use)
	s := w.create(n)
	for i := range 15 { // 30 minutes unopened, 3 hours at most
		if _, err := n.Extend(t.Context(), s.ID, ada); err != nil {
			t.Fatal(err)
		}
		want := s.Created.Add(30*time.Minute + time.Duration(i+1)*10*time.Minute)
		if got := w.session(s.ID).Due; !got.Equal(want) {
			t.Fatalf("due %s after %d extensions, want %s", got, i+1, want)
		}
	}
	if _, err := n.Extend(t.Context(), s.ID, ada); !errors.Is(err, broker.ErrMove) {
		t.Errorf("beyond the limit: %v, want ErrMove", err)
	}
	if v, err := n.Look(t.Context(), s.ID, ada, connector.Browser{}); err != nil || v.CanLonger || v.Session.Extensions != 15 {
		t.Errorf("the page at the limit: %+v, %v", v, err)
	}
}

// TestTimeAfterConfirmation: once a person is confirmed, half an hour is left at
// most, however much was asked for.
func TestTimeAfterConfirmation(t *testing.T) {
	t.Parallel()
	w := newStreet(t, newStore(t))
	n := w.node()
	v := w.begin(n, "a")
	w.clock.Advance(10 * time.Minute)
	in := connector.Inbound{Method: "GET", Query: map[string][]string{"id": {v.Session.Order}}}
	if _, err := n.Returned(t.Context(), eid.Test, "bank", in, broker.Handle{Cookie: "a phone's browser"}, connector.Browser{}); err != nil {
		t.Fatal(err)
	}
	is := func(when string, want time.Duration) {
		t.Helper()
		if s := w.session(v.Session.ID); s.State != broker.Confirmed || s.Due.Sub(s.Confirmed) != want {
			t.Errorf("%s: %s until %s after the confirmation, want %s", when, s.State, s.Due.Sub(s.Confirmed), want)
		}
	}
	is("at first", 15*time.Minute)
	for _, want := range []time.Duration{25 * time.Minute, 30 * time.Minute} {
		if _, err := n.Extend(t.Context(), v.Session.ID, ada); err != nil {
			t.Fatal(err)
		}
		is("with more time", want)
	}
	if _, err := n.Extend(t.Context(), v.Session.ID, ada); !errors.Is(err, broker.ErrMove) {
		t.Errorf("beyond the limit: %v, want ErrMove", err)
	}
}

// TestActsGiveTime: who acts, or goes to the eID, has a quarter of an hour again;
// nothing is written for less than a minute, and nothing taken away.
func TestActsGiveTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ck := newClock()
	w.story.Now = ck.Now
	n := w.node(w.store, ck.use)
	id := w.create(n).ID
	w.to(n, id, "ask")
	act := func() {
		t.Helper()
		if _, err := n.Act(t.Context(), id, ada, connector.Browser{}, connector.Shown{}); err != nil { // nothing that fits
			t.Fatal(err)
		}
	}
	ck.advance(30 * time.Second)
	before := w.session(id)
	if act(); w.session(id).Version != before.Version {
		t.Error("the session was written for half a minute")
	}
	ck.advance(10 * time.Minute)
	act()
	if got, want := w.session(id).Due, ck.Now().Add(15*time.Minute); !got.Equal(want) {
		t.Errorf("after an act it is due %s, want %s", got, want)
	}
	w.to(n, id, "redirect")
	ck.advance(10 * time.Minute)
	if _, err := n.Away(t.Context(), id, ada, ""); err != nil {
		t.Fatal(err)
	}
	if got, want := w.session(id).Due, ck.Now().Add(15*time.Minute); !got.Equal(want) {
		t.Errorf("on the way to the eID it is due %s, want %s", got, want)
	}
	if _, err := n.Extend(t.Context(), id, ada); err != nil {
		t.Fatal(err)
	}
	want := w.session(id).Due
	if act(); !w.session(id).Due.Equal(want) {
		t.Error("an act has taken time away that was asked for")
	}
}

// An endless connector answers when its time is over.
type endless struct {
	limit time.Duration
	leave func()
}

func (e *endless) Info() connector.Info {
	return connector.Info{EID: "story", Purposes: []eid.Purpose{eid.Identify}, Deadline: e.limit}
}

func (e *endless) Begin(ctx context.Context, _ *connector.Request) (connector.Result, error) {
	e.leave()
	select {
	case <-ctx.Done():
		return connector.Result{}, ctx.Err()
	case <-time.After(time.Minute): // of the bubble's clock
		return connector.Result{}, errors.New("nobody has ended it")
	}
}

func (e *endless) Resume(context.Context, *connector.Request, []byte, connector.Event) (connector.Result, error) {
	return connector.Result{}, errors.New("it never gets so far")
}

// TestCallsEnd: a call to an eID has as long as its connector says, ten seconds by
// default, whether the person waits for it or not; then the person may try anew.
func TestCallsEnd(t *testing.T) {
	t.Parallel()
	for limit, want := range map[time.Duration]time.Duration{0: 10 * time.Second, 3 * time.Second: 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			ctx, leave := context.WithCancel(t.Context())
			w.keep["story"] = &endless{limit, leave}
			n := w.node(w.store)
			id := w.create(n).ID
			began := time.Now()
			v, err := n.Open(ctx, id, ada, connector.Browser{}, nil, false)
			if err != nil || v.Place != broker.AtRetry || v.Failed != eid.Unavailable {
				t.Errorf("%+v, %v; want another try", v, err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("a call that may take %s ended after %s, want %s", limit, took, want)
			}
		})
	}
}

// A lazy connector waits, and wants its next tick late or never.
type lazy struct {
	after time.Duration // 0 for never
	ticks atomic.Int64
}

func (l *lazy) Info() connector.Info {
	return connector.Info{EID: "story", Purposes: []eid.Purpose{eid.Identify}, Polls: true}
}

func (l *lazy) Begin(context.Context, *connector.Request) (connector.Result, error) {
	res := connector.Result{Step: connector.Wait{}}
	if l.after > 0 {
		res.Due = time.Now().Add(l.after)
	}
	return res, nil
}

func (l *lazy) Resume(ctx context.Context, r *connector.Request, _ []byte, _ connector.Event) (connector.Result, error) {
	l.ticks.Add(1)
	return l.Begin(ctx, r)
}

// TestNudge: the next tick comes at once, if there is one, in the sandbox only.
func TestNudge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env   eid.Environment
		after time.Duration
		ticks int64
	}{{eid.Test, time.Hour, 1}, {eid.Test, 0, 0}, {eid.Live, time.Hour, 0}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			l := &lazy{after: c.after}
			n := w.node(w.store, func(cfg *broker.Config) {
				cfg.Connectors = map[eid.Environment]map[eid.EID]connector.Connector{c.env: {"story": l}}
			})
			in := newSession()
			in.Caller.Key.Environment = c.env
			if _, err := n.Begin(t.Context(), in, connector.Browser{}, nil); err != nil {
				t.Fatal(err)
			}
			n.Nudge(t.Context(), in.ID)
			later(time.Second)
			if got := l.ticks.Load(); got != c.ticks {
				t.Errorf("%s, due after %s: %d ticks, want %d", c.env, c.after, got, c.ticks)
			}
		})
	}
}
