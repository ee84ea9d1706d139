package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/audit"
	"eidgate/internal/pgtest"
	"eidgate/relying"
	"eidgate/store"
)

// A ledger is a store and the raw database below it, where rows can be written
// that are old enough to be sealed.
type ledger struct {
	*store.Store
	url string
	db  *sql.DB
}

// ledgers runs a test on both databases.
func ledgers(t *testing.T, f func(t *testing.T, l *ledger)) {
	t.Helper()
	for name, at := range map[string]func(t *testing.T) (url, driver, dsn string){
		"sqlite": func(t *testing.T) (string, string, string) {
			file := filepath.Join(t.TempDir(), "eidgate.db")
			return "sqlite:" + file, "sqlite", "file:" + file + "?_pragma=busy_timeout(5000)"
		},
		"postgres": func(t *testing.T) (string, string, string) {
			url := pgtest.Database(t, pgtest.Options{})
			return url, "pgx", url
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, driver, dsn := at(t)
			l := &ledger{Store: open(t, url), url: url}
			var err error
			if l.db, err = sql.Open(driver, dsn); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.db.Close() })
			f(t, l)
		})
	}
}

func (l *ledger) exec(t *testing.T, q string, args ...any) {
	t.Helper()
	if _, err := l.db.ExecContext(t.Context(), q, args...); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
}

// write writes rows with the numbers from 1000·first on, which are of 1970.
func (l *ledger) write(t *testing.T, first, count int) {
	t.Helper()
	var q strings.Builder
	for i := range count {
		fmt.Fprintf(&q, "%s(%d, 's%d', %d, 'node', 'session.finished', 'ok')", map[bool]string{true: "", false: ", "}[i == 0], 1000*(first+i), first+i, first+i)
	}
	l.exec(t, `INSERT INTO audit (n, session, at, actor, action, outcome) VALUES `+q.String())
}

func (l *ledger) seal(t *testing.T) int {
	t.Helper()
	n, err := l.Seal(t.Context(), store.AuditSettled, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// head is the newest segment.
func (l *ledger) head(t *testing.T) audit.Segment {
	t.Helper()
	s, err := l.AuditHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verify is all that is wrong, a line for each finding.
func (l *ledger) verify(t *testing.T, known ...audit.Segment) (lines []string, r *audit.Report) {
	t.Helper()
	keys, err := l.AuditVerifiers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := audit.Verifier{Begin: 1, Known: known}
	if v.Keys, err = audit.Verifiers(keys...); err != nil {
		t.Fatal(err)
	}
	for s, err := range l.AuditTrail(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		v.Add(s)
	}
	r = v.End()
	for _, f := range r.Findings {
		lines = append(lines, fmt.Sprintf("%d %s %d", f.Segment, f.Kind, f.Row))
	}
	return lines, r
}

func (l *ledger) wants(t *testing.T, after string, want []string, known ...audit.Segment) {
	t.Helper()
	if got, _ := l.verify(t, known...); !slices.Equal(got, want) {
		t.Errorf("after %s: %q, want %q", after, got, want)
	}
}

func TestSealAndVerify(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		if n := l.seal(t); n != 0 {
			t.Errorf("%d segments of no row", n)
		}
		l.write(t, 1, 2*audit.MaxRows+10)
		if n := l.seal(t); n != 3 {
			t.Errorf("%d segments, want 3", n)
		}
		if n := l.seal(t); n != 0 {
			t.Errorf("%d segments of nothing new", n)
		}
		create(t, l.Store)
		if err := l.RecordAudit(t.Context(), "audit.export"); err != nil {
			t.Fatal(err)
		}
		if n := l.seal(t); n != 0 {
			t.Error("a row of this moment is sealed")
		}
		lines, r := l.verify(t)
		if len(lines) > 0 || r.First != 1 || r.Last != 3 || r.Rows != 2*audit.MaxRows+10 {
			t.Errorf("verified: %q, %+v", lines, r)
		}
		l.write(t, 5000, 1)
		if n, err := l.Seal(t.Context(), store.AuditSettled, time.Hour); n != 0 || err != nil {
			t.Errorf("sealed %d, %v though somebody has just done so", n, err)
		}
	})
}

// TestRowsOfOneNumber: rows that share a number are in one segment, in an order
// that does not depend on the database.
func TestRowsOfOneNumber(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		l.write(t, 1, audit.MaxRows)
		const q = `INSERT INTO audit (n, session, at, actor, action, outcome) VALUES ($1, $2, 1, 'node', 'x', 'ok')`
		l.exec(t, q, 1000*audit.MaxRows, "a")
		l.exec(t, q, 1000*audit.MaxRows, "B")
		if n := l.seal(t); n != 2 {
			t.Errorf("%d segments, want 2", n)
		}
		if s := l.head(t); s.Size != 3 {
			t.Errorf("the last segment has %d rows, want those of one number", s.Size)
		}
		l.wants(t, "nothing", nil)
		l.exec(t, `INSERT INTO audit (n, session, at, actor, action, outcome) WITH RECURSIVE i(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM i WHERE k <= $1)
			SELECT 1000000000, CAST(k AS TEXT), 1, 'node', 'x', 'ok' FROM i`, audit.MaxRows)
		if n, err := l.Seal(t.Context(), store.AuditSettled, 0); n != 0 || err == nil {
			t.Errorf("sealed %d, %v of rows that no segment holds", n, err)
		}
	})
}

