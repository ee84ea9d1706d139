package store_test

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/pgtest"
	"eidgate/relying"
	"eidgate/store"
)

// engines runs a test on each database.
func engines(t *testing.T, f func(t *testing.T, s *store.Store)) {
	t.Helper()
	for name, url := range map[string]func(t *testing.T) string{
		"memory":   func(*testing.T) string { return "memory" },
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "eidgate.db") },
		"postgres": func(t *testing.T) string { return pgtest.Database(t, pgtest.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open(t, url(t)))
		})
	}
}

// connect opens a database as it is.
func connect(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: url, Master: bytes.Repeat([]byte{1}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests have done so
	return s
}

// open makes a new database.
func open(t testing.TB, url string) *store.Store {
	t.Helper()
	s := connect(t, url)
	if n, err := s.Pending(t.Context()); err != nil || n == 0 {
		t.Fatalf("Pending on a new database = %d, %v", n, err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Pending(t.Context()); err != nil || n != 0 {
		t.Fatalf("Pending after Migrate = %d, %v", n, err)
	}
	return s
}

func session() *broker.Session {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return &broker.Session{ID: uuid.NewString(), Account: "acc", Key: "key", API: "api", Environment: eid.Test, State: broker.Created,
		Purpose: eid.Identify, Method: "m", EID: "story", Level: eid.None, Language: "en", Created: now, Due: now.Add(time.Hour)}
}

func create(t *testing.T, s *store.Store) *broker.Session {
	t.Helper()
	n := session()
	if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n, Data: []broker.Data{{Kind: broker.DataSpec, Value: []byte(`{"party":"x"}`)}}}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReferences: a reference leads to its session, and to none where two have it.
func TestReferences(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		first, second := session(), session()
		second.ID = first.ID[:11] + second.ID[11:] // the first 40 bits
		put := func(n *broker.Session) {
			t.Helper()
			if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.ByRef(t.Context(), first.Ref()); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("before: %v, want ErrNotFound", err)
		}
		put(first)
		if n, err := s.ByRef(t.Context(), first.Ref()); err != nil || n.ID != first.ID {
			t.Errorf("one: %v, %v", n, err)
		}
		put(second)
		if n, err := s.ByRef(t.Context(), first.Ref()); first.Ref() != second.Ref() || !errors.Is(err, store.ErrAmbiguous) {
			t.Errorf("two, %s and %s: %v, %v, want ErrAmbiguous", first.Ref(), second.Ref(), n, err)
		}
	})
}

// TestErasedFromTheFile: the key of an erased session is nowhere in a file of
// SQLite any more, free pages included.
func TestErasedFromTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "eidgate.db")
	s := open(t, "sqlite:"+path)
	n := create(t, s)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	var wrapped []byte
	err = db.QueryRowContext(t.Context(), `SELECT wrapped FROM session_key`).Scan(&wrapped)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if err := s.Close(); err != nil { // all is in the file now
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil || bytes.Contains(raw, wrapped) != want {
			t.Errorf("the file holds the wrapped key: %v, want %v, %v", !want, want, err)
		}
		s = connect(t, "sqlite:"+path)
		if want {
			erase(t, s, n)
		}
	}
}

func TestSessionRoundTrip(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		n := create(t, s)
		got, err := s.Session(t.Context(), n.ID)
		if err != nil || fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *n) {
			t.Errorf("Session = %+v, %v\nwant      %+v", got, err, n)
		}
		if list, err := s.List(t.Context(), "acc", "", 9); err != nil || len(list) != 1 || fmt.Sprintf("%+v", *list[0]) != fmt.Sprintf("%+v", *n) {
			t.Errorf("List = %+v, %v\nwant   %+v", list, err, n)
		}
		n.State, n.Order, n.Handle = broker.Started, uuid.NewString(), []byte{1, 2}
		o := &broker.Order{ID: n.Order, Session: n.ID, EID: "story", Environment: eid.Test, Owner: "node", Body: []byte(`{"a":1}`), Due: n.Due}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n, Order: o, Refs: []connector.Ref{"r1"}}); err != nil {
			t.Fatal(err)
		}
		if found, err := s.Find(t.Context(), "story", eid.Test, "r1"); err != nil || found.ID != o.ID || found.Session != n.ID || string(found.Body) != `{"a":1}` {
			t.Errorf("Find = %+v, %v", found, err)
		}
		if _, err := s.Find(t.Context(), "story", eid.Live, "r1"); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("Find in another environment = %v", err)
		}
		if refs, err := s.Refs(t.Context(), n.ID); err != nil || len(refs) != 1 {
			t.Errorf("Refs = %v, %v", refs, err)
		}
		got2, err := s.Order(t.Context(), o.ID)
		if err != nil || string(got2.Body) != `{"a":1}` || got2.Fence != 1 || !got2.Due.Equal(o.Due) {
			t.Errorf("Order = %+v, %v", got2, err)
		}
	})
}

