package hosted

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/qr"
	"eidgate/web"
)

// view is what the template shows, and nothing more.
type view struct {
	words *web.Words

	Lang, Title, Lead, Party, Host, Ref, View string
	CSS, Phone, Token                         string
	Scripts                                   []string
	Query, QuerySep, Self, Action             string
	Sandbox, Poll, Framed, Auto, HasChoice    bool
	InApp                                     bool
	Refresh                                   int
	Left                                      int64  // milliseconds until the page ends; 0 if nobody can get more
	TimeLead                                  string // until when that is
	Languages                                 []option
	Countries                                 []option
	Methods                                   []option
	Fields                                    []field
	Error, Document, Status, Code             string
	QRImage, Launch, End                      template.URL
	LaunchKey, Message, Origins, Mood, Mark   string
	AsText                                    bool
}

type option struct {
	Code, Name, Value, Label string
	On, Default              bool
}

type field struct {
	Name, Kind, Label, Hint string
	Numeric                 bool
	Max                     int
	Options                 []option
}

// T is a sentence of the page's language.
func (v view) T(key string) string { return v.words.Say(v.Lang, key, "party", v.Party, "ref", v.Ref) }

// moved says that the page that asks is no longer the one to show.
func moved(v *broker.View, shown string) bool { return kind(v) != shown }

// kind is which page a view is.
func kind(v *broker.View) string {
	switch v.Place {
	case broker.AtChoice:
		return "choice"
	case broker.AtFront:
		return "form"
	case broker.AtRetry:
		return "retry"
	case broker.AtEnd:
		return "end"
	case broker.AtElsewhere:
		return "elsewhere"
	}
	switch st := v.Step.(type) {
	case connector.Wait:
		switch {
		case st.Rests:
			return "rest"
		case st.QR != "":
			return "qr"
		case st.Launch != "":
			return "app"
		}
		return "wait"
	case connector.Ask:
		return "form"
	case connector.Redirect:
		return "away"
	}
	return "wait"
}

