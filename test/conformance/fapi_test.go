package conformance

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const fapi = "fapi2-security-profile-final-"

// The modules of the FAPI 2.0 Security Profile plan for OpenID Connect, with all
// ways of authenticating clients and of binding tokens.
var fapiModules = []module{
	{id: fapi + "discovery-end-point-verification", run: fapiDiscovery},
	{id: fapi + "happy-flow", run: fapiHappy},
	{id: fapi + "user-rejects-authentication", run: rejects},
	{id: fapi + "ensure-authorization-request-without-state-success", run: succeeds("state", "")},
	{id: fapi + "ensure-authorization-request-without-nonce-success", run: succeeds("nonce", "")},
	{id: fapi + "ensure-authorization-request-with-64-char-nonce-success", run: succeeds("nonce", random(64))},
	{id: fapi + "ensure-authorization-request-with-long-nonce", run: succeeds("nonce", random(384))},
	{id: fapi + "ensure-authorization-request-with-long-state", run: succeeds("state", random(1024))},
	{id: fapi + "ensure-other-scope-order-succeeds", run: succeeds("scope", "offline_access openid")},
	{id: fapi + "test-claims-parameter-identity-claims", run: claimsParameter},
	{id: fapi + "access-token-type-header-case-sensitivity", run: schemeCase},
	{id: fapi + "check-dpop-proof-nbf-exp", of: ofProofs, run: proofTimes(func(now int64) change { return change{"nbf": now - 10, "exp": now + 60} })},
	{id: fapi + "ensure-dpopproof-with-iat-10seconds-before-succeeds", of: ofProofs, run: proofTimes(func(now int64) change { return change{"iat": now - 10} })},
	{id: fapi + "ensure-dpopproof-with-iat-10seconds-after-succeeds", of: ofProofs, run: proofTimes(func(now int64) change { return change{"iat": now + 10} })},
	{id: fapi + "ensure-mismatched-dpop-jkt-fails", of: ofProofs, run: mismatchedAtPush},
	{id: fapi + "ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt", of: ofProofs, run: mismatchedAtToken(true)},
	{id: fapi + "ensure-token-endpoint-fails-with-mismatched-dpop-jkt", of: ofProofs, run: mismatchedAtToken(false)},
	{id: fapi + "ensure-dpopproof-at-par-endpoint-binding-success", of: ofProofs, run: boundByPush},
	{id: fapi + "ensure-dpop-auth-code-binding-success", of: ofProofs, run: boundByName},
	{id: fapi + "ensure-different-nonce-inside-and-outside-request-object", run: inside("nonce")},
	{id: fapi + "ensure-different-state-inside-and-outside-request-object", run: inside("state")},
	{id: fapi + "state-only-outside-request-object-not-used", run: stateOutside},
	{id: fapi + "ensure-request-object-without-redirect-uri-fails", run: objectWithoutAddress},
	{id: fapi + "plain-fapi-tolerate-unregistered-redirect-uri", run: pushDenied([]string{"redirect_uri", "https://rp.example/other"}, "invalid_request")},
	{id: fapi + "ensure-unsigned-authorization-request-without-using-par-fails", run: notPushed},
	{id: fapi + "ensure-redirect-uri-in-authorization-request", run: pushDenied([]string{"redirect_uri", ""}, "invalid_request")},
	{id: fapi + "ensure-response-type-code-idtoken-fails", run: pushDenied([]string{"response_type", "code id_token"}, "unsupported_response_type", "invalid_request", "unauthorized_client")},
	{id: fapi + "ensure-response-type-token-fails", run: pushDenied([]string{"response_type", "token"}, "unsupported_response_type", "invalid_request", "unauthorized_client")},
	{id: fapi + "ensure-client-id-in-token-endpoint", run: otherClientID},
	{id: fapi + "ensure-holder-of-key-required", run: holderOfKey},
	{id: fapi + "ensure-authorization-code-is-bound-to-client", run: otherClientsCode},
	{id: fapi + "attempt-reuse-authorization-code-after-one-second", moves: true, run: codeReuse(time.Second)},
	{id: fapi + "ensure-token-endpoint-fails-with-expired-auth-code", moves: true, run: expiredCode},
	{id: fapi + "ensure-signed-client-assertion-with-RS256-fails", of: ofAssertions, run: assertionDenied(func(*env, *provider) (change, string) { return nil, "RS256" })},
	{id: fapi + "ensure-client-assertion-in-token-endpoint", of: ofAssertions, run: noAssertion},
	{id: fapi + "ensure-client-assertion-with-exp-is-5-minutes-in-past-fails", of: ofAssertions, run: assertionDenied(func(e *env, _ *provider) (change, string) {
		return change{"iat": nil, "exp": e.now().Add(-5 * time.Minute).Unix()}, ""
	})},
	{id: fapi + "ensure-client-assertion-with-wrong-aud-fails", of: ofAssertions, run: assertionDenied(func(*env, *provider) (change, string) { return change{"aud": "https://other.example/"}, "" })},
	{id: fapi + "ensure-client-assertion-with-no-sub-fails", of: ofAssertions, run: assertionDenied(func(*env, *provider) (change, string) { return change{"sub": nil}, "" })},
	{id: fapi + "dpop-negative-tests", of: ofProofs, run: badProofs},
	{id: fapi + "refresh-token", run: boundRefresh},
	{id: fapi + "par-ensure-reused-request-uri-prior-to-auth-completion-succeeds", run: openedTwice},
	{id: fapi + "par-attempt-reuse-request_uri", run: usedTwice},
	{id: fapi + "par-attempt-to-use-expired-request_uri", moves: true, run: expiredPush},
	{id: fapi + "par-attempt-to-use-request_uri-for-different-client", run: othersPush},
	{id: fapi + "par-authorization-request-containing-request_uri-form-param", run: pushedURI},
	{id: fapi + "par-attempt-invalid-http-method", run: pushMethods},
	{id: fapi + "par-without-duplicate-parameters", run: succeeds()},
	{id: fapi + "par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted", of: ofAssertions, run: assertionEarly},
	{id: fapi + "par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails", of: ofAssertions, run: assertionDenied(func(e *env, _ *provider) (change, string) {
		return change{"nbf": e.now().Add(65 * time.Second).Unix(), "iat": nil, "exp": e.now().Add(3 * time.Minute).Unix()}, ""
	})},
	{id: fapi + "par-test-array-as-audience-fails", of: ofAssertions, run: assertionDenied(func(_ *env, p *provider) (change, string) { return change{"aud": []string{p.issuer}}, "" })},
	{id: fapi + "par-test-par-endpoint-url-as-audience-fails", of: ofAssertions, run: assertionDenied(func(_ *env, p *provider) (change, string) {
		return change{"aud": p.at("pushed_authorization_request_endpoint")}, ""
	})},
	{id: fapi + "par-test-token-endpoint-url-as-audience-fails", of: ofAssertions, run: assertionDenied(func(_ *env, p *provider) (change, string) { return change{"aud": p.at("token_endpoint")}, "" })},
	{id: fapi + "par-ensure-pkce-required", run: pushDenied([]string{"code_challenge", "", "code_challenge_method", ""}, "invalid_request")},
	{id: fapi + "par-plain-pkce-rejected", run: pushDenied([]string{"code_challenge_method", "plain"}, "invalid_request")},
	{id: fapi + "ensure-pkce-code-verifier-required", run: verifier("")},
	{id: fapi + "incorrect-pkce-code-verifier-rejected", run: verifier(random(50))},
}

