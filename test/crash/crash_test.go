// Package crash kills nodes while people log in, without a warning and again
// and again, and then counts: a result that was told stays told, every session
// ends, and every end is notified.
package crash

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/internal/audit"
	"eidgate/internal/pgtest"
	"eidgate/sandbox"
	"eidgate/test/rig"
)

func TestMain(m *testing.M) {
	m.Run()
	rig.Clean()
}

// unknown is what a result says when a node was killed between the answer that
// BankID gives only once and its own commit: the one thing that a crash loses.
const unknown = "The outcome is unknown. Start again."

// TestKillOneNode has one node on SQLite, which is killed and started anew. Each
// fifth time it is stopped, which seals the audit trail: what was sealed is whole
// after all the kills.
func TestKillOneNode(t *testing.T) {
	sys := rig.New(t, "sqlite:"+t.TempDir()+"/e.db", sandbox.Approve)
	p := rig.NewParty(t)
	node := sys.Serve(t)
	p.Route(node)
	ends := 0
	storm(t, p, people, 500, rig.Person, visit, func() {
		if ends++; ends%5 > 0 {
			node.Kill()
		} else if err := node.Stop(); err != nil {
			t.Error(err)
		}
		node = sys.Serve(t)
		p.Route(node)
	})
	if err := node.Stop(); err != nil {
		t.Error(err)
	}
	var trail audit.Report
	if err := json.Unmarshal([]byte(sys.Run(t, "", "audit", "verify", "--json")), &trail); err != nil {
		t.Fatal(err)
	}
	if trail.Last < 2 || trail.Rows < 1000 || len(trail.Findings) > 0 { // made, begun, ended and read, for each login
		t.Errorf("audit trail: %+v", trail)
	}
}

// TestKillOnReturns kills a node while people come back from their banks,
// whose answers are given once and count for half a minute.
func TestKillOnReturns(t *testing.T) {
	sys := rig.New(t, "sqlite:"+t.TempDir()+"/e.db", sandbox.Approve)
	p := rig.NewParty(t)
	node := sys.Serve(t)
	p.Route(node)
	storm(t, p, visitors, 160, "", func(ctx context.Context, t *testing.T, p *rig.Party, told *atomic.Bool, acts chan<- struct{}) *rig.Visit {
		return visitBank(ctx, t, p, sys.Bank, told, acts)
	}, func() {
		node.Kill()
		node = sys.Serve(t)
		p.Route(node)
	})
}

// TestKillOneOfTwoNodes has two nodes on PostgreSQL, of which one is killed at
// a time: the other takes its orders over.
func TestKillOneOfTwoNodes(t *testing.T) {
	sys := rig.New(t, pgtest.Database(t, pgtest.Options{}), sandbox.Approve)
	p := rig.NewParty(t)
	nodes := []*rig.Node{sys.Serve(t), sys.Serve(t)}
	p.Route(nodes...)
	turn := 0
	storm(t, p, people, 500, rig.Person, visit, func() {
		i := turn % 2
		turn++
		p.Route(nodes[1-i])
		nodes[i].Kill()
		nodes[i] = sys.Serve(t)
		p.Route(nodes...)
	})
}

// A storm is many people who log in while nodes are killed. Kills follow what
// has been achieved, not the clock: a slow machine is not killed to a
// standstill, and a fast one is not done before it was hit.
const (
	people   = 100 // at the same time
	visitors = 10  // of banks, whose simulator signs for long: with more, most would always wait for it
	least    = 25  // acts of people between two kills
	most     = 75
)

// A visitor logs in, tells what it achieves, and whether it was told that it
// has.
type visitor func(ctx context.Context, t *testing.T, p *rig.Party, told *atomic.Bool, acts chan<- struct{}) *rig.Visit

