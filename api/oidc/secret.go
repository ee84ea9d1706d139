package oidc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

// Codes, tokens, handles and cookies begin with the moment at which they were
// made, and so does what is stored of them: rows that are written together
// stand together (decision 17). A moment is no secret; what follows it is one.

// A moment is a time in milliseconds since 1970, big endian.
type moment [6]byte

func momentOf(at time.Time) (m moment) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(max(at.UnixMilli(), 0)))
	copy(m[:], b[2:])
	return m
}

// secretLen is 48 bits and 256 bits in base64url.
const secretLen = 51

// text begins with the moment and ends with 32 bytes that nobody else can know.
func (m moment) text(unknown []byte) string {
	return base64.RawURLEncoding.EncodeToString(append(m[:], unknown...))
}

// secret is a value that nobody guesses.
func (p *Provider) secret() string { return momentOf(p.c.Now()).secret() }

func (m moment) secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return m.text(b[:])
}

// fingerprint is what is stored of a secret, and what it is found by: its
// moment and 208 bits of its SHA-256.
func fingerprint(text string) [32]byte { return said(text).print(text) }

// print is fingerprint where the moment is known.
func (m moment) print(text string) (f [32]byte) {
	sum := sha256.Sum256([]byte(text))
	copy(f[copy(f[:], m[:]):], sum[:])
	return f
}

// said is the moment in a text; zero where there is none. A JWT has it in its jti.
func said(text string) (m moment) {
	if _, rest, jwt := strings.Cut(text, "."); jwt {
		body, _, _ := strings.Cut(rest, ".")
		var token struct {
			ID string `json:"jti"`
		}
		if raw, err := base64.RawURLEncoding.DecodeString(body); err != nil || json.Unmarshal(raw, &token) != nil {
			return m
		}
		text = token.ID
	}
	text = strings.TrimPrefix(strings.TrimPrefix(text, accessPrefix), refreshPrefix)
	if len(text) == secretLen {
		_, _ = base64.RawURLEncoding.Decode(m[:], []byte(text[:8])) // what is no Base64 was not made here
	}
	return m
}

// ordered names a row by an id that stands where its moment does.
func ordered(at time.Time, id string) string {
	m := momentOf(at)
	return hex.EncodeToString(m[:]) + "-" + id
}

// when is the moment of an ordered name.
func when(name string) (m moment) {
	if len(name) > 2*len(m) {
		_, _ = hex.Decode(m[:], []byte(name[:2*len(m)])) // another name has another moment, which does no harm
	}
	return m
}
