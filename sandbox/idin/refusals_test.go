package idin_test

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"eidgate/internal/xmldsig"
	"eidgate/sandbox"
	"eidgate/sandbox/idin"
)

// Each thing that can be wrong with a request has its code; the fields of a
// case are what is sent instead of a good request.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	limited := s.merchant("Limited")
	if err := s.Register(idin.Merchant{ID: limited.MerchantID, SubIDs: []int{0, 7}, Name: "Limited", LegalID: limited.LegalID, Services: 16384 | 64, Active: true,
		Signing: []*cert{limited.cert}, Encryption: certOf(t, limited.DecryptionCertificate)}); err != nil {
		t.Fatal(err)
	}
	asleep := s.merchant("Asleep")
	if err := s.Register(idin.Merchant{ID: asleep.MerchantID, SubIDs: []int{0}, Name: "Asleep", LegalID: asleep.LegalID, Services: 64,
		Signing: []*cert{asleep.cert}, Encryption: certOf(t, asleep.DecryptionCertificate)}); err != nil {
		t.Fatal(err)
	}
	good := func() string { return s.xml(s.shop, start{}) }
	swap := func(old, with string) string {
		doc := good()
		if !strings.Contains(doc, old) {
			t.Fatalf("no %s in the request", old)
		}
		return strings.Replace(doc, old, with, 1)
	}
	field := func(name, value string) string {
		return regexp.MustCompile("<"+name+">[^<]*<").ReplaceAllString(good(), "<"+name+">"+value+"<")
	}
	s.send(s.shop, s.xml(s.shop, start{reference: "Twice"}))
	for _, v := range []struct{ name, doc, want string }{
		{"version", swap(`version="1.0.0"`, `version="1.0.1"`), "BR1200"},
		{"product", swap(`productID="NL:BVN:BankID:1.0"`, `productID="NL:BVN:eMandates:1.0"`), "BR1200"},
		{"unknown message", strings.ReplaceAll(good(), "AcquirerTrxReq", "AcquirerTrxReg"), "IX1100"},
		{"other namespace", swap("Merchant-Acquirer/1.0.0", "Merchant-Acquirer/1.0.1"), "IX1100"},
		{"order", swap(`<merchantID>`+s.shop.MerchantID+`</merchantID><subID>0</subID>`, `<subID>0</subID><merchantID>`+s.shop.MerchantID+`</merchantID>`), "IX1100"},
		{"unknown element", swap("<language>", "<currency>EUR</currency><language>"), "IX1100"},
		{"element twice", swap("<language>nl</language>", "<language>nl</language><language>nl</language>"), "IX1100"},
		{"missing element", swap("<language>nl</language>", ""), "IX1600"},
		{"missing container", regexp.MustCompile("<container>.*</container>").ReplaceAllString(good(), "<container></container>"), "IX1600"},
		{"empty element", field("entranceCode", ""), "IX1600"},
		{"missing attribute", swap(` IssueInstant="`, ` Destination="`), "IX1600"},
		{"merchantID letters", field("merchantID", "12340000AB"), "BR1210"},
		{"merchantID long", field("merchantID", "12340000011"), "BR1220"},
		{"merchantID short", field("merchantID", "123400001"), "BR1230"},
		{"subID", field("subID", "-1"), "BR1210"},
		{"subID long", field("subID", "1000000"), "BR1220"},
		{"issuerID", field("issuerID", "BANKNLXO"), "BR1210"},
		{"issuerID short", field("issuerID", "BANK"), "BR1230"},
		{"language letters", field("language", "NL"), "BR1210"},
		{"language long", field("language", "nld"), "BR1220"},
		{"entranceCode characters", field("entranceCode", "a-b"), "BR1210"},
		{"entranceCode long", field("entranceCode", strings.Repeat("a", 41)), "BR1220"},
		{"date", field("createDateTimestamp", "2030-01-02T09:00:00+01:00"), "BR1270"},
		{"date that is none", field("createDateTimestamp", "2030-02-30T09:00:00.000Z"), "BR1270"},
		{"duration", field("expirationPeriod", "5 min"), "BR1270"},
		{"duration short", field("expirationPeriod", "PT59S"), "BR1230"},
		{"address", field("merchantReturnURL", "shop.example"), "BR1280"},
		{"address long", field("merchantReturnURL", "https://shop.example/"+strings.Repeat("a", 492)), "BR1220"},
		{"reference", s.xml(s.shop, start{reference: "1abc"}), "BR1210"},
		{"reference long", s.xml(s.shop, start{reference: "a" + strings.Repeat("1", 35)}), "BR1220"},
		{"service letters", s.xml(s.shop, start{service: "0x40"}), "BR1210"},
		{"service great", s.xml(s.shop, start{service: "65536"}), "BR1220"},
		{"merchant", field("merchantID", "1234999999"), "AP1100"},
		{"merchant inactive", s.xml(asleep, start{}), "AP1500"},
		{"subID unknown", s.xml(s.shop, start{sub: "7"}), "AP1300"},
		{"subID of another", s.xml(s.shop, start{sub: "1"}), "AP1300"},
		{"issuer", s.xml(s.shop, start{bank: "INGBNL2A"}), "AP1200"},
		{"reference twice", s.xml(s.shop, start{reference: "Twice"}), "AP2620"},
		{"period", s.xml(s.shop, start{expiration: "PT301S"}), "AP2920"},
		{"saml issuer", s.xml(s.shop, start{issuer: "1234999999"}), "AP3000 Requester MismatchWithIDx"},
		{"acs", s.xml(s.shop, start{acs: "https://shop.example/other"}), "AP3000 Requester MismatchWithIDx"},
		{"binding", s.xml(s.shop, start{binding: "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"}), "AP3000 Requester MismatchWithIDx"},
		{"level", s.xml(s.shop, start{level: "nl:bvn:bankid:1.0:loa2"}), "AP3000 Requester RequestUnsupported"},
		{"service bit", s.xml(s.shop, start{service: "32"}), "AP3000 Requester InvalidAttrNameOrValue"},
		{"service age", s.xml(s.shop, start{service: "192"}), "AP3000 Requester InvalidAttrNameOrValue"},
		{"sign without document", s.xml(s.shop, start{service: "16392"}), "AP3000 Requester InvalidAttrNameOrValue"},
		{"sign without BIN", s.xml(s.shop, start{service: "8", document: "abc1"}), "AP3000 Requester InvalidAttrNameOrValue"},
		{"document without sign", s.xml(s.shop, start{service: "16384", document: "abc1"}), "AP3000 Requester InvalidAttrNameOrValue"},
		{"other extension", s.xml(s.shop, start{service: "16384", document: "abc1", documentName: "urn:x"}), "AP3000 Requester InvalidAttrNameOrValue"},
		{"BSN", s.xml(s.shop, start{service: "16385"}), "AP3000 Requester RequestUnsupported"},
		{"contract", s.xml(limited, start{service: "20480"}), "AP3000 Requester RequestDenied"},
		{"contract fits", s.xml(limited, start{service: "16448", sub: "7"}), ""},
		{"bank down", s.xml(s.shop, start{bank: "DICHNL2A"}), "SO1100"},
		{"status of nothing", s.statusXML(s.shop, "1234999999999999"), "AP2600"},
		{"status, form", s.statusXML(s.shop, "123499999999999"), "BR1230"},
	} {
		who := map[string]*merchant{"contract": limited, "contract fits": limited, "merchant inactive": asleep}[v.name]
		if who == nil {
			who = s.shop
		}
		a := s.send(who, v.doc)
		if got := a.code(); got != v.want {
			t.Errorf("%s: %q, want %q\n%s", v.name, got, v.want, a.raw)
		}
		if v.want == "" {
			continue
		}
		for name, most := range map[string]int{"errorMessage": 128, "errorDetail": 256, "suggestedAction": 512, "consumerMessage": 512} {
			if text := a.text("Error/" + name); text == "" || len(text) > most {
				t.Errorf("%s: %s has %d bytes", v.name, name, len(text))
			}
		}
		if strings.HasPrefix(v.want, "AP3000") && a.el("Error/container/Response/Assertion") != nil {
			t.Errorf("%s: an assertion in an error", v.name)
		}
	}
	id, _ := s.begin(start{})
	if got := s.send(limited, s.statusXML(limited, id)).code(); got != "AP2600" {
		t.Errorf("another merchant's transaction: %q", got)
	}
	for _, language := range []string{"nl", "en", "fr"} {
		text := s.send(s.shop, s.xml(s.shop, start{bank: "DICHNL2A", language: language})).text("Error/consumerMessage")
		if (language == "en") != strings.HasPrefix(text, "This") {
			t.Errorf("in %s: %s", language, text)
		}
	}
}

