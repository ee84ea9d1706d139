package upstream

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"eidgate/connector"
	cmitid "eidgate/connector/mitid"
	"eidgate/connector/openid/openidtest"
	"eidgate/eid"
	"eidgate/sandbox"
	smitid "eidgate/sandbox/mitid"
)

const (
	nsis      = "https://data.gov.dk/concept/core/nsis/"
	uuid      = "0b8e6f52-2222-4b22-9b22-0000000000b2"
	cpr       = "8903859996" // a number that nobody has
	reference = "Log ind på Købmand?"
	inBase64  = "TG9nIGluZCBww6UgS8O4Ym1hbmQ/" // the same
)

// danish is a provider as Nets eID Broker is one: every request must be pushed,
// keys have no alg, and UserInfo is plain JSON of nothing but texts.
func danish(client map[string]any) map[string]any {
	client["require_pushed_authorization_requests"] = true
	return map[string]any{
		"clients": []any{client},
		"realm":   "/op",
		"par":     "always",
		"bare":    true,
		"extra":   []string{"idp_values", "idp_params", "language"},
		"routes": map[string]string{"authorization": "/connect/authorize", "token": "/connect/token", "jwks": "/.well-known/openid-configuration/jwks",
			"pushed_authorization_request": "/connect/par", "userinfo": "/connect/userinfo"},
		"scopes": []string{"openid", "mitid", "ssn", "minimal", "age_verify:18"},
		"claims": map[string]any{"openid": []string{"sub", "acr", "amr", "idp", "loa", "aal", "ial", "identity_type", "transaction_id", "idp_transaction_id", "session_expiry"},
			"mitid": []string{"mitid.uuid", "mitid.identity_name", "mitid.date_of_birth", "mitid.age", "mitid.has_cpr", "mitid.reference_text"}, "ssn": []string{"dk.cpr"},
			"age_verify:18": []string{"idbrokerdk_age_verified", "idbrokerdk_age_verify_18"}},
		"login": map[string]any{"acr": nsis + "Substantial", "amr": []string{"code_app"}},
		"told": map[string]any{
			"id_token": map[string]any{"idp": "mitid", "loa": nsis + "Substantial", "aal": nsis + "Substantial", "ial": nsis + "Substantial", "identity_type": "private",
				"transaction_id": "a-transaction", "idp_transaction_id": "another", "session_expiry": "1719844400"},
			"userinfo": map[string]any{"idp": "mitid", "loa": nsis + "Substantial", "mitid.uuid": uuid, "mitid.identity_name": "Hanne Hansen", "mitid.date_of_birth": "1985-03-29", "mitid.age": "41",
				"mitid.has_cpr": "true", "mitid.reference_text": reference, "dk.cpr": cpr},
		},
	}
}

