package idin

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/circuit"
	"eidgate/protocol/idin"
	"eidgate/protocol/idinqr"
)

// Settings are what a contract with an acquirer comes to
// (docs/protocols/idin.md §14).
type Settings struct {
	MerchantID  string              `json:"merchant_id"`        // 10 digits
	SubID       int                 `json:"sub_id,omitempty"`   // 0 for none
	LegalID     string              `json:"legal_id,omitempty"` // expected audience; "" accepts any
	Directory   string              `json:"directory_url"`
	Transaction string              `json:"transaction_url"`
	Status      string              `json:"status_url"`
	Certificate string              `json:"certificate"`          // PEM, signs what we send
	Key         string              `json:"key"`                  // PEM, PKCS#8
	Decryption  []string            `json:"decryption,omitempty"` // PEM keys, current first; none: Key
	Routing     string              `json:"routing"`              // PEM: certificates of the routing service, current and next
	Pins        map[string][]string `json:"pins,omitempty"`
	Aliases     map[string][]string `json:"aliases,omitempty"`
	Services    uint16              `json:"services,omitempty"` // ServiceId that the contract covers; 0 for everything
	Incomplete  string              `json:"incomplete,omitempty"`
	Expiration  time.Duration       `json:"expiration,omitempty"` // for the person at the bank; 0 for 5 min
	Skew        time.Duration       `json:"skew,omitempty"`
	AllowHTTP   bool                `json:"allow_http,omitempty"` // a simulator
	Marker      string              `json:"marker,omitempty"`     // put into entrance codes: a simulator acts on it

	// Off unless the acquirer allows more than one status request (§12).
	RetryOpen    bool `json:"status_retry_after_return,omitempty"`
	ThreeMinutes bool `json:"status_at_three_minutes,omitempty"`

	QR *QR `json:"qr,omitempty"` // a point of service; nil for none
}

// What to do when a bank lacks something that was asked: Settings.Incomplete.
const (
	Deliver = "deliver" // what there is; the default
	Refuse  = "fail"
)

// QR is what the iDIN QR back-end has given the merchant
// (docs/protocols/idinqr.md §2).
type QR struct {
	Backend  string `json:"backend_url"`
	Token    string `json:"merchant_token"`
	Secret   string `json:"secret_signing_key"`
	Encoding string `json:"secret_encoding,omitempty"` // of Secret: "utf8" (default), "hex" or "base64"
}

// LogValue hides the keys.
func (s Settings) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (Settings) String() string { return "settings of iDIN" }

// A client is built from one version of the settings.
type client struct {
	set      Settings
	merchant *idin.Merchant
	api      *idin.Client
	qr       *idinqr.Client // nil: no point of service
	key      idinqr.Key
	http     *http.Client // for the images of codes

	// A directory belongs to a merchant at a routing service, whatever
	// certificate it signs with.
	contract string
}

// Check finds what is wrong with settings before anybody uses them.
func (s Settings) Check() error {
	_, err := s.build(time.Now, http.DefaultTransport, nil)
	return err
}

func (s Settings) build(now func() time.Time, transport http.RoundTripper, circuits *circuit.Board) (*client, error) {
	m := &idin.Merchant{ID: s.MerchantID, SubID: s.SubID, LegalID: s.LegalID, DirectoryURL: s.Directory, TransactionURL: s.Transaction,
		StatusURL: s.Status, Pins: s.Pins, Aliases: s.Aliases, Skew: s.Skew, AllowHTTP: s.AllowHTTP}
	certs, err := certificates(s.Certificate)
	if err != nil || len(certs) == 0 {
		return nil, errors.New("iDIN: the certificate is not readable")
	}
	m.Certificate = certs[0]
	key, err := rsaKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("iDIN: key: %w", err)
	}
	m.Key = key
	for _, text := range s.Decryption {
		k, err := rsaKey(text)
		if err != nil {
			return nil, fmt.Errorf("iDIN: decryption key: %w", err)
		}
		m.Decryption = append(m.Decryption, k)
	}
	if len(s.Decryption) == 0 {
		m.Decryption = []crypto.Decrypter{key}
	}
	if m.Routing, err = certificates(s.Routing); err != nil {
		return nil, errors.New("iDIN: the certificates of the routing service are not readable")
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("iDIN: %w", err)
	}
	if s.Incomplete != "" && s.Incomplete != Deliver && s.Incomplete != Refuse {
		return nil, errors.New("iDIN: incomplete is deliver or fail")
	}
	c := &client{set: s, merchant: m, api: idin.NewClient(m, idin.WithClock(now), idin.WithTransport(circuits.Guard(transport)))}
	if s.QR == nil {
		return c, nil
	}
	if c.key, err = idinqr.ParseKey(s.QR.Secret, idinqr.KeyMode(s.QR.Encoding)); err != nil {
		return nil, fmt.Errorf("iDIN QR: %w", err)
	}
	back := circuits.Guard(transport)
	c.http = &http.Client{Transport: back, Timeout: 5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c.qr = &idinqr.Client{URL: s.QR.Backend, Token: s.QR.Token, Key: c.key, HTTP: &http.Client{Transport: back}, Now: now, AllowHTTP: s.AllowHTTP}
	return c, c.qr.Check()
}

func certificates(text string) (out []*x509.Certificate, err error) {
	for rest := []byte(text); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out, nil
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
}

func rsaKey(text string) (*rsa.PrivateKey, error) {
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		return nil, errors.New("no PEM block")
	}
	if k, err := x509.ParsePKCS1PrivateKey(b.Bytes); err == nil {
		return k, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		return nil, errors.New("neither PKCS#8 nor PKCS#1")
	}
	k, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("no RSA key")
	}
	return k, nil
}

// client finds or builds what the settings lead to.
func (c *Connector) client(s connector.Settings) (*client, error) {
	if found, ok := c.clients.Get(s.Key); ok {
		return found, nil
	}
	var set Settings
	if err := json.Unmarshal(s.Data, &set); err != nil {
		return nil, &connector.Unknown{Reason: eid.Refused, Err: errors.New("settings of iDIN are not readable")}
	}
	built, err := set.build(c.now, c.transport, c.Circuits)
	if err != nil {
		return nil, &connector.Unknown{Reason: eid.Refused, Err: err}
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{set.Directory, set.MerchantID, fmt.Sprint(set.SubID)}, "\n")))
	built.contract = hex.EncodeToString(sum[:8])
	c.clients.Put(s.Key, built)
	return built, nil
}

// Contract implements connector.Lister.
func (c *Connector) Contract(s connector.Settings) (string, error) {
	cl, err := c.client(s)
	if err != nil {
		return "", err
	}
	return cl.contract, nil
}
