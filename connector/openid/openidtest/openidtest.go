// Package openidtest runs dialects of connector/openid against simulators: a
// browser that goes where a step leads, and a wire that can be broken.
package openidtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/connectortest"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/oidcrp"
	"eidgate/sandbox"
)

// Back is the way back that is registered.
const Back = "https://broker.example/callback/test/eid"

// Config is what a simulator is made from.
type Config struct {
	Clock     *sandbox.Clock
	People    *sandbox.People
	Decisions *sandbox.Decisions
	Faults    *sandbox.Faults
	Base      func() string
}

// A Simulator is one, with the part of its path that only people see.
type Simulator struct {
	http.Handler
	Do    func(ref string, a sandbox.Act) (sandbox.Order, error)
	Pages string
}

// A Service is a simulator on a wire.
type Service struct {
	T       testing.TB
	Config  Config
	Request connector.Request
	Calls   atomic.Int64 // of servers
	New     func(now func() time.Time, dir *oidcrp.Directory) *openid.Connector

	sim     Simulator
	broken  atomic.Pointer[http.HandlerFunc]
	browser *http.Client
}

// New starts a simulator, with a clock that stands still and nobody who acts.
func New(t testing.TB, sim func(Config) Simulator) *Service {
	t.Helper()
	people := sandbox.NewPeople()
	s := &Service{T: t, browser: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	var base string
	s.Config = Config{Clock: sandbox.NewClock(true), People: people, Decisions: sandbox.NewDecisions(people, sandbox.Ignore), Faults: sandbox.NewFaults(1), Base: func() string { return base }}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("User-Agent") != "browser" {
			s.Calls.Add(1)
			if broken := s.broken.Load(); broken != nil {
				(*broken)(w, r)
				return
			}
		}
		s.sim.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	base = srv.URL
	s.sim = sim(s.Config)
	s.Request = connector.Request{Session: "s", Order: "o", Environment: eid.Test, Purpose: eid.Identify, Party: "Shop", Language: "en", CallbackURL: Back,
		ReturnURL: "https://broker.example/page"}
	return s
}

// Use puts settings into the request.
func (s *Service) Use(settings any) {
	s.T.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		s.T.Fatal(err)
	}
	s.Request.Settings = connector.Settings{Key: string(raw), Data: raw}
}

// Connector is a new one.
func (s *Service) Connector() *openid.Connector {
	return s.New(s.Config.Clock.Now, oidcrp.NewDirectory(http.DefaultTransport, s.Config.Clock.Now))
}

// A Reply is where an answer leads a browser.
type Reply struct {
	Status   int
	Location string
}

// Get is what a browser does with an address.
func (s *Service) Get(address string) Reply {
	s.T.Helper()
	return s.ask(http.MethodGet, address, nil)
}

// Post is what a browser does with a form of a page.
func (s *Service) Post(address string, form url.Values) Reply {
	s.T.Helper()
	return s.ask(http.MethodPost, address, form)
}

func (s *Service) ask(method, address string, form url.Values) Reply {
	s.T.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		s.T.Fatal(err)
	}
	req.Header.Set("User-Agent", "browser")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := s.browser.Do(req)
	if err != nil {
		s.T.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body) // only where it leads counts
	_ = res.Body.Close()
	return Reply{res.StatusCode, res.Header.Get("Location")}
}

// Page is where a step's address leads the browser.
func (s *Service) Page(step connector.Step) string {
	s.T.Helper()
	away, ok := step.(connector.Redirect)
	if !ok {
		s.T.Fatalf("the step is %#v", step)
	}
	to := s.Get(away.URL)
	if !slices.Contains([]int{http.StatusFound, http.StatusSeeOther}, to.Status) || !strings.Contains(to.Location, s.sim.Pages) {
		s.T.Fatalf("the eID answers %d %s", to.Status, to.Location)
	}
	return to.Location
}

// Act lets somebody act on a page, and brings back what the eID says.
func (s *Service) Act(page, event, person string) connector.Returned {
	s.T.Helper()
	if event == "expire" {
		s.Config.Clock.Advance(6 * time.Minute)
	} else if _, err := s.sim.Do(page[strings.LastIndexByte(page, '/')+1:], sandbox.Act{Event: event, Person: person}); err != nil && !errors.Is(err, sandbox.ErrEnded) {
		s.T.Fatal(err)
	}
	return s.Return(s.Get(page))
}

