package sandbox_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/natid"
	"eidgate/sandbox"
)

func TestOutcomeForms(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct {
		word  sandbox.Outcome
		code  string
		after time.Duration
		list  []string
	}{
		"approve":            {"approve", "", 0, nil},
		"approve after 3s":   {"approve", "", 3 * time.Second, nil},
		"fail:x_1 after 2m":  {"fail:x_1", "x_1", 2 * time.Minute, nil},
		"cancel:page":        {"cancel:page", "", 0, nil},
		"states:a,userSign":  {"states:a,userSign", "", 0, []string{"a", "userSign"}},
		"ignore after 500ms": {"ignore", "", 500 * time.Millisecond, nil},
	} {
		o, err := sandbox.ParseOutcome(in)
		if err != nil || o.Word() != want.word || o.Code() != want.code || o.After() != want.after || !cmp.Equal(o.States(), want.list) {
			t.Errorf("%q: %q %q %s %v, %v", in, o.Word(), o.Code(), o.After(), o.States(), err)
		}
	}
	for _, bad := range []string{"", "approved", "fail:", "fail:<b>", "approve after", "approve after 3h", "approve after -3s", "states:", "states:a,,b", " approve",
		"fail:" + strings.Repeat("a", 41), "states:" + strings.Repeat("a", 400)} {
		if o, err := sandbox.ParseOutcome(bad); err == nil {
			t.Errorf("%q is read as %q", bad, o)
		}
	}
}

// ladder is one where the order r1 belongs to a login of the account a.
func ladder(t *testing.T, from sandbox.Origin) (*sandbox.Decisions, *sandbox.People) {
	t.Helper()
	people := sandbox.NewPeople()
	d := sandbox.NewDecisions(people, sandbox.Approve)
	d.Lookup = func(ref string) (sandbox.Origin, bool) { return from, strings.HasPrefix(ref, "r") }
	return d, people
}

// The first tier with an opinion wins, and explain names each of them.
func TestLadder(t *testing.T) {
	t.Parallel()
	d, _ := ladder(t, sandbox.Origin{Session: "s", Account: "a", Marker: "sandbox:decline;person=bo", Default: "cancel"})
	tiers := func(ref, person string) (sandbox.Decision, string) {
		got := d.Decide(sandbox.Subject{EID: "bankidse", Ref: ref, Person: person})
		rungs, ok := d.Explain(ref)
		if !ok {
			t.Fatal("no explanation")
		}
		var said []string
		for _, r := range rungs {
			mark := ""
			if r.Used {
				mark = "*"
			}
			said = append(said, fmt.Sprintf("%d%s=%s", r.Tier, mark, r.Said))
		}
		return got, strings.Join(said, " ")
	}
	check := func(ref, person string, tier int, outcome sandbox.Outcome, want string) {
		t.Helper()
		got, said := tiers(ref, person)
		if got.Tier != tier || got.Outcome != outcome || said != want {
			t.Errorf("%s: %+v by %s, want tier %d by %s", ref, got, said, tier, want)
		}
	}
	check("r1", "cancels", 30, "decline", "10= 20= 30*=decline 40=cancel 50=cancel 90=approve")
	d.Set("s", sandbox.Decision{Outcome: "expire"})
	check("r1", "", 10, "expire", "10*=expire 20= 30=decline 40= 50=cancel 90=approve")
	d.Set("r1", sandbox.Decision{Outcome: "cancel"}) // the order's own goes before its session's
	check("r1", "", 10, "cancel", "10*=cancel 20= 30=decline 40= 50=cancel 90=approve")
	d.Clear()
	d.Enqueue(sandbox.Queued{Outcome: "fail:x", Match: sandbox.Match{Account: "b"}})
	d.Enqueue(sandbox.Queued{Outcome: "fail:y", Match: sandbox.Match{Account: "a", EID: "bankidse"}, Person: "eva"})
	check("r2", "", 20, "fail:y", "10= 20*=fail:y 30=decline 40= 50=cancel 90=approve")
	check("r2", "", 20, "fail:y", "10= 20*=fail:y 30=decline 40= 50=cancel 90=approve") // kept
	if q := d.Queue(); len(q) != 1 || q[0].Outcome != "fail:x" {
		t.Errorf("queue = %+v", q)
	}

	var people *sandbox.People
	d, people = ladder(t, sandbox.Origin{Session: "s", Default: "cancel after 1s"})
	check("r1", "ignores", 40, "ignore", "10= 20= 30= 40*=ignore 50=cancel after 1s 90=approve")
	if _, err := people.Patch("ada", func(p *sandbox.Person) error { p.Behaviour = "approve after 3s"; return nil }); err != nil {
		t.Fatal(err)
	}
	check("r1", "ada", 40, "approve after 3s", "10= 20= 30= 40*=approve after 3s 50=cancel after 1s 90=approve")
	check("r1", "revoked", 40, "fail:certificateErr", "10= 20= 30= 40*=fail:certificateErr 50=cancel after 1s 90=approve")
	check("r1", "bo", 50, "cancel after 1s", "10= 20= 30= 40= 50*=cancel after 1s 90=approve")
	check("x1", "nobody", 90, "approve", "10= 20= 30= 40= 50= 90*=approve")
	d.Happened("x1", "cancel", "ada", "phone")
	if rungs, _ := d.Explain("x1"); !cmp.Equal(rungs, []sandbox.Rung{{Tier: 10, Source: "phone", Said: "cancel", Used: true}}) {
		t.Errorf("by hand: %+v", rungs)
	}
	if _, ok := d.Explain("nothing"); ok {
		t.Error("an order that never was is explained")
	}
}

