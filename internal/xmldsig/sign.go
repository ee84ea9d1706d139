package xmldsig

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/beevik/etree"
)

// A Signer signs elements in place: exclusive C14N, RSA-SHA256, SHA-256,
// enveloped (docs/protocols/xmldsig.md §5).
type Signer struct {
	Key         crypto.Signer // RSA
	Certificate *x509.Certificate
	KeyName     bool   // name the certificate by its fingerprint instead of enclosing it
	LowerName   bool   // write the fingerprint in lower case
	Prefix      string // of the signature's elements; "" for a default namespace
	Inclusive   string // PrefixList of the reference, separated by spaces; "" for none
}

// Sign appends the signature of the whole document to its root.
func (s Signer) Sign(root *etree.Element) error {
	return s.sign(root, len(root.Child), "")
}

// SignAt puts the signature of el before the child token i, with a reference
// to the id, which el must have.
func (s Signer) SignAt(el *etree.Element, i int, id string) error {
	if err := (&claim{uri: "#" + id}).refersTo(el, false); err != nil {
		return err
	}
	return s.sign(el, i, "#"+id)
}

func (s Signer) sign(el *etree.Element, at int, uri string) error {
	public, ok := s.Key.Public().(*rsa.PublicKey)
	if !ok || !public.Equal(s.Certificate.PublicKey) {
		return errors.New("sign xml: the key is not the RSA key of the certificate")
	}
	octets, err := canonical(el, nil, strings.Fields(s.Inclusive), math.MaxInt)
	if err != nil {
		return fmt.Errorf("sign xml: %w", err)
	}
	digest := sha256.Sum256(octets)

	sig := etree.NewElement(s.tag("Signature"))
	if s.Prefix == "" {
		sig.CreateAttr("xmlns", namespace)
	} else {
		sig.CreateAttr("xmlns:"+s.Prefix, namespace)
	}
	info := s.signedInfo(sig, uri, digest[:])
	value := sig.CreateElement(s.tag("SignatureValue"))
	s.keyInfo(sig)

	// Exclusive form needs only what SignedInfo uses, and Signature declares that.
	signed, err := canonical(info, nil, nil, math.MaxInt)
	if err != nil {
		return fmt.Errorf("sign xml: %w", err)
	}
	sum := sha256.Sum256(signed)
	signature, err := s.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return fmt.Errorf("sign xml: %w", err)
	}
	value.SetText(base64.StdEncoding.EncodeToString(signature))
	el.InsertChildAt(at, sig)
	return nil
}

func (s Signer) signedInfo(sig *etree.Element, uri string, digest []byte) *etree.Element {
	info := sig.CreateElement(s.tag("SignedInfo"))
	s.method(info, "CanonicalizationMethod", excC14N)
	s.method(info, "SignatureMethod", rsaSHA256)
	ref := info.CreateElement(s.tag("Reference"))
	ref.CreateAttr("URI", uri)
	transforms := ref.CreateElement(s.tag("Transforms"))
	s.method(transforms, "Transform", enveloped)
	c14n := s.method(transforms, "Transform", excC14N)
	if s.Inclusive != "" {
		list := c14n.CreateElement("ec:InclusiveNamespaces")
		list.CreateAttr("xmlns:ec", excC14N)
		list.CreateAttr("PrefixList", s.Inclusive)
	}
	s.method(ref, "DigestMethod", sha256URI)
	ref.CreateElement(s.tag("DigestValue")).SetText(base64.StdEncoding.EncodeToString(digest))
	return info
}

func (s Signer) keyInfo(sig *etree.Element) {
	info := sig.CreateElement(s.tag("KeyInfo"))
	if !s.KeyName {
		data := info.CreateElement(s.tag("X509Data"))
		data.CreateElement(s.tag("X509Certificate")).SetText(base64.StdEncoding.EncodeToString(s.Certificate.Raw))
		return
	}
	name := Fingerprint(s.Certificate)
	if s.LowerName {
		name = strings.ToLower(name)
	}
	info.CreateElement(s.tag("KeyName")).SetText(name)
}

func (s Signer) method(parent *etree.Element, name, algorithm string) *etree.Element {
	el := parent.CreateElement(s.tag(name))
	el.CreateAttr("Algorithm", algorithm)
	return el
}

func (s Signer) tag(name string) string {
	if s.Prefix == "" {
		return name
	}
	return s.Prefix + ":" + name
}

// Bytes writes a document as it may be sent: with an XML declaration, without
// any change to white space, and so that [Parse] reads the same tree.
func Bytes(root *etree.Element) ([]byte, error) {
	d := etree.NewDocument()
	d.WriteSettings = etree.WriteSettings{CanonicalText: true, CanonicalAttrVal: true}
	d.CreateProcInst("xml", `version="1.0" encoding="UTF-8"`)
	d.SetRoot(root.Copy())
	return d.WriteToBytes()
}
