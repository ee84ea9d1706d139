package claims_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/api/claims"
	"eidgate/eid"
	"eidgate/internal/golden"
	"eidgate/relying"
)

func ptr[T any](v T) *T { return &v }

var at = time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)

// vries is the person of iDIN's own examples.
func vries() *eid.Identity {
	return &eid.Identity{EID: eid.IDIN, At: at, Request: "1234000000000042", Issuer: "RABONL2U", Subject: "NLRABO3f1c0de9", Country: "NL",
		Level: "nl:bvn:bankid:1.0:loa3", Name: "VJ de Vries", Family: "de Vries", Initials: "VJ",
		Legal: eid.LastName{Prefix: "de", Name: "Vries"}, Preferred: eid.LastName{Prefix: "de", Name: "Vries-Jansen"}, Partner: eid.LastName{Prefix: "de", Name: "Jansen"},
		Birth: "1975-07-25", BirthText: "19750725", Age: ptr(51), Gender: "male", Sex: "1", Phone: "+31203051900", Email: "vj@example.nl",
		Address: &eid.Address{Street: "Pascalstreet", Number: "19", PostalCode: "0000AA", City: "Maastricht", Country: "NL"}}
}

// dam is a person of few data.
func dam() *eid.Identity {
	return &eid.Identity{EID: eid.IDIN, At: at, Subject: "NLABNA0f3c5e", Country: "NL", Name: "AB van Dam", Family: "van Dam", Initials: "AB",
		Legal: eid.LastName{Prefix: "van", Name: "Dam"}, Preferred: eid.LastName{Name: "Dam"}, Birth: "1980-02-29", BirthText: "19800229", Gender: "female", Sex: "2"}
}

func ada() *eid.Identity {
	return &eid.Identity{EID: eid.BankIDSE, At: at, Request: "131daac9", Subject: "199001012385", Country: "SE", Number: "199001012385", Name: "Ada Test",
		Given: "Ada", Family: "Test", Birth: "1990-01-01", Age: ptr(36), Kind: "mobile", Signals: map[string]string{"risk": "low", "mrtd": "true", "address": "equal"}}
}

func proofs(t testing.TB) []eid.Evidence {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile("../../protocol/bankidse/testdata/evidence/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.TrimSpace(b)
	}
	return []eid.Evidence{{Name: "bankidse.signature", Data: read("signature.b64")}, {Name: "bankidse.ocsp", Data: read("ocsp.b64")},
		{Name: "bankidse.request", Data: []byte(`{"orderRef":"131daac9","device":{"ipAddress":"203.0.113.24","uhi":"OZvYM9VvyiAmG7NA5jU5zqGcVpo="}}`)}}
}

