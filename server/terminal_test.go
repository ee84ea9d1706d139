package server

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"eidgate/internal/golden"
)

func noon() time.Time { return time.Date(2026, 11, 25, 12, 1, 7, 0, time.UTC) }

// TestScreen holds the screen of "eidgate dev": 80 columns at most, the same
// with and without colours.
func TestScreen(t *testing.T) {
	t.Parallel()
	r := &ready{Version: "1.0.0", URLs: map[string]string{"public": "http://localhost:8700", "demo": "http://localhost:8704", "control": "http://localhost:8703"},
		Accounts: []readyAccount{{"demo", sandboxAccount, sandboxKey, sandboxSecret,
			readyOIDC{"http://localhost:8700/auth/open", sandboxClient, sandboxClientSecret}}}}
	show := func(color bool) string {
		var b bytes.Buffer
		tm := &terminal{err: &b, color: color, now: noon}
		tm.screen(r, "BankID SE", "in memory, gone when you stop; --data DIR keeps it", 300*time.Millisecond,
			[]string{"WARNING: everybody in this network can use this sandbox, and decide its logins."})
		return b.String()
	}
	got := show(false)
	secure := &ready{Version: "1.0.0", URLs: map[string]string{}, Accounts: slices.Clone(r.Accounts), CA: "-----BEGIN CERTIFICATE-----"}
	for name, at := range r.URLs {
		secure.URLs[name] = strings.Replace(at, "http:", "https:", 1)
	}
	secure.Accounts[0].OIDC.Issuer = "https://localhost:8700/auth/open"
	var https bytes.Buffer
	for _, secure.CAFile = range []string{"", "/tmp/data/ca.pem"} {
		(&terminal{err: &https, now: noon}).screen(secure, "BankID SE", "in /tmp/data", 300*time.Millisecond, nil)
	}
	golden.File(t, "testdata/screen-tls.txt", https.Bytes())
	golden.File(t, "testdata/screen.txt", []byte(got))
	for l := range strings.Lines(got + https.String()) {
		if utf8.RuneCountInString(l) > 81 {
			t.Errorf("wider than 80 columns: %s", l)
		}
	}
	colored := show(true)
	if got := strings.NewReplacer(bold, "", dim, "", red, "", green, "", plain, "").Replace(colored); colored == got || got != show(false) {
		t.Errorf("with colours it says something else:\n%s", got)
	}
	var b bytes.Buffer
	(&terminal{err: &b, quiet: true, now: noon}).screen(r, "", "", 0, nil)
	if b.Len() > 0 {
		t.Errorf("--quiet prints %s", b.String())
	}
}

// TestFolding holds that a refusal that comes again and again is counted: in
// place on a screen, at the end elsewhere.
func TestFolding(t *testing.T) {
	t.Parallel()
	refuse := func(tm *terminal, path string) {
		tm.refusal(httptest.NewRequest(http.MethodPost, path, nil), 401, http.Header{"X-Eidgate-Error": {"INVALID_APPID"}},
			[]byte(`{"id":"x","errors":[{"code":"INVALID_APPID","description":"The access token is not known."}]}`))
	}
	const entry = "12:01:07  POST /v2/eid/sbid  401 INVALID_APPID\n          The access token is not known.\n          localhost:8700/docs/errors/INVALID_APPID\n"
	for name, c := range map[string]struct {
		live bool
		want string
	}{
		"a file":   {false, entry + "          ×14\n" + strings.ReplaceAll(entry, "sbid", "se")},
		"a screen": {true, entry + "          ×2\n" + strings.Repeat(above+"          ×N\n", 12) + strings.ReplaceAll(entry, "sbid", "se")},
	} {
		var b bytes.Buffer
		tm := &terminal{err: &b, live: c.live, now: noon, docs: "localhost:8700/docs"}
		for range 14 {
			refuse(tm, "/v2/eid/sbid")
		}
		refuse(tm, "/v2/eid/se")
		tm.close()
		got := b.String()
		for _, n := range []string{"3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14"} {
			if c.live {
				got = strings.Replace(got, above+"          ×"+n+"\n", above+"          ×N\n", 1)
			}
		}
		if got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// TestRefusalsOfOAuth have their cause at another place.
func TestRefusalsOfOAuth(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	tm := &terminal{err: &b, now: noon, docs: "localhost:8700/docs"}
	tm.refusal(httptest.NewRequest(http.MethodPost, "/auth/open/connect/token?code=secret", nil), 400, http.Header{"X-Eidgate-Error": {"invalid_grant"}},
		[]byte(`{"error":"invalid_grant","error_uri":"https://eid.example/","error_description":"The provided authorization grant is invalid."}`))
	const want = "12:01:07  POST /auth/open/connect/token  400 invalid_grant\n          The provided authorization grant is invalid.\n          localhost:8700/docs/errors/invalid_grant\n"
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

// TestRefusalsArePlain holds that what a client sends cannot drive the
// terminal.
func TestRefusalsArePlain(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	tm := &terminal{err: &b, now: noon}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL.Path = "/v2/eid/\x1b[2J\r\nfake"
	tm.refusal(r, 404, http.Header{"X-Eidgate-Error": {"X"}}, []byte("no json"))
	if strings.ContainsAny(b.String(), "\x1b\r") || strings.Count(b.String(), "\n") != 2 {
		t.Errorf("%q", b.String())
	}
}
