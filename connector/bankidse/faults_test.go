package bankidse_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
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
	if !ok || want.Auto || want.Form.Error == "" || want.Form.Fields[0].Error == "" || want.Form.Fields[0].Default != "1234" {
		t.Fatalf("step = %#v, want the form with what was typed", res.Step)
	}
	for _, e := range []connector.Event{connector.Tick{}, connector.Shown{}, connector.Returned{}, connector.Called{}} {
		res = s.resume(t, res.State, e)
		if a, ok := res.Step.(connector.Ask); !ok || a.Form.Fields[0].Error != want.Form.Fields[0].Error || a.Form.Fields[0].Default != "1234" || !res.Due.IsZero() {
			t.Errorf("after %s: %#v", connector.EventName(e), res.Step)
		}
	}
	long := s.resume(t, res.State, connector.Submitted{Values: url.Values{"personalnumber": {strings.Repeat("1", 21)}}})
	if a, ok := long.Step.(connector.Ask); !ok || a.Form.Fields[0].Default != "" {
		t.Errorf("after more than a person may type: %#v", long.Step)
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
	return texts(connector.Texts{Visible: eid.Text(text)})
}

func texts(all connector.Texts) func(context.Context) (connector.Texts, error) {
	return func(context.Context) (connector.Texts, error) { return all, nil }
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
		"equal, written as IPv6":         {"require-equal", "same", "203.0.113.24", "::ffff:203.0.113.24", nil, nil, "equal", false},
		"another":                        {"require-equal", "same", "203.0.113.24", "203.0.113.25", nil, nil, "same-prefix", true},
		"near":                           {"require-same-prefix", "same", "203.0.113.24", "203.0.113.25", nil, nil, "same-prefix", false},
		"near, IPv6":                     {"require-same-prefix", "same", "2001:db8:1::1", "2001:db8:1:8002::3", nil, nil, "same-prefix", false},
		"far, IPv6":                      {"require-same-prefix", "same", "2001:db8:2::1", "2001:db8:3::1", nil, nil, "different", true},
		"far":                            {"require-same-prefix", "same", "203.0.113.24", "203.0.112.24", nil, nil, "different", true},
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
		s.request.Params = nil
		s.begin(t)
		if got := s.wire.last("auth"); !strings.Contains(got, `"endUserIp":"`+want+`"`) {
			t.Errorf("%s: sent %s", addr, got)
		}
		s.request.Browser.Addr, s.request.Params = netip.MustParseAddr("192.0.2.1"), map[string]string{"end_user_ip": addr}
		s.begin(t)
		if got := s.wire.last("auth"); !strings.Contains(got, `"endUserIp":"`+want+`"`) {
			t.Errorf("%s, from a party's own page: sent %s", addr, got)
		}
	}
	s.request.Browser.Addr, s.request.Params = netip.Addr{}, nil
	s.begin(t)
	if got := s.wire.last("auth"); !strings.Contains(got, `"endUserIp":"127.0.0.1"`) {
		t.Errorf("where nobody knows: sent %s", got)
	}
}

// TestSecondOrderOfAPerson: that somebody is identified elsewhere at the moment
// is told, since it may be an attacker who tries, and not hidden by one more
// start. Only where this start may be our own second one is it made again, and
// once.
func TestSecondOrderOfAPerson(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.request.Pinned = "199001012385"
	s.begin(t)
	want := connector.Fail{Reason: eid.InProgress, Code: "alreadyInProgress", Retry: true}
	if res := s.begin(t); res.Step != want || s.wire.count("auth", 0) != 2 {
		t.Errorf("step = %#v after %d starts, want %#v after 2", res.Step, s.wire.count("auth", 0), want)
	}
	s.begin(t)
	s.request.Repeated = true
	if res := s.begin(t); res.Step == want || s.wire.count("auth", 0) != 5 {
		t.Errorf("repeated: step = %#v after %d starts, want an order after 5", res.Step, s.wire.count("auth", 0))
	}
	s.replies(http.StatusBadRequest, "", `{"errorCode":"alreadyInProgress","details":"x"}`)
	if res := s.begin(t); res.Step != want || s.wire.count("auth", 0) != 7 {
		t.Errorf("always in progress: step = %#v after %d starts, want %#v after 7", res.Step, s.wire.count("auth", 0), want)
	}
	s.replies(http.StatusServiceUnavailable, "", "")
	if s.begin(t); s.wire.count("auth", 0) != 8 {
		t.Errorf("without an answer: %d starts, want 8", s.wire.count("auth", 0))
	}
}

