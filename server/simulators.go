package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"eidgate/broker"
	cbankidno "eidgate/connector/bankidno"
	cbankidse "eidgate/connector/bankidse"
	cidin "eidgate/connector/idin"
	citsme "eidgate/connector/itsme"
	cmitid "eidgate/connector/mitid"
	"eidgate/connector/openid"
	"eidgate/internal/oidcrp"
	"eidgate/sandbox"
	sage "eidgate/sandbox/agechecked"
	sbankidno "eidgate/sandbox/bankidno"
	sbankidse "eidgate/sandbox/bankidse"
	"eidgate/sandbox/control"
	sidin "eidgate/sandbox/idin"
	sitsme "eidgate/sandbox/itsme"
	smitid "eidgate/sandbox/mitid"
)

// simulators is the issuers' side of the sandbox.
type simulators struct {
	clock     *sandbox.Clock
	people    *sandbox.People
	decisions *sandbox.Decisions
	recorder  *sandbox.Recorder
	faults    *sandbox.Faults
	bankidse  *sbankidse.Simulator
	idin      *sidin.Simulator
	age       *sage.Simulator
	itsme     *sitsme.Simulator
	bankidno  *sbankidno.Simulator
	mitid     *smitid.Simulator
	issuers   string // address of the listener of the simulators without TLS
}

// newSimulators makes them; roots are what they trust, nil for the system's.
func newSimulators(frozen bool, auto string, seed int64, roots *x509.CertPool) *simulators {
	s := &simulators{clock: sandbox.NewClock(frozen), people: sandbox.NewPeople(), recorder: sandbox.NewRecorder(32 << 20), faults: sandbox.NewFaults(seed)}
	last := sandbox.Ignore
	if auto == "approve" {
		last = sandbox.Approve
	}
	s.decisions = sandbox.NewDecisions(s.people, last)
	s.bankidse = sbankidse.New(sbankidse.Config{Clock: s.clock, People: s.people, Decisions: s.decisions, Faults: s.faults})
	s.idin = sidin.New(sidin.Config{Clock: s.clock, People: s.people, Decisions: s.decisions, Faults: s.faults, Base: func() string { return s.issuers },
		HTTP: &http.Client{Timeout: 10 * time.Second, Transport: s.recorder.Transport("idin", s.clock.Now, trusting(roots))}})
	s.age = sage.New(sage.Config{Clock: s.clock, People: s.people, Decisions: s.decisions, Faults: s.faults, Base: func() string { return s.issuers }})
	s.itsme = sitsme.New(sitsme.Config{Clock: s.clock, People: s.people, Decisions: s.decisions, Faults: s.faults, Base: func() string { return s.issuers }})
	s.bankidno = sbankidno.New(sbankidno.Config{Clock: s.clock, People: s.people, Decisions: s.decisions, Faults: s.faults, Base: func() string { return s.issuers },
		UserInfo: func() string { return strings.Replace(s.issuers, "//localhost:", "//127.0.0.1:", 1) }}) // the same listener under another name
	s.mitid = smitid.New(smitid.Config{Clock: s.clock, People: s.people, Decisions: s.decisions, Faults: s.faults, Base: func() string { return s.issuers }})
	return s
}

// agreement is an RP certificate with everything that reaches the simulator.
func (s *simulators) agreement(name, base, launch string) (cbankidse.Settings, error) {
	cert, err := s.bankidse.RPCertificate(name, "5566304928")
	if err != nil {
		return cbankidse.Settings{}, err
	}
	certPEM, keyPEM, err := sbankidse.PEM(cert)
	return cbankidse.Settings{Base: base + "/rp/v6.0", Certificate: certPEM, Key: keyPEM, TLSRoots: s.bankidse.TLSRoot(),
		SignatureRoots: s.bankidse.SignatureRoot(), Launch: launch}, err
}