func text(t testing.TB, o claims.Object) string {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What the headless API tells comes from the same proofs as sbid-extra.
func TestBankIDSE(t *testing.T) {
	t.Parallel()
	from, to, address := claims.BankIDSE(ada(), proofs(t))
	if from != "1756728000000" || to != "1788264000000" || address != "203.0.113.24" {
		t.Errorf("valid from %q to %q, at %q", from, to, address)
	}
	if from, to, address := claims.BankIDSE(ada(), nil); from+to+address != "" {
		t.Errorf("without proofs: %q, %q, %q", from, to, address)
	}
}

// florent is a person of itsme.
func florent() *eid.Identity {
	age := 46
	id := &eid.Identity{EID: eid.Itsme, Subject: "0a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r", Country: "BE", Number: "80010299946", Name: "Florent Verschueren", Given: "Florent", Family: "Verschueren",
		Birth: "1980-01-02", Age: &age, Gender: "male", Phone: "+32 425009714", Email: "florent@example.test", Address: &eid.Address{Lines: []string{"Havenlaan 2"}, PostalCode: "1000", City: "Brussel", Country: "BE"},
		Signals: map[string]string{"document_issued_at": "BRUXELLES", "document_valid_from": "2020-11-10T00:00:00Z", "document_valid_to": "2030-11-10T00:00:00Z", "document_read": "2023-04-12T15:02:23Z",
			"document_number": "592000000182", "document_type": "I", "document_country": "BEL", "phone_verified": "true", "email_verified": "false"}}
	for _, fact := range []string{"os", "appName", "appRelease", "deviceLabel", "debugEnabled", "deviceId", "osRelease", "manufacturer", "deviceLockLevel", "smsEnabled", "rooted", "imei", "deviceModel", "sdkRelease"} {
		id.Signals["device_"+fact] = "its " + fact
	}
	return id
}

// ola has a Norwegian BankID, hanne a MitID.
func ola() *eid.Identity {
	age := 36
	return &eid.Identity{EID: eid.BankIDNO, Subject: "9578-6000-4-000017", Country: "NO", Number: "01819010354", Name: "Ola Nordmann", Given: "Ola", Family: "Nordmann", Birth: "1990-01-01", Age: &age, Kind: "BID",
		Level: "urn:bankid:bid;LOA=4", Phone: "+4799999999", Email: "ola@example.test", Address: &eid.Address{Lines: []string{"Eksempelveien 1"}, PostalCode: "0001", City: "Oslo", Country: "NO"},
		Signals: map[string]string{"sid": "6b7c0a1e-0000-4000-8000-0000000000a1", "acr": "urn:bankid:bid;LOA=4", "amr": "bid, bid-mfa, bid-otp, bid-pwd", "auth_time": "1709206572", "originator": "CN=Bank CA 3,O=TestBank1 AS,C=NO;OriginatorId=9980",
			"updated_at": "1708682096000", "bankid_sub": "cf2e8a9d-6c8e-4f7e-9b0d-4d3d1c0b9a11"}}
}

func hanne() *eid.Identity {
	age := 41
	const substantial = "https://data.gov.dk/concept/core/nsis/Substantial"
	return &eid.Identity{EID: eid.MitID, Subject: "0b8e6f52-2222-4b22-9b22-0000000000b2", Country: "DK", Number: "8903859996", Name: "Hanne Hansen", Given: "Hanne", Family: "Hansen", Birth: "1985-03-29", Age: &age, Level: substantial,
		Signals: map[string]string{"has_cpr": "true", "idp_transaction_id": "e5c6f7a8-5555-4e55-8e55-0000000000e5", "cpr_source": "user", "protected": "true", "ial": substantial, "loa": substantial, "aal": substantial}}
}

var signicat, standard = claims.Format{}, claims.Format{Standard: true}

// TestExamples holds the examples that parties were given, byte for byte, but
// for sub.
func TestExamples(t *testing.T) {
	t.Parallel()
	of := func(s string) []string { return strings.Fields(s) }
	child := vries()
	child.EID, child.Approved = eid.IDINAge, ptr(false)
	adult := &eid.Identity{EID: eid.IDIN, Subject: "TRANS0815", Approved: ptr(true)}
	dane := &eid.Identity{EID: eid.MitID, Subject: "0b8e6f52-2222-4b22-9b22-0000000000b2", Country: "DK", Number: "0101901234", Name: "Bo Prøve", Given: "Bo",
		Family: "Prøve", Birth: "1990-01-01"}
	for _, c := range []struct {
		name   string
		scopes []string
		id     *eid.Identity
		f      claims.Format
		want   string
	}{
		{"few data of iDIN, scopes in another order than claims", of("openid profile idp-id gender date-of-birth idin-name"), dam(), signicat,
			`{"idp_id":"NLABNA0f3c5e","name":"AB van Dam","family_name":"van Dam","gender":"2","birthdate":"19800229",` +
				`"idin_legal_last_name":"Dam","idin_legal_last_name_prefix":"van","idin_preferred_last_name":"Dam","initials":"AB","idp_issuer":"idin"}`},
		{"all of iDIN", of("openid idp-id gender profile idin-name date-of-birth address phone email"), vries(), signicat,
			`{"idp_id":"NLRABO3f1c0de9","name":"VJ de Vries","family_name":"de Vries","email":"vj@example.nl",` +
				`"address":{"formatted":"Pascalstreet 19, 0000AA, Maastricht, NL","street_address":"Pascalstreet 19","locality":"Maastricht","postal_code":"0000AA","country":"NL"},` +
				`"phone_number":"+31203051900","gender":"1","birthdate":"19750725","idin_legal_last_name":"Vries","idin_legal_last_name_prefix":"de",` +
				`"idin_preferred_last_name":"Vries-Jansen","idin_preferred_last_name_prefix":"de","idin_partner_last_name":"Jansen","idin_partner_last_name_prefix":"de",` +
				`"initials":"VJ","idp_issuer":"idin"}`},
		{"iDIN as the standard has it", of("openid profile gender date-of-birth phone email"), vries(), standard,
			`{"name":"VJ de Vries","family_name":"de Vries","email":"vj@example.nl","email_verified":false,"phone_number":"+31203051900",` +
				`"phone_number_verified":false,"gender":"male","birthdate":"1975-07-25","idp_issuer":"idin"}`},
		{"an ID token of iDIN", claims.IDToken(of("openid profile idin-name idp-id date-of-birth gender"), relying.StandardScopes), dam(), signicat,
			`{"name":"AB van Dam","family_name":"van Dam","idp_issuer":"idin"}`},
		{"an age, and nothing else", of("openid eighteen-or-older"), adult, signicat, `{"eighteen_or_older":true,"idp_issuer":"idin"}`},
		{"too young", of("openid eighteen-or-older"), child, claims.Format{Strings: true}, `{"eighteen_or_older":"false","idp_issuer":"idin"}`},
		{"a name that is new each time is nobody's", of("openid idp-id eighteen-or-older"), adult, signicat, `{"eighteen_or_older":true,"idp_issuer":"idin"}`},
		{"Swedish BankID", of("openid profile nin idp-id"), ada(), signicat,
			`{"idp_id":"199001012385","name":"Ada Test","family_name":"Test","given_name":"Ada","birthdate":"1990-01-01","nin":"199001012385","nin_type":"PERSON","nin_issuing_country":"SE"}`},
		{"MitID", of("openid profile nin idp-id"), dane, signicat,
			`{"idp_id":"0b8e6f52-2222-4b22-9b22-0000000000b2","name":"Bo Prøve","family_name":"Prøve","given_name":"Bo","birthdate":"1990-01-01","nin":"0101901234","nin_type":"PERSON","nin_issuing_country":"DK","idp_issuer":"MitID"}`},
		{"ages from a birth date", of("age-verification eighteen-or-older age"), ada(), signicat,
			`{"age":36,"eighteen_or_older":true,"twelve_or_older":true,"fourteen_or_older":true,"sixteen_or_older":true,"twenty_one_or_older":true,"sixty_five_or_older":false}`},
		{"everything as text", of("age-verification eighteen-or-older age"), ada(), claims.Format{Strings: true},
			`{"age":"36","eighteen_or_older":"true","twelve_or_older":"true","fourteen_or_older":"true","sixteen_or_older":"true","twenty_one_or_older":"true","sixty_five_or_older":"false"}`},
		{"names in all spellings", of("name profile"), ada(), signicat,
			`{"name":"Ada Test","family_name":"Test","given_name":"Ada","birthdate":"1990-01-01","first_name":"Ada","last_name":"Test"}`},
		{"nothing for scopes that are not served", of("openid nationality lookup"), vries(), signicat, `{"idp_issuer":"idin"}`},
		{"nothing without scopes", nil, vries(), signicat, `{"idp_issuer":"idin"}`},
		{"nothing is null", claims.Scopes(), &eid.Identity{EID: eid.BankIDSE}, standard, `{}`},
	} {
		got := claims.For(c.scopes, c.id, c.f)
		if i := claims.Issuer(c.id); i != "" {
			got = append(got, claims.Claim{Name: "idp_issuer", Value: i})
		}
		if got := text(t, got); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestTable prints what every scope releases of some persons in both formats.
func TestTable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, id := range []*eid.Identity{vries(), {EID: eid.IDINAge, Subject: "271828", Approved: ptr(true), Check: &eid.AgeCheck{ID: 271828, Status: 6}}, florent(), ola(), hanne(), ada()} {
		fmt.Fprintf(&out, "# %s\n", id.EID)
		for _, s := range claims.Scopes() {
			if s == "sbid-evidence" {
				continue // as long as it is; see TestProofs
			}
			a, b := text(t, claims.For([]string{s}, id, signicat, proofs(t)...)), text(t, claims.For([]string{s}, id, standard, proofs(t)...))
			if fmt.Fprintf(&out, "%s\n  %s\n", s, a); a != b {
				fmt.Fprintf(&out, "  %s\n", b)
			}
		}
	}
	golden.File(t, "testdata/table.txt", []byte(out.String()))
}

// TestProofs holds that proofs are told as they came.
func TestProofs(t *testing.T) {
	t.Parallel()
	all := proofs(t)
	got := claims.For([]string{"sbid-evidence"}, ada(), signicat, all...)
	want := claims.Object{{Name: "sbid_ocsp_response", Value: string(all[1].Data)}, {Name: "sbid_xml_signature", Value: string(all[0].Data)}}
	if !slices.Equal(got, want) || len(all[0].Data) < 5000 {
		t.Errorf("%s", text(t, got))
	}
}

// TestForeignProofs holds that proofs are read for BankID alone, and that what
// cannot be read gives nothing.
func TestForeignProofs(t *testing.T) {
	t.Parallel()
	scopes := []string{"sbid-extra", "sbid-evidence"}
	if got := claims.For(scopes, vries(), signicat, proofs(t)...); len(got) != 0 {
		t.Errorf("iDIN has proofs of BankID: %s", text(t, got))
	}
	broken := proofs(t)
	for i := range broken {
		broken[i].Data = broken[i].Data[:len(broken[i].Data)/10]
	}
	got := claims.For([]string{"sbid-extra"}, ada(), signicat, broken...)
	if want := `{"sbid_mrtd":"true"}`; text(t, got) != want {
		t.Errorf("broken proofs: %s, want %s", text(t, got), want)
	}
}

// notTold are the fields of an identity that no party hears of, and why.
var notTold = map[string]string{
	"At":      "auth_time is the provider's, of the login; this is the same moment",
	"Request": "the upstream's name for its transaction; parties get ours, transaction_id",
	"Issuer":  "idp_issuer is the scheme; which bank somebody uses is more than was asked for",
	"Kind":    "no claim of Signicat's has it; the certificate says it to who asks for that",
	"Former":  "for whoever migrates names, by import; a party that has both could join two accounts",
	"Partial": "a member that is absent says so already",
	"Check":   "number and outcome are words of another API; eighteen_or_older is the answer",
}

// TestEveryFieldIsToldOrNot takes each field away in turn: what parties are
// told changes, or the field is in the list above.
func TestEveryFieldIsToldOrNot(t *testing.T) {
	t.Parallel()
	full := func(e eid.EID) *eid.Identity {
		id := vries()
		id.EID, id.Number, id.Given, id.Kind, id.Former, id.Partial = e, "199001012385", "Ada", "mobile", "NLOLD", true
		id.BirthText = "19750700"
		id.Approved, id.Check, id.Signals = ptr(false), &eid.AgeCheck{ID: 1, Status: 6}, map[string]string{"mrtd": "true"}
		return id
	}
	told := func(id *eid.Identity) string {
		return text(t, claims.For(claims.Scopes(), id, signicat)) + text(t, claims.For(claims.Scopes(), id, standard)) +
			claims.IDP(id.EID) + claims.ACR(id) + claims.Issuer(id)
	}
	fields := reflect.TypeFor[eid.Identity]()
	seen := 0
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		changes := false
		for _, e := range []eid.EID{eid.IDIN, eid.BankIDSE} {
			less := full(e)
			if reflect.ValueOf(less).Elem().Field(i).IsZero() {
				t.Fatalf("%s is not filled", name)
			}
			reflect.ValueOf(less).Elem().Field(i).SetZero()
			changes = changes || told(less) != told(full(e))
		}
		reason, listed := notTold[name]
		if changes == listed || listed && reason == "" {
			t.Errorf("%s: told %v, listed as not told %v", name, changes, listed)
		}
		if listed {
			seen++
		}
	}
	if seen != len(notTold) {
		t.Errorf("%d of %d listed fields exist", seen, len(notTold))
	}
}

// published is the order in which Signicat publishes scopes.
const published = "openid profile email address phone gender date-of-birth age eighteen-or-older age-verification nationality nin marital-status risk spid " +
	"spid-extra idin-name idp-id mitid-extra mitid-business mitid-private-business nemid-extra eherkenning-extra eherkenning-complete mobileid mobileid-extra " +
	"buypass-extra klarna-extra beid-extra name itsme-eid itsme-device aeat-extra acting-nin lookup lookup-extra nbid-extra sbid-extra sbid-evidence offline_access"

func TestScopes(t *testing.T) {
	t.Parallel()
	want := slices.DeleteFunc(strings.Fields(published), func(s string) bool { return !slices.Contains(claims.Scopes(), s) })
	if got := claims.Scopes(); !slices.Equal(got, want) {
		t.Errorf("Scopes() = %v, want %v", got, want)
	}
	everybody := []*eid.Identity{vries(), ada(), florent(), ola(), hanne(), {EID: eid.IDIN, Approved: ptr(true)}}
	for _, s := range claims.Scopes() {
		released := 0
		for _, id := range everybody {
			released += len(claims.For([]string{s}, id, standard, proofs(t)...))
		}
		if silent := s == "openid" || s == "offline_access"; silent != (released == 0) {
			t.Errorf("%s releases %d claims", s, released)
		}
	}
	names := claims.Names()
	for i, n := range names {
		if slices.Contains(names[:i], n) {
			t.Errorf("%s is there twice", n)
		}
	}
	if len(names) < 40 {
		t.Errorf("only %d claims", len(names))
	}
}

func TestIDToken(t *testing.T) {
	t.Parallel()
	all := claims.Scopes()
	for d, want := range map[relying.UserData][]string{
		relying.Minimal: nil, "": nil, relying.All: all,
		relying.StandardScopes: {"openid", "profile", "email", "address", "phone", "offline_access"},
	} {
		if got := claims.IDToken(all, d); !slices.Equal(got, want) {
			t.Errorf("IDToken(%q) = %v, want %v", d, got, want)
		}
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scopes string
		want   string
		use    claims.Use
	}{
		{"", "id", claims.Login},
		{"openid", "id", claims.Login},
		{"openid idp-id offline_access", "id", claims.Login},
		{"openid eighteen-or-older", "adult", claims.AgeCheck},
		{"openid eighteen-or-older nosuch", "adult", claims.AgeCheck},
		{"openid idp-id eighteen-or-older", "id adult", claims.AgeCheck},
		{"openid profile eighteen-or-older", "id name adult", claims.Identification},
		{"openid profile", "id name", claims.Identification},
		{"openid idin-name", "id name", claims.Identification},
		{"openid name", "id name", claims.Identification},
		{"openid nin", "id number", claims.Identification},
		{"openid date-of-birth", "id birth", claims.Identification},
		{"email phone gender date-of-birth address profile openid", "id name address birth gender phone email", claims.Identification},
		{"openid age", "id birth", claims.Identification},
		{"openid age-verification eighteen-or-older", "id birth", claims.Identification}, // one question answers both
		{"openid date-of-birth eighteen-or-older", "id birth", claims.Identification},
		{"openid age date-of-birth eighteen-or-older", "id birth", claims.Identification},
	} {
		scopes := strings.Fields(c.scopes)
		if got := claims.Wanted(scopes, c.use); strings.Join(got, " ") != c.want {
			t.Errorf("Wanted(%q) = %v, want %q", c.scopes, got, c.want)
		}
		if both := strings.Contains(c.scopes, "date-of-birth eighteen-or-older"); claims.Exclusive(scopes) != both {
			t.Errorf("Exclusive(%q) = %v", c.scopes, !both)
		}
		if use := claims.UseOf(scopes); use != c.use {
			t.Errorf("UseOf(%q) = %v, want %v", c.scopes, use, c.use)
		}
	}
	if claims.AgeCheck.Purpose() != eid.Age || claims.Login.Purpose() != eid.Identify || claims.Identification.Purpose() != eid.Identify {
		t.Error("purposes")
	}
}

// TestBirthdayIsOldEnough: who is 18 today is 18.
func TestBirthdayIsOldEnough(t *testing.T) {
	t.Parallel()
	for years, want := range map[int]string{17: `{"eighteen_or_older":false}`, 18: `{"eighteen_or_older":true}`, 19: `{"eighteen_or_older":true}`} {
		if got := text(t, claims.For([]string{"eighteen-or-older"}, &eid.Identity{EID: eid.MitID, Age: &years}, signicat)); got != want {
			t.Errorf("at %d: %s", years, got)
		}
	}
	if got := claims.For([]string{"eighteen-or-older"}, &eid.Identity{EID: eid.IDIN, Approved: ptr(false), Age: ptr(40)}, signicat); got[0].Value != false {
		t.Error("what the eID says itself counts")
	}
}

// TestLastingNames holds what idp_id may be: nothing that is new each time.
func TestLastingNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id   eid.Identity
		want string
	}{
		{eid.Identity{EID: eid.IDIN, Subject: "NLRABO1"}, "NLRABO1"}, {eid.Identity{EID: eid.IDIN, Subject: "NL"}, "NL"},
		{eid.Identity{EID: eid.IDIN, Subject: "TRANS"}, ""}, {eid.Identity{EID: eid.IDIN, Subject: "trans0815"}, ""},
		{eid.Identity{EID: eid.IDINAge, Subject: "42", Check: &eid.AgeCheck{ID: 42}}, ""},
		{eid.Identity{EID: eid.IDINAge, Subject: "NLRABO1", Check: &eid.AgeCheck{ID: 42}}, "NLRABO1"},
		{eid.Identity{EID: eid.BankIDNO, Subject: "TRANS"}, "TRANS"}, {eid.Identity{EID: eid.BankIDSE, Number: "199001012385"}, "199001012385"},
	} {
		got := claims.For([]string{"idp-id"}, &c.id, signicat)
		if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || got[0].Value != c.want) {
			t.Errorf("%s %q: %s", c.id.EID, c.id.Subject, text(t, got))
		}
	}
}

