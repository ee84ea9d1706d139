package broker

import (
	"context"
	"errors"
	"sync/atomic"
)

// errBusy means that an eID has as many calls as it may, and as many acts
// wait. Nothing was asked of it.
var errBusy = errors.New("too many calls of this eID")

// Busy is the code of a session that failed as Unavailable for want of room.
const Busy = "busy"

// A pool bounds the calls of one eID in one environment, so that one that
// hangs takes nothing away from the others, and what waits for it stays small.
type pool struct {
	slots   chan struct{}
	waiting atomic.Int64
	room    int64 // how many may wait
}

// enter takes a slot until leave is called. Who may not wait, or finds too
// many waiting, gets errBusy; so does who gives up.
func (p *pool) enter(ctx context.Context, wait bool) (leave func(), err error) {
	leave = func() { <-p.slots }
	select {
	case p.slots <- struct{}{}:
		return leave, nil
	default:
	}
	if !wait {
		return nil, errBusy
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > p.room {
		return nil, errBusy
	}
	select {
	case p.slots <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}
