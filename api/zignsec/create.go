package zignsec

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/natid"
	"eidgate/relying"
)

// Limits of texts to sign, in characters of base64 (§5.3).
const (
	maxVisible = 40_000
	maxHidden  = 200_000
	maxRelay   = 2048
	maxCustom  = 8192
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
	Headless    bool   `json:"headless,omitempty"`
}

// create sets up a browser workflow (§5, §6).
func (a *API) create(w http.ResponseWriter, r *http.Request, c caller, selector string) error {
	p, err := decode(r)
	if err != nil {
		return err
	}
	ms, err := a.choose(selector, c)
	if err != nil {
		return err
	}
	n, err := a.session(p, c, ms)
	if err != nil {
		return err
	}
	n.ID = a.c.NewID()
	page := ms[0].name
	if len(ms) > 1 || len(selector) == 2 {
		page = selector
	}
	n.Spec.Page = "/v2/Hosted/" + n.ID + "/" + page + "/"
	s, err := a.c.Broker.Create(r.Context(), *n)
	if err != nil {
		return err
	}
	if c.Key.Environment == eid.Test {
		if unknown := p.unknown(); unknown != "" {
			w.Header().Set("X-Eidgate-Warning", "ignored parameters: "+unknown)
		}
	}
	to := a.c.Public + n.Spec.Page
	write(w, http.StatusOK, setupAnswer{ID: s.ID, Errors: []wireError{}, RedirectURL: &to})
	return nil
}

// known are the parameters that have a meaning; all others are ignored (§2.2).
var known = map[string]bool{"configid": true, "relaystate": true, "target": true, "targeterror": true, "webhook": true,
	"webhookemail": true, "language": true, "layout": true, "custom": true, "personalnumber": true, "uservisibledata": true,
	"usernonvisibledata": true, "lookuppersonaddress": true, "environment": true, "orderref": true, "enduserip": true, "enduserinfo": true}

// unknown names what was ignored, as far as the names are plain.
func (p params) unknown() string {
	var out []string
	for k := range p {
		if !known[k] && len(k) <= 40 && strings.Trim(k, "abcdefghijklmnopqrstuvwxyz0123456789.") == "" && len(out) < 10 {
			out = append(out, k)
		}
	}
	return strings.Join(out, ", ")
}

// session turns parameters into what the broker is asked for.
func (a *API) session(p params, c caller, ms []method) (*broker.NewSession, error) {
	cfg, err := c.Account.Config(p["configid"])
	if err != nil {
		return nil, bad("MISSING_CONFIG", "The account has no configuration of that configid.")
	}
	pay, err := a.payload(p, c, cfg)
	if err != nil {
		return nil, err
	}
	n := &broker.NewSession{Caller: c, API: Name, Config: p["configid"], Purpose: ms[0].purpose,
		Language: language(p["language"], c.Account.Language)}
	if n.Spec.Pinned, err = a.number(p["personalnumber"], ms[0]); err != nil {
		return nil, err
	}
	if ms[0].purpose == eid.Sign {
		if n.Spec.Pinned == "" {
			return nil, bad("INVALID_PERSONALNUMBER", "personalnumber is missing: a signature names who signs.")
		}
		if p["uservisibledata"] == "" {
			return nil, bad("INVALID_REQUEST", "userVisibleData is missing: the base64 of the text to sign.")
		}
	}
	if n.Texts, err = texts(p); err != nil {
		return nil, err
	}
	fixed := map[string]string{}
	if ms[0].name == "sbid" && c.Account.Switches.AskPersonalNumber && n.Spec.Pinned == "" {
		fixed["ask_personal_number"] = "true"
	}
	for _, m := range ms {
		n.Spec.Methods = append(n.Spec.Methods, m.spec(fixed))
	}
	n.Spec.Party = c.Account.Name
	n.Spec.Layout = p["layout"]
	if n.Spec.Layout == "" {
		n.Spec.Layout = cfg.Layout
	}
	if t, err := url.Parse(pay.Target); err == nil && pay.Target != "" {
		n.Spec.Host, n.Spec.Next = t.Hostname(), t.Scheme+"://"+t.Host
	}
	n.Spec.Frames = frames(c.Account, n.Spec.Next)
	if strings.HasPrefix(pay.Custom, "sandbox:") && c.Key.Environment == eid.Test {
		n.Spec.Marker = pay.Custom
	}
	n.Spec.Payload, err = json.Marshal(pay)
	return n, err
}

// frames are the origins that may frame the pages: those of the account, else
// that of target; any only by an explicit switch.
func frames(acc *relying.Account, target string) []string {
	switch {
	case acc.Switches.WildcardFrameOrigin:
		return []string{"*"}
	case len(acc.Frames) > 0:
		return acc.Frames
	case target != "":
		return []string{target}
	}
	return nil
}

