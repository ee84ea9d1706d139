package itsme_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/connectortest"
	citsme "eidgate/connector/itsme"
	"eidgate/connector/openid"
	"eidgate/connector/openid/openidtest"
	"eidgate/eid"
	"eidgate/internal/oidcrp"
	"eidgate/sandbox"
	sitsme "eidgate/sandbox/itsme"
)

// A service is the simulator with a partner, which has keys unless a change gives
// it a secret.
type service struct {
	*openidtest.Service
	sim   *sitsme.Simulator
	watch func(kid string) // of each token that itsme encrypts, if anybody wants to know
}

func newService(t testing.TB, change ...func(*citsme.Settings)) *service {
	t.Helper()
	s := &service{}
	s.Service = openidtest.New(t, func(c openidtest.Config) openidtest.Simulator {
		s.sim = sitsme.New(sitsme.Config(c))
		h := s.sim.Handler()
		return openidtest.Simulator{Do: s.sim.Do, Pages: "/itsme/app/", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			heard := &listener{ResponseWriter: w}
			h.ServeHTTP(heard, r)
			if s.watch != nil {
				for _, kid := range kids(heard.body.Bytes()) {
					s.watch(kid)
				}
			}
		})}
	})
	s.New = citsme.New
	set := citsme.Settings{Generation: 2}
	for _, f := range change {
		f(&set)
	}
	reg, err := s.sim.Partner("Shop", openidtest.Back, set.Generation, set.Auth == oidcrp.SecretPost)
	if err != nil {
		t.Fatal(err)
	}
	set.Issuer, set.ClientID, set.Service, set.AllowHTTP, set.Secret = reg.Issuer, reg.ClientID, reg.Service, true, reg.Secret
	if reg.Secret == "" {
		alg := "RSA-OAEP-256"
		if set.Generation == 1 {
			alg = "RSA-OAEP"
		}
		set.Auth = oidcrp.PrivateKeyJWT
		set.Keys = []openid.Key{{ID: "sig1", Use: "sig", Alg: "RS256", PEM: reg.SigningKey}, {ID: reg.EncKID, Use: "enc", Alg: alg, PEM: reg.EncKey}, {ID: reg.EncKID2, Use: "enc", Alg: alg, PEM: reg.EncKey2}}
	}
	if err := citsme.Dialect().Check(set); err != nil {
		t.Fatal(err)
	}
	s.Use(set)
	s.Request.Language = "nl"
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
		return newService(t).Bench("itsme.result", "florent", "80010299946", []string{"Verschueren", "80010299946", "1980-01-02", "Havenlaan", "425009714"},
			[]string{"bad_signature", "unsigned", "unencrypted", "wrong_kid", "wrong_audience", "wrong_issuer", "expired"},
			map[string]eid.Reason{"cancel": eid.Cancelled, "fail:server_error": eid.Unavailable, "fail:invalid_scope": eid.Refused})
	})
}