// TestTampering: what is done to the trail is found and named. Each is undone
// before the next.
func TestTampering(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		const first, second = 1000 * 500, 1000 * 1500 // rows of segment 1 and 2
		l.write(t, 1, 3*audit.MaxRows)
		l.seal(t)
		l.wants(t, "nothing", nil)
		const insert = `INSERT INTO audit (n, session, at, actor, action, outcome) VALUES ($1, $2, $3, 'node', 'session.finished', 'ok')`
		for _, c := range []struct {
			what string
			do   []string
			undo []string
			want []string
		}{
			{"a flipped bit", []string{`UPDATE audit SET outcome = 'oj' WHERE n = 500000`}, []string{`UPDATE audit SET outcome = 'ok' WHERE n = 500000`},
				[]string{"1 changed 500000"}},
			{"another time", []string{`UPDATE audit SET at = at + 1 WHERE n = 1500000`}, []string{`UPDATE audit SET at = at - 1 WHERE n = 1500000`},
				[]string{"2 changed 1500000"}},
			{"two rows that changed places", []string{`UPDATE audit SET n = 7 WHERE n = 500000`, `UPDATE audit SET n = 500000 WHERE n = 501000`, `UPDATE audit SET n = 501000 WHERE n = 7`},
				[]string{`UPDATE audit SET n = 7 WHERE n = 500000`, `UPDATE audit SET n = 500000 WHERE n = 501000`, `UPDATE audit SET n = 501000 WHERE n = 7`},
				[]string{"1 changed 500000"}},
			{"a row moved to the front", []string{`UPDATE audit SET n = -5 WHERE n = 500000`}, []string{`UPDATE audit SET n = 500000 WHERE n = -5`},
				[]string{"1 inserted -5"}},
			{"a row moved to another segment", []string{`UPDATE audit SET n = 1500001 WHERE n = 500000`}, []string{`UPDATE audit SET n = 500000 WHERE n = 1500001`},
				[]string{"1 deleted 501000", "2 inserted 1500001"}},
			{"a segment that is gone", []string{`UPDATE audit_segment SET number = 99 WHERE number = 2`}, []string{`UPDATE audit_segment SET number = 2 WHERE number = 99`},
				[]string{"2 missing 0", "4 missing 0"}},
			{"a segment of another size", []string{`UPDATE audit_segment SET size = 5 WHERE number = 2`}, []string{`UPDATE audit_segment SET size = 1024 WHERE number = 2`},
				[]string{"2 altered 0"}},
			{"a segment that ends earlier", []string{`UPDATE audit_segment SET upto = upto - 1 WHERE number = 2`}, []string{`UPDATE audit_segment SET upto = upto + 1 WHERE number = 2`},
				[]string{"2 deleted 0", "3 broken 0"}},
			{"another time of sealing", []string{`UPDATE audit_segment SET made = made + 1 WHERE number = 3`}, []string{`UPDATE audit_segment SET made = made - 1 WHERE number = 3`},
				[]string{"3 altered 0"}},
			{"no signature", []string{`UPDATE audit_segment SET note = '' || substr(note, 2) WHERE number = 3`}, []string{`UPDATE audit_segment SET note = 'e' || note WHERE number = 3`},
				[]string{"3 forged 0"}},
		} {
			for _, q := range c.do {
				l.exec(t, q)
			}
			l.wants(t, c.what, c.want)
			for _, q := range c.undo {
				l.exec(t, q)
			}
		}
		l.wants(t, "all was undone", nil)

		l.exec(t, `DELETE FROM audit WHERE n = $1`, first)
		l.exec(t, insert, second+1, "s", 7)
		l.wants(t, "a deletion and an insertion", []string{"1 deleted 501000", "2 inserted 1500001"})
		l.exec(t, insert, first, "s500", 500)
		l.exec(t, `DELETE FROM audit WHERE n = $1`, second+1)
		l.exec(t, `DELETE FROM audit WHERE n = $1`, l.head(t).To)
		l.wants(t, "the last row was deleted", []string{"3 deleted 0"})
	})
}

