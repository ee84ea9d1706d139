package mitid_test

import (
	"crypto/rsa"
	"crypto/sha1" // kid is a thumbprint
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"eidgate/sandbox"
	"eidgate/sandbox/mitid"
	"eidgate/sandbox/openid"
	"eidgate/sandbox/openid/openidtest"
)

const (
	back      = openidtest.Back
	op        = "http://mitid.example/mitid/op"
	hanne     = "8903859996"
	hanneUUID = "0b8e6f52-2222-4b22-9b22-0000000000b2"
	challenge = openidtest.Challenge
	verifier  = openidtest.Verifier
	nsis      = "https://data.gov.dk/concept/core/nsis/"
	uncached  = "no-store, no-cache, max-age=0"
)

type box struct {
	*mitid.Simulator
	http http.Handler
}

func newBox(auto sandbox.Outcome) *box {
	people := sandbox.NewPeople()
	b := &box{Simulator: mitid.New(mitid.Config{Clock: sandbox.NewClock(true), People: people, Decisions: sandbox.NewDecisions(people, auto), Faults: sandbox.NewFaults(1),
		Base: func() string { return "http://mitid.example" }})}
	b.http = b.Handler()
	return b
}

// send makes a call, with the header Authorization if one is given.
func (b *box) send(t testing.TB, method, address string, form url.Values, authorization ...string) *httptest.ResponseRecorder {
	t.Helper()
	return openidtest.Send(t, b.http, method, address, form, authorization...)
}

func (b *box) call(t testing.TB, method, address, kind, body string, authorization ...string) *httptest.ResponseRecorder {
	t.Helper()
	return openidtest.Call(t, b.http, method, address, kind, body, authorization...)
}

func (b *box) party(t testing.TB, name string, secret bool) openid.Registration {
	t.Helper()
	r, err := b.Party(name, back, secret)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// asks is a good request, with scopes beside openid and mitid.
func asks(r openid.Registration, scopes ...string) url.Values {
	return url.Values{"client_id": {r.ClientID}, "response_type": {"code"}, "redirect_uri": {back}, "scope": {strings.Join(append([]string{"openid", "mitid"}, scopes...), " ")}, "state": {"s"}, "nonce": {"n"},
		"prompt": {"login"}, "idp_values": {"mitid"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"}}
}

func (b *box) authorize(t testing.TB, q url.Values) *httptest.ResponseRecorder {
	t.Helper()
	return b.send(t, http.MethodGet, op+"/connect/authorize?"+q.Encode(), nil)
}

// begin is the page of a new login.
func (b *box) begin(t testing.TB, q url.Values) (page, ref string) {
	t.Helper()
	w := b.authorize(t, q)
	page = w.Header().Get("Location")
	ref, ok := strings.CutPrefix(page, op+"/Account/Login/")
	if !ok || w.Code != http.StatusFound {
		t.Fatalf("no login: %d %s %s", w.Code, page, b.fault(t, w))
	}
	return page, ref
}

// fault is what the broker's error page says; "" where a browser goes elsewhere.
func (b *box) fault(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	to := w.Header().Get("Location")
	if w.Code != http.StatusFound || !errorPage.MatchString(to) {
		return ""
	}
	said := b.send(t, http.MethodGet, to, nil)
	m := alert.FindStringSubmatch(said.Body.String())
	if said.Code != http.StatusBadRequest || said.Header().Get("Location") != "" || m == nil {
		t.Fatalf("%d %s", said.Code, said.Body)
	}
	return m[1]
}

var (
	errorPage = regexp.MustCompile(`^` + regexp.QuoteMeta(op) + `/Error\?errorId=[0-9a-f]+$`)
	alert     = regexp.MustCompile(`role="alert"[^>]*>([^<:]+)[<:]`)
)

// code logs somebody in; "" is the usual person.
func (b *box) code(t testing.TB, q url.Values, person string) string {
	t.Helper()
	page, ref := b.begin(t, q)
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
	w := b.send(t, http.MethodPost, op+"/connect/token", openidtest.Redeems(r, b.code(t, q, person)))
	out := openidtest.Read(t, w)
	if w.Code != http.StatusOK || out.ID == "" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return out
}

// bare looks for an error of servers, which has no text.
func bare(t *testing.T, name string, w *httptest.ResponseRecorder, code string) {
	t.Helper()
	if w.Code != http.StatusBadRequest || strings.TrimSpace(w.Body.String()) != `{"error":"`+code+`"}` || w.Header().Get("Cache-Control") != uncached || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%s: %d %s %v, want %s", name, w.Code, w.Body, w.Header(), code)
	}
}

// keys are those that are published.
func (b *box) keys(t testing.TB) jose.JSONWebKeySet {
	t.Helper()
	return openidtest.Keys(t, b.send(t, http.MethodGet, op+"/.well-known/openid-configuration/jwks", nil))
}

// seal encrypts to the broker.
func (b *box) seal(t testing.TB, text, kid string) string {
	t.Helper()
	return openidtest.Seal(t, b.keys(t), text, kid)
}

// verified reads an ID token: its header, and its members in their order.
func (b *box) verified(t testing.TB, token string) (head string, names []string, claims map[string]any) {
	t.Helper()
	return openidtest.Verified(t, b.keys(t), token)
}

// TestRequests: what is wrong with a request is told on the broker's page, and
// never at the client.
func TestRequests(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	set := func(name, value string) func(url.Values) { return func(q url.Values) { q.Set(name, value) } }
	for name, x := range map[string]struct {
		change func(url.Values)
		want   string // error of the page; "" for a login, "login_required" for the client
	}{
		"good":                     {func(url.Values) {}, ""},
		"no PKCE":                  {func(q url.Values) { q.Del("code_challenge"); q.Del("code_challenge_method") }, ""},
		"all scopes":               {set("scope", "openid mitid ssn nemid.pid ssn.details_name ssn.details_address minimal age age_verify:18"), ""},
		"a session in the way":     {set("redirect_uri", back+"?session=1"), ""},
		"no eID":                   {func(q url.Values) { q.Del("idp_values") }, ""},
		"what nobody knows":        {set("x", "y"), ""},
		"options":                  {set("idp_params", `{"mitid":{"loa_value":"high","x":1}}`), ""},
		"a level that is none":     {set("idp_params", `{"mitid":{"loa_value":"extreme"}}`), ""},
		"a person that is none":    {set("idp_params", `{"mitid":{"uuid_hint":"x"}}`), ""},
		"a text that is no base64": {set("idp_params", `{"mitid":{"reference_text":"!"}}`), ""},
		"options of others":        {set("idp_params", `{"mitid_erhverv":{"allow_private":true}}`), ""},
		"with pages":               {set("simulation", "ui uuid:"+hanneUUID), ""},
		"nobody":                   {set("client_id", "x"), "unauthorized_client"},
		"no client":                {func(q url.Values) { q.Del("client_id") }, "unauthorized_client"},
		"another way back":         {set("redirect_uri", back+"/"), "invalid_request"},
		"another host":             {set("redirect_uri", "https://other.example/back"), "invalid_request"},
		"no way back":              {func(q url.Values) { q.Del("redirect_uri") }, "invalid_request"},
		"more than the session":    {set("redirect_uri", back+"?session=1&x=2"), "invalid_request"},
		"a token":                  {set("response_type", "token"), "unsupported_response_type"},
		"no type":                  {func(q url.Values) { q.Del("response_type") }, "unsupported_response_type"},
		"no openid":                {set("scope", "mitid"), "invalid_scope"},
		"no scope":                 {func(q url.Values) { q.Del("scope") }, "invalid_scope"},
		"a scope that nobody has":  {set("scope", "openid mitid privileges"), "invalid_scope"},
		"an age that is none":      {set("scope", "openid age_verify:0"), "invalid_scope"},
		"a long age":               {set("scope", "openid age_verify:118"), "invalid_scope"},
		"another eID":              {set("idp_values", "mitid mitid_erhverv"), "invalid_request"},
		"options that are no JSON": {set("idp_params", "{"), "invalid_idp_params"},
		"a number in the address":  {set("idp_params", `{"mitid":{"cpr_hint":"`+hanne+`"}}`), "invalid_idp_params"},
		"plain PKCE":               {set("code_challenge_method", "plain"), "invalid_request"},
		"PKCE without a method":    {func(q url.Values) { q.Del("code_challenge_method") }, "invalid_request"},
		"a challenge that is none": {set("code_challenge", "x"), "invalid_request"},
		"mode form_post":           {set("response_mode", "form_post"), "invalid_request"},
		"a request of nobody":      {set("request_uri", "urn:ietf:params:oauth:request_uri:X"), "invalid_request_uri"},
		"a broken object":          {set("request", "a.b.c"), "invalid_request_object"},
		"a broken encrypted one":   {set("request", "a.b.c.d.e"), "invalid_request_object"},
		"silently":                 {set("prompt", "none"), "login_required"},
		"silently, and wrong":      {func(q url.Values) { q.Set("prompt", "none"); q.Set("scope", "mitid") }, "invalid_scope"},
		"twice":                    {func(q url.Values) { q.Add("nonce", "m") }, "invalid_request"},
	} {
		q := asks(r)
		x.change(q)
		w := b.authorize(t, q)
		to := openidtest.Location(t, w)
		switch {
		case x.want == "" && w.Code == http.StatusFound && strings.HasPrefix(to.String(), op+"/Account/Login/"):
		case x.want == "login_required" && w.Code == http.StatusFound && to.String() == back+"?error=login_required&state=s":
		case x.want != "" && x.want != "login_required" && b.fault(t, w) == x.want:
		default:
			t.Errorf("%s: %d %s %s, want %q", name, w.Code, to, b.fault(t, w), x.want)
		}
	}
	q := asks(r)
	q.Add("nonce", "m")
	if w := b.authorize(t, q); b.fault(t, w) == "" {
		t.Errorf("twice: %d %s", w.Code, openidtest.Location(t, w))
	}
	if w := b.send(t, http.MethodGet, op+"/Error?errorId=x", nil); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "no such error") {
		t.Errorf("an error of nothing: %d %s", w.Code, w.Body)
	}
}

// TestOptions: what idp_params come to.
func TestOptions(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	for name, x := range map[string]struct {
		scope, params string
		level, person string
		page          string
	}{
		"none":                   {"openid mitid", ``, "substantial", "", "Log on"},
		"loa":                    {"openid mitid", `{"mitid":{"loa_value":"high"}}`, "high", "", ""},
		"aal":                    {"openid mitid", `{"mitid":{"aal_value":"low"}}`, "low", "", ""},
		"loa over aal":           {"openid mitid", `{"mitid":{"aal_value":"high","loa_value":"low"}}`, "low", "", ""},
		"a wrong one":            {"openid mitid", `{"mitid":{"loa_value":"HIGH"}}`, "substantial", "", ""},
		"a person":               {"openid mitid", `{"mitid":{"uuid_hint":"` + hanneUUID + `"}}`, "substantial", "hanne", "with-app"},
		"a number":               {"openid mitid", `{"mitid":{"cpr_hint":"` + hanne + `"}}`, "substantial", "hanne", "with-app"},
		"a number of nobody":     {"openid mitid", `{"mitid":{"cpr_hint":"0101011234"}}`, "substantial", "", ""},
		"no number":              {"openid mitid", `{"mitid":{"cpr_hint":""}}`, "substantial", "", ""},
		"a text":                 {"openid mitid", `{"mitid":{"reference_text":"` + base64.StdEncoding.EncodeToString([]byte("Betal <1> kr. på ø")) + `"}}`, "substantial", "", "Betal &lt;1&gt; kr. på ø"},
		"a long text":            {"openid mitid", `{"mitid":{"reference_text":"` + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("ø", 131))) + `"}}`, "substantial", "", "Log on"},
		"a verb":                 {"openid mitid", `{"mitid":{"action_text":"SIGN"}}`, "substantial", "", "Sign at"},
		"an age":                 {"openid minimal age_verify:18", ``, "low", "", ""},
		"an age, and an option":  {"openid minimal age_verify:18", `{}`, "substantial", "", ""},
		"an age of a high level": {"openid minimal age_verify:18", `{"mitid":{"loa_value":"high"}}`, "high", "", ""},
		"an age beside a login":  {"openid mitid age_verify:18", ``, "substantial", "", ""},
		"the verb of an age":     {"openid minimal age_verify:18", ``, "low", "", "Confirm at"},
	} {
		q := asks(r)
		q.Set("scope", x.scope)
		q.Set("idp_params", x.params)
		q.Set("client_secret", r.Secret)
		page, ref := b.begin(t, url.Values{"client_id": {r.ClientID}, "request_uri": {openidtest.Read(t, b.send(t, http.MethodPost, op+"/connect/par", q)).URI}})
		o, err := b.Order(ref)
		w := b.send(t, http.MethodGet, page, nil)
		if err != nil || o.For != x.person || o.Details.(map[string]string)["level"] != x.level || !strings.Contains(w.Body.String(), x.page) {
			t.Errorf("%s: %+v, %v\n%s", name, o, err, w.Body)
		}
		if strings.HasPrefix(name, "a long") && o.Details.(map[string]string)["reference_text"] != "" {
			t.Errorf("%s is shown", name)
		}
	}
}

