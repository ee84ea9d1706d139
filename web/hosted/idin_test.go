package hosted_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/web"
	"eidgate/web/hosted"
)

// dutch is a session that chooses a bank.
func dutch(e eid.EID) *broker.View {
	v := view()
	v.Session.EID, v.Spec.Page = e, "/v2/Hosted/"+v.Session.ID+"/idin/"
	v.Spec.Wanted = []string{eid.WantID, eid.WantName, eid.WantBirth, eid.WantGender}
	v.Info.Anywhere = true
	v.Front = &connector.Ask{Form: connector.Form{Name: "idin.bank", Fields: []connector.Field{{Name: "issuer", Kind: connector.Choice, Options: []connector.Option{
		{Value: "BANKNL2Y", Label: "Bank <Een>", Plain: true, Group: "Nederland"},
		{Value: "CURRNL2A", Label: "Currence", Plain: true, Group: "Nederland", Unavailable: true},
		{Value: "BANKDEFF", Label: "Bank Drei", Plain: true, Group: "Duitsland"}}}}}}
	return v
}

// shown is what a browser gets from a page.
func shown(t *testing.T, p *hosted.Pages, target string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	p.Serve(w, httptest.NewRequest(http.MethodGet, "https://eid.example"+target, nil), "03bd36e7-a94d-4db5-9474-dd9bf258412a", "")
	return w.Code, w.Body.String()
}

func holds(t *testing.T, body string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q:\n%s", want, body)
		}
	}
}

func TestBankList(t *testing.T) {
	t.Parallel()
	_, body := shown(t, pages(t, dutch(eid.IDIN), true, hosted.Return{}), "/")
	holds(t, body, "<h1>Choose your bank</h1>", "your name, your date of birth and your gender. Nothing else.",
		`name="issuer" value="BANKNL2Y"`, "Bank &lt;Een&gt;", `aria-describedby="down-CURRNL2A"`, `id="down-CURRNL2A"`,
		`<h2 lang="nl">Nederland</h2>`, `<h2 lang="nl">Duitsland</h2>`, "My bank is not in the list")
	if strings.Count(body, "<h2 lang=") != 2 || strings.Contains(body, "data-auto") || strings.Contains(body, "data-default") {
		t.Errorf("headings, or something is chosen for the person:\n%s", body)
	}
	_, body = shown(t, pages(t, dutch(eid.IDINAge), true, hosted.Return{}), "/")
	holds(t, body, "whether you are 18 or older. Nothing else.")
}

// What the bank wants the person to read stands on the page as text, in the
// language that it was asked for in, where that is known.
func TestBankThatFailed(t *testing.T) {
	t.Parallel()
	v := dutch(eid.IDIN)
	v.Place, v.Failed, v.Step = broker.AtRetry, eid.Unavailable, connector.Fail{Reason: eid.Unavailable, Code: "SO1100", Text: "Bank <b>weg</b>", Retry: true}
	v.Front.Form.Error = "idin.down"
	_, body := shown(t, pages(t, v, true, hosted.Return{}), "/")
	holds(t, body, `<p class="lead">Bank &lt;b&gt;weg&lt;/b&gt;</p>`, "The bank cannot be reached right now.", `role="alert"`)
	v.Step = connector.Fail{Reason: eid.Unavailable, Text: "De bank antwoordt niet.", Lang: "nl", Retry: true}
	_, body = shown(t, pages(t, v, true, hosted.Return{}), "/")
	holds(t, body, `<html lang="en"`, `<p class="lead" lang="nl">De bank antwoordt niet.</p>`)
}

