package upstream

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"eidgate/connector"
	cbankidno "eidgate/connector/bankidno"
	"eidgate/connector/openid/openidtest"
	"eidgate/eid"
	"eidgate/sandbox"
	sbankidno "eidgate/sandbox/bankidno"
)

const (
	olaNordmann  = "01819010354" // a number that nobody has
	kariNordmann = "01819010273"
	pid          = "9578-6000-4-000017"
	originator   = "CN=BankID - TestBank1 - Bank CA 3,OU=123456789,O=TestBank1 AS,C=NO;OrginatorId=9980;OriginatorName=BINAS;OriginatorId=9980"
)

// norwegian is a provider with addresses, claims and keys as BankID has them:
// what a person agrees to share is told by a service of its own on another host.
func norwegian(client map[string]any) map[string]any {
	client["userinfo_signed_response_alg"] = "RS256"
	return map[string]any{
		"clients": []any{client},
		"realm":   "/auth/realms/current",
		"tinfo":   map[string]string{"issuer": "/tinfo", "at": "/tinfo"},
		"routes": map[string]string{"authorization": "/precheck/auth", "token": "/protocol/openid-connect/token", "jwks": "/protocol/openid-connect/certs",
			"pushed_authorization_request": "/protocol/openid-connect/ext/par/request", "userinfo": "/userinfo"},
		"contents": []string{"A256GCM"}, // encryptions of a request object
		"acr":      []string{"urn:bankid:bid", "urn:bankid:bis"},
		"scopes":   []string{"openid", "profile", "nnin_altsub", "nnin", "phone", "email", "address"},
		"claims": map[string]any{"openid": []string{"sub", "acr", "amr", "azp", "typ", "nbf", "session_state", "updated_at", "bankid_altsub", "originator", "additionalCertInfo", "tid"},
			"profile": []string{"name", "given_name", "family_name", "birthdate"}, "nnin_altsub": []string{"nnin_altsub"}, "nnin": []string{"nnin"},
			"phone": []string{"phone_number", "phone_number_verified"}, "email": []string{"email", "email_verified"}, "address": []string{"address"}},
		"login": map[string]any{"acr": "urn:bankid:bid;LOA=4", "amr": []string{"bid", "bid-mfa", "bid-otp", "bid-pwd"}},
		"told": map[string]any{
			"id_token": map[string]any{"azp": "us", "typ": "ID", "session_state": "a-session", "updated_at": int64(1583846400000), "bankid_altsub": pid, "originator": originator, "tid": "a-transaction",
				"additionalCertInfo": map[string]any{"certQualified": true, "serialNumber": "1535208"}, "nnin_altsub": olaNordmann,
				"name": "Ola Nordmann", "given_name": "Ola", "family_name": "Nordmann", "birthdate": "1990-01-01"},
			"userinfo": map[string]any{"nnin": olaNordmann, "phone_number": "+4799999999", "phone_number_verified": false, "email": "ola@example.test", "email_verified": false,
				"address": map[string]string{"formatted": "Eksempelveien 1\n0001 Oslo", "street_address": "Eksempelveien 1", "postal_code": "0001", "locality": "Oslo", "country": "NO"}},
		},
	}
}

// How a request reaches the provider.
const (
	inAddress = "in the address"
	isPushed  = "pushed"
	isSealed  = "encrypted"
)

var everything = []string{"profile", "nnin_altsub", "phone", "email", "address"}

