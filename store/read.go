package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/seal"
)

// query reads rows. On SQLite a read is short and local, and not to be
// interrupted is what makes it cheap.
func (s *Store) query(ctx context.Context, each func(scanner) error, q string, args ...any) error {
	if s.pool != nil {
		rows, err := s.pool.Query(ctx, q, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		return walk(rows, each)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	st, err := s.stmts.get(ctx, q) //nolint:sqlclosecheck // it stays for the next time
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	return walk(rows, each)
}

// walk reads the rows of either driver.
func walk(rows interface {
	scanner
	Next() bool
	Err() error
}, each func(scanner) error) error {
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// finds is the error of a reading of rows. A text that PostgreSQL does not take, such
// as one with a NUL in it, is the name of nothing, and no failure.
func finds(err error) error {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) && e.Code == "22021" {
		return nil
	}
	return err
}

// get reads one row; broker.ErrNotFound if there is none.
func (s *Store) get(ctx context.Context, into []any, q string, args ...any) error {
	found := false
	err := finds(s.query(ctx, func(r scanner) error {
		found = true
		return r.Scan(into...)
	}, q, args...))
	if err == nil && !found {
		return broker.ErrNotFound
	}
	return err
}

const sessionColumns = `id, version, account, key_id, config, api, environment, state, reason, code, purpose, method, eid, stage,
	order_id, handle, level, extensions, language, created, confirmed, ended, due`

// scanSession reads sessionColumns.
func scanSession(r scanner) (*broker.Session, error) {
	var n broker.Session
	var created, confirmed, ended, due int64
	err := r.Scan(&n.ID, &n.Version, &n.Account, &n.Key, &n.Config, &n.API, &n.Environment, &n.State, &n.Reason, &n.Code, &n.Purpose,
		&n.Method, &n.EID, &n.Stage, &n.Order, &n.Handle, &n.Level, &n.Extensions, &n.Language, &created, &confirmed, &ended, &due)
	n.Created, n.Confirmed, n.Ended, n.Due = moment(created), moment(confirmed), moment(ended), moment(due)
	if len(n.Handle) == 0 {
		n.Handle = nil
	}
	return &n, err
}

// Session implements broker.Store.
func (s *Store) Session(ctx context.Context, id string) (*broker.Session, error) {
	if row, ok := s.rows.Get(id); ok {
		return &row, ctx.Err()
	}
	all, err := s.sessions(ctx, `SELECT `+sessionColumns+` FROM session WHERE id = $1`, id)
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	if len(all) == 0 {
		return nil, broker.ErrNotFound
	}
	return all[0], nil
}

// Version implements broker.Store.
func (s *Store) Version(ctx context.Context, id string) (n int64, err error) {
	if row, ok := s.rows.Get(id); ok {
		return row.Version, ctx.Err()
	}
	if s.versions != nil {
		return s.versions.of(ctx, id)
	}
	return n, s.get(ctx, []any{&n}, `SELECT version FROM session WHERE id = $1`, id)
}

// readVersions is what versions asks PostgreSQL.
func (s *Store) readVersions(ctx context.Context, ids []string) (map[string]int64, error) {
	found := make(map[string]int64, len(ids))
	return found, s.query(ctx, func(r scanner) error {
		var id string
		var n int64
		err := r.Scan(&id, &n)
		found[id] = n
		return err
	}, `SELECT id, version FROM session WHERE id = ANY($1)`, ids)
}

// A home is where a session's data are: the number that its rows carry, and
// the key that opens them, nil once that is destroyed.
type home struct {
	number int64
	key    *seal.Key
}

// home finds a session's data; broker.ErrNotFound if there is no such session.
func (s *Store) home(ctx context.Context, session string) (home, error) {
	if h, ok := s.homes.Get(session); ok {
		return h, nil
	}
	var h home
	var wrapped []byte
	var account string
	if err := s.get(ctx, []any{&h.number, &wrapped, &account}, `SELECT s.number, k.wrapped, s.account FROM session s
		LEFT JOIN session_key k ON k.session = s.number WHERE s.id = $1`, session); err != nil {
		return home{}, err
	}
	if len(wrapped) > 0 {
		outer, err := s.accountKey(ctx, account)
		if err != nil {
			return home{}, err
		}
		if h.key, err = outer.Unwrap(seal.Place("session_key", session, "wrapped"), wrapped); err != nil {
			return home{}, err
		}
	}
	s.homes.Put(session, h)
	return h, nil
}

// alive is home where the key is needed: broker.ErrNotFound also once it is
// destroyed.
func (s *Store) alive(ctx context.Context, session string) (home, error) {
	h, err := s.home(ctx, session)
	if err == nil && h.key == nil {
		err = broker.ErrNotFound
	}
	return h, err
}

// Order implements broker.Store.
func (s *Store) Order(ctx context.Context, id string) (*broker.Order, error) {
	return s.order(ctx, `SELECT `+orderColumns+` FROM eid_order o JOIN session s ON s.number = o.session WHERE o.id = $1`, id)
}

// Find implements broker.Store.
func (s *Store) Find(ctx context.Context, e eid.EID, env eid.Environment, ref connector.Ref) (*broker.Order, error) {
	return s.order(ctx, `SELECT `+orderColumns+` FROM order_ref r JOIN eid_order o ON o.id = r.order_id JOIN session s ON s.number = o.session
		WHERE r.eid = $1 AND r.environment = $2 AND r.ref = $3`, string(e), string(env), string(ref))
}

const orderColumns = `o.id, s.id, o.eid, o.environment, o.mode, o.stage, o.owner, o.fence, o.ended, o.due, o.body`

func (s *Store) order(ctx context.Context, q string, args ...any) (*broker.Order, error) {
	var o broker.Order
	var ended, due int64
	var sealed []byte
	err := s.get(ctx, []any{&o.ID, &o.Session, &o.EID, &o.Environment, &o.Mode, &o.Stage, &o.Owner, &o.Fence, &ended, &due, &sealed}, q, args...)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("read order: %w", err)
	}
	o.Ended, o.Due = ended != 0, moment(due)
	if len(sealed) == 0 {
		return &o, nil
	}
	h, err := s.home(ctx, o.Session)
	if err != nil || h.key == nil { // nil: erased
		return &o, err
	}
	o.Body, err = h.key.Open(seal.Place("eid_order", o.ID, "body"), sealed)
	return &o, err
}

// Data implements broker.Store.
func (s *Store) Data(ctx context.Context, session, kind string) ([]byte, error) {
	h, err := s.alive(ctx, session)
	if err != nil {
		return nil, err
	}
	var value []byte
	if err := s.get(ctx, []any{&value}, `SELECT value FROM session_data WHERE session = $1 AND kind = $2`, h.number, kind); err != nil {
		return nil, err
	}
	return h.key.Open(seal.Place("session_data", session, kind), value)
}

// Evidence implements broker.Store.
func (s *Store) Evidence(ctx context.Context, session string) ([]eid.Evidence, error) {
	type row struct {
		kind  string
		value []byte
	}
	h, err := s.alive(ctx, session)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []row
	err = s.query(ctx, func(r scanner) error {
		var x row
		err := r.Scan(&x.kind, &x.value)
		all = append(all, x)
		return err
	}, `SELECT kind, value FROM session_data WHERE session = $1 AND kind >= $2 AND kind < $3 ORDER BY kind`,
		h.number, broker.DataEvidence, strings.TrimSuffix(broker.DataEvidence, "/")+"0")
	if err != nil {
		return nil, err
	}
	var out []eid.Evidence
	for _, x := range all {
		raw, err := h.key.Open(seal.Place("session_data", session, x.kind), x.value)
		if err != nil {
			return nil, err
		}
		e, err := broker.Data{Kind: x.kind, Value: raw}.Evidence()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// Notes implements broker.Store. The first line is the session's own row.
func (s *Store) Notes(ctx context.Context, session string) ([]broker.Note, error) {
	var out []broker.Note
	err := s.query(ctx, func(r scanner) error {
		var n broker.Note
		var at int64
		err := r.Scan(&at, &n.Kind, &n.Text)
		n.At = moment(at)
		out = append(out, n)
		return err
	}, `SELECT at, kind, text FROM (
			SELECT 0 AS n, created AS at, 'state' AS kind, 'created' AS text FROM session WHERE id = $1
			UNION ALL SELECT n, at, kind, text FROM event WHERE session = (SELECT number FROM session WHERE id = $1)) AS lines ORDER BY n`, session)
	return out, err
}

// Refs implements broker.Store.
func (s *Store) Refs(ctx context.Context, session string) ([]connector.Ref, error) {
	var out []connector.Ref
	err := s.query(ctx, func(r scanner) error {
		var ref connector.Ref
		err := r.Scan(&ref)
		out = append(out, ref)
		return err
	}, `SELECT ref FROM order_ref WHERE session = (SELECT number FROM session WHERE id = $1) ORDER BY at`, session)
	return out, err
}

// Due implements broker.Store.
func (s *Store) Due(ctx context.Context, now time.Time, after broker.Mark, limit int) ([]*broker.Session, error) {
	return s.sessions(ctx, `SELECT `+sessionColumns+` FROM session WHERE due > 0 AND due >= $2 AND due <= $1 AND (due > $2 OR id > $3)
		ORDER BY due, id LIMIT $4`, now.UnixMicro(), micros(after.Due), after.ID, limit)
}

func (s *Store) sessions(ctx context.Context, q string, args ...any) ([]*broker.Session, error) {
	var out []*broker.Session
	err := s.query(ctx, func(r scanner) error {
		n, err := scanSession(r)
		out = append(out, n)
		return err
	}, q, args...)
	return out, finds(err)
}

// List shows the latest sessions; empty filters match all.
func (s *Store) List(ctx context.Context, account, state string, limit int) ([]*broker.Session, error) {
	return s.sessions(ctx, `SELECT `+sessionColumns+` FROM session WHERE ($1 = '' OR account = $1) AND ($2 = '' OR state = $2)
		ORDER BY number DESC LIMIT $3`, account, state, limit)
}

// Orphans implements broker.Store. The order of ids comes after the search, or
// PostgreSQL looks for what runs among all orders that there ever were.
func (s *Store) Orphans(ctx context.Context, silent time.Duration, after string, limit int) ([]string, error) {
	var ids []string
	err := s.query(ctx, func(r scanner) error {
		var id string
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	}, `WITH orphan AS MATERIALIZED (SELECT id FROM eid_order WHERE ended = 0 AND owner IN (
			SELECT DISTINCT o.owner FROM eid_order o LEFT JOIN node n ON n.epoch = o.owner
			WHERE o.ended = 0 AND (n.beat IS NULL OR n.beat < `+s.dialect.clock+` - $1)))
		SELECT id FROM orphan WHERE id > $2 ORDER BY id LIMIT $3`, silent.Microseconds(), after, limit)
	return ids, err
}

// Inbox implements broker.Store.
func (s *Store) Inbox(ctx context.Context, owner string, after int64, limit int) ([]broker.Message, error) {
	type row struct {
		broker.Message
		session string
	}
	var all []row
	err := s.query(ctx, func(r scanner) error {
		var x row
		err := r.Scan(&x.ID, &x.Order, &x.session, &x.Event)
		all = append(all, x)
		return err
	}, `SELECT i.id, i.order_id, s.id, i.event FROM inbox i JOIN eid_order o ON o.id = i.order_id JOIN session s ON s.number = i.session
		WHERE o.owner = $1 AND i.id > $2 ORDER BY i.id LIMIT $3`, owner, after, limit)
	if err != nil {
		return nil, err
	}
	var out []broker.Message
	for _, x := range all {
		sealed := x.Event
		x.Event = nil
		h, err := s.alive(ctx, x.session)
		if err == nil {
			x.Event, err = h.key.Open(seal.Place("inbox", x.session, "event"), sealed)
		}
		switch {
		case errors.Is(err, seal.ErrOpen), errors.Is(err, ErrMaster):
			s.log.ErrorContext(ctx, "message does not open", "message", x.ID, "error", err)
		case err != nil && !errors.Is(err, broker.ErrNotFound): // which was erased meanwhile
			return nil, err
		}
		out = append(out, x.Message)
	}
	return out, nil
}

// Beat implements broker.Store.
func (s *Store) Beat(ctx context.Context, epoch string) error {
	return s.batch(ctx, []statement{{q: `INSERT INTO node (epoch, beat) VALUES ($1, ` + s.dialect.clock + `) ON CONFLICT (epoch) DO UPDATE SET beat = excluded.beat`,
		args: []any{epoch}}})
}

// Alive implements broker.Store.
func (s *Store) Alive(ctx context.Context, epoch string, within time.Duration) (bool, error) {
	var n int
	err := s.get(ctx, []any{&n}, `SELECT count(*) FROM node WHERE epoch = $1 AND beat > `+s.dialect.clock+` - $2`, epoch, within.Microseconds())
	return n > 0, err
}

// Leave implements broker.Store.
func (s *Store) Leave(ctx context.Context, epoch string) error {
	return s.batch(ctx, []statement{{q: `DELETE FROM node WHERE epoch = $1`, args: []any{epoch}}})
}

// ErrAmbiguous means that a reference is that of several sessions.
var ErrAmbiguous = errors.New("several sessions have this reference")

// ByRef finds a session by its reference, which is made of the first 40 bits
// of the id: ErrAmbiguous.
func (s *Store) ByRef(ctx context.Context, ref string) (*broker.Session, error) {
	prefix, ok := broker.RefPrefix(ref)
	if !ok {
		return nil, broker.ErrNotFound
	}
	all, err := s.sessions(ctx, `SELECT `+sessionColumns+` FROM session WHERE id >= $1 AND id < $2 LIMIT 2`, prefix, prefix+"~")
	if err != nil || len(all) == 0 {
		return nil, errors.Join(err, broker.ErrNotFound)
	}
	if len(all) > 1 {
		return nil, ErrAmbiguous
	}
	return all[0], nil
}
