package server

import (
	"context"
	"slices"
	"strings"
	"testing"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/relying"
)

const twoParties = `
server: {public_url: "http://localhost:8443"}
store: {url: "sqlite:DIR/test.db"}
keys: {master_file: DIR/master}
test_eids:
  BANKID(house)
accounts:
  - {id: 7c1f6a0e-0000-4000-8000-000000000001, name: Shops, keys: [{environment: test, file: DIR/key}],
     configs: [{id: north, test_eids: {BANKID(north)}}, {id: south}]}
`

// begin starts a login that nobody's browser watches, and returns its session.
func begin(t *testing.T, c *core, config string) *broker.Session {
	t.Helper()
	caller, err := c.store.Caller(t.Context(), testKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.broker.Create(t.Context(), broker.NewSession{Caller: caller, API: "test", Config: config, Purpose: eid.Identify, Language: "en",
		Spec: broker.Spec{Headless: true, Params: map[string]string{"end_user_ip": "192.0.2.7"},
			Methods: []broker.Method{{Name: "sbid-another", EID: eid.BankIDSE, Mode: "other"}}}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.broker.Open(t.Context(), s.ID, broker.Handle{Cookie: "a browser"}, connector.Browser{}, nil, false)
	if err != nil || v.Place != broker.AtStep {
		t.Fatalf("open: %+v, %v", v, err)
	}
	return &v.Session
}

// ref is the name that the simulator has for a session's order.
func ref(t *testing.T, c *core, s *broker.Session) string {
	t.Helper()
	refs, err := c.broker.Refs(t.Context(), s.ID)
	if err != nil || len(refs) != 1 {
		t.Fatalf("refs = %v, %v", refs, err)
	}
	return string(refs[0])
}

// TestPartysOwnAgreementWins holds which certificate begins an order: that of
// the configuration, of the account, of the server, in this order.
func TestPartysOwnAgreementWins(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house", "north", "sole")
	sole := strings.Replace(twoParties, "configs: [{id: north, test_eids: {BANKID(north)}}, {id: south}]", "configs: [{id: only, test_eids: {BANKID(sole)}}]", 1)
	general := strings.Replace(twoParties, "{id: south}", "{test_eids: {BANKID(sole)}}, {id: south}", 1)
	for _, c := range []struct{ name, yaml, config, want string }{
		{"of the configuration", twoParties, "north", "north"},
		{"of the server", twoParties, "south", "house"},
		{"of the server without a configid", twoParties, "", "house"},
		{"of the only configuration", sole, "", "sole"},
		{"of the configuration without an id", general, "", "sole"},
		{"the same, for one that has none", general, "south", "sole"},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := s.core(t, strings.Replace(c.yaml, "test.db", strings.ReplaceAll(c.name, " ", "-")+".db", 1))
			defer func() { _ = node.store.Close() }() // the test is over
			v, err := s.sim.Order(ref(t, node, begin(t, node, c.config)))
			if err != nil || v.RP != c.want {
				t.Errorf("the app shows %q, %v; want %q", v.RP, err, c.want)
			}
			for line, want := range map[string]string{
				`eidgate_upstream_request_duration_seconds_count{eid="bankidse",environment="test",operation="auth",result="ok"}`: "1",
				`eidgate_certificate_expiry_timestamp_seconds{account="",config="",eid="bankidse",environment="test",use="rp"}`:   "e+09",
			} {
				if got := scrape(t, node.metrics, line); !strings.HasSuffix(got, want) {
					t.Errorf("%s = %q, want %s", line, got, want)
				}
			}
		})
	}
}

// TestRenewedCertificate restarts a server with another certificate while an
// order runs. BankID gives the order to nobody but who began it.
func TestRenewedCertificate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, renewed string
		want          eid.Reason
	}{
		{"with the one before", "BANKID(new , previous: {certificate: DIR/old.pem})", ""},
		{"without it", "BANKID(new)", eid.OutcomeUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newHouse(t, "old", "new")
			before := strings.Replace(twoParties[:strings.Index(twoParties, ",\n     configs")]+"}\n", "BANKID(house)", "BANKID(old)", 1)
			node := s.core(t, before)
			stop := run(t, node)
			session := begin(t, node, "")
			order := ref(t, node, session)
			stop()

			node = s.core(t, strings.Replace(before, "BANKID(old)", c.renewed, 1))
			defer run(t, node)()
			if _, err := s.sim.Event(order, "approve", "ada"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the session ends", func() bool {
				got, err := node.store.Session(t.Context(), session.ID)
				if err != nil {
					t.Fatal(err)
				}
				session = got
				return got.State.Ended()
			})
			if session.Reason != c.want {
				t.Errorf("the session ended %s %q, want %q", session.State, session.Reason, c.want)
			}
			if v, err := s.sim.Order(ref(t, node, begin(t, node, ""))); err != nil || v.RP != "new" {
				t.Errorf("a later order shows %q, %v", v.RP, err)
			}
		})
	}
}

// run does a node's background work until the returned function stops it and
// closes its store.
func run(t *testing.T, c *core) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		if err := c.store.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAgreementsKnowWhoHasOne(t *testing.T) {
	t.Parallel()
	a := agreements{{eid.Test, eid.BankIDSE, "a", "x"}: {}, {eid.Test, eid.BankIDSE, "b", ""}: {}}
	for account, want := range map[string]bool{"a": false, "b": true, "c": false} {
		if got := a.has(&relying.Account{ID: account}, eid.Test, eid.BankIDSE); got != want {
			t.Errorf("has(%s) = %v", account, got)
		}
	}
	if a.has(&relying.Account{ID: "b"}, eid.Live, eid.BankIDSE) {
		t.Error("an agreement of the test environment counts in live")
	}
	if got := a.eids(eid.Test); !slices.Equal(got, []eid.EID{eid.BankIDSE}) {
		t.Errorf("eids = %v", got)
	}
}
