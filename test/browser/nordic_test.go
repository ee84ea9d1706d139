package browser

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp"

	"eidgate/test/rig"
)

// there is the condition that the page has something that tests look for.
func there(testid string) string {
	return `document.querySelector("[data-testid=` + testid + `]") !== null`
}

// fill replaces what stands in a field of the page.
func fill(ctx context.Context, t *testing.T, testid, text string) {
	t.Helper()
	field := "[data-testid=" + testid + "]"
	eval[bool](ctx, t, `(document.querySelector("`+field+`").value = "") === ""`)
	do(ctx, t, chromedp.SendKeys(chromedp.CSS(field), text))
}

// front opens the page of a session, and looks at what it says in the language
// of the person before anything has begun.
func front(ctx context.Context, t *testing.T, w *rig.Dev, page, language, heading string, scripts bool) {
	t.Helper()
	do(ctx, t, chromedp.Navigate("about:blank"), noScripts(!scripts), chromedp.Navigate(page))
	until(ctx, t, title(heading)+` && document.documentElement.lang === "`+language+`" && document.querySelector("form[action^=start] button") !== null`)
	if len(w.Orders()) > 0 {
		t.Error("a login was begun because a page was fetched")
	}
}

// TestNorwegianBankID: biometrics do not work for a person, who takes the code
// and the password instead, shares what is asked for, and is back at the shop.
func TestNorwegianBankID(t *testing.T) {
	t.Parallel()
	withAndWithout(t, func(t *testing.T, scripts bool) {
		w := rig.StartDev(t, "memory")
		ctx := tab(t)
		id, page := session(w, "nbid_oidc", party(t, "localhost")+"/done", "language", "nb", "Additional_identity_info", "true")
		front(ctx, t, w, page, "nb", "Identifiser deg med BankID", scripts)
		press(ctx, t, "form[action^=start] button", there("bis"))
		press(ctx, t, "[data-testid=bis]", there("number"))
		fill(ctx, t, "number", "01010112345")
		press(ctx, t, "[data-testid=next]", there("error"))
		fill(ctx, t, "number", "01819010354")
		press(ctx, t, "[data-testid=next]", there("nobio"))
		press(ctx, t, "[data-testid=nobio]", there("password"))
		fill(ctx, t, "otp", "otp")
		fill(ctx, t, "password", "qwer12345")
		press(ctx, t, "[data-testid=code]", there("error"))
		fill(ctx, t, "otp", "otp")
		fill(ctx, t, "password", "qwer1234")
		press(ctx, t, "[data-testid=code]", there("shares"))
		press(ctx, t, "[data-testid=approve]", `location.pathname === "/done" && location.search.includes("relaystate=`+id+`")`)
		got := w.Result(id)
		if who, _ := got["identity"].(map[string]any); who == nil || who["LastName"] != "Nordmann" || who["PersonalNumber"] != "01819010354" || got["binding"] != "strong" {
			t.Errorf("result %v", got)
		}
	})
}

// TestNorwegianBankIDWithBiometrics: who asks for them is not asked which kind
// it should be.
func TestNorwegianBankIDWithBiometrics(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	id, page := session(w, "nbid_mobile", party(t, "localhost")+"/done", "language", "nb", "Additional_identity_info", "true")
	front(ctx, t, w, page, "nb", "Identifiser deg med BankID", true)
	press(ctx, t, "form[action^=start] button", there("number"))
	press(ctx, t, "[data-testid=person-ola]", there("nobio"))
	press(ctx, t, "[data-testid=approve]", there("keep"))
	press(ctx, t, "[data-testid=keep]", `location.pathname === "/done" && location.search.includes("relaystate=`+id+`")`)
	got := w.Result(id)
	if who, _ := got["identity"].(map[string]any); who == nil || who["LastName"] != "Nordmann" || got["binding"] != "strong" {
		t.Errorf("result %v", got)
	}
}

// TestMitID: a person logs on with the app, types a wrong CPR number and then
// their own, and is back at the shop.
func TestMitID(t *testing.T) {
	t.Parallel()
	withAndWithout(t, func(t *testing.T, scripts bool) {
		w := rig.StartDev(t, "memory")
		ctx := tab(t)
		id, page := session(w, "mitid", party(t, "localhost")+"/done", "language", "da", "AskForCpr", "true")
		front(ctx, t, w, page, "da", "Identificer dig med MitID", scripts)
		press(ctx, t, "form[action^=start] button", there("user"))
		fill(ctx, t, "user", "nobody")
		press(ctx, t, "[data-testid=next]", there("error"))
		fill(ctx, t, "user", "hanne85")
		press(ctx, t, "[data-testid=next]", there("with-app"))
		press(ctx, t, "[data-testid=with-app]", there("cpr"))
		fill(ctx, t, "cpr", "6103089998")
		press(ctx, t, "[data-testid=next]", there("error")+` && document.querySelector("[data-testid=purpose]").textContent.includes("Tries left: 2.")`)
		fill(ctx, t, "cpr", "890385-9996")
		press(ctx, t, "[data-testid=next]", `location.pathname === "/done" && location.search.includes("relaystate=`+id+`")`)
		got := w.Result(id)
		if who, _ := got["identity"].(map[string]any); who == nil || who["LastName"] != "Hansen" || who["PersonalNumber"] != "8903859996" || got["binding"] != "strong" {
			t.Errorf("result %v", got)
		}
	})
}

