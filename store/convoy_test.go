package store

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"eidgate/broker"
	"eidgate/internal/pgtest"
)

// convoys is a store on PostgreSQL with one lane, and a table of words for
// changes to write to.
func convoys(t *testing.T) *Store {
	t.Helper()
	s := connect(t, pgtest.Database(t, pgtest.Options{}))
	s.convoy.lanes = 1
	if _, err := s.pool.Exec(t.Context(), `CREATE TABLE word (word TEXT PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	return s
}

func word(w string) []statement {
	return []statement{{q: `INSERT INTO word VALUES ($1) ON CONFLICT DO NOTHING`, args: []any{w}, one: "write word", apart: true}}
}

// words are those that are stored, and how many transactions have written them.
func words(t *testing.T, s *Store) (list []string, transactions int) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), `SELECT COALESCE(array_agg(word ORDER BY word), '{}'), COUNT(DISTINCT xmin::text) FROM word`).Scan(&list, &transactions); err != nil {
		t.Fatal(err)
	}
	return list, transactions
}

// busy takes the lane of a convoy.
func busy(t *testing.T, s *Store) {
	t.Helper()
	if !s.convoy.leads(&job{}) {
		t.Fatal("the lane is taken")
	}
}

// free tells of lanes that are taken though everybody has been answered.
func free(t *testing.T, s *Store) {
	t.Helper()
	if s.convoy.underway != 0 {
		t.Errorf("%d lanes are taken", s.convoy.underway)
	}
}

// held is a transaction that has written the word "held" and waits.
func held(t *testing.T, s *Store) pgx.Tx {
	t.Helper()
	tx, err := s.pool.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), `INSERT INTO word VALUES ('held')`)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // it has ended, or the test has failed
	return tx
}

// waits waits until n changes do.
func waits(t *testing.T, s *Store, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		s.convoy.mu.Lock()
		now := len(s.convoy.waiting)
		s.convoy.mu.Unlock()
		if now == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d changes wait, not %d", now, n)
		}
		<-time.After(time.Millisecond)
	}
}

// TestConvoy: what has waited goes in one transaction, and the lane is free
// after it.
func TestConvoy(t *testing.T) {
	t.Parallel()
	s := convoys(t)
	s.convoy.patience = time.Minute
	busy(t, s)
	const n = maxConvoy + 8
	errs := make(chan error, n)
	var want []string
	for i := range n {
		w := strconv.Itoa(100 + i)
		want = append(want, w)
		go func() { errs <- s.batch(t.Context(), word(w)) }()
	}
	waits(t, s, n)
	s.convoy.next()
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if list, transactions := words(t, s); !slices.Equal(list, want) || transactions != 2 {
		t.Errorf("%d transactions wrote %v", transactions, list)
	}
	free(t, s)
}

// together sends changes as one group; each has a function that waits for its error.
func together(t *testing.T, s *Store, all ...[]statement) (errs []func() error) {
	t.Helper()
	s.convoy.patience = time.Minute
	busy(t, s)
	for i, change := range all {
		heard := make(chan error, 1)
		go func() { heard <- s.batch(t.Context(), change) }()
		errs = append(errs, func() error { return <-heard })
		waits(t, s, i+1)
	}
	s.convoy.next()
	return errs
}

// TestConvoyWithOneThatIsRefused: whose change is refused has refused nothing to
// the others, and each hears of its own.
func TestConvoyWithOneThatIsRefused(t *testing.T) {
	t.Parallel()
	s := convoys(t)
	if err := s.batch(t.Context(), word("taken")); err != nil {
		t.Fatal(err)
	}
	own := errors.New("of its own")
	named := word("taken")
	named[0].without = own
	errs := together(t, s, word("a"), word("b"), word("taken"), named, word("c"), []statement{{q: "INSERT INTO nowhere VALUES (1)"}}, word("d"))
	for i, heard := range errs {
		err := heard()
		switch i {
		case 2, 3:
			if want := map[int]error{2: broker.ErrConflict, 3: own}[i]; !errors.Is(err, want) {
				t.Errorf("change %d: %v", i, err)
			}
		case 5:
			if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "42P01" {
				t.Errorf("where there is no table: %v", err)
			}
		default:
			if err != nil {
				t.Errorf("change %d: %v", i, err)
			}
		}
	}
	if list, _ := words(t, s); !slices.Equal(list, []string{"a", "b", "c", "d", "taken"}) {
		t.Errorf("%v", list)
	}
	free(t, s)
}

// TestConvoyThatIsCutOff: what may have been committed is not tried again.
func TestConvoyThatIsCutOff(t *testing.T) {
	t.Parallel()
	s := convoys(t)
	if _, err := s.pool.Exec(t.Context(), `CREATE SEQUENCE tries`); err != nil {
		t.Fatal(err)
	}
	errs := together(t, s, word("a"), []statement{{q: `SELECT nextval('tries'), pg_terminate_backend(pg_backend_pid())`}}, word("b"))
	for i, heard := range errs {
		if e, ok := errors.AsType[*pgconn.PgError](heard()); !ok || e.Code != "57P01" {
			t.Errorf("change %d: %v", i, e)
		}
	}
	var tries int
	if err := s.pool.QueryRow(t.Context(), `SELECT last_value FROM tries`).Scan(&tries); err != nil || tries != 1 {
		t.Errorf("%d tries, %v", tries, err)
	}
	if list, _ := words(t, s); len(list) > 0 {
		t.Errorf("%v", list)
	}
}

// TestConvoyWithOneThatWaitsForARow: it holds up neither those that it went with,
// nor who else wants their rows.
func TestConvoyWithOneThatWaitsForARow(t *testing.T) {
	t.Parallel()
	s := convoys(t)
	tx := held(t, s)
	start := time.Now()
	errs := together(t, s, word("a"), word("held"), word("b"))
	for _, i := range []int{0, 2} {
		if err := errs[i](); err != nil {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if _, err := tx.Exec(t.Context(), `INSERT INTO word VALUES ('a') ON CONFLICT DO NOTHING`); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("they took %v", took)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errs[1](); err != nil {
		t.Error(err)
	}
	if list, _ := words(t, s); !slices.Equal(list, []string{"a", "b", "held"}) {
		t.Errorf("%v", list)
	}
}

// TestConvoyThatIsSlow: who has waited too long takes along who else waits.
func TestConvoyThatIsSlow(t *testing.T) {
	t.Parallel()
	s := convoys(t)
	busy(t, s)
	others := []*job{{all: word("1")}, {all: word("2")}}
	for _, j := range others {
		if s.convoy.leads(j) {
			t.Fatal("there is a lane")
		}
	}
	if err := s.batch(t.Context(), word("0")); err != nil {
		t.Error(err)
	}
	for _, j := range others {
		if <-j.ready; j.err != nil || j.leads || j.alone {
			t.Errorf("%+v", j)
		}
	}
	if list, transactions := words(t, s); !slices.Equal(list, []string{"0", "1", "2"}) || transactions != 1 {
		t.Errorf("%d transactions wrote %v", transactions, list)
	}
	if s.convoy.underway != 1 {
		t.Errorf("%d lanes are taken, not that of the one that is slow alone", s.convoy.underway)
	}
}

// TestConvoyThatHangs: who waits for one that hangs goes before it, and who does
// not want to wait any more writes nothing.
func TestConvoyThatHangs(t *testing.T) {
	t.Parallel()
	s := convoys(t)
	tx := held(t, s)
	hangs := make(chan error, 1)
	go func() { hangs <- s.batch(t.Context(), word("held")) }()
	for idle := true; idle; <-time.After(time.Millisecond) {
		s.convoy.mu.Lock()
		idle = s.convoy.underway == 0
		s.convoy.mu.Unlock()
	}
	if err := s.batch(t.Context(), word("alone")); err != nil {
		t.Error(err)
	}
	s.convoy.patience = time.Minute
	gone, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- s.batch(gone, word("never")) }()
	waits(t, s, 1)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-hangs; err != nil {
		t.Error(err)
	}
	if list, _ := words(t, s); !slices.Equal(list, []string{"alone", "held"}) {
		t.Errorf("%v", list)
	}
	free(t, s)
}

// TestConvoyOfOneWhoLeaves: who leads and leaves takes nobody's change with it.
func TestConvoyOfOneWhoLeaves(t *testing.T) {
	t.Parallel()
	s := convoys(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	jobs := []*job{{all: word("a")}, {all: word("b")}}
	s.convoy.send(gone, jobs)
	if jobs[0].err != nil || jobs[1].err != nil {
		t.Error(jobs[0].err, jobs[1].err)
	}
	if list, transactions := words(t, s); !slices.Equal(list, []string{"a", "b"}) || transactions != 1 {
		t.Errorf("%d transactions wrote %v", transactions, list)
	}
}