// TestCutAndRestored: only who remembers a checkpoint can tell that the end of
// the trail is gone, and whether it was sealed anew.
func TestCutAndRestored(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		l.write(t, 1, 10)
		l.seal(t)
		old := l.head(t)
		l.write(t, 11, 10)
		l.seal(t)
		kept := l.head(t)
		l.exec(t, `DELETE FROM audit WHERE n > $1`, old.To)
		l.exec(t, `DELETE FROM audit_segment WHERE number > $1`, old.Number)
		l.wants(t, "a cut, to itself", nil)
		l.wants(t, "a cut", []string{"2 cut 0"}, old, kept)
		l.write(t, 21, 10)
		l.seal(t)
		l.wants(t, "a cut and new rows", []string{"2 replaced 0"}, old, kept)
		l.exec(t, `DELETE FROM audit_segment`)
		l.wants(t, "no segment at all", []string{"1 cut 0", "2 cut 0"}, old, kept)
	})
}

// TestForgedSegment: who has the database but not the master key cannot seal.
func TestForgedSegment(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		l.write(t, 1, 10)
		l.seal(t)
		l.exec(t, `UPDATE audit SET actor = 'person' WHERE n = 3000`)
		var rows []audit.Row
		for s, err := range l.AuditTrail(t.Context(), 1) {
			if err != nil {
				t.Fatal(err)
			}
			rows = s.Rows
		}
		key, err := audit.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		forged, err := audit.Seal(audit.Segment{}, rows, time.Now(), key)
		if err != nil {
			t.Fatal(err)
		}
		l.exec(t, `UPDATE audit_segment SET hash = $1, tags = $2, made = $3, note = $4`, forged.Hash[:], forged.Tags, forged.Made.UnixMicro(), forged.Note)
		l.exec(t, `UPDATE audit_key SET verifier = $1`, key.Verifier)
		l.wants(t, "a forgery", []string{"1 forged 0"})
	})
}

// TestManyNodesSeal: nodes that seal and write at the same time make one chain.
func TestManyNodesSeal(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		nodes := []*store.Store{l.Store, l.Store}
		if !l.Sole() {
			other, err := store.Open(t.Context(), store.Config{URL: l.url, Master: bytes.Repeat([]byte{1}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = other.Close() }) // the test is over
			nodes[1] = other
		}
		l.write(t, 1, 20*audit.MaxRows/4)
		var wg sync.WaitGroup
		for _, n := range append(nodes, nodes...) {
			wg.Go(func() {
				for range 5 {
					if _, err := n.Seal(context.Background(), store.AuditSettled, 0); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		lines, r := l.verify(t)
		if len(lines) > 0 || r.Rows != 20*audit.MaxRows/4 || r.Last != 5 {
			t.Errorf("verified: %q, %+v", lines, r)
		}
	})
}

// TestSealIsHeldBack: on PostgreSQL a write that has begun and waits is waited
// for, so that its row is not below what is sealed.
func TestSealIsHeldBack(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		if l.Sole() {
			return // one writer: there is nothing to wait for
		}
		create(t, l.Store)
		if err := l.RecordAudit(t.Context(), "audit.verify"); err != nil {
			t.Fatal(err)
		}
		slow, err := sql.Open("pgx", l.url+"&application_name=eidgate")
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		tx, err := slow.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), `SELECT 1`); err != nil {
			t.Fatal(err)
		}
		if err := l.RecordAudit(t.Context(), "audit.verify"); err != nil {
			t.Fatal(err)
		}
		if n, err := l.Seal(t.Context(), 0, 0); n != 1 || err != nil {
			t.Fatalf("sealed %d, %v", n, err)
		}
		if s := l.head(t); s.Size != 1 {
			t.Errorf("%d rows are sealed, want the one from before the transaction", s.Size)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if n, err := l.Seal(t.Context(), 0, 0); n != 1 || err != nil {
			t.Fatalf("sealed %d, %v", n, err)
		}
		l.wants(t, "waiting", nil)
	})
}

