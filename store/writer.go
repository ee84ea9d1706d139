package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// A tx is a transaction that statements run in.
type tx interface {
	exec(ctx context.Context, q string, args ...any) (rows int64, err error)
	row(ctx context.Context, q string, args ...any) *sql.Row
	rows(ctx context.Context, q string, args ...any) (*sql.Rows, error)
}

// do runs f in a transaction; an error of f undoes what it did.
func (s *Store) do(ctx context.Context, f func(context.Context, tx) error) error {
	if s.writer != nil {
		return s.writer.do(ctx, f)
	}
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(ctx, plainTx{t}); err != nil {
		return errors.Join(err, t.Rollback())
	}
	return t.Commit()
}

// plainTx is a transaction of PostgreSQL, whose driver keeps prepared
// statements itself.
type plainTx struct{ t *sql.Tx }

func (p plainTx) exec(ctx context.Context, q string, args ...any) (int64, error) {
	r, err := p.t.ExecContext(ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (p plainTx) row(ctx context.Context, q string, args ...any) *sql.Row {
	return p.t.QueryRowContext(ctx, q, args...)
}

func (p plainTx) rows(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return p.t.QueryContext(ctx, q, args...)
}

// maxGroup is how many changes share one commit.
const maxGroup = 128

// A writer is SQLite's one writing connection and the goroutine that owns it.
type writer struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	jobs  chan *job
	done  chan struct{}
	hold  sync.Mutex // held while the goroutine uses the connection
}

type job struct {
	ctx   context.Context
	f     func(context.Context, tx) error
	err   error
	ready chan struct{}
}

func newWriter(db *sql.DB) *writer {
	w := &writer{db: db, stmts: map[string]*sql.Stmt{}, jobs: make(chan *job, maxGroup), done: make(chan struct{})}
	go w.run()
	return w
}

var errClosed = errors.New("the store is closed")

func (w *writer) do(ctx context.Context, f func(context.Context, tx) error) error {
	j := &job{ctx: context.WithoutCancel(ctx), f: f, ready: make(chan struct{})}
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.done:
		return errClosed
	}
	select {
	case <-j.ready: // it is wanted to know, even if the caller has gone
		return j.err
	case <-w.done:
		return errClosed
	}
}

func (w *writer) stop() {
	w.hold.Lock()
	defer w.hold.Unlock()
	close(w.done)
	w.drop()
}

// release gives the connection back, for migrations; acquire ends that.
func (w *writer) release() {
	w.hold.Lock()
	w.drop()
}

func (w *writer) acquire() { w.hold.Unlock() }

func (w *writer) drop() {
	for _, st := range w.stmts {
		_ = st.Close() // the connection goes with it
	}
	clear(w.stmts)
	if w.conn != nil {
		_ = w.conn.Close() // given back to the pool
		w.conn = nil
	}
}

func (w *writer) run() {
	for {
		select {
		case <-w.done:
			return
		case j := <-w.jobs:
			group := []*job{j}
			for len(group) < maxGroup {
				select {
				case j := <-w.jobs:
					group = append(group, j)
					continue
				default:
				}
				break
			}
			w.commit(group)
		}
	}
}

// commit runs a group in one transaction. What one change did wrong is undone
// alone; what goes wrong with the commit is told to all.
func (w *writer) commit(group []*job) {
	w.hold.Lock()
	defer w.hold.Unlock()
	ctx := context.Background()
	err := w.begin(ctx)
	for _, j := range group {
		if err != nil {
			break
		}
		if _, err = w.exec(ctx, "SAVEPOINT change"); err != nil {
			break
		}
		if j.err = j.f(j.ctx, w); j.err != nil {
			_, err = w.exec(ctx, "ROLLBACK TO change")
		}
		if err == nil {
			_, err = w.exec(ctx, "RELEASE change")
		}
	}
	if err == nil {
		_, err = w.exec(ctx, "COMMIT")
	}
	if err != nil && w.conn != nil {
		_, _ = w.conn.ExecContext(ctx, "ROLLBACK") // there may be nothing to roll back
	}
	for _, j := range group {
		if err != nil {
			j.err = err
		}
		close(j.ready)
	}
}

func (w *writer) begin(ctx context.Context) (err error) {
	select {
	case <-w.done:
		return errClosed
	default:
	}
	if w.conn == nil {
		if w.conn, err = w.db.Conn(ctx); err != nil {
			return err
		}
	}
	_, err = w.exec(ctx, "BEGIN IMMEDIATE")
	return err
}

func (w *writer) stmt(ctx context.Context, q string) (*sql.Stmt, error) {
	if st := w.stmts[q]; st != nil {
		return st, nil
	}
	st, err := w.conn.PrepareContext(ctx, q)
	if err == nil {
		w.stmts[q] = st
	}
	return st, err
}

func (w *writer) exec(ctx context.Context, q string, args ...any) (int64, error) {
	st, err := w.stmt(ctx, q)
	if err != nil {
		return 0, err
	}
	r, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (w *writer) row(ctx context.Context, q string, args ...any) *sql.Row {
	st, err := w.stmt(ctx, q)
	if err != nil {
		return w.conn.QueryRowContext(ctx, q, args...) // says the same error
	}
	return st.QueryRowContext(ctx, args...)
}

func (w *writer) rows(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	st, err := w.stmt(ctx, q)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}
