package bankidse

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // as responses may be signed
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// readOCSP verifies a response without remembering anybody.
func readOCSP(text, signature string, user, issuer *x509.Certificate) (*revocation, string) {
	var nobody *memory
	return nobody.readOCSP(text, signature, user, &authority{certs: []*x509.Certificate{issuer}})
}

// readMore reads a response whoever has signed it.
func readMore(der []byte) (*responseData, bool) {
	r, ok := readResponse(der)
	if !ok {
		return nil, false
	}
	return &r.Data, true
}

// An oddity is a response with what an ordinary one does not have, signed by
// the responder all the same.
type oddity struct {
	status     asn1.Enumerated
	kind       asn1.ObjectIdentifier
	id         asn1.RawValue
	extensions []pkix.Extension // of the one status
	algorithm  asn1.ObjectIdentifier
	hash       crypto.Hash
	certs      []asn1.RawValue
	next       time.Time
	behind     []byte // the basic response
	end        []byte // behind the whole
}

func (is *issuer) odd(f *forgery, signature string, change func(*oddity)) []byte {
	o := &oddity{kind: oidBasic, id: asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: is.responder.cert.RawSubject},
		algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, hash: crypto.SHA256, certs: []asn1.RawValue{{FullBytes: is.responder.cert.Raw}}}
	change(o)
	type status struct {
		ID         certID
		Status     asn1.RawValue
		ThisUpdate time.Time        `asn1:"generalized"`
		NextUpdate time.Time        `asn1:"generalized,explicit,tag:0,optional"`
		Extensions []pkix.Extension `asn1:"explicit,tag:1,optional,omitempty"`
	}
	data, err := asn1.Marshal(struct {
		Responder  asn1.RawValue
		ProducedAt time.Time `asn1:"generalized"`
		Responses  []status
		Extensions []pkix.Extension `asn1:"explicit,tag:1,omitempty"`
	}{o.id, f.produced, []status{{f.certID, f.status, f.produced, o.next, o.extensions}}, f.nonce(signature)})
	must(err)
	sum := map[crypto.Hash]func() []byte{
		crypto.SHA1:   func() []byte { s := sha1.Sum(data); return s[:] }, //nolint:gosec // see the import
		crypto.SHA256: func() []byte { s := sha256.Sum256(data); return s[:] },
		crypto.SHA384: func() []byte { s := sha512.Sum384(data); return s[:] },
		crypto.SHA512: func() []byte { s := sha512.Sum512(data); return s[:] },
	}[o.hash]()
	value, err := rsa.SignPKCS1v15(rand.Reader, is.responder.key, o.hash, sum)
	must(err)
	basic, err := asn1.Marshal(struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
		Certs     []asn1.RawValue `asn1:"explicit,tag:0,optional,omitempty"`
	}{asn1.RawValue{FullBytes: data}, pkix.AlgorithmIdentifier{Algorithm: o.algorithm, Parameters: asn1.NullRawValue},
		asn1.BitString{Bytes: value, BitLength: 8 * len(value)}, o.certs})
	must(err)
	var w written
	w.Status, w.Bytes.Type, w.Bytes.Value = o.status, o.kind, append(basic, o.behind...)
	der, err := asn1.Marshal(w)
	must(err)
	return append(der, o.end...)
}

// TestReadsAsTheLibrary: what golang.org/x/crypto/ocsp makes of a response, we
// make of it, but for SHA-1.
func TestReadsAsTheLibrary(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	f := is.forge(Identification)
	signature := b64(f.document())
	tagged := func(tag int, inside []byte) asn1.RawValue {
		return asn1.RawValue{Class: 2, Tag: tag, IsCompound: true, Bytes: inside}
	}
	for name, c := range map[string]struct {
		change func(*oddity)
		check  string
	}{
		"an ordinary one":            {func(*oddity) {}, ""},
		"a next update":              {func(o *oddity) { o.next = signedAt.Add(time.Hour) }, ""},
		"an extension":               {func(o *oddity) { o.extensions = []pkix.Extension{{Id: oidNonce, Value: []byte{5, 0}}} }, ""},
		"a critical extension":       {func(o *oddity) { o.extensions = []pkix.Extension{{Id: oidNonce, Critical: true, Value: []byte{5, 0}}} }, "ocspSignature"},
		"an error":                   {func(o *oddity) { o.status = 6 }, "ocspSignature"},
		"another kind":               {func(o *oddity) { o.kind = oidNonce }, "ocspSignature"},
		"something behind":           {func(o *oddity) { o.end = []byte{5, 0} }, "ocspSignature"},
		"something behind the basic": {func(o *oddity) { o.behind = []byte{5, 0} }, "ocspSignature"},
		"a key's hash":               {func(o *oddity) { o.id = tagged(2, []byte{4, 2, 1, 2}) }, ""},
		"a key's hash that is none":  {func(o *oddity) { o.id = tagged(2, []byte{5, 0}) }, "ocspSignature"},
		"a key's hash with more":     {func(o *oddity) { o.id = tagged(2, []byte{4, 1, 1, 5, 0}) }, "ocspSignature"},
		"a name that is none":        {func(o *oddity) { o.id = tagged(1, []byte{5, 0}) }, "ocspSignature"},
		"an id of another kind":      {func(o *oddity) { o.id = tagged(3, []byte{5, 0}) }, "ocspSignature"},
		"no certificate":             {func(o *oddity) { o.certs = nil }, "ocspResponder"},
		"a certificate that is none": {func(o *oddity) { o.certs[0].FullBytes = []byte{0x30, 0} }, "ocspSignature"},
		"the issuer's certificate":   {func(o *oddity) { o.certs[0].FullBytes = is.customer.cert.Raw }, "ocspSignature"},
		"a second certificate":       {func(o *oddity) { o.certs = append(o.certs, asn1.RawValue{FullBytes: is.bank.cert.Raw}) }, ""},
		"another certificate before": {func(o *oddity) { o.certs = append([]asn1.RawValue{{FullBytes: is.bank.cert.Raw}}, o.certs...) }, "ocspSignature"},
		"SHA-384": {func(o *oddity) {
			o.algorithm, o.hash = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, crypto.SHA384
		}, ""},
		"SHA-512": {func(o *oddity) {
			o.algorithm, o.hash = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, crypto.SHA512
		}, ""},
		"SHA-1":                        {func(o *oddity) { o.algorithm, o.hash = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, crypto.SHA1 }, "ocspSignature"},
		"MD5":                          {func(o *oddity) { o.algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4} }, "ocspSignature"},
		"an algorithm of another key":  {func(o *oddity) { o.algorithm = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2} }, "ocspSignature"},
		"an algorithm of another hash": {func(o *oddity) { o.algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12} }, "ocspSignature"},
		"an unknown algorithm":         {func(o *oddity) { o.algorithm = oidNonce }, "ocspSignature"},
	} {
		der := is.odd(f, signature, c.change)
		_, err := ocsp.ParseResponseForCert(der, f.user.cert, nil)
		if _, check := readOCSP(base64.StdEncoding.EncodeToString(der), signature, f.user.cert, is.customer.cert); check != c.check ||
			name != "SHA-1" && (err != nil) != (check == "ocspSignature") {
			t.Errorf("%s: %q, want %q; the library says %v", name, check, c.check, err)
		}
	}
	long := is.odd(f, signature, func(o *oddity) { o.end = make([]byte, 64<<10) })
	if _, check := readOCSP(base64.StdEncoding.EncodeToString(long), signature, f.user.cert, is.customer.cert); check != "ocspEncoding" {
		t.Errorf("a long one: %q, want ocspEncoding", check)
	}
}
