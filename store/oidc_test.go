package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/pgtest"
	"eidgate/relying"
	"eidgate/store"
)

// instant is when everything here happens. It is near the real time, since
// Once goes by the store's clock.
func instant() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func h(text string) [32]byte { return sha256.Sum256([]byte(text)) }

var read = broker.Audit{Actor: "rp:shop", Action: "result.read", Outcome: "ok"}

// put writes a grant that begins no browser's session.
func put(ctx context.Context, s *store.Store, g *oidc.Grant, pushed *[32]byte) error {
	_, err := s.PutGrant(ctx, g, pushed, nil, read)
	return err
}

// signOn writes a grant that begins a browser's session, and says whether it did.
func signOn(t *testing.T, s *store.Store, b *oidc.SSO, grant string) bool {
	t.Helper()
	ok, err := s.PutGrant(t.Context(), &oidc.Grant{ID: grant, Session: b.Session, Client: "shop", Account: b.Account, SSO: b.ID, Created: b.Used, Code: h(grant),
		CodeUntil: b.Used.Add(time.Minute)}, nil, b, read)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// grant writes one of a session whose code is the grant's id.
func grant(t *testing.T, s *store.Store, session string, now time.Time) *oidc.Grant {
	t.Helper()
	id := uuid.NewString()
	g := &oidc.Grant{ID: id, Session: session, Client: "shop", Account: "acc", Environment: eid.Test, Created: now,
		Code: h(id), CodeUntil: now.Add(time.Minute), Body: []byte("who")}
	if err := put(t.Context(), s, g, nil); err != nil {
		t.Fatal(err)
	}
	return g
}

func token(text, kind, grant string, now time.Time) oidc.Token {
	return oidc.Token{Hash: h(text), Grant: grant, Client: "shop", Kind: kind, Scope: "openid nin", Created: now, Expires: now.Add(10 * time.Minute), Bound: "jkt"}
}

// gives is what a code leads to.
func gives(tokens ...oidc.Token) func(*oidc.Grant) ([]oidc.Token, error) {
	return func(*oidc.Grant) ([]oidc.Token, error) { return tokens, nil }
}

// erase ends a session as the broker does.
func erase(t *testing.T, s *store.Store, n *broker.Session) {
	t.Helper()
	gone := *n
	gone.State = broker.Erased
	if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: &gone, Erase: true}); err != nil {
		t.Fatal(err)
	}
}

// race runs n at once and counts how they end.
func race(n int, f func(i int) error) map[error]int {
	var mu sync.Mutex
	ends := map[error]int{}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := f(i)
			for _, known := range []error{oidc.ErrUsed, oidc.ErrUnknown} {
				if errors.Is(err, known) {
					err = known
				}
			}
			mu.Lock()
			defer mu.Unlock()
			ends[err]++
		})
	}
	wg.Wait()
	return ends
}

func TestGrantRoundTrip(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now := instant()
		g := grant(t, s, create(t, s).ID, now)
		got, err := s.Redeem(t.Context(), g.Code, "shop", now, func(g *oidc.Grant) ([]oidc.Token, error) {
			return []oidc.Token{token("at "+string(g.Body), "access", "filled in", now), token("rt", "refresh", "", now)}, nil
		})
		want := *g
		want.Redeemed = now
		if diff := cmp.Diff(&want, got); err != nil || diff != "" {
			t.Fatalf("Redeem: %v\n%s", err, diff)
		}
		tok, got, err := s.ByToken(t.Context(), h("at who"), "access", now)
		if diff := cmp.Diff(&want, got); err != nil || diff != "" {
			t.Fatalf("ByToken: %v\n%s", err, diff)
		}
		if diff := cmp.Diff(token("at who", "access", g.ID, now), *tok); diff != "" {
			t.Errorf("token:\n%s", diff)
		}
		for what, read := range map[string]struct {
			hash [32]byte
			kind string
		}{"a token as another kind": {h("at who"), "refresh"}, "the code": {g.Code, "access"}, "nothing": {[32]byte{}, "access"}} {
			if _, _, err := s.ByToken(t.Context(), read.hash, read.kind, now); !errors.Is(err, oidc.ErrUnknown) {
				t.Errorf("%s: %v, want ErrUnknown", what, err)
			}
		}
		own := token("own", "access", "", now)
		if err := s.PutTokens(t.Context(), []oidc.Token{own}); err != nil {
			t.Fatal(err)
		}
		if tok, g, err := s.ByToken(t.Context(), h("own"), "access", now); err != nil || g != nil || cmp.Diff(own, *tok) != "" {
			t.Errorf("a client's own token: %v, %v, %v", tok, g, err)
		}
	})
}

// TestRedeemOnce has fifty redeem one code: one has its tokens, and because
// others came too nobody has any in the end (RFC 6749, section 4.1.2).
func TestRedeemOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now := instant()
		g := grant(t, s, create(t, s).ID, now)
		ends := race(50, func(i int) error {
			_, err := s.Redeem(context.Background(), g.Code, "shop", now, gives(token(fmt.Sprint("at", i), "access", "", now)))
			return err
		})
		if want := map[error]int{nil: 1, oidc.ErrUsed: 49}; cmp.Diff(want, ends, cmp.Comparer(errors.Is)) != "" {
			t.Errorf("ends = %v, want %v", ends, want)
		}
		for i := range 50 {
			if _, _, err := s.ByToken(t.Context(), h(fmt.Sprint("at", i)), "access", now); !errors.Is(err, oidc.ErrUnknown) {
				t.Errorf("token %d after the code's reuse: %v", i, err)
			}
		}
		late := token("late", "access", g.ID, now)
		if err := s.PutTokens(t.Context(), []oidc.Token{late}); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("a token for a revoked grant: %v", err)
		}
	})
}

