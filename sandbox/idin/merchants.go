package idin

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"sync"

	"github.com/google/uuid"

	"eidgate/internal/xmldsig"
	"eidgate/sandbox"
)

// A Key is one that signs or decrypts.
type Key = *rsa.PrivateKey

func newKey() Key {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system's randomness has failed
	}
	return k
}

// A pair is a certificate and its key.
type pair struct {
	cert *x509.Certificate
	key  Key
}

// A pki is all keys of the routing service and the banks, each made when it is
// first needed.
type pki struct {
	newKey             func() Key
	routing, alternate func() *pair
	banks              map[string]func() *pair // by BIC
	stranger           func() *pair            // nobody's: what faults sign with and encrypt for
}

func newPKI(keys func() Key) *pki {
	if keys == nil {
		keys = newKey
	}
	p := &pki{newKey: keys, banks: map[string]func() *pair{}}
	lazy := func(name string) func() *pair { return sync.OnceValue(func() *pair { return p.make(name) }) }
	p.routing, p.alternate, p.stranger = lazy("Sandbox routing service"), lazy("Sandbox routing service, alternate"), lazy("Nobody")
	for _, b := range banks {
		p.banks[b.ID] = lazy(b.Name)
	}
	return p
}

// make makes a self-signed certificate, valid whatever the clock shows.
func (p *pki) make(name string) *pair {
	key := p.newKey()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // as above
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Simulation"}},
		NotBefore: sandbox.First, NotAfter: sandbox.Last, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		panic(err) // a template of ours
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err) // what was just made
	}
	return &pair{cert, key}
}

func (p *pair) certPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
}

func (p *pair) keyPEM() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}

// AllServices are all that a contract may cover: all groups but the BSN,
// which is no longer delivered.
const AllServices = 16384 | 4096 | 1024 | 448 | 16 | 8 | 4 | 2

// A Merchant is a party whose requests the routing service takes.
type Merchant struct {
	ID         string              `json:"id"` // 10 digits, the first four of them the acquirer's
	SubIDs     []int               `json:"sub_ids"`
	Name       string              `json:"name"`     // what people read
	LegalID    string              `json:"legal_id"` // Audience and Recipient of what it is told
	Services   int                 `json:"services"` // sum of the parts that its contract covers
	Active     bool                `json:"active"`
	Signing    []*x509.Certificate `json:"-"` // of its requests
	Encryption *x509.Certificate   `json:"-"` // RSA; what it is told is encrypted for it

	references map[string]bool
	qr         *registration
}

var merchantForm = regexp.MustCompile(`^[0-9]{10}$`)

// Register adds a merchant, or replaces the one of that number.
func (s *Simulator) Register(m Merchant) error {
	public := false
	if m.Encryption != nil {
		_, public = m.Encryption.PublicKey.(*rsa.PublicKey)
	}
	switch {
	case !merchantForm.MatchString(m.ID) || m.ID[:4] != Acquirer:
		return fmt.Errorf("%w: its number has ten digits and begins with %s", ErrMerchant, Acquirer)
	case !public || len(m.Signing) == 0:
		return fmt.Errorf("%w: it needs certificates, of an RSA key to encrypt for", ErrMerchant)
	case m.Services&^AllServices != 0:
		return fmt.Errorf("%w: its services are more than there are", ErrMerchant)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.merchants[m.ID]; old != nil {
		m.references, m.qr = old.references, old.qr
	}
	m.SubIDs, m.Signing = slices.Clone(m.SubIDs), slices.Clone(m.Signing)
	s.merchants[m.ID] = &m
	return nil
}

// Credentials are all that a merchant's settings need; texts are PEM.
type Credentials struct {
	Name, MerchantID, LegalID                    string
	SubID                                        int
	DirectoryURL, TransactionURL, StatusURL      string
	SigningKey, SigningCertificate               string
	DecryptionKey, DecryptionCertificate         string
	RoutingCertificate, AlternateRoutingCert     string
	QRGenerateURL, QRMerchantToken, QRSigningKey string // the key's bytes are those of the text
}

// Merchant makes a merchant with keys of its own and a contract for
// everything, registered for iDIN QR as well.
func (s *Simulator) Merchant(name string) (Credentials, error) {
	sign, decrypt := s.pki.make(name+", messages"), s.pki.make(name+", data")
	s.mu.Lock()
	s.members++
	for s.merchants[merchantID(s.members)] != nil {
		s.members++
	}
	number := s.members
	s.mu.Unlock()
	m := Merchant{ID: merchantID(number), SubIDs: []int{0}, Name: name, LegalID: fmt.Sprintf("NL99ZZZ%08d0000", 90_000_000+number), Services: AllServices, Active: true,
		Signing: []*x509.Certificate{sign.cert}, Encryption: decrypt.cert}
	if err := s.Register(m); err != nil {
		return Credentials{}, err
	}
	at := s.Base() + "/idin/rs"
	c := Credentials{Name: name, MerchantID: m.ID, LegalID: m.LegalID, DirectoryURL: at, TransactionURL: at, StatusURL: at,
		SigningCertificate: sign.certPEM(), DecryptionCertificate: decrypt.certPEM(), RoutingCertificate: s.pki.routing().certPEM(),
		AlternateRoutingCert: s.pki.alternate().certPEM(), QRGenerateURL: s.Base() + "/idin/qr/generate"}
	var err error
	if c.SigningKey, err = sign.keyPEM(); err != nil {
		return c, err
	}
	if c.DecryptionKey, err = decrypt.keyPEM(); err != nil {
		return c, err
	}
	c.QRMerchantToken, c.QRSigningKey, err = s.registerQR(m.ID)
	return c, err
}

func merchantID(n int) string { return fmt.Sprintf("%s%06d", Acquirer, n) }

// A registration is a merchant's for iDIN QR.
type registration struct {
	token, secret string
	api           string // Transaction API of the merchant; "" until it is set
}

func (s *Simulator) registerQR(merchant string) (token, secret string, err error) {
	raw := make([]byte, 24)
	if _, err := rand.Read(raw); err != nil {
		return "", "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &registration{token: uuid.NewString(), secret: hex.EncodeToString(raw)}
	s.merchants[merchant].qr = r
	return r.token, r.secret, nil
}

// SetTransactionAPI tells the QR back-end where a merchant takes its calls.
func (s *Simulator) SetTransactionAPI(merchant, address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.merchants[merchant]
	if m == nil || m.qr == nil {
		return fmt.Errorf("%w: none of this number is registered for iDIN QR", ErrMerchant)
	}
	m.qr.api = address
	return nil
}

// signedBy finds a merchant's certificate by its fingerprint.
func (m *Merchant) signedBy(name string) *x509.Certificate {
	for _, c := range m.Signing {
		if equalFold(xmldsig.Fingerprint(c), name) {
			return c
		}
	}
	return nil
}

// use notes a merchantReference; false where it was used before. After ten
// thousand of them it forgets.
func (m *Merchant) use(reference string) bool {
	if m.references[reference] {
		return false
	}
	if m.references == nil || len(m.references) >= 10_000 {
		m.references = map[string]bool{}
	}
	m.references[reference] = true
	return true
}
