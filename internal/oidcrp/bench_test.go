package oidcrp_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/internal/jose"
	"eidgate/internal/oidcrp"
)

// canned answers by path, without a network and without work of its own.
type canned map[string]string

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(c[r.URL.Path])), Request: r}, nil
}

// BenchmarkLogin is Begin, Redeem and Read: what a login costs us beside the
// network. RSA signs a request object and an assertion, and opens the ID token;
// RS256 is one such operation, to compare with.
func BenchmarkLogin(b *testing.B) {
	const issuer = "https://p.example"
	clock := func() time.Time { return start }
	claims, _ := json.Marshal(map[string]any{"iss": issuer, "aud": "me", "sub": "person", "nonce": "n", "iat": start.Unix(), "exp": start.Add(time.Minute).Unix()})
	keys, _ := json.Marshal(gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{
		{Key: &rsaKeys()[0].PublicKey, KeyID: "s1", Use: "sig", Algorithm: "RS256"},
		{Key: &curve().PublicKey, KeyID: "c1", Use: "sig", Algorithm: "ES256"},
		{Key: &rsaKeys()[1].PublicKey, KeyID: "e1", Use: "enc", Algorithm: "RSA-OAEP-256"}}})
	for _, x := range []struct {
		name   string
		keys   []jose.Key
		token  string
		by     oidcrp.Means
		config oidcrp.Config
	}{
		{"EC", []jose.Key{{ID: "ours", Use: jose.Signing, Alg: jose.ES256, Private: curve()}},
			signed(b, gojose.ES256, "c1", curve(), claims), oidcrp.Query, oidcrp.Config{IDToken: oidcrp.Protection{Algs: []string{jose.ES256}}}},
		{"RSA", []jose.Key{{ID: "ours", Use: jose.Signing, Alg: jose.RS256, Private: rsaKeys()[2]}, {ID: "open", Use: jose.Encrypting, Alg: jose.RSAOAEP256, Private: rsaKeys()[3]}},
			sealed(b, "open", &rsaKeys()[3].PublicKey, signed(b, gojose.RS256, "s1", rsaKeys()[0], claims)), oidcrp.Encrypted, oidcrp.Config{EncryptAssertion: true, IDToken: oidcrp.Protection{Encrypted: oidcrp.Must}}},
	} {
		b.Run(x.name, func(b *testing.B) {
			tokens, _ := json.Marshal(map[string]any{"access_token": "a", "token_type": "bearer", "id_token": x.token})
			set, err := jose.NewSet(jose.Schedule{Cache: 24 * time.Hour}, clock, x.keys...)
			if err != nil {
				b.Fatal(err)
			}
			conf := x.config
			conf.Issuer, conf.ClientID, conf.Auth, conf.Keys = issuer, "me", oidcrp.PrivateKeyJWT, set
			c, err := oidcrp.New(conf, oidcrp.NewDirectory(canned{"/jwks": string(keys), "/token": string(tokens),
				"/.well-known/openid-configuration": `{"issuer":"` + issuer + `","authorization_endpoint":"` + issuer + `/a","token_endpoint":"` + issuer + `/token","jwks_uri":"` + issuer + `/jwks"}`}, clock))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				_, l, err := c.Begin(b.Context(), oidcrp.Request{RedirectURI: "https://us.example/back", Scope: "openid", By: x.by})
				if err != nil {
					b.Fatal(err)
				}
				raw, err := c.Redeem(b.Context(), l, "code")
				if err != nil {
					b.Fatal(err)
				}
				l.Nonce = "n" // of the token that was made beforehand
				if _, err := c.Read(b.Context(), l, raw, start); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("RS256", func(b *testing.B) {
		sum := sha256.Sum256(claims)
		for b.Loop() {
			if _, err := rsa.SignPKCS1v15(rand.Reader, rsaKeys()[2], crypto.SHA256, sum[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
