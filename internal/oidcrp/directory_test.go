package oidcrp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"eidgate/internal/oidcrp"
)

// TestNotSent: a node that has just started asks for metadata before it sends a
// code. If that goes wrong, the code is as good as before.
func TestNotSent(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"redirect": redirect,
		"too long": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 300<<10)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			_, l := p.begin(t, p.client(t), oidcrp.Request{})
			p.instead["/.well-known/openid-configuration"] = h
			_, err := p.client(t).Redeem(t.Context(), l, "code-1")
			if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Sent || p.count("/token") != 0 {
				t.Errorf("%v with %d calls, want one that was not sent", err, p.count("/token"))
			}
		})
	}
}

// flood answers with zeros until somebody has enough of them, and counts them.
type flood struct{ read int }

func (f *flood) Read(p []byte) (int, error) {
	if f.read += len(p); f.read > 1<<20 {
		return 0, io.EOF
	}
	return len(p), nil
}

// A silent provider says nothing, or does not end.
type silent struct{ body *flood }

func (s silent) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.body != nil {
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(s.body), Request: r}, nil
	}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestSilence: a provider that does not answer is waited for eight seconds,
// however long the caller would wait.
func TestSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := oidcrp.New(oidcrp.Config{Issuer: "https://provider.example", ClientID: "me", Auth: oidcrp.SecretPost, Secret: "s"}, oidcrp.NewDirectory(silent{}, time.Now))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, _, err = c.Begin(t.Context(), oidcrp.Request{})
		if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Kind != oidcrp.Timeout || time.Since(began) != 8*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestEndless: an answer is not read further than it may be long.
func TestEndless(t *testing.T) {
	t.Parallel()
	body := &flood{}
	c, err := oidcrp.New(oidcrp.Config{Issuer: "https://provider.example", ClientID: "me", Auth: oidcrp.SecretPost, Secret: "s"}, oidcrp.NewDirectory(silent{body}, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Begin(t.Context(), oidcrp.Request{})
	if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Kind != oidcrp.TooLarge || body.read > 600<<10 {
		t.Errorf("%v after %d bytes", err, body.read)
	}
}

// A metered provider counts who asks for its metadata, and lets them wait or fail.
type metered struct {
	calls, status int
	gate          chan struct{} // nil for an answer at once
}

func (m *metered) RoundTrip(r *http.Request) (*http.Response, error) {
	m.calls++
	if m.gate != nil {
		select {
		case <-m.gate:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	res, err := many{}.RoundTrip(r)
	res.StatusCode = m.status
	return res, err
}

// TestRefresh: after an hour one login, and no other, has newer metadata fetched,
// for which nobody waits; if that goes wrong, not again for five seconds.
func TestRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, w := &metered{status: 200}, &watch{}
		w.at.Store(start.UnixMicro())
		c, err := oidcrp.New(oidcrp.Config{Issuer: "https://provider.example", ClientID: "me", Auth: oidcrp.SecretPost, Secret: "s"}, oidcrp.NewDirectory(p, w.now))
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range []struct {
			wait   time.Duration
			status int
			slow   bool
			want   int // calls in all
		}{
			{0, 200, false, 1}, {59 * time.Minute, 200, false, 1}, {time.Minute, 502, true, 2}, {4 * time.Second, 502, false, 2}, {time.Second, 502, true, 3},
			{5 * time.Second, 200, true, 4}, {59 * time.Minute, 200, false, 4}, {time.Minute, 200, false, 5},
		} {
			w.wait(x.wait)
			if p.status, p.gate = x.status, nil; x.slow {
				p.gate = make(chan struct{})
			}
			for range 3 {
				ctx, cancel := context.WithCancel(t.Context())
				_, _, err := c.Begin(ctx, oidcrp.Request{})
				synctest.Wait()
				if cancel(); err != nil { // who began is served, and gone
					t.Fatal(err)
				}
				synctest.Wait()
			}
			if x.slow {
				close(p.gate)
			}
			synctest.Wait()
			if p.calls != x.want {
				t.Errorf("step %d: asked %d times, want %d", i, p.calls, x.want)
			}
		}
	})
}

// TestForgets: of so many providers the one that was asked for longest ago is
// forgotten, and fetched anew.
func TestForgets(t *testing.T) {
	t.Parallel()
	const most = 1024
	p := &metered{status: 200}
	d := oidcrp.NewDirectory(p, func() time.Time { return start })
	begin := func(i, want int) {
		t.Helper()
		c, err := oidcrp.New(oidcrp.Config{Issuer: fmt.Sprintf("https://p%d.example", i), ClientID: "me", Auth: oidcrp.SecretPost, Secret: "s"}, d)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Begin(t.Context(), oidcrp.Request{}); err != nil || p.calls != want {
			t.Errorf("provider %d: asked %d times, want %d; %v", i, p.calls, want, err)
		}
	}
	for i := range most {
		begin(i, i+1)
	}
	begin(1, most)
	begin(most, most+1)
	begin(1, most+1)
	begin(0, most+2)
}

// TestOtherClient: what one client has agreed on wrongly is not the others' loss.
func TestOtherClient(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	d := oidcrp.NewDirectory(http.DefaultTransport, p.watch.now)
	wrong := p.clientOf(t, d, func(c *oidcrp.Config) { c.Issuer += "/" }) // its metadata have the same address
	_, err := wrong.Metadata(t.Context())
	if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Kind != oidcrp.WrongIssuer {
		t.Errorf("another issuer: %v", err)
	}
	if _, err := p.clientOf(t, d).Metadata(t.Context()); err != nil {
		t.Errorf("the right issuer, after a wrong one: %v", err)
	}
	if _, err := wrong.Metadata(t.Context()); err == nil {
		t.Error("a wrong issuer takes the copy of the right one")
	}
}

// TestPlainEndpoints: an issuer with https has nothing with http, whoever has
// fetched the metadata.
func TestPlainEndpoints(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "pushed_authorization_request_endpoint"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var base string
			srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				m := map[string]any{"issuer": base, "authorization_endpoint": base + "/a", "token_endpoint": base + "/t", "jwks_uri": base + "/k"}
				m[name] = strings.Replace(base, "https:", "http:", 1) + "/x"
				answer(w, 200, m)
			}))
			t.Cleanup(srv.Close)
			base = srv.URL
			d := oidcrp.NewDirectory(srv.Client().Transport, time.Now)
			for _, lenient := range []bool{true, false} {
				c, err := oidcrp.New(oidcrp.Config{Issuer: base, ClientID: "me", Auth: oidcrp.SecretPost, Secret: "s", AllowHTTP: lenient}, d)
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.Metadata(t.Context())
				if e, ok := errors.AsType[*oidcrp.Error](err); lenient && err != nil || !lenient && (!ok || e.Kind != oidcrp.BadMetadata) {
					t.Errorf("lenient %v: %v", lenient, err)
				}
			}
		})
	}
}

// TestNothingWithAnError: tokens that were refused are not handed out.
func TestNothingWithAnError(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.claims = func(m map[string]any) { m["nonce"] = "another" }
	c := p.client(t)
	_, l := p.begin(t, c, oidcrp.Request{})
	raw, err := c.Redeem(t.Context(), l, "code-1")
	if err != nil {
		t.Fatal(err)
	}
	if tokens, err := c.Read(t.Context(), l, raw, p.watch.now()); err == nil || tokens != nil {
		t.Errorf("tokens %v with %v", tokens, err)
	}
}
