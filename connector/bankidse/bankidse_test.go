package bankidse_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/bankidse"
	"eidgate/eid"
	"eidgate/internal/need"
	protocol "eidgate/protocol/bankidse"
	"eidgate/sandbox"
	sim "eidgate/sandbox/bankidse"
)

// A service is a simulator behind TLS, and the settings that reach it.
type service struct {
	*sim.Simulator
	clock     *sandbox.Clock
	decisions *sandbox.Decisions
	faults    *sandbox.Faults
	set       bankidse.Settings
	request   connector.Request
	conn      *bankidse.Connector
	wire      *wire
}

func newService(t testing.TB, auto sandbox.Outcome) *service {
	t.Helper()
	s := &service{clock: sandbox.NewClock(true), faults: sandbox.NewFaults(1)}
	people := sandbox.NewPeople()
	s.decisions = sandbox.NewDecisions(people, auto)
	s.Simulator = sim.New(sim.Config{Clock: s.clock, People: people, Decisions: s.decisions, Faults: s.faults})
	s.wire = &wire{handler: s.Handler()}
	srv := httptest.NewUnstartedServer(s.wire)
	srv.TLS = s.TLSConfig()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	rp, err := s.RPCertificate("Demo shop", "5566304928")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := sim.PEM(rp)
	if err != nil {
		t.Fatal(err)
	}
	s.set = bankidse.Settings{Base: srv.URL + "/rp/v6.0", Certificate: cert, Key: key, TLSRoots: s.TLSRoot(), SignatureRoots: s.SignatureRoot()}
	s.conn = bankidse.New(s.clock.Now)
	raw, err := json.Marshal(s.set)
	if err != nil {
		t.Fatal(err)
	}
	s.request = connector.Request{Session: "s", Order: "o", Environment: eid.Test, Purpose: eid.Identify, Mode: "other", Party: "Demo shop",
		Language: "en", Browser: connector.Browser{Addr: netip.MustParseAddr("127.0.0.1"), Agent: "test browser", Device: connector.Desktop},
		ReturnURL: "https://eid.example.com/s/", Settings: connector.Settings{Key: t.Name(), Data: raw},
		Texts: func(context.Context) (connector.Texts, error) { return connector.Texts{}, nil }}
	return s
}

