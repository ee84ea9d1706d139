package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"time"

	"eidgate/broker"
	"eidgate/internal/audit"
	"eidgate/internal/seal"
)

// The seal of the audit trail (docs/audit.md). Rows are written with what they
// tell of and are sealed later, by whichever node is first. Everything here
// goes by the real clock, as the numbers of rows do.

// AuditSettled is how long ago a row's number must have been taken before it is
// sealed: no write is on its way any more from node to database by then. What
// the database itself is still busy with is not among it, see settled.
const AuditSettled = 5 * time.Minute

// Sole says whether the database belongs to this process alone.
func (s *Store) Sole() bool { return s.pool == nil }

// Seal seals what is settled, and has not been, with the newest key. It does
// nothing where a segment was made less than apart ago: several nodes seal in
// turns. A node that finds that another one is quicker stops. made counts
// segments.
func (s *Store) Seal(ctx context.Context, settled, apart time.Duration) (made int, err error) {
	key, err := s.auditKey(ctx)
	if err != nil {
		return 0, err
	}
	border, err := s.settled(ctx, settled)
	if err != nil {
		return 0, fmt.Errorf("seal audit trail: %w", err)
	}
	head, err := s.AuditHead(ctx)
	if err != nil {
		return 0, err
	}
	if age := time.Since(head.Made); age >= 0 && age < apart {
		return 0, nil
	}
	for ctx.Err() == nil {
		rows, err := s.auditRows(ctx, head.To, border, audit.MaxRows+1)
		if err != nil {
			return made, err
		}
		if len(rows) == 0 {
			return made, nil
		}
		if rows = whole(rows); len(rows) == 0 {
			return made, errors.New("seal audit trail: more rows have one number than fit into a segment")
		}
		if head, err = audit.Seal(head, rows, time.Now(), key); err != nil {
			return made, err
		}
		mine, err := s.putSegment(ctx, &head)
		if err != nil || !mine {
			return made, err
		}
		made++
	}
	return made, ctx.Err()
}

// whole leaves out what does not fit into one segment: rows of one number are
// not torn apart. Nodes that happened to write in one microsecond share one.
func whole(rows []audit.Row) []audit.Row {
	n := len(rows)
	if n <= audit.MaxRows {
		return rows
	}
	for last := rows[n-1].N; n > 0 && rows[n-1].N == last; {
		n--
	}
	return rows[:n]
}

// settled is the greatest number that no row will be written below any more.
// On PostgreSQL the server's clock counts, and what it is at work on: a write
// that waits for a lock holds it back, however long. This node's numbers go on
// from the server's time, in case its own clock is late.
func (s *Store) settled(ctx context.Context, ago time.Duration) (int64, error) {
	now := time.Now().UnixMicro()
	oldest := now
	if s.pool != nil {
		err := s.get(ctx, []any{&now, &oldest}, `WITH busy AS (SELECT MIN(xact_start) AS since FROM pg_stat_activity
				WHERE datname = current_database() AND backend_type = 'client backend' AND application_name = current_setting('application_name'))
			SELECT `+s.dialect.clock+`, CAST(EXTRACT(EPOCH FROM COALESCE(since, now())) * 1000000 AS BIGINT)
			FROM busy`)
		if err != nil {
			return 0, err
		}
		s.seq.raise(now)
	}
	return (min(now, oldest) - ago.Microseconds()) << nodeBits, nil
}

// AuditHead is the newest segment, zero if there is none. This node's numbers
// go on above it from here on: a clock that was set back does not make rows
// that seem to be old.
func (s *Store) AuditHead(ctx context.Context) (audit.Segment, error) {
	var head audit.Segment
	for found, err := range s.segments(ctx, `SELECT `+segmentColumns+` FROM audit_segment ORDER BY number DESC LIMIT 1`) {
		if err != nil {
			return head, err
		}
		head = found
	}
	s.seq.raise(head.To >> nodeBits)
	return head, nil
}

// AuditTrail reads segments with their rows, from a number on. A segment with
// too many rows has one more than its size.
func (s *Store) AuditTrail(ctx context.Context, from int64) iter.Seq2[audit.Sealed, error] {
	return func(yield func(audit.Sealed, error) bool) {
		const page = 16 // segments at once; their tags are 8 KB each
		for n := page; n == page; {
			n = 0
			for seg, err := range s.segments(ctx, `SELECT `+segmentColumns+` FROM audit_segment WHERE number >= $1 ORDER BY number LIMIT $2`, from, page) {
				one := audit.Sealed{Segment: seg}
				if err == nil {
					one.Rows, err = s.auditRows(ctx, seg.After, seg.To, min(max(seg.Size, 0), audit.MaxRows)+1)
				}
				if !yield(one, err) || err != nil {
					return
				}
				from = seg.Number + 1
				n++
			}
		}
	}
}

const segmentColumns = `number, above, upto, size, previous, hash, tags, made, note`

// segments reads segmentColumns; it has read them all before it gives the first.
func (s *Store) segments(ctx context.Context, q string, args ...any) iter.Seq2[audit.Segment, error] {
	return func(yield func(audit.Segment, error) bool) {
		var all []audit.Segment
		err := s.query(ctx, func(r scanner) error {
			var g audit.Segment
			var previous, hash []byte
			var made int64
			err := r.Scan(&g.Number, &g.After, &g.To, &g.Size, &previous, &hash, &g.Tags, &made, &g.Note)
			copy(g.Previous[:], previous)
			copy(g.Hash[:], hash)
			g.Made = moment(made)
			all = append(all, g)
			return err
		}, q, args...)
		if err != nil {
			yield(audit.Segment{}, fmt.Errorf("read segments of the audit trail: %w", err))
			return
		}
		for _, g := range all {
			if !yield(g, nil) {
				return
			}
		}
	}
}

