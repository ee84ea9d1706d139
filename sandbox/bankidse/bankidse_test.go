package bankidse_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/bankidse"
)

// A service is a simulator on a socket, with the clients of two relying
// parties.
type service struct {
	*bankidse.Simulator
	clock     *sandbox.Clock
	people    *sandbox.People
	decisions *sandbox.Decisions
	faults    *sandbox.Faults
	url       string
	shop      *http.Client
	t         *testing.T
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{clock: sandbox.NewClock(true), people: sandbox.NewPeople(), faults: sandbox.NewFaults(1), t: t}
	s.decisions = sandbox.NewDecisions(s.people, sandbox.Ignore)
	s.Simulator = bankidse.New(bankidse.Config{Clock: s.clock, People: s.people, Decisions: s.decisions, Faults: s.faults})
	srv := httptest.NewUnstartedServer(s.Handler())
	srv.TLS = s.TLSConfig()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s.url = srv.URL + "/rp/v6.0/"
	s.shop = s.client(s.cert("Shop", "5566304928"))
	return s
}

func (s *service) cert(name, org string) *tls.Certificate {
	s.t.Helper()
	c, err := s.RPCertificate(name, org)
	if err != nil {
		s.t.Fatal(err)
	}
	return &c
}

// client shows a certificate, or none.
func (s *service) client(c *tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(s.TLSRoot()))
	conf := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if c != nil {
		conf.Certificates = []tls.Certificate{*c}
	}
	tr := &http.Transport{TLSClientConfig: conf}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// An answer is what the service said.
type answer struct {
	Status   int
	Header   http.Header
	Raw      string
	Ref      string `json:"orderRef"`
	Token    string `json:"autoStartToken"`
	QRToken  string `json:"qrStartToken"`
	QRSecret string `json:"qrStartSecret"`
	State    string `json:"status"`
	Hint     string `json:"hintCode"`
	Code     string `json:"errorCode"`
	Details  string `json:"details"`
	Done     struct {
		User    struct{ PersonalNumber, Name, GivenName, Surname string }
		Device  struct{ IPAddress, UHI string }
		Issued  string `json:"bankIdIssueDate"`
		StepUp  struct{ MRTD bool }
		Risk    string
		XML     string `json:"signature"`
		OCSP    string `json:"ocspResponse"`
		Unknown string
	} `json:"completionData"`
}

