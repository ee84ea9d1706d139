package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"eidgate/api/oidc"
	"eidgate/relying"
)

func TestCodeFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	status, to := w.visitor().authorize(request(c))
	if status != http.StatusSeeOther || !strings.HasPrefix(to.String(), shop+"?") || to.Query().Get("state") != "s1" ||
		to.Query().Get("iss") != "https://eid.example"+oidc.Root || len(to.Query().Get("code")) != 51 || len(to.Query()) != 3 {
		t.Fatalf("%d %s", status, to)
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {shop}}
	status, h, out := w.post("token", c, form)
	if status != http.StatusOK || out["token_type"] != "Bearer" || out["expires_in"] != 600.0 || !strings.Contains(h.Get("Cache-Control"), "no-store") || out["refresh_token"] != nil {
		t.Fatalf("%d %v %v", status, out, h)
	}
	id := payload(t, out["id_token"])
	if id["iss"] != "https://eid.example"+oidc.Root || id["aud"] != c.ID || id["nonce"] != "n1" || len(id["sub"].(string)) != 44 || id["name"] != nil {
		t.Errorf("ID token %v", id)
	}
	status, _, who := w.userinfo(out["access_token"].(string))
	if status != http.StatusOK || who["sub"] != id["sub"] || who["name"] != "Ada Test" {
		t.Errorf("userinfo %d %v", status, who)
	}
	// A code works once, and its second use ends what the first one gave.
	if status, _, again := w.post("token", c, form); status != http.StatusBadRequest || again["error"] != "invalid_grant" {
		t.Errorf("reuse: %d %v", status, again)
	}
	if status, h, _ := w.userinfo(out["access_token"].(string)); status != http.StatusUnauthorized || !strings.Contains(h.Get("WWW-Authenticate"), "invalid_token") {
		t.Errorf("after a reuse: %d %v", status, h)
	}
}

func TestSignicatProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(func(c *relying.Client) { c.Profile = relying.Signicat })
	out := w.tokens(c, w.visitor(), "acr_values", "idp:idin", "scope", "openid profile idp-id gender date-of-birth idin-name")
	id := payload(t, out["id_token"])
	if id["idp"] != "idin" || id["idp_issuer"] != "idin" || id["acr"] != "substantial" || id["sandbox"] != true || id["name"] != "VJ de Vries" || id["idp_id"] != nil {
		t.Errorf("ID token %v", id)
	}
	_, _, who := w.userinfo(out["access_token"].(string))
	for name, want := range map[string]any{"idp_id": "NLBANKvector0001", "name": "VJ de Vries", "family_name": "de Vries", "gender": "1", "birthdate": "19750725",
		"idin_legal_last_name": "Vries", "idin_legal_last_name_prefix": "de", "initials": "VJ", "idp_issuer": "idin", "sub": id["sub"]} {
		if who[name] != want {
			t.Errorf("%s is %v, want %v", name, who[name], want)
		}
	}
}
