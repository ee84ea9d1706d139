package bankidse

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ocsp"
)

// kept is evidence of one login as an archive would have it, from keys that
// are gone. GOLDEN=update makes another.
func kept(t testing.TB) VerifyInput {
	t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile("testdata/evidence/" + name)
		if err != nil {
			t.Fatalf("%v (GOLDEN=update makes it)", err)
		}
		return string(b)
	}
	in := VerifyInput{Signature: strings.TrimSpace(read("signature.b64")), OCSP: strings.TrimSpace(read("ocsp.b64")), Roots: x509.NewCertPool()}
	if !in.Roots.AppendCertsFromPEM([]byte(read("root.pem"))) {
		t.Fatal("root.pem is not PEM")
	}
	return in
}

// TestKeptEvidence: what verified once verifies for ever.
func TestKeptEvidence(t *testing.T) {
	t.Parallel() // what reads the files runs after the tests
	if os.Getenv("GOLDEN") == "update" {
		is := theIssuer()
		in := is.input(is.forge(Identification))
		for name, text := range map[string]string{"signature.b64": in.Signature + "\n", "ocsp.b64": in.OCSP + "\n",
			"root.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: is.root.cert.Raw}))} {
			if err := os.WriteFile("testdata/evidence/"+name, []byte(text), 0o644); err != nil { //nolint:gosec // read by everybody
				t.Fatal(err)
			}
		}
	}
	v, err := Verify(kept(t))
	if err != nil || v.PersonalNumber != person || !v.SignedAt.Equal(signedAt) {
		t.Errorf("Verify = %v, %v", v, err)
	}
}

// FuzzDocument: what the parser takes is canonical XML in the eyes of another
// parser, keeps the parser's bounds, and is the same when put together again.
// Each input is tried as a whole, and as the inside of bankIdSignedData, where
// a signature is free.
func FuzzDocument(f *testing.F) {
	good, err := base64.StdEncoding.DecodeString(kept(f).Signature)
	if err != nil {
		f.Fatal(err)
	}
	doc := string(good)
	for _, whole := range []string{doc, doc[:len(doc)/2], doc + "\r\n", strings.TrimPrefix(doc, xmlDecl)} {
		f.Add(whole)
	}
	for _, inside := range []string{"", `<a></a>`, `<a b="1" c="2">text</a>`, `<a>å</a>`, `<a b="></a>`, `<a b="<"></a>`, "text\n", "]]", "\r", "<!--x-->",
		"<![CDATA[x]]>", "<?x y?>", "&#48;", `<a xmlns="x"><b Id="y"></b></a>`, "</bankIdSignedData></Object></Signature>"} {
		f.Add(inside)
	}
	const two = "<X509Certificate>QQ==</X509Certificate><X509Certificate>QQ==</X509Certificate>"
	head := xmlDecl + `<Signature ` + dsigNS + `>` + infoHead + "QQ==" + infoMid + "QQ==" + infoEnd + "<SignatureValue>QQ==</SignatureValue>" +
		`<KeyInfo ` + dsigNS + ` Id="bidKeyInfo"><X509Data>` + two + `</X509Data></KeyInfo><Object><bankIdSignedData ` + bankidNS + ` Id="bidSignedData">`
	f.Fuzz(func(t *testing.T, text string) {
		takes(t, text)
		takes(t, head+text+"</bankIdSignedData></Object></Signature>")
	})
}

// takes reads a document and, if it is one, checks what must be true of it.
func takes(t *testing.T, text string) {
	t.Helper()
	d, err := readDocument(text)
	if err != nil {
		if !errors.Is(err, errShape) || d != nil {
			t.Fatalf("readDocument = %v, %v", d, err)
		}
		return
	}
	if len(d.certs) > maxCerts || depth(d.root) > maxDepth || size(d.root) > maxNodes {
		t.Errorf("%d certificates, %d deep, %d elements", len(d.certs), depth(d.root), size(d.root))
	}
	for name, raw := range map[string]string{"SignedInfo": d.signedInfo, "KeyInfo": d.keyInfo, "bankIdSignedData": d.data} {
		if c, err := canonical(raw); err != nil || c != raw {
			t.Errorf("%s is not canonical: %v\n%q\n%q", name, err, raw, c)
		}
	}
	if again := write(d.root); again != d.data && !mixed(d.root) {
		t.Errorf("bankIdSignedData was read as %q, not as %q", again, d.data)
	}
	whole := el("Signature", " "+dsigNS, d.signedInfo+el("SignatureValue", "", base64.StdEncoding.EncodeToString(d.value))+d.keyInfo+el("Object", "", d.data))
	second, err := readDocument(whole)
	if err != nil || second.signedInfo != d.signedInfo || second.keyInfo != d.keyInfo || second.data != d.data || !bytes.Equal(second.value, d.value) {
		t.Errorf("put together again it is another document: %v", err)
	}
}

