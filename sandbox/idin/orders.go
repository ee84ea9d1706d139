package idin

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"eidgate/sandbox"
)

// The states of a transaction (§10.1).
const (
	open      = "open"
	pending   = "pending"
	success   = "success"
	cancelled = "cancelled"
	failure   = "failure"
	expired   = "expired"
	refused   = "refused" // at its start: there never was a transaction
)

// wire are the states as a status answer has them.
var wire = map[string]string{open: "Open", pending: "Pending", success: "Success", cancelled: "Cancelled", failure: "Failure", expired: "Expired"}

func final(state string) bool { return state != open && state != pending }

// An order is one transaction, from its request on.
type order struct {
	id        string
	secret    string // names it in the address of the bank's page
	merchant  *Merchant
	bank      string
	returnURL string
	language  string
	entrance  string
	reference string
	service   int
	document  string
	request   string
	marker    sandbox.Outcome
	gui       bool // the page is wanted despite the marker
	life      time.Duration
	created   time.Time

	state      string
	at         time.Time // when it became final
	hint       string    // what ended it
	by         string
	person     string
	data       sandbox.IDIN
	second     string // last word of the second SAML status; "" for success
	incomplete bool
	noReturn   bool // the browser never goes back
	opened     time.Time
	returned   time.Time // when the browser was sent back
	hidden     int       // so many status requests are told Open yet
	delivered  bool
	transient  string
	checks     []Check
}

// A Check is one status request, and which of the reasons that the scheme has
// for one explains it (§12).
type Check struct {
	At      time.Time `json:"at"`
	Trigger string    `json:"trigger"` // redirect, expired, or other
	Told    string    `json:"told"`
	Extra   bool      `json:"extra,omitempty"` // nothing explains it, and the switch to say so is on
}

// Details are what only iDIN's orders have.
type Details struct {
	Bank      string   `json:"bank"`
	Merchant  string   `json:"merchant_id,omitempty"`
	Service   int      `json:"service_id"`
	Wants     []string `json:"wants"`
	Language  string   `json:"language,omitempty"`
	Document  string   `json:"document_id,omitempty"`
	Returned  bool     `json:"returned,omitempty"`
	Delivered bool     `json:"delivered,omitempty"`
	Checks    []Check  `json:"status_requests,omitempty"`
	Code      string   `json:"qr_id,omitempty"`
	Scans     int      `json:"scans,omitempty"`
}

// Event is what can be done to a transaction: open, approve, cancel, decline,
// fail:<code>, expire, stay; and scan to a code.
var eventForm = regexp.MustCompile(`^(open|approve|cancel|decline|expire|stay|scan|fail:[A-Za-z0-9_]{1,40})$`)

// pass lets time do its work on an order. The lock is held.
func (s *Simulator) pass(o *order) {
	if until := o.created.Add(o.life); !final(o.state) && s.now().After(until) {
		o.state, o.at, o.hint, o.by = expired, until, "the time was over", "the clock"
		s.wake()
	}
}

// told is the state that a status request is told. The lock is held.
func (o *order) told() string {
	if o.hidden > 0 && final(o.state) {
		o.hidden--
		return open
	}
	return o.state
}

// note remembers a status request. The lock is held.
func (s *Simulator) note(o *order, told string) {
	now := s.now()
	c := Check{At: now, Trigger: "other", Told: wire[told]}
	first := !slices.ContainsFunc(o.checks, func(c Check) bool { return !c.At.Before(o.returned) })
	switch {
	case !o.returned.IsZero() && first:
		c.Trigger = "redirect"
	case now.After(o.created.Add(o.life)):
		c.Trigger = "expired"
	}
	c.Extra = c.Trigger == "other" && s.settings.FlagExtra
	if o.checks = append(o.checks, c); len(o.checks) > 100 {
		o.checks = o.checks[1:]
	}
	s.wake()
}

// open makes a transaction that people can act on, and says where.
func (s *Simulator) open(o *order) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.secret, o.state, o.created = random(18), open, s.now()
	s.keep(o)
	s.bySecret[o.secret] = o
	return s.page(o)
}

func (s *Simulator) page(o *order) string {
	if o.secret == "" {
		return ""
	}
	return s.Base() + "/idin/bank/" + o.bank + "?s=" + o.secret
}

// turnedAway keeps a start that was refused, for who looks later.
func (s *Simulator) turnedAway(o *order, r *refusal, by string) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.state, o.created, o.hint, o.by = refused, s.now(), r.code, by
	o.at = o.created
	s.keep(o)
	return r
}

const maxOrders = 2000

