// Package control is the sandbox's control API, virtual phone and pages: who decides
// how a login ends, what was said on the wire, clock, people and faults. A
// click on the phone and a call of the API write the same decision and are
// told apart by their source only. docs/sandbox.md lists the calls, which
// programs may rely on.
package control

import (
	"context"
	"crypto/x509"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/agechecked"
	"eidgate/sandbox/bankidno"
	"eidgate/sandbox/bankidse"
	"eidgate/sandbox/idin"
	"eidgate/sandbox/itsme"
	"eidgate/sandbox/mitid"
	"eidgate/sandbox/openid"
)

//go:embed phone.html pages.html phone.css phone.js
var files embed.FS

// Sessions is what the control API must know of the broker. Methods answer
// ErrNoSession, or ErrNoAccount, for what is not there or not simulated.
type Sessions interface {
	Refs(ctx context.Context, session string) ([]string, error)
	State(ctx context.Context, session string) (state string, err error)
	StartURL(ctx context.Context, session string) (string, error)
	Find(address string) (session string, ok bool) // of a page of the broker
	Nudge(ctx context.Context, session string)     // the next collect comes at once
	Deliveries(ctx context.Context, session string) ([]Delivery, error)
	HasAccount(ctx context.Context, id string) error // ErrNoAccount
	NewAccount(ctx context.Context, a Account) (Account, error)
	// NewClient makes a client for OpenID Connect of what is said about it, and
	// is how it came to be, with its secret. ErrClient says what is wrong.
	NewClient(ctx context.Context, said json.RawMessage) (client any, err error)
	DropAccount(ctx context.Context, id string) error
}

// What the broker does not know.
var (
	ErrNoSession = errors.New("there is no such session in this sandbox")
	ErrNoAccount = errors.New("there is no such account, or it was not made here")
	ErrClient    = errors.New("no client can be made of this")
)

// A Delivery is a notification and its attempts.
type Delivery struct {
	ID       string          `json:"id"`
	Session  string          `json:"session"`
	Account  string          `json:"account"`
	Kind     string          `json:"kind"` // webhook or email
	Type     string          `json:"type"`
	Host     string          `json:"host"` // of the address; its path may hold secrets
	State    string          `json:"state"`
	Due      time.Time       `json:"due,omitzero"` // of the next attempt
	Attempts []Attempt       `json:"attempts"`
	Body     json.RawMessage `json:"body,omitempty"` // until the session is erased
}

