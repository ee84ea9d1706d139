package browser

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"eidgate/test/rig"
)

// shopOIDC opens the shop's page of OpenID Connect and sets its form; pairs are
// ids and values.
func shopOIDC(ctx context.Context, t *testing.T, w *rig.Dev, pairs ...string) {
	t.Helper()
	do(ctx, t, chromedp.Navigate(w.URLs["demo"]+"/oidc"))
	for i := 0; i+1 < len(pairs); i += 2 {
		eval[bool](ctx, t, `(document.getElementById("`+pairs[i]+`").value = "`+pairs[i+1]+`") === "`+pairs[i+1]+`"`)
	}
	// No click, which a page that is only just there may miss.
	eval[bool](ctx, t, `(document.querySelector("form[action='/oidc/login']").requestSubmit(), true)`)
}

// sessionAt is the id of the session whose page is open.
func sessionAt(ctx context.Context, t *testing.T) string {
	t.Helper()
	until(ctx, t, `location.pathname.startsWith("/auth/open/login/")`)
	return strings.Split(eval[string](ctx, t, "location.pathname"), "/")[4]
}

const (
	noneIn  = `document.querySelector("#result-title")?.textContent === "Nobody was logged in"`
	greeted = `document.querySelector("#result-title")?.textContent.startsWith("Welcome")`
	// choices: the page lists every eID of the sandbox.
	choices = `document.querySelectorAll("button[name=method]").length === 5`
	// allGood: every check of the shop says yes.
	allGood = `document.querySelectorAll(".checks .good").length === 8 && document.querySelectorAll(".checks li").length === 8`
)

// TestOpenID: a person logs in with BankID over OpenID Connect, is known the
// second time, and logs out of both.
func TestOpenID(t *testing.T) {
	t.Parallel()
	withAndWithout(t, func(t *testing.T, scripts bool) {
		w := rig.StartDev(t, "memory")
		ctx := tab(t)
		do(ctx, t, chromedp.Navigate("about:blank"), noScripts(!scripts))
		shopOIDC(ctx, t, w, "acr", "idp:sbid", "locales", "sv")
		id := sessionAt(ctx, t)
		if !scripts {
			press(ctx, t, "form[action^=start] button", begun)
		}
		until(ctx, t, begun+` && document.documentElement.lang === "sv"`)
		phone(t, w, id, "approve")
		until(ctx, t, welcome+" && "+allGood)
		if got := eval[string](ctx, t, `document.querySelector("dl").textContent + document.querySelector("#result").textContent`); !strings.Contains(got, "sbid") || !strings.Contains(got, "199001012385") {
			t.Errorf("the shop shows %s", got)
		}
		shopOIDC(ctx, t, w, "acr", "idp:sbid") // single sign-on
		until(ctx, t, welcome+` && document.querySelector("#form-title").textContent === "Once more"`)
		if n := len(w.Orders()); n != 0 {
			t.Errorf("%d orders for somebody who is known", n)
		}
		press(ctx, t, "form[action='/oidc/logout'] button", `document.querySelector("h1").textContent === "You are logged out of the shop"`)
		press(ctx, t, "form[method=post] button", `document.querySelector("#result")?.textContent.includes("and eidgate too")`)
		shopOIDC(ctx, t, w, "acr", "idp:sbid")
		if again := sessionAt(ctx, t); again == id {
			t.Error("after the logout nobody asks who it is")
		}
	})
}

// TestOpenIDAtTheBank: iDIN, with the answer in a form, which a script posts or
// a button.
func TestOpenIDAtTheBank(t *testing.T) {
	t.Parallel()
	withAndWithout(t, func(t *testing.T, scripts bool) {
		w := rig.StartDev(t, "memory")
		ctx := tab(t)
		do(ctx, t, chromedp.Navigate("about:blank"), noScripts(!scripts))
		shopOIDC(ctx, t, w, "acr", "idp:idin", "mode", "form_post", "locales", "nl")
		until(ctx, t, banks+` && document.querySelector("h1").textContent === "Kies je bank"`)
		press(ctx, t, "button[value=BANKNL2Y]", `document.querySelector("[data-testid=person-vries]") !== null`)
		press(ctx, t, "[data-testid=person-vries]", loggedIn)
		do(ctx, t, click("[data-testid=approve]"))
		if !scripts {
			until(ctx, t, `document.querySelector("form[data-auto] input[name=code]") !== null`)
			if to := eval[string](ctx, t, `document.querySelector("form[data-auto]").action + " " + location.search`); to != w.URLs["demo"]+"/oidc/callback " {
				t.Errorf("the form leads to %s", to)
			}
			shot(ctx, t, "post")
			do(ctx, t, click("form[data-auto] button"))
		}
		until(ctx, t, greeted+" && "+allGood+` && document.querySelector("#result").textContent.includes("browser back at POST /oidc/callback")`)
		if got := eval[string](ctx, t, `document.querySelector("#result").textContent`); !strings.Contains(got, "de Vries") || !strings.Contains(got, "idin") {
			t.Errorf("the shop shows %s", got)
		}
	})
}

