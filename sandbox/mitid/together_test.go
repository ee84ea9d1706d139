package mitid_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"eidgate/sandbox"
	"eidgate/sandbox/openid/openidtest"
)

// TestTogether: browsers, the control API and parties at the same time. A login
// ends once, the same for everybody, its code works once, and its number is
// compared three times.
func TestTogether(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	round := func() {
		page, ref := b.begin(t, asks(r))
		told := b.Changed()
		var wg sync.WaitGroup
		wg.Go(func() { b.send(t, http.MethodGet, page, nil) })
		wg.Go(func() { _, _ = b.Do(ref, sandbox.Act{Event: "approve", Person: "hanne"}) })
		wg.Go(func() { b.send(t, http.MethodPost, page, url.Values{"person": {"hanne"}}) })
		wg.Go(func() { b.send(t, http.MethodPost, page, url.Values{"with": {"chip"}}) })
		wg.Go(func() { b.send(t, http.MethodPost, page, url.Values{"act": {"cancel"}}) })
		wg.Go(func() { _, _ = b.Do(ref, sandbox.Act{Event: "decline"}) })
		wg.Go(func() {
			b.Orders(true)
			_, _ = b.Order(ref)
		})
		wg.Wait()
		<-told
		to := b.send(t, http.MethodGet, page, nil).Header().Get("Location")
		if n := openidtest.Together(4, func() bool { return b.send(t, http.MethodGet, page, nil).Header().Get("Location") == to }); n != 4 || !strings.HasPrefix(to, back) {
			t.Errorf("%d of 4 browsers go to %s", n, to)
		}
		u, err := url.Parse(to)
		if err != nil {
			t.Error(err)
			return
		}
		code := u.Query().Get("code")
		o, err := b.Order(ref)
		if err != nil || o.Pending || (o.Hint == "code") != (code != "") || u.Query().Has("error") == (code != "") {
			t.Errorf("%+v, %v, and the browser goes to %s", o, err, to)
		}
		if code == "" {
			return
		}
		var access atomic.Value
		if n := openidtest.Together(4, func() bool {
			w := b.send(t, http.MethodPost, op+"/connect/token", openidtest.Redeems(r, code))
			if w.Code == 200 {
				access.Store(openidtest.Read(t, w).Access)
			}
			return w.Code == 200
		}); n != 1 {
			t.Errorf("a code works %d times", n)
			return
		}
		token := fmt.Sprint("Bearer ", access.Load())
		var tries atomic.Int64
		if n := openidtest.Together(8, func() bool {
			if b.call(t, http.MethodPost, op+"/api/v1/mitid/matchCpr", "application/json", `{"cpr":"`+hanne+`"}`, token).Code == 200 {
				tries.Add(1)
			}
			return b.send(t, http.MethodGet, op+"/connect/userinfo", nil, token).Code == 200
		}); n != 8 || tries.Load() != 3 {
			t.Errorf("UserInfo %d times of 8, %d tries of 3", n, tries.Load())
		}
	}
	done := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() { // the control API, all the while
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			f := b.Faults.Add(sandbox.Fault{Target: "bankidno", Kind: sandbox.Status, Value: "503"})
			_, _ = b.People.Patch("hanne", func(p *sandbox.Person) error {
				p.Name, p.MitID.Authenticators = fmt.Sprint("Hanne ", i), []string{"chip", "app"}[:1+i%2]
				return nil
			})
			b.keys(t)
			b.fault(t, b.authorize(t, url.Values{}))
			b.Faults.Remove(f.ID)
		}
	})
	var browsers sync.WaitGroup
	for range 4 {
		browsers.Go(func() {
			for range 40 {
				round()
			}
		})
	}
	browsers.Wait()
	close(done)
	others.Wait()
}

