// Package idinqr speaks iDIN QR: it has codes made for a screen, and reads what
// the QR back-end asks once somebody has scanned one and chosen a bank.
// docs/protocols/idinqr.md describes it; § in comments refers to that file.
//
// The result of a login does not come this way: whoever answers a Call has
// started an iDIN transaction, and asks the routing service how it ended.
package idinqr

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// HashHeader carries the hash of a body in everything that the back-end sends:
// its answers and its calls (§4).
const HashHeader = "X-Idin-Qr-Hash"

// ErrHash means that a message does not come from the back-end, or has been
// altered on its way.
var ErrHash = errors.New("iDIN QR hash does not fit the message")

// A Key is the secret signing key.
type Key []byte

// A KeyMode says how the text of a key becomes bytes. No public source does
// (§4), hence a setting.
type KeyMode string

const (
	UTF8   KeyMode = "utf8" // the text itself; also the meaning of ""
	Hex    KeyMode = "hex"
	Base64 KeyMode = "base64" // with padding
)

// ParseKey reads a key as the registration gives it.
func ParseKey(text string, mode KeyMode) (Key, error) {
	var key []byte
	var err error
	switch mode {
	case UTF8, "":
		key = []byte(text)
	case Hex:
		key, err = hex.DecodeString(text)
	case Base64:
		key, err = base64.StdEncoding.DecodeString(text)
	default:
		return nil, fmt.Errorf("iDIN QR key: the mode is none of utf8, hex and base64")
	}
	switch {
	case err != nil: // whose text would repeat a part of the key
		return nil, fmt.Errorf("iDIN QR key: the text is not %s", mode)
	case len(key) == 0:
		return nil, errors.New("iDIN QR key: it is empty")
	}
	return key, nil
}

// Hash is the value of HashHeader for a body: HMAC-SHA256 in small hex.
func (k Key) Hash(body []byte) string {
	mac := hmac.New(sha256.New, k)
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Verify compares a hash, in hex of either case, with a body exactly as it
// came. An empty key verifies nothing. The error is ErrHash.
func (k Key) Verify(body []byte, hash string) error {
	if len(k) == 0 || !hmac.Equal([]byte(strings.ToLower(hash)), []byte(k.Hash(body))) {
		return ErrHash
	}
	return nil
}
