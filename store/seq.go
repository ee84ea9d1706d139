package store

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// A sequence numbers rows that are read in the order in which they were
// written: the real time in microseconds, at least one more than the last, and
// eleven bits that tell nodes apart (which lasts until 2112). The real clock, because a sandbox stops
// the injected one, and two rows must not get one number. Two nodes may have the
// same bits, and then they give a number twice where they write in the same
// microsecond: a new session tries again, and most rows have more in their keys.
type sequence struct {
	last atomic.Int64
	node int64
}

const nodeBits = 11

func (q *sequence) init() {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	q.node = int64(binary.BigEndian.Uint16(b[:]) >> (16 - nodeBits))
}

func (q *sequence) next() int64 {
	for {
		last := q.last.Load()
		at := max(time.Now().UnixMicro(), last+1)
		if q.last.CompareAndSwap(last, at) {
			return at<<nodeBits | q.node
		}
	}
}

// raise makes the numbers that follow greater than those of a moment.
func (q *sequence) raise(at int64) {
	for {
		last := q.last.Load()
		if at <= last || q.last.CompareAndSwap(last, at) {
			return
		}
	}
}
