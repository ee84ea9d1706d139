package mitid_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/connectortest"
	cmitid "eidgate/connector/mitid"
	"eidgate/connector/openid"
	"eidgate/connector/openid/openidtest"
	"eidgate/eid"
	"eidgate/internal/circuit"
	"eidgate/internal/jose"
	"eidgate/internal/oidcrp"
	"eidgate/sandbox"
	smitid "eidgate/sandbox/mitid"
	sopenid "eidgate/sandbox/openid"
)

type service struct {
	*openidtest.Service
	sim *smitid.Simulator
	set cmitid.Settings
}

// newService has a party with a secret; a change may give it a key instead.
func newService(t *testing.T, change ...func(*cmitid.Settings)) *service {
	t.Helper()
	s := &service{}
	s.Service = openidtest.New(t, func(c openidtest.Config) openidtest.Simulator {
		s.sim = smitid.New(smitid.Config(c))
		return openidtest.Simulator{Handler: s.sim.Handler(), Do: s.sim.Do, Pages: "/mitid/op/Account/Login/"}
	})
	s.New = cmitid.New
	s.set = cmitid.Settings{Settings: openid.Settings{Auth: oidcrp.SecretBasic}, Scopes: []string{"ssn", "nemid.pid", "ssn.details_name", "ssn.details_address"}, Reference: "Log ind på Shop"}
	for _, f := range change {
		f(&s.set)
	}
	reg, err := s.sim.Party("Shop", openidtest.Back, s.set.Auth != oidcrp.PrivateKeyJWT)
	if err != nil {
		t.Fatal(err)
	}
	s.set.Issuer, s.set.ClientID, s.set.Secret, s.set.AllowHTTP = reg.Issuer, reg.ClientID, reg.Secret, true
	if reg.Key != "" {
		s.set.Keys = []openid.Key{{ID: reg.KeyID, Use: "sig", Alg: "RS256", PEM: reg.Key}}
	}
	if err := cmitid.Dialect().Check(s.set); err != nil {
		t.Fatal(err)
	}
	s.Use(s.set)
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
		s := newService(t, func(c *cmitid.Settings) { c.Auth = oidcrp.PrivateKeyJWT })
		s.Request.Params = map[string]string{cmitid.ParamCPR: "true"}
		return s.Bench("mitid.result", "hanne", "8903859996", []string{"Hansen", "8903859996", "1985-03-29", "Eksempelvej"},
			[]string{sopenid.BadSignature, sopenid.Unsigned, sopenid.WrongKID, sopenid.OtherAudience, sopenid.OtherIssuer, sopenid.OtherNonce, sopenid.Over},
			map[string]eid.Reason{"cancel": eid.Cancelled, "expire": eid.Expired, "decline": eid.Declined, "fail:mitid_cpr_match_failed": eid.WrongPerson,
				"fail:mitid_internal_error": eid.Unavailable, "fail:invalid_idp_params": eid.Refused, "fail:something_new": eid.Unavailable})
	})
}

