// Package parties lets relying parties that none of us wrote log people in over
// OpenID Connect: what they make of our provider is not our own reading of the
// standards. Each is a small program, or a configuration, as its documentation
// tells, with nothing in it for us. Who opens /idin or /sbid of one is logged in
// with that eID, and shown what the party was told.
package parties

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"eidgate/test/rig"
)

// Settings are what a party is told when it starts; it adds where it is.
type settings struct {
	Issuer  string          `json:"issuer"`
	ID      string          `json:"id"`
	Secret  string          `json:"secret,omitempty"`
	Scope   string          `json:"scope"`
	Self    string          `json:"self"`              // "http://127.0.0.1:8080"
	Sign    json.RawMessage `json:"sign,omitempty"`    // the private JWK that it proves itself with
	Decrypt json.RawMessage `json:"decrypt,omitempty"` // the private JWK of what is encrypted for it
	pem     []byte          // the same as PKCS#8, for a party that reads that; its kid is "data"
}

const scope = "openid profile idp-id date-of-birth idin-name nin"

func settingsFor(c rig.Client) *settings {
	return &settings{Issuer: c.Issuer, ID: c.ID, Secret: c.Secret, Scope: scope}
}

// A page is what a party shows, or where it sends the browser.
type page struct {
	Status    int            `json:"-"`
	To        string         `json:"-"` // elsewhere
	Body      string         `json:"-"`
	IDToken   map[string]any `json:"id_token"`
	UserInfo  map[string]any `json:"userinfo"`
	Decrypted int            `json:"decrypted"`  // how many of the two were encrypted, if the party can tell
	TokenType string         `json:"token_type"` // of the access token, likewise
}

// A browser is one person's, for one login.
type browser struct {
	t    *testing.T
	http http.Client
}

// newBrowser follows where the party at self sends it, within the party.
func newBrowser(t *testing.T, self string) *browser {
	jar, _ := cookiejar.New(nil) // cannot fail without options
	return &browser{t, http.Client{Jar: jar,
		Transport: &http.Transport{DisableKeepAlives: true}, // Apache says more than it should after an error
		CheckRedirect: func(to *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(to.URL.String(), self+"/") {
				return nil
			}
			return http.ErrUseLastResponse
		}}}
}

// open loads a page of the party, with fields where it is posted to.
func (b *browser) open(address string, posted url.Values) (p page) {
	b.t.Helper()
	method := http.MethodGet
	if posted != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(posted.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8") // without it some parties log nobody in
	if posted != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	p.Status, p.To, p.Body = res.StatusCode, res.Header.Get("Location"), string(body)
	if p.Status == http.StatusOK && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(body, &p); err != nil {
			b.t.Fatal(err)
		}
	}
	return p
}

// A login is one that has come to its end at the provider.
type login struct {
	browser *browser
	to      string     // where the answer goes
	posted  url.Values // what it is, where it is posted
}

// decide begins a login at the party and lets the person end it.
func decide(t *testing.T, dev *rig.Dev, c *settings, eid, outcome, person string) *login {
	t.Helper()
	b := newBrowser(t, c.Self)
	first := b.open(c.Self+"/"+eid, nil)
	if !strings.HasPrefix(first.To, c.Issuer+"/connect/authorize?") {
		t.Fatalf("the party answers %d, to %q\n%s", first.Status, first.To, first.Body)
	}
	l := &login{browser: b}
	l.to, l.posted = dev.For(t).DecideAt(first.To, outcome, person)
	if !strings.HasPrefix(l.to, c.Self+"/callback") {
		t.Fatalf("the browser is sent to %q", l.to)
	}
	return l
}

// arrive brings the answer to the party, or one that a browser was tricked to
// bring; change says how it differs from the provider's.
func (l *login) arrive(b *browser, change func(url.Values)) page {
	b.t.Helper()
	if l.posted != nil {
		change(l.posted)
		return b.open(l.to, l.posted)
	}
	before, query, _ := strings.Cut(l.to, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		b.t.Fatal(err)
	}
	change(q)
	return b.open(before+"?"+q.Encode(), nil)
}

func asItIs(url.Values) {}
