// Package hosted shows the pages that a person sees while a session runs.
// Every page is whole without scripts; what a page does is a form that posts,
// and every post answers with 303 to the page. A page works for whoever opens
// it until the first post, which binds the session to that browser.
package hosted

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/cache"
	"eidgate/internal/limit"
	"eidgate/internal/qr"
	"eidgate/web"
)

// A Broker is what the pages need of one.
type Broker interface {
	Look(ctx context.Context, id string, h broker.Handle, br connector.Browser) (*broker.View, error)
	Choose(ctx context.Context, id string, h broker.Handle, br connector.Browser, method string) (*broker.View, error)
	Open(ctx context.Context, id string, h broker.Handle, br connector.Browser, input url.Values, framed bool) (*broker.View, error)
	Act(ctx context.Context, id string, h broker.Handle, br connector.Browser, e connector.Event) (*broker.View, error)
	Away(ctx context.Context, id string, h broker.Handle, pass string) (string, error)
	Cancel(ctx context.Context, id string, h broker.Handle) (*broker.View, error)
	Extend(ctx context.Context, id string, h broker.Handle) (*broker.View, error)
	Speak(ctx context.Context, id string, h broker.Handle, language string) (*broker.View, error)
	Returned(ctx context.Context, env eid.Environment, e eid.EID, in connector.Inbound, h broker.Handle, br connector.Browser) (*broker.View, error)
	Texts(ctx context.Context, id string) (*connector.Texts, error)
}

// A Return is how a session's API sends the browser away at the end.
type Return struct {
	URL     string       // "" stays on the page
	Post    url.Values   // what a form posts to URL; nil for a redirect
	Cookie  *http.Cookie // to set with that; nil for none
	Over    bool         // the party has had its answer, and shall not get it twice
	Message []byte       // JSON for a framing page
	AsText  bool
	Origins []string
}

// Config is what the pages need; all fields but Look, Phone, Faults, Rate and Clock are
// required.
type Config struct {
	Broker Broker
	Leave  func(context.Context, *broker.Session, *broker.Spec) (Return, error)
	Static *web.Static
	Words  *web.Words
	Look   func(account, layout string) Theme // the account's own for ""
	Client func(*http.Request) netip.Addr
	Secure bool            // the public address is https
	Phone  string          // sandbox: address of the virtual phone
	Faults func() []string // sandbox: that are on, so that nobody looks for a forgotten one
	Rate   int             // of pages from one address, in a second, and five times as many at once; 0 for no limits
	Now    func() time.Time
	Clock  func() time.Time // of this machine, for limits, which a sandbox's clock shall not move; default time.Now
	Log    *slog.Logger
}

// Pages answers everything below a session's page.
type Pages struct {
	c       Config
	tmpl    map[string]*template.Template // by language
	layouts *cache.Cache[Layout, drawn]   // of many sessions each
	cookie  string
	cross   *http.CrossOriginProtection
	limits  limits
}

// New reads the templates.
func New(c Config) (*Pages, error) {
	t, err := c.Words.Templates("hosted.html", template.FuncMap{"static": c.Static.Path})
	if err != nil {
		return nil, err
	}
	if c.Look == nil {
		c.Look = func(string, string) Theme { return Theme{} }
	}
	name := "eidgate_b"
	if c.Secure {
		name = "__Host-eidgate_b"
	}
	return &Pages{c: c, tmpl: t, layouts: cache.New[Layout, drawn](maxLayouts), cookie: name, cross: http.NewCrossOriginProtection(),
		limits: newLimits(c.Rate, c.Clock)}, nil
}

// maxForm bounds what a form may post.
const maxForm = 64 << 10

// Serve answers a request for a session's page. rest is what follows the
// page's own address: "" for the page, or one action.
func (p *Pages) Serve(w http.ResponseWriter, r *http.Request, id, rest string) {
	w.Header().Set("Cache-Control", "no-store")
	if wait := p.limits.take(p.c.Client(r), id, rest); wait > 0 {
		p.later(w, r, wait, rest)
		return
	}
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = p.get(w, r, id, rest)
	case http.MethodPost:
		err = p.post(w, r, id, rest)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
		return
	}
	switch {
	case err == nil:
	case errors.Is(err, broker.ErrNotFound):
		p.problem(w, r, http.StatusNotFound, "notfound", "")
	default:
		p.c.Log.ErrorContext(r.Context(), "page failed", "error", err)
		p.problem(w, r, http.StatusInternalServerError, "problem", "./"+query(r))
	}
}

