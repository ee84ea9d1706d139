package pgtest_test

import (
	"context"
	"testing"

	"eidgate/internal/pgtest"

	"github.com/jackc/pgx/v5"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// Two databases at the same time do not see each other's tables.
func TestDatabase(t *testing.T) {
	t.Parallel()
	first, second := pgtest.Database(t, pgtest.Options{}), pgtest.Database(t, pgtest.Options{})
	if _, err := connect(t, first).Exec(t.Context(), "CREATE TABLE a (n int)"); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, second).Exec(t.Context(), "SELECT n FROM a"); err == nil {
		t.Error("the second database has the first one's table")
	}
	var fsync string
	if err := connect(t, second).QueryRow(t.Context(), "SHOW fsync").Scan(&fsync); err != nil || fsync != "off" {
		t.Errorf("fsync = %q, %v", fsync, err)
	}
}