func fapiDiscovery(t *testing.T, e *env) {
	p := e.provider(t)
	strong := []string{"PS256", "ES256", "EdDSA"}
	for _, name := range []string{"id_token_signing_alg_values_supported", "token_endpoint_auth_signing_alg_values_supported", "dpop_signing_alg_values_supported",
		"request_object_signing_alg_values_supported", "authorization_signing_alg_values_supported"} {
		if !slices.ContainsFunc(p.list(t, name), func(alg string) bool { return slices.Contains(strong, alg) }) {
			t.Errorf("%s has none of %v", name, strong)
		}
	}
	if got := p.list(t, "code_challenge_methods_supported"); !slices.Equal(got, []string{"S256"}) {
		t.Errorf("code_challenge_methods_supported = %v", got)
	}
	if _, ok := p.meta["require_pushed_authorization_requests"].(bool); !ok || p.at("pushed_authorization_request_endpoint") == "" ||
		p.meta["authorization_response_iss_parameter_supported"] != true || !slices.Contains(p.list(t, "token_endpoint_auth_methods_supported"), "private_key_jwt") {
		t.Error("the metadata lack pushed requests, iss in answers, or private_key_jwt")
	}
	if methods := p.list(t, "token_endpoint_auth_methods_supported"); e.shows && (!slices.Contains(methods, "tls_client_auth") || !slices.Contains(methods, "self_signed_tls_client_auth")) {
		t.Error("the metadata lack authentication by certificates")
	}
	if e.first.signed && !slices.Contains(p.list(t, "response_modes_supported"), "jwt") {
		t.Error("the metadata lack signed answers")
	}
}

