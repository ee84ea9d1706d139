package idinage_test

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

	"github.com/google/go-cmp/cmp"

	"eidgate/connector"
	"eidgate/connector/connectortest"
	cidin "eidgate/connector/idin"
	"eidgate/connector/idinage"
	"eidgate/eid"
	"eidgate/sandbox"
	sage "eidgate/sandbox/agechecked"
	sidin "eidgate/sandbox/idin"
)

var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// An upstream is either simulator, as a test drives it.
type upstream interface {
	Do(ref string, e sandbox.Act) (sandbox.Order, error)
	Order(ref string) (sandbox.Order, error)
}

type service struct {
	upstream
	clock   *sandbox.Clock
	faults  *sandbox.Faults
	calls   atomic.Int64
	broken  atomic.Pointer[http.HandlerFunc]
	server  *httptest.Server
	conn    *idinage.Connector
	request connector.Request
	set     idinage.Settings
}

// newService is the age check over AgeChecked, or over iDIN.
func newService(t testing.TB, overIDIN bool) *service {
	t.Helper()
	s := &service{clock: sandbox.NewClock(true), faults: sandbox.NewFaults(1)}
	people := sandbox.NewPeople()
	decisions := sandbox.NewDecisions(people, sandbox.Ignore)
	base := func() string { return s.server.URL }
	age := sage.New(sage.Config{Clock: s.clock, People: people, Decisions: decisions, Faults: s.faults, Base: base})
	bank := sidin.New(sidin.Config{Clock: s.clock, People: people, Decisions: decisions, Faults: s.faults, Base: base, Keys: func() sidin.Key { return key() }})
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/idin/rs" || strings.Contains(r.URL.Path, "/api/") {
			s.calls.Add(1)
			if h := s.broken.Load(); h != nil {
				(*h)(w, r)
				return
			}
		}
		if strings.HasPrefix(r.URL.Path, "/agechecked/") {
			age.Handler().ServeHTTP(w, r)
			return
		}
		bank.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(s.server.Close)
	s.conn = idinage.New(s.clock.Now)
	s.request = connector.Request{Session: "session", Order: "order-1", Environment: eid.Test, Purpose: eid.Age, Party: "Test shop", Language: "nl",
		Wanted: []string{eid.WantAdult}, CallbackURL: "https://eid.example/callback/test/idinage", Input: url.Values{"issuer": {"BANKNL2Y"}}}
	if overIDIN {
		s.upstream = bank
		who, err := bank.Merchant("Test shop")
		if err != nil {
			t.Fatal(err)
		}
		s.set.IDIN = &cidin.Settings{MerchantID: who.MerchantID, LegalID: who.LegalID, Directory: who.DirectoryURL, Transaction: who.TransactionURL,
			Status: who.StatusURL, Certificate: who.SigningCertificate, Key: who.SigningKey, Decryption: []string{who.DecryptionKey},
			Routing: who.RoutingCertificate, AllowHTTP: true}
	} else {
		s.upstream = age
		who := age.Merchant("Test shop")
		s.set.AgeChecked = &idinage.AgeChecked{Base: who.Base, Key: who.SecretKey, AllowHTTP: true}
	}
	raw, err := json.Marshal(s.set)
	if err != nil {
		t.Fatal(err)
	}
	s.request.Settings = connector.Settings{Key: "key", Data: raw}
	contract, err := s.conn.Contract(s.request.Settings)
	if err != nil || (contract != "") != overIDIN {
		t.Fatalf("contract %q, %v", contract, err)
	}
	if overIDIN {
		if s.request.List, err = s.conn.List(t.Context(), s.request.Settings); err != nil {
			t.Fatal(err)
		}
	}
	s.calls.Store(0)
	return s
}

func (s *service) begin(t testing.TB) connector.Result {
	t.Helper()
	res, err := s.conn.Begin(t.Context(), &s.request)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := res.Step.(connector.Redirect); !ok {
		t.Fatalf("begin: %#v", res.Step)
	}
	return res
}

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

// ref is what the upstream calls the order.
func ref(all []connector.Ref) string {
	for _, r := range all {
		if id, ok := strings.CutPrefix(string(r), "check:"); ok && len(all) == 2 && strings.HasPrefix(string(all[0]), "return:") {
			return id
		}
	}
	return string(all[0])
}

func (s *service) back(t testing.TB, refs []connector.Ref) connector.Returned {
	t.Helper()
	o, err := s.Order(ref(refs))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(o.Return)
	if err != nil || !strings.HasPrefix(o.Return, s.request.CallbackURL) {
		t.Fatalf("return address %q: %v", o.Return, err)
	}
	in := connector.Inbound{Method: http.MethodGet, Query: u.Query()}
	if got, err := s.conn.Locate(in); err != nil || got != refs[0] {
		t.Errorf("located %q, %v; want %q", got, err, refs[0])
	}
	return connector.Returned{In: in}
}

