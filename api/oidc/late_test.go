package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
)

// confirmed lets a person log in whose browser does not go back to the client,
// and is the page on which it stays.
func (v *visitor) confirmed(q url.Values) (page string) {
	v.w.t.Helper()
	res, err := v.http.Get(v.w.server.URL + "/auth/open/connect/authorize?" + q.Encode())
	if err != nil {
		v.w.t.Fatal(err)
	}
	_ = res.Body.Close()
	page = res.Header.Get("Location")
	id := strings.Split(page, "/")[4]
	u, err := url.Parse(v.w.server.URL)
	if err != nil {
		v.w.t.Fatal(err)
	}
	h := broker.Handle{}
	for _, c := range v.http.Jar.Cookies(u) {
		if c.Name == "b" {
			h.Cookie = c.Value
		}
	}
	if _, err := v.w.broker.Open(v.w.t.Context(), id, h, connector.Browser{}, nil, false); err != nil {
		v.w.t.Fatal(err)
	}
	s, err := v.w.broker.Session(v.w.t.Context(), v.w.account.ID, eid.Test, id)
	if err != nil || s.State != broker.Finished {
		v.w.t.Fatalf("%v, %v", s, err)
	}
	return page
}

// TestLate holds that a login which nobody has fetched is nobody's after a
// while: somebody else may sit at that browser.
func TestLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	w.in(t, "OP-SESS-08 a browser that comes back late", func(t *testing.T) {
		v := w.visitor()
		page := v.confirmed(request(c))
		w.clock.Advance(29 * time.Minute)
		if to := v.at(page); to.Query().Get("code") == "" || v.cookie() == "" {
			t.Errorf("within half an hour: %v", to)
		}
		v = w.visitor()
		page = v.confirmed(request(c))
		w.clock.Advance(31 * time.Minute)
		if to := v.at(page); to.Query().Get("error") != "access_denied" || to.Query().Get("code") != "" || v.cookie() != "" {
			t.Errorf("after half an hour: %v, cookie %q", to, v.cookie())
		}
	})
	w.in(t, "OP-HTTP-05 no page hears where a browser comes from", func(t *testing.T) {
		v := w.visitor()
		hint := w.tokens(c, v)["id_token"].(string)
		for _, path := range []string{"authorize?" + silent(c).Encode(), "endsession?" + url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://shop.example/out"}}.Encode()} {
			res, err := v.http.Get(w.server.URL + "/auth/open/connect/" + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusSeeOther || res.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%d %v", res.StatusCode, res.Header)
			}
		}
	})
}
