package browser

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"eidgate/internal/need"
	"eidgate/server"
	"eidgate/test/rig"
)

// press clicks and waits for what comes of it.
func press(ctx context.Context, t *testing.T, selector, then string) {
	t.Helper()
	until(ctx, t, `document.querySelector(`+quote(selector)+`) !== null`)
	if eval[bool](ctx, t, "Boolean("+then+")") {
		t.Fatalf("this holds before %s is pressed, so that nothing would wait for what it does: %s", selector, then)
	}
	do(ctx, t, click(selector))
	until(ctx, t, then)
}

func quote(s string) string { return "`" + s + "`" }

const (
	banks    = `document.querySelectorAll("button[name=issuer]").length >= 4`
	loggedIn = `document.querySelector("[data-testid=approve]") !== null`
)

// atBank logs a person in at Sandbox Bank Een and does what a button says.
func atBank(ctx context.Context, t *testing.T, person, button, then string) {
	t.Helper()
	press(ctx, t, "[data-testid=person-"+person+"]", loggedIn)
	shot(ctx, t, "bank-consent")
	press(ctx, t, "[data-testid="+button+"]", then)
}

// TestBank: a person finds the bank, says yes there, and is back at the shop.
func TestBank(t *testing.T) {
	t.Parallel()
	withAndWithout(t, func(t *testing.T, scripts bool) {
		w := rig.StartDev(t, "memory")
		ctx := tab(t)
		at := party(t, "localhost")
		id, page := session(w, "idin", at+"/done", "language", "nl")
		do(ctx, t, chromedp.Navigate("about:blank"), noScripts(!scripts), chromedp.Navigate(page))
		until(ctx, t, banks+` && document.querySelector("h1").textContent === "Kies je bank"`)
		if scripts {
			do(ctx, t, chromedp.SendKeys(chromedp.CSS("input[type=search]"), "een"))
			until(ctx, t, `document.querySelector("[data-search]").previousElementSibling.textContent === "1 bank"`)
			shot(ctx, t, "bank-search")
		}
		if len(w.Orders()) > 0 {
			t.Error("a transaction was started because a page was fetched")
		}
		press(ctx, t, "button[value=BANKNL2Y]", `document.querySelector("[data-testid=person-vries]") !== null`)
		shot(ctx, t, "bank-login")
		atBank(ctx, t, "vries", "approve", `location.pathname === "/done" && location.search.includes("relaystate=`+id+`")`)
		got := w.Result(id)
		if who, _ := got["identity"].(map[string]any); who == nil || who["LastName"] != "de Vries" || got["binding"] != "strong" {
			t.Errorf("result %v", got)
		}
	})
}

// TestBankAndBack: the browser's back button brings the person to a page that
// leads to the bank again and does not throw them out.
func TestBankAndBack(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	id, page := session(w, "idin", party(t, "localhost")+"/done", "language", "en")
	do(ctx, t, chromedp.Navigate(page))
	until(ctx, t, banks)
	press(ctx, t, "button[value=CURRNL2A]", `document.querySelector("[data-testid=person-vries]") !== null`)
	do(ctx, t, chromedp.NavigateBack())
	until(ctx, t, `document.querySelector("h1").textContent === "Continue at your bank"`)
	press(ctx, t, "a.button", `document.querySelector("[data-testid=person-vries]") !== null`)
	if n := len(w.Orders()); n != 1 {
		t.Errorf("%d transactions", n)
	}
	atBank(ctx, t, "vries", "cancel", `location.pathname === "/done"`)
	if got := w.Result(id); got["result"].(map[string]any)["identity"].(map[string]any)["state"] != "ERROR" {
		t.Errorf("result %v", got)
	}
}

func TestBankThatIsDown(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	_, page := session(w, "idin_age", party(t, "localhost")+"/done", "language", "nl")
	do(ctx, t, chromedp.Navigate(page))
	until(ctx, t, banks+` && document.querySelector(".lead").textContent.includes("of je 18 jaar of ouder bent. Verder niets.")`)
	press(ctx, t, "button[value=DICHNL2A]", `document.querySelector("[role=alert]") !== null && document.querySelector("#down-DICHNL2A") !== null`)
	shot(ctx, t, "bank-down")
	press(ctx, t, "button[value=BANKNL2Y]", `document.querySelector("[data-testid=person-jong]") !== null`)
}

