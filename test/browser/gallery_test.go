package browser

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/web"
	"eidgate/web/hosted"
)

// A still is a broker that stands still: each session is a view under its id.
type still map[string]*broker.View

func (s still) Look(_ context.Context, id string, _ broker.Handle, _ connector.Browser) (*broker.View, error) {
	if v := s[id]; v != nil {
		return v, nil
	}
	return nil, errors.New("out of order")
}

func (s still) Choose(ctx context.Context, id string, h broker.Handle, br connector.Browser, _ string) (*broker.View, error) {
	return s.Look(ctx, id, h, br)
}

func (s still) Open(ctx context.Context, id string, h broker.Handle, br connector.Browser, _ url.Values, _ bool) (*broker.View, error) {
	return s.Look(ctx, id, h, br)
}

func (s still) Act(ctx context.Context, id string, h broker.Handle, br connector.Browser, _ connector.Event) (*broker.View, error) {
	return s.Look(ctx, id, h, br)
}

func (still) Away(context.Context, string, broker.Handle, string) (string, error) {
	return "https://eid.example", nil
}

func (s still) Cancel(ctx context.Context, id string, h broker.Handle) (*broker.View, error) {
	return s.Look(ctx, id, h, connector.Browser{})
}

func (s still) Extend(ctx context.Context, id string, h broker.Handle) (*broker.View, error) {
	return s.Look(ctx, id, h, connector.Browser{})
}

func (s still) Speak(ctx context.Context, id string, h broker.Handle, _ string) (*broker.View, error) {
	return s.Look(ctx, id, h, connector.Browser{})
}

func (s still) Returned(ctx context.Context, _ eid.Environment, _ eid.EID, _ connector.Inbound, _ broker.Handle, br connector.Browser) (*broker.View, error) {
	return nil, broker.ErrNotFound
}

func (s still) Texts(context.Context, string) (*connector.Texts, error) {
	return &connector.Texts{Format: "simpleMarkdownV1", Visible: eid.Text("# Agreement 4711\n\nI buy *one lamp* for 100 kr.\n\n|Article|Price|\n|:-|-:|\n|Lamp|*100 kr*|\n\n+1 It is blue.\n+2 It is mine after I paid.\n---\nDemo shop")}, nil
}

// gallery serves pages that a sandbox with one eID does not have, or not soon.
func gallery(t *testing.T) (base string) {
	t.Helper()
	at := time.Now() // and it stays so
	view := func(change func(*broker.View)) *broker.View {
		v := &broker.View{Session: broker.Session{ID: "03bd36e7-a94d-4db5-9474-dd9bf258412a", State: broker.Created, Environment: eid.Test,
			EID: eid.BankIDSE, Purpose: eid.Identify, Language: "en", Due: at.Add(15 * time.Minute)}, CanLonger: true,
			Spec: broker.Spec{Party: "Demo shop", Host: "shop.example", Next: []string{"https://shop.example"}, Methods: []broker.Method{
				{Name: "sbid-another", EID: eid.BankIDSE, Country: "se"}, {Name: "nbid", EID: eid.BankIDNO, Country: "no"}, {Name: "sbid", EID: eid.BankIDSE, Country: "se"}}}}
		change(v)
		return v
	}
	device := connector.Field{Name: "device", Kind: connector.Choice, Default: "same", Options: []connector.Option{
		{Value: "same", Label: "bankidse.device.same"}, {Value: "other", Label: "bankidse.device.other"}}}
	number := connector.Field{Name: "personalnumber", Kind: connector.TextField, Hint: "bankidse.personalnumber.hint", Max: 20, Numeric: true,
		Error: "bankidse.personalnumber.error", Default: "19900101"}
	pages := still{
		"choice": view(func(v *broker.View) { v.Place = broker.AtChoice }),
		"long": view(func(v *broker.View) {
			v.Place, v.Session.Language, v.Spec.Party = broker.AtChoice, "de", strings.Repeat("Versicherungsgesellschaft", 4)
			v.Spec.Host = strings.Repeat("versicherung", 4) + ".example"
		}),
		"number": view(func(v *broker.View) {
			v.Place = broker.AtFront
			v.Front = &connector.Ask{Form: connector.Form{Name: "bankidse.device", Fields: []connector.Field{number, device}, Error: number.Error}}
		}),
		"markdown": view(func(v *broker.View) {
			v.Place, v.Session.Purpose = broker.AtFront, eid.Sign
			v.Front = &connector.Ask{Form: connector.Form{Name: "bankidse.device", Fields: []connector.Field{device}}}
		}),
		"hurry": view(func(v *broker.View) {
			v.Place, v.Step = broker.AtStep, connector.Wait{QR: "bankid.67df3917-fa0d-44e5-b327-edcc928297f8.0.dc69358e712458a66a7525beef148ae8526b1c71610eff2c16cdffb4cdac9bf8",
				Hint: "bankidse.rfa1", Until: at.Add(50 * time.Second), Fresh: true}
		}),
		"banks": view(func(v *broker.View) {
			v.Place, v.Front = broker.AtFront, &connector.Ask{Form: connector.Form{Name: "idin.bank", Fields: []connector.Field{{Name: "issuer", Kind: connector.Choice, Options: thirty()}}}}
			v.Session.EID, v.Session.Language, v.Spec.Wanted = eid.IDIN, "nl", []string{eid.WantID, eid.WantName, eid.WantBirth}
		}),
		"bank-down": view(func(v *broker.View) {
			v.Place, v.Failed, v.Step = broker.AtRetry, eid.Unavailable, connector.Fail{Reason: eid.Unavailable, Retry: true,
				Text: "De gekozen bank is op dit moment niet bereikbaar."}
			v.Front = &connector.Ask{Form: connector.Form{Name: "idin.bank", Error: "idin.down", Fields: []connector.Field{{Name: "issuer", Kind: connector.Choice, Options: thirty()[:4]}}}}
			v.Session.EID, v.Session.Language, v.Session.Purpose = eid.IDINAge, "nl", eid.Age
		}),
		"away": view(func(v *broker.View) {
			v.Place, v.Step, v.Session.EID = broker.AtStep, connector.Redirect{URL: "https://bank.example/"}, eid.IDIN
		}),
		"landing": view(func(v *broker.View) {
			v.Place, v.Step, v.Session.EID, v.Session.State = broker.AtLanding, connector.Wait{Asks: true}, eid.IDIN, broker.Confirmed
		}),
		"elsewhere": view(func(v *broker.View) { v.Place = broker.AtElsewhere }),
		"failed": view(func(v *broker.View) {
			v.Place, v.Session.State, v.Failed, v.Spec.Host = broker.AtEnd, broker.Failed, eid.Unusable, ""
		}),
		"finished": view(func(v *broker.View) { v.Place, v.Session.State = broker.AtEnd, broker.Finished }),
		"over":     view(func(v *broker.View) { v.Place, v.Session.State, v.Session.ID = broker.AtEnd, broker.Finished, "over" }),
	}
	static, err := web.NewStatic()
	if err != nil {
		t.Fatal(err)
	}
	words, err := web.NewWords()
	if err != nil {
		t.Fatal(err)
	}
	p, err := hosted.New(hosted.Config{Broker: pages, Static: static, Words: words, Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler),
		Client: func(*http.Request) netip.Addr { return netip.Addr{} },
		Leave: func(_ context.Context, s *broker.Session, spec *broker.Spec) (hosted.Return, error) {
			if s.ID == "over" {
				return hosted.Return{Over: true}, nil
			}
			if spec.Host == "" {
				return hosted.Return{Message: []byte("{}")}, nil
			}
			return hosted.Return{URL: "https://shop.example/back", Message: []byte("{}")}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/")
		if parts[1] == "static" {
			static.ServeHTTP(w, r)
			return
		}
		p.Serve(w, r, parts[1], parts[len(parts)-1])
	}))
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
}