// TestBankIDNO: the connector against the dialect of Norwegian BankID.
func TestBankIDNO(t *testing.T) {
	t.Parallel()
	dir := install(t)
	for name, x := range map[string]struct {
		keys   bool // a key of ours, not a secret
		change func(said map[string]any)
		scopes []string
		level  string
		mode   string
		person eid.Number // who is asked for
		params map[string]string
		hint   string // that BankID gets
		by     string
		fail   connector.Fail
		check  func(t *testing.T, p *provider, res connector.Result) // beside what everybody is told
	}{
		"a secret, amr is a list": {scopes: everything, mode: cbankidno.ModeWeb, hint: "BID", by: inAddress, check: func(t *testing.T, p *provider, res connector.Result) {
			service := strings.Replace(strings.TrimSuffix(p.issuer, "/auth/realms/current"), "localhost", "127.0.0.1", 1) + "/tinfo"
			if info := p.signed(t, evidence(t, res, "userinfo")); info["iss"] != service || info["aud"] != "us" || info["sub"] != "person-1" || info["name"] != nil {
				t.Errorf("UserInfo of %s: %v", service, info)
			}
			if who := res.Confirmed; who.Signals["amr"] != "bid, bid-mfa, bid-otp, bid-pwd" || who.Phone != "+4799999999" || who.Email != "ola@example.test" ||
				who.Address == nil || who.Address.City != "Oslo" || who.Address.PostalCode != "0001" || who.Address.Country != "NO" || who.Signals["email_verified"] != "false" {
				t.Errorf("%#v", *who)
			}
		}},
		"a key, amr is a text, nbf is 0": {keys: true, scopes: everything, by: inAddress, change: func(said map[string]any) {
			said["login"] = map[string]any{"acr": "urn:bankid:bid", "amr": "BID"}
			said["told"].(map[string]any)["id_token"].(map[string]any)["nbf"] = 0
		}, check: func(t *testing.T, p *provider, res connector.Result) {
			id := p.signed(t, evidence(t, res, "id_token"))
			if nbf, stands := id["nbf"]; !stands || nbf != 0.0 || id["amr"] != "BID" {
				t.Errorf("the provider says %v", id)
			}
			if who := res.Confirmed; who.Signals["amr"] != "BID" || who.Level != "urn:bankid:bid" || who.Phone == "" {
				t.Errorf("%#v", *who)
			}
		}},
		"biometrics": {scopes: []string{"profile", "nnin_altsub"}, mode: cbankidno.ModeMobile, hint: "BIS", by: inAddress, change: func(said map[string]any) {
			said["login"] = map[string]any{"acr": "urn:bankid:bis;LOA=3", "amr": []string{"bis-mfa", "bis-hwk"}}
		}, check: func(t *testing.T, _ *provider, res connector.Result) {
			if who := res.Confirmed; who.Kind != "BIS" || who.Level != "urn:bankid:bis;LOA=3" || who.Phone != "" || len(res.Evidence) != 1 {
				t.Errorf("%#v", *who)
			}
		}},
		"the number from UserInfo": {scopes: []string{"profile", "nnin"}, by: inAddress, change: func(said map[string]any) {
			delete(said["told"].(map[string]any)["id_token"].(map[string]any), "nnin_altsub")
		}},
		"UserInfo of the provider itself": {scopes: everything, by: inAddress, change: func(said map[string]any) { delete(said, "tinfo") }, check: func(t *testing.T, p *provider, res connector.Result) {
			if info := p.signed(t, evidence(t, res, "userinfo")); info["iss"] != p.issuer || info["phone_number"] != res.Confirmed.Phone {
				t.Errorf("UserInfo: %v", info)
			}
		}},
		"UserInfo signed by its own address": {scopes: everything, by: inAddress, change: func(said map[string]any) {
			said["tinfo"] = map[string]string{"issuer": "/tinfo/userinfo", "at": "/tinfo"}
		}, check: func(t *testing.T, p *provider, res connector.Result) {
			if info := p.signed(t, evidence(t, res, "userinfo")); !strings.HasSuffix(info["iss"].(string), "/tinfo/userinfo") || res.Confirmed.Phone == "" {
				t.Errorf("UserInfo: %v", info)
			}
		}},
		"a number, pushed by who has a secret": {scopes: everything, mode: cbankidno.ModeWeb, person: olaNordmann, hint: "BID:" + olaNordmann, by: isPushed},
		"a number, pushed by who has a key":    {keys: true, scopes: everything, person: olaNordmann, hint: ":" + olaNordmann, by: isPushed},
		"a number, encrypted":                  {keys: true, scopes: everything, mode: cbankidno.ModeMobile, person: olaNordmann, hint: "BIS:" + olaNordmann, by: isSealed, change: func(said map[string]any) { said["par"] = "never" }},
		"a number, and no way to hide it":      {scopes: everything, person: olaNordmann, by: isSealed, change: func(said map[string]any) { said["par"] = "never" }, fail: connector.Fail{Reason: eid.Refused, Code: "config"}},

		"somebody else":                   {scopes: everything, person: kariNordmann, hint: ":" + kariNordmann, by: isPushed, fail: connector.Fail{Reason: eid.WrongPerson, Code: "another_person"}},
		"somebody else than a hint names": {scopes: everything, params: map[string]string{cbankidno.ParamHint: "BID:" + kariNordmann}, hint: "BID:" + kariNordmann, by: isPushed, fail: connector.Fail{Reason: eid.WrongPerson, Code: "another_person"}},
		"UserInfo of another place":       {scopes: everything, by: inAddress, change: func(said map[string]any) { said["tinfo"] = map[string]string{"issuer": "/other", "at": "/tinfo"} }, fail: connector.Fail{Reason: eid.BadProof, Code: "issuer"}},
		"UserInfo of half a path":         {scopes: everything, by: inAddress, change: func(said map[string]any) { said["tinfo"] = map[string]string{"issuer": "/tin", "at": "/tinfo"} }, fail: connector.Fail{Reason: eid.BadProof, Code: "issuer"}},
		"UserInfo that nobody signs": {scopes: everything, by: inAddress, change: func(said map[string]any) {
			delete(said["clients"].([]any)[0].(map[string]any), "userinfo_signed_response_alg")
		}, fail: connector.Fail{Reason: eid.BadAnswer, Code: "userinfo"}},
		"UserInfo of somebody else": {scopes: everything, by: inAddress, change: func(said map[string]any) {
			said["told"].(map[string]any)["userinfo"].(map[string]any)["sub"] = "person-2"
		}, fail: connector.Fail{Reason: eid.BadProof, Code: "subject"}},
		"less than was asked for": {scopes: everything, level: "high", by: inAddress, change: func(said map[string]any) {
			said["login"] = map[string]any{"acr": "urn:bankid:bis;LOA=3", "amr": "BIS"}
		}, fail: connector.Fail{Reason: eid.BadProof, Code: "level"}},
		"no level": {scopes: everything, by: inAddress, change: func(said map[string]any) { delete(said, "login") }, fail: connector.Fail{Reason: eid.BadProof, Code: "level"}},
		"cancelled": {scopes: everything, by: inAddress, change: func(said map[string]any) { said["refuses"] = "bankid_error_codes:C301" },
			fail: connector.Fail{Reason: eid.Cancelled, Code: "C301"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, base := register(t, x.keys)
			said := norwegian(client)
			if x.change != nil {
				x.change(said)
			}
			p := start(t, dir, said)
			base.Issuer = p.issuer
			set := cbankidno.Settings{Settings: base, Scopes: x.scopes, Level: x.level}
			if err := cbankidno.Dialect().Check(set); err != nil {
				t.Fatal(err)
			}
			r := ask(t, set)
			r.Mode, r.Pinned, r.Params, r.Language = x.mode, x.person, x.params, "nb"
			c := cbankidno.New(time.Now, newDirectory())
			if x.fail.Code == "config" { // it does not even begin
				if res, err := c.Begin(t.Context(), r); err != nil || res.Step != x.fail {
					t.Errorf("%#v, %v", res.Step, err)
				}
				return
			}
			address, res := login(t, c, r, newBrowser(t))
			carried(t, address, x.by, p.request(t), x.hint, p.issuer)
			if x.fail.Reason != "" {
				if res.Step != x.fail || res.Confirmed != nil {
					t.Errorf("%#v, want %#v", res.Step, x.fail)
				}
				return
			}
			if res.Step != (connector.Done{}) {
				t.Fatalf("%#v", res.Step)
			}
			if who := res.Confirmed; who.Subject != pid || who.Number != olaNordmann || who.Name != "Ola Nordmann" || who.Given != "Ola" || who.Family != "Nordmann" || who.Birth != "1990-01-01" || who.Country != "NO" ||
				who.Signals["bankid_sub"] != "person-1" || who.Signals["originator"] != originator || who.Signals["updated_at"] != "1583846400000" || who.Signals["sid"] != "a-session" || who.Request != "a-transaction" {
				t.Errorf("%#v", *who)
			}
			if x.check != nil {
				x.check(t, p, res)
			}
		})
	}
}

