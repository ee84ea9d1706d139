package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/need"
	"eidgate/internal/safehttp"
	"eidgate/relying"
	"eidgate/sandbox"
)

const (
	testSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	testKey    = "00000000-e2a2-4968-b651-5352305c9fb0"
)

// An outbox is a store in memory. Every attempt that it is told goes to told.
type outbox struct {
	mu     sync.Mutex
	rows   []*row
	told   chan broker.Attempt
	former []relying.Secret // of the account, beside testSecret
	noAcc  error            // of reading the account
	noKey  error            // of reading an API key
	busy   int              // how often one was given back
	claims time.Duration    // that looking takes
	away   int              // how often it cannot be looked into, at first
}

type row struct {
	broker.Claimed
	state string
}

func (o *outbox) ClaimDeliveries(_ context.Context, now time.Time, lease time.Duration, limit int) ([]broker.Claimed, error) {
	if o.claims > 0 {
		<-time.After(o.claims)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away > 0 {
		o.away--
		return nil, errors.New("store is away")
	}
	slices.SortStableFunc(o.rows, func(a, b *row) int { return a.Due.Compare(b.Due) })
	var out []broker.Claimed
	for _, r := range o.rows {
		if len(out) < limit && r.state == "pending" && !r.Due.After(now) {
			r.Due = now.Add(lease)
			r.Attempt++
			out = append(out, r.Claimed)
		}
	}
	return out, nil
}

func (o *outbox) FinishDeliveries(ctx context.Context, all []broker.Attempt) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range all {
		for _, r := range o.rows {
			if r.ID != a.ID || r.Attempt != a.Attempt || r.state != "pending" {
				continue
			}
			r.state, r.Due = a.State, a.Due
			if a.Busy {
				r.Attempt--
				o.busy++
				continue
			}
			o.told <- a
		}
	}
	return nil
}

func (o *outbox) KeyText(_ context.Context, id string) (string, error) {
	if id != "key" {
		return "", relying.ErrUnknown
	}
	return testKey, o.noKey
}

func (o *outbox) Account(context.Context, string) (*relying.Account, error) {
	if o.noAcc != nil {
		return nil, o.noAcc
	}
	return &relying.Account{ID: "acc", WebhookSecrets: append([]relying.Secret{testSecret}, o.former...)}, nil
}

func (o *outbox) add(id, url string, due time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rows = append(o.rows, &row{state: "pending", Claimed: broker.Claimed{Delivery: broker.Delivery{ID: id, Account: "acc", Environment: eid.Test,
		Kind: "webhook", Profile: "zignsec-20", Key: "key", URL: url, Body: testBody, Due: due}}})
}

// testBody has what a careless encoder would write in another way.
var testBody = []byte(`{"id":"1","name":"Åsa <b>&\u2028` + "\u2028" + `","n":1.0}`)

// run starts a worker whose clock stands still until the test moves it.
func run(t *testing.T, o *outbox, m Mailer, total time.Duration) *sandbox.Clock {
	t.Helper()
	clock := sandbox.NewClock(true)
	runAt(t, o, m, total, clock.Now, clock.Jumped)
	return clock
}

// newWorker makes one that calls loopback addresses, for total at most.
func newWorker(t *testing.T, o *outbox, m Mailer, total time.Duration, now func() time.Time, jumped func() <-chan struct{}) *Worker {
	t.Helper()
	o.told = make(chan broker.Attempt, 10_000)
	client := safehttp.New(safehttp.Config{Policy: safehttp.Policy{HTTP: true, Literals: true, AnyPort: true, Loopback: true},
		Timeouts: safehttp.Timeouts{Total: total}})
	t.Cleanup(client.Close)
	return New(Config{Store: o, Client: func(eid.Environment) *safehttp.Client { return client }, Mailer: m, Version: "test",
		Logout: func(_ context.Context, body []byte) (string, error) {
			return fmt.Sprintf("%s at %d", body, now().Unix()), nil
		},
		LimitMail: true, Now: now, Jumped: jumped, Random: func() float64 { return 0.5 }, Log: slog.New(slog.DiscardHandler)})
}

