package browser

import (
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"

	"eidgate/test/rig"
)

// TestPhone lets orders arrive at the phone's page, and end there, without
// loading it again: what somebody types stays.
func TestPhone(t *testing.T) {
	t.Parallel()
	axe := needAxe(t)
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	begin := func(body string) string {
		t.Helper()
		_, out := w.Call("POST", w.URLs["public"]+"/BankIDSE/Authenticate", "application/json", body)
		ref, _ := out["orderRef"].(string)
		return ref
	}
	act := func(ref, event string) {
		t.Helper()
		if status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/orders/"+ref+"/events", "application/json", `{"event":"`+event+`","person":"bo"}`); status != 200 {
			t.Fatalf("%s: %d %v", event, status, out)
		}
	}
	do(ctx, t, chromedp.Navigate(w.URLs["control"]+"/phone?person=bo"))
	eval[bool](ctx, t, `window.mark = true, document.getElementById("code").value = "half a code", document.getElementById("code").focus(), true`)
	ref := begin(`{"endUserIp":"127.0.0.1"}`)
	until(ctx, t, `document.querySelector("#codes [data-testid=scan]") !== null`)
	act(ref, "scan")
	until(ctx, t, `document.querySelector("#waiting [data-testid=open-order]") !== null && document.querySelector("[data-testid=approve]") !== null`)
	if got := eval[string](ctx, t, `String(window.mark) + document.getElementById("code").value + document.activeElement.id`); got != "truehalf a codecode" {
		t.Errorf("of what was typed is left %q", got)
	}
	act(ref, "cancel")
	until(ctx, t, `document.body.innerText.includes("This order is over.") || document.querySelector("[data-pending]") === null`)
	if !eval[bool](ctx, t, `window.mark === true`) {
		t.Error("the page was loaded again")
	}
	begin(`{"endUserIp":"127.0.0.1"}`)
	until(ctx, t, `document.querySelector("#codes [data-testid=scan]") !== null`)
	do(ctx, t, click("#codes [data-testid=scan]"))
	until(ctx, t, `document.querySelector("[data-testid=approve]") !== null`)
	eval[bool](ctx, t, `document.querySelectorAll("details").forEach(d => d.open = true), true`)
	inspect(ctx, t, "phone-order", axe)
	do(ctx, t, click("[data-testid=approve]"))
	until(ctx, t, `document.body.innerText.includes("Approved. You can go back")`)
}

// TestPhoneAndBack lets a page open the app by itself, in its own tab, and goes
// from there back to the login: after yes, and after no.
func TestPhoneAndBack(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	at := party(t, "localhost")
	for _, event := range []string{"approve", "cancel"} {
		ctx := tab(t)
		id, page := session(w, "sbid", at+"/done")
		do(ctx, t, chromedp.Navigate(page))
		until(ctx, t, `location.pathname === "/phone" && document.querySelector("[data-testid=`+event+`]") !== null`)
		if eval[bool](ctx, t, `document.querySelector("[data-testid=back]") !== null`) {
			t.Error("an order that waits leads back")
		}
		do(ctx, t, click("[data-testid="+event+"]"))
		until(ctx, t, `document.querySelector("[data-testid=back]") !== null`)
		do(ctx, t, click("[data-testid=back]"))
		until(ctx, t, `location.pathname === "/done" && location.search.includes("relaystate=`+id+`")`)
	}
}

// TestPhoneAtBanks looks at what waits at a counter and at AgeChecked, and
// follows the phone's links to both.
func TestPhoneAtBanks(t *testing.T) {
	t.Parallel()
	axe := needAxe(t)
	w := rig.StartDev(t, "memory")
	ctx := tab(t)
	do(ctx, t, chromedp.Navigate(w.URLs["control"]+"/phone"))
	other := tab(t)
	for _, c := range [][2]string{{"idin", "counter"}, {"idin_age", "agechecked"}} {
		id := w.Setup(c[0], url.Values{"target": {w.HookAt}, "configid": {c[1]}})
		do(other, t, chromedp.Navigate(w.URLs["public"]+"/v2/Hosted/"+id+"/"+c[0]+"/"))
		until(other, t, `document.querySelector(".qr.counter, [data-testid=status-6]") !== null`)
	}
	until(ctx, t, `document.querySelector("[data-testid=scan-idin]") !== null && document.querySelector("[data-testid=open-bank]") !== null`)
	if got := eval[string](ctx, t, `document.getElementById("count-banks").textContent`); got != "1 waiting" {
		t.Errorf("the banks' app says %q", got)
	}
	eval[bool](ctx, t, `document.querySelectorAll("details").forEach(d => d.open = true), true`)
	inspect(ctx, t, "phone-banks", axe)
	for id, want := range map[string]string{"scan-idin": "[data-testid=issuer-BANKNL2Y]", "open-bank": "[data-testid=status-6]"} {
		do(other, t, chromedp.Navigate(eval[string](ctx, t, `document.querySelector("[data-testid=`+id+`]").href`)))
		until(other, t, `document.querySelector("`+want+`") !== null`)
	}
}

// TestSandboxPages looks at the pages about the sandbox itself.
func TestSandboxPages(t *testing.T) {
	t.Parallel()
	axe := needAxe(t)
	w := rig.StartDev(t, "memory")
	if status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/queue", "application/json", `{"outcome":"cancel","person":"bo"}`); status != 200 {
		t.Fatalf("queue: %d %v", status, out)
	}
	ctx := tab(t)
	for _, name := range []string{"people", "queue", "fidelity"} {
		do(ctx, t, chromedp.Navigate(w.URLs["control"]+"/"+name))
		inspect(ctx, t, "sandbox-"+name, axe)
	}
}