// status is the line that a waiting page asks for; 204 when another page is
// to be shown.
func (p *Pages) status(w http.ResponseWriter, r *http.Request, v *broker.View) error {
	wait, ok := v.Step.(connector.Wait)
	if !ok || v.Place != broker.AtStep || moved(v, r.URL.Query().Get("k")) && r.URL.Query().Has("k") || wait.Rests {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err := w.Write([]byte(template.HTMLEscapeString(p.c.Words.Say(p.language(r, v), wait.Hint, "party", v.Spec.Party))))
	return err
}

// page shows where the person stands.
func (p *Pages) page(w http.ResponseWriter, r *http.Request, v *broker.View) error {
	lang := p.language(r, v)
	d := &view{words: p.c.Words, Lang: lang, Party: v.Spec.Party, Host: v.Spec.Host, Ref: v.Session.Ref(), View: kind(v),
		CSS: p.c.Static.Path("page.css"), Scripts: p.scripts("go.js"), Token: r.URL.Query().Get("w"),
		Query: query(r), Self: "./" + query(r), Sandbox: v.Session.Environment == eid.Test, Framed: framed(r), Origins: strings.Join(v.Spec.Frames, " ")}
	if d.Sandbox {
		d.Phone = p.c.Phone
	}
	d.QuerySep = "?"
	if d.Query != "" {
		d.QuerySep = d.Query + "&"
	}
	say := func(key string) string {
		return p.c.Words.Say(lang, key, "party", d.Party, "eid", v.Session.EID.Name(), "ref", d.Ref)
	}
	for _, l := range p.c.Words.Languages() {
		d.Languages = append(d.Languages, option{Code: l, Name: p.c.Words.Say(l, "lang.name"), On: l == lang})
	}
	policy := web.Policy{Frames: v.Spec.Frames, Forms: v.Spec.Next}
	switch d.View {
	case "choice":
		p.choice(r, v, d, say)
	case "form", "retry":
		if err := p.form(r, v, d, say); err != nil {
			return err
		}
	case "end", "elsewhere":
		if done, err := p.end(w, r, v, d, say); done || err != nil {
			return err
		}
	case "away":
		d.Title, d.Lead, d.Launch = say("front.title"), say("front.lead"), template.URL(v.Step.(connector.Redirect).URL) //nolint:gosec,errcheck // kind has looked, and it is the upstream's own
	default:
		if err := p.waiting(v, d, say); err != nil {
			return err
		}
	}
	if !v.Session.State.Ended() && v.CanLonger && v.Place != broker.AtElsewhere {
		d.Left = max(v.Session.Due.Sub(p.c.Now()).Milliseconds(), 1)
		d.TimeLead = p.c.Words.Say(lang, "time.lead", "time", v.Session.Due.Format("15:04 UTC"))
		d.Scripts = append(d.Scripts, p.scripts("dialog.js")...)
	}
	if d.Poll {
		d.Scripts = append(d.Scripts, p.scripts("poll.js")...)
	}
	if d.View == "qr" {
		d.Scripts = append(d.Scripts, p.scripts("qr.js")...)
	}
	if d.InApp = inApp(r.UserAgent()) && d.View != "end" && d.View != "elsewhere"; d.InApp {
		d.Scripts = append(d.Scripts, p.scripts("copy.js")...)
	}
	web.Headers(w.Header(), policy)
	if d.View == "elsewhere" {
		w.WriteHeader(http.StatusConflict)
	}
	return p.tmpl.ExecuteTemplate(w, "page", d)
}

func (p *Pages) scripts(names ...string) []string {
	for i, n := range names {
		names[i] = p.c.Static.Path(n)
	}
	return names
}

// inApp says whether a page is shown inside another app, which cannot open
// BankID's.
func inApp(agent string) bool {
	for _, mark := range []string{"FBAN", "FBAV", "Instagram", " Line/", "; wv)"} {
		if strings.Contains(agent, mark) {
			return true
		}
	}
	return false
}

// choice lists the methods of one country, and lets the person pick another
// where there are several.
func (p *Pages) choice(r *http.Request, v *broker.View, d *view, say func(string) string) {
	d.Title = say("choice.title")
	chosen := r.URL.Query().Get("country")
	var codes []string
	for _, m := range v.Spec.Methods {
		if !slices.Contains(codes, m.Country) {
			codes = append(codes, m.Country)
		}
	}
	if !slices.Contains(codes, chosen) && len(codes) > 0 {
		chosen = codes[0]
		if i := slices.IndexFunc(codes, func(c string) bool { return home[d.Lang] == c }); i >= 0 {
			chosen = codes[i]
		}
	}
	for _, m := range v.Spec.Methods {
		if m.Country == chosen {
			d.Methods = append(d.Methods, option{Value: m.Name, Label: say("method." + string(m.EID))})
		}
	}
	for _, c := range codes {
		if len(codes) > 1 {
			d.Countries = append(d.Countries, option{Code: c, Name: say("country." + c), On: c == chosen})
		}
	}
}

// home is the country that a language suggests.
var home = map[string]string{"sv": "se", "nb": "no", "da": "dk", "nl": "nl", "fi": "fi", "fr": "be"}

// form shows what a connector asks.
func (p *Pages) form(r *http.Request, v *broker.View, d *view, say func(string) string) error {
	d.Title, d.Lead, d.Action = say("front.title"), say("front.lead"), "start"
	ask := v.Front
	if st, ok := v.Step.(connector.Ask); ok && v.Place == broker.AtStep {
		ask, d.Action = &st, "submit"
	}
	if v.Session.Purpose == eid.Sign {
		d.Title, d.Lead = say("sign.title"), say("sign.lead")
		t, err := p.c.Broker.Texts(r.Context(), v.Session.ID)
		if err != nil {
			return err
		}
		d.Document = string(t.Visible)
	}
	if d.View == "retry" {
		d.Title, d.Lead = say("retry.title"), say(eid.Reasons[v.Failed].Text)
	}
	if ask == nil {
		return nil
	}
	d.Auto = ask.Auto && d.View != "retry"
	if ask.Form.Error != "" {
		d.Error = say(ask.Form.Error)
	}
	for _, f := range ask.Form.Fields {
		x := field{Name: f.Name, Kind: string(f.Kind), Label: say(ask.Form.Name + "." + f.Name), Numeric: f.Numeric, Max: f.Max}
		if f.Hint != "" {
			x.Hint = say(f.Hint)
		}
		for _, o := range f.Options {
			label := o.Label
			if !o.Plain {
				label = say(o.Label)
			}
			x.Options = append(x.Options, option{Value: o.Value, Label: label, Default: o.Value == f.Default})
			d.HasChoice = true
		}
		d.Fields = append(d.Fields, x)
	}
	return nil
}

// waiting shows a page that polls.
func (p *Pages) waiting(v *broker.View, d *view, say func(string) string) error {
	wait, _ := v.Step.(connector.Wait)
	d.Status, d.Poll, d.Refresh = say(wait.Hint), true, 5
	d.Title = say(map[string]string{"qr": "qr.title", "app": "app.title", "rest": "rest.title"}[d.View])
	if d.View == "wait" {
		d.Title = say("wait.title")
	}
	switch d.View {
	case "qr":
		svg, err := qr.SVG(wait.QR, say("qr.alt"))
		if err != nil {
			return err
		}
		d.QRImage = template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(svg)) //nolint:gosec // drawn by us
		d.Code = wait.QR
	case "app":
		d.Launch = template.URL(wait.Launch) //nolint:gosec // put together by the connector
		d.LaunchKey = fingerprint(wait.Token)
	case "rest":
		d.Poll, d.Refresh = false, 0
	}
	return nil
}

