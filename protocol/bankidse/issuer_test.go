package bankidse

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // certID and nonce of the scheme's OCSP
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
)

// An issuer is a hierarchy in the shape of the real one (§2.5), down to its
// oddity: the CAs carry one policy, and users' certificates another.
type issuer struct {
	root, bank, customer, responder *holder
}

// A holder is a certificate and its key.
type holder struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

const person = "199001012385"

var (
	signedAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	filePol  = oidOf(1, 2, 3, 4, 5)
	mobile   = oidOf(1, 2, 3, 4, 25)

	// Keys are slow to make: the tests share one hierarchy, and one key of users.
	theIssuer = sync.OnceValue(newIssuer)
	userKey   = sync.OnceValue(newKey)
)

func oidOf(n ...uint64) x509.OID {
	oid, err := x509.OIDFromInts(n)
	must(err)
	return oid
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func newKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	return k
}

func newIssuer() *issuer {
	is := &issuer{}
	is.root = certify(ca("Test Root CA"), newKey(), nil)
	is.bank = certify(ca("Test Bank A CA"), newKey(), is.root)
	is.customer = certify(ca("Test Bank A Customer CA1"), newKey(), is.bank)
	is.responder = certify(responder(), newKey(), is.customer)
	return is
}

func ca(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{Country: []string{"SE"}, CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: signedAt.AddDate(-5, 0, 0), NotAfter: signedAt.AddDate(5, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		Policies: []x509.OID{filePol}}
}

func responder() *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: "Test Bank A Customer CA1 OCSP Signing"}, NotBefore: signedAt.AddDate(0, -3, 0),
		NotAfter: signedAt.AddDate(0, 3, 0), KeyUsage: x509.KeyUsageContentCommitment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}
}

// user is the certificate of a person's BankID (§15.3).
func user(number string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{Country: []string{"SE"}, SerialNumber: number, CommonName: "Ada Test"},
		NotBefore: signedAt.AddDate(0, -6, 0), NotAfter: signedAt.AddDate(0, 6, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment, Policies: []x509.OID{mobile}}
}

// certify issues a certificate; without an issuer it signs itself.
func certify(tmpl *x509.Certificate, key *rsa.PrivateKey, by *holder) *holder {
	if tmpl.SerialNumber == nil {
		n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
		must(err)
		tmpl.SerialNumber = n.Add(n, big.NewInt(1))
	}
	if by == nil {
		by = &holder{tmpl, key}
	}
	return certified(tmpl, &key.PublicKey, key, by)
}

func certified(tmpl *x509.Certificate, public *rsa.PublicKey, key *rsa.PrivateKey, by *holder) *holder {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, public, by.key)
	must(err)
	c, err := x509.ParseCertificate(der)
	must(err)
	return &holder{c, key}
}

// A forgery is a signature before it is made: whatever a test wants else than
// usual, it changes here, and everything that depends on it fits.
type forgery struct {
	user  *holder
	certs []*x509.Certificate
	data  string // bankIdSignedData, from tag to tag
	info  string // what is in SignedInfo after its head; "" for the right one

	responder *holder
	certID    certID
	more      []single // responses before the one that counts
	status    asn1.RawValue
	produced  time.Time
	nonce     func(signature string) []pkix.Extension
}