// TestClockSetBack: rows that follow a segment have greater numbers, whatever
// the clock says.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		ahead := time.Now().Add(time.Hour).UnixMicro() << 11
		l.exec(t, `INSERT INTO audit (n, session, at, actor, action, outcome) VALUES ($1, 's', 1, 'node', 'x', 'ok')`, ahead)
		if n, err := l.Seal(t.Context(), -2*time.Hour, 0); n != 1 || err != nil {
			t.Fatalf("sealed %d, %v", n, err)
		}
		if err := l.RecordAudit(t.Context(), "audit.verify"); err != nil {
			t.Fatal(err)
		}
		l.wants(t, "a clock that was set back", nil)
		if n, err := l.Seal(t.Context(), -2*time.Hour, 0); n != 1 || err != nil {
			t.Errorf("sealed %d, %v", n, err)
		}
	})
}

// TestClockIsLate: a node's numbers go on from the server's time from the
// beginning, so that no row of its first minute is below what others seal.
func TestClockIsLate(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		if l.Sole() {
			return // there is no other clock
		}
		l.exec(t, `CREATE SCHEMA later`)
		l.exec(t, `CREATE FUNCTION later.now() RETURNS timestamptz STABLE LANGUAGE sql AS $$ SELECT pg_catalog.now() + INTERVAL '1 hour' $$`)
		late, err := store.Open(t.Context(), store.Config{URL: l.url + "&search_path=later,pg_catalog,public", Master: bytes.Repeat([]byte{1}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = late.Close() }() // the test is over
		if err := late.RecordAudit(t.Context(), "audit.verify"); err != nil {
			t.Fatal(err)
		}
		var n int64
		if err := l.db.QueryRowContext(t.Context(), `SELECT n FROM audit`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if ahead := time.Until(time.UnixMicro(n >> 11)); ahead < 50*time.Minute {
			t.Errorf("a row is numbered for %v from now, by a clock that is an hour behind the server's", ahead)
		}
	})
}

// TestErasureKeepsTheChain: what is sealed outlives the session, and so does
// its account.
func TestErasureKeepsTheChain(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		l := &ledger{Store: s}
		n := create(t, s)
		line := []broker.Audit{{At: time.Now(), Actor: "rp:key", Action: "result.read", Outcome: "ok"}}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n, Audit: line}); err != nil {
			t.Fatal(err)
		}
		if made, err := s.Seal(t.Context(), -time.Minute, 0); made != 1 || err != nil {
			t.Fatalf("sealed %d, %v", made, err)
		}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n, Erase: true}); err != nil {
			t.Fatal(err)
		}
		if err := s.Remove(t.Context(), n.Account, n.Key); err != nil {
			t.Fatal(err)
		}
		l.wants(t, "erasure", nil)
	})
}

// TestLookRecords: who looks beside a running process writes that it does.
func TestLookRecords(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		look, err := store.Open(t.Context(), store.Config{URL: l.url, Master: bytes.Repeat([]byte{1}, 32), Now: time.Now, Look: true, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = look.Close() }() // only read from
		if err := look.RecordAudit(t.Context(), "audit.export"); err != nil {
			t.Fatal(err)
		}
		var got string
		err = l.db.QueryRowContext(t.Context(), `SELECT actor || ' ' || action || ' ' || outcome || session FROM audit`).Scan(&got)
		if err != nil || got != "operator audit.export ok" {
			t.Errorf("recorded %q, %v", got, err)
		}
	})
}

