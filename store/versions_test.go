package store

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"eidgate/broker"
)

// A shelf answers what versions asks, each id with its number, and notes it.
type shelf struct {
	mu    sync.Mutex
	asked [][]string
	hold  chan struct{} // a reading stays until it is closed; nil for none
	err   error
}

func (s *shelf) read(ctx context.Context, ids []string) (map[string]int64, error) {
	s.mu.Lock()
	slices.Sort(ids)
	s.asked = append(s.asked, ids)
	hold, err := s.hold, s.err
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	found := map[string]int64{}
	for _, id := range ids {
		if n, e := strconv.ParseInt(id, 10, 64); e == nil {
			found[id] = n
		}
	}
	return found, err
}

func (s *shelf) seen(t *testing.T, want ...[]string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.EqualFunc(s.asked, want, slices.Equal) {
		t.Errorf("the database was asked for %q, want %q", s.asked, want)
	}
}

// justAsked asks a shelf, so that whoever comes next has to wait.
func justAsked(t *testing.T, s *shelf) *versions {
	t.Helper()
	v := &versions{read: s.read}
	if _, err := v.of(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVersionsAreReadTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		v := &versions{read: s.read}
		of := func(id string) {
			t.Helper()
			n, err := v.of(t.Context(), id)
			if want, e := strconv.ParseInt(id, 10, 64); e != nil {
				if !errors.Is(err, broker.ErrNotFound) {
					t.Errorf("%s: %v, want ErrNotFound", id, err)
				}
			} else if err != nil || n != want {
				t.Errorf("%s: %d, %v", id, n, err)
			}
		}
		start := time.Now()
		of("1") // nobody else is there
		if d := time.Since(start); d != 0 {
			t.Errorf("the first had to wait for %s", d)
		}
		var wg sync.WaitGroup
		for _, id := range []string{"2", "3", "gone", "2"} {
			wg.Go(func() { of(id) })
		}
		wg.Wait()
		if d := time.Since(start); d != apace {
			t.Errorf("the others had their answers after %s, want %s", d, apace)
		}
		s.seen(t, []string{"1"}, []string{"2", "3", "gone"})
		<-time.After(apace)
		of("4")
		s.seen(t, []string{"1"}, []string{"2", "3", "gone"}, []string{"4"})
		of("gone")
		for _, id := range []string{"a\x00b", "\xff"} { // would be refused, with what else is asked
			of(id)
		}
		s.seen(t, []string{"1"}, []string{"2", "3", "gone"}, []string{"4"}, []string{"gone"})
	})
}

// TestVersionsAreOfAfterwards: what is being read may be from before the question.
func TestVersionsAreOfAfterwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{hold: make(chan struct{})}
		v := &versions{read: s.read}
		var wg sync.WaitGroup
		ask := func(id string) {
			wg.Go(func() {
				if _, err := v.of(t.Context(), id); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		ask("1")
		ask("2")
		<-time.After(apace)
		synctest.Wait() // both are being read
		ask("2")
		s.seen(t, []string{"1"}, []string{"2"})
		<-time.After(apace)
		synctest.Wait()
		s.seen(t, []string{"1"}, []string{"2"}, []string{"2"})
		close(s.hold)
		wg.Wait()
	})
}

func TestVersionsOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		v := justAsked(t, s)
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { // the first of those who wait leaves
			if _, err := v.of(ctx, "2"); !errors.Is(err, context.Canceled) {
				t.Errorf("who has left is told %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if n, err := v.of(t.Context(), "3"); n != 3 || err != nil {
				t.Errorf("who stays is told %d, %v", n, err)
			}
		})
		synctest.Wait()
		leave()
		wg.Wait()

		broken := errors.New("no connection")
		s.err = broken
		for range 2 {
			wg.Go(func() {
				if n, err := v.of(t.Context(), "4"); n != 0 || !errors.Is(err, broken) {
					t.Errorf("of a database that fails: %d, %v", n, err)
				}
			})
		}
		wg.Wait()
	})
}

// TestVersionsEnd: a database that does not answer holds nobody for good.
func TestVersionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		v := justAsked(t, s)
		s.hold = make(chan struct{})
		start := time.Now()
		if _, err := v.of(t.Context(), "2"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d != apace+longest {
			t.Errorf("that took %s", d)
		}
	})
}