// TestRedeemElsewhere: the node that has written a grant does not read it for
// its first use. What other nodes have done with it counts all the same.
func TestRedeemElsewhere(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, pgtest.Options{})
	a, b := open(t, url), connect(t, url)
	now, n := instant(), create(t, a)
	used, revoked, gone := grant(t, a, n.ID, now), grant(t, a, n.ID, now), grant(t, a, create(t, a).ID, now)
	if _, err := b.Redeem(t.Context(), used.Code, "shop", now, gives(token("first", "access", "", now))); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Redeem(t.Context(), used.Code, "shop", now, gives(token("second", "access", "", now))); !errors.Is(err, oidc.ErrUsed) {
		t.Errorf("a code that another node has redeemed: %v, want ErrUsed", err)
	}
	if _, _, err := b.ByToken(t.Context(), h("first"), "access", now); !errors.Is(err, oidc.ErrUnknown) {
		t.Errorf("a token after the code's reuse: %v", err)
	}
	other := token("other", "access", revoked.ID, now)
	if err := b.PutTokens(t.Context(), []oidc.Token{other}); err != nil {
		t.Fatal(err)
	}
	if err := b.Revoke(t.Context(), other.Hash, "shop", true, now); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Redeem(t.Context(), revoked.Code, "shop", now, gives(token("late", "access", "", now))); !errors.Is(err, oidc.ErrUnknown) {
		t.Errorf("a grant that another node has revoked: %v, want ErrUnknown", err)
	}
	s, err := b.Session(t.Context(), gone.Session)
	if err != nil {
		t.Fatal(err)
	}
	erase(t, b, s)
	if _, err := a.Redeem(t.Context(), gone.Code, "shop", now, gives(token("ghost", "access", "", now))); !errors.Is(err, oidc.ErrUnknown) {
		t.Errorf("a grant of a session that another node has erased: %v, want ErrUnknown", err)
	}
}

func TestRedeemRefuses(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now, n := instant(), create(t, s)
		never := func(*oidc.Grant) ([]oidc.Token, error) {
			t.Error("a code that is refused was asked for its tokens")
			return nil, nil
		}
		g := grant(t, s, n.ID, now)
		if _, err := s.Redeem(t.Context(), g.Code, "other", now, never); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("another client's code: %v", err)
		}
		if _, err := s.Redeem(t.Context(), h("guess"), "shop", now, never); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("no code: %v", err)
		}
		if _, err := s.Redeem(t.Context(), g.Code, "shop", g.CodeUntil, never); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("a code at the instant of its end: %v", err)
		}
		if _, err := s.Redeem(t.Context(), g.Code, "shop", g.CodeUntil.Add(-time.Microsecond), gives()); err != nil {
			t.Errorf("a code in the last microsecond: %v", err)
		}
		if got, err := s.Redeem(t.Context(), g.Code, "shop", g.CodeUntil.Add(time.Hour), never); !errors.Is(err, oidc.ErrUsed) || got.Session != n.ID || got.Body != nil {
			t.Errorf("a used code after its end: %v, %v; want ErrUsed and whose it was", got, err)
		}
		spoilt := grant(t, s, n.ID, now)
		verifier := errors.New("wrong verifier")
		for range 2 {
			_, err := s.Redeem(t.Context(), spoilt.Code, "shop", now, func(g *oidc.Grant) ([]oidc.Token, error) {
				return []oidc.Token{token("unmade", "access", "", now)}, fmt.Errorf("%w: %w", oidc.ErrUnmade, verifier)
			})
			if !errors.Is(err, oidc.ErrUnmade) || !errors.Is(err, verifier) {
				t.Fatalf("tokens that could not be made: %v", err)
			}
			if _, _, err := s.ByToken(t.Context(), h("unmade"), "access", now); !errors.Is(err, oidc.ErrUnknown) {
				t.Errorf("a token that was not given is stored: %v", err)
			}
		}
		if _, err := s.Redeem(t.Context(), spoilt.Code, "shop", now, func(*oidc.Grant) ([]oidc.Token, error) { return nil, verifier }); !errors.Is(err, verifier) {
			t.Errorf("an error of tokens: %v", err)
		}
		if _, err := s.Redeem(t.Context(), spoilt.Code, "shop", now, never); !errors.Is(err, oidc.ErrUsed) {
			t.Errorf("the code after that: %v, want ErrUsed", err)
		}
	})
}

