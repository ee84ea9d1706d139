package xmldsig

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"
)

// Limits bound a document before and while it is parsed. A field that is zero
// has the value of [Default].
type Limits struct {
	Bytes      int // of the whole document
	Depth      int // of nested elements; the root is at 1
	Elements   int // in the document
	Attributes int // of one element, declarations included
	Namespaces int // declarations of one element
}

// Default are the limits of a protocol message (docs/protocols/xmldsig.md §1).
var Default = Limits{Bytes: 256 << 10, Depth: 32, Elements: 5000, Attributes: 64, Namespaces: 32}

func (l Limits) orDefault() Limits {
	return Limits{
		Bytes:      cmp.Or(l.Bytes, Default.Bytes),
		Depth:      cmp.Or(l.Depth, Default.Depth),
		Elements:   cmp.Or(l.Elements, Default.Elements),
		Attributes: cmp.Or(l.Attributes, Default.Attributes),
		Namespaces: cmp.Or(l.Namespaces, Default.Namespaces),
	}
}

// canonical is how many octets a canonical form may have. It is longer than a
// document where characters become references, of six octets at most, and
// where declarations are repeated, which must not multiply it.
func (l Limits) canonical() int { return 6 * l.orDefault().Bytes }

const (
	xmlNamespace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsNamespace = "http://www.w3.org/2000/xmlns/"
)

// Parse reads a document strictly. What XML parsers are known to read
// differently is refused rather than interpreted: directives, entities,
// processing instructions, comments, CDATA sections, names beyond ASCII,
// relative namespace names (docs/protocols/xmldsig.md §2). Line ends and
// attribute values are normalised as XML 1.0 prescribes.
func Parse(doc []byte, l Limits) (*etree.Document, error) {
	l = l.orDefault()
	if len(doc) > l.Bytes {
		return nil, refuse(Size, "the document exceeds "+strconv.Itoa(l.Bytes)+" bytes")
	}
	if !utf8.Valid(doc) || bytes.HasPrefix(doc, []byte("\uFEFF")) {
		return nil, refuse(Encoding, "the document is not UTF-8 without a byte order mark")
	}
	p := &parser{src: string(doc), limits: l, scope: newScope(), seen: map[string]struct{}{}}
	return p.document()
}

// A parser reads one document from src; pos is where it stands.
type parser struct {
	src      string
	pos      int
	limits   Limits
	seen     map[string]struct{} // names of the attributes of an element
	elements int
	scope    *scope
	attrs    []attr // of one start tag
}

func (p *parser) document() (*etree.Document, error) {
	d := etree.NewDocument()
	if err := p.declaration(d); err != nil {
		return nil, err
	}
	p.space()
	if err := p.element(&d.Element, 1); err != nil {
		return nil, err
	}
	p.space()
	if p.pos == len(p.src) {
		return d, nil
	}
	if err := p.markup(); err != nil {
		return nil, err
	}
	return nil, refuse(Malformed, "something follows the root element")
}

// declaration reads <?xml …?>, if the document starts with it.
func (p *parser) declaration(d *etree.Document) error {
	if rest := p.src; !strings.HasPrefix(rest, "<?xml") || len(rest) < 6 || !isSpace(rest[5]) {
		return nil
	}
	end := strings.Index(p.src, "?>")
	if end < 0 {
		return refuse(Malformed, "the XML declaration does not end")
	}
	inst := p.src[6:end]
	d.CreateProcInst("xml", inst)
	p.pos = end + 2

	q := parser{src: inst}
	spaced := true
	for _, want := range []struct {
		name string
		ok   func(string) bool
	}{
		{"version", func(v string) bool { return v == "1.0" }},
		{"encoding", func(v string) bool { return strings.EqualFold(v, "utf-8") }},
		{"standalone", func(v string) bool { return v == "yes" || v == "no" }},
	} {
		spaced = q.space() || spaced
		if !spaced || !strings.HasPrefix(q.src[q.pos:], want.name) {
			if want.name == "version" {
				return refuse(Malformed, "the XML declaration has no version")
			}
			continue
		}
		spaced = false
		q.pos += len(want.name)
		value, err := q.assigned()
		if err != nil {
			return err
		}
		if !want.ok(value) {
			return refuse(Encoding, "the XML declaration has another "+want.name)
		}
	}
	if q.space(); q.pos != len(inst) {
		return refuse(Malformed, "the XML declaration holds something else")
	}
	return nil
}

