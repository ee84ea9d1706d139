// Package bankidno lets people identify with Norwegian BankID
// (docs/protocols/bankidno.md).
package bankidno

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/oidcrp"
)

// Settings are what a contract comes to (§1).
type Settings struct {
	openid.Settings
	Scopes []string `json:"scopes"`           // that the contract covers beside openid; none: profile
	Method string   `json:"method,omitempty"` // "BID" or "BIS", where a party names none; "" lets the person choose
	Level  string   `json:"level,omitempty"`  // "substantial" (default) or "high": the least that is taken
}

// Names of a Request's Params.
const (
	ParamHint   = "login_hint" // in BankID's own grammar (§3)
	ParamMethod = "nbid_idp"   // BID or BIS
)

// Modes of the methods of older APIs.
const (
	ModeWeb    = "web"    // BID
	ModeMobile = "mobile" // was BankID on mobile, which is switched off: BIS
)

// stranded is after how long nobody comes back from an error page of BankID.
const stranded = 10 * time.Minute

// Dialect is that of BankID.
func Dialect() openid.Dialect {
	return openid.Dialect{EID: eid.BankIDNO, Modes: []string{"", ModeWeb, ModeMobile}, Stranded: stranded, Read: func(raw json.RawMessage, now func() time.Time) (openid.Agreement, error) {
		a := &agreement{now: now}
		if err := json.Unmarshal(raw, &a.Settings); err != nil {
			return nil, errors.New("settings of Norwegian BankID are not readable")
		}
		return a, nil
	}}
}

// New makes a connector whose clock is now.
func New(now func() time.Time, dir *oidcrp.Directory) *openid.Connector {
	return openid.New(Dialect(), now, dir)
}

type agreement struct {
	Settings
	now func() time.Time
}

// Scopes of BankID (§1). The two of the number are for different agreements.
const (
	numberByRight   = "nnin_altsub"
	numberByConsent = "nnin"
)

var (
	known = []string{"profile", numberByRight, numberByConsent, "phone", "email", "address"}
	// fromUserInfo are the scopes that the person must agree to.
	fromUserInfo = []string{numberByConsent, "phone", "email", "address"}
)

// Config implements openid.Agreement.
func (a *agreement) Config() (oidcrp.Config, error) {
	for _, scope := range a.Scopes {
		if !slices.Contains(known, scope) {
			return oidcrp.Config{}, fmt.Errorf("scopes: %.40q is none of %s", scope, strings.Join(known, ", "))
		}
	}
	switch {
	case a.Method != "" && a.Method != "BID" && a.Method != "BIS":
		return oidcrp.Config{}, errors.New("method must be BID or BIS")
	case a.Level != "" && a.Level != "substantial" && a.Level != "high":
		return oidcrp.Config{}, errors.New("level must be substantial or high")
	case a.Level == "high" && a.Method == "BIS":
		return oidcrp.Config{}, errors.New("method BIS never comes to level high")
	}
	c, err := a.Settings.Config(a.now)
	c.ContentAlg = "A256GCM"
	c.UserInfo.Issuer = oidcrp.OfEndpoint
	return c, err
}

// contract are the scopes that it covers.
func (a *agreement) contract() []string {
	if a.Scopes == nil {
		return []string{"profile"}
	}
	return a.Scopes
}

// scopes are those of the contract, or as many of them as bring what is wanted,
// and what is hinted and must be compared.
func (a *agreement) scopes(r *connector.Request, h hint) []string {
	all := a.contract()
	if r.Wanted == nil {
		return all
	}
	bring := map[string][]string{"profile": {eid.WantName, eid.WantBirth, eid.WantAdult}, numberByRight: {eid.WantNumber}, numberByConsent: {eid.WantNumber},
		"phone": {eid.WantPhone}, "email": {eid.WantEmail}, "address": {eid.WantAddress}}
	return slices.DeleteFunc(slices.Clone(all), func(scope string) bool {
		if held(r, h) && (scope == numberByRight || scope == numberByConsent) || h.birth != "" && scope == "profile" {
			return false
		}
		return !slices.ContainsFunc(bring[scope], func(w string) bool { return slices.Contains(r.Wanted, w) })
	})
}

// held says whether only one person may log in.
func held(r *connector.Request, h hint) bool { return h.number != "" || r.Pinned != "" }

// tells says whether the contract lets us know a person's number.
func (a *agreement) tells() bool {
	return slices.Contains(a.Scopes, numberByRight) || slices.Contains(a.Scopes, numberByConsent)
}

// A hint is a login_hint (§3). It proposes somebody; who comes is looked at
// afterwards.
type hint struct {
	method, number string
	phone, birth   string // of BankID on mobile: birth is DDMMYY
}

