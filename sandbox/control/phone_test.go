package control_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

func readDocs(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// press posts a form of the phone and shows the page that follows.
func (b *box) press(form url.Values) (at string, page string) {
	b.t.Helper()
	res, raw := b.send("POST", "/phone", form.Encode(), "Content-Type: application/x-www-form-urlencoded")
	if res.StatusCode != 303 {
		b.t.Fatalf("%v: %d %s", form, res.StatusCode, raw)
	}
	at = res.Header.Get("Location")
	if !strings.HasPrefix(at, "/phone?") {
		return at, ""
	}
	_, page = b.send("GET", at, "")
	return at, page
}

var tag = regexp.MustCompile(`<[^>]*>`)

// shows says whether a page has each of some texts.
func shows(t *testing.T, page string, want ...string) {
	t.Helper()
	plain := html.UnescapeString(tag.ReplaceAllString(page, " "))
	for _, w := range want {
		if !strings.Contains(page, w) && !strings.Contains(plain, w) {
			t.Errorf("the page lacks %q:\n%s", w, plain)
		}
	}
}

// A person scans, approves, and is told so, with nothing but forms.
func TestPhoneWithoutScripts(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, page := b.send("GET", "/phone", "")
	shows(t, page, "Phone of ada", "Nothing waits", "No code is on a screen", `data-testid="refresh"`)
	ref, _ := b.start(`{"endUserIp":"::1","userVisibleData":"TG9nIGluIDxub3c+","returnUrl":"https://shop.example/back"}`)
	_, page = b.send("GET", "/phone?person=bo", "")
	shows(t, page, "Phone of bo", "Codes on a screen right now", "30 s left", `data-testid="scan"`, ref)
	at, page := b.press(url.Values{"person": {"bo"}, "ref": {ref}, "event": {"scan"}, "network": {"other"}})
	shows(t, page, "wants to know who you are", "Log in <now>", "pending / userSign", "180 s left", `data-testid="approve"`)
	if !strings.Contains(at, "network=other") {
		t.Errorf("the phone forgets its network: %s", at)
	}
	_, page = b.press(url.Values{"person": {"bo"}, "ref": {ref}, "event": {"approve"}, "pin": {"654321"}})
	shows(t, page, "Wrong code; the simulated one is 123456 (2 tries left).", `data-testid="approve"`)
	_, page = b.press(url.Values{"person": {"bo"}, "ref": {ref}, "event": {"approve"}, "pin": {"123456"}, "network": {"other"}})
	shows(t, page, "Approved", "complete, at the next collect, once", "ended by", "phone")
	b.call(200, "GET", "/orders/"+ref, "", `"ipAddress":"198.51.100.7"`, `"by":"phone"`)
	_, page = b.press(url.Values{"person": {"bo"}, "ref": {ref}, "event": {"cancel"}})
	shows(t, page, "The order has ended.")
}

// The app's link opens its order; the app goes back when it is done.
func TestPhoneByLink(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	ref, token := b.start(`{"endUserIp":"::1","returnUrl":"https://shop.example/back#nonce=1","requirement":{"personalNumber":"199001032391"}}`)
	link := "/phone?autostarttoken=" + token + "&redirect=null"
	_, page := b.send("GET", link, "")
	shows(t, page, "Phone of bo", "pending / userSign")
	_, page = b.send("GET", link, "") // loaded again
	shows(t, page, "pending / userSign")
	if strings.Contains(page, `role="alert"`) {
		t.Error("loading the page again is a mistake")
	}
	if at, _ := b.press(url.Values{"person": {"bo"}, "ref": {ref}, "event": {"approve"}}); at != "https://shop.example/back#nonce=1" {
		t.Errorf("the app goes to %s", at)
	}
	_, page = b.send("GET", "/phone?autostarttoken=x", "")
	shows(t, page, `role="alert"`, "There is no such order")
	_, token = b.start(`{"endUserIp":"::1","returnUrl":"javascript:alert(1)"}`)
	b.send("GET", "/phone?person=ada&autostarttoken="+token, "")
	_, page = b.send("GET", "/phone?person=ada", "")
	shows(t, page, "pending / userSign") // the only one that waits is open
	ref = regexp.MustCompile(`name="ref" value="([0-9a-f-]+)"`).FindStringSubmatch(page)[1]
	if at, _ := b.press(url.Values{"person": {"ada"}, "ref": {ref}, "event": {"approve"}}); !strings.HasPrefix(at, "/phone?") {
		t.Errorf("the app goes to %s", at)
	}
}

// A link to an order keeps whose phone it is, and its options.
func TestPhoneOpensAnOrder(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	ref, token := b.start(`{"endUserIp":"::1"}`)
	b.send("GET", "/phone?person=bo&autostarttoken="+token, "")
	_, page := b.send("GET", "/phone?person=bo&network=other", "")
	link := regexp.MustCompile(`href="(/phone\?[^"]*)" data-testid="open-order"`).FindStringSubmatch(page)
	if link == nil {
		t.Fatalf("no order waits:\n%s", page)
	}
	_, page = b.send("GET", html.UnescapeString(link[1]), "")
	shows(t, page, "Phone of bo", ref, `<option value="other" selected>`)
	b.call(200, "POST", "/orders/"+ref+"/events", `{"event":"cancel"}`)
	_, page = b.send("GET", "/phone?person=bo&ref="+ref, "")
	closing := regexp.MustCompile(`href="(/phone\?[^"]*)" data-testid="close"`).FindStringSubmatch(page)
	if closing == nil {
		t.Fatalf("an order that has ended cannot be closed:\n%s", page)
	}
	_, page = b.send("GET", html.UnescapeString(closing[1]), "")
	shows(t, page, "Phone of bo")
}

// Every button of the page does what its call does.
func TestPhoneButtons(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	ref, _ := b.start(`{"endUserIp":"::1"}`)
	_, page := b.press(url.Values{"person": {"ada"}, "ref": {ref}, "event": {"scan"}})
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`name="event" value="([^"]+)" data-testid="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		event, id := m[1], m[2]
		if seen[id] {
			t.Errorf("two controls are called %s", id)
		}
		seen[id] = true
		if !strings.Contains(page, "&#34;event&#34;:&#34;"+event+"&#34;") && event != "give" {
			t.Errorf("%s is not shown as curl", event)
		}
		ref, _ := b.start(`{"endUserIp":"::1","returnRisk":true}`)
		b.press(url.Values{"person": {"ada"}, "ref": {ref}, "event": {"scan"}})
		form := url.Values{"person": {"ada"}, "ref": {ref}, "event": {event}, "other": {"bo"}, "risk": {"high"}}
		b.press(form)
		raw := b.call(200, "GET", "/orders/"+ref, "")
		word, hint, _ := strings.Cut(event, ":")
		want := map[string]string{"approve": `"risk":"high"`, "cancel": `"hint":"userCancel"`, "expire": `"hint":"expiredTransaction"`, "give": `"person":"bo"`,
			"fail": `"state":"failed","hint":"` + hint + `"`, "hint": `"hint":"` + hint + `"`}[word]
		if want == "" || !strings.Contains(raw, want) {
			t.Errorf("%s: %s, want %s", event, raw, want)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d buttons", len(seen))
	}
	b.call(200, "DELETE", "/faults", "")
}

func TestPhoneModesAndOptions(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for mode, want := range map[string]string{"ask": "asks", "auto": "approve after 7s", "usual": "cancels"} {
		b.press(url.Values{"person": {"cancels"}, "mode": {mode}, "after": {"7"}})
		b.call(200, "GET", "/people/cancels", "", `"behaviour":"`+want+`"`)
	}
	_, page := b.press(url.Values{"person": {"ada"}, "mode": {"auto"}, "after": {"soon"}})
	shows(t, page, `role="alert"`)
	_, page = b.press(url.Values{"person": {"ada"}, "mode": {"auto"}, "after": {"9"}})
	shows(t, page, "Saved.", `value="9"`)
	ref, _ := b.start(`{"endUserIp":"::1"}`)
	_, page = b.press(url.Values{"person": {"ada"}, "ref": {ref}, "event": {"scan"}, "version": {"old"}})
	shows(t, page, "failed / notSupportedByUserApp")
	ref, _ = b.start(`{"endUserIp":"::1"}`)
	_, page = b.press(url.Values{"person": {"ada"}, "ref": {ref}, "event": {"scan"}, "kind": {"card"}})
	shows(t, page, "no BankID that can be used here", "pending / started")
	_, page = b.press(url.Values{"person": {"ada"}, "code": {"bankid.x"}})
	shows(t, page, "This is no BankID code of this service.")
	b.call(200, "POST", "/faults", `{"target":"bankidse","kind":"http","value":"503","times":2}`)
	_, page = b.send("GET", "/phone?person=nobody", "")
	shows(t, page, "Fault is on:", "http 503, 2 times", "Nobody has the key")
}

// The page runs nothing of its own making, and listens until it is told to
// stop.
func TestPhoneHeadersAndEvents(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	res, page := b.send("GET", "/phone", "")
	csp := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %s", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(page, "style=") || regexp.MustCompile(`<script[^>]*>[^<]|\son\w+=|http-equiv`).MatchString(page) {
		t.Error("something stands in the page itself")
	}
	for _, path := range []string{"/phone.css", "/phone.js"} {
		if res, raw := b.send("GET", path, ""); res.StatusCode != 200 || strings.Contains(raw, "http://") || strings.Contains(raw, "https://") {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.at+"/phone/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewReader(stream.Body)
	last := ""
	next := func(what string) {
		t.Helper()
		line, err := lines.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "data: ") || line == last {
			t.Fatalf("%s: %q after %q, %v", what, line, last, err)
		}
		last = line
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	next("the beginning")
	b.start(`{"endUserIp":"::1"}`)
	next("an order")
	b.clock.Advance(30 * time.Second)
	next("its end by the clock")
	b.call(200, "POST", "/faults", `{"target":"bankidse","kind":"reset"}`)
	next("a fault")
	if got := stream.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("the stream is %s", fmt.Sprint(got))
	}
}
