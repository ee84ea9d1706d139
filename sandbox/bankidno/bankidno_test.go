package bankidno_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"eidgate/sandbox"
	"eidgate/sandbox/bankidno"
	"eidgate/sandbox/openid"
	"eidgate/sandbox/openid/openidtest"
)

const (
	back      = openidtest.Back
	ola       = "01819010354"
	challenge = openidtest.Challenge
	verifier  = openidtest.Verifier
	tinfo     = "http://userinfo.example/bankidno/tinfo"

	parPath   = "/protocol/openid-connect/ext/par/request"
	tokenPath = "/protocol/openid-connect/token"
	certsPath = "/protocol/openid-connect/certs"
)

type box struct {
	*bankidno.Simulator
	http http.Handler
}

func newBox(auto sandbox.Outcome) *box {
	people := sandbox.NewPeople()
	b := &box{Simulator: bankidno.New(bankidno.Config{Clock: sandbox.NewClock(true), People: people, Decisions: sandbox.NewDecisions(people, auto), Faults: sandbox.NewFaults(1),
		Base: func() string { return "http://bankid.example" }, UserInfo: func() string { return "http://userinfo.example" }})}
	b.http = b.Handler()
	return b
}

// send makes a call, with the header Authorization if one is given.
func (b *box) send(t testing.TB, method, address string, form url.Values, authorization ...string) *httptest.ResponseRecorder {
	t.Helper()
	return openidtest.Send(t, b.http, method, address, form, authorization...)
}

func (b *box) party(t testing.TB, name string, secret bool) openid.Registration {
	t.Helper()
	r, err := b.Party(name, back, secret)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// asks is a good request, with scopes beside openid.
func asks(r openid.Registration, scopes ...string) url.Values {
	return url.Values{"client_id": {r.ClientID}, "response_type": {"code"}, "redirect_uri": {back}, "scope": {strings.Join(append([]string{"openid"}, scopes...), " ")}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}}
}

func (b *box) authorize(t testing.TB, r openid.Registration, q url.Values) *httptest.ResponseRecorder {
	t.Helper()
	return b.send(t, http.MethodGet, r.Issuer+"/precheck/auth?"+q.Encode(), nil)
}

// begin is the page of a new login.
func (b *box) begin(t testing.TB, r openid.Registration, q url.Values) (page, ref string) {
	t.Helper()
	w := b.authorize(t, r, q)
	page = w.Header().Get("Location")
	ref, ok := strings.CutPrefix(page, "http://bankid.example/bankidno/login/")
	if !ok || w.Code != http.StatusSeeOther {
		t.Fatalf("no login: %d %s", w.Code, page)
	}
	return page, ref
}

// code logs somebody in; "" is the usual person.
func (b *box) code(t testing.TB, r openid.Registration, q url.Values, person string) string {
	t.Helper()
	page, ref := b.begin(t, r, q)
	if _, err := b.Do(ref, sandbox.Act{Event: "approve", Person: person}); err != nil {
		t.Fatal(err)
	}
	to := openidtest.Location(t, b.send(t, http.MethodGet, page, nil))
	if to.Query().Get("code") == "" {
		t.Fatalf("comes back with %s", to)
	}
	return to.Query().Get("code")
}

// login goes all the way.
func (b *box) login(t testing.TB, r openid.Registration, q url.Values, person string) openidtest.Said {
	t.Helper()
	w := b.send(t, http.MethodPost, r.Issuer+tokenPath, openidtest.Redeems(r, b.code(t, r, q, person)))
	out := openidtest.Read(t, w)
	if w.Code != http.StatusOK || out.ID == "" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return out
}

func (b *box) refused(t *testing.T, name string, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	if out := openidtest.Read(t, w); w.Code != status || out.Error != code || out.Description == "" || w.Header().Get("Cache-Control") != "no-store" || out.ID+out.Access+out.URI != "" {
		t.Errorf("%s: %d %s %v, want %d %s", name, w.Code, w.Body, w.Header(), status, code)
	}
}

// keys are those that are published.
func (b *box) keys(t testing.TB, r openid.Registration) jose.JSONWebKeySet {
	t.Helper()
	return openidtest.Keys(t, b.send(t, http.MethodGet, r.Issuer+certsPath, nil))
}

// seal encrypts to the provider.
func (b *box) seal(t testing.TB, r openid.Registration, text, kid string) string {
	t.Helper()
	return openidtest.Seal(t, b.keys(t, r), text, kid)
}

// verified reads a signed token: its header, and its members in their order.
func (b *box) verified(t testing.TB, r openid.Registration, token string) (head string, names []string, claims map[string]any) {
	t.Helper()
	return openidtest.Verified(t, b.keys(t, r), token)
}

