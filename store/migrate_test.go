package store

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/pgtest"
	"eidgate/internal/seal"
)

// connect opens a database as it is.
func connect(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: url, Master: bytes.Repeat([]byte{1}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // the test is over
	return s
}

// before runs a test on databases that are as they were before a change of the
// schema.
func before(t *testing.T, version int64, f func(t *testing.T, s *Store)) {
	t.Helper()
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "eidgate.db") },
		"postgres": func(t *testing.T) string { return pgtest.Database(t, pgtest.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := connect(t, url(t))
			p, done, err := s.migrations()
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.UpTo(t.Context(), version-1)
			if e := done(); err != nil || e != nil {
				t.Fatal(err, e)
			}
			f(t, s)
		})
	}
}

// TestNumbers takes rows that were found by a session's id to those that are
// found by its number: everything is there afterwards, and opens.
func TestNumbers(t *testing.T) {
	t.Parallel()
	before(t, 5, testNumbers)
}

func testNumbers(t *testing.T, s *Store) {
	ctx := t.Context()
	outer, err := s.accountKey(ctx, "acc")
	if err != nil {
		t.Fatal(err)
	}
	var all []statement
	add := func(q string, args ...any) { all = append(all, statement{q: q, args: args}) }
	ids := []string{"b-first", "a-second"} // in the order in which they were made
	for i, id := range ids {
		key, wrapped, err := outer.New(seal.Place("session_key", id, "wrapped"))
		if err != nil {
			t.Fatal(err)
		}
		add(`INSERT INTO session (id, version, account, key_id, config, api, environment, state, reason, code, purpose, method, eid, stage, order_id,
			handle, level, extensions, language, created, confirmed, ended, due)
			VALUES ($1, 1, 'acc', 'key', '', 'api', 'test', 'started', '', '', 'identify', 'm', 'story', 0, $2, NULL, 'none', 0, 'en', $3, 0, 0, 0)`,
			id, "order of "+id, int64(1000+i))
		add(`INSERT INTO session_key (session, wrapped) VALUES ($1, $2)`, id, wrapped)
		add(`INSERT INTO session_data (session, kind, value) VALUES ($1, 'spec', $2)`, id, key.Seal(seal.Place("session_data", id, "spec"), []byte("spec of "+id)))
		add(`INSERT INTO eid_order (id, session, eid, environment, mode, stage, owner, fence, ended, due, body)
			VALUES ($1, $2, 'story', 'test', '', 0, 'node', 1, 0, 0, $3)`, "order of "+id, id, key.Seal(seal.Place("eid_order", "order of "+id, "body"), []byte("body of "+id)))
		add(`INSERT INTO order_ref (eid, environment, ref, order_id, session, at) VALUES ('story', 'test', $1, $2, $3, 1)`, "ref of "+id, "order of "+id, id)
		add(`INSERT INTO event (session, n, at, kind, text) VALUES ($1, 7, 7, 'event', $2)`, id, "event of "+id)
		add(`INSERT INTO inbox (id, order_id, session, event) VALUES ($1, $2, $3, $4)`, int64(i+1), "order of "+id, id, key.Seal(seal.Place("inbox", id, "event"), []byte("message of "+id)))
		add(`INSERT INTO delivery (id, session, account, environment, kind, type, profile, key_id, upper, state, attempt, first, due)
			VALUES ($1, $2, 'acc', 'test', 'webhook', 't', 'p', '', 0, 'dead', 1, 1, 0)`, "msg of "+id, id)
		add(`INSERT INTO oidc_sso (id, hash, account, session, eid, auth, used, expires) VALUES ($1, $2, 'acc', $3, 'story', 1, 1, 9000000000000000)`, "sso of "+id, make([]byte, 31+i), id)
		add(`INSERT INTO oidc_grant (id, session, client, account, environment, sso, created, revoked, code, code_until, redeemed, body)
			VALUES ($1, $2, 'client', 'acc', 'test', '', 1, 0, $3, 9000000000000000, 0, $4)`, "grant of "+id, id, bytes.Repeat([]byte{byte(i)}, 32),
			key.Seal(grantPlace("grant of "+id), []byte("grant of "+id)))
		add(`INSERT INTO oidc_token (hash, grant_id, session, client, kind, scope, bound, created, expires, replaced)
			VALUES ($1, $2, $3, 'client', 'access', '', '', 1, 9000000000000000, 0)`, bytes.Repeat([]byte{byte(i)}, 32), "grant of "+id, id)
	}
	add(`INSERT INTO oidc_token (hash, grant_id, session, client, kind, scope, bound, created, expires, replaced)
		VALUES ($1, '', '', 'client', 'access', '', '', 1, 9000000000000000, 0)`, bytes.Repeat([]byte{9}, 32))
	if err := s.batch(ctx, all); err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}

	list, err := s.List(ctx, "acc", "", 10)
	if err != nil || len(list) != 2 || list[0].ID != ids[1] || list[1].ID != ids[0] {
		t.Fatalf("List = %+v, %v; want the newest first", list, err)
	}
	inbox, err := s.Inbox(ctx, "node", 10)
	if err != nil || len(inbox) != 2 {
		t.Fatalf("Inbox = %v, %v", inbox, err)
	}
	for i, id := range ids {
		if spec, err := s.Data(ctx, id, broker.DataSpec); err != nil || string(spec) != "spec of "+id {
			t.Errorf("Data = %q, %v", spec, err)
		}
		if o, err := s.Order(ctx, "order of "+id); err != nil || o.Session != id || string(o.Body) != "body of "+id {
			t.Errorf("Order = %+v, %v", o, err)
		}
		if refs, err := s.Refs(ctx, id); err != nil || len(refs) != 1 || string(refs[0]) != "ref of "+id {
			t.Errorf("Refs = %v, %v", refs, err)
		}
		if notes, err := s.Notes(ctx, id); err != nil || len(notes) != 2 || notes[1].Text != "event of "+id {
			t.Errorf("Notes = %v, %v", notes, err)
		}
		if string(inbox[i].Event) != "message of "+id {
			t.Errorf("message %d = %q", i, inbox[i].Event)
		}
		if out, err := s.Outbox(ctx, id); err != nil || len(out) != 1 || out[0].ID != "msg of "+id || out[0].Session != id {
			t.Errorf("Outbox = %v, %v", out, err)
		}
		hash := [32]byte(bytes.Repeat([]byte{byte(i)}, 32))
		if _, g, err := s.ByToken(ctx, hash, "access", time.Now()); err != nil || g.Session != id || string(g.Body) != "grant of "+id {
			t.Errorf("ByToken = %+v, %v", g, err)
		}
	}
	if _, g, err := s.ByToken(ctx, [32]byte(bytes.Repeat([]byte{9}, 32)), "access", time.Now()); err != nil || g != nil {
		t.Errorf("a token of nobody's session: %v, %v", g, err)
	}
	next := &broker.Session{ID: "c-third", Account: "acc", Key: "key", API: "api", Environment: eid.Test, State: broker.Created, Purpose: eid.Identify, Level: eid.None,
		Language: "en", Created: time.Now(), Due: time.Now().Add(time.Hour)}
	if err := s.Apply(ctx, &broker.Change{ID: next.ID, Session: next}); err != nil {
		t.Fatal(err)
	}
	if list, err = s.List(ctx, "acc", "", 1); err != nil || len(list) != 1 || list[0].ID != next.ID {
		t.Errorf("the newest = %v, %v", list, err)
	}
}

