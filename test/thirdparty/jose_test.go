package thirdparty

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	randv2 "math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/internal/jose"
	"eidgate/test/rig"
)

var (
	signings = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	wrapping = []string{"RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW"}
	contents = []string{"A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A256GCM"}
)

// A josetask is one line for jose/witness.mjs, a joseanswer one of its lines.
type josetask struct {
	Do    string          `json:"do"`
	Alg   string          `json:"alg,omitempty"`
	Enc   string          `json:"enc,omitempty"`
	Crv   string          `json:"crv,omitempty"`
	Token string          `json:"token,omitempty"`
	Text  string          `json:"text,omitempty"`
	JWKS  json.RawMessage `json:"jwks,omitempty"`
	JWK   json.RawMessage `json:"jwk,omitempty"`
}

type joseanswer struct {
	Token, Text, Refused string
	Octets               []byte // of what was verified
	Header               map[string]any
	JWKS                 json.RawMessage
}

// witness is the npm package jose at work.
type witness struct {
	t     *testing.T
	in    io.WriteCloser
	lines *bufio.Reader
}

func startWitness(t *testing.T) *witness {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute) // the test's own ends before its clean-up
	cmd := exec.CommandContext(ctx, "node", "--no-warnings", "witness.mjs")
	cmd.Dir = rig.NPM(ctx, t, "jose", "witness.mjs")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("witness.mjs ended with %v\n%s", err, &stderr)
		}
		cancel()
	})
	return &witness{t, in, bufio.NewReader(out)}
}

func (w *witness) ask(task josetask) (a joseanswer) {
	w.t.Helper()
	line, err := json.Marshal(task)
	if err != nil {
		w.t.Fatal(err)
	}
	_, _ = w.in.Write(append(line, '\n')) // a process that has ended gives no answer, below
	if line, err = w.lines.ReadBytes('\n'); err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		w.t.Fatalf("no answer to %s: %v", task.Do, err)
	}
	return a
}

