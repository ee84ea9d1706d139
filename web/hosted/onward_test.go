package hosted_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/web/hosted"
)

// TestStraight: only a browser in which a person has opened an address in a
// window may be sent on with the answer.
func TestStraight(t *testing.T) {
	t.Parallel()
	p := pages(t, view(), true, hosted.Return{})
	for name, c := range map[string]struct {
		method string
		header []string
		want   bool
	}{
		"a person":                      {http.MethodGet, []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-User", "?1"}, true},
		"a preview, or an old browser":  {http.MethodGet, nil, false},
		"a frame":                       {http.MethodGet, []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, false},
		"a script":                      {http.MethodGet, []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, false},
		"what a browser fetches ahead":  {http.MethodGet, []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Purpose", "prefetch;prerender"}, false},
		"a picture of a top hit":        {http.MethodGet, []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "X-Purpose", "preview"}, false},
		"the window of another app":     {http.MethodGet, []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "User-Agent", "Mozilla/5.0 (Linux; Android 15; wv) Version/4.0"}, false},
		"a form, whose policy may bind": {http.MethodPost, []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, false},
		"who only asks whether it's up": {http.MethodHead, []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, false},
	} {
		r := httptest.NewRequest(c.method, "https://eid.example/authorize", nil)
		for i := 0; i < len(c.header); i += 2 {
			r.Header.Set(c.header[i], c.header[i+1])
		}
		if got := p.Straight(r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestOnward: a browser goes to the party with what belongs to that, or to the
// page, which leads to the eID by itself; in a frame and after a form it does not.
func TestOnward(t *testing.T) {
	t.Parallel()
	const party = "https://shop.example/done?code=1"
	cookie := &http.Cookie{Name: "o", Value: "v"}
	for name, c := range map[string]struct {
		place  broker.Place
		step   connector.Step
		leave  hosted.Return
		method string
		dest   string
		want   string
		cookie bool
	}{
		"to the eID":              {place: broker.AtStep, step: connector.Redirect{URL: "https://upstream.example/"}, want: "/s/?go=1"},
		"to a code on our page":   {place: broker.AtStep, step: connector.Wait{QR: "x"}, want: "page"},
		"another try":             {place: broker.AtRetry, step: connector.Fail{Reason: eid.Unavailable, Retry: true}, want: "page"},
		"back":                    {place: broker.AtEnd, leave: hosted.Return{URL: party, Cookie: cookie}, want: party, cookie: true},
		"back, with a form":       {place: broker.AtEnd, leave: hosted.Return{URL: party, Post: url.Values{"code": {"1"}}, Cookie: cookie}, want: "page"},
		"an end on our page":      {place: broker.AtEnd, want: "page"},
		"to the eID from a frame": {place: broker.AtStep, step: connector.Redirect{URL: "https://upstream.example/"}, dest: "iframe", want: "page"},
		"back from a frame":       {place: broker.AtEnd, leave: hosted.Return{URL: party, Cookie: cookie}, dest: "iframe", want: "page"},
		"after a form":            {place: broker.AtEnd, leave: hosted.Return{URL: party, Cookie: cookie}, method: http.MethodPost, want: "page"},
	} {
		v := view()
		v.Place, v.Step, v.Bound, v.Spec.Page = c.place, c.step, true, "/s/"
		r := httptest.NewRequest(http.MethodGet, "https://eid.example/authorize", nil)
		if c.method != "" {
			r.Method = c.method
		}
		r.Header.Set("Sec-Fetch-Dest", c.dest)
		w := httptest.NewRecorder()
		if err := pages(t, v, true, c.leave).Onward(w, r, v); err != nil {
			t.Fatal(err)
		}
		if c.want == "page" {
			c.want = v.Spec.Page
		}
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != c.want || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %d %v, want %s", name, w.Code, w.Header(), c.want)
		}
		if got := len(w.Result().Cookies()) > 0; got != c.cookie {
			t.Errorf("%s: with a cookie: %v", name, got)
		}
	}
}

// TestReturnStraight: whoever comes back from an eID that has confirmed them is
// at the party with the next answer; one whose eID awaits them again sees a
// page, or they would be sent to and fro.
func TestReturnStraight(t *testing.T) {
	t.Parallel()
	v := dutch(eid.IDIN)
	v.Place, v.Bound, v.Session.State = broker.AtEnd, true, broker.Finished
	at := "https://eid.example/callback/test/idin?trxid=1&ec=2"
	p := pages(t, v, true, hosted.Return{URL: "https://shop.example/done"})
	w := httptest.NewRecorder()
	p.Return(w, httptest.NewRequest(http.MethodGet, at, nil), eid.Test, eid.IDIN)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "https://shop.example/done" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	v.Place, v.Step = broker.AtStep, connector.Redirect{URL: "https://upstream.example/"}
	w = httptest.NewRecorder()
	p.Return(w, httptest.NewRequest(http.MethodGet, at, nil), eid.Test, eid.IDIN)
	if w.Header().Get("Location") != v.Spec.Page {
		t.Errorf("awaited again: to %q", w.Header().Get("Location"))
	}
	v.Place = broker.AtEnd
	p = pages(t, v, true, hosted.Return{}, func(c *hosted.Config) {
		c.Leave = func(context.Context, *broker.Session, *broker.Spec) (hosted.Return, error) {
			return hosted.Return{}, errors.New("out of order")
		}
	})
	w = httptest.NewRecorder()
	p.Return(w, httptest.NewRequest(http.MethodGet, at, nil), eid.Test, eid.IDIN)
	if w.Code != http.StatusInternalServerError || w.Header().Get("Location") != "" {
		t.Errorf("nowhere to go back to: %d to %q", w.Code, w.Header().Get("Location"))
	}
}

// A chooser is a broker that notes what is opened.
type chooser struct {
	one
	opened *[]string
}

func (c chooser) Open(_ context.Context, _ string, _ broker.Handle, _ connector.Browser, input url.Values, framed bool) (*broker.View, error) {
	*c.opened = append(*c.opened, input.Encode()+map[bool]string{true: " framed"}[framed])
	v := *c.v
	v.Place, v.Step = broker.AtStep, connector.Redirect{URL: "https://upstream.example/"}
	return &v, nil
}

// TestChosen: who has chosen an eID that is elsewhere, and whose page would have
// nothing more to ask, is on the way there.
func TestChosen(t *testing.T) {
	t.Parallel()
	bank := connector.Field{Name: "issuer", Kind: connector.Choice, Options: []connector.Option{{Value: "ONE"}}}
	only := bank
	only.Default = "ONE"
	for name, c := range map[string]struct {
		change func(*broker.View)
		header []string
		opened string // how; "" for not at all
		to     string
	}{
		"nothing to ask": {opened: "-", to: "./?go=1"},
		"in a frame":     {header: []string{"Sec-Fetch-Dest", "iframe"}, opened: "- framed", to: "./?go=1"},
		"a bank is named": {change: func(v *broker.View) {
			v.Front = &connector.Ask{Auto: true, Form: connector.Form{Fields: []connector.Field{only}}}
		}, opened: "issuer=ONE", to: "./?go=1"},
		"banks":               {change: func(v *broker.View) { v.Front = &connector.Ask{Form: connector.Form{Fields: []connector.Field{bank}}} }, to: "./"},
		"an eID on our pages": {change: func(v *broker.View) { v.Info.Leaves = false }, to: "./"},
		"a text to read":      {change: func(v *broker.View) { v.Spec.Texts = true }, to: "./"},
		"an order that runs":  {change: func(v *broker.View) { v.Place, v.Step = broker.AtStep, connector.Wait{} }, to: "./"},
		"another app":         {header: []string{"User-Agent", "Mozilla/5.0 (iPhone) FBAN/FBIOS"}, to: "./"},
	} {
		v := view()
		v.Place, v.Info.Leaves, v.Bound = broker.AtFront, true, true
		if c.change != nil {
			c.change(v)
		}
		var opened []string
		p := pages(t, v, true, hosted.Return{}, func(config *hosted.Config) { config.Broker = chooser{one{v}, &opened} })
		w := serve(p, http.MethodPost, "choose", "method=x", append([]string{"Cookie", "__Host-eidgate_b=0123456789012345678901234567"}, c.header...)...)
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != c.to {
			t.Errorf("%s: %d to %s, want %s", name, w.Code, w.Header().Get("Location"), c.to)
		}
		want := []string{strings.TrimPrefix(c.opened, "-")}
		if c.opened == "" {
			want = nil
		}
		if !slices.Equal(opened, want) {
			t.Errorf("%s: opened %q, want %q", name, opened, want)
		}
	}
}

// A beginner is a broker whose session has begun with one of its methods.
type beginner struct{ one }

func (beginner) Choose(context.Context, string, broker.Handle, connector.Browser, string) (*broker.View, error) {
	return nil, broker.ErrMove
}

// TestChosenTwice: a second press is on the way to the eID that the first has
// begun, if it is the same.
func TestChosenTwice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method string
		step   connector.Step
		to     string
	}{
		"the same":                     {"itsme", connector.Redirect{URL: "https://upstream.example/"}, "./?go=1"},
		"the same, without its answer": {"itsme", connector.Wait{Hint: "wait.working"}, "./"},
		"another":                      {"mitid", connector.Redirect{URL: "https://upstream.example/"}, "./"},
	} {
		v := view()
		v.Place, v.Step, v.Bound, v.Session.Method = broker.AtStep, c.step, true, "itsme"
		p := pages(t, v, true, hosted.Return{}, func(config *hosted.Config) { config.Broker = beginner{one{v}} })
		w := serve(p, http.MethodPost, "choose", "method="+c.method, "Cookie", "__Host-eidgate_b=0123456789012345678901234567")
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != c.to {
			t.Errorf("%s: %d to %s, want %s", name, w.Code, w.Header().Get("Location"), c.to)
		}
	}
}