// handle is what the browser shows: its cookie, or the token in q, what the
// address says.
func (p *Pages) handle(r *http.Request, q url.Values) broker.Handle {
	h := broker.Handle{Token: q.Get("w")}
	if c, err := r.Cookie(p.cookie); err == nil && len(c.Value) >= 22 && len(c.Value) <= 64 {
		h.Cookie = c.Value
	}
	if len(h.Token) < 22 || len(h.Token) > 64 {
		h.Token = ""
	}
	return h
}

// Browser is what sends a request, with its handle; one that has none gets one.
// Sessions can be made for it before it has opened a page.
func (p *Pages) Browser(w http.ResponseWriter, r *http.Request) (broker.Handle, connector.Browser) {
	h := p.handle(r, nil)
	if h.Cookie == "" {
		h.Cookie = p.greet(w, r, h)
	}
	return h, p.browser(r, h)
}

// Straight says whether a request is a person's who can be sent to an eID without
// being asked: who opens an address in a window of their own. Browsers say so.
// Previews of links and what fetches ahead do not, and must begin nothing; a
// frame is not where an eID may be shown, nor is the window of another app.
func (p *Pages) Straight(r *http.Request) bool {
	for _, ahead := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} { // the first is the standard's
		if r.Header.Get(ahead) != "" {
			return false
		}
	}
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" && !inApp(r.UserAgent())
}

