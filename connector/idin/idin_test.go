package idin_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/connector"
	cidin "eidgate/connector/idin"
	"eidgate/eid"
	"eidgate/internal/circuit"
	"eidgate/sandbox"
	sidin "eidgate/sandbox/idin"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.request.Wanted = []string{eid.WantID, eid.WantName, eid.WantBirth, eid.WantGender, eid.WantAddress, eid.WantPhone, eid.WantEmail}
	id := done(t, s.login(t, "vries"))
	age := 51
	want := &eid.Identity{EID: eid.IDIN, At: s.clock.Now(), Request: id.Request, Subject: id.Subject, Country: "NL", Level: "nl:bvn:bankid:1.0:loa3",
		Name: "VJ de Vries", Family: "de Vries", Initials: "VJ", Legal: eid.LastName{Prefix: "de", Name: "Vries"},
		Preferred: eid.LastName{Prefix: "de", Name: "Vries-Jansen"}, Partner: eid.LastName{Prefix: "de", Name: "Jansen"},
		Issuer: "BANKNL2Y", Sex: "1", Gender: "male", Birth: "1975-07-25", BirthText: "19750725", Age: id.Age, Phone: "+31203051900", Email: "info@equensworldline.nl",
		Address: &eid.Address{Street: "Pascalstreet", Number: "19", PostalCode: "0000AA", City: "Maastricht", Country: "NL"}}
	if d := cmp.Diff(want, id); d != "" {
		t.Error(d)
	}
	if id.Age == nil || *id.Age < age || !strings.HasPrefix(id.Subject, "NLBANK") || len(id.Request) != 16 {
		t.Errorf("age %v, subject %q, request %q", id.Age, id.Subject, id.Request)
	}
}

// What is asked, and nothing else.
func TestServices(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		purpose eid.Purpose
		wanted  []string
		covers  uint16
		want    int // 0: refused
	}{
		{"a login", eid.Identify, nil, 0, 16384},
		{"with a name", eid.Identify, []string{"name"}, 0, 20480},
		{"all but an age", eid.Identify, []string{"id", "name", "address", "birth", "gender", "phone", "email"}, 0, 21974},
		{"an age alone", eid.Age, []string{"adult"}, 0, 64},
		{"an age and who", eid.Age, []string{"adult", "id"}, 0, 16448},
		{"an age that asks more", eid.Age, []string{"adult", "name"}, 0, 0},
		{"both ages", eid.Identify, []string{"birth", "adult"}, 0, 21974 & 448}, // the field of three bits says birth
		{"a contract without address", eid.Identify, []string{"name", "address"}, 16384 | 4096, 20480},
		{"a contract without age", eid.Age, []string{"adult"}, 16384 | 4096, 0},
		{"a contract with birth, and adult wanted", eid.Identify, []string{"adult"}, 16384 | 448, 16384},
		{"a contract without logins", eid.Identify, []string{"name"}, 4096, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(set *cidin.Settings) { set.Services = c.covers })
			s.request.Purpose, s.request.Wanted = c.purpose, c.wanted
			res, err := s.conn.Begin(t.Context(), &s.request)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == 0 {
				fail(t, res, eid.BadRequest, "")
				if s.calls.Load() != 0 {
					t.Error("the routing service was asked")
				}
				return
			}
			if c.name == "both ages" {
				c.want |= 16384
			}
			o, err := s.Order(string(res.Refs[0]))
			if err != nil {
				t.Fatal(err)
			}
			if got := o.Details.(sidin.Details).Service; got != c.want {
				t.Errorf("asks for %d, want %d", got, c.want)
			}
		})
	}
}

