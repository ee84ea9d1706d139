package control_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/sandbox/agechecked"
	"eidgate/sandbox/idin"
	"eidgate/test/rig"
)

// post sends JSON to a simulator without TLS and reads its answer.
func (b *box) post(address, body string, out any) {
	b.t.Helper()
	res, err := http.Post(address, "application/json", strings.NewReader(body)) //nolint:noctx // a test's
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil || json.Unmarshal(raw, out) != nil {
		b.t.Fatalf("%s: %s %s %v", address, res.Status, raw, err)
	}
}

// code makes a code of iDIN QR.
func (b *box) code() (id string) {
	b.t.Helper()
	c, err := b.banks.Merchant("Counter 3")
	if err != nil {
		b.t.Fatal(err)
	}
	var out struct {
		ID string `json:"qr_id"`
	}
	b.post(c.QRGenerateURL, fmt.Sprintf(`{"merchant_token":%q,"merchant_sub_id":0,"expiration":%q,"size":300,"idin_service_id":64,"use_case":"01"}`,
		c.QRMerchantToken, b.clock.Now().Add(10*time.Minute).Format(time.DateTime)), &out)
	if out.ID == "" {
		b.t.Fatal("no code")
	}
	return out.ID
}

// check makes a check of AgeChecked.
func (b *box) check() (id, page string) {
	b.t.Helper()
	m := b.age.Merchant("Wine shop")
	var out struct {
		URL    string
		Status struct {
			ID int64 `json:"agecheckid"`
		} `json:"avstatus"`
	}
	b.post(m.Base+"/acapiremote/ac0130", fmt.Sprintf(`{"merchantSecretKey":%q,"countrycode":"NL","reference":"r","returnurl":"https://shop.example/back"}`, m.SecretKey), &out)
	return fmt.Sprint(out.Status.ID), out.URL
}

// Codes and checks are orders like others, and the calls find whose they are.
func TestOrdersOfBanks(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	swedish, _ := b.start(`{"endUserIp":"::1"}`)
	b.clock.Advance(time.Second)
	code := b.code()
	b.clock.Advance(time.Second)
	check, page := b.check()
	var all []struct{ Ref, EID string }
	if err := json.Unmarshal([]byte(b.call(200, "GET", "/orders", "")), &all); err != nil || len(all) != 3 ||
		all[0].Ref != check || all[0].EID != "idinage" || all[1].Ref != code || all[1].EID != "idinqr" || all[2].Ref != swedish || all[2].EID != "bankidse" {
		t.Errorf("orders = %v, %v", all, err)
	}
	if raw := b.call(200, "GET", "/orders?eid=idinqr&state=shown", "", code, `"rp":"Counter 3"`, `"qr":"`+b.dutch+`/idin/qr/open/`, `"wants":["`); strings.Contains(raw, swedish) {
		t.Errorf("codes: %s", raw)
	}
	b.call(200, "GET", "/orders/"+check, "", `"page":"`+page+`"`, `"asked":"{`, `"rp":"Wine shop"`)
	b.call(200, "GET", "/orders?person=ada", "", "[]")
	b.call(400, "GET", "/orders?eid=nemid", "", "bankidse, idin, idinage, idinqr")

	// The code is scanned by its text as well, four times in all.
	var v struct{ QR string }
	if err := json.Unmarshal([]byte(b.call(200, "GET", "/orders/"+code, "")), &v); err != nil {
		t.Fatal(err)
	}
	b.call(200, "POST", "/scan", `{"code":"`+v.QR+`"}`, `"page":"`+v.QR+`/`, `"scans":1`)
	b.call(400, "POST", "/orders/"+code+"/events", `{"event":"approve"}`, "it can be scanned, or expire")
	for range 3 {
		b.call(200, "POST", "/orders/"+code+"/events", `{"event":"scan"}`)
	}
	b.call(409, "POST", "/scan", `{"code":"`+v.QR+`"}`, `"state":"used"`)
	b.call(200, "GET", "/orders?eid=idinqr&state=used", "", code)
	b.call(200, "GET", "/messages?ref="+code, "", "merchant_token")

	b.call(400, "POST", "/orders/"+check+"/events", `{"event":"fail:77"}`, "none of open, approve")
	b.call(200, "POST", "/orders/"+check+"/events", `{"event":"approve","person":"jong"}`, `"state":"ended"`, `"hint":"NotApproved"`, `"by":"control API"`)
	b.call(409, "POST", "/orders/"+check+"/events", `{"event":"cancel"}`, `"happened":{`, `"state":"ended"`)
	b.call(400, "POST", "/orders/"+swedish+"/events", `{"event":"open","data":{"postalcode":"0000AB"}}`, "data cannot be read")

	b.call(200, "GET", "/simulators", "", `"agechecked":{}`, `"idin":{"profile":"plain"`, `"bankidse":{"windows"`)
	b.call(200, "PATCH", "/simulators/idin", `{"profile":"worldline"}`, `"profile":"worldline","strict_once":true`)
	b.call(400, "PATCH", "/simulators/idin", `{"profile":"odd"}`, "neither plain nor worldline", "for example")
	b.call(400, "PATCH", "/simulators/idin", `{"colour":"red"}`, "unknown field")
	b.call(200, "PATCH", "/simulators/agechecked", `{}`, "{}")
	b.call(400, "PATCH", "/simulators/agechecked", `{"colour":"red"}`)
	b.call(200, "POST", "/faults", `{"target":"idin.redirect","kind":"wrong_ec"}`)
	b.call(200, "POST", "/faults", `{"target":"agechecked","kind":"error","value":"AnyWord"}`)
	b.call(400, "POST", "/faults", `{"target":"agechecked","kind":"bad_signature"}`)
	b.call(400, "POST", "/faults", `{"target":"nemid","kind":"reset"}`, "agechecked, bankidno, ", "idinqr")
	b.call(200, "POST", "/queue", `{"outcome":"cancel","match":{"eid":"idinage"}}`)
	b.call(400, "POST", "/queue", `{"outcome":"cancel","match":{"eid":"idinqr"}}`)
	raw := b.call(200, "GET", "/fidelity", "")
	for _, f := range append(idin.Fidelity(), agechecked.Fidelity()...) {
		if !strings.Contains(raw, `"upstream":"`+f.Upstream+`","what":"`+f.What+`"`) {
			t.Errorf("fidelity lacks %s: %s", f.Upstream, f.What)
		}
	}
	b.call(200, "POST", "/reset", `{}`)
	b.call(200, "GET", "/orders?state=all", "", "[]")
	b.call(200, "GET", "/simulators/idin", "", `"profile":"plain"`)
}

