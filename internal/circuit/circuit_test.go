package circuit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

var errDial = errors.New("connection refused")

// An upstream answers as it is told.
type upstream struct {
	status int
	err    error
	body   io.Reader
	calls  atomic.Int32
	in     chan struct{} // told of each call
	wait   chan struct{} // closed when they may go on; nil for at once
}

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	u.calls.Add(1)
	if u.wait != nil {
		u.in <- struct{}{}
		<-u.wait
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if u.err != nil {
		return nil, u.err
	}
	body := u.body
	if body == nil {
		body = strings.NewReader("answer")
	}
	return &http.Response{StatusCode: u.status, Body: io.NopCloser(body)}, nil
}

// A bench is one client with its upstream and its clock.
type bench struct {
	*upstream
	board   *Board
	http    http.RoundTripper
	now     time.Time
	changes []string
}

func newBench() *bench {
	b := &bench{upstream: &upstream{status: http.StatusOK}, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	b.board = NewBoard(func() time.Time { return b.now }, func(_ context.Context, host string, open bool) {
		b.changes = append(b.changes, map[bool]string{true: "open ", false: "close "}[open]+host)
	})
	b.http = b.board.Guard(b.upstream)
	return b
}

// call makes one call to its end.
func (b *bench) call(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://eid.example/collect?secret", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	res, err := b.http.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.ReadAll(res.Body)
	return err
}

// fail makes n calls that have no answer.
func (b *bench) fail(t *testing.T, n int) {
	t.Helper()
	b.err = errDial
	for range n {
		if err := b.call(t.Context()); !errors.Is(err, errDial) {
			t.Fatalf("call = %v, want %v", err, errDial)
		}
	}
	b.err = nil
}

// refuses says whether the next call is not made, and for how long.
func (b *bench) refuses(t *testing.T) (after time.Duration, refused bool) {
	t.Helper()
	before := b.calls.Load()
	open, ok := errors.AsType[*Open](b.call(t.Context()))
	if made := b.calls.Load() > before; made == ok {
		t.Fatalf("refused: %t, and made: %t", ok, made)
	}
	if !ok {
		return 0, false
	}
	return open.After, true
}

func TestOpensFailsFastTriesAndCloses(t *testing.T) {
	t.Parallel()
	b := newBench()
	is := func(when string, open, half int, changes ...string) {
		t.Helper()
		if o, h := b.board.Count(); o != open || h != half {
			t.Errorf("%s: %d open, %d half open, want %d, %d", when, o, h, open, half)
		}
		if got := strings.Join(b.changes, " "); got != strings.Join(changes, " ") {
			t.Errorf("%s: told %q", when, got)
		}
	}
	b.fail(t, trips-1)
	is("before the last failure", 0, 0)
	b.fail(t, 1)
	is("after it", 1, 0, "open eid.example")
	b.now = b.now.Add(3 * time.Second)
	if after, refused := b.refuses(t); !refused || after != rest-3*time.Second {
		t.Errorf("open: refused = %t, for %v", refused, after)
	}
	b.now = b.now.Add(rest - 3*time.Second)
	is("after a rest", 0, 1, "open eid.example")
	b.fail(t, 1)
	is("after another failure", 1, 0, "open eid.example")
	if _, refused := b.refuses(t); !refused {
		t.Error("a failed try has closed it")
	}
	b.now = b.now.Add(rest)
	if _, refused := b.refuses(t); refused {
		t.Error("no call may try")
	}
	is("after an answer", 0, 0, "open eid.example", "close eid.example")
	b.fail(t, trips-1)
	is("with as many failures as before", 0, 0, "open eid.example", "close eid.example")
}

func TestWhatIsNoAnswer(t *testing.T) {
	t.Parallel()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithTimeout(t.Context(), 0)
	defer cancelLate()
	for name, c := range map[string]struct {
		ctx    context.Context
		status int
		err    error
		body   io.Reader
		opens  bool
	}{
		"no connection":       {err: errDial, opens: true},
		"no time":             {ctx: late, opens: true},
		"500":                 {status: http.StatusInternalServerError, opens: true},
		"503":                 {status: http.StatusServiceUnavailable, opens: true},
		"a body breaks off":   {status: http.StatusOK, body: iotest.ErrReader(io.ErrUnexpectedEOF), opens: true},
		"200":                 {status: http.StatusOK},
		"400":                 {status: http.StatusBadRequest},
		"429":                 {status: http.StatusTooManyRequests},
		"who called gives up": {ctx: gone},
		"who reads gives up":  {status: http.StatusOK, body: iotest.ErrReader(context.Canceled)},
	} {
		b := newBench()
		ctx := c.ctx
		if ctx == nil {
			ctx = t.Context()
		}
		b.status, b.err, b.body = c.status, c.err, c.body
		for range trips {
			_ = b.call(ctx) // what matters is whether it is counted
		}
		b.status, b.err, b.body = http.StatusOK, nil, nil
		if _, refused := b.refuses(t); refused != c.opens {
			t.Errorf("%s: open = %t", name, refused)
		}
	}
}

// TestAnswersBetweenFailures: only failures in a row count.
func TestAnswersBetweenFailures(t *testing.T) {
	t.Parallel()
	b := newBench()
	for range 3 {
		b.fail(t, trips-1)
		if _, refused := b.refuses(t); refused {
			t.Fatal("open after failures with an answer between them")
		}
	}
}

// TestCircuitsAreEachClientsOwn: what one party's calls come to is nothing to
// another's.
func TestCircuitsAreEachClientsOwn(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.fail(t, trips)
	b.http = b.board.Guard(b.upstream)
	if _, refused := b.refuses(t); refused {
		t.Error("another client's circuit is open too")
	}
	if open, half := b.board.Count(); open != 1 || half != 0 {
		t.Errorf("%d open, %d half open, want 1, 0", open, half)
	}
}

// TestGivenUpWhileTrying: the next call tries instead.
func TestGivenUpWhileTrying(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.fail(t, trips)
	b.now = b.now.Add(rest)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.call(gone); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, refused := b.refuses(t); refused {
		t.Error("nobody may try any more")
	}
}

// TestForgotten: a circuit whose client is gone is counted for a while, and
// holds nothing afterwards; if somebody calls all the same, it decides again.
func TestForgotten(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.fail(t, trips)
	b.now = b.now.Add(rest + forgets - 1)
	if open, half := b.board.Count(); open != 0 || half != 1 {
		t.Errorf("%d open, %d half open, want 0, 1", open, half)
	}
	b.now = b.now.Add(1)
	if open, half := b.board.Count(); open+half != 0 || len(b.board.open) != 0 {
		t.Errorf("%d open, %d half open, want none", open, half)
	}
	b.fail(t, 1)
	if open, _ := b.board.Count(); open != 1 {
		t.Errorf("%d open after another failure, want 1", open)
	}
}

// TestClockIsPutBack: a circuit is not open for longer than it says.
func TestClockIsPutBack(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.fail(t, trips)
	b.now = b.now.Add(-time.Hour)
	if _, refused := b.refuses(t); refused {
		t.Error("open for an hour")
	}
}

// TestOneTries: of a hundred calls after the rest one is made, and those that
// were under way when the circuit opened neither prolong the rest nor let others
// through.
func TestOneTries(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.err, b.in, b.wait = errDial, make(chan struct{}), make(chan struct{})
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() { _ = b.call(t.Context()) })
	}
	for range 20 {
		<-b.in
	}
	close(b.wait)
	calls.Wait()
	if open, half := b.board.Count(); open != 1 || half != 0 || len(b.changes) != 1 {
		t.Fatalf("%d open, %d half open, told %q", open, half, b.changes)
	}
	b.now, b.err, b.wait = b.now.Add(rest), nil, make(chan struct{})
	var refused atomic.Int32
	done := make(chan struct{}, 100)
	for range 100 {
		calls.Go(func() {
			if open, ok := errors.AsType[*Open](b.call(t.Context())); ok && open.After == 0 {
				refused.Add(1)
			}
			done <- struct{}{}
		})
	}
	<-b.in
	for range 99 {
		<-done
	}
	if refused.Load() != 99 || b.calls.Load() != 21 {
		t.Errorf("%d refused, %d made, want 99 and 1", refused.Load(), b.calls.Load()-20)
	}
	close(b.wait)
	calls.Wait()
	b.wait = nil
	if _, refused := b.refuses(t); refused {
		t.Error("open after an answer")
	}
}

