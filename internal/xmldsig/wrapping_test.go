package xmldsig_test

import (
	"testing"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
)

// wrappings are the eight places that signature wrapping is known to use for the
// signed element and the forged one (XSW1 to XSW8 of the literature on SAML).
// Each gives what stands where the signed element stood, and says why it is
// refused: a whole document that is signed without an id, one that is signed by
// its id, and an assertion in a document that is signed again.
var wrappings = []struct {
	name                string
	build               func(signed, sig, evil *etree.Element) []*etree.Element
	whole, outer, inner xmldsig.Kind
}{
	{"1, in an Object of the moved signature", func(signed, sig, evil *etree.Element) []*etree.Element {
		evil.AddChild(sig)
		child(sig, len(sig.Child), "Object").AddChild(signed)
		return []*etree.Element{evil}
	}, xmldsig.Structure, xmldsig.Structure, xmldsig.Structure},
	{"2, before the moved signature", func(signed, sig, evil *etree.Element) []*etree.Element {
		evil.AddChild(signed)
		evil.AddChild(sig)
		return []*etree.Element{evil}
	}, xmldsig.Digest, xmldsig.Reference, xmldsig.Reference},
	{"3, behind the forged one", func(signed, sig, evil *etree.Element) []*etree.Element {
		signed.AddChild(sig)
		return []*etree.Element{evil, signed}
	}, xmldsig.NoSignature, xmldsig.NoSignature, xmldsig.NoSignature},
	{"4, inside the forged one", func(signed, sig, evil *etree.Element) []*etree.Element {
		signed.AddChild(sig)
		evil.AddChild(signed)
		return []*etree.Element{evil}
	}, xmldsig.NoSignature, xmldsig.NoSignature, xmldsig.NoSignature},
	{"5, behind the forged one that has the signature", func(signed, sig, evil *etree.Element) []*etree.Element {
		evil.AddChild(sig)
		return []*etree.Element{evil, signed}
	}, xmldsig.NoSignature, xmldsig.NoSignature, xmldsig.Reference},
	{"6, inside the moved signature", func(signed, sig, evil *etree.Element) []*etree.Element {
		evil.AddChild(sig)
		sig.AddChild(signed)
		return []*etree.Element{evil}
	}, xmldsig.Structure, xmldsig.Structure, xmldsig.Structure},
	// The assertion is where it is read, and signed; that there is a second one
	// is for the protocol to refuse.
	{"7, behind extensions with the forged one", func(signed, sig, evil *etree.Element) []*etree.Element {
		signed.AddChild(sig)
		ext := etree.NewElement("Extensions")
		ext.AddChild(evil)
		return []*etree.Element{ext, signed}
	}, xmldsig.NoSignature, xmldsig.NoSignature, ""},
	{"8, in an Object of the forged one", func(signed, sig, evil *etree.Element) []*etree.Element {
		signed.AddChild(sig)
		object := evil.CreateElement("Object")
		object.CreateAttr("xmlns", dsigNS)
		object.AddChild(signed)
		return []*etree.Element{evil}
	}, xmldsig.NoSignature, xmldsig.NoSignature, xmldsig.NoSignature},
}

// forge copies an element for another person. Its ids are new ones, unless they
// are to be the same.
func forge(el *etree.Element, same bool) *etree.Element {
	evil := el.Copy()
	evil.FindElement(".//NameID").SetText("evil")
	for _, e := range append(evil.FindElements(".//*"), evil) {
		if id := e.SelectAttr("ID"); id != nil && !same {
			id.Value = "evil-" + id.Value
		}
	}
	return evil
}

// wrapDocument wraps a signed document, which has an id or not.
func wrapDocument(t *testing.T, build func(signed, sig, evil *etree.Element) []*etree.Element, id string, same bool) error {
	t.Helper()
	m := merchant(t)
	root := tree(t, message)
	err := m.Sign(root)
	if id != "" {
		root = tree(t, message)
		root.CreateAttr("ID", id)
		err = m.SignAt(root, len(root.Child), id)
	}
	if err != nil {
		t.Fatal(err)
	}
	sig := root.SelectElement("Signature")
	root.RemoveChild(sig)
	parts := build(root, sig, forge(root, same))
	top := parts[0]
	if len(parts) > 1 { // a document has one root
		top = etree.NewElement("Answer")
		top.CreateAttr("xmlns", "urn:test:answer")
		for _, p := range parts {
			top.AddChild(p)
		}
	}
	_, err = xmldsig.Verify([]byte(text(t, top)), xmldsig.Limits{}, xmldsig.Rule{Select: named(m.Certificate), Now: clock, Others: 1})
	return err
}

// wrapAssertion wraps the assertion before the document is signed, as if the
// upstream could be made to sign what somebody built.
func wrapAssertion(t *testing.T, build func(signed, sig, evil *etree.Element) []*etree.Element, same bool) (string, error) {
	t.Helper()
	return verify(t, text(t, signed(t, func(root *etree.Element) {
		a := root.FindElement(".//Assertion")
		place, sig := a.Parent(), a.SelectElement("Signature")
		place.RemoveChild(a)
		a.RemoveChild(sig)
		for _, e := range build(a, sig, forge(a, same)) {
			place.AddChild(e)
		}
	})))
}

func TestWrapping(t *testing.T) {
	t.Parallel()
	for _, w := range wrappings {
		if err := wrapDocument(t, w.build, "", false); kind(err) != w.whole {
			t.Errorf("document %s: %v, want %s", w.name, err, w.whole)
		}
		if err := wrapDocument(t, w.build, "A-1", false); kind(err) != w.outer {
			t.Errorf("document with an id %s: %v, want %s", w.name, err, w.outer)
		}
		if id, err := wrapAssertion(t, w.build, false); kind(err) != w.inner || id == "evil" {
			t.Errorf("assertion %s: %q, %v, want %q", w.name, id, err, w.inner)
		}
		// Once an id stands twice, nobody asks further.
		if err := wrapDocument(t, w.build, "A-1", true); kind(err) != xmldsig.IDs {
			t.Errorf("document with the same id %s: %v", w.name, err)
		}
		if _, err := wrapAssertion(t, w.build, true); kind(err) != xmldsig.IDs {
			t.Errorf("assertion with the same id %s: %v", w.name, err)
		}
	}
}

// TestTwoAssertions puts an unsigned assertion beside the signed one, in both
// orders: what is returned is never the unsigned one.
func TestTwoAssertions(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		name, id string
		at       int
		kind     xmldsig.Kind
	}{{"before", "", 0, xmldsig.NoSignature}, {"behind", "anna", 1, ""}} {
		id, err := verify(t, text(t, signed(t, func(root *etree.Element) {
			a := root.FindElement(".//Assertion")
			evil := forge(a, false)
			evil.RemoveChild(evil.SelectElement("Signature"))
			a.Parent().InsertChildAt(v.at, evil)
		})))
		if id != v.id || kind(err) != v.kind {
			t.Errorf("%s: %q, %v", v.name, id, err)
		}
	}
}
