package jose

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
)

const (
	maxJWKS  = 256 << 10 // octets of a key set
	maxKeys  = 100       // keys of a set
	maxChain = 8         // certificates of a key
)

// A PublicKey is a key of somebody: RSA, ECDSA or Ed25519, of a size that is
// accepted.
type PublicKey struct {
	ID    string // kid; may be empty
	Use   string // Signing, Encrypting, or empty for both
	Alg   string // the one algorithm that it is for, or empty for whatever fits
	Key   crypto.PublicKey
	Chain []*x509.Certificate // x5c, the key's own first; nobody has checked who issued them
}

// A Query says which key is looked for. An empty ID stands for any.
type Query struct {
	ID, Alg, Use string
	// Certificate is the DER of a certificate: then the key that has it as its
	// own is looked for, whatever the algorithm.
	Certificate string
}

// matches reports whether a key may be used for what a query asks.
func (k PublicKey) matches(q Query) bool {
	if (q.ID != "" && k.ID != q.ID) || (k.Use != "" && k.Use != q.Use) {
		return false
	}
	if q.Certificate != "" {
		return len(k.Chain) > 0 && string(k.Chain[0].Raw) == q.Certificate
	}
	return (k.Alg == "" || k.Alg == q.Alg) && fits(q.Alg, k.Key)
}

// Keys finds keys of one party. Finding none is no error; not being able to
// look is one. [Ring], [Set] and [Remote.Party] give some.
type Keys interface {
	Find(ctx context.Context, q Query) ([]PublicKey, error)
}

// A Ring is a party's key set by value.
type Ring struct {
	Keys    []PublicKey
	Ignored int // keys of a kind, curve or size that is not used here
}

// Find implements Keys.
func (r *Ring) Find(_ context.Context, q Query) ([]PublicKey, error) {
	var found []PublicKey
	for _, k := range r.Keys {
		if k.matches(q) {
			found = append(found, k)
		}
	}
	return found, nil
}

// ParseJWKS reads a key set of RFC 7517: at most 256 KiB and 100 keys (§5). What
// is of another kind, curve or size is ignored, as that RFC wants; a private or
// symmetric key makes all of the set unusable, since it is no secret any more.
func ParseJWKS(raw []byte) (*Ring, error) {
	if len(raw) > maxJWKS {
		return nil, refuse(Size, "key set")
	}
	members, err := Object(raw)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(members["keys"], &list); err != nil || list == nil {
		return nil, refuse(JSON, "keys is no array")
	}
	if len(list) > maxKeys {
		return nil, refuse(Size, "number of keys")
	}
	ring := &Ring{}
	for _, one := range list {
		key, err := ParseJWK(one)
		if e, ok := errors.AsType[*Error](err); ok && e.Kind == NoKey {
			ring.Ignored++
			continue
		}
		if err != nil {
			return nil, err
		}
		ring.Keys = append(ring.Keys, key)
	}
	return ring, nil
}

// secrets are the members that only a private or symmetric key has.
var secrets = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// ParseJWK reads one public key. An error of kind [NoKey] means that it is well
// written, but of no use here.
func ParseJWK(raw []byte) (PublicKey, error) {
	if len(raw) > maxMessage {
		return PublicKey{}, refuse(Size, "key")
	}
	members, err := Object(raw)
	if err != nil {
		return PublicKey{}, err
	}
	for _, name := range secrets {
		if _, ok := members[name]; ok {
			return PublicKey{}, refuse(Private, "member "+name)
		}
	}
	var k PublicKey
	var kty string
	for _, m := range []struct {
		name string
		into *string
	}{{"kty", &kty}, {"kid", &k.ID}, {"use", &k.Use}, {"alg", &k.Alg}} {
		if *m.into, _, err = text(members, m.name); err != nil {
			return PublicKey{}, err
		}
	}
	switch kty {
	case "RSA":
		k.Key, err = rsaKey(members)
	case "EC":
		k.Key, err = ecKey(members)
	case "OKP":
		k.Key, err = edKey(members)
	default:
		err = refuse(NoKey, "kty")
	}
	if err != nil {
		return PublicKey{}, err
	}
	if k.Alg != "" && !fits(k.Alg, k.Key) {
		return PublicKey{}, refuse(NoKey, "alg does not fit the key")
	}
	if k.Use, err = use(k.Use, members["key_ops"]); err != nil {
		return PublicKey{}, err
	}
	if k.Chain, err = chain(members["x5c"], k.Key); err != nil {
		return PublicKey{}, err
	}
	return k, nil
}

