package browser

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"eidgate/internal/need"
	"eidgate/test/rig"
)

const (
	iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
	inapp  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/480.0.0.0]"
)

// axe is the text of axe-core, which npm fetches into a folder of the test
// binary.
var axe = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "eidgate-axe-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, name := range []string{"package.json", "package-lock.json"} {
		raw, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), raw, 0o600)
		}
		if err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	return string(raw), err
})

func needAxe(t *testing.T) string {
	t.Helper()
	need.Program(t, "npm")
	text, err := axe()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func agent(ua string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		_, err := cdp.Call(ctx, tg, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: ua})
		return err
	})
}

// first lets a script run before those of each page that is opened.
func first(js string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		_, err := cdp.Call(ctx, tg, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: js})
		return err
	})
}

// launched lets pages believe that they have opened the app before, so that
// they stay.
var launched = first(`Storage.prototype.getItem = () => document.querySelector("a[data-launch]")?.dataset.launch ?? null`)

func scheme(dark bool) chromedp.Action[chromedp.Void] {
	value := "light"
	if dark {
		value = "dark"
	}
	return chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		_, err := cdp.Call(ctx, tg, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}})
		return err
	})
}

// findings is what axe has against the page: by all of its rules, or by those
// that colours alone decide.
func findings(ctx context.Context, t *testing.T, colours bool) string {
	t.Helper()
	only := `["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]`
	if colours {
		only = `{type:"rule",values:["color-contrast"]}`
	}
	return eval[string](ctx, t, `axe.run(document,{runOnly:`+only+`}).then(r=>
		r.violations.map(v=>v.id+": "+v.help+" "+v.nodes.map(n=>n.html).join(" ")).join("\n"))`)
}

// inspect looks at the page that is open: nothing may stand out sideways at
// any width, and axe must find nothing, in light and dark. Promises, of which
// axe is made, need a page with scripts; those of the page do not run again.
func inspect(ctx context.Context, t *testing.T, name, axe string) {
	t.Helper()
	do(ctx, t, noScripts(false))
	if n := eval[int](ctx, t, `document.querySelectorAll("h1").length`); n != 1 {
		t.Errorf("%s has %d first headings", name, n)
	}
	if !eval[bool](ctx, t, `typeof axe === "object"`) {
		eval[bool](ctx, t, axe+";true")
	}
	for _, dark := range []bool{false, true} {
		for _, width := range []int64{1280, 390, 320} {
			if width == 390 && os.Getenv("EIDGATE_SHOTS") == "" {
				continue
			}
			do(ctx, t, chromedp.EmulateViewport(width, 900), scheme(dark))
			if over := eval[int](ctx, t, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
				t.Errorf("%s at %d px stands out by %d px", name, width, over)
			}
			shot(ctx, t, fmt.Sprintf("%s-%d-%v", name, width, map[bool]string{false: "light", true: "dark"}[dark]))
		}
		if found := findings(ctx, t, dark); found != "" {
			t.Errorf("%s (dark: %v): axe says\n%s", name, dark, found)
		}
	}
}

func shot(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("EIDGATE_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		t.Error(err)
	}
}

// clock moves the sandbox on.
func clock(t *testing.T, w *rig.Dev, by string) {
	t.Helper()
	if status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/clock", "application/json", `{"advance":"`+by+`"}`); status != 200 {
		t.Fatalf("clock: %d %v", status, out)
	}
}

func queue(t *testing.T, w *rig.Dev, path, body string) {
	t.Helper()
	if status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/"+path, "application/json", body); status != 200 {
		t.Fatalf("%s: %d %v", path, status, out)
	}
}

const begun = `document.querySelector("[data-qr]") !== null`

// title is the condition that the page has this heading.
func title(text string) string {
	return fmt.Sprintf("document.querySelector('h1')?.textContent === %q", text)
}