// The browser comes back once more, or with another code: nothing is asked.
func TestReturns(t *testing.T) {
	t.Parallel()
	s := newService(t)
	res := s.begin(t)
	s.act(t, res, "approve", "vries")
	back := s.back(t, res.Refs[0])
	before := s.calls.Load()
	wrong := connector.Returned{In: connector.Inbound{Query: url.Values{"trxid": back.In.Query["trxid"], "ec": {strings.Repeat("x", 40)}}}}
	same := s.resume(t, res.State, wrong)
	if _, still := same.Step.(connector.Redirect); !still || s.calls.Load() != before || len(same.Notes) == 0 {
		t.Errorf("a wrong entrance code: step %#v, %d calls", same.Step, s.calls.Load()-before)
	}
	if s.conn.Screen(s.request.Settings, res.State, wrong.In) == nil || s.conn.Screen(s.request.Settings, res.State, back.In) != nil {
		t.Error("a stranger is taken for the bank's browser, or the other way about")
	}
	id := done(t, s.resume(t, same.State, back))
	if id.Name != "VJ de Vries" || s.calls.Load() != before+1 {
		t.Errorf("%d status requests for one return", s.calls.Load()-before)
	}
	ref, err := s.conn.Locate(back.In)
	if err != nil || ref != res.Refs[0] {
		t.Errorf("located %q, %v", ref, err)
	}
	for _, q := range []url.Values{{}, {"trxid": {"1"}, "ec": {"a"}}, {"trxid": {string(ref)}}, {"trxid": {string(ref), string(ref)}, "ec": {"a"}}} {
		if ref, err := s.conn.Locate(connector.Inbound{Query: q}); err == nil {
			t.Errorf("%v is located as %q", q, ref)
		}
	}
}

// Nobody is logged in by a timer, and nothing of a person who did not come
// back is opened.
func TestBrowserThatNeverReturns(t *testing.T) {
	t.Parallel()
	for name, approve := range map[string]bool{"approved": true, "not approved": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			res := s.begin(t)
			if approve {
				s.act(t, res, "approve", "vries")
			}
			if early := s.resume(t, res.State, connector.Tick{}); s.calls.Load() != 1 || early.Due != res.Due {
				t.Errorf("asked before the time: %d calls", s.calls.Load())
			}
			s.clock.Advance(res.Due.Sub(s.clock.Now()))
			end := s.resume(t, res.State, connector.Tick{})
			if approve {
				fail(t, end, eid.BrowserNotReturned, "")
			} else {
				fail(t, end, eid.Expired, "Expired")
			}
			if len(end.Evidence) != 0 || s.conn.Duty(end.State, s.clock.Now()) != nil {
				t.Error("something of the person is kept, or is still owed")
			}
		})
	}
}

// The bank has nothing yet when the browser is back: no further request before
// the bank's own time is over.
func TestOpenAfterTheReturn(t *testing.T) {
	t.Parallel()
	s := newService(t)
	res := s.begin(t)
	open := s.resume(t, res.State, s.back(t, res.Refs[0]))
	if w, ok := open.Step.(connector.Wait); !ok || w.Hint != "idin.open" || s.calls.Load() != 2 {
		t.Fatalf("step %#v after %d calls", open.Step, s.calls.Load())
	}
	again := s.resume(t, open.State, s.back(t, res.Refs[0])) // a reload
	again = s.resume(t, again.State, connector.Tick{})
	if s.calls.Load() != 2 || again.Due != open.Due {
		t.Errorf("asked again: %d calls", s.calls.Load())
	}
	s.clock.Advance(4*minute + 50*time.Second)
	s.act(t, res, "approve", "vries")
	s.clock.Advance(20 * time.Second)
	id := done(t, s.resume(t, again.State, connector.Tick{}))
	if id.Name != "VJ de Vries" {
		t.Error("somebody else")
	}
}

