package bankidse

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"eidgate/internal/cache"
)

// A Verifier checks signatures under the roots of one environment. It says
// what Verify says, in less time: certificates that are the same for many
// people, of CAs and of their OCSP responders, are parsed once, and so are
// their own signatures checked. It is safe for concurrent use.
type Verifier struct {
	roots *x509.CertPool
	known *memory
}

// NewVerifier trusts the roots of a PEM text: see Roots. It is an error if
// there are none.
func NewVerifier(roots string) (*Verifier, error) {
	// The pool is nobody else's: what has been verified under it stays true.
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(roots)) {
		return nil, errors.New("the text of roots holds no certificate")
	}
	return &Verifier{roots: pool, known: newMemory(128)}, nil
}

// Verify checks a signature and its OCSP response in full, as the function of
// that name does. The roots are the Verifier's: an input with Roots of its own
// is refused.
func (v *Verifier) Verify(in VerifyInput) (*Verified, error) {
	if in.Roots != nil {
		return refuse("chain")
	}
	return verify(in, v.roots, v.known)
}

// An authority is the CAs of a signature in their order, of which the first
// has issued the person's certificate. It does not change once it is made.
type authority struct {
	id     caID
	certs  []*x509.Certificate
	issuer *x509.CertPool        // the first alone
	paths  [][]*x509.Certificate // verified, from the first to a root; those with constraints are left out
}

type (
	caID        [sha256.Size]byte // of the exact bytes of all the CAs
	responderID struct {
		by   caID
		cert [sha256.Size]byte
	}
)

// A memory has what signatures that verified have shown: a refused one leaves
// nothing in it, so that nobody fills it who has no BankID. It belongs to the
// roots of one Verifier. A nil one remembers nothing.
type memory struct {
	authorities *cache.Cache[caID, *authority]
	responders  *cache.Cache[responderID, *x509.Certificate]
}

// newMemory keeps at most limit authorities, and as many responders.
func newMemory(limit int) *memory {
	return &memory{cache.New[caID, *authority](limit), cache.New[responderID, *x509.Certificate](limit)}
}

// authority finds the CAs of a signature, or reads them and names the check
// that failed.
func (m *memory) authority(ders [][]byte) (*authority, string) {
	id := idOfCAs(ders)
	if m != nil {
		if a, ok := m.authorities.Get(id); ok {
			return a, ""
		}
	}
	a := &authority{id: id}
	for _, der := range ders {
		c, check := readCertificate(der)
		if check != "" {
			return nil, check
		}
		a.certs = append(a.certs, c)
	}
	return a, ""
}

// idOfCAs hashes each certificate with its length, so that the same bytes cut
// in other places are other CAs.
func idOfCAs(ders [][]byte) (id caID) {
	h := sha256.New()
	for _, der := range ders {
		h.Write(binary.AppendVarint(nil, int64(len(der))))
		h.Write(der)
	}
	h.Sum(id[:0])
	return id
}

// responder finds the certificate of a responder that these CAs have issued.
func (m *memory) responder(by *authority, der []byte) (*x509.Certificate, bool) {
	if m == nil {
		return nil, false
	}
	return m.responders.Get(responderID{by.id, sha256.Sum256(der)})
}

// keep remembers what a signature that verified has shown.
func (m *memory) keep(by *authority, responder *x509.Certificate) {
	if m == nil || len(by.paths) == 0 {
		return
	}
	m.authorities.Put(by.id, by)
	m.responders.Put(responderID{by.id, sha256.Sum256(responder.Raw)}, responder)
}

// chain verifies user ← Customer CA ← bank CA ← pinned root at the time of
// signing, with the certificates in the order of the document. It answers with
// the authority as it may be remembered, or names the check that failed.
func (a *authority) chain(user *x509.Certificate, roots *x509.CertPool, at time.Time) (*authority, string) {
	if a.leads(user, at) {
		return a, ""
	}
	if roots == nil { // which x509 takes for the system's
		return nil, "chain"
	}
	between := x509.NewCertPool()
	for _, c := range a.certs {
		if !c.IsCA || !c.BasicConstraintsValid || c.KeyUsage&x509.KeyUsageCertSign == 0 {
			return nil, "chain"
		}
		between.AddCert(c)
	}
	paths := a.through(user, x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at})
	if len(paths) == 0 {
		return nil, "chain"
	}
	verified := &authority{id: a.id, certs: a.certs, issuer: x509.NewCertPool()}
	verified.issuer.AddCert(a.certs[0])
	for _, p := range paths {
		if above := p[1:]; !slices.ContainsFunc(above, constrains) {
			verified.paths = append(verified.paths, above)
		}
	}
	return verified, ""
}

// leads says that a user's certificate is the first CA's, and that a path from
// there on that was verified before has every certificate valid now as well.
// Nothing else of a path depends on whom it leads to, unless a certificate
// constrains what stands elsewhere in it.
func (a *authority) leads(user *x509.Certificate, at time.Time) bool {
	valid := func(path []*x509.Certificate) bool {
		return !slices.ContainsFunc(path, func(c *x509.Certificate) bool { return at.Before(c.NotBefore) || at.After(c.NotAfter) })
	}
	return slices.ContainsFunc(a.paths, valid) && !constrains(user) &&
		len(a.through(user, x509.VerifyOptions{Roots: a.issuer, CurrentTime: at})) > 0
}

// through finds the paths that lead to the user by way of the first CA.
func (a *authority) through(user *x509.Certificate, o x509.VerifyOptions) [][]*x509.Certificate {
	o.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	paths, err := user.Verify(o)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(paths, func(p []*x509.Certificate) bool { return len(p) < 2 || !p[1].Equal(a.certs[0]) })
}

// constraints are the extensions whose meaning depends on other certificates
// of the path: nameConstraints, policyMappings, policyConstraints and
// inhibitAnyPolicy (RFC 5280 section 4.2.1). The length of a path is none: it
// is the same for all whom the first CA has issued a certificate to.
var constraints = []asn1.ObjectIdentifier{{2, 5, 29, 30}, {2, 5, 29, 33}, {2, 5, 29, 36}, {2, 5, 29, 54}}

func constrains(c *x509.Certificate) bool {
	for _, e := range c.Extensions {
		if slices.ContainsFunc(constraints, e.Id.Equal) {
			return true
		}
	}
	return false
}
