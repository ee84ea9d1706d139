// Package zignsec offers the v2 eID API of ZignSec, so that a program written
// for it moves here by changing host and key. docs/apis/zignsec.md describes
// the API; § in comments refers to that file.
package zignsec

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/relying"
)

// Name is what sessions of this API carry.
const Name = "zignsec2"

// A Broker is what the API needs of one.
type Broker interface {
	Create(ctx context.Context, n broker.NewSession) (*broker.Session, error)
	Session(ctx context.Context, account string, env eid.Environment, id string) (*broker.Session, error)
	Spec(ctx context.Context, s *broker.Session) (*broker.Spec, error)
	Result(ctx context.Context, s *broker.Session) (*eid.Identity, []eid.Evidence, error)
	ByRef(ctx context.Context, account string, env eid.Environment, e eid.EID, ref connector.Ref) (*broker.Session, error)
	Refs(ctx context.Context, session string) ([]connector.Ref, error)
	Look(ctx context.Context, id string, h broker.Handle, br connector.Browser) (*broker.View, error)
	Open(ctx context.Context, id string, h broker.Handle, br connector.Browser, input url.Values, framed bool) (*broker.View, error)
	Cancel(ctx context.Context, id string, h broker.Handle) (*broker.View, error)
	Note(ctx context.Context, id, kind string) (first bool, err error)
}

// Config is what an API needs; all fields are required.
type Config struct {
	Broker   Broker
	Accounts relying.Directory
	Has      func(*relying.Account, eid.Environment, eid.EID) bool // whether an eID is configured for an account
	Public   string                                                // address of the hosted pages, no slash at the end
	CheckURL func(env eid.Environment, raw string) error
	Client   func(*http.Request) netip.Addr
	Now      func() time.Time
	NewID    func() string
	Log      *slog.Logger
}

// An API answers the calls of relying parties' servers.
type API struct {
	c    Config
	rate rate
}

// New makes an API.
func New(c Config) *API { return &API{c: c, rate: rate{seen: map[string]time.Time{}}} }

type caller = relying.Caller

// ServeHTTP answers everything below /v2 but the hosted pages. Paths are
// read without regard to case, doubled slashes and a slash at the end.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if r.MultipartForm != nil {
			_ = r.MultipartForm.RemoveAll() // best effort
		}
	}()
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	err := a.route(w, r, segments(r.URL.Path))
	if err == nil {
		return
	}
	p := problemOf(err)
	if p == nil {
		a.c.Log.ErrorContext(r.Context(), "api call failed", "api", Name, "error", err)
		p = &problem{http.StatusInternalServerError, wireError{"Internal Exception", "An error of this server. The log has it under the trace id of this answer."}}
	}
	h.Set("X-Eidgate-Error", p.Code)
	status := p.status
	if c, ok := callerOf(r); ok && c.Account.Switches.LegacyErrorStatus && status >= 400 && status < 500 && status != 401 && status != 404 {
		status = http.StatusOK
	}
	if p.status == http.StatusTooManyRequests {
		h.Set("Retry-After", "1")
	}
	write(w, status, setupAnswer{ID: a.c.NewID(), Errors: []wireError{p.wireError}})
}

// segments are the parts of a path, in lower case.
func segments(path string) []string {
	var out []string
	for _, s := range strings.Split(strings.ToLower(path), "/") {
		if s != "" {
			out = append(out, s)
		}
	}
	if len(out) > 0 && out[0] == "v2" {
		out = out[1:]
	}
	return out
}

func (a *API) route(w http.ResponseWriter, r *http.Request, s []string) error {
	if len(s) == 0 {
		return errPath
	}
	c, err := a.authenticate(r)
	if err != nil {
		return err
	}
	*r = *r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
	switch {
	case s[0] == "eid" && len(s) >= 2 && r.Method == http.MethodPost:
		return a.create(w, r, c, strings.Join(s[1:], "/"))
	case s[0] == "eid" && len(s) == 2 && r.Method == http.MethodGet:
		return a.result(w, r, c, s[1])
	case s[0] == "bankidse" && len(s) == 2:
		return a.headless(w, r, c, s[1])
	case s[0] == "eid":
		return errMethod
	}
	return errPath
}

type callerKey struct{}

func callerOf(r *http.Request) (caller, bool) {
	c, ok := r.Context().Value(callerKey{}).(caller)
	return c, ok
}

// authenticate reads the bare token of the Authorization header (§2.1).
func (a *API) authenticate(r *http.Request) (caller, error) {
	token := strings.TrimSpace(r.Header.Get("Authorization"))
	if len(token) > 7 && strings.EqualFold(token[:7], "bearer ") {
		token = strings.TrimSpace(token[7:])
	}
	if len(token) != 36 {
		return caller{}, relying.ErrUnknown
	}
	c, err := a.c.Accounts.Caller(r.Context(), token)
	if err != nil {
		return c, err
	}
	if !addressAllowed(c.Account.AllowedIPs, a.c.Client(r)) {
		return c, errIP
	}
	return c, nil
}

// addressAllowed reads the grammar of Allowed_IPs (§2.1): single addresses,
// CIDR, address/mask and ranges, separated by semicolons.
func addressAllowed(list string, addr netip.Addr) bool {
	if strings.TrimSpace(list) == "" {
		return true
	}
	for _, item := range strings.Split(list, ";") {
		item = strings.TrimSpace(item)
		from, to, isRange := strings.Cut(item, "-")
		base, mask, isMask := strings.Cut(item, "/")
		switch {
		case isRange:
			low, err1 := netip.ParseAddr(strings.TrimSpace(from))
			high, err2 := netip.ParseAddr(strings.TrimSpace(to))
			if err1 == nil && err2 == nil && low.Compare(addr) <= 0 && addr.Compare(high) <= 0 && low.Is4() == addr.Is4() {
				return true
			}
		case isMask && strings.Contains(mask, "."):
			b, err1 := netip.ParseAddr(base)
			m, err2 := netip.ParseAddr(mask)
			if err1 == nil && err2 == nil && b.Is4() && m.Is4() && addr.Is4() && masked(b, m) == masked(addr, m) {
				return true
			}
		case isMask:
			if p, err := netip.ParsePrefix(item); err == nil && p.Contains(addr) {
				return true
			}
		default:
			if one, err := netip.ParseAddr(item); err == nil && one == addr {
				return true
			}
		}
	}
	return false
}

func masked(a, mask netip.Addr) [4]byte {
	x, m := a.As4(), mask.As4()
	for i := range x {
		x[i] &= m[i]
	}
	return x
}

// rate lets one session be read about once a second (§16).
type rate struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

const (
	rateEach  = 250 * time.Millisecond
	rateBurst = 2 * time.Second
)

// allow is a leaky bucket: each read costs rateEach, rateBurst may be ahead.
func (r *rate) allow(id string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) > 50_000 {
		clear(r.seen)
	}
	at := r.seen[id]
	if at.Before(now) {
		at = now
	}
	if at.Sub(now) > rateBurst {
		return false
	}
	r.seen[id] = at.Add(rateEach)
	return true
}

func write(w http.ResponseWriter, status int, v any) {
	raw, err := marshal(v)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"id":null,"errors":[{"code":"Internal Exception","description":"An error of this server."}]}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the client has gone
}

// marshal writes JSON as it is, without escapes for HTML.
func marshal(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}
