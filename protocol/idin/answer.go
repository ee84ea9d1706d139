package idin

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
)

// Constants of the messages (§3, §5, §9).
const (
	nsIDX   = "http://www.betaalvereniging.nl/iDx/messages/Merchant-Acquirer/1.0.0"
	nsSAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsSAML  = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsDSig  = "http://www.w3.org/2000/09/xmldsig#"

	declaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	version     = "1.0.0"
	product     = "NL:BVN:BankID:1.0"
	binding     = "nl:bvn:bankid:1.0:protocol:iDx"

	// Substantial is the one level of assurance in use.
	Substantial = "nl:bvn:bankid:1.0:loa3"
)

// maxAge is how far createDateTimestamp of an answer may lie from now.
const maxAge = 5 * time.Minute

// A Directory is the list of banks (§3). It is fetched once a day or a week,
// never for one transaction.
type Directory struct {
	At        time.Time // when the list was changed last
	Countries []Country
	Notes     []Note
}

// A Country groups banks under its name in its own language: "Nederland".
type Country struct {
	Name    string
	Issuers []Issuer
}

// An Issuer is a bank.
type Issuer struct {
	ID   string // BIC
	Name string // 1 to 35 characters
}

// Issuer finds a bank by its BIC.
func (d *Directory) Issuer(id string) (Issuer, bool) {
	for _, c := range d.Countries {
		for _, i := range c.Issuers {
			if i.ID == id {
				return i, true
			}
		}
	}
	return Issuer{}, false
}

// Started is a transaction that the bank knows.
type Started struct {
	TransactionID string    // 16 digits
	URL           string    // issuerAuthenticationURL: for the top window of the person's browser, unchanged
	At            time.Time // when the acquirer made it
	Notes         []Note
}

// A Note tells that an answer differs from the rules in a way that hurts
// nobody: worth a line in a log, no reason to send a person away (§9). It names
// a field and never holds its value.
type Note string

// A message is an answer whose signature has been verified.
type message struct {
	signed *xmldsig.Signed
	root   *etree.Element
	notes  []Note
}

func (m *message) note(text string) { m.notes = append(m.notes, Note(text)) }

// verify checks the iDx signature (§11.1) and that the message is the one asked
// for, or returns *Error for AcquirerErrorRes. others is how many further
// signatures it may hold.
func (m *Merchant) verify(raw []byte, name string, others int, now time.Time) (*message, error) {
	signed, err := xmldsig.Verify(raw, xmldsig.Default, xmldsig.Rule{Select: m.routing, Now: now, Others: others})
	if err != nil {
		return nil, refusedXML(Message, err)
	}
	msg, r := &message{signed: signed, root: signed.Root}, &reader{part: Message}
	is := msg.root.Tag
	if msg.root.NamespaceURI() != nsIDX || is != name && is != "AcquirerErrorRes" {
		return nil, refused(Message, ReasonRoot)
	}
	if msg.root.SelectAttrValue("version", "") != version {
		return nil, refused(Message, ReasonVersion)
	}
	if msg.root.SelectAttrValue("productID", "") != product {
		msg.note("productID is another one")
	}
	created := r.time(r.text(msg.root, nsIDX, "createDateTimestamp"))
	switch {
	case r.err != nil:
		return nil, r.err
	case created.Before(now.Add(-maxAge)) || created.After(now.Add(maxAge)):
		return nil, refused(Message, ReasonStale)
	case is == "AcquirerErrorRes":
		return nil, readError(msg.root)
	}
	if id := r.text(r.child(msg.root, nsIDX, "Acquirer"), nsIDX, "acquirerID"); r.err == nil && id != m.acquirer() {
		r.fail(ReasonAcquirer)
	}
	return msg, r.err
}

// routing selects the routing service's certificate: the one whose fingerprint
// KeyName gives, in letters of either case (§11.1).
func (m *Merchant) routing(info xmldsig.KeyInfo) (*x509.Certificate, error) {
	for _, name := range info.Names {
		for _, c := range m.Routing {
			if strings.EqualFold(strings.TrimSpace(name), xmldsig.Fingerprint(c)) {
				return c, nil
			}
		}
	}
	return nil, errors.New("KeyName is no fingerprint of a configured certificate")
}

