package bankidse

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"
)

// A BankID signature is canonical XML with exactly one shape (§15.1), so it
// is read as what it is: a fixed text with holes. Nothing is looked up by
// name anywhere in a tree, and what is read is the very text that is hashed.

// A document is a signature taken apart. The raw parts are what is signed.
type document struct {
	signedInfo string // raw, from <SignedInfo to </SignedInfo>
	digests    [2][]byte
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
	d.digests[0] = c.bytes()
	c.literal(infoMid)
	d.digests[1] = c.bytes()
	c.literal(infoEnd)
	d.signedInfo = c.since(start)
	c.literal("<SignatureValue>")
	d.value = c.bytes()
	c.literal("</SignatureValue>")
	start = c.rest
	c.literal(`<KeyInfo ` + dsigNS + ` Id="bidKeyInfo"><X509Data>`)
	for c.ok && strings.HasPrefix(c.rest, "<X509Certificate>") && len(d.certs) < maxCerts {
		c.literal("<X509Certificate>")
		d.certs = append(d.certs, c.bytes())
		c.literal("</X509Certificate>")
	}
	c.literal("</X509Data></KeyInfo>")
	d.keyInfo = c.since(start)
	c.literal("<Object>")
	start = c.rest
	d.root = c.tree()
	d.data = c.since(start)
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

// since is what has been read since start, an earlier rest.
func (c *cursor) since(start string) string { return start[:len(start)-len(c.rest)] }

// bytes reads base64 up to the next tag. Its lines, if any, end as canonical
// XML has it: in LF alone.
func (c *cursor) bytes() []byte {
	text, _, found := strings.Cut(c.rest, "<")
	b, err := base64.StdEncoding.DecodeString(text)
	if !c.ok || !found || err != nil || len(b) == 0 || strings.Contains(text, "\r") {
		c.fail()
		return nil
	}
	c.rest = c.rest[len(text):]
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
// how it is written is: as canonical XML without entities, comments, sections,
// instructions, namespaces and Ids, so that the text is what was hashed.
func (c *cursor) tree() *node {
	open := `<bankIdSignedData ` + bankidNS + ` Id="bidSignedData">`
	c.literal(open)
	root := &node{name: "bankIdSignedData", attrs: bankidNS + ` Id="bidSignedData"`}
	stack, nodes := []*node{root}, 1
	var block []node // of which the next one is taken
	for c.ok && len(stack) > 0 {
		top := stack[len(stack)-1]
		text, rest, found := strings.Cut(c.rest, "<")
		if !found || !plainText(text) {
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
		name, attrs, has := strings.Cut(tag, " ")
		if nodes++; !plainName(name) || has && !plainAttrs(attrs) || nodes > maxNodes || len(stack) == maxDepth {
			c.fail()
			return nil
		}
		if len(block) == 0 {
			block = make([]node, 32) // an ordinary signature has about as many
		}
		n := &block[0]
		block = block[1:]
		n.name, n.attrs = name, attrs
		top.children = append(top.children, n)
		stack = append(stack, n)
	}
	return root
}

// plainText has characters that XML allows and that stand for themselves.
func plainText(s string) bool {
	for _, r := range s {
		switch {
		case r == '<', r == '>', r == '&', r < ' ' && r != '\t' && r != '\n', r == '\uFFFE', r == '\uFFFF':
			return false
		}
	}
	return utf8.ValidString(s)
}

// plainName has letters and digits, and begins with a letter.
func plainName(s string) bool {
	for i, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// plainAttrs reads name="value" pairs, one blank apart, in the order of their
// names. A namespace or an identifier would change the meaning of other text.
func plainAttrs(s string) bool {
	for before := ""; ; {
		name, rest, ok := strings.Cut(s, `="`)
		value, rest, closed := strings.Cut(rest, `"`)
		if !ok || !closed || !plainName(name) || name <= before || strings.EqualFold(name, "id") || name == "xmlns" ||
			!plainText(value) || strings.ContainsAny(value, "\t\n") {
			return false
		}
		if rest == "" {
			return true
		}
		if s, ok = strings.CutPrefix(rest, " "); !ok {
			return false
		}
		before = name
	}
}
