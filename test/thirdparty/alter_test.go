package thirdparty

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/beevik/etree"
)

const dsigNS = "http://www.w3.org/2000/09/xmldsig#"

// An alterer changes documents by chance, the same ones for the same seed.
type alterer struct{ *rand.Rand }

func oneOf[T any](a alterer, list []T) T { return list[a.IntN(len(list))] }

// everything lists an element and all below it.
func everything(el *etree.Element) []*etree.Element {
	out := []*etree.Element{el}
	for _, c := range el.ChildElements() {
		out = append(out, everything(c)...)
	}
	return out
}

// some gives an element below root, or root itself if there is none.
func (a alterer) some(root *etree.Element) *etree.Element {
	all := everything(root)
	return all[a.IntN(len(all))]
}

// below gives an element that can be moved.
func (a alterer) below(root *etree.Element) *etree.Element {
	all := everything(root)[1:]
	if len(all) == 0 {
		return root.CreateElement("x")
	}
	return oneOf(a, all)
}

// of gives an element of one of these names.
func (a alterer) of(root *etree.Element, names ...string) *etree.Element {
	var found []*etree.Element
	for _, e := range everything(root) {
		for _, name := range names {
			if e.Tag == name {
				found = append(found, e)
			}
		}
	}
	if len(found) == 0 {
		return a.some(root)
	}
	return oneOf(a, found)
}

// child makes an element of the namespace of its parent, or what looks like it.
func (a alterer) child(parent *etree.Element, tag string) *etree.Element {
	el := etree.NewElement(tag)
	el.Space = parent.Space
	parent.InsertChildAt(a.IntN(len(parent.Child)+1), el)
	return el
}

var (
	algorithms = []string{
		"http://www.w3.org/2001/10/xml-exc-c14n#", "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
		"http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "http://www.w3.org/2006/12/xml-c14n11",
		dsigNS + "enveloped-signature", dsigNS + "base64", "http://www.w3.org/TR/1999/REC-xslt-19991116",
		"http://www.w3.org/TR/1999/REC-xpath-19991116", "http://www.w3.org/2001/04/xmlenc#sha256", dsigNS + "sha1",
		"http://www.w3.org/2001/04/xmlenc#sha512", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", dsigNS + "rsa-sha1",
		"http://www.w3.org/2001/04/xmldsig-more#rsa-sha512", dsigNS + "hmac-sha1", "urn:other", "",
	}
	values = []string{"", " ", "x", "1", "VS-1", "#VS-1", "RES-1", "å", "&", "<", `"`, "'", "\t", "\n", "\r", "\r\n", "\u2028", "😀", "xsd:string", "]]>"}
	spaces = []string{"urn:x", "urn:test:answer", "urn:oasis:names:tc:SAML:2.0:assertion", dsigNS, "http://www.w3.org/2001/10/xml-exc-c14n#", ""}
	names  = []string{"x", "Signature", "SignedInfo", "Reference", "Object", "Assertion", "NameID", "KeyName", "ID"}
)

