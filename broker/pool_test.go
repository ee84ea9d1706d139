package broker_test

import (
	"context"
	"testing"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
)

// A slow connector holds whoever begins until it is let go.
type slow struct {
	in, release chan struct{}
}

func (s *slow) Info() connector.Info {
	return connector.Info{EID: "slow", Purposes: []eid.Purpose{eid.Identify}}
}

func (s *slow) Begin(ctx context.Context, _ *connector.Request) (connector.Result, error) {
	s.in <- struct{}{}
	select {
	case <-s.release:
	case <-ctx.Done():
	}
	return connector.Result{Step: connector.Redirect{URL: "https://slow.example"}}, nil
}

func (s *slow) Resume(context.Context, *connector.Request, []byte, connector.Event) (connector.Result, error) {
	return connector.Result{Step: connector.Redirect{URL: "https://slow.example"}}, nil
}

// TestAnEIDThatHangs holds that calls and those who wait for one are bounded,
// for each eID by itself, and that who finds no room is told at once.
func TestAnEIDThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &slow{make(chan struct{}), make(chan struct{})}
	w.keep = map[eid.EID]connector.Connector{"slow": s, "story": w.story}
	n := w.node(w.store, func(c *broker.Config) { c.Limits.Calls, c.Limits.Queue = 1, 1 })
	open := func(e eid.EID) (*broker.View, error) {
		c, err := n.Create(t.Context(), broker.NewSession{Caller: caller(), API: api, Purpose: eid.Identify, Language: "en",
			Spec: broker.Spec{Methods: []broker.Method{{Name: string(e), EID: e}}, Page: "/s/"}})
		if err != nil {
			return nil, err
		}
		return n.Open(t.Context(), c.ID, ada, connector.Browser{}, nil, false)
	}
	type opened struct {
		view *broker.View
		err  error
	}
	results := make(chan opened, 3)
	for range 3 {
		go func() {
			v, err := open("slow")
			results <- opened{v, err}
		}()
	}
	<-s.in
	refused := <-results // one is in the call, one waits, and one there is no room for
	if refused.err != nil || refused.view.Place != broker.AtRetry || refused.view.Failed != eid.Unavailable {
		t.Errorf("without room: %+v, %v", refused.view, refused.err)
	}
	if v, err := open("story"); err != nil || v.Place != broker.AtStep {
		t.Errorf("another eID: %+v, %v", v, err)
	}
	s.release <- struct{}{}
	<-s.in
	s.release <- struct{}{}
	for range 2 {
		if got := <-results; got.err != nil || got.view.Place != broker.AtStep {
			t.Errorf("with room: %+v, %v", got.view, got.err)
		}
	}
}