// TestAgeOfABrowser: what the shop learns is no more than whether.
func TestAgeCheck(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for person, want := range map[string]bool{"jong": false, "grens": true} {
		ctx := tab(t)
		id, page := session(w, "idin_age", party(t, "localhost")+"/done", "language", "nl")
		do(ctx, t, chromedp.Navigate(page))
		until(ctx, t, banks)
		press(ctx, t, "button[value=BANKNL2Y]", `document.querySelector("[data-testid=person-jong]") !== null`)
		atBank(ctx, t, person, "approve", `location.pathname === "/done"`)
		who := w.Result(id)["identity"].(map[string]any)
		if who["AgeApproved"] != want || len(who) != 5 {
			t.Errorf("%s: %v", person, who)
		}
	}
}

// scan reads the code from a picture of the screen.
func scan(ctx context.Context, t *testing.T) string {
	t.Helper()
	need.Program(t, "zbarimg")
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	file := filepath.Join(t.TempDir(), "screen.png")
	if err == nil {
		err = os.WriteFile(file, png, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	part, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(part, "zbarimg", "--quiet", "--raw", file).Output()
	if err != nil {
		t.Fatalf("zbarimg: %v", err)
	}
	return string(bytes.TrimSpace(out))
}

// TestCounter: a phone scans the code of a shop's screen, which shows the end;
// the phone never gets to the shop.
func TestCounter(t *testing.T) {
	t.Parallel()
	withAndWithout(t, func(t *testing.T, scripts bool) {
		w := rig.StartDev(t, "memory")
		screen, phone := tab(t), tab(t)
		at := party(t, "localhost")
		id, page := session(w, "idin", at+"/done", "language", "en", "configid", "counter")
		do(screen, t, chromedp.Navigate("about:blank"), noScripts(!scripts), chromedp.Navigate(page))
		if !scripts {
			press(screen, t, "button[name=choose]", `document.querySelector(".counter img") !== null`)
		}
		until(screen, t, `document.querySelector(".counter img")?.naturalWidth > 100`)
		shot(screen, t, "counter")
		link := scan(screen, t)
		do(phone, t, chromedp.Navigate(link))
		until(phone, t, `document.querySelector("[data-testid=issuer-BANKNL2Y]") !== null`)
		shot(phone, t, "counter-banks")
		press(phone, t, "[data-testid=issuer-BANKNL2Y]", `document.querySelector("[data-testid=person-vries]") !== null`)
		until(screen, t, `document.querySelector("[data-poll]")?.textContent.includes("The code was scanned.")`)
		atBank(phone, t, "vries", "approve", `document.querySelector("h1").textContent === "Go back to where you began"`)
		shot(phone, t, "counter-landing")
		if eval[bool](phone, t, `document.body.innerHTML.includes("/done")`) {
			t.Error("the phone is led to the shop")
		}
		until(screen, t, `document.querySelector("h1").textContent === "Done"`)
		shot(screen, t, "counter-done")
		if to := eval[string](screen, t, `document.querySelector("meta[http-equiv=refresh]").content`); !strings.HasPrefix(to, "10;url="+at+"/done?") {
			t.Errorf("then it goes to %s", to)
		}
		if who, _ := w.Result(id)["identity"].(map[string]any); who == nil || who["LastName"] != "de Vries" {
			t.Errorf("result %v", w.Result(id))
		}
	})
}

func TestBankFromAFrame(t *testing.T) {
	t.Parallel()
	fromAFrame(t, "idin", "button[value=BANKNL2Y]", "[data-testid=person-vries]", "[data-testid=approve]")
}

// fromAFrame logs somebody in from a frame of the shop. An eID does not let
// itself be framed, so what start presses ends at a link to a tab of its own,
// where the person presses one button of the eID after the other; the frame
// goes on when it is done. In a shop of another site eidgate is a third party,
// whose cookies Chromium blocks, as the same tab shows first. Nothing then ties
// the eID's tab to the frame: it is another browser, and the person says that it
// was them. Over http eidgate's cookie is Lax and does not get into the frame:
// the page's address has a handle instead. Over https there is one that is
// Partitioned, which the tab, a first party, does not have.
func fromAFrame(t *testing.T, selector, start string, buttons ...string) {
	t.Helper()
	for name, place := range map[string]struct {
		host   string
		secure bool
	}{"same site": {"localhost", false}, "another site, third-party cookies blocked": {"127.0.0.1", false}, "the same over https": {"127.0.0.1", true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := place.host
			w := rig.StartDev(t, "memory", func(o *server.DevOptions) { o.TLS = place.secure })
			var ctx context.Context
			at := ""
			if place.secure {
				shop := secureParty(t)
				ctx, at = secureTab(t, shop, w.URLs["public"], w.URLs["issuers"]), shop
			} else {
				ctx, at = tab(t), party(t, host)
			}
			if got, want := kept(ctx, t, at), map[bool]string{true: both, false: onlyApart}[host == "localhost"]; got != want {
				t.Fatalf("the cookies of a frame are %q, want %q", got, want)
			}
			id, page := session(w, selector, at+"/done", "language", "en")
			do(ctx, t, chromedp.Navigate(at+"/frame?at="+url.QueryEscape(page)))
			frame := another(ctx, t, "the frame", func(i *target.Info) bool { return i.Type == "iframe" && strings.Contains(i.URL, id) })
			press(frame, t, start, `document.querySelector("a.button[target=_blank]") !== null`)
			if got, want := eval[bool](frame, t, `new URLSearchParams(location.search).has("w")`), host != "localhost" && !place.secure; got != want {
				t.Errorf("the address has a handle: %v, want %v", got, want)
			}
			var apart []string
			if place.secure {
				apart = partitioned(ctx, t, "https://127.0.0.1")
			}
			shot(ctx, t, selector+"-frame")
			do(frame, t, click("a.button"))
			until(frame, t, `document.querySelector("[role=status]").textContent.startsWith("Continue in the new window.")`)
			opened := another(ctx, t, "a tab of the eID", func(i *target.Info) bool { return i.Type == "page" && strings.HasPrefix(i.URL, w.URLs["issuers"]) })
			for _, button := range buttons {
				until(opened, t, `document.querySelector("`+button+`") !== null`)
				do(opened, t, click(button))
			}
			if host != "localhost" {
				until(opened, t, `document.querySelector("button[name=mine]") !== null`)
				shot(opened, t, selector+"-landing")
				press(opened, t, "form[data-guard=off] button[name=mine]", `document.querySelector("h1").textContent === "Go back to where you began"`)
			}
			until(ctx, t, `got.length > 0`)
			got := w.Result(id)
			want := map[bool]string{true: "strong", false: "weak"}[host == "localhost"]
			if got["binding"] != want || got["identity"] == nil {
				t.Errorf("binding %v, want %s: %v", got["binding"], want, got)
			}
			if place.secure {
				if after := partitioned(ctx, t, "https://127.0.0.1"); len(apart) != 1 || !slices.Equal(after, apart) {
					t.Errorf("eidgate's cookies for the shop were %q, and are %q", apart, after)
				}
			}
		})
	}
}

// partitioned are the values of eidgate's cookies that a site's frames have, and
// nobody else.
func partitioned(ctx context.Context, t *testing.T, site string) (values []string) {
	t.Helper()
	do(ctx, t, chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		all, err := cdp.Call(ctx, tg, storage.GetCookies, storage.GetCookiesParams{})
		for _, c := range all.Cookies {
			if key := c.PartitionKey; c.Name == "__Host-eidgate_b" && key != nil && key.TopLevelSite == site && key.HasCrossSiteAncestor &&
				c.Secure && c.HTTPOnly && c.SameSite == network.CookieSameSiteNone && c.Domain == "localhost" && c.Path == "/" {
				values = append(values, c.Value)
			}
		}
		return err
	}))
	return values
}

// another attaches to what else the browser shows and a test looks for: a
// frame of another origin, or a tab that a page has opened.
func another(ctx context.Context, t *testing.T, what string, is func(*target.Info) bool) context.Context {
	t.Helper()
	var id target.ID
	until2(t, what, func() bool {
		all, err := chromedp.Targets(ctx)
		if err != nil {
			return false
		}
		for _, info := range all {
			if is(info) {
				id = info.TargetID
				return true
			}
		}
		return false
	})
	out, cancel := chromedp.NewContext(ctx, chromedp.WithTargetID(id))
	t.Cleanup(cancel)
	if err := chromedp.Do(out); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return out
}
