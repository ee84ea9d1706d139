package jose_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/internal/jose"
)

// Tokens that are made to be mistaken for something else. Each is refused, for
// the reason given; none costs more than reading it.
func TestConfusion(t *testing.T) {
	t.Parallel()
	key, attacker := curveKey(t, elliptic.P256()), curveKey(t, elliptic.P256())
	jwk := public(t, attacker)
	claims := `{"iss":"a","sub":"b"}`
	es := func(header string) string { return raw(t, key, header, claims) }
	part := func(s string) string { return b64([]byte(s)) }
	good := es(`{"alg":"ES256","kid":"k"}`)
	sig := good[strings.LastIndex(good, ".")+1:]

	for _, v := range []struct {
		name, token string
		want        jose.Kind
	}{
		{"alg none", part(`{"alg":"none","kid":"k"}`) + "." + part(claims) + ".", jose.Algorithm},
		{"alg None", part(`{"alg":"nOnE","kid":"k"}`) + "." + part(claims) + ".", jose.Algorithm},
		{"alg missing", es(`{"kid":"k"}`), jose.Algorithm},
		{"alg empty", es(`{"alg":"","kid":"k"}`), jose.Algorithm},
		{"alg a number", es(`{"alg":256,"kid":"k"}`), jose.JSON},
		{"alg null", es(`{"alg":null,"kid":"k"}`), jose.JSON},
		{"alg an array", es(`{"alg":["ES256"],"kid":"k"}`), jose.JSON},
		{"alg in other letters", es(`{"alg":"es256","kid":"k"}`), jose.Algorithm},
		{"alg of another family", es(`{"alg":"RS256","kid":"k"}`), jose.NoKey},
		{"alg of another curve", es(`{"alg":"ES384","kid":"k"}`), jose.NoKey},
		{"alg not expected", es(`{"alg":"PS256","kid":"k"}`), jose.Algorithm},
		{"HS256 with our public key", hs256(t, key, claims), jose.Algorithm},

		{"kid of a file", es(`{"alg":"ES256","kid":"../../../../dev/null"}`), jose.NoKey},
		{"kid of a statement", es(`{"alg":"ES256","kid":"k' OR '1'='1"}`), jose.NoKey},
		{"kid with an octet 0", es(`{"alg":"ES256","kid":"k\u0000"}`), jose.NoKey},
		{"kid a number", es(`{"alg":"ES256","kid":1}`), jose.JSON},
		{"kid an object", es(`{"alg":"ES256","kid":{"k":"k"}}`), jose.JSON},
		{"kid of another key", es(`{"alg":"ES256","kid":"other"}`), jose.Signature},
		{"kid of a key for encryption", es(`{"alg":"ES256","kid":"enc"}`), jose.NoKey},
		{"kid twice", es(`{"alg":"ES256","kid":"k","kid":"k"}`), jose.JSON},

		{"jwk of the attacker", raw(t, attacker, `{"alg":"ES256","kid":"k","jwk":`+jwk+`}`, claims), jose.Signature},
		{"jwk without kid", raw(t, attacker, `{"alg":"ES256","jwk":`+jwk+`}`, claims), jose.Signature},
		{"jku", raw(t, attacker, `{"alg":"ES256","kid":"k","jku":"https://evil.example/jwks"}`, claims), jose.Signature},
		{"x5u", raw(t, attacker, `{"alg":"ES256","kid":"k","x5u":"https://evil.example/x"}`, claims), jose.Signature},
		{"x5c", raw(t, attacker, `{"alg":"ES256","kid":"k","x5c":["MIIB"]}`, claims), jose.Signature},

		{"crit unknown", es(`{"alg":"ES256","kid":"k","crit":["exp"],"exp":1}`), jose.BadHeader},
		{"crit empty", es(`{"alg":"ES256","kid":"k","crit":[]}`), jose.BadHeader},
		{"crit b64", es(`{"alg":"ES256","kid":"k","crit":["b64"],"b64":true}`), jose.BadHeader},
		{"b64 false", es(`{"alg":"ES256","kid":"k","b64":false}`), jose.BadHeader},
		{"b64 false, payload as it is", signed(t, key, part(`{"alg":"ES256","kid":"k","b64":false}`)+`.{"sub":"b"}`), jose.BadHeader},
		{"zip", es(`{"alg":"ES256","kid":"k","zip":"DEF"}`), jose.BadHeader},

		{"alg twice", es(`{"alg":"ES256","alg":"none","kid":"k"}`), jose.JSON},
		{"alg twice, once escaped", es(`{"alg":"none","\u0061lg":"ES256","kid":"k"}`), jose.JSON},
		{"alg twice, once in capitals", es(`{"ALG":"none","alg":"ES256","kid":"k"}`), jose.JSON},
		{"alg in capitals", es(`{"Alg":"ES256","kid":"k"}`), jose.JSON},
		{"kid with a Kelvin sign", es(`{"alg":"ES256","kid":"k","` + "\u212a" + `id":"x"}`), jose.JSON},
		{"crit in capitals", es(`{"alg":"ES256","kid":"k","CRIT":["exp"]}`), jose.JSON},
		{"a member twice inside another", es(`{"alg":"ES256","kid":"k","x":{"a":1,"a":2}}`), jose.JSON},
		{"a member twice inside an array", es(`{"alg":"ES256","kid":"k","x":[[{"a":1,"A":2}]]}`), jose.JSON},

		{"JSON serialization", `{"payload":"` + part(claims) + `","signatures":[{"protected":"` + part(`{"alg":"ES256","kid":"k"}`) + `","signature":"` + sig + `"}]}`, jose.Shape},
		{"JSON serialization with two signatures", `{"payload":"e30","signatures":[{"protected":"e30","signature":"."},{"protected":"e30","signature":"."}]}`, jose.Encoding},
		{"empty", "", jose.Shape},
		{"one part", "e30", jose.Shape},
		{"two parts", strings.Join(strings.Split(good, ".")[:2], "."), jose.Shape},
		{"four parts", good + ".", jose.Shape},
		{"five parts", good + "..", jose.Shape},
		{"8 KiB of dots", strings.Repeat(".", 8<<10), jose.Shape},
		{"more than 64 KiB", good + strings.Repeat("A", 64<<10), jose.Size},
		{"64 KiB of dots and one", strings.Repeat(".", 64<<10+1), jose.Size},
		{"two dots", "..", jose.JSON},
		{"header no object", es(`["alg","ES256"]`), jose.JSON},
		{"header null", es(`null`), jose.JSON},
		{"header and more", es(`{"alg":"ES256","kid":"k"}{}`), jose.JSON},
		{"header with a byte order mark", es("\ufeff" + `{"alg":"ES256","kid":"k"}`), jose.JSON},
		{"header not UTF-8", es(`{"alg":"ES256","kid":"k","x":"` + "\xff" + `"}`), jose.JSON},
		{"header too deep", es(`{"alg":"ES256","kid":"k","x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`), jose.JSON},
		{"header very deep", es(`{"alg":"ES256","kid":"k","x":` + strings.Repeat("[", 40<<8) + strings.Repeat("]", 40<<8) + `}`), jose.JSON},

		{"padding", part(`{"alg":"ES256","kid":"k"} `) + "==." + part(claims) + "." + sig, jose.Encoding},
		{"line end", good[:5] + "\n" + good[5:], jose.Encoding},
		{"return at the end", good + "\r\n", jose.Encoding},
		{"space", " " + good, jose.Encoding},
		{"the other base64", strings.Replace(good, sig, strings.Repeat("+", 86), 1), jose.Encoding},
		{"bits that say nothing", unusedBits(t, good), jose.Encoding},

		{"no signature", strings.TrimSuffix(good, sig), jose.Signature},
		{"zeros for a signature", strings.TrimSuffix(good, sig) + b64(make([]byte, 64)), jose.Signature},
		{"signature of ASN.1", asn1(t, key, strings.TrimSuffix(good, "."+sig)), jose.Signature},
		{"payload of another token", strings.Replace(good, part(claims), part(`{"iss":"a","sub":"c"}`), 1), jose.Signature},
		{"longer signature", strings.TrimSuffix(good, sig) + b64(append(unb64(t, sig), 0)), jose.Signature},
		{"signature with a zero between its halves", strings.TrimSuffix(good, sig) + b64(slices.Insert(unb64(t, sig), 32, 0)), jose.Signature},
		{"shorter signature", strings.TrimSuffix(good, sig) + b64(unb64(t, sig)[:63]), jose.Signature},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			keys := one(key)
			keys.Keys = append(keys.Keys, jose.PublicKey{ID: "other", Use: "sig", Key: curveKey(t, elliptic.P256()).Public()},
				jose.PublicKey{ID: "enc", Use: "enc", Key: key.Public()})
			rule := jose.Rule{Algs: []string{"ES256", "ES384", "RS256", "none", "HS256", "nOnE", ""}, Keys: keys}
			got, err := jose.Verify(t.Context(), v.token, rule)
			wants(t, err, v.want)
			if got != nil {
				t.Error("something came back beside the error")
			}
			if err != nil && strings.Contains(err.Error(), "evil.example") {
				t.Errorf("the error quotes the token: %v", err)
			}
		})
	}
	if _, err := jose.Verify(t.Context(), good, jose.Rule{Algs: []string{"ES256"}, Keys: one(key)}); err != nil {
		t.Errorf("the token that all others were made of: %v", err)
	}
}

