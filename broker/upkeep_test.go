package broker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/pgtest"
	"eidgate/sandbox"
	"eidgate/store"
)

// A bank is a connector with a list, with returns that any browser may bring,
// and with a duty: what its upstream must be asked for, "asks" times.
type bank struct {
	mu      sync.Mutex
	fetched int
	list    connector.List
	err     error
	asked   []string // what Collect was given
	asks    int
	seen    []*connector.List
	events  []connector.Returned
}

func (b *bank) Info() connector.Info {
	return connector.Info{EID: "bank", Purposes: []eid.Purpose{eid.Identify}, Anywhere: true}
}

func (b *bank) Contract(connector.Settings) (string, error) { return "contract", nil }

func (b *bank) List(context.Context, connector.Settings) (*connector.List, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fetched++
	l := b.list
	return &l, b.err
}

func (b *bank) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fetched
}

func (b *bank) set(changed time.Time, err error, names ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err, b.list = err, connector.List{Changed: changed}
	for _, n := range names {
		b.list.Groups = append(b.list.Groups, connector.Group{Name: n})
	}
}

func (b *bank) Front(r *connector.Request) connector.Ask {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, r.List)
	return connector.Ask{}
}

func (b *bank) Begin(_ context.Context, r *connector.Request) (connector.Result, error) {
	if r.Input.Get("issuer") == "gone" {
		return connector.Result{Step: connector.Fail{Reason: eid.Unavailable, Code: "AP1200", Retry: true}, Stale: true, State: []byte("owes " + r.Order)}, nil
	}
	return connector.Result{Step: connector.Redirect{URL: "https://bank.example"}, State: []byte("owes " + r.Order), Refs: []connector.Ref{connector.Ref(r.Order)}}, nil
}

func (b *bank) Locate(in connector.Inbound) (connector.Ref, error) {
	return connector.Ref(in.Query.Get("id")), nil
}

func (b *bank) Resume(_ context.Context, r *connector.Request, state []byte, e connector.Event) (connector.Result, error) {
	ret, ok := e.(connector.Returned)
	if !ok {
		return connector.Result{Step: connector.Fail{Reason: eid.Expired}, State: state}, nil
	}
	b.mu.Lock()
	b.events = append(b.events, ret)
	b.mu.Unlock()
	who := &eid.Identity{EID: "bank", At: time.Now(), Subject: "BIN", Country: "NL"}
	switch {
	case ret.Foreign && ret.In.Method == http.MethodPost:
		return connector.Result{Step: connector.Done{}, Binding: eid.Weak}, nil
	case ret.Foreign:
		return connector.Result{Step: connector.Wait{Asks: true}, Confirmed: who, State: []byte("known")}, nil
	}
	return connector.Result{Step: connector.Done{}, Confirmed: who}, nil
}

func (b *bank) Duty(state []byte, now time.Time) *connector.Duty {
	if id, ok := strings.CutPrefix(string(state), "owes "); ok {
		return &connector.Duty{State: []byte(id), Due: now.Add(time.Hour)}
	}
	return nil
}

func (b *bank) Collect(_ context.Context, _ connector.Settings, state []byte, now time.Time) (*connector.Duty, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, string(state))
	if b.asks--; b.asks > 0 {
		return &connector.Duty{State: state, Due: now.Add(24 * time.Hour)}, "open"
	}
	return nil, "expired"
}

func (b *bank) collected() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

// street is a world whose only eID is a bank.
type street struct {
	*world
	bank  *bank
	clock *sandbox.Clock
}

func newStreet(t *testing.T, s broker.Store) *street {
	w := &street{world: newWorld(t), bank: &bank{asks: 1}, clock: sandbox.NewClock(true)}
	w.store = s
	w.keep = map[eid.EID]connector.Connector{"bank": w.bank}
	w.bank.set(w.clock.Now(), nil, "Nederland")
	return w
}

