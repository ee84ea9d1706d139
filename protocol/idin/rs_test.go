package idin_test

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"

	"eidgate/protocol/idin"
)

// This file is the other side of the wire: a routing service and a bank that
// write their messages as text, sign them with goxmldsig's canonical form and
// encrypt by hand. Nothing of it is shared with what it tests.

// A party holds a key and its certificate.
type party struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func newParty(name string, from, until time.Time) party {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return certify(key, name, from, until)
}

func certify(key *rsa.PrivateKey, name string, from, until time.Time) party {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return party{key, cert}
}

var (
	year2028 = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	year2029 = time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)
	year2031 = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)

	// rs, vs and stranger are a routing service, a bank and somebody else; us is
	// who decrypts.
	rs       = sync.OnceValue(func() party { return newParty("routing service", year2028, year2031) })
	vs       = sync.OnceValue(func() party { return newParty("bank", year2028, year2031) })
	stranger = sync.OnceValue(func() party { return newParty("stranger", year2028, year2031) })
	us       = sync.OnceValue(func() party { return newParty("merchant", year2028, year2031) })
)

// merchant trusts rs and decrypts with us.
func merchant() *idin.Merchant {
	return &idin.Merchant{ID: "1234000001", SubID: 7, LegalID: legalID,
		DirectoryURL: "https://rs.example/idin", TransactionURL: "https://rs.example/idin", StatusURL: "https://rs.example/idin",
		Certificate: us().cert, Key: us().key, Decryption: []crypto.Decrypter{us().key}, Routing: []*x509.Certificate{rs().cert}}
}