// TestKeptRows: what is kept in memory of a session is what stands in the
// database, with many writers, lost races and times that it cannot hold.
func TestKeptRows(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		var ids []string
		var wg sync.WaitGroup
		for range 20 {
			n := session()
			n.Created = time.Now().Add(123 * time.Nanosecond) // local, with the monotonic clock
			n.Handle = []byte{}
			ids = append(ids, n.ID)
			if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n}); err != nil {
				t.Fatal(err)
			}
			for who := range 4 {
				wg.Go(func() {
					for i := range 10 {
						mine, err := s.Session(context.Background(), n.ID)
						if err != nil {
							t.Error(err)
							return
						}
						mine.Code, mine.Due = fmt.Sprint(who, i), mine.Due.Add(time.Duration(who)*time.Second+time.Nanosecond)
						if err := s.Apply(context.Background(), &broker.Change{ID: n.ID, Session: mine}); err != nil && !errors.Is(err, broker.ErrConflict) {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		list, err := s.List(t.Context(), "acc", "", 100) // which asks the database
		if err != nil || len(list) != len(ids) {
			t.Fatalf("List = %d sessions, %v; want %d", len(list), err, len(ids))
		}
		for _, want := range list {
			if got, err := s.Session(t.Context(), want.ID); err != nil || fmt.Sprintf("%#v", *got) != fmt.Sprintf("%#v", *want) {
				t.Errorf("Session = %#v, %v\nthe database has %#v", got, err, want)
			}
			if n, err := s.Version(t.Context(), want.ID); err != nil || n != want.Version {
				t.Errorf("Version = %d, %v; want %d", n, err, want.Version)
			}
		}
		if err := s.Remove(t.Context(), "acc", "key"); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if _, err := s.Session(t.Context(), id); !errors.Is(err, broker.ErrNotFound) {
				t.Errorf("a session of an account that is gone: %v", err)
			}
		}
	})
}

// TestRemoveTakesDuties: nobody owes anything for an account that is gone.
func TestRemoveTakesDuties(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		n := create(t, s)
		o := &broker.Order{ID: uuid.NewString(), Session: n.ID, EID: "story", Environment: eid.Test, Ended: true}
		d := broker.Duty{ID: o.ID, Session: n.ID, Account: n.Account, Environment: eid.Test, EID: "story", State: []byte("owed"), Due: n.Due}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Order: o, Duties: []broker.Duty{d}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Remove(t.Context(), n.Account, n.Key); err != nil {
			t.Fatal(err)
		}
		if got, err := s.ClaimDuty(t.Context(), n.Due, n.Due.Add(time.Minute)); err != nil || got != nil {
			t.Errorf("ClaimDuty = %+v, %v", got, err)
		}
	})
}

func TestGuards(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		n := create(t, s)
		var wins, conflicts atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			mine := *n
			mine.State = broker.Failed
			wg.Go(func() {
				switch err := s.Apply(context.Background(), &broker.Change{ID: n.ID, Session: &mine}); {
				case err == nil:
					wins.Add(1)
				case errors.Is(err, broker.ErrConflict):
					conflicts.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 || conflicts.Load() != 49 {
			t.Errorf("%d changes won and %d conflicted, want 1 and 49", wins.Load(), conflicts.Load())
		}
		again := *n
		again.Version = 0
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: &again}); !errors.Is(err, broker.ErrConflict) {
			t.Errorf("inserting a session twice = %v", err)
		}
		if got, err := s.Session(t.Context(), n.ID); err != nil || got.Version != 2 {
			t.Errorf("Version = %+v, %v; want 2", got, err)
		}
	})
}

