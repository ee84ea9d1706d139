package bankidse

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // certID and nonce of the scheme's OCSP
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"time"

	"eidgate/sandbox"
)

// The signature is put together as text in its one shape, and hashed as text
// (docs/protocols/bankidse.md §15.5). No XML library takes part, so that none
// can hide a mistake.

const (
	dsig     = `http://www.w3.org/2000/09/xmldsig#`
	types    = `http://www.bankid.com/signature/v1.0.0/types`
	c14nURI  = `http://www.w3.org/TR/2001/REC-xml-c14n-20010315`
	declared = `<?xml version="1.0" encoding="UTF-8" standalone="no"?>`
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// el writes an element; attrs begins with a blank or is empty.
func el(name, attrs, inside string) string {
	return "<" + name + attrs + ">" + inside + "</" + name + ">"
}

// Faults of what a result proves, beside garbage and truncate.
const (
	badSignature = "bad_signature"
	certExpired  = "expired"      // the person's certificate, when it signed
	replay       = "replay"       // all of it is half an hour old
	ocspRevoked  = "ocsp_revoked" // the certificate, says the OCSP answer
	ocspNonce    = "ocsp_nonce"   // the OCSP answer belongs to another signature
)

// A signing is what is not part of order and person.
type signing struct {
	kind, uhi string
	at        time.Time
	fault     string // "" for none
}

// sign makes completionData's signature and OCSP response, both base64.
func (p *pki) sign(o *order, person sandbox.Person, with signing) (signature, response string, err error) {
	if with.fault == replay {
		with.at = with.at.Add(-30 * time.Minute)
	}
	u := p.user(person, with.kind, with.fault == certExpired)
	data := signedData(o, with)
	var certs strings.Builder
	for _, c := range []*pair{u, p.customer(), p.bank()} {
		certs.WriteString(el("X509Certificate", "", base64.StdEncoding.EncodeToString(c.cert.Raw)))
	}
	keyInfo := el("KeyInfo", ` xmlns="`+dsig+`" Id="bidKeyInfo"`, el("X509Data", "", certs.String()))
	info := el("SignedInfo", ` xmlns="`+dsig+`"`,
		el("CanonicalizationMethod", ` Algorithm="`+c14nURI+`"`, "")+
			el("SignatureMethod", ` Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"`, "")+
			reference(` Type="`+types+`" URI="#bidSignedData"`, data)+reference(` URI="#bidKeyInfo"`, keyInfo))
	sum := sha256.Sum256([]byte(info))
	sig, err := rsa.SignPKCS1v15(rand.Reader, u.key.(*rsa.PrivateKey), crypto.SHA256, sum[:])
	if err != nil {
		return "", "", fmt.Errorf("sign: %w", err)
	}
	if with.fault == badSignature {
		sig[len(sig)/2] ^= 1
	}
	doc := declared + el("Signature", ` xmlns="`+dsig+`"`,
		info+el("SignatureValue", "", base64.StdEncoding.EncodeToString(sig))+keyInfo+el("Object", "", data))
	switch with.fault {
	case sandbox.Garbage:
		doc = "not xml"
	case sandbox.Truncate:
		doc = doc[:len(doc)/2]
	}
	signature = b64(doc)
	der, err := p.respond(u, signature, with)
	return signature, base64.StdEncoding.EncodeToString(der), err
}

func reference(attrs, raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return el("Reference", attrs, el("Transforms", "", el("Transform", ` Algorithm="`+c14nURI+`"`, ""))+
		el("DigestMethod", ` Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"`, "")+
		el("DigestValue", "", base64.StdEncoding.EncodeToString(sum[:])))
}

func signedData(o *order, with signing) string {
	var b strings.Builder
	if o.visible != "" {
		attrs := ` charset="UTF-8"`
		if o.format != "" {
			attrs += ` format="` + o.format + `"`
		}
		b.WriteString(el("usrVisibleData", attrs+` visible="wysiwys"`, o.visible))
	}
	if o.hidden != "" {
		b.WriteString(el("usrNonVisibleData", "", o.hidden))
	}
	nonce := make([]byte, 20)
	_, _ = rand.Read(nonce) // never fails
	b.WriteString(el("srvInfo", "", el("name", "", b64(o.rpName))+
		el("nonce", "", base64.StdEncoding.EncodeToString(nonce))+el("displayName", "", b64(o.rpDisplay))))
	conditions := ""
	if len(o.policies) > 0 {
		conditions = el("condition", "", el("type", "", "CertificatePolicies")+el("value", "", strings.Join(o.policies, ",")))
	}
	if o.pinCode {
		conditions += el("condition", "", el("type", "", "AllowFingerprint")+el("value", "", "no"))
	}
	system := "IOS"
	if with.kind != "mobile" {
		system = "WIN"
	}
	b.WriteString(el("clientInfo", "", el("funcId", "", o.function())+el("version", "", b64("7.50.0"))+
		el("env", "", el("ai", "", el("type", "", b64(system))+el("deviceInfo", "", b64("17.0"))+
			el("uhi", "", with.uhi)+el("fsib", "", "0")+el("utb", "", "cs1")+
			el("requirement", "", conditions)+el("uauth", "", "pw")))))
	return el("bankIdSignedData", ` xmlns="`+types+`" Id="bidSignedData"`, b.String())
}

// uhi is the simulated phone's hardware identifier.
const uhi = "c2ltdWxhdGVkIHBob25l"

// The OCSP response is encoded by hand, since the library's writer knows no
// extensions of the response itself (§16).
type (
	certID struct {
		Algorithm         pkix.AlgorithmIdentifier
		NameHash, KeyHash []byte
		Serial            *big.Int
	}
	single struct {
		ID         certID
		Status     asn1.RawValue
		ThisUpdate time.Time `asn1:"generalized"`
	}
	responseData struct {
		Responder  asn1.RawValue
		ProducedAt time.Time `asn1:"generalized"`
		Responses  []single
		Extensions []pkix.Extension `asn1:"explicit,tag:1"`
	}
	basic struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
		Certs     []asn1.RawValue `asn1:"explicit,tag:0"`
	}
	responseBytes struct {
		Type  asn1.ObjectIdentifier
		Value []byte
	}
	response struct {
		Status asn1.Enumerated
		Bytes  responseBytes `asn1:"explicit,tag:0"`
	}
)

