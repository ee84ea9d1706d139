package conformance

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// A browser has cookies and no scripts. Whoever sits before it does as outcome
// says.
type browser struct {
	s       *system
	http    *http.Client
	person  string // a test person of the sandbox
	outcome string // approve or cancel
	logins  int    // how often somebody was asked to log in
	seen    []string
}

func (s *system) browser() *browser {
	jar, _ := cookiejar.New(nil) // cannot fail without options
	return &browser{s: s, person: "ada", outcome: "approve", http: &http.Client{Jar: jar, Timeout: s.http.Timeout, CheckRedirect: s.http.CheckRedirect}}
}

// stolen is a browser of somebody who has this one's cookies.
func (b *browser) stolen(t *testing.T, p *provider) *browser {
	t.Helper()
	at, err := url.Parse(p.issuer)
	if err != nil {
		t.Fatal(err)
	}
	out := b.s.browser()
	cookies := b.http.Jar.Cookies(at)
	if len(cookies) == 0 {
		t.Fatal("the browser has no cookies")
	}
	for _, c := range cookies {
		c.Path, c.Secure = "/", true
	}
	out.http.Jar.SetCookies(at, cookies)
	return out
}

// A page is what a browser shows, or where it is sent.
type page struct {
	status int
	header http.Header
	at, to *url.URL
	text   string
	links  string // all addresses that it has
	forms  []form
	code   bool   // shows a code for a phone
	away   string // link to an eID's own page
}

type form struct {
	method, action string
	fields         url.Values // hidden ones
	texts          int        // those that a person fills
	buttons        []struct{ name, value string }
}

// An answer is what the browser brings back to a relying party.
type answer struct {
	mode   string // query or form_post; "" where a page was all there was
	to     string // the address, without what the provider has added to it
	url    *url.URL
	params url.Values
	page   *page
}

// load makes one request.
func (b *browser) load(t *testing.T, method, address string, form url.Values) *page {
	t.Helper()
	body := ""
	if form != nil {
		body = form.Encode()
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	b.seen = append(b.seen, address)
	res, err := b.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	p := &page{status: res.StatusCode, header: res.Header, at: req.URL}
	if to := res.Header.Get("Location"); to != "" {
		if p.status != http.StatusSeeOther && p.status != http.StatusFound {
			t.Fatalf("%s redirects with %d", req.URL.Path, p.status)
		}
		if p.to, err = req.URL.Parse(to); err != nil {
			t.Fatal(err)
		}
		return p
	}
	doc, err := html.Parse(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		p.see(n)
	}
	return p
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func (p *page) see(n *html.Node) {
	if n.Type == html.TextNode {
		p.text += n.Data
	}
	if n.Type != html.ElementNode {
		return
	}
	for _, a := range n.Attr {
		p.code = p.code || a.Key == "data-code"
		if a.Key == "href" || a.Key == "src" || a.Key == "action" || a.Key == "content" || a.Key == "data-end" {
			p.links += a.Val + " "
		}
		if a.Key == "data-away" {
			p.away = attr(n, "href")
		}
	}
	if n.Data != "form" {
		return
	}
	f := form{method: attr(n, "method"), action: attr(n, "action"), fields: url.Values{}}
	for c := range n.Descendants() {
		switch {
		case c.Data == "button":
			f.buttons = append(f.buttons, struct{ name, value string }{attr(c, "name"), attr(c, "value")})
		case c.Data == "input" && attr(c, "type") == "hidden":
			f.fields.Add(attr(c, "name"), attr(c, "value"))
		case c.Data == "input" && attr(c, "type") == "text":
			f.texts++
		}
	}
	p.forms = append(p.forms, f)
}

// form finds a form by the last part of its action.
func (p *page) form(action string) *form {
	for i := range p.forms {
		before, _, _ := strings.Cut(p.forms[i].action, "?")
		if path.Base(before) == action {
			return &p.forms[i]
		}
	}
	return nil
}

// with finds the form that has a button.
func (p *page) with(name, value string) *form {
	for i, f := range p.forms {
		for _, b := range f.buttons {
			if b.name == name && b.value == value {
				return &p.forms[i]
			}
		}
	}
	return nil
}

// press posts a form with one of its buttons.
func (b *browser) press(t *testing.T, p *page, f *form, name, value string) *page {
	t.Helper()
	fields := url.Values{}
	for k, v := range f.fields {
		fields[k] = v
	}
	if name != "" {
		fields.Set(name, value)
	}
	to, err := p.at.Parse(f.action)
	if err != nil {
		t.Fatal(err)
	}
	return b.load(t, http.MethodPost, to.String(), fields)
}

// open goes to an address and does what pages ask, until the relying party has
// its answer or a page has nothing more to ask.
func (b *browser) open(t *testing.T, address string) *answer {
	t.Helper()
	return b.walk(t, b.load(t, http.MethodGet, address, nil))
}

func (b *browser) walk(t *testing.T, p *page) *answer {
	t.Helper()
	asked := ""
	for range 40 {
		if p.to != nil && p.to.Hostname() != "localhost" {
			back := *p.to
			back.RawQuery, back.Fragment = "", ""
			return &answer{mode: "query", to: back.String(), url: p.to, params: p.to.Query(), page: p}
		}
		if p.to == nil && len(p.forms) == 1 {
			if to, err := p.at.Parse(p.forms[0].action); err == nil && to.Hostname() != "localhost" {
				return &answer{mode: "form_post", to: p.forms[0].action, url: to, params: p.forms[0].fields, page: p}
			}
		}
		if id := session(p.at); id != "" && id != asked {
			asked = id
			b.logins++
		}
		next := b.step(t, p)
		if next == nil {
			return &answer{page: p}
		}
		p = next
	}
	t.Fatalf("the browser goes in circles: %d pages", len(b.seen))
	return nil
}

// session is the login that a page belongs to; "" for none.
func session(at *url.URL) string {
	_, rest, _ := strings.Cut(at.Path, "/login/")
	id, _, _ := strings.Cut(rest, "/")
	return id
}

// step does what one page asks; nil where it asks nothing.
func (b *browser) step(t *testing.T, p *page) *page {
	t.Helper()
	choose, start := p.form("choose"), p.form("start")
	switch {
	case p.to != nil:
		return b.load(t, http.MethodGet, p.to.String(), nil)
	case p.status >= http.StatusBadRequest:
		return nil
	case b.outcome == "cancel" && p.form("cancel") != nil:
		return b.press(t, p, p.form("cancel"), "", "")
	case choose != nil:
		return b.press(t, p, choose, choose.buttons[0].name, choose.buttons[0].value)
	case start != nil:
		return b.press(t, p, start, start.buttons[0].name, start.buttons[0].value)
	case p.code:
		// The phone acts; the page then leads on.
		b.s.control(t, "/sessions/"+session(p.at)+"/decide", map[string]string{"outcome": b.outcome, "person": b.person})
		return b.load(t, http.MethodGet, p.at.String(), nil)
	case p.away != "":
		return b.load(t, http.MethodGet, p.away, nil)
	case p.with("person", b.person) != nil: // a bank: who are you, and do you agree?
		return b.press(t, p, p.with("person", b.person), "person", b.person)
	case p.with("act", b.outcome) != nil:
		return b.press(t, p, p.with("act", b.outcome), "act", b.outcome)
	}
	return nil
}
