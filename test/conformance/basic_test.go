package conformance

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// The modules of the Basic OP plan, and with form_post of the Form Post OP
// plan, in the order of the plan.
var basicModules = []module{
	{id: "oidcc-server", run: happy},
	{id: "oidcc-response-type-missing", run: refusedWith([]string{"response_type", ""}, "invalid_request", "unsupported_response_type")},
	{id: "oidcc-idtoken-signature", run: signature},
	{id: "oidcc-userinfo-get", run: userInfoGet},
	{id: "oidcc-userinfo-post-header", run: userInfoPostHeader},
	{id: "oidcc-userinfo-post-body", run: userInfoPostBody},
	{id: "oidcc-ensure-request-without-nonce-succeeds-for-code-flow", run: succeeds("nonce", "")},
	{id: "oidcc-scope-profile", run: scope("profile", "name")},
	{id: "oidcc-scope-email", run: scope("email", "email", "email_verified")},
	{id: "oidcc-scope-address", run: scope("address", "address")},
	{id: "oidcc-scope-phone", run: scope("phone", "phone_number", "phone_number_verified")},
	{id: "oidcc-scope-all", run: scope("profile email address phone", "name", "email", "email_verified", "address", "phone_number", "phone_number_verified")},
	{id: "oidcc-alternate-happy-flow", run: otherOrder},
	{id: "oidcc-display-page", run: succeeds("display", "page")},
	{id: "oidcc-display-popup", run: succeeds("display", "popup")},
	{id: "oidcc-prompt-login", moves: true, run: again("prompt", "login")},
	{id: "oidcc-prompt-none-not-logged-in", run: nobodyThere},
	{id: "oidcc-prompt-none-logged-in", run: silent("prompt", "none")},
	{id: "oidcc-max-age-1", moves: true, run: again("max_age", "1")},
	{id: "oidcc-max-age-10000", run: maxAge},
	{id: "oidcc-ensure-request-with-unknown-parameter-succeeds", run: succeeds("extra", "foobar")},
	{id: "oidcc-id-token-hint", run: hinted},
	{id: "oidcc-login-hint", run: succeeds("login_hint", "ada@example.com")},
	{id: "oidcc-ui-locales", run: succeeds("ui_locales", "se nl-BE xx")},
	{id: "oidcc-claims-locales", run: succeeds("claims_locales", "se")},
	{id: "oidcc-ensure-request-with-acr-values-succeeds", run: acrValues},
	{id: "oidcc-codereuse", run: codeReuse(0)},
	{id: "oidcc-codereuse-30seconds", moves: true, run: codeReuse(30 * time.Second)},
	{id: "oidcc-ensure-registered-redirect-uri", run: registered},
	{id: "oidcc-ensure-post-request-succeeds", run: postRequest},
	{id: "oidcc-server-client-secret-post", run: secretPost},
	{id: "oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported",
		run: refusedWith([]string{"request_uri", "https://rp.example/request.jwt"}, "request_uri_not_supported")},
	{id: "oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported", run: unsignedObject},
	{id: "oidcc-claims-essential", run: essential},
	{id: "oidcc-ensure-request-object-with-redirect-uri", run: objectWithAddress},
	{id: "oidcc-refresh-token", run: refreshToken},
	{id: "oidcc-ensure-request-with-valid-pkce-succeeds", run: validPKCE},
}

// refusedWith sends a request that is answered with one of the errors.
func refusedWith(changes []string, codes ...string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, b, c := e.provider(t), e.browser(), e.first
		r := c.request(changes...)
		checkRefused(t, p, c, r, c.ask(t, p, b, r), codes...)
		if b.logins > 0 {
			t.Error("somebody was asked to log in")
		}
	}
}

// succeeds sends a request that may not lead to an error.
func succeeds(changes ...string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p := e.provider(t)
		e.first.login(t, p, e.browser(), changes...)
	}
}

