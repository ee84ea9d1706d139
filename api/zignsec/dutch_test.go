package zignsec

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// dutch is what a story has iDIN and the age check say. Who comes back from a
// bank is another test's affair: here the bank's word is what a story says at
// /-/idin (see control).
type dutch struct {
	eid     eid.EID
	now     func() time.Time
	mu      sync.Mutex
	orders  int
	refuses *connector.Fail
}

type dutchState struct {
	ID    string
	Check int64
}

func (d *dutch) Info() connector.Info {
	why := eid.Identify
	if d.eid == eid.IDINAge {
		why = eid.Age
	}
	return connector.Info{EID: d.eid, Purposes: []eid.Purpose{why}, Modes: []string{""}, Breakout: true}
}

func (d *dutch) refuse(f connector.Fail) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuses = &f
}

func (d *dutch) Begin(context.Context, *connector.Request) (connector.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.refuses; f != nil {
		d.refuses = nil
		return connector.Result{Step: *f}, nil
	}
	d.orders++
	s := dutchState{ID: fmt.Sprintf("0030%012d", d.orders)}
	res := connector.Result{Refs: []connector.Ref{connector.Ref(s.ID)}}
	if d.eid == eid.IDINAge {
		s.Check = 1255119 + int64(d.orders)
		res.Refs = append(res.Refs, connector.Ref(eid.CheckRef(s.Check)))
	}
	return s.stay(res), nil
}

func (s dutchState) stay(res connector.Result) connector.Result {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	res.State, res.Step = raw, connector.Redirect{URL: "https://bank.example/" + s.ID}
	return res
}

func (d *dutch) Resume(_ context.Context, r *connector.Request, raw []byte, e connector.Event) (connector.Result, error) {
	var s dutchState
	if err := json.Unmarshal(raw, &s); err != nil {
		return connector.Result{}, err
	}
	switch ev := e.(type) {
	case connector.Expired:
		return connector.Result{Step: connector.Fail{Reason: eid.Expired}}, nil
	case connector.Called:
		q := ev.In.Query
		if why := q.Get("failed"); why != "" {
			return connector.Result{Step: connector.Fail{Reason: eid.Reason(why), Code: q.Get("code"), Retry: q.Has("retry")}}, nil
		}
		id := &eid.Identity{EID: d.eid, At: d.now(), Country: "NL", Issuer: "RABONL2U"}
		if d.eid == eid.IDINAge {
			status, err := strconv.Atoi(q.Get("status"))
			if err != nil {
				return connector.Result{}, err
			}
			yes := status == 6 || status == 7
			id.Request, id.Approved, id.Check = strconv.FormatInt(s.Check, 10), &yes, &eid.AgeCheck{ID: s.Check, Status: status}
		} else {
			who := people[q.Get("person")]
			id.Request, id.Level = s.ID, "nl:bvn:bankid:1.0:loa3"
			who(id, func(word string) bool { return slices.Contains(r.Wanted, word) })
		}
		return connector.Result{Step: connector.Done{}, Confirmed: id}, nil
	}
	return s.stay(connector.Result{}), nil
}

// people are who may be at the bank. The bank gives what is asked for, if it
// has it.
var people = map[string]func(*eid.Identity, func(string) bool){
	"femke": func(id *eid.Identity, wanted func(string) bool) {
		id.Subject, id.Former = "NLRABOFEMKE-0001", "NLSNSBFEMKE-9"
		if wanted(eid.WantName) {
			id.Initials, id.Preferred = "FA", eid.LastName{Name: "Proef-van der Vliet"}
			id.Legal, id.Partner = eid.LastName{Prefix: "van der", Name: "Vliet"}, eid.LastName{Prefix: "de", Name: "Proef"}
			id.Family, id.Name = "van der Vliet", "FA van der Vliet"
		}
		if wanted(eid.WantBirth) {
			age := 38
			id.Birth, id.BirthText, id.Age = "1987-06-05", "19870605", &age
		}
		if wanted(eid.WantGender) {
			id.Sex, id.Gender = "2", "female"
		}
		if wanted(eid.WantAdult) {
			yes := true
			id.Approved = &yes
		}
		if wanted(eid.WantAddress) {
			id.Address = &eid.Address{Street: "Proefstraat", Number: "7", Suffix: "B", PostalCode: "9999ZZ", City: "Proefdam", Country: "NL"}
		}
		if wanted(eid.WantPhone) {
			id.Phone = "+31 6 00000000"
		}
		if wanted(eid.WantEmail) {
			id.Email = "femke@proef.example"
		}
	},
	// Nothing but a transient name and a year, and an address abroad.
	"unknown": func(id *eid.Identity, wanted func(string) bool) {
		id.Subject, id.Partial = "TRANS0123456789", true
		if wanted(eid.WantName) {
			id.Initials, id.Legal, id.Family, id.Name = "O", eid.LastName{Name: "Onbekend"}, "Onbekend", "O Onbekend"
		}
		if wanted(eid.WantBirth) {
			id.BirthText = "19500000"
		}
		if wanted(eid.WantGender) {
			id.Sex = "9"
		}
		if wanted(eid.WantAddress) {
			id.Address = &eid.Address{Lines: []string{"Testgasse 1", "1010 Wien"}, Country: "AT"}
		}
	},
}

// Locate implements connector.Locator.
func (d *dutch) Locate(in connector.Inbound) (connector.Ref, error) {
	return connector.Ref(in.Query.Get("ref")), nil
}

// bankSays is the part of control that is about iDIN:
//
//	POST /-/idin?ref=REF&person=NAME         the bank has confirmed this person
//	POST /-/idin?ref=REF&failed=REASON&code= … has not
//	POST /-/idin?refuses=REASON&code=        … does not begin the next order
//	POST /-/age?ref=REF&status=N             the check has this outcome; the others as for iDIN
func (w *world) bankSays(d *dutch) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Has("refuses") {
			d.refuse(connector.Fail{Reason: eid.Reason(q.Get("refuses")), Code: q.Get("code"), Retry: q.Has("retry")})
		} else if _, err := w.broker.Called(r.Context(), eid.Test, d.eid, connector.Inbound{Query: q}); err != nil {
			http.Error(rw, err.Error(), http.StatusConflict)
			return
		}
		rw.WriteHeader(http.StatusNoContent)
	}
}
