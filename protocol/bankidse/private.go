package bankidse

import (
	"fmt"
	"log/slog"
)

// Whatever knows a person, what they sign, or a secret of theirs says no more
// to a log or to fmt than what it is. slog asks only the outermost value, and
// its JSON handler does not ask for String: hence both, for every such type.

func (StartRequest) String() string { return "BankID start" }
func (AuthRequest) String() string  { return "BankID identification" }
func (SignRequest) String() string  { return "BankID signature" }
func (Web) String() string          { return "BankID browser facts" }
func (Requirement) String() string  { return "BankID requirement" }
func (Order) String() string        { return "BankID order" }
func (Completion) String() string   { return "BankID completion" }
func (VerifyInput) String() string  { return "BankID signature to verify" }
func (Verified) String() string     { return "BankID signature, verified" }

// String says how far an order has come.
func (c Collected) String() string {
	return fmt.Sprintf("BankID order %s %s", plain(c.Status), plain(c.HintCode))
}

// plain leaves out what is no code.
func plain(s string) string {
	if !plainCode.MatchString(s) {
		return "-"
	}
	return s
}

func (r StartRequest) LogValue() slog.Value { return slog.StringValue(r.String()) }
func (r AuthRequest) LogValue() slog.Value  { return slog.StringValue(r.String()) }
func (r SignRequest) LogValue() slog.Value  { return slog.StringValue(r.String()) }
func (w Web) LogValue() slog.Value          { return slog.StringValue(w.String()) }
func (r Requirement) LogValue() slog.Value  { return slog.StringValue(r.String()) }
func (o Order) LogValue() slog.Value        { return slog.StringValue(o.String()) }
func (c Collected) LogValue() slog.Value    { return slog.StringValue(c.String()) }
func (c Completion) LogValue() slog.Value   { return slog.StringValue(c.String()) }
func (in VerifyInput) LogValue() slog.Value { return slog.StringValue(in.String()) }
func (v Verified) LogValue() slog.Value     { return slog.StringValue(v.String()) }
