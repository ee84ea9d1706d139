package itsme_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image/jpeg"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	citsme "eidgate/connector/itsme"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/sandbox"
)

const ns = "http://itsme.services/v2/claim/"

// done logs somebody in, who must be confirmed.
func (s *service) done(c *openid.Connector, person string) connector.Result {
	s.T.Helper()
	res, err := s.Login(c, "approve", person)
	if err != nil || res.Confirmed == nil {
		s.T.Fatalf("%s: %#v, %v", person, res.Step, err)
	}
	return res
}

// asks are the claims that settings ask for by name.
func asks(t *testing.T, set citsme.Settings, wanted ...string) (scope string, claims []string) {
	t.Helper()
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	a, err := citsme.Dialect().Read(raw, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	out, no := a.Ask(&connector.Request{Wanted: wanted})
	if no != nil {
		t.Fatal(no)
	}
	var parts map[string]map[string]any
	if out.Objects["claims"] != nil {
		if err := json.Unmarshal(out.Objects["claims"], &parts); err != nil {
			t.Fatal(err)
		}
	}
	for name := range parts["userinfo"] {
		claims = append(claims, name)
	}
	slices.Sort(claims)
	return out.Scope, claims
}

// TestAsked: a contract asks for the numbers of the countries that it lists.
func TestAsked(t *testing.T) {
	t.Parallel()
	number := func(prefix string) string { return ns + prefix + "NationalNumber" }
	for name, x := range map[string]struct {
		set    citsme.Settings
		wanted []string
		want   string
	}{
		"Belgium":             {citsme.Settings{Claims: []string{"national_number"}}, nil, number("BE")},
		"Romania":             {citsme.Settings{Claims: []string{"national_number_ro"}}, nil, number("RO")},
		"some":                {citsme.Settings{Claims: []string{"national_number", "national_number_bg", "national_number_sv"}}, nil, number("BE") + " " + number("BG") + " " + number("SV")},
		"wanted":              {citsme.Settings{Claims: []string{"national_number_md", "device"}}, []string{eid.WantNumber}, number("MD")},
		"not wanted":          {citsme.Settings{Claims: []string{"national_number_md", "device"}}, []string{eid.WantName}, ""},
		"in the first":        {citsme.Settings{Generation: 1, Claims: []string{"national_number_ro", "transaction_info"}}, nil, "tag:sixdots.be,2017-05:claim_transaction_info"},
		"transaction, second": {citsme.Settings{Claims: []string{"transaction_info"}}, nil, ""},
		"an old device":       {citsme.Settings{Generation: 1, Claims: []string{"device"}, OldDevice: true}, nil, "tag:sixdots.be,2016-06:claim_device"},
	} {
		if _, got := asks(t, x.set, x.wanted...); strings.Join(got, " ") != x.want {
			t.Errorf("%s: asks for %v, want %s", name, got, x.want)
		}
	}
	if scope, _ := asks(t, citsme.Settings{Service: "S", Scopes: []string{"profile", "idDocument"}}, eid.WantDocument); scope != "openid service:S idDocument" {
		t.Errorf("a document is asked for with %q", scope)
	}
}

// TestServices: who comes again, and how to reach them, is a login's business; who
// somebody is is not.
func TestServices(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		login  string
		wanted []string
		want   string
	}{
		"who comes again":       {"L", []string{eid.WantID}, "service:L"},
		"and how to reach them": {"L", []string{eid.WantID, eid.WantEmail, eid.WantPhone}, "service:L email phone"},
		"a name":                {"L", []string{eid.WantID, eid.WantName, eid.WantEmail}, "service:S profile email"},
		"a number":              {"L", []string{eid.WantNumber, eid.WantEmail}, "service:S email eid"},
		"everything":            {"L", nil, "service:S profile email phone address eid"},
		"one service":           {"", []string{eid.WantID, eid.WantEmail}, "service:S email"},
		"one service, no data":  {"", []string{eid.WantID}, "service:S profile"},
	} {
		if scope, _ := asks(t, citsme.Settings{Service: "S", Login: x.login}, x.wanted...); scope != "openid "+x.want {
			t.Errorf("%s: asks for %s, want openid %s", name, scope, x.want)
		}
	}
}

