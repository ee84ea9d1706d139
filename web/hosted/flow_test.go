package hosted_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/test/rig"
)

// A visitor is a browser on a session's page, without scripts.
type visitor struct {
	t    *testing.T
	c    *http.Client
	page string // the page's address
	w    string // "?w=..." of a browser without cookies
}

type reply struct {
	status int
	header http.Header
	body   string
}

func visit(t *testing.T, page string, cookies bool) *visitor {
	t.Helper()
	v := &visitor{t: t, page: page, c: &http.Client{Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if cookies {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		v.c.Jar = jar
	}
	return v
}

func (v *visitor) do(method, rest string, form url.Values) reply {
	v.t.Helper()
	if !strings.Contains(rest, "?") {
		rest += v.w
	}
	at := v.page + rest
	if strings.HasPrefix(rest, "/") {
		u, err := url.Parse(v.page)
		if err != nil {
			v.t.Fatal(err)
		}
		at = u.Scheme + "://" + u.Host + rest
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, at, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")
	req.Header.Set("Accept-Encoding", "gzip")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := v.c.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(raw)}
}

// want asks and says what was not as it should be; location is the whole
// header, has a part of the body.
func (v *visitor) want(method, rest string, form url.Values, status int, location, has string) reply {
	v.t.Helper()
	r := v.do(method, rest, form)
	if r.status != status || r.header.Get("Location") != location || !strings.Contains(r.body, has) {
		v.t.Errorf("%s %s: %d, Location %q, want %d, %q and %q in\n%s", method, rest, r.status, r.header.Get("Location"), status, location, has, r.body)
	}
	return r
}

// post is a form that leads back to the page.
func (v *visitor) post(act string, pairs ...string) {
	v.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	v.want("POST", act, form, http.StatusSeeOther, "./"+v.w, "")
}

func session(w *rig.Dev, selector string, more ...string) (id, page string) {
	form := url.Values{"target": {"http://localhost/done"}, "targetError": {"http://localhost/sorry"}, "language": {"en"}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	id = w.Setup(selector, form)
	return id, w.URLs["public"] + "/v2/Hosted/" + id + "/" + selector + "/"
}

const (
	front = "<h1>Identify yourself with BankID</h1>"
	code  = "<h1>Scan the QR code with BankID</h1>"
)

// TestFlows tells what a page answers on the way, on one sandbox.
func TestFlows(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for name, story := range map[string]func(t *testing.T){
		"an order starts on a post, once": func(t *testing.T) {
			w := rig.StartDev(t, "memory") // of its own, to count orders
			_, page := session(w, "sbid-another")
			v := visit(t, page, true)
			for _, method := range []string{"GET", "GET", "HEAD"} {
				v.do(method, "", nil)
			}
			v.want("GET", "", nil, 200, "", front)
			v.want("GET", "status", nil, 204, "", "")
			v.want("GET", "qr.svg", nil, 410, "", "")
			if n := len(w.Orders()); n != 0 {
				t.Fatalf("%d orders were started by looking", n)
			}
			var all sync.WaitGroup
			for range 5 { // a double click, and more
				all.Go(func() { v.do("POST", "start", url.Values{"device": {"other"}}) })
			}
			all.Wait()
			if n := len(w.Orders()); n != 1 {
				t.Errorf("%d orders were started", n)
			}
			v.want("GET", "", nil, 200, "", code)
			v.want("GET", "status?k=qr", nil, 200, "", "Open the BankID app to continue.\n\n")
			v.want("GET", "status?k=form", nil, 204, "", "")
			v.want("GET", "frame?big=1", nil, 200, "", `<h1 class="skip">Scan the QR code with BankID</h1>`)
			if r := v.want("GET", "frame", nil, 200, "", `http-equiv="refresh" content="1"`); !strings.Contains(r.header.Get("Content-Security-Policy"), "frame-ancestors 'self' http://localhost") {
				t.Errorf("frame: %v", r.header)
			}
			if r := v.want("GET", "qr.svg", nil, 200, "", ""); r.header.Get("Content-Type") != "image/svg+xml" || r.header.Get("Cache-Control") != "no-store" {
				t.Errorf("qr.svg: %v", r.header)
			}
		},
		"the app on this device instead": func(t *testing.T) {
			_, page := session(w, "sbid-another")
			v := visit(t, page, true)
			v.do("GET", "", nil)
			v.post("start", "device", "other")
			v.post("submit", "device", "same")
			v.want("GET", "", nil, 200, "", "data-launch=")
			v.post("submit", "device", "other")
			v.want("GET", "", nil, 200, "", code)
		},
		"a second browser is parked": func(t *testing.T) {
			id, page := session(w, "sbid-another")
			a, b := visit(t, page, true), visit(t, page, true)
			a.do("GET", "", nil)
			b.want("GET", "", nil, 200, "", front)
			a.post("start", "device", "other")
			b.want("GET", "", nil, 409, "", "Opened in another browser")
			b.want("GET", "status?k=qr", nil, 204, "", "")
			b.want("GET", "qr.svg", nil, 410, "", "")
			for _, act := range []string{"start", "submit", "cancel", "extend", "language"} {
				b.want("POST", act, url.Values{"device": {"same"}, "language": {"fi"}}, 303, "./", "")
			}
			a.want("GET", "", nil, 200, "", code)
			if s := rig.State(w.Result(id)); s != "PENDING" {
				t.Errorf("the session is %s", s)
			}
		},
		"without cookies the address holds it": func(t *testing.T) {
			_, page := session(w, "sbid-another")
			v, other := visit(t, page, false), visit(t, page, false)
			to := v.do("POST", "start", url.Values{"device": {"other"}}).header.Get("Location")
			if !regexp.MustCompile(`^\./\?w=[A-Za-z0-9_-]{32}$`).MatchString(to) {
				t.Fatalf("Location %q", to)
			}
			v.w = strings.TrimPrefix(to, "./")
			r := v.want("GET", "", nil, 200, "", code)
			for _, part := range []string{`"cancel` + v.w + `"`, `"status` + v.w + `&amp;k=qr"`, `"qr.svg` + v.w + `&amp;"`, `"frame` + v.w + `"`} {
				if !strings.Contains(r.body, part) {
					t.Errorf("the page has no %s", part)
				}
			}
			for _, w := range []string{"", "?w=" + strings.Repeat("a", 32), "?w=short", v.w + "x"} {
				other.want("GET", w, nil, 409, "", "Opened in another browser")
			}
			v.post("cancel")
			v.want("GET", "?w="+v.w[3:]+"&tab=1", nil, 200, "", "Finished in another tab")
		},
		"a cancel is final": func(t *testing.T) {
			id, page := session(w, "sbid-another")
			v := visit(t, page, true)
			v.do("GET", "", nil)
			v.post("start", "device", "other")
			v.post("cancel")
			sorry := "http://localhost/sorry?relaystate=" + id + "&service=eIDBasic"
			for range 2 {
				v.want("GET", "", nil, 303, sorry, "")
				for _, act := range []string{"start", "submit", "cancel", "extend"} {
					v.post(act, "device", "other")
				}
			}
			if r := v.want("GET", "status?k=qr", nil, 204, "", ""); r.header.Get("Eidgate-Ended") != "1" {
				t.Errorf("status: %v", r.header)
			}
			if s := rig.State(w.Result(id)); s != "ERROR" {
				t.Errorf("the session is %s", s)
			}
		},
		"a language that there is": func(t *testing.T) {
			_, page := session(w, "sbid-another")
			v := visit(t, page, true)
			v.do("GET", "", nil)
			v.post("language", "language", "fi")
			v.want("GET", "", nil, 200, "", `<html lang="fi" dir="ltr">`)
			for _, none := range []string{"xx", "", "../sv"} {
				v.post("language", "language", none)
				v.want("GET", "", nil, 200, "", `<html lang="fi" dir="ltr">`)
			}
		},
		"a text to sign": func(t *testing.T) {
			_, page := session(w, "sbid-sign", "personalnumber", "199001012385", "userVisibleData", "SSBidXkgPGI+b25lPC9iPiBsYW1wLg==")
			v := visit(t, page, true)
			r := v.want("GET", "", nil, 200, "", `<p class="lines">I buy &lt;b&gt;one&lt;/b&gt; lamp.</p></section><p class="small count">The text has 22 characters.</p>`)
			if strings.Contains(r.body, "data-auto") || !strings.Contains(r.body, "data-guard") {
				t.Error("a signature goes on by itself")
			}
		},
		"nobody knows it": func(t *testing.T) {
			v := visit(t, w.URLs["public"]+"/v2/Hosted/00000000-0000-4000-8000-000000000000/sbid/", true)
			if r := v.want("GET", "", nil, 404, "", "This link does not work any more."); strings.Contains(r.body, "<footer") {
				t.Error("the page says where it was started, which nobody knows")
			}
		},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); story(t) })
	}
}