// contract is a merchant of iDIN with everything that reaches the simulator;
// codes of a point of service lead back to public.
func (s *simulators) contract(name, public string) (cidin.Settings, cidin.QR, error) {
	c, err := s.idin.Merchant(name)
	if err == nil {
		err = s.idin.SetTransactionAPI(c.MerchantID, public+"/callback/test/idin/qr")
	}
	return cidin.Settings{MerchantID: c.MerchantID, SubID: c.SubID, LegalID: c.LegalID, Directory: c.DirectoryURL, Transaction: c.TransactionURL,
			Status: c.StatusURL, Certificate: c.SigningCertificate, Key: c.SigningKey, Decryption: []string{c.DecryptionKey},
			Routing: c.RoutingCertificate + c.AlternateRoutingCert, AllowHTTP: true},
		cidin.QR{Backend: c.QRGenerateURL, Token: c.QRMerchantToken, Secret: c.QRSigningKey}, err
}

// partner is one of itsme with everything that reaches the simulator.
func (s *simulators) partner(name, public string) (citsme.Settings, error) {
	r, err := s.itsme.Partner(name, public+"/callback/test/itsme", 2, false)
	return citsme.Settings{Settings: openid.Settings{Issuer: r.Issuer, ClientID: r.ClientID, Auth: oidcrp.PrivateKeyJWT, AllowHTTP: true, Keys: []openid.Key{
		{ID: r.SigningKID, Use: "sig", Alg: "RS256", PEM: r.SigningKey}, {ID: r.EncKID, Use: "enc", Alg: "RSA-OAEP-256", PEM: r.EncKey},
		{ID: r.EncKID2, Use: "enc", Alg: "RSA-OAEP-256", PEM: r.EncKey2}}},
		Service: r.Service, Login: r.Login, Claims: []string{"age_gte_18", "national_number_ro", "document_number", "document_type", "issuing_country",
			"issuance_locality", "valid_from", "valid_to", "verified_at", "device"}}, err
}

// norwegian is a party of Norwegian BankID, with everything that it may know.
func (s *simulators) norwegian(name, public string) (cbankidno.Settings, error) {
	r, err := s.bankidno.Party(name, public+"/callback/test/bankidno", false)
	return cbankidno.Settings{Settings: openid.Settings{Issuer: r.Issuer, ClientID: r.ClientID, Auth: oidcrp.PrivateKeyJWT, AllowHTTP: true,
		Keys: []openid.Key{{ID: r.KeyID, Use: "sig", Alg: "RS256", PEM: r.Key}}}, Scopes: []string{"profile", "nnin_altsub", "phone", "email", "address"}}, err
}

// danish is a party of MitID, with everything that it may know.
func (s *simulators) danish(name, public string) (cmitid.Settings, error) {
	r, err := s.mitid.Party(name, public+"/callback/test/mitid", true)
	return cmitid.Settings{Settings: openid.Settings{Issuer: r.Issuer, ClientID: r.ClientID, Auth: oidcrp.SecretBasic, Secret: r.Secret, AllowHTTP: true},
		Scopes: []string{"ssn", "nemid.pid", "ssn.details_name", "ssn.details_address"}}, err
}

// issuersHandler is what the simulators without TLS answer.
func (s *simulators) issuersHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/idin/", s.recorder.Wrap("idin", s.clock.Now, s.idin.Handler()))
	mux.Handle("/agechecked/", s.recorder.Wrap("agechecked", s.clock.Now, s.age.Handler()))
	mux.Handle("/itsme/", s.recorder.Wrap("itsme", s.clock.Now, s.itsme.Handler()))
	mux.Handle("/bankidno/", s.recorder.Wrap("bankidno", s.clock.Now, s.bankidno.Handler()))
	mux.Handle("/mitid/", s.recorder.Wrap("mitid", s.clock.Now, s.mitid.Handler()))
	return mux
}

