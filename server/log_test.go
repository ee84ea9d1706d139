package server

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Whoever quotes the trace id of an answer finds what the log says of it, by
// whichever package that was said.
func TestLinesNameTheirRequest(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"", "text"} {
		out := &lockedBuffer{}
		log := newLogger(LogConfig{Format: format}, out)
		h := edge{listener: "public", metrics: newMetrics("test"), log: log}.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			log.With("api", "x").ErrorContext(r.Context(), "api call failed", "error", errors.New("of its own"))
			w.WriteHeader(http.StatusInternalServerError)
		}))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		if text := out.String(); strings.Count(text, rec.Header().Get("X-Trace-Id")) != 1 || !strings.Contains(text, "trace_id") {
			t.Errorf("format %q: the answer has %s, and the log %s", format, rec.Header().Get("X-Trace-Id"), text)
		}
		log.InfoContext(t.Context(), "on its own")
		if lines := strings.Split(out.String(), "\n"); strings.Contains(lines[1], "trace_id") {
			t.Errorf("format %q: a line of no request has a trace id: %s", format, lines[1])
		}
	}
}

func TestLinesAreInUTC(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"", "text"} {
		var out strings.Builder
		r := slog.NewRecord(time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("there", 7200)), slog.LevelInfo, "hello", 0)
		if err := newLogger(LogConfig{Format: format}, &out).Handler().Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "2026-01-02T01:04:05") || strings.Contains(out.String(), "+02:00") {
			t.Errorf("format %q: %s", format, out.String())
		}
	}
}