// carried looks how a request has reached the provider: whole, and without a
// number in the address.
func carried(t *testing.T, address *url.URL, by string, a asked, hint, issuer string) {
	t.Helper()
	q := address.Query()
	names := slices.Sorted(maps.Keys(q))
	if strings.Contains(address.String(), olaNordmann) || strings.Contains(address.String(), kariNordmann) {
		t.Errorf("a number stands in the address %s", address)
	}
	if a.Params["login_hint"] != hint || a.Params["code_challenge_method"] != "S256" || len(a.Params["code_challenge"]) != 43 || a.Params["state"] == "" || a.Params["nonce"] == "" || a.Params["ui_locales"] != "nb" {
		t.Errorf("BankID is asked for %v, want the hint %q", a.Params, hint)
	}
	switch by {
	case inAddress:
		if a.Object != nil || q.Get("code_challenge") != a.Params["code_challenge"] {
			t.Errorf("the address is %s", address)
		}
	case isPushed:
		if !slices.Equal(names, []string{"client_id", "request_uri"}) || a.Object == nil || a.Object.Alg != "none" {
			t.Errorf("the address is %s; the object %v", address, a.Object)
		}
	case isSealed:
		if !slices.Equal(names, []string{"client_id", "request", "response_type", "scope"}) || a.Object == nil || a.Object.Alg != "RS256" || strings.Contains(q.Get("scope"), a.Params["login_hint"]) {
			t.Fatalf("the address is %s; the object %v", address, a.Object)
		}
		e, err := gojose.ParseEncryptedCompact(q.Get("request"), []gojose.KeyAlgorithm{gojose.RSA_OAEP_256}, []gojose.ContentEncryption{gojose.A256GCM})
		if err != nil || e.Header.KeyID != "e1" {
			t.Errorf("the request is encrypted otherwise: %v", err)
		}
		var iss, aud string
		if json.Unmarshal(a.Object.Claims["iss"], &iss) != nil || json.Unmarshal(a.Object.Claims["aud"], &aud) != nil || iss != "us" || aud != issuer {
			t.Errorf("the object is of %q for %q", iss, aud)
		}
	default:
		t.Errorf("no way %q", by)
	}
}

