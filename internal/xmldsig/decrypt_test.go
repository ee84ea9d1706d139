package xmldsig_test

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/beevik/etree"
	"github.com/google/go-cmp/cmp"

	"eidgate/internal/xmldsig"
)

const nameID = `<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">anna</saml:NameID>`

func TestEncryptAndDecrypt(t *testing.T) {
	t.Parallel()
	key := merchantKey(t)
	secret := tree(t, nameID)
	for _, c := range []xmldsig.Cipher{xmldsig.AES256CBC, xmldsig.AES128CBC, xmldsig.AES256GCM, xmldsig.AES128GCM} {
		for _, hash := range []crypto.Hash{0, crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			for _, mgf := range []crypto.Hash{0, crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
				for _, beside := range []string{"", "k1"} {
					o := xmldsig.EncryptOptions{Cipher: c, Hash: hash, MGF: mgf, Wrapper: "EncryptedID", Beside: beside}
					el, err := xmldsig.Encrypt(secret, &key.PublicKey, o)
					if err != nil {
						t.Fatalf("%+v: %v", o, err)
					}
					el = tree(t, text(t, el))
					got, err := xmldsig.Decrypt(el, []crypto.Decrypter{key}, xmldsig.Limits{})
					if err != nil {
						t.Errorf("%+v: %v", o, err)
					} else if diff := cmp.Diff(flat(secret), flat(got)); diff != "" {
						t.Errorf("%+v: (-want +got):\n%s", o, diff)
					}
				}
			}
		}
	}
}

// TestEncryptKeepsNamespaces encrypts an element whose prefixes are declared
// around it.
func TestEncryptKeepsNamespaces(t *testing.T) {
	t.Parallel()
	root := tree(t, `<r xmlns="urn:r" xmlns:p="urn:p"><p:e p:a="1"><f/></p:e></r>`)
	el, err := xmldsig.Encrypt(root.SelectElement("e"), &merchantKey(t).PublicKey, xmldsig.EncryptOptions{Recipient: "NL99"})
	if err != nil {
		t.Fatal(err)
	}
	if got := el.FindElement(".//EncryptedKey").SelectAttrValue("Recipient", ""); got != "NL99" {
		t.Errorf("Recipient = %q", got)
	}
	got, err := xmldsig.Decrypt(el, []crypto.Decrypter{merchantKey(t)}, xmldsig.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got.NamespaceURI() != "urn:p" || got.SelectElement("f").NamespaceURI() != "urn:r" || got.Parent() != nil {
		t.Error("the element has lost its namespaces, or belongs to a document")
	}
}

const wrapper = `<w><xenc:EncryptedData xmlns:xenc="http://www.w3.org/2001/04/xmlenc#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#">` +
	`<xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/><ds:KeyInfo><xenc:EncryptedKey>` +
	`<xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"/>` +
	`<xenc:CipherData><xenc:CipherValue>%s</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo>` +
	`<xenc:CipherData><xenc:CipherValue>%s</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData></w>`

// wrap encrypts by code of the test's own. The text must be as long as CBC needs.
func wrap(t testing.TB, secret []byte, padded string, cut int) string {
	t.Helper()
	key, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &merchantKey(t).PublicKey, secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 16+len(padded))
	_, _ = rand.Read(out[:16])
	cipher.NewCBCEncrypter(block, out[:16]).CryptBlocks(out[16:], []byte(padded))
	return fmt.Sprintf(wrapper, base64.StdEncoding.EncodeToString(key), base64.StdEncoding.EncodeToString(out[:len(out)-cut]))
}

// pad fills text up to a whole block, with fill before the length.
func pad(s string, fill byte) string {
	n := 16 - len(s)%16
	return s + strings.Repeat(string(rune(fill)), n-1) + string(rune(n))
}

