package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func TestForwardedAddresses(t *testing.T) {
	t.Parallel()
	trusted := proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "192.0.2.7:1", nil, "192.0.2.7"},
		{"a stranger's word", "192.0.2.7:1", []string{"198.51.100.1"}, "192.0.2.7"},
		{"behind one proxy", "10.0.0.1:1", []string{"192.0.2.7"}, "192.0.2.7"},
		{"what the client made up in front", "10.0.0.1:1", []string{"198.51.100.1, 192.0.2.7"}, "192.0.2.7"},
		{"in a header of its own", "10.0.0.1:1", []string{"198.51.100.1", "192.0.2.7"}, "192.0.2.7"},
		{"behind two proxies", "10.0.0.1:1", []string{"192.0.2.7, 10.0.0.2"}, "192.0.2.7"},
		{"only proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"no address", "10.0.0.1:1", []string{"192.0.2.7, unknown"}, "10.0.0.1"},
		{"no header", "10.0.0.1:1", nil, "10.0.0.1"},
		{"version 6", "[fd00::1]:1", []string{"2001:db8::7"}, "2001:db8::7"},
		{"with a zone", "10.0.0.1:1", []string{"fe80::7%eth0"}, "fe80::7"},
		{"mapped", "[::ffff:10.0.0.1]:1", []string{"::ffff:192.0.2.7"}, "192.0.2.7"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		r.Header["X-Forwarded-For"] = c.forwarded
		if got := trusted.client(r).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr, r.Header["X-Forwarded-For"] = "10.0.0.1:1", []string{"192.0.2.7"}
	if got := (proxies{}).client(r).String(); got != "10.0.0.1" {
		t.Errorf("without trusted proxies: %s", got)
	}
}

// A lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// guarded is a listener's edge around a handler, with what it logs.
func guarded(https, sandbox bool, h http.HandlerFunc) (http.Handler, *lockedBuffer) {
	log := &lockedBuffer{}
	e := edge{listener: "public", https: https, sandbox: sandbox, metrics: newMetrics("test"),
		log: newLogger(LogConfig{Level: "debug"}, log)}
	return e.wrap(h), log
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	h, log := guarded(true, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	traces := map[string]bool{}
	for range 3 {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/x?personalnumber=199001012385", nil))
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
			"X-Eidgate-Sandbox": "", "Server": ""} {
			if got := rec.Header().Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		trace := rec.Header().Get("X-Trace-Id")
		if len(trace) != 32 || traces[trace] || !strings.Contains(log.String(), trace) {
			t.Errorf("trace %q: not new, or not in the log", trace)
		}
		traces[trace] = true
	}
	if strings.Contains(log.String(), "1990") {
		t.Error("the log has the query")
	}
	for _, https := range []bool{false, true} {
		h, _ = guarded(https, true, func(http.ResponseWriter, *http.Request) {})
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		if rec.Header().Get("Strict-Transport-Security") != "" || rec.Header().Get("X-Eidgate-Sandbox") != "1" {
			t.Errorf("a sandbox, https %v: %v", https, rec.Header())
		}
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	t.Parallel()
	h, log := guarded(false, false, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			w.WriteHeader(http.StatusAccepted)
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		panic("a secret of 199001012385")
	})
	for path, want := range map[string]int{"/early": 500, "/late": 202} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if rec.Code != want || strings.Contains(rec.Body.String(), "secret") {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
		if path == "/early" && !strings.Contains(rec.Body.String(), rec.Header().Get("X-Trace-Id")) {
			t.Errorf("no reference to quote: %s", rec.Body)
		}
		if lines := strings.Split(log.String(), "\n"); !slices.ContainsFunc(lines, func(line string) bool {
			return strings.Contains(line, "handler panicked") && strings.Contains(line, rec.Header().Get("X-Trace-Id"))
		}) {
			t.Errorf("%s: the reference does not lead to the panic: %s", path, log)
		}
	}
	if text := log.String(); strings.Contains(text, "199001012385") {
		t.Errorf("log: %s", text)
	}
	defer func() {
		if recover() != http.ErrAbortHandler { //nolint:errorlint // the documented comparison
			t.Error("an aborted request was answered")
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/abort", nil))
}

func TestMethodsThatNobodyNeeds(t *testing.T) {
	t.Parallel()
	h, _ := guarded(false, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for method, want := range map[string]int{"GET": 200, "TRACE": 405, "CONNECT": 405} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(method, "/", nil))
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", method, rec.Code, want)
		}
	}
}

// TestServerLimits holds the bounds that keep slow and greedy clients from
// holding a connection or memory.
func TestServerLimits(t *testing.T) {
	t.Parallel()
	s := httpServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	for name, d := range map[string][2]time.Duration{"header": {s.ReadHeaderTimeout, 5 * time.Second}, "read": {s.ReadTimeout, 15 * time.Second},
		"write": {s.WriteTimeout, 30 * time.Second}, "idle": {s.IdleTimeout, 60 * time.Second}} {
		if d[0] != d[1] {
			t.Errorf("%s timeout = %s, want %s", name, d[0], d[1])
		}
	}
	if s.HTTP2 == nil || s.HTTP2.MaxConcurrentStreams != 100 {
		t.Errorf("HTTP/2 = %+v, want 100 streams a connection", s.HTTP2)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.ReadHeaderTimeout = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, s, time.Second, slog.New(slog.DiscardHandler)) }()
	// Not one byte more than net/http reads before it refuses: a connection that is closed with
	// some unread is reset, and the answer may be lost with it.
	big := "GET / HTTP/1.1\r\nHost: x\r\nBig: "
	big += strings.Repeat("x", s.MaxHeaderBytes+4096-len(big))
	for name, c := range map[string]struct{ send, want string }{
		"greedy": {big, "HTTP/1.1 431 "},
		"slow":   {"GET / HTTP/1.1\r\nHost: x\r\n", ""},
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, c.send); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if c.want == "" && err != io.EOF || !strings.HasPrefix(line, c.want) { //nolint:errorlint // as the reader gives it
			t.Errorf("%s: %q, %v", name, line, err)
		}
		_ = conn.Close() // it is of no use any more
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestDrain holds that a stop lets running requests finish, and cuts off what
// takes too long.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		drain time.Duration
		want  string
	}{{"in time", 10 * time.Second, "done"}, {"too long", time.Millisecond, ""}} {
		in, release := make(chan struct{}), make(chan struct{})
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(in)
			<-release
			_, _ = fmt.Fprint(w, "done")
		})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- serve(ctx, l, httpServer(h, slog.New(slog.DiscardHandler)), c.drain, slog.New(slog.DiscardHandler))
		}()
		answer := make(chan string, 1)
		go func() {
			res, err := http.Get("http://" + l.Addr().String())
			if err != nil {
				answer <- ""
				return
			}
			defer res.Body.Close()
			raw, _ := io.ReadAll(res.Body)
			answer <- string(raw)
		}()
		<-in
		cancel()
		if c.want == "" {
			err := <-done // cut off while the handler still runs
			close(release)
			if err != nil {
				t.Error(err)
			}
		} else {
			close(release)
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got := <-answer; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestHostileClients: while clients send headers and bodies byte by byte, hold
// idle connections and reset HTTP/2 streams as fast as they can, a client that
// behaves is answered.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	s := httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // as slowly as it comes
		_, _ = io.WriteString(w, "well")
	}), slog.New(slog.DiscardHandler))
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	t.Cleanup(cert.Close)
	s.TLSConfig = publicTLS(fixed(cert.TLS.Certificates[0]))
	trust := x509.NewCertPool()
	trust.AddCert(cert.Certificate())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, s, time.Millisecond, slog.New(slog.DiscardHandler)) }()
	dial := func(protocol string) *tls.Conn {
		t.Helper()
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: trust, NextProtos: []string{protocol}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if got := conn.ConnectionState().NegotiatedProtocol; got != protocol {
			t.Fatalf("the connection speaks %q, want %q", got, protocol)
		}
		return conn
	}
	for range 10 {
		for _, text := range []string{"", "GET / HTTP/1.1\r\nHost: x\r\nA", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na"} {
			if _, err := io.WriteString(dial("http/1.1"), text); err != nil {
				t.Fatal(err)
			}
		}
	}
	var resets sync.WaitGroup
	for range 2 {
		conn := dial("h2")
		resets.Go(func() { rapidReset(ctx, conn) })
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, DisableKeepAlives: true}
	client := &http.Client{Transport: tr, Timeout: 5 * time.Second}
	for i := range 10 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		raw, err := io.ReadAll(res.Body)
		if _ = res.Body.Close(); err != nil || string(raw) != "well" {
			t.Fatalf("request %d: %q, %v", i, raw, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	resets.Wait()
}

// rapidReset begins streams and ends them at once until the server has enough
// of that, or the test.
func rapidReset(ctx context.Context, conn net.Conn) {
	_, _ = io.WriteString(conn, http2.ClientPreface) // where that fails, so does what follows
	f := http2.NewFramer(conn, conn)
	_ = f.WriteSettings()
	go func() { _, _ = io.Copy(io.Discard, conn) }() // until it is closed
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":path", Value: "/"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "x"}} {
		_ = enc.WriteField(h) // into memory
	}
	fields := block.Bytes()
	for id := uint32(1); id < 1<<20 && ctx.Err() == nil; id += 2 {
		if f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: fields, EndStream: true, EndHeaders: true}) != nil ||
			f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			return
		}
	}
}
