// Package seal encrypts what a database may not show. A master key, kept
// outside the database, wraps a random data key for each record; the data key
// seals the record's values. Destroying the wrapped key destroys the record,
// in every copy that does not hold it too.
//
// Everything is AES-256-GCM with a random 96-bit nonce, and bound to the place
// where it belongs, so that a value moved elsewhere does not open.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
)

// ErrOpen means that a value was not sealed with this key for this place.
var ErrOpen = errors.New("sealed value does not open")

// A Key seals and opens. It is safe for concurrent use.
type Key struct{ aead cipher.AEAD }

// NewKey makes a key of 32 bytes.
func NewKey(raw []byte) (*Key, error) {
	if len(raw) != 32 {
		return nil, errors.New("a key has 32 bytes")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Key{aead}, nil
}

// Seal encrypts a value for a place: table, row and column.
func (k *Key) Seal(place string, value []byte) []byte {
	out := make([]byte, k.aead.NonceSize(), k.aead.NonceSize()+len(value)+k.aead.Overhead())
	_, _ = rand.Read(out) // never fails
	return k.aead.Seal(out, out, value, []byte(place))
}

// Open decrypts a value of a place; ErrOpen for every failure alike.
func (k *Key) Open(place string, sealed []byte) ([]byte, error) {
	n := k.aead.NonceSize()
	if len(sealed) < n {
		return nil, ErrOpen
	}
	out, err := k.aead.Open(nil, sealed[:n], sealed[n:], []byte(place))
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

// Place names where a sealed value belongs.
func Place(table, row, column string) string { return table + "|" + row + "|" + column }

// New makes a data key and wraps it for a place.
func (k *Key) New(place string) (data *Key, wrapped []byte, err error) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	data, err = NewKey(raw)
	return data, k.Seal(place, raw), err
}

// Unwrap opens a data key that New has wrapped.
func (k *Key) Unwrap(place string, wrapped []byte) (*Key, error) {
	raw, err := k.Open(place, wrapped)
	if err != nil {
		return nil, err
	}
	return NewKey(raw)
}
