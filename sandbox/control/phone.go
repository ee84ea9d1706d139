package control

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/bankidse"
	"eidgate/sandbox/idin"
)

// phoneView is what the page shows.
type phoneView struct {
	Person      sandbox.Person
	People      []sandbox.Person
	Mode        string // ask, auto, or usual
	After       string // of auto
	Kind        string // of the BankID on this phone; "" for whichever there is
	Network     string // same or other
	Version     string // current or old
	Error, Said string
	Faults      []sandbox.Fault
	Codes       []bankidse.View // on a screen right now
	Waiting     []bankidse.View // that the person's app has
	Visits      []bankVisit     // that wait at a bank's page, or AgeChecked's
	Screens     []sandbox.Order // codes of iDIN QR
	Open        *bankidse.View
	Text        string // of the open order, as people read it
	Page        string // where the login of the open order goes on, if a link opened the app there
	Ends        []ending
	Hints       []ending
	Control     string       // address of this listener
	Keep        template.URL // query that links keep
}

// A bankVisit is an order that waits for somebody on a page of its own, which is
// the app.
type bankVisit struct {
	sandbox.Order
	Name  string // of the eID
	At    string // whose page it is
	Wants []string
}

// visits are those of every person: a bank learns who it is when they log in.
func (x *control) visits() (out []bankVisit) {
	for _, o := range x.IDIN.Orders(false) {
		d, ok := o.Details.(idin.Details)
		if o.Page == "" || !ok {
			continue
		}
		v := bankVisit{Order: o, Name: "iDIN", At: d.Bank, Wants: d.Wants}
		for _, b := range idin.Banks() {
			if b.ID == d.Bank {
				v.At = b.Name
			}
		}
		out = append(out, v)
	}
	for _, o := range x.AgeChecked.Orders(false) {
		out = append(out, bankVisit{Order: o, Name: "Age check", At: "AgeChecked"})
	}
	for _, o := range x.Itsme.Orders(false) {
		out = append(out, bankVisit{Order: o, Name: "itsme", At: "the app of itsme"})
	}
	for _, o := range x.BankIDNO.Orders(false) {
		out = append(out, bankVisit{Order: o, Name: "BankID (Norway)", At: "BankID"})
	}
	for _, o := range x.MitID.Orders(false) {
		out = append(out, bankVisit{Order: o, Name: "MitID", At: "MitID"})
	}
	return out
}

// Title is the page's heading.
func (v *phoneView) Title() string { return "Phone of " + v.Person.Key }

// An ending is a way to end an order that is not approve or cancel.
type ending struct{ Event, Label, ID string }

var endings = []ending{
	{"fail:certificateErr", "Wrong code, three times", "wrong-code"},
	{"expire", "Nobody acts until it expires", "expire"},
	{"fail:notSupportedByUserApp", "App too old", "app-too-old"},
	{"fail:transactionRiskBlocked", "Blocked for its risk", "risk-blocked"},
	{"fail:mrtdVerificationFailed", "Passport not readable", "document-failed"},
	{"fail:nfcNotSupportedByDevice", "Phone without NFC", "no-nfc"},
	{"fail:facialRecognitionFailed", "Face not recognised", "face-failed"},
	{"fail:stepUpFailed", "Extra check failed", "step-up-failed"},
	{"fail:multipleBankIdsOnDevice", "Several BankIDs here", "several-bankids"},
	{"fail:userDeclinedCall", "Decline the call", "decline-call"},
	{"fail:cancelled", "Replaced by another order", "replaced"},
	{"fail:somethingNew", "A hint nobody knows", "unknown-hint"},
}

var hints = []ending{
	{"hint:userSign", "Waits for the code", "hint-sign"},
	{"hint:userMrtd", "Reads a passport", "hint-document"},
	{"hint:userFace", "Looks at the face", "hint-face"},
	{"hint:userStepUp", "Extra check", "hint-step-up"},
	{"hint:userCallConfirm", "Asks about the call", "hint-call"},
	{"hint:processing", "Processing", "hint-processing"},
}

// elsewhere is where a phone on another network is.
const elsewhere = "198.51.100.7"

// data is what the options of a phone make its app say.
func data(f url.Values) bankidse.Data {
	d := bankidse.Data{Kind: f.Get("kind"), Version: f.Get("version"), Code: strings.TrimSpace(f.Get("pin")), Risk: f.Get("risk")}
	if f.Get("network") == "other" {
		d.IPAddress = elsewhere
	}
	return d
}