func (p *pki) respond(u *pair, signature string, with signing) ([]byte, error) {
	ca, by := p.customer(), p.ocsp()
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(ca.cert.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil, fmt.Errorf("ocsp: %w", err)
	}
	names, keys := sha1.Sum(ca.cert.RawSubject), sha1.Sum(spki.Key.Bytes) //nolint:gosec // certID is SHA-1 here
	bound := sha1.Sum([]byte(signature))                                  //nolint:gosec // as the scheme has it
	nonce := append(bound[:], make([]byte, 12)...)
	_, _ = rand.Read(nonce[20:]) // never fails
	if with.fault == ocspNonce {
		_, _ = rand.Read(nonce) // as above
	}
	at := with.at.UTC().Truncate(time.Second)
	status := asn1.RawValue{Class: 2, Tag: 0}
	if with.fault == ocspRevoked {
		when, err := asn1.MarshalWithParams(at, "generalized")
		if err != nil {
			return nil, fmt.Errorf("ocsp: %w", err)
		}
		status = asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: when}
	}
	data, err := asn1.Marshal(responseData{
		Responder:  asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: by.cert.RawSubject},
		ProducedAt: at,
		Responses: []single{{ID: certID{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, Parameters: asn1.NullRawValue},
			names[:], keys[:], u.cert.SerialNumber}, Status: status, ThisUpdate: at}},
		Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}, Critical: true, Value: nonce}},
	})
	if err != nil {
		return nil, fmt.Errorf("ocsp: %w", err)
	}
	sum := sha256.Sum256(data)
	sig, err := rsa.SignPKCS1v15(rand.Reader, by.key.(*rsa.PrivateKey), crypto.SHA256, sum[:])
	if err != nil {
		return nil, fmt.Errorf("ocsp: %w", err)
	}
	b, err := asn1.Marshal(basic{Data: asn1.RawValue{FullBytes: data},
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue},
		Signature: asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}, Certs: []asn1.RawValue{{FullBytes: by.cert.Raw}}})
	if err != nil {
		return nil, fmt.Errorf("ocsp: %w", err)
	}
	return asn1.Marshal(response{Bytes: responseBytes{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}, b}})
}
