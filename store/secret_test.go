package store

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"path/filepath"
	"testing"

	"eidgate/internal/pgtest"
)

// TestSecretsStay: a new database begins with what is derived from its master key, so
// that names stay as they were when nothing was stored; what is stored counts, whatever
// the master key is by now, for every node and after every start.
func TestSecretsStay(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "eidgate.db"), "postgres": pgtest.Database(t, pgtest.Options{})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := connect(t, url)
			if err := s.Migrate(ctx); err != nil {
				t.Fatal(err)
			}
			begin := func(s *Store, master byte) {
				t.Helper()
				if err := s.Begin(ctx); err != nil {
					t.Fatal(err)
				}
				want, err := hkdf.Key(sha256.New, bytes.Repeat([]byte{master}, 32), nil, Provider, 32)
				if err != nil {
					t.Fatal(err)
				}
				if got := s.Secret(Provider); !bytes.Equal(got, want) {
					t.Errorf("secret %x, want %x", got, want)
				}
			}
			before := s.Person("acc", "sbid", "somebody")
			begin(s, 1)
			begin(s, 1)
			if s.Person("acc", "sbid", "somebody") != before {
				t.Error("a person has another name once the secrets are stored")
			}
			other, err := newSecrets(bytes.Repeat([]byte{2}, 32), false)
			if err != nil {
				t.Fatal(err)
			}
			for name, key := range other.of {
				if err := s.batch(ctx, []statement{{q: `UPDATE secret SET sealed = $1 WHERE name = $2`, args: []any{s.master.Seal(secretPlace(name), key), name}}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = connect(t, url)
			begin(s, 2)
			if s.Person("acc", "sbid", "somebody") == before {
				t.Error("a person is found by what is not stored")
			}
			if err := s.batch(ctx, []statement{{q: `UPDATE secret SET sealed = $1`, args: []any{[]byte("not sealed")}}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Begin(ctx); err == nil {
				t.Error("a secret that does not open is none")
			}
		})
	}
}