// What is queued is for the next login: not for one that runs already, and
// not for the code that it renews.
func TestQueueIsForTheNext(t *testing.T) {
	t.Parallel()
	d, _ := ladder(t, sandbox.Origin{Session: "s"})
	ask := func(ref string) int { return d.Decide(sandbox.Subject{EID: "bankidse", Ref: ref}).Tier }
	if ask("r1") != 90 {
		t.Fatal("something was queued")
	}
	d.Enqueue(sandbox.Queued{Outcome: "cancel", Times: 2})
	if ask("r1") != 90 || ask("r2") != 90 {
		t.Error("a running login took what was queued for the next")
	}
	if ask("x1") != 20 || ask("x2") != 20 || ask("x3") != 90 {
		t.Error("two logins were to take it")
	}
	if q := d.Enqueue(sandbox.Queued{Outcome: "cancel"}); q.ID == 0 || q.Times != 1 {
		t.Errorf("queued = %+v", q)
	}
	d.Unqueue()
	if len(d.Queue()) != 0 || ask("x4") != 90 {
		t.Error("the queue is not empty")
	}
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	for marker, want := range map[string]string{
		"sandbox:cancel": "cancel ", "sandbox:fail:x;person=bo": "fail:x bo", "sandbox:approve after 3s;person=eva": "approve after 3s eva",
		"sandbox:": "", "sandbox:fly": "", "cancel": "", "": "", "sandbox:cancel;bo": "cancel bo",
	} {
		d, _ := ladder(t, sandbox.Origin{Marker: marker})
		got := d.Decide(sandbox.Subject{Ref: "r1"})
		if got.Tier == 90 {
			got = sandbox.Decision{}
		} else if want == "" {
			t.Errorf("%q: %+v", marker, got)
		}
		if want != "" && fmt.Sprintf("%s %s", got.Outcome, got.Person) != want {
			t.Errorf("%q: %+v, want %q", marker, got, want)
		}
		if err := d.CheckMarker(marker); (err == nil) != (want != "" || !strings.HasPrefix(marker, "sandbox:")) {
			t.Errorf("%q: checked %v", marker, err)
		}
	}
	d, _ := ladder(t, sandbox.Origin{})
	if err := d.CheckMarker("sandbox:cancel;person=nobody"); !errors.Is(err, sandbox.ErrNobody) {
		t.Errorf("nobody's marker: %v", err)
	}
}

// One caller at a time runs a session.
func TestClaim(t *testing.T) {
	t.Parallel()
	d, _ := ladder(t, sandbox.Origin{Session: "s"})
	var wins sync.Map
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, err := d.Claim("s", sandbox.Decision{Outcome: "approve"})
			if err == nil {
				wins.Store(i, true)
			} else if !errors.Is(err, sandbox.ErrDecided) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	wins.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d callers run the session", n)
	}
	if got := d.Decide(sandbox.Subject{Ref: "r1"}); !got.Hands || got.Tier != 10 {
		t.Errorf("decision = %+v", got)
	}
	release, err := d.Claim("other", sandbox.Decision{Outcome: "cancel"})
	if err != nil {
		t.Fatal(err)
	}
	release()
	if _, err := d.Claim("other", sandbox.Decision{Outcome: "approve"}); err != nil {
		t.Error(err)
	}
}

