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
