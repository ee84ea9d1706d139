package oidc_test

import (
	"net/http"
	"net/url"
	"testing"

	"eidgate/eid"
	"eidgate/relying"
)

// TestBinding: a client hears of a login whose browser may not be the one that
// began it, in every token and as long as any of them lives; of usual ones it
// hears nothing.
func TestBinding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, profile := range []relying.Profile{relying.Standard, relying.Signicat} {
		c := w.client(func(c *relying.Client) { c.Profile, c.Hybrid = profile, profile == relying.Signicat })
		for how, want := range map[eid.Binding]any{"": nil, eid.Strong: nil, eid.Weak: "weak", eid.None: "none"} {
			w.eids[eid.BankIDSE].how = how
			out := w.tokens(c, w.visitor(), "scope", "openid profile offline_access")
			status, _, again := w.post("token", c, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {out["refresh_token"].(string)}})
			if status != http.StatusOK {
				t.Fatalf("refresh: %d %v", status, again)
			}
			told := map[string]map[string]any{"the ID token": payload(t, out["id_token"]), "the next one": payload(t, again["id_token"])}
			for name, token := range map[string]any{"introspection": out["access_token"], "that of a refresh token": out["refresh_token"]} {
				_, _, told[name] = w.post("introspect", c, url.Values{"token": {token.(string)}})
			}
			if c.Hybrid {
				_, to := w.visitor().authorize(request(c, "response_type", "code id_token", "response_mode", "form_post"))
				told["the ID token beside a code"] = payload(t, to.Query().Get("id_token"))
			}
			for name, says := range told {
				if got := says["eidgate_binding"]; got != want || says["sub"] == nil {
					t.Errorf("%s of a login that is bound %q to a client of %s says %v, want %v", name, how, profile, got, want)
				}
			}
			if _, _, who := w.userinfo(out["access_token"].(string)); who["sub"] == nil || who["eidgate_binding"] != nil {
				t.Errorf("userinfo, which is about the person, says %v", who)
			}
		}
	}
}
