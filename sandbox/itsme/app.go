package itsme

import (
	"net/http"

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
	v.Faults = openid.FaultsOf("itsme", s.Faults)
	sandbox.PageHeaders(w.Header())
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, v) // the browser has gone
}

func (s *Simulator) notice(w http.ResponseWriter, status int, text, fault string) {
	s.render(w, status, "notice", &pageView{Text: text, Error: fault})
}

// ask shows whose app it may be.
func (s *Simulator) ask(w http.ResponseWriter, l *login, _ string) {
	s.render(w, http.StatusOK, "who", &pageView{RP: l.Client.Name, People: s.Holders()})
}

// press does what a button says.
func (s *Simulator) press(w http.ResponseWriter, r *http.Request) {
	l, ok := s.desk.Pressed(w, r)
	if !ok {
		return
	}
	act, person := r.PostForm.Get("act"), r.PostForm.Get("person")
	switch {
	case act == "" && person != "":
		s.desk.Named(w, r, &l, person, func() { s.confirm(w, &l, person) })
	case act == "approve":
		s.desk.Act(w, r, l.Ref, act, person, byPage)
	case openid.Ends[act] != "":
		s.desk.Act(w, r, l.Ref, openid.Ends[act], person, byPage)
	default:
		openid.NoButton(w)
	}
}

const byPage = "page of the app"

// confirm shows what would be told.
func (s *Simulator) confirm(w http.ResponseWriter, l *login, person string) {
	p, err := s.Who(person)
	if err != nil {
		s.notice(w, http.StatusBadRequest, "", err.Error())
		return
	}
	v := &pageView{RP: l.Client.Name, Person: p}
	for _, m := range s.person(l, &p, "") {
		v.Releases = append(v.Releases, release{m.Name, text(m.Value)})
	}
	s.render(w, http.StatusOK, "confirm", v)
}

// leave sends the browser back with a code or an error (§3).
func (s *Simulator) leave(w http.ResponseWriter, r *http.Request, l *login) {
	if l.NoReturn {
		s.render(w, http.StatusOK, "notice", &pageView{Text: "Confirmed. This browser stays here."})
		return
	}
	openid.Back(w, r, http.StatusFound, l.Redirect, "code", l.Code, "error", l.No.Code, "state", l.State)
}
