package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sound is a configuration without problems; the corpus below spoils it.
const sound = `server:
  public_url: https://eid.example.com
store: {url: "sqlite:DIR/x.db"}
keys: {master_file: DIR/master}
test_eids: {BANKID(house)}
accounts:
  - id: 7c1f6a0e-0000-4000-8000-000000000001
    name: Shop
    keys: [{environment: test, file: DIR/key}]
`

// TestConfigurationCorpus spoils a sound file in one place and holds what is
// said of it; nothing else may be.
func TestConfigurationCorpus(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house", "north")
	s.write(t, "short", "5a5a")
	s.write(t, "sandbox-key", sandboxKey)
	s.write(t, "bad-secret", "whsec_c2hvcnQ=")
	s.write(t, "open", strings.Repeat("5a", 32))
	if err := os.Chmod(filepath.Join(s.dir, "open"), 0o644); err != nil { //nolint:gosec // that is the mistake
		t.Fatal(err)
	}
	const keys = "keys: [{environment: test, file: DIR/key}]\n"
	for _, c := range []struct {
		name, old, with string
		want            []string
	}{
		{"sound", "", "", nil},
		{"no name", "public_url: https://eid.example.com", "listen: {}", []string{"server.public_url: is required, for example https://eid.example.com"}},
		{"http", "https://eid", "http://eid", []string{"server.public_url: must be https"}},
		{"http on this machine", "https://eid.example.com", "http://localhost:8443", nil},
		{"a path", "example.com", "example.com/", []string{`server.public_url: "https://eid.example.com/" must be a scheme and a host and nothing else, for example https://eid.example.com`}},
		{"half of TLS", "store:", "  tls: {certificate: DIR/house.pem}\nstore:", []string{
			"server.tls: needs both certificate and key, or neither behind a proxy", "server.tls.key: is required"}},
		{"a proxy that is no network", "store:", "  trusted_proxies: [10.0.0.1]\nstore:", []string{`server.trusted_proxies.0: "10.0.0.1" is not a network such as 10.0.0.0/8`}},
		{"two stores", `{url: "sqlite:DIR/x.db"}`, `{url: "sqlite:DIR/x.db", url_file: DIR/key}`, []string{"store: needs either url or url_file"}},
		{"another database", "sqlite:DIR/x.db", "mysql://x", []string{"store.url: must begin with sqlite: or postgres://"}},
		{"no master", "DIR/master", "DIR/none", []string{"keys.master_file: DIR/none cannot be read: no such file or directory"}},
		{"short master", "DIR/master", "DIR/short", []string{"keys.master_file: must hold 64 hex digits: openssl rand -hex 32"}},
		{"open master", "DIR/master", "DIR/open", []string{"keys.master_file: DIR/open can be read by others; chmod 600"}},
		{"unknown key", "    name: Shop", "    name: Shop\n    weebhook_test: x", []string{`accounts.0.weebhook_test: unknown key. Did you mean "webhook_test"?`}},
		{"twice", "    name: Shop", "    name: Shop\n    name: Stop", []string{`accounts.0.name: stands here a second time`}},
		{"no certificate", "certificate: DIR/house.pem, ", "", []string{"test_eids.bankid_se.certificate: is required: the RP certificate of your agreement, as PKCS#12 or PEM"}},
		{"no key to it", "DIR/house.pem", "DIR/tls-root.pem", []string{"test_eids.bankid_se.certificate: the certificate and its key do not fit, or the key is missing"}},
		{"half of a test system", "tls_roots: DIR/tls-root.pem, ", "", []string{"test_eids.bankid_se: url, tls_roots and signature_roots belong together"}},
		{"an old certificate", "certificate: DIR/house.pem, ", "certificate: DIR/house.pem, previous: {certificate: DIR/none}, ", []string{
			"test_eids.bankid_se.previous.certificate: DIR/none cannot be read: no such file or directory"}},
		{"a test system for live", "accounts:", "eids: {BANKID(house)}\naccounts:", []string{
			"eids.bankid_se.url: is only for test_eids: live keys use BankID itself", "eids.bankid_se.tls_roots: is only for test_eids: live keys use BankID itself",
			"eids.bankid_se.signature_roots: is only for test_eids: live keys use BankID itself"}},
		{"a key of the sandbox", "DIR/key", "DIR/sandbox-key", []string{"accounts.0.keys.0.file: holds a key of the sandbox, which everybody knows"}},
		{"a key that is none", "DIR/key", "DIR/short", []string{"accounts.0.keys.0.file: does not hold a UUID; make one with: uuidgen"}},
		{"one key twice", keys, "keys: [{environment: test, file: DIR/key}, {environment: test, file: DIR/key}]\n", []string{
			"accounts.0.keys.1.file: holds the same key as accounts.0.keys.0"}},
		{"live without hosts or eID", keys, "keys: [{environment: live, file: DIR/live-key}]\n", []string{
			"accounts.0.hosts: is required with live keys: the hosts that people may be sent back to",
			"accounts.0.keys: live keys, but no eID is configured under eids  [warning]"}},
		{"notifications without a secret", keys, keys + "    webhook_test: https://rp.example\n", []string{"accounts.0.webhook_secret_file: is required with notifications"}},
		{"a short secret", keys, keys + "    webhook_secret_file: DIR/bad-secret\n", []string{
			`accounts.0.webhook_secret_file: must be "whsec_" and the base64 of 24 to 64 random bytes: echo "whsec_$(openssl rand -base64 32)"`}},
		{"an eID that is not here", keys, keys + "    eids: [idin, idinage, idin_age]\n", []string{
			`accounts.0.eids.2: "idin_age" is not an eID that this server has; known: bankidse, idin, idinage`}},
		{"limits", keys, keys + "    limits: {setups: -1, reads: 100001}\n", []string{"accounts.0.limits.setups: -1 must be between 1 and 100000",
			"accounts.0.limits.reads: 100001 must be between 1 and 100000"}},
		{"kept too long", keys, keys + "    keep: 721h\n", []string{"accounts.0.keep: 721h0m0s must be between 5m and 720h"}},
		{"an agreement of one's own", keys, keys + "    configs: [{id: north, test_eids: {BANKID(north)}}, {id: south}]\n", nil},
		{"one configuration twice", keys, keys + "    configs: [{id: north}, {id: north}]\n", []string{`accounts.0.configs.1.id: "north" stands here a second time`}},
		{"an agreement that is missing", "test_eids: {BANKID(house)}\n", "", []string{
			"accounts.0.keys: test keys, but no eID is configured under test_eids  [warning]"}},
		{"roots of mail that are none", "accounts:", "mail: {host: h, from: a@b.example, ca_file: DIR/master}\naccounts:", []string{"mail.ca_file: holds no certificate in PEM"}},
		{"mail without TLS", "accounts:", "mail: {host: h, from: a@b.example, port: 25}\naccounts:", []string{"mail.port: 25 is neither 465 nor 587; mail without TLS is not supported"}},
		{"a log of another form", "accounts:", "log: {level: loud, format: xml}\naccounts:", []string{
			`log.level: "loud" is none of debug, info, warn, error`, `log.format: "xml" is neither json nor text`}},
		{"too long idle", "accounts:", "sessions: {idle: 2h}\naccounts:", []string{"sessions.idle: 2h0m0s must be between 1m0s and 1h0m0s"}},
	} {
		text := s.fill(sound)
		if c.old != "" {
			old := s.fill(c.old)
			if strings.Count(text, old) == 0 {
				t.Errorf("%s: there is no %q", c.name, old)
			}
			text = strings.Replace(text, old, s.fill(c.with), 1)
		}
		if got := problems(t, s, text); cmp.Diff(c.want, got) != "" {
			t.Errorf("%s:\n%s", c.name, cmp.Diff(c.want, got))
		}
	}
}