// TestPadding holds that only the last byte counts, and that whatever is wrong
// with a plaintext is one and the same error.
func TestPadding(t *testing.T) {
	t.Parallel()
	long, short := make([]byte, 32), make([]byte, 16)
	text16 := nameID + strings.Repeat(" ", 16-len(nameID)%16)
	const refused = "xml: decrypt: the content cannot be decrypted"
	for _, v := range []struct {
		name, doc, err string
	}{
		{"zeros", wrap(t, long, pad(nameID, 0), 0), ""},
		{"anything", wrap(t, long, pad(nameID, 'x'), 0), ""},
		{"a whole block", wrap(t, long, pad(text16, 'x'), 0), ""},
		{"with CR in the base64", strings.ReplaceAll(wrap(t, long, pad(nameID, 0), 0), "=<", "&#13;\n =<"), ""},
		{"a length of none", wrap(t, long, text16[:len(text16)-1]+"\x00", 0), refused},
		{"a length of 17", wrap(t, long, text16[:len(text16)-1]+"\x11", 0), refused},
		{"a length of 255", wrap(t, long, text16[:len(text16)-1]+"\xff", 0), refused},
		{"padding only", wrap(t, long, strings.Repeat("\x10", 16), 0), refused},
		{"half a block", wrap(t, long, pad(nameID, 0), 8), refused},
		{"a byte less", wrap(t, long, pad(nameID, 0), 1), refused},
		{"a vector only", wrap(t, long, pad("", 0), 16), refused},
		{"half a vector", wrap(t, long, pad("", 0), 24), refused},
		{"a short key", wrap(t, short, pad(nameID, 0), 0), refused},
		{"text", wrap(t, long, pad("anna", 0), 0), refused},
		{"no UTF-8", wrap(t, long, pad("<r>\xff</r>", 0), 0), refused},
		{"two elements", wrap(t, long, pad("<r/><r/>", 0), 0), refused},
		{"a document type", wrap(t, long, pad("<!DOCTYPE r><r/>", 0), 0), refused},
		{"a prefix of the surroundings", wrap(t, long, pad("<ds:r/>", 0), 0), refused},
		{"too deep", wrap(t, long, pad(strings.Repeat("<r>", 40)+strings.Repeat("</r>", 40), 0), 0), refused},
		{"a key of another party", strings.Replace(wrap(t, long, pad(nameID, 0), 0), "<xenc:CipherValue>", "<xenc:CipherValue>AAAA", 1), refused},
	} {
		_, err := xmldsig.Decrypt(tree(t, v.doc), []crypto.Decrypter{merchantKey(t)}, xmldsig.Limits{})
		if got := fmt.Sprint(err); got != v.err && (err != nil || v.err != "") {
			t.Errorf("%s: %v, want %q", v.name, err, v.err)
		}
	}
	if _, err := xmldsig.Decrypt(tree(t, wrap(t, long, pad(nameID, 0), 0)), nil, xmldsig.Limits{}); fmt.Sprint(err) != refused {
		t.Errorf("no key: %v", err)
	}
}