// TestOtherCountries: people whose documents are of other countries, with their
// numbers.
func TestOtherCountries(t *testing.T) {
	t.Parallel()
	countries := map[string]string{"ROU": "RO", "BGR": "BG", "CZE": "CZ", "SVK": "SK", "HRV": "HR", "LTU": "LT", "SVN": "SI", "LVA": "LV", "MLT": "MT", "SRB": "RS", "MDA": "MD"}
	s := newService(t, func(set *citsme.Settings) {
		set.Claims = []string{"issuing_country", "national_number"}
		for _, two := range countries {
			set.Claims = append(set.Claims, "national_number_"+strings.ToLower(two))
		}
	})
	c := s.Connector()
	for three, two := range countries {
		key := strings.ToLower(three)
		if err := s.Config.People.Put(sandbox.Person{Key: key, Country: two, Given: "A", Family: "B", Itsme: &sandbox.Itsme{Birth: "1990-01-01", Document: "D" + three, DocumentType: "I", Issuer: three, NationalNumber: "N" + two}}); err != nil {
			t.Fatal(err)
		}
		if id := s.done(c, key).Confirmed; string(id.Number) != "N"+two || id.Country != two || id.Signals["document_country"] != three {
			t.Errorf("%s: %s %s, %v", three, id.Country, string(id.Number), id.Signals)
		}
	}
	if id := s.done(c, "ionela").Confirmed; id.Number != "2910823000008" || id.Country != "RO" || id.Name != "Ionela Exemplu" || id.Address != nil || id.Birth != "1991-08-23" || id.Gender != "female" {
		t.Errorf("ionela is %#v", *id)
	}
	if id := s.done(c, "florent").Confirmed; id.Number != "80010299946" || id.Country != "BE" {
		t.Errorf("florent is %#v", *id)
	}
	if id := s.done(c, "camille").Confirmed; id.Number != "" || id.Country != "FR" {
		t.Errorf("camille is %#v", *id)
	}
	s.Request.Pinned = "2910823000008"
	s.done(c, "ionela")
	if res, err := s.Login(c, "approve", "florent"); err != nil || res.Step != (connector.Fail{Reason: eid.WrongPerson, Code: "another_person"}) {
		t.Errorf("somebody else than ionela: %#v, %v", res.Step, err)
	}

	sole := newService(t, func(set *citsme.Settings) { set.Claims = []string{"national_number_bg"} })
	if id := sole.done(sole.Connector(), "ionela").Confirmed; id.Number != "" {
		t.Errorf("a contract without Romania is told %s", string(id.Number))
	}
	slovene := newService(t, func(set *citsme.Settings) { set.Claims = []string{"national_number_sv"} })
	if err := slovene.Config.People.Put(sandbox.Person{Key: "ana", Country: "SI", Given: "Ana", Itsme: &sandbox.Itsme{Document: "D", DocumentType: "I", Issuer: "SVN", NationalNumber: "1"}}); err != nil {
		t.Fatal(err)
	}
	if id := slovene.done(slovene.Connector(), "ana").Confirmed; id.Number != "1" || id.Country != "SI" {
		t.Errorf("under the other spelling: %#v", *id)
	}
}

