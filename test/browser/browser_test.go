// Package browser lets Chromium log people in: with scripts and without, in a
// page of its own and in a frame, from the same site and from another one; and
// it looks at every page in light and dark, wide and narrow, with axe-core.
// EIDGATE_SHOTS names a folder that keeps pictures of all of them.
package browser

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"eidgate/internal/need"
	"eidgate/test/rig"
)

// chrome is the one browser of this test binary. Each tab has a profile of its
// own, so that it begins without cookies; none keeps or sends those of third
// parties, whatever the distribution's default.
var chrome = sync.OnceValues(func() (context.Context, error) {
	return launch(chromedp.Flag("test-third-party-cookie-phaseout", true))
})

// launch starts a browser; the context is its first tab.
func launch(more ...chromedp.ExecAllocatorOption) (context.Context, error) {
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("enable-features", "StrictOriginIsolation"), // a frame of another port is a target of its own, too
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,OptimizationHints,MediaRouter"), chromedp.WSURLReadTimeout(time.Minute))
	ctx, _ := chromedp.NewExecAllocator(context.Background(), append(opts, more...)...)
	ctx, _ = chromedp.NewContext(ctx)
	return ctx, chromedp.Do(ctx)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if started.Load() {
		if ctx, err := chrome(); err == nil {
			_ = chromedp.Cancel(ctx) // ends the process and removes its folder
		}
	}
	os.Exit(code)
}

var started atomic.Bool

// tab opens an empty tab of a browser that has no cookies.
func tab(t *testing.T) context.Context {
	t.Helper()
	need.Program(t, "chromium")
	started.Store(true)
	browser, err := chrome()
	if err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the first context that is used lives as long as the tab
		t.Fatalf("open a tab: %v", err)
	}
	return ctx
}

// secureTab is the tab of a browser that blocks the cookies of third parties,
// like that of tab, and takes the certificates of some sites for good.
func secureTab(t *testing.T, sites ...string) context.Context {
	t.Helper()
	need.Program(t, "chromium")
	var keys []string
	for _, site := range sites {
		c, err := tls.Dial("tcp", strings.TrimPrefix(site, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(c.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
		_ = c.Close()
		keys = append(keys, base64.StdEncoding.EncodeToString(sum[:]))
	}
	ctx, err := launch(chromedp.Flag("test-third-party-cookie-phaseout", true), chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(keys, ",")))
	if err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // ends the process and removes its folder
	return ctx
}

// shown is what the page is, for the text of a failure. It has its own time,
// since the test's may be over.
func shown(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href + '\\n' + (document.body ?? document.documentElement).outerHTML"))
	if err != nil {
		return "(the page does not answer: " + err.Error() + ")"
	}
	return text
}

func do(ctx context.Context, t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	part, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := chromedp.Do(part, steps...); err != nil {
		t.Fatalf("%v\nthe page is %s", err, shown(ctx))
	}
}

// click presses what a selector names. The page may be replaced by the next one
// between finding the place and pressing, which Chromium answers with an error
// before anything is pressed: then it is looked for again.
func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		for {
			_, err := chromedp.Click(chromedp.CSS(selector))(ctx, tg)
			if gone := (*cdproto.Error)(nil); !errors.As(err, &gone) || gone.Message != "Could not find node with given id" || ctx.Err() != nil {
				return err
			}
		}
	})
}

func eval[T any](ctx context.Context, t *testing.T, js string) T {
	t.Helper()
	part, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := chromedp.Run(part, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%.200s: %v\nthe page is %s", js, err, shown(ctx))
	}
	return v
}

// back goes to the page before. This one may be gone before it has answered.
func back(ctx context.Context, t *testing.T) {
	t.Helper()
	part, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := chromedp.Run(part, chromedp.Evaluate[bool]("history.back() === undefined"))
	if gone := (*cdproto.Error)(nil); err != nil && (!errors.As(err, &gone) || gone.Message != "Inspected target navigated or closed") {
		t.Fatalf("back: %v\nthe page is %s", err, shown(ctx))
	}
}

// patience bounds one thing that a browser does; nothing takes so long but on
// a machine that is very busy.
const patience = 20 * time.Second

// until waits for a condition of the page; it survives that the page is
// replaced meanwhile.
func until(ctx context.Context, t *testing.T, js string) {
	t.Helper()
	part, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		ok, err := chromedp.Run(part, chromedp.Evaluate[bool](js))
		switch {
		case err == nil && ok:
			return
		case part.Err() != nil:
			t.Fatalf("not yet: %s (%v)\nthe page is %s", js, err, shown(ctx))
		}
		<-time.After(50 * time.Millisecond)
	}
}

