package jose

import (
	"fmt"
	"log/slog"
)

// What holds private keys or what a token says is shown in logs and by package
// fmt by its name or number only.

func (k Key) String() string            { return "key " + k.ID }
func (k Key) GoString() string          { return k.String() }
func (k Key) LogValue() slog.Value      { return slog.StringValue(k.String()) }
func (s *Set) String() string           { return fmt.Sprintf("%d keys", len(s.keys)) }
func (s *Set) GoString() string         { return s.String() }
func (s *Set) LogValue() slog.Value     { return slog.StringValue(s.String()) }
func (c Claims) String() string         { return fmt.Sprintf("%d claims", len(c.Raw)) }
func (c Claims) GoString() string       { return c.String() }
func (c Claims) LogValue() slog.Value   { return slog.StringValue(c.String()) }
func (h Header) String() string         { return h.Alg + " header" }
func (h Header) GoString() string       { return h.String() }
func (h Header) LogValue() slog.Value   { return slog.StringValue(h.String()) }
func (v Verified) String() string       { return "token verified with " + v.Header.Alg }
func (v Verified) GoString() string     { return v.String() }
func (v Verified) LogValue() slog.Value { return slog.StringValue(v.String()) }
func (p Proof) String() string          { return "proof verified with " + p.Alg }
func (p Proof) GoString() string        { return p.String() }
func (p Proof) LogValue() slog.Value    { return slog.StringValue(p.String()) }
