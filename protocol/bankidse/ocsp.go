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

	"golang.org/x/crypto/ocsp"
)

// readOCSP verifies a response: which certificate it is about, status,
// responder, and the nonce that binds it to exactly this text of the signature
// (§16). It names the check that failed.
func readOCSP(text, signature string, user, issuer *x509.Certificate) (*ocsp.Response, string) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(der) > 64<<10 {
		return nil, "ocspEncoding"
	}
	r, err := ocsp.ParseResponseForCert(der, user, nil) // without the issuer, which is checked below
	if err != nil {
		return nil, "ocspSignature"
	}
	more, ok := readMore(der)
	switch {
	case !ok || !more.about(user, issuer):
		return nil, "ocspCertificate"
	case r.Status != ocsp.Good:
		return nil, "ocspStatus"
	}
	who := r.Certificate
	if who == nil || who.CheckSignatureFrom(issuer) != nil || !slices.Contains(who.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) ||
		r.ProducedAt.Before(who.NotBefore) || r.ProducedAt.After(who.NotAfter) {
		return nil, "ocspResponder"
	}
	nonce := more.nonce()
	bound := sha1.Sum([]byte(signature)) //nolint:gosec // see the import
	if len(nonce) < len(bound) || !bytes.Equal(nonce[:len(bound)], bound[:]) {
		return nil, "ocspNonce"
	}
	return r, ""
}

// The parts of a response that the library does not show: whose issuer a
// status is about, and the response's own extensions.
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
		Version     int `asn1:"optional,default:0,explicit,tag:0"`
		ResponderID asn1.RawValue
		ProducedAt  asn1.RawValue
		Responses   []struct{ ID certID }
		Extensions  []pkix.Extension `asn1:"explicit,tag:1,optional"`
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
)

func readMore(der []byte) (*responseData, bool) {
	var outer ocspResponse
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return nil, false
	}
	var basic basicResponse
	if _, err := asn1.Unmarshal(outer.Bytes.Value, &basic); err != nil {
		return nil, false
	}
	return &basic.Data, true
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