// TestGroup has many writers at once, of which every third cannot succeed:
// its neighbours in the same commit must.
func TestGroup(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		var wg sync.WaitGroup
		ids := make([]string, 120)
		for i := range ids {
			n := session()
			ids[i] = n.ID
			if i%3 == 0 {
				n.Version = 7
			}
			wg.Go(func() {
				err := s.Apply(context.Background(), &broker.Change{ID: n.ID, Session: n, Notes: []broker.Note{{At: time.Now(), Kind: "k", Text: "t"}}})
				if (err != nil) != (i%3 == 0) {
					t.Errorf("change %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		for i, id := range ids {
			_, err := s.Session(t.Context(), id)
			notes, nerr := s.Notes(t.Context(), id)
			if (err != nil) != (i%3 == 0) || nerr != nil || (len(notes) != 2) != (i%3 == 0) {
				t.Errorf("session %d: %v, %d notes, %v", i, err, len(notes), nerr)
			}
		}
	})
}

func TestWriteOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		n := create(t, s)
		put := func(v string) error {
			return s.Apply(t.Context(), &broker.Change{ID: n.ID, Data: []broker.Data{{Kind: "mark", Value: []byte(v)}}})
		}
		if err := put("a"); err != nil {
			t.Fatal(err)
		}
		if err := put("a"); err != nil {
			t.Errorf("the same bytes again: %v", err)
		}
		if err := put("b"); !errors.Is(err, broker.ErrConflict) {
			t.Errorf("other bytes: %v, want ErrConflict", err)
		}
		if got, err := s.Data(t.Context(), n.ID, "mark"); err != nil || string(got) != "a" {
			t.Errorf("Data = %q, %v", got, err)
		}
	})
}

// TestNamesThatNothingHas: what others write as a name may be a text that
// PostgreSQL does not take.
func TestNamesThatNothingHas(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		for _, name := range []string{"no", "a\x00b", "\xff"} {
			if _, err := s.Client(t.Context(), name); !errors.Is(err, relying.ErrUnknown) {
				t.Errorf("client %q: %v", name, err)
			}
			if _, err := s.Session(t.Context(), name); !errors.Is(err, broker.ErrNotFound) {
				t.Errorf("session %q: %v", name, err)
			}
			if _, err := s.Find(t.Context(), "story", eid.Test, connector.Ref(name)); !errors.Is(err, broker.ErrNotFound) {
				t.Errorf("reference %q: %v", name, err)
			}
		}
	})
}

func TestOrphansAndInbox(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		n := create(t, s)
		o := &broker.Order{ID: uuid.NewString(), Session: n.ID, EID: "story", Environment: eid.Test, Owner: "dead", Body: []byte("{}")}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Order: o}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Orphans(t.Context(), time.Hour, "", 10); err != nil || len(got) != 1 {
			t.Errorf("orphans of an unknown node: %v, %v", got, err)
		}
		if err := s.Beat(t.Context(), "dead"); err != nil {
			t.Fatal(err)
		}
		for within, want := range map[time.Duration]bool{time.Minute: true, -time.Second: false} {
			if lives, err := s.Alive(t.Context(), "dead", within); err != nil || lives != want {
				t.Errorf("Alive within %s = %v, %v", within, lives, err)
			}
		}
		if got, err := s.Orphans(t.Context(), time.Minute, "", 10); err != nil || len(got) != 0 {
			t.Errorf("orphans of a living node: %v, %v", got, err)
		}
		if got, err := s.Orphans(t.Context(), -time.Second, "", 10); err != nil || len(got) != 1 {
			t.Errorf("orphans of a dead node: %v, %v", got, err)
		}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Put: []broker.Message{{Order: o.ID, Event: []byte("hello")}}}); err != nil {
			t.Fatal(err)
		}
		box, err := s.Inbox(t.Context(), "dead", 0, 10)
		if err != nil || len(box) != 1 || string(box[0].Event) != "hello" {
			t.Fatalf("Inbox = %v, %v", box, err)
		}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Took: []int64{box[0].ID}}); err != nil {
			t.Fatal(err)
		}
		if box, err := s.Inbox(t.Context(), "dead", 0, 10); err != nil || len(box) != 0 {
			t.Errorf("Inbox after it was taken = %v, %v", box, err)
		}
		if err := s.Leave(t.Context(), "dead"); err != nil {
			t.Fatal(err)
		}
		if lives, err := s.Alive(t.Context(), "dead", time.Hour); err != nil || lives {
			t.Errorf("Alive after Leave = %v, %v", lives, err)
		}
	})
}