func fapiHappy(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	first := c.login(t, p, e.browser())
	claims := c.userInfo(t, p, first.tokens)
	if len(claims) != 1 {
		t.Errorf("userinfo has %d claims, for openid alone", len(claims))
	}
	o := e.other
	changes, inQuery := []string{"state", random(128), "redirect_uri", callbackQuery}, http.Header{}
	if o.proof != nil {
		changes = append(changes, "dpop_jkt", o.proof.thumbprint())
	}
	second := o.login(t, p, e.browser(), changes...)
	for _, more := range []http.Header{{"Accept": {"application/json, text/plain;q=0.5, */*"}}, {"Accept": {"text/html"}}, {"X-Fapi-Customer-Ip-Address": {"2001:db8::1893:25c8:1946"}},
		{"X-Fapi-Interaction-Id": {"c770aef3-6784-41f7-8e0e-ff5f97bddb3a"}}} {
		h := o.bearer(t, p, second.access)
		for name, v := range more {
			h[name] = v
		}
		r := o.s.send(t, http.MethodGet, p.at("userinfo_endpoint"), h, "")
		checkUserInfo(t, second.tokens, r)
		if id := more.Get("X-Fapi-Interaction-Id"); r.header.Get("X-Fapi-Interaction-Id") != id {
			t.Errorf("x-fapi-interaction-id = %q, want %q", r.header.Get("X-Fapi-Interaction-Id"), id)
		}
	}
	if o.proof != nil {
		inQuery["DPoP"] = []string{o.prove(t, http.MethodGet, p.at("userinfo_endpoint"), change{"ath": ath(second.access)})}
	}
	checkUnknown(t, o.s.send(t, http.MethodGet, p.at("userinfo_endpoint")+"?access_token="+second.access, inQuery, ""))
	checkUnknown(t, e.send(t, http.MethodGet, p.at("userinfo_endpoint"), c.bearer(t, p, second.access), "")) // what the other one is bound to
	checkUnknown(t, e.send(t, http.MethodGet, p.at("userinfo_endpoint"), http.Header{"Authorization": {"DPoP " + second.access}}, ""))
}

func rejects(t *testing.T, e *env) {
	p, b, c := e.provider(t), e.browser(), e.first
	b.outcome = "cancel"
	r := c.request("redirect_uri", callbackQuery)
	checkRefused(t, p, c, r, c.ask(t, p, b, r), "access_denied")
	if b.logins != 1 {
		t.Errorf("%d logins", b.logins)
	}
}

func claimsParameter(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	l := c.login(t, p, e.browser(), "claims", `{"userinfo":{"given_name":{"essential":true},"family_name":null,"nosuch":null},"id_token":{"nosuch":{"essential":true}}}`)
	claims := c.userInfo(t, p, l.tokens)
	if claims["given_name"] != "Ada" || claims["family_name"] != "Test" || claims["nosuch"] != nil {
		t.Errorf("userinfo has %d claims of those that were asked for", len(claims)-1)
	}
}

func schemeCase(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	l := c.login(t, p, e.browser())
	schemes := []string{"dpop", "DPOP", "dPoP"}
	if c.proof == nil {
		schemes = []string{"bearer", "BEARER", "bEARER"}
	}
	for _, scheme := range schemes {
		h := c.bearer(t, p, l.access)
		h.Set("Authorization", scheme+" "+l.access)
		checkUserInfo(t, l.tokens, e.send(t, http.MethodGet, p.at("userinfo_endpoint"), h, ""))
	}
}

// pushWith pushes a request with a proof.
func (c *client) pushWith(t *testing.T, p *provider, r *request, proof string) *reply {
	t.Helper()
	form, h := c.pushed(t, p, r), http.Header{"DPoP": {proof}}
	c.authenticate(t, p, h, form)
	return c.s.form(t, http.MethodPost, p.at("pushed_authorization_request_endpoint"), h, form)
}

