package xmldsig

import (
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// A claim is what a Signature element says, read from the canonical form of its
// SignedInfo, which is what was signed.
type claim struct {
	signed    []byte // canonical SignedInfo
	signature []byte
	uri       string
	inclusive []string // PrefixList of the reference's C14N
	digest    []byte
	key       KeyInfo
}

// read takes a Signature element apart and refuses each shape but one
// (docs/protocols/xmldsig.md §4).
func read(sig *etree.Element, l Limits) (*claim, error) {
	parts, err := children(sig, "SignedInfo", "SignatureValue", "KeyInfo?")
	if err != nil {
		return nil, err
	}
	if err := only(sig, "Id"); err != nil {
		return nil, err
	}
	c := &claim{}
	if c.signature, err = leaf(parts[1], "Id"); err != nil {
		return nil, err
	}
	if parts[2] != nil {
		if c.key, err = keyInfo(parts[2]); err != nil {
			return nil, err
		}
	}
	return c, c.signedInfo(parts[0], l)
}

// signedInfo reads the part that is signed.
func (c *claim) signedInfo(received *etree.Element, l Limits) error {
	references := 0
	for _, e := range received.ChildElements() {
		if e.Tag == "Reference" {
			references++
		}
	}
	if references != 1 {
		return refuse(Reference, "there is not exactly one reference")
	}
	first, err := children(received, "CanonicalizationMethod", "SignatureMethod", "Reference")
	if err != nil {
		return err
	}
	inclusive, err := c14nMethod(first[0])
	if err != nil {
		return err
	}
	if c.signed, err = canonical(received, nil, inclusive, l.canonical()); err != nil {
		return err
	}
	info, err := reparse(c.signed, l)
	if err != nil {
		return err
	}
	parts, err := children(info, "CanonicalizationMethod", "SignatureMethod", "Reference")
	if err != nil {
		return err
	}
	if err := only(info, "Id"); err != nil {
		return err
	}
	if err := method(parts[1], Algorithm, rsaSHA256); err != nil {
		return err
	}
	return c.reference(parts[2])
}

// reference reads the only reference.
func (c *claim) reference(ref *etree.Element) error {
	if err := only(ref, "URI", "Id"); err != nil {
		return err
	}
	uri := ref.SelectAttr("URI")
	if uri == nil {
		return refuse(Reference, "the reference names nothing")
	}
	c.uri = uri.Value
	parts, err := children(ref, "Transforms", "DigestMethod", "DigestValue")
	if err != nil {
		return err
	}
	transforms, err := children(parts[0], "Transform", "Transform")
	if err != nil {
		return refuse(Transform, "there are other transforms than two")
	}
	if err := only(parts[0]); err != nil {
		return err
	}
	if err := method(transforms[0], Transform, enveloped); err != nil {
		return err
	}
	if c.inclusive, err = c14nMethod(transforms[1]); err != nil {
		return err
	}
	if err := method(parts[1], Algorithm, sha256URI); err != nil {
		return err
	}
	c.digest, err = leaf(parts[2])
	return err
}

// refersTo tells whether the reference is to el.
func (c *claim) refersTo(el *etree.Element, whole bool) error {
	if whole && c.uri == "" {
		return nil
	}
	id, ok := strings.CutPrefix(c.uri, "#")
	if !ok || id == "" {
		return refuse(Reference, "the reference is not to the element that was asked for")
	}
	for i := range el.Attr {
		if a := &el.Attr[i]; isID(a) && a.Space == "" && a.Value == id {
			return nil
		}
	}
	return refuse(Reference, "the reference is to another element")
}

// keyInfo reads the names and certificates of a KeyInfo.
func keyInfo(el *etree.Element) (KeyInfo, error) {
	var k KeyInfo
	for _, part := range el.ChildElements() {
		switch {
		case part.NamespaceURI() != namespace:
			return k, refuse(Structure, "KeyInfo holds something else than names and certificates")
		case part.Tag == "KeyName":
			if len(part.ChildElements()) > 0 {
				return k, refuse(Structure, "KeyName holds elements")
			}
			k.Names = append(k.Names, strings.TrimSpace(part.Text()))
		case part.Tag == "X509Data":
			for _, c := range part.ChildElements() {
				if c.Tag != "X509Certificate" || c.NamespaceURI() != namespace {
					continue
				}
				der, err := leaf(c)
				if err != nil {
					return k, err
				}
				cert, err := x509.ParseCertificate(der)
				if err != nil {
					return k, refuse(Key, "KeyInfo holds a certificate that cannot be read")
				}
				if k.Certificates = append(k.Certificates, cert); len(k.Certificates) > maxKeys {
					return k, refuse(Structure, "KeyInfo names too many keys")
				}
			}
		default:
			return k, refuse(Structure, "KeyInfo holds something else than names and certificates")
		}
		if len(k.Names) > maxKeys {
			return k, refuse(Structure, "KeyInfo names too many keys")
		}
	}
	return k, nil
}

// maxKeys bounds the work that an unsigned KeyInfo causes.
const maxKeys = 8

// children gives the children of an element of xmldsig, which must be exactly
// these of the same namespace, in this order; ? marks one that may be absent,
// which is nil then.
func children(el *etree.Element, names ...string) ([]*etree.Element, error) {
	rest := el.ChildElements()
	out := make([]*etree.Element, len(names))
	for i, name := range names {
		name, optional := strings.CutSuffix(name, "?")
		if len(rest) > 0 && rest[0].Tag == name && rest[0].NamespaceURI() == namespace {
			out[i], rest = rest[0], rest[1:]
		} else if !optional {
			return nil, refuse(Structure, el.Tag+" lacks "+name+" where it belongs")
		}
	}
	if len(rest) > 0 {
		return nil, refuse(Structure, el.Tag+" holds an element that is not accepted")
	}
	return out, blank(el)
}

// blank refuses text between elements that is more than white space.
func blank(el *etree.Element) error {
	for _, t := range el.Child {
		if text, ok := t.(*etree.CharData); ok && strings.Trim(text.Data, " \t\r\n") != "" {
			return refuse(Structure, el.Tag+" holds text")
		}
	}
	return nil
}

// only refuses attributes other than these.
func only(el *etree.Element, names ...string) error {
	for i := range el.Attr {
		if a := &el.Attr[i]; !isDeclaration(a) && (a.Space != "" || !slices.Contains(names, a.Key)) {
			return refuse(Structure, el.Tag+" has an attribute that is not accepted")
		}
	}
	return nil
}

// method reads an element that names an algorithm and nothing else.
func method(el *etree.Element, kind Kind, want string) error {
	if err := only(el, "Algorithm"); err != nil {
		return err
	}
	if el.SelectAttrValue("Algorithm", "") != want {
		return refuse(kind, el.Tag+" names another algorithm than the one that is accepted")
	}
	if len(el.ChildElements()) > 0 {
		return refuse(kind, el.Tag+" has parameters")
	}
	return blank(el)
}

// c14nMethod reads exclusive C14N and its PrefixList.
func c14nMethod(el *etree.Element) ([]string, error) {
	kind := Transform
	if el.Tag == "CanonicalizationMethod" {
		kind = Algorithm
	}
	parameters := el.ChildElements()
	if len(parameters) == 0 {
		return nil, method(el, kind, excC14N)
	}
	if err := only(el, "Algorithm"); err != nil {
		return nil, err
	}
	p := parameters[0]
	if el.SelectAttrValue("Algorithm", "") != excC14N || len(parameters) > 1 ||
		p.Tag != "InclusiveNamespaces" || p.NamespaceURI() != excC14N || len(p.Child) > 0 {
		return nil, refuse(kind, el.Tag+" is not exclusive C14N")
	}
	if err := only(p, "PrefixList"); err != nil {
		return nil, err
	}
	list := strings.Fields(p.SelectAttrValue("PrefixList", ""))
	if len(list) > maxKeys {
		return nil, refuse(kind, "the PrefixList is too long")
	}
	return list, blank(el)
}

// blanks removes white space.
var blanks = strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "")

// leaf decodes the base64 of an element that holds only that. White space may
// stand anywhere in it, also as &#13;.
func leaf(el *etree.Element, attributes ...string) ([]byte, error) {
	if err := only(el, attributes...); err != nil {
		return nil, err
	}
	if len(el.ChildElements()) > 0 {
		return nil, refuse(Structure, el.Tag+" holds elements")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(blanks.Replace(el.Text()))
	if err != nil || len(b) == 0 {
		return nil, refuse(Structure, el.Tag+" is not base64")
	}
	return b, nil
}
