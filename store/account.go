package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"eidgate/broker"
	"eidgate/internal/cache"
	"eidgate/internal/seal"
	"eidgate/relying"
)

// stale is how old an answer about accounts and keys may be.
const stale = 10 * time.Second

// A recent keeps what was read for as long as it may be old, by the real clock:
// a revocation must not wait for a sandbox's.
type recent[K comparable, V any] struct{ kept *cache.Cache[K, dated[V]] }

type dated[V any] struct {
	value V
	at    time.Time
}

func newRecent[K comparable, V any]() recent[K, V] {
	return recent[K, V]{cache.New[K, dated[V]](10_000)}
}

func (r recent[K, V]) get(k K) (V, bool) {
	got, ok := r.kept.Get(k)
	return got.value, ok && time.Since(got.at) < stale
}

// put keeps what was asked for at a moment.
func (r recent[K, V]) put(k K, v V, at time.Time) { r.kept.Put(k, dated[V]{v, at}) }

// forgetAccounts forgets all that was read of accounts and their keys.
func (s *Store) forgetAccounts() {
	s.callers.kept.Clear()
	s.accounts.kept.Clear()
	s.keyTexts.kept.Clear()
}

// hash finds a key by its text, of which no copy need be kept.
func hash(text string) [32]byte {
	return sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(text))))
}

// Caller implements relying.Directory.
func (s *Store) Caller(ctx context.Context, key string) (relying.Caller, error) {
	h := hash(key)
	if c, ok := s.callers.get(h); ok {
		return c, nil
	}
	at := time.Now()
	var c relying.Caller
	var created, revoked int64
	err := s.get(ctx, []any{&c.Key.ID, &c.Key.Account, &c.Key.Environment, &created, &revoked},
		`SELECT id, account, environment, created, revoked FROM api_key WHERE hash = $1`, h[:])
	if errors.Is(err, broker.ErrNotFound) || err == nil && revoked != 0 {
		return c, relying.ErrUnknown
	}
	if err != nil {
		return c, fmt.Errorf("read key: %w", err)
	}
	c.Key.Created = moment(created)
	if c.Account, err = s.Account(ctx, c.Key.Account); err != nil {
		return c, err
	}
	s.callers.put(h, c, at)
	return c, nil
}

// Account implements relying.Directory.
func (s *Store) Account(ctx context.Context, id string) (*relying.Account, error) {
	if a, ok := s.accounts.get(id); ok {
		return a, nil
	}
	at := time.Now()
	var doc string
	var secret []byte
	err := s.get(ctx, []any{&doc, &secret}, `SELECT doc, secret FROM account WHERE id = $1`, id)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, relying.ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("read account: %w", err)
	}
	a := &relying.Account{}
	if err := json.Unmarshal([]byte(doc), a); err != nil {
		return nil, fmt.Errorf("read account: %w", err)
	}
	if len(secret) > 0 {
		raw, err := s.master.Open(seal.Place("account", id, "secret"), secret)
		if err != nil {
			return nil, fmt.Errorf("read account: %w", err)
		}
		for text := range strings.FieldsSeq(string(raw)) {
			a.WebhookSecrets = append(a.WebhookSecrets, relying.Secret(text))
		}
	}
	s.accounts.put(id, a, at)
	return a, nil
}

// PutAccount writes an account, or writes it anew.
func (s *Store) PutAccount(ctx context.Context, a *relying.Account) error {
	doc, err := json.Marshal(a)
	if err != nil {
		return err
	}
	var texts []string
	for _, one := range a.WebhookSecrets {
		texts = append(texts, string(one))
	}
	var old string
	var was, secret []byte
	err = s.get(ctx, []any{&old, &was}, `SELECT doc, secret FROM account WHERE id = $1`, a.ID)
	if err != nil && !errors.Is(err, broker.ErrNotFound) {
		return fmt.Errorf("write account: %w", err)
	}
	if len(was) > 0 {
		was, _ = s.master.Open(seal.Place("account", a.ID, "secret"), was) // what does not open is another one
	}
	if len(texts) > 0 {
		secret = s.master.Seal(seal.Place("account", a.ID, "secret"), []byte(strings.Join(texts, " ")))
	}
	defer s.forgetAccounts()
	return s.configure(ctx, old != string(doc) || string(was) != strings.Join(texts, " "), a.ID, "account.put", []statement{{q: `INSERT INTO account (id, doc, secret, updated) VALUES ($1, $2, $3, $4)
			ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, secret = excluded.secret, updated = excluded.updated`,
		args: []any{a.ID, string(doc), secret, s.now().UnixMicro()}}})
}

// configure runs statements that change what operators configure. Where something
// becomes another, the audit trail has that with it, under the id of what it is.
func (s *Store) configure(ctx context.Context, changes bool, id, action string, all []statement) error {
	if changes {
		all = append(all, s.audit(id, s.operator(action)))
	}
	return s.batch(ctx, all)
}

