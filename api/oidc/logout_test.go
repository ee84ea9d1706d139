package oidc_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/eid"
	"eidgate/relying"
)

// A shaky store fails at one call, once.
type shaky struct {
	oidc.Store
	mu   sync.Mutex
	fail string
	meet func() // runs once, when a grant is about to be written
}

func (s *shaky) broken(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != call {
		return nil
	}
	s.fail = ""
	return errors.New("the store is down")
}

func (s *shaky) RevokeSSO(ctx context.Context, sso string, now time.Time) (string, []string, error) {
	if err := s.broken("revoke"); err != nil {
		return "", nil, err
	}
	return s.Store.RevokeSSO(ctx, sso, now)
}

func (s *shaky) EndSSO(ctx context.Context, id string) error {
	if err := s.broken("end"); err != nil {
		return err
	}
	return s.Store.EndSSO(ctx, id)
}

func (s *shaky) PutGrant(ctx context.Context, g *oidc.Grant, pushed *[32]byte, sso *oidc.SSO, read broker.Audit) (bool, error) {
	s.mu.Lock()
	meet := s.meet
	s.meet = nil
	s.mu.Unlock()
	if meet != nil {
		meet()
	}
	return s.Store.PutGrant(ctx, g, pushed, sso, read)
}

// A shakyTeller fails to tell anybody, once.
type shakyTeller struct {
	oidc.Broker
	store *shaky
}

func (s shakyTeller) Tell(ctx context.Context, session string, out ...broker.Delivery) error {
	if err := s.store.broken("tell"); err != nil {
		return err
	}
	return s.Broker.Tell(ctx, session, out...)
}

// TestLogoutIsWhole holds that a logout which stops in the middle can be done
// again, and that none of the login is left over by it.
func TestLogoutIsWhole(t *testing.T) {
	t.Parallel()
	store := &shaky{}
	w := newWorld(t, func(c *oidc.Config) {
		store.Store = c.Store
		c.Store, c.Broker = store, shakyTeller{c.Broker, store}
	})
	c := w.client(func(c *relying.Client) { c.BackLogout = "https://shop.example/logout" })
	same := [2]string{"Sec-Fetch-Site", "same-origin"}
	for _, call := range []string{"revoke", "tell", "end"} {
		w.in(t, "OP-LO-04 OP-BCL-01 the store fails at: "+call, func(t *testing.T) {
			w.sent = nil
			v := w.visitor()
			out := w.tokens(c, v)
			store.fail = call
			if res := v.post(url.Values{"confirm": {"1"}}, same); res.StatusCode != http.StatusInternalServerError {
				t.Fatalf("%d", res.StatusCode)
			}
			if res := v.post(url.Values{"confirm": {"1"}}, same); res.StatusCode != http.StatusOK || res.Header.Get("X-Asks") != "" || v.cookie() != "" {
				t.Errorf("the second attempt: %d %v, cookie %q", res.StatusCode, res.Header, v.cookie())
			}
			if len(w.sent) == 0 {
				t.Error("the client was not told")
			}
			if status, _, _ := w.userinfo(out["access_token"].(string)); status != http.StatusUnauthorized {
				t.Errorf("userinfo: %d", status)
			}
			w.denied(t, v, silent(c), "login_required")
		})
	}
	w.in(t, "OP-LO-04 another tab asks while one logs out", func(t *testing.T) {
		w.sent = nil
		v := w.visitor()
		w.tokens(c, v)
		store.meet = func() {
			if res := v.post(url.Values{"confirm": {"1"}}, same); res.StatusCode != http.StatusOK {
				t.Errorf("%d", res.StatusCode)
			}
		}
		w.denied(t, v, silent(c), "login_required")
	})
}