// trees alter a tree.
var trees = []struct {
	name   string
	change func(a alterer, root *etree.Element)
}{
	{"move an element", func(a alterer, root *etree.Element) {
		el, to := a.below(root), a.some(root)
		for p := to; p != nil; p = p.Parent() {
			if p == el {
				return
			}
		}
		to.InsertChildAt(a.IntN(len(to.Child)+1), el)
	}},
	{"remove an element", func(a alterer, root *etree.Element) {
		if el := a.below(root); el.Parent() != nil {
			el.Parent().RemoveChild(el)
		}
	}},
	{"copy an element", func(a alterer, root *etree.Element) {
		to := a.some(root)
		to.InsertChildAt(a.IntN(len(to.Child)+1), a.below(root).Copy())
	}},
	{"wrap an element", func(a alterer, root *etree.Element) {
		el := a.below(root)
		at, parent := el.Index(), el.Parent()
		w := etree.NewElement(oneOf(a, names))
		w.Space = oneOf(a, []string{"", el.Space})
		w.AddChild(el)
		parent.InsertChildAt(at, w)
	}},
	{"add an element", func(a alterer, root *etree.Element) { a.child(a.some(root), oneOf(a, names)) }},
	{"rename an element", func(a alterer, root *etree.Element) { a.below(root).Tag = oneOf(a, names) }},
	{"another prefix", func(a alterer, root *etree.Element) {
		a.some(root).Space = oneOf(a, []string{"", "saml", "samlp", "ds", "x"})
	}},
	{"prefix of an equal namespace", func(a alterer, root *etree.Element) {
		el := a.some(root)
		if ns := el.NamespaceURI(); ns != "" {
			el.CreateAttr("xmlns:other", ns)
			el.Space = "other"
		}
	}},
	{"declare a namespace", func(a alterer, root *etree.Element) {
		a.some(root).CreateAttr(oneOf(a, []string{"xmlns", "xmlns:x", "xmlns:saml", "xmlns:ds", "xmlns:xsd", "xmlns:unused"}), oneOf(a, spaces))
	}},
	{"declare an unused prefix", func(a alterer, root *etree.Element) {
		a.some(root).CreateAttr(fmt.Sprintf("xmlns:unused%d", a.IntN(3)), "urn:unused")
	}},
	{"declare a prefix again", func(a alterer, root *etree.Element) {
		if el := a.some(root); el.Space != "" {
			el.CreateAttr("xmlns:"+el.Space, el.NamespaceURI())
		}
	}},
	{"drop a declaration", func(a alterer, root *etree.Element) {
		a.some(root).RemoveAttr(oneOf(a, []string{"xmlns", "xmlns:saml", "xmlns:samlp", "xmlns:xsi", "xmlns:ds"}))
	}},
	{"set an attribute", func(a alterer, root *etree.Element) {
		a.some(root).CreateAttr(oneOf(a, []string{"ID", "Id", "id", "xml:id", "xml:lang", "a", "URI", "Algorithm", "version"}), oneOf(a, values))
	}},
	{"drop an attribute", func(a alterer, root *etree.Element) {
		if el := a.some(root); len(el.Attr) > 0 {
			el.Attr = append(el.Attr[:0:0], el.Attr[1:]...)
		}
	}},
	{"reorder attributes", func(a alterer, root *etree.Element) {
		for _, el := range everything(root) {
			a.Shuffle(len(el.Attr), func(i, j int) { el.Attr[i], el.Attr[j] = el.Attr[j], el.Attr[i] })
		}
	}},
	{"add text", func(a alterer, root *etree.Element) {
		el := a.some(root)
		el.InsertChildAt(a.IntN(len(el.Child)+1), etree.NewText(oneOf(a, values)))
	}},
	{"set text", func(a alterer, root *etree.Element) { a.of(root, "NameID", "status", "note").SetText(oneOf(a, values)) }},
	{"swap children", func(a alterer, root *etree.Element) {
		if el := a.some(root); len(el.Child) > 1 {
			el.InsertChildAt(a.IntN(len(el.Child)), oneOf(a, el.Child))
		}
	}},
	{"another algorithm", func(a alterer, root *etree.Element) {
		a.of(root, "CanonicalizationMethod", "SignatureMethod", "Transform", "DigestMethod").CreateAttr("Algorithm", oneOf(a, algorithms))
	}},
	{"another reference", func(a alterer, root *etree.Element) {
		a.of(root, "Reference").CreateAttr("URI", oneOf(a, []string{"", "#", "#VS-1", "#RES-1", "#A-1", "#xpointer(/)", "#xpointer(id('VS-1'))", "x"}))
	}},
	{"add a transform", func(a alterer, root *etree.Element) {
		a.child(a.of(root, "Transforms"), "Transform").CreateAttr("Algorithm", oneOf(a, algorithms))
	}},
	{"set a PrefixList", func(a alterer, root *etree.Element) {
		list := a.of(root, "Transform", "CanonicalizationMethod").CreateElement("ec:InclusiveNamespaces")
		list.CreateAttr("xmlns:ec", "http://www.w3.org/2001/10/xml-exc-c14n#")
		list.CreateAttr("PrefixList", oneOf(a, []string{"xsd", "", "saml samlp", "#default", "x"}))
	}},
	{"add to a signature", func(a alterer, root *etree.Element) {
		a.child(a.of(root, "Signature", "SignedInfo", "KeyInfo"), oneOf(a, names))
	}},
	{"break base64", func(a alterer, root *etree.Element) {
		el := a.of(root, "DigestValue", "SignatureValue", "X509Certificate")
		b := []byte(el.Text())
		if len(b) > 0 {
			b[a.IntN(len(b))] = "A/=z!"[a.IntN(5)]
			el.SetText(string(b))
		}
	}},
	{"white space in base64", func(a alterer, root *etree.Element) {
		el := a.of(root, "SignatureValue", "X509Certificate", "DigestValue")
		if s := el.Text(); s != "" {
			at := a.IntN(len(s))
			el.SetText(s[:at] + oneOf(a, []string{" ", "\n", "\n\n", "\t"}) + s[at:])
		}
	}},
	{"drop KeyInfo", func(a alterer, root *etree.Element) {
		if el := a.of(root, "KeyInfo"); el.Parent() != nil && el != root {
			el.Parent().RemoveChild(el)
		}
	}},
	{"move a signature", func(a alterer, root *etree.Element) {
		if el := a.of(root, "Signature"); el.Parent() != nil && el != root {
			p := el.Parent()
			p.InsertChildAt(a.IntN(len(p.Child)), el)
		}
	}},
}

