package zignsec

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxBody is what a request may hold: the longest hidden text to sign is
// 200 000 characters (docs/apis/zignsec.md §5).
const maxBody = 1 << 20

var (
	errTooLarge = errors.New("the body is larger than 1 MiB")
	errBody     = errors.New("the body is neither JSON nor a form; send application/json or application/x-www-form-urlencoded")
)

// params are a request's parameters under their canonical names: lower case,
// without "_" and "-". A missing, null or empty one is absent.
type params map[string]string

// decode reads what clients of this API really send (§2.2): a form or JSON
// whatever the Content-Type says, names in any case, booleans and numbers as
// text or not, JSON with single quotes, and the query string with less weight.
func decode(r *http.Request) (params, error) {
	out := params{}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err == nil {
		out.form(q)
	}
	if r.Body == nil {
		return out, nil
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, errBody
	}
	if len(raw) > maxBody {
		return nil, errTooLarge
	}
	return out, out.body(raw)
}

func (p params) body(raw []byte) error {
	raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
	if len(raw) == 0 {
		return nil
	}
	if !utf8.Valid(raw) {
		return errBody
	}
	if raw[0] == '{' {
		return p.json(raw)
	}
	f, err := url.ParseQuery(string(raw))
	if err != nil || raw[0] == '[' || raw[0] == '<' || raw[0] == '"' {
		return errBody
	}
	p.form(f)
	return nil
}

func (p params) form(f url.Values) {
	for k, vs := range f {
		p.set(k, vs[len(vs)-1])
	}
}

func (p params) json(raw []byte) error {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		strict, err := relax(raw)
		if err != nil || json.Unmarshal(strict, &m) != nil {
			return errBody
		}
	}
	for k, v := range m {
		v = bytes.TrimSpace(v)
		var s string
		switch {
		case len(v) == 0 || string(v) == "null":
			continue
		case v[0] == '"':
			if json.Unmarshal(v, &s) != nil {
				return errBody
			}
		case v[0] == '{': // older clients nest some parameters; one level is flattened
			var inner map[string]json.RawMessage
			if json.Unmarshal(v, &inner) == nil {
				flat := params{}
				if again, err := json.Marshal(inner); err == nil && depth(v) == 1 && flat.json(again) == nil {
					for ik, iv := range flat {
						p.set(k+"."+ik, iv)
					}
				}
			}
			continue
		case v[0] == '[':
			continue
		default:
			s = string(v)
		}
		p.set(k, s)
	}
	return nil
}

// depth counts how deep objects are nested.
func depth(raw []byte) int {
	deepest, now := 0, 0
	for _, b := range raw {
		switch b {
		case '{':
			now++
			deepest = max(deepest, now)
		case '}':
			now--
		}
	}
	return deepest
}

func (p params) set(name, value string) {
	name = canonical(name)
	if a, ok := aliases[name]; ok {
		name = a
	}
	if value != "" {
		p[name] = value
	}
}

var aliases = map[string]string{"identitynumber": "personalnumber"}

func canonical(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '_' || r == '-':
			return -1
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// yes reads a boolean as clients write it.
func (p params) yes(name string) bool {
	switch strings.ToLower(p[name]) {
	case "true", "1", "yes", "on":
		return true
	}
	return false
}

// relax turns JSON with single quotes, bare names and trailing commas into
// JSON. It reads each byte once.
func relax(in []byte) ([]byte, error) {
	var out bytes.Buffer
	for i := 0; i < len(in); {
		c := in[i]
		switch {
		case c == '"' || c == '\'':
			n, ok := quoted(&out, in[i:])
			if !ok {
				return nil, errBody
			}
			i += n
		case c == ',':
			j := i + 1
			for j < len(in) && strings.IndexByte(" \t\r\n", in[j]) >= 0 {
				j++
			}
			if j < len(in) && (in[j] == '}' || in[j] == ']') {
				i = j
				continue
			}
			out.WriteByte(c)
			i++
		case c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			j := i
			for j < len(in) && (in[j] == '_' || in[j] == '-' || in[j] >= 'a' && in[j] <= 'z' || in[j] >= 'A' && in[j] <= 'Z' || in[j] >= '0' && in[j] <= '9') {
				j++
			}
			word := string(in[i:j])
			if word == "true" || word == "false" || word == "null" {
				out.WriteString(word)
			} else {
				out.WriteString(`"` + word + `"`)
			}
			i = j
		default:
			out.WriteByte(c)
			i++
		}
	}
	return out.Bytes(), nil
}

// quoted copies one string with double quotes; n is what it took of the input.
func quoted(out *bytes.Buffer, in []byte) (n int, ok bool) {
	end := in[0]
	out.WriteByte('"')
	for i := 1; i < len(in); i++ {
		switch c := in[i]; {
		case c == end:
			out.WriteByte('"')
			return i + 1, true
		case c == '\\' && i+1 < len(in):
			i++
			if in[i] == '\'' {
				out.WriteByte('\'')
				continue
			}
			out.WriteByte('\\')
			out.WriteByte(in[i])
		case c == '"':
			out.WriteString(`\"`)
		default:
			out.WriteByte(c)
		}
	}
	return 0, false
}
