package e2e

import (
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"eidgate/test/rig"
)

// TestMain removes the command that a test has built.
func TestMain(m *testing.M) {
	code := m.Run()
	rig.Clean()
	os.Exit(code)
}

var fence = regexp.MustCompile("(?ms)^```([a-z ]+)\n(.*?)\n```$")

// blocks are the programs of docs/start.md.
func blocks(t *testing.T) map[string]string {
	t.Helper()
	return blocksOf(t, "start.md")
}

// blocksOf are the programs of a document by the word after the fence, those of
// one word joined.
func blocksOf(t *testing.T, name string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range fence.FindAllStringSubmatch(string(raw), -1) {
		out[m[1]] += m[2] + "\n"
	}
	return out
}

// here puts the sandbox's addresses, and a port of the program's own, where
// the documentation has those of everybody.
func here(w *rig.Dev, text, own string) string {
	return strings.NewReplacer("http://localhost:8700", w.URLs["public"], "http://localhost:8703", w.URLs["control"], "http://localhost:8704", w.URLs["demo"],
		"localhost:3000", "localhost:"+own, "localhost:3001", "localhost:"+own, `("localhost", 3000)`, `("localhost", `+own+`)`, `(3000, "localhost")`, `(`+own+`, "localhost")`).Replace(text)
}

// compile is the first half of go run, whose second half would outlive it.
func compile(t *testing.T, file string) (program string) {
	t.Helper()
	program = strings.TrimSuffix(file, ".go")
	cmd := exec.Command("go", "build", "-o", program, file)
	cmd.Dir = filepath.Dir(file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// reach waits until a program answers.
func reach(t *testing.T, p *rig.Process, address string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; <-time.After(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nothing answers at %s\n%s", address, p.Log())
		}
	}
}

// TestStartByHand types what docs/start.md says.
func TestStartByHand(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", here(w, blocks(t)["sh"], "1"))
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	for _, want := range []string{`"redirect_url":"` + w.URLs["public"], `"state":"finished"`, `"FullName":"Ada Test"`, `"state":"FINISHED"`} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %s is not in\n%s", err, want, out)
		}
	}
}

// TestStartPrograms logs in with each program of docs/start.md as its reader
// does, and sees that it sends another browser away. Go and Node must be
// there; the others run where they are.
func TestStartPrograms(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	all := blocks(t)
	for _, l := range []struct {
		fence, file string
		run         []string
		must        bool
	}{
		{"go", "main.go", []string{"go", "main.go"}, true},
		{"js", "login.mjs", []string{"node", "login.mjs"}, os.Getenv("EIDGATE_REQUIRE_TOOLS") == "1"},
		{"python", "login.py", []string{"python3", "login.py"}, false},
		{"php", "login.php", []string{"php", "-S", "localhost:PORT", "login.php"}, false},
	} {
		t.Run(l.fence, func(t *testing.T) {
			t.Parallel()
			if all[l.fence] == "" {
				t.Fatal("docs/start.md has no such program")
			}
			if _, err := exec.LookPath(l.run[0]); err != nil {
				if l.must {
					t.Fatal(err)
				}
				t.Logf("%s is not installed", l.run[0])
				return
			}
			own := rig.FreePort(t)
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, l.file), []byte(here(w, all[l.fence], own)), 0o600); err != nil {
				t.Fatal(err)
			}
			args := strings.Split(strings.ReplaceAll(strings.Join(l.run, " "), "PORT", own), " ")
			args[len(args)-1] = filepath.Join(dir, l.file)
			if l.fence == "go" {
				args = []string{compile(t, args[1])}
			}
			p := rig.Start(t, nil, args[0], args[1:]...)
			site := "http://localhost:" + own
			reach(t, p, "localhost:"+own)

			browser, stranger := newBrowser(t), newBrowser(t)
			status, at, _ := visit(t, browser, site+"/login")
			if status/100 != 3 || !strings.HasPrefix(at, w.URLs["public"]) {
				t.Fatalf("/login = %d to %q\n%s", status, at, p.Log())
			}
			if status, _, text := visit(t, browser, site+"/done?relaystate="+"11111111-1111-4111-8111-111111111111"); status != http.StatusForbidden {
				t.Errorf("a foreign state = %d %s", status, text)
			}
			_, at, _ = visit(t, browser, site+"/login")
			_, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/decide", "application/json", `{"start_url":"`+at+`","outcome":"approve","person":"ada"}`)
			back, _ := out["redirect"].(string)
			if out["state"] != "finished" || !strings.HasPrefix(back, site+"/done?") {
				t.Fatalf("decide = %v", out)
			}
			if status, _, text := visit(t, stranger, back); status != http.StatusForbidden {
				t.Errorf("another browser = %d %s", status, text)
			}
			if status, _, text := visit(t, browser, back); status != http.StatusOK || !strings.Contains(text, "Hello, Ada Test") {
				t.Errorf("/done = %d %s\n%s", status, text, p.Log())
			}
			if status, _, text := visit(t, browser, back); status != http.StatusForbidden {
				t.Errorf("the same return again = %d %s", status, text)
			}

			_, at, _ = visit(t, browser, site+"/login")
			_, out = w.Call("POST", w.URLs["control"]+"/sandbox/v1/decide", "application/json", `{"start_url":"`+at+`","outcome":"cancel"}`)
			back, _ = out["redirect"].(string)
			if status, _, text := visit(t, browser, back); status != http.StatusForbidden || !strings.Contains(text, "Nobody was logged in") {
				t.Errorf("cancelled = %d %s", status, text)
			}
		})
	}
}

