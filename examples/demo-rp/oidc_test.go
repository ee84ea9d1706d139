package demorp_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	demorp "eidgate/examples/demo-rp"
)

// A provider is one that a test can let lie.
type provider struct {
	t       *testing.T
	url     string
	shop    string
	key     *rsa.PrivateKey
	now     time.Time
	asked   url.Values // of the last request that a browser brought
	redeems int

	head   func(map[string]any)
	claims func(map[string]any)
	about  map[string]any
	keys   func([]map[string]any) []map[string]any
	sign   func([]byte) []byte
}

const client, clientSecret = "a client", "a:secret %"

var rsaKey = func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}()

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{t: t, key: rsaKey, now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), about: map[string]any{"sub": "the-sub", "name": "Ada <b>Test"},
		head: func(map[string]any) {}, claims: func(map[string]any) {}, keys: func(k []map[string]any) []map[string]any { return k }}
	p.sign = func(text []byte) []byte {
		sum := sha256.Sum256(text)
		out, err := rsa.SignPKCS1v15(nil, p.key, crypto.SHA256, sum[:])
		if err != nil {
			t.Error(err)
		}
		return out
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /auth/open/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		at := p.url + "/auth/open"
		p.say(w, map[string]any{"issuer": at, "authorization_endpoint": at + "/authorize", "token_endpoint": at + "/token",
			"userinfo_endpoint": at + "/userinfo", "jwks_uri": at + "/jwks", "end_session_endpoint": at + "/end"})
	})
	mux.HandleFunc("GET /auth/open/jwks", func(w http.ResponseWriter, _ *http.Request) {
		p.say(w, map[string]any{"keys": p.keys([]map[string]any{{"kid": "k1", "kty": "RSA", "use": "sig", "n": b64(p.key.N.Bytes()), "e": b64(big.NewInt(int64(p.key.E)).Bytes())}})})
	})
	mux.HandleFunc("POST /auth/open/token", p.token)
	mux.HandleFunc("GET /auth/open/userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer the-access-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		p.say(w, p.about)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	p.url = s.URL
	shop := &demorp.Shop{Broker: s.URL, Client: client, ClientSecret: clientSecret, Phone: s.URL + "/phone", Now: func() time.Time { return p.now }}
	front := httptest.NewServer(shop.Handler())
	t.Cleanup(front.Close)
	shop.Self, p.shop = front.URL, front.URL
	return p
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (p *provider) say(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

// token wants what a provider must want.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.redeems++
	user, password, _ := r.BasicAuth()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if user != url.QueryEscape(client) || password != url.QueryEscape(clientSecret) || b64(sum[:]) != p.asked.Get("code_challenge") ||
		r.PostFormValue("redirect_uri") != p.asked.Get("redirect_uri") || r.PostFormValue("code") != "the-code" || r.PostFormValue("grant_type") != "authorization_code" {
		w.WriteHeader(http.StatusBadRequest)
		p.say(w, map[string]any{"error": "invalid_grant"})
		return
	}
	head := map[string]any{"alg": "RS256", "kid": "k1", "typ": "JWT"}
	claims := map[string]any{"iss": p.url + "/auth/open", "aud": client, "iat": p.now.Unix(), "exp": p.now.Add(10 * time.Minute).Unix(),
		"nonce": p.asked.Get("nonce"), "sub": "the-sub", "idp": "sbid", "acr": "substantial"}
	p.head(head)
	p.claims(claims)
	h, err1 := json.Marshal(head)
	c, err2 := json.Marshal(claims)
	if err1 != nil || err2 != nil {
		p.t.Error(err1, err2)
	}
	text := b64(h) + "." + b64(c)
	p.say(w, map[string]any{"id_token": text + "." + b64(p.sign([]byte(text))), "access_token": "the-access-token", "token_type": "Bearer"})
}

// fetch lets a browser load an address, or post a form there.
func (p *provider) fetch(b *http.Client, address string, form url.Values, header ...string) (status int, location, text string) {
	p.t.Helper()
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Location"), string(raw)
}

// begin starts a login, and keeps what the browser brings to the provider.
func (p *provider) begin(b *http.Client, form url.Values) {
	p.t.Helper()
	status, to, text := p.fetch(b, p.shop+"/oidc/login", form, "Sec-Fetch-Site", "same-origin")
	u, err := url.Parse(to)
	if err != nil || status != http.StatusSeeOther || !strings.HasPrefix(to, p.url+"/auth/open/authorize?") {
		p.t.Fatalf("login = %d %s %v\n%s", status, to, err, text)
	}
	p.asked = u.Query()
}

func (p *provider) answer() url.Values {
	return url.Values{"code": {"the-code"}, "state": {p.asked.Get("state")}, "iss": {p.url + "/auth/open"}}
}

// back brings an answer and is what the shop shows then.
func (p *provider) back(b *http.Client, answer url.Values) string {
	p.t.Helper()
	if status, to, text := p.fetch(b, p.shop+"/oidc/callback?"+answer.Encode(), nil); status != http.StatusSeeOther || to != "/oidc#result" {
		p.t.Fatalf("callback = %d %s\n%s", status, to, text)
	}
	return p.page(b)
}

func (p *provider) page(b *http.Client) string {
	p.t.Helper()
	_, _, text := p.fetch(b, p.shop+"/oidc", nil)
	return text
}

func (p *provider) wants(text string, words ...string) {
	p.t.Helper()
	for _, w := range words {
		not, absent := strings.CutPrefix(w, "!")
		if strings.Contains(text, not) == absent {
			p.t.Errorf("%q in\n%s", w, text)
		}
	}
}

const good = "Welcome, Ada &lt;b&gt;Test"

func TestOIDC(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	b := newBrowser(t)
	p.begin(b, url.Values{"acr_values": {"idp:sbid"}, "scope": {"profile", "age", "invented"}, "login_hint": {"sandbox:cancel"}, "response_mode": {""}})
	for name, want := range map[string]string{"client_id": client, "response_type": "code", "redirect_uri": p.shop + "/oidc/callback",
		"scope": "openid profile age", "code_challenge_method": "S256", "acr_values": "idp:sbid", "login_hint": "sandbox:cancel"} {
		if got := p.asked.Get(name); got != want {
			t.Errorf("%s = %q", name, got)
		}
	}
	if p.asked.Has("response_mode") || len(p.asked.Get("state")) < 22 || len(p.asked.Get("nonce")) < 22 {
		t.Errorf("asked %v", p.asked)
	}
	p.wants(p.page(b), "A login has begun", "browser to GET /auth/open/authorize", "!Welcome")
	text := p.back(b, p.answer())
	p.wants(text, good, "<dd class=\"code\">the-sub</dd>", "<dd>sbid</dd>", "<dd>substantial</dd>", "POST /auth/open/token", "GET /auth/open/jwks", "GET /auth/open/userinfo",
		"browser back at GET /oidc/callback", "$EIDGATE_CLIENT_SECRET", "!"+url.QueryEscape(clientSecret), "!"+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(client)+":")), "!class=\"bad\"")
	if n := strings.Count(text, `<li class="good">`); n != 8 {
		t.Errorf("%d checks", n)
	}
	if text = p.back(b, p.answer()); p.redeems != 1 {
		t.Errorf("an answer that comes again was redeemed %d times", p.redeems)
	}
	p.wants(text, good)
	p.wants(p.page(newBrowser(t)), "!Welcome", "!the-sub")
}