// assigned reads = and a quoted value as it stands.
func (p *parser) assigned() (string, error) {
	p.space()
	if !p.eat('=') {
		return "", refuse(Malformed, "an attribute has no value")
	}
	p.space()
	if p.pos == len(p.src) || p.src[p.pos] != '"' && p.src[p.pos] != '\'' {
		return "", refuse(Malformed, "an attribute's value is not quoted")
	}
	end := strings.IndexByte(p.src[p.pos+1:], p.src[p.pos])
	if end < 0 {
		return "", refuse(Malformed, "an attribute's value does not end")
	}
	value := p.src[p.pos+1 : p.pos+1+end]
	p.pos += end + 2
	return value, nil
}

// element reads one element, from its < to the end of its end tag, into parent.
func (p *parser) element(parent *etree.Element, depth int) error {
	if !p.eat('<') {
		return refuse(Malformed, "an element is missing")
	}
	if p.pos < len(p.src) && (p.src[p.pos] == '!' || p.src[p.pos] == '?') {
		p.pos--
		return p.markup()
	}
	if depth > p.limits.Depth {
		return refuse(Depth, "elements are nested deeper than "+strconv.Itoa(p.limits.Depth))
	}
	if p.elements++; p.elements > p.limits.Elements {
		return refuse(Elements, "there are more elements than "+strconv.Itoa(p.limits.Elements))
	}
	name, err := p.name()
	if err != nil {
		return err
	}
	el := parent.CreateElement(name)
	empty, err := p.attributes(el)
	if err != nil {
		return err
	}
	mark := p.scope.enter(el)
	defer p.scope.leave(mark)
	if err := p.scope.check(el); err != nil {
		return err
	}
	if empty {
		return nil
	}
	if err := p.content(el, depth); err != nil {
		return err
	}
	if !strings.HasPrefix(p.src[p.pos:], name) {
		return refuse(Malformed, "an end tag has another name than its start tag")
	}
	p.pos += len(name)
	p.space()
	if !p.eat('>') {
		return refuse(Malformed, "an end tag does not end")
	}
	return nil
}

// content reads text and elements up to and with the </ of el's end tag.
func (p *parser) content(el *etree.Element, depth int) error {
	for {
		next := strings.IndexByte(p.src[p.pos:], '<')
		if next < 0 {
			return refuse(Malformed, "an element does not end")
		}
		if next > 0 {
			raw := p.src[p.pos : p.pos+next]
			if strings.Contains(raw, "]]>") {
				return refuse(Malformed, "text holds the end of a CDATA section")
			}
			text, err := unescape(raw, false)
			if err != nil {
				return err
			}
			el.CreateText(text)
			p.pos += next
		}
		if strings.HasPrefix(p.src[p.pos:], "</") {
			p.pos += 2
			return nil
		}
		if err := p.element(el, depth+1); err != nil {
			return err
		}
	}
}

// An attr is an attribute as it is read.
type attr struct{ name, value string }

// attributes reads a start tag from behind its name to its end, and reports
// whether that was />.
func (p *parser) attributes(el *etree.Element) (empty bool, err error) {
	p.attrs = p.attrs[:0]
	for {
		spaced := p.space()
		if p.eat('>') {
			break
		}
		if strings.HasPrefix(p.src[p.pos:], "/>") {
			p.pos += 2
			empty = true
			break
		}
		if !spaced {
			return false, refuse(Malformed, "a start tag does not end")
		}
		if len(p.attrs) == p.limits.Attributes {
			return false, refuse(Attributes, "an element has more attributes than "+strconv.Itoa(p.limits.Attributes))
		}
		a, err := p.attribute()
		if err != nil {
			return false, err
		}
		p.attrs = append(p.attrs, a)
	}

	// CreateAttr would compare each with all before it.
	el.Attr = make([]etree.Attr, len(p.attrs))
	declarations := 0
	clear(p.seen)
	for i, a := range p.attrs {
		if _, twice := p.seen[a.name]; twice {
			return false, refuse(Malformed, "an element has an attribute twice")
		}
		p.seen[a.name] = struct{}{}
		at := &el.Attr[i]
		if before, after, ok := strings.Cut(a.name, ":"); ok {
			at.Space, at.Key = before, after
		} else {
			at.Key = a.name
		}
		if at.Value = a.value; isDeclaration(at) {
			declarations++
		}
	}
	if declarations > p.limits.Namespaces {
		return false, refuse(Namespaces, "an element declares more namespaces than "+strconv.Itoa(p.limits.Namespaces))
	}
	return empty, nil
}