// runAt is run with a clock of another kind.
func runAt(t *testing.T, o *outbox, m Mailer, total time.Duration, now func() time.Time, jumped func() <-chan struct{}) {
	t.Helper()
	w := newWorker(t, o, m, total, now, jumped)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestGrace: a stop waits for what is under way, and no longer than it may; what
// is broken off is tried again.
func TestGrace(t *testing.T) {
	t.Parallel()
	called, over := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(called)
		<-over
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(over) })
	o := &outbox{}
	o.add("msg_1", srv.URL, time.Now())
	w := newWorker(t, o, nil, time.Minute, time.Now, nil)
	w.c.Grace = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	<-called
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for a receiver that hangs")
	}
	if a := o.next(t); a.State != "pending" || a.Reason != "stopped" {
		t.Errorf("%+v", a)
	}
}

func (o *outbox) next(t *testing.T) broker.Attempt {
	t.Helper()
	select {
	case a := <-o.told:
		return a
	case <-time.After(20 * time.Second):
		t.Fatal("no attempt was recorded")
		return broker.Attempt{}
	}
}

// TestSchedule walks through all tries of a receiver that never takes it: the
// same bytes, the same id, a signature for the time of each attempt.
func TestSchedule(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var bad []string
	o := &outbox{}
	var clock *sandbox.Clock
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		h := r.Header
		switch {
		case err != nil || !bytes.Equal(body, testBody):
			bad = append(bad, fmt.Sprintf("body %q, %v", body, err))
		case h.Get("Webhook-Id") != "msg_1" || h.Get("X-Eidgate-Sandbox") != "1" || h.Get("User-Agent") != "eidgate-webhooks/test":
			bad = append(bad, fmt.Sprint(h))
		case h.Get("X-Zignsec-Hmac-Sha256") != ZignSec(testKey, testBody, false):
			bad = append(bad, "older signature "+h.Get("X-Zignsec-Hmac-Sha256"))
		}
		if err := Verify(testSecret, "msg_1", h.Get("Webhook-Timestamp"), h.Get("Webhook-Signature"), body, clock.Now()); err != nil {
			bad = append(bad, err.Error())
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(srv.Close)
	clock = run(t, o, nil, 2*time.Second)
	start := clock.Now()
	o.add("msg_1", srv.URL, start)
	clock.Advance(0)
	var at []time.Duration
	for n := 1; ; n++ {
		a := o.next(t)
		if a.Attempt != n || a.Status != 500 || a.Reason != "status" {
			t.Fatalf("attempt %d is recorded as %+v", n, a)
		}
		at = append(at, clock.Now().Sub(start))
		if a.State != "pending" {
			if a.State != "dead" || n != 20 || at[n-1] > 49*time.Hour || at[n-1] < 40*time.Hour {
				t.Errorf("attempt %d after %s ends it as %s; want the twentieth, about two days on, dead", n, at[n-1], a.State)
			}
			break
		}
		clock.Advance(a.Due.Sub(clock.Now()) - time.Millisecond)
		clock.Advance(time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(bad) > 0 {
		t.Error(strings.Join(bad, "\n"))
	}
}

// TestRotation holds that while an account has two secrets, a notification has a
// signature with each, the newest first, which OpenSSL makes too; and that
// ZignSec's stays as it is.
func TestRotation(t *testing.T) {
	t.Parallel()
	const former = "whsec_dGhpcnR5LXR3byBieXRlcyBmb3Igb25lIHNlY3JldCE="
	openssl := need.Program(t, "openssl")
	seen := make(chan http.Header, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	t.Cleanup(srv.Close)
	for name, secrets := range map[string][]relying.Secret{"one": {testSecret}, "two": {testSecret, former}} {
		o := &outbox{former: secrets[1:]}
		clock := run(t, o, nil, 2*time.Second)
		o.add("msg_1", srv.URL, clock.Now())
		clock.Advance(0)
		if a := o.next(t); a.State != "delivered" {
			t.Fatalf("%s: %+v", name, a)
		}
		h := <-seen
		var want []string
		for _, secret := range secrets {
			key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(secret), "whsec_"))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), openssl, "dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(key), "-binary")
			cmd.Stdin = strings.NewReader("msg_1." + h.Get("Webhook-Timestamp") + "." + string(testBody))
			sum, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, "v1,"+base64.StdEncoding.EncodeToString(sum))
		}
		if got := h.Values("Webhook-Signature"); len(got) != 1 || got[0] != strings.Join(want, " ") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if got := h.Get("X-Zignsec-Hmac-Sha256"); got != ZignSec(testKey, testBody, false) {
			t.Errorf("%s: the older signature is %s", name, got)
		}
	}
}

