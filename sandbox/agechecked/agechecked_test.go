package agechecked_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/agechecked"
)

// A service is a simulator on a socket, with one merchant.
type service struct {
	*agechecked.Simulator
	clock     *sandbox.Clock
	decisions *sandbox.Decisions
	faults    *sandbox.Faults
	url       string
	shop      agechecked.Credentials
	browser   *http.Client
	t         *testing.T
}

func newService(t *testing.T, auto sandbox.Outcome) *service {
	t.Helper()
	s := &service{clock: sandbox.NewClock(true), faults: sandbox.NewFaults(1), t: t}
	people := sandbox.NewPeople()
	s.decisions = sandbox.NewDecisions(people, auto)
	s.Simulator = agechecked.New(agechecked.Config{Clock: s.clock, People: people, Decisions: s.decisions, Faults: s.faults, Base: func() string { return s.url }})
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	s.url = srv.URL
	s.shop = s.Merchant("Wine <shop>")
	s.browser = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s
}

type view struct {
	status   int
	to, body string
	header   http.Header
}

func (s *service) seen(res *http.Response, err error) view {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.Header.Get("X-Eidgate-Sandbox") != "1" {
		s.t.Error("an answer without the sandbox's header")
	}
	return view{res.StatusCode, res.Header.Get("Location"), string(raw), res.Header}
}

func (s *service) get(at string) view {
	s.t.Helper()
	res, err := s.browser.Get(at)
	return s.seen(res, err)
}

func (s *service) press(page, status string) view {
	s.t.Helper()
	res, err := s.browser.PostForm(page, url.Values{"status": {status}})
	return s.seen(res, err)
}

const back = "https://shop.example/back?o=1"

// start makes a check; fields replace those of a good request.
func (s *service) start(fields ...string) (id int64, page, code string) {
	s.t.Helper()
	in := map[string]string{"merchantSecretKey": s.shop.SecretKey, "countrycode": "NL", "reference": "r1", "returnurl": back}
	for i := 0; i+1 < len(fields); i += 2 {
		in[fields[i]] = fields[i+1]
	}
	raw, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.Post(s.shop.Base+"/acapiremote/ac0130", "application/json", strings.NewReader(string(raw)))
	v := s.seen(res, err)
	var out struct {
		URL   string
		State struct {
			ID     int64 `json:"agecheckid"`
			Status int
		} `json:"avstatus"`
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(v.body), &out); err != nil || (out.URL == "") == (out.Error.Code == "") || out.State.Status != 0 {
		s.t.Errorf("start: %s", v.body)
	}
	return out.State.ID, out.URL, out.Error.Code
}

// check asks how a check stands.
func (s *service) check(id int64) (status int, verified, fault string) {
	s.t.Helper()
	v := s.get(s.shop.Base + "/jsonapi/getagecheck?merchantkey=" + s.shop.SecretKey + "&agecheckid=" + strconv.FormatInt(id, 10))
	var out struct {
		Status   int    `json:"status"`
		ID       int64  `json:"agecheckid"`
		Verified string `json:"ageverifiedid"`
		Error    string
	}
	if err := json.Unmarshal([]byte(v.body), &out); err != nil || out.Error == "" && out.ID != id {
		s.t.Errorf("check: %s", v.body)
	}
	return out.Status, out.Verified, out.Error
}

// Each button of the page leads to its status, and only approvals have an id
// of what was verified.
func TestButtons(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for i, n := range []int{3, 4, 5, 6, 7, 8, 9, 10, 12, 17} {
		id, page, _ := s.start()
		if id != int64(1255120+i) {
			t.Errorf("number %d", id)
		}
		if status, _, _ := s.check(id); status != 0 {
			t.Errorf("at first: %d", status)
		}
		shown := s.get(page)
		for _, part := range []string{`data-testid="status-` + strconv.Itoa(n) + `"`, "Wine &lt;shop&gt;", `data-testid="banner"`} {
			if !strings.Contains(shown.body, part) {
				t.Errorf("the page lacks %s", part)
			}
		}
		if strings.Contains(shown.body, "<script") || !strings.Contains(shown.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Error("the page may run a script")
		}
		want := back + "&agecheckid=" + strconv.FormatInt(id, 10)
		if v := s.press(page, strconv.Itoa(n)); v.status != http.StatusSeeOther || v.to != want {
			t.Errorf("%d: %d to %s, want %s", n, v.status, v.to, want)
		}
		s.press(page, "6") // what happened first stands
		status, verified, _ := s.check(id)
		if approved := n == 6 || n == 7; status != n || approved != (len(verified) == 36) {
			t.Errorf("%d: told %d, %q", n, status, verified)
		}
		if v := s.get(page); v.to != want {
			t.Errorf("%d, page again: %+v", n, v)
		}
	}
	id, page, _ := s.start()
	if v := s.press(page, "pending"); v.status != http.StatusSeeOther {
		t.Errorf("pending: %+v", v)
	}
	if status, _, _ := s.check(id); status != 0 {
		t.Errorf("pending: told %d", status)
	}
	if v := s.press(page, "11"); v.status != http.StatusBadRequest {
		t.Errorf("no button: %d", v.status)
	}
	if v := s.get(s.url + "/agechecked/check/none"); v.status != http.StatusNotFound {
		t.Errorf("no check: %d", v.status)
	}
}

