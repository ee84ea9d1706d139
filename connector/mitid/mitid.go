// Package mitid lets people identify with MitID, through a certified broker:
// Nets eID Broker's OpenID Connect (docs/protocols/mitid.md).
package mitid

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"eidgate/connector"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/oidcrp"
)

// Settings are what a contract with the broker comes to (§3).
type Settings struct {
	openid.Settings
	Scopes    []string `json:"scopes"`              // beside openid and mitid, that the contract covers: nemid.pid, ssn.details_name, ssn.details_address and ssn, which is the default
	Level     string   `json:"level,omitempty"`     // low, substantial (default) or high: the least that is taken
	Reference string   `json:"reference,omitempty"` // text that the app shows, up to 130 characters
	Action    string   `json:"action,omitempty"`    // verb that the app shows: LOG_ON (default), APPROVE, CONFIRM, ACCEPT or SIGN
}

// Names of a Request's Params.
const (
	ParamCPR       = "ask_cpr"              // "true" for a party that asks everybody for the CPR number
	ParamReference = "mitid_reference_text" // what the app shows, instead of the contract's
)

const (
	// stranded is after how long nobody comes back from an error page of the broker.
	stranded = 10 * time.Minute
	// matching is how long after a login a CPR number can be compared (§5).
	matching = 15 * time.Minute
	// maxReference is in characters.
	maxReference = 130
)

