package jose

import (
	"context"
	"sync"
	"time"

	"eidgate/internal/cache"
)

// How long things are kept (§7).
const (
	renew    = 10 * time.Minute // after which a new copy of a key set is looked for; it is used for twice as long
	unknown  = 30 * time.Second // that a party's keys lack a name
	failed   = 5 * time.Second  // that a party does not answer
	patience = 10 * time.Second // for one answer
)

// A Remote keeps key sets that other parties publish.
type Remote struct {
	fetch   func(ctx context.Context, url string) ([]byte, error)
	now     func() time.Time
	renew   time.Duration
	unknown time.Duration
	parties *cache.Cache[string, *party]
	mu      sync.Mutex // guards that a party is made once
}

// NewRemote keeps the sets of at most limit parties. Fetch reads at most what
// ParseJWKS takes, and connects to no address that it must not.
func NewRemote(fetch func(ctx context.Context, url string) ([]byte, error), now func() time.Time, limit int) *Remote {
	return &Remote{fetch: fetch, now: now, renew: renew, unknown: unknown, parties: cache.New[string, *party](limit)}
}

// Keep makes r look for a new copy of a set after so long instead of ten minutes,
// and use an old one for twice that, and ask for an unknown name at most once in
// so long instead of half a minute. It must not be in use yet.
func (r *Remote) Keep(after, unknown time.Duration) *Remote {
	r.renew, r.unknown = after, unknown
	return r
}

// Party gives the keys that are published at a URL. Nothing is fetched until
// one is looked for.
func (r *Remote) Party(url string) Keys { return r.party(url) }

// Ring gives the whole set that is published at a URL, for what a query cannot
// say: the certificates of a client, for example.
func (r *Remote) Ring(ctx context.Context, url string) (*Ring, error) {
	return r.party(url).current(ctx)
}

func (r *Remote) party(url string) *party {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.parties.Get(url)
	if !ok {
		p = &party{remote: r, url: url}
		r.parties.Put(url, p)
	}
	return p
}

type party struct {
	remote *Remote
	url    string

	mu      sync.Mutex // guards the rest
	ring    *Ring      // nil until there was one
	at      time.Time  // when it was asked for
	tried   time.Time  // last attempt, whatever came of it
	err     error      // of the last attempt
	missed  time.Time  // last attempt for the sake of an unknown name
	waiting *attempt   // running, or nil
}

// attempt is one request, which all wait for who want its answer.
type attempt struct{ done chan struct{} }

// Find implements Keys. It fetches if there is no copy or it has become old, and
// once more if the copy lacks what is looked for, which for one party happens at
// most every 30 s, or as Keep says: who invents names cannot make us ask more often.
func (p *party) Find(ctx context.Context, q Query) ([]PublicKey, error) {
	ring, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := ring.Find(ctx, q)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	if ring, err = p.again(ctx); err != nil {
		return nil, err
	}
	return ring.Find(ctx, q)
}

// current is a copy that is not too old. Nobody waits for a new one while the
// old one can be used.
func (p *party) current(ctx context.Context) (*Ring, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.remote.now()
	if p.ring != nil && now.Sub(p.at) < p.remote.renew {
		return p.ring, nil
	}
	var a *attempt
	if p.err == nil || p.waiting != nil || now.Sub(p.tried) >= failed {
		a = p.attempt(ctx)
	}
	if p.ring != nil && now.Sub(p.at) < 2*p.remote.renew {
		return p.ring, nil
	}
	if err := p.wait(ctx, a); err != nil {
		return nil, err
	}
	if p.err != nil {
		return nil, &Error{Kind: Fetch, Err: p.err}
	}
	return p.ring, nil
}

// again waits for a request that is running, or makes one unless that was done
// just now, and returns what is known then.
func (p *party) again(ctx context.Context) (*Ring, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.remote.now(); p.waiting == nil {
		if !p.missed.IsZero() && now.Sub(p.missed) < p.remote.unknown {
			return p.ring, nil
		}
		p.missed = now
	}
	if err := p.wait(ctx, p.attempt(ctx)); err != nil {
		return nil, err
	}
	return p.ring, nil
}

// attempt gives the running attempt, or starts one. It outlives the caller,
// since others may wait for it, and ends after patience.
func (p *party) attempt(ctx context.Context) *attempt {
	if p.waiting == nil {
		p.waiting = &attempt{done: make(chan struct{})}
		p.tried = p.remote.now()
		go p.run(context.WithoutCancel(ctx), p.waiting)
	}
	return p.waiting
}

// wait waits for the end of an attempt, if there is one, or the caller's. The
// lock is given back meanwhile.
func (p *party) wait(ctx context.Context, a *attempt) error {
	if a == nil {
		return nil
	}
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return &Error{Kind: Fetch, Err: ctx.Err()}
	}
}

func (p *party) run(ctx context.Context, a *attempt) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	started := p.remote.now()
	raw, err := p.remote.fetch(ctx, p.url)
	var ring *Ring
	if err == nil {
		ring, err = ParseJWKS(raw)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err = err; err == nil {
		p.ring, p.at = ring, started
	}
	p.waiting = nil
	close(a.done)
}
