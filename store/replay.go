package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"eidgate/broker"
)

// What operators see of the outbox, and how they put back what has ended.

// statusRows are what scanStatus reads.
const statusRows = `d.id, COALESCE(s.id, ''), d.account, d.environment, d.kind, d.type, d.profile, d.state, d.attempt, d.spent, d.first, d.due,
	COALESCE(a.status, 0), COALESCE(a.reason, ''), x.wrapped, x.url
	FROM delivery d LEFT JOIN session s ON s.number = d.session LEFT JOIN delivery_data x ON x.delivery = d.id
	LEFT JOIN delivery_attempt a ON a.delivery = d.id AND a.n = d.attempt`

// A status is a delivery with its address as it is stored.
type status struct {
	broker.DeliveryStatus
	sealed claimed
}

func (s *Store) statuses(ctx context.Context, q string, args ...any) ([]broker.DeliveryStatus, error) {
	var rows []status
	err := s.query(ctx, func(r scanner) error {
		var n status
		var first, due int64
		d := &n.DeliveryStatus
		err := r.Scan(&d.ID, &d.Session, &d.Account, &d.Environment, &d.Kind, &d.Type, &d.Profile, &d.State, &d.Attempts, &d.Spent, &first, &due,
			&d.Status, &d.Reason, &n.sealed.wrapped, &n.sealed.url)
		d.Written, d.Erased = moment(first), n.sealed.wrapped == nil
		switch d.State {
		case "pending":
			d.Due = moment(due)
		case "dead", "failed":
			d.GivenUp = moment(due)
		}
		rows = append(rows, n)
		return err
	}, q, args...)
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	out := make([]broker.DeliveryStatus, len(rows))
	for i := range rows {
		n := &rows[i]
		if !n.Erased && n.Kind != "email" {
			n.sealed.ID, n.sealed.Account = n.ID, n.Account
			if _, err := s.openAddress(ctx, &n.sealed); err != nil {
				return nil, fmt.Errorf("read outbox: delivery %s: %w", n.ID, err)
			}
			if u, err := url.Parse(n.sealed.URL); err == nil {
				n.Host = u.Host
			}
		}
		out[i] = n.DeliveryStatus
	}
	return out, nil
}

// Statuses lists deliveries: those that are given up, the latest first; or
// those that wait, in the order in which their time comes; or those that are
// delivered, the newest first. The empty id is for SQLite, which would sort the
// whole table otherwise.
func (s *Store) Statuses(ctx context.Context, f broker.DeliveryFilter, limit int) ([]broker.DeliveryStatus, error) {
	switch f.State {
	case "pending":
		return s.statuses(ctx, `SELECT `+statusRows+` WHERE d.state = 'pending' AND d.first >= $1 AND ($2 = '' OR d.account = $2)
			ORDER BY d.due LIMIT $3`, micros(f.Since), f.Account, limit)
	case "delivered":
		return s.statuses(ctx, `SELECT `+statusRows+` WHERE d.id > '' AND d.state = 'delivered' AND d.first >= $1 AND ($2 = '' OR d.account = $2)
			ORDER BY d.id DESC LIMIT $3`, micros(f.Since), f.Account, limit)
	}
	return s.statuses(ctx, `SELECT `+statusRows+` WHERE d.state IN ('dead', 'failed') AND d.due >= $1 AND ($2 = '' OR d.account = $2)
		AND ($3 = '' OR d.state = $3) ORDER BY d.due DESC LIMIT $4`, micros(f.Since), f.Account, f.State, limit)
}

// Status finds one delivery; broker.ErrNotFound.
func (s *Store) Status(ctx context.Context, id string) (broker.DeliveryStatus, error) {
	all, err := s.statuses(ctx, `SELECT `+statusRows+` WHERE d.id = $1`, id)
	if err != nil {
		return broker.DeliveryStatus{}, err
	}
	if len(all) == 0 {
		return broker.DeliveryStatus{}, broker.ErrNotFound
	}
	return all[0], nil
}

// Attempts lists the attempts at one delivery, in their order.
func (s *Store) Attempts(ctx context.Context, id string) ([]broker.Attempt, error) {
	return s.attempts(ctx, `SELECT delivery, n, at, took, state, status, reason FROM delivery_attempt WHERE delivery = $1 ORDER BY n`, id)
}

// maxGivenUp bounds what GivenUp counts.
const maxGivenUp = 10_000

// GivenUp counts the deliveries that were given up since a time and were not
// put back, up to ten thousand.
func (s *Store) GivenUp(ctx context.Context, since time.Time) (n int64, err error) {
	return n, s.get(ctx, []any{&n}, `SELECT COUNT(*) FROM
		(SELECT due FROM delivery WHERE state IN ('dead', 'failed') AND due >= $1 LIMIT $2) AS first`, since.UnixMicro(), maxGivenUp)
}

// Replayable are the ids of what was given up since a time, for one account or
// for all where it is "", the first that was given up first. Of how many more
// nothing is left to send, erased says.
func (s *Store) Replayable(ctx context.Context, account string, since time.Time) (ids []string, erased int, err error) {
	err = s.query(ctx, func(r scanner) error {
		var id string
		var gone int64
		if err := r.Scan(&id, &gone); err != nil {
			return err
		}
		if gone != 0 {
			erased++
			return nil
		}
		ids = append(ids, id)
		return nil
	}, `SELECT d.id, CASE WHEN x.delivery IS NULL THEN 1 ELSE 0 END FROM delivery d LEFT JOIN delivery_data x ON x.delivery = d.id
		WHERE d.state IN ('dead', 'failed') AND d.due >= $1 AND ($2 = '' OR d.account = $2) ORDER BY d.due`, since.UnixMicro(), account)
	if err != nil {
		return nil, 0, fmt.Errorf("read outbox: %w", err)
	}
	return ids, erased, nil
}

// Replay puts a delivery that has ended back, to be tried from due on as if it
// were new: with the same id, address and body, and all tries of its profile
// before it. broker.ErrNotFound, broker.ErrPending, broker.ErrErased.
//
// The row is taken first, as an erasure takes it: whichever of the two is the
// second sees what the other has done. Attempts are counted on, so that a worker
// that comes back late cannot take one for its own.
func (s *Store) Replay(ctx context.Context, id string, due time.Time) error {
	for {
		d, err := s.Status(ctx, id)
		switch {
		case err != nil:
			return err
		case d.State == "pending":
			return broker.ErrPending
		case d.Erased:
			return broker.ErrErased
		}
		if _, err := s.AuditHead(ctx); err != nil { // our numbers go on above it
			return err
		}
		err = s.operate(ctx, func() []statement {
			return []statement{
				{q: `UPDATE delivery SET state = state WHERE id = $1`, args: []any{id}},
				{q: `UPDATE delivery SET state = 'pending', spent = attempt, due = $2 WHERE id = $1 AND state <> 'pending'
					AND EXISTS (SELECT 1 FROM delivery_data x WHERE x.delivery = delivery.id)`, args: []any{id, micros(due)}, one: "replay delivery"},
				s.audit(d.Session, s.operator("delivery.replay"))}
		})
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
}
