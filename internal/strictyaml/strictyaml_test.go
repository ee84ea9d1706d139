package strictyaml_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/internal/strictyaml"
)

type sample struct {
	Server struct {
		URL    string   `yaml:"public_url"`
		Listen []string `yaml:"listen"`
	} `yaml:"server"`
	Webhooks *struct {
		Max int `yaml:"max"`
	} `yaml:"webhooks"`
	Keep time.Duration     `yaml:"keep"`
	On   bool              `yaml:"on"`
	Any  map[string]string `yaml:"any"`
	Till time.Time         `yaml:"till"`
}

func lines(d *strictyaml.Document) []string {
	var out []string
	for _, p := range d.Sorted() {
		out = append(out, p.String())
	}
	return out
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"fine":  {"server:\n  public_url: https://x\n  listen: [a, b]\nkeep: 15m\nany: {a: b}\n", nil},
		"empty": {"", nil},
		"all": {"server:\n  public_ur: x\n  listen: 3\nwebhoks: {}\nkeep: soon\non: perhaps\nwebhooks: {max: many}\n", []string{
			`2:3  server.public_ur: unknown key. Did you mean "public_url"?`,
			`3:11  server.listen: must be a list`,
			`4:1  webhoks: unknown key. Did you mean "webhooks"?`,
			`5:7  keep: "soon" is not a time; write it like 90s, 15m or 24h`,
			`6:5  on: "perhaps" is not true or false`,
			`7:17  webhooks.max: "many" is not a whole number`,
		}},
		"far":    {"zzzzzz: 1\n", []string{`1:1  zzzzzz: unknown key; known here: any, keep, on, server, till, webhooks`}},
		"twice":  {"on: true\non: false\n", []string{`2:1  on: stands here a second time`}},
		"again":  {"any:\n  a: b\n  a: c\n", []string{`3:3  any.a: stands here a second time`}},
		"a tab":  {"server:\n\tpublic_url: x\n", []string{`2:1  not readable as YAML: found character that cannot start any token`}},
		"dates":  {"till: 2027-01-31T00:00:00Z\n", nil},
		"days":   {"till: 2027-01-31\n", []string{`1:7  till: "2027-01-31" is not a date with a time; write it like 2027-01-31T00:00:00Z`}},
		"keys":   {"till: {a: b}\n", []string{`1:7  till: "" is not a date with a time; write it like 2027-01-31T00:00:00Z`}},
		"two":    {"on: true\n---\nkeep: 15m\n", []string{`2:1  a second document begins here, and would not be read; take away the line with ---`}},
		"ended":  {"---\non: true\n...\n", nil},
		"broken": {"on: true\n---\n\tx: 1\n", []string{`3:1  not readable as YAML: found character that cannot start any token`}},
		"scalar": {"server: x\n", []string{`1:9  server: must have keys below it`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s sample
			if diff := cmp.Diff(c.want, lines(strictyaml.Decode([]byte(c.in), &s))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNotForTerminals: the line of a file that is no YAML is shown, and cannot
// steer the terminal that it is shown on.
func TestNotForTerminals(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		in, source   string
		line, column int
	}{
		{"on: true\nany:\n  a: \x1b[31mred\n", "  a: \ufffd[31mred", 3, 6},
		{"\xff\x00k\x9b\n", "\ufffd\ufffdk\ufffd", 1, 1},
		{"on: true\nkeep: \xe4\n", "keep: \ufffd", 2, 7},
		{"kéy: [ü\n\tx: ]\n", " x: ]", 2, 1},
	} {
		var s sample
		all := strictyaml.Decode([]byte(x.in), &s).Problems
		if len(all) != 1 || all[0].Source != x.source || all[0].Line != x.line || all[0].Column != x.column {
			t.Errorf("%q: %+v", x.in, all)
		}
	}
}

func TestDates(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Time{"till: 2027-01-31T01:00:00+01:00\n": time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC), "till: \"2027-01-31T00:00:00Z\"\n": time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)} {
		var s sample
		if d := strictyaml.Decode([]byte(in), &s); len(d.Problems) != 0 || !s.Till.Equal(want) {
			t.Errorf("%s: %v, %v", in, s.Till, lines(d))
		}
	}
}

func TestReportFindsTheNearestPlace(t *testing.T) {
	t.Parallel()
	var s sample
	d := strictyaml.Decode([]byte("on: true\nserver:\n  listen: []\n"), &s)
	d.Report("server.public_url", "is required")
	d.Warn("on", "is dangerous")
	want := []string{"1:1  on: is dangerous  [warning]", "2:1  server.public_url: is required"}
	if diff := cmp.Diff(want, lines(d)); diff != "" {
		t.Error(diff)
	}
}
