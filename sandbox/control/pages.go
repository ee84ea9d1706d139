package control

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"eidgate/sandbox"
)

// A listView is what the pages about the sandbox itself show.
type listView struct {
	Title, Error, Control string
	Faults                []sandbox.Fault
	People                []sandbox.Person
	Queue                 []sandbox.Queued
	Groups                []outcomeGroup
	Fidelity              []sandbox.Fidelity
}

// An outcomeGroup is what can be chosen of one eID.
type outcomeGroup struct {
	Label    string
	Outcomes []Outcome
}

// outcomeGroups are the outcomes by eID, and each word once: whose login it is
// the queue does not know, and who acts is chosen beside it.
func outcomeGroups() (out []outcomeGroup) {
	for _, o := range Outcomes() {
		label := strings.TrimSpace(o.EID + " " + o.Config)
		switch {
		case o.Person != "" || o.Config == "counter":
			continue
		case len(out) == 0 || out[len(out)-1].Label != label:
			out = append(out, outcomeGroup{Label: label})
		}
		g := &out[len(out)-1]
		g.Outcomes = append(g.Outcomes, o)
	}
	return out
}

// show writes a page of a name; what was wrong stands in the address.
func (x *control) show(name, title string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pageHeaders(w.Header(), "'self'")
		_ = x.phone.ExecuteTemplate(w, name, &listView{Title: title, Error: r.URL.Query().Get("error"), Control: self(r), Faults: x.Faults.List(),
			People: x.People.List(), Queue: x.Decisions.Queue(), Groups: outcomeGroups(), Fidelity: allFidelity()}) // the browser has gone
	}
}

// pageHeaders allow a page nothing that it does not need.
func pageHeaders(h http.Header, forms string) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "+
		"form-action "+forms+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// form answers a page's form with the page again.
func (x *control) form(page string, act func(url.Values) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "This form cannot be read.", http.StatusBadRequest)
			return
		}
		to := page
		if err := act(r.PostForm); err != nil {
			to += "?" + url.Values{"error": {sentence(err)}}.Encode()
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

func (x *control) actPeople(f url.Values) error {
	key := f.Get("key")
	switch f.Get("act") {
	case "save":
		_, err := x.People.Patch(key, func(p *sandbox.Person) error { p.Behaviour = f.Get("behaviour"); return nil })
		return err
	case "copy":
		p, err := x.People.Get(key)
		if err != nil {
			return err
		}
		for n := 2; err == nil; n++ { // the first key that is free
			p.Key = key + "-" + strconv.Itoa(n)
			_, err = x.People.Get(p.Key)
		}
		return x.People.Put(p)
	case "remove":
		return x.People.Remove(key)
	case "reset":
		x.People.Reset()
		return nil
	}
	p := sandbox.Person{Key: key, Number: f.Get("number"), Given: f.Get("given"), Family: f.Get("family"), Behaviour: f.Get("behaviour"), About: "added by hand"}
	if k := f.Get("kind"); k != "" {
		p.BankID = []string{k}
	}
	return x.People.Put(p)
}

func (x *control) actQueue(f url.Values) error {
	if f.Get("act") == "clear" {
		x.Decisions.Unqueue()
		return nil
	}
	e, word, _ := strings.Cut(f.Get("outcome"), "/")
	o, err := x.outcome(word, f.Get("person"))
	if err != nil {
		return err
	}
	if !slices.Contains(eids, e) {
		return noEID(e)
	}
	x.Decisions.Enqueue(sandbox.Queued{Outcome: o, Person: f.Get("person"), Match: sandbox.Match{EID: e}})
	return nil
}