// TestTries: wrong CPR numbers typed at the same time end a login, once.
func TestTries(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	for range 20 {
		page, ref := b.begin(t, asks(r, "ssn"))
		b.send(t, http.MethodPost, page, url.Values{"person": {"hanne"}})
		b.send(t, http.MethodPost, page, url.Values{"with": {"app"}})
		left := openidtest.Together(8, func() bool {
			w := b.send(t, http.MethodPost, page, url.Values{"act": {"cpr"}, "cpr": {"1"}})
			return openidtest.Location(t, w).Query().Get("error_description") == "mitid_cpr_match_failed"
		})
		if o, err := b.Order(ref); err != nil || o.Hint != "mitid_cpr_match_failed" || left != 6 {
			t.Errorf("%d of 8 are sent back, %+v, %v", left, o, err)
		}
	}
}

// TestOnce: what works once works once, however many come at the same time.
func TestOnce(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	secret, signs := b.party(t, "Secret", true), b.party(t, "Signs", false)
	for range 20 {
		q := asks(secret)
		q.Set("client_secret", secret.Secret)
		uri := openidtest.Read(t, b.send(t, http.MethodPost, op+"/connect/par", q)).URI
		if n := openidtest.Together(8, func() bool {
			return strings.HasPrefix(b.authorize(t, url.Values{"client_id": {secret.ClientID}, "request_uri": {uri}}).Header().Get("Location"), op+"/Account/")
		}); n != 1 {
			t.Errorf("a pushed request comes %d times", n)
		}
	}
	for i := range 20 {
		f := openidtest.Redeems(signs, "x")
		f.Del("client_secret")
		f.Set("client_assertion_type", assertionType)
		f.Set("client_assertion", openidtest.Sign(t, signs, b.assertion(signs, strings.Repeat("j", i+1))))
		if n := openidtest.Together(8, func() bool {
			return openidtest.Read(t, b.send(t, http.MethodPost, op+"/connect/token", f)).Error == "invalid_grant" // the client is known
		}); n != 1 {
			t.Errorf("an assertion works %d times", n)
		}
	}
	b.Faults.Add(sandbox.Fault{Target: "mitid.token", Kind: sandbox.Status, Value: "503", Times: 5})
	if n := openidtest.Together(20, func() bool {
		return b.send(t, http.MethodPost, op+"/connect/token", openidtest.Redeems(secret, "x")).Code == http.StatusServiceUnavailable
	}); n != 5 {
		t.Errorf("a fault of five times strikes %d times", n)
	}
}

// TestPeopleGo: people come and go while others give their user IDs.
func TestPeopleGo(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	var others sync.WaitGroup
	done := make(chan struct{})
	others.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			for _, p := range []string{"hanne", "udencpr", "beskyttet", "stille"} {
				_ = b.People.Remove(p)
			}
			b.People.Reset()
		}
	})
	openidtest.Together(8, func() bool {
		page, _ := b.begin(t, asks(r))
		for range 100 {
			b.send(t, http.MethodGet, page, nil)
			b.send(t, http.MethodPost, page, url.Values{"person": {"hanne"}})
			b.send(t, http.MethodPost, page, url.Values{"act": {"user"}, "user": {"stine88"}})
		}
		return true
	})
	close(done)
	others.Wait()
}

// TestWire: many logins over connections, while all is forgotten now and then.
func TestWire(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Approve)
	r := b.party(t, "Shop", true)
	srv := httptest.NewServer(b.http)
	defer srv.Close()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(address string) (string, bool) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(address, "http://mitid.example", srv.URL, 1), nil)
		if err != nil {
			t.Error(err)
			return "", false
		}
		res, err := browser.Do(req)
		if err != nil {
			t.Error(err)
			return "", false
		}
		res.Body.Close()
		return res.Header.Get("Location"), res.StatusCode == http.StatusFound
	}
	var through atomic.Int64
	n := openidtest.Together(100, func() bool {
		page, ok := get(op + "/connect/authorize?" + asks(r).Encode())
		if !ok {
			return false
		}
		if to, ok := get(page); ok && strings.HasPrefix(to, back) { // else it was forgotten meanwhile
			through.Add(1)
		}
		if through.Load()%10 == 9 {
			b.Clear()
		}
		return true
	})
	if n != 100 || through.Load() == 0 {
		t.Errorf("%d logins began, %d came back", n, through.Load())
	}
}