// kept are the options that links and forms carry on.
func kept(f url.Values) url.Values {
	out := url.Values{}
	for _, k := range []string{"person", "kind", "network", "version"} {
		if v := f.Get(k); v != "" && len(v) <= 40 {
			out.Set(k, v)
		}
	}
	return out
}

// showPhone lists what waits for the chosen person, and codes on a screen.
// The app's link, with autostarttoken, opens its order.
func (x *control) showPhone(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	v := &phoneView{People: x.People.List(), Kind: q.Get("kind"), Network: cmp.Or(q.Get("network"), "same"), Version: cmp.Or(q.Get("version"), "current"),
		Error: q.Get("error"), Said: q.Get("said"), Faults: x.Faults.List(), Ends: endings, Hints: hints, Control: self(r)}
	ref := q.Get("ref")
	if token := q.Get("autostarttoken"); token != "" {
		o, err := x.BankIDSE.Open(token, bankidse.Event{Person: q.Get("person"), Data: data(q), Source: "phone"})
		if err != nil {
			v.Error = sentence(err)
		}
		if ref = o.Ref; o.Person != "" {
			q.Set("person", o.Person)
		}
	}
	if err := x.fill(v, q.Get("person"), ref); err != nil {
		v.Error = sentence(err)
	}
	if v.Open != nil && v.Open.Started {
		v.Page = x.page(r.Context(), v.Open.Ref)
	}
	q.Set("person", v.Person.Key)
	v.Keep = template.URL(kept(q).Encode())         //nolint:gosec // encoded, and in a query
	pageHeaders(w.Header(), "'self' http: https:")  // where an order's returnUrl leads
	_ = x.phone.ExecuteTemplate(w, "phone.html", v) // the browser has gone
}

// fill puts the orders into the view. An order that nobody has chosen is
// opened where it is the only one.
func (x *control) fill(v *phoneView, key, ref string) error {
	p, err := x.People.Get(cmp.Or(key, "ada"))
	if err != nil {
		p = v.People[0]
		err = fmt.Errorf("nobody has the key %.40q", key)
	}
	v.Person, v.Mode, v.After = p, mode(p.Behaviour), "3"
	if o, bad := sandbox.Behaviour(p.Behaviour); bad == nil && v.Mode == "auto" {
		v.After = fmt.Sprint(int(o.After() / time.Second))
	}
	for _, o := range x.BankIDSE.Orders(false) {
		switch {
		case o.State == "outstanding":
			v.Codes = append(v.Codes, o)
		case o.Person == p.Key:
			v.Waiting = append(v.Waiting, o)
		}
	}
	v.Visits, v.Screens = x.visits(), x.IDIN.Codes()
	if ref == "" && len(v.Waiting) == 1 {
		ref = v.Waiting[0].Ref
	}
	if o, bad := x.bankID(ref); bad == nil {
		text, bad := base64.StdEncoding.DecodeString(o.Text)
		if v.Open = &o; bad == nil {
			v.Text = string(text)
		}
	}
	return err
}

// page is that of the login whose order this is; "" if it has none. The app's
// link has led away from it, and a browser's way back may pass it over.
func (x *control) page(ctx context.Context, ref string) string {
	if x.Sessions == nil || x.Decisions.Lookup == nil {
		return ""
	}
	from, known := x.Decisions.Lookup(ref)
	if !known {
		return ""
	}
	to, err := x.Sessions.StartURL(ctx, from.Session)
	if _, found := x.Sessions.Find(to); err != nil || !found {
		return ""
	}
	return to
}

func mode(behaviour string) string {
	switch {
	case behaviour == "asks":
		return "ask"
	case strings.HasPrefix(behaviour, "approve after "):
		return "auto"
	}
	return "usual"
}