// TestMitID: the connector against the dialect of Nets eID Broker.
func TestMitID(t *testing.T) {
	t.Parallel()
	dir := install(t)
	both := map[string]string{cmitid.ParamCPR: "true"}
	idToken := func(said map[string]any) map[string]any {
		return said["told"].(map[string]any)["id_token"].(map[string]any)
	}
	userInfo := func(said map[string]any) map[string]any {
		return said["told"].(map[string]any)["userinfo"].(map[string]any)
	}
	for name, x := range map[string]struct {
		keys   bool // a key of ours, not a secret
		change func(said map[string]any)
		level  string
		action string
		shown  string // what the app shows, in base64; that of the contract where it is ""
		wanted []string
		params map[string]string
		fail   connector.Fail
		check  func(t *testing.T, p *provider, res connector.Result)
	}{
		"a form":         {params: both},
		"a signed one":   {keys: true, params: both},
		"another action": {keys: true, params: both, level: "low", action: "APPROVE"},
		"a text of this login": {params: map[string]string{cmitid.ParamCPR: "true", cmitid.ParamReference: "Køb billet"}, shown: "S8O4YiBiaWxsZXQ=",
			change: func(said map[string]any) { userInfo(said)["mitid.reference_text"] = "Køb billet" }, check: func(t *testing.T, _ *provider, res connector.Result) {
				if who := res.Confirmed; who.Signals["reference_text"] != "Køb billet" {
					t.Errorf("%#v", *who)
				}
			}},
		"without a number": {check: func(t *testing.T, _ *provider, res connector.Result) {
			if who := res.Confirmed; who.Number != "" || who.Subject != uuid {
				t.Errorf("%#v", *who)
			}
		}},
		"of age": {wanted: []string{eid.WantAdult}, level: "low", change: func(said map[string]any) {
			maps.Copy(idToken(said), map[string]any{"idp": "idbrokerdk", "loa": nsis + "Low", "idbrokerdk_age_verified": "18:true"})
			userInfo(said)["idbrokerdk_age_verify_18"] = "true"
		}, check: func(t *testing.T, _ *provider, res connector.Result) {
			if who := res.Confirmed; who.Approved == nil || !*who.Approved || who.Subject != "person-1" || who.Name+who.Birth+string(who.Number) != "" {
				t.Errorf("%#v", *who)
			}
		}},
		"of age in one token only": {wanted: []string{eid.WantAdult}, change: func(said map[string]any) {
			maps.Copy(idToken(said), map[string]any{"idp": "idbrokerdk", "idbrokerdk_age_verified": "18:false"})
			userInfo(said)["idbrokerdk_age_verify_18"] = "true"
		}, level: "low", fail: connector.Fail{Reason: eid.BadAnswer, Code: "age"}},

		"less than was asked for":    {params: both, level: "high", fail: connector.Fail{Reason: eid.BadProof, Code: "level"}},
		"no level":                   {params: both, change: func(said map[string]any) { delete(idToken(said), "loa") }, fail: connector.Fail{Reason: eid.BadProof, Code: "level"}},
		"another eID of the broker":  {params: both, change: func(said map[string]any) { idToken(said)["idp"] = "mitid_erhverv" }, fail: connector.Fail{Reason: eid.BadProof, Code: "idp"}},
		"UserInfo of somebody else":  {keys: true, params: both, change: func(said map[string]any) { userInfo(said)["sub"] = "person-2" }, fail: connector.Fail{Reason: eid.BadProof, Code: "subject"}},
		"no lasting name":            {params: both, change: func(said map[string]any) { delete(userInfo(said), "mitid.uuid") }, fail: connector.Fail{Reason: eid.BadAnswer, Code: "no_uuid"}},
		"aborted":                    {params: both, change: func(said map[string]any) { said["refuses"] = "mitid_user_aborted" }, fail: connector.Fail{Reason: eid.Cancelled, Code: "mitid_user_aborted"}},
		"the wrong number was typed": {keys: true, params: both, change: func(said map[string]any) { said["refuses"] = "mitid_cpr_match_failed" }, fail: connector.Fail{Reason: eid.WrongPerson, Code: "mitid_cpr_match_failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, base := register(t, x.keys)
			if x.keys {
				client["request_object_signing_alg"], client["require_signed_request_object"] = "RS256", true
			}
			said := danish(client)
			if x.change != nil {
				x.change(said)
			}
			p := start(t, dir, said)
			base.Issuer = p.issuer
			set := cmitid.Settings{Settings: base, Level: x.level, Action: x.action, Reference: reference}
			if err := cmitid.Dialect().Check(set); err != nil {
				t.Fatal(err)
			}
			r := ask(t, set)
			r.Language, r.Params, r.Wanted = "da", x.params, x.wanted
			want := map[string]string{"loa_value": "substantial", "action_text": "LOG_ON", "reference_text": cmp.Or(x.shown, inBase64)}
			if x.level != "" {
				want["loa_value"] = x.level
			}
			if x.action != "" {
				want["action_text"] = x.action
			}
			scope := "openid mitid"
			switch {
			case x.params != nil:
				scope += " ssn"
			case x.wanted != nil:
				scope = "openid minimal age_verify:18"
			}
			c, browser := cmitid.New(time.Now, newDirectory()), newBrowser(t)
			for range 2 { // the provider has a session the second time, and asks all the same
				address, res := login(t, c, r, browser)
				if names := slices.Sorted(maps.Keys(address.Query())); !slices.Equal(names, []string{"client_id", "request_uri"}) {
					t.Errorf("the address is %s", address)
				}
				a := p.request(t)
				if !slices.Contains(a.Reasons, "login_prompt") || a.Params["prompt"] != "login" || a.Params["idp_values"] != "mitid" || a.Params["language"] != "da" || a.Params["scope"] != scope ||
					a.Params["code_challenge_method"] != "S256" || len(a.Params["code_challenge"]) != 43 || a.Params["state"] == "" || a.Params["nonce"] == "" {
					t.Errorf("the broker is asked for %v, because of %v", a.Params, a.Reasons)
				}
				if got := options(t, a, x.keys); !maps.Equal(got, want) {
					t.Errorf("the options are %v, want %v", got, want)
				}
				if x.fail.Reason != "" {
					if res.Step != x.fail || res.Confirmed != nil {
						t.Errorf("%#v, want %#v", res.Step, x.fail)
					}
					continue
				}
				if res.Step != (connector.Done{}) {
					t.Fatalf("%#v", res.Step)
				}
				if id := p.signed(t, evidence(t, res, "id_token")); id["idp"] == nil || id["auth_time"] == nil || id["dk.cpr"] != nil {
					t.Errorf("the ID token is %v", id)
				}
				texts(t, evidence(t, res, "userinfo"))
				if x.check != nil {
					x.check(t, p, res)
					continue
				}
				if who := res.Confirmed; who.Subject != uuid || who.Number != cpr || who.Name != "Hanne Hansen" || who.Given != "Hanne" || who.Family != "Hansen" || who.Birth != "1985-03-29" || who.Country != "DK" || who.Age == nil ||
					who.Level != nsis+"Substantial" || who.Request != "a-transaction" || who.Signals["amr"] != "code_app" || who.Signals["has_cpr"] != "true" || who.Signals["cpr_source"] != "user" || who.Signals["reference_text"] != reference {
					t.Errorf("%#v", *who)
				}
			}
		})
	}
}

