// Package agechecked speaks the part of AgeChecked's API that an age check with
// iDIN needs: start one, and ask how it ended. docs/protocols/agechecked.md
// describes it and says how little of it is published; § in comments refers to
// that file.
package agechecked

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

// The addresses of the API (§1).
const (
	LiveBase = "https://api.agechecked.com/api"
	TestBase = "https://staging.agechecked.com/api"
)

const (
	maxAnswer = 64 << 10 // bytes that are read of an answer
	maxURL    = 2048
	timeout   = 15 * time.Second // of one call, whatever the context says
)

// A Client calls AgeChecked. Base, Key and HTTP are required. Redirects are
// never followed, whatever HTTP says about them.
type Client struct {
	Base string // LiveBase, TestBase or a simulator's, no slash at the end
	Key  string // secret merchant key
	HTTP *http.Client

	// No public source names what starts a check with iDIN (§3), so these are
	// settings.
	Method   string // of acapiremote; "" for ac0130
	URLField string // member of the answer with the address for the browser; "" for url
	Return   string // member of the request for our return address; "" for returnurl

	AllowHTTP bool // the browser's address may be http: for a simulator
}

// A Started is a check that waits for a person.
type Started struct {
	ID  int64  // agecheckid
	URL string // for the person's browser
}

// A Result is how a check stands.
type Result struct {
	ID       int64
	Status   Status
	Verified string // ageverifiedid, with an approval; "" if none
}

// ErrRequest means that a request was not sent: the caller has to change it.
var ErrRequest = errors.New("AgeChecked not asked")

// An Error is a call without a usable answer. Calls return it as *Error.
type Error struct {
	Status int    // of HTTP; 0 if no answer came
	Code   string // of the answer's error; "" if it is no plain word
	Sent   bool   // AgeChecked may have got the request
	Err    error  // what is wrong with the answer, or why none came; nil if the rest says it all
}

func (e *Error) Error() string {
	text := "AgeChecked not reached"
	switch {
	case e.Code != "":
		text = "AgeChecked answers " + e.Code
	case e.Status != 0:
		text = "AgeChecked answers status " + strconv.Itoa(e.Status)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

var (
	iso3166   = regexp.MustCompile(`^[A-Z]{2}$`)
	method    = regexp.MustCompile(`^[a-z]{2}[0-9a-z]{1,30}$`)
	plainRef  = regexp.MustCompile(`^[0-9A-Za-z._-]{1,64}$`)
	plainCode = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_.-]{0,63}$`)
)

// Validate finds what is wrong with the settings.
func (c *Client) Validate() error {
	var errs []error
	if !c.reachable(c.Base) {
		errs = append(errs, errors.New("AgeChecked: the address must be https, with a host"))
	}
	if c.Key == "" {
		errs = append(errs, errors.New("AgeChecked: the secret merchant key is required"))
	}
	if !method.MatchString(c.method()) {
		errs = append(errs, errors.New("AgeChecked: the method must have letters and digits"))
	}
	return errors.Join(errs...)
}

func (c *Client) reachable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && len(address) <= maxURL && u.Host != "" && u.User == nil && (u.Scheme == "https" || c.AllowHTTP && u.Scheme == "http")
}

func (c *Client) method() string   { return or(c.Method, "ac0130") }
func (c *Client) urlField() string { return or(c.URLField, "url") }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Start has a check made for a country (two capitals) whose person comes back
// to returnURL (§3). Our reference has up to 64 letters, digits, dots, dashes
// and underscores, and says nothing of the person.
func (c *Client) Start(ctx context.Context, country, returnURL, reference string) (*Started, error) {
	switch {
	case !iso3166.MatchString(country):
		return nil, fmt.Errorf("%w: the country must be two capitals", ErrRequest)
	case !c.reachable(returnURL):
		return nil, fmt.Errorf("%w: the return address must be https", ErrRequest)
	case !plainRef.MatchString(reference):
		return nil, fmt.Errorf("%w: the reference has other characters than it may", ErrRequest)
	}
	body, err := json.Marshal(map[string]string{
		"merchantSecretKey": c.Key, "countrycode": country, "reference": reference, or(c.Return, "returnurl"): returnURL})
	if err != nil {
		return nil, fmt.Errorf("make AgeChecked request: %w", err)
	}
	req, err := http.NewRequest(http.MethodPost, c.Base+"/acapiremote/"+c.method(), bytes.NewReader(body))
	if err != nil {
		return nil, &Error{Err: errAddress}
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	raw, err := c.do(ctx, req)
	if err != nil {
		return nil, err
	}
	return c.readStarted(raw)
}

// Check asks how a check stands (§4). A result that AgeChecked calls final does
// not change any more.
func (c *Client) Check(ctx context.Context, id int64) (*Result, error) {
	if id <= 0 {
		return nil, fmt.Errorf("%w: a check has a positive number", ErrRequest)
	}
	query := url.Values{"merchantkey": {c.Key}, "agecheckid": {strconv.FormatInt(id, 10)}}
	req, err := http.NewRequest(http.MethodGet, c.Base+"/jsonapi/getagecheck?"+query.Encode(), nil)
	if err != nil {
		return nil, &Error{Err: errAddress}
	}
	raw, err := c.do(ctx, req)
	if err != nil {
		return nil, err
	}
	return readResult(raw, id)
}

var errAddress = errors.New("the address cannot be used")

// do sends a request. The secret key is in some of the addresses (§4), so what
// http says of an error is stripped of its address.
func (c *Client) do(ctx context.Context, req *http.Request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var sent atomic.Bool // from the moment in which there is a connection to write to
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	direct := *c.HTTP
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := direct.Do(req.WithContext(ctx))
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return nil, &Error{Sent: sent.Load(), Err: err}
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, &Error{Status: res.StatusCode, Sent: true, Err: err}
	case len(raw) > maxAnswer:
		return nil, &Error{Status: res.StatusCode, Sent: true, Err: fmt.Errorf("the answer is longer than %d bytes", maxAnswer)}
	case res.StatusCode != http.StatusOK:
		return nil, &Error{Status: res.StatusCode, Sent: true}
	}
	return raw, nil
}