// TestLateFailure: what was under way when a circuit opened neither prolongs the
// rest nor ends the call that tries; closing the answer of that one does.
func TestLateFailure(t *testing.T) {
	t.Parallel()
	b := newBench()
	begin := func() io.ReadCloser {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://eid.example/collect", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.http.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		return res.Body
	}
	b.body = iotest.ErrReader(io.ErrUnexpectedEOF)
	first, second := begin(), begin()
	b.body = nil
	b.fail(t, trips)
	b.now = b.now.Add(rest - time.Second)
	_, _ = io.ReadAll(first)
	if after, refused := b.refuses(t); !refused || after != time.Second {
		t.Errorf("refused = %t, for %v, want %v", refused, after, time.Second)
	}
	b.now = b.now.Add(time.Second)
	tries := begin()
	_, _ = io.ReadAll(second)
	b.now = b.now.Add(forgets)
	if open, half := b.board.Count(); open != 0 || half != 1 {
		t.Errorf("%d open, %d half open while one tries, want 0 and 1", open, half)
	}
	if after, refused := b.refuses(t); !refused || after != 0 {
		t.Errorf("refused = %t, for %v, while one tries", refused, after)
	}
	if err := tries.Close(); err != nil {
		t.Fatal(err)
	}
	if _, refused := b.refuses(t); refused {
		t.Error("open after an answer")
	}
}

// TestPause: a code that may be spent once is not given up while a call that
// tries has eight seconds to answer: package broker tries five times.
func TestPause(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]time.Duration{errDial: time.Second, &Open{7 * time.Second}: 7 * time.Second, &Open{time.Millisecond}: time.Second, &Open{}: 3 * time.Second} {
		if got := Pause(fmt.Errorf("call: %w", err), time.Second); got != want {
			t.Errorf("after %v: %v, want %v", err, got, want)
		}
	}
}

// TestNoBoard: without one there are no circuits.
func TestNoBoard(t *testing.T) {
	t.Parallel()
	var b *Board
	u := &upstream{}
	if got := b.Guard(u); got != http.RoundTripper(u) {
		t.Errorf("Guard = %v, want the transport itself", got)
	}
}

// TestReadersErrorsStay: the caller gets what the transport gave.
func TestReadersErrorsStay(t *testing.T) {
	t.Parallel()
	b := newBench()
	if err := b.call(t.Context()); err != nil {
		t.Error(err)
	}
	b.body = iotest.ErrReader(io.ErrUnexpectedEOF)
	if err := b.call(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("call = %v, want %v", err, io.ErrUnexpectedEOF)
	}
}
