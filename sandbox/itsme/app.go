package itsme

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"eidgate/sandbox"
)

// ErrNoAccount means that a person has no itsme account.
var ErrNoAccount = errors.New("this person has no itsme account")

// A pageView is what a page shows.
type pageView struct {
	Lang, Title, Banner, RP, Text, Error string
	Faults                               []sandbox.Fault
	People                               []sandbox.Person
	Person                               sandbox.Person
	Releases                             []release
}

type release struct{ Name, Value string }

func (s *Simulator) render(w http.ResponseWriter, status int, name string, v *pageView) {
	v.Lang, v.Title, v.Banner = "en", "itsme", "Simulation. No identity is checked."
	v.Faults = slices.DeleteFunc(s.Faults.List(), func(f sandbox.Fault) bool { return len(f.Target) < 5 || f.Target[:5] != "itsme" })
	sandbox.PageHeaders(w.Header())
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, v) // the browser has gone
}

// find is the login of an address, as it stands: the control API may end it
// meanwhile. Nil after the page said that there is none.
func (s *Simulator) find(w http.ResponseWriter, r *http.Request) *login {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logins[r.PathValue("ref")]
	if l == nil {
		s.render(w, http.StatusNotFound, "notice", &pageView{Text: "This address leads to no login."})
		return nil
	}
	sandbox.Concerns(r.Context(), l.ref)
	if l.ended.IsZero() && !s.Clock.Now().Before(l.created.Add(window)) {
		_ = s.end(l, "expire", "", "time") // a known event
	}
	if l.opened.IsZero() {
		l.opened = s.Clock.Now()
	}
	seen := *l
	return &seen
}

func (s *Simulator) decide(l *login, person string) sandbox.Decision {
	return s.Decisions.Decide(sandbox.Subject{EID: "itsme", Ref: l.ref, Person: person, Return: l.redirect})
}

// show lets the ladder decide, or shows the app.
func (s *Simulator) show(w http.ResponseWriter, r *http.Request) {
	l := s.find(w, r)
	if l == nil {
		return
	}
	if !l.ended.IsZero() {
		s.leave(w, r, l)
		return
	}
	dec := s.decide(l, "")
	word := dec.Outcome.Word()
	if dec.Hands || word == sandbox.Ignore || word == sandbox.CancelPage || dec.Outcome.States() != nil {
		s.choose(w, l)
		return
	}
	if wait := dec.Outcome.After() - s.Clock.Now().Sub(l.opened); wait > 0 {
		w.Header().Set("Refresh", strconv.Itoa(max(1, int(wait/time.Second))))
		s.render(w, http.StatusOK, "notice", &pageView{Text: "Waiting for the app."})
		return
	}
	if word == sandbox.Expire {
		s.render(w, http.StatusOK, "notice", &pageView{Text: "Nobody acts in the app."})
		return
	}
	s.act(w, r, l, string(word), dec.Person, "tier "+strconv.Itoa(dec.Tier)+", "+dec.Source)
}

// choose asks whose app it is.
func (s *Simulator) choose(w http.ResponseWriter, l *login) {
	v := &pageView{RP: l.client.name}
	for _, p := range s.People.List() {
		if p.Itsme != nil {
			v.People = append(v.People, p)
		}
	}
	s.render(w, http.StatusOK, "who", v)
}

// press does what a button says.
func (s *Simulator) press(w http.ResponseWriter, r *http.Request) {
	l := s.find(w, r)
	if l == nil {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	act, person := r.PostFormValue("act"), r.PostFormValue("person")
	if !l.ended.IsZero() {
		s.leave(w, r, l)
		return
	}
	event := map[string]string{"approve": "approve", "cancel": "cancel", "fail": "decline", "close": "fail:no_return"}[act]
	switch {
	case act == "" && person != "":
		s.confirm(w, r, l, person)
	case event == "":
		http.Error(w, "This form has no such button.", http.StatusBadRequest)
	default:
		s.act(w, r, l, event, person, "page of the app")
	}
}

// confirm shows what would be told; somebody who always does the same does it.
func (s *Simulator) confirm(w http.ResponseWriter, r *http.Request, l *login, person string) {
	p, err := s.who(l, person)
	if err != nil {
		s.render(w, http.StatusBadRequest, "notice", &pageView{Error: err.Error()})
		return
	}
	if dec := s.decide(l, person); dec.Tier == 40 && dec.Outcome.Word() != sandbox.Ignore {
		s.act(w, r, l, string(dec.Outcome.Word()), person, "behaviour of the person")
		return
	}
	v := &pageView{RP: l.client.name, Person: p}
	for _, m := range s.person(l, &p, "") {
		v.Releases = append(v.Releases, release{m.name, text(m.value)})
	}
	s.render(w, http.StatusOK, "confirm", v)
}

// act ends a login, unless somebody was faster, and leaves.
func (s *Simulator) act(w http.ResponseWriter, r *http.Request, seen *login, event, person, by string) {
	l, err := s.settle(seen.ref, event, person, by)
	if err != nil {
		s.render(w, http.StatusBadRequest, "notice", &pageView{Error: err.Error()})
		return
	}
	s.leave(w, r, l)
}

// settle is act without the browser: how the login stands afterwards.
func (s *Simulator) settle(ref, event, person, by string) (*login, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logins[ref]
	if l == nil {
		return nil, sandbox.ErrNoOrder
	}
	if l.ended.IsZero() {
		if err := s.end(l, event, person, by); err != nil {
			return nil, err
		}
		s.Decisions.Happened(l.ref, sandbox.Outcome(event), person, by)
	}
	seen := *l
	return &seen, nil
}

// leave sends the browser back with a code or an error (§3).
func (s *Simulator) leave(w http.ResponseWriter, r *http.Request, l *login) {
	if l.noReturn {
		s.render(w, http.StatusOK, "notice", &pageView{Text: "Confirmed. This browser stays here."})
		return
	}
	q := url.Values{}
	if l.failure != "" {
		q.Set("error", l.failure)
	} else {
		q.Set("code", l.code)
	}
	redirect(w, r, l.redirect, l.state, q)
}

func redirect(w http.ResponseWriter, r *http.Request, back, state string, q url.Values) {
	if state != "" {
		q.Set("state", state)
	}
	u, err := url.Parse(back)
	if err != nil { // it was compared with a registered one
		http.Error(w, "The way back is no address.", http.StatusInternalServerError)
		return
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += q.Encode()
	http.Redirect(w, r, u.String(), http.StatusFound)
}
