package bankidse

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"strings"
	"time"
)

// An Operation is what the person did: funcId of the signed data (§15.2).
type Operation string

const (
	Identification Operation = "Identification"
	Signing        Operation = "Signing"
)

// VerifyInput is a signature and what it must prove. Fields marked optional
// are not checked when they are empty, for the check of archived evidence.
type VerifyInput struct {
	Signature      string         // base64, exactly as completionData had it
	OCSP           string         // base64, exactly as completionData had it
	Roots          *x509.CertPool // BankID's signature root of one environment: see Roots; nil trusts nobody. A Verifier has its own
	Operation      Operation      // optional
	Visible        string         // base64 as sent; checked, also for absence, when Sent is true
	NonVisible     string
	Format         string
	Sent           bool      // Visible, NonVisible and Format say what was sent
	RPName         string    // optional: name of our certificate, RPName
	PersonalNumber string    // optional: completionData's
	Policies       []string  // optional: allowed kinds, by OID
	Start, End     time.Time // each optional: the order's life; OCSP must have been produced in it, give or take a minute
}

// Verified is what a signature proves.
type Verified struct {
	Kind           string // mobile, card or file
	Policy         string
	SignedAt       time.Time // producedAt of the OCSP response: there is no time in the signature
	Serial         string    // of the user's certificate, decimal
	Issuer         string    // CN of the CA that issued it
	NotBefore      time.Time // of the user's certificate
	NotAfter       time.Time
	PersonalNumber string
	Name           string // CN of the user's certificate
	Operation      Operation
	Visible        []byte // decoded; nil when none was signed
	NonVisible     []byte
	RPName         string
}

// A VerifyError names the duty of §15.4 that a signature fails. It holds
// nothing personal.
type VerifyError struct{ Check string }

func (e *VerifyError) Error() string { return "BankID signature refused: " + e.Check }

func refuse(check string) (*Verified, error) { return nil, &VerifyError{check} }

// Verify checks a signature and its OCSP response in full (§15.4, §16). A
// Verifier does it in less time where signatures are many.
func Verify(in VerifyInput) (*Verified, error) { return verify(in, in.Roots, nil) }

// verify has a memory of what verified under these roots; nil for none.
func verify(in VerifyInput, roots *x509.CertPool, known *memory) (*Verified, error) {
	xml, err := base64.StdEncoding.DecodeString(in.Signature)
	if err != nil {
		return refuse("encoding")
	}
	doc, err := readDocument(string(xml))
	if err != nil {
		return refuse("shape")
	}
	if !digest(doc.digests[0], doc.data) {
		return refuse("dataDigest")
	}
	if !digest(doc.digests[1], doc.keyInfo) {
		return refuse("keyInfoDigest")
	}
	user, check := readCertificate(doc.certs[0])
	if check != "" {
		return refuse(check)
	}
	by, check := known.authority(doc.certs[1:])
	if check != "" {
		return refuse(check)
	}
	key, ok := user.PublicKey.(*rsa.PublicKey)
	if !ok {
		return refuse("key")
	}
	sum := sha256.Sum256([]byte(doc.signedInfo))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], doc.value) != nil {
		return refuse("signature")
	}
	revocation, check := known.readOCSP(in.OCSP, in.Signature, user, by)
	if check != "" {
		return refuse(check)
	}
	at := revocation.ProducedAt
	if !in.Start.IsZero() && at.Before(in.Start.Add(-time.Minute)) || !in.End.IsZero() && at.After(in.End.Add(time.Minute)) {
		return refuse("ocspTime")
	}
	verified, check := by.chain(user, roots, at)
	if check != "" {
		return refuse(check)
	}
	v, err := content(in, doc, user, at)
	if err == nil && (verified != by || !revocation.known) {
		known.keep(verified, revocation.responder)
	}
	return v, err
}

func digest(want []byte, raw string) bool {
	sum := sha256.Sum256([]byte(raw))
	return bytes.Equal(sum[:], want)
}

// usable refuses RSA keys that are too short to trust, or so long that
// somebody else's certificate keeps us busy: users' have 2048 bits, CAs' 4096.
func usable(key any) bool {
	k, ok := key.(*rsa.PublicKey)
	return !ok || k.N.BitLen() >= 2048 && k.N.BitLen() <= 8192
}

// readCertificate parses a certificate of a signature, or names the check that
// failed.
func readCertificate(der []byte) (*x509.Certificate, string) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, "certificate"
	}
	if !usable(c.PublicKey) {
		return nil, "key"
	}
	return c, ""
}

