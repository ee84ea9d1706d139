package bankidse

import (
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"eidgate/internal/cache"
	"eidgate/sandbox"
)

// The states of an order, as the service knows them (§8.1).
const (
	outstanding = "outstanding"
	started     = "started"
	userSign    = "userSign"
	complete    = "complete"
	failed      = "failed"
)

// An order is one start at the service.
type order struct {
	Ref       string `json:"ref"`
	token     string
	qrToken   string
	qrSecret  string
	client    string // subject of the RP certificate
	rpName    string
	rpDisplay string
	sign      bool
	visible   string // base64
	hidden    string
	format    string
	pinCode   bool
	mrtd      bool     // a travel document must be read
	policies  []string // kinds of BankID that may complete
	pinned    string   // only this number may complete
	returnURL string
	address   string // of the browser
	risk      bool
	created   time.Time
	state     string
	hint      string
	person    string // key, once an app has it
	kind      string
	data      Data
	opened    time.Time // when an app took it
	autostart bool
	read      bool // the document has been
	wrong     int  // codes
	by        string
	ended     time.Time
	collects  int
	last      time.Time // of the latest collect
	hasty     int       // collects that came too soon
	asked     json.RawMessage
	completed *completion
}

func (o *order) pending() bool { return o.state != complete && o.state != failed }

func (o *order) function() string {
	if o.sign {
		return "Signing"
	}
	return "Identification"
}

// A View is what the phone and the control API may know of an order.
type View struct {
	sandbox.Order
	Sign     bool            `json:"sign"`
	Text     string          `json:"text,omitempty"` // base64, as sent
	Format   string          `json:"format,omitempty"`
	Kind     string          `json:"kind,omitempty"`
	Pinned   bool            `json:"pinned"`
	Token    string          `json:"autostart_token"`
	Started  bool            `json:"started_by_link"`
	Collects int             `json:"collects"`
	Asked    json.RawMessage `json:"asked,omitempty"`   // one order only: the request
	Returns  *completion     `json:"returns,omitempty"` // one order only: what completing it returns, or has
}

// A Simulator plays the BankID service.
type Simulator struct {
	clock     *sandbox.Clock
	people    *sandbox.People
	decisions *sandbox.Decisions
	faults    *sandbox.Faults
	pki       *pki
	issued    *cache.Cache[[sha256.Size]byte, bool] // certificate of a relying party → whether our CA issued it

	mu           sync.Mutex
	windows      Windows
	certificates string // strict or any
	registered   []string
	rateLimit    bool
	orders       map[string]*order
	queue        []string          // by age
	past         map[string]*order // that the service has forgotten, for the control API
	pastQueue    []string
	changed      chan struct{}
}

// Config is what a simulator needs; all fields are required.
type Config struct {
	Clock     *sandbox.Clock
	People    *sandbox.People
	Decisions *sandbox.Decisions
	Faults    *sandbox.Faults
}

// New makes a simulator; its slow keys are made in the background.
func New(c Config) *Simulator {
	s := &Simulator{clock: c.Clock, people: c.People, decisions: c.Decisions, faults: c.Faults, pki: newPKI(c.Clock.Now), issued: cache.New[[sha256.Size]byte, bool](256),
		windows: defaultWindows(), certificates: "strict", orders: map[string]*order{}, past: map[string]*order{}, changed: make(chan struct{})}
	s.pki.warm()
	return s
}

// now is the service's time, which a fault may put off.
func (s *Simulator) now() time.Time { return s.clock.Now().Add(s.faults.Skewed("bankidse")) }

// Changed is closed when any order changes next.
func (s *Simulator) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Simulator) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// pass lets time do its work on an order.
func (s *Simulator) pass(o *order) {
	now := s.now()
	switch o.state {
	case outstanding:
		if now.Sub(o.created) >= s.windows.Start {
			s.fail(o, "startFailed")
		}
	case started, userSign:
		if now.Sub(o.created) >= s.windows.Complete {
			s.fail(o, "expiredTransaction")
		}
	}
}

// gone says that the service no longer knows the order.
func (s *Simulator) gone(o *order) bool {
	now := s.now()
	return o.state == complete && now.Sub(o.ended) > s.windows.KeepResult || o.state == failed && now.Sub(o.ended) > s.windows.KeepFailure
}

func (s *Simulator) fail(o *order, hint string) {
	o.state, o.hint, o.ended = failed, hint, s.now()
	s.wake()
}

// find returns a known order. The lock is held.
func (s *Simulator) find(ref string) (*order, error) {
	o := s.orders[ref]
	if o == nil {
		return nil, ErrNoOrder
	}
	s.pass(o)
	if s.gone(o) {
		s.forget(o)
		return nil, ErrNoOrder
	}
	return o, nil
}

