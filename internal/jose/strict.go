package jose

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxMessage = 64 << 10 // octets of a message in compact form (§1)
	maxDepth   = 32       // objects and arrays in each other (§1)
)

// parts splits a message in compact form, which must have n parts. They are
// counted before anything is decoded.
func parts(compact string, n int) ([]string, error) {
	switch {
	case len(compact) > maxMessage:
		return nil, refuse(Size, "message")
	case strings.Count(compact, ".") != n-1:
		return nil, refuse(Shape, "number of parts")
	}
	return strings.Split(compact, "."), nil
}

var encoding = base64.RawURLEncoding.Strict()

// decode reads base64url without padding. Unlike the standard library it takes
// no line ends: each value has one spelling.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, refuse(Encoding, "line end in base64url")
	}
	raw, err := encoding.DecodeString(s)
	if err != nil {
		return nil, refuse(Encoding, "no base64url")
	}
	return raw, nil
}

// registered are the members whose meaning we know. A member that differs from
// one of them by case alone is refused: other readers may take it for the same.
var registered = func() map[string]string {
	m := map[string]string{}
	for _, name := range strings.Fields("alg enc zip kid typ cty crit b64 jwk jku x5u x5c x5t epk apu apv keys kty use crv " +
		"iss sub aud exp nbf iat jti nonce azp acr amr sid events htm htu ath cnf scope client_id redirect_uri response_type") {
		m[fold(name)] = name
	}
	return m
}()

// object reads a JSON object that has one reading: no two members of an object
// are equal, even without regard to case (§2).
func object(raw []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, refuse(JSON, "not UTF-8")
	}
	if err := unambiguous(raw); err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return nil, refuse(JSON, "no object")
	}
	for name := range members {
		if known, ok := registered[fold(name)]; ok && known != name {
			return nil, refuse(JSON, "another spelling of "+known)
		}
	}
	return members, nil
}

// unambiguous walks through a JSON text. It need not find all that is
// malformed: whoever calls reads the text once more.
func unambiguous(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	type level struct {
		names map[string]bool // nil for an array
		value bool            // in an object: a value is next
	}
	var open []level
	for {
		token, err := d.Token()
		if err != nil {
			if len(open) == 0 && d.InputOffset() > 0 {
				return nil
			}
			return refuse(JSON, "malformed")
		}
		top := len(open) - 1
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:top]
			continue
		}
		if top >= 0 && open[top].names != nil {
			if !open[top].value {
				name, ok := token.(string)
				if !ok {
					return refuse(JSON, "malformed")
				}
				if name = fold(name); open[top].names[name] {
					return refuse(JSON, "a member stands twice")
				}
				open[top].names[name], open[top].value = true, true
				continue
			}
			open[top].value = false
		}
		if delim, ok := token.(json.Delim); ok {
			if len(open) == maxDepth {
				return refuse(JSON, "too deep")
			}
			next := level{}
			if delim == '{' {
				next.names = map[string]bool{}
			}
			open = append(open, next)
		}
	}
}

// fold makes names equal that differ by case alone, as encoding/json does when
// it looks for the field of a struct.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		for next := unicode.SimpleFold(r); ; next = unicode.SimpleFold(next) {
			if next <= r { // the orbit has come round: its smallest rune
				return next
			}
		}
	}, name)
}

// text reads an optional member that is a string.
func text(members map[string]json.RawMessage, name string) (s string, present bool, err error) {
	raw, ok := members[name]
	if !ok {
		return "", false, nil
	}
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false, refuse(JSON, name+" is no string")
	}
	return s, true, nil
}
