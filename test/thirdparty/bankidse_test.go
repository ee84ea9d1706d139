package thirdparty

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eidgate/internal/need"
	"eidgate/sandbox"
	"eidgate/sandbox/bankidse"
	"eidgate/test/rig"
)

// An answer is one line of bankidse/flow.mjs. Which names the wire has is the
// package's affair.
type answer struct {
	Step string

	OrderRef, Token string // of a start
	Code, Later     string // what the code says at once, and after 10 s

	Status, Hint                string // of a collect
	Number, Name, Given, Family string
	Address, Issued             string
	Signature, OCSP             []byte // base64 on the wire

	Answer map[string]any // to a cancel

	Typed          bool // the package's own error for a refusal
	Error, Details string
}

// A client is the npm package at work. Between two steps it waits.
type client struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	err   bytes.Buffer
	waits bool
}

// startClient installs the package in a folder of its own and starts its flow
// with a certificate of the simulator's.
func startClient(t *testing.T, s *bankidse.Simulator, addr net.Addr) *client {
	t.Helper()
	need.Program(t, "openssl")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	dir := rig.NPM(ctx, t, "bankidse", "flow.mjs")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rp, err := s.RPCertificate("Foreign shop", "5566304928")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := bankidse.PEM(rp)
	if err != nil {
		t.Fatal(err)
	}
	write("rp.pem", cert+key)
	write("ca.pem", s.TLSRoot())

	env := []string{"PATH=" + os.Getenv("PATH"), "PASSPHRASE=correct horse"}
	pfx := exec.CommandContext(ctx, "openssl", "pkcs12", "-export", "-in", "rp.pem", "-out", "rp.pfx", "-passout", "env:PASSPHRASE")
	pfx.Dir, pfx.Env = dir, env
	if out, err := pfx.CombinedOutput(); err != nil {
		t.Fatalf("openssl pkcs12: %v\n%s", err, out)
	}

	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, cmd: exec.CommandContext(ctx, "node", "flow.mjs", host, port, "rp.pfx", "ca.pem")}
	c.cmd.Dir, c.cmd.Env, c.cmd.Stderr = dir, env, &c.err // no proxy of this computer's in the environment
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = c.cmd.Wait() // killed, or waited for before
	})
	return c
}

// step lets the client go on, and reads what it did.
func (c *client) step(name string) answer {
	c.t.Helper()
	if c.waits {
		_, _ = io.WriteString(c.in, "\n") // a client that has ended says so below
	}
	c.waits = true
	if !c.lines.Scan() {
		c.t.Fatalf("no step %q: %v, %v\n%s", name, c.lines.Err(), c.cmd.Wait(), &c.err)
	}
	var a answer
	if err := json.Unmarshal(c.lines.Bytes(), &a); err != nil || a.Step != name {
		c.t.Fatalf("step %q, want %q: %v\n%s", a.Step, name, err, c.lines.Bytes())
	}
	return a
}

// end lets the client come to its end.
func (c *client) end() {
	c.t.Helper()
	_ = c.in.Close()
	if c.lines.Scan() {
		c.t.Errorf("one more step: %s", c.lines.Bytes())
	}
	if err := c.cmd.Wait(); err != nil || c.err.Len() > 0 {
		c.t.Errorf("the client ended with %v\n%s", err, &c.err)
	}
}

