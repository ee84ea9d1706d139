package control_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"eidgate/test/rig"
)

// begin makes a session of a Dutch method.
func begin(w *rig.Dev, method, config string, more ...string) string {
	form := url.Values{"target": {"http://localhost/ok"}, "targetError": {"http://localhost/bad"}}
	if config != "" {
		form.Set("configid", config)
	}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return w.Setup(method, form)
}

// Each method from its page to the bank's and back, and who decided it.
func TestDecideAtBanks(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for _, c := range []struct{ method, config, device, outcome, to string }{
		{"idin", "", "", "approve", "ok"}, {"idin", "", "", "cancel", "bad"}, {"idin", "", "", "cancel:page", "bad"}, {"idin", "", "", "expire", "bad"},
		{"idin", "", "", "fail:SO1100", "bad"}, {"idin", "", "", "fail:no_return", ""}, {"idin", "", "", "approve after 20ms", "ok"},
		{"idin_age", "", "", "approve", "ok"}, {"idin_age", "", "", "decline", "bad"}, {"nl", "", "", "approve", "ok"},
		{"idin_age", "agechecked", "", "approve", "ok"}, {"idin_age", "agechecked", "", "decline", "ok"}, {"idin_age", "agechecked", "", "fail:4", "bad"},
		{"idin_age", "agechecked", "", "expire", ""}, {"idin_age", "agechecked", "", "approve after 20ms", "ok"},
		{"idin", "counter", "", "approve", "ok"}, {"idin", "counter", "same", "approve", "ok"}, {"idin", "counter", "other", "approve after 20ms", "ok"},
		{"idin", "counter", "", "cancel", "bad"}, {"idin", "counter", "", "fail:SO1100", "bad"}, {"idin", "counter", "", "fail:no_return", "bad"},
	} {
		id := begin(w, c.method, c.config)
		status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"`+c.outcome+`","device":"`+c.device+`"}`)
		state := map[string]string{"ok": "finished", "bad": "failed", "": "failed"}[c.to]
		back, _ := out["redirect"].(string)
		if status != 200 || out["state"] != state || (c.to == "") != (back == "") || !strings.HasPrefix(back, "http://localhost/"+c.to) && c.to != "" {
			t.Errorf("%v: %d %v, want %s", c, status, out, state)
		}
		_, why := ask(t, w, "GET", "/sessions/"+id+"/explain", "")
		if len(why) == 0 {
			t.Errorf("%v is not explained", c)
		}
		for ref, rungs := range why {
			for _, r := range rungs.([]any) {
				if r := r.(map[string]any); r["used"] == true && r["tier"] != 10.0 {
					t.Errorf("%v: %s was decided by %v", c, ref, r)
				}
			}
		}
		said := fmt.Sprint(list(t, w, "/messages?session="+id))
		want := "AcquirerTrxReq"
		if c.config == "agechecked" {
			want = "/agechecked/api/"
		}
		if !strings.Contains(said, want) {
			t.Errorf("%v: the messages lack %s", c, want)
		}
		scans := strings.Contains(said, "/idin/qr/open/")
		if c.config == "counter" && scans != (c.device != "same") {
			t.Errorf("%v: scanned is %t", c, scans)
		}
	}
}

// Who goes to the bank is who was named, else the usual customer.
func TestDecideWho(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for _, c := range []struct{ method, config, person, name, value string }{
		{"idin", "", "", "LastName", "de Vries"}, {"idin", "", "ada", "LastName", "Test"}, {"idin", "counter", "jong", "LastName", "Jong"},
		{"idin_age", "", "", "AgeApproved", "true"}, {"idin_age", "", "jong", "AgeApproved", "false"}, {"idin_age", "", "grens", "AgeApproved", "true"},
		{"idin_age", "agechecked", "", "AgeApproved", "true"}, {"idin_age", "agechecked", "jong", "AgeApproved", "false"},
	} {
		id := begin(w, c.method, c.config)
		out := w.Decide(id, "approve", c.person)
		who, _ := w.Result(id)["identity"].(map[string]any)
		if out["state"] != "finished" || fmt.Sprint(who[c.name]) != c.value {
			t.Errorf("%v: %v, %v", c, out, who)
		}
	}
	for _, c := range []struct {
		outcome, person, want string
		status                int
	}{
		{"approve", "bo", "no Dutch bank knows this person", 409},
		{"states:outstandingTransaction,complete", "", "states are what BankID tells", 400},
	} {
		id := begin(w, "idin", "")
		status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"`+c.outcome+`","person":"`+c.person+`"}`)
		if status != c.status || !strings.Contains(said(out), c.want) {
			t.Errorf("%s: %d %v", c.outcome, status, out)
		}
	}
	id := begin(w, "idin_age", "agechecked")
	if status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"fail:77"}`); status != 400 || !strings.Contains(said(out), "none of open, approve") {
		t.Errorf("no such status: %d %v", status, out)
	}
}

// A visitor is a browser of a person.
type visitor struct {
	t *testing.T
	c *http.Client
}

func newVisitor(t *testing.T) visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return visitor{t, &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// see shows a page, or where it leads.
func (v visitor) see(method, at string, form url.Values) (status int, to, body string) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, at, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := v.c.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Location"), string(raw)
}

var bankLink = regexp.MustCompile(`href="([^"]+)" data-away`)

