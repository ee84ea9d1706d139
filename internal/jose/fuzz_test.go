package jose_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/internal/jose"
)

// FuzzVerify reads tokens that anybody wrote, and the same header and payload
// signed. What is accepted reads the same for encoding/json and go-jose.
func FuzzVerify(f *testing.F) {
	key := curveKey(f, elliptic.P256())
	for _, s := range []string{
		`{"alg":"ES256","kid":"k"}.{"iss":"i","aud":["a"],"exp":1893553445}`, `{"alg":"none"}.{}`, `{"alg":"ES256","alg":"none"}.{"aud":"a","AUD":1}`,
		`{"alg":"ES256","jwk":{"kty":"EC"}}.null`, `{"typ":"JWT","alg":"ES256"}.{"exp":1e400}`, `..`, `{"alg":"ES256","crit":["b64"],"b64":false}.x`,
		`{"alg":"ES256"}.{"a\"":[{},{"b":"\\"}, 1 ,null],"a":{"b":1,"c":[true]},"\u0061":1}`, `{"alg":"ES256"}.{"a":{"b":1,"B":1}}`,
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Add(raw(f, key, `{"alg":"ES256"}`, `{}`), false)
	rule := jose.Rule{Algs: []string{"ES256"}, Keys: one(key)}
	f.Fuzz(func(t *testing.T, text string, sign bool) {
		token := text
		if header, payload, ok := strings.Cut(text, "."); ok && sign {
			token = raw(t, key, header, payload)
		}
		v, err := jose.Verify(t.Context(), token, rule)
		if err != nil {
			if v != nil {
				t.Fatal("something came back beside the error")
			}
			return
		}
		if !sign && !strings.Contains(text, ".") {
			t.Fatal("accepted what is no token")
		}
		object, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.ES256})
		if err != nil {
			if v.Header.Raw["jwk"] == nil && v.Header.Raw["x5c"] == nil && v.Header.Raw["nonce"] == nil { // which we do not look at
				t.Fatalf("go-jose refuses the form: %v", err)
			}
		} else if payload, err := object.Verify(key.Public()); err != nil || string(payload) != string(v.Payload) {
			t.Fatalf("go-jose reads another payload: %v", err)
		}
		c, err := v.Claims()
		if err != nil {
			return
		}
		var theirs struct {
			Iss, Sub, Jti, Nonce string
			Aud                  any
		}
		if twice(v.Payload) {
			t.Fatal("a member stands twice")
		}
		if err := json.Unmarshal(v.Payload, &theirs); err != nil {
			t.Fatalf("encoding/json refuses the claims: %v", err)
		}
		if theirs.Iss != c.Issuer || theirs.Sub != c.Subject || theirs.Jti != c.ID || theirs.Nonce != c.Nonce {
			t.Fatalf("encoding/json reads other claims: %+v", theirs)
		}
		if one, ok := theirs.Aud.(string); ok && (c.AudienceIsArray || len(c.Audience) != 1 || c.Audience[0] != one) {
			t.Fatalf("encoding/json reads another audience: %q", one)
		}
	})
}

// twice reports whether an object of a JSON text has two members of one name,
// as encoding/json's reader of tokens sees it.
func twice(text []byte) bool {
	type level struct {
		names map[string]bool // nil for an array
		value bool            // in an object: a value is next
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var open []level
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			open = open[:len(open)-1]
			continue
		}
		if n := len(open); n > 0 && open[n-1].names != nil {
			if top := &open[n-1]; !top.value {
				name := strings.ToLower(token.(string))
				if top.names[name] {
					return true
				}
				top.names[name], top.value = true, true
				continue
			}
			open[n-1].value = false
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		}
	}
}

