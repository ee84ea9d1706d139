package store

import (
	"bytes"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

// TestNewerSchema: a program says that a newer one has changed the schema.
func TestNewerSchema(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "eidgate.db") },
		"postgres": func(t *testing.T) string { return pgtest.Database(t, pgtest.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := connect(t, url(t))
			for _, want := range []int{0, 2} {
				if err := s.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				n, err := s.Pending(t.Context())
				if unknown, uerr := s.Unknown(t.Context()); n != 0 || unknown != want || err != nil || uerr != nil {
					t.Errorf("%d pending, %d unknown, want %d; %v, %v", n, unknown, want, err, uerr)
				}
				for _, version := range []int{9007, 9008} {
					if err := s.batch(t.Context(), []statement{{q: `INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, true)`, args: []any{version}}}); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// TestMigrateOthersFile: a file that another program has made is left as it is.
func TestMigrateOthersFile(t *testing.T) {
	t.Parallel()
	s := connect(t, "sqlite:"+filepath.Join(t.TempDir(), "places.db"))
	if err := s.batch(t.Context(), []statement{{q: `CREATE TABLE places (id INTEGER)`}}); err != nil {
		t.Fatal(err)
	}
	var n int
	err := s.Migrate(t.Context())
	if gerr := s.get(t.Context(), []any{&n}, `SELECT count(*) FROM sqlite_master`); err == nil || !strings.Contains(err.Error(), "another program") || n != 1 || gerr != nil {
		t.Errorf("Migrate = %v; %d tables, %v", err, n, gerr)
	}
}

// TestMigrateTogether: all nodes may be told to migrate at the same time.
func TestMigrateTogether(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, pgtest.Options{})
	var wg sync.WaitGroup
	for range 4 {
		s := connect(t, url)
		wg.Go(func() {
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
			if n, err := s.Pending(t.Context()); n != 0 || err != nil {
				t.Errorf("%d changes are not applied, %v", n, err)
			}
		})
	}
	wg.Wait()
	var twice int
	err := connect(t, url).get(t.Context(), []any{&twice}, `SELECT count(*) - count(DISTINCT version_id) FROM goose_db_version`)
	if twice != 0 || err != nil {
		t.Errorf("%d changes were applied twice, %v", twice, err)
	}
}

// TestEncoding: a database that cannot hold every name is refused at once, with
// what to do.
func TestEncoding(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, pgtest.Options{})
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, encoding := range map[string]string{"latin": "LATIN1", "plain": "SQL_ASCII"} {
		if _, err := db.ExecContext(t.Context(), `CREATE DATABASE `+name+` ENCODING '`+encoding+`' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := db.ExecContext(t.Context(), `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
				t.Error(err)
			}
		}()
		before, query, _ := strings.Cut(url, "?")
		s, err := Open(t.Context(), Config{URL: before[:strings.LastIndexByte(before, '/')+1] + name + "?" + query, Master: bytes.Repeat([]byte{1}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			_ = s.Close() // the error is that it is open
		}
		if err == nil || !strings.Contains(err.Error(), "the database "+name+" has the encoding "+encoding+" and needs UTF8: make another one with CREATE DATABASE") {
			t.Errorf("%s: %v", encoding, err)
		}
	}
}

// TestLookAtNothing: a file that is only looked at is left as it is, whether it
// has been made or not.
func TestLookAtNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "eidgate.db")
	look := Config{URL: "sqlite:" + path, Master: bytes.Repeat([]byte{1}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler), Look: true}
	if _, err := Open(t.Context(), look); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), look)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // the test is over
	if n, err := s.Pending(t.Context()); n == 0 || err != nil {
		t.Errorf("an empty file: %d changes, %v", n, err)
	}
}

// TestFileOfAnyName: the file has the name that the address says, and nobody
// else reads it.
func TestFileOfAnyName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := connect(t, "sqlite:"+filepath.Join(dir, "a%20b?c=d#e.db"))
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		info, err := f.Info()
		if err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(f.Name(), "a%20b?c=d#e.db") {
			t.Errorf("%s %v %v", f.Name(), info.Mode(), err)
		}
	}
}