// TestExpiresAtTheInstant: a thing is there a microsecond before its end, and
// not at its end.
func TestExpiresAtTheInstant(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now, n := instant(), create(t, s)
		g := grant(t, s, n.ID, now)
		if err := s.PutTokens(t.Context(), []oidc.Token{token("a", "access", g.ID, now), token("r", "refresh", g.ID, now), token("own", "access", "", now)}); err != nil {
			t.Fatal(err)
		}
		end := now.Add(10 * time.Minute)
		if err := s.PutPushed(t.Context(), h("push"), &oidc.Pushed{Client: "shop", Account: "acc", Request: []byte("{}"), Expires: end}); err != nil {
			t.Fatal(err)
		}
		signOn(t, s, &oidc.SSO{ID: "sso", Hash: h("cookie"), Account: "acc", Session: n.ID, EID: "story", Auth: now, Used: now, Expires: end}, "begun")
		for what, read := range map[string]func(at time.Time) error{
			"an access token":      func(at time.Time) error { _, _, err := s.ByToken(t.Context(), h("a"), "access", at); return err },
			"a refresh token":      func(at time.Time) error { _, _, err := s.ByToken(t.Context(), h("r"), "refresh", at); return err },
			"a client's own token": func(at time.Time) error { _, _, err := s.ByToken(t.Context(), h("own"), "access", at); return err },
			"a pushed request":     func(at time.Time) error { _, err := s.Pushed(t.Context(), h("push"), at); return err },
			"a browser's session":  func(at time.Time) error { _, err := s.SSO(t.Context(), h("cookie"), at); return err },
		} {
			if err := read(end.Add(-time.Microsecond)); err != nil {
				t.Errorf("%s just before its end: %v", what, err)
			}
			if err := read(end); !errors.Is(err, oidc.ErrUnknown) {
				t.Errorf("%s at its end: %v, want ErrUnknown", what, err)
			}
		}
		next := token("r2", "refresh", g.ID, end)
		if _, err := s.Rotate(t.Context(), h("r"), next, end); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("a refresh token that is replaced at its end: %v", err)
		}
		// The sweep goes by the same instant.
		if err := s.SweepOIDC(t.Context(), end.Add(-time.Microsecond), 2); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.ByToken(t.Context(), h("own"), "access", now); err != nil {
			t.Errorf("swept too early: %v", err)
		}
		if err := s.SweepOIDC(t.Context(), end, 2); err != nil {
			t.Fatal(err)
		}
		_, ssoErr := s.SSO(t.Context(), h("cookie"), now)
		_, pushErr := s.Pushed(t.Context(), h("push"), now)
		_, _, ownErr := s.ByToken(t.Context(), h("own"), "access", now)
		_, _, tokErr := s.ByToken(t.Context(), h("r"), "refresh", now)
		for _, err := range []error{pushErr, ownErr} {
			if !errors.Is(err, oidc.ErrUnknown) {
				t.Errorf("after the sweep: %v, want ErrUnknown", err)
			}
		}
		for _, err := range []error{ssoErr, tokErr} {
			if err != nil {
				t.Errorf("what goes with its session was swept: %v", err)
			}
		}
		if _, err := s.Redeem(t.Context(), g.Code, "shop", now, gives()); err != nil {
			t.Errorf("a grant is not the sweep's: %v", err)
		}
	})
}

// TestPushedOnce: many logins may begin from one pushed request, and one ends
// in a grant. The same one may be written again.
func TestPushedOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now := instant()
		p := &oidc.Pushed{Client: "shop", Account: "acc", Request: []byte(`{"nonce":"n"}`), Expires: now.Add(5 * time.Minute)}
		handle := h("push")
		if err := s.PutPushed(t.Context(), handle, p); err != nil {
			t.Fatal(err)
		}
		for range 2 { // reading does not use it
			if got, err := s.Pushed(t.Context(), handle, now); err != nil || cmp.Diff(p, got) != "" {
				t.Fatalf("Pushed = %v, %v", got, err)
			}
		}
		// The logins take longer than the request lives.
		if err := s.SweepOIDC(t.Context(), now.Add(time.Hour), 10); err != nil {
			t.Fatal(err)
		}
		grants := make([]*oidc.Grant, 50)
		for i := range grants {
			id := uuid.NewString()
			grants[i] = &oidc.Grant{ID: id, Session: create(t, s).ID, Client: "shop", Account: "acc", Environment: eid.Test, Created: now.Add(time.Hour),
				Code: h(id), CodeUntil: now.Add(61 * time.Minute)}
		}
		var winner atomic.Int64
		ends := race(len(grants), func(i int) error {
			err := put(context.Background(), s, grants[i], &handle)
			if err == nil {
				winner.Store(int64(i))
			}
			return err
		})
		if ends[nil] != 1 || ends[oidc.ErrUsed] != 49 {
			t.Fatalf("ends = %v, want one grant", ends)
		}
		if err := put(t.Context(), s, grants[winner.Load()], &handle); err != nil {
			t.Errorf("the same grant again: %v", err)
		}
		other := *grants[winner.Load()]
		other.Code = h("other")
		if err := put(t.Context(), s, &other, nil); !errors.Is(err, oidc.ErrUsed) {
			t.Errorf("the same grant with another code: %v, want ErrUsed", err)
		}
		for i, g := range grants {
			_, err := s.Redeem(t.Context(), g.Code, "shop", now, gives())
			if (err == nil) != (int64(i) == winner.Load()) {
				t.Errorf("code %d: %v", i, err)
			}
		}
		if _, err := s.Pushed(t.Context(), handle, now); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("the request after that: %v, want ErrUnknown", err)
		}
	})
}