// TestObjects: a request object is signed by its client, for this server, with
// an end.
func TestObjects(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r, other, secret := b.party(t, "Shop", false), b.party(t, "Other", false), b.party(t, "Secret", true)
	claims := func(r openid.Registration, change func(map[string]any)) map[string]any {
		m := map[string]any{"iss": r.ClientID, "aud": r.Issuer, "exp": b.Clock.Now().Add(time.Minute).Unix(), "client_id": r.ClientID, "response_type": "code", "redirect_uri": back, "scope": "openid mitid", "state": "s",
			"nonce": "n", "idp_params": map[string]any{"mitid": map[string]string{"loa_value": "high"}}}
		if change != nil {
			change(m)
		}
		return m
	}
	text := func(m map[string]any) string {
		raw, _ := json.Marshal(m) // texts and numbers
		return string(raw)
	}
	for name, x := range map[string]struct {
		who    openid.Registration
		object string
		good   bool
	}{
		"signed":                         {r, openidtest.Sign(t, r, claims(r, nil)), true},
		"signed and encrypted":           {r, b.seal(t, openidtest.Sign(t, r, claims(r, nil)), ""), true},
		"unsigned":                       {r, openidtest.Unsigned(claims(r, nil)), false},
		"unsigned, of one with a secret": {secret, openidtest.Unsigned(claims(secret, nil)), false},
		"plain":                          {r, text(claims(r, nil)), false},
		"encrypted alone":                {r, b.seal(t, text(claims(r, nil)), ""), false},
		"unsigned, and encrypted":        {r, b.seal(t, openidtest.Unsigned(claims(r, nil)), ""), false},
		"signed by another":              {r, openidtest.Sign(t, other, claims(r, nil)), false},
		"of another":                     {r, openidtest.Sign(t, other, claims(other, nil)), false},
		"in another's name":              {r, openidtest.Sign(t, r, claims(other, nil)), false},
		"in nobody's name":               {r, openidtest.Sign(t, r, claims(r, func(m map[string]any) { delete(m, "iss") })), false},
		"for another server":             {r, openidtest.Sign(t, r, claims(r, func(m map[string]any) { m["aud"] = "https://netseidbroker.dk/op" })), false},
		"for nobody":                     {r, openidtest.Sign(t, r, claims(r, func(m map[string]any) { delete(m, "aud") })), false},
		"over":                           {r, openidtest.Sign(t, r, claims(r, func(m map[string]any) { m["exp"] = b.Clock.Now().Unix() })), false},
		"without an end":                 {r, openidtest.Sign(t, r, claims(r, func(m map[string]any) { delete(m, "exp") })), false},
		"with an odd end":                {r, openidtest.Sign(t, r, claims(r, func(m map[string]any) { m["exp"] = "tomorrow" })), false},
		"encrypted, and over":            {r, b.seal(t, openidtest.Sign(t, r, claims(r, func(m map[string]any) { m["exp"] = b.Clock.Now().Unix() })), ""), false},
		"encrypted to another key":       {r, b.seal(t, openidtest.Sign(t, r, claims(r, nil)), "old"), false},
		"encrypted nonsense":             {r, b.seal(t, "x", ""), false},
	} {
		w := b.authorize(t, url.Values{"client_id": {x.who.ClientID}, "request": {x.object}})
		if to := openidtest.Location(t, w); x.good != strings.HasPrefix(to.Path, "/mitid/op/Account/Login/") || !x.good && b.fault(t, w) != "invalid_request_object" {
			t.Errorf("%s, in an address: %d %s", name, w.Code, to)
		}
		f := url.Values{"request": {x.object}, "client_id": {x.who.ClientID}}
		if x.who.Secret != "" {
			f.Set("client_secret", x.who.Secret)
		} else {
			f.Set("client_assertion_type", assertionType)
			f.Set("client_assertion", openidtest.Sign(t, x.who, b.assertion(x.who, name)))
		}
		w = b.send(t, http.MethodPost, op+"/connect/par", f)
		if x.good && w.Code != http.StatusCreated || !x.good && (w.Code != http.StatusBadRequest || strings.TrimSpace(w.Body.String()) != `{"error":"invalid_request_object","error_description":"Invalid JWT request"}`) {
			t.Errorf("%s, pushed: %d %s", name, w.Code, w.Body)
		}
	}
	_, ref := b.begin(t, url.Values{"client_id": {r.ClientID}, "request": {openidtest.Sign(t, r, claims(r, nil))}, "scope": {"openid ssn"}})
	if o, err := b.Order(ref); err != nil || o.Details.(map[string]string)["level"] != "high" || strings.Contains(o.Asked, "ssn") {
		t.Errorf("%+v, %v", o, err)
	}
	hint := func(m map[string]any) {
		m["idp_params"] = map[string]any{"mitid": map[string]string{"cpr_hint": hanne}}
	}
	if w := b.authorize(t, url.Values{"client_id": {r.ClientID}, "request": {openidtest.Sign(t, r, claims(r, hint))}}); b.fault(t, w) != "invalid_idp_params" {
		t.Errorf("a number that everybody can read: %s", openidtest.Location(t, w))
	}
	_, ref = b.begin(t, url.Values{"client_id": {r.ClientID}, "request": {b.seal(t, openidtest.Sign(t, r, claims(r, hint)), "")}})
	if o, err := b.Order(ref); err != nil || o.For != "hanne" {
		t.Errorf("%+v, %v", o, err)
	}
	q := claims(r, func(m map[string]any) { m["redirect_uri"] = "https://other.example" })
	if w := b.authorize(t, url.Values{"client_id": {r.ClientID}, "redirect_uri": {back}, "request": {openidtest.Sign(t, r, q)}}); b.fault(t, w) != "invalid_request" {
		t.Errorf("another way back: %s", openidtest.Location(t, w))
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
		return b.send(t, http.MethodPost, op+"/connect/par", form(change))
	}
	nothing := func(url.Values) {}
	for name, x := range map[string]struct {
		change func(url.Values)
		want   string
	}{
		"a wrong secret":      {func(q url.Values) { q.Set("client_secret", "guess") }, "invalid_client"},
		"no secret":           {func(q url.Values) { q.Del("client_secret") }, "invalid_client"},
		"another's secret":    {func(q url.Values) { q.Set("client_secret", other.Secret) }, "invalid_client"},
		"nobody":              {func(q url.Values) { q.Set("client_id", "x") }, "invalid_client"},
		"twice":               {func(q url.Values) { q.Add("nonce", "m") }, "invalid_request"},
		"one that was pushed": {func(q url.Values) { q.Set("request_uri", "urn:x") }, "invalid_request"},
	} {
		bare(t, name, push(x.change), x.want)
	}
	w := push(nothing)
	out := openidtest.Read(t, w)
	if w.Code != http.StatusCreated || !regexp.MustCompile(`^urn:ietf:params:oauth:request_uri:[0-9A-F]+$`).MatchString(out.URI) || out.Expires != 600 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	use := func(r openid.Registration, uri string) *httptest.ResponseRecorder {
		return b.authorize(t, url.Values{"client_id": {r.ClientID}, "request_uri": {uri}, "redirect_uri": {back}})
	}
	strands := func(name string, w *httptest.ResponseRecorder) {
		t.Helper()
		if got := b.fault(t, w); got != "invalid_request_uri" {
			t.Errorf("%s: %d %s %s", name, w.Code, openidtest.Location(t, w), got)
		}
	}
	strands("by another client", use(other, out.URI))
	_, ref := b.begin(t, url.Values{"client_id": {r.ClientID}, "request_uri": {out.URI}, "scope": {"x"}, "idp_params": {"{"}}) // what stands beside it does not count
	if o, err := b.Order(ref); err != nil || !strings.Contains(o.Asked, "openid mitid") || strings.Contains(o.Asked, r.Secret) {
		t.Errorf("%+v, %v", o, err)
	}
	strands("twice", use(r, out.URI))
	late := openidtest.Read(t, push(nothing)).URI
	b.Clock.Advance(601 * time.Second)
	strands("after its time", use(r, late))
	strands("never pushed", use(r, out.URI+"0"))
	wrong := openidtest.Read(t, push(func(q url.Values) { q.Set("redirect_uri", "https://other.example") })).URI
	if got := b.fault(t, use(r, wrong)); got != "invalid_request" {
		t.Errorf("another way back: %s", got)
	}
	q := form(func(q url.Values) { q.Del("client_secret") })
	if w := b.send(t, http.MethodPost, op+"/connect/par", q, "Basic "+base64.StdEncoding.EncodeToString([]byte(r.ClientID+":"+r.Secret))); w.Code != http.StatusCreated {
		t.Errorf("with the secret in the header: %d", w.Code)
	}
	if w := b.send(t, http.MethodGet, op+"/connect/par", nil); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("by GET: %d", w.Code)
	}
}

