package oidc_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"eidgate/api/oidc"
	"eidgate/eid"
	"eidgate/relying"
)

// Places that requests of these tests come from.
const (
	here      = "192.0.2.1"
	there     = "192.0.2.2"
	elsewhere = "2001:db8:0:1::7"
)

// A stopwatch is a clock for limits, which stands still.
type stopwatch struct {
	mu  sync.Mutex
	now time.Time
}

func (s *stopwatch) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stopwatch) wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// limited is a world whose limits count on a stopwatch, and an account that has
// limits of its own; zero takes the default.
func limited(t *testing.T, l relying.Limits) (*world, *stopwatch) {
	t.Helper()
	watch := &stopwatch{now: time.Unix(1_800_000_000, 0)}
	w := newWorld(t, func(c *oidc.Config) { c.Clock = watch.Now })
	w.account = &relying.Account{ID: uuid.NewString(), Name: "Small shop", Language: "en", Limits: l}
	if err := w.store.PutAccount(t.Context(), w.account); err != nil {
		t.Fatal(err)
	}
	return w, watch
}

// begin sends a request of a browser from a place, and is where that leads.
func (v *visitor) begin(t *testing.T, method, place string, q url.Values) *http.Response {
	t.Helper()
	address, body := v.w.server.URL+oidc.Root+"/connect/authorize", ""
	if method == http.MethodPost {
		body = q.Encode()
	} else {
		address += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-From", place)
	res, err := v.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}

// begun is how many of n logins begin; the others must be told to wait, on a
// page, and go nowhere.
func (w *world) begun(t *testing.T, n int, method, place string, q url.Values) (passed int) {
	t.Helper()
	for range n {
		switch res := w.visitor().begin(t, method, place, q); {
		case res.StatusCode == http.StatusSeeOther && strings.HasPrefix(res.Header.Get("Location"), oidc.Root+"/"):
			passed++
		case res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "1" || res.Header.Get("Location") != "":
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		case w.problems[len(w.problems)-1] != "temporarily_unavailable" || w.shown != "Too many logins begin at once. Try again in a moment.":
			t.Fatalf("%q says %q", w.problems, w.shown)
		}
	}
	return passed
}

// TestLimitOfLogins: a client's browsers begin no more logins than its account
// may, and those at one address no more than their part.
func TestLimitOfLogins(t *testing.T) {
	t.Parallel()
	w, watch := limited(t, relying.Limits{Setups: 10})
	c, other := w.client(), w.client()
	get, q := http.MethodGet, request(c)
	for _, x := range []struct {
		what, place string
		client      *relying.Client
		wait        time.Duration
		want        int // of 15
	}{
		{"one address", here, c, 0, 10},
		{"another one", there, c, 0, 10},
		{"a third one, for which the client has none left", elsewhere, c, 0, 0},
		{"another client", elsewhere, other, 0, 10},
		{"the network that has begun those", "2001:db8::1:ffff:0:0:1", other, 0, 0},
		{"one address a second later", here, c, time.Second, 2},
		{"another one", there, c, 0, 2},
		{"a third one", elsewhere, c, 0, 6},
	} {
		watch.wait(x.wait)
		if got := w.begun(t, 15, get, x.place, request(x.client)); got != x.want {
			t.Errorf("%s: %d of 15 logins began, want %d", x.what, got, x.want)
		}
	}
	if res := w.visitor().begin(t, get, here, request(c, "prompt", "none")); !strings.Contains(res.Header.Get("Location"), "error=login_required") {
		t.Errorf("what begins nothing is limited: %d %v", res.StatusCode, res.Header)
	}
	if got := w.begun(t, 15, http.MethodPost, here, q); got != 10 {
		t.Errorf("%d of 15 posted requests were kept, want 10", got)
	}
	for _, place := range []string{here, there, "2001:db8"} {
		if strings.Contains(w.log.String(), place) {
			t.Errorf("the log has %s", place)
		}
	}
	if !strings.Contains(w.log.String(), "Too many logins begin at once") {
		t.Error("the log does not say what was refused")
	}
	watch.wait(time.Minute)
	v := w.visitor()
	w.tokens(c, v)
	for i := range 12 { // from a login that the browser has
		res := v.begin(t, get, here, q)
		if code := strings.Contains(res.Header.Get("Location"), "code="); code != (i < 10) || !code && res.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%d: %d %v", i, res.StatusCode, res.Header)
		}
	}
	tiny, _ := limited(t, relying.Limits{Setups: 1})
	if got := tiny.begun(t, 1, get, here, request(tiny.client())); got != 1 {
		t.Error("a client that may begin one login a second begins none")
	}
	usual, _ := limited(t, relying.Limits{})
	if got := usual.begun(t, 60, get, here, request(usual.client())); got != 50 {
		t.Errorf("by default %d of 60 logins began, want 50", got)
	}
}

