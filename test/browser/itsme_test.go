package browser

import (
	"testing"

	"github.com/chromedp/chromedp"

	"eidgate/test/rig"
)

// TestItsme: a person goes to itsme, confirms in the app, and is back at the
// shop; with scripts and without.
func TestItsme(t *testing.T) {
	t.Parallel()
	withAndWithout(t, func(t *testing.T, scripts bool) {
		w := rig.StartDev(t, "memory")
		ctx := tab(t)
		at := party(t, "localhost")
		id, page := session(w, "itsme", at+"/done", "language", "nl")
		do(ctx, t, chromedp.Navigate("about:blank"), noScripts(!scripts), chromedp.Navigate(page))
		until(ctx, t, `document.querySelector("form[action^=start] button") !== null`)
		shot(ctx, t, "itsme-front")
		if len(w.Orders()) > 0 {
			t.Error("a login was begun because a page was fetched")
		}
		press(ctx, t, "form[action^=start] button", `document.querySelector("[data-testid=person-florent]") !== null`)
		shot(ctx, t, "itsme-who")
		press(ctx, t, "[data-testid=person-florent]", `document.querySelector("[data-testid=approve]") !== null`)
		shot(ctx, t, "itsme-confirm")
		press(ctx, t, "[data-testid=approve]", `location.pathname === "/done" && location.search.includes("relaystate=`+id+`")`)
		got := w.Result(id)
		if who, _ := got["identity"].(map[string]any); who == nil || who["LastName"] != "Verschueren" || who["PersonalNumber"] != "80010299946" || got["binding"] != "strong" {
			t.Errorf("result %v", got)
		}
	})
}

func TestItsmeFromAFrame(t *testing.T) {
	t.Parallel()
	fromAFrame(t, "itsme", "form[action^=start] button", "[data-testid=person-florent]", "[data-testid=approve]")
}