// TestCodes: a code works once, for five minutes, for its client, way back and
// verifier; errors are bare.
func TestCodes(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r, other := b.party(t, "Shop", true), b.party(t, "Other", true)
	post := func(f url.Values, header ...string) *httptest.ResponseRecorder {
		return b.send(t, http.MethodPost, op+"/connect/token", f, header...)
	}
	first := b.code(t, asks(r), "")
	if !regexp.MustCompile(`^[0-9A-F]{64}-1$`).MatchString(first) {
		t.Errorf("a code %s", first)
	}
	w := post(openidtest.Redeems(r, first))
	out := openidtest.Read(t, w)
	if w.Code != 200 || w.Header().Get("Cache-Control") != uncached || out.Type != "Bearer" || out.Expires != 10800 || out.Scope != "openid mitid" {
		t.Errorf("once: %d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]string{"id_token", "access_token", "expires_in", "token_type", "scope"}, openidtest.Members(t, w.Body.Bytes())); diff != "" {
		t.Error(diff)
	}
	bare(t, "twice", post(openidtest.Redeems(r, first)), "invalid_grant")
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
		"that nobody wrote":    func(f url.Values) { f.Set("code", strings.Repeat("0", 64)+"-1") },
		"that is missing":      func(f url.Values) { f.Del("code") },
		"after its life":       func(url.Values) { b.Clock.Advance(301 * time.Second) },
		"that is another code": func(f url.Values) { f.Set("code", first) },
	} {
		f := openidtest.Redeems(r, b.code(t, asks(r), ""))
		change(f)
		bare(t, "a code "+name, post(f), "invalid_grant")
	}
	f := openidtest.Redeems(r, b.code(t, asks(r), ""))
	b.Clock.Advance(299 * time.Second)
	if w := post(f); w.Code != 200 {
		t.Errorf("in time: %d %s", w.Code, w.Body)
	}

	f = openidtest.Redeems(r, b.code(t, asks(r), ""))
	change := func(name, value string) url.Values {
		g := maps.Clone(f)
		g.Set(name, value)
		return g
	}
	bare(t, "a wrong secret", post(change("client_secret", "guess")), "invalid_client")
	bare(t, "another's secret", post(change("client_secret", other.Secret)), "invalid_client")
	bare(t, "nobody", post(change("client_id", "x")), "invalid_client")
	bare(t, "two proofs", post(f, "Basic "+base64.StdEncoding.EncodeToString([]byte(r.ClientID+":"+r.Secret))), "invalid_client")
	bare(t, "nothing", post(nil), "invalid_request")
	bare(t, "another grant", post(change("grant_type", "client_credentials")), "unsupported_grant_type")
	bare(t, "a query", b.send(t, http.MethodPost, op+"/connect/token?x=1", f), "invalid_request")
	f.Del("client_secret")
	if w := post(f, "Basic "+base64.StdEncoding.EncodeToString([]byte(r.ClientID+":"+r.Secret))); w.Code != 200 {
		t.Errorf("calls of who could not say who they are have spent the code: %d %s", w.Code, w.Body)
	}
}

// TestAssertions: signed by the client, for the broker, used once.
func TestAssertions(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r, other, secret := b.party(t, "Shop", false), b.party(t, "Other", false), b.party(t, "Secret", true)
	say := func(who openid.Registration, token string) *httptest.ResponseRecorder {
		return b.send(t, http.MethodPost, op+"/connect/token", url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {back}, "client_id": {who.ClientID},
			"client_assertion_type": {assertionType}, "client_assertion": {token}})
	}
	bare(t, "good", say(r, openidtest.Sign(t, r, b.assertion(r, "1"))), "invalid_grant") // the client is known; the code is not
	for name, change := range map[string]func(map[string]any){
		"replayed":           func(m map[string]any) { m["jti"] = "1" },
		"for another server": func(m map[string]any) { m["aud"] = "https://netseidbroker.dk/op" },
		"for PAR":            func(m map[string]any) { m["aud"] = r.Issuer + "/connect/par" },
		"over":               func(m map[string]any) { m["exp"] = b.Clock.Now().Unix() },
		"of somebody":        func(m map[string]any) { m["sub"] = other.ClientID },
		"without a number":   func(m map[string]any) { delete(m, "jti") },
		"without an end":     func(m map[string]any) { delete(m, "exp") },
	} {
		m := b.assertion(r, "bad "+name)
		change(m)
		bare(t, "an assertion "+name, say(r, openidtest.Sign(t, r, m)), "invalid_client")
	}
	bare(t, "another's", say(r, openidtest.Sign(t, other, b.assertion(r, "2"))), "invalid_client")
	bare(t, "unsigned", say(r, openidtest.Unsigned(b.assertion(r, "2"))), "invalid_client")
	bare(t, "no secret", b.send(t, http.MethodPost, op+"/connect/token", openidtest.Redeems(r, "x")), "invalid_client")
	bare(t, "by somebody else's secret", say(r, openidtest.SignWith(t, jose.HS256, []byte(secret.Secret), "", b.assertion(r, "2"))), "invalid_client")

	f := openidtest.Redeems(r, b.code(t, asks(r), ""))
	f.Del("client_secret")
	f.Set("client_assertion_type", assertionType)
	f.Set("client_assertion", openidtest.Sign(t, r, b.assertion(r, "3")))
	if w := b.send(t, http.MethodPost, op+"/connect/token", f); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestDiscovery: what is published, in the recorded order.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	w := b.send(t, http.MethodGet, op+"/.well-known/openid-configuration?client_id=x", nil) // some clients add one
	want := strings.Fields(`issuer jwks_uri authorization_endpoint token_endpoint userinfo_endpoint end_session_endpoint backchannel_authentication_endpoint pushed_authorization_request_endpoint
		require_pushed_authorization_requests frontchannel_logout_supported frontchannel_logout_session_supported backchannel_logout_supported backchannel_logout_session_supported
		grant_types_supported response_types_supported response_modes_supported token_endpoint_auth_methods_supported token_endpoint_auth_signing_alg_values_supported
		id_token_signing_alg_values_supported userinfo_signing_alg_values_supported subject_types_supported code_challenge_methods_supported request_parameter_supported
		request_object_signing_alg_values_supported request_uri_parameter_supported prompt_values_supported authorization_response_iss_parameter_supported
		backchannel_token_delivery_modes_supported backchannel_user_code_parameter_supported request_object_encryption_alg_values_supported`)
	if diff := cmp.Diff(want, openidtest.Members(t, w.Body.Bytes())); diff != "" || w.Code != 200 {
		t.Errorf("%d %s", w.Code, diff)
	}
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"issuer": op, "jwks_uri": op + "/.well-known/openid-configuration/jwks", "authorization_endpoint": op + "/connect/authorize", "token_endpoint": op + "/connect/token",
		"userinfo_endpoint": op + "/connect/userinfo", "pushed_authorization_request_endpoint": op + "/connect/par", "require_pushed_authorization_requests": false, "authorization_response_iss_parameter_supported": true,
		"code_challenge_methods_supported": []any{"plain", "S256"}, "id_token_signing_alg_values_supported": []any{"RS256"}, "response_modes_supported": []any{"form_post", "query", "fragment"}, "subject_types_supported": []any{"public"}} {
		if !cmp.Equal(out[name], want) {
			t.Errorf("%s: %v", name, out[name])
		}
	}
	for _, address := range []string{"http://mitid.example/.well-known/openid-configuration", "http://mitid.example/mitid/.well-known/openid-configuration", "http://mitid.example/.well-known/oauth-authorization-server/mitid/op"} {
		if w := b.send(t, http.MethodGet, address, nil); w.Code != 404 || w.Header().Get("X-Eidgate-Sandbox") != "1" {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
	for address, method := range map[string]string{"/connect/endsession": http.MethodGet, "/connect/ciba": http.MethodPost, "/api/v1/mitid/nemidPidLookup": http.MethodPost} {
		if w := b.send(t, method, op+address, nil); w.Code != http.StatusNotImplemented {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
}

// TestKeys: no key has alg, and each is named by its certificate.
func TestKeys(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	w := b.send(t, http.MethodGet, op+"/.well-known/openid-configuration/jwks", nil)
	var out struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	var uses []string
	for i, raw := range out.Keys {
		if diff := cmp.Diff([]string{"kty", "use", "kid", "x5t", "n", "e", "x5c"}, openidtest.Members(t, raw)); diff != "" {
			t.Errorf("key %d: %s", i, diff)
		}
		var k struct {
			Kty, Use, Kid, X5t, N, E string
			X5c                      []string
		}
		if err := json.Unmarshal(raw, &k); err != nil {
			t.Fatal(err)
		}
		uses = append(uses, k.Use)
		if len(k.X5c) != 1 {
			t.Fatalf("%d certificates", len(k.X5c))
		}
		der, err := base64.StdEncoding.DecodeString(k.X5c[0])
		if err != nil {
			t.Fatal(err)
		}
		sum := sha1.Sum(der)
		if k.Kid != strings.ToUpper(hex.EncodeToString(sum[:])) || k.X5t != base64.RawURLEncoding.EncodeToString(sum[:]) {
			t.Errorf("key %d: kid %s, x5t %s", i, k.Kid, k.X5t)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if key := c.PublicKey.(*rsa.PublicKey); k.Kty != "RSA" || k.N != base64.RawURLEncoding.EncodeToString(key.N.Bytes()) || k.E != "AQAB" || key.E != 65537 || key.N.BitLen() < 2048 {
			t.Errorf("key %d is not that of its certificate", i)
		}
	}
	if !cmp.Equal(uses, []string{"sig", "sig", "enc"}) {
		t.Errorf("uses %v", uses)
	}
	if again := b.send(t, http.MethodGet, op+"/.well-known/openid-configuration/jwks", nil); again.Body.String() != w.Body.String() {
		t.Error("the keys are others now")
	}
}

const idOrder = "iss nbf iat exp aud amr nonce at_hash sid sub auth_time idp acr neb_sid loa aal ial identity_type transaction_id idp_transaction_id session_expiry idtoken_type subject_type"

// TestIDToken: its members, in the recorded order, and levels by what was used.
func TestIDToken(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	for _, x := range []struct {
		name, scope, params, person string
		level                       string
		amr                         []any
		idp, kind, order            string
	}{
		{"usual", "openid mitid", ``, "hanne", "Substantial", []any{"code_app"}, "mitid", "strict", idOrder},
		{"high", "openid mitid", `{"mitid":{"loa_value":"high"}}`, "hanne", "High", []any{"code_app_enchanced"}, "mitid", "strict", idOrder},
		{"without an app", "openid mitid", ``, "adgangskode", "Substantial", []any{"password", "code_token"}, "mitid", "strict", idOrder},
		{"with a number", "openid mitid ssn nemid.pid", ``, "hanne", "Substantial", []any{"code_app"}, "mitid", "strict", idOrder},
		{"an age", "openid minimal age_verify:99", ``, "emil", "Substantial", []any{"code_app"}, "idbrokerdk", "idbroker.dk", idOrder + " idbrokerdk_age_verified"},
		{"an age beside a login", "openid mitid age_verify:18", `{}`, "hanne", "Substantial", []any{"code_app"}, "mitid", "strict", idOrder + " idbrokerdk_age_verified"},
	} {
		q := asks(r)
		q.Set("scope", x.scope)
		q.Set("idp_params", x.params)
		out := b.login(t, r, q, x.person)
		head, names, c := b.verified(t, out.ID)
		set := b.keys(t)
		if head != `{"alg":"RS256","kid":"`+set.Keys[0].KeyID+`","typ":"JWT"}` {
			t.Errorf("%s: header %s", x.name, head)
		}
		if diff := cmp.Diff(strings.Fields(x.order), names); diff != "" {
			t.Errorf("%s: %s", x.name, diff)
		}
		now := float64(b.Clock.Now().Unix())
		for name, want := range map[string]any{"iss": op, "aud": r.ClientID, "nonce": "n", "iat": now, "nbf": now, "exp": now + 300, "auth_time": now, "amr": x.amr, "idp": x.idp, "idtoken_type": x.kind,
			"acr": nsis + x.level, "loa": nsis + x.level, "aal": nsis + x.level, "ial": nsis + x.level, "identity_type": "private", "subject_type": "org_mapped", "sid": c["neb_sid"],
			"at_hash": openid.HalfHash(out.Access), "session_expiry": fmt.Sprint(b.Clock.Now().Unix() + 4*3600)} {
			if !cmp.Equal(c[name], want) {
				t.Errorf("%s: %s is %v, want %v", x.name, name, c[name], want)
			}
		}
		if v, ok := c["idbrokerdk_age_verified"]; ok && v != map[string]string{"emil": "99:false", "hanne": "18:true"}[x.person] {
			t.Errorf("%s: age %v", x.name, v)
		}
	}
	q := asks(r)
	q.Del("nonce")
	if _, names, _ := b.verified(t, b.login(t, r, q, "").ID); slices.Contains(names, "nonce") {
		t.Error("a nonce that nobody sent")
	}
}

// TestSubjects: one for each organisation, and a new one for who asks for as
// little as possible.
func TestSubjects(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r, other := b.party(t, "Shop", true), b.party(t, "Other", true)
	sub := func(r openid.Registration, scope, person string) any {
		q := asks(r)
		q.Set("scope", scope)
		_, _, c := b.verified(t, b.login(t, r, q, person).ID)
		return c["sub"]
	}
	lasting := sub(r, "openid mitid", "hanne")
	for name, x := range map[string]struct {
		sub  any
		same bool
	}{
		"again":                {sub(r, "openid mitid", "hanne"), true},
		"without mitid":        {sub(r, "openid", "hanne"), true},
		"minimal, and a login": {sub(r, "openid minimal mitid", "hanne"), true},
		"minimal, and ssn":     {sub(r, "openid minimal ssn", "hanne"), true},
		"somebody else":        {sub(r, "openid mitid", "sofie"), false},
		"somewhere else":       {sub(other, "openid mitid", "hanne"), false},
		"minimal":              {sub(r, "openid minimal", "hanne"), false},
	} {
		if (x.sub == lasting) != x.same {
			t.Errorf("%s: %v, first %v", name, x.sub, lasting)
		}
	}
	if sub(r, "openid minimal", "hanne") == sub(r, "openid minimal", "hanne") {
		t.Error("minimal tells a lasting name")
	}
}

// info reads UserInfo.
func (b *box) info(t testing.TB, access string) (names []string, claims map[string]string) {
	t.Helper()
	w := b.send(t, http.MethodGet, op+"/connect/userinfo", nil, "Bearer "+access)
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &claims); err != nil { // all are texts
		t.Fatalf("%v: %s", err, w.Body)
	}
	return openidtest.Members(t, w.Body.Bytes()), claims
}

// TestUserInfo: all values are texts, sub is the last, and scopes decide.
func TestUserInfo(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	const (
		begins  = "session_is_active session_expiry idp subject_type idp_identity_id loa aal ial "
		little  = "session_is_active session_expiry idp subject_type loa aal ial "
		person  = "mitid.transaction_id mitid.uuid mitid.age mitid.date_of_birth mitid.has_cpr mitid.identity_name "
		names   = "ssn.details.given_name ssn.details.surname "
		address = "ssn.details.city_name ssn.details.floor ssn.details.street_name ssn.details.street_number ssn.details.unit ssn.details.zip_code ssn.details.zip_name "
		status  = "ssn.details.status ssn.details.name_address_protected ssn.details.person_status "
		ends    = "mitid.psd2 sub"
	)
	for _, x := range []struct {
		name, scope, person, order string
		want                       map[string]string
	}{
		{"usual", "openid mitid", "hanne", begins + person + ends, map[string]string{"mitid.uuid": hanneUUID, "idp_identity_id": hanneUUID, "mitid.identity_name": "Hanne Hansen", "mitid.date_of_birth": "1985-03-29",
			"mitid.has_cpr": "true", "session_is_active": "true", "idp": "mitid", "loa": nsis + "Substantial", "mitid.psd2": "false"}},
		{"without mitid", "openid", "hanne", begins + ends, nil},
		{"number and PID", "openid mitid ssn nemid.pid", "hanne", begins + person + "dk.cpr nemid.pid nemid.pid_status " + ends, map[string]string{"dk.cpr": hanne, "nemid.pid": "9208-2002-2-000000000017", "nemid.pid_status": "success"}},
		{"no PID", "openid mitid nemid.pid", "nypid", begins + person + "nemid.pid_status " + ends, map[string]string{"nemid.pid_status": "unable_to_lookup"}},
		{"no number", "openid mitid", "udencpr", begins + person + ends, map[string]string{"mitid.has_cpr": "false"}},
		{"register", "openid mitid ssn.details_name ssn.details_address", "hanne", begins + person + status + names + address + ends,
			map[string]string{"ssn.details.status": "success", "ssn.details.name_address_protected": "false", "ssn.details.person_status": "active", "ssn.details.given_name": "Hanne", "ssn.details.surname": "Hansen"}},
		{"names alone", "openid mitid ssn.details_name", "hanne", begins + person + status + names + ends, nil},
		{"address alone", "openid mitid ssn.details_address", "hanne", begins + person + status + address + ends, nil},
		{"protected", "openid mitid ssn.details_name ssn.details_address", "beskyttet", begins + person + status + ends,
			map[string]string{"mitid.identity_name": "NAVNE & ADRESSEBESKYTTET", "ssn.details.name_address_protected": "true"}},
		{"emigrated", "openid mitid ssn.details_name ssn.details_address", "emigreret", begins + person + status + names + ends, map[string]string{"ssn.details.person_status": "emigrated"}},
		{"an age", "openid minimal age_verify:99", "emil", little + "idbrokerdk_age_verify_99 " + ends, map[string]string{"idbrokerdk_age_verify_99": "false"}},
		{"another age", "openid minimal age_verify:15", "hanne", little + "idbrokerdk_age_verify_15 " + ends, map[string]string{"idbrokerdk_age_verify_15": "true"}},
		{"years", "openid minimal age", "hanne", little + "idbrokerdk_age " + ends, nil},
	} {
		q := asks(r)
		q.Set("scope", x.scope)
		out := b.login(t, r, q, x.person)
		order, c := b.info(t, out.Access)
		if diff := cmp.Diff(strings.Fields(x.order), order); diff != "" {
			t.Errorf("%s: %s", x.name, diff)
		}
		_, _, id := b.verified(t, out.ID)
		if c["sub"] != id["sub"] || c["session_expiry"] != id["session_expiry"] || c["mitid.transaction_id"] != "" && c["mitid.transaction_id"] != id["idp_transaction_id"] {
			t.Errorf("%s: %v beside the ID token %v", x.name, c, id)
		}
		for name, want := range x.want {
			if c[name] != want {
				t.Errorf("%s: %s is %q", x.name, name, c[name])
			}
		}
		p, err := b.People.Get(x.person)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"mitid.age", "idbrokerdk_age"} {
			if age, ok := c[name]; ok && age != p.MitID.Age(b.Clock.Now()) {
				t.Errorf("%s: %s is %s", x.name, name, age)
			}
		}
	}
	q := asks(r)
	q.Set("idp_params", `{"mitid":{"reference_text":"`+base64.StdEncoding.EncodeToString([]byte("Hej"))+`"}}`)
	out := b.login(t, r, q, "")
	if _, c := b.info(t, out.Access); c["mitid.reference_text"] != "Hej" {
		t.Errorf("%v", c)
	}
	get := func(header ...string) *httptest.ResponseRecorder {
		return b.send(t, http.MethodGet, op+"/connect/userinfo", nil, header...)
	}
	for name, w := range map[string]*httptest.ResponseRecorder{"no token": get(), "a wrong one": get("Bearer x"), "another scheme": get("Basic " + out.Access), "the ID token": get("Bearer " + out.ID), "an empty one": get("Bearer ")} {
		if w.Code != 401 || w.Header().Get("WWW-Authenticate") != `Bearer realm="IdentityServer",error="invalid_token"` || w.Body.Len() != 0 {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	b.Clock.Advance(3*time.Hour - time.Second)
	if w := get("Bearer " + out.Access); w.Code != 200 {
		t.Errorf("in time: %d", w.Code)
	}
	b.Clock.Advance(time.Second)
	if w := get("Bearer " + out.Access); w.Code != 401 {
		t.Errorf("after its life: %d", w.Code)
	}
	f := openidtest.Redeems(r, b.code(t, asks(r), ""))
	b.Clock.Advance(2 * time.Second)
	out = openidtest.Read(t, b.send(t, http.MethodPost, op+"/connect/token", f))
	_, c := b.info(t, out.Access)
	if _, _, id := b.verified(t, out.ID); id["session_expiry"] != c["session_expiry"] {
		t.Errorf("session_expiry %s, in the ID token %s", c["session_expiry"], id["session_expiry"])
	}
}

// TestMatch: a CPR number is compared three times, within fifteen minutes of
// the login.
func TestMatch(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	match := func(body string, header ...string) string {
		w := b.call(t, http.MethodPost, op+"/api/v1/mitid/matchCpr", "application/json", body, header...)
		return fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String()))
	}
	is := func(cpr string) string { return `{"cpr":"` + cpr + `"}` }
	const (
		yes     = `200 {"cprNumberMatch":true}`
		no      = `200 {"cprNumberMatch":false}`
		missing = `400 {"errorMessage":"Missing Cpr parameter"}`
		over    = `400 {"errorMessage":"Cpr Match exceeded. Only 3 tries is allowed within a session."}`
	)
	out := b.login(t, r, asks(r), "hanne")
	token := "Bearer " + out.Access
	for _, body := range []string{"", "{}", `{"cpr":""}`, `{"cpr":null}`, `{"x":"` + hanne + `"}`, "[]", "cpr=" + hanne, `{"cpr":8903859996}`, strings.Repeat(" ", 5000) + is(hanne)} { // none is a try
		if got := match(body, token); got != missing {
			t.Errorf("%.30q: %s", body, got)
		}
	}
	for _, header := range [][]string{nil, {"Bearer x"}, {"Basic " + out.Access}, {"Bearer " + out.ID}} {
		w := b.call(t, http.MethodPost, op+"/api/v1/mitid/matchCpr", "application/json", is(hanne), header...)
		if w.Code != 401 || w.Header().Get("WWW-Authenticate") != "Bearer" || w.Body.Len() != 0 {
			t.Errorf("%v: %d %v", header, w.Code, w.Header())
		}
	}
	for i, x := range [][2]string{{"6103089998", no}, {hanne, yes}, {hanne, yes}, {hanne, over}, {hanne, over}} {
		if got := match(is(x[0]), token); got != x[1] {
			t.Errorf("try %d: %s", i+1, got)
		}
	}
	if got := match("{}", token); got != missing {
		t.Errorf("nothing, after the tries: %s", got)
	}
	if got := match(is(hanne), "Bearer "+b.login(t, r, asks(r), "hanne").Access); got != yes {
		t.Errorf("after another login: %s", got)
	}
	for cpr, want := range map[string]string{hanne: no, "0000000000": no} {
		if got := match(is(cpr), "Bearer "+b.login(t, r, asks(r), "udencpr").Access); got != want {
			t.Errorf("who has none, and %s: %s", cpr, got)
		}
	}
	token = "Bearer " + b.login(t, r, asks(r), "hanne").Access
	b.Clock.Advance(15 * time.Minute)
	if got := match(is(hanne), token); got != yes {
		t.Errorf("at 15 minutes: %s", got)
	}
	b.Clock.Advance(time.Second)
	if got := match(is(hanne), token); !strings.HasPrefix(got, `400 {"errorMessage":"`) || !strings.Contains(got, "15 minutes") {
		t.Errorf("after 15 minutes: %s", got)
	}
	if w := b.send(t, http.MethodGet, op+"/connect/userinfo", nil, token); w.Code != 200 {
		t.Errorf("UserInfo then: %d", w.Code)
	}
}

// TestSimulation: a login without pages, for tests of others.
func TestSimulation(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	const denied = "?error=access_denied&error_description="
	for name, x := range map[string]struct{ simulation, params, want string }{
		"uuid":         {"no-ui uuid:" + hanneUUID, "", "?code="},
		"username":     {"no-ui username:hanne85", "", "?code="},
		"strong":       {"no-ui username:hanne85", `{"mitid":{"loa_value":"high"}}`, "?code="},
		"not enough":   {"no-ui username:palle70", `{"mitid":{"loa_value":"high"}}`, denied + "mitid_identity_not_found"},
		"unknown":      {"no-ui uuid:00000000-0000-0000-0000-000000000000", "", denied + "mitid_simulation_unknown_user"},
		"unknown name": {"no-ui username:nobody", "", denied + "mitid_simulation_unknown_user"},
		"nothing":      {"no-ui ", "", denied + "mitid_simulation_unknown_user"},
		"of no MitID":  {"no-ui username:ada", "", denied + "mitid_simulation_unknown_user"},
		"a number":     {"no-ui cpr:" + hanne, "", "?code="},
	} {
		q := asks(r)
		q.Set("simulation", x.simulation)
		q.Set("idp_params", x.params)
		w := b.authorize(t, q)
		to := w.Header().Get("Location")
		if w.Code != http.StatusFound || !strings.HasPrefix(to, back+x.want) || !strings.Contains(to, "&state=s&session_state=") {
			t.Errorf("%s: %d %s", name, w.Code, to)
		}
		if code := openidtest.Location(t, w).Query().Get("code"); code != "" {
			out := openidtest.Read(t, b.send(t, http.MethodPost, op+"/connect/token", openidtest.Redeems(r, code)))
			if _, c := b.info(t, out.Access); c["mitid.uuid"] != hanneUUID {
				t.Errorf("%s: %v", name, c)
			}
		}
	}
	q := asks(r)
	q.Set("simulation", "ui uuid:"+hanneUUID)
	b.begin(t, q)
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
	const denied, failed = "-error_description=", `!data-testid="error"`
	for name, x := range map[string]struct {
		scopes string
		level  string
		steps  []step
	}{
		"app":             {"", "", []step{{"act=user&user=x", failed}, {"act=user&user=+Hanne85+", `data-testid="with-app"`}, {"with=app", "-code="}}},
		"person":          {"", "", []step{{"person=hanne", `data-testid="with-code_display"`}, {"with=code_display", "-code="}}},
		"nobody":          {"", "", []step{{"person=x", "!Nobody here"}, {"person=ada", "!Nobody here"}}},
		"!no such button": {"", "", []step{{"act=x", "!no such button"}, {"", "!no such button"}, {"act=cpr&cpr=" + hanne, "!no such button"}, {"with=app", "!no such button"}}},
		"what they lack":  {"", "", []step{{"person=adgangskode", `data-testid="with-code_display"`}, {"with=app", failed}}},
		"too weak":        {"", "high", []step{{"person=adgangskode", "nothing that is strong enough"}, {"with=password", denied + "mitid_identity_not_found"}}},
		"a number":        {"ssn", "", []step{{"person=hanne", `data-testid="with-app"`}, {"with=app", `data-testid="cpr"`}, {"act=cpr&cpr=890385-9996", "-code="}}},
		"the third time":  {"nemid.pid", "", []step{{"person=hanne", `data-testid="with-app"`}, {"with=app", "Tries left: 3"}, {"act=cpr&cpr=1", "!Tries left: 2"}, {"act=cpr&cpr=", "!Tries left: 1"}, {"act=cpr&cpr=" + hanne, "-code="}}},
		"three wrong":     {"ssn.details_name", "", []step{{"person=hanne", `data-testid="with-app"`}, {"with=app", `data-testid="cpr"`}, {"act=cpr&cpr=1", failed}, {"act=cpr&cpr=2", failed}, {"act=cpr&cpr=3", denied + "mitid_cpr_match_failed"}}},
		"has no number":   {"ssn", "", []step{{"person=udencpr", `data-testid="with-app"`}, {"with=app", "this person has none"}, {"act=cpr&cpr=", failed}, {"act=cpr&cpr=", failed}, {"act=cpr&cpr=", denied + "mitid_cpr_match_failed"}}},
		"cancel":          {"", "", []step{{"act=cancel", denied + "mitid_user_aborted"}}},
		"fail":            {"", "", []step{{"act=fail", denied + "mitid_identity_not_found"}}},
		"close":           {"", "", []step{{"act=close", "user_navigation_error"}}},
		"always cancels":  {"", "", []step{{"act=user&user=anders82", denied + "mitid_user_aborted"}}},
		"always wrong":    {"ssn", "", []step{{"person=forkert", denied + "mitid_cpr_match_failed"}}},
		"of few words":    {"", "", []step{{"person=stille", "Nobody acts in the app."}, {"act=cancel", denied + "mitid_user_aborted"}}},
		"cancel, at last": {"ssn", "", []step{{"person=hanne", `data-testid="with-app"`}, {"with=app", `data-testid="cpr"`}, {"act=cancel", denied + "mitid_user_aborted"}}},
		"somebody else":   {"ssn", "", []step{{"person=hanne", `data-testid="with-app"`}, {"with=app", `data-testid="cpr"`}, {"act=cpr&cpr=1", failed}, {"person=sofie", `data-testid="with-app"`}, {"act=cpr&cpr=6103089998", "!no such button"}, {"with=app", "Tries left: 3"}}},
	} {
		q := asks(r, strings.Fields(x.scopes)...)
		if x.level != "" {
			q.Set("idp_params", `{"mitid":{"loa_value":"`+x.level+`"}}`)
		}
		page, ref := b.begin(t, q)
		if w := b.send(t, http.MethodGet, page, nil); w.Code != 200 || !strings.Contains(w.Body.String(), "Shop &lt;b&gt;") || w.Header().Get("Cache-Control") != "no-store" || !strings.Contains(w.Body.String(), `data-testid="banner"`) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		for i, st := range x.steps {
			form, err := url.ParseQuery(st.form)
			if err != nil {
				t.Fatal(err)
			}
			w := b.send(t, http.MethodPost, page, form)
			to := openidtest.Location(t, w)
			param, wantsBack := strings.CutPrefix(st.want, "-")
			param, value, _ := strings.Cut(param, "=")
			text, wrong := strings.CutPrefix(st.want, "!")
			switch {
			case wantsBack && w.Code == http.StatusFound && to.Host == "party.example" && to.Query().Get(param) != "" && strings.HasPrefix(to.Query().Get(param), value) && to.Query().Get("state") == "s" &&
				to.Query().Has("iss") == to.Query().Has("code"):
			case !wantsBack && strings.Contains(w.Body.String(), text) && to.String() == "" && (w.Code == http.StatusBadRequest) == wrong:
			default:
				t.Errorf("%s, step %d: %d %s\n%s", name, i, w.Code, to, w.Body)
			}
		}
		if o, err := b.Order(ref); err != nil || (o.State == "ended") != (strings.HasPrefix(x.steps[len(x.steps)-1].want, "-") || name == "close") {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if w := b.send(t, method, op+"/Account/Login/x", nil); w.Code != 404 {
			t.Errorf("a page of no login: %d", w.Code)
		}
	}
}

// TestWays: what a page offers is strong enough, and comes to a level.
func TestWays(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	for level, ways := range map[string]map[string][2]string{
		"low":         {"app": {"Substantial", "code_app"}, "code_display": {"Substantial", "password code_token"}, "chip": {"High", "password u2f_token"}, "password": {"Low", "password"}},
		"substantial": {"app": {"Substantial", "code_app"}, "code_display": {"Substantial", "password code_token"}, "chip": {"High", "password u2f_token"}},
		"high":        {"app": {"High", "code_app_enchanced"}, "chip": {"High", "password u2f_token"}},
	} {
		q := asks(r)
		q.Set("idp_params", `{"mitid":{"loa_value":"`+level+`","uuid_hint":"`+hanneUUID+`"}}`)
		for _, way := range []string{"app", "code_display", "chip", "password"} {
			page, _ := b.begin(t, q)
			want, offered := ways[way]
			if got := strings.Contains(b.send(t, http.MethodGet, page, nil).Body.String(), `data-testid="with-`+way+`"`); got != offered {
				t.Errorf("%s: %s is offered: %v", level, way, got)
			}
			if !offered {
				continue
			}
			code := openidtest.Location(t, b.send(t, http.MethodPost, page, url.Values{"with": {way}})).Query().Get("code")
			_, _, c := b.verified(t, openidtest.Read(t, b.send(t, http.MethodPost, op+"/connect/token", openidtest.Redeems(r, code))).ID)
			var amr []string
			for _, a := range c["amr"].([]any) {
				amr = append(amr, a.(string))
			}
			if c["loa"] != nsis+want[0] || strings.Join(amr, " ") != want[1] {
				t.Errorf("%s, %s: %v %v", level, way, c["loa"], amr)
			}
		}
	}
}

// TestEnds: what a party is told of each end, and that a page says it again.
func TestEnds(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	const denied = "error=access_denied&error_description="
	for event, want := range map[string]string{"cancel": denied + "mitid_user_aborted&state=s&session_state=", "decline": denied + "mitid_identity_not_found&state=s&session_state=",
		"expire": denied + "mitid_timeout&state=s&session_state=", "fail:mitid_internal_error": denied + "mitid_internal_error&state=s&session_state=", "fail:login_required": "error=login_required&state=s&session_state=", "approve": "code="} {
		page, ref := b.begin(t, asks(r))
		if _, err := b.Do(ref, sandbox.Act{Event: event}); err != nil {
			t.Fatal(err)
		}
		first := b.send(t, http.MethodGet, page, nil)
		to := first.Header().Get("Location")
		if first.Code != http.StatusFound || !strings.HasPrefix(to, back+"?"+want) || strings.Contains(to, "&iss=") != (event == "approve") {
			t.Errorf("%s: %d %s", event, first.Code, to)
		}
		if again := b.send(t, http.MethodPost, page, url.Values{"act": {"cancel"}}).Header().Get("Location"); again != to {
			t.Errorf("%s, and a button: %s", event, again)
		}
	}
	if to := openidtest.Location(t, b.authorize(t, func() url.Values { q := asks(r); q.Set("simulation", "no-ui username:hanne85"); return q }())); !regexp.MustCompile(`^code=[0-9A-F]{64}-1&state=s&session_state=[0-9a-f-]{36}&iss=http`).MatchString(to.RawQuery) {
		t.Errorf("the order of parameters: %s", to.RawQuery)
	}
	for person, want := range map[string]string{"udencpr": "mitid_cpr_match_failed"} { // who cannot be confirmed as asked
		page, ref := b.begin(t, asks(r, "ssn"))
		if _, err := b.Do(ref, sandbox.Act{Event: "approve", Person: person}); err != nil {
			t.Fatal(err)
		}
		if to := openidtest.Location(t, b.send(t, http.MethodGet, page, nil)); to.Query().Get("error_description") != want {
			t.Errorf("%s: %s", person, to)
		}
	}
	page, _ := b.begin(t, asks(r))
	b.Clock.Advance(5 * time.Minute)
	if to := openidtest.Location(t, b.send(t, http.MethodGet, page, nil)); to.Query().Get("error_description") != "mitid_timeout" {
		t.Errorf("after five minutes: %s", to)
	}
	page, ref := b.begin(t, asks(r))
	if _, err := b.Do(ref, sandbox.Act{Event: "fail:no_return"}); err != nil {
		t.Fatal(err)
	}
	if w := b.send(t, http.MethodGet, page, nil); w.Header().Get("Location") != "" || !strings.Contains(w.Body.String(), "stays here") {
		t.Errorf("never back: %d %v", w.Code, w.Header())
	}
	for outcome, want := range map[sandbox.Outcome]string{"approve after 3s": "Waiting", "expire": "Nobody acts"} {
		page, ref := b.begin(t, asks(r))
		b.Decisions.Set(ref, sandbox.Decision{Outcome: outcome})
		if w := b.send(t, http.MethodGet, page, nil); w.Code != 200 || !strings.Contains(w.Body.String(), want) || (w.Header().Get("Refresh") == "3") != (outcome != "expire") {
			t.Errorf("%s: %d %v", outcome, w.Code, w.Header())
		}
	}
}

// TestPeople: the page of user IDs lists everybody with a MitID, and nobody else.
func TestPeople(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	page, ref := b.begin(t, asks(r))
	body := b.send(t, http.MethodGet, page, nil).Body.String()
	seen, ids := 0, map[string]bool{}
	for _, p := range b.People.List() {
		if strings.Contains(body, `data-testid="person-`+p.Key+`"`) != (p.MitID != nil) {
			t.Errorf("%s is listed: %v", p.Key, p.MitID == nil)
		}
		_, err := b.Do(ref, sandbox.Act{Event: "approve", Person: p.Key})
		if p.MitID == nil {
			if err == nil {
				t.Errorf("%s logs in without a MitID", p.Key)
			}
			continue
		}
		seen++
		if ids[p.MitID.UUID] || ids[p.MitID.User] || p.MitID.CPR != "" && ids[p.MitID.CPR] || p.MitID.PID != "" && ids[p.MitID.PID] {
			t.Errorf("%s has what another has", p.Key)
		}
		for _, id := range []string{p.MitID.UUID, p.MitID.User, p.MitID.CPR, p.MitID.PID} {
			ids[id] = true
		}
		_, ref = b.begin(t, asks(r))
	}
	if seen < 9 {
		t.Errorf("only %d people", seen)
	}
}

// strike is a call while a fault is on; what is thrown is what a connection
// would end by.
func (b *box) strike(t *testing.T, f sandbox.Fault, call func() *httptest.ResponseRecorder) (got string) {
	t.Helper()
	if err := f.Check(mitid.Faults()[f.Target]); err != nil {
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
	page, _ := b.begin(t, asks(r))
	post := func(path string) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder { return b.send(t, http.MethodPost, op+path, url.Values{}) }
	}
	get := func(path string) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder { return b.send(t, http.MethodGet, op+path, nil) }
	}
	calls := map[string][]func() *httptest.ResponseRecorder{
		"mitid.par": {post("/connect/par")}, "mitid.token": {post("/connect/token")}, "mitid.userinfo": {get("/connect/userinfo")}, "mitid.match": {post("/api/v1/mitid/matchCpr")},
		"mitid.jwks": {get("/.well-known/openid-configuration/jwks")}, "mitid": {get("/.well-known/openid-configuration"), get("/connect/authorize")},
	}
	for target := range calls {
		if target != "mitid" {
			calls["mitid"] = append(calls["mitid"], calls[target]...)
		}
	}
	want := map[string]string{sandbox.Status: `429 {"errorCode":"tooManyRequests","details":"injected"}`, sandbox.HTML: "502 <html>", sandbox.Reset: http.ErrAbortHandler.Error(), sandbox.Garbage: "200 <<<not json>>>",
		sandbox.Truncate: `200 {"orderRef":"`, sandbox.Refuse: `400 {"error":"unauthorized_client"}`}
	value := map[string]string{sandbox.Status: "429", sandbox.HTML: "502", sandbox.Refuse: "unauthorized_client"}
	for target, kinds := range mitid.Faults() {
		if target == "mitid.result" {
			continue
		}
		if len(calls[target]) == 0 {
			t.Errorf("no call of %s", target)
		}
		for _, kind := range kinds {
			if kind == sandbox.Delay { // below
				continue
			}
			for i, call := range calls[target] {
				if got := b.strike(t, sandbox.Fault{Target: target, Kind: kind, Value: value[kind]}, call); !strings.HasPrefix(got, want[kind]) || want[kind] == "" {
					t.Errorf("%s %s, call %d: %s", target, kind, i, got)
				}
			}
			for other := range calls { // it does not touch what is another's
				if other != target && target != "mitid" {
					if got := b.strike(t, sandbox.Fault{Target: target, Kind: kind, Value: value[kind]}, calls[other][0]); strings.HasPrefix(got, want[kind]) {
						t.Errorf("%s %s strikes %s", target, kind, other)
					}
				}
			}
		}
	}
	f := b.Faults.Add(sandbox.Fault{Target: "mitid.match", Kind: sandbox.Status, Value: "503"})
	if w := b.send(t, http.MethodGet, page, nil); w.Code != 200 || !strings.Contains(w.Body.String(), "mitid.match http 503") {
		t.Errorf("the page does not say which faults are on: %s", w.Body)
	}
	b.Faults.Remove(f.ID)
	b.Faults.Add(sandbox.Fault{Target: "bankidno", Kind: sandbox.Status, Value: "503"})
	if w := b.send(t, http.MethodGet, page, nil); w.Code != 200 || strings.Contains(w.Body.String(), `data-testid="faults"`) {
		t.Errorf("another's fault: %d", w.Code)
	}
}

// TestDelay: a fault that takes time, which does not pass here.
func TestDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(sandbox.Ignore)
		for target := range mitid.Faults() {
			if target == "mitid.result" {
				continue
			}
			b.Faults.Add(sandbox.Fault{Target: target, Kind: sandbox.Delay, Value: "5s", Times: 1})
			start := time.Now()
			for _, path := range []string{"/connect/par", "/connect/token", "/api/v1/mitid/matchCpr"} {
				b.send(t, http.MethodPost, op+path, url.Values{})
			}
			for _, path := range []string{"/connect/userinfo", "/.well-known/openid-configuration/jwks"} {
				b.send(t, http.MethodGet, op+path, nil)
			}
			if got := time.Since(start); got != 5*time.Second {
				t.Errorf("%s: took %s", target, got)
			}
		}
	})
}