// insert puts s at a place in doc where one of the marks is, before it or after.
func (a alterer) insert(doc, s string, after bool, marks ...string) string {
	mark := oneOf(a, marks)
	n := strings.Count(doc, mark)
	if n == 0 {
		return doc
	}
	at := 0
	for range a.IntN(n) + 1 {
		at += strings.Index(doc[at:], mark) + len(mark)
	}
	if !after {
		at -= len(mark)
	}
	return doc[:at] + s + doc[at:]
}

// texts alter what a tree cannot say.
var texts = []struct {
	name   string
	change func(a alterer, doc string) string
}{
	{"flip a bit", func(a alterer, doc string) string {
		b := []byte(doc)
		b[a.IntN(len(b))] ^= 1 << a.IntN(8)
		return string(b)
	}},
	{"set a byte", func(a alterer, doc string) string {
		b := []byte(doc)
		b[a.IntN(len(b))] = "<>&;\"'=:/! \n\r\tx0#\x00\xff"[a.IntN(19)]
		return string(b)
	}},
	{"remove bytes", func(a alterer, doc string) string {
		at := a.IntN(len(doc) - 10)
		return doc[:at] + doc[at+1+a.IntN(9):]
	}},
	{"copy bytes", func(a alterer, doc string) string {
		at := a.IntN(len(doc) - 60)
		part := doc[at : at+1+a.IntN(59)]
		to := a.IntN(len(doc))
		return doc[:to] + part + doc[to:]
	}},
	{"space in a tag", func(a alterer, doc string) string {
		return a.insert(doc, oneOf(a, []string{" ", "\n", "\r\n", "\t", "\r"}), false, "/>", ` xmlns`, ` Algorithm=`, `="`)
	}},
	{"space between elements", func(a alterer, doc string) string {
		return a.insert(doc, oneOf(a, []string{" ", "\n", "\r\n", "\r", "&#13;"}), false, "<", "</")
	}},
	{"space in a value", func(a alterer, doc string) string {
		return a.insert(doc, oneOf(a, []string{" ", "\n", "\r\n", "\t"}), true, `="`, `="urn`)
	}},
	{"a comment", func(a alterer, doc string) string {
		return a.insert(doc, oneOf(a, []string{"<!---->", "<!-- x -->", "<!--<x/>-->"}), false, "<", "</", "anna", "Success")
	}},
	{"an instruction", func(a alterer, doc string) string { return a.insert(doc, "<?x y?>", false, "<", "</") }},
	{"a CDATA section", func(a alterer, doc string) string { return strings.Replace(doc, ">anna<", "><![CDATA[anna]]><", 1) }},
	{"an empty CDATA section", func(a alterer, doc string) string { return a.insert(doc, "<![CDATA[]]>", false, "<", "</") }},
	{"a document type", func(a alterer, doc string) string {
		return a.insert(doc, `<!DOCTYPE x [<!ENTITY e "x">]>`, false, "<Answer", "<saml:Assertion")
	}},
	{"a reference for a character", func(a alterer, doc string) string {
		return strings.Replace(doc, oneOf(a, []string{">anna", ">Success", ">BANK"}), oneOf(a, []string{">&#97;nna", ">&#x53;uccess", ">&#66;ANK"}), 1)
	}},
	{"other quotes", func(a alterer, doc string) string {
		return strings.Replace(doc, oneOf(a, []string{`"VS-1"`, `"RES-1"`, `"1"`}), oneOf(a, []string{"'VS-1'", "'RES-1'", "'1'"}), 1)
	}},
	{"the declaration", func(a alterer, doc string) string {
		return strings.Replace(doc, `version="1.0" encoding="UTF-8"`, oneOf(a, []string{`version='1.0'`, `version="1.0" encoding="utf-8" standalone="no"`,
			`version="1.1"`, `version="1.0" encoding="ISO-8859-1"`}), 1)
	}},
	{"an end tag", func(a alterer, doc string) string { return strings.ReplaceAll(doc, "<empty/>", "<empty></empty >") }},
	{"a line break for its reference", func(a alterer, doc string) string {
		return strings.Replace(doc, oneOf(a, []string{"&#xA;", "&#xD;", "&#x9;"}), oneOf(a, []string{"\n", "\r", "\t"}), 1)
	}},
	{"text behind", func(a alterer, doc string) string {
		return doc + oneOf(a, []string{"\n", " \r\n", "x", "<x/>", "<!-- -->"})
	}},
}
