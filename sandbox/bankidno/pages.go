package bankidno

import (
	"embed"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

//go:embed page.html
var files embed.FS

var pages = sandbox.Pages(files, "page.html")

// The test code and password of everybody, as in BankID's own test environment.
const (
	oneTimeCode = "otp"
	password    = "qwer1234" //nolint:gosec // published, for people who do not exist
)

type pageView struct {
	Lang, Title, Banner, RP, Text, Error string
	Faults                               []sandbox.Fault
	People                               []sandbox.Person
	Person                               sandbox.Person
	Shares                               []string
	Code, Password                       string
}

func (s *Simulator) render(w http.ResponseWriter, status int, name string, v *pageView) {
	v.Lang, v.Title, v.Banner, v.Code, v.Password = "en", "BankID", "Simulation. No identity is checked.", oneTimeCode, password
	v.Faults = slices.DeleteFunc(s.Faults.List(), func(f sandbox.Fault) bool { return !strings.HasPrefix(f.Target, "bankidno") })
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
		s.render(w, http.StatusOK, "notice", &pageView{Text: "Nobody acts."})
	default:
		s.ask(w, &l, "")
	}
}

// ask shows what the person has to do next (§4).
func (s *Simulator) ask(w http.ResponseWriter, l *openid.Login[asked], wrong string) {
	v := &pageView{RP: l.Client.Name, Error: wrong}
	who, err := s.Who(l.Own.person)
	if err == nil {
		v.Person = who
	}
	page := "code"
	switch {
	case l.Own.method == "":
		page = "method"
	case err != nil:
		page, v.People = "user", s.Holders()
	case l.Own.passed:
		page, v.Shares = "consent", sharing(l)
	case s.biometrics(l, &who):
		page = "app"
	}
	status := http.StatusOK
	if wrong != "" {
		status = http.StatusBadRequest
	}
	s.render(w, status, page, v)
}

// press does what a button says.
func (s *Simulator) press(w http.ResponseWriter, r *http.Request) {
	l, ok := s.Open(r.Context(), r.PathValue("ref"))
	if !ok {
		s.render(w, http.StatusNotFound, "notice", &pageView{Text: "This address leads to no login."})
		return
	}
	if !l.Ended.IsZero() {
		s.leave(w, r, &l)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "This form cannot be read.", http.StatusBadRequest)
		return
	}
	act, person := r.PostForm.Get("act"), r.PostForm.Get("person")
	switch act {
	case "BID", "BIS":
		s.on(w, r, l.Ref, func(l *openid.Login[asked]) { l.Own.method = act })
	case "user":
		key := s.byNumber(strings.TrimSpace(r.PostForm.Get("number")))
		if key == "" {
			s.ask(w, &l, "Nobody here has this number. Take one of the people below.")
			return
		}
		s.named(w, r, &l, key)
	case "":
		if _, err := s.Who(person); err != nil {
			http.Error(w, "Nobody here has this name.", http.StatusBadRequest)
			return
		}
		s.named(w, r, &l, person)
	case "code":
		if _, err := s.Who(l.Own.person); err != nil {
			s.ask(w, &l, "")
			return
		}
		if r.PostForm.Get("otp") != oneTimeCode || r.PostForm.Get("password") != password {
			s.ask(w, &l, "The code or the password is wrong. They are "+oneTimeCode+" and "+password+".")
			return
		}
		s.proven(w, r, &l)
	case "nobio":
		s.on(w, r, l.Ref, func(l *openid.Login[asked]) { l.Own.failed = true })
	case "approve":
		who, err := s.Who(l.Own.person)
		switch {
		case l.Own.passed:
			s.act(w, r, l.Ref, "approve", l.Own.person, byPage)
		case err != nil || !s.biometrics(&l, &who): // that button is the app's
			s.ask(w, &l, "Not yet.")
		default:
			s.proven(w, r, &l)
		}
	case "keep":
		if !l.Own.passed {
			s.ask(w, &l, "Not yet.")
			return
		}
		s.Note(l.Ref, func(l *openid.Login[asked]) { l.Own.keeps = true })
		s.act(w, r, l.Ref, "approve", l.Own.person, byPage)
	case "cancel", "fail", "close":
		s.act(w, r, l.Ref, map[string]string{"cancel": "cancel", "fail": "decline", "close": "fail:no_return"}[act], l.Own.person, byPage)
	default:
		http.Error(w, "This form has no such button.", http.StatusBadRequest)
	}
}

// named goes on with who has given a name; somebody who always does the same
// does it.
func (s *Simulator) named(w http.ResponseWriter, r *http.Request, l *openid.Login[asked], person string) {
	if habit := s.Habit(*l, person); habit != "" {
		s.act(w, r, l.Ref, habit, person, "behaviour of the person")
		return
	}
	s.on(w, r, l.Ref, func(l *openid.Login[asked]) { l.Own.person, l.Own.passed, l.Own.failed = person, false, false })
}

// on changes a login, and shows what comes next.
func (s *Simulator) on(w http.ResponseWriter, r *http.Request, ref string, change func(*openid.Login[asked])) {
	if l := s.Note(ref, change); !l.Ended.IsZero() {
		s.leave(w, r, &l)
	} else {
		s.ask(w, &l, "")
	}
}

// proven is who has shown who they are: whether they share what UserInfo tells
// is left to ask.
func (s *Simulator) proven(w http.ResponseWriter, r *http.Request, l *openid.Login[asked]) {
	if len(sharing(l)) == 0 {
		s.act(w, r, l.Ref, "approve", l.Own.person, byPage)
		return
	}
	s.on(w, r, l.Ref, func(l *openid.Login[asked]) { l.Own.passed = true })
}

// sharing are the scopes to which the person must agree.
func sharing(l *openid.Login[asked]) (out []string) {
	for _, scope := range shared {
		if l.Has(scope) {
			out = append(out, scope)
		}
	}
	return out
}

const byPage = "page of BankID"

// act ends a login, unless somebody was faster, and leaves.
func (s *Simulator) act(w http.ResponseWriter, r *http.Request, ref, event, person, by string) {
	l, err := s.Settle(ref, event, person, by)
	if err != nil {
		s.render(w, http.StatusBadRequest, "notice", &pageView{Error: err.Error()})
		return
	}
	s.leave(w, r, &l)
}

// leave sends the browser back (§4). Real failures end on a page of BankID.
func (s *Simulator) leave(w http.ResponseWriter, r *http.Request, l *openid.Login[asked]) {
	if l.NoReturn {
		s.stranded(w, http.StatusOK, "12289") // its status is not known
		return
	}
	openid.Back(w, r, http.StatusSeeOther, l.Redirect, "error", l.No.Code, "error_description", l.No.Description, "state", l.State, "code", l.Code, "session_state", s.session(l))
}