// TestSigningKey holds that an account's key signs after its secret, and that
// OpenSSL verifies what it has signed with the public half.
func TestSigningKey(t *testing.T) {
	t.Parallel()
	openssl := need.Program(t, "openssl")
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan http.Header, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	t.Cleanup(srv.Close)
	o := &outbox{former: []relying.Secret{relying.Secret(Private(key))}}
	clock := run(t, o, nil, 2*time.Second)
	o.add("msg_1", srv.URL, clock.Now())
	clock.Advance(0)
	if a := o.next(t); a.State != "delivered" {
		t.Fatalf("%+v", a)
	}
	h := <-seen
	list := strings.Fields(h.Get("Webhook-Signature"))
	if len(list) != 2 || !strings.HasPrefix(list[0], "v1,") || !strings.HasPrefix(list[1], "v1a,") {
		t.Fatalf("signatures: %q", list)
	}
	sig, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(list[1], "v1a,"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, raw := range map[string][]byte{"key": der, "signature": sig, "text": []byte("msg_1." + h.Get("Webhook-Timestamp") + "." + string(testBody))} {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), openssl, "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin", "-in", "text", "-sigfile", "signature")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestNothingGoesUnsigned: while a secret or a key cannot be read, nothing is sent
// at all, and it is tried again. A key that was deleted signs no more.
func TestNothingGoesUnsigned(t *testing.T) {
	t.Parallel()
	away := errors.New("store is away")
	for name, c := range map[string]struct {
		store  *outbox
		key    string
		reason string // "" for delivered
		old    bool   // the older signature is there
	}{
		"all there":     {&outbox{}, "key", "", true},
		"no account":    {&outbox{noAcc: away}, "key", "account", false},
		"no key":        {&outbox{noKey: away}, "key", "key", false},
		"a bad secret":  {&outbox{former: []relying.Secret{"whsec_?"}}, "key", "secret", false},
		"a deleted key": {&outbox{}, "deleted", "", false},
		"no key at all": {&outbox{}, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := make(chan http.Header, 1)
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
			t.Cleanup(srv.Close)
			clock := run(t, c.store, nil, 2*time.Second)
			c.store.add("msg_1", srv.URL, clock.Now())
			c.store.rows[0].Key = c.key
			clock.Advance(0)
			a := c.store.next(t)
			if want := cmp.Or(map[string]string{"": "delivered"}[c.reason], "pending"); a.State != want || a.Reason != c.reason {
				t.Errorf("%+v, want %s with reason %q", a, want, c.reason)
			}
			select {
			case h := <-seen:
				if c.reason != "" || h.Get("Webhook-Signature") == "" || (h.Get("X-Zignsec-Hmac-Sha256") != "") != c.old {
					t.Errorf("sent with %v", h)
				}
			default:
				if c.reason == "" {
					t.Error("nothing was sent")
				}
			}
		})
	}
}

