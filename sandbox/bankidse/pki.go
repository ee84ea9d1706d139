package bankidse

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
	"time"

	"eidgate/sandbox"
)

// A pki is all keys and certificates of one simulator, new at every start.
// What logins need first is made in the background; nothing waits for what it
// does not need.
type pki struct {
	now func() time.Time

	tlsRoot, server func() *pair // transport: ECDSA, made in a millisecond
	rpCA            func() *pair
	root, bank      func() *pair // signatures: RSA, as the scheme has it
	customer, ocsp  func() *pair
	userKey         func() *rsa.PrivateKey

	mu    sync.Mutex
	users map[string]*pair
}

// A pair is a certificate and its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var (
	oidSurname   = asn1.ObjectIdentifier{2, 5, 4, 4}
	oidGivenName = asn1.ObjectIdentifier{2, 5, 4, 42}
	oidSerial    = asn1.ObjectIdentifier{2, 5, 4, 5}
	oidNameAttr  = asn1.ObjectIdentifier{2, 5, 4, 41}
	oidCountry   = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidOrg       = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidCN        = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidNoCheck   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
)

// policies are the test column of docs/protocols/bankidse.md §17.
var policies = map[string]string{"file": "1.2.3.4.5", "card": "1.2.3.4.10", "mobile": "1.2.3.4.25"}

func newPKI(now func() time.Time) *pki {
	p := &pki{now: now, users: map[string]*pair{}}
	p.tlsRoot = sync.OnceValue(func() *pair { return p.ca("Sim BankID SSL Root", nil, ecKey()) })
	p.server = sync.OnceValue(p.makeServer)
	p.rpCA = sync.OnceValue(func() *pair { return p.ca("Sim Bank RP CA", nil, ecKey()) })
	p.root = sync.OnceValue(func() *pair { return p.ca("Sim BankID Root CA", nil, rsaKey()) })
	p.bank = sync.OnceValue(func() *pair { return p.ca("Sim Bank A CA for BankID", p.root(), rsaKey()) })
	p.customer = sync.OnceValue(func() *pair { return p.ca("Sim Bank A Customer CA1", p.bank(), rsaKey()) })
	p.ocsp = sync.OnceValue(p.makeResponder)
	p.userKey = sync.OnceValue(rsaKey)
	return p
}

// warm makes the slow keys while nobody waits for them.
func (p *pki) warm() {
	go p.userKey()
	go p.ocsp()
}

func rsaKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system's randomness has failed
	}
	return k
}

func ecKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // as above
	}
	return k
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		panic(err)
	}
	return n.Add(n, big.NewInt(1))
}

func (p *pki) ca(name string, parent *pair, key crypto.Signer) *pair {
	t := &x509.Certificate{SerialNumber: serial(), NotBefore: sandbox.First, NotAfter: sandbox.Last,
		Subject: pkix.Name{Organization: []string{"Sim Bank A (simulation)"}, CommonName: name},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	return issue(t, key, parent)
}

// issue signs a certificate; without a parent it signs itself.
func issue(t *x509.Certificate, key crypto.Signer, parent *pair) *pair {
	by, signer := t, key
	if parent != nil {
		by, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, by, key.Public(), signer)
	if err != nil {
		panic(fmt.Sprintf("simulated certificate: %v", err))
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(fmt.Sprintf("simulated certificate: %v", err))
	}
	return &pair{cert, key}
}

func (p *pki) makeServer() *pair {
	now := p.now()
	t := &x509.Certificate{SerialNumber: serial(), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		Subject: pkix.Name{CommonName: "Sim BankID"}, DNSNames: []string{"localhost", "appapi2.test.bankid.com"},
		IPAddresses: loopback, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	return issue(t, ecKey(), p.tlsRoot())
}

func (p *pki) makeResponder() *pair {
	ca := p.customer()
	t := &x509.Certificate{SerialNumber: serial(), NotBefore: sandbox.First, NotAfter: sandbox.Last,
		Subject:  pkix.Name{Organization: []string{"Sim Bank A (simulation)"}, CommonName: ca.cert.Subject.CommonName + " OCSP Signing"},
		KeyUsage: x509.KeyUsageContentCommitment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: oidNoCheck, Value: []byte{5, 0}}}}
	return issue(t, rsaKey(), ca)
}

