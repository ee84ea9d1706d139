// Package oidc is an OpenID Connect provider in Signicat's words: relying
// parties send a browser to it, a session of the broker logs a person in, and
// they get a code, and for that tokens and claims. docs/protocols/oidc.md says
// what is served and how strictly; § in comments refers to that file. What
// claims are called is package claims' affair.
//
// A request is checked wholly before anything is made of it. What a client may
// fetch is a grant: one for each session, whose code is made from the session's
// id, so that two tabs that finish one login have one code.
package oidc

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/jose"
	"eidgate/relying"
)

// Name is that of this API in sessions.
const Name = "oidc"

// Root is the path of the issuer below the public address.
const Root = "/auth/open"

// A Broker is what the provider needs of one.
type Broker interface {
	Create(ctx context.Context, n broker.NewSession) (*broker.Session, error)
	Enter(ctx context.Context, n broker.NewSession, br connector.Browser) (*broker.View, error)
	Session(ctx context.Context, account string, env eid.Environment, id string) (*broker.Session, error)
	Identity(ctx context.Context, s *broker.Session, reader string, evidence bool) (*eid.Identity, []eid.Evidence, broker.Audit, error)
	Record(ctx context.Context, session, actor, action, outcome string) error
	Note(ctx context.Context, session, kind string, lines ...broker.Audit) (first bool, err error)
	Tell(ctx context.Context, session string, out ...broker.Delivery) error
}

// Config is what a Provider needs. All fields but TLS and Clock are required.
type Config struct {
	Broker   Broker
	Accounts relying.Directory
	Store    Store
	Public   string // https://eid.example.com
	Keys     func() *jose.Set
	Secret   []byte // 32 bytes, equal on all nodes: codes and subjects are made with it
	Has      func(a *relying.Account, env eid.Environment, e eid.EID) bool
	// Browser is what asks, with its handle. One that has none gets one.
	Browser func(w http.ResponseWriter, r *http.Request) (broker.Handle, connector.Browser)
	// Straight says whether a request is a person's who can be sent to an eID at
	// once, and Onward sends a browser where its session goes on.
	Straight func(*http.Request) bool
	Onward   func(http.ResponseWriter, *http.Request, *broker.View) error
	// Problem shows a person that a request is wrong, and a developer why; text
	// is "" where no developer looks.
	Problem func(w http.ResponseWriter, r *http.Request, status int, code, text string)
	// Post lets the browser post fields to an address.
	Post func(w http.ResponseWriter, r *http.Request, to string, fields url.Values, frames []string) error
	// Ignored counts a key of acr_values that has had no effect; known ones
	// would have one in another request.
	Ignored func(known bool)
	// Marker says why a sandbox's marker in login_hint cannot be followed; nil where
	// nobody acts on one.
	Marker func(text string) error
	// Security counts what should not happen: "replay", "client_auth" or "cross_tenant".
	Security func(kind string)
	// Ended tells a person that they are logged out; ask lets them confirm it by
	// posting fields, and next is the origin to which that leads; "" for none.
	Ended func(w http.ResponseWriter, r *http.Request, ask bool, fields url.Values, next string)
	// Fetch reads a document of a relying party: its keys.
	Fetch  func(ctx context.Context, address string) ([]byte, error)
	TLS    *MutualTLS                     // nil where no client shows a certificate
	Secure bool                           // the public address is https
	Client func(*http.Request) netip.Addr // where a request comes from
	Now    func() time.Time
	Clock  func() time.Time // of this machine, for limits, which a sandbox's clock shall not move; default time.Now
	NewID  func() string
	Log    *slog.Logger
}

// A Provider answers everything below Root. It is safe for concurrent use.
type Provider struct {
	c         Config
	issuer    string
	codeKey   []byte
	subKey    []byte
	discovery document
	remote    *jose.Remote
	cross     *http.CrossOriginProtection
	limits    limiters
}