// TestPages: what a node has to deal with is read a page at a time, each from
// behind the one before, and what does not open is among it.
func TestPages(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now := time.Now().Truncate(time.Microsecond)
		dues := []time.Time{now.Add(-time.Hour), now.Add(-time.Minute), now.Add(-time.Minute), now.Add(-time.Minute), now, now.Add(time.Microsecond)}
		var orders []string
		for _, due := range dues {
			n := create(t, s)
			n.Due = due
			o := &broker.Order{ID: uuid.NewString(), Session: n.ID, EID: "story", Environment: eid.Test, Owner: "dead", Body: []byte("{}")}
			if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n, Order: o, Put: []broker.Message{{Order: o.ID, Event: []byte("hello")}}}); err != nil {
				t.Fatal(err)
			}
			orders = append(orders, o.ID)
		}
		var got []time.Time
		for at := (broker.Mark{}); ; {
			page, err := s.Due(t.Context(), now, at, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range page {
				got = append(got, n.Due)
				at = broker.Mark{Due: n.Due, ID: n.ID}
			}
			if len(page) < 2 {
				break
			}
		}
		if !slices.EqualFunc(got, dues[:5], time.Time.Equal) {
			t.Errorf("due are %v, want %v", got, dues[:5])
		}
		var dead []string
		for {
			page, err := s.Orphans(t.Context(), time.Hour, append(dead, "")[max(0, len(dead)-1)], 4)
			if err != nil {
				t.Fatal(err)
			}
			if dead = append(dead, page...); len(page) < 4 {
				break
			}
		}
		if slices.Sort(orders); !slices.Equal(dead, orders) {
			t.Errorf("orphans are %q, want %q", dead, orders)
		}
		var box []broker.Message
		for last := int64(0); ; last = box[len(box)-1].ID {
			page, err := s.Inbox(t.Context(), "dead", last, 4)
			if err != nil {
				t.Fatal(err)
			}
			if box = append(box, page...); len(page) < 4 {
				break
			}
		}
		if len(box) != len(orders) || !slices.IsSortedFunc(box, func(a, b broker.Message) int { return cmp.Compare(a.ID, b.ID) }) {
			t.Errorf("Inbox = %v", box)
		}
	})
}

// TestOrphansAmongMany: on PostgreSQL only orders that run are looked at, and not
// all that there ever were.
func TestOrphansAmongMany(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, pgtest.Options{})
	s := open(t, url)
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(t.Context())) }() // the database goes with it
	for _, q := range []string{`INSERT INTO node VALUES ('alive', 9000000000000000)`,
		`INSERT INTO eid_order SELECT md5(g::text), g, 'e', 'test', '', 0, 'alive', 1, CASE WHEN g <= 3000 THEN 0 ELSE 1 END, 0, NULL FROM generate_series(1, 60000) g`,
		`VACUUM ANALYZE eid_order`} {
		if _, err := db.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Orphans(t.Context(), time.Hour, "", 100); err != nil || len(got) != 0 {
		t.Errorf("Orphans = %v, %v", got, err)
	}
	if err := s.Close(); err != nil { // which makes its connections say what they have read
		t.Fatal(err)
	}
	read := func(index string) (n int64) {
		if err := db.QueryRow(t.Context(), `SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = $1`, index).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for end := time.Now().Add(10 * time.Second); read("eid_order_running") == 0; <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what was read is never said")
		}
	}
	if n := read("eid_order_pkey"); n > 0 {
		t.Errorf("%d of 60000 orders were read, of which 3000 run", n)
	}
}

