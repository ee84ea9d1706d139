package xmldsig_test

import (
	"crypto"
	"testing"

	"eidgate/internal/xmldsig"
)

// FuzzParse looks for documents that are accepted and read in two ways.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"request.xml", "success.xml", "open.xml", "ap3000.xml"} {
		f.Add(vector(f, name))
	}
	for _, v := range unreadable {
		if len(v.doc) < 4096 {
			f.Add([]byte(v.doc))
		}
	}
	f.Add([]byte(hard))
	f.Add([]byte(message))
	f.Fuzz(func(t *testing.T, doc []byte) { stable(t, doc) })
}

// FuzzVerify looks for a document that is accepted though nobody signed it: what
// is returned must be what one of the seeds says.
func FuzzVerify(f *testing.F) {
	seeds := []string{string(vector(f, "success.xml")), string(vector(f, "open.xml")), string(vector(f, "ap3000.xml"))}
	genuine := map[string]bool{}
	rule := xmldsig.Rule{Select: always(certificate(f, "routing.pem")), Now: clock, Others: 1}
	for _, seed := range seeds {
		s, err := xmldsig.Verify([]byte(seed), xmldsig.Limits{}, rule)
		if err != nil {
			f.Fatal(err)
		}
		genuine[text(f, s.Root)] = true
		f.Add([]byte(seed))
	}
	f.Add([]byte(hard))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := xmldsig.Verify(doc, xmldsig.Limits{}, rule)
		if err != nil {
			if kind(err) == "?" {
				t.Errorf("an error without a kind: %v", err)
			}
			return
		}
		if !genuine[text(t, s.Root)] {
			t.Error("accepted, though nobody signed it")
		}
		for _, a := range s.Root.FindElements(".//Assertion") {
			if _, err := s.VerifyElement(a, xmldsig.Rule{Select: enclosed}); err != nil {
				t.Errorf("the assertion of a genuine document: %v", err)
			}
		}
	})
}

// FuzzDecrypt looks for a panic, and for an error that tells why a ciphertext was
// refused.
func FuzzDecrypt(f *testing.F) {
	keys := []crypto.Decrypter{merchantKey(f)}
	for _, path := range []string{"//EncryptedID/EncryptedData", "//EncryptedAttribute/EncryptedData"} {
		f.Add([]byte(text(f, tree(f, string(vector(f, "success.xml"))).FindElement(path))))
	}
	f.Add([]byte(wrap(f, make([]byte, 32), pad(nameID, 0), 0)))
	f.Add([]byte(wrap(f, make([]byte, 32), pad(nameID, 0), 8)))
	for _, o := range []xmldsig.EncryptOptions{
		{Cipher: xmldsig.AES256GCM, Hash: crypto.SHA256, MGF: crypto.SHA256}, {Cipher: xmldsig.AES128CBC, Wrapper: "w", Beside: "k"},
	} {
		el, err := xmldsig.Encrypt(tree(f, nameID), &merchantKey(f).PublicKey, o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(text(f, el)))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		d, err := xmldsig.Parse(doc, xmldsig.Limits{})
		if err != nil {
			return
		}
		el, err := xmldsig.Decrypt(d.Root(), keys, xmldsig.Limits{})
		switch kind(err) {
		case "":
			text(t, el)
		case xmldsig.Structure, xmldsig.Algorithm:
		case xmldsig.Decryption:
			if err.Error() != "xml: decrypt: the content cannot be decrypted" {
				t.Errorf("the error tells more: %v", err)
			}
		default:
			t.Errorf("an error of another kind: %v", err)
		}
	})
}