// PutKey writes a key. With keep a sealed copy of its text is kept, for the
// webhook signature of the ZignSec API.
func (s *Store) PutKey(ctx context.Context, k relying.Key, text string, keep bool) error {
	text = strings.ToLower(strings.TrimSpace(text))
	h := hash(text)
	var sealed []byte
	if keep {
		sealed = s.master.Seal(seal.Place("api_key", k.ID, "sealed"), []byte(text))
	}
	was := int64(-1) // there is none
	err := s.get(ctx, []any{&was}, `SELECT revoked FROM api_key WHERE id = $1`, k.ID)
	if err != nil && !errors.Is(err, broker.ErrNotFound) {
		return fmt.Errorf("write key: %w", err)
	}
	action := "key.add"
	if !k.Revoked.IsZero() {
		action = "key.revoke"
	}
	defer s.forgetAccounts()
	// a key that was revoked may come back with another account
	return s.configure(ctx, was < 0 || (was > 0) == k.Revoked.IsZero(), k.ID, action, []statement{{q: `DELETE FROM api_key WHERE hash = $1 AND id <> $2 AND revoked > 0`, args: []any{h[:], k.ID}}, {q: `INSERT INTO api_key (id, account, environment, hash, sealed, created, revoked)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO UPDATE SET account = excluded.account, environment = excluded.environment, hash = excluded.hash,
				sealed = excluded.sealed, revoked = excluded.revoked`,
		args: []any{k.ID, k.Account, string(k.Environment), h[:], sealed, micros(k.Created), micros(k.Revoked)}}})
}

// KeepKeys revokes all keys but those of these ids; gone counts them. A copy of
// a key's text stays for a while, for notifications of the sessions that it made:
// see SweepKeys.
func (s *Store) KeepKeys(ctx context.Context, ids []string) (gone int, err error) {
	var all []statement
	err = s.query(ctx, func(r scanner) error {
		var id string
		err := r.Scan(&id)
		if !slices.Contains(ids, id) {
			all = append(all, statement{q: `UPDATE api_key SET revoked = $2 WHERE id = $1`, args: []any{id, s.now().UnixMicro()}}, s.audit(id, s.operator("key.revoke")))
			gone++
		}
		return err
	}, `SELECT id FROM api_key WHERE revoked = 0`)
	if err != nil || gone == 0 {
		return 0, err
	}
	defer s.forgetAccounts()
	return gone, s.batch(ctx, all)
}

// outlived is how long after its end a key's copy may be of use: the sessions that
// it made, and what there is to send of them, are erased by then.
const outlived = 35 * 24 * time.Hour

// SweepKeys deletes the copies of keys that were revoked long ago.
func (s *Store) SweepKeys(ctx context.Context, now time.Time) error {
	err := s.batch(ctx, []statement{{q: `UPDATE api_key SET sealed = NULL WHERE revoked > 0 AND revoked <= $1 AND sealed IS NOT NULL`,
		args: []any{now.Add(-outlived).UnixMicro()}}})
	if err != nil {
		return fmt.Errorf("sweep keys: %w", err)
	}
	return nil
}

// AccountIDs lists the accounts.
func (s *Store) AccountIDs(ctx context.Context) (out []string, err error) {
	err = s.query(ctx, func(r scanner) error {
		var id string
		err := r.Scan(&id)
		out = append(out, id)
		return err
	}, `SELECT id FROM account`)
	return out, err
}

// KeyText is a key's text, for signing; relying.ErrUnknown when no copy is
// kept.
func (s *Store) KeyText(ctx context.Context, id string) (string, error) {
	if text, ok := s.keyTexts.get(id); ok {
		return text, nil
	}
	at := time.Now()
	var copyOf []byte
	err := s.get(ctx, []any{&copyOf}, `SELECT sealed FROM api_key WHERE id = $1 AND sealed IS NOT NULL`, id)
	if errors.Is(err, broker.ErrNotFound) {
		return "", relying.ErrUnknown
	}
	if err != nil {
		return "", err
	}
	text, err := s.master.Open(seal.Place("api_key", id, "sealed"), copyOf)
	if err != nil {
		return "", err
	}
	s.keyTexts.put(id, string(text), at)
	return string(text), nil
}

// masterID names a master key without telling anything of it.
func masterID(raw []byte) string {
	sum := sha256.Sum256(append([]byte("eidgate master key "), raw...))
	return hex.EncodeToString(sum[:4])
}

// accountKey opens the key that wraps those of an account's sessions and
// notifications, and makes it when there is none yet. It stands between them
// and the master key, so that a new master key wraps one key for each account
// anew and no session's.
func (s *Store) accountKey(ctx context.Context, account string) (*seal.Key, error) {
	if k, ok := s.outer.Get(account); ok {
		return k, nil
	}
	place := seal.Place("account_key", account, "wrapped")
	for {
		var wrapped []byte
		var master string
		err := s.get(ctx, []any{&wrapped, &master}, `SELECT wrapped, master FROM account_key WHERE account = $1`, account)
		if errors.Is(err, broker.ErrNotFound) {
			if _, wrapped, err = s.master.New(place); err == nil {
				err = s.batch(ctx, []statement{{q: `INSERT INTO account_key (account, wrapped, master) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
					args: []any{account, wrapped, s.master.ids[0]}}})
			}
			if err != nil {
				return nil, fmt.Errorf("make account key: %w", err)
			}
			continue // it may be another node's that is stored now
		}
		if err != nil {
			return nil, fmt.Errorf("read account key: %w", err)
		}
		if err := s.master.fits(master); err != nil {
			return nil, err
		}
		k, err := s.master.Unwrap(place, wrapped)
		if err != nil {
			return nil, fmt.Errorf("read account key: %w", err)
		}
		s.outer.Put(account, k)
		return k, nil
	}
}