// TestEveryConfigurationFindsAnAgreement holds the rule for servers that have
// none themselves: all of an account's configurations do, or none.
func TestEveryConfigurationFindsAnAgreement(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "north")
	const lacks = "accounts.0.configs: test_eids has no bankid_se, so each of these, and one of them without an id, needs its own"
	for configs, want := range map[string][]string{
		"[{id: north, test_eids: {BANKID(north)}}]":                                  nil,
		"[{test_eids: {BANKID(north)}}, {id: north, test_eids: {BANKID(north)}}]":    nil,
		"[{id: north, test_eids: {BANKID(north)}}, {id: south}]":                     {lacks},
		"[{id: n, test_eids: {BANKID(north)}}, {id: s, test_eids: {BANKID(north)}}]": {lacks},
	} {
		text := strings.Replace(s.fill(sound), s.fill("test_eids: {BANKID(house)}\n"), "", 1) + s.fill("    configs: "+configs+"\n")
		if got := problems(t, s, text); cmp.Diff(want, got) != "" {
			t.Errorf("%s:\n%s", configs, cmp.Diff(want, got))
		}
	}
}

// problems reads a configuration and lists what is wrong, without places.
func problems(t *testing.T, s *house, text string) (out []string) {
	t.Helper()
	s.write(t, "corpus.yaml", text)
	_, all, err := ReadConfig(filepath.Join(s.dir, "corpus.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		_, line, _ := strings.Cut(p.String(), "  ")
		out = append(out, strings.ReplaceAll(line, s.dir, "DIR"))
	}
	return out
}
