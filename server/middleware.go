package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// names are the hosts that a listener answers to.
type names struct {
	public  string // the one to tell who asked by another
	exact   map[string]bool
	sandbox bool   // also loopback names and addresses
	setting string // that says so
}

func newNames(public string, sandbox bool, also ...string) names {
	n := names{exact: map[string]bool{}, sandbox: sandbox, setting: "server.public_url"}
	if u, err := url.Parse(public); err == nil {
		n.public = u.Host
		n.exact[strings.ToLower(u.Hostname())] = true
	}
	for _, a := range also {
		n.exact[strings.ToLower(a)] = true
	}
	if sandbox {
		n.exact["host.docker.internal"] = true
		for _, p := range ownAddresses() {
			n.exact[p.Addr().String()] = true
		}
	}
	return n
}

func (n names) know(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return n.exact[host] || n.sandbox && isLoopback(host)
}

// only answers 421 to a request by a name that the listener does not have. A
// page that another site's name points at cannot drive us so. Paths in free
// are exempt: clients of the ZignSec API send a hard-coded Host, and a key.
func (n names) only(next http.Handler, free ...string) http.Handler {
	fix := "set " + n.setting + " or your proxy's Host header"
	if n.sandbox {
		fix = "use that name, or start eidgate dev with --also-known-as NAME"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !n.know(r.Host) && !hasPrefix(r.URL.Path, free) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusMisdirectedRequest)
			fmt.Fprintf(w, "This server answers as %s. You asked for %s.\nOperator: %s.\n", n.public, clean(r.Host), fix)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// oneSlash takes several slashes in a path for one. A ServeMux would answer
// with a redirect, which old clients do not follow with their body.
func oneSlash(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "//") {
			clean, u := *r, *r.URL
			for strings.Contains(u.Path, "//") {
				u.Path = strings.ReplaceAll(u.Path, "//", "/")
			}
			u.RawPath, clean.URL = "", &u
			r = &clean
		}
		next.ServeHTTP(w, r)
	})
}

func hasPrefix(path string, prefixes []string) bool {
	path = strings.ToLower(strings.TrimLeft(path, "/"))
	for _, p := range prefixes {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// clean keeps what may stand in a host name.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 32 && r < 127 && r != '"' && r != '\\' {
			return r
		}
		return -1
	}, s[:min(len(s), 255)])
}

// proxies finds the client's address behind trusted proxies.
type proxies []netip.Prefix

func (p proxies) client(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := ap.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trust(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap().WithZone("")
	}
	return addr
}

func (p proxies) trust(a netip.Addr) bool {
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// A recorder remembers what was answered, and the beginning of a refusal.
type recorder struct {
	http.ResponseWriter
	pages  string // address of the pages of error codes, named with a refusal; "" for none
	status int
	answer []byte
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	if code := r.Header().Get("X-Eidgate-Error"); code != "" && r.pages != "" {
		r.Header().Set("X-Eidgate-Hint", r.pages+clean(code))
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if room := 1024 - len(r.answer); room > 0 && r.Header().Get("X-Eidgate-Error") != "" {
		r.answer = append(r.answer, b[:min(room, len(b))]...)
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// edge is what surrounds every handler of a listener: headers that belong on
// everything, an access line without query, and a panic that ends one request
// and not the process.
type edge struct {
	listener string
	https    bool
	sandbox  bool
	pages    string // address of the pages of error codes, "" names none
	log      *slog.Logger
	metrics  *metrics
	seen     func(r *http.Request, status int, header http.Header, answer []byte) // the terminal's lines; may be nil
}

func (e edge) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		trace := traceID()
		h.Set("X-Trace-Id", trace)
		r = r.WithContext(context.WithValue(r.Context(), traced{}, trace))
		if e.https && !e.sandbox { // it would hold for every port of localhost
			h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
		}
		if e.sandbox {
			h.Set("X-Eidgate-Sandbox", "1")
		}
		rec := &recorder{ResponseWriter: w, pages: e.pages}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { //nolint:errorlint // the documented comparison
					panic(p)
				}
				e.log.ErrorContext(r.Context(), "handler panicked", "listener", e.listener, "stack", string(debug.Stack()))
				if rec.status == 0 {
					http.Error(rec, "An error of this server. Reference: "+trace, http.StatusInternalServerError)
				}
			}
			took := time.Since(start)
			e.metrics.request(e.listener, r, rec.status, took)
			e.log.DebugContext(r.Context(), "request", "listener", e.listener, "method", r.Method,
				"route", r.Pattern, "status", rec.status, "duration_ms", took.Milliseconds())
			if e.seen != nil {
				e.seen(r, rec.status, h, rec.answer)
			}
		}()
		if r.Method == http.MethodTrace || r.Method == http.MethodConnect {
			rec.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(rec, r)
	})
}

func traceID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// httpServer has the limits that every listener keeps.
func httpServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 60 * time.Second, MaxHeaderBytes: 32 << 10, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 100},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}