// New makes a provider.
func New(c Config) (*Provider, error) {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	p := &Provider{c: c, issuer: c.Public + Root, remote: jose.NewRemote(c.Fetch, c.Now, 10_000), cross: http.NewCrossOriginProtection(), limits: newLimiters()}
	var err error
	if p.codeKey, err = hkdf.Key(sha256.New, c.Secret, nil, "eidgate oidc codes", 32); err != nil {
		return nil, err
	}
	if p.subKey, err = SubjectKey(c.Secret); err != nil {
		return nil, err
	}
	p.discovery, err = p.describe()
	return p, err
}

// Register adds the provider's addresses. Paths are compared as they are: one
// with a slash at its end is another one, and there is nothing at it.
func (p *Provider) Register(mux *http.ServeMux) {
	for path, h := range map[string]http.HandlerFunc{
		"/.well-known/openid-configuration":      p.serveDiscovery,
		"/.well-known/openid-configuration/jwks": p.serveKeys,
		"/connect/authorize":                     p.serveAuthorize,
		"/connect/par":                           p.servePush,
		"/connect/token":                         p.serveToken,
		"/connect/userinfo":                      p.serveUserInfo,
		"/connect/introspect":                    p.serveIntrospect,
		"/connect/revocation":                    p.serveRevoke,
		"/connect/endsession":                    p.serveEnd,
	} {
		if methods, ok := crossed[path]; ok {
			h = crossOrigin(h, methods)
		}
		mux.HandleFunc(Root+path, h)
	}
	mux.HandleFunc("/.well-known/oauth-authorization-server"+Root, p.serveDiscovery)
	mux.HandleFunc("GET "+Root+errorsPath+"{code}", p.serveMeaning)
}

// method answers other methods than these with 405.
func method(w http.ResponseWriter, r *http.Request, allowed ...string) bool {
	for _, m := range allowed {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	w.WriteHeader(http.StatusMethodNotAllowed)
	return false
}

// noStore keeps an answer out of every cache.
func noStore(h http.Header) {
	h.Set("Cache-Control", "no-store, no-cache, max-age=0")
	h.Set("Pragma", "no-cache")
}

// say answers in JSON.
func say(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone
	return nil
}

// broken is an error of ours before a person, who learns nothing but that.
func (p *Provider) broken(w http.ResponseWriter, r *http.Request, err error) {
	p.c.Log.ErrorContext(r.Context(), "provider failed", "error", err)
	p.c.Problem(w, r, http.StatusInternalServerError, "server_error", "")
}

// trouble is an error of ours, of which a client learns nothing but that.
func (p *Provider) trouble(w http.ResponseWriter, r *http.Request, err error) {
	p.c.Log.ErrorContext(r.Context(), "provider failed", "error", err)
	noStore(w.Header())
	_ = say(w, http.StatusInternalServerError, map[string]string{"error": "server_error"}) // two strings
}

// client finds a client that is active; nil for one that nobody knows.
func (p *Provider) client(ctx context.Context, id string) (*relying.Client, error) {
	if id == "" || len(id) > 100 {
		return nil, nil
	}
	c, err := p.c.Store.Client(ctx, id)
	if errors.Is(err, relying.ErrUnknown) {
		return nil, nil
	}
	return c, err
}

// keysOf are the keys that a client has registered.
func (p *Provider) keysOf(c *relying.Client) (jose.Keys, error) {
	if c.JWKSURI != "" {
		return p.remote.Party(c.JWKSURI), nil
	}
	raw := c.KeySet(p.c.Now())
	if raw == nil {
		return &jose.Ring{}, nil
	}
	return jose.ParseJWKS(raw)
}

// eids are those that an account has.
func (p *Provider) eids(a *relying.Account, env eid.Environment) []eid.EID {
	var out []eid.EID
	for _, e := range []eid.EID{eid.BankIDSE, eid.IDIN, eid.BankIDNO, eid.MitID, eid.NemID, eid.Itsme} {
		if a.Allows(e) && p.c.Has(a, env, e) {
			out = append(out, e)
		}
	}
	return out
}