// What the ladder says happens when the page is opened.
func TestLadder(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, v := range []struct {
		outcome sandbox.Outcome
		person  string
		want    int
		returns bool
		refused string
	}{
		{"approve", "", 6, true, ""}, {"approve", "vries", 6, true, ""}, {"approve", "jong", 17, true, ""}, {"approve", "grens", 6, true, ""},
		{"cancel", "", 3, true, ""}, {"decline", "", 17, true, ""}, {"fail:4", "", 4, true, ""}, {"fail:5", "", 5, true, ""}, {"fail:8", "", 8, true, ""},
		{"fail:12", "", 12, true, ""}, {"fail:11", "", 0, false, ""}, {"expire", "", 0, false, ""}, {"ignore", "", 0, false, ""},
		{"fail:Maintenance", "", 0, false, "Maintenance"},
	} {
		s.decisions.Enqueue(sandbox.Queued{Outcome: v.outcome, Person: v.person, Match: sandbox.Match{EID: "idinage"}})
		id, page, code := s.start()
		if code != v.refused {
			t.Errorf("%s: start %q", v.outcome, code)
		}
		if v.refused != "" {
			continue
		}
		for range 2 {
			if got := s.get(page); (got.status == http.StatusSeeOther) != v.returns {
				t.Errorf("%s: page %d", v.outcome, got.status)
			}
		}
		if status, _, _ := s.check(id); status != v.want {
			t.Errorf("%s: told %d, want %d", v.outcome, status, v.want)
		}
	}
	s.decisions.Enqueue(sandbox.Queued{Outcome: "cancel after 2s"})
	id, page, _ := s.start()
	if v := s.get(page); v.header.Get("Refresh") != "2" {
		t.Errorf("put off: %+v", v)
	}
	s.clock.Advance(2 * time.Second)
	s.get(page)
	if status, _, _ := s.check(id); status != 3 {
		t.Errorf("put off: told %d", status)
	}
}

// What is wrong with a call is said in the manner of the method.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, v := range []struct{ field, value, want string }{
		{"merchantSecretKey", "x", "InvalidMerchantKey"}, {"merchantSecretKey", "", "InvalidMerchantKey"}, {"countrycode", "DE", "InvalidCountry"},
		{"returnurl", "", "InvalidReturnUrl"}, {"returnurl", "javascript:alert(1)", "InvalidReturnUrl"}, {"reference", strings.Repeat("a", 101), "InvalidReference"},
	} {
		if _, _, code := s.start(v.field, v.value); code != v.want {
			t.Errorf("%s %q: %q, want %q", v.field, v.value, code, v.want)
		}
	}
	id, _, _ := s.start()
	if _, _, fault := s.check(id + 1); fault != "AgeCheckNotFound" {
		t.Errorf("no such check: %q", fault)
	}
	s.shop = s.Merchant("Another")
	if _, _, fault := s.check(id); fault != "AgeCheckNotFound" {
		t.Errorf("another's check: %q", fault)
	}
	s.faults.Add(sandbox.Fault{Target: "agechecked", Kind: "error", Value: "Busy", Times: 2})
	if _, _, code := s.start(); code != "Busy" {
		t.Errorf("fault: %q", code)
	}
	if _, _, fault := s.check(id); fault != "Busy" {
		t.Errorf("fault: %q", fault)
	}
	if v := s.get(s.shop.Base + "/jsapi/getjavascript"); v.status != http.StatusNotImplemented {
		t.Errorf("what is not simulated: %d", v.status)
	}
	for target, kinds := range agechecked.Faults() {
		f := sandbox.Fault{Target: target, Kind: "http", Value: "503", Times: 1}
		if err := f.Check(kinds); err != nil {
			t.Error(err)
		}
		s.faults.Add(f)
		if v := s.get(s.shop.Base + "/jsonapi/getagecheck"); v.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", target, v.status)
		}
	}
}

// The control API sees checks and acts on them, once; no secret is shown.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for event, want := range map[string]int{"approve": 6, "cancel": 3, "decline": 17, "fail:9": 9, "fail:x": 4, "open": 0, "expire": 0} {
		id, _, _ := s.start()
		ref := strconv.FormatInt(id, 10)
		o, err := s.Do(ref, sandbox.Act{Event: event})
		if err != nil || o.Ref != ref || o.Pending != (want == 0) {
			t.Errorf("%s: %+v, %v", event, o, err)
		}
		if status, _, _ := s.check(id); status != want {
			t.Errorf("%s: told %d, want %d", event, status, want)
		}
		if _, err := s.Do(ref, sandbox.Act{Event: "approve"}); errors.Is(err, sandbox.ErrEnded) != (want != 0) {
			t.Errorf("%s, then approve: %v", event, err)
		}
		o, err = s.Order(ref)
		if raw, bad := json.Marshal(o); err != nil || bad != nil || strings.Contains(string(raw), s.shop.SecretKey) || !strings.Contains(o.Asked, "countrycode") {
			t.Errorf("%s: %s, %v", event, raw, err)
		}
	}
	for ref, event := range map[string]string{"1": "approve", "x": "approve"} {
		if _, err := s.Do(ref, sandbox.Act{Event: event}); !errors.Is(err, sandbox.ErrNoOrder) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	id, _, _ := s.start()
	if _, err := s.Do(strconv.FormatInt(id, 10), sandbox.Act{Event: "sing"}); !errors.Is(err, sandbox.ErrEvent) {
		t.Errorf("no event: %v", err)
	}
	if n, all := len(s.Orders(false)), len(s.Orders(true)); n != 1 || all != 8 {
		t.Errorf("%d wait, %d there are", n, all)
	}
	s.Clear()
	if len(s.Orders(true)) != 0 {
		t.Error("a reset keeps checks")
	}
	if next, _, _ := s.start(); next != id+1 {
		t.Errorf("after a reset the number is %d", next)
	}
}

// The page of the sandbox says what is here.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range agechecked.Fidelity() {
		if !strings.Contains(string(text), "| "+f.What+" | "+f.State+" | "+f.Because+" |") {
			t.Errorf("docs/sandbox.md lacks %s: %s %s", f.What, f.State, f.Because)
		}
	}
}
