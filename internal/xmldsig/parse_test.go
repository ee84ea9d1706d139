package xmldsig_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/beevik/etree"
	"github.com/google/go-cmp/cmp"

	"eidgate/internal/xmldsig"
)

// wide encodes text in two bytes a character.
func wide(s string, high, low int, mark bool) string {
	var b []byte
	if mark {
		s = "\uFEFF" + s
	}
	for _, u := range utf16.Encode([]rune(s)) {
		pair := [2]byte{}
		pair[high], pair[low] = byte(u>>8), byte(u)
		b = append(b, pair[:]...)
	}
	return string(b)
}

// bomb declares ten levels of entities, each of ten of the one before.
func bomb() string {
	var b strings.Builder
	b.WriteString(`<!DOCTYPE r [<!ENTITY e0 "canary">`)
	for i := range 10 {
		b.WriteString(`<!ENTITY e` + string(rune('1'+i)) + ` "` + strings.Repeat("&e"+string(rune('0'+i))+";", 10) + `">`)
	}
	return b.String() + `]><r>&e9;</r>`
}

// unreadable are the documents that [xmldsig.Parse] must refuse, with the kind
// of the refusal. Where it could be quoted, they hold the word canary.
var unreadable = []struct {
	name, doc string
	kind      xmldsig.Kind
}{
	{"document type", `<!DOCTYPE canary><r/>`, xmldsig.Doctype},
	{"internal entity", `<!DOCTYPE r [<!ENTITY canary "x">]><r>&canary;</r>`, xmldsig.Doctype},
	{"external entity", `<!DOCTYPE r [<!ENTITY canary SYSTEM "file:///etc/passwd">]><r>&canary;</r>`, xmldsig.Doctype},
	{"parameter entity", `<?xml version="1.0"?><!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1/canary"> %p;]><r/>`, xmldsig.Doctype},
	{"default attribute", `<!DOCTYPE r [<!ATTLIST r ID CDATA "canary">]><r/>`, xmldsig.Doctype},
	{"billion laughs", bomb(), xmldsig.Doctype},
	{"directive inside", `<r><!canary></r>`, xmldsig.Doctype},
	{"empty directive", `<r><!></r>`, xmldsig.Doctype},
	{"directive with a comment", `<r><!x<!-- -->canary></r>`, xmldsig.Doctype},
	{"directive behind", `<r/><!canary>`, xmldsig.Doctype},
	{"half a comment", `<r><!-></r>`, xmldsig.Doctype},
	{"entity without declaration", `<r>&canary;</r>`, xmldsig.Entity},
	{"entity in an attribute", `<r a="&nbsp;"/>`, xmldsig.Entity},
	{"entity in another case", `<r>&LT;</r>`, xmldsig.Entity},

	{"instruction before", `<?xml version="1.0"?><?canary x?><r/>`, xmldsig.Instruction},
	{"style sheet", `<?xml-stylesheet href="canary"?><r/>`, xmldsig.Instruction},
	{"instruction inside", `<r><?canary?></r>`, xmldsig.Instruction},
	{"instruction behind", `<r/><?canary?>`, xmldsig.Instruction},
	{"declaration inside", `<r><?xml version="1.0"?></r>`, xmldsig.Instruction},
	{"declaration behind a space", ` <?xml version="1.0"?><r/>`, xmldsig.Instruction},
	{"comment before", `<!-- canary --><r/>`, xmldsig.Comment},
	{"comment in a value", `<r>anna<!-- canary -->@evil</r>`, xmldsig.Comment},
	{"comment behind", `<r/><!-- canary -->`, xmldsig.Comment},
	{"short comment", `<r><!-->canary--></r>`, xmldsig.Comment},
	{"CDATA section", `<r><![CDATA[canary]]></r>`, xmldsig.CDATA},
	{"split by CDATA", `<r>anna<![CDATA[]]>@evil</r>`, xmldsig.CDATA},
	{"CDATA before", `<![CDATA[canary]]><r/>`, xmldsig.CDATA},

	{"UTF-16 with a mark, big end", wide(`<r/>`, 0, 1, true), xmldsig.Encoding},
	{"UTF-16 with a mark, little end", wide(`<r/>`, 1, 0, true), xmldsig.Encoding},
	{"UTF-16 without a mark, big end", wide(`<r/>`, 0, 1, false), xmldsig.Malformed},
	{"UTF-16 without a mark, little end", wide(`<r/>`, 1, 0, false), xmldsig.Malformed},
	{"UTF-16 declared", `<?xml version="1.0" encoding="UTF-16"?><r/>`, xmldsig.Encoding},
	{"UTF-7 declared", `<?xml version="1.0" encoding="UTF-7"?><r>+ADw-canary/+AD4-</r>`, xmldsig.Encoding},
	{"UTF-7", `+ADw-r/+AD4-`, xmldsig.Malformed},
	{"Latin-1 declared", `<?xml version="1.0" encoding="ISO-8859-1"?><r/>`, xmldsig.Encoding},
	{"Latin-1", "<r>Vri\xebs</r>", xmldsig.Encoding},
	{"overlong", "<r>\xc0\xbc</r>", xmldsig.Encoding},
	{"surrogate in UTF-8", "<r>\xed\xa0\x80</r>", xmldsig.Encoding},
	{"byte order mark", "\uFEFF<r/>", xmldsig.Encoding},
	{"XML 1.1", `<?xml version="1.1"?><r/>`, xmldsig.Encoding},
	{"NUL in text", "<r>\x00</r>", xmldsig.Malformed},
	{"NUL in an attribute", "<r a=\"\x00\"/>", xmldsig.Malformed},
	{"NUL in a name", "<r\x00/>", xmldsig.Malformed},
	{"NUL behind", "<r/>\x00", xmldsig.Malformed},
	{"reference to NUL", `<r>&#0;</r>`, xmldsig.Malformed},
	{"reference to a surrogate", `<r>&#xD800;</r>`, xmldsig.Malformed},
	{"reference beyond Unicode", `<r>&#x110000;</r>`, xmldsig.Malformed},
	{"reference beyond numbers", `<r>&#99999999999999999999;</r>`, xmldsig.Malformed},
	{"reference without digits", `<r>&#;</r>`, xmldsig.Malformed},
	{"reference with a sign", `<r>&#+65;</r>`, xmldsig.Malformed},
	{"reference in hexadecimal X", `<r>&#X41;</r>`, xmldsig.Malformed},
	{"reference without end", `<r>&amp</r>`, xmldsig.Malformed},
	{"no character", "<r>\uFFFE</r>", xmldsig.Malformed},

	{"colon before a name", `<:canary/>`, xmldsig.Malformed},
	{"colon behind a name", `<canary:/>`, xmldsig.Malformed},
	{"two colons", `<x::y xmlns:x="urn:x"/>`, xmldsig.Malformed},
	{"three names", `<x:y:z xmlns:x="urn:x"/>`, xmldsig.Malformed},
	{"colon before an attribute", `<r :canary="x"/>`, xmldsig.Malformed},
	{"declaration of nothing", `<r xmlns:="urn:canary"/>`, xmldsig.Malformed},
	{"no ASCII name", `<räksmörgås/>`, xmldsig.Malformed},
	{"name with a digit first", `<1/>`, xmldsig.Malformed},
	{"prefix of an element", `<canary:r/>`, xmldsig.Malformed},
	{"prefix of an attribute", `<r canary:a="x"/>`, xmldsig.Malformed},
	{"prefix out of scope", `<r><a xmlns:x="urn:x"/><x:b/></r>`, xmldsig.Malformed},
	{"prefix undeclared", `<r xmlns:x="urn:x"><a xmlns:x=""/></r>`, xmldsig.Malformed},
	{"xml redeclared", `<r xmlns:xml="urn:canary"/>`, xmldsig.Malformed},
	{"xmlns redeclared", `<r xmlns:xmlns="urn:canary"/>`, xmldsig.Malformed},
	{"element of xmlns", `<xmlns:r/>`, xmldsig.Malformed},
	{"namespace of xml", `<r xmlns:x="http://www.w3.org/XML/1998/namespace"/>`, xmldsig.Malformed},
	{"namespace of xmlns", `<r xmlns="http://www.w3.org/2000/xmlns/"/>`, xmldsig.Malformed},
	{"relative namespace", `<r xmlns="canary"/>`, xmldsig.Malformed},
	{"namespace with a colon far behind", `<r xmlns="canary/b:c"/>`, xmldsig.Malformed},
	{"namespace with a space", `<r xmlns="urn:a b"/>`, xmldsig.Malformed},
	{"attribute twice", `<r a="1" a="2"/>`, xmldsig.Malformed},
	{"declaration twice", `<r xmlns="urn:a" xmlns="urn:b"/>`, xmldsig.Malformed},
	{"attribute under two prefixes", `<r xmlns:a="urn:x" xmlns:b="urn:x" a:ID="1" b:ID="2"/>`, xmldsig.Malformed},
	{"attribute under two prefixes, one of which meant something else before", `<r xmlns:a="urn:x" xmlns:b="urn:x"><c xmlns:a="urn:y"/><c a:ID="1" b:ID="2"/></r>`, xmldsig.Malformed},

	{"nothing", ``, xmldsig.Malformed},
	{"white space", " \n", xmldsig.Malformed},
	{"text", `canary`, xmldsig.Malformed},
	{"text before", `canary<r/>`, xmldsig.Malformed},
	{"text behind", `<r/>canary`, xmldsig.Malformed},
	{"two roots", `<r/><r/>`, xmldsig.Malformed},
	{"end tag only", `</r>`, xmldsig.Malformed},
	{"no end tag", `<r>`, xmldsig.Malformed},
	{"no end tag below", `<r><a></r>`, xmldsig.Malformed},
	{"longer end tag", `<r></rr>`, xmldsig.Malformed},
	{"end tag of another prefix", `<a:r xmlns:a="urn:x" xmlns:b="urn:x"></b:r>`, xmldsig.Malformed},
	{"attribute in an end tag", `<r></r a="canary">`, xmldsig.Malformed},
	{"half a start tag", `<r`, xmldsig.Malformed},
	{"half an empty tag", `<r/`, xmldsig.Malformed},
	{"slash in a tag", `<r/ >`, xmldsig.Malformed},
	{"space before a name", `< r/>`, xmldsig.Malformed},
	{"tag in an attribute", `<r a="<canary/>"/>`, xmldsig.Malformed},
	{"no quotes", `<r a=canary/>`, xmldsig.Malformed},
	{"no value", `<r a/>`, xmldsig.Malformed},
	{"open value", `<r a="canary/>`, xmldsig.Malformed},
	{"no space between attributes", `<r a="1"b="2"/>`, xmldsig.Malformed},
	{"end of CDATA", `<r>]]></r>`, xmldsig.Malformed},
	{"open declaration", `<?xml version="1.0"`, xmldsig.Malformed},
	{"declaration without version", `<?xml encoding="UTF-8"?><r/>`, xmldsig.Malformed},
	{"declaration in another order", `<?xml version="1.0" standalone="yes" encoding="UTF-8"?><r/>`, xmldsig.Malformed},
	{"declaration without spaces", `<?xml version="1.0"encoding="UTF-8"?><r/>`, xmldsig.Malformed},
	{"declaration without quotes", `<?xml version=1.0?><r/>`, xmldsig.Malformed},
	{"standalone by another word", `<?xml version="1.0" standalone="canary"?><r/>`, xmldsig.Encoding},

	{"a million nested tags", strings.Repeat("<r>", 1e6), xmldsig.Size},
	{"nested too deep", strings.Repeat("<r>", 33) + strings.Repeat("</r>", 33), xmldsig.Depth},
	{"a hundred thousand attributes", `<r` + strings.Repeat(` a="1"`, 1e5) + `/>`, xmldsig.Size},
	{"65 attributes", `<r` + many(65, ` a%="1"`) + `/>`, xmldsig.Attributes},
	{"33 declarations", `<r` + many(33, ` xmlns:a%="urn:x"`) + `/>`, xmldsig.Namespaces},
	{"5,001 elements", `<r>` + strings.Repeat("<e/>", 5000) + `</r>`, xmldsig.Elements},
	{"a long text", `<r>` + strings.Repeat("canary", 50000) + `</r>`, xmldsig.Size},
}

