package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eidgate/server"
	"eidgate/test/rig"
)

func overTLS(o *server.DevOptions) { o.TLS = true }

// fetch is a GET whose answer is read.
func fetch(t *testing.T, c *http.Client, address string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(raw)
}

// TestLoginsOverHTTPS: every eID, for a program that trusts /sandbox/v1/ca.pem
// and nothing else. The parts of the sandbox call each other over https too.
func TestLoginsOverHTTPS(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory", overTLS)
	for name, at := range w.URLs {
		if want := map[bool]string{true: "http://localhost:", false: "https://localhost:"}[name == "ops"]; !strings.HasPrefix(at, want) {
			t.Errorf("%s is at %s", name, at)
		}
	}
	res, ca := fetch(t, w.HTTP, w.URLs["control"]+"/sandbox/v1/ca.pem")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/x-pem-file" || ca != w.CA || !strings.HasPrefix(ca, "-----BEGIN CERTIFICATE-----\n") || strings.Contains(ca, "PRIVATE") {
		t.Fatalf("%s %s\n%s", res.Status, res.Header, ca)
	}
	w.HTTP = rig.Trusting(t, ca)
	for _, name := range []string{"public", "issuers", "control", "demo"} {
		res, _ := fetch(t, w.HTTP, w.URLs[name])
		if leaf := res.TLS.PeerCertificates[0]; res.Header.Get("Strict-Transport-Security") != "" || time.Until(leaf.NotAfter) > 90*24*time.Hour || leaf.NotAfter.Before(time.Now()) {
			t.Errorf("%s: %v, certificate until %s", name, res.Header, leaf.NotAfter)
		}
		var unknown x509.UnknownAuthorityError
		if _, err := http.Get(w.URLs[name]); !errors.As(err, &unknown) { //nolint:noctx // refused at once
			t.Errorf("%s is believed by the system: %v", name, err)
		}
		old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}}
		if _, err := old.Get(w.URLs[name]); err == nil || !strings.Contains(err.Error(), "protocol version not supported") { //nolint:noctx // likewise
			t.Errorf("%s speaks TLS 1.1: %v", name, err)
		}
	}
	for _, page := range []string{w.URLs["public"] + "/", w.URLs["public"] + "/docs/start", w.URLs["control"] + "/phone", w.URLs["control"] + "/queue", w.URLs["demo"] + "/"} {
		res, text := fetch(t, w.HTTP, page)
		for _, at := range []string{w.URLs["public"], w.URLs["control"], w.URLs["demo"]} {
			if plain := strings.Replace(at, "https:", "http:", 1); res.StatusCode != 200 || strings.Contains(text, plain) {
				t.Errorf("%s: %s, and it names %s", page, res.Status, plain)
			}
		}
	}
	for name, x := range map[string]struct {
		selector, config, person string
	}{
		"Swedish BankID":     {"sbid-another", "", "ada"},
		"on the same device": {"sbid", "", "ada"},
		"iDIN":               {"idin", "", "vries"},
		"a code of iDIN":     {"idin", "counter", "vries"},
		"age":                {"idin_age", "", "vries"},
		"age by AgeChecked":  {"idin_age", "agechecked", "vries"},
		"itsme":              {"itsme", "", "florent"},
		"Norwegian BankID":   {"nbid_oidc", "", "ola"},
		"MitID":              {"mitid", "", "hanne"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w.For(t)
			form := url.Values{"target": {w.URLs["demo"] + "/done"}}
			if x.config != "" {
				form.Set("configid", x.config)
			}
			id := w.Setup(x.selector, form)
			out := w.Decide(id, "approve", x.person)
			if to, _ := out["redirect"].(string); out["state"] != "finished" || !strings.HasPrefix(to, w.URLs["demo"]+"/done?") {
				t.Errorf("decide = %v", out)
			}
			if got := w.Result(id); rig.State(got) != "FINISHED" || got["identity"] == nil {
				t.Errorf("result = %v", got)
			}
		})
	}
}

// TestShopOverHTTPS: the shop calls the broker, and is called by it.
func TestShopOverHTTPS(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory", overTLS)
	for start, want := range map[string]string{"/login?method=sbid-another": "signatures valid", "/oidc/login?scope=profile": "Provsson"} {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			w := w.For(t)
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			b := rig.Trusting(t, w.CA)
			b.Jar, b.CheckRedirect = jar, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			path, query, _ := strings.Cut(start, "?")
			form, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			res, err := b.PostForm(w.URLs["demo"]+path, form)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if c := res.Cookies(); len(c) != 1 || !c[0].Secure {
				t.Errorf("the shop's cookies are %v", c)
			}
			back, _ := w.DecideAt(res.Header.Get("Location"), "approve", "bo")
			if !strings.HasPrefix(back, w.URLs["demo"]+"/") {
				t.Fatalf("the browser was sent to %s", back)
			}
			for end := time.Now().Add(10 * time.Second); ; <-time.After(50 * time.Millisecond) {
				res, text := fetch(t, b, back)
				if to, err := res.Location(); err == nil {
					back = to.String()
					continue
				}
				if strings.Contains(text, "Provsson") && strings.Contains(text, want) {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("the shop shows\n%s", text)
				}
			}
		})
	}
}

// TestCookiesOverHTTPS: they are those of a live server.
func TestCookiesOverHTTPS(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory", overTLS)
	id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}})
	for dest, want := range map[string]string{"document": "; HttpOnly; Secure; SameSite=Lax", "iframe": "; HttpOnly; Secure; SameSite=None; Partitioned"} {
		res, _ := fetch(t, w.HTTP, w.URLs["public"]+"/v2/Hosted/"+id+"/sbid-another/", "Sec-Fetch-Dest", dest)
		if got := res.Header.Values("Set-Cookie"); len(got) != 1 || !strings.HasPrefix(got[0], "__Host-eidgate_b=") || !strings.HasSuffix(got[0], want) || !strings.Contains(got[0], "; Path=/;") {
			t.Errorf("in a %s: %q", dest, got)
		}
	}
}

// TestKeptCA: who trusts the file of --data goes on trusting after a restart.
func TestKeptCA(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var first string
	for n := range 2 {
		t.Run("start", func(t *testing.T) {
			w := rig.StartDev(t, "memory", overTLS, func(o *server.DevOptions) { o.Data = dir })
			if n == 0 {
				first = w.CA
			}
			if w.CA != first || w.CAFile != filepath.Join(dir, "ca.pem") {
				t.Errorf("start %d: %s\n%s", n, w.CAFile, w.CA)
			}
			fetch(t, rig.Trusting(t, first), w.URLs["public"])
		})
	}
}

func TestNoCAOverHTTP(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	status, out := w.Call("GET", w.URLs["control"]+"/sandbox/v1/ca.pem", "", "")
	if help, _ := out["help"].(string); status != 404 || !strings.Contains(help, "start with --tls") || w.CA != "" {
		t.Errorf("%d %v", status, out)
	}
}
