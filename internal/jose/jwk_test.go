package jose_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/internal/jose"
)

const point = `"kty":"EC","crv":"P-256","x":"Ze2loSV3wrroKUN_4zhwGhCqo3Xhu1td4QjeQ5wIVR0","y":"HlLtdXARY_f55A3fnzQbPcm6hgr34Mp8p-nuzQCE0Zw"`

func TestParseJWKS(t *testing.T) {
	t.Parallel()
	good := `{` + point + `}`
	list := func(n int) string { return `{"keys":[` + strings.TrimSuffix(strings.Repeat(good+",", n), ",") + `]}` }
	for _, v := range []struct {
		name, text   string
		keys, ignore int
		want         jose.Kind
	}{
		{"none", `{"keys":[]}`, 0, 0, ""},
		{"further members", `{"keys":[{` + point + `,"x":1}],"issuer":"x"}`, 0, 0, jose.JSON}, // x stands twice
		{"one", `{"issuer":"x","keys":[{` + point + `,"more":[1]}]}`, 1, 0, ""},
		{"100", list(100), 100, 0, ""},
		{"101", list(101), 0, 0, jose.Size},
		{"too long", `{"keys":[]` + strings.Repeat(" ", 256<<10) + `}`, 0, 0, jose.Size},
		{"unknown kinds", `{"keys":[{"kty":"AKP"},{"kty":"OKP","crv":"X25519","x":"AA"},{"kty":"EC","crv":"secp256k1"},{},` + good + `]}`, 1, 4, ""},
		{"no keys", `{}`, 0, 0, jose.JSON},
		{"keys null", `{"keys":null}`, 0, 0, jose.JSON},
		{"keys an object", `{"keys":{}}`, 0, 0, jose.JSON},
		{"key a string", `{"keys":["x"]}`, 0, 0, jose.JSON},
		{"key null", `{"keys":[null]}`, 0, 0, jose.JSON},
		{"keys in capitals", `{"Keys":[]}`, 0, 0, jose.JSON},
		{"keys twice", `{"keys":[],"keys":[` + good + `]}`, 0, 0, jose.JSON},
		{"array", `[` + good + `]`, 0, 0, jose.JSON},
		{"private", `{"keys":[` + good + `,{` + point + `,"d":"AA"}]}`, 0, 0, jose.Private},
		{"symmetric", `{"keys":[{"kty":"oct","k":"AA"}]}`, 0, 0, jose.Private},
		{"broken base64", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"A="}]}`, 0, 0, jose.Encoding},
		{"HTML", `<html>`, 0, 0, jose.JSON},
		{"empty", ``, 0, 0, jose.JSON},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			ring, err := jose.ParseJWKS([]byte(v.text))
			if v.want != "" {
				wants(t, err, v.want)
				return
			}
			if err != nil || len(ring.Keys) != v.keys || ring.Ignored != v.ignore {
				t.Errorf("%+v, %v, want %d keys and %d ignored", ring, err, v.keys, v.ignore)
			}
		})
	}
}

func number(bits int, low int64) string {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return b64(n.Add(n, big.NewInt(low)).Bytes())
}

func TestParseJWK(t *testing.T) {
	t.Parallel()
	rsaOf := func(n, e string) string { return fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q}`, n, e) }
	n := b64(rsaSig().N.Bytes())
	of := b64(elliptic.P256().Params().N.Bytes())
	both, err := curveKey(t, elliptic.P256()).PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	both = both[1:]
	for _, v := range []struct {
		name, text string
		want       jose.Kind
	}{
		{"RSA 2048", rsaOf(number(2048, 1), "AQAB"), ""},
		{"RSA 8192", rsaOf(number(8192, 1), "AQAB"), ""},
		{"RSA with a leading zero", rsaOf(b64(append([]byte{0}, rsaSig().N.Bytes()...)), "AQAB"), ""},
		{"RSA 2047", rsaOf(number(2047, 1), "AQAB"), jose.NoKey},
		{"RSA 8193", rsaOf(number(8193, 1), "AQAB"), jose.NoKey},
		{"RSA with a long number", rsaOf(b64(make([]byte, 40<<10)), "AQAB"), jose.NoKey},
		{"even modulus", rsaOf(number(2048, 2), "AQAB"), jose.NoKey},
		{"exponent 1", rsaOf(n, "AQ"), jose.NoKey},
		{"exponent 2", rsaOf(n, "Ag"), jose.NoKey},
		{"exponent 3", rsaOf(n, "Aw"), ""},
		{"exponent 4", rsaOf(n, "BA"), jose.NoKey},
		{"exponent of 32 bits", rsaOf(n, "_____w"), jose.NoKey},
		{"exponent of 31 bits", rsaOf(n, "f____w"), ""},
		{"exponent of 40 bits", rsaOf(n, "AQAAAAE"), jose.NoKey},
		{"no exponent", `{"kty":"RSA","n":"` + n + `"}`, jose.NoKey},
		{"empty modulus", rsaOf("", "AQAB"), jose.NoKey},
		{"modulus a number", `{"kty":"RSA","n":5,"e":"AQAB"}`, jose.JSON},
		{"point", `{` + point + `}`, ""},
		{"point at another curve", strings.Replace(`{`+point+`}`, "P-256", "P-384", 1), jose.NoKey},
		{"point not on the curve", `{"kty":"EC","crv":"P-256","x":"` + of + `","y":"` + of + `"}`, jose.NoKey},
		{"short coordinate", `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, jose.NoKey},
		{"coordinates of another length", `{"kty":"EC","crv":"P-256","x":"` + b64(both[:31]) + `","y":"` + b64(both[31:]) + `"}`, jose.NoKey},
		{"no y", `{"kty":"EC","crv":"P-256","x":"` + of + `"}`, jose.NoKey},
		{"no crv", `{"kty":"EC"}`, jose.NoKey},
		{"Ed25519", `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, ""},
		{"short Ed25519", `{"kty":"OKP","crv":"Ed25519","x":"AA"}`, jose.NoKey},
		{"X25519", `{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, jose.NoKey},
		{"Ed448", `{"kty":"OKP","crv":"Ed448","x":"AA"}`, jose.NoKey},
		{"crv a number", `{"kty":"OKP","crv":1}`, jose.JSON},
		{"alg that fits", `{` + point + `,"alg":"ES256"}`, ""},
		{"alg to encrypt", `{` + point + `,"alg":"ECDH-ES+A256KW"}`, ""},
		{"alg that does not fit", `{` + point + `,"alg":"ES384"}`, jose.NoKey},
		{"alg none", `{` + point + `,"alg":"none"}`, jose.NoKey},
		{"alg HS256", `{` + point + `,"alg":"HS256"}`, jose.NoKey},
		{"alg null", `{` + point + `,"alg":null}`, jose.JSON},
		{"use of something else", `{` + point + `,"use":"tls"}`, jose.NoKey},
		{"key_ops against use", `{` + point + `,"use":"enc","key_ops":["verify"]}`, jose.NoKey},
		{"key_ops the other way", `{` + point + `,"use":"sig","key_ops":["deriveKey"]}`, jose.NoKey},
		{"key_ops of a private key", `{` + point + `,"key_ops":["sign"]}`, jose.NoKey},
		{"key_ops empty", `{` + point + `,"key_ops":[]}`, jose.NoKey},
		{"key_ops a string", `{` + point + `,"key_ops":"verify"}`, jose.JSON},
		{"x5c empty", `{` + point + `,"x5c":[]}`, jose.JSON},
		{"x5c a string", `{` + point + `,"x5c":"MIIB"}`, jose.JSON},
		{"x5c not base64", `{` + point + `,"x5c":["-"]}`, jose.Encoding},
		{"x5c no certificate", `{` + point + `,"x5c":["AAAA"]}`, jose.NoKey},
		{"more certificates than eight", `{` + point + `,"x5c":["AAAA","","","","","","","",""]}`, jose.JSON},
		{"too long", `{` + point + strings.Repeat(" ", 64<<10) + `}`, jose.Size},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			k, err := jose.ParseJWK([]byte(v.text))
			if v.want != "" {
				wants(t, err, v.want)
				if k.Key != nil {
					t.Error("a key came back beside the error")
				}
				return
			}
			if err != nil || k.Key == nil {
				t.Errorf("%v", err)
			}
		})
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		_, err := jose.ParseJWK([]byte(`{` + point + `,"` + name + `":"AA"}`))
		wants(t, err, jose.Private)
	}
}

// A key is found for the algorithms of its kind, and for no others.
func TestFits(t *testing.T) {
	t.Parallel()
	const (
		ofRSA = "RS256 RS384 RS512 PS256 PS384 PS512 RSA-OAEP RSA-OAEP-256"
		ecdh  = " ECDH-ES ECDH-ES+A256KW"
	)
	for name, v := range map[string]struct {
		key  crypto.PublicKey
		want string
	}{
		"RSA":           {rsaSig().Public(), ofRSA},
		"P-256":         {curveKey(t, elliptic.P256()).Public(), "ES256" + ecdh},
		"P-384":         {curveKey(t, elliptic.P384()).Public(), "ES384" + ecdh},
		"P-521":         {curveKey(t, elliptic.P521()).Public(), "ES512" + ecdh},
		"P-224":         {curveKey(t, elliptic.P224()).Public(), ""},
		"Ed25519":       {edKey(t).Public(), "EdDSA"},
		"short Ed25519": {edKey(t).Public().(ed25519.PublicKey)[:31], ""},
		"a secret":      {[]byte("secret"), ""},
	} {
		var got []string
		for _, alg := range slices.Concat(algs, wraps, []string{"", "none", "HS256", "RSA1_5", "dir", "A256KW"}) {
			found, err := (&jose.Ring{Keys: []jose.PublicKey{{Key: v.key}}}).Find(t.Context(), jose.Query{Alg: alg})
			if err != nil {
				t.Fatal(err)
			}
			if len(found) > 0 {
				got = append(got, alg)
			}
		}
		if strings.Join(got, " ") != v.want {
			t.Errorf("%s: %q, want %q", name, got, v.want)
		}
	}
}

// What a key is for, is said by use, key_ops and alg together.
func TestFind(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		members   string
		sig, encs bool
	}{
		{``, true, true},
		{`,"use":"sig"`, true, false},
		{`,"use":"enc"`, false, true},
		{`,"key_ops":["verify"]`, true, false},
		{`,"key_ops":["verify","deriveBits"]`, true, true},
		{`,"key_ops":["wrapKey"]`, false, true},
		{`,"key_ops":["deriveKey"]`, false, true},
		{`,"key_ops":["encrypt"]`, false, true},
		{`,"use":"sig","key_ops":["verify","encrypt"]`, true, false},
		{`,"alg":"ES256"`, true, false},
		{`,"alg":"ECDH-ES"`, false, true},
	} {
		r, err := jose.ParseJWKS([]byte(`{"keys":[{"kid":"k",` + point + v.members + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		for q, want := range map[jose.Query]bool{
			{ID: "k", Alg: "ES256", Use: "sig"}:    v.sig,
			{Alg: "ES256", Use: "sig"}:             v.sig,
			{ID: "k", Alg: "ECDH-ES", Use: "enc"}:  v.encs,
			{ID: "k", Alg: "ES384", Use: "sig"}:    false,
			{ID: "k", Alg: "RS256", Use: "sig"}:    false,
			{ID: "K", Alg: "ES256", Use: "sig"}:    false,
			{ID: "k", Alg: "RSA-OAEP", Use: "enc"}: false,
			{ID: "k", Alg: "", Use: "sig"}:         false,
		} {
			keys, err := r.Find(t.Context(), q)
			if err != nil || (len(keys) == 1) != want {
				t.Errorf("%s: %+v finds %d, %v", v.members, q, len(keys), err)
			}
		}
	}
}

// A key's certificates are kept, if the first is for it.
func TestCertificates(t *testing.T) {
	t.Parallel()
	key := curveKey(t, elliptic.P256())
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rp"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	with := func(k crypto.Signer) string {
		return strings.Replace(public(t, k), "{", `{"x5c":["`+base64.StdEncoding.EncodeToString(der)+`"],`, 1)
	}
	k, err := jose.ParseJWK([]byte(with(key)))
	if err != nil || len(k.Chain) != 1 || k.Chain[0].Subject.CommonName != "rp" {
		t.Errorf("%d certificates, %v", len(k.Chain), err)
	}
	for q, want := range map[jose.Query]int{
		{Certificate: string(der), Use: jose.Signing}:            1,
		{Certificate: string(der)}:                               1,
		{Certificate: string(der[:len(der)-1])}:                  0,
		{Certificate: string(der), ID: "other"}:                  0,
		{Certificate: string(der), Alg: "none", Use: "anything"}: 1,
	} {
		bare, err := jose.ParseJWK([]byte(public(t, key)))
		if err != nil {
			t.Fatal(err)
		}
		if found, err := (&jose.Ring{Keys: []jose.PublicKey{bare, k}}).Find(t.Context(), q); err != nil || len(found) != want || want == 1 && found[0].Chain == nil {
			t.Errorf("%d keys for a certificate, want %d, %v", len(found), want, err)
		}
	}
	_, err = jose.ParseJWK([]byte(with(curveKey(t, elliptic.P256()))))
	wants(t, err, jose.NoKey)
	_, err = jose.ParseJWK([]byte(with(rsaOther())))
	wants(t, err, jose.NoKey)
}

// What go-jose writes, we read as the same key.
func TestKeysOfGoJose(t *testing.T) {
	t.Parallel()
	large, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{rsaOther(), large, curveKey(t, elliptic.P256()), curveKey(t, elliptic.P384()), curveKey(t, elliptic.P521()), edKey(t)} {
		text, err := (&gojose.JSONWebKey{Key: key.Public(), KeyID: "k", Use: "sig"}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		k, err := jose.ParseJWK(text)
		if err != nil || k.ID != "k" || k.Use != "sig" || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Key) {
			t.Errorf("%s: %v", text, err)
		}
		private, err := (&gojose.JSONWebKey{Key: key}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		_, err = jose.ParseJWK(private)
		wants(t, err, jose.Private)
	}
}
