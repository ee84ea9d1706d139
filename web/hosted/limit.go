package hosted

import (
	"net/http"
	"net/netip"
	"time"

	"eidgate/internal/cache"
	"eidgate/internal/limit"
)

// pollRate is how often each part of a waiting page that renews itself may be
// fetched for one session from one address. A page asks for its code once a
// second, so that two of a session may stand side by side.
var pollRate = limit.Rate{PerSecond: 2, Burst: 10}

// polled are those parts.
var polled = map[string]bool{"status": true, "qr.svg": true, "frame": true}

// limits are how often pages may be fetched (docs/sessions.md). Many people may
// share an address, of an office, a school or a provider of mobile telephones.
// Each takes about five pages to log in: the burst lets twenty begin in one
// second. How many wait for an eID at the same time does not matter: what a
// waiting page fetches counts for its session.
type limits struct {
	rate  limit.Rate // of pages from one address; zero for no limits at all
	clock func() time.Time
	pages *limit.Limiter                 // by address
	polls *limit.Limiter                 // by session, part and address
	shown *cache.Cache[string, struct{}] // sessions that are known to exist, with the address that asked for them
}

func newLimits(perSecond int, clock func() time.Time) limits {
	if clock == nil {
		clock = time.Now
	}
	return limits{rate: limit.Rate{PerSecond: float64(perSecond), Burst: 5 * perSecond}, clock: clock,
		pages: limit.New(1 << 16), polls: limit.New(1 << 16), shown: cache.New[string, struct{}](1 << 16)}
}

// take lets a request for a session's page or one of its parts come once. Parts
// of sessions that this node has not shown to the address yet count as pages,
// so that nobody asks for parts of all sessions that there might be.
func (l *limits) take(from netip.Addr, id, rest string) (wait time.Duration) {
	if l.rate.Burst == 0 {
		return 0
	}
	place := limit.Address(from)
	if polled[rest] {
		if _, ok := l.shown.Get(id + " " + place); ok {
			return l.polls.Take(id+" "+rest+" "+place, pollRate, l.clock())
		}
	}
	return l.pages.Take(place, l.rate, l.clock())
}

// takeReturn lets a browser come back from an eID once. It counts apart: what
// an eID has confirmed must not wait for others who look at pages.
func (l *limits) takeReturn(from netip.Addr) (wait time.Duration) {
	if l.rate.Burst == 0 {
		return 0
	}
	return l.pages.Take("return "+limit.Address(from), l.rate, l.clock())
}

// show notes that a session exists.
func (l *limits) show(from netip.Addr, id string) {
	if l.rate.Burst > 0 {
		l.shown.Put(id+" "+limit.Address(from), struct{}{})
	}
}

// busyTime is after how many seconds a page that was refused comes again.
const busyTime = 3

// later answers a request that came too often. The page comes again by itself,
// by GET: what a form has sent is not done, and the person sees it again.
func (p *Pages) later(w http.ResponseWriter, r *http.Request, wait time.Duration, rest string) {
	w.Header().Set("Retry-After", limit.RetryAfter(wait))
	if rest == "status" || rest == "qr.svg" { // scripts and pictures
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	to := "./" + query(r)
	if r.Method != http.MethodPost {
		to = "./" + rest
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
	}
	p.problem(w, r, http.StatusTooManyRequests, "busy", to)
}