// calls are those that a client makes itself.
func calls(token string) map[string]url.Values {
	return map[string]url.Values{"token": {"grant_type": {"client_credentials"}}, "par": request(&relying.Client{}, "client_id", ""),
		"introspect": {"token": {token}}, "revocation": {"token": {"at_none"}}, "userinfo": {"access_token": {token}}}
}

// TestLimitOfCalls: all that a client calls counts together, and for it alone.
func TestLimitOfCalls(t *testing.T) {
	t.Parallel()
	w, watch := limited(t, relying.Limits{Reads: 5})
	c, other := w.client(), w.client()
	token := w.tokens(c, w.visitor())["access_token"].(string) // the first of ten
	calls := calls(token)
	call := func(path string, c *relying.Client, form url.Values, header ...string) (int, http.Header, map[string]any) {
		if path == "userinfo" { // its token says whose it is
			return w.post(path, nil, form, header...)
		}
		return w.post(path, c, form, header...)
	}
	refused := func(path string, status int, h http.Header, out map[string]any) bool {
		if status != http.StatusTooManyRequests {
			return false
		}
		if h.Get("Retry-After") != "1" || h.Get("X-Eidgate-Error") != "temporarily_unavailable" || h.Get("WWW-Authenticate") != "" || out["error"] != "temporarily_unavailable" ||
			out["error_description"] != "The client calls too often. Wait as long as Retry-After says." || !strings.Contains(h.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: %v %v", path, h, out)
		}
		return true
	}
	paths := []string{"token", "par", "introspect", "revocation", "userinfo"}
	for i, path := range slices.Concat(paths, paths[:4]) {
		if status, h, out := call(path, c, calls[path]); status >= 400 {
			t.Fatalf("call %d, %s: %d %v %v", i, path, status, h, out)
		}
	}
	for _, path := range paths {
		status, h, out := call(path, c, calls[path], "X-From", there)
		if !refused(path, status, h, out) {
			t.Errorf("%s after ten calls: %d %v", path, status, out)
		}
		if path == "userinfo" {
			continue
		}
		if status, _, out := call(path, other, calls[path]); status >= 400 {
			t.Errorf("%s of another client: %d %v", path, status, out)
		}
	}
	if status, _, _ := w.post("token", nil, url.Values{"client_id": {c.ID}, "client_secret": {"secret"}}); status != http.StatusUnauthorized {
		t.Errorf("what proves nothing is %d", status)
	}
	watch.wait(time.Second)
	passed := 0
	for range 8 {
		if status, h, out := call("introspect", c, calls["introspect"]); !refused("introspect", status, h, out) {
			passed++
		}
	}
	if passed != 5 {
		t.Errorf("a second later %d calls are answered, want 5", passed)
	}
	usual, _ := limited(t, relying.Limits{})
	c, passed = usual.client(), 0
	for range 410 {
		if status, _, _ := usual.post("introspect", c, url.Values{"token": {"x"}}); status == http.StatusOK {
			passed++
		}
	}
	if passed != 400 {
		t.Errorf("by default %d of 410 calls are answered, want 400", passed)
	}
}