// redeemWith asks for tokens with a proof; "" for none.
func (c *client) redeemWith(t *testing.T, p *provider, form url.Values, proof string) *reply {
	t.Helper()
	h := http.Header{}
	if proof != "" {
		h["DPoP"] = []string{proof}
	}
	c.authenticate(t, p, h, form)
	return c.s.form(t, http.MethodPost, p.at("token_endpoint"), h, form)
}

// proofTimes sends proofs with these claims wherever there are any.
func proofTimes(claims func(now int64) change) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, c := e.provider(t), e.first
		proof := func(method, endpoint string, more change) string {
			return c.prove(t, method, p.at(endpoint), more.to(claims(e.now().Unix())))
		}
		r := c.request()
		uri := checkPushed(t, c.pushWith(t, p, r, proof("POST", "pushed_authorization_request_endpoint", nil)))
		a := c.opened(t, p, e.browser().open(t, c.front(p, uri)))
		checkAnswer(t, p, c, r, a)
		l := checkTokens(t, p, c, r, c.redeemWith(t, p, redemption(r, a.params.Get("code")), proof("POST", "token_endpoint", nil)))
		h := http.Header{"Authorization": {"DPoP " + l.access}, "DPoP": {proof("GET", "userinfo_endpoint", change{"ath": ath(l.access)})}}
		checkUserInfo(t, l, e.send(t, http.MethodGet, p.at("userinfo_endpoint"), h, ""))
	}
}

func mismatchedAtPush(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	r := c.request("dpop_jkt", e.other.proof.thumbprint())
	checkDenied(t, c.pushWith(t, p, r, c.prove(t, "POST", p.at("pushed_authorization_request_endpoint"), nil)), "invalid_dpop_proof", "invalid_request")
	checkDenied(t, c.call(t, p, "pushed_authorization_request_endpoint", c.pushed(t, p, c.request("dpop_jkt", "short"))), "invalid_request")
}

// mismatchedAtToken fixes one key, by a proof or by its name, and comes with
// another one.
func mismatchedAtToken(byProof bool) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, c := e.provider(t), e.first
		stranger := *c
		stranger.proof = e.other.proof
		r := c.request()
		var uri string
		if byProof {
			uri = checkPushed(t, c.pushWith(t, p, r, c.prove(t, "POST", p.at("pushed_authorization_request_endpoint"), nil)))
		} else {
			r.Set("dpop_jkt", c.proof.thumbprint())
			uri = c.push(t, p, r)
		}
		a := c.opened(t, p, e.browser().open(t, c.front(p, uri)))
		checkAnswer(t, p, c, r, a)
		checkDenied(t, stranger.redeem(t, p, r, a.params.Get("code")), "invalid_dpop_proof", "invalid_grant", "invalid_request")
	}
}

func boundByPush(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	r := c.request()
	uri := checkPushed(t, c.pushWith(t, p, r, c.prove(t, "POST", p.at("pushed_authorization_request_endpoint"), nil)))
	a := c.opened(t, p, e.browser().open(t, c.front(p, uri)))
	checkAnswer(t, p, c, r, a)
	c.userInfo(t, p, checkTokens(t, p, c, r, c.redeem(t, p, r, a.params.Get("code"))))
}

func boundByName(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	l := c.login(t, p, e.browser(), "dpop_jkt", c.proof.thumbprint())
	c.userInfo(t, p, l.tokens)
}

// inside signs one value and sends another one beside it, in the pushed form
// and in the browser: the signed one counts.
func inside(name string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, c := e.provider(t), e.first
		r := c.request()
		form := url.Values{"request": {c.object(t, p, r, nil, c.key)}, name: {"outside"}}
		uri := checkPushed(t, c.call(t, p, "pushed_authorization_request_endpoint", form))
		a := c.opened(t, p, e.browser().open(t, c.front(p, uri)+"&"+name+"=outside"))
		checkAnswer(t, p, c, r, a)
		checkTokens(t, p, c, r, c.redeem(t, p, r, a.params.Get("code")))
	}
}

