package load

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/jose"
	"eidgate/relying"
	"eidgate/store"
	"eidgate/test/rig"
	"eidgate/web"
	"eidgate/web/hosted"
)

// The provider runs in a process of its own on one core, with an eID that
// confirms a person at once: what is left is what the provider costs.
const (
	providerEnv = "EIDGATE_LOAD_PROVIDER" // its address
	storeEnv    = "EIDGATE_LOAD_STORE"
)

// An instant is an eID that confirms one person at once.
type instant struct{}

func (instant) Info() connector.Info {
	return connector.Info{EID: eid.IDIN, Purposes: []eid.Purpose{eid.Identify}, Modes: []string{""}, Leaves: true, Free: true}
}

func (instant) Begin(context.Context, *connector.Request) (connector.Result, error) {
	return connector.Result{Step: connector.Done{}, Confirmed: &eid.Identity{EID: eid.IDIN, At: time.Now(), Subject: "NLBANKvector0001", Country: "NL", Name: "VJ de Vries",
		Family: "de Vries", Initials: "VJ", Legal: eid.LastName{Prefix: "de", Name: "Vries"}, Birth: "1975-07-25", Level: "nl:bvn:bankid:1.0:loa3"}}, nil
}

func (instant) Resume(context.Context, *connector.Request, []byte, connector.Event) (connector.Result, error) {
	return connector.Result{}, errors.New("there is nothing to resume")
}

const back = "https://shop.example/back"

