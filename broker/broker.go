// Package broker runs sessions: it lets connectors act one step at a time,
// keeps what they return, expires and erases, and tells those who must know.
//
// What happens nowhere else: a session's state is assigned only through the
// move table; an upstream is called only by an order's owner and never inside
// a transaction; a notification is written only in the transaction that made
// it true.
package broker

import (
	"context"
	"log/slog"
	"time"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/relying"
)

// Config is what a Broker needs. All fields are required unless said
// otherwise.
type Config struct {
	Store      Store
	Connectors map[eid.Environment]map[eid.EID]connector.Connector
	// Settings finds the credentials of an account's eID. begun is the Key of
	// those that the order was begun with, "" for one that begins now: where a
	// certificate is renewed meanwhile, the order keeps the old one.
	Settings func(ctx context.Context, s *Session, e eid.EID, begun string) (connector.Settings, error)
	// Contracts lists the agreements whose lists are to be kept; optional.
	Contracts func() []Contract
	// Outbox says what is to be told when a session has ended, by API. Pure.
	Outbox map[string]func(*Final) []Delivery
	// Public is the address of the hosted pages, no slash at the end.
	Public string
	// HandleKey keys the hashes of browser secrets, equal on all nodes.
	HandleKey []byte
	Epoch     string                 // names this run of this node, random
	Now       func() time.Time       // default time.Now
	Jumped    func() <-chan struct{} // optional: closed when Now has jumped (sandbox clock)
	NewID     func() string          // UUIDv4: what others see
	NewRow    func() string          // UUIDv7: rows of our own, which stand where they were made; default NewID
	Log       *slog.Logger
	Limits    Limits
	Wake      func()             // optional: called after a commit that wrote to the outbox
	Hint      func(owner string) // optional: tells another node to read its inbox
	Observe   func(Observation)  // optional: metrics and the terminal's log of logins
}

// Limits are the clocks of a session. Zero fields take the defaults.
type Limits struct {
	Unopened  time.Duration // created, nothing begun; default 30 min
	Idle      time.Duration // without an act of the person; default 15 min
	Extend    time.Duration // added by each extension; default 10 min
	Before    time.Duration // absolute, before a person is confirmed; default 3 h
	After     time.Duration // absolute, after it; default 30 min
	Keep      time.Duration // personal data after the end; default 24 h
	Beat      time.Duration // of a node; default 3 s
	Dead      time.Duration // without a beat; default 8 s
	Calls     int           // upstream calls at once, for each eID and environment: 3 000 orders asked every 2 s at 0.1 s keep 150 busy; default 256
	Queue     int           // acts of people that may wait for such a call, a few kilobytes each: two seconds of calls of 0.2 s; default 2048
	EffectFor time.Duration // how long a request waits for another node; default 3 s
	Save      time.Duration // how long a result is held while storage is away; default 20 s
}

// An Observation is something that metrics count.
type Observation struct {
	Kind    string // "created", "started", "ended", "upstream", "binding_mismatch", "replay", "cross_tenant", "erased", "conflict", "collect", "list"
	Session *Session
	Took    time.Duration
	Result  string
	At      time.Time // of "list": when it was last fetched
}

// A Final is a session that has just ended, for those who render
// notifications.
type Final struct {
	Session  *Session
	Spec     *Spec
	Identity *eid.Identity
	Evidence []eid.Evidence
	Refs     []connector.Ref // of a failed session: the upstream's names for it, oldest first
	Now      time.Time
	NewRow   func() string // names a notification
}

// A NewSession asks for a session.
type NewSession struct {
	ID       string // optional; default a new UUIDv4
	Caller   relying.Caller
	API      string
	Config   string
	Purpose  eid.Purpose
	Language string
	Spec     Spec
	Person   eid.Number       // who alone can finish it, where a method's parameters say so; default Spec.Pinned
	Texts    *connector.Texts // what is to be signed
	Notes    []string         // what the relying party may want to know; no values of parameters
	Handle   Handle           // of the browser that asks, where it is known: the session is that browser's from the start
}

// A Handle is what a browser shows to prove that it is the one: the secret of
// its cookie, or, where cookies are blocked, the token in the address.
type Handle struct {
	Cookie string
	Token  string
}

// A Place is where a person stands on the hosted page.
type Place string

const (
	AtChoice    Place = "choice"    // several methods
	AtFront     Place = "front"     // nothing begun: the connector's first form
	AtStep      Place = "step"      // View.Step says what
	AtRetry     Place = "retry"     // View.Step is a Fail that may be tried again
	AtEnd       Place = "end"       // the session has ended
	AtElsewhere Place = "elsewhere" // another browser holds the session
	AtLanding   Place = "landing"   // another browser holds it, and this one has brought the upstream's answer
)

// A View is all that a page may know of a session.
type View struct {
	Place     Place
	Session   Session
	Spec      Spec
	Info      connector.Info
	Front     *connector.Ask
	Step      connector.Step
	Failed    eid.Reason // at AtRetry and AtEnd
	CanLonger bool       // an extension is still possible
	Leavable  bool       // at AtStep: the order can be left for another method
	Bound     bool       // this browser holds the session
	Pass      string     // where Step is a Redirect that renews, and Bound: for Away, in a page that has no handle
}
