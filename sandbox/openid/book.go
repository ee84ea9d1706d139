// Package openid is what the simulators of eIDs that speak OpenID Connect have
// in common: the logins that are under way, who may call, and tokens. It reads
// and writes tokens with another library than the connectors, so that neither
// hides the other's mistakes.
package openid

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"eidgate/sandbox"
)

const maxKept = 2000 // logins that are remembered

// ErrNoAccount means that a person does not have the eID.
var ErrNoAccount = errors.New("this person does not have this eID")

// A Login is one authorization request. T is what one eID knows beside it.
type Login[T any] struct {
	Ref       string
	Client    *Client
	Redirect  string
	State     string
	Nonce     string
	Challenge string // S256
	Scopes    []string
	Raw       string // the request, as it was read
	For       string // key of the person who is asked for
	Own       T

	Created, Opened, Ended time.Time

	Hint     string // how it ended, or stands
	Person   string // key
	By       string
	Code     string
	Spent    bool
	Access   string
	No       Refusal
	NoReturn bool // the browser stays at the eID
	Silent   bool // the person has said who they are, and never acts
}

// Has says whether a scope was asked for.
func (l *Login[T]) Has(scope string) bool {
	for _, s := range l.Scopes {
		if s == scope {
			return true
		}
	}
	return false
}

// A Refusal is how a browser is sent back without a code.
type Refusal struct{ Code, Description string }

// Rules are what a Book does in one eID's way.
type Rules[T any] struct {
	EID    string        // of orders
	Window time.Duration // for the person
	Codes  time.Duration // how long a code is good
	Access time.Duration // how long an access token is, from the end of the login
	Usual  string        // who it is when nobody says
	// Page is where a person acts on a login.
	Page func(ref string) string
	// Account refuses a person who does not have the eID.
	Account func(p *sandbox.Person) error
	// Refuse says what cancel, decline, expire and fail:<code> come to.
	Refuse func(word, code string) Refusal
	// Approve looks at a person who is to be confirmed, and may refuse; nil for
	// everybody.
	Approve func(l *Login[T], p *sandbox.Person) *Refusal
	// Code makes one; nil for any that nobody guesses.
	Code func() string
	// Details are the eID's own, for the control API; nil for none.
	Details func(l *Login[T]) any
}

// A Book holds logins. It is safe for concurrent use; what it hands out are
// copies.
type Book[T any] struct {
	rules     Rules[T]
	clock     *sandbox.Clock
	people    *sandbox.People
	decisions *sandbox.Decisions

	mu       sync.Mutex
	logins   map[string]*Login[T]
	byCode   map[string]string // ref
	byAccess map[string]string
	queue    []string
	changed  chan struct{}
}

// NewBook makes an empty one.
func NewBook[T any](clock *sandbox.Clock, people *sandbox.People, decisions *sandbox.Decisions, rules Rules[T]) *Book[T] {
	b := &Book[T]{rules: rules, clock: clock, people: people, decisions: decisions, changed: make(chan struct{})}
	if b.rules.Code == nil {
		b.rules.Code = Random
	}
	b.empty()
	return b
}

func (b *Book[T]) empty() {
	b.logins, b.byCode, b.byAccess, b.queue = map[string]*Login[T]{}, map[string]string{}, map[string]string{}, nil
}

// Octets are random ones.
func Octets(n int) []byte {
	o := make([]byte, n)
	_, _ = rand.Read(o) // never fails
	return o
}

// Random is a text that nobody guesses.
func Random() string { return hex.EncodeToString(Octets(18)) }

// Changed is closed when any login changes next.
func (b *Book[T]) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

func (b *Book[T]) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Clear forgets all logins.
func (b *Book[T]) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.empty()
	b.wake()
}

// RefOf names the login of a request that was pushed, before it begins: so the
// push belongs to its messages.
func RefOf(requestURI string) string {
	sum := sha256.Sum256([]byte(requestURI))
	return hex.EncodeToString(sum[:18])
}

// Add begins a login, and names it unless it has a name.
func (b *Book[T]) Add(ctx context.Context, l Login[T]) string {
	l.Ref, l.Created, l.Hint = cmp.Or(l.Ref, Random()), b.clock.Now(), "pending"
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logins[l.Ref] = &l
	if b.queue = append(b.queue, l.Ref); len(b.queue) > maxKept {
		if old := b.logins[b.queue[0]]; old != nil {
			delete(b.byCode, old.Code)
			delete(b.byAccess, old.Access)
		}
		delete(b.logins, b.queue[0])
		b.queue = b.queue[1:]
	}
	b.wake()
	sandbox.Concerns(ctx, l.Ref)
	return l.Ref
}