func (s *service) send(c *http.Client, method, path, kind, body string) answer {
	s.t.Helper()
	at := s.url + path
	if strings.HasPrefix(path, "/") {
		at = strings.TrimSuffix(s.url, "/rp/v6.0/") + path
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	res, err := c.Do(req)
	if err != nil {
		return answer{Raw: err.Error()}
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	out := answer{}
	_ = json.Unmarshal(raw, &out) // what is no JSON is in Raw
	out.Status, out.Header, out.Raw = res.StatusCode, res.Header, string(raw)
	if err != nil {
		out.Raw = err.Error()
	}
	return out
}

func (s *service) call(path, body string) answer {
	s.t.Helper()
	return s.send(s.shop, "POST", path, "application/json", body)
}

func (s *service) auth(members ...string) answer {
	s.t.Helper()
	a := s.call("auth", "{"+strings.Join(append(members, `"endUserIp":"203.0.113.24"`), ",")+"}")
	if a.Status != 200 {
		s.t.Fatalf("auth: %d %s", a.Status, a.Raw)
	}
	return a
}

func (s *service) collect(ref string) answer {
	s.t.Helper()
	return s.call("collect", `{"orderRef":"`+ref+`"}`)
}

func (s *service) event(ref, event, person string) {
	s.t.Helper()
	if _, err := s.Event(ref, event, person); err != nil {
		s.t.Fatalf("%s: %v", event, err)
	}
}

// want checks state and hint of the next collect.
func (s *service) want(ref, state, hint string) answer {
	s.t.Helper()
	a := s.collect(ref)
	if a.State != state || a.Hint != hint {
		s.t.Errorf("collect = %d %s/%s %s %s, want %s/%s", a.Status, a.State, a.Hint, a.Code, a.Details, state, hint)
	}
	return a
}

func (s *service) wantGone(ref string) {
	s.t.Helper()
	if a := s.collect(ref); a.Status != 400 || a.Code != "invalidParameters" || a.Details != "No such order" {
		s.t.Errorf("collect = %d %s", a.Status, a.Raw)
	}
}

// A result is delivered once, and a cancelled order is gone.
func TestOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	o := s.auth()
	s.event(o.Ref, "approve", "bo")
	if a := s.want(o.Ref, "complete", ""); a.Done.User.PersonalNumber != "199001032391" || a.Done.User.Name != "Bo Provsson" || a.Done.XML == "" || a.Done.OCSP == "" {
		t.Errorf("complete: %s", a.Raw)
	}
	s.wantGone(o.Ref)
	o = s.auth()
	s.event(o.Ref, "cancel", "")
	s.want(o.Ref, "failed", "userCancel")
	s.wantGone(o.Ref)
	o = s.auth()
	if a := s.call("cancel", `{"orderRef":"`+o.Ref+`"}`); a.Status != 200 || a.Raw != "{}" {
		t.Errorf("cancel = %d %s", a.Status, a.Raw)
	}
	s.wantGone(o.Ref)
	if a := s.call("cancel", `{"orderRef":"`+o.Ref+`"}`); a.Details != "No such order" {
		t.Errorf("a second cancel = %s", a.Raw)
	}
	if v, err := s.Past(o.Ref); err != nil || !strings.Contains(v.By, "relying party") {
		t.Errorf("the control API remembers %+v, %v", v, err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := newService(t)
	ip := `"endUserIp":"::1"`
	for _, c := range []struct {
		path, member string
		most         int
		more, text   string
	}{
		{"auth", "userVisibleData", 1500, "", "Invalid userVisibleData"},
		{"auth", "userNonVisibleData", 1500, "", "Invalid userNonVisibleData"},
		{"sign", "userVisibleData", 40_000, "", "Invalid userVisibleData"},
		{"sign", "userNonVisibleData", 200_000, `"userVisibleData":"QQ==",`, "Invalid userNonVisibleData"},
	} {
		body := func(n int) string {
			return fmt.Sprintf(`{%s,%s%q:%q}`, ip, c.more, c.member, strings.Repeat("QUFB", n/4+1)[:n])
		}
		if a := s.call(c.path, body(c.most)); a.Status != 200 {
			t.Errorf("%s with %d of %s: %d %s", c.path, c.most, c.member, a.Status, a.Details)
		}
		for _, n := range []int{c.most + 1, c.most + 4} { // not base64, and base64
			if a := s.call(c.path, body(n)); a.Status != 400 || a.Details != c.text {
				t.Errorf("%s with %d of %s: %d %s", c.path, n, c.member, a.Status, a.Details)
			}
		}
	}
	if a := s.call("sign", "{"+ip+`,"x":"`+strings.Repeat("a", 300<<10)+`"}`); a.Status != 400 || a.Details != "Invalid request" {
		t.Errorf("a body over 300 KiB: %d %s", a.Status, a.Details)
	}
}

func TestCode(t *testing.T) {
	t.Parallel()
	s := newService(t)
	frame := func(o answer, secret string, at int) string {
		m := hmac.New(sha256.New, []byte(secret))
		m.Write([]byte(strconv.Itoa(at)))
		return "bankid." + o.QRToken + "." + strconv.Itoa(at) + "." + hex.EncodeToString(m.Sum(nil))
	}
	o := s.auth()
	s.clock.Advance(12 * time.Second)
	for name, c := range map[string]struct {
		code string
		want error
	}{
		"ten seconds old":   {frame(o, o.QRSecret, 2), bankidse.ErrOldCode},
		"six seconds old":   {frame(o, o.QRSecret, 6), bankidse.ErrOldCode},
		"from the future":   {frame(o, o.QRSecret, 15), bankidse.ErrOldCode},
		"another secret":    {frame(o, o.QRToken, 12), bankidse.ErrBadCode},
		"another time":      {strings.Replace(frame(o, o.QRSecret, 12), ".12.", ".11.", 1), bankidse.ErrBadCode},
		"padded time":       {strings.Replace(frame(o, o.QRSecret, 12), ".12.", ".012.", 1), bankidse.ErrBadCode},
		"nobody's":          {frame(answer{QRToken: o.Ref}, o.QRSecret, 12), bankidse.ErrBadCode},
		"a link of old":     {"bankid:///?autostarttoken=" + o.Token, bankidse.ErrBadCode},
		"nothing":           {"", bankidse.ErrBadCode},
		"upper case digits": {strings.ToUpper(frame(o, o.QRSecret, 12)), bankidse.ErrBadCode},
	} {
		if _, err := s.Scan(c.code, "ada"); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	s.want(o.Ref, "pending", "outstandingTransaction")
	if _, err := s.Scan(frame(o, o.QRSecret, 7), "nobody"); !errors.Is(err, sandbox.ErrNobody) {
		t.Errorf("nobody scans: %v", err)
	}
	if v, err := s.Scan(frame(o, o.QRSecret, 7), "ada"); err != nil || v.Person != "ada" || v.Started {
		t.Errorf("five seconds old: %+v, %v", v, err)
	}
	s.want(o.Ref, "pending", "userSign")
	if _, err := s.Scan(frame(o, o.QRSecret, 12), "bo"); !errors.Is(err, bankidse.ErrTaken) {
		t.Errorf("a second phone: %v", err)
	}
	o = s.auth()
	if v, err := s.Open(o.Token, bankidse.Event{Person: "ada"}); err != nil || !v.Started || v.State != "userSign" {
		t.Errorf("by its link: %+v, %v", v, err)
	}
	if _, err := s.Open(o.Ref, bankidse.Event{}); !errors.Is(err, bankidse.ErrNoOrder) {
		t.Errorf("a link of nothing: %v", err)
	}
}

// Every hint code can be told, and the ones that nobody knows.
func TestHints(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, hint := range []string{"noClient", "started", "userMrtd", "userCallConfirm", "userSign", "processing", "userStepUp", "userFace", "newHint"} {
		o := s.auth()
		s.event(o.Ref, "hint:"+hint, "")
		s.want(o.Ref, "pending", hint)
		s.event(o.Ref, "hint:outstandingTransaction", "")
		s.want(o.Ref, "pending", "outstandingTransaction")
		s.event(o.Ref, "approve", "ada")
		s.want(o.Ref, "complete", "")
	}
	for _, hint := range []string{"expiredTransaction", "certificateErr", "userCancel", "cancelled", "startFailed", "userDeclinedCall", "notSupportedByUserApp",
		"transactionRiskBlocked", "mrtdVerificationFailed", "facialRecognitionFailed", "nfcNotSupportedByDevice", "multipleBankIdsOnDevice", "stepUpFailed", "newHint"} {
		o := s.auth()
		s.event(o.Ref, "fail:"+hint, "")
		s.want(o.Ref, "failed", hint)
	}
	o := s.auth()
	for _, bad := range []string{"", "fly", "fail:", "fail:<b>", "hint:", "hint:a b", "fail:" + strings.Repeat("a", 41)} {
		if _, err := s.Event(o.Ref, bad, ""); !errors.Is(err, bankidse.ErrEvent) {
			t.Errorf("event %q: %v", bad, err)
		}
	}
	s.want(o.Ref, "pending", "outstandingTransaction")
}

// Every error code can be told: by doing what it forbids, or by a fault.
func TestErrors(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for name, c := range map[string]struct {
		fault, method, path, kind string
		status                    int
		code                      string
	}{
		"invalidParameters":       {path: "collect", status: 400, code: "invalidParameters"},
		"notFound":                {path: "nothing", status: 404, code: "notFound"},
		"methodNotAllowed":        {method: "GET", path: "auth", status: 405, code: "methodNotAllowed"},
		"unsupportedMediaType":    {kind: "text/plain", path: "auth", status: 415, code: "unsupportedMediaType"},
		"a form":                  {kind: "application/x-www-form-urlencoded", path: "auth", status: 415, code: "unsupportedMediaType"},
		"not simulated":           {path: "phone/auth", status: 501, code: "notImplemented"},
		"alreadyInProgress, told": {fault: "400 alreadyInProgress", path: "auth", status: 400, code: "alreadyInProgress"},
		"unauthorized 400":        {fault: "400 unauthorized", path: "auth", status: 400, code: "unauthorized"},
		"unauthorized 401":        {fault: "401", path: "auth", status: 401, code: "unauthorized"},
		"unauthorized 403":        {fault: "403", path: "auth", status: 403, code: "unauthorized"},
		"requestTimeout":          {fault: "408", path: "auth", status: 408, code: "requestTimeout"},
		"tooManyRequests":         {fault: "429", path: "auth", status: 429, code: "tooManyRequests"},
		"internalError":           {fault: "500", path: "auth", status: 500, code: "internalError"},
		"maintenance":             {fault: "503", path: "auth", status: 503, code: "maintenance"},
		"Maintenance":             {fault: "503 Maintenance", path: "auth", status: 503, code: "Maintenance"},
		"canceled":                {fault: "400 canceled", path: "auth", status: 400, code: "canceled"},
	} {
		if c.fault != "" {
			s.faults.Add(sandbox.Fault{Target: "bankidse.auth", Kind: "http", Value: c.fault, Times: 1})
		}
		kind, method := c.kind, c.method
		if kind == "" {
			kind = "application/json; charset=utf-8"
		}
		if method == "" {
			method = "POST"
		}
		a := s.send(s.shop, method, c.path, kind, `{"orderRef":"x"}`)
		if a.Status != c.status || a.Code != c.code || a.Header.Get("X-Eidgate-Sandbox") != "1" {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
		if a.Status == 429 && (a.Header.Get("RateLimit-Limit") == "" || a.Header.Get("RateLimit-Remaining") == "" || a.Header.Get("RateLimit-Reset") == "") {
			t.Errorf("429 with %v", a.Header)
		}
	}
}

// The first check that fails speaks, in the service's order and words.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	s := newService(t)
	// From the last check to the first: each line adds a mistake that is found
	// before those of the lines above it.
	steps := []struct{ member, want string }{
		{`"web":{"userAgent":"` + strings.Repeat("a", 257) + `"}`, "Invalid request"},
		{`"returnUrl":""`, "Invalid returnUrl"},
		{`"userVisibleDataFormat":"simpleMarkdownV1","userVisibleData":"KmE="`, "At (1, 1): bold is not closed"},
		{`"userNonVisibleData":"%"`, "Invalid userNonVisibleData"},
		{`"userVisibleData":"%"`, "Invalid userVisibleData"},
		{`"requirement":{"cardReader":"class3"}`, "Invalid requirement"},
		{`"requirement":{"cardReader":"class3","personalNumber":"9001012385"}`, "Incorrect personalNumber"},
		{`"endUserIp":"localhost"`, "Invalid endUserIp"},
	}
	body := []string{`"endUserIp":"203.0.113.24"`}
	for _, st := range steps {
		body = append(body, st.member) // a later member of the same name wins
		a := s.call("auth", "{"+strings.Join(body, ",")+"}")
		if a.Status != 400 || a.Code != "invalidParameters" || a.Details != st.want {
			t.Errorf("with %s: %d %q, want %q", st.member, a.Status, a.Details, st.want)
		}
	}
	for body, want := range map[string]string{
		`{`:                  "Invalid request",
		`{}`:                 "Invalid endUserIp",
		`{"endUserIp":""}`:   "Invalid endUserIp",
		`{"endUserIp":true}`: "Invalid request",
		`{"endUserIp":"::1","personalNumber":"19900101238x"}`:                                         "Incorrect personalNumber",
		`{"endUserIp":"::1","personalNumber":"199001012385"}`:                                         "Invalid request",
		`{"endUserIp":"::1","userVisibleDataFormat":"html","userVisibleData":"QQ=="}`:                 "Invalid request",
		`{"endUserIp":"::1","userVisibleData":""}`:                                                    "Invalid userVisibleData",
		`{"endUserIp":"::1","userVisibleData":"/w=="}`:                                                "Invalid userVisibleData",
		`{"endUserIp":"::1","web":{"userAgent":"a"},"app":{"deviceOS":"IOS 16"}}`:                     "Invalid request",
		`{"endUserIp":"::1","web":{}}`:                                                                "Invalid request",
		`{"endUserIp":"::1","returnUrl":"` + strings.Repeat("a", 513) + `"}`:                          "Invalid returnUrl",
		`{"endUserIp":"::1","requirement":{"certificatePolicies":["<a>"]}}`:                           "Invalid requirement",
		`{"endUserIp":"::1","userVisibleDataFormat":"simpleMarkdownV1","userVisibleData":"XHk="}`:     "At (1, 1): invalid character",
		`{"endUserIp":"::1","userVisibleDataFormat":"simpleMarkdownV1","userVisibleData":"8J+YgA=="}`: "At (1, 1): invalid character",
	} {
		if a := s.call("auth", body); a.Status != 400 || a.Details != want {
			t.Errorf("%s: %d %q, want %q", body, a.Status, a.Details, want)
		}
	}
	if a := s.call("sign", `{"endUserIp":"::1"}`); a.Details != "Invalid userVisibleData" {
		t.Errorf("sign nothing: %q", a.Details)
	}
	for _, path := range []string{"collect", "cancel"} {
		for _, body := range []string{`{`, `{}`, `{"orderRef":1}`} {
			if a := s.call(path, body); a.Status != 400 || a.Details != "Invalid request" {
				t.Errorf("%s %s: %d %q", path, body, a.Status, a.Details)
			}
		}
	}
	if len(s.Orders(true)) != 0 {
		t.Error("a refused start made an order")
	}
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	s := newService(t)
	html := func(c *http.Client, path string) {
		t.Helper()
		a := s.send(c, "POST", path, "application/json", `{"endUserIp":"::1"}`)
		if a.Status != 403 || a.Header.Get("Content-Type") != "text/html" || !strings.Contains(a.Raw, "<html>") {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	}
	html(s.client(nil), "auth")
	html(s.client(nil), "nothing")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "own"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	own := s.client(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	html(own, "auth")
	sum := sha256.Sum256(der)
	change := func(f func(*bankidse.Settings)) {
		t.Helper()
		if _, err := s.Change(func(v *bankidse.Settings) error { f(v); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	change(func(v *bankidse.Settings) { v.Registered = []string{hex.EncodeToString(sum[:])} })
	o := s.send(own, "POST", "auth", "application/json", `{"endUserIp":"::1"}`)
	if o.Status != 200 {
		t.Errorf("a registered certificate: %d %s", o.Status, o.Raw)
	}
	s.wantGone(o.Ref) // it belongs to another certificate
	if a := s.call("cancel", `{"orderRef":"`+o.Ref+`"}`); a.Details != "No such order" {
		t.Errorf("cancel of a foreign order: %s", a.Raw)
	}
	same := s.client(s.cert("Shop", "5566304928")) // another certificate of the same subject
	mine := s.auth()
	if a := s.send(same, "POST", "collect", "application/json", `{"orderRef":"`+mine.Ref+`"}`); a.State != "pending" {
		t.Errorf("a renewed certificate: %d %s", a.Status, a.Raw)
	}
	change(func(v *bankidse.Settings) { v.Registered, v.Certificates = nil, "any" })
	if a := s.send(own, "POST", "auth", "application/json", `{"endUserIp":"::1"}`); a.Status != 200 {
		t.Errorf("any certificate: %d %s", a.Status, a.Raw)
	}
	html(s.client(nil), "auth")
	for name, f := range map[string]func(*bankidse.Settings){
		"no mode":        func(v *bankidse.Settings) { v.Certificates = "none" },
		"no fingerprint": func(v *bankidse.Settings) { v.Registered = []string{"abc"} },
	} {
		if _, err := s.Change(func(v *bankidse.Settings) error { f(v); return nil }); err == nil || s.Settings().Certificates != "any" {
			t.Errorf("%s: %v, %+v", name, err, s.Settings())
		}
	}
}

func TestAlreadyInProgress(t *testing.T) {
	t.Parallel()
	s := newService(t)
	ada := `"requirement":{"personalNumber":"199001012385"}`
	first, other, nobody := s.auth(ada), s.auth(`"requirement":{"personalNumber":"199001032391"}`), s.auth()
	a := s.call("auth", `{"endUserIp":"::1",`+ada+`}`)
	if a.Status != 400 || a.Code != "alreadyInProgress" || a.Details != "Order already in progress for pno" {
		t.Fatalf("a second order: %d %s", a.Status, a.Raw)
	}
	s.want(first.Ref, "failed", "cancelled")
	s.want(other.Ref, "pending", "outstandingTransaction")
	s.want(nobody.Ref, "pending", "outstandingTransaction")
	again := s.auth(ada)
	s.event(again.Ref, "approve", "ada")
	s.auth(ada) // a completed one is in nobody's way
	s.want(again.Ref, "complete", "")
}

// The windows end by the clock: 30 s, 180 s, 3 min and 5 min.
func TestWindows(t *testing.T) {
	t.Parallel()
	s := newService(t)
	second := func(d time.Duration) { s.clock.Advance(d) }
	o := s.auth()
	second(30*time.Second - 1)
	s.want(o.Ref, "pending", "outstandingTransaction")
	second(1)
	s.want(o.Ref, "failed", "startFailed")
	o = s.auth()
	s.event(o.Ref, "open", "ada")
	second(180*time.Second - 1)
	s.want(o.Ref, "pending", "userSign")
	second(1)
	s.want(o.Ref, "failed", "expiredTransaction")
	kept, lost := s.auth(), s.auth()
	s.event(kept.Ref, "approve", "ada")
	s.event(lost.Ref, "approve", "ada")
	second(3 * time.Minute)
	s.want(kept.Ref, "complete", "")
	second(1)
	s.wantGone(lost.Ref)
	kept, lost = s.auth(), s.auth()
	s.event(kept.Ref, "cancel", "")
	s.event(lost.Ref, "cancel", "")
	second(5 * time.Minute)
	s.want(kept.Ref, "failed", "userCancel")
	second(1)
	s.wantGone(lost.Ref)
	s.SetWindows(bankidse.Windows{Start: 5 * time.Second})
	o = s.auth()
	second(5 * time.Second)
	s.want(o.Ref, "failed", "startFailed")
	s.Clear()
	if got := time.Duration(s.Settings().Windows.Start); got != 30*time.Second {
		t.Errorf("after a reset the window is %s", got)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	s := newService(t)
	o := s.auth()
	for range 15 {
		s.want(o.Ref, "pending", "outstandingTransaction")
	}
	if _, err := s.Change(func(v *bankidse.Settings) error { v.RateLimit = true; return nil }); err != nil {
		t.Fatal(err)
	}
	o = s.auth()
	for range 11 { // the first, and ten that are too soon
		s.want(o.Ref, "pending", "outstandingTransaction")
	}
	a := s.collect(o.Ref)
	if a.Status != 429 || a.Code != "tooManyRequests" || a.Header.Get("RateLimit-Reset") != "1" || a.Header.Get("RateLimit-Remaining") != "0" || a.Header.Get("RateLimit-Limit") != "1" {
		t.Errorf("the twelfth collect: %d %s %v", a.Status, a.Raw, a.Header)
	}
	s.clock.Advance(time.Second)
	s.want(o.Ref, "pending", "outstandingTransaction")
}

// What an app does to an order that is not plain approving.
func TestApp(t *testing.T) {
	t.Parallel()
	s := newService(t)
	do := func(ref string, e bankidse.Event) error { _, err := s.Do(ref, e); return err }

	o := s.auth()
	s.event(o.Ref, "open", "ada")
	for range 2 {
		if err := do(o.Ref, bankidse.Event{Event: "approve", Data: bankidse.Data{Code: "1"}}); !errors.Is(err, bankidse.ErrPIN) {
			t.Errorf("a wrong code: %v", err)
		}
	}
	s.want(o.Ref, "pending", "userSign")
	if err := do(o.Ref, bankidse.Event{Event: "approve", Data: bankidse.Data{Code: "1"}}); err != nil {
		t.Error(err)
	}
	s.want(o.Ref, "failed", "certificateErr")

	o = s.auth(`"requirement":{"mrtd":true}`)
	s.event(o.Ref, "open", "ada")
	s.want(o.Ref, "pending", "userMrtd")
	s.event(o.Ref, "document", "")
	s.want(o.Ref, "pending", "userSign")
	s.event(o.Ref, "approve", "")
	if a := s.want(o.Ref, "complete", ""); !a.Done.StepUp.MRTD {
		t.Errorf("stepUp: %s", a.Raw)
	}

	o = s.auth(`"requirement":{"personalNumber":"199001012385"}`)
	if _, err := s.Event(o.Ref, "open", "bo"); !errors.Is(err, bankidse.ErrPerson) {
		t.Errorf("another person: %v", err)
	}
	s.want(o.Ref, "failed", "userCancel")

	for person, c := range map[string]struct{ member, state, hint string }{
		"revoked":  {`"returnRisk":true`, "failed", "certificateErr"},
		"nobankid": {`"returnRisk":true`, "pending", "started"},
		"ada":      {`"requirement":{"certificatePolicies":["1.2.3.4.10"]}`, "pending", "started"},
		"gammel":   {`"requirement":{"certificatePolicies":["1.2.3.4.10"]}`, "pending", "userSign"},
		"bo":       {`"requirement":{"certificatePolicies":["1.2.752.78.*","1.2.3.4.2*"]}`, "pending", "userSign"},
	} {
		o = s.auth(c.member)
		s.event(o.Ref, "open", person)
		s.want(o.Ref, c.state, c.hint)
	}
	o = s.auth()
	if err := do(o.Ref, bankidse.Event{Event: "open", Data: bankidse.Data{Version: "old"}}); err != nil {
		t.Error(err)
	}
	s.want(o.Ref, "failed", "notSupportedByUserApp")
	o = s.auth()
	if err := do(o.Ref, bankidse.Event{Event: "open", Person: "ada", Data: bankidse.Data{Kind: "card"}}); err != nil {
		t.Error(err)
	}
	s.want(o.Ref, "pending", "started")

	s.wantGone("x")
	if _, err := s.Event("x", "open", ""); !errors.Is(err, bankidse.ErrNoOrder) {
		t.Errorf("no order: %v", err)
	}
	o = s.auth()
	s.event(o.Ref, "cancel", "")
	for range 2 { // before the relying party knows, and after
		if v, err := s.Event(o.Ref, "approve", ""); !errors.Is(err, bankidse.ErrEnded) || v.Hint != "userCancel" || v.By != "control API" {
			t.Errorf("too late: %+v, %v", v, err)
		}
		s.collect(o.Ref)
	}
}

// What comes back can be said with the event.
func TestData(t *testing.T) {
	t.Parallel()
	s := newService(t)
	o := s.auth(`"returnRisk":true`)
	d := bankidse.Data{Name: "ADA B TEST", GivenName: "ADA B", Surname: "TEST", Issued: "2023-11-29Z", IPAddress: "2001:db8::1", UHI: "cGhvbmU=", Risk: "high", Kind: "file"}
	if err := json.Unmarshal([]byte(`{"stepUp":{"mrtd":true}}`), &d); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Do(o.Ref, bankidse.Event{Event: "approve", Person: "ada", Data: d}); err != nil {
		t.Fatal(err)
	}
	a := s.want(o.Ref, "complete", "")
	if u := a.Done.User; u.Name != d.Name || u.GivenName != d.GivenName || u.Surname != d.Surname || u.PersonalNumber != "199001012385" {
		t.Errorf("user = %+v", u)
	}
	if a.Done.Issued != d.Issued || a.Done.Device.IPAddress != d.IPAddress || a.Done.Device.UHI != d.UHI || a.Done.Risk != "high" || !a.Done.StepUp.MRTD {
		t.Errorf("%s", a.Raw)
	}
	xml, err := base64.StdEncoding.DecodeString(a.Done.XML)
	if err != nil || !bytes.Contains(xml, []byte("<uhi>cGhvbmU=</uhi>")) {
		t.Errorf("the signature does not say so: %v", err)
	}
	o = s.auth()
	for name, bad := range map[string]bankidse.Data{
		"address": {IPAddress: "here"}, "date": {Issued: "today"}, "uhi": {UHI: "<b>"}, "risk": {Risk: "none"}, "kind": {Kind: "paper"},
		"version": {Version: "7"}, "names": {Name: strings.Repeat("a", 601)},
	} {
		if _, err := s.Do(o.Ref, bankidse.Event{Event: "approve", Data: bad}); !errors.Is(err, bankidse.ErrEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	v, err := s.Order(o.Ref)
	if err != nil || !strings.Contains(string(v.Asked), "203.0.113.24") || v.Returns == nil || v.Returns.Device.IPAddress != "203.0.113.24" || v.Returns.Signature != "" {
		t.Errorf("the order in full: %+v, %v", v, err)
	}
}

// The ladder acts by itself: at once, later, or as a script says.
func TestBehaviour(t *testing.T) {
	t.Parallel()
	s := newService(t)
	as := func(outcome string) string {
		o := s.auth()
		s.decisions.Set(o.Ref, sandbox.Decision{Outcome: sandbox.Outcome(outcome), Person: "bo"})
		return o.Ref
	}
	ref := as("states:outstandingTransaction,outstandingTransaction,started,started,userSign,complete")
	for _, hint := range []string{"outstandingTransaction", "outstandingTransaction", "started", "started", "userSign"} {
		s.want(ref, "pending", hint)
	}
	if a := s.want(ref, "complete", ""); a.Done.User.PersonalNumber != "199001032391" {
		t.Errorf("%s", a.Raw)
	}
	ref = as("states:userFace,facialRecognitionFailed")
	s.want(ref, "pending", "userFace")
	s.want(ref, "failed", "facialRecognitionFailed")

	ref = as("approve after 3s")
	s.want(ref, "pending", "outstandingTransaction")
	s.want(ref, "pending", "userSign")
	s.clock.Advance(3*time.Second - 1)
	s.want(ref, "pending", "userSign")
	s.clock.Advance(1)
	s.want(ref, "pending", "userSign")
	s.want(ref, "complete", "")

	for outcome, hint := range map[string]string{"cancel": "userCancel", "decline": "certificateErr", "expire": "expiredTransaction", "fail:stepUpFailed": "stepUpFailed", "cancel after 1s": "userCancel"} {
		ref = as(outcome)
		for range 3 {
			if s.collect(ref).State == "failed" {
				break
			}
			s.clock.Advance(time.Second)
		}
		if v, err := s.Past(ref); err == nil && v.Hint == hint && strings.HasPrefix(v.By, "tier 10") {
			continue
		}
		s.want(ref, "failed", hint)
	}
	for _, outcome := range []string{"ignore", "cancel:page"} {
		ref = as(outcome)
		for range 3 {
			s.want(ref, "pending", "outstandingTransaction")
		}
	}
	o := s.auth(`"requirement":{"personalNumber":"198001022394"}`) // always cancels
	s.collect(o.Ref)
	s.want(o.Ref, "failed", "userCancel")
}

// Faults of calls strike before the call has had its effect, or after.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := newService(t)
	strike := func(kind, value string) answer {
		t.Helper()
		s.faults.Add(sandbox.Fault{Target: "bankidse.collect", Kind: kind, Value: value, Times: 1})
		o := s.auth()
		s.event(o.Ref, "approve", "ada")
		if a := s.collect(o.Ref); a.State == "complete" {
			t.Errorf("%s %s: nothing was spoilt", kind, value)
		}
		return s.collect(o.Ref)
	}
	for _, kind := range []string{"reset", "garbage", "truncate"} {
		if a := strike(kind, ""); a.State != "complete" {
			t.Errorf("%s before: %d %s", kind, a.Status, a.Raw)
		}
		if a := strike(kind, "after"); a.Details != "No such order" {
			t.Errorf("%s after: %d %s", kind, a.Status, a.Raw)
		}
	}
	s.faults.Add(sandbox.Fault{Target: "bankidse", Kind: "html", Value: "503", Times: 1})
	if a := s.call("auth", `{"endUserIp":"::1"}`); a.Status != 503 || !strings.Contains(a.Raw, "<html>") {
		t.Errorf("html: %d %s", a.Status, a.Raw)
	}
	s.faults.Add(sandbox.Fault{Target: "bankidse", Kind: "delay", Value: "1ms", Times: 1})
	s.auth()
	o := s.auth()
	f := s.faults.Add(sandbox.Fault{Target: "bankidse", Kind: "clock_skew", Value: "31s"})
	s.want(o.Ref, "failed", "startFailed")
	s.faults.Remove(f.ID)
	if _, err := s.Scan(s.Orders(false)[0].QR, "ada"); err != nil {
		t.Errorf("with the right time again: %v", err)
	}
}

// Fidelity lists every address, and those that are not simulated say so.
func TestFidelity(t *testing.T) {
	t.Parallel()
	s := newService(t)
	seen := 0
	for _, f := range bankidse.Fidelity() {
		path, isCall := strings.CutPrefix(f.What, "POST ")
		if f.State != sandbox.Exact && f.Because == "" || f.Upstream != "bankidse" {
			t.Errorf("%+v gives no reason", f)
		}
		if !isCall {
			continue
		}
		seen++
		got := s.send(s.shop, "POST", path, "application/json", "{}").Status
		if (f.State == sandbox.NotSimulated) != (got == 501) {
			t.Errorf("%s is %s and answers %d", path, f.State, got)
		}
	}
	if seen < 8 {
		t.Errorf("only %d addresses", seen)
	}
}
