package control_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/sandbox/bankidse"
	"eidgate/test/rig"
)

const api = "/sandbox/v1"

// ask calls the control API of a running sandbox.
func ask(t *testing.T, w *rig.Dev, method, path, body string) (status int, out map[string]any) {
	t.Helper()
	return w.Call(method, w.URLs["control"]+api+path, "application/json", body)
}

// list is the same for answers that are lists.
func list(t *testing.T, w *rig.Dev, path string) (out []map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URLs["control"]+api+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		t.Fatalf("%s: %s: %v", path, res.Status, err)
	}
	return out
}

func said(m map[string]any) string { return fmt.Sprint(m["error"], " ", m["help"]) }

// Each method, on each device, from its page to its end.
func TestDecideEveryMethod(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	text := base64.StdEncoding.EncodeToString([]byte("Jag lånar 1 000 kr."))
	for _, c := range []struct{ method, device, outcome string }{
		{"sbid", "", "approve"}, {"sbid", "", "cancel"}, {"sbid", "", "expire"},
		{"sbid-another", "", "approve"}, {"sbid-another", "same", "approve"}, {"sbid-another", "", "cancel:page"}, {"sbid-another", "", "approve after 10ms"},
		{"sbid-sign", "", "approve"}, {"sbid-sign", "same", "approve"}, {"sbid-sign", "", "fail:stepUpFailed"},
		{"se", "", "approve"}, {"se", "same", "approve"}, {"se", "same", "cancel:page"}, {"se", "", "fail:startFailed"},
		{"sbid-another", "", "states:outstandingTransaction,started,userSign,complete"},
	} {
		form := url.Values{"target": {"http://localhost/ok?m=" + c.method}, "targetError": {"http://localhost/bad"}}
		if c.method == "sbid-sign" {
			form.Set("userVisibleData", text)
			form.Set("personalnumber", "199001012385")
		}
		id := w.Setup(c.method, form)
		status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"`+c.outcome+`","person":"ada","device":"`+c.device+`"}`)
		state, to := "failed", "http://localhost/bad?"
		if strings.HasPrefix(c.outcome, "approve") || strings.HasSuffix(c.outcome, "complete") {
			state, to = "finished", "http://localhost/ok?m="+c.method+"&"
		}
		if back, _ := out["redirect"].(string); status != 200 || out["state"] != state || !strings.HasPrefix(back, to) {
			t.Errorf("%s %s on %q: %d %v, want %s to %s", c.method, c.outcome, c.device, status, out, state, to)
		}
		_, why := ask(t, w, "GET", "/sessions/"+id+"/explain", "")
		if len(why) == 0 {
			t.Errorf("%s %s is not explained", c.method, c.outcome)
		}
		for ref, rungs := range why {
			for _, r := range rungs.([]any) {
				if r := r.(map[string]any); r["used"] == true && (r["tier"] != 10.0 || r["source"] != "this session") {
					t.Errorf("%s %s: %s was decided by %v", c.method, c.outcome, ref, r)
				}
			}
		}
	}
	// The person pinned by the request is who logs in when nobody says.
	id := w.Setup("sbid", url.Values{"target": {"http://localhost/ok"}, "personalnumber": {"199001032391"}})
	w.Decide(id, "approve", "")
	if who, _ := w.Result(id)["identity"].(map[string]any); who["PersonalNumber"] != "199001032391" {
		t.Errorf("identity = %v", who)
	}
	id = w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}, "personalnumber": {"199001032391"}})
	if _, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"approve","person":"ada"}`); out["state"] != "failed" {
		t.Errorf("another person approves: %v", out)
	}
}

