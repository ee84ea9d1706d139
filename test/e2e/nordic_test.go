package e2e

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"eidgate/test/rig"
)

// TestNorwegianBankID: as the ZignSec API of the second generation has it.
func TestNorwegianBankID(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	const ola = "01819010354"
	for name, x := range map[string]struct {
		selector string
		form     url.Values
		person   string
		code     string // of the error; "" for a login
		method   string // BID or BIS, by acr
	}{
		"a hint":                 {"nbid_oidc", url.Values{"login_hint": {"BID:" + ola}}, "ola", "", "bid"},
		"a hint of another":      {"nbid_oidc", url.Values{"login_hint": {"BID:" + ola}}, "kari", "INVALID_PERSONALNUMBER", ""},
		"a number":               {"nbid", url.Values{"personalnumber": {ola[:6] + " " + ola[6:]}}, "ola", "", "bid"},
		"a number of another":    {"nbid_oidc", url.Values{"personalnumber": {ola}}, "kari", "INVALID_PERSONALNUMBER", ""},
		"biometrics":             {"nbid_mobile", url.Values{}, "ola", "", "bis"},
		"no biometrics":          {"nbid_mobile", url.Values{}, "kari", "", "bid"},
		"a hint where none goes": {"nbid", url.Values{"login_hint": {"XID"}}, "ola", "", "bid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w.For(t)
			x.form.Set("target", w.HookAt)
			id := w.Setup(x.selector, x.form)
			w.Decide(id, "approve", x.person)
			got := w.Result(id)
			if x.code != "" {
				if errs := got["errors"].([]any); len(errs) != 1 || errs[0].(map[string]any)["code"] != x.code || got["identity"] != nil {
					t.Errorf("%v", got)
				}
				return
			}
			who, _ := got["identity"].(map[string]any)
			if who["CountryCode"] != "NO" || who["IdProviderName"] != "BankIDNO" || !strings.HasPrefix(who["IdProviderPersonId"].(string), "9578-6000-4-") || who["LastName"] != "Nordmann" ||
				who["DateOfBirth"] != "1990-01-01" || len(who["PersonalNumber"].(string)) != 11 || got["method"] != x.selector {
				t.Errorf("%v", got)
			}
			text, _ := got["BANKIdNO_OIDC"].(string)
			var node map[string]any
			if json.Unmarshal([]byte(text), &node) != nil || !strings.Contains(text, "\r\n  \"id_token\"") || node["access_token"] != "" || node["refresh_token"] != "" {
				t.Fatalf("the node is %q", text)
			}
			parts := strings.Split(node["id_token"].(string), ".")
			raw, err := base64.RawURLEncoding.DecodeString(parts[1])
			if err != nil || !strings.Contains(string(raw), `"acr":"urn:bankid:`+x.method+`;`) {
				t.Errorf("%s, %v", raw, err)
			}
		})
	}
	if status, out := w.Call("POST", w.URLs["public"]+"/v2/eid/nbid_oidc", "application/x-www-form-urlencoded", url.Values{"target": {w.HookAt}, "login_hint": {"BID:123"}}.Encode()); status != 400 ||
		!strings.Contains(out["errors"].([]any)[0].(map[string]any)["description"].(string), "login_hint") {
		t.Errorf("%d %v", status, out)
	}
	if status, out := w.Call("POST", w.URLs["public"]+"/v2/eid/nbid_oidc", "application/x-www-form-urlencoded",
		url.Values{"target": {w.HookAt}, "login_hint": {"BID:" + ola}, "personalnumber": {"01819010273"}}.Encode()); status != 400 {
		t.Errorf("two people: %d %v", status, out)
	}
	if id := w.Setup("no", url.Values{"target": {w.HookAt}}); len(id) != 36 {
		t.Errorf("the country has no methods: %q", id)
	}
}