// TestHeaders: what a receiver goes by. That it is of a sandbox is said of all
// that is, and never of what is live.
func TestHeaders(t *testing.T) {
	t.Parallel()
	for env, sandbox := range map[eid.Environment]string{eid.Test: "1", eid.Live: ""} {
		t.Run(string(env), func(t *testing.T) {
			t.Parallel()
			seen := make(chan http.Header, 1)
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
			t.Cleanup(srv.Close)
			o := &outbox{}
			clock := run(t, o, nil, 2*time.Second)
			o.add("msg_1", srv.URL, clock.Now())
			o.rows[0].Environment, o.rows[0].UpperHex, o.rows[0].Attempt = env, true, 2 // before this one
			clock.Advance(0)
			if a := o.next(t); a.State != "delivered" || a.Attempt != 3 {
				t.Fatalf("%+v", a)
			}
			h := <-seen
			for name, want := range map[string]string{"X-Eidgate-Sandbox": sandbox, "X-Eidgate-Attempt": "3", "Content-Type": "application/json; charset=utf-8",
				"X-Zignsec-Hmac-Sha256": ZignSec(testKey, testBody, true)} {
				if got := h.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestLogout has a client that is down for a while and then takes a logout
// token: each attempt has one of its own, and nothing else in its form.
func TestLogout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last, attempts int
		state          string
	}{"taken at last": {200, 3, "delivered"}, "refused": {400, 3, "failed"}, "never": {500, 7, "dead"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := make(chan string, 10)
			count := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				seen <- fmt.Sprint(r.Method, " ", r.Header.Get("Content-Type"), " ", string(body), " ", err, r.Header.Get("Webhook-Signature"), " ", r.Header.Get("User-Agent"))
				if count++; count < c.attempts { // one request at a time
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				w.WriteHeader(c.last)
			}))
			t.Cleanup(srv.Close)
			o := &outbox{}
			clock := run(t, o, nil, 2*time.Second)
			start := clock.Now()
			o.add("msg_1", srv.URL, start)
			o.rows[0].Kind, o.rows[0].Profile, o.rows[0].Body = "logout", "logout", []byte("who")
			clock.Advance(0)
			for n := 1; n <= c.attempts; n++ {
				a := o.next(t)
				want := "POST application/x-www-form-urlencoded logout_token=who+at+" + fmt.Sprint(clock.Now().Unix()) + " <nil> eidgate-logout/test"
				if got := <-seen; got != want {
					t.Errorf("attempt %d: %s, want %s", n, got, want)
				}
				if done := n == c.attempts; done != (a.State != "pending") || done && a.State != c.state {
					t.Fatalf("attempt %d ended as %+v", n, a)
				}
				if a.State == "pending" {
					clock.Advance(a.Due.Sub(clock.Now()))
				}
			}
			if took := clock.Now().Sub(start); took > 10*time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestNoLogoutToken: while a token cannot be signed nothing is sent, and it is
// tried again.
func TestNoLogoutToken(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
	t.Cleanup(srv.Close)
	w := newWorker(t, &outbox{}, nil, time.Second, time.Now, nil)
	w.c.Logout = func(context.Context, []byte) (string, error) { return "", errors.New("no key") }
	a := w.deliver(t.Context(), broker.Claimed{Delivery: broker.Delivery{Kind: "logout", Profile: "logout", URL: srv.URL, Environment: eid.Test}, Attempt: 1})
	if a.State != "pending" || a.Reason != "token" {
		t.Errorf("%+v", a)
	}
}

// TestAddressThatIsNone: trying again is of no use.
func TestAddressThatIsNone(t *testing.T) {
	t.Parallel()
	w := newWorker(t, &outbox{}, nil, time.Second, time.Now, nil)
	for _, kind := range []string{"webhook", "logout"} {
		a := w.deliver(t.Context(), broker.Claimed{Delivery: broker.Delivery{Kind: kind, Profile: "standard", URL: ":", Environment: eid.Test}, Attempt: 1})
		if a.State != "failed" || a.Reason != "invalid" {
			t.Errorf("%s: %+v", kind, a)
		}
	}
}

// TestAnswers has a receiver that answers in every way.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		state  string
		reason string
		wait   time.Duration
	}{
		"200": {status(200), "delivered", "", 0},
		"204": {status(204), "delivered", "", 0},
		"299": {status(299), "delivered", "", 0},
		"301": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusMovedPermanently)
		}, "pending", "redirect", 10 * time.Second},
		"400": {status(400), "pending", "status", 10 * time.Second},
		"404": {status(404), "pending", "status", 10 * time.Second},
		"410": {status(410), "failed", "status", 0},
		"429": {status(429), "pending", "status", time.Minute},
		"429 later": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "15.2")
			w.WriteHeader(503)
		}, "pending", "status", 16 * time.Second},
		"502":      {status(502), "pending", "status", time.Minute},
		"hangs up": {func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); hijack(w, "") }, "pending", "refused", 10 * time.Second},
		"garbage":  {func(w http.ResponseWriter, _ *http.Request) { hijack(w, "SSH-2.0-x\r\n\r\n") }, "pending", "bad", 10 * time.Second},
		"body breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
		}, "delivered", "", 0},
		"huge header": {func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
		}, "pending", "bad", 10 * time.Second},
		"never answers": {func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }, "pending", "timeout", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(c.handle)
			t.Cleanup(srv.Close)
			o := &outbox{}
			clock := run(t, o, nil, 2*time.Second)
			o.add("msg_1", srv.URL, clock.Now())
			clock.Advance(0)
			a := o.next(t)
			if a.State != c.state || a.Reason != c.reason || c.state == "pending" && a.Due.Sub(clock.Now()) != c.wait {
				t.Errorf("%s, %q, after %s; want %s, %q, after %s", a.State, a.Reason, a.Due.Sub(clock.Now()), c.state, c.reason, c.wait)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		o := &outbox{}
		clock := run(t, o, nil, 2*time.Second)
		o.add("msg_1", "http://127.0.0.1:1", clock.Now()) // where nobody listens
		clock.Advance(0)
		if a := o.next(t); a.State != "pending" || a.Reason != "refused" {
			t.Errorf("%+v", a)
		}
	})
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func hijack(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, text) // the other side may have gone
	_ = conn.Close()
}

