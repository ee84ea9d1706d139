package oidc_test

import (
	"strings"
	"testing"

	"eidgate/api/oidc"
	"eidgate/eid"
	"eidgate/relying"
)

// TestNearMisses: a test client's developer is told what differs from what is
// registered; a live client's reads no more than the code.
func TestNearMisses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(func(c *relying.Client) {
		c.Redirects = []string{"https://shop.example/cb", "http://localhost:3000/callback?shop=1"}
	})
	live := w.client(func(c *relying.Client) { c.Environment = eid.Live })
	open := w.client(func(c *relying.Client) { c.Redirects, c.SandboxReturn = nil, true })
	both := w.client(func(c *relying.Client) { c.SandboxReturn = true })
	const machine = "redirect_uri is not an address of this machine, on localhost or 127.0.0.1, and without a fragment."
	shop, local := "It differs from https://shop.example/cb in ", "It differs from http://localhost:3000/callback?shop=1 in "
	for _, x := range []struct {
		client    *relying.Client
		uri, says string
	}{
		{c, "", "redirect_uri is missing."},
		{c, "https://shop.example/cb/", shop + "the slash at its end."},
		{c, "http://shop.example/cb", shop + "its scheme."},
		{c, "https://shop.example:443/cb", shop + "its port."},
		{c, "https://www.shop.example/cb", shop + "its host."},
		{c, "https://SHOP.example/cb", shop + "the capitals of its host."},
		{c, "https://shop.example/CB", shop + "the capitals of its path."},
		{c, "https://shop.example/back", shop + "its path."},
		{c, "https://shop.example/cb?x=1", shop + "its query."},
		{c, "https://shop.example/cb#x", shop + "its fragment."},
		{c, "HTTPS://shop.example/cb", shop + "how it is written."},
		{c, "http://127.0.0.1:3000/callback?shop=1", local + "its host."},
		{c, "http://localhost:3001/callback?shop=1", local + "its port."},
		{c, "http://localhost:3000/callback", local + "its query."},
		{c, "https://ada@shop.example/cb", "redirect_uri is not registered for the client exactly as it is sent."},
		{c, "https://evil.example/x", "redirect_uri is not registered for the client exactly as it is sent."},
		{c, "https://shop.example/cb\x00", "redirect_uri is not registered for the client exactly as it is sent."},
		{open, "https://localhost/cb#x", machine},
		{both, "https://other.example/x", machine},
		{both, "https://shop.example/cb/", shop + "the slash at its end."},
		{live, "https://shop.example/cb/", ""},
		{live, "", ""},
	} {
		w.refused(t, w.visitor(), request(x.client, "redirect_uri", x.uri), "invalid_request")
		if !strings.HasSuffix(w.shown, x.says) || x.says == "" && w.shown != "" {
			t.Errorf("%q: %q, want %q", x.uri, w.shown, x.says)
		}
	}
	for id, says := range map[string]string{"": "client_id is missing.", c.ID + " ": "client_id has a blank or a line end around it.",
		c.ID + "\n": "client_id has a blank or a line end around it.", "nobody": "client_id is not that of a client."} {
		w.refused(t, w.visitor(), request(c, "client_id", id), "invalid_client")
		if w.shown != says {
			t.Errorf("%q: %q", id, w.shown)
		}
	}
	for name, says := range map[string]string{"state": "The parameter state is sent twice.", "199001012385": "A parameter is sent twice.",
		"<b>": "A parameter is sent twice.", "Ada": "A parameter is sent twice."} {
		q := request(c)
		q[name] = []string{"a", "b"}
		w.refused(t, w.visitor(), q, "invalid_request")
		if w.shown != says {
			t.Errorf("%q: %q", name, w.shown)
		}
	}
}

// TestMarker: login_hint steers the simulators for test clients alone, and
// nothing else of it is kept where they could see it.
func TestMarker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	live := w.client(func(c *relying.Client) { c.Environment = eid.Live })
	for _, x := range []struct {
		client     *relying.Client
		hint, want string
	}{
		{w.client(), "sandbox:cancel;person=ada", "sandbox:cancel;person=ada"},
		{w.client(), "subject-199001012385", ""},
		{w.client(), "", ""},
		{live, "sandbox:cancel", ""},
	} {
		res, err := w.visitor().http.Get(w.server.URL + oidc.Root + "/connect/authorize?" + request(x.client, "login_hint", x.hint).Encode())
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		id := strings.Trim(strings.TrimPrefix(res.Header.Get("Location"), oidc.Root+"/login/"), "/")
		s, err := w.broker.Session(t.Context(), w.account.ID, x.client.Environment, id)
		if err != nil {
			t.Fatalf("%q leads to %q: %v", x.hint, res.Header.Get("Location"), err)
		}
		spec, err := w.broker.Spec(t.Context(), s)
		if err != nil || spec.Marker != x.want {
			t.Errorf("%q of a client in %s: %q, %v", x.hint, x.client.Environment, spec.Marker, err)
		}
	}
}
