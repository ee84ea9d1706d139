package jose_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/internal/jose"
)

// proof makes a DPoP proof with some members of header and claims replaced; a
// nil value leaves one out.
func proof(t testing.TB, key *ecdsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	h := map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": json.RawMessage(public(t, key))}
	c := map[string]any{"jti": "id-1", "htm": "POST", "htu": "https://eid.example/token", "iat": now.Unix()}
	return raw(t, key, merged(t, h, header), merged(t, c, claims))
}

func merged(t testing.TB, m, with map[string]any) string {
	t.Helper()
	maps.Copy(m, with)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReadProof(t *testing.T) {
	t.Parallel()
	key := curveKey(t, elliptic.P256())
	ath := sha256.Sum256([]byte("token"))
	p, err := jose.ReadProof(proof(t, key, map[string]any{"x": "more"}, map[string]any{
		"ath": b64(ath[:]), "nonce": "n", "nbf": now.Unix(), "exp": now.Unix() + 60, "more": []int{1},
	}), []string{"ES256"})
	if err != nil {
		t.Fatal(err)
	}
	print, err := jose.Thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if p.JKT != print || p.ID != "id-1" || p.Method != "POST" || p.URL != "https://eid.example/token" || !p.IssuedAt.Equal(now) ||
		p.Nonce != "n" || !p.Bound("token") || p.Bound("other") || p.Alg != "ES256" {
		t.Errorf("read %#v", *p)
	}
	if _, err := jose.ReadProof(proof(t, key, nil, nil), []string{"ES256"}); err != nil {
		t.Errorf("without ath and nonce: %v", err)
	}
}

// OP-DPOP-03 to 06 of the conformance suite's negative tests, and our own.
func TestProofsRefused(t *testing.T) {
	t.Parallel()
	key, other := curveKey(t, elliptic.P256()), curveKey(t, elliptic.P256())
	private, err := (&gojose.JSONWebKey{Key: key}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	good := proof(t, key, nil, nil)
	type m = map[string]any
	for _, v := range []struct {
		name, token string
		want        jose.Kind
	}{
		{"two parts", good[:strings.LastIndex(good, ".")], jose.Shape},
		{"no typ", proof(t, key, m{"typ": nil}, nil), jose.Type},
		{"typ JWT", proof(t, key, m{"typ": "JWT"}, nil), jose.Type},
		{"no alg", proof(t, key, m{"alg": nil}, nil), jose.Algorithm},
		{"alg none", proof(t, key, m{"alg": "none"}, nil), jose.Algorithm},
		{"alg HS256", proof(t, key, m{"alg": "HS256"}, nil), jose.Algorithm},
		{"alg not expected", proof(t, key, m{"alg": "RS256"}, nil), jose.Algorithm},
		{"no jwk", proof(t, key, m{"jwk": nil}, nil), jose.NoKey},
		{"jwk a string", proof(t, key, m{"jwk": "x"}, nil), jose.JSON},
		{"private jwk", proof(t, key, m{"jwk": json.RawMessage(private)}, nil), jose.Private},
		{"symmetric jwk", proof(t, key, m{"jwk": m{"kty": "oct", "k": "AAAA"}}, nil), jose.Private},
		{"jwk of another curve", proof(t, key, m{"jwk": json.RawMessage(public(t, curveKey(t, elliptic.P384())))}, nil), jose.NoKey},
		{"jwk of another kind", proof(t, key, m{"jwk": json.RawMessage(public(t, rsaOther()))}, nil), jose.NoKey},
		{"jwk to encrypt", proof(t, key, m{"jwk": json.RawMessage(strings.Replace(public(t, key), "{", `{"use":"enc",`, 1))}, nil), jose.NoKey},
		{"jwk of somebody else", proof(t, key, m{"jwk": json.RawMessage(public(t, other))}, nil), jose.Signature},
		{"jwk not on its curve", proof(t, key, m{"jwk": m{"kty": "EC", "crv": "P-256", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}}, nil), jose.NoKey},
		{"crit", proof(t, key, m{"crit": []string{"x"}}, nil), jose.BadHeader},
		{"no jti", proof(t, key, nil, m{"jti": nil}), jose.Claim},
		{"empty jti", proof(t, key, nil, m{"jti": ""}), jose.Claim},
		{"long jti", proof(t, key, nil, m{"jti": strings.Repeat("x", 257)}), jose.Claim},
		{"no htm", proof(t, key, nil, m{"htm": nil}), jose.Claim},
		{"htm a number", proof(t, key, nil, m{"htm": 1}), jose.Claim},
		{"no htu", proof(t, key, nil, m{"htu": nil}), jose.Claim},
		{"no iat", proof(t, key, nil, m{"iat": nil}), jose.Claim},
		{"iat a string", proof(t, key, nil, m{"iat": "1"}), jose.Claim},
		{"empty ath", proof(t, key, nil, m{"ath": ""}), jose.Claim},
		{"short ath", proof(t, key, nil, m{"ath": b64(make([]byte, 31))}), jose.Claim},
		{"ath a number", proof(t, key, nil, m{"ath": 1}), jose.Claim},
		{"too long", proof(t, key, nil, m{"x": strings.Repeat("x", 8<<10)}), jose.Size},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			p, err := jose.ReadProof(v.token, []string{"ES256"})
			wants(t, err, v.want)
			if p != nil {
				t.Error("a proof came back beside the error")
			}
		})
	}
}

// OP-DPOP-07 to 09.
func TestProofFor(t *testing.T) {
	t.Parallel()
	const address = "https://eid.example/auth/open/connect/userinfo"
	for _, v := range []struct {
		htm, htu string
		want     bool
	}{
		{"GET", address, true},
		{"GET", address + "?a=b", true},
		{"GET", address + "#f", true},
		{"GET", "HTTPS://EID.example/auth/open/connect/userinfo", true},
		{"GET", "https://eid.example:443/auth/open/connect/userinfo", true},
		{"PUT", address, false},
		{"get", address, false},
		{"GET", address + "/", false},
		{"GET", "https://eid.example/AUTH/open/connect/userinfo", false},
		{"GET", "http://eid.example/auth/open/connect/userinfo", false},
		{"GET", "https://eid.example:8443/auth/open/connect/userinfo", false},
		{"GET", "https://eid.example.evil.example/auth/open/connect/userinfo", false},
		{"GET", "https://user@eid.example/auth/open/connect/userinfo", false},
		{"GET", "/auth/open/connect/userinfo", false},
		{"GET", "https:eid.example", false},
		{"GET", "https://eid.example/auth/open/connect%2Fuserinfo", false},
		{"GET", "https://eid.example:0443/auth/open/connect/userinfo", false},
		{"GET", "::", false},
	} {
		p := jose.Proof{Method: v.htm, URL: v.htu}
		if got := p.For("GET", address); got != v.want {
			t.Errorf("%s %s: %v, want %v", v.htm, v.htu, got, v.want)
		}
	}
	p := jose.Proof{Method: "GET", URL: "https://eid.example"}
	if !p.For("GET", "https://eid.example/?x") || p.For("GET", "") {
		t.Error("an empty path is the root, and no address is none")
	}
	if p := (jose.Proof{URL: "http://localhost:80/x", Method: "GET"}); !p.For("GET", "http://localhost/x") || p.For("GET", "http://localhost:443/x") {
		t.Error("80 is the port of http, and no other")
	}
	for _, same := range []string{"data:x", "https:x", "https:///x", "ftp://eid.example/x"} {
		if (&jose.Proof{URL: same, Method: "GET"}).For("GET", same) {
			t.Errorf("%s is no address of HTTP", same)
		}
	}
}