// TestLimitOfPublicClients: what anybody may call in the name of a client that
// proves nothing counts for the address that does it, and a page may read that.
func TestLimitOfPublicClients(t *testing.T) {
	t.Parallel()
	w, _ := limited(t, relying.Limits{Reads: 1})
	c := w.client(func(c *relying.Client) { c.Auth, c.Secrets = relying.Public, nil })
	ask := func(place string) (int, http.Header) {
		status, h, _ := w.post("token", nil, url.Values{"client_id": {c.ID}, "grant_type": {"authorization_code"}, "code": {"none"}}, "X-From", place, "Origin", "https://shop.example")
		return status, h
	}
	for i, want := range []int{400, 400, 429} {
		status, h := ask(here)
		if status != want || h.Get("Access-Control-Allow-Origin") != "https://shop.example" || !strings.Contains(h.Get("Access-Control-Expose-Headers"), "Retry-After") {
			t.Errorf("%d: %d %v", i, status, h)
		}
	}
	if status, _ := ask(there); status != http.StatusBadRequest {
		t.Errorf("another address: %d", status)
	}
	for range 12 { // a secret that the client does not have shuts nobody out either
		w.post("token", nil, url.Values{"client_id": {c.ID}, "client_secret": {"x"}}, "X-From", elsewhere)
	}
	if status, _ := ask(elsewhere); status != http.StatusBadRequest {
		t.Errorf("after wrong proofs from its address: %d", status)
	}
}

