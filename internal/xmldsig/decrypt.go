package xmldsig

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"strings"

	"github.com/beevik/etree"
)

// Names of xmlenc and of the algorithms that are accepted
// (docs/protocols/xmldsig.md §6).
const (
	encryption    = "http://www.w3.org/2001/04/xmlenc#"
	encryption11  = "http://www.w3.org/2009/xmlenc11#"
	typeElement   = encryption + "Element"
	typeKey       = encryption + "EncryptedKey"
	oaepMGF1P     = encryption + "rsa-oaep-mgf1p"
	oaep          = encryption11 + "rsa-oaep"
	digestSHA1    = "http://www.w3.org/2000/09/xmldsig#sha1"
	mgf1          = encryption11 + "mgf1"
	maxCandidates = 4 // encrypted keys that are tried, each by an RSA operation for each key
)

// A Cipher encrypts content. The zero value is the one that iDIN uses.
type Cipher int

// The ciphers.
const (
	AES256CBC Cipher = iota
	AES128CBC
	AES256GCM
	AES128GCM
)

var ciphers = map[Cipher]struct {
	uri string
	key int // bytes
	gcm bool
}{
	AES256CBC: {encryption + "aes256-cbc", 32, false},
	AES128CBC: {encryption + "aes128-cbc", 16, false},
	AES256GCM: {encryption11 + "aes256-gcm", 32, true},
	AES128GCM: {encryption11 + "aes128-gcm", 16, true},
}

// hashes are those of OAEP, where SHA-1 is not a matter of collisions.
var hashes = map[crypto.Hash]struct{ digest, mgf string }{
	crypto.SHA1:   {digestSHA1, mgf1 + "sha1"},
	crypto.SHA256: {sha256URI, mgf1 + "sha256"},
	crypto.SHA384: {"http://www.w3.org/2001/04/xmldsig-more#sha384", mgf1 + "sha384"},
	crypto.SHA512: {encryption + "sha512", mgf1 + "sha512"},
}

// errDecrypt is the one answer to whatever goes wrong once a key was used, so
// that nobody learns from us about a plaintext that he altered.
var errDecrypt = refuse(Decryption, "the content cannot be decrypted")

// Decrypt opens the one EncryptedData that el is or has as a child, with the
// first of the keys that fits, and returns the element that was encrypted. It
// belongs to no document and declares its namespaces itself. The encrypted key
// may stand in EncryptedData's KeyInfo or beside EncryptedData. Decrypt only
// what a good signature covers.
func Decrypt(el *etree.Element, keys []crypto.Decrypter, l Limits) (*etree.Element, error) {
	data, err := encryptedData(el)
	if err != nil {
		return nil, err
	}
	content, err := contentCipher(data)
	if err != nil {
		return nil, err
	}
	text, err := cipherValue(data)
	if err != nil {
		return nil, err
	}
	candidates, err := encryptedKeys(data)
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		for _, key := range keys {
			secret, err := key.Decrypt(rand.Reader, c.value, c.oaep())
			if err != nil || len(secret) != ciphers[content].key {
				continue
			}
			plain, ok := content.open(secret, text)
			if !ok {
				continue
			}
			if d, err := Parse(plain, l); err == nil {
				root := d.Root()
				d.RemoveChild(root)
				return root, nil
			}
		}
	}
	return nil, errDecrypt
}

// encryptedData finds the EncryptedData of el.
func encryptedData(el *etree.Element) (*etree.Element, error) {
	if is(el, encryption, "EncryptedData") {
		return el, nil
	}
	return one(el, "EncryptedData")
}

func contentCipher(data *etree.Element) (Cipher, error) {
	if t := data.SelectAttrValue("Type", typeElement); t != typeElement {
		return 0, refuse(Algorithm, "what was encrypted is not an element")
	}
	method, err := one(data, "EncryptionMethod")
	if err != nil {
		return 0, err
	}
	uri := method.SelectAttrValue("Algorithm", "")
	for c, p := range ciphers {
		if p.uri == uri {
			return c, nil
		}
	}
	return 0, refuse(Algorithm, "the content is encrypted by a cipher that is not accepted")
}

func cipherValue(el *etree.Element) ([]byte, error) {
	data, err := one(el, "CipherData")
	if err != nil {
		return nil, err
	}
	value, err := one(data, "CipherValue")
	if err != nil {
		return nil, err
	}
	return leaf(value)
}

