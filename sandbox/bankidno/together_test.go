package bankidno_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"eidgate/sandbox"
	"eidgate/sandbox/bankidno"
	"eidgate/sandbox/openid/openidtest"
)

// TestTogether: browsers, the control API and parties at the same time. A login
// ends once, the same for everybody, and its code works once.
func TestTogether(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.party(t, "Shop", true)
	round := func() {
		page, ref := b.begin(t, r, asks(r, "phone"))
		told := b.Changed()
		var wg sync.WaitGroup
		wg.Go(func() { b.send(t, http.MethodGet, page, nil) })
		wg.Go(func() { _, _ = b.Do(ref, sandbox.Act{Event: "approve", Person: "ola"}) })
		wg.Go(func() { b.send(t, http.MethodPost, page, url.Values{"act": {"BIS"}}) })
		wg.Go(func() { b.send(t, http.MethodPost, page, url.Values{"person": {"ola"}}) })
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
		n := openidtest.Together(4, func() bool {
			w := b.send(t, http.MethodPost, r.Issuer+tokenPath, openidtest.Redeems(r, code))
			if w.Code != 200 {
				return false
			}
			if openidtest.Read(t, w).ID == "" || openidtest.Together(2, func() bool {
				return b.send(t, http.MethodGet, tinfo+"/userinfo", nil, "Bearer "+openidtest.Read(t, w).Access).Code == 200
			}) != 2 {
				t.Error("a login without its tokens")
			}
			return true
		})
		if n != 1 {
			t.Errorf("a code works %d times", n)
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
			f := b.Faults.Add(sandbox.Fault{Target: "mitid", Kind: sandbox.Status, Value: "503"})
			_, _ = b.Change(func(s *bankidno.Settings) error {
				s.API, s.Biometrics = []string{"v1", "v2"}[i%2], i%3 == 0
				return nil
			})
			_, _ = b.People.Patch("ola", func(p *sandbox.Person) error {
				p.BankIDNO.Phone, p.BankIDNO.Kinds = "+4788888888", []string{"BID", "BIS"}[:1+i%2]
				return nil
			})
			b.keys(t, r)
			b.send(t, http.MethodGet, r.Issuer+"/.well-known/openid-configuration", nil)
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

// TestOnce: what works once works once, however many come at the same time.
func TestOnce(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	secret, signs := b.party(t, "Secret", true), b.party(t, "Signs", false)
	for range 20 {
		q := asks(secret)
		q.Set("client_secret", secret.Secret)
		uri := openidtest.Read(t, b.send(t, http.MethodPost, secret.Issuer+parPath, q)).URI
		if n := openidtest.Together(8, func() bool {
			return b.authorize(t, secret, url.Values{"client_id": {secret.ClientID}, "request_uri": {uri}}).Code == http.StatusSeeOther
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
			return openidtest.Read(t, b.send(t, http.MethodPost, signs.Issuer+tokenPath, f)).Error == "invalid_grant" // the client is known
		}); n != 1 {
			t.Errorf("an assertion works %d times", n)
		}
	}
	b.Faults.Add(sandbox.Fault{Target: "bankidno.token", Kind: sandbox.Status, Value: "503", Times: 5})
	if n := openidtest.Together(20, func() bool {
		return b.send(t, http.MethodPost, secret.Issuer+tokenPath, openidtest.Redeems(secret, "x")).Code == http.StatusServiceUnavailable
	}); n != 5 {
		t.Errorf("a fault of five times strikes %d times", n)
	}
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
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(address, "http://bankid.example", srv.URL, 1), nil)
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
		return res.Header.Get("Location"), res.StatusCode == http.StatusSeeOther
	}
	var through atomic.Int64
	n := openidtest.Together(100, func() bool {
		page, ok := get(r.Issuer + "/precheck/auth?" + asks(r).Encode())
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
