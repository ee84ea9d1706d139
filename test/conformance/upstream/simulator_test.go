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

	"eidgate/connector/openid/openidtest"
	"eidgate/sandbox"
	sitsme "eidgate/sandbox/itsme"
	"eidgate/test/rig"
)

// simulate serves a simulator whose people do at once what auto says.
func simulate[S interface{ Handler() http.Handler }](t *testing.T, auto sandbox.Outcome, with func(openidtest.Config) S) S {
	t.Helper()
	people := sandbox.NewPeople()
	srv := httptest.NewUnstartedServer(nil)
	base := "http://" + strings.Replace(srv.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	s := with(openidtest.Config{Clock: sandbox.NewClock(false), People: people, Decisions: sandbox.NewDecisions(people, auto), Faults: sandbox.NewFaults(1), Base: func() string { return base }})
	srv.Config.Handler = s.Handler()
	srv.Start()
	t.Cleanup(srv.Close)
	return s
}

// partners brings relying parties of npm.
func partners(t *testing.T, scripts ...string) (dir string) {
	t.Helper()
	return rig.NPM(t.Context(), t, "../parties/openidclient", append(scripts, "eid.mjs")...)
}

// partner runs a relying party, lets a browser go where it is sent, and reads
// what the party was told.
func partner(t *testing.T, dir, script string, settings map[string]any, look func(address string), told any) {
	t.Helper()
	settings["redirect"] = back
	said, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, script))
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
	line := func() []byte {
		t.Helper()
		if !lines.Scan() {
			_ = cmd.Wait() // its log says why
			t.Fatal(log.String())
		}
		return lines.Bytes()
	}
	address := string(line())
	look(address)
	if _, err := in.Write([]byte(back + "?" + browse(t, address).Encode() + "\n")); err != nil {
		t.Fatal(err)
	}
	if raw := line(); json.Unmarshal(raw, told) != nil {
		t.Fatalf("it was told %s", raw)
	}
}

// A told is what a relying party of npm was told.
type told struct {
	Claims, Info map[string]any
	Profile      map[string]any
	Error        string
	Description  string
}

// A goParty is a relying party on coreos/go-oidc.
type goParty struct {
	provider *oidc.Provider
	conf     oauth2.Config
}

// newGoParty reads what the provider publishes of itself.
func newGoParty(t *testing.T, issuer, id, secret string, style oauth2.AuthStyle, scopes ...string) *goParty {
	t.Helper()
	p, err := oidc.NewProvider(t.Context(), issuer)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := p.Endpoint()
	endpoint.AuthStyle = style
	return &goParty{p, oauth2.Config{ClientID: id, ClientSecret: secret, Endpoint: endpoint, RedirectURL: back, Scopes: append([]string{"openid"}, scopes...)}}
}

// login logs somebody in, looks at the ID token as go-oidc does, and tries the
// code again.
func (g *goParty) login(t *testing.T, options ...oauth2.AuthCodeOption) (*oauth2.Token, *oidc.IDToken) {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	return g.redeem(t, verifier, browse(t, g.conf.AuthCodeURL("the-state", append(options, oidc.Nonce("the-nonce"), oauth2.S256ChallengeOption(verifier))...)))
}

// redeem takes what a browser brings.
func (g *goParty) redeem(t *testing.T, verifier string, q url.Values) (*oauth2.Token, *oidc.IDToken) {
	t.Helper()
	if q.Get("state") != "the-state" {
		t.Fatalf("comes back with %v", q)
	}
	token, err := g.conf.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		t.Fatal("no ID token")
	}
	id, err := g.provider.Verifier(&oidc.Config{ClientID: g.conf.ClientID}).Verify(t.Context(), raw)
	if err != nil || id.Nonce != "the-nonce" {
		t.Fatalf("%+v, %v", id, err)
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			t.Error(err)
		}
	}
	if _, err := g.conf.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
		t.Error("a code works twice")
	}
	return token, id
}

