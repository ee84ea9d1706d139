// Package circuit keeps calls away from an upstream that does not answer, so
// that nobody waits for it in vain and it is not called more than it can bear
// when it comes back.
//
// Each client has a circuit of its own: where an upstream refuses one party's
// certificate, the others go on. After five calls in a row without an answer
// the circuit is open, and calls fail at once; ten seconds later one call may
// try. An answer closes it, whichever call it is for. What an upstream refuses
// is an answer; a status of 5xx and a body that breaks off are none. Who gives
// up a call says nothing about the upstream.
//
// How many calls run at once is not counted here: package broker does.
package circuit

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	trips   = 5 // calls in a row without an answer
	rest    = 10 * time.Second
	forgets = time.Minute     // after rest, of a circuit that nobody uses: its client may be gone
	trial   = 3 * time.Second // between looks whether a call that tries has an answer, which may take eight
)

// An Open error is of a call that was not made: nothing was sent.
type Open struct {
	After time.Duration // how long it will be so; 0 where another call is trying just now
}

func (*Open) Error() string { return "not called: the upstream does not answer" }

// Pause is how long to wait with another try of what err has ended: least, or
// until a call will be made. Tries are counted: while another call is made to see,
// they are further apart, or they would be over before it.
func Pause(err error, least time.Duration) time.Duration {
	open, ok := errors.AsType[*Open](err)
	switch {
	case !ok:
		return least
	case open.After == 0:
		return max(trial, least)
	}
	return max(open.After, least)
}

// A Board has the circuits of one eID in one environment. A nil Board has none.
type Board struct {
	now     func() time.Time
	changed func(ctx context.Context, host string, open bool)

	mu   sync.Mutex            // guards what follows, and each circuit
	open map[*circuit]struct{} // those that are not closed
}

// NewBoard makes an empty one. changed, if any, learns of each circuit that
// opens or closes, and of the host of the call that it opened or closed with.
func NewBoard(now func() time.Time, changed func(ctx context.Context, host string, open bool)) *Board {
	return &Board{now: now, changed: changed, open: map[*circuit]struct{}{}}
}

// Guard puts a new circuit before a transport. Bodies of answers must be closed.
func (b *Board) Guard(next http.RoundTripper) http.RoundTripper {
	if b == nil {
		return next
	}
	return &circuit{board: b, next: next}
}

// Count says how many circuits are open, and how many wait for a call to try.
func (b *Board) Count() (open, half int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for c := range b.open {
		switch {
		case c.waits(now) > 0:
			open++
		case c.trying || now.Before(c.until.Add(forgets)):
			half++
		default:
			delete(b.open, c)
		}
	}
	return open, half
}

// A circuit is one client's transport.
type circuit struct {
	board  *Board
	next   http.RoundTripper
	failed int       // calls in a row; from trips on the circuit is not closed
	until  time.Time // no call before
	trying bool      // one is made that decides
}

// RoundTrip implements http.RoundTripper; *Open.
func (c *circuit) RoundTrip(r *http.Request) (*http.Response, error) {
	tries, err := c.enter()
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // nobody has read of it
		}
		return nil, err
	}
	var once sync.Once
	leave := func(err error) { once.Do(func() { c.leave(r, tries, err) }) }
	res, err := c.next.RoundTrip(r)
	switch {
	case err != nil:
		leave(err)
	case res.StatusCode >= 500:
		leave(errStatus)
	default:
		res.Body = &body{res.Body, leave}
	}
	return res, err
}

var errStatus = errors.New("status of 5xx")

// enter says whether a call may be made, and whether it is the one that tries.
func (c *circuit) enter() (tries bool, err error) {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	if c.failed < trips {
		return false, nil
	}
	if wait := c.waits(c.board.now()); wait > 0 || c.trying {
		return false, &Open{wait}
	}
	c.trying = true
	return true, nil
}

// waits is how long no call may be made. It is over if the clock was put back.
func (c *circuit) waits(now time.Time) time.Duration {
	if wait := c.until.Sub(now); wait > 0 && wait <= rest {
		return wait
	}
	return 0
}

// leave notes what has become of a call.
func (c *circuit) leave(r *http.Request, tried bool, err error) {
	opened, closed := c.note(tried, err)
	if (opened || closed) && c.board.changed != nil {
		c.board.changed(r.Context(), r.URL.Host, opened)
	}
}

func (c *circuit) note(tried bool, err error) (opened, closed bool) {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	was := c.failed >= trips
	if tried {
		c.trying = false
	}
	switch {
	case err == nil:
		c.failed = 0
		delete(c.board.open, c)
		return false, was
	case errors.Is(err, context.Canceled), was && !tried: // a call from before it opened has nothing new to say
		return false, false
	}
	if c.failed++; c.failed < trips {
		return false, false
	}
	c.until = c.board.now().Add(rest)
	c.board.open[c] = struct{}{}
	return !was, false
}

// A body tells how reading it has ended.
type body struct {
	io.ReadCloser
	leave func(error)
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.leave(nil)
	case err != nil:
		b.leave(err)
	}
	return n, err
}

func (b *body) Close() error {
	b.leave(nil) // who reads no further has seen enough of an answer
	return b.ReadCloser.Close()
}
