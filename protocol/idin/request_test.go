package idin_test

import (
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/need"
	"eidgate/protocol/idin"
)

// A rule is what the iDx schema says of one element: its children in order
// ("?" optional), or the form of its text (§3, §4).
type rule struct {
	ns       string
	children string // names, each with its prefix if it is not of iDx; "" for a leaf
	text     string // pattern of the whole text
}

const dateTime = `[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z`

// schema has the facts of the published schema for what we send.
var schema = map[string]rule{
	"DirectoryReq":        {iDX, "createDateTimestamp Merchant Signature", ""},
	"AcquirerTrxReq":      {iDX, "createDateTimestamp Issuer Merchant Transaction Signature", ""},
	"AcquirerStatusReq":   {iDX, "createDateTimestamp Merchant Transaction Signature", ""},
	"createDateTimestamp": {iDX, "", dateTime},
	"Issuer":              {iDX, "issuerID", ""},
	"issuerID":            {iDX, "", `[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3})?`},
	"Merchant":            {iDX, "merchantID subID merchantReturnURL?", ""},
	"merchantID":          {iDX, "", `[0-9]{10}`},
	"subID":               {iDX, "", `[0-9]{1,6}`},
	"merchantReturnURL":   {iDX, "", `.{1,512}`},
	"Transaction":         {iDX, "transactionID? expirationPeriod? language? entranceCode? container?", ""},
	"transactionID":       {iDX, "", `[0-9]{16}`},
	"expirationPeriod":    {iDX, "", `PT([1-5]M|[0-9]{2,3}S)`},
	"language":            {iDX, "", `[a-z]{2}`},
	"entranceCode":        {iDX, "", `[a-zA-Z0-9]{1,40}`},
	"container":           {iDX, "AuthnRequest", ""},

	"AuthnRequest":          {samlp, "saml:Issuer Extensions? Conditions RequestedAuthnContext Scoping", ""},
	"saml:Issuer":           {saml, "", `[0-9]{10}`},
	"Extensions":            {samlp, "Attribute", ""},
	"Attribute":             {saml, "AttributeValue", ""},
	"AttributeValue":        {saml, "", `[a-zA-Z0-9]{1,255}`},
	"Conditions":            {saml, "", ``},
	"RequestedAuthnContext": {samlp, "AuthnContextClassRef", ""},
	"AuthnContextClassRef":  {saml, "", `nl:bvn:bankid:1\.0:loa3`},
	"Scoping":               {samlp, "", ``},

	"Signature":              {ds, "SignedInfo SignatureValue KeyInfo", ""},
	"SignedInfo":             {ds, "CanonicalizationMethod SignatureMethod Reference", ""},
	"CanonicalizationMethod": {ds, "", ``},
	"SignatureMethod":        {ds, "", ``},
	"Reference":              {ds, "Transforms DigestMethod DigestValue", ""},
	"Transforms":             {ds, "Transform Transform", ""},
	"Transform":              {ds, "", ``},
	"DigestMethod":           {ds, "", ``},
	"DigestValue":            {ds, "", `[A-Za-z0-9+/]{43}=`},
	"SignatureValue":         {ds, "", `[A-Za-z0-9+/]{342}==`},
	"KeyInfo":                {ds, "KeyName", ""},
	"KeyName":                {ds, "", `[0-9A-F]{40}`},
}

// conforms compares an element and all below it with the schema.
func conforms(t *testing.T, el *etree.Element) {
	t.Helper()
	name := el.Tag
	if name == "Issuer" && el.NamespaceURI() == saml {
		name = "saml:Issuer"
	}
	r, ok := schema[name]
	if !ok || el.NamespaceURI() != r.ns {
		t.Errorf("%s in %q is not of the schema", el.Tag, el.NamespaceURI())
		return
	}
	children := el.ChildElements()
	for _, want := range strings.Fields(r.children) {
		want, optional := strings.CutSuffix(want, "?")
		_, local, prefixed := strings.Cut(want, ":")
		if !prefixed {
			local = want
		}
		if len(children) > 0 && children[0].Tag == local {
			conforms(t, children[0])
			children = children[1:]
		} else if !optional {
			t.Errorf("%s: %s is missing", el.Tag, want)
		}
	}
	if len(children) > 0 {
		t.Errorf("%s: %s stands where it may not", el.Tag, children[0].Tag)
	}
	if r.children == "" && !regexp.MustCompile(`^(`+r.text+`)$`).MatchString(el.Text()) {
		t.Errorf("%s: the text has another form", el.Tag)
	}
}