func TestRotate(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now := instant()
		g := grant(t, s, create(t, s).ID, now)
		if err := s.PutTokens(t.Context(), []oidc.Token{token("r0", "refresh", g.ID, now), token("a0", "access", g.ID, now)}); err != nil {
			t.Fatal(err)
		}
		for what, next := range map[string]oidc.Token{
			"another client":  {Hash: h("x"), Grant: g.ID, Client: "other", Kind: "refresh", Created: now, Expires: now.Add(time.Hour)},
			"another grant":   token("x", "refresh", "no such", now),
			"no grant at all": token("x", "refresh", "", now),
		} {
			if _, err := s.Rotate(t.Context(), h("r0"), next, now); !errors.Is(err, oidc.ErrUnknown) {
				t.Errorf("%s: %v, want ErrUnknown", what, err)
			}
		}
		if _, err := s.Rotate(t.Context(), h("a0"), token("x", "refresh", g.ID, now), now); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("an access token: %v, want ErrUnknown", err)
		}
		next := token("r1", "refresh", g.ID, now)
		ends := race(50, func(i int) error { // all make the same successor
			got, err := s.Rotate(context.Background(), h("r0"), next, now, token(fmt.Sprint("a", i+1), "access", g.ID, now))
			if err == nil || errors.Is(err, oidc.ErrUsed) {
				if got == nil || got.Hash != next.Hash || !got.Created.Equal(now) {
					t.Errorf("replaced by %v", got)
				}
			}
			return err
		})
		if ends[nil] != 1 || ends[oidc.ErrUsed] != 49 {
			t.Fatalf("ends = %v, want one successor", ends)
		}
		access := 0
		for i := range 50 {
			if _, _, err := s.ByToken(t.Context(), h(fmt.Sprint("a", i+1)), "access", now); err == nil {
				access++
			}
		}
		if access != 1 {
			t.Errorf("%d access tokens came of it, want 1", access)
		}
		old, og, err := s.ByToken(t.Context(), h("r0"), "refresh", now)
		if !errors.Is(err, oidc.ErrUsed) || !old.Replaced.Equal(now) || og.ID != g.ID {
			t.Errorf("the old one: %v, %v, %v; want ErrUsed with both", old, og, err)
		}
		if tok, _, err := s.ByToken(t.Context(), h("r1"), "refresh", now); err != nil || !tok.Replaced.IsZero() {
			t.Errorf("its successor: %v, %v", tok, err)
		}
		if err := s.Revoke(t.Context(), h("r1"), "shop", true, now); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Rotate(t.Context(), h("r0"), token("r2", "refresh", g.ID, now), now); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("after the family's end: %v, want ErrUnknown", err)
		}
	})
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now := instant()
		g := grant(t, s, create(t, s).ID, now)
		if err := s.PutTokens(t.Context(), []oidc.Token{token("a", "access", g.ID, now), token("b", "access", g.ID, now),
			token("r", "refresh", g.ID, now), token("own", "access", "", now)}); err != nil {
			t.Fatal(err)
		}
		live := func() (out []string) {
			for _, name := range []string{"a", "b", "r", "own"} {
				kind := "access"
				if name == "r" {
					kind = "refresh"
				}
				if _, _, err := s.ByToken(t.Context(), h(name), kind, now); err == nil {
					out = append(out, name)
				} else if !errors.Is(err, oidc.ErrUnknown) {
					t.Errorf("%s: %v", name, err)
				}
			}
			return out
		}
		for _, step := range []struct {
			token, client string
			grant         bool
			want          []string
		}{
			{"a", "other", true, []string{"a", "b", "r", "own"}},
			{"none", "shop", true, []string{"a", "b", "r", "own"}},
			{"a", "shop", false, []string{"b", "r", "own"}},
			{"own", "shop", true, []string{"b", "r"}},
			{"r", "shop", true, nil},
		} {
			if err := s.Revoke(t.Context(), h(step.token), step.client, step.grant, now); err != nil {
				t.Fatal(err)
			}
			if got := live(); !slices.Equal(got, step.want) {
				t.Errorf("after %+v: %v", step, got)
			}
		}
		if _, err := s.Redeem(t.Context(), g.Code, "shop", now, gives()); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("the code of a revoked grant: %v", err)
		}
	})
}

// TestTabsBeginOneSession lets many tabs of one browser show the same end at
// once: they get one code, and one of them the browser's session.
func TestTabsBeginOneSession(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now, n := instant(), create(t, s)
		var begun atomic.Int64
		ends := race(50, func(i int) error {
			ok, err := s.PutGrant(context.Background(), &oidc.Grant{ID: "grant", Session: n.ID, Client: "shop", Account: "acc", SSO: "sid", Created: now, Code: h("code"),
				CodeUntil: now.Add(time.Minute)}, nil, &oidc.SSO{ID: "sid", Hash: h(fmt.Sprint("cookie", i)), Account: "acc", Session: n.ID, Used: now, Expires: now.Add(time.Hour)}, read)
			if ok {
				begun.Add(1)
			}
			return err
		})
		if ends[nil] != 50 || begun.Load() != 1 {
			t.Errorf("ends = %v, %d sessions begun; want one", ends, begun.Load())
		}
		if _, err := s.Redeem(t.Context(), h("code"), "shop", now, gives()); err != nil {
			t.Fatal(err)
		}
		again := &oidc.Grant{ID: "grant", Session: n.ID, Client: "shop", Account: "acc", SSO: "sid", Created: now, Code: h("code"), CodeUntil: now.Add(time.Minute)}
		if err := put(t.Context(), s, again, nil); !errors.Is(err, oidc.ErrRedeemed) {
			t.Errorf("a tab that comes after the code was redeemed: %v, want ErrRedeemed", err)
		}
	})
}

