package broker

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"eidgate/eid"
	"eidgate/internal/cache"
	"eidgate/internal/limit"
)

// How many live sessions of one account may be held to one person
// (docs/sessions.md): begun in an hour, and open.
var personRate = limit.Rate{PerSecond: 10.0 / 3600, Burst: 10}

const personOpen = 3

// persons remembers whom accounts have named. It knows a person by a keyed hash,
// since it remembers for longer than it takes to identify somebody.
type persons struct {
	secret []byte
	begun  *limit.Limiter
	open   *cache.Cache[string, []string] // ids of sessions that were made here and may not have ended yet
}

func newPersons() persons {
	p := persons{secret: make([]byte, 32), begun: limit.New(1 << 16), open: cache.New[string, []string](1 << 16)}
	_, _ = rand.Read(p.secret) // never fails
	return p
}

func (p *persons) key(account string, n eid.Number) string {
	m := hmac.New(sha256.New, p.secret)
	m.Write([]byte(account + " " + string(n)))
	return string(m.Sum(nil))
}

// name stores a session that is held to a person, unless its account has named
// that person too often: somebody who types another's number again and again
// closes the orders that the other one has at BankID. It counts for each
// account, so that one party's visitors cannot shut a person out of another's.
//
// Where a session ends does not matter: the store is asked about the open ones,
// but only once there seem to be too many.
func (b *Broker) name(ctx context.Context, s *Session, n eid.Number, store func() error) error {
	key, now := b.persons.key(s.Account, n), b.now()
	defer b.orders.lock("person " + key)()
	open, _ := b.persons.open.Get(key)
	if len(open) >= personOpen {
		left, first, err := b.stillOpen(ctx, open, now)
		if err != nil {
			return err
		}
		if open = left; len(open) >= personOpen {
			return &limit.Exceeded{Err: ErrOpen, After: first.Sub(now)}
		}
	}
	if wait := b.persons.begun.Take(key, personRate, now); wait > 0 {
		return &limit.Exceeded{Err: ErrOften, After: wait}
	}
	if err := store(); err != nil {
		return err
	}
	b.persons.open.Put(key, append(open, s.ID))
	return nil
}

// stillOpen leaves the sessions that have not ended; first is when the first of
// them ends if nobody acts.
func (b *Broker) stillOpen(ctx context.Context, ids []string, now time.Time) (open []string, first time.Time, err error) {
	for _, id := range ids {
		s, err := b.c.Store.Session(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && (s.State.Ended() || !s.Due.After(now)):
			continue
		case err != nil:
			return nil, time.Time{}, err
		}
		if open = append(open, id); first.IsZero() || s.Due.Before(first) {
			first = s.Due
		}
	}
	return open, first, nil
}
