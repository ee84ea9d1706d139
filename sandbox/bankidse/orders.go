package bankidse

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"eidgate/sandbox"

	"github.com/google/uuid"
)

// Windows are the service's clocks (docs/protocols/bankidse.md §8).
type Windows struct {
	Start, Complete, KeepResult, KeepFailure time.Duration
}

// Default windows of the service.
func defaultWindows() Windows {
	return Windows{30 * time.Second, 180 * time.Second, 3 * time.Minute, 5 * time.Minute}
}

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
	pinned    string // only this number may complete
	returnURL string
	address   string // of the browser
	risk      bool
	created   time.Time
	state     string
	hint      string
	person    string // key, once an app has it
	kind      string
	autostart bool
	ended     time.Time
	collects  int
	completed *completion
}

func (o *order) function() string {
	if o.sign {
		return "Signing"
	}
	return "Identification"
}

// A View is what the phone and the control API may know of an order.
type View struct {
	Ref      string         `json:"ref"`
	EID      string         `json:"eid"`
	State    string         `json:"state"`
	Hint     string         `json:"hint"`
	RP       string         `json:"rp"`
	Sign     bool           `json:"sign"`
	Text     string         `json:"text,omitempty"` // base64, as sent
	Format   string         `json:"format,omitempty"`
	Person   string         `json:"person,omitempty"`
	Pinned   bool           `json:"pinned"`
	Created  time.Time      `json:"created"`
	Until    time.Time      `json:"until"`
	Token    string         `json:"autostart_token"`
	QR       string         `json:"qr"` // the code on the screen right now
	Return   string         `json:"return_url,omitempty"`
	Pending  bool           `json:"pending"`
	Decision []sandbox.Rung `json:"ladder,omitempty"`
}

// What the app is told when something cannot be.
var (
	ErrNoOrder = errors.New("no such order")
	ErrOldCode = errors.New("QR code too old")
	ErrBadCode = errors.New("not a BankID code of this service")
	ErrEnded   = errors.New("the order has ended")
	ErrPerson  = errors.New("the order is not meant for this person")
)

// A Simulator plays the BankID service.
type Simulator struct {
	clock     *sandbox.Clock
	people    *sandbox.People
	decisions *sandbox.Decisions
	faults    *sandbox.Faults
	pki       *pki

	mu      sync.Mutex
	windows Windows
	orders  map[string]*order
	queue   []string // by age
	changed chan struct{}
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
	s := &Simulator{clock: c.Clock, people: c.People, decisions: c.Decisions, faults: c.Faults, pki: newPKI(c.Clock.Now),
		windows: defaultWindows(), orders: map[string]*order{}, changed: make(chan struct{})}
	s.pki.warm()
	return s
}

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
	now := s.clock.Now()
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
	now := s.clock.Now()
	return o.state == complete && now.Sub(o.ended) > s.windows.KeepResult || o.state == failed && now.Sub(o.ended) > s.windows.KeepFailure
}

func (s *Simulator) fail(o *order, hint string) {
	o.state, o.hint, o.ended = failed, hint, s.clock.Now()
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
		delete(s.orders, ref)
		return nil, ErrNoOrder
	}
	return o, nil
}

// start makes an order. A second one for the same person stops both.
func (s *Simulator) start(o *order) (busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	if o.pinned != "" {
		for _, other := range s.orders {
			s.pass(other)
			if other.pinned == o.pinned && other.state != complete && other.state != failed {
				s.fail(other, "cancelled")
				busy = true
			}
		}
		if busy {
			return true
		}
	}
	o.Ref, o.token, o.qrToken, o.qrSecret = uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	o.created, o.state, o.hint = s.clock.Now(), outstanding, "outstandingTransaction"
	s.orders[o.Ref] = o
	s.queue = append(s.queue, o.Ref)
	s.wake()
	return false
}

// sweep forgets orders that nobody has asked about for long.
func (s *Simulator) sweep() {
	for len(s.queue) > 0 {
		o := s.orders[s.queue[0]]
		if o != nil && s.clock.Now().Sub(o.created) < 10*time.Minute {
			return
		}
		delete(s.orders, s.queue[0])
		s.queue = s.queue[1:]
	}
}

// Open starts the app with an autostart token, as a person.
func (s *Simulator) Open(token, person string) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.orders {
		if o.token == token {
			o.autostart = true
			return s.pick(o, person)
		}
	}
	return View{}, ErrNoOrder
}

// Scan reads a code with the app, as a person. Its HMAC and its time are
// really checked: 5 s late and 2 s early pass.
func (s *Simulator) Scan(code, person string) (View, error) {
	parts := strings.Split(code, ".")
	if len(parts) != 4 || parts[0] != "bankid" {
		return View{}, ErrBadCode
	}
	t, err := strconv.Atoi(parts[2])
	if err != nil || strconv.Itoa(t) != parts[2] {
		return View{}, ErrBadCode
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.orders {
		if o.qrToken != parts[1] {
			continue
		}
		if !hmac.Equal([]byte(parts[3]), []byte(frame(o.qrSecret, parts[2]))) {
			return View{}, ErrBadCode
		}
		if elapsed := int(s.clock.Now().Sub(o.created) / time.Second); t < elapsed-5 || t > elapsed+2 {
			return View{}, ErrOldCode
		}
		return s.pick(o, person)
	}
	return View{}, ErrBadCode
}

func frame(secret, t string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(t))
	return hex.EncodeToString(m.Sum(nil))
}