// person is the key of the test person who took part in a session that has
// just ended.
func (s *simulators) person(ctx context.Context, c *core, o broker.Observation) string {
	if o.Kind != "ended" {
		return ""
	}
	refs, err := c.broker.Refs(ctx, o.Session.ID)
	if err != nil {
		return ""
	}
	for _, ref := range slices.Backward(append(s.decisions.Orders(o.Session.ID), upstreamNames(refs)...)) { // an OpenID provider's names stay with it
		if v, err := s.bankidse.Past(ref); err == nil { // it was collected
			return v.Person
		}
		for _, order := range []func(string) (sandbox.Order, error){s.idin.Order, s.age.Order, s.itsme.Order, s.bankidno.Order, s.mitid.Order} {
			if v, err := order(ref); err == nil && v.Person != "" {
				return v.Person
			}
		}
	}
	return ""
}

// SandboxOptions are the flags of "eidgate sandbox".
type SandboxOptions struct {
	Host, Auto, Data, ReadyFile, Name, Version string
	Public                                     string // public address of the server that is to use them
	Port                                       int
	Stderr                                     io.Writer
}

// Sandbox runs the simulators alone, and writes what a server needs to reach
// them: certificates, keys, and a configuration that names them.
func Sandbox(ctx context.Context, o SandboxOptions) error {
	p := &ports{host: o.Host, first: o.Port}
	defer p.close()
	plain, err := p.listen(0)
	if err != nil {
		return err
	}
	ctlAt, err := p.listen(1)
	if err != nil {
		return err
	}
	api, err := p.listen(3)
	if err != nil {
		return err
	}
	log := newLogger(LogConfig{Level: "error", Format: "text"}, o.Stderr)
	sims := newSimulators(false, o.Auto, 1, nil)
	sims.issuers = fmt.Sprintf("http://localhost:%d", portOf(plain))
	urls := map[string]string{"issuers": sims.issuers, "issuers_tls": fmt.Sprintf("https://localhost:%d", portOf(api)),
		"control": fmt.Sprintf("http://localhost:%d", portOf(ctlAt))}
	if err := sims.handOver(&o, urls["issuers_tls"]); err != nil {
		return err
	}
	ctl, err := control.New(control.Config{Clock: sims.clock, People: sims.people, Decisions: sims.decisions, Recorder: sims.recorder,
		Faults: sims.faults, BankIDSE: sims.bankidse, IDIN: sims.idin, AgeChecked: sims.age, Itsme: sims.itsme, BankIDNO: sims.bankidno, MitID: sims.mitid,
		Mailbox: &mailbox{}, Stop: ctx.Done()})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	issuer := httpServer(sims.recorder.Wrap("bankidse", sims.clock.Now, sims.bankidse.Handler()), log)
	issuer.TLSConfig = sims.bankidse.TLSConfig()
	g.Go(func() error { return serve(ctx, api, issuer, time.Second, log) })
	g.Go(func() error {
		return serve(ctx, plain, httpServer(newNames(sims.issuers, true).only(sims.issuersHandler()), log), time.Second, log)
	})
	g.Go(func() error {
		return serve(ctx, ctlAt, httpServer(newNames(urls["control"], true).only(ctl), log), time.Second, log)
	})
	if o.ReadyFile != "" {
		raw, err := json.Marshal(ready{Event: "ready", Version: o.Version, URLs: urls})
		if err != nil {
			return err
		}
		if err := writeWhole(o.ReadyFile, raw, 0o600); err != nil {
			return err
		}
	}
	fmt.Fprintf(o.Stderr, "simulators: BankID SE %s/rp/v6.0, iDIN %s/idin/rs, AgeChecked %[2]s/agechecked/api, itsme %[2]s/itsme/v2, BankID NO %[2]s/bankidno/auth/realms/current, MitID %[2]s/mitid/op, phone %s/phone\nconfiguration for a server: %s\n",
		urls["issuers_tls"], urls["issuers"], urls["control"], filepath.Join(o.Data, "test_eids.yaml"))
	return g.Wait()
}

