// Package agechecked plays AgeChecked for the sandbox: the remote method that
// starts a check, the page that the person sees, and the method that tells how
// it ended. docs/protocols/agechecked.md describes what is known of it; §
// in comments refers to that file. AgeChecked publishes little, so this
// simulator shows what our reading of it is, not that the reading is right.
package agechecked

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"eidgate/sandbox"
)

//go:embed page.html
var files embed.FS

var pages = sandbox.Pages(files, "page.html")

// A Status is what a check can come to (§5).
type Status struct {
	Number int
	Text   string
}

// pending is told until a check has come to something.
var pending = Status{0, "Pending"}

// statuses are those that the page has a button for.
var statuses = []Status{{3, "Aborted"}, {4, "Error"}, {5, "Declined"}, {6, "Approved"}, {7, "Approved"}, {8, "DeclinedIPCountryNotDetected"},
	{9, "DeclinedIPCountryDisabled"}, {10, "DeclinedIPProxy"}, {12, "AVNotRequired"}, {17, "NotApproved"}}

func statusOf(n int) (Status, bool) {
	i := slices.IndexFunc(statuses, func(s Status) bool { return s.Number == n })
	if i < 0 {
		return pending, false
	}
	return statuses[i], true
}

const firstID = 1255120

// Config is what a simulator needs; all fields are required.
type Config struct {
	Clock     *sandbox.Clock
	People    *sandbox.People
	Decisions *sandbox.Decisions
	Faults    *sandbox.Faults
	Base      func() string // address of the listener that Handler is served on, without a slash at the end
}

// A Simulator plays AgeChecked.
type Simulator struct {
	Config

	mu      sync.Mutex
	keys    map[string]string // secret merchant key → name
	checks  map[int64]*check
	queue   []int64
	last    int64
	changed chan struct{}
}

// A check is one age check.
type check struct {
	id         int64
	page       string // names it in the page's address
	secret     string // key of who started it
	reference  string
	country    string
	back       string
	request    string
	created    time.Time
	opened     time.Time
	ended      time.Time
	status     Status
	verifiedID string
	person     string
	by         string
	asked      int
}

// New makes a simulator.
func New(c Config) *Simulator {
	return &Simulator{Config: c, keys: map[string]string{}, checks: map[int64]*check{}, last: firstID - 1, changed: make(chan struct{})}
}

// Credentials are what a merchant's settings need.
type Credentials struct {
	Base      string // of the API, without a slash at the end
	PublicKey string // for browsers, which our client does not use (§2)
	SecretKey string
}

// Merchant makes a merchant with keys.
func (s *Simulator) Merchant(name string) Credentials {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Credentials{Base: s.Base() + "/agechecked/api", PublicKey: random(), SecretKey: random()}
	s.keys[c.SecretKey] = name
	return c
}

func random() string {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		panic(err) // the system's randomness has failed
	}
	return hex.EncodeToString(b)
}

// Changed is closed when any check changes next.
func (s *Simulator) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Simulator) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Clear forgets all checks. Keys stay, and numbers go on.
func (s *Simulator) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.checks)
	s.queue = nil
	s.wake()
}

// Faults are the kinds of faults that each target knows.
func Faults() map[string][]string {
	return map[string][]string{"agechecked": {sandbox.Delay, sandbox.Status, sandbox.HTML, sandbox.Reset, sandbox.Garbage, sandbox.Truncate, sandbox.Refuse}}
}

// Fidelity says how near the simulator is.
func Fidelity() []sandbox.Fidelity {
	out := []sandbox.Fidelity{
		{What: "POST /acapiremote/ac0130", State: sandbox.Differs, Because: "AgeChecked does not publish which method starts a check with iDIN"},
		{What: "GET /jsonapi/getagecheck", State: sandbox.Exact},
		{What: "statuses 3 to 10, 12 and 17 with their texts", State: sandbox.Exact},
		{What: "pending", State: sandbox.Differs, Because: "told as status 0, which is not published"},
		{What: "way back of the browser", State: sandbox.Differs, Because: "with agecheckid in the address, which is not published"},
		{What: "GET /jsapi/getjavascript", State: sandbox.NotSimulated, Because: "the script for browsers is not used here"},
	}
	for i := range out {
		out[i].Upstream = "agechecked"
	}
	return out
}

