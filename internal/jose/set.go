package jose

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A Key is one of ours. Times say what it is at each instant, on every node
// alike, without anybody changing a state.
type Key struct {
	ID      string            // kid: 1 to 128 visible characters of ASCII, none of them a quote or backslash
	Use     string            // Signing or Encrypting
	Alg     string            // the one algorithm that it is for
	Private crypto.PrivateKey // a crypto.Signer; to decrypt, an RSA crypto.Decrypter or *ecdsa.PrivateKey

	From  time.Time // when it is used first; it should be in the set for one Schedule.Cache before that
	Until time.Time // when it is used last; zero while nothing is to follow it
}

// A State is what a key is at an instant: next, active, retired or gone.
type State string

// The states (§5).
const (
	Next    State = "next"    // published, not used yet
	Active  State = "active"  // the newest active key of an algorithm signs
	Retired State = "retired" // still published, for what it has signed and for whoever still encrypts to it
	Gone    State = "gone"    // not published any more, and destroyed unless Ever is wanted
)

// A Schedule says how long keys overlap.
type Schedule struct {
	Cache   time.Duration // how long others may keep a copy of our set
	Longest time.Duration // how long what is signed or encrypted may be in use
}

// State tells what a key is at an instant.
func (s Schedule) State(k Key, now time.Time) State {
	switch {
	case now.Before(k.From):
		return Next
	case k.Until.IsZero() || now.Before(k.Until):
		return Active
	case now.Before(s.gone(k)):
		return Retired
	}
	return Gone
}

func (s Schedule) gone(k Key) time.Time { return k.Until.Add(s.Cache + s.Longest) }

// A Set is our keys of one issuer. It never changes and may be used by many at
// once; after a rotation there is another one.
type Set struct {
	schedule Schedule
	now      func() time.Time
	keys     []Key       // the newest first
	public   []PublicKey // of the same index
	written  atomic.Pointer[written]
}

// written is the set as it is published for some time.
type written struct {
	body        []byte
	etag        string
	from, until time.Time // until is zero if it stays as it is
}

// NewSet checks that the keys fit what they are for and that no two have one
// name. It does not keep the slice.
func NewSet(s Schedule, now func() time.Time, keys ...Key) (*Set, error) {
	set := &Set{schedule: s, now: now, keys: slices.Clone(keys)}
	slices.SortFunc(set.keys, func(a, b Key) int {
		return cmp.Or(b.From.Compare(a.From), strings.Compare(a.ID, b.ID))
	})
	seen := map[string]bool{}
	for _, k := range set.keys {
		public, err := k.public()
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.ID, err)
		}
		if seen[k.ID] {
			return nil, fmt.Errorf("key %q: another one has this name", k.ID)
		}
		seen[k.ID] = true
		set.public = append(set.public, public)
	}
	return set, nil
}

func (k Key) public() (PublicKey, error) {
	plain := func(r rune) bool { return r > ' ' && r < 127 && r != '"' && r != '\\' }
	if k.ID == "" || len(k.ID) > 128 || strings.ContainsFunc(k.ID, func(r rune) bool { return !plain(r) }) {
		return PublicKey{}, errors.New("unusable name")
	}
	if !k.Until.IsZero() && k.Until.Before(k.From) {
		return PublicKey{}, errors.New("it ends before it begins")
	}
	p := PublicKey{ID: k.ID, Use: k.Use, Alg: k.Alg}
	_, signs := signatures[k.Alg]
	switch private := k.Private.(type) {
	case crypto.Signer: // *ecdsa.PrivateKey is one too
		p.Key = private.Public()
	case crypto.Decrypter:
		p.Key = private.Public()
	}
	_, signer := k.Private.(crypto.Signer)
	_, decrypter := k.Private.(crypto.Decrypter)
	_, curve := k.Private.(*ecdsa.PrivateKey)
	switch {
	case k.Use == Signing && signs && signer:
	case k.Use == Encrypting && !signs && (decrypter || curve):
	default:
		return PublicKey{}, errors.New("use, algorithm and private key do not go together")
	}
	if !fits(k.Alg, p.Key) {
		return PublicKey{}, errors.New("the algorithm needs another kind or size of key")
	}
	return p, nil
}

