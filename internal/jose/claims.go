package jose

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// Claims are those of RFC 7519, read of a token whose signature was checked. A
// time that is not claimed is zero, a text that is not claimed empty.
type Claims struct {
	Issuer, Subject              string
	Audience                     []string
	AudienceIsArray              bool
	Expires, NotBefore, IssuedAt time.Time
	ID, Nonce                    string
	Raw                          map[string]json.RawMessage // all of them
}

// Claims reads the payload: an object of one reading, whose registered claims
// are of the form that RFC 7519 gives them (§4).
func (v *Verified) Claims() (*Claims, error) {
	raw, err := Object(v.Payload)
	if err != nil {
		return nil, err
	}
	c := &Claims{Raw: raw}
	for _, m := range []struct {
		name string
		into *string
	}{{"iss", &c.Issuer}, {"sub", &c.Subject}, {"jti", &c.ID}, {"nonce", &c.Nonce}} {
		if *m.into, _, err = text(raw, m.name); err != nil {
			return nil, refuse(Claim, m.name+" is no string")
		}
	}
	for _, m := range []struct {
		name string
		into *time.Time
	}{{"exp", &c.Expires}, {"nbf", &c.NotBefore}, {"iat", &c.IssuedAt}} {
		if *m.into, err = numericDate(raw, m.name); err != nil {
			return nil, err
		}
	}
	c.Audience, c.AudienceIsArray, err = audience(raw["aud"])
	return c, err
}

func audience(raw json.RawMessage) (list []string, isArray bool, err error) {
	var one string
	switch {
	case raw == nil:
		return nil, false, nil
	case raw[0] == '"' && json.Unmarshal(raw, &one) == nil:
		return []string{one}, false, nil
	case raw[0] != '[':
		return nil, false, refuse(Claim, "aud is neither a string nor an array")
	}
	var members []json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil, false, refuse(Claim, "aud is neither a string nor an array")
	}
	for _, m := range members { // null would become an empty string
		if m[0] != '"' || json.Unmarshal(m, &one) != nil {
			return nil, false, refuse(Claim, "aud holds what is no string")
		}
		list = append(list, one)
	}
	return list, true, nil
}

// latest is the last second that a time of ours can name: the end of 9999.
const latest = 253402300799

// numericDate reads seconds since 1970, of which fractions are dropped.
func numericDate(members map[string]json.RawMessage, name string) (time.Time, error) {
	raw, ok := members[name]
	if !ok {
		return time.Time{}, nil
	}
	f, err := strconv.ParseFloat(string(raw), 64) // of JSON, only a number is one for it
	if err != nil || f < 0 || f > latest {
		return time.Time{}, refuse(Claim, name+" is no date")
	}
	return time.Unix(int64(math.Floor(f)), 0).UTC(), nil
}

// For reports whether one member of aud is this one, to the octet.
func (c *Claims) For(audience string) bool {
	return audience != "" && slices.Contains(c.Audience, audience)
}

// A Window says which times are accepted. Zero durations, other than Skew, say
// nothing.
type Window struct {
	Now  time.Time
	Skew time.Duration // by which clocks may differ: exp may have passed, nbf and iat lie ahead

	Need  []string      // which of exp, nbf and iat must be claimed
	Ahead time.Duration // how far ahead exp may lie at most
	Age   time.Duration // how long ago nbf and iat may lie at most
	Span  time.Duration // how long after nbf, or iat if that is not claimed, exp may lie at most
}

// Times checks exp, nbf and iat. Skew widens what is ahead and what has
// passed, not Age and Span.
func (c *Claims) Times(w Window) error {
	for _, name := range w.Need {
		if _, ok := c.Raw[name]; !ok {
			return refuse(Claim, "no "+name)
		}
	}
	if !c.Expires.IsZero() {
		if !w.Now.Before(c.Expires.Add(w.Skew)) {
			return refuse(Time, "exp has passed")
		}
		if w.Ahead > 0 && c.Expires.After(w.Now.Add(w.Ahead+w.Skew)) {
			return refuse(Time, "exp is too far ahead")
		}
	}
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"nbf", c.NotBefore}, {"iat", c.IssuedAt}} {
		if t.at.IsZero() {
			continue
		}
		if t.at.After(w.Now.Add(w.Skew)) {
			return refuse(Time, t.name+" is ahead")
		}
		if w.Age > 0 && w.Now.Sub(t.at) > w.Age {
			return refuse(Time, t.name+" is too long ago")
		}
	}
	from := c.NotBefore
	if from.IsZero() {
		from = c.IssuedAt
	}
	if w.Span > 0 && !from.IsZero() && !c.Expires.IsZero() && c.Expires.Sub(from) > w.Span {
		return refuse(Time, "exp is too long after the beginning")
	}
	return nil
}
