package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/connector/connectortest"
	"eidgate/eid"
)

// to pushes a session until its step is of the wanted kind.
func (w *world) to(n *node, id, step string) *broker.View {
	w.t.Helper()
	for range 20 {
		v, err := n.Look(w.t.Context(), id, ada, connector.Browser{})
		if err != nil {
			w.t.Fatal(err)
		}
		if v.Place == broker.AtStep && connector.StepName(v.Step) == step {
			return v
		}
		if _, err := push(w.t.Context(), n, id); err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Fatalf("never reached %s", step)
	return nil
}

func (w *world) session(id string) *broker.Session {
	w.t.Helper()
	s, err := w.store.Session(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// later lets time pass on the clock of a bubble, where that takes none, until all is
// done that was due. Outside of a bubble it panics.
func later(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

// until waits for something that background work brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); pause() {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func TestTwoBrowsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.create(n)
	eve := broker.Handle{Cookie: "eve's browser"}
	w.to(n, s.ID, "redirect")

	v, err := n.Look(t.Context(), s.ID, eve, connector.Browser{})
	if err != nil || v.Place != broker.AtElsewhere || v.Step != nil {
		t.Fatalf("Look by another browser = %+v, %v", v, err)
	}
	for name, act := range map[string]func() (*broker.View, error){
		"act": func() (*broker.View, error) {
			return n.Act(t.Context(), s.ID, eve, connector.Browser{}, connector.Shown{})
		},
		"open":     func() (*broker.View, error) { return n.Open(t.Context(), s.ID, eve, connector.Browser{}, nil, false) },
		"cancel":   func() (*broker.View, error) { return n.Cancel(t.Context(), s.ID, eve) },
		"extend":   func() (*broker.View, error) { return n.Extend(t.Context(), s.ID, eve) },
		"language": func() (*broker.View, error) { return n.Speak(t.Context(), s.ID, eve, "sv") },
		"returned": func() (*broker.View, error) {
			return n.Returned(t.Context(), eid.Test, "story", connectortest.Inbound(w.session(s.ID).Order), eve, connector.Browser{})
		},
	} {
		if v, err := act(); err != nil || v.Place != broker.AtElsewhere {
			t.Errorf("%s by another browser = %+v, %v; want elsewhere", name, v, err)
		}
	}
	if w.story.Calls("returned") != 0 {
		t.Error("another browser's return reached the connector")
	}
	if got := w.finish(s.ID, func() *node { return n }); got.State != broker.Finished {
		t.Errorf("after a wrong browser the session is %s, want finished: it is parked, not killed", got.State)
	}
	if v, _ := n.Look(t.Context(), s.ID, eve, connector.Browser{}); v.Place != broker.AtElsewhere {
		t.Errorf("the end shows another browser %s, want elsewhere", v.Place)
	}
}

// TestAnotherBrowserActsNot: what another browser sends reaches no connector, not
// only no page.
func TestAnotherBrowserActsNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.create(n)
	w.to(n, s.ID, "ask")
	eve := broker.Handle{Cookie: "eve's browser"}
	fatal := connector.Submitted{Values: url.Values{"fail": {"declined"}}}
	if v, err := n.Act(t.Context(), s.ID, eve, connector.Browser{}, fatal); err != nil || v.Place != broker.AtElsewhere {
		t.Fatalf("another browser acts: %+v, %v", v, err)
	}
	if got := w.finish(s.ID, func() *node { return n }); got.State != broker.Finished {
		t.Errorf("state = %s %s", got.State, got.Reason)
	}
}

// TestOnlyAFinishedSessionHasAPerson: what was confirmed is told of no session
// that has come to nothing, or is not over.
func TestOnlyAFinishedSessionHasAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.finish(w.create(n).ID, func() *node { return n })
	if who, _, _, err := n.Identity(t.Context(), s, "k", true); err != nil || who.Name == "" {
		t.Fatalf("the finished one: %+v, %v", who, err)
	}
	for _, state := range []broker.State{broker.Created, broker.Started, broker.Confirmed, broker.Failed, broker.Erased} {
		s.State = state
		if who, evidence, _, err := n.Identity(t.Context(), s, "k", true); !errors.Is(err, broker.ErrMove) || who != nil || evidence != nil {
			t.Errorf("%s: %+v, %v, %v", state, who, evidence, err)
		}
	}
}

// TestNoStateStays: what a connector kept in an order is gone with its end, and
// after a failure that may be tried again.
func TestNoStateStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.create(n)
	kept := func() bool {
		t.Helper()
		o, err := w.store.Order(t.Context(), w.session(s.ID).Order)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(o.Body), `"at":`)
	}
	w.to(n, s.ID, "ask")
	if !kept() {
		t.Fatal("the state of a running order is not found where it is looked for")
	}
	failed := connector.Submitted{Values: url.Values{"fail": {"upstream_unavailable"}, "retry": {"1"}}}
	if v, err := n.Act(t.Context(), s.ID, ada, connector.Browser{}, failed); err != nil || v.Place != broker.AtRetry || kept() {
		t.Errorf("after a failure: %+v, %v, kept %t", v, err, kept())
	}
	if got := w.finish(s.ID, func() *node { return n }); got.State != broker.Finished || kept() {
		t.Errorf("state = %s %s, kept %t", got.State, got.Reason, kept())
	}
	s = w.create(n)
	w.to(n, s.ID, "ask")
	if v, err := n.Act(t.Context(), s.ID, ada, connector.Browser{}, connector.Submitted{Values: url.Values{"fail": {"declined"}}}); err != nil || v.Place != broker.AtEnd || kept() {
		t.Errorf("after a failure for good: %+v, %v, kept %t", v, err, kept())
	}
}