// noScripts switches the page's scripts off; ours still run.
func noScripts(off bool) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		_, err := cdp.Call(ctx, tg, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: off})
		return err
	})
}

// party is a relying party's site: a page at the end, one that frames, and one
// to frame (see kept).
func party(t *testing.T, host string) (base string) {
	t.Helper()
	s := httptest.NewServer(partyPages())
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "127.0.0.1", host, 1)
}

// withAndWithout runs a test with scripts and without.
func withAndWithout(t *testing.T, f func(t *testing.T, scripts bool)) {
	t.Helper()
	for name, scripts := range map[string]bool{"with scripts": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, scripts)
		})
	}
}

// secureParty is one over https at 127.0.0.1, with a certificate that nobody
// trusts.
func secureParty(t *testing.T) (base string) {
	t.Helper()
	s := httptest.NewTLSServer(partyPages())
	t.Cleanup(s.Close)
	return s.URL
}

func partyPages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /done", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!DOCTYPE html><title>done</title><h1 id=done>done</h1>")
	})
	mux.HandleFunc("/on", func(w http.ResponseWriter, r *http.Request) { // as where one host takes the answer and another has the pages
		_ = r.ParseForm() // the answer is the browser's
		http.Redirect(w, r, r.FormValue("to")+"/done?"+url.Values{"error": {r.FormValue("error")}, "code": {r.FormValue("code")}}.Encode(), http.StatusSeeOther)
	})
	mux.HandleFunc("GET /frame", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!DOCTYPE html><title>shop</title><script>window.got=[];addEventListener("message",e=>got.push({origin:e.origin,data:e.data}))</script>
			<iframe src=%q width=500 height=900></iframe>`, r.URL.Query().Get("at"))
	})
	mux.HandleFunc("GET /cookies", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			w.Header().Add("Set-Cookie", "plain=1; Secure; HttpOnly; SameSite=None")
			w.Header().Add("Set-Cookie", "apart=1; Secure; HttpOnly; SameSite=None; Partitioned")
			http.Redirect(w, r, "/cookies?back", http.StatusSeeOther)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<!DOCTYPE html><title>cookies</title><script>parent.postMessage(%q,'*')</script>", r.Header.Get("Cookie"))
	})
	return mux
}

// kept are the cookies that a frame of localhost, where eidgate is too, keeps and
// sends on a page of the party at top. Both of them may be used on other sites. A browser
// that blocks the cookies of third parties drops there "plain" alone, and has
// "apart" in a jar of that site's (TestThirdPartyCookies).
func kept(ctx context.Context, t *testing.T, top string) string {
	t.Helper()
	framed := party(t, "localhost")
	if strings.HasPrefix(top, "https:") {
		framed = strings.Replace(secureParty(t), "127.0.0.1", "localhost", 1)
	}
	do(ctx, t, chromedp.Navigate(top+"/frame?at="+url.QueryEscape(framed+"/cookies")))
	until(ctx, t, `got.length > 0`)
	return eval[string](ctx, t, `got[0].data`)
}

const (
	both      = "plain=1; apart=1"
	onlyApart = "apart=1"
)

// phone does something with the session's order, as the app does.
func phone(t *testing.T, w *rig.Dev, id, event string) {
	t.Helper()
	ref := ""
	until2(t, "an order of the session", func() bool {
		_, orders := w.Call("GET", w.URLs["control"]+"/sandbox/v1/sessions/"+id+"/explain", "", "")
		for ref = range orders {
		}
		return ref != ""
	})
	if status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/orders/"+ref+"/events", "application/json",
		`{"event":"`+event+`","person":"ada"}`); status != 200 {
		t.Fatalf("%s: %d %v", event, status, out)
	}
}

// until2 is until for a condition that is not of the page.
func until2(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not yet: " + what)
		}
	}
}

func session(w *rig.Dev, selector, target string, more ...string) (id, page string) {
	form := url.Values{"target": {target}, "language": {"sv"}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	id = w.Setup(selector, form)
	return id, w.URLs["public"] + "/v2/Hosted/" + id + "/" + selector + "/"
}

func TestWithScripts(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	at := party(t, "localhost")
	id, page := session(w, "sbid-another", at+"/done")
	do(ctx, t, chromedp.Navigate(page))
	until(ctx, t, begun) // begun by the page's own script
	until(ctx, t, `document.querySelector("[data-qr]").src.includes("qr.svg?t=")`)
	before := eval[string](ctx, t, `document.querySelector("[data-qr]").src`)
	until(ctx, t, `document.querySelector("[data-qr]").src !== `+fmt.Sprintf("%q", before))
	until(ctx, t, `document.querySelector("[data-qr]").complete && document.querySelector("[data-qr]").naturalWidth > 100`)
	do(ctx, t, click("[data-enlarge]"))
	until(ctx, t, `document.querySelector("dialog.big").open`)
	do(ctx, t, click("dialog.big button"))
	phone(t, w, id, "approve")
	until(ctx, t, `location.pathname === "/done" && location.search.includes("relaystate=`+id+`")`)
}

func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	at := party(t, "localhost")
	id, page := session(w, "sbid-another", at+"/done")
	do(ctx, t, chromedp.Navigate("about:blank"), noScripts(true), chromedp.Navigate(page))
	until(ctx, t, `document.querySelector("form[action^=start] button") !== null`)
	if len(w.Orders()) > 0 {
		t.Error("an order was started because a page was fetched")
	}
	until(ctx, t, `document.querySelector("form.time p").innerText === "Sidan stängs inom 30 minuter."`)
	do(ctx, t, click("form[action^=start] button"))
	until(ctx, t, `document.querySelector("noscript iframe, .qr iframe") !== null`)
	until(ctx, t, `document.querySelector(".qr iframe").contentDocument.querySelector("img").naturalWidth > 100`)
	phone(t, w, id, "approve")
	until(ctx, t, `location.pathname === "/done"`)
}

// TestInAFrame has the shop frame the page: from the same site, where a cookie
// holds the session, and from another one, where the address must.
func TestInAFrame(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for name, host := range map[string]string{"same site": "localhost", "another site": "127.0.0.1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := tab(t)
			at := party(t, host)
			id, page := session(w, "sbid-another", at+"/done")
			do(ctx, t, chromedp.Navigate(at+"/frame?at="+url.QueryEscape(page)))
			phone(t, w, id, "approve")
			until(ctx, t, `got.length > 0`)
			if from := eval[string](ctx, t, `got[0].origin`); from != w.URLs["public"] {
				t.Errorf("the message came from %s", from)
			}
			if got := eval[string](ctx, t, `JSON.stringify(got[0].data)`); !strings.Contains(got, id) {
				t.Errorf("the message is %s", got)
			}
			if status, out := w.Call("GET", w.URLs["public"]+"/v2/eid/"+id, "", ""); status != 200 || rig.State(out) != "FINISHED" {
				t.Errorf("result = %d %v", status, out)
			}
		})
	}
}

// TestThirdPartyCookies shows what kept proves: a browser whose settings allow
// the cookies of third parties has both, and ours loses the one that it must.
func TestThirdPartyCookies(t *testing.T) {
	t.Parallel()
	ours, dir := tab(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "Default"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Default", "Preferences"), []byte(`{"profile":{"cookie_controls_mode":0}}`), 0o600); err != nil { // unset, Debian's Chromium blocks them
		t.Fatal(err)
	}
	allows, err := launch(chromedp.UserDataDir(dir))
	if err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	t.Cleanup(func() {
		_ = chromedp.Cancel(allows)
		until2(t, "the end of the last process that writes", func() bool { return os.RemoveAll(dir) == nil })
	})
	if got := kept(allows, t, party(t, "127.0.0.1")); got != both {
		t.Errorf("where they are allowed, the frame has %q", got)
	}
	if got := kept(ours, t, party(t, "127.0.0.1")); got != onlyApart {
		t.Errorf("where they are blocked, the frame has %q", got)
	}
}

// TestASiteThatMayNot frames the page from an origin that is not the target's.
func TestASiteThatMayNot(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	_, page := session(w, "sbid-another", party(t, "localhost")+"/done")
	do(ctx, t, chromedp.Navigate(party(t, "127.0.0.1")+"/frame?at="+url.QueryEscape(page)))
	<-time.After(time.Second) // nothing tells that nothing will happen
	if n := len(w.Orders()); n > 0 {
		t.Errorf("%d orders were started in a frame that may not be", n)
	}
}

func TestCancelAndSecondBrowser(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx, other := tab(t), tab(t)
	at := party(t, "localhost")
	_, page := session(w, "sbid-another", at+"/done", "targetError", at+"/done?failed=1")
	do(ctx, t, chromedp.Navigate(page))
	until(ctx, t, `document.querySelector("[data-qr]") !== null`)
	do(other, t, chromedp.Navigate(page))
	until(other, t, `document.querySelector("h1").textContent === "Öppnad i en annan webbläsare" && document.querySelector("[data-qr]") === null`)
	do(ctx, t, click("form[action^=cancel] button"))
	until(ctx, t, `location.pathname === "/done" && location.search.includes("failed=1")`)
}