func TestPeople(t *testing.T) {
	t.Parallel()
	ps := sandbox.NewPeople()
	now := time.Now()
	for _, p := range ps.List() {
		info, err := natid.Parse("SE", p.Number, now)
		if p.Country == "SE" && (err != nil || !info.ChecksumOK) || p.Country == "NL" && (p.Number != "" || p.IDIN == nil && p.Itsme == nil) {
			t.Errorf("%s: %s, %v", p.Key, p.Number, err)
		}
		if i := p.Itsme; i != nil && i.NationalNumber != "" && i.Issuer == "BEL" {
			if info, err := natid.Parse("BE", i.NationalNumber, now); err != nil || !info.ChecksumOK {
				t.Errorf("%s: %s, %v", p.Key, i.NationalNumber, err)
			}
		}
		if n := p.BankIDNO; n != nil {
			info, err := natid.Parse("NO", n.Number, now)
			if err != nil || !info.ChecksumOK || !info.Synthetic || info.Uncertain || info.BirthDate.String() != n.Birth || (info.Kind == "dnr") != strings.Contains(p.About, "D-number") || p.Country != "NO" || p.Number != "" {
				t.Errorf("%s: %s, born %s: %s %+v, %v", p.Key, n.Number, n.Birth, info.BirthDate, info, err)
			}
		}
		if m := p.MitID; m != nil && m.CPR != "" {
			info, err := natid.Parse("DK", m.CPR, now)
			if err != nil || info.Kind != "cpr-replacement" || info.BirthDate.String() != m.Birth || p.Country != "DK" || p.Number != "" {
				t.Errorf("%s: %s, born %s: %s %+v, %v", p.Key, m.CPR, m.Birth, info.BirthDate, info, err)
			}
		}
		if p.About == "" || p.Name == "" || p.Behaviour == "" {
			t.Errorf("%s: %+v", p.Key, p)
		}
	}
	p, err := ps.Get("eighteen")
	if err != nil || !strings.HasPrefix(p.Number, now.UTC().AddDate(-18, 0, 0).Format("20060102")) {
		t.Errorf("eighteen = %+v, %v", p, err)
	}
	ola, err := ps.Get("ola")
	if err != nil {
		t.Fatal(err)
	}
	hanne, err := ps.Get("hanne")
	if err != nil {
		t.Fatal(err)
	}
	no, dk := *ola.BankIDNO, *hanne.MitID
	good := sandbox.Person{Key: "new-1", Number: "199001012385", Given: "N", Family: "T", BankID: []string{"card"}, Behaviour: "states:userSign,complete"}
	if err := ps.Put(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*sandbox.Person){
		"no key":          func(p *sandbox.Person) { p.Key = "" },
		"key":             func(p *sandbox.Person) { p.Key = "A b" },
		"number":          func(p *sandbox.Person) { p.Number = "9001012385" },
		"kind":            func(p *sandbox.Person) { p.BankID = []string{"paper"} },
		"behaviour":       func(p *sandbox.Person) { p.Behaviour = "sings" },
		"failure":         func(p *sandbox.Person) { p.Behaviour = "fails:" },
		"long name":       func(p *sandbox.Person) { p.Name = strings.Repeat("a", 201) },
		"invalid name":    func(p *sandbox.Person) { p.Given = "\xff" },
		"birth":           func(p *sandbox.Person) { p.IDIN = &sandbox.IDIN{DateOfBirth: "1975-07-25"} },
		"gender":          func(p *sandbox.Person) { p.IDIN = &sandbox.IDIN{Gender: "3"} },
		"long street":     func(p *sandbox.Person) { p.IDIN = &sandbox.IDIN{Street: strings.Repeat("a", 44)} },
		"line break":      func(p *sandbox.Person) { p.IDIN = &sandbox.IDIN{LegalLastName: "a\nb"} },
		"no number":       func(p *sandbox.Person) { n := no; n.Number = ""; p.BankIDNO = &n },
		"Swedish number":  func(p *sandbox.Person) { n := no; n.Number = "199001012385"; p.BankIDNO = &n },
		"PID":             func(p *sandbox.Person) { n := no; n.PID = "9208-2002-2-000000000017"; p.BankIDNO = &n },
		"BIS alone":       func(p *sandbox.Person) { n := no; n.Kinds = []string{"BIS"}; p.BankIDNO = &n },
		"BIM":             func(p *sandbox.Person) { n := no; n.Kinds = []string{"BID", "BIM"}; p.BankIDNO = &n },
		"Norwegian birth": func(p *sandbox.Person) { n := no; n.Birth = "1990-02-30"; p.BankIDNO = &n },
		"UUID":            func(p *sandbox.Person) { m := dk; m.UUID = strings.ToUpper(m.UUID); p.MitID = &m },
		"no user":         func(p *sandbox.Person) { m := dk; m.User = ""; p.MitID = &m },
		"CPR":             func(p *sandbox.Person) { m := dk; m.CPR = "890385-9996"; p.MitID = &m },
		"PID of NemID":    func(p *sandbox.Person) { m := dk; m.PID = "9208-2002-2-17"; p.MitID = &m },
		"authenticator":   func(p *sandbox.Person) { m := dk; m.Authenticators = []string{"paper"}; p.MitID = &m },
		"Danish birth":    func(p *sandbox.Person) { m := dk; m.Birth = "29-03-1985"; p.MitID = &m },
	} {
		bad := good
		change(&bad)
		if err := ps.Put(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
		if _, err := ps.Patch("new-1", func(p *sandbox.Person) error { change(p); return nil }); (err == nil) != (bad.Key != "new-1") {
			t.Errorf("patch with %s: %v", name, err) // a key cannot be patched, all else is refused
		}
	}
	if got, err := ps.Get("new-1"); err != nil || got.Behaviour != good.Behaviour || got.BankID[0] != "card" {
		t.Errorf("after bad changes: %+v, %v", got, err)
	}
	if err := ps.Remove("new-1"); err != nil {
		t.Error(err)
	}
	_, err = ps.Patch("new-1", func(*sandbox.Person) error { return nil })
	if !errors.Is(err, sandbox.ErrNobody) || !errors.Is(ps.Remove("new-1"), sandbox.ErrNobody) {
		t.Errorf("nobody: %v", err)
	}
	if err := ps.Remove("ada"); err != nil {
		t.Error(err)
	}
	ps.Reset()
	if _, err := ps.ByNumber("199001012385"); err != nil {
		t.Errorf("after a reset: %v", err)
	}
}

// Who is known by a country's eID alone has a birth date, and the age that
// follows from it.
func TestAges(t *testing.T) {
	t.Parallel()
	ps := sandbox.NewPeople()
	now := time.Now()
	for _, p := range ps.List() {
		country, birth := "", ""
		if p.BankIDNO != nil {
			country, birth = "NO", p.BankIDNO.Birth
		} else if p.MitID != nil {
			country, birth = "DK", p.MitID.Birth
		} else {
			continue
		}
		d, err := natid.ParseDate(birth)
		years, ok := natid.AgeAt(country, d, now)
		if err != nil || !ok || years > 120 {
			t.Errorf("%s, born %s: %d, %v, %v", p.Key, birth, years, ok, err)
		}
	}
	young, err := ps.Get("unge")
	if err != nil || young.BankIDNO.Birth != now.UTC().AddDate(-17, 0, 0).Format(time.DateOnly) {
		t.Errorf("unge = %+v, %v", young.BankIDNO, err)
	}
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, v := range []struct{ birth, today, want string }{
		{"2008-03-01", "2026-02-28", "17"}, {"2008-03-01", "2026-03-01", "18"}, {"2008-02-29", "2026-02-28", "17"}, {"2008-02-29", "2026-03-01", "18"}, {"1985-03-29", "2026-03-28", "40"},
		{"1985-03-29", "2026-12-01", "41"}, {"2026-01-01", "2026-01-01", "0"}, {"x", "2026-01-01", ""},
	} {
		if got := (&sandbox.MitID{Birth: v.birth}).Age(day(v.today)); got != v.want {
			t.Errorf("born %s, on %s: %q, want %q", v.birth, v.today, got, v.want)
		}
	}
}

// The same seed makes the same faults.
func TestFaultsAreRepeatable(t *testing.T) {
	t.Parallel()
	run := func(seed int64) string {
		f := sandbox.NewFaults(seed)
		f.Add(sandbox.Fault{Target: "a", Kind: "http", Probability: 0.5})
		f.Add(sandbox.Fault{Target: "a", Kind: "garbage", Probability: 0.3})
		var b strings.Builder
		for range 100 {
			x, hit := f.Take("a")
			if !hit {
				x.Kind = "-"
			}
			b.WriteByte(x.Kind[0])
		}
		return b.String()
	}
	first := run(7)
	if again := run(7); again != first {
		t.Errorf("one seed makes two lists:\n%s\n%s", first, again)
	}
	if run(8) == first {
		t.Error("two seeds make one list")
	}
	if n := strings.Count(first, "h"); n < 30 || n > 70 {
		t.Errorf("a chance of a half hits %d times of 100", n)
	}
}

func TestTimesAndEvery(t *testing.T) {
	t.Parallel()
	f := sandbox.NewFaults(1)
	hits := func(n int, targets ...string) (s string) {
		for range n {
			x, _ := f.Take(targets...)
			s += fmt.Sprint(x.ID)
		}
		return s
	}
	f.Add(sandbox.Fault{Target: "a", Kind: "http", Times: 2})
	if got := hits(4, "a", "a.b"); got != "1100" {
		t.Errorf("times: %s", got)
	}
	f.Add(sandbox.Fault{Target: "a.b", Kind: "http", Every: 3, Times: 2})
	if got := hits(10, "a", "a.b"); got != "0020020000" {
		t.Errorf("every: %s", got)
	}
	f.Add(sandbox.Fault{Target: "a", Kind: "clock_skew", Value: "-90s"})
	f.Add(sandbox.Fault{Target: "a", Kind: "clock_skew", Value: "30s"})
	if got := hits(3, "a"); got != "000" || f.Skewed("a") != -time.Minute || f.Skewed("b") != 0 {
		t.Errorf("a clock is no fault of a call: %s, %s", got, f.Skewed("a"))
	}
	if !f.Remove(3) || f.Remove(3) || len(f.List()) != 1 {
		t.Errorf("left: %+v", f.List())
	}
	f.Clear()
	for i := range 1001 {
		if x := f.Add(sandbox.Fault{Target: "a", Kind: "http"}); (x.ID == 0) != (i == 1000) {
			t.Fatalf("fault %d: %+v", i, x)
		}
	}
}

func TestFaultCheck(t *testing.T) {
	t.Parallel()
	kinds := []string{"delay", "http", "html", "reset", "garbage", "truncate", "clock_skew", "expired"}
	for _, c := range []struct {
		f  sandbox.Fault
		ok bool
	}{
		{sandbox.Fault{Kind: "delay", Value: "5s"}, true}, {sandbox.Fault{Kind: "delay"}, false}, {sandbox.Fault{Kind: "delay", Value: "31s"}, false},
		{sandbox.Fault{Kind: "delay", Value: "-1s"}, false}, {sandbox.Fault{Kind: "clock_skew", Value: "-90s"}, true}, {sandbox.Fault{Kind: "clock_skew", Value: "25h"}, false},
		{sandbox.Fault{Kind: "http", Value: "503"}, true}, {sandbox.Fault{Kind: "http", Value: "400 alreadyInProgress"}, true}, {sandbox.Fault{Kind: "http", Value: "200"}, false},
		{sandbox.Fault{Kind: "html", Value: "x"}, false}, {sandbox.Fault{Kind: "reset"}, true}, {sandbox.Fault{Kind: "reset", Value: "after"}, true},
		{sandbox.Fault{Kind: "garbage", Value: "later"}, false}, {sandbox.Fault{Kind: "fire"}, false}, {sandbox.Fault{Kind: "reset", Times: -1}, false},
		{sandbox.Fault{Kind: "reset", Probability: 1.5}, false}, {sandbox.Fault{Kind: "expired", Target: "x.result"}, true},
	} {
		if err := c.f.Check(kinds); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.f, err)
		}
	}
}

