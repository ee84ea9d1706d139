// Package conformance holds the provider to the certification modules of the
// OpenID Foundation: each module of a plan is a sub-test of the module's name,
// over https against a sandbox that runs in this process. What is served, and
// how strictly, is in docs/protocols/oidc.md; rules are cited by the names OP-…
// of the checks.
//
// The tests are a relying party of their own: they read and write tokens with
// another library than the provider, and their browser follows whatever pages
// say. testdata/manifest.txt lists the modules of all plans. Each must have run,
// or say there why it does not, so that none is lost unseen.
//
// No test waits for time to pass. Modules that need a later hour move the
// sandbox's clock; they have a sandbox to themselves and run one by one.
package conformance

import (
	"flag"
	"os"
	"strings"
	"sync"
	"testing"
)

// A plan is a certification profile, with the clients that its modules use.
type plan struct {
	name    string
	clients func(testing.TB, *system) []*client // two
	modules []module
}

// A module is one of the suite's.
type module struct {
	id    string
	moves bool   // needs time to pass
	of    string // the way that it is about alone; "" for all of them
	run   func(*testing.T, *env)
}

// An env is what a module works with.
type env struct {
	*system
	first, other *client
}

var plans = []plan{
	{"Config OP", twoOf(basicClient), []module{{id: "oidcc-discovery-endpoint-verification", run: discovery}}},
	{"Basic OP", twoOf(basicClient), basicModules},
	{"Form Post OP", twoOf(func(t testing.TB, s *system) *client { return basicClient(t, s).by("form_post") }), basicModules},
	{"RP-Initiated Logout OP", twoOf(basicClient), logoutModules},
	{"Back-Channel Logout OP", twoOf(basicClient), backChannelModules},
	{"FAPI 2.0 Security Profile", fapiClients("fapi2", "form_post"), fapiModules},
	{"FAPI 2.0 Security Profile, mtls and dpop", tlsClients("tls_client_auth", "self_signed_tls_client_auth", true), without(fapiModules, ofAssertions)},
	{"FAPI 2.0 Security Profile, private_key_jwt and mtls", tlsClients("private_key_jwt", "private_key_jwt", false), without(fapiModules, ofProofs)},
	{"FAPI 2.0 Security Profile, mtls and mtls", tlsClients("self_signed_tls_client_auth", "tls_client_auth", false), without(fapiModules, ofProofs, ofAssertions)},
	{"FAPI 2.0 Message Signing", fapiClients("fapi2-ms", "form_post.jwt"), append(fapiModules[:len(fapiModules):len(fapiModules)], signedModules...)},
}

func twoOf(one func(testing.TB, *system) *client) func(testing.TB, *system) []*client {
	return func(t testing.TB, s *system) []*client { return []*client{one(t, s), one(t, s)} }
}

func basicClient(t testing.TB, s *system) *client {
	t.Helper()
	return s.client(t, map[string]any{"post_logout_redirect_uris": []string{loggedOut}})
}

// fapiClients sign with different algorithms, and are answered in different
// ways.
func fapiClients(profile, mode string) func(testing.TB, *system) []*client {
	return func(t testing.TB, s *system) []*client {
		return []*client{s.fapiClient(t, profile, "PS256", "ES256"), s.fapiClient(t, profile, "ES256", "EdDSA").by(mode)}
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	ran := map[string]bool{}
	still, moving := newSystem(t), newSystem(t)
	run := func(t *testing.T, p *plan, m *module, s *system, clients []*client) {
		t.Helper()
		t.Run(m.id, func(t *testing.T) {
			if !m.moves {
				t.Parallel()
			}
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				ran[p.name+" "+m.id] = !t.Skipped()
			}()
			m.run(t, &env{clients[0].s, clients[0], clients[1]})
		})
	}
	t.Run("still", func(t *testing.T) {
		for i := range plans {
			p := &plans[i]
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				clients := p.clients(t, still)
				for j := range p.modules {
					if m := &p.modules[j]; !m.moves {
						run(t, p, m, still, clients)
					}
				}
			})
		}
		t.Run("moving", func(t *testing.T) {
			t.Parallel()
			for i := range plans {
				p := &plans[i]
				t.Run(p.name, func(t *testing.T) {
					clients := p.clients(t, moving)
					for j := range p.modules {
						if m := &p.modules[j]; m.moves {
							run(t, p, m, moving, clients)
						}
					}
				})
			}
		})
	})
	if flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" {
		checkManifest(t, ran)
	}
}

// checkManifest compares what has run with what there is. A line of the
// manifest is a module, with the reason after a colon why it does not run.
func checkManifest(t *testing.T, ran map[string]bool) {
	t.Helper()
	raw, err := os.ReadFile("testdata/manifest.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed, in, count := map[string]bool{}, "", 0
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			in = strings.TrimSuffix(name, "]")
			continue
		}
		id, reason, excused := strings.Cut(line, ":")
		name := in + " " + id
		switch {
		case listed[name]:
			t.Errorf("%s is listed twice", name)
		case excused && strings.TrimSpace(reason) == "":
			t.Errorf("%s has no reason not to run", name)
		case excused && ran[name]:
			t.Errorf("%s has run, and the manifest says why it does not", name)
		case !excused && !ran[name]:
			t.Errorf("%s has not run", name)
		}
		listed[name] = true
		count++
	}
	for name := range ran {
		if !listed[name] {
			t.Errorf("%s has run and is not in the manifest", name)
		}
	}
	if want := 1 + 38 + 38 + 11 + 2 + 4*56 + 70; count != want {
		t.Errorf("the manifest lists %d modules, and the plans have %d", count, want)
	}
}

func discovery(t *testing.T, e *env) {
	p := e.provider(t)
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} {
		if p.at(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	r := e.send(t, "GET", e.issuer()+"/.well-known/openid-configuration", nil, "")
	other := e.send(t, "GET", strings.Replace(e.issuer(), "/auth/open", "/.well-known/oauth-authorization-server/auth/open", 1), nil, "")
	if string(other.body) != string(r.body) || other.status != 200 {
		t.Errorf("the metadata of RFC 8414 are others: %d", other.status)
	}
}