// TestBankIDSE runs the whole flow of the npm package "bankid" over mutual
// TLS. The package has no option for an address: flow.mjs overrides its public
// createAxiosInstance and changes nothing but where the connection goes, so
// that URL, TLS name and all messages are the package's. The simulator's clock
// stands still, so that only what this test says is late.
func TestBankIDSE(t *testing.T) {
	t.Parallel()
	clock, people := sandbox.NewClock(true), sandbox.NewPeople()
	s := bankidse.New(bankidse.Config{Clock: clock, People: people, Decisions: sandbox.NewDecisions(people, sandbox.Ignore),
		Faults: sandbox.NewFaults(1)})
	srv := httptest.NewUnstartedServer(s.Handler())
	srv.TLS = s.TLSConfig()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // one client trusts another root
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c := startClient(t, s, srv.Listener.Addr())
	act := func(ref, event string) {
		t.Helper()
		if _, err := s.Event(ref, event, ""); err != nil {
			t.Fatalf("%s: %v", event, err)
		}
	}

	login := c.step("login")
	if v, err := s.Order(login.OrderRef); err != nil || v.Token != login.Token || v.RP != "Foreign shop" || v.Sign {
		t.Fatalf("order = %+v, %v", v, err)
	}
	pending(t, c.step("login not scanned"), "outstandingTransaction")
	forged := login.Code[:len(login.Code)-1] + "x"
	for _, scan := range []struct {
		name, code string
		after      time.Duration
		want       error
	}{
		{"too early", login.Later, 0, bankidse.ErrOldCode},
		{"too late", login.Code, 10 * time.Second, bankidse.ErrOldCode},
		{"forged", forged, 0, bankidse.ErrBadCode},
		{"of the moment", login.Later, 0, nil},
	} {
		clock.Advance(scan.after)
		if _, err := s.Scan(scan.code, "ada"); !errors.Is(err, scan.want) {
			t.Fatalf("scan of a code %s: %v, want %v", scan.name, err, scan.want)
		}
	}
	pending(t, c.step("login scanned"), "userSign")
	act(login.OrderRef, "approve")
	completed(t, c.step("login approved"), "199001012385", "Ada", "Test", "<funcId>Identification</funcId>")
	refused(t, c.step("login collected again"), "invalidParameters", "No such order")

	sign := c.step("sign")
	text := base64.StdEncoding.EncodeToString([]byte("Jag köper *räksmörgåsar*"))
	if v, err := s.Order(sign.OrderRef); err != nil || !v.Sign || !v.Pinned || v.Text != text || v.Format != "simpleMarkdownV1" {
		t.Errorf("order = %+v, %v", v, err)
	}
	if _, err := s.Scan(sign.Code, "bo"); err != nil {
		t.Fatalf("scan: %v", err)
	}
	act(sign.OrderRef, "approve")
	completed(t, c.step("sign approved"), "199001032391", "Bo", "Provsson", "<funcId>Signing</funcId>",
		`<usrVisibleData charset="UTF-8" format="simpleMarkdownV1" visible="wysiwys">`+text+"</usrVisibleData>",
		"<usrNonVisibleData>"+base64.StdEncoding.EncodeToString([]byte("order 4711"))+"</usrNonVisibleData>",
		"<type>AllowFingerprint</type><value>no</value>")

	act(c.step("decline").OrderRef, "cancel")
	failed(t, c.step("decline collected"), "userCancel")

	ref := c.step("cancel").OrderRef
	if a := c.step("cancel answered"); a.Answer == nil || len(a.Answer) != 0 {
		t.Errorf("cancel = %v, want an empty object", a.Answer)
	}
	if _, err := s.Order(ref); !errors.Is(err, bankidse.ErrNoOrder) {
		t.Errorf("after the cancel: %v, want %v", err, bankidse.ErrNoOrder)
	}
	refused(t, c.step("cancel collected"), "invalidParameters", "No such order")

	refused(t, c.step("bad address"), "invalidParameters", "Invalid endUserIp")
	refused(t, c.step("bad number"), "invalidParameters", "Incorrect personalNumber")
	refused(t, c.step("second order"), "alreadyInProgress", "Order already in progress for pno")
	failed(t, c.step("first order"), "cancelled")

	refused(t, c.step("foreign client"), "", "") // answered in HTML
	if a := c.step("foreign server"); a.Typed || a.Error != "UNABLE_TO_VERIFY_LEAF_SIGNATURE" {
		t.Errorf("with another root: %q: a client that trusts any server is no witness of TLS", a.Error)
	}
	c.end()
}

func pending(t *testing.T, a answer, hint string) {
	t.Helper()
	if a.Status != "pending" || a.Hint != hint {
		t.Errorf("%s: %s, %s, want pending, %s", a.Step, a.Status, a.Hint, hint)
	}
}

func failed(t *testing.T, a answer, hint string) {
	t.Helper()
	if a.Status != "failed" || a.Hint != hint {
		t.Errorf("%s: %s, %s, want failed, %s", a.Step, a.Status, a.Hint, hint)
	}
}

func refused(t *testing.T, a answer, code, details string) {
	t.Helper()
	if !a.Typed || a.Error != code || a.Details != details {
		t.Errorf("%s: %q, %q (typed: %v), want %q, %q", a.Step, a.Error, a.Details, a.Typed, code, details)
	}
}

// completed checks who has acted, and what the signature holds.
func completed(t *testing.T, a answer, number, given, family string, holds ...string) {
	t.Helper()
	if a.Status != "complete" || a.Number != number || a.Name != given+" "+family || a.Given != given || a.Family != family {
		t.Errorf("%s: %s, %q is %q, %q %q", a.Step, a.Status, a.Number, a.Name, a.Given, a.Family)
	}
	if _, err := time.Parse(time.DateOnly, a.Issued); err != nil || a.Address != "192.0.2.7" || len(a.OCSP) == 0 {
		t.Errorf("%s: issued %q (%v) for %q, OCSP response of %d bytes", a.Step, a.Issued, err, a.Address, len(a.OCSP))
	}
	for _, part := range holds {
		if !strings.Contains(string(a.Signature), part) {
			t.Errorf("%s: the signature does not hold %s", a.Step, part)
		}
	}
}