// longest is a transaction with every field at its limit, and everything that
// XML escapes.
func longest() idin.Transaction {
	u := `https://broker.example/r?a=1&b='<>"]]>&amp;%20&`
	return idin.Transaction{Issuer: "BANKNL2YXXX", ReturnURL: u + strings.Repeat("x", 512-len(u)), EntranceCode: strings.Repeat("e", 40),
		Reference: strings.Repeat("R", 35), Language: "en", Service: idin.BIN | idin.Sign, DocumentID: strings.Repeat("0", 255),
		Expiration: 61 * time.Second}
}

func shortest() idin.Transaction {
	return idin.Transaction{Issuer: "BANKNL2Y", ReturnURL: "app:back", EntranceCode: "0", Reference: "a", Language: "nl", Expiration: time.Minute}
}

// requests are messages of every kind.
func requests(t *testing.T, m *idin.Merchant) map[string][]byte {
	start := func(tx idin.Transaction) func(*idin.Client) error {
		return func(c *idin.Client) error { _, err := c.Start(t.Context(), tx); return err }
	}
	return map[string][]byte{
		"directory": sent(t, m, func(c *idin.Client) error { _, err := c.Directory(t.Context()); return err }),
		"status":    sent(t, m, func(c *idin.Client) error { _, err := c.Status(t.Context(), want.TransactionID); return err }),
		"start":     sent(t, m, start(vectorTransaction())),
		"longest":   sent(t, m, start(longest())),
		"shortest":  sent(t, m, start(shortest())),
	}
}

// TestSchema holds what we send to the schema, to the rules between fields, and
// to what was asked.
func TestSchema(t *testing.T) {
	t.Parallel()
	for name, raw := range requests(t, merchant()) {
		if !strings.HasPrefix(string(raw), `<?xml version="1.0" encoding="UTF-8"?>`+"\n<") {
			t.Errorf("%s begins with %.60q", name, raw)
		}
		root := parse(t, string(raw)).Root()
		conforms(t, root)
		if len(root.Attr) != 3 || root.SelectAttrValue("version", "") != "1.0.0" || root.SelectAttrValue("productID", "") != "NL:BVN:BankID:1.0" {
			t.Errorf("%s: root attributes %v", name, root.Attr)
		}
		if got := root.FindElement("//subID").Text(); got != "7" {
			t.Errorf("%s: subID %s", name, got)
		}
	}
}

// TestRequestSaysWhatWasAsked reads a transaction back, envelope and SAML.
func TestRequestSaysWhatWasAsked(t *testing.T) {
	t.Parallel()
	for period, tx := range map[string]idin.Transaction{"PT61S": longest(), "PT1M": shortest(), "PT5M": vectorTransaction()} {
		raw := sent(t, merchant(), func(c *idin.Client) error { _, err := c.Start(t.Context(), tx); return err })
		root := parse(t, string(raw)).Root()
		text := func(path string) string {
			if el := root.FindElement(path); el != nil {
				return el.Text()
			}
			return ""
		}
		created := stamp(now)
		if !tx.Now.IsZero() {
			created = stamp(tx.Now)
		}
		request := root.FindElement("Transaction/container/AuthnRequest")
		for what, v := range map[string][2]string{
			"created": {text("createDateTimestamp"), created}, "issuer": {text("Issuer/issuerID"), tx.Issuer},
			"return": {text("Merchant/merchantReturnURL"), tx.ReturnURL},
			"period": {text("Transaction/expirationPeriod"), period}, "language": {text("Transaction/language"), tx.Language},
			"code":      {text("Transaction/entranceCode"), tx.EntranceCode},
			"reference": {request.SelectAttrValue("ID", ""), tx.Reference}, "instant": {request.SelectAttrValue("IssueInstant", ""), created},
			"consumer": {request.SelectAttrValue("AssertionConsumerServiceURL", ""), tx.ReturnURL}, "version": {request.SelectAttrValue("Version", ""), "2.0"},
			"index":    {request.SelectAttrValue("AttributeConsumingServiceIndex", ""), strconv.Itoa(int(tx.Service))},
			"binding":  {request.SelectAttrValue("ProtocolBinding", ""), "nl:bvn:bankid:1.0:protocol:iDx"},
			"consent":  {request.SelectAttrValue("Consent", "") + request.SelectAttrValue("ForceAuthn", ""), "truetrue"},
			"merchant": {request.SelectElement("Issuer").Text(), "1234000001"}, "document": {text("//Extensions/Attribute/AttributeValue"), tx.DocumentID},
			"minimum": {request.SelectElement("RequestedAuthnContext").SelectAttrValue("Comparison", ""), "minimum"},
		} {
			if v[0] != v[1] {
				t.Errorf("%s: %s is %q, want %q", period, what, v[0], v[1])
			}
		}
	}
}