// auditRows reads rows with after < n ≤ to, in order. After 0 is before any
// number, also those that we never write.
func (s *Store) auditRows(ctx context.Context, after, to int64, limit int) ([]audit.Row, error) {
	if after == 0 {
		after = math.MinInt64
	}
	all := make([]audit.Row, 0, limit)
	err := s.query(ctx, func(r scanner) error {
		var a audit.Row
		err := r.Scan(&a.N, &a.Session, &a.At, &a.Actor, &a.Action, &a.Outcome)
		all = append(all, a)
		return err
	}, `SELECT n, session, at, actor, action, outcome FROM audit WHERE n > $1 AND n <= $2 ORDER BY n LIMIT $3`, after, to, limit)
	if err != nil {
		return nil, fmt.Errorf("read audit trail: %w", err)
	}
	slices.SortFunc(all, audit.Compare) // databases order texts each in their own way
	return all, nil
}

// putSegment writes a segment, unless another node has written one of its
// number.
func (s *Store) putSegment(ctx context.Context, g *audit.Segment) (mine bool, err error) {
	err = s.returning(ctx, func() { mine = false }, func(r scanner) error {
		var number int64
		mine = true
		return r.Scan(&number)
	}, statement{q: `INSERT INTO audit_segment (number, above, upto, size, previous, hash, tags, made, note)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING number`,
		args: []any{g.Number, g.After, g.To, g.Size, g.Previous[:], g.Hash[:], g.Tags, micros(g.Made), g.Note}})
	if err != nil {
		return false, fmt.Errorf("write segment of the audit trail: %w", err)
	}
	return mine, nil
}

// MakeAuditKey makes the key that segments are signed with, unless there is one:
// it can be kept elsewhere before anything is sealed.
func (s *Store) MakeAuditKey(ctx context.Context) error {
	_, err := s.auditKey(ctx)
	return err
}

// auditKey is the key that segments are signed with. The first node makes it.
func (s *Store) auditKey(ctx context.Context) (*audit.Key, error) {
	for {
		all, err := s.auditKeys(ctx)
		if err != nil {
			return nil, err
		}
		if len(all) > 0 {
			return all[len(all)-1], nil
		}
		key, err := audit.NewKey()
		if err != nil {
			return nil, err
		}
		err = s.batch(ctx, []statement{{q: `INSERT INTO audit_key (number, verifier, private, made) VALUES (1, $1, $2, $3) ON CONFLICT DO NOTHING`,
			args: []any{key.Verifier, s.master.Seal(auditKeyPlace(1), []byte(key.Secret())), time.Now().UnixMicro()}}})
		if err != nil {
			return nil, fmt.Errorf("make audit key: %w", err)
		}
	}
}

func auditKeyPlace(number int64) string {
	return seal.Place("audit_key", strconv.FormatInt(number, 10), "private")
}

// auditKeys are all keys that segments were ever signed with, oldest first.
func (s *Store) auditKeys(ctx context.Context) ([]*audit.Key, error) {
	var all []*audit.Key
	err := s.query(ctx, func(r scanner) error {
		var number int64
		var sealed []byte
		if err := r.Scan(&number, &sealed); err != nil {
			return err
		}
		text, err := s.master.Open(auditKeyPlace(number), sealed)
		if err != nil {
			return err
		}
		key, err := audit.ParseKey(string(text))
		all = append(all, key)
		return err
	}, `SELECT number, private FROM audit_key ORDER BY number`)
	if err != nil {
		return nil, fmt.Errorf("read audit key: %w", err)
	}
	return all, nil
}

// AuditVerifiers are the public halves of those keys. They come from what is
// sealed: the column in clear is for people.
func (s *Store) AuditVerifiers(ctx context.Context) ([]string, error) {
	all, err := s.auditKeys(ctx)
	out := make([]string, len(all))
	for i, k := range all {
		out[i] = k.Verifier
	}
	return out, err
}

// RecordAudit writes what is done with the server as a whole, as that an operator
// reads the audit trail itself.
func (s *Store) RecordAudit(ctx context.Context, action string) error {
	if _, err := s.AuditHead(ctx); err != nil { // our numbers go on above it
		return err
	}
	err := s.operate(ctx, func() []statement { return []statement{s.audit("", s.operator(action))} })
	if err != nil {
		return fmt.Errorf("record %s: %w", action, err)
	}
	return nil
}

// operator is the line of an operator's action.
func (s *Store) operator(action string) broker.Audit {
	return broker.Audit{At: s.now(), Actor: "operator", Action: action, Outcome: "ok"}
}

// operate runs the statements of an operator's action in one transaction, all
// or none. It may change what nobody keeps in memory: a store that is opened
// only to look at writes into a file of SQLite that another process may have.
// Their numbers are taken while the file is held, so that what is written
// before them has lesser ones.
func (s *Store) operate(ctx context.Context, all func() []statement) error {
	if s.beside == "" {
		return s.batch(ctx, all())
	}
	db, err := sql.Open("sqlite", s.beside)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // what counts is the commit
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing is left to undo once it is committed
	for _, st := range all() {
		var changed int64
		r, err := tx.ExecContext(ctx, st.q, st.args...)
		if err == nil {
			changed, err = r.RowsAffected()
		}
		if err == nil {
			err = st.check(changed)
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}
