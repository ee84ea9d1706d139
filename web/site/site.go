// Package site shows the pages for those who connect a program: the start page
// and the documentation. All of them are whole without scripts, hold nothing
// personal, and load nothing from elsewhere.
package site

import (
	"bytes"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"eidgate/web"
)

// Config is what the pages need. All fields but Contact and Sandbox are
// required.
type Config struct {
	Static  *web.Static
	Docs    fs.FS    // Markdown files; start.md, errors.md and errors-oidc.md are among them
	Contact string   // live: how to reach the operator; "" says nothing
	Sandbox *Sandbox // nil in a live server
}

// A Sandbox is what the start page shows of one.
type Sandbox struct {
	Public, Demo, Phone, Control string // addresses, no slash at the end
	Key, Secret                  string // the sandbox's own, known to all
	Client, ClientSecret         string // likewise, of OpenID Connect
	Version                      string
	Tries                        []Try           // of the demo shop
	Recent                       func() []Login  // newest first
	Queued                       func() []string // outcomes of the next logins, as Outcomes has them
	Faults                       func() []string // that are on: target, kind and value
	Enqueue                      func(outcome string) error
	Forget                       func() // empties the queue
}

// Issuer is the OpenID provider's name for itself.
func (b *Sandbox) Issuer() string { return b.Public + "/auth/open" }

// A Try is a login of the demo shop, with the address of its page.
type Try struct{ Label, URL string }

// A Login is what may be shown of one: nothing personal.
type Login struct {
	At      time.Time
	ID, Ref string
	EID     string
	Outcome string // "started", "finished" or the reason of its failure
}

// An Outcome is a way in which a login can end. Its value is an outcome of the
// control API, perhaps with the eID and the person that it is about:
// "approve;eid=idinage;person=jong".
type Outcome struct{ Value, Label string }

// Outcomes are what the start page can make of the next login.
var Outcomes = []Outcome{
	{"cancel", "Cancel"},
	{"expire", "Time out"},
	{"fail:certificateErr", "Wrong code, three times"},
	{"fail:notSupportedByUserApp", "App too old"},
	{"fail:transactionRiskBlocked", "Stopped for its risk"},
	{"fail:userDeclinedCall", "\"I am not in a call\""},
	{"fail:SO1100;eid=idin", "iDIN bank down"},
	{"fail:no_return;eid=idin", "iDIN bank's page closed"},
	{"approve;eid=idinage;person=jong", "Under 18"},
	{"approve", "Succeed by itself"},
}

func label(outcome string) string {
	for _, o := range Outcomes {
		if o.Value == outcome {
			return o.Label
		}
	}
	return outcome
}

// A Site answers the addresses that Register names.
type Site struct {
	c        Config
	tmpl     *template.Template
	pages    map[string]*page // by path below /docs
	snippets []snippet
}

// New reads templates and documents. Pages are rendered when somebody looks.
func New(c Config) (*Site, error) {
	t, err := web.Templates(template.FuncMap{"label": label, "static": c.Static.Path, "clock": func(t time.Time) string { return t.Format("15:04:05") }}, "site.html")
	if err != nil {
		return nil, err
	}
	s := &Site{c: c, tmpl: t}
	return s, s.read()
}

// Register adds the pages to a listener's handler.
func (s *Site) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.start)
	mux.HandleFunc("GET /docs", s.document)
	mux.HandleFunc("GET /docs/{path...}", s.document)
	if s.c.Sandbox != nil {
		mux.HandleFunc("GET /recent", s.recent)
		mux.Handle("POST /next", http.NewCrossOriginProtection().Handler(http.HandlerFunc(s.next)))
	}
}

// frame is what every page has around it.
type frame struct {
	*Sandbox
	Title    string
	Contact  string
	Body     template.HTML // of a document
	Nav      []group
	Here     string
	Snippets []snippet
	Outcomes []Outcome
	Values   []value
}

type value struct{ Name, Value string }

func (s *Site) show(w http.ResponseWriter, status int, name string, f *frame) {
	f.Sandbox, f.Contact = s.c.Sandbox, s.c.Contact
	var b bytes.Buffer
	if err := s.tmpl.ExecuteTemplate(&b, name, f); err != nil {
		http.Error(w, "This page did not work just now. Try again in a moment.", http.StatusInternalServerError)
		return
	}
	web.Headers(w.Header(), web.Policy{Markup: true})
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser may have gone
}

// start is the first page: how to begin, in a sandbox; whom to ask, in a live
// server.
func (s *Site) start(w http.ResponseWriter, _ *http.Request) {
	if s.c.Sandbox == nil {
		s.show(w, http.StatusOK, "live", &frame{Title: "Nothing to see here"})
		return
	}
	b := s.c.Sandbox
	s.show(w, http.StatusOK, "start", &frame{Title: "Sandbox", Snippets: s.snippets, Outcomes: Outcomes, Values: []value{
		{"Address", b.Public}, {"API key", b.Key}, {"Webhook secret", b.Secret}, {"OpenID issuer", b.Issuer()}, {"Discovery", b.Issuer() + "/.well-known/openid-configuration"},
		{"Client id", b.Client}, {"Client secret", b.ClientSecret}, {"Control API", b.Control + "/sandbox/v1"}}})
}

// recent is the part of the start page that changes by itself.
func (s *Site) recent(w http.ResponseWriter, _ *http.Request) {
	s.show(w, http.StatusOK, "recent", &frame{})
}

// next decides how the next login ends, as the control API does.
func (s *Site) next(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if r.FormValue("forget") != "" {
		s.c.Sandbox.Forget()
	} else if err := s.c.Sandbox.Enqueue(r.FormValue("outcome")); err != nil {
		http.Error(w, "Choose one of the outcomes.", http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/#wrong", http.StatusSeeOther)
}

// local replaces the addresses that documents use by those of this sandbox.
func (s *Sandbox) local(text string) string {
	if s == nil {
		return text
	}
	host := func(address string) string {
		if u, err := url.Parse(address); err == nil {
			return u.Host
		}
		return address
	}
	return strings.NewReplacer("http://localhost:8700", s.Public, "http://localhost:8703", s.Control, "http://localhost:8704", s.Demo,
		"localhost:8700", host(s.Public), "localhost:8703", host(s.Control), "localhost:8704", host(s.Demo)).Replace(text)
}
