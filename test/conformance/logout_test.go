package conformance

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// The modules of the RP-Initiated Logout OP plan.
var logoutModules = []module{
	{id: "oidcc-rp-initiated-logout-discovery-endpoint-verification", run: logoutDiscovery},
	{id: "oidcc-rp-initiated-logout", run: logout},
	{id: "oidcc-rp-initiated-logout-bad-post-logout-redirect-uri", run: noReturn("post_logout_redirect_uri", "https://rp.example/other")},
	{id: "oidcc-rp-initiated-logout-modified-id-token-hint", run: noReturn("id_token_hint", "unsigned")},
	{id: "oidcc-rp-initiated-logout-no-id-token-hint", run: noReturn("id_token_hint", "")},
	{id: "oidcc-rp-initiated-logout-no-params", run: told()},
	{id: "oidcc-rp-initiated-logout-no-post-logout-redirect-uri", run: told("id_token_hint", "state")},
	{id: "oidcc-rp-initiated-logout-no-state", run: logoutWithoutState},
	{id: "oidcc-rp-initiated-logout-only-state", run: told("state")},
	{id: "oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri", run: noReturn("post_logout_redirect_uri", loggedOut+"?foo=bar")},
	{id: "oidcc-rp-initiated-logout-bad-id-token-hint", run: noReturn("id_token_hint", "forged")},
}

// The modules of the Back-Channel Logout OP plan.
var backChannelModules = []module{
	{id: "oidcc-backchannel-logout-discovery-endpoint-verification", run: backChannelDiscovery},
	{id: "oidcc-backchannel-rp-initiated-logout", run: backChannel},
}

func logoutDiscovery(t *testing.T, e *env) {
	if p := e.provider(t); p.at("end_session_endpoint") == "" {
		t.Error("end_session_endpoint is missing")
	}
}

// end sends a browser to log out.
func (c *client) end(t *testing.T, p *provider, b *browser, params url.Values) *answer {
	t.Helper()
	return b.open(t, p.at("end_session_endpoint")+"?"+params.Encode())
}

// gone checks that nobody is logged in in a browser.
func (c *client) gone(t *testing.T, p *provider, b *browser) {
	t.Helper()
	r := c.request("prompt", "none")
	checkRefused(t, p, c, r, c.ask(t, p, b, r), "login_required", "interaction_required", "consent_required", "account_selection_required")
}

func logout(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		b := e.browser()
		l := c.login(t, p, b, "scope", "openid offline_access")
		params := url.Values{"id_token_hint": {l.idToken}, "post_logout_redirect_uri": {loggedOut}, "state": {random(128)}, "client_id": {c.id}}
		thief := b.stolen(t, p)
		c.login(t, p, thief, "prompt", "none")
		address, form := p.at("end_session_endpoint")+"?"+params.Encode(), url.Values(nil)
		if method == http.MethodPost {
			address, form = p.at("end_session_endpoint"), params
		}
		a := b.walk(t, b.load(t, method, address, form))
		if a.to != loggedOut || len(a.params) != 1 || a.params.Get("state") != params.Get("state") {
			t.Fatalf("%s: the browser went to %q with %s", method, a.to, names(a.params))
		}
		c.gone(t, p, b)
		c.gone(t, p, thief)
		checkUnknown(t, e.send(t, http.MethodGet, p.at("userinfo_endpoint"), c.bearer(t, p, l.access), ""))
		checkDenied(t, c.refreshed(t, p, l.refresh), "invalid_grant")
	}
}

func logoutWithoutState(t *testing.T, e *env) {
	p, b, c := e.provider(t), e.browser(), e.first
	l := c.login(t, p, b)
	a := c.end(t, p, b, url.Values{"id_token_hint": {l.idToken}, "post_logout_redirect_uri": {loggedOut}})
	if a.to != loggedOut || len(a.params) != 0 {
		t.Fatalf("the browser went to %q with %s", a.to, names(a.params))
	}
	c.gone(t, p, b)
}

// noReturn logs out with one parameter that is not as it must be: the browser
// may not be sent to the relying party.
func noReturn(name, value string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, b, c := e.provider(t), e.browser(), e.first
		l := c.login(t, p, b)
		switch value {
		case "unsigned":
			value := (&key{alg: "none"}).sign(t, map[string]any{"kid": nil}, l.id)
			noReturnWith(t, p, c, b, l, name, value)
		case "forged":
			header, _ := p.verify(t, l.idToken, "RS256")
			noReturnWith(t, p, c, b, l, name, newKey(t, "RS256", "").sign(t, header, l.id))
		default:
			noReturnWith(t, p, c, b, l, name, value)
		}
	}
}

