package oidc_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/relying"
)

// TestRedirectURI tries every writing of an address that a lenient comparison
// takes for the registered one.
func TestRedirectURI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	for name, uri := range map[string]string{
		"OP-AUTHZ-05 oidcc-ensure-registered-redirect-uri another":     "https://other.example/cb",
		"OP-AUTHZ-05 longer path":                                      shop + "/x",
		"OP-AUTHZ-05 query added oidcc-redirect-uri-query-added":       shop + "?foo=bar",
		"OP-AUTHZ-05 query mismatch oidcc-redirect-uri-query-mismatch": shop + "?shop=2",
		"OP-AUTHZ-05 case of the path":                                 "https://shop.example/CB",
		"OP-ATK-05 case of the host":                                   "https://SHOP.example/cb",
		"OP-ATK-05 case of the scheme":                                 "HTTPS://shop.example/cb",
		"OP-ATK-05 user part":                                          "https://shop.example@evil.example/cb",
		"OP-ATK-05 user part before":                                   "https://evil@shop.example/cb",
		"OP-ATK-05 backslash":                                          `https://shop.example\@evil.example/cb`,
		"OP-ATK-05 encoded dots":                                       "https://shop.example/x/%2e%2e/cb",
		"OP-ATK-05 dots":                                               "https://shop.example/x/../cb",
		"OP-ATK-05 tab":                                                "https://shop.example/cb\t",
		"OP-ATK-05 line":                                               "https://shop.example/cb\r\nLocation: https://evil.example",
		"OP-ATK-05 homograph":                                          "https://ѕhop.example/cb",
		"OP-ATK-05 no slashes":                                         "https:shop.example/cb",
		"OP-ATK-05 opaque":                                             "https:evil",
		"OP-ATK-05 dot at the end":                                     "https://shop.example./cb",
		"OP-ATK-05 port 443":                                           "https://shop.example:443/cb",
		"OP-ATK-05 port 0443":                                          "https://shop.example:0443/cb",
		"OP-ATK-05 double slash":                                       "https://shop.example//cb",
		"OP-ATK-05 slash at the end":                                   shop + "/",
		"OP-ATK-05 zone":                                               "https://[fe80::1%25eth0]/cb",
		"OP-ATK-05 fragment":                                           shop + "#x",
		"OP-ATK-05 http":                                               "http://shop.example/cb",
		"OP-ATK-05 loopback without its being an app":                  "http://127.0.0.1:8080/cb",
		"OP-ATK-05 script":                                             "javascript:alert(1)//shop.example/cb",
		"OP-ATK-05 nul":                                                shop + "\x00",
		"oidcc-ensure-redirect-uri-in-authorization-request none sent": "",
	} {
		w.in(t, name, func(t *testing.T) {
			v := w.visitor()
			w.refused(t, v, request(c, "redirect_uri", uri), "invalid_request")
			if strings.Contains(w.shown, "evil") || len(v.seen) > 0 {
				t.Errorf("the page says %q, the browser went to %v", w.shown, v.seen)
			}
		})
	}
	w.in(t, "OP-ATK-05 of an app, loopback with its port", func(t *testing.T) {
		app := w.client(func(c *relying.Client) {
			c.Native, c.Auth, c.Secrets, c.Redirects = true, relying.Public, nil, []string{"http://127.0.0.1/cb"}
		})
		pkce := []string{"code_challenge", challenge(strings.Repeat("v", 43)), "code_challenge_method", "S256"}
		if _, to := w.visitor().authorize(request(app, append(pkce, "redirect_uri", "http://127.0.0.1:49152/cb")...)); to == nil || to.Host != "127.0.0.1:49152" {
			t.Errorf("a port of its own: %v", to)
		}
		for _, uri := range []string{"http://127.0.0.1:0/cb", "http://127.0.0.1:080/cb", "http://127.0.0.1@evil.example/cb", "http://127.0.0.1.evil.example/cb", "http://127.0.0.1:1:2/cb",
			"http://localhost/cb", "http://[::1]/cb", "http://127.0.0.2/cb", "https://127.0.0.1/cb", "http://127.0.0.1:99999/cb"} {
			w.refused(t, w.visitor(), request(app, append(pkce, "redirect_uri", uri)...), "invalid_request")
		}
	})
	w.in(t, "OP-HTTP-08 oidcc-redirect-uri-query-OK the query of the address stays", func(t *testing.T) {
		_, to := w.visitor().authorize(request(c, "redirect_uri", shop+"?shop=1"))
		if to == nil || !strings.HasPrefix(to.String(), shop+"?shop=1&code=") {
			t.Errorf("%v", to)
		}
		w.denied(t, w.visitor(), request(c, "redirect_uri", shop+"?shop=1", "prompt", "none"), "login_required")
	})
	w.in(t, "OP-RM-05 before the client is trusted errors are pages in each mode", func(t *testing.T) {
		for _, mode := range []string{"query", "form_post", "jwt", "fragment", "x"} {
			w.refused(t, w.visitor(), request(c, "redirect_uri", "https://evil.example", "response_mode", mode), "invalid_request")
			w.refused(t, w.visitor(), request(c, "client_id", "nobody", "response_mode", mode), "invalid_client")
		}
	})
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	long := strings.Repeat("aB3-_~.é&=+% ", 100)[:1024]
	w.in(t, "OP-AUTHZ-01 OP-AUTHZ-08 long state and nonce come back unchanged", func(t *testing.T) {
		for _, text := range []string{strings.Repeat("s", 128), long, strings.Repeat("x", 4096)} {
			q := request(c, "state", text, "nonce", text)
			_, to := w.visitor().authorize(q)
			if to == nil || to.Query().Get("state") != text || len(to.Query()) != 3 {
				t.Fatalf("%v", to)
			}
			_, _, out := w.post("token", c, redeem(to.Query().Get("code")))
			if got := payload(t, out["id_token"])["nonce"]; got != text {
				t.Errorf("nonce %q", got)
			}
		}
		for _, name := range []string{"state", "nonce"} {
			q := request(c, name, strings.Repeat("x", 4097))
			w.denied(t, w.visitor(), q, "invalid_request")
		}
	})
	w.in(t, "OP-AUTHZ-02 oidcc-ensure-request-without-nonce-succeeds-for-code-flow neither state nor nonce", func(t *testing.T) {
		_, to := w.visitor().authorize(request(c, "state", "", "nonce", ""))
		if to == nil || to.Query().Has("state") || to.Query().Get("code") == "" {
			t.Fatalf("%v", to)
		}
		_, _, out := w.post("token", c, redeem(to.Query().Get("code")))
		if n, ok := payload(t, out["id_token"])["nonce"]; ok {
			t.Errorf("nonce %v", n)
		}
		w.denied(t, w.visitor(), request(c, "state", "", "prompt", "none"), "login_required")
	})
	w.in(t, "OP-AUTHZ-03 oidcc-alternate-happy-flow oidcc-ensure-request-with-unknown-parameter-succeeds order and unknown parameters", func(t *testing.T) {
		if _, to := w.visitor().authorize(request(c, "scope", "profile openid", "extra", "foobar", "resource", "x")); to == nil || to.Query().Get("code") == "" {
			t.Errorf("%v", to)
		}
	})
	w.in(t, "OP-AUTHZ-04 oidcc-response-type-missing and others", func(t *testing.T) {
		w.denied(t, w.visitor(), request(c, "response_type", ""), "invalid_request")
		for _, kind := range []string{"token", "id_token", "code token", "code id_token", "id_token token", "none", "CODE", "code code"} {
			w.denied(t, w.visitor(), request(c, "response_type", kind), "unsupported_response_type")
		}
	})
	w.in(t, "OP-AUTHZ-06 oidcc-ensure-post-request-succeeds POST is as GET, with the cookies of the browser", func(t *testing.T) {
		v := w.visitor()
		w.tokens(c, v)
		res, err := v.http.PostForm(w.server.URL+oidc.Root+"/connect/authorize", request(c, "prompt", "none", "nonce", "n.1"))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		at := res.Header.Get("Location")
		if u, err := url.Parse(at); err != nil || res.StatusCode != http.StatusSeeOther || u.Host != "" || len(u.Query()) != 2 || strings.Contains(at, "n.1") || len(res.Cookies()) > 0 {
			t.Fatalf("%d %s %v", res.StatusCode, at, res.Cookies())
		}
		u, _ := url.Parse(at) // parsed above
		if _, to := v.authorize(u.Query()); to == nil || to.Query().Get("code") == "" || to.Query().Get("state") != "s1" {
			t.Errorf("%v, %s", to, w.problem())
		}
		for _, q := range []url.Values{request(c, "scope", "profile"), request(c, "redirect_uri", "https://evil.example")} {
			res, err := v.http.PostForm(w.server.URL+oidc.Root+"/connect/authorize", q)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if loc := res.Header.Get("Location"); (res.StatusCode != 400 || loc != "") && !strings.Contains(loc, "error=invalid_scope") {
				t.Errorf("%d %s", res.StatusCode, loc)
			}
		}
	})
	w.in(t, "OP-AUTHZ-07 oidcc-display-page oidcc-display-popup oidcc-login-hint oidcc-ui-locales oidcc-claims-locales oidcc-ensure-request-with-acr-values-succeeds hints never fail", func(t *testing.T) {
		for _, pair := range [][2]string{{"display", "page"}, {"display", "popup"}, {"display", "touch"}, {"display", "wap"}, {"display", "?"}, {"ui_locales", "nb-NO xx ?"}, {"claims_locales", "se"},
			{"login_hint", "bob@example.com"}, {"login_hint", "subject-199001012385"}, {"acr_values", "idp:nosuch urn:x"}, {"acr_values", ":::,,"}} {
			if _, to := w.visitor().authorize(request(c, pair[0], pair[1])); to == nil || to.Query().Get("code") == "" {
				t.Errorf("%v: %v", pair, to)
			}
		}
		_, to := w.visitor().authorize(request(c, "acr_values", "idp:sbid substantial"))
		_, _, out := w.post("token", c, redeem(to.Query().Get("code")))
		if got := payload(t, out["id_token"])["acr"]; got != "substantial" {
			t.Errorf("acr %v", got)
		}
	})
	w.in(t, "OP-AUTHZ-09 OP-RM-01 iss in each answer, in the query alone", func(t *testing.T) {
		for _, q := range []url.Values{request(c), request(c, "scope", "x"), request(c, "prompt", "none"), request(c, "response_mode", "fragment")} {
			_, to := w.visitor().authorize(q)
			if to == nil || to.Query().Get("iss") != issuer || to.Fragment != "" {
				t.Errorf("%v", to)
			}
		}
	})
	w.in(t, "OP-AUTHZ-10 codes do not repeat", func(t *testing.T) {
		seen := map[string]bool{}
		v := w.visitor()
		for range 20 {
			code := w.code(v, request(c))
			if len(code) != 51 || seen[code] {
				t.Fatalf("code %q", code)
			}
			seen[code] = true
		}
	})
	w.in(t, "OP-AUTHZ-14 two tabs that finish one login have one code", func(t *testing.T) {
		v := w.visitor()
		if _, to := v.authorize(request(c)); to == nil {
			t.Fatal(w.problem())
		}
		page := v.seen[0]
		first, again := v.at(page), v.at(page)
		a, b := first.Query().Get("code"), again.Query().Get("code")
		if a == "" || a != b {
			t.Errorf("%q and %q", a, b)
		}
		_, _, out := w.post("token", c, url.Values{"grant_type": {"authorization_code"}, "code": {a}, "redirect_uri": {shop}})
		if late := v.at(page); late.String() != "" {
			t.Errorf("a page that is opened once more, after the code was redeemed, leads to %q", late)
		}
		if status, _, _ := w.userinfo(out["access_token"].(string)); status != http.StatusOK {
			t.Errorf("the tokens: %d", status)
		}
	})
	w.in(t, "OP-HTTP-04 parameters twice, empty and too many", func(t *testing.T) {
		v := w.visitor()
		for _, name := range []string{"client_id", "redirect_uri", "scope", "state", "nonce", "response_type", "code_challenge", "extra"} {
			q := request(c)
			q[name] = []string{"a", "a"}
			w.refused(t, v, q, "invalid_request")
		}
		q := request(c, "resource", "x")
		q.Add("resource", "y")
		q.Set("prompt", "")
		q.Set("max_age", "")
		q.Set("request_uri", "")
		q.Set("claims", "")
		w.code(v, q)
		for i := range 101 {
			q.Set(fmt.Sprint("p", i), "x")
		}
		w.refused(t, v, q, "invalid_request")
		if x := w.send("GET", "authorize?client_id=%zz", nil, nil); x.status != 400 {
			t.Errorf("%d", x.status)
		}
		w.refused(t, v, request(c, "state", "\xff"), "invalid_request") // it would not come back as it was
	})
	w.in(t, "OP-RM-02 form_post for codes and errors", func(t *testing.T) {
		v := w.visitor()
		for _, q := range []url.Values{request(c, "response_mode", "form_post"), request(c, "response_mode", "form_post", "prompt", "none", "acr_values", "idp:idin"),
			request(c, "response_mode", "form_post", "response_type", "token"),
			request(c, "response_mode", "form_post", "request_uri", "https://shop.example/request.jwt")} {
			status, to := v.authorize(q)
			if status != http.StatusOK || to.Query().Get("state") != "s1" || to.Query().Get("iss") != issuer || to.Query().Get("code") == "" && to.Query().Get("error") == "" {
				t.Errorf("%d %v", status, to)
			}
		}
		for _, at := range v.seen {
			if strings.Contains(at, "code=") || strings.Contains(at, "error=") {
				t.Errorf("in an address: %s", at)
			}
		}
	})
	w.in(t, "OP-RM-02 no form for an app's own scheme", func(t *testing.T) {
		app := w.client(func(c *relying.Client) {
			c.Native, c.Redirects = true, []string{"com.example.app:/cb", "http.example.app:/cb"}
		})
		for _, uri := range app.Redirects {
			for _, more := range [][]string{nil, {"prompt", "none"}, {"response_type", "token"}} {
				w.denied(t, w.visitor(), request(app, append(more, "redirect_uri", uri, "response_mode", "form_post")...), "invalid_request")
			}
			w.denied(t, w.visitor(), request(app, "redirect_uri", uri, "response_mode", "form_post", "request_uri", "https://shop.example/request.jwt"), "request_uri_not_supported")
			terr(t, w.form("par", request(app, "redirect_uri", uri, "response_mode", "form_post.jwt"), basic(app)...), "invalid_request")
			if _, to := w.visitor().authorize(request(app, "redirect_uri", uri)); to == nil || to.Query().Get("code") == "" {
				t.Errorf("in the address: %v", to)
			}
		}
	})
	w.in(t, "OP-RM-01 response_mode that is not served", func(t *testing.T) {
		for _, mode := range []string{"fragment", "fragment.jwt", "web_message", "QUERY"} {
			w.denied(t, w.visitor(), request(c, "response_mode", mode), "invalid_request")
		}
	})
	w.in(t, "OP-RM-04 JARM, for codes and errors", func(t *testing.T) {
		for _, pair := range [][2]string{{"jwt", ""}, {"query.jwt", ""}, {"form_post.jwt", ""}, {"jwt", "none"}, {"form_post.jwt", "none"}} {
			mode := pair[0]
			_, to := w.visitor().authorize(request(c, "response_mode", mode, "prompt", pair[1]))
			if to == nil || len(to.Query()) != 1 {
				t.Fatalf("%s: %v", mode, to)
			}
			h, got := w.verified(to.Query().Get("response"))
			left := time.Duration(got["exp"].(float64)-float64(w.clock.Now().Unix())) * time.Second
			if h["alg"] != "RS256" || got["iss"] != issuer || got["aud"] != c.ID || got["state"] != "s1" || left < 10*time.Second || left > 10*time.Minute ||
				got["code"] == nil && got["error"] != "login_required" {
				t.Errorf("%s: %v %v", mode, h, got)
			}
		}
	})
	w.in(t, "OP-PKCE-01 only S256 and nothing that means plain", func(t *testing.T) {
		good := challenge(strings.Repeat("v", 43))
		for _, pair := range [][2]string{{good, "plain"}, {good, ""}, {good, "s256"}, {good, "S512"}, {"", "S256"}, {good[:42], "S256"}, {strings.Repeat("a", 129), "S256"}, {good[:42] + "!", "S256"}} {
			w.denied(t, w.visitor(), request(c, "code_challenge", pair[0], "code_challenge_method", pair[1]), "invalid_request")
		}
		public := w.client(func(c *relying.Client) { c.Auth, c.Secrets = relying.Public, nil })
		w.denied(t, w.visitor(), request(public), "invalid_request")
	})
	w.in(t, "OP-HTTP-05 303 and no other redirect", func(t *testing.T) {
		for _, q := range []url.Values{request(c), request(c, "scope", "x")} {
			if x := w.send("GET", "authorize?"+q.Encode(), nil, nil); x.status != http.StatusSeeOther || x.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%d %v", x.status, x.header)
			}
		}
	})
	w.in(t, "no eID is there that the client may use", func(t *testing.T) {
		none := w.client(func(c *relying.Client) { c.EIDs = []eid.EID{"other"} })
		w.denied(t, w.visitor(), request(none), "temporarily_unavailable")
	})
	w.in(t, "an eID that names nobody logs nobody in", func(t *testing.T) {
		w.eids[eid.BankIDSE].tells(func(who *eid.Identity) { who.Subject, who.Number = "", "" }, func() {
			w.denied(t, w.visitor(), request(c), "server_error")
		})
	})
	w.in(t, "OP-AUTHZ-04 scopes", func(t *testing.T) {
		for _, scope := range []string{"", "profile", "openid nosuch", "openid spid"} {
			w.denied(t, w.visitor(), request(c, "scope", scope), "invalid_scope")
		}
		narrow := w.client(func(c *relying.Client) { c.Scopes = []string{"openid"} })
		w.denied(t, w.visitor(), request(narrow, "scope", "openid profile"), "invalid_scope")
		compat := w.client(func(c *relying.Client) { c.Profile = relying.Signicat })
		w.code(w.visitor(), request(compat, "scope", "openid spid nosuch"))
		w.denied(t, w.visitor(), request(compat, "scope", "openid date-of-birth eighteen-or-older"), "invalid_scope")
	})
}

