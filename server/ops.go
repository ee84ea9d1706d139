package server

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// health is what the operations listener tells.
type health struct {
	ready    atomic.Bool // a login would work
	draining atomic.Bool // a stop is on its way
	store    func(context.Context) error
	writes   func() bool // whether the store took what was written last
	version  string
	command  string // dev or serve
	metrics  *metrics
}

func (h *health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, nil) })
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, _ *http.Request) {
		say(w, status(h.ready.Load()), map[string]any{"ready": h.ready.Load()})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		checks := h.check(r.Context())
		ok := true
		for _, c := range checks {
			ok = ok && c == "ok"
		}
		say(w, status(ok), map[string]any{"ready": ok, "checks": checks})
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, versionAnswer{h.version, h.command, os.Getpid()})
	})
	mux.Handle("GET /metrics", h.metrics.handler())
	return mux
}

// versionAnswer says which program this is, to those who may ask.
type versionAnswer struct {
	Version string `json:"version"`
	Command string `json:"command"`
	Process int    `json:"process"`
}

// check asks everything that a login needs. What fails is named, never why:
// that is in the log.
func (h *health) check(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out := map[string]string{"start": "ok", "drain": "ok", "store": "ok"}
	if !h.ready.Load() {
		out["start"] = "not finished"
	}
	if h.draining.Load() {
		out["drain"] = "stopping"
	}
	if err := h.store(ctx); err != nil {
		out["store"] = "does not answer"
	} else if !h.writes() {
		out["store"] = "cannot be written"
	}
	return out
}

func status(ok bool) int {
	if ok {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

func say(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	if body == nil {
		body = map[string]string{"status": "ok"}
	}
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}
