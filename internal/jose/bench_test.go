package jose_test

import (
	"testing"

	"eidgate/internal/jose"
)

const claimsOfBench = `{"iss":"https://eid.example/auth/open","sub":"Zm9yIGEgcGVyc29uIHdob20gbm9ib2R5IGtub3dz","aud":"sandbox-quiet-river-417",` +
	`"exp":1893553445,"iat":1893552845,"auth_time":1893552840,"nonce":"n-0S6_WzA2Mj","acr":"urn:eid:substantial","sid":"0123456789abcdef"}`

func BenchmarkSign(b *testing.B) {
	set := ours(b)
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := set.Sign(alg, "JWT", []byte(claimsOfBench)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	set := ours(b)
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		token := sign(b, set, alg, "JWT", claimsOfBench)
		rule := jose.Rule{Algs: []string{alg}, Keys: set}
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v, err := jose.Verify(b.Context(), token, rule)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := v.Claims(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecrypt(b *testing.B) {
	set := ours(b)
	token := sign(b, set, "RS256", "JWT", claimsOfBench)
	for _, alg := range []string{"RSA-OAEP", "ECDH-ES"} {
		message, err := jose.Encrypt(token, recipient(b, set, alg), alg, "A128CBC-HS256")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := set.Decrypt(message, jose.Opening{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
