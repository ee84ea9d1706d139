package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/internal/seal"
	"eidgate/relying"
)

// Client implements oidc.Store. Who reads one must not change it.
func (s *Store) Client(ctx context.Context, id string) (*relying.Client, error) {
	if c, ok := s.clients.get(id); ok {
		return c, nil
	}
	at := time.Now()
	var doc string
	err := s.get(ctx, []any{&doc}, `SELECT doc FROM oidc_client WHERE id = $1`, id)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, relying.ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("read client: %w", err)
	}
	c := &relying.Client{}
	if err := json.Unmarshal([]byte(doc), c); err != nil {
		return nil, fmt.Errorf("read client: %w", err)
	}
	s.clients.put(id, c, at)
	return c, nil
}

// PutClient writes a client, or writes it anew; broker.ErrConflict when the id
// is that of another account's client.
func (s *Store) PutClient(ctx context.Context, c *relying.Client) error {
	doc, err := json.Marshal(c)
	if err != nil {
		return err
	}
	var old string
	err = s.get(ctx, []any{&old}, `SELECT doc FROM oidc_client WHERE id = $1`, c.ID)
	if err != nil && !errors.Is(err, broker.ErrNotFound) {
		return fmt.Errorf("write client: %w", err)
	}
	defer s.clients.kept.Clear()
	return s.configure(ctx, old != string(doc), c.ID, "client.put", []statement{{one: "write client", q: `INSERT INTO oidc_client (id, account, doc, updated) VALUES ($1, $2, $3, $4)
			ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, updated = excluded.updated WHERE oidc_client.account = excluded.account`,
		args: []any{c.ID, c.Account, string(doc), s.now().UnixMicro()}}})
}

// KeepClients takes away the clients of an account but those of these ids.
// What a client's own tokens were for must ask for the client each time.
func (s *Store) KeepClients(ctx context.Context, account string, ids []string) error {
	var gone []statement
	err := s.query(ctx, func(r scanner) error {
		var id string
		err := r.Scan(&id)
		if !slices.Contains(ids, id) {
			gone = append(gone, statement{q: `DELETE FROM oidc_client WHERE id = $1 AND account = $2`, args: []any{id, account}}, s.audit(id, s.operator("client.remove")))
		}
		return err
	}, `SELECT id FROM oidc_client WHERE account = $1`, account)
	if err != nil || len(gone) == 0 {
		return err
	}
	defer s.clients.kept.Clear()
	return s.batch(ctx, gone)
}

// Keys implements oidc.Store.
func (s *Store) Keys(ctx context.Context) ([]oidc.SigningKey, error) {
	var out []oidc.SigningKey
	err := s.query(ctx, func(r scanner) error {
		var k oidc.SigningKey
		var starts, until, gone int64
		err := r.Scan(&k.ID, &k.Use, &k.Alg, &k.Private, &starts, &until, &gone)
		k.From, k.Until, k.Gone = moment(starts), moment(until), moment(gone)
		out = append(out, k)
		return err
	}, `SELECT id, purpose, alg, private, starts, until, gone FROM oidc_key ORDER BY starts, purpose, alg`)
	if err != nil {
		return nil, fmt.Errorf("read provider's keys: %w", err)
	}
	for i := range out {
		k := &out[i]
		if k.Private, err = s.master.Open(seal.Place("oidc_key", k.ID, "private"), k.Private); err != nil {
			return nil, fmt.Errorf("read provider's key %s: %w", k.ID, err)
		}
	}
	return out, nil
}

// RemoveKey takes one of the provider's keys away, with a line of the audit
// trail; broker.ErrNotFound. Nodes make another for its time when they look next.
func (s *Store) RemoveKey(ctx context.Context, id string) error {
	return s.configure(ctx, true, id, "provider_key.remove", []statement{one("remove key", broker.ErrNotFound, `DELETE FROM oidc_key WHERE id = $1`, id)})
}

// AddKey implements oidc.Store.
func (s *Store) AddKey(ctx context.Context, k oidc.SigningKey) error {
	return s.batch(ctx, []statement{{q: `INSERT INTO oidc_key (id, purpose, alg, private, starts, until, gone) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (purpose, alg, starts) DO NOTHING`,
		args: []any{k.ID, k.Use, k.Alg, s.master.Seal(seal.Place("oidc_key", k.ID, "private"), k.Private), micros(k.From), micros(k.Until), micros(k.Gone)}}})
}
