package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSimulatorsAlone starts the simulators as "eidgate sandbox" does, gives
// what they write to a server, and lets that ask them.
func TestSimulatorsAlone(t *testing.T) {
	t.Parallel()
	s := newHouse(t)
	data := filepath.Join(s.dir, "sim")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Sandbox(ctx, SandboxOptions{Host: "127.0.0.1", Auto: "approve", Data: data, Public: "http://localhost:8700", ReadyFile: filepath.Join(s.dir, "ready"),
			Name: "Shop", Version: "test", Stderr: io.Discard})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}()
	var file ready
	for end := time.Now().Add(20 * time.Second); file.URLs["issuers"] == ""; {
		if raw, err := os.ReadFile(filepath.Join(s.dir, "ready")); err == nil {
			_ = json.Unmarshal(raw, &file) // it is written whole
		}
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("the simulators do not become ready")
		}
	}
	raw, err := os.ReadFile(filepath.Join(data, "test_eids.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	plain := s.fill(sound)
	text := strings.Replace(plain, s.fill("test_eids: {BANKID(house)}\n"), string(raw), 1)
	if text == plain {
		t.Fatal("the configuration has no test_eids to replace")
	}
	var account strings.Builder // what the comments of the file propose
	_, proposed, _ := strings.Cut(string(raw), "who checks ages:\n")
	for line := range strings.Lines(proposed) {
		account.WriteString(strings.TrimPrefix(line, "#"))
	}
	text += account.String()
	if got := problems(t, s, text); len(got) != 0 {
		t.Fatalf("the configuration has problems: %q\n%s", got, text)
	}
	c := s.core(t, text)
	b, err := c.banks(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.List == nil || len(b.List.Groups) == 0 {
		t.Errorf("the list of banks is %+v", b.List)
	}
	for _, address := range []string{file.URLs["control"] + "/phone", file.URLs["control"] + "/sandbox/v1/outcomes"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s", req.URL.Path, res.Status)
		}
	}
}