func happy(t *testing.T, e *env) {
	p := e.provider(t)
	for _, c := range []*client{e.first, e.other} {
		l := c.login(t, p, e.browser())
		if l.id["name"] != nil || l.refresh != "" {
			t.Error("tokens say more than openid asks for")
		}
		claims := c.userInfo(t, p, l.tokens)
		if len(claims) != 1 {
			t.Errorf("userinfo has %d claims, for openid alone", len(claims))
		}
	}
}

func signature(t *testing.T, e *env) {
	p := e.provider(t)
	l := e.first.login(t, p, e.browser())
	if header, _ := p.verify(t, l.idToken, "RS256"); header["kid"] == nil || header["alg"] != "RS256" {
		t.Errorf("header = %v", header)
	}
}

func userInfoGet(t *testing.T, e *env) {
	p := e.provider(t)
	l := e.first.login(t, p, e.browser())
	e.first.userInfo(t, p, l.tokens)
	checkUnknown(t, e.send(t, http.MethodGet, p.at("userinfo_endpoint"), nil, ""))
	checkUnknown(t, e.send(t, http.MethodGet, p.at("userinfo_endpoint"), http.Header{"Authorization": {"Bearer " + l.access + "x"}}, ""))
	checkUnknown(t, e.send(t, http.MethodGet, p.at("userinfo_endpoint"), http.Header{"Authorization": {"Bearer " + l.access[:len(l.access)-1]}}, ""))
	checkUnknown(t, e.send(t, http.MethodGet, p.at("userinfo_endpoint")+"?access_token="+l.access, nil, ""))
}

func userInfoPostHeader(t *testing.T, e *env) {
	p := e.provider(t)
	l := e.first.login(t, p, e.browser())
	checkUserInfo(t, l.tokens, e.send(t, http.MethodPost, p.at("userinfo_endpoint"), e.first.bearer(t, p, l.access), ""))
}

func userInfoPostBody(t *testing.T, e *env) {
	p := e.provider(t)
	l := e.first.login(t, p, e.browser())
	checkUserInfo(t, l.tokens, e.form(t, http.MethodPost, p.at("userinfo_endpoint"), nil, url.Values{"access_token": {l.access}}))
}

// scope asks for what iDIN tells, which knows most of a person. Claims of the
// standard that no eID knows, such as a nickname, are in no claims_supported.
func scope(words string, claims ...string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p := e.provider(t)
		l := e.first.login(t, p, e.browser(), "scope", "openid "+words, "acr_values", "idp:idin")
		got := e.first.userInfo(t, p, l.tokens)
		published := p.list(t, "claims_supported")
		for _, name := range claims {
			if got[name] == nil || !slices.Contains(published, name) {
				t.Errorf("userinfo lacks %s, or the metadata do", name)
			}
		}
		for name := range got {
			if name != "sub" && !slices.Contains(standardClaims[words], name) {
				t.Errorf("userinfo has %s", name)
			}
		}
	}
}

// standardClaims are what the scopes stand for (OpenID Connect Core, section 5.4).
var standardClaims = func() map[string][]string {
	m := map[string][]string{"email": {"email", "email_verified"}, "address": {"address"}, "phone": {"phone_number", "phone_number_verified"},
		"profile": strings.Fields("name family_name given_name middle_name nickname preferred_username profile picture website gender birthdate zoneinfo locale updated_at")}
	m["profile email address phone"] = slices.Concat(m["profile"], m["email"], m["address"], m["phone"])
	return m
}()

func otherOrder(t *testing.T, e *env) {
	p, b, c := e.provider(t), e.browser(), e.first
	r := c.request("scope", "email openid")
	address := p.at("authorization_endpoint") + "?"
	for _, name := range []string{"state", "scope", "response_type", "response_mode", "redirect_uri", "nonce", "client_id"} {
		if r.Has(name) {
			address += name + "=" + url.QueryEscape(r.Get(name)) + "&"
		}
	}
	a := b.open(t, strings.TrimSuffix(address, "&"))
	checkAnswer(t, p, c, r, a)
	checkTokens(t, p, c, r, c.redeem(t, p, r, a.params.Get("code")))
}

