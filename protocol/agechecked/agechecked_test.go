package agechecked_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"eidgate/protocol/agechecked"
)

const secret = "c0ffee-secret&key"

// service plays AgeChecked, and gives a client for it.
func service(t testing.TB, h http.HandlerFunc) (*httptest.Server, *agechecked.Client) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c := &agechecked.Client{Base: srv.URL + "/api", Key: secret, HTTP: srv.Client()}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return srv, c
}

func answers(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

const (
	back    = "https://broker.example/back?s=1"
	started = `{"url":"https://agechecked.example/x?a=1&b=2","avstatus":{"agecheckid":1255120,"ageverifiedid":null,"status":0,"statustext":"x"},"error":null}`
)

func TestStart(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		set          func(*agechecked.Client)
		answer       string
		path, member string
	}{
		"by default": {func(*agechecked.Client) {}, started, "/api/acapiremote/ac0130", "returnurl"},
		"by setting": {func(c *agechecked.Client) { c.Method, c.URLField, c.Return = "idinstart", "popup", "userfield1" },
			`{"popup":"https://agechecked.example/x?a=1&b=2","avstatus":{"agecheckid":"1255120"},"error":{}}`, "/api/acapiremote/idinstart", "userfield1"},
	} {
		_, c := service(t, func(w http.ResponseWriter, r *http.Request) {
			var got map[string]string
			if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
				t.Error(err)
			}
			want := map[string]string{"merchantSecretKey": secret, "countrycode": "NL", "reference": "ref-1", v.member: back}
			if diff := cmp.Diff(want, got); diff != "" || r.Method != http.MethodPost || r.URL.Path != v.path || r.URL.RawQuery != "" ||
				r.Header.Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("%s: %s %s %v (-want +got)\n%s", name, r.Method, r.URL, r.Header, diff)
			}
			answers(http.StatusOK, v.answer)(w, r)
		})
		v.set(c)
		s, err := c.Start(t.Context(), "NL", back, "ref-1")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(&agechecked.Started{ID: 1255120, URL: "https://agechecked.example/x?a=1&b=2"}, s); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]agechecked.Result{
		`{"status":6,"agecheckid":1255120,"ageverifiedid":"0f5c2b1e"}`: {ID: 1255120, Status: agechecked.Approved, Verified: "0f5c2b1e"},
		`{"status":"17","agecheckid":"1255120"}`:                       {ID: 1255120, Status: agechecked.NotApproved},
		`{"status":0,"ageverifiedid":null,"Error":""}`:                 {ID: 1255120, Status: agechecked.Pending},
		` {"error":null,"status":14,"more":[1]} `:                      {ID: 1255120, Status: 14},
		`{"status":-1,"Error":{}}`:                                     {ID: 1255120, Status: -1},
	} {
		_, c := service(t, func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); r.Method != http.MethodGet || r.URL.Path != "/api/jsonapi/getagecheck" || len(q) != 2 ||
				q.Get("merchantkey") != secret || q.Get("agecheckid") != "1255120" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			answers(http.StatusOK, answer)(w, r)
		})
		got, err := c.Check(t.Context(), 1255120)
		if err != nil {
			t.Errorf("%s: %v", answer, err)
		} else if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", answer, diff)
		}
	}
}

// TestStatuses is the published table (§5), and what is around it.
func TestStatuses(t *testing.T) {
	t.Parallel()
	final := map[agechecked.Status]string{3: "Aborted", 4: "Error", 5: "Declined", 6: "Approved", 7: "Approved", 8: "DeclinedIPCountryNotDetected",
		9: "DeclinedIPCountryDisabled", 10: "DeclinedIPProxy", 12: "AVNotRequired", 17: "NotApproved"}
	for s := agechecked.Status(-1); s <= 20; s++ {
		text, ok := final[s]
		if !ok {
			text = "Pending"
		}
		if s.Text() != text || s.Final() != ok || s.Approved() != (s == 6 || s == 7) {
			t.Errorf("%d: %q, final %v, approved %v", s, s.Text(), s.Final(), s.Approved())
		}
	}
}