// TestRequests: what is refused, and where: by a page, or at the way back.
func TestRequests(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	set := func(name, value string) func(url.Values) { return func(q url.Values) { q.Set(name, value) } }
	hint := func(value string) func(url.Values) { return set("login_hint", value) }
	const denied = "access_denied bankid_error_codes:"
	for name, x := range map[string]struct {
		change func(url.Values)
		want   string // error and description of the redirect; "" for a login, "page …" for none
	}{
		"good":                      {func(url.Values) {}, ""},
		"no PKCE":                   {func(q url.Values) { q.Del("code_challenge"); q.Del("code_challenge_method") }, ""},
		"all scopes":                {set("scope", "openid profile nnin_altsub nnin phone email address"), ""},
		"a session in the way":      {set("redirect_uri", back+"?session=1"), ""},
		"what nobody knows":         {set("merchant_name", "x"), ""},
		"mode query":                {set("response_mode", "query"), ""},
		"prompt login":              {set("prompt", "login"), ""},
		"nobody":                    {set("client_id", "x"), "page invalid_client"},
		"no client":                 {func(q url.Values) { q.Del("client_id") }, "page invalid_client"},
		"another way back":          {set("redirect_uri", back+"/"), "page invalid_redirect_uri"},
		"another host":              {set("redirect_uri", "https://other.example/back"), "page invalid_redirect_uri"},
		"no way back":               {func(q url.Values) { q.Del("redirect_uri") }, "page invalid_redirect_uri"},
		"more than the session":     {set("redirect_uri", back+"?session=1&x=2"), "page invalid_redirect_uri"},
		"two ways back":             {func(q url.Values) { q.Add("redirect_uri", "https://other.example") }, "invalid_request"},
		"twice":                     {func(q url.Values) { q.Add("nonce", "m") }, "invalid_request"},
		"a token":                   {set("response_type", "token"), "unsupported_response_type"},
		"no type":                   {func(q url.Values) { q.Del("response_type") }, "unsupported_response_type"},
		"no openid":                 {set("scope", "profile"), "invalid_scope"},
		"no scope":                  {func(q url.Values) { q.Del("scope") }, "invalid_scope"},
		"a scope that nobody has":   {set("scope", "openid sign"), "invalid_scope"},
		"silently":                  {set("prompt", "none"), "login_required"},
		"plain PKCE":                {set("code_challenge_method", "plain"), "invalid_request"},
		"PKCE without a method":     {func(q url.Values) { q.Del("code_challenge_method") }, "invalid_request"},
		"a challenge that is none":  {set("code_challenge", "x"), "invalid_request"},
		"mode form_post":            {set("response_mode", "form_post"), "invalid_request"},
		"a number":                  {hint("BID:" + ola), "invalid_request"},
		"a number alone":            {hint(":" + ola), "invalid_request"},
		"a number, under B2C":       {set("bid_login_hint", "BIS:"+ola), "invalid_request"},
		"BID":                       {hint("BID"), ""},
		"BIS":                       {hint("BIS"), ""},
		"BIM":                       {hint("BIM"), ""},
		"BIM of somebody":           {hint("BIM:99999999:010190"), ""},
		"BID, under B2C":            {set("bid_login_hint", "BID"), ""},
		"BIM without a birth date":  {hint("BIM:99999999"), denied + "4097"},
		"BIM without a phone":       {hint("BIM::010190"), denied + "4097"},
		"BIM with a short phone":    {hint("BIM:9999999:010190"), denied + "4097"},
		"a method that is none":     {hint("XID"), denied + "4100"},
		"a short number":            {hint("BID:123"), denied + "4100"},
		"small letters":             {hint("bid"), denied + "4100"},
		"a colon":                   {hint(":"), denied + "4100"},
		"a request of nobody":       {set("request_uri", "urn:ietf:params:oauth:request_uri:x"), "invalid_request_uri"},
		"a broken object":           {set("request", "a.b.c"), "invalid_request_object"},
		"a broken encrypted object": {set("request", "a.b.c.d.e"), "invalid_request_object"},
		"an object without a key":   {set("request", openidtest.Unsigned(map[string]any{"iss": r.ClientID, "aud": r.Issuer})), "invalid_request_object"},
	} {
		q := asks(r)
		x.change(q)
		w := b.authorize(t, r, q)
		to := openidtest.Location(t, w)
		page, stays := strings.CutPrefix(x.want, "page ")
		code, text, _ := strings.Cut(x.want, " ")
		switch {
		case stays && w.Code == http.StatusBadRequest && to.String() == "" && strings.Contains(w.Body.String(), "OIDC-"+page):
		case x.want == "" && w.Code == http.StatusSeeOther && strings.HasPrefix(to.String(), "http://bankid.example/bankidno/login/"):
		case x.want != "" && !stays && w.Code == http.StatusSeeOther && strings.HasPrefix(to.String(), back+"?error=") && to.Query().Get("error") == code && to.Query().Get("error_description") == text &&
			to.Query().Get("state") == "s" && !to.Query().Has("code"):
		default:
			t.Errorf("%s: %d %s, want %q", name, w.Code, to, x.want)
		}
	}
	if w := b.send(t, http.MethodPost, r.Issuer+"/precheck/auth", asks(r)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("a request by POST: %d", w.Code)
	}
	if w := b.send(t, http.MethodGet, r.Issuer+"/protocol/openid-connect/auth?"+asks(r).Encode(), nil); w.Code != http.StatusNotFound {
		t.Errorf("at Keycloak's usual address: %d", w.Code)
	}
	signs := b.party(t, "Signs", false)
	object := b.seal(t, signs, openidtest.Sign(t, signs, map[string]any{"iss": signs.ClientID, "aud": signs.Issuer, "response_type": "code", "scope": "openid", "redirect_uri": back}), "")
	q := url.Values{"client_id": {signs.ClientID}, "redirect_uri": {back}, "login_hint": {"BID:" + ola}, "request": {object}}
	if to := openidtest.Location(t, b.authorize(t, signs, q)); to.Query().Get("error") != "invalid_request" {
		t.Errorf("a number beside an object: %s", to)
	}
}

// TestHints: who is asked for by a hint that came in secret, and how.
func TestHints(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	for name, x := range map[string]struct{ hint, acr, method, person, page string }{
		"none":                 {"", "", "", "", `data-testid="bid"`},
		"BID":                  {"BID", "", "BID", "", `data-testid="number"`},
		"a number":             {":" + ola, "", "", "ola", `data-testid="bid"`},
		"BID and a number":     {"BID:" + ola, "", "BID", "ola", `data-testid="otp"`},
		"BIS and a number":     {"BIS:" + ola, "", "BIS", "ola", `data-testid="nobio"`},
		"BIS without any":      {"BIS:01819010273", "", "BIS", "kari", `data-testid="otp"`},
		"a number of nobody":   {"BID:01010112345", "", "BID", "", `data-testid="number"`},
		"BIM":                  {"BIM:99999999:010190", "", "BIM", "", `data-testid="number"`},
		"a level":              {"", "urn:bankid:bis", "BIS", "", `data-testid="number"`},
		"a level with LOA":     {"", "urn:bankid:bid;LOA=4", "BID", "", `data-testid="number"`},
		"a level nobody knows": {"", "4", "", "", `data-testid="bid"`},
		"a hint over a level":  {"BID", "urn:bankid:bis", "BID", "", `data-testid="number"`},
	} {
		q := asks(r)
		q.Set("login_hint", x.hint)
		q.Set("acr_values", x.acr)
		q.Set("client_secret", r.Secret)
		page, ref := b.begin(t, r, url.Values{"client_id": {r.ClientID}, "request_uri": {openidtest.Read(t, b.send(t, http.MethodPost, r.Issuer+parPath, q)).URI}})
		o, err := b.Order(ref)
		w := b.send(t, http.MethodGet, page, nil)
		if err != nil || o.For != x.person || o.Details.(map[string]string)["method"] != x.method || !strings.Contains(w.Body.String(), x.page) {
			t.Errorf("%s: %+v, %v\n%s", name, o, err, w.Body)
		}
	}
}

