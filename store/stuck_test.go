package store_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"eidgate/internal/pgtest"
)

// TestStuckStatement: what waits for a lock in PostgreSQL gives its connection
// back after five seconds, though its caller would wait longer.
func TestStuckStatement(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, pgtest.Options{})
	s := open(t, url)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }() // it has changed nothing
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE session IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = s.Session(t.Context(), "9f2c41d8-0000-4000-8000-000000000001")
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "57014" || time.Since(start) < 4*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}