func TestBrowserSession(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now, n := instant(), create(t, s)
		b := &oidc.SSO{ID: "sid", Hash: h("cookie"), Account: "acc", Session: n.ID, EID: "story", Auth: now.Add(-time.Minute), Used: now, Expires: now.Add(time.Hour)}
		if !signOn(t, s, b, "grant0") {
			t.Fatal("no session is begun")
		}
		again := *b
		again.Hash = h("new cookie")
		if signOn(t, s, &again, "grant0") {
			t.Error("the same grant has begun a second session")
		}
		later := now.Add(time.Minute)
		for _, at := range []time.Time{later, now} { // the second comes late
			if err := s.TouchSSO(t.Context(), b.ID, at); err != nil {
				t.Fatal(err)
			}
		}
		want := *b
		want.Used = later
		if got, err := s.SSO(t.Context(), b.Hash, now); err != nil || cmp.Diff(&want, got) != "" {
			t.Errorf("SSO = %v, %v", got, err)
		}
		for i, client := range []string{"b", "a", "b"} {
			id := fmt.Sprint("grant", i+1)
			if err := put(t.Context(), s, &oidc.Grant{ID: id, Session: n.ID, Client: client, Account: "acc", SSO: "sid", Created: now, Code: h(id), CodeUntil: later}, nil); err != nil {
				t.Fatal(err)
			}
		}
		alone := grant(t, s, n.ID, now)
		if _, got, err := s.RevokeSSO(t.Context(), "", now); err != nil || len(got) != 0 {
			t.Errorf("RevokeSSO of none = %v, %v", got, err)
		}
		for range 2 {
			if session, got, err := s.RevokeSSO(t.Context(), "sid", now); err != nil || session != n.ID || !slices.Equal(got, []string{"a", "b", "shop"}) {
				t.Errorf("RevokeSSO = %s, %v, %v", session, got, err)
			}
		}
		if _, err := s.Redeem(t.Context(), h("grant1"), "b", now, gives()); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("a code of the browser's session: %v", err)
		}
		if _, err := s.Redeem(t.Context(), alone.Code, "shop", now, gives()); err != nil {
			t.Errorf("a code without one: %v", err)
		}
		for _, ended := range []bool{false, true} {
			if ended {
				if err := s.EndSSO(t.Context(), "sid"); err != nil {
					t.Fatal(err)
				}
			}
			_, err := s.PutGrant(t.Context(), &oidc.Grant{ID: "grant0", Session: n.ID, Client: "shop", Account: "acc", SSO: "sid", Created: now, Code: h("grant0"), CodeUntil: later},
				nil, &again, read)
			if !errors.Is(err, oidc.ErrUnknown) {
				t.Errorf("a revoked grant is written again: %v; its session has ended: %t", err, ended)
			}
			if _, err := s.SSO(t.Context(), again.Hash, now); !errors.Is(err, oidc.ErrUnknown) {
				t.Errorf("a second cookie: %v", err)
			}
		}
		if _, err := s.SSO(t.Context(), b.Hash, now); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("after its end: %v", err)
		}
		if err := s.TouchSSO(t.Context(), b.ID, later); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("used after its end: %v", err)
		}
	})
}

// TestBrowserSessionGoesOn: a second login of a person takes the place of the
// first, once, unless that has ended, and lives longer than what the first was.
func TestBrowserSessionGoesOn(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now, first, second := instant(), create(t, s), create(t, s)
		b := &oidc.SSO{ID: "sid", Hash: h("first"), Account: "acc", Session: first.ID, EID: "story", Auth: now, Used: now, Expires: now.Add(time.Hour)}
		goes := &oidc.SSO{ID: "sid", Account: "acc", Session: second.ID, EID: "other", Auth: now.Add(time.Minute), Used: now.Add(time.Minute), Expires: now.Add(2 * time.Hour), Goes: true}
		write := func(ctx context.Context, sso oidc.SSO, cookie string) (bool, error) {
			sso.Hash = h(cookie)
			return s.PutGrant(ctx, &oidc.Grant{ID: "second", Session: second.ID, Client: "shop", Account: sso.Account, SSO: "sid", Created: now, Code: h("second"),
				CodeUntil: now.Add(time.Hour)}, nil, &sso, read)
		}
		if _, err := write(t.Context(), *goes, "early"); !errors.Is(err, oidc.ErrEnded) {
			t.Errorf("nothing is there: %v", err)
		}
		signOn(t, s, b, "first")
		stranger := *goes
		stranger.Account = "another"
		if _, err := write(t.Context(), stranger, "stranger"); !errors.Is(err, oidc.ErrEnded) {
			t.Errorf("another account's: %v", err)
		}
		var won atomic.Int64
		ends := race(20, func(i int) error {
			ok, err := write(context.Background(), *goes, fmt.Sprint("cookie", i))
			if ok {
				won.Add(1)
			}
			return err
		})
		var got *oidc.SSO
		for i := range 20 {
			if is, err := s.SSO(t.Context(), h(fmt.Sprint("cookie", i)), now); err == nil {
				got = is
			}
		}
		want := *goes
		want.Goes = false
		if got != nil {
			want.Hash = got.Hash
		}
		if ends[nil] != 20 || won.Load() != 1 || cmp.Diff(&want, got) != "" {
			t.Errorf("%d times, %v; %s", won.Load(), ends, cmp.Diff(&want, got))
		}
		if _, err := s.SSO(t.Context(), b.Hash, now); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("the first cookie: %v", err)
		}
		erase(t, s, first)
		if _, err := s.SSO(t.Context(), want.Hash, now); err != nil {
			t.Errorf("after the first session's end: %v", err)
		}
		if session, _, err := s.RevokeSSO(t.Context(), "sid", now); err != nil || session != second.ID {
			t.Errorf("RevokeSSO = %s, %v", session, err)
		}
		erase(t, s, second)
		if _, err := s.SSO(t.Context(), want.Hash, now); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("after the second's: %v", err)
		}
	})
}

// TestBrowserSessionGoesOnWhileErased: a page that is opened again while its session
// is erased finds that out, and holds the erasure up no more than that it waits.
func TestBrowserSessionGoesOnWhileErased(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		for i := range 20 {
			now, id, first, second := instant(), fmt.Sprint("sid", i), create(t, s), create(t, s)
			b := &oidc.SSO{ID: id, Hash: h("cookie" + id), Account: "acc", Session: first.ID, EID: "story", Auth: now, Used: now, Expires: now.Add(time.Hour)}
			signOn(t, s, b, "first"+id)
			again := *b
			again.Session, again.Hash, again.Goes = second.ID, h("next"+id), true
			signOn(t, s, &again, "second"+id)
			gone := *second
			gone.State = broker.Erased
			race(9, func(i int) error {
				var err error
				if i == 4 {
					err = s.Apply(context.Background(), &broker.Change{ID: gone.ID, Session: &gone, Erase: true})
				} else {
					_, err = s.PutGrant(context.Background(), &oidc.Grant{ID: "second" + id, Session: second.ID, Client: "shop", Account: "acc", SSO: id, Created: now,
						Code: h("second" + id), CodeUntil: now.Add(time.Minute)}, nil, &again, read)
				}
				if err != nil && (i == 4 || !errors.Is(err, oidc.ErrUnknown) && !errors.Is(err, oidc.ErrEnded)) {
					t.Errorf("%d: %v", i, err)
				}
				return err
			})
			if t.Failed() {
				return
			}
		}
	})
}

func TestOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now := instant()
		var first atomic.Int64
		race(50, func(int) error {
			ok, err := s.Once(context.Background(), "jti shop", "value", now.Add(time.Hour))
			if err != nil {
				t.Error(err)
			}
			if ok {
				first.Add(1)
			}
			return nil
		})
		if first.Load() != 1 {
			t.Errorf("%d were the first", first.Load())
		}
		for _, c := range []struct {
			what, purpose, value string
			expires              time.Time
			want                 bool
		}{
			{"another purpose", "jti other", "value", now.Add(time.Hour), true},
			{"another case", "jti shop", "Value", now.Add(time.Hour), true},
			{"one that is over at once", "dpop", "value", now, true},
			{"the same after its end", "dpop", "value", now.Add(time.Hour), true},
			{"and again", "dpop", "value", now.Add(time.Hour), false},
		} {
			if got, err := s.Once(t.Context(), c.purpose, c.value, c.expires); err != nil || got != c.want {
				t.Errorf("%s: %v, %v", c.what, got, err)
			}
		}
		if err := s.SweepOIDC(t.Context(), now.Add(time.Hour), 1); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.Once(t.Context(), "jti shop", "value", now.Add(time.Hour)); err != nil || !ok {
			t.Errorf("after the sweep: %v, %v", ok, err)
		}
	})
}

// TestErasureEndsGrants: nothing is left of a session for a client, on the
// node that knows its key and on one that erased it.
func TestErasureEndsGrants(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now, n := instant(), create(t, s)
		used, unused := grant(t, s, n.ID, now), grant(t, s, n.ID, now)
		other := grant(t, s, create(t, s).ID, now)
		if _, err := s.Redeem(t.Context(), used.Code, "shop", now, gives(token("a", "access", "", now), token("r", "refresh", "", now))); err != nil {
			t.Fatal(err)
		}
		signOn(t, s, &oidc.SSO{ID: "sid", Hash: h("cookie"), Session: n.ID, Used: now, Expires: now.Add(time.Hour)}, "begun")
		erase(t, s, n)
		_, _, access := s.ByToken(t.Context(), h("a"), "access", now)
		_, _, refresh := s.ByToken(t.Context(), h("r"), "refresh", now)
		_, redeem := s.Redeem(t.Context(), unused.Code, "shop", now, gives())
		_, again := s.Redeem(t.Context(), used.Code, "shop", now, gives())
		_, sso := s.SSO(t.Context(), h("cookie"), now)
		_, rotate := s.Rotate(t.Context(), h("r"), token("r2", "refresh", used.ID, now), now)
		_, late := s.PutGrant(t.Context(), &oidc.Grant{ID: "later", Session: n.ID, Client: "shop", Created: now, Code: h("later")}, nil,
			&oidc.SSO{ID: "late", Hash: h("late"), Session: n.ID, Expires: now.Add(time.Hour)}, read)
		for what, err := range map[string]error{"access token": access, "refresh token": refresh, "unused code": redeem, "used code": again,
			"browser's session": sso, "rotation": rotate,
			"further token":           s.PutTokens(t.Context(), []oidc.Token{token("b", "access", used.ID, now)}),
			"further grant":           put(t.Context(), s, &oidc.Grant{ID: "late", Session: n.ID, Client: "shop", Created: now, Code: h("late")}, nil),
			"further browser session": late} {
			if !errors.Is(err, oidc.ErrUnknown) {
				t.Errorf("%s: %v, want ErrUnknown", what, err)
			}
		}
		if _, err := s.Redeem(t.Context(), other.Code, "shop", now, gives()); err != nil {
			t.Errorf("another session's code: %v", err)
		}
	})
}

// TestRotationWhileEnding: a refresh that waits for its token, and whoever ends its
// grant at the same time, wait for each other in turn and not in a circle.
func TestRotationWhileEnding(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t, pgtest.Options{})
	s, now := open(t, dsn), instant()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	// waiting is true once so many of the database's connections wait for another.
	waiting := func(want int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); { // each look is a round trip
			var n int
			if err := pool.QueryRow(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			if n == want {
				return
			}
		}
		t.Fatalf("%d do not wait", want)
	}
	for what, end := range map[string]func(n *broker.Session, hash [32]byte) error{
		"revocation": func(_ *broker.Session, hash [32]byte) error {
			return s.Revoke(context.Background(), hash, "shop", true, now)
		},
		"erasure": func(n *broker.Session, _ [32]byte) error {
			n.State = broker.Erased
			return s.Apply(context.Background(), &broker.Change{ID: n.ID, Session: n, Erase: true})
		},
	} {
		n := create(t, s)
		g, old := grant(t, s, n.ID, now), token("r "+what, "refresh", "", now)
		if old.Grant = g.ID; s.PutTokens(t.Context(), []oidc.Token{old}) != nil {
			t.Fatal(what)
		}
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `SELECT 1 FROM oidc_token WHERE hash = $1 FOR UPDATE`, old.Hash[:]); err != nil {
			t.Fatal(err)
		}
		rotated, ended := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := s.Rotate(context.Background(), old.Hash, token("next "+what, "refresh", g.ID, now), now)
			rotated <- err
		}()
		waiting(1)
		go func() { ended <- end(n, old.Hash) }()
		waiting(2)
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-rotated; err != nil && !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("%s: refresh: %v", what, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, _, err := s.ByToken(t.Context(), h("next "+what), "refresh", now); !errors.Is(err, oidc.ErrUnknown) {
			t.Errorf("%s: the next token counts: %v", what, err)
		}
	}
}

