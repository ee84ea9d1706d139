package bankidse

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the scheme's names and nonce are SHA-1; they bind, they do not protect
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"slices"
	"time"
)

// A revocation is a response that has been verified.
type revocation struct {
	*responseData
	responder *x509.Certificate // who signed it; its own signature is the issuer's
	known     bool              // the responder was remembered
}

// readOCSP verifies a response: which certificate it is about, status,
// responder, and the nonce that binds it to exactly this text of the signature
// (§16). It names the check that failed. A responder's certificate that is
// remembered for these CAs is neither parsed again nor is its signature checked;
// what it may be used for, and when, is.
func (m *memory) readOCSP(text, signature string, user *x509.Certificate, by *authority) (*revocation, string) {
	issuer := by.certs[0]
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(der) > 64<<10 {
		return nil, "ocspEncoding"
	}
	r, ok := readResponse(der)
	if !ok {
		return nil, "ocspSignature"
	}
	one := r.Data.single(user.SerialNumber)
	if one == nil {
		return nil, "ocspSignature"
	}
	var who *x509.Certificate
	known := false
	if len(r.Certs) > 0 { // only the first counts
		if who, known = m.responder(by, r.Certs[0].FullBytes); !known {
			// A copy, for it may be remembered: what is around it is a person's.
			if who, err = x509.ParseCertificate(bytes.Clone(r.Certs[0].FullBytes)); err != nil {
				return nil, "ocspSignature"
			}
			if !usable(who.PublicKey) { // nobody has vouched for it yet
				return nil, "ocspResponder"
			}
		}
		if who.CheckSignature(algorithm(r.Algorithm.Algorithm), r.Data.TBSResponseData, r.Signature.RightAlign()) != nil {
			return nil, "ocspSignature"
		}
	}
	if slices.ContainsFunc(one.Extensions, func(e pkix.Extension) bool { return e.Critical }) ||
		slices.ContainsFunc(r.Data.Extensions, func(e pkix.Extension) bool { return e.Critical && !e.Id.Equal(oidNonce) }) {
		return nil, "ocspSignature" // what it demands is not known here
	}
	switch {
	case !r.Data.about(user, issuer):
		return nil, "ocspCertificate"
	case !bool(one.Good):
		return nil, "ocspStatus"
	}
	if who == nil || !known && who.CheckSignatureFrom(issuer) != nil || !slices.Contains(who.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) ||
		len(who.UnhandledCriticalExtensions) > 0 || r.Data.ProducedAt.Before(who.NotBefore) || r.Data.ProducedAt.After(who.NotAfter) {
		return nil, "ocspResponder"
	}
	nonce := r.Data.nonce()
	bound := sha1.Sum([]byte(signature)) //nolint:gosec // see the import
	if len(nonce) < len(bound) || !bytes.Equal(nonce[:len(bound)], bound[:]) {
		return nil, "ocspNonce"
	}
	return &revocation{&r.Data, who, known}, ""
}

// A response in the words of RFC 6960 section 4.2.1. The library
// golang.org/x/crypto/ocsp shows neither whose issuer a status is about nor the
// response's own extensions, and reads the responder's certificate each time.
type (
	ocspResponse struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type  asn1.ObjectIdentifier
			Value []byte
		} `asn1:"explicit,tag:0,optional"`
	}
	basicResponse struct {
		Data      responseData
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
		Certs     []asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
	responseData struct {
		TBSResponseData asn1.RawContent // what is signed
		Version         int             `asn1:"optional,default:0,explicit,tag:0"`
		ResponderID     asn1.RawValue
		ProducedAt      time.Time `asn1:"generalized"`
		Responses       []singleResponse
		Extensions      []pkix.Extension `asn1:"explicit,tag:1,optional"`
	}
	singleResponse struct {
		ID      certID
		Good    asn1.Flag `asn1:"tag:0,optional"`
		Revoked struct {
			At     time.Time       `asn1:"generalized"`
			Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
		} `asn1:"tag:1,optional"`
		Unknown    asn1.Flag        `asn1:"tag:2,optional"`
		ThisUpdate time.Time        `asn1:"generalized"`
		NextUpdate time.Time        `asn1:"generalized,explicit,tag:0,optional"`
		Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
	}
	certID struct {
		Algorithm         pkix.AlgorithmIdentifier
		NameHash, KeyHash []byte
		Serial            *big.Int
	}
)

var (
	oidSHA1  = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidBasic = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
)

// algorithms has those that responses may be signed with, SHA-1 in none of
// them; what is not here is x509.UnknownSignatureAlgorithm, which no check
// accepts.
var algorithms = []struct {
	oid  asn1.ObjectIdentifier
	algo x509.SignatureAlgorithm
}{
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, x509.SHA256WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, x509.SHA384WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, x509.SHA512WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, x509.ECDSAWithSHA256},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, x509.ECDSAWithSHA384},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, x509.ECDSAWithSHA512},
}

func algorithm(oid asn1.ObjectIdentifier) x509.SignatureAlgorithm {
	for _, a := range algorithms {
		if a.oid.Equal(oid) {
			return a.algo
		}
	}
	return x509.UnknownSignatureAlgorithm
}

// readResponse reads a response that gives an answer at all. Nothing may stand
// behind it.
func readResponse(der []byte) (*basicResponse, bool) {
	var outer ocspResponse
	rest, err := asn1.Unmarshal(der, &outer)
	if err != nil || len(rest) > 0 || outer.Status != 0 || !outer.Bytes.Type.Equal(oidBasic) {
		return nil, false
	}
	var basic basicResponse
	rest, err = asn1.Unmarshal(outer.Bytes.Value, &basic)
	if err != nil || len(rest) > 0 || !named(basic.Data.ResponderID) {
		return nil, false
	}
	return &basic, true
}

// named says that a responder's id is one: a name, or the hash of a key. Who it
// is, its certificate says.
func named(id asn1.RawValue) bool {
	var into any = new(pkix.RDNSequence)
	switch id.Tag {
	case 1:
	case 2:
		into = new([]byte)
	default:
		return false
	}
	rest, err := asn1.Unmarshal(id.Bytes, into)
	return err == nil && len(rest) == 0
}

// single is the first status of a serial number; nil if there is none.
func (r *responseData) single(serial *big.Int) *singleResponse {
	for i := range r.Responses {
		if s := &r.Responses[i]; s.ID.Serial.Cmp(serial) == 0 {
			return s
		}
	}
	return nil
}

// about says that the response speaks of one certificate, which is this one:
// a serial number alone names one at every CA.
func (r *responseData) about(user, issuer *x509.Certificate) bool {
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &key); err != nil || len(r.Responses) != 1 {
		return false
	}
	id := r.Responses[0].ID
	name, bits := sha1.Sum(issuer.RawSubject), sha1.Sum(key.Bits.RightAlign()) //nolint:gosec // see the import
	return id.Algorithm.Algorithm.Equal(oidSHA1) && bytes.Equal(id.NameHash, name[:]) && bytes.Equal(id.KeyHash, bits[:]) &&
		id.Serial.Cmp(user.SerialNumber) == 0
}

// nonce is the one nonce among the extensions; nil if there is none, or more.
func (r *responseData) nonce() []byte {
	var nonce []byte
	for _, e := range r.Extensions {
		if e.Id.Equal(oidNonce) {
			if nonce != nil {
				return nil
			}
			nonce = e.Value
		}
	}
	return nonce
}
