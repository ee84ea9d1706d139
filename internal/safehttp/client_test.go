package safehttp_test

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/internal/safehttp"

	"golang.org/x/net/dns/dnsmessage"
)

func get(t *testing.T, c *safehttp.Client, url string) (*safehttp.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.Do(t.Context(), req)
}

func wantReason(t *testing.T, err error, want safehttp.Reason) {
	t.Helper()
	var e *safehttp.Error
	if !errors.As(err, &e) || e.Reason != want {
		t.Fatalf("error %v, want %s", err, want)
	}
	for _, leak := range []string{"127.0.0.1", "169.254", "example", "::1", "localhost"} {
		if strings.Contains(err.Error(), leak) {
			t.Errorf("the error tells %q: %v", leak, err)
		}
	}
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Encoding", "gzip") // not decompressed, so it need not be true
		w.WriteHeader(http.StatusGone)
		_, _ = fmt.Fprintf(w, "%s %s accept-encoding=%q", r.Method, body, r.Header.Get("Accept-Encoding"))
	})
	c := safehttp.New(safehttp.Config{Policy: sandbox})
	defer c.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/hook", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != http.StatusGone || string(res.Body) != `POST hello accept-encoding=""` || res.Truncated {
		t.Errorf("answer %d %q, truncated %v", res.Status, res.Body, res.Truncated)
	}
}

func TestBodyIsBounded(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		size      int
		truncated bool
	}{{safehttp.MaxBody, false}, {safehttp.MaxBody + 1, true}, {50 << 20, true}} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			chunk := make([]byte, 1<<16)
			for n := v.size; n > 0; n -= len(chunk) {
				if _, err := w.Write(chunk[:min(n, len(chunk))]); err != nil {
					return
				}
			}
		})
		res, err := get(t, safehttp.New(safehttp.Config{Policy: sandbox}), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Body) > safehttp.MaxBody || res.Truncated != v.truncated {
			t.Errorf("of %d bytes: got %d, truncated %v", v.size, len(res.Body), res.Truncated)
		}
	}
}

// A body that never ends does not undo that the headers said yes.
func TestEndlessBody(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c := safehttp.New(safehttp.Config{Policy: sandbox, Timeouts: safehttp.Timeouts{Total: 200 * time.Millisecond}})
	res, err := get(t, c, s.URL)
	if err != nil || res.Status != http.StatusOK || !res.Truncated {
		t.Errorf("answer %+v, %v", res, err)
	}
}

