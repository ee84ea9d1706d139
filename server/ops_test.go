package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// TestOperationsListener holds what balancers and operators are told in each
// phase of a server's life. Only /livez is the same all the time.
func TestOperationsListener(t *testing.T) {
	t.Parallel()
	var storeErr error
	writes := true
	h := &health{store: func(context.Context) error { return storeErr }, writes: func() bool { return writes }, version: "1.2.3", command: "serve", metrics: newMetrics("1.2.3")}
	handler := h.handler()
	get := func(path string) (int, string) {
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if strings.HasSuffix(path, "z") && rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached", path)
		}
		return rec.Code, strings.TrimSpace(rec.Body.String())
	}
	for _, phase := range []struct {
		name           string
		set            func()
		ready, startup int
		word           string // what /readyz says of the failing part
	}{
		{"starting", func() {}, 503, 503, `"start":"not finished"`},
		{"ready", func() { h.ready.Store(true) }, 200, 200, `"ready":true`},
		{"without its store", func() { storeErr = errors.New("dial tcp 10.1.2.3: secret") }, 503, 200, `"store":"does not answer"`},
		{"with a full disk", func() { storeErr, writes = nil, false }, 503, 200, `"store":"cannot be written"`},
		{"ready again", func() { writes = true }, 200, 200, `"ready":true`},
		{"stopping", func() { h.draining.Store(true) }, 503, 200, `"drain":"stopping"`},
	} {
		phase.set()
		if code, _ := get("/livez"); code != 200 {
			t.Errorf("%s: /livez %d", phase.name, code)
		}
		if code, _ := get("/startupz"); code != phase.startup {
			t.Errorf("%s: /startupz %d, want %d", phase.name, code, phase.startup)
		}
		code, body := get("/readyz")
		if code != phase.ready || !strings.Contains(body, phase.word) {
			t.Errorf("%s: /readyz %d %s, want %d %s", phase.name, code, body, phase.ready, phase.word)
		}
		if strings.Contains(body, "secret") {
			t.Errorf("%s: /readyz tells why: %s", phase.name, body)
		}
	}
	_, body := get("/version")
	var v versionAnswer
	if err := json.Unmarshal([]byte(body), &v); err != nil || v != (versionAnswer{"1.2.3", "serve", os.Getpid()}) {
		t.Errorf("/version = %s", body)
	}
	if _, body := get("/metrics"); !strings.Contains(body, `eidgate_build_info{goversion="go`) {
		t.Error("/metrics has no build")
	}
	if code, _ := get("/debug/pprof/"); code != 404 {
		t.Errorf("/debug/pprof/ = %d", code)
	}
}
