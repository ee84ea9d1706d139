package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"eidgate/web"
)

// TestPageRate: pages of both APIs and what eIDs send back are limited for the
// address that the configured proxies tell; static files and documentation
// are not.
func TestPageRate(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	static, err := web.NewStatic()
	if err != nil {
		t.Fatal(err)
	}
	const config = `
server: {public_url: "http://localhost:8443", trusted_proxies: [10.0.0.0/8], page_rate: 1}
store: {url: "sqlite:DIR/NAME.db"}
keys: {master_file: DIR/master}
test_eids: {BANKID(house)}
accounts: [{id: 7c1f6a0e-0000-4000-8000-000000000001, name: Shop, keys: [{environment: test, file: DIR/key}]}]
`
	usual := s.config(t, strings.Replace(config, ", page_rate: 1", "", 1))
	if got := usual.Server.pageRate(); got != 20 {
		t.Errorf("%d pages in a second by default", got)
	}
	refused := func(c *core, path, forwarded string) (n int) {
		for range 40 {
			r := httptest.NewRequest(http.MethodGet, "http://localhost:8443"+path, nil)
			r.RemoteAddr = "10.0.0.1:1"
			r.Header.Set("X-Forwarded-For", forwarded)
			w := httptest.NewRecorder()
			if c.handler.ServeHTTP(w, r); w.Code == http.StatusTooManyRequests {
				n++
			}
		}
		return n
	}
	const (
		page     = "/v2/Hosted/11111111-1111-4111-8111-111111111111/sbid/"
		login    = "/auth/open/login/11111111-1111-4111-8111-111111111111/status"
		callback = "/callback/test/bankidse?x=1"
	)
	limited, free := s.core(t, strings.Replace(config, "NAME", "limited", 1)), s.core(t, strings.NewReplacer("NAME", "free", "page_rate: 1", "page_rate: 0").Replace(config))
	for _, x := range []struct {
		path, from string
		limited    bool
	}{
		{page, "192.0.2.1", true}, {login, "192.0.2.2", true}, {callback, "192.0.2.1", true}, {page, "2001:db8::1", true},
		{static.Path("page.css"), "192.0.2.1", false}, {"/docs", "192.0.2.1", false},
	} {
		if n := refused(free, x.path, x.from); n != 0 {
			t.Errorf("without a limit: %d of %s were refused", n, x.path)
		}
		if n := refused(limited, x.path, x.from); (n > 0) != x.limited || n > 35 {
			t.Errorf("%s: %d of 40 were refused", x.path, n)
		}
	}
}