// at fetches an address of the provider and is where it sends the browser.
func (v *visitor) at(path string) *url.URL {
	v.w.t.Helper()
	res, err := v.http.Get(v.w.server.URL + path)
	if err != nil {
		v.w.t.Fatal(err)
	}
	_ = res.Body.Close()
	u, err := url.Parse(res.Header.Get("Location"))
	if err != nil {
		v.w.t.Fatal(err)
	}
	return u
}

// TestEndings holds what a client hears of each way in which a login ends.
func TestEndings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := w.client()
	signicat := w.client(func(c *relying.Client) { c.Profile, c.Errors = relying.Signicat, relying.SignicatErrors })
	for why, want := range map[eid.Reason][2]string{
		eid.Cancelled:   {"access_denied", "IDP-3200"},
		eid.Expired:     {"access_denied", "IDP-3400"},
		eid.Unavailable: {"temporarily_unavailable", "IDP-3500"},
		eid.WrongPerson: {"access_denied", "IDP-3300"},
		eid.Internal:    {"server_error", "IDP-3300"},
	} {
		w.in(t, "OP-AUTHZ-11 fapi2-user-rejects-authentication "+string(why), func(t *testing.T) {
			w.eids[eid.BankIDSE].ends(connector.Fail{Reason: why})
			w.denied(t, w.visitor(), request(plain, "redirect_uri", shop+"?shop=1"), want[0])
			w.denied(t, w.visitor(), request(signicat), want[1])
		})
	}
}