// end sends the browser away, or shows how it ended. done means that the
// answer is written.
func (p *Pages) end(w http.ResponseWriter, r *http.Request, v *broker.View, d *view, say func(string) string) (done bool, err error) {
	if d.View == "elsewhere" {
		d.Title, d.Lead, d.Mood, d.Mark = say("elsewhere.title"), say("elsewhere"), "bad", "!"
		return false, nil
	}
	leave, err := p.c.Leave(&v.Session, &v.Spec)
	if err != nil {
		return false, err
	}
	if leave.URL != "" && !d.Framed && r.Header.Get("Sec-Fetch-Dest") != "iframe" {
		web.Headers(w.Header(), web.Policy{Frames: v.Spec.Frames})
		w.Header().Set("Location", leave.URL)
		w.WriteHeader(http.StatusSeeOther)
		return true, nil
	}
	d.End, d.Message, d.AsText, d.Origins = template.URL(leave.URL), string(leave.Message), leave.AsText, strings.Join(leave.Origins, " ") //nolint:gosec // checked when the session was made
	d.Title, d.Lead, d.Mood, d.Mark = say("end.done"), say("end.doneLead"), "good", "✓"
	if v.Session.State == broker.Failed {
		info := eid.Reasons[v.Failed]
		d.Lead, d.Mood, d.Mark = say(info.Text), "bad", "!"
		d.Title = say(map[string]string{"cancelled": "end.stopped", "expired": "end.late"}[info.Outcome])
		if d.Title == "" {
			d.Title = say("end.failed")
		}
	}
	return false, nil
}

func (p *Pages) notFound(w http.ResponseWriter, r *http.Request) {
	lang := p.c.Words.Choose(r.Header.Get("Accept-Language"))
	d := &view{words: p.c.Words, Lang: lang, Party: "eidgate", View: "end", CSS: p.c.Static.Path("page.css"),
		Title: p.c.Words.Say(lang, "notfound.title"), Lead: p.c.Words.Say(lang, "notfound"), Mood: "bad", Mark: "?"}
	web.Headers(w.Header(), web.Policy{})
	w.WriteHeader(http.StatusNotFound)
	if err := p.tmpl.ExecuteTemplate(w, "page", d); err != nil {
		p.c.Log.ErrorContext(r.Context(), "page failed", "error", err)
	}
}

// fingerprint stands for a secret where only equality matters.
func fingerprint(s string) string {
	sum := sha256.Sum256([]byte("eidgate " + s))
	return hex.EncodeToString(sum[:16])
}