// bankID is BankID of the sandbox, with UserInfo on another host.
func bankID(t *testing.T, auto sandbox.Outcome) *sbankidno.Simulator {
	t.Helper()
	return simulate(t, auto, func(c openidtest.Config) *sbankidno.Simulator {
		return sbankidno.New(sbankidno.Config{Clock: c.Clock, People: c.People, Decisions: c.Decisions, Faults: c.Faults, Base: c.Base,
			UserInfo: func() string { return strings.Replace(c.Base(), "localhost", "127.0.0.1", 1) }})
	})
}

// change sets switches of the simulator.
func change(t *testing.T, s *sbankidno.Simulator, f func(*sbankidno.Settings)) {
	t.Helper()
	if _, err := s.Change(func(set *sbankidno.Settings) error { f(set); return nil }); err != nil {
		t.Fatal(err)
	}
}

// noNumber looks that an address names nobody.
func noNumber(t *testing.T) func(address string) {
	return func(address string) {
		t.Helper()
		if strings.Contains(address, kariNordmann) {
			t.Errorf("a number stands in the address %s", address)
		}
	}
}

// TestBankIDNOForOpenIDClient: the simulator serves a relying party of npm, which
// checks that UserInfo is signed with a key of the realm, by the service that it
// comes from.
func TestBankIDNOForOpenIDClient(t *testing.T) {
	t.Parallel()
	dir := partners(t, "bankidno.mjs")
	const high, substantial = "urn:bankid:bid;LOA=4", "urn:bankid:bis;LOA=3"
	for name, x := range map[string]struct {
		auth, by, hint string
		auto           sandbox.Outcome
		pid, acr       string
		err, code      string
	}{
		"a secret in the header":             {auth: "client_secret_basic", by: "query", hint: "BID", pid: pid, acr: high},
		"a secret in the body":               {auth: "client_secret_post", by: "query", hint: "BIS", pid: pid, acr: substantial},
		"a key":                              {auth: "private_key_jwt", by: "query", pid: pid, acr: high},
		"a number, pushed":                   {auth: "client_secret_basic", by: "pushed", hint: "BID:" + kariNordmann, pid: "9578-6000-4-000025", acr: high},
		"a number, pushed by who has a key":  {auth: "private_key_jwt", by: "pushed", hint: ":" + kariNordmann, pid: "9578-6000-4-000025", acr: high},
		"a number, encrypted":                {auth: "client_secret_post", by: "sealed", hint: "BIS:" + kariNordmann, pid: "9578-6000-4-000025", acr: high},
		"a number, signed and encrypted":     {auth: "private_key_jwt", by: "sealed", hint: "BID:" + kariNordmann, pid: "9578-6000-4-000025", acr: high},
		"a number in the address":            {auth: "client_secret_basic", by: "query", hint: "BID:" + olaNordmann, err: "invalid_request"},
		"a hint that BankID does not know":   {auth: "client_secret_basic", by: "pushed", hint: "XID", err: "access_denied", code: "bankid_error_codes:4100"},
		"a person who cancels":               {auth: "client_secret_basic", by: "query", auto: sandbox.Cancel, err: "access_denied", code: "bankid_error_codes:C301"},
		"a person who is not fast enough":    {auth: "private_key_jwt", by: "pushed", auto: "fail:C302", err: "access_denied", code: "bankid_error_codes:C302"},
		"a provider that is not there today": {auth: "private_key_jwt", by: "query", auto: "fail:temporarily_unavailable", err: "temporarily_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := bankID(t, cmp.Or(x.auto, sandbox.Approve))
			if x.by == "sealed" {
				change(t, s, func(set *sbankidno.Settings) { set.PAR = false })
			}
			reg, err := s.Party("Shop", back, x.auth != "private_key_jwt")
			if err != nil {
				t.Fatal(err)
			}
			var got told
			partner(t, dir, "bankidno.mjs", map[string]any{"issuer": reg.Issuer, "clientID": reg.ClientID, "secret": reg.Secret, "key": reg.Key, "keyID": reg.KeyID, "auth": x.auth, "by": x.by, "hint": x.hint}, noNumber(t), &got)
			if x.err != "" {
				if got.Error != x.err || got.Description != x.code || got.Claims != nil {
					t.Errorf("%+v, want %s %s", got, x.err, x.code)
				}
				return
			}
			id, info := got.Claims, got.Info
			if id["bankid_altsub"] != x.pid || id["acr"] != x.acr || id["family_name"] != "Nordmann" || id["birthdate"] != "1990-01-01" || id["nnin_altsub"] == nil || id["azp"] != reg.ClientID || id["phone_number"] != nil {
				t.Errorf("the ID token is %v", id)
			}
			if info["sub"] != id["sub"] || info["phone_number"] != "+4799999999" || info["email"] == nil || info["address"] == nil || info["name"] != nil {
				t.Errorf("UserInfo is %v", info)
			}
			if strings.HasPrefix(info["iss"].(string), reg.Issuer) {
				t.Error("UserInfo is signed by the realm: nothing was shown")
			}
		})
	}
}

