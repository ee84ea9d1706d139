package zignsec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	cbankidse "eidgate/connector/bankidse"
	"eidgate/eid"
	"eidgate/internal/golden"
	"eidgate/internal/safehttp"
	"eidgate/notify"
	"eidgate/relying"
	"eidgate/store"
	"eidgate/web"
	"eidgate/web/hosted"
)

// TestConversations plays testdata/*.txtar, each against a server of its own:
// API, pages, broker and store are the real ones, wired as package server does
// it, and what BankID says is said by the story at /-/bankid (see control).
func TestConversations(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	t.Run("each", func(t *testing.T) {
		for _, path := range paths {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, w *world) { golden.Talk(t, path, w) })
			})
		}
	})
	t.Run("all", func(t *testing.T) { tellEverything(t, paths) }) // as they are now
}

// inBubble runs a test whose time passes only while everything waits.
func inBubble(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

const (
	public = "https://eid.example.com"
	begin  = "2026-01-02T03:04:05.6789012Z"
)

// The accounts of every world, by the key that calls for them.
var parties = []struct {
	key string
	env eid.Environment
	acc relying.Account
}{
	{"11111111-1111-4111-8111-111111111111", eid.Test, relying.Account{ID: "shop", Name: "Shop", Language: "en", Layouts: []string{"Layout1", "Layout4"}, Layout: "Layout1",
		Configs: []relying.Config{{ID: "c0000000-0000-4000-8000-000000000001", Layout: "Layout4",
			Webhooks: map[eid.Environment]string{eid.Test: "https://shop.example/of-the-configuration"}}, {ID: "C0000000-0000-4000-8000-000000000002"}},
		Webhooks: map[eid.Environment]string{eid.Test: "https://shop.example/of-the-account"}}},
	{liveKey, eid.Live, relying.Account{ID: "shop"}}, // the same account's
	{"22222222-2222-4222-8222-222222222222", eid.Test, relying.Account{ID: "plain", Name: "Plain"}},
	{"33333333-3333-4333-8333-333333333333", eid.Test, relying.Account{ID: "office", Name: "Office", AllowedIPs: "198.51.100.0/24; 203.0.113.7"}},
	{"44444444-4444-4444-8444-444444444444", eid.Test, relying.Account{ID: "other", Name: "No BankID", EIDs: []eid.EID{eid.IDIN}}},
	{"55555555-5555-4555-8555-555555555555", eid.Test, relying.Account{ID: "old", Name: "Old client", Language: "sv", Hosts: []string{"old.example"}, Keep: 5 * time.Minute,
		Frames: []string{"https://frame.example"}, WebhookEmail: "thin",
		Switches: relying.Switches{DropStateOnSuccess: true, LegacyErrorStatus: true, PostMessageJSON: true, WebhookMaxAttempts: 3,
			TargetErrorDetails: true, HMACHexUpper: true, IdentificationDateLocal: true, AskPersonalNumber: true, EchoCustom: true}}},
	{"66666666-6666-4666-8666-666666666666", eid.Test, relying.Account{ID: "eager", Name: "Eager", Limits: relying.Limits{Setups: 1, Reads: 1}}},
	{"77777777-7777-4777-8777-777777777777", eid.Test, relying.Account{ID: "framed", Name: "Framed",
		Switches: relying.Switches{WildcardFrameOrigin: true, NoWebhookHMAC: true}}},
	{"88888888-8888-4888-8888-888888888888", eid.Test, relying.Account{ID: winkel, Name: "Winkel", Language: "nl", Frames: []string{"https://winkel.example"}}},
	{"99999999-9999-4999-8999-999999999999", eid.Test, relying.Account{ID: "winkel-2", Name: "Winkel 2", Switches: relying.Switches{DropStateOnSuccess: true,
		IdentificationDateLocal: true}, WebhookEmail: "thin"}},
	{"aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", eid.Test, relying.Account{ID: butikk, Name: "Butikk", Language: "nb"}},
	{"aaaaaaae-aaaa-4aaa-8aaa-aaaaaaaaaaaa", eid.Live, relying.Account{ID: butikk}},
}

// winkel and its sister are the accounts that have iDIN, and butikk is the one
// that has Norwegian BankID and itsme.
const (
	winkel = "winkel"
	butikk = "butikk"
)

// A world is a server with a clock and ids that are always the same.
type world struct {
	http.Handler
	t      *testing.T
	api    *API
	broker *broker.Broker
	store  *store.Store
	bank   *bank
	idin   *dutch
	age    *dutch
	itsme  *dutch       // of whom stories know nothing but that it does not begin
	fails  atomic.Bool  // the store takes nothing
	proofs func() error // comes before evidence is read; nil for nothing
	told   atomic.Int32 // how many times the audit trail says that a result was read
	mu     sync.Mutex
	ahead  time.Duration // of the time in the bubble
	jump   chan struct{}
	page   string // the last one, as it came
	log    bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, jump: make(chan struct{})}
	start, err := time.Parse(time.RFC3339Nano, begin)
	if err != nil {
		t.Fatal(err)
	}
	w.ahead = time.Until(start)
	log := slog.New(slog.NewJSONHandler(&w.log, nil))
	if w.store, err = store.Open(t.Context(), store.Config{URL: "memory", Master: bytes.Repeat([]byte{7}, 32), Now: w.now, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{"199001012385", "Ada Test", "Vliet", "FEMKE", "19870605", "1987-06-05", "Proefstraat", "Onbekend", "Nordmann", "01819010354", "Eksempelveien",
			"11111111-1111-4111-8111-111111111111"} {
			if bytes.Contains(w.log.Bytes(), []byte(secret)) {
				t.Errorf("the log holds %q", secret)
			}
		}
	})
	if err := w.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range parties {
		if p.acc.Name != "" {
			err = w.store.PutAccount(t.Context(), &p.acc)
		}
		k := relying.Key{ID: "key-" + p.acc.ID + "-" + string(p.env), Account: p.acc.ID, Environment: p.env, Created: w.now()}
		if err := errors.Join(err, w.store.PutKey(t.Context(), k, p.key, !p.acc.Switches.NoWebhookHMAC)); err != nil {
			t.Fatal(err)
		}
	}
	w.bank = &bank{Connector: cbankidse.New(w.now), now: w.now}
	w.idin, w.age = &dutch{eid: eid.IDIN, now: w.now}, &dutch{eid: eid.IDINAge, now: w.now}
	w.itsme = &dutch{eid: eid.Itsme, now: w.now}
	conns := map[eid.EID]connector.Connector{eid.BankIDSE: w.bank, eid.IDIN: w.idin, eid.IDINAge: w.age, eid.BankIDNO: &norwegian{now: w.now}, eid.Itsme: w.itsme}
	w.broker, err = broker.New(broker.Config{Store: &failing{w.store, w},
		Connectors: map[eid.Environment]map[eid.EID]connector.Connector{eid.Test: conns, eid.Live: conns},
		Settings: func(context.Context, *broker.Session, eid.EID, string) (connector.Settings, error) {
			return connector.Settings{Key: "k"}, nil
		},
		Outbox: map[string]func(*broker.Final) []broker.Delivery{Name: Outbox}, Public: public, HandleKey: make([]byte, 32), Epoch: "node",
		Now: w.now, Jumped: w.jumped, NewID: ids("b"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.serve(log)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.broker.Run(ctx) }) // it ends because the test does
	t.Cleanup(func() { cancel(); running.Wait() })
	synctest.Wait()
	return w
}

// serve puts the handlers together.
func (w *world) serve(log *slog.Logger) {
	static, err := web.NewStatic()
	if err != nil {
		w.t.Fatal(err)
	}
	words, err := web.NewWords()
	if err != nil {
		w.t.Fatal(err)
	}
	client := func(r *http.Request) netip.Addr { return netip.MustParseAddrPort(r.RemoteAddr).Addr() }
	w.api = New(Config{Security: func(string) {}, Broker: w.broker, Accounts: w.store, Public: public, Client: client, Now: w.now, Clock: w.now, NewID: ids("a"), Log: log,
		Has: func(a *relying.Account, _ eid.Environment, e eid.EID) bool {
			return e == eid.BankIDSE || strings.HasPrefix(a.ID, winkel) && (e == eid.IDIN || e == eid.IDINAge) || a.ID == butikk && (e == eid.BankIDNO || e == eid.Itsme)
		},
		CheckURL: func(_ eid.Environment, raw string, browser bool) (*url.URL, error) {
			return safehttp.CheckURL(raw, safehttp.Policy{AnyPort: browser})
		}})
	pages, err := hosted.New(hosted.Config{Broker: w.broker, Static: static, Words: words, Client: client, Secure: true, Now: w.now, Log: log,
		Leave: func(_ context.Context, s *broker.Session, spec *broker.Spec) (hosted.Return, error) {
			r, err := Leave(s, spec)
			return hosted.Return{URL: r.URL, Message: r.Message, AsText: r.AsText, Origins: r.Origins}, err
		}})
	if err != nil {
		w.t.Fatal(err)
	}
	control := w.control()
	w.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		lengthen(r)
		path := strings.Split(r.URL.Path, "/")
		switch {
		case strings.HasPrefix(r.URL.Path, "/-/"):
			control.ServeHTTP(rw, r)
		case len(path) > 4 && path[2] == "Hosted":
			rec := httptest.NewRecorder()
			pages.Serve(rec, r, path[3], path[len(path)-1])
			w.page = rec.Body.String()
			read(rw, rec)
		default:
			w.api.ServeHTTP(rw, r)
		}
	})
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead).UTC()
}