// ReadDirectory verifies and reads DirectoryRes, or returns *Error for
// AcquirerErrorRes (§3). now is when it came. A bank that cannot be used is left
// out, with a note.
func (m *Merchant) ReadDirectory(raw []byte, now time.Time) (*Directory, error) {
	msg, err := m.verify(raw, "DirectoryRes", 0, now)
	if err != nil {
		return nil, err
	}
	r := &reader{part: Message}
	list := r.child(msg.root, nsIDX, "Directory")
	d := &Directory{At: r.time(r.text(list, nsIDX, "directoryDateTimestamp"))}
	if r.err != nil {
		return nil, r.err
	}
	for _, el := range children(list, nsIDX, "Country") {
		country := Country{Name: r.text(el, nsIDX, "countryNames")}
		for _, el := range children(el, nsIDX, "Issuer") {
			issuer := Issuer{ID: r.text(el, nsIDX, "issuerID"), Name: r.text(el, nsIDX, "issuerName")}
			_, twice := d.Issuer(issuer.ID)
			twice = twice || slices.ContainsFunc(country.Issuers, func(i Issuer) bool { return i.ID == issuer.ID })
			switch {
			case r.err != nil:
				return nil, r.err
			case !ValidIssuer(issuer.ID) || issuer.Name == "":
				msg.note("issuer without usable issuerID or issuerName")
				continue
			case twice:
				msg.note("issuerID is there twice")
				continue
			case runes(issuer.Name) > 35:
				msg.note("issuerName is too long")
			}
			country.Issuers = append(country.Issuers, issuer)
		}
		d.Countries = append(d.Countries, country)
	}
	if !slices.ContainsFunc(d.Countries, func(c Country) bool { return len(c.Issuers) > 0 }) {
		r.fail(ReasonShape)
	}
	if r.err != nil {
		return nil, r.err
	}
	d.Notes = msg.notes
	return d, nil
}

// ReadStarted verifies and reads AcquirerTrxRes, or returns *Error (§15.2). now
// is when it came.
func (m *Merchant) ReadStarted(raw []byte, now time.Time) (*Started, error) {
	msg, err := m.verify(raw, "AcquirerTrxRes", 0, now)
	if err != nil {
		return nil, err
	}
	r := &reader{part: Message}
	issuer, tx := r.child(msg.root, nsIDX, "Issuer"), r.child(msg.root, nsIDX, "Transaction")
	s := &Started{URL: r.text(issuer, nsIDX, "issuerAuthenticationURL"), TransactionID: r.text(tx, nsIDX, "transactionID"),
		At: r.time(r.text(tx, nsIDX, "transactionCreateDateTimestamp"))}
	switch {
	case r.err != nil:
		return nil, r.err
	case !transactionID.MatchString(s.TransactionID):
		return nil, refused(Message, ReasonTransaction)
	case !m.reachable(s.URL):
		return nil, refused(Message, ReasonURL)
	case !strings.HasPrefix(s.TransactionID, m.acquirer()):
		msg.note("transactionID does not begin with acquirerID")
	}
	s.Notes = msg.notes
	return s, nil
}

// readError reads AcquirerErrorRes. Texts are cut at their limits (§4); the SAML
// status is a bonus that may be missing.
func readError(root *etree.Element) error {
	r := &reader{part: Message}
	el := r.child(root, nsIDX, "Error")
	e := &Error{Code: r.text(el, nsIDX, "errorCode"), Message: r.text(el, nsIDX, "errorMessage")}
	if r.err == nil && !errorCode.MatchString(e.Code) {
		r.fail(ReasonShape)
	}
	if r.err != nil {
		return r.err
	}
	e.Message = cut(e.Message, 128)
	e.Detail = cut(r.optional(el, nsIDX, "errorDetail"), 256)
	e.Action = cut(r.optional(el, nsIDX, "suggestedAction"), 512)
	e.Consumer = cut(r.optional(el, nsIDX, "consumerMessage"), 512)
	for _, container := range children(el, nsIDX, "container") {
		for _, response := range children(container, nsSAMLP, "Response") {
			e.SAML = samlStatus(response)
		}
	}
	return e
}

