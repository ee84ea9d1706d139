package bankidse_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/bankidse"
	"eidgate/eid"
	"eidgate/internal/circuit"
	"eidgate/sandbox"
)

// TestExpiredUsesWhatWasCollected: a session whose time ends between collect
// and verification has its answer already, and BankID has it no more.
func TestExpiredUsesWhatWasCollected(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	res := s.collected(t, s.begin(t))
	before := s.wire.count("collect", 0)
	res = s.resume(t, res.State, connector.Expired{})
	if _, done := res.Step.(connector.Done); !done || res.Confirmed == nil {
		t.Errorf("step = %#v, want Done", res.Step)
	}
	if n := s.wire.count("collect", 0) - before; n != 0 {
		t.Errorf("collected %d times more", n)
	}
}

// TestExpiredCollectsOnceMore: what completed at the last moment counts, and
// what did not is cancelled.
func TestExpiredCollectsOnceMore(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	res := s.begin(t)
	if _, err := s.Event(string(res.Refs[0]), "approve", "ada"); err != nil {
		t.Fatal(err)
	}
	again := s.resume(t, res.State, connector.Expired{})
	if _, ok := again.Step.(connector.Again); !ok {
		t.Fatalf("step = %#v, want Again", again.Step)
	}
	if done := s.resume(t, again.State, connector.Tick{}); done.Confirmed == nil {
		t.Errorf("step = %#v, want Done", done.Step)
	}
	res = s.begin(t)
	if f, ok := s.resume(t, res.State, connector.Expired{}).Step.(connector.Fail); !ok || f.Reason != eid.Expired || s.wire.count("cancel", 200) != 1 {
		t.Errorf("step = %#v after %d cancels", f, s.wire.count("cancel", 200))
	}
}

// TestRenewalIsRepeated: a node dies after it has asked for a new code for a
// pinned person. BankID ends both orders, and the person still gets a code.
func TestRenewalIsRepeated(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.request.Pinned = "199001012385"
	res := s.begin(t)
	for range 10 {
		if w, ok := res.Step.(connector.Wait); ok && w.Rests {
			break
		}
		s.clock.Advance(30 * time.Second)
		res = s.resume(t, res.State, connector.Tick{})
	}
	renew := connector.Submitted{Values: url.Values{"renew": {"1"}}}
	s.resume(t, res.State, renew) // and nobody learns of it
	s.request.Repeated = true
	if w, ok := s.resume(t, res.State, renew).Step.(connector.Wait); !ok || w.Rests {
		t.Errorf("step = %#v, want a new code", w)
	}
}

// TestFormStays: until the person's number is known there is no order, and
// no event but their answer changes what is asked.
func TestFormStays(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	s.request.Params = map[string]string{"ask_personal_number": "1"}
	s.request.Input = url.Values{"personalnumber": {"1234"}}
	res := s.begin(t)
	want, ok := res.Step.(connector.Ask)
	if !ok || want.Form.Fields[0].Error == "" || want.Form.Fields[0].Default != "1234" {
		t.Fatalf("step = %#v, want the form with what was typed", res.Step)
	}
	for _, e := range []connector.Event{connector.Tick{}, connector.Shown{}, connector.Returned{}, connector.Called{}} {
		res = s.resume(t, res.State, e)
		if a, ok := res.Step.(connector.Ask); !ok || a.Form.Fields[0].Error != want.Form.Fields[0].Error || a.Form.Fields[0].Default != "1234" || !res.Due.IsZero() {
			t.Errorf("after %s: %#v", connector.EventName(e), res.Step)
		}
	}
	if err := s.conn.Cancel(t.Context(), &s.request, res.State); err != nil || s.wire.asked() != 0 {
		t.Errorf("Cancel = %v, after %d calls", err, s.wire.asked())
	}
	res = s.resume(t, res.State, connector.Submitted{Values: url.Values{"personalnumber": {"19900101-2385"}, "device": {"other"}}})
	if w, ok := res.Step.(connector.Wait); !ok || !strings.Contains(s.wire.last("auth"), `"personalNumber":"199001012385"`) {
		t.Errorf("step = %#v after %s", w, s.wire.last("auth"))
	}
	if line, _, _ := strings.Cut(string(res.State), "\n"); strings.Contains(line, "1234\"") {
		t.Errorf("what was typed stays in %s", line)
	}
}

