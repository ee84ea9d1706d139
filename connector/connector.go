// Package connector is the contract between the broker and an eID.
//
// A connector adapts one eID's protocol to the broker. It is stateless: what
// it must remember it returns as bytes, which the broker keeps sealed and
// hands back at the next call. It makes no promise about which node calls it
// next, and it may be called twice with the same event when a node died in
// between (Request.Repeated).
//
// An upstream's "no" is a result (Fail). An error means that we do not know;
// *Unknown says whether the call may be repeated.
package connector

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"eidgate/eid"
)

// A Connector is one eID, or one stage on top of one.
type Connector interface {
	Info() Info
	// Begin starts one attempt. It is called because a person acted (or a
	// headless API did), never because a page was fetched.
	Begin(ctx context.Context, r *Request) (Result, error)
	// Resume carries on after an event.
	Resume(ctx context.Context, r *Request, state []byte, e Event) (Result, error)
}

// A Fronter has something to ask before an order exists: which device, which
// bank, may we start. What the person enters reaches Begin in Request.Input.
// Front is pure.
type Fronter interface {
	Front(r *Request) Ask
}

// A Locator names the order that an inbound request belongs to. It is pure,
// and nothing in the request is trusted yet.
type Locator interface {
	Locate(in Inbound) (Ref, error)
}

// A Screener tells what an inbound request is refused with that does not show
// what the upstream alone knows; nil for one that does. It is pure, and comes
// before anything is written: strangers may send such requests as often as they
// like. Resume looks again.
type Screener interface {
	Screen(set Settings, state []byte, in Inbound) *Reply
}

// A Viewer computes what a waiting page shows at this instant, on any node,
// without a step: an animated QR code. It is pure.
type Viewer interface {
	View(state []byte, now time.Time) (Wait, error)
}

// A Canceller can tell the upstream that nobody waits any more. Best effort.
type Canceller interface {
	Cancel(ctx context.Context, r *Request, state []byte) error
}

// A Lister has a list to choose from, of banks say, that belongs to a contract
// and changes rarely. The broker fetches it now and then, keeps it, and hands
// it over in Request.List; it is never fetched for one attempt.
type Lister interface {
	// Contract names whose list these settings lead to, "" if to none; settings
	// with the same name share it. Pure.
	Contract(s Settings) (string, error)
	// List fetches it.
	List(ctx context.Context, s Settings) (*List, error)
}

// A Collector owes its upstream something after an attempt is over: a final
// status that must be asked for, say.
type Collector interface {
	// Duty says what is still owed when an attempt ends in this state; nil for
	// nothing. Pure. What it keeps must not be personal.
	Duty(state []byte, now time.Time) *Duty
	// Collect does what is due and says what is owed then, nil when all is
	// done, and in one word how it went.
	Collect(ctx context.Context, s Settings, state []byte, now time.Time) (next *Duty, word string)
}

// GivenUp is the word of a duty that could not be done and is not tried again:
// an operator's affair.
const GivenUp = "given_up"

// A Duty is what is owed, and when to see to it.
type Duty struct {
	State []byte
	Due   time.Time
}

// Info is what the broker must know before the first call.
type Info struct {
	EID      eid.EID
	Purposes []eid.Purpose
	Modes    []string      // values of Request.Mode
	Breakout bool          // the upstream refuses to be framed
	Polls    bool          // Result.Due is used; the order lives in its owner's memory
	Leaves   bool          // Begin sends the browser to the upstream, which shows who asks and for what
	Free     bool          // Begin leaves nothing with the upstream: it may be called before the order is stored, and its answer lost
	Anywhere bool          // what a browser brings back is used whichever browser it is (Returned.Foreign)
	Deadline time.Duration // of one call; default 10 s
}