// TestErasureWhileGranting has both at once, on two nodes that know the key:
// whichever comes last, no grant and no token is left.
func TestErasureWhileGranting(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t, pgtest.Options{})
	s := open(t, dsn)
	now := instant()
	for i := range 40 {
		n := create(t, s)
		g := grant(t, s, n.ID, now)
		gone := *n
		gone.State = broker.Erased
		ends := race(4, func(k int) error {
			text := fmt.Sprint(i, k)
			switch k {
			case 0:
				return s.Apply(context.Background(), &broker.Change{ID: n.ID, Session: &gone, Erase: true})
			case 1:
				return put(context.Background(), s, &oidc.Grant{ID: text, Session: n.ID, Client: "shop", Created: now, Code: h(text), Body: []byte("who")}, nil)
			case 2:
				_, err := s.Redeem(context.Background(), g.Code, "shop", now, gives(token(text, "access", "", now)))
				return err
			}
			return s.PutTokens(context.Background(), []oidc.Token{token(text, "access", g.ID, now)})
		})
		for err, count := range ends {
			if err != nil && !errors.Is(err, oidc.ErrUnknown) {
				t.Errorf("%d ended with %v", count, err)
			}
		}
	}
	for _, table := range []string{"oidc_grant", "oidc_token"} {
		if n := count(t, "pgx", dsn, table); n != 0 {
			t.Errorf("%d rows were left in %s", n, table)
		}
	}
}

func TestClients(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		c := &relying.Client{ID: "shop", Account: "acc", Environment: eid.Live, Name: "Shop", Profile: relying.Standard, Redirects: []string{"https://shop.example/cb?a=b"},
			Scopes: []string{"openid"}, Auth: relying.SecretBasic, Secrets: []relying.ClientSecret{{Name: "a", Hash: relying.HashSecret("x")}},
			JWKS: []byte(`{"keys":[]}`), Lifetimes: relying.Lifetimes{Code: time.Minute}}
		if err := s.PutClient(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Client(t.Context(), "shop"); err != nil || cmp.Diff(c, got) != "" {
			t.Errorf("Client: %v\n%s", err, cmp.Diff(c, got))
		}
		if got, err := s.Client(t.Context(), "shop"); err != nil || cmp.Diff(c, got) != "" {
			t.Errorf("Client, known: %v\n%s", err, cmp.Diff(c, got))
		}
		for _, id := range []string{"", "Shop", "shop "} {
			if _, err := s.Client(t.Context(), id); !errors.Is(err, relying.ErrUnknown) {
				t.Errorf("Client(%q) = %v, want ErrUnknown", id, err)
			}
		}
		changed := *c
		changed.Name = "Store"
		if err := s.PutClient(t.Context(), &changed); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Client(t.Context(), "shop"); err != nil || got.Name != "Store" {
			t.Errorf("Client, changed: %v, %v", got, err)
		}
		changed.Account = "other"
		if err := s.PutClient(t.Context(), &changed); !errors.Is(err, broker.ErrConflict) {
			t.Errorf("another account takes the id: %v, want ErrConflict", err)
		}
		second, foreign := *c, *c
		second.ID, foreign.ID, foreign.Account = "second", "foreign", "other"
		for _, c := range []*relying.Client{&second, &foreign} {
			if err := s.PutClient(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.KeepClients(t.Context(), "acc", []string{"second"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Remove(t.Context(), "other", ""); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]error{"shop": relying.ErrUnknown, "second": nil, "foreign": relying.ErrUnknown} {
			if _, err := s.Client(t.Context(), id); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", id, err, want)
			}
		}
	})
}

func TestRemoveTakesGrants(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "eidgate.db")
	s := open(t, "sqlite:"+path)
	now, n := instant(), create(t, s)
	g := grant(t, s, n.ID, now)
	if err := s.PutTokens(t.Context(), []oidc.Token{token("a", "access", g.ID, now)}); err != nil {
		t.Fatal(err)
	}
	signOn(t, s, &oidc.SSO{ID: "sid", Hash: h("cookie"), Session: n.ID, Used: now, Expires: now.Add(time.Hour)}, "begun")
	if err := s.PutSubjects(t.Context(), "acc", store.Subject{IDP: "sbid", Person: "1", Sub: "sub"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "acc", "key"); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"oidc_grant", "oidc_token", "oidc_sso", "oidc_subject"} {
		if n := count(t, "sqlite", path, table); n != 0 {
			t.Errorf("%d rows were left in %s", n, table)
		}
	}
}

func TestProviderKeys(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		key := func(id, use, alg string, from time.Time) oidc.SigningKey {
			return oidc.SigningKey{ID: id, Use: use, Alg: alg, Private: []byte("private " + id), From: from, Until: from.Add(time.Hour), Gone: from.Add(2 * time.Hour)}
		}
		ends := race(20, func(i int) error {
			return s.AddKey(context.Background(), key(fmt.Sprint("k", i), "sig", "RS256", from))
		})
		if ends[nil] != 20 {
			t.Errorf("ends = %v", ends)
		}
		got, err := s.Keys(t.Context())
		if err != nil || len(got) != 1 || cmp.Diff(key(got[0].ID, "sig", "RS256", from), got[0]) != "" {
			t.Fatalf("Keys = %v, %v; want one", got, err)
		}
		first := got[0].ID
		for _, k := range []oidc.SigningKey{key("next", "sig", "RS256", from.Add(time.Hour)), key("es", "sig", "ES256", from), key("enc", "enc", "RSA-OAEP", from)} {
			if err := s.AddKey(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
		var ids []string
		if got, err = s.Keys(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, k := range got {
			ids = append(ids, k.ID)
		}
		if want := []string{"enc", "es", first, "next"}; !slices.Equal(ids, want) {
			t.Errorf("Keys = %v, want %v", ids, want)
		}
		if err := s.RemoveKey(t.Context(), "es"); err != nil {
			t.Fatal(err)
		}
		if err := s.RemoveKey(t.Context(), "es"); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("a key that is not there: %v, want ErrNotFound", err)
		}
		if got, err = s.Keys(t.Context()); err != nil || len(got) != 3 || got[1].ID != first {
			t.Errorf("without one: %v, %v", got, err)
		}
		if err := s.SweepOIDC(t.Context(), from.Add(2*time.Hour), 1); err != nil {
			t.Fatal(err)
		}
		if got, err = s.Keys(t.Context()); err != nil || len(got) != 1 || got[0].ID != "next" {
			t.Errorf("after the sweep: %v, %v", got, err)
		}
	})
}

