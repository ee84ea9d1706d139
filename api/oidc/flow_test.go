package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/api/oidc"
	"eidgate/relying"
)

func TestCodeFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	status, to := w.visitor().authorize(request(c))
	if status != http.StatusSeeOther || !strings.HasPrefix(to.String(), shop+"?") || to.Query().Get("state") != "s1" ||
		to.Query().Get("iss") != "https://eid.example"+oidc.Root || len(to.Query().Get("code")) != 43 || len(to.Query()) != 3 {
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

func TestPKCE(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	verifier := strings.Repeat("v", 43)
	for name, v := range map[string]struct {
		challenge, verifier string
		ok                  bool
	}{"right": {challenge(verifier), verifier, true}, "wrong": {challenge(verifier), strings.Repeat("w", 43), false}, "none": {challenge(verifier), "", false},
		"short": {challenge("short"), "short", false}, "without a challenge": {"", verifier, false}} {
		q := request(c)
		if v.challenge != "" {
			q.Set("code_challenge", v.challenge)
			q.Set("code_challenge_method", "S256")
		}
		_, to := w.visitor().authorize(q)
		form := url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {shop}}
		if v.verifier != "" {
			form.Set("code_verifier", v.verifier)
		}
		status, _, out := w.post("token", c, form)
		if (status == http.StatusOK) != v.ok {
			t.Errorf("%s: %d %v", name, status, out)
		}
		form.Set("code_verifier", verifier)
		if status, _, _ := w.post("token", c, form); status == http.StatusOK {
			t.Errorf("%s: the code was not burned", name)
		}
	}
	for _, bad := range [][2]string{{verifier, "plain"}, {verifier, ""}, {"short", "S256"}, {"", "S256"}} {
		q := request(c)
		q.Set("code_challenge", bad[0])
		q.Set("code_challenge_method", bad[1])
		if _, to := w.visitor().authorize(q); to == nil || to.Query().Get("error") != "invalid_request" {
			t.Errorf("%v: %v", bad, to)
		}
	}
}

func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	v := w.visitor()
	if _, to := v.authorize(request(c, "prompt", "none")); to.Query().Get("error") != "login_required" {
		t.Fatalf("nobody is logged in: %s", to)
	}
	first := payload(t, w.tokens(c, v)["id_token"])
	w.clock.Advance(time.Minute)
	again := payload(t, w.tokens(c, v, "prompt", "none")["id_token"])
	if again["sub"] != first["sub"] || again["auth_time"] != first["auth_time"] || again["sid"] != first["sid"] {
		t.Errorf("%v and then %v", first, again)
	}
	for name, change := range map[string][]string{"another eID": {"acr_values", "idp:idin"}, "too old": {"max_age", "59"}, "at all": {"max_age", "0"}} {
		if _, to := v.authorize(request(c, append(change, "prompt", "none")...)); to.Query().Get("error") != "login_required" {
			t.Errorf("%s: %s", name, to)
		}
	}
	anew := payload(t, w.tokens(c, v, "prompt", "login")["id_token"])
	if anew["auth_time"].(float64) <= first["auth_time"].(float64) {
		t.Errorf("prompt=login: %v after %v", anew["auth_time"], first["auth_time"])
	}
	w.clock.Advance(16 * time.Minute)
	if _, to := v.authorize(request(c, "prompt", "none")); to.Query().Get("error") != "login_required" {
		t.Errorf("after a rest: %s", to)
	}
}

func TestPushed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.client(), w.client()
	status, _, out := w.post("par", c, request(c))
	uri, _ := out["request_uri"].(string)
	if status != http.StatusCreated || !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") || out["expires_in"] != 300.0 {
		t.Fatalf("%d %v", status, out)
	}
	front := func(c *relying.Client) url.Values { return url.Values{"client_id": {c.ID}, "request_uri": {uri}} }
	if status, to := w.visitor().authorize(front(other)); status != http.StatusBadRequest || to != nil {
		t.Errorf("another client: %d %v", status, to)
	}
	if _, to := w.visitor().authorize(front(c)); to == nil || to.Query().Get("code") == "" {
		t.Fatalf("%v %v", to, w.problems)
	}
	if status, to := w.visitor().authorize(front(c)); status != http.StatusBadRequest || to != nil {
		t.Errorf("again: %d %v", status, to)
	}
	status, _, out = w.post("par", c, request(c))
	uri, _ = out["request_uri"].(string)
	w.clock.Advance(301 * time.Second)
	if status2, to := w.visitor().authorize(front(c)); status != http.StatusCreated || status2 != http.StatusBadRequest || to != nil {
		t.Errorf("expired: %d %v", status2, to)
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	v := w.visitor()
	out := w.tokens(c, v)
	q := url.Values{"id_token_hint": {out["id_token"].(string)}, "post_logout_redirect_uri": {"https://shop.example/out"}, "state": {"bye"}}
	res, err := v.http.Get(w.server.URL + oidc.Root + "/connect/endsession?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "https://shop.example/out?state=bye" {
		t.Errorf("%d %s", res.StatusCode, res.Header.Get("Location"))
	}
	if _, to := v.authorize(request(c, "prompt", "none")); to.Query().Get("error") != "login_required" {
		t.Errorf("still logged in: %s", to)
	}
	if status, _, _ := w.userinfo(out["access_token"].(string)); status != http.StatusUnauthorized {
		t.Errorf("the token still counts: %d", status)
	}
}
