package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/eid"
	"eidgate/internal/keytest"
	"eidgate/notify"
	"eidgate/relying"
)

// sound is a configuration without problems; the corpus below spoils it.
const sound = `server:
  public_url: https://eid.example.com
  page_rate: 0
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
	s.write(t, "zeros", strings.Repeat("00", 32))
	s.write(t, "master2", strings.Repeat("5b", 32))
	s.write(t, "master3", strings.Repeat("5c", 32))
	s.write(t, "sandbox-key", sandboxKey)
	s.write(t, "bad-secret", "whsec_c2hvcnQ=")
	s.write(t, "old-secret", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	s.write(t, "open", strings.Repeat("5a", 32))
	s.write(t, "signing", signingKey(t, 7))
	s.write(t, "old-signing", signingKey(t, 8))
	s.write(t, "open-signing", signingKey(t, 9))
	s.write(t, "store", "postgres://eidgate:a/b#c@db/eidgate")
	s.write(t, "curve", keytest.PEM(t, keytest.Curve(t, elliptic.P256())))
	s.write(t, "public", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\n-----END PUBLIC KEY-----\n")
	for _, name := range []string{"open", "open-signing"} {
		if err := os.Chmod(filepath.Join(s.dir, name), 0o644); err != nil { //nolint:gosec // that is the mistake
			t.Fatal(err)
		}
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
		{"a proxy that is not trusted", "  page_rate: 0\n", "", []string{
			"server.trusted_proxies: is empty, but TLS must end at a proxy: all people then have its address, and share page_rate and the limits of OpenID logins  [warning]"}},
		{"a proxy that is trusted", "page_rate: 0", "trusted_proxies: [10.0.0.0/8]", nil},
		{"no proxy", "page_rate: 0", "tls: {certificate: DIR/house.pem, key: DIR/house.pem}", nil},
		{"a proxy on this machine, for a developer", "https://eid.example.com\n  page_rate: 0", "http://localhost:8443", nil},
		{"too many pages", "page_rate: 0", "page_rate: 100001\n  trusted_proxies: [10.0.0.0/8]", []string{"server.page_rate: 100001 must be between 0 and 100000"}},
		{"fewer pages than none", "page_rate: 0", "page_rate: -1", []string{"server.page_rate: -1 must be between 0 and 100000"}},
		{"a certificate that is none", "page_rate: 0", "tls: {certificate: DIR/key, key: DIR/house.pem}", []string{"server.tls: tls: failed to find any PEM data in certificate input"}},
		{"a key of another certificate", "page_rate: 0", "tls: {certificate: DIR/house.pem, key: DIR/curve}", []string{"server.tls: tls: private key does not match public key"}},
		{"one address for two", "public_url: https", "listen: {public: \"127.0.0.1:8709\"}\n  public_url: https", []string{`server.listen.ops: "127.0.0.1:8709" is the address of another listener`}},
		{"two stores", `{url: "sqlite:DIR/x.db"}`, `{url: "sqlite:DIR/x.db", url_file: DIR/key}`, []string{"store: needs either url or url_file"}},
		{"another database", "sqlite:DIR/x.db", "mysql://x", []string{"store.url: must begin with sqlite: or postgres://"}},
		{"no file of SQLite", "sqlite:DIR/x.db", "sqlite:", []string{"store.url: names no file after the word sqlite"}},
		{"a password that is not escaped", `{url: "sqlite:DIR/x.db"}`, "{url_file: DIR/store}", []string{
			"store.url_file: is no address; in a password, write all but letters and digits as % and two hex digits"}},
		{"another database in a file", `{url: "sqlite:DIR/x.db"}`, "{url_file: DIR/key}", []string{"store.url_file: must begin with sqlite: or postgres://"}},
		{"a database that nobody knows", "sqlite:DIR/x.db", "postgres://eidgate@db/eidgate", []string{
			"store.url: does not verify who db is, or speaks without TLS where that is not offered; add sslmode=verify-full, and sslrootcert=FILE for a CA of your own  [warning]"}},
		{"one that is known", "sqlite:DIR/x.db", "postgres://eidgate@db/eidgate?sslmode=verify-full", nil},
		{"one on this machine", "sqlite:DIR/x.db", "postgres://eidgate@localhost/eidgate", nil},
		{"any page frames", keys, keys + "    switches: {wildcard_frame_origin: true}\n", []string{
			"accounts.0.switches.wildcard_frame_origin: lets every page on the web frame this account's pages; name the party's own in frames instead  [warning]"}},
		{"no master", "DIR/master", "DIR/none", []string{"keys.master_file: DIR/none cannot be read: no such file or directory"}},
		{"short master", "DIR/master", "DIR/short", []string{"keys.master_file: must hold 64 hex digits: openssl rand -hex 32"}},
		{"zeros for a master", "{master_file: DIR/master}", "{master_file: DIR/zeros}", []string{"keys.master_file: holds nothing but zeros, which everybody can guess: openssl rand -hex 32"}},
		{"one master twice", "{master_file: DIR/master}", "{master_file: DIR/master, former_master_file: DIR/master}", []string{"keys.former_master_file: is the same key as keys.master_file"}},
		{"two changes of the master", "{master_file: DIR/master}", "{master_file: DIR/master, next_master_file: DIR/master2, former_master_file: DIR/master3}",
			[]string{"keys.next_master_file: cannot be with former_master_file: one change of the master key at a time"}},
		{"short next master", "{master_file: DIR/master}", "{master_file: DIR/master, next_master_file: DIR/short}", []string{"keys.next_master_file: must hold 64 hex digits: openssl rand -hex 32"}},
		{"no former master", "{master_file: DIR/master}", "{master_file: DIR/master, former_master_file: DIR/none}", []string{"keys.former_master_file: DIR/none cannot be read: no such file or directory"}},
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
		{"notifications to nowhere", keys, keys + "    webhook_secret_file: DIR/secret\n    webhook_test: shop.example\n    configs: [{webhook_live: \"https://10.0.0.1/\"}]\n", []string{
			"accounts.0.webhook_test: cannot be used: address must begin with https:// or http://",
			"accounts.0.configs.0.webhook_live: cannot be used: host must be a name, not an address"}},
		{"callers in every form", keys, keys + "    allowed_ips: 10.0.0.1; 10.0.0.5-10.0.0.9;10.0.0.0/255.0.0.0 ;\n", nil},
		{"callers that are none", keys, keys + "    allowed_ips: 10.0.0.1;300.0.0.1\n", []string{
			`accounts.0.allowed_ips: "300.0.0.1" is no address, network or range, such as 203.0.113.7, 10.0.0.0/8 or 10.0.0.5-10.0.0.9`}},
		{"a language that is not here", keys, keys + "    language: klingon\n", []string{
			`accounts.0.language: "klingon" is not a language that pages have; known: da, de, en, fi, fr, nb, nl, sv`}},
		{"hosts that are addresses", keys, keys + "    hosts: [shop.example, \"shop.example:8443\", \"https://shop.example\", shop.example/x]\n", []string{
			`accounts.0.hosts.2: "https://shop.example" must be a host, perhaps with a port, for example shop.example`,
			`accounts.0.hosts.3: "shop.example/x" must be a host, perhaps with a port, for example shop.example`}},
		{"hosts that addresses write in another way", keys, keys + "    hosts: [Shop.example, \"köp.example:8443\", xn--kp-fka.example]\n    frames: [\"https://köp.example\"]\n", []string{
			"accounts.0.hosts.1: köp.example must be written as addresses have it: xn--kp-fka.example",
			"accounts.0.frames.0: köp.example must be written as addresses have it: xn--kp-fka.example"}},
		{"frames that are no origins", keys, keys + "    frames: [\"https://shop.example\", shop.example, \"https://shop.example/x\", \"*\"]\n", []string{
			`accounts.0.frames.1: "shop.example" must be an origin, for example https://shop.example`,
			`accounts.0.frames.2: "https://shop.example/x" must be an origin, for example https://shop.example`,
			`accounts.0.frames.3: "*" must be an origin, for example https://shop.example`}},
		{"listeners without a port", "store:", "  listen: {public: eid.example.com, ops: \"127.0.0.1:many\"}\nstore:", []string{
			`server.listen.public: "eid.example.com" must be an address and a port, for example ":8443" or "127.0.0.1:8443"`,
			`server.listen.ops: "127.0.0.1:many" must be an address and a port, for example ":8443" or "127.0.0.1:8443"`}},
		{"a short secret", keys, keys + "    webhook_secret_file: DIR/bad-secret\n", []string{
			`accounts.0.webhook_secret_file: must be "whsec_" and the base64 of 24 to 64 random bytes: echo "whsec_$(openssl rand -base64 32)"`}},
		{"a secret that replaces another", keys, keys + "    webhook_secret_file: DIR/secret\n    webhook_former_secret_file: DIR/old-secret\n", []string{
			"accounts.0.webhook_former_secret_file: notifications have a signature with each of two secrets; give the party the one in webhook_secret_file, and take this line away when it verifies with that  [warning]"}},
		{"a secret that replaces itself", keys, keys + "    webhook_secret_file: DIR/secret\n    webhook_former_secret_file: DIR/secret\n", []string{
			"accounts.0.webhook_former_secret_file: holds the same secret as webhook_secret_file, which must hold the new one"}},
		{"a secret that nothing replaces", keys, keys + "    webhook_former_secret_file: DIR/secret\n", []string{
			"accounts.0.webhook_former_secret_file: needs webhook_secret_file beside it: the secret that replaces it"}},
		{"notifications that a key signs", keys, keys + "    webhook_signing_key_file: DIR/signing\n    webhook_test: https://rp.example\n    configs: [{webhook_live: \"https://rp.example/\"}]\n", nil},
		{"a key of another kind", keys, keys + "    webhook_signing_key_file: DIR/curve\n", []string{"accounts.0.webhook_signing_key_file: must hold an Ed25519 key in PEM, as PKCS#8: openssl genpkey -algorithm ed25519"}},
		{"a secret for a key", keys, keys + "    webhook_signing_key_file: DIR/secret\n", []string{"accounts.0.webhook_signing_key_file: must hold an Ed25519 key in PEM, as PKCS#8: openssl genpkey -algorithm ed25519"}},
		{"a public key", keys, keys + "    webhook_signing_key_file: DIR/public\n", []string{"accounts.0.webhook_signing_key_file: must hold an Ed25519 key in PEM, as PKCS#8: openssl genpkey -algorithm ed25519"}},
		{"a key that all can read", keys, keys + "    webhook_signing_key_file: DIR/open-signing\n", []string{"accounts.0.webhook_signing_key_file: DIR/open-signing can be read by others; chmod 600"}},
		{"a key that replaces another", keys, keys + "    webhook_signing_key_file: DIR/signing\n    webhook_former_signing_key_file: DIR/old-signing\n", []string{
			"accounts.0.webhook_former_signing_key_file: notifications have a signature with each of two keys; give the party what eidgate delivery key prints first, and take this line away when it verifies with that  [warning]"}},
		{"a key that replaces itself", keys, keys + "    webhook_signing_key_file: DIR/signing\n    webhook_former_signing_key_file: DIR/signing\n", []string{
			"accounts.0.webhook_former_signing_key_file: holds the same key as webhook_signing_key_file, which must hold the new one"}},
		{"a key that nothing replaces", keys, keys + "    webhook_former_signing_key_file: DIR/signing\n", []string{
			"accounts.0.webhook_former_signing_key_file: needs webhook_signing_key_file beside it: the key that replaces it"}},
		{"a former secret that is none", keys, keys + "    webhook_secret_file: DIR/secret\n    webhook_former_secret_file: DIR/bad-secret\n", []string{
			`accounts.0.webhook_former_secret_file: must be "whsec_" and the base64 of 24 to 64 random bytes: echo "whsec_$(openssl rand -base64 32)"`}},
		{"an eID that is not here", keys, keys + "    eids: [idin, idinage, idin_age]\n", []string{
			`accounts.0.eids.2: "idin_age" is not an eID that this server has; known: bankidno, bankidse, idin, idinage, itsme, mitid`}},
		{"limits", keys, keys + "    limits: {setups: -1, reads: 100001}\n", []string{"accounts.0.limits.setups: -1 must be between 1 and 100000",
			"accounts.0.limits.reads: 100001 must be between 1 and 100000"}},
		{"kept too long", keys, keys + "    keep: 721h\n", []string{"accounts.0.keep: 721h must be between 5m and 720h"}},
		{"an agreement of one's own", keys, keys + "    configs: [{id: north, test_eids: {BANKID(north)}}, {id: south}]\n", nil},
		{"one configuration twice", keys, keys + "    configs: [{id: north}, {id: north}]\n", []string{`accounts.0.configs.1.id: "north" stands here a second time`}},
		{"an agreement that is missing", "test_eids: {BANKID(house)}\n", "", []string{
			"accounts.0.keys: test keys, but no eID is configured under test_eids  [warning]"}},
		{"roots of mail that are none", "accounts:", "mail: {host: h, from: a@b.example, ca_file: DIR/master}\naccounts:", []string{"mail.ca_file: holds no certificate in PEM"}},
		{"mail from nobody", "accounts:", "mail: {host: h, from: eid@}\naccounts:", []string{"mail.from: must be the address that mail comes from"}},
		{"mail without TLS", "accounts:", "mail: {host: h, from: a@b.example, port: 25}\naccounts:", []string{"mail.port: 25 is neither 465 nor 587; mail without TLS is not supported"}},
		{"mail with half a login", "accounts:", "mail: {host: h, from: a@b.example, user: eid}\naccounts:", []string{"mail.password_file: is required with user"}},
		{"mail with the other half", "accounts:", "mail: {host: h, from: a@b.example, password_file: DIR/master}\naccounts:", []string{"mail.user: is required with password_file"}},
		{"a log of another form", "accounts:", "log: {level: loud, format: xml}\naccounts:", []string{
			`log.level: "loud" is none of debug, info, warn, error`, `log.format: "xml" is neither json nor text`}},
		{"too long idle", "accounts:", "sessions: {idle: 2h}\naccounts:", []string{"sessions.idle: 2h must be between 1m and 1h"}},
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