func (c *instant) ends(s connector.Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = s
}

// TestStraight: a person whose browser says so, and who has nothing to choose, is
// sent to the eID with the answer; here, where that confirms at once, back.
func TestStraight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	hops := func(v *visitor, q url.Values) (n int, to *url.URL) {
		v.seen = nil
		_, to = v.authorize(q)
		return len(v.seen), to
	}
	for name, x := range map[string]struct {
		straight bool
		acr      string
		hops     int
	}{
		"a person":          {true, "idp:sbid", 1},
		"a preview":         {false, "idp:sbid", 2},
		"a person, chooser": {true, "", 2},
	} {
		v := w.visitor()
		v.straight = x.straight
		n, to := hops(v, request(c, "acr_values", x.acr))
		if to == nil || to.Query().Get("code") == "" || n != x.hops {
			t.Fatalf("%s: %v after %d answers, want %d", name, to, n, x.hops)
		}
		if _, _, out := w.post("token", c, redeem(to.Query().Get("code"))); out["id_token"] == nil {
			t.Errorf("%s: %v", name, out)
		}
		v.seen = nil
		if _, to = v.authorize(request(c, "acr_values", x.acr, "prompt", "none")); to.Query().Get("code") == "" {
			t.Errorf("%s: is not logged in afterwards: %v", name, to)
		}
	}

	v := w.visitor()
	v.straight = true
	w.eids[eid.BankIDSE].ends(connector.Fail{Reason: eid.Cancelled})
	if n, to := hops(v, request(c)); n != 1 || to.Query().Get("error") != "access_denied" {
		t.Errorf("an eID that refuses: %v after %d answers", to, n)
	}
	w.eids[eid.BankIDSE].ends(connector.Fail{Reason: eid.Unavailable, Retry: true})
	if _, to := hops(v, request(c)); to != nil && to.Host != "" || len(v.seen) == 0 || !strings.HasPrefix(v.seen[0], oidc.Root+"/login/") {
		t.Errorf("an eID that may answer later: %v, want the page, which offers another try", v.seen)
	}
}

