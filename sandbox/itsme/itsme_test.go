package itsme_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
	"eidgate/sandbox/itsme"
)

const back = "https://party.example/back"

type box struct {
	*itsme.Simulator
	clock *sandbox.Clock
	http  http.Handler
	base  string
}

func newBox(auto sandbox.Outcome) *box {
	people := sandbox.NewPeople()
	b := &box{clock: sandbox.NewClock(true), base: "http://itsme.example"}
	b.Simulator = itsme.New(itsme.Config{Clock: b.clock, People: people, Decisions: sandbox.NewDecisions(people, auto), Faults: sandbox.NewFaults(1), Base: func() string { return b.base }})
	b.http = b.Handler()
	return b
}

func (b *box) send(t testing.TB, method, address string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	b.http.ServeHTTP(w, r)
	return w
}

// asks is a request of a partner with a secret.
func asks(r itsme.Registration) url.Values {
	return url.Values{"client_id": {r.ClientID}, "response_type": {"code"}, "redirect_uri": {back}, "scope": {"openid profile service:" + r.Service}, "state": {"s"}, "nonce": {"n"}}
}

// TestRequests: what is refused, and where: by a page, or at the way back.
func TestRequests(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Approve)
	r, err := b.Partner("Shop", back, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	signs, err := b.Partner("Signs", back, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		change func(url.Values)
		want   string // error of the redirect; "" for a login, "page" for none
	}{
		"good":                  {func(url.Values) {}, ""},
		"a session in the way":  {func(q url.Values) { q.Set("redirect_uri", back+"?session=1") }, ""},
		"nobody":                {func(q url.Values) { q.Set("client_id", "x") }, "page"},
		"another way back":      {func(q url.Values) { q.Set("redirect_uri", back+"/") }, "page"},
		"more than the session": {func(q url.Values) { q.Set("redirect_uri", back+"?session=1&x=2") }, "page"},
		"no openid":             {func(q url.Values) { q.Set("scope", "profile service:"+r.Service) }, "invalid_scope"},
		"no service":            {func(q url.Values) { q.Set("scope", "openid profile") }, "invalid_scope"},
		"another's service":     {func(q url.Values) { q.Set("scope", "openid service:SIGNS_SHARE") }, "invalid_scope"},
		"offline":               {func(q url.Values) { q.Set("scope", "openid offline_access service:"+r.Service) }, "invalid_scope"},
		"nothing to share":      {func(q url.Values) { q.Set("scope", "openid service:"+r.Service) }, "invalid_request"},
		"a login alone":         {func(q url.Values) { q.Set("scope", "openid service:"+r.Login) }, ""},
		"a token":               {func(q url.Values) { q.Set("response_type", "token") }, "unsupported_response_type"},
		"twice":                 {func(q url.Values) { q.Add("nonce", "m") }, "invalid_request"},
		"claims that are none":  {func(q url.Values) { q.Set("claims", "[]") }, "invalid_request"},
		"a pop-up":              {func(q url.Values) { q.Set("display", "popup") }, "unsupported_display"},
		"silently":              {func(q url.Values) { q.Set("prompt", "none") }, "login_required"},
		"plain PKCE":            {func(q url.Values) { q.Set("code_challenge", "x"); q.Set("code_challenge_method", "plain") }, "invalid_request"},
		"a broken object":       {func(q url.Values) { q.Set("request", "a.b.c.d.e") }, "invalid_request_object"},
		"a query of who signs": {func(q url.Values) {
			q.Set("client_id", signs.ClientID)
			q.Set("scope", "openid profile service:"+signs.Service)
		}, "invalid_request_object"},
	} {
		q := asks(r)
		x.change(q)
		w := b.send(t, http.MethodGet, r.Issuer+"/authorization?"+q.Encode(), nil)
		to, err := url.Parse(w.Header().Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case x.want == "page" && w.Code == http.StatusBadRequest && to.String() == "":
		case x.want == "" && w.Code == http.StatusFound && strings.HasPrefix(to.Path, "/itsme/app/"):
		case x.want != "" && w.Code == http.StatusFound && to.Host == "party.example" && to.Query().Get("error") == x.want && to.Query().Get("state") == "s":
		default:
			t.Errorf("%s: %d %s, want %q", name, w.Code, to, x.want)
		}
	}
	if w := b.send(t, http.MethodPost, r.Issuer+"/authorization", asks(r)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("a request by POST: %d", w.Code)
	}
}

// code logs somebody in.
func (b *box) code(t *testing.T, r itsme.Registration) string {
	t.Helper()
	page := b.send(t, http.MethodGet, r.Issuer+"/authorization?"+asks(r).Encode(), nil).Header().Get("Location")
	to, err := url.Parse(b.send(t, http.MethodGet, page, nil).Header().Get("Location"))
	if err != nil || to.Query().Get("code") == "" {
		t.Fatalf("comes back with %v, %v", to, err)
	}
	return to.Query().Get("code")
}

