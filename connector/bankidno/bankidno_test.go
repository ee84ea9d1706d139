package bankidno_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	cbankidno "eidgate/connector/bankidno"
	"eidgate/connector/connectortest"
	"eidgate/connector/openid"
	"eidgate/connector/openid/openidtest"
	"eidgate/eid"
	"eidgate/internal/jose"
	"eidgate/internal/keytest"
	"eidgate/internal/oidcrp"
	"eidgate/sandbox"
	sbankidno "eidgate/sandbox/bankidno"
	sopenid "eidgate/sandbox/openid"
)

type service struct {
	*openidtest.Service
	sim *sbankidno.Simulator
	set cbankidno.Settings
}

var everything = []string{"profile", "nnin_altsub", "phone", "email", "address"}

// newService has a party with a key; a change may give it a secret instead.
func newService(t *testing.T, change ...func(*cbankidno.Settings)) *service {
	t.Helper()
	s := &service{}
	s.Service = openidtest.New(t, func(c openidtest.Config) openidtest.Simulator {
		other := func() string { return strings.Replace(c.Base(), "127.0.0.1", "localhost", 1) }
		s.sim = sbankidno.New(sbankidno.Config{Clock: c.Clock, People: c.People, Decisions: c.Decisions, Faults: c.Faults, Base: c.Base, UserInfo: other})
		return openidtest.Simulator{Handler: s.sim.Handler(), Do: s.sim.Do, Pages: "/bankidno/login/"}
	})
	s.New = cbankidno.New
	s.set = cbankidno.Settings{Scopes: everything}
	for _, f := range change {
		f(&s.set)
	}
	reg, err := s.sim.Party("Shop", openidtest.Back, s.set.Auth == oidcrp.SecretBasic)
	if err != nil {
		t.Fatal(err)
	}
	s.set.Issuer, s.set.ClientID, s.set.Secret, s.set.AllowHTTP = reg.Issuer, reg.ClientID, reg.Secret, true
	if reg.Secret == "" {
		s.set.Auth, s.set.Keys = oidcrp.PrivateKeyJWT, []openid.Key{{ID: reg.KeyID, Use: "sig", Alg: "RS256", PEM: reg.Key}}
	}
	if err := cbankidno.Dialect().Check(s.set); err != nil {
		t.Fatal(err)
	}
	s.Use(s.set)
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
		s := newService(t)
		return s.Bench("bankidno.result", "ola", "01819010354", []string{"Nordmann", "01819010354", "1990-01-01", "Eksempelveien", "99999999"},
			[]string{sopenid.BadSignature, sopenid.Unsigned, sopenid.WrongKID, sopenid.OtherAudience, sopenid.OtherIssuer, sopenid.Over},
			map[string]eid.Reason{"cancel": eid.Cancelled, "expire": eid.Expired, "decline": eid.Unavailable, "fail:C131": eid.InProgress, "fail:C293": eid.InProgress, "fail:14ab": eid.Cancelled,
				"fail:D4096": eid.Unavailable, "fail:server_error": eid.Unavailable, "fail:invalid_scope": eid.Refused})
	})
}