// TestRequestsThatCannotBe: what BankID would never take is the party's
// mistake. Trying again cannot help, and nothing is sent.
func TestRequestsThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	for name, change := range map[string]func(*connector.Request){
		"a signature of nothing": func(r *connector.Request) { r.Purpose = eid.Sign },
		"a long login text":      func(r *connector.Request) { r.Texts = visible(strings.Repeat("a", 1200)) },
		"a text in Latin-1":      func(r *connector.Request) { r.Texts = visible("\xe5") },
		"a number of ten digits": func(r *connector.Request) { r.Pinned = "9001012385" },
		"no address":             func(r *connector.Request) { r.Params = map[string]string{"end_user_ip": "localhost"} },
	} {
		r := s.request
		change(&r)
		res, err := s.conn.Begin(t.Context(), &r)
		if want := (connector.Fail{Reason: eid.BadRequest}); err != nil || res.Step != want {
			t.Errorf("%s: %#v, %v, want %#v", name, res.Step, err, want)
		}
	}
	if s.wire.asked() != 0 {
		t.Errorf("%d calls were made", s.wire.asked())
	}
}

func visible(text string) func(context.Context) (connector.Texts, error) {
	return func(context.Context) (connector.Texts, error) { return connector.Texts{Visible: eid.Text(text)}, nil }
}

// TestTextsComeLater: the store fails while the texts are read. Neither start
// nor verification has done anything yet, so both may be repeated; the answer,
// which is given once, is still there.
func TestTextsComeLater(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	broken, good := errors.New("store is away"), s.request.Texts
	away := func(context.Context) (connector.Texts, error) { return connector.Texts{}, broken }
	repeats := func(what string, err error) {
		t.Helper()
		var u *connector.Unknown
		if !errors.As(err, &u) || !u.Repeat || !errors.Is(err, broken) {
			t.Errorf("%s: %v, want to be repeated", what, err)
		}
	}
	s.request.Texts = away
	_, err := s.conn.Begin(t.Context(), &s.request)
	repeats("Begin", err)
	if s.wire.asked() != 0 {
		t.Error("an order was started without its texts")
	}
	s.request.Texts = good
	res := s.collected(t, s.begin(t))
	s.request.Texts = away
	_, err = s.conn.Resume(t.Context(), &s.request, res.State, connector.Tick{})
	repeats("Resume", err)
	s.request.Texts = good
	if res = s.resume(t, res.State, connector.Tick{}); res.Confirmed == nil {
		t.Errorf("step = %#v", res.Step)
	}
}

// TestAnotherPersonThanPinned: whatever BankID lets through, nobody else is
// confirmed.
func TestAnotherPersonThanPinned(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	res := s.collected(t, s.begin(t))
	for number, want := range map[string]eid.Reason{"199001032391": eid.WrongPerson, "199001012385": ""} {
		pinned := bytes.Replace(res.State, []byte(`"nonce":`), []byte(`"pinned":"`+number+`","nonce":`), 1)
		got := s.resume(t, pinned, connector.Tick{})
		if f, _ := got.Step.(connector.Fail); f.Reason != want || (got.Confirmed == nil) != (want != "") {
			t.Errorf("pinned to %s: %#v", number, got.Step)
		}
	}
}

// TestNonceCountsOnce: only the nonce of the order says that the app brought the
// browser back, and only the first time.
func TestNonceCountsOnce(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	res := s.begin(t)
	var state struct{ Nonce string }
	line, _, _ := bytes.Cut(res.State, []byte("\n"))
	if err := json.Unmarshal(line, &state); err != nil || len(state.Nonce) != 22 {
		t.Fatalf("nonce %q, %v", state.Nonce, err)
	}
	for _, c := range []struct {
		nonce string
		notes int
	}{{"", 0}, {"forged", 0}, {state.Nonce + "A", 0}, {state.Nonce, 1}, {state.Nonce, 0}} {
		res = s.resume(t, res.State, connector.Submitted{Values: url.Values{"nonce": {c.nonce}}})
		if len(res.Notes) != c.notes {
			t.Errorf("%q: notes %q", c.nonce, res.Notes)
		}
	}
	if res = s.tick(t, res); res.Confirmed == nil || res.Confirmed.Signals["returned"] != "true" {
		t.Errorf("step = %#v", res.Step)
	}
}

