package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/relying"
)

// TestUnmade: an ID token that cannot be encrypted, since the client's keys are
// out of reach or do not fit, uses up neither the code nor the refresh token.
func TestUnmade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const address = "https://shop.example/jwks"
	key := foreign()[0]
	reach := func(with bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.docs, address)
		if with {
			w.docs[address] = jwks("enc", key)
		}
	}
	c := w.client(func(c *relying.Client) {
		c.Auth, c.Secrets = relying.Public, nil // whose refresh tokens are replaced
		c.JWKSURI, c.IDTokenEnc = address, relying.Encryption{Alg: "RSA-OAEP-256", Enc: "A256GCM"}
	})
	unmade := func(form url.Values) {
		t.Helper()
		for range 2 {
			x := w.form("token", form)
			if x.status != http.StatusServiceUnavailable || x.header.Get("Retry-After") != "5" || x.json["error"] != "temporarily_unavailable" || len(x.json) != 1 {
				t.Fatalf("%d %v %s", x.status, x.header, x.body)
			}
		}
	}
	made := func(form url.Values) exchange {
		t.Helper()
		w.clock.Advance(6 * time.Second) // after which the keys are asked for again
		x := w.form("token", form)
		if x.status != http.StatusOK {
			t.Fatalf("with the keys: %d %s", x.status, x.body)
		}
		_, inner := opened(t, key, x.json["id_token"].(string))
		if _, got := w.verified(inner); got["sub"] == nil {
			t.Errorf("the ID token says %v", got)
		}
		return x
	}
	verifier := strings.Repeat("v", 43)
	form := redeem(w.code(w.visitor(), request(c, "scope", "openid offline_access", "code_challenge", challenge(verifier), "code_challenge_method", "S256")), "code_verifier", verifier)
	form.Set("client_id", c.ID)
	unmade(form)
	w.mu.Lock()
	w.docs[address] = jwks("sig", newKey()) // in reach, and none of them fits
	w.mu.Unlock()
	w.clock.Advance(6 * time.Second)
	unmade(form)
	w.clock.Advance(11 * time.Minute) // after which a copy of keys is looked for anew
	form = redeem(w.code(w.visitor(), request(c, "scope", "openid offline_access", "code_challenge", challenge(verifier), "code_challenge_method", "S256")), "code_verifier", verifier)
	form.Set("client_id", c.ID)
	reach(true)
	first := made(form)
	reach(false)
	w.clock.Advance(21 * time.Minute) // after which the copy of the keys is too old
	renew := url.Values{"client_id": {c.ID}, "grant_type": {"refresh_token"}, "refresh_token": {first.json["refresh_token"].(string)}}
	unmade(renew)
	w.clock.Advance(time.Minute) // longer than an answer that was lost is repeated
	unmade(renew)
	reach(true)
	if next := made(renew).json["refresh_token"]; next == nil || next == first.json["refresh_token"] {
		t.Errorf("the next refresh token is %v", next)
	}
	terr(t, w.form("token", form), "invalid_grant") // once
	renew.Set("refresh_token", first.json["refresh_token"].(string))
	terr(t, w.form("token", renew), "invalid_grant") // and all that came of it has ended
}

// TestUnmadeUserInfo: that the client's keys are out of reach is no error of the
// access token, and passes.
func TestUnmadeUserInfo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const address = "https://shop.example/jwks"
	key := foreign()[0]
	c := w.client(func(c *relying.Client) {
		c.JWKSURI, c.Userinfo, c.UserinfoEnc = address, relying.SignedAndEncrypted, relying.Encryption{Alg: "RSA-OAEP-256", Enc: "A256GCM"}
	})
	bearer := http.Header{"Authorization": {"Bearer " + w.tokens(c, w.visitor())["access_token"].(string)}}
	x := w.send("GET", "userinfo", bearer, nil)
	if x.status != http.StatusServiceUnavailable || x.header.Get("Retry-After") != "5" || x.json["error"] != "temporarily_unavailable" || len(x.json) != 1 {
		t.Fatalf("%d %v %s", x.status, x.header, x.body)
	}
	w.mu.Lock()
	w.docs[address] = jwks("enc", key)
	w.mu.Unlock()
	w.clock.Advance(6 * time.Second) // after which the keys are asked for again
	x = w.send("GET", "userinfo", bearer, nil)
	if x.status != http.StatusOK {
		t.Fatalf("with the keys: %d %s", x.status, x.body)
	}
	if _, inner := opened(t, key, x.body); payload(t, inner)["name"] != "Ada Test" {
		t.Error("it tells something else")
	}
}
