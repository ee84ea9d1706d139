package agechecked

import "log/slog"

// What holds a secret, or leads to somebody's check, says no more to a log or
// to fmt than what it is. slog asks only the outermost value, and its JSON
// handler does not ask for String: hence both.

func (c Client) String() string  { return "AgeChecked client" }
func (s Started) String() string { return "AgeChecked check" }
func (r Result) String() string  { return "AgeChecked result " + r.Status.Text() }

func (c Client) LogValue() slog.Value  { return slog.StringValue(c.String()) }
func (s Started) LogValue() slog.Value { return slog.StringValue(s.String()) }
func (r Result) LogValue() slog.Value  { return slog.StringValue(r.String()) }