// TestLanguageChanges: who reads the page in another language than the order's
// text, which is signed as it was, is logged in all the same. The code that
// follows has the new one.
func TestLanguageChanges(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	res := s.begin(t)
	s.request.Language = "sv"
	s.clock.Advance(30 * time.Second)
	res = s.resume(t, res.State, connector.Tick{})
	if text := base64.StdEncoding.EncodeToString([]byte("Jag legitimerar mig hos Demo shop.")); !strings.Contains(s.wire.last("auth"), text) {
		t.Errorf("the second order has another text: %s", s.wire.last("auth"))
	}
	s.request.Language = "en"
	if _, err := s.Event(string(res.Refs[0]), "approve", "ada"); err != nil {
		t.Fatal(err)
	}
	if res = s.tick(t, res); res.Confirmed == nil {
		t.Fatalf("step = %#v", res.Step)
	}
	if !bytes.Contains(res.Evidence[2].Data, []byte("SmFn")) {
		t.Errorf("the evidence has another text: %s", res.Evidence[2].Data)
	}
}

// device is the app's address in a stored answer: the simulator's app is
// always where the browser is.
var device = regexp.MustCompile(`"ipAddress":"[^"]*"`)

// TestAddressCheck: the account's policy looks at the person's own address,
// and at every order whose link was on a page (§20): who has the link can hand
// it to somebody else, and say afterwards that it was for another device.
func TestAddressCheck(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	pick := func(device string) connector.Event {
		return connector.Submitted{Values: url.Values{"device": {device}}}
	}
	for name, c := range map[string]struct {
		policy, mode, browser, app string
		params                     map[string]string
		events                     []connector.Event
		signal                     string
		blocked                    bool
	}{
		"equal":                          {"require-equal", "same", "203.0.113.24", "203.0.113.24", nil, nil, "equal", false},
		"equal, written differently":     {"require-equal", "same", "::ffff:203.0.113.24", "203.0.113.24", nil, nil, "equal", false},
		"another":                        {"require-equal", "same", "203.0.113.24", "203.0.113.25", nil, nil, "same-prefix", true},
		"near":                           {"require-same-prefix", "same", "203.0.113.24", "203.0.113.25", nil, nil, "same-prefix", false},
		"near, IPv6":                     {"require-same-prefix", "same", "2001:db8:1::1", "2001:db8:1:2::3", nil, nil, "same-prefix", false},
		"far":                            {"require-same-prefix", "same", "203.0.113.24", "203.0.114.24", nil, nil, "different", true},
		"another family":                 {"require-same-prefix", "same", "203.0.113.24", "2001:db8::1", nil, nil, "different", true},
		"no address":                     {"require-equal", "same", "203.0.113.24", "", nil, nil, "unknown", true},
		"only noted":                     {"log", "same", "203.0.113.24", "198.51.100.1", nil, nil, "different", false},
		"on another device":              {"require-equal", "other", "203.0.113.24", "198.51.100.1", nil, nil, "different", false},
		"turned to another device":       {"require-equal", "same", "203.0.113.24", "198.51.100.1", nil, []connector.Event{pick("other")}, "different", true},
		"turned to this device and back": {"require-equal", "other", "203.0.113.24", "198.51.100.1", nil, []connector.Event{pick("same"), pick("other")}, "different", true},
		"from a party's own page":        {"require-equal", "same", "192.0.2.1", "203.0.113.24", map[string]string{"end_user_ip": "203.0.113.24"}, nil, "equal", false},
	} {
		s.settings(t, func(set *bankidse.Settings) { set.AddressCheck = c.policy })
		s.request.Mode, s.request.Params, s.request.Browser.Addr = c.mode, c.params, netip.MustParseAddr(c.browser)
		res := s.begin(t)
		for _, e := range c.events {
			res = s.resume(t, res.State, e)
		}
		res = s.collected(t, res)
		res = s.resume(t, device.ReplaceAll(res.State, []byte(`"ipAddress":"`+c.app+`"`)), connector.Tick{})
		f, failed := res.Step.(connector.Fail)
		if failed != c.blocked || failed && f != (connector.Fail{Reason: eid.RiskBlocked, Code: "address"}) {
			t.Errorf("%s: step = %#v", name, res.Step)
		}
		if !failed && res.Confirmed.Signals["address"] != c.signal {
			t.Errorf("%s: address = %q, want %q", name, res.Confirmed.Signals["address"], c.signal)
		}
	}
}

