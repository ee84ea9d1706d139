package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// An Outcome is how a login is to end: approve, cancel (in the app),
// cancel:page (on the page of the broker), decline, expire, ignore (nothing
// happens by itself), fail:<code>. " after 3s" puts it off; states:<a>,<b>
// lists what is told collect by collect, the last one being the end.
type Outcome string

// The outcomes of every eID.
const (
	Approve    Outcome = "approve"
	Cancel     Outcome = "cancel"
	CancelPage Outcome = "cancel:page"
	Decline    Outcome = "decline"
	Expire     Outcome = "expire"
	Ignore     Outcome = "ignore"
)

var outcomeForm = regexp.MustCompile(`^(approve|cancel|cancel:page|decline|expire|ignore|fail:[A-Za-z0-9_]{1,40})( after [0-9]{1,4}(ms|s|m))?$` +
	`|^states:[A-Za-z0-9_]+(,[A-Za-z0-9_]+)*$`)

// ParseOutcome reads an outcome's text.
func ParseOutcome(s string) (Outcome, error) {
	if len(s) > 400 || !outcomeForm.MatchString(s) {
		return "", fmt.Errorf("%.60q is none of approve, cancel, cancel:page, decline, expire, ignore, fail:<code>, "+
			"any of these with \" after 3s\", or states:<hint>,<hint>", s)
	}
	return Outcome(s), nil
}

// Word is the outcome without its delay.
func (o Outcome) Word() Outcome {
	word, _, _ := strings.Cut(string(o), " after ")
	return Outcome(word)
}

// After is how long it is put off; 0 for at once.
func (o Outcome) After() time.Duration {
	_, after, _ := strings.Cut(string(o), " after ")
	d, _ := time.ParseDuration(after) // ParseOutcome has looked
	return d
}

// Code is the code of a failure; "" for other outcomes.
func (o Outcome) Code() string {
	if c, ok := strings.CutPrefix(string(o.Word()), "fail:"); ok {
		return c
	}
	return ""
}

// States are what a script tells, collect by collect; nil for no script.
func (o Outcome) States() []string {
	if list, ok := strings.CutPrefix(string(o), "states:"); ok {
		return strings.Split(list, ",")
	}
	return nil
}