func depth(n *node) int {
	deepest := 0
	for _, c := range n.children {
		deepest = max(deepest, depth(c))
	}
	return 1 + deepest
}

func size(n *node) int {
	all := 1
	for _, c := range n.children {
		all += size(c)
	}
	return all
}

// mixed says that text stands between elements, whose places a node forgets.
func mixed(n *node) bool {
	if n.text != "" && len(n.children) > 0 {
		return true
	}
	for _, c := range n.children {
		if mixed(c) {
			return true
		}
	}
	return false
}

func write(n *node) string {
	inside := n.text
	for _, c := range n.children {
		inside += write(c)
	}
	attrs := n.attrs
	if attrs != "" {
		attrs = " " + attrs
	}
	return el(n.name, attrs, inside)
}

// canonical writes an element as canonical XML 1.0 has it, where there are no
// prefixes. It knows nothing of signatures, and reads with the library.
func canonical(raw string) (string, error) {
	var out strings.Builder
	var open []string
	d := xml.NewDecoder(strings.NewReader(raw))
	text := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;")
	value := strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) && len(open) == 0 {
			return out.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch x := token.(type) {
		case xml.StartElement:
			out.WriteString("<" + x.Name.Local)
			before := ""
			for i, a := range x.Attr {
				name := a.Name.Local
				switch {
				case a.Name.Space != "" || x.Name.Space != "":
					return "", errors.New("a prefix")
				case name == "xmlns" && i > 0 || name != "xmlns" && name <= before:
					return "", errors.New("attributes are out of order")
				case name != "xmlns":
					before = name
				}
				fmt.Fprintf(&out, ` %s="%s"`, name, value.Replace(a.Value))
			}
			out.WriteString(">")
			open = append(open, x.Name.Local)
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != x.Name.Local {
				return "", errors.New("tags are crossed")
			}
			open = open[:len(open)-1]
			out.WriteString("</" + x.Name.Local + ">")
		case xml.CharData:
			out.WriteString(text.Replace(string(x)))
		default:
			return "", fmt.Errorf("a %T", token)
		}
	}
}

// FuzzOCSP: nothing panics, and a response that is accepted says what the one
// that was signed said.
func FuzzOCSP(f *testing.F) {
	in := kept(f)
	good, err := base64.StdEncoding.DecodeString(in.OCSP)
	if err != nil {
		f.Fatal(err)
	}
	xml, err := base64.StdEncoding.DecodeString(in.Signature)
	if err != nil {
		f.Fatal(err)
	}
	doc, err := readDocument(string(xml))
	if err != nil {
		f.Fatal(err)
	}
	user, err := x509.ParseCertificate(doc.certs[0])
	if err != nil {
		f.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(doc.certs[1])
	if err != nil {
		f.Fatal(err)
	}
	honest, check := readOCSP(in.OCSP, in.Signature, user, issuer)
	if check != "" {
		f.Fatal(check)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(append(good[:len(good):len(good)], 0))
	f.Add([]byte{0x30, 0x03, 0x0a, 0x01, 0x06}) // unauthorized, without a response
	f.Add([]byte{0x30, 0x80, 0x00, 0x00})
	f.Fuzz(func(t *testing.T, der []byte) {
		if more, ok := readMore(der); ok { // not only what is signed reaches our own reader
			more.about(user, issuer)
			if n := more.nonce(); len(n) > len(der) {
				t.Errorf("a nonce of %d bytes in %d", len(n), len(der))
			}
		}
		r, check := readOCSP(base64.StdEncoding.EncodeToString(der), in.Signature, user, issuer)
		if (r == nil) != (check != "") {
			t.Fatalf("readOCSP = %v, %q", r, check)
		}
		if r != nil && (!bytes.Equal(r.TBSResponseData, honest.TBSResponseData) || !r.ProducedAt.Equal(honest.ProducedAt)) {
			t.Errorf("another response is accepted: %x", der)
		}
		if _, err := ocsp.ParseResponseForCert(der, user, nil); r != nil && err != nil {
			t.Errorf("what the library refuses is accepted: %v: %x", err, der)
		}
	})
}
