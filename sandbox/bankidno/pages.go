package bankidno

import (
	"embed"
	"net/http"
	"strings"

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
	v.Faults = openid.FaultsOf("bankidno", s.Faults)
	sandbox.PageHeaders(w.Header())
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, v) // the browser has gone
}

func (s *Simulator) notice(w http.ResponseWriter, status int, text, fault string) {
	s.render(w, status, "notice", &pageView{Text: text, Error: fault})
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
	l, ok := s.desk.Pressed(w, r)
	if !ok {
		return
	}
	act, person := r.PostForm.Get("act"), r.PostForm.Get("person")
	switch act {
	case "BID", "BIS":
		s.desk.Change(w, r, l.Ref, func(l *openid.Login[asked]) { l.Own.method = act })
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
		s.desk.Change(w, r, l.Ref, func(l *openid.Login[asked]) { l.Own.failed = true })
	case "approve":
		who, err := s.Who(l.Own.person)
		switch {
		case l.Own.passed:
			s.desk.Act(w, r, l.Ref, "approve", l.Own.person, byPage)
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
		s.desk.Act(w, r, l.Ref, "approve", l.Own.person, byPage)
	case "cancel", "fail", "close":
		s.desk.Act(w, r, l.Ref, openid.Ends[act], l.Own.person, byPage)
	default:
		openid.NoButton(w)
	}
}

// named goes on with who has given a name.
func (s *Simulator) named(w http.ResponseWriter, r *http.Request, l *openid.Login[asked], person string) {
	s.desk.Named(w, r, l, person, func() {
		s.desk.Change(w, r, l.Ref, func(l *openid.Login[asked]) { l.Own.person, l.Own.passed, l.Own.failed = person, false, false })
	})
}

// proven is who has shown who they are: whether they share what UserInfo tells
// is left to ask.
func (s *Simulator) proven(w http.ResponseWriter, r *http.Request, l *openid.Login[asked]) {
	if len(sharing(l)) == 0 {
		s.desk.Act(w, r, l.Ref, "approve", l.Own.person, byPage)
		return
	}
	s.desk.Change(w, r, l.Ref, func(l *openid.Login[asked]) { l.Own.passed = true })
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

// leave sends the browser back (§4). Real failures end on a page of BankID.
func (s *Simulator) leave(w http.ResponseWriter, r *http.Request, l *openid.Login[asked]) {
	if l.NoReturn {
		s.stranded(w, http.StatusOK, "12289") // its status is not known
		return
	}
	openid.Back(w, r, http.StatusSeeOther, l.Redirect, "error", l.No.Code, "error_description", l.No.Description, "state", l.State, "code", l.Code, "session_state", s.session(l))
}
