package oidc_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"testing"

	"eidgate/relying"
)

// TestHybrid is response_type "code id_token", for clients that are allowed it:
// an ID token beside the code, bound to it, that says nothing of the person.
func TestHybrid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(func(c *relying.Client) { c.Profile, c.Hybrid, c.UserData = relying.Signicat, true, relying.All })
	plain := w.client(func(c *relying.Client) { c.Profile = relying.Signicat })
	answer := func(kind, mode string) url.Values {
		t.Helper()
		status, to := w.visitor().authorize(request(c, "response_type", kind, "response_mode", mode, "claims", `{"id_token":{"name":null}}`))
		if to == nil {
			t.Fatalf("%s %s: %d, problems %v", kind, mode, status, w.problems)
		}
		if mode == "form_post" {
			return to.Query()
		}
		if to.RawQuery != "" {
			t.Errorf("%s: the query has %q", kind, to.RawQuery)
		}
		got, err := url.ParseQuery(to.EscapedFragment())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, kind := range []string{"code id_token", "id_token code"} {
		for _, mode := range []string{"", "fragment", "form_post"} {
			got := answer(kind, mode)
			if len(got) != 4 || got.Get("state") != "s1" || got.Get("iss") != issuer {
				t.Errorf("the answer has %v", got)
			}
			_, claims := w.verified(got.Get("id_token"))
			sum := sha256.Sum256([]byte(got.Get("code")))
			if claims["nonce"] != "n1" || claims["aud"] != c.ID || claims["c_hash"] != base64.RawURLEncoding.EncodeToString(sum[:16]) || claims["at_hash"] != nil {
				t.Errorf("the front ID token says %v", claims)
			}
			for _, name := range []string{"name", "family_name", "given_name", "birthdate", "nin"} {
				if claims[name] != nil {
					t.Errorf("%s goes through the browser", name)
				}
			}
			x := w.form("token", redeem(got.Get("code")), basic(c)...)
			_, back := w.verified(x.json["id_token"])
			if back["sub"] != claims["sub"] || back["sub"] == nil || back["iss"] != claims["iss"] || back["name"] != "Ada Test" || back["c_hash"] != nil {
				t.Errorf("the ID token of the token endpoint says %v", back)
			}
		}
	}
	if got := answer("code", "fragment"); got.Get("code") == "" || got.Get("id_token") != "" {
		t.Errorf("code alone in the fragment: %v", got)
	}
	for name, q := range map[string]url.Values{
		"no nonce":         request(c, "response_type", "code id_token", "nonce", ""),
		"in a query":       request(c, "response_type", "code id_token", "response_mode", "query"),
		"cancelled before": request(c, "response_type", "code id_token", "prompt", "none"),
	} {
		_, to := w.visitor().authorize(q)
		if to == nil || to.RawQuery != "" {
			t.Errorf("%s: %v", name, to)
			continue
		}
		got, err := url.ParseQuery(to.EscapedFragment())
		if err != nil || got.Get("error") == "" || got.Get("state") != "s1" || got.Get("code") != "" || got.Get("id_token") != "" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, kind := range []string{"id_token", "code token", "code id_token token", "code code id_token"} {
		_, to := w.visitor().authorize(request(c, "response_type", kind))
		if to == nil || to.Query().Get("error") != "unsupported_response_type" {
			t.Errorf("%s: %v", kind, to)
		}
	}
	w.denied(t, w.visitor(), request(plain, "response_type", "code id_token"), "unsupported_response_type")
	w.denied(t, w.visitor(), request(plain, "response_mode", "fragment"), "invalid_request")
}
