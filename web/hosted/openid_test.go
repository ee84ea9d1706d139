package hosted_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/web/hosted"
)

// TestProblem: a person reads one sentence; a developer reads the cause where
// there is one to read, and otherwise only what leads to it.
func TestProblem(t *testing.T) {
	t.Parallel()
	p := pages(t, view(), true, hosted.Return{})
	status := http.StatusBadRequest
	problem := func(code, text string) (*httptest.ResponseRecorder, string) {
		w := httptest.NewRecorder()
		w.Header().Set("X-Trace-Id", "4bf92f")
		r := httptest.NewRequest(http.MethodGet, "https://eid.example/auth/open/connect/authorize", nil)
		r.Header.Set("Accept-Language", "sv")
		p.Problem(w, r, status, code, text)
		return w, w.Body.String()
	}
	w, text := problem("invalid_request", `The parameter <b>state"</b> is sent twice.`)
	holds(t, text, `<html lang="sv"`, "<h1>Den här länken fungerar inte</h1>", `<section class="notice" lang="en"`, "<code>invalid_request</code>",
		"The parameter &lt;b&gt;state&#34;&lt;/b&gt; is sent twice.", `<a href="/docs/errors/invalid_request">`, "4bf92f")
	if w.Code != http.StatusBadRequest || w.Header().Get("X-Eidgate-Error") != "invalid_request" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	_, text = problem("invalid_request", "")
	holds(t, text, "<code>invalid_request</code>", "4bf92f")
	if strings.Contains(text, "/docs/") {
		t.Errorf("a live client's page leads to the documentation\n%s", text)
	}
	status = http.StatusTooManyRequests
	w, text = problem("temporarily_unavailable", "")
	holds(t, text, "<h1>Sidan fungerade inte just nu</h1>", "<code>temporarily_unavailable</code>")
	if w.Code != status || strings.Contains(text, "Den här länken fungerar inte") {
		t.Errorf("%d\n%s", w.Code, text)
	}
}

var listed = regexp.MustCompile(`<h2>([^<]+)</h2>|name="method" value="([^"]+)"`)

// TestChoice: everything that may be used is in one list, in the party's order
// but for the country that the page's language suggests.
func TestChoice(t *testing.T) {
	t.Parallel()
	methods := []broker.Method{{Name: "sbid", EID: eid.BankIDSE, Country: "se"}, {Name: "idin", EID: eid.IDIN, Country: "nl"}, {Name: "sbid-another", EID: eid.BankIDSE, Country: "se"}}
	for lang, want := range map[string]string{
		"en": "Sweden sbid sbid-another Netherlands idin", "sv": "Sverige sbid sbid-another Nederländerna idin",
		"nl": "Nederland idin Zweden sbid sbid-another", "fi": "Ruotsi sbid sbid-another Alankomaat idin",
	} {
		v := view()
		v.Place, v.Spec.Methods, v.Session.Language = broker.AtChoice, methods, lang
		_, text := shown(t, pages(t, v, true, hosted.Return{}), "")
		var got []string
		for _, m := range listed.FindAllStringSubmatch(text, -1) {
			got = append(got, m[1]+m[2])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", lang, got, want)
		}
	}
	v := view()
	v.Place, v.Spec.Methods = broker.AtChoice, methods[:1]
	if _, text := shown(t, pages(t, v, true, hosted.Return{}), ""); strings.Contains(text, "<h2>") {
		t.Errorf("one country has a heading\n%s", text)
	}
}

