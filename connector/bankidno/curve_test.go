package bankidno_test

import (
	"crypto/elliptic"
	"net/url"
	"strings"
	"testing"

	"eidgate/connector"
	cbankidno "eidgate/connector/bankidno"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/keytest"
	sbankidno "eidgate/sandbox/bankidno"
)

// TestCurve: logins with a key on a curve, of which BankID knows what we
// publish, and none with one that it does not know. A number is pushed, or in a
// request object that is signed and encrypted.
func TestCurve(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		alg   string
		curve elliptic.Curve
		par   bool
	}{{"ES256", elliptic.P256(), true}, {"ES256", elliptic.P256(), false}, {"ES384", elliptic.P384(), false}} {
		t.Run(x.alg, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			if _, err := s.sim.Change(func(set *sbankidno.Settings) error { set.PAR = x.par; return nil }); err != nil {
				t.Fatal(err)
			}
			s.set.Keys = []openid.Key{{ID: "curve", Use: "sig", Alg: x.alg, PEM: keytest.PEM(t, keytest.Curve(t, x.curve))}}
			body, err := s.set.JWKS(s.Config.Clock.Now)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.sim.Publish(s.set.ClientID, body); err != nil {
				t.Fatal(err)
			}
			s.Use(s.set)
			c := s.Connector()
			for _, hint := range []string{"", "BID:01819010354"} {
				s.Request.Params = map[string]string{cbankidno.ParamHint: hint}
				r := s.Request
				res, err := c.Begin(t.Context(), &r)
				if err != nil {
					t.Fatal(err)
				}
				u, err := url.Parse(res.Step.(connector.Redirect).URL)
				if err != nil {
					t.Fatal(err)
				}
				if sealed := strings.Count(u.Query().Get("request"), ".") == 4; sealed != (hint != "" && !x.par) {
					t.Errorf("%q: %s", hint, u)
				}
				if res, err = s.Finish(c, res, s.Act(s.Page(res.Step), "approve", "ola")); err != nil || res.Confirmed == nil || res.Confirmed.Number != "01819010354" {
					t.Errorf("%q: %#v, %v", hint, res.Step, err)
				}
			}
			s.set.Keys[0].PEM = keytest.PEM(t, keytest.Curve(t, x.curve))
			s.Use(s.set)
			s.Request.Params = nil
			res, err := s.Login(c, "approve", "ola")
			if want := (connector.Fail{Reason: eid.Refused, Code: "invalid_client"}); err != nil || res.Step != want {
				t.Errorf("another key: %#v, %v", res.Step, err)
			}
		})
	}
}
