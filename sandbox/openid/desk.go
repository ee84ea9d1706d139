package openid

import (
	"net/http"
	"strconv"
	"time"
)

// A Desk is where people act on the logins of a Book: the pages that all
// simulators have in common.
type Desk[T any] struct {
	*Book[T]
	// Notice shows a text, an error, or both.
	Notice func(w http.ResponseWriter, status int, text, fault string)
	// Ask shows what the person has to do next; wrong is what was wrong with what
	// they have done, or "".
	Ask func(w http.ResponseWriter, l *Login[T], wrong string)
	// Leave sends the browser back.
	Leave func(w http.ResponseWriter, r *http.Request, l *Login[T])
}

// open is the login of an address; false after the page has said that there is none.
func (d *Desk[T]) open(w http.ResponseWriter, r *http.Request) (Login[T], bool) {
	l, ok := d.Open(r.Context(), r.PathValue("ref"))
	if !ok {
		d.Notice(w, http.StatusNotFound, "This address leads to no login.", "")
	}
	return l, ok
}

// Show is the page of a login: what was decided happens, or the person is asked.
func (d *Desk[T]) Show(w http.ResponseWriter, r *http.Request) {
	l, ok := d.open(w, r)
	if !ok {
		return
	}
	turn, wait, l := d.Turn(l)
	switch turn {
	case Leave:
		d.Leave(w, r, &l)
	case Later:
		w.Header().Set("Refresh", strconv.Itoa(int(wait/time.Second)))
		d.Notice(w, http.StatusOK, "Waiting for the app.", "")
	case Still:
		d.still(w, &l)
	default:
		d.Ask(w, &l, "")
	}
}

// still is for somebody who never acts: the page comes again when time is up.
func (d *Desk[T]) still(w http.ResponseWriter, l *Login[T]) {
	left := l.Created.Add(d.rules.Window).Sub(d.clock.Now())
	w.Header().Set("Refresh", strconv.Itoa(max(1, int((left+time.Second-1)/time.Second))))
	d.Notice(w, http.StatusOK, "Nobody acts in the app.", "")
}

// Pressed is the login whose page has sent a form, which was read; false after
// an answer, where there is nothing more to do.
func (d *Desk[T]) Pressed(w http.ResponseWriter, r *http.Request) (Login[T], bool) {
	l, ok := d.open(w, r)
	if !ok {
		return l, false
	}
	if !l.Ended.IsZero() {
		d.Leave(w, r, &l)
		return l, false
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "This form cannot be read.", http.StatusBadRequest)
		return l, false
	}
	return l, true
}

// Ends are the buttons that every page has, and the events that they stand for.
var Ends = map[string]string{"cancel": "cancel", "fail": "decline", "close": "fail:no_return"}

// NoButton answers a form with a button that the page does not have.
func NoButton(w http.ResponseWriter) {
	http.Error(w, "This form has no such button.", http.StatusBadRequest)
}

// Named goes on with a person who has said who they are, unless they always do
// the same, or nothing.
func (d *Desk[T]) Named(w http.ResponseWriter, r *http.Request, l *Login[T], person string, next func()) {
	p, err := d.Who(person)
	if err != nil {
		d.Notice(w, http.StatusBadRequest, "", err.Error())
		return
	}
	if habit := d.Habit(*l, person); habit != "" {
		d.Act(w, r, l.Ref, habit, person, "behaviour of the person")
		return
	}
	if p.Behaviour == "ignores" {
		seen := d.Note(l.Ref, func(l *Login[T]) { l.Silent = true })
		d.still(w, &seen)
		return
	}
	next()
}

// Change changes a login, and shows what comes next.
func (d *Desk[T]) Change(w http.ResponseWriter, r *http.Request, ref string, change func(*Login[T])) {
	if l := d.Note(ref, change); !l.Ended.IsZero() {
		d.Leave(w, r, &l)
	} else {
		d.Ask(w, &l, "")
	}
}

// Act ends a login, unless somebody was faster, and leaves.
func (d *Desk[T]) Act(w http.ResponseWriter, r *http.Request, ref, event, person, by string) {
	l, err := d.Settle(ref, event, person, by)
	if err != nil {
		d.Notice(w, http.StatusBadRequest, "", err.Error())
		return
	}
	d.Leave(w, r, &l)
}