func noReturnWith(t *testing.T, p *provider, c *client, b *browser, l *login, name, value string) {
	t.Helper()
	params := url.Values{"id_token_hint": {l.idToken}, "post_logout_redirect_uri": {loggedOut}, "state": {random(20)}}
	params.Set(name, value)
	stays := func(a *answer) {
		t.Helper()
		if a.mode != "" || a.page.to != nil || strings.Contains(a.page.links, ".example") || len(strings.Fields(a.page.text)) < 3 {
			t.Errorf("the browser went to %q, or the page is empty or leads there", a.to)
		}
	}
	stays(c.end(t, p, c.s.browser(), params)) // where nobody is logged in
	a := c.end(t, p, b, params)
	stays(a)
	// Whatever was not believed must not have logged anybody out unasked.
	same(t, b, l, c.login(t, p, b, "prompt", "none"))
	if question := a.page.form("endsession"); question != nil {
		stays(b.walk(t, b.press(t, a.page, question, "", "")))
	}
}

// told logs out with some of the usual parameters and no address to go back to:
// the person is told, after a question where another site could have asked.
func told(which ...string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		p, b, c := e.provider(t), e.browser(), e.first
		l := c.login(t, p, b)
		params := url.Values{"id_token_hint": {l.idToken}, "state": {random(20)}}
		for name := range params {
			if !slices.Contains(which, name) {
				params.Del(name)
			}
		}
		a := c.end(t, p, b, params)
		if question := a.page.form("endsession"); question != nil {
			if params.Has("id_token_hint") {
				t.Error("a client that shows whom it means is asked")
			}
			same(t, b, l, c.login(t, p, b, "prompt", "none")) // not yet
			a = b.walk(t, b.press(t, a.page, question, "", ""))
		} else if !params.Has("id_token_hint") {
			t.Error("any site can log people out")
		}
		if a.mode != "" || a.page.status != http.StatusOK || len(a.page.forms) != 0 {
			t.Errorf("the person is told with %d, %d forms, or sent to %q", a.page.status, len(a.page.forms), a.to)
		}
		c.gone(t, p, b)
	}
}

func backChannelDiscovery(t *testing.T, e *env) {
	p := e.provider(t)
	if p.at("end_session_endpoint") == "" || p.meta["backchannel_logout_supported"] != true || p.meta["backchannel_logout_session_supported"] != true {
		t.Error("the metadata do not announce back-channel logout")
	}
}

func backChannel(t *testing.T, e *env) {
	p, b := e.provider(t), e.browser()
	told := make(chan *http.Request, 10)
	at := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		if err := r.ParseForm(); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			told <- r
		}
	}))
	c := e.client(t, map[string]any{"post_logout_redirect_uris": []string{loggedOut}, "backchannel_logout_uri": at + "/logout"})
	l := c.login(t, p, b)
	a := c.end(t, p, b, url.Values{"id_token_hint": {l.idToken}, "post_logout_redirect_uri": {loggedOut}, "state": {"s"}})
	if a.to != loggedOut || a.params.Get("state") != "s" {
		t.Errorf("the browser went to %q with %s", a.to, names(a.params))
	}
	c.gone(t, p, b)
	select {
	case r := <-told:
		if r.Method != http.MethodPost || r.URL.Path != "/logout" || r.URL.RawQuery != "" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" ||
			len(r.PostForm) != 1 || len(r.PostForm["logout_token"]) != 1 || r.TLS == nil || r.TLS.Version < 0x0303 {
			t.Errorf("%s with %s", r.Method, names(r.PostForm))
		}
		checkLogoutToken(t, p, c, l, r.PostForm.Get("logout_token"))
	case <-time.After(20 * time.Second):
		t.Fatalf("the client is not told: %s", e.send(t, http.MethodGet, e.dev.URLs["control"]+"/sandbox/v1/webhooks", nil, "").body)
	}
}

// checkLogoutToken checks what a client is told (OP-BCL-01).
func checkLogoutToken(t *testing.T, p *provider, c *client, l *login, token string) {
	t.Helper()
	header, got := p.verify(t, token, "RS256")
	if header["typ"] != "logout+jwt" {
		t.Errorf("typ = %v", header["typ"])
	}
	now := c.s.now().Unix()
	iat, exp := number(got["iat"]), number(got["exp"])
	jti, _ := got["jti"].(string)
	if got["iss"] != p.issuer || got["aud"] != c.id || iat > now+5 || iat < now-60 || exp <= now || exp > now+180 || entropy(jti) < 60 {
		t.Errorf("logout token: iss %v, aud %v, iat %d, exp %d, now %d", got["iss"], got["aud"], iat, exp, now)
	}
	if got["sub"] != l.id["sub"] || got["sid"] != l.id["sid"] || got["sid"] == nil {
		t.Error("sub or sid are others than in the ID token")
	}
	events, _ := got["events"].(map[string]any)
	event, ok := events["http://schemas.openid.net/event/backchannel-logout"].(map[string]any)
	if len(events) != 1 || !ok || len(event) != 0 || got["nonce"] != nil {
		t.Errorf("events = %v", events)
	}
}