// TestOIDCChecks lets the provider, or who stands between, lie in one thing
// after the other.
func TestOIDCChecks(t *testing.T) {
	t.Parallel()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(name string, value any) func(*provider) {
		return func(p *provider) { p.claims = func(c map[string]any) { c[name] = value } }
	}
	for name, c := range map[string]struct {
		lie  func(*provider)
		says string
	}{
		"signed by another key": {func(p *provider) {
			p.sign = func(text []byte) []byte {
				sum := sha256.Sum256(text)
				out, err := rsa.SignPKCS1v15(nil, other, crypto.SHA256, sum[:])
				if err != nil {
					p.t.Error(err)
				}
				return out
			}
		}, "signed with RS256"},
		"not signed": {func(p *provider) {
			p.head = func(h map[string]any) { h["alg"] = "none" }
			p.sign = func([]byte) []byte { return nil }
		}, "signed with RS256"},
		"another algorithm":  {func(p *provider) { p.head = func(h map[string]any) { h["alg"] = "HS256" } }, "signed with RS256"},
		"another key's name": {func(p *provider) { p.head = func(h map[string]any) { h["kid"] = "k2" } }, "signed with RS256"},
		"a key for encryption": {func(p *provider) {
			p.keys = func(k []map[string]any) []map[string]any { k[0]["use"] = "enc"; return k }
		}, "signed with RS256"},
		"no keys":               {func(p *provider) { p.keys = func([]map[string]any) []map[string]any { return nil } }, "signed with RS256"},
		"another issuer":        {claim("iss", "https://evil.example"), "iss and aud"},
		"another audience":      {claim("aud", "somebody else"), "iss and aud"},
		"several audiences":     {claim("aud", []string{client, "somebody else"}), "signed with RS256"},
		"expired":               {claim("exp", time.Date(2026, 3, 4, 11, 58, 0, 0, time.UTC).Unix()), "exp of the ID token"},
		"from the future":       {claim("iat", time.Date(2026, 3, 4, 12, 2, 0, 0, time.UTC).Unix()), "exp of the ID token"},
		"another login's nonce": {claim("nonce", "of another login"), "nonce of the ID token"},
		"UserInfo of another":   {func(p *provider) { p.about = map[string]any{"sub": "somebody else", "name": "Ada"} }, "UserInfo is about"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			b := newBrowser(t)
			p.begin(b, url.Values{"scope": {"profile"}})
			c.lie(p)
			text := p.back(b, p.answer())
			p.wants(text, "Nobody was logged in", "A check failed", "!Welcome", "!says</h3>")
			i := strings.Index(text, `<li class="bad">`)
			if i < 0 || strings.Count(text, `<li class="bad">`) != 1 || !strings.Contains(text[i:i+200], c.says) {
				t.Errorf("what failed is not %q\n%s", c.says, text)
			}
		})
	}
}

func TestOIDCAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  url.Values // "" leaves out
		says    string
		redeems int
	}{
		"an error":            {url.Values{"code": {""}, "error": {"access_denied"}, "error_description": {"The <i>person</i> cancelled."}}, "<strong>access_denied</strong>: The &lt;i&gt;person&lt;/i&gt; cancelled.", 0},
		"of another provider": {url.Values{"iss": {"https://evil.example"}}, "A check failed", 0},
		"of no provider":      {url.Values{"iss": {""}}, "A check failed", 0},
		"an error of another": {url.Values{"iss": {"https://evil.example"}, "error": {"access_denied"}}, "A check failed", 0},
		"a code of another":   {url.Values{"code": {"stolen"}}, "A check failed", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			b := newBrowser(t)
			p.begin(b, url.Values{"scope": {"profile"}})
			answer := p.answer()
			maps.Copy(answer, c.change)
			p.wants(p.back(b, answer), "Nobody was logged in", c.says, "!Welcome", "!<i>")
			if p.redeems != c.redeems {
				t.Errorf("%d codes were redeemed", p.redeems)
			}
		})
	}
}

// TestOIDCStranger: a browser that has begun nothing, or something else, is
// told nothing and logged in as nobody.
func TestOIDCStranger(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	mine, victim := newBrowser(t), newBrowser(t)
	p.begin(mine, url.Values{})
	answer := p.answer()
	p.begin(victim, url.Values{})
	for name, q := range map[string]url.Values{"of another browser": answer, "invented": {"code": {"x"}, "state": {"y"}}, "without state": {"code": {"x"}}} {
		if status, _, text := p.fetch(victim, p.shop+"/oidc/callback?"+q.Encode(), nil); status != http.StatusForbidden || !strings.Contains(text, "does not belong to a login of this browser") {
			t.Errorf("%s: %d\n%s", name, status, text)
		}
	}
	if p.redeems != 0 {
		t.Errorf("%d codes were redeemed", p.redeems)
	}
}