// TestOpenIDStraight: where there is nothing to choose, the shop's button leads to
// the eID, and the eID's back to the shop: no page of ours is between them.
func TestOpenIDStraight(t *testing.T) {
	t.Parallel()
	withAndWithout(t, func(t *testing.T, scripts bool) {
		w := rig.StartDev(t, "memory")
		ctx := tab(t)
		do(ctx, t, chromedp.Navigate("about:blank"), noScripts(!scripts))
		for _, c := range []struct{ acr, at string }{
			{"idp:mitid", "user"},
			{"idp:nbid", "bis"},
			{"idp:itsme", "person-florent"},
			{"idp:idin idin_idp:BANKNL2Y", "person-vries"},
		} {
			shopOIDC(ctx, t, w, "acr", c.acr, "prompt", "login")
			until(ctx, t, there(c.at))
			// Back is the shop, not a page that leads to the eID once more.
			back(ctx, t)
			until(ctx, t, `location.pathname === "/oidc"`)
		}
		shopOIDC(ctx, t, w, "prompt", "login")
		press(ctx, t, "button[value=itsme]", there("person-florent")) // who has chosen need not say so twice
		// Back is the list; or, where the page loads itself again, what leads there, with a way to the list.
		back(ctx, t)
		if scripts {
			until(ctx, t, `document.querySelector("a[data-away]") !== null`)
			shot(ctx, t, "away-back")
			eval[bool](ctx, t, `document.querySelector(".back a").click() === undefined`)
		}
		until(ctx, t, choices)
		eval[bool](ctx, t, `document.querySelector("button[value=mitid]").click() === undefined`)
		until(ctx, t, there("user"))
		for _, c := range []struct{ acr, who string }{
			{"idp:itsme", "person-florent"},
			{"idp:idin idin_idp:BANKNL2Y", "person-vries"},
		} {
			shopOIDC(ctx, t, w, "acr", c.acr, "prompt", "login")
			until(ctx, t, there(c.who))
			press(ctx, t, "[data-testid="+c.who+"]", there("approve"))
			press(ctx, t, "[data-testid=approve]", greeted+" && "+allGood)
			press(ctx, t, "form[action='/oidc/logout'] button", `document.querySelector("h1").textContent === "You are logged out of the shop"`)
		}
	})
}

// TestOpenIDChoice: the start page begins a login for which the person chooses
// the eID, and thinks again.
func TestOpenIDChoice(t *testing.T) {
	t.Parallel()
	withAndWithout(t, func(t *testing.T, scripts bool) {
		w := rig.StartDev(t, "memory")
		ctx := tab(t)
		do(ctx, t, chromedp.Navigate("about:blank"), noScripts(!scripts), chromedp.Navigate(w.URLs["public"]))
		press(ctx, t, `a[href*="/oidc/login?iss="]`, choices)
		id := sessionAt(ctx, t)
		eval[bool](ctx, t, `(document.querySelector("#language").value = "nl") === "nl"`)
		press(ctx, t, "form.lang button", `document.querySelector(".methods h2").textContent === "Nederland" && document.querySelector("button[name=method]").value === "idin"`)
		press(ctx, t, "button[value=idin]", banks)
		press(ctx, t, ".back a", choices)
		press(ctx, t, "button[value=idin]", banks)
		back(ctx, t)
		settled := choices
		if scripts { // what comes out of memory loads itself again
			settled += ` && performance.getEntriesByType("navigation")[0].type !== "navigate"`
		}
		until(ctx, t, settled)
		eval[bool](ctx, t, `document.querySelector("button[value=sbid]").click() === undefined`) // the page out of memory has no nodes that chromedp knows
		until(ctx, t, map[bool]string{true: begun, false: `document.querySelector("form[action^=start] button") !== null`}[scripts])
		if !scripts {
			press(ctx, t, "form[action^=start] button", begun)
		}
		if n := len(w.Orders()); n != 1 {
			t.Errorf("%d orders", n)
		}
		phone(t, w, id, "approve")
		until(ctx, t, welcome+" && "+allGood)
	})
}

// TestOpenIDAnotherWay: a bank that cannot be reached is not the end of it.
func TestOpenIDAnotherWay(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	shopOIDC(ctx, t, w, "locales", "en")
	press(ctx, t, "button[value=idin]", banks)
	id := sessionAt(ctx, t)
	press(ctx, t, "button[value=DICHNL2A]", `document.querySelector("[role=alert]") !== null`)
	press(ctx, t, ".back a", choices)
	press(ctx, t, "button[value=sbid]", begun)
	phone(t, w, id, "approve")
	until(ctx, t, welcome+" && "+allGood)
}