// TestMessageThatDoesNotOpen: one that was altered in the database, one whose
// session was, and one of an account whose master key is another keep no other
// from being read.
func TestMessageThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "eidgate.db")
	s := open(t, "sqlite:"+path)
	var orders []string
	for i := range 4 {
		n := session()
		n.Account = strconv.Itoa(i)
		o := &broker.Order{ID: uuid.NewString(), Session: n.ID, EID: "story", Environment: eid.Test, Owner: "dead", Body: []byte("{}")}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n, Order: o, Put: []broker.Message{{Order: o.ID, Event: []byte("hello")}}}); err != nil {
			t.Fatal(err)
		}
		orders = append(orders, o.ID)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i, q := range []string{`UPDATE inbox SET event = 'x' WHERE order_id = $1`, `UPDATE session_key SET wrapped = 'x' WHERE session = (SELECT session FROM eid_order WHERE id = $1)`,
		`UPDATE account_key SET master = 'x' WHERE account = '2' AND $1 <> ''`} {
		if _, err := db.ExecContext(t.Context(), q, orders[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fresh := connect(t, "sqlite:"+path) // which has no keys in memory
	got, err := fresh.Inbox(t.Context(), "dead", 0, 10)
	if err != nil || len(got) != 4 || got[0].Event != nil || got[1].Event != nil || got[2].Event != nil || string(got[3].Event) != "hello" {
		t.Errorf("Inbox = %v, %v", got, err)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		n := create(t, s)
		now := time.Now()
		var out []broker.Delivery
		for i := range 40 {
			out = append(out, broker.Delivery{ID: fmt.Sprintf("msg_%d_%s", i, n.ID), Session: n.ID, Account: "acc", Environment: eid.Test,
				Kind: "webhook", Type: "session.finished", Profile: "standard", URL: "https://rp.example/hook", Body: []byte("body"), Due: now})
		}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Outbox: out}); err != nil {
			t.Fatal(err)
		}
		if n, due, err := s.Backlog(t.Context()); err != nil || n != 40 || !due.Equal(now.UTC().Truncate(time.Microsecond)) {
			t.Errorf("Backlog = %d, %s, %v", n, due, err)
		}
		var mu sync.Mutex
		seen := map[string]int{}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					got, err := s.ClaimDeliveries(context.Background(), now.Add(time.Second), time.Minute, 5)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					for _, c := range got {
						seen[c.ID]++
						if c.URL != "https://rp.example/hook" || string(c.Body) != "body" || c.Attempt != 1 {
							t.Errorf("claimed = %+v", c)
						}
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for _, d := range out {
			if seen[d.ID] != 1 {
				t.Errorf("delivery %s claimed %d times, want 1", d.ID, seen[d.ID])
			}
		}
		late, err := s.ClaimDeliveries(t.Context(), now.Add(2*time.Minute), time.Minute, 1)
		if err != nil || len(late) != 1 || late[0].Attempt != 2 {
			t.Fatalf("after the lease: %+v, %v", late, err)
		}
		old := broker.Attempt{ID: late[0].ID, Attempt: 1, State: "delivered", At: now}
		if err := s.FinishDeliveries(t.Context(), []broker.Attempt{old}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Deliveries(t.Context(), n.ID); err != nil || len(got) != 0 {
			t.Errorf("a worker that came back late has written %v, %v", got, err)
		}
		if err := s.FinishDeliveries(t.Context(), []broker.Attempt{{ID: late[0].ID, Attempt: 2, State: "delivered", At: now, Status: 204}}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Deliveries(t.Context(), n.ID); err != nil || len(got) != 1 || got[0].Status != 204 {
			t.Errorf("Deliveries = %v, %v", got, err)
		}
		busy, err := s.ClaimDeliveries(t.Context(), now.Add(2*time.Minute), time.Minute, 1)
		if err != nil || len(busy) != 1 || busy[0].Attempt != 2 {
			t.Fatalf("another after the lease: %+v, %v", busy, err)
		}
		back := broker.Attempt{ID: busy[0].ID, Attempt: 2, State: "pending", Busy: true, At: now, Due: now.Add(time.Second)}
		if err := s.FinishDeliveries(t.Context(), []broker.Attempt{back}); err != nil {
			t.Fatal(err)
		}
		again, err := s.ClaimDeliveries(t.Context(), now.Add(2*time.Second), time.Minute, 1)
		if err != nil || len(again) != 1 || again[0].ID != busy[0].ID || again[0].Attempt != 2 {
			t.Errorf("what was given back without an attempt: %+v, %v", again, err)
		}
	})
}

func TestAccountsAndKeys(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		a := &relying.Account{ID: uuid.NewString(), Name: "Shop", WebhookSecrets: []relying.Secret{"whsec_x", "whsec_old"}, Hosts: []string{"shop.example"}}
		if err := s.PutAccount(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		k := relying.Key{ID: uuid.NewString(), Account: a.ID, Environment: eid.Live, Created: time.Now()}
		text := "0F0E0D0C-0000-4000-8000-000000000001"
		if err := s.PutKey(t.Context(), k, text, true); err != nil {
			t.Fatal(err)
		}
		got, err := s.Caller(t.Context(), strings.ToLower(text))
		if err != nil || got.Account.Name != "Shop" || !slices.Equal(got.Account.WebhookSecrets, a.WebhookSecrets) || got.Key.Environment != eid.Live {
			t.Fatalf("Caller = %+v, %v", got, err)
		}
		for _, wrong := range []string{"", text[:35], text + "0", uuid.NewString()} {
			if _, err := s.Caller(t.Context(), wrong); !errors.Is(err, relying.ErrUnknown) {
				t.Errorf("Caller(%q) = %v, want ErrUnknown", wrong, err)
			}
		}
		if got, err := s.KeyText(t.Context(), k.ID); err != nil || got != strings.ToLower(text) {
			t.Errorf("KeyText = %q, %v", got, err)
		}
		k.Revoked = time.Now()
		if err := s.PutKey(t.Context(), k, text, false); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Caller(t.Context(), text); !errors.Is(err, relying.ErrUnknown) {
			t.Errorf("a revoked key: %v", err)
		}
		if _, err := s.KeyText(t.Context(), k.ID); !errors.Is(err, relying.ErrUnknown) {
			t.Errorf("the copy of a key that needs none: %v", err)
		}
	})
}

// The copy of a key that is used no more goes when nothing can be sent with it.
func TestSweepKeys(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now := time.Now()
		keys := map[string]time.Time{"used": {}, "revoked today": now, "revoked a month ago": now.AddDate(0, 0, -30), "long ago": now.AddDate(0, 0, -36)}
		for id, revoked := range keys {
			if err := s.PutKey(t.Context(), relying.Key{ID: id, Account: "a", Environment: eid.Live, Revoked: revoked}, uuid.NewString(), true); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SweepKeys(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		for id := range keys {
			if _, err := s.KeyText(t.Context(), id); errors.Is(err, relying.ErrUnknown) != (id == "long ago") {
				t.Errorf("the copy of the key that is %s: %v", id, err)
			}
		}
	})
}

func TestErase(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		n := create(t, s)
		o := &broker.Order{ID: uuid.NewString(), Session: n.ID, EID: "story", Environment: eid.Test, Owner: "x", Body: []byte("{}")}
		d := broker.Delivery{ID: "msg_" + n.ID, Session: n.ID, URL: "https://rp.example", Body: []byte("pending body"), Due: time.Now()}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Order: o, Outbox: []broker.Delivery{d}}); err != nil {
			t.Fatal(err)
		}
		n.State = broker.Erased
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n, Erase: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Data(t.Context(), n.ID, broker.DataSpec); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("Data = %v", err)
		}
		if got, err := s.Order(t.Context(), o.ID); err != nil || len(got.Body) != 0 || !got.Ended {
			t.Errorf("Order = %+v, %v", got, err)
		}
		if got, err := s.Session(t.Context(), n.ID); err != nil || got.State != broker.Erased {
			t.Errorf("the bare record: %+v, %v", got, err)
		}
		got, err := s.ClaimDeliveries(t.Context(), time.Now().Add(time.Second), time.Minute, 10)
		if err != nil || len(got) != 1 || string(got[0].Body) != "pending body" {
			t.Errorf("a pending notification outlives the session: %+v, %v", got, err)
		}
	})
}