// Return is the event of a browser that is sent back.
func (s *Service) Return(to Reply) connector.Returned {
	s.T.Helper()
	u, err := url.Parse(to.Location)
	if err != nil || u.Host != "broker.example" {
		s.T.Fatalf("the eID sends back to %v: %v", u, err)
	}
	return connector.Returned{In: connector.Inbound{Method: http.MethodGet, Query: u.Query()}}
}

// Login goes the whole way.
func (s *Service) Login(c *openid.Connector, event, person string) (connector.Result, error) {
	s.T.Helper()
	r := s.Request
	res, err := c.Begin(context.Background(), &r)
	if err != nil {
		return res, err
	}
	if _, away := res.Step.(connector.Redirect); !away {
		return res, nil
	}
	return s.Finish(c, res, s.Act(s.Page(res.Step), event, person))
}

// Finish is the rest of a login, once the browser is back.
func (s *Service) Finish(c *openid.Connector, begun connector.Result, e connector.Returned) (connector.Result, error) {
	s.T.Helper()
	r := s.Request
	if got, err := c.Locate(e.In); err != nil || got != begun.Refs[0] {
		s.T.Fatalf("the return is for %q (%v), not for %q", got, err, begun.Refs[0])
	}
	res, err := c.Resume(context.Background(), &r, begun.State, e)
	if err != nil {
		return res, err
	}
	if _, again := res.Step.(connector.Again); !again {
		return res, nil
	}
	return c.Resume(context.Background(), &r, res.State, connector.Tick{})
}

// Bench is for connectortest: who logs in, under which number, what must stay
// private, and which faults of results there are.
func (s *Service) Bench(target, person, number string, private []string, faults []string, ends map[string]eid.Reason) *connectortest.Bench {
	wire := func(h http.HandlerFunc) func() func() {
		return func() func() { s.broken.Store(&h); return func() { s.broken.Store(nil) } }
	}
	var page string
	b := &connectortest.Bench{
		New:     func() connector.Connector { return s.Connector() },
		Request: func() *connector.Request { r := s.Request; page = ""; return &r },
		Act: func(end string, shown connector.Result) connector.Event {
			if end == "" {
				end = "approve"
			}
			if _, away := shown.Step.(connector.Redirect); !away {
				return connector.Tick{}
			}
			if page == "" {
				page = s.Page(shown.Step)
			}
			return s.Act(page, end, person)
		},
		Calls: func() int { return int(s.Calls.Load()) }, Person: eid.Number(number), Ends: ends, Private: private,
		Faults: map[string]func() func(){
			"hangs up": wire(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
			"garbage":  wire(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }),
			"empty":    wire(func(http.ResponseWriter, *http.Request) {}),
			"500":      wire(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }),
		},
	}
	for _, kind := range faults {
		b.Faults[kind] = func() func() {
			s.Config.Faults.Add(sandbox.Fault{Target: target, Kind: kind})
			return s.Config.Faults.Clear
		}
	}
	return b
}

// Provider starts one that has metadata and, at /k and /userinfo, gives the answers
// of a test. It returns an agreement with it, and the client that the agreement
// makes.
func Provider(t testing.TB, d openid.Dialect, settings func(openid.Settings) any, answer func(w http.ResponseWriter, r *http.Request, issuer string)) (openid.Agreement, *oidcrp.Client) {
	t.Helper()
	var issuer string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/k", "/userinfo":
			answer(w, r, issuer)
		default:
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "authorization_endpoint": issuer + "/a",
				"token_endpoint": issuer + "/t", "jwks_uri": issuer + "/k", "userinfo_endpoint": issuer + "/userinfo"}) // the client may have gone
		}
	}))
	t.Cleanup(srv.Close)
	issuer = srv.URL
	raw, err := json.Marshal(settings(openid.Settings{Issuer: issuer, ClientID: "c", Auth: oidcrp.SecretBasic, Secret: "s", AllowHTTP: true}))
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Read(raw, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := a.Config()
	if err != nil {
		t.Fatal(err)
	}
	client, err := oidcrp.New(conf, oidcrp.NewDirectory(http.DefaultTransport, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	return a, client
}