// TestOnlyTheAge: where nothing but the age is asked for, no page says that the
// party wants to know who somebody is.
func TestOnlyTheAge(t *testing.T) {
	t.Parallel()
	const who, age = "needs to know who you are", "Shop needs to know whether you are 18 or older."
	for name, c := range map[string]struct {
		wanted []string
		eid    eid.EID // "" while it is chosen
		want   string
		not    string
	}{
		"chosen, the age":          {[]string{eid.WantAdult}, "", "<h1>How do you want to prove your age?</h1><p class=\"lead\">" + age, who},
		"chosen, a lasting name":   {[]string{eid.WantID, eid.WantAdult}, "", "<h1>How do you want to prove who you are?</h1><p class=\"lead\">Shop " + who, age},
		"chosen, all there is":     {nil, "", who, age},
		"Swedish BankID, the age":  {[]string{eid.WantAdult}, eid.BankIDSE, age, "personal number"},
		"Swedish BankID, the rest": {[]string{eid.WantID, eid.WantName}, eid.BankIDSE, "needs your name and your personal number", age},
		"iDIN, the age":            {[]string{eid.WantAdult}, eid.IDIN, "through iDIN, for whether you are 18 or older. Nothing else.", age},
		"an age check by its name": {[]string{eid.WantAdult}, eid.IDINAge, "through iDIN, whether you are 18 or older. Nothing else.", age},
	} {
		v := view()
		v.Spec.Wanted, v.Session.EID = c.wanted, c.eid
		if v.Front.Form.Name = "x"; c.eid == "" {
			v.Place, v.Spec.Methods = broker.AtChoice, []broker.Method{{Name: "sbid", EID: eid.BankIDSE, Country: "se"}, {Name: "mitid", EID: eid.MitID, Country: "dk"}}
		}
		_, text := shown(t, pages(t, v, true, hosted.Return{}), "")
		if !strings.Contains(text, c.want) || strings.Contains(text, c.not) {
			t.Errorf("%s: %q, and not %q, is in\n%s", name, c.want, c.not, text)
		}
	}
}

// TestLanguageOfRequest: a page that belongs to no session speaks the language
// that its request asks for.
func TestLanguageOfRequest(t *testing.T) {
	t.Parallel()
	p := pages(t, view(), true, hosted.Return{})
	for query, lang := range map[string]string{"": "sv", "ui_locales=xx+de-AT+fr": "de", "ui_locales=nn": "nb", "ui_locales=xx": "sv", "ui_locales=%22%3E": "sv"} {
		r := httptest.NewRequest(http.MethodGet, "https://eid.example/auth/open/connect/authorize?"+query, nil)
		r.Header.Set("Accept-Language", "sv")
		problem, ended := httptest.NewRecorder(), httptest.NewRecorder()
		p.Problem(problem, r, http.StatusBadRequest, "invalid_request", "")
		p.Ended(ended, r, false, nil, "")
		holds(t, problem.Body.String(), `<html lang="`+lang+`"`)
		holds(t, ended.Body.String(), `<html lang="`+lang+`"`)
	}
}

// TestWhereItBegan: the host stands beside the party's name, wherever a language
// has that in its sentence; at the end there is nothing to go on with.
func TestWhereItBegan(t *testing.T) {
	t.Parallel()
	v := view()
	v.Place, v.Session.Language = broker.AtChoice, "de"
	_, text := shown(t, pages(t, v, true, hosted.Return{}), "")
	holds(t, text, `wenn Sie bei Shop <bdi translate="no">(shop.example)</bdi> begonnen haben.`)
	v.Place, v.Session.State = broker.AtEnd, broker.Finished
	if _, text = shown(t, pages(t, v, true, hosted.Return{}), ""); strings.Contains(text, "begonnen haben") {
		t.Error("the end warns of going on")
	}
}

// TestOver: who comes back to a login that has led to tokens stays, and learns
// why. What leads to the party is its start.
func TestOver(t *testing.T) {
	t.Parallel()
	v := view()
	v.Place, v.Session.State = broker.AtEnd, broker.Finished
	w := serve(pages(t, v, true, hosted.Return{Over: true}), http.MethodGet, "", "")
	if w.Code != http.StatusOK || w.Header().Get("Location") != "" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	holds(t, w.Body.String(), "<h1>This login is finished</h1>", `<a class="button" href="https://shop.example">Start again at Shop</a>`)
	for _, app := range []string{"com.example.app:", "com.example.app://cb"} {
		v.Spec.Next = []string{app}
		if _, text := shown(t, pages(t, v, true, hosted.Return{Over: true}), ""); strings.Contains(text, `<a class="button"`) {
			t.Errorf("%s: an app has no page to start at", app)
		}
	}
}

