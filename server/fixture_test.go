package server

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sbankidse "eidgate/sandbox/bankidse"
)

// A house is a folder with the files of a configuration, and a simulator.
type house struct {
	dir    string
	sims   *simulators
	sim    *sbankidse.Simulator
	url    string // of the simulator
	acme   string // merchantID of the party that has iDIN; "" without withIDIN
	routes string // address of iDIN's routing service
}

const (
	testAccount = "7c1f6a0e-0000-4000-8000-000000000001"
	testKey     = "7c1f6a0e-0000-4000-8000-0000000000aa"
)

// newHouse starts a simulator whose people wait to be told, and writes what a
// configuration can name: master, key, live-key, secret, NAME.pem for each
// relying party, and the simulator's roots.
func newHouse(t *testing.T, parties ...string) *house {
	t.Helper()
	sims := newSimulators(false, "ask", 1, nil)
	s := &house{dir: t.TempDir(), sims: sims, sim: sims.bankidse}
	srv := httptest.NewUnstartedServer(s.sim.Handler())
	srv.TLS = s.sim.TLSConfig()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s.url = srv.URL
	s.write(t, "master", strings.Repeat("5a", 32))
	s.write(t, "key", testKey)
	s.write(t, "live-key", "7c1f6a0e-0000-4000-8000-0000000000bb")
	s.write(t, "secret", "whsec_dGhpcnR5LXR3byBieXRlcyBmb3Igb25lIHNlY3JldCE=")
	s.write(t, "tls-root.pem", s.sim.TLSRoot())
	s.write(t, "signature-root.pem", s.sim.SignatureRoot())
	for _, name := range parties {
		s.certify(t, name, name)
	}
	return s
}

// certify writes FILE.pem, a certificate that calls the relying party name.
func (s *house) certify(t *testing.T, file, name string) {
	t.Helper()
	cert, err := s.sim.RPCertificate(name, "5566304928")
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := sbankidse.PEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, file+".pem", certPEM+keyPEM)
}

func (s *house) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// withIDIN plays iDIN too, and writes what a contract can name: idin.pem signs,
// idin-data.pem decrypts, idin-routing.pem and idin-next.pem verify.
func (s *house) withIDIN(t *testing.T) {
	t.Helper()
	srv := httptest.NewServer(s.sims.issuersHandler())
	t.Cleanup(srv.Close)
	s.sims.issuers = srv.URL
	c, err := s.sims.idin.Merchant("Acme")
	if err != nil {
		t.Fatal(err)
	}
	s.acme, s.routes = c.MerchantID, c.DirectoryURL
	for name, text := range map[string]string{"idin.pem": c.SigningCertificate + c.SigningKey, "idin-data.pem": c.DecryptionKey,
		"idin-routing.pem": c.RoutingCertificate, "idin-next.pem": c.AlternateRoutingCert, "qr-secret": c.QRSigningKey + "\n", "age-key": "a key of AgeChecked"} {
		s.write(t, name, text)
	}
}

// fill replaces DIR, SIM, CONTRACT, which is that of withIDIN without its last
// brace, and BANKID(name more), the agreement of NAME.pem with more keys.
func (s *house) fill(text string) string {
	for {
		before, rest, ok := strings.Cut(text, "BANKID(")
		if !ok {
			break
		}
		inside, after, _ := strings.Cut(rest, ")")
		name, more, _ := strings.Cut(inside, " ")
		text = before + "bankid_se: {certificate: DIR/" + name + ".pem, url: SIM/rp/v6.0, tls_roots: DIR/tls-root.pem, signature_roots: DIR/signature-root.pem" + more + "}" + after
	}
	text = strings.ReplaceAll(text, "CONTRACT", `idin: {merchant_id: "`+s.acme+`", directory_url: "`+s.routes+`", certificate: DIR/idin.pem, routing: [DIR/idin-routing.pem, DIR/idin-next.pem]`)
	return strings.NewReplacer("DIR", s.dir, "SIM", s.url).Replace(text)
}

// config reads a configuration that must be without errors.
func (s *house) config(t *testing.T, text string) *Config {
	t.Helper()
	s.write(t, "eidgate.yaml", s.fill(text))
	c, problems, err := ReadConfig(filepath.Join(s.dir, "eidgate.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !p.Warning {
			t.Fatalf("configuration: %s", p)
		}
	}
	return c
}

// core starts a node that migrates its store and has the accounts. It does no
// background work until somebody calls its run.
func (s *house) core(t *testing.T, text string) *core {
	t.Helper()
	cfg := s.config(t, text)
	p, err := cfg.parts("test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.migrate = true
	c, err := newCore(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.accounts(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually waits for what background work brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}