// TestAdditionalIdentityInfo: contact data are asked of Norwegian BankID, and
// told, only where a party of v2 wants them. v3 has them always.
func TestAdditionalIdentityInfo(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for _, x := range []struct {
		selector string
		form     url.Values
		told     bool
	}{
		{"nbid_oidc", url.Values{}, false},
		{"nbid_oidc", url.Values{"Additional_identity_info": {"true"}}, true},
		{"nbid", url.Values{"Additional_identity_info": {"true"}, "personalnumber": {"01819010354"}}, true},
		{"nbid", url.Values{"additionalIdentityInfo": {"false"}}, false},
		{"nbid_mobile", url.Values{"ADDITIONAL_IDENTITY_INFO": {"1"}}, true},
		{"nbid_mobile", url.Values{}, false},
		{"no", url.Values{"additional_identity_info": {"yes"}}, true},
		{"no", url.Values{}, false},
	} {
		x.form.Set("target", w.HookAt)
		id := w.Setup(x.selector, x.form)
		w.Decide(id, "approve", "ola")
		got := w.Result(id)
		who, _ := got["identity"].(map[string]any)
		if who["PersonalNumber"] != "01819010354" || who["FullName"] != "Ola Nordmann" || who["DateOfBirth"] != "1990-01-01" {
			t.Fatalf("%s %v: %v", x.selector, x.form, got)
		}
		where := map[string]any(nil)
		if node, _ := got["BankIDNO"].(map[string]any); node != nil {
			where, _ = node["address"].(map[string]any)
		}
		if x.told && (who["PhoneNumber"] != "+4799999999" || who["Email"] != "957860004000017@example.test" || where["street"] != "Eksempelveien 1" || where["postalCode"] != "0001" || where["city"] != "Oslo" || where["country"] != "NO") ||
			!x.told && (who["PhoneNumber"] != nil || who["Email"] != nil || got["BankIDNO"] != nil) {
			t.Errorf("%s %v: %v", x.selector, x.form, got)
		}
		if paths := asked(t, w, who["IdProviderRequestId"].(string)); !slices.Contains(paths, "/bankidno/auth/realms/current/protocol/openid-connect/token") || slices.Contains(paths, "/bankidno/tinfo/userinfo") != x.told {
			t.Errorf("%s %v: BankID was asked %v", x.selector, x.form, paths)
		}
	}

	var set setup3
	if status := v3(t, w, "POST", "/v3/eid/nbid", url.Values{"target": {w.HookAt}}, &set); status != 200 {
		t.Fatalf("%d %+v", status, set)
	}
	w.Decide(set.ID, "approve", "ola")
	var got result3
	if v3(t, w, "GET", "/v3/eid/nbid/"+set.ID, nil, &got); got.Identity == nil || got.Identity.Phone != "+4799999999" || got.Identity.Email != "957860004000017@example.test" || got.Identity.AddressInfoRaw != "Eksempelveien 1,Oslo,0001" {
		t.Errorf("v3: %+v", got)
	}
}

// asked are the addresses of a simulator that were called about a login.
func asked(t *testing.T, w *rig.Dev, ref string) (paths []string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URLs["control"]+"/sandbox/v1/messages?"+url.Values{"ref": {ref}}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var messages []struct{ URL string }
	if err := json.NewDecoder(res.Body).Decode(&messages); err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		u, err := url.Parse(m.URL)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, u.Path)
	}
	return paths
}

// TestMitID: the second and the third generation, with numbers that are typed,
// compared, or not asked for.
func TestMitID(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	const hanne = "8903859996"
	v2 := func(form url.Values, person string) (who map[string]any, code string) {
		t.Helper()
		form.Set("target", w.HookAt)
		id := w.Setup("mitid", form)
		w.Decide(id, "approve", person)
		got := w.Result(id)
		if errs, _ := got["errors"].([]any); len(errs) > 0 {
			return nil, errs[0].(map[string]any)["code"].(string)
		}
		return got["identity"].(map[string]any), ""
	}
	if who, _ := v2(url.Values{}, "hanne"); who["PersonalNumber"] != "" || who["IdProviderPersonId"] != "0b8e6f52-2222-4b22-9b22-0000000000b2" || who["FullName"] != "Hanne Hansen" || who["IdProviderName"] != "MitID" {
		t.Errorf("nothing asked for: %v", who)
	}
	if who, _ := v2(url.Values{"AskForCpr": {"true"}}, "hanne"); who["PersonalNumber"] != hanne || who["LastName"] != "Hansen" || who["IdProviderRequestId"] == "" {
		t.Errorf("typed: %v", who)
	}
	if who, _ := v2(url.Values{"personalnumber": {hanne[:6] + "-" + hanne[6:]}}, "hanne"); who["PersonalNumber"] != hanne {
		t.Errorf("compared: %v", who)
	}
	if who, code := v2(url.Values{"personalnumber": {hanne}}, "sofie"); code != "INVALID_PERSONALNUMBER" {
		t.Errorf("of another: %v %s", who, code)
	}
	if who, code := v2(url.Values{"personalnumber": {hanne}, "AskForCpr": {"true"}}, "sofie"); code != "INVALID_PERSONALNUMBER" {
		t.Errorf("of another, who has typed their own: %v %s", who, code)
	}
	if who, _ := v2(url.Values{}, "beskyttet"); who["FullName"].(string)+who["LastName"].(string)+who["FirstName"].(string) != "" {
		t.Errorf("protected: %v", who)
	}

	var set setup3
	if status := v3(t, w, "POST", "/v3/eid/mitid", url.Values{"target": {w.HookAt}, "relaystate": {"r"}, "providerRequest.language": {"DA"}, "popupContext": {"false"}}, &set); status != 200 || set.RedirectURL == nil {
		t.Fatalf("%d %+v", status, set)
	}
	w.Decide(set.ID, "approve", "hanne")
	var got result3
	if v3(t, w, "GET", "/v3/eid/mitid/"+set.ID, nil, &got); got.State != "Finished" || got.Identity == nil || got.Identity.CountryCode != "DK" || got.Identity.FullName != "Hanne Hansen" || got.ProviderData == nil {
		t.Fatalf("%+v", got)
	}
	var own struct {
		UUID          string `json:"uuid"`
		TransactionID string `json:"transactionId"`
		LOA           string `json:"loa"`
		AAL           string `json:"aal"`
		IAL           string `json:"ial"`
		HasCPR        string `json:"hasCpr"`
		NameSplit     string `json:"nameSplit"`
		NameProtected bool   `json:"nameProtected"`
	}
	if strictly(t, []byte(*got.ProviderData), &own); own.UUID != "0b8e6f52-2222-4b22-9b22-0000000000b2" || own.TransactionID == "" || own.NameSplit != "guessed" {
		t.Errorf("%+v", own)
	}
}

