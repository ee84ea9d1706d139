package server

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"eidgate/eid"
	"eidgate/relying"
)

// TestSecurityCounters: what the handlers, the broker and the client for
// addresses from outside see reaches the node's metrics.
func TestSecurityCounters(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	s.write(t, "other-key", "7c1f6a0e-0000-4000-8000-0000000000cc")
	c := s.core(t, `
server: {public_url: "http://localhost:8443"}
store: {url: "sqlite:DIR/test.db"}
keys: {master_file: DIR/master}
test_eids:
  BANKID(house)
accounts:
  - {id: 7c1f6a0e-0000-4000-8000-000000000001, name: Shops, keys: [{environment: test, file: DIR/key}]}
  - {id: 7c1f6a0e-0000-4000-8000-000000000002, name: Other, keys: [{environment: test, file: DIR/other-key}]}
`)
	client := &relying.Client{ID: "far", Account: testAccount, Environment: eid.Test, Profile: relying.Standard, Auth: relying.PrivateKeyJWT, JWKSURI: "https://10.0.0.1/keys"}
	if err := c.store.PutClient(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	session := begin(t, c, "")
	call := func(method, path, key, body string, status int) {
		t.Helper()
		r := httptest.NewRequest(method, "http://localhost:8443"+path, strings.NewReader(body))
		if key != "" {
			r.Header.Set("Authorization", key)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		if c.handler.ServeHTTP(rec, r); rec.Code != status {
			t.Errorf("%s %s: %d %s", method, path, rec.Code, rec.Body)
		}
	}
	is := func(when string, want map[string]string) {
		t.Helper()
		for _, kind := range []string{"client_auth", "cross_tenant", "ssrf_blocked", "replay", "binding_mismatch", "proof_invalid"} {
			n := want[kind]
			if n == "" {
				n = "0"
			}
			if got := scrape(t, c.metrics, `eidgate_security_events_total{kind="`+kind+`"}`); got != n {
				t.Errorf("%s: %s = %q, want %s", when, kind, got, n)
			}
		}
	}
	is("at first", nil)
	result := "/v2/eid/" + session.ID + "/"
	call(http.MethodGet, result, "7c1f6a0e-0000-4000-8000-0000000000cc", "", http.StatusNotFound)
	is("another account's session", map[string]string{"cross_tenant": "1"})
	call(http.MethodGet, result, "7c1f6a0e-0000-4000-8000-0000000000dd", "", http.StatusUnauthorized)
	is("an unknown key", map[string]string{"cross_tenant": "1", "client_auth": "1"})
	form := url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion": {"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJmYXIifQ.AAAA"}}
	call(http.MethodPost, "/auth/open/connect/token", "", form.Encode(), http.StatusUnauthorized)
	is("keys inside a network", map[string]string{"cross_tenant": "1", "client_auth": "2", "ssrf_blocked": "1"})
}
