package xmldsig_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"eidgate/internal/need"
	"eidgate/internal/xmldsig"
)

// An xmlsec is Debian's xmlsec1 in a folder of its own.
type xmlsec struct {
	t        *testing.T
	bin, dir string
}

// newXMLSec finds the witness.
func newXMLSec(t *testing.T) xmlsec {
	t.Helper()
	return xmlsec{t, need.Program(t, "xmlsec1"), t.TempDir()}
}

func (x xmlsec) file(name, content string) string {
	x.t.Helper()
	name = filepath.Join(x.dir, name)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		x.t.Fatal(err)
	}
	return name
}

func (x xmlsec) run(args ...string) (string, error) {
	cmd := exec.CommandContext(x.t.Context(), x.bin, args...)
	out, err := cmd.Output()
	return string(out), err
}

func pemCert(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func pemKey(t *testing.T, s xmldsig.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(s.Key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// hard is a document with whatever canonical form has to decide: inherited, unused
// and rebound prefixes, an undeclared default, attributes whose order depends on
// namespace names, white space of every kind.
const hard = `<?xml version='1.0'  encoding='utf-8' standalone="yes"?>
<r xmlns="urn:r" xmlns:b="urn:1" xmlns:a="urn:2" xmlns:unused="urn:unused" ID="r1" xml:lang="sv"
  a:one="x" b:two='"&amp;&lt;&gt;&apos;' plain="1&#9;2&#10;3&#13;4	5
6">` + "\r\n\r" + `<a:x/><b:y xmlns:b="urn:3"><b:z b:q="" xmlns:a="urn:2" a:q=""/></b:y><n xmlns=""><m xmlns=""/><o xmlns="urn:r"/></n>
 &amp; &lt; > &#62; &quot; &#13; é &#x1F600; ` + "\U0001F600\t" + `<s:v xmlns:s="urn:s" xmlns:i="urn:i" i:type="unused:t">x</s:v></r>`

func TestXMLSecReadsOurs(t *testing.T) {
	t.Parallel()
	x := newXMLSec(t)
	enclosing, naming := issuer(t), merchant(t)
	naming.LowerName = true
	listing := merchant(t)
	listing.Prefix, listing.Inclusive = "dsig", "unused #default xml"
	for name, v := range map[string]struct {
		doc    string
		signer xmldsig.Signer
		id     string
	}{
		"whole":               {message, naming, ""},
		"hard":                {hard, enclosing, ""},
		"with a PrefixList":   {hard, listing, ""},
		"with a default":      {`<p:r xmlns:p="urn:p" xmlns="urn:d"><p:e a="">x</p:e><e/></p:r>`, listing, ""},
		"by its id":           {hard, enclosing, "r1"},
		"in a default prefix": {hard, naming, "r1"},
	} {
		root := tree(t, v.doc)
		var err error
		if v.id == "" {
			err = v.signer.Sign(root)
		} else {
			err = v.signer.SignAt(root, 1, v.id)
		}
		if err != nil {
			t.Fatal(err)
		}
		doc := text(t, root)
		verify := func(doc string) error {
			_, err := x.run("--verify", "--id-attr:ID", root.Tag, "--pubkey-cert-pem", x.file("cert.pem", pemCert(v.signer.Certificate)), x.file("doc.xml", doc))
			return err
		}
		if err := verify(doc); err != nil {
			t.Errorf("%s: xmlsec1 refuses our signature: %v", name, err)
		}
		if _, err := xmldsig.Verify([]byte(doc), xmldsig.Limits{}, xmldsig.Rule{Select: always(v.signer.Certificate), Now: clock}); err != nil {
			t.Errorf("%s: we refuse our signature: %v", name, err)
		}
		for _, altered := range []string{
			strings.Replace(doc, ">x<", ">y<", 1), strings.Replace(doc, `plain="1`, `plain="2`, 1),
			strings.Replace(doc, `xmlns:a="urn:2"`, `xmlns:a="urn:9"`, 1), strings.Replace(doc, "20480", "20481", 1),
		} {
			if altered == doc {
				continue
			}
			if verify(altered) == nil {
				t.Errorf("%s: xmlsec1 accepts an altered document: it is no witness", name)
			}
			if _, err := xmldsig.Verify([]byte(altered), xmldsig.Limits{}, xmldsig.Rule{Select: always(v.signer.Certificate)}); kind(err) != xmldsig.Digest {
				t.Errorf("%s: altered: %v", name, err)
			}
		}
	}
}

// template is what xmlsec1 fills in.
func template(uri, transform, keyInfo string) string {
	return `<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo>` +
		`<CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>` + "\n" +
		`<SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/><Reference URI="` + uri + `"><Transforms>` +
		`<Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>` + transform + `</Transforms>` +
		`<DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><DigestValue/></Reference></SignedInfo>` +
		`<SignatureValue/><KeyInfo>` + keyInfo + `</KeyInfo></Signature>`
}

const (
	plainC14N = `<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>`
	listC14N  = `<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"><ec:InclusiveNamespaces ` +
		`xmlns:ec="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="unused xsd"/></Transform>`
)

func TestWeReadXMLSecs(t *testing.T) {
	t.Parallel()
	x := newXMLSec(t)
	for name, v := range map[string]struct {
		doc, id string // the id of the root, by which the reference names it
		signer  xmldsig.Signer
		c14n    string
	}{
		"whole":             {message, "", merchant(t), plainC14N},
		"hard":              {hard, "", merchant(t), plainC14N},
		"with a PrefixList": {hard, "", issuer(t), listC14N},
		"by its id":         {hard, "r1", issuer(t), listC14N},
	} {
		uri, keyInfo := "", `<X509Data/>`
		if v.id != "" {
			uri = "#" + v.id
		}
		if v.signer.KeyName {
			keyInfo = "<KeyName>" + xmldsig.Fingerprint(v.signer.Certificate) + "</KeyName>"
		}
		end := strings.LastIndex(v.doc, "</")
		unsigned := v.doc[:end] + template(uri, v.c14n, keyInfo) + v.doc[end:]
		keys := x.file("key.pem", pemKey(t, v.signer)) + "," + x.file("cert.pem", pemCert(v.signer.Certificate))
		doc, err := x.run("--sign", "--id-attr:ID", "r", "--privkey-pem:"+xmldsig.Fingerprint(v.signer.Certificate), keys, x.file("doc.xml", unsigned))
		if err != nil {
			t.Fatalf("%s: xmlsec1 does not sign: %v", name, err)
		}
		choose := enclosed
		if v.signer.KeyName {
			choose = named(v.signer.Certificate)
		}
		s, err := xmldsig.Verify([]byte(doc), xmldsig.Limits{}, xmldsig.Rule{Select: choose, Now: clock})
		if err != nil {
			t.Errorf("%s: we refuse xmlsec1's signature: %v", name, err)
		} else if !s.Certificate.Equal(v.signer.Certificate) {
			t.Errorf("%s: another certificate", name)
		}
		altered := strings.Replace(doc, "20480", "20481", 1)
		altered = strings.Replace(altered, `plain="1`, `plain="2`, 1)
		if _, err := xmldsig.Verify([]byte(altered), xmldsig.Limits{}, xmldsig.Rule{Select: choose}); kind(err) != xmldsig.Digest {
			t.Errorf("%s: altered: %v", name, err)
		}
	}
}

// TestInnerPrefixList holds a trap of two levels: the assertion's PrefixList names
// a prefix that canonical form of the whole has dropped, wherever it is declared.
func TestInnerPrefixList(t *testing.T) {
	t.Parallel()
	const xsd = ` xmlns:xsd="http://www.w3.org/2001/XMLSchema"`
	x := newXMLSec(t)
	for place, base := range map[string]string{
		"below":  message,
		"around": strings.Replace(strings.Replace(message, xsd, "", 1), `<Answer`, `<Answer`+xsd, 1),
	} {
		root := tree(t, base)
		inner := issuer(t)
		inner.Inclusive = "xsd"
		if err := inner.SignAt(root.FindElement(".//Assertion"), 1, "VS-1"); err != nil {
			t.Fatal(err)
		}
		if err := merchant(t).Sign(root); err != nil {
			t.Fatal(err)
		}
		doc := text(t, root)
		if id, err := verify(t, doc); err != nil || id != "anna" {
			t.Errorf("%s: verify = %q, %v", place, id, err)
		}
		// xsd is used by nothing but a value, so the outer signature does not see it.
		altered := strings.Replace(doc, xsd, ` xmlns:xsd="urn:other"`, 1)
		if _, err := verify(t, altered); kind(err) != xmldsig.Digest {
			t.Errorf("%s: another meaning of xsd: %v", place, err)
		}
		for node, cert := range map[string]*x509.Certificate{
			"/*/*[local-name()='Signature']":              certificate(t, "merchant.pem"),
			"//*[@ID='VS-1']/*[local-name()='Signature']": inner.Certificate,
		} {
			witness := func(doc string) error {
				_, err := x.run("--verify", "--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:assertion:Assertion", "--node-xpath", node,
					"--pubkey-cert-pem", x.file("cert.pem", pemCert(cert)), x.file("doc.xml", doc))
				return err
			}
			if err := witness(doc); err != nil {
				t.Errorf("%s: xmlsec1 refuses %s: %v", place, node, err)
			}
			if err := witness(altered); (err == nil) != strings.HasPrefix(node, "/*/") {
				t.Errorf("%s: xmlsec1 says of %s with another meaning of xsd: %v", place, node, err)
			}
		}
	}
}

// TestGoxmldsig asks another library of this language. The last four documents are
// why it is a witness here and not what we build on
// (docs/decisions/0009-own-canonical-form.md): xmlsec1 and we agree on them.
func TestGoxmldsig(t *testing.T) {
	t.Parallel()
	x := newXMLSec(t)
	m := merchant(t)
	accepts := func(doc string) bool {
		d := etree.NewDocument()
		if err := d.ReadFromString(doc); err != nil {
			return false
		}
		sig := d.FindElement("/*/Signature")
		sig.RemoveChild(sig.SelectElement("KeyInfo")) // it knows no KeyName, and must have a certificate otherwise
		ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{m.Certificate}})
		ctx.Clock = dsig.NewFakeClockAt(clock)
		_, err := ctx.Validate(d.Root())
		return err == nil
	}
	sign := func(doc string) string {
		root := tree(t, doc)
		if err := m.Sign(root); err != nil {
			t.Fatal(err)
		}
		return text(t, root)
	}
	lines := sign(`<r xmlns="urn:r" a="1&#10;2"/>`)
	for _, v := range []struct {
		name, doc    string
		theirs, ours bool
	}{
		{"message", sign(message), true, true},
		{"inner signature", text(t, signed(t, nil)), true, true},
		{"altered", strings.Replace(sign(message), "20480", "20481", 1), false, false},
		{"altered inside", strings.Replace(text(t, signed(t, nil)), "20480", "20481", 1), false, false},
		{"attributes of two namespaces", sign(`<r xmlns:b="urn:1" xmlns:a="urn:2" b:z="" a:y=""/>`), false, true},
		{"an empty default namespace", sign(`<r xmlns=""/>`), false, true},
		{"1,100 elements", sign("<r>" + strings.Repeat("<e/>", 1100) + "</r>"), false, true},
		{"a line break in an attribute", strings.Replace(lines, "&#xA;", "\n", 1), true, false},
	} {
		if got := accepts(v.doc); got != v.theirs {
			t.Errorf("%s: goxmldsig accepts: %v", v.name, got)
		}
		_, err := xmldsig.Verify([]byte(v.doc), xmldsig.Limits{}, xmldsig.Rule{Select: always(m.Certificate), Others: 1})
		if (err == nil) != v.ours {
			t.Errorf("%s: we say %v", v.name, err)
		}
		_, err = x.run("--verify", "--node-xpath", "/*/*[local-name()='Signature']",
			"--pubkey-cert-pem", x.file("cert.pem", pemCert(m.Certificate)), x.file("doc.xml", v.doc))
		if (err == nil) != v.ours {
			t.Errorf("%s: xmlsec1 says %v", v.name, err)
		}
	}
}

func TestXMLSecDecryptsOurs(t *testing.T) {
	t.Parallel()
	x := newXMLSec(t)
	m := merchant(t)
	secret := tree(t, `<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">Vriës &amp; co</saml:NameID>`)
	for name, o := range map[string]xmldsig.EncryptOptions{
		"aes256-cbc": {Recipient: "NL99"},
		"aes128-cbc": {Cipher: xmldsig.AES128CBC},
		"aes256-gcm": {Cipher: xmldsig.AES256GCM},
		"aes128-gcm": {Cipher: xmldsig.AES128GCM},
		"beside":     {Wrapper: "EncryptedID", Beside: "k1"},
	} {
		el, err := xmldsig.Encrypt(secret, &merchantKey(t).PublicKey, o)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x.run("--decrypt", "--id-attr:Id", "http://www.w3.org/2001/04/xmlenc#:EncryptedKey",
			"--privkey-pem", x.file("key.pem", pemKey(t, m)), x.file("doc.xml", text(t, el)))
		if err != nil {
			t.Errorf("%s: xmlsec1 cannot decrypt: %v", name, err)
		}
		if !strings.Contains(out, ">Vriës &amp; co</saml:NameID>") {
			t.Errorf("%s: xmlsec1 decrypts something else", name)
		}
	}
}

func TestWeDecryptXMLSecs(t *testing.T) {
	t.Parallel()
	x := newXMLSec(t)
	const plain = `<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">Vriës &amp; co</saml:NameID>`
	for _, cipher := range []string{"2001/04/xmlenc#aes256-cbc", "2001/04/xmlenc#aes128-cbc", "2009/xmlenc11#aes256-gcm", "2009/xmlenc11#aes128-gcm"} {
		session := "aes-256"
		if strings.Contains(cipher, "128") {
			session = "aes-128"
		}
		doc, err := x.run("--encrypt", "--session-key", session, "--pubkey-cert-pem", x.file("cert.pem", pemCert(certificate(t, "merchant.pem"))),
			"--xml-data", x.file("plain.xml", plain), x.file("template.xml",
				`<EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#" Type="http://www.w3.org/2001/04/xmlenc#Element">`+
					`<EncryptionMethod Algorithm="http://www.w3.org/`+cipher+`"/><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#">`+
					`<EncryptedKey xmlns="http://www.w3.org/2001/04/xmlenc#"><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"/>`+
					`<CipherData><CipherValue/></CipherData></EncryptedKey></KeyInfo><CipherData><CipherValue/></CipherData></EncryptedData>`))
		if err != nil {
			t.Fatalf("%s: xmlsec1 does not encrypt: %v", cipher, err)
		}
		el, err := xmldsig.Decrypt(tree(t, doc), []crypto.Decrypter{merchantKey(t)}, xmldsig.Limits{})
		if err != nil {
			t.Errorf("%s: %v", cipher, err)
		} else if el.Text() != "Vriës & co" {
			t.Errorf("%s: we decrypt something else", cipher)
		}
	}
}
