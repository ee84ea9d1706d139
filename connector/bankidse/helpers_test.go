package bankidse_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/bankidse"
)

// tlsCert is no certificate at all.
func tlsCert() tls.Certificate { return tls.Certificate{} }

// A wire listens to what is said to a handler, which may change.
type wire struct {
	mu      sync.Mutex
	handler http.Handler
	calls   []call
}

// set puts a handler before the one that is there.
func (w *wire) set(wrap func(http.Handler) http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler = wrap(w.handler)
}

// asked counts calls of every kind.
func (w *wire) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls)
}

// A call is a request with the status that it got.
type call struct {
	path, body string
	status     int
}

func (w *wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	got := &answer{ResponseWriter: rw, code: http.StatusOK}
	w.mu.Lock()
	h := w.handler
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		_, path, _ := strings.Cut(r.URL.Path, "/v6.0/")
		w.calls = append(w.calls, call{path, string(body), got.code})
	}()
	h.ServeHTTP(got, r)
}

// An answer remembers its status.
type answer struct {
	http.ResponseWriter
	code int
}

func (a *answer) WriteHeader(code int) {
	a.code = code
	a.ResponseWriter.WriteHeader(code)
}

// count counts calls of one path with a status; 0 is any.
func (w *wire) count(path string, status int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if c.path == path && (status == 0 || c.status == status) {
			n++
		}
	}
	return n
}

// last is the body of the last call of a path.
func (w *wire) last(path string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.calls) - 1; i >= 0; i-- {
		if w.calls[i].path == path {
			return w.calls[i].body
		}
	}
	return ""
}

// settings puts changed settings into the request.
func (s *service) settings(t testing.TB, change func(*bankidse.Settings)) {
	t.Helper()
	change(&s.set)
	raw, err := json.Marshal(s.set)
	if err != nil {
		t.Fatal(err)
	}
	s.request.Settings = connector.Settings{Key: s.request.Settings.Key + "+", Data: raw}
}

// resume delivers one event.
func (s *service) resume(t testing.TB, state []byte, e connector.Event) connector.Result {
	t.Helper()
	res, err := s.conn.Resume(t.Context(), &s.request, state, e)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// collected ticks until the once-only answer is kept and not yet verified.
func (s *service) collected(t testing.TB, res connector.Result) connector.Result {
	t.Helper()
	for range 10 {
		if _, again := res.Step.(connector.Again); again {
			return res
		}
		s.clock.Advance(2 * time.Second)
		res = s.resume(t, res.State, connector.Tick{})
	}
	t.Fatalf("no answer after ten ticks: %#v", res.Step)
	return res
}

// replaced answers collects with a text instead of what the simulator says.
func (s *service) replaced(text string) {
	s.wire.set(func(service http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/collect") {
				_, _ = io.WriteString(w, text) // the client has gone
				return
			}
			service.ServeHTTP(w, r)
		})
	})
}