// TestPerson: what a party is told by each method, over a secret and over a key.
func TestPerson(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		secret bool
		mode   string
		person string
		api    string
		check  func(*testing.T, *eid.Identity)
	}{
		"password": {mode: cbankidno.ModeWeb, person: "ola", api: "v2", check: func(t *testing.T, id *eid.Identity) {
			if id.Kind != "BID" || id.Level != "urn:bankid:bid;LOA=4" || id.Signals["amr"] != "bid, bid-mfa, bid-otp, bid-pwd" || len(id.Signals["bankid_sub"]) != 36 ||
				!strings.HasPrefix(id.Signals["originator"], "CN=") || len(id.Signals["updated_at"]) != 13 {
				t.Errorf("%#v", *id)
			}
		}},
		"biometrics": {secret: true, mode: cbankidno.ModeMobile, person: "ola", api: "v2", check: func(t *testing.T, id *eid.Identity) {
			if id.Kind != "BIS" || id.Level != "urn:bankid:bis;LOA=3" || len(id.Signals["bankid_sub"]) != 43 || len(id.Signals["sid"]) != 43 || !strings.HasPrefix(id.Signals["originator"], "C=NO") {
				t.Errorf("%#v", *id)
			}
		}},
		"no biometrics": {mode: cbankidno.ModeMobile, person: "kari", api: "v2", check: func(t *testing.T, id *eid.Identity) {
			if id.Kind != "BID" || id.Level != "urn:bankid:bid;LOA=4" || id.Number != "01819010273" {
				t.Errorf("%#v", *id)
			}
		}},
		"old": {person: "ola", api: "v1", check: func(t *testing.T, id *eid.Identity) {
			if id.Signals["amr"] != "BID" || id.Signals["sid"] == "" {
				t.Errorf("%#v", *id)
			}
		}},
		"D-number": {person: "dagny", api: "v2", check: func(t *testing.T, id *eid.Identity) {
			if id.Number != "41829010176" || id.Birth != "1990-02-01" {
				t.Errorf("%#v", *id)
			}
		}},
		"declines": {person: "hemmelig", api: "v2", check: func(t *testing.T, id *eid.Identity) {
			if id.Phone+id.Email != "" || id.Address != nil || id.Name != "Hege Hemmelig" {
				t.Errorf("%#v", *id)
			}
		}},
		"young": {person: "unge", api: "v2", check: func(t *testing.T, id *eid.Identity) {
			if id.Age == nil || *id.Age > 17 {
				t.Errorf("%#v", *id)
			}
		}},
		"shares": {person: "ola", api: "v2", check: func(t *testing.T, id *eid.Identity) {
			if id.Subject != "9578-6000-4-000017" || id.Phone != "+4799999999" || id.Email == "" || id.Address == nil || id.Address.City != "Oslo" || id.Country != "NO" || id.Given != "Ola" || id.Family != "Nordmann" {
				t.Errorf("%#v", *id)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(c *cbankidno.Settings) {
				if x.secret {
					c.Auth = oidcrp.SecretBasic
				}
			})
			if _, err := s.sim.Change(func(set *sbankidno.Settings) error { set.API = x.api; return nil }); err != nil {
				t.Fatal(err)
			}
			s.Request.Mode = x.mode
			res, err := s.Login(s.Connector(), "approve", x.person)
			if err != nil || res.Confirmed == nil {
				t.Fatalf("%#v, %v", res.Step, err)
			}
			x.check(t, res.Confirmed)
		})
	}
}

