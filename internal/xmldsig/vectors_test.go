package xmldsig_test

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
)

// TestVectorsAreThemselves holds the files to the digests with which they were
// published.
func TestVectorsAreThemselves(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"request.xml":  "5ffee65d226d3480b69500f6f15251fcfd92a5e2d5407d85c7a8262a70f15ec1",
		"success.xml":  "b098288e6ff5c6f1689033f7d1cf4812815390b625a3ab25eea5b612513826b4",
		"open.xml":     "e3fc1c206e13b2901247faecaa900852b28e4cbd9f345d69f4bb4ef49a63d2fe",
		"ap3000.xml":   "97708c7715d9c7b1fb097005cbc2fbf22929f6f52a891743acecc42340482f13",
		"merchant.key": "e8dbcc46760a1b852f007b1dbeb14d7c55fa95eee53c6afd37ae8679567d403f",
		"merchant.pem": "1da2b04f22b30110e32f827d720e81e9cbe1277d60ffa304fd387bd84f8a3aa5",
		"routing.pem":  "34ebb2160dc2100d0d4240dd8b290f0cf166cdc12538ff4e0bc6a5ab2f68be42",
	} {
		sum := sha256.Sum256(vector(t, name))
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s has the digest %s", name, got)
		}
	}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	routing, merchant := certificate(t, "routing.pem"), certificate(t, "merchant.pem")
	for _, v := range []struct {
		name string
		cert *x509.Certificate
		root string
	}{
		{"request.xml", merchant, "AcquirerTrxReq"},
		{"success.xml", routing, "AcquirerStatusRes"},
		{"open.xml", routing, "AcquirerStatusRes"},
		{"ap3000.xml", routing, "AcquirerErrorRes"},
	} {
		s, err := xmldsig.Verify(vector(t, v.name), xmldsig.Limits{}, xmldsig.Rule{Select: named(v.cert), Now: clock, Others: 1})
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		if s.Root.Tag != v.root || !s.Certificate.Equal(v.cert) || s.Root.SelectElement("Signature") != nil {
			t.Errorf("%s: %s, signed by %s", v.name, s.Root.Tag, s.Certificate.Subject)
		}
	}
}

// success verifies a document like success.xml on both levels.
func success(t testing.TB, doc string) (assertion *etree.Element, outer, inner error) {
	t.Helper()
	s, outer := xmldsig.Verify([]byte(doc), xmldsig.Limits{}, xmldsig.Rule{Select: named(certificate(t, "routing.pem")), Now: clock, Others: 1})
	if outer != nil {
		return nil, outer, nil
	}
	a, inner := s.VerifyElement(s.Root.FindElement("./Transaction/container/Response/Assertion"), xmldsig.Rule{Select: enclosed})
	if inner != nil {
		return nil, nil, inner
	}
	return a.Root, nil, nil
}

func TestSuccess(t *testing.T) {
	t.Parallel()
	a, outer, inner := success(t, string(vector(t, "success.xml")))
	if outer != nil || inner != nil {
		t.Fatalf("outer %v, inner %v", outer, inner)
	}
	keys := []crypto.Decrypter{issuerKey(), merchantKey(t)} // one that does not fit, and the one that does
	id, err := xmldsig.Decrypt(a.FindElement("./Subject/EncryptedID"), keys, xmldsig.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{id.Tag: id.Text()}
	for _, e := range a.FindElements("./AttributeStatement/EncryptedAttribute") {
		attribute, err := xmldsig.Decrypt(e, keys, xmldsig.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got[attribute.SelectAttrValue("Name", "")] = attribute.SelectElement("AttributeValue").Text()
	}
	want := map[string]string{
		"NameID": "NLBANKvector0001",
		"urn:nl:bvn:bankid:1.0:consumer.initials":      "VJ",
		"urn:nl:bvn:bankid:1.0:consumer.legallastname": "Vriës",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is not as published", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d values were decrypted, want %d", len(got), len(want))
	}
	if _, err := xmldsig.Decrypt(a.FindElement("./Subject/EncryptedID"), keys[:1], xmldsig.Limits{}); kind(err) != xmldsig.Decryption {
		t.Errorf("another key: %v", err)
	}
}

// TestAlteredVectors alters what stands in success.xml. Where the assertion is
// untouched, its own signature stays good.
func TestAlteredVectors(t *testing.T) {
	t.Parallel()
	doc := string(vector(t, "success.xml"))
	for _, v := range []struct{ name, old, new string }{
		{"delivered service", ">20480<", ">20481<"},
		{"status", "<status>Success<", "<status>Failure<"},
		{"not before", `NotBefore="2030-01-02T10:00:00.000Z"`, `NotBefore="2030-01-02T10:00:01.000Z"`},
		{"white space", "<saml:OneTimeUse/>", "<saml:OneTimeUse/> "},
		{"namespace", `xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"`, `xmlns:samlp="urn:oasis:names:tc:SAML:1.0:protocol"`},
		{"prefix", "<saml:OneTimeUse/>", `<s:OneTimeUse xmlns:s="urn:oasis:names:tc:SAML:2.0:assertion"/>`},
		{"id", `ID="VS-1234000000000042"`, `ID="VS-1234000000000043"`},
		{"certificate in the assertion", "<X509Certificate>MIID", "<X509Certificate>MIIE"},
		{"left out", "<saml:OneTimeUse/>", ""},
	} {
		altered := strings.Replace(doc, v.old, v.new, 1)
		if altered == doc {
			t.Errorf("%s: nothing was altered", v.name)
			continue
		}
		if _, outer, _ := success(t, altered); kind(outer) != xmldsig.Digest {
			t.Errorf("%s: %v, want a wrong digest", v.name, outer)
		}
	}
	for name, altered := range map[string]string{
		"spelling of an empty element":   strings.Replace(doc, "<saml:OneTimeUse/>", "<saml:OneTimeUse></saml:OneTimeUse>", 1),
		"order of attributes":            strings.Replace(doc, `version="1.0.0" productID="NL:BVN:BankID:1.0"`, `productID='NL:BVN:BankID:1.0' version = "1.0.0"`, 1),
		"a declaration that is not used": strings.Replace(doc, "<saml:OneTimeUse/>", `<saml:OneTimeUse xmlns:unused="urn:unused"/>`, 1),
		"a reference to a character":     strings.Replace(doc, ">20480<", ">2048&#48;<", 1),
		"space around the root":          doc + "\n\r\n",
	} {
		if altered == doc {
			t.Errorf("%s: nothing was altered", name)
		}
		if _, outer, inner := success(t, altered); outer != nil || inner != nil {
			t.Errorf("%s: outer %v, inner %v; canonical form is the same", name, outer, inner)
		}
	}
}
