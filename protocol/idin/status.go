package idin

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
)

// A State is where a transaction stands (§10.1).
type State string

const (
	Open      State = "Open"
	Pending   State = "Pending" // several persons must approve; as Open
	Success   State = "Success"
	Cancelled State = "Cancelled"
	Expired   State = "Expired"
	Failure   State = "Failure"
)

func (s State) known() bool {
	switch s {
	case Open, Pending, Success, Cancelled, Expired, Failure:
		return true
	}
	return false
}

// Final says whether the state can change no more.
func (s State) Final() bool { return s != Open && s != Pending }

// Expected is what the answer to a status request must be about.
type Expected struct {
	TransactionID string
	Reference     string    // that the transaction was asked with
	Issuer        string    // BIC of the chosen bank
	Service       ServiceID // that was asked for
}

// A Status is a verified AcquirerStatusRes. What follows Notes is there with
// Success only.
type Status struct {
	TransactionID string
	State         State
	At            time.Time         // when the bank set a final state; zero if it did not say
	Routing       *x509.Certificate // that the message was signed with
	Notes         []Note

	Incomplete  bool   // the bank says that it lacks some of what was asked (§10.2)
	Issuer      string // BIC of the bank that answered
	Level       string // of assurance: Substantial
	AuthnAt     time.Time
	NotBefore   time.Time
	NotAfter    time.Time // NotOnOrAfter: the first instant at which the assertion does not count
	AssertionID string
	Delivered   ServiceID // the groups that the bank released
	Missing     ServiceID // the groups that were asked and not released

	Bank *x509.Certificate // that the assertion was signed with

	asked  ServiceID
	keys   []crypto.Decrypter
	nameID *etree.Element   // EncryptedID
	sealed []*etree.Element // EncryptedAttribute
	plain  []*etree.Element // Attribute, without deliveredserviceid
}

// maxSealed bounds what one answer has us decrypt; there are 27 attributes (§9).
const maxSealed = 64

// ReadStatus verifies and reads AcquirerStatusRes, without what is encrypted
// (§15.3). now is when the answer came: an assertion lives for 30 s. The error is
// *Error where the answer refuses, ErrNoData, or *RefusedError where it must
// not be believed. An answer about another transaction refuses nothing about
// this one.
func (m *Merchant) ReadStatus(raw []byte, want Expected, now time.Time) (*Status, error) {
	msg, err := m.verify(raw, "AcquirerStatusRes", 1, now)
	if err != nil {
		return nil, err
	}
	r := &reader{part: Message}
	tx := r.child(msg.root, nsIDX, "Transaction")
	s := &Status{TransactionID: r.text(tx, nsIDX, "transactionID"), State: State(r.text(tx, nsIDX, "status")),
		Routing: msg.signed.Certificate, asked: want.Service, keys: m.Decryption}
	switch {
	case r.err != nil:
		return nil, r.err
	case !transactionID.MatchString(s.TransactionID) || s.TransactionID != want.TransactionID:
		return nil, refused(Message, ReasonTransaction)
	case !s.State.known():
		return nil, refused(Message, ReasonStatus)
	}
	if at := r.optional(tx, nsIDX, "statusDateTimestamp"); at != "" {
		s.At = r.time(at)
	} else if s.State.Final() {
		msg.note("statusDateTimestamp is missing")
	}
	containers := children(tx, nsIDX, "container")
	assertions := find(msg.root, nsSAML, "Assertion", "EncryptedAssertion")
	switch {
	case r.err != nil:
		return nil, r.err
	case s.State != Success && len(assertions) > 0:
		return nil, refused(Message, ReasonAssertion)
	case s.State != Success:
		s.Notes = msg.notes
		return s, nil
	case len(containers) == 0 && len(assertions) == 0, len(containers) == 1 && len(containers[0].ChildElements()) == 0:
		return nil, ErrNoData
	}
	container := r.child(tx, nsIDX, "container")
	response := r.child(container, nsSAMLP, "Response")
	if r.err == nil && len(container.ChildElements()) != 1 {
		r.fail(ReasonShape)
	}
	if reference := r.attr(response, "InResponseTo"); r.err == nil && (reference == "" || reference != want.Reference) {
		r.fail(ReasonRequest)
	}
	if r.err != nil {
		return nil, r.err
	}
	if err := s.readSAMLStatus(response, msg); err != nil {
		return nil, err
	}
	switch {
	case len(assertions) == 0:
		return nil, ErrNoData
	case len(assertions) > 1 || assertions[0].Parent() != response || assertions[0].Tag != "Assertion":
		return nil, refused(Message, ReasonAssertion)
	}
	s.Notes = msg.notes
	if err := s.readAssertion(m, msg.signed, assertions[0], want, now); err != nil {
		return nil, err
	}
	return s, nil
}