// again logs in twice in one browser, two seconds apart; the second request
// demands a fresh login.
func again(name, value string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, b, c := e.provider(t), e.browser(), e.first
		first := c.login(t, p, b)
		e.advance(t, 2*time.Second)
		second := c.login(t, p, b, name, value)
		before, after := number(first.id["auth_time"]), number(second.id["auth_time"])
		if b.logins != 2 || after <= before || second.id["sub"] != first.id["sub"] || e.now().Unix()-after > 30 {
			t.Errorf("%d logins, auth_time %d and %d", b.logins, before, after)
		}
	}
}

func nobodyThere(t *testing.T, e *env) {
	p, b, c := e.provider(t), e.browser(), e.first
	r := c.request("prompt", "none", "state", random(128))
	checkRefused(t, p, c, r, c.ask(t, p, b, r), "login_required", "interaction_required", "consent_required", "account_selection_required")
	if b.logins > 0 {
		t.Error("somebody was asked to log in")
	}
	r = c.request("prompt", "none login")
	checkRefused(t, p, c, r, c.ask(t, p, e.browser(), r), "invalid_request")
}

// silent asks a second time in the same browser: nobody may be asked again.
func silent(changes ...string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, b, c := e.provider(t), e.browser(), e.first
		same(t, b, c.login(t, p, b), c.login(t, p, b, changes...))
	}
}

func same(t *testing.T, b *browser, first, second *login) {
	t.Helper()
	if b.logins != 1 || first.id["auth_time"] != second.id["auth_time"] || first.id["sub"] != second.id["sub"] || first.code() == second.code() {
		t.Errorf("%d logins, auth_time %v and %v", b.logins, first.id["auth_time"], second.id["auth_time"])
	}
}

func maxAge(t *testing.T, e *env) {
	p, b, c := e.provider(t), e.browser(), e.first
	same(t, b, c.login(t, p, b, "max_age", "15000"), c.login(t, p, b, "max_age", "10000"))
}

func hinted(t *testing.T, e *env) {
	p, b, c := e.provider(t), e.browser(), e.first
	first := c.login(t, p, b)
	same(t, b, first, c.login(t, p, b, "prompt", "none", "id_token_hint", first.idToken))
	for what, hint := range map[string]string{"one of another key": newKey(t, "RS256", "x").sign(t, nil, first.id), "an altered one": spoil(first.idToken),
		"one without a signature": (&key{alg: "none"}).sign(t, map[string]any{"kid": nil}, first.id)} {
		r := c.request("prompt", "none", "id_token_hint", hint)
		a := c.ask(t, p, b, r)
		if a.params.Get("code") != "" {
			t.Errorf("%s leads to a code", what)
		}
		checkRefused(t, p, c, r, a, "login_required")
	}
	// Somebody else is logged in here than the hint speaks of.
	b2 := e.browser()
	b2.person = "bo"
	c.login(t, p, b2)
	r := c.request("prompt", "none", "id_token_hint", first.idToken)
	checkRefused(t, p, c, r, c.ask(t, p, b2, r), "login_required")
	r = c.request("prompt", "login", "id_token_hint", first.idToken) // nor does it help to log in
	checkRefused(t, p, c, r, c.ask(t, p, b2, r), "login_required")
}

func acrValues(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	level, _ := c.login(t, p, e.browser()).id["acr"].(string)
	if level == "" {
		t.Fatal("a login of BankID reaches no level")
	}
	if got := c.login(t, p, e.browser(), "acr_values", level+" other").id["acr"]; got != level {
		t.Errorf("acr = %v, want %s", got, level)
	}
	c.login(t, p, e.browser(), "acr_values", "1 2")
}

// codeReuse uses a code a second time, later: what came of it ends too.
func codeReuse(after time.Duration) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, c := e.provider(t), e.first
		l := c.login(t, p, e.browser())
		c.userInfo(t, p, l.tokens)
		if after > 0 {
			e.advance(t, after)
		}
		checkDenied(t, c.redeem(t, p, l.request, l.code()), "invalid_grant")
		checkUnknown(t, e.send(t, http.MethodGet, p.at("userinfo_endpoint"), c.bearer(t, p, l.access), ""))
	}
}

