package jose

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"eidgate/internal/jsondepth"
)

const maxMessage = 64 << 10 // octets of a message in compact form (§1)

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

// Object reads a JSON object that has one reading: no two members of an object
// are equal, even without regard to case (§2). It is for claims, and for text
// that is not signed but comes from the same party.
func Object(raw []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, refuse(JSON, "not UTF-8")
	}
	if jsondepth.TooDeep(raw) { // §1
		return nil, refuse(JSON, "too deep")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return nil, refuse(JSON, "no object")
	}
	w := walk{rest: raw}
	if err := w.value(); err != nil {
		return nil, err
	}
	for name := range members {
		if known, ok := registered[fold(name)]; ok && known != name {
			return nil, refuse(JSON, "another spelling of "+known)
		}
	}
	return members, nil
}

// A walk goes through a text that is known to be JSON, and looks at the names of
// members only.
type walk struct{ rest []byte }

func (w *walk) value() error {
	switch w.peek() {
	case '{':
		return w.list(map[string]bool{})
	case '[':
		return w.list(nil)
	case '"':
		w.text()
	default: // a number, true, false or null, up to what must follow
		w.rest = w.rest[max(0, bytes.IndexAny(w.rest, ",]} \t\r\n")):]
	}
	return nil
}

// list goes through an object, if there are names, or an array.
func (w *walk) list(names map[string]bool) error {
	for {
		w.rest = w.rest[1:] // what opens it, or a comma
		if c := w.peek(); c == '}' || c == ']' {
			break
		}
		if names != nil {
			name, err := unquote(w.text())
			if err != nil {
				return err
			}
			if name = fold(name); names[name] {
				return refuse(JSON, "a member stands twice")
			}
			names[name] = true
			w.peek()
			w.rest = w.rest[1:] // the colon
		}
		if err := w.value(); err != nil {
			return err
		}
		if w.peek() != ',' {
			break
		}
	}
	w.rest = w.rest[1:]
	return nil
}

// peek is the next character that is no white space.
func (w *walk) peek() byte {
	w.rest = bytes.TrimLeft(w.rest, " \t\r\n")
	return w.rest[0]
}

// text takes a string, with its quotes.
func (w *walk) text() []byte {
	end := 1
	for w.rest[end] != '"' {
		if w.rest[end] == '\\' {
			end++
		}
		end++
	}
	s := w.rest[:end+1]
	w.rest = w.rest[end+1:]
	return s
}

func unquote(quoted []byte) (s string, err error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	if json.Unmarshal(quoted, &s) != nil {
		return "", refuse(JSON, "name of a member")
	}
	return s, nil
}

// fold makes names equal that differ by case alone, as encoding/json does when
// it looks for the field of a struct.
func fold(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf || r >= 'A' && r <= 'Z' }) {
		return name
	}
	return strings.Map(func(r rune) rune {
		for next := unicode.SimpleFold(r); ; next = unicode.SimpleFold(next) {
			if next <= r { // the orbit has come round: its smallest rune
				return unicode.ToLower(next)
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
