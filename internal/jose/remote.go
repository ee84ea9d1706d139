package jose

import (
	"context"
	"sync"
	"time"

	"eidgate/internal/cache"
)

// How long things are kept (§7).
const (
	fresh    = 20 * time.Minute // a key set
	renew    = 10 * time.Minute // after which a new copy is looked for
	unknown  = 30 * time.Second // that a party's keys lack a name
	failed   = 5 * time.Second  // that a party does not answer
	patience = 10 * time.Second // for one answer
)

// A Remote keeps key sets that other parties publish.
type Remote struct {
	fetch   func(ctx context.Context, url string) ([]byte, error)
	now     func() time.Time
	parties *cache.Cache[string, *party]
	mu      sync.Mutex // guards that a party is made once
}

// NewRemote keeps the sets of at most limit parties. Fetch reads at most what
// ParseJWKS takes, and connects to no address that it must not.
func NewRemote(fetch func(ctx context.Context, url string) ([]byte, error), now func() time.Time, limit int) *Remote {
	return &Remote{fetch: fetch, now: now, parties: cache.New[string, *party](limit)}
}

// Party gives the keys that are published at a URL. Nothing is fetched until
// one is looked for.
func (r *Remote) Party(url string) Keys {
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

	mu      sync.Mutex
	ring    *Ring     // nil until there was one
	at      time.Time // when it was asked for
	tried   time.Time // last attempt, whatever came of it
	err     error     // of the last attempt
	missed  time.Time // last attempt for the sake of an unknown name
	waiting *attempt  // running, or nil
}

// attempt is one request, which all wait for who want its answer.
type attempt struct{ done chan struct{} }

// Find implements Keys. It fetches if there is no copy or it has become old, and
// once more if the copy lacks what is looked for, which for one party happens at
// most every 30 s: who invents names cannot make us ask more often.
func (p *party) Find(ctx context.Context, q Query) ([]PublicKey, error) {
	ring, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := ring.Find(ctx, q)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	if ring, err = p.again(ctx, ring); err != nil {
		return nil, err
	}
	return ring.Find(ctx, q)
}

// current is a copy that is not too old.
func (p *party) current(ctx context.Context) (*Ring, error) {
	p.mu.Lock()
	now := p.remote.now()
	age := now.Sub(p.at)
	old := p.ring == nil || age >= renew
	if old && (p.err == nil || now.Sub(p.tried) >= failed) {
		p.join(ctx) // unlocks
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	if p.ring != nil && p.remote.now().Sub(p.at) < fresh {
		return p.ring, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, &Error{Kind: Fetch, Err: err}
	}
	return nil, &Error{Kind: Fetch, Err: p.err}
}

// again fetches once more, if that was not done just now, and returns what is
// known then.
func (p *party) again(ctx context.Context, seen *Ring) (*Ring, error) {
	p.mu.Lock()
	now := p.remote.now()
	if p.ring == seen && (p.missed.IsZero() || now.Sub(p.missed) >= unknown) {
		p.missed = now
		p.join(ctx)
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	return p.ring, nil
}

// join starts an attempt unless one is running, and waits for its end or the
// caller's. The attempt itself outlives the caller: others may wait for it. It
// is called with the lock and returns without.
func (p *party) join(ctx context.Context) {
	a := p.waiting
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		p.waiting = a
		p.tried = p.remote.now()
		go p.run(context.WithoutCancel(ctx), a)
	}
	p.mu.Unlock()
	select {
	case <-a.done:
	case <-ctx.Done():
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