// A delay ends with the caller's patience.
func TestDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, called := time.Now(), false
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
		sandbox.Fault{Kind: "delay", Value: "5s"}.Apply(httptest.NewRecorder(), r, func(http.ResponseWriter, *http.Request) { called = true })
		if time.Since(start) != 5*time.Second || !called {
			t.Errorf("after %s, called %v", time.Since(start), called)
		}
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, frozen := range []bool{true, false} {
			c := sandbox.NewClock(frozen)
			start := c.Now()
			time.Sleep(time.Second) // of the bubble
			if moved := c.Now().Sub(start); (moved == 0) != frozen || !frozen && moved != time.Second {
				t.Errorf("frozen %v: moved by %s", frozen, moved)
			}
			jumped := c.Jumped()
			before := c.Now()
			c.Advance(181 * time.Second)
			if got := c.Now().Sub(before); got != 181*time.Second {
				t.Errorf("advanced by %s", got)
			}
			select {
			case <-jumped:
			default:
				t.Error("nobody was told of the jump")
			}
			to := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
			c.Set(to)
			if got := c.Now(); !got.Equal(to) {
				t.Errorf("set to %s", got)
			}
			jumped = c.Jumped()
			c.Reset()
			if got := c.Now().Sub(start); frozen && got != 0 || !frozen && got != time.Second {
				t.Errorf("frozen %v: after a reset %s from the start", frozen, got)
			}
			select {
			case <-jumped:
			default:
				t.Error("nobody was told of the reset")
			}
		}
	})
}