// TestConfigurationIsRecorded: the trail has each change of an account, a key
// and a client, and nothing of a start with the configuration of before.
func TestConfigurationIsRecorded(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		a := relying.Account{ID: "acc", Name: "Shop", WebhookSecrets: []relying.Secret{"whsec_a"}, Webhooks: map[eid.Environment]string{eid.Live: "https://a.example", eid.Test: "https://b.example"}}
		c := relying.Client{ID: "cli", Account: "acc"}
		var names []store.Subject // which a command brings
		k := relying.Key{ID: "key", Account: "acc", Environment: eid.Live}
		start := func(ctx context.Context, keys, clients []string) error { // as a server starts
			_, err := l.KeepKeys(ctx, keys)
			errs := []error{err, l.KeepClients(ctx, "acc", clients), l.PutAccount(ctx, &a)}
			if len(keys) > 0 {
				errs = append(errs, l.PutKey(ctx, k, "0f0e0d0c-0000-4000-8000-000000000001", true))
			}
			if len(clients) > 0 {
				errs = append(errs, l.PutClient(ctx, &c))
			}
			errs = append(errs, l.PutSubjects(ctx, "acc", names...))
			return errors.Join(errs...)
		}
		one, two := []string{"key"}, []string{"cli"}
		seen := 0
		for _, v := range []struct {
			name          string
			change        func()
			keys, clients []string
			want          []string
		}{
			{"the first start", func() {}, one, two, []string{"acc account.put", "key key.add", "cli client.put"}},
			{"the same again", func() {}, one, two, nil},
			{"another name", func() { a.Name = "Store" }, one, two, []string{"acc account.put"}},
			{"another secret", func() { a.WebhookSecrets = []relying.Secret{"whsec_b"} }, one, two, []string{"acc account.put"}},
			{"another client", func() { c.Redirects = []string{"https://a.example/cb"} }, one, two, []string{"cli client.put"}},
			{"names of persons", func() {
				names = []store.Subject{{IDP: "sbid", Person: "199001012385", Sub: "s"}, {IDP: "sbid", Person: "199001032391", Sub: "t"}}
			}, one, two, []string{"acc subject.put"}},
			{"without key and client", func() { names = nil }, nil, nil, []string{"key key.revoke", "cli client.remove"}},
			{"and again", func() {}, nil, nil, nil},
			{"both are back", func() {}, one, two, []string{"key key.add", "cli client.put"}},
		} {
			v.change()
			if err := start(t.Context(), v.keys, v.clients); err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
			var got []string
			rows, err := l.db.QueryContext(t.Context(), `SELECT session, actor, action, outcome FROM audit ORDER BY n`)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var id, actor, action, outcome string
				if err := rows.Scan(&id, &actor, &action, &outcome); err != nil || actor != "operator" || outcome != "ok" {
					t.Fatal(err, actor, outcome)
				}
				got = append(got, id+" "+action)
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				t.Fatal(err)
			}
			if new := got[seen:]; !slices.Equal(new, v.want) {
				t.Errorf("%s: %q, want %q", v.name, new, v.want)
			}
			seen = len(got)
		}
	})
}

func BenchmarkAudit(b *testing.B) {
	s := open(b, "sqlite:"+filepath.Join(b.TempDir(), "eidgate.db"))
	n := session()
	line := broker.Audit{At: time.Now(), Actor: "rp:5a4db0c5-0000-4000-8000-00000000b001", Action: "session.finished", Outcome: "ok"}
	if err := s.Apply(b.Context(), &broker.Change{ID: n.ID, Session: n}); err != nil {
		b.Fatal(err)
	}
	write := func() {
		if err := s.Apply(b.Context(), &broker.Change{ID: n.ID, Audit: slices.Repeat([]broker.Audit{line}, audit.MaxRows)}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("seal", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			write()
			b.StartTimer()
			if made, err := s.Seal(b.Context(), -time.Minute, 0); err != nil || made != 1 {
				b.Fatal(made, err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*audit.MaxRows), "ns/row")
	})
	b.Run("verify", func(b *testing.B) {
		names, err := s.AuditVerifiers(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		keys, err := audit.Verifiers(names...)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			v := audit.Verifier{Keys: keys}
			for one, err := range s.AuditTrail(b.Context(), 1) {
				if err != nil {
					b.Fatal(err)
				}
				v.Add(one)
				break
			}
			if r := v.End(); len(r.Findings) > 0 {
				b.Fatal(r.Findings)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*audit.MaxRows), "ns/row")
	})
}
