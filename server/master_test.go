package server

import (
	"bytes"
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"eidgate/eid"
	"eidgate/relying"
	"eidgate/store"
)

// TestRewrapBesideLoss: a value that none of the keys opens is complained of, and hides
// neither what the former key had sealed nor that it has been sealed anew.
func TestRewrapBesideLoss(t *testing.T) {
	t.Parallel()
	ctx, file := t.Context(), filepath.Join(t.TempDir(), "eidgate.db")
	former, next := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	open := func(m masterKeys) *store.Store {
		t.Helper()
		s, err := m.open(ctx, store.Config{URL: "sqlite:" + file, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() }) // it has been closed, mostly
		return s
	}
	s := open(masterKeys{current: former})
	for _, err := range []error{s.Migrate(ctx), s.Begin(ctx), s.PutKey(ctx, relying.Key{ID: "kept", Account: "acc", Environment: eid.Test}, "one", true),
		s.PutKey(ctx, relying.Key{ID: "lost", Account: "acc", Environment: eid.Test}, "two", true), s.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, `UPDATE api_key SET sealed = x'00' WHERE id = 'lost'`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	c := &core{store: open(masterKeys{current: next, former: former}), metrics: newMetrics("test"), log: slog.New(slog.DiscardHandler)}
	for _, want := range []string{"4", "0"} { // three secrets and a key, and then nothing
		if err := c.rewrapped(ctx); err == nil || err.Error() != "1 values open with none of the master keys" {
			t.Errorf("the lost one: %v", err)
		}
		if got := scrape(t, c.metrics, "eidgate_former_master_key_values"); got != want {
			t.Errorf("the gauge is %s, want %s", got, want)
		}
	}
	if text, err := c.store.KeyText(ctx, "kept"); err != nil || text != "one" {
		t.Errorf("the other one: %q, %v", text, err)
	}
}
