package jose_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/internal/jose"
)

// The members stand in the order in which relying parties know them.
func TestJWKS(t *testing.T) {
	t.Parallel()
	from := now.Add(-time.Hour)
	ec, ed := curveKey(t, elliptic.P256()), edKey(t)
	set, err := jose.NewSet(jose.Schedule{}, clock,
		jose.Key{ID: "encryption-key-1", Use: "enc", Alg: "RSA-OAEP", Private: rsaEnc(), From: from},
		jose.Key{ID: "signing-key-3", Use: "sig", Alg: "EdDSA", Private: ed, From: from.Add(-2)},
		jose.Key{ID: "signing-key-2", Use: "sig", Alg: "ES256", Private: ec, From: from.Add(-1)},
		jose.Key{ID: "signing-key-1", Use: "sig", Alg: "RS256", Private: rsaSig(), From: from},
	)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"keys":[`+
		`{"kty":"RSA","use":"sig","kid":"signing-key-1","e":"AQAB","n":"%s","alg":"RS256"},`+
		`{"kty":"EC","use":"sig","kid":"signing-key-2","crv":"P-256","x":"%s","y":"%s","alg":"ES256"},`+
		`{"kty":"OKP","use":"sig","kid":"signing-key-3","crv":"Ed25519","x":"%s","alg":"EdDSA"},`+
		`{"kty":"RSA","use":"enc","kid":"encryption-key-1","e":"AQAB","n":"%s","alg":"RSA-OAEP"}]}`,
		b64(rsaSig().N.Bytes()), b64(point[1:33]), b64(point[33:]), b64(ed[32:]), b64(rsaEnc().N.Bytes()))
	body, etag := set.JWKS()
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	if again, tag := set.JWKS(); &again[0] != &body[0] || tag != etag {
		t.Error("the set is written again though nothing has changed")
	}
	if len(etag) != 24 || etag[0] != '"' || etag[23] != '"' {
		t.Errorf("entity tag %s", etag)
	}
	empty, err := jose.NewSet(jose.Schedule{}, clock)
	if err != nil {
		t.Fatal(err)
	}
	if body, tag := empty.JWKS(); string(body) != `{"keys":[]}` || tag == etag {
		t.Errorf("empty set: %s, %s", body, tag)
	}
}

// OP-JWKS-02: whoever keeps a copy of the set as long as it may can always
// check what is signed and is still valid, if each key is published one such time
// before the one before it ends.
func TestRotation(t *testing.T) {
	t.Parallel()
	s := jose.Schedule{Cache: 24 * time.Hour, Longest: time.Hour}
	at := now
	hours := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	key := func(id string, from, until time.Time) jose.Key {
		return jose.Key{ID: id, Use: "sig", Alg: "ES256", Private: curveKey(t, elliptic.P256()), From: from, Until: until}
	}
	published := map[int]jose.Key{ // by the hour; 2 is followed almost at once
		0:  key("1", now, hours(54)),
		30: key("2", hours(54), hours(55)),
		31: key("3", hours(55), hours(124)),
		99: key("4", hours(124), time.Time{}),
	}
	var keys []jose.Key
	gone := map[string]int{}
	type copied struct {
		ring *jose.Ring
		at   time.Time
	}
	var copies []copied // one an hour, as old as they may be
	type token struct {
		text string
		at   time.Time
	}
	var tokens []token
	for hour := range 24 * 10 {
		at = now.Add(time.Duration(hour) * time.Hour)
		if k, ok := published[hour]; ok {
			keys = append(keys, k)
		}
		set, err := jose.NewSet(s, func() time.Time { return at }, keys...)
		if err != nil {
			t.Fatal(err)
		}
		copies = append(copies, copied{ring(t, set), at})
		for at.Sub(copies[0].at) > s.Cache {
			copies = copies[1:]
		}
		tokens = append(tokens, token{sign(t, set, "ES256", "JWT", `{}`), at})
		for at.Sub(tokens[0].at) > s.Longest {
			tokens = tokens[1:]
		}
		for _, c := range copies {
			for _, token := range tokens {
				if _, err := jose.Verify(t.Context(), token.text, jose.Rule{Algs: []string{"ES256"}, Keys: c.ring}); err != nil {
					t.Fatalf("hour %d: a token of %s with a copy of %s: %v", hour, token.at, c.at, err)
				}
			}
		}
		for _, k := range keys {
			if _, known := gone[k.ID]; !known && s.State(k, at) == jose.Gone {
				gone[k.ID] = hour
			}
		}
	}
	// Each stays for 25 hours after its end.
	if gone["1"] != 79 || gone["2"] != 80 || gone["3"] != 149 || len(gone) != 3 {
		t.Errorf("keys are gone at %v", gone)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	s := jose.Schedule{Cache: 10, Longest: 5}
	k := jose.Key{From: now, Until: now.Add(100)}
	for _, v := range []struct {
		after time.Duration
		want  jose.State
	}{{-1, jose.Next}, {0, jose.Active}, {99, jose.Active}, {100, jose.Retired}, {114, jose.Retired}, {115, jose.Gone}} {
		if got := s.State(k, now.Add(v.after)); got != v.want {
			t.Errorf("after %d: %s, want %s", v.after, got, v.want)
		}
	}
	if got := s.State(jose.Key{From: now}, now.AddDate(100, 0, 0)); got != jose.Active {
		t.Errorf("a key that nothing follows is %s", got)
	}
}

// A set knows by itself when a state changes: what it publishes, signs with and
// vouches for.
func TestSetInTime(t *testing.T) {
	t.Parallel()
	at := now
	old := jose.Key{ID: "old", Use: "sig", Alg: "ES256", Private: curveKey(t, elliptic.P256()), Until: now.Add(time.Hour)}
	fresh := jose.Key{ID: "fresh", Use: "sig", Alg: "ES256", Private: curveKey(t, elliptic.P256()), From: now.Add(time.Hour)}
	set, err := jose.NewSet(jose.Schedule{Cache: time.Hour}, func() time.Time { return at }, old, fresh)
	if err != nil {
		t.Fatal(err)
	}
	names := func() string {
		var ids []string
		for _, k := range ring(t, set).Keys {
			ids = append(ids, k.ID)
		}
		return strings.Join(ids, " ")
	}
	vouched := func(by jose.Keys) int {
		keys, err := by.Find(t.Context(), jose.Query{Alg: "ES256", Use: "sig"})
		if err != nil {
			t.Fatal(err)
		}
		return len(keys)
	}
	for _, v := range []struct {
		after   time.Duration
		names   string
		signs   string
		vouched int
		ever    int
	}{
		{0, "old fresh", "old", 1, 1},
		{time.Hour - 1, "old fresh", "old", 1, 1},
		{time.Hour, "fresh old", "fresh", 2, 2},
		{2*time.Hour - 1, "fresh old", "fresh", 2, 2},
		{2 * time.Hour, "fresh", "fresh", 1, 2},
		{0, "old fresh", "old", 1, 1}, // a clock of the sandbox may go back
	} {
		at = now.Add(v.after)
		header, _, _ := strings.Cut(sign(t, set, "ES256", "", "{}"), ".")
		if want := b64([]byte(`{"kid":"` + v.signs + `","alg":"ES256"}`)); header != want {
			t.Errorf("after %s: header %s, want %s", v.after, header, want)
		}
		if names() != v.names || vouched(set) != v.vouched || vouched(set.Ever()) != v.ever {
			t.Errorf("after %s: published %q, vouched for %d, ever %d", v.after, names(), vouched(set), vouched(set.Ever()))
		}
	}
}

// TestAlgs: what can be signed by now, once each.
func TestAlgs(t *testing.T) {
	t.Parallel()
	key := func(id, use, alg string, private crypto.PrivateKey, from, until time.Time) jose.Key {
		return jose.Key{ID: id, Use: use, Alg: alg, Private: private, From: from, Until: until}
	}
	p256, ed := curveKey(t, elliptic.P256()), edKey(t)
	set, err := jose.NewSet(jose.Schedule{Cache: time.Hour}, clock,
		key("a", "sig", "ES256", p256, now.Add(-2), time.Time{}), key("b", "sig", "ES256", p256, now.Add(-1), time.Time{}),
		key("c", "sig", "EdDSA", ed, now.Add(1), time.Time{}), key("d", "sig", "PS256", rsaSig(), now.Add(-2), now.Add(-1)),
		key("e", "enc", "ECDH-ES", p256, now.Add(-1), time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Algs(); !slices.Equal(got, []string{"ES256"}) {
		t.Errorf("Algs = %q, want ES256 alone", got)
	}
	for _, alg := range []string{"EdDSA", "PS256", "ECDH-ES", ""} {
		_, err := set.Sign(alg, "JWT", []byte("{}"))
		wants(t, err, jose.Algorithm)
	}
	if keys, err := set.Ever().Find(t.Context(), jose.Query{Alg: "PS256", Use: "sig"}); err != nil || len(keys) != 1 || keys[0].ID != "d" {
		t.Errorf("Ever finds %v, %v, want d alone", keys, err)
	}
}

// The order of publication follows each state by itself.
func TestOrderInTime(t *testing.T) {
	t.Parallel()
	at := now
	old := jose.Key{ID: "old", Use: "sig", Alg: "EdDSA", Private: edKey(t)}
	fresh := jose.Key{ID: "fresh", Use: "sig", Alg: "EdDSA", Private: edKey(t), From: now.Add(1), Until: now.Add(2)}
	set, err := jose.NewSet(jose.Schedule{Cache: 1}, func() time.Time { return at }, fresh, old)
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range []string{"old fresh", "fresh old", "old fresh", "old"} {
		at = now.Add(time.Duration(after))
		var ids []string
		for _, k := range ring(t, set).Keys {
			ids = append(ids, k.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("after %d: %s, want %s", after, got, want)
		}
	}
}

// Whoever keeps an old copy of the set, or takes what it holds for the future,
// may encrypt to its keys.
func TestDecryptInTime(t *testing.T) {
	t.Parallel()
	at := now
	key := jose.Key{ID: "k", Use: "enc", Alg: "ECDH-ES", Private: curveKey(t, elliptic.P256()), From: now.Add(1), Until: now.Add(2)}
	set, err := jose.NewSet(jose.Schedule{Cache: 1}, func() time.Time { return at }, key)
	if err != nil {
		t.Fatal(err)
	}
	message, err := jose.Encrypt(raw(t, curveKey(t, elliptic.P256()), `{}`, `{}`), recipient(t, set, "ECDH-ES"), "ECDH-ES", "A256GCM")
	if err != nil {
		t.Fatal(err)
	}
	for after := range 3 { // next, active, retired
		at = now.Add(time.Duration(after))
		if _, err := set.Decrypt(message, jose.Opening{}); err != nil {
			t.Errorf("after %d: %v", after, err)
		}
	}
	at = now.Add(3)
	_, err = set.Decrypt(message, jose.Opening{})
	wants(t, err, jose.NoKey)
}

func TestNewSetRefuses(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec := curveKey(t, elliptic.P256())
	good := jose.Key{ID: "k", Use: "sig", Alg: "ES256", Private: ec}
	with := func(change func(*jose.Key)) jose.Key {
		k := good
		change(&k)
		return k
	}
	for name, keys := range map[string][]jose.Key{
		"same name":               {good, with(func(k *jose.Key) { k.Alg, k.Private = "EdDSA", edKey(t) })},
		"no name":                 {with(func(k *jose.Key) { k.ID = "" })},
		"name with a quote":       {with(func(k *jose.Key) { k.ID = `k"` })},
		"name with a line end":    {with(func(k *jose.Key) { k.ID = "k\n" })},
		"name beyond ASCII":       {with(func(k *jose.Key) { k.ID = "ké" })},
		"long name":               {with(func(k *jose.Key) { k.ID = strings.Repeat("k", 129) })},
		"no use":                  {with(func(k *jose.Key) { k.Use = "" })},
		"algorithm to encrypt":    {with(func(k *jose.Key) { k.Alg = "ECDH-ES" })},
		"algorithm to sign":       {with(func(k *jose.Key) { k.Use = "enc" })},
		"none":                    {with(func(k *jose.Key) { k.Alg = "none" })},
		"HS256":                   {with(func(k *jose.Key) { k.Alg, k.Private = "HS256", []byte("secret") })},
		"RSA1_5":                  {with(func(k *jose.Key) { k.Use, k.Alg, k.Private = "enc", "RSA1_5", rsaEnc() })},
		"another curve":           {with(func(k *jose.Key) { k.Alg = "ES384" })},
		"another family":          {with(func(k *jose.Key) { k.Alg = "RS256" })},
		"weak RSA":                {with(func(k *jose.Key) { k.Alg, k.Private = "RS256", weak })},
		"X25519":                  {with(func(k *jose.Key) { k.Use, k.Alg, k.Private = "enc", "ECDH-ES", x25519 })},
		"public key":              {with(func(k *jose.Key) { k.Private = ec.Public() })},
		"no key":                  {with(func(k *jose.Key) { k.Private = nil })},
		"end before beginning":    {with(func(k *jose.Key) { k.From, k.Until = now, now.Add(-1) })},
		"signer that cannot open": {with(func(k *jose.Key) { k.Use, k.Alg, k.Private = "enc", "RSA-OAEP", hardware{rsaEnc()} })},
		"opener that cannot sign": {with(func(k *jose.Key) { k.Alg, k.Private = "RS256", opener{rsaSig()} })},
	} {
		if _, err := jose.NewSet(jose.Schedule{}, clock, keys...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	set, err := jose.NewSet(jose.Schedule{}, clock, good)
	if err != nil {
		t.Fatal(err)
	}
	_, err = set.Sign("RS256", "JWT", []byte("{}"))
	wants(t, err, jose.Algorithm)
	if algs := set.Algs(); len(algs) != 1 || algs[0] != "ES256" {
		t.Errorf("it can sign with %v", algs)
	}
}

// hardware is a key that only signs.
type hardware struct{ crypto.Signer }

// opener is a key that only decrypts.
type opener struct{ key *rsa.PrivateKey }

func (o opener) Public() crypto.PublicKey { return o.key.Public() }
func (o opener) Decrypt(r io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return o.key.Decrypt(r, msg, opts)
}

// Keys may live where their numbers cannot be had.
func TestHardware(t *testing.T) {
	t.Parallel()
	set, err := jose.NewSet(jose.Schedule{}, clock,
		jose.Key{ID: "1", Use: "sig", Alg: "PS256", Private: hardware{rsaSig()}},
		jose.Key{ID: "2", Use: "sig", Alg: "ES512", Private: hardware{curveKey(t, elliptic.P521())}},
		jose.Key{ID: "3", Use: "sig", Alg: "EdDSA", Private: hardware{edKey(t)}},
		jose.Key{ID: "4", Use: "enc", Alg: "RSA-OAEP-256", Private: opener{rsaEnc()}},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range set.Algs() {
		token := sign(t, set, alg, "JWT", `{}`)
		if _, err := jose.Verify(t.Context(), token, jose.Rule{Algs: []string{alg}, Keys: ring(t, set)}); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		sealed, err := jose.Encrypt(token, recipient(t, set, "RSA-OAEP-256"), "RSA-OAEP-256", "A256GCM")
		if err != nil {
			t.Fatal(err)
		}
		if opened, err := set.Decrypt(sealed, jose.Opening{}); err != nil || opened != token {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

// broken is a signer whose answers are of no use.
type broken struct {
	crypto.Signer
	answer []byte
	err    error
}

func (b broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return b.answer, b.err }

func TestBrokenHardware(t *testing.T) {
	t.Parallel()
	key := curveKey(t, elliptic.P256())
	for name, b := range map[string]broken{
		"error":     {key, nil, io.ErrUnexpectedEOF},
		"no ASN.1":  {key, []byte("x"), nil},
		"too large": {key, append([]byte{0x30, 0x26, 0x02, 0x21}, append(append([]byte{1}, make([]byte, 32)...), 0x02, 1, 1)...), nil},
		"zero":      {key, []byte{0x30, 6, 2, 1, 0, 2, 1, 1}, nil},
		"negative":  {key, []byte{0x30, 6, 2, 1, 1, 2, 1, 0xff}, nil},
	} {
		set, err := jose.NewSet(jose.Schedule{}, clock, jose.Key{ID: "k", Use: "sig", Alg: "ES256", Private: b})
		if err != nil {
			t.Fatal(err)
		}
		if token, err := set.Sign("ES256", "", []byte("{}")); err == nil || token != "" {
			t.Errorf("%s: signed", name)
		}
	}
}

// One set serves many at once, while the states of its keys change.
func TestSetAtOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	at := now
	set, err := jose.NewSet(jose.Schedule{Cache: time.Hour}, func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Second)
		return at
	},
		jose.Key{ID: "1", Use: "sig", Alg: "ES256", Private: curveKey(t, elliptic.P256()), Until: now.Add(3 * time.Minute)},
		jose.Key{ID: "2", Use: "sig", Alg: "ES256", Private: curveKey(t, elliptic.P256()), From: now.Add(2 * time.Minute)},
		jose.Key{ID: "3", Use: "enc", Alg: "ECDH-ES", Private: curveKey(t, elliptic.P256())},
	)
	if err != nil {
		t.Fatal(err)
	}
	to := recipient(t, set, "ECDH-ES")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				token := sign(t, set, "ES256", "JWT", `{}`)
				if _, err := jose.Verify(t.Context(), token, jose.Rule{Algs: []string{"ES256"}, Keys: set}); err != nil {
					t.Error(err)
				}
				sealed, err := jose.Encrypt(token, to, "ECDH-ES", "A256GCM")
				if err != nil {
					t.Error(err)
				}
				if opened, err := set.Decrypt(sealed, jose.Opening{}); err != nil || opened != token {
					t.Error(err)
				}
				if body, _ := set.JWKS(); !json.Valid(body) {
					t.Error("no JSON")
				}
			}
		})
	}
	wg.Wait()
}

// panics is a key whose driver is broken.
type panics struct{ opener }

func (panics) Decrypt(io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) { panic("driver") }

func TestPanicIsARefusal(t *testing.T) {
	t.Parallel()
	set, err := jose.NewSet(jose.Schedule{}, clock, jose.Key{ID: "k", Use: "enc", Alg: "RSA-OAEP", Private: panics{opener{rsaEnc()}}})
	if err != nil {
		t.Fatal(err)
	}
	message, err := jose.Encrypt(raw(t, curveKey(t, elliptic.P256()), `{}`, `{}`), recipient(t, set, "RSA-OAEP"), "RSA-OAEP", "A256GCM")
	if err != nil {
		t.Fatal(err)
	}
	_, err = set.Decrypt(message, jose.Opening{})
	wants(t, err, jose.Decrypt)
}