func TestPerson(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.Connector()
	who := func(person string, wanted ...string) *eid.Identity {
		t.Helper()
		s.Request.Wanted = wanted
		res, err := s.Login(c, "approve", person)
		if err != nil || res.Confirmed == nil {
			t.Fatalf("%s %v: %#v, %v", person, wanted, res.Step, err)
		}
		return res.Confirmed
	}
	s.Request.Params = map[string]string{cmitid.ParamCPR: "true"}
	id := who("hanne")
	if id.Subject != "0b8e6f52-2222-4b22-9b22-0000000000b2" || id.Number != "8903859996" || id.Name != "Hanne Hansen" || id.Given != "Hanne" || id.Family != "Hansen" || id.Birth != "1985-03-29" ||
		id.Country != "DK" || id.Level != "https://data.gov.dk/concept/core/nsis/Substantial" || id.Age == nil || id.Address == nil || id.Address.Street != "Eksempelvej" || id.Address.Suffix != "2 tv" ||
		id.Signals["pid"] != "9208-2002-2-000000000017" || id.Signals["amr"] != "code_app" || id.Signals["cpr_source"] != "user" || id.Signals["has_cpr"] != "true" || id.Request == "" ||
		id.Signals["reference_text"] != "Log ind på Shop" || id.Signals["name_split"] != "" {
		t.Errorf("%#v", *id)
	}
	if id := who("beskyttet"); id.Name+id.Given+id.Family != "" || id.Signals["protected"] != "true" || id.Address != nil || id.Number == "" {
		t.Errorf("protected: %#v", *id)
	}
	if id := who("nypid"); id.Signals["pid"] != "" || id.Signals["pid_status"] != "unable_to_lookup" {
		t.Errorf("no PID: %v", id.Signals)
	}
	if id := who("emigreret"); id.Address != nil || id.Signals["person_status"] != "emigrated" || id.Family != "Emigreret" {
		t.Errorf("emigrated: %#v", *id)
	}
	if res, err := s.Login(c, "approve", "udencpr"); err != nil || res.Step.(connector.Fail).Code != "mitid_cpr_match_failed" {
		t.Errorf("asked for a number that does not exist: %#v, %v", res.Step, err)
	}
	s.Request.Params = nil
	if id := who("hanne"); id.Number != "" || id.Subject == "" || id.Signals["name_split"] != "guessed" {
		t.Errorf("nothing is asked for: %#v", *id)
	}
	if id := who("udencpr", eid.WantID); id.Number != "" || id.Signals["has_cpr"] != "false" || id.Given != "Uffe" || id.Signals["name_split"] != "guessed" {
		t.Errorf("no number: %#v", *id)
	}
	if id := who("hanne", eid.WantID, eid.WantBirth); id.Number != "" || id.Address != nil || id.Signals["pid"] != "" || id.Birth == "" {
		t.Errorf("birth: %#v", *id)
	}
	for _, person := range []string{"hanne", "udencpr"} { // nobody types a number for the sake of a name
		if id := who(person, eid.WantID, eid.WantName); id.Number != "" || id.Family == "" || id.Signals["name_split"] != "guessed" {
			t.Errorf("a name alone: %#v", *id)
		}
	}
	for _, other := range []string{eid.WantNumber, eid.WantAddress} { // who types it for that has the name of the register too
		if id := who("hanne", eid.WantID, eid.WantName, other); id.Given != "Hanne" || id.Signals["name_split"] != "" {
			t.Errorf("a name and %s: %#v", other, *id)
		}
	}
	first, second := who("sofie", eid.WantAdult), who("sofie", eid.WantAdult)
	if first.Approved == nil || !*first.Approved || first.Name+first.Birth+string(first.Number) != "" || first.Subject == "" || first.Subject == second.Subject {
		t.Errorf("18 or older: %#v, %#v", *first, *second)
	}
	if id := who("emil", eid.WantAdult); id.Approved == nil || *id.Approved {
		t.Errorf("15 years old: %#v", *id)
	}
}