// A login from the relying party's own address, whose session nobody knows.
func TestDecideFromTheParty(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	id := w.Setup("sbid", url.Values{"target": {"http://localhost/ok"}})
	page := w.URLs["public"] + "/v2/Hosted/" + id + "/sbid/"
	party := http.NewServeMux()
	party.HandleFunc("/login", func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, page, http.StatusFound) })
	party.HandleFunc("/dead", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("nothing here")) })
	at := serve(t, party)
	if status, out := ask(t, w, "POST", "/decide", `{"start_url":"`+at+`/dead","outcome":"approve"}`); status != 404 || !strings.Contains(said(out), "no page of this broker") {
		t.Errorf("a page that leads nowhere: %d %v", status, out)
	}
	if status, out := ask(t, w, "POST", "/decide", `{"start_url":"`+at+`/login","outcome":"approve","person":"ada"}`); status != 200 || out["state"] != "finished" {
		t.Errorf("decide = %d %v", status, out)
	}
	for body, want := range map[string]string{
		`{"start_url":"ftp://x/","outcome":"approve"}`:                                                                                "no http address",
		`{"start_url":"http://127.0.0.1:1/","outcome":"approve"}`:                                                                     "is the relying party running",
		`{"start_url":"` + w.URLs["issuers"] + `/itsme/v2/authorization?request=r","outcome":"approve"}`:                              "sessions/{id}/decide",
		`{"start_url":"` + page + `","outcome":"ignore"}`:                                                                             "never ends",
		`{"start_url":"` + page + `","outcome":"win"}`:                                                                                "none of approve",
		`{"start_url":"` + page + `","outcome":"approve","device":"fax"}`:                                                             "neither same nor other",
		`{"start_url":"` + w.URLs["public"] + `/v2/Hosted/00000000-0000-4000-8000-000000000000/sbid/","outcome":"approve"}`:           "no such session",
		`{"start_url":"` + strings.Replace(page, id, strings.ToUpper(id), 1) + `","outcome":"approve","person":"nobody","device":""}`: "no such person",
	} {
		if status, out := ask(t, w, "POST", "/decide", body); status != 400 && status != 404 || !strings.Contains(said(out), want) {
			t.Errorf("%s: %d %v, want %q", body, status, out, want)
		}
	}
}

