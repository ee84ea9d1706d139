package server

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eidgate/store"
)

const (
	auditGauge   = "eidgate_audit_verified_timestamp_seconds"
	auditCounter = `eidgate_security_events_total{kind="audit_failure"}`
)

// A sealed trail of so many rows, with the raw database below it and what it
// logs.
func newTrail(t *testing.T) (*trail, *sql.DB, *bytes.Buffer) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "eidgate.db")
	s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + file, Master: make([]byte, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // the test is over
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var log bytes.Buffer
	return &trail{store: s, metrics: newMetrics("test"), log: slog.New(slog.NewTextHandler(&log, nil))}, db, &log
}

func execute(t *testing.T, db *sql.DB, q string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), q, args...); err != nil {
		t.Fatal(err)
	}
}

// write writes a row of 1970 and seals it.
func (t *trail) write(test *testing.T, db *sql.DB, n int) {
	test.Helper()
	execute(test, db, `INSERT INTO audit (n, session, at, actor, action, outcome) VALUES ($1, 's', 1, 'node', 'session.finished', 'secret')`, n)
	t.once(test.Context(), store.AuditSettled, 0)
}

// look is one round, with what it finds.
func (t *trail) look(test *testing.T) string {
	test.Helper()
	found, err := t.round(test.Context())
	if err != nil {
		test.Fatal(err)
	}
	return fmt.Sprint(found)
}

// TestTrailIsWatched: what is wrong is told each round until it is right again,
// and what a node has seen must stay.
func TestTrailIsWatched(t *testing.T) {
	t.Parallel()
	tr, db, _ := newTrail(t)
	wants := func(after, want string) {
		t.Helper()
		if got := tr.look(t); got != want {
			t.Errorf("after %s: %s, want %s", after, got, want)
		}
	}
	wants("nothing", "[]")
	for n := 1; n <= 3; n++ {
		tr.write(t, db, 1000*n)
	}
	wants("three rows", "[]")
	execute(t, db, `UPDATE audit SET outcome = 'ok' WHERE n = 2000`)
	wants("a change in the old part", "[segment 2, row 2000: the row was changed]")
	for n := 4; n <= 5; n++ {
		tr.write(t, db, 1000*n)
	}
	if got := tr.look(t); !strings.HasPrefix(got, "[segment 2, row 2000: the row was changed") {
		t.Errorf("an hour later: %s", got)
	}
	execute(t, db, `UPDATE audit SET outcome = 'secret' WHERE n = 2000`)
	wants("it was put right", "[]")
	execute(t, db, `DELETE FROM audit_segment WHERE number = 2`)
	if got := tr.look(t); !strings.HasPrefix(got, "[segment 2: it is missing") {
		t.Errorf("a segment is gone: %s", got)
	}
	execute(t, db, `DELETE FROM audit_segment WHERE number > 1`)
	execute(t, db, `DELETE FROM audit WHERE n > 1000`)
	const cut = "segment 5: the trail ends before it: the newer end was cut off, or an older state was restored]"
	for range 2 {
		if got := tr.look(t); !strings.HasSuffix(got, cut) {
			t.Errorf("the end is cut off: %s", got)
		}
	}
}

// TestTrailHasNoSeams: a segment that is gone is missed wherever it stood.
func TestTrailHasNoSeams(t *testing.T) {
	t.Parallel()
	for gone := 1; gone <= 5; gone++ {
		tr, db, _ := newTrail(t)
		for n := 1; n <= 5; n++ {
			tr.write(t, db, 1000*n)
		}
		if got := tr.look(t); got != "[]" {
			t.Fatal(got)
		}
		execute(t, db, `DELETE FROM audit_segment WHERE number = $1`, gone)
		if got := tr.look(t); !strings.HasPrefix(got, fmt.Sprintf("[segment %d: ", gone)) {
			t.Errorf("segment %d is gone: %s", gone, got)
		}
	}
}

// TestTrailTells: a failure is an error of the log without what the row holds,
// a count, and a gauge that does not move.
func TestTrailTells(t *testing.T) {
	t.Parallel()
	tr, db, log := newTrail(t)
	tr.write(t, db, 1000)
	once := func(until func() bool) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tr.watch(ctx) }()
		eventually(t, "a round", until)
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	once(func() bool { return scrape(t, tr.metrics, auditGauge) != "0" })
	tr.metrics.verified.Set(1)
	execute(t, db, `UPDATE audit SET actor = 'mallory'`)
	once(func() bool { return scrape(t, tr.metrics, auditCounter) == "1" })
	if got := scrape(t, tr.metrics, auditGauge); got != "1" {
		t.Errorf("the gauge moved to %s", got)
	}
	if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "segment=1 row=1000 kind=changed") || strings.Contains(text, "mallory") || strings.Contains(text, "secret") {
		t.Errorf("log:\n%s", text)
	}
}

// TestSealing: the gauge moves when all is sealed, and not when it cannot be.
func TestSealing(t *testing.T) {
	t.Parallel()
	tr, _, _ := newTrail(t)
	const gauge = "eidgate_audit_sealed_timestamp_seconds"
	if got := scrape(t, tr.metrics, gauge); got != "0" {
		t.Errorf("before anything was sealed: %s", got)
	}
	tr.once(t.Context(), store.AuditSettled, 0)
	if got := scrape(t, tr.metrics, gauge); got == "0" {
		t.Error("it did not move")
	}
	tr.metrics.sealed.Set(1)
	if err := tr.store.Close(); err != nil {
		t.Fatal(err)
	}
	tr.once(t.Context(), store.AuditSettled, 0)
	if got := scrape(t, tr.metrics, gauge); got != "1" {
		t.Errorf("without a store it moved to %s", got)
	}
}

// TestTrailTellsBeforeAnError: what a round has found is told, though it cannot
// read the rest.
func TestTrailTellsBeforeAnError(t *testing.T) {
	t.Parallel()
	tr, db, log := newTrail(t)
	tr.write(t, db, 1000)
	tr.write(t, db, 2000)
	execute(t, db, `UPDATE audit SET actor = 'mallory' WHERE n = 1000`)
	execute(t, db, `UPDATE audit SET at = 'never' WHERE n = 2000`)
	tr.tell(t.Context())
	if n := scrape(t, tr.metrics, auditCounter); n != "1" {
		t.Errorf("counted %s", n)
	}
	if text := log.String(); !strings.Contains(text, "segment=1 row=1000 kind=changed") || !strings.Contains(text, "cannot be verified") {
		t.Errorf("log:\n%s", text)
	}
	if got := scrape(t, tr.metrics, auditGauge); got != "0" {
		t.Errorf("the gauge moved to %s", got)
	}
}

// TestStopSeals: what was written up to the stop is sealed by it, where no other
// node can be writing.
func TestStopSeals(t *testing.T) {
	t.Parallel()
	tr, _, _ := newTrail(t)
	if err := tr.store.RecordAudit(t.Context(), "audit.export"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	tr.last(ctx)
	if head, err := tr.store.AuditHead(t.Context()); err != nil || head.Size != 1 {
		t.Errorf("after the stop: %+v, %v", head, err)
	}
}