// userInfo is what was kept of UserInfo.
func userInfo(t *testing.T, res connector.Result) map[string]any {
	t.Helper()
	for _, e := range res.Evidence {
		if e.Name != "userinfo" {
			continue
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(string(e.Data), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]any
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Fatal("no UserInfo is kept")
	return nil
}

// isPhoto says whether a claim is a picture of the documented size.
func isPhoto(v any) bool {
	text, ok := v.(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		return false
	}
	m, err := jpeg.DecodeConfig(bytes.NewReader(raw))
	return err == nil && m.Width == 140 && m.Height == 200
}

// TestFirstGeneration: everything that the first generation tells, read from the
// simulator.
func TestFirstGeneration(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]bool{"device of 2017": false, "device of 2016": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(set *citsme.Settings) {
				set.Generation, set.OldDevice = 1, old
				set.Claims = []string{"national_number", "citizenship", "place_of_birth", "country_of_birth", "document_number", "device", "transaction_info", "photo", "birthdate_as_string"}
			})
			c := s.Connector()
			res := s.done(c, "florent")
			id := res.Confirmed
			for key, want := range map[string]string{"citizenship": "belge", "city_of_birth": "Brussel", "country_of_birth": "BE", "locale": "fr", "device_os": "ANDROID", "device_rooted": "false",
				"device_smsEnabled": "true", "device_imei": "000000000000000", "device_sdkRelease": "4.0.0", "device_hasSimEnabled": "true", "device_msisdn": "0032425009714",
				"transaction_securityLevel": "SOFT_ONLY", "transaction_bindLevel": "SOFT_ONLY", "transaction_mcc": "206",
				"document_number": "592000000182", "document_issued_at": "BRUXELLES", "document_valid_from": "2020-11-10T00:00:00Z", "document_valid_to": "2030-11-10T00:00:00Z", "document_read": "2023-04-12T15:02:23Z"} {
				if id.Signals[key] != want {
					t.Errorf("%s is %q, want %q", key, id.Signals[key], want)
				}
			}
			if id.Number != "80010299946" || id.Country != "BE" || id.Gender != "male" {
				t.Errorf("florent is %#v", *id)
			}
			info := userInfo(t, res)
			if info["locale"] != "fr" || !isPhoto(info["tag:sixdots.be,2017-05:claim_photo"]) {
				t.Errorf("locale %v, photo %.40v", info["locale"], info["tag:sixdots.be,2017-05:claim_photo"])
			}
			if sanne := s.done(c, "sanne").Confirmed; sanne.Signals["document_number"] != "SPECI2014" || sanne.Signals["country_of_birth"] != "" || sanne.Number != "" {
				t.Errorf("a passport: %#v", *sanne)
			}
		})
	}
}

