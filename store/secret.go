package store

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"eidgate/broker"
	"eidgate/internal/seal"
)

// Secrets that persons are named and found with, and browsers known by. They are
// derived from the master key that the database began with, and then stored, sealed:
// so they stay when the master key changes, and nobody learns the old one from
// them (docs/keys.md).
const (
	Handles  = "eidgate browser handles"
	Provider = "eidgate OpenID provider" // its codes and subs
	persons  = "eidgate imported subjects"
)

// A secrets is those of a database.
type secrets struct {
	of   map[string][]byte // 32 bytes each, by their names above
	look bool              // nothing is to be written
}

func newSecrets(master []byte, look bool) (secrets, error) {
	s := secrets{map[string][]byte{}, look}
	for _, name := range []string{Handles, Provider, persons} {
		key, err := hkdf.Key(sha256.New, master, nil, name, sha256.Size)
		if err != nil {
			return s, err
		}
		s.of[name] = key
	}
	return s, nil
}

// Begin looks whether the master keys open the database (ErrMaster), and reads its
// secrets, or writes them for a database that has none. It is called before the store is
// used by others; until then they are those of the master key.
func (s *Store) Begin(ctx context.Context) error {
	if err := s.CheckMaster(ctx); err != nil {
		return err
	}
	for name := range s.secrets.of {
		if err := s.settle(ctx, name); err != nil {
			return fmt.Errorf("read secret %q: %w", name, err)
		}
	}
	return nil
}

func (s *Store) settle(ctx context.Context, name string) error {
	for {
		var sealed []byte
		err := s.get(ctx, []any{&sealed}, `SELECT sealed FROM secret WHERE name = $1`, name)
		switch {
		case errors.Is(err, broker.ErrNotFound) && s.secrets.look: // nobody has served from it yet
			return nil
		case errors.Is(err, broker.ErrNotFound):
			if err = s.batch(ctx, []statement{{q: `INSERT INTO secret (name, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
				args: []any{name, s.master.Seal(secretPlace(name), s.secrets.of[name])}}}); err == nil {
				continue // it may be another node's that is stored now
			}
		}
		if err != nil {
			return err
		}
		key, err := s.master.Open(secretPlace(name), sealed)
		if err != nil {
			return err
		}
		s.secrets.of[name] = key
		return nil
	}
}

func secretPlace(name string) string { return seal.Place("secret", name, "sealed") }

// Secret is one of them, 32 bytes, the same on all nodes.
func (s *Store) Secret(name string) []byte { return s.secrets.of[name] }