// What is wrong with the document as a whole.
func TestBadDocuments(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	good := string(s.shop.sign(t, s.xml(s.shop, start{})))
	other := s.merchant("Other")
	for _, v := range []struct{ name, doc, want string }{
		{"nothing", "", "IX1100"},
		{"no XML", "merchantID=1", "IX1100"},
		{"not closed", good[:len(good)-10], "IX1100"},
		{"DTD", strings.Replace(good, "<Acq", "<!DOCTYPE a [<!ENTITY b \"c\">]><Acq", 1), "IX1100"},
		{"DTD in another encoding", strings.Replace(strings.Replace(good, "UTF-8", "ISO-8859-1", 1), "<Acq", "<!DOCTYPE a><Acq", 1), "IX1100"},
		{"not closed in another encoding", strings.Replace(good[:len(good)-10], "UTF-8", "ISO-8859-1", 1), "IX1100"},
		{"declared encoding", strings.Replace(good, "UTF-8", "ISO-8859-1", 1), "IX1200"},
		{"UTF-16", utf16(good), "IX1200"},
		{"byte order mark", "\ufeff" + good, "IX1200"},
		{"not UTF-8", strings.Replace(good, "shop.example", "sh\xf6p.example", 1), "IX1200"},
		{"long", strings.Replace(good, "<language>", strings.Repeat(" ", 300<<10)+"<language>", 1), "IX1100"},
		{"other key's name", string(other.sign(t, s.xml(s.shop, start{}))), "SE2000"},
		{"no name", regexp.MustCompile("<KeyInfo>.*</KeyInfo>").ReplaceAllString(good, "<KeyInfo></KeyInfo>"), "SE2000"},
		{"altered", strings.Replace(good, "<language>nl", "<language>en", 1), "SE2700"},
		{"altered white space", strings.Replace(good, "<language>", " <language>", 1), "SE2700"},
		{"altered signature", regexp.MustCompile("<SignatureValue>.").ReplaceAllString(good, "<SignatureValue>!"), "SE2700"},
		{"SHA-1", strings.Replace(good, "xmldsig-more#rsa-sha256", "xmldsig#rsa-sha1", 1), "SE2700"},
		{"no signature", s.xml(s.shop, start{}), "IX1600"},
	} {
		status, raw := s.post([]byte(v.doc))
		a, err := s.shop.read(t, raw)
		if status != http.StatusOK || err != nil {
			t.Errorf("%s: HTTP %d, %v", v.name, status, err)
			continue
		}
		if got := a.code(); got != v.want {
			t.Errorf("%s: %q, want %q: %s", v.name, got, v.want, a.text("Error/errorDetail"))
		}
	}
	if name := xmldsig.Fingerprint(s.shop.cert); !strings.Contains(good, name) {
		t.Fatal("the good request names another key")
	}
	lower := strings.Replace(good, xmldsig.Fingerprint(s.shop.cert), strings.ToLower(xmldsig.Fingerprint(s.shop.cert)), 1)
	if _, raw := s.post([]byte(lower)); !bytes.Contains(raw, []byte("<AcquirerTrxRes")) {
		t.Errorf("a name in small letters: %s", raw)
	}
}

