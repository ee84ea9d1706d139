package notify

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/safehttp"
	"eidgate/relying"
)

// deliver makes one attempt and says how it went on.
func (w *Worker) deliver(ctx context.Context, c broker.Claimed) broker.Attempt {
	start := w.c.Now()
	var o outcome
	switch c.Kind {
	case "email":
		o = w.mail(ctx, c)
	case "logout":
		o = w.logout(ctx, c)
	default:
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
	var signatures []string
	for _, secret := range acc.WebhookSecrets {
		sig, err := Sign(string(secret), c.ID, now, c.Body)
		if err != nil {
			return outcome{reason: "secret"}
		}
		signatures = append(signatures, sig)
	}
	if len(signatures) > 0 {
		h.Set("Webhook-Signature", strings.Join(signatures, " "))
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
	return w.send(ctx, c, req)
}

// send is the exchange itself.
func (w *Worker) send(ctx context.Context, c broker.Claimed, req *http.Request) outcome {
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
		o.after = retryAfter(res.Header.Get("Retry-After"), w.c.Now())
	}
	return o
}

// logout tells a client over OpenID Connect that a login has ended: one member
// of a form, signed anew at each attempt, since it counts for two minutes. A
// client that answers 400 has understood and will not (OpenID Connect
// Back-Channel Logout 1.0, section 2.8).
func (w *Worker) logout(ctx context.Context, c broker.Claimed) outcome {
	token, err := w.c.Logout(ctx, c.Body)
	if err != nil {
		w.c.Log.WarnContext(ctx, "logout token not made", "delivery", c.ID, "error", err)
		return outcome{reason: "token"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	if err != nil {
		return outcome{final: true, reason: "invalid"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "eidgate-logout/"+w.c.Version)
	o := w.send(ctx, c, req)
	o.final = o.final || o.status == http.StatusBadRequest
	return o
}

// retryAfter reads the header: seconds, a part of one counting as a whole, or
// a date. What it cannot read is no wish.
func retryAfter(text string, now time.Time) time.Duration {
	if s, err := strconv.ParseFloat(text, 64); err == nil && s > 0 && s < 1e6 {
		return time.Duration(math.Ceil(s)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return at.Sub(now)
	}
	return 0
}

// schedules are the delays before each further attempt.
var schedules = map[string][]time.Duration{
	"standard": {5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour},
	"zignsec-20": {10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour,
		3 * time.Hour, 3 * time.Hour, 4 * time.Hour, 4 * time.Hour, 4 * time.Hour, 4 * time.Hour, 5 * time.Hour, 5 * time.Hour, 5 * time.Hour, 6 * time.Hour},
	"zignsec-3": {10 * time.Second, 5 * time.Minute},
	"logout":    {10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 3 * time.Minute, 3 * time.Minute}, // ten minutes in all
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
	try := c.Attempt - c.Spent
	if try > len(steps) || blocked && try >= 3 {
		return "dead", time.Time{}
	}
	planned := steps[try-1]
	d := time.Duration(float64(planned) * (0.8 + 0.4*random))
	if o.status == 429 || o.status == 502 || o.status == 504 || o.reason == string(safehttp.Timeout) {
		d = max(d, time.Minute)
	}
	if o.after > d {
		d = min(o.after, max(2*planned, d))
	}
	return "pending", now.Add(d)
}
