package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"eidgate/broker"
	"eidgate/internal/seal"
)

// Apply implements broker.Store.
func (s *Store) Apply(ctx context.Context, c *broker.Change) error {
	var opened *seal.Key
	err := s.do(ctx, func(ctx context.Context, t tx) (err error) {
		opened, err = s.apply(ctx, t, c)
		return err
	})
	if err != nil {
		s.keys.Drop(c.ID) // a key that was made in a transaction that is undone
		return err
	}
	if opened != nil {
		s.keys.Put(c.ID, opened)
	}
	if c.Erase {
		s.keys.Drop(c.ID)
	}
	if c.Session != nil {
		c.Session.Version++
	}
	if c.Order != nil {
		c.Order.Fence++
	}
	return nil
}

// apply writes a change's rows. It returns the session's data key if it had
// to be made or opened.
func (s *Store) apply(ctx context.Context, t tx, c *broker.Change) (*seal.Key, error) {
	var key *seal.Key
	var err error
	switch {
	case c.Session != nil && c.Session.Version == 0:
		if err := insertSession(ctx, t, c.Session); err != nil {
			return nil, err
		}
		var wrapped []byte
		if key, wrapped, err = s.master.New(seal.Place("session_key", c.ID, "wrapped")); err != nil {
			return nil, err
		}
		if _, err := t.exec(ctx, `INSERT INTO session_key (session, wrapped) VALUES ($1, $2)`, c.ID, wrapped); err != nil {
			return nil, err
		}
	case c.Session != nil:
		if err := updateSession(ctx, t, c.Session); err != nil {
			return nil, err
		}
	}
	if key == nil && (c.Order != nil && !c.Erase || len(c.Data) > 0 || len(c.Put) > 0) {
		if key, err = s.key(ctx, t, c.ID); err != nil {
			return nil, err
		}
	}
	if c.Order != nil {
		if err := writeOrder(ctx, t, c.Order, key); err != nil {
			return nil, err
		}
		for _, r := range c.Refs {
			if _, err := t.exec(ctx, `INSERT INTO order_ref (eid, environment, ref, order_id, session, at)
				VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
				string(c.Order.EID), string(c.Order.Environment), string(r), c.Order.ID, c.ID, s.now().UnixMicro()); err != nil {
				return nil, err
			}
		}
	}
	for _, d := range c.Data {
		if err := putData(ctx, t, c.ID, d, key); err != nil {
			return nil, err
		}
	}
	for _, m := range c.Put {
		id := s.now().UnixMicro()<<10 | number()&1023
		if _, err := t.exec(ctx, `INSERT INTO inbox (id, order_id, session, event) VALUES ($1, $2, $3, $4)`,
			id, m.Order, c.ID, key.Seal(seal.Place("inbox", c.ID, "event"), m.Event)); err != nil {
			return nil, err
		}
	}
	for _, id := range c.Took {
		if _, err := t.exec(ctx, `DELETE FROM inbox WHERE id = $1`, id); err != nil {
			return nil, err
		}
	}
	if err := s.writeLines(ctx, t, c); err != nil {
		return nil, err
	}
	if c.Erase {
		return nil, eraseSession(ctx, t, c.ID)
	}
	return key, nil
}

// number is a random positive 62 bits.
func number() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return int64(binary.BigEndian.Uint64(b[:]) >> 2)
}

// key opens a session's data key; broker.ErrNotFound once it is destroyed.
func (s *Store) key(ctx context.Context, t tx, session string) (*seal.Key, error) {
	if k := s.keys.Get(session); k != nil {
		return k, nil
	}
	var wrapped []byte
	err := t.row(ctx, `SELECT wrapped FROM session_key WHERE session = $1`, session).Scan(&wrapped)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, broker.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return s.master.Unwrap(seal.Place("session_key", session, "wrapped"), wrapped)
}

func insertSession(ctx context.Context, t tx, n *broker.Session) error {
	rows, err := t.exec(ctx, `INSERT INTO session (id, version, account, key_id, config, api, environment, state, reason, code,
			purpose, method, eid, stage, order_id, handle, level, extensions, language, created, confirmed, ended, due)
		VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
		ON CONFLICT DO NOTHING`,
		n.ID, n.Account, n.Key, n.Config, n.API, string(n.Environment), string(n.State), string(n.Reason), n.Code,
		string(n.Purpose), n.Method, string(n.EID), n.Stage, n.Order, n.Handle, string(n.Level), n.Extensions, n.Language,
		micros(n.Created), micros(n.Confirmed), micros(n.Ended), micros(n.Due))
	return one(rows, err, "insert session")
}

func updateSession(ctx context.Context, t tx, n *broker.Session) error {
	rows, err := t.exec(ctx, `UPDATE session SET version = version + 1, state = $3, reason = $4, code = $5, method = $6, eid = $7,
			stage = $8, order_id = $9, handle = $10, level = $11, extensions = $12, language = $13, confirmed = $14, ended = $15, due = $16
		WHERE id = $1 AND version = $2`,
		n.ID, n.Version, string(n.State), string(n.Reason), n.Code, n.Method, string(n.EID), n.Stage, n.Order, n.Handle,
		string(n.Level), n.Extensions, n.Language, micros(n.Confirmed), micros(n.Ended), micros(n.Due))
	return one(rows, err, "update session")
}

func writeOrder(ctx context.Context, t tx, o *broker.Order, key *seal.Key) error {
	var body []byte
	if key != nil && len(o.Body) > 0 {
		body = key.Seal(seal.Place("eid_order", o.ID, "body"), o.Body)
	}
	if o.Fence == 0 {
		rows, err := t.exec(ctx, `INSERT INTO eid_order (id, session, eid, environment, mode, stage, owner, fence, ended, due, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $10) ON CONFLICT DO NOTHING`,
			o.ID, o.Session, string(o.EID), string(o.Environment), o.Mode, o.Stage, o.Owner, bit(o.Ended), micros(o.Due), body)
		return one(rows, err, "insert order")
	}
	rows, err := t.exec(ctx, `UPDATE eid_order SET fence = fence + 1, eid = $3, mode = $4, stage = $5, owner = $6, ended = $7, due = $8, body = $9
		WHERE id = $1 AND fence = $2`,
		o.ID, o.Fence, string(o.EID), o.Mode, o.Stage, o.Owner, bit(o.Ended), micros(o.Due), body)
	return one(rows, err, "update order")
}

// one turns "no row was as it was read" into broker.ErrConflict.
func one(rows int64, err error, what string) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case rows != 1:
		return broker.ErrConflict
	}
	return nil
}

// putData writes a blob once. The same bytes again are no conflict: a change
// may be repeated after its answer was lost.
func putData(ctx context.Context, t tx, session string, d broker.Data, key *seal.Key) error {
	place := seal.Place("session_data", session, d.Kind)
	rows, err := t.exec(ctx, `INSERT INTO session_data (session, kind, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		session, d.Kind, key.Seal(place, d.Value))
	if err != nil || rows == 1 {
		return err
	}
	var old []byte
	if err := t.row(ctx, `SELECT value FROM session_data WHERE session = $1 AND kind = $2`, session, d.Kind).Scan(&old); err != nil {
		return err
	}
	if was, err := key.Open(place, old); err != nil || string(was) != string(d.Value) {
		return broker.ErrConflict
	}
	return nil
}

// writeLines appends timeline, audit and outbox.
func (s *Store) writeLines(ctx context.Context, t tx, c *broker.Change) error {
	for i, n := range c.Notes {
		seq := n.At.UnixMicro()<<10 | int64(i)<<6 | number()&63
		if _, err := t.exec(ctx, `INSERT INTO event (session, n, at, kind, text) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			c.ID, seq, n.At.UnixMicro(), n.Kind, n.Text); err != nil {
			return err
		}
	}
	for _, a := range c.Audit {
		if _, err := t.exec(ctx, `INSERT INTO audit (n, at, session, actor, action, outcome) VALUES ($1, $2, $3, $4, $5, $6)`,
			number(), a.At.UnixMicro(), c.ID, a.Actor, a.Action, a.Outcome); err != nil {
			return err
		}
	}
	for _, d := range c.Outbox {
		if err := s.putDelivery(ctx, t, d); err != nil {
			return err
		}
	}
	return nil
}

// eraseSession destroys the key and what was sealed with it. What the key had
// sealed elsewhere is unreadable from now on.
func eraseSession(ctx context.Context, t tx, id string) error {
	for _, q := range []string{
		`DELETE FROM session_key WHERE session = $1`,
		`DELETE FROM session_data WHERE session = $1`,
		`DELETE FROM order_ref WHERE session = $1`,
		`DELETE FROM inbox WHERE session = $1`,
		`UPDATE eid_order SET body = NULL, ended = 1, due = 0, fence = fence + 1 WHERE session = $1`,
		`UPDATE delivery SET wrapped = NULL, url = NULL, body = NULL WHERE session = $1 AND state <> 'pending'`,
	} {
		if _, err := t.exec(ctx, q, id); err != nil {
			return fmt.Errorf("erase session: %w", err)
		}
	}
	return nil
}

var _ broker.Store = (*Store)(nil)
