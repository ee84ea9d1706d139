package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"eidgate/test/rig"
)

// TestThemes: a request chooses how its pages look, in the light and in the dark,
// and everybody can read them. The logo is one request more, of four.
func TestThemes(t *testing.T) {
	t.Parallel()
	axe := needAxe(t)
	w := rig.StartDev(t, "memory")
	for layout, c := range map[string]struct{ button, dark, links string }{
		"lamp":    {"rgb(138, 75, 0)", "rgb(171, 127, 74)", "Help Accessibility Privacy"},
		"ink":     {"rgb(43, 43, 43)", "rgb(43, 43, 43)", ""},
		"nothing": {"rgb(31, 79, 130)", "rgb(140, 188, 240)", ""},
	} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			ctx := tab(t)
			for selector, there := range map[string]string{"idin": `document.querySelector("button[name=issuer]") !== null`, "sbid-another": begun} {
				_, page := session(w, selector, "http://localhost/done", "language", "en", "layout", layout)
				do(ctx, t, chromedp.Navigate(page), scheme(false))
				until(ctx, t, there)
				inspect(ctx, t, "theme-"+layout+"-"+selector, axe)
				if n := eval[int](ctx, t, `performance.getEntriesByType("resource").filter(e => /static/.test(e.name)).length`); n > 3 {
					t.Errorf("%d files", n)
				}
			}
			const button = `getComputedStyle(document.querySelector("a")).color`
			for _, dark := range []bool{false, true} {
				do(ctx, t, scheme(dark))
				if got, want := eval[string](ctx, t, button), map[bool]string{false: c.button, true: c.dark}[dark]; got != want {
					t.Errorf("a link is %s, want %s (dark: %v)", got, want, dark)
				}
			}
			if got := strings.Join(eval[[]string](ctx, t, `[...document.querySelectorAll("footer nav a")].map(a => a.textContent)`), " "); got != c.links {
				t.Errorf("below stands %q", got)
			}
			if layout == "lamp" && !eval[bool](ctx, t, `document.querySelector("header img").naturalWidth === 80`) {
				t.Error("the logo is not there")
			}
		})
	}
}