// TestMatch: a number that is asked for is compared by the broker, and not told
// by it.
func TestMatch(t *testing.T) {
	t.Parallel()
	const hanne = "8903859996"
	login := func(pinned, person string, change func(*service)) (connector.Result, error) {
		s := newService(t, func(c *cmitid.Settings) { c.Scopes = nil })
		s.Request.Pinned = eid.Number(pinned)
		change(s)
		return s.Login(s.Connector(), "approve", person)
	}
	none := func(*service) {}
	if res, err := login(hanne, "hanne", none); err != nil || res.Confirmed == nil || res.Confirmed.Number != hanne || res.Confirmed.Signals["cpr_source"] != "prefilled" {
		t.Errorf("the right one: %#v, %v", res, err)
	}
	if res, err := login(hanne, "sofie", none); err != nil || res.Confirmed != nil || res.Step.(connector.Fail).Reason != eid.WrongPerson {
		t.Errorf("another person: %#v, %v", res, err)
	}
	if res, err := login(hanne, "udencpr", none); err != nil || res.Confirmed != nil || res.Step.(connector.Fail).Reason != eid.WrongPerson {
		t.Errorf("nobody's number: %#v, %v", res, err)
	}
	again := connector.Fail{Reason: eid.Unavailable, Code: "cpr_match", Retry: true}
	for _, x := range []struct { // a try may be lost: it is not repeated
		kind, value string
		want        connector.Fail
	}{
		{sandbox.Status, "400", again}, {sandbox.Status, "401", again}, {sandbox.Status, "429", again}, {sandbox.Status, "503", again}, {sandbox.Reset, "after", again},
		{sandbox.Garbage, "", connector.Fail{Reason: eid.BadAnswer, Code: "cpr_match"}},
	} {
		res, err := login(hanne, "hanne", func(s *service) {
			s.Config.Faults.Add(sandbox.Fault{Target: "mitid.match", Kind: x.kind, Value: x.value})
		})
		if err != nil || res.Confirmed != nil || res.Step != x.want {
			t.Errorf("%s %s: %#v, %v", x.kind, x.value, res.Step, err)
		}
	}
	if res, err := login("", "hanne", none); err != nil || res.Confirmed == nil || res.Confirmed.Number != "" {
		t.Errorf("nobody is asked for: %#v, %v", res, err)
	}

	s := newService(t, func(c *cmitid.Settings) { c.Scopes = nil })
	s.Request.Pinned = hanne
	c := s.Connector()
	r := s.Request
	begun, err := c.Begin(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := c.Resume(t.Context(), &r, begun.State, s.Act(s.Page(begun.Step), "approve", "hanne"))
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Clock.Advance(4 * time.Minute)
	for range 3 { // a node dies three times
		if res, err := c.Resume(t.Context(), &r, kept.State, connector.Tick{}); err != nil || res.Confirmed == nil {
			t.Fatalf("%#v, %v", res.Step, err)
		}
	}
	if res, err := c.Resume(t.Context(), &r, kept.State, connector.Tick{}); err != nil || res.Confirmed != nil || res.Step.(connector.Fail).Reason != eid.Unavailable {
		t.Errorf("a fourth time: %#v, %v", res.Step, err)
	}
	s.Config.Clock.Advance(12 * time.Minute)
	if res, err := c.Resume(t.Context(), &r, kept.State, connector.Tick{}); err != nil || res.Confirmed != nil || res.Step != (connector.Fail{Reason: eid.Expired, Code: "cpr_match", Retry: true}) {
		t.Errorf("after 16 minutes: %#v, %v", res.Step, err)
	}
}

// TestTold: what the broker may tell, and what lets nobody in.
func TestTold(t *testing.T) {
	t.Parallel()
	const nsis = "https://data.gov.dk/concept/core/nsis/"
	person := map[string]string{"sub": "s", "mitid.uuid": "u", "mitid.identity_name": "Hanne Hansen"}
	adult := func(said string) map[string]string {
		return map[string]string{"sub": "s", "idbrokerdk_age_verify_18": said}
	}
	for name, x := range map[string]struct {
		level, wanted string
		token, info   map[string]string
		want          string // code, "" for a login
	}{
		"a person":                       {token: map[string]string{"idp": "mitid", "loa": nsis + "Substantial"}, info: person},
		"more than was asked for":        {level: "low", token: map[string]string{"idp": "mitid", "loa": nsis + "High"}, info: person},
		"less than was asked for":        {level: "high", token: map[string]string{"idp": "mitid", "loa": nsis + "Substantial"}, info: person, want: "level"},
		"less than is usual":             {token: map[string]string{"idp": "mitid", "loa": nsis + "Low"}, info: person, want: "level"},
		"no level":                       {level: "low", token: map[string]string{"idp": "mitid"}, info: person, want: "level"},
		"a level that there is not":      {level: "low", token: map[string]string{"idp": "mitid", "loa": nsis + "Highest"}, info: person, want: "level"},
		"another eID":                    {token: map[string]string{"idp": "mitid_erhverv", "loa": nsis + "High"}, info: person, want: "idp"},
		"an age instead of a person":     {token: map[string]string{"idp": "idbrokerdk", "loa": nsis + "High"}, info: person, want: "idp"},
		"nobody":                         {token: map[string]string{"idp": "mitid", "loa": nsis + "High"}, info: map[string]string{"sub": "s"}, want: "no_uuid"},
		"an age":                         {wanted: eid.WantAdult, token: map[string]string{"idp": "idbrokerdk", "loa": nsis + "Low", "idbrokerdk_age_verified": "18:true"}, info: adult("true")},
		"an age that contradicts itself": {wanted: eid.WantAdult, token: map[string]string{"idp": "idbrokerdk", "loa": nsis + "Low", "idbrokerdk_age_verified": "18:false"}, info: adult("true"), want: "age"},
		"no age":                         {wanted: eid.WantAdult, token: map[string]string{"idp": "idbrokerdk", "loa": nsis + "Low", "idbrokerdk_age_verified": "18:false"}, info: adult("no"), want: "age"},
		"an age in UserInfo alone":       {wanted: eid.WantAdult, token: map[string]string{"idp": "idbrokerdk", "loa": nsis + "Low"}, info: adult("true"), want: "age"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := func(at openid.Settings) any { return cmitid.Settings{Settings: at, Level: x.level} }
			a, client := openidtest.Provider(t, cmitid.Dialect(), set, func(w http.ResponseWriter, _ *http.Request, _ string) {
				_ = json.NewEncoder(w).Encode(x.info)
			})
			r := &connector.Request{}
			if x.wanted != "" {
				r.Wanted = []string{x.wanted}
			}
			token := map[string]json.RawMessage{}
			for name, text := range x.token {
				token[name] = json.RawMessage(strconv.Quote(text))
			}
			_, err := a.Person(t.Context(), r, openid.Told{Client: client, Tokens: &oidcrp.Tokens{ID: &jose.Claims{Subject: "s", Raw: token}}, Now: time.Now()})
			no, refused := errors.AsType[*openid.No](err)
			if x.want == "" && err != nil || x.want != "" && (!refused || no.Fail.Code != x.want) {
				t.Errorf("%v, want %q", err, x.want)
			}
		})
	}
}

