package claims

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"eidgate/eid"
	"eidgate/relying"
)

// A Choice is what acr_values come to for one client (§4).
type Choice struct {
	// EIDs may be used, in the order in which they were named, or else in that
	// of the active ones. Of several the person chooses; none means that the
	// client may use none of those that are active.
	EIDs []eid.EID
	// Params are inputs for the connectors of these eIDs, under the names of
	// the request. Texts that came in base64 are decoded; several values of
	// one name have commas between.
	Params map[string]string
	// Ignored are the keys that had no effect: unknown ones, those of other
	// eIDs, and those whose value cannot be used. At most 16, and "?" for what
	// does not look like a key. It is never an error.
	Ignored []string
}

// A param is an input for a connector that parties may give.
type param struct {
	eid  eid.EID
	form form
}

// A form is how a parameter's values are written.
type form int

const (
	one  form = iota // the first value counts; commas are part of it
	list             // of words
	text             // base64 of UTF-8, with or without padding, of both alphabets
	flow             // QR, APP_LAUNCH or PHONE
	flag             // true or false
)

const banks = "idin_idp" // BICs of iDIN

// params is the table of what may stand in acr_values beside idp (§4.2).
var params = map[string]param{
	banks:                        {eid.IDIN, list},
	"nbid_idp":                   {eid.BankIDNO, one},
	"sbid_flow":                  {eid.BankIDSE, flow},
	"sbid_initial_flow":          {eid.BankIDSE, flow},
	"sbid_end_user_ip":           {eid.BankIDSE, one},
	"sbid_app_redirect":          {eid.BankIDSE, one},
	"sbid_intention_text":        {eid.BankIDSE, text},
	"sbid_intention_text_format": {eid.BankIDSE, one},
	"sbid_mrtd":                  {eid.BankIDSE, flag},
	"sbid_call_initiator":        {eid.BankIDSE, one},
	"mitid_reference_text":       {eid.MitID, text},
}

const (
	maxValues  = 50 // of one list
	maxIgnored = 16
)

// Choose reads acr_values for a client: which of the active eIDs it asks for,
// and what it says to them. The client's own values stand in for a request
// that has none, or for every request (§4.3). Codes that are not known, not
// active or not allowed to the client count for nothing, and if none is left
// the person chooses among all that are.
func Choose(values string, c *relying.Client, active []eid.EID) Choice {
	if c.ForceACR || strings.TrimSpace(values) == "" {
		values = c.ACRValues
	}
	var out Choice
	var allowed []eid.EID
	for _, e := range active {
		if (len(c.EIDs) == 0 || slices.Contains(c.EIDs, e)) && find(allowed, IDP(e)) == "" {
			allowed = append(allowed, e)
		}
	}
	said := parse(values)
	named := false
	for _, t := range said {
		if t.key != "idp" {
			continue
		}
		named = true
		for _, code := range t.values {
			switch e := find(allowed, code); {
			case e == "":
				out.ignore("idp")
			case !slices.Contains(out.EIDs, e):
				out.EIDs = append(out.EIDs, e)
			}
		}
	}
	hasBanks := slices.ContainsFunc(said, func(t token) bool { return t.key == banks })
	if e := find(allowed, IDP(eid.IDIN)); !named && hasBanks && e != "" {
		out.EIDs = []eid.EID{e}
	}
	if len(out.EIDs) == 0 {
		out.EIDs = allowed
	}
	for _, t := range said {
		if t.key != "idp" {
			out.param(t)
		}
	}
	return out
}

// find is the eID of a list that parties call by a code; "" if there is none.
func find(list []eid.EID, code string) eid.EID {
	i := slices.IndexFunc(list, func(e eid.EID) bool { return code != "" && IDP(e) == code })
	if i < 0 {
		return ""
	}
	return list[i]
}

func (c *Choice) param(t token) {
	p, ok := params[t.key]
	if !ok || find(c.EIDs, IDP(p.eid)) == "" {
		c.ignore(t.key)
		return
	}
	value, ok := p.form.read(t.values)
	had, again := c.Params[t.key]
	switch {
	case !ok, again && p.form != list:
		c.ignore(t.key)
		return
	case again:
		value, _ = p.form.read(append(strings.Split(had, ","), t.values...))
	case c.Params == nil:
		c.Params = map[string]string{}
	}
	c.Params[t.key] = value
}

// read makes one text of the values of a token; not ok when it cannot be used.
func (f form) read(values []string) (string, bool) {
	whole := strings.Join(values, ",")
	switch f {
	case one:
		return whole, whole != ""
	case list:
		var out []string
		for _, v := range values {
			if v != "" && !slices.Contains(out, v) && len(out) < maxValues {
				out = append(out, v)
			}
		}
		return strings.Join(out, ","), len(out) > 0
	case text:
		std := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(whole, "="))
		b, err := base64.RawStdEncoding.Strict().DecodeString(std)
		return string(b), err == nil && len(b) > 0 && utf8.Valid(b)
	case flow:
		return whole, whole == "QR" || whole == "APP_LAUNCH" || whole == "PHONE"
	case flag:
		return whole, whole == "true" || whole == "false"
	}
	return "", false
}

var key = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$`)

func (c *Choice) ignore(name string) {
	if !key.MatchString(name) {
		name = "?"
	}
	if len(c.Ignored) < maxIgnored && !slices.Contains(c.Ignored, name) {
		c.Ignored = append(c.Ignored, name)
	}
}

// A token is a key and its values; the key is "" for what has no colon.
type token struct {
	key    string
	values []string
}

// parse takes acr_values apart (§4.1): tokens have blanks or commas between,
// and a colon after the key. What follows a comma and has no colon is one more
// value of the key before.
func parse(s string) []token {
	var out []token
	comma := false
	for s != "" {
		end := strings.IndexFunc(s, func(r rune) bool { return r != ',' && !blank(r) })
		if end < 0 {
			break
		}
		comma = strings.ContainsRune(s[:end], ',')
		s = s[end:]
		if end = strings.IndexFunc(s, func(r rune) bool { return r == ',' || blank(r) }); end < 0 {
			end = len(s)
		}
		k, v, found := strings.Cut(s[:end], ":")
		switch n := len(out); {
		case found:
			out = append(out, token{k, []string{v}})
		case comma && n > 0 && out[n-1].key != "":
			out[n-1].values = append(out[n-1].values, s[:end])
		default:
			out = append(out, token{"", []string{s[:end]}})
		}
		s = s[end:]
	}
	return out
}

func blank(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }
