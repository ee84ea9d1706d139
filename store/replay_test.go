package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/store"
)

// post writes a notification of a new session, and ends it with one attempt.
func post(t *testing.T, s *store.Store, account, state string, now time.Time) broker.Delivery {
	t.Helper()
	n := session()
	n.Account = account
	d := broker.Delivery{ID: "msg_" + row(), Session: n.ID, Account: account, Environment: eid.Test, Kind: "webhook", Type: "session.finished",
		Profile: "zignsec-3", Key: "key", UpperHex: true, URL: "https://rp.example:8443/hook/ada?who=ada", Body: []byte("body of ada"), Due: now}
	if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n, Outbox: []broker.Delivery{d}}); err != nil {
		t.Fatal(err)
	}
	if state == "pending" {
		return d
	}
	got := claim(t, s, d.ID, now)
	finish(t, s, broker.Attempt{ID: d.ID, Attempt: got.Attempt, State: state, At: now, Took: time.Second, Status: 503, Reason: "status"})
	return d
}

// claim takes the only delivery that is due.
func claim(t *testing.T, s *store.Store, id string, now time.Time) broker.Claimed {
	t.Helper()
	got, err := s.ClaimDeliveries(t.Context(), now, time.Minute, 10)
	if err != nil || len(got) != 1 || got[0].ID != id {
		t.Fatalf("claimed %+v, %v; want %s", got, err, id)
	}
	return got[0]
}

func finish(t *testing.T, s *store.Store, a broker.Attempt) {
	t.Helper()
	if err := s.FinishDeliveries(t.Context(), []broker.Attempt{a}); err != nil {
		t.Fatal(err)
	}
}

