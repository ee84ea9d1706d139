package notify

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Prefixes of the texts of keys, which are base64 behind them.
const (
	symmetric = "whsec_"
	private   = "whsk_" // Ed25519: 32 bytes of seed and 32 of public key
	public    = "whpk_" // the latter alone
)

// Sign is a Standard Webhooks signature of "id.timestamp.body"
// (docs/webhooks.md): with a secret "whsec_…" it is "v1," and the base64 of the
// HMAC-SHA256, with a private key "whsk_…" it is "v1a," and that of the Ed25519
// signature.
func Sign(secret, id string, at time.Time, body []byte) (string, error) {
	if strings.HasPrefix(secret, private) {
		key, err := keyBytes(private, secret)
		if err != nil || len(key) != ed25519.PrivateKeySize {
			return "", errors.New("the key is not whsk_ and the base64 of 64 bytes")
		}
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(key, append(head(id, at), body...))), nil
	}
	key, err := keyBytes(symmetric, secret)
	if err != nil {
		return "", errors.New("the secret is not whsec_ and base64")
	}
	m := hmac.New(sha256.New, key)
	m.Write(head(id, at))
	m.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)), nil
}

// head is what is signed before the body.
func head(id string, at time.Time) []byte {
	return []byte(id + "." + strconv.FormatInt(at.Unix(), 10) + ".")
}

func keyBytes(prefix, text string) ([]byte, error) {
	raw, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return nil, errors.New("another kind of key")
	}
	return base64.StdEncoding.DecodeString(raw)
}

// Private is the text of a private key, for Sign.
func Private(key ed25519.PrivateKey) string {
	return private + base64.StdEncoding.EncodeToString(key)
}

// Public is the text "whpk_…" that receivers verify what a private key has
// signed with.
func Public(key string) (string, error) {
	raw, err := keyBytes(private, key)
	if err != nil || len(raw) != ed25519.PrivateKeySize {
		return "", errors.New("the key is not whsk_ and the base64 of 64 bytes")
	}
	return public + base64.StdEncoding.EncodeToString(raw[ed25519.SeedSize:]), nil
}

// Verify checks a Standard Webhooks signature as a receiver should, with a
// secret or with a public key: any entry of the list may fit, and the time may
// be five minutes off.
func Verify(secret, id, timestamp, signatures string, body []byte, now time.Time) error {
	unix, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("webhook-timestamp is not a number")
	}
	at := time.Unix(unix, 0)
	if d := now.Sub(at); d > 5*time.Minute || d < -5*time.Minute {
		return errors.New("webhook-timestamp is more than five minutes off")
	}
	fits, err := verifier(secret, id, at, body)
	if err != nil {
		return err
	}
	for _, s := range strings.Fields(signatures) {
		if fits(s) {
			return nil
		}
	}
	return errors.New("no signature fits")
}

// verifier says of an entry of the list whether it is a message's signature.
func verifier(secret, id string, at time.Time, body []byte) (fits func(entry string) bool, err error) {
	if !strings.HasPrefix(secret, public) {
		want, err := Sign(secret, id, at, body)
		return func(entry string) bool { return hmac.Equal([]byte(entry), []byte(want)) }, err
	}
	key, err := keyBytes(public, secret)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, errors.New("the key is not whpk_ and the base64 of 32 bytes")
	}
	text := append(head(id, at), body...)
	return func(entry string) bool {
		raw, ok := strings.CutPrefix(entry, "v1a,")
		sig, err := base64.StdEncoding.DecodeString(raw)
		return ok && err == nil && ed25519.Verify(key, text, sig)
	}, nil
}

// ZignSec is the older signature: the hex HMAC-SHA256 of the body, keyed with
// the text of the API key.
func ZignSec(key string, body []byte, upper bool) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write(body)
	s := hex.EncodeToString(m.Sum(nil))
	if upper {
		return strings.ToUpper(s)
	}
	return s
}
