package control_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/agechecked"
	"eidgate/sandbox/bankidno"
	"eidgate/sandbox/bankidse"
	"eidgate/sandbox/control"
	"eidgate/sandbox/idin"
	"eidgate/sandbox/itsme"
	"eidgate/sandbox/mitid"
)

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// A box is the simulators alone, as "eidgate sandbox" runs them.
type box struct {
	clock  *sandbox.Clock
	faults *sandbox.Faults
	sim    *bankidse.Simulator
	age    *agechecked.Simulator
	banks  *idin.Simulator
	mail   *oneMail
	dutch  string // address of the simulators without TLS
	rp     *http.Client
	issuer string
	at     string
	t      *testing.T
}

// oneKey is for everybody, since making keys is slow.
var oneKey = sync.OnceValue(func() idin.Key {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// oneMail is a mailbox that a test fills.
type oneMail []any

func (m *oneMail) All() []any { return append([]any{}, *m...) }
func (m *oneMail) Clear()     { *m = nil }

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{t: t, clock: sandbox.NewClock(true), faults: sandbox.NewFaults(1), mail: &oneMail{}}
	people := sandbox.NewPeople()
	d := sandbox.NewDecisions(people, sandbox.Ignore)
	rec := sandbox.NewRecorder(1 << 20)
	b.sim = bankidse.New(bankidse.Config{Clock: b.clock, People: people, Decisions: d, Faults: b.faults})
	dutch := httptest.NewServer(nil)
	t.Cleanup(dutch.Close)
	b.dutch = dutch.URL
	issuers := func() string { return dutch.URL }
	b.banks = idin.New(idin.Config{Clock: b.clock, People: people, Decisions: d, Faults: b.faults, Base: issuers, Keys: oneKey})
	b.age = agechecked.New(agechecked.Config{Clock: b.clock, People: people, Decisions: d, Faults: b.faults, Base: issuers})
	mux := http.NewServeMux()
	mux.Handle("/idin/", rec.Wrap("idin", b.clock.Now, b.banks.Handler()))
	mux.Handle("/agechecked/", rec.Wrap("agechecked", b.clock.Now, b.age.Handler()))
	dutch.Config.Handler = mux
	srv := httptest.NewUnstartedServer(rec.Wrap("bankidse", b.clock.Now, b.sim.Handler()))
	srv.TLS = b.sim.TLSConfig()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	cert, err := b.sim.RPCertificate("Shop", "5566304928")
	if err != nil {
		t.Fatal(err)
	}
	tr, ok := srv.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("an odd client")
	}
	tr = tr.Clone()
	tr.TLSClientConfig.Certificates = append(tr.TLSClientConfig.Certificates, cert)
	tr.TLSClientConfig.InsecureSkipVerify = true //nolint:gosec // the server's certificate is not the point here
	t.Cleanup(tr.CloseIdleConnections)
	b.rp, b.issuer = &http.Client{Transport: tr}, srv.URL+"/rp/v6.0/"
	none := func() string { return "" }
	h, err := control.New(control.Config{Clock: b.clock, People: people, Decisions: d, Recorder: rec, Faults: b.faults, BankIDSE: b.sim, IDIN: b.banks, AgeChecked: b.age,
		BankIDNO: bankidno.New(bankidno.Config{Clock: b.clock, People: people, Decisions: d, Faults: b.faults, Base: none, UserInfo: none}),
		MitID:    mitid.New(mitid.Config{Clock: b.clock, People: people, Decisions: d, Faults: b.faults, Base: none}), Itsme: itsme.New(itsme.Config{Clock: b.clock, People: people, Decisions: d, Faults: b.faults, Base: none}),
		Mailbox: b.mail, Stop: t.Context().Done()})
	if err != nil {
		t.Fatal(err)
	}
	b.at = serve(t, h)
	return b
}

