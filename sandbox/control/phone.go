package control

import (
	"encoding/base64"
	"net/http"
	"net/url"

	"eidgate/sandbox"
	"eidgate/sandbox/bankidse"
)

type phoneView struct {
	Person string
	People []sandbox.Person
	Orders []phoneOrder
	Error  string
	Token  string
	Faults []sandbox.Fault
}

type phoneOrder struct {
	bankidse.View
	Says string
}

// showPhone lists what waits for the chosen person, and codes on a screen.
func (x *control) showPhone(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	v := phoneView{Person: q.Get("person"), People: x.People.List(), Error: q.Get("error"), Token: q.Get("autostarttoken"), Faults: x.Faults.List()}
	if v.Person == "" {
		v.Person = "ada"
	}
	if v.Token != "" {
		if _, err := x.BankIDSE.Open(v.Token, v.Person); err != nil && v.Error == "" {
			v.Error = err.Error()
		}
	}
	for _, o := range x.BankIDSE.Orders(false) {
		text, err := base64.StdEncoding.DecodeString(o.Text)
		if err != nil {
			text = nil
		}
		v.Orders = append(v.Orders, phoneOrder{o, string(text)})
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self' http: https:; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	_ = x.phone.Execute(w, v) // the browser has gone
}

// actPhone does what a button says and shows the phone again.
func (x *control) actPhone(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "This form cannot be read.", http.StatusBadRequest)
		return
	}
	f := r.PostForm
	back := url.Values{"person": {f.Get("person")}}
	var err error
	var o bankidse.View
	switch {
	case f.Get("code") != "":
		_, err = x.BankIDSE.Scan(f.Get("code"), f.Get("person"))
	case f.Get("event") == "scan":
		if o, err = x.BankIDSE.Order(f.Get("ref")); err == nil {
			_, err = x.BankIDSE.Scan(o.QR, f.Get("person"))
		}
	case f.Get("event") != "":
		o, err = x.BankIDSE.Event(f.Get("ref"), f.Get("event"), f.Get("person"))
	}
	if err != nil {
		back.Set("error", err.Error())
	}
	if err == nil && o.State == "complete" && f.Get("follow") != "" && len(o.Return) > 8 {
		http.Redirect(w, r, o.Return, http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, "/phone?"+back.Encode(), http.StatusSeeOther)
}
