// Package bankidse speaks the relying-party API v6.0 of Swedish BankID and
// checks the signatures that it returns. docs/protocols/bankidse.md describes
// both; § in comments refers to that file.
//
// A Client makes one HTTP request a call and keeps nothing; how often to
// collect, and what to show meanwhile, is the caller's affair.
package bankidse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The addresses of the API (§2.1).
const (
	LiveBase = "https://appapi2.bankid.com/rp/v6.0"
	TestBase = "https://appapi2.test.bankid.com/rp/v6.0"
)

// maxAnswer bounds what is read of an answer. A signature with its OCSP
// response is about 20 kB; visible and hidden texts come back inside it.
const maxAnswer = 1 << 20

// A Client calls BankID. Both fields are required: HTTP must present the
// relying party's certificate and trust BankID's own root (§2); see Transport.
// Redirects are never followed, whatever HTTP says about them.
type Client struct {
	Base string // TestBase, LiveBase or a simulator's, no slash at the end
	HTTP *http.Client
}

// ErrRequest means that a request was not sent, since BankID would refuse it:
// the caller has to change it.
var ErrRequest = errors.New("order not sent")

// Auth starts an identification (§3).
func (c *Client) Auth(ctx context.Context, r AuthRequest) (Order, error) {
	if err := StartRequest(r).validate(maxAuthText, maxAuthText, false); err != nil {
		return Order{}, err
	}
	return c.start(ctx, "/auth", StartRequest(r))
}

// Sign starts a signature; its visible text is required (§4.2).
func (c *Client) Sign(ctx context.Context, r SignRequest) (Order, error) {
	if err := StartRequest(r).validate(MaxVisible, MaxNonVisible, true); err != nil {
		return Order{}, err
	}
	return c.start(ctx, "/sign", StartRequest(r))
}

func (c *Client) start(ctx context.Context, path string, r StartRequest) (Order, error) {
	var o Order
	r.Web = r.Web.cut()
	if err := c.post(ctx, path, r, &o); err != nil {
		return Order{}, err
	}
	if o.OrderRef == "" || o.AutoStartToken == "" || o.QRStartToken == "" || o.QRStartSecret == "" {
		return Order{}, errors.New("start order: the answer lacks orderRef or tokens")
	}
	return o, nil
}

// Collect asks for an order's state. A result is delivered once: whoever gets
// Status "complete" must keep it (§8).
func (c *Client) Collect(ctx context.Context, orderRef string) (*Collected, error) {
	var got Collected
	if err := c.post(ctx, "/collect", map[string]string{"orderRef": orderRef}, &got); err != nil {
		return nil, err
	}
	switch {
	case got.OrderRef != "" && got.OrderRef != orderRef:
		return nil, errors.New("collect order: the answer is another order's")
	case got.Status == Complete && got.Completion == nil:
		return nil, errors.New("collect order: complete without completionData")
	}
	return &got, nil
}

// Cancel stops a pending order. One that has ended is no longer known, which
// is not an error here.
func (c *Client) Cancel(ctx context.Context, orderRef string) error {
	err := c.post(ctx, "/cancel", map[string]string{"orderRef": orderRef}, nil)
	var e *Error
	if errors.As(err, &e) && e.Has("invalidParameters") {
		return nil
	}
	return err
}

// Ping proves name resolution, trust in both directions and reachability,
// without making an order: the API refuses GET (§2.2).
func (c *Client) Ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+"/auth", nil)
	if err != nil {
		return fmt.Errorf("ping BankID: %w", err)
	}
	res, err := c.do(req)
	if err != nil {
		return fmt.Errorf("ping BankID: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		return readError(res)
	}
	return nil
}

// do sends a request where it is meant to go: what it says names a person, and
// a redirect may lead anywhere, without TLS as well.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	direct := *c.HTTP
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return direct.Do(req)
}

func (c *Client) post(ctx context.Context, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("BankID %s: %w", path, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+path, bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("BankID %s: %w", path, err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.do(req)
	if err != nil {
		return fmt.Errorf("BankID %s: %w", path, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return readError(res)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("BankID %s: read answer: %w", path, err)
	case len(answer) > maxAnswer:
		return fmt.Errorf("BankID %s: the answer is longer than %d bytes", path, maxAnswer)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("BankID %s: the answer is not the JSON that was expected", path)
	}
	return nil
}

// An Error is an answer that refuses the call (§7). Calls return it as *Error.
type Error struct {
	Status     int
	Code       string        // errorCode; "" when the answer was not JSON, or this no plain word
	Details    string        // for a log of BankID's own words; may repeat what was sent, so Error leaves it out
	RetryAfter time.Duration // of a rate limit, an hour at most; zero if none
}

func (e Error) Error() string {
	switch {
	case e.Code != "":
		return "BankID answers " + strconv.Itoa(e.Status) + " " + e.Code
	case e.Status == http.StatusBadRequest || e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized:
		return "BankID refuses the RP certificate (status " + strconv.Itoa(e.Status) + ")"
	}
	return "BankID answers " + strconv.Itoa(e.Status)
}

// Has compares the code without regard to letter case.
func (e Error) Has(code string) bool { return strings.EqualFold(e.Code, code) }

// readError reads a refusal; the front of the API answers in HTML.
func readError(res *http.Response) error {
	e := &Error{Status: res.StatusCode}
	var body struct{ ErrorCode, Details string }
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && json.Unmarshal(raw, &body) == nil {
		e.Details = body.Details
		if plainCode.MatchString(body.ErrorCode) {
			e.Code = body.ErrorCode
		}
	}
	for _, h := range []string{"RateLimit-Reset", "Retry-After"} {
		if s, err := strconv.Atoi(res.Header.Get(h)); err == nil && s > 0 {
			e.RetryAfter = time.Duration(min(s, 3600)) * time.Second
			break
		}
	}
	return e
}

// plainCode is what an errorCode looks like. Nothing else gets into an error's
// text, and so into logs.
var plainCode = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)
