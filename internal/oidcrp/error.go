package oidcrp

import (
	"context"
	"errors"
	"net"

	"eidgate/internal/circuit"
	"eidgate/internal/jose"
)

// A Kind is what went wrong (§7).
type Kind string

const (
	Unreachable  Kind = "unreachable"
	Timeout      Kind = "timeout"
	BadStatus    Kind = "status" // an answer that is neither a success nor an error of the protocol
	TooLarge     Kind = "too_large"
	ContentType  Kind = "content_type"
	Redirected   Kind = "redirected" // an endpoint that must answer sent us elsewhere
	BadMetadata  Kind = "metadata"
	WrongIssuer  Kind = "issuer"  // of metadata or a token
	WrongState   Kind = "state"   // the browser did not come from this login
	Missing      Kind = "missing" // a parameter or member
	Duplicate    Kind = "duplicate"
	MixUp        Kind = "mixup" // the answer is another provider's (RFC 9207)
	BadResponse  Kind = "token" // a token response that is none
	BadIDToken   Kind = "id_token"
	WrongNonce   Kind = "nonce"
	Audience     Kind = "audience"
	Expired      Kind = "expired"
	WrongHash    Kind = "at_hash"
	BadUserInfo  Kind = "userinfo"
	OtherSubject Kind = "subject" // UserInfo of somebody else
	Encryption   Kind = "encryption"
	NoKeys       Kind = "keys" // the provider's keys could not be had, or lack the one that is named
	BadConfig    Kind = "config"
)

// An Error is everything that goes wrong except the provider's own no. Its text
// holds nothing that somebody else wrote. Sent says whether a request was sent
// of which we do not know what became: a code may have been used.
type Error struct {
	Kind   Kind
	Status int // of the answer, with BadStatus
	Sent   bool
	Err    error
}

func (e *Error) Error() string {
	text := "OpenID provider: " + string(e.Kind)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// A Refused is the provider's own no. Code and Description are its words: they
// are compared with known ones, and never shown or logged as they are.
type Refused struct {
	Where             string // authorization, pushed or token
	Code, Description string
	Status            int // 0 for an authorization response
}

func (e *Refused) Error() string { return "OpenID provider refuses (" + e.Where + ")" }

// A ConfigError says which setting is wrong.
type ConfigError struct{ Field, Problem string }

func (e *ConfigError) Error() string { return e.Field + ": " + e.Problem }

var (
	errNoURL    = errors.New("an endpoint's address is missing or not https")
	errNoKeys   = errors.New("no key of ours for this")
	errNoEncKey = errors.New("the provider publishes no key for this algorithm")
	errNoPAR    = errors.New("no endpoint for pushed requests")
	errForm     = errors.New("not of the form that it must have")
)

// keyError sorts what looking for a key has come to.
func keyError(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &Error{Kind: Timeout, Err: err}
	}
	return &Error{Kind: NoKeys, Err: err}
}

// tokenError sorts what checking a signed or encrypted token has come to.
func tokenError(err error, kind Kind) error {
	e, ok := errors.AsType[*jose.Error](err)
	if !ok {
		return &Error{Kind: kind, Err: err}
	}
	switch e.Kind {
	case jose.Fetch, jose.NoKey:
		return &Error{Kind: NoKeys, Err: err}
	case jose.Decrypt, jose.Unsigned:
		return &Error{Kind: Encryption, Err: err}
	case jose.Time:
		return &Error{Kind: Expired, Err: err}
	case jose.Size:
		return &Error{Kind: TooLarge, Err: err}
	default:
		return &Error{Kind: kind, Err: err}
	}
}

// netError sorts what a call has come to. Its text names no address.
func netError(err error, sent bool) error {
	e := &Error{Kind: Unreachable, Sent: sent}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		e.Kind = Timeout
	}
	if errors.Is(err, context.Canceled) {
		e.Err = context.Canceled
	}
	if open, ok := errors.AsType[*circuit.Open](err); ok {
		e.Err = open
	}
	return e
}