// sentence makes an error one for people.
func sentence(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// actPhone does what a button says and shows the phone again.
func (x *control) actPhone(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "This form cannot be read.", http.StatusBadRequest)
		return
	}
	f := r.PostForm
	e := bankidse.Event{Event: f.Get("event"), Person: f.Get("person"), Data: data(f), Source: "phone"}
	back := kept(f)
	o, err := bankidse.View{Order: sandbox.Order{Ref: f.Get("ref")}}, error(nil)
	switch {
	case f.Has("mode"):
		if err = x.setMode(f); err == nil {
			back.Set("said", "Saved.")
		}
	case f.Has("code"):
		if c, found := x.shown(f.Get("code")); found { // a camera opens the link, which is the scan
			http.Redirect(w, r, c.QR, http.StatusSeeOther)
			return
		}
		o, err = x.BankIDSE.Read(f.Get("code"), e)
	case e.Event == "scan": // one click reads the code that is on the screen now
		if o, err = x.BankIDSE.Order(o.Ref); err == nil {
			o, err = x.BankIDSE.Read(o.QR, e)
		}
	case e.Event == "give":
		e.Event, e.Person = "open", f.Get("other")
		back.Set("person", e.Person)
		o, err = x.BankIDSE.Do(o.Ref, e)
	default:
		if e.Event == "hint:userSign" { // the document was read
			e.Event = "document"
			if v, bad := x.bankID(o.Ref); bad != nil || v.Hint != "userMrtd" {
				e.Event = "hint:userSign"
			}
		}
		o, err = x.BankIDSE.Do(o.Ref, e)
	}
	if err != nil {
		back.Set("error", sentence(err))
	}
	if err == nil && o.State == "complete" && o.Started && strings.HasPrefix(o.Return, "http") {
		http.Redirect(w, r, o.Return, http.StatusSeeOther) // as the app on the same device does
		return
	}
	if o.Ref != "" {
		back.Set("ref", o.Ref)
	}
	http.Redirect(w, r, "/phone?"+back.Encode(), http.StatusSeeOther)
}

// setMode is PATCH /people/{key} as a form.
func (x *control) setMode(f url.Values) error {
	behaviour := map[string]string{"ask": "asks", "auto": "approve after " + f.Get("after") + "s", "usual": "normal"}[f.Get("mode")]
	if f.Get("mode") == "usual" { // what the cast says of them
		for _, p := range sandbox.NewPeople().List() {
			if p.Key == f.Get("person") {
				behaviour = p.Behaviour
			}
		}
	}
	_, err := x.People.Patch(f.Get("person"), func(p *sandbox.Person) error { p.Behaviour = behaviour; return nil })
	return err
}

// listen tells a page, by server-sent events, that something has changed.
func (x *control) listen(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Time{}) // a test's recorder has none
	tick := time.NewTicker(time.Second)  // time by itself ends orders
	defer tick.Stop()
	for last := uint64(0); ; {
		changed, jumped := x.changed(), x.Clock.Jumped()
		if now := x.fingerprint(); now != last {
			last = now
			_, err := fmt.Fprintf(w, "data: %x\n\n", now)
			if err != nil || rc.Flush() != nil {
				return
			}
		}
		select {
		case <-changed[0]:
		case <-changed[1]:
		case <-changed[2]:
		case <-changed[3]:
		case <-changed[4]:
		case <-changed[5]:
		case <-jumped:
		case <-tick.C:
		case <-x.Stop:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// fingerprint changes when something that the page shows does.
func (x *control) fingerprint() uint64 {
	h := fnv.New64a()
	for _, o := range x.all(true) {
		fmt.Fprint(h, o.Ref, o.State, o.Hint, o.Person, o.Next, o.Until)
	}
	fmt.Fprint(h, x.Faults.List(), x.People.List())
	return h.Sum64() | 1 // never 0
}

// curl shows a call of the API. The body holds no quote of its own.
// self is this listener's address, as the browser has it.
func self(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func curl(base, method, path string, body ...string) string {
	s := "curl -s"
	if method != http.MethodPost || len(body) == 0 {
		s += " -X " + method
	}
	s += " " + base + "/sandbox/v1" + path
	if len(body) > 0 {
		s += " -H 'Content-Type: application/json' -d '" + body[0] + "'"
	}
	return s
}

// asJSON writes pairs of keys and values as an object, without empty values.
func asJSON(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		raw, _ := json.Marshal(pairs[i+1]) // text cannot fail
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", pairs[i], raw)
	}
	return "{" + b.String() + "}"
}

// An option is one of a select.
type option struct {
	Value, Label string
	On           bool
}

func newOption(value, chosen, label string) option { return option{value, label, value == chosen} }
