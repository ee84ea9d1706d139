package idin

import (
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
	"eidgate/sandbox"
)

const (
	attributeRoot = "urn:nl:bvn:bankid:1.0:"
	consumerRoot  = attributeRoot + "consumer."
)

// Kinds of faults of what is proved.
const (
	otherRequest   = "wrong_request"   // InResponseTo of another request
	staleWindow    = "expired"         // conditions that were over an hour ago
	otherRecipient = "wrong_recipient" // audience and recipient of another merchant
	otherBank      = "wrong_issuer"
	noSecond       = "no_second_status"
	incompleteSet  = "incomplete"
	serviceZero    = "service_zero"
	fewerGroups    = "fewer_groups"
	wrapped        = "wrapped" // a second assertion, with the signature around the first
	noContainer    = "no_container"
	foreignKey     = "wrong_key" // encrypted for somebody else
	corrupt        = "corrupt"   // ciphertext
	duplicate      = "duplicate" // attribute
	tooLong        = "too_long"  // value
	oldAgeName     = "old_age_name"
	dayUnknown     = "day_unknown"
	lowLevel       = "low_level"  // loa2
	otherKind      = "wrong_name" // transient instead of the BIN, or the reverse
)

var resultFaults = []string{badSignature, otherRequest, staleWindow, otherRecipient, otherBank, noSecond, incompleteSet, serviceZero, fewerGroups, wrapped,
	noContainer, foreignKey, corrupt, duplicate, tooLong, oldAgeName, dayUnknown, lowLevel, otherKind}

// An attribute is one that a bank releases.
type attribute struct {
	name, value string
	part        int
}

// parts are those of a ServiceId, as people read them.
var parts = []struct {
	part         int
	name, en, nl string
}{
	{partBIN, "id", "a number for you at this party", "een nummer voor u bij deze partij"},
	{partName, "name", "your name", "uw naam"},
	{partAddress, "address", "your address", "uw adres"},
	{partBirth, "birth", "your date of birth", "uw geboortedatum"},
	{partAdult, "18+", "whether you are 18 or older", "of u 18 jaar of ouder bent"},
	{partGender, "gender", "your gender", "uw geslacht"},
	{partSign, "sign", "your signature on a document", "uw handtekening onder een document"},
	{partTelephone, "telephone", "your telephone number", "uw telefoonnummer"},
	{partEmail, "email", "your e-mail address", "uw e-mailadres"},
}

// has says whether a ServiceId asks for a part.
func has(service, part int) bool {
	if part == partBirth || part == partAdult {
		return service&partBirth == part
	}
	return service&part == part
}

// Groups names what a ServiceId asks for.
func Groups(service int) []string {
	out := []string{}
	for _, p := range parts {
		if has(service, p.part) {
			out = append(out, p.name)
		}
	}
	return out
}

// attributes are what a bank knows of what is asked for (§9).
func attributes(service int, p *sandbox.IDIN, now time.Time, ageName string) []attribute {
	all := []attribute{
		{"legallastname", p.LegalLastName, partName}, {"preferredlastname", p.PreferredLastName, partName}, {"partnerlastname", p.PartnerLastName, partName},
		{"legallastnameprefix", p.LegalPrefix, partName}, {"preferredlastnameprefix", p.PreferredPrefix, partName}, {"partnerlastnameprefix", p.PartnerPrefix, partName},
		{"initials", p.Initials, partName},
		{"street", p.Street, partAddress}, {"houseno", p.HouseNo, partAddress}, {"housenosuf", p.HouseNoSuffix, partAddress}, {"addressextra", p.AddressExtra, partAddress},
		{"postalcode", p.PostalCode, partAddress}, {"city", p.City, partAddress}, {"country", p.Country, partAddress},
		{"intaddressline1", p.InternationalLine1, partAddress}, {"intaddressline2", p.InternationalLine2, partAddress}, {"intaddressline3", p.InternationalLine3, partAddress},
		{"dateofbirth", p.DateOfBirth, partBirth}, {ageName, p.Adult(now), partAdult}, {"gender", p.Gender, partGender},
		{"telephone", p.Telephone, partTelephone}, {"email", p.Email, partEmail}, {"deprecatedbin", p.DeprecatedBIN, partBIN},
	}
	return slices.DeleteFunc(all, func(a attribute) bool { return a.value == "" || !has(service, a.part) })
}

// lacks says whether something of what is asked for is not known at all.
func lacks(service int, have []attribute) bool {
	for _, p := range []int{partName, partAddress, partBirth, partAdult, partGender, partTelephone, partEmail} {
		if has(service, p) && !slices.ContainsFunc(have, func(a attribute) bool { return a.part == p }) {
			return true
		}
	}
	return false
}