var hintForm = regexp.MustCompile(`^(?:(BID|BIS)?(?::([0-9]{11}))?|(BIM)(?::([0-9]{8}):([0-9]{6}))?)$`)

// readHint reads a login_hint in BankID's grammar; false for what is none.
func readHint(text string) (hint, bool) {
	m := hintForm.FindStringSubmatch(text)
	if m == nil {
		return hint{}, false
	}
	return hint{method: m[1] + m[3], number: m[2], phone: m[4], birth: m[5]}, true
}

func (h hint) String() string {
	switch {
	case h.phone != "":
		return "BIM:" + h.phone + ":" + h.birth
	case h.number != "":
		return h.method + ":" + h.number
	}
	return h.method
}

// hint is what is proposed to BankID: what the party says itself, or what its
// method and the person who is asked for come to. ok is false for one that is
// not in BankID's grammar.
func (a *agreement) hint(r *connector.Request) (h hint, ok bool) {
	defer func() {
		if a.Level == "high" && h.method == "BIS" { // biometrics never come to that
			h.method = "BID"
		}
	}()
	if text, said := r.Params[ParamHint]; said {
		return readHint(text)
	}
	h = hint{method: a.Method, number: string(r.Pinned)}
	switch r.Mode {
	case ModeWeb:
		h.method = "BID"
	case ModeMobile:
		h.method = "BIS"
	}
	if m := r.Params[ParamMethod]; m != "" {
		h.method = m
	}
	return h, h.method == "" || h.method == "BID" || h.method == "BIS"
}

// Ask implements openid.Agreement. A number is personal: it goes over the back
// channel, or encrypted, and only where it can be compared afterwards.
func (a *agreement) Ask(r *connector.Request) (oidcrp.Request, *connector.Fail) {
	h, ok := a.hint(r)
	switch {
	case !ok:
		return oidcrp.Request{}, &connector.Fail{Reason: eid.BadRequest, Code: "login_hint"}
	case held(r, h) && !a.tells():
		return oidcrp.Request{}, &connector.Fail{Reason: eid.BadRequest, Code: "number_not_granted"}
	case h.birth != "" && !slices.Contains(a.contract(), "profile"):
		return oidcrp.Request{}, &connector.Fail{Reason: eid.BadRequest, Code: "birth_not_granted"}
	}
	out := oidcrp.Request{Scope: strings.Join(append([]string{"openid"}, a.scopes(r, h)...), " "), By: oidcrp.Query,
		Params: url.Values{"ui_locales": {"en"}, "prompt": {"login"}}} // nobody is let in who has logged in before somebody else
	if slices.Contains([]string{"nb", "sv", "da"}, r.Language) { // who reads those reads Norwegian rather than English
		out.Params.Set("ui_locales", "nb")
	}
	if text := h.String(); text != "" {
		out.Params.Set("login_hint", text)
	}
	switch {
	case a.Level == "high" || h.method == "BID":
		out.Params.Set("acr_values", "urn:bankid:bid")
	case h.method == "BIS":
		out.Params.Set("acr_values", "urn:bankid:bis")
	}
	if h.number != "" || h.phone != "" {
		out.By = oidcrp.Hidden
	}
	return out, nil
}

// Refused implements openid.Agreement (§4).
func (*agreement) Refused(no *oidcrp.Refused) connector.Fail {
	code := ""
	if m := bankIDCode.FindStringSubmatch(no.Description); m != nil {
		code = strings.ToUpper(m[1])
	}
	switch no.Code {
	case "access_denied":
		switch {
		case no.Where != "authorization":
		case code == "" || code == "C301" || code == "14AB":
			return connector.Fail{Reason: eid.Cancelled, Code: code}
		case code == "C302":
			return connector.Fail{Reason: eid.Expired, Code: code}
		case code == "C131" || code == "C293":
			return connector.Fail{Reason: eid.InProgress, Code: code, Retry: true}
		default:
			return connector.Fail{Reason: eid.Unavailable, Code: code, Retry: true}
		}
	case "server_error", "temporarily_unavailable":
		return connector.Fail{Reason: eid.Unavailable, Code: no.Code, Retry: true}
	case "invalid_request", "invalid_scope", "invalid_client", "invalid_grant", "unauthorized_client", "invalid_request_object", "invalid_request_uri",
		"unsupported_response_type", "login_required", "unsupported_grant_type":
		return connector.Fail{Reason: eid.Refused, Code: no.Code}
	}
	return connector.Fail{Reason: eid.Refused, Code: "unknown"}
}

var bankIDCode = regexp.MustCompile(`bankid_error_codes:([0-9A-Za-z]{1,8})\b`)