// TestTime: a page that is about to end can be kept, and one that has ended
// says so.
func TestTime(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	advance := func(by string) {
		if status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/clock", "application/json", `{"advance":"`+by+`"}`); status != 200 {
			t.Fatalf("clock: %d %v", status, out)
		}
	}
	id, page := session(w, "sbid-another")
	v := visit(t, page, true)
	left := func() time.Duration {
		m := regexp.MustCompile(`data-left="(\d+)"`).FindStringSubmatch(v.want("GET", "", nil, 200, "", "Get more time").body)
		if m == nil {
			t.Fatal("the page does not say how long it lives")
		}
		d, err := time.ParseDuration(m[1] + "ms")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	advance("28m30s") // of the 30 minutes of a page that nobody has used
	if d := left(); d > 90*time.Second || d < time.Minute {
		t.Errorf("%s are left", d)
	}
	for range 10 { // WCAG 2.2.1
		v.post("extend")
		if d := left(); d < 9*time.Minute {
			t.Fatalf("%s are left after more time was asked for", d)
		}
		advance("9m")
	}
	v.want("GET", "", nil, 200, "", front)
	advance("31m")
	for end := time.Now().Add(20 * time.Second); rig.State(w.Result(id)) != "ERROR"; <-time.After(600 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the session does not expire")
		}
	}
	v.want("GET", "", nil, 303, "http://localhost/sorry?relaystate="+id+"&service=eIDBasic", "")
	v.post("start", "device", "other")
	if n := len(w.Orders()); n != 0 {
		t.Errorf("%d orders were started after the end", n)
	}
}