// What looked at the address first, a scanner of links for example, does not
// make a foreigner of the browser that began.
func TestOwnBrowserAfterAnother(t *testing.T) {
	t.Parallel()
	s := newService(t)
	res := s.begin(t)
	first := s.back(t, res.Refs[0])
	first.Foreign = true
	open := s.resume(t, res.State, first)
	open = s.resume(t, open.State, s.back(t, res.Refs[0]))
	s.clock.Advance(open.Due.Sub(s.clock.Now()) - 20*time.Second)
	s.act(t, res, "approve", "vries")
	s.clock.Advance(20 * time.Second)
	if end := s.resume(t, open.State, connector.Tick{}); end.Binding != "" {
		t.Errorf("binding %q", end.Binding)
	} else if id := done(t, end); id.Name != "VJ de Vries" {
		t.Error("somebody else")
	}
}

func TestOpenWithRetries(t *testing.T) {
	t.Parallel()
	s := newService(t, func(set *cidin.Settings) { set.RetryOpen = true })
	res := s.begin(t)
	at := s.resume(t, res.State, s.back(t, res.Refs[0]))
	var waits []time.Duration
	for range 5 {
		d := at.Due.Sub(s.clock.Now())
		waits = append(waits, d)
		s.clock.Advance(d)
		at = s.resume(t, at.State, connector.Tick{})
	}
	if want := []time.Duration{2, 4, 6, 8}; !slices.Equal(waits[:4], []time.Duration{want[0] * time.Second, want[1] * time.Second, want[2] * time.Second, want[3] * time.Second}) {
		t.Errorf("asks after %v", waits)
	}
	fail(t, at, eid.Expired, "")
	if s.calls.Load() != 2+4+1 {
		t.Errorf("%d calls", s.calls.Load())
	}
}

func TestThreeMinutes(t *testing.T) {
	t.Parallel()
	s := newService(t, func(set *cidin.Settings) { set.ThreeMinutes = true })
	res := s.begin(t)
	if d := res.Due.Sub(s.clock.Now()); d != 3*minute {
		t.Fatalf("first looks after %v", d)
	}
	s.clock.Advance(3 * minute)
	at := s.resume(t, res.State, connector.Tick{})
	if d := at.Due.Sub(s.clock.Now()); d != 2*minute+10*time.Second || s.calls.Load() != 2 {
		t.Errorf("then after %v, %d calls", d, s.calls.Load())
	}
	s.set.Status = "http://127.0.0.1:1/" // who is at the bank stays there, whoever cannot be asked
	s.request.Settings = wrap(t, s.set)
	s.request.Settings.Key = "unreachable"
	at = s.resume(t, res.State, connector.Tick{})
	if _, ok := at.Step.(connector.Redirect); !ok || at.Due.Sub(s.clock.Now()) != 2*minute+10*time.Second {
		t.Errorf("without an answer: %#v until %v", at.Step, at.Due)
	}
}

// A phone opens whichever browser it likes: the answer is fetched while it
// counts, and is used when the person has said that it was them.
func TestForeignBrowser(t *testing.T) {
	t.Parallel()
	s := newService(t)
	res := s.begin(t)
	s.act(t, res, "approve", "vries")
	back := s.back(t, res.Refs[0])
	back.Foreign = true
	asks := s.resume(t, res.State, back)
	w, ok := asks.Step.(connector.Wait)
	if !ok || !w.Asks || asks.Confirmed == nil || asks.Confirmed.Name != "VJ de Vries" {
		t.Fatalf("step %#v", asks.Step)
	}
	if s.conn.Duty(asks.State, s.clock.Now()) != nil {
		t.Error("a status that is known is still owed")
	}
	reload := s.resume(t, asks.State, back)
	if w, ok := reload.Step.(connector.Wait); !ok || !w.Asks {
		t.Errorf("a reload says yes: %#v", reload.Step)
	}
	expired := s.resume(t, asks.State, connector.Expired{})
	fail(t, expired, eid.BrowserNotReturned, "")
	yes := back
	yes.In.Method = http.MethodPost
	end := s.resume(t, asks.State, yes)
	if _, ok := end.Step.(connector.Done); !ok || end.Binding != eid.Weak {
		t.Errorf("after yes: %#v, binding %q", end.Step, end.Binding)
	}
	own := back
	own.Foreign = false
	if end := s.resume(t, asks.State, own); end.Binding != "" {
		t.Errorf("in the browser that began: binding %q", end.Binding)
	}
	if _, ok := s.resume(t, asks.State, own).Step.(connector.Done); !ok {
		t.Error("the browser that began is not believed")
	}
}

