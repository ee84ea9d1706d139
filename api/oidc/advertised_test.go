package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/api/oidc"
	"eidgate/relying"
)

// keyFor makes a private key that an algorithm works with.
func keyFor(alg string) any {
	curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[alg]
	switch {
	case alg == "EdDSA":
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	case strings.HasPrefix(alg, "ECDH"):
		return newKey()
	case curve == nil:
		return foreign()[0]
	}
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// setOf is a set with the public half of one key.
func setOf(key any) []byte {
	raw, err := json.Marshal(gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{{Key: key.(interface{ Public() crypto.PublicKey }).Public(), KeyID: "rp"}}})
	if err != nil {
		panic(err)
	}
	return raw
}

// signedBy is a token that a library has signed.
func signedBy(t *testing.T, key any, alg string, typ string, claims object, embed bool) string {
	t.Helper()
	o := (&gojose.SignerOptions{EmbedJWK: embed}).WithType(gojose.ContentType(typ))
	if !embed {
		key = gojose.JSONWebKey{Key: key, KeyID: "rp"}
	}
	s, err := gojose.NewSigner(gojose.SigningKey{Algorithm: gojose.SignatureAlgorithm(alg), Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.Sign(raw)
	if err != nil {
		t.Fatal(err)
	}
	out, err := made.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// read opens an encrypted token with a library, by one pair of algorithms, and
// is the signed one inside.
func read(t *testing.T, key any, alg, enc, token string) string {
	t.Helper()
	e, err := gojose.ParseEncryptedCompact(token, []gojose.KeyAlgorithm{gojose.KeyAlgorithm(alg)}, []gojose.ContentEncryption{gojose.ContentEncryption(enc)})
	if err != nil {
		t.Fatalf("%s %s: %v", alg, enc, err)
	}
	plain, err := e.Decrypt(key)
	if err != nil {
		t.Fatalf("%s %s: %v", alg, enc, err)
	}
	return string(plain)
}

// algOf is that of a signed token's header.
func algOf(t *testing.T, token string) string {
	t.Helper()
	s, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{"RS256", "PS256", "ES256", "EdDSA"})
	if err != nil {
		t.Fatal(err)
	}
	return s.Signatures[0].Header.Algorithm
}

// TestAdvertised: each value that metadata list works, with one profile at least,
// and what is not listed does not.
func TestAdvertised(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	meta := w.send("GET", "/auth/open/.well-known/openid-configuration", nil, nil).json
	list := func(name string) (out []string) {
		all, _ := meta[name].([]any)
		for _, v := range all {
			out = append(out, v.(string))
		}
		if len(out) == 0 {
			t.Errorf("%s has nothing", name)
		}
		return out
	}
	// profiles that may use an algorithm for what change sets.
	clients := func(change func(*relying.Client)) (out []*relying.Client) {
		for _, profile := range []relying.Profile{relying.Signicat, relying.Standard} {
			c := w.client(func(c *relying.Client) { c.Profile = profile })
			if change(c); c.Check() == nil {
				if err := w.store.PutClient(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				out = append(out, c)
			}
		}
		return out
	}
	info := func(out map[string]any) string {
		return w.send("GET", "userinfo", http.Header{"Authorization": {"Bearer " + out["access_token"].(string)}}, nil).body
	}

	w.in(t, "signatures of ours", func(t *testing.T) {
		if a := list("id_token_signing_alg_values_supported"); !slices.Equal(a, list("userinfo_signing_alg_values_supported")) || !slices.Equal(a, list("authorization_signing_alg_values_supported")) {
			t.Errorf("tokens are not signed alike: %v", a)
		}
		for _, alg := range list("id_token_signing_alg_values_supported") {
			all := clients(func(c *relying.Client) { c.IDTokenAlg, c.UserinfoAlg, c.Userinfo = alg, alg, relying.Signed })
			if len(all) == 0 {
				t.Errorf("no client can have %s", alg)
			}
			for _, c := range all {
				out := w.tokens(c, w.visitor())
				if got := algOf(t, out["id_token"].(string)) + " " + algOf(t, info(out)); got != alg+" "+alg {
					t.Errorf("%s %s: %s", c.Profile, alg, got)
				}
				if c.Profile == relying.Signicat {
					continue
				}
				_, to := w.visitor().authorize(request(c, "response_mode", "jwt"))
				if got := algOf(t, to.Query().Get("response")); got != alg {
					t.Errorf("an answer for %s is signed with %s", alg, got)
				}
			}
		}
	})
	w.in(t, "encryption by us", func(t *testing.T) {
		if a, e := list("id_token_encryption_alg_values_supported"), list("id_token_encryption_enc_values_supported"); !slices.Equal(a, list("userinfo_encryption_alg_values_supported")) ||
			!slices.Equal(e, list("userinfo_encryption_enc_values_supported")) {
			t.Errorf("tokens are not encrypted alike: %v %v", a, e)
		}
		for _, alg := range list("id_token_encryption_alg_values_supported") {
			key := keyFor(alg)
			for _, enc := range list("id_token_encryption_enc_values_supported") {
				c := w.client(func(c *relying.Client) {
					c.JWKS, c.IDTokenEnc, c.UserinfoEnc, c.Userinfo = setOf(key), relying.Encryption{Alg: alg, Enc: enc}, relying.Encryption{Alg: alg, Enc: enc}, relying.Encrypted
				})
				out := w.tokens(c, w.visitor())
				if id, who := payload(t, read(t, key, alg, enc, out["id_token"].(string))), payload(t, read(t, key, alg, enc, info(out))); id["sub"] != who["sub"] || id["sub"] == nil {
					t.Errorf("%s %s: %v and %v", alg, enc, id["sub"], who["sub"])
				}
			}
		}
	})
	w.in(t, "signatures of clients", func(t *testing.T) {
		for _, alg := range list("token_endpoint_auth_signing_alg_values_supported") {
			key := keyFor(alg)
			all := clients(func(c *relying.Client) {
				c.Auth, c.Secrets, c.AuthAlg, c.JWKS = relying.PrivateKeyJWT, nil, alg, setOf(key)
			})
			if len(all) == 0 {
				t.Errorf("no client can have %s", alg)
			}
			for _, c := range all {
				for _, at := range []string{"token", "revocation", "introspect"} {
					x := w.form(at, asserted(withForm(own, "token", "x"), signedBy(t, key, alg, "JWT", w.assertion(c), false)))
					if x.status != http.StatusOK {
						t.Errorf("%s %s at %s: %d %s", c.Profile, alg, at, x.status, x.body)
					}
				}
			}
		}
		if a := list("token_endpoint_auth_signing_alg_values_supported"); !slices.Equal(a, list("revocation_endpoint_auth_signing_alg_values_supported")) ||
			!slices.Equal(a, list("introspection_endpoint_auth_signing_alg_values_supported")) {
			t.Errorf("assertions are not taken alike: %v", a)
		}
		for _, alg := range list("dpop_signing_alg_values_supported") {
			c, d := w.client(), w.dpop()
			x := w.form("token", own, append(basic(c), "DPoP", signedBy(t, keyFor(alg), alg, "dpop+jwt", d.claims("POST", "token"), true))...)
			if x.json["token_type"] != "DPoP" {
				t.Errorf("a proof by %s: %d %s", alg, x.status, x.body)
			}
		}
	})
	w.in(t, "request objects", func(t *testing.T) {
		set, err := http.Get(w.server.URL + oidc.Root + "/.well-known/openid-configuration/jwks")
		if err != nil {
			t.Fatal(err)
		}
		defer set.Body.Close()
		var ours gojose.JSONWebKeySet
		if err := json.NewDecoder(set.Body).Decode(&ours); err != nil {
			t.Fatal(err)
		}
		parameters := func(c *relying.Client) object {
			return object{"iss": c.ID, "aud": issuer, "client_id": c.ID, "response_type": "code", "redirect_uri": shop, "scope": "openid", "state": "s1", "acr_values": "idp:sbid"}
		}
		for _, alg := range list("request_object_signing_alg_values_supported") {
			key := keyFor(alg)
			all := clients(func(c *relying.Client) { c.RequestAlg, c.JWKS = alg, setOf(key) })
			if len(all) == 0 {
				t.Errorf("no client can have %s", alg)
			}
			for _, c := range all {
				w.code(w.visitor(), url.Values{"client_id": {c.ID}, "request": {signedBy(t, key, alg, "JWT", parameters(c), false)}})
			}
		}
		key := newKey()
		c := w.client(func(c *relying.Client) { c.JWKS = setOf(key) })
		for _, alg := range list("request_object_encryption_alg_values_supported") {
			to := slices.IndexFunc(ours.Keys, func(k gojose.JSONWebKey) bool { return k.Use == "enc" && k.Algorithm == alg })
			if to < 0 {
				t.Fatalf("no key is published for %s", alg)
			}
			for _, enc := range list("request_object_encryption_enc_values_supported") {
				e, err := gojose.NewEncrypter(gojose.ContentEncryption(enc), gojose.Recipient{Algorithm: gojose.KeyAlgorithm(alg), Key: ours.Keys[to].Key, KeyID: ours.Keys[to].KeyID},
					(&gojose.EncrypterOptions{}).WithContentType("JWT"))
				if err != nil {
					t.Fatal(err)
				}
				sealed, err := e.Encrypt([]byte(signedBy(t, key, "ES256", "JWT", parameters(c), false)))
				if err != nil {
					t.Fatal(err)
				}
				text, err := sealed.CompactSerialize()
				if err != nil {
					t.Fatal(err)
				}
				w.code(w.visitor(), url.Values{"client_id": {c.ID}, "request": {text}})
			}
		}
	})
	w.in(t, "methods of authentication", func(t *testing.T) {
		methods := list("token_endpoint_auth_methods_supported")
		if !slices.Equal(methods, list("revocation_endpoint_auth_methods_supported")) ||
			!slices.Equal(slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return m == "none" }), list("introspection_endpoint_auth_methods_supported")) {
			t.Errorf("clients are not known alike: %v", methods)
		}
		public := w.client(func(c *relying.Client) { c.Auth, c.Secrets = relying.Public, nil })
		if x := w.form("revocation", url.Values{"client_id": {public.ID}, "token": {"x"}}); x.status != http.StatusOK {
			t.Errorf("revocation by none: %d", x.status)
		}
		if x := w.form("introspect", url.Values{"client_id": {public.ID}, "token": {"x"}}); x.json["error"] != "invalid_client" {
			t.Errorf("introspection by none: %d %s", x.status, x.body)
		}
	})
	w.in(t, "words of a request", func(t *testing.T) {
		c := w.client()
		for name, words := range map[string][]string{"scope": list("scopes_supported"), "ui_locales": list("ui_locales_supported"), "response_mode": list("response_modes_supported"),
			"response_type": list("response_types_supported"), "prompt": list("prompt_values_supported")} {
			for _, word := range words {
				q := request(c, name, word)
				if name == "scope" {
					q.Set("scope", "openid "+word)
				}
				v := w.visitor()
				if word == "none" {
					w.tokens(c, v)
				}
				if _, to := v.authorize(q); to == nil || to.Query().Get("code")+to.Query().Get("response") == "" {
					t.Errorf("%s=%s leads to %v", name, word, to)
				}
			}
		}
	})
	w.in(t, "claims", func(t *testing.T) {
		c := w.client(func(c *relying.Client) { c.Profile, c.UserData = relying.Signicat, relying.All })
		out := w.tokens(c, w.visitor(), "scope", strings.Join(slices.DeleteFunc(list("scopes_supported"), func(s string) bool { return s == "date-of-birth" }), " "))
		var who map[string]any
		if err := json.Unmarshal([]byte(info(out)), &who); err != nil {
			t.Fatal(err)
		}
		for _, told := range []map[string]any{payload(t, out["id_token"]), who} {
			for name := range told {
				if !slices.Contains([]string{"iss", "nbf", "iat", "exp", "aud", "nonce", "at_hash"}, name) && !slices.Contains(list("claims_supported"), name) {
					t.Errorf("%s is told and not listed", name)
				}
			}
		}
	})
}
