package hosted

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"html/template"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/qr"
	"eidgate/web"
)

// view is what the templates show, and nothing more.
type view struct {
	Layout // templates say .Layout.Query: .Query would be found, and slowly

	Ref                                   string
	Left                                  int64  // milliseconds until the page ends; 0 if nobody can get more
	TimeLead                              string // the same, for those without scripts
	Action, Error, Count, Code, Go, Brand string
	Framed, Auto, Continue, AsText        bool
	Landing, Wrong                        bool // Wrong: a field is, and not the form as a whole
	Methods                               []option
	Fields                                []field
	Choose                                []option // beside a code
	Status                                []string
	Document                              template.HTML
	Launch, End, Image                    template.URL
	QRSource                              template.HTMLAttr // of an image
	LaunchKey, Message, Origins           string
	To                                    template.URL // where an end without a return of its own leads; an app's scheme may be in it
	ToText                                string
	Cause, Trace                          string // of Code, for developers and for operators
}

type option struct {
	Value, Label, Hint, Mark string
	Default, Unavailable     bool
	Group                    string // heading that it begins
}

type field struct {
	Name, Kind, Label, Hint, Error, Described string
	Default                                   string
	Numeric                                   bool
	Max                                       int
	Options                                   []option
}

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
	case broker.AtLanding:
		return "landing"
	case broker.AtStep:
	}
	switch st := v.Step.(type) {
	case connector.Wait:
		switch {
		case st.Rests:
			return "rest"
		case st.QR != "":
			return "qr"
		case st.Image != "":
			return "counter"
		case st.Hint == "idin.qr.scanned":
			return "scanned"
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

// status is what a waiting page asks for, a line for each part of its status;
// 204 when another page is to be shown than shown says, and whether that is the
// last.
func (p *Pages) status(w http.ResponseWriter, r *http.Request, v *broker.View, shown url.Values) error {
	wait, ok := v.Step.(connector.Wait)
	if _, away := v.Step.(connector.Redirect); away && v.Place == broker.AtStep && shown.Get("k") == "away" { // a frame waits for what it has opened
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		return nil
	}
	if !ok || v.Place != broker.AtStep || shown.Has("k") && shown.Get("k") != kind(v) || wait.Rests {
		if v.Place == broker.AtEnd {
			w.Header().Set("Eidgate-Ended", "1")
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	lang := p.language(r, v)
	_, err := io.WriteString(w, strings.Join(p.news(wait, func(key string) string {
		return p.c.Words.Say(lang, key, "party", v.Spec.Party)
	}), "\n"))
	return err
}

// news is the status of a waiting page: what to do, how little time is left,
// and that the code is a new one. The second changes three times, so that it
// is not spoken all the time.
func (p *Pages) news(wait connector.Wait, say func(string) string) []string {
	out := []string{say(wait.Hint), "", ""}
	if !wait.Until.IsZero() {
		switch left := wait.Until.Sub(p.c.Now()); {
		case left <= 20*time.Second:
			out[1] = say("left.20")
		case left <= time.Minute:
			out[1] = say("left.60")
		case left <= 2*time.Minute:
			out[1] = say("left.120")
		}
	}
	if wait.Fresh {
		out[2] = say("qr.new")
	}
	return out
}

// lasts says how long a page lives at most, in whole minutes: no clock, since
// nobody knows in which zone the person reads it, and no less than is true when
// they read it later than it was made.
func (p *Pages) lasts(left time.Duration, lang string) string {
	switch {
	case left <= time.Minute:
		return p.c.Words.Say(lang, "left.60")
	case left <= 2*time.Minute:
		return p.c.Words.Say(lang, "left.120")
	}
	return p.c.Words.Say(lang, "time.lead", "count", strconv.Itoa(int(math.Ceil(left.Minutes()))))
}

// page shows where the person stands.
func (p *Pages) page(w http.ResponseWriter, r *http.Request, v *broker.View) error {
	lang := p.language(r, v)
	q := query(r)
	d := &view{Layout: Layout{words: p.c.Words, Theme: p.c.Look(v.Session.Account, v.Spec.Layout).in(lang), Lang: lang, Party: v.Spec.Party, Host: v.Spec.Host, View: kind(v), EID: v.Session.EID.Name(),
		Query: q, QuerySep: "?", Self: "./" + q, Sandbox: v.Session.Environment == eid.Test, Refers: true, Scripts: true},
		Ref: v.Session.Ref(), Framed: framed(r), Origins: strings.Join(v.Spec.Frames, " ")}
	if q != "" {
		d.QuerySep = q + "&"
	}
	if d.Sandbox {
		d.Phone = p.c.Phone
		if p.c.Faults != nil {
			d.Faults = strings.Join(p.c.Faults(), ", ")
		}
	}
	if v.Elective() && d.View != "choice" {
		if params(r).Has("choose") {
			d.View, d.EID = "choice", ""
		} else {
			d.Back = "./" + d.QuerySep + "choose=1"
		}
	}
	if d.Here = d.Self; d.View == "counter" || d.View == "scanned" {
		d.Here = "./" + d.QuerySep + "tick=1"
	}
	say := func(key string) string {
		return p.c.Words.Say(lang, key, "party", d.Party, "eid", v.Session.EID.Name(), "ref", d.Ref)
	}
	policy := web.Policy{Frames: v.Spec.Frames, Forms: v.Spec.Next}
	switch d.View {
	case "choice":
		p.choice(v, d, say)
	case "form", "retry":
		if err := p.form(r, v, d, say); err != nil {
			return err
		}
	case "landing":
		p.landing(v, d, say)
	case "end", "elsewhere":
		if done, err := p.end(w, r, v, d, say); done || err != nil {
			return err
		}
	case "away":
		e := string(v.Session.EID)
		d.Brand = e
		d.Title, d.Lead, d.Go = say("away.title."+e), say("away.lead."+e), say("away.go."+e)
		step, _ := v.Step.(connector.Redirect) // kind has looked
		d.Launch = link(step.URL)
		if step.Renews {
			to := "go" + query(r)
			if d.Framed { // it opens in a tab of its own, where the frame's cookie may not be
				to = "go?pass=" + v.Pass
			}
			d.Launch = link(to)
		}
		if params(r).Has("go") && !d.Framed {
			d.AtOnce = d.Launch
		}
	default:
		if err := p.waiting(v, d, say); err != nil {
			return err
		}
	}
	if !v.Session.State.Ended() && v.CanLonger {
		d.Left = max(v.Session.Due.Sub(p.c.Now()).Milliseconds(), 1)
		d.TimeLead = p.lasts(v.Session.Due.Sub(p.c.Now()), lang)
	}
	d.InApp = inApp(r.UserAgent()) && d.View != "end" && d.View != "elsewhere"
	if d.InApp { // what begins here cannot go on in the browser that the notice asks for
		d.Auto = false
	}
	if d.Document != "" || d.Landing { // what confirms something is not shown by just anybody
		policy.Frames = slices.DeleteFunc(slices.Clone(policy.Frames), func(o string) bool { return o == "*" })
	}
	web.Headers(w.Header(), policy)
	if d.View == "elsewhere" {
		w.WriteHeader(http.StatusConflict)
	}
	return p.show(w, d)
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// show writes a page, whole or not at all.
func (p *Pages) show(w http.ResponseWriter, d *view) error {
	layout, err := p.draw(&d.Layout)
	if err != nil {
		return err
	}
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	b.Write(layout[0])
	for i, name := range [len(layout) - 1]string{part(d.View), "time", "ref"} {
		if err := p.tmpl[d.Lang].ExecuteTemplate(b, name, d); err != nil {
			return err
		}
		b.Write(layout[i+1])
	}
	return send(w, b)
}

func send(w http.ResponseWriter, b *bytes.Buffer) error {
	w.Header().Set("Content-Length", strconv.Itoa(b.Len())) // or it goes in chunks, which cost a write more
	_, err := w.Write(b.Bytes())
	return err
}

// part is the template of what a view has of its own.
func part(name string) string {
	switch name {
	case "elsewhere":
		name = "end"
	case "retry":
		name = "form"
	case "scanned":
		name = "wait"
	}
	return "view-" + name
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

// choice lists the methods in the party's order, by country where there are
// several: that of the page's language comes first.
func (p *Pages) choice(v *broker.View, d *view, say func(string) string) {
	d.Title, d.Lead = say("choice.title"), say("choice.lead")
	if onlyAge(v) {
		d.Title, d.Lead = say("choice.adult"), say("needs.adult")
	}
	var codes []string
	for _, m := range v.Spec.Methods {
		if !slices.Contains(codes, m.Country) {
			codes = append(codes, m.Country)
		}
	}
	slices.SortStableFunc(codes, func(a, b string) int {
		switch home[d.Lang] {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	for _, c := range codes {
		group := ""
		if len(codes) > 1 {
			group = say("country." + c)
		}
		for _, m := range v.Spec.Methods {
			if m.Country == c {
				d.Methods = append(d.Methods, option{Value: m.Name, Label: say("method." + string(m.EID)), Hint: say("method." + string(m.EID) + ".hint"),
					Mark: initial(say("method." + string(m.EID))), Group: group})
				group = ""
			}
		}
	}
}

// home is the country that a language suggests.
var home = map[string]string{"sv": "se", "nb": "no", "da": "dk", "nl": "nl", "fi": "fi", "fr": "be"}

// form shows what a connector asks.
func (p *Pages) form(r *http.Request, v *broker.View, d *view, say func(string) string) error {
	d.Title, d.Lead, d.Action = say("front.title"), needs(v, say), "start"+d.Query
	d.Continue = true
	ask := v.Front
	if st, ok := v.Step.(connector.Ask); ok && v.Place == broker.AtStep {
		ask, d.Action = &st, "submit"+d.Query
	}
	if v.Session.Purpose == eid.Sign {
		d.Title, d.Lead = say("sign.title"), say("sign.lead")
		t, err := p.c.Broker.Texts(r.Context(), v.Session.ID)
		if err != nil {
			return err
		}
		d.Document = document(string(t.Visible), t.Format)
		d.Count = p.c.Words.Say(d.Lang, "sign.count", "count", strconv.Itoa(utf8.RuneCountInString(string(t.Visible))))
	}
	if ask != nil && ask.Form.Name == "idin.bank" {
		d.Title = say("idin.bank.title")
	}
	if d.View == "retry" {
		d.Title, d.Lead = say("retry.title"), say(eid.Reasons[v.Failed].Text)
		if f, ok := v.Step.(connector.Fail); ok && f.Text != "" {
			d.Lead, d.LeadLang = f.Text, f.Lang
		}
	}
	if ask == nil {
		return nil
	}
	d.Auto = ask.Auto && d.View != "retry"
	if ask.Form.Error != "" {
		d.Error, d.Problem = say(ask.Form.Error), true
	}
	for _, f := range ask.Form.Fields {
		x := field{Name: f.Name, Kind: string(f.Kind), Label: say(ask.Form.Name + "." + f.Name), Numeric: f.Numeric, Max: f.Max, Default: f.Default}
		if f.Hint != "" {
			x.Hint, x.Described = say(f.Hint), f.Name+"-hint"
		}
		if f.Error != "" {
			d.Wrong = true
			x.Error, x.Described = say(f.Error), strings.TrimSpace(x.Described+" "+f.Name+"-error")
		}
		group := ""
		for _, o := range f.Options {
			label, mark := o.Label, ""
			if o.Plain {
				mark = initial(label)
			} else {
				label = say(o.Label)
			}
			next := option{Value: o.Value, Label: label, Mark: mark, Default: o.Value == f.Default, Unavailable: o.Unavailable}
			if o.Group != group {
				group, next.Group = o.Group, o.Group
			}
			x.Options = append(x.Options, next)
			d.Continue = false
		}
		if group != "" {
			x.Kind = "list"
		}
		d.Fields = append(d.Fields, x)
	}
	return nil
}

// needs says what the party wants to know, and that it is all.
func needs(v *broker.View, say func(string) string) string {
	text := say("needs." + string(v.Session.EID))
	if !strings.Contains(text, "{data}") {
		if onlyAge(v) && v.Session.EID != eid.IDINAge { // whose own sentence says it better
			return say("needs.adult")
		}
		return text
	}
	var all []string
	for _, w := range v.Spec.Wanted {
		if w != eid.WantID {
			all = append(all, say("want."+w))
		}
	}
	if len(all) == 0 {
		all = []string{say("want." + eid.WantID)}
	}
	list := all[len(all)-1]
	if n := len(all); n > 1 {
		list = strings.NewReplacer("{a}", strings.Join(all[:n-1], ", "), "{b}", list).Replace(say("list.and"))
	}
	return strings.ReplaceAll(text, "{data}", list)
}

// onlyAge says whether the party asks whether somebody is 18, and not who it is.
func onlyAge(v *broker.View) bool {
	return len(v.Spec.Wanted) == 1 && v.Spec.Wanted[0] == eid.WantAdult
}

// initial is the first letter of a name, as a capital.
func initial(s string) string {
	r, _ := utf8.DecodeRuneInString(s)
	return strings.ToUpper(string(r))
}

// landing is what a browser shows that has brought an answer for another one:
// for whom it was, and whether it was theirs.
func (p *Pages) landing(v *broker.View, d *view, say func(string) string) {
	d.Mood, d.Mark = "good", "✓"
	d.Title, d.Lead = say("landing.done.title"), say("landing.done")
	wait, _ := v.Step.(connector.Wait)
	switch {
	case v.Session.State == broker.Failed:
		d.Lead, d.Mood, d.Mark = say("landing.failed"), "bad", "!"
	case wait.Asks:
		asks := "landing.asks" // by a bank
		if v.Session.EID != eid.IDIN && v.Session.EID != eid.IDINAge {
			asks = "landing.asks.eid"
		}
		d.Title, d.Lead, d.Landing, d.Mood, d.Mark = say("landing.asks.title"), say(asks), true, "", "?"
	}
}

// waiting shows a page that polls.
func (p *Pages) waiting(v *broker.View, d *view, say func(string) string) error {
	wait, _ := v.Step.(connector.Wait)
	d.Status, d.Refresh = p.news(wait, say), 5
	e := string(v.Session.EID)
	d.Title, d.Lead = say(d.View+".title"), needs(v, say)
	if v.Session.Purpose == eid.Sign {
		d.Lead = say("sign.waiting")
	}
	switch d.View {
	case "qr":
		svg, err := qr.SVG(wait.QR, say("qr.alt"))
		if err != nil {
			return err
		}
		const begin = `src="data:image/svg+xml;base64,`
		src := append(make([]byte, 0, len(begin)+base64.StdEncoding.EncodedLen(len(svg))+1), begin...)
		d.QRSource = template.HTMLAttr(append(base64.StdEncoding.AppendEncode(src, svg), '"')) //nolint:gosec // drawn by us, and base64
		d.Code = wait.QR
	case "app":
		d.Launch = link(wait.Launch)
		d.LaunchKey = fingerprint(wait.Token)
	case "scanned":
		d.Title, d.Lead = say("counter.title"), say("wait.lead.idin")
	case "counter":
		d.Lead, d.Image = say("idin.qr.how"), link(wait.Image)
	case "rest":
		d.Lead, d.Refresh = say(wait.Hint), 0
	case "wait":
		if v.Session.EID == eid.IDINAge {
			e = string(eid.IDIN)
		}
		d.Title, d.Lead = say("wait.title."+e), say("wait.lead."+e)
	}
	for _, o := range wait.Choose {
		d.Choose = append(d.Choose, option{Value: o.Value, Label: say(o.Label)})
	}
	return nil
}

// fingerprint stands for a secret where only equality matters.
func fingerprint(s string) string {
	sum := sha256.Sum256([]byte("eidgate " + s))
	return hex.EncodeToString(sum[:16])
}
