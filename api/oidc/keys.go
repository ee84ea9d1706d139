package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"eidgate/internal/jose"
)

// The life of the provider's keys (docs/protocols/oidc.md §12). Time is cut
// into periods that are the same on every node, and each period has one key for
// each use and algorithm. So nodes need not agree on when a key begins: whoever
// is first writes it, and what the others write at the same time is dropped.
const (
	keyPeriod  = 90 * 24 * time.Hour
	keyCache   = 24 * time.Hour // how long relying parties may keep a copy of our set
	keyLongest = 24 * time.Hour // the longest life of a token that is signed (relying.Lifetimes)
	keyLook    = time.Minute    // how often a node looks for what another has written, and for keys that were taken away
	keyHints   = keyPeriod      // how long a key that is published no more still tells whose an old ID token was
	// keyAhead is how long before its period a key is written, so that the
	// slowest node still shows it for as long as copies are kept.
	keyAhead = keyCache + 2*time.Hour
)

// rsaBits is the size of our RSA keys: that of the API that we are compatible
// with, and a third of what 3072 bits would cost for each login.
const rsaBits = 2048

// ourKeys is what each period has one key of.
var ourKeys = []struct{ use, alg string }{
	{jose.Signing, jose.RS256},
	{jose.Signing, jose.PS256},
	{jose.Signing, jose.ES256},
	{jose.Signing, jose.EdDSA},
	{jose.Encrypting, jose.RSAOAEP},
}

// KeyringConfig is what a Keyring needs.
type KeyringConfig struct {
	Store interface {
		Keys(ctx context.Context) ([]SigningKey, error)
		AddKey(ctx context.Context, k SigningKey) error
	}
	Prefix   string                                      // of each kid: "sandbox-", or ""
	Generate func(alg string) (crypto.PrivateKey, error) // nil for NewKey
	Now      func() time.Time
	Jumped   func() <-chan struct{} // closed at the next jump of a sandbox's clock; nil for a clock that never jumps
	Log      *slog.Logger
}

// A Keyring keeps the provider's keys: it makes them in time, and has them as
// the set that signs and is published.
type Keyring struct {
	c   KeyringConfig
	set atomic.Pointer[jose.Set]
	ids []string // of the keys in set; Renew alone uses it
}

// NewKeyring makes a keyring that has no keys until the first Renew.
func NewKeyring(c KeyringConfig) *Keyring {
	if c.Generate == nil {
		c.Generate = NewKey
	}
	return &Keyring{c: c}
}

// Set is the keys of now; nil before the first Renew.
func (r *Keyring) Set() *jose.Set { return r.set.Load() }

// Renew makes the keys that are missing and takes over what other nodes have
// made. It must not run twice at once. When it fails, the set stays as it is.
func (r *Keyring) Renew(ctx context.Context) error {
	stored, err := r.c.Store.Keys(ctx)
	if err != nil {
		return err
	}
	missing := missingKeys(stored, r.c.Now())
	if len(missing) > 0 {
		if err := r.make(ctx, missing); err != nil {
			return err
		}
		if stored, err = r.c.Store.Keys(ctx); err != nil {
			return err
		}
	}
	ids := make([]string, len(stored))
	for i := range stored {
		ids[i] = stored[i].ID
	}
	if slices.Equal(ids, r.ids) {
		return nil
	}
	keys := make([]jose.Key, len(stored))
	for i, k := range stored {
		private, err := x509.ParsePKCS8PrivateKey(k.Private)
		if err != nil {
			return fmt.Errorf("provider's key %s is not readable", k.ID)
		}
		keys[i] = jose.Key{ID: k.ID, Use: k.Use, Alg: k.Alg, Private: private, From: k.From, Until: k.Until}
	}
	set, err := jose.NewSet(jose.Schedule{Cache: keyCache, Longest: keyLongest}, r.c.Now, keys...)
	if err != nil {
		return fmt.Errorf("provider's keys: %w", err)
	}
	r.set.Store(set)
	r.ids = ids
	return nil
}

// State is what a key is there for at a time: "next", "active", "retired" while
// it is published, then "hint", and "gone".
func (k *SigningKey) State(now time.Time) string {
	switch published := k.Until.Add(keyCache + keyLongest); {
	case now.Before(k.From):
		return "next"
	case now.Before(k.Until):
		return "active"
	case now.Before(published):
		return "retired"
	case now.Before(k.Gone):
		return "hint"
	}
	return "gone"
}

// missingKeys is what the present period lacks, and towards its end the next.
func missingKeys(stored []SigningKey, now time.Time) (out []SigningKey) {
	start := now.UTC().Truncate(keyPeriod) // the same on every node
	for ; !now.Before(start.Add(-keyAhead)); start = start.Add(keyPeriod) {
		for _, kind := range ourKeys {
			if !slices.ContainsFunc(stored, func(k SigningKey) bool { return k.Use == kind.use && k.Alg == kind.alg && k.From.Equal(start) }) {
				k := SigningKey{Use: kind.use, Alg: kind.alg, From: start, Until: start.Add(keyPeriod)}
				if k.Gone = k.Until.Add(keyCache + keyLongest); k.Use == jose.Signing { // what opens requests is good for no hint
					k.Gone = k.Gone.Add(keyHints)
				}
				out = append(out, k)
			}
		}
	}
	return out
}

// make fills keys in and writes them. RSA keys take their time, so all are made
// at once.
func (r *Keyring) make(ctx context.Context, missing []SigningKey) error {
	var g errgroup.Group
	for i := range missing {
		k := &missing[i]
		g.Go(func() error {
			private, err := r.c.Generate(k.Alg)
			if err != nil {
				return fmt.Errorf("make key for %s: %w", k.Alg, err)
			}
			k.ID = r.c.Prefix + keyID(k.Use)
			if k.Private, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
				return fmt.Errorf("make key for %s: %w", k.Alg, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, k := range missing {
		if err := r.c.Store.AddKey(ctx, k); err != nil {
			return fmt.Errorf("write key for %s: %w", k.Alg, err)
		}
		r.c.Log.InfoContext(ctx, "provider's key made", "kid", k.ID, "alg", k.Alg, "from", k.From)
	}
	return nil
}

// keyID is a name as that API writes it.
func keyID(use string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	word := "signing"
	if use == jose.Encrypting {
		word = "encryption"
	}
	return word + "-key-" + hex.EncodeToString(b[:])
}

// NewKey makes a private key for an algorithm of ours.
func NewKey(alg string) (crypto.PrivateKey, error) {
	switch alg {
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	}
	return rsa.GenerateKey(rand.Reader, rsaBits)
}

// Run renews the keys every minute, and when the clock has jumped, until ctx
// ends. What fails is tried again at the next minute: keys are made a day and two
// hours before they are needed.
func (r *Keyring) Run(ctx context.Context) error {
	every := time.NewTicker(keyLook)
	defer every.Stop()
	for {
		var jumped <-chan struct{}
		if r.c.Jumped != nil {
			jumped = r.c.Jumped()
		}
		if err := r.Renew(ctx); err != nil && ctx.Err() == nil {
			r.c.Log.ErrorContext(ctx, "provider's keys cannot be renewed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		case <-jumped:
		}
	}
}