// TestLostCookie: a browser may take a session over as long as nothing was asked
// of an upstream, and not where a browser has held it from the start.
func TestLostCookie(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	eve := broker.Handle{Cookie: "eve's browser"}
	speak := func(id string, h broker.Handle) broker.Place {
		t.Helper()
		v, err := n.Speak(t.Context(), id, h, "sv")
		if err != nil {
			t.Fatal(err)
		}
		return v.Place
	}
	s := w.create(n)
	speak(s.ID, ada)
	if got := speak(s.ID, eve); got != broker.AtFront {
		t.Fatalf("place = %s for another browser before the beginning, want %s", got, broker.AtFront)
	}
	if got := w.session(s.ID).Language; got != "sv" {
		t.Errorf("language = %s, want sv", got)
	}
	if v, err := n.Look(t.Context(), s.ID, eve, connector.Browser{}); err != nil || !v.Bound || v.Session.Level != eid.Strong {
		t.Errorf("it does not hold the session: %+v, %v", v, err)
	}
	begun, release := make(chan struct{}), make(chan struct{})
	w.story.Hook = func(call string) error {
		if call == "begin" {
			close(begun)
			<-release
		}
		return nil
	}
	opened := make(chan error, 1)
	go func() {
		_, err := n.Open(t.Context(), s.ID, eve, connector.Browser{}, nil, false)
		opened <- err
	}()
	<-begun
	if got := speak(s.ID, ada); got != broker.AtElsewhere {
		t.Errorf("place = %s for another browser while the upstream is asked, want %s", got, broker.AtElsewhere)
	}
	close(release)
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	if got := speak(s.ID, ada); got != broker.AtElsewhere {
		t.Errorf("place = %s for another browser afterwards, want %s", got, broker.AtElsewhere)
	}
	held, err := n.Create(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Language: "en", Handle: ada,
		Spec: broker.Spec{Methods: []broker.Method{{Name: "story", EID: "story"}}, Party: "Shop", Page: "/s/"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := speak(held.ID, eve); got != broker.AtElsewhere {
		t.Errorf("place = %s for another browser than the one that asked, want %s", got, broker.AtElsewhere)
	}
	if got := w.session(held.ID).Language; got != "en" {
		t.Errorf("another browser has set the language to %s", got)
	}
}

// A listener remembers in which language its orders were to speak.
type listener struct {
	*connectortest.Story
	spoken []string
}

func (l *listener) Begin(ctx context.Context, r *connector.Request) (connector.Result, error) {
	l.spoken = append(l.spoken, r.Language)
	return l.Story.Begin(ctx, r)
}

// TestLanguageOfAnOrder: it is the session's, and that of the person's browser
// where the session has none.
func TestLanguageOfAnOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &listener{Story: w.story}
	w.keep["story"] = l
	n := w.node(w.store)
	for _, language := range []string{"en", ""} {
		s, err := n.Create(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Language: language,
			Spec: broker.Spec{Methods: []broker.Method{{Name: "story", EID: "story"}}, Party: "Shop", Page: "/s/"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Open(t.Context(), s.ID, ada, connector.Browser{Language: "sv"}, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(l.spoken, []string{"en", "sv"}) {
		t.Errorf("spoken: %q, want en and sv", l.spoken)
	}
}

// A register knows more about whom an eID has confirmed.
type register struct {
	story *connectortest.Story
	asked atomic.Pointer[eid.Identity]
}

func (r *register) Info() connector.Info {
	in := r.story.Info()
	in.EID = "register"
	return in
}

func (r *register) Begin(_ context.Context, req *connector.Request) (connector.Result, error) {
	r.asked.Store(req.Identity)
	return connector.Result{Step: connector.Done{}, Evidence: []eid.Evidence{{Name: "register.answer", Type: "text/plain", Data: []byte("x")}}}, nil
}

func (r *register) Resume(context.Context, *connector.Request, []byte, connector.Event) (connector.Result, error) {
	return connector.Result{}, errors.New("it answers at once")
}

// TestStages: what comes after the eID is told whom it has confirmed, and what
// both have proved is kept.
func TestStages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reg := &register{story: w.story}
	w.keep["register"] = reg
	var told atomic.Pointer[broker.Final]
	n := w.node(w.store, func(c *broker.Config) {
		c.Outbox = map[string]func(*broker.Final) []broker.Delivery{api: func(f *broker.Final) []broker.Delivery { told.Store(f); return nil }}
	})
	s, err := n.Create(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Language: "en",
		Spec: broker.Spec{Methods: []broker.Method{{Name: "story", EID: "story"}}, Stages: []eid.EID{"register"}, Party: "Shop", Page: "/s/"}})
	if err != nil {
		t.Fatal(err)
	}
	s = w.finish(s.ID, func() *node { return n })
	if s.State != broker.Finished || s.EID != "story" || s.Stage != 1 {
		t.Fatalf("state = %s %s at stage %d of %s", s.State, s.Reason, s.Stage, s.EID)
	}
	if id := reg.asked.Load(); id == nil || id.Number != w.story.Person.Number {
		t.Errorf("the register was asked about %v", id)
	}
	if f := told.Load(); f == nil || f.Identity == nil || f.Identity.Number != w.story.Person.Number || len(f.Evidence) != 2 {
		t.Errorf("the outbox was told %+v", f)
	}
	id, ev, err := n.Result(t.Context(), s, "key")
	if err != nil || id == nil || id.Number != w.story.Person.Number || len(ev) != 2 || ev[0].Name != "register.answer" || ev[1].Name != "story.answer" {
		t.Errorf("Result = %v, %v, %v", id, ev, err)
	}
}

func TestTokenBindsWeakly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.create(n)
	if _, err := n.Open(t.Context(), s.ID, broker.Handle{Token: "from the address"}, connector.Browser{}, nil, true); err != nil {
		t.Fatal(err)
	}
	if got := w.session(s.ID).Level; got != eid.Weak {
		t.Errorf("level = %s, want weak", got)
	}
}

func TestDoubleClickStartsOneOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.create(n)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := n.Open(context.Background(), s.ID, ada, connector.Browser{}, nil, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := w.story.Calls("begin"); got != 1 {
		t.Errorf("%d orders begun, want 1", got)
	}
}

// TestAway: to the eID goes who holds the session, and a page that has its pass,
// which opens nothing else and is good for this order alone.
func TestAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s, other := w.create(n), w.create(n)
	away := func(id string, h broker.Handle, pass string) string {
		t.Helper()
		to, err := n.Away(t.Context(), id, h, pass)
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	if to := away(s.ID, ada, ""); to != "" {
		t.Errorf("before anything has begun: %q", to)
	}
	w.to(n, s.ID, "redirect")
	w.to(n, other.ID, "redirect")
	eve := broker.Handle{Cookie: "eve's browser"}
	v, err := n.Look(t.Context(), s.ID, ada, connector.Browser{})
	if err != nil || len(v.Pass) < 20 {
		t.Fatalf("Pass = %q, %v", v.Pass, err)
	}
	foreign, err := n.Look(t.Context(), other.ID, ada, connector.Browser{})
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := n.Look(t.Context(), s.ID, eve, connector.Browser{}); err != nil || seen.Pass != "" {
		t.Errorf("another browser sees the pass %q, %v", seen.Pass, err)
	}
	for name, c := range map[string]struct {
		h    broker.Handle
		pass string
		may  bool
	}{
		"its browser":             {ada, "", true},
		"a page with the pass":    {broker.Handle{}, v.Pass, true},
		"another browser with it": {eve, v.Pass, true},
		"another browser":         {eve, "", false},
		"nobody":                  {broker.Handle{}, "", false},
		"another session's pass":  {broker.Handle{}, foreign.Pass, false},
		"a handle for a pass":     {broker.Handle{}, ada.Cookie, false},
		"a pass for a cookie":     {broker.Handle{Cookie: v.Pass}, "", false},
		"a pass for a token":      {broker.Handle{Token: v.Pass}, "", false},
	} {
		if to := away(s.ID, c.h, c.pass); (to == "https://upstream.example/login") != c.may || !c.may && to != "" {
			t.Errorf("%s goes to %q", name, to)
		}
	}
	if v, err := n.Act(t.Context(), s.ID, broker.Handle{Token: v.Pass}, connector.Browser{}, connector.Shown{}); err != nil || v.Place != broker.AtElsewhere {
		t.Errorf("an act with a pass = %+v, %v", v, err)
	}
	if _, err := n.Cancel(t.Context(), s.ID, ada); err != nil {
		t.Fatal(err)
	}
	if to := away(s.ID, broker.Handle{}, v.Pass); to != "" {
		t.Errorf("after the end: %q", to)
	}
}

func TestDuplicateAndLateEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.create(n)
	w.to(n, s.ID, "redirect")
	order := w.session(s.ID).Order
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := n.Returned(context.Background(), eid.Test, "story", connectortest.Inbound(order), ada, connector.Browser{}); err != nil {
				t.Error(err)
			}
			if _, err := n.Act(context.Background(), s.ID, ada, connector.Browser{}, connector.Submitted{Values: url.Values{"go": {"1"}}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	done := w.finish(s.ID, func() *node { return n })
	if done.State != broker.Finished {
		t.Fatalf("state = %s %s", done.State, done.Reason)
	}
	before := w.session(s.ID).Version
	if _, err := n.Act(t.Context(), s.ID, ada, connector.Browser{}, connector.Submitted{Values: url.Values{"fail": {"declined"}}}); err != nil {
		t.Fatal(err)
	}
	for where, n := range map[string]*node{"its own": n, "another": w.node(w.store)} { // what was answered before belongs to who called before
		if r, err := n.Called(t.Context(), eid.Test, "story", connectortest.Inbound(order)); err != nil || r != nil {
			t.Errorf("a late call at %s node: %+v, %v", where, r, err)
		}
	}
	if _, err := n.Cancel(t.Context(), s.ID, ada); err != nil {
		t.Fatal(err)
	}
	if got := w.session(s.ID); got.Version != before || got.State != broker.Finished {
		t.Errorf("a late event changed the session: %+v", got)
	}
}

// A silent store loses the beats of its node while it is on: the others take it
// for dead.
type silent struct {
	broker.Store
	on  atomic.Bool
	err error // what the node hears of it; nil if it believes that it beats
}

func (s *silent) Beat(ctx context.Context, epoch string) error {
	if s.on.Load() {
		return s.err
	}
	return s.Store.Beat(ctx, epoch)
}

// lapse is a silence of twelve seconds and, after it, time for everybody to notice
// its end; in a bubble.
func (s *silent) lapse() {
	s.on.Store(true)
	later(12 * time.Second)
	s.on.Store(false)
	later(5 * time.Second)
}

func TestTwoOwners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mute := &silent{Store: w.store}
	first := w.node(mute)
	s := w.create(first)
	w.to(first, s.ID, "redirect")

	// The first node's call hangs; it is taken for dead, and the second goes on.
	hang, entered := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(hang) })
	t.Cleanup(release)
	var once sync.Once
	w.story.Hook = func(at string) error {
		if at == "returned" {
			block := false
			once.Do(func() { block = true })
			if block {
				close(entered)
				<-hang
			}
		}
		return nil
	}
	late := make(chan error, 1)
	go func() {
		_, err := first.Returned(context.Background(), eid.Test, "story", connectortest.Inbound(w.session(s.ID).Order), ada, connector.Browser{})
		late <- err
	}()
	<-entered
	mute.on.Store(true)
	w.bury(first)
	second := w.node(w.store)
	done := w.finish(s.ID, func() *node { return second })
	if done.State != broker.Finished {
		t.Fatalf("state = %s %s", done.State, done.Reason)
	}
	version := done.Version
	release()
	if err := <-late; err != nil { // whatever it says, it must not have changed anything
		t.Log(err)
	}
	if got := w.session(s.ID); got.Version != version || got.State != broker.Finished {
		t.Errorf("the old owner's late result changed the session: %+v", got)
	}
}

