package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"eidgate/broker"
	"eidgate/internal/seal"
)

// maxNumbers is how many numbers a new session tries.
const maxNumbers = 5

// Apply implements broker.Store.
func (s *Store) Apply(ctx context.Context, c *broker.Change) error {
	data := c.Data
	for numbers := 1; ; {
		p := plan{s: s, c: c}
		if err := p.all(ctx, data); err != nil {
			return err
		}
		err := s.batchThen(ctx, p.list, s.kept(c.Session))
		if errors.Is(err, broker.ErrConflict) && len(data) > 0 {
			left, e := s.fresh(ctx, c.ID, data)
			if e != nil {
				return e
			}
			if len(left) < len(data) { // some of it was there already, as it should be
				data = left
				continue
			}
		}
		if errors.Is(err, broker.ErrConflict) && p.made != nil && numbers < maxNumbers {
			if _, e := s.home(ctx, c.ID); errors.Is(e, broker.ErrNotFound) { // its number was given to another session, see sequence
				numbers++
				continue
			}
		}
		if err != nil {
			if !errors.Is(err, broker.ErrConflict) { // nobody knows what has become of it
				s.rows.Drop(c.ID)
			}
			return err
		}
		if p.made != nil {
			s.homes.Put(c.ID, home{p.number, p.made})
		}
		break
	}
	if c.Erase {
		s.homes.Drop(c.ID)
	}
	if c.Session != nil {
		c.Session.Version++
	}
	if c.Order != nil {
		c.Order.Fence++
	}
	return nil
}

// kept keeps a session's row as a change leaves it. Only where the database
// belongs to this process are rows kept: nobody else changes them, and
// every change comes by here, in the order of its commit. Reads keep nothing,
// since a row may have changed since it was read.
func (s *Store) kept(n *broker.Session) func() {
	if n == nil || s.pool != nil {
		return nil
	}
	row := *n
	row.Version++
	for _, at := range []*time.Time{&row.Created, &row.Confirmed, &row.Ended, &row.Due} {
		*at = moment(micros(*at)) // as it would be read
	}
	if row.Handle = slices.Clone(row.Handle); len(row.Handle) == 0 {
		row.Handle = nil
	}
	return func() { s.rows.Put(row.ID, row) }
}

// fresh is the blobs that are not stored yet. A blob is written once, and the
// same bytes again are no conflict: a change may be repeated after its answer
// was lost. Other bytes are.
func (s *Store) fresh(ctx context.Context, session string, data []broker.Data) ([]broker.Data, error) {
	var left []broker.Data
	for _, d := range data {
		was, err := s.Data(ctx, session, d.Kind)
		switch {
		case errors.Is(err, broker.ErrNotFound):
			left = append(left, d)
		case err != nil:
			return nil, err
		case !bytes.Equal(was, d.Value):
			return nil, broker.ErrConflict
		}
	}
	return left, nil
}

// A plan is the statements of one change, in the order in which they run: the
// guarded ones first.
type plan struct {
	s      *Store
	c      *broker.Change
	number int64     // of the session; 0 where the change writes nothing that carries it
	key    *seal.Key // of the session's data
	made   *seal.Key // the same, if this change makes it
	list   []statement
}

func (p *plan) add(q string, args ...any) {
	p.list = append(p.list, statement{q: q, args: args, apart: true})
}

func (p *plan) must(what, q string, args ...any) {
	p.list = append(p.list, statement{q: q, args: args, one: what, apart: true})
}

// rows makes an INSERT of one row one of n rows.
func rows(insert string, n int) string {
	each := strings.Count(insert, "$")
	var b strings.Builder
	b.WriteString(insert)
	for i := each; i < each*n; i++ {
		if i%each == 0 {
			b.WriteString(", (")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(i + 1))
		if (i+1)%each == 0 {
			b.WriteByte(')')
		} else {
			b.WriteString(", ")
		}
	}
	return b.String()
}

