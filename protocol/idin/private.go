package idin

import "log/slog"

// Whatever knows a person or a secret, or leads to somebody's login, says no
// more to a log or to fmt than what it is. slog asks only the outermost value,
// and its JSON handler does not ask for String: hence both, for every such type.

func (m Merchant) String() string    { return "iDIN merchant" }
func (t Transaction) String() string { return "iDIN transaction" }
func (s Started) String() string     { return "iDIN transaction, started" }
func (e Expected) String() string    { return "iDIN transaction, expected" }
func (p Person) String() string      { return "iDIN person" }

// String says where the transaction stands.
func (s Status) String() string { return "iDIN status " + plain(string(s.State)) }

// String names the codes.
func (s SAMLStatus) String() string {
	if s.Second == "" {
		return plain(s.First)
	}
	return plain(s.First) + "/" + plain(s.Second)
}

func (m Merchant) LogValue() slog.Value    { return slog.StringValue(m.String()) }
func (t Transaction) LogValue() slog.Value { return slog.StringValue(t.String()) }
func (s Started) LogValue() slog.Value     { return slog.StringValue(s.String()) }
func (e Expected) LogValue() slog.Value    { return slog.StringValue(e.String()) }
func (p Person) LogValue() slog.Value      { return slog.StringValue(p.String()) }
func (s Status) LogValue() slog.Value      { return slog.StringValue(s.String()) }
func (s SAMLStatus) LogValue() slog.Value  { return slog.StringValue(s.String()) }
