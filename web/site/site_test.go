package site_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/docs"
	"eidgate/web"
	"eidgate/web/site"
)

// A sandbox stands in for the one that server makes.
type sandbox struct {
	queue  []string
	faults []string
	logins []site.Login
}

func start(t *testing.T, b *sandbox, contact string) *http.ServeMux {
	t.Helper()
	static, err := web.NewStatic()
	if err != nil {
		t.Fatal(err)
	}
	c := site.Config{Static: static, Docs: docs.Files, Contact: contact}
	if b != nil {
		c.Sandbox = &site.Sandbox{Public: "http://localhost:9100", Demo: "http://localhost:9104", Tries: []site.Try{{Label: "Swedish BankID", URL: "http://localhost:9104/?method=sbid-another"}, {Label: "iDIN at a counter", URL: "http://localhost:9104/?method=idin&configid=counter"}}, Phone: "http://localhost:9103/phone",
			Control: "http://localhost:9103", Key: "the-key", Secret: "whsec_secret", Client: "the-client", ClientSecret: "its-secret", Version: "1.2.3",
			Recent: func() []site.Login { return b.logins },
			Queued: func() []string { return b.queue },
			Faults: func() []string { return b.faults },
			Forget: func() { b.queue = nil },
			Enqueue: func(o string) error {
				if !slices.Contains([]string{"cancel", "approve"}, o) {
					return errors.New("no")
				}
				b.queue = append(b.queue, o)
				return nil
			}}
	}
	s, err := site.New(c)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /static/", static)
	s.Register(mux)
	return mux
}

func get(t *testing.T, h http.Handler, path string) (status int, text string, header http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	raw, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(raw), w.Header()
}

func want(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		not, absent := strings.CutPrefix(w, "!")
		if strings.Contains(text, not) == absent {
			t.Errorf("%q in\n%s", w, text)
		}
	}
}

func TestStartPage(t *testing.T) {
	t.Parallel()
	b := &sandbox{queue: []string{"cancel", "fail:certificateErr"}, logins: []site.Login{
		{At: time.Date(2026, 1, 2, 12, 1, 7, 0, time.UTC), ID: "11111111-1111-4111-8111-111111111111", Ref: "7QK4-29XM", EID: "BankID SE", Outcome: "cancelled"}}}
	status, text, h := get(t, start(t, b, ""), "/")
	if status != http.StatusOK {
		t.Errorf("= %d", status)
	}
	want(t, text, `class="button" href="http://localhost:9104/?method=sbid-another"`, `class="button quiet" href="http://localhost:9104/?method=idin&amp;configid=counter"`, "the-key", "whsec_secret", "1.2.3", "12:01:07", "BankID SE", "cancelled",
		"/sandbox/v1/sessions/11111111-1111-4111-8111-111111111111/explain", "The next 2 logins: <strong>Cancel</strong>, <strong>Wrong code, three times</strong>",
		"!localhost:8700", "!localhost:8704", "http://localhost:9100/v2/eid/sbid-another")
	want(t, text, `<code>http://localhost:9100/auth/open/.well-known/openid-configuration</code>`, "<code>the-client</code>", "<code>its-secret</code>",
		`href="http://localhost:9104/oidc/login?iss=http%3a%2f%2flocalhost%3a9100%2fauth%2fopen"`)
	for _, lang := range []string{"curl", "Go", "JavaScript", "Python", "C#", "PHP"} {
		want(t, text, ">"+lang+"</label>")
	}
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
		want(t, h.Get("Content-Security-Policy"), part)
	}
	if _, text, _ := get(t, start(t, &sandbox{}, ""), "/"); !strings.Contains(text, "No login yet") || strings.Contains(text, "The next login") || strings.Contains(text, "Fault is on") {
		t.Errorf("an empty sandbox says\n%s", text)
	}
	if _, text, _ := get(t, start(t, &sandbox{faults: []string{"idin.rs delay 5s"}}, ""), "/recent"); !strings.Contains(text, `Fault is on: <strong>idin.rs delay 5s</strong>`) {
		t.Errorf("with a fault the page says\n%s", text)
	}
	if _, text, _ := get(t, start(t, b, ""), "/recent"); !strings.HasPrefix(strings.TrimSpace(text), `<p class="notice">`) || !strings.Contains(text, "BankID SE") {
		t.Errorf("what changes is\n%s", text)
	}
}