// TestRenewBesideASecondOrder: who asks for a new code while somebody identifies the
// same person elsewhere learns of that.
func TestRenewBesideASecondOrder(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.request.Pinned, s.request.Seen = "199001012385", s.clock.Now()
	res := s.begin(t)
	s.clock.Advance(31 * time.Second)
	res = s.resume(t, res.State, connector.Tick{}) // the code rests: nobody looks at it
	s.begin(t)                                     // elsewhere
	res = s.resume(t, res.State, connector.Submitted{Values: url.Values{"renew": {"1"}}})
	if want := (connector.Fail{Reason: eid.InProgress, Code: "alreadyInProgress", Retry: true}); res.Step != want {
		t.Errorf("step = %#v, want %#v", res.Step, want)
	}
}

// TestSettingsThatCannotBe: with settings that lead to no BankID nothing is sent, and
// trying again is of no use.
func TestSettingsThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	other := newService(t, sandbox.Ignore)
	state := s.begin(t).State
	before := s.wire.asked()
	good := s.set
	for name, change := range map[string]func(*bankidse.Settings){
		"no certificate":     func(set *bankidse.Settings) { set.Certificate = "" },
		"another's key":      func(set *bankidse.Settings) { set.Key = other.set.Key },
		"no TLS roots":       func(set *bankidse.Settings) { set.TLSRoots = "none" },
		"no signature roots": func(set *bankidse.Settings) { set.SignatureRoots = "none" },
	} {
		s.set = good
		s.settings(t, change)
		_, begin := s.conn.Begin(t.Context(), &s.request)
		_, tick := s.conn.Resume(t.Context(), &s.request, state, connector.Tick{})
		_, over := s.conn.Resume(t.Context(), &s.request, state, connector.Expired{})
		for i, err := range []error{begin, tick, over, s.conn.Cancel(t.Context(), &s.request, state)} {
			if u, ok := errors.AsType[*connector.Unknown](err); !ok || u.Reason != eid.Refused || u.Repeat {
				t.Errorf("%s, call %d: %v", name, i, err)
			}
		}
	}
	if n := s.wire.asked() - before; n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

// TestRenewWhileOneRuns: who asks for a new code while there is one keeps it, and
// the order that somebody may just be signing.
func TestRenewWhileOneRuns(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	res := s.begin(t)
	again := s.resume(t, res.State, connector.Submitted{Values: url.Values{"renew": {"1"}}})
	if _, waits := again.Step.(connector.Wait); !waits || !bytes.Equal(again.State, res.State) || s.wire.asked() != 1 {
		t.Errorf("step = %#v after %d calls, state %s", again.Step, s.wire.asked(), again.State)
	}
}

// TestNotStarted: an order on this device that no app has taken is over; it has
// no code that could be renewed. Neither has one without a page.
func TestNotStarted(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, c := range []struct {
		mode            string
		headless, retry bool
	}{{"same", false, true}, {"same", true, false}, {"other", true, false}} {
		s.request.Mode, s.request.Headless = c.mode, c.headless
		res := s.begin(t)
		before := s.wire.count("auth", 0)
		s.clock.Advance(30 * time.Second)
		res = s.resume(t, res.State, connector.Tick{})
		if want := (connector.Fail{Reason: eid.NotStarted, Code: "startFailed", Retry: c.retry}); res.Step != want || s.wire.count("auth", 0) != before {
			t.Errorf("%+v: step = %#v, want %#v", c, res.Step, want)
		}
	}
}

// TestNoPageToTryAgainOn: what a person could try again on our page ends it for a
// party that has pages of its own.
func TestNoPageToTryAgainOn(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, headless := range []bool{false, true} {
		s.request.Headless = headless
		for _, kind := range []string{"http:503", "reset", "garbage"} {
			word, value, _ := strings.Cut(kind, ":")
			fault := sandbox.Fault{Target: "bankidse", Kind: word, Value: value}
			s.faults.Add(fault)
			f, _ := s.begin(t).Step.(connector.Fail)
			s.faults.Clear()
			if f.Reason != eid.Unavailable || f.Retry == headless {
				t.Errorf("start, %s, headless %v: %#v", kind, headless, f)
			}
			res := s.begin(t)
			s.faults.Add(fault)
			f, _ = s.tick(t, res).Step.(connector.Fail)
			s.faults.Clear()
			if f.Reason != eid.Unavailable || f.Retry == headless {
				t.Errorf("collect, %s, headless %v: %#v", kind, headless, f)
			}
		}
		s.decisions.Enqueue(sandbox.Queued{Outcome: "fail:cancelled"})
		if f, _ := s.tick(t, s.begin(t)).Step.(connector.Fail); f != (connector.Fail{Reason: eid.Superseded, Code: "cancelled", Retry: !headless}) {
			t.Errorf("failed, headless %v: %#v", headless, f)
		}
	}
}