// thirty are as many banks as the Netherlands have, and more.
func thirty() (out []connector.Option) {
	for i := range 30 {
		out = append(out, connector.Option{Value: fmt.Sprintf("BANKNL%c%c", 'A'+i/10, '2'+i%8), Label: fmt.Sprintf("Bank nummer %d van Nederland", i+1), Plain: true, Group: "Nederland", Unavailable: i == 2})
	}
	return out
}

// TestGallery looks at the pages that TestPages has no way to.
func TestGallery(t *testing.T) {
	t.Parallel()
	text := needAxe(t)
	base := gallery(t)
	ctx := tab(t)
	do(ctx, t, first(text))
	for _, c := range []struct {
		name, page, what string
		look             bool // unlike every other
	}{
		{"choice", "choice/", `[...document.querySelectorAll(".methods h2, .methods button")].map(e => e.value || e.textContent).join() === "Sweden,sbid-another,sbid,Norway,nbid"`, true},
		{"long", "long/", title("Wie möchten Sie sich ausweisen?"), true},
		{"number", "number/", `document.activeElement.getAttribute("role") === "alert" && document.querySelector("#personalnumber").value === "19900101" && document.title.startsWith("There is a problem: ")`, true},
		{"markdown", "markdown/", `document.querySelectorAll(".doc table td").length === 2 && document.querySelector(".count").textContent.includes("145")`, true},
		{"hurry", "hurry/", `[...document.querySelectorAll("[data-poll] span")].map(s => s.textContent).join("|") === "Open the BankID app to continue.|Less than 1 minute left.|New code."`, true},
		{"banks", "banks/", `document.querySelectorAll("button[name=issuer]").length === 30 && document.querySelector("input[type=search]") !== null`, true},
		{"bank-down", "bank-down/", `document.activeElement.getAttribute("role") === "alert" && document.querySelector("[aria-describedby=down-" + document.querySelectorAll("button[name=issuer]")[2].value + "]") !== null`, true},
		{"away", "away/", `document.querySelector("a.button").href === "https://bank.example/" && document.querySelector("meta[http-equiv]") === null`, true},
		{"landing", "landing/", `document.querySelector("button[name=mine]") !== null`, true},
		{"elsewhere", "elsewhere/", `document.querySelector("a.button").href === "https://shop.example/"`, true},
		{"returned", "elsewhere/#nonce=abc", `document.querySelector("h1").textContent === "Continue in the browser where you began" && location.hash === ""`, false},
		{"failed", "failed/", title("This was not confirmed"), false},
		{"over", "over/", `document.querySelector("a.button").href === "https://shop.example/"`, true},
		{"tab", "finished/?tab=1", `document.querySelector("h1").textContent === "Finished in another tab"`, false},
		{"problem", "nothing/", `document.querySelector("a.button").textContent === "Try again"`, false},
	} {
		do(ctx, t, chromedp.Navigate(base+"/"+c.page))
		until(ctx, t, c.what)
		if c.look || os.Getenv("EIDGATE_SHOTS") != "" {
			inspect(ctx, t, c.name, text)
		}
		do(ctx, t, chromedp.Navigate("about:blank"))
	}
}
