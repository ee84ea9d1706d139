package idin

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
	"eidgate/sandbox"
)

// A message is an answer as it is written: in one of two profiles (§16.4), whose
// prefixes, white space and signatures differ as those of genuine routing
// services do.
type message struct {
	b                strings.Builder
	worldline        bool
	idx, samlp, saml string // prefixes with their colons
	depth            int
	inner            bool // holds an assertion, which is to be signed
	vs               string
	bank             string
	spoilt           string // fault of the assertion
	top              string
}

func newMessage(profile string) *message {
	if profile == "worldline" {
		return &message{worldline: true, samlp: "saml2p:", saml: "saml2:"}
	}
	return &message{samlp: "samlp:", saml: "saml:"}
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a builder takes everything
	return b.String()
}

// stamp is a moment as iDx writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func random(bytes int) string {
	b := make([]byte, bytes)
	if _, err := rand.Read(b); err != nil {
		panic(err) // the system's randomness has failed
	}
	return hex.EncodeToString(b)
}

// root begins the message; prefix is that of the worldline profile.
func (m *message) root(name, prefix string) {
	m.top = name
	attrs := `version="1.0.0" productID="` + productID + `"`
	if !m.worldline {
		m.b.WriteString("<" + name + ` xmlns="` + idxNS + `" ` + attrs + ">")
		return
	}
	m.idx = prefix + ":"
	m.b.WriteString("<" + m.idx + name + ` xmlns="` + dsigNS + `" xmlns:` + prefix + `="` + idxNS + `"`)
	if prefix == "awidxma" { // what nobody needs is declared as well
		m.b.WriteString(` xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:saml2p="` + samlpNS +
			`" xmlns:saml2="` + samlNS + `" xmlns:xenc11="http://www.w3.org/2009/xmlenc11#" xmlns:ec="http://www.w3.org/2001/10/xml-exc-c14n#" xmlns:ns9="urn:sandbox:unused"`)
	}
	m.b.WriteString(" productID=\"" + productID + "\" version=\"1.0.0\">")
	m.depth = 1
}

func (m *message) line() {
	if m.worldline {
		m.b.WriteString("\n" + strings.Repeat("    ", m.depth))
	}
}

// tag writes a start tag; names without a colon are iDx's. Attributes are
// pairs of names and values.
func (m *message) tag(name string, attrs []string) {
	m.line()
	m.b.WriteString("<" + m.named(name))
	for i := 0; i+1 < len(attrs); i += 2 {
		m.b.WriteString(" " + attrs[i] + `="` + escape(attrs[i+1]) + `"`)
	}
}

func (m *message) named(name string) string {
	if rest, ok := strings.CutPrefix(name, "samlp:"); ok {
		return m.samlp + rest
	}
	if rest, ok := strings.CutPrefix(name, "saml:"); ok {
		return m.saml + rest
	}
	return m.idx + name
}

func (m *message) open(name string, attrs ...string) {
	m.tag(name, attrs)
	m.b.WriteString(">")
	m.depth++
}

func (m *message) close(name string) {
	m.depth--
	m.line()
	m.b.WriteString("</" + m.named(name) + ">")
}

func (m *message) leaf(name, text string, attrs ...string) {
	m.tag(name, attrs)
	m.b.WriteString(">" + escape(text) + "</" + m.named(name) + ">")
}

func (m *message) empty(name string, attrs ...string) {
	m.tag(name, attrs)
	m.b.WriteString("/>")
}

func (m *message) acquirer() {
	m.open("Acquirer")
	m.leaf("acquirerID", Acquirer)
	m.close("Acquirer")
}