// TestNoOrphanOfItsOwn: a node does not take its own orders over, however old
// its last beat looks, as it does where a clock jumps.
func TestNoOrphanOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.node(w.store, func(c *broker.Config) { c.Limits.Beat = time.Hour })
		s := w.create(n)
		w.to(n, s.ID, "redirect")
		w.bury(n)
		later(3 * time.Second) // it looks for orphans each second
		notes, err := w.store.Notes(t.Context(), s.ID)
		if err != nil || slices.ContainsFunc(notes, func(n broker.Note) bool { return n.Text == "taken over" }) {
			t.Errorf("the node took its own order over: %v, %v", notes, err)
		}
	})
}

func TestCancelOnAnotherNodeThanThePoller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	poller, other := w.node(w.store), w.node(w.store)
	s := w.create(poller)
	w.to(poller, s.ID, "wait")
	v, err := other.Cancel(t.Context(), s.ID, ada)
	if err != nil || v.Place != broker.AtEnd || v.Failed != eid.Cancelled {
		t.Fatalf("Cancel = %+v, %v", v, err)
	}
	order := w.session(s.ID).Order
	until(t, "the poller tells the upstream", func() bool { return w.story.Cancelled(order) == 1 })
	if got := w.session(s.ID); got.State != broker.Failed || got.Reason != eid.Cancelled {
		t.Errorf("session = %s %s", got.State, got.Reason)
	}
}