// atBank opens a session's page and chooses a bank; "" where it leads to none.
func (v visitor) atBank(page string) string {
	v.t.Helper()
	v.see("GET", page, nil)
	v.see("POST", page+"start", url.Values{"issuer": {"BANKNL2Y"}})
	_, _, body := v.see("GET", page, nil)
	if m := bankLink.FindStringSubmatch(body); m != nil {
		return strings.ReplaceAll(m[1], "&amp;", "&")
	}
	return ""
}

// used is the tier and what it said, of a session's only order.
func used(t *testing.T, w *rig.Dev, session string) string {
	t.Helper()
	_, why := ask(t, w, "GET", "/sessions/"+session+"/explain", "")
	for _, rungs := range why {
		for _, r := range rungs.([]any) {
			if r := r.(map[string]any); r["used"] == true {
				return fmt.Sprint(r["tier"], " ", r["said"])
			}
		}
	}
	return ""
}

// Nobody runs the login: the other tiers decide it, at the start where that
// must be, and at the bank.
func TestLadderAtBanks(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	page := func(id, method string) string { return w.URLs["public"] + "/v2/Hosted/" + id + "/" + method + "/" }
	queue := func(body string) {
		t.Helper()
		if status, out := ask(t, w, "POST", "/queue", body); status != 200 {
			t.Fatalf("queue: %d %v", status, out)
		}
	}
	// An age check at a bank is one, and an account is known at the start.
	queue(`{"outcome":"fail:SO1100","match":{"eid":"idinage"}}`)
	queue(`{"outcome":"fail:AP1500","match":{"account":"5a4db0c5-0000-4000-8000-00000000a001","eid":"idin"}}`)
	age, id := begin(w, "idin_age", ""), begin(w, "idin", "")
	v := newVisitor(t)
	if at := v.atBank(page(id, "idin")); at != "" {
		t.Errorf("a start that is refused leads to %s", at)
	}
	if got := w.Result(id); rig.State(got) != "ERROR" || !strings.Contains(fmt.Sprint(got["errors"]), "AP1500") {
		t.Errorf("the start that was refused: %v", got)
	}
	if at := v.atBank(page(age, "idin_age")); at != "" || len(list(t, w, "/queue")) != 0 {
		t.Errorf("a bank that is down leads to %q", at)
	}
	refused := list(t, w, "/orders?state=refused&eid=idin")
	if len(refused) != 2 || refused[0]["hint"] != "SO1100" || refused[1]["hint"] != "AP1500" || refused[0]["by"] != "tier 20, queue" {
		t.Errorf("refused orders: %v", refused)
	}
	// Another try of the same login takes nothing from the queue.
	queue(`{"outcome":"cancel"}`)
	at := v.atBank(page(age, "idin_age"))
	if at == "" || len(list(t, w, "/queue")) != 1 {
		t.Errorf("another try leads to %q and leaves %v", at, list(t, w, "/queue"))
	}
	// The next login does, and the bank sends its browser back at once.
	id = begin(w, "idin", "")
	at = v.atBank(page(id, "idin"))
	if status, to, _ := v.see("GET", at, nil); status != 303 || !strings.HasPrefix(to, w.URLs["public"]+"/callback/test/idin?") {
		t.Errorf("the bank answers %d to %q", status, to)
	}
	if got := used(t, w, id); got != "20 cancel" {
		t.Errorf("decided by %s", got)
	}
	// What the relying party wrote.
	id = begin(w, "idin_age", "agechecked", "custom", "sandbox:decline")
	at = v.atBank(page(id, "idin_age"))
	if status, to, _ := v.see("GET", at, nil); status != 303 || !strings.HasPrefix(to, w.URLs["public"]+"/callback/test/idinage?") {
		t.Errorf("AgeChecked answers %d to %q", status, to)
	} else if status, _, body := v.see("GET", to, nil); status != 303 {
		t.Errorf("the way back shows %s", body)
	}
	if got := w.Result(id); used(t, w, id) != "30 decline" || rig.State(got) != "FINISHED" || got["identity"].(map[string]any)["AgeApproved"] != false {
		t.Errorf("decided by %s: %v", used(t, w, id), got)
	}
	// The account's default.
	_, a := ask(t, w, "POST", "/accounts", `{"auto":"decline"}`)
	w.Key, _ = a["key"].(string)
	id = begin(w, "idin", "")
	if status, _, _ := v.see("GET", v.atBank(page(id, "idin")), nil); status != 303 || used(t, w, id) != "50 decline" {
		t.Errorf("the account's default: %d, %s", status, used(t, w, id))
	}
}