// Data come once: a second request, by whichever node, is told so.
func TestOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	res := s.begin(t)
	s.act(t, res, "approve", "vries")
	back := s.back(t, res.Refs[0])
	first, err := s.conn.Resume(t.Context(), &s.request, res.State, back)
	if err != nil {
		t.Fatal(err)
	}
	if _, again := first.Step.(connector.Again); !again {
		t.Fatalf("the answer is not kept before it is read: %#v", first.Step)
	}
	lost := s.resume(t, res.State, back) // the node died before it could commit
	fail(t, lost, eid.OutcomeUnknown, "no_data")
	came := s.clock.Now()
	s.clock.Advance(40 * time.Second) // until another node reads it, which the assertion itself would not last
	if id := done(t, s.resume(t, first.State, connector.Tick{})); id.Name != "VJ de Vries" || !id.At.Equal(came) {
		t.Error("somebody else, or another time")
	}
	late := s.begin(t)
	s.act(t, late, "approve", "vries")
	back = s.back(t, late.Refs[0])
	s.clock.Advance(31 * time.Second)
	fail(t, s.resume(t, late.State, back), eid.OutcomeUnknown, "no_data")
}

func TestPersons(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.request.Wanted = []string{eid.WantID, eid.WantName, eid.WantBirth, eid.WantAddress, eid.WantGender}
	look := func(person string) *eid.Identity { return done(t, s.login(t, person)) }
	if id := look("onbekend"); id.Birth != "" || id.BirthText != "19500000" || id.Age != nil || id.Gender != "" || id.Sex != "9" {
		t.Errorf("a birth date with parts unknown: %q %q %v %q", id.Birth, id.BirthText, id.Age, id.Gender)
	}
	if id := look("abroad"); id.Address == nil || id.Address.Country != "DE" || len(id.Address.Lines) != 3 || id.Address.PostalCode != "" {
		t.Errorf("an address abroad: %+v", id.Address)
	}
	if id := look("kort"); id.Address == nil || id.Address.Suffix != "A" || id.Address.Extra == "" || id.Preferred != (eid.LastName{}) {
		t.Errorf("few names: %+v %+v", id.Preferred, id.Address)
	}
	if id := look("accent"); id.Initials != "ÉŠ" || id.Family != "Vriës-Çelik" || id.Name != "ÉŠ Vriës-Çelik" {
		t.Errorf("letters: %q", id.Name)
	}
	if id := look("oldbin"); id.Former == "" || id.Former == id.Subject {
		t.Error("the former number is lost")
	}
	if id := look("grens"); id.Age == nil || *id.Age != 18 {
		t.Errorf("eighteen today: %v", id.Age)
	}
}

// A banks' answer that lacks something, as the party wants it.
func TestIncomplete(t *testing.T) {
	t.Parallel()
	for policy, ok := range map[string]bool{"": true, cidin.Deliver: true, cidin.Refuse: false} {
		s := newService(t, func(set *cidin.Settings) { set.Incomplete = policy })
		s.faults.Add(sandbox.Fault{Target: "idin.result", Kind: "incomplete"})
		res := s.login(t, "vries")
		if !ok {
			fail(t, res, eid.Declined, "IncompleteAttributeSet")
			continue
		}
		if id := done(t, res); !id.Partial {
			t.Errorf("policy %q: nothing says that it is partial", policy)
		}
	}
}

