// Package demorp is a small shop that relies on eidgate, over the ZignSec API
// and over OpenID Connect. It is ordinary code of a relying party: it knows an
// address and its own secrets, and uses the public APIs and the standard
// library, nothing of eidgate's own packages. docs/start.md and
// docs/apis/oidc.md explain what it does.
//
// A program that need not show every message and every check leaves OpenID
// Connect to a library, as docs/apis/oidc.md does.
package demorp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed shop.html oidc.html shop.css shop.js
var files embed.FS

// Shop is the relying party. Broker and Self are required, and of the secrets
// those of the API that is used.
type Shop struct {
	Broker       string           // address of eidgate, no slash at the end
	Self         string           // address of the shop, no slash at the end
	Key          string           // API key
	Secret       string           // webhook secret, "whsec_…"
	Client       string           // client_id
	ClientSecret string           // client_secret
	Phone        string           // address of the sandbox's phone; "" where there is none
	Faults       func() []string  // of the sandbox, that are on; nil where it cannot be asked
	Now          func() time.Time // nil for the machine's clock
	HTTP         *http.Client     // nil for the usual one

	mu      sync.Mutex
	visits  []*visit  // oldest first, at most maxVisits; with logins the only place with personal data
	logins  []*login  // likewise
	seen    []string  // ids of webhooks that were used, at most maxSeen
	refused []refusal // newest first, at most maxRefused
}

const (
	cookieName = "demoshop"
	maxVisits  = 100
	maxSeen    = 1000
	maxRefused = 10
	maxBody    = 1 << 20 // bytes of an answer or a webhook
)

// A visit is one login or signature, from the setup to the last webhook.
type visit struct {
	state   string // random; travels through the browser as relaystate
	browser string // cookie of the browser that started
	ID      string // the session's
	URL     string // where the browser was sent
	Frame   bool   // in an iframe of ours
	number  string // personal number that was asked for
	age     bool   // it was asked whether the person is 18 or older

	Calls    []exchange
	Returned bool // the browser came back with our state
	Result   *result
	Hooked   bool // a webhook that is genuine came
}

// result is what we use of an answer of GET /v2/eid/{id}.
type result struct {
	ID       string
	Errors   []struct{ Code, Description string }
	URL      string `json:"redirect_url"` // of a setup
	Identity *identity
	Binding  string
	Result   struct{ Identity struct{ State string } } // PENDING, FINISHED or ERROR
}

type identity struct {
	FullName, PersonalNumber, DateOfBirth string
	AgeApproved                           *bool // of an age check, which tells nothing else
}

// Adult is "yes" or "no" after an age check, else "".
func (i *identity) Adult() string {
	switch {
	case i == nil || i.AgeApproved == nil:
		return ""
	case *i.AgeApproved:
		return "yes"
	}
	return "no"
}

// An exchange is a request and its answer, for the page.
type exchange struct {
	Title, Request, Answer string
	Same, How              string // the same once more, and what that is
	Came                   bool   // to us, instead of from us
	Status                 int
	Notes                  []check
}

const withCurl = "The same with curl"

// A check is something that a relying party must make sure of. The verdict is
// "yes", "no" or "not yet".
type check struct{ Verdict, Text string }

func verdict(known, ok bool, text string) check {
	if !known {
		return check{"not yet", text}
	}
	return check{map[bool]string{true: "yes", false: "no"}[ok], text}
}

// Handler answers the shop's pages and eidgate's webhooks. Requests of other
// sites' pages are refused; webhooks come from no page.
func (s *Shop) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]http.HandlerFunc{"GET /{$}": s.home, "POST /login": s.login, "GET /frame": s.frame, "GET /done": s.done, "POST /hook": s.hook,
		"GET /oidc": s.oidcHome, "GET /oidc/login": s.oidcLogin, "POST /oidc/login": s.oidcLogin, "GET /oidc/callback": s.callback,
		"POST /oidc/callback": s.posted, "POST /oidc/logout": s.logout, "GET /oidc/bye": s.bye} {
		mux.HandleFunc(pattern, f)
	}
	for _, name := range []string{"shop.css", "shop.js"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, name) })
	}
	cross := http.NewCrossOriginProtection()
	cross.AddInsecureBypassPattern("POST /oidc/callback") // eidgate's page posts there, and the state is a secret
	return cross.Handler(mux)
}

func (s *Shop) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// browser is the cookie of the browser that asks.
func browser(r *http.Request) string {
	if c, err := r.Cookie(cookieName); err == nil {
		return c.Value
	}
	return ""
}