// many repeats s with a number for each %.
func many(n int, s string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(s, "%", strings.Repeat("x", i)))
	}
	return b.String()
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	for _, v := range unreadable {
		_, err := xmldsig.Parse([]byte(v.doc), xmldsig.Limits{})
		if kind(err) != v.kind {
			t.Errorf("%s: %v, want %s", v.name, err, v.kind)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error quotes the document: %v", v.name, err)
		}
	}
}

// TestLimits puts each limit one below and at what a document needs.
func TestLimits(t *testing.T) {
	t.Parallel()
	const doc = `<r xmlns:a="urn:a" xmlns:b="urn:b" c="1"><e><f/></e><e/></r>`
	for _, v := range []struct {
		enough, short xmldsig.Limits
		kind          xmldsig.Kind
	}{
		{xmldsig.Limits{Bytes: len(doc)}, xmldsig.Limits{Bytes: len(doc) - 1}, xmldsig.Size},
		{xmldsig.Limits{Depth: 3}, xmldsig.Limits{Depth: 2}, xmldsig.Depth},
		{xmldsig.Limits{Elements: 4}, xmldsig.Limits{Elements: 3}, xmldsig.Elements},
		{xmldsig.Limits{Attributes: 3}, xmldsig.Limits{Attributes: 2}, xmldsig.Attributes},
		{xmldsig.Limits{Namespaces: 2}, xmldsig.Limits{Namespaces: 1}, xmldsig.Namespaces},
	} {
		if _, err := xmldsig.Parse([]byte(doc), v.enough); err != nil {
			t.Errorf("%+v: %v", v.enough, err)
		}
		if _, err := xmldsig.Parse([]byte(doc), v.short); kind(err) != v.kind {
			t.Errorf("%+v: %v, want %s", v.short, err, v.kind)
		}
	}
	deep := []byte(strings.Repeat("<r>", 1e6))
	if _, err := xmldsig.Parse(deep, xmldsig.Limits{Bytes: len(deep)}); kind(err) != xmldsig.Depth {
		t.Errorf("a million nested tags under a larger limit: %v", err)
	}
	broad := []byte(`<r` + strings.Repeat(` a="1"`, 1e5) + `/>`)
	if _, err := xmldsig.Parse(broad, xmldsig.Limits{Bytes: len(broad)}); kind(err) != xmldsig.Attributes {
		t.Errorf("a hundred thousand attributes under a larger limit: %v", err)
	}
}