// public is a key as a JWK.
func public(t testing.TB, key crypto.Signer) string {
	t.Helper()
	text, err := (&gojose.JSONWebKey{Key: key.Public()}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hs256 signs with the text of a public key, which everybody knows.
func hs256(t *testing.T, key *ecdsa.PrivateKey, claims string) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	input := b64([]byte(`{"alg":"HS256","kid":"k"}`)) + "." + b64([]byte(claims))
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

func asn1(t *testing.T, key *ecdsa.PrivateKey, input string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(input))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(sig)
}

// unusedBits changes the last character of a signature such that lenient
// decoders see the same octets.
func unusedBits(t *testing.T, token string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, token[len(token)-1])
	if i%16 != 0 {
		t.Fatal("64 octets leave four bits unused")
	}
	return token[:len(token)-1] + alphabet[i+1:i+2]
}

// A token of one kind is not one of another (RFC 8725 section 3.11). The rules
// are those of the places that read each kind: type, audience, claims.
func TestCrossToken(t *testing.T) {
	t.Parallel()
	const issuer, client = "https://eid.example/auth/open", "client-1"
	set := ours(t)
	at, later := now.Unix(), now.Add(5*time.Minute).Unix()
	tokens := map[string]string{
		"id token":          sign(t, set, "ES256", "JWT", fmt.Sprintf(`{"iss":%q,"sub":"person","aud":%q,"exp":%d,"iat":%d,"nonce":"n"}`, issuer, client, later, at)),
		"logout token":      sign(t, set, "ES256", "logout+jwt", fmt.Sprintf(`{"iss":%q,"sub":"person","aud":%q,"exp":%d,"iat":%d,"jti":"1","events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`, issuer, client, later, at)),
		"JARM response":     sign(t, set, "ES256", "", fmt.Sprintf(`{"iss":%q,"aud":%q,"exp":%d,"code":"c","state":"s"}`, issuer, client, later)),
		"introspection":     sign(t, set, "ES256", "token-introspection+jwt", fmt.Sprintf(`{"iss":%q,"aud":%q,"iat":%d,"token_introspection":{"active":true}}`, issuer, client, at)),
		"access token":      sign(t, set, "ES256", "at+jwt", fmt.Sprintf(`{"iss":%q,"aud":"https://api.example","sub":"person","client_id":%q,"exp":%d,"iat":%d,"jti":"1"}`, issuer, client, later, at)),
		"client assertion":  sign(t, set, "ES256", "JWT", fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"exp":%d,"iat":%d,"jti":"1"}`, client, client, issuer, later, at)),
		"request object":    sign(t, set, "ES256", "oauth-authz-req+jwt", fmt.Sprintf(`{"iss":%q,"aud":%q,"client_id":%q,"nbf":%d,"exp":%d,"response_type":"code"}`, client, issuer, client, at, later)),
		"DPoP proof":        proof(t, curveKey(t, elliptic.P256()), nil, nil),
		"own request token": sign(t, set, "ES256", "JWT", fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"exp":%d,"iat":%d,"jti":"1","client_id":%q,"response_type":"code"}`, client, client, issuer, later, at, client)),
	}
	readers := map[string]func(token string) bool{
		"id token": func(token string) bool {
			c := claims(t, set, token, jose.Rule{})
			return c != nil && c.Issuer == issuer && c.For(client) && c.Subject != "" && c.Nonce == "n" && c.Times(jose.Window{Now: now, Need: []string{"exp", "iat"}}) == nil
		},
		"logout token": func(token string) bool {
			c := claims(t, set, token, jose.Rule{Typ: []string{"logout+jwt"}, TypRequired: true})
			return c != nil && c.Issuer == issuer && c.For(client) && c.Raw["events"] != nil && c.Raw["nonce"] == nil
		},
		"JARM response": func(token string) bool {
			c := claims(t, set, token, jose.Rule{})
			return c != nil && c.Issuer == issuer && c.For(client) && c.Raw["code"] != nil
		},
		"introspection": func(token string) bool {
			c := claims(t, set, token, jose.Rule{Typ: []string{"token-introspection+jwt"}, TypRequired: true})
			return c != nil && c.Issuer == issuer
		},
		"access token": func(token string) bool {
			c := claims(t, set, token, jose.Rule{Typ: []string{"at+jwt"}, TypRequired: true})
			return c != nil && c.Issuer == issuer && c.For("https://api.example")
		},
		"client assertion": func(token string) bool {
			c := claims(t, set, token, jose.Rule{})
			return c != nil && c.Issuer == client && c.Subject == client && c.For(issuer) && c.ID != "" && c.Raw["response_type"] == nil
		},
		"request object": func(token string) bool {
			c := claims(t, set, token, jose.Rule{Typ: []string{"oauth-authz-req+jwt", "JWT"}})
			return c != nil && c.Issuer == client && c.Subject == "" && c.For(issuer)
		},
		"DPoP proof": func(token string) bool {
			p, err := jose.ReadProof(token, []string{"ES256"})
			return err == nil && p.For("POST", "https://eid.example/token")
		},
	}
	for reader, accepts := range readers {
		for kind, token := range tokens {
			if got, want := accepts(token), kind == reader; got != want {
				t.Errorf("a %s as a %s: accepted %v, want %v", kind, reader, got, want)
			}
		}
	}
}