func status(t *testing.T, s *store.Store, id string) broker.DeliveryStatus {
	t.Helper()
	d, err := s.Status(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestReplay(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		now := time.Now().UTC().Truncate(time.Microsecond)
		d := post(t, l.Store, "acc", "dead", now)
		got := status(t, l.Store, d.ID)
		want := broker.DeliveryStatus{ID: d.ID, Session: d.Session, Account: "acc", Environment: eid.Test, Kind: "webhook", Type: "session.finished",
			Profile: "zignsec-3", Host: "rp.example:8443", State: "dead", Attempts: 1, Status: 503, Reason: "status", Written: now, GivenUp: now.Add(time.Second)}
		if got != want {
			t.Errorf("Status = %+v\nwant     %+v", got, want)
		}

		// Who looks beside a running process puts it back.
		look, err := store.Open(t.Context(), store.Config{URL: l.url, Master: bytes.Repeat([]byte{1}, 32), Now: time.Now, Look: true, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = look.Close() }() // the test is over
		again := now.Add(time.Hour)
		if err := look.Replay(t.Context(), d.ID, again); err != nil {
			t.Fatal(err)
		}
		var line string
		err = l.db.QueryRowContext(t.Context(), `SELECT actor || ' ' || action || ' ' || outcome || ' ' || session FROM audit`).Scan(&line)
		if err != nil || line != "operator delivery.replay ok "+d.Session {
			t.Errorf("audit trail: %q, %v", line, err)
		}
		if got := status(t, l.Store, d.ID); got.State != "pending" || !got.Due.Equal(again) || !got.GivenUp.IsZero() || got.Attempts != 1 || got.Spent != 1 {
			t.Errorf("after a replay: %+v", got)
		}
		if n, err := l.GivenUp(t.Context(), time.UnixMicro(0)); err != nil || n != 0 {
			t.Errorf("GivenUp after a replay = %d, %v", n, err)
		}
		if err := look.Replay(t.Context(), d.ID, now); !errors.Is(err, broker.ErrPending) {
			t.Errorf("replay of what is pending: %v", err)
		}
		if early, err := l.ClaimDeliveries(t.Context(), again.Add(-time.Second), time.Minute, 10); err != nil || len(early) != 0 {
			t.Errorf("before its time: %+v, %v", early, err)
		}
		c := claim(t, l.Store, d.ID, again)
		if c.URL != d.URL || string(c.Body) != string(d.Body) || c.Key != d.Key || !c.UpperHex || c.Attempt != 2 || c.Spent != 1 {
			t.Errorf("claimed %+v", c)
		}
		if err := look.Replay(t.Context(), d.ID, now); !errors.Is(err, broker.ErrPending) {
			t.Errorf("replay of what is under way: %v", err)
		}
		finish(t, l.Store, broker.Attempt{ID: d.ID, Attempt: 1, State: "failed", At: now}) // by a worker that comes back late
		finish(t, l.Store, broker.Attempt{ID: d.ID, Attempt: 2, State: "delivered", At: again, Status: 204})
		var states []string
		tries, err := l.Attempts(t.Context(), d.ID)
		for _, a := range tries {
			states = append(states, fmt.Sprint(a.Attempt, a.State, a.Status))
		}
		if err != nil || !slices.Equal(states, []string{"1dead503", "2delivered204"}) {
			t.Errorf("Attempts = %v, %v", states, err)
		}

		// A receiver may have lost what it has taken.
		if err := l.Replay(t.Context(), d.ID, again); err != nil {
			t.Errorf("replay of what was delivered: %v", err)
		}
		if c := claim(t, l.Store, d.ID, again); c.Attempt != 3 || c.Spent != 2 {
			t.Errorf("claimed %+v", c)
		}
	})
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		now := time.Now().UTC().Truncate(time.Microsecond)
		d := post(t, l.Store, "acc", "dead", now)
		if err := l.Apply(t.Context(), &broker.Change{ID: d.Session, Erase: true}); err != nil {
			t.Fatal(err)
		}
		got := status(t, l.Store, d.ID)
		if !got.Erased || got.Host != "" || got.State != "dead" || !got.GivenUp.Equal(now.Add(time.Second)) {
			t.Errorf("Status after erasure = %+v", got)
		}
		if err := l.Replay(t.Context(), d.ID, now); !errors.Is(err, broker.ErrErased) {
			t.Errorf("replay after erasure: %v", err)
		}
		ids, erased, err := l.Replayable(t.Context(), "", time.UnixMicro(0))
		if err != nil || len(ids) != 0 || erased != 1 {
			t.Errorf("Replayable = %v, %d, %v", ids, erased, err)
		}
		if err := l.Replay(t.Context(), "msg_none", now); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("replay of nothing: %v", err)
		}
		var lines int
		if err := l.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM audit`).Scan(&lines); err != nil || lines != 0 {
			t.Errorf("%d lines in the audit trail of what did not happen, %v", lines, err)
		}
	})
}

// TestReplayWhileErasing: whichever of the two comes last, nothing is left that
// waits without a body, and no body that does not wait.
func TestReplayWhileErasing(t *testing.T) {
	t.Parallel()
	ledgers(t, func(t *testing.T, l *ledger) {
		for range 20 {
			d := post(t, l.Store, "acc", "dead", time.Now())
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := l.Replay(context.Background(), d.ID, time.Now().Add(time.Hour)); err != nil && !errors.Is(err, broker.ErrErased) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if err := l.Apply(context.Background(), &broker.Change{ID: d.Session, Erase: true}); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			if got := status(t, l.Store, d.ID); got.Erased == (got.State == "pending") {
				t.Errorf("after both: %+v", got)
			}
		}
	})
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *store.Store) {
		now := time.Now().UTC().Truncate(time.Microsecond)
		names := map[string]string{}
		for i, c := range []struct{ name, account, state string }{{"old", "acc", "dead"}, {"gone", "acc", "failed"}, {"new", "other", "dead"},
			{"done", "acc", "delivered"}, {"later", "acc", "pending"}} {
			names[post(t, s, c.account, c.state, now.Add(time.Duration(i-4)*time.Hour)).ID] = c.name
		}
		for name, c := range map[string]struct {
			f     broker.DeliveryFilter
			limit int
			want  string
		}{
			"what is given up": {broker.DeliveryFilter{}, 9, "new gone old"},
			"the latest":       {broker.DeliveryFilter{}, 2, "new gone"},
			"dead":             {broker.DeliveryFilter{State: "dead"}, 9, "new old"},
			"failed":           {broker.DeliveryFilter{State: "failed"}, 9, "gone"},
			"of an account":    {broker.DeliveryFilter{Account: "acc"}, 9, "gone old"},
			"since":            {broker.DeliveryFilter{Since: now.Add(-3 * time.Hour)}, 9, "new gone"},
			"delivered":        {broker.DeliveryFilter{State: "delivered"}, 9, "done"},
			"delivered since":  {broker.DeliveryFilter{State: "delivered", Since: now}, 9, ""},
			"pending":          {broker.DeliveryFilter{State: "pending", Account: "acc"}, 9, "later"},
			"pending, other":   {broker.DeliveryFilter{State: "pending", Account: "other"}, 9, ""},
		} {
			all, err := s.Statuses(t.Context(), c.f, c.limit)
			var got []string
			for _, d := range all {
				got = append(got, names[d.ID])
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
			}
		}
		for since, want := range map[time.Time]int64{now.Add(-5 * time.Hour): 3, now.Add(-3 * time.Hour): 2, now: 0} {
			if n, err := s.GivenUp(t.Context(), since); err != nil || n != want {
				t.Errorf("GivenUp since %s = %d, %v; want %d", since, n, err, want)
			}
		}
		ids, erased, err := s.Replayable(t.Context(), "acc", now.Add(-5*time.Hour))
		if err != nil || erased != 0 || len(ids) != 2 || names[ids[0]] != "old" || names[ids[1]] != "gone" {
			t.Errorf("Replayable = %v, %d, %v; want the oldest first", ids, erased, err)
		}
	})
}
