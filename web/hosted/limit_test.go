package hosted_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/web/hosted"
)

// many is a broker with sessions whose ids begin with "known", all of which
// wait with a code. It counts what reaches it.
type many struct {
	one
	calls *atomic.Int64
}

func (m many) Look(_ context.Context, id string, _ broker.Handle, _ connector.Browser) (*broker.View, error) {
	m.calls.Add(1)
	if !strings.HasPrefix(id, "known") {
		return nil, broker.ErrNotFound
	}
	return m.show()
}

// A crowd is people on pages that are limited, at a time that stands still.
type crowd struct {
	t     *testing.T
	pages *hosted.Pages
	now   time.Time
	calls atomic.Int64
}

func newCrowd(t *testing.T, rate int) *crowd {
	v := view("https://shop.example")
	v.Place, v.Step = broker.AtStep, connector.Wait{QR: "bankid.x.0.y", Hint: "bankidse.rfa1"}
	c := &crowd{t: t, now: now}
	c.pages = pages(t, v, true, hosted.Return{}, func(h *hosted.Config) {
		h.Broker, h.Rate, h.Clock = many{one{v}, &c.calls}, rate, func() time.Time { return c.now }
		h.Client = func(r *http.Request) netip.Addr { return netip.MustParseAddrPort(r.RemoteAddr).Addr() }
	})
	return c
}

// ask asks for a page or a part of it, or posts to it.
func (c *crowd) ask(place, method, id, rest string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://eid.example/s/"+rest, nil)
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(place), 1).String()
	r.Header.Set("Accept-Language", "sv")
	w := httptest.NewRecorder()
	rest, _, _ = strings.Cut(rest, "?")
	c.pages.Serve(w, r, id, rest)
	return w
}

// passed is how many of n requests are answered as usual; the others must not
// have reached the broker.
func (c *crowd) passed(n int, place, method, id, rest string) (passed int) {
	c.t.Helper()
	before := c.calls.Load()
	for range n {
		if w := c.ask(place, method, id, rest); w.Code != http.StatusTooManyRequests {
			passed++
		} else if w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Set-Cookie") != "" {
			c.t.Errorf("%s: %v", rest, w.Header())
		}
	}
	if reached := c.calls.Load() - before; method == http.MethodGet && reached != int64(passed) {
		c.t.Errorf("%d requests for %q passed, %d reached the broker", passed, rest, reached)
	}
	return passed
}

// Places that people of these tests are at.
const (
	office    = "192.0.2.1"
	home      = "192.0.2.2"
	network   = "2001:db8:0:1::7"
	neighbour = "2001:db8:0:1:ffff::8"
)

// TestPagesOfOneAddress: a hundred at once and twenty in a second, whichever
// sessions they are of, and whatever is done on them.
func TestPagesOfOneAddress(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 20)
	for _, x := range []struct {
		what, place, method, id, rest string
		wait                          time.Duration
		n, want                       int
	}{
		{"pages", office, "GET", "known-1", "", 0, 60, 60},
		{"of others at the same address", office, "GET", "known-2", "", 0, 30, 30},
		{"what is posted", office, "POST", "known-3", "start", 0, 5, 5},
		{"pages that there are not", office, "GET", "unknown", "", 0, 20, 5},
		{"nothing is left", office, "POST", "known-1", "cancel", 0, 5, 0},
		{"another address", home, "POST", "known-1", "cancel", 0, 120, 100},
		{"a network", network, "GET", "known-1", "?choose=1", 0, 60, 60},
		{"the same network", neighbour, "GET", "known-1", "", 0, 60, 40},
		{"half a second later", office, "GET", "known-1", "", time.Second / 2, 20, 10},
		{"and again", office, "GET", "known-1", "go", time.Second / 2, 20, 10},
	} {
		c.now = c.now.Add(x.wait)
		if x.rest == "go" { // which has a call of its own
			x.method = "HEAD"
		}
		if got := c.passed(x.n, x.place, x.method, x.id, x.rest); got != x.want {
			t.Errorf("%s: %d of %d passed, want %d", x.what, got, x.n, x.want)
		}
	}
}