// TestAsk: everything is pushed, for MitID alone, and nobody is let in who has
// logged in for another one.
func TestAsk(t *testing.T) {
	t.Parallel()
	for auth, by := range map[oidcrp.AuthMethod]oidcrp.Means{oidcrp.SecretBasic: oidcrp.Pushed, oidcrp.PrivateKeyJWT: oidcrp.PushedSigned} {
		raw, err := json.Marshal(cmitid.Settings{Settings: openid.Settings{Auth: auth}, Reference: "Køb", Action: "APPROVE"})
		if err != nil {
			t.Fatal(err)
		}
		a, err := cmitid.Dialect().Read(raw, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		ask, no := a.Ask(&connector.Request{Language: "da"})
		want := url.Values{"prompt": {"login"}, "idp_values": {"mitid"}, "language": {"da"}}
		if no != nil || ask.By != by || ask.Scope != "openid mitid" || ask.Params.Encode() != want.Encode() ||
			string(ask.Objects["idp_params"]) != `{"mitid":{"action_text":"APPROVE","loa_value":"substantial","reference_text":"S8O4Yg=="}}` {
			t.Errorf("%s: %+v, %v", auth, ask, no)
		}
	}
}

// TestScopes: what of a contract is asked for, by what is wanted and by AskForCpr.
func TestScopes(t *testing.T) {
	t.Parallel()
	name, all := `["ssn.details_name"]`, `["ssn","nemid.pid","ssn.details_name","ssn.details_address"]`
	for _, x := range []struct{ contract, cpr, wanted, want string }{
		{all, "", eid.WantID, ""},
		{all, "", eid.WantName, ""},
		{name, "", eid.WantName, ""},
		{all, "", eid.WantName + " " + eid.WantAddress, " ssn.details_name ssn.details_address"},
		{all, "", eid.WantNumber + " " + eid.WantName, " ssn ssn.details_name"},
		{all, "true", eid.WantID, " ssn nemid.pid ssn.details_name ssn.details_address"},
	} {
		a, err := cmitid.Dialect().Read([]byte(`{"scopes":`+x.contract+`}`), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		ask, no := a.Ask(&connector.Request{Language: "da", Wanted: strings.Fields(x.wanted), Params: map[string]string{cmitid.ParamCPR: x.cpr}})
		if no != nil || ask.Scope != "openid mitid"+x.want {
			t.Errorf("%+v: %q, %v", x, ask.Scope, no)
		}
	}
}

// TestRefused: what the broker says instead of a person, and to whom.
func TestRefused(t *testing.T) {
	t.Parallel()
	a, err := cmitid.Dialect().Read([]byte(`{}`), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		said oidcrp.Refused
		want connector.Fail
	}{
		{oidcrp.Refused{Where: "authorization", Code: "access_denied", Description: "mitid_timeout"}, connector.Fail{Reason: eid.Expired, Code: "mitid_timeout"}},
		{oidcrp.Refused{Where: "authorization", Code: "access_denied"}, connector.Fail{Reason: eid.Cancelled, Code: "access_denied"}},
		{oidcrp.Refused{Where: "authorization", Code: "access_denied", Description: "Hanne Hansen"}, connector.Fail{Reason: eid.Unavailable, Code: "unknown", Retry: true}},
		{oidcrp.Refused{Where: "authorization", Code: "login_required"}, connector.Fail{Reason: eid.Declined, Code: "login_required"}},
		{oidcrp.Refused{Where: "authorization", Code: "Hanne Hansen"}, connector.Fail{Reason: eid.Refused, Code: "unknown"}},
		{oidcrp.Refused{Where: "token", Code: "access_denied", Description: "mitid_user_aborted"}, connector.Fail{Reason: eid.Refused, Code: "access_denied"}},
		{oidcrp.Refused{Where: "token", Code: "invalid_grant"}, connector.Fail{Reason: eid.Refused, Code: "invalid_grant"}},
		{oidcrp.Refused{Where: "pushed", Code: "temporarily_unavailable"}, connector.Fail{Reason: eid.Unavailable, Code: "temporarily_unavailable", Retry: true}},
	} {
		if got := a.Refused(&x.said); got != x.want {
			t.Errorf("%+v: %+v, want %+v", x.said, got, x.want)
		}
	}
}

// TestContractWithoutCPR: what a contract does not cover is not asked for.
func TestContractWithoutCPR(t *testing.T) {
	t.Parallel()
	for name, scopes := range map[string][]string{"nothing": {}, "the PID": {"nemid.pid"}} {
		s := newService(t, func(c *cmitid.Settings) { c.Scopes = scopes })
		s.Request.Params = map[string]string{cmitid.ParamCPR: "true"}
		if res, err := s.Login(s.Connector(), "approve", "hanne"); err != nil || res.Step.(connector.Fail).Code != "cpr_not_granted" {
			t.Errorf("%s: %#v, %v", name, res.Step, err)
		}
		s.Request.Params, s.Request.Wanted = nil, []string{eid.WantID, eid.WantNumber}
		if res, err := s.Login(s.Connector(), "approve", "hanne"); err != nil || res.Confirmed == nil || res.Confirmed.Number != "" || res.Confirmed.Signals["asked"] != "id number" {
			t.Errorf("%s: %#v, %v", name, res, err)
		}
		s.Request.Pinned = "8903859996"
		if res, err := s.Login(s.Connector(), "approve", "hanne"); err != nil || res.Confirmed == nil || res.Confirmed.Number != "8903859996" {
			t.Errorf("%s, compared: %#v, %v", name, res, err)
		}
	}
	s := newService(t)
	s.Request.Params = map[string]string{cmitid.ParamReference: "Køb for 42 kr."}
	if res, err := s.Login(s.Connector(), "approve", "hanne"); err != nil || res.Confirmed == nil || res.Confirmed.Signals["reference_text"] != "Køb for 42 kr." {
		t.Errorf("a text of the party's own: %#v, %v", res, err)
	}
}

// TestLevels: what is asked for is the least that is taken.
func TestLevels(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ level, person, want string }{
		{"low", "adgangskode", "Substantial"}, {"", "adgangskode", "Substantial"}, {"high", "hanne", "High"}, {"high", "adgangskode", ""},
	} {
		s := newService(t, func(c *cmitid.Settings) { c.Level, c.Scopes = x.level, nil })
		res, err := s.Login(s.Connector(), "approve", x.person)
		switch fail, failed := res.Step.(connector.Fail); {
		case err != nil:
			t.Error(err)
		case x.want == "" && (!failed || fail.Code != "mitid_identity_not_found"), x.want != "" && (res.Confirmed == nil || !strings.HasSuffix(res.Confirmed.Level, "/"+x.want)):
			t.Errorf("%+v: %#v", x, res)
		}
	}
}

// TestPages: a person goes through the pages, and mistypes the number.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.Connector()
	s.Request.Params = map[string]string{cmitid.ParamCPR: "true"}
	r := s.Request
	begin := func() (connector.Result, string) {
		res, err := c.Begin(t.Context(), &r)
		if err != nil {
			t.Fatal(err)
		}
		address, err := url.Parse(res.Step.(connector.Redirect).URL)
		if err != nil || len(address.Query()) != 2 || !address.Query().Has("request_uri") {
			t.Fatalf("the address is %v", address)
		}
		return res, s.Page(res.Step)
	}
	wrong := url.Values{"act": {"cpr"}, "cpr": {"010101-0101"}}
	for _, x := range []struct {
		last url.Values
		want eid.Reason
	}{{url.Values{"act": {"cpr"}, "cpr": {"890385-9996"}}, ""}, {wrong, eid.WrongPerson}} {
		begun, page := begin()
		for _, y := range []struct {
			form url.Values
			want int
		}{
			{url.Values{"act": {"user"}, "user": {"nobody"}}, 400}, {url.Values{"act": {"user"}, "user": {"Hanne85"}}, 200}, {url.Values{"with": {"nothing"}}, 400},
			{url.Values{"with": {"code_display"}}, 200}, {wrong, 400}, {wrong, 400},
		} {
			if res := s.Post(page, y.form); res.Status != y.want {
				t.Fatalf("%v: %d", y.form, res.Status)
			}
		}
		res, err := s.Finish(c, begun, s.Return(s.Post(page, x.last)))
		fail, _ := res.Step.(connector.Fail)
		if err != nil || fail.Reason != x.want || x.want == "" && (res.Confirmed == nil || res.Confirmed.Signals["amr"] != "password, code_token") {
			t.Errorf("%#v, %v", res, err)
		}
	}
	begun, page := begin()
	if got := s.Post(page, url.Values{"act": {"close"}}); got.Status != http.StatusOK || got.Location != "" {
		t.Errorf("the error page is %d %s", got.Status, got.Location)
	}
	s.Config.Clock.Advance(10 * time.Minute)
	res, err := c.Resume(t.Context(), &r, begun.State, connector.Tick{})
	if fail, ok := res.Step.(connector.Fail); err != nil || !ok || fail.Code != "stranded" {
		t.Errorf("%#v, %v", res.Step, err)
	}
}

