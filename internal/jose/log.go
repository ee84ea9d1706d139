package jose

import (
	"fmt"
	"log/slog"
	"strconv"
)

// What holds private keys, or what a token says, shows its name or number only,
// to package fmt, to logs, and as JSON inside of something that is logged.

func (k Key) String() string               { return "key " + k.ID }
func (k Key) GoString() string             { return k.String() }
func (k Key) LogValue() slog.Value         { return slog.StringValue(k.String()) }
func (k Key) MarshalJSON() ([]byte, error) { return quoted(k) }

func (s *Set) String() string               { return fmt.Sprintf("%d keys", len(s.keys)) }
func (s *Set) GoString() string             { return s.String() }
func (s *Set) LogValue() slog.Value         { return slog.StringValue(s.String()) }
func (s *Set) MarshalJSON() ([]byte, error) { return quoted(s) }

func (h Header) String() string               { return "header with " + h.Alg }
func (h Header) GoString() string             { return h.String() }
func (h Header) LogValue() slog.Value         { return slog.StringValue(h.String()) }
func (h Header) MarshalJSON() ([]byte, error) { return quoted(h) }

func (v Verified) String() string               { return "token verified with " + v.Header.Alg }
func (v Verified) GoString() string             { return v.String() }
func (v Verified) LogValue() slog.Value         { return slog.StringValue(v.String()) }
func (v Verified) MarshalJSON() ([]byte, error) { return quoted(v) }

func (c Claims) String() string               { return fmt.Sprintf("%d claims", len(c.Raw)) }
func (c Claims) GoString() string             { return c.String() }
func (c Claims) LogValue() slog.Value         { return slog.StringValue(c.String()) }
func (c Claims) MarshalJSON() ([]byte, error) { return quoted(c) }

func (p Proof) String() string               { return "proof verified with " + p.Alg }
func (p Proof) GoString() string             { return p.String() }
func (p Proof) LogValue() slog.Value         { return slog.StringValue(p.String()) }
func (p Proof) MarshalJSON() ([]byte, error) { return quoted(p) }

func quoted(s fmt.Stringer) ([]byte, error) { return strconv.AppendQuote(nil, s.String()), nil }
