package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"eidgate/internal/need"
	"eidgate/test/rig"
)

// TestOIDCByHand types what docs/apis/oidc.md says.
func TestOIDCByHand(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	w := rig.StartDev(t, "memory")
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", here(w, blocksOf(t, "apis/oidc.md")["sh"], "1"))
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	for _, want := range []string{`"name":"Ada Test"`, `"nin":"199001012385"`, `"sub":"`} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %s is not in\n%s", err, want, out)
		}
	}
}

// TestOIDCRefusals: what is refused names its code's page, also where a person
// is the one who reads it.
func TestOIDCRefusals(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for _, c := range []struct{ method, path, code string }{
		{"POST", "token", "invalid_client"}, {"POST", "par", "invalid_client"}, {"GET", "authorize", "invalid_client"},
		{"GET", "authorize?client_id=" + w.OIDC.ID, "invalid_request"}, {"GET", "endsession?state=a&state=b", "invalid_request"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, w.OIDC.Issuer+"/connect/"+c.path, strings.NewReader("client_id="+w.OIDC.ID))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		hint := res.Header.Get("X-Eidgate-Hint")
		if res.StatusCode != http.StatusBadRequest || hint != w.URLs["public"]+"/docs/errors/"+c.code {
			t.Errorf("%s %s = %s, %q", c.method, c.path, res.Status, hint)
			continue
		}
		if status, _, text := visit(t, newBrowser(t), hint); status != http.StatusOK || !strings.Contains(text, ">"+c.code+"</h1>") {
			t.Errorf("%s = %d", hint, status)
		}
	}
	at := w.OIDC.Issuer + "/config/errors/invalid_grant" // what error_uri says
	status, to, _ := visit(t, newBrowser(t), at)
	if status != http.StatusSeeOther || to != "/docs/errors/invalid_grant" {
		t.Errorf("%s = %d to %q", at, status, to)
	}
}

// TestOIDCProgram logs in with the program of docs/apis/oidc.md as its reader
// does, and sees that it sends another browser away.
func TestOIDCProgram(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	own := rig.FreePort(t)
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(here(w, blocksOf(t, "apis/oidc.md")["go"], own)), 0o600); err != nil {
		t.Fatal(err)
	}
	program := strings.TrimSuffix(file, ".go")
	build := exec.Command("go", "build", "-o", program, file)
	build.Dir = "../.." // whose go.mod has the libraries
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := rig.Start(t, nil, program)
	site := "http://localhost:" + own
	reach(t, p, "localhost:"+own)

	login := func(b *http.Client, outcome string) (back string) {
		t.Helper()
		status, at, _ := visit(t, b, site+"/login")
		if status != http.StatusSeeOther || !strings.HasPrefix(at, w.URLs["public"]+"/auth/open/connect/authorize?") {
			t.Fatalf("/login = %d to %q\n%s", status, at, p.Log())
		}
		_, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/decide", "application/json", `{"start_url":"`+at+`","outcome":"`+outcome+`","person":"ada"}`)
		back, _ = out["redirect"].(string)
		if !strings.HasPrefix(back, site+"/callback?") {
			t.Fatalf("decide = %v", out)
		}
		return back
	}
	browser := newBrowser(t)
	back := login(browser, "approve")
	if status, _, text := visit(t, newBrowser(t), back); status != http.StatusForbidden || !strings.Contains(text, "another browser") {
		t.Errorf("another browser = %d %s", status, text)
	}
	if status, _, text := visit(t, browser, back); status != http.StatusOK || !strings.Contains(text, "Hello, Ada Test") {
		t.Errorf("/callback = %d %s\n%s", status, text, p.Log())
	}
	if status, _, text := visit(t, browser, back); status != http.StatusForbidden {
		t.Errorf("the same return again = %d %s", status, text)
	}
	if status, _, text := visit(t, browser, login(browser, "cancel")); status != http.StatusForbidden || !strings.Contains(text, "Nobody was logged in. access_denied") {
		t.Errorf("cancelled = %d %s", status, text)
	}
}