// A real browser is at the bank, or shows a code: the robot goes there with
// another one, and says that it was this person.
func TestDecideBesideABank(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	id := begin(w, "idin", "")
	page := w.URLs["public"] + "/v2/Hosted/" + id + "/idin/"
	v := newVisitor(t)
	if v.atBank(page) == "" {
		t.Fatal("no bank")
	}
	if out := w.Decide(id, "approve", ""); out["state"] != "finished" || out["redirect"] != nil {
		t.Errorf("decide = %v", out)
	}
	if got := w.Result(id); got["binding"] != "weak" {
		t.Errorf("binding = %v", got["binding"])
	}
	if _, to, _ := v.see("GET", page, nil); !strings.HasPrefix(to, "http://localhost/ok?") {
		t.Errorf("the browser is sent to %q", to)
	}
	id = begin(w, "idin", "counter")
	page = w.URLs["public"] + "/v2/Hosted/" + id + "/idin/"
	v.see("GET", page, nil)
	v.see("POST", page+"start", url.Values{"choose": {"code"}})
	if out := w.Decide(id, "approve", "accent"); out["state"] != "finished" || out["redirect"] != nil {
		t.Errorf("decide beside a counter = %v", out)
	}
	if _, _, body := v.see("GET", page+"?tick=1", nil); !strings.Contains(body, "http://localhost/ok?") {
		t.Errorf("the counter shows %s", body)
	}
}

// A browser is at the page of an OpenID provider: the same.
func TestDecideBesideAProvider(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for _, method := range []string{"itsme", "nbid_oidc", "mitid"} {
		id := begin(w, method, "")
		if status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"approve","person":"bo"}`); status != 409 {
			t.Fatalf("%s: %d %v", method, status, out) // who is there, and does not have this eID
		}
		if out := w.Decide(id, "approve", ""); out["state"] != "finished" || out["redirect"] != nil {
			t.Errorf("%s: decide = %v", method, out)
		}
	}
}

// Orders of OpenID providers end the waiting for them, too.
func TestOrdersWaitForProviders(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for name, method := range map[string]string{"itsme": "itsme", "bankidno": "nbid_oidc", "mitid": "mitid"} {
		id := begin(w, method, "")
		done := make(chan int, 1)
		go func() {
			status, _ := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"approve"}`)
			done <- status
		}()
		if all := list(t, w, "/orders?state=all&wait=10s&eid="+name); len(all) != 1 {
			t.Errorf("%s: %d orders", name, len(all))
		}
		if status := <-done; status != 200 {
			t.Errorf("%s: decide %d", name, status)
		}
	}
}

// A request that was pushed is among the messages of its login: first, as it
// came, with what an address does not tell.
func TestMessagesOfPushed(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for method, number := range map[string]string{"nbid": "01819010354", "mitid": ""} {
		id := begin(w, method, "", "personalnumber", number)
		if out := w.Decide(id, "approve", ""); out["state"] != "finished" {
			t.Fatalf("%s: %v", method, out)
		}
		msgs := list(t, w, "/messages?session="+id)
		if len(msgs) < 6 {
			t.Fatalf("%s: messages = %v", method, msgs)
		}
		asked, _ := msgs[0]["body"].(string)
		said, _ := msgs[1]["body"].(string)
		if msgs[0]["method"] != "POST" || !strings.Contains(asked, "redirect_uri=") && !strings.Contains(asked, "request=") || number != "" && !strings.Contains(asked, number) ||
			!strings.Contains(said, "urn:ietf:params:oauth:request_uri:") {
			t.Errorf("%s: the first messages are %v", method, msgs[:2])
		}
	}
}

// Somebody at the bank is quicker than the robot that waits.
func TestDecideRaceAtBank(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	id := begin(w, "idin", "")
	done := make(chan string, 1)
	go func() {
		status, out := ask(t, w, "POST", "/sessions/"+id+"/decide", `{"outcome":"approve after 15s"}`)
		done <- fmt.Sprint(status, " ", out["happened"])
	}()
	all := list(t, w, "/orders?eid=idin&state=open&wait=10s")
	if len(all) != 1 {
		t.Fatalf("orders = %v", all)
	}
	at, _ := all[0]["page"].(string)
	if status, _, body := newVisitor(t).see("POST", at, url.Values{"act": {"cancel"}}); status != 303 {
		t.Fatalf("cancel: %d %s", status, body)
	}
	if got := <-done; !strings.HasPrefix(got, "409 ") || !strings.Contains(got, "by:page of Currence Issuer") || !strings.Contains(got, "state:cancelled") {
		t.Errorf("the robot learns %s", got)
	}
}
