package idin

import (
	"embed"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"eidgate/sandbox"
)

//go:embed pages.html
var files embed.FS

var pages = sandbox.Pages(files, "pages.html")

// Kinds of faults of the way back.
const (
	noRedirect = "no_redirect"
	wrongEC    = "wrong_ec"
	stayOpen   = "open" // value: so many status requests after the redirect are told Open, 1 if it is empty
)

// A page is what a browser is shown.
type page struct {
	Lang, Title, Bank, RP string
	T                     map[string]string
	Person                *sandbox.Person
	People                []sandbox.Person
	Releases              []release
	Faults                []sandbox.Fault
	Error, Text           string
	Banks                 []Bank
	Refresh               int // seconds; 0 for none
}

// Banner is what every page of the sandbox says.
func (p *page) Banner() string { return p.T["banner"] }

// A release is one thing that the bank would tell, with its value.
type release struct{ Name, Value string }

var texts = map[string]map[string]string{
	"en": {"banner": "Simulation. No identity is checked.", "who": "Who are you?", "why": "wants to know something about you through iDIN.", "login": "Log in as one of these people.",
		"sees": "will receive:", "nothing": "nothing that stays: only a number for this time", "unknown": "this bank does not know it", "approve": "Approve", "cancel": "Cancel", "fail": "Fail at the bank",
		"close": "Approve, and close without returning", "stay": "Go back without an answer (stays open)", "other": "Somebody else",
		"closed": "Done. The browser is not sent back: close this page.", "wait": "The bank is thinking.", "gone": "This address leads to no request.",
		"others": "Let it end differently", "choose": "Choose your bank", "scan": "You scanned a code of",
		"app": "Do not scan this code with your banking app. Scan it with a QR scanner app or the phone's camera, and open the link yourself.",
		"old": "This code has expired. Ask for a new one.", "used": "This code has been used too often. Ask for a new one.", "nocode": "This code is not known.",
		"notnow": "The other side does not start an identification now."},
	"nl": {"banner": "Simulatie. Er wordt geen identiteit gecontroleerd.", "who": "Wie bent u?", "why": "wil via iDIN iets van u weten.", "login": "Log in als een van deze personen.",
		"sees": "ontvangt:", "nothing": "niets dat blijft: alleen een nummer voor deze keer", "unknown": "deze bank weet het niet", "approve": "Akkoord", "cancel": "Annuleren", "fail": "Laten mislukken bij de bank",
		"close": "Akkoord, en sluiten zonder terug te gaan", "stay": "Terug zonder antwoord (blijft open)", "other": "Iemand anders",
		"closed": "Klaar. De browser gaat niet terug: sluit deze pagina.", "wait": "De bank denkt na.", "gone": "Dit adres hoort bij geen verzoek.",
		"others": "Laat het anders aflopen", "choose": "Kies uw bank", "scan": "U hebt een code gescand van",
		"app": "Scan deze code niet met uw bank-app. Scan met een QR-app of de camera van uw telefoon en open zelf de link.",
		"old": "Deze code is verlopen. Vraag een nieuwe.", "used": "Deze code is te vaak gebruikt. Vraag een nieuwe.", "nocode": "Deze code is niet bekend.",
		"notnow": "De andere kant begint nu geen identificatie."},
}

// words for a language; Dutch where the bank does not have it.
func wordsOf(language string) (string, map[string]string) {
	if t, ok := texts[language]; ok {
		return language, t
	}
	return "nl", texts["nl"]
}

func (s *Simulator) render(w http.ResponseWriter, status int, name string, p *page) {
	p.Lang, p.T = wordsOf(p.Lang)
	p.Faults = slices.DeleteFunc(s.Faults.List(), func(f sandbox.Fault) bool { return !strings.HasPrefix(f.Target, "idin") })
	sandbox.PageHeaders(w.Header())
	if p.Refresh > 0 {
		w.Header().Set("Refresh", strconv.Itoa(p.Refresh))
	}
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, p) // the browser has gone
}

// find is the transaction of a page's address; nil after the page was told
// that there is none.
func (s *Simulator) find(w http.ResponseWriter, r *http.Request) *order {
	s.mu.Lock()
	o := s.bySecret[r.URL.Query().Get("s")]
	s.mu.Unlock()
	if o == nil || o.bank != r.PathValue("issuer") {
		s.render(w, http.StatusNotFound, "notice", &page{Lang: "nl", Title: "404", Text: texts["nl"]["gone"]})
		return nil
	}
	sandbox.Concerns(r.Context(), o.id)
	return o
}