// Every way in which an answer can lie or be broken.
func TestForgeries(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]eid.Reason{
		"bad_signature": eid.BadProof, "wrong_request": eid.BadProof, "expired": eid.BadProof, "wrong_recipient": eid.BadProof, "wrong_issuer": eid.BadProof,
		"wrapped": eid.BadProof, "no_container": eid.OutcomeUnknown, "wrong_key": eid.BadProof, "corrupt": eid.BadProof, "duplicate": eid.BadAnswer,
		"low_level": eid.BadProof, "wrong_name": eid.BadProof,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.faults.Add(sandbox.Fault{Target: "idin.result", Kind: kind})
			fail(t, s.login(t, "vries"), want, "")
		})
	}
	for kind, ok := range map[string]func(*eid.Identity) bool{
		"too_long":    func(id *eid.Identity) bool { return id.Name != "" },
		"day_unknown": func(id *eid.Identity) bool { return id.Age == nil && id.BirthText != "" },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.faults.Add(sandbox.Fault{Target: "idin.result", Kind: kind})
			if id := done(t, s.login(t, "vries")); !ok(id) {
				t.Error("not as the scheme allows")
			}
		})
	}
}

// A bank or a routing service that does not start anything: the person may
// choose again, or the operator must act.
func TestStartRefused(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]struct {
		reason eid.Reason
		retry  bool
		stale  bool
	}{
		"SO1100": {eid.Unavailable, true, false}, "SO1400": {eid.Unavailable, true, false}, "AP1200": {eid.Unavailable, true, true},
		"SE2700": {eid.Refused, false, false}, "BR1200": {eid.Refused, false, false}, "AP1100": {eid.Refused, false, false},
		"IX1100": {eid.Refused, false, false}, "AP3000": {eid.Refused, false, false},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.Decisions.Set("", sandbox.Decision{Outcome: sandbox.Outcome("fail:" + code)})
			s.faults.Add(sandbox.Fault{Target: "idin.transaction", Kind: sandbox.Refuse, Value: code})
			res, err := s.conn.Begin(t.Context(), &s.request)
			if err != nil {
				t.Fatal(err)
			}
			f, ok := res.Step.(connector.Fail)
			if !ok || f.Reason != want.reason || f.Retry != want.retry || res.Stale != want.stale || !strings.HasPrefix(f.Code, code) {
				t.Errorf("%#v, stale %v", res.Step, res.Stale)
			}
			if want.reason == eid.Unavailable {
				if f.Text == "" {
					t.Error("the person is not told what the bank says")
				}
				s.request.Failed = &f
				ask := s.conn.Front(&s.request)
				for _, o := range ask.Form.Fields[0].Options {
					if o.Unavailable != (o.Value == "BANKNL2Y") {
						t.Errorf("%s is unavailable: %v", o.Value, o.Unavailable)
					}
				}
				if ask.Form.Error != "idin.down" {
					t.Errorf("form says %q", ask.Form.Error)
				}
			}
		})
	}
}

// TestLanguageOfMessages: what the bank says comes in the language that it was
// asked for, whatever the page's is.
func TestLanguageOfMessages(t *testing.T) {
	t.Parallel()
	for page, want := range map[string][2]string{"nl": {"nl", "Deze sandbox-bank"}, "en": {"en", "This sandbox bank"}, "sv": {"en", "This sandbox bank"}} {
		s := newService(t)
		s.request.Language = page
		s.faults.Add(sandbox.Fault{Target: "idin.transaction", Kind: sandbox.Refuse, Value: "SO1100"})
		res, err := s.conn.Begin(t.Context(), &s.request)
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := res.Step.(connector.Fail); !ok || f.Lang != want[0] || !strings.HasPrefix(f.Text, want[1]) {
			t.Errorf("%s: %#v", page, res.Step)
		}
	}
}

