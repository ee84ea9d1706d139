package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"eidgate/broker"
)

// A statement is one write of a batch.
type statement struct {
	q    string
	args []any
	one  string // what it does, where exactly one row must change, or as many as rows says; "" where any number may
	rows int64

	without error // what it means that none did; nil for broker.ErrConflict

	changed *int64 // learns how many rows did; nil where nobody asks

	// apart: no other statement of its batch that is apart reads or changes the
	// rows that it changes, so it does not matter which of them is first.
	apart bool
}

// must is how many rows change if the statement does what it must.
func (st *statement) must() int64 { return max(st.rows, 1) }

// check turns "no row was as it was read" into an error.
func (st *statement) check(rows int64) error {
	if st.changed != nil {
		*st.changed = rows
	}
	switch {
	case st.one == "" || rows == st.must():
		return nil
	case st.without != nil:
		return fmt.Errorf("%s: %w", st.one, st.without)
	}
	return fmt.Errorf("%s: %w", st.one, broker.ErrConflict)
}

// A scanner is a row of either driver.
type scanner interface{ Scan(into ...any) error }

// batch runs statements in one transaction, all or none.
func (s *Store) batch(ctx context.Context, all []statement) error {
	return s.batchThen(ctx, all, nil)
}

// batchThen is batch; on SQLite done is called once they are committed, in the
// order of commits.
func (s *Store) batchThen(ctx context.Context, all []statement, done func()) error {
	if s.writer != nil {
		return s.writer.do(ctx, &job{all: all, done: done})
	}
	return s.convoy.do(ctx, &job{all: all})
}

// returning runs one write in a transaction of its own and reads what it
// returns. each may be called for rows of a try that is then repeated; start
// begins a try.
func (s *Store) returning(ctx context.Context, start func(), each func(scanner) error, st statement) error {
	if s.writer != nil {
		return s.writer.do(ctx, &job{all: []statement{st}, start: start, each: each})
	}
	start()
	return s.query(ctx, each, st.q, st.args...)
}

const (
	maxGroup = 128 // changes that share one commit
	yields   = 8
)

// A writer is SQLite's one writing connection and the goroutine that owns it.
type writer struct {
	db    *sql.DB
	conn  *sql.Conn
	execs map[string]execer    // by their texts: those that return no rows
	reads map[string]*sql.Stmt // and those that do
	args  []driver.NamedValue  // of the statement that runs
	jobs  chan *job
	done  chan struct{}
	hold  sync.Mutex // held while the goroutine uses the connection
}

// An execer is a statement of the driver.
type execer interface {
	driver.Stmt
	driver.StmtExecContext
}

type job struct {
	all   []statement
	start func()
	each  func(scanner) error // reads what the only statement returns
	done  func()              // called when it is committed; may be nil
	err   error
	leads bool // in a convoy: it takes others along
	alone bool // in a convoy: it is still to be sent, alone
	ready chan struct{}
}

func newWriter(db *sql.DB) *writer {
	w := &writer{db: db, execs: map[string]execer{}, reads: map[string]*sql.Stmt{}, jobs: make(chan *job, maxGroup), done: make(chan struct{})}
	go w.run()
	return w
}

var errClosed = errors.New("the store is closed")

func (w *writer) do(ctx context.Context, j *job) error {
	j.ready = make(chan struct{})
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
	select {
	case <-w.done: // closed twice
	default:
		close(w.done)
		w.drop()
	}
}

// release gives the connection back, for migrations; acquire ends that.
func (w *writer) release() {
	w.hold.Lock()
	w.drop()
}

func (w *writer) acquire() { w.hold.Unlock() }

func (w *writer) drop() {
	for _, st := range w.reads {
		_ = st.Close() // the connection goes with it
	}
	clear(w.reads)
	if w.conn != nil {
		_ = w.conn.Raw(func(any) error {
			for _, st := range w.execs {
				_ = st.Close() // likewise
			}
			return nil
		}) // fails where the connection has gone already
		clear(w.execs)
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
			group := w.gather(j)
			w.commit(group)
			for _, j := range group {
				if j.err == nil && j.done != nil {
					j.done()
				}
				close(j.ready)
			}
		}
	}
}

