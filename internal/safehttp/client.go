// Package safehttp calls addresses that came from outside: webhooks, key sets,
// callbacks. It reaches the public internet and nothing else, follows no
// redirects, and bounds time and size of every answer. Which rules an address
// must keep is described in docs/outbound.md.
package safehttp

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Bounds of an answer.
const (
	MaxHeader = 16 << 10
	MaxBody   = 64 << 10
)

// Timeouts bound the parts of an exchange. A zero field means the default.
type Timeouts struct {
	Connect time.Duration // name and connection; default 5 s
	TLS     time.Duration // handshake; default 5 s
	Header  time.Duration // from request sent to complete headers; default 15 s
	Total   time.Duration // everything; default 20 s
}

// A Config says what a Client may reach.
type Config struct {
	Policy   Policy
	Roots    *x509.CertPool // nil for the system's
	Resolver *net.Resolver  // nil for the system's
	Timeouts Timeouts
	Blocked  func() // learns of each request whose address is refused with Blocked; nil for nobody
}

// A Client makes requests. It keeps connections for a short while, no cookies
// and no credentials, and ignores proxies named in the environment.
type Client struct {
	policy Policy
	total  time.Duration
	http   *http.Client
	told   func()
}

// A Response is an answer, read and closed.
type Response struct {
	Status    int
	Header    http.Header
	Body      []byte // as it came: never decompressed
	Truncated bool   // the body went on beyond MaxBody, or broke off
}

// New makes a client.
func New(c Config) *Client {
	limits := c.Timeouts.withDefaults()
	dialer := &net.Dialer{
		Timeout:  limits.Connect,
		Resolver: c.Resolver,
		Control:  c.Policy.control,
	}
	return &Client{
		policy: c.Policy,
		total:  limits.Total,
		told:   c.Blocked,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                  nil, // a proxy would resolve names for us, unchecked
				DialContext:            dialer.DialContext,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots},
				TLSHandshakeTimeout:    limits.TLS,
				ResponseHeaderTimeout:  limits.Header,
				MaxResponseHeaderBytes: MaxHeader,
				DisableCompression:     true,
				MaxIdleConns:           64,
				MaxIdleConnsPerHost:    16,
				IdleConnTimeout:        30 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Connect: cmp.Or(t.Connect, 5*time.Second),
		TLS:     cmp.Or(t.TLS, 5*time.Second),
		Header:  cmp.Or(t.Header, 15*time.Second),
		Total:   cmp.Or(t.Total, 20*time.Second),
	}
}

// control sees the address that a socket is about to connect to, after every
// resolution: there is no gap between check and use.
func (p Policy) control(network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return errBlocked
	}
	if err := p.checkAddr(to.Addr()); err != nil {
		return err
	}
	if p.Loopback && to.Addr().Unmap().IsLoopback() || p.acceptsPort(to.Port()) {
		return nil
	}
	return errBlocked
}

// Do sends a request to an address that CheckURL accepts and reads the answer.
// Errors are *Error. A status of 300 to 399 is one, with Redirect; any other
// status is an answer. Once the headers are complete there is an answer, even
// if its body breaks off.
func (c *Client) Do(ctx context.Context, req *http.Request) (*Response, error) {
	res, err := c.do(ctx, req)
	if e, ok := errors.AsType[*Error](err); ok && e.Reason == Blocked && c.told != nil {
		c.told()
	}
	return res, err
}

func (c *Client) do(ctx context.Context, req *http.Request) (*Response, error) {
	u, err := CheckURL(req.URL.String(), c.policy)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, c.total)
	defer cancel()
	out := req.Clone(limited)
	out.URL, out.Host = u, ""
	res, err := c.http.Do(out)
	if err != nil {
		return nil, explain(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // read as far as we want it
	// Nobody asked for another protocol. What follows is no body: no deadline would bound it.
	if res.StatusCode == http.StatusSwitchingProtocols {
		return nil, &Error{Reason: Bad}
	}
	if res.StatusCode >= 300 && res.StatusCode <= 399 {
		return nil, &Error{Reason: Redirect, Status: res.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxBody+1))
	answer := &Response{Status: res.StatusCode, Header: res.Header, Body: body, Truncated: err != nil}
	if len(body) > MaxBody {
		answer.Body, answer.Truncated = body[:MaxBody], true
	}
	return answer, nil
}

// Get is Do for a document that is useless in part: a key set, say. A status
// other than 200 and a body that is not whole are errors.
func (c *Client) Get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, invalid("address cannot be read")
	}
	res, err := c.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	if res.Status != http.StatusOK || res.Truncated {
		return nil, fmt.Errorf("get: %w", &Error{Reason: Bad, Status: res.Status})
	}
	return res.Body, nil
}

// Close ends the connections that wait for another request.
func (c *Client) Close() { c.http.CloseIdleConnections() }