// all lists the statements; data are the blobs to write.
func (p *plan) all(ctx context.Context, data []broker.Data) (err error) {
	c := p.c
	switch {
	case c.Session != nil && c.Session.Version == 0:
		if err := p.insertSession(ctx, c.Session); err != nil {
			return err
		}
	case c.Session != nil:
		p.updateSession(c.Session)
	}
	if p.number == 0 && (c.Order != nil || len(data)+len(c.Put)+len(c.Notes)+len(c.Outbox) > 0 || c.Erase) {
		h, err := p.s.home(ctx, c.ID)
		if err != nil {
			return err
		}
		if p.number, p.key = h.number, h.key; p.key == nil && (c.Order != nil && !c.Erase || len(data)+len(c.Put) > 0) {
			return broker.ErrNotFound
		}
	}
	if c.Order != nil {
		p.order(c.Order)
	}
	if len(data) > 0 {
		args := make([]any, 0, 3*len(data))
		for _, d := range data {
			args = append(args, p.number, d.Kind, p.key.Seal(seal.Place("session_data", c.ID, d.Kind), d.Value))
		}
		p.list = append(p.list, statement{q: rows(`INSERT INTO session_data (session, kind, value) VALUES ($1, $2, $3)`, len(data)) + ` ON CONFLICT DO NOTHING`,
			args: args, one: "write data", rows: int64(len(data)), apart: true})
	}
	for _, m := range c.Put {
		p.add(`INSERT INTO inbox (id, order_id, session, event) VALUES ($1, $2, $3, $4)`,
			p.s.seq.next(), m.Order, p.number, p.key.Seal(seal.Place("inbox", c.ID, "event"), m.Event))
	}
	for _, id := range c.Took {
		p.add(`DELETE FROM inbox WHERE id = $1`, id)
	}
	if err := p.lines(ctx); err != nil {
		return err
	}
	if c.Erase {
		p.erase()
	}
	return nil
}

func (p *plan) insertSession(ctx context.Context, n *broker.Session) error {
	p.number = p.s.seq.next()
	p.must("insert session", `INSERT INTO session (number, id, version, account, key_id, config, api, environment, state, reason, code,
			purpose, method, eid, stage, order_id, handle, level, extensions, language, created, confirmed, ended, due)
		VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
		ON CONFLICT DO NOTHING`,
		p.number, n.ID, n.Account, n.Key, n.Config, n.API, string(n.Environment), string(n.State), string(n.Reason), n.Code,
		string(n.Purpose), n.Method, string(n.EID), n.Stage, n.Order, n.Handle, string(n.Level), n.Extensions, n.Language,
		micros(n.Created), micros(n.Confirmed), micros(n.Ended), micros(n.Due))
	outer, err := p.s.accountKey(ctx, n.Account)
	if err != nil {
		return err
	}
	key, wrapped, err := outer.New(seal.Place("session_key", n.ID, "wrapped"))
	p.key, p.made = key, key
	p.add(`INSERT INTO session_key (session, wrapped) VALUES ($1, $2)`, p.number, wrapped)
	return err
}

func (p *plan) updateSession(n *broker.Session) {
	p.must("update session", `UPDATE session SET version = version + 1, state = $3, reason = $4, code = $5, method = $6, eid = $7,
			stage = $8, order_id = $9, handle = $10, level = $11, extensions = $12, language = $13, confirmed = $14, ended = $15, due = $16
		WHERE id = $1 AND version = $2`,
		n.ID, n.Version, string(n.State), string(n.Reason), n.Code, n.Method, string(n.EID), n.Stage, n.Order, n.Handle,
		string(n.Level), n.Extensions, n.Language, micros(n.Confirmed), micros(n.Ended), micros(n.Due))
}