// TestRenewed: an address works once; another one is made for the same login.
func TestRenewed(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.Connector()
	r := s.Request
	begun, err := c.Begin(t.Context(), &r)
	if err != nil || !begun.Step.(connector.Redirect).Renews {
		t.Fatalf("%#v, %v", begun.Step, err)
	}
	s.Page(begun.Step)
	if res := s.Get(begun.Step.(connector.Redirect).URL); !strings.Contains(res.Location, "/Error?errorId=") {
		t.Errorf("used twice: %s", res.Location)
	}
	res, err := c.Resume(t.Context(), &r, begun.State, connector.Submitted{Values: url.Values{"go": {"1"}}})
	if err != nil || res.Step.(connector.Redirect).URL == begun.Step.(connector.Redirect).URL {
		t.Fatalf("%#v, %v", res.Step, err)
	}
	res.Refs = begun.Refs
	if done, err := s.Finish(c, res, s.Act(s.Page(res.Step), "approve", "hanne")); err != nil || done.Confirmed == nil {
		t.Errorf("%#v, %v", done, err)
	}
}

// TestIssuer: the broker says who it is beside every code; who does not is another
// one.
func TestIssuer(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.Connector()
	r := s.Request
	begun, err := c.Begin(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	good := s.Act(s.Page(begun.Step), "approve", "hanne")
	for name, iss := range map[string][]string{"none": nil, "an empty one": {""}, "another": {"https://other.example/op"}} {
		q, _ := url.ParseQuery(good.In.Query.Encode())
		if q["iss"] = iss; iss == nil {
			delete(q, "iss")
		}
		res, err := c.Resume(t.Context(), &r, begun.State, connector.Returned{In: connector.Inbound{Method: http.MethodGet, Query: q}})
		if err != nil || res.Step != (connector.Fail{Reason: eid.BadProof, Code: "mixup"}) {
			t.Errorf("%s: %#v, %v", name, res.Step, err)
		}
	}
	if res, err := s.Finish(c, begun, good); err != nil || res.Confirmed == nil {
		t.Errorf("its own: %#v, %v", res.Step, err)
	}
}

// TestCodeOnce: a code that may have been spent is not sent again, and what became
// of it is not known.
func TestCodeOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.Config.Faults.Add(sandbox.Fault{Target: "mitid.token", Kind: sandbox.Reset, Value: "after"})
	c := s.Connector()
	if res, err := s.Login(c, "approve", "hanne"); err != nil || res.Step != (connector.Fail{Reason: eid.OutcomeUnknown, Code: "unreachable"}) {
		t.Errorf("hung up: %#v, %v", res.Step, err)
	}
	s.Config.Faults.Clear()
	r := s.Request
	begun, err := c.Begin(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	back := s.Act(s.Page(begun.Step), "approve", "hanne")
	if res, err := c.Resume(t.Context(), &r, begun.State, back); err != nil || connector.StepName(res.Step) != "again" {
		t.Fatalf("%#v, %v", res.Step, err)
	}
	for repeated, want := range map[bool]connector.Fail{false: {Reason: eid.Refused, Code: "invalid_grant"}, true: {Reason: eid.OutcomeUnknown, Code: "no_answer"}} {
		r.Repeated = repeated
		if res, err := c.Resume(t.Context(), &r, begun.State, back); err != nil || res.Step != want {
			t.Errorf("spent, repeated %v: %#v, %v", repeated, res.Step, err)
		}
	}
}

func TestOtherSubject(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.Config.Faults.Add(sandbox.Fault{Target: "mitid.result", Kind: sopenid.OtherSubject})
	res, err := s.Login(s.Connector(), "approve", "hanne")
	if fail, ok := res.Step.(connector.Fail); err != nil || !ok || fail.Reason != eid.BadProof || fail.Code != "subject" {
		t.Errorf("%#v, %v", res.Step, err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	good := cmitid.Settings{Settings: openid.Settings{Issuer: "https://netseidbroker.dk/op", ClientID: "c", Auth: oidcrp.SecretBasic, Secret: "s"}}
	if err := cmitid.Dialect().Check(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*cmitid.Settings){
		"scope":     func(s *cmitid.Settings) { s.Scopes = []string{"nemlogin"} },
		"level":     func(s *cmitid.Settings) { s.Level = "highest" },
		"action":    func(s *cmitid.Settings) { s.Action = "GO" },
		"reference": func(s *cmitid.Settings) { s.Reference = strings.Repeat("å", 131) },
		"secret":    func(s *cmitid.Settings) { s.Secret = "" },
	} {
		bad := good
		change(&bad)
		if err := cmitid.Dialect().Check(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestOpenCircuit: a provider that does not answer is not called. Who begins is
// told at once; whose code is at hand waits, and nothing of it is lost.
func TestOpenCircuit(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.Connector()
	c.Circuits = circuit.NewBoard(s.Config.Clock.Now, nil)
	var told int
	c.Watch = func(string, string, time.Duration) { told++ }
	begin := func() (connector.Result, error) { return c.Begin(t.Context(), &s.Request) }
	begun, err := begin()
	if err != nil {
		t.Fatal(err)
	}
	back := s.Act(s.Page(begun.Step), "approve", "hanne")
	heal := s.Bench("", "", "", nil, nil, nil).Faults["500"]()
	for range 5 {
		if u, ok := errors.AsType[*connector.Unknown](second(begin())); !ok || u.After != time.Second {
			t.Fatalf("without an answer: %v", u)
		}
	}
	calls, seen := s.Calls.Load(), told
	if res, err := begin(); err != nil || res.Step != (connector.Fail{Reason: eid.Unavailable, Code: "unreachable", Retry: true}) {
		t.Errorf("begin: %#v, %v", res.Step, err)
	}
	_, err = s.Finish(c, begun, back)
	if u, ok := errors.AsType[*connector.Unknown](err); !ok || !u.Repeat || u.Reason != eid.Unavailable || u.After != 10*time.Second {
		t.Errorf("with a code: %v", err)
	}
	if s.Calls.Load() != calls || told != seen {
		t.Errorf("%d calls were made, %d told of", s.Calls.Load()-calls, told-seen)
	}
	heal()
	s.Config.Clock.Advance(10 * time.Second)
	if res, err := s.Finish(c, begun, back); err != nil || res.Confirmed == nil {
		t.Errorf("ten seconds later: %#v, %v", res.Step, err)
	}
}

func second[T any](_ T, err error) error { return err }
