package xmldsig_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
)

// broken is a key that does not sign, as an HSM may.
type broken struct{ crypto.Signer }

var errBroken = errors.New("out of order")

func (broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errBroken }

// TestCannotSign holds what is refused before anything is signed, and that the
// tree is left as it was.
func TestCannotSign(t *testing.T) {
	t.Parallel()
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := merchant(t)
	for name, v := range map[string]struct {
		signer xmldsig.Signer
		change func(root *etree.Element)
	}{
		"another key":            {xmldsig.Signer{Key: issuerKey(), Certificate: good.Certificate}, nil},
		"an elliptic key":        {xmldsig.Signer{Key: curve, Certificate: good.Certificate}, nil},
		"a broken key":           {xmldsig.Signer{Key: broken{good.Key}, Certificate: good.Certificate}, nil},
		"prefix of an element":   {good, func(root *etree.Element) { root.CreateElement("x:y") }},
		"prefix of an attribute": {good, func(root *etree.Element) { root.CreateAttr("x:y", "") }},
		"an instruction":         {good, func(root *etree.Element) { root.CreateProcInst("x", "y") }},
	} {
		root := tree(t, "<r/>")
		if v.change != nil {
			v.change(root)
		}
		before := len(root.Child)
		if err := v.signer.Sign(root); err == nil || !strings.HasPrefix(err.Error(), "sign xml: ") {
			t.Errorf("%s: %v", name, err)
		}
		if len(root.Child) != before {
			t.Errorf("%s: the tree was altered", name)
		}
	}
	if err := (xmldsig.Signer{Key: broken{good.Key}, Certificate: good.Certificate}).Sign(tree(t, "<r/>")); !errors.Is(err, errBroken) {
		t.Errorf("%v does not tell what the key said", err)
	}
	for _, doc := range []string{`<r/>`, `<r ID="2"/>`, `<r xmlns:x="urn:x" x:ID="1"/>`, `<r><e ID="1"/></r>`} {
		if err := good.SignAt(tree(t, doc), 0, "1"); kind(err) != xmldsig.Reference {
			t.Errorf("SignAt of %s: %v", doc, err)
		}
	}
	if err := good.SignAt(tree(t, `<r ID=""/>`), 0, ""); kind(err) != xmldsig.Reference {
		t.Errorf("SignAt of an empty id: %v", err)
	}
}

// TestSigner holds how a signature is written.
func TestSigner(t *testing.T) {
	t.Parallel()
	s := merchant(t)
	s.Prefix, s.LowerName = "ds", true
	root := tree(t, `<r ID="a">x<e/>y</r>`)
	if err := s.SignAt(root, 2, "a"); err != nil {
		t.Fatal(err)
	}
	got := text(t, root)
	for _, want := range []string{
		`<?xml version="1.0" encoding="UTF-8"?><r ID="a">x<e/><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>`,
		`<ds:Reference URI="#a">`, `</ds:SignatureValue><ds:KeyInfo><ds:KeyName>38bb31aa16e179df6692c088380040c55d2d3b1b</ds:KeyName></ds:KeyInfo></ds:Signature>y</r>`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %s", got, want)
		}
	}
}

// TestRequest signs the vectors' request as they do: all algorithms are the same
// ones, and RSA with PKCS #1 v1.5 is deterministic.
func TestRequest(t *testing.T) {
	t.Parallel()
	want := string(vector(t, "request.xml"))
	root := tree(t, want)
	root.RemoveChild(root.SelectElement("Signature"))
	if err := merchant(t).Sign(root); err != nil {
		t.Fatal(err)
	}
	got := strings.Replace(text(t, root), "?>", "?>\n", 1) + "\n"
	if got != want {
		t.Errorf("signed:\n%s\nwant:\n%s", got, want)
	}
}