// showBank lets the ladder decide, or shows what a person can do.
func (s *Simulator) showBank(w http.ResponseWriter, r *http.Request) {
	o := s.find(w, r)
	if o == nil {
		return
	}
	s.mu.Lock()
	s.pass(o)
	done, person := final(o.state), o.person
	if o.opened.IsZero() {
		o.opened = s.now()
	}
	opened := o.opened
	s.mu.Unlock()
	if done {
		s.leave(w, r, o)
		return
	}
	dec := s.decide(o, person)
	if acts(dec) {
		if wait := dec.Outcome.After() - s.now().Sub(opened); wait > 0 {
			p := s.bankPage(o)
			p.Refresh, p.Text = max(1, int(wait/time.Second)), p.T["wait"]
			s.render(w, http.StatusOK, "notice", p)
			return
		}
		if err := s.act(o, dec); err != nil {
			s.mistaken(w, o, err)
			return
		}
		s.leave(w, r, o)
		return
	}
	p := s.bankPage(o)
	if dec.Person != "" && person == "" {
		person = dec.Person
	}
	s.ask(w, o, p, person)
}

// bankPage is what every page of a bank has.
func (s *Simulator) bankPage(o *order) *page {
	b, _ := bankOf(o.bank)
	lang, t := wordsOf(o.language)
	return &page{Lang: lang, T: t, Title: b.Name, Bank: b.Name, RP: o.merchant.Name}
}

// ask shows who may log in, or what approving would release.
func (s *Simulator) ask(w http.ResponseWriter, o *order, p *page, person string) {
	who, err := s.People.Get(person)
	if err != nil || who.IDIN == nil {
		p.People = s.customers()
		s.render(w, http.StatusOK, "login", p)
		return
	}
	data := *who.IDIN
	data.DateOfBirth = data.Birth(s.now())
	have := attributes(o.service, &data, s.now(), "18orolder")
	for _, part := range parts {
		if !has(o.service, part.part) {
			continue
		}
		text := part.en
		if p.Lang == "nl" {
			text = part.nl
		}
		value := ""
		for _, a := range have {
			if a.part == part.part && a.name != "deprecatedbin" {
				value += a.value + " "
			}
		}
		switch {
		case part.part == partSign:
			value = o.document
		case part.part == partBIN:
			value = ""
		case value == "":
			value = p.T["unknown"]
		}
		p.Releases = append(p.Releases, release{text, value})
	}
	p.Person = &who
	s.render(w, http.StatusOK, "consent", p)
}

// mistaken asks again, and says what was wrong.
func (s *Simulator) mistaken(w http.ResponseWriter, o *order, err error) {
	p := s.bankPage(o)
	p.Error, p.People = err.Error(), s.customers()
	s.render(w, http.StatusUnprocessableEntity, "login", p)
}

// customers are the people whom banks know.
func (s *Simulator) customers() []sandbox.Person {
	return slices.DeleteFunc(s.People.List(), func(p sandbox.Person) bool { return p.IDIN == nil })
}

// actBank does what a button says.
func (s *Simulator) actBank(w http.ResponseWriter, r *http.Request) {
	o := s.find(w, r)
	if o == nil {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "This form cannot be read.", http.StatusBadRequest)
		return
	}
	f := r.PostForm
	event, known := map[string]string{"login": "open", "other": "", "approve": "approve", "cancel": "cancel", "fail": "fail:failure", "close": "fail:no_return",
		"stay": "stay"}[f.Get("act")]
	if !known {
		http.Error(w, "This form has no such button.", http.StatusBadRequest)
		return
	}
	b, _ := bankOf(o.bank)
	e := sandbox.Act{Event: event, Person: f.Get("person"), Source: "page of " + b.Name}
	s.mu.Lock()
	s.pass(o)
	var err error
	switch {
	case final(o.state):
	case event == "":
		o.person = ""
	default:
		if err = s.do(o, e); err == nil {
			s.record(o, e)
		}
	}
	done := final(o.state)
	s.mu.Unlock()
	switch {
	case err != nil:
		s.mistaken(w, o, err)
	case done || event == "stay":
		s.leave(w, r, o)
	default:
		http.Redirect(w, r, s.page(o), http.StatusSeeOther)
	}
}

// leave sends the browser back to the merchant, whatever came out.
func (s *Simulator) leave(w http.ResponseWriter, r *http.Request, o *order) {
	f, _ := s.Faults.Take("idin.redirect")
	entrance := o.entrance
	s.mu.Lock()
	stays := o.noReturn || f.Kind == noRedirect
	if !stays && o.returned.IsZero() {
		o.returned = s.now()
	}
	switch f.Kind {
	case wrongEC:
		entrance = random(20)
	case stayOpen:
		if o.hidden, _ = strconv.Atoi(f.Value); o.hidden < 1 { // Check takes any text
			o.hidden = 1
		}
	}
	s.wake()
	s.mu.Unlock()
	if stays {
		p := s.bankPage(o)
		p.Text = p.T["closed"]
		s.render(w, http.StatusOK, "notice", p)
		return
	}
	http.Redirect(w, r, o.back(entrance), http.StatusSeeOther)
}