// greet gives a browser a cookie, or the one again that it has.
func (s *Shop) greet(w http.ResponseWriter, r *http.Request) string {
	value := cmp.Or(browser(r), rand.Text())
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, //nolint:gosec // plain http is for a developer's machine
		Secure: strings.HasPrefix(s.Self, "https:")})
	return value
}

// find looks a visit of this browser up; what another browser started does
// not exist for it.
func (s *Shop) find(r *http.Request, is func(*visit) bool) *visit {
	b := browser(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range slices.Backward(s.visits) {
		if b != "" && v.browser == b && is(v) {
			return v
		}
	}
	return nil
}

// login sets a session up and sends the browser there.
func (s *Shop) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	method := r.FormValue("method")
	v := &visit{state: rand.Text(), browser: s.greet(w, r), Frame: r.FormValue("open") == "frame",
		number: strings.ReplaceAll(r.FormValue("personalnumber"), "-", ""), age: method == "idin_age"}
	form := url.Values{"target": {s.Self + "/done"}, "webhook": {s.Self + "/hook"}, "relaystate": {v.state}}
	if r.FormValue("act") == "sign" {
		method = "sbid-sign"
		form.Set("userVisibleData", base64.StdEncoding.EncodeToString([]byte("I buy one lamp from Demo shop for 100 kr.")))
		v.number = cmp.Or(v.number, "199001012385") // a signature names who signs: ada, a person of the sandbox
	}
	for name, value := range map[string]string{"personalnumber": v.number, "language": r.FormValue("language"), "configid": r.FormValue("configid")} {
		if value != "" {
			form.Set(name, value)
		}
	}
	out, call := s.call(r.Context(), http.MethodPost, "/v2/eid/"+url.PathEscape(method), form)
	v.Calls = []exchange{call}
	s.mu.Lock()
	s.visits = append(s.visits, v)
	s.visits = s.visits[max(0, len(s.visits)-maxVisits):]
	if v.Result = out; out != nil && out.URL != "" {
		v.ID, v.URL, v.Result = out.ID, out.URL, nil
	}
	s.mu.Unlock()
	switch {
	case v.URL == "":
		http.Redirect(w, r, "/#result", http.StatusSeeOther)
	case v.Frame:
		http.Redirect(w, r, "/frame?relaystate="+v.state, http.StatusSeeOther)
	default:
		http.Redirect(w, r, v.URL, http.StatusSeeOther)
	}
}

// call asks eidgate's API. The result is nil without an answer that can be
// read.
func (s *Shop) call(ctx context.Context, method, path string, form url.Values) (out *result, x exchange) {
	raw, x := s.ask(ctx, method, s.Broker+path, form, secret{header: s.Key, shown: "(the key)", curl: ` -H "Authorization: $EIDGATE_KEY"`})
	if json.Unmarshal(raw, &out) != nil {
		return nil, x
	}
	return out, x
}

// A secret is what proves who asks, and how it is shown.
type secret struct{ header, shown, curl string }

// ask sends a request, and notes what was said. Without an answer, or with one
// that ends too early, there are no bytes.
func (s *Shop) ask(ctx context.Context, method, address string, form url.Values, by secret) (raw []byte, x exchange) {
	path := strings.TrimPrefix(address, s.Broker)
	x = exchange{Title: method + " " + path, Request: method + " " + path + "\n", How: withCurl, Same: "curl -s " + quote(address) + by.curl}
	if by.shown != "" {
		x.Request += "Authorization: " + by.shown + "\n"
	}
	x.Request += lines(form)
	for _, name := range slices.Sorted(maps.Keys(form)) {
		x.Same += " \\\n  --data-urlencode " + quote(name+"="+form.Get(name))
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		x.Answer = err.Error()
		return nil, x
	}
	if by.header != "" {
		req.Header.Set("Authorization", by.header)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := cmp.Or(s.HTTP, http.DefaultClient).Do(req)
	if err != nil {
		x.Answer = err.Error()
		return nil, x
	}
	defer res.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(res.Body, maxBody))
	x.Status, x.Answer = res.StatusCode, pretty(raw)
	if err != nil {
		return nil, x
	}
	return raw, x
}

// lines are the fields of a form, one a line.
func lines(form url.Values) (out string) {
	for _, name := range slices.Sorted(maps.Keys(form)) {
		out += "\n" + name + "=" + form.Get(name)
	}
	return out
}

