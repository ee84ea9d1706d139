package bankidse

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"eidgate/sandbox"
)

// What the app is told when something cannot be.
var (
	ErrNoOrder = sandbox.ErrNoOrder
	ErrOldCode = errors.New("this QR code is too old; scan the one that is on the screen now")
	ErrBadCode = errors.New("this is no BankID code of this service")
	ErrEnded   = sandbox.ErrEnded
	ErrTaken   = errors.New("another app has the order")
	ErrPerson  = errors.New("the order is not meant for this person, so the app stopped it")
	ErrPIN     = errors.New("wrong code; the simulated one is 123456")
	ErrEvent   = sandbox.ErrEvent
)

// Data is what an app, or the service about it, says beside the person's
// number; empty fields are left to the simulator. The names are those of the
// answer.
type Data struct {
	Name      string  `json:"name,omitempty"`
	GivenName string  `json:"givenName,omitempty"`
	Surname   string  `json:"surname,omitempty"`
	Issued    string  `json:"bankIdIssueDate,omitempty"`
	IPAddress string  `json:"ipAddress,omitempty"` // of the device with the app
	UHI       string  `json:"uhi,omitempty"`
	Risk      string  `json:"risk,omitempty"` // low, moderate, high
	StepUp    *stepUp `json:"stepUp,omitempty"`
	Kind      string  `json:"kind,omitempty"`    // of the BankID: mobile, file, card
	Version   string  `json:"version,omitempty"` // of the app: current, old
	Code      string  `json:"code,omitempty"`    // what the person types to approve; 123456 is right
}

type stepUp struct {
	MRTD bool `json:"mrtd"`
}

