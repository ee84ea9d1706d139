package parties

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"eidgate/test/rig"
)

// eids are what parties ask for, and who logs in with them.
var eids = []struct{ name, person string }{{"idin", "vries"}, {"sbid", "ada"}}

// claims are what a party is told of them. What is "" is absent.
var claims = map[string]map[string]string{
	"idin": {"name": "VJ de Vries", "family_name": "de Vries", "initials": "VJ", "idin_legal_last_name": "Vries", "idin_partner_last_name": "Jansen",
		"given_name": "", "nin": ""},
	"sbid": {"name": "Ada Test", "family_name": "Test", "given_name": "Ada", "birthdate": "1990-01-01", "nin": "199001012385", "nin_type": "PERSON",
		"idp_id": "199001012385", "initials": ""},
}

// told checks what a party shows after a login; birth is what iDIN's birthdate
// is in the profile.
func (p *page) told(t *testing.T, c *settings, eid, birth string) {
	t.Helper()
	sub, _ := p.UserInfo["sub"].(string)
	if p.Status != http.StatusOK || len(sub) != 44 || p.IDToken["sub"] != sub {
		t.Fatalf("%d, sub %q\n%s", p.Status, sub, p.Body)
	}
	for name, want := range map[string]string{"iss": c.Issuer, "aud": c.ID, "acr": "substantial", "amr": "[external]"} {
		if got := fmt.Sprint(p.IDToken[name]); got != want {
			t.Errorf("%s of the ID token is %q, want %q", name, got, want)
		}
	}
	for name, want := range claims[eid] {
		if got, found := p.UserInfo[name]; found != (want != "") || found && got != want {
			t.Errorf("%s of the userinfo is %v, want %q", name, got, want)
		}
	}
	if got := p.UserInfo["birthdate"]; eid == "idin" && got != birth {
		t.Errorf("birthdate is %v, want %s", got, birth)
	}
}

// denied checks that a party shows why nobody is logged in.
func (p *page) denied(t *testing.T, why string) {
	t.Helper()
	if p.UserInfo != nil || p.IDToken != nil {
		t.Fatalf("somebody is logged in: %s", p.Body)
	}
	if !strings.Contains(p.Body, why) {
		t.Errorf("the party shows %d, want %q in it:\n%s", p.Status, why, p.Body)
	}
}

// Each party logs people in, and tells those who were not why. Time passes by the
// sandbox's clock alone, and not for the party, so what expires comes last.
func TestLogins(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		name   string
		start  func(*testing.T, *settings)
		stolen string // what it shows to whom another's answer was planted on
		iss    string // what it shows if another issuer answers; "" if it does not look
		error  string // what it shows of access_denied and the description
	}{
		{"openid-client", openIDClient, "OAUTH_INVALID_RESPONSE", "OAUTH_INVALID_RESPONSE", `{"error":"access_denied","description":"%s"}`},
		{"go-oidc", goOIDC, "state did not match", "", `{"description":"%s","error":"access_denied"}`},
		{"mod_auth_openidc", apache, "400 Bad Request", "Error in handling response type", "access_denied</pre></p><p>Description: <pre>%s</pre>"},
		{"mod_auth_openidc by redirects", apacheRedirects, "400 Bad Request", "Error in handling response type", "<title>Error</title>%.0s"},
		{"authlib", authlib, "mismatching_state", "", `{"description":"%s","error":"access_denied"}`},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			dev := rig.StartDev(t, "memory")
			c := settingsFor(dev.OIDC)
			v.start(t, c)
			for _, e := range eids {
				t.Run(e.name, func(t *testing.T) {
					l := decide(t, dev, c, e.name, "approve", e.person)
					p := l.arrive(newBrowser(t, c.Self), asItIs)
					p.denied(t, v.stolen)
					p = l.arrive(l.browser, asItIs)
					p.told(t, c, e.name, "19750725")
					if v.iss == "" {
						return
					}
					l = decide(t, dev, c, e.name, "approve", e.person)
					p = l.arrive(l.browser, func(q url.Values) { q.Set("iss", "https://other.example") })
					p.denied(t, v.iss)
				})
			}
			for _, end := range []struct{ outcome, about string }{
				{"cancel", "The person cancelled."}, {"cancel:page", "The person cancelled."}, {"expire", "The time ran out."},
			} {
				for _, e := range eids {
					t.Run(e.name+" "+end.outcome, func(t *testing.T) {
						l := decide(t, dev, c, e.name, end.outcome, e.person)
						p := l.arrive(l.browser, asItIs)
						p.denied(t, fmt.Sprintf(v.error, end.about))
					})
				}
			}
		})
	}
}
