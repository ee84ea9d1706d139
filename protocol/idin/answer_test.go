package idin_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/protocol/idin"
)

const goodDirectory = `<Acquirer><acquirerID>1234</acquirerID></Acquirer><Directory><directoryDateTimestamp>2029-12-20T00:00:00.000Z</directoryDateTimestamp>` +
	`<Country><countryNames>Nederland</countryNames><Issuer><issuerID>BANKNL2Y</issuerID><issuerName>Bank Een</issuerName></Issuer>` +
	`<Issuer><issuerID>CURRNL2A</issuerID><issuerName>Bank Twee</issuerName></Issuer></Country>` +
	`<Country><countryNames>België/Belgique</countryNames><Issuer><issuerID>BANKBE22XXX</issuerID><issuerName>Bank Drie</issuerName></Issuer></Country></Directory>`

// TestDirectory reads lists of banks; one that cannot be used is left out (§3, §4).
func TestDirectory(t *testing.T) {
	t.Parallel()
	one, two := idin.Issuer{ID: "BANKNL2Y", Name: "Bank Een"}, idin.Issuer{ID: "CURRNL2A", Name: "Bank Twee"}
	three := idin.Issuer{ID: "BANKBE22XXX", Name: "Bank Drie"}
	long := strings.Repeat("é", 36)
	list := func(nl ...idin.Issuer) []idin.Country {
		return []idin.Country{{Name: "Nederland", Issuers: nl}, {Name: "België/Belgique", Issuers: []idin.Issuer{three}}}
	}
	for name, v := range map[string]struct {
		inside string
		want   []idin.Country
		notes  []idin.Note
	}{
		"as it should be": {goodDirectory, list(one, two), nil},
		"indented":        {strings.ReplaceAll(goodDirectory, "><", ">\n\t<"), list(one, two), nil},
		"a bank without":  {strings.Replace(goodDirectory, "CURRNL2A", "XXX", 1), list(one), []idin.Note{"issuer without usable issuerID or issuerName"}},
		"a nameless bank": {strings.Replace(goodDirectory, "Bank Twee", "", 1), list(one), []idin.Note{"issuer without usable issuerID or issuerName"}},
		"a bank twice":    {strings.Replace(goodDirectory, "CURRNL2A", "BANKNL2Y", 1), list(one), []idin.Note{"issuerID is there twice"}},
		"twice, elsewhere": {strings.Replace(goodDirectory, "CURRNL2A", "BANKBE22XXX", 1),
			[]idin.Country{{Name: "Nederland", Issuers: []idin.Issuer{one, {ID: three.ID, Name: "Bank Twee"}}}, {Name: "België/Belgique"}},
			[]idin.Note{"issuerID is there twice"}},
		"a long name": {strings.Replace(goodDirectory, "Bank Een", long, 1), list(idin.Issuer{ID: one.ID, Name: long}, two),
			[]idin.Note{"issuerName is too long"}},
		"a full name": {strings.Replace(goodDirectory, "Bank Een", long[:70], 1), list(idin.Issuer{ID: one.ID, Name: long[:70]}, two), nil},
	} {
		d, err := merchant().ReadDirectory(signed(t, "DirectoryRes", created()+v.inside), now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(&idin.Directory{At: time.Date(2029, 12, 20, 0, 0, 0, 0, time.UTC), Countries: v.want, Notes: v.notes}, d); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	d, err := merchant().ReadDirectory(signed(t, "DirectoryRes", created()+goodDirectory), now)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := d.Issuer("BANKBE22XXX"); !ok || got != three {
		t.Errorf("Issuer = %v, %v", got, ok)
	}
	if got, ok := d.Issuer("INGBNL2A"); ok {
		t.Errorf("Issuer = %v", got)
	}
}

const goodStart = `<Acquirer><acquirerID>1234</acquirerID></Acquirer><Issuer><issuerAuthenticationURL>https://bank.example/x</issuerAuthenticationURL></Issuer>` +
	`<Transaction><transactionID>1234000000000042</transactionID><transactionCreateDateTimestamp>2030-01-02T10:00:04.123456+01:00</transactionCreateDateTimestamp></Transaction>`

// soup writes a message as one real service does: ns3 before every name, the
// default namespace that of signatures, declarations that nothing uses, and
// lines (§3).
func soup(t *testing.T, name, inside string) []byte {
	t.Helper()
	inside = regexp.MustCompile(`<(/?)([a-zA-Z])`).ReplaceAllString(inside, "<${1}ns3:$2")
	inside = strings.ReplaceAll(inside, "><", ">\n    <")
	return signedBy(t, rs(), `<ns3:`+name+` productID="NL:BVN:BankID:1.0" version="1.0.0" xmlns="`+ds+
		`" xmlns:ns2="urn:example:unused" xmlns:ns3="`+iDX+`" xmlns:ns4="`+samlp+`">`+
		"\n    "+inside+"\n</ns3:"+name+">\n")
}

func TestPrefixSoup(t *testing.T) {
	t.Parallel()
	d, err := merchant().ReadDirectory(soup(t, "DirectoryRes", created()+goodDirectory), now)
	if err != nil || len(d.Countries) != 2 || d.Countries[0].Issuers[1].Name != "Bank Twee" {
		t.Errorf("directory: %+v, %v", d, err)
	}
	s, err := merchant().ReadStarted(soup(t, "AcquirerTrxRes", created()+goodStart), now)
	if err != nil || s.TransactionID != "1234000000000042" || s.URL != "https://bank.example/x" {
		t.Errorf("started: %v, %v", s, err)
	}
	var said *idin.Error
	busy := "<Error><errorCode>SO1200</errorCode><errorMessage>x</errorMessage></Error>"
	if _, err = merchant().ReadStarted(soup(t, "AcquirerErrorRes", created()+busy), now); !errors.As(err, &said) || said.Code != "SO1200" {
		t.Errorf("error: %v", err)
	}
}

func TestStarted(t *testing.T) {
	t.Parallel()
	s, err := merchant().ReadStarted(signed(t, "AcquirerTrxRes", created()+goodStart), now)
	if err != nil {
		t.Fatal(err)
	}
	if at := time.Date(2030, 1, 2, 9, 0, 4, 123456000, time.UTC); s.TransactionID != "1234000000000042" || s.URL != "https://bank.example/x" ||
		s.At != at || s.Notes != nil {
		t.Errorf("%+v", *s)
	}
	s, err = merchant().ReadStarted(signed(t, "AcquirerTrxRes", created()+strings.Replace(goodStart, "1234000000000042", "4321000000000042", 1)), now)
	if err != nil || !slices.Equal(s.Notes, []idin.Note{"transactionID does not begin with acquirerID"}) {
		t.Errorf("another acquirer's number: %v, %v", s, err)
	}
	m := merchant()
	m.AllowHTTP = true
	s, err = m.ReadStarted(signed(t, "AcquirerTrxRes", created()+strings.Replace(goodStart, "https://", "http://", 1)), now)
	if err != nil || s.URL != "http://bank.example/x" {
		t.Errorf("a simulator's address: %v, %v", s, err)
	}
}

// TestStartAndDirectoryRefusals: messages with a good signature that must not be
// believed (§15.2).
func TestStartAndDirectoryRefusals(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		from, to string
		reason   idin.Reason
	}{
		"other acquirer":     {"<acquirerID>1234", "<acquirerID>4321", idin.ReasonAcquirer},
		"no acquirer":        {"Acquirer>", "Acquire>", idin.ReasonShape},
		"no time":            {created(), "", idin.ReasonShape},
		"old":                {stamp(now), stamp(now.Add(-6 * time.Minute)), idin.ReasonStale},
		"stamp of no time":   {`Timestamp>20`, `Timestamp>xx`, idin.ReasonTime},
		"http":               {"https://bank", "http://bank", idin.ReasonURL},
		"script":             {"https://bank.example/x", "javascript:alert(1)", idin.ReasonURL},
		"with blank":         {"https://bank.example/x", "https://bank.example/x ", idin.ReasonURL},
		"with user":          {"https://bank", "https://bank:x@bank", idin.ReasonURL},
		"long":               {"https://bank.example/x", "https://bank.example/" + strings.Repeat("x", 492), idin.ReasonURL},
		"number of 15":       {"1234000000000042", "123400000000042", idin.ReasonTransaction},
		"number with letter": {"1234000000000042", "12340000000000x2", idin.ReasonTransaction},
		"number twice":       {"</transactionID>", "</transactionID><transactionID/>", idin.ReasonShape},
		"no date":            {"directoryDateTimestamp>", "date>", idin.ReasonShape},
		"no country":         {"Country>", "County>", idin.ReasonShape},
		"no bank":            {"issuerName>", "name>", idin.ReasonShape},
	} {
		used := 0
		for root, inside := range map[string]string{"AcquirerTrxRes": created() + goodStart, "DirectoryRes": created() + goodDirectory} {
			altered := strings.ReplaceAll(inside, v.from, v.to)
			if altered == inside {
				continue
			}
			used++
			_, err := merchant().ReadStarted(signed(t, "AcquirerTrxRes", altered), now)
			if root == "DirectoryRes" {
				_, err = merchant().ReadDirectory(signed(t, "DirectoryRes", altered), now)
			}
			var got *idin.RefusedError
			if !errors.As(err, &got) || got.Part != idin.Message || got.Reason != v.reason {
				t.Errorf("%s, %s: %v, want %s", root, name, err, v.reason)
			}
		}
		if used == 0 {
			t.Errorf("%s alters nothing", name)
		}
	}
	none := strings.NewReplacer("BANKNL2Y", "x", "CURRNL2A", "y", "BANKBE22XXX", "z").Replace(goodDirectory)
	var got *idin.RefusedError
	if _, err := merchant().ReadDirectory(signed(t, "DirectoryRes", created()+none), now); !errors.As(err, &got) || got.Reason != idin.ReasonShape {
		t.Errorf("no bank that can be used: %v", err)
	}
	// An assertion has no business here, not even a signed one.
	if _, err := merchant().ReadStarted(success().raw(t), now); !errors.As(err, &got) || got.Reason != "signatures" {
		t.Errorf("a status for a start: %v", err)
	}
}

// TestErrors reads refusals (§10.3) and classes them.
func TestErrors(t *testing.T) {
	t.Parallel()
	message := func(inside string) []byte {
		return signed(t, "AcquirerErrorRes", created()+"<Error>"+inside+"</Error>")
	}
	full := "<errorCode>SO1100</errorCode><errorMessage>Issuer not available</errorMessage><errorDetail>NL99</errorDetail><suggestedAction>Try</suggestedAction>" +
		"<consumerMessage>De bank is &lt;niet&gt; bereikbaar.</consumerMessage>"
	long := strings.Repeat("é", 600)
	for name, v := range map[string]struct {
		inside string
		want   idin.Error
		retry  idin.Retry
		text   string
	}{
		"full": {full, idin.Error{Code: "SO1100", Message: "Issuer not available", Detail: "NL99", Action: "Try",
			Consumer: "De bank is <niet> bereikbaar."},
			idin.RetryElsewhere, "iDIN answers SO1100"},
		"least": {"<errorCode>BR1210</errorCode><errorMessage>x</errorMessage>", idin.Error{Code: "BR1210", Message: "x"}, idin.RetryNever,
			"iDIN answers BR1210"},
		"unknown": {"<errorCode>ZZ9999</errorCode><errorMessage>x</errorMessage>", idin.Error{Code: "ZZ9999", Message: "x"}, idin.RetryNever,
			"iDIN answers ZZ9999"},
		"busy": {"<errorCode>SO1200</errorCode><errorMessage>x</errorMessage>", idin.Error{Code: "SO1200", Message: "x"}, idin.RetryLater,
			"iDIN answers SO1200"},
		"new system": {"<errorCode>SO9999</errorCode><errorMessage>x</errorMessage>", idin.Error{Code: "SO9999", Message: "x"}, idin.RetryLater,
			"iDIN answers SO9999"},
		"unknown BIC": {"<errorCode>AP1200</errorCode><errorMessage>x</errorMessage>", idin.Error{Code: "AP1200", Message: "x"},
			idin.RetryDirectory, "iDIN answers AP1200"},
		"long": {"<errorCode>AP1100</errorCode><errorMessage>" + long + "</errorMessage><errorDetail>" + long + "</errorDetail><suggestedAction>" +
			long + "</suggestedAction><consumerMessage>" +
			long + "</consumerMessage>", idin.Error{Code: "AP1100", Message: long[:256], Detail: long[:512], Action: long[:1024],
			Consumer: long[:1024]}, idin.RetryNever, "iDIN answers AP1100"},
		"strange SAML": {`<errorCode>AP3000</errorCode><errorMessage>x</errorMessage><container><Response xmlns="` + samlp +
			`"><Status><StatusCode Value="urn:example:a b">` +
			`<StatusCode Value="urn:nl:bvn:bankid:1.0:status:New"/></StatusCode><StatusMessage Value="look"/></Status></Response></container>`,
			idin.Error{Code: "AP3000", Message: "x", SAML: idin.SAMLStatus{First: "urn:example:a b", Second: "New", Message: "look"}}, idin.RetryNever,
			"iDIN answers AP3000 SAML status -/New"},
		"half a SAML": {`<errorCode>AP3000</errorCode><errorMessage>x</errorMessage><container><Response xmlns="` + samlp + `"/></container>`,
			idin.Error{Code: "AP3000", Message: "x"}, idin.RetryNever, "iDIN answers AP3000"},
	} {
		_, err := merchant().ReadStarted(message(v.inside), now)
		var got *idin.Error
		if !errors.As(err, &got) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(v.want, *got); diff != "" || got.Retry() != v.retry || got.Error() != v.text {
			t.Errorf("%s: retry %v, %q (-want +got)\n%s", name, got.Retry(), got, diff)
		}
	}
	for name, inside := range map[string]string{"no code": "<errorMessage>x</errorMessage>",
		"code of another form": "<errorCode>S01100</errorCode><errorMessage>x</errorMessage>"} {
		var got *idin.RefusedError
		if _, err := merchant().ReadStarted(message(inside), now); !errors.As(err, &got) || got.Reason != idin.ReasonShape {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Without a signature of the routing service an error is none.
	var got *idin.RefusedError
	if _, err := merchant().ReadStatus(signedBy(t, stranger(), `<AcquirerErrorRes xmlns="`+iDX+`"/>`), want, now); !errors.As(err, &got) ||
		got.Reason != "key" {
		t.Errorf("a stranger's error: %v", err)
	}
}

// TestConsumerMessage: every code has a text, in two languages.
func TestConsumerMessage(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ code, lang, begin string }{
		{"SO1000", "nl", "De gekozen bank"}, {"SO1100", "en", "The chosen bank"}, {"AP1200", "nl", "De gekozen bank"}, {"AP1200", "sv", "The chosen bank"},
		{"SE2700", "nl", "Identificeren"}, {"", "en", "Identification"}, {"AP3000", "", "Identification"},
	} {
		if got := idin.ConsumerMessage(v.code, v.lang); !strings.HasPrefix(got, v.begin) {
			t.Errorf("ConsumerMessage(%q, %q) = %q", v.code, v.lang, got)
		}
	}
}