// Dialect is that of the broker.
func Dialect() openid.Dialect {
	return openid.Dialect{EID: eid.MitID, Stranded: stranded, Read: func(raw json.RawMessage, now func() time.Time) (openid.Agreement, error) {
		a := &agreement{now: now}
		if err := json.Unmarshal(raw, &a.Settings); err != nil {
			return nil, errors.New("settings of MitID are not readable")
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

var (
	known   = []string{"ssn", "nemid.pid", "ssn.details_name", "ssn.details_address"}
	levels  = []string{"low", "substantial", "high"}
	actions = []string{"LOG_ON", "APPROVE", "CONFIRM", "ACCEPT", "SIGN"}
)

// Config implements openid.Agreement.
func (a *agreement) Config() (oidcrp.Config, error) {
	for _, scope := range a.Scopes {
		if !slices.Contains(known, scope) {
			return oidcrp.Config{}, fmt.Errorf("scopes: %.40q is none of %s", scope, strings.Join(known, ", "))
		}
	}
	switch {
	case a.Level != "" && !slices.Contains(levels, a.Level):
		return oidcrp.Config{}, errors.New("level must be low, substantial or high")
	case a.Action != "" && !slices.Contains(actions, a.Action):
		return oidcrp.Config{}, fmt.Errorf("action must be one of %s", strings.Join(actions, ", "))
	case utf8.RuneCountInString(a.Reference) > maxReference:
		return oidcrp.Config{}, fmt.Errorf("reference has at most %d characters", maxReference)
	}
	c, err := a.Settings.Config(a.now)
	c.RequireIss = true     // the broker says it beside every code
	c.UserInfo.Plain = true // the broker signs no UserInfo; it is fetched over TLS, for one sub
	return c, err
}

// adultOnly says whether all that is wanted is that somebody is 18: then no
// lasting name is told at all (§4).
func adultOnly(r *connector.Request) bool {
	return r.Wanted != nil && r.Pinned == "" && len(r.Wanted) == 1 && r.Wanted[0] == eid.WantAdult
}

// scopes are those of the contract, or as many of them as bring what is wanted.
func (a *agreement) scopes(r *connector.Request) []string {
	if adultOnly(r) {
		return []string{"openid", "minimal", "age_verify:18"}
	}
	contract := a.Scopes
	if contract == nil {
		contract = []string{"ssn"}
	}
	out := []string{"openid", "mitid"}
	if r.Params[ParamCPR] == "true" {
		return append(out, contract...)
	}
	bring := map[string]string{"ssn": eid.WantNumber, "ssn.details_name": eid.WantName, "ssn.details_address": eid.WantAddress}
	some := slices.DeleteFunc(slices.Clone(contract), func(scope string) bool { return !slices.Contains(r.Wanted, bring[scope]) })
	if slices.Equal(some, []string{"ssn.details_name"}) { // MitID tells a name itself: for the register's alone nobody types a CPR number
		return out
	}
	return append(out, some...)
}

// level is the least that is taken.
func (a *agreement) level(r *connector.Request) string {
	switch {
	case a.Level != "":
		return a.Level
	case adultOnly(r):
		return "low"
	}
	return "substantial"
}

// reference is what the app shows.
func (a *agreement) reference(r *connector.Request) string {
	return cmp.Or(r.Params[ParamReference], a.Reference)
}

// Ask implements openid.Agreement (§3): everything is pushed, and nobody is let
// in who has logged in for another one.
func (a *agreement) Ask(r *connector.Request) (oidcrp.Request, *connector.Fail) {
	out := oidcrp.Request{Scope: strings.Join(a.scopes(r), " "), By: oidcrp.Pushed, Params: url.Values{"prompt": {"login"}, "idp_values": {"mitid"}, "language": {"en"}}}
	if a.Auth == oidcrp.PrivateKeyJWT {
		out.By = oidcrp.PushedSigned
	}
	if r.Language == "da" {
		out.Params.Set("language", "da")
	}
	if r.Params[ParamCPR] == "true" && !slices.Contains(strings.Fields(out.Scope), "ssn") {
		return out, &connector.Fail{Reason: eid.BadRequest, Code: "cpr_not_granted"}
	}
	mitid := map[string]string{"loa_value": a.level(r), "action_text": "LOG_ON"}
	if a.Action != "" {
		mitid["action_text"] = a.Action
	}
	if text := a.reference(r); text != "" {
		mitid["reference_text"] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	raw, err := json.Marshal(map[string]any{"mitid": mitid})
	if err != nil { // texts only
		panic(err)
	}
	out.Objects = map[string]json.RawMessage{"idp_params": raw}
	return out, nil
}

// words are the broker's for a login that ended without a person (§7).
var words = map[string]connector.Fail{
	"mitid_user_aborted": {Reason: eid.Cancelled}, "user_aborted": {Reason: eid.Cancelled}, "declined_user_consent": {Reason: eid.Cancelled}, "missing_user_consent": {Reason: eid.Cancelled},
	"private_to_business_user_aborted": {Reason: eid.Cancelled}, "privilege_cvr_select_user_aborted": {Reason: eid.Cancelled}, "workflow_signing_aborted": {Reason: eid.Cancelled},
	"mitid_core_client_error_user_abort": {Reason: eid.Cancelled},
	"mitid_timeout":                      {Reason: eid.Expired},
	"mitid_cpr_match_failed":             {Reason: eid.WrongPerson},
	"mitid_identity_not_found":           {Reason: eid.Declined, Retry: true}, "mitid_browser_not_supported": {Reason: eid.Declined, Retry: true},
	"invalid_idp_params": {Reason: eid.Refused}, "invalid_idp_configuration_or_parameter": {Reason: eid.Refused}, "mitid_uuid_hint_malformed": {Reason: eid.Refused},
	"invalid_tin": {Reason: eid.Refused}, "mitid_invalid_transfer_token_code": {Reason: eid.Refused}, "mitid_transfer_token_exchange_code_already_used": {Reason: eid.Refused},
	"mitid_simulation_error_parameter": {Reason: eid.Refused}, "mitid_simulation_unknown_user": {Reason: eid.Refused},
	"idp_correlation_failure": {Reason: eid.Unavailable, Retry: true}, "idp_no_ctx": {Reason: eid.Unavailable, Retry: true}, "no_ctx": {Reason: eid.Unavailable, Retry: true},
	"mitid_no_ctx": {Reason: eid.Unavailable, Retry: true}, "missing_user_in_session": {Reason: eid.Unavailable, Retry: true}, "user_is_missing_cookies": {Reason: eid.Unavailable, Retry: true},
	"user_navigation_error": {Reason: eid.Unavailable, Retry: true}, "idp_remote_error": {Reason: eid.Unavailable, Retry: true}, "internal_error": {Reason: eid.Unavailable, Retry: true},
	"mitid_internal_error": {Reason: eid.Unavailable, Retry: true}, "mitid_unexpected_error": {Reason: eid.Unavailable, Retry: true}, "mitid_core_client_error": {Reason: eid.Unavailable, Retry: true},
	"no_ctx_idp_params": {Reason: eid.Unavailable, Retry: true}, "oidc_correlation_continue_failed": {Reason: eid.Unavailable, Retry: true},
	"user_missing_timed_cookies": {Reason: eid.Unavailable, Retry: true}, "user_navigation_error_empty_state": {Reason: eid.Unavailable, Retry: true},
	"mitid_user_navigation_error_empty_state": {Reason: eid.Unavailable, Retry: true}, "mitid_anti_forgery_validation_error": {Reason: eid.Unavailable, Retry: true},
	"mitid_auth_code_already_used": {Reason: eid.Unavailable, Retry: true},
}

// Refused implements openid.Agreement (§7).
func (*agreement) Refused(no *oidcrp.Refused) connector.Fail {
	if no.Where == "authorization" && no.Code == "access_denied" {
		if f, ok := words[no.Description]; ok {
			f.Code = no.Description
			return f
		}
		if no.Description == "" {
			return connector.Fail{Reason: eid.Cancelled, Code: no.Code}
		}
		return connector.Fail{Reason: eid.Unavailable, Code: "unknown", Retry: true}
	}
	switch no.Code {
	case "server_error", "temporarily_unavailable":
		return connector.Fail{Reason: eid.Unavailable, Code: no.Code, Retry: true}
	case "login_required":
		return connector.Fail{Reason: eid.Declined, Code: no.Code}
	case "access_denied", "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "invalid_request_object", "invalid_scope", "unsupported_grant_type", "unsupported_response_type":
		return connector.Fail{Reason: eid.Refused, Code: no.Code}
	}
	return connector.Fail{Reason: eid.Refused, Code: "unknown"}
}

// nsis begins the names of levels.
const nsis = "https://data.gov.dk/concept/core/nsis/"

// Person implements openid.Agreement.
func (a *agreement) Person(ctx context.Context, r *connector.Request, t openid.Told) (*openid.Person, error) {
	token := openid.Claims(t.Tokens.ID.Raw)
	idp, loa := token.Text("idp"), strings.ToLower(strings.TrimPrefix(token.Text("loa"), nsis))
	switch {
	case idp != "mitid" && (idp != "idbrokerdk" || !adultOnly(r)):
		return nil, openid.Refuse(eid.BadProof, "idp")
	case !slices.Contains(levels, loa) || slices.Index(levels, loa) < slices.Index(levels, a.level(r)):
		return nil, openid.Refuse(eid.BadProof, "level")
	}
	info, err := t.Client.UserInfo(ctx, t.Tokens)
	if err != nil {
		return nil, err
	}
	c := openid.Claims(info.Claims)
	p := &openid.Person{Identity: a.identity(token, c, t.Now)}
	if text := a.reference(r); text != "" { // what comes back of it may be encoded
		p.Identity.Signals["reference_text"] = text
	}
	if raw, err := json.Marshal(info.Claims); err == nil {
		p.Evidence = []eid.Evidence{{Name: "userinfo", Type: "application/json", Data: raw}}
	}
	if adultOnly(r) {
		return p, adult(p.Identity, token, c)
	}
	if p.Identity.Subject == "" {
		return nil, openid.Refuse(eid.BadAnswer, "no_uuid")
	}
	if r.Pinned != "" && p.Identity.Number == "" {
		err = a.match(ctx, r, t, p.Identity)
	}
	return p, err
}

// adult takes the answer to an age check, which both tokens carry.
func adult(who *eid.Identity, token, info openid.Claims) error {
	said := token.Text("idbrokerdk_age_verified")
	yes, ok := info.Truth("idbrokerdk_age_verify_18")
	if !ok || said != fmt.Sprintf("18:%t", yes) {
		return openid.Refuse(eid.BadAnswer, "age")
	}
	who.Approved, who.Subject = &yes, token.Text("sub")
	return nil
}

// match compares the number that is asked for with that of who has logged in,
// by the broker's own service (§5).
// It counts tries, so a try that may have reached it is not repeated.
func (a *agreement) match(ctx context.Context, r *connector.Request, t openid.Told, who *eid.Identity) error {
	again := func(reason eid.Reason) error {
		return &openid.No{Fail: connector.Fail{Reason: reason, Code: "cpr_match", Retry: true}}
	}
	if seconds, err := json.Number(openid.Claims(t.Tokens.ID.Raw).Text("auth_time")).Int64(); err == nil && a.now().Sub(time.Unix(seconds, 0)) > matching {
		return again(eid.Expired)
	}
	status, body, err := t.Client.Post(ctx, t.Tokens, "/api/v1/mitid/matchCpr", map[string]string{"cpr": string(r.Pinned)})
	if e, ok := errors.AsType[*oidcrp.Error](err); ok && e.Sent {
		return again(eid.Unavailable)
	}
	if err != nil {
		return err
	}
	var out struct {
		Match *bool `json:"cprNumberMatch"`
	}
	switch {
	case status != http.StatusOK: // too late, too often
		return again(eid.Unavailable)
	case json.Unmarshal(body, &out) != nil || out.Match == nil:
		return openid.Refuse(eid.BadAnswer, "cpr_match")
	case !*out.Match:
		return openid.Refuse(eid.WrongPerson, "cpr_match")
	}
	who.Number, who.Signals["cpr_source"] = r.Pinned, "prefilled"
	return nil
}

// protectedName stands where a name would (§4).
const protectedName = "NAVNE & ADRESSEBESKYTTET"

// identity reads what the broker says of a person.
func (a *agreement) identity(token, c openid.Claims, now time.Time) *eid.Identity {
	id := &eid.Identity{Subject: c.Text("mitid.uuid"), Country: "DK", Level: token.Text("loa"), Request: token.Text("transaction_id"), Name: c.Text("mitid.identity_name"),
		Given: c.Text("ssn.details.given_name"), Family: c.Text("ssn.details.surname"), Birth: openid.Birth(c.Text("mitid.date_of_birth"))}
	id.Signals = signals(token, c)
	if middle := c.Text("ssn.details.middle_name"); middle != "" && id.Given != "" {
		id.Given += " " + middle
	}
	hidden, _ := c.Truth("ssn.details.name_address_protected")
	switch {
	case id.Name == protectedName || hidden:
		id.Name, id.Given, id.Family = "", "", ""
		id.Signals["protected"] = "true"
	case id.Family == "" && id.Given == "": // MitID has one text; the last word of it is a guess
		if i := strings.LastIndexByte(id.Name, ' '); i > 0 {
			id.Given, id.Family, id.Signals["name_split"] = id.Name[:i], id.Name[i+1:], "guessed"
		} else {
			id.Family = id.Name
		}
	}
	if cpr := c.Text("dk.cpr"); cpr != "" {
		id.Number, id.Signals["cpr_source"] = openid.Number("DK", cpr, now), "user"
	}
	id.Age = openid.Years("DK", id.Birth, now)
	id.Address = address(c)
	return id
}

func address(c openid.Claims) *eid.Address {
	get := func(name string) string { return c.Text("ssn.details." + name) }
	a := &eid.Address{Street: get("street_name"), Number: get("street_number"), Suffix: strings.TrimSpace(get("floor") + " " + get("unit")), Extra: get("care_of_name"),
		PostalCode: get("zip_code"), City: get("zip_name"), Country: "DK"}
	if a.Street == "" && a.PostalCode == "" && a.City == "" {
		return nil
	}
	return a
}

// signals are what is known beside the person.
func signals(token, c openid.Claims) map[string]string {
	out := map[string]string{}
	for key, value := range map[string]string{"loa": token.Text("loa"), "aal": token.Text("aal"), "ial": token.Text("ial"), "amr": strings.Join(token.List("amr"), ", "),
		"transaction_id": token.Text("transaction_id"), "idp_transaction_id": token.Text("idp_transaction_id"), "has_cpr": c.Text("mitid.has_cpr"),
		"pid": c.Text("nemid.pid"), "pid_status": c.Text("nemid.pid_status"), "person_status": c.Text("ssn.details.person_status")} {
		if value != "" {
			out[key] = value
		}
	}
	return out
}
