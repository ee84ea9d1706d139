package idin_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/connector"
	cidin "eidgate/connector/idin"
	"eidgate/eid"
	"eidgate/sandbox"
	sidin "eidgate/sandbox/idin"
)

// keys are a handful that all tests share: making one takes long, and no test
// depends on whose it is as long as neighbours differ.
var keys = sync.OnceValue(func() []*rsa.PrivateKey {
	out := make([]*rsa.PrivateKey, 8)
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() {
			k, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				panic(err)
			}
			out[i] = k
		})
	}
	wg.Wait()
	return out
})

// A service is the simulator of iDIN with a merchant, and a connector.
type service struct {
	*sidin.Simulator
	clock   *sandbox.Clock
	people  *sandbox.People
	faults  *sandbox.Faults
	server  *httptest.Server
	calls   atomic.Int64
	broken  atomic.Pointer[http.HandlerFunc]
	who     sidin.Credentials
	set     cidin.Settings
	conn    *cidin.Connector
	request connector.Request
}

func newService(t testing.TB, change ...func(*cidin.Settings)) *service {
	t.Helper()
	s := &service{clock: sandbox.NewClock(true), people: sandbox.NewPeople(), faults: sandbox.NewFaults(1)}
	next := atomic.Int64{}
	s.Simulator = sidin.New(sidin.Config{Clock: s.clock, People: s.people, Decisions: sandbox.NewDecisions(s.people, sandbox.Ignore), Faults: s.faults,
		Base: func() string { return s.server.URL },
		Keys: func() sidin.Key { all := keys(); return all[int(next.Add(1))%len(all)] }})
	sim := s.Handler()
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/idin/rs" {
			s.calls.Add(1)
			if h := s.broken.Load(); h != nil {
				(*h)(w, r)
				return
			}
		}
		sim.ServeHTTP(w, r)
	}))
	t.Cleanup(s.server.Close)
	var err error
	if s.who, err = s.Merchant("Test shop"); err != nil {
		t.Fatal(err)
	}
	s.set = settings(s.who)
	for _, f := range change {
		f(&s.set)
	}
	s.conn = cidin.New(s.clock.Now)
	s.request = connector.Request{Session: "session", Order: "order-1", Environment: eid.Test, Purpose: eid.Identify, Party: "Test shop", Language: "nl",
		Wanted: []string{eid.WantID, eid.WantName, eid.WantBirth}, CallbackURL: "https://eid.example/callback/test/idin",
		Input: url.Values{"issuer": {"BANKNL2Y"}}, Settings: wrap(t, s.set)}
	if s.request.List, err = s.conn.List(t.Context(), s.request.Settings); err != nil {
		t.Fatal(err)
	}
	s.calls.Store(0)
	return s
}

func settings(who sidin.Credentials) cidin.Settings {
	return cidin.Settings{MerchantID: who.MerchantID, LegalID: who.LegalID, Directory: who.DirectoryURL, Transaction: who.TransactionURL, Status: who.StatusURL,
		Certificate: who.SigningCertificate, Key: who.SigningKey, Decryption: []string{who.DecryptionKey},
		Routing: who.RoutingCertificate + who.AlternateRoutingCert, AllowHTTP: true}
}

func pointOfService(who sidin.Credentials) *cidin.QR {
	return &cidin.QR{Backend: who.QRGenerateURL, Token: who.QRMerchantToken, Secret: who.QRSigningKey}
}

func wrap(t testing.TB, s cidin.Settings) connector.Settings {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return connector.Settings{Key: "key", Data: raw}
}

// begin starts a transaction and is at the bank.
func (s *service) begin(t testing.TB) connector.Result {
	t.Helper()
	res, err := s.conn.Begin(t.Context(), &s.request)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := res.Step.(connector.Redirect); !ok {
		t.Fatalf("begin: step %#v", res.Step)
	}
	return res
}

// resume delivers one event, and the ticks that Again asks for.
func (s *service) resume(t testing.TB, state []byte, e connector.Event) connector.Result {
	t.Helper()
	res, err := s.conn.Resume(t.Context(), &s.request, state, e)
	if err != nil {
		t.Fatal(err)
	}
	if _, again := res.Step.(connector.Again); again {
		return s.resume(t, res.State, connector.Tick{})
	}
	return res
}

// act lets a person do something at the bank.
func (s *service) act(t testing.TB, res connector.Result, event, person string) {
	t.Helper()
	if _, err := s.Do(string(res.Refs[0]), sandbox.Act{Event: event, Person: person}); err != nil {
		t.Fatalf("%s: %v", event, err)
	}
}

// back is the browser that comes from the bank.
func (s *service) back(t testing.TB, ref connector.Ref) connector.Returned {
	t.Helper()
	o, err := s.Order(string(ref))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(o.Return)
	if err != nil || !strings.HasPrefix(o.Return, s.request.CallbackURL) {
		t.Fatalf("return address %s: %v", o.Return, err)
	}
	return connector.Returned{In: connector.Inbound{Method: http.MethodGet, Query: u.Query()}}
}

// login is a whole login of a person.
func (s *service) login(t testing.TB, person string) connector.Result {
	t.Helper()
	res := s.begin(t)
	s.act(t, res, "approve", person)
	return s.resume(t, res.State, s.back(t, res.Refs[0]))
}

// fail wants an end with a reason.
func fail(t testing.TB, res connector.Result, reason eid.Reason, code string) {
	t.Helper()
	f, ok := res.Step.(connector.Fail)
	if !ok || f.Reason != reason || code != "" && f.Code != code {
		t.Errorf("step %#v, want a fail with %s %s", res.Step, reason, code)
	}
	if res.Confirmed != nil {
		t.Error("somebody is confirmed")
	}
}

func done(t testing.TB, res connector.Result) *eid.Identity {
	t.Helper()
	if _, ok := res.Step.(connector.Done); !ok || res.Confirmed == nil {
		t.Fatalf("step %#v, confirmed %v; want somebody", res.Step, res.Confirmed != nil)
	}
	return res.Confirmed
}

const minute = time.Minute
