package natid_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"eidgate/natid"
)

// Parse never panics, and what it normalised means the same when read again.
func FuzzParse(f *testing.F) {
	for country, list := range vectors {
		for _, v := range list {
			f.Add(country, v.in)
		}
	}
	f.Add("SE", "-")
	f.Add("FI", "\xff\xfe10170-900J")
	f.Fuzz(func(t *testing.T, country, s string) {
		first, err := natid.Parse(country, s, now)
		if err != nil {
			if len(s) > 2 && strings.Contains(err.Error(), s) {
				t.Fatalf("the error quotes its input: %v", err)
			}
			return
		}
		again, err := natid.Parse(country, first.Normalized, now)
		if err != nil || again != first {
			t.Fatalf("Parse(%s, %q) = %#v, read again: %#v, %v", country, s, first, again, err)
		}
	})
}

// Nothing of a number or a birth date reaches a log.
func TestNothingPersonalInLogs(t *testing.T) {
	t.Parallel()
	info, err := natid.Parse("SE", "198001022394", now)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		log := slog.New(h)
		log.Info("x", "info", info, "pointer", &info, "date", info.BirthDate, "date_pointer", &info.BirthDate)
		log.Info("x", "err", fmt.Errorf("read %v: %w", info, natid.ErrDate))
	}
	for _, canary := range []string{"1980", "2394", "-01-02"} {
		if strings.Contains(strings.ReplaceAll(out.String(), now.Format("2006"), ""), canary) {
			t.Errorf("log holds %q:\n%s", canary, out.String())
		}
	}
}