func stateOutside(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	r := c.request("state", "")
	form := url.Values{"request": {c.object(t, p, r, nil, c.key)}, "state": {"outside"}}
	uri := checkPushed(t, c.call(t, p, "pushed_authorization_request_endpoint", form))
	checkAnswer(t, p, c, r, c.opened(t, p, e.browser().open(t, c.front(p, uri)+"&state=outside")))
}

func objectWithoutAddress(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	form := url.Values{"request": {c.object(t, p, c.request("redirect_uri", ""), nil, c.key)}, "redirect_uri": {callback}}
	checkDenied(t, c.call(t, p, "pushed_authorization_request_endpoint", form), "invalid_request", "invalid_request_object")
}

// pushDenied pushes a request that is not as it must be.
func pushDenied(changes []string, codes ...string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, c := e.provider(t), e.first
		checkDenied(t, c.call(t, p, "pushed_authorization_request_endpoint", c.pushed(t, p, c.request(changes...))), codes...)
	}
}

// notPushed sends everything by the browser.
func notPushed(t *testing.T, e *env) {
	p, b, c := e.provider(t), e.browser(), e.first
	r := c.request()
	for _, query := range []string{r.Encode(), url.Values{"client_id": {c.id}, "request": {c.object(t, p, r, nil, c.key)}}.Encode()} {
		a := c.opened(t, p, b.open(t, p.at("authorization_endpoint")+"?"+query))
		checkRefused(t, p, c, r, a, "invalid_request")
		if b.logins > 0 {
			t.Error("somebody was asked to log in")
		}
	}
}

func otherClientID(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	r := c.request()
	a := c.ask(t, p, e.browser(), r)
	form := redemption(r, a.params.Get("code"))
	form.Set("client_id", e.other.id)
	checkDenied(t, c.call(t, p, "token_endpoint", form), "invalid_client", "invalid_grant")
	checkTokens(t, p, c, r, c.redeem(t, p, r, a.params.Get("code"))) // the code was not looked at
}

func holderOfKey(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	r := c.request()
	a := c.ask(t, p, e.browser(), r)
	if c.proof != nil { // a certificate that authenticates is none of its tokens'
		checkDenied(t, c.redeemWith(t, p, redemption(r, a.params.Get("code")), ""), "invalid_request", "invalid_grant", "invalid_dpop_proof")
	}
	checkDenied(t, c.bare().redeem(t, p, r, a.params.Get("code")), "invalid_request", "invalid_grant", "invalid_dpop_proof", "invalid_client")
}

func otherClientsCode(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	r := c.request()
	a := c.ask(t, p, e.browser(), r)
	checkDenied(t, e.other.redeem(t, p, r, a.params.Get("code")), "invalid_grant")
}

func expiredCode(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	r := c.request()
	a := c.ask(t, p, e.browser(), r)
	e.advance(t, 62*time.Second)
	checkDenied(t, c.redeem(t, p, r, a.params.Get("code")), "invalid_grant")
}

// assertionDenied authenticates with an assertion that is not as it must be, at
// both endpoints.
func assertionDenied(bad func(*env, *provider) (claims change, alg string)) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, c := e.provider(t), e.first
		r := c.request()
		a := c.ask(t, p, e.browser(), r)
		for endpoint, form := range map[string]url.Values{"pushed_authorization_request_endpoint": c.pushed(t, p, c.request()),
			"token_endpoint": redemption(r, a.params.Get("code"))} {
			claims, alg := bad(e, p)
			k := c.key
			if alg != "" {
				k = k.as(alg)
			}
			form.Set("client_id", c.id)
			form.Set("client_assertion_type", assertionType)
			form.Set("client_assertion", c.assertion(t, p, claims, k))
			checkDenied(t, e.form(t, http.MethodPost, p.at(endpoint), c.proven(t, p, endpoint), form), "invalid_client", "invalid_request")
		}
		checkTokens(t, p, c, r, c.redeem(t, p, r, a.params.Get("code")))
	}
}

func noAssertion(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	r := c.request()
	a := c.ask(t, p, e.browser(), r)
	form := redemption(r, a.params.Get("code"))
	form.Set("client_id", c.id)
	send := func(form url.Values) *reply {
		return e.form(t, http.MethodPost, p.at("token_endpoint"), c.proven(t, p, "token_endpoint"), form)
	}
	checkDenied(t, send(form), "invalid_client", "invalid_request")
	// Nor does one that was used before.
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", c.assertion(t, p, nil, c.key))
	checkTokens(t, p, c, r, send(form))
	again := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {assertionType}, "client_assertion": {form.Get("client_assertion")}}
	checkDenied(t, send(again), "invalid_client")
}