// joseSet has a key of ours for each algorithm, whose kid is its name.
func joseSet(t *testing.T) *jose.Set {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve := func(c elliptic.Curve) crypto.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	var keys []jose.Key
	for _, alg := range signings {
		k := jose.Key{ID: alg, Use: jose.Signing, Alg: alg, Private: key}
		switch alg {
		case jose.ES256:
			k.Private = curve(elliptic.P256())
		case jose.ES384:
			k.Private = curve(elliptic.P384())
		case jose.ES512:
			k.Private = curve(elliptic.P521())
		case jose.EdDSA:
			_, private, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			k.Private = private
		}
		keys = append(keys, k)
	}
	for _, alg := range wrapping {
		k := jose.Key{ID: alg, Use: jose.Encrypting, Alg: alg, Private: key}
		switch alg {
		case jose.ECDHES:
			k.Private = curve(elliptic.P384())
		case jose.ECDHESA256KW:
			k.Private = curve(elliptic.P256())
		}
		keys = append(keys, k)
	}
	set, err := jose.NewSet(jose.Schedule{}, time.Now, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestJose lets the npm package jose read what we sign and encrypt, and us what
// it signs and encrypts: every algorithm, both ways, with the key sets as either
// publishes them.
func TestJose(t *testing.T) {
	t.Parallel()
	w, set := startWitness(t), joseSet(t)
	body, _ := set.JWKS()
	const text = `{"sub":"ärende","aud":["a"]}`
	for _, alg := range signings {
		token, err := set.Sign(alg, "JWT", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		a := w.ask(josetask{Do: "verify", JWKS: body, Alg: alg, Token: token})
		if string(a.Octets) != text || a.Header["kid"] != alg || a.Header["typ"] != "JWT" {
			t.Errorf("%s: they read %+v", alg, a)
		}
		a = w.ask(josetask{Do: "sign", Alg: alg, Text: text})
		ring, err := jose.ParseJWKS(a.JWKS)
		if err != nil {
			t.Fatalf("%s: %v: %+v", alg, err, a)
		}
		v, err := jose.Verify(t.Context(), a.Token, jose.Rule{Algs: []string{alg}, Keys: ring})
		if err != nil || string(v.Payload) != text || v.Key.ID != "theirs" {
			t.Errorf("%s: we read %v", alg, err)
		}
	}
	token, err := set.Sign(jose.RS256, "JWT", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range wrapping {
		for _, crv := range []string{"P-256", "P-384", "P-521"} {
			if strings.HasPrefix(alg, "RSA") && crv != "P-256" {
				continue // has none
			}
			a := w.ask(josetask{Do: "keys", Alg: alg, Crv: crv})
			ring, err := jose.ParseJWKS(a.JWKS)
			if err != nil {
				t.Fatalf("%s: %v: %+v", alg, err, a)
			}
			keys, err := ring.Find(t.Context(), jose.Query{Alg: alg, Use: jose.Encrypting})
			if err != nil || len(keys) != 1 {
				t.Fatalf("%s: %d keys, %v", alg, len(keys), err)
			}
			for _, enc := range contents {
				sealed, err := jose.Encrypt(token, keys[0], alg, enc)
				if err != nil {
					t.Fatal(err)
				}
				a := w.ask(josetask{Do: "decrypt", Alg: alg, Enc: enc, Token: sealed})
				if a.Text != token || a.Header["cty"] != "JWT" || a.Header["kid"] != "theirs" {
					t.Errorf("%s %s %s: they read %+v", alg, enc, crv, a)
				}
				a = w.ask(josetask{Do: "encrypt", JWKS: body, Alg: alg, Enc: enc, Text: token})
				if opened, err := set.Decrypt(a.Token, jose.Opening{Enc: []string{enc}}); err != nil || opened != token {
					t.Errorf("%s %s: we read %v, they %+v", alg, enc, err, a)
				}
			}
		}
	}
	ring, err := jose.ParseJWKS(body)
	if err != nil {
		t.Fatal(err)
	}
	var published struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(body, &published); err != nil {
		t.Fatal(err)
	}
	for i, k := range ring.Keys {
		print, err := jose.Thumbprint(k.Key)
		if a := w.ask(josetask{Do: "print", JWK: published.Keys[i]}); err != nil || a.Text != print {
			t.Errorf("%s: thumbprint %s, %v, theirs %+v", k.ID, print, err, a)
		}
	}
}

// stricterTokens says for which kinds of refusal we may be alone, and why.
// Signature is not among them: there, both must say the same.
var stricterTokens = map[jose.Kind]string{
	jose.Encoding:  "padding, white space, other alphabets and bits that say nothing",
	jose.JSON:      "members that stand twice, other spellings, headers that are no object or of other types",
	jose.BadHeader: "b64, zip and crit, whatever they say",
	jose.Type:      "another type",
	jose.Size:      "more than 64 KiB",
}

// TestJoseJudges alters tokens and lets both judge. Whatever they refuse, we must
// refuse; what both accept must say the same.
func TestJoseJudges(t *testing.T) {
	t.Parallel()
	w, r := startWitness(t), randv2.New(randv2.NewPCG(seed, 0))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := jose.NewSet(jose.Schedule{}, time.Now, jose.Key{ID: "k", Use: jose.Signing, Alg: jose.ES256, Private: key})
	if err != nil {
		t.Fatal(err)
	}
	body, _ := set.JWKS()
	ring, err := jose.ParseJWKS(body)
	if err != nil {
		t.Fatal(err)
	}
	var both, neither int
	alone := map[jose.Kind]int{}
	for range 4000 {
		token := alteredToken(t, r, key)
		v, err := jose.Verify(t.Context(), token, jose.Rule{Algs: []string{jose.ES256}, Keys: ring})
		a := w.ask(josetask{Do: "verify", JWKS: body, Alg: jose.ES256, Token: token})
		e, _ := errors.AsType[*jose.Error](err)
		switch {
		case err == nil && a.Refused != "":
			t.Fatalf("we alone accept (they: %s)\n%s", a.Refused, token)
		case err == nil:
			if both++; !bytes.Equal(v.Payload, a.Octets) {
				t.Fatalf("we read %q, they %q", v.Payload, a.Octets)
			}
		case a.Refused != "":
			neither++
		case e == nil || stricterTokens[e.Kind] == "":
			t.Fatalf("they alone accept (we: %v)\n%s", err, token)
		default:
			alone[e.Kind]++
		}
	}
	t.Logf("both accept %d, both refuse %d, we alone refuse %v", both, neither, alone)
	if both < 400 || neither < 1000 || len(alone) < 4 {
		t.Errorf("both accept %d, both refuse %d, we alone refuse %v: too few to mean something", both, neither, alone)
	}
}

// alteredToken is a token in which something or nothing was changed, before it
// was signed or after.
func alteredToken(t *testing.T, r *randv2.Rand, key *ecdsa.PrivateKey) string {
	t.Helper()
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	members := []string{`"alg":"ES256"`, `"kid":"k"`}
	switch r.IntN(3) {
	case 0:
		members = append(members, one(`"typ":"JWT"`, `"typ":"at+jwt"`, `"typ":1`, `"crit":["b64"],"b64":true`, `"crit":["x"],"x":1`, `"crit":[]`, `"b64":true`,
			`"b64":false`, `"zip":"DEF"`, `"x":{"a":1}`, `"x":{"a":1,"a":2}`, `"jku":"https://x.example"`, `"jwk":{}`, `"x5c":["AA"]`, `"cty":"x"`, `"nonce":"n"`))
	case 1:
		members[r.IntN(2)] = one(`"alg":"none"`, `"alg":"HS256"`, `"alg":"ES384"`, `"alg":null`, `"ALG":"ES256"`, `"kid":"x"`, `"kid":null`, `"kid":1`, `"Kid":"k"`,
			`"alg":"ES256","alg":"ES256"`, `"alg":"ES256","alg":"none"`, `"\u0061lg":"ES256"`, `"kid":"k","kid":"k"`)
	}
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	header := one("", "", "", " ", "\ufeff", "\n") + "{" + strings.Join(members, one(",", " , ")) + "}" + one("", "", "", " ", "{}", "x")
	payload := one(`{"sub":"x"}`, `{"sub":"x","sub":"y"}`, "", "null", "text", "\xff\xfe", fmt.Sprintf(`{"n":%d}`, r.Uint64()))
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	if r.IntN(8) == 0 {
		input = damaged(r, input)
	}
	sum := crypto.SHA256.New()
	sum.Write([]byte(input))
	rr, s, err := ecdsa.Sign(rand.Reader, key, sum.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	rr.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	token := input + "." + b64(sig)
	if r.IntN(3) == 0 {
		token = damaged(r, token)
	}
	return token
}

// damaged changes a few characters of a text in base64url.
func damaged(r *randv2.Rand, s string) string {
	text := []byte(s)
	for range 1 + r.IntN(2) {
		i := r.IntN(len(text))
		switch r.IntN(5) {
		case 0:
			text[i] = "ABCDabcd0123-_+/=. \n"[r.IntN(20)]
		case 1:
			text = slices.Delete(text, i, i+1)
		case 2:
			text = slices.Insert(text, i, "A.=\n _"[r.IntN(6)])
		case 3:
			text = append(text, "AA=.\n "[r.IntN(6)])
		case 4:
			text[len(text)-1] ^= 1
		}
	}
	return string(text)
}
