package xmldsig_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
)

const (
	dsigNS = "http://www.w3.org/2000/09/xmldsig#"
	c14nNS = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// child makes an element in the namespace of its parent, which is the signature
// or below it, before the child token at.
func child(parent *etree.Element, at int, tag string) *etree.Element {
	el := etree.NewElement(tag)
	el.Space = parent.Space
	parent.InsertChildAt(at, el)
	return el
}

// algorithm names an algorithm at the element of that path.
func algorithm(path, uri string) func(*etree.Element) {
	return func(sig *etree.Element) { sig.FindElement(path).CreateAttr("Algorithm", uri) }
}

func at(path string, change func(*etree.Element)) func(*etree.Element) {
	return func(sig *etree.Element) { change(sig.FindElement(path)) }
}

func remove(path string) func(*etree.Element) {
	return func(sig *etree.Element) {
		el := sig.FindElement(path)
		el.Parent().RemoveChild(el)
	}
}

func transform(uri string) func(*etree.Element) {
	return at("./SignedInfo/Reference/Transforms", func(el *etree.Element) {
		child(el, len(el.Child), "Transform").CreateAttr("Algorithm", uri)
	})
}

// anyCertificate is one of the vectors'.
func anyCertificate() []byte {
	text, err := os.ReadFile("testdata/idin/merchant.pem")
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(text)
	return block.Bytes
}

const (
	reference  = "./SignedInfo/Reference"
	transforms = reference + "/Transforms"
	first      = transforms + "/Transform[1]"
	second     = transforms + "/Transform[2]"
	digest     = reference + "/DigestMethod"
	value      = reference + "/DigestValue"
	sigMethod  = "./SignedInfo/SignatureMethod"
	c14nMethod = "./SignedInfo/CanonicalizationMethod"
)

// forged are changes to a good signature, with the kind of refusal that each
// must meet, on the outer as on the inner one.
var forged = []struct {
	name   string
	change func(sig *etree.Element)
	kind   xmldsig.Kind
}{
	{"no signature", func(sig *etree.Element) { sig.Parent().RemoveChild(sig) }, xmldsig.NoSignature},
	{"signature of another namespace", func(sig *etree.Element) {
		for i := range sig.Attr {
			sig.Attr[i].Value = "urn:other"
		}
	}, xmldsig.NoSignature},
	{"signature twice", func(sig *etree.Element) { sig.Parent().AddChild(sig.Copy()) }, xmldsig.Signatures},
	{"empty signature beside", func(sig *etree.Element) {
		empty := sig.Copy()
		empty.Child = nil
		sig.Parent().InsertChildAt(0, empty)
	}, xmldsig.Signatures},
	{"signature in a signature", func(sig *etree.Element) { sig.AddChild(sig.Copy()) }, xmldsig.Signatures},

	{"second SignedInfo before", func(sig *etree.Element) { sig.InsertChildAt(0, sig.FindElement("./SignedInfo").Copy()) }, xmldsig.Structure},
	{"second SignedInfo behind", func(sig *etree.Element) { sig.AddChild(sig.FindElement("./SignedInfo").Copy()) }, xmldsig.Structure},
	{"SignedInfo last", func(sig *etree.Element) { sig.AddChild(sig.FindElement("./SignedInfo")) }, xmldsig.Structure},
	{"no SignedInfo", remove("./SignedInfo"), xmldsig.Structure},
	{"SignedInfo of another namespace", at("./SignedInfo", func(el *etree.Element) {
		el.Space = "o"
		el.CreateAttr("xmlns:o", "urn:other")
	}), xmldsig.Structure},
	{"no SignatureValue", remove("./SignatureValue"), xmldsig.Structure},
	{"two SignatureValues", func(sig *etree.Element) { sig.InsertChildAt(2, sig.FindElement("./SignatureValue").Copy()) }, xmldsig.Structure},
	{"SignatureValue is no base64", at("./SignatureValue", func(el *etree.Element) { el.SetText("!") }), xmldsig.Structure},
	{"SignatureValue is empty", at("./SignatureValue", func(el *etree.Element) { el.SetText("") }), xmldsig.Structure},
	{"SignatureValue and an element", at("./SignatureValue", func(el *etree.Element) { child(el, len(el.Child), "x") }), xmldsig.Structure},
	{"bits to spare in SignatureValue", at("./SignatureValue", func(el *etree.Element) {
		s := el.Text() // 256 bytes end with four bits that mean nothing
		i := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", s[len(s)-3])
		el.SetText(s[:len(s)-3] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[i+1:i+2] + "==")
	}), xmldsig.Structure},
	{"attribute of SignatureValue", at("./SignatureValue", func(el *etree.Element) { el.CreateAttr("x", "y") }), xmldsig.Structure},
	{"attribute of SignedInfo", at("./SignedInfo", func(el *etree.Element) { el.CreateAttr("x", "y") }), xmldsig.Structure},
	{"attribute of Transforms", at(transforms, func(el *etree.Element) { el.CreateAttr("x", "y") }), xmldsig.Structure},
	{"attribute of a transform", at(first, func(el *etree.Element) { el.CreateAttr("x", "y") }), xmldsig.Structure},
	{"attribute of C14N", at(second, func(el *etree.Element) { el.CreateAttr("x", "y") }), xmldsig.Structure},
	{"attribute of the method", at(sigMethod, func(el *etree.Element) { el.CreateAttr("x", "y") }), xmldsig.Structure},
	{"text in C14N", at(second, func(el *etree.Element) { el.CreateText("x") }), xmldsig.Structure},
	{"element in SignatureValue", at("./SignatureValue", func(el *etree.Element) { child(el, 0, "x") }), xmldsig.Structure},
	{"two KeyInfos", func(sig *etree.Element) { sig.AddChild(sig.FindElement("./KeyInfo").Copy()) }, xmldsig.Structure},
	{"an Object", func(sig *etree.Element) { child(sig, len(sig.Child), "Object") }, xmldsig.Structure},
	{"text in the signature", func(sig *etree.Element) { sig.CreateText("x") }, xmldsig.Structure},
	{"attribute of the signature", func(sig *etree.Element) { sig.CreateAttr("x", "y") }, xmldsig.Structure},

	{"no reference", remove(reference), xmldsig.Reference},
	{"two references", at("./SignedInfo", func(el *etree.Element) { el.AddChild(el.FindElement("./Reference").Copy()) }), xmldsig.Reference},
	{"reference to nothing", at(reference, func(el *etree.Element) { el.RemoveAttr("URI") }), xmldsig.Reference},
	{"reference to another id", at(reference, func(el *etree.Element) { el.CreateAttr("URI", "#RES-1") }), xmldsig.Reference},
	{"reference to an empty id", at(reference, func(el *etree.Element) { el.CreateAttr("URI", "#") }), xmldsig.Reference},
	{"reference by XPointer", at(reference, func(el *etree.Element) { el.CreateAttr("URI", "#xpointer(/)") }), xmldsig.Reference},
	{"reference by XPointer and id", at(reference, func(el *etree.Element) { el.CreateAttr("URI", "#xpointer(id('VS-1'))") }), xmldsig.Reference},
	{"reference to a file", at(reference, func(el *etree.Element) { el.CreateAttr("URI", "file:///etc/passwd") }), xmldsig.Reference},
	{"reference to an address", at(reference, func(el *etree.Element) { el.CreateAttr("URI", "http://127.0.0.1/#VS-1") }), xmldsig.Reference},
	{"type of a reference", at(reference, func(el *etree.Element) { el.CreateAttr("Type", dsigNS+"Object") }), xmldsig.Structure},
	{"text in SignedInfo", at("./SignedInfo", func(el *etree.Element) { el.CreateText("x") }), xmldsig.Structure},
	{"text in the reference", at(reference, func(el *etree.Element) { el.CreateText("x") }), xmldsig.Structure},
	{"element in SignedInfo", at("./SignedInfo", func(el *etree.Element) { child(el, 3, "x") }), xmldsig.Structure},

	{"no transforms", remove(transforms), xmldsig.Structure},
	{"no transform", at(transforms, func(el *etree.Element) { el.Child = nil }), xmldsig.Transform},
	{"enveloped only", remove(second), xmldsig.Transform},
	{"C14N only", remove(first), xmldsig.Transform},
	{"a third transform", transform(c14nNS), xmldsig.Transform},
	{"XSLT", transform("http://www.w3.org/TR/1999/REC-xslt-19991116"), xmldsig.Transform},
	{"XSLT instead of C14N", algorithm(second, "http://www.w3.org/TR/1999/REC-xslt-19991116"), xmldsig.Transform},
	{"XPath", algorithm(first, "http://www.w3.org/TR/1999/REC-xpath-19991116"), xmldsig.Transform},
	{"XPath filter", algorithm(first, "http://www.w3.org/2002/06/xmldsig-filter2"), xmldsig.Transform},
	{"base64", algorithm(second, dsigNS+"base64"), xmldsig.Transform},
	{"enveloped twice", algorithm(second, dsigNS+"enveloped-signature"), xmldsig.Transform},
	{"transforms swapped", at(transforms, func(el *etree.Element) { el.InsertChildAt(0, el.Child[1]) }), xmldsig.Transform},
	{"C14N with comments", algorithm(second, c14nNS+"WithComments"), xmldsig.Transform},
	{"inclusive C14N", algorithm(second, "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"), xmldsig.Transform},
	{"C14N 1.1", algorithm(second, "http://www.w3.org/2006/12/xml-c14n11"), xmldsig.Transform},
	{"unknown C14N", algorithm(second, "urn:other"), xmldsig.Transform},
	{"parameter of a transform", at(first, func(el *etree.Element) { child(el, 0, "XPath").SetText("true()") }), xmldsig.Transform},
	{"PrefixList of another namespace", at(second, func(el *etree.Element) {
		el.Child = nil
		child(el, 0, "InclusiveNamespaces").CreateAttr("PrefixList", "xsd")
	}), xmldsig.Transform},
	{"two PrefixLists", at(second, func(el *etree.Element) {
		el.Child = nil
		for range 2 {
			list := el.CreateElement("e:InclusiveNamespaces")
			list.CreateAttr("xmlns:e", c14nNS)
			list.CreateAttr("PrefixList", "xsd")
		}
	}), xmldsig.Transform},
	{"element in a PrefixList", at(second, func(el *etree.Element) {
		el.Child = nil
		list := el.CreateElement("e:InclusiveNamespaces")
		list.CreateAttr("xmlns:e", c14nNS)
		list.CreateAttr("PrefixList", "xsd")
		list.CreateElement("e:x")
	}), xmldsig.Transform},
	{"attribute of a PrefixList", at(second, func(el *etree.Element) {
		el.Child = nil
		list := el.CreateElement("e:InclusiveNamespaces")
		list.CreateAttr("xmlns:e", c14nNS)
		list.CreateAttr("PrefixList", "xsd")
		list.CreateAttr("x", "y")
	}), xmldsig.Structure},
	{"a long PrefixList", at(second, func(el *etree.Element) {
		el.Child = nil
		list := el.CreateElement("e:InclusiveNamespaces")
		list.CreateAttr("xmlns:e", c14nNS)
		list.CreateAttr("PrefixList", strings.Repeat("x ", 100))
	}), xmldsig.Transform},
	{"text in a transform", at(first, func(el *etree.Element) { el.CreateText("x") }), xmldsig.Structure},

	{"SignedInfo by C14N with comments", algorithm(c14nMethod, c14nNS+"WithComments"), xmldsig.Algorithm},
	{"SignedInfo by inclusive C14N", algorithm(c14nMethod, "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"), xmldsig.Algorithm},
	{"SignedInfo by unknown C14N", algorithm(c14nMethod, "urn:other"), xmldsig.Algorithm},
	{"no algorithm", at(sigMethod, func(el *etree.Element) { el.RemoveAttr("Algorithm") }), xmldsig.Algorithm},
	{"HMAC", algorithm(sigMethod, "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"), xmldsig.Algorithm},
	{"truncated HMAC", at(sigMethod, func(el *etree.Element) {
		el.CreateAttr("Algorithm", dsigNS+"hmac-sha1")
		child(el, 0, "HMACOutputLength").SetText("1")
	}), xmldsig.Algorithm},
	{"output length of RSA", at(sigMethod, func(el *etree.Element) { child(el, 0, "HMACOutputLength").SetText("8") }), xmldsig.Algorithm},
	{"RSA with SHA-1", algorithm(sigMethod, dsigNS+"rsa-sha1"), xmldsig.Algorithm},
	{"RSA with MD5", algorithm(sigMethod, "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"), xmldsig.Algorithm},
	{"DSA", algorithm(sigMethod, dsigNS+"dsa-sha1"), xmldsig.Algorithm},
	{"ECDSA", algorithm(sigMethod, "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"), xmldsig.Algorithm},
	{"RSA-PSS", algorithm(sigMethod, "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"), xmldsig.Algorithm},
	{"digest by SHA-1", algorithm(digest, dsigNS+"sha1"), xmldsig.Algorithm},
	{"digest by MD5", algorithm(digest, "http://www.w3.org/2001/04/xmldsig-more#md5"), xmldsig.Algorithm},
	{"no digest method", remove(digest), xmldsig.Structure},
	{"two digests", at(reference, func(el *etree.Element) { el.AddChild(el.FindElement("./DigestValue").Copy()) }), xmldsig.Structure},
	{"comment in the digest", at(value, func(el *etree.Element) { el.InsertChildAt(0, etree.NewComment("x")) }), xmldsig.Comment},
	{"element in the digest", at(value, func(el *etree.Element) { child(el, 0, "x").SetText(el.Text()) }), xmldsig.Structure},
	{"digest is no base64", at(value, func(el *etree.Element) { el.SetText("=") }), xmldsig.Structure},
	{"attribute of the digest", at(value, func(el *etree.Element) { el.CreateAttr("x", "y") }), xmldsig.Structure},

	{"KeyValue", at("./KeyInfo", func(el *etree.Element) { child(el, 0, "KeyValue") }), xmldsig.Structure},
	{"RetrievalMethod", at("./KeyInfo", func(el *etree.Element) { child(el, 0, "RetrievalMethod").CreateAttr("URI", "#x") }), xmldsig.Structure},
	{"foreign KeyName", at("./KeyInfo", func(el *etree.Element) { el.CreateElement("x:KeyName").CreateAttr("xmlns:x", "urn:x") }), xmldsig.Structure},
	{"foreign KeyInfo", at("./KeyInfo", func(el *etree.Element) { el.CreateElement("x:y").CreateAttr("xmlns:x", "urn:x") }), xmldsig.Structure},
	{"element in KeyName", at("./KeyInfo", func(el *etree.Element) { child(child(el, 0, "KeyName"), 0, "x") }), xmldsig.Structure},
	{"too many names", at("./KeyInfo", func(el *etree.Element) {
		for range 9 {
			child(el, 0, "KeyName").SetText("x")
		}
	}), xmldsig.Structure},
	{"too many certificates", at("./KeyInfo", func(el *etree.Element) {
		data := child(el, 0, "X509Data")
		for range 9 {
			child(data, 0, "X509Certificate").SetText(base64.StdEncoding.EncodeToString(anyCertificate()))
		}
	}), xmldsig.Structure},
	{"certificate is none", at("./KeyInfo", func(el *etree.Element) {
		child(child(el, 0, "X509Data"), 0, "X509Certificate").SetText("AAAA")
	}), xmldsig.Key},
	{"certificate is no base64", at("./KeyInfo", func(el *etree.Element) {
		child(child(el, 0, "X509Data"), 0, "X509Certificate").SetText("!")
	}), xmldsig.Structure},
	{"no KeyInfo", remove("./KeyInfo"), xmldsig.Key},
	{"empty KeyInfo", at("./KeyInfo", func(el *etree.Element) { el.Child = nil }), xmldsig.Key},

	{"another digest", at(value, func(el *etree.Element) { el.SetText(base64.StdEncoding.EncodeToString(make([]byte, 32))) }), xmldsig.Signature},
	{"a short digest", at(value, func(el *etree.Element) { el.SetText("AAAA") }), xmldsig.Signature},
	{"white space in SignedInfo", at("./SignedInfo", func(el *etree.Element) { el.CreateText(" ") }), xmldsig.Signature},
	{"id of SignedInfo", at("./SignedInfo", func(el *etree.Element) { el.CreateAttr("Id", "new") }), xmldsig.Signature},
	{"PrefixList of SignedInfo", at(c14nMethod, func(el *etree.Element) {
		list := el.CreateElement("e:InclusiveNamespaces")
		list.CreateAttr("xmlns:e", c14nNS)
		list.CreateAttr("PrefixList", "e")
	}), xmldsig.Signature},
	{"prefix of SignedInfo redefined", at("./SignedInfo", func(el *etree.Element) {
		old := el.Space
		for _, e := range append(el.FindElements(".//*"), el) {
			if e.Space == old {
				e.Space = "other"
			}
		}
		el.CreateAttr("xmlns:other", dsigNS)
	}), xmldsig.Signature},
	{"a short value", at("./SignatureValue", func(el *etree.Element) { el.SetText("AAAA") }), xmldsig.Signature},
	{"a value of zeros", at("./SignatureValue", func(el *etree.Element) { el.SetText(base64.StdEncoding.EncodeToString(make([]byte, 256))) }), xmldsig.Signature},
	{"a value of one", at("./SignatureValue", func(el *etree.Element) {
		el.SetText(base64.StdEncoding.EncodeToString(append(make([]byte, 255), 1)))
	}), xmldsig.Signature},
	{"a longer value", at("./SignatureValue", func(el *etree.Element) { el.SetText("AAAA" + el.Text()) }), xmldsig.Signature},
}

func TestForged(t *testing.T) {
	t.Parallel()
	whole := signed(t, nil)
	if _, err := verify(t, text(t, whole)); err != nil {
		t.Fatal(err)
	}
	m := merchant(t)
	for _, v := range forged {
		outer := whole.Copy()
		v.change(outer.SelectElement("Signature"))
		_, err := xmldsig.Verify([]byte(text(t, outer)), xmldsig.Limits{}, xmldsig.Rule{Select: named(m.Certificate), Now: clock, Others: 1})
		if kind(err) != v.kind {
			t.Errorf("outer: %s: %v, want %s", v.name, err, v.kind)
		}

		doc := text(t, signed(t, func(root *etree.Element) { v.change(root.FindElement(".//Assertion/Signature")) }))
		s, err := xmldsig.Verify([]byte(doc), xmldsig.Limits{}, xmldsig.Rule{Select: named(m.Certificate), Now: clock, Others: 2})
		if err == nil {
			_, err = s.VerifyElement(s.Root.FindElement("./container/Response/Assertion"), xmldsig.Rule{Select: enclosed})
		}
		if kind(err) != v.kind {
			t.Errorf("inner: %s: %v, want %s", v.name, err, v.kind)
		}
	}
}

// TestCertificates tries keys that may not have signed.
func TestCertificates(t *testing.T) {
	t.Parallel()
	root := tree(t, message)
	if err := issuer(t).Sign(root); err != nil {
		t.Fatal(err)
	}
	doc := []byte(text(t, root))
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	elliptic := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, elliptic, elliptic, curve.Public(), curve)
	if err != nil {
		t.Fatal(err)
	}
	if elliptic, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	usage := func(u x509.KeyUsage) *x509.Certificate {
		return selfSigned(t, issuerKey(), func(c *x509.Certificate) { c.KeyUsage = u })
	}
	endless := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}
	own := issuer(t).Certificate
	for _, v := range []struct {
		name string
		rule xmldsig.Rule
		kind xmldsig.Kind
	}{
		{"the issuer's", xmldsig.Rule{Select: always(own), Now: clock}, ""},
		{"of an own KeyInfo", xmldsig.Rule{Select: named(certificate(t, "merchant.pem")), Now: clock}, xmldsig.Key},
		{"of another party", xmldsig.Rule{Select: always(certificate(t, "merchant.pem")), Now: clock}, xmldsig.Signature},
		{"none", xmldsig.Rule{Select: always(nil), Now: clock}, xmldsig.Key},
		{"expired", xmldsig.Rule{Select: always(own), Now: own.NotAfter.Add(time.Second)}, xmldsig.Expired},
		{"of the last second", xmldsig.Rule{Select: always(own), Now: own.NotAfter}, ""},
		{"not yet valid", xmldsig.Rule{Select: always(own), Now: own.NotBefore.Add(-time.Second)}, xmldsig.Expired},
		{"expired, dates not looked at", xmldsig.Rule{Select: always(own)}, ""},
		{"of a weak key", xmldsig.Rule{Select: always(selfSigned(t, weak, nil)), Now: clock}, xmldsig.Key},
		{"of an endless key", xmldsig.Rule{Select: always(&x509.Certificate{PublicKey: endless})}, xmldsig.Key},
		{"of an elliptic curve", xmldsig.Rule{Select: always(elliptic)}, xmldsig.Key},
		{"for signatures", xmldsig.Rule{Select: always(usage(x509.KeyUsageDigitalSignature))}, ""},
		{"for content", xmldsig.Rule{Select: always(usage(x509.KeyUsageContentCommitment))}, ""},
		{"for keys", xmldsig.Rule{Select: always(usage(x509.KeyUsageKeyEncipherment))}, xmldsig.Key},
	} {
		if _, err := xmldsig.Verify(doc, xmldsig.Limits{}, v.rule); kind(err) != v.kind {
			t.Errorf("certificate %s: %v, want %q", v.name, err, v.kind)
		}
	}
	_, err = xmldsig.Verify(doc, xmldsig.Limits{}, xmldsig.Rule{Select: named(certificate(t, "merchant.pem"))})
	if !errors.Is(err, errUnknown) {
		t.Errorf("%v does not tell why the key was refused", err)
	}
}