// TestSecondGeneration: the claims of its catalogue, read from the simulator.
func TestSecondGeneration(t *testing.T) {
	t.Parallel()
	s := newService(t, func(set *citsme.Settings) {
		set.Claims = []string{"official_gender", "app", "account", "identification_mode", "transaction_ip", "ongoing_call", "photo", "device", "place_of_birth", "citizenship_iso"}
	})
	res := s.done(s.Connector(), "florent")
	for key, want := range map[string]string{"official_gender": "M", "app_appName": "be.bmid.itsme.e2e", "account_activationMechanism": "CONTACT_LESS", "identification_mode": "QR",
		"transaction_ip": "192.0.2.1", "ongoing_call": "false", "device_msisdn": "0032425009714", "city_of_birth": "Brussel", "country_of_birth": "BE", "citizenship_iso": "BEL", "locale": "fr"} {
		if got := res.Confirmed.Signals[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	info := userInfo(t, res)
	photo, ok := info[ns+"physical_person_photo"].(map[string]any)
	if !ok || photo["format"] != "image/jpeg" || !isPhoto(photo["value"]) || info["locale"] != "FR" || !strings.HasSuffix(info["picture"].(string), "/itsme/v2/picture") {
		t.Errorf("%v %v", info["locale"], info["picture"])
	}
}

// TestBothKeys: itsme encrypts to any of our keys.
func TestBothKeys(t *testing.T) {
	t.Parallel()
	for generation := 1; generation <= 2; generation++ {
		s := newService(t, func(set *citsme.Settings) { set.Generation = generation })
		c := s.Connector()
		seen := map[string]bool{}
		s.watch = func(kid string) { seen[kid] = true }
		for range 40 {
			if s.done(c, "florent"); len(seen) == 2 {
				break
			}
		}
		if !seen["enc1"] || !seen["enc2"] || len(seen) != 2 {
			t.Errorf("generation %d encrypts to %v", generation, seen)
		}
	}
}

// TestRetiredKeys: a key that we no longer use opens messages for another 24
// hours, and not for longer.
func TestRetiredKeys(t *testing.T) {
	t.Parallel()
	closed := connector.Fail{Reason: eid.BadProof, Code: "encryption"}
	s := newService(t)
	var set citsme.Settings
	if err := json.Unmarshal(s.Request.Settings.Data, &set); err != nil {
		t.Fatal(err)
	}
	retire := func(at time.Time, ids ...string) {
		t.Helper()
		for i := range set.Keys {
			set.Keys[i].Until = time.Time{}
			if slices.Contains(ids, set.Keys[i].ID) {
				set.Keys[i].Until = at
			}
		}
		raw, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		s.Request.Settings = connector.Settings{Key: t.Name() + at.String() + strings.Join(ids, ""), Data: raw}
	}
	published := func() (out []string) {
		t.Helper()
		raw, err := set.JWKS(s.Config.Clock.Now)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Keys []struct{ Kid string } }
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		for _, k := range got.Keys {
			out = append(out, k.Kid)
		}
		return out
	}
	c := s.Connector()
	at := s.Config.Clock.Now().Add(time.Hour)
	retire(at, "enc1", "enc2")
	for _, x := range []struct {
		name string
		at   time.Time
		want connector.Step
		keys string
	}{
		{"in use", at.Add(-time.Minute), connector.Done{}, "sig1 enc1 enc2"},
		{"just retired", at.Add(time.Second), connector.Done{}, "sig1 enc1 enc2"},
		{"retired for a day, almost", at.Add(24*time.Hour - 10*time.Second), connector.Done{}, "sig1 enc1 enc2"},
		{"retired for a day", at.Add(24 * time.Hour), closed, "sig1"},
		{"gone", at.Add(25 * time.Hour), closed, "sig1"},
	} {
		s.Config.Clock.Advance(x.at.Sub(s.Config.Clock.Now()))
		res, err := s.Login(c, "approve", "florent")
		if err != nil || res.Step != x.want || (res.Confirmed != nil) != (x.want == connector.Done{}) {
			t.Errorf("%s: %#v, %v; want %#v", x.name, res.Step, err, x.want)
		}
		if got := strings.Join(published(), " "); got != x.keys {
			t.Errorf("%s: published are %s, want %s", x.name, got, x.keys)
		}
	}

	// One key is gone, and the other one is in use: it depends on which of them
	// itsme takes.
	retire(s.Config.Clock.Now().Add(-25*time.Hour), "enc1")
	seen := map[string]bool{}
	var kids []string
	s.watch = func(kid string) { seen[kid], kids = true, append(kids, kid) }
	for range 60 {
		kids = nil
		res, err := s.Login(c, "approve", "florent")
		opens := !slices.Contains(kids, "enc1")
		if err != nil || opens != (res.Confirmed != nil) || !opens && res.Step != closed {
			t.Fatalf("encrypted to %v: %#v, %v", kids, res.Step, err)
		}
		if len(seen) == 2 && opens {
			return
		}
	}
	t.Errorf("itsme takes %v only, or never the one in use for both tokens", seen)
}

// kids are those of the encrypted tokens in an answer.
func kids(body []byte) (out []string) {
	var a struct {
		ID string `json:"id_token"`
	}
	if json.Unmarshal(body, &a) != nil {
		a.ID = string(body)
	}
	head, _, ok := strings.Cut(a.ID, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	var h struct{ Kid, Enc string }
	if ok && err == nil && json.Unmarshal(raw, &h) == nil && h.Enc != "" {
		out = append(out, h.Kid)
	}
	return out
}

// A listener passes an answer on, and keeps it.
type listener struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (l *listener) Write(b []byte) (int, error) {
	l.body.Write(b)
	return l.ResponseWriter.Write(b)
}

// TestNobodyActs: somebody whose app stays silent comes back when its time is
// over.
func TestNobodyActs(t *testing.T) {
	t.Parallel()
	s := newService(t)
	res, err := s.Login(s.Connector(), "expire", "tace")
	if err != nil || res.Confirmed != nil || res.Step != (connector.Fail{Reason: eid.Cancelled, Code: "access_denied"}) {
		t.Errorf("%#v, %v", res.Step, err)
	}
}
