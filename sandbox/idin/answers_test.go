package idin_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/need"
	"eidgate/internal/xmldsig"
	"eidgate/sandbox"
	"eidgate/sandbox/idin"
)

func write(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// xmlsec1 verifies every kind of answer in both profiles, the bank's signature
// too, and refuses altered ones.
func TestForeignVerifier(t *testing.T) {
	t.Parallel()
	xmlsec := need.Program(t, "xmlsec1")
	for _, profile := range []string{"plain", "worldline"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			s := newService(t, sandbox.Ignore)
			change := func(edit func(*idin.Settings)) {
				if _, err := s.Change(func(v *idin.Settings) error { edit(v); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			change(func(v *idin.Settings) { v.Profile = profile })
			dir := t.TempDir()
			verify := func(doc []byte, certificate, path string) error {
				file := write(t, dir, "doc.xml", doc)
				out, err := exec.Command(xmlsec, "--verify", "--pubkey-cert-pem", write(t, dir, "cert.pem", []byte(certificate)),
					"--enabled-key-data", "key-name,rsa", "--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:assertion:Assertion", "--node-xpath", path, file).CombinedOutput()
				if err != nil {
					t.Logf("%s", out)
				}
				return err
			}
			const outer, inner = "/*/*[local-name()='Signature']", "//*[local-name()='Assertion']/*[local-name()='Signature']"
			ask := func(doc string) []byte { return s.send(s.shop, doc).raw }
			id, page := s.begin(start{service: "20480"})
			answers := map[string][]byte{"directory": ask(s.directoryXML(s.shop)), "start": ask(s.xml(s.shop, start{})), "open": ask(s.statusXML(s.shop, id)),
				"error": ask(s.xml(s.shop, start{bank: "DICHNL2A"})), "AP3000": ask(s.xml(s.shop, start{level: "loa2"}))}
			s.approve(page, "accent")
			answers["success"] = ask(s.statusXML(s.shop, id))
			answers["success again"] = ask(s.statusXML(s.shop, id))
			change(func(v *idin.Settings) { v.RoutingKey = "alternate" })
			alternate := ask(s.directoryXML(s.shop))
			for name, doc := range answers {
				if err := verify(doc, s.shop.RoutingCertificate, outer); err != nil {
					t.Errorf("%s: xmlsec1 refuses it: %v\n%s", name, err, doc)
				}
			}
			if err := verify(alternate, s.shop.AlternateRoutingCert, outer); err != nil {
				t.Errorf("alternate key: %v", err)
			}
			doc := string(answers["success"])
			start := strings.Index(doc, "X509Certificate>") + len("X509Certificate>")
			der, err := base64.StdEncoding.DecodeString(doc[start : start+strings.IndexByte(doc[start:], '<')])
			if err != nil {
				t.Fatal(err)
			}
			bank := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
			if err := verify([]byte(doc), bank, inner); err != nil {
				t.Errorf("assertion: %v\n%s", err, doc)
			}
			altered := strings.Replace(doc, ">20480<", ">20481<", 1)
			for _, path := range []string{outer, inner} {
				certificate := s.shop.RoutingCertificate
				if path == inner {
					certificate = bank
				}
				if altered == doc || verify([]byte(altered), certificate, path) == nil {
					t.Errorf("xmlsec1 accepts an altered message at %s: it is no witness", path)
				}
			}
		})
	}
}

// facts are what the schema says of an answer's elements: their order, and the
// form of their texts. "?" is optional, "+" one or more, "*" any.
var facts = map[string][]string{
	"DirectoryRes":      {"createDateTimestamp", "Acquirer", "Directory", "Signature"},
	"AcquirerTrxRes":    {"createDateTimestamp", "Acquirer", "Issuer", "Transaction", "Signature"},
	"AcquirerStatusRes": {"createDateTimestamp", "Acquirer", "Transaction", "Signature"},
	"AcquirerErrorRes":  {"createDateTimestamp", "Error", "Signature"},
	"Error":             {"errorCode", "errorMessage", "errorDetail?", "suggestedAction?", "consumerMessage?", "container?"},
	"Acquirer":          {"acquirerID"}, "Directory": {"directoryDateTimestamp", "Country+"}, "Country": {"countryNames", "Issuer+"},
	"Directory/Issuer": {"issuerID", "issuerName"}, "AcquirerTrxRes/Issuer": {"issuerAuthenticationURL"},
	"AcquirerTrxRes/Transaction":    {"transactionID", "transactionCreateDateTimestamp"},
	"AcquirerStatusRes/Transaction": {"transactionID", "status", "statusDateTimestamp?", "container?"},
	"container":                     {"Response"},
	"Response":                      {"Issuer", "Status", "Assertion?"},
	"Assertion":                     {"Issuer", "Signature", "Subject", "Conditions", "AuthnStatement", "AttributeStatement"},
	"Subject":                       {"EncryptedID"}, "EncryptedID": {"EncryptedData"}, "EncryptedAttribute": {"EncryptedData"},
	"Conditions":         {"AudienceRestriction", "OneTimeUse"},
	"AuthnContext":       {"AuthnContextClassRef", "AuthenticatingAuthority?"},
	"AttributeStatement": {"Attribute", "EncryptedAttribute*"},
	"EncryptedData":      {"EncryptionMethod", "KeyInfo", "CipherData"},
	"EncryptedKey":       {"EncryptionMethod", "CipherData"},
}

var forms = map[string]string{
	"createDateTimestamp": instantForm, "directoryDateTimestamp": instantForm, "transactionCreateDateTimestamp": instantForm, "statusDateTimestamp": instantForm,
	"acquirerID": `[0-9]{4}`, "transactionID": `[0-9]{16}`, "issuerID": `[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3})?`, "issuerName": `.{1,35}`, "countryNames": `.{1,128}`,
	"issuerAuthenticationURL": `https?://.{1,500}`, "status": `Open|Success|Failure|Expired|Cancelled|Pending`, "errorCode": `[A-Z]{2}[0-9]{4}`,
	"errorMessage": `.{1,128}`, "errorDetail": `.{1,256}`, "suggestedAction": `.{1,512}`, "consumerMessage": `.{1,512}`,
}

const instantForm = `[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z`

// schema checks an element of a raw answer and all below it.
func schema(t *testing.T, el *etree.Element, within string) {
	t.Helper()
	want, known := facts[within+"/"+el.Tag]
	if !known {
		want, known = facts[el.Tag]
	}
	if el.Tag == "Issuer" && el.Space != "" && strings.HasPrefix(el.Space, "saml") { // a text
		return
	}
	have := el.ChildElements()
	if known {
		i := 0
		for _, w := range want {
			name, many := strings.TrimRight(w, "?+*"), strings.HasSuffix(w, "+") || strings.HasSuffix(w, "*")
			n := 0
			for i < len(have) && have[i].Tag == name && (n == 0 || many) {
				i, n = i+1, n+1
			}
			if n == 0 && !strings.HasSuffix(w, "?") && !strings.HasSuffix(w, "*") {
				t.Errorf("%s lacks %s where it belongs", el.Tag, name)
			}
		}
		if i < len(have) {
			t.Errorf("%s has %s where it does not belong", el.Tag, have[i].Tag)
		}
	}
	if form := forms[el.Tag]; form != "" && !regexp.MustCompile("^(?:"+form+")$").MatchString(el.Text()) {
		t.Errorf("%s is %q", el.Tag, el.Text())
	}
	for _, c := range have {
		schema(t, c, el.Tag)
	}
}

// Every kind of answer keeps to the schema, in both profiles.
func TestSchema(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"plain", "worldline"} {
		s := newService(t, sandbox.Ignore)
		if _, err := s.Change(func(v *idin.Settings) error { v.Profile = profile; return nil }); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		check := func(doc string) {
			t.Helper()
			d := etree.NewDocument()
			if err := d.ReadFromBytes(s.send(s.shop, doc).raw); err != nil {
				t.Fatal(err)
			}
			root := d.Root()
			if root.SelectAttrValue("version", "") != "1.0.0" || root.SelectAttrValue("productID", "") != "NL:BVN:BankID:1.0" {
				t.Errorf("%s has other attributes", root.Tag)
			}
			seen[root.Tag] = true
			schema(t, root, "")
		}
		id, page := s.begin(start{service: "21974"})
		check(s.directoryXML(s.shop))
		check(s.xml(s.shop, start{}))
		check(s.statusXML(s.shop, id))
		check(s.xml(s.shop, start{service: "32"}))
		check(s.xml(s.shop, start{language: "n!"}))
		s.approve(page, "accent")
		check(s.statusXML(s.shop, id))
		check(s.statusXML(s.shop, id))
		if len(seen) != 4 {
			t.Errorf("kinds of answers that were checked: %v", seen)
		}
	}
}

// openssl decrypts an attribute without any code of ours.
func TestForeignDecryption(t *testing.T) {
	t.Parallel()
	openssl := need.Program(t, "openssl")
	s := newService(t, sandbox.Ignore)
	id, page := s.begin(start{service: "64"})
	s.approve(page, "jong")
	a := s.send(s.shop, s.statusXML(s.shop, id))
	dir := t.TempDir()
	key := write(t, dir, "key.pem", []byte(s.shop.DecryptionKey))
	var found []string
	for _, data := range a.root.FindElements("//EncryptedData") {
		value := func(el *etree.Element) []byte {
			b, err := base64.StdEncoding.DecodeString(el.FindElement("CipherData/CipherValue").Text())
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		if m := data.FindElement("EncryptionMethod").SelectAttrValue("Algorithm", ""); m != "http://www.w3.org/2001/04/xmlenc#aes256-cbc" {
			t.Errorf("cipher %s", m)
		}
		secret, err := exec.Command(openssl, "pkeyutl", "-decrypt", "-inkey", key, "-pkeyopt", "rsa_padding_mode:oaep",
			"-in", write(t, dir, "secret", value(data.FindElement("KeyInfo/EncryptedKey")))).Output()
		if err != nil || len(secret) != 32 {
			t.Fatalf("openssl finds no key of 32 octets: %d, %v", len(secret), err)
		}
		text := value(data)
		plain, err := exec.Command(openssl, "enc", "-d", "-aes-256-cbc", "-nopad", "-K", hex.EncodeToString(secret), "-iv", hex.EncodeToString(text[:16]),
			"-in", write(t, dir, "text", text[16:])).Output()
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, string(plain[:len(plain)-int(plain[len(plain)-1])]))
	}
	if len(found) != 2 || !strings.HasPrefix(found[0], `<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">TRANS`) ||
		found[1] != `<saml:Attribute xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" Name="urn:nl:bvn:bankid:1.0:consumer.is18orolder"><saml:AttributeValue>false</saml:AttributeValue></saml:Attribute>` {
		t.Errorf("decrypted %q", found)
	}
}

// Data are told once, and for thirty seconds; the status stays. A switch tells
// them again.
func TestOnce(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	id, page := s.begin(start{})
	s.approve(page, "vries")
	if r := s.status(id); !r.hasAssertion {
		t.Error("the first request is told nothing")
	}
	if r := s.status(id); r.hasAssertion || !r.hasContainer || r.status != "Success" || r.second != "Success" {
		t.Errorf("the second request: %s", r.raw)
	}
	late, page := s.begin(start{})
	s.approve(page, "vries")
	s.clock.Advance(30 * time.Second)
	if r := s.status(late); r.hasAssertion || r.status != "Success" {
		t.Errorf("after 30 s: %s", r.raw)
	}
	if _, err := s.Change(func(v *idin.Settings) error { v.StrictOnce = false; return nil }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := s.status(late); !r.hasAssertion {
			t.Error("with strict_once off: nothing")
		}
	}
	if _, err := s.Change(func(v *idin.Settings) error { v.Profile = "loud"; return nil }); err == nil {
		t.Error("a profile that there is not is taken")
	}
}

// A transaction expires by itself when its time is over, asking changes
// nothing, and what has ended stays.
func TestExpiry(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	id, page := s.begin(start{expiration: "PT2M"})
	s.clock.Advance(2 * time.Minute)
	if r := s.status(id); r.status != "Open" {
		t.Errorf("at the limit: %s", r.status)
	}
	s.clock.Advance(time.Millisecond)
	r := s.status(id)
	if want := s.clock.Now().Add(-time.Millisecond).Format("2006-01-02T15:04:05.000Z"); r.status != "Expired" || r.at != want {
		t.Errorf("beyond it: %s at %s, want %s", r.status, r.at, want)
	}
	s.clock.Advance(time.Second)
	if v := s.submit(page, "act", "approve", "person", "vries"); v.status != http.StatusSeeOther || !strings.Contains(v.to, "trxid="+id) {
		t.Errorf("too late: %+v", v)
	}
	if r := s.status(id); r.status != "Expired" {
		t.Errorf("afterwards: %s", r.status)
	}
	o, err := s.Order(id)
	if d := o.Details.(idin.Details); err != nil || len(d.Checks) != 3 || d.Checks[0].Trigger != "other" || d.Checks[1].Trigger != "expired" || d.Checks[2].Trigger != "redirect" {
		t.Errorf("status requests: %+v, %v", o.Details, err)
	}
	done, page := s.begin(start{})
	s.approve(page, "vries")
	s.clock.Advance(time.Hour)
	if r := s.status(done); r.status != "Success" {
		t.Errorf("an hour after success: %s", r.status)
	}
}

// Requests that nothing explains are marked, where that is switched on.
func TestExtraStatusRequests(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	if _, err := s.Change(func(v *idin.Settings) error { v.FlagExtra = true; return nil }); err != nil {
		t.Fatal(err)
	}
	id, page := s.begin(start{})
	s.status(id) // nothing has happened
	s.clock.Advance(time.Second)
	s.submit(page, "act", "stay", "person", "vries")
	s.status(id)
	s.status(id) // again
	s.clock.Advance(10 * time.Minute)
	s.status(id)
	o, err := s.Order(id)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range o.Details.(idin.Details).Checks {
		word := c.Trigger + " " + c.Told
		if c.Extra {
			word += "!"
		}
		got = append(got, word)
	}
	if want := "other Open!, redirect Open, other Open!, expired Expired"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What each person's bank tells, group by group.
func TestPersons(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.clock.Set(time.Date(2028, 3, 1, 0, 30, 0, 0, time.UTC))
	for _, v := range []struct {
		person, service, second string
		want                    map[string]string
	}{
		{"vries", "64", "Success", map[string]string{"is18orolder": "true"}},
		{"jong", "64", "Success", map[string]string{"is18orolder": "false"}},
		{"jong", "448", "Success", map[string]string{"dateofbirth": "20110301"}},
		{"grens", "64", "Success", map[string]string{"is18orolder": "true"}},
		{"grens", "448", "Success", map[string]string{"dateofbirth": "20100301"}},
		{"onbekend", "464", "Success", map[string]string{"dateofbirth": "19500000", "gender": "9"}},
		{"onbekend", "22", "IncompleteAttributeSet", map[string]string{"gender": "9"}},
		{"abroad", "1024", "Success", map[string]string{"intaddressline1": "Musterweg 12", "intaddressline2": "00000 Musterstadt", "intaddressline3": "Hinterhaus", "country": "DE"}},
		{"kort", "5120", "Success", map[string]string{"initials": "K", "legallastname": "Kort", "street": "Voorbeeldlaan", "houseno": "9", "housenosuf": "A",
			"addressextra": "achterom", "postalcode": "0000AC", "city": "Voorbeelddam", "country": "NL"}},
		{"accent", "4096", "Success", map[string]string{"initials": "ÉŠ", "legallastname": "Vriës-Çelik", "preferredlastname": "Vriës-Çelik"}},
		{"oldbin", "16384", "Success", map[string]string{"deprecatedbin": "NLOUDB0123456789"}},
		{"oldbin", "16", "Success", map[string]string{"gender": "1"}},
		{"geheim", "5120", "IncompleteAttributeSet", map[string]string{"initials": "G", "legallastname": "Geheim"}},
		{"ada", "4096", "Success", map[string]string{"initials": "A", "legallastname": "Test"}},
		{"vries", "0", "Success", map[string]string{}},
	} {
		id, page := s.begin(start{service: v.service})
		s.approve(page, v.person)
		r := s.status(id)
		if r.second != v.second || r.delivered != v.service {
			t.Errorf("%s, %s: %s, delivered %s", v.person, v.service, r.second, r.delivered)
		}
		same(t, r.attributes, v.want)
		persistent := v.service == "16384"
		if persistent != strings.HasPrefix(r.nameID, "NLBANK") || persistent == strings.HasPrefix(r.nameID, "TRANS") {
			t.Errorf("%s, %s: name %q", v.person, v.service, r.nameID)
		}
	}
}

// The number of a person is the same for one bank and merchant, after a restart
// too, and another elsewhere; transient ones differ each time.
func TestNumbers(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	number := func(s *service, bank, service, person string) string {
		t.Helper()
		id, page := s.begin(start{bank: bank, service: service})
		s.approve(page, person)
		return s.status(id).nameID
	}
	first := number(s, "BANKNL2Y", "16384", "vries")
	if again := number(s, "BANKNL2Y", "16448", "vries"); again != first {
		t.Errorf("again: %s, before %s", again, first)
	}
	if again := number(newService(t, sandbox.Ignore), "BANKNL2Y", "16384", "vries"); again != first {
		t.Errorf("after a restart: %s, before %s", again, first)
	}
	one, two := number(s, "BANKNL2Y", "64", "vries"), number(s, "BANKNL2Y", "64", "vries")
	bank, person := number(s, "DRIENL2A", "16384", "vries"), number(s, "BANKNL2Y", "16384", "jong")
	s.shop = s.merchant("Other")
	seen := map[string]bool{}
	for _, n := range []string{first, one, two, bank, person, number(s, "BANKNL2Y", "16384", "vries")} {
		if seen[n] {
			t.Errorf("%s is there twice", n)
		}
		seen[n] = true
	}
}

// A document that was signed comes back, encrypted like the rest.
func TestSignedDocument(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	id, page := s.begin(start{service: "16392", document: "9f86d081884c7d65"})
	if v := s.submit(page, "act", "login", "person", "vries"); !strings.Contains(s.get(v.to).body, "9f86d081884c7d65") {
		t.Error("the person does not see what is signed")
	}
	s.submit(page, "act", "approve", "person", "vries")
	if r := s.status(id); r.attributes["urn:nl:bvn:bankid:1.0:merchant.documentID"] != "9f86d081884c7d65" {
		t.Errorf("told %v", r.attributes)
	}
}

// Each fault of an answer does what its name says, once, and the next answer is
// good again.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	tried := map[string]bool{}
	approved := func() string {
		id, page := s.begin(start{service: "21974", entrance: ""})
		s.approve(page, "vries")
		return id
	}
	type check func(t *testing.T, r *result, err error)
	bad := func(part string) check {
		return func(t *testing.T, _ *result, err error) {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("error %v, want one of %s", err, part)
			}
		}
	}
	good := func(ok func(*result) bool) check {
		return func(t *testing.T, r *result, err error) {
			if err != nil || !ok(r) {
				t.Errorf("%v\n%s", err, r.raw)
			}
		}
	}
	in := func(r *result) *answer { return &answer{root: r.assertion} }
	for kind, want := range map[string]check{
		"bad_signature": bad("assertion: xml: signature"),
		"wrapped":       bad("assertion"),
		"wrong_key":     bad("decrypt"),
		"corrupt":       bad("decrypt"),
		"duplicate":     bad("attribute twice"),
		"wrong_request": good(func(r *result) bool {
			return !strings.HasPrefix(r.el("Transaction/container/Response").SelectAttrValue("InResponseTo", ""), "Ref")
		}),
		"expired": good(func(r *result) bool {
			until, err := time.Parse(time.RFC3339Nano, in(r).el("Conditions").SelectAttrValue("NotOnOrAfter", ""))
			return err == nil && until.Before(s.clock.Now())
		}),
		"wrong_recipient": good(func(r *result) bool {
			return in(r).text("Conditions/AudienceRestriction/Audience") != s.shop.LegalID && !strings.Contains(string(r.raw), `Recipient="`+s.shop.LegalID)
		}),
		"wrong_issuer":     good(func(r *result) bool { return in(r).text("Issuer") == "DRIENL2A" }),
		"no_second_status": good(func(r *result) bool { return r.first == "Success" && r.second == "" && r.hasAssertion }),
		"incomplete":       good(func(r *result) bool { return r.second == "IncompleteAttributeSet" && len(r.attributes) == 8 }),
		"service_zero":     good(func(r *result) bool { return r.delivered == "0" && len(r.attributes) == 16 }),
		"fewer_groups": good(func(r *result) bool {
			return r.delivered == "17878" && r.attributes["initials"] == "" && len(r.attributes) == 9
		}),
		"no_container": good(func(r *result) bool { return r.status == "Success" && !r.hasContainer }),
		"too_long":     good(func(r *result) bool { return len(r.attributes["legallastname"]) == 300 }),
		"day_unknown":  good(func(r *result) bool { return r.attributes["dateofbirth"] == "19750700" }),
		"low_level": good(func(r *result) bool {
			return in(r).text("AuthnStatement/AuthnContext/AuthnContextClassRef") == "nl:bvn:bankid:1.0:loa2"
		}),
		"wrong_name":   good(func(r *result) bool { return strings.HasPrefix(r.nameID, "TRANS") }),
		"old_age_name": good(func(r *result) bool { return r.attributes["dateofbirth"] == "19750725" }), // nothing to rename: see below
	} {
		tried["idin.result "+kind] = true
		id := approved()
		s.faults.Add(sandbox.Fault{Target: "idin.result", Kind: kind, Times: 1})
		r, err := s.open(s.send(s.shop, s.statusXML(s.shop, id)))
		t.Run(kind, func(t *testing.T) { want(t, r, err) })
		if len(s.faults.List()) != 0 {
			t.Fatalf("%s is still on", kind)
		}
	}
	id, page := s.begin(start{service: "64"})
	s.approve(page, "vries")
	s.faults.Add(sandbox.Fault{Target: "idin.result", Kind: "old_age_name", Times: 1})
	if r := s.status(id); r.attributes["18orolder"] != "true" {
		t.Errorf("old name: %v", r.attributes)
	}

	for target, doc := range map[string]func() string{
		"idin.rs": func() string { return s.directoryXML(s.shop) }, "idin.directory": func() string { return s.directoryXML(s.shop) },
		"idin.transaction": func() string { return s.xml(s.shop, start{}) }, "idin.status": func() string { return s.statusXML(s.shop, id) },
	} {
		for kind, ok := range map[string]func(raw []byte, a *answer, err error) bool{
			"bad_signature": func(_ []byte, _ *answer, err error) bool {
				return err != nil && strings.Contains(err.Error(), "xml: signature")
			},
			"unknown_key": func(_ []byte, _ *answer, err error) bool {
				return err != nil && strings.Contains(err.Error(), "xml: key")
			},
			"alternate_key": func(raw []byte, _ *answer, err error) bool {
				return err == nil && strings.Contains(string(raw), xmldsig.Fingerprint(certOf(t, s.shop.AlternateRoutingCert)))
			},
			"doctype": func(_ []byte, _ *answer, err error) bool {
				return err != nil && strings.Contains(err.Error(), "xml: doctype")
			},
			"error": func(_ []byte, a *answer, err error) bool { return err == nil && a.code() == "SO1400" },
			"directory_down": func(_ []byte, a *answer, err error) bool {
				return target == "idin.directory" == (err == nil && a.code() == "SO1000")
			},
			"wrong_transaction": func(raw []byte, a *answer, err error) bool {
				return err == nil && strings.HasPrefix(a.text("Transaction/transactionID"), "12349")
			},
			"http": func(raw []byte, _ *answer, err error) bool {
				return err != nil && strings.Contains(string(raw), "injected")
			},
		} {
			known := false
			for _, k := range idin.Faults()[target] {
				known = known || k == kind
			}
			if !known {
				continue
			}
			tried[target+" "+kind] = true
			f := sandbox.Fault{Target: target, Kind: kind, Times: 1, Value: map[string]string{"error": "SO1400", "http": "503"}[kind]}
			if err := f.Check(idin.Faults()[target]); err != nil {
				t.Error(err)
			}
			body := s.shop.sign(t, doc())
			s.faults.Add(f)
			_, raw := s.post(body)
			a, err := s.shop.read(t, raw)
			if !ok(raw, a, err) {
				t.Errorf("%s %s: %v\n%s", target, kind, err, raw)
			}
		}
	}
	for target, kinds := range idin.Faults() {
		for _, kind := range kinds {
			switch {
			case tried[target+" "+kind], kind == sandbox.Delay, kind == sandbox.HTML, kind == sandbox.Reset, kind == sandbox.Garbage, kind == sandbox.Truncate, kind == sandbox.Skew:
			case strings.HasPrefix(target, "idinqr"), target == "idin.redirect", target == "idin.bank": // other tests
			default:
				t.Errorf("nothing tries %s %s", target, kind)
			}
		}
	}
}