func (s *service) act(t testing.TB, refs []connector.Ref, event, person string) {
	t.Helper()
	if _, err := s.Do(ref(refs), sandbox.Act{Event: event, Person: person}); err != nil {
		t.Fatal(err)
	}
}

// TestContract runs both upstreams through everything that every connector
// must keep.
func TestContract(t *testing.T) {
	t.Parallel()
	for name, overIDIN := range map[string]bool{"iDIN": true, "AgeChecked": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.Run(t, func(t *testing.T) *connectortest.Bench { return newBench(t, overIDIN) })
		})
	}
}

func newBench(t *testing.T, overIDIN bool) *connectortest.Bench {
	s := newService(t, overIDIN)
	wire := func(h http.HandlerFunc) func() func() {
		return func() func() { s.broken.Store(&h); return func() { s.broken.Store(nil) } }
	}
	var refs []connector.Ref
	b := &connectortest.Bench{
		New:     func() connector.Connector { return idinage.New(s.clock.Now) },
		Request: func() *connector.Request { r := s.request; return &r },
		Act: func(end string, shown connector.Result) connector.Event {
			if len(shown.Refs) > 0 {
				refs = shown.Refs
			}
			if end == "" {
				end = "approve"
			}
			_, _ = s.Do(ref(refs), sandbox.Act{Event: end, Person: "vries"}) // it may have ended
			if _, there := shown.Step.(connector.Redirect); there {
				if end == "expire" {
					s.clock.Advance(6 * time.Minute)
				}
				return s.back(t, refs)
			}
			s.clock.Advance(6 * time.Minute)
			return connector.Tick{}
		},
		Calls: func() int { return int(s.calls.Load()) },
		Ends:  map[string]eid.Reason{"cancel": eid.Cancelled},
		Faults: map[string]func() func(){
			"hangs up": wire(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
			"garbage":  wire(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }),
			"500":      wire(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }),
			"403":      wire(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }),
		},
		Private: []string{"Vries", "1975"},
	}
	if overIDIN {
		b.Ends["decline"], b.Ends["expire"] = eid.Declined, eid.Expired
	} else {
		b.Ends["fail:4"] = eid.Declined
	}
	return b
}

// Of the person nothing is left but whether they are old enough.
func TestOverIDIN(t *testing.T) {
	t.Parallel()
	s := newService(t, true)
	for person, want := range map[string]struct {
		approved bool
		status   int
	}{"vries": {true, 6}, "grens": {true, 6}, "jong": {false, 17}, "onbekend": {true, 6}} {
		s.request.Order = "order of " + person
		res := s.begin(t)
		o, err := s.Order(ref(res.Refs))
		if err != nil {
			t.Fatal(err)
		}
		if o.Details.(sidin.Details).Service != 64 {
			t.Errorf("asks for %d", o.Details.(sidin.Details).Service)
		}
		s.act(t, res.Refs, "approve", person)
		end := s.resume(t, res.State, s.back(t, res.Refs))
		id := end.Confirmed
		if _, ok := end.Step.(connector.Done); !ok || id == nil {
			t.Fatalf("%s: %#v", person, end.Step)
		}
		number := eid.CheckID(string(res.Refs[1]))
		left := &eid.Identity{EID: eid.IDINAge, At: id.At, Country: "NL", Level: "nl:bvn:bankid:1.0:loa3", Subject: id.Subject, Request: id.Request,
			Approved: &want.approved, Check: &eid.AgeCheck{ID: number, Status: want.status}}
		if d := cmp.Diff(left, id); d != "" || number <= 0 || number >= 1<<53 || !strings.HasPrefix(id.Subject, "TRANS") {
			t.Errorf("%s: number %d, %s", person, number, d)
		}
	}
}

