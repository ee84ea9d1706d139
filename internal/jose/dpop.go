package jose

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"time"
)

const (
	maxProof = 8 << 10 // octets of a proof (§9)
	maxID    = 256     // octets of its jti
)

// A Proof is a DPoP proof (RFC 9449) whose signature was checked with the key
// that it carries: its sender holds that key. Whether it is that of a token, is
// recent, and is used once is the caller's affair.
type Proof struct {
	JKT         string // thumbprint of the key
	Alg         string
	ID          string // jti, 1 to 256 octets
	Method, URL string // htm and htu, as claimed
	IssuedAt    time.Time
	TokenHash   string // ath, or empty
	Nonce       string // or empty
	Claims      *Claims
}

// ReadProof reads the value of a DPoP header of at most 8 KiB (§9).
func ReadProof(compact string, algs []string) (*Proof, error) {
	if len(compact) > maxProof {
		return nil, refuse(Size, "proof")
	}
	m, err := parse(compact)
	if err != nil {
		return nil, err
	}
	if err := (Rule{Algs: algs, Typ: []string{"dpop+jwt"}, TypRequired: true}).admits(m.header); err != nil {
		return nil, err
	}
	raw, ok := m.header.Raw["jwk"]
	if !ok {
		return nil, refuse(NoKey, "no jwk")
	}
	key, err := ParseJWK(raw)
	if err != nil {
		return nil, err
	}
	if !key.matches(Query{Alg: m.header.Alg, Use: Signing}) {
		return nil, refuse(NoKey, "jwk is not for this algorithm")
	}
	v, err := m.verify([]PublicKey{key})
	if err != nil {
		return nil, err
	}
	p := &Proof{Alg: m.header.Alg}
	if p.JKT, err = Thumbprint(key.Key); err != nil {
		return nil, err
	}
	if err := p.read(v); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Proof) read(v *Verified) (err error) {
	if p.Claims, err = v.Claims(); err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		into *string
	}{{"htm", &p.Method}, {"htu", &p.URL}} {
		if *m.into, _, err = text(p.Claims.Raw, m.name); err != nil {
			return refuse(Claim, m.name+" is no string")
		}
		if *m.into == "" {
			return refuse(Claim, "no "+m.name)
		}
	}
	var bound bool
	if p.TokenHash, bound, err = text(p.Claims.Raw, "ath"); err != nil {
		return refuse(Claim, "ath is no string")
	}
	p.ID, p.Nonce, p.IssuedAt = p.Claims.ID, p.Claims.Nonce, p.Claims.IssuedAt
	switch {
	case p.ID == "" || len(p.ID) > maxID:
		return refuse(Claim, "jti is absent or too long")
	case p.IssuedAt.IsZero():
		return refuse(Claim, "no iat")
	}
	if hash, err := decode(p.TokenHash); bound && (err != nil || len(hash) != sha256.Size) {
		return refuse(Claim, "ath is no hash")
	}
	return nil
}

// For reports whether the proof is for a request with this method and URL.
// Query and fragment do not count, nor the case of scheme and host, nor a port
// that is the scheme's own.
func (p *Proof) For(method, address string) bool {
	claimed, ok := target(p.URL)
	actual, ok2 := target(address)
	return ok && ok2 && p.Method == method && claimed == actual
}

// Bound reports whether the proof is for this access token.
func (p *Proof) Bound(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return p.TokenHash == base64.RawURLEncoding.EncodeToString(sum[:])
}

func target(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil { // an opaque one has no host
		return "", false
	}
	scheme, host, path := strings.ToLower(u.Scheme), strings.ToLower(u.Host), u.EscapedPath()
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	if path == "" {
		path = "/"
	}
	return scheme + "://" + host + path, true
}