func (w *world) jumped() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.jump
}

// pass lets time pass. Of a long while only the last seconds are lived through.
func (w *world) pass(d time.Duration) {
	const lived = 2 * time.Second
	if d > lived {
		w.mu.Lock()
		w.ahead += d - lived
		close(w.jump)
		w.jump = make(chan struct{})
		w.mu.Unlock()
		d = lived
	}
	time.Sleep(d)
	synctest.Wait()
}

// ids counts, in the form of a UUID.
func ids(first string) func() string {
	var n atomic.Int64
	return func() string { return fmt.Sprintf("%s%07d-0000-4000-8000-000000000000", first, n.Add(1)) }
}

var filler = regexp.MustCompile(`\{(.)\*(\d+)\}`)

// lengthen replaces {A*40001} in a body by so many characters, which nobody would
// read in a story.
func lengthen(r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	raw = filler.ReplaceAllFunc(raw, func(m []byte) []byte {
		part := filler.FindSubmatch(m)
		n, _ := strconv.Atoi(string(part[2])) // digits
		return bytes.Repeat(part[1], n)
	})
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
}

var (
	ofPage  = regexp.MustCompile(`<html (lang)="(\w+)"|<input[^>]* (name)="(\w+)"|data-(end|message|origins|text)="([^"]+)"`)
	allowed = regexp.MustCompile(`(?:form-action|frame-ancestors) [^;]*`)
)