// TestOIDCFormPost: the answer is a form of a page of another origin, which may
// come without the cookie; it counts when the browser has shown that.
func TestOIDCFormPost(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	b := newBrowser(t)
	p.begin(b, url.Values{"response_mode": {"form_post"}})
	if p.asked.Get("response_mode") != "form_post" {
		t.Errorf("asked %v", p.asked)
	}
	status, to, _ := p.fetch(newBrowser(t), p.shop+"/oidc/callback", p.answer(), "Sec-Fetch-Site", "cross-site", "Origin", p.url)
	if status != http.StatusSeeOther || to != "/oidc/callback?state="+p.asked.Get("state") {
		t.Fatalf("post = %d %s", status, to)
	}
	late := p.answer()
	late.Set("code", "late-code")
	p.fetch(newBrowser(t), p.shop+"/oidc/callback", late) // only the first counts
	if p.redeems != 0 {
		t.Error("a code was redeemed before its browser was seen")
	}
	if status, _, _ := p.fetch(newBrowser(t), p.shop+to, nil); status != http.StatusForbidden {
		t.Errorf("in another browser = %d", status)
	}
	if status, to, _ := p.fetch(b, p.shop+to, nil); status != http.StatusSeeOther || to != "/oidc#result" {
		t.Errorf("then = %d %s", status, to)
	}
	p.wants(p.page(b), good, "browser back at POST /oidc/callback", "!late-code")
	if status, _, _ := p.fetch(b, p.shop+"/oidc/callback", url.Values{"state": {strings.Repeat("a", 65<<10)}}); status != http.StatusBadRequest {
		t.Errorf("a form without end = %d", status)
	}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([a-z_]+)" value="([^"]*)">`)

func TestOIDCLogout(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	b := newBrowser(t)
	if status, to, _ := p.fetch(b, p.shop+"/oidc/logout", url.Values{}); status != http.StatusSeeOther || to != "/oidc" {
		t.Errorf("a logout of nobody = %d %s", status, to)
	}
	p.begin(b, url.Values{})
	p.back(b, p.answer())
	if status, _, _ := p.fetch(b, p.shop+"/oidc/logout", url.Values{}, "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden {
		t.Errorf("another site logs out: %d", status)
	}
	_, _, text := p.fetch(b, p.shop+"/oidc/logout", url.Values{})
	fields := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(text, -1) {
		fields.Set(m[1], html.UnescapeString(m[2]))
	}
	p.wants(text, `<form method="post" action="`+p.url+`/auth/open/end">`, "You are logged out of the shop")
	if strings.Count(fields.Get("id_token_hint"), ".") != 2 || fields.Get("post_logout_redirect_uri") != p.shop+"/oidc/bye" || fields.Get("state") == "" {
		t.Errorf("the form has %v", fields)
	}
	p.wants(p.page(b), "You are logged out", "eidgate still knows this browser", "!Welcome", "!the-sub</dd>")
	bye := p.shop + "/oidc/bye?state=" + fields.Get("state")
	p.fetch(newBrowser(t), bye, nil)
	p.wants(p.page(b), "eidgate still knows this browser")
	if status, to, _ := p.fetch(b, bye, nil); status != http.StatusSeeOther || to != "/oidc#result" {
		t.Errorf("bye = %d %s", status, to)
	}
	p.wants(p.page(b), "and eidgate too")
}

// TestOIDCFromElsewhere: a link of the provider's side begins a login; one that
// names another provider does not.
func TestOIDCFromElsewhere(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	b := newBrowser(t)
	for _, q := range []string{"", "?iss=https%3A%2F%2Fevil.example", "?iss=" + url.QueryEscape(p.url)} {
		if status, _, _ := p.fetch(b, p.shop+"/oidc/login"+q, nil); status != http.StatusBadRequest {
			t.Errorf("%s = %d", q, status)
		}
	}
	status, to, _ := p.fetch(b, p.shop+"/oidc/login?iss="+url.QueryEscape(p.url+"/auth/open")+"&login_hint=sandbox:cancel", nil)
	u, err := url.Parse(to)
	if err != nil || status != http.StatusSeeOther {
		t.Fatalf("= %d %s %v", status, to, err)
	}
	if p.asked = u.Query(); p.asked.Get("scope") != "openid profile nin" || p.asked.Get("login_hint") != "sandbox:cancel" || p.asked.Has("acr_values") {
		t.Errorf("asked %v", p.asked)
	}
	p.wants(p.back(b, p.answer()), good)
	if status, _, _ := p.fetch(b, p.shop+"/oidc/login", url.Values{}, "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden {
		t.Errorf("another site's form = %d", status)
	}
}

func TestOIDCWithoutProvider(t *testing.T) {
	t.Parallel()
	shop := &demorp.Shop{Broker: "http://127.0.0.1:1", Client: client}
	front := httptest.NewServer(shop.Handler())
	t.Cleanup(front.Close)
	shop.Self = front.URL
	p := &provider{t: t, shop: front.URL}
	b := newBrowser(t)
	if status, to, _ := p.fetch(b, p.shop+"/oidc/login", url.Values{}); status != http.StatusSeeOther || to != "/oidc#result" {
		t.Errorf("= %d %s", status, to)
	}
	p.wants(p.page(b), "The login did not start", "no answer")
	if status, to, _ := p.fetch(b, strings.Replace(p.shop, "127.0.0.1", "localhost", 1)+"/oidc", nil); status != http.StatusSeeOther || to != p.shop+"/oidc" {
		t.Errorf("by another name = %d %s", status, to)
	}
	for i := range 101 { // a visitor's logins do not fill the memory
		p.fetch(newBrowser(t), fmt.Sprintf("%s/oidc/login?iss=%s&n=%d", p.shop, url.QueryEscape(shop.Broker+"/auth/open"), i), nil)
	}
	p.wants(p.page(b), "!The login did not start")
}