// JWKS is the set as it is published now, and its entity tag in quotes. The
// body belongs to the set.
func (s *Set) JWKS() (body []byte, etag string) {
	now := s.now()
	w := s.written.Load()
	if w == nil || now.Before(w.from) || !w.until.IsZero() && !now.Before(w.until) {
		w = s.write(now)
		s.written.Store(w)
	}
	return w.body, w.etag
}

type group struct {
	use   string
	state State
}

// order is that of publication: who takes the first key of a set, which nobody
// should, takes one that signs.
var order = []group{{Signing, Active}, {Signing, Next}, {Signing, Retired}, {Encrypting, Active}, {Encrypting, Next}, {Encrypting, Retired}}

// write serialises what is not gone.
func (s *Set) write(now time.Time) *written {
	w := &written{from: now}
	groups := map[group][]string{}
	for i, k := range s.keys {
		changes := []time.Time{k.From}
		if !k.Until.IsZero() {
			changes = append(changes, k.Until, s.schedule.gone(k))
		}
		for _, at := range changes {
			if at.After(now) && (w.until.IsZero() || at.Before(w.until)) {
				w.until = at
			}
		}
		kty, parameters, err := parameters(s.public[i].Key)
		if err != nil {
			continue // cannot happen: NewSet has seen that it fits
		}
		members := append([]member{{"kty", kty}, {"use", k.Use}, {"kid", k.ID}}, parameters...)
		g := group{k.Use, s.schedule.State(k, now)}
		groups[g] = append(groups[g], string(write(append(members, member{"alg", k.Alg}))))
	}
	var list []string
	for _, g := range order {
		list = append(list, groups[g]...)
	}
	w.body = []byte(`{"keys":[` + strings.Join(list, ",") + `]}`)
	sum := sha256.Sum256(w.body)
	w.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	return w
}

// Find implements Keys: of what we have signed ourselves, a logout hint for
// example. Keys that are not used yet have signed nothing.
func (s *Set) Find(_ context.Context, q Query) ([]PublicKey, error) {
	return s.find(q, Active, Retired), nil
}

func (s *Set) find(q Query, states ...State) (found []PublicKey) {
	now := s.now()
	for i, p := range s.public {
		if slices.Contains(states, s.schedule.State(s.keys[i], now)) && p.matches(q) {
			found = append(found, p)
		}
	}
	return found
}

// Ever is Find among all keys that have signed, those too that are gone: for
// what is old and only says whose it was.
func (s *Set) Ever() Keys { return ever{s} }

type ever struct{ *Set }

func (e ever) Find(_ context.Context, q Query) ([]PublicKey, error) {
	return e.find(q, Active, Retired, Gone), nil
}

// Algs are the algorithms by which Sign can sign now.
func (s *Set) Algs() []string {
	now := s.now()
	var algs []string
	for _, k := range s.keys {
		if k.Use == Signing && s.schedule.State(k, now) == Active && !slices.Contains(algs, k.Alg) {
			algs = append(algs, k.Alg)
		}
	}
	return algs
}

// Sign makes a token of claims, which are a JSON object. The header says kid,
// typ and alg, in this order; an empty typ is left out. The error is of kind
// [Algorithm] if no key of that algorithm is active.
func (s *Set) Sign(alg, typ string, claims []byte) (string, error) {
	now := s.now()
	for _, k := range s.keys { // the newest first
		if k.Use == Signing && k.Alg == alg && s.schedule.State(k, now) == Active {
			return k.sign(typ, claims)
		}
	}
	return "", refuse(Algorithm, "no active key")
}

func (k Key) sign(typ string, claims []byte) (string, error) {
	members := []member{{"kid", k.ID}, {"typ", typ}, {"alg", k.Alg}}
	if typ == "" {
		members = slices.Delete(members, 1, 2)
	}
	b64 := base64.RawURLEncoding
	out := make([]byte, 0, 512+b64.EncodedLen(len(claims)))
	out = append(b64.AppendEncode(out, write(members)), '.')
	out = b64.AppendEncode(out, claims)
	signer, ok := k.Private.(crypto.Signer)
	if !ok {
		return "", refuse(NoKey, "no signer") // cannot happen: NewSet has seen one
	}
	sig, err := sign(k.Alg, signer, string(out))
	if err != nil {
		return "", fmt.Errorf("key %q: %w", k.ID, err)
	}
	return string(b64.AppendEncode(append(out, '.'), sig)), nil
}
