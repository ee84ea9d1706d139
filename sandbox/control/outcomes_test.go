package control_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"eidgate/sandbox/control"
	"eidgate/test/rig"
)

// TestOutcomes runs every outcome on a server, through every API: what the
// list says is what relying parties receive.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	eids := map[string]int{}
	for _, o := range control.Outcomes() {
		eids[o.EID+" "+o.Config]++
		if _, told := o.Receives["zignsec-v3"]; !told && o.Outcome != "cancel:page" {
			t.Errorf("%s %s %s: nobody knows what v3 receives", o.EID, o.Config, o.Outcome)
		}
		for api, want := range o.Receives {
			if got := outcomeOf(t, w, api, o); got != want {
				t.Errorf("%s %s %s %s: %v, want %v", o.EID, o.Config, o.Outcome, o.Person, got, want)
			}
		}
	}
	for _, e := range []string{"bankidse ", "idin ", "idin counter", "idinage ", "idinage agechecked", "itsme ", "bankidno ", "mitid "} {
		if eids[e] < 10 {
			t.Errorf("%d outcomes of %s", eids[e], e)
		}
	}
}

// openID logs in over OpenID Connect and redeems the code, if there is one.
func openID(t *testing.T, w *rig.Dev, o control.Outcome) control.Receipt {
	t.Helper()
	const back = "http://localhost/ok"
	to, _ := w.DecideAt(w.OIDC.Issuer+"/connect/authorize?"+url.Values{"client_id": {w.OIDC.ID}, "redirect_uri": {back}, "response_type": {"code"}, "scope": {"openid profile"},
		"acr_values": {map[string]string{"bankidse": "idp:sbid", "idin": "idp:idin", "itsme": "idp:itsme", "bankidno": "idp:nbid", "mitid": "idp:mitid"}[o.EID]}}.Encode(), o.Outcome, o.Person)
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	if code := u.Query().Get("error"); code != "" {
		return control.Receipt{State: "ERROR", Code: code}
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {back}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.OIDC.Issuer+"/connect/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(w.OIDC.ID, w.OIDC.Secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got struct {
		Error string `json:"error"`
		Token string `json:"id_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.Token == "" {
		return control.Receipt{State: "ERROR", Code: "token endpoint: " + got.Error}
	}
	return control.Receipt{State: "FINISHED"}
}

func outcomeOf(t *testing.T, w *rig.Dev, api string, o control.Outcome) control.Receipt {
	t.Helper()
	var got map[string]any
	var state string
	method := map[string]string{"bankidse": "sbid-another", "idin": "idin", "idinage": "idin_age", "itsme": "itsme", "bankidno": "nbid_oidc", "mitid": "mitid"}[o.EID]
	form := url.Values{"target": {"http://localhost/ok"}}
	if o.Config != "" {
		form.Set("configid", o.Config)
	}
	switch api {
	case "zignsec-v2":
		id := w.Setup(method, form)
		w.Decide(id, o.Outcome, o.Person)
		got = w.Result(id)
		state = rig.State(got)
	case "zignsec-v3":
		_, out := w.Call("POST", w.URLs["public"]+"/v3/eid/"+method, "application/x-www-form-urlencoded", form.Encode())
		id, _ := out["id"].(string)
		w.Decide(id, o.Outcome, o.Person)
		_, got = w.Call("GET", w.URLs["public"]+"/v3/eid/"+id, "", "")
		state, _ = got["state"].(string)
		if text, _ := got["providerData"].(string); o.EID == "idinage" && text != "" {
			var check map[string]any
			if err := json.Unmarshal([]byte(text), &check); err != nil {
				t.Fatal(err)
			}
			got["identity"], got["IdinAgeChecked"] = check, check // as v2 has it
		}
	case "zignsec-headless":
		_, out := w.Call("POST", w.URLs["public"]+"/BankIDSE/Authenticate", "application/json", `{"endUserIp":"127.0.0.1"}`)
		id, _ := out["id"].(string)
		w.Decide(id, o.Outcome, o.Person)
		_, got = w.Call("GET", w.URLs["public"]+"/BankIDSE/Collect?orderRef="+out["orderRef"].(string), "application/json", "")
		if state = "ERROR"; got["progressStatus"] == "COMPLETE" {
			state = "FINISHED"
		}
	case "oidc":
		return openID(t, w, o)
	default:
		t.Fatalf("nobody knows how to use %s", api)
	}
	r := control.Receipt{State: state}
	if all, _ := got["errors"].([]any); len(all) > 0 {
		r.Code, _ = all[0].(map[string]any)["code"].(string)
	}
	if check, _ := got["IdinAgeChecked"].(map[string]any); check != nil {
		status, _ := check["Status"].(float64)
		r.Age = int(status)
	}
	if who, _ := got["identity"].(map[string]any); o.EID == "idinage" && strings.EqualFold(state, "finished") && who["AgeApproved"] != slices.Contains([]int{6, 7}, r.Age) {
		t.Errorf("%s %s: AgeApproved is %v with status %d", o.Config, o.Outcome, who["AgeApproved"], r.Age)
	}
	return r
}