// TestAStuckReceiver: it holds four requests, delays nobody else, and what
// waits for it loses none of its tries.
func TestAStuckReceiver(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	var mu sync.Mutex
	now, most := 0, 0
	stuck := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		<-release
		mu.Lock()
		now--
		mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(stuck.Close)
	t.Cleanup(free)
	quick := httptest.NewServer(status(204))
	t.Cleanup(quick.Close)
	o := &outbox{}
	clock := run(t, o, nil, time.Minute)
	const each = 300
	for i := range each {
		o.add(fmt.Sprintf("stuck%d", i), stuck.URL, clock.Now())
		o.add(fmt.Sprintf("quick%d", i), quick.URL, clock.Now())
	}
	// The clock goes on a little whenever nothing happens: what was given back
	// comes again.
	next := func() broker.Attempt {
		for {
			select {
			case a := <-o.told:
				return a
			case <-time.After(10 * time.Millisecond):
				clock.Advance(50 * time.Millisecond)
			case <-t.Context().Done():
				t.Fatal("no attempt was recorded")
			}
		}
	}
	start := clock.Now()
	for range each {
		if a := next(); !strings.HasPrefix(a.ID, "quick") || a.State != "delivered" {
			t.Fatalf("%+v while the other receiver is stuck", a)
		}
	}
	if took := clock.Now().Sub(start); took > 10*time.Second {
		t.Errorf("the quick receiver has waited %s for the stuck one", took)
	}
	free()
	for range each {
		if a := next(); a.State != "delivered" || a.Attempt != 1 {
			t.Fatalf("%+v: to wait is no attempt", a)
		}
	}
	if most > maxHost {
		t.Errorf("%d requests at the same time, want at most %d", most, maxHost)
	}
}

// TestGivenBackOnce: what is too much for a receiver comes again at the pace at
// which the receiver takes it, and not all of it at once.
func TestGivenBackOnce(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		h     host
		first time.Duration
		each  time.Duration
	}{
		"unknown":    {host{}, time.Second, 5 * time.Millisecond},
		"quick":      {host{pace: 120 * time.Millisecond}, 320 * time.Millisecond, 10 * time.Millisecond},
		"very quick": {host{pace: 12 * time.Millisecond}, 100 * time.Millisecond, 2 * time.Millisecond},
		"slow":       {host{pace: 1200 * time.Millisecond}, 9600 * time.Millisecond, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range 2000 {
				want := min(c.first+time.Duration(i+1)*c.each, 10*time.Second)
				if got := c.h.again(now).Sub(now); got != want.Truncate(time.Nanosecond) {
					t.Fatalf("number %d comes again after %s, want %s", i, got, want)
				}
			}
			later := now.Add(time.Hour)
			if got := c.h.again(later).Sub(later); got != c.first+c.each {
				t.Errorf("an hour later it comes again after %s, want %s", got, c.first+c.each)
			}
		})
	}
}

// TestBacklog: a long backlog of a receiver that is quick gets away, though looking
// for more takes long enough that more is always there.
func TestBacklog(t *testing.T) {
	t.Parallel()
	quick := httptest.NewServer(status(204))
	t.Cleanup(quick.Close)
	const all = 1000
	o := &outbox{claims: 8 * time.Millisecond}
	for i := range all {
		o.add(fmt.Sprint(i), quick.URL, time.Time{})
	}
	runAt(t, o, nil, time.Minute, time.Now, nil)
	for range all {
		if a := o.next(t); a.State != "delivered" || a.Attempt != 1 {
			t.Fatalf("%+v", a)
		}
	}
	if o.mu.Lock(); o.busy > 3*all {
		t.Errorf("%d were given back %d times", all, o.busy)
	}
	o.mu.Unlock()
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "0.2": time.Second, "-1": 0, "soon": 0, "NaN": 0, "1e300": 0, "Inf": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("retryAfter(%q) = %s, want %s", text, got, want)
		}
	}
}

