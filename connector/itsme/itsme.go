// Package itsme lets people identify with itsme, the eID of Belgium and, with
// their documents, of thirty-one other countries (docs/protocols/itsme.md).
// itsme speaks OpenID Connect in two generations, which differ in names, in
// algorithms and in what must be encrypted; the settings say which one a
// contract is for.
package itsme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/oidcrp"
)

// Settings are what a contract for one service comes to (§1).
type Settings struct {
	openid.Settings
	Generation  int      `json:"generation,omitempty"`  // 2 (default), or 1 for https://…itsme.be/oidc
	Service     string   `json:"service"`               // service code
	Login       string   `json:"login,omitempty"`       // code of a service that logs in, for parties that want to know no more than who comes again, and how to reach them
	Scopes      []string `json:"scopes,omitempty"`      // that the contract covers; none: profile, email, phone, address, eid
	Claims      []string `json:"claims,omitempty"`      // asked for one by one, under their short names (§5)
	Level       string   `json:"level,omitempty"`       // "basic" (default) or "advanced": the code of the app, always
	Unencrypted bool     `json:"unencrypted,omitempty"` // signed tokens are taken that are not encrypted; where no key decrypts, no others are
	OldDevice   bool     `json:"old_device,omitempty"`  // first generation: claim_device as of 2016-06
}