// TestPeople: what is told of each test person, in both generations.
func TestPeople(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*citsme.Settings){
		"second": func(s *citsme.Settings) {
			s.Scopes = []string{"profile", "email", "phone", "address", "eid", "idDocument"}
			s.Claims = []string{"age_gte_18", "birthdate_as_string", "citizenship", "place_of_birth"}
		},
		"second, with a secret": func(s *citsme.Settings) {
			s.Auth = oidcrp.SecretPost
			s.Scopes = []string{"profile", "email", "phone", "address", "eid", "idDocument"}
			s.Claims = []string{"age_gte_18", "birthdate_as_string", "citizenship", "place_of_birth"}
		},
		"first": func(s *citsme.Settings) {
			s.Generation = 1
			s.Claims = []string{"national_number", "birthdate_as_string", "citizenship", "place_of_birth"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, change)
			c := s.Connector()
			who := func(key string) *eid.Identity {
				t.Helper()
				res, err := s.Login(c, "approve", key)
				if _, done := res.Step.(connector.Done); err != nil || !done {
					t.Fatalf("%s: %#v, %v", key, res.Step, err)
				}
				if len(res.Evidence) != 2 || strings.Count(string(res.Evidence[0].Data), ".") != 2 || strings.Count(string(res.Evidence[1].Data), ".") != 2 {
					t.Errorf("%s: evidence %v", key, res.Evidence)
				}
				return res.Confirmed
			}
			id := who("florent")
			if len(id.Subject) != 36 || id.Name != "Florent Verschueren" || id.Given != "Florent" || id.Family != "Verschueren" || id.Birth != "1980-01-02" || id.Gender != "male" ||
				id.Number != "80010299946" || id.Country != "BE" || id.Phone != "+32 425009714" || id.Email != "florent@example.test" || *id.Age != s.Config.Clock.Now().Year()-1980 {
				t.Errorf("florent is %#v", *id)
			}
			if a := id.Address; a == nil || a.City != "Brussel" || a.PostalCode != "1000" || len(a.Lines) != 1 || a.Lines[0] != "Havenlaan 2" || a.Country != "BE" {
				t.Errorf("address %#v", a)
			}
			if id.Signals["citizenship"] != "belge" || id.Signals["city_of_birth"] != "Brussel" || id.Signals["locale"] != "fr" || id.Signals["phone_verified"] != "true" || id.Signals["email_verified"] != "false" {
				t.Errorf("signals %v", id.Signals)
			}
			if again := who("opnieuw"); again.Subject == id.Subject || again.Number != id.Number {
				t.Error("an account that was made anew has the same subject")
			}
			if who("florent").Subject != id.Subject {
				t.Error("the subject does not last")
			}
			if id := who("onenaam"); id.Given != "" || id.Name != "Peeters" || id.Email != "" {
				t.Errorf("onenaam is %#v", *id)
			}
			if id := who("sansdate"); id.Birth != "" || id.Age != nil || id.BirthText != "00.00.1960" || id.Signals["age_gte_18"] != "" {
				t.Errorf("sansdate is %#v", *id)
			}
			id = who("sanne")
			if id.Number != "" || id.Address != nil || id.Gender != "" || name != "first" && id.Country != "NL" {
				t.Errorf("sanne is %#v", *id)
			}
			if id := who("jonge"); *id.Age != 17 || name != "first" && id.Signals["age_gte_18"] != "false" {
				t.Errorf("jonge is %#v", *id)
			}
		})
	}
}

// TestRefusals: tokens that prove nobody.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]connector.Fail{
		"other_sub":   {Reason: eid.BadProof, Code: "subject"},
		"wrong_nonce": {Reason: eid.BadProof, Code: "nonce"},
		"unencrypted": {Reason: eid.BadProof, Code: "encryption"},
		"unsigned":    {Reason: eid.BadProof, Code: "id_token"},
		"expired":     {Reason: eid.BadProof, Code: "expired"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.Config.Faults.Add(sandbox.Fault{Target: "itsme.result", Kind: kind})
			res, err := s.Login(s.Connector(), "approve", "florent")
			if err != nil || res.Confirmed != nil || res.Step != want {
				t.Errorf("%#v, %v; want %#v", res.Step, err, want)
			}
		})
	}
}

// TestLowerLevel: the app's code was asked for, and something else did.
func TestLowerLevel(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		gen   int
		level string
		want  connector.Step
	}{
		"first generation": {1, "basic", connector.Fail{Reason: eid.BadProof, Code: "level"}}, "second": {2, "basic", connector.Fail{Reason: eid.BadProof, Code: "level"}},
		"what was asked for": {2, "advanced", connector.Done{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(c *citsme.Settings) { c.Generation, c.Level = x.gen, x.level })
			c := s.Connector()
			r := s.Request
			begun, err := c.Begin(t.Context(), &r)
			if err != nil {
				t.Fatal(err)
			}
			var set citsme.Settings
			if err := json.Unmarshal(s.Request.Settings.Data, &set); err != nil {
				t.Fatal(err)
			}
			set.Level = "advanced" // and itsme was asked for less
			s.Use(set)
			if res, err := s.Finish(c, begun, s.Act(s.Page(begun.Step), "approve", "florent")); err != nil || res.Step != x.want {
				t.Errorf("%#v, %v", res.Step, err)
			}
		})
	}
}

