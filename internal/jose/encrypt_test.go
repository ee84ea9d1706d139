package jose_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/internal/jose"
)

func TestNested(t *testing.T) {
	t.Parallel()
	set := ours(t)
	token := sign(t, set, "RS256", "JWT", `{"sub":"x"}`)
	for _, alg := range wraps {
		for _, enc := range encs {
			sealed, err := jose.Encrypt(token, recipient(t, set, alg), alg, enc)
			if err != nil {
				t.Fatalf("%s %s: %v", alg, enc, err)
			}
			header := headerOf(t, sealed)
			if header["kid"] != alg || header["cty"] != "JWT" || header["alg"] != alg || header["enc"] != enc || header["zip"] != nil {
				t.Errorf("%s %s: header %v", alg, enc, header)
			}
			if opened, err := set.Decrypt(sealed, jose.Opening{Enc: []string{enc}}); err != nil || opened != token {
				t.Errorf("%s %s: %v", alg, enc, err)
			}
		}
	}
}

func headerOf(t *testing.T, compact string) (header map[string]any) {
	t.Helper()
	part, _, _ := strings.Cut(compact, ".")
	if err := json.Unmarshal(unb64(t, part), &header); err != nil {
		t.Fatal(err)
	}
	return header
}

func TestEncryptRefuses(t *testing.T) {
	t.Parallel()
	set := ours(t)
	token := sign(t, set, "ES256", "JWT", `{}`)
	to := recipient(t, set, "RSA-OAEP")
	ec := recipient(t, set, "ECDH-ES")
	for _, v := range []struct {
		name, token string
		to          jose.PublicKey
		alg, enc    string
		want        jose.Kind
	}{
		{"bare JSON", `{"sub":"x"}`, to, "RSA-OAEP", "A256GCM", jose.Unsigned},
		{"RSA1_5", token, jose.PublicKey{Key: to.Key}, "RSA1_5", "A256GCM", jose.NoKey},
		{"dir", token, jose.PublicKey{Key: []byte("secret")}, "dir", "A256GCM", jose.NoKey},
		{"PBES2", token, jose.PublicKey{Key: "secret"}, "PBES2-HS256+A128KW", "A256GCM", jose.NoKey},
		{"an algorithm of signatures", token, jose.PublicKey{Key: to.Key}, "RS256", "A256GCM", jose.NoKey},
		{"not that of the key", token, to, "RSA-OAEP-256", "A256GCM", jose.NoKey},
		{"another family", token, jose.PublicKey{Key: ec.Key}, "RSA-OAEP", "A256GCM", jose.NoKey},
		{"another family yet", token, jose.PublicKey{Key: to.Key}, "ECDH-ES", "A256GCM", jose.NoKey},
		{"a key for signatures", token, jose.PublicKey{Use: "sig", Key: to.Key}, "RSA-OAEP", "A256GCM", jose.NoKey},
		{"no key", token, jose.PublicKey{}, "RSA-OAEP", "A256GCM", jose.NoKey},
		{"content not known", token, to, "RSA-OAEP", "A128GCM", jose.Algorithm},
		{"no content", token, to, "RSA-OAEP", "", jose.Algorithm},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			sealed, err := jose.Encrypt(v.token, v.to, v.alg, v.enc)
			wants(t, err, v.want)
			if sealed != "" {
				t.Error("a message came back beside the error")
			}
		})
	}
}