func assertionEarly(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	early := e.now().Add(8 * time.Second).Unix()
	form := c.pushed(t, p, c.request())
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", c.assertion(t, p, change{"nbf": early, "iat": early}, c.key))
	checkPushed(t, e.form(t, http.MethodPost, p.at("pushed_authorization_request_endpoint"), nil, form))
}

func boundRefresh(t *testing.T, e *env) {
	p := e.provider(t)
	for i, c := range []*client{e.first, e.other} {
		l := c.login(t, p, e.browser(), "scope", "openid offline_access")
		next := checkRefreshed(t, p, c, l, c.refreshed(t, p, l.refresh))
		c.userInfo(t, p, next)
		form := func() url.Values { return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {l.refresh}} }
		checkDenied(t, c.bare().call(t, p, "token_endpoint", form()), "invalid_request", "invalid_grant", "invalid_dpop_proof", "invalid_client")
		checkDenied(t, []*client{e.other, e.first}[i].refreshed(t, p, l.refresh), "invalid_grant")
		anonymous := form()
		anonymous.Set("client_id", c.id)
		checkDenied(t, c.bare().s.form(t, http.MethodPost, p.at("token_endpoint"), c.proven(t, p, "token_endpoint"), anonymous), "invalid_client")
		moved := c.renewed(t) // a client that proves who it is may change its key
		moved.userInfo(t, p, checkRefreshed(t, p, moved, l, moved.refreshed(t, p, l.refresh)))
	}
}

// openedTwice opens the address of a pushed request again before the login is
// finished, as people who reload do.
func openedTwice(t *testing.T, e *env) {
	p, b, c := e.provider(t), e.browser(), e.first
	r := c.request()
	address := c.front(p, c.push(t, p, r))
	if page := b.load(t, http.MethodGet, address, nil); page.to == nil {
		t.Fatalf("the first visit: %d", page.status)
	}
	a := c.opened(t, p, b.open(t, address))
	checkAnswer(t, p, c, r, a)
	checkTokens(t, p, c, r, c.redeem(t, p, r, a.params.Get("code")))
}

func usedTwice(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	r := c.request()
	address := c.front(p, c.push(t, p, r))
	checkAnswer(t, p, c, r, c.opened(t, p, e.browser().open(t, address)))
	b := e.browser()
	checkPage(t, b, b.open(t, address))
}

func expiredPush(t *testing.T, e *env) {
	p, c, b := e.provider(t), e.first, e.browser()
	address := c.front(p, c.push(t, p, c.request()))
	e.advance(t, 91*time.Second)
	checkPage(t, b, b.open(t, address))
}

func othersPush(t *testing.T, e *env) {
	p, b := e.provider(t), e.browser()
	checkPage(t, b, b.open(t, e.other.front(p, e.first.push(t, p, e.first.request()))))
}

func pushedURI(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	form := c.pushed(t, p, c.request())
	form.Set("request_uri", c.push(t, p, c.request()))
	checkDenied(t, c.call(t, p, "pushed_authorization_request_endpoint", form), "invalid_request", "invalid_request_object", "request_uri_not_supported")
}

func pushMethods(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	for _, method := range []string{http.MethodPut, http.MethodGet, http.MethodPatch, http.MethodDelete} {
		form := c.pushed(t, p, c.request())
		c.authenticate(t, p, nil, form)
		r := e.form(t, method, p.at("pushed_authorization_request_endpoint"), nil, form)
		if r.status != http.StatusMethodNotAllowed || !strings.Contains(r.header.Get("Allow"), http.MethodPost) || r.text("request_uri") != "" {
			t.Errorf("%s: %d, Allow %q", method, r.status, r.header.Get("Allow"))
		}
	}
}

// verifier redeems a code with another verifier than that of its challenge, or
// with none; the code is lost by that.
func verifier(other string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, c := e.provider(t), e.first
		r := c.request()
		a := c.ask(t, p, e.browser(), r)
		bad := *r
		bad.verifier = other
		checkDenied(t, c.redeem(t, p, &bad, a.params.Get("code")), "invalid_grant")
		checkDenied(t, c.redeem(t, p, r, a.params.Get("code")), "invalid_grant")
	}
}