// TestLimitOfProofs: who guesses must wait, and shuts nobody out elsewhere.
func TestLimitOfProofs(t *testing.T) {
	t.Parallel()
	w, watch := limited(t, relying.Limits{})
	form := url.Values{"token": {"x"}}
	right, wrong := func(c *relying.Client, place string) int {
		status, _, _ := w.post("introspect", c, form, "X-From", place)
		return status
	}, func(id, place string) (int, http.Header, map[string]any) {
		return w.post("introspect", nil, url.Values{"token": {"x"}, "client_id": {id}, "client_secret": {"guess"}}, "X-From", place)
	}
	for what, x := range map[string]struct {
		client *relying.Client
		id     string
		status int // of a wrong proof
	}{
		"a secret":                     {w.client(), "", http.StatusUnauthorized},
		"a secret of Signicat's style": {w.client(func(c *relying.Client) { c.Profile = relying.Signicat }), "", http.StatusBadRequest},
		"no client":                    {nil, "nobody", http.StatusUnauthorized},
	} {
		if x.client != nil {
			x.id = x.client.ID
		}
		for i := range 10 {
			if status, h, out := wrong(x.id, here); status != x.status || out["error"] != "invalid_client" || h.Get("Retry-After") != "" {
				t.Fatalf("%s: %d: %d %v", what, i, status, out)
			}
		}
		status, h, out := wrong(x.id, here)
		if status != http.StatusTooManyRequests || h.Get("Retry-After") != "6" || out["error"] != "temporarily_unavailable" ||
			out["error_description"] != "Client authentication has failed too often from this address. Wait as long as Retry-After says." {
			t.Errorf("%s: after ten: %d %v %v", what, status, h, out)
		}
		if status, _, _ := wrong(x.id, there); status != x.status {
			t.Errorf("%s: another address: %d", what, status)
		}
		if x.client == nil {
			continue
		}
		if a, b, c := right(x.client, here), right(x.client, there), right(w.client(), here); a != 429 || b != 200 || c != 200 {
			t.Errorf("%s: then a right one is %d, from elsewhere %d, of another client %d", what, a, b, c)
		}
	}
	watch.wait(6 * time.Second)
	if status, _, _ := wrong("nobody", here); status != http.StatusUnauthorized {
		t.Errorf("six seconds later: %d", status)
	}
	c := w.client()
	for range 10 {
		wrong(c.ID, elsewhere)
	}
	if status := right(c, "2001:db8:0:1::8"); status != http.StatusTooManyRequests {
		t.Errorf("the next address of the same network: %d", status)
	}
	watch.wait(6 * time.Second)
	for range 3 { // a right proof costs nothing
		if status := right(c, elsewhere); status != http.StatusOK {
			t.Errorf("a right proof six seconds later: %d", status)
		}
	}
	signs := w.client(func(c *relying.Client) {
		c.Auth, c.Secrets, c.JWKS = relying.PrivateKeyJWT, nil, jwks("rp", keys()["ES256"])
	})
	for i := range 20 { // a signature cannot be guessed: who sends wrong ones shuts out nobody behind the same address
		status, _, out := w.post("introspect", nil, url.Values{"token": {"x"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {"e30." +
			base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"`+signs.ID+`"}`)) + ".e30"}}, "X-From", here)
		if status != http.StatusUnauthorized || out["error"] != "invalid_client" {
			t.Fatalf("%d: a wrong signature: %d %v", i, status, out)
		}
	}
	if status, _, _ := w.post("introspect", nil, form, "X-From", elsewhere, "Authorization", "Basic !"); status != http.StatusUnauthorized {
		t.Errorf("what names nobody: %d", status)
	}
	if strings.Contains(w.log.String(), here) || strings.Contains(w.log.String(), "2001:db8") {
		t.Error("the log has addresses")
	}
}

// TestLimitOfOnePerson: a live client has three open logins of a person whom it
// names, and ten in an hour; only where it is the client who names them.
func TestLimitOfOnePerson(t *testing.T) {
	t.Parallel()
	w, _ := limited(t, relying.Limits{Setups: 1000})
	live := func(c *relying.Client) { c.Environment = eid.Live }
	c, other := w.client(live), w.client(live)
	const ada, bo = "199001012385", "199003032392"
	naming := func(c *relying.Client, number string) url.Values {
		return w.pushed(t, c, w.form("par", request(c, "login_hint", "nin:"+number), basic(c)...))
	}
	begun := func(q url.Values) (session string) {
		t.Helper()
		res := w.visitor().begin(t, http.MethodGet, here, q)
		id, ok := strings.CutPrefix(res.Header.Get("Location"), oidc.Root+"/login/")
		if res.StatusCode != http.StatusSeeOther || !ok {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		return strings.TrimSuffix(id, "/")
	}
	refused := func(q url.Values, after, cause string) {
		t.Helper()
		res := w.visitor().begin(t, http.MethodGet, there, q)
		if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != after || res.Header.Get("Location") != "" ||
			w.problems[len(w.problems)-1] != "temporarily_unavailable" || w.shown != "" || !strings.Contains(w.log.String(), cause) {
			t.Errorf("%d %v, a page that says %q of %v", res.StatusCode, res.Header, w.shown, w.problems)
		}
	}
	first := begun(naming(c, ada))
	begun(naming(c, ada))
	begun(naming(other, ada)) // of the same account
	refused(naming(c, ada), "1800", "Three logins are open for the person")
	refused(naming(other, ada), "1800", "Three logins are open for the person")
	begun(naming(c, bo))
	for range 4 { // in a link that anybody can make, it names nobody
		begun(request(c, "login_hint", "nin:"+ada))
	}
	if err := w.broker.Stop(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	begun(naming(c, ada))
	w.clock.Advance(31 * time.Minute) // their time is over, and the four that were begun are earned again
	for range 10 {
		if err := w.broker.Stop(t.Context(), begun(naming(c, ada))); err != nil {
			t.Fatal(err)
		}
	}
	refused(naming(c, ada), "360", "Too many logins were begun for the person")
	test := w.client()
	for range 11 {
		begun(naming(test, ada))
	}
	if strings.Contains(w.log.String(), ada) {
		t.Error("the log names the person")
	}
}