// FuzzParseJWKS reads key sets that anybody wrote. What is accepted is public,
// and each key survives being written and read again.
func FuzzParseJWKS(f *testing.F) {
	for _, key := range []string{`{` + point + `}`, `{` + point + `,"d":"AA"}`, public(f, rsaSig()), public(f, edKey(f)), `{"kty":"oct","k":"AA"}`, `{"kty":"OKP"}`,
		`{` + point + `,"use":"sig","alg":"ES256","key_ops":["verify"],"x5c":["AAAA"]}`} {
		f.Add([]byte(`{"keys":[` + key + `]}`))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ring, err := jose.ParseJWKS(text)
		if err != nil {
			return
		}
		for _, k := range ring.Keys {
			written, err := (&gojose.JSONWebKey{Key: k.Key, KeyID: k.ID, Use: k.Use, Algorithm: k.Alg}).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			again, err := jose.ParseJWK(written)
			if err != nil || again.ID != k.ID || again.Use != k.Use || again.Alg != k.Alg {
				t.Fatalf("%s is read as %+v, %v", written, again, err)
			}
			first, err := jose.Thumbprint(k.Key)
			if err != nil {
				t.Fatal(err)
			}
			if second, err := jose.Thumbprint(again.Key); err != nil || first != second {
				t.Fatalf("thumbprints %s and %s, %v", first, second, err)
			}
		}
	})
}

// FuzzDecrypt opens messages that anybody wrote. Nothing but what we encrypted
// can be opened.
func FuzzDecrypt(f *testing.F) {
	set := ours(f)
	token, err := set.Sign("ES256", "JWT", []byte(`{}`))
	if err != nil {
		f.Fatal(err)
	}
	known := map[string]bool{}
	for _, alg := range wraps {
		message, err := jose.Encrypt(token, recipient(f, set, alg), alg, "A256GCM")
		if err != nil {
			f.Fatal(err)
		}
		known[message] = true
		f.Add(message)
		header, rest, _ := strings.Cut(message, ".")
		f.Add(string(unb64(f, header)) + "." + rest)
	}
	f.Add(`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","kid":"RSA-OAEP","p2c":100000000,"p2s":"AAAAAAAAAAA"}.AA.AA.AA.AA`)
	f.Add(`{"alg":"ECDH-ES+A256KW","enc":"A256CBC-HS512","kid":"ECDH-ES+A256KW","epk":{` + point + `},"apu":"AA"}.AAAAAAAAAAAAAAAAAAAAAAAA.AA.AA.AA`)
	f.Fuzz(func(t *testing.T, text string) {
		if header, rest, ok := strings.Cut(text, "."); ok && strings.HasPrefix(header, "{") {
			text = b64([]byte(header)) + "." + rest
		}
		opened, err := set.Decrypt(text, jose.Opening{Bare: true})
		if err == nil && (!known[text] || opened != token) {
			t.Fatal("opened what nobody encrypted")
		}
	})
}

// FuzzReadProof reads proofs that anybody wrote, and the same with a key and a
// signature that fit. What is accepted has what a proof must have.
func FuzzReadProof(f *testing.F) {
	key := curveKey(f, elliptic.P256())
	jwk := public(f, key)
	for _, claims := range []string{`{"jti":"1","htm":"POST","htu":"https://x.example/","iat":1}`, `{"jti":"1","htm":"","htu":"","iat":1}`, `{"iat":1e300}`, `{"ath":"AA"}`, `null`} {
		f.Add(`{"typ":"dpop+jwt","alg":"ES256","jwk":KEY}`, claims)
		f.Add(`{"typ":"JWT","alg":"ES256","jwk":{}}`, claims)
	}
	f.Fuzz(func(t *testing.T, header, claims string) {
		p, err := jose.ReadProof(raw(t, key, strings.Replace(header, "KEY", jwk, 1), claims), []string{"ES256"})
		if err != nil {
			if p != nil {
				t.Fatal("a proof came back beside the error")
			}
			return
		}
		if p.ID == "" || p.Method == "" || p.URL == "" || p.IssuedAt.IsZero() || len(p.JKT) != 43 {
			t.Fatalf("a proof without what it must have: %#v", *p)
		}
		if p.For(p.Method, "https://other.example/") && !strings.Contains(strings.ToLower(p.URL), "other.example") {
			t.Fatalf("%q is for another host", p.URL)
		}
	})
}