// readSAMLStatus reads the status of a response: *Error if it is no success
// (§10.2). Without a second level, which libraries of the scheme refuse, the
// delivered groups alone tell whether something lacks.
func (s *Status) readSAMLStatus(response *etree.Element, msg *message) error {
	status := samlStatus(response)
	switch {
	case status.First == "":
		return refused(Message, ReasonShape)
	case status.First != "Success":
		return &Error{SAML: status}
	}
	switch status.Second {
	case "Success":
	case "IncompleteAttributeSet":
		s.Incomplete = true
	case "":
		msg.note("second level of the SAML status is missing")
	default:
		return refused(Message, ReasonStatus)
	}
	return nil
}

// readAssertion verifies the bank's signature (§11.2) and reads everything that
// is not encrypted.
func (s *Status) readAssertion(m *Merchant, signed *xmldsig.Signed, el *etree.Element, want Expected, now time.Time) error {
	rule := xmldsig.Rule{Select: embedded}
	if m.IssuerDates {
		rule.Now = now
	}
	inner, err := signed.VerifyElement(el, rule)
	if err != nil {
		return refusedXML(Assertion, err)
	}
	s.Bank = inner.Certificate
	if now.Before(s.Bank.NotBefore) || now.After(s.Bank.NotAfter) {
		s.note("certificate of the issuer is outside its dates")
	}
	el = inner.Root
	r := &reader{part: Assertion}
	s.Issuer = r.text(el, nsSAML, "Issuer")
	s.AssertionID = r.attr(el, "ID")
	conditions := r.child(el, nsSAML, "Conditions")
	s.NotBefore, s.NotAfter = r.time(r.attr(conditions, "NotBefore")), r.time(r.attr(conditions, "NotOnOrAfter"))
	authn := r.child(el, nsSAML, "AuthnStatement")
	s.AuthnAt = r.time(r.attr(authn, "AuthnInstant"))
	class := r.child(authn, nsSAML, "AuthnContext")
	s.Level = r.text(class, nsSAML, "AuthnContextClassRef")
	authority := r.optional(class, nsSAML, "AuthenticatingAuthority")
	s.nameID = r.child(r.child(el, nsSAML, "Subject"), nsSAML, "EncryptedID")
	attributes := r.child(el, nsSAML, "AttributeStatement")
	switch {
	case r.err != nil:
		return r.err
	case !ValidIssuer(s.Issuer) || s.Issuer != want.Issuer && !slices.Contains(m.Aliases[want.Issuer], s.Issuer):
		return refused(Assertion, ReasonIssuer)
	case !m.pinned(s.Issuer, s.Bank):
		return refused(Assertion, ReasonPin)
	case authority != "" && authority != s.Issuer:
		s.note("AuthenticatingAuthority is another bank")
	}
	if err := checkTimes(el, now, m.skew()); err != nil {
		return err
	}
	switch {
	case !m.intended(conditions):
		return refused(Assertion, ReasonAudience)
	case s.Level != Substantial:
		return refused(Assertion, ReasonLevel)
	}
	return s.readStatement(attributes, want)
}

