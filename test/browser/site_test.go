package browser

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp"

	"eidgate/test/rig"
)

const (
	welcome = `document.querySelector("#result-title")?.textContent === "Welcome, Ada Test"`
	checked = `document.querySelectorAll(".checks .good").length >= 4 && document.querySelector("[data-wait]") === null`
)

// TestShop logs in at the demo shop in each way that it offers. That the login
// succeeds by itself was decided by the button of the start page.
func TestShop(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]func(t *testing.T, ctx context.Context){
		"this tab": func(t *testing.T, ctx context.Context) { do(ctx, t, click("[name=act][value=login]")) },
		"frame": func(t *testing.T, ctx context.Context) {
			do(ctx, t, click("[name=open][value=frame]"), click("[name=act][value=login]"))
		},
		"pop-up": func(t *testing.T, ctx context.Context) {
			do(ctx, t, click("[name=open][value=popup]"), click("[name=act][value=login]"))
		},
		"signature": func(t *testing.T, ctx context.Context) {
			do(ctx, t, click("[name=act][value=sign]"))
			until(ctx, t, `document.querySelector("form[action^=start]:not([data-guard]), form[action^=start][data-guard=off]") !== null`)
			do(ctx, t, click("form[action^=start] button"))
		},
		"without scripts": func(t *testing.T, ctx context.Context) {
			do(ctx, t, noScripts(true), chromedp.Reload(), click("[name=act][value=login]"))
			until(ctx, t, `document.querySelector("form[action^=start] button") !== null`)
			do(ctx, t, click("form[action^=start] button"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := rig.StartDev(t, "memory")
			ctx := tab(t)
			do(ctx, t, chromedp.Navigate(w.URLs["public"]), click(`[name=outcome][value=approve]`))
			until(ctx, t, `document.querySelector(".notice")?.textContent === "The next login: Succeed by itself"`)
			do(ctx, t, click(`a[href*="method=sbid-another"]`))
			until(ctx, t, `document.readyState === "complete" && document.querySelector("[data-login]") !== null`)
			way(t, ctx)
			until(ctx, t, welcome)
			if name == "without scripts" {
				until2(t, "the webhook", func() bool {
					do(ctx, t, chromedp.Reload())
					return eval[bool](ctx, t, checked)
				})
				return
			}
			until(ctx, t, checked)
			do(ctx, t, chromedp.Navigate(w.URLs["public"]))
			until(ctx, t, `document.querySelector("[data-recent] tbody tr")?.cells[2].textContent === "finished" && document.querySelector(".notice") === null`)
		})
	}
}

// TestSitePages looks at the pages for developers, as TestPages does.
func TestSitePages(t *testing.T) {
	t.Parallel()
	axe := needAxe(t)
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	queue(t, w, "queue", `{"outcome":"approve","person":"ada"}`)
	do(ctx, t, chromedp.Navigate(w.URLs["demo"]))
	inspect(ctx, t, "shop", axe)
	do(ctx, t, chromedp.Navigate(w.URLs["demo"]), click("[name=act][value=login]"))
	until(ctx, t, welcome)
	until(ctx, t, checked)
	eval[bool](ctx, t, `document.querySelectorAll("details").forEach(d => d.open = true); true`)
	inspect(ctx, t, "shop-result", axe)
	do(ctx, t, chromedp.Navigate(w.URLs["demo"]+"/done?relaystate=foreign"))
	inspect(ctx, t, "shop-stranger", axe)
	do(ctx, t, chromedp.Navigate(w.URLs["demo"]), click("[name=open][value=frame]"),
		click("[name=act][value=login]"))
	until(ctx, t, `document.querySelector("iframe") !== null`)
	inspect(ctx, t, "shop-frame", axe)
	until2(t, "the frame's login has looked at the queue", func() bool {
		orders := w.Orders()
		return len(orders) > 0 && orders[0]["ladder"] != nil
	})
	do(ctx, t, chromedp.Navigate(w.URLs["public"]))
	queue(t, w, "queue", `{"outcome":"cancel"}`)
	until(ctx, t, `document.querySelector(".notice")?.textContent === "The next login: Cancel"`) // by the page's own script
	for name, path := range map[string]string{"start": "/", "docs-start": "/docs/start", "docs-error": "/docs/errors/INVALID_REQUEST"} {
		do(ctx, t, chromedp.Navigate(w.URLs["public"]+path))
		inspect(ctx, t, name, axe)
		if cut := eval[int](ctx, t, `(e => e ? e.scrollWidth - e.clientWidth : 0)(document.querySelector("[data-recent] .wide"))`); cut > 0 { // at 320 px
			t.Errorf("%s cuts %d px off the list of logins", name, cut)
		}
	}
}
