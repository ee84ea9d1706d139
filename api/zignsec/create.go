package zignsec

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/safehttp"
	"eidgate/natid"
	"eidgate/relying"
)

// Limits of texts to sign, in characters of base64, and of what is only kept
// (§5).
const (
	maxVisible = 40_000
	maxLogin   = 1_500 // shown or hidden with an identification
	maxHidden  = 200_000
	maxRelay   = 2048
	maxCustom  = 8192
	maxLayout  = 100
)

// setupAnswer is the answer to a setup (§6.1, §6.3).
type setupAnswer struct {
	ID          string      `json:"id"`
	Errors      []wireError `json:"errors"`
	RedirectURL *string     `json:"redirect_url"`
}

// A payload is what the API remembers with a session.
type payload struct {
	Target      string `json:"target,omitempty"`
	TargetError string `json:"target_error,omitempty"`
	RelayState  string `json:"relaystate,omitempty"`
	Webhook     string `json:"webhook,omitempty"`
	Email       string `json:"email,omitempty"`
	EmailFull   bool   `json:"email_full,omitempty"`
	Custom      string `json:"custom,omitempty"`
	Lookup      bool   `json:"lookup,omitempty"` // the address is wanted: answered once there is a register
	Attempts    int    `json:"attempts,omitempty"`
	UpperHex    bool   `json:"upper_hex,omitempty"`
	HMAC        bool   `json:"hmac,omitempty"`
	DropState   bool   `json:"drop_state,omitempty"`
	EchoCustom  bool   `json:"echo_custom,omitempty"`
	LocalDate   bool   `json:"local_date,omitempty"`
	Details     bool   `json:"details,omitempty"`
	MessageText bool   `json:"message_text,omitempty"`
	Third       bool   `json:"third,omitempty"`        // set up by v3
	LegacyNames bool   `json:"legacy_names,omitempty"` // of itsme, in v3
}

// create sets up a browser workflow (§5, §6).
func (a *API) create(w http.ResponseWriter, r *http.Request, c caller, selector string) error {
	n, ms, err := a.prepare(w, r, c, selector, withPages)
	if err != nil {
		return err
	}
	page := ms[0].name
	if len(selector) == 2 {
		page = selector
	}
	n.ID = a.c.NewID()
	n.Spec.Page = "/v2/Hosted/" + n.ID + "/" + page + "/"
	s, err := a.c.Broker.Create(r.Context(), *n)
	if err != nil {
		return err
	}
	to := a.c.Public + n.Spec.Page
	write(w, http.StatusOK, setupAnswer{ID: s.ID, Errors: []wireError{}, RedirectURL: &to})
	return nil
}

// A workflow is which interface a session is set up by.
type workflow string

const (
	withPages workflow = "pages"
	headless  workflow = "headless"
	third     workflow = "v3"
)

// prepare reads and checks a request for a session.
func (a *API) prepare(w http.ResponseWriter, r *http.Request, c caller, selector string, by workflow) (*broker.NewSession, []method, error) {
	if err := a.take(a.setups, c.Key.ID, setupRate, c.Account.Limits.Setups, errSetups); err != nil {
		return nil, nil, err
	}
	p, err := decode(r)
	if err != nil {
		return nil, nil, err
	}
	ms, err := a.choose(selector, c)
	if err != nil {
		return nil, nil, err
	}
	names := strings.Join(p.prune(ms, by), ", ")
	n, err := a.session(p, c, ms, by)
	if err != nil {
		return nil, nil, err
	}
	if n.Person, err = heldTo(p, n.Spec.Pinned); err != nil {
		return nil, nil, err
	}
	if names != "" {
		n.Notes = []string{"parameters without a meaning here: " + names}
		if c.Key.Environment == eid.Test {
			w.Header().Set("X-Eidgate-Warning", "ignored parameters: "+names)
		}
	}
	if p["webhookemail"] != "" && a.c.NoMail {
		n.Notes = append(n.Notes, "webhook_email: the server sends no mail")
		w.Header().Add("X-Eidgate-Warning", "webhook_email: this server sends no mail. Its operator must set mail")
	}
	if n.Spec.Marker != "" && a.c.Marker != nil {
		if err := a.c.Marker(n.Spec.Marker); err != nil {
			n.Notes = append(n.Notes, "the sandbox's marker in custom cannot be followed")
			w.Header().Add("X-Eidgate-Warning", "custom cannot be followed: "+err.Error())
		}
	}
	return n, ms, nil
}