func TestNextLogin(t *testing.T) {
	t.Parallel()
	b := &sandbox{}
	mux := start(t, b, "")
	for _, c := range []struct {
		form   url.Values
		site   string
		status int
		queue  []string
	}{
		{url.Values{"outcome": {"cancel"}}, "same-origin", 303, []string{"cancel"}},
		{url.Values{"outcome": {"approve"}}, "", 303, []string{"cancel", "approve"}},
		{url.Values{"outcome": {"nonsense"}}, "same-origin", 400, []string{"cancel", "approve"}},
		{url.Values{"outcome": {"cancel"}}, "cross-site", 403, []string{"cancel", "approve"}},
		{url.Values{"outcome": {"cancel"}}, "same-site", 403, []string{"cancel", "approve"}},
		{url.Values{"forget": {"1"}}, "same-origin", 303, nil},
	} {
		r := httptest.NewRequest(http.MethodPost, "/next", strings.NewReader(c.form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", c.site)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != c.status || !slices.Equal(b.queue, c.queue) {
			t.Errorf("%v of %q: %d, queue %v; want %d, %v", c.form, c.site, w.Code, b.queue, c.status, c.queue)
		}
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	mux := start(t, nil, "help@example.com")
	_, text, _ := get(t, mux, "/")
	want(t, text, "help@example.com", "<h1>Nothing to see here</h1>", "!eidgate", "!SANDBOX", "!<script")
	_, text, _ = get(t, start(t, nil, ""), "/")
	want(t, text, "!Operator")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/next", nil))
	if status, _, _ := get(t, mux, "/recent"); status != http.StatusNotFound || w.Code == http.StatusSeeOther {
		t.Errorf("a live server has the sandbox's addresses: %d, %d", status, w.Code)
	}
	_, text, _ = get(t, mux, "/docs/start")
	want(t, text, "localhost:8700", "!SANDBOX")
}

// Every page is reached from the list, every link between pages leads to a
// page and a place on it, and every address that a page loads is here.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	t.Parallel()
	mux := start(t, &sandbox{}, "")
	link := regexp.MustCompile(`(href|src)="([^"]*)"`)
	seen := map[string]string{}
	var follow func(path, from string)
	follow = func(path, from string) {
		if _, ok := seen[path]; ok {
			return
		}
		status, text, _ := get(t, mux, path)
		seen[path] = text
		if status != http.StatusOK {
			t.Errorf("%s leads to %s: %d", from, path, status)
		}
		if n := strings.Count(text, "<h1"); n != 1 && strings.HasPrefix(text, "<!DOCTYPE") {
			t.Errorf("%s has %d first headings", path, n)
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, anchor, _ := strings.Cut(strings.ReplaceAll(m[2], "&amp;", "&"), "#")
			switch {
			case m[2] == "data:,", strings.HasPrefix(to, "http://localhost:"):
			case strings.HasPrefix(to, "http"):
				if m[1] == "src" || strings.Contains(m[0], "stylesheet") {
					t.Errorf("%s loads %s", path, to)
				}
			case to == "" || strings.HasPrefix(to, "/"):
				if to == "" {
					to = path
				}
				follow(to, path)
				if anchor != "" && !strings.Contains(seen[to], `id="`+anchor+`"`) {
					t.Errorf("%s leads to #%s, which %s does not have", path, anchor, to)
				}
			default:
				t.Errorf("%s has a link to %s, which is no page", path, to)
			}
		}
	}
	follow("/", "")
	follow("/docs/errors/INVALID_APPID", "")
	for _, must := range []string{"/docs", "/docs/start", "/docs/errors", "/docs/errors-oidc", "/docs/apis/zignsec", "/docs/apis/oidc", "/docs/decisions/0001-record-decisions"} {
		if _, ok := seen[must]; !ok {
			t.Errorf("no way leads to %s", must)
		}
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	mux := start(t, &sandbox{}, "")
	_, text, _ := get(t, mux, "/docs/start")
	want(t, text, `<h1 id="first-login-from-your-own-program">`, "http://localhost:9104/", `<pre tabindex="0"><code class="language-go">`, `<a href="/docs/errors">`,
		`aria-current="page">First login`, "!localhost:8700", "<th>State</th>")
	_, text, _ = get(t, mux, "/docs/errors/INVALID_TARGET")
	want(t, text, "<h1 id=\"invalid_target\">INVALID_TARGET</h1>", "What to do.", "!INVALID_WEBHOOK", `<a href="/docs/errors">`)
	_, text, _ = get(t, mux, "/docs/errors/InternalException")
	want(t, text, ">Internal Exception</h1>")
	for _, list := range []string{"errors", "errors-oidc"} {
		raw, err := docs.Files.ReadFile(list + ".md")
		if err != nil {
			t.Fatal(err)
		}
		codes := regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(string(raw), -1)
		if len(codes) < 10 {
			t.Errorf("%s has %d codes", list, len(codes))
		}
		for _, m := range codes { // terminal and header name pages without blanks
			status, text, _ := get(t, mux, "/docs/errors/"+strings.ReplaceAll(m[1], " ", ""))
			if status != http.StatusOK || !strings.Contains(text, ">"+m[1]+"</h1>") || !strings.Contains(text, `<a href="/docs/`+list+`">`) {
				t.Errorf("%s of %s has no page: %d", m[1], list, status)
			}
		}
	}
	for path, status := range map[string]int{"/docs/errors/NO_SUCH": 404, "/docs/nothing": 404, "/docs/start.md": 301, "/docs/docs.go": 404, "/docs/": 200} {
		if got, text, _ := get(t, mux, path); got != status {
			t.Errorf("%s = %d, want %d\n%s", path, got, status, text)
		}
	}
}