// Nobody asked for another protocol, whose end no deadline would bound.
func TestSwitchingProtocolsIsNoAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = conn.Read(make([]byte, 1)) // until the other side hangs up
	})
	done := make(chan error, 1)
	go func() {
		_, err := get(t, safehttp.New(safehttp.Config{Policy: sandbox, Timeouts: safehttp.Timeouts{Total: 200 * time.Millisecond}}), s.URL)
		done <- err
	}()
	select {
	case err := <-done:
		wantReason(t, err, safehttp.Bad)
	case <-time.After(5 * time.Second):
		s.CloseClientConnections()
		t.Error("it waits on")
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	})
	_, err := get(t, safehttp.New(safehttp.Config{Policy: sandbox}), s.URL)
	wantReason(t, err, safehttp.Redirect)
	var e *safehttp.Error
	if errors.As(err, &e); e.Status != http.StatusFound || calls.Load() != 1 {
		t.Errorf("status %d, %d calls", e.Status, calls.Load())
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	plain := func(answer string) string { // a server that says one thing and hangs up
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Read(make([]byte, 1024))
				_, _ = io.WriteString(c, answer)
				_ = c.Close()
			}
		}()
		return l.Addr().String()
	}
	hang := make(chan struct{})
	slow := serve(t, func(http.ResponseWriter, *http.Request) { <-hang })
	t.Cleanup(func() { close(hang) }) // runs before the server's own end
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	for name, v := range map[string]struct {
		url      string
		timeouts safehttp.Timeouts
		want     safehttp.Reason
	}{
		"nobody listens":     {url: "http://127.0.0.1:1", want: safehttp.Refused},
		"hangs up":           {url: "http://" + plain(""), want: safehttp.Refused},
		"not HTTP":           {url: "http://" + plain("hello\r\n\r\n"), want: safehttp.Bad},
		"headers too long":   {url: "http://" + plain("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 10<<20)+"\r\n\r\n"), want: safehttp.Bad},
		"no headers in time": {url: slow.URL, timeouts: safehttp.Timeouts{Header: 100 * time.Millisecond}, want: safehttp.Timeout},
		"nothing in time":    {url: slow.URL, timeouts: safehttp.Timeouts{Total: 100 * time.Millisecond}, want: safehttp.Timeout},
		"unknown authority":  {url: secure.URL, want: safehttp.TLS},
		"not TLS":            {url: "https://" + plain("hello hello hello\r\n"), want: safehttp.TLS},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := get(t, safehttp.New(safehttp.Config{Policy: sandbox, Timeouts: v.timeouts}), v.url)
			wantReason(t, err, v.want)
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") }))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := safehttp.New(safehttp.Config{Policy: sandbox, Roots: roots})
	t.Cleanup(c.Close)
	if body, err := c.Get(t.Context(), s.URL); err != nil || string(body) != "[]" {
		t.Errorf("Get = %q, %v", body, err)
	}
	wrong := strings.Replace(s.URL, "127.0.0.1", "localhost", 1) // not a name of its certificate
	_, err := get(t, safehttp.New(safehttp.Config{Policy: sandbox, Roots: roots}), wrong)
	wantReason(t, err, safehttp.TLS)
}

// TestWhole: Get gives a document, or an error; never a part of one.
func TestWhole(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/long":
			_, _ = w.Write(make([]byte, safehttp.MaxBody+1))
		}
		_, _ = io.WriteString(w, "{}")
	})
	c := safehttp.New(safehttp.Config{Policy: sandbox})
	t.Cleanup(c.Close)
	if body, err := c.Get(t.Context(), s.URL); err != nil || string(body) != "{}" {
		t.Errorf("Get = %q, %v", body, err)
	}
	for path, want := range map[string]safehttp.Reason{"/gone": safehttp.Bad, "/long": safehttp.Bad} {
		body, err := c.Get(t.Context(), s.URL+path)
		if wantReason(t, err, want); body != nil {
			t.Errorf("%s: %d bytes with the error", path, len(body))
		}
	}
	_, err := c.Get(t.Context(), "http://shop.example/") // which the policy does not accept
	wantReason(t, err, safehttp.Invalid)
}

// TestSentAsChecked: what goes out is the address that was checked, whatever
// host the request names besides.
func TestSentAsChecked(t *testing.T) {
	t.Parallel()
	host := make(chan string, 1)
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { host <- r.Host })
	c := safehttp.New(safehttp.Config{Policy: sandbox})
	t.Cleanup(c.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "inside.example"
	if _, err := c.Do(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if got := <-host; got != s.Listener.Addr().String() {
		t.Errorf("host %q, want %q", got, s.Listener.Addr())
	}
}

// TestBlockedIsTold counts refusals of the policy, and nothing else that fails.
func TestBlockedIsTold(t *testing.T) {
	t.Parallel()
	var told atomic.Int32
	c := safehttp.New(safehttp.Config{Policy: sandbox, Blocked: func() { told.Add(1) }})
	_, err := get(t, c, "http://127.0.0.1:1")
	wantReason(t, err, safehttp.Refused)
	_, err = get(t, c, "ftp://127.0.0.1")
	wantReason(t, err, safehttp.Invalid)
	if n := told.Load(); n != 0 {
		t.Errorf("told %d times of what was not blocked", n)
	}
	_, err = get(t, c, "https://shop.example:22")
	wantReason(t, err, safehttp.Blocked)
	if n := told.Load(); n != 1 {
		t.Errorf("told %d times, want once", n)
	}
	_, err = get(t, safehttp.New(safehttp.Config{Policy: sandbox}), "https://shop.example:22") // with nobody to tell
	wantReason(t, err, safehttp.Blocked)
}

func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) { cancel(); <-done })
	t.Cleanup(func() { close(done) })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := safehttp.New(safehttp.Config{Policy: sandbox})
	t.Cleanup(c.Close)
	_, err = c.Do(ctx, req)
	wantReason(t, err, safehttp.Stopped)
	if !errors.Is(err, context.Canceled) {
		t.Error("the cause is not context.Canceled")
	}
}