// TestRefused: what itsme says instead of a person, and to whom.
func TestRefused(t *testing.T) {
	t.Parallel()
	a, err := citsme.Dialect().Read([]byte(`{}`), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		where, code string
		want        connector.Fail
	}{
		{"authorization", "access_denied", connector.Fail{Reason: eid.Cancelled, Code: "access_denied"}},
		{"authorization", "interaction_required", connector.Fail{Reason: eid.Declined, Code: "interaction_required"}},
		{"authorization", "temporary_unavailable", connector.Fail{Reason: eid.Unavailable, Code: "temporary_unavailable", Retry: true}},
		{"authorization", "temporarily_unavailable", connector.Fail{Reason: eid.Unavailable, Code: "temporarily_unavailable", Retry: true}},
		{"authorization", "invalid_client_id", connector.Fail{Reason: eid.Refused, Code: "invalid_client_id"}},
		{"authorization", "Florent", connector.Fail{Reason: eid.Refused, Code: "unknown"}},
		{"token", "access_denied", connector.Fail{Reason: eid.Refused, Code: "access_denied"}},
		{"token", "invalid_grant", connector.Fail{Reason: eid.Refused, Code: "invalid_grant"}},
	} {
		if got := a.Refused(&oidcrp.Refused{Where: x.where, Code: x.code}); got != x.want {
			t.Errorf("%s %s: %+v, want %+v", x.where, x.code, got, x.want)
		}
	}
}

// TestAnotherPerson: somebody was asked for, and another one came.
func TestAnotherPerson(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.Request.Pinned = "75061500003"
	res, err := s.Login(s.Connector(), "approve", "florent")
	if err != nil || res.Confirmed != nil || res.Step != (connector.Fail{Reason: eid.WrongPerson, Code: "another_person"}) {
		t.Errorf("%#v, %v", res.Step, err)
	}
	if res, err := s.Login(s.Connector(), "approve", "onenaam"); err != nil || res.Confirmed == nil {
		t.Errorf("the right one: %#v, %v", res.Step, err)
	}
}

