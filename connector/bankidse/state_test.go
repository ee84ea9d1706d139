package bankidse

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"eidgate/protocol/bankidse"
)

// full is a state with every member, as an ordinary order may have it.
func full() *state {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	return &state{Ref: "131daac9-16c6-4618-beb0-365768f37288", Token: "7c40b5c9-fa74-49cf-b98c-bfe651f9a7c6", QRToken: "67df3917-fa0d-44e5-b327-edcc928297f8",
		QRSecret: "d28db9a7-4cde-429e-a983-359be676944c", Began: at, Device: onOther, Linked: true, System: "desktop", Hint: "userSign", Scanned: true,
		Renewals: 3, Rests: true, Intent: "I identify myself to Demo shop.", Nonce: "AbC_-", Returned: true, Pinned: "199001012385", Failures: 4, Silent: at, Launch: "https://app.bankid.com/?autostarttoken="}
}

// TestKeptAnswers: an answer is the same after it was stored, whatever its
// strings are; so is one in the JSON of before there were lines.
func TestKeptAnswers(t *testing.T) {
	t.Parallel()
	for _, proofs := range [][2]string{{"QUFB", "QkJC"}, {"", ""}, {"QUFB", ""}, {"", "QkJC"}, {"QU\nFB", "QkJC"}, {"QUFB", "Qk\nJC\n"}, {"\r\n", "\n"}, {"<å\u2028\"\\", "\x00"}} {
		got := &bankidse.Collected{OrderRef: "r", Status: bankidse.Complete, Completion: &bankidse.Completion{BankIDIssueDate: "2026-01-01",
			StepUp: &bankidse.StepUp{MRTD: true}, Signature: proofs[0], OCSPResponse: proofs[1], Risk: "low"}}
		got.Completion.User.Name, got.Completion.Device.IPAddress = "Ada\nTest", "203.0.113.24"
		raw, err := keep(got)
		if err != nil {
			t.Fatal(err)
		}
		s := full()
		s.Answer = raw
		if s, err = New(time.Now).read(s.bytes()); err != nil {
			t.Fatal(err)
		}
		if done := kept(s.Answer); !reflect.DeepEqual(done, got.Completion) {
			t.Errorf("%q: kept as %q, read as %#v", proofs, raw, done)
		}
		whole, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if done := kept(whole); !reflect.DeepEqual(done, got.Completion) {
			t.Errorf("%q: in one line, read as %#v", proofs, done)
		}
		if got.Completion.Signature != proofs[0] {
			t.Error("keeping an answer changes it")
		}
	}
	for _, text := range []string{"", "\n", "{}", "{}\nQUFB\nQkJC", "null", `{"completionData":{"user":"Ada"}}`, strings.Repeat("\n", 5)} {
		if done := kept([]byte(text)); done != nil {
			t.Errorf("kept(%q) = %#v", text, done)
		}
	}
}

// TestNumbersDoNotStay: states are kept in memory to be read once, but none with a
// person's number.
func TestNumbersDoNotStay(t *testing.T) {
	t.Parallel()
	for pinned, stays := range map[string]bool{"": true, "199001012385": false} {
		c, s := New(time.Now), full()
		s.Pinned = pinned
		raw := s.bytes()
		if _, err := c.read(raw); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.states.Get(string(raw)); ok != stays {
			t.Errorf("pinned to %q: in memory: %v, want %v", pinned, ok, stays)
		}
	}
}

// TestUntil: until when a page may count, and how long it says that a code is new.
func TestUntil(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		s     state
		after time.Duration
		until time.Duration
		fresh bool
	}{
		"the first code":       {state{Device: onOther}, 0, 210 * time.Second, false},
		"the second":           {state{Device: onOther, Renewals: 1}, 9 * time.Second, 180 * time.Second, true},
		"the second, later":    {state{Device: onOther, Renewals: 1}, 10 * time.Second, 180 * time.Second, false},
		"the last":             {state{Device: onOther, Renewals: maxRenewals}, 0, 30 * time.Second, true},
		"scanned":              {state{Device: onOther, Renewals: 1, Scanned: true}, 0, 180 * time.Second, false},
		"on this device":       {state{Device: onSame}, 0, 180 * time.Second, false},
		"turned to the device": {state{Device: onSame, Renewals: 1}, 0, 180 * time.Second, false},
	} {
		c.s.Began = began
		if w := c.s.wait(began.Add(c.after)); w.Until.Sub(began) != c.until || w.Fresh != c.fresh {
			t.Errorf("%s: until %s after the start, fresh %v, want %s and %v", name, w.Until.Sub(began), w.Fresh, c.until, c.fresh)
		}
	}
}