// flat writes a tree in a form of the test's own, so that trees can be compared.
func flat(el *etree.Element) []string {
	out := []string{"<" + el.FullTag()}
	for _, a := range el.Attr {
		out = append(out, a.FullKey()+"="+a.Value)
	}
	for _, t := range el.Child {
		switch t := t.(type) {
		case *etree.Element:
			out = append(out, flat(t)...)
		case *etree.CharData:
			out = append(out, t.Data)
		default:
			out = append(out, "?")
		}
	}
	return append(out, ">")
}

func TestParse(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string][]string{
		`<r/>`:                                   {"<r", ">"},
		"<?xml version='1.0'?>\n<r></r>\n":       {"<r", ">"},
		`<r>a&lt;&#62;&amp;&quot;&apos;</r>`:     {"<r", `a<>&"'`, ">"},
		"<r>1\r\n2\r3\n4&#13;5&#xD;\t</r>":       {"<r", "1\n2\n3\n4\r5\r\t", ">"},
		"<r a='1\r\n2\r3\n4\t5&#13;&#10;&#9;'/>": {"<r", "a=1 2 3 4 5\r\n\t", ">"},
		`<r a = "'" b= '"'  />`:                  {"<r", "a='", `b="`, ">"},
		`<p:r xmlns:p="urn:p" xmlns="urn:d" xml:lang="nl" p:a=""><x/>y</p:r >`: {"<p:r", "xmlns:p=urn:p", "xmlns=urn:d", "xml:lang=nl", "p:a=", "<x", ">", "y", ">"},
		`<a.b-c_1>Vriës 😀</a.b-c_1>`:                                           {"<a.b-c_1", "Vriës 😀", ">"},
		`<r xmlns="urn:r"><a xmlns=""/></r>`:                                   {"<r", "xmlns=urn:r", "<a", "xmlns=", ">", ">"},
		`<r xmlns:a="urn:x" xmlns:b="urn:x" a:i="1" b:j="2"/>`:                 {"<r", "xmlns:a=urn:x", "xmlns:b=urn:x", "a:i=1", "b:j=2", ">"},
		`<r xmlns:a="urn:x" xmlns:b="urn:y"><c xmlns:a="urn:y"/><c a:i="1" b:i="2"/></r>`: {"<r", "xmlns:a=urn:x", "xmlns:b=urn:y",
			"<c", "xmlns:a=urn:y", ">", "<c", "a:i=1", "b:i=2", ">", ">"},
	} {
		d, err := xmldsig.Parse([]byte(doc), xmldsig.Limits{})
		if err != nil {
			t.Errorf("Parse(%q): %v", doc, err)
			continue
		}
		if diff := cmp.Diff(want, flat(d.Root())); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", doc, diff)
		}
	}
}