// options are those of MitID in a request: an object in a request object that we
// have signed, text in a form.
func options(t *testing.T, a asked, signed bool) map[string]string {
	t.Helper()
	alg := "none"
	if signed {
		alg = "RS256"
	}
	if a.Object == nil || a.Object.Alg != alg {
		t.Fatalf("the request object is %v, want one signed with %s", a.Object, alg)
	}
	raw := []byte(a.Params["idp_params"])
	if signed {
		raw = a.Object.Claims["idp_params"]
	}
	var all map[string]map[string]string
	if err := json.Unmarshal(raw, &all); err != nil || len(all) != 1 {
		t.Fatalf("idp_params are %s: %v", raw, err)
	}
	return all["mitid"]
}

// texts looks that UserInfo has nothing but texts.
func texts(t *testing.T, raw []byte) {
	t.Helper()
	var all map[string]string
	if err := json.Unmarshal(raw, &all); err != nil || all["sub"] != "person-1" {
		t.Errorf("UserInfo is %s: %v", raw, err)
	}
}

// broker is Nets eID Broker of the sandbox.
func broker(t *testing.T, auto sandbox.Outcome) *smitid.Simulator {
	t.Helper()
	return simulate(t, auto, func(c openidtest.Config) *smitid.Simulator { return smitid.New(smitid.Config(c)) })
}

// TestMitIDForOpenIDClient: the simulator serves a relying party of npm that
// pushes its requests, as a form or as an object that it has signed.
func TestMitIDForOpenIDClient(t *testing.T) {
	t.Parallel()
	dir := partners(t, "mitid.mjs")
	for _, auth := range []string{"client_secret_basic", "client_secret_post", "private_key_jwt"} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			reg, err := broker(t, sandbox.Approve).Party("Shop", back, auth != "private_key_jwt")
			if err != nil {
				t.Fatal(err)
			}
			look := func(address string) {
				u, err := url.Parse(address)
				if err != nil {
					t.Fatal(err)
				}
				if q := u.Query(); !strings.HasPrefix(q.Get("request_uri"), "urn:ietf:params:oauth:request_uri:") || q.Get("client_id") != reg.ClientID || q.Has("request") || q.Has("idp_params") {
					t.Errorf("the address is %s", address)
				}
			}
			var got told
			partner(t, dir, "mitid.mjs", map[string]any{"issuer": reg.Issuer, "clientID": reg.ClientID, "secret": reg.Secret, "key": reg.Key, "keyID": reg.KeyID, "auth": auth, "reference": reference}, look, &got)
			id, info := got.Claims, got.Info
			if id["idp"] != "mitid" || id["loa"] != nsis+"High" || id["acr"] != id["loa"] || id["identity_type"] != "private" || id["transaction_id"] == nil || id["dk.cpr"] != nil || id["mitid.uuid"] != nil {
				t.Errorf("the ID token is %v", id)
			}
			if info["sub"] != id["sub"] || info["mitid.uuid"] != uuid || info["mitid.identity_name"] != "Hanne Hansen" || info["mitid.date_of_birth"] != "1985-03-29" || info["dk.cpr"] != cpr ||
				info["nemid.pid_status"] != "success" || info["mitid.reference_text"] != reference || info["mitid.transaction_id"] != id["idp_transaction_id"] {
				t.Errorf("UserInfo is %v", info)
			}
			for name, value := range info {
				if _, ok := value.(string); !ok {
					t.Errorf("%s is no text: %v", name, value)
				}
			}
		})
	}
}