// bin is the number of a person at a merchant's: the same as long as bank,
// merchant and person are.
func bin(bank, merchant, person string) string {
	m := hmac.New(sha256.New, []byte("sandbox "+bank))
	m.Write([]byte(merchant + "\x00" + person))
	return "NL" + bank[:4] + hex.EncodeToString(m.Sum(nil))
}

// tells says whether the next status request is told data. The lock is held.
func (s *Simulator) tells(o *order) bool {
	if o.second != "" {
		return false
	}
	return !s.settings.StrictOnce || !o.delivered && s.now().Before(o.at.Add(time.Duration(s.settings.Lifetime)))
}

// deliver writes the container of a success. The lock is held.
func (s *Simulator) deliver(out *message, o *order) error {
	fault, _ := s.Faults.Take("idin.result")
	if fault.Kind == noContainer {
		return nil
	}
	now := s.now()
	id, to, issuer := "RES-"+o.id, o.reference, Acquirer
	if fault.Kind == otherRequest {
		to = "Mref" + random(8)
	}
	first, second, text := samlSuccess, bvnFamily+"Success", ""
	if o.second != "" {
		r := unfit(o.second, "")
		first, second, text = r.first, r.second, "The sandbox was told so."
	}
	out.open("container")
	defer out.close("container")
	if !s.tells(o) {
		if second == bvnFamily+"Success" {
			text = "The data are told once, within " + time.Duration(s.settings.Lifetime).String() + "."
		}
		out.response(now, id, to, issuer, first, second, text, nil)
		return nil
	}
	o.delivered = true
	have := attributes(o.service, &o.data, now, s.settings.AgeName)
	if o.incomplete || fault.Kind == incompleteSet {
		have = have[:len(have)/2]
	}
	if o.incomplete || fault.Kind == incompleteSet || lacks(o.service, have) {
		second = bvnFamily + "IncompleteAttributeSet"
	}
	if fault.Kind == noSecond {
		second = ""
	}
	var err error
	out.response(now, id, to, issuer, first, second, text, func() { err = s.assertion(out, o, have, fault.Kind) })
	return err
}

// assertion writes what the bank says (§7), to be signed when the message is
// whole.
func (s *Simulator) assertion(out *message, o *order, have []attribute, fault string) error {
	now, from := s.now(), o.at
	out.inner, out.bank, out.spoilt, out.vs = true, o.bank, fault, "VS-"+o.id
	if out.worldline {
		out.vs = "_" + random(16)
	}
	issuer, audience, level := o.bank, o.merchant.LegalID, loa3
	switch fault {
	case otherBank:
		issuer = "DRIENL2A"
		if o.bank == issuer {
			issuer = "BANKNL2Y"
		}
	case otherRecipient:
		audience = "NL99ZZZ999999990000"
	case lowLevel:
		level = "nl:bvn:bankid:1.0:loa2"
	case staleWindow:
		from = from.Add(-time.Hour)
	}
	recipient := audience
	if out.worldline {
		recipient = ""
		if fault != otherRecipient {
			audience = "Worldline iDIN sandbox"
		}
	}
	c := cipher{to: o.merchant.Encryption.PublicKey.(*rsa.PublicKey), recipient: recipient, fault: fault, saml: out.saml} // Register has looked
	if fault == foreignKey {
		c.to = &s.pki.stranger().key.PublicKey
	}
	out.open("saml:Assertion", "ID", out.vs, "IssueInstant", stamp(now), "Version", "2.0")
	out.leaf("saml:Issuer", issuer)
	out.open("saml:Subject")
	out.open("saml:EncryptedID")
	if err := c.write(out, out.element("saml:NameID", s.name(o, fault))); err != nil {
		return err
	}
	out.close("saml:EncryptedID")
	out.close("saml:Subject")
	out.open("saml:Conditions", "NotBefore", stamp(from), "NotOnOrAfter", stamp(from.Add(time.Duration(s.settings.Lifetime))))
	out.open("saml:AudienceRestriction")
	out.leaf("saml:Audience", audience)
	out.close("saml:AudienceRestriction")
	out.empty("saml:OneTimeUse")
	out.close("saml:Conditions")
	out.open("saml:AuthnStatement", "AuthnInstant", stamp(from))
	out.open("saml:AuthnContext")
	out.leaf("saml:AuthnContextClassRef", level)
	if !out.worldline {
		out.leaf("saml:AuthenticatingAuthority", o.bank)
	}
	out.close("saml:AuthnContext")
	out.close("saml:AuthnStatement")
	if err := s.statement(out, c, o, have, fault); err != nil {
		return err
	}
	out.close("saml:Assertion")
	return nil
}

