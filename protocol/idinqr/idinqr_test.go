package idinqr_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
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
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/protocol/idinqr"
)

// body is a message of 130 bytes whose hashes are known (§4).
const body = `{"qr_id":"5d0f0a52-6b1e-4c0f-8a97-6e2d5c41b8f3","qr_url":"https://qrcode.idin.nl/qrcode/8c41f0d7-2a9e-4b63-9d15-73b0e6fa1c28.png"}`

func TestHashVectors(t *testing.T) {
	t.Parallel()
	if len(body) != 130 {
		t.Fatalf("the body has %d bytes", len(body))
	}
	for _, v := range []struct {
		mode      idinqr.KeyMode
		key, hash string
	}{
		{"", "QrSecretExample0001", "d21dbb6f3b21d7c2c0c6e8c09ecaabd1ef262ba285f983458fdb4601c004ab65"},
		{idinqr.UTF8, "QrSecretExample0001", "d21dbb6f3b21d7c2c0c6e8c09ecaabd1ef262ba285f983458fdb4601c004ab65"},
		{idinqr.Base64, "UXJTZWNyZXRFeGFtcGxlMDAwMQ==", "d21dbb6f3b21d7c2c0c6e8c09ecaabd1ef262ba285f983458fdb4601c004ab65"},
		{idinqr.Hex, "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
			"ea054280405c61cf5eb2941a2ebb39ed115753a94b043f8a3e2d8557d84fe683"},
	} {
		key, err := idinqr.ParseKey(v.key, v.mode)
		if err != nil {
			t.Errorf("%s: %v", v.mode, err)
			continue
		}
		if got := key.Hash([]byte(body)); got != v.hash {
			t.Errorf("%s: hash %s, want %s", v.mode, got, v.hash)
		}
		for _, good := range []string{v.hash, strings.ToUpper(v.hash)} {
			if err := key.Verify([]byte(body), good); err != nil {
				t.Errorf("%s: %v", v.mode, err)
			}
		}
		for name, bad := range map[string]string{"none": "", "short": v.hash[:63], "long": v.hash + "0", "altered": "0" + v.hash[1:],
			"space": " " + v.hash, "prefix": "sha256=" + v.hash} {
			if err := key.Verify([]byte(body), bad); !errors.Is(err, idinqr.ErrHash) {
				t.Errorf("%s, %s: %v", v.mode, name, err)
			}
		}
		if err := key.Verify([]byte(body+"\n"), v.hash); !errors.Is(err, idinqr.ErrHash) {
			t.Errorf("%s, with a line feed: %v", v.mode, err)
		}
	}
	mac := hmac.New(sha256.New, nil) // what an empty key would give
	mac.Write([]byte(body))
	if err := (idinqr.Key{}).Verify([]byte(body), hex.EncodeToString(mac.Sum(nil))); !errors.Is(err, idinqr.ErrHash) {
		t.Errorf("an empty key verifies: %v", err)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		text string
		mode idinqr.KeyMode
	}{{"", ""}, {"", idinqr.Hex}, {"secret!", idinqr.Hex}, {"abc", idinqr.Hex}, {"secret!", idinqr.Base64}, {"c2VjcmV0", "rot13"}} {
		key, err := idinqr.ParseKey(v.text, v.mode)
		if err == nil {
			t.Errorf("%q as %q: %d bytes", v.text, v.mode, len(key))
		} else if v.text != "" && strings.Contains(err.Error(), v.text) {
			t.Errorf("the key is in the error: %v", err)
		}
	}
}

const token = "0f5c2b1e-7a3d-4e6f-9b8a-1c2d3e4f5a6b"

var (
	key = idinqr.Key("QrSecretExample0001")
	now = time.Date(2030, 1, 2, 11, 0, 5, 999, time.FixedZone("CET", 3600))
)

// backend is a QR back-end, and a client for it.
func backend(t *testing.T, h http.HandlerFunc) (*httptest.Server, *idinqr.Client) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c := &idinqr.Client{URL: srv.URL + "/generate", Token: token, Key: key, HTTP: srv.Client(), Now: func() time.Time { return now }}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return srv, c
}