// sealed lets go-jose encrypt what we would not.
func sealed(t testing.TB, plain string, to gojose.Recipient, enc gojose.ContentEncryption, opts *gojose.EncrypterOptions) string {
	t.Helper()
	e, err := gojose.NewEncrypter(enc, to, opts)
	if err != nil {
		t.Fatal(err)
	}
	object, err := e.Encrypt([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// withHeader replaces members of a message's header; what is encrypted does not
// fit any more.
func withHeader(t *testing.T, compact string, members map[string]any) string {
	t.Helper()
	_, rest, _ := strings.Cut(compact, ".")
	return b64([]byte(merged(t, headerOf(t, compact), members))) + "." + rest
}

// Messages that cost more than they should, or hold what they should not
// (OP-ATK-06, OP-JAR-05).
func TestDecryptRefuses(t *testing.T) {
	t.Parallel()
	set := ours(t)
	token := sign(t, set, "ES256", "JWT", `{}`)
	rsaTo := gojose.Recipient{Algorithm: gojose.RSA_OAEP, Key: rsaEnc().Public(), KeyID: "RSA-OAEP"}
	good := sealed(t, token, rsaTo, gojose.A256GCM, nil)
	ecdh, err := jose.Encrypt(token, recipient(t, set, "ECDH-ES"), "ECDH-ES", "A256GCM")
	if err != nil {
		t.Fatal(err)
	}
	bomb := sealed(t, strings.Repeat("a", 200<<10), rsaTo, gojose.A256GCM, &gojose.EncrypterOptions{Compression: gojose.DEFLATE})
	secret := make([]byte, 32)
	part := func(compact string, i int, value string) string {
		p := strings.Split(compact, ".")
		p[i] = value
		return strings.Join(p, ".")
	}
	type m = map[string]any
	for _, v := range []struct {
		name, message string
		want          jose.Kind
	}{
		{"bare JSON", sealed(t, `{"client_id":"x"}`, rsaTo, gojose.A256GCM, nil), jose.Unsigned},
		{"a message inside", sealed(t, good, rsaTo, gojose.A256GCM, nil), jose.Unsigned},
		{"nothing inside", sealed(t, "", rsaTo, gojose.A256GCM, nil), jose.Unsigned},
		{"two dots inside", sealed(t, "..", rsaTo, gojose.A256GCM, nil), jose.Unsigned},
		{"a bomb", bomb, jose.BadHeader},
		{"zip that nobody knows", withHeader(t, good, m{"zip": "BR"}), jose.BadHeader},
		{"crit", withHeader(t, good, m{"crit": []string{"exp"}}), jose.BadHeader},
		{"PBES2 with a billion rounds", withHeader(t, good, m{"alg": "PBES2-HS512+A256KW", "p2c": 1 << 30, "p2s": "AAAAAAAAAAA"}), jose.Algorithm},
		{"dir", sealed(t, token, gojose.Recipient{Algorithm: gojose.DIRECT, Key: secret, KeyID: "RSA-OAEP"}, gojose.A256GCM, nil), jose.Algorithm},
		{"A256KW", sealed(t, token, gojose.Recipient{Algorithm: gojose.A256KW, Key: secret, KeyID: "RSA-OAEP"}, gojose.A256GCM, nil), jose.Algorithm},
		{"RSA1_5", sealed(t, token, gojose.Recipient{Algorithm: gojose.RSA1_5, Key: rsaEnc().Public(), KeyID: "RSA-OAEP"}, gojose.A256GCM, nil), jose.Algorithm},
		{"not the algorithm of the key", withHeader(t, good, m{"alg": "RSA-OAEP-256"}), jose.Algorithm},
		{"content that nobody expects", sealed(t, token, rsaTo, gojose.A128GCM, nil), jose.Algorithm},
		{"no content", withHeader(t, good, m{"enc": nil}), jose.Algorithm},
		{"no kid", withHeader(t, good, m{"kid": nil}), jose.NoKey},
		{"kid of nobody", withHeader(t, good, m{"kid": "../RSA-OAEP"}), jose.NoKey},
		{"kid of a key that signs", withHeader(t, good, m{"kid": "RS256"}), jose.NoKey},
		{"cty of something else", withHeader(t, good, m{"cty": "json"}), jose.Type},
		{"jwk that is none", withHeader(t, good, m{"jwk": 1}), jose.BadHeader},
		{"x5c that is none", withHeader(t, good, m{"x5c": []string{"%"}}), jose.BadHeader},
		{"member twice", b64([]byte(`{"alg":"RSA-OAEP","alg":"RSA-OAEP","kid":"RSA-OAEP","enc":"A256GCM"}`)) + good[strings.Index(good, "."):], jose.JSON},
		{"signed only", token, jose.Shape},
		{"six parts", good + ".", jose.Shape},
		{"JSON serialization", `{"protected":"e30"}`, jose.Shape},
		{"dots", strings.Repeat(".", 60<<10), jose.Shape},
		{"too long", strings.Repeat("A", 64<<10+1), jose.Size},
		{"line end", good + "\n", jose.Encoding},
		{"bits that say nothing", part(good, 4, "AAAAAAAAAAAAAAAAAAAAAB"), jose.Encoding},
		{"wrapped key where there is none", part(ecdh, 1, "AAAA"), jose.Shape},
		{"no epk", withHeader(t, ecdh, m{"epk": nil}), jose.Decrypt},
		{"epk not on the curve", withHeader(t, ecdh, m{"epk": m{"kty": "EC", "crv": "P-256", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}}), jose.Decrypt},
		{"epk of another curve", withHeader(t, ecdh, m{"epk": json.RawMessage(public(t, curveKey(t, elliptic.P384())))}), jose.Decrypt},
		{"epk with its secret", withHeader(t, ecdh, m{"epk": m{"kty": "EC", "crv": "P-256", "d": "AAAA"}}), jose.Decrypt},
		{"epk null", withHeader(t, ecdh, m{"epk": json.RawMessage("null")}), jose.Decrypt},
		{"no wrapped key", part(good, 1, ""), jose.Decrypt},
		{"wrapped key of zeros", part(good, 1, b64(make([]byte, 256))), jose.Decrypt},
		{"short vector", part(good, 2, "AAAA"), jose.Decrypt},
		{"no vector", part(good, 2, ""), jose.Decrypt},
		{"short tag", part(good, 4, "AAAA"), jose.Decrypt},
		{"no content at all", part(good, 3, ""), jose.Decrypt},
		{"other header", withHeader(t, good, m{"x": "y"}), jose.Decrypt},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			opened, err := set.Decrypt(v.message, jose.Opening{})
			wants(t, err, v.want)
			if opened != "" {
				t.Error("something came back beside the error")
			}
		})
	}
	for _, cty := range []any{nil, "JWT", "jwt", "application/jwt"} {
		opts := (&gojose.EncrypterOptions{}).WithHeader("x", "y")
		if cty != nil {
			opts = opts.WithHeader("cty", cty)
		}
		if _, err := set.Decrypt(sealed(t, token, rsaTo, gojose.A256GCM, opts), jose.Opening{}); err != nil {
			t.Errorf("cty %v: %v", cty, err)
		}
	}
}

// What fails after the key was used is one error, whatever it was: a wrapped key
// of another length, of another party, or a content that was altered.
func TestOneFailure(t *testing.T) {
	t.Parallel()
	set := ours(t)
	token := sign(t, set, "ES256", "JWT", `{}`)
	ok, err := jose.Encrypt(token, recipient(t, set, "RSA-OAEP"), "RSA-OAEP", "A128CBC-HS256")
	if err != nil {
		t.Fatal(err)
	}
	p := strings.Split(ok, ".")
	foreign := sealed(t, token, gojose.Recipient{Algorithm: gojose.RSA_OAEP, Key: rsaOther().Public(), KeyID: "RSA-OAEP"}, gojose.A128CBC_HS256, nil)
	long := sealed(t, token, gojose.Recipient{Algorithm: gojose.RSA_OAEP, Key: rsaEnc().Public(), KeyID: "RSA-OAEP"}, gojose.A256CBC_HS512, nil)
	head := b64([]byte(`{"alg":"RSA-OAEP","enc":"A256GCM","kid":"RSA-OAEP","cty":"JWT"}`))
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	guessed := gcm.Seal(nil, make([]byte, 12), []byte(token), []byte(head)) // for a key of zeros, in case that is what stands for one that cannot be unwrapped
	texts := map[string]bool{}
	for _, message := range []string{
		strings.Join([]string{head, strings.Split(foreign, ".")[1], b64(make([]byte, 12)), b64(guessed[:len(token)]), b64(guessed[len(token):])}, "."),
		strings.Join([]string{p[0], strings.Split(foreign, ".")[1], p[2], p[3], p[4]}, "."),
		strings.Join([]string{p[0], strings.Split(long, ".")[1], p[2], p[3], p[4]}, "."),
		strings.Join([]string{p[0], p[1], p[2], p[3], b64(make([]byte, 16))}, "."),
		strings.Join([]string{p[0], p[1], p[2], b64(make([]byte, 17)), p[4]}, "."),
		strings.Join([]string{p[0], p[1], b64(make([]byte, 16)), p[3], p[4]}, "."),
		foreign,
	} {
		_, err := set.Decrypt(message, jose.Opening{})
		wants(t, err, jose.Decrypt)
		texts[fmt.Sprint(err)] = true
	}
	if len(texts) != 1 {
		t.Errorf("errors differ: %v", texts)
	}
}

func TestOpening(t *testing.T) {
	t.Parallel()
	set := ours(t)
	to := gojose.Recipient{Algorithm: gojose.RSA_OAEP, Key: rsaEnc().Public(), KeyID: "RSA-OAEP"}
	bare := sealed(t, `{"client_id":"x"}`, to, gojose.A128CBC_HS256, (&gojose.EncrypterOptions{}).WithContentType("json"))
	if plain, err := set.Decrypt(bare, jose.Opening{Bare: true}); err != nil || plain != `{"client_id":"x"}` {
		t.Errorf("bare: %q, %v", plain, err)
	}
	_, err := set.Decrypt(bare, jose.Opening{})
	wants(t, err, jose.Type)
	_, err = set.Decrypt(bare, jose.Opening{Bare: true, Enc: []string{"A256GCM"}})
	wants(t, err, jose.Algorithm)
}