// A Request is everything that a connector may know about a session.
type Request struct {
	Session     string // for correlation in evidence; authorises nothing
	Order       string // unique per attempt; usable as state of an upstream
	Environment eid.Environment
	Purpose     eid.Purpose
	Mode        string // fixed by the method: "same", "other", ""
	Wanted      []string
	Pinned      eid.Number // only this person may complete
	Party       string     // display name of the relying party
	Language    string     // "sv"
	Browser     Browser
	Seen        time.Time // when a page of this session was last shown
	Headless    bool      // no page of ours; an API renders the steps
	Framed      bool
	ReturnURL   string            // the address of the session's page, stable per session
	CallbackURL string            // where an upstream's redirect must go
	Params      map[string]string // fixed inputs of the method and of the request
	Input       url.Values        // what the person entered in the Front form
	Identity    *eid.Identity     // so far, for later stages
	List        *List             // of a Lister; nil while none could be fetched
	Failed      *Fail             // Front: the attempt before, made with Input
	Settings    Settings
	Repeated    bool // this event may have been delivered before: a node died
	// Texts loads what is to be signed; it is large, so it is not in memory
	// unless asked for.
	Texts func(context.Context) (Texts, error)
}

// Texts is what the person signs.
type Texts struct {
	Visible  eid.Text // as the relying party sent it, decoded
	NonShown eid.Text
	Format   string // "" plain, or the eID's name of a mark-up
}

// Browser is what is known of the person's browser.
type Browser struct {
	Addr   netip.Addr
	Agent  string // User-Agent, as sent
	Device Device
	ID     string // stable per browser, meaningless elsewhere; "" without cookie
	Host   string // host that the person came from, if known

	Language string // of our pages in it, for sessions that name none: "sv"
}

// A Device is a guess from the user agent.
type Device string

const (
	Desktop Device = "desktop"
	IOS     Device = "ios"
	Android Device = "android"
)

// Settings are the credentials and switches of one account, configuration
// and environment. Key is equal exactly when the rest is: clients built from
// the settings are cached under it.
type Settings struct {
	Key  string
	Data json.RawMessage
}

// A Result is what a connector answers to Begin and Resume.
type Result struct {
	Step      Step
	State     []byte
	Refs      []Ref         // names by which inbound messages find this order
	Due       time.Time     // next Tick; zero for none
	Confirmed *eid.Identity // the eID has confirmed this person: kept even if what follows fails
	Evidence  []eid.Evidence
	Reply     *Reply      // answer to an upstream that called us
	Notes     []string    // lines for the timeline, constant words without personal data
	Binding   eid.Binding // that the session keeps; "" as it is
	Stale     bool        // Request.List is out of date: fetch it anew
}

// A Ref is an upstream's name for an order, unique per eID and environment.
type Ref string

// A Reply answers an upstream's call.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// An Inbound is a request that an upstream or a browser sent us.
type Inbound struct {
	Method string
	Path   string // below the connector's own prefix
	Query  url.Values
	Header http.Header
	Body   []byte
}

// A List is what a person chooses from.
type List struct {
	Changed time.Time `json:"changed"` // by the upstream; an equal time means an equal list
	Groups  []Group   `json:"groups"`
}

// A Group is a part of a list under one heading: the banks of a country.
type Group struct {
	Name    string  `json:"name"`
	Entries []Entry `json:"entries"`
}

// An Entry is one thing to choose.
type Entry struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Find looks an entry up by its id.
func (l *List) Find(id string) (Entry, bool) {
	if l != nil {
		for _, g := range l.Groups {
			for _, e := range g.Entries {
				if e.ID == id {
					return e, true
				}
			}
		}
	}
	return Entry{}, false
}

// A Step is what must happen next: Redirect, Ask, Wait, Embed, Again, Done or
// Fail.
type Step interface{ step() }

// Redirect sends the browser away.
type Redirect struct {
	URL string
	// Renews says that URL works once, or not for long: for Submitted "go" the
	// connector makes another one. A page does not show it.
	Renews bool
}

// Ask shows a form. Pages and headless APIs render it alike.
type Ask struct {
	Form     Form
	Document string // text to read first, already in the form that the eID's app will show; "" for none
	Format   string // of Document: "" plain text or "simpleMarkdownV1"
	Auto     bool   // a page with scripts may submit at once with the defaults
}