// response writes samlp:Response; assertion writes what is in it, and may be
// nil.
func (m *message) response(now time.Time, id, to, issuer, first, second, text string, assertion func()) {
	attrs := []string{"ID", id, "InResponseTo", to, "IssueInstant", stamp(now), "Version", "2.0"}
	if !m.worldline || m.top != "AcquirerStatusRes" {
		attrs = append([]string{"xmlns:" + strings.TrimSuffix(m.samlp, ":"), samlpNS, "xmlns:" + strings.TrimSuffix(m.saml, ":"), samlNS}, attrs...)
	}
	m.open("samlp:Response", attrs...)
	m.leaf("saml:Issuer", issuer)
	m.open("samlp:Status")
	if second == "" {
		m.empty("samlp:StatusCode", "Value", first)
	} else {
		m.open("samlp:StatusCode", "Value", first)
		m.empty("samlp:StatusCode", "Value", second)
		m.close("samlp:StatusCode")
	}
	if text != "" {
		m.leaf("samlp:StatusMessage", text)
	}
	m.close("samlp:Status")
	if assertion != nil {
		assertion()
	}
	m.close("samlp:Response")
}

// seal ends the message, signs the assertion that it may hold and then the
// whole (§11.3), and writes it. Nothing is changed after the signature but by
// faults.
func (s *Simulator) seal(m *message, fault sandbox.Fault) ([]byte, error) {
	m.depth = 0
	m.line()
	m.b.WriteString("</" + m.idx + m.top + ">")
	d, err := xmldsig.Parse([]byte(m.b.String()), xmldsig.Limits{})
	if err != nil {
		return nil, err
	}
	root := d.Root()
	if m.inner {
		if err := s.signAssertion(m, root); err != nil {
			return nil, err
		}
	}
	pair := s.pki.routing()
	if s.Settings().RoutingKey == "alternate" || fault.Kind == alternateKey {
		pair = s.pki.alternate()
	}
	signer := xmldsig.Signer{Key: pair.key, Certificate: pair.cert, KeyName: true, LowerName: m.worldline, Prefix: "ds"}
	if m.worldline {
		signer.Prefix = "" // xmldsig is the default namespace there
	}
	if err := signer.Sign(root); err != nil {
		return nil, err
	}
	own := child(root, "Signature")
	if m.worldline {
		value := child(own, "SignatureValue")
		value.SetText(lines(value.Text(), "\n"))
	}
	switch fault.Kind {
	case badSignature:
		value := child(own, "SignatureValue")
		value.SetText(flipped(value.Text()))
	case unknownKey:
		child(child(own, "KeyInfo"), "KeyName").SetText(xmldsig.Fingerprint(s.pki.stranger().cert))
	}
	out, err := xmldsig.Bytes(root)
	if fault.Kind == doctype {
		out = bytes.Replace(out, []byte("?>"), []byte("?>\n<!DOCTYPE "+root.Tag+" [<!ENTITY a \"a\">]>"), 1)
	}
	return out, err
}

// lines breaks base64 into lines, as some services do.
func lines(text, end string) string {
	var b strings.Builder
	for part := range slices.Chunk([]byte(text), 76) {
		b.Write(append(part, end...))
	}
	return b.String()
}

// flipped is base64 of the same length and other octets.
func flipped(text string) string {
	if strings.HasPrefix(text, "A") {
		return "B" + text[1:]
	}
	return "A" + text[1:]
}

// signAssertion puts the bank's signature behind the assertion's issuer (§11.2).
func (s *Simulator) signAssertion(m *message, root *etree.Element) error {
	el := root
	for _, name := range []string{"Transaction", "container", "Response", "Assertion"} {
		el = child(el, name)
	}
	p := s.pki.banks[m.bank]()
	signer := xmldsig.Signer{Key: p.key, Certificate: p.cert, Prefix: "ds"}
	if m.worldline {
		signer.Prefix, signer.Inclusive = "", "xsd"
	}
	at := slices.Index(el.Child, etree.Token(child(el, "Issuer"))) + 1
	if err := signer.SignAt(el, at, m.vs); err != nil {
		return err
	}
	sig := child(el, "Signature")
	if m.worldline {
		value := child(sig, "SignatureValue")
		value.SetText(lines(value.Text(), "\r\n"))
	}
	switch m.spoilt {
	case badSignature:
		value := child(sig, "SignatureValue")
		value.SetText(flipped(value.Text()))
	case wrapped:
		wrap(el, sig)
	}
	return nil
}