// TestOtherBrowser sends somebody the address of a login that another browser
// has begun, or the request itself.
func TestOtherBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	w.in(t, "OP-ATK-14 OP-ATK-03 a login is its browser's", func(t *testing.T) {
		attacker, victim := w.visitor(), w.visitor()
		q := request(c)
		res, err := attacker.http.Get(w.server.URL + oidc.Root + "/connect/authorize?" + q.Encode())
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		page := res.Header.Get("Location")
		if page == "" || strings.Contains(page, "?") {
			t.Fatalf("%d %s", res.StatusCode, page)
		}
		if got := w.send("GET", page, nil, nil); got.status != http.StatusConflict || !strings.Contains(got.body, "elsewhere") {
			t.Errorf("a browser without cookies: %d %s", got.status, got.body)
		}
		w.code(victim, request(c, "prompt", "login")) // it has a cookie of its own
		res, err = victim.http.Get(w.server.URL + page)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusConflict {
			t.Errorf("the victim's browser: %d", res.StatusCode)
		}
		if to := attacker.at(page); to.Query().Get("code") == "" {
			t.Errorf("the browser that asked: %v", to)
		}
	})
	w.in(t, "OP-ATK-14 a client that is gone, moved or has another address meanwhile gets nothing", func(t *testing.T) {
		for name, change := range map[string]func(*relying.Client){
			"the address": func(c *relying.Client) { c.Redirects = []string{"https://shop.example/new"} },
			"environment": func(c *relying.Client) { c.Environment = eid.Live },
		} {
			c := w.client()
			s, err := w.broker.Create(t.Context(), broker.NewSession{ID: uuid.NewString(), API: oidc.Name, Purpose: eid.Identify,
				Caller: relying.Caller{Account: w.account, Key: relying.Key{ID: "k", Account: w.account.ID, Environment: eid.Test}},
				Spec:   broker.Spec{Methods: []broker.Method{{Name: "sbid", EID: eid.BankIDSE}}, Payload: []byte(`{"client":"` + c.ID + `","redirect_uri":"` + shop + `","mode":"query","scopes":["openid"]}`)}})
			if err != nil {
				t.Fatal(err)
			}
			spec, err := w.broker.Spec(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			s.State = broker.Failed
			if l, err := w.provider.Leave(t.Context(), s, spec); err != nil || !strings.HasPrefix(l.URL, shop) {
				t.Errorf("%s: %s, %v", name, l.URL, err)
			}
			changed := *c
			change(&changed)
			if err := w.store.PutClient(t.Context(), &changed); err != nil {
				t.Fatal(err)
			}
			if l, err := w.provider.Leave(t.Context(), s, spec); err != nil || l.URL != "" || l.Post != nil {
				t.Errorf("%s: %s, %v", name, l.URL, err)
			}
		}
	})
}
