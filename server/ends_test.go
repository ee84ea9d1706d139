package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/eid"
	"eidgate/internal/keytest"
)

// TestEnds: each mark is told of once, and by a server that starts late only the
// last one.
func TestEnds(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for name, x := range map[string]struct {
		first int // days before the end
		want  []string
	}{
		"from long before": {90, []string{"60 WARN", "30 WARN", "14 WARN", "7 WARN", "1 ERROR", "0 ERROR"}},
		"started late":     {10, []string{"10 WARN", "7 WARN", "1 ERROR", "0 ERROR"}},
		"started over":     {-1, []string{"-1 ERROR"}},
	} {
		var out bytes.Buffer
		now := start
		c := &core{now: func() time.Time { return now }, log: slog.New(slog.NewJSONHandler(&out, nil)),
			agreements: agreements{{eid.Live, eid.MitID, "shop", "a"}: {ends: map[string]time.Time{"sign": start.Add(time.Duration(x.first) * 24 * time.Hour)}}, {eid.Live, eid.Itsme, "", ""}: {}}}
		told := map[ending]int{}
		var got []string
		for left := x.first; left >= -3; left-- {
			now = start.Add(time.Duration(x.first-left) * 24 * time.Hour)
			for range 2 {
				out.Reset()
				c.tellEnds(t.Context(), told)
				if out.Len() == 0 {
					continue
				}
				var line struct {
					Level, Use, EID, Environment, Account, Config string
					Days                                          int `json:"days_left"`
				}
				if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Days != left || line.Use != "sign" || line.EID != "mitid" || line.Environment != "live" || line.Account != "shop" || line.Config != "a" {
					t.Errorf("%s: %s, %v", name, &out, err)
				}
				got = append(got, fmt.Sprintf("%d %s", left, line.Level))
			}
		}
		if diff := cmp.Diff(x.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// TestKeysThatEnd: the last key of a use that has an end is warned of and
// measured; one that another follows is not.
func TestKeysThatEnd(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	s.write(t, "rsa", keytest.PEM(t, keytest.RSA(t, 2048)))
	in := func(days int) string {
		return time.Now().Add(time.Duration(days)*24*time.Hour + time.Hour).UTC().Format(time.RFC3339)
	}
	for name, x := range map[string]struct {
		keys string
		want []string
		ends map[string]bool
	}{
		"soon":                  {"{id: s, use: sign, file: DIR/rsa, until: " + in(20) + "}, {id: e, use: decrypt, file: DIR/rsa}", []string{"the last one to sign ends in 20 days"}, map[string]bool{"sign": true}},
		"later":                 {"{id: s, use: sign, file: DIR/rsa, until: " + in(80) + "}, {id: e, use: decrypt, file: DIR/rsa}", nil, map[string]bool{"sign": true}},
		"followed by another":   {"{id: t, use: sign, file: DIR/rsa}, {id: s, use: sign, file: DIR/rsa, until: " + in(20) + "}, {id: e, use: decrypt, file: DIR/rsa}", nil, nil},
		"two, that both end":    {"{id: s, use: sign, file: DIR/rsa}, {id: e, use: decrypt, file: DIR/rsa, until: " + in(30) + "}, {id: f, use: decrypt, file: DIR/rsa, until: " + in(10) + "}", []string{"the last one that decrypts ends in 30 days"}, map[string]bool{"decrypt": true}},
		"one without an end":    {"{id: s, use: sign, file: DIR/rsa}, {id: e, use: decrypt, file: DIR/rsa, until: " + in(30) + "}, {id: f, use: decrypt, file: DIR/rsa}", nil, nil},
		"neither has any":       {"{id: s, use: sign, file: DIR/rsa}, {id: e, use: decrypt, file: DIR/rsa}", nil, nil},
		"unencrypted, and more": {"{id: s, use: sign, file: DIR/rsa}, {id: e, use: decrypt, file: DIR/rsa}], unencrypted: true, old_device: true, claims: [", nil, nil},
	} {
		text := strings.Replace(s.fill(sound), "test_eids: {", s.fill("test_eids: {itsme: {issuer: \"https://i.example\", client_id: c, service: S, keys: ["+x.keys+"]}, "), 1)
		var got []string
		for _, p := range problems(t, s, text) {
			got = append(got, strings.TrimPrefix(strings.Split(p, " (")[0], "test_eids.itsme.keys: "))
		}
		if diff := cmp.Diff(x.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
			continue
		}
		s.write(t, "ends.yaml", text)
		cfg, _, err := ReadConfig(s.dir + "/ends.yaml")
		if err != nil {
			t.Fatal(err)
		}
		a, err := cfg.agreements()
		if err != nil {
			t.Fatal(err)
		}
		made := a[holder{eid.Test, eid.Itsme, "", ""}]
		for _, use := range []string{"sign", "decrypt"} {
			if _, ok := made.ends[use]; ok != x.ends[use] {
				t.Errorf("%s: ends of %s: %v", name, use, made.ends)
			}
		}
		if said := string(made.now.Data); strings.HasPrefix(name, "unencrypted") != (strings.Contains(said, `"unencrypted":true`) && strings.Contains(said, `"old_device":true`)) {
			t.Errorf("%s: the switches are not passed on, or are on", name)
		}
	}
}