func (a *API) payload(p params, c caller, cfg *relying.Config) (*payload, error) {
	sw, env := c.Account.Switches, c.Key.Environment
	pay := &payload{Target: p["target"], TargetError: p["targeterror"], RelayState: p["relaystate"], Webhook: p["webhook"],
		Email: p["webhookemail"], Custom: p["custom"], Lookup: p.yes("lookuppersonaddress"), Attempts: sw.WebhookMaxAttempts,
		UpperHex: sw.HMACHexUpper, HMAC: !sw.NoWebhookHMAC, DropState: sw.DropStateOnSuccess, EchoCustom: sw.EchoCustom,
		LocalDate: sw.IdentificationDateLocal, Details: sw.TargetErrorDetails, MessageText: sw.PostMessageJSON,
		EmailFull: c.Account.WebhookEmail == "full" || c.Account.WebhookEmail == "" && env == eid.Test}
	for _, u := range []struct{ value, code string }{{pay.Target, "INVALID_TARGET"}, {pay.TargetError, "INVALID_TARGETERROR"}, {pay.Webhook, "INVALID_WEBHOOK"}} {
		if u.value == "" {
			continue
		}
		if err := a.c.CheckURL(env, u.value); err != nil {
			return nil, bad(u.code, "The address cannot be used: "+err.Error())
		}
		if u.code != "INVALID_WEBHOOK" && !hostAllowed(c.Account, u.value) {
			return nil, bad(u.code, "The account may not send people to this host. Add it to the account's hosts.")
		}
		if u.code == "INVALID_WEBHOOK" && strings.Contains(u.value, "#") {
			return nil, bad(u.code, "The address cannot be used: a fragment is never sent.")
		}
	}
	if pay.Webhook == "" {
		pay.Webhook = cfg.Webhooks[env]
	}
	if pay.Webhook == "" {
		pay.Webhook = c.Account.Webhooks[env]
	}
	if pay.Email != "" && !address(pay.Email) {
		return nil, bad("INVALID_REQUEST", "webhook_email is not one plain mail address.")
	}
	if len(pay.RelayState) > maxRelay || strings.ContainsFunc(pay.RelayState, unicode.IsControl) {
		return nil, bad("INVALID_REQUEST", "relaystate may have 2048 characters, none of them a control character.")
	}
	if len(pay.Custom) > maxCustom {
		return nil, bad("INVALID_REQUEST", "custom may have 8192 characters.")
	}
	return pay, nil
}

func hostAllowed(acc *relying.Account, raw string) bool {
	if len(acc.Hosts) == 0 {
		return true
	}
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	for _, h := range acc.Hosts {
		if strings.EqualFold(h, u.Hostname()) || strings.EqualFold(h, u.Host) {
			return true
		}
	}
	return false
}

// address takes one mail address without a display name.
func address(s string) bool {
	if len(s) > 254 || strings.ContainsAny(s, "\r\n\",;<>() ") {
		return false
	}
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}

// number checks a personal number by shape and date, never by checksum.
func (a *API) number(text string, m method) (eid.Number, error) {
	if text == "" {
		return "", nil
	}
	if m.number == "" {
		return "", nil
	}
	digits := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
	info, err := natid.Parse(m.number, digits, a.c.Now())
	if err != nil {
		kind := map[string]string{"SE": "Swedish personal number (YYYYMMDDNNNN)", "DK": "Danish CPR Number", "NO": "Norwegian national number", "FI": "Finnish identity code"}[m.number]
		return "", bad("INVALID_PERSONALNUMBER", "The given number is an invalid "+kind+".")
	}
	return eid.Number(info.Normalized), nil
}

// texts reads what is to be signed: base64 of UTF-8, with bounds.
func texts(p params) (*connector.Texts, error) {
	var t connector.Texts
	for _, x := range []struct {
		name, key string
		limit     int
		into      *eid.Text
	}{{"userVisibleData", "uservisibledata", maxVisible, &t.Visible}, {"userNonVisibleData", "usernonvisibledata", maxHidden, &t.NonShown}} {
		text := strings.Map(func(r rune) rune {
			if r == ' ' { // a "+" that a form has turned into a blank
				return '+'
			}
			if unicode.IsSpace(r) {
				return -1
			}
			return r
		}, p[x.key])
		if text == "" {
			continue
		}
		if len(text) > x.limit {
			return nil, bad("INVALID_REQUEST", x.name+" is longer than the allowed number of base64 characters.")
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || !utf8.Valid(raw) {
			return nil, bad("INVALID_REQUEST", x.name+" is not the base64 of UTF-8 text.")
		}
		*x.into = raw
	}
	if t.Visible == nil && t.NonShown == nil {
		return nil, nil //nolint:nilnil // no texts is not an error
	}
	return &t, nil
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