// TestGivenUpBefore: what was given up before there was a list of it stands in it,
// with the time of its last attempt.
func TestGivenUpBefore(t *testing.T) {
	t.Parallel()
	before(t, 6, func(t *testing.T, s *Store) {
		var all []statement
		for id, state := range map[string]string{"gone": "failed", "lost": "dead", "done": "delivered"} {
			all = append(all, statement{q: `INSERT INTO delivery (id, session, account, environment, kind, type, profile, key_id, upper, state, attempt, first, due)
				VALUES ($1, 1, 'acc', 'test', 'webhook', 't', 'p', '', 0, $2, 2, 7, 0)`, args: []any{id, state}})
		}
		for n := range 2 {
			all = append(all, statement{q: `INSERT INTO delivery_attempt (delivery, n, at, took, state, status, reason) VALUES ('gone', $1, $2, 5, '', 0, '')`,
				args: []any{n + 1, int64(100 * (n + 1))}})
		}
		if err := s.batch(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := s.Statuses(t.Context(), broker.DeliveryFilter{}, 10)
		if err != nil || len(got) != 2 || got[0].ID != "gone" || got[0].GivenUp.UnixMicro() != 205 || got[1].ID != "lost" || got[1].GivenUp.UnixMicro() != 7 {
			t.Errorf("Statuses = %+v, %v", got, err)
		}
	})
}