func (p *parser) attribute() (attr, error) {
	name, err := p.name()
	if err != nil {
		return attr{}, err
	}
	raw, err := p.assigned()
	if err != nil {
		return attr{}, err
	}
	if strings.IndexByte(raw, '<') >= 0 {
		return attr{}, refuse(Malformed, "an attribute's value holds <")
	}
	value, err := unescape(raw, true)
	return attr{name, value}, err
}

// markup refuses what starts with <! or <?, each by its own kind.
func (p *parser) markup() error {
	rest := p.src[p.pos:]
	switch {
	case strings.HasPrefix(rest, "<!--"):
		return refuse(Comment, "comments are not accepted")
	case strings.HasPrefix(rest, "<![CDATA["):
		return refuse(CDATA, "CDATA sections are not accepted")
	case strings.HasPrefix(rest, "<!"):
		return refuse(Doctype, "directives are not accepted")
	case strings.HasPrefix(rest, "<?"):
		return refuse(Instruction, "processing instructions are not accepted")
	}
	return nil
}

// name reads a qualified name: one or two ASCII names with a colon between.
func (p *parser) name() (string, error) {
	start, part, colons := p.pos, p.pos, 0
	for ; p.pos < len(p.src); p.pos++ {
		switch c := p.src[p.pos]; {
		case c == ':' && p.pos > part && colons == 0:
			colons++
			part = p.pos + 1
			continue
		case isLetter(c) || p.pos > part && (c == '-' || c == '.' || '0' <= c && c <= '9'):
			continue
		}
		break
	}
	if p.pos == part {
		return "", refuse(Malformed, "a name is empty or not accepted")
	}
	return p.src[start:p.pos], nil
}

func (p *parser) eat(c byte) bool {
	if p.pos == len(p.src) || p.src[p.pos] != c {
		return false
	}
	p.pos++
	return true
}

// space skips white space and reports whether there was any.
func (p *parser) space() bool {
	start := p.pos
	for p.pos < len(p.src) && isSpace(p.src[p.pos]) {
		p.pos++
	}
	return p.pos > start
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' }

// isChar tells whether XML 1.0 allows the character.
func isChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || ' ' <= r && r <= 0xD7FF ||
		0xE000 <= r && r <= 0xFFFD || 0x10000 <= r && r <= 0x10FFFF
}

var entities = map[string]string{"amp": "&", "lt": "<", "gt": ">", "apos": "'", "quot": `"`}

// unescape resolves references and normalises line ends, in an attribute's
// value all white space that is not a reference.
func unescape(raw string, attribute bool) (string, error) {
	plain := true
	for _, r := range raw {
		if !isChar(r) {
			return "", refuse(Malformed, "there is a character that XML does not allow")
		}
		plain = plain && r != '&' && r != '\r' && (!attribute || r != '\n' && r != '\t')
	}
	if plain {
		return raw, nil
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '&' {
			end := strings.IndexByte(raw[i:], ';')
			if end < 0 {
				return "", refuse(Malformed, "a reference does not end")
			}
			value, err := resolve(raw[i+1 : i+end])
			if err != nil {
				return "", err
			}
			b.WriteString(value)
			i += end
			continue
		}
		if c == '\r' {
			if i+1 < len(raw) && raw[i+1] == '\n' {
				continue
			}
			c = '\n'
		}
		if attribute && (c == '\n' || c == '\t') {
			c = ' '
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

// resolve gives the text of a reference without its & and ;.
func resolve(name string) (string, error) {
	digits, isChr := strings.CutPrefix(name, "#")
	if !isChr {
		value, ok := entities[name]
		if !ok {
			return "", refuse(Entity, "there is a reference to an entity")
		}
		return value, nil
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune || !isChar(rune(n)) {
		return "", refuse(Malformed, "a reference names a character that XML does not allow")
	}
	return string(rune(n)), nil
}