// TestObjects: a request object is signed or encrypted, by its client, for this server.
func TestObjects(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r, other, secret := b.party(t, "Shop", false), b.party(t, "Other", false), b.party(t, "Secret", true)
	claims := func(r openid.Registration, change func(map[string]any)) map[string]any {
		m := map[string]any{"iss": r.ClientID, "aud": r.Issuer, "client_id": r.ClientID, "response_type": "code", "redirect_uri": back, "scope": "openid profile", "state": "s", "nonce": "n", "login_hint": "BID:" + ola,
			"max_age": 60}
		if change != nil {
			change(m)
		}
		return m
	}
	text := func(m map[string]any) string {
		raw, _ := json.Marshal(m) // texts and numbers
		return string(raw)
	}
	until := func(d time.Duration) func(map[string]any) {
		return func(m map[string]any) { m["exp"] = b.Clock.Now().Add(d).Unix() }
	}
	for name, x := range map[string]struct {
		who    openid.Registration
		object string
		good   bool
	}{
		"signed":                         {r, openidtest.Sign(t, r, claims(r, nil)), true},
		"signed, to last":                {r, openidtest.Sign(t, r, claims(r, until(time.Minute))), true},
		"signed and encrypted":           {r, b.seal(t, r, openidtest.Sign(t, r, claims(r, nil)), ""), true},
		"encrypted alone":                {r, b.seal(t, r, text(claims(r, nil)), ""), true},
		"encrypted, of one with secret":  {secret, b.seal(t, r, text(claims(secret, nil)), ""), true},
		"unsigned":                       {r, openidtest.Unsigned(claims(r, nil)), false},
		"unsigned, of one with a secret": {secret, openidtest.Unsigned(claims(secret, nil)), false},
		"plain":                          {r, text(claims(r, nil)), false},
		"signed by another":              {r, openidtest.Sign(t, other, claims(r, nil)), false},
		"of another":                     {r, openidtest.Sign(t, other, claims(other, nil)), false},
		"in another's name":              {r, openidtest.Sign(t, r, claims(other, nil)), false},
		"in nobody's name":               {r, openidtest.Sign(t, r, claims(r, func(m map[string]any) { delete(m, "iss") })), false},
		"for another server":             {r, openidtest.Sign(t, r, claims(r, func(m map[string]any) { m["aud"] = r.Issuer + tokenPath })), false},
		"for nobody":                     {r, openidtest.Sign(t, r, claims(r, func(m map[string]any) { delete(m, "aud") })), false},
		"encrypted, for another server":  {r, b.seal(t, r, text(claims(r, func(m map[string]any) { m["aud"] = "x" })), ""), false},
		"encrypted, of another":          {r, b.seal(t, r, text(claims(other, nil)), ""), false},
		"encrypted, signed by another":   {r, b.seal(t, r, openidtest.Sign(t, other, claims(r, nil)), ""), false},
		"encrypted to another key":       {r, b.seal(t, r, text(claims(r, nil)), "old"), false},
		"encrypted nonsense":             {r, b.seal(t, r, "{", ""), false},
		"over":                           {r, openidtest.Sign(t, r, claims(r, until(-time.Minute))), false},
		"encrypted, and over":            {r, b.seal(t, r, text(claims(r, until(-time.Minute))), ""), false},
	} {
		w := b.authorize(t, x.who, url.Values{"client_id": {x.who.ClientID}, "redirect_uri": {back}, "request": {x.object}, "state": {"q"}})
		to := openidtest.Location(t, w)
		if x.good != strings.HasPrefix(to.Path, "/bankidno/login/") || !x.good && (to.Host != "party.example" || to.Query().Get("error") != "invalid_request_object" || to.Query().Get("state") != "q") {
			t.Errorf("%s, in an address: %d %s", name, w.Code, to)
		}
		f := url.Values{"request": {x.object}, "client_id": {x.who.ClientID}}
		if x.who.Secret != "" {
			f.Set("client_secret", x.who.Secret)
		} else {
			f.Set("client_assertion_type", assertionType)
			f.Set("client_assertion", openidtest.Sign(t, x.who, b.assertion(x.who, name)))
		}
		w = b.send(t, http.MethodPost, r.Issuer+parPath, f)
		if !x.good {
			b.refused(t, name, w, http.StatusBadRequest, "invalid_request_object")
		} else if w.Code != http.StatusCreated {
			t.Errorf("%s, pushed: %d %s", name, w.Code, w.Body)
		}
	}
	w := b.authorize(t, r, url.Values{"client_id": {r.ClientID}, "request": {"x"}})
	if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
		t.Errorf("a broken object, and no way back beside it: %d %v", w.Code, w.Header())
	}
	_, ref := b.begin(t, r, url.Values{"client_id": {r.ClientID}, "request": {openidtest.Sign(t, r, claims(r, nil))}, "scope": {"openid phone"}})
	if o, err := b.Order(ref); err != nil || o.For != "ola" || !strings.Contains(o.Asked, "openid profile") || strings.Contains(o.Asked, "phone") {
		t.Errorf("%+v, %v", o, err)
	}
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertion are the claims of a good one.
func (b *box) assertion(r openid.Registration, jti string) map[string]any {
	return map[string]any{"iss": r.ClientID, "sub": r.ClientID, "aud": r.Issuer, "jti": jti, "exp": b.Clock.Now().Add(time.Minute).Unix()}
}

// TestPushed: a request is pushed by its client, and comes once, in time.
func TestPushed(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r, other := b.party(t, "Shop", true), b.party(t, "Other", true)
	form := func(change func(url.Values)) url.Values {
		q := asks(r)
		q.Set("client_secret", r.Secret)
		change(q)
		return q
	}
	push := func(change func(url.Values)) *httptest.ResponseRecorder {
		return b.send(t, http.MethodPost, r.Issuer+parPath, form(change))
	}
	nothing := func(url.Values) {}
	for name, x := range map[string]struct {
		change func(url.Values)
		status int
		want   string
	}{
		"a wrong secret":      {func(q url.Values) { q.Set("client_secret", "guess") }, 401, "invalid_client"},
		"no secret":           {func(q url.Values) { q.Del("client_secret") }, 401, "invalid_client"},
		"another's secret":    {func(q url.Values) { q.Set("client_secret", other.Secret) }, 401, "invalid_client"},
		"nobody":              {func(q url.Values) { q.Set("client_id", "x") }, 401, "invalid_client"},
		"twice":               {func(q url.Values) { q.Add("nonce", "m") }, 400, "invalid_request"},
		"one that was pushed": {func(q url.Values) { q.Set("request_uri", "urn:x") }, 400, "invalid_request"},
		"a broken object":     {func(q url.Values) { q.Set("request", "x") }, 400, "invalid_request_object"},
	} {
		b.refused(t, name, push(x.change), x.status, x.want)
	}
	w := push(nothing)
	out := openidtest.Read(t, w)
	if w.Code != http.StatusCreated || w.Header().Get("Cache-Control") != "no-store" || !strings.HasPrefix(out.URI, "urn:ietf:params:oauth:request_uri:") || out.Expires != 60 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	use := func(r openid.Registration, uri string) *httptest.ResponseRecorder {
		return b.authorize(t, r, url.Values{"client_id": {r.ClientID}, "request_uri": {uri}})
	}
	strands := func(name string, w *httptest.ResponseRecorder) {
		t.Helper()
		if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" || !strings.Contains(w.Body.String(), "OIDC-") {
			t.Errorf("%s: %d %s", name, w.Code, w.Header().Get("Location"))
		}
	}
	strands("by another client", use(other, out.URI))
	_, ref := b.begin(t, r, url.Values{"client_id": {r.ClientID}, "request_uri": {out.URI}, "scope": {"sign"}, "login_hint": {"x"}}) // what stands beside it does not count
	if o, err := b.Order(ref); err != nil || !strings.Contains(o.Asked, "openid") {
		t.Errorf("%+v, %v", o, err)
	}
	strands("twice", use(r, out.URI))
	to := openidtest.Location(t, b.authorize(t, r, url.Values{"client_id": {r.ClientID}, "request_uri": {out.URI}, "redirect_uri": {back}, "state": {"q"}}))
	if to.Host != "party.example" || to.Query().Get("error") != "invalid_request_uri" || to.Query().Get("state") != "q" {
		t.Errorf("twice, with a way back: %s", to)
	}
	late := openidtest.Read(t, push(nothing)).URI
	b.Clock.Advance(61 * time.Second)
	strands("after its time", use(r, late))
	strands("never pushed", use(r, out.URI+"0"))

	basic := func(q url.Values) string {
		q.Del("client_secret")
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(r.ClientID)+":"+url.QueryEscape(r.Secret)))
	}
	q := form(nothing)
	if w := b.send(t, http.MethodPost, r.Issuer+parPath, q, basic(q)); w.Code != http.StatusCreated {
		t.Errorf("with the secret in the header: %d", w.Code)
	}
	_, ref = b.begin(t, r, url.Values{"client_id": {r.ClientID}, "request_uri": {openidtest.Read(t, push(nothing)).URI}})
	if o, err := b.Order(ref); err != nil || o.Asked == "" || strings.Contains(o.Asked, r.Secret) {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := b.Change(func(s *bankidno.Settings) error { s.PAR = false; return nil }); err != nil {
		t.Fatal(err)
	}
	if w := push(nothing); w.Code != http.StatusNotFound {
		t.Errorf("with PAR off: %d", w.Code)
	}
}

