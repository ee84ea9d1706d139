package claims

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"eidgate/eid"
)

// What Swedish BankID says beside the person stands in the proofs that its
// connector keeps, under these names. They were verified when they came; here
// they are only read, and what cannot be read is not told.
const (
	signatureEvidence = "bankidse.signature" // base64 of XML
	ocspEvidence      = "bankidse.ocsp"      // base64 of DER
	requestEvidence   = "bankidse.request"   // JSON, with the device of the answer
)

// proof finds a piece of evidence; nil if there is none, or another eID vouched.
func (p *person) proof(name string) []byte {
	if p.EID != eid.BankIDSE {
		return nil
	}
	for _, e := range p.evidence {
		if e.Name == name {
			return e.Data
		}
	}
	return nil
}

// A device is the one on which the app ran.
type device struct {
	IPAddress string `json:"ipAddress"`
	UHI       string `json:"uhi"` // names the device
}

func (p *person) device() device {
	var r struct{ Device device }
	if json.Unmarshal(p.proof(requestEvidence), &r) != nil {
		return device{}
	}
	return r.Device
}

// A certificate is the person's, with its names as RFC 4514 writes them.
type certificate struct {
	NotBefore, NotAfter time.Time
	subject, issuer     string
}

// certificate is the first one of the signature, which is the person's; the
// zero value if there is none.
func (p *person) certificate() *certificate {
	if p.bankID != nil {
		return p.bankID
	}
	p.bankID = &certificate{}
	xml := decode(p.proof(signatureEvidence))
	_, rest, _ := bytes.Cut(xml, []byte("<X509Certificate>"))
	text, _, _ := bytes.Cut(rest, []byte("</X509Certificate>"))
	if c, err := x509.ParseCertificate(decode(text)); err == nil {
		*p.bankID = certificate{c.NotBefore, c.NotAfter, c.Subject.String(), c.Issuer.String()}
	}
	return p.bankID
}

// BankIDSE is what older programs read beside the person: between which times
// the BankID is valid, as millis writes them, and the address of the app's
// device. What the proofs do not say is "".
func BankIDSE(who *eid.Identity, evidence []eid.Evidence) (notBefore, notAfter, address string) {
	p := &person{Identity: who, evidence: evidence}
	notBefore, _ = millis(p.certificate().NotBefore).(string)
	notAfter, _ = millis(p.certificate().NotAfter).(string)
	return notBefore, notAfter, p.device().IPAddress
}

// responder names who signed the OCSP answer: by its name, or the hash of its
// key in hex.
func responder(p *person) any {
	r, err := ocsp.ParseResponse(decode(p.proof(ocspEvidence)), nil)
	if err != nil {
		return nil
	}
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(r.RawResponderName, &name); err == nil && len(rest) == 0 {
		return name.String()
	}
	return strings.ToUpper(hex.EncodeToString(r.ResponderKeyHash))
}

// millis is a time as BankID wrote it: milliseconds since 1970.
func millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

func decode(text []byte) []byte {
	b, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil
	}
	return b
}