// TestBankIDNOForAuthJS: the simulator serves who has configured BankID in Auth.js
// and nothing more.
func TestBankIDNOForAuthJS(t *testing.T) {
	t.Parallel()
	dir := partners(t, "authjs.mjs")
	for name, api := range map[string]string{"new": "v2", "old": "v1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := bankID(t, sandbox.Approve)
			change(t, s, func(set *sbankidno.Settings) { set.API = api })
			reg, err := s.Party("Shop", back, true)
			if err != nil {
				t.Fatal(err)
			}
			var got told
			partner(t, dir, "authjs.mjs", map[string]any{"issuer": reg.Issuer, "clientID": reg.ClientID, "secret": reg.Secret}, func(string) {}, &got)
			email, stands := got.Profile["email"]
			if sub, ok := got.Profile["id"].(string); !ok || len(sub) != 36 || got.Profile["name"] != "Ola Nordmann" || !stands || email != nil {
				t.Errorf("the profile is %v", got.Profile)
			}
			// What Auth.js says that BankID's claims are.
			for _, name := range []string{"jti", "typ", "azp", "session_state", "at_hash", "given_name", "family_name", "birthdate", "acr", "bankid_altsub", "originator", "tid"} {
				if text, ok := got.Claims[name].(string); !ok || text == "" {
					t.Errorf("%s is %v", name, got.Claims[name])
				}
			}
			for _, name := range []string{"exp", "iat", "auth_time", "updated_at"} {
				if _, ok := got.Claims[name].(float64); !ok {
					t.Errorf("%s is %v", name, got.Claims[name])
				}
			}
			if _, ok := got.Claims["amr"].(string); ok != (api == "v1") || got.Claims["nonce"] != nil || got.Claims["additionalCertInfo"] == nil {
				t.Errorf("%v", got.Claims)
			}
		})
	}
}