func (s *Simulator) keep(o *order) {
	s.orders[o.id] = o
	s.queue = append(s.queue, o.id)
	if len(s.queue) > maxOrders {
		old := s.orders[s.queue[0]]
		delete(s.bySecret, old.secret)
		delete(s.orders, old.id)
		s.queue = s.queue[1:]
	}
	s.wake()
}

// decide asks the ladder about an order, which a person has at their bank or
// nobody yet. The lock is not held: the ladder asks the broker's store.
func (s *Simulator) decide(o *order, person string) sandbox.Decision {
	marker := o.marker
	if o.gui {
		marker = ""
	}
	return s.Decisions.Decide(sandbox.Subject{EID: "idin", Ref: o.id, Person: person, Return: o.returnURL, Marker: marker})
}

func source(d sandbox.Decision) string { return fmt.Sprintf("tier %d, %s", d.Tier, d.Source) }

// acts says whether a decision does something by itself at the bank.
func acts(d sandbox.Decision) bool {
	w := d.Outcome.Word()
	return !d.Hands && w != sandbox.Ignore && w != sandbox.CancelPage && d.Outcome.States() == nil
}

// act does what the ladder says, without a record of its own. It cannot act as
// somebody whom no bank knows.
func (s *Simulator) act(o *order, d sandbox.Decision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pass(o); final(o.state) {
		return nil
	}
	return s.do(o, sandbox.Act{Event: string(d.Outcome.Word()), Person: d.Person, Source: source(d)})
}

// do carries out an event. The lock is held.
func (s *Simulator) do(o *order, e sandbox.Act) error {
	word, code, _ := strings.Cut(e.Event, ":")
	now := s.now()
	end := func(state, hint string) { o.state, o.at, o.hint, o.by = state, now, hint, e.Source }
	if o.opened.IsZero() {
		o.opened = now
	}
	switch word {
	case "open":
		if _, err := s.known(o, e); err != nil {
			return err
		}
		o.person = s.whose(o, e.Person)
	case "approve":
		if err := s.approve(o, e); err != nil {
			return err
		}
	case "cancel":
		end(cancelled, "cancelled at the bank")
	case "decline":
		end(failure, "the bank declined")
	case "expire":
		end(expired, "the bank noticed that the time was over")
	case "stay":
		o.by = e.Source
	case "fail":
		return s.failed(o, e, code, end)
	}
	s.wake()
	return nil
}

// failed carries out fail:<code>.
func (s *Simulator) failed(o *order, e sandbox.Act, code string, end func(state, hint string)) error {
	defer s.wake()
	_, saml := seconds[code]
	switch {
	case saml, code == "no_return", code == "incomplete":
		if err := s.approve(o, e); err != nil {
			return err
		}
		o.hint, o.noReturn, o.incomplete = code, code == "no_return", code == "incomplete"
		if saml {
			o.second = code
		}
	case code == "open":
		o.by = e.Source
	case code == "pending":
		o.state, o.hint, o.by = pending, "waits for somebody else", e.Source
	case code == "cancelled":
		end(cancelled, code)
	case code == "expired":
		end(expired, code)
	default:
		end(failure, code)
	}
	return nil
}

// whose is the person that acts when nobody says.
func (s *Simulator) whose(o *order, key string) string {
	switch {
	case key != "":
		return key
	case o.person != "":
		return o.person
	}
	return "vries"
}

// known is the person of an event, if a bank knows them.
func (s *Simulator) known(o *order, e sandbox.Act) (*sandbox.IDIN, error) {
	key := s.whose(o, e.Person)
	p, err := s.People.Get(key)
	if err != nil {
		return nil, fmt.Errorf("person %.40q: %w", key, err)
	}
	if p.IDIN == nil {
		return nil, fmt.Errorf("%s: %w", key, ErrNotKnown)
	}
	data := *p.IDIN
	data.DateOfBirth = data.Birth(s.now())
	if len(e.Data) > 0 {
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return nil, fmt.Errorf("%w data: %w", sandbox.ErrEvent, err)
		}
		if err := data.Check(); err != nil {
			return nil, fmt.Errorf("%w data: %w", sandbox.ErrEvent, err)
		}
		data.DateOfBirth = data.Birth(s.now())
	}
	return &data, nil
}

func (s *Simulator) approve(o *order, e sandbox.Act) error {
	data, err := s.known(o, e)
	if err != nil {
		o.hint = err.Error()
		return err
	}
	o.person, o.data = s.whose(o, e.Person), *data
	o.state, o.at, o.hint, o.by = success, s.now(), "", e.Source
	if o.service&partBIN == 0 {
		o.transient = "TRANS" + random(16)
	}
	return nil
}