// Handler is everything below /agechecked/.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /agechecked/api/acapiremote/ac0130", s.start)
	mux.HandleFunc("GET /agechecked/api/jsonapi/getagecheck", s.tell)
	mux.HandleFunc("GET /agechecked/api/jsapi/getjavascript", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusNotImplemented, map[string]string{"Error": "Not simulated: the script for browsers. See /fidelity of the control listener."})
	})
	mux.HandleFunc("GET /agechecked/check/{page}", s.show)
	mux.HandleFunc("POST /agechecked/check/{page}", s.act)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Eidgate-Sandbox", "1")
		f, hit := s.Faults.Take("agechecked")
		switch {
		case !hit:
			mux.ServeHTTP(w, r)
		case f.Kind == sandbox.Refuse:
			s.refuse(w, r, f.Value, "a fault is on")
		default:
			f.Apply(w, r, mux.ServeHTTP)
		}
	})
}

func say(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

// refuse answers in the manner of the method that was called.
func (s *Simulator) refuse(w http.ResponseWriter, r *http.Request, code, message string) {
	if r.Method == http.MethodGet {
		say(w, http.StatusOK, map[string]string{"Error": code})
		return
	}
	say(w, http.StatusOK, map[string]any{"error": map[string]string{"code": code, "message": message, "details": ""}})
}

// start makes a check (§3).
func (s *Simulator) start(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return // the client has gone
	}
	var in struct {
		Secret    string `json:"merchantSecretKey"`
		Country   string `json:"countrycode"`
		Reference string `json:"reference"`
		Return    string `json:"returnurl"`
	}
	if json.Unmarshal(raw, &in) != nil {
		s.refuse(w, r, "InvalidRequest", "the body is no JSON")
		return
	}
	back, err := url.Parse(in.Return)
	switch {
	case !s.knows(in.Secret):
		s.refuse(w, r, "InvalidMerchantKey", "the secret key is not known")
		return
	case in.Country != "NL":
		s.refuse(w, r, "InvalidCountry", "iDIN is for NL")
		return
	case err != nil || back.Host == "" || back.Scheme != "http" && back.Scheme != "https":
		s.refuse(w, r, "InvalidReturnUrl", "the way back is no address")
		return
	case len(in.Reference) > 100:
		s.refuse(w, r, "InvalidReference", "the reference is too long")
		return
	}
	s.mu.Lock()
	s.last++
	c := &check{id: s.last, page: random(), secret: in.Secret, reference: in.Reference, country: in.Country, back: in.Return, created: s.Clock.Now(), status: pending,
		request: strings.ReplaceAll(string(raw), in.Secret, "…")}
	s.checks[c.id] = c
	if s.queue = append(s.queue, c.id); len(s.queue) > 2000 {
		delete(s.checks, s.queue[0])
		s.queue = s.queue[1:]
	}
	s.wake()
	s.mu.Unlock()
	sandbox.Concerns(r.Context(), ref(c))
	dec := s.decide(c)
	if code := dec.Outcome.Code(); code != "" && strings.Trim(code, "0123456789") != "" { // fail:InvalidMerchantKey and the like
		s.mu.Lock()
		c.status, c.ended, c.by = Status{4, code}, s.Clock.Now(), source(dec)
		s.mu.Unlock()
		s.refuse(w, r, code, "the sandbox was told so")
		return
	}
	say(w, http.StatusOK, map[string]any{"url": s.address(c),
		"avstatus": map[string]any{"agecheckid": c.id, "ageverifiedid": nil, "status": pending.Number, "statustext": pending.Text}})
}

func (s *Simulator) knows(secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[secret] != ""
}

func ref(c *check) string { return strconv.FormatInt(c.id, 10) }

func (s *Simulator) address(c *check) string { return s.Base() + "/agechecked/check/" + c.page }

