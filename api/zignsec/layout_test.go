package zignsec

import (
	"net/url"
	"strings"
	"testing"
)

// TestLayout: a request chooses a theme before its configuration, and that before
// the account; what is none of the account's is noted and passed over.
func TestLayout(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		for _, c := range []struct {
			layout, configid, want string
			noted                  bool
		}{
			{"", "", "Layout1", false},
			{"Layout4", "", "Layout4", false},
			{"Layout1", "c0000000-0000-4000-8000-000000000001", "Layout1", false},
			{"", "c0000000-0000-4000-8000-000000000001", "Layout4", false},
			{"layout4", "", "Layout1", true},
			{"Layout5", "c0000000-0000-4000-8000-000000000001", "Layout4", true},
		} {
			id := w.setup("sbid-another", url.Values{"target": {"https://shop.example/return"}, "layout": {c.layout}, "configid": {c.configid}}).ID
			notes, err := w.store.Notes(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			noted := false
			for _, n := range notes {
				noted = noted || strings.HasPrefix(n.Text, "layout has no effect")
			}
			if got := w.spec(id).Layout; got != c.want || noted != c.noted {
				t.Errorf("layout %q of %q: %q, noted: %t", c.layout, c.configid, got, noted)
			}
		}
	})
}
