// Package zignsec offers the v2 eID API of ZignSec, so that a program written
// for it moves here by changing host and key. docs/apis/zignsec.md describes
// the API; § in comments refers to that file.
package zignsec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/limit"
	"eidgate/relying"
)

// Name is what sessions of this API carry.
const Name = "zignsec2"

// A Broker is what the API needs of one.
type Broker interface {
	Create(ctx context.Context, n broker.NewSession) (*broker.Session, error)
	Begin(ctx context.Context, n broker.NewSession, br connector.Browser, input url.Values) (*broker.View, error)
	Session(ctx context.Context, account string, env eid.Environment, id string) (*broker.Session, error)
	Spec(ctx context.Context, s *broker.Session) (*broker.Spec, error)
	Result(ctx context.Context, s *broker.Session, key string) (*eid.Identity, []eid.Evidence, error)
	ByRef(ctx context.Context, account string, env eid.Environment, e eid.EID, ref connector.Ref) (*broker.Session, error)
	Refs(ctx context.Context, session string) ([]connector.Ref, error)
	Look(ctx context.Context, id string, h broker.Handle, br connector.Browser) (*broker.View, error)
	Cancel(ctx context.Context, id string, h broker.Handle) (*broker.View, error)
	Withdraw(ctx context.Context, id, key string) error
	Identity(ctx context.Context, s *broker.Session, key string, evidence bool) (*eid.Identity, []eid.Evidence, broker.Audit, error)
	Note(ctx context.Context, id, kind string, lines ...broker.Audit) (first bool, err error)
}

// Config is what an API needs; all fields but Clock and DemoKey are required.
type Config struct {
	Broker   Broker
	Accounts relying.Directory
	Has      func(*relying.Account, eid.Environment, eid.EID) bool // whether an eID is configured for an account
	Public   string                                                // address of the hosted pages, no slash at the end
	// CheckURL refuses addresses that may not be used; those for browsers may
	// have any port.
	CheckURL func(env eid.Environment, raw string, browser bool) (*url.URL, error)
	Client   func(*http.Request) netip.Addr
	// Security counts what should not happen: "client_auth".
	Security func(kind string)
	Now      func() time.Time
	Clock    func() time.Time // of this machine, for limits, which a sandbox's clock shall not move; default time.Now
	NewID    func() string
	Log      *slog.Logger
	// Marker says why a sandbox's marker in "custom" cannot be followed; nil where
	// nobody acts on one.
	Marker func(text string) error
	// NoMail: the server has no relay, so that webhook_email comes to nothing.
	NoMail bool
	// DemoKey is the key that everybody knows, of a sandbox, where a refusal
	// says what is wrong with a key; "" for any other server.
	DemoKey string
}

// An API answers the calls of relying parties' servers.
type API struct {
	c                             Config
	polls, reads, setups, guesses *limit.Limiter
}

// Limits (§16). Those of a key are the account's, where it has its own.
var (
	pollRate  = limit.Rate{PerSecond: 2, Burst: 5}          // of one session's result
	readRate  = limit.Rate{PerSecond: 200, Burst: 400}      // of results with one key
	setupRate = limit.Rate{PerSecond: 50, Burst: 100}       // of sessions with one key
	guessRate = limit.Rate{PerSecond: 10.0 / 60, Burst: 10} // of unknown keys from one address
)

// New makes an API.
func New(c Config) *API {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return &API{c: c, polls: limit.New(1 << 16), reads: limit.New(1 << 12), setups: limit.New(1 << 12), guesses: limit.New(1 << 14)}
}

// take lets a caller come once; perSecond replaces the rate if it is not 0.
func (a *API) take(l *limit.Limiter, who string, r limit.Rate, perSecond int, refused error) error {
	if wait := l.Take(who, r.Or(perSecond), a.c.Clock()); wait > 0 {
		return &limit.Exceeded{Err: refused, After: wait}
	}
	return nil
}

type caller = relying.Caller

