package connectortest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// storyBench is a bench for a story, or for something that stands before it.
func storyBench(wrap func(connector.Connector) connector.Connector) *Bench {
	s := NewStory("story", time.Now)
	calls, down, order := 0, false, 0
	s.Hook = func(string) error {
		calls++
		if down {
			return errors.New("the upstream is out of reach")
		}
		return nil
	}
	last := ""
	called := map[string]bool{}
	return &Bench{
		New: func() connector.Connector { return wrap(s) },
		Request: func() *connector.Request {
			order++
			last = fmt.Sprint("order-", order)
			return &connector.Request{Order: last}
		},
		Act: func(end string, shown connector.Result) connector.Event {
			switch shown.Step.(type) {
			case connector.Ask:
				if end != "" {
					return connector.Submitted{Values: url.Values{"fail": {end}}}
				}
				return connector.Submitted{}
			case connector.Redirect:
				return connector.Returned{}
			case connector.Embed:
				return connector.Shown{}
			}
			if !called[last] {
				called[last] = true
				return connector.Called{}
			}
			return connector.Tick{}
		},
		Calls:  func() int { return calls },
		Person: s.Person.Number,
		Ends:   map[string]eid.Reason{"declined": eid.Declined},
		Faults: map[string]func() func(){"out of reach": func() func() { down = true; return func() { down = false } }},
		Private: []string{
			string(s.Person.Number), s.Person.Name,
		},
	}
}

func TestStoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	Run(t, func(*testing.T) *Bench {
		return storyBench(func(c connector.Connector) connector.Connector { return c })
	})
}

// A bad connector does one thing wrong.
type bad struct {
	*Story
	resume func(res connector.Result, err error, r *connector.Request, e connector.Event) (connector.Result, error)
}

func (b *bad) Resume(ctx context.Context, r *connector.Request, state []byte, e connector.Event) (connector.Result, error) {
	res, err := b.Story.Resume(ctx, r, state, e)
	return b.resume(res, err, r, e)
}

// TestRunFinds shows that the parts find what they are for.
func TestRunFinds(t *testing.T) {
	t.Parallel()
	type result = connector.Result
	for name, c := range map[string]struct {
		part, says string
		resume     func(res result, err error, r *connector.Request, e connector.Event) (result, error)
	}{
		"another person": {"success", "another person", func(res result, err error, _ *connector.Request, _ connector.Event) (result, error) {
			if res.Confirmed != nil {
				res.Confirmed.Number = "1"
			}
			return res, err
		}},
		"no proof": {"success", "nothing proves it", func(res result, err error, _ *connector.Request, _ connector.Event) (result, error) {
			res.Evidence = nil
			return res, err
		}},
		"a name in a note": {"success", "a note shows", func(res result, err error, _ *connector.Request, _ connector.Event) (result, error) {
			res.Notes = []string{"Ada Test has signed"}
			return res, err
		}},
		"a reason of its own": {"ends", `"because" is no reason`, func(res result, err error, _ *connector.Request, _ connector.Event) (result, error) {
			if f, ok := res.Step.(connector.Fail); ok {
				f.Reason = "because"
				res.Step = f
			}
			return res, err
		}},
		"no end of time": {"ends", "goes on", func(res result, err error, r *connector.Request, e connector.Event) (result, error) {
			if _, ok := e.(connector.Expired); ok {
				return result{State: res.State, Step: connector.Wait{}}, nil
			}
			return res, err
		}},
		"a made-up decline": {"crash", "ended as fail declined", func(res result, err error, _ *connector.Request, _ connector.Event) (result, error) {
			if f, ok := res.Step.(connector.Fail); ok && f.Reason == eid.OutcomeUnknown {
				res.Step = connector.Fail{Reason: eid.Declined}
			}
			return res, err
		}},
		"stumbles over the second": {"twice", "want done", func() func(result, error, *connector.Request, connector.Event) (result, error) {
			seen := map[string]bool{}
			return func(res result, err error, r *connector.Request, e connector.Event) (result, error) {
				key := r.Order + connector.EventName(e)
				if _, tick := e.(connector.Tick); seen[key] && !tick {
					return result{Step: connector.Fail{Reason: eid.BadAnswer}}, nil
				}
				seen[key] = true
				return res, err
			}
		}()},
		"takes anything for a return": {"late", "want done", func(res result, err error, _ *connector.Request, e connector.Event) (result, error) {
			if _, ok := e.(connector.Shown); ok {
				if _, waits := res.Step.(connector.Wait); !waits {
					return result{Step: connector.Fail{Reason: eid.BadAnswer}}, nil
				}
			}
			return res, err
		}},
		"believes in silence": {"faults", "somebody was identified", func(res result, err error, _ *connector.Request, _ connector.Event) (result, error) {
			if err != nil {
				return result{Step: connector.Done{}, Confirmed: &eid.Identity{Number: "199001012385"}}, nil
			}
			return res, err
		}},
		"blames the person": {"faults", "as if the person", func(res result, err error, _ *connector.Request, _ connector.Event) (result, error) {
			if err != nil {
				return result{Step: connector.Fail{Reason: eid.Declined}}, nil
			}
			return res, err
		}},
		"believes any state": {"state", "has identified somebody", func(res result, err error, _ *connector.Request, _ connector.Event) (result, error) {
			if err != nil {
				return result{Step: connector.Done{}, Confirmed: &eid.Identity{Number: "199001012385"}}, nil
			}
			return res, err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := storyBench(func(s connector.Connector) connector.Connector { return &bad{s.(*Story), c.resume} })
			found := strings.Join(parts[c.part](t.Context(), b), "\n")
			if !strings.Contains(found, c.says) {
				t.Errorf("the part %q says %q, want something with %q", c.part, found, c.says)
			}
		})
	}
}
