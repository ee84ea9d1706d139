package oidc_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/jose"
	"eidgate/relying"
	"eidgate/sandbox"
	"eidgate/store"
)

// An instant is an eID that confirms whoever a test wants, at once.
type instant struct {
	mu  sync.Mutex
	eid eid.EID
	now func() time.Time
	who eid.Identity
	end connector.Step
	how eid.Binding // how surely the browser is the person's; "" leaves it

	proofs []eid.Evidence
	asked  *connector.Request // the last one
}

func (c *instant) Info() connector.Info {
	return connector.Info{EID: c.eid, Purposes: []eid.Purpose{eid.Identify, eid.Age}, Modes: []string{""}, Leaves: true}
}

func (c *instant) Begin(_ context.Context, r *connector.Request) (connector.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = r
	if c.end != nil {
		return connector.Result{Step: c.end}, nil
	}
	who := c.who
	who.EID, who.At = c.eid, c.now()
	return connector.Result{Step: connector.Done{}, Confirmed: &who, Evidence: c.proofs, Binding: c.how}, nil
}

func (c *instant) Resume(context.Context, *connector.Request, []byte, connector.Event) (connector.Result, error) {
	return connector.Result{}, errors.New("there is nothing to resume")
}

// keys are the provider's, made once for all tests.
var keys = sync.OnceValue(func() map[string]any {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	p, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	x, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[string]any{"RS256": r, "PS256": p, "ES256": e, "EdDSA": d, "enc": x}
})

// A world is a provider with its broker, its store, three eIDs and an account.
type world struct {
	t        testing.TB
	clock    *sandbox.Clock
	store    *store.Store
	broker   *broker.Broker
	provider *oidc.Provider
	server   *httptest.Server
	eids     map[eid.EID]*instant
	account  *relying.Account
	log      *record

	mu       sync.Mutex
	problems []string          // that browsers were shown
	shown    string            // what stood on the last page
	fields   url.Values        // of the last question about a logout
	docs     map[string][]byte // what can be fetched
	fetched  int
	sent     []broker.Delivery
	trail    []string       // what was recorded of reads
	places   int            // that requests came from which do not say it
	alarms   map[string]int // by kind
	ignored  map[bool]int   // keys of acr_values, by whether they are known
	kept     *jose.Set
	layout   string // of the last login that ended
}

// A record is what is logged. It is safe for concurrent use.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// A teller is a broker that remembers what it was told to deliver and to record.
type teller struct {
	*broker.Broker
	w *world
}

func (t teller) Record(ctx context.Context, session, actor, action, outcome string) error {
	t.w.mu.Lock()
	t.w.trail = append(t.w.trail, strings.Join([]string{session, actor, action, outcome}, " "))
	t.w.mu.Unlock()
	return t.Broker.Record(ctx, session, actor, action, outcome)
}

func (t teller) Note(ctx context.Context, session, kind string, lines ...broker.Audit) (bool, error) {
	first, err := t.Broker.Note(ctx, session, kind, lines...)
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	for _, l := range lines {
		if first {
			t.w.trail = append(t.w.trail, strings.Join([]string{session, l.Actor, l.Action, l.Outcome}, " "))
		}
	}
	return first, err
}

func (t teller) Tell(ctx context.Context, session string, out ...broker.Delivery) error {
	t.w.mu.Lock()
	t.w.sent = append(t.w.sent, out...)
	t.w.mu.Unlock()
	return t.Broker.Tell(ctx, session, out...)
}

const shop = "https://shop.example/cb"