func TestAwayToTheBank(t *testing.T) {
	t.Parallel()
	v := dutch(eid.IDIN)
	v.Place, v.Step = broker.AtStep, connector.Redirect{URL: "https://bank.example/in?a=1&b=2"}
	p := pages(t, v, true, hosted.Return{})
	_, body := shown(t, p, "/?go=1")
	holds(t, body, `http-equiv="refresh" content="0;url=https://bank.example/in?a=1&amp;b=2"`, `href="https://bank.example/in?a=1&amp;b=2"`)
	_, body = shown(t, p, "/") // the person has come back with the browser's button
	if strings.Contains(body, "http-equiv") {
		t.Error("a page that is looked at again leaves by itself")
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "https://eid.example/start", strings.NewReader("issuer=BANKNL2Y"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.AddCookie(&http.Cookie{Name: "__Host-eidgate_b", Value: strings.Repeat("a", 32)})
	p.Serve(w, r, v.Session.ID, "start")
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "./?go=1" {
		t.Errorf("after the choice: %d to %q", w.Code, w.Header().Get("Location"))
	}
}

func TestCounter(t *testing.T) {
	t.Parallel()
	v := dutch(eid.IDIN)
	v.Place, v.Step = broker.AtStep, connector.Wait{Hint: "idin.qr.wait", Image: "data:image/png;base64,iVBORw0KGgo=",
		Choose: []connector.Option{{Value: "banks", Label: "idin.qr.banks"}}}
	_, body := shown(t, pages(t, v, true, hosted.Return{}), "/")
	holds(t, body, "Scan the code for Shop", "not with your banking app", "open the link yourself", "Only scan codes that you trust",
		`src="data:image/png;base64,iVBORw0KGgo="`, `name="choose" value="banks"`, `data-poll="status?k=counter"`)
}

// The browser that brings the bank's answer for another one sees for whom it
// was, is asked where that is open, and never gets to the party.
func TestLanding(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		name   string
		state  broker.State
		step   connector.Step
		says   string
		asked  bool
		method string
	}{
		{"asked", broker.Confirmed, connector.Wait{Hint: "idin.asks", Asks: true}, "Did you start this at Shop?", true, http.MethodGet},
		{"open", broker.Started, connector.Wait{Hint: "idin.open"}, "Go back to where you began", false, http.MethodGet},
		{"done", broker.Finished, connector.Done{}, "Go back to where you began", false, http.MethodGet},
		{"failed", broker.Failed, nil, "This did not succeed", false, http.MethodGet},
		{"says yes", broker.Confirmed, nil, "", false, http.MethodPost},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			one := dutch(eid.IDIN)
			one.Place, one.Session.State, one.Step, one.Spec.Frames = broker.AtLanding, v.state, v.step, []string{"*"}
			p := pages(t, one, true, hosted.Return{URL: "https://shop.example/done"})
			w := httptest.NewRecorder()
			r := httptest.NewRequest(v.method, "https://eid.example/callback/test/idin?trxid=1234000000000042&ec=abc", nil)
			p.Return(w, r, eid.Test, eid.IDIN)
			if v.method == http.MethodPost {
				if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/callback/test/idin?trxid=1234000000000042&ec=abc" {
					t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
				}
				return
			}
			holds(t, w.Body.String(), v.says)
			if asked := strings.Contains(w.Body.String(), `name="mine"`); asked != v.asked {
				t.Errorf("asked: %v", asked)
			}
			if guarded := strings.Contains(w.Body.String(), `<form method="post" data-guard>`); guarded != v.asked {
				t.Errorf("a click that comes too early does nothing: %v", guarded)
			}
			if anybody := strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors *"); anybody == v.asked {
				t.Errorf("any page may frame it: %v", anybody)
			}
			if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "shop.example/done") {
				t.Errorf("%d, or a way to the party: %s", w.Code, w.Body)
			}
		})
	}
}