// TestScopes: of what the contract covers, as much is asked as is wanted; with
// nothing said, all of it. Who is held to a number must tell it.
func TestScopes(t *testing.T) {
	t.Parallel()
	person := []string{eid.WantID, eid.WantNumber, eid.WantName, eid.WantBirth}
	more := append(slices.Clone(person), eid.WantAddress, eid.WantPhone, eid.WantEmail)
	for name, x := range map[string]struct {
		contract, wanted []string
		pinned           eid.Number
		want             string
	}{
		"all":                   {everything, nil, "", "openid profile nnin_altsub phone email address"},
		"a person":              {everything, person, "", "openid profile nnin_altsub"},
		"a person and more":     {everything, more, "", "openid profile nnin_altsub phone email address"},
		"less granted":          {[]string{"profile", "phone"}, more, "", "openid profile phone"},
		"no contact granted":    {[]string{"profile", "nnin_altsub"}, more, "", "openid profile nnin_altsub"},
		"the number by consent": {[]string{"profile", "nnin", "email"}, person, "", "openid profile nnin"},
		"nothing granted":       {[]string{}, more, "", "openid"},
		"the usual contract":    {nil, more, "", "openid profile"},
		"held, and not wanted":  {everything, []string{eid.WantName}, "01819010354", "openid profile nnin_altsub"},
	} {
		set := cbankidno.Settings{Settings: openid.Settings{Issuer: "https://auth.bankid.no/auth/realms/prod", ClientID: "c", Auth: oidcrp.SecretBasic, Secret: "s"}, Scopes: x.contract}
		raw, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		a, err := cbankidno.Dialect().Read(raw, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if out, no := a.Ask(&connector.Request{Wanted: x.wanted, Pinned: x.pinned}); no != nil || out.Scope != x.want {
			t.Errorf("%s: %q, %v; want %q", name, out.Scope, no, x.want)
		}
	}

	s := newService(t)
	s.Request.Wanted = person
	res, err := s.Login(s.Connector(), "approve", "ola")
	if err != nil || res.Confirmed == nil || res.Confirmed.Number == "" || res.Confirmed.Name == "" || res.Confirmed.Phone+res.Confirmed.Email != "" || res.Confirmed.Address != nil || len(res.Evidence) != 1 {
		t.Errorf("a person: %#v, %v", res, err)
	}
	s.Request.Wanted = more
	res, err = s.Login(s.Connector(), "approve", "ola")
	if err != nil || res.Confirmed == nil || res.Confirmed.Number == "" || res.Confirmed.Phone == "" || res.Confirmed.Email == "" || res.Confirmed.Address == nil || len(res.Evidence) != 2 {
		t.Errorf("a person and more: %#v, %v", res, err)
	}
}

// TestNotGranted: a number that nobody has asked for is not told, whatever
// BankID says.
func TestNotGranted(t *testing.T) {
	t.Parallel()
	const ola = "01819010354"
	for _, x := range []struct {
		contract, wanted []string
		pinned, want     eid.Number
	}{
		{[]string{"profile"}, nil, "", ""}, {[]string{"profile", "nnin_altsub"}, []string{eid.WantName}, "", ""},
		{[]string{"profile", "nnin_altsub"}, nil, "", ola}, {[]string{"profile", "nnin_altsub"}, []string{eid.WantName}, ola, ola},
	} {
		raw, err := json.Marshal(cbankidno.Settings{Scopes: x.contract})
		if err != nil {
			t.Fatal(err)
		}
		a, err := cbankidno.Dialect().Read(raw, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]json.RawMessage{"acr": json.RawMessage(`"urn:bankid:bis"`), "sub_bankid": json.RawMessage(`"9578-6000-4-000017"`), "sub_nnin": json.RawMessage(`"` + ola + `"`), "name": json.RawMessage(`"Ola"`)}
		p, err := a.Person(t.Context(), &connector.Request{Wanted: x.wanted, Pinned: x.pinned}, openid.Told{Tokens: &oidcrp.Tokens{ID: &jose.Claims{Raw: told}}, Now: time.Now()})
		if err != nil || p.Identity.Number != x.want || p.Identity.Name != "Ola" {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

// TestTold: what BankID may tell, and what lets nobody in: a lower level than was
// asked for, another method than that, nobody, and nothing to compare.
func TestTold(t *testing.T) {
	t.Parallel()
	const bid, bis = "urn:bankid:bid;LOA=4", "urn:bankid:bis;LOA=3"
	for name, x := range map[string]struct {
		level, hint string
		acr         string
		missing     string // of the token
		want        string // code, "" for a login
	}{
		"the password":                     {acr: bid},
		"the password, without a level":    {acr: "urn:bankid:bid"},
		"biometrics":                       {acr: bis},
		"biometrics, without a level":      {acr: "urn:bankid:bis"},
		"on mobile":                        {acr: "urn:bankid:bim;LOA=4"},
		"high":                             {level: "high", acr: bid},
		"high, and biometrics":             {level: "high", acr: bis, want: "level"},
		"a hint of the password":           {hint: "BID", acr: bid},
		"a hint of it, and biometrics":     {hint: "BID", acr: bis, want: "level"},
		"a hint of biometrics":             {hint: "BIS", acr: bis},
		"a hint of them, and the password": {hint: "BIS", acr: bid},
		"a level that there is not":        {acr: "urn:bankid:bid;LOA=2", want: "level"},
		"no level":                         {missing: "acr", want: "level"},
		"nobody":                           {acr: bid, missing: "bankid_altsub", want: "no_pid"},
		"a birth date":                     {hint: "BIM:99999999:010190", acr: bid},
		"no birth date to compare":         {hint: "BIM:99999999:010190", acr: bid, missing: "birthdate", want: "no_birthdate"},
	} {
		raw, err := json.Marshal(cbankidno.Settings{Level: x.level})
		if err != nil {
			t.Fatal(err)
		}
		a, err := cbankidno.Dialect().Read(raw, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		r := &connector.Request{}
		if x.hint != "" {
			r.Params = map[string]string{cbankidno.ParamHint: x.hint}
		}
		told := map[string]json.RawMessage{"bankid_altsub": json.RawMessage(`"9578-6000-4-000017"`), "birthdate": json.RawMessage(`"1990-01-01"`), "acr": json.RawMessage(strconv.Quote(x.acr))}
		delete(told, x.missing)
		_, err = a.Person(t.Context(), r, openid.Told{Tokens: &oidcrp.Tokens{ID: &jose.Claims{Raw: told}}, Now: time.Now()})
		no, refused := errors.AsType[*openid.No](err)
		if x.want == "" && err != nil || x.want != "" && (!refused || no.Fail.Code != x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}

// TestIDTokenCounts: UserInfo adds to what the ID token says of the login, and
// changes nothing of it.
func TestIDTokenCounts(t *testing.T) {
	t.Parallel()
	keys, err := jose.NewSet(jose.Schedule{}, time.Now, jose.Key{ID: "k", Use: jose.Signing, Alg: jose.RS256, Private: keytest.RSA(t, 2048)})
	if err != nil {
		t.Fatal(err)
	}
	set := func(at openid.Settings) any { return cbankidno.Settings{Settings: at, Scopes: everything} }
	a, client := openidtest.Provider(t, cbankidno.Dialect(), set, func(w http.ResponseWriter, r *http.Request, issuer string) {
		if r.URL.Path == "/k" {
			body, _ := keys.JWKS()
			_, _ = w.Write(body)
			return
		}
		token, err := keys.Sign(jose.RS256, "JWT", fmt.Appendf(nil, `{"iss":%q,"sub":"s","acr":"urn:bankid:bid;LOA=4","nnin_altsub":"01819010273","bankid_altsub":"9578-6000-4-000025","email":"ola@example.test"}`, issuer))
		if err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, token)
	})
	told := map[string]json.RawMessage{"acr": json.RawMessage(`"urn:bankid:bis;LOA=3"`), "nnin_altsub": json.RawMessage(`"01819010354"`), "bankid_altsub": json.RawMessage(`"9578-6000-4-000017"`)}
	p, err := a.Person(t.Context(), &connector.Request{}, openid.Told{Client: client, Tokens: &oidcrp.Tokens{ID: &jose.Claims{Subject: "s", Raw: told}}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if id := p.Identity; id.Kind != "BIS" || id.Number != "01819010354" || id.Subject != "9578-6000-4-000017" || id.Email != "ola@example.test" {
		t.Errorf("%s %s %s %s", id.Kind, string(id.Number), id.Subject, id.Email)
	}
}

// TestRefused: what BankID says instead of a person, and to whom.
func TestRefused(t *testing.T) {
	t.Parallel()
	a, err := cbankidno.Dialect().Read([]byte(`{}`), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		where, code, text string
		want              connector.Fail
	}{
		{"authorization", "access_denied", "", connector.Fail{Reason: eid.Cancelled}},
		{"authorization", "access_denied", "bankid_error_codes:C301", connector.Fail{Reason: eid.Cancelled, Code: "C301"}},
		{"authorization", "access_denied", "bankid_error_codes:14ab", connector.Fail{Reason: eid.Cancelled, Code: "14AB"}},
		{"authorization", "access_denied", "bankid_error_codes:C302", connector.Fail{Reason: eid.Expired, Code: "C302"}},
		{"authorization", "access_denied", "bankid_error_codes:C131", connector.Fail{Reason: eid.InProgress, Code: "C131", Retry: true}},
		{"authorization", "access_denied", "bankid_error_codes:C293", connector.Fail{Reason: eid.InProgress, Code: "C293", Retry: true}},
		{"authorization", "access_denied", "bankid_error_codes:12288", connector.Fail{Reason: eid.Unavailable, Code: "12288", Retry: true}},
		{"authorization", "server_error", "", connector.Fail{Reason: eid.Unavailable, Code: "server_error", Retry: true}},
		{"authorization", "invalid_scope", "", connector.Fail{Reason: eid.Refused, Code: "invalid_scope"}},
		{"authorization", "Ola Nordmann", "", connector.Fail{Reason: eid.Refused, Code: "unknown"}},
		{"token", "access_denied", "bankid_error_codes:C301", connector.Fail{Reason: eid.Refused, Code: "unknown"}},
	} {
		if got := a.Refused(&oidcrp.Refused{Where: x.where, Code: x.code, Description: x.text}); got != x.want {
			t.Errorf("%s %s %s: %+v, want %+v", x.where, x.code, x.text, got, x.want)
		}
	}
}

// TestUpdated: BankID says milliseconds and biometrics seconds, of the same
// moment.
func TestUpdated(t *testing.T) {
	t.Parallel()
	for mode, digits := range map[string]int{cbankidno.ModeWeb: 13, cbankidno.ModeMobile: 10} {
		s := newService(t)
		s.Request.Mode = mode
		res, err := s.Login(s.Connector(), "approve", "ola")
		if err != nil || res.Confirmed == nil {
			t.Fatalf("%s: %#v, %v", mode, res.Step, err)
		}
		i := slices.IndexFunc(res.Evidence, func(e eid.Evidence) bool { return e.Name == "id_token" })
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(string(res.Evidence[i].Data), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var token struct {
			Updated json.Number `json:"updated_at"`
		}
		if err := json.Unmarshal(raw, &token); err != nil || len(token.Updated) != digits {
			t.Errorf("%s: BankID says %q, %v", mode, token.Updated, err)
		}
		issued := s.Config.Clock.Now().AddDate(-1, 0, 0).UTC().Truncate(24 * time.Hour)
		if got := res.Confirmed.Signals["updated_at"]; got != strconv.FormatInt(issued.UnixMilli(), 10) {
			t.Errorf("%s: read as %s, want %d", mode, got, issued.UnixMilli())
		}
	}
}

// TestHints: which are carried how, and who is let in by them.
func TestHints(t *testing.T) {
	t.Parallel()
	const ola = "01819010354"
	for name, x := range map[string]struct {
		hint, pinned, mode string
		said               bool
		scopes             []string
		level              string
		par                bool
		hidden             bool   // nothing personal in the address
		method             string // of the simulator's order
		person             string
		want               string // reason, "" for a login
	}{
		"none":                        {par: true, person: "kari", method: ""},
		"empty":                       {said: true, par: true, person: "kari"},
		"BID":                         {hint: "BID", said: true, person: "ola", method: "BID"},
		"BIS":                         {hint: "BIS", said: true, person: "ola", method: "BIS"},
		"a number, pushed":            {hint: "BID:" + ola, said: true, par: true, hidden: true, method: "BID", person: "ola"},
		"a number, encrypted":         {hint: "BID:" + ola, said: true, hidden: true, method: "BID", person: "ola"},
		"biometrics and a number":     {hint: "BIS:" + ola, said: true, par: true, hidden: true, method: "BIS", person: "ola"},
		"a number alone":              {hint: ":" + ola, said: true, par: true, hidden: true, person: "ola"},
		"somebody else than hinted":   {hint: ":" + ola, said: true, par: true, hidden: true, person: "kari", want: "wrong_person"},
		"pinned":                      {pinned: ola, mode: cbankidno.ModeWeb, par: true, hidden: true, method: "BID", person: "ola"},
		"somebody else than pinned":   {pinned: ola, par: true, hidden: true, person: "kari", want: "wrong_person"},
		"hinted, and another pinned":  {hint: ":01819010273", said: true, pinned: ola, par: true, hidden: true, person: "kari", want: "wrong_person"},
		"mobile":                      {hint: "BIM:99999999:010190", said: true, par: true, hidden: true, method: "BIM", person: "ola"},
		"mobile of somebody else":     {hint: "BIM:99999999:020190", said: true, par: true, hidden: true, method: "BIM", person: "ola", want: "wrong_person"},
		"another method":              {hint: "XID", said: true, want: "request_invalid"},
		"a short number":              {hint: "BID:123", said: true, want: "request_invalid"},
		"a number nobody may compare": {hint: ":" + ola, said: true, scopes: []string{"profile"}, want: "request_invalid"},
		"pinned, and no agreement":    {pinned: ola, scopes: []string{"profile"}, want: "request_invalid"},
		"high, with the password":     {level: "high", person: "ola", method: "BID"},
		"the number by consent":       {pinned: ola, scopes: []string{"profile", "nnin"}, par: true, hidden: true, person: "ola"},
		"high, and biometrics hinted": {level: "high", hint: "BIS", said: true, person: "ola", method: "BID"},
		"mobile, and no birth date":   {hint: "BIM:99999999:010190", said: true, scopes: []string{"nnin_altsub"}, want: "request_invalid"},
		"no scopes at all":            {scopes: []string{}, person: "ola"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(c *cbankidno.Settings) {
				if c.Level = x.level; x.scopes != nil {
					c.Scopes = x.scopes
				}
			})
			if _, err := s.sim.Change(func(set *sbankidno.Settings) error { set.PAR = x.par; return nil }); err != nil {
				t.Fatal(err)
			}
			s.Request.Pinned, s.Request.Mode = eid.Number(x.pinned), x.mode
			if x.said {
				s.Request.Params = map[string]string{cbankidno.ParamHint: x.hint}
			}
			c := s.Connector()
			r := s.Request
			res, err := c.Begin(t.Context(), &r)
			if err != nil {
				t.Fatal(err)
			}
			if fail, ok := res.Step.(connector.Fail); ok {
				if string(fail.Reason) != x.want {
					t.Fatalf("%+v", fail)
				}
				return
			}
			address := res.Step.(connector.Redirect).URL
			if x.hidden && (strings.Contains(address, ola) || strings.Contains(address, "99999999") || strings.Contains(address, "login_hint")) {
				t.Errorf("the address tells: %s", address)
			}
			u, err := url.Parse(address)
			if err != nil || !x.hidden && u.Query().Get("prompt") != "login" {
				t.Errorf("who has logged in before would be let in: %s", address)
			}
			if request := u.Query().Get("request"); request != "" {
				head, err := base64.RawURLEncoding.DecodeString(strings.Split(request, ".")[0])
				if err != nil || !strings.Contains(string(head), `"alg":"RSA-OAEP-256"`) || !strings.Contains(string(head), `"enc":"A256GCM"`) {
					t.Errorf("the request object's header is %s", head)
				}
			} else if x.hidden && !x.par {
				t.Error("no request object")
			}
			page := s.Page(res.Step)
			if o, err := s.sim.Order(page[strings.LastIndexByte(page, '/')+1:]); err != nil || o.Details.(map[string]string)["method"] != x.method {
				t.Errorf("%+v, %v; want %q", o.Details, err, x.method)
			}
			res, err = s.Finish(c, res, s.Act(page, "approve", x.person))
			fail, _ := res.Step.(connector.Fail)
			if err != nil || string(fail.Reason) != x.want || x.want == "" && res.Confirmed == nil {
				t.Errorf("%#v, %v", res.Step, err)
			}
		})
	}
}

// TestPages: a person goes through the pages, and does not share everything.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.Connector()
	r := s.Request
	begun, err := c.Begin(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	page := s.Page(begun.Step)
	for _, x := range []struct {
		form url.Values
		want int
	}{
		{url.Values{"act": {"nonsense"}}, 400}, {url.Values{"act": {"BIS"}}, 200}, {url.Values{"act": {"user"}, "number": {"123"}}, 400},
		{url.Values{"act": {"user"}, "number": {"01819010354"}}, 200}, {url.Values{"act": {"nobio"}}, 200},
		{url.Values{"act": {"code"}, "otp": {"otp"}, "password": {"wrong"}}, 400}, {url.Values{"act": {"code"}, "otp": {"otp"}, "password": {"qwer1234"}}, 200},
	} {
		if res := s.Post(page, x.form); res.Status != x.want {
			t.Fatalf("%v: %d", x.form, res.Status)
		}
	}
	res, err := s.Finish(c, begun, s.Return(s.Post(page, url.Values{"act": {"keep"}})))
	if err != nil || res.Confirmed == nil || res.Confirmed.Phone != "" || res.Confirmed.Kind != "BID" {
		t.Errorf("%#v, %v", res, err)
	}
}

// TestNotShared: a number that the person keeps is nobody's, not another's.
func TestNotShared(t *testing.T) {
	t.Parallel()
	s := newService(t, func(c *cbankidno.Settings) { c.Scopes = []string{"profile", "nnin"} })
	s.Request.Pinned = "24817710030"
	res, err := s.Login(s.Connector(), "approve", "hemmelig")
	if fail, ok := res.Step.(connector.Fail); err != nil || !ok || fail.Reason != eid.Declined || fail.Code != "number_not_shared" {
		t.Errorf("%#v, %v", res.Step, err)
	}
}

// TestUserInfo: it is on another host, and what is wrong with it lets nobody in.
func TestUserInfo(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]eid.Reason{sopenid.OtherSubject: eid.BadProof} {
		s := newService(t)
		s.sim.Faults.Add(sandbox.Fault{Target: "bankidno.result", Kind: kind})
		res, err := s.Login(s.Connector(), "approve", "ola")
		if fail, ok := res.Step.(connector.Fail); err != nil || !ok || fail.Reason != want {
			t.Errorf("%s: %#v, %v", kind, res.Step, err)
		}
	}
	s := newService(t, func(c *cbankidno.Settings) { c.Scopes = []string{"profile", "nnin_altsub"} })
	if res, err := s.Login(s.Connector(), "approve", "ola"); err != nil || res.Confirmed == nil || res.Confirmed.Phone != "" || len(res.Evidence) != 1 {
		t.Errorf("without UserInfo: %#v, %v", res, err)
	}
	s.Request.Wanted = []string{eid.WantID}
	if res, err := s.Login(s.Connector(), "approve", "ola"); err != nil || res.Confirmed == nil || res.Confirmed.Name+string(res.Confirmed.Number) != "" || res.Confirmed.Subject == "" {
		t.Errorf("who comes again: %#v, %v", res.Confirmed, err)
	}
}

// TestStranded: nobody comes back from an error page, and ten minutes later
// nobody is waited for.
func TestStranded(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.Connector()
	r := s.Request
	res, err := c.Begin(t.Context(), &r)
	if err != nil || res.Due.Sub(s.Config.Clock.Now()) != 10*time.Minute {
		t.Fatalf("due %v, %v", res.Due, err)
	}
	page := s.Page(res.Step)
	if got := s.Post(page, url.Values{"act": {"close"}}); got.Status != http.StatusOK {
		t.Errorf("the error page answers %d", got.Status)
	}
	s.Config.Clock.Advance(10 * time.Minute)
	res, err = c.Resume(t.Context(), &r, res.State, connector.Tick{})
	if fail, ok := res.Step.(connector.Fail); err != nil || !ok || fail.Reason != eid.Expired || fail.Code != "stranded" {
		t.Errorf("%#v, %v", res.Step, err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	good := cbankidno.Settings{Settings: openid.Settings{Issuer: "https://auth.bankid.no/auth/realms/prod", ClientID: "c", Auth: oidcrp.SecretBasic, Secret: "s"}}
	if err := cbankidno.Dialect().Check(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*cbankidno.Settings){
		"scope":  func(s *cbankidno.Settings) { s.Scopes = []string{"sign"} },
		"method": func(s *cbankidno.Settings) { s.Method = "BIM" },
		"level":  func(s *cbankidno.Settings) { s.Level = "low" },
		"both":   func(s *cbankidno.Settings) { s.Level, s.Method = "high", "BIS" },
		"secret": func(s *cbankidno.Settings) { s.Secret = "" },
		"issuer": func(s *cbankidno.Settings) { s.Issuer = "http://auth.bankid.no" },
	} {
		bad := good
		change(&bad)
		if err := cbankidno.Dialect().Check(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