// TestBirthdates of which parts are not known.
func TestBirthdates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, birth, signicat, standard string }{
		{"19750725", "1975-07-25", `{"birthdate":"19750725"}`, `{"birthdate":"1975-07-25"}`},
		{"19500000", "", `{"birthdate":"19500000"}`, `{"birthdate":"1950"}`},
		{"19501200", "", `{"birthdate":"19501200"}`, `{"birthdate":"1950"}`},
		{"00000000", "", `{"birthdate":"00000000"}`, `{}`},
		{"unknown.", "", `{"birthdate":"unknown."}`, `{}`},
		{"", "1975-07-25", `{"birthdate":"19750725"}`, `{"birthdate":"1975-07-25"}`},
		{"", "", `{}`, `{}`},
	} {
		id := &eid.Identity{EID: eid.IDIN, BirthText: c.text, Birth: c.birth}
		a, b := text(t, claims.For([]string{"date-of-birth"}, id, signicat)), text(t, claims.For([]string{"date-of-birth"}, id, standard))
		if a != c.signicat || b != c.standard {
			t.Errorf("%q: %s and %s, want %s and %s", c.text, a, b, c.signicat, c.standard)
		}
	}
	if got := claims.For([]string{"profile", "gender", "eighteen-or-older", "age"}, &eid.Identity{EID: eid.IDIN, Sex: "9"}, standard); len(got) != 0 {
		t.Errorf("what is not known was told: %s", text(t, got))
	}
}

