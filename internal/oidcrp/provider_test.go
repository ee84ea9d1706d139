package oidcrp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/internal/jose"
	"eidgate/internal/oidcrp"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// A watch is a clock that tests set.
type watch struct{ at atomic.Int64 }

func (w *watch) now() time.Time       { return time.UnixMicro(w.at.Load()).UTC() }
func (w *watch) wait(d time.Duration) { w.at.Add(d.Microseconds()) }

var (
	rsaKeys = sync.OnceValue(func() (out [4]*rsa.PrivateKey) {
		for i := range out {
			out[i], _ = rsa.GenerateKey(rand.Reader, 2048) // it would have failed loudly
		}
		return out
	})
	curve = sync.OnceValue(func() *ecdsa.PrivateKey {
		k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return k
	})
)

// A provider is an OpenID provider by another library than ours, of which each
// test spoils a part.
type provider struct {
	*httptest.Server
	watch *watch
	t     testing.TB

	mu       sync.Mutex
	code     string
	nonce    string
	verifier string // its hash
	form     url.Values
	header   http.Header
	pushed   url.Values
	calls    map[string]int

	meta    func(map[string]any)
	set     func() any                 // JWKS; nil for the usual one
	claims  func(map[string]any)       // of the ID token
	info    func(map[string]any)       // of UserInfo
	sign    func(claims []byte) string // nil: RS256 with "s1"
	seal    func(signed string) string // nil: as it is
	tokens  func(map[string]any)       // the answer of the token endpoint
	infoAs  func(claims []byte) (string, string)
	instead map[string]http.HandlerFunc // by path
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{t: t, watch: &watch{}, calls: map[string]int{}, instead: map[string]http.HandlerFunc{}}
	p.watch.at.Store(start.UnixMicro())
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", p.metadata)
	mux.HandleFunc("/jwks", p.jwks)
	mux.HandleFunc("/token", p.token)
	mux.HandleFunc("/par", p.par)
	mux.HandleFunc("/userinfo", p.userInfo)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.calls[r.URL.Path]++
		h := p.instead[r.URL.Path]
		p.mu.Unlock()
		if h != nil {
			h(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[path]
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (p *provider) metadata(w http.ResponseWriter, _ *http.Request) {
	m := map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/jwks",
		"userinfo_endpoint": p.URL + "/userinfo", "pushed_authorization_request_endpoint": p.URL + "/par"}
	if p.meta != nil {
		p.meta(m)
	}
	answer(w, 200, m)
}

func (p *provider) jwks(w http.ResponseWriter, _ *http.Request) {
	if p.set != nil {
		answer(w, 200, p.set())
		return
	}
	answer(w, 200, gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{
		{Key: &rsaKeys()[0].PublicKey, KeyID: "s1", Use: "sig", Algorithm: "RS256"},
		{Key: &curve().PublicKey, KeyID: "c1", Use: "sig", Algorithm: "ES256"},
		{Key: &rsaKeys()[1].PublicKey, KeyID: "e1", Use: "enc", Algorithm: "RSA-OAEP-256"},
	}})
}

// signed signs claims as an option asks.
func signed(t testing.TB, alg gojose.SignatureAlgorithm, kid string, key any, claims []byte) string {
	t.Helper()
	return typed(t, "JWT", alg, kid, key, claims)
}

// typed is signed for a token of another type.
func typed(t testing.TB, typ gojose.ContentType, alg gojose.SignatureAlgorithm, kid string, key any, claims []byte) string {
	t.Helper()
	s, err := gojose.NewSigner(gojose.SigningKey{Algorithm: alg, Key: gojose.JSONWebKey{Key: key, KeyID: kid}}, (&gojose.SignerOptions{}).WithType(typ))
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sealed encrypts a text to a key of the relying party.
func sealed(t testing.TB, kid string, key *rsa.PublicKey, text string) string {
	t.Helper()
	e, err := gojose.NewEncrypter(gojose.A128CBC_HS256, gojose.Recipient{Algorithm: gojose.RSA_OAEP_256, Key: key, KeyID: kid}, (&gojose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := e.Encrypt([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (p *provider) pack(claims map[string]any) string {
	raw, _ := json.Marshal(claims)
	var out string
	if p.sign != nil {
		out = p.sign(raw)
	} else {
		out = signed(p.t, gojose.RS256, "s1", rsaKeys()[0], raw)
	}
	if p.seal != nil {
		out = p.seal(out)
	}
	return out
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	p.form, p.header = r.PostForm, r.Header
	good := p.code != "" && r.PostForm.Get("code") == p.code
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	good = good && (p.verifier == "" || base64.RawURLEncoding.EncodeToString(sum[:]) == p.verifier)
	p.code = ""
	nonce := p.nonce
	p.mu.Unlock()
	if !good {
		answer(w, 400, map[string]any{"error": "invalid_grant", "error_description": "code of Ola Nordmann"})
		return
	}
	at := sha256.Sum256([]byte("access"))
	now := p.watch.now()
	claims := map[string]any{"iss": p.URL, "aud": "me", "sub": "person", "nonce": nonce, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"at_hash": base64.RawURLEncoding.EncodeToString(at[:16])}
	if p.claims != nil {
		p.claims(claims)
	}
	out := map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 300, "id_token": p.pack(claims), "scope": "openid"}
	if p.tokens != nil {
		p.tokens(out)
	}
	answer(w, 200, out)
}

func (p *provider) par(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	p.pushed = r.PostForm
	p.mu.Unlock()
	answer(w, 201, map[string]any{"request_uri": "urn:ietf:params:oauth:request_uri:1", "expires_in": 60})
}

func (p *provider) userInfo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer access" {
		w.WriteHeader(401)
		return
	}
	claims := map[string]any{"iss": p.URL, "aud": "me", "sub": "person", "name": "Ola Nordmann"}
	if p.info != nil {
		p.info(claims)
	}
	if p.infoAs != nil {
		raw, _ := json.Marshal(claims)
		kind, body := p.infoAs(raw)
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write([]byte(body))
		return
	}
	w.Header().Set("Content-Type", "application/jwt")
	_, _ = w.Write([]byte(p.pack(claims)))
}

// keys are ours, as tests hold them.
func (p *provider) keys(t testing.TB, keys ...jose.Key) *jose.Set {
	t.Helper()
	if len(keys) == 0 {
		keys = []jose.Key{
			{ID: "ours", Use: jose.Signing, Alg: jose.RS256, Private: rsaKeys()[2]},
			{ID: "open", Use: jose.Encrypting, Alg: jose.RSAOAEP256, Private: rsaKeys()[3]},
		}
	}
	set, err := jose.NewSet(jose.Schedule{Cache: 24 * time.Hour}, p.watch.now, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (p *provider) client(t testing.TB, change ...func(*oidcrp.Config)) *oidcrp.Client {
	t.Helper()
	return p.clientOf(t, oidcrp.NewDirectory(http.DefaultTransport, p.watch.now), change...)
}

func (p *provider) clientOf(t testing.TB, d *oidcrp.Directory, change ...func(*oidcrp.Config)) *oidcrp.Client {
	t.Helper()
	c := oidcrp.Config{Issuer: p.URL, ClientID: "me", Auth: oidcrp.SecretBasic, Secret: "s:ecret", AllowHTTP: true}
	for _, f := range change {
		f(&c)
	}
	out, err := oidcrp.New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// begin starts a login, and lets the provider know it as its browser would.
func (p *provider) begin(t testing.TB, c *oidcrp.Client, r oidcrp.Request) (*url.URL, *oidcrp.Login) {
	t.Helper()
	r.RedirectURI, r.Scope = "https://us.example/back", "openid"
	address, l, err := c.Begin(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.code, p.nonce, p.verifier = "code-1", l.Nonce, u.Query().Get("code_challenge")
	return u, l
}

// login goes the whole way.
func (p *provider) login(t testing.TB, c *oidcrp.Client) (*oidcrp.Tokens, *oidcrp.Info, error) {
	t.Helper()
	_, l := p.begin(t, c, oidcrp.Request{})
	code, err := c.Answer(l, url.Values{"code": {"code-1"}, "state": {l.State}})
	if err != nil {
		return nil, nil, err
	}
	raw, err := c.Redeem(t.Context(), l, code)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := c.Read(t.Context(), l, raw, p.watch.now())
	if err != nil {
		return nil, nil, err
	}
	info, err := c.UserInfo(t.Context(), tokens)
	return tokens, info, err
}

// opened reads a compact token of ours as the provider would.
func opened(t testing.TB, token string, key crypto.PublicKey, open *rsa.PrivateKey) map[string]any {
	t.Helper()
	if strings.Count(token, ".") == 4 {
		e, err := gojose.ParseEncryptedCompact(token, []gojose.KeyAlgorithm{gojose.RSA_OAEP_256}, []gojose.ContentEncryption{gojose.A128CBC_HS256})
		if err != nil {
			t.Fatal(err)
		}
		plain, err := e.Decrypt(open)
		if err != nil {
			t.Fatal(err)
		}
		if e.Header.KeyID != "e1" || e.Header.ExtraHeaders["cty"] != "JWT" {
			t.Errorf("header %v", e.Header)
		}
		token = string(plain)
	}
	s, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.RS256, gojose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Verify(key)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