// claims reads a token of a set, or returns nil.
func claims(t *testing.T, keys jose.Keys, token string, r jose.Rule) *jose.Claims {
	t.Helper()
	r.Algs, r.Keys = []string{"ES256"}, keys
	v, err := jose.Verify(t.Context(), token, r)
	if err != nil {
		return nil
	}
	c, err := v.Claims()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// careless is a party whose keys are found whatever is looked for.
type careless []jose.PublicKey

func (c careless) Find(context.Context, jose.Query) ([]jose.PublicKey, error) { return c, nil }

// A key that does not fit the algorithm is not used, whoever found it.
func TestKeyOfAnotherKind(t *testing.T) {
	t.Parallel()
	input := b64([]byte(`{"alg":"ES256"}`)) + "." + b64([]byte(`{}`))
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(nil, rsaOther(), crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.PublicKey{rsaOther().Public(), edKey(t).Public(), "key", nil} {
		_, err = jose.Verify(t.Context(), input+"."+b64(sig), jose.Rule{Algs: []string{"ES256"}, Keys: careless{{Key: key}}})
		wants(t, err, jose.Signature)
	}
}

// away is a party whose keys cannot be looked for.
type away struct{}

func (away) Find(context.Context, jose.Query) ([]jose.PublicKey, error) {
	return nil, &jose.Error{Kind: jose.Fetch}
}

// That keys could not be had is not that there are none.
func TestKeysThatCannotBeHad(t *testing.T) {
	t.Parallel()
	_, err := jose.Verify(t.Context(), raw(t, curveKey(t, elliptic.P256()), `{"alg":"ES256"}`, `{}`), jose.Rule{Algs: []string{"ES256"}, Keys: away{}})
	wants(t, err, jose.Fetch)
}

// RFC 7518 section 3.5: the salt is as long as the hash.
func TestSaltOfPSS(t *testing.T) {
	t.Parallel()
	input := b64([]byte(`{"alg":"PS256"}`)) + "." + b64([]byte(`{}`))
	sum := sha256.Sum256([]byte(input))
	for _, salt := range []int{32, 31, 33, rsa.PSSSaltLengthAuto} { // the last is as long as fits
		sig, err := rsa.SignPSS(rand.Reader, rsaOther(), crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		_, err = jose.Verify(t.Context(), input+"."+b64(sig), jose.Rule{Algs: []string{"PS256"}, Keys: careless{{Key: rsaOther().Public()}}})
		if salt != 32 {
			wants(t, err, jose.Signature)
		} else if err != nil {
			t.Error(err)
		}
	}
}

// The number of keys that a token can make us try is bounded, and one that says
// nothing usable never reaches the keys.
func TestBoundedWork(t *testing.T) {
	t.Parallel()
	key := curveKey(t, elliptic.P256())
	many := &jose.Ring{}
	for range 5 {
		many.Keys = append(many.Keys, jose.PublicKey{Key: curveKey(t, elliptic.P256()).Public()})
	}
	token := raw(t, key, `{"alg":"ES256"}`, `{}`)
	_, err := jose.Verify(t.Context(), token, jose.Rule{Algs: []string{"ES256"}, Keys: many})
	wants(t, err, jose.NoKey)
	many.Keys = append(many.Keys[:3], jose.PublicKey{Key: key.Public()})
	if _, err := jose.Verify(t.Context(), token, jose.Rule{Algs: []string{"ES256"}, Keys: many}); err != nil {
		t.Errorf("the last of four keys: %v", err)
	}

	longest := raw(t, key, `{"alg":"ES256","kid":"k"}`, strings.Repeat("x", 49060))
	if _, err := jose.Verify(t.Context(), longest, jose.Rule{Algs: []string{"ES256"}, Keys: one(key)}); err != nil || len(longest) != 64<<10 {
		t.Errorf("%d octets: %v", len(longest), err)
	}

	party := &counted{Keys: one(key)}
	for _, header := range []string{`{"alg":"none"}`, `{"alg":"HS256"}`, `{"alg":"ES256","crit":[]}`, `{"alg":"ES256","typ":"at+jwt"}`, `{`} {
		_, err := jose.Verify(t.Context(), raw(t, key, header, `{}`), jose.Rule{Algs: []string{"ES256"}, Keys: party})
		if err == nil || party.asked != 0 {
			t.Errorf("%s: %v, and keys were looked for %d times", header, err, party.asked)
		}
	}
}

func TestRule(t *testing.T) {
	t.Parallel()
	key := curveKey(t, elliptic.P256())
	header := func(typ string) string { return raw(t, key, `{"alg":"ES256","kid":"k"`+typ+`}`, `{}`) }
	algs := []string{"ES256"}
	for _, v := range []struct {
		name, token string
		rule        jose.Rule
		want        jose.Kind // empty: accepted
	}{
		{"no rule", header(""), jose.Rule{}, jose.Algorithm},
		{"no algorithms", header(""), jose.Rule{Keys: one(key)}, jose.Algorithm},
		{"no keys", header(""), jose.Rule{Algs: algs}, jose.NoKey},
		{"empty ring", header(""), jose.Rule{Algs: algs, Keys: &jose.Ring{}}, jose.NoKey},
		{"no type", header(""), jose.Rule{Algs: algs, Keys: one(key)}, ""},
		{"JWT", header(`,"typ":"JWT"`), jose.Rule{Algs: algs, Keys: one(key)}, ""},
		{"jwt", header(`,"typ":"jwt"`), jose.Rule{Algs: algs, Keys: one(key)}, ""},
		{"application/jwt", header(`,"typ":"application/jwt"`), jose.Rule{Algs: algs, Keys: one(key)}, ""},
		{"text/jwt", header(`,"typ":"text/jwt"`), jose.Rule{Algs: algs, Keys: one(key)}, jose.Type},
		{"at+jwt where JWT is expected", header(`,"typ":"at+jwt"`), jose.Rule{Algs: algs, Keys: one(key)}, jose.Type},
		{"empty type", header(`,"typ":""`), jose.Rule{Algs: algs, Keys: one(key)}, jose.Type},
		{"JWT where at+jwt is expected", header(`,"typ":"JWT"`), jose.Rule{Algs: algs, Keys: one(key), Typ: []string{"at+jwt"}}, jose.Type},
		{"none where one is expected", header(""), jose.Rule{Algs: algs, Keys: one(key), Typ: []string{"at+jwt"}}, ""},
		{"none where one is required", header(""), jose.Rule{Algs: algs, Keys: one(key), Typ: []string{"at+jwt"}, TypRequired: true}, jose.Type},
		{"application/at+jwt", header(`,"typ":"application/AT+jwt"`), jose.Rule{Algs: algs, Keys: one(key), Typ: []string{"at+jwt"}, TypRequired: true}, ""},
		{"one of two", header(`,"typ":"JWT"`), jose.Rule{Algs: algs, Keys: one(key), Typ: []string{"oauth-authz-req+jwt", "JWT"}}, ""},
	} {
		_, err := jose.Verify(t.Context(), v.token, v.rule)
		if v.want == "" {
			if err != nil {
				t.Errorf("%s: %v", v.name, err)
			}
			continue
		}
		t.Run(v.name, func(t *testing.T) { wants(t, err, v.want) })
	}
}