// refuses looks that a code is worth nothing with another verifier, or another
// secret, and that this has spent it.
func (g *goParty) refuses(t *testing.T, options ...oauth2.AuthCodeOption) {
	t.Helper()
	code := func(verifier string) string {
		return browse(t, g.conf.AuthCodeURL("the-state", append(options, oauth2.S256ChallengeOption(verifier))...)).Get("code")
	}
	verifier := oauth2.GenerateVerifier()
	spoiled := code(verifier)
	for _, v := range []string{oauth2.GenerateVerifier(), verifier} {
		if _, err := g.conf.Exchange(t.Context(), spoiled, oauth2.VerifierOption(v)); err == nil {
			t.Error("a code works with another verifier, or after one")
		}
	}
	if _, err := g.conf.Exchange(t.Context(), code(verifier)); err == nil {
		t.Error("a code works without a verifier")
	}
	other := g.conf
	other.ClientSecret += "x"
	if _, err := other.Exchange(t.Context(), code(verifier), oauth2.VerifierOption(verifier)); err == nil {
		t.Error("a code works with another secret")
	}
}

// info is UserInfo, as go-oidc fetches it.
func (g *goParty) info(t *testing.T, token *oauth2.Token, claims any) *oidc.UserInfo {
	t.Helper()
	info, err := g.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatal(err)
	}
	if err := info.Claims(claims); err != nil {
		t.Fatal(err)
	}
	return info
}

// elsewhere is an authorization request with a way back that nobody has
// registered.
func (g *goParty) elsewhere() string {
	conf := g.conf
	conf.RedirectURL += "/x"
	return conf.AuthCodeURL("the-state", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
}

// simulator is itsme of the sandbox, whose person confirms at once.
func simulator(t *testing.T) *sitsme.Simulator {
	t.Helper()
	return simulate(t, sandbox.Approve, func(c openidtest.Config) *sitsme.Simulator { return sitsme.New(sitsme.Config(c)) })
}

// TestSimulatorForOpenIDClient: the simulator of itsme serves a relying party of
// npm, with a secret, and with everything signed and encrypted.
func TestSimulatorForOpenIDClient(t *testing.T) {
	t.Parallel()
	dir := partners(t, "itsme.mjs")
	for name, secret := range map[string]bool{"a secret": true, "keys": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg, err := simulator(t).Partner("Shop", back, 2, secret)
			if err != nil {
				t.Fatal(err)
			}
			var got told
			partner(t, dir, "itsme.mjs", map[string]any{"issuer": reg.Issuer, "clientID": reg.ClientID, "secret": reg.Secret, "key": reg.SigningKey, "keyID": reg.SigningKID,
				"encKeys": map[string]string{reg.EncKID: reg.EncKey, reg.EncKID2: reg.EncKey2}, "service": reg.Service}, func(string) {}, &got)
			if got.Info["sub"] == nil || got.Claims["sub"] != got.Info["sub"] || got.Info["name"] != "Florent Verschueren" || got.Info[ns+"BENationalNumber"] != "80010299946" ||
				!secret && got.Info["age_gte_18"] != true {
				t.Errorf("%+v", got)
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
	g := newGoParty(t, reg.Issuer, reg.ClientID, reg.Secret, oauth2.AuthStyleInParams, "service:"+reg.Service, "profile", "email")
	if _, id := g.login(t); len(id.Subject) != 36 {
		t.Errorf("%+v", id)
	}
	g.refuses(t)
	bad := browse(t, g.conf.AuthCodeURL("s", oauth2.SetAuthURLParam("scope", "openid service:OTHER"), oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if bad.Get("error") != "invalid_scope" {
		t.Errorf("another service: %v", bad)
	}
	if status := stranded(t, g.elsewhere()); status != http.StatusBadRequest {
		t.Errorf("a way back that is not registered: %d", status)
	}
}