// Wherever the clock is set, logins succeed: nothing that the simulators certify
// has ended, or has not begun.
func TestDecideAtAnyTime(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for _, at := range []string{"2026-06-01T12:00:00Z", "2000-01-01T00:00:00Z", "2027-12-01T00:00:00Z", "2100-12-31T00:00:00Z"} {
		if status, out := ask(t, w, "POST", "/clock", `{"set":"`+at+`"}`); status != 200 {
			t.Fatalf("clock: %d %v", status, out)
		}
		for _, method := range []string{"sbid", "idin", "itsme", "nbid_oidc", "mitid"} {
			id := w.Setup(method, url.Values{"target": {"http://localhost/ok"}})
			if status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"approve"}`); status != 200 || out["state"] != "finished" {
				t.Errorf("%s, %s: %d %v", at, method, status, out)
			}
		}
	}
}

// Who has no BankID cannot approve, and whoever decides it learns so at once.
func TestDecideWithoutBankID(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for person, method := range map[string]string{"nobankid": "sbid-another", "vries": "sbid"} {
		id := w.Setup(method, url.Values{"target": {"http://localhost/ok"}})
		if status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"approve","person":"`+person+`"}`); status != 409 || !strings.Contains(said(out), "has no BankID") {
			t.Errorf("%s: %d %v", person, status, out)
		}
		if person == "vries" {
			if out := w.Decide(id, "approve", "ada"); out["state"] != "finished" {
				t.Errorf("then somebody who has one: %v", out)
			}
			continue
		}
		if status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"cancel"}`); status != 200 || out["state"] != "failed" {
			t.Errorf("then cancel: %d %v", status, out)
		}
	}
}

// Two deciders: the second learns what really happened.
func TestDecideRace(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}})
	w.Decide(id, "approve", "ada")
	status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"cancel"}`)
	if h, _ := out["happened"].(map[string]any); status != 409 || h["state"] != "finished" {
		t.Errorf("after the end: %d %v", status, out)
	}
	id = w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}})
	var mu sync.Mutex
	got := map[int]int{}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			req, err := http.NewRequest("POST", w.URLs["control"]+api+"/sessions/"+id+"/decide", strings.NewReader(`{"outcome":"approve"}`)) //nolint:noctx // bounded by the server
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/json")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			got[res.StatusCode]++
		})
	}
	all.Wait()
	if got[200] != 1 || got[409] != 3 {
		t.Errorf("answers = %v", got)
	}
	// A phone is quicker than the robot that waits for its three seconds.
	id = w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}})
	done := make(chan string, 1)
	go func() {
		status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"approve after 15s","person":"ada"}`)
		done <- fmt.Sprint(status, " ", out["happened"])
	}()
	ref := ""
	for end := time.Now().Add(10 * time.Second); ref == "" && time.Now().Before(end); {
		for _, o := range list(t, w, "/orders?person=ada&state=userSign&wait=5s") {
			ref, _ = o["ref"].(string)
		}
	}
	if status, out := ask(t, w, "POST", "/orders/"+ref+"/events", `{"event":"cancel"}`); status != 200 {
		t.Fatalf("cancel: %d %v", status, out)
	}
	if got := <-done; !strings.HasPrefix(got, "409 ") || !strings.Contains(got, "by:control API") || !strings.Contains(got, "hint:userCancel") {
		t.Errorf("the robot learns %s", got)
	}
	status, out = ask(t, w, "POST", "/orders/"+ref+"/events", `{"event":"approve"}`)
	if h, _ := out["happened"].(map[string]any); status != 409 || h["hint"] != "userCancel" || h["by"] != "control API" {
		t.Errorf("too late: %d %v", status, out)
	}
}

// A real browser has the page open: the robot is only the phone.
func TestDecideBesideABrowser(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}})
	page := w.URLs["public"] + "/v2/Hosted/" + id + "/sbid-another/"
	see := func(method, at string, form url.Values) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		return res
	}
	see("GET", page, nil)
	see("POST", page+"start", url.Values{"device": {"other"}})
	if status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"cancel:page"}`); status != 409 {
		t.Errorf("cancel on another browser's page: %d %v", status, out)
	}
	if out := w.Decide(id, "approve", "bo"); out["state"] != "finished" || out["redirect"] != nil {
		t.Errorf("decide = %v", out)
	}
	if to := see("GET", page, nil).Header.Get("Location"); !strings.HasPrefix(to, "http://localhost/ok?") {
		t.Errorf("the browser is sent to %q", to)
	}
}

// Everything that spoils a result ends the login without a person.
func TestFaultsOfResults(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	kinds := bankidse.Faults()["bankidse.result"]
	if len(kinds) < 7 {
		t.Errorf("faults of results: %v", kinds)
	}
	for _, kind := range kinds {
		if status, out := ask(t, w, "POST", "/faults", `{"target":"bankidse.result","kind":"`+kind+`","times":1}`); status != 200 {
			t.Fatalf("%s: %d %v", kind, status, out)
		}
		id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}})
		out := w.Decide(id, "approve", "ada")
		if got := w.Result(id); out["state"] != "failed" || rig.State(got) != "ERROR" || got["identity"] != nil {
			t.Errorf("%s: %v, %v", kind, out, got)
		}
	}
	id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}})
	if out := w.Decide(id, "approve", "ada"); out["state"] != "finished" {
		t.Errorf("without a fault: %v", out)
	}
}