// A wrapped is an encrypted key.
type wrapped struct {
	hash, mgf crypto.Hash
	value     []byte
}

func (w wrapped) oaep() *rsa.OAEPOptions { return &rsa.OAEPOptions{Hash: w.hash, MGFHash: w.mgf} }

// encryptedKeys lists the keys for data: those in its KeyInfo, else the one that
// its RetrievalMethod names, else those beside it.
func encryptedKeys(data *etree.Element) ([]wrapped, error) {
	var inside, beside []*etree.Element
	named, all := "", true
	for _, info := range data.ChildElements() {
		if !is(info, namespace, "KeyInfo") {
			continue
		}
		for _, e := range info.ChildElements() {
			switch {
			case is(e, encryption, "EncryptedKey"):
				inside = append(inside, e)
			case is(e, namespace, "RetrievalMethod") && e.SelectAttrValue("Type", typeKey) == typeKey:
				named, all = strings.TrimPrefix(e.SelectAttrValue("URI", ""), "#"), false
			}
		}
	}
	if parent := data.Parent(); parent != nil && len(inside) == 0 {
		for _, e := range parent.ChildElements() {
			if is(e, encryption, "EncryptedKey") && (all || e.SelectAttrValue("Id", "") == named) {
				beside = append(beside, e)
			}
		}
	}
	keys := append(inside, beside...)
	if len(keys) == 0 || len(keys) > maxCandidates {
		return nil, refuse(Structure, "EncryptedData has no key, or too many")
	}
	out := make([]wrapped, len(keys))
	for i, e := range keys {
		var err error
		if out[i], err = unwrapping(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// unwrapping reads an EncryptedKey.
func unwrapping(el *etree.Element) (wrapped, error) {
	method, err := one(el, "EncryptionMethod")
	if err != nil {
		return wrapped{}, err
	}
	w := wrapped{hash: crypto.SHA1, mgf: crypto.SHA1}
	uri := method.SelectAttrValue("Algorithm", "")
	if uri != oaepMGF1P && uri != oaep {
		return wrapped{}, refuse(Algorithm, "the key is not encrypted by RSA-OAEP")
	}
	for _, p := range method.ChildElements() {
		name := p.SelectAttrValue("Algorithm", "")
		known := false
		for hash, uris := range hashes {
			switch {
			case is(p, namespace, "DigestMethod") && name == uris.digest:
				w.hash, known = hash, true
			case is(p, encryption11, "MGF") && name == uris.mgf && uri == oaep:
				w.mgf, known = hash, true
			}
		}
		if !known {
			return wrapped{}, refuse(Algorithm, "RSA-OAEP has a parameter that is not accepted")
		}
	}
	w.value, err = cipherValue(el)
	return w, err
}

// open decrypts content and takes its padding off.
func (c Cipher) open(key, text []byte) ([]byte, bool) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	if ciphers[c].gcm {
		gcm, err := cipher.NewGCM(block)
		if err != nil || len(text) < gcm.NonceSize() {
			return nil, false
		}
		plain, err := gcm.Open(nil, text[:gcm.NonceSize()], text[gcm.NonceSize():], nil)
		return plain, err == nil
	}
	if len(text) < 2*aes.BlockSize || len(text)%aes.BlockSize != 0 {
		return nil, false
	}
	plain := make([]byte, len(text)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, text[:aes.BlockSize]).CryptBlocks(plain, text[aes.BlockSize:])
	pad := int(plain[len(plain)-1]) // only the last byte counts, the others are arbitrary
	if pad < 1 || pad > aes.BlockSize {
		return nil, false
	}
	return plain[:len(plain)-pad], true
}

func is(el *etree.Element, ns, tag string) bool { return el.Tag == tag && el.NamespaceURI() == ns }

// one gives the only child of that name in xmlenc.
func one(el *etree.Element, tag string) (*etree.Element, error) {
	var found *etree.Element
	for _, e := range el.ChildElements() {
		if !is(e, encryption, tag) {
			continue
		}
		if found != nil {
			return nil, refuse(Structure, "there are two of "+tag)
		}
		found = e
	}
	if found == nil {
		return nil, refuse(Structure, "there is no "+tag)
	}
	return found, nil
}
