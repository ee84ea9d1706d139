package upstream

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"eidgate/sandbox"
	sitsme "eidgate/sandbox/itsme"
	"eidgate/test/rig"
)

// simulator is itsme of the sandbox, whose person confirms at once.
func simulator(t *testing.T) *sitsme.Simulator {
	t.Helper()
	people := sandbox.NewPeople()
	var base string
	s := sitsme.New(sitsme.Config{Clock: sandbox.NewClock(false), People: people, Decisions: sandbox.NewDecisions(people, sandbox.Approve), Faults: sandbox.NewFaults(1), Base: func() string { return base }})
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	base = strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	return s
}

// TestSimulatorForOpenIDClient: the simulator serves a relying party of npm, with
// a secret, and with everything signed and encrypted.
func TestSimulatorForOpenIDClient(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]bool{"a secret": true, "keys": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := simulator(t)
			reg, err := s.Partner("Shop", back, 2, secret)
			if err != nil {
				t.Fatal(err)
			}
			said, err := json.Marshal(map[string]any{"issuer": reg.Issuer, "clientID": reg.ClientID, "secret": reg.Secret, "signingKey": reg.SigningKey, "signingKID": reg.SigningKID,
				"encKey": reg.EncKey, "encKID": reg.EncKID, "service": reg.Service, "redirect": back})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			dir := rig.NPM(ctx, t, "../parties/openidclient", "itsme.mjs")
			cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "itsme.mjs"))
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "PARTNER="+string(said))
			var log strings.Builder
			cmd.Stderr = &log
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				cancel()
				_ = cmd.Wait() // it was ended
			}()
			lines := bufio.NewScanner(out)
			if !lines.Scan() {
				_ = cmd.Wait() // its log says why
				t.Fatal(log.String())
			}
			q := browse(t, lines.Text())
			if _, err := in.Write([]byte(back + "?" + q.Encode() + "\n")); err != nil {
				t.Fatal(err)
			}
			if !lines.Scan() {
				_ = cmd.Wait() // its log says why
				t.Fatal(log.String())
			}
			var got struct {
				Sub  string         `json:"sub"`
				Info map[string]any `json:"info"`
			}
			if err := json.Unmarshal(lines.Bytes(), &got); err != nil || got.Sub != got.Info["sub"] || got.Info["name"] != "Florent Verschueren" || got.Info[ns+"BENationalNumber"] != "80010299946" ||
				!secret && got.Info["age_gte_18"] != true {
				t.Errorf("%s, %v", lines.Text(), err)
			}
		})
	}
}

// TestSimulatorForGoOIDC: the same for coreos/go-oidc, which decrypts nothing.
func TestSimulatorForGoOIDC(t *testing.T) {
	t.Parallel()
	s := simulator(t)
	reg, err := s.Partner("Shop", back, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	p, err := oidc.NewProvider(t.Context(), reg.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := p.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInParams
	conf := oauth2.Config{ClientID: reg.ClientID, ClientSecret: reg.Secret, Endpoint: endpoint, RedirectURL: back, Scopes: []string{"openid", "service:" + reg.Service, "profile", "email"}}
	verifier := oauth2.GenerateVerifier()
	q := browse(t, conf.AuthCodeURL("the-state", oidc.Nonce("the-nonce"), oauth2.S256ChallengeOption(verifier)))
	if q.Get("state") != "the-state" {
		t.Fatalf("comes back with %v", q)
	}
	token, err := conf.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		t.Fatal("no ID token")
	}
	id, err := p.Verifier(&oidc.Config{ClientID: reg.ClientID}).Verify(t.Context(), raw)
	if err != nil || id.Nonce != "the-nonce" || len(id.Subject) != 36 {
		t.Errorf("%+v, %v", id, err)
	}
	if _, err := conf.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
		t.Error("a code works twice")
	}
	bad := browse(t, conf.AuthCodeURL("s", oauth2.SetAuthURLParam("scope", "openid service:OTHER"), oauth2.S256ChallengeOption(verifier)))
	if bad.Get("error") != "invalid_scope" {
		t.Errorf("another service: %v", bad)
	}
	lost := url.Values{"client_id": {reg.ClientID}, "redirect_uri": {back + "/x"}, "response_type": {"code"}, "scope": {"openid service:" + reg.Service}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint.AuthURL+"?"+lost.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // only its status counts
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a way back that is not registered: %d", res.StatusCode)
	}
}
