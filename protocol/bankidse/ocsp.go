package bankidse

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the protocol's nonce is a SHA-1; it binds, it does not protect
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"slices"

	"golang.org/x/crypto/ocsp"
)

// readOCSP verifies a response: status, responder, and the nonce that binds
// it to exactly this text of the signature (§16). It names the check that
// failed.
func readOCSP(text, signature string, user, issuer *x509.Certificate) (*ocsp.Response, string) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(der) > 64<<10 {
		return nil, "ocspEncoding"
	}
	r, err := ocsp.ParseResponseForCert(der, user, issuer)
	if err != nil {
		return nil, "ocspSignature"
	}
	if r.Status != ocsp.Good {
		return nil, "ocspStatus"
	}
	who := r.Certificate
	if who == nil || who.CheckSignatureFrom(issuer) != nil || !slices.Contains(who.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) ||
		r.ProducedAt.Before(who.NotBefore) || r.ProducedAt.After(who.NotAfter) {
		return nil, "ocspResponder"
	}
	nonce, ok := responseNonce(der)
	bound := sha1.Sum([]byte(signature)) //nolint:gosec // see the import
	if !ok || len(nonce) < len(bound) || !bytes.Equal(nonce[:len(bound)], bound[:]) {
		return nil, "ocspNonce"
	}
	return r, ""
}

// The parts of a response that the library does not show: its own extensions.
type (
	ocspResponse struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type  asn1.ObjectIdentifier
			Value []byte
		} `asn1:"explicit,tag:0,optional"`
	}
	basicResponse struct {
		Data struct {
			Raw         asn1.RawContent
			Version     int `asn1:"optional,default:0,explicit,tag:0"`
			ResponderID asn1.RawValue
			ProducedAt  asn1.RawValue
			Responses   asn1.RawValue
			Extensions  []pkix.Extension `asn1:"explicit,tag:1,optional"`
		}
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
		Certs     []asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
)

var oidNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}

// responseNonce reads the one nonce among the response's extensions.
func responseNonce(der []byte) ([]byte, bool) {
	var outer ocspResponse
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return nil, false
	}
	var basic basicResponse
	if _, err := asn1.Unmarshal(outer.Bytes.Value, &basic); err != nil {
		return nil, false
	}
	var nonce []byte
	for _, e := range basic.Data.Extensions {
		if e.Id.Equal(oidNonce) {
			if nonce != nil {
				return nil, false
			}
			nonce = e.Value
		}
	}
	return nonce, nonce != nil
}
