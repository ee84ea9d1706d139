package oidc_test

import (
	"slices"
	"strings"
	"testing"

	"eidgate/api/oidc"
	"eidgate/broker"
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
		if spec := w.toldBroker(x.client, "login_hint", x.hint); spec.Marker != x.want {
			t.Errorf("%q of a client in %s: %q", x.hint, x.client.Environment, spec.Marker)
		}
	}
}

// toldBroker is what the broker is told of a login that a request begins.
func (w *world) toldBroker(c *relying.Client, change ...string) *broker.Spec {
	w.t.Helper()
	to := w.send("GET", "authorize?"+request(c, change...).Encode(), nil, nil).header.Get("Location")
	s, err := w.broker.Session(w.t.Context(), w.account.ID, c.Environment, strings.Trim(strings.TrimPrefix(to, oidc.Root+"/login/"), "/"))
	if err != nil {
		w.t.Fatalf("%q leads to %q: %v", change, to, err)
	}
	spec, err := w.broker.Spec(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return spec
}

// TestNorwegianHint: login_hint names a method to Norwegian BankID where that is
// the one eID, and nobody's number.
func TestNorwegianHint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	for _, x := range []struct{ acr, hint, want string }{
		{"idp:nbid", "BIM", "BIM"},
		{"idp:nbid nbid_idp:BIS", "BID", "BID"},
		{"idp:nbid", "BID:01819010354", ""},
		{"idp:nbid", "XID", ""},
		{"idp:nbid idp:sbid", "BIM", ""},
		{"idp:sbid", "BIM", ""},
	} {
		if spec := w.toldBroker(c, "acr_values", x.acr, "login_hint", x.hint); spec.Params["login_hint"] != x.want {
			t.Errorf("%s, %q: %v", x.acr, x.hint, spec.Params)
		}
	}
}

// TestWhereThePageLeads: the policy of the last page names the address of return
// as browsers compare it.
func TestWhereThePageLeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for uri, want := range map[string]string{
		"https://shop.example/cb":    "https://shop.example",
		"http://127.0.0.1:3000/cb":   "http://127.0.0.1:3000",
		"com.example.app:/cb":        "com.example.app:",
		"com.example.app://shop/x/y": "com.example.app://shop",
	} {
		c := w.client(func(c *relying.Client) { c.Native, c.Redirects = true, []string{uri} })
		if spec := w.toldBroker(c, "redirect_uri", uri); !slices.Equal(spec.Next, []string{want}) {
			t.Errorf("%s: %q, want %s", uri, spec.Next, want)
		}
	}
}