// Who does not say how old the person is has proven nothing.
func TestUnknownAge(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"service_zero", "incomplete"} {
		s := newService(t, true)
		s.faults.Add(sandbox.Fault{Target: "idin.result", Kind: kind})
		res := s.begin(t)
		s.act(t, res.Refs, "approve", "vries")
		end := s.resume(t, res.State, s.back(t, res.Refs))
		if id := end.Confirmed; id != nil && (id.Approved == nil || *id.Approved && id.Check.Status != 6) {
			t.Errorf("%s: %+v", kind, id.Check)
		}
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	for event, want := range map[string]struct {
		status   int
		approved bool
		reason   eid.Reason
	}{
		"approve": {6, true, ""}, "fail:7": {7, true, ""}, "fail:5": {5, false, ""}, "fail:8": {8, false, ""}, "fail:9": {9, false, ""},
		"fail:10": {10, false, ""}, "fail:12": {12, false, ""}, "decline": {17, false, ""}, "cancel": {3, false, eid.Cancelled}, "fail:4": {4, false, eid.Declined},
	} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			s := newService(t, false)
			res := s.begin(t)
			s.act(t, res.Refs, event, "vries")
			end := s.resume(t, res.State, s.back(t, res.Refs))
			if want.reason != "" {
				if f, ok := end.Step.(connector.Fail); !ok || f.Reason != want.reason || end.Confirmed != nil {
					t.Errorf("%#v", end.Step)
				}
				return
			}
			id := end.Confirmed
			if _, ok := end.Step.(connector.Done); !ok || id == nil {
				t.Fatalf("%#v", end.Step)
			}
			if id.Check.Status != want.status || *id.Approved != want.approved || id.Check.ID != eid.CheckID(string(res.Refs[1])) || id.Check.ID < 1255120 {
				t.Errorf("%+v approved %v", id.Check, *id.Approved)
			}
		})
	}
}

// AgeChecked is asked on the return, then every 3 s for 2 min, then every 30 s.
func TestPolling(t *testing.T) {
	t.Parallel()
	s := newService(t, false)
	res := s.begin(t)
	if !res.Due.IsZero() {
		t.Error("asks before the browser is back")
	}
	if early := s.resume(t, res.State, connector.Tick{}); s.calls.Load() != 1 || early.Confirmed != nil {
		t.Error("a tick asks before the browser is back")
	}
	at := s.resume(t, res.State, s.back(t, res.Refs))
	for range 60 {
		w, ok := at.Step.(connector.Wait)
		d := at.Due.Sub(s.clock.Now())
		if !ok || w.Hint != "idinage.open" || d != 3*time.Second && d != 30*time.Second {
			t.Fatalf("%#v due in %v", at.Step, d)
		}
		s.clock.Advance(d)
		at = s.resume(t, at.State, connector.Tick{})
	}
	if n := s.calls.Load(); n < 60 || n > 65 {
		t.Errorf("%d calls", n)
	}
	if d := at.Due.Sub(s.clock.Now()); d != 30*time.Second {
		t.Errorf("after two minutes every %v", d)
	}
	end := s.resume(t, at.State, connector.Expired{})
	if f, ok := end.Step.(connector.Fail); !ok || f.Reason != eid.Expired {
		t.Errorf("%#v", end.Step)
	}
}

// The browser that comes back is another one than ours.
func TestForeignBrowser(t *testing.T) {
	t.Parallel()
	for name, overIDIN := range map[string]bool{"iDIN": true, "AgeChecked": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, overIDIN)
			res := s.begin(t)
			s.act(t, res.Refs, "approve", "vries")
			back := s.back(t, res.Refs)
			back.Foreign = true
			asks := s.resume(t, res.State, back)
			if w, ok := asks.Step.(connector.Wait); !ok || !w.Asks || asks.Confirmed == nil {
				t.Fatalf("%#v", asks.Step)
			}
			if end := s.resume(t, asks.State, back); end.Binding != "" {
				t.Error("a reload says yes")
			}
			back.In.Method = http.MethodPost
			end := s.resume(t, asks.State, back)
			if _, ok := end.Step.(connector.Done); !ok || end.Binding != eid.Weak {
				t.Errorf("%#v, binding %q", end.Step, end.Binding)
			}
		})
	}
}

// What looked at the address first does not make a foreigner of the browser
// that began.
func TestOwnBrowserAfterAnother(t *testing.T) {
	t.Parallel()
	s := newService(t, false)
	res := s.begin(t)
	back := s.back(t, res.Refs)
	back.Foreign = true
	open := s.resume(t, res.State, back)
	back.Foreign = false
	open = s.resume(t, open.State, back)
	s.act(t, res.Refs, "approve", "vries")
	end := s.resume(t, open.State, connector.Tick{})
	if _, ok := end.Step.(connector.Done); !ok || end.Binding != "" {
		t.Errorf("%#v, binding %q", end.Step, end.Binding)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	over, checked := newService(t, true).set, newService(t, false).set
	for name, c := range map[string]struct {
		set idinage.Settings
		ok  bool
	}{
		"iDIN": {over, true}, "AgeChecked": {checked, true}, "neither": {idinage.Settings{}, false},
		"both":   {idinage.Settings{IDIN: over.IDIN, AgeChecked: checked.AgeChecked}, false},
		"no key": {idinage.Settings{AgeChecked: &idinage.AgeChecked{Base: "https://age.example"}}, false},
	} {
		if err := c.set.Check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
