package idinqr

import "log/slog"

// What holds a secret, or leads to somebody's login, says no more to a log or
// to fmt than what it is. slog asks only the outermost value, and its JSON
// handler does not ask for String: hence both.

func (k Key) String() string       { return "iDIN QR key" }
func (c Client) String() string    { return "iDIN QR client" }
func (g Generated) String() string { return "iDIN QR code" }
func (c Call) String() string      { return "iDIN QR call" }

func (k Key) LogValue() slog.Value       { return slog.StringValue(k.String()) }
func (c Client) LogValue() slog.Value    { return slog.StringValue(c.String()) }
func (g Generated) LogValue() slog.Value { return slog.StringValue(g.String()) }
func (c Call) LogValue() slog.Value      { return slog.StringValue(c.String()) }
