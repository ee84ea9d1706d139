package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	maxConvoy = 32                     // changes that go to PostgreSQL together
	longest   = 20 * time.Second       // that they may take, or a query that several wait for
	patience  = 100 * time.Millisecond // for which a change waits for others, and changes that go together for a lock
)

// shortly lets the transaction give up a lock that it does not get within patience:
// one change would hold up the others, and with them the rows that they have written.
var shortly = fmt.Sprintf("SELECT set_config('lock_timeout', '%dms', true)", patience.Milliseconds())

// errUnsent is what a change hears if the one that took it along did not get so far.
var errUnsent = errors.New("the change was not sent")

// A convoy sends changes to PostgreSQL. As many are under way at a time as the
// process has cores: who comes while all are busy waits, and then goes with the
// others who waited, in one transaction and one round trip. So a busy node has
// fewer of both, and one that is not busy makes nobody wait. It is what a
// [writer] does on SQLite. If the database has refused what went together, each
// change is tried alone, by its own caller.
type convoy struct {
	pool     *pgxpool.Pool
	lanes    int
	patience time.Duration

	mu       sync.Mutex
	underway int
	waiting  []*job
}

func newConvoy(pool *pgxpool.Pool) *convoy {
	return &convoy{pool: pool, lanes: min(runtime.GOMAXPROCS(0), int(pool.Config().MaxConns)), patience: patience}
}

func (c *convoy) do(ctx context.Context, j *job) error {
	if !c.leads(j) {
		c.wait(ctx, j)
	}
	if j.leads {
		c.lead(ctx, j)
	}
	if j.alone {
		_, j.err = c.try(ctx, []*job{j})
	}
	return j.err
}

// lead sends a change with those that go with it.
func (c *convoy) lead(ctx context.Context, j *job) {
	group := c.gather(j)
	defer func() { // whatever happens: others wait
		c.next()
		for _, j := range group[1:] {
			close(j.ready)
		}
	}()
	c.send(ctx, group)
}

// leads gives a change a lane if there is one, else it has to wait.
func (c *convoy) leads(j *job) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underway < c.lanes {
		c.underway++
		j.leads = true
		return true
	}
	j.ready = make(chan struct{})
	c.waiting = append(c.waiting, j)
	return false
}

// wait waits until others have taken a change along, or until it leads.
func (c *convoy) wait(ctx context.Context, j *job) {
	enough := time.NewTimer(c.patience)
	defer enough.Stop()
	select {
	case <-j.ready:
	case <-ctx.Done():
		if c.leave(j) {
			j.err = ctx.Err()
			return
		}
		<-j.ready // it is under way, and writes into its job
	case <-enough.C:
		if !c.widen(j) {
			<-j.ready
		}
	}
}

// leave is false if the change waits no more.
func (c *convoy) leave(j *job) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken(j)
}

// widen opens one lane more for a change that has waited too long: what is under
// way hangs, or the database is slow, and then all the more shall go together. The
// lane stays for as long as somebody waits. It is false if the change waits no more.
func (c *convoy) widen(j *job) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.taken(j) {
		return false
	}
	c.underway++
	j.leads = true
	return true
}

// taken takes a change from those that wait, if it is among them.
func (c *convoy) taken(j *job) bool {
	i := slices.Index(c.waiting, j)
	if i < 0 {
		return false
	}
	c.waiting = slices.Delete(c.waiting, i, i+1)
	return true
}

// next gives the lane to the change that has waited for longest.
func (c *convoy) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.underway--
		return
	}
	j := c.waiting[0]
	c.waiting = slices.Delete(c.waiting, 0, 1)
	j.leads = true
	close(j.ready)
}

// gather is a change with those that go with it. As on SQLite the others get a
// chance to come along: see writer.gather.
func (c *convoy) gather(first *job) []*job {
	for range yields {
		runtime.Gosched()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.waiting), maxConvoy-1)
	group := append([]*job{first}, c.waiting[:n]...)
	c.waiting = slices.Delete(c.waiting, 0, n)
	return group
}

// send sets the error of each change of a group, or that it goes alone.
func (c *convoy) send(ctx context.Context, group []*job) {
	if len(group) > 1 { // the others do not depend on whether the first one's caller stays
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), longest)
		defer cancel()
	}
	for _, j := range group {
		j.err = errUnsent
	}
	undone, err := c.try(ctx, group)
	for _, j := range group {
		j.err, j.alone = err, undone && len(group) > 1
	}
}

// try sends a group as one transaction: what is sent together is one by itself.
// undone is true if the database says that nothing of it has happened; of other
// errors nobody knows. One that ends the connection (FATAL) is among those:
// PgBouncer says so of a server that may have committed.
func (c *convoy) try(ctx context.Context, jobs []*job) (undone bool, err error) {
	var parts []group
	if len(jobs) > 1 {
		parts = []group{{{q: shortly}}}
	}
	for _, j := range jobs {
		parts = append(parts, grouped(j.all)...)
	}
	b := &pgx.Batch{}
	for _, g := range parts {
		q, args := g.query()
		b.Queue(q, args...)
	}
	res := c.pool.SendBatch(ctx, b)
	for _, g := range parts {
		if err = g.read(res); err != nil {
			break
		}
	}
	e := res.Close()
	if err == nil {
		err = e
	}
	var refused *pgconn.PgError
	return errors.As(e, &refused) && refused.SeverityUnlocalized == "ERROR", err
}