// TestBankIDNOForGoOIDC: the same for coreos/go-oidc.
func TestBankIDNOForGoOIDC(t *testing.T) {
	t.Parallel()
	s := bankID(t, sandbox.Approve)
	reg, err := s.Party("Shop", back, true)
	if err != nil {
		t.Fatal(err)
	}
	g := newGoParty(t, reg.Issuer, reg.ClientID, reg.Secret, oauth2.AuthStyleInHeader, "profile", "nnin_altsub", "nnin", "phone", "email", "address")
	for _, x := range []struct {
		api, hint string
		acr, amr  string
		length    int // of the subject
	}{{"v2", "BID", "urn:bankid:bid;LOA=4", "bid bid-mfa bid-otp bid-pwd", 36}, {"v2", "BIS", "urn:bankid:bis;LOA=3", "bis-mfa bis-hwk", 43}, {"v1", "BID", "urn:bankid:bid;LOA=4", "BID", 36}} {
		change(t, s, func(set *sbankidno.Settings) { set.API = x.api })
		token, id := g.login(t, oauth2.SetAuthURLParam("login_hint", x.hint))
		var c struct {
			ACR    string `json:"acr"`
			AMR    any    `json:"amr"`
			Number string `json:"nnin_altsub"`
			Name   string `json:"name"`
		}
		if err := id.Claims(&c); err != nil {
			t.Fatal(err)
		}
		amr, ok := c.AMR.(string)
		if list, many := c.AMR.([]any); many {
			amr = strings.Trim(fmt.Sprint(list), "[]")
		} else if !ok || x.api != "v1" {
			t.Errorf("amr is %v", c.AMR)
		}
		if id.AccessTokenHash == "" || len(id.Subject) != x.length || c.ACR != x.acr || amr != x.amr || c.Number != olaNordmann || c.Name != "Ola Nordmann" {
			t.Errorf("%s, %s: %+v of %s", x.api, x.hint, c, id.Subject)
		}
		var info struct {
			Number  string            `json:"nnin"`
			Phone   string            `json:"phone_number"`
			Address map[string]string `json:"address"`
		}
		if got := g.info(t, token, &info); got.Subject != id.Subject || got.Email == "" || got.EmailVerified || info.Number != olaNordmann || info.Phone != "+4799999999" || info.Address["locality"] != "Oslo" {
			t.Errorf("UserInfo: %+v %+v", got, info)
		}
		if _, err := g.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token.AccessToken + "x"})); err == nil || !strings.HasPrefix(err.Error(), "401") {
			t.Errorf("UserInfo for nobody: %v", err)
		}
	}
	g.refuses(t)
	for want, params := range map[string]map[string]string{
		"invalid_scope": {"scope": "openid esign"}, "unsupported_response_type": {"response_type": "token"}, "login_required": {"prompt": "none"},
		"invalid_request": {"code_challenge_method": "plain"}, "invalid_request_uri": {"request_uri": "urn:ietf:params:oauth:request_uri:nobody"}, "invalid_request_object": {"request": "e30.e30."},
	} {
		options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(oauth2.GenerateVerifier())}
		for name, value := range params {
			options = append(options, oauth2.SetAuthURLParam(name, value))
		}
		if q := browse(t, g.conf.AuthCodeURL("the-state", options...)); q.Get("error") != want || q.Get("state") != "the-state" || q.Has("code") {
			t.Errorf("%v: %v, want %s", params, q, want)
		}
	}
	if status := stranded(t, g.elsewhere()); status != http.StatusBadRequest {
		t.Errorf("a way back that is not registered: %d", status)
	}
}
