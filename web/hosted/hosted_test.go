package hosted_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/web"
	"eidgate/web/hosted"
)

// one is a broker with one session, of which every act shows the same view;
// nil is a broker that is out of order.
type one struct{ v *broker.View }

func (o one) show() (*broker.View, error) {
	if o.v == nil {
		return nil, errors.New("out of order")
	}
	return o.v, nil
}

func (o one) Look(context.Context, string, broker.Handle, connector.Browser) (*broker.View, error) {
	return o.show()
}

func (o one) Choose(context.Context, string, broker.Handle, connector.Browser, string) (*broker.View, error) {
	return o.show()
}

func (o one) Open(context.Context, string, broker.Handle, connector.Browser, url.Values, bool) (*broker.View, error) {
	return o.show()
}

func (o one) Act(context.Context, string, broker.Handle, connector.Browser, connector.Event) (*broker.View, error) {
	return o.show()
}
func (o one) Away(_ context.Context, _ string, h broker.Handle, pass string) (string, error) {
	if h.Cookie == "" && pass != "a-pass" {
		return "", nil
	}
	return "https://upstream.example/once", nil
}
func (o one) Cancel(context.Context, string, broker.Handle) (*broker.View, error) { return o.show() }
func (o one) Extend(context.Context, string, broker.Handle) (*broker.View, error) { return o.show() }
func (o one) Speak(context.Context, string, broker.Handle, string) (*broker.View, error) {
	return o.show()
}

func (o one) Returned(context.Context, eid.Environment, eid.EID, connector.Inbound, broker.Handle, connector.Browser) (*broker.View, error) {
	return o.show()
}

func (o one) Texts(context.Context, string) (*connector.Texts, error) {
	return &connector.Texts{Visible: eid.Text("I buy one lamp.")}, nil
}

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// view is where a person stands before anything has begun.
func view(frames ...string) *broker.View {
	return &broker.View{Place: broker.AtFront, CanLonger: true, Front: &connector.Ask{Form: connector.Form{Name: "bankidse.device"}},
		Session: broker.Session{ID: "03bd36e7-a94d-4db5-9474-dd9bf258412a", State: broker.Created, EID: eid.BankIDSE, Purpose: eid.Identify,
			Language: "en", Due: now.Add(15 * time.Minute)},
		Spec: broker.Spec{Party: "Shop", Host: "shop.example", Next: []string{"https://shop.example", "https://sorry.example"}, Frames: frames}}
}

func pages(t testing.TB, v *broker.View, secure bool, leave hosted.Return, change ...func(*hosted.Config)) *hosted.Pages {
	t.Helper()
	static, err := web.NewStatic()
	if err != nil {
		t.Fatal(err)
	}
	words, err := web.NewWords()
	if err != nil {
		t.Fatal(err)
	}
	c := hosted.Config{Broker: one{v}, Static: static, Words: words, Secure: secure, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return now }, Client: func(*http.Request) netip.Addr { return netip.Addr{} },
		Leave: func(context.Context, *broker.Session, *broker.Spec) (hosted.Return, error) { return leave, nil }}
	for _, f := range change {
		f(&c)
	}
	p, err := hosted.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func serve(p *hosted.Pages, method, rest, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://eid.example/s/"+rest, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	rest, _, _ = strings.Cut(rest, "?")
	p.Serve(w, r, "03bd36e7-a94d-4db5-9474-dd9bf258412a", rest)
	return w
}

var inline = regexp.MustCompile(` (style|on[a-z]+)="|<style|<script>`)

// TestFaults: a page of the sandbox says which faults are on, in the page's
// language, and no other page does.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		environment eid.Environment
		on          []string
		want        string
	}{
		{eid.Test, []string{"idin.rs delay 5s", "bankidse.rp <b>"}, `Ett fel är påslaget: <strong lang="en">idin.rs delay 5s, bankidse.rp &lt;b&gt;</strong>.`},
		{eid.Test, nil, ""},
		{eid.Live, []string{"idin.rs delay 5s"}, ""},
	} {
		v := view()
		v.Session.Environment, v.Session.Language = x.environment, "sv"
		p := pages(t, v, true, hosted.Return{}, func(c *hosted.Config) { c.Faults = func() []string { return x.on } })
		body := serve(p, http.MethodGet, "", "").Body.String()
		if x.want != "" {
			holds(t, body, x.want)
		} else if strings.Contains(body, "påslaget") || !strings.Contains(body, `lang="sv"`) {
			t.Errorf("%v, %q: %s", x.environment, x.on, body)
		}
	}
}