// Onward sends a browser where its session goes on: back to the party, or to the
// session's page, which shows the rest. To an eID it leads by itself, and not by
// a redirect: the party's page may have posted a form, whose policy knows our
// address and not that of the eID.
func (p *Pages) Onward(w http.ResponseWriter, r *http.Request, v *broker.View) error {
	to := v.Spec.Page
	switch {
	case r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Dest") == "iframe": // as with a form; and a frame has no other way
	case v.Place == broker.AtStep:
		if _, away := v.Step.(connector.Redirect); away {
			to += "?go=1"
		}
	case v.Place == broker.AtEnd:
		leave, err := p.c.Leave(r.Context(), &v.Session, &v.Spec)
		if err != nil {
			return err
		}
		if leave.URL != "" && leave.Post == nil {
			to = leave.URL
			if leave.Cookie != nil {
				http.SetCookie(w, leave.Cookie)
			}
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

func secret() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// greet gives a browser that has no cookie one. A framed page gets one that is
// kept apart for each framing site.
func (p *Pages) greet(w http.ResponseWriter, r *http.Request, h broker.Handle) (value string) {
	if h.Cookie != "" {
		return h.Cookie
	}
	c := &http.Cookie{Name: p.cookie, Value: secret(), Path: "/", HttpOnly: true, Secure: p.c.Secure, SameSite: http.SameSiteLaxMode, //nolint:gosec // Secure wherever the public address is https
		MaxAge: int((365 * 24 * time.Hour).Seconds())}
	if p.c.Secure && framed(r) {
		c.SameSite, c.Partitioned = http.SameSiteNoneMode, true
	}
	http.SetCookie(w, c)
	return c.Value
}

func framed(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Dest") == "iframe" || params(r).Has("w")
}

// browser is what is known of the person's browser.
func (p *Pages) browser(r *http.Request, h broker.Handle) connector.Browser {
	ua := r.UserAgent()
	b := connector.Browser{Addr: p.c.Client(r), Agent: ua[:min(len(ua), 512)], Language: p.c.Words.Choose(r.Header.Get("Accept-Language"))}
	switch {
	case strings.Contains(ua, "iPhone"), strings.Contains(ua, "iPad"), strings.Contains(ua, "iPod"):
		b.Device = connector.IOS
	case strings.Contains(ua, "Android"):
		b.Device = connector.Android
	case strings.Contains(ua, "Windows"), strings.Contains(ua, "Macintosh"), strings.Contains(ua, "X11"), strings.Contains(ua, "CrOS"):
		b.Device = connector.Desktop
	}
	if h.Cookie != "" {
		b.ID = fingerprint(h.Cookie)
	}
	return b
}

// get shows the page or one of its parts; it changes nothing.
func (p *Pages) get(w http.ResponseWriter, r *http.Request, id, rest string) error {
	q := params(r)
	h := p.handle(r, q)
	if rest == "go" {
		return p.away(w, r, id, h)
	}
	v, err := p.c.Broker.Look(r.Context(), id, h, p.browser(r, h))
	if err != nil {
		return err
	}
	p.limits.show(p.c.Client(r), id)
	switch rest {
	case "":
		p.greet(w, r, h)
		return p.page(w, r, v)
	case "status":
		return p.status(w, r, v, q)
	case "qr.svg":
		return p.code(w, r, v)
	case "frame":
		return p.frame(w, r, v)
	}
	return broker.ErrNotFound
}

// away sends a browser to an eID whose addresses work once: each gets one of its
// own. Whoever cannot go there sees the page.
func (p *Pages) away(w http.ResponseWriter, r *http.Request, id string, h broker.Handle) error {
	to, err := p.c.Broker.Away(r.Context(), id, h, params(r).Get("pass"))
	if err != nil {
		return err
	}
	if to == "" {
		to = "./" + query(r)
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// post does what a form asks and shows the page again.
func (p *Pages) post(w http.ResponseWriter, r *http.Request, id, rest string) error {
	if err := p.cross.Check(r); err != nil {
		p.problem(w, r, http.StatusForbidden, "foreign", "./"+query(r))
		return nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.problem(w, r, http.StatusBadRequest, "unreadable", "./"+query(r))
		return nil
	}
	h := p.handle(r, params(r))
	token := ""
	if h.Cookie == "" && h.Token == "" { // cookies are blocked: the address carries the handle from now on
		token = secret()
		h.Token = token
	}
	br, ctx := p.browser(r, h), r.Context()
	var next, now *broker.View // now is how it stands; next too, where the person goes on
	var err error
	switch rest {
	case "start":
		next, err = p.c.Broker.Open(ctx, id, h, br, r.PostForm, framed(r))
		now = next
	case "choose":
		method := r.PostForm.Get("method")
		now, err = p.c.Broker.Choose(ctx, id, h, br, method)
		switch {
		case errors.Is(err, broker.ErrMove): // pressed twice: the first time has begun it
			if now, err = p.c.Broker.Look(ctx, id, h, br); err == nil && now.Session.Method == method {
				next = now
			}
		case err == nil && !inApp(r.UserAgent()):
			if input, ok := now.Straight(); ok { // who has chosen need not say so twice
				next, err = p.c.Broker.Open(ctx, id, h, br, input, framed(r))
				now = next
			}
		}
	case "submit", "returned":
		next, err = p.c.Broker.Act(ctx, id, h, br, connector.Submitted{Values: r.PostForm})
		now = next
	case "cancel":
		now, err = p.c.Broker.Cancel(ctx, id, h)
	case "extend":
		now, err = p.c.Broker.Extend(ctx, id, h)
	case "language":
		if lang := r.PostForm.Get("language"); p.c.Words.Choose("", lang) == lang {
			now, err = p.c.Broker.Speak(ctx, id, h, lang)
		}
	default:
		return broker.ErrNotFound
	}
	if err != nil && !errors.Is(err, broker.ErrMove) {
		return err
	}
	q := url.Values{}
	switch old := params(r).Get("w"); {
	case now != nil && now.Place == broker.AtElsewhere:
	case token != "":
		q.Set("w", token)
	case old != "":
		q.Set("w", old)
	}
	// The page goes on by itself, once: a redirect from here would have to be
	// allowed by the form's policy, which knows neither the eID's address nor
	// where the party leads on to from its own.
	if next != nil && next.Place == broker.AtStep {
		if _, away := next.Step.(connector.Redirect); away {
			q.Set("go", "1")
		}
	}
	if now != nil && now.Place == broker.AtEnd && r.Header.Get("Sec-Fetch-Mode") == "navigate" { // programs follow redirects instead
		q.Set("go", "1")
	}
	to := "./"
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// Return answers a browser that an eID sends back. The one that holds the
// session goes to its page; another one is told where it has landed.
func (p *Pages) Return(w http.ResponseWriter, r *http.Request, env eid.Environment, e eid.EID) {
	w.Header().Set("Cache-Control", "no-store")
	if wait := p.limits.takeReturn(p.c.Client(r)); wait > 0 {
		w.Header().Set("Retry-After", limit.RetryAfter(wait))
		p.problem(w, r, http.StatusTooManyRequests, "busy", r.URL.RequestURI())
		return
	}
	if r.Method == http.MethodPost {
		if err := p.cross.Check(r); err != nil {
			p.problem(w, r, http.StatusForbidden, "foreign", "")
			return
		}
	}
	h := p.handle(r, nil) // an eID's address carries no token of ours
	v, err := p.c.Broker.Returned(r.Context(), env, e, connector.Inbound{Method: r.Method, Query: r.URL.Query()}, h, p.browser(r, h))
	switch {
	case errors.Is(err, broker.ErrNotFound):
		p.problem(w, r, http.StatusNotFound, "notfound", "")
	case err != nil:
		p.c.Log.ErrorContext(r.Context(), "return failed", "error", err)
		p.problem(w, r, http.StatusInternalServerError, "problem", r.URL.RequestURI())
	case v.Place == broker.AtLanding && r.Method == http.MethodPost:
		w.Header().Set("Location", r.URL.RequestURI())
		w.WriteHeader(http.StatusSeeOther)
	case v.Place == broker.AtLanding:
		if err := p.page(w, r, v); err != nil {
			p.c.Log.ErrorContext(r.Context(), "page failed", "error", err)
		}
	case v.Place == broker.AtEnd:
		if err := p.Onward(w, r, v); err != nil {
			p.c.Log.ErrorContext(r.Context(), "return failed", "error", err)
			p.problem(w, r, http.StatusInternalServerError, "problem", v.Spec.Page)
		}
	default: // one whom an eID awaits again is asked first, or they might be sent to and fro
		w.Header().Set("Location", v.Spec.Page)
		w.WriteHeader(http.StatusSeeOther)
	}
}

// code is the frame of this second.
func (p *Pages) code(w http.ResponseWriter, r *http.Request, v *broker.View) error {
	wait, ok := v.Step.(connector.Wait)
	if !ok || wait.QR == "" {
		w.WriteHeader(http.StatusGone)
		return nil
	}
	svg, err := qr.SVG(wait.QR, p.c.Words.Say(p.language(r, v), "qr.alt"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'self'")
	web.WritePlain(w, r, "image/svg+xml", svg)
	return nil
}

// frame shows the code alone, anew each second: to browsers without scripts,
// and enlarged.
func (p *Pages) frame(w http.ResponseWriter, r *http.Request, v *broker.View) error {
	web.Headers(w.Header(), web.Policy{Frames: append([]string{"'self'"}, v.Spec.Frames...)})
	lang := p.language(r, v)
	l := &Layout{words: p.c.Words, Lang: lang, Title: p.c.Words.Say(lang, "qr.alt"), Query: query(r), View: "bare"}
	if params(r).Has("big") {
		l.View = "big"
	}
	var b bytes.Buffer
	if err := p.tmpl[lang].ExecuteTemplate(&b, "frame", l); err != nil {
		return err
	}
	return send(w, &b)
}

// params is what an address says behind its path: mostly nothing.
func params(r *http.Request) url.Values {
	if r.URL.RawQuery == "" {
		return nil
	}
	return r.URL.Query()
}

// query keeps the handle of a page without cookies in every address.
func query(r *http.Request) string {
	if t := params(r).Get("w"); t != "" {
		return "?w=" + url.QueryEscape(t)
	}
	return ""
}

func (p *Pages) language(r *http.Request, v *broker.View) string {
	return p.c.Words.Choose(r.Header.Get("Accept-Language"), v.Session.Language)
}