// A letterbox takes mails, or refuses them.
type letterbox struct {
	mu   sync.Mutex
	err  error
	sent []string
}

func (l *letterbox) Send(_ context.Context, id, to string, m broker.MailBody) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, cmp.Or(id+" "+to+" "+m.Subject, ""))
	return l.err
}

func TestMailIsDelivered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		state string
	}{"taken": {nil, "delivered"}, "later": {io.ErrUnexpectedEOF, "pending"}, "refused": {fmt.Errorf("%w: x", ErrFinal), "failed"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &letterbox{err: c.err}
			o := &outbox{}
			clock := run(t, o, l, 2*time.Second)
			body, err := json.Marshal(broker.MailBody{Subject: "s", Text: "t"})
			if err != nil {
				t.Fatal(err)
			}
			o.mu.Lock()
			o.rows = append(o.rows, &row{state: "pending", Claimed: broker.Claimed{Delivery: broker.Delivery{ID: "msg_1", Account: "acc",
				Environment: eid.Test, Kind: "email", Profile: "email", URL: "rp@example.com", Body: body, Due: clock.Now()}}})
			o.mu.Unlock()
			clock.Advance(0)
			if a := o.next(t); a.State != c.state {
				t.Errorf("%+v, want %s", a, c.state)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if want := []string{"msg_1 rp@example.com s"}; !slices.Equal(l.sent, want) {
				t.Errorf("sent %q", l.sent)
			}
		})
	}
}

// TestMailIsLimited: the eleventh mail within an hour waits for its turn, and
// loses no try by that; another address does not wait for it.
func TestMailIsLimited(t *testing.T) {
	t.Parallel()
	l := &letterbox{}
	o := &outbox{}
	clock := run(t, o, l, 2*time.Second)
	start := clock.Now()
	o.mu.Lock()
	for i := range 12 {
		to := "rp@example.com"
		if i == 11 {
			to = "other@example.com"
		}
		o.rows = append(o.rows, &row{state: "pending", Claimed: broker.Claimed{Delivery: broker.Delivery{ID: fmt.Sprintf("msg_%d", i), Account: "acc",
			Environment: eid.Live, Kind: "email", Profile: "email", URL: to, Body: []byte(`{"subject":"s"}`), Due: start.Add(time.Duration(i))}}})
	}
	o.mu.Unlock()
	clock.Advance(time.Microsecond)
	seen := map[string]bool{}
	for range 11 {
		seen[o.next(t).ID] = true
	}
	if seen["msg_10"] || !seen["msg_11"] {
		t.Errorf("delivered at once: %v", seen)
	}
	clock.Advance(6*time.Minute - time.Second)
	clock.Advance(2 * time.Second)
	if a := o.next(t); a.ID != "msg_10" || a.Attempt != 1 || a.State != "delivered" {
		t.Errorf("after six minutes: %+v", a)
	}
}

// TestMailOfAnAccount: sixty mails of an account go at once, then one a minute;
// what waits for that takes nothing from its address, and nobody else waits.
func TestMailOfAnAccount(t *testing.T) {
	t.Parallel()
	clock := sandbox.NewClock(true)
	w := newWorker(t, &outbox{}, nil, time.Second, clock.Now, clock.Jumped)
	mail := func(account, to string) broker.Claimed {
		return broker.Claimed{Delivery: broker.Delivery{Account: account, Kind: "email", URL: to}}
	}
	for i := range 60 {
		if wait := w.mayMail(mail("acc", fmt.Sprintf("rp%d@example.com", i))); wait != 0 {
			t.Fatalf("mail %d waits for %s", i, wait)
		}
	}
	for range 20 { // it comes again and again
		if wait := w.mayMail(mail("acc", "rp@example.com")); wait != time.Minute {
			t.Fatalf("mail 60 waits for %s, want a minute", wait)
		}
	}
	for name, c := range map[string]broker.Claimed{"another account's": mail("other", "rp@example.com"),
		"a webhook": {Delivery: broker.Delivery{Account: "acc", Kind: "webhook", URL: "https://rp.example"}}} {
		if wait := w.mayMail(c); wait != 0 {
			t.Errorf("%s waits for %s", name, wait)
		}
	}
	clock.Advance(time.Minute)
	for _, want := range []time.Duration{0, time.Minute} {
		if wait := w.mayMail(mail("acc", "rp@example.com")); wait != want {
			t.Errorf("a minute later it waits for %s, want %s", wait, want)
		}
	}
	w.c.LimitMail = false
	for range 100 {
		if wait := w.mayMail(mail("acc", "rp@example.com")); wait != 0 {
			t.Fatalf("in a sandbox it waits for %s", wait)
		}
	}
}