// pick gives the order to a person's app. The lock is held.
func (s *Simulator) pick(o *order, key string) (View, error) {
	s.pass(o)
	if o.state != outstanding && o.state != started {
		return s.view(o), ErrEnded
	}
	p, err := s.people.Get(key)
	if err != nil {
		return View{}, err
	}
	o.person = key
	switch {
	case o.pinned != "" && o.pinned != p.Number:
		s.fail(o, "userCancel")
		return s.view(o), ErrPerson
	case p.Revoked:
		s.fail(o, "certificateErr")
	case len(p.BankID) == 0:
		o.state, o.hint = started, "started"
	default:
		o.kind = p.BankID[0]
		o.state, o.hint = userSign, "userSign"
	}
	s.wake()
	return s.view(o), nil
}

// Event lets an app act: open, approve, cancel, decline, expire, fail:<hint>,
// hint:<pending hint>. A person who has not picked the order up does so first.
func (s *Simulator) Event(ref, event, person string) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(ref)
	if err != nil {
		return View{}, err
	}
	return s.event(o, event, person)
}

func (s *Simulator) event(o *order, event, person string) (View, error) {
	if o.state == complete || o.state == failed {
		return s.view(o), ErrEnded
	}
	if person == "" {
		person = s.whose(o)
	}
	word, code, _ := strings.Cut(event, ":")
	switch word {
	case "open", "approve":
		if o.state == outstanding || person != o.person {
			if o.state == userSign {
				o.state = started
			}
			if v, err := s.pick(o, person); err != nil || word == "open" {
				return v, err
			}
		}
		if word == "open" || o.state != userSign {
			return s.view(o), nil
		}
		return s.view(o), s.complete(o)
	case "cancel", "decline":
		s.fail(o, "userCancel")
		if word == "decline" {
			o.hint = "certificateErr"
		}
	case "expire":
		if o.hint = "startFailed"; o.state != outstanding {
			o.hint = "expiredTransaction"
		}
		s.fail(o, "expiredTransaction")
	case "fail":
		s.fail(o, code)
	case "hint":
		o.state, o.hint = userSign, code
		s.wake()
	default:
		return s.view(o), fmt.Errorf("event %q is none of open, approve, cancel, decline, expire, fail:<hint>, hint:<hint>", word)
	}
	return s.view(o), nil
}

// whose is the person that an app belongs to when nobody says: the one that
// is asked for, or ada.
func (s *Simulator) whose(o *order) string {
	if o.person != "" {
		return o.person
	}
	if o.pinned != "" {
		if p, err := s.people.ByNumber(o.pinned); err == nil {
			return p.Key
		}
		s.stranger(o.pinned)
		return "p" + o.pinned
	}
	return "ada"
}

// stranger makes a person for a number that nobody has: the test service
// issues BankIDs to any well-formed number.
func (s *Simulator) stranger(number string) {
	_ = s.people.Put(sandbox.Person{Key: "p" + number, Number: number, Given: "Test", Family: "Person",
		BankID: []string{"mobile"}, About: "made because a program asked for this number"}) // full is full
}

func (s *Simulator) complete(o *order) error {
	p, err := s.people.Get(o.person)
	if err != nil {
		return err
	}
	done, err := s.completion(o, p)
	if err != nil {
		return err
	}
	o.completed, o.state, o.hint, o.ended = done, complete, "", s.clock.Now()
	s.wake()
	return nil
}

func (s *Simulator) view(o *order) View {
	t := strconv.Itoa(int(s.clock.Now().Sub(o.created) / time.Second))
	rungs, _ := s.decisions.Explain(o.Ref)
	return View{Ref: o.Ref, EID: "bankidse", State: o.state, Hint: o.hint, RP: o.rpDisplay, Sign: o.sign, Text: o.visible,
		Format: o.format, Person: o.person, Pinned: o.pinned != "", Created: o.created, Until: o.created.Add(s.windows.Complete),
		Token: o.token, QR: "bankid." + o.qrToken + "." + t + "." + frame(o.qrSecret, t), Return: o.returnURL,
		Pending: o.state != complete && o.state != failed, Decision: rungs}
}

// Orders lists orders, newest first; with all also those that have ended.
func (s *Simulator) Orders(all bool) []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []View{}
	for i := len(s.queue) - 1; i >= 0 && len(out) < 200; i-- {
		o, err := s.find(s.queue[i])
		if err == nil && (all || o.state != complete && o.state != failed) {
			out = append(out, s.view(o))
		}
	}
	return out
}

// Order shows one order.
func (s *Simulator) Order(ref string) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(ref)
	if err != nil {
		return View{}, err
	}
	return s.view(o), nil
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

// Clear forgets all orders.
func (s *Simulator) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.orders)
	s.queue, s.windows = nil, defaultWindows()
	s.wake()
}