// Wait shows a page that polls while the person acts elsewhere.
type Wait struct {
	QR     string    // what the QR code says; "" for no code
	Image  string    // address of a code that the eID draws itself
	Launch string    // link that opens the app on this device
	Token  string    // the bare start token, for headless APIs
	Hint   string    // translation key, "bankidse.rfa1"
	Code   string    // the upstream's own word for the hint, for headless APIs
	Until  time.Time // when this ends unless the person acts: a series of codes with its last one
	Fresh  bool      // the code has just taken the place of one that nobody scanned
	Rests  bool      // no code to show until the person asks for a new one (Submitted "renew")
	Choose []Option  // buttons (name "choose") to go on in another way, beside a code
	// Asks means that a person has come back in another browser than the one
	// that waits, and is to say there that it was them (Returned with POST).
	Asks bool
}

// Embed shows the eID's own client in a frame.
type Embed struct {
	Src, Origin string
	Data        []byte // handed to the frame, which must have Origin
}

// Again asks to commit what we have and to be called at once (with Tick): a
// once-only answer is persisted before it is verified.
type Again struct{}

// Done means that this stage has what it wanted.
type Done struct{}

// Fail ends the attempt. With Retry the person may try again within the
// session.
type Fail struct {
	Reason eid.Reason
	Code   string // the upstream's own word, never personal
	Text   string // what the upstream wants the person to read; "" for our own words
	Lang   string // the language that Text was asked for in, a tag of BCP 47; "" where nobody knows
	Retry  bool
}

func (Redirect) step() {}
func (Ask) step()      {}
func (Wait) step()     {}
func (Embed) step()    {}
func (Again) step()    {}
func (Done) step()     {}
func (Fail) step()     {}

// A Form is a list of typed fields; one submit button each Choice option, or
// one for the whole form.
type Form struct {
	Name   string // translation prefix: "bankidse.device"
	Fields []Field
	Error  string // translation key; "" for none
}

// A Field is one thing to enter.
type Field struct {
	Name    string
	Kind    FieldKind
	Options []Option // of a Choice
	Default string
	Hint    string // translation key
	Error   string // translation key
	Max     int    // length of a Text
	Numeric bool
}

// A FieldKind says how a field is shown and read.
type FieldKind string

const (
	Choice       FieldKind = "choice"
	TextField    FieldKind = "text"
	Confirmation FieldKind = "confirmation"
)

// An Option is one of a Choice. Label is a translation key, or, with Plain,
// the text itself (a bank's name).
type Option struct {
	Value, Label string
	Plain        bool
	Unavailable  bool
	Group        string // heading that it stands under; options of one group follow each other
}

// An Event is what happened: Returned, Submitted, Shown, Called, Tick or
// Expired.
type Event interface{ event() }

// Returned means that a browser came back from the upstream. Foreign: it is
// not the one that the session is bound to (only for Info.Anywhere).
type Returned struct {
	In      Inbound
	Foreign bool
}

// Submitted carries what a person entered in our form.
type Submitted struct{ Values url.Values }

// Shown means that a page of this step was really displayed.
type Shown struct{ Browser Browser }

// Called means that the upstream called us.
type Called struct{ In Inbound }

// Tick means that Result.Due has come. Ticks may be lost or repeated.
type Tick struct{}

// Expired means that the session's time is over; the last chance to collect.
type Expired struct{}

func (Returned) event()  {}
func (Submitted) event() {}
func (Shown) event()     {}
func (Called) event()    {}
func (Tick) event()      {}
func (Expired) event()   {}

// An Unknown error means that the upstream may or may not have acted.
type Unknown struct {
	Reason eid.Reason    // how the session ends if it is not repeated
	Repeat bool          // the same event may be delivered again
	After  time.Duration // not before
	Err    error         // for the log; never personal
}

func (u *Unknown) Error() string {
	if u.Err == nil {
		return string(u.Reason)
	}
	return string(u.Reason) + ": " + u.Err.Error()
}

func (u *Unknown) Unwrap() error { return u.Err }