func registered(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	for _, to := range []string{"https://rp.example/other", callback + "/x", callback + "?foo=bar", callbackQuery + "&foo=bar", callback + "#x", "https://RP.example/callback",
		"https://rp.example/Callback", "https://rp.example:443/callback", "https://rp.example./callback", "https://rp.example@evil.example/callback",
		"https://rp.example/%63allback", "https://rp.example/x/../callback", "https:rp.example/callback", "//rp.example/callback", "http://rp.example/callback", ""} {
		b := e.browser()
		checkPage(t, b, b.open(t, p.at("authorization_endpoint")+"?"+c.request("redirect_uri", to).Encode()))
	}
	r := c.request("redirect_uri", callbackQuery)
	a := c.ask(t, p, e.browser(), r)
	checkAnswer(t, p, c, r, a)
	form := redemption(r, a.params.Get("code"))
	form.Set("redirect_uri", callback) // registered too, but not where the code went (OP-TOK-04)
	checkDenied(t, c.call(t, p, "token_endpoint", form), "invalid_grant")
}

func postRequest(t *testing.T, e *env) {
	p, b, c := e.provider(t), e.browser(), e.first
	r := c.request()
	a := b.walk(t, b.load(t, http.MethodPost, p.at("authorization_endpoint"), r.Values))
	checkAnswer(t, p, c, r, a)
	checkTokens(t, p, c, r, c.redeem(t, p, r, a.params.Get("code")))
	for _, address := range b.seen {
		if strings.Contains(address, r.Get("state")) {
			t.Error("what was posted stands in an address")
		}
	}
}

func secretPost(t *testing.T, e *env) {
	p := e.provider(t)
	c := e.client(t, map[string]any{"token_endpoint_auth_method": "client_secret_post"}).by(e.first.mode)
	l := c.login(t, p, e.browser())
	c.userInfo(t, p, l.tokens)
	// Only the method that is registered counts, and only one at a time.
	r := c.request()
	code := c.ask(t, p, e.browser(), r).params.Get("code")
	basic := *c
	basic.auth = "client_secret_basic"
	checkDenied(t, basic.redeem(t, p, r, code), "invalid_client")
	posted := *e.first
	posted.auth = "client_secret_post"
	checkDenied(t, posted.redeem(t, p, r, code), "invalid_client")
	for _, both := range [][2]*client{{c, &basic}, {e.first, &posted}} {
		form, h := redemption(r, code), http.Header{}
		both[0].authenticate(t, p, h, form)
		both[1].authenticate(t, p, h, form)
		got := e.form(t, http.MethodPost, p.at("token_endpoint"), h, form)
		checkDenied(t, got, "invalid_client")
		if got.status == http.StatusUnauthorized && !strings.HasPrefix(got.header.Get("Www-Authenticate"), "Basic realm=") {
			t.Errorf("WWW-Authenticate: %q", got.header.Get("Www-Authenticate"))
		}
	}
	checkTokens(t, p, c, r, c.redeem(t, p, r, code)) // nobody has looked at the code
}

// unsignedObject sends parameters in an object that nobody has signed. To look
// past it would be worse than to refuse it.
func unsignedObject(t *testing.T, e *env) {
	p, b, c := e.provider(t), e.browser(), e.first
	r := c.request()
	object := c.object(t, p, r, change{"state": random(20)}, &key{alg: "none"})
	a := b.open(t, p.at("authorization_endpoint")+"?"+c.request("request", object).Encode())
	checkPage(t, b, a)
	if !strings.Contains(a.page.text, "invalid_request_object") && !strings.Contains(a.page.text, "request_not_supported") {
		t.Error("the page does not say what is wrong")
	}
}

func essential(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	l := c.login(t, p, e.browser(), "claims", `{"userinfo":{"name":{"essential":true}}}`)
	if claims := c.userInfo(t, p, l.tokens); claims["name"] == nil || l.id["name"] != nil {
		t.Errorf("name: at userinfo %v, in the ID token %v", claims["name"] != nil, l.id["name"] != nil)
	}
}