func (s *service) begin(t testing.TB) connector.Result {
	t.Helper()
	res, err := s.conn.Begin(t.Context(), &s.request)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// tick resumes with ticks until something else than waiting comes out.
func (s *service) tick(t *testing.T, res connector.Result) connector.Result {
	t.Helper()
	for range 10 {
		var err error
		if res, err = s.conn.Resume(t.Context(), &s.request, res.State, connector.Tick{}); err != nil {
			t.Fatal(err)
		}
		switch res.Step.(type) {
		case connector.Wait, connector.Again:
			s.clock.Advance(2 * time.Second)
			continue
		}
		return res
	}
	t.Fatalf("still %#v after ten ticks", res.Step)
	return res
}

func TestLogin(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	res := s.tick(t, s.begin(t))
	if _, ok := res.Step.(connector.Done); !ok {
		t.Fatalf("step = %#v", res.Step)
	}
	id := res.Confirmed
	if id.Number != "199001012385" || id.Given != "Ada" || id.Birth != "1990-01-01" || id.Kind != "mobile" || id.Age == nil || id.Signals["address"] != "equal" {
		t.Errorf("identity = %+v", *id)
	}
	if len(res.Evidence) != 3 {
		t.Errorf("evidence = %v", res.Evidence)
	}
}

func TestSignWithPinnedPerson(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	s.request.Purpose, s.request.Pinned = eid.Sign, "199001032391"
	s.request.Texts = func(context.Context) (connector.Texts, error) {
		return connector.Texts{Visible: eid.Text("I agree to *åäö*"), NonShown: eid.Text("hidden"), Format: protocol.Markdown}, nil
	}
	res := s.tick(t, s.begin(t))
	if res.Confirmed == nil || res.Confirmed.Number != "199001032391" {
		t.Fatalf("step = %#v", res.Step)
	}
	want := `"userVisibleData":"SSBhZ3JlZSB0byAqw6XDpMO2Kg==","userNonVisibleData":"aGlkZGVu","userVisibleDataFormat":"simpleMarkdownV1"`
	if got := s.wire.last("sign"); !strings.Contains(got, want) || !strings.Contains(got, `"personalNumber":"199001032391"`) {
		t.Errorf("sent %s, want %s and the person", got, want)
	}
}

func TestScanTheCodeOfTheMoment(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	res := s.begin(t)
	old, err := s.conn.View(res.State, s.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.clock.Advance(10 * time.Second)
	if _, err := s.Scan(old.QR, "ada"); !errors.Is(err, sim.ErrOldCode) {
		t.Errorf("a code 10 s old: %v, want %v", err, sim.ErrOldCode)
	}
	w, err := s.conn.View(res.State, s.clock.Now())
	if err != nil || w.QR == old.QR {
		t.Fatalf("View = %+v, %v", w, err)
	}
	last := map[bool]string{true: "1", false: "0"}[strings.HasSuffix(w.QR, "0")]
	if _, err := s.Scan(w.QR[:len(w.QR)-1]+last, "ada"); !errors.Is(err, sim.ErrBadCode) {
		t.Errorf("a code of another secret: %v", err)
	}
	v, err := s.Scan(w.QR, "ada")
	if err != nil || v.State != "userSign" {
		t.Fatalf("Scan = %+v, %v", v, err)
	}
	res, err = s.conn.Resume(t.Context(), &s.request, res.State, connector.Tick{})
	if w, ok := res.Step.(connector.Wait); err != nil || !ok || w.Hint != "bankidse.rfa9" || w.Launch != "" {
		t.Errorf("after the scan: %#v, %v", res.Step, err)
	}
	if _, err := s.Event(v.Ref, "approve", ""); err != nil {
		t.Fatal(err)
	}
	if res = s.tick(t, res); res.Confirmed == nil {
		t.Errorf("step = %#v", res.Step)
	}
}

func TestCodeRenewsItselfAndThenRests(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	res := s.begin(t)
	for range 2 {
		orders := 1
		for range 20 {
			s.clock.Advance(30 * time.Second)
			res = s.resume(t, res.State, connector.Tick{})
			w, ok := res.Step.(connector.Wait)
			if !ok {
				t.Fatalf("step = %#v", res.Step)
			}
			if w.Rests {
				break
			}
			orders += len(res.Refs)
		}
		if w := res.Step.(connector.Wait); !w.Rests || orders != 7 {
			t.Errorf("rests = %v after %d orders, want after 7", w.Rests, orders)
		}
		res = s.resume(t, res.State, connector.Submitted{Values: url.Values{"renew": {"1"}}})
		if w, ok := res.Step.(connector.Wait); !ok || w.Rests || w.Hint != "bankidse.rfa1" || w.Code != "" || len(res.Refs) != 1 {
			t.Errorf("a new code: %#v", res.Step)
		}
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[string]connector.Fail{
		"cancel":                       {Reason: eid.Cancelled, Code: "userCancel"},
		"decline":                      {Reason: eid.Unusable, Code: "certificateErr"},
		"expire":                       {Reason: eid.Expired, Code: "expiredTransaction"},
		"fail:certificateErr":          {Reason: eid.Unusable, Code: "certificateErr"},
		"fail:cancelled":               {Reason: eid.Superseded, Code: "cancelled", Retry: true},
		"fail:userDeclinedCall":        {Reason: eid.CallDeclined, Code: "userDeclinedCall"},
		"fail:notSupportedByUserApp":   {Reason: eid.AppTooOld, Code: "notSupportedByUserApp"},
		"fail:transactionRiskBlocked":  {Reason: eid.RiskBlocked, Code: "transactionRiskBlocked"},
		"fail:mrtdVerificationFailed":  {Reason: eid.DocumentFailed, Code: "mrtdVerificationFailed"},
		"fail:facialRecognitionFailed": {Reason: eid.DocumentFailed, Code: "facialRecognitionFailed"},
		"fail:nfcNotSupportedByDevice": {Reason: eid.DocumentFailed, Code: "nfcNotSupportedByDevice"},
		"fail:multipleBankIdsOnDevice": {Reason: eid.Unusable, Code: "multipleBankIdsOnDevice"},
		"fail:stepUpFailed":            {Reason: eid.DocumentFailed, Code: "stepUpFailed"},
		"fail:somethingNew":            {Reason: eid.Declined, Code: "somethingNew"},
	} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			s := newService(t, sandbox.Ignore)
			s.decisions.Enqueue(sandbox.Queued{Outcome: sandbox.Outcome(outcome)})
			if got := s.tick(t, s.begin(t)).Step; got != want {
				t.Errorf("step = %#v, want %#v", got, want)
			}
		})
	}
}

func TestUpstreamFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at     string // "start", "collect" or "result"
		fault  sandbox.Fault
		want   eid.Reason // "" for success
		always bool
	}{
		"start 503":             {at: "start", fault: sandbox.Fault{Kind: "http", Value: "503"}, want: eid.Unavailable},
		"start 401":             {at: "start", fault: sandbox.Fault{Kind: "http", Value: "401"}, want: eid.Refused},
		"start reset":           {at: "start", fault: sandbox.Fault{Kind: "reset"}, want: eid.Unavailable},
		"start garbage":         {at: "start", fault: sandbox.Fault{Kind: "garbage"}, want: eid.Unavailable},
		"collect once 500":      {at: "collect", fault: sandbox.Fault{Kind: "http", Value: "500"}},
		"collect once 429":      {at: "collect", fault: sandbox.Fault{Kind: "http", Value: "429"}},
		"collect once reset":    {at: "collect", fault: sandbox.Fault{Kind: "reset"}},
		"collect once truncate": {at: "collect", fault: sandbox.Fault{Kind: "truncate"}},
		"collect always 500":    {at: "collect", fault: sandbox.Fault{Kind: "http", Value: "500"}, want: eid.Unavailable, always: true},
		"collect lost":          {at: "collect", fault: sandbox.Fault{Kind: "http", Value: "400"}, want: eid.OutcomeUnknown},
		"forged signature":      {at: "result", fault: sandbox.Fault{Kind: "bad_signature"}, want: eid.BadProof},
		"truncated signature":   {at: "result", fault: sandbox.Fault{Kind: "truncate"}, want: eid.BadProof},
		"garbage signature":     {at: "result", fault: sandbox.Fault{Kind: "garbage"}, want: eid.BadProof},
		"foreign OCSP":          {at: "result", fault: sandbox.Fault{Kind: "replay"}, want: eid.BadProof},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, sandbox.Approve)
			c.fault.Target, c.fault.Times = "bankidse", 1
			if c.always {
				c.fault.Times = 0
			}
			if c.at == "result" {
				c.fault.Target = "bankidse.result"
			}
			if c.at != "collect" {
				s.faults.Add(c.fault)
			}
			res := s.begin(t)
			if c.at == "collect" {
				s.faults.Add(c.fault)
			}
			if _, waits := res.Step.(connector.Wait); waits {
				res = s.tick(t, res)
			}
			f, bad := res.Step.(connector.Fail)
			if bad != (c.want != "") || f.Reason != c.want {
				t.Errorf("step = %#v, want reason %q", res.Step, c.want)
			}
			if bad && res.Confirmed != nil {
				t.Error("somebody was confirmed all the same")
			}
		})
	}
}

func TestRefusedTLS(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	s.set.TLSRoots = mustRoots(t, "live-tls")
	raw, err := json.Marshal(s.set)
	if err != nil {
		t.Fatal(err)
	}
	s.request.Settings.Data = raw
	if f, ok := s.begin(t).Step.(connector.Fail); !ok || f.Reason != eid.Unavailable {
		t.Errorf("with another root: %#v", f)
	}
}

func TestNoClientCertificate(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(s.TLSRoot()))
	tr := protocol.Transport(tlsCert(), pool)
	tr.TLSClientConfig.Certificates = nil
	t.Cleanup(tr.CloseIdleConnections)
	c := protocol.Client{Base: s.set.Base, HTTP: &http.Client{Transport: tr}}
	_, err := c.Auth(t.Context(), protocol.AuthRequest{EndUserIP: "127.0.0.1"})
	var e *protocol.Error
	if !errors.As(err, &e) || e.Status != 403 || e.Code != "" {
		t.Errorf("Auth = %v, want 403 in HTML", err)
	}
}

func mustRoots(t *testing.T, name string) string {
	t.Helper()
	r, err := protocol.Roots(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestForeignWitnesses lets xmlsec1 verify the simulator's signature with its
// chain, and openssl read the OCSP answer.
func TestForeignWitnesses(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	res := s.tick(t, s.begin(t))
	if res.Confirmed == nil {
		t.Fatalf("step = %#v", res.Step)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	decode := func(i int) []byte {
		b, err := base64.StdEncoding.DecodeString(string(res.Evidence[i].Data))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	root := write("root.pem", []byte(s.SignatureRoot()))
	doc := decode(0)
	verify := func(b []byte) error {
		return exec.Command(need.Program(t, "xmlsec1"), "--verify", "--id-attr:Id", "bankIdSignedData", "--id-attr:Id", "KeyInfo",
			"--trusted-pem", root, "--enabled-reference-uris", "same-doc", write("sig.xml", b)).Run()
	}
	if err := verify(doc); err != nil {
		t.Errorf("xmlsec1 refuses the simulator's signature: %v", err)
	}
	if verify([]byte(strings.Replace(string(doc), "<funcId>Identification", "<funcId>Signing", 1))) == nil {
		t.Error("xmlsec1 accepts an altered signature: it is no witness")
	}
	out, err := exec.Command(need.Program(t, "openssl"), "ocsp", "-respin", write("ocsp.der", decode(1)), "-no_nonce", "-CAfile", root,
		"-resp_text", "-noverify").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Cert Status: good") {
		t.Errorf("openssl ocsp: %v\n%s", err, out)
	}
}