// done is where the browser comes back. What it says is a hint: the visit must
// be one of this browser, and the result is read by our own server. A page of
// ours that has heard of the end from a frame or a pop-up brings the session's
// id instead of our state.
func (s *Shop) done(w http.ResponseWriter, r *http.Request) {
	v := s.find(r, func(v *visit) bool {
		return v.ID != "" && (v.state == r.FormValue("relaystate") || v.ID == r.FormValue("token"))
	})
	if v == nil {
		s.show(w, http.StatusForbidden, &view{Stranger: true})
		return
	}
	out, call := s.call(r.Context(), http.MethodGet, "/v2/eid/"+v.ID, nil)
	s.mu.Lock()
	v.Returned = true
	v.Calls = append(v.Calls, call)
	v.Calls = v.Calls[max(0, len(v.Calls)-10):]
	if out != nil && out.ID == v.ID {
		v.Result = out
	}
	s.visits = append(slices.DeleteFunc(s.visits, func(x *visit) bool { return x == v }), v) // what / shows
	s.mu.Unlock()
	http.Redirect(w, r, "/#result", http.StatusSeeOther)
}

// checks are those that a relying party must make before it believes a visit.
func (v *visit) checks() []check {
	r := v.Result
	ended := r != nil && r.Result.Identity.State != "PENDING"
	out := []check{
		verdict(v.Returned, v.Returned, "The state that came back is the one we made, and this is the browser that started."),
		verdict(r != nil, r != nil, "Our own server read the result, with our key. Nothing was taken from the browser."),
		verdict(ended, ended && r.Result.Identity.State == "FINISHED" && len(r.Errors) == 0, "The result says FINISHED and has no errors."),
		verdict(v.Hooked, v.Hooked, "A webhook came: its signatures are valid, it is fresh, and we had not seen it before."),
	}
	if v.age {
		out = append(out, verdict(ended, ended && r.Identity.Adult() == "yes",
			"AgeApproved is true. FINISHED alone says that an answer came, which may be no."))
	}
	if v.number != "" {
		out = append(out, verdict(ended, ended && r.Identity != nil && strings.HasSuffix(r.Identity.PersonalNumber, v.number),
			"The person is the one whose number we sent."))
	}
	return out
}

// view is what the page shows.
type view struct {
	Shop     *Shop
	Origin   string // eidgate's, for messages of its pages
	Method   string
	Config   string
	Visit    *visit
	Checks   []check
	Refused  []refusal
	Framed   bool // we are in our own frame
	Embed    bool // show the frame
	Stranger bool

	OIDC    bool // the pages of OpenID Connect
	Login   *login
	Leaving bool   // on the way to the provider's logout
	State   string // that comes back from there
	Scopes  []scope
}

var page = template.Must(template.ParseFS(files, "shop.html", "oidc.html"))

// elsewhere leads a browser to the shop's own name: the cookie must be there
// when it comes back.
func (s *Shop) elsewhere(w http.ResponseWriter, r *http.Request) bool {
	self, err := url.Parse(s.Self)
	if err != nil || r.Host == self.Host {
		return false
	}
	http.Redirect(w, r, s.Self+r.URL.RequestURI(), http.StatusSeeOther)
	return true
}

func (s *Shop) home(w http.ResponseWriter, r *http.Request) {
	if s.elsewhere(w, r) {
		return
	}
	s.show(w, http.StatusOK, &view{Method: r.FormValue("method"), Config: r.FormValue("configid"), Framed: r.Header.Get("Sec-Fetch-Dest") == "iframe",
		Visit: s.find(r, func(*visit) bool { return true })})
}

// frame shows eidgate's page in a frame of ours.
func (s *Shop) frame(w http.ResponseWriter, r *http.Request) {
	v := s.find(r, func(v *visit) bool { return v.Frame && v.state == r.FormValue("relaystate") })
	s.show(w, map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[v != nil], &view{Embed: v != nil, Visit: v, Stranger: v == nil})
}

func (s *Shop) show(w http.ResponseWriter, status int, v *view) {
	v.Shop, v.Scopes = s, scopes
	if u, err := url.Parse(s.Broker); err == nil {
		v.Origin = u.Scheme + "://" + u.Host
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "+
		"frame-ancestors 'self'; frame-src 'self' "+v.Origin+"; form-action 'self' "+v.Origin)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	var b bytes.Buffer
	s.mu.Lock()
	if v.Refused = s.refused; v.Visit != nil {
		v.Checks = v.Visit.checks()
	}
	err := page.Execute(&b, v)
	s.mu.Unlock()
	if err != nil {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser may have gone
}

// quote makes one word of a shell's command line.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// pretty indents JSON and leaves what is none.
func pretty(raw []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}
