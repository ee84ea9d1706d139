package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/seal"
)

// What has to be done now and then, and belongs to no session: duties to
// upstreams, and the lists that people choose from. A duty is sealed with its
// account's key, because the session's is gone before it is paid.

// ClaimDuty implements broker.Store.
func (s *Store) ClaimDuty(ctx context.Context, now, until time.Time) (*broker.Duty, error) {
	var some bool // most looks find nothing; they shall not cost a write
	err := s.query(ctx, func(scanner) error { some = true; return nil }, `SELECT 1 FROM duty WHERE due <= $1 LIMIT 1`, now.UnixMicro())
	if err != nil || !some {
		return nil, err
	}
	var d *broker.Duty
	err = s.returning(ctx, func() { d = nil }, func(r scanner) error {
		d = &broker.Duty{}
		var due int64
		err := r.Scan(&d.ID, &d.Session, &d.Account, &d.Config, &d.Environment, &d.EID, &d.Set, &d.State, &due)
		d.Due = moment(due)
		return err
	}, statement{q: `UPDATE duty SET due = $2 WHERE id IN (SELECT id FROM duty WHERE due <= $1 ORDER BY due LIMIT 1` + s.dialect.skip + `)
		RETURNING id, session, account, config, environment, eid, settings, state, due`, args: []any{now.UnixMicro(), until.UnixMicro()}})
	if err != nil || d == nil {
		return nil, err
	}
	outer, err := s.accountKey(ctx, d.Account)
	if err != nil {
		return nil, err
	}
	if d.State, err = outer.Open(seal.Place("duty", d.ID, "state"), d.State); err != nil {
		return nil, fmt.Errorf("open duty: %w", err)
	}
	return d, nil
}

// SettleDuty implements broker.Store. One whose claim has run out, so that
// another node has it now, is left to that.
func (s *Store) SettleDuty(ctx context.Context, d *broker.Duty, next *connector.Duty, a broker.Audit) error {
	all := []statement{s.audit(d.Session, a)}
	if next == nil {
		all = append(all, statement{q: `DELETE FROM duty WHERE id = $1 AND due = $2`, args: []any{d.ID, micros(d.Due)}})
		return s.batch(ctx, all)
	}
	outer, err := s.accountKey(ctx, d.Account)
	if err != nil {
		return err
	}
	all = append(all, statement{q: `UPDATE duty SET state = $3, due = $4 WHERE id = $1 AND due = $2`,
		args: []any{d.ID, micros(d.Due), outer.Seal(seal.Place("duty", d.ID, "state"), next.State), micros(next.Due)}})
	return s.batch(ctx, all)
}

// Directory implements broker.Store.
func (s *Store) Directory(ctx context.Context, env eid.Environment, e eid.EID, contract string) (*broker.Directory, error) {
	d := &broker.Directory{Environment: env, EID: e, Contract: contract}
	var doc string
	var fetched, due int64
	err := s.get(ctx, []any{&doc, &fetched, &due}, `SELECT doc, fetched, due FROM directory WHERE environment = $1 AND eid = $2 AND contract = $3`,
		string(env), string(e), contract)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(doc), &d.List); err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	d.Fetched, d.Due = moment(fetched), moment(due)
	return d, nil
}

// ClaimDirectory implements broker.Store.
func (s *Store) ClaimDirectory(ctx context.Context, d *broker.Directory, until time.Time) (mine bool, err error) {
	err = s.returning(ctx, func() { mine = false }, func(r scanner) error {
		var due int64
		mine = true
		return r.Scan(&due)
	}, statement{q: `UPDATE directory SET due = $5 WHERE environment = $1 AND eid = $2 AND contract = $3 AND due = $4 RETURNING due`,
		args: []any{string(d.Environment), string(d.EID), d.Contract, micros(d.Due), micros(until)}})
	return mine, err
}

// PutDirectory implements broker.Store.
func (s *Store) PutDirectory(ctx context.Context, d *broker.Directory) error {
	doc, err := json.Marshal(d.List)
	if err != nil {
		return err
	}
	return s.batch(ctx, []statement{{q: `INSERT INTO directory (environment, eid, contract, doc, fetched, due) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (environment, eid, contract) DO UPDATE SET doc = excluded.doc, fetched = excluded.fetched, due = excluded.due`,
		args: []any{string(d.Environment), string(d.EID), d.Contract, string(doc), micros(d.Fetched), micros(d.Due)}}})
}
