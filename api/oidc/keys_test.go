package oidc_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"eidgate/api/oidc"
	"eidgate/internal/jose"
	"eidgate/internal/pgtest"
	"eidgate/store"
)

// prepared gives keys that need not be made: what a test about time has no
// time for.
func prepared(alg string) (crypto.PrivateKey, error) {
	if alg == jose.RSAOAEP {
		alg = "enc"
	}
	return keys()[alg], nil
}

// A keyStore has keys in memory, as store.Store keeps them, and can fail.
type keyStore struct {
	mu   sync.Mutex
	all  []oidc.SigningKey
	fail error
}

func (s *keyStore) Keys(context.Context) ([]oidc.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all), s.fail
}

func (s *keyStore) AddKey(_ context.Context, k oidc.SigningKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.all, func(o oidc.SigningKey) bool { return o.Use == k.Use && o.Alg == k.Alg && o.From.Equal(k.From) }) {
		s.all = append(s.all, k)
	}
	return s.fail
}

func (s *keyStore) sweep(now time.Time) {
	s.all = slices.DeleteFunc(s.all, func(k oidc.SigningKey) bool { return !now.Before(k.Gone) })
}

// published is the kids of a set as others see it, by "use alg", in order.
func published(t *testing.T, s *jose.Set) map[string][]string {
	t.Helper()
	body, _ := s.JWKS()
	var doc struct {
		Keys []struct{ Kid, Use, Alg string }
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, k := range doc.Keys {
		out[k.Use+" "+k.Alg] = append(out[k.Use+" "+k.Alg], k.Kid)
	}
	return out
}

func kid(t *testing.T, token string) string {
	t.Helper()
	header, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid string }
	if err := json.Unmarshal(raw, &h); err != nil || h.Kid == "" {
		t.Fatalf("a token without kid: %v", err)
	}
	return h.Kid
}

