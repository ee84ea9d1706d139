package web

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"eidgate/eid"
)

func TestLanguagesSayTheSameThings(t *testing.T) {
	t.Parallel()
	w, err := NewWords()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"en", "da", "de", "fi", "fr", "nb", "nl", "sv"}; !slices.Equal(w.Languages(), want) {
		t.Errorf("languages: %v, want %v", w.Languages(), want)
	}
	place := regexp.MustCompile(`\{[a-z]+\}`)
	forbidden := regexp.MustCompile(`(?i)\b(error occurred|invalid|illegal|forbidden|failed to|oops|sorry|please|technical problem|timeout|session|token|IdP|500)\b`)
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
			if strings.TrimSpace(text) != text || text == "" || strings.ContainsAny(text, "<>&\"") {
				t.Errorf("%s %s is empty, or has mark-up or blanks around it: %q", lang, key, text)
			}
		}
	}
	for r, info := range eid.Reasons {
		for _, key := range []string{info.Text, "end." + info.Outcome + ".title"} {
			if _, ok := w.all["en"][key]; !ok {
				t.Errorf("reason %s has no sentence %s", r, key)
			}
		}
	}
}

// TestFrenchMarks: in French a blank stands before these marks, at which no line
// may end.
func TestFrenchMarks(t *testing.T) {
	t.Parallel()
	w, err := NewWords()
	if err != nil {
		t.Fatal(err)
	}
	for key, text := range w.all["fr"] {
		if regexp.MustCompile("[^\u00a0\u202f][?!:;]").MatchString(text) {
			t.Errorf("%s may have a mark begin a line: %q", key, text)
		}
	}
}

// equal are sentences that a language says as English does.
var equal = map[string]bool{"de sandbox.label": true, "fr sandbox.label": true, "da ref": true, "da idin.search.one": true, "nb idin.search.one": true, "nl idin.search.one": true, "sv idin.search.one": true,
	"nl app.open": true, "nl app.title": true, "nl foot.help": true, "nl foot.privacy": true,
	"da country.fi": true, "nb country.fi": true, "nl country.fi": true, "sv country.fi": true}

// TestEverySentenceIsTranslated: what reads like English in another language
// was forgotten, unless it is listed.
func TestEverySentenceIsTranslated(t *testing.T) {
	t.Parallel()
	w, err := NewWords()
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range w.Languages()[1:] {
		for key, text := range w.all[lang] {
			if same := text == w.all["en"][key]; same != equal[lang+" "+key] && key != "lang.dir" {
				t.Errorf("%s %s: %q is what English says: %v", lang, key, text, same)
			}
		}
	}
}

// buttons are what is pressed.
var buttons = []string{"back", "cancel", "continue", "more", "time.yes", "lang.show", "qr.here", "qr.close", "app.open", "app.other",
	"app.install", "inapp.copy", "inapp.copied", "rest.new", "elsewhere.go", "problem.again", "bankidse.device.same", "bankidse.device.other"}

// TestButtonsAreShort: 28 characters fit one line of a phone. The name of the
// party comes on top.
func TestButtonsAreShort(t *testing.T) {
	t.Parallel()
	w, err := NewWords()
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range w.Languages() {
		for _, key := range buttons {
			text := strings.TrimSpace(strings.ReplaceAll(w.all[lang][key], "{party}", ""))
			if n := utf8.RuneCountInString(text); n > 28 || n == 0 {
				t.Errorf("%s %s has %d characters: %s", lang, key, n, text)
			}
		}
	}
}

// families are keys that are put together where they are used.
var families = []*regexp.Regexp{
	regexp.MustCompile(`^(needs|method)\.[a-z]+(\.hint)?$`), regexp.MustCompile(`^country\.[a-z]{2}$`),
	regexp.MustCompile(`^(qr|app|rest|counter)\.title$`), regexp.MustCompile(`^(wait|away)\.(title|lead|go)\.[a-z]+$`), regexp.MustCompile(`^want\.[a-z]+$`), regexp.MustCompile(`^end\.[a-z]+\.title$`), regexp.MustCompile(`^bankidse\.device\.[a-z]+$`),
	regexp.MustCompile(`^(notfound|problem|busy|foreign|unreadable)\.title$`),
}

// TestEveryWordIsUsed looks for each key in what shows pages, and in what names
// keys for them.
func TestEveryWordIsUsed(t *testing.T) {
	t.Parallel()
	w, err := NewWords()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, root := range []string{"templates", "hosted", "../eid", "../connector", "../broker"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			raw, err := os.ReadFile(path)
			all.Write(raw)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	text := all.String()
	for key := range w.all["en"] {
		family := slices.ContainsFunc(families, func(r *regexp.Regexp) bool { return r.MatchString(key) })
		if !family && !strings.Contains(text, `"`+key+`"`) && !strings.HasPrefix(key, "bankidse.rfa15") {
			t.Errorf("nothing says %s", key)
		}
	}
	for _, m := range regexp.MustCompile(`\.T "([a-z0-9.]+)"|[^.]say\("([a-z0-9.]+)"\)`).FindAllStringSubmatch(text, -1) {
		if _, ok := w.all["en"][m[1]+m[2]]; !ok {
			t.Errorf("%s is said, and is nowhere", m[1]+m[2])
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
		{"en", "dk", "da"}, {"en", "no", "nb"}, {"en", "nn", "nb"}, {"en", "kl", "da"}, {"no", "", "nb"}, {"nn-NO", "", "nb"},
		{"fr-BE,nl;q=0.8", "", "fr"}, {"de-AT", "", "de"}, {"fi", "SV", "sv"}, {"fy", "", "nl"},
		{strings.Repeat("sv,", 200), "", "sv"}, {"\x00", "zz", "en"},
	} {
		if got := w.Choose(c.accept, c.asked); got != c.want {
			t.Errorf("Choose(%.20q, %q) = %s, want %s", c.accept, c.asked, got, c.want)
		}
	}
}
