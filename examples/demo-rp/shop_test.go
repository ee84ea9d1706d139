package demorp_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	demorp "eidgate/examples/demo-rp"
)

const (
	key    = "5a4db0c5-0000-4000-8000-0000000000ff"
	secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	id     = "11111111-1111-4111-8111-111111111111"
)

// A stage is the shop, an eidgate that answers as it is told, and a browser.
type stage struct {
	t       *testing.T
	shop    string
	broker  string
	answer  string // to GET /v2/eid/{id}
	setup   url.Values
	refuse  bool
	browser *http.Client
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, browser: newBrowser(t), answer: `{"id":"` + id + `","errors":[],"result":{"identity":{"state":"FINISHED"}},"binding":"strong",` +
		`"identity":{"FullName":"Ada <b>Test","PersonalNumber":"199001012385","DateOfBirth":"1990-01-01"}}`}
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != key || s.refuse:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"id":"x","errors":[{"code":"INVALID_APPID","description":"unknown"}],"redirect_url":null}`)
		case r.Method == http.MethodPost:
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			s.setup = r.PostForm
			s.setup.Set("method", r.URL.Path)
			fmt.Fprintf(w, `{"id":"%s","errors":[],"redirect_url":"%s/page"}`, id, s.broker)
		default:
			fmt.Fprint(w, s.answer)
		}
	}))
	t.Cleanup(broker.Close)
	s.broker = broker.URL
	server := httptest.NewUnstartedServer(nil)
	s.shop = "http://" + server.Listener.Addr().String()
	server.Config.Handler = (&demorp.Shop{Broker: broker.URL, Key: key, Secret: secret, Self: s.shop}).Handler()
	server.Start()
	t.Cleanup(server.Close)
	return s
}

// newBrowser keeps cookies and shows where it is sent.
func newBrowser(t *testing.T) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (s *stage) get(b *http.Client, path string) (status int, to, text string) {
	s.t.Helper()
	res, err := b.Get(s.shop + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Location"), html.UnescapeString(string(raw))
}

// login presses the button.
func (s *stage) login(form url.Values) (to string) {
	s.t.Helper()
	res, err := s.browser.PostForm(s.shop+"/login", form)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("POST /login = %s", res.Status)
	}
	return res.Header.Get("Location")
}

// hook sends a webhook, signed as eidgate does; spoil may change it.
func (s *stage) hook(id string, at time.Time, body string, spoil func(http.Header)) (status int) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.shop+"/hook", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	stamp := fmt.Sprint(at.Unix())
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", "v1,AAAA v1,"+base64.StdEncoding.EncodeToString(sum("0123456789abcdef0123456789abcdef", id+"."+stamp+"."+body)))
	req.Header.Set("X-ZignSec-Hmac-SHA256", hex.EncodeToString(sum(key, body)))
	if spoil != nil {
		spoil(req.Header)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func sum(key, text string) []byte {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(text))
	return m.Sum(nil)
}

func (s *stage) shows(b *http.Client, words ...string) {
	s.t.Helper()
	_, _, text := s.get(b, "/")
	for _, w := range words {
		not, absent := strings.CutPrefix(w, "!")
		if strings.Contains(text, not) == absent {
			s.t.Errorf("%q: the page says\n%s", w, text)
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if to := s.login(url.Values{"method": {"sbid-another"}, "act": {"login"}, "language": {"sv"}, "personalnumber": {"19900101-2385"}}); to != s.broker+"/page" {
		t.Errorf("sent to %s", to)
	}
	state := s.setup.Get("relaystate")
	for name, want := range map[string]string{"method": "/v2/eid/sbid-another", "target": s.shop + "/done", "webhook": s.shop + "/hook", "language": "sv", "personalnumber": "199001012385"} {
		if got := s.setup.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if len(state) < 20 {
		t.Errorf("relaystate = %q", state)
	}
	s.shows(s.browser, "A login has begun", "not yet", "!Ada")
	if status, to, _ := s.get(s.browser, "/done?relaystate="+state); status != http.StatusSeeOther || to != "/#result" {
		t.Errorf("return = %d to %s", status, to)
	}
	s.shows(s.browser, "Welcome, Ada <b>Test", "GET /v2/eid/"+id, "--data-urlencode 'relaystate="+state+"'", "on its way", "!>no<", "!"+key)
	if status := s.hook("msg_1", time.Now(), s.answer, nil); status != http.StatusNoContent {
		t.Errorf("webhook = %d", status)
	}
	s.shows(s.browser, "webhook POST /hook", "-H 'Webhook-Id: msg_1'", "!on its way", "!not yet")
	s.shows(newBrowser(t), "!Ada", "!"+state, "!Checks that")
}

func TestReturnOfAnotherBrowser(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login(url.Values{"method": {"sbid"}})
	for name, c := range map[string]struct {
		browser *http.Client
		query   string
	}{
		"no cookie":      {newBrowser(t), "relaystate=" + s.setup.Get("relaystate")},
		"no state":       {s.browser, ""},
		"empty state":    {s.browser, "relaystate=&token="},
		"another state":  {s.browser, "relaystate=AAAA"},
		"another's id":   {newBrowser(t), "token=" + id},
		"id as a state":  {s.browser, "relaystate=" + id},
		"state as an id": {s.browser, "token=" + s.setup.Get("relaystate")},
	} {
		status, _, text := s.get(c.browser, "/done?"+c.query)
		if status != http.StatusForbidden || !strings.Contains(text, "does not belong") || strings.Contains(text, "Ada") {
			t.Errorf("%s: %d\n%s", name, status, text)
		}
	}
	if status, _, _ := s.get(s.browser, "/done?token="+id); status != http.StatusSeeOther {
		t.Errorf("the page that heard the message: %d", status)
	}
}

func TestChecksThatFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ answer, want string }{
		"another session": {`{"id":"x","errors":[],"result":{"identity":{"state":"FINISHED"}},"identity":{"FullName":"Mallory"}}`, "!Welcome"},
		"another person":  {`{"id":"` + id + `","errors":[],"result":{"identity":{"state":"FINISHED"}},"identity":{"PersonalNumber":"199001032391"}}`, "<strong>no</strong><span>The person"},
		"pending":         {`{"id":"` + id + `","errors":[],"result":{"identity":{"state":"PENDING"}}}`, "not ended yet"},
		"failed": {`{"id":"` + id + `","errors":[{"code":"USER_CANCEL","description":"Action cancelled"}],"result":{"identity":{"state":"ERROR"}}}`,
			"/docs/errors/USER_CANCEL"},
		"garbage": {"<html>", "A login has begun"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.answer = c.answer
			s.login(url.Values{"method": {"sbid"}, "personalnumber": {"199001012385"}})
			s.get(s.browser, "/done?relaystate="+s.setup.Get("relaystate"))
			s.shows(s.browser, c.want)
		})
	}
	s := newStage(t)
	s.refuse = true
	if to := s.login(url.Values{"method": {"sbid"}}); to != "/#result" {
		t.Errorf("a refused setup leads to %s", to)
	}
	s.shows(s.browser, "did not start", "INVALID_APPID", "!Checks that")
}

// An answer that came is not a yes.
func TestAge(t *testing.T) {
	t.Parallel()
	const not = "<strong>no</strong><span>AgeApproved"
	for answer, want := range map[string][]string{
		`{"AgeApproved":true}`:  {"An answer about your age", "18 or older</dt><dd>yes", "!" + not, "!Personal number</dt>"},
		`{"AgeApproved":false}`: {"An answer about your age", "18 or older</dt><dd>no", not},
		`{}`:                    {"!18 or older</dt>", not},
		`null`:                  {not},
	} {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.answer = `{"id":"` + id + `","errors":[],"result":{"identity":{"state":"FINISHED"}},"binding":"strong","identity":` + answer + `}`
			s.login(url.Values{"method": {"idin_age"}, "configid": {"agechecked"}})
			if got := s.setup.Get("method") + " " + s.setup.Get("configid"); got != "/v2/eid/idin_age agechecked" {
				t.Errorf("setup = %s", got)
			}
			s.get(s.browser, "/done?relaystate="+s.setup.Get("relaystate"))
			s.shows(s.browser, want...)
		})
	}
	s := newStage(t)
	s.login(url.Values{"method": {"idin"}})
	if s.setup.Has("configid") {
		t.Errorf("a configuration that nobody chose: %v", s.setup)
	}
	if _, _, text := s.get(s.browser, "/?method=idin&configid=counter"); !strings.Contains(text, `value="idin" selected`) || !strings.Contains(text, `value="counter" selected`) {
		t.Errorf("what a link asks for is not chosen:\n%s", text)
	}
}

func TestSign(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login(url.Values{"method": {"sbid"}, "act": {"sign"}})
	text, err := base64.StdEncoding.DecodeString(s.setup.Get("userVisibleData"))
	if err != nil || !strings.Contains(string(text), "lamp") || s.setup.Get("method") != "/v2/eid/sbid-sign" || s.setup.Get("personalnumber") == "" {
		t.Errorf("setup = %v, %v", s.setup, err)
	}
}

func TestFrame(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	to := s.login(url.Values{"method": {"sbid"}, "open": {"frame"}})
	_, _, text := s.get(s.browser, to)
	if !strings.Contains(text, `<iframe src="`+s.broker+`/page"`) {
		t.Errorf("%s shows\n%s", to, text)
	}
	if status, _, _ := s.get(newBrowser(t), to); status != http.StatusForbidden {
		t.Errorf("another browser's frame = %d", status)
	}
	req, err := http.NewRequest(http.MethodGet, s.shop+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Dest", "iframe")
	res, err := s.browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(raw), `target="_top"`) || strings.Contains(string(raw), "<form") {
		t.Errorf("inside the frame: %v\n%s", err, raw)
	}
	csp := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-src 'self' " + s.broker, "form-action 'self' " + s.broker, "frame-ancestors 'self'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("%q is not in %s", want, csp)
		}
	}
}

func TestWebhooksThatAreRefused(t *testing.T) {
	t.Parallel()
	set := func(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
	for name, c := range map[string]struct {
		at    time.Duration
		spoil func(http.Header)
		say   string
	}{
		"no signature":         {0, func(h http.Header) { h.Del("Webhook-Signature") }, "Not true: webhook-signature"},
		"another id":           {0, set("Webhook-Id", "msg_2"), "Not true: webhook-signature"},
		"another time":         {0, set("Webhook-Timestamp", "1"), "Not true: webhook-signature"},
		"no time":              {0, set("Webhook-Timestamp", ""), "Not true: webhook-signature"},
		"signature of no key":  {0, set("Webhook-Signature", "v1,"), "Not true: webhook-signature"},
		"older one is missing": {0, func(h http.Header) { h.Del("X-ZignSec-Hmac-SHA256") }, "Not true: X-ZignSec-Hmac-SHA256"},
		"older one is wrong":   {0, set("X-ZignSec-Hmac-SHA256", strings.Repeat("0", 64)), "Not true: X-ZignSec-Hmac-SHA256"},
		"too old":              {-6 * time.Minute, nil, "Not true: webhook-timestamp"},
		"from the future":      {6 * time.Minute, nil, "Not true: webhook-timestamp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.login(url.Values{"method": {"sbid"}})
			if status := s.hook("msg_1", time.Now().Add(c.at), s.answer, c.spoil); status != http.StatusUnauthorized {
				t.Errorf("= %d", status)
			}
			s.shows(s.browser, c.say, "!webhook POST", "!Ada")
			if status := s.hook("msg_1", time.Now(), s.answer, nil); status != http.StatusNoContent {
				t.Errorf("the genuine one = %d", status)
			}
			s.shows(s.browser, "webhook POST")
		})
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login(url.Values{"method": {"sbid"}})
	at := time.Now()
	for range 2 {
		if status := s.hook("msg_1", at, s.answer, nil); status != http.StatusNoContent {
			t.Errorf("= %d", status)
		}
	}
	_, _, text := s.get(s.browser, "/")
	if n := strings.Count(text, "webhook POST /hook"); n != 1 || !strings.Contains(text, "A repeat of a message") {
		t.Errorf("used %d times\n%s", n, text)
	}
	s.hook("msg_2", at, `{"id":"22222222-2222-4222-8222-222222222222"}`, nil)
	s.shows(s.browser, "about no login that this shop knows")
}

// The shop keeps what it knows in memory, and not more than it can use.
func TestBounds(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login(url.Values{"method": {"sbid"}})
	first := s.setup.Get("relaystate")
	mine := s.browser
	for range 100 {
		s.browser = newBrowser(t)
		s.login(url.Values{"method": {"sbid"}})
	}
	if status, _, _ := s.get(mine, "/done?relaystate="+first); status != http.StatusForbidden {
		t.Errorf("the first of 101 logins = %d", status)
	}
	for range 20 {
		s.hook("msg_1", time.Now(), "{}", func(h http.Header) { h.Del("Webhook-Signature") })
	}
	if _, _, text := s.get(mine, "/"); strings.Count(text, "Not true: ") != 10 {
		t.Errorf("refusals\n%s", text)
	}
	if status := s.hook("msg_1", time.Now(), strings.Repeat("a", 1<<20+1), nil); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a megabyte and one = %d", status)
	}
}

func TestOtherSites(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	req, err := http.NewRequest(http.MethodPost, s.shop+"/login", strings.NewReader("method=sbid"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := s.browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden || s.setup != nil {
		t.Errorf("another site's form = %s", res.Status)
	}
	res, err = http.Get(strings.Replace(s.shop, "127.0.0.1", "localhost", 1) + "/?method=se")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Request.URL.String(); got != s.shop+"/?method=se" {
		t.Errorf("by another name it shows %s", got)
	}
}