// TestRequestRules: what would be refused is not sent (§4, §5, §6).
func TestRequestRules(t *testing.T) {
	t.Parallel()
	_, c := service(t, merchant(), answers(nil))
	for name, alter := range map[string]func(*idin.Transaction){
		"no issuer":              func(tx *idin.Transaction) { tx.Issuer = "" },
		"issuer in small":        func(tx *idin.Transaction) { tx.Issuer = "banknl2y" },
		"issuer with X of 9":     func(tx *idin.Transaction) { tx.Issuer = "BANKNL2YX" },
		"issuer with 1":          func(tx *idin.Transaction) { tx.Issuer = "BANKNL1Y" },
		"issuer with O":          func(tx *idin.Transaction) { tx.Issuer = "BANKNL2O" },
		"issuer with line feed":  func(tx *idin.Transaction) { tx.Issuer = "BANKNL2Y\n" },
		"no return":              func(tx *idin.Transaction) { tx.ReturnURL = "" },
		"return over http":       func(tx *idin.Transaction) { tx.ReturnURL = "http://broker.example/" },
		"return without host":    func(tx *idin.Transaction) { tx.ReturnURL = "https:///x" },
		"return with user":       func(tx *idin.Transaction) { tx.ReturnURL = "https://a@broker.example/" },
		"return with fragment":   func(tx *idin.Transaction) { tx.ReturnURL = "https://broker.example/#x" },
		"return to app fragment": func(tx *idin.Transaction) { tx.ReturnURL = "app://x#y" },
		"return to script":       func(tx *idin.Transaction) { tx.ReturnURL = "javascript:alert(1)" },
		"return to script, caps": func(tx *idin.Transaction) { tx.ReturnURL = "JavaScript:alert(1)" },
		"return to data":         func(tx *idin.Transaction) { tx.ReturnURL = "data:text/html,x" },
		"return is relative":     func(tx *idin.Transaction) { tx.ReturnURL = "/back" },
		"return of 513":          func(tx *idin.Transaction) { tx.ReturnURL = longest().ReturnURL + "x" },
		"return with blank":      func(tx *idin.Transaction) { tx.ReturnURL = "https://broker.example/ " },
		"return beyond ASCII":    func(tx *idin.Transaction) { tx.ReturnURL = "https://broker.example/é" },
		"return to app, blank":   func(tx *idin.Transaction) { tx.ReturnURL = "app:b ack" },
		"return with NUL":        func(tx *idin.Transaction) { tx.ReturnURL = "https://broker.example/\x00" },
		"no entrance code":       func(tx *idin.Transaction) { tx.EntranceCode = "" },
		"entrance code of 41":    func(tx *idin.Transaction) { tx.EntranceCode = strings.Repeat("e", 41) },
		"entrance code with -":   func(tx *idin.Transaction) { tx.EntranceCode = "a-b" },
		"no reference":           func(tx *idin.Transaction) { tx.Reference = "" },
		"reference with digit":   func(tx *idin.Transaction) { tx.Reference = "1a" },
		"reference of 36":        func(tx *idin.Transaction) { tx.Reference = strings.Repeat("R", 36) },
		"language in capitals":   func(tx *idin.Transaction) { tx.Language = "NL" },
		"language with region":   func(tx *idin.Transaction) { tx.Language = "nl-NL" },
		"BSN":                    func(tx *idin.Transaction) { tx.Service |= 1 },
		"unknown bit":            func(tx *idin.Transaction) { tx.Service |= 32 },
		"half a birth date":      func(tx *idin.Transaction) { tx.Service |= 128 },
		"signature without BIN":  func(tx *idin.Transaction) { tx.Service, tx.DocumentID = idin.Sign, "1" },
		"signature of nothing":   func(tx *idin.Transaction) { tx.Service |= idin.Sign },
		"document unsigned":      func(tx *idin.Transaction) { tx.DocumentID = "1" },
		"document with dash":     func(tx *idin.Transaction) { tx.Service, tx.DocumentID = tx.Service|idin.Sign, "a-b" },
		"document of 256":        func(tx *idin.Transaction) { tx.Service, tx.DocumentID = tx.Service|idin.Sign, strings.Repeat("0", 256) },
		"59 seconds":             func(tx *idin.Transaction) { tx.Expiration = 59 * time.Second },
		"301 seconds":            func(tx *idin.Transaction) { tx.Expiration = 301 * time.Second },
		"half a second":          func(tx *idin.Transaction) { tx.Expiration = time.Minute + time.Second/2 },
	} {
		tx := vectorTransaction()
		alter(&tx)
		if _, err := c.Start(t.Context(), tx); !errors.Is(err, idin.ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", "123400000000004", "12340000000000421", "123400000000004a", "1234000000000042\n"} {
		if _, err := c.Status(t.Context(), id); !errors.Is(err, idin.ErrRequest) {
			t.Errorf("status of %q: %v", id, err)
		}
	}
}

// TestWrongKey: a key that does not fit its certificate does not sign.
func TestWrongKey(t *testing.T) {
	t.Parallel()
	m := merchant()
	m.Key = stranger().key
	_, c := service(t, m, func(http.ResponseWriter, *http.Request) { t.Error("sent") })
	for name, call := range calls {
		if err := call(t.Context(), c); err == nil || errors.Is(err, idin.ErrTransport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestXMLSecReadsOurs has an independent program verify every message that we
// send, and refuse each when it is altered.
func TestXMLSecReadsOurs(t *testing.T) {
	t.Parallel()
	bin, dir := need.Program(t, "xmlsec1"), t.TempDir()
	cert := filepath.Join(dir, "merchant.pem")
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: us().cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, raw := range requests(t, merchant()) {
		for _, altered := range []bool{false, true} {
			file := filepath.Join(dir, "message.xml")
			if altered {
				raw = replace("<subID>7<", "<subID>8<")(raw)
			}
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), bin, "--verify", "--pubkey-cert-pem:"+fingerprint(us().cert), cert, file).CombinedOutput()
			if (err != nil) != altered {
				t.Errorf("%s, altered %v: %v\n%s", name, altered, err, out)
			}
		}
	}
}

// TestXMLSecReadsTheirs has it verify the answers of our tests too, so that what
// we read is not only what we believe.
func TestXMLSecReadsTheirs(t *testing.T) {
	t.Parallel()
	bin, dir := need.Program(t, "xmlsec1"), t.TempDir()
	write := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	second := success()
	second.worldline = true
	for name, a := range map[string]answer{"plain": success(), "worldline": second} {
		file := write("answer.xml", a.raw(t))
		for node, p := range map[string]party{"/*/*[local-name()='Signature']": rs(), "//*[@ID='" + assertionID + "']/*[local-name()='Signature']": vs()} {
			cert := write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
			out, err := exec.CommandContext(t.Context(), bin, "--verify", "--id-attr:ID", saml+":Assertion", "--node-xpath", node, "--pubkey-cert-pem",
				cert, file).CombinedOutput()
			if err != nil {
				t.Errorf("%s, %s: %v\n%s", name, node, err, out)
			}
		}
	}
}

// TestNew: references have the form that is asked for, and are new each time.
func TestNew(t *testing.T) {
	t.Parallel()
	seen, letters := map[string]bool{}, map[rune]int{}
	for range 2000 {
		ref, code := idin.NewReference(), idin.NewEntranceCode()
		if !regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9]{34}$`).MatchString(ref) || !regexp.MustCompile(`^[a-zA-Z0-9]{40}$`).MatchString(code) ||
			seen[ref] || seen[code] {
			t.Fatalf("%q, %q", ref, code)
		}
		seen[ref], seen[code] = true, true
		for _, c := range code {
			letters[c]++
		}
	}
	for c, n := range letters { // 80000 draws of 62: 1290 each, give or take 36
		if n < 1290-8*36 || n > 1290+8*36 {
			t.Errorf("%c is drawn %d times", c, n)
		}
	}
	if len(letters) != 62 {
		t.Errorf("%d characters are drawn", len(letters))
	}
}