// TestCancelWhileCalling: the upstream's no comes when the person has cancelled
// already. Nothing more is asked of it, whether it can be told of cancels or not.
func TestCancelWhileCalling(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{"begins": "begin", "goes on": "submitted"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.keep["story"] = struct{ connector.Connector }{w.story} // cannot cancel
			n := w.node(w.store)
			id := w.create(n).ID
			cancelled := make(chan error, 1)
			w.story.Hook = func(call string) error {
				if call != at || w.session(id).State.Ended() {
					return nil
				}
				go func() {
					_, err := n.Cancel(context.Background(), id, ada)
					cancelled <- err
				}()
				until(t, "the session has ended", func() bool { return w.session(id).State.Ended() })
				return &connector.Unknown{Reason: eid.Refused}
			}
			if _, err := n.Open(t.Context(), id, ada, connector.Browser{}, nil, false); err != nil {
				t.Fatal(err)
			}
			if at != "begin" {
				if _, err := n.Act(t.Context(), id, ada, connector.Browser{}, connector.Submitted{Values: url.Values{"go": {"1"}}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-cancelled; err != nil {
				t.Fatal(err)
			}
			if got := w.session(id); got.Reason != eid.Cancelled || w.story.Calls("begin") != 1 {
				t.Errorf("session = %s %s, begun %d times", got.State, got.Reason, w.story.Calls("begin"))
			}
		})
	}
}

// TestCallAfterTheEnd: another node has ended the session, and its order's owner
// has not heard of it yet. An upstream that calls meanwhile comes too late.
func TestCallAfterTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep["story"] = &still{Story: w.story}
	w.story.Hook = func(at string) error {
		if at == "called" {
			return &connector.Unknown{Reason: eid.Refused}
		}
		return nil
	}
	owner, other := w.node(w.store), w.node(w.store)
	id := w.create(owner).ID
	w.to(owner, id, "ask")
	order := w.session(id).Order
	if _, err := other.Cancel(t.Context(), id, ada); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Called(t.Context(), eid.Test, "story", connectortest.Inbound(order)); err != nil {
		t.Errorf("Called = %v", err)
	}
	if n := w.story.Calls("called"); n != 0 {
		t.Errorf("the connector was asked %d times for a session that has ended", n)
	}
	until(t, "the upstream is told", func() bool { return w.story.Cancelled(order) == 1 })
	until(t, "the owner has heard of it", func() bool {
		left, err := w.store.Inbox(t.Context(), owner.epoch, 0, 10)
		return err == nil && len(left) == 0
	})
	if n := w.count(w.session(id), "abandoned"); n != 1 {
		t.Errorf("the order was abandoned %d times", n)
	}
}

func TestEventOnAnotherNodeThanTheOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, other := w.node(w.store), w.node(w.store)
	s := w.create(owner)
	w.to(owner, s.ID, "redirect")
	if got := w.finish(s.ID, func() *node { return other }); got.State != broker.Finished {
		t.Errorf("state = %s %s", got.State, got.Reason)
	}
}

func TestRetryWithinTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.create(n)
	w.to(n, s.ID, "ask")
	v, err := n.Act(t.Context(), s.ID, ada, connector.Browser{}, connector.Submitted{Values: url.Values{"fail": {"declined"}, "retry": {"1"}}})
	if err != nil || v.Place != broker.AtRetry || v.Failed != eid.Declined {
		t.Fatalf("after a failure that may be tried again: %+v, %v", v, err)
	}
	if got := w.finish(s.ID, func() *node { return n }); got.State != broker.Finished {
		t.Errorf("state = %s %s", got.State, got.Reason)
	}
	if w.story.Calls("begin") != 2 {
		t.Errorf("%d orders, want 2", w.story.Calls("begin"))
	}
}

// TestAnotherMethod: after a failure that may be tried again, a person may
// choose anew; not while something is under way, and not where the party has
// chosen.
func TestAnotherMethod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep["other"] = w.story
	n := w.node(w.store)
	s, err := n.Create(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Language: "en", Spec: broker.Spec{Party: "Shop", Page: "/s/",
		Methods: []broker.Method{{Name: "story", EID: "story"}, {Name: "other", EID: "other"}}}})
	if err != nil {
		t.Fatal(err)
	}
	choose := func(method string) *broker.View {
		t.Helper()
		v, err := n.Choose(t.Context(), s.ID, ada, connector.Browser{}, method)
		if err != nil && !errors.Is(err, broker.ErrMove) {
			t.Fatal(err)
		}
		return v
	}
	choose("story")
	w.to(n, s.ID, "ask")
	if choose("other"); w.session(s.ID).Method != "story" {
		t.Error("the method was changed while its order was under way")
	}
	failed := connector.Submitted{Values: url.Values{"fail": {"upstream_unavailable"}, "retry": {"1"}}}
	if v, err := n.Act(t.Context(), s.ID, ada, connector.Browser{}, failed); err != nil || v.Place != broker.AtRetry {
		t.Fatalf("after a failure: %+v, %v", v, err)
	}
	if choose("none"); w.session(s.ID).Order == "" {
		t.Error("a method that does not exist took the order away")
	}
	if v := choose("other"); v.Place != broker.AtFront || v.Session.EID != "other" || v.Session.State != broker.Started {
		t.Fatalf("after the choice: %+v", v)
	}
	if v := choose("story"); v.Place != broker.AtFront || v.Session.EID != "story" { // and once more
		t.Fatalf("after the second choice: %+v", v)
	}
	choose("other")
	// No order is there, yet something was asked of an upstream before.
	stranger := broker.Handle{Cookie: "eve's browser"}
	if v, err := n.Look(t.Context(), s.ID, stranger, connector.Browser{}); err != nil || v.Place != broker.AtElsewhere {
		t.Errorf("another browser sees %+v, %v", v, err)
	}
	if v, err := n.Open(t.Context(), s.ID, stranger, connector.Browser{}, nil, false); err != nil || v.Place != broker.AtElsewhere || w.session(s.ID).Order != "" {
		t.Errorf("another browser opens %+v, %v", v, err)
	}
	if got := w.finish(s.ID, func() *node { return n }); got.State != broker.Finished || got.EID != "other" {
		t.Errorf("state = %s %s of %s", got.State, got.Reason, got.EID)
	}
	if choose("story"); w.session(s.ID).Method != "other" {
		t.Error("the method was changed after the end")
	}
}