// start makes an order as a relying party.
func (b *box) start(body string) (ref, token string) {
	b.t.Helper()
	res, err := b.rp.Post(b.issuer+"auth", "application/json", strings.NewReader(body)) //nolint:noctx // a test's
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct{ OrderRef, AutoStartToken string }
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || out.OrderRef == "" {
		b.t.Fatalf("start: %s %v", res.Status, err)
	}
	return out.OrderRef, out.AutoStartToken
}

// send makes a request with headers "Name: value".
func (b *box) send(method, path, body string, headers ...string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.at+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(raw)
}

// call expects a status and words in the answer.
func (b *box) call(status int, method, path, body string, words ...string) string {
	b.t.Helper()
	res, raw := b.send(method, "/sandbox/v1"+path, body)
	if res.StatusCode != status || res.Header.Get("X-Eidgate-Sandbox") != "1" || res.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		b.t.Errorf("%s %s %.200s: %d %s, want %d", method, path, body, res.StatusCode, raw, status)
	}
	for _, w := range words {
		if !strings.Contains(raw, w) {
			b.t.Errorf("%s %s %.200s: %s lacks %s", method, path, body, raw, w)
		}
	}
	if status >= 400 && (!strings.Contains(raw, `"error":"`) || !strings.Contains(raw, `"help":"`)) {
		b.t.Errorf("%s %s: %s does not say what was wrong and what to do", method, path, raw)
	}
	return raw
}

func TestOrders(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.call(200, "GET", "/orders", "", "[]")
	ref, _ := b.start(`{"endUserIp":"203.0.113.24","userVisibleData":"SGVq","requirement":{"personalNumber":"199001032391"}}`)
	free, _ := b.start(`{"endUserIp":"203.0.113.24"}`)
	b.call(200, "GET", "/orders", "", ref, free)
	if raw := b.call(200, "GET", "/orders?person=bo&eid=bankidse", "", ref, `"for":"bo"`); strings.Contains(raw, free) {
		t.Errorf("orders of bo: %s", raw)
	}
	b.call(200, "GET", "/orders/"+ref, "", `"asked":{"endUserIp":"203.0.113.24"`, `"next":"pending / outstandingTransaction`, `"personalNumber":"199001032391"`, `"qr":"bankid.`)
	b.call(200, "POST", "/orders/"+ref+"/events", `{"event":"scan"}`, `"person":"bo"`, `"state":"userSign"`)
	b.call(409, "POST", "/orders/"+free+"/events", `{"event":"approve","person":"ada","data":{"code":"1"}}`, "2 tries left")
	b.call(200, "POST", "/orders/"+ref+"/events", `{"event":"approve","data":{"name":"BO P","bankIdIssueDate":"2020-01-02","ipAddress":"198.51.100.9","uhi":"YQ==","risk":"high","stepUp":{"mrtd":true}}}`, `"state":"complete"`, `"by":"control API"`)
	b.call(200, "GET", "/orders/"+ref, "", `"name":"BO P"`, `"bankIdIssueDate":"2020-01-02"`, `"ipAddress":"198.51.100.9"`, `"mrtd":true`, `"signature":"`)
	b.call(409, "POST", "/orders/"+ref+"/events", `{"event":"cancel"}`, `"happened":{`, `"state":"complete"`)
	b.call(200, "GET", "/orders?state=all", "", ref, free)
	if raw := b.call(200, "GET", "/orders?state=complete", "", ref); strings.Contains(raw, free) {
		t.Errorf("complete orders: %s", raw)
	}
	var v struct{ QR string }
	if err := json.Unmarshal([]byte(b.call(200, "GET", "/orders/"+free, "")), &v); err != nil {
		t.Fatal(err)
	}
	b.call(409, "POST", "/scan", `{"code":"`+v.QR+`","person":"eva"}`, "another app") // the wrong code has opened it
	b.clock.Advance(10 * time.Second)
	ref, _ = b.start(`{"endUserIp":"::1"}`)
	if err := json.Unmarshal([]byte(b.call(200, "GET", "/orders/"+ref, "")), &v); err != nil {
		t.Fatal(err)
	}
	b.clock.Advance(10 * time.Second)
	b.call(409, "POST", "/scan", `{"code":"`+v.QR+`","person":"eva"}`, "too old")
	b.call(400, "POST", "/scan", `{"code":"https://x/","person":"eva"}`, "no BankID code")
	for path, want := range map[string]int{"/orders?wait=x": 400, "/orders?state=odd": 400, "/orders?eid=nemid": 400, "/orders?person=nobody": 404, "/orders/x": 404} {
		b.call(want, "GET", path, "")
	}
	for body, want := range map[string]int{`{"event":"fly"}`: 400, `{"event":"fail:<x>"}`: 400, `{`: 400, `{"event":"open","extra":1}`: 400, `{"event":"open"} {}`: 400,
		`{"event":"open","person":"nobody"}`: 404, `{"event":"open","data":{"risk":"odd"}}`: 400, `{"event":"open","data":{"ipAddress":"x"}}`: 400} {
		b.call(want, "POST", "/orders/"+ref+"/events", body)
	}
	b.call(404, "POST", "/orders/x/events", `{"event":"open"}`)
	b.call(413, "POST", "/orders/x/events", `{"event":"`+strings.Repeat("a", 1<<20)+`"}`)
}