// TestBudget: what a page with a code weighs on the wire.
func TestBudget(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	_, page := session(w, "sbid-another")
	v := visit(t, page, true)
	v.do("GET", "", nil)
	v.post("start", "device", "other")
	r := v.want("GET", "", nil, 200, "", code)
	var packed bytes.Buffer // pages leave uncompressed because they hold secrets; a proxy may think otherwise
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(r.body)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	requests, wire, script := 1, len(r.body), 0
	for _, m := range regexp.MustCompile(`(?:src|href)="(/static/[^"]+)"`).FindAllStringSubmatch(r.body, -1) {
		f := v.want("GET", m[1]+"?", nil, 200, "", "")
		requests++
		wire += len(f.body)
		if strings.HasSuffix(m[1], ".js") {
			script += len(f.body)
		}
	}
	frame := v.want("GET", "qr.svg", nil, 200, "", "")
	t.Logf("%d requests, %d bytes (page %d, compressed %d; scripts %d), a frame %d", requests, wire, len(r.body), packed.Len(), script, len(frame.body))
	if requests > 4 || wire > 25_000 || script > 6_000 || len(frame.body) > 2_000 || script == 0 {
		t.Errorf("%d requests, %d bytes, %d of scripts, %d a frame; at most 4, 25000, 6000 and 2000", requests, wire, script, len(frame.body))
	}
}
