package oidcrp_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"eidgate/internal/oidcrp"
)

// TestHidden: what an address must not tell is pushed, or encrypted where the
// provider takes no pushed requests; without a key it is not sent at all.
func TestHidden(t *testing.T) {
	t.Parallel()
	const secret = "01819010354"
	for name, x := range map[string]struct{ pushes, key, fails bool }{"pushed": {pushes: true}, "encrypted": {key: true}, "neither": {fails: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.meta = func(m map[string]any) {
				if !x.pushes {
					delete(m, "pushed_authorization_request_endpoint")
				}
			}
			c := p.client(t, func(c *oidcrp.Config) {
				if x.key {
					c.Keys = p.keys(t)
				}
			})
			address, _, err := c.Begin(t.Context(), oidcrp.Request{By: oidcrp.Hidden, RedirectURI: "https://us.example/back", Scope: "openid", Params: map[string][]string{"login_hint": {secret}}})
			if (err != nil) != x.fails {
				t.Fatal(err)
			}
			if strings.Contains(address, secret) || strings.Contains(address, "login_hint") {
				t.Errorf("the address is %s", address)
			}
			if x.pushes && p.pushed.Get("login_hint") != secret {
				t.Errorf("pushed %v", p.pushed)
			}
		})
	}
}

// TestInfoOfAService: UserInfo that a service of its own has signed, which lies
// where it is fetched from, and nowhere else.
func TestInfoOfAService(t *testing.T) {
	t.Parallel()
	for issuer, good := range map[string]bool{
		"/": true, "": true, "/userinfo": true, "/user": false, "/userinfo/more": false, ".evil.example": false, "other": false, "relative": false,
	} {
		p := newProvider(t)
		said := p.URL + issuer
		switch issuer {
		case "other":
			said = "https://other.example"
		case "relative":
			said = "/"
		}
		p.info = func(m map[string]any) { m["iss"] = said }
		c := p.client(t, func(c *oidcrp.Config) { c.UserInfo.Issuer = oidcrp.OfEndpoint })
		if good {
			if _, info, err := p.login(t, c); err != nil || info.Signed == "" {
				t.Errorf("%s: %v", said, err)
			}
			continue
		}
		wants(t, p, c, oidcrp.WrongIssuer, said)
	}
}

// TestPost: a service of the provider's own is asked in the person's name.
func TestPost(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(t)
	tokens, _, err := p.login(t, c)
	if err != nil {
		t.Fatal(err)
	}
	p.instead["/api/match"] = func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer access" || r.Header.Get("Content-Type") != "application/json" || string(raw) != `{"cpr":"1"}` {
			t.Errorf("%s %v %s", r.Method, r.Header, raw)
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"match":true}`)
	}
	status, body, err := c.Post(t.Context(), tokens, "/api/match", map[string]string{"cpr": "1"})
	if err != nil || status != http.StatusBadRequest || !json.Valid(body) {
		t.Errorf("%d %s %v", status, body, err)
	}
	p.instead["/api/match"] = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }
	_, _, err = c.Post(t.Context(), tokens, "/api/match", nil)
	if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Kind != oidcrp.Redirected {
		t.Errorf("sent elsewhere: %v", err)
	}
	p.instead["/api/match"] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	_, _, err = c.Post(t.Context(), tokens, "/api/match", nil)
	if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Kind != oidcrp.BadStatus || e.Status != http.StatusBadGateway || !e.Sent {
		t.Errorf("out of order: %v", err)
	}
}

// TestPushRefused: what is wrong with the answer to a pushed request, and how that
// is called.
func TestPushRefused(t *testing.T) {
	t.Parallel()
	say := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, x := range map[string]struct {
		answer http.HandlerFunc
		kind   oidcrp.Kind // "" for the provider's own no
	}{
		"elsewhere":      {redirect, oidcrp.Redirected},
		"too long":       {say(201, strings.Repeat("x", 300<<10)), oidcrp.TooLarge},
		"no address":     {say(201, `{"expires_in":600}`), oidcrp.BadResponse},
		"a long address": {say(201, `{"request_uri":"urn:`+strings.Repeat("x", 1024)+`"}`), oidcrp.BadResponse},
		"a page":         {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, oidcrp.ContentType},
		"broken":         {say(500, `{"error":"server_error"}`), oidcrp.BadStatus},
		"no":             {say(400, `{"error":"invalid_request_object","error_description":"of Nordmann"}`), ""},
	} {
		p := newProvider(t)
		p.instead["/par"] = x.answer
		_, _, err := p.client(t).Begin(t.Context(), oidcrp.Request{By: oidcrp.Pushed})
		e, _ := errors.AsType[*oidcrp.Error](err)
		no, _ := errors.AsType[*oidcrp.Refused](err)
		if x.kind != "" && (e == nil || e.Kind != x.kind) || x.kind == "" && (no == nil || no.Where != "pushed" || no.Code != "invalid_request_object") || strings.Contains(err.Error(), "Nordmann") {
			t.Errorf("%s: %v, want %q", name, err, x.kind)
		}
	}
}