const (
	legalID = "NL99ZZZ123456780000"
	iDX     = "http://www.betaalvereniging.nl/iDx/messages/Merchant-Acquirer/1.0.0"
	samlp   = "urn:oasis:names:tc:SAML:2.0:protocol"
	saml    = "urn:oasis:names:tc:SAML:2.0:assertion"
	ds      = "http://www.w3.org/2000/09/xmldsig#"
	xenc    = "http://www.w3.org/2001/04/xmlenc#"
	excC14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// now is when answers arrive.
var now = time.Date(2030, 1, 2, 10, 0, 5, 0, time.UTC)

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// An answer is AcquirerStatusRes as the other side says it. Hooks change texts
// before and after they are signed.
type answer struct {
	worldline bool // the second profile of §16.4: prefixes, indentation, PrefixList

	created, at                   time.Time
	acquirer, transaction, state  string
	reference                     string
	first, second                 string // last parts of the URIs; second "" for none
	issuer, authority             string
	from, until                   time.Time
	audience, level, delivered    string
	nameID                        string
	attributes                    [][2]string // suffix or whole name, value
	sealedFor                     *rsa.PublicKey
	message, assertion            party // who signs
	keyName                       string
	seal                          func(plain string) string    // in place of encryption
	statement, inAssertion, inAll func(text string) string     // before signing
	between                       func(doc *etree.Document)    // between both signatures
	after                         func(message string) string  // after signing
	container                     func(response string) string // in place of the response
}

// success is the answer to want.
func success() answer {
	return answer{created: now, at: now.Add(-5 * time.Second), acquirer: "1234", transaction: want.TransactionID, state: "Success",
		reference: want.Reference, first: "Success", second: "Success", issuer: want.Issuer, authority: want.Issuer,
		from: now.Add(-5 * time.Second), until: now.Add(25 * time.Second), audience: legalID, level: idin.Substantial, delivered: "20544",
		nameID: "NLBANK0001", attributes: [][2]string{{"initials", "VJ"}, {"legallastname", "Vriës"}, {"is18orolder", "true"}},
		sealedFor: &us().key.PublicKey, message: rs(), assertion: vs(), keyName: fingerprint(rs().cert)}
}

var want = idin.Expected{TransactionID: "1234000000000042", Reference: "Mref0000000001", Issuer: "BANKNL2Y",
	Service: idin.BIN | idin.Name | idin.Adult}

func fingerprint(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// raw is the answer as it goes over the wire.
func (a answer) raw(t testing.TB) []byte {
	t.Helper()
	p, s, nl := "", "saml", ""
	root := `xmlns="` + iDX + `"`
	if a.worldline {
		p, s, nl = "awidxma:", "saml2", "\n  "
		root = `xmlns="` + ds + `" xmlns:awidxma="` + iDX + `" xmlns:ns2="urn:example:unused" xmlns:ns4="` + xenc +
			`" xmlns:xsd="http://www.w3.org/2001/XMLSchema" ` +
			`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:saml2p="` + samlp + `"`
	}
	tx := "<" + p + "transactionID>" + a.transaction + "</" + p + "transactionID>" + nl + "<" + p + "status>" + a.state + "</" + p + "status>"
	if !a.at.IsZero() {
		tx += nl + "<" + p + "statusDateTimestamp>" + stamp(a.at) + "</" + p + "statusDateTimestamp>"
	}
	if a.state == "Success" || a.container != nil {
		response := a.response(t, s, nl)
		if a.container != nil {
			response = a.container(response)
		}
		tx += nl + "<" + p + "container>" + nl + response + nl + "</" + p + "container>"
	}
	text := "<" + p + "AcquirerStatusRes " + root + ` productID="NL:BVN:BankID:1.0" version="1.0.0">` + nl +
		"<" + p + "createDateTimestamp>" + stamp(a.created) + "</" + p + "createDateTimestamp>" + nl +
		"<" + p + "Acquirer><" + p + "acquirerID>" + a.acquirer + "</" + p + "acquirerID></" + p + "Acquirer>" + nl +
		"<" + p + "Transaction>" + nl + tx + nl + "</" + p + "Transaction>" + nl + "</" + p + "AcquirerStatusRes>"
	if a.inAll != nil {
		text = a.inAll(text)
	}
	doc := parse(t, text)
	if el := doc.FindElement("//Assertion[@ID='" + assertionID + "']"); el != nil {
		prefixes := ""
		if a.worldline {
			prefixes = "xsd"
		}
		sign(t, el, 1, a.assertion.key, "#"+assertionID, prefixes, "<ds:X509Data><ds:X509Certificate>"+lines(a.assertion.cert.Raw)+
			"</ds:X509Certificate></ds:X509Data>")
	}
	if a.between != nil {
		a.between(doc)
	}
	sign(t, doc.Root(), -1, a.message.key, "", "", "<ds:KeyName>"+a.keyName+"</ds:KeyName>")
	out, err := doc.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	if a.after != nil {
		out = a.after(out)
	}
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + out)
}

const assertionID = "VS-1234000000000042"

// response is the SAML of a successful answer, not yet signed; s is the prefix.
func (a answer) response(t testing.TB, s, nl string) string {
	typed := ""
	if s == "saml2" {
		typed = ` xsi:type="xsd:string"`
	}
	second := ""
	if a.second != "" {
		second = "<" + s + `p:StatusCode Value="urn:nl:bvn:bankid:1.0:status:` + a.second + `"/>`
	}
	authority := ""
	if a.authority != "" {
		authority = "<" + s + ":AuthenticatingAuthority>" + a.authority + "</" + s + ":AuthenticatingAuthority>"
	}
	statement := `<saml:Attribute Name="urn:nl:bvn:bankid:1.0:bankid.deliveredserviceid"><saml:AttributeValue` + typed + `>` + a.delivered +
		`</saml:AttributeValue></saml:Attribute>`
	statement = strings.ReplaceAll(statement, "saml:", s+":")
	for _, attr := range a.attributes {
		statement += nl + "<" + s + ":EncryptedAttribute>" + a.encrypt(t, attribute(attr[0], attr[1], typed)) + "</" + s + ":EncryptedAttribute>"
	}
	if a.statement != nil {
		statement = a.statement(statement)
	}
	nameID := "<" + s + `:NameID xmlns:` + s + `="` + saml + `">` + a.nameID + "</" + s + ":NameID>"
	assertion := "<" + s + `:Assertion xmlns:` + s + `="` + saml + `" Version="2.0" ID="` + assertionID + `" IssueInstant="` + stamp(a.created) + `">` +
		"<" + s + ":Issuer>" + a.issuer + "</" + s + ":Issuer>" + nl +
		"<" + s + ":Subject><" + s + ":EncryptedID>" + a.encrypt(t, nameID) + "</" + s + ":EncryptedID></" + s + ":Subject>" + nl +
		"<" + s + `:Conditions NotBefore="` + stamp(a.from) + `" NotOnOrAfter="` + stamp(a.until) + `"><` + s + ":AudienceRestriction><" + s +
		":Audience>" + a.audience +
		"</" + s + ":Audience></" + s + ":AudienceRestriction><" + s + ":OneTimeUse/></" + s + ":Conditions>" + nl +
		"<" + s + `:AuthnStatement AuthnInstant="` + stamp(a.from) + `"><` + s + ":AuthnContext><" + s + ":AuthnContextClassRef>" + a.level + "</" + s +
		":AuthnContextClassRef>" + authority + "</" + s + ":AuthnContext></" + s + ":AuthnStatement>" + nl +
		"<" + s + ":AttributeStatement>" + statement + "</" + s + ":AttributeStatement></" + s + ":Assertion>"
	if a.inAssertion != nil {
		assertion = a.inAssertion(assertion)
	}
	return "<" + s + `p:Response xmlns:` + s + `p="` + samlp + `" ID="RES-1" InResponseTo="` + a.reference + `" IssueInstant="` +
		stamp(a.created) + `" Version="2.0">` +
		"<" + s + ":Issuer xmlns:" + s + `="` + saml + `">1234</` + s + ":Issuer>" + nl +
		"<" + s + `p:Status><` + s + `p:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:` + a.first + `">` + second + "</" + s +
		"p:StatusCode></" + s + "p:Status>" + nl +
		assertion + "</" + s + "p:Response>"
}

// attribute is the plaintext of one attribute.
func attribute(name, value, typed string) string {
	if !strings.HasPrefix(name, "urn:") {
		name = "urn:nl:bvn:bankid:1.0:consumer." + name
	}
	declare := ""
	if typed != "" {
		declare = ` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"`
	}
	return `<saml:Attribute xmlns:saml="` + saml + `" Name="` + name + `">` + "\n" + `<saml:AttributeValue` + declare + typed + `>` +
		escape(value) + `</saml:AttributeValue></saml:Attribute>`
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace

func (a answer) encrypt(t testing.TB, plain string) string {
	t.Helper()
	if a.seal != nil {
		return a.seal(plain)
	}
	return encrypt(t, plain, a.sealedFor)
}

// encrypt is §8 by hand: a fresh key for AES-256-CBC, wrapped by RSA-OAEP with
// SHA-1, and padding that is random but for its last byte.
func encrypt(t testing.TB, plain string, to *rsa.PublicKey) string {
	t.Helper()
	secret := make([]byte, 32)
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	text := make([]byte, aes.BlockSize+len(plain)+pad)
	_, _ = rand.Read(secret)
	_, _ = rand.Read(text)
	copy(text[aes.BlockSize:], plain)
	text[len(text)-1] = byte(pad)
	block, err := aes.NewCipher(secret)
	if err != nil {
		t.Fatal(err)
	}
	cipher.NewCBCEncrypter(block, text[:aes.BlockSize]).CryptBlocks(text[aes.BlockSize:], text[aes.BlockSize:])
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, to, secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	return `<xenc:EncryptedData xmlns:xenc="` + xenc + `" Type="` + xenc + `Element"><xenc:EncryptionMethod Algorithm="` + xenc + `aes256-cbc"/>` +
		`<ds:KeyInfo xmlns:ds="` + ds + `"><xenc:EncryptedKey><xenc:EncryptionMethod Algorithm="` + xenc +
		`rsa-oaep-mgf1p"><ds:DigestMethod Algorithm="` + ds + `sha1"/>` +
		`</xenc:EncryptionMethod><xenc:CipherData><xenc:CipherValue>` + lines(wrapped) +
		`</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo>` +
		`<xenc:CipherData><xenc:CipherValue>` + base64.StdEncoding.EncodeToString(text) + `</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData>`
}

// lines is base64 as many libraries write it.
func lines(b []byte) string {
	s, out := base64.StdEncoding.EncodeToString(b), strings.Builder{}
	for len(s) > 76 {
		out.WriteString(s[:76] + "\n")
		s = s[76:]
	}
	return out.String() + s
}

func parse(t testing.TB, text string) *etree.Document {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromString(text); err != nil {
		t.Fatalf("the test writes bad XML: %v\n%s", err, text)
	}
	return doc
}

// c14n is the exclusive canonical form of an element where it stands.
func c14n(t testing.TB, el *etree.Element, prefixes string) []byte {
	t.Helper()
	ctx, err := etreeutils.NSBuildParentContext(el)
	if err != nil {
		t.Fatal(err)
	}
	detached, err := etreeutils.NSDetatch(ctx, el)
	if err != nil {
		t.Fatal(err)
	}
	out, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList(prefixes).Canonicalize(detached)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sign puts a signature into el as child number at, or as the last one.
func sign(t testing.TB, el *etree.Element, at int, key *rsa.PrivateKey, uri, prefixes, keyInfo string) {
	t.Helper()
	list := ""
	if prefixes != "" {
		list = `<ec:InclusiveNamespaces xmlns:ec="` + excC14N + `" PrefixList="` + prefixes + `"/>`
	}
	digest := sha256.Sum256(c14n(t, el, prefixes))
	sig := parse(t, `<ds:Signature xmlns:ds="`+ds+`"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="`+excC14N+`"/>`+
		`<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/><ds:Reference URI="`+uri+`"><ds:Transforms>`+
		`<ds:Transform Algorithm="`+ds+`enveloped-signature"/><ds:Transform Algorithm="`+excC14N+`">`+list+`</ds:Transform></ds:Transforms>`+
		`<ds:DigestMethod Algorithm="`+xenc+`sha256"/><ds:DigestValue>`+base64.StdEncoding.EncodeToString(digest[:])+
		`</ds:DigestValue></ds:Reference></ds:SignedInfo>`+
		`<ds:SignatureValue/><ds:KeyInfo>`+keyInfo+`</ds:KeyInfo></ds:Signature>`).Root()
	resign(t, sig, key)
	if at < 0 {
		el.AddChild(sig)
		return
	}
	el.InsertChildAt(at, sig)
}

// resign computes the value of a signature anew.
func resign(t testing.TB, sig *etree.Element, key *rsa.PrivateKey) {
	t.Helper()
	sum := sha256.Sum256(c14n(t, sig.SelectElement("SignedInfo"), ""))
	value, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig.SelectElement("SignatureValue").SetText(lines(value))
}

// signed is any other message of the routing service: inside goes into a root of
// this name.
func signed(t testing.TB, name, inside string) []byte {
	t.Helper()
	return signedBy(t, rs(), fmt.Sprintf(`<%s xmlns="%s" version="1.0.0" productID="NL:BVN:BankID:1.0">%s</%s>`, name, iDX, inside, name))
}

func signedBy(t testing.TB, p party, text string) []byte {
	t.Helper()
	doc := parse(t, text)
	sign(t, doc.Root(), -1, p.key, "", "", "<ds:KeyName>"+fingerprint(p.cert)+"</ds:KeyName>")
	out, err := doc.WriteToBytes()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(`<?xml version="1.0" encoding="UTF-8"?>`+"\n"), out...)
}

// signedFlat is signed for an inside that is in canonical form already, and too
// large for goxmldsig.
func signedFlat(t testing.TB, name, inside string) []byte {
	t.Helper()
	whole := fmt.Sprintf(`<%s xmlns="%s" productID="NL:BVN:BankID:1.0" version="1.0.0">%s</%s>`, name, iDX, inside, name)
	digest := sha256.Sum256([]byte(whole))
	message := string(signed(t, name, ""))
	head, _, _ := strings.Cut(message, "<"+name)
	signature := parse(t, message).FindElement("//Signature")
	signature.FindElement("SignedInfo/Reference/DigestValue").SetText(base64.StdEncoding.EncodeToString(digest[:]))
	resign(t, signature, rs().key)
	doc := etree.NewDocument()
	doc.SetRoot(signature)
	text, err := doc.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	end := "</" + name + ">"
	return []byte(head + strings.TrimSuffix(whole, end) + text + end)
}

func created() string { return "<createDateTimestamp>" + stamp(now) + "</createDateTimestamp>" }

// noTest is for what is made outside a test: it panics.
type noTest struct{ testing.TB }

func (noTest) Helper()                   {}
func (noTest) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (noTest) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