// One of whom the eID tells no number is nobody's right person.
func TestPinnedPerson(t *testing.T) {
	t.Parallel()
	for _, number := range []eid.Number{"199001012385", ""} {
		pinnedPerson(t, number)
	}
}

func pinnedPerson(t *testing.T, told eid.Number) {
	t.Helper()
	w := newWorld(t)
	w.story.Person.Number = told
	n := w.node(w.store)
	s, err := n.Create(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify,
		Spec: broker.Spec{Methods: []broker.Method{{Name: "story", EID: "story"}}, Pinned: "199001032391", Page: "/s/"}})
	if err != nil {
		t.Fatal(err)
	}
	got := w.finish(s.ID, func() *node { return n })
	if got.State != broker.Failed || got.Reason != eid.WrongPerson {
		t.Errorf("number %q: session = %s %s, want failed wrong_person", string(told), got.State, got.Reason)
	}
	if id, _, err := n.Result(t.Context(), got, "key"); id != nil || err != nil {
		t.Errorf("Result = %v, %v; want nothing", id, err)
	}
}

func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		state  broker.State
		reason eid.Reason
		begins int
	}{
		"may be repeated":     {&connector.Unknown{Reason: eid.Unavailable, Repeat: true, Err: errors.New("reset")}, broker.Finished, "", 2},
		"may not be repeated": {&connector.Unknown{Reason: eid.OutcomeUnknown, Err: errors.New("reset")}, broker.Failed, eid.OutcomeUnknown, 1},
		"not typed":           {errors.New("bug"), broker.Failed, eid.Internal, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var once sync.Once
			w.story.Hook = func(at string) (err error) {
				if at == "begin" {
					once.Do(func() { err = c.err })
				}
				return err
			}
			n := w.node(w.store)
			s := w.finish(w.create(n).ID, func() *node { return n })
			if s.State != c.state || s.Reason != c.reason || w.story.Calls("begin") != c.begins {
				t.Errorf("session = %s %s after %d calls, want %s %s after %d", s.State, s.Reason, w.story.Calls("begin"), c.state, c.reason, c.begins)
			}
		})
	}
}