// An order that comes while somebody waits ends the waiting.
func TestOrdersWait(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	got := make(chan string, 1)
	go func() {
		_, raw := b.send("GET", "/sandbox/v1/orders?wait=20s", "")
		got <- raw
	}()
	ref, _ := b.start(`{"endUserIp":"::1"}`)
	if raw := <-got; !strings.Contains(raw, ref) {
		t.Errorf("waiting for %s brought %s", ref, raw)
	}
}

func TestWorld(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.call(200, "GET", "/queue", "", "[]")
	b.call(200, "POST", "/queue", `{"outcome":"fail:certificateErr","person":"ada","match":{"eid":"bankidse"},"times":2}`, `"id":1`, `"times":2`)
	b.call(200, "GET", "/queue", "", "fail:certificateErr")
	b.call(200, "DELETE", "/queue", "")
	b.call(200, "GET", "/queue", "", "[]")
	for body, want := range map[string]int{`{"outcome":"win"}`: 400, `{"outcome":"approve","person":"nobody"}`: 404, `{"outcome":"approve","times":-1}`: 400,
		`{"outcome":"approve","match":{"eid":"nemid"}}`: 400, `[]`: 400} {
		b.call(want, "POST", "/queue", body)
	}

	b.call(200, "POST", "/people", `{"key":"eve","number":"199001012385","given":"Eve","family":"Test","bankid":["mobile"]}`, `"behaviour":"normal"`, `"name":"Eve Test"`)
	b.call(200, "PATCH", "/people/eve", `{"behaviour":"approve after 3s","bankid":["card"]}`, `"behaviour":"approve after 3s"`, `"bankid":["card"]`, `"given":"Eve"`)
	b.call(200, "GET", "/people/eve", "", `"country":"SE"`)
	b.call(200, "GET", "/people", "", `"key":"eve"`, `"key":"ada"`)
	b.call(200, "DELETE", "/people/eve", "")
	for _, c := range []struct {
		status             int
		method, path, body string
	}{
		{404, "GET", "/people/eve", ""}, {404, "DELETE", "/people/eve", ""}, {404, "PATCH", "/people/eve", `{"behaviour":"cancels"}`},
		{400, "PATCH", "/people/ada", `{"behaviour":"sings"}`}, {400, "PATCH", "/people/ada", `{"key":"bo"}`}, {400, "PATCH", "/people/ada", `{"age":3}`},
		{400, "POST", "/people", `{"key":"x"}`}, {400, "POST", "/people", `{"key":"A B","number":"199001012385"}`},
	} {
		b.call(c.status, c.method, c.path, c.body)
	}

	b.call(200, "POST", "/clock", `{"set":"2027-01-02T03:04:05Z"}`, "2027-01-02T03:04:05Z")
	b.call(200, "POST", "/clock", `{"advance":"181s"}`, "2027-01-02T03:07:06Z")
	b.call(200, "GET", "/clock", "", "2027-01-02T03:07:06Z")
	for _, body := range []string{`{}`, `{"advance":"-1s"}`, `{"advance":"soon"}`, `{"set":"1815-12-10T00:00:00Z"}`, `{"advance":"1s","set":"2027-01-02T03:04:05Z"}`, `{"set":"today"}`, `{"set":"2101-01-01T00:00:00Z"}`} {
		b.call(400, "POST", "/clock", body)
	}
	b.call(200, "POST", "/clock", `{"set":"2100-12-31T23:59:00Z"}`)
	b.call(400, "POST", "/clock", `{"advance":"1h"}`, "2000 to 2100")

	b.call(200, "POST", "/faults", `{"target":"bankidse.collect","kind":"http","value":"503","every":2,"times":3}`, `"id":1`)
	b.call(200, "POST", "/faults", `{"target":"bankidse","kind":"clock_skew","value":"-90s"}`, `"id":2`)
	b.call(200, "GET", "/faults", "", `"every":2`, "clock_skew")
	b.call(200, "DELETE", "/faults/1", "")
	b.call(400, "DELETE", "/faults/1", "")
	b.call(400, "DELETE", "/faults/x", "")
	b.call(200, "DELETE", "/faults", "")
	b.call(200, "GET", "/faults", "", "[]")
	for _, body := range []string{`{}`, `{"target":"nemid","kind":"delay","value":"1s"}`, `{"target":"bankidse","kind":"replay"}`, `{"target":"bankidse.result","kind":"delay","value":"1s"}`,
		`{"target":"bankidse","kind":"http","value":"200"}`, `{"target":"bankidse.auth","kind":"clock_skew","value":"1s"}`, `{"target":"bankidse","kind":"reset","probability":2}`} {
		b.call(400, "POST", "/faults", body)
	}

	b.call(200, "GET", "/simulators", "", `"bankidse":{"windows":{"start":"30s","complete":"3m0s","keep_result":"3m0s","keep_failure":"5m0s"},"certificates":"strict"`, "BEGIN CERTIFICATE")
	b.call(200, "PATCH", "/simulators/bankidse", `{"windows":{"start":"5s"},"rate_limit":true}`, `"start":"5s","complete":"3m0s"`, `"rate_limit":true`)
	b.call(200, "GET", "/simulators/bankidse", "", `"start":"5s"`)
	for _, body := range []string{`{"windows":{"start":"-5s"}}`, `{"windows":{"start":5}}`, `{"certificates":"none"}`, `{"registered":["x"]}`, `{"colour":"red"}`} {
		b.call(400, "PATCH", "/simulators/bankidse", body)
	}
	b.call(400, "PATCH", "/simulators/nemid", `{}`)
	b.call(400, "GET", "/simulators/nemid", "")

	ref, _ := b.start(`{"endUserIp":"::1"}`)
	b.call(200, "GET", "/messages?ref="+ref, "", `"direction":"in"`, `"direction":"out"`, "endUserIp")
	b.call(400, "GET", "/messages", "")
	b.call(200, "GET", "/mail", "", "[]")
	b.call(200, "GET", "/webhooks", "", "[]")
	b.call(200, "GET", "/fidelity", "", `"state":"not simulated"`, `"state":"exact"`, `"state":"differs","because":"`)
	b.call(200, "GET", "/outcomes", "", `"outcome":"approve"`, `"outcome":"cancel"`, `"outcome":"decline"`, `"outcome":"expire"`, `"outcome":"fail:certificateErr"`)
	b.call(404, "GET", "/sessions/x/explain", "")
	b.call(404, "POST", "/sessions/x/decide", `{"outcome":"approve"}`)
	b.call(404, "POST", "/decide", `{"start_url":"http://localhost/","outcome":"approve"}`)
	b.call(404, "POST", "/accounts", `{}`)
	b.call(404, "POST", "/clients", `{}`)
	b.call(404, "DELETE", "/accounts/x", "")
}