// ServeHTTP answers everything below /v2 but the hosted pages. Paths are
// read without regard to case, doubled slashes and a slash at the end. No
// other site's script may call it: a key does not belong into a browser.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	path, third := segments(r.URL.Path)
	find := a.find
	if third {
		find = a.find3
	}
	c, err := a.serve(w, r, find(path))
	if err == nil {
		return
	}
	p := problemOf(err)
	if p == nil {
		a.c.Log.ErrorContext(r.Context(), "api call failed", "api", Name, "error", err)
		p = &problem{status: http.StatusInternalServerError,
			wireError: wireError{"Internal Exception", "An error of this server. Its log has more, under the X-Trace-Id of this answer."}}
	}
	if p.id == "" {
		p.id = a.c.NewID()
	}
	if c.Account != nil {
		a.c.Log.InfoContext(r.Context(), "api call refused", "api", Name, "account", c.Account, "id", p.id, "code", p.Code, "status", p.status)
	}
	a.refuse(w, c, p, err, third, len(path) > 0 && path[0] == "eid" && r.Method == http.MethodPost)
}

// serve lets the one endpoint of a path do its work.
func (a *API) serve(w http.ResponseWriter, r *http.Request, e endpoint) (caller, error) {
	if e == nil {
		return caller{}, errPath
	}
	c, err := a.authenticate(r)
	if err != nil {
		return caller{}, err
	}
	call, ok := e[r.Method]
	if !ok {
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(e)), ", "))
		return c, errMethod
	}
	return c, call(w, r, c)
}

// refuse writes what a caller gets instead of an answer. That of a setup has
// its shape, with an id that the log knows (§6.3).
func (a *API) refuse(w http.ResponseWriter, c caller, p *problem, err error, third, setup bool) {
	h := w.Header()
	h.Set("X-Eidgate-Error", p.Code)
	if t, ok := errors.AsType[*limit.Exceeded](err); ok {
		h.Set("Retry-After", limit.RetryAfter(t.After))
	}
	status := p.status
	if c.Account != nil && c.Account.Switches.LegacyErrorStatus && status >= 400 && status < 500 && status != 401 && status != 404 {
		status = http.StatusOK
	}
	if setup && third {
		write(w, status, setupAnswer3{ID: p.id, Errors: []wireError{p.wireError}})
		return
	}
	if setup {
		write(w, status, setupAnswer{ID: p.id, Errors: []wireError{p.wireError}})
		return
	}
	write(w, status, plainAnswer{ID: p.id, Errors: []wireError{p.wireError}})
}

// plainAnswer is what every answer has at least.
type plainAnswer struct {
	ID     string      `json:"id"`
	Errors []wireError `json:"errors"`
}

// segments are the parts of a path, in lower case, and whether it is one of
// the third generation.
func segments(path string) (out []string, third bool) {
	for s := range strings.SplitSeq(strings.ToLower(path), "/") {
		if s != "" {
			out = append(out, s)
		}
	}
	if len(out) > 0 && (out[0] == "v2" || out[0] == "v3") {
		third, out = out[0] == "v3", out[1:]
	}
	return out, third
}

// An endpoint is what a path can do, by HTTP method.
type endpoint map[string]func(http.ResponseWriter, *http.Request, caller) error

// find is what stands at a path; nil if there is nothing.
func (a *API) find(path []string) endpoint {
	with := func(f func(http.ResponseWriter, *http.Request, caller, string) error, arg string) func(http.ResponseWriter, *http.Request, caller) error {
		return func(w http.ResponseWriter, r *http.Request, c caller) error { return f(w, r, c, arg) }
	}
	switch {
	case len(path) == 2 && path[0] == "eid":
		return endpoint{http.MethodPost: with(a.create, path[1]), http.MethodGet: with(a.result, path[1])}
	case len(path) == 3 && path[0] == "eid": // smartid/auth
		return endpoint{http.MethodPost: with(a.create, path[1]+"/"+path[2])}
	case len(path) == 2 && path[0] == "bankidse":
		switch path[1] {
		case "authenticate":
			return endpoint{http.MethodPost: with(a.start, "sbid-another")}
		case "sign":
			return endpoint{http.MethodPost: with(a.start, "sbid-sign")}
		case "collect":
			return endpoint{http.MethodGet: a.collect}
		case "cancel":
			return endpoint{http.MethodPost: a.cancel}
		}
	}
	return nil
}