// TestEndUserAddress: BankID is told of the address as people write it.
func TestEndUserAddress(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for addr, want := range map[string]string{"203.0.113.24": "203.0.113.24", "::ffff:203.0.113.24": "203.0.113.24", "fe80::1%eth0": "fe80::1"} {
		s.request.Browser.Addr = netip.MustParseAddr(addr)
		s.begin(t)
		if got := s.wire.last("auth"); !strings.Contains(got, `"endUserIp":"`+want+`"`) {
			t.Errorf("%s: sent %s", addr, got)
		}
	}
}

// TestAnswersThatProveNobody: a completion must say who it is, also where
// signatures are only stored.
func TestAnswersThatProveNobody(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.settings(t, func(set *bankidse.Settings) { set.StoreOnly = true })
	for name, c := range map[string]struct{ collect, code string }{
		"nobody":       {`{"status":"complete","completionData":{"signature":"QQ==","ocspResponse":"QQ=="}}`, "personalNumber"},
		"a short name": {`{"status":"complete","completionData":{"user":{"personalNumber":"9001012385"}}}`, "personalNumber"},
		"letters":      {`{"status":"complete","completionData":{"user":{"personalNumber":"19900101238x"}}}`, "personalNumber"},
		"an odd state": {`{"status":"frozen"}`, "status"},
	} {
		s.replaced(c.collect)
		res := s.tick(t, s.begin(t))
		if want := (connector.Fail{Reason: eid.BadAnswer, Code: c.code}); res.Step != want || res.Confirmed != nil {
			t.Errorf("%s: %#v, want %#v", name, res.Step, want)
		}
	}
	s.replaced(`{"status":"complete","completionData":{"user":{"personalNumber":"199001012385"},"stepUp":null}}`)
	if res := s.tick(t, s.begin(t)); res.Confirmed == nil || res.Confirmed.Number != "199001012385" {
		t.Errorf("somebody: %#v", res.Step)
	}
}

// TestHintsAreWords: codes that are new to us are handed on, but as short
// words, whatever they hold.
func TestHintsAreWords(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	long := strings.Repeat("a", 1000)
	for hint, want := range map[string]string{"somethingNew": "somethingNew", "two_words": "two_words", "<b>\\n": "b", long: long[:40], "": "", "é": "other"} {
		s.replaced(`{"status":"failed","hintCode":"` + hint + `"}`)
		if f, ok := s.tick(t, s.begin(t)).Step.(connector.Fail); !ok || f != (connector.Fail{Reason: eid.Declined, Code: want}) {
			t.Errorf("failed with %.20q: %#v", hint, f)
		}
		s.replaced(`{"status":"pending","hintCode":"` + hint + `"}`)
		res := s.resume(t, s.begin(t).State, connector.Tick{})
		w, ok := res.Step.(connector.Wait)
		if !ok || w.Code != want || len(res.State) > 2000 {
			t.Errorf("pending with %.20q: %#v", hint, res.Step)
		}
		if hint != "" && (w.Hint != "bankidse.rfa21" || w.Launch != "") {
			t.Errorf("pending with %.20q shows %q and the link %q", hint, w.Hint, w.Launch)
		}
	}
}