// TestCodes: a code works once, for a minute, for its client, way back and verifier.
func TestCodes(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r, other := b.party(t, "Shop", true), b.party(t, "Other", true)
	post := func(f url.Values) *httptest.ResponseRecorder {
		return b.send(t, http.MethodPost, r.Issuer+tokenPath, f)
	}
	first := b.code(t, r, asks(r), "")
	w := post(openidtest.Redeems(r, first))
	out := openidtest.Read(t, w)
	if w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" || out.Type != "Bearer" || out.Expires != 300 || out.Scope != "openid" || out.Session == "" || out.Access == "" || out.ID == "" {
		t.Errorf("once: %d %s", w.Code, w.Body)
	}
	b.refused(t, "twice", post(openidtest.Redeems(r, first)), 400, "invalid_grant")
	for name, change := range map[string]func(url.Values){
		"of another": func(f url.Values) {
			f.Set("client_id", other.ClientID)
			f.Set("client_secret", other.Secret)
		},
		"by another way":       func(f url.Values) { f.Set("redirect_uri", back+"?session=1") },
		"by no way":            func(f url.Values) { f.Del("redirect_uri") },
		"by a wrong verifier":  func(f url.Values) { f.Set("code_verifier", strings.ToUpper(verifier)) },
		"by the challenge":     func(f url.Values) { f.Set("code_verifier", challenge) },
		"without a verifier":   func(f url.Values) { f.Del("code_verifier") },
		"that nobody wrote":    func(f url.Values) { f.Set("code", "x") },
		"that is missing":      func(f url.Values) { f.Del("code") },
		"after its life":       func(url.Values) { b.Clock.Advance(61 * time.Second) },
		"that is another code": func(f url.Values) { f.Set("code", first) },
	} {
		f := openidtest.Redeems(r, b.code(t, r, asks(r), ""))
		change(f)
		b.refused(t, "a code "+name, post(f), 400, "invalid_grant")
	}
	f := openidtest.Redeems(r, b.code(t, r, asks(r), ""))
	b.Clock.Advance(59 * time.Second)
	if w := post(f); w.Code != 200 {
		t.Errorf("in time: %d %s", w.Code, w.Body)
	}

	f = openidtest.Redeems(r, b.code(t, r, asks(r), ""))
	change := func(name, value string) url.Values {
		g := maps.Clone(f)
		g.Set(name, value)
		return g
	}
	b.refused(t, "a wrong secret", post(change("client_secret", "guess")), 401, "invalid_client")
	b.refused(t, "another's secret", post(change("client_secret", other.Secret)), 401, "invalid_client")
	b.refused(t, "nobody", post(change("client_id", "x")), 401, "invalid_client")
	b.refused(t, "nothing", post(nil), 401, "invalid_client")
	b.refused(t, "another grant", post(change("grant_type", "refresh_token")), 400, "unsupported_grant_type")
	b.refused(t, "a query", b.send(t, http.MethodPost, r.Issuer+tokenPath+"?x=1", f), 400, "invalid_request")
	b.refused(t, "two proofs", b.send(t, http.MethodPost, r.Issuer+tokenPath, f, "Basic "+base64.StdEncoding.EncodeToString([]byte(r.ClientID+":"+r.Secret))), 401, "invalid_client")
	if w := post(f); w.Code != 200 {
		t.Errorf("calls of who could not say who they are have spent the code: %d %s", w.Code, w.Body)
	}
	if w := b.send(t, http.MethodGet, r.Issuer+tokenPath, nil); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("by GET: %d", w.Code)
	}
}

