package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// maxHints is how many hints may wait to be sent. What does not fit is left
// out: a hint saves a second of waiting, and the poll is the truth.
const maxHints = 256

// Hint tells a node that its inbox may have something. It never waits, and
// does nothing on SQLite, where there is one node.
func (s *Store) Hint(node string) {
	if s.pool == nil {
		return
	}
	select {
	case s.hints <- node:
	default:
	}
}

// RunHints sends what Hint was given, several for one node as one, and calls
// heard whenever somebody hints at this node, until ctx ends.
func (s *Store) RunHints(ctx context.Context, node string, heard func()) error {
	if s.pool == nil {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { s.sendHints(ctx); return nil })
	g.Go(func() error {
		for ctx.Err() == nil {
			err := s.hear(ctx, node, heard)
			if ctx.Err() != nil {
				break
			}
			s.log.WarnContext(ctx, "hints of other nodes are not heard", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		return nil
	})
	return g.Wait()
}

func (s *Store) sendHints(ctx context.Context) {
	for {
		nodes := map[string]bool{}
		select {
		case <-ctx.Done():
			return
		case n := <-s.hints:
			nodes[n] = true
		}
		for more := true; more; {
			select {
			case n := <-s.hints:
				nodes[n] = true
			default:
				more = false
			}
		}
		for n := range nodes {
			if _, err := s.pool.Exec(ctx, "SELECT pg_notify($1, '')", channel(n)); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "hint not sent", "error", err)
			}
		}
	}
}

// hear listens on a connection of its own until that breaks.
func (s *Store) hear(ctx context.Context, node string, heard func()) error {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it is of no use any more
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel(node)}.Sanitize()); err != nil {
		return err
	}
	heard() // what came before we listened
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
		heard()
	}
}

// channel is the name under which a node listens: others are not woken.
func channel(node string) string { return "eidgate_" + node }