// storm lets so many people log in at the same time while kill is called at random moments and checks
// every session afterwards: who does not finish was at it while a node was killed. person is the
// number that results have.
func storm(t *testing.T, p *rig.Party, people, logins int, person string, log visitor, kill func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	visits := make([]*rig.Visit, logins)
	told := make([]atomic.Bool, logins)
	hit := make([]bool, logins)
	acts := make(chan struct{}, 3*logins)
	var next, phase atomic.Int64 // phase is odd while a node is being killed
	var wg sync.WaitGroup
	for range people {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= logins {
					return
				}
				began := phase.Load()
				visits[i] = log(ctx, t, p, &told[i], acts)
				hit[i] = began%2 == 1 || phase.Load() != began
			}
		})
	}
	go func() { wg.Wait(); close(acts) }()
	kills, left := 0, least
	for range acts {
		if left--; left > 0 {
			continue
		}
		<-time.After(rand.N(300 * time.Millisecond)) //nolint:gosec // any moment will do, not only that of an act
		phase.Add(1)
		kill()
		phase.Add(1)
		kills++
		left = least + rand.N(most-least) //nolint:gosec // any number will do
	}
	if kills < 5 {
		t.Errorf("only %d kills: too few to have hit anything", kills)
	}
	lost := map[string]int{}
	for i, v := range visits {
		before := sum(lost)
		if check(ctx, t, p, v, told[i].Load(), person, lost); sum(lost) > before && !hit[i] {
			t.Errorf("login %d did not finish, and no node was killed meanwhile", i)
		}
	}
	if _, bad := p.Hooks(""); bad > 0 {
		t.Errorf("%d webhooks whose signature is not valid", bad)
	}
	t.Logf("%d kills, %d of %d finished, others: %v", kills, logins-sum(lost), logins, lost)
	if n := sum(lost); n > logins/2 {
		t.Errorf("%d of %d logins did not finish", n, logins)
	}
}

func sum(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}

// visit is a patient person: what does not answer is asked again. What it
// achieves, a login begun and its result read, goes to acts. A setup that
// was not answered is no session for anybody.
func visit(ctx context.Context, t *testing.T, p *rig.Party, told *atomic.Bool, acts chan<- struct{}) *rig.Visit {
	again := patient(ctx, t)
	var v *rig.Visit
	var to string
	if !again(func() (err error) { v, err = p.Setup(ctx); return err }) || !again(func() error { return v.Begin(ctx) }) {
		return nil
	}
	acts <- struct{}{}
	for to == "" {
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return v
		}
		if !again(func() (err error) { to, err = v.Poll(ctx); return err }) {
			return v
		}
		if v.AtRetry && !again(func() error { return v.Begin(ctx) }) { // the start was not answered in time
			return v
		}
	}
	again(func() error {
		state, _, err := v.Result(ctx)
		told.Store(err == nil && state == "FINISHED")
		return err
	})
	acts <- struct{}{}
	return v
}

// patient asks again until it is answered.
func patient(ctx context.Context, t *testing.T) func(func() error) bool {
	return func(f func() error) bool {
		var err error
		for ctx.Err() == nil {
			if err = f(); err == nil {
				return true
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		if !errors.Is(ctx.Err(), context.Canceled) { // the storm is called off when a node does not start, which says enough
			t.Errorf("no node answers: %v", err)
		}
		return false
	}
}

// visitBank is a patient person who goes to a bank and comes back.
func visitBank(ctx context.Context, t *testing.T, p *rig.Party, bank *rig.Bank, told *atomic.Bool, acts chan<- struct{}) *rig.Visit {
	again := patient(ctx, t)
	var v *rig.Visit
	var page, back, to string
	if !again(func() (err error) { v, err = p.SetupFor(ctx, "idin"); return err }) ||
		!again(func() (err error) { page, err = v.Leave(ctx); return err }) ||
		!again(func() (err error) { back, err = bank.Visit(ctx, page); return err }) {
		return v
	}
	acts <- struct{}{}
	if !again(func() (err error) { to, err = v.Return(ctx, back); return err }) {
		return v
	}
	for to == "" {
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return v
		}
		if !again(func() (err error) { to, err = v.Poll(ctx); return err }) {
			return v
		}
	}
	again(func() error {
		state, _, err := v.Result(ctx)
		told.Store(err == nil && state == "FINISHED")
		return err
	})
	acts <- struct{}{}
	return v
}

// check reads a session once more: what was told must be told again, and the
// party must have been notified.
func check(ctx context.Context, t *testing.T, p *rig.Party, v *rig.Visit, told bool, person string, lost map[string]int) {
	t.Helper()
	if v == nil {
		return
	}
	state, number, err := v.Result(ctx)
	switch {
	case err != nil:
		t.Errorf("session %s: %v", v.ID, err)
	case told && (state != "FINISHED" || number != person):
		t.Errorf("session %s was told as finished and is %s", v.ID, state)
	case state != "FINISHED" && state != "ERROR":
		t.Errorf("session %s has not ended: %s", v.ID, state)
	case state == "ERROR":
		lost[v.Failure]++
		if v.Failure != unknown {
			t.Errorf("session %s: %s", v.ID, v.Failure)
		}
	}
	for valid, _ := p.Hooks(v.ID); valid == 0; valid, _ = p.Hooks(v.ID) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Errorf("session %s (%s): no webhook came", v.ID, state)
			return
		}
	}
}
