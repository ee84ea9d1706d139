// Package e2e runs the sandbox as its users do: over HTTP, through the API,
// the pages, the virtual phone and the webhooks.
package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eidgate/internal/need"
	"eidgate/internal/pgtest"
	"eidgate/notify"
	"eidgate/server"
	"eidgate/test/rig"
)

func TestLoginOnEveryStore(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(*testing.T) string{
		"memory":   func(*testing.T) string { return "memory" },
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "e.db") },
		"postgres": func(t *testing.T) string { return pgtest.Database(t, pgtest.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := rig.StartDev(t, store(t))
			id := w.Setup("sbid-another", url.Values{"target": {w.HookAt + "?x=1#end"}, "relaystate": {"a b&c"}, "webhook": {w.HookAt}})
			if got := rig.State(w.Result(id)); got != "PENDING" {
				t.Errorf("state before anything = %s", got)
			}
			out := w.Decide(id, "approve", "ada")
			if want := w.HookAt + "?x=1&relaystate=a%20b%26c&service=eIDBasic#end"; out["state"] != "finished" || out["redirect"] != want {
				t.Errorf("decide = %v, want redirect %s", out, want)
			}
			got := w.Result(id)
			who, ok := got["identity"].(map[string]any)
			if !ok || who["PersonalNumber"] != "199001012385" || who["DateOfBirth"] != "1990-01-01" || rig.State(got) != "FINISHED" {
				t.Errorf("result = %v", got)
			}
			checkHook(t, w, got)
		})
	}
}

// checkHook waits for the webhook and verifies both signatures.
func checkHook(t *testing.T, w *rig.Dev, want map[string]any) {
	t.Helper()
	select {
	case h := <-w.Hooks:
		if err := notify.Verify(w.Secret, h.Header.Get("Webhook-Id"), h.Header.Get("Webhook-Timestamp"), h.Header.Get("Webhook-Signature"), h.Body, time.Now()); err != nil {
			t.Error(err)
		}
		if got := h.Header.Get("X-Zignsec-Hmac-Sha256"); got != notify.ZignSec(w.Key, h.Body, false) {
			t.Errorf("X-ZignSec-Hmac-SHA256 = %s", got)
		}
		var got map[string]any
		if err := json.Unmarshal(h.Body, &got); err != nil || got["id"] != want["id"] || rig.State(got) != rig.State(want) {
			t.Errorf("webhook body = %s, %v", h.Body, err)
		}
	case <-time.After(10 * time.Second):
		t.Error("no webhook came")
	}
}

// TestDemoShop logs in through the shop: its own code sets the session up,
// reads the result and verifies the webhook.
func TestDemoShop(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := b.PostForm(w.URLs["demo"]+"/login", url.Values{"method": {"sbid-another"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	at := res.Header.Get("Location")
	_, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/decide", "application/json", `{"start_url":"`+at+`","outcome":"approve","person":"bo"}`)
	back, _ := out["redirect"].(string)
	if out["state"] != "finished" || !strings.HasPrefix(back, w.URLs["demo"]+"/done?") {
		t.Fatalf("decide = %v", out)
	}
	for end := time.Now().Add(10 * time.Second); ; <-time.After(50 * time.Millisecond) {
		res, err := b.Get(back) //nolint:noctx // bounded by the loop
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if back = w.URLs["demo"] + "/"; err == nil && bytes.Contains(text, []byte("Provsson")) && bytes.Contains(text, []byte("signatures valid")) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the shop shows\n%s", text)
		}
	}
}

// TestForgottenFault: the pages where somebody would look for it name a fault that
// is on, and no longer once it is off.
func TestForgottenFault(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	page := w.URLs["public"] + "/v2/Hosted/" + w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}}) + "/sbid-another/"
	says := func(want bool) {
		t.Helper()
		for _, at := range []string{page, w.URLs["public"], w.URLs["demo"], w.URLs["demo"] + "/oidc"} {
			if _, _, text := visit(t, http.DefaultClient, at); strings.Contains(text, ">bankidse.collect delay 5s<") != want {
				t.Errorf("%s, want the fault %t: %s", at, want, text)
			}
		}
	}
	says(false)
	if status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/faults", "application/json", `{"target":"bankidse.collect","kind":"delay","value":"5s"}`); status != http.StatusOK {
		t.Fatalf("faults: %d %v", status, out)
	}
	says(true)
	if status, out := w.Call("DELETE", w.URLs["control"]+"/sandbox/v1/faults", "", ""); status >= 300 {
		t.Fatalf("faults off: %d %v", status, out)
	}
	says(false)
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for outcome, code := range map[string]string{"cancel": "USER_CANCEL", "decline": "CERTIFICATE_ERR",
		"fail:certificateErr": "CERTIFICATE_ERR", "fail:notSupportedByUserApp": "CLIENT_ERR", "fail:transactionRiskBlocked": "REQ_BLOCKED"} {
		id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}, "targetError": {"http://localhost/bad"}})
		out := w.Decide(id, outcome, "ada")
		if to, _ := out["redirect"].(string); out["state"] != "failed" || !strings.HasPrefix(to, "http://localhost/bad?") {
			t.Errorf("%s: %v", outcome, out)
		}
		got := w.Result(id)
		errs := got["errors"].([]any)
		if rig.State(got) != "ERROR" || len(errs) != 1 || errs[0].(map[string]any)["code"] != code || got["identity"] != nil {
			t.Errorf("%s: %v, want %s", outcome, got, code)
		}
	}
}