var (
	issuedForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}Z?$`)
	uhiForm    = regexp.MustCompile(`^[A-Za-z0-9+/=]{1,64}$`)
	hintForm   = regexp.MustCompile(`^[A-Za-z0-9_]{1,40}$`)
)

func (d Data) check() error {
	one := func(name, v string, of ...string) error {
		if v == "" || slices.Contains(of, v) {
			return nil
		}
		return fmt.Errorf("%w data: %s %.40q is none of %s", ErrEvent, name, v, strings.Join(of, ", "))
	}
	err := errors.Join(one("risk", d.Risk, "low", "moderate", "high"), one("kind", d.Kind, "mobile", "file", "card"),
		one("version", d.Version, "current", "old"))
	if _, bad := netip.ParseAddr(d.IPAddress); d.IPAddress != "" && bad != nil {
		err = errors.Join(err, fmt.Errorf("%w data: ipAddress %.60q is no address", ErrEvent, d.IPAddress))
	}
	if d.Issued != "" && !issuedForm.MatchString(d.Issued) {
		err = errors.Join(err, fmt.Errorf("%w data: bankIdIssueDate is a date such as 2024-02-01", ErrEvent))
	}
	if d.UHI != "" && !uhiForm.MatchString(d.UHI) {
		err = errors.Join(err, fmt.Errorf("%w data: uhi is base64 of at most 64 characters", ErrEvent))
	}
	if len(d.Name)+len(d.GivenName)+len(d.Surname) > 600 {
		err = errors.Join(err, fmt.Errorf("%w data: the names are too long", ErrEvent))
	}
	return err
}

// An Event is what an app does with an order.
type Event struct {
	Event  string `json:"event"`            // open, scan, document, approve, cancel, decline, expire, fail:<hint>, hint:<pending hint>
	Person string `json:"person,omitempty"` // key; "" for who has the order, is asked for, or ada
	Data   Data   `json:"data,omitzero"`
	Source string `json:"-"` // who is told to have done it
	auto   bool   // by the ladder, which has its own record of it
}

// Event lets an app act.
func (s *Simulator) Event(ref, event, person string) (View, error) {
	return s.Do(ref, Event{Event: event, Person: person, Source: "control API"})
}

// Do lets an app act. A person who has not picked the order up does so first.
func (s *Simulator) Do(ref string, e Event) (View, error) {
	if err := e.Data.check(); err != nil {
		return View{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(ref)
	if err != nil {
		if o = s.past[ref]; o != nil {
			return s.view(o), ErrEnded
		}
		return View{}, err
	}
	return s.event(o, e)
}

// Open starts the app with an autostart token, as a person.
func (s *Simulator) Open(token string, e Event) (View, error) {
	if err := e.Data.check(); err != nil {
		return View{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.orders {
		if o.token != token {
			continue
		}
		if e.Person == "" {
			e.Person = s.whose(o)
		}
		if s.pass(o); o.person == e.Person && o.pending() { // the page was loaded again
			return s.view(o), nil
		}
		o.autostart = true
		return s.pick(o, e)
	}
	return View{}, ErrNoOrder
}

// Scan reads a code with the app, as a person.
func (s *Simulator) Scan(code, person string) (View, error) {
	return s.Read(code, Event{Person: person})
}

// Read reads a code with an app of which more is known. The code's HMAC and
// its time are really checked: 5 s late and 2 s early pass.
func (s *Simulator) Read(code string, e Event) (View, error) {
	if err := e.Data.check(); err != nil {
		return View{}, err
	}
	parts := strings.Split(strings.TrimSpace(code), ".")
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
		if elapsed := int(s.now().Sub(o.created) / time.Second); t < elapsed-5 || t > elapsed+2 {
			return View{}, ErrOldCode
		}
		if e.Person == "" {
			e.Person = s.whose(o)
		}
		return s.pick(o, e)
	}
	return View{}, ErrBadCode
}

func frame(secret, t string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(t))
	return hex.EncodeToString(m.Sum(nil))
}

// pick gives the order to a person's app. The lock is held.
func (s *Simulator) pick(o *order, e Event) (View, error) {
	s.pass(o)
	switch {
	case !o.pending():
		return s.view(o), ErrEnded
	case o.state == userSign:
		return s.view(o), ErrTaken
	}
	p, err := s.people.Get(e.Person)
	if err != nil {
		return View{}, err
	}
	o.person, o.data, o.opened = e.Person, e.Data, s.now()
	o.kind = o.usable(p)
	switch {
	case o.pinned != "" && o.pinned != p.Number:
		s.end(o, e, "userCancel")
		return s.view(o), ErrPerson
	case e.Data.Version == "old":
		s.end(o, e, "notSupportedByUserApp")
	case p.Revoked:
		s.end(o, e, "certificateErr")
	case o.kind == "":
		o.state, o.hint = started, "started"
	case o.mrtd:
		o.state, o.hint = userSign, "userMrtd"
	default:
		o.state, o.hint = userSign, "userSign"
	}
	s.wake()
	return s.view(o), nil
}

// usable is the kind of BankID that the person's app uses; "" if it has none
// that the order allows.
func (o *order) usable(p sandbox.Person) string {
	for _, k := range p.BankID {
		if (o.data.Kind == "" || o.data.Kind == k) && o.allows(policies[k]) {
			return k
		}
	}
	return ""
}

// allows says whether an order takes BankIDs of a policy. One star may stand
// for the rest, from the fifth position on (§4.3).
func (o *order) allows(policy string) bool {
	if len(o.policies) == 0 {
		return true
	}
	return slices.ContainsFunc(o.policies, func(p string) bool {
		if start, star := strings.CutSuffix(p, "*"); star && len(start) >= 4 {
			return strings.HasPrefix(policy, start)
		}
		return p == policy
	})
}

// event carries out what an app does. The lock is held.
func (s *Simulator) event(o *order, e Event) (View, error) {
	if !o.pending() {
		return s.view(o), ErrEnded
	}
	if e.Person == "" {
		e.Person = s.whose(o)
	}
	word, code, _ := strings.Cut(e.Event, ":")
	switch word {
	case "open", "scan", "approve":
		if o.state == outstanding || e.Person != o.person {
			if o.state == userSign {
				o.state = started
			}
			o.autostart = o.autostart || word == "open" && !e.auto
			if v, err := s.pick(o, e); err != nil || word != "approve" {
				return v, err
			}
		}
		if word != "approve" || o.state != userSign {
			return s.view(o), nil
		}
		return s.approve(o, e)
	case "document":
		if o.hint == "userMrtd" {
			o.hint, o.read = "userSign", true
			s.wake()
		}
	case "cancel":
		s.end(o, e, "userCancel")
	case "decline":
		s.end(o, e, "certificateErr")
	case "expire":
		if o.state == outstanding {
			s.end(o, e, "startFailed")
		} else {
			s.end(o, e, "expiredTransaction")
		}
	case "fail", "hint":
		if !hintForm.MatchString(code) {
			return s.view(o), fmt.Errorf("%w %.60q: a hint has up to 40 letters, digits and _", ErrEvent, e.Event)
		}
		if word == "fail" {
			s.end(o, e, code)
			break
		}
		s.tell(o, code)
	default:
		return s.view(o), fmt.Errorf("%w %.60q: it is none of open, scan, document, approve, cancel, decline, expire, fail:<hint>, hint:<hint>", ErrEvent, e.Event)
	}
	return s.view(o), nil
}

// tell makes a pending order say a hint.
func (s *Simulator) tell(o *order, hint string) {
	o.hint = hint
	switch hint {
	case "outstandingTransaction", "noClient":
		o.state = outstanding
	case "started":
		o.state = started
	default:
		if o.state = userSign; o.person == "" {
			o.person, o.opened = s.whose(o), s.now()
		}
		if p, err := s.people.Get(o.person); err == nil && o.kind == "" {
			o.kind = o.usable(p)
		}
	}
	s.wake()
}

// approve completes an order, with the right code. Three wrong ones block the
// BankID.
func (s *Simulator) approve(o *order, e Event) (View, error) {
	if c := e.Data.Code; c != "" && c != "123456" {
		if o.wrong++; o.wrong >= 3 {
			s.end(o, e, "certificateErr")
			return s.view(o), nil
		}
		return s.view(o), fmt.Errorf("%w (%d tries left)", ErrPIN, 3-o.wrong)
	}
	o.data = o.data.with(e.Data)
	o.read = o.read || o.mrtd // an app that must read a document has done so before it can approve
	p, err := s.people.Get(o.person)
	if err != nil {
		return s.view(o), err
	}
	if o.kind == "" {
		if o.kind = o.usable(p); o.kind == "" {
			s.tell(o, "started")
			return s.view(o), nil
		}
	}
	if o.completed, err = s.completion(o, p); err != nil {
		return s.view(o), err
	}
	o.state, o.hint, o.ended = complete, "", s.now()
	s.record(o, e, "approve")
	s.wake()
	return s.view(o), nil
}

// with lays what is newly said over what was said before.
func (d Data) with(n Data) Data {
	for to, from := range map[*string]string{&d.Name: n.Name, &d.GivenName: n.GivenName, &d.Surname: n.Surname, &d.Issued: n.Issued,
		&d.IPAddress: n.IPAddress, &d.UHI: n.UHI, &d.Risk: n.Risk} {
		if from != "" {
			*to = from
		}
	}
	if n.StepUp != nil {
		d.StepUp = n.StepUp
	}
	return d
}

// end fails an order because of what an app did.
func (s *Simulator) end(o *order, e Event, hint string) {
	s.fail(o, hint)
	outcome := sandbox.Outcome("fail:" + hint)
	if hint == "userCancel" {
		outcome = sandbox.Cancel
	}
	s.record(o, e, outcome)
}

// record says who ended an order.
func (s *Simulator) record(o *order, e Event, outcome sandbox.Outcome) {
	if o.by = e.Source; o.by == "" {
		o.by = "control API"
	}
	if !e.auto {
		s.decisions.Happened(o.Ref, outcome, o.person, o.by)
	}
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

// act does what the ladder says, one step a collect.
func (s *Simulator) act(o *order, d sandbox.Decision) {
	word := d.Outcome.Word()
	if d.Hands || word == sandbox.Ignore || word == sandbox.CancelPage || d.Outcome.States() != nil {
		return
	}
	e := Event{Event: string(word), Person: d.Person, Source: fmt.Sprintf("tier %d, %s", d.Tier, d.Source), auto: true}
	opens := word == sandbox.Approve || word == sandbox.Expire || d.Outcome.After() > 0
	if o.state == outstanding && opens {
		e.Event = "open"
		_, _ = s.event(o, e) // a refusal shows in the order's state
		return
	}
	if s.now().Sub(o.opened) < d.Outcome.After() {
		return
	}
	_, _ = s.event(o, e) // the same
}

// script makes the n-th collect tell what a list says; the last word of it is
// the end.
func (s *Simulator) script(o *order, d sandbox.Decision) {
	list := d.Outcome.States()
	if list == nil || d.Hands || !o.pending() {
		return
	}
	e := Event{Person: d.Person, Source: fmt.Sprintf("tier %d, %s", d.Tier, d.Source), auto: true}
	last := o.collects >= len(list)-1
	word := list[min(o.collects, len(list)-1)]
	switch {
	case !last:
		if d.Person != "" && o.person == "" && word != "outstandingTransaction" && word != "noClient" {
			o.person, o.opened = d.Person, s.now()
		}
		s.tell(o, word)
		return
	case word == "complete":
		e.Event = "approve"
	default:
		e.Event = "fail:" + word
	}
	_, _ = s.event(o, e) // a refusal shows in the order's state
}
