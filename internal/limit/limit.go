// Package limit refuses callers who come too often, in bounded memory. It
// counts on one node only: with several nodes, a caller has the rate on each.
package limit

import (
	"net/netip"
	"strconv"
	"sync"
	"time"

	"eidgate/internal/cache"
)

// A Rate is how often a caller may come: PerSecond in the long run, Burst at
// once. Both must be positive.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Or is r, or what an account has set in its place: so many in a second, and
// twice as many at once.
func (r Rate) Or(perSecond int) Rate {
	if perSecond > 0 {
		return Rate{PerSecond: float64(perSecond), Burst: 2 * perSecond}
	}
	return r
}

// Address is a caller that is known by its address alone. Whoever has an IPv6
// address has 2^64 of them, so their network counts.
func Address(a netip.Addr) string {
	if a.Is6() && !a.Is4In6() {
		if net, err := a.WithZone("").Prefix(64); err == nil {
			return net.String()
		}
	}
	return a.Unmap().String()
}

// RetryAfter is the header for a wait: whole seconds, none too few.
func RetryAfter(wait time.Duration) string {
	return strconv.Itoa(int((wait + time.Second - 1) / time.Second))
}

// An Exceeded is the error of a caller who may come again after a while. Err
// says what there was too much of.
type Exceeded struct {
	Err   error
	After time.Duration
}

func (e *Exceeded) Error() string { return e.Err.Error() }

func (e *Exceeded) Unwrap() error { return e.Err }

// A Limiter knows when each caller has come. It is safe for concurrent use.
type Limiter struct {
	mu   sync.Mutex
	next *cache.Cache[string, time.Time] // caller → when all that it has taken is earned
}

// New remembers at most so many callers; the ones that have been away longest
// are forgotten first, and have their whole burst again.
func New(callers int) *Limiter {
	return &Limiter{next: cache.New[string, time.Time](callers)}
}

// Take lets a caller come once at a rate; wait is 0. If it may not, nothing is
// taken, and wait is how long to stay away.
func (l *Limiter) Take(caller string, r Rate, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, wait := l.look(caller, r, now)
	if wait > 0 {
		return wait
	}
	l.next.Put(caller, at.Add(r.each()))
	return 0
}

// Wait is what Take would answer, and takes nothing.
func (l *Limiter) Wait(caller string, r Rate, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, wait := l.look(caller, r, now)
	return wait
}

// look is when all that a caller has taken is earned, now at the earliest, and
// how long it must stay away.
func (l *Limiter) look(caller string, r Rate, now time.Time) (at time.Time, wait time.Duration) {
	at, _ = l.next.Get(caller)
	if at.Before(now) {
		at = now
	}
	return at, max(at.Sub(now)-time.Duration(r.Burst-1)*r.each(), 0)
}

func (r Rate) each() time.Duration { return time.Duration(float64(time.Second) / r.PerSecond) }
