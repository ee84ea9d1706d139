package idin_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/idin"
)

// A counter is a merchant's side of iDIN QR.
type counter struct {
	*service
	refuse int // status of the Transaction API; 0 to answer
	calls  []string
	page   string
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	c := &counter{service: newService(t, sandbox.Ignore)}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !c.hashed(body, r.Header) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		var in struct {
			ID     string `json:"qr_id"`
			Issuer string `json:"issuer_id"`
			Token  string `json:"merchant_token"`
		}
		if json.Unmarshal(body, &in) != nil || in.Token != c.shop.QRMerchantToken || c.refuse != 0 {
			w.WriteHeader(max(c.refuse, 400))
			return
		}
		c.calls = append(c.calls, in.ID+" "+in.Issuer)
		id, page := c.begin(start{bank: in.Issuer, service: "64"})
		c.page = page
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer_authentication_url": page, "transaction_id": id})
	}))
	t.Cleanup(api.Close)
	if err := c.SetTransactionAPI(c.shop.MerchantID, api.URL); err != nil {
		t.Fatal(err)
	}
	return c
}

// hashed verifies a body of the back-end's.
func (c *counter) hashed(body []byte, h http.Header) bool {
	m := hmac.New(sha256.New, []byte(c.shop.QRSigningKey))
	m.Write(body)
	return h.Get("x-idin-qr-hash") == hex.EncodeToString(m.Sum(nil))
}

