package oidcrp_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"eidgate/internal/oidcrp"
)

// TestNotSent: a node that has just started asks for metadata before it sends a
// code. If that goes wrong, the code is as good as before.
func TestNotSent(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"redirect": redirect,
		"too long": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 300<<10)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			_, l := p.begin(t, p.client(t), oidcrp.Request{})
			p.instead["/.well-known/openid-configuration"] = h
			_, err := p.client(t).Redeem(t.Context(), l, "code-1")
			if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Sent || p.count("/token") != 0 {
				t.Errorf("%v with %d calls, want one that was not sent", err, p.count("/token"))
			}
		})
	}
}

// TestOtherClient: what one client has agreed on wrongly is not the others' loss.
func TestOtherClient(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	d := oidcrp.NewDirectory(http.DefaultTransport, p.watch.now)
	wrong := p.clientOf(t, d, func(c *oidcrp.Config) { c.Issuer += "/" }) // its metadata have the same address
	_, err := wrong.Metadata(t.Context())
	if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Kind != oidcrp.WrongIssuer {
		t.Errorf("another issuer: %v", err)
	}
	if _, err := p.clientOf(t, d).Metadata(t.Context()); err != nil {
		t.Errorf("the right issuer, after a wrong one: %v", err)
	}
	if _, err := wrong.Metadata(t.Context()); err == nil {
		t.Error("a wrong issuer takes the copy of the right one")
	}
}

// TestPlainEndpoints: an issuer with https has nothing with http, whoever has
// fetched the metadata.
func TestPlainEndpoints(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "pushed_authorization_request_endpoint"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var base string
			srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				m := map[string]any{"issuer": base, "authorization_endpoint": base + "/a", "token_endpoint": base + "/t", "jwks_uri": base + "/k"}
				m[name] = strings.Replace(base, "https:", "http:", 1) + "/x"
				answer(w, 200, m)
			}))
			t.Cleanup(srv.Close)
			base = srv.URL
			d := oidcrp.NewDirectory(srv.Client().Transport, time.Now)
			for _, lenient := range []bool{true, false} {
				c, err := oidcrp.New(oidcrp.Config{Issuer: base, ClientID: "me", Auth: oidcrp.SecretPost, Secret: "s", AllowHTTP: lenient}, d)
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.Metadata(t.Context())
				if e, ok := errors.AsType[*oidcrp.Error](err); lenient && err != nil || !lenient && (!ok || e.Kind != oidcrp.BadMetadata) {
					t.Errorf("lenient %v: %v", lenient, err)
				}
			}
		})
	}
}

// TestNothingWithAnError: tokens that were refused are not handed out.
func TestNothingWithAnError(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.claims = func(m map[string]any) { m["nonce"] = "another" }
	c := p.client(t)
	_, l := p.begin(t, c, oidcrp.Request{})
	raw, err := c.Redeem(t.Context(), l, "code-1")
	if err != nil {
		t.Fatal(err)
	}
	if tokens, err := c.Read(t.Context(), l, raw, p.watch.now()); err == nil || tokens != nil {
		t.Errorf("tokens %v with %v", tokens, err)
	}
}
