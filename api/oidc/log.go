package oidc

import (
	"fmt"
	"log/slog"
	"strconv"
)

// What holds claims, codes, tokens or keys shows neither: not to package fmt,
// not to logs, and not as JSON inside of something that is logged. Records that
// are stored as JSON have no MarshalJSON; nobody logs them inside of others.

func (t terms) String() string       { return "request of " + t.Client }
func (t terms) GoString() string     { return t.String() }
func (t terms) LogValue() slog.Value { return slog.StringValue(t.String()) }

func (s snapshot) String() string       { return "claims of " + s.Request.Client }
func (s snapshot) GoString() string     { return s.String() }
func (s snapshot) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (p params) String() string       { return fmt.Sprintf("%d parameters", len(p)) }
func (p params) GoString() string     { return p.String() }
func (p params) LogValue() slog.Value { return slog.StringValue(p.String()) }

func (t tokens) String() string       { return "tokens" }
func (t tokens) GoString() string     { return t.String() }
func (t tokens) LogValue() slog.Value { return slog.StringValue(t.String()) }

func (p proof) String() string       { return "client authentication" }
func (p proof) GoString() string     { return p.String() }
func (p proof) LogValue() slog.Value { return slog.StringValue(p.String()) }

func (l Leaving) String() string               { return "answer" }
func (l Leaving) GoString() string             { return l.String() }
func (l Leaving) LogValue() slog.Value         { return slog.StringValue(l.String()) }
func (l Leaving) MarshalJSON() ([]byte, error) { return quoted(l) }

func (p Pushed) String() string               { return "request of " + p.Client }
func (p Pushed) GoString() string             { return p.String() }
func (p Pushed) LogValue() slog.Value         { return slog.StringValue(p.String()) }
func (p Pushed) MarshalJSON() ([]byte, error) { return quoted(p) }

func (g Grant) String() string               { return "grant of " + g.Client }
func (g Grant) GoString() string             { return g.String() }
func (g Grant) LogValue() slog.Value         { return slog.StringValue(g.String()) }
func (g Grant) MarshalJSON() ([]byte, error) { return quoted(g) }

func (k SigningKey) String() string               { return "key " + k.ID }
func (k SigningKey) GoString() string             { return k.String() }
func (k SigningKey) LogValue() slog.Value         { return slog.StringValue(k.String()) }
func (k SigningKey) MarshalJSON() ([]byte, error) { return quoted(k) }

func quoted(s fmt.Stringer) ([]byte, error) { return strconv.AppendQuote(nil, s.String()), nil }