// forge makes an honest one.
func (is *issuer) forge(op Operation) *forgery {
	f := &forgery{user: certify(user(person), userKey(), is.customer), responder: is.responder, status: asn1.RawValue{Class: 2, Tag: 0}, produced: signedAt}
	f.certs = []*x509.Certificate{f.user.cert, is.customer.cert, is.bank.cert}
	f.certID = idOf(f.user.cert, is.customer.cert)
	f.nonce = func(signature string) []pkix.Extension {
		bound := sha1.Sum([]byte(signature)) //nolint:gosec // as the scheme has it
		return []pkix.Extension{{Id: oidNonce, Critical: true, Value: append(bound[:], "twelve bytes"...)}}
	}
	f.data = el("bankIdSignedData", " "+bankidNS+` Id="bidSignedData"`,
		el("usrVisibleData", ` charset="UTF-8" format="simpleMarkdownV1" visible="wysiwys"`, b64("Log in to *Example Shop*"))+
			el("usrNonVisibleData", "", b64("hidden"))+
			el("srvInfo", "", el("name", "", b64("cn=Example Shop 1,c=SE"))+el("nonce", "", b64("twenty bytes of text"))+el("displayName", "", b64("Example Shop")))+
			el("clientInfo", "", el("funcId", "", string(op))+el("version", "", b64("7.50.0"))+
				el("env", "", el("ai", "", el("type", "", b64("IOS"))+el("uhi", "", "c29tZSBwaG9uZQ==")+el("fsib", "", "0")+el("utb", "", "cs1")+
					el("requirement", "", el("condition", "", el("type", "", "AllowFingerprint")+el("value", "", "no")))+el("uauth", "", "pw")))))
	return f
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func el(name, attrs, inside string) string {
	return "<" + name + attrs + ">" + inside + "</" + name + ">"
}

func (f *forgery) edit(old, with string) { f.data = strings.Replace(f.data, old, with, 1) }

// document signs it.
func (f *forgery) document() string {
	var certs strings.Builder
	for _, c := range f.certs {
		certs.WriteString(el("X509Certificate", "", base64.StdEncoding.EncodeToString(c.Raw)))
	}
	keyInfo := el("KeyInfo", " "+dsigNS+` Id="bidKeyInfo"`, el("X509Data", "", certs.String()))
	info := f.info
	if info == "" {
		hash := func(raw string) string {
			sum := sha256.Sum256([]byte(raw))
			return base64.StdEncoding.EncodeToString(sum[:])
		}
		info = infoHead + hash(f.data) + infoMid + hash(keyInfo) + infoEnd
	}
	sum := sha256.Sum256([]byte(info))
	value, err := rsa.SignPKCS1v15(rand.Reader, f.user.key, crypto.SHA256, sum[:])
	must(err)
	return xmlDecl + el("Signature", " "+dsigNS, info+el("SignatureValue", "", base64.StdEncoding.EncodeToString(value))+keyInfo+el("Object", "", f.data))
}

// sign makes what BankID returns, both in base64.
func (f *forgery) sign() (signature, ocsp string) {
	signature = b64(f.document())
	return signature, base64.StdEncoding.EncodeToString(f.respond(signature))
}

// input is what an honest forgery proves.
func (is *issuer) input(f *forgery) VerifyInput {
	in := VerifyInput{Roots: x509.NewCertPool(), Operation: Identification, Visible: b64("Log in to *Example Shop*"), NonVisible: b64("hidden"),
		Format: Markdown, Sent: true, RPName: "cn=Example Shop 1,c=SE", PersonalNumber: person, Start: signedAt.Add(-time.Minute), End: signedAt.Add(time.Minute)}
	in.Roots.AddCert(is.root.cert)
	in.Signature, in.OCSP = f.sign()
	return in
}

// What an OCSP response is made of, for writing (§16).
type (
	single struct {
		ID         certID
		Status     asn1.RawValue
		ThisUpdate time.Time `asn1:"generalized"`
	}
	writtenData struct {
		Responder  asn1.RawValue
		ProducedAt time.Time `asn1:"generalized"`
		Responses  []single
		Extensions []pkix.Extension `asn1:"explicit,tag:1,omitempty"`
	}
	writtenBasic struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
		Certs     []asn1.RawValue `asn1:"explicit,tag:0"`
	}
	written struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type  asn1.ObjectIdentifier
			Value []byte
		} `asn1:"explicit,tag:0"`
	}
)

func idOf(c, by *x509.Certificate) certID {
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	_, err := asn1.Unmarshal(by.RawSubjectPublicKeyInfo, &key)
	must(err)
	names, keys := sha1.Sum(by.RawSubject), sha1.Sum(key.Bits.Bytes) //nolint:gosec // certID is SHA-1 here
	return certID{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, Parameters: asn1.NullRawValue}, names[:], keys[:], c.SerialNumber}
}

func (f *forgery) respond(signature string) []byte {
	data, err := asn1.Marshal(writtenData{Responder: asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: f.responder.cert.RawSubject},
		ProducedAt: f.produced, Responses: append(f.more, single{f.certID, f.status, f.produced}), Extensions: f.nonce(signature)})
	must(err)
	sum := sha256.Sum256(data)
	value, err := rsa.SignPKCS1v15(rand.Reader, f.responder.key, crypto.SHA256, sum[:])
	must(err)
	basic, err := asn1.Marshal(writtenBasic{Data: asn1.RawValue{FullBytes: data},
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue},
		Signature: asn1.BitString{Bytes: value, BitLength: 8 * len(value)}, Certs: []asn1.RawValue{{FullBytes: f.responder.cert.Raw}}})
	must(err)
	var w written
	w.Bytes.Type, w.Bytes.Value = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}, basic
	der, err := asn1.Marshal(w)
	must(err)
	return der
}

// TestIssuer: what the helpers make by default verifies, for both operations;
// without this, a refusal elsewhere would prove nothing.
func TestIssuer(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	for _, op := range []Operation{Identification, Signing} {
		in := is.input(is.forge(op))
		in.Operation = op
		v, err := Verify(in)
		if err != nil {
			t.Fatalf("%s: %v", op, err)
		}
		if v.Kind != "mobile" || v.Policy != "1.2.3.4.25" || !v.SignedAt.Equal(signedAt) || v.Issuer != "Test Bank A Customer CA1" || v.PersonalNumber != person ||
			v.Name != "Ada Test" || v.Operation != op || string(v.Visible) != "Log in to *Example Shop*" || string(v.NonVisible) != "hidden" || v.RPName != in.RPName {
			t.Errorf("%s: %#v", op, v)
		}
	}
}
