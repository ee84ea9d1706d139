package openid

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
)

// A Member is one of a JSON object whose order is kept.
type Member struct {
	Name  string
	Value any
}

// Members are a JSON object.
type Members []Member

// MarshalJSON implements json.Marshaler.
func (ms Members) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range ms {
		name, err := json.Marshal(m.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.Value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}

// Set changes the value of a member that is there.
func (ms Members) Set(name string, value any) {
	for i := range ms {
		if ms[i].Name == name {
			ms[i].Value = value
		}
	}
}

// Say answers with JSON.
func Say(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

// Back sends a browser to a way back with more parameters, in their order.
func Back(w http.ResponseWriter, r *http.Request, status int, back string, params ...string) {
	u, err := url.Parse(back)
	if err != nil { // it was compared with a registered one
		http.Error(w, "The way back is no address.", http.StatusInternalServerError)
		return
	}
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] == "" {
			continue
		}
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += url.QueryEscape(params[i]) + "=" + url.QueryEscape(params[i+1])
	}
	http.Redirect(w, r, u.String(), status)
}

// NewKey is a new RSA key of 2048 bits.
func NewKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system's randomness has failed
	}
	return k
}

// NewKeys makes some side by side: a sandbox starts while somebody waits.
func NewKeys(n int) []*rsa.PrivateKey {
	out := make([]*rsa.PrivateKey, n)
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() { out[i] = NewKey() })
	}
	wg.Wait()
	return out
}

// PEM is a key as PKCS#8.
func PEM(k *rsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// What a fault of a .result target does to tokens.
const (
	WrongKID      = "wrong_kid"
	Unsigned      = "unsigned"
	OtherSubject  = "other_sub" // UserInfo only
	OtherIssuer   = "wrong_issuer"
	OtherAudience = "wrong_audience"
	OtherNonce    = "wrong_nonce" // ID token only
	Over          = "expired"
	BadSignature  = "bad_signature"
)

// ResultFaults are all of them.
func ResultFaults() []string {
	return []string{WrongKID, Unsigned, OtherSubject, OtherIssuer, OtherAudience, OtherNonce, Over, BadSignature}
}

// CallFaults are those of calls.
func CallFaults() []string {
	return []string{sandbox.Delay, sandbox.Status, sandbox.HTML, sandbox.Reset, sandbox.Garbage, sandbox.Truncate}
}

// Sign signs claims with RS256, with what a fault spoils. Its header has alg,
// kid and, unless it is "", typ, in this order.
func Sign(k *rsa.PrivateKey, kid, typ string, claims any, fault string) (string, error) {
	raw, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	if fault == WrongKID {
		kid = "retired"
	}
	var options jose.SignerOptions
	if typ != "" {
		options.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: k, KeyID: kid}}, &options)
	if err != nil {
		return "", err
	}
	j, err := signer.Sign(raw)
	if err != nil {
		return "", err
	}
	token, err := j.CompactSerialize()
	if err != nil {
		return "", err
	}
	switch fault {
	case Unsigned:
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(raw) + ".", nil
	case BadSignature:
		i := strings.LastIndexByte(token, '.') + 10
		other := byte('A')
		if token[i] == other {
			other = 'B'
		}
		return token[:i] + string(other) + token[i+1:], nil
	}
	return token, nil
}

// HalfHash is at_hash of an access token, for RS256.
func HalfHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Bad is how a provider answers a call that a fault refuses.
type Bad func(w http.ResponseWriter, code string)

// Faulty lets faults of the targets have their way with a call.
func Faulty(faults *sandbox.Faults, bad Bad, next http.HandlerFunc, targets ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x, hit := faults.Take(targets...)
		switch {
		case !hit:
			next(w, r)
		case x.Kind == sandbox.Refuse:
			bad(w, x.Value)
		default:
			x.Apply(w, r, next)
		}
	}
}