// TestOpenIDEnds: the shop learns of the end that a login had, whoever decided
// it.
func TestOpenIDEnds(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	is := func(code string) string {
		return noneIn + ` && document.querySelector("p.bad strong").textContent === "` + code + `"`
	}
	t.Run("cancelled on the page", func(t *testing.T) {
		t.Parallel()
		ctx := tab(t)
		shopOIDC(ctx, t, w)
		press(ctx, t, "form[action^=cancel] button", is("access_denied"))
		press(ctx, t, "p.bad a", `document.querySelector("h1").textContent === "access_denied"`)
	})
	t.Run("nobody is known", func(t *testing.T) {
		t.Parallel()
		ctx := tab(t)
		shopOIDC(ctx, t, w, "prompt", "none")
		until(ctx, t, is("login_required"))
	})
	t.Run("scopes that exclude each other", func(t *testing.T) {
		t.Parallel()
		ctx := tab(t)
		do(ctx, t, chromedp.Navigate(w.URLs["demo"]+"/oidc"), click("[value=date-of-birth]"), click("[value=eighteen-or-older]"),
			click("form[action='/oidc/login'] button"))
		until(ctx, t, is("invalid_scope"))
	})
	for hint, want := range map[string]string{"sandbox:approve;person=ada": welcome, "sandbox:cancel": is("access_denied"), "sandbox:decline": is("access_denied")} {
		t.Run(hint, func(t *testing.T) {
			t.Parallel()
			ctx := tab(t)
			shopOIDC(ctx, t, w, "acr", "idp:sbid", "hint", hint)
			until(ctx, t, want) // nobody has touched the phone
		})
	}
	t.Run("at a bank, by itself", func(t *testing.T) {
		t.Parallel()
		ctx := tab(t)
		shopOIDC(ctx, t, w, "acr", "idp:idin", "hint", "sandbox:cancel")
		press(ctx, t, "button[value=BANKNL2Y]", is("access_denied"))
	})
}

// TestOpenIDPages looks at the pages of the provider and of the shop that only
// OpenID Connect has.
func TestOpenIDPages(t *testing.T) {
	t.Parallel()
	axe := needAxe(t)
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	wrong := func(change ...string) string {
		q := url.Values{"client_id": {w.OIDC.ID}, "redirect_uri": {"https://localhost/<b>stray"}, "response_type": {"code"}, "scope": {"openid"}}
		for i := 0; i+1 < len(change); i += 2 {
			q.Add(change[i], change[i+1])
		}
		return w.OIDC.Issuer + "/connect/authorize?" + q.Encode()
	}
	do(ctx, t, chromedp.Navigate(wrong()))
	until(ctx, t, `document.querySelector("h1").textContent === "This link does not work" && document.querySelector("#main").textContent.includes("redirect_uri is not an address of this machine")`)
	if eval[bool](ctx, t, `document.documentElement.innerHTML.includes("stray")`) { // unlike a hexadecimal reference
		t.Error("the page repeats what came")
	}
	inspect(ctx, t, "openid-problem", axe)
	press(ctx, t, "section.notice a", `document.querySelector("h1").textContent === "invalid_request"`)
	inspect(ctx, t, "docs-openid-error", axe)
	do(ctx, t, chromedp.Navigate(wrong("client_id", "another")))
	until(ctx, t, `document.querySelector("section.notice").textContent.includes("The parameter client_id is sent twice.")`)
	do(ctx, t, chromedp.Navigate(w.OIDC.Issuer+"/connect/endsession"))
	until(ctx, t, `document.querySelector("h1").textContent === "You are logged out"`)
	inspect(ctx, t, "openid-logged-out", axe)

	do(ctx, t, chromedp.Navigate(w.URLs["demo"]+"/oidc"))
	inspect(ctx, t, "shop-oidc", axe)
	shopOIDC(ctx, t, w)
	until(ctx, t, choices)
	inspect(ctx, t, "openid-choice", axe)
	press(ctx, t, "form[action^=cancel] button", noneIn)
	inspect(ctx, t, "shop-oidc-error", axe)

	do(ctx, t, noScripts(true))
	shopOIDC(ctx, t, w, "acr", "idp:sbid", "hint", "sandbox:approve;person=ada", "mode", "form_post")
	press(ctx, t, "form[action^=start] button", `document.querySelector("form[data-auto] input[name=code]") !== null`) // the page loads itself again
	eval[bool](ctx, t, `document.querySelector("form").removeAttribute("data-auto") === undefined`)
	inspect(ctx, t, "openid-post", axe)
	press(ctx, t, "form button", welcome)
	eval[bool](ctx, t, `document.querySelectorAll("details").forEach(d => d.open = true); true`)
	inspect(ctx, t, "shop-oidc-result", axe)

	// Another tab asks eidgate to log out, and does not say whose login it means.
	do(ctx, t, chromedp.Navigate(w.OIDC.Issuer+"/connect/endsession"))
	until(ctx, t, `document.querySelector("h1").textContent === "Do you want to log out?"`)
	inspect(ctx, t, "openid-logout", axe)
	press(ctx, t, "form button", `document.querySelector("h1").textContent === "You are logged out"`)
	do(ctx, t, chromedp.Navigate(w.URLs["demo"]+"/oidc"))
	press(ctx, t, "form[action='/oidc/logout'] button", `document.querySelector("h1").textContent === "You are logged out of the shop"`)
	inspect(ctx, t, "shop-oidc-logout", axe)
	press(ctx, t, "form[method=post] button", `document.querySelector("#result")?.textContent.includes("and eidgate too")`)
	do(ctx, t, chromedp.Navigate(w.URLs["demo"]+"/oidc/callback?state=foreign"))
	inspect(ctx, t, "shop-oidc-stranger", axe)
}

