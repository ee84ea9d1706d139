package broker_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/connector/connectortest"
	"eidgate/eid"
)

// An echo is an upstream that is answered what it says.
type echo struct{ *connectortest.Story }

func (e echo) Resume(ctx context.Context, r *connector.Request, state []byte, ev connector.Event) (connector.Result, error) {
	res, err := e.Story.Resume(ctx, r, state, ev)
	if c, ok := ev.(connector.Called); ok && err == nil {
		res.Reply = &connector.Reply{Status: http.StatusOK, Body: []byte(c.In.Query.Get("say"))}
	}
	return res, err
}

// TestReplyOnAnotherNode: a call that came to another node than the owner has
// the reply to it alone, whatever else the owner was told before that node looks.
func TestReplyOnAnotherNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep = map[eid.EID]connector.Connector{"story": echo{w.story}}
	owner := w.node(w.store)
	s := w.create(owner)
	w.to(owner, s.ID, "redirect")
	order := w.session(s.ID).Order
	call := func(n *node, say string) string {
		t.Helper()
		in := connectortest.Inbound(order)
		in.Query.Set("say", say)
		r, err := n.Called(t.Context(), eid.Test, "story", in)
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			return ""
		}
		return string(r.Body)
	}
	between := 0
	other := w.node(w.store, func(c *broker.Config) {
		c.Limits.EffectFor = 300 * time.Millisecond
		c.Hint = func(string) { // the message is there, and its sender has not looked yet
			owner.Hinted()
			until(t, "the owner handles the message", func() bool {
				all, err := w.store.Inbox(t.Context(), owner.epoch, 0, 10)
				return err == nil && len(all) == 0
			})
			for i := range between {
				if say := fmt.Sprint("call ", i); call(owner, say) != say {
					t.Error("the owner's own calls are answered with something else")
				}
			}
		}
	})
	for _, x := range []struct {
		between int
		want    string
	}{{0, "forwarded"}, {1, "forwarded"}, {40, "forwarded"}} {
		if between = x.between; call(other, "forwarded") != x.want {
			t.Errorf("with %d calls between: not answered with %q", x.between, x.want)
		}
	}
}
