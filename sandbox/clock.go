// Package sandbox has what the simulated eIDs share: one clock, test people,
// who decides how a login ends, what was said on the wire, and faults. The
// simulators below it play the issuers' side of each protocol; they import
// none of our clients, so that a mistake cannot agree with itself.
package sandbox

import (
	"sync"
	"time"
)

// The clock can be moved from First to before Last. What is to be valid whenever
// that is, such as an issuer's certificate, is valid all that time.
var (
	First = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	Last  = time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC)
)

// A Clock is the time of broker and simulators together. It runs with the
// real one, shifted, or stands still.
type Clock struct {
	mu     sync.Mutex
	frozen bool
	began  time.Time     // real time when it was made
	at     time.Time     // when frozen
	shift  time.Duration // when running
	jumped chan struct{}
}

// NewClock makes a clock that shows the real time.
func NewClock(frozen bool) *Clock {
	now := time.Now().UTC()
	return &Clock{frozen: frozen, began: now, at: now, jumped: make(chan struct{})}
}

// Now is the sandbox's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		return c.at
	}
	return time.Now().Add(c.shift).UTC()
}

// Advance moves the time forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	c.shift += d
	c.wake()
}

// Set moves the time to a moment.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = t.UTC()
	c.shift = time.Until(t)
	c.wake()
}

// Reset takes back every move: to the real time, or, where the clock stands
// still, to when it was made.
func (c *Clock) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.shift = c.began, 0
	c.wake()
}

func (c *Clock) wake() {
	close(c.jumped)
	c.jumped = make(chan struct{})
}

// Jumped is closed at the next jump.
func (c *Clock) Jumped() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jumped
}