func TestImportedSubjects(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		if err := s.Subjects(t.Context(), "acc", func([32]byte, string) error { return errors.New("there is none") }); err != nil {
			t.Error(err)
		}
		for _, account := range []string{"acc", "other"} { // whoever has brought none along may do so later
			if got, err := s.Subject(t.Context(), account, "sbid", "199001012385"); err != nil || got != "" {
				t.Errorf("before all imports: %q, %v", got, err)
			}
		}
		for _, names := range [][]store.Subject{
			{{IDP: "sbid", Person: "199001012385", Sub: "first"}, {IDP: "idin", Person: "BIN", Sub: "bank"}},
			{{IDP: "sbid", Person: "199001012385", Sub: "old-sub="}}, {},
		} {
			if err := s.PutSubjects(t.Context(), "acc", names...); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.PutSubjects(t.Context(), "other", store.Subject{IDP: "sbid", Person: "199001012386", Sub: "theirs"}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ account, idp, subject, want string }{
			{"acc", "sbid", "199001012385", "old-sub="}, {"other", "sbid", "199001012385", ""}, {"acc", "sbid", "199001012386", ""},
			{"acc", "idin", "199001012385", ""}, {"acc", "sbid", "19900101238", ""}, {"acc", "sbi", "d199001012385", ""},
		} {
			if got, err := s.Subject(t.Context(), c.account, c.idp, c.subject); err != nil || got != c.want {
				t.Errorf("Subject(%q, %q, …) = %q, %v; want %q", c.account, c.idp, got, err, c.want)
			}
		}
		got := map[[32]byte]string{}
		if err := s.Subjects(t.Context(), "acc", func(person [32]byte, sub string) error { got[person] = sub; return nil }); err != nil {
			t.Fatal(err)
		}
		want := map[[32]byte]string{s.Person("acc", "sbid", "199001012385"): "old-sub=", s.Person("acc", "idin", "BIN"): "bank"}
		if !maps.Equal(got, want) {
			t.Errorf("Subjects = %d names, want %d", len(got), len(want))
		}
		many := make([]store.Subject, 2500) // more than one statement reads
		for i := range many {
			many[i] = store.Subject{IDP: []string{"idin", "sbid"}[i%2], Person: strconv.Itoa(i), Sub: strconv.Itoa(i)}
			want[s.Person("acc", many[i].IDP, many[i].Person)] = many[i].Sub
		}
		if err := s.PutSubjects(t.Context(), "acc", many...); err != nil {
			t.Fatal(err)
		}
		clear(got)
		seen := 0
		if err := s.Subjects(t.Context(), "acc", func(person [32]byte, sub string) error { got[person], seen = sub, seen+1; return nil }); err != nil || !maps.Equal(got, want) || seen != len(want) {
			t.Errorf("Subjects = %d names, %d of them once, want %d: %v", seen, len(got), len(want), err)
		}
		stop := errors.New("enough")
		if err := s.Subjects(t.Context(), "acc", func([32]byte, string) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("Subjects that are stopped: %v", err)
		}
	})
}

// TestSubjectsTellNothing: a name that is brought along gets into no log.
func TestSubjectsTellNothing(t *testing.T) {
	t.Parallel()
	n := store.Subject{IDP: "sbid", Person: canary, Sub: canary}
	var out bytes.Buffer
	for _, l := range []*slog.Logger{slog.New(slog.NewJSONHandler(&out, nil)), slog.New(slog.NewTextHandler(&out, nil))} {
		l.Info("one", "value", n, "pointer", &n, "error", fmt.Errorf("write %v", n))
	}
	if strings.Contains(out.String(), canary) || !strings.Contains(out.String(), "subject of sbid") {
		t.Error(out.String())
	}
}

// seedOIDC writes a canary into everything of the provider that is sealed or
// hashed.
func seedOIDC(t *testing.T, s *store.Store, n *broker.Session) {
	t.Helper()
	now := instant()
	p := &oidc.Pushed{Client: "shop", Account: "acc", Request: []byte(canary), Expires: now.Add(time.Hour)}
	g := &oidc.Grant{ID: "g", Session: n.ID, Client: "shop", Created: now, Code: h(canary), CodeUntil: now.Add(time.Hour), Body: []byte(canary)}
	_, once := s.Once(t.Context(), "jti shop", canary, now.Add(time.Hour))
	for what, err := range map[string]error{
		"pushed request": s.PutPushed(t.Context(), h(canary), p), "grant": put(t.Context(), s, g, nil), "once": once,
		"key":     s.AddKey(t.Context(), oidc.SigningKey{ID: "kid", Use: "sig", Alg: "RS256", Private: []byte(canary), From: now}),
		"subject": s.PutSubjects(t.Context(), "acc", store.Subject{IDP: "sbid", Person: canary, Sub: canary}),
	} {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if _, err := s.Redeem(t.Context(), g.Code, "shop", now, gives(token(canary, "access", "", now))); err != nil {
		t.Fatal(err)
	}
}
