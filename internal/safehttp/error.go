package safehttp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// A Reason says why a request brought no answer, for a person to read. The set
// is closed.
type Reason string

const (
	Invalid  Reason = "invalid"  // the address breaks a rule of CheckURL
	Blocked  Reason = "blocked"  // it leads to a network or port that is not allowed
	DNS      Reason = "dns"      // its host has no address
	Refused  Reason = "refused"  // nobody answers there, or the connection broke
	TLS      Reason = "tls"      // no trusted encrypted connection
	Timeout  Reason = "timeout"  // no complete answer in time
	Redirect Reason = "redirect" // the answer leads elsewhere; it was not followed
	Bad      Reason = "bad"      // the answer is not HTTP, or its headers are too long
	Stopped  Reason = "stopped"  // the caller gave up
)

// An Error tells no address, name or content of the other side: it may be shown
// to whoever chose the URL, and must not help to explore a network. Only
// context.Canceled can be found inside it.
type Error struct {
	Reason Reason
	Rule   string // the rule that was broken, with Invalid and Blocked
	Status int    // of the answer, with Redirect
	cause  error
}

func (e *Error) Error() string {
	if e.Rule == "" {
		return "request: " + string(e.Reason)
	}
	return "request: " + string(e.Reason) + ": " + e.Rule
}

func (e *Error) Unwrap() error { return e.cause }

// errBlocked passes from the socket's control function through net/http.
var errBlocked = errors.New("address not allowed")

func invalid(rule string) error { return &Error{Reason: Invalid, Rule: rule} }
func blocked(rule string) error { return &Error{Reason: Blocked, Rule: rule} }

// explain turns what net/http reports into a Reason; parent is the caller's
// context, without our own deadline.
func explain(parent context.Context, err error) error {
	if errors.Is(parent.Err(), context.Canceled) {
		return &Error{Reason: Stopped, cause: context.Canceled}
	}
	return &Error{Reason: ReasonOf(err)}
}

// ReasonOf is what an exchange failed of that is not a Client's own; Bad for what
// it does not know.
func ReasonOf(err error) Reason {
	var dns *net.DNSError
	var wait interface{ Timeout() bool }
	switch {
	case errors.Is(err, errBlocked):
		return Blocked
	case errors.As(err, &wait) && wait.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case errors.As(err, &dns):
		return DNS
	case isTLS(err):
		return TLS
	case isConnection(err):
		return Refused
	}
	return Bad
}

func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var verify *tls.CertificateVerificationError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var certificate x509.CertificateInvalidError
	return errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &verify) ||
		errors.As(err, &host) || errors.As(err, &authority) || errors.As(err, &certificate)
}

func isConnection(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