// TestRequestRules: what must not be sent is not sent.
func TestRequestRules(t *testing.T) {
	t.Parallel()
	_, c := service(t, func(http.ResponseWriter, *http.Request) { t.Error("sent") })
	for name, v := range map[string][3]string{
		"no country":        {"", back, "r"},
		"country in small":  {"nl", back, "r"},
		"country of three":  {"NLD", back, "r"},
		"no return":         {"NL", "", "r"},
		"return by http":    {"NL", "http://broker.example/", "r"},
		"return to script":  {"NL", "javascript:alert(1)", "r"},
		"return nowhere":    {"NL", "https:///return", "r"},
		"return unread":     {"NL", "https://broker.example/%", "r"},
		"long return":       {"NL", "https://broker.example/" + strings.Repeat("x", 2048), "r"},
		"no reference":      {"NL", back, ""},
		"long reference":    {"NL", back, strings.Repeat("r", 65)},
		"strange reference": {"NL", back, "anna@example.com"},
	} {
		if _, err := c.Start(t.Context(), v[0], v[1], v[2]); !errors.Is(err, agechecked.ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []int64{0, -1} {
		if _, err := c.Check(t.Context(), id); !errors.Is(err, agechecked.ErrRequest) {
			t.Errorf("check %d: %v", id, err)
		}
	}
}

// TestFailures: every answer that is none, typed, without the secret.
func TestFailures(t *testing.T) {
	t.Parallel()
	start := func(ctx context.Context, c *agechecked.Client) error {
		_, err := c.Start(ctx, "NL", back, "r")
		return err
	}
	check := func(ctx context.Context, c *agechecked.Client) error {
		_, err := c.Check(ctx, 1255120)
		return err
	}
	calls := map[string]func(context.Context, *agechecked.Client) error{"start": start, "check": check}
	for name, v := range map[string]struct {
		handler http.HandlerFunc
		only    string // one of the calls; "" for both
		status  int
		code    string
		text    string
	}{
		"broken":       {answers(500, started), "", 500, "", "AgeChecked answers status 500"},
		"unauthorised": {answers(401, `{}`), "", 401, "", "AgeChecked answers status 401"},
		"redirect":     {answers(302, started), "", 302, "", "AgeChecked answers status 302"},
		"no JSON":      {answers(200, `<html>`), "", 200, "", "AgeChecked answers status 200: the answer is not the JSON that was expected"},
		"array":        {answers(200, `[]`), "", 200, "", "AgeChecked answers status 200: the answer is not the JSON that was expected"},
		"64 KiB and 1": {answers(200, strings.Repeat(" ", 64<<10+1)), "", 200, "",
			"AgeChecked answers status 200: the answer is longer than 65536 bytes"},
		"error with code": {answers(200, `{"error":{"code":"InvalidKey","message":"c0ffee","details":null}}`), "", 200, "InvalidKey",
			"AgeChecked answers InvalidKey"},
		"error with number": {answers(200, `{"error":{"code":17}}`), "", 200, "17", "AgeChecked answers 17"},
		"error as word":     {answers(200, `{"Error":"NotFound"}`), "", 200, "NotFound", "AgeChecked answers NotFound"},
		"error as sentence": {answers(200, `{"Error":"no check c0ffee","status":6}`), "", 200, "",
			"AgeChecked answers status 200: the answer is an error"},
		"error as list": {answers(200, `{"Error":["x"],"status":6}`), "", 200, "", "AgeChecked answers status 200: the answer is an error"},
		"error and status": {answers(200, `{"Error":true,"status":6,"agecheckid":1255120}`), "check", 200, "",
			"AgeChecked answers status 200: the answer is an error"},
		"hang-up":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", 0, "", "AgeChecked not reached: EOF"},
		"no status":         {answers(200, `{"agecheckid":1255120}`), "check", 200, "", "AgeChecked answers status 200: the answer has no usable status"},
		"status null":       {answers(200, `{"status":null}`), "check", 200, "", "AgeChecked answers status 200: the answer has no usable status"},
		"status a word":     {answers(200, `{"status":"Approved"}`), "check", 200, "", "AgeChecked answers status 200: the answer has no usable status"},
		"status a fraction": {answers(200, `{"status":6.5}`), "check", 200, "", "AgeChecked answers status 200: the answer has no usable status"},
		"status true":       {answers(200, `{"status":true}`), "check", 200, "", "AgeChecked answers status 200: the answer has no usable status"},
		"another check": {answers(200, `{"status":6,"agecheckid":1255121}`), "check", 200, "",
			"AgeChecked answers status 200: the answer is another check's"},
		"long verification": {answers(200, `{"status":6,"ageverifiedid":"`+strings.Repeat("x", 129)+`"}`), "check", 200, "",
			"AgeChecked answers status 200: the answer has no usable ageverifiedid"},
		"no check": {answers(200, `{"url":"https://x/"}`), "start", 200, "",
			"AgeChecked answers status 200: the answer has no usable agecheckid"},
		"check null": {answers(200, `{"url":"https://x/","avstatus":null}`), "start", 200, "",
			"AgeChecked answers status 200: the answer has no usable agecheckid"},
		"check negative": {answers(200, `{"url":"https://x/","avstatus":{"agecheckid":-1}}`), "start", 200, "",
			"AgeChecked answers status 200: the answer has no usable agecheckid"},
		"avstatus a word": {answers(200, `{"url":"https://x/","avstatus":"x"}`), "start", 200, "",
			"AgeChecked answers status 200: the answer has no usable avstatus"},
		"no address": {answers(200, `{"avstatus":{"agecheckid":1}}`), "start", 200, "",
			"AgeChecked answers status 200: the answer has no usable address"},
		"address by http": {answers(200, `{"url":"http://x/","avstatus":{"agecheckid":1}}`), "start", 200, "",
			"AgeChecked answers status 200: the answer has no usable address"},
		"address is script": {answers(200, `{"url":"javascript:alert(1)","avstatus":{"agecheckid":1}}`), "start", 200, "",
			"AgeChecked answers status 200: the answer has no usable address"},
		"address in a list": {answers(200, `{"url":["https://x/"],"avstatus":{"agecheckid":1}}`), "start", 200, "",
			"AgeChecked answers status 200: the answer has no usable address"},
		"address with login": {answers(200, `{"url":"https://a:b@x/","avstatus":{"agecheckid":1}}`), "start", 200, "",
			"AgeChecked answers status 200: the answer has no usable address"},
	} {
		for call, do := range calls {
			if v.only != "" && call != v.only {
				continue
			}
			seen := 0
			_, c := service(t, func(w http.ResponseWriter, r *http.Request) { seen++; v.handler(w, r) })
			err := do(t.Context(), c)
			var got *agechecked.Error
			if !errors.As(err, &got) || got.Status != v.status || got.Code != v.code || !got.Sent || err.Error() != v.text {
				t.Errorf("%s, %s: %v", name, call, err)
			}
			if call == "start" && seen != 1 {
				t.Errorf("%s: started %d times", name, seen)
			}
		}
	}
	srv, c := service(t, answers(200, started))
	srv.Close()
	for call, do := range calls {
		var got *agechecked.Error
		err := do(t.Context(), c)
		if !errors.As(err, &got) || got.Sent || got.Status != 0 || strings.Contains(err.Error(), "c0ffee") ||
			strings.Contains(fmt.Sprintf("%+v", got.Err), "merchantkey") {
			t.Errorf("nobody there, %s: %v", call, err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := do(gone, c); !errors.As(err, &got) || !errors.Is(err, context.Canceled) || got.Sent {
			t.Errorf("gone, %s: %v", call, err)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		set   func(*agechecked.Client)
		wrong int
	}{
		"good":       {func(*agechecked.Client) {}, 0},
		"everything": {func(c *agechecked.Client) { *c = agechecked.Client{Method: "../x"} }, 3},
		"http":       {func(c *agechecked.Client) { c.Base = "http://api.agechecked.com/api" }, 1},
		"sandbox":    {func(c *agechecked.Client) { c.Base, c.AllowHTTP = "http://localhost:8702/agechecked", true }, 0},
		"file":       {func(c *agechecked.Client) { c.Base, c.AllowHTTP = "file://localhost/agechecked", true }, 1},
		"method":     {func(c *agechecked.Client) { c.Method = "ac0131?x" }, 1},
		"key":        {func(c *agechecked.Client) { c.Key = "" }, 1},
	} {
		c := &agechecked.Client{Base: agechecked.TestBase, Key: secret}
		v.set(c)
		got, err := 0, c.Validate()
		if err != nil {
			got = 1 + strings.Count(err.Error(), "\n")
		}
		if got != v.wrong {
			t.Errorf("%s: %d wrong, want %d: %v", name, got, v.wrong, err)
		}
	}
}

// canned answers every request with a text, without a network.
type canned []byte

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(c)), Request: r}, nil
}

// FuzzAnswers: nothing panics, an error is typed and quotes nothing, and what is
// read can be used.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{started, `{"status":6,"agecheckid":1255120,"ageverifiedid":"x"}`, `{"Error":"NotFound"}`,
		`{"error":{"code":"x"}}`, `{"status":"6","avstatus":{"agecheckid":"1"},"url":"https://x"}`, `[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &agechecked.Client{Base: agechecked.TestBase, Key: secret, HTTP: &http.Client{Transport: canned(raw)}}
		s, startErr := c.Start(t.Context(), "NL", back, "r")
		if startErr == nil && (s.ID <= 0 || !strings.HasPrefix(strings.ToLower(s.URL), "https://")) {
			t.Errorf("%d, %q", s.ID, s.URL)
		}
		r, checkErr := c.Check(t.Context(), 1255120)
		if checkErr == nil && (r.ID != 1255120 || len(r.Verified) > 128) {
			t.Errorf("%d, %q", r.ID, r.Verified)
		}
		for _, err := range []error{startErr, checkErr} {
			var got *agechecked.Error
			switch {
			case err == nil:
			case !errors.As(err, &got):
				t.Errorf("%T: %v", err, err)
			case len(err.Error()) > 128:
				t.Errorf("error %q", err)
			}
		}
	})
}

// TestNothingSecretInLogs gives every type that holds a secret to both handlers
// and to fmt.
func TestNothingSecretInLogs(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]any{
		"client":  agechecked.Client{Key: "c0ffee"},
		"started": agechecked.Started{URL: "https://x/c0ffee"},
		"result":  agechecked.Result{Verified: "c0ffee"},
	} {
		var out bytes.Buffer
		pointer := reflect.New(reflect.TypeOf(v))
		pointer.Elem().Set(reflect.ValueOf(v))
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			for _, x := range []any{v, pointer.Interface(), fmt.Errorf("wrapped: %v and %+v", v, pointer.Interface())} {
				slog.New(h).InfoContext(t.Context(), "canary", "value", x)
			}
		}
		if strings.Contains(out.String(), "c0ffee") {
			t.Errorf("%s is in the log:\n%s", name, &out)
		}
	}
}

// A check, from its start to its result.
func Example() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			answers(http.StatusOK, started)(w, r)
			return
		}
		answers(http.StatusOK, `{"status":6,"agecheckid":1255120,"ageverifiedid":"0f5c2b1e"}`)(w, r)
	}))
	defer srv.Close()
	c := &agechecked.Client{Base: srv.URL, Key: "secret merchant key", HTTP: http.DefaultClient, AllowHTTP: true}
	ctx := context.Background()
	s, err := c.Start(ctx, "NL", "https://shop.example/back", "order-1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("send the browser to", s.URL)
	r, err := c.Check(ctx, s.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(int(r.Status), r.Status.Text(), r.Status.Approved())
	// Output:
	// send the browser to https://agechecked.example/x?a=1&b=2
	// 6 Approved true
}