// TestCodes: a code works once, for three minutes, for its partner and way back.
func TestCodes(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Approve)
	r, err := b.Partner("Shop", back, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.Partner("Other", back, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	redeem := func(r itsme.Registration, code, way string) (int, map[string]any) {
		w := b.send(t, http.MethodPost, r.Issuer+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {way}, "client_id": {r.ClientID}, "client_secret": {r.Secret}})
		var out map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		return w.Code, out
	}
	first := b.code(t, r)
	if status, out := redeem(r, first, back); status != 200 || out["id_token"] == nil {
		t.Errorf("once: %d %v", status, out)
	}
	for name, try := range map[string]func() (int, map[string]any){
		"twice":          func() (int, map[string]any) { return redeem(r, first, back) },
		"of another":     func() (int, map[string]any) { return redeem(other, b.code(t, r), back) },
		"by another way": func() (int, map[string]any) { return redeem(r, b.code(t, r), back+"?x") },
		"after its time": func() (int, map[string]any) {
			c := b.code(t, r)
			b.clock.Advance(181 * time.Second)
			return redeem(r, c, back)
		},
		"that nobody wrote": func() (int, map[string]any) { return redeem(r, "x", back) },
	} {
		if status, out := try(); status != 400 || out["error"] != "invalid_grant" || out["detail"] == nil {
			t.Errorf("a code %s: %d %v", name, status, out)
		}
	}
	r.Secret = "guess"
	if status, out := redeem(r, b.code(t, r), back); status != 400 || out["error"] != "invalid_client" {
		t.Errorf("a wrong secret: %d %v", status, out)
	}
}

// TestAssertions: signed by the partner, for the token endpoint, used once; in
// the first generation encrypted too.
func TestAssertions(t *testing.T) {
	t.Parallel()
	for gen, encrypted := range map[int]bool{2: false, 1: true} {
		b := newBox(sandbox.Approve)
		r, err := b.Partner("Shop", back, gen, false)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode([]byte(r.SigningKey))
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		good := map[string]any{"iss": r.ClientID, "sub": r.ClientID, "aud": r.Issuer + "/token", "jti": "1", "exp": b.clock.Now().Add(time.Minute).Unix()}
		say := func(change func(map[string]any)) string {
			claims := map[string]any{}
			for k, v := range good {
				claims[k] = v
			}
			change(claims)
			raw, _ := json.Marshal(claims) // texts and numbers
			s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: r.SigningKID}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			o, err := s.Sign(raw)
			if err != nil {
				t.Fatal(err)
			}
			token, err := o.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			w := b.send(t, http.MethodPost, r.Issuer+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {back}, "client_id": {r.ClientID},
				"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {token}})
			var out struct {
				Error string `json:"error"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
				t.Fatal(err)
			}
			return out.Error
		}
		want := "invalid_grant" // the partner is known; the code is not
		if encrypted {
			want = "invalid_client"
		}
		if got := say(func(map[string]any) {}); got != want {
			t.Errorf("generation %d, signed only: %s, want %s", gen, got, want)
		}
		if encrypted {
			continue
		}
		for name, change := range map[string]func(map[string]any){
			"used":             func(map[string]any) {},
			"for the issuer":   func(c map[string]any) { c["jti"], c["aud"] = "2", r.Issuer },
			"over":             func(c map[string]any) { c["jti"], c["exp"] = "3", b.clock.Now().Unix() },
			"of somebody":      func(c map[string]any) { c["jti"], c["sub"] = "4", "x" },
			"without a number": func(c map[string]any) { delete(c, "jti") },
			"without an end":   func(c map[string]any) { c["jti"] = "5"; delete(c, "exp") },
		} {
			if got := say(change); got != "invalid_client" {
				t.Errorf("an assertion that is %s: %s", name, got)
			}
		}
	}
}

func FuzzAuthorize(f *testing.F) {
	b := newBox(sandbox.Ignore)
	r, err := b.Partner("Shop", back, 2, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("openid profile service:"+r.Service, `{"userinfo":{"age_gte_18":null}}`, "", "")
	f.Add("openid service:"+r.Login, "", "e30.e30.e30", "http://itsme.services/v2/claim/acr_advanced")
	f.Fuzz(func(t *testing.T, scope, claims, request, acr string) {
		q := asks(r)
		q.Set("scope", scope)
		q.Set("claims", claims)
		q.Set("request", request)
		q.Set("acr_values", acr)
		w := b.send(t, http.MethodGet, r.Issuer+"/authorization?"+q.Encode(), nil)
		if to := w.Header().Get("Location"); w.Code != http.StatusFound || !strings.HasPrefix(to, b.base+"/itsme/app/") && !strings.HasPrefix(to, back+"?error=") {
			t.Errorf("%d %s", w.Code, to)
		}
	})
}