// TestFailuresInARow: only collects in a row without an answer end an order.
func TestFailuresInARow(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	res := s.begin(t)
	for range 3 {
		for _, fault := range []bool{true, true, true, true, false} {
			if fault {
				s.faults.Add(sandbox.Fault{Target: "bankidse", Kind: "http", Value: "503", Times: 1})
			}
			s.clock.Advance(time.Second)
			res = s.resume(t, res.State, connector.Tick{})
			if _, waits := res.Step.(connector.Wait); !waits {
				t.Fatalf("step = %#v", res.Step)
			}
		}
	}
}

// TestSilencesAreNotAddedUp: a minute without a collect counts from the last
// answer, not from the first silence.
func TestSilencesAreNotAddedUp(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.conn.Circuits = circuit.NewBoard(s.clock.Now, nil)
	res := s.begin(t)
	since := `"silent":"` + s.clock.Now().Add(-58*time.Second).Format(time.RFC3339) + `","launch":`
	res = s.resume(t, bytes.Replace(res.State, []byte(`"launch":`), []byte(since), 1), connector.Tick{}) // which is answered
	s.faults.Add(sandbox.Fault{Target: "bankidse", Kind: "http", Value: "503", Times: 5})
	for range 5 {
		s.begin(t)
	}
	before := s.wire.asked()
	for range 5 {
		s.clock.Advance(time.Second)
		res = s.resume(t, res.State, connector.Tick{})
		if _, waits := res.Step.(connector.Wait); !waits || s.wire.asked() != before {
			t.Fatalf("step = %#v after %d calls", res.Step, s.wire.asked()-before)
		}
		s.clock.Advance(time.Second)
	}
}

// TestCancel: an order that runs is cancelled, and BankID is not asked about one
// that is over: one that rests, or whose answer is here.
func TestCancel(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	rests := s.begin(t)
	s.request.Seen = s.clock.Now()
	s.clock.Advance(31 * time.Second)
	rests = s.resume(t, rests.State, connector.Tick{})
	if w, ok := rests.Step.(connector.Wait); !ok || !w.Rests || !rests.Due.IsZero() {
		t.Fatalf("a code that nobody looks at: %#v, due %v", rests.Step, rests.Due)
	}
	runs := s.begin(t)
	s.decisions.Enqueue(sandbox.Queued{Outcome: sandbox.Approve})
	over := s.collected(t, s.begin(t))
	for _, c := range []struct {
		name  string
		state []byte
		calls int
	}{{"rests", rests.State, 0}, {"over", over.State, 0}, {"runs", runs.State, 1}} {
		before := s.wire.asked()
		if err := s.conn.Cancel(t.Context(), &s.request, c.state); err != nil || s.wire.asked()-before != c.calls {
			t.Errorf("%s: %v after %d calls, want %d", c.name, err, s.wire.asked()-before, c.calls)
		}
	}
	before := s.wire.asked()
	for _, e := range []connector.Event{connector.Tick{}, connector.Shown{}, connector.Expired{}} {
		if res := s.resume(t, rests.State, e); !res.Due.IsZero() || s.wire.asked() != before {
			t.Errorf("%s at rest: due %v after %d calls", connector.EventName(e), res.Due, s.wire.asked()-before)
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
// as it would have there, though its state has no text of the login.
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
	old := strings.Replace(string(lines[0]), `"intent":"I identify myself to Demo shop.",`, "", 1)
	for _, state := range []string{string(lines[0]), old} {
		if res := s.resume(t, []byte(state+"\n"+answer), connector.Tick{}); res.Confirmed == nil {
			t.Errorf("step = %#v", res.Step)
		}
	}
	if old == string(lines[0]) {
		t.Errorf("no text in %s", old)
	}
}

// replies answers everything with a status, a text and a wish when to come again.
func (s *service) replies(status int, after, text string) {
	s.wire.set(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if after != "" {
				w.Header().Set("RateLimit-Reset", after)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text) // the client has gone
		})
	})
}