// TestMitIDAndBack: an address that was used leads there once more, for whoever
// has gone back.
func TestMitIDAndBack(t *testing.T) {
	t.Parallel()
	for name, selector := range map[string]string{"MitID": "mitid", "BankID with a number": "nbid"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := rig.StartDev(t, "memory")
			ctx := tab(t)
			form := []string{"language", "en"}
			first, again, heading := there("user"), there("user"), "Continue with MitID"
			if selector == "nbid" {
				form = append(form, "personalnumber", "01819010354")
				first, again, heading = there("password"), there("password"), "Continue with BankID"
			}
			_, page := session(w, selector, party(t, "localhost")+"/done", form...)
			do(ctx, t, chromedp.Navigate(page))
			press(ctx, t, "form[action^=start] button", first)
			do(ctx, t, chromedp.Navigate(page))
			until(ctx, t, title(heading))
			press(ctx, t, "a.button", again)
			do(ctx, t, chromedp.NavigateBack())
			until(ctx, t, title(heading))
			press(ctx, t, "a.button", again)
		})
	}
}

func TestNorwegianBankIDFromAFrame(t *testing.T) {
	t.Parallel()
	fromAFrame(t, "nbid", "form[action^=start] button", "[data-testid=person-ola]", "[data-testid=code]")
}

func TestMitIDFromAFrame(t *testing.T) {
	t.Parallel()
	fromAFrame(t, "mitid", "form[action^=start] button", "[data-testid=person-hanne]", "[data-testid=with-app]")
}

// TestNordicPages looks at every page of the two, and at ours that lead there.
func TestNordicPages(t *testing.T) {
	t.Parallel()
	axe := needAxe(t)
	w := rig.StartDev(t, "memory")
	t.Run("BankID", func(t *testing.T) {
		t.Parallel()
		ctx := tab(t)
		_, page := session(w, "nbid_oidc", "http://localhost/done", "language", "nb", "Additional_identity_info", "true")
		do(ctx, t, chromedp.Navigate(page))
		inspect(ctx, t, "nbid-front", axe)
		press(ctx, t, "form[action^=start] button", there("bis"))
		inspectSandbox(ctx, t, "nbid-method", axe)
		press(ctx, t, "[data-testid=bis]", there("number"))
		press(ctx, t, "[data-testid=next]", there("error"))
		inspectSandbox(ctx, t, "nbid-number", axe)
		press(ctx, t, "[data-testid=person-ola]", there("nobio"))
		inspectSandbox(ctx, t, "nbid-app", axe)
		press(ctx, t, "[data-testid=nobio]", there("password"))
		fill(ctx, t, "password", "guess")
		press(ctx, t, "[data-testid=code]", there("error"))
		inspectSandbox(ctx, t, "nbid-password", axe)
		press(ctx, t, "[data-testid=code]", there("shares"))
		inspectSandbox(ctx, t, "nbid-consent", axe)
		do(ctx, t, chromedp.Navigate(page))
		until(ctx, t, title("Fortsett med BankID"))
		inspect(ctx, t, "nbid-away", axe)
		press(ctx, t, "a.button", there("bis")) // another login at BankID
		do(ctx, t, click("summary"))
		press(ctx, t, "[data-testid=close]", there("error"))
		inspectSandbox(ctx, t, "nbid-stranded", axe)
	})
	t.Run("MitID", func(t *testing.T) {
		t.Parallel()
		ctx := tab(t)
		_, page := session(w, "mitid", "http://localhost/done", "language", "da", "AskForCpr", "true")
		do(ctx, t, chromedp.Navigate(page))
		inspect(ctx, t, "mitid-front", axe)
		press(ctx, t, "form[action^=start] button", there("user"))
		press(ctx, t, "[data-testid=next]", there("error"))
		inspectSandbox(ctx, t, "mitid-user", axe)
		press(ctx, t, "[data-testid=person-hanne]", there("with-app"))
		inspectSandbox(ctx, t, "mitid-authenticator", axe)
		press(ctx, t, "[data-testid=with-app]", there("cpr"))
		fill(ctx, t, "cpr", "6103089998")
		press(ctx, t, "[data-testid=next]", there("error"))
		inspectSandbox(ctx, t, "mitid-cpr", axe)
		press(ctx, t, "[data-testid=close]", there("notice"))
		inspectSandbox(ctx, t, "mitid-stranded", axe)
		do(ctx, t, chromedp.Navigate(page))
		until(ctx, t, title("Fortsæt med MitID"))
		inspect(ctx, t, "mitid-away", axe)
	})
}

// inspectSandbox inspects a page of the sandbox with all that it can unfold.
func inspectSandbox(ctx context.Context, t *testing.T, name, axe string) {
	t.Helper()
	eval[bool](ctx, t, `document.querySelectorAll("details").forEach(d => d.open = true), true`)
	inspect(ctx, t, name, axe)
}
