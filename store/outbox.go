package store

import (
	"context"
	"database/sql"
	"time"

	"eidgate/broker"
	"eidgate/internal/seal"
)

// A delivery is sealed with a key of its own, so that it can outlive the
// session's data until it is delivered or its tries end.

func (s *Store) putDelivery(ctx context.Context, t tx, d broker.Delivery) error {
	key, wrapped, err := s.master.New(seal.Place("delivery", d.ID, "wrapped"))
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO delivery (id, session, account, environment, kind, type, profile, key_id, upper, wrapped, url, body,
			state, attempt, first, due)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'pending', 0, $13, $14) ON CONFLICT DO NOTHING`,
		d.ID, d.Session, d.Account, string(d.Environment), d.Kind, d.Type, d.Profile, d.Key, bit(d.UpperHex), wrapped,
		key.Seal(seal.Place("delivery", d.ID, "url"), []byte(d.URL)), key.Seal(seal.Place("delivery", d.ID, "body"), d.Body),
		micros(d.Due), micros(d.Due))
	return err
}

// ClaimDeliveries takes deliveries whose time has come and puts their next
// time behind the lease: a worker that dies gives them back by itself.
func (s *Store) ClaimDeliveries(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]broker.Claimed, error) {
	var some bool // most looks find nothing; they shall not cost a write
	err := s.query(ctx, func(*sql.Rows) error { some = true; return nil },
		`SELECT 1 FROM delivery WHERE state = 'pending' AND due <= $1 LIMIT 1`, now.UnixMicro())
	if err != nil || !some {
		return nil, err
	}
	var out []broker.Claimed
	err = s.do(ctx, func(ctx context.Context, t tx) error {
		out = nil
		rows, err := t.rows(ctx, `UPDATE delivery SET due = $2, attempt = attempt + 1 WHERE id IN (
				SELECT id FROM delivery WHERE state = 'pending' AND due <= $1 ORDER BY due LIMIT $3`+s.dialect.skip+`)
			RETURNING id, session, account, environment, kind, type, profile, key_id, upper, wrapped, url, body, attempt, first, due`,
			now.UnixMicro(), now.Add(lease).UnixMicro(), limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c, err := s.scanClaimed(rows)
			if err != nil {
				return err
			}
			out = append(out, c)
		}
		return rows.Err()
	})
	return out, err
}

func (s *Store) scanClaimed(rows *sql.Rows) (broker.Claimed, error) {
	var c broker.Claimed
	var upper, first, due int64
	var wrapped, url, body []byte
	if err := rows.Scan(&c.ID, &c.Session, &c.Account, &c.Environment, &c.Kind, &c.Type, &c.Profile, &c.Key, &upper, &wrapped, &url, &body,
		&c.Attempt, &first, &due); err != nil {
		return c, err
	}
	c.UpperHex, c.First, c.Due = upper != 0, moment(first), moment(due)
	key, err := s.master.Unwrap(seal.Place("delivery", c.ID, "wrapped"), wrapped)
	if err != nil {
		return c, err
	}
	address, err := key.Open(seal.Place("delivery", c.ID, "url"), url)
	if err != nil {
		return c, err
	}
	c.URL = string(address)
	c.Body, err = key.Open(seal.Place("delivery", c.ID, "body"), body)
	return c, err
}

// FinishDeliveries records attempts. One that was claimed again meanwhile is
// left to who has it now.
func (s *Store) FinishDeliveries(ctx context.Context, all []broker.Attempt) error {
	return s.do(ctx, func(ctx context.Context, t tx) error {
		for _, f := range all {
			rows, err := t.exec(ctx, `UPDATE delivery SET state = $3, due = $4 WHERE id = $1 AND attempt = $2 AND state = 'pending'`,
				f.ID, f.Attempt, f.State, micros(f.Due))
			if err != nil {
				return err
			}
			if rows == 0 {
				continue
			}
			if _, err := t.exec(ctx, `INSERT INTO delivery_attempt (delivery, n, at, took, state, status, reason)
				VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
				f.ID, f.Attempt, micros(f.At), f.Took.Microseconds(), f.State, f.Status, f.Reason); err != nil {
				return err
			}
			if f.State == "pending" {
				continue
			}
			// The session may have been erased while this was on its way.
			if _, err := t.exec(ctx, `UPDATE delivery SET wrapped = NULL, url = NULL, body = NULL WHERE id = $1 AND session IN (
				SELECT id FROM session WHERE state = 'erased')`, f.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// Deliveries lists the attempts for a session's notifications.
func (s *Store) Deliveries(ctx context.Context, session string) ([]broker.Attempt, error) {
	var out []broker.Attempt
	err := s.query(ctx, func(r *sql.Rows) error {
		var f broker.Attempt
		var at, took int64
		err := r.Scan(&f.ID, &f.Attempt, &at, &took, &f.State, &f.Status, &f.Reason)
		f.At, f.Took = moment(at), time.Duration(took)*time.Microsecond
		out = append(out, f)
		return err
	}, `SELECT a.delivery, a.n, a.at, a.took, a.state, a.status, a.reason FROM delivery_attempt a JOIN delivery d ON d.id = a.delivery
		WHERE d.session = $1 ORDER BY a.at, a.n`, session)
	return out, err
}
