package store

import (
	"context"
	"time"

	"eidgate/broker"
	"eidgate/internal/seal"
)

// A delivery is sealed with a key of its own, so that it can outlive the
// session's data until it is delivered or its tries end.

// delivery are the statements that write one for the session of that number. What
// is sent stands apart: it is large, and the rest changes with each attempt.
func (s *Store) delivery(ctx context.Context, session int64, d broker.Delivery) ([]statement, error) {
	outer, err := s.accountKey(ctx, d.Account)
	if err != nil {
		return nil, err
	}
	key, wrapped, err := outer.New(seal.Place("delivery", d.ID, "wrapped"))
	if err != nil {
		return nil, err
	}
	return []statement{{q: `INSERT INTO delivery_data (delivery, wrapped, url, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		args: []any{d.ID, wrapped, key.Seal(seal.Place("delivery", d.ID, "url"), []byte(d.URL)), key.Seal(seal.Place("delivery", d.ID, "body"), d.Body)}, apart: true},
		{q: `INSERT INTO delivery (id, session, account, environment, kind, type, profile, key_id, upper, state, attempt, first, due)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'pending', 0, $10, $11) ON CONFLICT DO NOTHING`,
			args: []any{d.ID, session, d.Account, string(d.Environment), d.Kind, d.Type, d.Profile, d.Key, bit(d.UpperHex), micros(d.Due), micros(d.Due)}, apart: true}}, nil
}

// A claimed row is a delivery as it is stored.
type claimed struct {
	broker.Claimed
	wrapped, url, body []byte
}

// ClaimDeliveries takes deliveries whose time has come and puts their next
// time behind the lease: a worker that dies gives them back by itself. One
// that cannot be opened is logged and comes again; it holds nobody up. The sum
// in LIMIT is for SQLite, which plans a query with a bare parameter there anew
// each time.
func (s *Store) ClaimDeliveries(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]broker.Claimed, error) {
	var some bool // most looks find nothing; they shall not cost a write
	err := s.query(ctx, func(scanner) error { some = true; return nil },
		`SELECT 1 FROM delivery WHERE state = 'pending' AND due <= $1 LIMIT 1`, now.UnixMicro())
	if err != nil || !some {
		return nil, err
	}
	var rows []claimed
	err = s.returning(ctx, func() { rows = nil }, func(r scanner) error {
		var c claimed
		var upper, first, due int64
		err := r.Scan(&c.ID, &c.Session, &c.Account, &c.Environment, &c.Kind, &c.Type, &c.Profile, &c.Key, &upper, &c.wrapped, &c.url, &c.body,
			&c.Attempt, &c.Spent, &first, &due)
		c.UpperHex, c.First, c.Due = upper != 0, moment(first), moment(due)
		rows = append(rows, c)
		return err
	}, statement{q: `UPDATE delivery SET due = $2, attempt = attempt + 1 WHERE id IN (
			SELECT id FROM delivery WHERE state = 'pending' AND due <= $1 ORDER BY due LIMIT 0 + $3` + s.dialect.skip + `)
		RETURNING id, COALESCE((SELECT s.id FROM session s WHERE s.number = delivery.session), ''), account, environment, kind, type, profile, key_id,
			upper, (SELECT x.wrapped FROM delivery_data x WHERE x.delivery = delivery.id), (SELECT x.url FROM delivery_data x WHERE x.delivery = delivery.id),
			(SELECT x.body FROM delivery_data x WHERE x.delivery = delivery.id), attempt, spent, first, due`,
		args: []any{now.UnixMicro(), now.Add(lease).UnixMicro(), limit}})
	if err != nil {
		return nil, err
	}
	var out []broker.Claimed
	for _, c := range rows {
		if err := s.openDelivery(ctx, &c); err != nil {
			s.log.ErrorContext(ctx, "delivery does not open", "delivery", c.ID, "error", err)
			continue
		}
		out = append(out, c.Claimed)
	}
	return out, nil
}

func (s *Store) openDelivery(ctx context.Context, c *claimed) error {
	key, err := s.openAddress(ctx, c)
	if err != nil {
		return err
	}
	c.Body, err = key.Open(seal.Place("delivery", c.ID, "body"), c.body)
	return err
}

// openAddress opens where a delivery goes; key opens the rest.
func (s *Store) openAddress(ctx context.Context, c *claimed) (key *seal.Key, err error) {
	outer, err := s.accountKey(ctx, c.Account)
	if err != nil {
		return nil, err
	}
	if key, err = outer.Unwrap(seal.Place("delivery", c.ID, "wrapped"), c.wrapped); err != nil {
		return nil, err
	}
	address, err := key.Open(seal.Place("delivery", c.ID, "url"), c.url)
	c.URL = string(address)
	return key, err
}

// FinishDeliveries records attempts. One that was claimed again meanwhile is
// left to who has it now. The due time of one that is given up says since when
// it is.
func (s *Store) FinishDeliveries(ctx context.Context, done []broker.Attempt) error {
	var all []statement
	for _, f := range done {
		if f.Busy {
			all = append(all, statement{q: `UPDATE delivery SET attempt = attempt - 1, due = $3 WHERE id = $1 AND attempt = $2 AND state = 'pending'`,
				args: []any{f.ID, f.Attempt, micros(f.Due)}})
			continue
		}
		due := f.Due
		if f.State == "dead" || f.State == "failed" {
			due = f.At.Add(f.Took)
		}
		all = append(all, statement{q: `INSERT INTO delivery_attempt (delivery, n, at, took, state, status, reason)
			SELECT id, attempt, CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS TEXT), CAST($6 AS BIGINT), CAST($7 AS TEXT)
			FROM delivery WHERE id = $1 AND attempt = $2 AND state = 'pending' ON CONFLICT DO NOTHING`,
			args: []any{f.ID, f.Attempt, micros(f.At), f.Took.Microseconds(), f.State, f.Status, f.Reason}},
			statement{q: `UPDATE delivery SET state = $3, due = $4 WHERE id = $1 AND attempt = $2 AND state = 'pending'`,
				args: []any{f.ID, f.Attempt, f.State, micros(due)}})
		if f.State != "pending" { // the session may have been erased while this was on its way
			all = append(all, statement{q: `DELETE FROM delivery_data WHERE delivery IN (SELECT d.id FROM delivery d JOIN session s ON s.number = d.session
				WHERE d.id = $1 AND d.state <> 'pending' AND s.state = 'erased')`, args: []any{f.ID}})
		}
	}
	return s.batch(ctx, all)
}

// Deliveries lists the attempts for a session's notifications.
func (s *Store) Deliveries(ctx context.Context, session string) ([]broker.Attempt, error) {
	return s.attempts(ctx, `SELECT a.delivery, a.n, a.at, a.took, a.state, a.status, a.reason FROM delivery_attempt a JOIN delivery d ON d.id = a.delivery
		WHERE d.session = (SELECT number FROM session WHERE id = $1) ORDER BY a.at, a.n`, session)
}

func (s *Store) attempts(ctx context.Context, q, of string) ([]broker.Attempt, error) {
	var out []broker.Attempt
	err := s.query(ctx, func(r scanner) error {
		var f broker.Attempt
		var at, took int64
		err := r.Scan(&f.ID, &f.Attempt, &at, &took, &f.State, &f.Status, &f.Reason)
		f.At, f.Took = moment(at), time.Duration(took)*time.Microsecond
		out = append(out, f)
		return err
	}, q, of)
	return out, err
}

// maxBacklog bounds what Backlog counts.
const maxBacklog = 10_000

// Backlog says how many deliveries are not done, up to ten thousand, and when
// the one that is due first was due: zero if none is.
func (s *Store) Backlog(ctx context.Context) (pending int64, due time.Time, err error) {
	var first int64
	err = s.get(ctx, []any{&pending, &first}, `SELECT COUNT(*), COALESCE(MIN(due), 0) FROM
		(SELECT due FROM delivery WHERE state = 'pending' AND due > 0 ORDER BY due LIMIT $1) AS first`, maxBacklog)
	return pending, moment(first), err
}