// name is the text of the NameID (§7).
func (s *Simulator) name(o *order, fault string) string {
	persistent := o.service&partBIN != 0
	if persistent == (fault == otherKind) {
		if o.transient == "" {
			o.transient = "TRANS" + random(16)
		}
		return o.transient
	}
	return bin(o.bank, o.merchant.ID, o.person)
}

func (s *Simulator) statement(out *message, c cipher, o *order, have []attribute, fault string) error {
	delivered := o.service
	switch fault {
	case serviceZero:
		delivered = 0
	case fewerGroups: // all but the greatest that is no BIN
		for _, p := range parts[1:] {
			if has(o.service, p.part) {
				delivered &^= p.part
				have = slices.DeleteFunc(have, func(a attribute) bool { return a.part == p.part })
				break
			}
		}
	case duplicate:
		if len(have) > 0 {
			have = append(have, have[0])
		}
	case tooLong:
		if len(have) > 0 {
			have = slices.Clone(have)
			have[0].value = strings.Repeat("x", 300)
		}
	}
	out.open("saml:AttributeStatement")
	out.open("saml:Attribute", "Name", attributeRoot+"bankid.deliveredserviceid")
	if out.worldline {
		out.leaf("saml:AttributeValue", strconv.Itoa(delivered), "xsi:type", "xsd:string")
	} else {
		out.leaf("saml:AttributeValue", strconv.Itoa(delivered))
	}
	out.close("saml:Attribute")
	if o.document != "" {
		have = append(have, attribute{"", o.document, partSign})
	}
	for _, a := range have {
		name, value := consumerRoot+a.name, a.value
		switch {
		case a.part == partSign:
			name = attributeRoot + "merchant.documentID"
		case a.part == partAdult && fault == oldAgeName:
			name = consumerRoot + "18orolder"
		case a.part == partBirth && fault == dayUnknown:
			value = value[:6] + "00"
		}
		el := out.element("saml:Attribute", "")
		el.CreateAttr("Name", name)
		el.AddChild(out.element("saml:AttributeValue", value))
		out.open("saml:EncryptedAttribute")
		if err := c.write(out, el); err != nil {
			return err
		}
		out.close("saml:EncryptedAttribute")
	}
	out.close("saml:AttributeStatement")
	return nil
}

// element is one to be encrypted: it declares its namespace itself.
func (m *message) element(name, text string) *etree.Element {
	el := etree.NewElement(m.named(name))
	el.CreateAttr("xmlns:"+strings.TrimSuffix(m.saml, ":"), samlNS)
	if text != "" {
		el.SetText(text)
	}
	return el
}

// A cipher encrypts for one merchant.
type cipher struct {
	to        *rsa.PublicKey
	recipient string
	fault     string
	saml      string
}

// write writes an element, encrypted (§8).
func (c cipher) write(out *message, el *etree.Element) error {
	data, err := xmldsig.Encrypt(el, c.to, xmldsig.EncryptOptions{Recipient: c.recipient})
	if err != nil {
		return err
	}
	if c.fault == corrupt {
		value := child(child(data, "CipherData"), "CipherValue")
		value.SetText(flipped(value.Text()))
	}
	if out.worldline {
		for _, value := range data.FindElements("//CipherValue") {
			value.SetText(lines(value.Text(), "\r\n"))
		}
	}
	d := etree.NewDocument()
	d.WriteSettings.CanonicalText = true // keeps the carriage returns
	d.SetRoot(data)
	text, err := d.WriteToString()
	out.line()
	out.b.WriteString(text)
	return err
}

// wrap makes the message hold two assertions: one that says something else
// stands where the genuine one did, which its signature still refers to.
func wrap(genuine, sig *etree.Element) {
	response := genuine.Parent()
	forged := genuine.Copy()
	forged.CreateAttr("ID", "_"+random(16))
	if old := child(forged, "Signature"); old != nil {
		forged.RemoveChild(old)
	}
	if subject := child(forged, "AttributeStatement"); subject != nil {
		child(child(subject, "Attribute"), "AttributeValue").SetText("65535")
	}
	genuine.RemoveChild(sig)
	at := slices.Index(response.Child, etree.Token(genuine))
	response.InsertChildAt(at, forged)
	holder := sig.CreateElement("Object")
	if sig.Space != "" {
		holder.Space = sig.Space
	}
	response.RemoveChild(genuine)
	holder.AddChild(genuine)
	forged.InsertChildAt(1, sig)
}
