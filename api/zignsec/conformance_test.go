package zignsec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/notify"
	"eidgate/relying"
)

const (
	shopKey  = "11111111-1111-4111-8111-111111111111"
	liveKey  = "1111111e-1111-4111-8111-111111111111"
	plainKey = "22222222-2222-4222-8222-222222222222"
	ada      = "199001012385"
	browser  = "__Host-eidgate_b=the-one-browser-of-this-test"
)

// do makes a request with a key; header are names and values.
func (w *world) do(method, path, key, body string, header ...string) *http.Response {
	w.t.Helper()
	r := httptest.NewRequest(method, public+path, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec.Result()
}

// An answered is any JSON answer.
type answered struct {
	ID       string
	Errors   []wireError
	URL      *string `json:"redirect_url"`
	Identity map[string]any
	BankIDSE map[string]string
	Method   string
	Custom   string
	Result   struct{ Identity struct{ State string } }
	status   int
	raw      []byte
}

func (a *answered) code() string {
	if len(a.Errors) == 0 {
		return ""
	}
	return a.Errors[0].Code
}

func (w *world) call(method, path, key, body string, header ...string) *answered {
	w.t.Helper()
	res := w.do(method, path, key, body, header...)
	raw, err := io.ReadAll(res.Body)
	out := &answered{status: res.StatusCode, raw: raw}
	if err == nil {
		err = json.Unmarshal(raw, out)
	}
	if err != nil {
		w.t.Fatalf("%s %s: %d %s: %v", method, path, res.StatusCode, raw, err)
	}
	return out
}

func (w *world) setup(selector string, form url.Values) *answered {
	w.t.Helper()
	return w.call("POST", "/v2/eid/"+selector, shopKey, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func (w *world) result(id string) *answered { return w.call("GET", "/v2/eid/"+id, shopKey, "") }

// person is a browser on a session's page; "" for rest looks at it.
func (w *world) person(a *answered, rest string, header ...string) *http.Response {
	w.t.Helper()
	method := "POST"
	if rest == "" {
		method = "GET"
	}
	return w.do(method, strings.TrimPrefix(*a.URL, public)+rest, "", "", append([]string{"Cookie", browser}, header...)...)
}

// finish lets ada confirm the only order of a session.
func (w *world) finish(a *answered) {
	w.t.Helper()
	w.person(a, "start")
	refs, err := w.broker.Refs(w.t.Context(), a.ID)
	if err != nil || len(refs) != 1 {
		w.t.Fatalf("orders of %s: %v, %v", a.ID, refs, err)
	}
	if _, err := w.broker.Called(w.t.Context(), eid.Test, eid.BankIDSE, connector.Inbound{Query: url.Values{"ref": {string(refs[0])}, "complete": {"1"}}}); err != nil {
		w.t.Fatal(err)
	}
}

// spec is what the broker was asked for.
func (w *world) spec(id string) broker.Spec {
	w.t.Helper()
	s, err := w.store.Session(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	spec, err := w.broker.Spec(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	out := *spec
	out.Page = ""
	return out
}

// TestConformance is what clients of the API rely on, as far as it concerns
// Swedish BankID and iDIN. docs/apis/zignsec.md has the list.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*testing.T, *world){
		"01_form_and_JSON_are_the_same":        conform01,
		"02_odd_spelling_of_paths":             conform02,
		"03_JSON_with_single_quotes":           conform03,
		"04_bare_key":                          conform04,
		"05_answer_to_a_setup":                 conform05,
		"06_GET_with_a_content_type":           conform06,
		"07_pending":                           conform07,
		"08_strict_readers":                    conform08,
		"09_request_id_is_a_number_for_age":    conform09,
		"10_target_with_query_and_fragment":    conform10,
		"11_cancel":                            conform11,
		"12_invalid_addresses":                 conform12,
		"13_webhook_signature":                 conform13,
		"14_texts_to_sign":                     conform14,
		"15_numbers":                           conform15,
		"17_lookup_in_any_spelling":            conform17,
		"19_unknown_and_foreign_ids":           conform19,
		"20_page_opened_twice":                 conform20,
		"22_form_for_the_number_only_if_asked": conform22,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, f)
		})
	}
}