// TestBackToApp: an app is opened by a redirect, or by a button.
func TestBackToApp(t *testing.T) {
	t.Parallel()
	const app = "com.example.app:/cb?code=a&state=s"
	v := view()
	v.Place, v.Session.State = broker.AtEnd, broker.Finished
	p := pages(t, v, true, hosted.Return{URL: app})
	for _, target := range []string{"?tab=1", "?tick=1"} {
		_, text := shown(t, p, target)
		holds(t, text, `<a class="button" href="com.example.app:/cb?code=a&amp;state=s">`)
	}
	for _, target := range []string{"", "?go=1"} {
		if w := serve(p, http.MethodGet, target, ""); w.Code != http.StatusSeeOther || w.Header().Get("Location") != app {
			t.Errorf("%s: %d to %q", target, w.Code, w.Header().Get("Location"))
		}
	}
}

// TestPost: what is posted to a party stands in a form, and nothing leads
// elsewhere but what the party answers.
func TestPost(t *testing.T) {
	t.Parallel()
	p := pages(t, view(), true, hosted.Return{})
	w := httptest.NewRecorder()
	err := p.Post(w, httptest.NewRequest(http.MethodGet, "https://eid.example/", nil), "https://shop.example/cb?a=1&b=2", url.Values{"code": {`"><script>`}, "state": {"s"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, w.Body.String(), `<form method="post" action="https://shop.example/cb?a=1&amp;b=2" data-auto>`, `name="code" value="&#34;&gt;&lt;script&gt;"`, `name="state" value="s"`, "<button data-default>")
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https://shop.example https:;") || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%v", w.Header())
	}
}

// TestAsked: the answer to whether somebody wants to log out may lead to the
// party that asks; the page that tells of a logout leads nowhere.
func TestAsked(t *testing.T) {
	t.Parallel()
	p := pages(t, view(), true, hosted.Return{})
	for want, next := range map[string]string{"form-action 'self' https://shop.example https:;": "https://shop.example", "form-action 'self' com.example.app:;": "com.example.app:", "form-action 'self';": ""} {
		w := httptest.NewRecorder()
		p.Ended(w, httptest.NewRequest(http.MethodGet, "https://eid.example/auth/open/connect/endsession", nil), true, url.Values{"confirm": {"1"}}, next)
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, want) {
			t.Errorf("%s, want %s", csp, want)
		}
	}
}

// TestAway: a page whose eID is to be asked for an address links to ours; from a
// frame, whose tab may have no cookie, with a pass.
func TestAway(t *testing.T) {
	t.Parallel()
	v := view("https://shop.example")
	v.Place, v.Bound, v.Pass, v.Session.EID = broker.AtStep, true, "a-pass", eid.MitID
	v.Step = connector.Redirect{URL: "https://upstream.example/?request_uri=once", Renews: true}
	p := pages(t, v, true, hosted.Return{})
	for name, c := range map[string]struct {
		header []string
		link   string
	}{
		"page":  {nil, `href="go"`},
		"frame": {[]string{"Sec-Fetch-Dest", "iframe"}, `href="go?pass=a-pass"`},
	} {
		text := serve(p, http.MethodGet, "", "", c.header...).Body.String()
		holds(t, text, c.link)
		if strings.Contains(text, "upstream.example") {
			t.Errorf("%s: the address that works once is on the page", name)
		}
	}
	for at, want := range map[string]string{"go?pass=a-pass": "https://upstream.example/once", "go?pass=another": "./", "go": "./"} {
		w := serve(p, http.MethodGet, at, "")
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != want || w.Header().Get("Referrer-Policy") != "no-referrer" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v, want %s", at, w.Code, w.Header(), want)
		}
	}
}