// TestBelgianNumber: that claim is a Belgian's, of itsme.
func TestBelgianNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		e             eid.EID
		country, want string
	}{
		{eid.Itsme, "BE", `{"itsme_national_number":"80010299946"}`},
		{eid.Itsme, "NL", `{}`},
		{eid.MitID, "BE", `{}`},
	} {
		if got := text(t, claims.For([]string{"itsme-eid"}, &eid.Identity{EID: c.e, Country: c.country, Number: "80010299946"}, standard)); got != c.want {
			t.Errorf("%s, %s: %s", c.e, c.country, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		e    eid.EID
		a    eid.Address
		want string
	}{
		{"suffix of letters", eid.IDIN, eid.Address{Street: "Kade", Number: "19", Suffix: "A", PostalCode: "1234AB", City: "Ede", Country: "NL"},
			`{"address":{"formatted":"Kade 19A, 1234AB, Ede, NL","street_address":"Kade 19A","locality":"Ede","postal_code":"1234AB","country":"NL"}}`},
		{"suffix of nought", eid.IDIN, eid.Address{Street: "Kade", Number: "19", Suffix: "0"}, `{"address":{"formatted":"Kade 19 0","street_address":"Kade 19 0"}}`},
		{"suffix of nine", eid.IDIN, eid.Address{Street: "Kade", Number: "1", Suffix: "9"}, `{"address":{"formatted":"Kade 1 9","street_address":"Kade 1 9"}}`},
		{"suffix of digits, and more", eid.IDIN, eid.Address{Street: "Kade", Number: "19", Suffix: "2", Extra: "achter", Country: "NL"},
			`{"address":{"formatted":"Kade 19 2 achter, NL","street_address":"Kade 19 2 achter","country":"NL"}}`},
		{"abroad", eid.IDIN, eid.Address{Lines: []string{"Hauptstr. 5", "", "52062 Aachen"}, Country: "DE"},
			`{"address":{"formatted":"Hauptstr. 5, 52062 Aachen, DE","street_address":"Hauptstr. 5, 52062 Aachen","country":"DE"}}`},
		{"parts, where the eID has them", eid.Itsme, eid.Address{Street: "Wetstraat", Number: "16", Suffix: "b", PostalCode: "1000", City: "Brussel", Country: "BE"},
			`{"address":{"formatted":"Wetstraat 16b, 1000, Brussel, BE","street_address":"Wetstraat 16b","locality":"Brussel","postal_code":"1000","country":"BE"},` +
				`"street":"Wetstraat","house_number":"16","house_number_suffix":"b"}`},
		{"empty", eid.IDIN, eid.Address{}, `{}`},
	} {
		id := &eid.Identity{EID: c.e, Address: &c.a}
		if got := text(t, claims.For([]string{"address"}, id, claims.Format{})); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// openssl is a subject that another program has computed:
// printf 'v1|acme|idin|NLABNA0f3c5e' | openssl dgst -sha256 -hmac key -binary | basenc --base64url
const openssl = "98F3lW5Epd7p_ZZhkimUsMG9OX60PcdHwmo0lioT_zI="

func TestSubject(t *testing.T) {
	t.Parallel()
	key := []byte("key")
	if got := claims.Subject(key, "acme", "idin", dam(), nil); got != openssl {
		t.Errorf("Subject = %q, want %q", got, openssl)
	}
	age := dam()
	age.EID = eid.IDINAge
	if claims.Subject(key, "acme", claims.IDP(age.EID), age, nil) != openssl {
		t.Error("an age check that asks who it is must name the same person")
	}
	unlike := map[string]string{}
	for name, sub := range map[string]string{
		"account": claims.Subject(key, "other", "idin", dam(), nil), "eID": claims.Subject(key, "acme", "sbid", dam(), nil),
		"key": claims.Subject([]byte("yek"), "acme", "idin", dam(), nil), "person": claims.Subject(key, "acme", "idin", vries(), nil),
	} {
		if len(sub) != 44 || sub[43] != '=' || sub == openssl || unlike[sub] != "" {
			t.Errorf("another %s: %q", name, sub)
		}
		unlike[sub] = name
	}
	numbered := &eid.Identity{EID: eid.BankIDSE, Number: "199001012385"}
	if claims.Subject(key, "a", "sbid", numbered, nil) != claims.Subject(key, "a", "sbid", ada(), nil) {
		t.Error("without a subject the number counts")
	}
	nobody := func(string, string, string) (string, bool) { t.Error("looked up nobody"); return "x", true }
	if got := claims.Subject(key, "acme", "idin", &eid.Identity{EID: eid.IDIN}, nobody); got != "" {
		t.Errorf("nobody is %q", got)
	}
	imported := func(account, idp, id string) (string, bool) {
		return "from-before", account == "acme" && idp == "idin" && id == "NLABNA0f3c5e"
	}
	if got := claims.Subject(key, "acme", "idin", dam(), imported); got != "from-before" {
		t.Errorf("imported: %q", got)
	}
	if got := claims.Subject(key, "acme", "idin", vries(), imported); len(got) != 44 {
		t.Errorf("not imported: %q", got)
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	for e, code := range map[eid.EID]string{eid.BankIDSE: "sbid", eid.IDIN: "idin", eid.Itsme: "itsme", eid.BankIDNO: "nbid", eid.MitID: "mitid", eid.NemID: "nemid"} {
		if got, ok := claims.EID(code); claims.IDP(e) != code || got != e || !ok {
			t.Errorf("%s: %q, back %q", e, claims.IDP(e), got)
		}
	}
	if claims.IDP(eid.IDINAge) != "idin" || claims.IDP("spar") != "" {
		t.Error("age checks are idin, stages have no code")
	}
	for _, code := range []string{"", "nosuch", "IDIN", "idin "} {
		if e, ok := claims.EID(code); ok {
			t.Errorf("%q is %q", code, e)
		}
	}
}

func TestACR(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		e           eid.EID
		level, want string
	}{
		{eid.IDIN, "", "substantial"}, {eid.IDIN, "nl:bvn:bankid:1.0:loa3", "substantial"}, {eid.IDIN, "nl:bvn:bankid:1.0:loa2", "low"},
		{eid.IDIN, "nl:bvn:bankid:1.0:loa9", ""}, {eid.IDINAge, "", ""}, {eid.IDINAge, "nl:bvn:bankid:1.0:loa3", "substantial"},
		{eid.BankIDSE, "", "substantial"}, {eid.Itsme, "", "high"}, {eid.BankIDNO, "", "high"},
		{eid.BankIDNO, "urn:bankid:bid;LOA=4", "high"}, {eid.BankIDNO, "urn:bankid:bis;LOA=3", "substantial"}, {eid.BankIDNO, "urn:bankid:bis", "substantial"},
		{eid.MitID, "SUBSTANTIAL", "substantial"}, {eid.MitID, "https://data.gov.dk/concept/core/nsis/High", "high"}, {eid.MitID, "", ""},
		{"nosuch", "high", ""},
	} {
		if got := claims.ACR(&eid.Identity{EID: c.e, Level: c.level}); got != c.want {
			t.Errorf("%s at %q: %q, want %q", c.e, c.level, got, c.want)
		}
	}
}

func TestFormatFor(t *testing.T) {
	t.Parallel()
	for p, want := range map[relying.Profile]bool{relying.Signicat: false, relying.Standard: true, relying.FAPI2: true, relying.FAPI2Signed: true} {
		got := claims.FormatFor(&relying.Client{Profile: p, StringsOnly: want})
		if got != (claims.Format{Standard: want, Strings: want}) {
			t.Errorf("%s: %+v", p, got)
		}
	}
}

// TestNothingPersonalIsLogged gives what the package makes to both handlers,
// by value, by pointer and inside an error.
func TestNothingPersonalIsLogged(t *testing.T) {
	t.Parallel()
	o := claims.For(claims.Scopes(), vries(), signicat)
	choice := claims.Choose("idp:sbid sbid_intention_text:VnJpZXM sbid_end_user_ip:203.0.113.24", true, &relying.Client{}, []eid.EID{eid.BankIDSE})
	if len(o) == 0 || string(choice.Text) != "Vries" || choice.Params["end_user_ip"] == "" {
		t.Fatalf("nothing to hide: %d, %v", len(o), choice)
	}
	var out bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
		log.Info("x", "a", o, "b", &o, "c", o[0], "d", &o[0], "e", fmt.Errorf("%v %v", o, o[0]), "f", choice, "g", &choice, "h", fmt.Errorf("%v", choice))
	}
	for _, secret := range []string{"Vries", "NLRABO", "VnJpZXM", "203.0.113"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s was logged:\n%s", secret, out.String())
		}
	}
}

// TestDocumented holds the page against the code: every scope and claim stands
// in the table, and the example is what comes out.
func TestDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/apis/signicat.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "### §2.1")
	section, _, _ := strings.Cut(rest, "### §2.2")
	for _, s := range claims.Scopes() {
		if !strings.Contains(section, "\n| `"+s+"` |") {
			t.Errorf("scope %s has no row", s)
		}
	}
	for _, n := range claims.Names() {
		like := strings.NewReplacer("preferred", "legal", "partner", "legal").Replace(n)
		if !strings.Contains(section, "`"+like+"`") {
			t.Errorf("claim %s is not there", n)
		}
	}
	got := append(claims.For(strings.Fields("openid profile idp-id gender date-of-birth idin-name"), dam(), signicat), claims.Claim{Name: "idp_issuer", Value: claims.Issuer(dam())})
	if want := text(t, got); !strings.Contains(section, want) {
		t.Errorf("the example is not %s", want)
	}
}

func TestObjectIsWrittenAsJSONWritesIt(t *testing.T) {
	t.Parallel()
	values := []any{0, -1, 1 << 40, true, nil, "", "\xff", "a\xc3", []string{"a"}, claims.Object{{Name: "x", Value: "<"}}}
	for r := range rune(0x2100) {
		values = append(values, "a"+string(r)+"b")
	}
	for _, v := range values {
		want, err := json.Marshal(map[string]any{"claim<": v})
		if err != nil {
			t.Fatal(err)
		}
		got, err := claims.Object{{Name: "claim<", Value: v}}.MarshalJSON()
		if err != nil || string(got) != string(want) {
			t.Errorf("%q is written %s, %v, want %s", v, got, err, want)
		}
	}
}
