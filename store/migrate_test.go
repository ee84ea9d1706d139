package store

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eidgate/internal/pgtest"
)

// connect opens a database as it is.
func connect(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: url, Master: bytes.Repeat([]byte{1}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // the test is over
	return s
}

// TestMigrateRefuses: a schema that is older than the first is nothing to build
// on, and is left as it is.
func TestMigrateRefuses(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "eidgate.db") },
		"postgres": func(t *testing.T) string { return pgtest.Database(t, pgtest.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := connect(t, url(t))
			for range 2 {
				if err := s.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.batch(t.Context(), []statement{{q: `UPDATE goose_db_version SET version_id = 5 WHERE version_id > 5`}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "schema 5, which no release had") {
				t.Errorf("Migrate = %v", err)
			}
		})
	}
}
