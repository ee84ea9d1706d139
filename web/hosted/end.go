package hosted

import (
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/web"
)

// end sends the browser away, or shows how it ended. done means that the
// answer is written.
func (p *Pages) end(w http.ResponseWriter, r *http.Request, v *broker.View, d *view, say func(string) string) (done bool, err error) {
	if d.View == "elsewhere" {
		d.Title, d.Lead, d.Mood, d.Mark, d.Returned = say("elsewhere.title"), say("elsewhere"), "bad", "!", say("elsewhere.returned")
		d.To, d.ToText = began(v), say("elsewhere.go")
		return false, nil
	}
	leave, err := p.c.Leave(r.Context(), &v.Session, &v.Spec)
	if err != nil {
		return false, err
	}
	if leave.Cookie != nil {
		http.SetCookie(w, leave.Cookie)
	}
	if leave.Post != nil && !params(r).Has("tab") {
		return true, p.Post(w, r, leave.URL, leave.Post, v.Spec.Frames)
	}
	if leave.Over {
		d.Title, d.Lead, d.Mood, d.Mark, d.To, d.ToText = say("over.title"), say("over.lead"), "good", "✓", began(v), say("elsewhere.go")
		return false, nil
	}
	if params(r).Has("tab") { // another tab of this browser has gone back already
		d.Title, d.Lead, d.Mood, d.Mark, d.To, d.ToText = say("tab.title"), say("tab.lead"), "good", "✓", link(leave.URL), say("back")
		return false, nil
	}
	if leave.URL != "" && v.Session.State == broker.Finished && params(r).Has("tick") { // a counter: both sides see that it is done
		d.Title, d.Lead, d.Mood, d.Mark, d.To, d.ToText = say("end.done"), say("end.doneLead"), "good large", "✓", link(leave.URL), say("back")
		d.Later, d.Leads = 10, leave.URL
		return false, nil
	}
	alone := leave.URL != "" && !d.Framed && r.Header.Get("Sec-Fetch-Dest") != "iframe"
	if alone && (!params(r).Has("go") || !isPage(leave.URL)) { // an app leads nowhere on, and opens best by a redirect
		web.Headers(w.Header(), web.Policy{Frames: v.Spec.Frames})
		w.Header().Set("Location", leave.URL)
		w.WriteHeader(http.StatusSeeOther)
		return true, nil
	}
	if alone {
		d.To, d.ToText, d.AtOnce = link(leave.URL), say("back"), link(leave.URL)
	} else {
		d.End, d.Message, d.AsText, d.Origins = link(leave.URL), string(leave.Message), leave.AsText, strings.Join(leave.Origins, " ")
	}
	d.Title, d.Lead, d.Mood, d.Mark = say("end.done"), say("end.doneLead"), "good", "✓"
	if v.Session.State == broker.Failed {
		info := eid.Reasons[v.Failed]
		d.Lead, d.Mood, d.Mark = say(info.Text), "bad", "!"
		d.Title = say("end." + info.Outcome + ".title")
	}
	return false, nil
}

// began is where a person can start again; "" where that is no page.
func began(v *broker.View) template.URL {
	if len(v.Spec.Next) == 0 || !isPage(v.Spec.Next[0]) {
		return ""
	}
	return link(v.Spec.Next[0])
}

// isPage says whether an address is that of a page, and not of an app.
func isPage(address string) bool {
	return strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://")
}

// Post shows a page that posts fields to a relying party, by itself or by its
// button. Nothing of them is in an address.
func (p *Pages) Post(w http.ResponseWriter, r *http.Request, to string, fields url.Values, frames []string) error {
	lang := p.spoken(r)
	d := &view{Layout: Layout{words: p.c.Words, Lang: lang, View: "post", Scripts: true, Title: p.c.Words.Say(lang, "post.title"), Lead: p.c.Words.Say(lang, "post.lead")}, Action: to}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		d.Fields = append(d.Fields, field{Name: name, Default: fields.Get(name)})
	}
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	web.Headers(w.Header(), web.Policy{Frames: frames, Forms: beyond(u.Scheme + "://" + u.Host)})
	return p.show(w, d)
}

