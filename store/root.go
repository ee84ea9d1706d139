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

// A root is the secret that names and handles are derived from: the master key
// that the database began with. It is stored sealed, so that it stays when the
// master key changes: what is derived from it must not (docs/keys.md).
type root struct {
	key     []byte
	persons []byte // key of the hashes that persons with an imported sub are found by
	look    bool   // nothing is to be written
}

func (r *root) of(key []byte, look bool) (err error) {
	r.key, r.look = key, look
	r.persons, err = hkdf.Key(sha256.New, key, nil, "eidgate imported subjects", sha256.Size)
	return err
}

var rootPlace = seal.Place("root", "1", "sealed")

// Begin looks whether the master keys open the database (ErrMaster), and reads the
// root, or writes it for a database that has none. It is called before the store is
// used by others; until then the root is the master key.
func (s *Store) Begin(ctx context.Context) error {
	if err := s.CheckMaster(ctx); err != nil {
		return err
	}
	for {
		var sealed []byte
		err := s.get(ctx, []any{&sealed}, `SELECT sealed FROM root WHERE id = 1`)
		if errors.Is(err, broker.ErrNotFound) && s.root.look { // nobody has served from it yet
			return nil
		}
		if errors.Is(err, broker.ErrNotFound) {
			if err = s.batch(ctx, []statement{{q: `INSERT INTO root (id, sealed) VALUES (1, $1) ON CONFLICT DO NOTHING`, args: []any{s.master.Seal(rootPlace, s.root.key)}}}); err == nil {
				continue // it may be another node's that is stored now
			}
		}
		if err != nil {
			return fmt.Errorf("read root secret: %w", err)
		}
		key, err := s.master.Open(rootPlace, sealed)
		if err != nil {
			return fmt.Errorf("%w: it does not open the database's root secret", ErrMaster)
		}
		return s.root.of(key, s.root.look)
	}
}

// Derived is a secret of 32 bytes for a purpose, the same on all nodes.
func (s *Store) Derived(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, s.root.key, nil, purpose, 32)
}