// An Attempt is one try to deliver.
type Attempt struct {
	At     time.Time `json:"at"`
	Took   float64   `json:"seconds"`
	State  string    `json:"state"`
	Status int       `json:"status,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// An Account is a relying party that was made for one run of tests.
type Account struct {
	ID            string          `json:"id"`
	Name          string          `json:"name"`
	Auto          sandbox.Outcome `json:"auto,omitempty"` // tier 50 of the ladder
	Key           string          `json:"key"`
	WebhookSecret string          `json:"webhook_secret"`
}

// A Mailbox keeps the mails of the sandbox.
type Mailbox interface {
	All() []any
	Clear()
}

// Config is what the control API needs; all fields but the last two are
// required.
type Config struct {
	Clock      *sandbox.Clock
	People     *sandbox.People
	Decisions  *sandbox.Decisions
	Recorder   *sandbox.Recorder
	Faults     *sandbox.Faults
	BankIDSE   *bankidse.Simulator
	IDIN       *idin.Simulator
	Itsme      *itsme.Simulator
	BankIDNO   *bankidno.Simulator
	MitID      *mitid.Simulator
	AgeChecked *agechecked.Simulator
	Sessions   Sessions // nil where the simulators run alone
	Issuers    string   // address of the eIDs
	Mailbox    Mailbox
	Stop       <-chan struct{} // closed when pages that listen must let go
	Roots      *x509.CertPool  // what decide trusts; nil for the system's
	CA         []byte          // PEM of whom the sandbox's addresses are certified by; nil without TLS
}

type control struct {
	Config
	upstreams map[string]upstream // by name
	phone     *template.Template
	mux       *http.ServeMux
}

// A call is one of the API's.
type call struct {
	method, path string // below /sandbox/v1
	about        string
	do           func(*control, *http.Request) (any, error)
}

// calls is the API.
var calls = []call{
	{"GET", "/orders", "Orders, newest first: ?person= ?eid= ?state=pending|all|… ?wait=10s", (*control).orders},
	{"GET", "/orders/{ref}", "One order: what was asked, where it stands, what it will return", (*control).order},
	{"POST", "/orders/{ref}/events", "One step of an app, or of a bank's customer: event, person, data", (*control).event},
	{"POST", "/scan", "Scan the text of a code: code, person, data", (*control).scan},
	{"POST", "/sessions/{id}/decide", "Run a login to its end: outcome, person, device", (*control).decide},
	{"POST", "/decide", "The same from an address: start_url, outcome, person, device", (*control).decideURL},
	{"GET", "/sessions/{id}/explain", "Who decided, order by order", (*control).explain},
	{"GET", "/queue", "What waits for the next logins", func(x *control, _ *http.Request) (any, error) { return x.Decisions.Queue(), nil }},
	{"POST", "/queue", "Decide the next login: outcome, person, match, times", (*control).enqueue},
	{"DELETE", "/queue", "Empty the queue", func(x *control, _ *http.Request) (any, error) { x.Decisions.Unqueue(); return ok, nil }},
	{"GET", "/people", "Test people", func(x *control, _ *http.Request) (any, error) { return x.People.List(), nil }},
	{"GET", "/people/{key}", "One of them", func(x *control, r *http.Request) (any, error) { return x.People.Get(r.PathValue("key")) }},
	{"POST", "/people", "Add or replace a person", (*control).putPerson},
	{"PATCH", "/people/{key}", "Change a person", (*control).patchPerson},
	{"DELETE", "/people/{key}", "Remove a person", func(x *control, r *http.Request) (any, error) { return ok, x.People.Remove(r.PathValue("key")) }},
	{"POST", "/accounts", "A fresh account with a key of its own: name, auto", (*control).newAccount},
	{"POST", "/clients", "A fresh client for OpenID Connect: account, profile, and members of client registration", (*control).newClient},
	{"DELETE", "/accounts/{id}", "Remove such an account and all it made", (*control).dropAccount},
	{"GET", "/clock", "The sandbox's time", (*control).showClock},
	{"POST", "/clock", "Move it: advance or set", (*control).moveClock},
	{"GET", "/faults", "Faults that are on", func(x *control, _ *http.Request) (any, error) { return x.Faults.List(), nil }},
	{"POST", "/faults", "Turn one on: target, kind, value, times, every, probability", (*control).addFault},
	{"DELETE", "/faults", "Turn all off", func(x *control, _ *http.Request) (any, error) { x.Faults.Clear(); return ok, nil }},
	{"DELETE", "/faults/{id}", "Turn one off", (*control).dropFault},
	{"GET", "/simulators", "The simulators and their switches", (*control).simulators},
	{"GET", "/simulators/{name}", "One of them", (*control).simulator},
	{"PATCH", "/simulators/{name}", "Turn switches, each simulator its own", (*control).patchSimulator},
	{"GET", "/messages", "What simulators received and sent: ?session= or ?ref=", (*control).messages},
	{"GET", "/mail", "Mails", func(x *control, _ *http.Request) (any, error) { return x.Mailbox.All(), nil }},
	{"GET", "/webhooks", "Notifications and their attempts: ?session=", (*control).webhooks},
	{"GET", "/outcomes", "What logins can be made to do, and what relying parties receive", func(*control, *http.Request) (any, error) { return Outcomes(), nil }},
	{"GET", "/fidelity", "How near the simulators are", func(*control, *http.Request) (any, error) { return allFidelity(), nil }},
	{"GET", "/ca.pem", "Whom to trust if the sandbox speaks https", (*control).authority},
	{"POST", "/reset", "A clean slate: keep", (*control).reset},
}

const base = "/sandbox/v1"

// New makes the handler of the control listener.
func New(c Config) (http.Handler, error) {
	t, err := template.New("").Funcs(template.FuncMap{"curl": curl, "json": asJSON, "opt": newOption}).ParseFS(files, "*.html")
	if err != nil {
		return nil, err
	}
	x := &control{c, upstreams(&c), t, http.NewServeMux()}
	for _, a := range calls {
		x.mux.HandleFunc(a.method+" "+base+a.path, func(w http.ResponseWriter, r *http.Request) { x.answer(w, r, a.do) })
	}
	x.mux.HandleFunc("GET "+base+"/{$}", x.index)
	x.mux.HandleFunc("GET "+base, x.index)
	x.mux.HandleFunc(base+"/", x.unknown)
	x.mux.HandleFunc("GET /phone", x.showPhone)
	x.mux.HandleFunc("POST /phone", x.actPhone)
	x.mux.HandleFunc("GET /phone/events", x.listen)
	x.mux.HandleFunc("GET /people", x.show("people", "People"))
	x.mux.HandleFunc("POST /people", x.form("/people", x.actPeople))
	x.mux.HandleFunc("GET /queue", x.show("queue", "Queue"))
	x.mux.HandleFunc("POST /queue", x.form("/queue", x.actQueue))
	x.mux.HandleFunc("GET /fidelity", x.show("fidelity", "Fidelity"))
	for _, name := range []string{"phone.css", "phone.js"} {
		x.mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, files, name)
		})
	}
	x.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/phone", http.StatusSeeOther) })
	return guard(x.mux), nil
}

// guard keeps other sites' pages out: they could be open in the same browser.
// They may link to the phone, as an app's link does, and nothing else.
func guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Eidgate-Sandbox", "1")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		link := r.Method == http.MethodGet && r.URL.Path == "/phone" && r.Header.Get("Sec-Fetch-Dest") == "document"
		foreign := r.Header.Get("Sec-Fetch-Site") == "cross-site" && !link
		if err := cross.Check(r); err != nil || foreign {
			say(w, http.StatusForbidden, map[string]string{"error": "this request comes from another site's page, which must not drive the sandbox",
				"help": "call from a program, or from the phone's own page"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

var ok = map[string]bool{"ok": true}

func say(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

// answer runs a call. Bodies are JSON, also where a form would do, so that no
// page can post one by itself.
func (x *control) answer(w http.ResponseWriter, r *http.Request, do func(*control, *http.Request) (any, error)) {
	ct, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if (r.Method == http.MethodPost || r.Method == http.MethodPatch) && ct != "application/json" {
		say(w, http.StatusUnsupportedMediaType, map[string]string{"error": fmt.Sprintf("the body is %.60q", r.Header.Get("Content-Type")),
			"help": "send JSON with Content-Type: application/json"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	out, err := do(x, r)
	if err != nil {
		refuse(w, err)
		return
	}
	if file, is := out.(pemFile); is {
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(file) // the client has gone
		return
	}
	say(w, http.StatusOK, out)
}

// badInput marks what the caller can mend; help says how.
type badInput struct {
	error
	help string
}

func (b badInput) Unwrap() error { return b.error }

// A clash is something that happened before. It says what.
type clash struct {
	error
	happened any
}

func (c clash) Unwrap() error { return c.error }

// errPlain means that there is nobody to trust.
var errPlain = errors.New("this sandbox speaks http and has no CA")

// A pemFile is an answer that is no JSON.
type pemFile []byte

func (x *control) authority(*http.Request) (any, error) {
	if x.CA == nil {
		return nil, errPlain
	}
	return pemFile(x.CA), nil
}

// errNoBankID means that somebody is to approve who cannot.
var errNoBankID = errors.New("this person has no BankID that the order takes")

// errSlow means that a login did not end in time.
var errSlow = errors.New("the login did not end within 20 s")

// answers is the one table from errors to answers.
var answers = []struct {
	err    error
	status int
	help   string
}{
	{sandbox.ErrNoOrder, 404, "GET /sandbox/v1/orders?state=all lists those that there are"},
	{ErrNoSession, 404, "sessions are those of test keys on this server; where simulators run alone there are none"},
	{errPlain, 404, "start with --tls: eidgate dev --tls"},
	{ErrNoAccount, 404, "an account is named by the \"id\" that POST /sandbox/v1/accounts has answered"},
	{ErrClient, 400, `for example {"client_name":"Run 7","profile":"standard","redirect_uris":["http://localhost:3000/callback"]}; see docs/sandbox.md, clients`},
	{sandbox.ErrNobody, 404, "GET /sandbox/v1/people lists the keys"},
	{sandbox.ErrEnded, 409, "what happened first stands; start a new login"},
	{bankidse.ErrTaken, 409, "let that person act, or send the event open with the other person"},
	{sandbox.ErrDecided, 409, "what happened first stands; start a new login"},
	{bankidse.ErrPerson, 409, "the request names another person; see \"for\" of the order"},
	{bankidse.ErrPIN, 409, "three wrong codes block the BankID"},
	{bankidse.ErrOldCode, 409, "GET /sandbox/v1/orders/{ref} has the code of this second in \"qr\""},
	{bankidse.ErrBadCode, 400, "a code's text begins with \"bankid.\" and has four parts, or is the link of a code of iDIN QR"},
	{errNoBankID, 409, "GET /sandbox/v1/people: who has \"bankid\" has one; the outcome expire waits until the time is over"},
	{openid.ErrNoAccount, 409, "GET /sandbox/v1/people: who has \"itsme\", \"bankidno\" or \"mitid\" has that eID"},
	{idin.ErrNotKnown, 409, "GET /sandbox/v1/people: who has \"idin\" is a customer of the banks"},
	{sandbox.ErrEvent, 400, "see docs/sandbox.md, events"},
	{errSlow, 504, "GET /sandbox/v1/sessions/{id}/explain says who decided what"},
}

func refuse(w http.ResponseWriter, err error) {
	out := map[string]any{"error": err.Error()}
	status := http.StatusInternalServerError
	var b badInput
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		status, out["help"] = http.StatusRequestEntityTooLarge, "a body has at most one mebibyte"
	} else if errors.As(err, &b) {
		status, out["help"] = http.StatusBadRequest, b.help
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			status, out["help"] = a.status, a.help
			break
		}
	}
	var c clash
	if errors.As(err, &c) {
		status, out["happened"] = http.StatusConflict, c.happened
	}
	say(w, status, out)
}

// read decodes a body strictly, into what v holds already.
func read(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more than one JSON value")
		}
	}
	if err != nil {
		return badInput{fmt.Errorf("the body cannot be read: %w", err), "docs/sandbox.md shows the members of each call"}
	}
	return nil
}

// index lists the calls.
func (x *control) index(w http.ResponseWriter, _ *http.Request) {
	type entry struct {
		Method string `json:"method"`
		Path   string `json:"path"`
		About  string `json:"about"`
	}
	var out []entry
	for _, a := range calls {
		out = append(out, entry{a.method, base + a.path, a.about})
	}
	say(w, http.StatusOK, out)
}

// unknown answers what is no call: 405 where another method would be one.
func (x *control) unknown(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = m
		if _, pattern := x.mux.Handler(other); strings.HasPrefix(pattern, m+" ") {
			allow = append(allow, m)
		}
	}
	if len(allow) > 0 {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		say(w, http.StatusMethodNotAllowed, map[string]string{"error": "this address does not take " + r.Method, "help": "it takes " + strings.Join(allow, ", ")})
		return
	}
	say(w, http.StatusNotFound, map[string]string{"error": "there is nothing at this address", "help": "GET /sandbox/v1 lists the calls"})
}

// span reads a time such as 10s from a query.
func span(r *http.Request, name string, most time.Duration) (time.Duration, error) {
	if !r.URL.Query().Has(name) {
		return 0, nil
	}
	d, err := time.ParseDuration(r.URL.Query().Get(name))
	if err != nil || d < 0 {
		return 0, badInput{fmt.Errorf("%s is no time", name), "write " + name + "=10s"}
	}
	return min(d, most), nil
}

var orderStates = []string{"", "pending", "all", "outstanding", "started", "userSign", "complete", "failed",
	"open", "success", "cancelled", "failure", "expired", "refused", "shown", "used", "ended"}

// orders lists orders; wait lets the call hang until there is one.
func (x *control) orders(r *http.Request) (any, error) {
	q := r.URL.Query()
	wait, err := span(r, "wait", 25*time.Second)
	if err != nil {
		return nil, err
	}
	state, e, person := q.Get("state"), q.Get("eid"), q.Get("person")
	if !slices.Contains(orderStates, state) {
		return nil, badInput{fmt.Errorf("%.40q is no state", state), "states are" + strings.Join(orderStates, " ")}
	}
	if e != "" && !slices.Contains(eids, e) {
		return nil, noEID(e)
	}
	if person != "" {
		if _, err := x.People.Get(person); err != nil {
			return nil, err
		}
	}
	end := time.NewTimer(wait)
	defer end.Stop()
	for {
		changed := x.changed()
		out := slices.DeleteFunc(x.all(state != "" && state != "pending"), func(o entry) bool {
			return e != "" && o.EID != e || person != "" && o.Person != person && o.For != person ||
				state != "" && state != "pending" && state != "all" && o.State != state
		})
		if len(out) > 0 || wait == 0 {
			return out, nil
		}
		select {
		case <-changed[0]:
		case <-changed[1]:
		case <-changed[2]:
		case <-changed[3]:
		case <-changed[4]:
		case <-changed[5]:
		case <-end.C:
			return out, nil
		case <-r.Context().Done():
			return out, nil
		}
	}
}

func noEID(name string) error {
	return badInput{fmt.Errorf("%.40q is not simulated here", name), "eIDs are " + strings.Join(eids, ", ")}
}

func (x *control) order(r *http.Request) (any, error) {
	e, _, err := x.find(r.PathValue("ref"))
	return e, err
}

func (x *control) event(r *http.Request) (any, error) {
	var a sandbox.Act
	if err := read(r, &a); err != nil {
		return nil, err
	}
	a.Source = "control API"
	return acted(x.do(r.PathValue("ref"), a))
}

func (x *control) scan(r *http.Request) (any, error) {
	var in struct {
		Code, Person string
		Data         json.RawMessage
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	return acted(x.readCode(in.Code, sandbox.Act{Event: "scan", Person: in.Person, Data: in.Data, Source: "control API"}))
}

// readCode scans a code by its text: an animated one of BankID, or the link of
// one of iDIN QR.
func (x *control) readCode(text string, a sandbox.Act) (entry, error) {
	if c, found := x.shown(text); found {
		return x.upstreams["idin"].do(c.Ref, a)
	}
	b := bankID{x.BankIDSE}
	e, err := b.event(a)
	if err != nil {
		return entry{}, err
	}
	return b.entry(b.Read(text, e))
}

// shown is the code of iDIN QR that says a text, also one that is over.
func (x *control) shown(text string) (sandbox.Order, bool) {
	for _, o := range x.IDIN.Orders(true) {
		if o.QR != "" && o.QR == strings.TrimSpace(text) {
			return o, true
		}
	}
	return sandbox.Order{}, false
}

// acted adds to a refusal what had happened to the order.
func acted(e entry, err error) (any, error) {
	if errors.Is(err, sandbox.ErrEnded) || errors.Is(err, bankidse.ErrTaken) || errors.Is(err, bankidse.ErrPerson) {
		return nil, clash{err, happened(e)}
	}
	return e, err
}

func happened(e entry) map[string]string {
	return map[string]string{"ref": e.Ref, "state": e.State, "hint": e.Hint, "by": e.By, "person": e.Person}
}