// The one that holds the session goes to its page; nobody's return is told
// nothing; another site cannot say yes.
func TestReturn(t *testing.T) {
	t.Parallel()
	v := dutch(eid.IDIN)
	v.Place, v.Bound = broker.AtEnd, true
	p := pages(t, v, true, hosted.Return{})
	w := httptest.NewRecorder()
	p.Return(w, httptest.NewRequest(http.MethodGet, "https://eid.example/callback/test/idin?trxid=1&ec=2", nil), eid.Test, eid.IDIN)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != v.Spec.Page {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	w = httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "https://eid.example/callback/test/idin?trxid=1&ec=2", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	p.Return(w, r, eid.Test, eid.IDIN)
	if w.Code != http.StatusForbidden {
		t.Errorf("another site's yes: %d", w.Code)
	}
	w = httptest.NewRecorder()
	w.Header().Set("X-Trace-Id", "4bf92f")
	pages(t, nil, true, hosted.Return{}).Return(w, httptest.NewRequest(http.MethodGet, "https://eid.example/callback/test/idin?trxid=1&ec=2", nil), eid.Test, eid.IDIN)
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "out of order") || !strings.Contains(w.Body.String(), `Reference <bdi translate="no" dir="ltr">4bf92f</bdi>`) {
		t.Errorf("a broker that is out of order: %d %s", w.Code, w.Body)
	}
}

// A counter shows for a while that it is done; a person who stopped goes back
// at once.
func TestCounterIsDone(t *testing.T) {
	t.Parallel()
	v := dutch(eid.IDIN)
	v.Place, v.Step = broker.AtStep, connector.Wait{Hint: "idin.qr.scanned"}
	_, body := shown(t, pages(t, v, true, hosted.Return{}), "/")
	holds(t, body, "The code was scanned", `data-poll="status?k=scanned"`, `content="5;url=./?tick=1"`)
	v.Place, v.Session.State = broker.AtEnd, broker.Finished
	p := pages(t, v, true, hosted.Return{URL: "https://shop.example/done?a=1&b=2"})
	code, body := shown(t, p, "/?tick=1")
	holds(t, body, "<h1>Done</h1>", "✓", `content="10;url=https://shop.example/done?a=1&amp;b=2"`)
	if code != http.StatusOK {
		t.Errorf("status %d", code)
	}
	if code, _ := shown(t, p, "/"); code != http.StatusSeeOther {
		t.Errorf("without a counter: %d", code)
	}
	v.Session.State, v.Failed = broker.Failed, eid.Cancelled
	if code, _ := shown(t, p, "/?tick=1"); code != http.StatusSeeOther {
		t.Errorf("who stopped: %d", code)
	}
}

// TestBankListWeighs: what a browser loads to show thirty banks.
func TestBankListWeighs(t *testing.T) {
	t.Parallel()
	v := dutch(eid.IDIN)
	var options []connector.Option
	for i := range 30 {
		options = append(options, connector.Option{Value: fmt.Sprintf("BANKNL%c%c", 'A'+i%13, '2'+i%8), Label: fmt.Sprintf("Bank %d, met een lange naam in Nederland", i), Plain: true, Group: "Nederland"})
	}
	v.Front.Form.Fields[0].Options = options
	static, err := web.NewStatic()
	if err != nil {
		t.Fatal(err)
	}
	load := func(h http.Handler, target string) []byte {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "https://eid.example"+target, nil)
		r.Header.Set("Accept-Encoding", "gzip")
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d", target, w.Code)
		}
		return w.Body.Bytes()
	}
	p := pages(t, v, true, hosted.Return{})
	page := load(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Serve(w, r, v.Session.ID, "") }), "/")
	var packed bytes.Buffer // as a proxy does it; we do not, since the length would tell of what is in a page
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(page)
	_ = z.Close()
	sum, requests := packed.Len(), 1
	for _, m := range regexp.MustCompile(`(?:href|src)="(/static/[^"]+)"`).FindAllStringSubmatch(string(page), -1) {
		sum += len(load(static, m[1]))
		requests++
	}
	t.Logf("%d bytes in %d requests, %d of them the page", sum, requests, packed.Len())
	if sum > 25_000 || requests > 4 {
		t.Errorf("%d bytes in %d requests, want at most 25000 in 4", sum, requests)
	}
}
