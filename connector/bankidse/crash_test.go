package bankidse_test

import (
	"bytes"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/bankidse"
	"eidgate/eid"
	"eidgate/sandbox"
)

// TestNodesDieAnywhere walks through orders with events in any order, on nodes
// of which any may die after any call: then its result is lost, and the event
// is delivered again to a node that knows nothing but the stored state. What
// must hold on every walk:
//
//   - once a result is stored, nobody collects that order again;
//   - a code is renewed six times for each act of the person (§10), and a lost
//     start costs one more order, never two;
//   - an answer that a node took with it ends as unknown, and nobody else is
//     confirmed than who completed; without a death, nothing is lost.
func TestNodesDieAnywhere(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for seed := range uint64(80) {
		w := &walk{service: s, rand: rand.New(rand.NewPCG(seed, 1)), dying: seed%4 != 0, idle: seed%5 == 0} //nolint:gosec // repeatable on purpose
		w.walk(t)
		if t.Failed() {
			t.Fatalf("walk %d", seed)
		}
	}
}

// A walk is one session on its way.
type walk struct {
	*service
	rand    *rand.Rand
	dying   bool
	idle    bool // nobody scans the code, and somebody looks at it all the time
	deaths  int
	acts    int    // of the person, each of which may start an order
	lost    bool   // a node died with a result that is given once
	expired bool   // the session's time was over
	state   []byte // stored
	ref     connector.Ref
}

func (w *walk) walk(t *testing.T) {
	t.Helper()
	r := &w.request
	r.Mode, r.Pinned = []string{"same", "other"}[w.rand.IntN(2)], ""
	if w.rand.IntN(2) == 0 {
		r.Pinned = "199001012385"
	}
	w.Clear()
	before := w.started()
	res := w.deliver(t, nil)
	w.acts++
	for steps := 0; ; steps++ {
		if steps == 300 {
			res = w.deliver(t, connector.Expired{})
			w.expired = true
		}
		w.store(t, res)
		if allowed := 7*w.acts + w.deaths; w.started()-before > allowed {
			t.Errorf("%d orders, after %d acts of the person and %d deaths", w.started()-before, w.acts, w.deaths)
		}
		switch step := res.Step.(type) {
		case connector.Done:
			if w.lost || res.Confirmed == nil || res.Confirmed.Number != "199001012385" {
				t.Errorf("done, with lost = %v and %v", w.lost, res.Confirmed)
			}
			return
		case connector.Fail:
			w.ended(t, step)
			return
		case connector.Again:
			res = w.verified(t)
		case connector.Wait:
			res = w.next(t, step)
		default:
			t.Fatalf("step = %#v", res.Step)
		}
	}
}

// next lets something happen while the person waits.
func (w *walk) next(t *testing.T, step connector.Wait) connector.Result {
	t.Helper()
	submit := func(name, value string) connector.Result {
		return w.deliver(t, connector.Submitted{Values: url.Values{name: {value}}})
	}
	switch n := w.rand.IntN(60); {
	case step.Rests && w.acts < 3:
		w.acts++
		return submit("renew", "1")
	case w.idle && !step.Rests:
		w.clock.Advance(30 * time.Second)
	case n == 0, step.Rests:
		w.expired = true
		return w.deliver(t, connector.Expired{})
	case n < 4:
		return submit("device", []string{"same", "other"}[n%2])
	case n < 6:
		return submit("nonce", "guessed")
	case n < 8:
		return w.deliver(t, connector.Shown{})
	case n < 10:
		return w.deliver(t, connector.Returned{})
	case n < 14:
		w.clock.Advance(30 * time.Second)
	case n < 20: // the order may be gone, or ended
		_, _ = w.Event(string(w.ref), []string{"open", "approve", "approve", "cancel", "hint:userFace", "approve"}[n-14], "ada")
	}
	w.clock.Advance(2 * time.Second)
	return w.deliver(t, connector.Tick{})
}

// verified gives any event to an order whose answer is stored: nothing is
// asked of BankID, and the answer is still used.
func (w *walk) verified(t *testing.T) connector.Result {
	t.Helper()
	before := w.wire.asked()
	events := []connector.Event{connector.Tick{}, connector.Expired{}}
	for w.rand.IntN(2) == 0 { // what does not fit changes nothing
		other := []connector.Event{connector.Shown{}, connector.Returned{}, connector.Submitted{Values: url.Values{"renew": {"1"}}},
			connector.Submitted{Values: url.Values{"device": {"other"}}}}
		w.store(t, w.deliver(t, other[w.rand.IntN(len(other))]))
	}
	if err := w.conn.Cancel(t.Context(), &w.request, w.state); err != nil {
		t.Error(err)
	}
	res := w.deliver(t, events[w.rand.IntN(2)])
	if _, done := res.Step.(connector.Done); !done || w.wire.asked() != before {
		t.Errorf("step = %#v after %d more calls", res.Step, w.wire.asked()-before)
	}
	return res
}

// deliver calls until a node lives to tell the result; nil begins.
func (w *walk) deliver(t *testing.T, e connector.Event) connector.Result {
	t.Helper()
	_, tick := e.(connector.Tick)
	for again := false; ; again = true {
		r := w.request
		r.Repeated = again && !tick
		var res connector.Result
		var err error
		if e == nil {
			res, err = w.conn.Begin(t.Context(), &r)
		} else {
			res, err = w.conn.Resume(t.Context(), &r, w.state, e)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !w.dying || w.rand.IntN(8) > 0 {
			return res
		}
		w.deaths++
		w.conn = bankidse.New(w.clock.Now)
		switch step := res.Step.(type) {
		case connector.Again:
			w.lost = true
		case connector.Fail:
			w.lost = w.lost || step.Code != "" // a failure is given once as well
		case connector.Wait:
			// A renewal that nobody learned of took the old order's failure with it.
			w.lost = w.lost || tick && (len(res.Refs) > 0 || step.Rests)
		}
	}
}

// store keeps a result as a broker does.
func (w *walk) store(t *testing.T, res connector.Result) {
	t.Helper()
	if len(res.Refs) > 0 {
		w.ref = res.Refs[0]
	}
	w.state = bytes.Clone(res.State)
}

// ended: failures that the story did not have come from lost results only.
func (w *walk) ended(t *testing.T, f connector.Fail) {
	t.Helper()
	switch f.Reason {
	case eid.OutcomeUnknown:
		if !w.lost {
			t.Error("the outcome is unknown, and nothing was lost")
		}
	case eid.Expired:
		if !w.expired && f.Code != "expiredTransaction" {
			t.Errorf("ended by %#v", f)
		}
	case eid.Cancelled, eid.NotStarted:
	default:
		t.Errorf("ended by %#v", f)
	}
}

// started counts orders that were made.
func (w *walk) started() int { return w.wire.count("auth", 200) }
