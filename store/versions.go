package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"eidgate/broker"
)

// apace is how often PostgreSQL is asked for the versions of sessions, at most.
const apace = 25 * time.Millisecond

// versions asks PostgreSQL which versions sessions have. Pages that wait want to
// know each second, and are most of what a busy node reads: those that come within
// apace of one another are answered by one query. Nobody is told what was read
// before they asked, and who asks alone waits for nobody (docs/decisions/0019).
type versions struct {
	read func(ctx context.Context, ids []string) (map[string]int64, error)

	mu   sync.Mutex
	last time.Time // a query began
	next *reading  // that waits for its time
}

// A reading is one query, for all who have asked since the one before.
type reading struct {
	ids   map[string]bool
	done  chan struct{}
	found map[string]int64
	err   error
}

// of is the version of a session; broker.ErrNotFound if there is no such session.
func (v *versions) of(ctx context.Context, id string) (int64, error) {
	if !utf8.ValidString(id) || strings.Contains(id, "\x00") {
		return 0, broker.ErrNotFound // PostgreSQL would refuse it, and with it what others ask
	}
	r := v.join(id)
	if r == nil {
		found, err := v.read(ctx, []string{id})
		return pick(found, id, err)
	}
	select {
	case <-r.done:
		return pick(r.found, id, r.err)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func pick(found map[string]int64, id string, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	n, ok := found[id]
	if !ok {
		return 0, broker.ErrNotFound
	}
	return n, nil
}

// join is nil for who need not wait.
func (v *versions) join(id string) *reading {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.next == nil {
		now := time.Now()
		if wait := v.last.Add(apace).Sub(now); wait > 0 {
			v.next = &reading{ids: map[string]bool{}, done: make(chan struct{})}
			time.AfterFunc(wait, v.ask)
		} else {
			v.last = now
			return nil
		}
	}
	v.next.ids[id] = true
	return v.next
}

// ask answers all who wait. None of them is who it depends on, so it has a time of
// its own.
func (v *versions) ask() {
	v.mu.Lock()
	r := v.next
	v.next, v.last = nil, time.Now()
	v.mu.Unlock()
	defer close(r.done)
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	r.found, r.err = v.read(ctx, slices.Collect(maps.Keys(r.ids)))
}