// TestPages brings each page about and looks at it.
func TestPages(t *testing.T) {
	t.Parallel()
	axe, shared := needAxe(t), rig.StartDev(t, "memory")
	sign := []string{"personalnumber", "199001012385", "userVisibleData", "SSBidXkgb25lIGxhbXAgZm9yIDEwMCBrci4KClRoZSBsYW1wIGlzIGJsdWUu"}
	for name, bring := range map[string]func(t *testing.T, ctx context.Context, w *rig.Dev, en []string){
		"front": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			_, page := session(w, "sbid-another", "http://localhost/done", en...)
			do(ctx, t, noScripts(true), chromedp.Navigate(page))
		},
		"sign": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			_, page := session(w, "sbid-sign", "http://localhost/done", append(sign, en...)...)
			do(ctx, t, chromedp.Navigate(page))
			until(ctx, t, `document.querySelector(".doc") !== null`)
		},
		"qr": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			_, page := session(w, "sbid-another", "http://localhost/done", en...)
			do(ctx, t, chromedp.Navigate(page))
			until(ctx, t, begun)
		},
		"qr-started": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			id, page := session(w, "sbid-another", "http://localhost/done", en...)
			do(ctx, t, chromedp.Navigate(page))
			phone(t, w, id, "open")
			until(ctx, t, `document.querySelector("[data-qr]") === null && document.querySelector("[data-poll]") !== null`)
		},
		"app": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			_, page := session(w, "sbid", "http://localhost/done", en...)
			do(ctx, t, agent(iphone), launched, chromedp.Navigate(page))
			until(ctx, t, `document.querySelector("a[data-launch]") !== null`)
		},
		"inapp": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			_, page := session(w, "sbid", "http://localhost/done", en...)
			do(ctx, t, agent(inapp), noScripts(true), chromedp.Navigate(page))
			until(ctx, t, `document.querySelector("section.notice") !== null`)
		},
		"rest": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			_, page := session(w, "sbid-another", "http://localhost/done", en...)
			do(ctx, t, chromedp.Navigate(page))
			until(ctx, t, begun)
			clock(t, w, "40s")
			until(ctx, t, `document.querySelector("button[name=renew]") !== null || `+begun)
			for eval[bool](ctx, t, `document.querySelector("button[name=renew]") === null`) {
				clock(t, w, "31s")
				<-time.After(300 * time.Millisecond)
			}
		},
		"retry": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			queue(t, w, "faults", `{"target":"bankidse","kind":"http","value":"503","times":1}`)
			_, page := session(w, "sbid-another", "http://localhost/done", en...)
			do(ctx, t, chromedp.Navigate(page))
			until(ctx, t, `document.querySelector("form[action^=start]:not([data-auto]) button") !== null`)
		},
		"time": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			_, page := session(w, "sbid-sign", "http://localhost/done", append(sign, en...)...)
			clock(t, w, "28m30s")
			do(ctx, t, chromedp.Navigate(page))
			until(ctx, t, `document.querySelector("dialog[data-left]").open && document.querySelector("dialog[data-left] p").textContent === "Less than 2 minutes left."`)
		},
		"cancelled": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			_, page := session(w, "sbid-another", "", en...)
			do(ctx, t, chromedp.Navigate(page))
			until(ctx, t, begun)
			do(ctx, t, click("form[action^=cancel] button"))
			until(ctx, t, title("You stopped"))
		},
		"expired": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			_, page := session(w, "sbid-another", "", en...)
			clock(t, w, "31m")
			until2(t, "the end", func() bool { do(ctx, t, chromedp.Navigate(page)); return eval[bool](ctx, t, title("The time ran out")) })
		},
		"done": func(t *testing.T, ctx context.Context, w *rig.Dev, en []string) {
			id, page := session(w, "sbid-another", "", en...)
			do(ctx, t, chromedp.Navigate(page))
			until(ctx, t, begun)
			phone(t, w, id, "approve")
			until(ctx, t, title("Done"))
		},
		"notfound": func(t *testing.T, ctx context.Context, w *rig.Dev, _ []string) {
			do(ctx, t, chromedp.Navigate(w.URLs["public"]+"/v2/Hosted/00000000-0000-4000-8000-000000000000/sbid/"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := shared
			if name == "rest" || name == "retry" || name == "time" || name == "expired" { // these move the clock, or add faults
				w = rig.StartDev(t, "memory")
			}
			ctx := tab(t)
			do(ctx, t, chromedp.Navigate("about:blank"))
			bring(t, ctx, w, []string{"language", "en"})
			inspect(ctx, t, name, axe)
		})
	}
}

// TestLanguages shows the fullest page in each language, narrow.
func TestLanguages(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	for _, lang := range []string{"en", "sv", "nb", "da", "nl", "fr", "de", "fi"} {
		t.Run(lang, func(t *testing.T) {
			_, page := session(w, "sbid-another", "http://localhost/done", "language", lang)
			do(ctx, t, chromedp.EmulateViewport(320, 900), chromedp.Navigate(page))
			until(ctx, t, begun)
			if got := eval[string](ctx, t, `document.documentElement.lang`); got != lang {
				t.Errorf("the page is in %s", got)
			}
			if over := eval[int](ctx, t, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
				t.Errorf("stands out by %d px", over)
			}
			if text := eval[string](ctx, t, `document.body.innerText`); strings.Contains(text, "{") || strings.Contains(text, "bankidse.") {
				t.Errorf("a word is missing:\n%s", text)
			}
			shot(ctx, t, "language-"+lang)
		})
	}
}

// TestNothingForeignIsLoaded lists what pages refer to: all of it is ours.
func TestNothingForeignIsLoaded(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	_, page := session(w, "sbid-another", "http://localhost/done")
	for _, at := range []string{w.URLs["public"], w.URLs["demo"], w.URLs["control"] + "/phone", page} {
		do(ctx, t, chromedp.Navigate(at))
		all := eval[[]string](ctx, t, `performance.getEntriesByType("resource").map(e => e.name)`)
		for _, one := range all {
			if u, err := url.Parse(one); err != nil || u.Hostname() != "localhost" && u.Scheme != "data" {
				t.Errorf("%s loads %s", at, one)
			}
		}
	}
}
