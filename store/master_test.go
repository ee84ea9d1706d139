package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/eid"
	"eidgate/internal/pgtest"
	"eidgate/relying"
)

func masterKey(b byte) []byte {
	if b == 0 {
		return nil
	}
	return bytes.Repeat([]byte{b}, 32)
}

// with opens a database with master keys; 0 for none.
func with(t *testing.T, url string, master, next, former byte) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: url, Master: masterKey(master), Next: masterKey(next), Former: masterKey(former), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // it has been closed, mostly
	return s
}

// filled writes one of everything that a master key seals, and many keys.
func filled(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	account := &relying.Account{ID: "acc", Name: "Shop", Language: "en", WebhookSecrets: []relying.Secret{"whsec_one"}}
	now := time.Now()
	for _, err := range []error{s.Migrate(ctx), s.Begin(ctx), s.PutAccount(ctx, account), s.MakeAuditKey(ctx),
		s.AddKey(ctx, oidc.SigningKey{ID: "kid", Use: "sig", Alg: "ES256", Private: []byte("private"), From: now, Until: now.Add(time.Hour), Gone: now.Add(time.Hour)}),
		s.Apply(ctx, &broker.Change{ID: "one", Session: &broker.Session{ID: "one", Account: "acc", Key: "key", API: "api", Environment: eid.Test, State: broker.Created,
			Purpose: eid.Identify, Level: eid.None, Language: "en", Created: now, Due: now.Add(time.Hour)}, Data: []broker.Data{{Kind: broker.DataSpec, Value: []byte("spec")}}})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2*rewrapPage + 1 {
		id := "key" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		if err := s.PutKey(ctx, relying.Key{ID: id, Account: "acc", Environment: eid.Test}, "text of "+id, true); err != nil {
			t.Fatal(err)
		}
	}
}

// opens reads all of that.
func opens(ctx context.Context, s *Store) error {
	all := []error{s.CheckMaster(ctx), s.Begin(ctx)}
	a, err := s.Account(ctx, "acc")
	if err == nil && string(a.WebhookSecrets[0]) != "whsec_one" {
		err = errors.New("another webhook secret")
	}
	all = append(all, err)
	keys, err := s.Keys(ctx)
	if err == nil && (len(keys) != 1 || string(keys[0].Private) != "private") {
		err = errors.New("another provider's key")
	}
	all = append(all, err)
	text, err := s.KeyText(ctx, "keyaa")
	if err == nil && text != "text of keyaa" {
		err = errors.New("another text of a key")
	}
	all = append(all, err)
	_, err = s.AuditVerifiers(ctx)
	all = append(all, err)
	spec, err := s.Data(ctx, "one", broker.DataSpec)
	if err == nil && string(spec) != "spec" {
		err = errors.New("another spec")
	}
	return errors.Join(append(all, err)...)
}

// TestNewMasterKey changes the master key of a database that is in use.
func TestNewMasterKey(t *testing.T) {
	t.Parallel()
	const values = 2*rewrapPage + 1 + 7
	for name, url := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "eidgate.db"), "postgres": pgtest.Database(t, pgtest.Options{})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			old, next := masterID(masterKey(1)), masterID(masterKey(2))
			counts := func(s *Store, count func(context.Context) (MasterCount, error), want MasterCount) {
				t.Helper()
				if got, err := count(ctx); err != nil || cmp.Diff(want, got) != "" {
					t.Errorf("%v, %v; want %v", got, err, want)
				}
			}
			closed := func(s *Store) {
				t.Helper()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			s := with(t, url, 1, 0, 0)
			filled(t, s)
			names := bytes.Clone(s.Secret(Provider))
			person := s.Person("acc", "sbid", "somebody")
			counts(s, s.CountMaster, MasterCount{old: values})
			closed(s)

			// A node that knows the new one only refuses to start.
			s = with(t, url, 2, 0, 0)
			if err := s.CheckMaster(ctx); !errors.Is(err, ErrMaster) {
				t.Errorf("the new key alone: %v", err)
			}
			if err := s.Begin(ctx); !errors.Is(err, ErrMaster) {
				t.Errorf("the secrets with the new key alone: %v", err)
			}
			closed(s)

			// Nodes learn of the new one before anything is sealed with it.
			s = with(t, url, 1, 2, 0)
			if err := opens(ctx, s); err != nil {
				t.Errorf("with the new one as the next: %v", err)
			}
			closed(s)

			// It is stopped in the middle.
			s = with(t, url, 2, 0, 1)
			if err := opens(ctx, s); err != nil {
				t.Errorf("before: %v", err)
			}
			n, killed := 0, errors.New("killed")
			err := s.masterRows(ctx, func(r masterRow) error {
				if n++; n > 150 {
					return killed
				}
				return s.rewrap(ctx, r)
			})
			if !errors.Is(err, killed) {
				t.Errorf("stopped: %v", err)
			}
			closed(s)
			for _, alone := range []byte{1, 2} { // neither key is enough now, and both say so
				s = with(t, url, alone, 0, 0)
				if err := errors.Join(s.Begin(ctx), s.MakeAuditKey(ctx)); !errors.Is(err, ErrMaster) {
					t.Errorf("key %d alone, in the middle: %v", alone, err)
				}
				closed(s)
			}

			// The next one goes on, and a node that still seals with the old key adds to it.
			s = with(t, url, 2, 0, 1)
			counts(s, s.Rewrap, MasterCount{old: values - 150, next: 150})
			counts(s, s.Rewrap, MasterCount{next: values})
			if name == "postgres" {
				late := with(t, url, 1, 2, 0)
				if err := opens(ctx, late); err != nil {
					t.Errorf("a node with the old key: %v", err)
				}
				if err := late.PutKey(ctx, relying.Key{ID: "late", Account: "acc", Environment: eid.Test}, "text of late", true); err != nil {
					t.Fatal(err)
				}
				closed(late)
				counts(s, s.Rewrap, MasterCount{next: values, old: 1})
			}
			got, err := s.CountMaster(ctx)
			if err != nil || s.Others(got) != 0 {
				t.Errorf("left: %v, %v", got, err)
			}
			if err := opens(ctx, s); err != nil {
				t.Errorf("after: %v", err)
			}
			closed(s)

			s = with(t, url, 2, 0, 0)
			if err := opens(ctx, s); err != nil {
				t.Errorf("with the new key alone: %v", err)
			}
			if !bytes.Equal(s.Secret(Provider), names) || s.Person("acc", "sbid", "somebody") != person {
				t.Error("names have changed")
			}
			for _, name := range []string{Provider, Handles, persons} { // whoever has the new key does not learn the old one
				if bytes.Equal(s.Secret(name), masterKey(1)) {
					t.Errorf("%s is the old master key", name)
				}
			}
			closed(s)

			s = with(t, url, 1, 0, 0)
			if got, err := s.CountMaster(ctx); err != nil || got[""] < values || len(got) != 1 {
				t.Errorf("the old key still opens something: %v, %v", got, err)
			}
			if err := s.CheckMaster(ctx); !errors.Is(err, ErrMaster) {
				t.Errorf("the old key alone: %v", err)
			}
			closed(s)
		})
	}
}
