package control

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// A browser is one without scripts: it has cookies, follows links and posts
// the forms that a page has.
type browser struct {
	client *http.Client
	origin string // of the broker's pages, once it was there
}

// newBrowser makes one that knows the origin of the broker's pages, or will.
func (x *control) newBrowser(origin string) *browser {
	jar, _ := cookiejar.New(nil) // cannot fail without options
	return &browser{origin: origin, client: &http.Client{Jar: jar, Timeout: 15 * time.Second, Transport: &http.Transport{Proxy: nil,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x.Roots}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// A page is what a browser shows, or where it is sent.
type page struct {
	at     *url.URL
	status int
	to     *url.URL // of a redirect
	title  string
	code   string // what the QR code on the page says
	launch string // the link that opens the app
	away   string // the link to the eID's own page
	image  bool   // a picture that says what nobody reads from the page
	poll   string // where the page asks whether it has moved on
	forms  []form
}

type form struct {
	action  string // the last part of it
	at      string
	hidden  url.Values
	texts   []string // names of text fields
	buttons []button
}

type button struct {
	name, value string
	preset      bool
}

func (f form) has(name string) bool {
	return slices.ContainsFunc(f.buttons, func(b button) bool { return b.name == name })
}

// with finds the form that has a button; "" for any value.
func (p *page) with(name, value string) (*form, button) {
	for i, f := range p.forms {
		for _, b := range f.buttons {
			if b.name == name && (value == "" || b.value == value) {
				return &p.forms[i], b
			}
		}
	}
	return nil, button{}
}

// form finds a form by its action.
func (p *page) form(action string) *form {
	for i := range p.forms {
		if p.forms[i].action == action {
			return &p.forms[i]
		}
	}
	return nil
}

// leaving finds the form that posts to another site; nil for none.
func (b *browser) leaving(p *page) *form {
	for i, f := range p.forms {
		if to, err := p.at.Parse(f.at); err == nil && !b.sameSite(to) {
			return &p.forms[i]
		}
	}
	return nil
}

// token tells orders apart: the token of the code or of the link.
func (p *page) token() string {
	if parts := strings.Split(p.code, "."); len(parts) == 4 {
		return parts[1]
	}
	u, err := url.Parse(p.launch)
	if err != nil {
		return ""
	}
	return u.Query().Get("autostarttoken")
}

func (b *browser) sameSite(u *url.URL) bool { return u.Scheme+"://"+u.Host == b.origin }

func (b *browser) get(ctx context.Context, at string) (*page, error) {
	return b.load(ctx, http.MethodGet, at, nil)
}

func (b *browser) load(ctx context.Context, method, at string, values url.Values) (*page, error) {
	req, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(values.Encode()))
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	req.Header.Set("User-Agent", "eidgate sandbox robot (X11)")
	if values != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	p := &page{at: req.URL, status: res.StatusCode}
	p.at.Fragment = ""
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		p.to, err = req.URL.Parse(res.Header.Get("Location"))
		return p, err
	}
	doc, err := html.Parse(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read page: %w", err)
	}
	for n := range doc.Descendants() {
		p.see(n)
	}
	return p, nil
}

func attr(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

func (p *page) see(n *html.Node) {
	if n.Type != html.ElementNode {
		return
	}
	if v, ok := attr(n, "data-code"); ok {
		p.code = v
	}
	if v, ok := attr(n, "data-poll"); ok {
		p.poll = v
	}
	if _, ok := attr(n, "data-launch"); ok {
		p.launch, _ = attr(n, "href")
	}
	if _, ok := attr(n, "data-away"); ok {
		p.away, _ = attr(n, "href")
	}
	switch n.Data {
	case "img":
		src, _ := attr(n, "src")
		p.image = p.image || strings.HasPrefix(src, "data:image/png;")
	case "title":
		if n.FirstChild != nil {
			p.title = n.FirstChild.Data
		}
	case "form":
		p.forms = append(p.forms, readForm(n))
	}
}

func readForm(n *html.Node) form {
	f := form{hidden: url.Values{}}
	f.at, _ = attr(n, "action")
	before, _, _ := strings.Cut(f.at, "?")
	f.action = path.Base(before)
	for c := range n.Descendants() {
		name, _ := attr(c, "name")
		value, _ := attr(c, "value")
		kind, _ := attr(c, "type")
		switch {
		case c.Data == "button":
			_, preset := attr(c, "data-default")
			f.buttons = append(f.buttons, button{name, value, preset})
		case c.Data == "input" && kind == "hidden":
			f.hidden.Set(name, value)
		case c.Data == "input" && kind == "text":
			f.texts = append(f.texts, name)
		}
	}
	return f
}

// proposed is the button that a form's page proposes, or its first one; but not
// one of the given value, if there is another that the page knows for it.
func (f *form) proposed(want string) button {
	if len(f.buttons) == 0 {
		return button{}
	}
	pick := f.buttons[0]
	for _, o := range f.buttons {
		if o.name == "choose" && want == "same" { // of a counter: the bank is chosen on this screen
			continue
		}
		if o.preset && (want == "" || pick.value != want) || o.name == "device" && o.value == want {
			pick = o
		}
	}
	return pick
}

// submit posts a form with a button, and follows to the page of the broker
// that it leads to.
func (b *browser) submit(ctx context.Context, p *page, f *form, pick button, known map[string]string) (*page, error) {
	if f == nil {
		return nil, fmt.Errorf("the page %q has no such form", p.title)
	}
	v := url.Values{}
	for k := range f.hidden {
		v.Set(k, f.hidden.Get(k))
	}
	for _, name := range f.texts {
		v.Set(name, known[name])
	}
	if pick.name != "" {
		v.Set(pick.name, pick.value)
	}
	to, err := p.at.Parse(f.at)
	if err != nil {
		return nil, fmt.Errorf("address of a form: %w", err)
	}
	next, err := b.load(ctx, http.MethodPost, to.String(), v)
	if err == nil && next.to != nil && b.sameSite(next.to) {
		return b.get(ctx, next.to.String())
	}
	return next, err
}

// press posts the form that has the button.
func (b *browser) press(ctx context.Context, p *page, name, value string) (*page, error) {
	f, pick := p.with(name, value)
	return b.submit(ctx, p, f, pick, nil)
}

// cancel presses cancel on a page of the broker.
func (b *browser) cancel(ctx context.Context, p *page) (*page, error) {
	return b.submit(ctx, p, p.form("cancel"), button{}, nil)
}

// moved asks what the page's script would ask.
func (b *browser) moved(ctx context.Context, p *page) (bool, error) {
	at, err := p.at.Parse(p.poll)
	if err != nil {
		return false, fmt.Errorf("address of the status: %w", err)
	}
	next, err := b.get(ctx, at.String())
	return err == nil && next.status == http.StatusNoContent, err
}

// returned comes back from the app: the page's script would post the nonce.
func (b *browser) returned(ctx context.Context, back string) (*page, error) {
	at, fragment, _ := strings.Cut(back, "#")
	if nonce, ok := strings.CutPrefix(fragment, "nonce="); ok {
		u, err := url.Parse(at)
		if err != nil {
			return nil, fmt.Errorf("return address: %w", err)
		}
		if u, err = u.Parse("returned"); err != nil {
			return nil, fmt.Errorf("return address: %w", err)
		}
		if _, err := b.load(ctx, http.MethodPost, u.String(), url.Values{"nonce": {nonce}}); err != nil {
			return nil, err
		}
	}
	return b.get(ctx, at)
}