// session turns parameters into what the broker is asked for.
func (a *API) session(p params, c caller, ms []method, by workflow) (*broker.NewSession, error) {
	config := p["configid"]
	cfg, err := c.Account.Config(config)
	if i := slices.IndexFunc(c.Account.Configs, func(f relying.Config) bool { return strings.EqualFold(f.ID, config) }); err != nil && i >= 0 {
		cfg, err = &c.Account.Configs[i], nil // a UUID may be written in any case
		config = cfg.ID
	}
	if err != nil {
		return nil, bad("MISSING_CONFIG", "The account has no configuration of that configid. Leave it out, or send one that the account has.")
	}
	pay, err := payloadOf(p, c, cfg)
	if err != nil {
		return nil, err
	}
	n := &broker.NewSession{Caller: c, API: Name, Config: config, Purpose: ms[0].purpose,
		Language: language(cmp.Or(p["language"], p["providerrequest.language"]), c.Account.Language)}
	if n.Spec.Pinned, err = a.number(p["personalnumber"], ms[0]); err != nil {
		return nil, err
	}
	if ms[0].purpose == eid.Sign {
		if n.Spec.Pinned == "" && by != headless {
			return nil, bad("INVALID_PERSONALNUMBER", "personalnumber is missing: send the number of the person who is to sign.")
		}
		if p["uservisibledata"] == "" {
			return nil, bad("INVALID_REQUEST", "userVisibleData is missing: send the base64 of the text to sign, which is UTF-8.")
		}
	}
	if n.Texts, err = texts(p, ms[0].purpose); err != nil {
		return nil, err
	}
	if n.Spec.Wanted, err = wanted(p, ms, by); err != nil {
		return nil, err
	}
	if n.Spec.Params, err = banks(p); err != nil {
		return nil, err
	}
	fixed := map[string]string{}
	if ms[0].name == "sbid" && c.Account.Switches.AskPersonalNumber && n.Spec.Pinned == "" {
		fixed["ask_personal_number"] = "true"
	}
	for _, m := range ms {
		own, err := m.inputs(p, fixed)
		if err != nil {
			return nil, err
		}
		n.Spec.Methods = append(n.Spec.Methods, m.spec(own))
	}
	n.Spec.Party = c.Account.Name
	n.Spec.Layout = c.Account.Look(p["layout"], cfg.Layout)
	if p["layout"] != "" && n.Spec.Layout != p["layout"] {
		n.Notes = append(n.Notes, "layout has no effect: the account has no theme of that name")
	}
	if err := a.addresses(pay, c, &n.Spec); err != nil {
		return nil, err
	}
	if strings.HasPrefix(pay.Custom, "sandbox:") && c.Key.Environment == eid.Test {
		n.Spec.Marker = pay.Custom
	}
	if by == headless {
		n.Spec.Headless, n.Spec.Page = true, "/"
		if ip := p["enduserip"]; ip != "" {
			if _, err := netip.ParseAddr(ip); err != nil {
				return nil, bad("INVALID_IP", "endUserIp is not an address: send that of the person's device, such as 203.0.113.7.")
			}
			n.Spec.Params = map[string]string{"end_user_ip": ip}
		}
	}
	pay.Third, pay.LegacyNames = by == third, c.Account.Switches.ItsmeLegacyNames
	n.Spec.Payload, err = json.Marshal(pay)
	return n, err
}