// generate asks for a code. Fields replace those of a good request; null takes
// one away.
func (c *counter) generate(fields ...string) (status int, id, image string, ok bool) {
	c.t.Helper()
	all := map[string]json.RawMessage{"merchant_token": json.RawMessage(`"` + c.shop.QRMerchantToken + `"`), "merchant_sub_id": json.RawMessage("0"),
		"expiration": json.RawMessage(`"` + c.clock.Now().Add(10*time.Minute).Format("2006-01-02 15:04:05") + `"`), "size": json.RawMessage("1000"),
		"idin_service_id": json.RawMessage("64"), "use_case": json.RawMessage(`"01"`)}
	for i := 0; i+1 < len(fields); i += 2 {
		all[fields[i]] = json.RawMessage(fields[i+1])
	}
	raw, err := json.Marshal(all)
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := http.Post(c.url+"/idin/qr/generate", "application/json, charset=UTF-8", bytes.NewReader(raw))
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var out struct {
		ID    string `json:"qr_id"`
		URL   string `json:"qr_url"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(body, &out); err != nil || (out.Error == "") != (res.StatusCode == 200) {
		c.t.Errorf("HTTP %d: %s", res.StatusCode, body)
	}
	return res.StatusCode, out.ID, out.URL, c.hashed(body, res.Header)
}

// A code is made, scanned, and leads to the bank through the merchant's own
// API; the fifth scan is refused.
func TestQR(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	status, id, image, hashed := c.generate()
	if status != 200 || !hashed || !strings.HasPrefix(image, c.url+"/idin/qr/code/") || strings.Contains(image, id) {
		t.Fatalf("HTTP %d, %s at %s, hash %v", status, id, image, hashed)
	}
	v := c.get(image)
	if picture, err := png.Decode(strings.NewReader(v.body)); err != nil || v.header.Get("Content-Type") != "image/png" || picture.Bounds().Dx() < 800 || picture.Bounds().Dx() > 1100 {
		t.Errorf("image: %v", err)
	}
	codes := c.Codes()
	if len(codes) != 1 || codes[0].Ref != id || codes[0].EID != "idinqr" || codes[0].RP != "Shop & Söhne" || codes[0].Left != 600 {
		t.Fatalf("codes: %+v", codes)
	}
	link := codes[0].QR
	if v := c.get(link + "?role=bankapp"); v.status != 200 || !strings.Contains(v.body, "bank-app") {
		t.Errorf("scanned by a banking app: %+v", v)
	}
	var first string
	for i := range 5 {
		v := c.get(link)
		if i == 4 {
			if v.status != http.StatusGone || !strings.Contains(v.body, "te vaak") {
				t.Errorf("fifth scan: %+v", v)
			}
			break
		}
		if v.status != http.StatusSeeOther {
			t.Fatalf("scan %d: %+v", i+1, v)
		}
		if first == "" {
			first = v.to
		}
		if again := c.get(v.to); again.status != 200 || !strings.Contains(again.body, `data-testid="issuer-BANKNL2Y"`) || !strings.Contains(again.body, "Shop &amp; Söhne") {
			t.Errorf("banks: %+v", again)
		}
		c.get(v.to) // loading a page again is no scan
	}
	if v := c.submit(first, "issuer", "DRIENL2A"); v.status != http.StatusSeeOther || v.to != c.page || len(c.calls) != 1 || c.calls[0] != id+" DRIENL2A" {
		t.Errorf("to the bank: %+v, calls %v", v, c.calls)
	}
	if v := c.approve(c.page, "vries"); !strings.Contains(v.to, "trxid=") {
		t.Errorf("back: %+v", v)
	}
	o, err := c.Order(id)
	if err != nil || o.State != "used" || o.Hint != "transaction 1234000000000001" || o.Details.(idin.Details).Scans != 4 {
		t.Errorf("%+v, %v", o, err)
	}
	if v := c.submit(first, "issuer", "INGBNL2A"); v.status != http.StatusBadRequest {
		t.Errorf("no such bank: %d", v.status)
	}
}

// Codes that were not made, have expired, or whose merchant does not play.
func TestQREnds(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	if v := c.get(c.url + "/idin/qr/open/nothing"); v.status != http.StatusNotFound {
		t.Errorf("unknown: %d", v.status)
	}
	if v := c.get(c.url + "/idin/qr/code/nothing.png"); v.status != http.StatusNotFound {
		t.Errorf("unknown image: %d", v.status)
	}
	c.generate()
	link := c.Codes()[0].QR
	page := c.get(link).to
	c.refuse = 409
	if v := c.submit(page, "issuer", "BANKNL2Y"); v.status != http.StatusBadGateway || !strings.Contains(v.body, "answers 409") {
		t.Errorf("refused by the merchant: %+v", v)
	}
	c.refuse = 0
	c.faults.Add(sandbox.Fault{Target: "idinqr.call", Kind: "bad_signature", Times: 1})
	if v := c.submit(page, "issuer", "BANKNL2Y"); v.status != http.StatusBadGateway || !strings.Contains(v.body, "answers 403") {
		t.Errorf("with a bad hash: %+v", v)
	}
	c.clock.Advance(10 * time.Minute)
	for name, at := range map[string]string{"code": link, "page": page} {
		if v := c.get(at); v.status != http.StatusGone || !strings.Contains(v.body, "verlopen") {
			t.Errorf("expired %s: %+v", name, v)
		}
	}
	if len(c.Codes()) != 0 {
		t.Error("an expired code is on a screen")
	}

	_, id, _, _ := c.generate("use_case", `"00"`)
	for range 6 {
		if _, err := c.Do(id, sandbox.Act{Event: "scan"}); err != nil {
			t.Errorf("use case 00: %v", err)
		}
	}
	o, err := c.Do(id, sandbox.Act{Event: "scan"})
	if v := c.get(o.Page); err != nil || v.status != 200 || !strings.Contains(v.body, "issuer-CURRNL2A") {
		t.Errorf("page of a scan: %+v, %v", v, err)
	}
	if _, err := c.Do(id, sandbox.Act{Event: "approve"}); !errors.Is(err, sandbox.ErrEvent) {
		t.Errorf("approved: %v", err)
	}
	if o, err := c.Do(id, sandbox.Act{Event: "expire"}); err != nil || o.State != "expired" {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := c.Do(id, sandbox.Act{Event: "scan"}); !errors.Is(err, sandbox.ErrEnded) {
		t.Errorf("scanned afterwards: %v", err)
	}
}

// What is wrong with a request for a code.
func TestQRRequests(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	at := func(d time.Duration) string { return strconv.Quote(c.clock.Now().Add(d).Format("2006-01-02 15:04:05")) }
	for _, v := range []struct {
		name, field, value string
		want               int
	}{
		{"token", "merchant_token", `"00000000-0000-4000-8000-000000000000"`, 401}, {"no token", "merchant_token", "null", 401},
		{"sub", "merchant_sub_id", "5", 400}, {"no sub", "merchant_sub_id", "null", 400}, {"size", "size", "99", 400}, {"great size", "size", "2001", 400},
		{"service", "idin_service_id", "32", 400}, {"use case", "use_case", `"02"`, 400}, {"no use case", "use_case", "null", 400},
		{"time", "expiration", `"2030-01-02T10:00:00Z"`, 400}, {"past", "expiration", at(0), 400}, {"fifteen minutes", "expiration", at(15 * time.Minute), 200},
		{"longer", "expiration", at(15*time.Minute + time.Second), 400}, {"no time", "expiration", "null", 400}, {"type", "size", `"big"`, 400},
	} {
		if status, _, _, _ := c.generate(v.field, v.value); status != v.want {
			t.Errorf("%s: HTTP %d, want %d", v.name, status, v.want)
		}
	}
	if status, _, _, _ := c.generate("use_case", `"00"`, "expiration", at(31*24*time.Hour)); status != 200 {
		t.Errorf("a month: HTTP %d", status)
	}
	c.faults.Add(sandbox.Fault{Target: "idinqr", Kind: "bad_signature", Times: 1})
	if status, _, _, hashed := c.generate(); status != 200 || hashed {
		t.Errorf("bad hash: HTTP %d, %v", status, hashed)
	}
	c.faults.Add(sandbox.Fault{Target: "idinqr", Kind: "error", Value: "busy", Times: 1})
	if status, _, _, hashed := c.generate(); status != 400 || !hashed {
		t.Errorf("error: HTTP %d, %v", status, hashed)
	}
	if err := c.SetTransactionAPI("1234999999", "http://x.example"); !errors.Is(err, idin.ErrMerchant) {
		t.Errorf("API of nobody: %v", err)
	}
}

// What is said about an order is found by its number, the calls of the
// back-end's own too.
func TestRecorded(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	rec := sandbox.NewRecorder(1 << 20)
	srv := httptest.NewServer(rec.Wrap("idin", c.clock.Now, c.Handler()))
	defer srv.Close()
	c.url = srv.URL
	c.HTTP.Transport = rec.Transport("idinqr", c.clock.Now, nil)
	_, code, image, _ := c.generate()
	c.get(image)
	page := c.get(c.Codes()[0].QR).to
	bank := c.submit(page, "issuer", "BANKNL2Y").to
	c.approve(bank, "vries")
	id := "1234000000000001"
	c.status(id)
	said := func(ref string) (out string) {
		for _, m := range rec.Of(ref) {
			kind := "page"
			for _, word := range []string{"AcquirerTrxReq", "AcquirerTrxRes", "AcquirerStatusReq", "AcquirerStatusRes", "qr_url", "use_case", "issuer_id", "issuer_authentication_url"} {
				if strings.Contains(m.Body, word) {
					kind = word
				}
			}
			out += m.Direction + " " + kind + ", "
		}
		return out
	}
	if got, want := said(id), "in AcquirerTrxReq, out AcquirerTrxRes, in page, out page, in page, out page, in page, out page, in AcquirerStatusReq, out AcquirerStatusRes, "; got != want {
		t.Errorf("about the transaction: %s\nwant %s", got, want)
	}
	if got, want := said(code), "in use_case, out qr_url, in page, out page, in page, out page, out issuer_id, in issuer_authentication_url, in page, out page, "; got != want {
		t.Errorf("about the code: %s\nwant %s", got, want)
	}
}

// The page of the sandbox says what is here.
func TestManual(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, f := range idin.Fidelity() {
		if !strings.Contains(text, "| "+f.What+" | "+f.State+" | "+f.Because+" |") {
			t.Errorf("docs/sandbox.md lacks %s: %s %s", f.What, f.State, f.Because)
		}
	}
	for _, b := range idin.Banks() {
		if !strings.Contains(text, "| `"+b.ID+"` | "+b.Name+" |") {
			t.Errorf("docs/sandbox.md lacks the bank %s", b.ID)
		}
	}
	for target, kinds := range idin.Faults() {
		for _, word := range append(kinds, target) {
			if !strings.Contains(text, "`"+word+"`") {
				t.Errorf("docs/sandbox.md lacks %s of %s", word, target)
			}
		}
	}
	settings, err := json.Marshal(idin.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]any
	if err := json.Unmarshal(settings, &names); err != nil {
		t.Fatal(err)
	}
	for name := range names {
		if !strings.Contains(text, "| `"+name+"` |") {
			t.Errorf("docs/sandbox.md lacks the switch %s", name)
		}
	}
}