func (s *Status) note(text string) { s.Notes = append(s.Notes, Note(text)) }

// embedded takes the one certificate that an assertion's signature carries: it
// is anchored by the iDx signature around it, and by pins (§11.2).
func embedded(info xmldsig.KeyInfo) (*x509.Certificate, error) {
	if len(info.Certificates) != 1 {
		return nil, errors.New("KeyInfo does not hold one certificate")
	}
	return info.Certificates[0], nil
}

// pinned compares a bank's key with the pins for it, if there are any.
func (m *Merchant) pinned(issuer string, c *x509.Certificate) bool {
	pins, ok := m.Pins[issuer]
	if !ok {
		return true
	}
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return slices.ContainsFunc(pins, func(p string) bool { return strings.EqualFold(p, hex.EncodeToString(sum[:])) })
}

// checkTimes compares every pair of limits in an assertion with now, not only
// those of Conditions.
func checkTimes(el *etree.Element, now time.Time, skew time.Duration) error {
	for _, a := range el.Attr {
		r := &reader{part: Assertion}
		switch a.Key {
		case "NotBefore":
			if from := r.time(a.Value); r.err == nil && now.Before(from.Add(-skew)) {
				r.fail(ReasonEarly)
			}
		case "NotOnOrAfter", "SessionNotOnOrAfter":
			if until := r.time(a.Value); r.err == nil && !now.Before(until.Add(skew)) {
				r.fail(ReasonLate)
			}
		}
		if r.err != nil {
			return r.err
		}
	}
	for _, c := range el.ChildElements() {
		if err := checkTimes(c, now, skew); err != nil {
			return err
		}
	}
	return nil
}

// intended says whether every restriction, and at least one, names our legal
// id, where one is configured (§7). Its form is not looked at.
func (m *Merchant) intended(conditions *etree.Element) bool {
	if m.LegalID == "" {
		return true
	}
	restrictions := children(conditions, nsSAML, "AudienceRestriction")
	for _, el := range restrictions {
		if !slices.ContainsFunc(children(el, nsSAML, "Audience"), func(a *etree.Element) bool {
			text, ok := leaf(a)
			return ok && text == m.LegalID
		}) {
			return false
		}
	}
	return len(restrictions) > 0
}

// readStatement sorts attributes into plain and encrypted ones, and compares
// what was delivered with what was asked, group by group (§6).
func (s *Status) readStatement(el *etree.Element, want Expected) error {
	delivered, found := 0, 0
	for _, c := range el.ChildElements() {
		switch {
		case c.NamespaceURI() != nsSAML:
			return refused(Assertion, ReasonShape)
		case c.Tag == "EncryptedAttribute":
			s.sealed = append(s.sealed, c)
		case c.Tag == "Attribute" && c.SelectAttrValue("Name", "") == attrDelivered:
			_, value, err := readAttribute(c)
			n, notInteger := strconv.ParseUint(strings.TrimSpace(value), 10, 16)
			if err != nil || notInteger != nil {
				return refused(Assertion, ReasonDelivered)
			}
			delivered, found = int(n), found+1
		case c.Tag == "Attribute":
			s.plain = append(s.plain, c)
		default:
			return refused(Assertion, ReasonShape)
		}
	}
	switch {
	case found != 1:
		return refused(Assertion, ReasonDelivered)
	case len(s.sealed) > maxSealed:
		return refused(Assertion, ReasonShape)
	}
	s.Delivered = ServiceID(delivered) //nolint:gosec // 16 bits were read
	s.Missing = s.Delivered.Missing(want.Service)
	return nil
}

// find lists the elements of these names, wherever they are.
func find(el *etree.Element, ns string, names ...string) []*etree.Element {
	var out []*etree.Element
	if slices.Contains(names, el.Tag) && el.NamespaceURI() == ns {
		out = append(out, el)
	}
	for _, c := range el.ChildElements() {
		out = append(out, find(c, ns, names...)...)
	}
	return out
}
