// Package notify delivers the outbox: webhooks and e-mail, at least once, in
// no promised order. What is to be told was written in the transaction that
// made it true; this package only carries it. docs/webhooks.md is for those
// who receive.
package notify

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"eidgate/broker"
	"eidgate/eid"
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

// A Mailer hands a mail to a relay, or to the sandbox's mailbox. A *Final
// error means that trying again is of no use.
type Mailer interface {
	Send(ctx context.Context, id, to string, m broker.MailBody) error
}

// ErrFinal marks a refusal that will not change.
var ErrFinal = errors.New("refused for good")

// Config is what a Worker needs; all fields but Mailer and Jumped are required.
type Config struct {
	Store   Store
	Client  func(eid.Environment) *safehttp.Client
	Mailer  Mailer
	Version string
	Now     func() time.Time
	Jumped  func() <-chan struct{}
	Random  func() float64 // 0 ≤ x < 1
	Log     *slog.Logger
	Count   func(kind, result string) // metrics
}

// Bounds of what is under way at once.
const (
	maxTotal   = 64
	maxAccount = 16
	maxHost    = 4
	lease      = 50 * time.Second // longer than any exchange
)

// A Worker runs on every node.
type Worker struct {
	c    Config
	wake chan struct{}

	mu   sync.Mutex
	busy map[string]int // by account and by host
}

// New makes a worker; Run starts it.
func New(c Config) *Worker {
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Count == nil {
		c.Count = func(string, string) {}
	}
	return &Worker{c: c, wake: make(chan struct{}, 1), busy: map[string]int{}}
}

// Wake says that something was just written to the outbox.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends, and then waits for what is under way.
func (w *Worker) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	done := make(chan broker.Attempt, maxTotal)
	slots := make(chan struct{}, maxTotal)
	finished := make(chan struct{})
	go func() { defer close(finished); w.record(ctx, done) }()
	defer func() { running.Wait(); close(done); <-finished }()
	for {
		free := maxTotal - len(slots)
		var batch []broker.Claimed
		if free > 0 {
			var err error
			if batch, err = w.c.Store.ClaimDeliveries(ctx, w.c.Now(), lease, free); err != nil && ctx.Err() == nil {
				w.c.Log.WarnContext(ctx, "outbox not readable", "error", err)
			}
		}
		for _, c := range batch {
			if !w.enter(c) { // its receiver is busy: later, and this was no attempt at it
				done <- broker.Attempt{ID: c.ID, Attempt: c.Attempt, State: "pending", Due: w.c.Now().Add(time.Second), At: w.c.Now(), Reason: "busy"}
				continue
			}
			slots <- struct{}{}
			running.Add(1)
			go func() {
				defer func() { w.leave(c); <-slots; running.Done() }()
				done <- w.deliver(context.WithoutCancel(ctx), c)
			}()
		}
		if len(batch) == free && free > 0 {
			continue
		}
		var jumped <-chan struct{}
		if w.c.Jumped != nil {
			jumped = w.c.Jumped()
		}
		t := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-w.wake:
		case <-jumped:
		case <-t.C:
		}
		t.Stop()
	}
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

func keys(c broker.Claimed) (account, host string) {
	if u, err := url.Parse(c.URL); err == nil && c.Kind == "webhook" {
		host = u.Host
	}
	return "a " + c.Account, "h " + host
}

