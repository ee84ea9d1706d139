package mitid

import (
	"cmp"
	"embed"
	"net/http"
	"slices"
	"strings"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

//go:embed page.html
var files embed.FS

var pages = sandbox.Pages(files, "page.html")

type pageView struct {
	Lang, Title, Banner, RP, Text, Error string
	Faults                               []sandbox.Fault
	People                               []sandbox.Person
	Person                               sandbox.Person
	Verb, Reference                      string
	Ways                                 []way
	Tries                                int
}

type way struct{ Name, Label string }

var labels = map[string]string{"app": "MitID app", "code_display": "Code display and password", "chip": "Chip and password", "password": "Password"}

var verbs = map[string]string{"LOG_ON": "Log on", "APPROVE": "Approve", "CONFIRM": "Confirm", "ACCEPT": "Accept", "SIGN": "Sign"}

func (s *Simulator) render(w http.ResponseWriter, status int, name string, v *pageView) {
	v.Lang, v.Title, v.Banner = "en", "MitID", "Simulation. No identity is checked."
	v.Faults = openid.FaultsOf("mitid", s.Faults)
	sandbox.PageHeaders(w.Header())
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, v) // the browser has gone
}

func (s *Simulator) notice(w http.ResponseWriter, status int, text, fault string) {
	s.render(w, status, "notice", &pageView{Text: text, Error: fault})
}

// ask shows what the person has to do next (§6).
func (s *Simulator) ask(w http.ResponseWriter, l *openid.Login[asked], wrong string) {
	v := &pageView{RP: l.Client.Name, Error: wrong, Verb: cmp.Or(verbs[l.Own.action], "Log on"), Reference: l.Own.reference, Tries: tries - l.Own.wrong}
	page := "user"
	if who, err := s.Who(l.Own.person); err != nil {
		v.People = s.Holders()
	} else {
		v.Person, page = who, "authenticator"
		for _, w := range ways {
			has := slices.Contains(who.MitID.Authenticators, w.name) && enough(w.level, l.Own.level)
			if has && !slices.ContainsFunc(v.Ways, func(x way) bool { return x.Name == w.name }) {
				v.Ways = append(v.Ways, way{w.name, labels[w.name]})
			}
		}
	}
	if l.Own.cpr {
		page = "cpr"
	}
	status := http.StatusOK
	if wrong != "" {
		status = http.StatusBadRequest
	}
	s.render(w, status, page, v)
}

const byPage = "page of MitID"

// press does what a button says.
func (s *Simulator) press(w http.ResponseWriter, r *http.Request) {
	l, ok := s.desk.Pressed(w, r)
	if !ok {
		return
	}
	act, person, with := r.PostForm.Get("act"), r.PostForm.Get("person"), r.PostForm.Get("with")
	switch {
	case act == "user":
		holders := s.Holders()
		i := slices.IndexFunc(holders, func(p sandbox.Person) bool {
			return strings.EqualFold(p.MitID.User, strings.TrimSpace(r.PostForm.Get("user")))
		})
		if i < 0 {
			s.ask(w, &l, "Nobody here has this user ID. Take one of the people below.")
			return
		}
		s.named(w, r, &l, holders[i].Key)
	case person != "":
		if _, err := s.Who(person); err != nil {
			http.Error(w, "Nobody here has this name.", http.StatusBadRequest)
			return
		}
		s.named(w, r, &l, person)
	case with != "" && l.Own.person != "":
		s.authenticated(w, r, &l, with)
	case act == "cpr" && l.Own.cpr:
		s.typed(w, r, &l, strings.ReplaceAll(strings.TrimSpace(r.PostForm.Get("cpr")), "-", ""))
	case openid.Ends[act] != "":
		s.desk.Act(w, r, l.Ref, openid.Ends[act], l.Own.person, byPage)
	default:
		openid.NoButton(w)
	}
}

// named goes on with who has given a user ID.
func (s *Simulator) named(w http.ResponseWriter, r *http.Request, l *openid.Login[asked], person string) {
	s.desk.Named(w, r, l, person, func() {
		s.desk.Change(w, r, l.Ref, func(l *openid.Login[asked]) { // whoever was there before
			l.Own.person, l.Own.reached, l.Own.amr, l.Own.cpr, l.Own.wrong = person, "", nil, false, 0
		})
	})
}

// authenticated goes on with who has used what they have.
func (s *Simulator) authenticated(w http.ResponseWriter, r *http.Request, l *openid.Login[asked], with string) {
	p, err := s.Who(l.Own.person)
	if err != nil || !slices.Contains(p.MitID.Authenticators, with) {
		s.ask(w, l, "This person does not have that.")
		return
	}
	asks := asksCPR(l)
	seen := s.Note(l.Ref, func(l *openid.Login[asked]) {
		if use(l, &p, with) {
			l.Own.cpr = asks
		}
	})
	switch {
	case !seen.Ended.IsZero():
		s.leave(w, r, &seen)
	case asks && seen.Own.cpr:
		s.ask(w, &seen, "")
	default:
		s.desk.Act(w, r, l.Ref, "approve", p.Key, byPage)
	}
}

// typed compares a CPR number, three times at most (§5).
func (s *Simulator) typed(w http.ResponseWriter, r *http.Request, l *openid.Login[asked], cpr string) {
	p, err := s.Who(l.Own.person)
	if err == nil && p.MitID.CPR != "" && cpr == p.MitID.CPR {
		s.desk.Act(w, r, l.Ref, "approve", p.Key, byPage)
		return
	}
	seen := s.Note(l.Ref, func(l *openid.Login[asked]) { l.Own.wrong++ })
	if seen.Own.wrong >= tries {
		s.desk.Act(w, r, l.Ref, "fail:mitid_cpr_match_failed", l.Own.person, byPage)
		return
	}
	s.ask(w, &seen, "This is not the CPR number of "+p.Name+".")
}

// leave sends the browser back, with iss only where there is a code (§3).
// no_ctx and its kind end on the broker's page.
func (s *Simulator) leave(w http.ResponseWriter, r *http.Request, l *openid.Login[asked]) {
	switch {
	case l.NoReturn:
		s.render(w, http.StatusOK, "notice", &pageView{Error: "user_navigation_error", Text: "This browser stays here."})
	case l.Code != "":
		openid.Back(w, r, http.StatusFound, l.Redirect, "code", l.Code, "state", l.State, "session_state", s.session(l), "iss", s.issuer())
	default:
		openid.Back(w, r, http.StatusFound, l.Redirect, "error", l.No.Code, "error_description", l.No.Description, "state", l.State, "session_state", s.session(l))
	}
}