func TestFront(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.request.List.Groups = []connector.Group{
		{Name: "Deutschland", Entries: []connector.Entry{{ID: "BANKDEFF", Name: "Zwei"}}},
		{Name: "Nederland", Entries: []connector.Entry{{ID: "INGBNL2A", Name: "ING"}, {ID: "ASNBNL21", Name: "Äsn"}, {ID: "BUNQNL2A", Name: "bunq"}}}}
	labels := func(preset string) (out []string, auto bool) {
		s.request.Params = map[string]string{cidin.Preset: preset}
		ask := s.conn.Front(&s.request)
		for _, o := range ask.Form.Fields[0].Options {
			out = append(out, o.Label)
		}
		return out, ask.Auto
	}
	for _, c := range []struct {
		preset string
		want   string
		auto   bool
	}{
		{"", "Äsn bunq ING Zwei", false},
		{"INGBNL2A", "ING", true},
		{"INGBNL2A,BUNQNL2A", "bunq ING", false},
		{"INGBNL2A BUNQNL2A INGBNL2A", "bunq ING", false},
		{"XXXXNL2A", "Äsn bunq ING Zwei", false},
		{"XXXXNL2A,INGBNL2A", "ING", true},
	} {
		if got, auto := labels(c.preset); strings.Join(got, " ") != c.want || auto != c.auto {
			t.Errorf("%q: %v, by itself %v", c.preset, got, auto)
		}
	}
	s.request.Params = map[string]string{cidin.Preset: "INGBNL2A"}
	s.request.Input = url.Values{"issuer": {"BUNQNL2A"}}
	if res, err := s.conn.Begin(t.Context(), &s.request); err != nil {
		t.Error(err)
	} else {
		fail(t, res, eid.Unavailable, "unknown_bank") // another one than the party wants
	}
	s.request.List = nil
	if ask := s.conn.Front(&s.request); ask.Form.Error != "idin.nolist" {
		t.Errorf("without a list the form says %q", ask.Form.Error)
	}
}

// The duty lasts until there is a final status, and is given up after a week.
func TestDuty(t *testing.T) {
	t.Parallel()
	s := newService(t)
	res := s.begin(t)
	start := s.clock.Now()
	d := s.conn.Duty(res.State, s.clock.Now())
	if d == nil || d.Due.Sub(start) != 5*minute+10*time.Second {
		t.Fatalf("duty %+v", d)
	}
	for _, private := range []string{"Vries", s.request.Session} {
		if strings.Contains(string(d.State), private) {
			t.Errorf("the duty holds %s", private)
		}
	}
	down := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	s.broken.Store(&down)
	var words []string
	var at []time.Duration
	for next := d; next != nil; {
		s.clock.Advance(next.Due.Sub(s.clock.Now()))
		at = append(at, s.clock.Now().Sub(start).Round(time.Minute))
		var word string
		next, word = s.conn.Collect(t.Context(), s.request.Settings, next.State, s.clock.Now())
		words = append(words, word)
	}
	if len(words) != 9 || words[0] != "unreachable" || words[8] != "given_up" || at[1] != 65*minute || at[8] != 65*minute+7*24*time.Hour {
		t.Errorf("%v at %v", words, at)
	}
	s.broken.Store(nil)
	if next, word := s.conn.Collect(t.Context(), s.request.Settings, d.State, s.clock.Now()); next != nil || word != "expired" {
		t.Errorf("%q, and then %v", word, next)
	}
	approved := s.begin(t)
	s.act(t, approved, "approve", "vries")
	owed := s.conn.Duty(approved.State, s.clock.Now())
	if next, word := s.conn.Collect(t.Context(), s.request.Settings, owed.State, s.clock.Now()); next != nil || word != "success" {
		t.Errorf("%q, and then %v", word, next)
	}
	if _, word := s.conn.Collect(t.Context(), s.request.Settings, owed.State, s.clock.Now()); word != "success" { // without data now
		t.Errorf("again: %q", word)
	}
	open := s.begin(t)
	owed = s.conn.Duty(open.State, s.clock.Now())
	if next, word := s.conn.Collect(t.Context(), s.request.Settings, owed.State, s.clock.Now()); next == nil || word != "open" {
		t.Errorf("%q, and then %v", word, next)
	}
}