func cut(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit])
	}
	return s
}

func runes(s string) int { return len([]rune(s)) }

// samlStatus reads both levels of a status (§10.2), as far as they are there.
func samlStatus(response *etree.Element) SAMLStatus {
	r, s := &reader{part: Message}, SAMLStatus{}
	status := r.child(response, nsSAMLP, "Status")
	first := r.child(status, nsSAMLP, "StatusCode")
	if r.err != nil {
		return s
	}
	s.First = shortStatus(first.SelectAttrValue("Value", ""))
	if second := children(first, nsSAMLP, "StatusCode"); len(second) == 1 {
		s.Second = shortStatus(second[0].SelectAttrValue("Value", ""))
	}
	for _, el := range children(status, nsSAMLP, "StatusMessage") {
		text, _ := leaf(el)
		if text == "" {
			text = el.SelectAttrValue("Value", "") // one client looks there
		}
		s.Message = cut(text, 512)
	}
	return s
}

// shortStatus takes away the prefix of a status' URI: the SAML standard's, or
// iDIN's own. Any other URI stays as it is.
func shortStatus(uri string) string {
	for _, prefix := range []string{"urn:oasis:names:tc:SAML:2.0:status:", "urn:nl:bvn:bankid:1.0:status:"} {
		if rest, ok := strings.CutPrefix(uri, prefix); ok {
			return rest
		}
	}
	return uri
}

// A reader takes values out of a verified tree by namespace and local name:
// prefixes are free (§3). After the first thing that is not as it must be, err
// says so and it reads nothing more.
type reader struct {
	part Part
	err  error
}

func (r *reader) fail(reason Reason) {
	if r.err == nil {
		r.err = refused(r.part, reason)
	}
}

// child is the only child of a name.
func (r *reader) child(of *etree.Element, ns, name string) *etree.Element {
	if r.err != nil {
		return nil
	}
	found := children(of, ns, name)
	if len(found) != 1 {
		r.fail(ReasonShape)
		return nil
	}
	return found[0]
}

// text is the text of the only child of a name, which has no elements.
func (r *reader) text(of *etree.Element, ns, name string) string {
	el := r.child(of, ns, name)
	if r.err != nil {
		return ""
	}
	text, ok := leaf(el)
	if !ok {
		r.fail(ReasonShape)
	}
	return text
}

// optional is the same; "" without such a child.
func (r *reader) optional(of *etree.Element, ns, name string) string {
	if r.err != nil || len(children(of, ns, name)) == 0 {
		return ""
	}
	return r.text(of, ns, name)
}

// attr is an attribute that must be there.
func (r *reader) attr(of *etree.Element, name string) string {
	if r.err != nil {
		return ""
	}
	a := of.SelectAttr(name)
	if a == nil {
		r.fail(ReasonShape)
		return ""
	}
	return a.Value
}

// time reads xs:dateTime with a zone.
func (r *reader) time(s string) time.Time {
	if r.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(s))
	if err != nil {
		r.fail(ReasonTime)
	}
	return t.UTC()
}

func children(of *etree.Element, ns, name string) []*etree.Element {
	var out []*etree.Element
	for _, el := range of.ChildElements() {
		if el.Tag == name && el.NamespaceURI() == ns {
			out = append(out, el)
		}
	}
	return out
}

// leaf is the text of an element that has no elements.
func leaf(el *etree.Element) (string, bool) {
	var b strings.Builder
	for _, t := range el.Child {
		c, ok := t.(*etree.CharData)
		if !ok {
			return "", false
		}
		b.WriteString(c.Data)
	}
	return b.String(), true
}