// Do lets somebody act on an order, or scan a code.
func (s *Simulator) Do(ref string, e sandbox.Act) (sandbox.Order, error) {
	if !eventForm.MatchString(e.Event) {
		return sandbox.Order{}, fmt.Errorf("%w %.60q: it is none of open, approve, cancel, decline, expire, stay, fail:<code>, and scan of a code", sandbox.ErrEvent, e.Event)
	}
	if e.Source == "" {
		e.Source = "control API"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.codes[ref]; c != nil {
		return s.doCode(c, e)
	}
	o := s.orders[ref]
	if o == nil {
		return sandbox.Order{}, sandbox.ErrNoOrder
	}
	if s.pass(o); final(o.state) {
		return s.view(o), sandbox.ErrEnded
	}
	if e.Event == "scan" {
		e.Event = "open" // there is no code to read
	}
	if err := s.do(o, e); err != nil {
		return s.view(o), err
	}
	s.record(o, e)
	return s.view(o), nil
}

// record tells the ladder who ended an order by hand. The lock is held.
func (s *Simulator) record(o *order, e sandbox.Act) {
	if final(o.state) {
		s.Decisions.Happened(o.id, sandbox.Outcome(e.Event), o.person, e.Source)
	}
}

// back is where the browser goes at the end (§13).
func (o *order) back(entrance string) string {
	q := url.Values{"trxid": {o.id}, "ec": {entrance}}.Encode()
	before, fragment, hasFragment := strings.Cut(o.returnURL, "#")
	join := "?"
	if strings.Contains(before, "?") {
		join = "&"
	}
	if hasFragment {
		fragment = "#" + fragment
	}
	return before + join + q + fragment
}

// view is what others may know of an order. The lock is held.
func (s *Simulator) view(o *order) sandbox.Order {
	s.pass(o)
	rungs, _ := s.Decisions.Explain(o.id)
	until := o.created.Add(o.life)
	v := sandbox.Order{Ref: o.id, EID: "idin", State: o.state, Hint: o.hint, By: o.by, RP: o.merchant.Name, Person: o.person, Created: o.created, Until: until,
		Left: sandbox.Seconds(s.now(), until), Pending: !final(o.state), Page: s.page(o), Return: o.back(o.entrance), Ladder: rungs,
		Details: Details{Bank: o.bank, Merchant: o.merchant.ID, Service: o.service, Wants: Groups(o.service), Language: o.language, Document: o.document,
			Returned: !o.returned.IsZero(), Delivered: o.delivered, Checks: slices.Clone(o.checks)}}
	switch {
	case o.state == refused:
		v.Next = "was told " + o.hint + " at once"
	case !final(o.state):
		v.Next = wire[o.state] + ", until somebody acts or the time is over"
	case o.state != success:
		v.Next = wire[o.state] + ", whenever it asks"
	case s.tells(o):
		v.Next = "Success with data, once"
	default:
		v.Next = "Success without data"
	}
	return v
}

// Orders lists transactions and codes, newest first; with all also those that
// have ended.
func (s *Simulator) Orders(all bool) []sandbox.Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []sandbox.Order{}
	for i := len(s.queue) - 1; i >= 0 && len(out) < 200; i-- {
		o := s.orders[s.queue[i]]
		if s.pass(o); all || !final(o.state) {
			out = append(out, s.view(o))
		}
	}
	for i := len(s.codeQueue) - 1; i >= 0 && len(out) < 400; i-- {
		if c := s.codes[s.codeQueue[i]]; all || s.alive(c) {
			out = append(out, s.viewCode(c))
		}
	}
	slices.SortStableFunc(out, func(a, b sandbox.Order) int { return b.Created.Compare(a.Created) })
	return out
}

// Order shows one transaction or code in full.
func (s *Simulator) Order(ref string) (sandbox.Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.codes[ref]; c != nil {
		return s.viewCode(c), nil
	}
	o := s.orders[ref]
	if o == nil {
		return sandbox.Order{}, sandbox.ErrNoOrder
	}
	v := s.view(o)
	v.Asked = o.request
	data := &o.data
	if !final(o.state) {
		var err error
		if data, err = s.known(o, sandbox.Act{}); err != nil {
			return v, nil //nolint:nilerr // whoever has it is gone: it returns nothing
		}
	} else if o.state != success {
		return v, nil
	}
	told := map[string]string{}
	for _, a := range attributes(o.service, data, s.now(), s.settings.AgeName) {
		told[a.name] = a.value
	}
	v.Returns = told
	return v, nil
}
