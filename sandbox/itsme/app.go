package itsme

import (
	"net/http"
	"strings"

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
	Phone                                bool // whether a telephone number may say whose app it is
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

// ask shows whose app it may be. The first generation asks for the telephone
// number.
func (s *Simulator) ask(w http.ResponseWriter, l *login, wrong string) {
	status := http.StatusOK
	if wrong != "" {
		status = http.StatusBadRequest
	}
	s.render(w, status, "who", &pageView{RP: l.Client.Name, People: s.Holders(), Error: wrong, Phone: l.Own.gen.number == 1})
}

// byPhone is the key of the first person whose number it is, however it is
// written; "" for nobody.
func (s *Simulator) byPhone(number string) string {
	want := dialled(number)
	for _, p := range s.Holders() {
		if want != "" && dialled(p.Itsme.Phone) == want {
			return p.Key
		}
	}
	return ""
}

// dialled are the digits of a number, from the code of the country on.
func dialled(number string) string {
	return strings.TrimPrefix(strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, number), "00")
}

// press does what a button says.
func (s *Simulator) press(w http.ResponseWriter, r *http.Request) {
	l, ok := s.desk.Pressed(w, r)
	if !ok {
		return
	}
	act, person := r.PostForm.Get("act"), r.PostForm.Get("person")
	if act == "phone" && l.Own.gen.number == 1 {
		if person = s.byPhone(r.PostForm.Get("phone")); person == "" {
			s.ask(w, &l, "Nobody here has this number. Take one of the people below.")
			return
		}
		act = ""
	}
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
