package conformance

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// What relying parties do with JSON web tokens, by a library that the provider
// does not use: a mistake that both sides made would not be seen.

var b64 = base64.RawURLEncoding

// A key is one of a relying party.
type key struct {
	alg, kid string
	private  crypto.Signer
}

// theRSA is for everybody, since making such keys is slow.
var theRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newKey(t testing.TB, alg, kid string) *key {
	t.Helper()
	k := &key{alg: alg, kid: kid}
	var err error
	switch alg {
	case "ES256":
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		k.private = theRSA()
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// as is the same key with another algorithm.
func (k *key) as(alg string) *key { return &key{alg, k.kid, k.private} }

// members are those that make a public key, and its thumbprint.
func (k *key) members() map[string]any {
	switch pub := k.private.Public().(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": b64.EncodeToString(pub.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(pub.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			panic(err) // a key of ours
		}
		return map[string]any{"kty": "EC", "crv": "P-256", "x": b64.EncodeToString(point[1:33]), "y": b64.EncodeToString(point[33:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64.EncodeToString(pub)}
	}
	panic("a key of another kind")
}

// jwk is how the key is registered.
func (k *key) jwk() map[string]any {
	m := k.members()
	m["kid"], m["use"], m["alg"] = k.kid, "sig", k.alg
	return m
}

// thumbprint is that of RFC 7638.
func (k *key) thumbprint() string {
	raw, err := json.Marshal(k.members()) // members in the order of their names
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(raw)
	return b64.EncodeToString(sum[:])
}

// A change sets a member, or takes it away with nil.
type change map[string]any

func (c change) to(m map[string]any) map[string]any {
	maps.Copy(m, c)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

// sign makes a token, whatever its header says of itself.
func (k *key) sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	h := change(header).to(map[string]any{"alg": k.alg, "kid": k.kid})
	method := jwt.GetSigningMethod(k.alg)
	var with any = k.private
	if k.alg == "none" {
		with = jwt.UnsafeAllowNoneSignatureType
	}
	head, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := b64.EncodeToString(head) + "." + b64.EncodeToString(body)
	sig, err := method.Sign(text, with)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64.EncodeToString(sig)
}

// spoil alters a token's signature.
func spoil(token string) string {
	i := strings.LastIndex(token, ".") + 5
	other := "A"
	if token[i] == 'A' {
		other = "B"
	}
	return token[:i] + other + token[i+1:]
}

// A published key is one of the provider.
type published struct {
	alg, use string
	public   crypto.PublicKey
}

// parseJWK reads a public key as strictly as its checks demand.
func parseJWK(m map[string]any) (published, error) {
	text := func(name string) string { v, _ := m[name].(string); return v }
	for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, there := m[secret]; there {
			return published{}, fmt.Errorf("has the private member %s", secret)
		}
	}
	out := published{alg: text("alg"), use: text("use")}
	var raw [3][]byte
	for i, name := range []string{"n", "x", "y"} {
		var err error
		if raw[i], err = b64.Strict().DecodeString(text(name)); err != nil {
			return out, fmt.Errorf("member %s: %w", name, err)
		}
	}
	switch text("kty") + " " + text("crv") {
	case "RSA ":
		e, err := b64.Strict().DecodeString(text("e"))
		n := new(big.Int).SetBytes(raw[0])
		if err != nil || n.BitLen() < 2048 {
			return out, fmt.Errorf("RSA of %d bits, %w", n.BitLen(), err)
		}
		out.public = &rsa.PublicKey{N: n, E: int(new(big.Int).SetBytes(e).Int64())}
	case "EC P-256":
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, raw[1]...), raw[2]...))
		if err != nil {
			return out, err
		}
		out.public = pub
	case "OKP Ed25519":
		if len(raw[1]) != ed25519.PublicKeySize {
			return out, fmt.Errorf("Ed25519 of %d octets", len(raw[1]))
		}
		out.public = ed25519.PublicKey(raw[1])
	default:
		return out, fmt.Errorf("is of the kind %q", text("kty")+" "+text("crv"))
	}
	return out, nil
}

// verify reads a token that the provider has signed, by the key that it names.
func (p *provider) verify(t testing.TB, token string, algs ...string) (header, claims map[string]any) {
	t.Helper()
	parser := jwt.NewParser(jwt.WithValidMethods(algs), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding(), jwt.WithJSONNumber())
	got := jwt.MapClaims{}
	tok, err := parser.ParseWithClaims(token, got, func(tok *jwt.Token) (any, error) {
		kid, _ := tok.Header["kid"].(string)
		k, found := p.keys[kid]
		if !found || k.use != "sig" || k.alg != tok.Header["alg"] {
			return nil, fmt.Errorf("no published key is called %q and signs with %v", kid, tok.Header["alg"])
		}
		return k.public, nil
	})
	if err != nil {
		t.Fatalf("token of the provider: %v", err)
	}
	return tok.Header, got
}

// halfHash is at_hash for a token (OpenID Connect Core, section 3.1.3.6).
func halfHash(alg, token string) string {
	if alg == "EdDSA" {
		sum := sha512.Sum512([]byte(token))
		return b64.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(token))
	return b64.EncodeToString(sum[:16])
}

// random is text of n characters that nobody has seen.
func random(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(rand.Text())
	}
	return b.String()[:n]
}