// The recorder keeps what was said word for word, and not more than it may.
func TestRecorder(t *testing.T) {
	t.Parallel()
	r := sandbox.NewRecorder(8 << 10)
	at := time.Unix(1_800_000_000, 0)
	h := r.Wrap("x", func() time.Time { return at }, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if req.URL.Path == "/start" {
			_, _ = w.Write([]byte(`{"orderRef":"r1"}`))
			return
		}
		w.WriteHeader(400)
		_, _ = w.Write(body)
	}))
	post := func(path, body string) {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(body)))
	}
	post("/start", `{"a": 1}`)
	post("/collect", `{"orderRef":"r1"} `)
	post("/collect", `{"orderRef":"r2"}`)
	post("/collect", "\xff")
	var got []string
	for _, m := range r.Of("r1") {
		if !m.At.Equal(at) || m.Upstream != "x" || m.Method != "POST" {
			t.Errorf("%+v", m)
		}
		got = append(got, fmt.Sprintf("%s %s %d %s", m.Direction, m.URL, m.Status, m.Body))
	}
	want := []string{`in /start 0 {"a": 1}`, `out /start 200 {"orderRef":"r1"}`, `in /collect 0 {"orderRef":"r1"} `, `out /collect 400 {"orderRef":"r1"} `}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for range 100 {
		post("/collect", `{"orderRef":"r3","fill":"`+strings.Repeat("a", 500)+`"}`)
	}
	if n := len(r.Of("r3")); n == 0 || n > 8 || len(r.Of("r1")) != 0 {
		t.Errorf("%d messages of the last order are kept, %d of the first", n, len(r.Of("r1")))
	}
	r.Clear()
	if len(r.Of("r3")) != 0 {
		t.Error("something is left")
	}
}