// tell says how a check stands (§4).
func (s *Simulator) tell(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	id, err := strconv.ParseInt(q.Get("agecheckid"), 10, 64)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.checks[id]
	if err != nil || c == nil || subtle.ConstantTimeCompare([]byte(c.secret), []byte(q.Get("merchantkey"))) != 1 {
		say(w, http.StatusOK, map[string]string{"Error": "AgeCheckNotFound"})
		return
	}
	sandbox.Concerns(r.Context(), ref(c))
	c.asked++
	out := map[string]any{"status": c.status.Number, "agecheckid": c.id}
	if c.verifiedID != "" {
		out["ageverifiedid"] = c.verifiedID
	}
	say(w, http.StatusOK, out)
}

// decide asks the ladder. The lock is not held: the ladder asks the broker's
// store.
func (s *Simulator) decide(c *check) sandbox.Decision {
	return s.Decisions.Decide(sandbox.Subject{EID: "idinage", Ref: ref(c), Return: c.back})
}

func source(d sandbox.Decision) string { return fmt.Sprintf("tier %d, %s", d.Tier, d.Source) }

// came is the status that an event leads to; false for one that leads to none.
func (s *Simulator) came(event, person string) (Status, bool) {
	word, code, _ := strings.Cut(event, ":")
	n := map[string]int{"approve": 6, "cancel": 3, "decline": 17}[word]
	if word == "fail" {
		n, _ = strconv.Atoi(code) // what is no number is no status
		n = cmp.Or(n, 4)
	}
	if p, err := s.People.Get(person); word == "approve" && err == nil && p.IDIN != nil && p.IDIN.Adult(s.Clock.Now()) != "true" {
		n = 17
	}
	return statusOf(n)
}

// end sets what a check came to. The lock is held.
func (s *Simulator) end(c *check, to Status, person, by string) {
	c.status, c.person, c.by, c.ended = to, person, by, s.Clock.Now()
	if to.Number == 6 || to.Number == 7 {
		c.verifiedID = uuid.NewString()
	}
	s.wake()
}

// A view is what the page shows.
type view struct {
	Lang, Title, Banner, RP, Text string
	Faults                        []sandbox.Fault
	Statuses                      []Status
}

func (s *Simulator) render(w http.ResponseWriter, status int, v *view) {
	v.Lang, v.Title, v.Banner = "en", "Age check", "Simulation. No identity is checked."
	v.Faults = slices.DeleteFunc(s.Faults.List(), func(f sandbox.Fault) bool { return f.Target != "agechecked" })
	sandbox.PageHeaders(w.Header())
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, "page", v) // the browser has gone
}

// find is the check of a page's address; nil after the page said that there is
// none.
func (s *Simulator) find(w http.ResponseWriter, r *http.Request) *check {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.checks {
		if c.page == r.PathValue("page") {
			sandbox.Concerns(r.Context(), ref(c))
			return c
		}
	}
	s.render(w, http.StatusNotFound, &view{Text: "This address leads to no check."})
	return nil
}

// show lets the ladder decide, or shows the buttons.
func (s *Simulator) show(w http.ResponseWriter, r *http.Request) {
	c := s.find(w, r)
	if c == nil {
		return
	}
	s.mu.Lock()
	if c.opened.IsZero() {
		c.opened = s.Clock.Now()
	}
	done, opened := !c.ended.IsZero(), c.opened
	name := s.keys[c.secret]
	s.mu.Unlock()
	if done {
		s.leave(w, r, c)
		return
	}
	dec := s.decide(c)
	word := dec.Outcome.Word()
	if dec.Hands || word == sandbox.Ignore || word == sandbox.CancelPage || dec.Outcome.States() != nil {
		s.render(w, http.StatusOK, &view{RP: name, Statuses: statuses})
		return
	}
	if wait := dec.Outcome.After() - s.Clock.Now().Sub(opened); wait > 0 {
		w.Header().Set("Refresh", strconv.Itoa(max(1, int(wait/time.Second))))
		s.render(w, http.StatusOK, &view{RP: name, Text: "The check is running."})
		return
	}
	to, ends := s.came(string(word), dec.Person)
	if !ends { // expire: nothing ever comes of it
		s.render(w, http.StatusOK, &view{RP: name, Text: "This check stays pending."})
		return
	}
	s.mu.Lock()
	if c.ended.IsZero() {
		s.end(c, to, dec.Person, source(dec))
	}
	s.mu.Unlock()
	s.leave(w, r, c)
}

