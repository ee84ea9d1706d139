package broker_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/connector/connectortest"
	"eidgate/eid"
)

// A guarded upstream says a word that nobody else knows, and opens any browser.
type guarded struct{ *connectortest.Story }

func (g guarded) Info() connector.Info {
	info := g.Story.Info()
	info.Anywhere = true
	return info
}

func (guarded) Screen(set connector.Settings, state []byte, in connector.Inbound) *connector.Reply {
	if set.Key == "k" && len(state) > 0 && in.Header.Get("Word") == "known" {
		return nil
	}
	return &connector.Reply{Status: http.StatusUnauthorized}
}

// TestStrangers holds that what does not come from the upstream leaves nothing
// behind, however often it comes.
func TestStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep = map[eid.EID]connector.Connector{"story": guarded{w.story}}
	n, other := w.node(w.store), w.node(w.store)
	s := w.create(n)
	w.to(n, s.ID, "redirect")
	in := connectortest.Inbound(w.session(s.ID).Order)
	notes := func() int {
		all, err := w.store.Notes(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := notes()
	stranger := broker.Handle{Cookie: "a stranger's browser"}
	for _, n := range []*node{n, other} {
		if r, err := n.Called(t.Context(), eid.Test, "story", in); err != nil || r == nil || r.Status != http.StatusUnauthorized {
			t.Errorf("a stranger's call: %+v, %v", r, err)
		}
		if _, err := n.Returned(t.Context(), eid.Test, "story", in, stranger, connector.Browser{}); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("a stranger's return: %v", err)
		}
	}
	if after := notes(); after != before {
		t.Errorf("strangers have written %d lines", after-before)
	}
	in.Header = http.Header{"Word": {"known"}}
	if v, err := n.Returned(t.Context(), eid.Test, "story", in, stranger, connector.Browser{}); err != nil || v.Place != broker.AtLanding {
		t.Errorf("the upstream's own browser: %+v, %v", v, err)
	}
	if _, err := n.Act(t.Context(), s.ID, ada, connector.Browser{}, connector.Submitted{Values: url.Values{"fail": {"declined"}}}); err != nil {
		t.Fatal(err)
	}
	if v, err := n.Returned(t.Context(), eid.Test, "story", in, stranger, connector.Browser{}); err != nil || v.Place != broker.AtLanding {
		t.Errorf("after the end: %+v, %v", v, err)
	}
}