// Open is a login whose page is looked at, as it stands now: the control API
// may end it meanwhile, and so does time.
func (b *Book[T]) Open(ctx context.Context, ref string) (Login[T], bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logins[ref]
	if l == nil {
		return Login[T]{}, false
	}
	sandbox.Concerns(ctx, l.Ref)
	b.late(l)
	if l.Opened.IsZero() {
		l.Opened = b.clock.Now()
	}
	return *l, true
}

// late ends a login whose time is over. The lock is held.
func (b *Book[T]) late(l *Login[T]) {
	if l.Ended.IsZero() && !b.clock.Now().Before(l.Created.Add(b.rules.Window)) {
		_ = b.end(l, "expire", "", "time") // a known event
	}
}

// Note changes what the eID knows of a login that goes on, and returns how it
// stands then.
func (b *Book[T]) Note(ref string, change func(*Login[T])) Login[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logins[ref]
	if l == nil {
		return Login[T]{}
	}
	if l.Ended.IsZero() {
		change(l)
	}
	return *l
}

// After changes what the eID knows of a login that has ended.
func (b *Book[T]) After(ref string, change func(*T)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.logins[ref]; l != nil {
		change(&l.Own)
	}
}

// A Turn is what happens when a page of a login is opened.
type Turn int

// Turns.
const (
	Ask   Turn = iota // the person, who is in front of the page
	Leave             // the login has ended
	Later             // the page is to be loaded again, after the time that comes along
	Still             // nobody acts
)

// Turn looks what was decided about a login, and does it.
func (b *Book[T]) Turn(l Login[T]) (Turn, time.Duration, Login[T]) {
	if !l.Ended.IsZero() {
		return Leave, 0, l
	}
	if l.Silent {
		return Still, 0, l
	}
	dec := b.decide(&l, l.For)
	word := dec.Outcome.Word()
	if dec.Hands || word == sandbox.Ignore || word == sandbox.CancelPage || dec.Outcome.States() != nil {
		return Ask, 0, l
	}
	if wait := dec.Outcome.After() - b.clock.Now().Sub(l.Opened); wait > 0 {
		return Later, max(time.Second, wait), l
	}
	if word == sandbox.Expire {
		return Still, 0, l
	}
	seen, err := b.Settle(l.Ref, string(word), dec.Person, "tier "+strconv.Itoa(dec.Tier)+", "+dec.Source)
	if err != nil { // somebody who does not have the eID: a person may choose another
		return Ask, 0, l
	}
	return Leave, 0, seen
}

// Habit is what a person always does; "" for one who decides.
func (b *Book[T]) Habit(l Login[T], person string) string {
	if dec := b.decide(&l, person); dec.Tier == 40 && dec.Outcome.Word() != sandbox.Ignore {
		return string(dec.Outcome.Word())
	}
	return ""
}

func (b *Book[T]) decide(l *Login[T], person string) sandbox.Decision {
	return b.decisions.Decide(sandbox.Subject{EID: b.rules.EID, Ref: l.Ref, Person: person, Return: l.Redirect})
}

// Settle ends a login, unless somebody was faster, and returns how it stands.
func (b *Book[T]) Settle(ref, event, person, by string) (Login[T], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logins[ref]
	if l == nil {
		return Login[T]{}, sandbox.ErrNoOrder
	}
	if b.late(l); l.Ended.IsZero() {
		if err := b.end(l, event, person, by); err != nil {
			return *l, err
		}
		b.decisions.Happened(l.Ref, sandbox.Outcome(event), person, by)
	}
	return *l, nil
}

// Do lets somebody act on a login: open, approve, cancel, decline, expire,
// fail:<code>, fail:no_return.
func (b *Book[T]) Do(ref string, a sandbox.Act) (sandbox.Order, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logins[ref]
	if l != nil {
		b.late(l)
	}
	switch {
	case l == nil:
		return sandbox.Order{}, sandbox.ErrNoOrder
	case !l.Ended.IsZero():
		return b.view(l), sandbox.ErrEnded
	case a.Event == "open":
		return b.view(l), nil
	}
	if err := b.end(l, a.Event, a.Person, cmp.Or(a.Source, "control API")); err != nil {
		return b.view(l), err
	}
	b.decisions.Happened(ref, sandbox.Outcome(a.Event), a.Person, l.By)
	return b.view(l), nil
}