// TestRefusedStarts: how each of BankID's errors ends a start, and which may be
// tried again (§7). Unknown ones go by their status.
func TestRefusedStarts(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, c := range []struct {
		status int
		code   string
		reason eid.Reason
		retry  bool
	}{
		{400, "alreadyInProgress", eid.InProgress, true}, {400, "invalidParameters", eid.BadRequest, false}, {400, "INVALIDPARAMETERS", eid.BadRequest, false},
		{401, "unauthorized", eid.Refused, false}, {404, "notFound", eid.Refused, false}, {405, "methodNotAllowed", eid.Refused, false},
		{415, "unsupportedMediaType", eid.Refused, false}, {408, "requestTimeout", eid.Unavailable, true}, {429, "tooManyRequests", eid.Unavailable, true},
		{500, "internalError", eid.Unavailable, true}, {503, "maintenance", eid.Unavailable, true}, {400, "canceled", eid.Superseded, true},
		{400, "somethingNew", eid.Refused, false}, {500, "somethingNew", eid.Unavailable, true}, {403, "", eid.Refused, false}, {502, "", eid.Unavailable, true},
	} {
		s.replies(c.status, "", `{"errorCode":"`+c.code+`","details":"x"}`)
		if got, want := s.begin(t).Step, (connector.Fail{Reason: c.reason, Code: c.code, Retry: c.retry}); got != want {
			t.Errorf("%d %s: %#v, want %#v", c.status, c.code, got, want)
		}
	}
}

// TestRefusedCollects: what passes is waited for, as long as BankID wants and half
// a minute at most; what does not ends the order at once.
func TestRefusedCollects(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	state := s.begin(t).State
	for _, c := range []struct {
		status int
		after  string
		due    time.Duration // 0: it is over
		end    connector.Fail
	}{
		{status: 408, due: 2 * time.Second}, {status: 429, due: 2 * time.Second}, {status: 500, due: 2 * time.Second}, {status: 503, due: 2 * time.Second},
		{status: 429, after: "1", due: 2 * time.Second}, {status: 429, after: "7", due: 7 * time.Second}, {status: 503, after: "3600", due: 30 * time.Second},
		{status: 401, end: connector.Fail{Reason: eid.Refused}}, {status: 403, end: connector.Fail{Reason: eid.Refused}}, {status: 404, end: connector.Fail{Reason: eid.Refused}},
	} {
		s.replies(c.status, c.after, "<html>")
		res := s.resume(t, state, connector.Tick{})
		if f, over := res.Step.(connector.Fail); over != (c.due == 0) || f != c.end || !over && res.Due.Sub(s.clock.Now()) != c.due {
			t.Errorf("%d after %q: %#v, next look at %v", c.status, c.after, res.Step, res.Due)
		}
	}
}

// TestScanned: once an app has the order its code and link are of no use to
// anybody else, whatever hint follows; a new order has its own.
func TestScanned(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	res := s.begin(t)
	for _, c := range []struct {
		hint string
		code bool
	}{{"noClient", true}, {"somethingNew", false}, {"outstandingTransaction", false}} {
		s.replaced(`{"status":"pending","hintCode":"` + c.hint + `"}`)
		res = s.resume(t, res.State, connector.Tick{})
		if w, err := s.conn.View(res.State, s.clock.Now()); err != nil || (w.QR != "") != c.code || (w.Launch != "") != c.code {
			t.Errorf("%s: %+v, %v", c.hint, w, err)
		}
	}
	s.replaced(`{"status":"failed","hintCode":"startFailed"}`)
	res = s.resume(t, res.State, connector.Tick{})
	if w, err := s.conn.View(res.State, s.clock.Now()); err != nil || w.QR == "" || len(res.Refs) != 1 {
		t.Errorf("a new order: %+v, %v", w, err)
	}
}

// TestLinkOfAnOldOrder: that the page had a link to an order which is over says
// nothing about the order that has taken its place (§20).
func TestLinkOfAnOldOrder(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.settings(t, func(set *bankidse.Settings) { set.AddressCheck = "require-equal" })
	res := s.begin(t)
	for _, d := range []string{"same", "other"} {
		res = s.resume(t, res.State, connector.Submitted{Values: url.Values{"device": {d}}})
	}
	s.clock.Advance(30 * time.Second)
	res = s.resume(t, res.State, connector.Tick{})
	if _, err := s.Event(string(res.Refs[0]), "approve", "ada"); err != nil {
		t.Fatal(err)
	}
	res = s.collected(t, res)
	if res = s.resume(t, device.ReplaceAll(res.State, []byte(`"ipAddress":"198.51.100.1"`)), connector.Tick{}); res.Confirmed == nil {
		t.Errorf("step = %#v", res.Step)
	}
}