// objectWithAddress signs one address and sends another one beside it.
func objectWithAddress(t *testing.T, e *env) {
	p, b := e.provider(t), e.browser()
	k := newKey(t, "ES256", "of-objects")
	c := e.client(t, map[string]any{"jwks": map[string]any{"keys": []any{k.jwk()}}}).by(e.first.mode)
	r := c.request()
	outside := url.Values{"client_id": {c.id}, "response_type": {"code"}, "scope": {"openid"}, "redirect_uri": {"https://evil.example/"}, "request": {c.object(t, p, r, nil, k)}}
	a := b.open(t, p.at("authorization_endpoint")+"?"+outside.Encode())
	checkAnswer(t, p, c, r, a)
	checkTokens(t, p, c, r, c.redeem(t, p, r, a.params.Get("code")))
	outside.Set("redirect_uri", callback)
	outside.Set("request", c.object(t, p, c.request("redirect_uri", "https://evil.example/"), nil, k))
	b = e.browser()
	checkPage(t, b, b.open(t, p.at("authorization_endpoint")+"?"+outside.Encode()))
}

func refreshToken(t *testing.T, e *env) {
	p := e.provider(t)
	if !slices.Contains(p.list(t, "grant_types_supported"), "refresh_token") {
		t.Fatal("the metadata do not list the grant type")
	}
	for i, c := range []*client{e.first, e.other} {
		l := c.login(t, p, e.browser(), "scope", "openid offline_access")
		next := checkRefreshed(t, p, c, l, c.refreshed(t, p, l.refresh))
		c.userInfo(t, p, next)
		stranger := []*client{e.other, e.first}[i]
		checkDenied(t, stranger.refreshed(t, p, next.refresh), "invalid_grant")
		checkDenied(t, c.refreshed(t, p, next.refresh+"x"), "invalid_grant")
		checkDenied(t, c.call(t, p, "token_endpoint", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {next.refresh}, "scope": {"openid email"}}), "invalid_scope")
		anonymous := e.form(t, http.MethodPost, p.at("token_endpoint"), nil, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {next.refresh}, "client_id": {c.id}})
		checkDenied(t, anonymous, "invalid_client")
		checkRefreshed(t, p, c, l, c.refreshed(t, p, next.refresh))
	}
}

// checkRefreshed checks what a refresh token has led to (OP-TOK-06, 07).
func checkRefreshed(t *testing.T, p *provider, c *client, l *login, got *reply) *tokens {
	t.Helper()
	r := *l.request
	r.Values = url.Values{"scope": {l.request.Get("scope")}}
	next := checkTokens(t, p, c, &r, got)
	if next.access == l.access || next.refresh != l.refresh {
		t.Error("the access token is the old one, or the refresh token is not")
	}
	for _, name := range []string{"iss", "sub", "aud", "auth_time", "acr", "sid"} {
		if next.id[name] != l.id[name] {
			t.Errorf("%s has changed", name)
		}
	}
	return next
}

func validPKCE(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	r := c.request()
	r.pkce()
	c.finish(t, p, e.browser(), r)
	// The verifier is owed, and one without a challenge is a sign of meddling.
	for _, how := range []struct{ sent, owed string }{{"", "challenge"}, {random(50), "challenge"}, {random(50), ""}} {
		r := c.request()
		if how.owed != "" {
			r.pkce()
		}
		r.verifier = how.sent
		a := c.ask(t, p, e.browser(), r)
		checkDenied(t, c.redeem(t, p, r, a.params.Get("code")), "invalid_grant")
	}
	r = c.request("code_challenge", random(43), "code_challenge_method", "plain")
	checkRefused(t, p, c, r, c.ask(t, p, e.browser(), r), "invalid_request")
	r = c.request("code_challenge", random(43))
	checkRefused(t, p, c, r, c.ask(t, p, e.browser(), r), "invalid_request")
}