// kinds are the policies of user certificates (§17).
var kinds = map[string]string{
	"1.2.752.78.1.1": "file", "1.2.3.4.5": "file",
	"1.2.752.78.1.2": "card", "1.2.3.4.10": "card",
	"1.2.752.78.1.5": "mobile", "1.2.3.4.25": "mobile",
	"1.2.752.71.1.3": "file", "1.2.752.60.1.6": "mobile",
}

// content compares what was signed with what was asked for.
func content(in VerifyInput, doc *document, user *x509.Certificate, at time.Time) (*Verified, error) {
	v := &Verified{SignedAt: at, Serial: user.SerialNumber.String(), Issuer: user.Issuer.CommonName,
		NotBefore: user.NotBefore, NotAfter: user.NotAfter, Name: user.Subject.CommonName}
	if len(user.Policies) != 1 {
		return refuse("policy")
	}
	v.Policy = user.Policies[0].String()
	v.Kind = kinds[v.Policy]
	if v.Kind == "" || len(in.Policies) > 0 && !allowed(v.Policy, in.Policies) {
		return refuse("policy")
	}
	client := doc.root.child("clientInfo")
	v.Operation = Operation(text(client.child("funcId")))
	if in.Operation != "" && v.Operation != in.Operation {
		return refuse("funcId")
	}
	usage := x509.KeyUsageDigitalSignature
	switch v.Operation {
	case Identification:
	case Signing:
		usage = x509.KeyUsageContentCommitment
	default:
		return refuse("funcId")
	}
	if user.KeyUsage&usage == 0 {
		return refuse("keyUsage")
	}
	v.PersonalNumber = attribute(user, oidSerialNumber)
	if v.PersonalNumber == "" || in.PersonalNumber != "" && v.PersonalNumber != in.PersonalNumber {
		return refuse("personalNumber")
	}
	if check := v.texts(in, doc.root); check != "" {
		return refuse(check)
	}
	name, err := base64.StdEncoding.DecodeString(text(doc.root.child("srvInfo").child("name")))
	if err != nil || len(name) == 0 || in.RPName != "" && string(name) != in.RPName {
		return refuse("rpName")
	}
	v.RPName = string(name)
	return v, nil
}

// texts compares the signed texts with those that were sent.
func (v *Verified) texts(in VerifyInput, root *node) string {
	for _, t := range []struct {
		name, check, sent string
		into              *[]byte
	}{
		{"usrVisibleData", "visibleData", in.Visible, &v.Visible},
		{"usrNonVisibleData", "nonVisibleData", in.NonVisible, &v.NonVisible},
	} {
		n := root.child(t.name)
		if n == nil && root.count(t.name) > 0 || n != nil && len(n.children) > 0 {
			return t.check
		}
		if n != nil {
			raw, err := base64.StdEncoding.DecodeString(n.text)
			if err != nil {
				return t.check
			}
			*t.into = raw
		}
		if !in.Sent {
			continue
		}
		sent, err := base64.StdEncoding.DecodeString(t.sent)
		if err != nil || (n == nil) != (t.sent == "") || !bytes.Equal(sent, *t.into) {
			return t.check
		}
	}
	n := root.child("usrVisibleData")
	if n == nil {
		return ""
	}
	want := `charset="UTF-8" visible="wysiwys"`
	formatted := `charset="UTF-8" format="` + Markdown + `" visible="wysiwys"`
	switch {
	case n.attrs != want && n.attrs != formatted:
		return "format"
	case in.Sent && (n.attrs == formatted) != (in.Format == Markdown):
		return "format"
	}
	return ""
}

func text(n *node) string {
	if n == nil || len(n.children) > 0 {
		return ""
	}
	return n.text
}

// allowed matches a policy; a pattern may end in ".*" (§4.3).
func allowed(policy string, patterns []string) bool {
	for _, p := range patterns {
		if prefix, wild := strings.CutSuffix(p, "*"); policy == p || wild && strings.HasPrefix(policy, prefix) {
			return true
		}
	}
	return false
}

var oidSerialNumber = asn1.ObjectIdentifier{2, 5, 4, 5}

// attribute reads one attribute of a subject; "" if it is missing or twice
// there.
func attribute(c *x509.Certificate, oid asn1.ObjectIdentifier) string {
	out, n := "", 0
	for _, a := range c.Subject.Names {
		if s, ok := a.Value.(string); ok && a.Type.Equal(oid) {
			out = s
			n++
		}
	}
	if n != 1 {
		return ""
	}
	return out
}
