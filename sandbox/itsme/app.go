package itsme

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

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

// show is the page of a login: what was decided happens, or the person is asked.
func (s *Simulator) show(w http.ResponseWriter, r *http.Request) {
	l, ok := s.Open(r.Context(), r.PathValue("ref"))
	if !ok {
		s.render(w, http.StatusNotFound, "notice", &pageView{Text: "This address leads to no login."})
		return
	}
	turn, wait, l := s.Turn(l)
	switch turn {
	case openid.Leave:
		s.leave(w, r, &l)
	case openid.Later:
		w.Header().Set("Refresh", strconv.Itoa(int(wait/time.Second)))
		s.render(w, http.StatusOK, "notice", &pageView{Text: "Waiting for the app."})
	case openid.Still:
		s.still(w, &l)
	default:
		if l.Own.silent {
			s.still(w, &l)
			return
		}
		s.render(w, http.StatusOK, "who", &pageView{RP: l.Client.Name, People: s.Holders()})
	}
}

// still is for somebody who never acts: the page comes again when time is up.
func (s *Simulator) still(w http.ResponseWriter, l *login) {
	left := l.Created.Add(window).Sub(s.Clock.Now())
	w.Header().Set("Refresh", strconv.Itoa(max(1, int((left+time.Second-1)/time.Second))))
	s.render(w, http.StatusOK, "notice", &pageView{Text: "Nobody acts in the app."})
}

// press does what a button says.
func (s *Simulator) press(w http.ResponseWriter, r *http.Request) {
	l, ok := s.Open(r.Context(), r.PathValue("ref"))
	if !ok {
		s.render(w, http.StatusNotFound, "notice", &pageView{Text: "This address leads to no login."})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	act, person := r.PostFormValue("act"), r.PostFormValue("person")
	if !l.Ended.IsZero() {
		s.leave(w, r, &l)
		return
	}
	event := map[string]string{"approve": "approve", "cancel": "cancel", "fail": "decline", "close": "fail:no_return"}[act]
	switch {
	case act == "" && person != "":
		s.confirm(w, r, &l, person)
	case event == "":
		http.Error(w, "This form has no such button.", http.StatusBadRequest)
	default:
		s.act(w, r, l.Ref, event, person, "page of the app")
	}
}

// confirm shows what would be told; somebody who always does the same does it.
func (s *Simulator) confirm(w http.ResponseWriter, r *http.Request, l *login, person string) {
	p, err := s.Who(person)
	if err != nil {
		s.render(w, http.StatusBadRequest, "notice", &pageView{Error: err.Error()})
		return
	}
	if habit := s.Habit(*l, person); habit != "" {
		s.act(w, r, l.Ref, habit, person, "behaviour of the person")
		return
	}
	if p.Behaviour == "ignores" {
		seen := s.Note(l.Ref, func(l *login) { l.Own.silent = true })
		s.still(w, &seen)
		return
	}
	v := &pageView{RP: l.Client.Name, Person: p}
	for _, m := range s.person(l, &p, "") {
		v.Releases = append(v.Releases, release{m.Name, text(m.Value)})
	}
	s.render(w, http.StatusOK, "confirm", v)
}

// act ends a login, unless somebody was faster, and leaves.
func (s *Simulator) act(w http.ResponseWriter, r *http.Request, ref, event, person, by string) {
	l, err := s.Settle(ref, event, person, by)
	if err != nil {
		s.render(w, http.StatusBadRequest, "notice", &pageView{Error: err.Error()})
		return
	}
	s.leave(w, r, &l)
}

// leave sends the browser back with a code or an error (§3).
func (s *Simulator) leave(w http.ResponseWriter, r *http.Request, l *login) {
	if l.NoReturn {
		s.render(w, http.StatusOK, "notice", &pageView{Text: "Confirmed. This browser stays here."})
		return
	}
	openid.Back(w, r, http.StatusFound, l.Redirect, "code", l.Code, "error", l.No.Code, "state", l.State)
}
