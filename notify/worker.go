// Package notify delivers the outbox: webhooks and e-mail, at least once, in
// no promised order. What is to be told was written in the transaction that
// made it true; this package only carries it. docs/webhooks.md is for those
// who receive.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/limit"
	"eidgate/internal/safehttp"
	"eidgate/relying"
)

// A Store is what the worker needs of one.
type Store interface {
	ClaimDeliveries(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]broker.Claimed, error)
	FinishDeliveries(ctx context.Context, all []broker.Attempt) error
	KeyText(ctx context.Context, id string) (string, error)
	Account(ctx context.Context, id string) (*relying.Account, error)
}

// A Mailer hands a mail to a relay, or to the sandbox's mailbox. ErrFinal means
// that trying again is of no use.
type Mailer interface {
	Send(ctx context.Context, id, to string, m broker.MailBody) error
}

// ErrFinal marks a refusal that will not change.
var ErrFinal = errors.New("refused for good")

// Config is what a Worker needs. Store, Client, Now and Log are required.
type Config struct {
	Store   Store
	Client  func(eid.Environment) *safehttp.Client
	Mailer  Mailer
	Logout  func(ctx context.Context, body []byte) (token string, err error) // signs what deliveries of kind "logout" say
	Version string
	Now     func() time.Time
	Jumped  func() <-chan struct{}
	Random  func() float64 // 0 ≤ x < 1
	Log     *slog.Logger
	// LimitMail keeps mails to ten an hour for an address and sixty for an
	// account, on each node; the others wait. A sandbox's go nowhere.
	LimitMail bool
	Grace     time.Duration             // how long what is under way goes on after a stop; 0 for to its end
	Count     func(kind, result string) // metrics
}

// Bounds of what is under way at once, and of what waits for its turn in
// memory. A receiver that is stuck holds maxHost of the former and maxQueue of
// the latter; its other deliveries stay in storage and keep nobody waiting. One
// that has answered quickly lately has maxQuick.
const (
	maxTotal   = 64
	maxAccount = 16
	maxHost    = 4
	maxQuick   = 12
	quick      = time.Second
	soon       = 25 * time.Millisecond // until the next look while something comes again
	maxWaiting = 256
	maxQueue   = 32
	exchange   = 30 * time.Second    // longer than any
	patience   = 20 * time.Second    // of what waits for its turn; then it goes back
	lease      = patience + exchange // nobody else claims meanwhile
)

// How many mails may go: the first go at once.
var (
	addressRate = limit.Rate{PerSecond: 10.0 / 3600, Burst: 10}
	accountRate = limit.Rate{PerSecond: 60.0 / 3600, Burst: 60}
)

// A Worker runs on every node.
type Worker struct {
	c     Config
	wake  chan struct{}
	mails *limit.Limiter // by address and by account
}

// New makes a worker; Run starts it.
func New(c Config) *Worker {
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Count == nil {
		c.Count = func(string, string) {}
	}
	if c.Logout == nil {
		c.Logout = func(context.Context, []byte) (string, error) { return "", errors.New("nobody signs logouts here") }
	}
	return &Worker{c: c, wake: make(chan struct{}, 1), mails: limit.New(1 << 14)}
}

// Wake says that something was just written to the outbox.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// A desk is what a running worker has before it: what is under way, and what
// has been claimed and waits. Only Run's goroutine touches it.
type desk struct {
	total   int
	busy    map[string]int // by account and by host
	hosts   map[string]host
	waiting []queued
	tail    time.Time // when the last one that was given back comes again
}

// A host is what is remembered of a receiver.
type host struct {
	pace time.Duration // of its exchanges lately; 0 if there was none
	tail time.Time     // when the last one that was given back comes again
}

const maxHosts = 4096 // that are remembered

// atOnce is how many exchanges it may have under way.
func (h host) atOnce() int {
	if h.pace > 0 && h.pace < quick {
		return maxQuick
	}
	return maxHost
}

// again says when one more that is given back shall come again: when what is
// before it in memory will be done, and after those that were given back
// before. So each is given back about once, however many wait.
func (h *host) again(now time.Time) time.Time {
	wait, each := time.Second, 5*time.Millisecond // of one that is not known
	if h.pace > 0 {
		each = max(h.pace/time.Duration(h.atOnce()), 2*time.Millisecond) // storage is not quicker
		wait = max(each*maxQueue, 100*time.Millisecond)
	}
	if first := now.Add(wait); h.tail.Before(first) {
		h.tail = first
	}
	h.tail = h.tail.Add(each)
	if most := now.Add(10 * time.Second); h.tail.After(most) {
		h.tail = most
	}
	return h.tail
}

type queued struct {
	broker.Claimed
	account, host string
	since         time.Time
	took          time.Duration // once it has been tried
}

// Run delivers until ctx ends, and then waits for what is under way. What has
// only been claimed is claimed again by somebody when its lease is over.
func (w *Worker) Run(ctx context.Context) error {
	under, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if w.c.Grace > 0 {
		defer context.AfterFunc(ctx, func() { time.AfterFunc(w.c.Grace, stop) })()
	}
	d := &desk{busy: map[string]int{}, hosts: map[string]host{}}
	done := make(chan broker.Attempt, maxTotal+maxWaiting)
	left := make(chan queued, maxTotal)
	recorded := make(chan struct{})
	go func() { defer close(recorded); w.record(ctx, done) }()
	defer func() {
		for ; d.total > 0; d.total-- {
			<-left
		}
		close(done)
		<-recorded
	}()
	for look := true; ctx.Err() == nil; {
		w.start(under, d, done, left)
		for d.settle(left) {
			w.start(under, d, done, left)
		}
		room := min(maxTotal, maxWaiting-len(d.waiting))
		if !look || room <= 0 { // look stays: more is there if the last look found no room for it
			look = w.wait(ctx, d, left) || look
			continue
		}
		batch, err := w.c.Store.ClaimDeliveries(ctx, w.c.Now(), lease, room)
		if err != nil && ctx.Err() == nil {
			w.c.Log.WarnContext(ctx, "outbox not readable", "error", err)
		}
		for _, c := range batch {
			w.queue(d, c, done)
		}
		look = len(batch) == room
	}
	return nil
}