// user is the certificate of one kind of a person's BankID. All share one
// key: what differs between people is what is certified.
// One that has expired is made anew each time; so is one that the clock has
// left behind.
func (p *pki) user(person sandbox.Person, kind string, expired bool) *pair {
	id := person.Number + "/" + kind + "/" + person.Name + "/" + person.Given + "/" + person.Family
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if u := p.users[id]; u != nil && !expired && now.After(u.cert.NotBefore) && now.Before(u.cert.NotAfter) {
		return u
	}
	if expired {
		now = now.AddDate(-2, 0, 0)
	}
	name := pkix.RDNSequence{}
	for _, a := range []pkix.AttributeTypeAndValue{
		{Type: oidCountry, Value: "SE"}, {Type: oidOrg, Value: "Sim Bank A (simulation)"},
		{Type: oidSurname, Value: person.Family}, {Type: oidGivenName, Value: person.Given},
		{Type: oidSerial, Value: person.Number},
		{Type: oidNameAttr, Value: "(" + now.Format("060102 15.04") + ") " + person.Name + " - simulated BankID"},
		{Type: oidCN, Value: person.Name},
	} {
		name = append(name, pkix.RelativeDistinguishedNameSET{a})
	}
	subject, err := asn1.Marshal(name)
	if err != nil {
		panic(err) // strings only
	}
	policy, err := x509.ParseOID(policies[kind])
	if err != nil {
		panic(err)
	}
	t := &x509.Certificate{SerialNumber: serial(), RawSubject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment, Policies: []x509.OID{policy},
		OCSPServer: []string{"http://sim.invalid/ocsp"}}
	u := issue(t, p.userKey(), p.customer())
	if expired {
		return u
	}
	if len(p.users) > 20_000 {
		clear(p.users)
	}
	p.users[id] = u
	return u
}

// RPCertificate issues what a relying party identifies itself with; name is
// what people see in the app.
func (s *Simulator) RPCertificate(name, orgNumber string) (tls.Certificate, error) {
	now := s.clock.Now()
	rdn := pkix.RDNSequence{}
	for _, a := range []pkix.AttributeTypeAndValue{
		{Type: oidCountry, Value: "SE"}, {Type: oidOrg, Value: "Sim Bank A (simulation)"}, {Type: oidSerial, Value: orgNumber},
		{Type: oidNameAttr, Value: name}, {Type: oidCN, Value: name + " (simulation)"},
	} {
		rdn = append(rdn, pkix.RelativeDistinguishedNameSET{a})
	}
	subject, err := asn1.Marshal(rdn)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("RP certificate: %w", err)
	}
	t := &x509.Certificate{SerialNumber: serial(), RawSubject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(2, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature}
	c := issue(t, ecKey(), s.pki.rpCA())
	return tls.Certificate{Certificate: [][]byte{c.cert.Raw}, PrivateKey: c.key, Leaf: c.cert}, nil
}

// PEM is a certificate and its key as text.
func PEM(c tls.Certificate) (cert, key string, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return "", "", fmt.Errorf("write key: %w", err)
	}
	return certPEM(c.Certificate[0]), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

func certPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TLSRoot is what clients trust the API's address by, in PEM.
func (s *Simulator) TLSRoot() string { return certPEM(s.pki.tlsRoot().cert.Raw) }

// SignatureRoot is what verifies users' certificates, in PEM.
func (s *Simulator) SignatureRoot() string { return certPEM(s.pki.root().cert.Raw) }

// TLSConfig is for the API's listener. A client without a certificate gets as
// far as an answer in HTML, as at the real front.
func (s *Simulator) TLSConfig() *tls.Config {
	srv := s.pki.server()
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, ClientAuth: tls.RequestClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{srv.cert.Raw}, PrivateKey: srv.key, Leaf: srv.cert}}}
}