// Dates that are relative follow the sandbox's clock, and a change of one
// person is nobody else's.
func TestIDIN(t *testing.T) {
	t.Parallel()
	ps := sandbox.NewPeople()
	before, err := ps.Get("grens")
	if err != nil {
		t.Fatal(err)
	}
	today := time.Date(2028, 2, 29, 23, 0, 0, 0, time.UTC)
	if got := before.IDIN.Birth(today); got != "20100301" {
		t.Errorf("18 years before %s: %s", today, got)
	}
	after, err := ps.Patch("grens", func(p *sandbox.Person) error { p.IDIN.Email = "new@example.com"; return nil })
	if err != nil || after.IDIN.Email == before.IDIN.Email {
		t.Errorf("patched: %q, before %q, %v", after.IDIN.Email, before.IDIN.Email, err)
	}
}

func TestAdult(t *testing.T) {
	t.Parallel()
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, v := range []struct{ birth, today, want string }{
		{"20080615", "2026-06-14", "false"}, {"20080615", "2026-06-15", "true"}, {"20080229", "2026-02-28", "false"}, {"20080229", "2026-03-01", "true"},
		{"20080600", "2026-06-29", "false"}, {"20080600", "2026-06-30", "true"}, {"20080000", "2026-12-30", "false"}, {"20080000", "2026-12-31", "true"},
		{"today-18y", "2026-06-15", "true"}, {"today-17y", "2026-06-15", "false"}, {"", "2026-06-15", ""},
	} {
		if got := (&sandbox.IDIN{DateOfBirth: v.birth}).Adult(day(v.today)); got != v.want {
			t.Errorf("born %s, on %s: %q, want %q", v.birth, v.today, got, v.want)
		}
	}
}