// signingKey is a key in PEM whose seed is one byte again and again.
func signingKey(t *testing.T, seed byte) string {
	t.Helper()
	return keytest.PEM(t, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
}

// TestWebhookSecrets: the new one is the first, and keys come after secrets.
func TestWebhookSecrets(t *testing.T) {
	t.Parallel()
	s := newHouse(t)
	s.write(t, "old-secret", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	s.write(t, "signing", signingKey(t, 7))
	s.write(t, "old-signing", signingKey(t, 8))
	a := AccountConfig{ID: "a", WebhookSecretFile: filepath.Join(s.dir, "secret"), WebhookFormerFile: filepath.Join(s.dir, "old-secret"),
		WebhookSigningFile: filepath.Join(s.dir, "signing"), WebhookFormerSigningFile: filepath.Join(s.dir, "old-signing")}
	got, err := a.record()
	want := []relying.Secret{"whsec_dGhpcnR5LXR3byBieXRlcyBmb3Igb25lIHNlY3JldCE=", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
	for _, seed := range []byte{7, 8} {
		want = append(want, relying.Secret(notify.Private(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))))
	}
	if err != nil || !slices.Equal(got.WebhookSecrets, want) {
		t.Errorf("%v, %v", got, err)
	}
	keys, err := WebhookKeys(&Config{Accounts: []AccountConfig{{ID: "b"}, a}}, "")
	if err != nil || len(keys) != 2 || keys[0] != (WebhookKey{"a", "whpk_6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw="}) || keys[1].Key == keys[0].Key {
		t.Errorf("WebhookKeys = %v, %v", keys, err)
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

// A secret that another user owns is one that they know, whatever its mode. Root is
// warned, who may look for the user that the server is to run as.
func TestSecretsOfOthers(t *testing.T) {
	t.Parallel()
	for of, want := range map[[2]int][2]bool{{0, 1000}: {false, true}, {1000, 1000}: {false, true}, {4711, 1000}: {true, true}, {0, 0}: {false, false}, {4711, 0}: {true, false}} {
		if foreign, certain := strange(of[0], of[1]); foreign != want[0] || certain != want[1] {
			t.Errorf("a file of %d, and we are %d: %v, %v", of[0], of[1], foreign, certain)
		}
	}
	if os.Geteuid() != 0 { // what follows is for root, as whom it runs in .ci/run
		t.Skip("only root can give files away")
	}
	s := newHouse(t, "house")
	if err := os.Chown(filepath.Join(s.dir, "master"), 4711, -1); err != nil {
		t.Fatal(err)
	}
	want := []string{"keys.master_file: DIR/master belongs to another user, with number 4711, who can read it; chown it to the one that the server runs as  [warning]"}
	if got := problems(t, s, s.fill(sound)); cmp.Diff(want, got) != "" {
		t.Error(cmp.Diff(want, got))
	}
}

// Each switch of the configuration is one of the account.
func TestSwitches(t *testing.T) {
	t.Parallel()
	kinds := reflect.TypeFor[SwitchesConfig]()
	for i := range kinds.NumField() {
		a, name := AccountConfig{}, kinds.Field(i).Name
		switch f := reflect.ValueOf(&a.Switches).Elem().Field(i); f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		default:
			f.SetInt(3)
		}
		rec, err := a.record()
		if err != nil {
			t.Fatal(err)
		}
		if f := reflect.ValueOf(rec.Switches).FieldByName(name); !f.IsValid() || f.IsZero() {
			t.Errorf("%s has no effect", name)
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

// client is what an account's entry ends with that has a sound client.
const client = `keys: [{environment: test, file: DIR/key}]
    oidc_clients:
      - client_id: shop
        environment: test
        redirect_uris: [https://shop.example/cb]
        secrets: [{name: a, file: DIR/client-secret, expires: 2030-01-31}]
`

// TestClientConfiguration spoils a client in one place, as the corpus above
// does with the rest.
func TestClientConfiguration(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	s.write(t, "client-secret", strings.Repeat("x1", 16)+"\n")
	s.write(t, "short-secret", "short")
	s.write(t, "sandbox-secret", sandboxClientSecret)
	const jwk = `{"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}` // RFC 7515, appendix A.3
	s.write(t, "jwks.json", `{"keys": [{"kty": "EC", "crv": "P-192"}, `+jwk+`]}`)
	s.write(t, "useless.json", `{"keys": [{"kty": "EC", "crv": "P-192"}]}`)
	s.write(t, "jwk.json", jwk)
	s.write(t, "private.json", strings.Replace(jwk, "}", `, "d": "d"}`, 1))
	s.write(t, "text", "no JSON")
	const at, secrets = "accounts.0.oidc_clients.0", "secrets: [{name: a, file: DIR/client-secret, expires: 2030-01-31}]"
	for _, c := range []struct {
		name, old, with string
		want            []string
	}{
		{"sound", "", "", nil},
		{"no API keys beside it", "keys: [{environment: test, file: DIR/key}]\n", "language: en\n", nil},
		{"neither keys nor clients", client, "language: en\n", []string{"accounts.0.keys: needs at least one key, or oidc_clients beside it"}},
		{"everything", secrets, `client_name: Shop
        profile: signicat
        native: true
        hybrid: true
        post_logout_redirect_uris: [https://shop.example/]
        backchannel_logout_uri: https://shop.example/out
        any_loopback: true
        scopes: [openid, profile]
        token_endpoint_auth_method: private_key_jwt
        token_endpoint_auth_signing_alg: ES256
        jwks_file: DIR/jwks.json
        keys: [{name: k, file: DIR/jwk.json, not_before: 2026-01-01, not_after: 2027-01-01}]
        require_pkce: true
        require_pushed_authorization_requests: true
        require_signed_request_object: true
        request_object_signing_alg: ES256
        id_token_signed_response_alg: RS256
        id_token_encryption: {alg: ECDH-ES, enc: A256GCM}
        require_encrypted_id_token: true
        id_token_user_data: All
        userinfo_response: SignedAndEncrypted
        userinfo_signed_response_alg: ES256
        userinfo_encryption: {alg: ECDH-ES}
        claims_as_strings: true
        errors: signicat
        force_login: true
        reference_access_tokens: true
        lifetimes: {code: 30s, id_token: 5m, access_token: 5m, refresh: 1h, refresh_sliding: 30m, sso: 30m}
        eids: [bankidse]
        acr_values: idp:sbid
        force_acr_values: true
        frame_ancestors: [https://shop.example]`, nil},
		{"bare requests", secrets, secrets + "\n        accept_unsigned_request_object: true", nil},
		{"bare requests, elsewhere", secrets, secrets + "\n        profile: standard\n        accept_unsigned_request_object: true", []string{
			at + ".accept_unsigned_request_object: exists with the profile signicat only"}},
		{"FAPI and no key", secrets, "profile: fapi2", []string{at + ".jwks_file: or jwks_uri or keys must be there for private_key_jwt"}},
		{"FAPI with a secret", secrets, "profile: fapi2\n        jwks_uri: https://shop.example/jwks\n        " + secrets, []string{
			at + ".secrets: must be empty: a client has one method"}},
		{"several things at once", "[https://shop.example/cb]", "[http://shop.example/cb, https://shop.example/*#x]\n        scopes: [profile]\n        profile: best\n        lifetimes: {code: 1h}", []string{
			at + ".redirect_uris.0: must be https; http is for localhost, 127.0.0.1 and [::1]", at + ".redirect_uris.1: must have no fragment",
			at + ".scopes: must have openid, or nobody can log in",
			at + ".profile: must be signicat, standard, fapi2 or fapi2-ms",
			at + ".lifetimes.code: must be 15s to 10m0s"}},
		{"no redirect", "        redirect_uris: [https://shop.example/cb]\n", "", []string{at + ".redirect_uris: must have at least one"}},
		{"any loopback for live", "environment: test\n        redirect_uris", "environment: live\n        any_loopback: true\n        redirect_uris", []string{
			"accounts.0.oidc_clients: live clients, but no eID is configured under eids  [warning]", at + ".any_loopback: is for the environment test only"}},
		{"another environment", "environment: test\n        redirect_uris", "environment: prod\n        redirect_uris", []string{at + `.environment: must be "test" or "live"`}},
		{"no secret", secrets, "secrets: []", []string{at + ".secrets: must have at least one for client_secret_basic"}},
		{"a secret that is not there", "DIR/client-secret", "DIR/none", []string{at + ".secrets.0.file: DIR/none cannot be read: no such file or directory"}},
		{"a secret without a file", "file: DIR/client-secret, ", "", []string{at + ".secrets.0.file: is required"}},
		{"a short secret", "DIR/client-secret", "DIR/short-secret", []string{
			at + ".secrets.0.file: must hold 32 to 200 random letters and digits: openssl rand -hex 32"}},
		{"the sandbox's secret", "DIR/client-secret", "DIR/sandbox-secret", []string{at + ".secrets.0.file: holds the secret of the sandbox, which everybody knows"}},
		{"one secret twice", "expires: 2030-01-31}", "expires: 2030-01-31}, {name: b, file: DIR/client-secret}", []string{
			at + ".secrets.1.file: holds the same secret as " + at + ".secrets.0"}},
		{"no day", "2030-01-31", "2030-02-30", []string{at + `.secrets.0.expires: "2030-02-30" is not a day such as 2027-01-31`}},
		{"the sandbox's client", "client_id: shop", "client_id: " + sandboxClient, []string{at + ".client_id: is that of the sandbox, which everybody knows; choose another"}},
		{"two of one id", secrets, secrets + "\n      - client_id: shop\n        environment: test\n        redirect_uris: [https://shop.example/cb]\n        token_endpoint_auth_method: none", []string{
			"accounts.0.oidc_clients.1.client_id: is the id of " + at + " too"}},
		{"keys that are none", secrets, "token_endpoint_auth_method: private_key_jwt\n        jwks_file: DIR/text\n        keys: [{name: k, file: DIR/private.json}, {name: l}]", []string{
			at + ".jwks_file: does not hold a JWK set (jose: json: no object)",
			at + ".keys.0.file: does not hold the JWK of a public key: RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519 (jose: private: member d)",
			at + ".keys.1.file: is required: the public key as a JWK"}},
		{"a set without a use", secrets, "token_endpoint_auth_method: private_key_jwt\n        jwks_file: DIR/useless.json", []string{
			at + ".jwks_file: has not one JWK of a public key: RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519"}},
		{"an eID that is not here", secrets, secrets + "\n        eids: [bankid]", []string{at + `.eids.0: "bankid" is not an eID that this server has`}},
		{"an eID that the account may not use", client, "eids: [bankidse]\n    " + client + "        eids: [idin, bankidse]\n", []string{
			at + `.eids.0: "idin" is not among the account's eids`}},
	} {
		text := strings.Replace(sound, "keys: [{environment: test, file: DIR/key}]\n", client, 1)
		if c.old != "" {
			if strings.Count(text, c.old) == 0 {
				t.Errorf("%s: there is no %q", c.name, c.old)
			}
			text = strings.Replace(text, c.old, c.with, 1)
		}
		if got := problems(t, s, s.fill(text)); cmp.Diff(c.want, got) != "" {
			t.Errorf("%s:\n%s", c.name, cmp.Diff(c.want, got))
		}
	}
}

// TestThemeConfiguration: themes that could not be read, or not be found, are
// refused with what to do.
func TestThemeConfiguration(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	s.write(t, "logo.png", string(lamp))
	s.write(t, "logo.svg", "<svg/>")
	const themes = `language: en
    layout: night
    configs: [{id: north, layout: day}]
    keys: [{environment: test, file: DIR/key}]
    themes:
      - {name: night, logo_file: DIR/logo.png, accent: "#8a4b00", ground: "#fdf3e3", corners: soft, font: serif, light: true, help: "https://shop.example/{language}/help"}
      - {name: day, privacy: https://shop.example/privacy}
`
	const at = "accounts.0.themes."
	for _, c := range []struct {
		name, old, with string
		want            []string
	}{
		{"sound", "", "", nil},
		{"no name", "name: day, ", "", []string{"accounts.0.configs.0.layout: \"day\" is the name of no theme of this account", at + "1.name: is required: requests choose by it"}},
		{"one name twice", "name: day", "name: night", []string{"accounts.0.configs.0.layout: \"day\" is the name of no theme of this account", at + "1.name: \"night\" stands here a second time"}},
		{"a long name", "name: day", "name: " + strings.Repeat("d", 101), []string{"accounts.0.configs.0.layout: \"day\" is the name of no theme of this account", at + "1.name: has 101 characters, of at most 100"}},
		{"a layout that is none", "layout: night", "layout: Night", []string{"accounts.0.layout: \"Night\" is the name of no theme of this account"}},
		{"no logo", "logo.png", "none.png", []string{at + "0.logo_file: DIR/none.png cannot be read: no such file or directory"}},
		{"a logo that is code", "logo.png", "logo.svg", []string{at + "0.logo_file: DIR/logo.svg is no picture in PNG, JPEG or GIF"}},
		{"pale", "#8a4b00", "#ff9900", []string{at + "0.accent: links in #ff9900 have a contrast of 1.9 to 1, of at least 4.5; the nearest that can be read is #a16000"}},
		{"two at once", "corners: soft, font: serif", "corners: sharp, font: comic", []string{
			at + "0.corners: \"sharp\" is none of round, soft, square", at + "0.font: \"comic\" is none of humanist, rounded, serif, system"}},
		{"a link that runs", "https://shop.example/privacy", "javascript:alert(1)", []string{
			at + "1.privacy: \"javascript:alert(1)\" must be an https address, such as https://shop.example/{language}/privacy"}},
		{"a link to a host of each language", "https://shop.example/{language}/help", "https://{language}.shop.example/help", nil},
		{"a link with another place", "{language}/help", "{lang}/help", nil},
	} {
		text := strings.Replace(sound, "keys: [{environment: test, file: DIR/key}]\n", themes, 1)
		if c.old != "" {
			if strings.Count(text, c.old) == 0 {
				t.Errorf("%s: there is no %q", c.name, c.old)
			}
			text = strings.Replace(text, c.old, c.with, 1)
		}
		if got := problems(t, s, s.fill(text)); cmp.Diff(c.want, got) != "" {
			t.Errorf("%s:\n%s", c.name, cmp.Diff(c.want, got))
		}
	}
}

// TestClientsAreWritten starts with clients, and again with one of them gone.
func TestClientsAreWritten(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	secret := strings.Repeat("x1", 16)
	s.write(t, "client-secret", secret+"\n")
	text := strings.Replace(sound, "keys: [{environment: test, file: DIR/key}]\n", client, 1)
	second := "      - {client_id: second, environment: test, redirect_uris: [https://shop.example/cb], token_endpoint_auth_method: none}\n"
	if got := strings.Join(s.config(t, text+second).Summary(), "\n"); !strings.Contains(got, "Shop: 1 test and 0 live keys, 0 configurations, 2 OpenID Connect clients") {
		t.Errorf("the summary does not count them:\n%s", got)
	}
	c := s.core(t, text+second)
	got, err := c.store.Client(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	want := &relying.Client{ID: "shop", Account: testAccount, Environment: eid.Test, Name: "Shop", Profile: relying.Signicat,
		Redirects: []string{"https://shop.example/cb"}, Scopes: []string{"openid"}, Auth: relying.SecretBasic,
		Secrets: []relying.ClientSecret{{Name: "a", Hash: relying.HashSecret(secret), Expires: time.Date(2030, 1, 31, 0, 0, 0, 0, time.UTC)}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := c.store.Client(t.Context(), "second"); err != nil {
		t.Error(err)
	}
	if err := s.config(t, text).accounts(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.Client(t.Context(), "second"); !errors.Is(err, relying.ErrUnknown) {
		t.Errorf("a client that was taken away: %v, want ErrUnknown", err)
	}
}

// TestNewerDatabase: a program that is older than the tables runs, and says so.
func TestNewerDatabase(t *testing.T) {
	t.Parallel()
	cfg := newHouse(t, "house").config(t, sound)
	file := strings.TrimPrefix(cfg.Store.URL, "sqlite:")
	tell := func(f func(context.Context, *Config, io.Writer) error) string {
		var out strings.Builder
		if err := f(t.Context(), cfg, &out); err != nil {
			t.Error(err)
		}
		return out.String()
	}
	start := func() string {
		var log bytes.Buffer
		p, err := cfg.parts("test", slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		c, err := newCore(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		c.close(t.Context())
		return log.String()
	}
	const ahead = "the database is ahead of this version: "
	if got := tell(MigrateUp) + tell(MigrateStatus) + start(); strings.Contains(got, ahead) {
		t.Errorf("of one that is not: %s", got)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9007, true)`)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"up": tell(MigrateUp), "status": tell(MigrateStatus), "start": start()} {
		if strings.Count(got, ahead) != 1 || strings.Contains(got, "up to date") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestKeysAreTakenAway: a key, and what an account had, count no more once they
// are not in the configuration.
func TestKeysAreTakenAway(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	s.write(t, "client-secret", strings.Repeat("x1", 16)+"\n")
	was, err := readKey(s.dir + "/key")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(sound, "keys: [{environment: test, file: DIR/key}]\n", client, 1)
	c := s.core(t, text)
	k, err := c.store.Caller(t.Context(), was)
	if err != nil {
		t.Fatal(err)
	}
	const now = "7c1f6a0e-0000-4000-8000-0000000000bb"
	s.write(t, "key", now+"\n")
	if err := s.config(t, text).accounts(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.Caller(t.Context(), was); !errors.Is(err, relying.ErrUnknown) {
		t.Errorf("a key that was taken away: %v, want ErrUnknown", err)
	}
	if text, err := c.store.KeyText(t.Context(), k.Key.ID); text != was || err != nil {
		t.Errorf("what its sessions' notifications are signed with: %q, %v", text, err)
	}
	if _, err := c.store.Caller(t.Context(), now); err != nil {
		t.Errorf("the key in its place: %v", err)
	}
	other := strings.Replace(sound, testAccount, "7c1f6a0e-0000-4000-8000-0000000000cc", 1)
	if err := s.config(t, other).accounts(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got, err := c.store.Caller(t.Context(), now); err != nil || got.Account.ID == testAccount {
		t.Errorf("a key that another account has now: %+v, %v", got.Account, err)
	}
	if _, err := c.store.Client(t.Context(), "shop"); !errors.Is(err, relying.ErrUnknown) {
		t.Errorf("a client of an account that was taken away: %v, want ErrUnknown", err)
	}
	s.write(t, "key", was+"\n")
	if err := s.config(t, text).accounts(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got, err := c.store.Caller(t.Context(), was); err != nil || got.Account.ID != testAccount {
		t.Errorf("a key that is there again: %+v, %v", got.Account, err)
	}
}

// TestClientGoesToAnotherAccount: a client may go to another account, which stands
// before or after its own.
func TestClientGoesToAnotherAccount(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	s.write(t, "client-secret", strings.Repeat("x1", 16)+"\n")
	s.write(t, "other-key", "7c1f6a0e-0000-4000-8000-0000000000bb\n")
	const second = "7c1f6a0e-0000-4000-8000-000000000002"
	none := sound + "  - id: " + second + "\n    name: Second\n    keys: [{environment: test, file: DIR/other-key}]\n"
	has := func(key string) string {
		return strings.Replace(none, "keys: [{environment: test, file: DIR/"+key+"}]\n", strings.Replace(client, "DIR/key", "DIR/"+key, 1), 1)
	}
	inFirst, inSecond := has("key"), has("other-key")
	c := s.core(t, inFirst)
	for _, to := range []struct{ text, account string }{{inSecond, second}, {inFirst, testAccount}} {
		if err := s.config(t, to.text).accounts(t.Context(), c); err != nil {
			t.Errorf("to %s: %v", to.account, err)
		}
		if got, err := c.store.Client(t.Context(), "shop"); err != nil || got.Account != to.account {
			t.Errorf("in %s: %+v, %v", to.account, got, err)
		}
	}
}

// TestSandboxClient holds that the sandbox's client is one that the rules
// allow.
func TestSandboxClient(t *testing.T) {
	t.Parallel()
	c := devClient("http://localhost:8704")
	secure := devClient("https://localhost:8704")
	if err := errors.Join(c.Check(), secure.Check()); err != nil {
		t.Error(err)
	}
	for _, demo := range []string{"http://localhost:8704", "https://localhost:8704", "http://192.168.7.9:8704", "https://192.168.7.9:8704"} {
		c := devClient(demo)
		if !c.Redirect(demo+"/oidc/callback") || !c.Logout(demo+"/oidc/bye") || !c.Redirect("http://127.0.0.1:3000/cb") || c.Redirect("http://192.168.7.8:8704/oidc/callback") {
			t.Errorf("with a demo shop at %s, the wrong ones may", demo)
		}
	}
	if _, ok := c.Secret(sandboxClientSecret, time.Now()); !ok {
		t.Error("its secret is not its secret")
	}
	for uri, want := range map[string]bool{"http://localhost:8704/cb": true, "http://127.0.0.1:1/": true, "http://[::1]:9/x?y": true,
		"https://localhost:5001/cb": true, "https://shop.example/cb": false, "http://localhost.example/": false} {
		if got := c.Redirect(uri); got != want {
			t.Errorf("Redirect(%s) = %v, want %v", uri, got, want)
		}
	}
}