// gather is a change with those that can share its commit. The writer steps
// back a few times, so that whoever is about to write comes along: where nobody
// is, that takes no time, and on a busy core commits become fewer by half.
func (w *writer) gather(first *job) []*job {
	group := []*job{first}
	for range yields {
		runtime.Gosched()
		for len(w.jobs) > 0 { // nobody else takes from it
			if group = append(group, <-w.jobs); len(group) == maxGroup {
				return group
			}
		}
	}
	return group
}

// commit runs a group in one transaction, which nearly always succeeds. When
// a job fails the whole is undone and each job is tried behind a savepoint of
// its own, so that what one does wrong is undone alone.
func (w *writer) commit(group []*job) {
	w.hold.Lock()
	defer w.hold.Unlock()
	if w.try(group, false) || len(group) == 1 {
		return
	}
	w.try(group, true)
}

// try is true when every job has succeeded.
func (w *writer) try(group []*job, savepoints bool) bool {
	err := w.begin()
	failed := false
	for _, j := range group {
		if err != nil {
			break
		}
		if savepoints {
			if _, err = w.exec("SAVEPOINT change"); err != nil {
				break
			}
		}
		if j.err = w.one(j); j.err != nil {
			failed = true
			if !savepoints {
				err = j.err
				break
			}
			_, err = w.exec("ROLLBACK TO change")
		}
		if err == nil && savepoints {
			_, err = w.exec("RELEASE change")
		}
	}
	if err == nil {
		_, err = w.exec("COMMIT")
	}
	if err != nil {
		if w.conn != nil {
			_, _ = w.conn.ExecContext(context.Background(), "ROLLBACK") // there may be nothing to roll back
		}
		for _, j := range group {
			j.err = err
		}
	}
	return err == nil && !failed
}

func (w *writer) one(j *job) error {
	if j.each != nil {
		j.start()
		return w.read(j)
	}
	for i := range j.all {
		n, err := w.exec(j.all[i].q, j.all[i].args...)
		if err == nil {
			err = j.all[i].check(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) read(j *job) error {
	st, err := w.stmt(j.all[0].q) //nolint:sqlclosecheck // it stays for the next time
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(context.Background(), j.all[0].args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	return walk(rows, j.each)
}

func (w *writer) begin() (err error) {
	select {
	case <-w.done:
		return errClosed
	default:
	}
	if w.conn == nil {
		if w.conn, err = w.db.Conn(context.Background()); err != nil {
			return err
		}
	}
	_, err = w.exec("BEGIN IMMEDIATE")
	return err
}

func (w *writer) stmt(q string) (*sql.Stmt, error) {
	if st := w.reads[q]; st != nil {
		return st, nil
	}
	st, err := w.conn.PrepareContext(context.Background(), q)
	if err == nil {
		w.reads[q] = st
	}
	return st, err
}

// exec runs a statement that returns no rows, past database/sql: what that does to
// share connections takes as long as a short statement.
func (w *writer) exec(q string, args ...any) (changed int64, err error) {
	err = w.conn.Raw(func(conn any) error {
		st, err := w.prepared(conn, q)
		if err != nil {
			return err
		}
		if err := w.take(args); err != nil {
			return err
		}
		r, err := st.ExecContext(context.Background(), w.args) // a statement that has begun is finished: its group depends on it
		if err == nil {
			changed, err = r.RowsAffected()
		}
		return err
	})
	return changed, err
}

func (w *writer) prepared(conn any, q string) (execer, error) {
	if st := w.execs[q]; st != nil {
		return st, nil
	}
	st, err := conn.(driver.ConnPrepareContext).PrepareContext(context.Background(), q)
	if err != nil {
		return nil, err
	}
	w.execs[q] = st.(execer)
	return w.execs[q], nil
}

// take makes arguments those of the next statement.
func (w *writer) take(args []any) (err error) {
	w.args = w.args[:0]
	for i, v := range args {
		switch n := v.(type) {
		case string, int64, []byte: // as it is
		case int:
			v = int64(n)
		default:
			if v, err = driver.DefaultParameterConverter.ConvertValue(v); err != nil {
				return fmt.Errorf("argument %d: %w", i+1, err)
			}
		}
		w.args = append(w.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return nil
}
