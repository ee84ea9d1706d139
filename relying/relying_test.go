package relying_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"eidgate/eid"
	"eidgate/relying"
)

func TestConfigOfARequest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		configs []relying.Config
		id      string
		layout  string
		err     error
	}{
		{"none, and none asked for", nil, "", "", nil},
		{"none of that id", nil, "north", "", relying.ErrUnknown},
		{"the only one counts", []relying.Config{{ID: "north", Layout: "n"}}, "", "n", nil},
		{"of two, none counts by itself", []relying.Config{{ID: "north", Layout: "n"}, {ID: "south", Layout: "s"}}, "", "", nil},
		{"the one without an id counts", []relying.Config{{ID: "north", Layout: "n"}, {Layout: "general"}}, "", "general", nil},
		{"named", []relying.Config{{ID: "north", Layout: "n"}, {ID: "south", Layout: "s"}}, "south", "s", nil},
		{"ids have a case", []relying.Config{{ID: "north", Layout: "n"}}, "North", "", relying.ErrUnknown},
	} {
		a := relying.Account{Configs: c.configs}
		got, err := a.Config(c.id)
		if !errors.Is(err, c.err) || err == nil && got.Layout != c.layout {
			t.Errorf("%s: Config(%q) = %+v, %v", c.name, c.id, got, err)
		}
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	a := relying.Account{Layouts: []string{"night", "day"}, Layout: "day"}
	for _, c := range []struct {
		asked []string
		want  string
	}{{nil, "day"}, {[]string{"night"}, "night"}, {[]string{"", "night"}, "night"}, {[]string{"Night", "noon"}, "day"}, {[]string{"day", "night"}, "day"}} {
		if got := a.Look(c.asked...); got != c.want {
			t.Errorf("Look(%q) = %q", c.asked, got)
		}
	}
	if got := (&relying.Account{}).Look("night"); got != "" {
		t.Errorf("of no themes: %q", got)
	}
}

func TestAllows(t *testing.T) {
	t.Parallel()
	all, some := relying.Account{}, relying.Account{EIDs: []eid.EID{eid.IDIN}}
	if !all.Allows(eid.BankIDSE) || some.Allows(eid.BankIDSE) || !some.Allows(eid.IDIN) {
		t.Error("an empty list must allow all, a list only what is in it")
	}
}

// TestNothingSecretIsLogged gives accounts and secrets to both handlers, by
// value, by pointer, in a struct and inside an error.
func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	const canary = "whsec_canary"
	a := relying.Account{ID: "7c1f6a0e", Name: "canary shop", WebhookSecrets: []relying.Secret{canary}, AllowedIPs: "192.0.2.7"}
	caller := relying.Caller{Account: &a, Key: relying.Key{ID: "k"}}
	secret := relying.Secret(canary)
	var out bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
		log.Info("x", "a", a, "b", &a, "c", secret, "d", &secret, "e", fmt.Errorf("account %v: %w", &a, fmt.Errorf("secret %s %q %v", secret, secret, secret)))
		log.Info("x", "caller", struct{ Secret relying.Secret }{secret})
	}
	fmt.Fprintf(&out, "%v %+v %#v %s %v\n", a, a, secret, secret, caller)
	if strings.Contains(out.String(), canary) {
		t.Errorf("a secret was printed:\n%s", out.String())
	}
	raw, err := json.Marshal(a)
	if err != nil || strings.Contains(string(raw), canary) {
		t.Errorf("a secret is part of the record: %s, %v", raw, err)
	}
}

// TestRecordSurvives holds that the stored form of an account loses nothing
// but its secrets.
func TestRecordSurvives(t *testing.T) {
	t.Parallel()
	in := relying.Account{ID: "i", Name: "n", Language: "sv", Hosts: []string{"h"}, Frames: []string{"f"}, EIDs: []eid.EID{eid.BankIDSE},
		AllowedIPs: "192.0.2.7", Webhooks: map[eid.Environment]string{eid.Test: "https://rp.example"}, WebhookSecrets: []relying.Secret{"s"}, Keep: 5e9, WebhookEmail: "thin",
		Switches: relying.Switches{EchoCustom: true, WebhookMaxAttempts: 3}, Configs: []relying.Config{{ID: "c", Layout: "l"}}, Auto: "approve"}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out relying.Account
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(out)
	if err != nil || !bytes.Equal(raw, again) || len(out.WebhookSecrets) > 0 || out.Keep != in.Keep {
		t.Errorf("%s, %v, want %s", again, err, raw)
	}
}