// addresses checks where browsers and notifications are sent, and settles who
// may frame the pages: the account's origins, else that of target; any only by
// an explicit switch.
func (a *API) addresses(pay *payload, c caller, spec *broker.Spec) error {
	target, err := a.target(&pay.Target, c, "target", "INVALID_TARGET")
	if err != nil {
		return err
	}
	failed, err := a.target(&pay.TargetError, c, "targetError", "INVALID_TARGETERROR")
	if err != nil {
		return err
	}
	if target != nil {
		spec.Host = target.Hostname()
		spec.Next = append(spec.Next, origin(target))
		spec.Frames = []string{origin(target)}
	}
	if failed != nil && (target == nil || origin(failed) != origin(target)) {
		spec.Next = append(spec.Next, origin(failed))
	}
	switch {
	case c.Account.Switches.WildcardFrameOrigin:
		spec.Frames = []string{"*"}
	case len(c.Account.Frames) > 0:
		spec.Frames = c.Account.Frames
	}
	if pay.Webhook == "" {
		return nil
	}
	u, err := a.c.CheckURL(c.Key.Environment, pay.Webhook, false)
	switch {
	case err != nil:
		return bad("INVALID_WEBHOOK", "webhook cannot be used: "+rule(err)+". Send an https address of a public host, at port 443 or 8443.")
	case u.Fragment != "":
		return bad("INVALID_WEBHOOK", "webhook cannot be used: address has a fragment, which is never sent. Leave it out.")
	}
	return nil
}

// target checks where a browser is to be sent at the end; nil for nowhere. What
// a header cannot carry is escaped, all else stays as it was written.
func (a *API) target(raw *string, c caller, name, code string) (*url.URL, error) {
	if *raw == "" {
		return nil, nil //nolint:nilnil // nowhere is not an error
	}
	u, err := a.c.CheckURL(c.Key.Environment, *raw, true)
	if err != nil {
		return nil, bad(code, name+" cannot be used: "+rule(err)+". Send an absolute https address.")
	}
	if h := c.Account.Hosts; len(h) > 0 && !slices.ContainsFunc(h, func(h string) bool { return strings.EqualFold(h, u.Hostname()) || strings.EqualFold(h, u.Host) }) {
		return nil, bad(code, name+" cannot be used: the account may not send people to this host. Add it to the account's hosts.")
	}
	if strings.ContainsFunc(*raw, func(r rune) bool { return r >= utf8.RuneSelf }) {
		*raw = ascii(u.String())
	}
	return u, nil
}

// rule is which rule an address has broken.
func rule(err error) string {
	if e := (*safehttp.Error)(nil); errors.As(err, &e) && e.Rule != "" {
		return e.Rule
	}
	return "address is not acceptable"
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// ascii escapes what is left of other characters.
func ascii(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] < utf8.RuneSelf {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// payloadOf takes what is kept for the end of the session. A webhook of the
// request goes before that of its configuration, and that before the account's
// (§10).
func payloadOf(p params, c caller, cfg *relying.Config) (*payload, error) {
	sw, env := c.Account.Switches, c.Key.Environment
	pay := &payload{Target: p["target"], TargetError: p["targeterror"], RelayState: p["relaystate"],
		Webhook: cmp.Or(p["webhook"], cfg.Webhooks[env], c.Account.Webhooks[env]),
		Email:   p["webhookemail"], Custom: p["custom"], Lookup: p.yes("lookuppersonaddress"), Attempts: sw.WebhookMaxAttempts,
		UpperHex: sw.HMACHexUpper, HMAC: !sw.NoWebhookHMAC, DropState: sw.DropStateOnSuccess, EchoCustom: sw.EchoCustom,
		LocalDate: sw.IdentificationDateLocal, Details: sw.TargetErrorDetails, MessageText: sw.PostMessageJSON,
		EmailFull: c.Account.WebhookEmail == "full" || c.Account.WebhookEmail == "" && env == eid.Test}
	switch {
	case pay.Email != "" && !address(pay.Email):
		return nil, bad("INVALID_REQUEST", "webhook_email must be one mail address without a name, such as ops@shop.example.")
	case utf8.RuneCountInString(pay.RelayState) > maxRelay || strings.ContainsFunc(pay.RelayState, unicode.IsControl):
		return nil, bad("INVALID_REQUEST", "relaystate may have 2048 characters, none of them a control character.")
	case utf8.RuneCountInString(pay.Custom) > maxCustom:
		return nil, bad("INVALID_REQUEST", "custom may have 8192 characters.")
	case utf8.RuneCountInString(p["layout"]) > maxLayout:
		return nil, bad("INVALID_REQUEST", "layout may have 100 characters.")
	}
	return pay, nil
}

// address takes one mail address without a display name.
func address(s string) bool {
	if len(s) > 254 || strings.ContainsAny(s, "\r\n\",;<>() ") {
		return false
	}
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}

// number checks a personal number by shape and date, never by checksum. It may
// be written with blanks, hyphens and full stops anywhere. An eID without
// numbers cannot hold anybody to one, and a party that believes it does must
// know.
func (a *API) number(text string, m method) (eid.Number, error) {
	switch {
	case text == "":
		return "", nil
	case m.eid == eid.IDIN || m.eid == eid.IDINAge:
		return "", bad("INVALID_PERSONALNUMBER", "iDIN tells no personal number, so a session cannot be held to one. Leave personalnumber out.")
	case m.number == "":
		return "", bad("INVALID_PERSONALNUMBER", "A session of "+m.name+" cannot be held to one person. Leave personalnumber out, and compare that of the result.")
	}
	info, err := natid.Parse(m.number, without(text, unicode.IsSpace), a.c.Now())
	if err != nil {
		info, err = natid.Parse(m.number, without(text, func(r rune) bool { return unicode.IsSpace(r) || r == '-' || r == '.' }), a.c.Now())
	}
	if err != nil {
		return "", bad("INVALID_PERSONALNUMBER", "The given number is an invalid "+kinds[m.number]+".")
	}
	return eid.Number(info.Normalized), nil
}

// kinds name the numbers of each country, for the person who reads the error;
// the number itself stays out of it.
var kinds = map[string]string{"SE": "Swedish personal number (YYYYMMDDNNNN)", "DK": "Danish CPR Number (DDMMYYNNNN)",
	"NO": "Norwegian national number (DDMMYYNNNNN)", "FI": "Finnish identity code (DDMMYY-NNNC)"}

func without(s string, drop func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if drop(r) {
			return -1
		}
		return r
	}, s)
}

