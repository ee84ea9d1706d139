package zignsec

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/eid"
)

func jwt(claims string) []byte {
	return []byte("e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln")
}

// TestNobodyIsHeld: a number is checked by a method that can hold somebody to it,
// and refused by every other, whose session anybody could complete.
func TestNobodyIsHeld(t *testing.T) {
	t.Parallel()
	a := &API{c: Config{Now: time.Now}}
	for _, m := range methods {
		if m.eid == "" { // not served
			continue
		}
		_, err := a.number("80010299946", m)
		p, ok := errors.AsType[*problem](err)
		if holds := m.number == "NO"; holds != (err == nil) || !holds && (!ok || p.Code != "INVALID_PERSONALNUMBER" || strings.Contains(p.Description, "800102")) {
			t.Errorf("%s: %v", m.name, err)
		}
		if got, err := a.number("", m); got != "" || err != nil {
			t.Errorf("%s without a number: %q, %v", m.name, got, err)
		}
	}
}

// TestNamesOfV3: given name and surname, or what ZignSec's published sample has.
func TestNamesOfV3(t *testing.T) {
	t.Parallel()
	age := 41
	who := &eid.Identity{EID: eid.Itsme, At: time.Date(2021, 5, 11, 16, 34, 19, 672735400, time.UTC), Subject: "s", Country: "BE", Name: "Florent Verschueren", Given: "Florent", Family: "Verschueren",
		Birth: "1980-01-02", Age: &age, Gender: "male", Phone: "+32 425009714", Email: "user@example.be", Address: &eid.Address{Lines: []string{"Havenlaan 2"}, City: "Brussel", PostalCode: "1000"}}
	s := &broker.Session{ID: "9b2f7c0a-2f0d-4b3a-9a53-5a3a0f6d7e21", State: broker.Finished, EID: eid.Itsme}
	for legacy, names := range map[bool]string{
		false: `"firstName":"Florent","lastName":"Verschueren","fullName":"Florent Verschueren"`,
		true:  `"firstName":"Florent Verschueren","lastName":"Verschueren","fullName":"Florent Verschueren Verschueren"`,
	} {
		got, err := render3(s, &payload{Third: true, LegacyNames: legacy}, who, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"id":"9b2f7c0a-2f0d-4b3a-9a53-5a3a0f6d7e21","state":"Finished","errors":[],"identity":{"countryCode":"BE",` + names +
			`,"personalNumber":"","dateOfBirth":"1980-01-02","age":41,"gender":"male","phone":"+32 425009714","email":"user@example.be","addressInfoRaw":"Havenlaan 2,Brussel,1000",` +
			`"idProviderName":"ItsMe","identificationDate":"2021-05-11T16:34:19.6727354Z","idProviderAuthenticityScore":"NOT_SET"},"providerData":`
		if !strings.HasPrefix(string(got), want) {
			t.Errorf("legacy %v:\n got %s\nwant %s", legacy, got, want)
		}
	}
}

// TestNodeOfItsme: what itsme says beside the identity is an object in v2, and the
// text of it in v3.
func TestNodeOfItsme(t *testing.T) {
	t.Parallel()
	s := &broker.Session{ID: "9b2f7c0a-2f0d-4b3a-9a53-5a3a0f6d7e21", State: broker.Finished, EID: eid.Itsme}
	evidence := []eid.Evidence{{Name: "userinfo", Data: jwt(`{"sub":"s","address":{"street_address":"Havenlaan 2","locality":"Brussel","postal_code":"1000"}}`)}}
	var second struct {
		ItsMe json.RawMessage
	}
	var third struct {
		ProviderData string
	}
	for isThird, into := range map[bool]any{false: &second, true: &third} {
		pay, err := json.Marshal(payload{Third: isThird})
		if err != nil {
			t.Fatal(err)
		}
		got, err := render(s, &broker.Spec{Payload: pay}, &eid.Identity{EID: eid.Itsme, Subject: "s"}, evidence, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, into); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(second.ItsMe); got != third.ProviderData || !strings.Contains(got, `"ParsedAddress":{"country":"BE","street_address":"Havenlaan 2"`) {
		t.Errorf("v2 has %s, v3 %s", got, third.ProviderData)
	}
}

// TestIdentityOfV3: every eID but itsme, whose sample has none, names the person
// and the transaction, and an address is that of the other APIs.
func TestIdentityOfV3(t *testing.T) {
	t.Parallel()
	const none = `"addressInfoRaw":""`
	for name, x := range map[string]struct {
		who          eid.Identity
		address, end string
	}{
		"a suffix of digits": {eid.Identity{EID: eid.IDIN, Request: "0030000000000001", Subject: "NLABNA0f3c5e", Address: &eid.Address{Street: "Pascalstreet", Number: "19", Suffix: "2", Extra: "achter", City: "Aachen", PostalCode: "1234AB"}},
			`"addressInfoRaw":"Pascalstreet 19 2 achter,Aachen,1234AB"`, `"idProviderRequestId":"0030000000000001","idProviderPersonId":"NLABNA0f3c5e"`},
		"a suffix of letters": {eid.Identity{EID: eid.IDIN, Request: "2", Subject: "TRANSx", Address: &eid.Address{Street: "Pascalstreet", Number: "19", Suffix: "A", City: "Aachen"}},
			`"addressInfoRaw":"Pascalstreet 19A,Aachen"`, `"idProviderRequestId":"2"`},
		"lines":          {eid.Identity{EID: eid.IDIN, Request: "3", Subject: "b", Address: &eid.Address{Lines: []string{"Havenlaan 2", "", "1000 Brussel"}, Country: "BE"}}, `"addressInfoRaw":"Havenlaan 2 1000 Brussel"`, `"idProviderRequestId":"3","idProviderPersonId":"b"`},
		"MitID":          {eid.Identity{EID: eid.MitID, Request: "t", Subject: "u", Address: &eid.Address{Street: "Vej", Number: "10", Suffix: "2 tv", PostalCode: "8240", City: "Risskov"}}, `"addressInfoRaw":"Vej 10 2 tv,Risskov,8240"`, `"idProviderRequestId":"t","idProviderPersonId":"u"`},
		"Swedish BankID": {eid.Identity{EID: eid.BankIDSE, Request: "o", Subject: "199001012385", Number: "199001012385"}, none, `"idProviderRequestId":"o"`},
		"Norwegian":      {eid.Identity{EID: eid.BankIDNO, Request: "t", Subject: "9578-6000-4-000017"}, none, `"idProviderRequestId":"t","idProviderPersonId":"9578-6000-4-000017"`},
		"an age check":   {eid.Identity{EID: eid.IDINAge, Request: "5", Subject: "1255120"}, none, ``},
		"itsme":          {eid.Identity{EID: eid.Itsme, Request: "5", Subject: "s"}, none, ``},
	} {
		raw, err := marshal(newIdentity3(&x.who, &payload{}))
		if err != nil {
			t.Fatal(err)
		}
		if x.end != "" {
			x.end = "," + x.end
		}
		got := string(raw)
		_, end, _ := strings.Cut(got, `"idProviderAuthenticityScore":"NOT_SET"`)
		if !strings.Contains(got, x.address+",") || end != x.end+"}" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestProviderData: both generations of itsme come to the user that older clients
// know, and what is not said is null.
func TestProviderData(t *testing.T) {
	t.Parallel()
	const nothing = `{"sub":null,"aud":null,"eid":null,"birthdate":null,"city_of_birth":null,"gender":null,"name":null,"iss":null,"phone_number":null,"phone_number_verified":null,` +
		`"given_name":null,"family_name":null,"locale":null,"email":null,"email_verified":null,"address":null,"ParsedAddress":null,"nationality":null,"photo":null,"device":null}`
	for name, x := range map[string]struct{ info, want string }{
		"nothing":  {`{}`, nothing},
		"no token": {`x`, nothing},
		"second": {`{"sub":"a","address":{"locality":"Brussel","street_address":"Havenlaan 2","postal_code":"1000","formatted":"x"},"http://itsme.services/v2/claim/place_of_birth":{"city":"Brussel"},
			"http://itsme.services/v2/claim/claim_citizenship":"belge","http://itsme.services/v2/claim/physical_person_photo":{"value":"/9j/"},"http://itsme.services/v2/claim/BENationalNumber":"80010299946","http://itsme.services/v2/claim/BEeidSn":"592"}`,
			`{"sub":"a","eid":{"eid":"592","national_number":"80010299946"},"city_of_birth":"Brussel","address":"{\"country\":\"BE\",\"street_address\":\"Havenlaan 2\",\"locality\":\"Brussel\",\"postal_code\":\"1000\"}",
			"ParsedAddress":{"country":"BE","street_address":"Havenlaan 2","locality":"Brussel","postal_code":"1000"},"nationality":"belge","photo":"/9j/"}`},
		"first": {`{"sub":"a","address":"{\"country\":\"BE\",\"street_address\":\"Havenlaan 2\",\"locality\":\"Brussel\",\"postal_code\":\"1000\"}","tag:itsmetag:sixdots.be,2016-06:claim_nationality":"belge",
			"tag:sixdots.be,2016-06:claim_eid":{"eid":"592"},"tag:sixdots.be,2017-05:claim_photo":"/9j/"}`,
			`{"sub":"a","eid":{"eid":"592"},"address":"{\"country\":\"BE\",\"street_address\":\"Havenlaan 2\",\"locality\":\"Brussel\",\"postal_code\":\"1000\"}",
			"ParsedAddress":{"country":"BE","street_address":"Havenlaan 2","locality":"Brussel","postal_code":"1000"},"nationality":"belge","photo":"/9j/"}`},
	} {
		got, err := marshal(newItsmeUser([]eid.Evidence{{Name: "userinfo", Data: jwt(x.info)}}))
		if err != nil {
			t.Fatal(err)
		}
		var g, w map[string]any
		if err := json.Unmarshal(got, &g); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(x.want), &w); err != nil {
			t.Fatal(err)
		}
		if len(g) != 20 {
			t.Errorf("%s has %d members", name, len(g))
		}
		for key, v := range g {
			a, _ := json.Marshal(v)      // they were JSON
			b, _ := json.Marshal(w[key]) // likewise
			if string(a) != string(b) {
				t.Errorf("%s: %s = %s, want %s", name, key, a, b)
			}
		}
	}
}