func conform01(t *testing.T, w *world) {
	form := w.call("POST", "/v2/eid/sbid-another", shopKey, "PersonalNumber="+ada+"&target=https%3A%2F%2Fshop.example%2F&LookupPersonAddress=true", "Content-Type", "application/x-www-form-urlencoded")
	js := w.call("POST", "/v2/eid/sbid-another", shopKey, `{"personalnumber":"`+ada+`","target":"https://shop.example/","lookupPersonAddress":true}`, "Content-Type", "application/json")
	a, b := w.spec(form.ID), w.spec(js.ID)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("form and JSON make different sessions (-form +JSON):\n%s", diff)
	}
	if a.Pinned != ada || !strings.Contains(string(a.Payload), `"target":"https://shop.example/"`) {
		t.Errorf("spec = pinned %t, %s", a.Pinned == ada, a.Payload)
	}
}

func conform02(t *testing.T, w *world) {
	for _, path := range []string{"//v2/EID/sbid_another/", "/V2//eid/SBID-Another"} {
		a := w.call("POST", path, shopKey, "")
		if a.status != 200 || a.URL == nil || !strings.HasSuffix(*a.URL, "/sbid-another/") || w.result(a.ID).Method != "sbid-another" {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
	}
}

func conform03(t *testing.T, w *world) {
	a := w.call("POST", "/v2/eid/sbid", shopKey, `{'PersonalNumber': 191212121212,'lookupPersonAddress':true}`, "Content-Type", "application/json")
	if s := w.spec(a.ID); a.status != 200 || s.Pinned != "191212121212" || !strings.Contains(string(s.Payload), `"lookup":true`) {
		t.Errorf("%d %s", a.status, a.raw)
	}
}

func conform04(t *testing.T, w *world) {
	const live = "1111111e-1111-4111-8111-111111111111"
	for _, key := range []string{live, strings.ToUpper(live), "  " + live + " ", "bearer " + live} {
		if a := w.call("POST", "/v2/eid/sbid", key, ""); a.status != 200 {
			t.Errorf("%q: %d %s", key, a.status, a.raw)
		}
	}
	for _, key := range []string{"", "1111111f-1111-4111-8111-111111111111", live[:35], "Basic " + live} {
		if a := w.call("POST", "/v2/eid/sbid", key, ""); a.status != 401 || a.code() != "INVALID_APPID" {
			t.Errorf("%q: %d %s", key, a.status, a.raw)
		}
	}
}

var hostedURL = regexp.MustCompile(`^https://eid\.example\.com/v2/Hosted/[0-9a-f-]{36}/(sbid|sbid-another|sbid-sign|se)/$`)

func conform05(t *testing.T, w *world) {
	text := base64.StdEncoding.EncodeToString([]byte("text"))
	for _, selector := range []string{"sbid", "sbid-another", "sbid-sign", "se"} {
		a := w.setup(selector, url.Values{"personalnumber": {ada}, "userVisibleData": {text}})
		want := fmt.Sprintf(`{"id":"%s","errors":[],"redirect_url":"%s/v2/Hosted/%s/%s/"}`, a.ID, public, a.ID, selector)
		if string(a.raw) != want || !hostedURL.MatchString(*a.URL) {
			t.Errorf("%s answers %s", selector, a.raw)
		}
	}
}

func conform06(t *testing.T, w *world) {
	a := w.setup("sbid", nil)
	for _, path := range []string{"/v2/eid/" + a.ID, "/v2/eid/" + a.ID + "/"} {
		for _, kind := range []string{"application/x-www-form-urlencoded", "application/json", "text/nonsense", ""} {
			if r := w.call("GET", path, shopKey, "", "Content-Type", kind); r.status != 200 || r.ID != a.ID {
				t.Errorf("GET %s with %q: %d %s", path, kind, r.status, r.raw)
			}
			w.pass(time.Second)
		}
	}
}

func conform07(t *testing.T, w *world) {
	a := w.setup("sbid", nil)
	r := w.result(a.ID)
	if !bytes.Contains(r.raw, []byte(`"errors":[]`)) || r.Result.Identity.State != "PENDING" || r.Identity != nil {
		t.Errorf("pending = %s", r.raw)
	}
}

// Readers of other languages, as strict as they are: no null where a value is
// not nullable, a whole number where there is one, errors that have a length.
func conform08(t *testing.T, w *world) {
	a := w.setup("sbid", nil)
	w.finish(a)
	raw := w.result(a.ID).raw
	var client struct {
		Identity struct {
			FirstName, PersonalNumber string
			Age                       int
		} `json:"identity"`
		Errors []struct{ Code, Description string } `json:"errors"`
		Result *struct {
			Identity *struct {
				State string `json:"state"`
			} `json:"identity"`
		} `json:"result"`
		BankIDSE *struct{ Signature, OCSPResponse string }
	}
	if err := json.Unmarshal(raw, &client); err != nil {
		t.Fatal(err)
	}
	if client.Errors == nil || client.Result == nil || client.Result.Identity == nil || client.Result.Identity.State != "FINISHED" ||
		client.Identity.Age != 36 || client.Identity.PersonalNumber != ada || client.BankIDSE == nil || client.BankIDSE.Signature == "" {
		t.Errorf("result = %s", raw)
	}
	if bytes.Contains(raw, []byte("null")) {
		t.Errorf("a null in %s", raw)
	}
	var order []string
	d := json.NewDecoder(bytes.NewReader(raw))
	for depth := 0; d.More() || depth > 0; {
		tok, err := d.Token()
		if err != nil {
			break
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
		case string:
			if depth == 1 {
				order = append(order, v)
			}
		}
	}
	if got := strings.Join(order, " "); !regexp.MustCompile(`^id \S+ errors identity BankIDSE method sbid binding strong sandbox result$`).MatchString(got) {
		t.Errorf("order of keys: %s", got)
	}
}

func conform09(t *testing.T, w *world) {
	a := w.setup("sbid", nil)
	w.finish(a)
	who := w.result(a.ID).Identity
	if id, ok := who["IdProviderRequestId"].(string); !ok || id == "" || who["IdProviderPersonId"] != "" || who["CustomerPersonId"] != "" {
		t.Errorf("identity = %v", who)
	}
	if at, _ := who["IdentificationDate"].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$`).MatchString(at) {
		t.Errorf("IdentificationDate = %s", at)
	}
	if id, ok := w.dutch("idin", "person", "femke").Identity["IdProviderRequestId"].(string); !ok || id != "0030000000000001" {
		t.Errorf("IdProviderRequestId of iDIN is not its transaction, as text: %v", id)
	}
	age := w.dutch("idin_age", "status", "17")
	var client struct {
		Identity struct {
			IDProviderRequestID int `json:"IdProviderRequestId"`
			AgeApproved         *bool
		} `json:"identity"`
		Node struct {
			AgeCheckID, Status int
			StatusText         string
		} `json:"IdinAgeChecked"`
	}
	if err := json.Unmarshal(age.raw, &client); err != nil {
		t.Fatal(err)
	}
	if n := client.Node; n.AgeCheckID != 1255120 || n.AgeCheckID != client.Identity.IDProviderRequestID || n.Status != 17 || n.StatusText != "NotApproved" ||
		client.Identity.AgeApproved == nil || *client.Identity.AgeApproved {
		t.Errorf("age check = %s", age.raw)
	}
	if got := slices.Sorted(maps.Keys(age.Identity)); !slices.Equal(got, []string{"AgeApproved", "CountryCode", "IdProviderName", "IdProviderRequestId", "IdentificationDate"}) {
		t.Errorf("an age check tells %v", got)
	}
}

// dutch lets the bank say something in a session of its own, and reads it.
func (w *world) dutch(selector, key, value string) *answered {
	w.t.Helper()
	const winkelKey = "88888888-8888-4888-8888-888888888888"
	a := w.call("POST", "/v2/eid/"+selector, winkelKey, "")
	w.person(a, "start")
	refs, err := w.broker.Refs(w.t.Context(), a.ID)
	if err != nil || len(refs) == 0 {
		w.t.Fatalf("orders of %s: %v, %v", a.ID, refs, err)
	}
	e := map[string]eid.EID{"idin": eid.IDIN, "idin_age": eid.IDINAge}[selector]
	if _, err := w.broker.Called(w.t.Context(), eid.Test, e, connector.Inbound{Query: url.Values{"ref": {string(refs[0])}, key: {value}}}); err != nil {
		w.t.Fatal(err)
	}
	return w.call("GET", "/v2/eid/"+a.ID, winkelKey, "")
}

func conform10(t *testing.T, w *world) {
	for target, want := range map[string]string{
		"https://shop.example/":          "https://shop.example/?relaystate=ID&service=eIDBasic",
		"https://shop.example/?a=%2F&b#": "https://shop.example/?a=%2F&b&relaystate=ID&service=eIDBasic#",
		"https://shop.example?#x?y":      "https://shop.example?relaystate=ID&service=eIDBasic#x?y",
	} {
		a := w.setup("sbid", url.Values{"target": {target}})
		w.finish(a)
		res := w.person(a, "")
		if got := strings.ReplaceAll(res.Header.Get("Location"), a.ID, "ID"); res.StatusCode != 303 || got != want {
			t.Errorf("target %s: %d to %s, want %s", target, res.StatusCode, got, want)
		}
	}
	const odd = "a b&c=d%2B+ö\"<>"
	a := w.setup("sbid", url.Values{"target": {"https://shop.example/"}, "relaystate": {odd}})
	w.finish(a)
	u, err := url.Parse(w.person(a, "").Header.Get("Location"))
	if err != nil || u.Query().Get("relaystate") != odd || u.Query().Get("service") != "eIDBasic" {
		t.Errorf("relaystate came back as %v, %v", u, err)
	}
}

func conform11(t *testing.T, w *world) {
	a := w.setup("sbid-another", url.Values{"target": {"https://shop.example/"}, "targetError": {"https://shop.example/bad"}, "webhook": {"https://shop.example/hook"}})
	w.person(a, "start")
	w.person(a, "cancel")
	if to := w.person(a, "").Header.Get("Location"); to != "https://shop.example/bad?relaystate="+a.ID+"&service=eIDBasic" {
		t.Errorf("redirect to %s", to)
	}
	page, err := io.ReadAll(w.person(a, "", "Sec-Fetch-Dest", "iframe").Body)
	if err != nil || !bytes.Contains(page, []byte(`{"command":"zignsec_postback","errorcode":"USER_CANCEL","error":"Action cancelled","token":"`+a.ID+`"}`)) {
		t.Errorf("page in a frame: %s, %v", page, err)
	}
	r := w.result(a.ID)
	if r.Result.Identity.State != "ERROR" || r.code() != "USER_CANCEL" || r.Identity != nil {
		t.Errorf("result = %s", r.raw)
	}
	if sent := w.sent(); len(sent) != 1 || !bytes.Equal(sent[0].Body, r.raw) || sent[0].URL != "https://shop.example/hook" {
		t.Errorf("%d notifications; the first must be the result", len(sent))
	}
}

func conform12(t *testing.T, w *world) {
	for name, code := range map[string]string{"target": "INVALID_TARGET", "targetError": "INVALID_TARGETERROR", "webhook": "INVALID_WEBHOOK"} {
		for _, v := range []string{"nonsense", "javascript:alert(1)", "https://", "//shop.example/"} {
			a := w.setup("sbid", url.Values{name: {v}})
			if a.status != 400 || a.code() != code || a.URL != nil || w.result(a.ID).status != 404 {
				t.Errorf("%s=%s: %d %s", name, v, a.status, a.raw)
			}
		}
	}
	if n := w.rows(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func conform13(t *testing.T, w *world) {
	body := `{"id":"61d300c2-cff8-4dc1-9abc-6d59f8876d32","errors":[],"identity":{"CountryCode":"SE","PersonalNumber":"191212121212"},"method":"sbid-another"}`
	if got := notify.ZignSec("00000000-e2a2-4968-b651-5352305c9fb0", []byte(body), false); got != "3634d0e4b36d507822a992e3cef35079941f5b840ed76b1ff79ae854dc494051" || len(body) != 145 {
		t.Errorf("signature of the vector = %s", got)
	}
	a := w.setup("sbid", url.Values{"webhook": {"https://shop.example/hook"}})
	w.finish(a)
	before := w.result(a.ID).raw
	sent := w.sent()
	if len(sent) != 1 || !bytes.Equal(sent[0].Body, before) || sent[0].Profile != "zignsec-20" {
		t.Fatalf("%d notifications; want the result, once", len(sent))
	}
	key, err := w.store.KeyText(t.Context(), sent[0].Key)
	if err != nil || key != shopKey {
		t.Errorf("it is signed with another key than the caller's: %v", err)
	}
	w.pass(2 * time.Hour) // the lease is over: nobody has said that it arrived
	if again := w.sent(); len(again) != 1 || again[0].ID != sent[0].ID || !bytes.Equal(again[0].Body, before) {
		t.Errorf("a second delivery differs from the first")
	}
	if after := w.result(a.ID).raw; !bytes.Equal(after, before) {
		t.Errorf("a delivery changed the result to %s", after)
	}
}

func conform14(t *testing.T, w *world) {
	text := func(n int) string { return strings.Repeat("A", n) }
	for name, c := range map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"no number":          {url.Values{"userVisibleData": {"QUFB"}}, 400, "INVALID_PERSONALNUMBER"},
		"no text":            {url.Values{"personalnumber": {ada}}, 400, "INVALID_REQUEST"},
		"40 000 characters":  {url.Values{"personalnumber": {ada}, "userVisibleData": {text(40_000)}}, 200, ""},
		"40 001 characters":  {url.Values{"personalnumber": {ada}, "userVisibleData": {text(40_001)}}, 400, "INVALID_REQUEST"},
		"200 000 characters": {url.Values{"personalnumber": {ada}, "userVisibleData": {"QUFB"}, "userNonVisibleData": {text(200_000)}}, 200, ""},
		"200 001 characters": {url.Values{"personalnumber": {ada}, "userVisibleData": {"QUFB"}, "userNonVisibleData": {text(200_001)}}, 400, "INVALID_REQUEST"},
	} {
		if a := w.setup("sbid-sign", c.form); a.status != c.status || a.code() != c.code {
			t.Errorf("%s: %d %s", name, a.status, a.code())
		}
	}
}

func conform15(t *testing.T, w *world) {
	of := func(name string) method {
		for _, m := range methods {
			if m.name == name {
				return m
			}
		}
		t.Fatalf("no method %s", name)
		return method{}
	}
	for number, name := range map[string]string{"198711260070": "sbid", "01129955131": "nbid", "0608914472": "nemid", "1204001139": "nemid"} {
		if got, err := w.api.number(number, of(name)); err != nil || got == "" {
			t.Errorf("%s for %s: %v", number, name, err)
		}
	}
	_, err := w.api.number("1637217431", of("nemid"))
	if p := problemOf(err); p == nil || p.Code != "INVALID_PERSONALNUMBER" || !strings.Contains(p.Description, "Danish CPR") || strings.Contains(p.Description, "1637") {
		t.Errorf("month 37: %v", err)
	}
}

func conform17(t *testing.T, w *world) {
	for _, body := range []string{`{"lookupPersonAddress":true}`, `{"LookupPersonAddress":"true"}`, "lookuppersonaddress=true", "lookup_person_address=1", `{"lookupPersonAddress":"True"}`} {
		if a := w.call("POST", "/v2/eid/sbid", shopKey, body); !strings.Contains(string(w.spec(a.ID).Payload), `"lookup":true`) {
			t.Errorf("%s is not read", body)
		}
	}
	for _, body := range []string{`{"lookupPersonAddress":false}`, "lookuppersonaddress=no", "lookuppersonaddress="} {
		if a := w.call("POST", "/v2/eid/sbid", shopKey, body); strings.Contains(string(w.spec(a.ID).Payload), "lookup") {
			t.Errorf("%s is read as true", body)
		}
	}
}

func conform19(t *testing.T, w *world) {
	a := w.setup("sbid", nil)
	want := w.call("GET", "/v2/eid/00000000-0000-4000-8000-000000000000", shopKey, "")
	foreign := w.call("GET", "/v2/eid/"+a.ID, plainKey, "")
	live := w.call("GET", "/v2/eid/"+a.ID, liveKey, "")
	third := w.call("POST", "/v3/eid/sbid", shopKey, "")
	strange, err := w.broker.Create(t.Context(), broker.NewSession{Caller: relying.Caller{Account: &parties[0].acc, Key: relying.Key{ID: "key-shop-test", Environment: eid.Test}},
		API: "another", Purpose: eid.Identify, Spec: broker.Spec{Methods: []broker.Method{{Name: "sbid", EID: eid.BankIDSE}}, Page: "/", Payload: []byte("{}")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]*answered{"another account's": foreign, "another environment's": live,
		"an older":            w.call("GET", "/v3/eid/sbid/"+a.ID, shopKey, ""),
		"a newer":             w.call("GET", "/v2/eid/"+third.ID, shopKey, ""),
		"another method's":    w.call("GET", "/v3/eid/sbid-another/"+third.ID, shopKey, ""),
		"another interface's": w.call("GET", "/v2/eid/"+strange.ID, shopKey, "")} {
		if diff := cmp.Diff(want.Errors, got.Errors); diff != "" || got.status != 404 || got.code() != "SESSION_NOT_FOUND" {
			t.Errorf("%s session differs from one that never was: %d %s", name, got.status, got.raw)
		}
	}
}

func conform20(t *testing.T, w *world) {
	a := w.setup("sbid-another", url.Values{"target": {"https://shop.example/"}})
	for range 2 {
		if res := w.person(a, ""); res.StatusCode != 200 {
			t.Errorf("a page that is opened twice: %d", res.StatusCode)
		}
	}
	w.person(a, "start")
	for range 2 {
		if res := w.person(a, ""); res.StatusCode != 200 {
			t.Errorf("a page that is opened twice while it waits: %d", res.StatusCode)
		}
	}
	w.finish(a)
	for range 2 {
		if res := w.person(a, ""); res.StatusCode != 303 || !strings.HasPrefix(res.Header.Get("Location"), "https://shop.example/?") {
			t.Errorf("the end, again: %d to %s", res.StatusCode, res.Header.Get("Location"))
		}
	}
	if w.person(a, "start"); w.bank.orders != 1 {
		t.Errorf("%d orders, want one: nothing begins again", w.bank.orders)
	}
}

func conform22(t *testing.T, w *world) {
	asks := func(key, selector, form string) bool {
		a := w.call("POST", "/v2/eid/"+selector, key, form)
		page, err := io.ReadAll(w.person(a, "").Body)
		if err != nil || !bytes.Contains(page, []byte("lang: ")) {
			t.Fatalf("page: %s, %v", page, err)
		}
		return bytes.Contains(page, []byte("name: personalnumber"))
	}
	const old = "55555555-5555-4555-8555-555555555555" // with ask_personal_number
	for name, c := range map[string]struct {
		key, selector, form string
		want                bool
	}{
		"by default":            {shopKey, "sbid", "", false},
		"with the switch":       {old, "sbid", "", true},
		"number known":          {old, "sbid", "personalnumber=" + ada, false},
		"only where it belongs": {old, "sbid-another", "", false},
	} {
		if got := asks(c.key, c.selector, c.form); got != c.want {
			t.Errorf("%s: asks %t", name, got)
		}
	}
}

// A person who cannot go on reads what to do, in the language of the session.
func TestPagesSayWhatToDo(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		text := regexp.MustCompile(`(?s)<h1[^>]*>([^<]+)</h1>.*?<p[^>]*>([^<]{20,})</p>`)
		look := func(name, path, cookie string, status int, party string) {
			res := w.do("GET", path, "", "", "Cookie", "__Host-eidgate_b="+cookie)
			m := text.FindStringSubmatch(w.page)
			if res.StatusCode != status || m == nil || !strings.Contains(w.page, party) {
				t.Errorf("%s: %d\n%s", name, res.StatusCode, w.page)
			}
		}
		a := w.setup("sbid-another", nil)
		page := strings.TrimPrefix(*a.URL, public)
		w.person(a, "start")
		look("another browser", page, "another-browser-that-has-the-link", 409, "Shop")
		w.pass(16 * time.Minute)
		look("too late", page, "the-one-browser-of-this-test", 200, "Shop")
		w.pass(25 * time.Hour)
		look("erased", page, "the-one-browser-of-this-test", 404, "")
		look("never there", "/v2/Hosted/00000000-0000-4000-8000-000000000000/sbid/", "the-one-browser-of-this-test", 404, "")
	})
}

// TestSwitches proves each switch of an account off and on (docs/apis/zignsec.md
// §12): see returns what there is to see of it.
func TestSwitches(t *testing.T) {
	t.Parallel()
	ended := func(w *world, form url.Values, cancel bool) *answered {
		form = maps.Clone(form) // others have it too
		form.Set("target", "https://shop.example/")
		a := w.setup("sbid-another", form)
		if cancel {
			w.person(a, "cancel")
		} else {
			w.finish(a)
		}
		return a
	}
	hook := url.Values{"webhook": {"https://shop.example/hook"}}
	for name, c := range map[string]struct {
		set     func(*relying.Account)
		see     func(*world) string
		off, on string
	}{
		"drop_state_on_success": {func(a *relying.Account) { a.Switches.DropStateOnSuccess = true },
			func(w *world) string {
				good, bad := ended(w, url.Values{}, false), ended(w, url.Values{}, true)
				return w.result(good.ID).Result.Identity.State + " " + w.result(bad.ID).Result.Identity.State
			}, "FINISHED ERROR", " ERROR"},
		"legacy_error_status": {func(a *relying.Account) { a.Switches.LegacyErrorStatus = true },
			func(w *world) string {
				return fmt.Sprint(w.setup("nonsense", nil).status, w.setup("sbid", url.Values{"custom": {strings.Repeat("a", 1<<20)}}).status,
					w.result("00000000-0000-4000-8000-000000000000").status, w.call("GET", "/v2/eid/x", "nonsense", "").status)
			}, "400 413 404 401", "200 200 404 401"},
		"post_message_json": {func(a *relying.Account) { a.Switches.PostMessageJSON = true },
			func(w *world) string {
				page, _ := io.ReadAll(w.person(ended(w, url.Values{}, true), "", "Sec-Fetch-Dest", "iframe").Body)
				return fmt.Sprint(bytes.Contains(page, []byte("text: 1")))
			}, "false", "true"},
		"target_error_details": {func(a *relying.Account) { a.Switches.TargetErrorDetails = true },
			func(w *world) string {
				good, bad := ended(w, url.Values{"relaystate": {"r"}}, false), ended(w, url.Values{"relaystate": {"r"}}, true)
				return w.person(good, "").Header.Get("Location") + " " + w.person(bad, "").Header.Get("Location")
			}, "https://shop.example/?relaystate=r&service=eIDBasic https://shop.example/?relaystate=r&service=eIDBasic",
			"https://shop.example/?relaystate=r&service=eIDBasic https://shop.example/?relaystate=r&service=eIDBasic&errorcode=USER_CANCEL&error=Action%20cancelled"},
		"webhook_max_attempts": {func(a *relying.Account) { a.Switches.WebhookMaxAttempts = 3 },
			func(w *world) string { ended(w, hook, true); return w.sent()[0].Profile }, "zignsec-20", "zignsec-3"},
		"hmac_hex_upper": {func(a *relying.Account) { a.Switches.HMACHexUpper = true },
			func(w *world) string { ended(w, hook, true); return fmt.Sprint(w.sent()[0].UpperHex) }, "false", "true"},
		"no_webhook_hmac": {func(a *relying.Account) { a.Switches.NoWebhookHMAC = true },
			func(w *world) string { ended(w, hook, true); return w.sent()[0].Key }, "key-shop-test", ""},
		"identification_date_local": {func(a *relying.Account) { a.Switches.IdentificationDateLocal = true },
			func(w *world) string {
				return w.result(ended(w, url.Values{}, false).ID).Identity["IdentificationDate"].(string) //nolint:errcheck // a panic fails the test as well
			}, "2026-01-02T03:04:05.6789012Z", "2026-01-02T04:04:05.6789012+01:00"},
		"keep": {func(a *relying.Account) { a.Keep = 5 * time.Minute },
			func(w *world) string {
				a := ended(w, url.Values{}, false)
				w.pass(6 * time.Minute)
				return w.result(a.ID).code()
			}, "", "SESSION_NOT_FOUND"},
		"wildcard_frame_origin": {func(a *relying.Account) { a.Switches.WildcardFrameOrigin = true },
			func(w *world) string {
				return strings.Join(w.spec(w.setup("sbid", url.Values{"target": {"https://shop.example/"}}).ID).Frames, " ")
			}, "https://shop.example", "*"},
		"frames": {func(a *relying.Account) { a.Frames = []string{"https://a.example", "https://b.example"} },
			func(w *world) string {
				return strings.Join(w.spec(w.setup("sbid", url.Values{"target": {"https://shop.example/"}}).ID).Frames, " ")
			}, "https://shop.example", "https://a.example https://b.example"},
		"webhook_email": {func(a *relying.Account) { a.WebhookEmail = "thin" },
			func(w *world) string {
				ended(w, url.Values{"webhook_email": {"ops@shop.example"}}, false)
				for _, d := range w.sent() {
					var m broker.MailBody
					if d.Kind == "email" && json.Unmarshal(d.Body, &m) == nil {
						return fmt.Sprint(bytes.Contains(m.Attachment, []byte(ada)), strings.Contains(string(d.Body), "Ada"))
					}
				}
				return "no mail"
			}, "true false", "false false"},
		"ask_personal_number": {func(a *relying.Account) { a.Switches.AskPersonalNumber = true },
			func(w *world) string {
				return fmt.Sprint(w.spec(w.setup("sbid", nil).ID).Methods[0].Params, w.spec(w.setup("sbid-another", nil).ID).Methods[0].Params)
			}, "map[] map[]", "map[ask_personal_number:true] map[]"},
		"echo_custom": {func(a *relying.Account) { a.Switches.EchoCustom = true },
			func(w *world) string { return w.result(ended(w, url.Values{"custom": {"mine"}}, false).ID).Custom }, "", "mine"},
	} {
		for want, on := range map[string]bool{c.off: false, c.on: true} {
			t.Run(fmt.Sprintf("%s/%t", name, on), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, w *world) {
					acc := parties[0].acc
					if on {
						c.set(&acc)
					}
					if err := w.store.PutAccount(t.Context(), &acc); err != nil {
						t.Fatal(err)
					}
					if got := c.see(w); got != want {
						t.Errorf("%q, want %q", got, want)
					}
				})
			})
		}
	}
}

// tellEverything looks for every answer to an error, and every way for a login
// to fail, in the conversations.
func tellEverything(t *testing.T, paths []string) {
	t.Helper()
	var all []byte
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	has := func(status int, e wireError) bool {
		want, err := marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for part := range bytes.SplitSeq(all, []byte("\n-- ")) {
			if bytes.Contains(part, want) && bytes.Contains(part, fmt.Appendf(nil, "HTTP/1.1 %d ", status)) {
				return true
			}
		}
		return false
	}
	for _, a := range answers {
		if !has(a.status, wireError{a.code, a.text}) {
			t.Errorf("no conversation has %d %s: %s", a.status, a.code, a.text)
		}
	}
	for r, f := range failures {
		if !has(200, f) {
			t.Errorf("no conversation has the failure %s", r)
		}
	}
	for _, word := range []string{"OUTSTANDING_TRANSACTION", "NO_CLIENT", "STARTED", "USER_SIGN", "COMPLETE"} {
		if !bytes.Contains(all, []byte(`"progressStatus":"`+word+`"`)) {
			t.Errorf("no conversation has progressStatus %s", word)
		}
	}
}