// TestLedOn: a party's address may lead on to another host of it, which no policy
// of ours knows. Chrome holds redirects after a form to the policy of its page.
func TestLedOn(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	to := party(t, "127.0.0.1")
	on := party(t, "localhost") + "/on?to=" + url.QueryEscape(to)
	arrived := func(more string) string {
		return `location.origin === "` + to + `" && location.pathname === "/done" && ` + more
	}
	authorize := func(mode string) string {
		return w.URLs["public"] + "/auth/open/connect/authorize?" + url.Values{"client_id": {"sandbox-quiet-river-417"}, "response_type": {"code"}, "scope": {"openid"},
			"redirect_uri": {on}, "acr_values": {"idp:sbid"}, "prompt": {"login"}, "response_mode": {mode}}.Encode()
	}
	withAndWithout(t, func(t *testing.T, scripts bool) {
		ctx := tab(t)
		do(ctx, t, chromedp.Navigate("about:blank"), noScripts(!scripts))
		refused := arrived(`location.search.includes("error=access_denied")`)
		for _, mode := range []string{"query", "form_post"} {
			do(ctx, t, chromedp.Navigate(authorize(mode)))
			if !scripts && mode == "form_post" {
				press(ctx, t, "form[action^=cancel] button", `document.querySelector("input[name=error]") !== null`) // the page before has such a form, too, but not its fields
				press(ctx, t, "form[data-auto] button", refused)
			} else {
				press(ctx, t, "form[action^=cancel] button", refused)
			}
		}
		_, page := session(w, "sbid-another", on)
		do(ctx, t, chromedp.Navigate(page))
		press(ctx, t, "form[action^=cancel] button", arrived("true"))
	})
	t.Run("logged in", func(t *testing.T) {
		t.Parallel()
		ctx := tab(t)
		do(ctx, t, chromedp.Navigate(authorize("form_post")))
		phone(t, w, sessionAt(ctx, t), "approve")
		until(ctx, t, arrived(`!location.search.endsWith("code=") && location.search.includes("code=")`))
	})
}

// TestLogoutOfAnotherLogin: a party speaks of a login that the browser has no
// more, since another person has come. Who sits there is asked, and goes back to
// that party all the same.
func TestLogoutOfAnotherLogin(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	shopOIDC(ctx, t, w, "acr", "idp:sbid")
	phone(t, w, sessionAt(ctx, t), "approve")
	until(ctx, t, welcome+" && "+allGood)
	again := w.URLs["public"] + "/auth/open/connect/authorize?" + url.Values{"client_id": {"sandbox-quiet-river-417"}, "response_type": {"code"}, "scope": {"openid"},
		"redirect_uri": {w.URLs["demo"] + "/elsewhere"}, "acr_values": {"idp:sbid"}, "prompt": {"login"}, "login_hint": {"sandbox:approve;person=bo"}}.Encode()
	do(ctx, t, chromedp.Navigate(again))
	until(ctx, t, `location.pathname === "/elsewhere"`)
	do(ctx, t, chromedp.Navigate(w.URLs["demo"]+"/oidc"))
	press(ctx, t, "form[action='/oidc/logout'] button", `document.querySelector("h1").textContent === "You are logged out of the shop"`)
	press(ctx, t, "form[method=post] button", `document.querySelector("h1").textContent === "Do you want to log out?"`)
	press(ctx, t, "form[method=post] button", `document.querySelector("#result")?.textContent.includes("and eidgate too")`)
}