// wait waits until an exchange has ended, or until it is time to look into the
// outbox, which it says: soon, while something that was given back comes again.
func (w *Worker) wait(ctx context.Context, d *desk, left <-chan queued) (look bool) {
	var jumped <-chan struct{}
	if w.c.Jumped != nil {
		jumped = w.c.Jumped()
	}
	pause := time.Second
	if d.tail.After(w.c.Now()) {
		pause = soon
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case q := <-left:
		d.leave(q)
		return false
	case <-w.wake:
	case <-jumped:
	case <-t.C:
	}
	return true
}

// queue takes a claimed delivery in, or gives it back when its receiver has
// enough before it. That was no attempt at it.
func (w *Worker) queue(d *desk, c broker.Claimed, done chan<- broker.Attempt) {
	q := queued{Claimed: c, account: "a " + c.Account, host: "h " + c.Account, since: w.c.Now()}
	if u, err := url.Parse(c.URL); err == nil && c.Kind != "email" {
		q.host = "h " + u.Host
	}
	ahead := 0
	for _, o := range d.waiting {
		if o.host == q.host {
			ahead++
		}
	}
	if ahead >= maxQueue {
		w.giveBack(d, q, done)
		return
	}
	if wait := w.mayMail(c); wait > 0 {
		done <- broker.Attempt{ID: q.ID, Attempt: q.Attempt, State: "pending", Busy: true, At: w.c.Now(), Due: w.c.Now().Add(wait)}
		return
	}
	d.waiting = append(d.waiting, q)
}

// mayMail says how long a mail must wait for others to its address, or of its
// account. One that waits for either has taken nothing from the other.
func (w *Worker) mayMail(c broker.Claimed) time.Duration {
	if c.Kind != "email" || !w.c.LimitMail {
		return 0
	}
	now, to, of := w.c.Now(), "to "+c.URL, "of "+c.Account
	if wait := max(w.mails.Wait(to, addressRate, now), w.mails.Wait(of, accountRate, now)); wait > 0 {
		return wait
	}
	w.mails.Take(to, addressRate, now)
	w.mails.Take(of, accountRate, now)
	return 0
}

// giveBack puts a delivery off until about the time when its receiver will
// have taken what is before it.
func (w *Worker) giveBack(d *desk, q queued, done chan<- broker.Attempt) {
	now, h := w.c.Now(), d.hosts[q.host]
	due := h.again(now)
	d.remember(q.host, h)
	due = due.Add(time.Duration(0.2 * w.c.Random() * float64(due.Sub(now)))) // other nodes give back, too
	if due.After(d.tail) {
		d.tail = due
	}
	done <- broker.Attempt{ID: q.ID, Attempt: q.Attempt, State: "pending", Busy: true, At: now, Due: due}
}

// start begins whatever may run, in the order in which it came. ctx outlasts a
// stop.
func (w *Worker) start(ctx context.Context, d *desk, done chan<- broker.Attempt, left chan<- queued) {
	var still []queued
	for i, q := range d.waiting {
		if d.total >= maxTotal {
			still = append(still, d.waiting[i:]...)
			break
		}
		switch age := w.c.Now().Sub(q.since); {
		case age > patience:
			w.giveBack(d, q, done)
		case !d.enter(q):
			still = append(still, q)
		default:
			go func() {
				a := w.deliver(ctx, q.Claimed)
				done <- a
				q.took = a.Took
				left <- q
			}()
		}
	}
	d.waiting = still
}

func (d *desk) enter(q queued) bool {
	if d.busy[q.account] >= maxAccount || d.busy[q.host] >= d.hosts[q.host].atOnce() {
		return false
	}
	d.total++
	d.busy[q.account]++
	d.busy[q.host]++
	return true
}

// settle takes the end of an exchange in, if there is one.
func (d *desk) settle(left <-chan queued) bool {
	select {
	case q := <-left:
		d.leave(q)
		return true
	default:
		return false
	}
}

func (d *desk) leave(q queued) {
	d.total--
	if q.took >= 0 && q.took <= exchange { // else the sandbox's clock has jumped meanwhile
		h := d.hosts[q.host]
		h.pace = (3*h.pace + q.took) / 4
		d.remember(q.host, h)
	}
	for _, k := range []string{q.account, q.host} {
		if d.busy[k]--; d.busy[k] == 0 {
			delete(d.busy, k)
		}
	}
}

func (d *desk) remember(name string, h host) {
	if _, ok := d.hosts[name]; !ok && len(d.hosts) >= maxHosts {
		clear(d.hosts)
	}
	d.hosts[name] = h
}

// record writes attempts down, several at once.
func (w *Worker) record(ctx context.Context, done <-chan broker.Attempt) {
	for a := range done {
		batch := []broker.Attempt{a}
		for more := true; more && len(batch) < 128; {
			select {
			case a, ok := <-done:
				if more = ok; ok {
					batch = append(batch, a)
				}
			default:
				more = false
			}
		}
		save, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		if err := w.c.Store.FinishDeliveries(save, batch); err != nil {
			w.c.Log.WarnContext(ctx, "attempts not recorded; they are repeated", "error", err)
		}
		cancel()
	}
}
