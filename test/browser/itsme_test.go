package browser

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"eidgate/test/rig"
)

// TestItsme: a person goes to itsme, confirms in the app, and is back at the
// shop; with scripts and without.
func TestItsme(t *testing.T) {
	t.Parallel()
	for name, scripts := range map[string]bool{"with scripts": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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
}

// TestItsmeFromAFrame: itsme does not let itself be framed, so a tab of its own
// leads there. Where the frame's cookies are kept apart, the tab is another
// browser, and the person says that it was them.
func TestItsmeFromAFrame(t *testing.T) {
	t.Parallel()
	for name, host := range map[string]string{"same site": "localhost", "another site": "127.0.0.1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := rig.StartDev(t, "memory")
			ctx := tab(t)
			at := party(t, host)
			id, page := session(w, "itsme", at+"/done", "language", "en")
			do(ctx, t, chromedp.Navigate(at+"/frame?at="+url.QueryEscape(page)))
			frame := another(ctx, t, "the frame", func(i *target.Info) bool { return i.Type == "iframe" && strings.Contains(i.URL, id) })
			press(frame, t, "form[action^=start] button", `document.querySelector("a.button[target=_blank]") !== null`)
			shot(ctx, t, "itsme-frame")
			do(frame, t, chromedp.Click(chromedp.CSS("a.button")))
			opened := another(ctx, t, "a tab of itsme", func(i *target.Info) bool { return i.Type == "page" && strings.HasPrefix(i.URL, w.URLs["issuers"]) })
			press(opened, t, "[data-testid=person-florent]", `document.querySelector("[data-testid=approve]") !== null`)
			do(opened, t, chromedp.Click(chromedp.CSS("[data-testid=approve]")))
			if host != "localhost" {
				until(opened, t, `document.querySelector("button[name=mine]") !== null`)
				shot(opened, t, "itsme-landing")
				press(opened, t, "button[name=mine]", `document.querySelector("h1").textContent === "Go back to where you began"`)
			}
			until(ctx, t, `got.length > 0`)
			got := w.Result(id)
			want := map[bool]string{true: "strong", false: "weak"}[host == "localhost"]
			if got["binding"] != want || got["identity"] == nil {
				t.Errorf("binding %v, want %s: %v", got["binding"], want, got)
			}
		})
	}
}
