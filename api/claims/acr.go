package claims

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"eidgate/eid"
	"eidgate/relying"
)

// A Choice is what acr_values come to for one client (§3).
type Choice struct {
	// EIDs may be used, in the order in which they were named, or else in that
	// of the active ones. Of several the person chooses; none means that the
	// client may use none of those that are active.
	EIDs []eid.EID
	// Mode is how Swedish BankID begins: "same" device, "other", or "" for the
	// person's choice.
	Mode string
	// Params are inputs for connectors, under the connectors' names.
	Params map[string]string
	// Text is what the person reads in the eID's app, Format its mark-up.
	Text   eid.Text
	Format string
	// Ignored are the keys that had no effect: unknown ones, those of other
	// eIDs, and those whose value cannot be used. At most 16, and "?" for what
	// does not look like a key. It is never an error.
	Ignored []string
}

// LogValue shows no value that came with the request.
func (c Choice) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("eids", c.EIDs), slog.Int("params", len(c.Params)), slog.Any("ignored", c.Ignored))
}

// Bank says whether somebody has come by a bank that was asked for: any, where
// none is named, and with an eID that has no banks. At Norwegian BankID it is the
// method, of which the password is more than biometrics.
func (c Choice) Bank(who *eid.Identity) bool {
	if c.Params[norwegian] == "BID" && who.EID == eid.BankIDNO && who.Kind == "BIS" { // asks for the higher level
		return false
	}
	named := c.Params[banks]
	return named == "" || IDP(who.EID) != IDP(eid.IDIN) || who.Issuer != "" && slices.Contains(strings.Split(named, ","), who.Issuer)
}

func (c Choice) String() string { return fmt.Sprintf("choice among %v", c.EIDs) }

// A param is an input that parties may give beside idp.
type param struct {
	eid    eid.EID
	sealed bool                                  // only of requests that the browser cannot have altered
	set    func(c *Choice, values []string) bool // of one token; false when they cannot be used
}

const (
	banks     = "idin_idp"
	norwegian = "nbid_idp"
	reference = "mitid_reference_text"
)

// params is the table of what may stand in acr_values beside idp (§3.2). What
// people read and where they are must not be for their browser, or whoever
// sent them a link, to say.
var params = map[string]param{
	banks:                        {eid.IDIN, false, setBanks},
	norwegian:                    {eid.BankIDNO, false, setNorwegian},
	reference:                    {eid.MitID, true, setReference},
	"sbid_flow":                  {eid.BankIDSE, false, setMode},
	"sbid_initial_flow":          {eid.BankIDSE, false, setMode},
	"sbid_end_user_ip":           {eid.BankIDSE, true, setAddress},
	"sbid_intention_text":        {eid.BankIDSE, true, setText},
	"sbid_intention_text_format": {eid.BankIDSE, true, setFormat},
}

// Known says whether a key of acr_values means anything, though it may not for
// every request.
func Known(key string) bool {
	_, ok := params[key]
	return ok || key == "idp"
}

const (
	maxBanks   = 50
	maxIgnored = 16
)

// Choose reads acr_values for a client: which of the active eIDs it asks for,
// and what it says to them. The client's own values stand in for a request
// that has none, or for every request (§3.3). Codes that are not known, not
// active or not allowed to the client count for nothing, and if none is left
// the person chooses among all that are. Sealed says that the request was
// pushed or signed.
func Choose(values string, sealed bool, c *relying.Client, active []eid.EID) Choice {
	if c.ForceACR || strings.TrimSpace(values) == "" {
		values, sealed = c.ACRValues, true
	}
	var out Choice
	allowed := allowed(c, active)
	said := parse(values)
	out.choose(said, allowed)
	if len(out.EIDs) == 0 {
		out.EIDs = allowed
	}
	for _, t := range said {
		if t.key == "idp" {
			continue
		}
		p, known := params[t.key]
		if !known || p.sealed && !sealed || find(out.EIDs, IDP(p.eid)) == "" || !p.set(&out, t.values) {
			out.ignore(t.key)
		}
	}
	if len(out.Text) == 0 && out.Format != "" {
		out.Format = ""
		out.ignore("sbid_intention_text_format")
	}
	return out
}

// allowed is what a client may use, each code once.
func allowed(c *relying.Client, active []eid.EID) []eid.EID {
	var out []eid.EID
	for _, e := range active {
		if (len(c.EIDs) == 0 || slices.Contains(c.EIDs, e)) && IDP(e) != "" && find(out, IDP(e)) == "" {
			out = append(out, e)
		}
	}
	return out
}

