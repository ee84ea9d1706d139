package web

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"eidgate/eid"
)

func TestLanguagesSayTheSameThings(t *testing.T) {
	t.Parallel()
	w, err := NewWords()
	if err != nil {
		t.Fatal(err)
	}
	place := regexp.MustCompile(`\{[a-z]+\}`)
	forbidden := regexp.MustCompile(`(?i)\b(error occurred|invalid|illegal|forbidden|failed to|oops|sorry|please|technical problem|timeout|IdP)\b`)
	for _, lang := range w.Languages() {
		if a, b := slices.Sorted(maps.Keys(w.all["en"])), slices.Sorted(maps.Keys(w.all[lang])); !slices.Equal(a, b) {
			t.Errorf("%s has other keys than en", lang)
		}
		for key, text := range w.all[lang] {
			a, b := place.FindAllString(w.all["en"][key], -1), place.FindAllString(text, -1)
			slices.Sort(a)
			slices.Sort(b)
			if !slices.Equal(slices.Compact(a), slices.Compact(b)) {
				t.Errorf("%s %s has other places than en: %v, %v", lang, key, b, a)
			}
			if bad := forbidden.FindString(text); bad != "" {
				t.Errorf("%s %s says %q", lang, key, bad)
			}
		}
	}
	for r, info := range eid.Reasons {
		if _, ok := w.all["en"][info.Text]; !ok {
			t.Errorf("reason %s has no sentence %s", r, info.Text)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	w, err := NewWords()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ accept, asked, want string }{
		{"", "", "en"}, {"sv-SE,sv;q=0.9", "", "sv"}, {"en", "sv", "sv"}, {"en", "se", "sv"}, {"xx", "", "en"},
		{strings.Repeat("sv,", 200), "", "sv"}, {"\x00", "zz", "en"},
	} {
		if got := w.Choose(c.accept, c.asked); got != c.want {
			t.Errorf("Choose(%.20q, %q) = %s, want %s", c.accept, c.asked, got, c.want)
		}
	}
}