// A marker that does nothing, or not what it says, is named to the developer.
func TestMarkersThatDoNothing(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	warned := func(method, at, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, w.URLs["public"]+at, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", w.Key)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode >= 400 {
			t.Errorf("%s: %s", at, res.Status)
		}
		return res.Header.Get("X-Eidgate-Warning")
	}
	for marker, want := range map[string][2]string{
		"sandbox:cancel": {}, "sandbox:approve after 3s;person=bo": {}, "order 7": {},
		"sandbox:cancl":                 {`custom cannot be followed: "cancl" is none of approve`, "no effect: login_hint ?"},
		"sandbox:approve;person=nobody": {`custom cannot be followed: person "nobody": no such person`, "no effect: login_hint ?"},
	} {
		got := warned("POST", "/v2/eid/sbid", url.Values{"target": {"http://localhost/ok"}, "custom": {marker}}.Encode())
		if !strings.HasPrefix(got, want[0]) || want[0] == "" && got != "" {
			t.Errorf("custom=%s: %q", marker, got)
		}
		q := url.Values{"client_id": {"sandbox-quiet-river-417"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"}, "redirect_uri": {"http://localhost/ok"}, "login_hint": {marker}, "acr_values": {"idp:sbid"}}
		if got := warned("GET", "/auth/open/connect/authorize?"+q.Encode(), ""); got != want[1] {
			t.Errorf("login_hint=%s: %q", marker, got)
		}
	}
}

// A run of tests has an account of its own, with its own default.
func TestAccounts(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	status, a := ask(t, w, "POST", "/accounts", `{"name":"Run 7","auto":"cancel"}`)
	key, _ := a["key"].(string)
	secret, _ := a["webhook_secret"].(string)
	if status != 200 || key == "" || !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("accounts: %d %v", status, a)
	}
	for match, want := range map[string]int{`"account":"` + a["id"].(string) + `"`: 200, `"account":"Run 7"`: 404, `"session":"nobody"`: 404} {
		if status, out := ask(t, w, "POST", "/queue", `{"outcome":"approve","match":{`+match+`}}`); status != want {
			t.Errorf("queue for %s: %d %v", match, status, out)
		}
	}
	ask(t, w, "DELETE", "/queue", "")
	demo := w.Key
	foreign := w.Setup("sbid", url.Values{"target": {"http://localhost/ok"}})
	w.Key = key
	if status, _ := w.Call("GET", w.URLs["public"]+"/v2/eid/"+foreign, "", ""); status != 404 {
		t.Errorf("another account's session: %d", status)
	}
	// Tier 50: nobody decides, and the account's default does.
	_, begun := w.Call("POST", w.URLs["public"]+"/BankIDSE/Authenticate", "application/json", `{"endUserIp":"127.0.0.1"}`)
	id, _ := begun["id"].(string)
	for end := time.Now().Add(15 * time.Second); ; <-time.After(20 * time.Millisecond) {
		_, why := ask(t, w, "GET", "/sessions/"+id+"/explain", "")
		if raw, err := json.Marshal(why); err == nil && strings.Contains(string(raw), `{"said":"cancel","source":"default of the account","tier":50,"used":true}`) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the default of the account decides nothing: %v", why)
		}
	}
	running := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}, "webhook": {w.HookAt}})
	if status, out := ask(t, w, "DELETE", "/accounts/"+a["id"].(string), ""); status != 200 {
		t.Fatalf("remove: %d %v", status, out)
	}
	if status, _ := w.Call("GET", w.URLs["public"]+"/v2/eid/"+running, "", ""); status != 401 {
		t.Errorf("the key of a removed account: %d", status)
	}
	for _, gone := range []string{id, running} {
		if status, out := ask(t, w, "GET", "/sessions/"+gone+"/explain", ""); status != 404 {
			t.Errorf("a session of it: %d %v", status, out)
		}
	}
	for _, other := range []string{a["id"].(string), "5a4db0c5-0000-4000-8000-00000000a001", "x"} {
		if status, out := ask(t, w, "DELETE", "/accounts/"+other, ""); status != 404 {
			t.Errorf("remove %s: %d %v", other, status, out)
		}
	}
	w.Key = demo
	if w.Decide(foreign, "approve", "ada")["state"] != "finished" {
		t.Error("the demo account's session was touched")
	}
}