func answers(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-idin-qr-hash", key.Hash([]byte(text)))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

var code = idinqr.Code{SubID: 7, Service: 16384, UseCase: idinqr.Few, Lifetime: 15 * time.Minute, Size: 1000}

func TestGenerate(t *testing.T) {
	t.Parallel()
	var got []byte
	_, c := backend(t, func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/generate" || r.Header.Get("Content-Type") != "application/json; charset=UTF-8" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		answers(http.StatusOK, body)(w, r)
	})
	g, err := c.Generate(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&idinqr.Generated{ID: "5d0f0a52-6b1e-4c0f-8a97-6e2d5c41b8f3",
		Image:   "https://qrcode.idin.nl/qrcode/8c41f0d7-2a9e-4b63-9d15-73b0e6fa1c28.png",
		Expires: time.Date(2030, 1, 2, 10, 15, 5, 0, time.UTC)}, g); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want := `{"merchant_token":"` + token + `","merchant_sub_id":7,"expiration":"2030-01-02 10:15:05","size":1000,"idin_service_id":16384,"use_case":"01"}`
	if string(got) != want {
		t.Errorf("sent %s\nwant %s", got, want)
	}
}

// TestCodeRules: what would be refused is not sent (§3).
func TestCodeRules(t *testing.T) {
	t.Parallel()
	_, c := backend(t, func(http.ResponseWriter, *http.Request) { t.Error("sent") })
	for name, alter := range map[string]func(*idinqr.Code){
		"no use case":    func(k *idinqr.Code) { k.UseCase = "" },
		"use case 02":    func(k *idinqr.Code) { k.UseCase = "02" },
		"no lifetime":    func(k *idinqr.Code) { k.Lifetime = 0 },
		"over 15 min":    func(k *idinqr.Code) { k.Lifetime = 15*time.Minute + 1 },
		"over a month":   func(k *idinqr.Code) { k.UseCase, k.Lifetime = idinqr.Many, 31*24*time.Hour+1 },
		"no size":        func(k *idinqr.Code) { k.Size = 0 },
		"size 2001":      func(k *idinqr.Code) { k.Size = 2001 },
		"negative subID": func(k *idinqr.Code) { k.SubID = -1 },
		"large subID":    func(k *idinqr.Code) { k.SubID = 1_000_000 },
	} {
		k := code
		alter(&k)
		if _, err := c.Generate(t.Context(), k); !errors.Is(err, idinqr.ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGenerateFails: every way in which no code comes, typed (§3, §4).
func TestGenerateFails(t *testing.T) {
	t.Parallel()
	unsigned := func(hash string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if hash != "" {
				w.Header().Set(idinqr.HashHeader, hash)
			}
			_, _ = io.WriteString(w, body)
		}
	}
	for name, v := range map[string]struct {
		handler http.HandlerFunc
		status  int
		is      error
	}{
		"bad field":      {answers(400, `{"error":"size"}`), 400, nil},
		"unknown token":  {answers(401, `{"error":"token"}`), 401, nil},
		"broken":         {answers(500, body), 500, nil},
		"redirect":       {answers(307, body), 307, nil},
		"created":        {answers(201, body), 201, nil},
		"no hash":        {unsigned(""), 200, idinqr.ErrHash},
		"wrong hash":     {unsigned(strings.Repeat("0", 64)), 200, idinqr.ErrHash},
		"no JSON":        {answers(200, `<html>`), 200, nil},
		"array":          {answers(200, `[]`), 200, nil},
		"no id":          {answers(200, `{"qr_url":"https://x/"}`), 200, nil},
		"number":         {answers(200, `{"qr_id":1,"qr_url":"https://x/"}`), 200, nil},
		"strange id":     {answers(200, `{"qr_id":"a/b","qr_url":"https://x/"}`), 200, nil},
		"no image":       {answers(200, `{"qr_id":"a"}`), 200, nil},
		"image by http":  {answers(200, `{"qr_id":"a","qr_url":"http://x/"}`), 200, nil},
		"image a script": {answers(200, `{"qr_id":"a","qr_url":"javascript:alert(1)"}`), 200, nil},
		"image nowhere":  {answers(200, `{"qr_id":"a","qr_url":"https:///x"}`), 200, nil},
		"image of login": {answers(200, `{"qr_id":"a","qr_url":"https://a:b@x/"}`), 200, nil},
		"image unread":   {answers(200, `{"qr_id":"a","qr_url":"https://x/%"}`), 200, nil},
		"long image":     {answers(200, `{"qr_id":"a","qr_url":"https://x/`+strings.Repeat("x", 512)+`"}`), 200, nil},
		"64 KiB and 1":   {answers(200, strings.Repeat(" ", 64<<10+1)), 200, nil},
		"half": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		}, 200, io.ErrUnexpectedEOF},
		"hang-up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, nil},
	} {
		calls := 0
		_, c := backend(t, func(w http.ResponseWriter, r *http.Request) { calls++; v.handler(w, r) })
		_, err := c.Generate(t.Context(), code)
		var got *idinqr.Error
		if !errors.As(err, &got) || got.Status != v.status || !got.Sent || v.is != nil && !errors.Is(err, v.is) || calls != 1 {
			t.Errorf("%s: %v after %d calls", name, err, calls)
		}
	}
	srv, c := backend(t, answers(200, body))
	srv.Close()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, ctx := range map[string]context.Context{"nobody there": t.Context(), "gone": gone} {
		var got *idinqr.Error
		if _, err := c.Generate(ctx, code); !errors.As(err, &got) || got.Status != 0 || got.Sent {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]idinqr.Error{
		"iDIN QR back-end answers status 401":                                        {Status: 401, Sent: true},
		"iDIN QR back-end answers status 200: iDIN QR hash does not fit the message": {Status: 200, Sent: true, Err: idinqr.ErrHash},
		"iDIN QR back-end not reached: context deadline exceeded":                    {Err: context.DeadlineExceeded},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		alter func(*idinqr.Client)
		wrong int
	}{
		"good":         {func(*idinqr.Client) {}, 0},
		"everything":   {func(c *idinqr.Client) { *c = idinqr.Client{} }, 3},
		"http":         {func(c *idinqr.Client) { c.URL = "http://qrcode.idin.nl/" }, 1},
		"http allowed": {func(c *idinqr.Client) { c.URL, c.AllowHTTP = "http://localhost:8702/", true }, 0},
		"file":         {func(c *idinqr.Client) { c.URL, c.AllowHTTP = "file://localhost/", true }, 1},
		"token":        {func(c *idinqr.Client) { c.Token = "secret" }, 1},
		"key":          {func(c *idinqr.Client) { c.Key = nil }, 1},
	} {
		c := &idinqr.Client{URL: idinqr.LiveURL, Token: token, Key: key}
		v.alter(c)
		got, err := 0, c.Check()
		if err != nil {
			got = 1 + strings.Count(err.Error(), "\n")
		}
		if got != v.wrong {
			t.Errorf("%s: %d wrong, want %d: %v", name, got, v.wrong, err)
		}
	}
}

var good = idinqr.Call{ID: "5d0f0a52-6b1e-4c0f-8a97-6e2d5c41b8f3", Issuer: "BANKNL2Y", Token: token}

// TestReadCall reads both spellings, and ignores what it does not know (§5).
func TestReadCall(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"as expected":   `{"qr_id":"` + good.ID + `","issuer_id":"BANKNL2Y","merchant_token":"` + token + `"}`,
		"other names":   `{"qrId":"` + good.ID + `","issuerId":"BANKNL2Y","merchantToken":"` + token + `"}`,
		"mixed, spaces": " {\n \"issuerId\" : \"BANKNL2Y\", \"qr_id\": \"" + good.ID + "\", \"merchant_token\": \"" + token + "\" } \r\n",
		"more members": `{"a":null,"b":[1,{"qr_id":"x"}],"qr_id":"` + good.ID + `","QR_ID":"x","issuer_id":"BANKNL2Y","merchant_token":"` + token +
			`","c":{}}`,
	} {
		got, err := idinqr.ReadCall([]byte(text), key.Hash([]byte(text)), key)
		if err != nil || got != good {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if _, err := idinqr.ReadCall([]byte(text), key.Hash([]byte(text+" ")), key); !errors.Is(err, idinqr.ErrHash) {
			t.Errorf("%s, wrong hash: %v", name, err)
		}
		if got, err := idinqr.Peek([]byte(text)); err != nil || got != good {
			t.Errorf("%s, Peek: %+v, %v", name, got, err)
		}
	}
	text := `{"qr_id":"a","issuer_id":"BANKNL2YXXX"}`
	if got, err := idinqr.ReadCall([]byte(text), key.Hash([]byte(text)), key); err != nil || got != (idinqr.Call{ID: "a", Issuer: "BANKNL2YXXX"}) {
		t.Errorf("least: %+v, %v", got, err)
	}
}

func TestReadCallRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":            ``,
		"array":              `[]`,
		"text":               `"x"`,
		"null":               `null`,
		"cut off":            `{"qr_id":"a","issuer_id":"BANKNL2Y"`,
		"cut off in a value": `{"qr_id":"a","issuer_id":"BANK`,
		"two documents":      `{"qr_id":"a","issuer_id":"BANKNL2Y"}{}`,
		"text after":         `{"qr_id":"a","issuer_id":"BANKNL2Y"} x`,
		"brace after":        `{"qr_id":"a","issuer_id":"BANKNL2Y"}}`,
		"no-break space":     `{"qr_id":"a","issuer_id":"BANKNL2Y"}` + "\u00a0",
		"empty, then an id":  `{"qr_id":"","qr_id":"a","issuer_id":"BANKNL2Y"}`,
		"null, then a token": `{"qr_id":"a","issuer_id":"BANKNL2Y","merchant_token":null,"merchant_token":"x"}`,
		"number as token":    `{"qr_id":"a","issuer_id":"BANKNL2Y","merchant_token":1}`,
		"no id":              `{"issuer_id":"BANKNL2Y"}`,
		"no bank":            `{"qr_id":"a"}`,
		"empty id":           `{"qr_id":"","issuer_id":"BANKNL2Y"}`,
		"null id":            `{"qr_id":null,"issuer_id":"BANKNL2Y"}`,
		"number as id":       `{"qr_id":1,"issuer_id":"BANKNL2Y"}`,
		"id twice":           `{"qr_id":"a","qr_id":"b","issuer_id":"BANKNL2Y"}`,
		"id in both":         `{"qr_id":"a","qrId":"a","issuer_id":"BANKNL2Y"}`,
		"escaped name twice": `{"qr_id":"a","qr_\u0069d":"b","issuer_id":"BANKNL2Y"}`,
		"bank in small":      `{"qr_id":"a","issuer_id":"banknl2y"}`,
		"bank with more":     `{"qr_id":"a","issuer_id":"BANKNL2Y\n"}`,
		"strange id":         `{"qr_id":"a b","issuer_id":"BANKNL2Y"}`,
		"long id":            `{"qr_id":"` + strings.Repeat("a", 65) + `","issuer_id":"BANKNL2Y"}`,
		"long token":         `{"qr_id":"a","issuer_id":"BANKNL2Y","merchant_token":"` + strings.Repeat("a", 65) + `"}`,
		"too long":           `{"qr_id":"a","issuer_id":"BANKNL2Y"}` + strings.Repeat(" ", idinqr.MaxCall),
	} {
		if got, err := idinqr.ReadCall([]byte(text), key.Hash([]byte(text)), key); !errors.Is(err, idinqr.ErrCall) || got != (idinqr.Call{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	if got, want := string(idinqr.Answer("https://bank.example/x?a=1&b=<2>", "1234000000000042")),
		`{"issuer_authentication_url":"https://bank.example/x?a=1&b=<2>","transaction_id":"1234000000000042"}`; got != want {
		t.Errorf("Answer = %s, want %s", got, want)
	}
	if got, want := string(idinqr.Refusal(`the code has "expired"`)), `{"error":"the code has \"expired\""}`; got != want {
		t.Errorf("Refusal = %s, want %s", got, want)
	}
}

// FuzzReadCall: what is read names one code and one bank, whichever member came
// first.
func FuzzReadCall(f *testing.F) {
	f.Add([]byte(body))
	f.Add([]byte(`{"qr_id":"a","issuer_id":"BANKNL2Y","merchant_token":"b"}`))
	f.Add([]byte(`{"qrId":"a","issuerId":"BANKNL2YXXX","x":[{"a":1e9}]}`))
	f.Add([]byte(`{"qr_id":"a","qrId":"b","issuer_id":"BANKNL2Y"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := idinqr.ReadCall(text, key.Hash(text), key)
		if err != nil {
			if !errors.Is(err, idinqr.ErrCall) || c != (idinqr.Call{}) {
				t.Errorf("%+v, %v", c, err)
			}
			return
		}
		again := fmt.Appendf(nil, `{"issuerId":%q,"merchantToken":"x","qrId":%q}`, c.Issuer, c.ID)
		if got, err := idinqr.Peek(again); err != nil || got.ID != c.ID || got.Issuer != c.Issuer {
			t.Errorf("%+v is read again as %+v, %v", c, got, err)
		}
		if _, err := idinqr.ReadCall(text, idinqr.Key("other").Hash(text), key); !errors.Is(err, idinqr.ErrHash) {
			t.Errorf("another key: %v", err)
		}
	})
}

// TestNothingSecretInLogs gives every type that holds a secret to both handlers
// and to fmt.
func TestNothingSecretInLogs(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]any{
		"key":       idinqr.Key("c0ffee"),
		"client":    idinqr.Client{Token: "c0ffee", Key: idinqr.Key("c0ffee")},
		"generated": idinqr.Generated{ID: "c0ffee", Image: "https://x/c0ffee.png"},
		"call":      idinqr.Call{ID: "c0ffee", Token: "c0ffee"},
	} {
		var out bytes.Buffer
		pointer := reflect.New(reflect.TypeOf(v))
		pointer.Elem().Set(reflect.ValueOf(v))
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			for _, x := range []any{v, pointer.Interface(), fmt.Errorf("wrapped: %v and %+v", v, pointer.Interface())} {
				slog.New(h).InfoContext(t.Context(), "canary", "value", x)
			}
		}
		if strings.Contains(out.String(), "c0ffee") || strings.Contains(out.String(), "YzBmZmVl") {
			t.Errorf("%s is in the log:\n%s", name, &out)
		}
	}
}

// A code for a screen, and what happens when somebody has scanned it.
func Example() {
	srv := httptest.NewServer(answers(http.StatusOK, body)) // the QR back-end
	defer srv.Close()
	key, err := idinqr.ParseKey("QrSecretExample0001", idinqr.UTF8)
	if err != nil {
		log.Fatal(err)
	}
	c := &idinqr.Client{URL: srv.URL, Token: token, Key: key, HTTP: http.DefaultClient, Now: time.Now, AllowHTTP: true}
	code, err := c.Generate(context.Background(), idinqr.Code{Service: 16384, UseCase: idinqr.Few, Lifetime: 5 * time.Minute, Size: 400})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("show", code.Image)

	call := []byte(`{"qr_id":"` + code.ID + `","issuer_id":"BANKNL2Y"}`) // the back-end's POST, with its header
	got, err := idinqr.ReadCall(call, key.Hash(call), key)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("start a transaction with", got.Issuer)
	fmt.Println(string(idinqr.Answer("https://bank.example/x", "1234000000000042")))
	// Output:
	// show https://qrcode.idin.nl/qrcode/8c41f0d7-2a9e-4b63-9d15-73b0e6fa1c28.png
	// start a transaction with BANKNL2Y
	// {"issuer_authentication_url":"https://bank.example/x","transaction_id":"1234000000000042"}
}
