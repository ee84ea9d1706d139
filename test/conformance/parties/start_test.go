package parties

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"eidgate/internal/need"
	"eidgate/test/conformance/parties/gooidc"
	"eidgate/test/rig"
)

// run starts a program that is told its settings and listens at their address.
func run(t *testing.T, c *settings, name string, args ...string) {
	t.Helper()
	told, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	rig.Start(t, []string{"PARTY=" + string(told)}, name, args...).Listens(t, strings.TrimPrefix(c.Self, "http://"))
}

func openIDClient(t *testing.T, c *settings) { t.Helper(); npm(t, c, "party.mjs") }
func fapiClient(t *testing.T, c *settings)   { t.Helper(); npm(t, c, "fapi.mjs") }

func npm(t *testing.T, c *settings, script string) {
	t.Helper()
	dir := rig.NPM(t.Context(), t, "openidclient", script)
	c.Self = "http://127.0.0.1:" + rig.FreePort(t)
	run(t, c, "node", filepath.Join(dir, script))
}

func goOIDC(t *testing.T, c *settings) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	c.Self = "http://" + srv.Listener.Addr().String()
	party, err := gooidc.New(t.Context(), c.Issuer, c.ID, c.Secret, c.Self, strings.Fields(c.Scope)...)
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = party
	srv.Start()
	t.Cleanup(srv.Close)
}

// authlib asks Debian's own Python first, which has Debian's packages.
func authlib(t *testing.T, c *settings) {
	t.Helper()
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import authlib.integrations.flask_client, requests").Run() == nil {
			c.Self = "http://127.0.0.1:" + rig.FreePort(t)
			run(t, c, python, "authlib/party.py")
			return
		}
	}
	need.Absent(t, "no Python has authlib, flask and requests: python3-authlib, python3-flask, python3-requests")
}

// Where Debian has Apache.
const (
	program = "/usr/sbin/apache2"
	modules = "/usr/lib/apache2/modules"
)

// apache has answers posted to it: an error that comes as a redirect with an iss
// it takes for a login that somebody else wants to begin.
func apache(t *testing.T, c *settings)          { t.Helper(); httpd(t, c, "form_post") }
func apacheRedirects(t *testing.T, c *settings) { t.Helper(); httpd(t, c, "query") }

func httpd(t *testing.T, c *settings, mode string) {
	t.Helper()
	for _, file := range []string{program, modules + "/mod_auth_openidc.so"} {
		if _, err := os.Stat(file); err != nil {
			need.Absent(t, "there is no %s: Debian's libapache2-mod-auth-openidc", file)
		}
	}
	app := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(app.Close)
	dir, port := t.TempDir(), rig.FreePort(t)
	c.Self = "http://127.0.0.1:" + port
	fill := map[string]any{"C": c, "Mode": mode, "Dir": dir, "Port": port, "Root": os.Getuid() == 0, "Lib": modules, "Passphrase": rand.Text(),
		"Behind": app.URL}
	if c.pem != nil {
		fill["Key"] = write(t, dir, "key.pem", c.pem)
	}
	var text bytes.Buffer
	if err := template.Must(template.ParseFiles("apache/httpd.conf")).Execute(&text, fill); err != nil {
		t.Fatal(err)
	}
	p := rig.Start(t, nil, program, "-X", "-f", write(t, dir, "httpd.conf", text.Bytes()))
	t.Cleanup(func() { _ = p.Stop() }) // so that it leaves no shared memory behind
	p.Listens(t, "127.0.0.1:"+port)
}

// echo is the application that Apache protects. It shows what the headers say
// that the module has added.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]json.RawMessage{ // the test will tell
		"id_token": []byte(r.Header.Get("Oidc_id_token_payload")), "userinfo": []byte(r.Header.Get("Oidc_userinfo_json"))})
}

func write(t *testing.T, dir, name string, text []byte) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