// provider serves until it is killed.
func provider() {
	debug.SetGCPercent(300) // as the command does
	if err := serveProvider(context.Background(), os.Getenv(providerEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serveProvider(ctx context.Context, addr string) error {
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(ctx, store.Config{URL: os.Getenv(storeEnv), Master: bytes.Repeat([]byte{7}, 32), Now: time.Now, Log: log})
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	account := &relying.Account{ID: uuid.NewString(), Name: "Shop", Language: "en", Limits: relying.Limits{Setups: 100_000, Reads: 100_000}}
	if err := db.PutAccount(ctx, account); err != nil {
		return err
	}
	for _, alg := range []string{jose.RS256, jose.ES256} {
		c := &relying.Client{ID: alg, Account: account.ID, Environment: eid.Test, Name: "Shop", Profile: relying.Signicat, Redirects: []string{back},
			Auth: relying.SecretBasic, IDTokenAlg: alg,
			Secrets: []relying.ClientSecret{{Name: "one", Hash: relying.HashSecret("secret")}}}
		if err := c.Check(); err != nil {
			return err
		}
		if err := db.PutClient(ctx, c); err != nil {
			return err
		}
	}
	b, err := broker.New(broker.Config{Store: db, Connectors: map[eid.Environment]map[eid.EID]connector.Connector{eid.Test: {eid.IDIN: instant{}}},
		Settings: func(context.Context, *broker.Session, eid.EID, string) (connector.Settings, error) {
			return connector.Settings{Key: "k"}, nil
		}, Public: "http://" + addr, HandleKey: make([]byte, 32), Epoch: uuid.NewString(), NewID: uuid.NewString, NewRow: func() string { return uuid.Must(uuid.NewV7()).String() }, Now: time.Now, Log: log})
	if err != nil {
		return err
	}
	static, err := web.NewStatic()
	if err != nil {
		return err
	}
	words, err := web.NewWords()
	if err != nil {
		return err
	}
	var p *oidc.Provider
	pages, err := hosted.New(hosted.Config{Broker: b, Static: static, Words: words, Client: func(*http.Request) netip.Addr { return netip.MustParseAddr("127.0.0.1") },
		Now: time.Now, Log: log, Leave: func(ctx context.Context, s *broker.Session, spec *broker.Spec) (hosted.Return, error) {
			l, err := p.Leave(ctx, s, spec)
			return hosted.Return{URL: l.URL, Post: l.Post, Cookie: l.Cookie, Over: l.Over}, err
		}})
	if err != nil {
		return err
	}
	keys := oidc.NewKeyring(oidc.KeyringConfig{Store: db, Now: time.Now, Log: log})
	if err := keys.Renew(ctx); err != nil {
		return err
	}
	p, err = oidc.New(oidc.Config{Security: func(string) {}, Broker: b, Accounts: db, Store: db, Public: "http://" + addr, Keys: keys.Set, Secret: bytes.Repeat([]byte{9}, 32),
		Has: func(*relying.Account, eid.Environment, eid.EID) bool { return true }, Browser: pages.Browser, Straight: pages.Straight, Onward: pages.Onward, Problem: pages.Problem, Post: pages.Post, Ended: pages.Ended, Ignored: func(bool) {},
		Fetch:  func(context.Context, string) ([]byte, error) { return nil, errors.New("there is no network") },
		Client: func(*http.Request) netip.Addr { return netip.MustParseAddr("127.0.0.1") }, Now: time.Now, NewID: uuid.NewString, Log: log})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	p.Register(mux)
	for _, path := range []string{"{$}", "{rest}"} {
		mux.HandleFunc(oidc.Root+"/login/{id}/"+path, func(w http.ResponseWriter, r *http.Request) {
			pages.Serve(w, r, r.PathValue("id"), r.PathValue("rest"))
		})
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	errs := make(chan error, 2)
	go func() { errs <- b.Run(ctx) }()
	go func() { errs <- (&http.Server{ReadHeaderTimeout: time.Second, Handler: mux}).Serve(l) }()
	return <-errs
}

// A client is a relying party with one browser for each login.
type client struct {
	base  string
	http  *http.Client
	id    string
	pages bool // its browsers do not say that a person opens what they fetch, and see pages
}

var noRedirects = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// login sends a new browser through a whole login: the request, which the eID
// answers at once, and the code for tokens. With pages there are, between them,
// one that asks whether to begin, the start, and one that sends it back.
func (c *client) login(ctx context.Context, requests *atomic.Int64) error {
	jar, _ := cookiejar.New(nil) // cannot fail without options
	browser := &http.Client{Transport: c.http.Transport, Jar: jar, CheckRedirect: noRedirects}
	at := c.base + oidc.Root + "/connect/authorize?" + url.Values{"client_id": {c.id}, "response_type": {"code"}, "scope": {"openid profile date-of-birth"}, "state": {"s"},
		"nonce": {rand.Text()}, "redirect_uri": {back}, "acr_values": {"idp:idin"}}.Encode()
	to, err := c.do(ctx, browser, http.MethodGet, at, nil, requests)
	if err != nil {
		return err
	}
	if page := c.base + to; c.pages {
		if to, err = c.do(ctx, browser, http.MethodGet, page, nil, requests); err == nil && to == "" {
			if _, err = c.do(ctx, browser, http.MethodPost, page+"start", url.Values{}, requests); err == nil {
				to, err = c.do(ctx, browser, http.MethodGet, page, nil, requests)
			}
		}
		if err != nil {
			return err
		}
	}
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	code := u.Query().Get("code")
	if code == "" {
		return fmt.Errorf("no code in %q", to)
	}
	_, err = c.token(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {back}}, requests)
	return err
}

func (c *client) do(ctx context.Context, h *http.Client, method, at string, form url.Values, requests *atomic.Int64) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if !c.pages {
		req.Header.Set("Sec-Fetch-Mode", "navigate")
		req.Header.Set("Sec-Fetch-Dest", "document")
	}
	res, err := h.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	requests.Add(1)
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return "", err
	}
	if res.StatusCode >= 400 {
		return "", fmt.Errorf("%s answered %d", req.URL.Path, res.StatusCode)
	}
	return res.Header.Get("Location"), nil
}

func (c *client) token(ctx context.Context, form url.Values, requests *atomic.Int64) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+oidc.Root+"/connect/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(c.id, "secret")
	res, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	requests.Add(1)
	var out struct {
		Access string `json:"access_token"`
		Error  string `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return "", err
	}
	if out.Access == "" {
		return "", fmt.Errorf("token: %d %s", res.StatusCode, out.Error)
	}
	return out.Access, nil
}

// BenchmarkOIDC runs whole code flows.
func BenchmarkOIDC(b *testing.B) {
	plain := startBare(b)
	var onSQLite time.Duration
	stores(b, func(b *testing.B, name, db string) {
		addr := "127.0.0.1:" + rig.FreePort(b)
		node := again(b, providerEnv+"="+addr, storeEnv+"="+db)
		h := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: 20 * time.Second}
		c := &client{base: "http://" + addr, http: h, id: jose.RS256}
		discovery := c.base + oidc.Root + "/.well-known/openid-configuration"
		for end := time.Now().Add(20 * time.Second); ; {
			res, err := h.Get(discovery)
			if err == nil {
				_ = res.Body.Close()
				break
			}
			if time.Now().After(end) {
				b.Fatal("the provider does not start: " + node.Log())
			}
			<-time.After(5 * time.Millisecond)
		}
		var requests atomic.Int64
		measure := func(n int, f func() error) time.Duration {
			cost(b, node, n/10, f) // to warm it up
			requests.Store(0)
			return cost(b, node, n, f) / time.Duration(n)
		}
		// In turns, so that all have the same machine and the same database.
		const flows, turns = 1000, 9
		login := func() error { return c.login(b.Context(), &requests) }
		cost(b, node, flows, login) // to warm it up
		requests.Store(0)
		all := inTurns(turns, func() time.Duration {
			c.id = jose.RS256
			return cost(b, node, flows, login) / flows
		}, func() time.Duration {
			c.id = jose.ES256
			return cost(b, node, flows, login) / flows
		}, func() time.Duration { return plain.rs256(b) })
		rs, es, single := all[0], all[1], all[2]
		n := float64(requests.Load()) / (2 * turns * flows)
		ratio := float64(rs) / float64(single)
		note("OIDC code flow, RS256, "+name, fmt.Sprintf("%.2f ms of CPU, %.1f requests = %.2f x one RS256 signature of %.2f ms", ms(rs), n, ratio, ms(single)), "<= 1.8 x", ratio <= 1.8)
		ratio = float64(rs) / float64(es)
		note("OIDC code flow, ES256, "+name, fmt.Sprintf("%.2f ms of CPU = %.2f x as many as with RS256, %.2f x as many as its bound lets be", ms(es), ratio, 1.8*float64(single)/float64(es)),
			">= 2.5 x", ratio >= 2.5)
		c.pages = true
		cpu := measure(8*flows, login)
		note("the same, with pages", fmt.Sprintf("%.2f ms of CPU, %.1f requests", ms(cpu), float64(requests.Load())/(8*flows)), "", true)
		c.pages = false
		if name == "SQLite" {
			onSQLite = rs
		} else if onSQLite > 0 {
			ratio := float64(onSQLite) / float64(rs)
			note("OIDC code flow, PostgreSQL to SQLite", fmt.Sprintf("%.2f x as many", ratio), ">= 0.8 x", ratio >= 0.8)
		}
		c.id = jose.ES256
		cpu = measure(20_000, func() error {
			_, err := c.token(b.Context(), url.Values{"grant_type": {"client_credentials"}}, &requests)
			return err
		})
		rate := float64(time.Second) / float64(cpu)
		note("client_credentials, "+name, fmt.Sprintf("%.0f/s by one server core, %.1f x a bare request", rate, float64(cpu)/float64(plain.cpu(b, 20_000)/20_000)), ">= 10 000/s", rate >= 10_000)
		for path, what := range map[string]string{"": "discovery", "/jwks": "JWKS"} {
			// As the bare one is asked, and in turns, so that both have the same machine.
			get := func() error { return fetch(h, discovery+path) }
			all := inTurns(5, func() time.Duration { return plain.cpu(b, 8000) }, func() time.Duration { return cost(b, node, 8000, get) })
			ratio := float64(all[0]) / float64(all[1])
			note(what+", "+name, fmt.Sprintf("%.2f x as many as bare net/http", ratio), ">= 0.7 x", ratio >= 0.7)
		}
	})
}
