package store

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"path/filepath"
	"testing"

	"eidgate/internal/pgtest"
)

// TestRoot: a new database begins with its master key as root, so that names stay
// as they were before there was a root; one that is stored counts, whatever the master
// key is by now, for every node and after every start.
func TestRoot(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "eidgate.db"), "postgres": pgtest.Database(t, pgtest.Options{})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := connect(t, url)
			if err := s.Migrate(ctx); err != nil {
				t.Fatal(err)
			}
			begin := func(s *Store, root byte) {
				t.Helper()
				if err := s.Begin(ctx); err != nil {
					t.Fatal(err)
				}
				want, err := hkdf.Key(sha256.New, bytes.Repeat([]byte{root}, 32), nil, "names", 32)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := s.Derived("names"); err != nil || !bytes.Equal(got, want) {
					t.Errorf("derived %x, %v; want %x", got, err, want)
				}
			}
			before := s.Person("acc", "sbid", "somebody")
			begin(s, 1)
			begin(s, 1)
			if s.Person("acc", "sbid", "somebody") != before {
				t.Error("a person has another name once the root is stored")
			}
			if err := s.batch(ctx, []statement{{q: `UPDATE root SET sealed = $1`, args: []any{s.master.Seal(rootPlace, bytes.Repeat([]byte{2}, 32))}}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = connect(t, url)
			begin(s, 2)
			if s.Person("acc", "sbid", "somebody") == before {
				t.Error("a person is found by what another root gives")
			}
			if err := s.batch(ctx, []statement{{q: `UPDATE root SET sealed = $1`, args: []any{[]byte("not sealed")}}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Begin(ctx); err == nil {
				t.Error("a root that does not open is none")
			}
		})
	}
}