// A status that is not final, or cannot be believed, stays owed.
func TestDutyAfterNoStatus(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		fault  sandbox.Fault
		reason eid.Reason
	}{
		"trouble of the routing service": {sandbox.Fault{Target: "idin.status", Kind: sandbox.Refuse, Value: "SO1100"}, eid.OutcomeUnknown},
		"a signature of nobody":          {sandbox.Fault{Target: "idin.status", Kind: "bad_signature"}, eid.BadProof},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			res := s.begin(t)
			s.faults.Add(end.fault)
			got := s.resume(t, res.State, s.back(t, res.Refs[0]))
			fail(t, got, end.reason, "")
			if s.conn.Duty(got.State, s.clock.Now()) == nil {
				t.Error("nothing is owed")
			}
		})
	}
}

// A marker in the entrance code steers an acquirer's simulator.
func TestMarker(t *testing.T) {
	t.Parallel()
	s := newService(t, func(set *cidin.Settings) { set.Marker = "HIO200OIH" })
	res := s.begin(t)
	fail(t, s.resume(t, res.State, s.back(t, res.Refs[0])), eid.Cancelled, "Cancelled")
}

// Both ways in which messages are written, and the alternate key of a
// roll-over.
func TestProfiles(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"plain", "worldline"} {
		for _, key := range []string{"current", "alternate"} {
			s := newService(t, func(set *cidin.Settings) {
				if profile == "worldline" {
					set.LegalID = ""
				}
			})
			if _, err := s.Change(func(set *sidin.Settings) error { set.Profile, set.RoutingKey = profile, key; return nil }); err != nil {
				t.Fatal(err)
			}
			if id := done(t, s.login(t, "vries")); id.Name != "VJ de Vries" {
				t.Errorf("%s %s: somebody else", profile, key)
			}
		}
	}
}

// TestOpenCircuit: a routing service that does not answer is not called. Who
// begins is told at once; a status that is to be asked for is asked for later,
// and nothing of it is lost.
func TestOpenCircuit(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.conn = cidin.New(s.clock.Now)
	s.conn.Circuits = circuit.NewBoard(s.clock.Now, nil)
	var told int
	s.conn.Watch = func(string, string, time.Duration) { told++ }
	begun := s.begin(t)
	s.act(t, begun, "approve", "vries")
	back := s.back(t, begun.Refs[0])
	down := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	s.broken.Store(&down)
	begin := func() {
		t.Helper()
		res, err := s.conn.Begin(t.Context(), &s.request)
		if err != nil {
			t.Fatal(err)
		}
		fail(t, res, eid.Unavailable, "no_answer")
	}
	for range 5 {
		begin()
	}
	calls, seen := s.calls.Load(), told
	s.request.Input = url.Values{"issuer": {"DICHNL2A"}}
	begin()
	for _, o := range s.conn.Front(&s.request).Form.Fields[0].Options {
		if o.Unavailable != (o.Value == "BANKNL2Y") {
			t.Errorf("%s is unavailable: %v, and only one bank was asked", o.Value, o.Unavailable)
		}
	}
	_, err := s.conn.Resume(t.Context(), &s.request, begun.State, back)
	if u, ok := errors.AsType[*connector.Unknown](err); !ok || !u.Repeat || u.Reason != eid.Unavailable || u.After != 10*time.Second {
		t.Errorf("on the return: %v", err)
	}
	if s.calls.Load() != calls || told != seen {
		t.Errorf("%d calls were made, %d told of", s.calls.Load()-calls, told-seen)
	}
	s.broken.Store(nil)
	s.clock.Advance(10 * time.Second)
	if res := s.resume(t, begun.State, back); res.Confirmed == nil {
		t.Errorf("ten seconds later: %#v", res.Step)
	}
}
