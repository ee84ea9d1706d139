package limit

import (
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestBurstThenRate(t *testing.T) {
	t.Parallel()
	l, r, now := New(10), Rate{PerSecond: 2, Burst: 3}, start
	for i := range 3 {
		if w := l.Take("a", r, now); w != 0 {
			t.Fatalf("taken %d of a burst of 3: wait %s", i, w)
		}
	}
	for range 2 { // being refused costs nothing
		if w := l.Take("a", r, now); w != 500*time.Millisecond {
			t.Errorf("after the burst: wait %s, want 500ms", w)
		}
	}
	if w := l.Take("b", r, now); w != 0 {
		t.Errorf("another caller: wait %s", w)
	}
	if w := l.Take("a", r, now.Add(499*time.Millisecond)); w != time.Millisecond {
		t.Errorf("a millisecond early: wait %s", w)
	}
	taken := 0
	for range 40 { // four times as often as allowed, for ten seconds
		now = now.Add(250 * time.Millisecond)
		if l.Take("a", r, now) == 0 {
			taken++
		}
	}
	if taken != 20 {
		t.Errorf("%d taken in ten seconds, want 20", taken)
	}
	for i := range 4 { // a rest gives the burst back, and no more than that
		if w := l.Take("a", r, now.Add(time.Hour)); (w == 0) != (i < 3) {
			t.Errorf("%d after a rest: wait %s", i, w)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	l, r := New(100), Rate{PerSecond: 0.1, Burst: 1}
	for i := range 1000 {
		l.Take(strconv.Itoa(i), r, start)
		l.Take("often", r, start)
	}
	if w := l.Take("often", r, start); w == 0 {
		t.Error("a caller that comes often was forgotten")
	}
	if w := l.Take("0", r, start); w != 0 {
		t.Error("a caller that was away for long is still remembered")
	}
}

func TestTogether(t *testing.T) {
	t.Parallel()
	l, r := New(10), Rate{PerSecond: 1, Burst: 50}
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if l.Take("a", r, start) == 0 {
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := taken.Load(); n != 50 {
		t.Errorf("%d taken at once, want 50", n)
	}
}

func TestWaitTakesNothing(t *testing.T) {
	t.Parallel()
	l, r := New(10), Rate{PerSecond: 1, Burst: 2}
	for range 5 {
		if w := l.Wait("a", r, start); w != 0 {
			t.Fatalf("nothing was taken: wait %s", w)
		}
	}
	for i, want := range []time.Duration{0, 0, time.Second} {
		if w := l.Wait("a", r, start); w != want {
			t.Errorf("after %d: Wait says %s, want %s", i, w, want)
		}
		if w := l.Take("a", r, start); w != want {
			t.Errorf("after %d: Take says %s, want %s", i, w, want)
		}
	}
}

func TestRateOfAnAccount(t *testing.T) {
	t.Parallel()
	r := Rate{PerSecond: 50, Burst: 100}
	if got := r.Or(0); got != r {
		t.Errorf("without one of its own: %v", got)
	}
	if got := r.Or(7); got != (Rate{PerSecond: 7, Burst: 14}) {
		t.Errorf("with 7 a second: %v", got)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1:2:3", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2", true},
	} {
		a, b := Address(netip.MustParseAddr(x.a)), Address(netip.MustParseAddr(x.b))
		if (a == b) != x.same {
			t.Errorf("%s is %s, %s is %s", x.a, a, x.b, b)
		}
	}
	if Address(netip.Addr{}) == "" {
		t.Error("an address that is not known has no name")
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{time.Nanosecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", 6 * time.Second: "6"} {
		if got := RetryAfter(wait); got != want {
			t.Errorf("%s: %s, want %s", wait, got, want)
		}
	}
}