// read writes an answer. Of a page it leaves what the API decides: its language,
// what may be entered, what its script is told, and where the session may be
// framed and go. What pages say is another test's affair.
func read(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	body := rec.Body.Bytes()
	if bytes.Contains(body, []byte("<html ")) {
		var b bytes.Buffer
		for _, part := range ofPage.FindAllSubmatch(body, -1) {
			for i := 1; i < len(part); i += 2 {
				if len(part[i]) > 0 {
					fmt.Fprintf(&b, "%s: %s\n", part[i], part[i+1])
				}
			}
		}
		body = []byte(html.UnescapeString(b.String()))
		csp := allowed.FindAllString(rec.Header().Get("Content-Security-Policy"), -1)
		w.Header().Set("Content-Security-Policy", strings.Join(csp, "; "))
	}
	for _, k := range []string{"Location", "Set-Cookie", "Retry-After"} {
		if v := rec.Header()[k]; v != nil {
			w.Header()[k] = v
		}
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body) // to a recorder
}

// A failing store takes no change, or gives no evidence, while it is told so.
type failing struct {
	broker.Store
	w *world
}

func (f *failing) Apply(ctx context.Context, c *broker.Change) error {
	if f.w.fails.Load() {
		return errors.New("the disk is full")
	}
	err := f.Store.Apply(ctx, c)
	for _, line := range c.Audit {
		if err == nil && line.Action == "result.read" {
			f.w.told.Add(1)
		}
	}
	return err
}

