// Package claims says what relying parties are told about a person, and in
// which words: one table from the broker's eid.Identity to the names, scopes
// and formats that programs written for Signicat, or for OpenID Connect, expect.
// It also reads acr_values, by which they say how a person should log in.
//
// Everything here is pure: no clock, no network, no store. What a token says of
// itself (iss, aud, exp …) is the affair of the API that makes it.
// docs/apis/signicat.md describes it; § in comments refers to that file.
package claims

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"eidgate/eid"
	"eidgate/relying"
)

// A Claim is one fact about a person. Value is a string, bool, int or Object;
// what is not known is no claim at all, rather than null or "".
type Claim struct {
	Name  string
	Value any
}

// An Object is a JSON object whose members keep their order.
type Object []Claim

// LogValue shows how many members there are, never what they say.
func (o Object) LogValue() slog.Value { return slog.IntValue(len(o)) }

func (o Object) String() string { return fmt.Sprintf("object of %d claims", len(o)) }

// LogValue shows the name only.
func (c Claim) LogValue() slog.Value { return slog.StringValue(c.Name) }

func (c Claim) String() string { return "claim " + c.Name }

// MarshalJSON implements json.Marshaler.
func (o Object) MarshalJSON() ([]byte, error) {
	b, err := append(make([]byte, 0, 512), '{'), error(nil)
	for i, c := range o {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendJSON(b, c.Name); err != nil {
			return nil, err
		}
		if b, err = appendJSON(append(b, ':'), c.Value); err != nil {
			return nil, fmt.Errorf("claim %s: %w", c.Name, err)
		}
	}
	return append(b, '}'), nil
}

// appendJSON is json.Marshal, which most values of a token do not need.
func appendJSON(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case string:
		if !strings.ContainsFunc(v, escaped) {
			return append(append(append(b, '"'), v...), '"'), nil
		}
	}
	raw, err := json.Marshal(v)
	return append(b, raw...), err
}

func escaped(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"\<>&`, r) }

// A Format says how values are written (§2.4).
type Format struct {
	Standard bool // as OpenID Connect writes them, not as Signicat does
	Strings  bool // true and 42 as "true" and "42"
}

// FormatFor is the format of a client.
func FormatFor(c *relying.Client) Format {
	return Format{Standard: c.Profile != relying.Signicat, Strings: c.StringsOnly}
}

// For is what scopes release of a person, in the order of the table whatever
// the order of the scopes is (§2). Scopes that are not in it release nothing.
// Evidence is that of the session; only scopes that show proofs look at it.
func For(scopes []string, id *eid.Identity, f Format, evidence ...eid.Evidence) Object {
	p := &person{Identity: id, format: f, evidence: evidence}
	var out Object
	for i := range table {
		r := &table[i]
		if !slices.Contains(scopes, r.scope) || slices.Contains(r.except, id.EID) ||
			slices.ContainsFunc(out, func(c Claim) bool { return c.Name == r.claim }) {
			continue
		}
		if v := f.value(r.value(p)); v != nil {
			out = append(out, Claim{r.claim, v})
		}
	}
	return out
}

// value writes a value as the format has it; nil when there is none.
func (f Format) value(v any) any {
	switch v := v.(type) {
	case string:
		if v == "" {
			return nil
		}
	case Object:
		if len(v) == 0 {
			return nil
		}
	case bool:
		if f.Strings {
			return strconv.FormatBool(v)
		}
	case int:
		if f.Strings {
			return strconv.Itoa(v)
		}
	}
	return v
}

// IDToken is those of the scopes whose claims stand in an ID token, too (§2.3).
func IDToken(scopes []string, d relying.UserData) []string {
	switch d {
	case relying.All:
		return scopes
	case relying.StandardScopes:
		var out []string
		for _, s := range scopes {
			if known(s).standard {
				out = append(out, s)
			}
		}
		return out
	case relying.Minimal:
	}
	return nil
}

// Names is every claim that For can give, in the order of the table.
func Names() []string {
	var out []string
	for _, r := range table {
		if !slices.Contains(out, r.claim) {
			out = append(out, r.claim)
		}
	}
	return out
}
