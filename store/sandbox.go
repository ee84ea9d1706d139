package store

import (
	"context"

	"eidgate/broker"
)

// What only the sandbox asks for: notifications with their bodies, and
// accounts that go with all they made.

// A Sent is a notification as it is stored. URL and Body are empty once the
// session is erased.
type Sent struct {
	broker.Claimed
	State string
}

// Outbox lists the notifications of a session.
func (s *Store) Outbox(ctx context.Context, session string) ([]Sent, error) {
	type row struct {
		claimed
		state string
	}
	var rows []row
	err := s.query(ctx, func(r scanner) error {
		var c row
		var first, due int64
		err := r.Scan(&c.ID, &c.Session, &c.Account, &c.Environment, &c.Kind, &c.Type, &c.wrapped, &c.url, &c.body, &c.state, &c.Attempt, &first, &due)
		c.First = moment(first)
		if c.state == "pending" {
			c.Due = moment(due)
		}
		rows = append(rows, c)
		return err
	}, `SELECT d.id, s.id, d.account, d.environment, d.kind, d.type, x.wrapped, x.url, x.body, d.state, d.attempt, d.first, d.due
		FROM delivery d JOIN session s ON s.number = d.session LEFT JOIN delivery_data x ON x.delivery = d.id WHERE s.id = $1 ORDER BY d.first, d.id`, session)
	if err != nil {
		return nil, err
	}
	out := make([]Sent, len(rows))
	for i := range rows {
		c := &rows[i]
		if c.wrapped != nil {
			if err := s.openDelivery(ctx, &c.claimed); err != nil {
				return nil, err
			}
		}
		out[i] = Sent{c.Claimed, c.state}
	}
	return out, nil
}

// Remove takes an account away with one key, and all that its sessions left;
// the audit trail stays. Nothing of it may be running any more.
func (s *Store) Remove(ctx context.Context, account, key string) error {
	defer s.forgetAccounts()
	defer s.clients.kept.Clear()
	err := s.batch(ctx, []statement{
		{q: `DELETE FROM api_key WHERE id = $1`, args: []any{key}},
		{q: `DELETE FROM oidc_client WHERE account = $1`, args: []any{account}},
		{q: `DELETE FROM account WHERE id = $1`, args: []any{account}},
	})
	if err != nil {
		return err
	}
	s.forgetAccounts() // nobody may start anything any more
	s.clients.kept.Clear()
	for {
		some, err := s.List(ctx, account, "", 100)
		if err != nil {
			return err
		}
		if len(some) == 0 {
			break
		}
		var all []statement
		for _, n := range some {
			h, err := s.home(ctx, n.ID)
			if err != nil {
				return err
			}
			for _, q := range []string{
				`DELETE FROM delivery_attempt WHERE delivery IN (SELECT id FROM delivery WHERE session = $1)`,
				`DELETE FROM delivery_data WHERE delivery IN (SELECT id FROM delivery WHERE session = $1)`,
				`DELETE FROM delivery WHERE session = $1`,
				`DELETE FROM inbox WHERE session = $1`,
				`DELETE FROM order_ref WHERE session = $1`,
				`DELETE FROM duty WHERE id IN (SELECT id FROM eid_order WHERE session = $1)`,
				`DELETE FROM eid_order WHERE session = $1`,
				`DELETE FROM event WHERE session = $1`,
				`DELETE FROM oidc_sso WHERE session = $1 AND id IN (SELECT sso FROM oidc_grant WHERE session = $1)`,
				`DELETE FROM oidc_grant WHERE session = $1`,
				`DELETE FROM oidc_token WHERE session = $1 AND session <> 0`,
				`DELETE FROM session_data WHERE session = $1`,
				`DELETE FROM session_key WHERE session = $1`,
				`DELETE FROM session WHERE number = $1`,
			} {
				all = append(all, statement{q: q, args: []any{h.number}})
			}
		}
		err = s.batch(ctx, all)
		s.rows.Clear()
		if err != nil {
			return err
		}
	}
	return s.batch(ctx, []statement{
		{q: `DELETE FROM oidc_subject WHERE account = $1`, args: []any{account}},
		{q: `DELETE FROM account_key WHERE account = $1`, args: []any{account}},
	})
}