func TestSignAndVerifyOffline(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	text := base64.StdEncoding.EncodeToString([]byte("Jag lånar 1 000 kr."))
	id := w.Setup("sbid-sign", url.Values{"personalnumber": {"19900103-2391"}, "userVisibleData": {text}, "target": {"http://localhost/ok"}})
	if out := w.Decide(id, "approve", ""); out["state"] != "finished" {
		t.Fatalf("decide = %v", out)
	}
	got := w.Result(id)
	if who := got["identity"].(map[string]any); who["PersonalNumber"] != "199001032391" {
		t.Errorf("identity = %v", who)
	}
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "result.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.VerifySignature(file, "", "live", false); err == nil || err.Error() != "chain" {
		t.Errorf("a simulated signature under BankID's own root: %v, want chain", err)
	}
}

func TestHeadless(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	status, out := w.Call("POST", w.URLs["public"]+"//BankIDSE/Authenticate/", "application/json", `{'endUserIp':'127.0.0.1',}`)
	ref, _ := out["orderRef"].(string)
	if status != 200 || ref == "" || out["autoStartToken"] == "" {
		t.Fatalf("Authenticate = %d %v", status, out)
	}
	collect := func() map[string]any {
		_, got := w.Call("GET", w.URLs["public"]+"/v2/bankidse/collect?orderRef="+ref, "application/json", "")
		return got
	}
	if got := collect(); got["progressStatus"] != "OUTSTANDING_TRANSACTION" {
		t.Errorf("collect = %v", got)
	}
	if status, got := w.Call("POST", w.URLs["control"]+"/sandbox/v1/orders/"+ref+"/events", "application/json", `{"event":"approve","person":"bo"}`); status != 200 {
		t.Fatalf("event = %v", got)
	}
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); <-time.After(600 * time.Millisecond) {
		if got := collect(); got["progressStatus"] == "COMPLETE" {
			if got["userInfo"].(map[string]any)["personalNumber"] != "199001032391" || got["signature"] == "" {
				t.Errorf("collect = %v", got)
			}
			if again := collect(); again["errors"].([]any)[0].(map[string]any)["code"] != "ALREADY_COLLECTED" {
				t.Errorf("a second collect = %v", again)
			}
			return
		}
	}
	t.Error("never complete")
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	long := strings.Repeat("QUFB", 10_000)
	for name, c := range map[string]struct {
		selector, kind, body string
		status               int
		code                 string
	}{
		"unknown selector":     {"sbidd", "", "", 400, "INVALID_REQUEST"},
		"no such country":      {"zz", "", "", 400, "INVALID_COUNTRYCODE"},
		"no method there":      {"fr", "", "", 400, "MISSING_CONFIG"},
		"known, not here":      {"nemid", "", "", 400, "MISSING_CONFIG"},
		"bad target":           {"sbid", "", "target=javascript:alert(1)", 400, "INVALID_TARGET"},
		"bad targetError":      {"sbid", "", "targetError=/x", 400, "INVALID_TARGETERROR"},
		"bad webhook":          {"sbid", "", "webhook=ftp://x/", 400, "INVALID_WEBHOOK"},
		"impossible number":    {"sbid", "", "personalnumber=199013012385", 400, "INVALID_PERSONALNUMBER"},
		"checksum is no rule":  {"sbid", "", "personalnumber=198711260070", 200, ""},
		"number for nobody":    {"sbid-sign", "", "userVisibleData=QUFB", 400, "INVALID_PERSONALNUMBER"},
		"nothing to sign":      {"sbid-sign", "", "personalnumber=199001012385", 400, "INVALID_REQUEST"},
		"not base64":           {"sbid-sign", "", "personalnumber=199001012385&userVisibleData=%21%21", 400, "INVALID_REQUEST"},
		"40 000 characters":    {"sbid-sign", "", "personalnumber=199001012385&userVisibleData=" + long, 200, ""},
		"40 004 characters":    {"sbid-sign", "", "personalnumber=199001012385&userVisibleData=" + long + "QUFB", 400, "INVALID_REQUEST"},
		"a megabyte and one":   {"sbid", "", "custom=" + strings.Repeat("a", 1<<20), 413, "INVALID_REQUEST"},
		"broken JSON":          {"sbid", "application/json", `{"target":`, 400, "INVALID_REQUEST"},
		"single quotes":        {"sbid", "application/json", `{'PersonalNumber': 191212121212,'lookupPersonAddress':true}`, 200, ""},
		"odd spelling of path": {"SBID_Another/", "", "", 200, ""},
		"unknown configid":     {"sbid", "", "configid=11111111-1111-4111-8111-111111111111", 400, "MISSING_CONFIG"},
		"bad mail address":     {"sbid", "", "webhook_email=a%0d%0ab@x", 400, "INVALID_REQUEST"},
	} {
		status, out := w.Call("POST", w.URLs["public"]+"/v2/eid/"+c.selector, orForm(c.kind), c.body)
		errs, _ := out["errors"].([]any)
		code := ""
		if len(errs) > 0 {
			code = errs[0].(map[string]any)["code"].(string)
		}
		if status != c.status || code != c.code || out["id"] == "" || (c.code != "") != (out["redirect_url"] == nil) {
			t.Errorf("%s: %d %s %v, want %d %s", name, status, code, out["redirect_url"], c.status, c.code)
		}
	}
	w.Key = "5a4db0c5-0000-4000-8000-000000000002"
	if status, out := w.Call("GET", w.URLs["public"]+"/v2/eid/x", "", ""); status != 401 {
		t.Errorf("an unknown key: %d %v", status, out)
	}
}

func orForm(kind string) string {
	if kind == "" {
		return "application/x-www-form-urlencoded"
	}
	return kind
}

// TestBrowserShowsACodeThatScans has Chromium draw the page with its script,
// and another program read the code from the picture.
func TestBrowserShowsACodeThatScans(t *testing.T) {
	t.Parallel()
	need.Program(t, "chromium")
	need.Program(t, "zbarimg")
	w := rig.StartDev(t, "memory")
	id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}})
	dir := t.TempDir()
	png := filepath.Join(dir, "page.png")
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+dir, "--virtual-time-budget=5000",
		"--window-size=1000,1000", "--screenshot="+png, w.URLs["public"]+"/v2/Hosted/"+id+"/sbid-another/").CombinedOutput()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, out)
	}
	code, err := exec.CommandContext(ctx, "zbarimg", "-q", "--raw", png).Output()
	text := strings.TrimSpace(string(code))
	if err != nil || !strings.HasPrefix(text, "bankid.") || strings.Count(text, ".") != 3 {
		t.Fatalf("zbarimg read %q, %v", text, err)
	}
}