// TestKeysOver200Days lives through more than two periods hour by hour. At
// each there is a key that signs, it has been published for at least a day
// before that, and it is published for two days after its last use.
func TestKeysOver200Days(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 4, 17, 0, 0, time.UTC)
	begin := now
	st := &keyStore{}
	r := oidc.NewKeyring(oidc.KeyringConfig{Store: st, Generate: prepared, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
	if r.Set() != nil {
		t.Error("there are keys before the first Renew")
	}
	seen, used := map[string]time.Time{}, map[string]time.Time{} // when a key was first published, and last signed
	var old string                                               // what the first key has signed
	for ; now.Before(begin.Add(200 * 24 * time.Hour)); now = now.Add(time.Hour) {
		if err := r.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		st.sweep(now)
		set := published(t, r.Set())
		if len(set) != 5 {
			t.Fatalf("%s: published %v", now, set)
		}
		there := map[string]bool{}
		for kind, ids := range set {
			if len(ids) > 2 {
				t.Fatalf("%s: %d keys for %s", now, len(ids), kind)
			}
			for _, id := range ids {
				there[id] = true
				if seen[id].IsZero() {
					seen[id] = now
				}
			}
			alg, signs := strings.CutPrefix(kind, "sig ")
			if !signs {
				continue
			}
			id := ids[0] // what signs stands before the others
			if used[id].IsZero() && seen[id] != begin && now.Sub(seen[id]) < 24*time.Hour {
				t.Errorf("%s: %s was published only %s before its first use", now, id, now.Sub(seen[id]))
			}
			used[id] = now
			if now.Sub(begin)%(12*time.Hour) != 0 { // to sign takes its time
				continue
			}
			token, err := r.Set().Sign(alg, "JWT", []byte(`{}`))
			if err != nil {
				t.Fatalf("%s: %s: %v", now, alg, err)
			}
			if got := kid(t, token); got != id {
				t.Errorf("%s: %s is signed with %s, want %s", now, alg, got, id)
			}
		}
		if now.Equal(begin) {
			var err error
			if old, err = r.Set().Sign(jose.RS256, "JWT", []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
		}
		if now.Sub(begin)%(12*time.Hour) == 0 { // as a hint it counts for a period longer than it is published
			_, err := jose.Verify(t.Context(), old, jose.Rule{Algs: []string{jose.RS256}, Typ: []string{"JWT"}, Keys: r.Set().Ever()})
			if since := now.Sub(used[kid(t, old)]); (err == nil) != (since < (90*24+49)*time.Hour) {
				t.Errorf("%s: %s after the last use of its key, a hint: %v", now, since, err)
			}
		}
		for id, last := range used {
			if !there[id] && now.Sub(last) < 48*time.Hour {
				t.Errorf("%s: %s is gone %s after its last use", now, id, now.Sub(last))
			}
			if there[id] && now.Sub(last) > 49*time.Hour {
				t.Errorf("%s: %s is still published %s after its last use", now, id, now.Sub(last))
			}
		}
	}
	if len(used) != 4*3 { // 200 days from this day touch three periods
		t.Errorf("%d keys have signed, want 12", len(used))
	}
	if len(st.all) != 9 { // what opens requests is good for no hint
		t.Errorf("%d keys are left, want those of this period, and those of the last that sign", len(st.all))
	}
}

// TestKeysOfManyNodes has nodes start at once, on both databases: all sign with
// the same keys.
func TestKeysOfManyNodes(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "eidgate.db") },
		"postgres": func(t *testing.T) string { return pgtest.Database(t, pgtest.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(t.Context(), store.Config{URL: url(t), Master: bytes.Repeat([]byte{7}, 32), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			rings := make([]*oidc.Keyring, 8)
			var wg sync.WaitGroup
			for i := range rings {
				rings[i] = oidc.NewKeyring(oidc.KeyringConfig{Store: s, Prefix: "sandbox-", Generate: prepared, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
				wg.Go(func() {
					if err := rings[i].Renew(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			first, _ := rings[0].Set().JWKS()
			for _, r := range rings[1:] {
				if body, _ := r.Set().JWKS(); !bytes.Equal(body, first) {
					t.Errorf("nodes publish different sets:\n%s\n%s", first, body)
				}
			}
			form := regexp.MustCompile(`^sandbox-(signing|encryption)-key-[0-9a-f]{32}$`)
			for _, ids := range published(t, rings[0].Set()) {
				for _, id := range ids {
					if !form.MatchString(id) {
						t.Errorf("kid %q", id)
					}
				}
			}
		})
	}
}

// TestKeysAreSound has a keyring make its own.
func TestKeysAreSound(t *testing.T) {
	t.Parallel()
	r := oidc.NewKeyring(oidc.KeyringConfig{Store: &keyStore{}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err := r.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, alg := range r.Set().Algs() {
		token, err := r.Set().Sign(alg, "JWT", []byte(`{"iss":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jose.Verify(t.Context(), token, jose.Rule{Algs: []string{alg}, Keys: r.Set()}); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
	if n := len(r.Set().Algs()); n != 4 {
		t.Errorf("%d algorithms sign, want 4", n)
	}
}

// TestKeysWithoutStore: when the database fails, the keys that are there stay
// in use.
func TestKeysWithoutStore(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	down := errors.New("down")
	st := &keyStore{fail: down}
	r := oidc.NewKeyring(oidc.KeyringConfig{Store: st, Generate: prepared, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
	if err := r.Renew(t.Context()); !errors.Is(err, down) || r.Set() != nil {
		t.Errorf("Renew = %v", err)
	}
	st.fail = nil
	if err := r.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := r.Set()
	if err := r.Renew(t.Context()); err != nil || r.Set() != before {
		t.Errorf("a renewal without news made another set, %v", err)
	}
	now, st.fail = now.Add(80*24*time.Hour), down
	if err := r.Renew(t.Context()); !errors.Is(err, down) || r.Set() != before {
		t.Errorf("Renew while the store is down: %v", err)
	}
	st.fail = nil
	st.all[0].Private = []byte("no key")
	st.all[0].ID = "changed"
	if err := r.Renew(t.Context()); err == nil || strings.Contains(err.Error(), "no key") || r.Set() != before {
		t.Errorf("Renew with an unreadable key: %v", err)
	}
}

// TestStolenKey: a key that is taken away in the middle of its period has a
// successor at the next look, which signs at once; what it has signed is nothing
// any more, and the other keys stay.
func TestStolenKey(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 4, 17, 0, 0, time.UTC)
	st := &keyStore{}
	r := oidc.NewKeyring(oidc.KeyringConfig{Store: st, Generate: prepared, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
	renew := func() map[string][]string {
		if err := r.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		return published(t, r.Set())
	}
	before := renew()
	token, err := r.Set().Sign(jose.RS256, "JWT", []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	stolen := kid(t, token)
	st.all = slices.DeleteFunc(st.all, func(k oidc.SigningKey) bool { return k.ID == stolen })
	after := renew()
	for kind, ids := range after {
		if same := slices.Equal(ids, before[kind]); len(ids) != 1 || same != (kind != "sig RS256") {
			t.Errorf("%s: %v, and %v before", kind, ids, before[kind])
		}
	}
	if slices.Contains(after["sig RS256"], stolen) {
		t.Error("the stolen key is still published")
	}
	next, err := r.Set().Sign(jose.RS256, "JWT", []byte(`{}`))
	if err != nil || kid(t, next) != after["sig RS256"][0] {
		t.Errorf("signed with %s, %v", kid(t, next), err)
	}
	if _, err := jose.Verify(t.Context(), token, jose.Rule{Algs: []string{jose.RS256}, Typ: []string{"JWT"}, Keys: r.Set().Ever()}); err == nil {
		t.Error("what the stolen key has signed is a hint")
	}
	states := map[string]int{}
	for _, k := range st.all {
		for _, after := range []time.Duration{-200 * 24 * time.Hour, 0, 90 * 24 * time.Hour, 92 * 24 * time.Hour, 200 * 24 * time.Hour} {
			states[k.State(now.Add(after))]++
		}
	}
	if states["next"] != 5 || states["active"] != 5 || states["retired"]+states["hint"]+states["gone"] != 15 || states["gone"] < 5 {
		t.Errorf("states: %v", states)
	}
}

// TestKeysRun: it renews every hour, and at once when a clock jumps.
func TestKeysRun(t *testing.T) {
	t.Parallel()
	keys() // made outside the bubble
	synctest.Test(t, func(t *testing.T) {
		var shift atomic.Int64
		jump := make(chan struct{})
		var jumps atomic.Pointer[chan struct{}]
		jumps.Store(&jump)
		st := &keyStore{}
		r := oidc.NewKeyring(oidc.KeyringConfig{Store: st, Generate: prepared, Now: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) },
			Jumped: func() <-chan struct{} { return *jumps.Load() }, Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		end := make(chan error)
		go func() { end <- r.Run(ctx) }()
		synctest.Wait()
		first := published(t, r.Set())["sig RS256"]
		time.Sleep(90 * 24 * time.Hour) // of the bubble
		synctest.Wait()
		second := published(t, r.Set())["sig RS256"]
		if slices.Contains(first, second[0]) {
			t.Errorf("after a period the same key signs: %v, %v", first, second)
		}
		next := make(chan struct{})
		jumps.Store(&next)
		shift.Store(int64(90 * 24 * time.Hour))
		close(jump)
		synctest.Wait()
		if third := published(t, r.Set())["sig RS256"]; slices.Contains(second, third[0]) {
			t.Errorf("after a jump the same key signs: %v, %v", second, third)
		}
		stop()
		if err := <-end; err != nil {
			t.Errorf("Run = %v; to be stopped is no error", err)
		}
	})
}
