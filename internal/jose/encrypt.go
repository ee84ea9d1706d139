package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // RSA-OAEP is defined with it; no collision matters there
	"errors"
	"slices"

	gojose "github.com/go-jose/go-jose/v4"
)

// Encrypt puts a signed token into an encrypted message for one recipient. The
// key's ID becomes kid if it has one, and cty says JWT (§6).
func Encrypt(token string, to PublicKey, alg, enc string) (_ string, err error) {
	defer recovered(&err)
	_, signs := signatures[alg]
	switch {
	case signs || !fits(alg, to.Key) || to.Alg != "" && to.Alg != alg || to.Use == Signing:
		return "", refuse(NoKey, "not for this algorithm")
	case encryptions[enc] == 0:
		return "", refuse(Algorithm, "of the content")
	case !signed(token):
		return "", refuse(Unsigned, "only signed tokens are encrypted")
	}
	recipient := gojose.Recipient{Algorithm: gojose.KeyAlgorithm(alg), Key: to.Key, KeyID: to.ID}
	encrypter, err := gojose.NewEncrypter(gojose.ContentEncryption(enc), recipient, (&gojose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		return "", &Error{Kind: NoKey, Detail: "encrypt", Err: err}
	}
	sealed, err := encrypter.Encrypt([]byte(token))
	if err != nil {
		return "", &Error{Kind: NoKey, Detail: "encrypt", Err: err}
	}
	compact, err := sealed.CompactSerialize()
	if err != nil {
		return "", &Error{Kind: NoKey, Detail: "encrypt", Err: err}
	}
	return compact, nil
}

// signed reports whether a text has the form of a signed token.
func signed(s string) bool {
	_, err := parse(s)
	return err == nil
}

// An Opening says what may be in an encrypted message of one party.
type Opening struct {
	Enc  []string // content encryptions that are accepted; none: all that exist here
	Bare bool     // a payload that is not signed is let through: compatibility only (§6)
}

// Decrypt opens a message that is encrypted to one of our keys, which its kid
// must name, by that key's algorithm. It returns the signed token inside, of
// which nothing has been verified. Whatever goes wrong once the key was used is
// the same error.
func (s *Set) Decrypt(compact string, o Opening) (_ string, err error) {
	defer recovered(&err)
	h, err := sealedHeader(compact)
	if err != nil {
		return "", err
	}
	if encryptions[h.Enc] == 0 || len(o.Enc) > 0 && !slices.Contains(o.Enc, h.Enc) {
		return "", refuse(Algorithm, "of the content")
	}
	key, ok := s.decrypts(h.ID)
	if !ok {
		return "", refuse(NoKey, "none is known")
	}
	if key.Alg != h.Alg {
		return "", refuse(Algorithm, "not that of the key")
	}
	accepted := []string{media("JWT")}
	if o.Bare {
		accepted = append(accepted, media("json"))
	}
	if h.Cty != "" && !slices.Contains(accepted, media(h.Cty)) {
		return "", refuse(Type, "cty is not JWT")
	}
	object, err := gojose.ParseEncryptedCompact(compact, []gojose.KeyAlgorithm{gojose.KeyAlgorithm(key.Alg)},
		[]gojose.ContentEncryption{gojose.ContentEncryption(h.Enc)})
	if err != nil { // its text may quote the header
		return "", refuse(BadHeader, "not understood")
	}
	plain, err := object.Decrypt(key.opener(encryptions[h.Enc]))
	if err != nil {
		return "", refuse(Decrypt, "")
	}
	if !o.Bare && !signed(string(plain)) {
		return "", refuse(Unsigned, "no signed token inside")
	}
	return string(plain), nil
}

// sealedHeader reads the form of an encrypted message, and its header.
func sealedHeader(compact string) (Header, error) {
	p, err := parts(compact, 5)
	if err != nil {
		return Header{}, err
	}
	h, err := header(p[0])
	if err != nil {
		return Header{}, err
	}
	for _, part := range p[1:] {
		if _, err := decode(part); err != nil {
			return Header{}, err
		}
	}
	if h.Alg == ECDHES && p[1] != "" {
		return Header{}, refuse(Shape, "a wrapped key where there is none")
	}
	return h, nil
}

// decrypts finds the key to which a message is encrypted. One that is next may
// be used already: it is published.
func (s *Set) decrypts(id string) (Key, bool) {
	now := s.now()
	i := slices.IndexFunc(s.keys, func(k Key) bool { return k.ID == id && k.Use == Encrypting && s.schedule.State(k, now) != Gone })
	if i < 0 {
		return Key{}, false
	}
	return s.keys[i], true
}

// opener is the key in the form in which go-jose takes it.
func (k Key) opener(size int) any {
	if key, ok := k.Private.(*ecdsa.PrivateKey); ok {
		return key
	}
	return oaep{key: k.Private, alg: k.Alg, size: size}
}

// oaep unwraps content keys with whatever holds an RSA key. A key that cannot
// be unwrapped becomes a random one, so that nobody learns from time or error
// which of both was wrong, the wrapped key or the content.
type oaep struct {
	key  crypto.PrivateKey
	alg  string
	size int
}

// DecryptKey implements gojose.OpaqueKeyDecrypter.
func (o oaep) DecryptKey(wrapped []byte, _ gojose.Header) ([]byte, error) {
	d, ok := o.key.(crypto.Decrypter)
	if !ok {
		return nil, errors.New("no decrypter") // cannot happen: NewSet has seen one
	}
	opts := &rsa.OAEPOptions{Hash: crypto.SHA1}
	if o.alg == RSAOAEP256 {
		opts.Hash = crypto.SHA256
	}
	substitute := make([]byte, o.size)
	rand.Read(substitute)
	key, err := d.Decrypt(rand.Reader, wrapped, opts)
	if err != nil || len(key) != o.size {
		return substitute, nil
	}
	return key, nil
}

// recovered makes an error of a panic: the library is given what strangers have
// written.
func recovered(err *error) {
	if recover() != nil {
		*err = refuse(Decrypt, "")
	}
}
