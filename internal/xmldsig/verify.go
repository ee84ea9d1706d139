package xmldsig

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // names a certificate; nothing is signed with it
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"

	"github.com/beevik/etree"
)

// Names of xmldsig and of the algorithms that are accepted
// (docs/protocols/xmldsig.md §4).
const (
	namespace = "http://www.w3.org/2000/09/xmldsig#"
	enveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	excC14N   = "http://www.w3.org/2001/10/xml-exc-c14n#"
	rsaSHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
	sha256URI = "http://www.w3.org/2001/04/xmlenc#sha256"
)

// KeyInfo is what a signature says of its key. Nothing vouches for it: it only
// selects among what is configured.
type KeyInfo struct {
	Names        []string // KeyName, trimmed
	Certificates []*x509.Certificate
}

// A Rule says which signature is accepted.
type Rule struct {
	// Select gives the one certificate that may have signed. It is required.
	Select func(KeyInfo) (*x509.Certificate, error)
	// Now is a time at which the certificate must be valid. If it is zero, dates
	// are not looked at.
	Now time.Time
	// Others is how many further signatures the document may hold below the
	// element, say an assertion's own.
	Others int
}

// Signed is an element whose signature is good.
type Signed struct {
	Root        *etree.Element // rebuilt from the octets that were digested, without the signature
	Certificate *x509.Certificate

	limits Limits
	origin map[*etree.Element]*etree.Element // element below Root → the same one as received
}

// Verify checks the enveloped signature that is a child of the root and signs
// the whole document (docs/protocols/xmldsig.md §4). Nothing but the result may
// be read: what doc says elsewhere, nobody signed.
func Verify(doc []byte, l Limits, r Rule) (*Signed, error) {
	d, err := Parse(doc, l)
	if err != nil {
		return nil, err
	}
	root := d.Root()
	if err := uniqueIDs(root, map[string]bool{}); err != nil {
		return nil, err
	}
	return verify(root, l, r, true)
}

// VerifyElement checks the enveloped signature of an element below Root, whose
// reference must name the element by its id.
func (s *Signed) VerifyElement(el *etree.Element, r Rule) (*Signed, error) {
	received, ok := s.origin[el]
	if !ok || el == s.Root {
		return nil, refuse(Reference, "the element does not stand below the verified one")
	}
	return verify(received, s.limits, r, false)
}

// verify checks the signature of el. Elements of the received tree are used for
// both levels, since canonical form drops declarations which an inner
// signature may need (its PrefixList).
func verify(el *etree.Element, l Limits, r Rule, whole bool) (*Signed, error) {
	sig, err := find(el, r.Others)
	if err != nil {
		return nil, err
	}
	claim, err := read(sig, l)
	if err != nil {
		return nil, err
	}
	if err := claim.refersTo(el, whole); err != nil {
		return nil, err
	}
	cert, err := r.choose(claim.key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(claim.signed)
	if err := rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), crypto.SHA256, sum[:], claim.signature); err != nil {
		return nil, refuse(Signature, "the signature value is wrong")
	}
	octets, err := canonical(el, sig, claim.inclusive, l.canonical())
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(octets); !bytes.Equal(sum[:], claim.digest) {
		return nil, refuse(Digest, "the signed element was altered")
	}
	root, err := reparse(octets, l)
	if err != nil {
		return nil, err
	}
	s := &Signed{Root: root, Certificate: cert, limits: l, origin: map[*etree.Element]*etree.Element{}}
	if !s.pair(root, el, sig) {
		return nil, refuse(Malformed, "the document reads differently in canonical form")
	}
	return s, nil
}

// find gives the signature that is a child of el, if el holds no others than
// are allowed.
func find(el *etree.Element, others int) (*etree.Element, error) {
	f := finder{scope: around(el), el: el}
	f.walk(el)
	switch {
	case len(f.children) == 0:
		return nil, refuse(NoSignature, "the element has no signature of its own")
	case len(f.children) > 1:
		return nil, refuse(Signatures, "the element has two signatures")
	case f.count > 1+others:
		return nil, refuse(Signatures, "there are more signatures than expected")
	}
	return f.children[0], nil
}

// A finder counts signatures below an element, and lists those that are its
// children.
type finder struct {
	scope    *scope
	el       *etree.Element
	count    int
	children []*etree.Element
}

func (f *finder) walk(e *etree.Element) {
	mark := f.scope.enter(e)
	defer f.scope.leave(mark)
	if ns, _ := f.scope.of(e.Space); e.Tag == "Signature" && ns == namespace {
		if f.count++; e.Parent() == f.el {
			f.children = append(f.children, e)
		}
	}
	for _, t := range e.Child {
		if c, ok := t.(*etree.Element); ok {
			f.walk(c)
		}
	}
}

// choose asks for the certificate and judges it.
func (r Rule) choose(k KeyInfo) (*x509.Certificate, error) {
	cert, err := r.Select(k)
	if err != nil {
		return nil, &Error{Kind: Key, Err: err}
	}
	if cert == nil {
		return nil, refuse(Key, "no certificate is configured")
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < 2048 || key.N.BitLen() > 8192 {
		return nil, refuse(Key, "the certificate's key is not RSA of 2048 to 8192 bits")
	}
	if u := cert.KeyUsage; u != 0 && u&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return nil, refuse(Key, "the certificate is not for signatures")
	}
	if !r.Now.IsZero() && (r.Now.Before(cert.NotBefore) || r.Now.After(cert.NotAfter)) {
		return nil, refuse(Expired, "the certificate is not valid at that time")
	}
	return cert, nil
}

// reparse builds the tree of canonical octets. They may be longer than what was
// received, since canonical form writes some characters as references.
func reparse(octets []byte, l Limits) (*etree.Element, error) {
	l.Bytes = len(octets)
	d, err := Parse(octets, l)
	if err != nil {
		return nil, err
	}
	return d.Root(), nil
}

// pair notes which element was received for each rebuilt one, and tells
// whether both trees have the same elements.
func (s *Signed) pair(built, received, skip *etree.Element) bool {
	if built.Space != received.Space || built.Tag != received.Tag {
		return false
	}
	s.origin[built] = received
	theirs := received.ChildElements()
	for _, b := range built.ChildElements() {
		if len(theirs) > 0 && theirs[0] == skip {
			theirs = theirs[1:]
		}
		if len(theirs) == 0 || !s.pair(b, theirs[0], skip) {
			return false
		}
		theirs = theirs[1:]
	}
	return len(theirs) == 0 || len(theirs) == 1 && theirs[0] == skip
}

// isID tells whether some library would take an attribute for its element's id:
// they differ, so all spellings and prefixes count.
func isID(a *etree.Attr) bool { return !isDeclaration(a) && strings.EqualFold(a.Key, "id") }

func uniqueIDs(el *etree.Element, seen map[string]bool) error {
	for i := range el.Attr {
		a := &el.Attr[i]
		if !isID(a) {
			continue
		}
		id := strings.TrimSpace(a.Value)
		if seen[id] {
			return refuse(IDs, "an id stands twice in the document")
		}
		seen[id] = true
	}
	for _, t := range el.Child {
		if e, ok := t.(*etree.Element); ok {
			if err := uniqueIDs(e, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// Fingerprint is the SHA-1 of the certificate's DER in upper-case hex, by which
// KeyName names it.
func Fingerprint(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw) //nolint:gosec // a name
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}
