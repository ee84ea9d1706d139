package mitid_test

import (
	"crypto/elliptic"
	"testing"

	"eidgate/connector"
	cmitid "eidgate/connector/mitid"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/keytest"
	"eidgate/internal/oidcrp"
)

// TestCurve: logins with a key on a curve, of which the broker knows what we
// publish, and none with one that it does not know.
func TestCurve(t *testing.T) {
	t.Parallel()
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384()} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(c *cmitid.Settings) { c.Auth = oidcrp.PrivateKeyJWT })
			s.set.Keys = []openid.Key{{ID: "curve", Use: "sig", Alg: alg, PEM: keytest.PEM(t, keytest.Curve(t, curve))}}
			body, err := s.set.JWKS(s.Config.Clock.Now)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.sim.Publish(s.set.ClientID, body); err != nil {
				t.Fatal(err)
			}
			s.Use(s.set)
			c := s.Connector()
			if res, err := s.Login(c, "approve", "hanne"); err != nil || res.Confirmed == nil || res.Confirmed.Name != "Hanne Hansen" {
				t.Errorf("%#v, %v", res.Step, err)
			}
			s.set.Keys[0].PEM = keytest.PEM(t, keytest.Curve(t, curve))
			s.Use(s.set)
			res, err := c.Begin(t.Context(), &s.Request)
			if want := (connector.Fail{Reason: eid.Refused, Code: "invalid_client"}); err != nil || res.Step != want {
				t.Errorf("another key: %#v, %v", res.Step, err)
			}
		})
	}
}
