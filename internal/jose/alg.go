package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // RS256 and the like
	_ "crypto/sha512"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Algorithms of signatures, and there are no others (§3). EdDSA is Ed25519.
const (
	RS256, RS384, RS512 = "RS256", "RS384", "RS512"
	PS256, PS384, PS512 = "PS256", "PS384", "PS512"
	ES256, ES384, ES512 = "ES256", "ES384", "ES512"
	EdDSA               = "EdDSA"
)

// Algorithms that agree on the key of an encrypted message, and those that
// encrypt its content (§6).
const (
	RSAOAEP, RSAOAEP256  = "RSA-OAEP", "RSA-OAEP-256"
	ECDHES, ECDHESA256KW = "ECDH-ES", "ECDH-ES+A256KW"

	A128CBCHS256, A192CBCHS384, A256CBCHS512 = "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512"
	A256GCM                                  = "A256GCM"
)

// What a key is for.
const (
	Signing    = "sig"
	Encrypting = "enc"
)

const minRSA, maxRSA = 2048, 8192 // bits of a modulus

type scheme struct {
	hash  crypto.Hash
	pss   bool
	curve elliptic.Curve // nil for RSA and Ed25519
	size  int            // octets of each half of a signature on that curve
}

var signatures = map[string]scheme{
	RS256: {hash: crypto.SHA256},
	RS384: {hash: crypto.SHA384},
	RS512: {hash: crypto.SHA512},
	PS256: {hash: crypto.SHA256, pss: true},
	PS384: {hash: crypto.SHA384, pss: true},
	PS512: {hash: crypto.SHA512, pss: true},
	ES256: {hash: crypto.SHA256, curve: elliptic.P256(), size: 32},
	ES384: {hash: crypto.SHA384, curve: elliptic.P384(), size: 48},
	ES512: {hash: crypto.SHA512, curve: elliptic.P521(), size: 66},
	EdDSA: {},
}

// encryptions tells the octets of the key that each content encryption takes.
var encryptions = map[string]int{A128CBCHS256: 32, A192CBCHS384: 48, A256CBCHS512: 64, A256GCM: 32}

// fits reports whether a key may be used with an algorithm of either kind.
func fits(alg string, key crypto.PublicKey) bool {
	s, signs := signatures[alg]
	switch key := key.(type) {
	case *rsa.PublicKey:
		return sound(key) && (signs && s.hash != 0 && s.curve == nil || alg == RSAOAEP || alg == RSAOAEP256)
	case *ecdsa.PublicKey:
		if signs {
			return s.curve != nil && s.curve == key.Curve
		}
		return (alg == ECDHES || alg == ECDHESA256KW) && (key.Curve == elliptic.P256() || key.Curve == elliptic.P384() || key.Curve == elliptic.P521())
	case ed25519.PublicKey:
		return alg == EdDSA && len(key) == ed25519.PublicKeySize
	}
	return false
}

// sound refuses moduli that are weak or cost too much, and exponents that are
// neither common nor useful.
func sound(key *rsa.PublicKey) bool {
	bits := key.N.BitLen()
	return bits >= minRSA && bits <= maxRSA && key.N.Bit(0) == 1 && key.E >= 3 && key.E&1 == 1
}

// digest hashes what Ed25519 hashes by itself, where h is zero, not at all.
func digest(h crypto.Hash, input string) []byte {
	if h == 0 {
		return []byte(input)
	}
	d := h.New()
	d.Write([]byte(input))
	return d.Sum(nil)
}

// sign makes the signature of RFC 7518 section 3 or RFC 8037. The key fits.
func sign(alg string, key crypto.Signer, input string) ([]byte, error) {
	s := signatures[alg]
	var opts crypto.SignerOpts = s.hash
	if s.pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
	}
	random := rand.Reader
	if s.curve != nil {
		random = nil // RFC 6979: no number that must be random and secret each time, and a sixth less to compute
	}
	sig, err := key.Sign(random, digest(s.hash, input), opts)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if s.curve == nil {
		return sig, nil
	}
	both := make([]byte, 2*s.size)
	if !numbers(sig, both[:s.size], both[s.size:]) {
		return nil, errors.New("sign: signature outside its curve")
	}
	return both, nil
}

// numbers reads the two numbers of an ECDSA signature in ASN.1 (RFC 3279
// section 2.2.3), which are positive, and writes them at the ends of r and s.
func numbers(sig, r, s []byte) bool {
	in, both := cryptobyte.String(sig), cryptobyte.String(nil)
	if !in.ReadASN1(&both, asn1.SEQUENCE) || !in.Empty() {
		return false
	}
	for _, into := range [][]byte{r, s} {
		var n []byte // without leading zeros
		if !both.ReadASN1Integer(&n) || n[0] == 0 || len(n) > len(into) {
			return false
		}
		copy(into[len(into)-len(n):], n)
	}
	return both.Empty()
}

// verify checks such a signature. The key fits.
func verify(alg string, key crypto.PublicKey, input string, sig []byte) bool {
	s, hashed := signatures[alg], digest(signatures[alg].hash, input)
	switch key := key.(type) {
	case *rsa.PublicKey:
		if s.pss {
			return rsa.VerifyPSS(key, s.hash, hashed, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(key, s.hash, hashed, sig) == nil
	case *ecdsa.PublicKey:
		if len(sig) != 2*s.size {
			return false
		}
		return ecdsa.Verify(key, hashed, new(big.Int).SetBytes(sig[:s.size]), new(big.Int).SetBytes(sig[s.size:]))
	case ed25519.PublicKey:
		return ed25519.Verify(key, hashed, sig)
	}
	return false
}