// TestMailThatFindsNoRoom: a mail that is given back, since too many wait, has taken
// nothing of what its account may send.
func TestMailThatFindsNoRoom(t *testing.T) {
	t.Parallel()
	clock := sandbox.NewClock(true)
	w := newWorker(t, &outbox{}, nil, time.Second, clock.Now, clock.Jumped)
	d, done := &desk{busy: map[string]int{}, hosts: map[string]host{}}, make(chan broker.Attempt, 120)
	for _, want := range []int{maxQueue, 60 - maxQueue} {
		d.waiting = nil
		for i := range 60 {
			w.queue(d, broker.Claimed{Delivery: broker.Delivery{Account: "acc", Kind: "email", URL: fmt.Sprintf("rp%d@example.com", i)}}, done)
		}
		if len(d.waiting) != want {
			t.Errorf("%d may go, want %d", len(d.waiting), want)
		}
	}
}

// TestBounds: how much is under way at once, of one receiver, of an account and in
// all.
func TestBounds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		account, host string // the same for all; "" for each its own
		pace          time.Duration
		want          int
	}{
		"a receiver":         {"", "h", 0, maxHost},
		"a quick receiver":   {"", "h", time.Millisecond, maxQuick},
		"a slow receiver":    {"", "h", quick, maxHost},
		"an account":         {"a", "", 0, maxAccount},
		"everybody together": {"", "", 0, maxTotal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorker(t, &outbox{}, nil, time.Second, time.Now, nil)
			done, left := make(chan broker.Attempt, 100), make(chan queued, 100)
			d := &desk{busy: map[string]int{}, hosts: map[string]host{"h h": {pace: c.pace}}}
			for i := range 100 { // of a kind that ends at once, in what is no answer yet
				d.waiting = append(d.waiting, queued{account: "a " + cmp.Or(c.account, fmt.Sprint(i)), host: "h " + cmp.Or(c.host, fmt.Sprint(i)), since: w.c.Now(), Claimed: broker.Claimed{
					Delivery: broker.Delivery{Kind: "email"}, Attempt: 1}})
			}
			w.start(t.Context(), d, done, left)
			if d.total != c.want || len(d.waiting) != 100-c.want {
				t.Errorf("%d are under way and %d wait, want %d under way", d.total, len(d.waiting), c.want)
			}
			for range c.want {
				d.leave(<-left)
			}
			if d.total != 0 || len(d.busy) != 0 {
				t.Errorf("%d are under way at the end, busy %v", d.total, d.busy)
			}
		})
	}
}

// TestPatience: what has waited for its turn for long goes back before its lease
// ends, or another node would send it as well.
func TestPatience(t *testing.T) {
	t.Parallel()
	clock := sandbox.NewClock(true)
	w := newWorker(t, &outbox{}, nil, time.Second, clock.Now, clock.Jumped)
	done := make(chan broker.Attempt, 1)
	d := &desk{busy: map[string]int{"h rp.example": maxHost}, hosts: map[string]host{}}
	w.queue(d, broker.Claimed{Delivery: broker.Delivery{ID: "msg_1", Account: "acc", Kind: "webhook", URL: "https://rp.example/hook"}, Attempt: 1}, done)
	clock.Advance(patience)
	if w.start(t.Context(), d, done, nil); len(d.waiting) != 1 || len(done) != 0 {
		t.Fatalf("after %s %d wait", patience, len(d.waiting))
	}
	clock.Advance(time.Second)
	w.start(t.Context(), d, done, nil)
	if len(d.waiting) != 0 || len(done) != 1 {
		t.Fatalf("after %s and a second %d wait", patience, len(d.waiting))
	}
	if a := <-done; a.ID != "msg_1" || a.State != "pending" || !a.Busy || !a.Due.After(clock.Now()) {
		t.Errorf("%+v", a)
	}
}