// texts reads what is to be signed: base64 of UTF-8, with bounds.
func texts(p params, why eid.Purpose) (*connector.Texts, error) {
	var t connector.Texts
	visible, hidden := maxVisible, maxHidden
	if why != eid.Sign {
		visible, hidden = maxLogin, maxLogin
	}
	for _, x := range []struct {
		name, key string
		limit     int
		into      *eid.Text
	}{{"userVisibleData", "uservisibledata", visible, &t.Visible}, {"userNonVisibleData", "usernonvisibledata", hidden, &t.NonShown}} {
		text := p[x.key]
		if text == "" {
			continue
		}
		if len(without(text, unicode.IsSpace)) > x.limit {
			return nil, bad("INVALID_REQUEST", fmt.Sprintf("%s is longer than %d characters of base64: send a shorter text.", x.name, x.limit))
		}
		if *x.into = unbase64(text); len(*x.into) == 0 {
			return nil, bad("INVALID_REQUEST", x.name+" is not the base64 of UTF-8 text: send it with the letters + and /, and padding.")
		}
	}
	if t.Visible == nil && t.NonShown == nil {
		return nil, nil //nolint:nilnil // no texts is not an error
	}
	return &t, nil
}

// unbase64 reads UTF-8; nil if it is none. A blank may be a "+" that its sender
// did not escape for a form, else it is folding.
func unbase64(text string) []byte {
	for _, blank := range []string{"+", ""} {
		raw, err := base64.StdEncoding.DecodeString(without(strings.ReplaceAll(text, " ", blank), unicode.IsSpace))
		if err == nil && utf8.Valid(raw) {
			return raw
		}
	}
	return nil
}

// languages maps what clients send, and country codes that they mean by it.
var languages = map[string]string{"en": "en", "sv": "sv", "se": "sv", "da": "da", "dk": "da", "nb": "nb", "no": "nb", "nn": "nb",
	"nl": "nl", "fr": "fr", "de": "de", "fi": "fi", "kl": "da"}

func language(asked, account string) string {
	if l := languages[strings.ToLower(asked)]; l != "" {
		return l
	}
	return languages[strings.ToLower(account)]
}