// newWorld makes one; change says how its provider differs.
func newWorld(t testing.TB, change ...func(*oidc.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: sandbox.NewClock(true), eids: map[eid.EID]*instant{}, log: &record{}, docs: map[string][]byte{}, ignored: map[bool]int{}, alarms: map[string]int{}}
	logger := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if w.store, err = store.Open(t.Context(), store.Config{URL: "memory", Master: bytes.Repeat([]byte{7}, 32), Now: w.clock.Now, Log: logger}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	if err := w.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	adult := true
	w.eids[eid.BankIDSE] = &instant{eid: eid.BankIDSE, now: w.clock.Now, who: eid.Identity{Subject: "199001012385", Number: "199001012385", Country: "SE", Name: "Ada Test", Given: "Ada", Family: "Test", Birth: "1990-01-01"}}
	w.eids[eid.IDIN] = &instant{eid: eid.IDIN, now: w.clock.Now, who: eid.Identity{Subject: "NLBANKvector0001", Country: "NL", Name: "VJ de Vries", Family: "de Vries", Initials: "VJ",
		Legal: eid.LastName{Prefix: "de", Name: "Vries"}, Birth: "1975-07-25", BirthText: "19750725", Sex: "1", Gender: "male", Approved: &adult, Level: "nl:bvn:bankid:1.0:loa3"}}
	w.eids[eid.MitID] = &instant{eid: eid.MitID, now: w.clock.Now, who: eid.Identity{Subject: "0b8e6f52-2222-4b22-9b22-0000000000b2", Country: "DK", Name: "Hanne Hansen", Given: "Hanne", Family: "Hansen", Birth: "1985-03-29"}}
	conns := map[eid.EID]connector.Connector{}
	for e, c := range w.eids {
		conns[e] = c
	}
	w.broker, err = broker.New(broker.Config{Store: w.store, Connectors: map[eid.Environment]map[eid.EID]connector.Connector{eid.Test: conns},
		Settings: func(context.Context, *broker.Session, eid.EID, string) (connector.Settings, error) {
			return connector.Settings{Key: "k"}, nil
		},
		Public: "https://eid.example", HandleKey: make([]byte, 32), Epoch: uuid.NewString(),
		NewID: uuid.NewString, Now: w.clock.Now, Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	// A node that does not beat acts for four seconds, which is not enough on a
	// busy machine.
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.broker.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Log(err) // some tests have closed the store
		}
	})
	w.account = &relying.Account{ID: "5a4db0c5-0000-4000-8000-00000000a001", Name: "Shop", Language: "en", Limits: relying.Limits{Setups: 100_000, Reads: 100_000},
		Layouts: []string{"day", "night"}, Layout: "day"}
	if err := w.store.PutAccount(t.Context(), w.account); err != nil {
		t.Fatal(err)
	}
	var ours []jose.Key
	for alg, k := range keys() {
		use := jose.Signing
		if alg == "enc" {
			use, alg = jose.Encrypting, "RSA-OAEP"
		}
		ours = append(ours, jose.Key{ID: "key-" + alg, Use: use, Alg: alg, Private: k, From: w.clock.Now().Add(-time.Hour)})
	}
	if w.kept, err = jose.NewSet(jose.Schedule{Cache: time.Hour, Longest: time.Hour}, w.clock.Now, ours...); err != nil {
		t.Fatal(err)
	}
	config := oidc.Config{Broker: teller{w.broker, w}, Accounts: w.store, Store: w.store, Public: "https://eid.example", Keys: func() *jose.Set { return w.kept },
		Secret: bytes.Repeat([]byte{9}, 32), Has: func(*relying.Account, eid.Environment, eid.EID) bool { return true },
		Browser: func(rw http.ResponseWriter, r *http.Request) (broker.Handle, connector.Browser) {
			if c, err := r.Cookie("b"); err == nil {
				return broker.Handle{Cookie: c.Value}, connector.Browser{}
			}
			c := &http.Cookie{Name: "b", Value: uuid.NewString(), Path: "/"}
			http.SetCookie(rw, c)
			return broker.Handle{Cookie: c.Value}, connector.Browser{}
		},
		Straight: func(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Mode") == "navigate" },
		Onward: func(rw http.ResponseWriter, r *http.Request, v *broker.View) error {
			if v.Place != broker.AtEnd {
				rw.Header().Set("Location", v.Spec.Page)
				rw.WriteHeader(http.StatusSeeOther)
				return nil
			}
			w.onward(rw, r, v)
			return nil
		},
		Problem: func(rw http.ResponseWriter, _ *http.Request, status int, code, text string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.problems, w.shown = append(w.problems, code), text
			rw.WriteHeader(status)
		},
		Post: func(rw http.ResponseWriter, _ *http.Request, to string, fields url.Values, _ []string) error {
			rw.Header().Set("X-Posts-To", to)
			_, err := io.WriteString(rw, fields.Encode())
			return err
		},
		Ended: func(rw http.ResponseWriter, _ *http.Request, ask bool, fields url.Values, next string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.fields = fields
			rw.Header().Set("X-Asks", map[bool]string{true: "1"}[ask])
			rw.Header().Set("X-Leads-To", next)
		},
		Security: func(kind string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.alarms[kind]++
		},
		Ignored: func(known bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ignored[known]++
		},
		Fetch: func(_ context.Context, address string) ([]byte, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.fetched++
			if doc, ok := w.docs[address]; ok {
				return doc, nil
			}
			return nil, errors.New("there is nothing at this address")
		},
		Client: w.from, Now: w.clock.Now, NewID: uuid.NewString, Log: logger}
	for _, f := range change {
		f(&config)
	}
	if w.provider, err = oidc.New(config); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	w.provider.Register(mux)
	mux.HandleFunc("GET "+oidc.Root+"/login/{id}/{$}", w.page)
	w.server = httptest.NewServer(mux)
	t.Cleanup(w.server.Close)
	return w
}

// from is where a request says that it comes from, else a place of its own.
func (w *world) from(r *http.Request) netip.Addr {
	if a, err := netip.ParseAddr(r.Header.Get("X-From")); err == nil {
		return a
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.places++
	return netip.AddrFrom4([4]byte{10, byte(w.places >> 16), byte(w.places >> 8), byte(w.places)})
}

// page stands for the hosted page of a person who lets the eID act at once.
func (w *world) page(rw http.ResponseWriter, r *http.Request) {
	h := broker.Handle{}
	if c, err := r.Cookie("b"); err == nil {
		h.Cookie = c.Value
	}
	id := r.PathValue("id")
	v, err := w.broker.Look(r.Context(), id, h, connector.Browser{})
	if err == nil && v.Place == broker.AtChoice {
		v, err = w.broker.Choose(r.Context(), id, h, connector.Browser{}, v.Spec.Methods[0].Name)
	}
	if err == nil && v.Place == broker.AtFront {
		v, err = w.broker.Open(r.Context(), id, h, connector.Browser{}, nil, false)
	}
	if err != nil || v.Place != broker.AtEnd {
		http.Error(rw, "elsewhere", http.StatusConflict)
		return
	}
	w.onward(rw, r, v)
}

// onward sends a browser back at the end.
func (w *world) onward(rw http.ResponseWriter, r *http.Request, v *broker.View) {
	w.mu.Lock()
	w.layout = v.Spec.Layout
	w.mu.Unlock()
	l, err := w.provider.Leave(r.Context(), &v.Session, &v.Spec)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	if l.Cookie != nil {
		http.SetCookie(rw, l.Cookie)
	}
	if l.Post != nil {
		rw.Header().Set("X-Posts-To", l.URL)
		_, _ = io.WriteString(rw, l.Post.Encode())
		return
	}
	if l.Over { // the browser stays
		return
	}
	rw.Header().Set("Location", l.URL)
	rw.WriteHeader(http.StatusSeeOther)
}

// client registers one; change says how it differs from a plain standard one.
func (w *world) client(change ...func(*relying.Client)) *relying.Client {
	w.t.Helper()
	c := &relying.Client{ID: "client-" + uuid.NewString()[:8], Account: w.account.ID, Environment: eid.Test, Name: "Shop", Profile: relying.Standard,
		Redirects: []string{shop, shop + "?shop=1"}, Logouts: []string{"https://shop.example/out"}, Auth: relying.SecretBasic,
		Secrets: []relying.ClientSecret{{Name: "one", Hash: relying.HashSecret("secret")}}}
	for _, f := range change {
		f(c)
	}
	if err := c.Check(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.PutClient(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// A visitor is a browser that records where it is sent, and follows only
// within the provider.
type visitor struct {
	w    *world
	http *http.Client
	seen []string

	straight bool // it says that a person opens what it fetches
}

func (w *world) visitor() *visitor {
	jar, _ := cookiejar.New(nil) // cannot fail without options
	return &visitor{w: w, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// authorize sends an authorization request and is what the client gets.
func (v *visitor) authorize(q url.Values) (status int, to *url.URL) {
	v.w.t.Helper()
	return v.follow(oidc.Root + "/connect/authorize?" + q.Encode())
}

// follow opens a page of the provider and is what the client gets in the end.
func (v *visitor) follow(path string) (status int, to *url.URL) {
	v.w.t.Helper()
	at := v.w.server.URL + path
	for range 5 {
		req, err := http.NewRequestWithContext(v.w.t.Context(), http.MethodGet, at, nil)
		if err != nil {
			v.w.t.Fatal(err)
		}
		if v.straight {
			req.Header.Set("Sec-Fetch-Mode", "navigate")
		}
		res, err := v.http.Do(req)
		if err != nil {
			v.w.t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			v.w.t.Fatal(err)
		}
		if posts := res.Header.Get("X-Posts-To"); posts != "" {
			u, err := url.Parse(posts + "?" + string(body))
			if err != nil {
				v.w.t.Fatal(err)
			}
			return res.StatusCode, u
		}
		loc := res.Header.Get("Location")
		if loc == "" {
			return res.StatusCode, nil
		}
		v.seen = append(v.seen, loc)
		if !strings.HasPrefix(loc, "/") {
			u, err := url.Parse(loc)
			if err != nil {
				v.w.t.Fatal(err)
			}
			return res.StatusCode, u
		}
		at = v.w.server.URL + loc
	}
	v.w.t.Fatal("too many redirects")
	return 0, nil
}

// request is a plain one of a client.
func request(c *relying.Client, change ...string) url.Values {
	q := url.Values{"client_id": {c.ID}, "response_type": {"code"}, "redirect_uri": {shop}, "scope": {"openid profile"}, "state": {"s1"}, "nonce": {"n1"}, "acr_values": {"idp:sbid"}}
	for i := 0; i+1 < len(change); i += 2 {
		if q.Set(change[i], change[i+1]); change[i+1] == "" {
			q.Del(change[i])
		}
	}
	return q
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// post calls an endpoint with the client's secret in the header.
func (w *world) post(path string, c *relying.Client, form url.Values, header ...string) (int, http.Header, map[string]any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.server.URL+oidc.Root+"/connect/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c != nil && c.Auth == relying.SecretBasic {
		req.SetBasicAuth(c.ID, "secret")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]any{}
	if len(raw) > 0 && json.Unmarshal(raw, &out) != nil {
		out["raw"] = string(raw)
	}
	return res.StatusCode, res.Header, out
}

// tokens logs a person in and redeems the code.
func (w *world) tokens(c *relying.Client, v *visitor, change ...string) map[string]any {
	w.t.Helper()
	q := request(c, change...)
	_, to := v.authorize(q)
	if to == nil || to.Query().Get("code") == "" {
		w.t.Fatalf("no code: %v, problems %v", to, w.problems)
	}
	status, _, out := w.post("token", c, url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {q.Get("redirect_uri")}})
	if status != http.StatusOK {
		w.t.Fatalf("token: %d %v", status, out)
	}
	return out
}

// userinfo asks with an access token.
func (w *world) userinfo(token string) (int, http.Header, map[string]any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.server.URL+oidc.Root+"/connect/userinfo", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	out := map[string]any{}
	_ = json.NewDecoder(res.Body).Decode(&out) // an error has no body
	return res.StatusCode, res.Header, out
}

// payload is what a token says; nobody verifies it.
func payload(t testing.TB, token any) map[string]any {
	t.Helper()
	text, _ := token.(string)
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("no token: %v", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