// TestTimeLeft: how long a page lives is said without a clock, so that it is true
// in every zone, and still when the page is read late; no cache keeps it.
func TestTimeLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lang string
		left time.Duration
		want string
	}{
		{"en", 15 * time.Minute, "This page ends within 15 minutes."}, {"en", 14*time.Minute + time.Millisecond, "This page ends within 15 minutes."},
		{"en", 2*time.Minute + time.Second, "This page ends within 3 minutes."}, {"en", 2 * time.Minute, "Less than 2 minutes left."},
		{"en", time.Minute, "Less than 1 minute left."}, {"en", -time.Minute, "Less than 1 minute left."}, {"da", 15 * time.Minute, "inden for 15 minutter."},
		{"de", 15 * time.Minute, "in höchstens 15 Minuten."}, {"fi", 15 * time.Minute, "15 minuutin kuluessa."}, {"fr", 15 * time.Minute, "d’ici 15 minutes."},
		{"nb", 15 * time.Minute, "innen 15 minutter."}, {"nl", 15 * time.Minute, "binnen 15 minuten."}, {"sv", 15 * time.Minute, "inom 15 minuter."},
	} {
		v := view()
		v.Session.Language, v.Session.Due = c.lang, now.Add(c.left).In(time.FixedZone("", 7200))
		w := serve(pages(t, v, true, hosted.Return{}), "GET", "", "")
		body := w.Body.String()
		if _, without, _ := strings.Cut(body, `<noscript><form class="time"`); !strings.Contains(without, c.want) || strings.Contains(body, "UTC") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s, %s: %q is not in\n%s", c.lang, c.left, c.want, body)
		}
	}
}

// TestTheme: a session's page looks as its party's theme says, and leads to the
// party's own pages in its language. Values that are hostile stay values.
func TestTheme(t *testing.T) {
	t.Parallel()
	v := view()
	v.Session.Account, v.Session.Language, v.Spec.Layout = "acc", "sv", "night"
	themes := map[[2]string]hosted.Theme{{"acc", "night"}: {Style: "/static/page.1.css", Logo: "/static/logo.1.png", Width: 90, Height: 40,
		Help: "https://shop.example/{language}/help?a=1&b=\"", Privacy: "https://shop.example/privacy"}}
	for name, theme := range map[string]bool{"its own": true, "none": false} {
		body := serve(pages(t, v, true, hosted.Return{}, func(c *hosted.Config) {
			if theme {
				c.Look = func(account, layout string) hosted.Theme { return themes[[2]string{account, layout}] }
			}
		}), "GET", "", "").Body.String()
		for _, part := range []string{`<link rel="stylesheet" href="/static/page.1.css">`, `<strong><img src="/static/logo.1.png" width="90" height="40" alt="">Shop</strong>`,
			`<nav aria-label="Shop"><a href="https://shop.example/sv/help?a=1&amp;b=%22" target="_blank" rel="noopener">Hjälp</a>`,
			`<a href="https://shop.example/privacy" target="_blank" rel="noopener">Personuppgifter</a>`} {
			if strings.Contains(body, part) != theme {
				t.Errorf("%s: %s in\n%s", name, part, body)
			}
		}
		if strings.Contains(body, "Tillgänglighet") || strings.Contains(body, `href=""`) {
			t.Errorf("%s: a link that leads nowhere in\n%s", name, body)
		}
	}
}

