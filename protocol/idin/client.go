package idin

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

const (
	connectTimeout = 5 * time.Second
	totalTimeout   = 15 * time.Second // of one call, whatever the context says (§2)
	maxAnswer      = 256 << 10        // bytes that are read of an answer
)

// A Client calls the routing service of one merchant. It follows no redirect,
// repeats nothing, and reads at most 256 KiB.
type Client struct {
	merchant *Merchant
	http     *http.Client
	now      func() time.Time
}

// An Option changes a Client.
type Option func(*Client)

// WithTransport replaces the transport, and so its trust and its time to connect.
func WithTransport(rt http.RoundTripper) Option { return func(c *Client) { c.http.Transport = rt } }

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(c *Client) { c.now = now } }

// NewClient makes a client for a merchant that has been checked.
func NewClient(m *Merchant, options ...Option) *Client {
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
	c := &Client{merchant: m, now: time.Now, http: &http.Client{
		Timeout:       totalTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         dialer.DialContext,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: connectTimeout,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 64, // as many as are busy at once, so that no burst shakes hands anew
			IdleConnTimeout:     90 * time.Second,
		},
	}}
	for _, o := range options {
		o(c)
	}
	return c
}

// Directory fetches the list of banks (§3).
func (c *Client) Directory(ctx context.Context) (*Directory, error) {
	now := c.now()
	message, err := c.merchant.directoryRequest(now)
	if err != nil {
		return nil, err
	}
	raw, err := c.post(ctx, c.merchant.DirectoryURL, message)
	if err != nil {
		return nil, fmt.Errorf("fetch directory: %w", err)
	}
	return c.merchant.ReadDirectory(raw, c.now())
}

// Start asks the bank for a transaction (§3). After an error that may have
// been sent the transaction may exist, and nobody will ever know its number:
// another try needs another Reference and another EntranceCode.
func (c *Client) Start(ctx context.Context, t Transaction) (*Started, error) {
	if t.Now.IsZero() {
		t.Now = c.now()
	}
	message, err := c.merchant.transactionRequest(t)
	if err != nil {
		return nil, err
	}
	raw, err := c.post(ctx, c.merchant.TransactionURL, message)
	if err != nil {
		return nil, fmt.Errorf("start transaction: %w", err)
	}
	return c.merchant.ReadStarted(raw, c.now())
}

// Status asks for the state of a transaction and returns the answer as it came:
// data come once (§7.2), so it is kept before ReadStatus looks at it. When to
// ask is regulated (§12).
func (c *Client) Status(ctx context.Context, transactionID string) (raw []byte, err error) {
	message, err := c.merchant.statusRequest(transactionID, c.now())
	if err != nil {
		return nil, err
	}
	if raw, err = c.post(ctx, c.merchant.StatusURL, message); err != nil {
		return nil, fmt.Errorf("ask for status: %w", err)
	}
	return raw, nil
}

// post sends a message. Refusals of iDx come with status 200; with another one
// there is nothing to read (§2).
func (c *Client) post(ctx context.Context, address string, message []byte) ([]byte, error) {
	var sent atomic.Bool // from the moment in which there is a connection to write to
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(message))
	if err != nil {
		return nil, &TransportError{Err: errors.New("the address cannot be used")}
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, &TransportError{Sent: sent.Load(), Err: err}
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, &TransportError{Sent: true, Status: res.StatusCode}
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, &TransportError{Sent: true, Status: res.StatusCode, Err: err}
	case len(raw) > maxAnswer:
		return nil, &TransportError{Sent: true, Status: res.StatusCode, Err: fmt.Errorf("the answer is longer than %d bytes", maxAnswer)}
	}
	return raw, nil
}