// beyond is where a form may lead whose answer comes from a party's origin: the
// party may lead on from there to another of its hosts, and browsers hold all
// redirects after a form to the policy of its page.
func beyond(origin string) []string {
	switch {
	case strings.HasPrefix(origin, "http://"):
		return []string{origin, "http:", "https:"}
	case strings.HasPrefix(origin, "https://"):
		return []string{origin, "https:"}
	case origin == "":
		return nil
	}
	return []string{origin}
}

// Ended tells a person that they are logged out, or asks whether they want to
// be: fields are posted back then, and the answer may lead on to next, an origin;
// "" for none.
func (p *Pages) Ended(w http.ResponseWriter, r *http.Request, ask bool, fields url.Values, next string) {
	lang := p.spoken(r)
	say := func(key string) string { return p.c.Words.Say(lang, key) }
	d := &view{Layout: Layout{words: p.c.Words, Lang: lang, View: "end", Title: say("logout.title"), Lead: say("logout.lead"), Mood: "good", Mark: "✓"}}
	if ask {
		d.View, d.Title, d.Lead, d.Mood, d.Mark, d.Action = "logout", say("logout.ask.title"), say("logout.ask"), "", "", r.URL.Path
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			d.Fields = append(d.Fields, field{Name: name, Default: fields.Get(name)})
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	web.Headers(w.Header(), web.Policy{Forms: beyond(next)})
	if err := p.show(w, d); err != nil {
		p.c.Log.ErrorContext(r.Context(), "page failed", "error", err)
	}
}

// Problem shows a page that belongs to no session: code is the word of a
// protocol for what is wrong, and text says it to a developer, who finds more
// under /docs/errors. Without text only the code is shown, and what leads an
// operator to the log.
func (p *Pages) Problem(w http.ResponseWriter, r *http.Request, status int, code, text string) {
	lang := p.spoken(r)
	d := &view{Layout: Layout{words: p.c.Words, Lang: lang, View: "end", Title: p.c.Words.Say(lang, "request.title"),
		Lead: p.c.Words.Say(lang, "request.lead"), Mood: "bad", Mark: "!"}, Code: code, Cause: text, Trace: w.Header().Get("X-Trace-Id")}
	if status == http.StatusTooManyRequests { // nothing is wrong with the request
		d.Title, d.Lead = p.c.Words.Say(lang, "problem.title"), p.c.Words.Say(lang, "problem")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Eidgate-Error", code)
	web.Headers(w.Header(), web.Policy{})
	w.WriteHeader(status)
	if err := p.show(w, d); err != nil {
		p.c.Log.ErrorContext(r.Context(), "page failed", "error", err)
	}
}

// problem shows a page that belongs to no session, or not to one that could be
// read: a title and a sentence under the same key, and a way back.
func (p *Pages) problem(w http.ResponseWriter, r *http.Request, status int, key, back string) {
	lang := p.c.Words.Choose(r.Header.Get("Accept-Language"))
	d := &view{Layout: Layout{words: p.c.Words, Lang: lang, View: "end", Title: p.c.Words.Say(lang, key+".title"),
		Lead: p.c.Words.Say(lang, key), Mood: "bad", Mark: "!"}, To: link(back), ToText: p.c.Words.Say(lang, "problem.again")}
	policy := web.Policy{}
	if status == http.StatusInternalServerError { // an operator finds it in the log by that
		d.Trace = w.Header().Get("X-Trace-Id")
	}
	if status == http.StatusTooManyRequests { // in a frame too, of whichever party: it tells nothing and does nothing
		d.Mood, d.Mark, d.Later, d.Leads, policy.Frames = "", "…", busyTime, back, []string{"*"}
	}
	web.Headers(w.Header(), policy)
	w.WriteHeader(status)
	if err := p.show(w, d); err != nil {
		p.c.Log.ErrorContext(r.Context(), "page failed", "error", err)
	}
}

// spoken is the language of a page that belongs to no session: one that an
// OpenID request asks for, else the browser's.
func (p *Pages) spoken(r *http.Request) string {
	asked := strings.Fields(params(r).Get("ui_locales"))
	for i, tag := range asked {
		asked[i], _, _ = strings.Cut(tag, "-")
	}
	return p.c.Words.Choose(r.Header.Get("Accept-Language"), asked...)
}

// link is an address as templates take it: they filter every scheme from a text
// but those of pages, and apps have their own. It is ours, an eID's, or a party's that was
// checked when the session was made.
func link(address string) template.URL { return template.URL(address) } //nolint:gosec // see above
