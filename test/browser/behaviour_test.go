package browser

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"eidgate/internal/need"
	"eidgate/test/rig"
)

// second opens another tab of the same browser.
func second(t *testing.T, ctx context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// TestTwoTabs: both follow the same login; one goes back, the other says so.
// Another login in a third tab knows nothing of them.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	a := tab(t)
	b, c := second(t, a), second(t, a)
	at := party(t, "localhost")
	id, page := session(w, "sbid-another", at+"/done")
	_, own := session(w, "sbid-another", at+"/done")
	do(a, t, chromedp.Navigate(page))
	until(a, t, begun)
	do(b, t, chromedp.Navigate(page))
	until(b, t, begun)
	do(c, t, chromedp.Navigate(own))
	until(c, t, begun)
	phone(t, w, id, "approve")
	back, tells := `location.pathname === "/done"`, title("Klart i en annan flik")
	until(a, t, back+" || "+tells)
	until(b, t, back+" || "+tells)
	if first, second := eval[bool](a, t, back), eval[bool](b, t, back); first == second {
		t.Errorf("went back: %v and %v", first, second)
	}
	until(c, t, begun)
}

// TestBackAndReload: neither starts anything anew, while it runs or after.
func TestBackAndReload(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	at := party(t, "localhost")
	id, page := session(w, "sbid-another", at+"/done")
	do(ctx, t, chromedp.Navigate(page))
	until(ctx, t, begun)
	do(ctx, t, chromedp.Reload())
	until(ctx, t, begun)
	do(ctx, t, chromedp.Navigate(at+"/done"), chromedp.NavigateBack())
	until(ctx, t, begun)
	if n := len(w.Orders()); n != 1 {
		t.Errorf("%d orders", n)
	}
	phone(t, w, id, "approve")
	until(ctx, t, `location.pathname === "/done"`)
	do(ctx, t, chromedp.Navigate(page))
	until(ctx, t, `location.pathname === "/done"`)
	if n := len(w.Orders()); n != 0 {
		t.Errorf("%d orders after the end", n)
	}
}

func offline(off bool) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		_, err := cdp.Call(ctx, tg, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
			MatchedNetworkConditions: []*network.Conditions{{Offline: off, DownloadThroughput: -1, UploadThroughput: -1}}})
		return err
	})
}

// TestNetworkLost: the page says so after two failures, and recovers by
// itself.
func TestNetworkLost(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	_, page := session(w, "sbid-another", "http://localhost/done")
	do(ctx, t, chromedp.Navigate(page))
	until(ctx, t, begun)
	do(ctx, t, offline(true))
	line := `document.querySelector("[data-poll]").firstElementChild.textContent === `
	until(ctx, t, line+`"Ingen anslutning. Vi fortsätter försöka."`)
	do(ctx, t, offline(false))
	until(ctx, t, line+`"Öppna BankID-appen för att fortsätta."`)
}

// TestPollsThatAreRefused: a page that asks too often asks later, and does not
// say that there is no connection.
func TestPollsThatAreRefused(t *testing.T) {
	t.Parallel()
	to, err := url.Parse(gallery(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy, polls := httputil.NewSingleHostReverseProxy(to), make(chan time.Time, 3)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/status") && len(polls) < cap(polls) {
			if polls <- time.Now(); len(polls) < cap(polls) {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	ctx := tab(t)
	do(ctx, t, chromedp.Navigate(s.URL+"/hurry/"))
	eval[bool](ctx, t, `(() => {
		const box = document.querySelector("[data-poll]");
		window.said = [];
		new MutationObserver(() => said.push(box.textContent)).observe(box, { childList: true, characterData: true, subtree: true });
		return true;
	})()`)
	until2(t, "three polls", func() bool { return len(polls) == cap(polls) })
	first, second, third := <-polls, <-polls, <-polls
	if a, b := second.Sub(first), third.Sub(second); b < a*3/2 {
		t.Errorf("asked again after %s and %s", a, b)
	}
	if said := eval[string](ctx, t, `said.join()`); said != "" {
		t.Errorf("the page has said %q", said)
	}
}

// TestCodeIsReadable: the code can be read from the screen in the dark, with
// forced colours, at 320 px, enlarged, and when the page runs from right to
// left.
func TestCodeIsReadable(t *testing.T) {
	t.Parallel()
	need.Program(t, "zbarimg")
	ctx := tab(t)
	read := func(name string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), name+".png")
		until2(t, name+": zbarimg reads the code", func() bool { // a picture is painted some time after it is there
			png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err == nil {
				err = os.WriteFile(file, png, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), "zbarimg", "--quiet", "--raw", file).Output()
			return err == nil && bytes.HasPrefix(out, []byte("bankid.67df3917"))
		})
		shot(ctx, t, "code-"+name)
	}
	forced := chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		_, err := cdp.Call(ctx, tg, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "forced-colors", Value: "active"}, {Name: "prefers-color-scheme", Value: "dark"}}})
		return err
	})
	do(ctx, t, chromedp.EmulateViewport(320, 900), scheme(true), chromedp.Navigate(gallery(t)+"/hurry/"))
	until(ctx, t, begun)
	read("dark")
	do(ctx, t, forced)
	read("forced")
	eval[bool](ctx, t, `(document.documentElement.dir = "rtl") === "rtl"`)
	if over := eval[int](ctx, t, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		t.Errorf("from right to left the page stands out by %d px", over)
	}
	read("rtl")
	do(ctx, t, chromedp.EmulateViewport(640, 320), click("[data-enlarge]"))
	until(ctx, t, `document.querySelector("dialog.big").open`)
	box := eval[[]float64](ctx, t, `(r => [r.left, r.top, innerWidth - r.right, innerHeight - r.bottom])(document.querySelector("dialog.big img").getBoundingClientRect())`)
	for _, side := range box {
		if side < 0 {
			t.Errorf("the large code stands out: %v", box)
		}
	}
	read("large")
	do(ctx, t, chromedp.KeyEvent("\x1b"))
	until(ctx, t, `!document.querySelector("dialog.big").open && document.activeElement.hasAttribute("data-enlarge")`)
	do(ctx, t, chromedp.EmulateViewport(640, 200))
	until(ctx, t, `document.querySelector("[data-part]").textContent !== ""`) // less than 85 % of the code is in view
}