// A check that ends elsewhere ends the waiting for it.
func TestOrdersWaitForBanks(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	got := make(chan string, 1)
	go func() {
		_, raw := b.send("GET", "/sandbox/v1/orders?eid=idinage&wait=20s", "")
		got <- raw
	}()
	b.start(`{"endUserIp":"::1"}`) // wakes it, and is not it
	check, _ := b.check()
	if raw := <-got; !strings.Contains(raw, `"ref":"`+check+`"`) {
		t.Errorf("waiting for %s brought %s", check, raw)
	}
}

// The phone leads to where people act: a bank's page, a code's list of banks.
func TestPhoneAndBanks(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, page := b.send("GET", "/phone", "")
	shows(t, page, "Nobody is at a bank.", "No code is on a screen.", "Sandbox banks")
	code := b.code()
	check, at := b.check()
	_, page = b.send("GET", "/phone", "")
	var v struct{ QR string }
	if err := json.Unmarshal([]byte(b.call(200, "GET", "/orders/"+code, "")), &v); err != nil {
		t.Fatal(err)
	}
	shows(t, page, "Wine shop, AgeChecked", `href="`+at+`"`, "<strong>iDIN QR</strong> Counter 3", `href="`+v.QR+`"`, `href="`+v.QR+`?role=bankapp"`,
		"/orders/"+check+"/events", "/orders/"+code+"/events", "1 waiting")
	if strings.Contains(page, "No code is on a screen.") {
		t.Error("the code is not counted")
	}
	if to, _ := b.press(url.Values{"person": {"ada"}, "code": {" " + v.QR + " "}}); to != v.QR {
		t.Errorf("the text of a code leads to %s", to)
	}
	// Where the links lead there is a page to act on.
	for address, want := range map[string]string{v.QR + "?role=bankapp": "bank", at: `data-testid="status-6"`} {
		res, err := http.Get(address) //nolint:noctx // a test's
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != 200 || !strings.Contains(string(raw), want) {
			t.Errorf("%s: %s %s, %v", address, res.Status, raw, err)
		}
	}
	_, people := b.send("GET", "/people", "")
	shows(t, people, "customer of the banks, born today-17y", "NL none")
	_, fidelity := b.send("GET", "/fidelity", "")
	shows(t, fidelity, "XML signatures of messages and assertions", "GET /jsonapi/getagecheck")
}

// A transaction that waits at a bank is on the phone, with what it asks for.
func TestPhoneShowsTransactions(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	id := begin(w, "idin", "", "attributes", "name address")
	v := newVisitor(t)
	at := v.atBank(w.URLs["public"] + "/v2/Hosted/" + id + "/idin/")
	_, _, page := v.see("GET", w.URLs["control"]+"/phone", nil)
	shows(t, page, "Demo shop, Sandbox Bank Een, asks for id, name, address", `href="`+strings.ReplaceAll(at, "&", "&amp;")+`"`)
	v.see("POST", at, url.Values{"act": {"login"}, "person": {"kort"}})
	_, _, page = v.see("GET", w.URLs["control"]+"/phone", nil)
	shows(t, page, "as kort")
	v.see("POST", at, url.Values{"act": {"cancel"}})
	_, _, page = v.see("GET", w.URLs["control"]+"/phone", nil)
	shows(t, page, "Nobody is at a bank.")
}