// A run of tests has clients of its own, of its own account or of the demo's.
func TestClients(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	_, a := ask(t, w, "POST", "/accounts", `{}`)
	mine, _ := a["id"].(string)
	status, c := ask(t, w, "POST", "/clients", `{"account":"`+mine+`","redirect_uris":["https://shop.example/back"]}`)
	if status != 200 || c["account"] != mine || c["profile"] != "signicat" || c["issuer"] != w.URLs["public"]+"/auth/open" || c["secrets"] != nil {
		t.Fatalf("clients: %d %v", status, c)
	}
	id, _ := c["client_id"].(string)
	secret, _ := c["client_secret"].(string)
	token := func() int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URLs["public"]+"/auth/open/connect/token", strings.NewReader("grant_type=client_credentials"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(id, secret)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if got := token(); got != 200 {
		t.Errorf("a token of the client's own: %d", got)
	}
	for body, want := range map[string]int{
		`{"client_name":"no address"}`:                             400,
		`{"redirect_uris":["https://a.example/"],"colour":1}`:      400,
		`{"redirect_uris":["https://a.example/"],"client_id":"x"}`: 400,
		`[]`: 400,
		`{"redirect_uris":["https://a.example/"],"account":"5a4db0c5-0000-4000-9fff-ffffffffffff"}`:  404,
		`{"redirect_uris":["https://a.example/"],"account":"x"}`:                                     404,
		`{"redirect_uris":["https://a.example/"]}`:                                                   200,
		`{"redirect_uris":["https://a.example/"],"tls_client_certificate_bound_access_tokens":true}`: 400, // nobody asks for certificates
	} {
		if status, out := ask(t, w, "POST", "/clients", body); status != want {
			t.Errorf("%s: %d %v", body, status, out)
		}
	}
	if status, _ := ask(t, w, "DELETE", "/accounts/"+mine, ""); status != 200 {
		t.Errorf("remove the account: %d", status)
	}
	if got := token(); got != 401 {
		t.Errorf("a client of a removed account: %d", got)
	}
}

// The answer of a login that is posted to the relying party comes with what the
// browser would post.
func TestDecidePosts(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for outcome, word := range map[string]string{"approve": "code", "cancel": "error"} {
		to, posted := w.DecideAt(w.OIDC.Issuer+"/connect/authorize?"+url.Values{"client_id": {w.OIDC.ID}, "redirect_uri": {"http://localhost:1/cb"}, "response_type": {"code"},
			"response_mode": {"form_post"}, "scope": {"openid"}, "state": {"s"}, "acr_values": {"idp:sbid"}}.Encode(), outcome, "ada")
		if to != "http://localhost:1/cb" || posted.Get("state") != "s" || posted.Get("iss") != w.OIDC.Issuer || posted.Get(word) == "" {
			t.Errorf("%s: %s %v", outcome, to, posted)
		}
	}
}

// What was delivered, and what was said on the wire.
func TestWebhooksAndMessages(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}, "webhook": {w.HookAt + "?secret=1"}})
	w.Decide(id, "approve", "ada")
	<-w.Hooks
	var got map[string]any
	for end := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
		if all := list(t, w, "/webhooks?session="+id); len(all) == 1 && all[0]["state"] == "delivered" {
			got = all[0]
			break
		}
		if time.Now().After(end) {
			t.Fatalf("webhooks = %v", list(t, w, "/webhooks"))
		}
	}
	tries, _ := got["attempts"].([]any)
	body, _ := got["body"].(map[string]any)
	if at, err := url.Parse(w.HookAt); err != nil || got["host"] != at.Host || len(tries) != 1 || tries[0].(map[string]any)["status"] != 204.0 || body["id"] != id {
		t.Errorf("delivery = %v, %v", got, err)
	}
	if raw := fmt.Sprint(got); strings.Contains(raw, "secret=1") {
		t.Error("the whole address is shown")
	}
	if all := list(t, w, "/webhooks"); len(all) != 1 {
		t.Errorf("all webhooks = %v", all)
	}
	msgs := list(t, w, "/messages?session="+id)
	if len(msgs) < 4 || msgs[0]["direction"] != "in" || msgs[0]["url"] != "/rp/v6.0/auth" || !strings.Contains(msgs[0]["body"].(string), "endUserIp") {
		t.Errorf("messages = %v", msgs)
	}
	for _, path := range []string{"/webhooks?session=x", "/messages?session=x", "/sessions/x/explain"} {
		if status, out := ask(t, w, "GET", path, ""); status != 404 || out["error"] == "" {
			t.Errorf("%s: %d %v", path, status, out)
		}
	}
}