func TestReset(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	clock := b.call(200, "GET", "/clock", "")
	fill := func() {
		t.Helper()
		b.start(`{"endUserIp":"::1"}`)
		*b.mail = oneMail{"a mail"}
		b.call(200, "POST", "/clock", `{"advance":"1h"}`)
		b.call(200, "PATCH", "/simulators/bankidse", `{"rate_limit":true}`)
		b.call(200, "PATCH", "/simulators/idin", `{"profile":"worldline"}`)
		b.call(200, "PATCH", "/simulators/bankidno", `{"api":"v1"}`)
		b.call(200, "POST", "/queue", `{"outcome":"cancel"}`)
		b.call(200, "DELETE", "/people/bo", "")
		b.call(200, "POST", "/faults", `{"target":"bankidse.cancel","kind":"reset"}`)
	}
	fill()
	b.call(200, "POST", "/reset", `{"keep":["people","decisions","mail","clock"]}`)
	b.call(404, "GET", "/people/bo", "")
	b.call(200, "GET", "/mail", "", "a mail")
	if now := b.call(200, "GET", "/clock", ""); now == clock {
		t.Errorf("a clock that was to be kept shows %s", now)
	}
	b.call(200, "GET", "/queue", "", "cancel")
	b.call(200, "GET", "/faults", "", "[]")
	b.call(200, "GET", "/orders?state=all", "", "[]")
	b.call(200, "POST", "/reset", `{}`)
	b.call(200, "GET", "/people/bo", "", "bo")
	b.call(200, "GET", "/queue", "", "[]")
	b.call(200, "GET", "/mail", "", "[]")
	if now := b.call(200, "GET", "/clock", ""); now != clock {
		t.Errorf("the clock shows %s, and began with %s", now, clock)
	}
	b.call(200, "GET", "/simulators/bankidse", "", `"rate_limit":false`)
	b.call(200, "GET", "/simulators/idin", "", `"profile":"plain"`)
	b.call(200, "GET", "/simulators/bankidno", "", `"api":"v2"`)
	fill()
	b.call(400, "POST", "/reset", `{"keep":["money"]}`)
	b.call(200, "GET", "/queue", "", "cancel")
}