// TestHeaders: what every page says to the browser, and what depends on who
// may frame it and where it leads.
func TestHeaders(t *testing.T) {
	t.Parallel()
	with := func(v *broker.View, change func(*broker.View)) *broker.View { change(v); return v }
	ended := func(v *broker.View) { v.Place, v.Session.State = broker.AtEnd, broker.Finished }
	signing := func(v *broker.View) { v.Session.Purpose = eid.Sign }
	const next = "'self' https://shop.example https://sorry.example"
	for name, c := range map[string]struct {
		view                 *broker.View
		rest                 string
		header               []string
		status               int
		forms, frames, x, op string
	}{
		"running, nobody frames":  {view(), "", nil, 200, next, "'none'", "DENY", "same-origin"},
		"running, one may frame":  {view("https://shop.example"), "", nil, 200, next, "https://shop.example", "", "unsafe-none"},
		"running, two may frame":  {view("https://a.example", "https://b.example"), "", nil, 200, next, "https://a.example https://b.example", "", "unsafe-none"},
		"running, anybody frames": {view("*"), "", nil, 200, next, "*", "", "unsafe-none"},
		"a signature":             {with(view("*"), signing), "", nil, 200, next, "'none'", "DENY", "same-origin"},
		"a signature, one frames": {with(view("https://shop.example"), signing), "", nil, 200, next, "https://shop.example", "", "unsafe-none"},
		"framed":                  {view("https://shop.example"), "", []string{"Sec-Fetch-Dest", "iframe"}, 200, next, "https://shop.example", "", "unsafe-none"},
		"ended, leaves":           {with(view("https://shop.example"), ended), "", nil, 303, "'self'", "https://shop.example", "", "unsafe-none"},
		"ended, framed":           {with(view("https://shop.example"), ended), "", []string{"Sec-Fetch-Dest", "iframe"}, 200, next, "https://shop.example", "", "unsafe-none"},
		"ended, in another tab":   {with(view(), ended), "?tab=1", nil, 200, next, "'none'", "DENY", "same-origin"},
		"another browser":         {with(view(), func(v *broker.View) { v.Place = broker.AtElsewhere }), "", nil, 409, next, "'none'", "DENY", "same-origin"},
		"the code alone":          {view("https://shop.example"), "frame", nil, 200, "'self'", "'self' https://shop.example", "", "unsafe-none"},
		"out of order":            {nil, "", nil, 500, "'self'", "'none'", "DENY", "same-origin"},
	} {
		w := serve(pages(t, c.view, true, hosted.Return{URL: "https://shop.example/back"}), "GET", c.rest, "", c.header...)
		h := w.Header()
		if w.Code != c.status || h.Get("X-Frame-Options") != c.x || h.Get("Cross-Origin-Opener-Policy") != c.op {
			t.Errorf("%s: %d, X-Frame-Options %q, Cross-Origin-Opener-Policy %q", name, w.Code, h.Get("X-Frame-Options"), h.Get("Cross-Origin-Opener-Policy"))
		}
		want := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; " +
			"form-action " + c.forms + "; frame-ancestors " + c.frames + "; require-trusted-types-for 'script'"
		if got := h.Get("Content-Security-Policy"); got != want {
			t.Errorf("%s: Content-Security-Policy\n%s, want\n%s", name, got, want)
		}
		for key, want := range map[string]string{"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
			"Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8"} {
			if got := h.Get(key); got != want {
				t.Errorf("%s: %s: %q", name, key, got)
			}
		}
		for _, part := range strings.Split(h.Get("Permissions-Policy"), ", ") {
			if !strings.HasSuffix(part, "=()") {
				t.Errorf("%s: Permissions-Policy allows %q", name, part)
			}
		}
		if bad := inline.FindString(w.Body.String()); bad != "" {
			t.Errorf("%s: %s is inline, which the policy forbids", name, bad)
		}
	}
}

// TestInApp: in a window that cannot open apps nothing begins by itself, since
// the session would then belong to it and not to the browser that the notice
// asks for.
func TestInApp(t *testing.T) {
	t.Parallel()
	for agent, starts := range map[string]bool{
		"Mozilla/5.0 (iPhone) Version/17.4 Mobile Safari/604.1":        true,
		"Mozilla/5.0 (iPhone) Mobile [FBAN/FBIOS;FBAV/450.0.0.38]":     false,
		"Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) Chrome/130.0":    false,
		"Mozilla/5.0 (iPhone) Mobile Instagram 300.0.0.0 (iPhone14,5)": false,
	} {
		v := view()
		v.Front.Auto = true
		body := serve(pages(t, v, true, hosted.Return{}), http.MethodGet, "", "", "User-Agent", agent).Body.String()
		if strings.Contains(body, "data-auto") != starts || strings.Contains(body, `id="inapp"`) == starts {
			t.Errorf("%s: begins by itself is not %v, or the notice is not the opposite", agent, starts)
		}
	}
}

// TestBrowsersLanguage: an eID speaks as the page does where the session names no
// language.
func TestBrowsersLanguage(t *testing.T) {
	t.Parallel()
	p := pages(t, view(), true, hosted.Return{})
	for accept, want := range map[string]string{"sv-SE,sv;q=0.9,en;q=0.8": "sv", "no": "nb", "": "en", "zz": "en"} {
		r := httptest.NewRequest("GET", "https://eid.example/", nil)
		r.Header.Set("Accept-Language", accept)
		if _, b := p.Browser(httptest.NewRecorder(), r); b.Language != want {
			t.Errorf("%q: %s, want %s", accept, b.Language, want)
		}
	}
}

