package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"eidgate/internal/golden"
)

// public is a server's public listener, as "eidgate serve" has it.
func public(t *testing.T) http.Handler {
	t.Helper()
	s := newHouse(t, "house")
	c := s.core(t, `
server: {public_url: "https://eid.example.com"}
store: {url: "sqlite:DIR/test.db"}
keys: {master_file: DIR/master}
test_eids:
  BANKID(house)
accounts:
  - {id: 7c1f6a0e-0000-4000-8000-000000000001, name: Shop, keys: [{environment: test, file: DIR/key}]}
`)
	t.Cleanup(func() {
		if err := c.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return c.handler
}

// TestConversations plays what a listener says of names that are not its own.
// The trace id is another one each time, and is left out.
func TestConversations(t *testing.T) {
	t.Parallel()
	golden.Talks(t, "testdata/*.txtar", func(t *testing.T) http.Handler {
		h := public(t)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			for k, v := range rec.Header() {
				if k != "X-Trace-Id" {
					w.Header()[k] = v
				}
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes()) // to a recorder
		})
	})
}

// Clients of the ZignSec API send the Host of its test system, build addresses
// with two slashes, and follow no redirects.
func TestOldClientsReachTheAPI(t *testing.T) {
	t.Parallel()
	h := public(t)
	for _, path := range []string{"/v2/eid/sbid", "//v2/eid/sbid", "/v2//EID/sbid_another/", "/eid/sbid", "/v2/bankidse//Authenticate", "//BankIDSE/Sign"} {
		r := httptest.NewRequest(http.MethodPost, "http://test.zignsec.com", strings.NewReader("target=nonsense"))
		r.URL.Path, r.RequestURI = path, path
		r.Header.Set("Authorization", testKey)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		body, err := io.ReadAll(rec.Body)
		if err != nil || rec.Code != http.StatusBadRequest || !strings.Contains(string(body), `"INVALID_`) {
			t.Errorf("%s: %d %s", path, rec.Code, body)
		}
	}
}

// TestHostedAddresses: whoever comes with a browser sees a page, also at an
// address that leads nowhere.
func TestHostedAddresses(t *testing.T) {
	t.Parallel()
	h := public(t)
	for address, want := range map[string]string{
		"/v2/Hosted":                   "404 text/html; charset=utf-8",
		"/v2/Hosted/":                  "404 text/html; charset=utf-8",
		"/v2/Hosted/ab/":               "404 text/html; charset=utf-8",
		"/v2/Hosted/ab/sbid/":          "404 text/html; charset=utf-8",
		"/v2/Hosted/ab/sbid/nothing":   "404 text/html; charset=utf-8",
		"/v2/Hosted/ab/nothing":        "404 text/html; charset=utf-8",
		"/v2/Hosted/ab?x=1":            "303 /v2/Hosted/ab/?x=1",
		"/v2/hosted/ab/SBID_ANOTHER":   "303 /v2/hosted/ab/SBID_ANOTHER/",
		"//v2//Hosted/ab/se?x=%2F":     "303 /v2/Hosted/ab/se/?x=%2F",
		"/v2/Hosted/%2Fevil.example":   "303 /v2/Hosted/evil.example/",
		"/v2/Hosted/a%3Fb":             "303 /v2/Hosted/a%3Fb/",
		"/v2/eid/ab/sbid-another/page": "404 application/json; charset=utf-8",
	} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "https://eid.example.com/", nil)
		var err error
		if r.URL, err = url.ParseRequestURI(address); err != nil {
			t.Fatal(err)
		}
		h.ServeHTTP(rec, r)
		got := fmt.Sprint(rec.Code, " ", rec.Header().Get("Content-Type"))
		if rec.Code == http.StatusSeeOther {
			got = "303 " + rec.Header().Get("Location")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestHostedPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][2]string{
		"/v2/Hosted/AB/sbid/":          {"ab", ""},
		"/v2/hosted/ab/SBID_ANOTHER":   {"ab", "SBID_ANOTHER"},
		"//v2//Hosted//ab//sbid//":     {"ab", ""},
		"//v2//Hosted/ab/sbid//status": {"ab", "status"},
		"/v2/Hosted/ab/":               {"ab", ""},
		"/v2/Hosted/ab/submit":         {"ab", "submit"},
		"/v2/Hosted/ab":                {"ab", ""},
		"/v2/hosted/":                  {"", ""},
	} {
		if id, rest, ok := hostedPath(path); !ok || id != want[0] || rest != want[1] {
			t.Errorf("hostedPath(%q) = %q, %q, %v, want %q", path, id, rest, ok, want)
		}
	}
	for _, path := range []string{"/", "/v2", "/v2/eid/ab/x", "/v3/Hosted/ab/sbid/"} {
		if id, rest, ok := hostedPath(path); ok {
			t.Errorf("hostedPath(%q) = %q, %q", path, id, rest)
		}
	}
}
