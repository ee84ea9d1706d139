package oidc_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/relying"
)

// last is the last request that an eID has had, once; nil for none.
func (c *instant) last() *connector.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.asked
	c.asked = nil
	return r
}

// TestClaimsByNameAreAsked: an eID that tells only what it is asked is asked for
// what a request names, as far as the client may have it.
func TestClaimsByNameAreAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	names := func(more ...string) string {
		in := map[string]any{}
		for _, n := range more {
			in[n] = map[string]bool{"essential": true}
		}
		raw, err := json.Marshal(map[string]any{"userinfo": in})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	iDIN := w.eids[eid.IDIN]
	for _, x := range []struct {
		client  *relying.Client
		claims  string
		wanted  []string
		purpose eid.Purpose
	}{
		{c, "", []string{eid.WantID}, eid.Identify},
		{c, names("name", "birthdate"), []string{eid.WantID, eid.WantName, eid.WantBirth}, eid.Identify},
		{c, `{"id_token":{"phone_number":null}}`, []string{eid.WantID, eid.WantPhone}, eid.Identify},
		{c, names("eighteen_or_older"), []string{eid.WantID, eid.WantAdult}, eid.Identify},              // and sub lasts
		{c, names("birthdate", "eighteen_or_older"), []string{eid.WantID, eid.WantBirth}, eid.Identify}, // a name is never an error
		{c, names("acr", "sub", "nosuch"), []string{eid.WantID}, eid.Identify},
		{w.client(func(c *relying.Client) { c.Scopes = []string{"openid", "profile"} }), names("name", "birthdate", "email"), []string{eid.WantID, eid.WantName}, eid.Identify},
	} {
		v := w.visitor()
		if out := w.tokens(x.client, v, "acr_values", "idp:idin", "scope", "openid", "claims", x.claims); out["id_token"] == nil {
			t.Fatalf("%s: %v", x.claims, out)
		}
		if r := iDIN.last(); !slices.Equal(r.Wanted, x.wanted) || r.Purpose != x.purpose {
			t.Errorf("%s asks for %v, %s", x.claims, r.Wanted, r.Purpose)
		}
	}
	// A login that has not told it does not stand in for one that would.
	iDIN.tells(func(who *eid.Identity) { *who = eid.Identity{Subject: who.Subject, Country: "NL", Level: who.Level} }, func() {
		v := w.visitor()
		w.tokens(c, v, "acr_values", "idp:idin", "scope", "openid")
		w.code(v, silent(c, "acr_values", "idp:idin", "scope", "openid"))
		w.denied(t, v, silent(c, "acr_values", "idp:idin", "scope", "openid", "claims", names("birthdate")), "login_required")
	})
}

// TestEvidence: every scope that tells of evidence reads it, and so does a claim
// that is asked for by name.
func TestEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.eids[eid.BankIDSE].proofs = []eid.Evidence{{Name: "bankidse.signature", Data: []byte("PHNpZ25hdHVyZS8+")},
		{Name: "bankidse.request", Data: []byte(`{"device":{"ipAddress":"203.0.113.24","uhi":"OZvYM9Vv"}}`)}}
	c := w.client()
	for _, x := range []struct {
		scope, claims string
		tells         []string
	}{
		{"openid sbid-extra", "", []string{"sbid_device_ip", "sbid_uhi"}},
		{"openid sbid-evidence", "", []string{"sbid_xml_signature"}},
		{"openid", `{"userinfo":{"sbid_xml_signature":null,"sbid_uhi":null}}`, []string{"sbid_uhi", "sbid_xml_signature"}},
		{"openid profile", "", nil},
	} {
		v := w.visitor()
		for _, again := range []bool{false, true} { // by a new login, and by the one before
			_, _, got := w.userinfo(w.tokens(c, v, "scope", x.scope, "claims", x.claims)["access_token"].(string))
			var tells []string
			for name := range got {
				if strings.HasPrefix(name, "sbid_") && name != "sbid_mrtd" {
					tells = append(tells, name)
				}
			}
			if slices.Sort(tells); !slices.Equal(tells, x.tells) {
				t.Errorf("%s %s, again %v: %v", x.scope, x.claims, again, tells)
			}
		}
	}
}

// TestHints: whom login_hint names, to Swedish BankID alone and where no browser
// could have written it, is who must come.
func TestHints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	push := func(more ...string) url.Values {
		q := w.pushed(t, c, w.form("par", request(c, more...), basic(c)...))
		q.Set("state", "s1") // which counts for nothing beside request_uri
		return q
	}
	const ada = "199001012385"
	for _, x := range []struct {
		q    url.Values
		want eid.Number
	}{
		{push("login_hint", "subject-"+ada), ada},
		{push("login_hint", "nin:"+ada), ada},
		{push("login_hint", "nin:19900101-2385"), ada},
		{push("login_hint", ada), ada},
		{push("login_hint", "phone:+46701234567"), ""},
		{push("login_hint", "bob@example.com"), ""},
		{push("login_hint", ada, "acr_values", "idp:sbid idp:idin"), ""},
		{push("login_hint", ada, "acr_values", "idp:idin"), ""},
		{request(c, "login_hint", "nin:"+ada), ""}, // by a link, which anybody can make
	} {
		if _, to := w.visitor().authorize(x.q); to == nil || to.Query().Get("code") == "" {
			t.Fatalf("%v: %v", x.q, to)
		}
		var got eid.Number
		for _, e := range w.eids {
			if r := e.last(); r != nil {
				got += r.Pinned
			}
		}
		if got != x.want {
			t.Errorf("%v: held to a number of %d digits", x.q, len(got))
		}
	}
	// Whoever means somebody and says it wrong is told so: of ten digits the century would be a guess.
	for _, hint := range []string{"9001012385", "nin:9001012385", "nin:199013012385", "subject-ada", "subject-"} {
		w.denied(t, w.visitor(), push("login_hint", hint), "invalid_request")
	}
	// Another person cannot come in their place, by a login of before neither.
	w.eids[eid.BankIDSE].as("199003032392", func() {
		w.denied(t, w.visitor(), push("login_hint", "nin:"+ada), "access_denied")
		v := w.visitor()
		w.tokens(c, v)
		w.denied(t, v, push("login_hint", "nin:"+ada, "prompt", "none"), "login_required")
		w.code(v, push("login_hint", "nin:199003032392", "prompt", "none"))
	})
	if strings.Contains(w.log.String(), ada) {
		t.Error("the log has the hint")
	}
}