// TestNordicOverOpenID: the claims of Signicat's scopes.
func TestNordicOverOpenID(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	claims := func(acr, scope, person string) map[string]any {
		t.Helper()
		const back = "http://localhost/ok"
		to, _ := w.DecideAt(w.OIDC.Issuer+"/connect/authorize?"+url.Values{"client_id": {w.OIDC.ID}, "redirect_uri": {back}, "response_type": {"code"}, "scope": {scope}, "acr_values": {acr}}.Encode(), "approve", person)
		u, err := url.Parse(to)
		if err != nil || u.Query().Get("code") == "" {
			t.Fatalf("%s: %s", acr, to)
		}
		tokens := post(t, w.OIDC.Issuer+"/connect/token", url.Values{"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {back}}, w.OIDC.ID, w.OIDC.Secret)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.OIDC.Issuer+"/connect/userinfo", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+tokens["access_token"].(string))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var out map[string]any
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	holds := func(name string, got map[string]any, want map[string]any, not ...string) {
		t.Helper()
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s is %v, want %v", name, k, got[k], v)
			}
		}
		for _, k := range not {
			if v, ok := got[k]; ok {
				t.Errorf("%s: %s is told: %v", name, k, v)
			}
		}
	}
	holds("biometrics", claims("idp:nbid nbid_idp:BIS", "openid profile nin nbid-extra idp-id", "ola"), map[string]any{"nin": "01819010354", "nin_type": "BIRTH", "nin_issuing_country": "NO", "family_name": "Nordmann",
		"idp_id": "9578-6000-4-000017", "nbid_alternative_subject": "9578-6000-4-000017", "nbid_idp": "BIS", "nbid_acr": "urn:bankid:bis;LOA=3", "nbid_amr": "bis-mfa, bis-hwk"}, "phone_number", "email", "address")
	holds("falls back", claims("idp:nbid,nbid_idp:BIS", "openid nbid-extra", "kari"), map[string]any{"nbid_idp": "BID", "nbid_acr": "urn:bankid:bid;LOA=4"}, "nin", "name")
	holds("shares", claims("idp:nbid", "openid phone email address", "ola"), map[string]any{"phone_number": "+4799999999"}, "nin", "name", "birthdate")
	holds("MitID", claims("idp:mitid", "openid profile nin mitid-extra idp-id", "hanne"), map[string]any{"nin": "8903859996", "nin_type": "PERSON", "nin_issuing_country": "DK", "given_name": "Hanne", "birthdate": "1985-03-29",
		"idp_id": "0b8e6f52-2222-4b22-9b22-0000000000b2", "mitid_uuid": "0b8e6f52-2222-4b22-9b22-0000000000b2", "mitid_loa": "SUBSTANTIAL", "mitid_has_cpr": "true", "mitid_cpr_source": "user",
		"mitid_reference_text_body": " ", "idp_issuer": "MitID"}, "mitid_name_and_address_protection")
	holds("protected", claims("idp:mitid", "openid profile mitid-extra", "beskyttet"), map[string]any{"mitid_name_and_address_protection": "true"}, "name", "family_name", "nin")
	holds("no number, and none asked for", claims("idp:mitid", "openid profile mitid-extra", "udencpr"), map[string]any{"given_name": "Uffe", "family_name": "Uden", "mitid_has_cpr": "false"}, "nin", "mitid_cpr_source")
	adult := claims("idp:mitid", "openid eighteen-or-older", "sofie")
	holds("18 or older", adult, map[string]any{"eighteen_or_older": true}, "name", "birthdate", "idp_id", "mitid_uuid")
	if again := claims("idp:mitid", "openid eighteen-or-older", "sofie"); again["sub"] == adult["sub"] || again["sub"] == "" {
		t.Errorf("an age check names %v twice", again["sub"])
	}
	holds("younger", claims("idp:mitid", "openid eighteen-or-older", "emil"), map[string]any{"eighteen_or_older": false})
}

// post sends a form as a client with a secret.
func post(t *testing.T, address string, form url.Values, id, secret string) (out map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(id, secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s %v", res.StatusCode, raw, err)
	}
	return out
}
