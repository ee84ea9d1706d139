package bankidse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/protocol/bankidse"
)

// Settings are what an account's agreement with BankID comes to.
type Settings struct {
	Base           string `json:"base"`            // "https://appapi2.bankid.com/rp/v6.0"
	Certificate    string `json:"certificate"`     // PEM: the RP certificate, most specific first
	Key            string `json:"key"`             // PEM: PKCS#8
	TLSRoots       string `json:"tls_roots"`       // PEM: of the API's server certificate
	SignatureRoots string `json:"signature_roots"` // PEM: of the users' certificates
	Launch         string `json:"launch"`          // base of the link that opens the app; "" for BankID's own
	StoreOnly      bool   `json:"store_only"`      // keep signatures without verifying them
	AddressCheck   string `json:"address_check"`   // off, log, require-same-prefix or require-equal
}

// LogValue hides the key.
func (s Settings) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (Settings) String() string { return "settings of BankID" }

// A client is built from one version of the settings.
type client struct {
	set      Settings
	api      *bankidse.Client
	verifier *bankidse.Verifier
	name     string // of the RP certificate's subject, as the signature has it
}

// launch is the link that opens the app, up to the token.
func (c *client) launch(p bankidse.Platform) string {
	if c.set.Launch != "" {
		return c.set.Launch
	}
	return bankidse.LaunchURL(p, "")
}

// client finds or builds what the settings lead to.
func (c *Connector) client(set connector.Settings) (*client, error) {
	if found, ok := c.clients.Get(set.Key); ok {
		return found, nil
	}
	built, err := c.build(set.Data)
	if err != nil {
		return nil, &connector.Unknown{Reason: eid.Refused, Err: err}
	}
	c.clients.Put(set.Key, built)
	return built, nil
}

func (c *Connector) build(raw json.RawMessage) (*client, error) {
	var s Settings
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, errors.New("settings of BankID are not readable")
	}
	cert, err := tls.X509KeyPair([]byte(s.Certificate), []byte(s.Key))
	if err != nil {
		return nil, errors.New("the RP certificate and its key do not fit")
	}
	trust := x509.NewCertPool()
	verifier, err := c.verifier(s.SignatureRoots)
	if err != nil || !trust.AppendCertsFromPEM([]byte(s.TLSRoots)) {
		return nil, errors.New("settings of BankID hold no roots")
	}
	name, err := bankidse.RPName(cert.Leaf)
	if err != nil {
		return nil, fmt.Errorf("name of the RP certificate: %w", err)
	}
	transport := c.Circuits.Guard(watched{bankidse.Transport(cert, trust), c.Watch})
	return &client{set: s, verifier: verifier, name: name,
		api: &bankidse.Client{Base: s.Base, HTTP: &http.Client{Transport: transport}}}, nil
}

// verifier is that of all settings with the same roots: accounts of one
// environment meet the same banks.
func (c *Connector) verifier(roots string) (*bankidse.Verifier, error) {
	if v, ok := c.verifiers.Get(roots); ok {
		return v, nil
	}
	v, err := bankidse.NewVerifier(roots)
	if err == nil {
		c.verifiers.Put(roots, v)
	}
	return v, err
}

// watched tells a watcher about each request, up to the answer's header.
type watched struct {
	next http.RoundTripper
	tell func(operation, result string, took time.Duration) // nil for nobody
}

func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	res, err := w.next.RoundTrip(r)
	if w.tell == nil {
		return res, err
	}
	result := "ok"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		result = "timeout"
	case err != nil || res.StatusCode >= 500:
		result = "error"
	case res.StatusCode >= 400:
		result = "refused"
	}
	w.tell(path.Base(r.URL.Path), result, time.Since(start))
	return res, err
}

// order starts an identification or a signature.
func (c *client) order(ctx context.Context, r *connector.Request, s *state, sent texts) (bankidse.Order, error) {
	common := bankidse.StartRequest{EndUserIP: endUser(r), UserVisibleData: sent.visible,
		UserNonVisibleData: sent.hidden, UserVisibleDataFormat: sent.format, ReturnURL: returnURL(r, s),
		ReturnRisk: !r.Headless, Web: web(r), Requirement: requirement(r, s)}
	if r.Purpose == eid.Sign {
		return c.api.Sign(ctx, bankidse.SignRequest(common))
	}
	return c.api.Auth(ctx, bankidse.AuthRequest(common))
}

// address is that of the device in the person's hand: the browser's, or what
// a party without pages of ours says. It is not valid if nobody knows.
func address(r *connector.Request) netip.Addr {
	a := r.Browser.Addr
	if ip := r.Params["end_user_ip"]; ip != "" {
		a, _ = netip.ParseAddr(ip) // what is no address will not be sent
	}
	return a.Unmap().WithZone("")
}

// endUser is what BankID is told of the address, which it must be.
func endUser(r *connector.Request) string {
	a := address(r)
	if !a.IsValid() && r.Params["end_user_ip"] == "" {
		return "127.0.0.1"
	}
	return a.String()
}

func requirement(r *connector.Request, s *state) *bankidse.Requirement {
	pin := r.Params["pin_code"] == "true"
	if s.Pinned == "" && !pin {
		return nil
	}
	return &bankidse.Requirement{PersonalNumber: s.Pinned, PinCode: pin}
}

// web tells BankID about the browser, which lowers its idea of the risk.
func web(r *connector.Request) *bankidse.Web {
	if r.Headless || r.Browser.Agent == "" {
		return nil
	}
	w := &bankidse.Web{UserAgent: r.Browser.Agent, DeviceIdentifier: r.Browser.ID}
	if host := strings.ToLower(r.Browser.Host); len(host) >= 3 && len(host) <= 253 &&
		strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" {
		w.ReferringDomain = host
	}
	return w
}

// returns says what brings a browser of an iPhone back to the front; the
// tokens are those of its user agent, first match wins (§12.1). These schemes
// come from integrators and not from BankID: docs/divergences.md.
var returns = []struct{ token, url string }{
	{"CriOS", "googlechromes://"}, {"FxiOS", "firefox://"}, {"EdgiOS", "null"}, {"OPT/", "null"}, {"OPiOS", "null"},
	{"Instagram", "instagram://"}, {"FBAN", "fb://"}, {"FBAV", "fb://"}, {"DuckDuckGo", "null"},
	{"Safari", ""}, // its own address
}

// returnURL is where the app sends the person after an order on the same
// device. Android and computers show the browser again by themselves.
func returnURL(r *connector.Request, s *state) string {
	if r.Headless || s.Device != onSame {
		return ""
	}
	if r.Browser.Device != connector.IOS {
		return "null"
	}
	for _, b := range returns {
		if strings.Contains(r.Browser.Agent, b.token) {
			if b.url != "" {
				return b.url
			}
			return r.ReturnURL + "#nonce=" + s.Nonce
		}
	}
	return "null"
}

// input says what the answer must prove.
func (c *Connector) input(cl *client, r *connector.Request, s *state, done *bankidse.Completion, sent texts) bankidse.VerifyInput {
	op := bankidse.Identification
	if r.Purpose == eid.Sign {
		op = bankidse.Signing
	}
	return bankidse.VerifyInput{Signature: done.Signature, OCSP: done.OCSPResponse,
		Operation: op, Visible: sent.visible, NonVisible: sent.hidden, Format: sent.format, RPName: cl.name,
		Sent: true, PersonalNumber: done.User.PersonalNumber, Start: s.Began, End: c.now()}
}