// TestReceiversAreForgotten: however many there are, their paces have bounds in
// memory; and a pace that a jump of the clock has made counts for nothing.
func TestReceiversAreForgotten(t *testing.T) {
	t.Parallel()
	d := &desk{busy: map[string]int{}, hosts: map[string]host{}}
	for i := range 2 * maxHosts {
		d.leave(queued{host: fmt.Sprint(i), took: time.Millisecond})
		if len(d.hosts) > maxHosts {
			t.Fatalf("%d receivers are remembered", len(d.hosts))
		}
	}
	before := d.hosts[fmt.Sprint(2*maxHosts-1)]
	for _, took := range []time.Duration{-time.Hour, time.Hour} {
		d.leave(queued{host: fmt.Sprint(2*maxHosts - 1), took: took})
	}
	if got := d.hosts[fmt.Sprint(2*maxHosts-1)]; got != before || got.pace == 0 {
		t.Errorf("%+v, want %+v", got, before)
	}
}

// TestMailThatCannotGo: without a relay, or with a body that nobody can read,
// trying again is of no use.
func TestMailThatCannotGo(t *testing.T) {
	t.Parallel()
	l := &letterbox{}
	for name, c := range map[string]struct {
		mailer Mailer
		body   string
		want   outcome
	}{
		"no relay": {nil, `{"subject":"s"}`, outcome{final: true, reason: "no_relay"}},
		"no body":  {l, `{"subject":`, outcome{final: true, reason: "invalid"}},
	} {
		w := newWorker(t, &outbox{}, c.mailer, time.Second, time.Now, nil)
		if got := w.mail(t.Context(), broker.Claimed{Delivery: broker.Delivery{Kind: "email", URL: "rp@example.com", Body: []byte(c.body)}}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if len(l.sent) != 0 {
		t.Errorf("sent %q", l.sent)
	}
}

// mails are so many deliveries of an account.
func mails(account string, n int) (rows []*row) {
	for i := range n {
		rows = append(rows, &row{state: "pending", Claimed: broker.Claimed{Delivery: broker.Delivery{ID: fmt.Sprint(account, i), Account: account,
			Environment: eid.Live, Kind: "email", Profile: "email", URL: "rp@example.com", Body: []byte(`{"subject":"s"}`)}}})
	}
	return rows
}

// TestWake: what was just written goes at once; and an outbox that cannot be read
// is looked into again.
func TestWake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, o := &letterbox{}, &outbox{away: 1}
		w := newWorker(t, o, l, time.Second, time.Now, nil)
		var counted []string
		w.c.Count = func(kind, result string) { counted = append(counted, kind+" "+result) }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		start := time.Now()
		synctest.Wait()
		for i, account := range []string{"first", "second"} {
			o.mu.Lock()
			o.rows = append(o.rows, mails(account, 1)...)
			o.mu.Unlock()
			w.Wake()
			synctest.Wait()
			if l.mu.Lock(); len(l.sent) != i+1 {
				t.Errorf("%d mails were sent, want %d", len(l.sent), i+1)
			}
			l.mu.Unlock()
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %s", took)
		}
		cancel()
		if err := <-ended; err != nil || !slices.Equal(counted, []string{"email delivered", "email delivered"}) {
			t.Errorf("%v, counted %q", err, counted)
		}
	})
}

// A closed mailer takes nothing, until whoever waits gives up.
type closed struct{}

func (closed) Send(ctx context.Context, _, _ string, _ broker.MailBody) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestMailThatHangs: a relay has 25 seconds for a mail.
func TestMailThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(t, &outbox{}, closed{}, time.Second, time.Now, nil)
		c := mails("acc", 1)[0].Claimed
		c.Attempt = 1
		if a := w.deliver(t.Context(), c); a.State != "pending" || a.Reason != "relay" || a.Took != 25*time.Second {
			t.Errorf("%+v", a)
		}
	})
}

// TestWhatWaits: mails of an account stand in a queue of their own, and no more is
// claimed than may wait in memory.
func TestWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &outbox{}
		const accounts = 12
		for i := range accounts * (maxHost + maxQueue) { // in turn
			o.rows = append(o.rows, mails(fmt.Sprint("acc", i%accounts), 1)...)
			o.rows[i].ID = fmt.Sprint(i)
		}
		w := newWorker(t, o, closed{}, time.Second, time.Now, nil)
		w.c.LimitMail = false
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		claimed := 0
		o.mu.Lock()
		for _, r := range o.rows {
			claimed += r.Attempt
		}
		if want := accounts*maxHost + maxWaiting; claimed != want || o.busy != 0 {
			t.Errorf("%d are claimed and %d were given back, want %d and none", claimed, o.busy, want)
		}
		o.mu.Unlock()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