// Person implements openid.Agreement. UserInfo is asked only for what the
// person had to agree to.
func (a *agreement) Person(ctx context.Context, r *connector.Request, t openid.Told) (*openid.Person, error) {
	h, _ := a.hint(r) // Ask has looked
	scopes := a.scopes(r, h)
	all := openid.Claims{}
	p := &openid.Person{}
	if slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(fromUserInfo, s) }) {
		info, err := t.Client.UserInfo(ctx, t.Tokens)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, info.Claims)
		p.Evidence = []eid.Evidence{{Name: "userinfo", Type: "application/jwt", Data: []byte(info.Signed)}}
	}
	maps.Copy(all, t.Tokens.ID.Raw) // of both, this one is about the login
	if err := a.level(all.Text("acr"), h.method); err != nil {
		return nil, err
	}
	p.Identity = identity(all, t.Now)
	if !slices.Contains(scopes, numberByRight) && !slices.Contains(scopes, numberByConsent) { // nobody has asked for it
		p.Identity.Number = ""
	}
	switch who := p.Identity; {
	case who.Subject == "":
		return nil, openid.Refuse(eid.BadAnswer, "no_pid")
	case held(r, h) && who.Number == "": // the person was asked, and said no
		return nil, openid.Refuse(eid.Declined, "number_not_shared")
	case h.birth != "" && who.Birth == "":
		return nil, openid.Refuse(eid.BadAnswer, "no_birthdate")
	case h.number != "" && string(who.Number) != h.number, h.birth != "" && h.birth != who.Birth[8:]+who.Birth[5:7]+who.Birth[2:4]:
		return nil, openid.Refuse(eid.WrongPerson, "another_person")
	}
	return p, nil
}

// level refuses less than was asked for (§3), and what contradicts itself: who
// cannot use biometrics falls back to the password, which is more.
func (a *agreement) level(acr, method string) error {
	switch acr {
	case "urn:bankid:bid", "urn:bankid:bid;LOA=4", "urn:bankid:bim", "urn:bankid:bim;LOA=4":
		return nil
	case "urn:bankid:bis", "urn:bankid:bis;LOA=3":
		if a.Level != "high" && method != "BID" {
			return nil
		}
	}
	return openid.Refuse(eid.BadProof, "level")
}

// identity reads what BankID says of a person (§5).
func identity(c openid.Claims, now time.Time) *eid.Identity {
	id := &eid.Identity{Subject: first(c, "bankid_altsub", "sub_bankid"), Country: "NO", Level: c.Text("acr"), Request: c.Text("tid"), Name: c.Text("name"), Given: c.Text("given_name"), Family: c.Text("family_name"),
		Birth: openid.Birth(c.Text("birthdate")), Phone: c.Text("phone_number"), Email: c.Text("email"), Kind: kind(c.Text("acr"))}
	if g := strings.ToLower(c.Text("gender")); g == "male" || g == "female" {
		id.Gender = g
	}
	if number := first(c, "nnin_altsub", "nnin", "sub_nnin"); number != "" {
		id.Number = openid.Number("NO", number, now)
	}
	id.Age = openid.Years("NO", id.Birth, now)
	if a := c.Object("address"); a != nil {
		where := &eid.Address{PostalCode: a.Text("postal_code"), City: a.Text("locality"), Country: strings.ToUpper(a.Text("country"))}
		if street := a.Text("street_address"); street != "" {
			where.Lines = []string{street}
		}
		if where.PostalCode != "" || where.City != "" || where.Lines != nil {
			id.Address = where
		}
	}
	id.Signals = signals(c)
	return id
}

// kind is the method that was used in the end.
func kind(acr string) string {
	name, _, _ := strings.Cut(acr, ";")
	return strings.ToUpper(strings.TrimPrefix(name, "urn:bankid:"))
}

func first(c openid.Claims, names ...string) string {
	for _, name := range names {
		if text := c.Text(name); text != "" {
			return text
		}
	}
	return ""
}

// signals are what is known of the login beside the person.
func signals(c openid.Claims) map[string]string {
	out := map[string]string{"amr": strings.Join(c.List("amr"), ", ")}
	for key, name := range map[string]string{"acr": "acr", "sid": "sid", "bankid_sub": "sub", "auth_time": "auth_time", "originator": "originator", "tid": "tid",
		"email_verified": "email_verified", "phone_verified": "phone_number_verified"} {
		out[key] = c.Text(name)
	}
	if out["sid"] == "" {
		out["sid"] = c.Text("session_state")
	}
	out["updated_at"] = millis(c.Text("updated_at"))
	for key, value := range out {
		if value == "" {
			delete(out, key)
		}
	}
	return out
}

// millis is a time in milliseconds; one of the two services behind BankID says
// seconds (§5).
func millis(text string) string {
	if n, err := json.Number(text).Int64(); err == nil && n > 0 && n < 100_000_000_000 {
		return text + "000"
	}
	return text
}
