package openid

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"eidgate/eid"
	"eidgate/internal/jose"
	"eidgate/internal/oidcrp"
	"eidgate/natid"
)

// Settings are those that every dialect has.
type Settings struct {
	Issuer    string            `json:"issuer"`
	ClientID  string            `json:"client_id"`
	Auth      oidcrp.AuthMethod `json:"auth"`
	Secret    string            `json:"secret,omitempty"`
	Keys      []Key             `json:"keys,omitempty"` // the newest first
	AllowHTTP bool              `json:"allow_http,omitempty"`
}

// A Key is one of ours at a provider. Its public half is published.
type Key struct {
	ID    string    `json:"id"`  // kid
	Use   string    `json:"use"` // "sig" or "enc"
	Alg   string    `json:"alg"` // RS256, ES256 … or RSA-OAEP-256 …
	PEM   string    `json:"pem"` // PKCS#8, PKCS#1 or SEC 1
	Until time.Time `json:"until,omitzero"`
}

// LogValue hides the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

func (k Key) String() string { return "key " + k.ID }

// GoString is String.
func (k Key) GoString() string { return k.String() }

// LogValue hides secret and keys.
func (s Settings) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (s Settings) String() string { return "settings at " + s.Issuer }

// GoString is String.
func (s Settings) GoString() string { return s.String() }

// overlap is how long a retired key still opens messages, and how long a
// provider may keep a copy of our set: the keys of two rotations overlap by it.
const overlap = 24 * time.Hour

// Set is our keys, ready for use; nil for none. A key to sign is published at
// once and used when the older one below it has ended: a provider may keep a
// copy of our set that lacks it.
func (s Settings) Set(now func() time.Time) (*jose.Set, error) {
	if len(s.Keys) == 0 {
		return nil, nil
	}
	var keys []jose.Key
	var from time.Time
	for i, k := range slices.Backward(s.Keys) {
		private, err := privateKey(k.PEM)
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		key := jose.Key{ID: k.ID, Use: k.Use, Alg: k.Alg, Private: private, Until: k.Until}
		if k.Use == jose.Signing && (k.Until.IsZero() || k.Until.After(from)) {
			key.From, from = from, k.Until
		}
		keys = append(keys, key)
	}
	return jose.NewSet(jose.Schedule{Cache: overlap}, now, keys...)
}

// Signs says whether any of our keys is to sign.
func (s Settings) Signs() bool { return s.has(jose.Signing) }

// Opens says whether any of our keys decrypts.
func (s Settings) Opens() bool { return s.has(jose.Encrypting) }

func (s Settings) has(use string) bool {
	return slices.ContainsFunc(s.Keys, func(k Key) bool { return k.Use == use })
}

// JWKS is the public half of our keys, for the provider.
func (s Settings) JWKS(now func() time.Time) ([]byte, error) {
	set, err := s.Set(now)
	if err != nil || set == nil {
		return nil, err
	}
	body, _ := set.JWKS()
	return body, nil
}

// Config is the relying party that all dialects begin with.
func (s Settings) Config(now func() time.Time) (oidcrp.Config, error) {
	set, err := s.Set(now)
	return oidcrp.Config{Issuer: s.Issuer, ClientID: s.ClientID, Auth: s.Auth, Secret: s.Secret, Keys: set, AllowHTTP: s.AllowHTTP}, err
}

func privateKey(text string) (crypto.PrivateKey, error) {
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		return nil, errors.New("no PEM")
	}
	if k, err := x509.ParsePKCS8PrivateKey(b.Bytes); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(b.Bytes); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS1PrivateKey(b.Bytes)
	if err != nil {
		return nil, errors.New("no private key in PKCS#8, PKCS#1 or SEC 1")
	}
	return k, nil
}

// SigningAlg is what a key in PEM signs with: its kind decides (RFC 7518 section
// 3.1).
func SigningAlg(text string) (string, error) {
	const kinds = "must be a private key of RSA with 2048 to 8192 bits, or of EC on P-256 or P-384, without a password"
	key, err := privateKey(text)
	if err != nil {
		return "", errors.New(kinds)
	}
	kind := "of another kind"
	switch key := key.(type) {
	case *rsa.PrivateKey:
		bits := key.N.BitLen()
		if bits >= 2048 && bits <= 8192 {
			return jose.RS256, nil
		}
		kind = fmt.Sprintf("RSA with %d bits", bits)
	case *ecdsa.PrivateKey:
		switch key.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		}
		kind = "EC on " + key.Curve.Params().Name
	case ed25519.PrivateKey:
		kind = "Ed25519"
	}
	return "", fmt.Errorf("%s; this one is %s", kinds, kind)
}

// Claims are claims of a token or of UserInfo, read with the patience that
// providers need: a claim of another type is one that is not there.
type Claims map[string]json.RawMessage

// Text is a claim that is a string; numbers and booleans as they are written.
func (c Claims) Text(name string) string {
	raw := c[name]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	var b bool
	if json.Unmarshal(raw, &b) == nil && string(raw) != "null" {
		return fmt.Sprint(b)
	}
	return ""
}

// Truth is a claim that is a boolean, as such or as text.
func (c Claims) Truth(name string) (value, ok bool) {
	switch c.Text(name) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// List is a claim that is an array of strings, or one of them.
func (c Claims) List(name string) (out []string) {
	if json.Unmarshal(c[name], &out) == nil {
		return out
	}
	if s := c.Text(name); s != "" {
		return []string{s}
	}
	return nil
}

// Object is a claim that is an object, as such or as a string that holds one.
func (c Claims) Object(name string) Claims {
	raw := []byte(c[name])
	var s string
	if json.Unmarshal(raw, &s) == nil {
		raw = []byte(s)
	}
	out := Claims{}
	if json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

// Number is a number of a country in its one form; as it came where it has none.
func Number(country, text string, now time.Time) eid.Number {
	if info, err := natid.Parse(country, text, now); err == nil {
		return eid.Number(info.Normalized)
	}
	return eid.Number(text)
}

// Years is the age of somebody born on a day, YYYY-MM-DD; nil where that is not
// known.
func Years(country, birth string, now time.Time) *int {
	day, err := natid.ParseDate(birth)
	if err != nil {
		return nil
	}
	if years, ok := natid.AgeAt(country, day, now); ok {
		return &years
	}
	return nil
}

// Birth is a date YYYY-MM-DD that exists; "" for anything else.
func Birth(text string) string {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return ""
	}
	return text
}