func TestPanicOfAConnector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.story.Hook = func(string) error { panic("boom") }
	n := w.node(w.store)
	s := w.finish(w.create(n).ID, func() *node { return n })
	if s.State != broker.Failed || s.Reason != eid.Internal {
		t.Errorf("session = %s %s", s.State, s.Reason)
	}
}

// A clock that tests set; it wakes the broker when it jumps.
type clock struct {
	mu   sync.Mutex
	at   time.Time
	jump chan struct{}
}

func newClock() *clock {
	return &clock{at: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), jump: make(chan struct{})}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) Jumped() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jump
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	close(c.jump)
	c.jump = make(chan struct{})
}

func (c *clock) use(cfg *broker.Config) { cfg.Now, cfg.Jumped = c.Now, c.Jumped }

func TestExpiryExtensionErasure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ck := newClock()
	w.story.Now = ck.Now
	n := w.node(w.store, ck.use)

	unopened := w.create(n)
	running := w.create(n)
	w.to(n, running.ID, "redirect")
	ck.advance(14 * time.Minute)
	for i := range 10 { // at least ten times ten minutes
		if v, err := n.Extend(t.Context(), running.ID, ada); err != nil || !v.CanLonger && i < 9 {
			t.Fatalf("extension %d: %+v, %v", i+1, v, err)
		}
		ck.advance(9 * time.Minute)
	}
	until(t, "the unopened session expires", func() bool { return w.session(unopened.ID).State == broker.Failed })
	if got := w.session(unopened.ID).Reason; got != eid.Expired {
		t.Errorf("unopened: reason %s", got)
	}
	if got := w.session(running.ID); got.State != broker.Started {
		t.Fatalf("extended session is %s %s", got.State, got.Reason)
	}
	ck.advance(3 * time.Hour)
	until(t, "the running session expires", func() bool { return w.session(running.ID).State == broker.Failed })
	if w.story.Calls("expired") != 1 {
		t.Errorf("the connector was told %d times that time is over, want 1", w.story.Calls("expired"))
	}
	ck.advance(24*time.Hour + time.Minute)
	until(t, "both are erased", func() bool {
		return w.session(running.ID).State == broker.Erased && w.session(unopened.ID).State == broker.Erased
	})
	if _, err := n.Session(t.Context(), caller().Account.ID, eid.Test, running.ID); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("Session of an erased one = %v, want ErrNotFound", err)
	}
	if _, err := w.store.Data(t.Context(), running.ID, broker.DataSpec); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("Data of an erased one = %v, want ErrNotFound", err)
	}
	notes, err := w.store.Notes(t.Context(), running.ID)
	if err != nil || !slices.ContainsFunc(notes, func(n broker.Note) bool { return n.Text == "failed expired" }) {
		t.Errorf("Notes = %v, %v; the timeline stays", notes, err)
	}
}

// A due is a store in which something happens after it was seen whose time is
// over.
type due struct {
	broker.Store
	then func(*broker.Session)
	was  bool          // it has
	done chan struct{} // closed at the look after that, when the node has dealt with it
}

func (d *due) Due(ctx context.Context, now time.Time, after broker.Mark, limit int) ([]*broker.Session, error) {
	if d.was && d.done != nil {
		close(d.done)
		d.done = nil
	}
	all, err := d.Store.Due(ctx, now, after, limit)
	for _, s := range all {
		d.then(s)
		d.was = true
	}
	return all, err
}

// TestExpiryWasTooSoon: whoever asks for time, or begins, when a node has just
// seen that the time is over goes on.
func TestExpiryWasTooSoon(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(*node, string) error{
		"asks for time": func(n *node, id string) error { _, err := n.Extend(context.Background(), id, ada); return err },
		"begins": func(n *node, id string) error {
			_, err := n.Open(context.Background(), id, ada, connector.Browser{}, nil, false)
			return err
		},
	} {
		w := newWorld(t)
		ck := newClock()
		w.story.Now = ck.Now
		done := make(chan struct{})
		at := &due{Store: w.store, done: done}
		var n *node
		at.then = func(s *broker.Session) {
			if err := act(n, s.ID); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		n = w.node(at, ck.use)
		id := w.create(n).ID
		ck.advance(30 * time.Minute)
		<-done
		if s := w.session(id); s.State.Ended() {
			t.Errorf("%s: %s %s", name, s.State, s.Reason)
		}
	}
}

// Who has asked for more time before an order keeps it when that begins.
func TestExtensionOutlastsTheBeginning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ck := newClock()
	w.story.Now = ck.Now
	n := w.node(w.store, ck.use)
	s := w.create(n)
	for range 3 {
		if _, err := n.Extend(t.Context(), s.ID, ada); err != nil {
			t.Fatal(err)
		}
	}
	due := w.session(s.ID).Due
	w.to(n, s.ID, "redirect")
	if got := w.session(s.ID); got.State != broker.Started || !got.Due.Equal(due) {
		t.Errorf("%s until %s, want %s", got.State, got.Due, due)
	}
}

func TestForeignSessionsAreNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.create(n)
	for name, q := range map[string]struct {
		account string
		env     eid.Environment
		id      string
	}{
		"unknown":           {s.Account, eid.Test, "11111111-1111-4111-8111-111111111111"},
		"another account":   {"33333333-0000-4000-8000-000000000001", eid.Test, s.ID},
		"other environment": {s.Account, eid.Live, s.ID},
		"no id":             {s.Account, eid.Test, "x"},
	} {
		if _, err := n.Session(t.Context(), q.account, q.env, q.id); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
}

func TestNoteIsTrueOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.create(n)
	for i, want := range []bool{true, false, false} {
		if got, err := n.Note(t.Context(), s.ID, "collected"); got != want || err != nil {
			t.Errorf("Note %d = %v, %v; want %v", i+1, got, err, want)
		}
	}
}

// full is a store that takes nothing any more.
type full struct{ broker.Store }

func (full) Apply(context.Context, *broker.Change) error { return errors.New("disk full") }

// TestAuditTrail: each act leaves one row, also that the result was read, and
// what cannot be recorded is not told.
func TestAuditTrail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.node(w.store)
	s := w.finish(w.create(n).ID, func() *node { return n })
	if _, _, err := n.Result(t.Context(), s, "key-2"); err != nil {
		t.Fatal(err)
	}
	trail := func(id string) (got []string) {
		m := w.store.(*memory)
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, a := range m.audit[id] {
			got = append(got, a.Actor+" "+a.Action+" "+a.Outcome)
		}
		return got
	}
	want := []string{"rp:22222222-0000-4000-8000-000000000001 session.create ok", "person order.begin ok", "node session.finished ok", "rp:key-2 result.read ok"}
	if diff := cmp.Diff(want, trail(s.ID)); diff != "" {
		t.Error(diff)
	}
	// Where the party has pages of its own, it is the party that begins and cancels.
	v, err := n.Begin(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify,
		Spec: broker.Spec{Methods: []broker.Method{{Name: "story", EID: "story"}}, Headless: true, Page: "/"}}, connector.Browser{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Withdraw(t.Context(), v.Session.ID, "key-2"); err != nil {
		t.Fatal(err)
	}
	if err := n.Withdraw(t.Context(), v.Session.ID, "key-2"); !errors.Is(err, broker.ErrMove) {
		t.Errorf("a second time: %v", err)
	}
	want = []string{"rp:22222222-0000-4000-8000-000000000001 session.create ok", "rp:22222222-0000-4000-8000-000000000001 order.begin ok",
		"rp:key-2 session.stop cancelled", "node session.failed cancelled"}
	if diff := cmp.Diff(want, trail(v.Session.ID)); diff != "" {
		t.Error(diff)
	}
	mute := w.node(full{w.store})
	if id, ev, err := mute.Result(t.Context(), s, "key"); err == nil || id != nil || ev != nil {
		t.Errorf("without a record: %v, %v, %v", id, ev, err)
	}
}

// TestTriesAreCounted: what may be repeated is repeated five times, also where
// nothing keeps the order in memory meanwhile.
func TestTriesAreCounted(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"begin", "returned"} {
		for _, polls := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, polls %v", at, polls), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.keep["story"] = &still{Story: w.story, polls: polls}
				w.story.Hook = func(event string) error {
					if event == at {
						return &connector.Unknown{Reason: eid.OutcomeUnknown, Repeat: true, Err: errors.New("reset"), After: time.Millisecond}
					}
					return nil
				}
				n := w.node(w.store)
				id := w.create(n).ID
				if at == "returned" {
					order := w.to(n, id, "redirect").Session.Order
					_, _ = n.Returned(t.Context(), eid.Test, "story", connectortest.Inbound(order), ada, connector.Browser{})
				} else if _, err := push(t.Context(), n, id); err != nil {
					t.Fatal(err)
				}
				for range 5000 {
					if w.session(id).State.Ended() {
						break
					}
					pause()
				}
				if s := w.session(id); s.State != broker.Failed || s.Reason != eid.OutcomeUnknown || w.story.Calls(at) != 5 {
					t.Errorf("session = %s %s after %d calls, want failed after 5", s.State, s.Reason, w.story.Calls(at))
				}
			})
		}
	}
}

// still is a Story that need not poll.
type still struct {
	*connectortest.Story
	polls bool
}

func (s *still) Info() connector.Info {
	i := s.Story.Info()
	i.Polls = s.polls
	return i
}