func (f *failing) Evidence(ctx context.Context, session string) ([]eid.Evidence, error) {
	if f.w.proofs != nil {
		if err := f.w.proofs(); err != nil {
			return nil, err
		}
	}
	return f.Store.Evidence(ctx, session)
}

// control is what a story may do besides calling the server:
//
//	POST /-/bankid?ref=REF&pending=HINT        BankID says that the order goes on
//	POST /-/bankid?ref=REF&failed=REASON&code= … that it has ended without a result
//	POST /-/bankid?ref=REF&complete=1          … that the person has confirmed
//	POST /-/bankid?refuses=REASON&code=        … that the next order is not begun
//	POST /-/clock?pass=31m                     time passes
//	POST /-/sandbox?key=KEY                    the server is a sandbox, and this its demo shop's key
//	POST /-/disk?full=true                     the store takes nothing
//	GET  /-/rows                               how many sessions there are
//	GET  /-/sent                               what is to be sent, once
//	GET  /-/notes?id=ID                        a session's timeline
func (w *world) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /-/bankid", func(rw http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Has("refuses") {
			w.bank.refuse(connector.Fail{Reason: eid.Reason(q.Get("refuses")), Code: q.Get("code"), Retry: q.Has("retry")})
		} else if _, err := w.broker.Called(r.Context(), eid.Environment(orElse(q.Get("environment"), "test")), eid.BankIDSE,
			connector.Inbound{Query: q}); err != nil {
			http.Error(rw, err.Error(), http.StatusConflict)
			return
		}
		rw.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /-/idin", w.bankSays(w.idin))
	mux.HandleFunc("POST /-/age", w.bankSays(w.age))
	mux.HandleFunc("POST /-/itsme", w.bankSays(w.itsme))
	mux.HandleFunc("POST /-/bankidno", w.bankIDNOSays)
	mux.HandleFunc("POST /-/clock", func(rw http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.URL.Query().Get("pass"))
		if err != nil {
			panic(err)
		}
		w.pass(d)
		rw.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /-/sandbox", func(rw http.ResponseWriter, r *http.Request) {
		w.api.c.DemoKey = r.URL.Query().Get("key")
		rw.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /-/disk", func(rw http.ResponseWriter, r *http.Request) {
		w.fails.Store(r.URL.Query().Get("full") == "true")
		rw.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /-/rows", func(rw http.ResponseWriter, r *http.Request) { fmt.Fprintf(rw, "%d sessions\n", w.rows()) })
	mux.HandleFunc("GET /-/sent", func(rw http.ResponseWriter, r *http.Request) {
		for _, d := range w.sent() {
			fmt.Fprintf(rw, "%s %s (%s, %s)\n", d.Kind, d.URL, d.Type, d.Profile)
			if d.Key != "" {
				key, err := w.store.KeyText(r.Context(), d.Key)
				if err != nil {
					panic(err)
				}
				fmt.Fprintf(rw, "X-ZignSec-Hmac-SHA256: %s\n", notify.ZignSec(key, d.Body, d.UpperHex))
			}
			fmt.Fprintf(rw, "%s\n", d.Body)
		}
	})
	mux.HandleFunc("GET /-/notes", func(rw http.ResponseWriter, r *http.Request) {
		notes, err := w.store.Notes(r.Context(), r.URL.Query().Get("id"))
		if err != nil {
			panic(err)
		}
		for _, n := range notes {
			fmt.Fprintf(rw, "%s %s: %s\n", n.At.UTC().Format(time.TimeOnly), n.Kind, n.Text)
		}
	})
	return mux
}

func orElse(s, usual string) string {
	if s == "" {
		return usual
	}
	return s
}

// rows counts sessions, whoever's they are.
func (w *world) rows() int {
	w.t.Helper()
	n := 0
	for _, p := range parties {
		if p.acc.Name == "" {
			continue
		}
		list, err := w.store.List(w.t.Context(), p.acc.ID, "", 1000)
		if err != nil {
			w.t.Fatal(err)
		}
		n += len(list)
	}
	return n
}

