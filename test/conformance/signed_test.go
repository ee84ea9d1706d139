package conformance

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

// The modules that the FAPI 2.0 Message Signing plan has beside those of the
// Security Profile.
var signedModules = []module{
	{id: fapi + "ensure-request-object-with-multiple-aud-succeeds", run: objectTaken(func(_ time.Time, p *provider) change {
		return change{"aud": []string{p.issuer, "https://other.example/"}}
	})},
	{id: fapi + "ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted", run: objectTaken(func(now time.Time, _ *provider) change {
		return change{"nbf": now.Add(8 * time.Second).Unix(), "iat": now.Add(8 * time.Second).Unix()}
	})},
	{id: fapi + "ensure-request-object-without-exp-fails", run: objectDenied(func(time.Time) change { return change{"exp": nil} })},
	{id: fapi + "ensure-request-object-without-nbf-fails", run: objectDenied(func(time.Time) change { return change{"nbf": nil} })},
	{id: fapi + "ensure-expired-request-object-fails", run: objectDenied(func(now time.Time) change {
		return change{"nbf": now.Add(-10 * time.Minute).Unix(), "iat": now.Add(-10 * time.Minute).Unix(), "exp": now.Add(-5 * time.Minute).Unix()}
	})},
	{id: fapi + "ensure-request-object-with-bad-aud-fails", run: objectDenied(func(time.Time) change { return change{"aud": "https://other.example/"} })},
	{id: fapi + "ensure-request-object-with-exp-over-60-fails", run: objectDenied(func(now time.Time) change { return change{"exp": now.Add(70 * time.Minute).Unix()} })},
	{id: fapi + "ensure-request-object-with-nbf-over-60-fails", run: objectDenied(func(now time.Time) change {
		return change{"nbf": now.Add(-70 * time.Minute).Unix(), "iat": now.Add(-70 * time.Minute).Unix(), "exp": now.Add(-time.Minute + 2*time.Minute).Unix()}
	})},
	{id: fapi + "ensure-signed-request-object-with-RS256-fails", run: objectSigned(func(t *testing.T, c *client, sign func(*key) string) string { return sign(c.key.as("RS256")) })},
	{id: fapi + "ensure-request-object-signature-algorithm-is-not-none", run: objectSigned(func(t *testing.T, c *client, sign func(*key) string) string {
		return sign(&key{alg: "none", kid: c.key.kid})
	})},
	{id: fapi + "ensure-request-object-with-invalid-signature-fails", run: objectSigned(func(t *testing.T, c *client, sign func(*key) string) string { return spoil(sign(c.key)) })},
	{id: fapi + "ensure-matching-key-in-authorization-request", run: objectSigned(func(t *testing.T, c *client, sign func(*key) string) string {
		return sign(newKey(t, "ES256", c.key.kid))
	})},
	{id: fapi + "ensure-unsigned-request-at-par-endpoint-fails", run: unsignedPush},
	{id: fapi + "par-authorization-request-containing-request_uri", run: objectWithURI},
}

// objectTaken pushes a signed request with other claims, which is good.
func objectTaken(claims func(time.Time, *provider) change) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, c := e.provider(t), e.first
		r := c.request()
		uri := checkPushed(t, c.call(t, p, "pushed_authorization_request_endpoint", url.Values{"request": {c.object(t, p, r, claims(e.now(), p), c.key)}}))
		a := c.opened(t, p, e.browser().open(t, c.front(p, uri)))
		checkAnswer(t, p, c, r, a)
		checkTokens(t, p, c, r, c.redeem(t, p, r, a.params.Get("code")))
	}
}

// objectDenied pushes one that is not.
func objectDenied(claims func(time.Time) change) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, c := e.provider(t), e.first
		form := url.Values{"request": {c.object(t, p, c.request(), claims(e.now()), c.key)}}
		checkDenied(t, c.call(t, p, "pushed_authorization_request_endpoint", form), "invalid_request_object")
	}
}

// objectSigned pushes one that is signed in a wrong way.
func objectSigned(sign func(*testing.T, *client, func(*key) string) string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, c := e.provider(t), e.first
		object := sign(t, c, func(k *key) string { return c.object(t, p, c.request(), nil, k) })
		checkDenied(t, c.call(t, p, "pushed_authorization_request_endpoint", url.Values{"request": {object}}), "invalid_request_object")
	}
}

func unsignedPush(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	form := c.request().Values
	checkDenied(t, c.call(t, p, "pushed_authorization_request_endpoint", form), "invalid_request", "invalid_request_object")
}

func objectWithURI(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	for _, name := range []string{"request_uri", "request"} {
		form := url.Values{"request": {c.object(t, p, c.request(name, c.push(t, p, c.request())), nil, c.key)}}
		checkDenied(t, c.call(t, p, "pushed_authorization_request_endpoint", form), "invalid_request", "invalid_request_object", "request_uri_not_supported")
	}
	// A client assertion is no request, and a request no assertion.
	form := url.Values{"request": {c.assertion(t, p, nil, c.key)}}
	checkDenied(t, c.call(t, p, "pushed_authorization_request_endpoint", form), "invalid_request_object")
	form = url.Values{"client_id": {c.id}, "client_assertion_type": {assertionType}, "client_assertion": {c.object(t, p, c.request(), nil, c.key)},
		"request": {c.object(t, p, c.request(), nil, c.key)}}
	checkDenied(t, e.form(t, http.MethodPost, p.at("pushed_authorization_request_endpoint"), nil, form), "invalid_client")
}
