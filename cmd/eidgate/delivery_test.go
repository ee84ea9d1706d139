package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/store"
)

// TestReplayMany: those whose session is erased are counted and stay, the others
// leave ten a second. A server may have the file open.
func TestReplayMany(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "eidgate.yaml")
	for name, text := range map[string]string{"master": strings.Repeat("5a", 32), "key": "7c1f6a0e-0000-4000-8000-0000000000aa", "eidgate.yaml": `
server: {public_url: "https://eid.example.com"}
store: {url: "sqlite:` + dir + `/eidgate.db"}
keys: {master_file: ` + dir + `/master}
accounts: [{id: 7c1f6a0e-0000-4000-8000-000000000001, name: Shop, keys: [{environment: test, file: ` + dir + `/key}]}]
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(dir, "eidgate.db"), Master: bytes.Repeat([]byte{0x5a}, 32), Now: time.Now,
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // the test is over
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i, account := range []string{"acc", "acc", "acc", "other", "acc"} {
		n := &broker.Session{ID: fmt.Sprintf("s%d", i), Account: account, API: "api", Environment: eid.Test, State: broker.Created, Purpose: eid.Identify, Created: now}
		d := broker.Delivery{ID: fmt.Sprintf("msg_%d", i), Session: n.ID, Account: account, Environment: eid.Test, Kind: "webhook", Type: "t", Profile: "zignsec-3",
			URL: "https://rp.example/hook", Body: []byte("{}"), Due: now}
		if err := s.Apply(t.Context(), &broker.Change{ID: n.ID, Session: n, Outbox: []broker.Delivery{d}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ClaimDeliveries(t.Context(), now, time.Minute, 1); err != nil {
			t.Fatal(err)
		}
		at := now.Add(time.Duration(i-5) * time.Minute)
		if i == 0 {
			at = now.Add(-48 * time.Hour)
		}
		if err := s.FinishDeliveries(t.Context(), []broker.Attempt{{ID: d.ID, Attempt: 1, State: "dead", At: at}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Apply(t.Context(), &broker.Change{ID: "s2", Erase: true}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args     string
		code     int
		out, err string
	}{
		{"replay msg_2", exitRefused, "", "eidgate: msg_2 cannot be sent again: payload erased, the session's data are gone\n  docs/webhooks.md says how long it can be sent again\n"},
		{"list --limit 2 --account acc", 0, "msg_2  acc", ""},
		{"list", 0, "(erased)", ""},
		{"replay --since 24h --account acc", 0, "2 replayed, 1 cannot be: payload erased\n", "The last one leaves at "},
		{"replay --since 24h", 0, "1 replayed, 1 cannot be: payload erased\n", ""},
	} {
		var out, err bytes.Buffer
		code := run(t.Context(), func() {}, append(append([]string{"delivery"}, strings.Fields(c.args)...), "--config", config), streams{&out, &err})
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.HasPrefix(err.String(), c.err) {
			t.Errorf("%s: %d\n%s%s", c.args, code, out.String(), err.String())
		}
	}
	all, err := s.Statuses(t.Context(), broker.DeliveryFilter{State: "pending", Account: "acc"}, 10)
	if err != nil || len(all) != 2 || all[0].ID != "msg_1" || all[1].ID != "msg_4" || all[1].Due.Sub(all[0].Due) != 100*time.Millisecond {
		t.Errorf("pending: %+v, %v", all, err)
	}
	all, err = s.Statuses(t.Context(), broker.DeliveryFilter{}, 10)
	if err != nil || len(all) != 2 || all[0].ID != "msg_2" || all[1].ID != "msg_0" {
		t.Errorf("still given up: %+v, %v", all, err)
	}
}