func (p *plan) order(o *broker.Order) {
	var body []byte
	if p.key != nil && len(o.Body) > 0 {
		body = p.key.Seal(seal.Place("eid_order", o.ID, "body"), o.Body)
	}
	if o.Fence == 0 {
		p.must("insert order", `INSERT INTO eid_order (id, session, eid, environment, mode, stage, owner, fence, ended, due, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $10) ON CONFLICT DO NOTHING`,
			o.ID, p.number, string(o.EID), string(o.Environment), o.Mode, o.Stage, o.Owner, bit(o.Ended), micros(o.Due), body)
	} else {
		p.must("update order", `UPDATE eid_order SET fence = fence + 1, eid = $3, mode = $4, stage = $5, owner = $6, ended = $7, due = $8, body = $9
			WHERE id = $1 AND fence = $2`,
			o.ID, o.Fence, string(o.EID), o.Mode, o.Stage, o.Owner, bit(o.Ended), micros(o.Due), body)
	}
	for _, r := range p.c.Refs {
		p.add(`INSERT INTO order_ref (eid, environment, ref, order_id, session, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			string(o.EID), string(o.Environment), string(r), o.ID, p.number, p.s.seq.next())
	}
}

// lines appends timeline, audit and outbox.
func (p *plan) lines(ctx context.Context) error {
	if len(p.c.Notes) > 0 {
		args := make([]any, 0, 5*len(p.c.Notes))
		for _, n := range p.c.Notes {
			args = append(args, p.number, p.s.seq.next(), n.At.UnixMicro(), n.Kind, n.Text)
		}
		p.add(rows(`INSERT INTO event (session, n, at, kind, text) VALUES ($1, $2, $3, $4, $5)`, len(p.c.Notes)), args...)
	}
	if len(p.c.Audit) > 0 {
		p.list = append(p.list, p.s.audit(p.c.ID, p.c.Audit...))
	}
	for _, d := range p.c.Duties {
		outer, err := p.s.accountKey(ctx, d.Account)
		if err != nil {
			return err
		}
		p.add(`INSERT INTO duty (id, session, account, config, environment, eid, settings, state, due)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
			d.ID, d.Session, d.Account, d.Config, string(d.Environment), string(d.EID), d.Set,
			outer.Seal(seal.Place("duty", d.ID, "state"), d.State), micros(d.Due))
	}
	for _, d := range p.c.Outbox {
		written, err := p.s.delivery(ctx, p.number, d)
		if err != nil {
			return err
		}
		p.list = append(p.list, written...)
	}
	return nil
}

// audit is the statement that writes lines of a session's audit trail.
func (s *Store) audit(session string, all ...broker.Audit) statement {
	args := make([]any, 0, 6*len(all))
	for _, a := range all {
		args = append(args, s.seq.next(), a.At.UnixMicro(), session, a.Actor, a.Action, a.Outcome)
	}
	return statement{q: rows(`INSERT INTO audit (n, at, session, actor, action, outcome) VALUES ($1, $2, $3, $4, $5, $6)`, len(all)), args: args, apart: true}
}

// erase destroys the key and what was sealed with it. What the key has sealed
// elsewhere is unreadable from now on. A notification that is on its way keeps
// its body, and its row is written all the same: so whoever finishes it sees
// that the session is erased, or is seen to have finished.
func (p *plan) erase() {
	for _, q := range []string{
		`DELETE FROM session_key WHERE session = $1`,
		`DELETE FROM session_data WHERE session = $1`,
		`DELETE FROM order_ref WHERE session = $1`,
		`DELETE FROM inbox WHERE session = $1`,
		`DELETE FROM oidc_sso WHERE session = $1 AND id IN (SELECT sso FROM oidc_grant WHERE session = $1)`,
		`DELETE FROM oidc_grant WHERE session = $1`,
		`DELETE FROM oidc_token WHERE session = $1 AND session <> 0`,
		`UPDATE eid_order SET body = NULL, ended = 1, due = 0, fence = fence + 1 WHERE session = $1`,
		`UPDATE delivery SET state = state WHERE session = $1`,
		`DELETE FROM delivery_data WHERE delivery IN (SELECT id FROM delivery WHERE session = $1 AND state <> 'pending')`,
	} {
		p.list = append(p.list, statement{q: q, args: []any{p.number}})
	}
}

var _ broker.Store = (*Store)(nil)