// TestLogoutOfTwo holds that whoever logs out of the second login of a browser
// is out of the first one too.
func TestLogoutOfTwo(t *testing.T) {
	t.Parallel()
	store := &shaky{}
	w := newWorld(t, func(c *oidc.Config) { store.Store, c.Store = c.Store, store })
	told := func(c *relying.Client) { c.BackLogout = "https://shop.example/logout" }
	c, other := w.client(told), w.client(told)
	ended := func(t *testing.T, logins ...map[string]any) {
		t.Helper()
		for i, tokens := range logins {
			if status, _, _ := w.userinfo(tokens["access_token"].(string)); status != http.StatusUnauthorized {
				t.Errorf("login %d goes on: %d", i+1, status)
			}
		}
		ids := map[string]bool{}
		for _, d := range w.sent {
			ids[d.ID] = true
		}
		if w.sent = nil; len(ids) != len(logins) {
			t.Errorf("clients are told of %d logins", len(ids))
		}
	}
	w.in(t, "OP-LO-04 OP-BCL-01 of one person, with two clients", func(t *testing.T) {
		v := w.visitor()
		first := w.tokens(c, v)
		second := w.tokens(other, v, "prompt", "login")
		if res := v.end(url.Values{"id_token_hint": {second["id_token"].(string)}}); res.StatusCode != http.StatusOK || res.Header.Get("X-Asks") != "" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		ended(t, first, second)
		w.denied(t, v, silent(c), "login_required")
	})
	w.in(t, "OP-LO-04 OP-BCL-01 of two persons, with a hint of the first", func(t *testing.T) {
		v := w.visitor()
		first := w.tokens(c, v)
		var second map[string]any
		w.eids[eid.BankIDSE].as("199003032392", func() { second = w.tokens(c, v, "prompt", "login") })
		if payload(t, first["id_token"])["sid"] == payload(t, second["id_token"])["sid"] {
			t.Error("two persons have one login")
		}
		if res := v.end(url.Values{"id_token_hint": {first["id_token"].(string)}}); res.Header.Get("X-Asks") != "1" {
			t.Fatalf("%d", res.StatusCode)
		}
		res := v.post(w.fields, [2]string{"Sec-Fetch-Site", "same-origin"})
		if res.StatusCode != http.StatusOK || res.Header.Get("X-Asks") != "" || len(res.Header.Values("Set-Cookie")) != 1 {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		ended(t, first, second)
	})
	w.in(t, "OP-LO-04 the first ends while the second begins", func(t *testing.T) {
		v := w.visitor()
		first := w.tokens(c, v)
		store.meet = func() { w.visitor().end(url.Values{"id_token_hint": {first["id_token"].(string)}}) }
		second := w.tokens(c, v, "prompt", "login")
		if payload(t, first["id_token"])["sid"] == payload(t, second["id_token"])["sid"] {
			t.Error("a login goes on of which its client was told that it has ended")
		}
		w.code(v, silent(c))
		ended(t, first)
	})
}

// TestPageOfAnEndedLogin holds that the page of a login which was ended, by a
// logout or by a code that came twice, says nothing of it any more.
func TestPageOfAnEndedLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(func(c *relying.Client) { c.Profile, c.Hybrid = relying.Signicat, true })
	for name, end := range map[string]func(v *visitor, code string){
		"a logout": func(v *visitor, code string) {
			x := w.form("token", redeem(code), basic(c)...)
			v.end(url.Values{"id_token_hint": {x.json["id_token"].(string)}})
		},
		"a code that came twice": func(_ *visitor, code string) {
			for range 2 {
				w.form("token", redeem(code), basic(c)...)
			}
		},
	} {
		w.in(t, "OP-LO-04 after "+name, func(t *testing.T) {
			v := w.visitor()
			code := w.code(v, request(c, "response_type", "code id_token", "response_mode", "form_post"))
			end(v, code)
			_, to := v.follow(v.seen[0])
			if to == nil || to.Query().Get("error") == "" || to.Query().Get("code") != "" || to.Query().Get("id_token") != "" {
				t.Errorf("its page answers %v", to)
			}
		})
	}
}