// TestCookie: one random secret a browser, out of reach of scripts and of
// other sites.
func TestCookie(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secure       bool
		header       []string
		start, attrs string
	}{
		"https":          {true, nil, "__Host-eidgate_b=", "; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=Lax"},
		"https, framed":  {true, []string{"Sec-Fetch-Dest", "iframe"}, "__Host-eidgate_b=", "; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=None; Partitioned"},
		"the sandbox":    {false, nil, "eidgate_b=", "; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"},
		"has one":        {true, []string{"Cookie", "__Host-eidgate_b=" + strings.Repeat("a", 32)}, "", ""},
		"one that isn't": {true, []string{"Cookie", "__Host-eidgate_b=short"}, "__Host-eidgate_b=", "; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=Lax"},
	} {
		p := pages(t, view("https://shop.example"), c.secure, hosted.Return{})
		got := serve(p, "GET", "", "", c.header...).Header().Get("Set-Cookie")
		value, attrs, _ := strings.Cut(strings.TrimPrefix(got, c.start), ";")
		if c.start == "" && got != "" || c.start != "" && (!strings.HasPrefix(got, c.start) || len(value) != 32 || ";"+attrs != c.attrs) {
			t.Errorf("%s: Set-Cookie: %s", name, got)
		}
		if again := serve(p, "GET", "", "", c.header...).Header().Get("Set-Cookie"); got != "" && again == got {
			t.Errorf("%s: two browsers have the same secret", name)
		}
	}
}

// TestOddRequests: what no page of ours sends.
func TestOddRequests(t *testing.T) {
	t.Parallel()
	p := pages(t, view("https://shop.example"), true, hosted.Return{})
	for name, c := range map[string]struct {
		method, rest, body string
		header             []string
		status             int
		says               string
	}{
		"another method":        {"PUT", "", "", nil, 405, "Method not allowed"},
		"no such part":          {"GET", "secret", "", nil, 404, "This link does not work any more."},
		"no such act":           {"POST", "destroy", "", nil, 404, "This link does not work any more."},
		"from another site":     {"POST", "start", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "Another site sent this form"},
		"from another origin":   {"POST", "cancel", "", []string{"Origin", "https://evil.example"}, 403, "Another site sent this form"},
		"too long":              {"POST", "start", "a=" + strings.Repeat("b", 64<<10), nil, 400, "too long or damaged"},
		"not a form":            {"POST", "start", "%zz=1", nil, 400, "too long or damaged"},
		"an act by fetching":    {"GET", "cancel", "", nil, 404, "This link does not work any more."},
		"a code of nothing":     {"GET", "qr.svg", "", nil, 410, ""},
		"a status of nothing":   {"GET", "status", "", nil, 204, ""},
		"in the reader's words": {"GET", "secret", "", []string{"Accept-Language", "sv"}, 404, "Länken fungerar inte längre."},
	} {
		w := serve(p, c.method, c.rest, c.body, c.header...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d\n%s", name, w.Code, w.Body)
		}
	}
	if got := serve(p, "PUT", "", "").Header().Get("Allow"); got != "GET, HEAD, POST" {
		t.Errorf("Allow: %s", got)
	}
}

// TestNews: the status of a code, whose last minutes are told three times.
func TestNews(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]string{
		3 * time.Minute: "Open the BankID app to continue.\n\n", 121 * time.Second: "Open the BankID app to continue.\n\n",
		2 * time.Minute:  "Open the BankID app to continue.\nLess than 2 minutes left.\n",
		time.Minute:      "Open the BankID app to continue.\nLess than 1 minute left.\n",
		20 * time.Second: "Open the BankID app to continue.\nLess than 20 seconds left.\n", 0: "Open the BankID app to continue.\nLess than 20 seconds left.\n",
	} {
		v := view()
		wait := connector.Wait{QR: "bankid.x.0.y", Hint: "bankidse.rfa1", Until: now.Add(left)}
		v.Place, v.Step = broker.AtStep, wait
		w := serve(pages(t, v, true, hosted.Return{}), "GET", "status?k=qr", "")
		if w.Code != 200 || w.Body.String() != want || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s left: %d %q", left, w.Code, w.Body)
		}
		wait.Fresh, wait.Until = true, time.Time{}
		v.Step = wait
		if got := serve(pages(t, v, true, hosted.Return{}), "GET", "status?k=qr", "").Body.String(); got != "Open the BankID app to continue.\n\nNew code." {
			t.Errorf("a new code: %q", got)
		}
		if w := serve(pages(t, v, true, hosted.Return{}), "GET", "status?k=app", ""); w.Code != 204 || w.Header().Get("Eidgate-Ended") != "" {
			t.Errorf("another page: %d", w.Code)
		}
	}
	v := view()
	v.Place, v.Session.State = broker.AtEnd, broker.Finished
	if w := serve(pages(t, v, true, hosted.Return{}), "GET", "status?k=qr", ""); w.Code != 204 || w.Header().Get("Eidgate-Ended") != "1" {
		t.Errorf("ended: %d %v", w.Code, w.Header())
	}
}