// TestLargeText: with text of twice the size nothing stands out, on a tablet and
// on a small phone.
func TestLargeText(t *testing.T) {
	t.Parallel()
	base, ctx := gallery(t), tab(t)
	for _, name := range []string{"choice", "long", "number", "markdown", "hurry", "bank-down", "away", "landing"} {
		do(ctx, t, chromedp.Navigate(base+"/"+name+"/"))
		for _, width := range []int64{768, 320} {
			do(ctx, t, chromedp.EmulateViewport(width, 900))
			eval[bool](ctx, t, `(document.documentElement.style.fontSize = "200%") === "200%"`)
			if out := eval[string](ctx, t, `[...document.querySelectorAll(".page *:not(.skip)")].filter(e => e.getBoundingClientRect().right > innerWidth)
				.map(e => e.outerHTML.slice(0, 100)).join("\n")`); out != "" {
				t.Errorf("%s at %d px: these stand out\n%s", name, width, out)
			}
			shot(ctx, t, fmt.Sprintf("%s-%d-text", name, width))
		}
	}
}

// TestTargets: what is pressed is as high as a finger is wide; links in a text
// are as high as its line.
func TestTargets(t *testing.T) {
	t.Parallel()
	base, ctx := gallery(t), tab(t)
	for _, page := range []string{"choice/", "number/", "hurry/", "bank-down/", "away/", "elsewhere/", "hurry/frame?big=1"} {
		do(ctx, t, chromedp.EmulateViewport(390, 900), chromedp.Navigate(base+"/"+page))
		if low := eval[string](ctx, t, `[...document.querySelectorAll("a:not(.skip), button, select, input, summary")]
			.filter(e => e.getClientRects().length > 0 && e.getBoundingClientRect().height < (e.closest("li, aside, .hint") ? 24 : 44))
			.map(e => e.outerHTML.slice(0, 100)).join("\n")`); low != "" {
			t.Errorf("%s: these are low\n%s", page, low)
		}
	}
}

// TestKeyboard: signing is done with the keyboard alone, and a click that
// comes too early does nothing.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	ctx := tab(t)
	do(ctx, t, chromedp.Navigate(gallery(t)+"/markdown/"))
	until(ctx, t, `document.querySelector("form[data-guard=off]") !== null`)
	var order []string
	for range 9 {
		do(ctx, t, chromedp.KeyEvent("\t"))
		order = append(order, eval[string](ctx, t, `(e => e.className === "doc" ? "text" : e.value || e.textContent || e.id)(document.activeElement)`))
	}
	want := "Skip to content|en|Show|Choose another way|text|same|other|Cancel and go back to Demo shop"
	if got := strings.Join(order[:8], "|"); got != want {
		t.Errorf("the focus goes\n%s, want\n%s", got, want)
	}
	early := eval[bool](ctx, t, `(f => { f.dataset.guard = "on"; const e = new Event("submit", {cancelable: true}); f.dispatchEvent(e); return e.defaultPrevented })(document.querySelector("form[data-guard]"))`)
	if !early {
		t.Error("a form that has just come into view works")
	}
}

// TestSearchIsForNames: what stands beside a bank's name is not searched.
func TestSearchIsForNames(t *testing.T) {
	t.Parallel()
	ctx := tab(t)
	do(ctx, t, chromedp.Navigate(gallery(t)+"/banks/"), chromedp.SendKeys(chromedp.CSS("input[type=search]"), "bereikbaar"))
	until(ctx, t, `document.querySelector("[data-search]").previousElementSibling.textContent === "Geen bank heet zo"`)
}

// TestHelpComesLate: three seconds after the app has not opened.
func TestHelpComesLate(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	_, page := session(w, "sbid", "http://localhost/done")
	do(ctx, t, agent(iphone), launched, chromedp.Navigate(page))
	until(ctx, t, `document.querySelector("[data-late]")?.hidden === true`)
	from := time.Now()
	until(ctx, t, `document.querySelector("[data-late]")?.hidden === false`)
	if d := time.Since(from); d > 10*time.Second {
		t.Errorf("help came after %s", d)
	}
}
