package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// An Outcome is how a login is to end: approve, cancel, decline, expire,
// ignore, or fail:<code>.
type Outcome string

const (
	Approve Outcome = "approve"
	Cancel  Outcome = "cancel"
	Decline Outcome = "decline"
	Expire  Outcome = "expire"
	Ignore  Outcome = "ignore" // nothing happens by itself
)

var outcomeForm = regexp.MustCompile(`^(approve|cancel|decline|expire|ignore|fail:[A-Za-z0-9_]{1,40})$`)

// ParseOutcome reads an outcome's text.
func ParseOutcome(s string) (Outcome, error) {
	if !outcomeForm.MatchString(s) {
		return "", fmt.Errorf("%q is none of approve, cancel, decline, expire, ignore, fail:<code>", s)
	}
	return Outcome(s), nil
}

// Code is the code of a failure; "" for other outcomes.
func (o Outcome) Code() string {
	c, _ := strings.CutPrefix(string(o), "fail:")
	if c == string(o) {
		return ""
	}
	return c
}

// A Decision is an outcome, perhaps of a certain person.
type Decision struct {
	Outcome Outcome `json:"outcome"`
	Person  string  `json:"person,omitempty"` // key; "" leaves it to the simulator
	Tier    int     `json:"tier"`
	Source  string  `json:"source"`
}

// A Rung is one tier of the ladder as it was asked for one order.
type Rung struct {
	Tier   int    `json:"tier"`
	Source string `json:"source"`
	Said   string `json:"said,omitempty"` // "" for no opinion
	Used   bool   `json:"used"`
}

// A Subject is the order that is to be decided.
type Subject struct {
	EID     string
	Ref     string // the upstream's name for it
	Session string
	Account string
	Marker  string // what the relying party wrote into its request
	Person  string // key, when it is known who
}

// Queued is an outcome for the next logins that match.
type Queued struct {
	ID      int     `json:"id"`
	Match   Match   `json:"match"`
	Outcome Outcome `json:"outcome"`
	Person  string  `json:"person,omitempty"`
	Times   int     `json:"times"`
}

// Match picks logins; empty fields match all.
type Match struct {
	Account string `json:"account,omitempty"`
	EID     string `json:"eid,omitempty"`
	Session string `json:"session,omitempty"`
}

// Decisions is the ladder: the first tier that has an opinion wins. The tiers'
// numbers are promised.
type Decisions struct {
	mu       sync.Mutex
	people   *People
	auto     Outcome
	sessions map[string]Decision // by session and by ref
	queue    []Queued
	last     int
	told     map[string]kept // by ref
	order    []string
	// Lookup says which session an upstream's order belongs to, which the
	// simulators cannot know. It may be nil.
	Lookup func(ref string) (session, account, marker string, ok bool)
}

type kept struct {
	decision Decision
	rungs    []Rung
}

// NewDecisions makes a ladder whose last tier is auto (Approve or Ignore).
func NewDecisions(people *People, auto Outcome) *Decisions {
	return &Decisions{people: people, auto: auto, sessions: map[string]Decision{}, told: map[string]kept{}}
}

const maxKept = 10_000

// Decide asks the tiers in turn. An order keeps its decision once a tier
// above the server's mode has made it.
func (d *Decisions) Decide(s Subject) Decision {
	if d.Lookup != nil && s.Session == "" {
		if ses, acc, mark, ok := d.Lookup(s.Ref); ok {
			s.Session, s.Account, s.Marker = ses, acc, mark
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if k, ok := d.told[s.Ref]; ok && k.decision.Tier < 90 {
		return k.decision
	}
	var rungs []Rung
	var out *Decision
	ask := func(tier int, source string, got *Decision) {
		r := Rung{Tier: tier, Source: source}
		if got != nil {
			r.Said = string(got.Outcome)
			if r.Used = out == nil; r.Used {
				got.Tier, got.Source = tier, source
				out = got
			}
		}
		rungs = append(rungs, r)
	}
	ask(10, "this session", d.session(s))
	if out == nil {
		ask(20, "queue", d.dequeue(s))
	}
	ask(30, "marker in the request", marker(s.Marker))
	ask(40, "behaviour of the person", d.behaviour(s.Person))
	ask(90, "mode of the server", &Decision{Outcome: d.auto})
	d.keep(s.Ref, kept{*out, rungs})
	return *out
}

func (d *Decisions) session(s Subject) *Decision {
	for _, key := range []string{s.Ref, s.Session} {
		if got, ok := d.sessions[key]; ok && key != "" {
			return &got
		}
	}
	return nil
}

func (d *Decisions) dequeue(s Subject) *Decision {
	for i, q := range d.queue {
		m := q.Match
		if m.Account != "" && m.Account != s.Account || m.EID != "" && m.EID != s.EID || m.Session != "" && m.Session != s.Session {
			continue
		}
		if d.queue[i].Times--; d.queue[i].Times <= 0 {
			d.queue = slices.Delete(d.queue, i, i+1)
		}
		return &Decision{Outcome: q.Outcome, Person: q.Person}
	}
	return nil
}

// marker reads "sandbox:<outcome>[;person=<key>]".
func marker(s string) *Decision {
	rest, ok := strings.CutPrefix(s, "sandbox:")
	if !ok {
		return nil
	}
	word, rest, _ := strings.Cut(rest, ";")
	o, err := ParseOutcome(word)
	if err != nil {
		return nil
	}
	person, _ := strings.CutPrefix(rest, "person=")
	return &Decision{Outcome: o, Person: person}
}

func (d *Decisions) behaviour(key string) *Decision {
	if key == "" {
		return nil
	}
	p, err := d.people.Get(key)
	if err != nil {
		return nil
	}
	switch {
	case p.Revoked:
		return &Decision{Outcome: "fail:certificateErr", Person: key}
	case p.Behaviour == "cancels":
		return &Decision{Outcome: Cancel, Person: key}
	case p.Behaviour == "ignores":
		return &Decision{Outcome: Ignore, Person: key}
	case strings.HasPrefix(p.Behaviour, "fails:"):
		return &Decision{Outcome: Outcome("fail:" + strings.TrimPrefix(p.Behaviour, "fails:")), Person: key}
	}
	return nil
}

func (d *Decisions) keep(ref string, k kept) {
	if _, ok := d.told[ref]; !ok {
		d.order = append(d.order, ref)
		if len(d.order) > maxKept {
			delete(d.told, d.order[0])
			d.order = d.order[1:]
		}
	}
	d.told[ref] = k
}

// ErrDecided means that the order has ended, or was decided before.
var ErrDecided = errors.New("already decided")

// Set decides one session or order, tier 10.
func (d *Decisions) Set(key string, dec Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.sessions) >= maxKept {
		clear(d.sessions)
	}
	d.sessions[key] = dec
}

// Enqueue decides the next logins that match, tier 20.
func (d *Decisions) Enqueue(q Queued) Queued {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	q.ID, q.Times = d.last, max(q.Times, 1)
	if len(d.queue) < maxKept {
		d.queue = append(d.queue, q)
	}
	return q
}

// Queue lists what waits for the next logins.
func (d *Decisions) Queue() []Queued {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.queue)
}

// Clear empties the queue and forgets what was decided.
func (d *Decisions) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = nil
	clear(d.sessions)
	clear(d.told)
	d.order = nil
}

// Explain shows the ladder as it was asked for an order.
func (d *Decisions) Explain(ref string) ([]Rung, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.told[ref]
	return k.rungs, ok
}
