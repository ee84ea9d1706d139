package bankidse

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of texts, in characters of base64 (§4.2).
const (
	MaxVisible    = 40_000
	MaxNonVisible = 200_000
	maxAuthText   = 1_500
	maxUserAgent  = 256
	maxReturnURL  = 512

	maxDeviceIdentifier = 64
)

// Markdown is the value of UserVisibleDataFormat for formatted text (§14).
const Markdown = "simpleMarkdownV1"

// A StartRequest has the members that auth and sign share (§4.1). Empty ones
// are not sent.
type StartRequest struct {
	EndUserIP             string       `json:"endUserIp"`
	UserVisibleData       string       `json:"userVisibleData,omitempty"`    // base64 of UTF-8
	UserNonVisibleData    string       `json:"userNonVisibleData,omitempty"` // base64
	UserVisibleDataFormat string       `json:"userVisibleDataFormat,omitempty"`
	ReturnURL             string       `json:"returnUrl,omitempty"`
	ReturnRisk            bool         `json:"returnRisk,omitempty"`
	Web                   *Web         `json:"web,omitempty"`
	Requirement           *Requirement `json:"requirement,omitempty"`
}

// AuthRequest starts an identification.
type AuthRequest StartRequest

// SignRequest starts a signature.
type SignRequest StartRequest

// Web tells BankID about the browser (§4.4).
type Web struct {
	DeviceIdentifier string `json:"deviceIdentifier,omitempty"` // stable per browser, at most 64 characters
	ReferringDomain  string `json:"referringDomain,omitempty"`
	UserAgent        string `json:"userAgent,omitempty"` // cut at 256 characters before it is sent
}

// cut brings the browser's facts into their limits; nil when there are none,
// since an empty object is refused.
func (w *Web) cut() *Web {
	if w == nil {
		return nil
	}
	out := Web{shorten(w.DeviceIdentifier, maxDeviceIdentifier), w.ReferringDomain, shorten(w.UserAgent, maxUserAgent)}
	if out == (Web{}) {
		return nil
	}
	return &out
}

// shorten keeps whole characters, of limit bytes at most: whoever counts
// characters finds no more.
func shorten(s string, limit int) string {
	s = strings.ToValidUTF8(s[:min(len(s), 4*limit)], "")
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// Requirement narrows who may complete the order, and how (§4.3).
type Requirement struct {
	PinCode             bool     `json:"pinCode,omitempty"`
	MRTD                bool     `json:"mrtd,omitempty"`
	CertificatePolicies []string `json:"certificatePolicies,omitempty"`
	PersonalNumber      string   `json:"personalNumber,omitempty"` // 12 digits
}

// validate finds what BankID would refuse, before it is sent.
func (r StartRequest) validate(visible, hidden int, required bool) error {
	if a, err := netip.ParseAddr(r.EndUserIP); err != nil || a.Zone() != "" {
		return fmt.Errorf("%w: endUserIp is not an address", ErrRequest)
	}
	if required && r.UserVisibleData == "" {
		return fmt.Errorf("%w: userVisibleData is required to sign", ErrRequest)
	}
	if err := CheckText(r.UserVisibleData, visible); err != nil {
		return fmt.Errorf("%w: userVisibleData %w", ErrRequest, err)
	}
	if _, err := decode(r.UserNonVisibleData, hidden); err != nil {
		return fmt.Errorf("%w: userNonVisibleData %w", ErrRequest, err)
	}
	if len(r.ReturnURL) > maxReturnURL {
		return fmt.Errorf("%w: returnUrl is longer than %d characters", ErrRequest, maxReturnURL)
	}
	if q := r.Requirement; q != nil && q.PersonalNumber != "" && !twelve(q.PersonalNumber) {
		return fmt.Errorf("%w: personalNumber must be 12 digits", ErrRequest)
	}
	return nil
}

// CheckText says what is wrong with a base64 text of at most limit characters.
func CheckText(text string, limit int) error {
	raw, err := decode(text, limit)
	if err == nil && !utf8.Valid(raw) {
		err = errors.New("is not the base64 of UTF-8 text")
	}
	return err
}

// decode reads base64 in one line, of at most limit characters.
func decode(text string, limit int) ([]byte, error) {
	if len(text) > limit {
		return nil, fmt.Errorf("is longer than %d characters of base64", limit)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("is not base64")
	}
	return raw, nil
}

func twelve(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

// An Order has been started (§5.1). OrderRef and QRStartSecret stay on the
// server.
type Order struct {
	OrderRef       string `json:"orderRef"`
	AutoStartToken string `json:"autoStartToken"`
	QRStartToken   string `json:"qrStartToken"`
	QRStartSecret  string `json:"qrStartSecret"`
}

// QR is the content of the code to show after the order has run for elapsed,
// of which whole seconds count (§10).
func (o Order) QR(elapsed time.Duration) string {
	t := strconv.FormatInt(int64(max(elapsed, 0)/time.Second), 10)
	m := hmac.New(sha256.New, []byte(o.QRStartSecret))
	m.Write([]byte(t))
	return "bankid." + o.QRStartToken + "." + t + "." + hex.EncodeToString(m.Sum(nil))
}

// A Platform is the kind of device that the app is opened on.
type Platform string

// LaunchURL opens the app on the same device with an order's autoStartToken
// (§11.1). Phones get the https form, computers the app's own scheme.
func LaunchURL(p Platform, token string) string {
	if p == "ios" || p == "android" {
		return "https://app.bankid.com/?autostarttoken=" + token
	}
	return "bankid:///?autostarttoken=" + token
}

// The values of Collected.Status.
const (
	Pending  = "pending"
	Failed   = "failed"
	Complete = "complete"
)

// A Collected is what collect answers (§5.2). Unknown hint codes are possible
// at any time.
type Collected struct {
	OrderRef   string      `json:"orderRef"`
	Status     string      `json:"status"`
	HintCode   string      `json:"hintCode,omitempty"`
	Completion *Completion `json:"completionData,omitempty"`
}

// A Completion is the result of an order (§5.3).
type Completion struct {
	User struct {
		PersonalNumber string `json:"personalNumber"`
		Name           string `json:"name"`
		GivenName      string `json:"givenName"`
		Surname        string `json:"surname"`
	} `json:"user"`
	Device struct {
		IPAddress string `json:"ipAddress"`
		UHI       string `json:"uhi,omitempty"`
	} `json:"device"`
	BankIDIssueDate string  `json:"bankIdIssueDate,omitempty"` // YYYY-MM-DD, at times with a zone
	StepUp          *StepUp `json:"stepUp,omitempty"`
	Signature       string  `json:"signature"`    // base64 of XML, §15
	OCSPResponse    string  `json:"ocspResponse"` // base64 of DER, §16
	Risk            string  `json:"risk,omitempty"`
}

// StepUp says which extra checks were made.
type StepUp struct {
	MRTD bool `json:"mrtd"`
}

// Issued is the date on which the BankID was issued; zero if unknown.
func (c Completion) Issued() time.Time {
	if len(c.BankIDIssueDate) < 10 {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, c.BankIDIssueDate[:10])
	if err != nil {
		return time.Time{}
	}
	return t
}