// end is how a login comes to its end. The lock is held.
func (b *Book[T]) end(l *Login[T], event, person, by string) error {
	word, code, _ := strings.Cut(event, ":")
	switch word {
	case "approve":
		p, err := b.Who(cmp.Or(person, l.For, b.rules.Usual))
		if err != nil {
			return err
		}
		l.Person = p.Key
		if b.rules.Approve != nil {
			if no := b.rules.Approve(l, &p); no != nil {
				l.No, l.Hint = *no, cmp.Or(no.Description, no.Code)
				break
			}
		}
		l.Code, l.Hint = b.rules.Code(), "code"
		b.byCode[l.Code] = l.Ref
	case "cancel", "decline", "expire", "fail":
		if code == "no_return" {
			l.NoReturn, l.Hint = true, "no return"
			break
		}
		l.Person, l.No = person, b.rules.Refuse(word, code)
		l.Hint = cmp.Or(l.No.Description, l.No.Code)
	default:
		return fmt.Errorf("%w %.60q: it is none of open, approve, cancel, decline, expire, fail:<code>, fail:no_return", sandbox.ErrEvent, event)
	}
	l.By, l.Ended = by, b.clock.Now()
	b.wake()
	return nil
}

// Who finds a person who has the eID.
func (b *Book[T]) Who(key string) (sandbox.Person, error) {
	p, err := b.people.Get(key)
	if err != nil {
		return p, err
	}
	return p, b.rules.Account(&p)
}

// Holders are all who have the eID.
func (b *Book[T]) Holders() (out []sandbox.Person) {
	for _, p := range b.people.List() {
		if b.rules.Account(&p) == nil {
			out = append(out, p)
		}
	}
	return out
}

// view is what others may know of a login. The lock is held.
func (b *Book[T]) view(l *Login[T]) sandbox.Order {
	rungs, _ := b.decisions.Explain(l.Ref)
	v := sandbox.Order{Ref: l.Ref, EID: b.rules.EID, State: "pending", Hint: l.Hint, By: l.By, RP: l.Client.Name, Person: l.Person, For: l.For, Created: l.Created,
		Until: l.Created.Add(b.rules.Window), Pending: l.Ended.IsZero(), Page: b.rules.Page(l.Ref), Return: l.Redirect, Ladder: rungs, Next: "a redirect with " + l.Hint}
	v.Left = sandbox.Seconds(b.clock.Now(), v.Until)
	if !v.Pending {
		v.State = "ended"
	}
	if b.rules.Details != nil {
		v.Details = b.rules.Details(l)
	}
	return v
}

// Orders lists logins, newest first; with all also those that have ended.
func (b *Book[T]) Orders(all bool) []sandbox.Order {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []sandbox.Order{}
	for i := len(b.queue) - 1; i >= 0 && len(out) < 200; i-- {
		l := b.logins[b.queue[i]]
		if b.late(l); all || l.Ended.IsZero() {
			out = append(out, b.view(l))
		}
	}
	return out
}

// Order shows one login in full.
func (b *Book[T]) Order(ref string) (sandbox.Order, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logins[ref]
	if l == nil {
		return sandbox.Order{}, sandbox.ErrNoOrder
	}
	b.late(l)
	v := b.view(l)
	v.Asked = l.Raw
	return v, nil
}

// Redeem spends a code, once: it must be the client's, come with the same way
// back, and with the verifier of its challenge. Whatever is wrong spends it too.
func (b *Book[T]) Redeem(c *Client, code, back, verifier string) (Login[T], sandbox.Person, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logins[b.byCode[code]]
	if code == "" || l == nil || l.Spent {
		return Login[T]{}, sandbox.Person{}, false
	}
	l.Spent = true
	sum := sha256.Sum256([]byte(verifier))
	proves := l.Challenge == "" && verifier == "" || l.Challenge != "" && base64.RawURLEncoding.EncodeToString(sum[:]) == l.Challenge
	if l.Client != c || l.Redirect != back || !proves || b.clock.Now().After(l.Ended.Add(b.rules.Codes)) {
		return Login[T]{}, sandbox.Person{}, false
	}
	p, err := b.Who(l.Person)
	if err != nil {
		return Login[T]{}, sandbox.Person{}, false
	}
	l.Access = Random()
	b.byAccess[l.Access] = l.Ref
	return *l, p, true
}

// Bearer finds the login of an access token, from the header of a request.
func (b *Book[T]) Bearer(header string) (Login[T], sandbox.Person, bool) {
	token, ok := strings.CutPrefix(header, "Bearer ")
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logins[b.byAccess[token]]
	if !ok || token == "" || l == nil || !b.clock.Now().Before(l.Ended.Add(b.rules.Access)) {
		return Login[T]{}, sandbox.Person{}, false
	}
	p, err := b.Who(l.Person)
	return *l, p, err == nil
}