// A proxy of the environment would resolve names unchecked.
func TestNoProxy(t *testing.T) {
	var calls atomic.Int32
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	c := safehttp.New(safehttp.Config{Policy: safehttp.Policy{HTTP: true}, Resolver: resolver(nil)})
	_, err := get(t, c, "http://shop.example/")
	wantReason(t, err, safehttp.DNS)
	if calls.Load() != 0 {
		t.Error("the proxy was asked")
	}
}

// Names that lead inside are stopped before a packet leaves, whatever their
// records say and however often they change.
func TestNamesThatLeadInside(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			_ = c.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string][]string{
		"loop.example.":    {"127.0.0.1"},
		"mapped.example.":  {"::ffff:127.0.0.1"},
		"both.example.":    {"::1", "127.0.0.1"},
		"alias.example.":   {"next.example."},
		"next.example.":    {"127.0.0.1"},
		"rebound.example.": {"10.0.0.1", "127.0.0.1"},
	}
	for i, s := range ranges {
		hosts[fmt.Sprintf("range%d.example.", i)] = []string{netip.MustParsePrefix(s).Addr().String()}
	}
	var told int
	for name := range hosts {
		c := safehttp.New(safehttp.Config{
			Policy:   safehttp.Policy{HTTP: true, AnyPort: true},
			Resolver: resolver(hosts),
			Blocked:  func() { told++ },
		})
		_, err := get(t, c, "http://"+strings.TrimSuffix(name, ".")+":"+port+"/")
		wantReason(t, err, safehttp.Blocked)
	}
	if n := calls.Load(); n != 0 || told != len(hosts) {
		t.Errorf("%d connections reached the listener, and %d of %d were told of", n, told, len(hosts))
	}
	c := safehttp.New(safehttp.Config{Policy: safehttp.Policy{HTTP: true, AnyPort: true, Networks: prefixes("127.0.0.0/8")}, Resolver: resolver(hosts)})
	if _, err := get(t, c, "http://loop.example:"+port+"/"); err == nil || calls.Load() == 0 {
		t.Errorf("an accepted network was not reached: %v", err)
	}
}

// resolver answers from a table: names lead to addresses or to another name.
// The pure Go resolver asks it over a pipe, as it asks a server over TCP.
func resolver(hosts map[string][]string) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go answer(theirs, hosts)
			return ours, nil
		},
	}
}

func answer(c net.Conn, hosts map[string][]string) {
	defer func() { _ = c.Close() }()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(query); err != nil {
			return
		}
		m.Response, m.RecursionAvailable, m.Authoritative = true, true, true
		m.Additionals = nil
		q := m.Questions[0]
		m.Answers = records(q.Name, q.Type, hosts)
		if _, ok := hosts[q.Name.String()]; !ok {
			m.RCode = dnsmessage.RCodeNameError
		}
		packed, err := m.Pack()
		if err != nil {
			return
		}
		out := binary.BigEndian.AppendUint16(nil, uint16(len(packed)))
		if _, err := c.Write(append(out, packed...)); err != nil {
			return
		}
	}
}

func records(name dnsmessage.Name, want dnsmessage.Type, hosts map[string][]string) []dnsmessage.Resource {
	var out []dnsmessage.Resource
	for _, v := range hosts[name.String()] {
		h := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 0}
		addr, err := netip.ParseAddr(v)
		switch {
		case err != nil: // another name
			next := dnsmessage.MustNewName(v)
			out = append(out, dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: next}})
			out = append(out, records(next, want, hosts)...)
		case addr.Is4() && want == dnsmessage.TypeA:
			out = append(out, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && want == dnsmessage.TypeAAAA:
			out = append(out, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return out
}
