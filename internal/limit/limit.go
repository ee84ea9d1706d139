// Package limit refuses callers who come too often, in bounded memory. It
// counts on one node only: with several nodes, a caller has the rate on each.
package limit

import (
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
	each := time.Duration(float64(time.Second) / r.PerSecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	at, _ := l.next.Get(caller)
	if at.Before(now) {
		at = now
	}
	if wait = at.Sub(now) - time.Duration(r.Burst-1)*each; wait > 0 {
		return wait
	}
	l.next.Put(caller, at.Add(each))
	return 0
}
