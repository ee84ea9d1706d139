package idinqr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"
)

// LiveURL is where codes are made, in the version that the newer of two sources
// names (§3).
const LiveURL = "https://qrcode.idin.nl/idin-qr/v1.1/generate"

const (
	maxAnswer = 64 << 10 // bytes that are read of an answer
	maxURL    = 512
	timeout   = 15 * time.Second // of one call, whatever the context says
)

// A Client has codes made for one merchant. Redirects are never followed,
// whatever HTTP says about them.
type Client struct {
	URL       string // LiveURL or a simulator's
	Token     string // merchant_token: a GUID, and the only thing that authenticates us
	Key       Key
	HTTP      *http.Client
	Now       func() time.Time
	AllowHTTP bool // an image may have an http address: for a simulator
}

// A UseCase says how often a code may be scanned (§3).
type UseCase string

const (
	Many UseCase = "00" // without limit, for a month at most
	Few  UseCase = "01" // 4 times, for 15 minutes at most
)

// A Code is what a code must be.
type Code struct {
	SubID    int    // subID of the merchant, 0 for none
	Service  uint16 // ServiceId of iDIN that is asked for
	UseCase  UseCase
	Lifetime time.Duration // within the use case's limit, at least a second
	Size     int           // width of the image, 100 to 2000 pixels
}

// A Generated is a code that can be shown.
type Generated struct {
	ID      string    // qr_id: names the code in a Call; it is not in Image
	Image   string    // address of the picture, for the browser
	Expires time.Time // whole seconds
}

// ErrRequest means that a request was not sent, since it would be refused: the
// caller has to change it.
var ErrRequest = errors.New("iDIN QR code not asked for")

// An Error is a call that gave no code. Generate returns it as *Error.
type Error struct {
	Status int   // of HTTP; 0 if no answer came
	Sent   bool  // the back-end may have got the request
	Err    error // what is wrong with the answer, or why none came; nil if Status says it all
}

func (e *Error) Error() string {
	text := "iDIN QR back-end not reached"
	if e.Status != 0 {
		text = "iDIN QR back-end answers status " + strconv.Itoa(e.Status)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

var (
	guid  = regexp.MustCompile(`^[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$`)
	limit = map[UseCase]time.Duration{Many: 31 * 24 * time.Hour, Few: 15 * time.Minute}
)

// Check finds what is wrong with the settings.
func (c *Client) Check() error {
	var errs []error
	if !c.reachable(c.URL) {
		errs = append(errs, errors.New("iDIN QR: the address must be https, with a host, of at most 512 characters"))
	}
	if !guid.MatchString(c.Token) {
		errs = append(errs, errors.New("iDIN QR: the merchant token must be a GUID"))
	}
	if len(c.Key) == 0 {
		errs = append(errs, errors.New("iDIN QR: a signing key is required"))
	}
	return errors.Join(errs...)
}

func (c *Client) reachable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && len(address) <= maxURL && u.Host != "" && u.User == nil && (u.Scheme == "https" || c.AllowHTTP && u.Scheme == "http")
}

func (k Code) validate() error {
	longest, known := limit[k.UseCase]
	switch {
	case !known:
		return fmt.Errorf("%w: the use case is not known", ErrRequest)
	case k.Lifetime < time.Second || k.Lifetime > longest:
		return fmt.Errorf("%w: the lifetime must lie between 1s and %v", ErrRequest, longest)
	case k.Size < 100 || k.Size > 2000:
		return fmt.Errorf("%w: the size must lie between 100 and 2000 pixels", ErrRequest)
	case k.SubID < 0 || k.SubID > 999_999:
		return fmt.Errorf("%w: subID must lie between 0 and 999999", ErrRequest)
	}
	return nil
}

// Generate has a code made (§3). The answer's hash is verified before it is
// read.
func (c *Client) Generate(ctx context.Context, k Code) (*Generated, error) {
	if err := k.validate(); err != nil {
		return nil, err
	}
	expires := c.Now().UTC().Add(k.Lifetime).Truncate(time.Second)
	body, err := json.Marshal(struct {
		Token      string  `json:"merchant_token"`
		SubID      int     `json:"merchant_sub_id"`
		Expiration string  `json:"expiration"`
		Size       int     `json:"size"`
		Service    uint16  `json:"idin_service_id"`
		UseCase    UseCase `json:"use_case"`
	}{c.Token, k.SubID, expires.Format(time.DateTime), k.Size, k.Service, k.UseCase})
	if err != nil {
		return nil, fmt.Errorf("make iDIN QR request: %w", err)
	}
	raw, hash, err := c.post(ctx, body)
	if err != nil {
		return nil, err
	}
	wrong := func(err error) (*Generated, error) { return nil, &Error{Status: http.StatusOK, Sent: true, Err: err} }
	if err := c.Key.Verify(raw, hash); err != nil {
		return wrong(err)
	}
	var answer struct {
		ID    string `json:"qr_id"`
		Image string `json:"qr_url"`
	}
	switch {
	case json.Unmarshal(raw, &answer) != nil: // whose text may quote the answer
		return wrong(errors.New("the answer is not the JSON that was expected"))
	case !plainID.MatchString(answer.ID):
		return wrong(errors.New("the answer has no usable qr_id"))
	case !c.reachable(answer.Image):
		return wrong(errors.New("the answer has no usable qr_url"))
	}
	return &Generated{ID: answer.ID, Image: answer.Image, Expires: expires}, nil
}

// post sends a request and returns the answer with its hash.
func (c *Client) post(ctx context.Context, body []byte) (raw []byte, hash string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var sent atomic.Bool // from the moment in which there is a connection to write to
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return nil, "", &Error{Err: errors.New("the address cannot be used")}
	}
	req.Header.Set("Content-Type", "application/json; charset=UTF-8")
	direct := *c.HTTP
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := direct.Do(req)
	if err != nil {
		return nil, "", &Error{Sent: sent.Load(), Err: err}
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, "", &Error{Status: res.StatusCode, Sent: true}
	}
	raw, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, "", &Error{Status: res.StatusCode, Sent: true, Err: err}
	case len(raw) > maxAnswer:
		return nil, "", &Error{Status: res.StatusCode, Sent: true, Err: fmt.Errorf("the answer is longer than %d bytes", maxAnswer)}
	}
	return raw, res.Header.Get(HashHeader), nil
}