// No other site's page drives the sandbox, and addresses that are none say so.
func TestGuard(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for name, c := range map[string]struct {
		method, path string
		headers      []string
		want         int
	}{
		"a program":           {"POST", "/sandbox/v1/queue", nil, 200},
		"the phone's page":    {"POST", "/sandbox/v1/queue", []string{"Sec-Fetch-Site: same-origin", "Origin: " + b.at}, 200},
		"another site":        {"POST", "/sandbox/v1/queue", []string{"Sec-Fetch-Site: cross-site"}, 403},
		"another port":        {"POST", "/sandbox/v1/queue", []string{"Sec-Fetch-Site: same-site"}, 403},
		"an old browser":      {"POST", "/sandbox/v1/queue", []string{"Origin: http://evil.example"}, 403},
		"reading":             {"GET", "/sandbox/v1/people", []string{"Sec-Fetch-Site: cross-site"}, 403},
		"a picture":           {"GET", "/phone?autostarttoken=x", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image"}, 403},
		"the app's link":      {"GET", "/phone?autostarttoken=x", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: document"}, 200},
		"a form of the phone": {"POST", "/phone", []string{"Sec-Fetch-Site: cross-site", "Content-Type: application/x-www-form-urlencoded"}, 403},
		"a form":              {"POST", "/sandbox/v1/queue", []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		"plain text":          {"POST", "/sandbox/v1/queue", []string{"Content-Type: text/plain"}, 415},
		"a charset":           {"POST", "/sandbox/v1/queue", []string{"Content-Type: application/json; charset=utf-8"}, 200},
		"no such call":        {"GET", "/sandbox/v1/nothing", nil, 404},
		"another method":      {"PUT", "/sandbox/v1/queue", nil, 405},
		"another method, ref": {"DELETE", "/sandbox/v1/orders/x", nil, 405},
		"no page":             {"GET", "/nothing", nil, 404},
		"the list":            {"GET", "/sandbox/v1", nil, 200},
		"the start":           {"GET", "/", nil, 303},
	} {
		res, raw := b.send(c.method, c.path, `{"outcome":"approve"}`, c.headers...)
		if res.StatusCode != c.want || res.Header.Get("X-Eidgate-Sandbox") != "1" {
			t.Errorf("%s: %d %s, want %d", name, res.StatusCode, raw, c.want)
		}
		if res.StatusCode == 405 && res.Header.Get("Allow") == "" {
			t.Errorf("%s: nothing is allowed", name)
		}
		if strings.HasPrefix(c.path, "/sandbox/") && !json.Valid([]byte(raw)) {
			t.Errorf("%s: %s is no JSON", name, raw)
		}
	}
}

// Every call of the list is in docs, and answers JSON to an empty body.
func TestCallsAreListed(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var calls []struct{ Method, Path, About string }
	if err := json.Unmarshal([]byte(b.call(200, "GET", "", "")), &calls); err != nil || len(calls) < 30 {
		t.Fatalf("%d calls, %v", len(calls), err)
	}
	docs := readDocs(t)
	for _, c := range calls {
		if c.About == "" || !strings.Contains(docs, fmt.Sprintf("`%s %s`", c.Method, strings.TrimPrefix(c.Path, "/sandbox/v1"))) {
			t.Errorf("docs/sandbox.md lacks %s %s", c.Method, c.Path)
		}
		path := strings.NewReplacer("{ref}", "x", "{id}", "x", "{key}", "x", "{name}", "x").Replace(c.Path)
		if res, raw := b.send(c.Method, path, ""); res.StatusCode >= 500 || !json.Valid([]byte(raw)) {
			t.Errorf("%s %s: %d %s", c.Method, path, res.StatusCode, raw)
		}
	}
	for _, f := range bankidse.Fidelity() {
		if what := strings.TrimPrefix(f.What, "POST "); !strings.Contains(docs, what) || !strings.Contains(docs, f.Because) {
			t.Errorf("docs/sandbox.md lacks %q", what+": "+f.Because)
		}
	}
	for target, kinds := range bankidse.Faults() {
		for _, word := range append(kinds, target) {
			if !strings.Contains(docs, "`"+word+"`") {
				t.Errorf("docs/sandbox.md lacks the fault %s of %s", word, target)
			}
		}
	}
	for _, p := range sandbox.NewPeople().List() {
		if !strings.Contains(docs, "| `"+p.Key+"` |") || !strings.Contains(docs, p.About) {
			t.Errorf("docs/sandbox.md lacks %s: %s", p.Key, p.About)
		}
	}
	for _, o := range control.Outcomes() {
		if row := outcomeRow(o); !strings.Contains(docs, row) {
			t.Errorf("docs/sandbox.md lacks %s of %s %s: %s", o.Outcome, o.EID, o.Config, row)
		}
	}
}

// outcomeRow is an outcome as docs have it. Banks do the same for an age check
// as for an identification, so one row is for both; what a counter makes of it
// is text.
func outcomeRow(o control.Outcome) string {
	if o.EID == "idin" {
		return ""
	}
	got, word := o.Receives["zignsec-v2"], "`"+o.Outcome+"`"
	if o.Person != "" {
		word += " as `" + o.Person + "`"
	}
	cells := []string{word, got.Code}
	if o.EID == "idinage" {
		status := ""
		if got.Age != 0 {
			status = fmt.Sprint(got.Age)
		}
		cells = append(cells, status)
	}
	return "| " + strings.Join(append(cells, o.About), " | ") + " |"
}
