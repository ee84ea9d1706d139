package idin

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"text/template"
	"time"

	"eidgate/internal/xmldsig"
)

// A Transaction is what AcquirerTrxReq asks (§3, §5).
type Transaction struct {
	Issuer       string        // BIC of the bank, from the Directory
	ReturnURL    string        // where the bank sends the browser: https or an app's scheme, at most 512 characters
	EntranceCode string        // comes back as ec; 1 to 40 letters and digits, see NewEntranceCode
	Reference    string        // a letter, then up to 34 letters and digits, never used before, see NewReference
	Language     string        // of the bank's pages: two small letters; nl and en are in use
	Service      ServiceID     // what is asked for
	Expiration   time.Duration // time for the person at the bank: whole seconds, 1 to 5 min; zero for 5 min
	DocumentID   string        // of what is signed: up to 255 letters and digits; with Sign, and only then
	Now          time.Time     // zero for the client's clock
}

const (
	minExpiration     = time.Minute
	defaultExpiration = 5 * time.Minute // also the longest

	alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

var (
	entranceCode  = regexp.MustCompile(`^[a-zA-Z0-9]{1,40}$`)
	merchantRef   = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9]{0,34}$`)
	language      = regexp.MustCompile(`^[a-z]{2}$`)
	documentID    = regexp.MustCompile(`^[a-zA-Z0-9]{1,255}$`)
	transactionID = regexp.MustCompile(`^[0-9]{16}$`)
)

// NewEntranceCode makes an entranceCode that nobody can guess: 40 characters (§4).
func NewEntranceCode() string { return random(alphabet, 40) }

// NewReference makes a merchantReference that will not be made again: a letter
// and 34 characters, since it is an XML ID (§4).
func NewReference() string { return random(alphabet[:52], 1) + random(alphabet, 34) }

// random draws characters of an alphabet, each as likely as the other.
func random(from string, n int) string {
	fair := 256 - 256%len(from)
	out, draw := make([]byte, 0, n), make([]byte, 2*n)
	for {
		_, _ = rand.Read(draw) // never fails
		for _, b := range draw {
			if int(b) >= fair {
				continue
			}
			if out = append(out, from[int(b)%len(from)]); len(out) == n {
				return string(out)
			}
		}
	}
}

// validate applies the rules of fields (§4) and of signing (§5).
func (t *Transaction) validate(m *Merchant) error {
	refuse := func(text string) error { return fmt.Errorf("%w: %s", ErrRequest, text) }
	e := t.expiration()
	switch {
	case !ValidIssuer(t.Issuer):
		return refuse("the issuer is no BIC")
	case !m.returnable(t.ReturnURL):
		return refuse("the return address must be https or an app's, without fragment, of at most 512 characters")
	case !entranceCode.MatchString(t.EntranceCode):
		return refuse("the entrance code must have 1 to 40 letters and digits")
	case !merchantRef.MatchString(t.Reference):
		return refuse("the reference must be a letter and up to 34 letters and digits")
	case !language.MatchString(t.Language):
		return refuse("the language must be two small letters")
	case !t.Service.Valid():
		return refuse("the service holds groups that must not be asked for")
	case e < minExpiration || e > defaultExpiration || e%time.Second != 0:
		return refuse("the expiration must be whole seconds from 1 to 5 min")
	case (t.DocumentID != "") != t.Service.Has(Sign):
		return refuse("a signature and a document's number go together")
	case t.DocumentID != "" && !documentID.MatchString(t.DocumentID):
		return refuse("the document's number must have up to 255 letters and digits")
	}
	return nil
}

func (t *Transaction) expiration() time.Duration {
	if t.Expiration == 0 {
		return defaultExpiration
	}
	return t.Expiration
}

// returnable says whether a bank may send a browser to an address. A fragment
// would swallow what the bank appends; http and pseudo schemes are refused.
func (m *Merchant) returnable(address string) bool {
	if m.reachable(address) {
		return !strings.Contains(address, "#")
	}
	u, err := url.Parse(address)
	if err != nil || !printable(address) || len(address) > maxURL || strings.Contains(address, "#") {
		return false
	}
	switch u.Scheme {
	case "", "http", "https", "javascript", "data", "file", "blob", "about", "vbscript":
		return false
	}
	return true
}

// templates are the messages without their signatures (§3, §5). Every value
// goes through xml.
var templates = template.Must(template.New("iDx").Funcs(template.FuncMap{"xml": escape}).Parse(`
{{- define "head"}} xmlns="` + nsIDX + `" version="` + version + `" productID="` + product + `">` +
	`<createDateTimestamp>{{xml .Created}}</createDateTimestamp>{{end}}
{{- define "merchant"}}<merchantID>{{xml .Merchant.ID}}</merchantID><subID>{{.Merchant.SubID}}</subID>{{end}}
{{- define "DirectoryReq"}}<DirectoryReq{{template "head" .}}<Merchant>{{template "merchant" .}}</Merchant></DirectoryReq>{{end}}
{{- define "AcquirerStatusReq"}}<AcquirerStatusReq{{template "head" .}}<Merchant>{{template "merchant" .}}</Merchant>` +
	`<Transaction><transactionID>{{xml .TransactionID}}</transactionID></Transaction></AcquirerStatusReq>{{end}}
{{- define "AcquirerTrxReq"}}<AcquirerTrxReq{{template "head" .}}<Issuer><issuerID>{{xml .T.Issuer}}</issuerID></Issuer>` +
	`<Merchant>{{template "merchant" .}}<merchantReturnURL>{{xml .T.ReturnURL}}</merchantReturnURL></Merchant>` +
	`<Transaction><expirationPeriod>{{xml .Period}}</expirationPeriod><language>{{xml .T.Language}}</language>` +
	`<entranceCode>{{xml .T.EntranceCode}}</entranceCode><container>` +
	`<samlp:AuthnRequest xmlns:samlp="` + nsSAMLP + `" xmlns:saml="` + nsSAML + `" ID="{{xml .T.Reference}}" Version="2.0"` +
	` IssueInstant="{{xml .Created}}" Consent="true" ForceAuthn="true" ProtocolBinding="` + binding + `"` +
	` AssertionConsumerServiceURL="{{xml .T.ReturnURL}}" AttributeConsumingServiceIndex="{{printf "%d" .T.Service}}">` +
	`<saml:Issuer>{{xml .Merchant.ID}}</saml:Issuer>` +
	`{{with .T.DocumentID}}<samlp:Extensions><saml:Attribute Name="` + attrDocument + `">` +
	`<saml:AttributeValue>{{xml .}}</saml:AttributeValue></saml:Attribute></samlp:Extensions>{{end}}` +
	`<saml:Conditions/><samlp:RequestedAuthnContext Comparison="minimum">` +
	`<saml:AuthnContextClassRef>` + Substantial + `</saml:AuthnContextClassRef></samlp:RequestedAuthnContext><samlp:Scoping/>` +
	`</samlp:AuthnRequest></container></Transaction></AcquirerTrxReq>{{end}}`))

// escape writes a value for the text of an element or an attribute.
func escape(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}

// timestamp writes a time with three digits of a second, as libraries insist (§4).
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// period writes xs:duration: minutes where they are whole.
func period(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("PT%dM", d/time.Minute)
	}
	return fmt.Sprintf("PT%dS", d/time.Second)
}

// values are what the templates show.
type values struct {
	Merchant      *Merchant
	Created       string
	TransactionID string
	T             Transaction
	Period        string
}

func (m *Merchant) directoryRequest(now time.Time) ([]byte, error) {
	return m.message("DirectoryReq", values{Merchant: m, Created: timestamp(now)})
}

func (m *Merchant) transactionRequest(t Transaction) ([]byte, error) {
	if err := t.validate(m); err != nil {
		return nil, err
	}
	return m.message("AcquirerTrxReq", values{Merchant: m, Created: timestamp(t.Now), T: t, Period: period(t.expiration())})
}

func (m *Merchant) statusRequest(id string, now time.Time) ([]byte, error) {
	if !transactionID.MatchString(id) {
		return nil, fmt.Errorf("%w: the transaction's number must have 16 digits", ErrRequest)
	}
	return m.message("AcquirerStatusReq", values{Merchant: m, Created: timestamp(now), TransactionID: id})
}

// message fills a template and signs it (§11.1). Nothing leaves that our own
// verifier would refuse: a key that does not fit its certificate shows here and
// not at the acquirer.
func (m *Merchant) message(name string, v values) ([]byte, error) {
	var text bytes.Buffer
	if err := templates.ExecuteTemplate(&text, name, v); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	doc, err := xmldsig.Parse(text.Bytes(), xmldsig.Default)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	if err := (xmldsig.Signer{Key: m.Key, Certificate: m.Certificate, KeyName: true}).Sign(doc.Root()); err != nil {
		return nil, fmt.Errorf("sign %s: %w", name, err)
	}
	var out bytes.Buffer
	out.WriteString(declaration)
	if _, err := doc.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	out.WriteByte('\n')
	ours := func(xmldsig.KeyInfo) (*x509.Certificate, error) { return m.Certificate, nil }
	if _, err := xmldsig.Verify(out.Bytes(), xmldsig.Default, xmldsig.Rule{Select: ours}); err != nil {
		return nil, fmt.Errorf("sign %s: the signature does not verify: %w", name, err)
	}
	return out.Bytes(), nil
}
