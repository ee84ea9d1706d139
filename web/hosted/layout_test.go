package hosted_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/web/hosted"
)

// TestLayoutsAreNotMixed: a server that has shown a page to one person shows
// another one what a server would that has shown nothing yet.
func TestLayoutsAreNotMixed(t *testing.T) {
	t.Parallel()
	with := func(change func(*broker.View)) *broker.View { v := view(); change(v); return v }
	wait := func(w connector.Wait) func(*broker.View) {
		return func(v *broker.View) { v.Place, v.Step = broker.AtStep, w }
	}
	views := []*broker.View{
		view(), view("https://shop.example"),
		with(func(v *broker.View) { v.Session.ID = "9f1c6f0e-2222-4111-8111-111111111111" }),
		with(func(v *broker.View) { v.Spec.Party = "Shop <2>" }),
		with(func(v *broker.View) { v.Spec.Host = "shop.example.net" }),
		with(func(v *broker.View) { v.Session.Language = "sv" }),
		with(func(v *broker.View) { v.Session.Environment = eid.Test }),
		with(func(v *broker.View) { v.Session.EID = eid.Itsme }),
		with(func(v *broker.View) { v.Session.Purpose = eid.Sign }),
		with(func(v *broker.View) { v.Front.Form.Error = "error.title" }),
		with(func(v *broker.View) { v.Spec.Methods = []broker.Method{{Name: "sbid"}, {Name: "idin"}} }),
		with(func(v *broker.View) { v.CanLonger = false }),
		with(func(v *broker.View) { v.Session.Due = now.Add(7e9) }),
		with(func(v *broker.View) { v.Place, v.Failed = broker.AtRetry, eid.Cancelled }),
		with(func(v *broker.View) { v.Place, v.Failed = broker.AtRetry, eid.Expired }),
		with(func(v *broker.View) { v.Place = broker.AtElsewhere }),
		with(func(v *broker.View) { v.Place, v.Session.State = broker.AtEnd, broker.Finished }),
		with(func(v *broker.View) { v.Place, v.Session.State, v.Failed = broker.AtEnd, broker.Failed, eid.Declined }),
		with(func(v *broker.View) { v.Place, v.Step = broker.AtStep, connector.Redirect{URL: "https://a.example/1"} }),
		with(func(v *broker.View) { v.Place, v.Step = broker.AtStep, connector.Redirect{URL: "https://a.example/2"} }),
		with(wait(connector.Wait{QR: "bankid.x.0.y", Hint: "bankidse.rfa1"})),
		with(wait(connector.Wait{QR: "bankid.x.1.y", Hint: "bankidse.rfa9"})),
		with(wait(connector.Wait{Hint: "bankidse.rfa1"})),
		with(wait(connector.Wait{Hint: "idin.qr.scanned"})),
		with(wait(connector.Wait{Rests: true, Hint: "bankidse.rfa8"})),
	}
	header := [][]string{{"Cookie", "__Host-eidgate_b=" + strings.Repeat("a", 32)},
		{"Cookie", "__Host-eidgate_b=" + strings.Repeat("a", 32), "User-Agent", "Instagram", "Sec-Fetch-Dest", "iframe"}}
	targets := []string{"", "?go=1", "?choose=1", "?w=" + strings.Repeat("a", 32), "?w=" + strings.Repeat("b", 32)}
	shared := view()
	old := pages(t, shared, true, hosted.Return{})
	for range 2 {
		for i, v := range views {
			*shared = *v
			fresh := pages(t, v, true, hosted.Return{})
			for _, target := range targets {
				for _, h := range header {
					var body [2]*httptest.ResponseRecorder
					for j, p := range []*hosted.Pages{old, fresh} {
						body[j] = serve(p, "GET", target, "", h...)
					}
					if got, want := body[0].Body.String(), body[1].Body.String(); got != want {
						t.Fatalf("view %d, %q: the page is\n%s, want\n%s", i, target, got, want)
					}
				}
			}
		}
	}
}
