package store

import (
	"errors"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/pgtest"
)

// TestNumberGivenTwice has two nodes give one number to two sessions.
func TestNumberGivenTwice(t *testing.T) {
	t.Parallel()
	ctx, url := t.Context(), pgtest.Database(t, pgtest.Options{})
	var nodes [2]*Store
	for i := range nodes {
		s := connect(t, url)
		if err := s.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		nodes[i] = s
	}
	at := time.Now().Add(time.Hour).UnixMicro()
	for i, s := range nodes {
		s.seq.node = 7
		s.seq.raise(at)
		id := []string{"one", "two"}[i]
		n := &broker.Session{ID: id, Account: "acc", Key: "key", API: "api", Environment: eid.Test, State: broker.Created, Purpose: eid.Identify,
			Level: eid.None, Language: "en", Created: time.Now(), Due: time.Now().Add(time.Hour)}
		if err := s.Apply(ctx, &broker.Change{ID: id, Session: n, Data: []broker.Data{{Kind: broker.DataSpec, Value: []byte("spec of " + id)}}}); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if err := s.Apply(ctx, &broker.Change{ID: id, Session: &broker.Session{ID: id}}); !errors.Is(err, broker.ErrConflict) {
			t.Errorf("a session that is there already: %v, want ErrConflict", err)
		}
	}
	for i, id := range []string{"one", "two"} {
		if spec, err := nodes[1-i].Data(ctx, id, broker.DataSpec); err != nil || string(spec) != "spec of "+id {
			t.Errorf("%s, read by the other node: %q, %v", id, spec, err)
		}
	}
}