func (w *Worker) enter(c broker.Claimed) bool {
	account, host := keys(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[account] >= maxAccount || w.busy[host] >= maxHost {
		return false
	}
	w.busy[account]++
	w.busy[host]++
	return true
}

func (w *Worker) leave(c broker.Claimed) {
	account, host := keys(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range []string{account, host} {
		if w.busy[k]--; w.busy[k] == 0 {
			delete(w.busy, k)
		}
	}
}

// deliver makes one attempt and says how it went on.
func (w *Worker) deliver(ctx context.Context, c broker.Claimed) broker.Attempt {
	start := w.c.Now()
	var o outcome
	if c.Kind == "email" {
		o = w.mail(ctx, c)
	} else {
		o = w.post(ctx, c)
	}
	a := broker.Attempt{ID: c.ID, Attempt: c.Attempt, Status: o.status, Reason: o.reason, At: start, Took: w.c.Now().Sub(start)}
	a.State, a.Due = next(c, o, w.c.Now(), w.c.Random())
	w.c.Count(c.Kind, a.State)
	if a.State == "dead" || a.State == "failed" {
		w.c.Log.WarnContext(ctx, "notification given up", "delivery", c.ID, "attempt", c.Attempt, "status", o.status, "reason", o.reason)
	}
	return a
}

// An outcome is what an attempt brought.
type outcome struct {
	ok     bool
	final  bool
	status int
	reason string
	after  time.Duration // the receiver's wish
}

// post sends a webhook with both signatures side by side.
func (w *Worker) post(ctx context.Context, c broker.Claimed) outcome {
	acc, err := w.c.Store.Account(ctx, c.Account)
	if err != nil {
		return outcome{reason: "account"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(c.Body))
	if err != nil {
		return outcome{final: true, reason: "invalid"}
	}
	now := w.c.Now()
	h := req.Header
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("User-Agent", "eidgate-webhooks/"+w.c.Version)
	h.Set("Webhook-Id", c.ID)
	h.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	h.Set("X-Eidgate-Attempt", strconv.Itoa(c.Attempt))
	if c.Environment == eid.Test {
		h.Set("X-Eidgate-Sandbox", "1")
	}
	if acc.WebhookSecret != "" {
		sig, err := Sign(string(acc.WebhookSecret), c.ID, now, c.Body)
		if err != nil {
			return outcome{reason: "secret"}
		}
		h.Set("Webhook-Signature", sig)
	}
	if c.Key != "" {
		key, err := w.c.Store.KeyText(ctx, c.Key)
		if err != nil && !errors.Is(err, relying.ErrUnknown) {
			return outcome{reason: "key"}
		}
		if err == nil {
			h.Set("X-ZignSec-Hmac-SHA256", ZignSec(key, c.Body, c.UpperHex))
		}
	}
	res, err := w.c.Client(c.Environment).Do(ctx, req)
	if err != nil {
		var e *safehttp.Error
		if errors.As(err, &e) {
			return outcome{status: e.Status, reason: string(e.Reason)}
		}
		return outcome{reason: "error"}
	}
	o := outcome{status: res.Status, ok: res.Status >= 200 && res.Status < 300}
	if !o.ok {
		o.reason = "status"
		o.final = res.Status == http.StatusGone
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
			o.after = time.Duration(s) * time.Second
		}
	}
	return o
}

// schedules are the delays before each further attempt.
var schedules = map[string][]time.Duration{
	"standard": {5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour},
	"zignsec-20": {10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour,
		3 * time.Hour, 3 * time.Hour, 4 * time.Hour, 4 * time.Hour, 4 * time.Hour, 4 * time.Hour, 5 * time.Hour, 5 * time.Hour, 5 * time.Hour, 6 * time.Hour},
	"zignsec-3": {10 * time.Second, 5 * time.Minute},
	"email":     {time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour},
}

// next says what becomes of a delivery after an attempt. Pure.
func next(c broker.Claimed, o outcome, now time.Time, random float64) (state string, due time.Time) {
	switch {
	case o.ok:
		return "delivered", time.Time{}
	case o.final:
		return "failed", time.Time{}
	}
	steps := schedules[c.Profile]
	if steps == nil {
		steps = schedules["standard"]
	}
	blocked := o.reason == string(safehttp.Blocked) || o.reason == string(safehttp.Invalid)
	if c.Attempt > len(steps) || blocked && c.Attempt >= 3 {
		return "dead", time.Time{}
	}
	planned := steps[c.Attempt-1]
	d := time.Duration(float64(planned) * (0.8 + 0.4*random))
	switch o.status {
	case 429, 502, 504:
		d = max(d, time.Minute)
	}
	if o.reason == string(safehttp.Timeout) {
		d = max(d, time.Minute)
	}
	if o.after > d {
		d = min(o.after, max(2*planned, d))
	}
	return "pending", now.Add(d)
}
