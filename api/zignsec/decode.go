package zignsec

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"eidgate/eid"
	"eidgate/internal/jsondepth"
)

// maxBody is what a request may hold: the longest hidden text to sign is
// 200 000 characters (docs/apis/zignsec.md §5).
const maxBody = 1 << 20

var (
	errTooLarge = errors.New("body too large")
	errBody     = errors.New("body not readable")
	errDeep     = errors.New("body nested too deeply")
)

// params are a request's parameters under their canonical names: lower case,
// without "_" and "-". A missing, null or empty one is absent.
type params map[string]string

// decode reads what clients of this API really send (§2.2): a form or JSON
// whatever the Content-Type says, names in any case, booleans and numbers as
// text or not, JSON with single quotes, and the query string with less weight.
func decode(r *http.Request) (params, error) {
	out := params{}
	if out.form(r.URL.RawQuery) != nil {
		clear(out) // a query that cannot be read is no reason to refuse the body
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
	body := params{}
	if err := body.body(raw); err != nil {
		return nil, err
	}
	maps.Copy(out, body)
	return out, nil
}

func (p params) body(raw []byte) error {
	raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
	switch {
	case len(raw) == 0:
		return nil
	case !utf8.Valid(raw), bytes.IndexByte([]byte(`[<"`), raw[0]) >= 0:
		return errBody
	case raw[0] != '{':
		return p.form(string(raw))
	case jsondepth.TooDeep(raw):
		return errDeep
	case p.json("", raw) == nil:
		return nil
	}
	clear(p)
	strict, err := relax(raw)
	if err != nil {
		return err
	}
	return p.json("", strict)
}

// form reads name=value&name=value in the order in which it is written. A name
// that holds a line or a semicolon is another format's.
func (p params) form(raw string) error {
	for pair := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err1 != nil || err2 != nil || !utf8.ValidString(name) || !utf8.ValidString(value) || strings.ContainsAny(name, ";\r\n") {
			return errBody
		}
		p.set(name, value)
	}
	return nil
}

// json reads an object in the order in which it is written. Older clients nest
// some parameters: one level is flattened, "requirement.cardreader".
func (p params) json(prefix string, raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil { // the brace, which the caller has seen
		return errBody
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		var v json.RawMessage
		if err != nil || !ok || d.Decode(&v) != nil {
			return errBody
		}
		name = prefix + name
		switch {
		case string(v) == "null":
			p.set(name, "")
		case v[0] == '"':
			var s string
			if json.Unmarshal(v, &s) != nil {
				return errBody
			}
			p.set(name, s)
		case v[0] == '{' && prefix == "":
			if err := p.json(name+".", v); err != nil {
				return err
			}
		default:
			p.set(name, string(v))
		}
	}
	if _, err := d.Token(); err != nil {
		return errBody
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errBody
	}
	return nil
}

// set takes a parameter; the last one of a name counts.
func (p params) set(name, value string) {
	name = canonical(name)
	if a, ok := aliases[name]; ok {
		name = a
	}
	switch {
	case value == "":
		delete(p, name)
	case name != "":
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

// known are the parameters that have a meaning here; names below one that ends
// in a full stop too.
var known = []string{"configid", "custom", "environment", "language", "layout",
	"personalnumber", "providerrequest.", "relaystate", "target", "targeterror", "webhook", "webhookemail"}

// particular are those that mean something to some eIDs alone; for the others
// of them see takes.
var particular = map[string][]eid.EID{
	"attributes":         {eid.IDIN},
	"askforcpr":          {eid.MitID},
	"idinidp":            {eid.IDIN, eid.IDINAge},
	"popupcontext":       {eid.MitID}, // of a client's own window, which it opens itself
	"usernonvisibledata": {eid.BankIDSE},
	"uservisibledata":    {eid.BankIDSE},
}

// takes says whether a parameter means something to this method, and not to all.
func (m method) takes(name string, by workflow) bool {
	switch name {
	case "loginhint":
		return m.name == "nbid_oidc"
	case "additionalidentityinfo":
		return m.eid == eid.BankIDNO && by != third // which tells all that the contract covers
	case "lookuppersonaddress":
		return m.eid == eid.BankIDSE && by != third // which has no word for the answer
	case "enduserinfo", "enduserip":
		return by == headless
	}
	return slices.Contains(particular[name], m.eid) || by == headless && strings.HasPrefix(name, "requirement.")
}

// prune takes out what has no meaning for these methods, and names it for the
// session's timeline (§2.2). What does not look like a name may be somebody's
// data, and is not told.
func (p params) prune(ms []method, by workflow) []string {
	var out []string
	for k := range p {
		if slices.ContainsFunc(known, func(n string) bool { return n == k || strings.HasSuffix(n, ".") && strings.HasPrefix(k, n) }) ||
			slices.ContainsFunc(ms, func(m method) bool { return m.takes(k, by) }) {
			continue
		}
		delete(p, k)
		if len(k) <= 40 && strings.Trim(k, "abcdefghijklmnopqrstuvwxyz.") == "" {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), 10)]
}

// relax turns JSON with single quotes, bare names, bare numbers of any form and
// trailing commas into JSON. It reads each byte once.
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
		case bare(c):
			j := i
			for j < len(in) && bare(in[j]) {
				j++
			}
			switch word := string(in[i:j]); word {
			case "true", "false", "null":
				out.WriteString(word)
			default: // a number too: 0608914472 is none in JSON
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

// bare says whether a name or a number may hold it without quotes.
func bare(c byte) bool {
	return c == '_' || c == '-' || c == '+' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
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