// A Decision is an outcome, perhaps of a certain person.
type Decision struct {
	Outcome Outcome `json:"outcome"`
	Person  string  `json:"person,omitempty"` // key; "" leaves it to the simulator
	Tier    int     `json:"tier"`
	Source  string  `json:"source"`
	Hands   bool    `json:"-"` // who decided acts as well, and the simulator waits
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
	EID    string
	Ref    string  // the upstream's name for it
	Person string  // key, when it is known who
	Return string  // address that the login goes back to: names it before the broker knows Ref; "" for none
	Marker Outcome // what the upstream's own test conventions say in the request; "" for nothing
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

// An Origin is what the broker knows of an upstream's order.
type Origin struct {
	Session, Account string
	EID              string  // of the session, which may reach its upstream through another one's; "" for the upstream's
	Marker           string  // what the relying party wrote into its request
	Default          Outcome // of the account; "" for none
}

// Decisions is the ladder: the first tier that has an opinion wins. The tiers'
// numbers are promised.
type Decisions struct {
	mu       sync.Mutex
	people   *People
	auto     Outcome
	sessions map[string]Decision // by session and by ref
	claimed  map[string]bool     // sessions that somebody is deciding right now
	queue    []Queued
	last     int
	asked    map[string]bool // logins that had their look at the queue
	told     map[string]kept // by ref
	order    []string
	// Lookup says where an upstream's order comes from, which the simulators
	// cannot know. It may be nil.
	Lookup func(ref string) (Origin, bool)
	// Returns says the same from a Subject's Return, for an order that is just
	// being made. It may be nil.
	Returns func(address string) (Origin, bool)
}

type kept struct {
	decision Decision
	rungs    []Rung
	origin   Origin
	known    bool
}

// NewDecisions makes a ladder whose last tier is auto (Approve or Ignore).
func NewDecisions(people *People, auto Outcome) *Decisions {
	return &Decisions{people: people, auto: auto, sessions: map[string]Decision{}, claimed: map[string]bool{},
		asked: map[string]bool{}, told: map[string]kept{}}
}

const maxKept = 10_000

// Decide asks the tiers in turn. A login looks at the queue once, when it is
// new, and keeps what it took there; the other tiers are asked each time.
func (d *Decisions) Decide(s Subject) Decision {
	from, known := d.origin(s)
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.session(s.Ref, from.Session)
	before, again := d.told[s.Ref]
	if again && own == nil && before.decision.Tier == 20 {
		return before.decision
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
	ask(10, "this session", own)
	var queued *Decision
	if out == nil && d.isNew(s.Ref, from.Session) {
		queued = d.dequeue(cmp.Or(from.EID, s.EID), from)
	}
	ask(20, "queue", queued)
	ask(30, "marker in the request", cmp.Or(marker(from.Marker), standing(s.Marker)))
	ask(40, "behaviour of the person", d.behaviour(s.EID, s.Person))
	ask(50, "default of the account", standing(from.Default))
	ask(90, "mode of the server", &Decision{Outcome: d.auto})
	d.keep(s.Ref, kept{*out, rungs, from, known})
	return *out
}

// origin is looked up once an order; it does not change.
func (d *Decisions) origin(s Subject) (Origin, bool) {
	d.mu.Lock()
	k := d.told[s.Ref]
	d.mu.Unlock()
	if k.known {
		return k.origin, true
	}
	if d.Lookup != nil {
		if from, ok := d.Lookup(s.Ref); ok {
			return from, true
		}
	}
	if d.Returns != nil && s.Return != "" {
		if from, ok := d.Returns(s.Return); ok {
			return from, true
		}
	}
	return Origin{}, false
}

func (d *Decisions) session(keys ...string) *Decision {
	for _, key := range keys {
		if got, ok := d.sessions[key]; ok && key != "" {
			return &got
		}
	}
	return nil
}

// isNew says whether a login has not looked at the queue yet. A code that is
// renewed is an order of its own, and no new login.
func (d *Decisions) isNew(ref, session string) bool {
	if session != "" {
		ref = session
	}
	if d.asked[ref] {
		return false
	}
	if len(d.asked) >= maxKept {
		clear(d.asked)
	}
	d.asked[ref] = true
	return true
}

func (d *Decisions) dequeue(eid string, from Origin) *Decision {
	for i, q := range d.queue {
		m := q.Match
		if m.Account != "" && m.Account != from.Account || m.EID != "" && m.EID != eid || m.Session != "" && m.Session != from.Session {
			continue
		}
		if d.queue[i].Times--; d.queue[i].Times <= 0 {
			d.queue = slices.Delete(d.queue, i, i+1)
		}
		return &Decision{Outcome: q.Outcome, Person: q.Person}
	}
	return nil
}

// marker is what a request's marker says. What is no outcome has no opinion.
func marker(s string) *Decision {
	d, err := readMarker(s)
	if err != nil {
		return nil
	}
	return d
}

// readMarker reads "sandbox:<outcome>[;person=<key>]"; nil for other texts.
func readMarker(s string) (*Decision, error) {
	rest, ok := strings.CutPrefix(s, "sandbox:")
	if !ok {
		return nil, nil
	}
	word, rest, _ := strings.Cut(rest, ";")
	o, err := ParseOutcome(word)
	if err != nil {
		return nil, err
	}
	person, _ := strings.CutPrefix(rest, "person=")
	return &Decision{Outcome: o, Person: person}, nil
}

// CheckMarker says why a marker in a request will not do what it says; nil also
// for what is no marker.
func (d *Decisions) CheckMarker(s string) error {
	m, err := readMarker(s)
	if err != nil || m == nil || m.Person == "" {
		return err
	}
	if _, err := d.people.Get(m.Person); err != nil {
		return fmt.Errorf("person %.40q: %w", m.Person, err)
	}
	return nil
}

func standing(o Outcome) *Decision {
	if o == "" {
		return nil
	}
	return &Decision{Outcome: o}
}

// behaviour is what a person's app or bank does by itself.
func (d *Decisions) behaviour(eid, key string) *Decision {
	p, err := d.people.Get(key)
	if err != nil {
		return nil
	}
	if p.Revoked {
		if eid == "bankidse" {
			return &Decision{Outcome: "fail:certificateErr", Person: key}
		}
		return &Decision{Outcome: Decline, Person: key}
	}
	o, err := Behaviour(p.Behaviour)
	if err != nil || o == "" {
		return nil
	}
	return &Decision{Outcome: o, Person: key}
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

// Happened records that an order was ended by hand, which is tier 10.
func (d *Decisions) Happened(ref string, o Outcome, person, source string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.told[ref]
	k.decision = Decision{Outcome: o, Person: person, Tier: 10, Source: source}
	k.rungs = []Rung{{Tier: 10, Source: source, Said: string(o), Used: true}}
	d.keep(ref, k)
}

// ErrDecided means that the order has ended, or was decided before.
var ErrDecided = errors.New("already decided")

// What every simulator answers to somebody who acts on an order.
var (
	ErrNoOrder = errors.New("there is no such order; it may have been forgotten")
	ErrEnded   = errors.New("the order has ended")
	ErrEvent   = errors.New("unknown event")
)

// Set decides one session or order, tier 10.
func (d *Decisions) Set(key string, dec Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set(key, dec)
}

func (d *Decisions) set(key string, dec Decision) {
	if len(d.sessions) >= maxKept {
		clear(d.sessions)
	}
	d.sessions[key] = dec
}

// Claim decides a session for a caller who then acts. One at a time may:
// ErrDecided for the others, until release.
func (d *Decisions) Claim(session string, dec Decision) (release func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.claimed[session] {
		return nil, fmt.Errorf("%w: another call is running this session to %s", ErrDecided, d.sessions[session].Outcome)
	}
	d.claimed[session] = true
	dec.Hands = true
	d.set(session, dec)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.claimed, session)
	}, nil
}

// Enqueue decides the next logins that match, tier 20. A full queue takes no
// more, and the id stays 0.
func (d *Decisions) Enqueue(q Queued) Queued {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) >= maxKept {
		return q
	}
	d.last++
	q.ID, q.Times = d.last, max(q.Times, 1)
	d.queue = append(d.queue, q)
	return q
}

// Queue lists what waits for the next logins.
func (d *Decisions) Queue() []Queued {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Queued{}, d.queue...)
}

// Unqueue empties the queue.
func (d *Decisions) Unqueue() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = nil
}

// Clear empties the queue and forgets what was decided.
func (d *Decisions) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = nil
	clear(d.sessions)
	clear(d.asked)
	clear(d.told)
	d.order = nil
}

// Orders lists the orders of a session that the ladder was asked about, oldest
// first: also those that the broker has no name for, since their start was
// refused.
func (d *Decisions) Orders(session string) (refs []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ref := range d.order {
		if k := d.told[ref]; k.known && k.origin.Session == session {
			refs = append(refs, ref)
		}
	}
	return refs
}

// Explain shows the ladder as it was asked for an order.
func (d *Decisions) Explain(ref string) ([]Rung, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.told[ref]
	return k.rungs, ok
}