// authenticate reads the bare token of the Authorization header (§2.1). A
// known one is accepted however many unknown ones its address has sent, so
// that nobody can lock its owner out.
func (a *API) authenticate(r *http.Request) (caller, error) {
	token := strings.TrimSpace(r.Header.Get("Authorization"))
	if len(token) > 7 && strings.EqualFold(token[:7], "bearer ") {
		token = strings.TrimSpace(token[7:])
	}
	c, err := caller{}, relying.ErrUnknown
	if len(token) == 36 {
		c, err = a.c.Accounts.Caller(r.Context(), token)
	}
	switch {
	case errors.Is(err, relying.ErrUnknown):
		a.c.Security("client_auth")
		if err := a.take(a.guesses, limit.Address(a.c.Client(r)), guessRate, 0, errGuesses); err != nil {
			return c, err
		}
		if a.c.DemoKey != "" {
			return c, &problem{status: http.StatusUnauthorized, wireError: wireError{"INVALID_APPID", a.unknown(r, token)}}
		}
		return c, relying.ErrUnknown
	case err != nil:
		return c, err
	case !addressAllowed(c.Account.AllowedIPs, a.c.Client(r)):
		a.c.Security("client_auth")
		return c, errIP
	}
	return c, nil
}

// addressAllowed reads Allowed_IPs (§2.1). An item that is none lets nobody in.
func addressAllowed(list string, addr netip.Addr) bool {
	if strings.TrimSpace(list) == "" {
		return true
	}
	for item := range strings.SplitSeq(list, ";") {
		if in, ok := inItem(strings.TrimSpace(item), addr); ok && in {
			return true
		}
	}
	return false
}

// BadAddress is the first item of an account's allowed addresses that is none;
// "" if all are.
func BadAddress(list string) string {
	for item := range strings.SplitSeq(list, ";") {
		item = strings.TrimSpace(item)
		if _, ok := inItem(item, netip.Addr{}); !ok && item != "" {
			return item
		}
	}
	return ""
}

// inItem reads one item of the grammar: an address, CIDR, address/mask or a
// range. It is not ok if it is none of them.
func inItem(item string, addr netip.Addr) (in, ok bool) {
	from, to, isRange := strings.Cut(item, "-")
	base, mask, isMask := strings.Cut(item, "/")
	switch {
	case isRange:
		low, err1 := netip.ParseAddr(strings.TrimSpace(from))
		high, err2 := netip.ParseAddr(strings.TrimSpace(to))
		ok = err1 == nil && err2 == nil && low.Is4() == high.Is4() && low.Compare(high) <= 0
		return ok && low.Compare(addr) <= 0 && addr.Compare(high) <= 0 && low.Is4() == addr.Is4(), ok
	case isMask && strings.Contains(mask, "."):
		b, err1 := netip.ParseAddr(base)
		m, err2 := netip.ParseAddr(mask)
		ok = err1 == nil && err2 == nil && b.Is4() && m.Is4()
		return ok && addr.Is4() && masked(b, m) == masked(addr, m), ok
	case isMask:
		p, err := netip.ParsePrefix(item)
		return p.Contains(addr), err == nil
	default:
		one, err := netip.ParseAddr(item)
		return one == addr && err == nil, err == nil
	}
}

func masked(a, mask netip.Addr) [4]byte {
	x, m := a.As4(), mask.As4()
	for i := range x {
		x[i] &= m[i]
	}
	return x
}

func write(w http.ResponseWriter, status int, v any) {
	raw, err := marshal(v)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"id":null,"errors":[{"code":"Internal Exception","description":"An error of this server."}]}`)
	}
	send(w, status, raw)
}

func send(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone
}

// marshal writes JSON as it is, without escapes for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
