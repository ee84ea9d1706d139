// Package connectortest proves that a connector keeps the contract, and
// proves the broker with a connector that uses all of it.
package connectortest

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"sync"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// A Story is a connector that goes through every step and takes every event,
// on an upstream that gives its answer once:
//
//	Begin → Ask → Submitted → Redirect → Returned → Embed → Shown → Wait
//	→ Tick (pending) → Called (Reply) → Tick → Again → Tick → Done
//
// Events that do not fit where the story stands change nothing.
type Story struct {
	EID      eid.EID
	Now      func() time.Time
	Person   eid.Identity
	Hook     func(at string) error // optional: called inside each upstream call; its error is returned
	mu       sync.Mutex
	ready    map[string]bool // orders whose upstream has been called back
	told     map[string]int  // how often the once-only answer was asked for
	calls    map[string]int
	canceled map[string]int
}

const (
	asked = iota
	away
	framed
	waiting
	answered
)

type storyState struct {
	At     int    `json:"at"`
	Answer string `json:"answer,omitempty"`
}

// NewStory makes a story about one person.
func NewStory(e eid.EID, now func() time.Time) *Story {
	return &Story{EID: e, Now: now, ready: map[string]bool{}, told: map[string]int{},
		calls: map[string]int{}, canceled: map[string]int{},
		Person: eid.Identity{EID: e, Subject: "subject-1", Number: "199001012385", Name: "Ada Test", Country: "SE"}}
}

// Info implements connector.Connector.
func (s *Story) Info() connector.Info {
	return connector.Info{EID: s.EID, Purposes: []eid.Purpose{eid.Identify}, Polls: true, Deadline: 5 * time.Second}
}

// Calls counts what was asked of the upstream, by name.
func (s *Story) Calls(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[name]
}

// Cancelled counts how often the upstream was told that nobody waits.
func (s *Story) Cancelled(order string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.canceled[order]
}

func (s *Story) upstream(name string) error {
	s.mu.Lock()
	s.calls[name]++
	hook := s.Hook
	s.mu.Unlock()
	if hook != nil {
		return hook(name)
	}
	return nil
}

// Begin implements connector.Connector.
func (s *Story) Begin(_ context.Context, r *connector.Request) (connector.Result, error) {
	if err := s.upstream("begin"); err != nil {
		return connector.Result{}, err
	}
	res := s.at(storyState{At: asked})
	res.Refs = []connector.Ref{connector.Ref("ref-" + r.Order)}
	return res, nil
}

// at is the result that leads to a place of the story.
func (s *Story) at(st storyState) connector.Result {
	raw, err := json.Marshal(st)
	if err != nil {
		panic(err)
	}
	res := connector.Result{State: raw}
	switch st.At {
	case asked:
		res.Step = connector.Ask{Form: connector.Form{Name: "story", Fields: []connector.Field{{Name: "go", Kind: connector.Confirmation}}}}
	case away:
		res.Step = connector.Redirect{URL: "https://upstream.example/login", Renews: true}
	case framed:
		res.Step = connector.Embed{Src: "https://upstream.example/frame", Origin: "https://upstream.example"}
	case waiting:
		res.Step = connector.Wait{QR: "story", Hint: "bankidse.rfa1"}
		res.Due = s.Now().Add(10 * time.Millisecond)
	case answered:
		res.Step = connector.Again{}
	}
	return res
}

// Resume implements connector.Connector.
func (s *Story) Resume(_ context.Context, r *connector.Request, state []byte, e connector.Event) (connector.Result, error) {
	var st storyState
	if err := json.Unmarshal(state, &st); err != nil || state[0] != '{' { // null would be the story's beginning
		return connector.Result{}, errors.New("story state is not readable")
	}
	if err := s.upstream(connector.EventName(e)); err != nil {
		return connector.Result{}, err
	}
	switch ev := e.(type) {
	case connector.Submitted:
		if f := ev.Values.Get("fail"); f != "" {
			return connector.Result{State: state, Step: connector.Fail{Reason: eid.Reason(f), Retry: ev.Values.Has("retry")}}, nil
		}
		if st.At == asked {
			return s.at(storyState{At: away}), nil
		}
	case connector.Returned:
		if st.At == away {
			return s.at(storyState{At: framed}), nil
		}
	case connector.Shown:
		if st.At == framed {
			return s.at(storyState{At: waiting}), nil
		}
	case connector.Called:
		s.mu.Lock()
		s.ready[r.Order] = true
		s.mu.Unlock()
		res := s.at(st)
		res.Reply = &connector.Reply{Status: 200, Body: []byte("thanks")}
		return res, nil
	case connector.Tick:
		return s.tick(r, st), nil
	case connector.Expired:
		return connector.Result{State: state, Step: connector.Fail{Reason: eid.Expired}}, nil
	}
	return s.at(st), nil
}

// tick collects: pending until the upstream has called, then the answer,
// once, then "gone".
func (s *Story) tick(r *connector.Request, st storyState) connector.Result {
	switch st.At {
	case waiting:
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ready[r.Order] {
			return s.at(st)
		}
		if s.told[r.Order]++; s.told[r.Order] > 1 {
			return connector.Result{Step: connector.Fail{Reason: eid.OutcomeUnknown}}
		}
		return s.at(storyState{At: answered, Answer: s.Person.Subject})
	case answered:
		if st.Answer != s.Person.Subject {
			return connector.Result{Step: connector.Fail{Reason: eid.BadProof}}
		}
		id := s.Person
		id.At = s.Now()
		return connector.Result{Step: connector.Done{}, Confirmed: &id,
			Evidence: []eid.Evidence{{Name: "story.answer", Type: "text/plain", Data: []byte(st.Answer)}}}
	}
	return s.at(st)
}

// View implements connector.Viewer: the code changes every second.
func (s *Story) View(_ []byte, now time.Time) (connector.Wait, error) {
	return connector.Wait{QR: "story." + now.UTC().Format("05"), Hint: "bankidse.rfa1"}, nil
}

// Locate implements connector.Locator.
func (s *Story) Locate(in connector.Inbound) (connector.Ref, error) {
	if ref := in.Query.Get("ref"); ref != "" {
		return connector.Ref(ref), nil
	}
	return "", errors.New("no ref in the address")
}

// Cancel implements connector.Canceller.
func (s *Story) Cancel(_ context.Context, r *connector.Request, _ []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.canceled[r.Order]++
	return nil
}

// Inbound is a request that names an order of the story.
func Inbound(order string) connector.Inbound {
	return connector.Inbound{Method: "GET", Query: url.Values{"ref": {"ref-" + order}}}
}