// TestPlaces holds where a signature, an id and a verified element may be.
func TestPlaces(t *testing.T) {
	t.Parallel()
	m := merchant(t)
	rule := func(others int) xmldsig.Rule {
		return xmldsig.Rule{Select: named(m.Certificate), Now: clock, Others: others}
	}
	whole := signed(t, nil)
	for _, v := range []struct {
		name   string
		change func(root *etree.Element)
		others int
		kind   xmldsig.Kind
	}{
		{"as it is", func(*etree.Element) {}, 1, ""},
		{"the inner one is not expected", func(*etree.Element) {}, 0, xmldsig.Signatures},
		{"a level deeper", func(root *etree.Element) {
			root.FindElement("./container").AddChild(root.SelectElement("Signature"))
		}, 1, xmldsig.NoSignature},
		{"first instead of last", func(root *etree.Element) { root.InsertChildAt(0, root.SelectElement("Signature")) }, 1, ""},
		{"swapped", func(root *etree.Element) {
			outer, inner := root.SelectElement("Signature"), root.FindElement(".//Assertion/Signature")
			inner.Parent().AddChild(outer)
			root.AddChild(inner)
		}, 1, xmldsig.Reference},
		{"two of its own, and room for more", func(root *etree.Element) { root.AddChild(root.SelectElement("Signature").Copy()) }, 5, xmldsig.Signatures},
		{"one id in two spellings", func(root *etree.Element) { root.FindElement("./id").CreateAttr("Id", "VS-1") }, 1, xmldsig.IDs},
		{"an id of another namespace", func(root *etree.Element) {
			root.CreateAttr("xmlns:w", "urn:w")
			root.FindElement("./id").CreateAttr("w:ID", "VS-1")
		}, 1, xmldsig.IDs},
		{"an id of XML", func(root *etree.Element) { root.FindElement("./id").CreateAttr("xml:id", " VS-1 ") }, 1, xmldsig.IDs},
		{"an id twice on one element", func(root *etree.Element) { root.FindElement(".//Assertion").CreateAttr("Id", "VS-1") }, 1, xmldsig.IDs},
		{"further children of the root", func(root *etree.Element) { root.CreateElement("x") }, 1, xmldsig.Digest},
		{"text behind the signature", func(root *etree.Element) { root.CreateText("x") }, 1, xmldsig.Digest},
	} {
		root := whole.Copy()
		v.change(root)
		if _, err := xmldsig.Verify([]byte(text(t, root)), xmldsig.Limits{}, rule(v.others)); kind(err) != v.kind {
			t.Errorf("%s: %v, want %q", v.name, err, v.kind)
		}
	}

	s, err := xmldsig.Verify([]byte(text(t, whole)), xmldsig.Limits{}, rule(1))
	if err != nil {
		t.Fatal(err)
	}
	for name, el := range map[string]*etree.Element{
		"the root itself":     s.Root,
		"a foreign assertion": whole.FindElement(".//Assertion"),
		"nothing":             nil,
	} {
		if _, err := s.VerifyElement(el, xmldsig.Rule{Select: enclosed}); kind(err) != xmldsig.Reference {
			t.Errorf("VerifyElement of %s: %v", name, err)
		}
	}
	if _, err := s.VerifyElement(s.Root.FindElement("./container"), xmldsig.Rule{Select: enclosed}); kind(err) != xmldsig.NoSignature {
		t.Errorf("an element around the signed one: %v", err)
	}

	empty := tree(t, message)
	a := empty.FindElement(".//Assertion")
	if err := issuer(t).Sign(a); err != nil { // URI "", which would mean the document
		t.Fatal(err)
	}
	if err := m.Sign(empty); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, text(t, empty)); kind(err) != xmldsig.Reference {
		t.Errorf("an assertion whose signature names the document: %v", err)
	}
}

