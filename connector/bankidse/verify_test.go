package bankidse_test

import (
	"reflect"
	"regexp"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/bankidse"
	"eidgate/eid"
	"eidgate/sandbox"
	sim "eidgate/sandbox/bankidse"
)

// TestAnswersOfAnotherOrder: a signature that is genuine and not of this order
// proves nobody. Each part of the order is another one than what was signed.
func TestAnswersOfAnotherOrder(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	s.request.Texts = texts(connector.Texts{Visible: eid.Text("I agree"), NonShown: eid.Text("hidden")})
	own := s.collected(t, s.begin(t)).State
	rp, err := s.RPCertificate("Another shop", "5566304928")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*service)
		part   *regexp.Regexp
		with   string
		check  string // "" for none
	}{
		"this order":     {},
		"another person": {part: regexp.MustCompile(`"personalNumber":"\d+"`), with: `"personalNumber":"199001032391"`, check: "personalNumber"},
		"a later order":  {part: regexp.MustCompile(`"began":"[^"]+"`), with: `"began":"` + s.clock.Now().Add(5*time.Minute).Format(time.RFC3339) + `"`, check: "ocspTime"},
		"not signed yet": {change: func(s *service) {
			s.conn = bankidse.New(func() time.Time { return s.clock.Now().Add(-5 * time.Minute) })
		}, check: "ocspTime"},
		"another purpose": {change: func(s *service) { s.request.Purpose = eid.Sign }, check: "funcId"},
		"another text": {change: func(s *service) {
			s.request.Texts = texts(connector.Texts{Visible: eid.Text("I agree."), NonShown: eid.Text("hidden")})
		}, check: "visibleData"},
		"no hidden text": {change: func(s *service) { s.request.Texts = texts(connector.Texts{Visible: eid.Text("I agree")}) }, check: "nonVisibleData"},
		"another form of it": {change: func(s *service) {
			s.request.Texts = texts(connector.Texts{Visible: eid.Text("I agree"), NonShown: eid.Text("hidden"), Format: "simpleMarkdownV1"})
		}, check: "format"},
		"another party": {change: func(s *service) {
			s.settings(t, func(set *bankidse.Settings) {
				if set.Certificate, set.Key, err = sim.PEM(rp); err != nil {
					t.Fatal(err)
				}
			})
		}, check: "rpName"},
	} {
		other, state := *s, own
		if c.change != nil {
			c.change(&other)
		}
		if c.part != nil {
			state = c.part.ReplaceAll(state, []byte(c.with))
		}
		res := other.resume(t, state, connector.Tick{})
		want := connector.Step(connector.Done{})
		if c.check != "" {
			want = connector.Fail{Reason: eid.BadProof, Code: c.check}
		}
		if res.Step != want || (res.Confirmed == nil) != (c.check != "") {
			t.Errorf("%s: %#v, want %#v", name, res.Step, want)
		}
	}
}

// TestIdentity: all that BankID says of a person arrives under its name, and what
// was asked is kept beside the proofs. A number without a date of birth has no age.
func TestIdentity(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.settings(t, func(set *bankidse.Settings) { set.StoreOnly = true })
	s.request.Texts = texts(connector.Texts{Visible: eid.Text("I agree"), NonShown: eid.Text("hidden"), Format: "simpleMarkdownV1"})
	age := s.clock.Now().In(time.FixedZone("Sweden, in winter", 3600)).Year() - 1990
	for number, want := range map[string]eid.Identity{"199001012385": {Birth: "1990-01-01", Age: &age}, "199013012385": {}} {
		s.replaced(`{"status":"complete","completionData":{"user":{"personalNumber":"` + number + `","name":"ADA B TEST","givenName":"ADA B","surname":"TEST"},
			"device":{"ipAddress":"127.0.0.2","uhi":"u"},"bankIdIssueDate":"2025-02-03","stepUp":{"mrtd":true},"risk":"moderate","signature":"UVE=","ocspResponse":"UlI="}}`)
		began := s.begin(t)
		s.clock.Advance(2 * time.Second)
		res := s.tick(t, began)
		if res.Confirmed == nil {
			t.Fatalf("step = %#v", res.Step)
		}
		want.EID, want.At, want.Request, want.Country = eid.BankIDSE, res.Confirmed.At, string(began.Refs[0]), "SE"
		want.Subject, want.Number, want.Name, want.Given, want.Family = number, eid.Number(number), "ADA B TEST", "ADA B", "TEST"
		want.Signals = map[string]string{"risk": "moderate", "address": "same-prefix", "issued": "2025-02-03", "mrtd": "true"}
		if !reflect.DeepEqual(*res.Confirmed, want) || !want.At.Equal(s.clock.Now()) {
			t.Errorf("identity = %+v at %v, want %+v", *res.Confirmed, want.At, want)
		}
		if len(res.Notes) != 1 || res.Notes[0] != "signature stored, not verified" {
			t.Errorf("notes = %q", res.Notes)
		}
		for i, name := range []string{"bankidse.signature", "bankidse.ocsp", "bankidse.request"} {
			if res.Evidence[i].Name != name {
				t.Errorf("evidence %d is %s, want %s", i, res.Evidence[i].Name, name)
			}
		}
		request := `{"began":"` + s.clock.Now().Add(-4*time.Second).UTC().Format(time.RFC3339Nano) + `","device":{"ipAddress":"127.0.0.2","uhi":"u"},"orderRef":"` + want.Request +
			`","userNonVisibleData":"aGlkZGVu","userVisibleData":"SSBhZ3JlZQ==","userVisibleDataFormat":"simpleMarkdownV1"}`
		if got := res.Evidence; string(got[0].Data) != "UVE=" || string(got[1].Data) != "UlI=" || string(got[2].Data) != request {
			t.Errorf("evidence = %s, %s, %s, want the last as %s", got[0].Data, got[1].Data, got[2].Data, request)
		}
	}
}
