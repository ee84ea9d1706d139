package rig

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // a driver of Size and Fill
	_ "modernc.org/sqlite"             // the other

	"eidgate/sandbox"
)

// What every node of a rig is configured with.
const (
	Account = "7c1f6a0e-0000-4000-8000-000000000001"
	Key     = "7c1f6a0e-0000-4000-8000-0000000000aa" // of the test environment
	Public  = "http://eid.localhost"                 // the one name; Party dials the nodes behind it
	Person  = "199001012385"                         // ada, who is who logs in when nobody says
)

var secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("thirty-two bytes for one secret!"))

// A System is a configuration, the simulator that it names, and its nodes.
type System struct {
	Issuer *Issuer
	Bank   *Bank
	Itsme  *Itsme
	store  string
	dir    string
	nodes  int
}

// A Node is one "eidgate serve".
type Node struct {
	*Process
	Addr string // host:port of the public listener
	Ops  string // http://host:port
}

// New starts the simulator, whose people do at once what auto says, and
// migrates the store.
func New(t testing.TB, store string, auto sandbox.Outcome) *System {
	t.Helper()
	s := &System{store: store, dir: t.TempDir()}
	s.Issuer, s.Bank, s.Itsme = NewIssuer(t, s.dir, auto), NewBank(t, s.dir, auto), NewItsme(t, s.dir, auto)
	s.write(t, "master", strings.Repeat("5a", 32))
	s.write(t, "store", store)
	s.write(t, "key", Key)
	s.write(t, "secret", secret)
	s.write(t, "client", clientSecret)
	s.write(t, "base.yaml", fmt.Sprintf(`server: {public_url: %q, shutdown_delay: 0s, page_rate: 0, listen: {public: "127.0.0.1:PUBLIC", ops: "127.0.0.1:OPS"}}
store: {url_file: %s/store}
keys: {master_file: %[2]s/master}
log: {level: warn}
test_eids:
  bankid_se: {url: %s/rp/v6.0, certificate: %[2]s/rp.pem, tls_roots: %[2]s/tls-root.pem, signature_roots: %[2]s/signature-root.pem}
%[5]s%[6]saccounts:
  - {id: %[4]s, name: Load shop, keys: [{environment: test, file: %[2]s/key}], webhook_secret_file: %[2]s/secret, limits: {setups: 100000, reads: 100000}, configs: [%[7]s, {id: other}],
     oidc_clients: [{client_id: load-shop, environment: test, redirect_uris: ["http://localhost/done"], scopes: [openid, profile], token_endpoint_auth_method: client_secret_post, secrets: [{name: first, file: %[2]s/client}]}]}
`, Public, s.dir, s.Issuer.URL, Account, s.Bank.config, s.Itsme.config, s.Itsme.curve))
	up := Start(t, nil, Binary(t), "migrate", "up", "--config", s.config(t, "migrate"))
	<-up.done
	if up.err != nil {
		t.Fatalf("migrate: %v\n%s", up.err, up.Log())
	}
	return s
}

func (s *System) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// config writes a node's configuration with ports of its own.
func (s *System) config(t testing.TB, name string) (path string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "base.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, name+".yaml", strings.NewReplacer("PUBLIC", FreePort(t), "OPS", FreePort(t)).Replace(string(raw)))
	return filepath.Join(s.dir, name+".yaml")
}

// Run runs a verb of the command on the system's configuration to its end, and
// is what it writes to standard output.
func (s *System) Run(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Binary(t), args...)
	cmd.Env = append(os.Environ(), "EIDGATE_CONFIG="+s.config(t, "run"))
	cmd.Stdin = strings.NewReader(stdin)
	var failure strings.Builder
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, failure.String())
	}
	return string(out)
}

// Serve starts a node and waits until it is ready.
func (s *System) Serve(t testing.TB, env ...string) *Node {
	t.Helper()
	path := s.config(t, fmt.Sprintf("node%d", s.nodes))
	n := &Node{}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(before string) string {
		_, rest, _ := strings.Cut(string(raw), before+`: "`)
		addr, _, _ := strings.Cut(rest, `"`)
		return addr
	}
	n.Addr, n.Ops = cut("public"), "http://"+cut("ops")
	n.Process = Start(t, env, Binary(t), "serve", "--config", path)
	s.nodes++
	end := time.Now().Add(20 * time.Second)
	for !answers(n.Ops + "/readyz") {
		select {
		case <-n.done:
			t.Fatalf("the node ended: %v\n%s", n.err, n.Log())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the node is not ready\n%s", n.Log())
		}
		<-time.After(2 * time.Millisecond)
	}
	return n
}

// Size is what the store takes on disk, in bytes.
func (s *System) Size(t testing.TB) int64 {
	t.Helper()
	if file, ok := strings.CutPrefix(s.store, "sqlite:"); ok {
		var sum int64
		for _, suffix := range []string{"", "-wal"} {
			if info, err := os.Stat(file + suffix); err == nil {
				sum += info.Size()
			}
		}
		return sum
	}
	db, err := sql.Open("pgx", s.store)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var n int64
	if err := db.QueryRowContext(ctx, "SELECT pg_database_size(current_database())").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Fill leaves at least so many rows in the store as sessions leave behind that
// have ended: five each. The nodes must be stopped.
func (s *System) Fill(t testing.TB, rows int) {
	t.Helper()
	driver, address, id := "pgx", s.store, "md5(random()::text || i)"
	if file, ok := strings.CutPrefix(s.store, "sqlite:"); ok {
		driver, address, id = "sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)", "lower(hex(randomblob(16)))"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for _, q := range []string{
		fmt.Sprintf(`INSERT INTO session (number, id, version, account, key_id, config, api, environment, state, reason, code, purpose, method, eid, stage,
				order_id, handle, level, extensions, language, created, confirmed, ended, due)
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			SELECT %d + i, 'f' || %s, 4, '%s', 'k', '', 'zignsec2', 'test', 'finished', '', '', 'identify', 'sbid-another', 'bankidse', 0,
				'', NULL, 'strong', 0, 'sv', 1790000000000000 + i, 0, 0, 4000000000000000 + i FROM n`, rows/5, rows, id, Account),
		`INSERT INTO session_key (session, wrapped) SELECT number, CAST('sixty bytes of a key that is wrapped, which nobody unwraps' AS BYTEA) FROM session WHERE id LIKE 'f%' ON CONFLICT DO NOTHING`,
		`INSERT INTO session_data (session, kind, value) SELECT number, 'spec', CAST('half a kilobyte of a request, sealed' AS BYTEA) FROM session WHERE id LIKE 'f%' ON CONFLICT DO NOTHING`,
		`INSERT INTO event (session, n, at, kind, text) SELECT number, created, created, 'state', 'finished' FROM session WHERE id LIKE 'f%' ON CONFLICT DO NOTHING`,
		`INSERT INTO audit (n, session, at, actor, action, outcome) SELECT created, id, created, 'node', 'session.finished', 'ok' FROM session WHERE id LIKE 'f%' ON CONFLICT DO NOTHING`,
		`ANALYZE`,
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
}