const canary = "CANARY-199001012385"

// seed writes a canary into everything that is sealed.
func seed(t *testing.T, s *store.Store) *broker.Session {
	t.Helper()
	n := create(t, s)
	o := &broker.Order{ID: uuid.NewString(), Session: n.ID, EID: "story", Environment: eid.Test, Owner: "x", Body: []byte(canary)}
	err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Order: o,
		Data:   []broker.Data{{Kind: broker.DataIdentity, Value: []byte(canary)}, {Kind: broker.DataEvidence + "e", Value: []byte(canary)}},
		Outbox: []broker.Delivery{{ID: "msg_1", Session: n.ID, URL: "https://rp.example/" + canary, Body: []byte(canary), Due: time.Now()}},
		Put:    []broker.Message{{Order: o.ID, Event: []byte(canary)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutAccount(t.Context(), &relying.Account{ID: "a", Name: "n", WebhookSecrets: []relying.Secret{"whsec_" + canary, canary}}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutKey(t.Context(), relying.Key{ID: "k", Account: "a"}, canary, true); err != nil {
		t.Fatal(err)
	}
	seedOIDC(t, s, n)
	return n
}

// TestDumpShowsNothing looks for the canary in the files of SQLite, and in
// what pg_dump writes.
func TestDumpShowsNothing(t *testing.T) {
	t.Parallel()
	look := func(t *testing.T, raw []byte, n *broker.Session) {
		t.Helper()
		hex := strings.ToUpper(fmt.Sprintf("%x", canary))
		if up := bytes.ToUpper(raw); bytes.Contains(up, []byte(canary)) || bytes.Contains(up, []byte(hex)) {
			t.Error("the dump shows the canary")
		}
		if !bytes.Contains(raw, []byte(n.ID)) {
			t.Error("not even the session's id was found: the test looks at the wrong place")
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		n := seed(t, open(t, "sqlite:"+filepath.Join(dir, "eidgate.db")))
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) < 2 {
			t.Fatalf("files of the database: %v, %v", files, err)
		}
		var all []byte
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, raw...)
		}
		look(t, all, n)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		dsn := pgtest.Database(t, pgtest.Options{})
		n := seed(t, open(t, dsn))
		dump, err := exec.CommandContext(t.Context(), pgtest.Program(t, "pg_dump"), "--inserts", dsn).Output()
		if err != nil {
			t.Fatal(err)
		}
		look(t, dump, n)
	})
}