func (w *street) node() *node {
	return w.world.node(w.store, func(c *broker.Config) {
		c.Now, c.Jumped = w.clock.Now, w.clock.Jumped
		c.Limits.Save = 10 * time.Second
		c.Contracts = func() []broker.Contract {
			return []broker.Contract{{Environment: eid.Test, EID: "bank", Settings: connector.Settings{Key: "k"}},
				{Environment: eid.Test, EID: "bank", Settings: connector.Settings{Key: "renewed"}}}
		}
	})
}

func (w *street) begin(n *node, issuer string) *broker.View {
	w.t.Helper()
	s, err := n.Create(w.t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Language: "en",
		Spec: broker.Spec{Methods: []broker.Method{{Name: "bank", EID: "bank"}}, Party: "Shop", Page: "/s/"}})
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := n.Open(w.t.Context(), s.ID, ada, connector.Browser{}, url.Values{"issuer": {issuer}}, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// onEveryStore runs a test on each kind of storage.
func onEveryStore(t *testing.T, test func(*testing.T, broker.Store)) {
	for name, open := range map[string]func(*testing.T) broker.Store{
		"plain":    newStore,
		"sqlite":   func(t *testing.T) broker.Store { return realStore(t, "sqlite:"+filepath.Join(t.TempDir(), "e.db")) },
		"postgres": func(t *testing.T) broker.Store { return realStore(t, pgtest.Database(t, pgtest.Options{})) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func realStore(t *testing.T, url string) broker.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: url, Master: bytes.Repeat([]byte{3}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // the nodes have left by then
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// A list is fetched once for everybody under a contract, anew after a week,
// and stays when what comes is older, empty, or nothing.
func TestLists(t *testing.T) {
	t.Parallel()
	onEveryStore(t, func(t *testing.T, s broker.Store) {
		w := newStreet(t, s)
		began := w.clock.Now()
		one, two := w.node(), w.node()
		names := func(n *node) string {
			l, err := n.List(t.Context(), eid.Test, "bank", connector.Settings{Key: "k"})
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, g := range l.Groups {
				out = append(out, g.Name)
			}
			return strings.Join(out, " ")
		}
		var all sync.WaitGroup
		for range 20 {
			for _, n := range []*node{one, two} {
				all.Go(func() { names(n) })
			}
		}
		all.Wait()
		if n := w.bank.count(); n < 1 || n > 2 { // each node may find nothing at the same moment
			t.Errorf("fetched %d times", n)
		}
		// What is stored reaches other nodes when they look next; a new node is
		// one that has not looked yet.
		week := func(changed time.Time, err error, list ...string) string {
			w.bank.set(changed, err, list...)
			before := w.bank.count()
			w.clock.Advance(8 * 24 * time.Hour)
			until(t, "another fetch", func() bool { return w.bank.count() > before })
			var got string
			until(t, "the new time", func() bool {
				d, err := w.store.Directory(t.Context(), eid.Test, "bank", "contract")
				return err == nil && d.Due.After(w.clock.Now().Add(2*time.Minute))
			})
			got = names(w.node())
			return got
		}
		if got := week(began.Add(time.Hour), nil, "Nederland", "Belgie"); got != "Nederland Belgie" {
			t.Errorf("changed: %s", got)
		}
		if got := week(began, nil, "Old"); got != "Nederland Belgie" {
			t.Errorf("older: %s", got)
		}
		if got := week(began.Add(2*time.Hour), nil); got != "Nederland Belgie" {
			t.Errorf("empty: %s", got)
		}
		if got := week(began.Add(2*time.Hour), errors.New("down"), "New"); got != "Nederland Belgie" {
			t.Errorf("none: %s", got)
		}
		if got := week(began.Add(2*time.Hour), nil, "New"); got != "New" {
			t.Errorf("at last: %s", got)
		}
	})
}

// An upstream that does not know what was chosen has another list; a person
// sees the form again, with it.
func TestStaleList(t *testing.T) {
	t.Parallel()
	w := newStreet(t, newStore(t))
	n := w.node()
	until(t, "a list", func() bool { return w.bank.count() == 1 })
	if v := w.begin(n, "gone"); v.Place != broker.AtRetry || w.bank.count() != 1 {
		t.Errorf("%s, %d fetches: a list that is new is not fetched again", v.Place, w.bank.count())
	}
	w.clock.Advance(11 * time.Minute)
	w.bank.set(w.clock.Now(), nil, "New")
	v := w.begin(n, "gone")
	if v.Place != broker.AtRetry || v.Front == nil || w.bank.count() != 2 {
		t.Errorf("%s, %d fetches", v.Place, w.bank.count())
	}
	w.bank.mu.Lock()
	defer w.bank.mu.Unlock()
	if last := w.bank.seen[len(w.bank.seen)-1]; last == nil || last.Groups[0].Name != "New" {
		t.Error("the form has the old list")
	}
}

// No list: the page says so and asks nobody again for a while.
func TestNoList(t *testing.T) {
	t.Parallel()
	w := newStreet(t, newStore(t))
	w.bank.set(time.Time{}, errors.New("down"))
	n := w.node()
	for range 5 {
		if _, err := n.List(t.Context(), eid.Test, "bank", connector.Settings{Key: "k"}); !errors.Is(err, broker.ErrNotFound) {
			t.Fatalf("%v", err)
		}
	}
	if w.bank.count() > 1 {
		t.Errorf("asked %d times", w.bank.count())
	}
	w.bank.set(w.clock.Now(), nil, "Nederland")
	w.clock.Advance(time.Minute)
	until(t, "a list", func() bool {
		d, err := w.store.Directory(t.Context(), eid.Test, "bank", "contract")
		return err == nil && !d.Fetched.IsZero()
	})
}

// A slow bank answers when the clock has jumped meanwhile.
type slowBank struct {
	*bank
	first sync.Once
	jump  func()
}

func (s *slowBank) List(ctx context.Context, set connector.Settings) (*connector.List, error) {
	defer s.first.Do(s.jump)
	return s.bank.List(ctx, set)
}

// TestJumpMeanwhile: a jump of the clock while a node is at work is not lost.
func TestJumpMeanwhile(t *testing.T) {
	t.Parallel()
	w := newStreet(t, newStore(t))
	w.bank.set(time.Time{}, errors.New("down"))
	w.keep["bank"] = &slowBank{bank: w.bank, jump: func() {
		w.bank.set(w.clock.Now(), nil, "Nederland")
		w.clock.Advance(time.Minute)
	}}
	w.node()
	until(t, "a list", func() bool {
		d, err := w.store.Directory(t.Context(), eid.Test, "bank", "contract")
		return err == nil && !d.Fetched.IsZero()
	})
}

// What an order owes its upstream when it ends is seen to, one after another,
// whatever the end was, and after the session is erased.
func TestDuties(t *testing.T) {
	t.Parallel()
	onEveryStore(t, func(t *testing.T, s broker.Store) {
		w := newStreet(t, s)
		w.bank.asks = 3
		n := w.node()
		stopped := w.begin(n, "a")
		if _, err := n.Cancel(t.Context(), stopped.Session.ID, ada); err != nil {
			t.Fatal(err)
		}
		finished := w.begin(n, "b")
		in := connector.Inbound{Method: http.MethodGet, Query: url.Values{"id": {finished.Session.Order}}}
		if v, err := n.Returned(t.Context(), eid.Test, "bank", in, ada, connector.Browser{}); err != nil || v.Session.State != broker.Finished {
			t.Fatalf("%v %v", v, err)
		}
		w.clock.Advance(59 * time.Minute)
		pause()
		if got := w.bank.collected(); len(got) != 0 {
			t.Fatalf("collected %v before the time", got)
		}
		for i, d := range []time.Duration{2 * time.Minute, 24 * time.Hour, 24 * time.Hour} { // the last one is long after the erasure
			w.clock.Advance(d)
			until(t, "the next collect", func() bool { return len(w.bank.collected()) == i+1 })
		}
		until(t, "the erasure", func() bool {
			now, err := w.store.Session(t.Context(), stopped.Session.ID)
			return err == nil && now.State == broker.Erased
		})
		w.clock.Advance(48 * time.Hour)
		for range 20 {
			pause()
		}
		if got := w.bank.collected(); !slices.Equal(got, []string{stopped.Session.Order, stopped.Session.Order, stopped.Session.Order}) {
			t.Errorf("collected %v; the order is %s, and the other one owes nothing", got, stopped.Session.Order)
		}
	})
}

// A session that expires leaves its duty, too, and so does an attempt that may
// be tried again.
func TestDutiesOfOtherEnds(t *testing.T) {
	t.Parallel()
	w := newStreet(t, newStore(t))
	n := w.node()
	expired, again := w.begin(n, "a"), w.begin(n, "gone")
	w.clock.Advance(16 * time.Minute)
	until(t, "the expiry", func() bool { return w.session(expired.Session.ID).State == broker.Failed })
	w.clock.Advance(2 * time.Hour)
	until(t, "both", func() bool { return len(w.bank.collected()) == 2 })
	got := w.bank.collected()
	slices.Sort(got)
	want := []string{expired.Session.Order, again.Session.Order}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("collected %v, want %v", got, want)
	}
}

// TestLeaveForAnother: who has been sent to an eID and comes back may choose
// another. What is owed to the first is seen to, and its answer comes too late.
func TestLeaveForAnother(t *testing.T) {
	t.Parallel()
	w := newStreet(t, newStore(t))
	w.keep["other"] = w.story
	n, stranger := w.node(), broker.Handle{Cookie: "another browser"}
	s, err := n.Create(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Language: "en", Spec: broker.Spec{Party: "Shop", Page: "/s/",
		Methods: []broker.Method{{Name: "bank", EID: "bank"}, {Name: "other", EID: "other"}}}})
	if err != nil {
		t.Fatal(err)
	}
	choose := func(h broker.Handle, method string, want error) *broker.View {
		t.Helper()
		v, err := n.Choose(t.Context(), s.ID, h, connector.Browser{}, method)
		if !errors.Is(err, want) {
			t.Fatalf("Choose(%q) = %v, want %v", method, err, want)
		}
		return v
	}
	open := func() *broker.View {
		t.Helper()
		v, err := n.Open(t.Context(), s.ID, ada, connector.Browser{}, url.Values{"issuer": {"a"}}, false)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	choose(ada, "bank", nil)
	first := open()
	if !first.Elective() {
		t.Error("the page at the eID offers no other")
	}
	choose(ada, "bank", broker.ErrMove) // pressed twice
	if v := choose(stranger, "other", nil); v.Place != broker.AtElsewhere {
		t.Errorf("a stranger has chosen: %s", v.Place)
	}
	if v := w.session(s.ID); v.Method != "bank" || v.Order != first.Session.Order {
		t.Fatalf("the order was left for nothing: %s", v.Method)
	}
	if v := choose(ada, "other", nil); v.Place != broker.AtFront || v.Session.EID != "other" || v.Session.State != broker.Started || !v.Elective() {
		t.Fatalf("after the choice: %+v", v)
	}
	in := connector.Inbound{Method: http.MethodGet, Query: url.Values{"id": {first.Session.Order}}}
	for h, place := range map[broker.Handle]broker.Place{ada: broker.AtFront, stranger: broker.AtLanding} {
		if v, err := n.Returned(t.Context(), eid.Test, "bank", in, h, connector.Browser{}); err != nil || v.Place != place || v.Session.State != broker.Started {
			t.Errorf("an answer that is late: %+v, %v; want %s", v, err, place)
		}
	}
	if v := open(); v.Session.EID != "other" || v.Session.Order == first.Session.Order || v.Elective() {
		t.Errorf("the other has not begun: %+v", v)
	}
	choose(ada, "bank", broker.ErrMove) // it is asked, here
	w.clock.Advance(2 * time.Hour)
	until(t, "what is owed", func() bool { return slices.Equal(w.bank.collected(), []string{first.Session.Order}) })
	if !w.stored(w.session(s.ID), "abandoned") {
		t.Error("the timeline does not say so")
	}
}

// between is a store that does something before an order is read.
type between struct {
	broker.Store
	do atomic.Pointer[func()]
}

func (b *between) Order(ctx context.Context, id string) (*broker.Order, error) {
	if do := b.do.Swap(nil); do != nil {
		(*do)()
	}
	return b.Store.Order(ctx, id)
}

// TestLeaveAndGo: who goes to an eID at the moment in which another tab leaves it
// for another sees the page.
func TestLeaveAndGo(t *testing.T) {
	t.Parallel()
	for _, opened := range []bool{false, true} {
		at := &between{Store: newStore(t)}
		w := newStreet(t, at)
		w.keep["other"] = w.bank
		n := w.node()
		s, err := n.Create(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Language: "en", Spec: broker.Spec{Party: "Shop", Page: "/s/",
			Methods: []broker.Method{{Name: "bank", EID: "bank"}, {Name: "other", EID: "other"}}}})
		if err != nil {
			t.Fatal(err)
		}
		start := func(method string) {
			if _, err := n.Choose(t.Context(), s.ID, ada, connector.Browser{}, method); err != nil {
				t.Fatal(err)
			}
			if method == "bank" || opened {
				if v, err := n.Open(t.Context(), s.ID, ada, connector.Browser{}, url.Values{"issuer": {"a"}}, false); err != nil || v.Place != broker.AtStep {
					t.Fatalf("%+v, %v", v, err)
				}
			}
		}
		start("bank")
		other := func() { start("other") }
		at.do.Store(&other)
		if to, err := n.Away(t.Context(), s.ID, ada, ""); err != nil || to != "" {
			t.Errorf("opened %v: to %q, %v", opened, to, err)
		}
	}
}

// A browser that does not hold the session brings its answer all the same,
// and the session is finished when a person there has said yes.
func TestForeignReturn(t *testing.T) {
	t.Parallel()
	w := newStreet(t, newStore(t))
	n := w.node()
	v := w.begin(n, "a")
	stranger := broker.Handle{Cookie: "a phone's browser"}
	in := connector.Inbound{Method: http.MethodGet, Query: url.Values{"id": {v.Session.Order}}}
	landed, err := n.Returned(t.Context(), eid.Test, "bank", in, stranger, connector.Browser{})
	if err != nil {
		t.Fatal(err)
	}
	if wait, ok := landed.Step.(connector.Wait); landed.Place != broker.AtLanding || landed.Bound || !ok || !wait.Asks || landed.Session.State != broker.Confirmed {
		t.Fatalf("%s bound %v, %#v, %s", landed.Place, landed.Bound, landed.Step, landed.Session.State)
	}
	if page, err := n.Look(t.Context(), v.Session.ID, stranger, connector.Browser{}); err != nil || page.Place != broker.AtElsewhere {
		t.Errorf("the page itself: %v, %v", page.Place, err)
	}
	if landed, err = n.Returned(t.Context(), eid.Test, "bank", in, stranger, connector.Browser{}); err != nil || landed.Session.State != broker.Confirmed {
		t.Fatalf("loaded anew: %v %v", landed, err)
	}
	in.Method = http.MethodPost
	if landed, err = n.Returned(t.Context(), eid.Test, "bank", in, stranger, connector.Browser{}); err != nil || landed.Session.State != broker.Finished {
		t.Fatalf("after yes: %v %v", landed, err)
	}
	if s := w.session(v.Session.ID); s.Level != eid.Weak {
		t.Errorf("binding %s", s.Level)
	}
	if landed, err = n.Returned(t.Context(), eid.Test, "bank", in, stranger, connector.Browser{}); err != nil || landed.Place != broker.AtLanding {
		t.Errorf("once more: %v %v", landed, err)
	}
	if end, err := n.Look(t.Context(), v.Session.ID, ada, connector.Browser{}); err != nil || end.Place != broker.AtEnd {
		t.Errorf("the browser that began: %v %v", end.Place, err)
	}
}