// TestMitIDForGoOIDC: the same for coreos/go-oidc, with a request in the address,
// and one that it pushes by hand.
func TestMitIDForGoOIDC(t *testing.T) {
	t.Parallel()
	reg, err := broker(t, sandbox.Approve).Party("Shop", back, true)
	if err != nil {
		t.Fatal(err)
	}
	g := newGoParty(t, reg.Issuer, reg.ClientID, reg.Secret, oauth2.AuthStyleInHeader, "mitid")
	check := func(token *oauth2.Token, id *oidc.IDToken, level string) {
		t.Helper()
		var claims struct{ IDP, LOA, ACR string }
		if err := id.Claims(&claims); err != nil || claims.IDP != "mitid" || claims.LOA != nsis+level || claims.ACR != claims.LOA || id.AccessTokenHash == "" || len(id.Subject) != 36 {
			t.Errorf("%+v of %s, %v", claims, id.Subject, err)
		}
		var info map[string]string
		if got := g.info(t, token, &info); got.Subject != id.Subject || info["mitid.uuid"] != uuid || info["mitid.has_cpr"] != "true" || info["dk.cpr"] != "" {
			t.Errorf("UserInfo is %v", info)
		}
	}
	param := oauth2.SetAuthURLParam
	token, id := g.login(t, param("idp_values", "mitid"), param("prompt", "login"))
	check(token, id, "Substantial")
	if _, err := g.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token.AccessToken + "x"})); err == nil || !strings.HasPrefix(err.Error(), "401") {
		t.Errorf("UserInfo for nobody: %v", err)
	}
	g.refuses(t)

	verifier := oauth2.GenerateVerifier()
	whole, err := url.Parse(g.conf.AuthCodeURL("the-state", oidc.Nonce("the-nonce"), oauth2.S256ChallengeOption(verifier), param("idp_params", `{"mitid":{"loa_value":"high"}}`)))
	if err != nil {
		t.Fatal(err)
	}
	var published struct {
		PAR string `json:"pushed_authorization_request_endpoint"`
		Iss bool   `json:"authorization_response_iss_parameter_supported"`
	}
	if err := g.provider.Claims(&published); err != nil {
		t.Fatal(err)
	}
	address := *whole
	address.RawQuery = url.Values{"client_id": {reg.ClientID}, "request_uri": {push(t, published.PAR, reg.ClientID, reg.Secret, whole.Query())}}.Encode()
	q := browse(t, address.String())
	if !published.Iss || q.Get("iss") != reg.Issuer || q.Get("session_state") == "" {
		t.Errorf("comes back with %v", q)
	}
	token, id = g.redeem(t, verifier, q)
	check(token, id, "High")
	for name, address := range map[string]string{
		"a request that was pushed, twice": address.String(), "a way back that is not registered": g.elsewhere(), "another scope": g.conf.AuthCodeURL("s", param("scope", "openid esign")),
		"no openid": g.conf.AuthCodeURL("s", param("scope", "mitid")), "another eID": g.conf.AuthCodeURL("s", param("idp_values", "nemid")), "options that are no JSON": g.conf.AuthCodeURL("s", param("idp_params", "{")),
		"an implicit login": g.conf.AuthCodeURL("s", param("response_type", "id_token")),
	} {
		if status := stranded(t, address); status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, status)
		}
	}
}

// push sends a request to the provider (RFC 9126), and is the name that it gets.
func push(t *testing.T, endpoint, id, secret string, params url.Values) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(params.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct {
		URI     string `json:"request_uri"`
		Expires int    `json:"expires_in"`
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != http.StatusCreated || out.Expires != 600 {
		t.Fatalf("%s: %+v, %v", res.Status, out, err)
	}
	return out.URI
}

// TestMitIDRefuses: a login that ends without a person comes back with the
// broker's word for it, and without iss. openid-client, which holds the broker to
// the iss that it promises, cannot read it; go-oidc reads no answers at all.
func TestMitIDRefuses(t *testing.T) {
	t.Parallel()
	for auto, want := range map[sandbox.Outcome]string{sandbox.Cancel: "mitid_user_aborted", sandbox.Decline: "mitid_identity_not_found", "fail:mitid_timeout": "mitid_timeout"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			reg, err := broker(t, auto).Party("Shop", back, true)
			if err != nil {
				t.Fatal(err)
			}
			g := newGoParty(t, reg.Issuer, reg.ClientID, reg.Secret, oauth2.AuthStyleInParams, "mitid")
			q := browse(t, g.conf.AuthCodeURL("the-state", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
			if q.Get("error") != "access_denied" || q.Get("error_description") != want || q.Get("state") != "the-state" || q.Has("code") || q.Has("iss") {
				t.Errorf("comes back with %v", q)
			}
		})
	}
}