// stable checks what holds for each document that is accepted: it is printed and
// read again as the same tree, by us and by encoding/xml.
func stable(t *testing.T, doc []byte) {
	t.Helper()
	d, err := xmldsig.Parse(doc, xmldsig.Limits{})
	if err != nil {
		return
	}
	want := flat(d.Root())
	printed, err := xmldsig.Bytes(d.Root())
	if err != nil {
		t.Fatal(err)
	}
	again, err := xmldsig.Parse(printed, xmldsig.Limits{Bytes: len(printed), Attributes: 1000})
	if err != nil {
		t.Fatalf("what was printed is refused: %v", err)
	}
	if diff := cmp.Diff(want, flat(again.Root())); diff != "" {
		t.Errorf("another tree after printing (-want +got):\n%s", diff)
	}
	other := etree.NewDocument()
	if err := other.ReadFromBytes(printed); err != nil {
		t.Fatalf("encoding/xml refuses what was printed: %v", err)
	}
	if diff := cmp.Diff(want, flat(other.Root())); diff != "" {
		t.Errorf("encoding/xml reads another tree (-want +got):\n%s", diff)
	}
	if !bytes.ContainsAny(doc, "\r\n\t") { // white space in attributes is where encoding/xml is lax
		other := etree.NewDocument()
		if err := other.ReadFromBytes(doc); err != nil {
			t.Fatalf("encoding/xml refuses: %v", err)
		}
		if diff := cmp.Diff(want, flat(other.Root())); diff != "" {
			t.Errorf("encoding/xml reads another tree (-want +got):\n%s", diff)
		}
	}
}

func TestStable(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"request.xml", "success.xml", "open.xml", "ap3000.xml"} {
		stable(t, vector(t, name))
	}
	stable(t, []byte(hard))
	stable(t, []byte(message))
}