// TestAssertions: signed by the client, for the token endpoint, used once.
func TestAssertions(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r, other, secret := b.party(t, "Shop", false), b.party(t, "Other", false), b.party(t, "Secret", true)
	say := func(who openid.Registration, token string) *httptest.ResponseRecorder {
		return b.send(t, http.MethodPost, r.Issuer+tokenPath, url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {back}, "client_id": {who.ClientID},
			"client_assertion_type": {assertionType}, "client_assertion": {token}})
	}
	good := b.assertion(r, "1")
	b.refused(t, "good", say(r, openidtest.Sign(t, r, good)), 400, "invalid_grant") // the client is known; the code is not
	at := b.assertion(r, "2")
	at["aud"] = r.Issuer + tokenPath
	b.refused(t, "for the token endpoint", say(r, openidtest.Sign(t, r, at)), 400, "invalid_grant")
	for name, change := range map[string]func(map[string]any){
		"replayed":           func(m map[string]any) { m["jti"] = "1" },
		"for another server": func(m map[string]any) { m["aud"] = "https://auth.bankid.no/auth/realms/prod" },
		"for PAR":            func(m map[string]any) { m["aud"] = r.Issuer + parPath },
		"over":               func(m map[string]any) { m["exp"] = b.Clock.Now().Unix() },
		"of somebody":        func(m map[string]any) { m["sub"] = other.ClientID },
		"without a number":   func(m map[string]any) { delete(m, "jti") },
		"without an end":     func(m map[string]any) { delete(m, "exp") },
	} {
		m := b.assertion(r, "bad "+name)
		change(m)
		b.refused(t, "an assertion "+name, say(r, openidtest.Sign(t, r, m)), 401, "invalid_client")
	}
	b.refused(t, "another's", say(r, openidtest.Sign(t, other, b.assertion(r, "3"))), 401, "invalid_client")
	b.refused(t, "unsigned", say(r, openidtest.Unsigned(b.assertion(r, "3"))), 401, "invalid_client")
	b.refused(t, "of one with a secret", say(secret, openidtest.Sign(t, r, b.assertion(secret, "3"))), 401, "invalid_client")
	b.refused(t, "no secret", b.send(t, http.MethodPost, r.Issuer+tokenPath, openidtest.Redeems(r, "x")), 401, "invalid_client")

	f := openidtest.Redeems(r, b.code(t, r, asks(r), ""))
	f.Del("client_secret")
	f.Set("client_assertion_type", assertionType)
	f.Set("client_assertion", openidtest.Sign(t, r, b.assertion(r, "4")))
	if w := b.send(t, http.MethodPost, r.Issuer+tokenPath, f); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestDiscovery: what is published, and that it is there.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	get := func() (raw []byte, out map[string]any) {
		w := b.send(t, http.MethodGet, r.Issuer+"/.well-known/openid-configuration", nil)
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		return w.Body.Bytes(), out
	}
	raw, out := get()
	for name, want := range map[string]any{"issuer": r.Issuer, "authorization_endpoint": r.Issuer + "/precheck/auth", "token_endpoint": r.Issuer + tokenPath, "userinfo_endpoint": tinfo + "/userinfo",
		"jwks_uri": r.Issuer + certsPath, "pushed_authorization_request_endpoint": r.Issuer + parPath, "require_pushed_authorization_requests": false, "request_parameter_supported": true,
		"code_challenge_methods_supported": []any{"S256"}, "response_types_supported": []any{"code"}, "id_token_signing_alg_values_supported": []any{"RS256"}} {
		if !cmp.Equal(out[name], want) {
			t.Errorf("%s: %v", name, out[name])
		}
	}
	want := []string{"issuer", "authorization_endpoint", "token_endpoint", "introspection_endpoint", "userinfo_endpoint", "end_session_endpoint", "jwks_uri", "response_types_supported", "response_modes_supported"}
	if got := openidtest.Members(t, raw); len(got) < len(want) || !cmp.Equal(got[:len(want)], want) {
		t.Errorf("%v", got)
	}
	if _, err := b.Change(func(s *bankidno.Settings) error { s.PAR = false; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, out := get(); out["pushed_authorization_request_endpoint"] != nil || out["require_pushed_authorization_requests"] != nil {
		t.Error("PAR is published, and off")
	}
	for _, name := range []string{"introspection_endpoint", "end_session_endpoint"} {
		if w := b.send(t, http.MethodPost, out[name].(string), nil); w.Code != http.StatusNotImplemented {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	uses := map[string]string{}
	for _, k := range b.keys(t, r).Keys {
		uses[k.Use] = k.Algorithm
		if !k.Valid() || !k.IsPublic() || k.KeyID == "" {
			t.Errorf("key %s", k.KeyID)
		}
	}
	if !cmp.Equal(uses, map[string]string{"sig": "RS256", "enc": "RSA-OAEP-256"}) {
		t.Errorf("keys %v", uses)
	}
	if w := b.send(t, http.MethodGet, "http://bankid.example/bankidno/.well-known/openid-configuration", nil); w.Code != http.StatusNotFound || w.Header().Get("X-Eidgate-Sandbox") != "1" {
		t.Errorf("elsewhere: %d", w.Code)
	}
	if _, err := b.Change(func(s *bankidno.Settings) error { s.API = "v3"; return nil }); err == nil || b.Settings().API != "v2" {
		t.Errorf("another API: %v", err)
	}
	if _, err := b.Change(func(s *bankidno.Settings) error { s.API = "v1"; return fmt.Errorf("no") }); err == nil || b.Settings().API != "v2" {
		t.Errorf("a change that fails: %v", err)
	}
}

// TestIDToken: its members and their order, by method and version.
func TestIDToken(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	common := "jti exp nbf iat iss aud sub typ azp nonce auth_time session_state at_hash "
	for _, x := range []struct {
		name, hint, person, api string
		scopes                  []string
		members                 string
		acr                     string
		amr                     any
		sub                     int // letters
		originator              string
		nothing                 bool // biometrics off
	}{
		{name: "password", hint: "BID", person: "ola", api: "v2", scopes: []string{"profile", "nnin_altsub"},
			members: common + "name given_name family_name birthdate updated_at acr nnin_altsub amr sid bankid_altsub originator tid additionalCertInfo",
			acr:     "urn:bankid:bid;LOA=4", amr: []any{"bid", "bid-mfa", "bid-otp", "bid-pwd"}, sub: 36, originator: "CN="},
		{name: "old", hint: "BID", person: "ola", api: "v1", scopes: []string{"profile", "nnin_altsub"},
			members: common + "name given_name family_name birthdate updated_at acr nnin_altsub amr bankid_altsub originator tid additionalCertInfo",
			acr:     "urn:bankid:bid;LOA=4", amr: "BID", sub: 36, originator: "CN="},
		{name: "biometrics", hint: "BIS", person: "ola", api: "v2", scopes: []string{"profile"}, members: common + "name given_name family_name birthdate updated_at acr amr sid bankid_altsub originator tid",
			acr: "urn:bankid:bis;LOA=3", amr: []any{"bis-mfa", "bis-hwk"}, sub: 43, originator: "C=NO,"},
		{name: "old biometrics", hint: "BIS", person: "ola", api: "v1", members: common + "updated_at acr amr bankid_altsub originator tid",
			acr: "urn:bankid:bis;LOA=3", amr: "BIS", sub: 43, originator: "C=NO,"},
		{name: "nothing but openid", hint: "BID", person: "kari", api: "v2", members: common + "updated_at acr amr sid bankid_altsub originator tid additionalCertInfo",
			acr: "urn:bankid:bid;LOA=4", amr: []any{"bid", "bid-mfa", "bid-otp", "bid-pwd"}, sub: 36, originator: "CN="},
		{name: "no biometrics", hint: "BIS", person: "kari", api: "v2", members: common + "updated_at acr amr sid bankid_altsub originator tid additionalCertInfo",
			acr: "urn:bankid:bid;LOA=4", amr: []any{"bid", "bid-mfa", "bid-otp", "bid-pwd"}, sub: 36, originator: "CN="},
		{name: "biometrics off", hint: "BIS", person: "ola", api: "v2", nothing: true, members: common + "updated_at acr amr sid bankid_altsub originator tid additionalCertInfo",
			acr: "urn:bankid:bid;LOA=4", amr: []any{"bid", "bid-mfa", "bid-otp", "bid-pwd"}, sub: 36, originator: "CN="},
	} {
		if _, err := b.Change(func(s *bankidno.Settings) error { s.API, s.Biometrics = x.api, !x.nothing; return nil }); err != nil {
			t.Fatal(err)
		}
		q := asks(r, x.scopes...)
		q.Set("login_hint", x.hint)
		out := b.login(t, r, q, x.person)
		head, names, c := b.verified(t, r, out.ID)
		if head != `{"alg":"RS256","kid":"bankidno-sig","typ":"JWT"}` {
			t.Errorf("%s: header %s", x.name, head)
		}
		if diff := cmp.Diff(strings.Fields(x.members), names); diff != "" {
			t.Errorf("%s: %s", x.name, diff)
		}
		now := float64(b.Clock.Now().Unix())
		nbf := now
		if x.api == "v1" {
			nbf = 0
		}
		p, err := b.People.Get(x.person)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{"iss": r.Issuer, "aud": r.ClientID, "azp": r.ClientID, "typ": "ID", "nonce": "n", "iat": now, "exp": now + 300, "nbf": nbf, "auth_time": now, "acr": x.acr, "amr": x.amr,
			"session_state": out.Session, "at_hash": openid.HalfHash(out.Access), "bankid_altsub": p.BankIDNO.PID} {
			if !cmp.Equal(c[name], want) {
				t.Errorf("%s: %s is %v, want %v", x.name, name, c[name], want)
			}
		}
		if len(c["sub"].(string)) != x.sub || !strings.HasPrefix(c["originator"].(string), x.originator) || c["sid"] != nil && c["sid"] != out.Session {
			t.Errorf("%s: %v", x.name, c)
		}
		issued := b.Clock.Now().AddDate(-1, 0, 0).UTC().Truncate(24 * time.Hour)
		updated := issued.UnixMilli()
		if strings.HasPrefix(x.acr, "urn:bankid:bis") {
			updated = issued.Unix()
		}
		if c["updated_at"] != float64(updated) {
			t.Errorf("%s: updated_at is %v, want %d", x.name, c["updated_at"], updated)
		}
		if slices.Contains(x.scopes, "profile") && (c["name"] != "Ola Nordmann" || c["given_name"] != "Ola" || c["family_name"] != "Nordmann" || c["birthdate"] != "1990-01-01") {
			t.Errorf("%s: %v", x.name, c)
		}
		if slices.Contains(x.scopes, "nnin_altsub") && c["nnin_altsub"] != ola {
			t.Errorf("%s: %v", x.name, c)
		}
		if info, ok := c["additionalCertInfo"].(map[string]any); ok && (info["certQualified"] != true || info["certValidFrom"] != c["updated_at"] || !strings.HasSuffix(info["subjectName"].(string), ",O=TestBank1 AS,C=NO,SERIALNUMBER="+p.BankIDNO.PID)) {
			t.Errorf("%s: %v", x.name, info)
		}
		if len(out.Session) != x.sub {
			t.Errorf("%s: sub has %d letters, session_state %d", x.name, x.sub, len(out.Session))
		}
	}
	subject := func(hint, person string) any {
		q := asks(r)
		q.Set("login_hint", hint)
		_, _, c := b.verified(t, r, b.login(t, r, q, person).ID)
		return c["sub"]
	}
	if subject("BID", "ola") != subject("BID", "ola") || subject("BID", "ola") == subject("BID", "kari") || subject("BID", "ola") == subject("BID", "byttet") {
		t.Error("the subject is not the same, or that of another")
	}
	q := asks(r)
	q.Del("nonce")
	if _, names, _ := b.verified(t, r, b.login(t, r, q, "").ID); slices.Contains(names, "nonce") {
		t.Error("a nonce that nobody sent")
	}
}

// TestUserInfo: a signed token of another host, with what the person shares.
func TestUserInfo(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	all := []string{"nnin", "phone", "email", "address"}
	for _, x := range []struct {
		name, person string
		scopes       []string
		members      string
	}{
		{"everything", "ola", all, "iss aud iat exp sub nnin email email_verified phone_number phone_number_verified address"},
		{"phone", "ola", []string{"phone"}, "iss aud iat exp sub phone_number phone_number_verified"},
		{"nothing", "ola", []string{"profile", "nnin_altsub"}, "iss aud iat exp sub"},
		{"declines", "hemmelig", all, "iss aud iat exp sub"},
	} {
		out := b.login(t, r, asks(r, x.scopes...), x.person)
		w := b.send(t, http.MethodGet, tinfo+"/userinfo", nil, "Bearer "+out.Access)
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/jwt" {
			t.Fatalf("%s: %d %v", x.name, w.Code, w.Header())
		}
		_, names, c := b.verified(t, r, w.Body.String())
		_, _, id := b.verified(t, r, out.ID)
		if diff := cmp.Diff(strings.Fields(x.members), names); diff != "" || c["iss"] != tinfo || c["aud"] != r.ClientID || c["sub"] != id["sub"] || c["exp"].(float64)-c["iat"].(float64) != 300 {
			t.Errorf("%s: %v %s", x.name, c, diff)
		}
		if x.name == "everything" && (c["nnin"] != ola || c["phone_number"] != "+4799999999" || c["address"].(map[string]any)["locality"] != "Oslo") {
			t.Errorf("%v", c)
		}
	}
	out := b.login(t, r, asks(r), "")
	get := func(header ...string) *httptest.ResponseRecorder {
		return b.send(t, http.MethodGet, tinfo+"/userinfo", nil, header...)
	}
	for name, w := range map[string]*httptest.ResponseRecorder{"no token": get(), "a wrong one": get("Bearer x"), "another scheme": get("Basic " + out.Access), "the ID token": get("Bearer " + out.ID), "an empty one": get("Bearer ")} {
		if w.Code != 401 || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") || w.Body.Len() != 0 {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	b.Clock.Advance(299 * time.Second)
	if w := get("Bearer " + out.Access); w.Code != 200 {
		t.Errorf("in time: %d", w.Code)
	}
	b.Clock.Advance(2 * time.Second)
	if w := get("Bearer " + out.Access); w.Code != 401 {
		t.Errorf("after expires_in: %d", w.Code)
	}
}

// TestPages: a person goes from page to page.
func TestPages(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop <b>", true)
	type step struct {
		form string
		want string // what the page has, after "!" with status 400; "-" and a parameter for a way back
	}
	const failed = `!data-testid="error"`
	for name, steps := range map[string][]step{
		"password": {{"act=BID", `data-testid="number"`}, {"act=user&number=123", failed}, {"act=user&number=" + ola, `data-testid="otp"`}, {"act=code&otp=1&password=qwer1234", failed},
			{"act=code&otp=otp&password=1", failed}, {"act=code&otp=otp&password=qwer1234", `data-testid="shares"`}, {"act=approve", "-code"}},
		"biometrics":             {{"act=BIS", `data-testid="number"`}, {"person=ola", `data-testid="nobio"`}, {"act=approve", `data-testid="shares"`}, {"act=keep", "-code"}},
		"biometrics fail":        {{"act=BIS", `data-testid="number"`}, {"person=ola", `data-testid="nobio"`}, {"act=nobio", `data-testid="otp"`}},
		"without biometrics":     {{"act=BIS", `data-testid="number"`}, {"person=kari", `data-testid="otp"`}},
		"nobody":                 {{"act=BID", `data-testid="number"`}, {"person=x", "!Nobody here"}, {"person=ada", "!Nobody here"}},
		"no such button":         {{"act=x", "!no such button"}},
		"code before a name":     {{"act=BID", `data-testid="number"`}, {"act=code&otp=otp&password=qwer1234", `data-testid="number"`}},
		"the app's button":       {{"act=approve", `!data-testid="bid"`}, {"act=BID", `data-testid="number"`}, {"act=approve", failed}, {"person=ola", `data-testid="otp"`}, {"act=approve", failed}},
		"nothing to share yet":   {{"act=BIS", `data-testid="number"`}, {"person=ola", `data-testid="nobio"`}, {"act=keep", `!data-testid="nobio"`}},
		"somebody else, at last": {{"act=BIS", `data-testid="number"`}, {"person=ola", `data-testid="nobio"`}, {"act=approve", `data-testid="shares"`}, {"person=kari", `data-testid="otp"`}},
		"cancel":                 {{"act=cancel", "-error_description=bankid_error_codes:C301"}},
		"fail":                   {{"act=BID", `data-testid="number"`}, {"act=fail", "-error_description=bankid_error_codes:12288"}},
		"close":                  {{"act=close", "OIDC-12289"}},
		"who always cancels":     {{"act=BID", `data-testid="number"`}, {"person=avbryter", "-error_description=bankid_error_codes:C301"}},
		"and by number":          {{"act=BID", `data-testid="number"`}, {"act=user&number=10859210126", "-error_description=bankid_error_codes:C301"}},
	} {
		page, ref := b.begin(t, r, asks(r, "phone"))
		if w := b.send(t, http.MethodGet, page, nil); w.Code != 200 || !strings.Contains(w.Body.String(), "Shop &lt;b&gt;") || w.Header().Get("Cache-Control") != "no-store" || !strings.Contains(w.Body.String(), `data-testid="banner"`) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		for i, x := range steps {
			form, err := url.ParseQuery(x.form)
			if err != nil {
				t.Fatal(err)
			}
			w := b.send(t, http.MethodPost, page, form)
			to := openidtest.Location(t, w)
			param, wantsBack := strings.CutPrefix(x.want, "-")
			param, value, _ := strings.Cut(param, "=")
			text, wrong := strings.CutPrefix(x.want, "!")
			switch {
			case wantsBack && w.Code == http.StatusSeeOther && to.Host == "party.example" && to.Query().Get(param) != "" && strings.HasPrefix(to.Query().Get(param), value) && to.Query().Get("state") == "s":
			case !wantsBack && strings.Contains(w.Body.String(), text) && to.String() == "" && (w.Code == http.StatusBadRequest) == wrong:
			default:
				t.Errorf("%s, step %d: %d %s\n%s", name, i, w.Code, to, w.Body)
			}
		}
		if o, err := b.Order(ref); err != nil || (o.State == "ended") != (strings.HasPrefix(steps[len(steps)-1].want, "-") || name == "close") {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if w := b.send(t, method, "http://bankid.example/bankidno/login/x", nil); w.Code != 404 {
			t.Errorf("a page of no login: %d", w.Code)
		}
	}
	out := b.login(t, r, asks(r, "phone"), "ola")
	if out.ID == "" {
		t.Error("nobody is logged in")
	}
}

// TestKeeps: who does not share is logged in, and UserInfo is silent.
func TestKeeps(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	for button, shares := range map[string]bool{"approve": true, "keep": false} {
		q := asks(r, "phone")
		q.Set("login_hint", "BIS")
		page, _ := b.begin(t, r, q)
		b.send(t, http.MethodPost, page, url.Values{"person": {"ola"}})
		b.send(t, http.MethodPost, page, url.Values{"act": {"approve"}})
		code := openidtest.Location(t, b.send(t, http.MethodPost, page, url.Values{"act": {button}})).Query().Get("code")
		out := openidtest.Read(t, b.send(t, http.MethodPost, r.Issuer+tokenPath, openidtest.Redeems(r, code)))
		_, names, _ := b.verified(t, r, b.send(t, http.MethodGet, tinfo+"/userinfo", nil, "Bearer "+out.Access).Body.String())
		if slices.Contains(names, "phone_number") != shares {
			t.Errorf("%s: %v", button, names)
		}
	}
}

// TestEnds: what a party is told of each end, and that a page says it again.
func TestEnds(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	const denied = "error=access_denied&error_description=bankid_error_codes%3A"
	for event, want := range map[string]string{"cancel": denied + "C301", "decline": denied + "12288", "expire": denied + "C302", "fail:C131": denied + "C131", "fail:14ab": denied + "14ab", "fail:server_error": "error=server_error",
		"fail:invalid_scope": "error=invalid_scope", "approve": "state=s&code="} {
		page, ref := b.begin(t, r, asks(r))
		if _, err := b.Do(ref, sandbox.Act{Event: event}); err != nil {
			t.Fatal(err)
		}
		first := b.send(t, http.MethodGet, page, nil)
		to := first.Header().Get("Location")
		if first.Code != http.StatusSeeOther || !strings.HasPrefix(to, back+"?"+want) || !strings.Contains(to, "&session_state=") || !strings.Contains(to, "state=s&") {
			t.Errorf("%s: %d %s", event, first.Code, to)
		}
		if again := b.send(t, http.MethodPost, page, url.Values{"act": {"cancel"}}).Header().Get("Location"); again != to {
			t.Errorf("%s, and a button: %s", event, again)
		}
	}
	page, _ := b.begin(t, r, asks(r))
	b.Clock.Advance(5 * time.Minute)
	if to := openidtest.Location(t, b.send(t, http.MethodGet, page, nil)); to.Query().Get("error_description") != "bankid_error_codes:C302" {
		t.Errorf("after five minutes: %s", to)
	}
	page, ref := b.begin(t, r, asks(r))
	if _, err := b.Do(ref, sandbox.Act{Event: "fail:no_return"}); err != nil {
		t.Fatal(err)
	}
	if w := b.send(t, http.MethodGet, page, nil); w.Header().Get("Location") != "" || !strings.Contains(w.Body.String(), "OIDC-") {
		t.Errorf("never back: %d %v", w.Code, w.Header())
	}
	for outcome, want := range map[sandbox.Outcome]string{"approve after 3s": "Waiting", "expire": "Nobody acts"} {
		page, ref := b.begin(t, r, asks(r))
		b.Decisions.Set(ref, sandbox.Decision{Outcome: outcome})
		if w := b.send(t, http.MethodGet, page, nil); w.Code != 200 || !strings.Contains(w.Body.String(), want) || (w.Header().Get("Refresh") == "3") != (outcome != "expire") {
			t.Errorf("%s: %d %v", outcome, w.Code, w.Header())
		}
	}
}

// TestPeople: the page of numbers lists everybody with a Norwegian BankID, and
// nobody else.
func TestPeople(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	q := asks(r)
	q.Set("login_hint", "BID")
	page, ref := b.begin(t, r, q)
	body := b.send(t, http.MethodGet, page, nil).Body.String()
	seen := 0
	for _, p := range b.People.List() {
		if p.BankIDNO != nil {
			seen++
		}
		if strings.Contains(body, `data-testid="person-`+p.Key+`"`) != (p.BankIDNO != nil) {
			t.Errorf("%s is listed: %v", p.Key, p.BankIDNO == nil)
		}
		if _, err := b.Do(ref, sandbox.Act{Event: "approve", Person: p.Key}); p.BankIDNO == nil && err == nil {
			t.Errorf("%s logs in without a BankID", p.Key)
		} else if p.BankIDNO != nil {
			_, ref = b.begin(t, r, q)
		}
	}
	if seen < 6 {
		t.Errorf("only %d people", seen)
	}
}

// strike is a call while a fault is on; what is thrown is what a connection
// would end by.
func (b *box) strike(t *testing.T, f sandbox.Fault, call func() *httptest.ResponseRecorder) (got string) {
	t.Helper()
	if err := f.Check(bankidno.Faults()[f.Target]); err != nil {
		t.Error(err)
	}
	f = b.Faults.Add(f)
	defer b.Faults.Remove(f.ID)
	defer func() {
		if r := recover(); r != nil {
			got = fmt.Sprint(r)
		}
	}()
	w := call()
	return fmt.Sprintf("%d %s", w.Code, w.Body)
}

// TestCallFaults: each kind of each target shows.
func TestCallFaults(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	page, _ := b.begin(t, r, asks(r))
	calls := map[string][]func() *httptest.ResponseRecorder{
		"bankidno.par":      {func() *httptest.ResponseRecorder { return b.send(t, http.MethodPost, r.Issuer+parPath, url.Values{}) }},
		"bankidno.token":    {func() *httptest.ResponseRecorder { return b.send(t, http.MethodPost, r.Issuer+tokenPath, url.Values{}) }},
		"bankidno.userinfo": {func() *httptest.ResponseRecorder { return b.send(t, http.MethodGet, tinfo+"/userinfo", nil) }},
		"bankidno.jwks":     {func() *httptest.ResponseRecorder { return b.send(t, http.MethodGet, r.Issuer+certsPath, nil) }},
		"bankidno": {func() *httptest.ResponseRecorder {
			return b.send(t, http.MethodGet, r.Issuer+"/.well-known/openid-configuration", nil)
		}, func() *httptest.ResponseRecorder { return b.authorize(t, r, url.Values{}) }},
	}
	for target := range calls {
		if target != "bankidno" {
			calls["bankidno"] = append(calls["bankidno"], calls[target]...)
		}
	}
	want := map[string]string{sandbox.Status: `503 {"errorCode":"maintenance","details":"injected"}`, sandbox.HTML: "502 <html>", sandbox.Reset: http.ErrAbortHandler.Error(), sandbox.Garbage: "200 <<<not json>>>",
		sandbox.Truncate: `200 {"orderRef":"`, sandbox.Refuse: `400 {"error":"invalid_grant","error_description":"a fault is on"}`}
	value := map[string]string{sandbox.Status: "503", sandbox.HTML: "502", sandbox.Refuse: "invalid_grant", sandbox.Delay: "5s"}
	for target, kinds := range bankidno.Faults() {
		if target == "bankidno.result" {
			continue
		}
		if len(calls[target]) == 0 {
			t.Errorf("no call of %s", target)
		}
		for _, kind := range kinds {
			for i, call := range calls[target] {
				if kind == sandbox.Delay { // below
					continue
				}
				if got := b.strike(t, sandbox.Fault{Target: target, Kind: kind, Value: value[kind]}, call); !strings.HasPrefix(got, want[kind]) || want[kind] == "" {
					t.Errorf("%s %s, call %d: %s", target, kind, i, got)
				}
				for other := range calls { // it does not touch what is another's
					if other != target && target != "bankidno" {
						if got := b.strike(t, sandbox.Fault{Target: target, Kind: kind, Value: value[kind]}, calls[other][0]); strings.HasPrefix(got, want[kind]) {
							t.Errorf("%s %s strikes %s", target, kind, other)
						}
					}
				}
			}
		}
	}
	f := b.Faults.Add(sandbox.Fault{Target: "bankidno.token", Kind: sandbox.Status, Value: "503"})
	if w := b.send(t, http.MethodGet, page, nil); w.Code != 200 || !strings.Contains(w.Body.String(), "bankidno.token http 503") {
		t.Errorf("the page does not say which faults are on: %s", w.Body)
	}
	b.Faults.Remove(f.ID)
	b.Faults.Add(sandbox.Fault{Target: "mitid", Kind: sandbox.Status, Value: "503"})
	if w := b.send(t, http.MethodGet, page, nil); w.Code != 200 || strings.Contains(w.Body.String(), `data-testid="faults"`) {
		t.Errorf("another's fault: %d", w.Code)
	}
}

// TestDelay: a fault that takes time, which does not pass here.
func TestDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(sandbox.Ignore)
		r := b.party(t, "Shop", true)
		for target := range bankidno.Faults() {
			if target == "bankidno.result" {
				continue
			}
			b.Faults.Add(sandbox.Fault{Target: target, Kind: sandbox.Delay, Value: "5s", Times: 1})
			start := time.Now()
			b.send(t, http.MethodPost, r.Issuer+parPath, url.Values{})
			b.send(t, http.MethodPost, r.Issuer+tokenPath, url.Values{})
			b.send(t, http.MethodGet, tinfo+"/userinfo", nil)
			b.send(t, http.MethodGet, r.Issuer+certsPath, nil)
			if got := time.Since(start); got != 5*time.Second {
				t.Errorf("%s: took %s", target, got)
			}
		}
	})
}

// TestResultFaults: each kind shows in the ID token, in UserInfo, or in both.
func TestResultFaults(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	type proof struct {
		kid, alg, iss, aud, nonce, sub string
		valid, over                    bool
	}
	set := b.keys(t, r)
	look := func(token string) (p proof) {
		parts := strings.Split(token, ".")
		var head struct{ Kid, Alg string }
		var c struct {
			Iss, Aud, Nonce, Sub string
			Exp                  int64
		}
		for i, at := range []any{&head, &c} {
			raw, err := base64.RawURLEncoding.DecodeString(parts[i])
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, at); err != nil {
				t.Fatal(err)
			}
		}
		p = proof{kid: head.Kid, alg: head.Alg, iss: c.Iss, aud: c.Aud, nonce: c.Nonce, sub: c.Sub, over: c.Exp <= b.Clock.Now().Unix()}
		if j, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256}); err == nil {
			_, err := j.Verify(set.Keys[0])
			p.valid = err == nil
		}
		return p
	}
	both := func(kind string) (id, info proof) {
		if kind != "" {
			f := b.Faults.Add(sandbox.Fault{Target: "bankidno.result", Kind: kind})
			defer b.Faults.Remove(f.ID)
		}
		out := b.login(t, r, asks(r), "ola")
		return look(out.ID), look(b.send(t, http.MethodGet, tinfo+"/userinfo", nil, "Bearer "+out.Access).Body.String())
	}
	goodID, goodInfo := both("")
	if !goodID.valid || !goodInfo.valid || goodID.over {
		t.Fatalf("%+v %+v", goodID, goodInfo)
	}
	for _, kind := range bankidno.Faults()["bankidno.result"] {
		wantID, wantInfo := goodID, goodInfo
		for _, p := range []*proof{&wantID, &wantInfo} {
			switch kind {
			case openid.WrongKID:
				p.kid = "retired"
			case openid.Unsigned:
				p.alg, p.kid, p.valid = "none", "", false
			case openid.OtherIssuer:
				p.iss = ""
			case openid.OtherAudience:
				p.aud = "somebody"
			case openid.Over:
				p.over = true
			case openid.BadSignature:
				p.valid = false
			case openid.OtherNonce:
				wantID.nonce = "another"
			case openid.OtherSubject:
				wantInfo.sub = "somebody"
			default:
				t.Errorf("%s is not known here", kind)
			}
		}
		id, info := both(kind)
		if kind == openid.OtherIssuer {
			if id.iss == goodID.iss || info.iss == goodInfo.iss || id.iss == "" || info.iss == "" {
				t.Errorf("issuers %q and %q", id.iss, info.iss)
			}
			id.iss, info.iss = "", ""
		}
		if id != wantID || info != wantInfo {
			t.Errorf("%s:\n%+v\n%+v, want\n%+v\n%+v", kind, id, info, wantID, wantInfo)
		}
	}
	// One of UserInfo waits for it, and one of the ID token is not used up by it.
	for _, kind := range []string{openid.OtherSubject, openid.OtherNonce} {
		b.Faults.Add(sandbox.Fault{Target: "bankidno.result", Kind: kind, Times: 1})
	}
	out := b.login(t, r, asks(r), "ola")
	info := look(b.send(t, http.MethodGet, tinfo+"/userinfo", nil, "Bearer "+out.Access).Body.String())
	if look(out.ID).nonce != "another" || info.sub != "somebody" || len(b.Faults.List()) != 0 {
		t.Errorf("%+v, left %v", info, b.Faults.List())
	}
	b.Faults.Add(sandbox.Fault{Target: "bankidno.result", Kind: openid.Over, Times: 1})
	if _, _, c := b.verified(t, r, b.login(t, r, asks(r), "ola").ID); c["nbf"].(float64) > c["exp"].(float64) {
		t.Errorf("nbf %v, exp %v", c["nbf"], c["exp"])
	}
}