// act does what a button says.
func (s *Simulator) act(w http.ResponseWriter, r *http.Request) {
	c := s.find(w, r)
	if c == nil {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	button := r.PostFormValue("status")
	n, err := strconv.Atoi(button)
	to, known := statusOf(n)
	if button != "pending" && (err != nil || !known) {
		http.Error(w, "This form has no such button.", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	if known && c.ended.IsZero() {
		s.end(c, to, "", "page of the check")
		s.Decisions.Happened(ref(c), sandbox.Outcome("fail:"+button), "", c.by)
	}
	s.mu.Unlock()
	s.leave(w, r, c)
}

// leave sends the browser back, with the number as the only hint.
func (s *Simulator) leave(w http.ResponseWriter, r *http.Request, c *check) {
	u, err := url.Parse(c.back)
	if err != nil { // start has looked
		http.Error(w, "The way back is no address.", http.StatusInternalServerError)
		return
	}
	hint := "agecheckid=" + ref(c)
	if u.RawQuery != "" {
		hint = u.RawQuery + "&" + hint
	}
	u.RawQuery = hint
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

// view is what others may know of a check. The lock is held.
func (s *Simulator) view(c *check) sandbox.Order {
	rungs, _ := s.Decisions.Explain(ref(c))
	v := sandbox.Order{Ref: ref(c), EID: "idinage", State: "pending", Hint: c.status.Text, By: c.by, RP: s.keys[c.secret], Person: c.person, Created: c.created,
		Until: c.created.Add(15 * time.Minute), Pending: c.ended.IsZero(), Page: s.address(c), Return: c.back, Ladder: rungs,
		Next: fmt.Sprintf("status %d %s, whenever it asks", c.status.Number, c.status.Text)}
	v.Left = sandbox.Seconds(s.Clock.Now(), v.Until)
	if !v.Pending {
		v.State = "ended"
	}
	return v
}

// Orders lists checks, newest first; with all also those that have ended.
func (s *Simulator) Orders(all bool) []sandbox.Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []sandbox.Order{}
	for i := len(s.queue) - 1; i >= 0 && len(out) < 200; i-- {
		if c := s.checks[s.queue[i]]; all || c.ended.IsZero() {
			out = append(out, s.view(c))
		}
	}
	return out
}

// known is the check of a ref; nil for none. The lock is held.
func (s *Simulator) known(ref string) *check {
	id, err := strconv.ParseInt(ref, 10, 64)
	if err != nil {
		return nil
	}
	return s.checks[id]
}

// Order shows one check in full.
func (s *Simulator) Order(ref string) (sandbox.Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.known(ref)
	if c == nil {
		return sandbox.Order{}, sandbox.ErrNoOrder
	}
	v := s.view(c)
	v.Asked = c.request
	v.Returns = map[string]any{"status": cmp.Or(c.status.Number, 6)}
	return v, nil
}

// Do lets somebody act on a check: open, approve, cancel, decline,
// fail:<status>. Nothing expires by itself, so expire leaves it pending.
func (s *Simulator) Do(ref string, e sandbox.Act) (sandbox.Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.known(ref)
	switch {
	case c == nil:
		return sandbox.Order{}, sandbox.ErrNoOrder
	case !c.ended.IsZero():
		return s.view(c), sandbox.ErrEnded
	}
	to, ends := s.came(e.Event, e.Person)
	if !ends {
		if e.Event != "open" && e.Event != "expire" {
			return s.view(c), fmt.Errorf("%w %.60q: it is none of open, approve, cancel, decline, expire, fail:<status>", sandbox.ErrEvent, e.Event)
		}
		return s.view(c), nil
	}
	by := cmp.Or(e.Source, "control API")
	s.end(c, to, e.Person, by)
	s.Decisions.Happened(ref, sandbox.Outcome(e.Event), e.Person, by)
	return s.view(c), nil
}