func TestAlteredCiphertext(t *testing.T) {
	t.Parallel()
	key := merchantKey(t)
	for _, c := range []xmldsig.Cipher{xmldsig.AES128GCM, xmldsig.AES256GCM} {
		el, err := xmldsig.Encrypt(tree(t, nameID), &key.PublicKey, xmldsig.EncryptOptions{Cipher: c})
		if err != nil {
			t.Fatal(err)
		}
		value := el.FindElement("./CipherData/CipherValue")
		whole, err := base64.StdEncoding.DecodeString(value.Text())
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			altered := append([]byte(nil), whole...)
			altered[i] ^= 1
			value.SetText(base64.StdEncoding.EncodeToString(altered))
			if _, err := xmldsig.Decrypt(el, []crypto.Decrypter{key}, xmldsig.Limits{}); kind(err) != xmldsig.Decryption {
				t.Errorf("byte %d altered: %v", i, err)
			}
		}
		for n := 1; n < 30; n++ {
			value.SetText(base64.StdEncoding.EncodeToString(whole[:n]))
			if _, err := xmldsig.Decrypt(el, []crypto.Decrypter{key}, xmldsig.Limits{}); kind(err) != xmldsig.Decryption {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
}

// TestEncryptedShapes changes what stands around the ciphertext.
func TestEncryptedShapes(t *testing.T) {
	t.Parallel()
	doc := wrap(t, make([]byte, 32), pad(nameID, 0), 0)
	const (
		data = "./EncryptedData"
		key  = data + "/KeyInfo/EncryptedKey"
	)
	set := func(path, attribute, value string) func(*etree.Element) {
		return func(w *etree.Element) { w.FindElement(path).CreateAttr(attribute, value) }
	}
	gone := func(path string) func(*etree.Element) {
		return func(w *etree.Element) { remove(path)(w) }
	}
	twice := func(path string) func(*etree.Element) {
		return func(w *etree.Element) {
			el := w.FindElement(path)
			el.Parent().AddChild(el.Copy())
		}
	}
	method := func(tag, space, ns, uri string) func(*etree.Element) {
		return func(w *etree.Element) {
			el := w.FindElement(key + "/EncryptionMethod").CreateElement(tag)
			el.CreateAttr("xmlns:"+space, ns)
			el.CreateAttr("Algorithm", uri)
		}
	}
	// beside moves the encrypted key out, with the id k, and names it by uri.
	beside := func(uri string) func(*etree.Element) {
		return func(w *etree.Element) {
			k := w.FindElement(key)
			k.CreateAttr("Id", "k")
			k.CreateAttr("xmlns:xenc", "http://www.w3.org/2001/04/xmlenc#")
			info := k.Parent()
			w.AddChild(k)
			if uri != "" {
				info.CreateElement("ds:RetrievalMethod").CreateAttr("URI", uri)
			}
		}
	}
	for _, v := range []struct {
		name   string
		change func(w *etree.Element)
		kind   xmldsig.Kind
	}{
		{"as it is", func(*etree.Element) {}, ""},
		{"of type element", set(data, "Type", "http://www.w3.org/2001/04/xmlenc#Element"), ""},
		{"a key without effect before", func(w *etree.Element) {
			k := w.FindElement(key)
			c := k.Copy()
			c.FindElement(".//CipherValue").SetText("AAAA")
			k.Parent().InsertChildAt(0, c)
		}, ""},
		{"key beside", beside(""), ""},
		{"key beside, named", beside("#k"), ""},
		{"key beside, another named", beside("#j"), xmldsig.Structure},
		{"key beside, named by nothing", beside("#"), xmldsig.Structure},
		{"key beside, something else named", func(w *etree.Element) {
			beside("#j")(w)
			w.FindElement(data+"/KeyInfo/RetrievalMethod").CreateAttr("Type", dsigNS+"X509Data")
		}, ""},
		{"key inside and four beside", func(w *etree.Element) {
			for range 4 {
				k := w.FindElement(key).Copy()
				k.CreateAttr("xmlns:xenc", "http://www.w3.org/2001/04/xmlenc#")
				w.AddChild(k)
			}
		}, ""},
		{"digest named", method("ds:DigestMethod", "ds", dsigNS, dsigNS+"sha1"), ""},

		{"nothing encrypted", gone(data), xmldsig.Structure},
		{"two", twice(data), xmldsig.Structure},
		{"of type content", set(data, "Type", "http://www.w3.org/2001/04/xmlenc#Content"), xmldsig.Algorithm},
		{"no method", gone(data + "/EncryptionMethod"), xmldsig.Structure},
		{"two methods", twice(data + "/EncryptionMethod"), xmldsig.Structure},
		{"3DES", set(data+"/EncryptionMethod", "Algorithm", "http://www.w3.org/2001/04/xmlenc#tripledes-cbc"), xmldsig.Algorithm},
		{"no cipher", func(w *etree.Element) { w.FindElement(data + "/EncryptionMethod").RemoveAttr("Algorithm") }, xmldsig.Algorithm},
		{"no ciphertext", gone(data + "/CipherData"), xmldsig.Structure},
		{"a reference instead of ciphertext", func(w *etree.Element) {
			el := w.FindElement(data + "/CipherData")
			el.Child = nil
			el.CreateElement("xenc:CipherReference").CreateAttr("URI", "file:///etc/passwd")
		}, xmldsig.Structure},
		{"ciphertext is no base64", func(w *etree.Element) { w.FindElement(data + "/CipherData/CipherValue").SetText("!") }, xmldsig.Structure},
		{"no key", gone(key), xmldsig.Structure},
		{"no KeyInfo", gone(data + "/KeyInfo"), xmldsig.Structure},
		{"five keys", func(w *etree.Element) {
			for range 4 {
				twice(key)(w)
			}
		}, xmldsig.Structure},
		{"key without method", gone(key + "/EncryptionMethod"), xmldsig.Structure},
		{"key without ciphertext", gone(key + "/CipherData"), xmldsig.Structure},
		{"key by RSA of version 1.5", set(key+"/EncryptionMethod", "Algorithm", "http://www.w3.org/2001/04/xmlenc#rsa-1_5"), xmldsig.Algorithm},
		{"key by a key", set(key+"/EncryptionMethod", "Algorithm", "http://www.w3.org/2001/04/xmlenc#kw-aes256"), xmldsig.Algorithm},
		{"digest by MD5", method("ds:DigestMethod", "ds", dsigNS, "http://www.w3.org/2001/04/xmldsig-more#md5"), xmldsig.Algorithm},
		{"mask where it is fixed", method("m:MGF", "m", "http://www.w3.org/2009/xmlenc11#", "http://www.w3.org/2009/xmlenc11#mgf1sha256"), xmldsig.Algorithm},
		{"a label", method("xenc:OAEPparams", "x", "urn:x", ""), xmldsig.Algorithm},
		{"another digest than was used", method("ds:DigestMethod", "ds", dsigNS, "http://www.w3.org/2001/04/xmlenc#sha256"), xmldsig.Decryption},
		{"another cipher than was used", set(data+"/EncryptionMethod", "Algorithm", "http://www.w3.org/2001/04/xmlenc#aes128-cbc"), xmldsig.Decryption},
	} {
		w := tree(t, doc)
		v.change(w)
		_, err := xmldsig.Decrypt(tree(t, text(t, w)), []crypto.Decrypter{merchantKey(t)}, xmldsig.Limits{})
		if kind(err) != v.kind {
			t.Errorf("%s: %v, want %q", v.name, err, v.kind)
		}
	}
}
