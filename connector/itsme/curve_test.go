package itsme_test

import (
	"crypto/elliptic"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"eidgate/connector"
	citsme "eidgate/connector/itsme"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/keytest"
)

// curve is a key on P-256, as a contract has it.
func curve(t *testing.T) openid.Key {
	t.Helper()
	return openid.Key{ID: "curve", Use: "sig", Alg: "ES256", PEM: keytest.PEM(t, keytest.Curve(t, elliptic.P256()))}
}

// resign gives a partner another key to sign with, of which itsme knows what we
// publish; alone leaves none that decrypts.
func (s *service) resign(t *testing.T, key openid.Key, alone bool) citsme.Settings {
	t.Helper()
	var set citsme.Settings
	if err := json.Unmarshal(s.Request.Settings.Data, &set); err != nil {
		t.Fatal(err)
	}
	set.Keys[0] = key
	if alone {
		set.Keys = set.Keys[:1]
	}
	body, err := set.JWKS(s.Config.Clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sim.Publish(set.ClientID, body); err != nil {
		t.Fatal(err)
	}
	if err := citsme.Dialect().Check(set); err != nil {
		t.Fatal(err)
	}
	s.Use(set)
	return set
}

// TestCurve: logins with a key on a curve, with encryption and without.
func TestCurve(t *testing.T) {
	t.Parallel()
	for name, alone := range map[string]bool{"encrypted": false, "not encrypted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			sealed := 0
			s.watch = func(string) { sealed++ }
			set := s.resign(t, curve(t), alone)
			c := s.Connector()
			r := s.Request
			res, err := c.Begin(t.Context(), &r)
			if err != nil {
				t.Fatal(err)
			}
			away, ok := res.Step.(connector.Redirect)
			if !ok {
				t.Fatalf("%#v", res.Step)
			}
			u, err := url.Parse(away.URL)
			if err != nil {
				t.Fatal(err)
			}
			if dots := strings.Count(u.Query().Get("request"), "."); (dots == 4) == alone || dots != 0 && dots != 4 {
				t.Errorf("the request has %d dots", dots)
			}
			res, err = s.Finish(c, res, s.Act(s.Page(res.Step), "approve", "florent"))
			if err != nil || res.Confirmed == nil || res.Confirmed.Number != "80010299946" {
				t.Fatalf("%#v, %v", res.Step, err)
			}
			if want := map[bool]int{true: 0, false: 2}[alone]; sealed != want {
				t.Errorf("%d tokens are encrypted, want %d", sealed, want)
			}
			set.Keys[0].PEM = curve(t).PEM // which itsme does not know
			s.Use(set)
			res, err = c.Begin(t.Context(), &s.Request)
			if err != nil {
				t.Fatal(err)
			}
			if !alone { // the way back is in the request object, which proves nothing
				if away, ok := res.Step.(connector.Redirect); !ok || s.Get(away.URL).Status != http.StatusBadRequest {
					t.Errorf("a request by another key: %#v", res.Step)
				}
				return
			}
			res, err = s.Finish(c, res, s.Act(s.Page(res.Step), "approve", "florent"))
			if want := (connector.Fail{Reason: eid.Refused, Code: "invalid_client"}); err != nil || res.Step != want {
				t.Errorf("an assertion by another key: %#v, %v", res.Step, err)
			}
		})
	}
}

// TestNothingToDecryptWith: without a key that decrypts, what comes encrypted is
// refused, and the first generation cannot be.
func TestNothingToDecryptWith(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key := curve(t)
	set := s.resign(t, key, false)
	set.Keys = set.Keys[:1] // itsme still has the others
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	begun, c := s.Request, s.Connector()
	res, err := c.Begin(t.Context(), &begun)
	if err != nil {
		t.Fatal(err)
	}
	e := s.Act(s.Page(res.Step), "approve", "florent")
	s.Request.Settings = connector.Settings{Key: string(raw), Data: raw}
	res, err = s.Finish(c, res, e)
	if want := (connector.Fail{Reason: eid.BadProof, Code: "encryption"}); err != nil || res.Confirmed != nil || res.Step != want {
		t.Errorf("%#v, %v; want %#v", res.Step, err, want)
	}
	set.Generation = 1
	if err := citsme.Dialect().Check(set); err == nil || !strings.Contains(err.Error(), "keys must have one that decrypts") {
		t.Errorf("first generation: %v", err)
	}
	set.Generation, set.Keys[0].Alg = 2, "RS256"
	if err := citsme.Dialect().Check(set); err == nil || !strings.Contains(err.Error(), "another kind or size of key") {
		t.Errorf("an algorithm of another kind: %v", err)
	}
}

// TestSecretThatDecrypts: a contract with a secret may have a key that decrypts,
// and none to sign a request with.
func TestSecretThatDecrypts(t *testing.T) {
	t.Parallel()
	keyed := newService(t)
	var set citsme.Settings
	if err := json.Unmarshal(keyed.Request.Settings.Data, &set); err != nil {
		t.Fatal(err)
	}
	opens := set.Keys[1:]
	s := newService(t, func(s *citsme.Settings) { s.Auth, s.Keys = "client_secret_post", opens })
	c := s.Connector()
	res, err := c.Begin(t.Context(), &s.Request)
	if err != nil {
		t.Fatal(err)
	}
	s.Page(res.Step)
}