// TestPollsOfOneSession: a waiting page may ask for each part of it twice in a
// second, however many pages its address has had; but not for parts of sessions
// that the address has not been shown.
func TestPollsOfOneSession(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 20)
	get := func(n int, place, id, rest string) int { t.Helper(); return c.passed(n, place, "GET", id, rest) }
	if get(1, office, "known-1", "") != 1 || get(200, office, "known-2", "") != 99 {
		t.Fatal("the address has not used up its pages")
	}
	for _, rest := range []string{"status?k=qr", "qr.svg", "frame"} {
		if got := get(20, office, "known-1", rest); got != 10 {
			t.Errorf("%s: %d of 20 at once, want 10", rest, got)
		}
	}
	if got := get(20, office, "known-2", "status?k=qr"); got != 10 {
		t.Errorf("another session: %d of 20, want 10", got)
	}
	if got := get(3, office, "known-3", "status?k=qr"); got != 0 {
		t.Errorf("%d polls of a session that nobody there has looked at", got)
	}
	polls := 0
	for range 40 { // four times as often as allowed, for ten seconds
		c.now = c.now.Add(time.Second / 4)
		polls += get(2, office, "known-1", "qr.svg")
	}
	if polls != 20 {
		t.Errorf("%d codes in ten seconds, want 20", polls)
	}
	// Whoever tries ids gets pages of them at most, and a session that begins at
	// a poll, since another node has shown its page, goes on.
	for range 300 {
		get(1, home, "unknown", "status")
	}
	if got := get(20, home, "known-1", "status"); got != 0 {
		t.Errorf("%d polls of an address that tries ids", got)
	}
	if got := get(20, network, "known-1", "status"); got != 11 {
		t.Errorf("%d polls at another address, want one as a page and 10", got)
	}
}

// TestBusy: what somebody sees who comes too often: a page that comes again by
// itself, wherever it is shown, and little for scripts and pictures.
func TestBusy(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1)
	c.passed(5, office, "GET", "known-1", "")
	c.passed(10, office, "GET", "known-1", "frame")
	for _, x := range []struct{ method, rest, to string }{
		{"GET", "", "./"}, {"GET", "?w=abc&choose=1", "./?w=abc&amp;choose=1"}, {"GET", "frame?big=1", "./frame?big=1"},
		{"GET", "go?pass=p", "./go?pass=p"}, {"POST", "start", "./"}, {"POST", "cancel?w=a%22b", "./?w=a%22b"},
	} {
		w := c.ask(office, x.method, "known-1", x.rest)
		page := w.Body.String()
		if w.Code != 429 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors *") || w.Header().Get("X-Frame-Options") != "" {
			t.Errorf("%s %s: %d %v", x.method, x.rest, w.Code, w.Header())
		}
		holds(t, page, `<html lang="sv"`, "<h1>Ett ögonblick</h1>", `<meta http-equiv="refresh" content="3;url=`+x.to+`">`, `<a class="button" href="`+x.to+`">`)
		if strings.Contains(page, "<noscript>") || strings.Contains(page, "<script") || strings.Contains(page, "<form") {
			t.Errorf("%s %s: it does more than come again\n%s", x.method, x.rest, page)
		}
	}
	c.passed(11, office, "GET", "known-1", "status")
	c.passed(11, office, "GET", "known-1", "qr.svg")
	for _, rest := range []string{"status?k=qr", "qr.svg?t=1"} {
		if w := c.ask(office, "GET", "known-1", rest); w.Code != 429 || w.Header().Get("Retry-After") != "1" || w.Body.Len() != 0 {
			t.Errorf("%s: %d %v %q", rest, w.Code, w.Header(), w.Body)
		}
	}
	if got := c.ask(home, "GET", "known-1", "frame").Code; got != 200 {
		t.Errorf("another address: %d", got)
	}
}

// TestReturnsOfOneAddress: who comes back from an eID does not wait for those
// who look at pages, and comes again with what the eID has said.
func TestReturnsOfOneAddress(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 20)
	c.passed(200, office, "GET", "known-1", "")
	back := func() *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "https://eid.example/callback/live/itsme?state=a&code=b", nil)
		r.RemoteAddr = office + ":1"
		w := httptest.NewRecorder()
		c.pages.Return(w, r, eid.Live, eid.Itsme)
		return w
	}
	for i := range 110 {
		w := back()
		if i < 100 && w.Code != http.StatusSeeOther || i >= 100 && (w.Code != 429 || w.Header().Get("Retry-After") != "1") {
			t.Fatalf("return %d: %d %v", i, w.Code, w.Header())
		}
		if i >= 100 {
			holds(t, w.Body.String(), `content="3;url=/callback/live/itsme?state=a&amp;code=b"`)
		}
	}
	c.now = c.now.Add(time.Second)
	if w := back(); w.Code != http.StatusSeeOther {
		t.Errorf("a second later: %d", w.Code)
	}
}

// TestNoLimits: where an operator wants none, and in the sandbox.
func TestNoLimits(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 0)
	for _, rest := range []string{"", "status", "qr.svg"} {
		if got := c.passed(500, office, "GET", "known-1", rest); got != 500 {
			t.Errorf("%q: %d of 500", rest, got)
		}
	}
}
