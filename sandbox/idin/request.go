package idin

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
)

// Namespaces and constants of the messages (§3, §5).
const (
	idxNS   = "http://www.betaalvereniging.nl/iDx/messages/Merchant-Acquirer/1.0.0"
	samlpNS = "urn:oasis:names:tc:SAML:2.0:protocol"
	samlNS  = "urn:oasis:names:tc:SAML:2.0:assertion"
	dsigNS  = "http://www.w3.org/2000/09/xmldsig#"

	productID = "NL:BVN:BankID:1.0"
	binding   = "nl:bvn:bankid:1.0:protocol:iDx"
	loa3      = "nl:bvn:bankid:1.0:loa3"
)

// A refusal is an AcquirerErrorRes, in AP3000 with a SAML status (§10).
type refusal struct {
	code, detail  string
	first, second string // SAML status codes
}

// Error is for our own code only; on the wire goes a message.
func (r *refusal) Error() string { return r.code + ": " + r.detail }

func no(code, detail string) *refusal { return &refusal{code: code, detail: detail} }

// SAML status codes.
const (
	samlSuccess   = "urn:oasis:names:tc:SAML:2.0:status:Success"
	samlRequester = "urn:oasis:names:tc:SAML:2.0:status:Requester"
	samlResponder = "urn:oasis:names:tc:SAML:2.0:status:Responder"
	samlFamily    = "urn:oasis:names:tc:SAML:2.0:status:"
	bvnFamily     = "urn:nl:bvn:bankid:1.0:status:"
)

// seconds are the second-level codes by their last word, with their families.
var seconds = map[string][2]string{
	"RequestDenied":          {samlRequester, samlFamily},
	"RequestUnsupported":     {samlRequester, samlFamily},
	"InvalidAttrNameOrValue": {samlRequester, samlFamily},
	"MismatchWithIDx":        {samlRequester, bvnFamily},
	"AuthnFailed":            {samlResponder, samlFamily},
}

// unfit is AP3000 with the SAML status of a word.
func unfit(word, detail string) *refusal {
	f := seconds[word]
	return &refusal{code: "AP3000", detail: detail, first: f[0], second: f[1] + word}
}

// A shape is an element that a message must, or may, have.
type shape struct {
	name     string
	optional bool
	ns       string
	form     func(string) *refusal // of its text; nil for none
	of       []shape
}

func leaf(name string, form func(string) *refusal) shape {
	return shape{name: name, ns: idxNS, form: form}
}
func node(name string, of ...shape) shape { return shape{name: name, ns: idxNS, of: of} }

var (
	signature = shape{name: "Signature", ns: dsigNS}
	stamped   = leaf("createDateTimestamp", date)
	who       = []shape{leaf("merchantID", digits(10, 10)), leaf("subID", digits(1, 6))}
	period    = shape{name: "expirationPeriod", ns: idxNS, optional: true, form: duration}

	authnRequest = shape{name: "AuthnRequest", ns: samlpNS, of: []shape{
		{name: "Issuer", ns: samlNS, form: digits(10, 10)},
		{name: "Extensions", ns: samlpNS, optional: true, of: []shape{{name: "Attribute", ns: samlNS, of: []shape{
			{name: "AttributeValue", ns: samlNS, form: text(regexp.MustCompile(`^[A-Za-z0-9]*$`), 1, 256)}}}}},
		{name: "Conditions", ns: samlNS, optional: true},
		{name: "RequestedAuthnContext", ns: samlpNS, of: []shape{
			{name: "AuthnContextClassRef", ns: samlNS, form: anything},
			{name: "AuthnContextClassRef", ns: samlNS, form: anything, optional: true}}}, // a library puts the document there as well
		{name: "Scoping", ns: samlpNS, optional: true}}}
)

// messages are the roots that the routing service takes (§3), with the forms of
// their fields (§4).
var messages = map[string][]shape{
	"DirectoryReq": {stamped, node("Merchant", who...), signature},
	"AcquirerTrxReq": {stamped, node("Issuer", leaf("issuerID", bic)), node("Merchant", append(slices.Clone(who), leaf("merchantReturnURL", address))...),
		node("Transaction", period, leaf("language", text(regexp.MustCompile(`^[a-z]*$`), 2, 2)), leaf("entranceCode", text(alphanumeric, 1, 40)),
			node("container", authnRequest)), signature},
	"AcquirerStatusReq": {stamped, node("Merchant", who...), node("Transaction", leaf("transactionID", digits(16, 16))), signature},
}