// TestOpenCircuit: while BankID is not called, an order that runs waits, and
// ends no earlier for it, nor much later than if it were called in vain.
func TestOpenCircuit(t *testing.T) {
	t.Parallel()
	opened := func(t *testing.T, times int) (*service, string, connector.Result) {
		t.Helper()
		s := newService(t, sandbox.Ignore)
		s.conn.Circuits = circuit.NewBoard(s.clock.Now, nil)
		res := s.begin(t)
		ref := string(res.Refs[0])
		s.faults.Add(sandbox.Fault{Target: "bankidse", Kind: "http", Value: "503", Times: times})
		for range 5 {
			s.begin(t)
		}
		before := s.wire.asked()
		if f, ok := s.begin(t).Step.(connector.Fail); !ok || f != (connector.Fail{Reason: eid.Unavailable, Retry: true}) {
			t.Fatalf("a new order: %#v", f)
		}
		for range 4 {
			s.clock.Advance(2 * time.Second)
			res = s.resume(t, res.State, connector.Tick{})
			if _, waits := res.Step.(connector.Wait); !waits || !res.Due.Equal(s.clock.Now().Add(2*time.Second)) {
				t.Fatalf("an order that runs: %#v, next look at %v", res.Step, res.Due)
			}
		}
		if n := s.wire.asked() - before; n != 0 {
			t.Fatalf("BankID was called %d times", n)
		}
		s.clock.Advance(2 * time.Second)
		return s, ref, res
	}
	t.Run("answers again", func(t *testing.T) {
		t.Parallel()
		s, ref, res := opened(t, 5)
		if _, err := s.Event(ref, "approve", "ada"); err != nil {
			t.Fatal(err)
		}
		if res = s.tick(t, res); res.Confirmed == nil {
			t.Errorf("step = %#v, want Done", res.Step)
		}
	})
	t.Run("stays away", func(t *testing.T) {
		t.Parallel()
		s, _, res := opened(t, 0)
		for waited := 10 * time.Second; ; waited += 2 * time.Second {
			s.begin(t) // others try, and are refused
			res = s.resume(t, res.State, connector.Tick{})
			if f, over := res.Step.(connector.Fail); over {
				if f != (connector.Fail{Reason: eid.Unavailable, Retry: true}) || waited != time.Minute+2*time.Second {
					t.Errorf("after %v: %#v", waited, f)
				}
				return
			}
			if waited > 2*time.Minute {
				t.Fatal("the order waits for ever")
			}
			s.clock.Advance(2 * time.Second)
		}
	})
}

// TestEnvironmentsKnowTheirOwnBanks: a signature of one environment proves
// nobody in another, also after both have met their banks.
func TestEnvironmentsKnowTheirOwnBanks(t *testing.T) {
	t.Parallel()
	s, other := newService(t, sandbox.Approve), newService(t, sandbox.Approve)
	own := s.set.SignatureRoots
	for i, c := range []struct {
		roots string
		want  connector.Step
	}{{own, connector.Done{}}, {other.SignatureRoot(), connector.Fail{Reason: eid.BadProof, Code: "chain"}}, {own, connector.Done{}}} {
		s.settings(t, func(set *bankidse.Settings) { set.SignatureRoots = c.roots })
		if got := s.tick(t, s.begin(t)).Step; got != c.want {
			t.Errorf("%d: step = %#v, want %#v", i, got, c.want)
		}
	}
}

// TestAnswerInOneLine: an order whose answer an older release has stored ends
// as it would have there.
func TestAnswerInOneLine(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	lines := bytes.Split(s.collected(t, s.begin(t)).State, []byte("\n"))
	if len(lines) != 4 {
		t.Fatalf("%d lines", len(lines))
	}
	answer := string(lines[1])
	for i, name := range []string{"signature", "ocspResponse"} {
		answer = strings.Replace(answer, `"`+name+`":""`, `"`+name+`":"`+string(lines[2+i])+`"`, 1)
	}
	if res := s.resume(t, []byte(string(lines[0])+"\n"+answer), connector.Tick{}); res.Confirmed == nil {
		t.Errorf("step = %#v", res.Step)
	}
}
