package broker_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/limit"
)

// A counting store counts how often a session is read. Its changes take a while.
type counting struct {
	broker.Store
	reads atomic.Int64
	err   atomic.Pointer[error] // of every change, if it is set
}

func (c *counting) Session(ctx context.Context, id string) (*broker.Session, error) {
	c.reads.Add(1)
	return c.Store.Session(ctx, id)
}

func (c *counting) Apply(ctx context.Context, ch *broker.Change) error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	for range 100 { // others come meanwhile
		runtime.Gosched()
	}
	return c.Store.Apply(ctx, ch)
}

// A desk makes live sessions of one account, at a time that stands still.
type desk struct {
	*world
	now atomic.Pointer[time.Time]
	c   *counting
}

func newDesk(t *testing.T) *desk {
	d := &desk{world: newWorld(t)}
	d.c = &counting{Store: d.store}
	d.wait(0)
	return d
}

func (d *desk) wait(long time.Duration) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	if old := d.now.Load(); old != nil {
		now = old.Add(long)
	}
	d.now.Store(&now)
}

func (d *desk) open() *node {
	return d.node(d.c, func(c *broker.Config) { c.Now = func() time.Time { return *d.now.Load() } })
}

// ask asks for a session that is held to a person.
func (d *desk) ask(n *node, who eid.Number, change ...func(*broker.NewSession)) (*broker.Session, error) {
	ask := broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify,
		Spec: broker.Spec{Methods: []broker.Method{{Name: "story", EID: "story"}}, Pinned: who, Party: "Shop", Page: "/s/"}}
	ask.Caller.Key.Environment = eid.Live
	for _, f := range change {
		f(&ask)
	}
	return n.Create(d.t.Context(), ask)
}

func (d *desk) must(n *node, who eid.Number, change ...func(*broker.NewSession)) *broker.Session {
	d.t.Helper()
	s, err := d.ask(n, who, change...)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// refused holds why a session with a person is refused, and for how long.
func (d *desk) refused(n *node, who eid.Number, why error, after time.Duration, change ...func(*broker.NewSession)) {
	d.t.Helper()
	_, err := d.ask(n, who, change...)
	e, ok := errors.AsType[*limit.Exceeded](err)
	if !ok || !errors.Is(err, why) || e.After != after {
		d.t.Errorf("%v %+v, want %v after %s", err, e, why, after)
	}
}

const (
	adaNumber = "199001012385"
	boNumber  = "198012249870"
)

func elsewhere(n *broker.NewSession) {
	account := *n.Caller.Account
	account.ID = "11111111-0000-4000-8000-000000000002"
	n.Caller.Account = &account
}

func inTest(n *broker.NewSession) { n.Caller.Key.Environment = eid.Test }

// byParameter names the person by a method's parameter.
func byParameter(n *broker.NewSession) { n.Spec.Pinned, n.Person = "", n.Spec.Pinned }

// TestOpenSessionsOfOnePerson: three at a time; what has ended, anywhere and in
// any way, counts no more.
func TestOpenSessionsOfOnePerson(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	n := d.open()
	first := d.must(n, adaNumber)
	d.wait(time.Minute)
	second := d.must(n, adaNumber, byParameter)
	d.must(n, adaNumber)
	for range 12 { // what is refused counts for nothing
		d.refused(n, adaNumber, broker.ErrOpen, 29*time.Minute)
	}
	d.refused(n, adaNumber, broker.ErrOpen, 29*time.Minute, byParameter)
	d.must(n, boNumber)
	for range 4 {
		d.must(n, "")
		d.must(n, adaNumber, inTest)
	}
	d.must(n, adaNumber, elsewhere)

	if _, err := n.Cancel(t.Context(), second.ID, ada); err != nil {
		t.Fatal(err)
	}
	d.must(n, adaNumber)
	d.refused(n, adaNumber, broker.ErrOpen, 29*time.Minute)

	other := d.open() // where it counts for itself, and ends what was begun here
	d.must(other, adaNumber)
	if err := other.Stop(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	d.must(n, adaNumber)
	d.refused(n, adaNumber, broker.ErrOpen, 30*time.Minute)

	d.wait(30 * time.Minute) // their time is over, whether or not anybody has seen to it
	d.must(n, adaNumber)
}

// TestSessionsOfOnePersonAtOnce: whoever asks together gets no more than one
// after the other.
func TestSessionsOfOnePersonAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	n := d.open()
	var made atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch _, err := d.ask(n, adaNumber); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, broker.ErrOpen):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 3 {
		t.Errorf("%d sessions were made", made.Load())
	}
}

// TestSessionsOfOnePersonInAnHour: ten, also of those that end at once, and one
// more every six minutes.
func TestSessionsOfOnePersonInAnHour(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	n := d.open()
	brief := func(change ...func(*broker.NewSession)) {
		t.Helper()
		if err := n.Stop(t.Context(), d.must(n, adaNumber, change...).ID); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		brief()
	}
	d.refused(n, adaNumber, broker.ErrOften, 6*time.Minute)
	for range 11 {
		brief(inTest)
	}
	brief(elsewhere)
	d.wait(6 * time.Minute)
	brief()
	d.refused(n, adaNumber, broker.ErrOften, 6*time.Minute)
}

// TestPriceOfOnePerson: the store is read only where three sessions seem to be
// open; one that could not be stored is none.
func TestPriceOfOnePerson(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	n := d.open()
	broken := errors.New("the disk is full")
	d.c.err.Store(&broken)
	for range 5 {
		if _, err := d.ask(n, adaNumber); !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	d.c.err.Store(nil)
	for i := range 3 {
		d.must(n, adaNumber)
		d.must(n, "")
		d.must(n, eid.Number("19800101000"+strconv.Itoa(i)))
	}
	if got := d.c.reads.Load(); got != 0 {
		t.Errorf("%d reads before there are three", got)
	}
	d.refused(n, adaNumber, broker.ErrOpen, 30*time.Minute)
	if got := d.c.reads.Load(); got != 3 {
		t.Errorf("%d reads at the fourth, want 3", got)
	}
}