// TestSwappedValuesDoNotOpen moves sealed values to other places of the same
// database, as somebody would who may write it but has no key.
func TestSwappedValuesDoNotOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "eidgate.db")
	s := open(t, "sqlite:"+path)
	a, b := create(t, s), create(t, s)
	for _, n := range []*broker.Session{a, b} {
		err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Data: []broker.Data{{Kind: broker.DataIdentity, Value: []byte("who " + n.ID)}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{ // b gets a's key and identity; a's identity becomes its spec
		`UPDATE session_key SET wrapped = (SELECT wrapped FROM session_key WHERE session = (SELECT number FROM session WHERE id = '` + a.ID + `')) WHERE session = (SELECT number FROM session WHERE id = '` + b.ID + `')`,
		`UPDATE session_data SET value = (SELECT value FROM session_data WHERE session = (SELECT number FROM session WHERE id = '` + a.ID + `') AND kind = 'identity')`,
	} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + path, Master: bytes.Repeat([]byte{1}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // read only
	for what, read := range map[string]struct{ session, kind string }{
		"another session's identity": {b.ID, broker.DataIdentity}, "an identity in place of the spec": {a.ID, broker.DataSpec}} {
		if got, err := s.Data(t.Context(), read.session, read.kind); err == nil {
			t.Errorf("%s opened: %q", what, got)
		}
	}
	if got, err := s.Data(t.Context(), a.ID, broker.DataIdentity); err != nil || string(got) != "who "+a.ID {
		t.Errorf("what stayed in its place: %q, %v", got, err)
	}
}

func TestWrongMasterKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "eidgate.db")
	s := open(t, "sqlite:"+path)
	n := create(t, s)
	if err := s.CheckMaster(t.Context()); err != nil {
		t.Errorf("CheckMaster with its own key: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path, Master: bytes.Repeat([]byte{2}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // read only
	if err := s.CheckMaster(t.Context()); !errors.Is(err, store.ErrMaster) {
		t.Errorf("CheckMaster with another key: %v, want ErrMaster", err)
	}
	if _, err := s.Data(t.Context(), n.ID, broker.DataSpec); !errors.Is(err, store.ErrMaster) {
		t.Errorf("Data with another key: %v, want ErrMaster", err)
	}
}

// TestTimelineUnderAStoppedClock: a sandbox stops the clock, and no line may
// be lost or change places for that.
func TestTimelineUnderAStoppedClock(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		n := create(t, s)
		for i := range 300 {
			var c broker.Change
			c.ID = n.ID
			for k := range 3 {
				c.Notes = append(c.Notes, broker.Note{At: n.Created, Kind: "step", Text: fmt.Sprint(3*i + k)})
			}
			if err := s.Apply(t.Context(), &c); err != nil {
				t.Fatal(err)
			}
		}
		notes, err := s.Notes(t.Context(), n.ID)
		if err != nil || len(notes) != 901 || notes[0].Text != "created" {
			t.Fatalf("%d lines, %v; want 901", len(notes), err)
		}
		for i, line := range notes[1:] {
			if line.Text != fmt.Sprint(i) {
				t.Fatalf("line %d is %s", i, line.Text)
			}
		}
	})
}

// TestEraseWhileDelivering: whichever of the two comes last, the body goes.
func TestEraseWhileDelivering(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t, pgtest.Options{})
	s := open(t, dsn)
	for i := range 40 {
		n := create(t, s)
		d := broker.Delivery{ID: fmt.Sprintf("msg_%d", i), Session: n.ID, Account: "acc", URL: "https://rp.example", Body: []byte("body"), Due: time.Now()}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Outbox: []broker.Delivery{d}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ClaimDeliveries(t.Context(), time.Now().Add(time.Second), time.Hour, 10); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			gone := *n
			gone.State = broker.Erased
			if err := s.Apply(context.Background(), &broker.Change{ID: n.ID, Session: &gone, Erase: true}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := s.FinishDeliveries(context.Background(), []broker.Attempt{{ID: d.ID, Attempt: 1, State: "delivered", At: time.Now(), Status: 204}}); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
	}
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var left int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM delivery_data").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d bodies were left, %v", left, err)
	}
}

