package jsondepth

import (
	"strings"
	"testing"
)

func TestTooDeep(t *testing.T) {
	t.Parallel()
	nested := func(n int, inside string) string {
		return strings.Repeat(`[{"a":`, n/2) + strings.Repeat("[", n%2) + inside + strings.Repeat("]", n%2) + strings.Repeat("}]", n/2)
	}
	for _, x := range []struct {
		what, text string
		want       bool
	}{
		{"nothing", "", false},
		{"a scalar", "1", false},
		{"the limit", nested(Max, "1"), false},
		{"one more", nested(Max+1, "1"), true},
		{"one more, empty", nested(Max, "[]"), true},
		{"never closed", strings.Repeat("[", Max+1), true},
		{"many beside each other", "[" + strings.Repeat("[[]],", 1000) + "[]]", false},
		{"in a string", nested(Max, `"[[[{{{"`), false},
		{"in a string with quotes", nested(Max, `"\"[\\\"{["`), false},
		{"behind a string that ends in a backslash", nested(Max, `"\\",[`), true},
		{"in single quotes", nested(Max, `'["{'`), false},
		{"behind single quotes", nested(Max, `'"',[`), true},
		{"a string that never ends", nested(Max, `"[`), false},
		{"ends in a backslash", `"\`, false},
	} {
		if got := TooDeep([]byte(x.text)); got != x.want {
			t.Errorf("%s: %v", x.what, got)
		}
	}
}
