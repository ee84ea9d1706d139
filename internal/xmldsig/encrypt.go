package xmldsig

import (
	"cmp"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math"

	"github.com/beevik/etree"
)

// EncryptOptions choose among what [Decrypt] accepts. The zero value is iDIN's:
// AES-256-CBC, RSA-OAEP with SHA-1 throughout, the key inside.
type EncryptOptions struct {
	Cipher    Cipher
	Hash      crypto.Hash // of OAEP; zero for SHA-1
	MGF       crypto.Hash // of OAEP's mask; zero for rsa-oaep-mgf1p, which has SHA-1
	Recipient string      // attribute of EncryptedKey; "" for none
	Wrapper   string      // name of an element around EncryptedData, e.g. saml:EncryptedID; "" for none
	Beside    string      // id of EncryptedKey, which then stands beside EncryptedData; needs a Wrapper
}

// Encrypt gives EncryptedData that holds el, or a wrapper around it. Simulators
// and tests need it; the broker itself encrypts nothing.
func Encrypt(el *etree.Element, to *rsa.PublicKey, o EncryptOptions) (*etree.Element, error) {
	plain, err := canonical(el, nil, nil, math.MaxInt)
	if err != nil {
		return nil, fmt.Errorf("encrypt xml: %w", err)
	}
	secret := make([]byte, ciphers[o.Cipher].key)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("encrypt xml: %w", err)
	}
	text, err := o.Cipher.seal(secret, plain)
	if err != nil {
		return nil, fmt.Errorf("encrypt xml: %w", err)
	}
	key, err := o.encryptedKey(secret, to)
	if err != nil {
		return nil, fmt.Errorf("encrypt xml: %w", err)
	}

	data := etree.NewElement("xenc:EncryptedData")
	data.CreateAttr("xmlns:xenc", encryption)
	data.CreateAttr("Type", typeElement)
	data.CreateElement("xenc:EncryptionMethod").CreateAttr("Algorithm", ciphers[o.Cipher].uri)
	info := data.CreateElement("ds:KeyInfo")
	info.CreateAttr("xmlns:ds", namespace)
	if o.Beside == "" {
		info.AddChild(key)
	} else {
		method := info.CreateElement("ds:RetrievalMethod")
		method.CreateAttr("Type", typeKey)
		method.CreateAttr("URI", "#"+o.Beside)
	}
	addCipherValue(data, text)
	if o.Wrapper == "" {
		return data, nil
	}
	w := etree.NewElement(o.Wrapper)
	w.AddChild(data)
	if o.Beside != "" {
		w.AddChild(key)
	}
	return w, nil
}

func (o EncryptOptions) encryptedKey(secret []byte, to *rsa.PublicKey) (*etree.Element, error) {
	hash, mgf := cmp.Or(o.Hash, crypto.SHA1), cmp.Or(o.MGF, crypto.SHA1)
	value, err := rsa.EncryptOAEPWithOptions(rand.Reader, to, secret, &rsa.OAEPOptions{Hash: hash, MGFHash: mgf})
	if err != nil {
		return nil, err
	}
	key := etree.NewElement("xenc:EncryptedKey")
	key.CreateAttr("xmlns:xenc", encryption)
	if o.Beside != "" {
		key.CreateAttr("Id", o.Beside)
	}
	if o.Recipient != "" {
		key.CreateAttr("Recipient", o.Recipient)
	}
	method := key.CreateElement("xenc:EncryptionMethod")
	digest := method.CreateElement("ds:DigestMethod")
	digest.CreateAttr("xmlns:ds", namespace)
	digest.CreateAttr("Algorithm", hashes[hash].digest)
	if o.MGF == 0 {
		method.CreateAttr("Algorithm", oaepMGF1P)
	} else {
		method.CreateAttr("Algorithm", oaep)
		mask := method.CreateElement("xenc11:MGF")
		mask.CreateAttr("xmlns:xenc11", encryption11)
		mask.CreateAttr("Algorithm", hashes[mgf].mgf)
	}
	addCipherValue(key, value)
	return key, nil
}

func addCipherValue(el *etree.Element, b []byte) {
	el.CreateElement("xenc:CipherData").CreateElement("xenc:CipherValue").SetText(base64.StdEncoding.EncodeToString(b))
}

// seal encrypts content. CBC's padding is random but for its length.
func (c Cipher) seal(key, plain []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if ciphers[c].gcm {
		gcm, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		return gcm.Seal(nil, nil, plain, nil), nil //nolint:gosec // it makes its nonce by chance
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	text := make([]byte, aes.BlockSize+len(plain)+pad)
	if _, err := rand.Read(text); err != nil {
		return nil, err
	}
	copy(text[aes.BlockSize:], plain)
	text[len(text)-1] = byte(pad)
	cipher.NewCBCEncrypter(block, text[:aes.BlockSize]).CryptBlocks(text[aes.BlockSize:], text[aes.BlockSize:])
	return text, nil
}
