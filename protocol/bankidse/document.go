package bankidse

import (
	"encoding/base64"
	"errors"
	"strings"
)

// A BankID signature is canonical XML with exactly one shape (§15.1), so it
// is read as what it is: a fixed text with holes. Nothing is looked up by
// name anywhere in a tree, and what is read is the very text that is hashed.

// A document is a signature taken apart. The raw parts are what is signed.
type document struct {
	signedInfo string // raw, from <SignedInfo to </SignedInfo>
	digests    [2]string
	value      []byte
	keyInfo    string   // raw
	certs      [][]byte // DER: user, Customer CA, bank CA
	data       string   // raw, bankIdSignedData
	root       *node    // the same, read
}

const (
	xmlDecl   = `<?xml version="1.0" encoding="UTF-8" standalone="no"?>`
	dsigNS    = `xmlns="http://www.w3.org/2000/09/xmldsig#"`
	bankidNS  = `xmlns="http://www.bankid.com/signature/v1.0.0/types"`
	c14n      = `http://www.w3.org/TR/2001/REC-xml-c14n-20010315`
	transform = `<Transforms><Transform Algorithm="` + c14n + `"></Transform></Transforms>` +
		`<DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></DigestMethod><DigestValue>`
	infoHead = `<SignedInfo ` + dsigNS + `><CanonicalizationMethod Algorithm="` + c14n + `"></CanonicalizationMethod>` +
		`<SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"></SignatureMethod>` +
		`<Reference Type="http://www.bankid.com/signature/v1.0.0/types" URI="#bidSignedData">` + transform
	infoMid = `</DigestValue></Reference><Reference URI="#bidKeyInfo">` + transform
	infoEnd = `</DigestValue></Reference></SignedInfo>`
)

const (
	maxSignature = 1 << 20 // bytes of XML
	maxCerts     = 4
	maxNodes     = 256
	maxDepth     = 8
)

// errShape means that the text is not a signature of the one known shape.
var errShape = errors.New("not a BankID signature of the known shape")

// readDocument takes a signature apart.
func readDocument(xml string) (*document, error) {
	if len(xml) > maxSignature {
		return nil, errShape
	}
	c := &cursor{rest: xml, ok: true}
	d := &document{}
	c.optional(xmlDecl)
	c.optional("\n")
	c.literal(`<Signature ` + dsigNS + `>`)
	start := c.rest
	c.literal(infoHead)
	d.digests[0] = c.base64("</DigestValue>")
	c.rest = "</DigestValue>" + c.rest
	c.literal(infoMid)
	d.digests[1] = c.base64("</DigestValue>")
	c.rest = "</DigestValue>" + c.rest
	c.literal(infoEnd)
	d.signedInfo = start[:max(len(start)-len(c.rest), 0)]
	c.literal("<SignatureValue>")
	d.value = c.bytes("</SignatureValue>")
	start = c.rest
	c.literal(`<KeyInfo ` + dsigNS + ` Id="bidKeyInfo"><X509Data>`)
	for c.ok && strings.HasPrefix(c.rest, "<X509Certificate>") && len(d.certs) < maxCerts {
		c.literal("<X509Certificate>")
		d.certs = append(d.certs, c.bytes("</X509Certificate>"))
	}
	c.literal("</X509Data></KeyInfo>")
	d.keyInfo = start[:max(len(start)-len(c.rest), 0)]
	c.literal("<Object>")
	start = c.rest
	d.root = c.tree()
	d.data = start[:max(len(start)-len(c.rest), 0)]
	c.literal("</Object></Signature>")
	if !c.ok || strings.TrimRight(c.rest, "\r\n") != "" || len(d.certs) < 2 {
		return nil, errShape
	}
	return d, nil
}

// A cursor reads a text from its beginning; after the first thing that is not
// as it must be, ok is false and it reads nothing more.
type cursor struct {
	rest string
	ok   bool
}

func (c *cursor) fail() { c.ok, c.rest = false, "" }

func (c *cursor) optional(s string) { c.rest = strings.TrimPrefix(c.rest, s) }

func (c *cursor) literal(s string) {
	rest, found := strings.CutPrefix(c.rest, s)
	if !c.ok || !found {
		c.fail()
		return
	}
	c.rest = rest
}

// base64 reads characters of base64, and line ends, up to a closing tag.
func (c *cursor) base64(end string) string {
	text, rest, found := strings.Cut(c.rest, end)
	if !c.ok || !found || strings.ContainsFunc(text, notBase64) {
		c.fail()
		return ""
	}
	c.rest = rest
	return text
}

func notBase64(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return r != '+' && r != '/' && r != '=' && r != '\r' && r != '\n'
}

func (c *cursor) bytes(end string) []byte {
	b, err := base64.StdEncoding.DecodeString(c.base64(end))
	if err != nil || len(b) == 0 {
		c.fail()
		return nil
	}
	return b
}

// A node is an element of bankIdSignedData.
type node struct {
	name     string
	attrs    string // as written, without the leading blank
	text     string
	children []*node
}

// child is the only child of a name; nil if there is none or several.
func (n *node) child(name string) *node {
	var found *node
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.name == name {
			if found != nil {
				return nil
			}
			found = c
		}
	}
	return found
}

// count says how many children of a name there are.
func (n *node) count(name string) int {
	k := 0
	for _, c := range n.children {
		if c.name == name {
			k++
		}
	}
	return k
}

// tree reads the one bankIdSignedData element. Its inside is not fixed, but
// its characters are: no entity, comment, section or instruction, no empty
// tag, and no second Id.
func (c *cursor) tree() *node {
	open := `<bankIdSignedData ` + bankidNS + ` Id="bidSignedData">`
	c.literal(open)
	root := &node{name: "bankIdSignedData", attrs: bankidNS + ` Id="bidSignedData"`}
	stack, nodes := []*node{root}, 1
	for c.ok && len(stack) > 0 {
		top := stack[len(stack)-1]
		text, rest, found := strings.Cut(c.rest, "<")
		if !found || strings.ContainsAny(text, ">&") {
			c.fail()
			return nil
		}
		top.text += text
		tag, rest, found := strings.Cut(rest, ">")
		if !found {
			c.fail()
			return nil
		}
		c.rest = rest
		if name, closing := strings.CutPrefix(tag, "/"); closing {
			if name != top.name {
				c.fail()
				return nil
			}
			stack = stack[:len(stack)-1]
			continue
		}
		name, attrs, _ := strings.Cut(tag, " ")
		if nodes++; !plainName(name) || !plainAttrs(attrs) || nodes > maxNodes || len(stack) == maxDepth {
			c.fail()
			return nil
		}
		n := &node{name: name, attrs: attrs}
		top.children = append(top.children, n)
		stack = append(stack, n)
	}
	return root
}

func plainName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// plainAttrs refuses what would change the meaning of other text: another
// namespace, an identifier, an entity, an empty-element slash.
func plainAttrs(s string) bool {
	return !strings.ContainsAny(s, "&<>/'") && !strings.Contains(strings.ToLower(s), "id=") && !strings.Contains(s, "xmlns") && !strings.Contains(s, ":")
}