// TestReturns: what is no answer changes nothing, and an answer of another
// provider ends the login.
func TestReturns(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.Connector()
	r := s.Request
	begun, err := c.Begin(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	good := s.Act(s.Page(begun.Step), "approve", "florent")
	for name, x := range map[string]struct {
		change func(url.Values)
		want   string
	}{
		"another state":    {func(q url.Values) { q.Set("state", "x") }, "redirect"},
		"no code":          {func(q url.Values) { q.Del("code") }, "redirect"},
		"two codes":        {func(q url.Values) { q.Add("code", "x") }, "redirect"},
		"another provider": {func(q url.Values) { q.Set("iss", "https://other.example") }, "fail"},
		"a made-up code":   {func(q url.Values) { q.Set("code", "x") }, "fail"},
	} {
		q, _ := url.ParseQuery(good.In.Query.Encode())
		x.change(q)
		res, err := c.Resume(t.Context(), &r, begun.State, connector.Returned{In: connector.Inbound{Method: http.MethodGet, Query: q}})
		if err != nil || connector.StepName(res.Step) != x.want || res.Confirmed != nil {
			t.Errorf("%s: %#v, %v; want %s", name, res.Step, err, x.want)
		}
	}
	if s, err := c.Locate(connector.Inbound{Query: url.Values{"state": {"a", "b"}}}); err == nil {
		t.Errorf("two states name %q", s)
	}
}

// TestLink: who is sent to itsme, or was given its link, may take their time.
func TestLink(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.Connector()
	r := s.Request
	begun, err := c.Begin(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Clock.Advance(59 * time.Minute)
	if res, err := s.Finish(c, begun, s.Act(s.Page(begun.Step), "approve", "florent")); err != nil || res.Confirmed == nil {
		t.Errorf("%#v, %v", res.Step, err)
	}
}

// TestWanted: a party that wants certain attributes is told those alone.
func TestWanted(t *testing.T) {
	t.Parallel()
	s := newService(t, func(c *citsme.Settings) {
		c.Claims = []string{"age_gte_18", "document_number", "document_type", "issuing_country", "valid_from", "valid_to", "verified_at", "issuance_locality", "device", "citizenship"}
	})
	c := s.Connector()
	who := func(wanted ...string) *eid.Identity {
		t.Helper()
		s.Request.Wanted = wanted
		res, err := s.Login(c, "approve", "florent")
		if err != nil || res.Confirmed == nil {
			t.Fatalf("%v: %#v, %v", wanted, res.Step, err)
		}
		return res.Confirmed
	}
	if id := who(); id.Name == "" || id.Number == "" || id.Address == nil || id.Signals["document_number"] == "" {
		t.Errorf("everything: %#v", *id)
	}
	if id := who(eid.WantDocument, eid.WantDevice); id.Signals["document_number"] != "592000000182" || id.Signals["document_type"] != "I" || id.Signals["document_country"] != "BEL" ||
		id.Signals["document_valid_from"] != "2020-11-10T00:00:00Z" || id.Signals["document_valid_to"] != "2030-11-10T00:00:00Z" || id.Signals["document_issued_at"] != "BRUXELLES" ||
		id.Signals["document_read"] != "2023-04-12T15:02:23Z" || id.Signals["device_os"] != "ANDROID" || id.Signals["device_rooted"] != "false" || id.Name != "" {
		t.Errorf("document and device: %v", id.Signals)
	}
	if id := who(eid.WantID, eid.WantNumber, eid.WantName); id.Name == "" || id.Number == "" || id.Address != nil || id.Email != "" || id.Phone != "" || id.Signals["document_number"] != "" || id.Signals["age_gte_18"] != "" {
		t.Errorf("name and number: %#v", *id)
	}
	if id := who(eid.WantID); id.Name == "" || id.Number != "" || id.Email != "" {
		t.Errorf("who comes again, over a service that must share: %#v", *id)
	}
	login := newService(t, func(c *citsme.Settings) { c.Login = "SHOP_LOGIN" })
	login.Request.Wanted = []string{eid.WantID}
	if res, err := login.Login(login.Connector(), "approve", "florent"); err != nil || res.Confirmed == nil || res.Confirmed.Name != "" || len(res.Confirmed.Subject) != 36 {
		t.Errorf("over a service that logs in: %#v, %v", res, err)
	}
	if id := who(eid.WantAdult); id.Name != "" || id.Number != "" || id.Birth != "" || id.Signals["age_gte_18"] != "true" || len(id.Subject) != 36 {
		t.Errorf("18 or older: %#v", *id)
	}
}

// TestAdult: whether somebody is 18 is itsme's own word where the contract has
// it, and else made of the birth date; unknown is neither.
func TestAdult(t *testing.T) {
	t.Parallel()
	const own = "age_gte_18"
	for name, x := range map[string]struct {
		claims []string
		gen    int
		who    string
		want   string
	}{
		"of age, in itsme's word":            {[]string{own}, 2, "florent", "true"},
		"a minor, in itsme's word":           {[]string{own}, 2, "jonge", "false"},
		"unknown, in itsme's word":           {[]string{own}, 2, "sansdate", ""},
		"of age, by the date":                {nil, 2, "florent", "true"},
		"a minor, by the date":               {[]string{"device"}, 2, "jonge", "false"},
		"unknown, by the date":               {nil, 2, "sansdate", ""},
		"first generation, a contract as it": {[]string{own}, 1, "jonge", "false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(c *citsme.Settings) { c.Generation, c.Claims, c.Login = x.gen, x.claims, "SHOP_LOGIN" })
			s.Request.Wanted = []string{eid.WantAdult}
			res, err := s.Login(s.Connector(), "approve", x.who)
			if err != nil || res.Confirmed == nil {
				t.Fatalf("%#v, %v", res.Step, err)
			}
			got, id := "", res.Confirmed
			switch {
			case id.Approved != nil:
				got = strconv.FormatBool(*id.Approved)
			case id.Age != nil:
				got = strconv.FormatBool(*id.Age >= 18)
			}
			if got != x.want || id.Number != "" || id.Address != nil || x.gen == 2 && len(x.claims) > 0 && x.claims[0] == own && id.Name != "" {
				t.Errorf("told %q, want %q: %#v", got, x.want, *id)
			}
		})
	}
}

// TestTokenIsRefused: itsme will take its own token the next time no more than
// now, so nobody waits; 503 is another matter.
func TestTokenIsRefused(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"401", "403", "503"} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.Config.Faults.Add(sandbox.Fault{Target: "itsme.userinfo", Kind: "http", Value: status})
			res, err := s.Login(s.Connector(), "approve", "florent")
			f, failed := res.Step.(connector.Fail)
			if failed != (status != "503") || (err == nil) != failed || failed && (f.Reason != eid.Unavailable || !f.Retry) {
				t.Errorf("%#v, %v", res.Step, err)
			}
		})
	}
}