// What an upstream's own request says counts as a marker, and the address that
// a login returns to names it before the broker knows its order.
func TestMarkersAndReturns(t *testing.T) {
	t.Parallel()
	d, _ := ladder(t, sandbox.Origin{})
	d.Lookup = nil
	d.Returns = func(address string) (sandbox.Origin, bool) {
		return sandbox.Origin{Session: "s1"}, address == "https://a.example/r"
	}
	d.Set("s1", sandbox.Decision{Outcome: "fail:SO1100"})
	got := d.Decide(sandbox.Subject{EID: "idin", Ref: "1", Return: "https://a.example/r", Marker: sandbox.Cancel})
	if got.Outcome != "fail:SO1100" || got.Tier != 10 {
		t.Errorf("with the session's decision: %+v", got)
	}
	if got = d.Decide(sandbox.Subject{EID: "idin", Ref: "2", Return: "https://b.example/r", Marker: sandbox.Cancel}); got.Outcome != sandbox.Cancel || got.Tier != 30 {
		t.Errorf("with a marker: %+v", got)
	}
	if got = d.Decide(sandbox.Subject{EID: "idin", Ref: "3", Person: "blocked-nl"}); got.Outcome != sandbox.Decline {
		t.Errorf("blocked: %+v", got)
	}
}

// A login may reach its upstream through another eID's: it is its own that the
// queue is asked for, and its orders are known by the session.
func TestLoginThroughAnotherEID(t *testing.T) {
	t.Parallel()
	d, _ := ladder(t, sandbox.Origin{Session: "s", EID: "idinage"})
	d.Enqueue(sandbox.Queued{Outcome: "cancel", Match: sandbox.Match{EID: "idin"}})
	d.Enqueue(sandbox.Queued{Outcome: "decline", Match: sandbox.Match{EID: "idinage"}})
	if got := d.Decide(sandbox.Subject{EID: "idin", Ref: "r1"}); got.Tier != 20 || got.Outcome != sandbox.Decline {
		t.Errorf("an age check at a bank: %+v", got)
	}
	if got := d.Decide(sandbox.Subject{EID: "idin", Ref: "x1"}); got.Tier != 20 || got.Outcome != sandbox.Cancel {
		t.Errorf("an order of nobody knows whom: %+v", got)
	}
	d.Decide(sandbox.Subject{EID: "idin", Ref: "r2"})
	if got := d.Orders("s"); !cmp.Equal(got, []string{"r1", "r2"}) || d.Orders("") != nil {
		t.Errorf("orders of the session: %v, of none: %v", got, d.Orders(""))
	}
}

// A handler says which order it answers about, and calls that a simulator
// makes itself are recorded on either way.
func TestConcerns(t *testing.T) {
	t.Parallel()
	rec, now := sandbox.NewRecorder(1<<20), func() time.Time { return time.Unix(0, 0) }
	srv := httptest.NewServer(rec.Wrap("idin", now, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sandbox.Concerns(r.Context(), "42")
		fmt.Fprint(w, "<answer/>")
	})))
	defer srv.Close()
	c := &http.Client{Transport: rec.Transport("idinqr", now, nil)}
	req, err := http.NewRequestWithContext(sandbox.About(t.Context(), "qr"), http.MethodPost, srv.URL+"/a?s=1", strings.NewReader("<question/>"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "<answer/>" || err != nil {
		t.Errorf("answer %q, %v", body, err)
	}
	for ref, want := range map[string]string{"42": "in /a?s=1 <question/>|out /a?s=1 <answer/>|", "qr": "out " + srv.URL + "/a?s=1 <question/>|in " + srv.URL + "/a?s=1 <answer/>|"} {
		var said strings.Builder
		for _, m := range rec.Of(ref) {
			fmt.Fprintf(&said, "%s %s %s|", m.Direction, m.URL, m.Body)
		}
		if said.String() != want {
			t.Errorf("about %s: %q, want %q", ref, said.String(), want)
		}
	}
}
