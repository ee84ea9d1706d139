package broker_test

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/pgtest"
	"eidgate/store"
)

// TestStoryOnRealStores runs the story, and kills its node at some of its
// changes, on the databases that sessions are really kept in.
func TestStoryOnRealStores(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{
		"memory":   func(*testing.T) string { return "memory" },
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "e.db") },
		"postgres": func(t *testing.T) string { return pgtest.Database(t, pgtest.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(t.Context(), store.Config{URL: url(t), Master: bytes.Repeat([]byte{3}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() }) // the nodes have left by then
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, at := range []int64{1 << 30, 1, 3, 5, 8} {
				w := newWorld(t)
				w.store = s
				c := &crashing{Store: s, at: at, after: true}
				first := w.node(c)
				id := w.create(first).ID
				var second *node
				done := w.finish(id, func() *node {
					if !c.dead() {
						return first
					}
					if second == nil {
						w.bury(first)
						second = w.node(s)
					}
					return second
				})
				lost := done.Reason == eid.OutcomeUnknown && !w.stored(done, "again") // fetched, and killed before it was stored
				if done.State != broker.Finished && !lost {
					t.Errorf("killed after change %d: %s %s", at, done.State, done.Reason)
				}
			}
		})
	}
}