// TestKeyInfo holds what a signature can say of its key, none of which is signed.
func TestKeyInfo(t *testing.T) {
	t.Parallel()
	own := issuer(t)
	root := tree(t, message)
	if err := own.Sign(root); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name                string
		change              func(info *etree.Element)
		names, certificates int
	}{
		{"a certificate", func(*etree.Element) {}, 0, 1},
		{"two certificates", func(info *etree.Element) {
			child(info.SelectElement("X509Data"), 0, "X509Certificate").SetText(base64.StdEncoding.EncodeToString(anyCertificate()))
		}, 0, 2},
		{"names before and behind", func(info *etree.Element) {
			child(info, 0, "KeyName").SetText(" a ")
			child(info, 2, "KeyName").SetText("a")
		}, 2, 1},
		{"a subject", func(info *etree.Element) { child(info.SelectElement("X509Data"), 0, "X509SubjectName").SetText("CN=x") }, 0, 1},
		{"a certificate of another namespace", func(info *etree.Element) {
			c := info.FindElement("./X509Data/X509Certificate")
			c.Space = "x"
			c.CreateAttr("xmlns:x", "urn:x")
		}, 0, 0},
		{"an id", func(info *etree.Element) { info.CreateAttr("Id", "k") }, 0, 1},
		{"nothing", func(info *etree.Element) { info.Parent().RemoveChild(info) }, 0, 0},
	} {
		root := root.Copy()
		v.change(root.FindElement("./Signature/KeyInfo"))
		_, err := xmldsig.Verify([]byte(text(t, root)), xmldsig.Limits{}, xmldsig.Rule{Select: func(k xmldsig.KeyInfo) (*x509.Certificate, error) {
			if len(k.Names) != v.names || len(k.Certificates) != v.certificates {
				t.Errorf("%s: %d names, %d certificates", v.name, len(k.Names), len(k.Certificates))
			}
			for _, name := range k.Names {
				if name != "a" {
					t.Errorf("%s: name %q", v.name, name)
				}
			}
			return own.Certificate, nil
		}})
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}