func utf16(s string) string {
	out := []byte{0xff, 0xfe}
	for _, c := range []byte(s) {
		out = append(out, c, 0)
	}
	return string(out)
}

// The checks come in the order of the list: a request in which everything is
// wrong is told the first thing, and mended, the next.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.send(s.shop, s.xml(s.shop, start{reference: "Twice"}))
	limited := s.merchant("Limited")
	register := func(m *merchant, active bool, services int) {
		t.Helper()
		if err := s.Register(idin.Merchant{ID: m.MerchantID, SubIDs: []int{0}, Name: "x", LegalID: m.LegalID, Services: services, Active: active,
			Signing: []*cert{m.cert}, Encryption: certOf(t, m.DecryptionCertificate)}); err != nil {
			t.Fatal(err)
		}
	}
	register(limited, false, 64)
	s.shop = limited
	stranger := &merchant{Credentials: limited.Credentials, cert: s.merchant("x").cert, key: s.merchant("x").key}
	stranger.cert, stranger.key = func() (*cert, *key) { o := s.merchant("o"); return o.cert, o.key }()
	bad := start{bank: "XXXXNL2A", reference: "Twice", expiration: "PT6M", issuer: "1234999999", level: "loa2", service: "32", sub: "5"}
	form := func(doc string) string { return strings.Replace(doc, "<language>nl", "<language>n!", 1) }
	shape := func(doc string) string { return strings.Replace(doc, "<language>", "<x/><language>", 1) }
	version := func(doc string) string { return strings.Replace(doc, `version="1.0.0"`, `version="2"`, 1) }
	encoding := func(b []byte) []byte { return bytes.Replace(b, []byte("UTF-8"), []byte("latin1"), 1) }
	dtd := func(b []byte) []byte { return bytes.Replace(b, []byte("?>"), []byte("?><!DOCTYPE a>"), 1) }
	plain := func(b []byte) []byte { return b }
	none := func(doc string) string { return doc }
	spoil := func(b []byte) []byte { return bytes.Replace(b, []byte("<language>nl"), []byte("<language>en"), 1) }
	all := func(f ...func(string) string) func(string) string {
		return func(doc string) string {
			for _, g := range f {
				doc = g(doc)
			}
			return doc
		}
	}
	for i, step := range []struct {
		want string
		mend func()
		doc  func(string) string
		raw  func([]byte) []byte
	}{
		{"IX1100", nil, all(version, shape, form), func(b []byte) []byte { return dtd(encoding(b)) }},
		{"IX1200", nil, all(version, shape, form), encoding},
		{"BR1200", nil, all(version, shape, form), plain},
		{"IX1100", nil, all(shape, form), plain},
		{"BR1210", nil, form, plain},
		{"AP1500", nil, none, plain},
		{"AP1300", func() { register(limited, true, 64) }, none, plain},
		{"SE2000", func() { bad.sub = "" }, none, plain},
		{"SE2700", func() { stranger.cert, stranger.key = limited.cert, limited.key }, none, spoil},
		{"AP1200", nil, none, plain},
		{"AP2620", func() {
			bad.bank = "DICHNL2A"
			s.send(limited, s.xml(limited, start{reference: "Twice", service: "64"}))
		}, none, plain},
		{"AP2920", func() { bad.reference = "" }, none, plain},
		{"AP3000 Requester MismatchWithIDx", func() { bad.expiration = "" }, none, plain},
		{"AP3000 Requester RequestUnsupported", func() { bad.issuer = "" }, none, plain},
		{"AP3000 Requester InvalidAttrNameOrValue", func() { bad.level = "" }, none, plain},
		{"AP3000 Requester RequestDenied", func() { bad.service = "16384" }, none, plain},
		{"SO1100", func() { bad.service = "64" }, none, plain},
		{"", func() { bad.bank = "" }, none, plain},
	} {
		if step.mend != nil {
			step.mend()
		}
		_, raw := s.post(step.raw(stranger.sign(t, step.doc(s.xml(limited, bad)))))
		a, err := limited.read(t, raw)
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if got := a.code(); got != step.want {
			t.Errorf("step %d: %q, want %q: %s", i, got, step.want, a.text("Error/errorDetail"))
		}
	}
}