// fits checks that an element has the children of a list in their order.
func fits(el *etree.Element, want []shape) *refusal {
	have := el.ChildElements()
	for i, w := range want {
		is := func(e *etree.Element) bool { return e.Tag == w.name && e.NamespaceURI() == w.ns }
		if len(have) > 0 && is(have[0]) {
			if len(w.of) > 0 {
				if r := fits(have[0], w.of); r != nil {
					return r
				}
			}
			if w.form != nil && have[0].Text() == "" {
				return no("IX1600", w.name+" is empty")
			}
			have = have[1:]
			continue
		}
		switch {
		case w.optional:
		case slices.ContainsFunc(have, is):
			return no("IX1100", w.name+" stands in the wrong place")
		case len(have) > 0 && !slices.ContainsFunc(want[i:], func(o shape) bool { return have[0].Tag == o.name && have[0].NamespaceURI() == o.ns }):
			return no("IX1100", "an element is not known in "+el.Tag)
		default:
			return no("IX1600", w.name+" is missing")
		}
	}
	if len(have) > 0 {
		return no("IX1100", "an element is not known in "+el.Tag)
	}
	return nil
}

// formed checks the texts of an element that fits.
func formed(el *etree.Element, want []shape) *refusal {
	have := el.ChildElements()
	for _, w := range want {
		if len(have) == 0 || have[0].Tag != w.name || have[0].NamespaceURI() != w.ns {
			continue // optional
		}
		if w.form != nil {
			if r := w.form(have[0].Text()); r != nil {
				return no(r.code, w.name+" "+r.detail)
			}
		}
		if r := formed(have[0], w.of); r != nil {
			return r
		}
		have = have[1:]
	}
	return nil
}

var alphanumeric = regexp.MustCompile(`^[a-zA-Z0-9]*$`)

func anything(string) *refusal { return nil }

// text is a form of characters and length.
func text(chars *regexp.Regexp, least, most int) func(string) *refusal {
	return func(s string) *refusal {
		switch n := utf8.RuneCountInString(s); {
		case !chars.MatchString(s):
			return no("BR1210", "has a character that is not permitted")
		case n > most:
			return no("BR1220", "is too long")
		case n < least:
			return no("BR1230", "is too short")
		}
		return nil
	}
}

func digits(least, most int) func(string) *refusal {
	return text(regexp.MustCompile(`^[0-9]*$`), least, most)
}

var (
	bicForm  = regexp.MustCompile(`^[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3})?$`)
	dateForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z$`)
	urlForm  = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:[^\s<>"{}|\\^` + "`" + `]+$`)
	timeForm = regexp.MustCompile(`^PT(?:([0-9]{1,3})M)?(?:([0-9]{1,5})S)?$`)
)

func bic(s string) *refusal {
	if r := text(alphanumeric, 8, 11)(s); r != nil {
		return r
	}
	if !bicForm.MatchString(s) {
		return no("BR1210", "is no BIC")
	}
	return nil
}

func date(s string) *refusal {
	if _, err := time.Parse(time.RFC3339Nano, s); err != nil || !dateForm.MatchString(s) {
		return no("BR1270", "is no moment in UTC")
	}
	return nil
}

func address(s string) *refusal {
	if len(s) > 512 {
		return no("BR1220", "is too long")
	}
	if !urlForm.MatchString(s) {
		return no("BR1280", "is no address")
	}
	return nil
}

// duration takes the xs:durations that this field can have: minutes and
// seconds, at least one minute.
func duration(s string) *refusal {
	switch d, ok := parseDuration(s); {
	case !ok:
		return no("BR1270", "is no duration")
	case d < time.Minute:
		return no("BR1230", "is too short")
	}
	return nil
}

func parseDuration(s string) (time.Duration, bool) {
	m := timeForm.FindStringSubmatch(s)
	if m == nil || m[1] == "" && m[2] == "" {
		return 0, false
	}
	minutes, _ := strconv.Atoi(m[1]) // digits, or "" for none
	seconds, _ := strconv.Atoi(m[2])
	return time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second, true
}

// A request is a message that has been checked up to the last field's form.
type request struct {
	kind string // local name of its root
	doc  []byte
	root *etree.Element
}