// TestAnotherBrowser: an app opens another browser than the one that began, and
// the person says there that it was them.
func TestAnotherBrowser(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.Connector()
	r := s.Request
	resume := func(state []byte, e connector.Event) connector.Result {
		t.Helper()
		res, err := c.Resume(t.Context(), &r, state, e)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	begun, err := c.Begin(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	e := s.Act(s.Page(begun.Step), "approve", "florent")
	e.Foreign = true
	asks := resume(resume(begun.State, e).State, connector.Tick{})
	if w, ok := asks.Step.(connector.Wait); !ok || !w.Asks || asks.Confirmed == nil {
		t.Fatalf("%#v", asks)
	}
	if res := resume(asks.State, e); connector.StepName(res.Step) != "wait" {
		t.Errorf("the page is loaded again: %#v", res.Step)
	}
	post := e
	post.In.Method = http.MethodPost
	if res := resume(asks.State, post); connector.StepName(res.Step) != "done" || res.Binding != eid.Weak {
		t.Errorf("yes: %#v", res)
	}
	own := e
	own.Foreign = false
	if res := resume(asks.State, own); connector.StepName(res.Step) != "done" || res.Binding != "" {
		t.Errorf("in the browser that began: %#v", res)
	}
	made := post
	made.In.Query = url.Values{"state": {"x"}}
	if res := resume(asks.State, made); connector.StepName(res.Step) != "wait" {
		t.Errorf("another state: %#v", res.Step)
	}
	if res := resume(asks.State, connector.Expired{}); res.Step != (connector.Fail{Reason: eid.BrowserNotReturned}) {
		t.Errorf("nobody says it: %#v", res.Step)
	}
}

// TestSettings: what is wrong with a contract is said before anybody uses it.
func TestSettings(t *testing.T) {
	t.Parallel()
	ok := func() citsme.Settings {
		return citsme.Settings{Settings: openid.Settings{Issuer: "https://idp.example/v2", ClientID: "c", Auth: oidcrp.SecretPost, Secret: "hidden"}, Service: "S"}
	}
	if err := citsme.Dialect().Check(ok()); err != nil {
		t.Fatal(err)
	}
	for word, change := range map[string]func(*citsme.Settings){
		"generation":         func(s *citsme.Settings) { s.Generation = 3 },
		"first generation":   func(s *citsme.Settings) { s.Generation = 1 },
		"service":            func(s *citsme.Settings) { s.Service = "" },
		"level":              func(s *citsme.Settings) { s.Level = "high" },
		"claims":             func(s *citsme.Settings) { s.Claims = []string{"shoe_size"} },
		"client_secret_post": func(s *citsme.Settings) { s.Auth = oidcrp.SecretBasic },
		"keys":               func(s *citsme.Settings) { s.Auth = oidcrp.PrivateKeyJWT },
		"PEM":                func(s *citsme.Settings) { s.Keys = []openid.Key{{ID: "a", Use: "sig", Alg: "RS256", PEM: "secret"}} },
		"issuer":             func(s *citsme.Settings) { s.Issuer = "http://idp.example" },
	} {
		s := ok()
		change(&s)
		if err := citsme.Dialect().Check(s); err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", word, err)
		}
	}
}