// Dialect is that of itsme.
func Dialect() openid.Dialect {
	return openid.Dialect{EID: eid.Itsme, Read: func(raw json.RawMessage, now func() time.Time) (openid.Agreement, error) {
		a := &agreement{now: now}
		if err := json.Unmarshal(raw, &a.Settings); err != nil {
			return nil, errors.New("settings of itsme are not readable")
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

var usual = []string{"profile", "email", "phone", "address", "eid"}

func (a *agreement) old() bool { return a.Generation == 1 }

// Config implements openid.Agreement.
func (a *agreement) Config() (oidcrp.Config, error) {
	switch {
	case a.Generation != 0 && a.Generation != 1 && a.Generation != 2:
		return oidcrp.Config{}, errors.New("generation must be 1 or 2")
	case a.Service == "":
		return oidcrp.Config{}, errors.New("service is required")
	case a.Level != "" && a.Level != "basic" && a.Level != "advanced":
		return oidcrp.Config{}, errors.New("level must be basic or advanced")
	case a.old() && a.Auth != oidcrp.PrivateKeyJWT:
		return oidcrp.Config{}, errors.New("the first generation knows private_key_jwt only")
	case a.old() && !a.Opens():
		return oidcrp.Config{}, errors.New("the first generation encrypts its tokens: keys must have one that decrypts")
	case a.Auth == oidcrp.SecretBasic:
		return oidcrp.Config{}, errors.New("itsme takes a secret as client_secret_post only")
	}
	for _, name := range a.Claims {
		if _, ok := names[name]; !ok {
			return oidcrp.Config{}, fmt.Errorf("claims: %.40q is unknown", name)
		}
	}
	c, err := a.Settings.Config(a.now)
	if err != nil {
		return c, err
	}
	c.AssertionAudience = "token"
	demand := oidcrp.Must
	if a.Unencrypted {
		demand = oidcrp.May
	}
	if !a.Opens() {
		demand = oidcrp.Never
	}
	c.IDToken.Encrypted, c.UserInfo.Encrypted = demand, demand
	if a.old() {
		c.KeyAlg, c.NoPKCE, c.EncryptAssertion = "RSA-OAEP", true, true
	}
	return c, nil
}

// Ask implements openid.Agreement (§3). Where a contract encrypts, what is asked
// for is in a request object that is signed and encrypted: links are no secret.
func (a *agreement) Ask(r *connector.Request) (oidcrp.Request, *connector.Fail) {
	service, scopes, asked := a.Service, a.scopes(r.Wanted), a.asked(r.Wanted)
	nothing := len(scopes) == 0 && len(asked) == 0
	switch {
	case a.Login != "" && (nothing || logsIn(r.Wanted)):
		service = a.Login
	case nothing: // a service that shares data must share some
		scopes = a.scopes(nil)[:1]
	}
	out := oidcrp.Request{Scope: strings.Join(append([]string{"openid", "service:" + service}, scopes...), " "), Params: url.Values{}, By: oidcrp.Query}
	if slices.Contains([]string{"fr", "nl", "de", "en"}, r.Language) {
		out.Params.Set("ui_locales", r.Language)
	}
	if a.Level != "" {
		prefix := ns
		if a.old() {
			prefix = "tag:sixdots.be,2016-06:"
		}
		out.Params.Set("acr_values", prefix+"acr_"+a.Level)
	}
	if len(asked) > 0 {
		part := map[string]any{}
		for _, name := range asked {
			part[name] = nil
		}
		raw, err := json.Marshal(map[string]any{"userinfo": part})
		if err != nil { // names only
			panic(err)
		}
		out.Objects = map[string]json.RawMessage{"claims": raw}
	}
	if a.Signs() && a.Opens() && !a.old() {
		out.By = oidcrp.Encrypted
	}
	return out, nil
}

// logsIn says whether no more is wanted than who comes again, and how to reach
// them: identity data are for a service that shares them.
func logsIn(wanted []string) bool {
	return wanted != nil && !slices.ContainsFunc(wanted, func(w string) bool { return w != eid.WantID && w != eid.WantEmail && w != eid.WantPhone })
}

// asking says by which scope each attribute is asked for.
var asking = map[string]string{eid.WantNumber: "eid", eid.WantName: "profile", eid.WantBirth: "profile", eid.WantGender: "profile",
	eid.WantAddress: "address", eid.WantPhone: "phone", eid.WantEmail: "email", eid.WantDocument: "idDocument"}

// scopes are those of the contract, or as many of them as bring what is wanted.
func (a *agreement) scopes(wanted []string) []string {
	all := a.Scopes
	if all == nil {
		all = usual
	}
	if wanted == nil {
		return all
	}
	var out []string
	for _, scope := range all {
		if slices.ContainsFunc(wanted, func(w string) bool { return asking[w] == scope }) || scope == "profile" && slices.Contains(wanted, eid.WantAdult) && !a.tellsAge() {
			out = append(out, scope)
		}
	}
	return out
}

// tellsAge says whether the contract covers that somebody is 18, without the
// birth date.
func (a *agreement) tellsAge() bool { return !a.old() && slices.Contains(a.Claims, "age_gte_18") }

// asked is what is asked for one by one, under the names of the generation: what
// the contract says, or, where a party wants certain attributes only, those of
// it that say the same or tell whose document it is.
func (a *agreement) asked(wanted []string) (out []string) {
	for _, name := range a.Claims {
		if wanted != nil && !slices.Contains(wanted, need(name)) {
			continue
		}
		full := names[name].v2
		if a.old() {
			full = names[name].v1
			if name == "device" && a.OldDevice {
				full = "tag:sixdots.be,2016-06:claim_device"
			}
		}
		if full != "" {
			out = append(out, full)
		}
	}
	return out
}

// need says which attribute a claim is asked for with; "" for none of those that
// a party can want.
func need(claim string) string {
	if strings.HasPrefix(claim, "national_number") {
		return eid.WantNumber
	}
	return needed[claim]
}

var needed = map[string]string{"age_gte_18": eid.WantAdult, "issuing_country": eid.WantDocument, "document_number": eid.WantDocument,
	"document_type": eid.WantDocument, "issuance_locality": eid.WantDocument, "valid_from": eid.WantDocument, "valid_to": eid.WantDocument, "verified_at": eid.WantDocument,
	"device":              eid.WantDevice,
	"birthdate_as_string": eid.WantBirth}

// Refused implements openid.Agreement (§7).
func (*agreement) Refused(no *oidcrp.Refused) connector.Fail {
	switch no.Code {
	case "access_denied":
		if no.Where == "authorization" {
			return connector.Fail{Reason: eid.Cancelled, Code: no.Code}
		}
	case "login_required", "interaction_required":
		return connector.Fail{Reason: eid.Declined, Code: no.Code}
	case "temporary_unavailable", "temporarily_unavailable", "server_error":
		return connector.Fail{Reason: eid.Unavailable, Code: no.Code, Retry: true}
	}
	return connector.Fail{Reason: eid.Refused, Code: known(no.Code)}
}

// known keeps words of the provider out of what we keep, unless they are the
// protocol's.
func known(code string) string {
	if slices.Contains([]string{"access_denied", "invalid_request", "unsupported_request", "invalid_client_id", "unauthorized_client", "invalid_client", "invalid_redirect_uri",
		"invalid_grant", "invalid_scope", "unsupported_display", "unsupported_response_type", "invalid_request_object", "invalid_request_uri",
		"registration_not_supported", "request_uri_not_supported", "not_implemented"}, code) {
		return code
	}
	return "unknown"
}

// Person implements openid.Agreement. What was asked for comes with UserInfo;
// the ID token says who it is.
func (a *agreement) Person(ctx context.Context, _ *connector.Request, t openid.Told) (*openid.Person, error) {
	info, err := t.Client.UserInfo(ctx, t.Tokens)
	if err != nil {
		return nil, err
	}
	all := openid.Claims{}
	maps.Copy(all, t.Tokens.ID.Raw)
	maps.Copy(all, info.Claims)
	if got := all.Text("acr"); a.Level == "advanced" && got != "" && !strings.HasSuffix(got, "acr_advanced") {
		return nil, openid.Refuse(eid.BadProof, "level")
	}
	p := &openid.Person{Identity: identity(all, t.Now)}
	if info.Signed != "" {
		p.Evidence = []eid.Evidence{{Name: "userinfo", Type: "application/jwt", Data: []byte(info.Signed)}}
	}
	return p, nil
}
