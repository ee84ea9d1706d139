package hosted

import (
	"testing"

	"eidgate/web"
)

// TestOwnAddressesAreNotKept: what leads one browser somewhere stays in no
// memory, and what all are shown is drawn once.
func TestOwnAddressesAreNotKept(t *testing.T) {
	t.Parallel()
	static, err := web.NewStatic()
	if err != nil {
		t.Fatal(err)
	}
	words, err := web.NewWords()
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Static: static, Words: words})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Layout)
		kept   bool
	}{
		"everybody's":           {func(*Layout) {}, true},
		"a handle":              {func(l *Layout) { l.Query = "?w=secret" }, false},
		"an eID's address":      {func(l *Layout) { l.AtOnce = "https://eid.example/?state=secret" }, false},
		"where a session leads": {func(l *Layout) { l.Later, l.Leads = 10, "https://shop.example/?code=secret" }, false},
	} {
		l := Layout{words: words, Lang: "en", Title: name, View: "wait"}
		c.change(&l)
		if _, err := p.draw(&l); err != nil {
			t.Fatal(err)
		}
		if _, kept := p.layouts.Get(l); kept != c.kept {
			t.Errorf("%s: kept %v, want %v", name, kept, c.kept)
		}
	}
}
