package store

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/pgtest"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	var changed int64
	all := []statement{
		{q: `INSERT INTO a VALUES ($1, $2)`, args: []any{1, 2}, one: "insert", apart: true},
		{q: `UPDATE b SET c = $2 WHERE e = $1 OR f = $10`, args: []any{3, 4}, apart: true},
		{q: `DELETE FROM g WHERE h = $1`, args: []any{5}, changed: &changed, apart: true},
		{q: `SELECT i FROM j WHERE k = $1 FOR SHARE`, args: []any{6}},
		{q: `DELETE FROM l`},
		{q: `DELETE FROM m`, one: "three", rows: 3},
		{q: `DELETE FROM n`, apart: true},
	}
	var got []string
	var args [][]any
	for _, g := range grouped(all) {
		q, a := g.query()
		got, args = append(got, q), append(args, a)
	}
	guard := func(name, rows string) string {
		return `CASE (SELECT COUNT(*) FROM w` + name + `) WHEN ` + rows + ` THEN ` + rows + ` ELSE CAST('eidgate: somebody else was quicker, no harm done; statement ` +
			name + ` changed rows: ' || (SELECT COUNT(*) FROM w` + name + `) AS BIGINT) END`
	}
	want := []string{
		`WITH w0 AS (INSERT INTO a VALUES ($1, $2) RETURNING 1), w1 AS (UPDATE b SET c = $4 WHERE e = $3 OR f = $12), ` +
			`w2 AS (DELETE FROM g WHERE h = $5 RETURNING 1) SELECT ` + guard("0", "1") + `, (SELECT COUNT(*) FROM w2)`,
		`SELECT i FROM j WHERE k = $1 FOR SHARE`,
		`DELETE FROM l`,
		`WITH w0 AS (DELETE FROM m RETURNING 1) SELECT ` + guard("0", "3"),
		`DELETE FROM n`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if !slices.Equal(args[0], []any{1, 2, 3, 4, 5}) || !slices.Equal(args[1], []any{6}) {
		t.Errorf("%v", args)
	}
	if q, _ := (group{{q: "DELETE FROM a", apart: true}, {q: "DELETE FROM b", apart: true}}).query(); q != "WITH w0 AS (DELETE FROM a), w1 AS (DELETE FROM b) SELECT 1" {
		t.Error(q)
	}
}

// A tally counts what is asked of PostgreSQL.
type tally struct{ statements atomic.Int64 }

func (c *tally) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (c *tally) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {
	c.statements.Add(1)
}

func (c *tally) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func (c *tally) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.statements.Add(1)
	return ctx
}

func (c *tally) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// counting has a store count its statements from now on.
func counting(t *testing.T, s *Store) *tally {
	t.Helper()
	c := &tally{}
	cfg := s.pool.Config()
	cfg.ConnConfig.Tracer = c
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.pool.Close()
	s.pool, s.convoy = pool, newConvoy(pool)
	return c
}

// TestStatementsOfALogin: what an OpenID login changes is one statement each
// time, and each of them fails as a whole.
func TestStatementsOfALogin(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := connect(t, pgtest.Database(t, pgtest.Options{}))
	if err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	c := counting(t, s)
	asks := func(what string, want int64, f func() error) {
		t.Helper()
		c.statements.Store(0)
		if err := f(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := c.statements.Load(); got != want {
			t.Errorf("%s: %d statements, want %d", what, got, want)
		}
	}
	if _, err := s.accountKey(ctx, "acc"); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	change := func(id string) *broker.Change {
		return &broker.Change{ID: id, Session: &broker.Session{ID: id, Account: "acc", Key: "key", API: "api", Environment: eid.Test, State: broker.Created, Purpose: eid.Identify,
			Level: eid.Strong, Language: "en", Created: now, Due: now.Add(time.Hour)},
			Order: &broker.Order{ID: "order of " + id, Session: id, EID: eid.IDIN, Environment: eid.Test, Body: []byte("{}")}, Refs: []connector.Ref{"ref of one"},
			Data:  []broker.Data{{Kind: broker.DataSpec, Value: []byte("spec")}, {Kind: "more", Value: []byte("more")}},
			Notes: []broker.Note{{At: now, Kind: "made"}, {At: now, Kind: "done"}}, Audit: []broker.Audit{{At: now, Actor: "a", Action: "b", Outcome: "c"}}}
	}
	asks("create", 1, func() error { return s.Apply(ctx, change("one")) })
	grant := &oidc.Grant{ID: "g", Session: "one", Client: "shop", Account: "acc", Environment: eid.Test, SSO: "sid", Created: now, Code: [32]byte{1}, CodeUntil: now.Add(time.Minute), Body: []byte("{}")}
	sso := &oidc.SSO{ID: "sid", Hash: [32]byte{2}, Account: "acc", Session: "one", EID: eid.IDIN, Auth: now, Used: now, Expires: now.Add(time.Hour)}
	asks("grant", 1, func() error {
		signedOn, err := s.PutGrant(ctx, grant, nil, sso, broker.Audit{At: now, Actor: "client", Action: "read", Outcome: "ok"})
		if err == nil && !signedOn {
			err = errors.New("the browser's session was not written")
		}
		return err
	})
	s.grants.Drop(grant.Code) // as on another node, which reads it
	asks("redeem", 2, func() error {
		_, err := s.Redeem(ctx, grant.Code, "shop", now, func(*oidc.Grant) ([]oidc.Token, error) {
			return []oidc.Token{{Hash: [32]byte{3}, Kind: "access", Created: now, Expires: now.Add(time.Hour)}, {Hash: [32]byte{4}, Kind: "refresh", Created: now, Expires: now.Add(time.Hour)}}, nil
		})
		return err
	})
	for _, hash := range []byte{3, 4} {
		if _, g, err := s.ByToken(ctx, [32]byte{hash}, map[byte]string{3: "access", 4: "refresh"}[hash], now); err != nil || g.ID != "g" {
			t.Errorf("token %d: %+v, %v", hash, g, err)
		}
	}
	// The second statement of a group is the one that fails, and nothing is left of the first.
	second := change("two")
	second.Order.ID = "order of one"
	if err := s.Apply(ctx, second); !errors.Is(err, broker.ErrConflict) || err.Error() != "insert order: "+broker.ErrConflict.Error() {
		t.Errorf("an order that is there: %v", err)
	}
	if _, err := s.Session(ctx, "two"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("its session: %v", err)
	}
	if err := (group{{q: "q", one: "it", without: oidc.ErrUsed}}).refused(&pgconn.PgError{Message: "statement 0 changed rows: 0"}); errors.Is(err, oidc.ErrUsed) {
		t.Error("another error passes for that of a guard")
	}
}