// sent takes what is in the outbox.
func (w *world) sent() []broker.Claimed {
	w.t.Helper()
	list, err := w.store.ClaimDeliveries(w.t.Context(), w.now(), time.Hour, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// bank is what a story has BankID say. Its first form is the real one.
type bank struct {
	*cbankidse.Connector
	now     func() time.Time
	mu      sync.Mutex
	orders  int
	refuses *connector.Fail
}

// bankState is what an order remembers. The nonce is the one that the person's
// app brings back.
type bankState struct {
	Ref, Token, Nonce, Hint string
	Pinned                  eid.Number
	Confirmed, Returned     bool
}

func (b *bank) refuse(f connector.Fail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuses = &f
}

func (b *bank) Begin(_ context.Context, r *connector.Request) (connector.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.refuses; f != nil {
		b.refuses = nil
		return connector.Result{Step: *f, State: []byte("{}")}, nil
	}
	b.orders++
	s := bankState{Ref: fmt.Sprintf("0de70000-0000-4000-8000-%012d", b.orders), Token: fmt.Sprintf("a5700000-0000-4000-8000-%012d", b.orders),
		Nonce: fmt.Sprintf("nonce-%d", b.orders), Pinned: r.Pinned}
	return s.result(), nil
}

func (s bankState) result() connector.Result {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	res := connector.Result{Step: s.wait(), State: raw, Refs: []connector.Ref{connector.Ref(s.Ref)}}
	if s.Confirmed {
		res.Step = connector.Again{}
	}
	return res
}

func (s bankState) wait() connector.Wait {
	return connector.Wait{QR: "bankid." + s.Token + ".0", Launch: "https://app.bankid.com/?autostarttoken=" + s.Token, Token: s.Token,
		Hint: "bankidse.rfa1", Code: s.Hint}
}

func (b *bank) Resume(_ context.Context, r *connector.Request, raw []byte, e connector.Event) (connector.Result, error) {
	var s bankState
	if err := json.Unmarshal(raw, &s); err != nil {
		return connector.Result{}, err
	}
	switch ev := e.(type) {
	case connector.Expired:
		return connector.Result{Step: connector.Fail{Reason: eid.Expired}, State: raw}, nil
	case connector.Submitted:
		if ev.Values.Get("nonce") == s.Nonce && !s.Returned {
			s.Returned = true
			res := s.result()
			res.Notes = []string{"browser returned"}
			return res, nil
		}
	case connector.Called:
		q := ev.In.Query
		if why := q.Get("failed"); why != "" {
			return connector.Result{Step: connector.Fail{Reason: eid.Reason(why), Code: q.Get("code"), Retry: q.Has("retry")}, State: raw}, nil
		}
		s.Hint, s.Confirmed = q.Get("pending"), q.Has("complete")
	case connector.Tick:
		if s.Confirmed {
			return b.confirm(r, s), nil
		}
	}
	return s.result(), nil
}

// confirm is the end of an order: ada is who confirms, whoever was asked for.
func (b *bank) confirm(_ *connector.Request, s bankState) connector.Result {
	const number = "199001012385"
	if s.Pinned != "" && s.Pinned != number {
		return connector.Result{Step: connector.Fail{Reason: eid.WrongPerson}, State: []byte("{}")}
	}
	age := 36
	return connector.Result{Step: connector.Done{}, State: []byte("{}"), Confirmed: &eid.Identity{EID: eid.BankIDSE, At: b.now(), Request: s.Ref,
		Subject: number, Country: "SE", Number: number, Name: "Ada Test", Given: "Ada", Family: "Test", Birth: "1990-01-01", Age: &age},
		Evidence: []eid.Evidence{{Name: "bankidse.signature", Type: "application/xml", Data: []byte("PHNpZ25hdHVyZS8+")},
			{Name: "bankidse.request", Type: "application/json", Data: []byte(`{"device":{"ipAddress":"198.51.100.20"}}`)},
			{Name: "bankidse.ocsp", Type: "application/ocsp-response", Data: []byte("b2NzcA==")}}}
}

// View implements connector.Viewer.
func (b *bank) View(raw []byte, _ time.Time) (connector.Wait, error) {
	var s bankState
	err := json.Unmarshal(raw, &s)
	return s.wait(), err
}

// Locate implements connector.Locator.
func (b *bank) Locate(in connector.Inbound) (connector.Ref, error) {
	return connector.Ref(in.Query.Get("ref")), nil
}

// Cancel implements connector.Canceller.
func (b *bank) Cancel(context.Context, *connector.Request, []byte) error { return nil }
