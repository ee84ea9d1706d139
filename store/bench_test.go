package store_test

import (
	"bytes"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/store"
)

// BenchmarkLogin writes what a login with Swedish BankID writes, many of them
// at the same time, as a busy node does.
func BenchmarkLogin(b *testing.B) {
	s := open(b, "sqlite:"+filepath.Join(b.TempDir(), "eidgate.db"))
	const atOnce = 200
	logins := func(n int) {
		var wg sync.WaitGroup
		next := make(chan struct{}, n)
		for range n {
			next <- struct{}{}
		}
		close(next)
		for range atOnce {
			wg.Go(func() {
				for range next {
					if err := writeLogin(b, s); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	logins(4000)
	before := processor(b)
	b.ResetTimer()
	logins(b.N)
	b.StopTimer()
	b.ReportMetric(float64((processor(b)-before).Microseconds())/float64(b.N), "cpu-µs/login")
}

// processor is the processor's time that this process has taken.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var (
	small = bytes.Repeat([]byte("s"), 600)
	state = bytes.Repeat([]byte("s"), 16_000) // holds an answer that is given once
	large = bytes.Repeat([]byte("s"), 9_000)
)

// row names a row as the command does.
func row() string { return uuid.Must(uuid.NewV7()).String() }

func writeLogin(b *testing.B, s *store.Store) error {
	ctx, now := b.Context(), time.Now()
	n := session()
	line := broker.Audit{At: now, Actor: "person", Action: "order.begin", Outcome: "ok"}
	note := broker.Note{At: now, Kind: "event", Text: "wait outstandingTransaction"}
	if err := s.Apply(ctx, &broker.Change{ID: n.ID, Session: n, Audit: []broker.Audit{line}, Data: []broker.Data{{Kind: broker.DataSpec, Value: small}}}); err != nil {
		return err
	}
	o := &broker.Order{ID: row(), Session: n.ID, EID: eid.BankIDSE, Environment: eid.Test, Owner: "node", Body: small}
	n.State, n.Order = broker.Started, o.ID
	if err := s.Apply(ctx, &broker.Change{ID: n.ID, Session: n, Order: o, Notes: []broker.Note{note}, Audit: []broker.Audit{line}}); err != nil {
		return err
	}
	if err := s.Apply(ctx, &broker.Change{ID: n.ID, Order: o, Refs: []connector.Ref{connector.Ref(uuid.NewString())}, Notes: []broker.Note{note, note}}); err != nil {
		return err
	}
	if err := s.Apply(ctx, &broker.Change{ID: n.ID, Order: o, Notes: []broker.Note{note}}); err != nil {
		return err
	}
	o.Body = state
	if err := s.Apply(ctx, &broker.Change{ID: n.ID, Order: o, Notes: []broker.Note{note}}); err != nil {
		return err
	}
	o.Body, o.Ended, o.Due = small, true, time.Time{}
	n.State, n.Ended, n.Confirmed, n.Due = broker.Finished, now, now, now.Add(24*time.Hour)
	d := broker.Delivery{ID: row(), Session: n.ID, Account: n.Account, Environment: eid.Test, Kind: "webhook", Type: "session.finished",
		Profile: "standard", URL: "https://shop.example/hook", Body: small, Due: now}
	if err := s.Apply(ctx, &broker.Change{ID: n.ID, Session: n, Order: o, Notes: []broker.Note{note, note, note}, Audit: []broker.Audit{line}, Outbox: []broker.Delivery{d},
		Data: []broker.Data{{Kind: broker.DataIdentity, Value: small}, {Kind: broker.DataEvidence + "signature", Value: large}, {Kind: broker.DataEvidence + "ocsp", Value: small}}}); err != nil {
		return err
	}
	claimed, err := s.ClaimDeliveries(ctx, time.Now(), time.Minute, 1)
	if err != nil {
		return err
	}
	for _, c := range claimed {
		if err := s.FinishDeliveries(ctx, []broker.Attempt{{ID: c.ID, Attempt: c.Attempt, At: now, State: "delivered", Status: 200}}); err != nil {
			return err
		}
	}
	return s.Apply(ctx, &broker.Change{ID: n.ID, Audit: []broker.Audit{line}})
}