// forget makes the service know an order no more. The control API remembers
// the latest ones for a while, without what was signed.
func (s *Simulator) forget(o *order) {
	delete(s.orders, o.Ref)
	if o.pending() {
		o.state, o.hint, o.ended = failed, "", s.now()
	}
	o.completed, o.visible, o.hidden, o.asked = nil, "", "", nil
	s.past[o.Ref] = o
	s.pastQueue = append(s.pastQueue, o.Ref)
	if len(s.pastQueue) > 200 {
		delete(s.past, s.pastQueue[0])
		s.pastQueue = s.pastQueue[1:]
	}
	s.wake()
}

// start makes an order. A second one for the same person stops both.
func (s *Simulator) start(o *order) (busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	if o.pinned != "" {
		for _, other := range s.orders {
			s.pass(other)
			if other.pinned == o.pinned && other.pending() {
				s.fail(other, "cancelled")
				other.by, busy = "another order for the same person", true
			}
		}
		if busy {
			return true
		}
	}
	o.Ref, o.token, o.qrToken, o.qrSecret = uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	o.created, o.state, o.hint = s.now(), outstanding, "outstandingTransaction"
	s.orders[o.Ref] = o
	s.queue = append(s.queue, o.Ref)
	s.wake()
	return false
}

// sweep forgets orders that nobody has asked about for long.
func (s *Simulator) sweep() {
	for len(s.queue) > 0 {
		o := s.orders[s.queue[0]]
		if o != nil && s.now().Sub(o.created) < 10*time.Minute {
			return
		}
		delete(s.orders, s.queue[0])
		s.queue = s.queue[1:]
	}
}

func (s *Simulator) view(o *order) View {
	now := s.now()
	t := strconv.Itoa(int(now.Sub(o.created) / time.Second))
	rungs, _ := s.decisions.Explain(o.Ref)
	until := o.created.Add(s.windows.Complete)
	if o.state == outstanding {
		until = o.created.Add(s.windows.Start)
	}
	v := View{Order: sandbox.Order{Ref: o.Ref, EID: "bankidse", State: o.state, Hint: o.hint, By: o.by, RP: o.rpDisplay, Person: o.person,
		Created: o.created, Until: until, Left: sandbox.Seconds(now, until), QR: "bankid." + o.qrToken + "." + t + "." + frame(o.qrSecret, t),
		Return: o.returnURL, Pending: o.pending(), Ladder: rungs},
		Sign: o.sign, Text: o.visible, Format: o.format, Kind: o.kind, Pinned: o.pinned != "", Token: o.token, Started: o.autostart, Collects: o.collects}
	if p, err := s.people.ByNumber(o.pinned); o.pinned != "" && err == nil {
		v.For = p.Key
	}
	switch known := s.orders[o.Ref] == o; {
	case !known:
		v.Next = "400 invalidParameters, No such order"
	case o.state == complete:
		v.Next = "complete, at the next collect, once"
	case o.state == failed:
		v.Next = "failed / " + o.hint + ", at the next collect, once"
	default:
		v.Next = "pending / " + o.hint + ", until somebody acts or the time is over"
	}
	return v
}

// Orders lists orders, newest first; with all also those that have ended.
func (s *Simulator) Orders(all bool) []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []View{}
	for i := len(s.queue) - 1; i >= 0 && len(out) < 200; i-- {
		o, err := s.find(s.queue[i])
		if err == nil && (all || o.pending()) {
			out = append(out, s.view(o))
		}
	}
	for i := len(s.pastQueue) - 1; all && i >= 0 && len(out) < 200; i-- {
		out = append(out, s.view(s.past[s.pastQueue[i]]))
	}
	return out
}

// Past shows an order that the service knows no more: it was collected or
// cancelled, or its time was over. The latest ones are remembered.
func (s *Simulator) Past(ref string) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.past[ref]; o != nil {
		return s.view(o), nil
	}
	return View{}, ErrNoOrder
}

// Order shows one order in full.
func (s *Simulator) Order(ref string) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(ref)
	if err != nil {
		return View{}, err
	}
	v := s.view(o)
	v.Asked, v.Returns = o.asked, o.completed
	if p, err := s.people.Get(s.whose(o)); err == nil && o.pending() {
		v.Returns = s.told(o, p)
	}
	return v, nil
}

// SetWindows changes the service's clocks; zero fields stay.
func (s *Simulator) SetWindows(w Windows) Windows {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := func(to *time.Duration, d time.Duration) {
		if d > 0 {
			*to = d
		}
	}
	set(&s.windows.Start, w.Start)
	set(&s.windows.Complete, w.Complete)
	set(&s.windows.KeepResult, w.KeepResult)
	set(&s.windows.KeepFailure, w.KeepFailure)
	return s.windows
}

// Clear forgets all orders and sets all switches back.
func (s *Simulator) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.orders)
	clear(s.past)
	s.queue, s.pastQueue, s.windows = nil, nil, defaultWindows()
	s.certificates, s.registered, s.rateLimit = "strict", nil, false
	s.wake()
}