// handOver writes what each issuer gives a relying party, and the part of a
// configuration that names it.
func (s *simulators) handOver(o *SandboxOptions, secure string) error {
	bankid, err := s.agreement(o.Name, secure, "")
	if err != nil {
		return err
	}
	idin, qr, err := s.contract(o.Name, o.Public)
	if err != nil {
		return err
	}
	age := s.age.Merchant(o.Name)
	itsme, err := s.partner(o.Name, o.Public)
	if err != nil {
		return err
	}
	norwegian, err := s.norwegian(o.Name, o.Public)
	if err != nil {
		return err
	}
	danish, err := s.danish(o.Name, o.Public)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(o.Data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"bankid-rp.pem": bankid.Certificate + bankid.Key, "bankid-tls-root.pem": bankid.TLSRoots, "bankid-signature-root.pem": bankid.SignatureRoots,
		"idin.pem": idin.Certificate + idin.Key, "idin-data.key": strings.Join(idin.Decryption, ""), "idin-routing.pem": idin.Routing, "idin-qr.key": qr.Secret,
		"agechecked.key": age.SecretKey, "itsme-sign.key": itsme.Keys[0].PEM, "itsme-data.key": itsme.Keys[1].PEM, "itsme-data2.key": itsme.Keys[2].PEM,
		"bankidno-sign.key": norwegian.Keys[0].PEM, "mitid.secret": danish.Secret,
		"test_eids.yaml": fmt.Sprintf(handedOver, dir, bankid.Base, idin.MerchantID, idin.SubID, idin.LegalID, idin.Directory, qr.Token, qr.Backend, age.Base,
			itsme.Issuer, itsme.ClientID, itsme.Service, itsme.Keys[0].ID, itsme.Keys[1].ID, itsme.Keys[2].ID, norwegian.Issuer, norwegian.ClientID, norwegian.Keys[0].ID, danish.Issuer, danish.ClientID),
	} {
		if err := writeWhole(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// handedOver is for eidgate.yaml: the eIDs of the server, and in comments what
// an account can have instead of them.
const handedOver = `# For the simulators that run now: their keys are new at each start.
test_eids:
  bankid_se: {url: %[2]q, certificate: %[1]s/bankid-rp.pem, tls_roots: %[1]s/bankid-tls-root.pem, signature_roots: %[1]s/bankid-signature-root.pem}
  idin: {merchant_id: %[3]q, sub_id: %[4]d, legal_id: %[5]q, directory_url: %[6]q,
    certificate: %[1]s/idin.pem, decryption: [%[1]s/idin-data.key], routing: [%[1]s/idin-routing.pem]}
  idin_age: {backend: idin}
  itsme: {issuer: %[10]q, client_id: %[11]q, service: %[12]q,
    keys: [{id: %[13]q, use: sign, file: %[1]s/itsme-sign.key}, {id: %[14]q, use: decrypt, file: %[1]s/itsme-data.key}, {id: %[15]q, use: decrypt, file: %[1]s/itsme-data2.key}]}
  bankid_no: {issuer: %[16]q, client_id: %[17]q, scopes: [profile, nnin_altsub, phone, email, address], keys: [{id: %[18]q, use: sign, file: %[1]s/bankidno-sign.key}]}
  mitid: {issuer: %[19]q, client_id: %[20]q, scopes: [ssn, nemid.pid, ssn.details_name, ssn.details_address], client_secret_file: %[1]s/mitid.secret}
# In an account, for a point of service, and for AgeChecked as who checks ages:
#    configs:
#      - id: counter
#        test_eids:
#          idin: {merchant_id: %[3]q, sub_id: %[4]d, legal_id: %[5]q, directory_url: %[6]q,
#            certificate: %[1]s/idin.pem, decryption: [%[1]s/idin-data.key], routing: [%[1]s/idin-routing.pem],
#            qr: {merchant_token: %[7]q, secret_signing_key_file: %[1]s/idin-qr.key, qr_backend_url: %[8]q}}
#      - id: agechecked
#        test_eids:
#          idin_age: {backend: agechecked, agechecked: {url: %[9]q, key_file: %[1]s/agechecked.key}}
`
