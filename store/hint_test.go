package store_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // to break connections from outside

	"eidgate/internal/pgtest"
	"eidgate/store"
)

// TestHints has one node hint at another, also after the listener's connection
// was cut.
func TestHints(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, pgtest.Options{})
	a, b := open(t, url), openAgain(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan string, 100), make(chan error, 2)
	for name, s := range map[string]*store.Store{"a": a, "b": b} {
		go func() { ended <- s.RunHints(ctx, name, func() { heard <- name }) }()
	}
	wait := func(node string) {
		t.Helper()
		for end := time.After(20 * time.Second); ; {
			select {
			case got := <-heard:
				if got == node {
					return
				}
			case <-end:
				t.Fatalf("%s heard nothing", node)
			}
		}
	}
	wait("a") // each hears once when it begins to listen
	b.Hint("a")
	wait("a")
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%a"'`); err != nil {
		t.Fatal(err)
	}
	wait("a") // it listens again
	b.Hint("a")
	wait("a")
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestHintsWithoutANetwork: SQLite has one node, and nothing to do.
func TestHintsWithoutANetwork(t *testing.T) {
	t.Parallel()
	s := open(t, "memory")
	for range 1000 {
		s.Hint("a") // never waits
	}
	if err := s.RunHints(t.Context(), "a", func() { t.Error("heard something") }); err != nil {
		t.Error(err)
	}
}

// openAgain opens a database that has been migrated.
func openAgain(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: url, Master: make([]byte, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // nothing was written
	return s
}