// count counts the rows of a table, behind the store's back.
func count(t *testing.T, driver, dsn, table string) (n int) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestEveryQueryHasAnIndex asks SQLite how it would run what the engine asks
// for all the time: nothing may read a whole table.
func TestEveryQueryHasAnIndex(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "eidgate.db")
	open(t, "sqlite:"+path)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range sources {
		raw, err := os.ReadFile(f)
		if err != nil || strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, q := range queries.FindAllString(string(raw), -1) {
			q = strings.Trim(q, "`")
			for name, columns := range map[string]string{"sessionColumns": "id", "orderColumns": "o.id", "grantColumns": "g.id",
				"tokenColumns": "t.hash", "segmentColumns": "number", "statusRows": statusRows, "s.dialect.skip": "", "s.dialect.share": "", "s.dialect.clock": "1"} {
				q = strings.ReplaceAll(q, "`+"+name+"+`", columns)
				q = strings.ReplaceAll(q, "` + "+name+" + `", columns)
			}
			q = strings.ReplaceAll(q, "= ANY($1)", "IN ($1)") // as SQLite, which is not asked that, would put it
			seen++
			args := []any{}
			for strings.Contains(q, fmt.Sprintf("$%d", len(args)+1)) {
				args = append(args, 1)
			}
			rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q, args...)
			if err != nil {
				t.Errorf("%s: %v\n%s", f, err, q)
				continue
			}
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(detail, "SCAN") && !strings.Contains(detail, "USING") && !allowed.MatchString(detail+q) {
					t.Errorf("%s reads a whole table: %s\n%s", f, detail, q)
				}
				if strings.Contains(detail, " d USING") && strings.Contains(q, "d.state IN (") && !strings.Contains(detail, "delivery_given_up") {
					t.Errorf("%s reads more than what is given up: %s\n%s", f, detail, q)
				}
			}
			if err := rows.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d queries were found", seen)
	}
}

// statusRows is, of the constant of that name, what tables are read by.
const statusRows = `d.id FROM delivery d LEFT JOIN session s ON s.number = d.session LEFT JOIN delivery_data x ON x.delivery = d.id
	LEFT JOIN delivery_attempt a ON a.delivery = d.id AND a.n = d.attempt`

var (
	queries = regexp.MustCompile("(?s)`(?:SELECT|INSERT|UPDATE|DELETE)(?:[^`]|` ?\\+ ?[a-zA-Z.]+ ?\\+ ?`)*`")
	// few rows each (first is bounded by its LIMIT), or asked once at the start, or a list for an operator
	allowed = regexp.MustCompile(`SCAN (node|account_key|api_key|oidc_key|goose_db_version|sqlite_master|lines|first|n|CONSTANT ROW|\(subquery|\(SELECT)|ORDER BY number DESC`)
)

func TestOneProcessPerFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "eidgate.db")
	open(t, "sqlite:"+path)
	_, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path, Master: make([]byte, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use by another eidgate process") {
		t.Errorf("opening it twice: %v", err)
	}
}

// TestFileIsOurs: nobody else reads a new file.
func TestFileIsOurs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "eidgate.db")
	open(t, "sqlite:"+path)
	for _, name := range []string{path, path + "-wal", path + ".lock"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s: %v", filepath.Base(name), mode)
		}
	}
}

// A program that is started while the file is open has its descriptors too, for
// as long as it takes to begin. The file is free as soon as its store is closed.
func TestFileIsFree(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "eidgate.db")
	first, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path, Master: make([]byte, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	held, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	copies := 0
	for _, fd := range held {
		if name, _ := os.Readlink("/proc/self/fd/" + fd.Name()); name != path+".lock" {
			continue
		}
		n, err := strconv.Atoi(fd.Name())
		if err == nil {
			n, err = syscall.Dup(n)
		}
		if err != nil {
			t.Fatal(err)
		}
		copies++
		t.Cleanup(func() { _ = syscall.Close(n) }) // the file goes with the test
	}
	if copies == 0 { // a copy may get a number that was listed, and be copied again
		t.Fatal("the lock's descriptor is not listed")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, "sqlite:"+path)
}