// choose takes the eIDs that are named; banks alone name iDIN.
func (c *Choice) choose(said []token, allowed []eid.EID) {
	named, toBank := false, false
	for _, t := range said {
		toBank = toBank || t.key == banks
		if t.key != "idp" {
			continue
		}
		named = true
		for _, code := range t.values {
			switch e := find(allowed, code); {
			case e == "":
				c.ignore("idp")
			case !slices.Contains(c.EIDs, e):
				c.EIDs = append(c.EIDs, e)
			}
		}
	}
	if e := find(allowed, IDP(eid.IDIN)); toBank && !named && e != "" {
		c.EIDs = []eid.EID{e}
	}
}

// find is the eID of a list that parties call by a code; "" if there is none.
func find(list []eid.EID, code string) eid.EID {
	i := slices.IndexFunc(list, func(e eid.EID) bool { return code != "" && IDP(e) == code })
	if i < 0 {
		return ""
	}
	return list[i]
}

var bic = regexp.MustCompile(`^[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3})?$`)

// BIC says whether a text has the form of a bank's name.
func BIC(text string) bool { return bic.MatchString(text) }

// setBanks adds to the banks that are named already; a BIC may be written in
// any case.
func setBanks(c *Choice, values []string) bool {
	had := strings.FieldsFunc(c.Params[banks], func(r rune) bool { return r == ',' })
	before := len(had)
	for _, v := range values {
		if v = strings.ToUpper(v); BIC(v) && len(had) < maxBanks && !slices.Contains(had, v) {
			had = append(had, v)
		}
	}
	c.input(banks, strings.Join(had, ","))
	return len(had) > before
}

// setNorwegian takes one of the methods of Norwegian BankID.
func setNorwegian(c *Choice, values []string) bool {
	if len(values) != 1 || values[0] != "BID" && values[0] != "BIS" || c.Params[norwegian] != "" {
		return false
	}
	c.input(norwegian, values[0])
	return true
}

func setMode(c *Choice, values []string) bool {
	mode := map[string]string{"QR": "other", "APP_LAUNCH": "same"}[strings.Join(values, ",")]
	if mode == "" || c.Mode != "" {
		return false
	}
	c.Mode = mode
	return true
}

func setAddress(c *Choice, values []string) bool {
	a, err := netip.ParseAddr(strings.Join(values, ","))
	if err != nil || a.Zone() != "" || c.Params["end_user_ip"] != "" {
		return false
	}
	c.input("end_user_ip", a.String())
	return true
}

// setReference takes what the app of MitID shows, in the same form as setText.
func setReference(c *Choice, values []string) bool {
	b, ok := unbase64(values)
	if !ok || utf8.RuneCount(b) > 130 || c.Params[reference] != "" {
		return false
	}
	c.input(reference, string(b))
	return true
}

// setText takes base64 of either alphabet, with or without padding.
func setText(c *Choice, values []string) bool {
	b, ok := unbase64(values)
	if !ok || len(c.Text) > 0 {
		return false
	}
	c.Text = b
	return true
}

// unbase64 reads a text.
func unbase64(values []string) ([]byte, bool) {
	raw := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(strings.Join(values, ","), "="))
	b, err := base64.RawStdEncoding.Strict().DecodeString(raw)
	return b, err == nil && len(b) > 0 && utf8.Valid(b)
}

func setFormat(c *Choice, values []string) bool {
	if len(values) != 1 || values[0] != "simpleMarkdownV1" || c.Format != "" {
		return false
	}
	c.Format = values[0]
	return true
}

func (c *Choice) input(name, value string) {
	if value == "" {
		return
	}
	if c.Params == nil {
		c.Params = map[string]string{}
	}
	c.Params[name] = value
}

// keyShape has no digits, so that no number of anybody gets into a note.
var keyShape = regexp.MustCompile(`^[A-Za-z][A-Za-z_]{0,39}$`)

func (c *Choice) ignore(name string) {
	if !keyShape.MatchString(name) {
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

// parse takes acr_values apart (§3.1): tokens have blanks or commas between,
// and a colon after the key. What follows a comma and has no colon is one more
// value of the key before.
func parse(s string) []token {
	var out []token
	for s != "" {
		end := strings.IndexFunc(s, func(r rune) bool { return r != ',' && !blank(r) })
		if end < 0 {
			break
		}
		comma := strings.ContainsRune(s[:end], ',')
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