// TestResultFaults: each kind shows in the ID token, or in UserInfo.
func TestResultFaults(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	type proof struct {
		kid, alg, iss, aud, nonce, sub, other string // other: sub of UserInfo, if it differs
		valid, over                           bool
	}
	set := b.keys(t)
	look := func(kind string) (p proof) {
		if kind != "" {
			f := b.Faults.Add(sandbox.Fault{Target: "mitid.result", Kind: kind})
			defer b.Faults.Remove(f.ID)
		}
		out := b.login(t, r, asks(r), "hanne")
		parts := strings.Split(out.ID, ".")
		var head struct{ Kid, Alg string }
		var c struct {
			Iss, Aud, Nonce, Sub string
			Nbf, Iat, Exp        int64
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
		if c.Nbf > c.Exp || c.Exp-c.Iat != 300 {
			t.Errorf("%s: nbf %d, iat %d, exp %d", kind, c.Nbf, c.Iat, c.Exp)
		}
		p = proof{kid: head.Kid, alg: head.Alg, iss: c.Iss, aud: c.Aud, nonce: c.Nonce, sub: c.Sub, over: c.Exp <= b.Clock.Now().Unix()}
		if j, err := jose.ParseSignedCompact(out.ID, []jose.SignatureAlgorithm{jose.RS256}); err == nil {
			_, err := j.Verify(set.Keys[0].Key)
			p.valid = err == nil
		}
		if _, info := b.info(t, out.Access); info["sub"] != c.Sub {
			p.other = info["sub"]
		}
		return p
	}
	good := look("")
	if !good.valid || good.over || good.other != "" {
		t.Fatalf("%+v", good)
	}
	for _, kind := range mitid.Faults()["mitid.result"] {
		want, got := good, look(kind)
		switch kind {
		case openid.WrongKID:
			want.kid = "retired"
		case openid.Unsigned:
			want.alg, want.kid, want.valid = "none", "", false
		case openid.OtherIssuer:
			want.iss = "https://pp.netseidbroker.dk/op"
		case openid.OtherAudience:
			want.aud = "somebody"
		case openid.OtherNonce:
			want.nonce = "another"
		case openid.OtherSubject:
			want.other = got.other
			if got.other == "" {
				t.Error("UserInfo is about the same person")
			}
		case openid.Over:
			want.over = true
		case openid.BadSignature:
			want.valid = false
		default:
			t.Errorf("%s is not known here", kind)
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", kind, got, want)
		}
	}
	b.Faults.Add(sandbox.Fault{Target: "mitid.result", Kind: openid.OtherSubject, Times: 1}) // it waits for UserInfo
	if p := look(""); p.other == "" || len(b.Faults.List()) != 0 {
		t.Errorf("%+v, left %v", p, b.Faults.List())
	}
	b.Faults.Add(sandbox.Fault{Target: "mitid.result", Kind: openid.OtherNonce, Times: 2})
	if first, second := look(""), look(""); first.nonce != "another" || second.nonce != "another" {
		t.Errorf("a fault of two tokens: %q and %q", first.nonce, second.nonce)
	}
	b.Faults.Add(sandbox.Fault{Target: "mitid.result", Kind: openid.WrongKID})
	b.Faults.Add(sandbox.Fault{Target: "mitid.result", Kind: openid.OtherSubject})
	if p := look(""); p.kid != "retired" || p.other == "" {
		t.Errorf("two faults: %+v", p)
	}
}

// TestFidelity: each line says what it is about, and gives a reason.
func TestFidelity(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range mitid.Fidelity() {
		if f.Upstream != "mitid" || f.What == "" || f.State != sandbox.Exact && f.State != sandbox.Differs && f.State != sandbox.NotSimulated || (f.Because == "") != (f.State == sandbox.Exact) || seen[f.What] {
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
	f.Add("openid mitid ssn", `{"mitid":{"loa_value":"high","reference_text":"SGVq"}}`, "", "", "no-ui uuid:"+hanneUUID)
	f.Add("openid minimal age_verify:18", `{"mitid":[]}`, "e30.e30.e30", "", "")
	f.Add("", "", "a.b.c.d.e", "urn:x", "no-ui ")
	f.Fuzz(func(t *testing.T, scope, params, request, uri, simulation string) {
		q := asks(r)
		q.Set("scope", scope)
		q.Set("idp_params", params)
		q.Set("request", request)
		q.Set("request_uri", uri)
		q.Set("simulation", simulation)
		w := b.authorize(t, q)
		to := w.Header().Get("Location")
		if w.Code != http.StatusFound || !errorPage.MatchString(to) && !strings.HasPrefix(to, op+"/Account/Login/") && !strings.HasPrefix(to, back+"?code=") && !strings.HasPrefix(to, back+"?error=access_denied&") {
			t.Errorf("%d %s", w.Code, to)
		}
	})
}