// TestFidelity: each line says what it is about, and gives a reason.
func TestFidelity(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range bankidno.Fidelity() {
		if f.Upstream != "bankidno" || f.What == "" || f.State != sandbox.Exact && f.State != sandbox.Differs && f.State != sandbox.NotSimulated || (f.Because == "") != (f.State == sandbox.Exact) || seen[f.What] {
			t.Errorf("%+v", f)
		}
		seen[f.What] = true
	}
	if len(seen) == 0 {
		t.Error("nothing is listed")
	}
}

func FuzzAuthorize(f *testing.F) {
	b := newBox(sandbox.Ignore)
	r := b.party(f, "Shop", true)
	f.Add("openid profile", "BID:"+ola, "", "", "urn:bankid:bis")
	f.Add("openid", "BIM:1", "e30.e30.e30", "", "")
	f.Add("", "", "a.b.c.d.e", "urn:x", "")
	f.Fuzz(func(t *testing.T, scope, hint, request, uri, acr string) {
		q := asks(r)
		q.Set("scope", scope)
		q.Set("login_hint", hint)
		q.Set("request", request)
		q.Set("request_uri", uri)
		q.Set("acr_values", acr)
		w := b.authorize(t, r, q)
		if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.HasPrefix(to, "http://bankid.example/bankidno/login/") && !strings.HasPrefix(to, back+"?error=") {
			t.Errorf("%d %s", w.Code, to)
		}
	})
}