// read does the checks that need no knowledge: XML, encoding, version, shape
// and forms, in that order (§16.2).
func read(doc []byte) (*request, *refusal) {
	if err := wellFormed(doc); err != nil {
		return nil, no("IX1100", "the message is not well-formed XML, or has a DTD")
	}
	d, err := xmldsig.Parse(doc, xmldsig.Limits{})
	if bad := (*xmldsig.Error)(nil); errors.As(err, &bad) && bad.Kind == xmldsig.Encoding || err == nil && bytes.HasPrefix(doc, []byte("\xef\xbb\xbf")) {
		return nil, no("IX1200", "the message is not UTF-8")
	} else if err != nil {
		return nil, no("IX1100", "the message has XML that is not used here")
	}
	root := d.Root()
	switch {
	case root.SelectAttrValue("version", "") != "1.0.0":
		return nil, no("BR1200", "version is not 1.0.0")
	case root.SelectAttrValue("productID", "") != productID:
		return nil, no("BR1200", "productID is not "+productID)
	}
	shapes, known := messages[root.Tag]
	if !known || root.NamespaceURI() != idxNS {
		return nil, no("IX1100", "the message is not known")
	}
	if r := fits(root, shapes); r != nil {
		return nil, r
	}
	out := &request{kind: root.Tag, doc: doc, root: root}
	a := out.authn()
	if a != nil {
		for _, name := range authnAttributes {
			if a.SelectAttrValue(name.name, "") == "" {
				return nil, no("IX1600", name.name+" is missing")
			}
		}
	}
	if r := formed(root, shapes); r != nil {
		return nil, r
	}
	if a != nil {
		for _, at := range authnAttributes {
			if r := at.form(a.SelectAttrValue(at.name, "")); r != nil {
				return nil, no(r.code, at.name+" "+r.detail)
			}
		}
	}
	return out, nil
}

// authnAttributes are those that an AuthnRequest must have (§5).
var authnAttributes = []struct {
	name string
	form func(string) *refusal
}{
	{"ID", text(regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9]*)?$`), 1, 35)},
	{"Version", text(regexp.MustCompile(`^2\.0$`), 3, 3)},
	{"IssueInstant", date},
	{"ProtocolBinding", anything},
	{"AssertionConsumerServiceURL", address},
	{"AttributeConsumingServiceIndex", service},
}

func service(s string) *refusal {
	if r := digits(1, 5)(s); r != nil {
		return r
	}
	if n, _ := strconv.Atoi(s); n > 65535 {
		return no("BR1220", "is too great")
	}
	return nil
}

// wellFormed reads a document as a parser of any encoding would, and finds a
// DTD. Text of one byte a character is good enough to see the markup.
func wellFormed(doc []byte) error {
	if len(doc) > 1<<20 {
		return errors.New("the message is too long")
	}
	d := xml.NewDecoder(bytes.NewReader(doc))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return latin{r}, nil }
	root := false
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) && root {
			return nil
		}
		if err != nil && !utf8.Valid(doc) && !bytes.Contains(doc, []byte("<!DOCTYPE")) {
			return nil // whatever it is, it is first of all not UTF-8
		}
		if err != nil {
			return err
		}
		switch t.(type) {
		case xml.Directive:
			return errors.New("the message has a DTD")
		case xml.StartElement:
			root = true
		}
	}
}

// latin makes every byte a character.
type latin struct{ from io.Reader }

func (l latin) Read(p []byte) (int, error) {
	half := make([]byte, max(len(p)/2, 1))
	n, err := l.from.Read(half)
	out := p[:0]
	for _, b := range half[:n] {
		out = utf8.AppendRune(out, rune(b))
	}
	return len(out), err
}

func (r *request) at(path string) string {
	el := r.root
	for name := range strings.SplitSeq(path, "/") {
		if el = child(el, name); el == nil {
			return ""
		}
	}
	return el.Text()
}

func child(el *etree.Element, name string) *etree.Element {
	for _, c := range el.ChildElements() {
		if c.Tag == name {
			return c
		}
	}
	return nil
}

// authn is the AuthnRequest; nil where the message has none.
func (r *request) authn() *etree.Element {
	el := r.root
	for _, name := range []string{"Transaction", "container", "AuthnRequest"} {
		if el = child(el, name); el == nil {
			return nil
		}
	}
	return el
}

// signer is the KeyName of the message's signature.
func (r *request) signer() string {
	el := child(r.root, "Signature")
	for _, name := range []string{"KeyInfo", "KeyName"} {
		if el = child(el, name); el == nil {
			return ""
		}
	}
	return strings.TrimSpace(el.Text())
}

func equalFold(a, b string) bool { return a != "" && strings.EqualFold(a, b) }
