package openid_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"eidgate/internal/keytest"
	"eidgate/sandbox"
	"eidgate/sandbox/openid"
	"eidgate/sandbox/openid/openidtest"
)

const (
	back      = "https://party.example/back"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // of RFC 7636, appendix B
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

// unsigned is a token with the algorithm none.
func unsigned(payload string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"k"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "."
}

// TestKnows: a way back is that which is registered, perhaps with a session.
func TestKnows(t *testing.T) {
	t.Parallel()
	c := &openid.Client{Redirects: []string{back, "https://party.example/more?a=1"}}
	for name, x := range map[string]struct {
		back string
		want bool
	}{
		"registered":                     {back, true},
		"with a session":                 {back + "?session=1", true},
		"another, with a query":          {"https://party.example/more?a=1", true},
		"nothing":                        {"", false},
		"no address":                     {"https://party.example/%zz", false},
		"a slash":                        {back + "/", false},
		"an empty query":                 {back + "?", false},
		"more than the session":          {back + "?session=1&x=2", false},
		"another query":                  {"https://party.example/more?a=2", false},
		"a fragment":                     {back + "#x", false},
		"without TLS":                    {"http://party.example/back", false},
		"another port":                   {"https://party.example:443/back", false},
		"another host":                   {"https://party.example.other.example/back", false},
		"a user":                         {"https://party.example@other.example/back", false},
		"a path above":                   {"https://party.example/x/../back", false},
		"written otherwise":              {"https://party.example/b%61ck", false},
		"capitals in the path":           {"https://party.example/Back", false},
		"a blank":                        {back + " ", false},
		"capitals in the scheme":         {"HTTPS://party.example/back", false},
		"an empty fragment":              {back + "#", false},
		"a session and what is no query": {back + "?session=1&x;y=2", false},
		"two sessions":                   {back + "?session=1&session=2", false},
	} {
		if got := c.Knows(x.back); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestSigned: only RS256 with the client's key, under its name.
func TestSigned(t *testing.T) {
	t.Parallel()
	keys := openid.NewKeys(2)
	c := &openid.Client{ID: "c", KeyID: "k", Key: &keys[0].PublicKey}
	good := openidtest.SignText(t, jose.RS256, keys[0], "k", `{"a":1}`)
	if in, err := c.Signed(good); err != nil || string(in["a"]) != "1" {
		t.Errorf("%v, %v", in, err)
	}
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"another key":       openidtest.SignText(t, jose.RS256, keys[1], "k", `{"a":1}`),
		"another name":      openidtest.SignText(t, jose.RS256, keys[0], "l", `{"a":1}`),
		"no name":           openidtest.SignText(t, jose.RS256, keys[0], "", `{"a":1}`),
		"another algorithm": openidtest.SignText(t, jose.PS256, keys[0], "k", `{"a":1}`),
		"a secret":          openidtest.SignText(t, jose.HS256, []byte(strings.Repeat("s", 32)), "k", `{"a":1}`),
		"unsigned":          unsigned(`{"a":1}`),
		"other claims":      parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"a":2}`)) + "." + parts[2],
		"no signature":      parts[0] + "." + parts[1] + ".",
		"no object":         openidtest.SignText(t, jose.RS256, keys[0], "k", `[1]`),
		"no JSON":           openidtest.SignText(t, jose.RS256, keys[0], "k", `a`),
		"no token":          "x",
		"nothing":           "",
	} {
		if in, err := c.Signed(token); err == nil {
			t.Errorf("%s: %v", name, in)
		}
	}
	if _, err := (&openid.Client{ID: "c", Secret: "s"}).Signed(good); err == nil {
		t.Error("a client without a key has signed")
	}
}

// forged is a token with a header of somebody's choice, signed on a curve: h of
// the input, and both halves of the signature in size octets.
func forged(t *testing.T, head, payload string, key *ecdsa.PrivateKey, h crypto.Hash, size int) string {
	t.Helper()
	in := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sum := h.New()
	sum.Write([]byte(in))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return in + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...))
}

// TestSignedOnCurves: the key that is registered decides on the algorithm, whatever
// a header says.
func TestSignedOnCurves(t *testing.T) {
	t.Parallel()
	const claims = `{"a":1}`
	small, large, other, straight := keytest.Curve(t, elliptic.P256()), keytest.Curve(t, elliptic.P384()), keytest.Curve(t, elliptic.P256()), openid.NewKey()
	der, err := x509.MarshalPKIXPublicKey(&small.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	spki := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := openidtest.SignText(t, jose.ES256, small, "k", claims)
	on256, on384, withRSA := &openid.Client{KeyID: "k", Key: &small.PublicKey}, &openid.Client{KeyID: "k", Key: &large.PublicKey}, &openid.Client{KeyID: "k", Key: &straight.PublicKey}
	for name, x := range map[string]struct {
		client *openid.Client
		token  string
		want   bool
	}{
		"P-256":                        {on256, good, true},
		"P-384":                        {on384, openidtest.SignText(t, jose.ES384, large, "k", claims), true},
		"by hand":                      {on256, forged(t, `{"alg":"ES256","kid":"k"}`, claims, small, crypto.SHA256, 32), true},
		"another key":                  {on256, openidtest.SignText(t, jose.ES256, other, "k", claims), false},
		"another name":                 {on256, openidtest.SignText(t, jose.ES256, small, "l", claims), false},
		"says RS256":                   {on256, forged(t, `{"alg":"RS256","kid":"k"}`, claims, small, crypto.SHA256, 32), false},
		"says ES384":                   {on256, forged(t, `{"alg":"ES384","kid":"k"}`, claims, small, crypto.SHA384, 48), false},
		"says ES256 on P-384":          {on384, forged(t, `{"alg":"ES256","kid":"k"}`, claims, large, crypto.SHA256, 48), false},
		"says nothing":                 {on256, forged(t, `{"kid":"k"}`, claims, small, crypto.SHA256, 32), false},
		"RSA, says ES256":              {withRSA, openidtest.SignText(t, jose.ES256, small, "k", claims), false},
		"RS256 for a curve":            {on256, openidtest.SignText(t, jose.RS256, straight, "k", claims), false},
		"a MAC by the public key":      {on256, openidtest.SignText(t, jose.HS256, der, "k", claims), false},
		"a MAC by its PEM":             {on256, openidtest.SignText(t, jose.HS256, spki, "k", claims), false},
		"unsigned":                     {on256, unsigned(claims), false},
		"a signature of zeros":         {on256, good[:strings.LastIndexByte(good, '.')+1] + strings.Repeat("A", 86), false},
		"a key in the header":          {on256, forged(t, `{"alg":"ES256","kid":"k","jwk":`+jwk(t, &other.PublicKey)+`}`, claims, other, crypto.SHA256, 32), false},
		"halves of another size":       {on256, forged(t, `{"alg":"ES256","kid":"k"}`, claims, small, crypto.SHA256, 33), false},
		"the other client's signature": {on256, openidtest.SignText(t, jose.ES384, large, "k", claims), false},
	} {
		if in, err := x.client.Signed(x.token); (err == nil) != x.want || x.want && string(in["a"]) != "1" {
			t.Errorf("%s: %v, %v", name, in, err)
		}
	}
}

// jwk is a public key as a header names it.
func jwk(t *testing.T, key any) string {
	t.Helper()
	raw, err := (&jose.JSONWebKey{Key: key}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestAlgorithm: of which kinds of keys a simulator takes signatures.
func TestAlgorithm(t *testing.T) {
	t.Parallel()
	edwards, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak := keytest.RSA(t, 1024)
	for name, x := range map[string]struct {
		key  any
		want jose.SignatureAlgorithm
	}{
		"RSA":         {&openid.NewKey().PublicKey, jose.RS256},
		"P-256":       {&keytest.Curve(t, elliptic.P256()).PublicKey, jose.ES256},
		"P-384":       {&keytest.Curve(t, elliptic.P384()).PublicKey, jose.ES384},
		"P-521":       {&keytest.Curve(t, elliptic.P521()).PublicKey, ""},
		"P-224":       {&keytest.Curve(t, elliptic.P224()).PublicKey, ""},
		"Ed25519":     {edwards, ""},
		"weak RSA":    {&weak.PublicKey, ""},
		"a secret":    {secret, ""},
		"a private":   {keytest.Curve(t, elliptic.P256()), ""},
		"octets":      {[]byte("secret"), ""},
		"none at all": {nil, ""},
	} {
		if got := openid.Algorithm(x.key); got != x.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestPublish: one key to sign with takes the place of what a client had, and
// nothing else is a set.
func TestPublish(t *testing.T) {
	t.Parallel()
	small, straight := keytest.Curve(t, elliptic.P256()), openid.NewKey()
	sig, more := jose.JSONWebKey{Key: &small.PublicKey, KeyID: "s", Use: "sig"}, jose.JSONWebKey{Key: &straight.PublicKey, KeyID: "e", Use: "enc"}
	mislabelled, second := sig, more
	mislabelled.Algorithm, second.Use = "ES384", "sig"
	cs := openid.NewClients(sandbox.NewClock(true))
	for name, x := range map[string]struct {
		keys []jose.JSONWebKey
		want bool
	}{
		"one": {[]jose.JSONWebKey{sig}, true}, "RSA": {[]jose.JSONWebKey{second}, true}, "none": {nil, false}, "one that decrypts too": {[]jose.JSONWebKey{sig, more}, false},
		"one that decrypts": {[]jose.JSONWebKey{more}, false}, "two to sign": {[]jose.JSONWebKey{sig, second}, false}, "another algorithm": {[]jose.JSONWebKey{mislabelled}, false},
		"P-521": {[]jose.JSONWebKey{{Key: &keytest.Curve(t, elliptic.P521()).PublicKey, KeyID: "s", Use: "sig"}}, false}, "a private key": {[]jose.JSONWebKey{{Key: small, KeyID: "s", Use: "sig"}}, false},
	} {
		cs.Add(&openid.Client{ID: name, Name: "Shop", Secret: "s"})
		raw, err := json.Marshal(jose.JSONWebKeySet{Keys: x.keys})
		if err != nil {
			t.Fatal(err)
		}
		err = cs.Publish(name, raw)
		c := cs.Get(name)
		if (err == nil) != x.want || x.want != (c.Secret == "") || x.want != (c.Key != nil) || c.Name != "Shop" {
			t.Errorf("%s: %v, %+v", name, err, c)
		}
	}
	for id, raw := range map[string]string{"x": `{"keys":[` + strings.Replace(jwk(t, &small.PublicKey), "{", `{"use":"sig",`, 1) + `]}`, "one": "x"} {
		if err := cs.Publish(id, []byte(raw)); err == nil {
			t.Errorf("%s of %s", raw, id)
		}
	}
}

// call is a request of a client whose form was parsed.
func call(t *testing.T, form url.Values) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := r.ParseForm(); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSecrets: who calls with a secret, in the header or in the body.
func TestSecrets(t *testing.T) {
	t.Parallel()
	cs := openid.NewClients(sandbox.NewClock(true))
	cs.Add(&openid.Client{ID: "a:b", Secret: "s +%&"})
	cs.Add(&openid.Client{ID: "other", Secret: "other's"})
	cs.Add(&openid.Client{ID: "signs"})
	for name, x := range map[string]struct {
		user, pass string // of the header; "-" for none
		form       url.Values
		want       string
	}{
		"in the body":         {"-", "", url.Values{"client_id": {"a:b"}, "client_secret": {"s +%&"}}, "a:b"},
		"in the header":       {"a%3Ab", "s+%2B%25%26", url.Values{}, "a:b"},
		"and the name in it":  {"other", "other%27s", url.Values{"client_id": {"other"}}, "other"},
		"not encoded":         {"a%3Ab", "s +%&", url.Values{}, ""},
		"a wrong one":         {"-", "", url.Values{"client_id": {"a:b"}, "client_secret": {"s"}}, ""},
		"a longer one":        {"-", "", url.Values{"client_id": {"a:b"}, "client_secret": {"s +%&x"}}, ""},
		"of another":          {"-", "", url.Values{"client_id": {"a:b"}, "client_secret": {"other's"}}, ""},
		"none":                {"-", "", url.Values{"client_id": {"a:b"}}, ""},
		"of nobody":           {"-", "", url.Values{"client_id": {"x"}, "client_secret": {"s"}}, ""},
		"nothing":             {"-", "", url.Values{}, ""},
		"who signs":           {"-", "", url.Values{"client_id": {"signs"}}, ""},
		"who signs, header":   {"signs", "", url.Values{}, ""},
		"in both places":      {"other", "other%27s", url.Values{"client_secret": {"other's"}}, ""},
		"and an assertion":    {"other", "other%27s", url.Values{"client_assertion": {"x"}}, ""},
		"body, and assertion": {"-", "", url.Values{"client_id": {"other"}, "client_secret": {"other's"}, "client_assertion": {"x"}, "client_assertion_type": {assertionType}}, ""},
	} {
		r := call(t, x.form)
		if x.user != "-" {
			r.SetBasicAuth(x.user, x.pass)
		}
		c, err := cs.Authenticate(r, "https://op.example")
		if (err == nil) != (x.want != "") || err == nil && c.ID != x.want {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	if cs.Get("x") != nil || cs.Get("signs") == nil {
		t.Error("who is registered")
	}
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// TestAssertions: a client's own word is for this server, in time, and used once.
func TestAssertions(t *testing.T) {
	t.Parallel()
	clock := sandbox.NewClock(true)
	cs, keys := openid.NewClients(clock), openid.NewKeys(2)
	for i, id := range []string{"c", "d"} {
		cs.Add(&openid.Client{ID: id, KeyID: "k", Key: &keys[i].PublicKey})
	}
	good := func(jti string) map[string]any {
		return map[string]any{"iss": "c", "sub": "c", "aud": "https://op.example", "jti": jti, "exp": clock.Now().Add(time.Minute).Unix()}
	}
	say := func(id string, key *rsa.PrivateKey, claims map[string]any, kind string) error {
		raw, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		_, err = cs.Authenticate(call(t, url.Values{"client_id": {id}, "client_assertion_type": {kind}, "client_assertion": {openidtest.SignText(t, jose.RS256, key, "k", string(raw))}}),
			"https://op.example", "https://op.example/token")
		return err
	}
	if err := say("c", keys[0], good("1"), assertionType); err != nil {
		t.Error(err)
	}
	at := good("2")
	at["aud"] = "https://op.example/token"
	if err := say("c", keys[0], at, assertionType); err != nil {
		t.Errorf("for the token endpoint: %v", err)
	}
	for name, change := range map[string]func(map[string]any){
		"used":               func(m map[string]any) { m["jti"] = "1" },
		"for another server": func(m map[string]any) { m["aud"] = "https://op.example/" },
		"for nobody":         func(m map[string]any) { delete(m, "aud") },
		"over":               func(m map[string]any) { m["exp"] = clock.Now().Unix() },
		"good for long":      func(m map[string]any) { m["exp"] = clock.Now().Add(601 * time.Second).Unix() },
		"without an end":     func(m map[string]any) { delete(m, "exp") },
		"with an odd end":    func(m map[string]any) { m["exp"] = "tomorrow" },
		"of nobody":          func(m map[string]any) { delete(m, "iss") },
		"of another":         func(m map[string]any) { m["iss"] = "d" },
		"about another":      func(m map[string]any) { m["sub"] = "d" },
		"without a number":   func(m map[string]any) { delete(m, "jti") },
		"with an empty one":  func(m map[string]any) { m["jti"] = "" },
		"with a long one":    func(m map[string]any) { m["jti"] = strings.Repeat("j", 256) },
	} {
		m := good("bad " + name)
		change(m)
		if err := say("c", keys[0], m, assertionType); err == nil {
			t.Errorf("an assertion that is %s is taken", name)
		}
	}
	if say("c", keys[1], good("3"), assertionType) == nil || say("d", keys[0], good("3"), assertionType) == nil {
		t.Error("another's key is taken")
	}
	if say("c", keys[0], good("3"), "") == nil || say("c", keys[0], good("3"), "urn:ietf:params:oauth:client-assertion-type:saml2-bearer") == nil {
		t.Error("another type is taken")
	}
	if err := say("c", keys[0], good("3"), assertionType); err != nil {
		t.Errorf("what was refused has spent the number: %v", err)
	}
	theirs := good("1")
	theirs["iss"], theirs["sub"] = "d", "d"
	if err := say("d", keys[1], theirs, assertionType); err != nil {
		t.Errorf("a number that another has used: %v", err)
	}
}

// TestPushed: a request waits for its time, for its client, and comes once.
func TestPushed(t *testing.T) {
	t.Parallel()
	clock := sandbox.NewClock(true)
	cs := openid.NewClients(clock)
	c, d := &openid.Client{ID: "c"}, &openid.Client{ID: "d"}
	cs.Push(c, "once", url.Values{"a": {"1"}}, time.Minute)
	cs.Push(c, "late", url.Values{}, time.Minute)
	if _, ok := cs.Pushed(d, "once"); ok {
		t.Error("another's request")
	}
	if p, ok := cs.Pushed(c, "once"); !ok || p.Get("a") != "1" {
		t.Errorf("%v, %v", p, ok)
	}
	if _, ok := cs.Pushed(c, "once"); ok {
		t.Error("a request comes twice")
	}
	clock.Advance(61 * time.Second)
	if _, ok := cs.Pushed(c, "late"); ok {
		t.Error("a request after its time")
	}
	if _, ok := cs.Pushed(c, "never"); ok {
		t.Error("a request that was never pushed")
	}
	for i := range 3000 { // those whose time is over make room
		cs.Push(c, fmt.Sprint(i), url.Values{}, time.Minute)
		if i%1000 == 999 {
			clock.Advance(61 * time.Second)
		}
	}
	cs.Push(c, "room", url.Values{}, time.Minute)
	if _, ok := cs.Pushed(c, "room"); !ok {
		t.Error("there is no room")
	}
	for i := range 2000 {
		if !cs.Push(c, fmt.Sprint(i), url.Values{}, time.Minute) {
			t.Fatalf("request %d is not kept", i)
		}
	}
	if cs.Push(c, "many", url.Values{}, time.Minute) {
		t.Error("any number of requests wait")
	}
	if _, ok := cs.Pushed(c, "many"); ok {
		t.Error("one that was not kept comes")
	}
	if _, ok := cs.Pushed(c, "1999"); !ok || !cs.Push(c, "many", url.Values{"client_id": {"c"}, "client_secret": {"s"}, "client_assertion": {"a"}, "client_assertion_type": {"t"}}, time.Minute) {
		t.Error("one that has come makes no room")
	}
	if p, ok := cs.Pushed(c, "many"); !ok || !cmp.Equal(p, url.Values{"client_id": {"c"}}) {
		t.Errorf("the proof is kept: %v", p)
	}
}

// TestParams: members of a request object as parameters.
func TestParams(t *testing.T) {
	t.Parallel()
	got := openid.Params(map[string]json.RawMessage{"text": json.RawMessage(`"a b"`), "number": json.RawMessage(`1700000000`), "object": json.RawMessage(`{"mitid":{}}`), "yes": json.RawMessage(`true`)})
	want := url.Values{"text": {"a b"}, "number": {"1700000000"}, "object": {`{"mitid":{}}`}, "yes": {"true"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !openid.Single(url.Values{"a": {"1"}, "b": {""}}) || openid.Single(url.Values{"a": {"1", "1"}}) || !openid.Single(nil) {
		t.Error("what stands there once")
	}
}

// TestChallenge: the form of a challenge of S256.
func TestChallenge(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		challenge: true, "": false, challenge[1:]: false, challenge + "A": false, challenge[:42] + "=": false, challenge[:42] + "+": false, "/" + challenge[1:]: false,
		challenge[:42] + "!": false, " " + challenge[1:]: false, challenge[:41] + "é": false,
	} {
		if openid.IsChallenge(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

// TestMembers: JSON in the order that was written down.
func TestMembers(t *testing.T) {
	t.Parallel()
	m := openid.Members{{Name: "z", Value: 1}, {Name: "a", Value: openid.Members{{Name: "y", Value: "1"}, {Name: "b", Value: nil}}}, {Name: "m", Value: []string{}}}
	m.Set("z", true)
	m.Set("new", 1)
	if raw, err := json.Marshal(m); err != nil || string(raw) != `{"z":true,"a":{"y":"1","b":null},"m":[]}` {
		t.Errorf("%s, %v", raw, err)
	}
	if raw, err := json.Marshal(openid.Members(nil)); err != nil || string(raw) != "{}" {
		t.Errorf("%s, %v", raw, err)
	}
	if _, err := json.Marshal(openid.Members{{Name: "f", Value: func() {}}}); err == nil {
		t.Error("a function is JSON")
	}
	w := httptest.NewRecorder()
	openid.Say(w, http.StatusTeapot, m)
	if w.Code != http.StatusTeapot || w.Header().Get("Content-Type") != "application/json" || !strings.HasPrefix(w.Body.String(), `{"z":true,`) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// TestBack: parameters come in their order, and empty ones not at all.
func TestBack(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		back   string
		params []string
		want   string
	}{
		"bare":    {back, []string{"code", "c", "state", "s t&=#"}, back + "?code=c&state=s+t%26%3D%23"},
		"session": {back + "?session=1", []string{"error", "e", "error_description", "", "state", "s"}, back + "?session=1&error=e&state=s"},
		"nothing": {back, []string{"state", ""}, back},
	} {
		w := httptest.NewRecorder()
		openid.Back(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), http.StatusSeeOther, x.back, x.params...)
		if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != x.want {
			t.Errorf("%s: %d %s", name, w.Code, got)
		}
	}
	w := httptest.NewRecorder()
	openid.Back(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), http.StatusSeeOther, "https://a.example/%zz")
	if w.Code != http.StatusInternalServerError || w.Header().Get("Location") != "" {
		t.Errorf("no address: %d", w.Code)
	}
}

// TestSign: a token as it should be, and what faults do to it.
func TestSign(t *testing.T) {
	t.Parallel()
	k := openid.NewKey()
	claims := openid.Members{{Name: "z", Value: "&"}, {Name: "a", Value: 1}}
	for fault, x := range map[string]struct {
		head  string
		valid bool
	}{
		"":                   {`{"alg":"RS256","kid":"k1","typ":"JWT"}`, true},
		openid.OtherSubject:  {`{"alg":"RS256","kid":"k1","typ":"JWT"}`, true}, // claims are the caller's
		openid.WrongKID:      {`{"alg":"RS256","kid":"retired","typ":"JWT"}`, true},
		openid.BadSignature:  {`{"alg":"RS256","kid":"k1","typ":"JWT"}`, false},
		openid.Unsigned:      {`{"alg":"none"}`, false},
		openid.OtherAudience: {`{"alg":"RS256","kid":"k1","typ":"JWT"}`, true},
	} {
		token, err := openid.Sign(k, "k1", "JWT", claims, fault)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(token, ".")
		if len(parts) != 3 || (parts[2] == "") != (fault == openid.Unsigned) {
			t.Fatalf("%s: %s", fault, token)
		}
		head, err1 := base64.RawURLEncoding.DecodeString(parts[0])
		body, err2 := base64.RawURLEncoding.DecodeString(parts[1])
		if err := errors.Join(err1, err2); err != nil || string(head) != x.head || string(body) != `{"z":"\u0026","a":1}` {
			t.Errorf("%s: %s %s, %v", fault, head, body, err)
		}
		j, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
		if err == nil {
			_, err = j.Verify(&k.PublicKey)
		}
		if (err == nil) != x.valid {
			t.Errorf("%s: %v", fault, err)
		}
	}
	if _, err := openid.Sign(k, "k1", "JWT", func() {}, ""); err == nil {
		t.Error("a function is signed")
	}
	if text, err := openid.PEM(k); err != nil || !strings.HasPrefix(text, "-----BEGIN PRIVATE KEY-----\n") {
		t.Errorf("%v", err)
	}
	// OpenID Connect Core, appendix A.4.
	if got := openid.HalfHash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"); got != "77QmUPtjPfzWtF2AnpK9RQ" {
		t.Errorf("at_hash %s", got)
	}
}

// TestFaulty: what a fault of one of the targets does to a call.
func TestFaulty(t *testing.T) {
	t.Parallel()
	faults := sandbox.NewFaults(1)
	h := openid.Faulty(faults, func(w http.ResponseWriter, code string) {
		openid.Say(w, 400, openid.Members{{Name: "error", Value: code}})
	},
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }, "x", "x.token")
	for name, x := range map[string]struct {
		fault sandbox.Fault
		want  string
	}{
		"none":            {sandbox.Fault{Target: "y", Kind: sandbox.Status, Value: "503"}, "200 ok"},
		"another target":  {sandbox.Fault{Target: "x.par", Kind: sandbox.Status, Value: "503"}, "200 ok"},
		"a status":        {sandbox.Fault{Target: "x", Kind: sandbox.Status, Value: "503"}, `503 {"errorCode":"maintenance","details":"injected"}`},
		"a refusal":       {sandbox.Fault{Target: "x.token", Kind: sandbox.Refuse, Value: "invalid_grant"}, `400 {"error":"invalid_grant"}`},
		"garbage":         {sandbox.Fault{Target: "x.token", Kind: sandbox.Garbage}, "200 <<<not json>>>"},
		"of its result":   {sandbox.Fault{Target: "x.result", Kind: openid.Unsigned}, "200 ok"},
		"of nobody knows": {sandbox.Fault{Target: "x", Kind: "fire"}, "200 ok"},
	} {
		x.fault.Times = 1
		faults.Add(x.fault)
		for i, want := range []string{x.want, "200 ok"} {
			w := httptest.NewRecorder()
			h(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
			if got := fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String())); got != want {
				t.Errorf("%s, call %d: %s", name, i, got)
			}
		}
		faults.Clear()
	}
	if got := openid.ResultFaults(); len(got) != 8 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 8 {
		t.Errorf("%v", got)
	}
	for _, kind := range openid.CallFaults() {
		value := map[string]string{sandbox.Delay: "1s", sandbox.Status: "503", sandbox.HTML: "503"}[kind]
		if err := (sandbox.Fault{Kind: kind, Value: value}).Check(openid.CallFaults()); err != nil {
			t.Error(err)
		}
	}
	for _, code := range []string{"invalid_grant", "invalid_client", "invalid_request", "server_error", "temporarily_unavailable"} {
		if err := (sandbox.Fault{Target: "mitid.token", Kind: sandbox.Refuse, Value: code}).Check([]string{sandbox.Refuse}); err != nil {
			t.Error(err)
		}
	}
}

// A desk is a book, and what it is made from.
type desk struct {
	*openid.Book[int]
	clock     *sandbox.Clock
	people    *sandbox.People
	decisions *sandbox.Decisions
	client    *openid.Client
}

// newDesk has a book where MitID's people have the eID, but emil is never
// confirmed.
func newDesk(auto sandbox.Outcome) *desk {
	d := &desk{clock: sandbox.NewClock(true), people: sandbox.NewPeople(), client: &openid.Client{ID: "c", Name: "Shop"}}
	d.decisions = sandbox.NewDecisions(d.people, auto)
	d.Book = openid.NewBook(d.clock, d.people, d.decisions, openid.Rules[int]{EID: "eid", Window: 5 * time.Minute, Codes: time.Minute, Access: time.Hour, Usual: "hanne",
		Page: func(ref string) string { return "http://eid.example/" + ref },
		Account: func(p *sandbox.Person) error {
			if p.MitID == nil {
				return openid.ErrNoAccount
			}
			return nil
		},
		Refuse: func(word, code string) openid.Refusal { return openid.Refusal{Code: word, Description: code} },
		Approve: func(_ *openid.Login[int], p *sandbox.Person) *openid.Refusal {
			if p.Key == "emil" {
				return &openid.Refusal{Code: "too_young"}
			}
			return nil
		},
		Details: func(l *openid.Login[int]) any { return l.Own }})
	return d
}

// add begins a login.
func (d *desk) add(change ...func(*openid.Login[int])) string {
	l := openid.Login[int]{Client: d.client, Redirect: back, State: "s", Scopes: []string{"openid", "x"}, Raw: "asked", Own: 7}
	for _, f := range change {
		f(&l)
	}
	return d.Add(context.Background(), l)
}

// read is a login as it stands.
func (d *desk) read(t *testing.T, ref string) openid.Login[int] {
	t.Helper()
	l, ok := d.Open(t.Context(), ref)
	if !ok {
		t.Fatalf("no login %s", ref)
	}
	return l
}

// TestDo: how somebody ends a login, once.
func TestDo(t *testing.T) {
	t.Parallel()
	d := newDesk(sandbox.Ignore)
	for event, x := range map[string]struct {
		person string
		hint   string
		no     openid.Refusal
		err    error
	}{
		"open":           {"", "pending", openid.Refusal{}, nil},
		"approve":        {"", "code", openid.Refusal{}, nil},
		"cancel":         {"hanne", "cancel", openid.Refusal{Code: "cancel"}, nil},
		"decline":        {"", "decline", openid.Refusal{Code: "decline"}, nil},
		"expire":         {"", "expire", openid.Refusal{Code: "expire"}, nil},
		"fail:C131":      {"", "C131", openid.Refusal{Code: "fail", Description: "C131"}, nil},
		"fail:no_return": {"", "no return", openid.Refusal{}, nil},
		"approve ":       {"", "pending", openid.Refusal{}, sandbox.ErrEvent},
		"sing":           {"", "pending", openid.Refusal{}, sandbox.ErrEvent},
		"":               {"", "pending", openid.Refusal{}, sandbox.ErrEvent},
	} {
		ref := d.add()
		o, err := d.Do(ref, sandbox.Act{Event: event, Person: x.person, Source: "phone"})
		l := d.read(t, ref)
		ended := x.hint != "pending"
		if !errors.Is(err, x.err) || o.Hint != x.hint || l.Hint != x.hint || l.No != x.no || o.Pending == ended || l.Ended.IsZero() == ended || l.NoReturn != (event == "fail:no_return") ||
			(l.Code != "") != (event == "approve") || ended && (l.By != "phone" || o.State != "ended") {
			t.Errorf("%q: %+v, %v", event, o, err)
		}
		if _, err := d.Do(ref, sandbox.Act{Event: "approve"}); errors.Is(err, sandbox.ErrEnded) != ended {
			t.Errorf("%q, and then approve: %v", event, err)
		}
		if again := d.read(t, ref); ended && (again.Hint != l.Hint || again.Code != l.Code || again.By != l.By) {
			t.Errorf("%q: it ended twice", event)
		}
	}
	if _, err := d.Do("x", sandbox.Act{Event: "approve"}); !errors.Is(err, sandbox.ErrNoOrder) {
		t.Error(err)
	}
	ref := d.add()
	for person, want := range map[string]error{"nobody": sandbox.ErrNobody, "ada": openid.ErrNoAccount} {
		if _, err := d.Do(ref, sandbox.Act{Event: "approve", Person: person}); !errors.Is(err, want) {
			t.Errorf("%s: %v", person, err)
		}
	}
	if o, err := d.Do(ref, sandbox.Act{Event: "approve", Person: "emil"}); err != nil || o.Hint != "too_young" || o.Pending || d.read(t, ref).Code != "" {
		t.Errorf("who is not confirmed: %+v, %v", o, err)
	}
	ref = d.add(func(l *openid.Login[int]) { l.For = "sofie" })
	if o, err := d.Do(ref, sandbox.Act{Event: "approve"}); err != nil || o.Person != "sofie" || o.By != "control API" || o.For != "sofie" {
		t.Errorf("who is asked for: %+v, %v", o, err)
	}
}

// TestWindow: time ends a login, for whoever looks at it.
func TestWindow(t *testing.T) {
	t.Parallel()
	d := newDesk(sandbox.Approve)
	ref, never := d.add(), d.add()
	opened := d.clock.Now()
	d.clock.Advance(5*time.Minute - time.Second)
	if l := d.read(t, ref); !l.Ended.IsZero() || l.Opened.Sub(opened) != 5*time.Minute-time.Second {
		t.Errorf("before: %+v", l)
	}
	d.clock.Advance(time.Second)
	if l := d.read(t, ref); l.Ended.IsZero() || l.No.Code != "expire" || l.By != "time" || l.Code != "" {
		t.Errorf("after: %+v", l)
	}
	if turn, _, l := d.Turn(d.read(t, ref)); turn != openid.Leave || l.No.Code != "expire" {
		t.Errorf("turn %v: %+v", turn, l)
	}
	if _, err := d.Order(never); err != nil {
		t.Error(err)
	}
	if _, err := d.Do(never, sandbox.Act{Event: "approve"}); !errors.Is(err, sandbox.ErrEnded) {
		t.Errorf("approved after its time: %v", err)
	}
}

// TestTurn: what was decided happens when the page is opened.
func TestTurn(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		dec  sandbox.Decision
		turn openid.Turn
		wait time.Duration
		hint string
	}{
		"ignore":                {sandbox.Decision{Outcome: "ignore"}, openid.Ask, 0, "pending"},
		"on the broker's page":  {sandbox.Decision{Outcome: "cancel:page"}, openid.Ask, 0, "pending"},
		"a script":              {sandbox.Decision{Outcome: "states:a,b"}, openid.Ask, 0, "pending"},
		"by hand":               {sandbox.Decision{Outcome: "approve", Hands: true}, openid.Ask, 0, "pending"},
		"who has none":          {sandbox.Decision{Outcome: "approve", Person: "ada"}, openid.Ask, 0, "pending"},
		"nobody":                {sandbox.Decision{Outcome: "approve", Person: "nobody"}, openid.Ask, 0, "pending"},
		"expire":                {sandbox.Decision{Outcome: "expire"}, openid.Still, 0, "pending"},
		"approve":               {sandbox.Decision{Outcome: "approve", Person: "sofie"}, openid.Leave, 0, "code"},
		"approve later":         {sandbox.Decision{Outcome: "approve after 5s"}, openid.Later, 5 * time.Second, "pending"},
		"approve a bit later":   {sandbox.Decision{Outcome: "approve after 1ms"}, openid.Later, time.Second, "pending"},
		"cancel":                {sandbox.Decision{Outcome: "cancel"}, openid.Leave, 0, "cancel"},
		"decline":               {sandbox.Decision{Outcome: "decline"}, openid.Leave, 0, "decline"},
		"fail":                  {sandbox.Decision{Outcome: "fail:x"}, openid.Leave, 0, "x"},
		"never back":            {sandbox.Decision{Outcome: "fail:no_return"}, openid.Leave, 0, "no return"},
		"who is never approved": {sandbox.Decision{Outcome: "approve", Person: "emil"}, openid.Leave, 0, "too_young"},
	} {
		d := newDesk(sandbox.Ignore)
		ref := d.add()
		d.decisions.Set(ref, x.dec)
		turn, wait, l := d.Turn(d.read(t, ref))
		if turn != x.turn || wait != x.wait || l.Hint != x.hint {
			t.Errorf("%s: %v, %s, %q", name, turn, wait, l.Hint)
		}
		if x.turn == openid.Later {
			d.clock.Advance(x.wait)
			if turn, _, l := d.Turn(d.read(t, ref)); turn != openid.Leave || l.Hint != "code" {
				t.Errorf("%s, in time: %v, %q", name, turn, l.Hint)
			}
		}
		if turn, _, _ := d.Turn(d.read(t, ref)); (turn == openid.Leave) == d.read(t, ref).Ended.IsZero() {
			t.Errorf("%s, again: %v", name, turn)
		}
	}
}

// TestHabit: what some people always do.
func TestHabit(t *testing.T) {
	t.Parallel()
	d := newDesk(sandbox.Approve)
	for person, want := range map[string]string{"hanne": "", "afbryder": "cancel", "forkert": "fail:mitid_cpr_match_failed", "stille": "", "nobody": ""} {
		if got := d.Habit(d.read(t, d.add()), person); got != want {
			t.Errorf("%s: %q", person, got)
		}
	}
	holders := d.Holders()
	for _, p := range d.people.List() {
		if has := slices.ContainsFunc(holders, func(q sandbox.Person) bool { return q.Key == p.Key }); has != (p.MitID != nil) {
			t.Errorf("%s is a holder: %v", p.Key, has)
		}
	}
}

// TestRedeem: a code works once, in time, for its client, way back and verifier.
func TestRedeem(t *testing.T) {
	t.Parallel()
	other := &openid.Client{ID: "d"}
	sum := sha256.Sum256([]byte(verifier))
	if base64.RawURLEncoding.EncodeToString(sum[:]) != challenge {
		t.Fatal("the example is wrong")
	}
	for name, x := range map[string]struct {
		challenge string
		client    *openid.Client
		back      string
		verifier  string
		after     time.Duration
		gone      bool // the person
		want      bool
	}{
		"as it should be":      {challenge, nil, back, verifier, 0, false, true},
		"at the end of it":     {challenge, nil, back, verifier, time.Minute, false, true},
		"without a challenge":  {"", nil, back, "", 0, false, true},
		"after its life":       {challenge, nil, back, verifier, time.Minute + time.Second, false, false},
		"of another client":    {challenge, other, back, verifier, 0, false, false},
		"by another way":       {challenge, nil, back + "?session=1", verifier, 0, false, false},
		"by no way":            {challenge, nil, "", verifier, 0, false, false},
		"by a wrong verifier":  {challenge, nil, back, verifier[1:], 0, false, false},
		"by the challenge":     {challenge, nil, back, challenge, 0, false, false},
		"without a verifier":   {challenge, nil, back, "", 0, false, false},
		"of who is not there":  {challenge, nil, back, verifier, 0, true, false},
		"no challenge, late":   {"", nil, back, "", time.Hour, false, false},
		"no challenge, others": {"", other, back, "", 0, false, false},
	} {
		d := newDesk(sandbox.Ignore)
		ref := d.add(func(l *openid.Login[int]) { l.Challenge = x.challenge })
		if _, err := d.Do(ref, sandbox.Act{Event: "approve"}); err != nil {
			t.Fatal(err)
		}
		code := d.read(t, ref).Code
		d.clock.Advance(x.after)
		if x.gone {
			if err := d.people.Remove("hanne"); err != nil {
				t.Fatal(err)
			}
		}
		c := x.client
		if c == nil {
			c = d.client
		}
		l, p, ok := d.Redeem(c, code, x.back, x.verifier)
		if ok != x.want || ok && (l.Access == "" || p.Key != "hanne" || l.Own != 7) || !ok && l.Access+p.Key != "" {
			t.Errorf("%s: %+v, %v", name, l, ok)
		}
		if _, _, ok := d.Redeem(d.client, code, back, verifier); ok {
			t.Errorf("%s: the code works again", name)
		}
	}
	d := newDesk(sandbox.Ignore)
	cancelled := d.add()
	if _, err := d.Do(cancelled, sandbox.Act{Event: "cancel"}); err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"", "x"} {
		if _, _, ok := d.Redeem(d.client, code, back, ""); ok {
			t.Errorf("the code %q works", code)
		}
	}
}

// TestBearer: an access token leads to its login, until it ends.
func TestBearer(t *testing.T) {
	t.Parallel()
	d := newDesk(sandbox.Ignore)
	ref := d.add()
	if _, err := d.Do(ref, sandbox.Act{Event: "approve"}); err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"", "Bearer ", "Bearer"} { // the token of a login that has none yet
		if _, _, ok := d.Bearer(header); ok {
			t.Errorf("%q works", header)
		}
	}
	l, _, ok := d.Redeem(d.client, d.read(t, ref).Code, back, "")
	if !ok {
		t.Fatal("no token")
	}
	for header, want := range map[string]bool{"Bearer " + l.Access: true, l.Access: false, "Basic " + l.Access: false, "Bearer " + l.Access + "x": false, "Bearer x": false, "Bearer  " + l.Access: false} {
		if got, p, ok := d.Bearer(header); ok != want || ok && (got.Ref != ref || p.Key != "hanne") {
			t.Errorf("%.10q: %v", header, ok)
		}
	}
	d.clock.Advance(time.Hour - time.Second)
	if _, _, ok := d.Bearer("Bearer " + l.Access); !ok {
		t.Error("it ends before its time")
	}
	d.clock.Advance(time.Second)
	if _, _, ok := d.Bearer("Bearer " + l.Access); ok {
		t.Error("it works after its time")
	}
	ref = d.add()
	if _, err := d.Do(ref, sandbox.Act{Event: "approve"}); err != nil {
		t.Fatal(err)
	}
	if l, _, ok = d.Redeem(d.client, d.read(t, ref).Code, back, ""); !ok {
		t.Fatal("no token")
	}
	if _, err := d.people.Patch("hanne", func(p *sandbox.Person) error { p.MitID = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := d.Bearer("Bearer " + l.Access); ok {
		t.Error("who has lost the eID is told about")
	}
	d.people.Reset()
	d.Clear()
	if _, _, ok := d.Bearer("Bearer " + l.Access); ok {
		t.Error("what was cleared works")
	}
}

// TestNotes: what an eID writes down of a login, while it goes on and after.
func TestNotes(t *testing.T) {
	t.Parallel()
	d := newDesk(sandbox.Ignore)
	ref := d.add()
	if l := d.Note(ref, func(l *openid.Login[int]) { l.Own = 8 }); l.Own != 8 || d.read(t, ref).Own != 8 {
		t.Errorf("%+v", l)
	}
	if l, err := d.Settle(ref, "cancel", "hanne", "page"); err != nil || l.No.Code != "cancel" || l.Person != "hanne" {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := d.Settle(ref, "approve", "hanne", "page"); err != nil || l.No.Code != "cancel" || l.Code != "" {
		t.Errorf("who was slower: %+v, %v", l, err)
	}
	if l := d.Note(ref, func(l *openid.Login[int]) { l.Own = 9 }); l.Own != 8 || l.Hint != "cancel" {
		t.Errorf("a note after the end: %+v", l)
	}
	d.After(ref, func(n *int) { *n = 10 })
	d.After("x", func(*int) { t.Error("a note of nothing") })
	if d.read(t, ref).Own != 10 {
		t.Error("nothing was written down")
	}
	if l := d.Note("x", func(*openid.Login[int]) { t.Error("a note of nothing") }); l.Ref != "" {
		t.Errorf("%+v", l)
	}
	if _, err := d.Settle("x", "cancel", "", ""); !errors.Is(err, sandbox.ErrNoOrder) {
		t.Error(err)
	}
	if _, err := d.Settle(d.add(), "sing", "", ""); !errors.Is(err, sandbox.ErrEvent) {
		t.Error(err)
	}
	l := d.read(t, d.add())
	if !l.Has("x") || l.Has("y") {
		t.Error("scopes")
	}
}

// TestOrders: what the control API is shown.
func TestOrders(t *testing.T) {
	t.Parallel()
	d := newDesk(sandbox.Ignore)
	first, second := d.add(), d.add()
	if _, err := d.Do(first, sandbox.Act{Event: "cancel"}); err != nil {
		t.Fatal(err)
	}
	refs := func(all bool) (out []string) {
		for _, o := range d.Orders(all) {
			out = append(out, o.Ref)
			if o.Asked != "" {
				t.Error("a list tells what was asked")
			}
		}
		return out
	}
	if got := refs(false); !cmp.Equal(got, []string{second}) {
		t.Errorf("pending: %v", got)
	}
	if got := refs(true); !cmp.Equal(got, []string{second, first}) {
		t.Errorf("all: %v", got)
	}
	d.clock.Advance(time.Minute)
	d.decisions.Decide(sandbox.Subject{EID: "eid", Ref: second})
	o, err := d.Order(second)
	if err != nil || o.EID != "eid" || o.RP != "Shop" || o.Asked != "asked" || o.Left != 240 || o.Page != "http://eid.example/"+second || o.Return != back || o.Details != 7 || o.State != "pending" || len(o.Ladder) == 0 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := d.Order("x"); !errors.Is(err, sandbox.ErrNoOrder) {
		t.Error(err)
	}
	for range 300 {
		d.add()
	}
	if n := len(d.Orders(false)); n != 200 {
		t.Errorf("%d in a list", n)
	}
	d.Clear()
	if got := d.Orders(true); got == nil || len(got) != 0 {
		t.Errorf("cleared: %v", got)
	}
	if _, ok := d.Open(t.Context(), second); ok {
		t.Error("a login that was cleared")
	}
}

// TestForgotten: the oldest login makes room, with its code and token.
func TestForgotten(t *testing.T) {
	t.Parallel()
	d := newDesk(sandbox.Ignore)
	var codes []string
	for range 2 {
		ref := d.add()
		if _, err := d.Do(ref, sandbox.Act{Event: "approve"}); err != nil {
			t.Fatal(err)
		}
		codes = append(codes, d.read(t, ref).Code)
	}
	l, _, ok := d.Redeem(d.client, codes[0], back, "")
	if !ok {
		t.Fatal("no token")
	}
	var last string
	for range 2000 {
		last = d.add()
	}
	if _, _, ok := d.Bearer("Bearer " + l.Access); ok {
		t.Error("a token of a forgotten login")
	}
	if _, _, ok := d.Redeem(d.client, codes[1], back, ""); ok {
		t.Error("a code of a forgotten login")
	}
	if _, ok := d.Open(t.Context(), last); !ok {
		t.Error("the newest is forgotten")
	}
	if n := len(d.Orders(true)); n != 200 {
		t.Errorf("%d in a list", n)
	}
}

// TestChanged: whoever waits is told of each change.
func TestChanged(t *testing.T) {
	t.Parallel()
	d := newDesk(sandbox.Ignore)
	ref := d.add()
	late := d.add()
	d.clock.Advance(6 * time.Minute)
	for _, x := range []struct {
		name   string
		change func()
		want   bool
	}{
		{"a new one", func() { ref = d.add() }, true},
		{"a look", func() { d.Open(t.Context(), ref) }, false},
		{"an end", func() { _, _ = d.Do(ref, sandbox.Act{Event: "cancel"}) }, true},
		{"who was slower", func() { _, _ = d.Settle(ref, "approve", "", "") }, false},
		{"time", func() { d.Open(t.Context(), late) }, true},
		{"all forgotten", func() { d.Clear() }, true},
	} {
		told := d.Changed()
		x.change()
		select {
		case <-told:
			if !x.want {
				t.Errorf("%s: told of nothing", x.name)
			}
		default:
			if x.want {
				t.Errorf("%s: nobody is told", x.name)
			}
		}
	}
}

// TestRandom: nobody guesses a name.
func TestRandom(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		seen[openid.Random()] = true
	}
	if len(seen) != 100 || len(slices.Collect(maps.Keys(seen))[0]) != 36 || len(openid.Octets(5)) != 5 {
		t.Error("names come again")
	}
}

// TestIsFor: an audience is a text or a list.
func TestIsFor(t *testing.T) {
	t.Parallel()
	for aud, want := range map[string]bool{`"a"`: true, `"b"`: true, `["x","a"]`: true, `"x"`: false, `["x"]`: false, `[]`: false, `{}`: false, `7`: false, ``: false} {
		claims := map[string]json.RawMessage{}
		if aud != "" {
			claims["aud"] = json.RawMessage(aud)
		}
		if got := openid.IsFor(claims, "a", "b"); got != want {
			t.Errorf("%s: %v", aud, got)
		}
	}
}