// use tells what a key is for, from both members that may say so.
func use(use string, ops json.RawMessage) (string, error) {
	if use != "" && use != Signing && use != Encrypting {
		return "", refuse(NoKey, "use")
	}
	if ops == nil {
		return use, nil
	}
	var list []string
	if err := json.Unmarshal(ops, &list); err != nil {
		return "", refuse(JSON, "key_ops is no array of strings")
	}
	verifies := slices.Contains(list, "verify")
	encrypts := slices.ContainsFunc(list, func(op string) bool {
		return op == "encrypt" || op == "wrapKey" || op == "deriveKey" || op == "deriveBits"
	})
	switch {
	case verifies && encrypts:
		return use, nil
	case verifies && use != Encrypting:
		return Signing, nil
	case encrypts && use != Signing:
		return Encrypting, nil
	}
	return "", refuse(NoKey, "key_ops")
}

// octets reads a member in base64url.
func octets(members map[string]json.RawMessage, name string) ([]byte, error) {
	s, ok, err := text(members, name)
	if err != nil {
		return nil, err
	}
	if !ok || s == "" {
		return nil, refuse(NoKey, "no "+name)
	}
	return decode(s)
}

func rsaKey(members map[string]json.RawMessage) (crypto.PublicKey, error) {
	n, err := octets(members, "n")
	if err != nil {
		return nil, err
	}
	e, err := octets(members, "e")
	if err != nil {
		return nil, err
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 {
		return nil, refuse(NoKey, "exponent of the RSA key")
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}
	if !sound(key) {
		return nil, refuse(NoKey, "size of the RSA key")
	}
	return key, nil
}

var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

func ecKey(members map[string]json.RawMessage) (crypto.PublicKey, error) {
	name, _, err := text(members, "crv")
	if err != nil {
		return nil, err
	}
	curve, ok := curves[name]
	if !ok {
		return nil, refuse(NoKey, "crv")
	}
	size := (curve.Params().BitSize + 7) / 8
	point := []byte{4} // uncompressed
	for _, name := range []string{"x", "y"} {
		c, err := octets(members, name)
		if err != nil {
			return nil, err
		}
		if len(c) != size {
			return nil, refuse(NoKey, "length of "+name)
		}
		point = append(point, c...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, refuse(NoKey, "point not on its curve")
	}
	return key, nil
}

func edKey(members map[string]json.RawMessage) (crypto.PublicKey, error) {
	name, _, err := text(members, "crv")
	if err != nil {
		return nil, err
	}
	if name != "Ed25519" {
		return nil, refuse(NoKey, "crv")
	}
	x, err := octets(members, "x")
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, refuse(NoKey, "length of x")
	}
	return ed25519.PublicKey(x), nil
}

// chain reads x5c, whose first certificate must be for the key.
func chain(raw json.RawMessage, key crypto.PublicKey) ([]*x509.Certificate, error) {
	if raw == nil {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 || len(list) > maxChain {
		return nil, refuse(JSON, "x5c is no array of certificates")
	}
	var certs []*x509.Certificate
	for _, s := range list {
		der, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, refuse(Encoding, "x5c")
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, refuse(NoKey, "x5c holds no certificate")
		}
		certs = append(certs, cert)
	}
	if !equal(certs[0].PublicKey, key) {
		return nil, refuse(NoKey, "x5c is for another key")
	}
	return certs, nil
}

func equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// member is one of a JWK, in the order in which it is written.
type member struct{ name, value string }

// parameters are the members that make a public key, in the order in which the
// API that we are compatible with writes those of RSA, e first.
func parameters(key crypto.PublicKey) (kty string, list []member, err error) {
	b64 := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case *rsa.PublicKey:
		return "RSA", []member{{"e", b64(big.NewInt(int64(key.E)).Bytes())}, {"n", b64(key.N.Bytes())}}, nil
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			return "", nil, refuse(NoKey, "point not on its curve")
		}
		x, y := point[1:1+len(point)/2], point[1+len(point)/2:]
		return "EC", []member{{"crv", key.Curve.Params().Name}, {"x", b64(x)}, {"y", b64(y)}}, nil
	case ed25519.PublicKey:
		return "OKP", []member{{"crv", "Ed25519"}, {"x", b64(key)}}, nil
	}
	return "", nil, refuse(NoKey, "kind of key")
}

// Thumbprint names a key by its members: base64url of SHA-256 (RFC 7638).
func Thumbprint(key crypto.PublicKey) (string, error) {
	kty, list, err := parameters(key)
	if err != nil {
		return "", err
	}
	list = append(list, member{"kty", kty})
	slices.SortFunc(list, func(a, b member) int { return strings.Compare(a.name, b.name) })
	sum := sha256.Sum256(write(list))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// write makes an object of members that are visible ASCII without quotes and
// backslashes.
func write(list []member) []byte {
	out := append(make([]byte, 0, 128), '{')
	for i, m := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), m.name...), `":"`...)
		out = append(append(out, m.value...), '"')
	}
	return append(out, '}')
}