func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func visit(t *testing.T, b *http.Client, address string) (status int, to, text string) {
	t.Helper()
	res, err := b.Get(address) //nolint:noctx // the client has a limit
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Location"), string(raw)
}

// TestStartWebhook sends a webhook to the receiver of docs/start.md: the
// genuine one is taken once, and a forged one is refused.
func TestStartWebhook(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	own := rig.FreePort(t)
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(here(w, blocks(t)["go webhook"], own)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := rig.Start(t, nil, compile(t, file))
	reach(t, p, "localhost:"+own)
	at := "http://localhost:" + own + "/hook"
	post := func(h http.Header, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = h
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if got := post(http.Header{"Webhook-Id": {"msg_1"}, "Webhook-Signature": {"v1,AAAA"}, "Webhook-Timestamp": {"1"}}, "{}"); got != http.StatusUnauthorized {
		t.Errorf("a forged one = %d", got)
	}
	w.Decide(w.Setup("sbid-another", url.Values{"target": {"http://localhost/"}, "webhook": {w.HookAt}}), "approve", "ada")
	var h *rig.Hook
	select {
	case h = <-w.Hooks: // as it came, so that it can be sent twice
	case <-time.After(20 * time.Second):
		t.Fatal("no webhook came")
	}
	if got := post(h.Header, string(h.Body)+" "); got != http.StatusUnauthorized {
		t.Errorf("an altered one = %d", got)
	}
	for range 2 {
		if got := post(h.Header, string(h.Body)); got != http.StatusNoContent {
			t.Errorf("the genuine one = %d\n%s", got, p.Log())
		}
	}
	if n := strings.Count(p.Log(), "a session has ended"); n != 1 {
		t.Errorf("it was used %d times\n%s", n, p.Log())
	}
}

// TestStartOutcomes makes every row of the table in docs/start.md come true.
func TestStartOutcomes(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/start.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `sandbox:([a-zA-Z:]+)` \\| `([A-Z]+)` \\|(?: `([A-Z_]+)`)? \\|").FindAllStringSubmatch(string(raw), -1)
	if len(rows) < 5 {
		t.Fatalf("the table has %d rows that can be read", len(rows))
	}
	w := rig.StartDev(t, "memory")
	for _, row := range rows {
		id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/"}, "webhook": {w.HookAt}, "custom": {"sandbox:" + row[1]}})
		b := newBrowser(t)
		page := w.URLs["public"] + "/v2/Hosted/" + id + "/sbid-another/"
		visit(t, b, page)
		res, err := b.PostForm(page+"start", url.Values{"device": {"other"}}) //nolint:noctx // the client has a limit
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		for ended, end := false, time.Now().Add(20*time.Second); !ended; {
			select {
			case <-w.Hooks:
				ended = true
			case <-time.After(100 * time.Millisecond):
				by := map[bool]string{true: "30s", false: "2s"}[row[1] == "expire"] // an order is collected every 2 s
				w.Call("POST", w.URLs["control"]+"/sandbox/v1/clock", "application/json", `{"advance":"`+by+`"}`)
				if time.Now().After(end) {
					t.Fatalf("%s: no end", row[1])
				}
			}
		}
		got := w.Result(id)
		code := ""
		if errs, _ := got["errors"].([]any); len(errs) > 0 {
			code, _ = errs[0].(map[string]any)["code"].(string)
		}
		if rig.State(got) != row[2] || code != row[3] {
			t.Errorf("%s: %s %s, the table says %s %s", row[1], rig.State(got), code, row[2], row[3])
		}
	}
}

// TestRefusalNamesItsPage asks as a stranger, and reads what the answer names.
func TestRefusalNamesItsPage(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URLs["public"]+"/v2/eid/sbid", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "5a4db0c5-0000-4000-8000-000000000002")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	hint := res.Header.Get("X-Eidgate-Hint")
	if hint != w.URLs["public"]+"/docs/errors/INVALID_APPID" {
		t.Fatalf("X-Eidgate-Hint = %q", hint)
	}
	if status, _, text := visit(t, newBrowser(t), hint); status != http.StatusOK || !strings.Contains(text, "INVALID_APPID</h1>") {
		t.Errorf("%s = %d\n%s", hint, status, text)
	}
}

// TestStartCI runs the script for continuous integration with the command
// itself.
func TestStartCI(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := strings.Replace(blocks(t)["sh ci"], "eidgate dev", "eidgate dev --port 0", 1)
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(rig.Binary(t))+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), `"errors":[],"redirect_url"`) {
		t.Errorf("%v\n%s", err, out)
	}
}
