package zignsec

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // Europe/Stockholm, wherever the program runs

	"eidgate/api/claims"
	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
)

// An envelope is the v2 result, in the order in which it is documented (§8.1).
type envelope struct {
	ID       string         `json:"id"`
	Errors   []wireError    `json:"errors"`
	Identity any            `json:"identity,omitempty"` // *identity or *ageIdentity
	BankIDSE *bankIDSE      `json:"BankIDSE,omitempty"`
	Age      *ageChecked    `json:"IdinAgeChecked,omitempty"`
	IDIN     *idinNode      `json:"IDIN,omitempty"`
	BankIDNO string         `json:"BANKIdNO_OIDC,omitempty"` // JSON, as text
	Norway   *norwegianNode `json:"BankIDNO,omitempty"`
	MitID    *mitIDNode     `json:"MitID,omitempty"`
	ItsMe    *itsmeUser     `json:"ItsMe,omitempty"`
	Lookup   string         `json:"LookupPersonAddressStatus,omitempty"`
	Method   string         `json:"method,omitempty"`
	Custom   string         `json:"custom,omitempty"`
	Binding  eid.Binding    `json:"binding,omitempty"` // ours: how surely the browser is the one that began
	Sandbox  bool           `json:"sandbox,omitempty"` // ours: nobody was identified
	Result   *resultNode    `json:"result,omitempty"`
}

type resultNode struct {
	Identity struct {
		State string `json:"state"`
	} `json:"identity"`
}

// identity has the fields of §8.2. Unset strings are "", unset numbers are
// absent; so are fields of other eIDs.
type identity struct {
	CountryCode         string  `json:"CountryCode"`
	FirstName           string  `json:"FirstName"`
	LastName            string  `json:"LastName"`
	FullName            string  `json:"FullName"`
	PersonalNumber      string  `json:"PersonalNumber"`
	DateOfBirth         string  `json:"DateOfBirth"`
	Age                 *int    `json:"Age,omitempty"`
	Gender              *string `json:"Gender,omitempty"` // "male", "female" or ""
	PhoneNumber         string  `json:"PhoneNumber,omitempty"`
	Email               string  `json:"Email,omitempty"`
	IDProviderName      string  `json:"IdProviderName"`
	IdentificationDate  string  `json:"IdentificationDate"`
	IDProviderRequestID string  `json:"IdProviderRequestId"`
	IDProviderPersonID  string  `json:"IdProviderPersonId"`
	CustomerPersonID    string  `json:"CustomerPersonId"`
}

type bankIDSE struct {
	Signature    string `json:"signature"`
	OCSPResponse string `json:"ocspResponse"`
}

// providers are the names that results carry (§8.7).
var providers = map[eid.EID]string{eid.BankIDSE: "BankIDSE", eid.BankIDNO: "BankIDNO", eid.NemID: "NemId", eid.MitID: "MitID",
	eid.IDIN: "iDin", eid.IDINAge: "iDin", eid.Itsme: "ItsMe"}

// result answers the reading of a session, as often as it is asked (§8).
func (a *API) result(w http.ResponseWriter, r *http.Request, c caller, id string) error {
	return a.read(w, r, c, id, "")
}

// read is that of either generation, each of which knows its own sessions
// only. A method that is named must be the session's; "" is any of v2, "*" of v3.
func (a *API) read(w http.ResponseWriter, r *http.Request, c caller, id, method string) error {
	if err := a.take(a.reads, c.Key.ID, readRate, c.Account.Limits.Reads, errReads); err != nil {
		return err
	}
	if len(id) != 36 { // what is no id shall not fill the limiter's memory
		return broker.ErrNotFound
	}
	if err := a.take(a.polls, c.Account.ID+id, pollRate, 0, errPolls); err != nil {
		return err
	}
	s, err := a.c.Broker.Session(r.Context(), c.Account.ID, c.Key.Environment, id)
	if err != nil {
		return err
	}
	if s.API != Name {
		return broker.ErrNotFound
	}
	spec, err := a.c.Broker.Spec(r.Context(), s)
	if err != nil {
		return err
	}
	var pay payload
	if err := json.Unmarshal(spec.Payload, &pay); err != nil {
		return err
	}
	if pay.Third != (method != "") || method != "" && method != "*" && !slices.ContainsFunc(spec.Methods, func(m broker.Method) bool { return same(m.Name, method) }) {
		return broker.ErrNotFound
	}
	who, evidence, err := a.c.Broker.Result(r.Context(), s, c.Key.ID)
	if err != nil {
		return err
	}
	var refs []connector.Ref
	if s.State == broker.Failed && s.EID == eid.IDINAge {
		if refs, err = a.c.Broker.Refs(r.Context(), s.ID); err != nil {
			return err
		}
	}
	body, err := render(s, spec, who, evidence, refs)
	if err != nil {
		return err
	}
	send(w, http.StatusOK, body)
	return nil
}

// render is the body that a read answers and a notification carries. refs are
// the upstream's names for a session that has failed. Pure.
func render(s *broker.Session, spec *broker.Spec, who *eid.Identity, evidence []eid.Evidence, refs []connector.Ref) ([]byte, error) {
	var pay payload
	if err := json.Unmarshal(spec.Payload, &pay); err != nil {
		return nil, err
	}
	if pay.Third {
		return render3(s, &pay, who, evidence)
	}
	e := envelope{ID: s.ID, Errors: []wireError{}, Method: s.Method, Sandbox: s.Environment == eid.Test}
	state := "PENDING"
	switch s.State {
	case broker.Finished:
		state = "FINISHED"
		e.Binding = s.Level
		if who != nil {
			e.fill(who, pay.LocalDate)
		}
		e.BankIDSE = node(evidence)
		if who != nil && who.EID == eid.BankIDNO {
			e.BankIDNO = tokens(evidence)
		}
		if who != nil && who.EID == eid.Itsme {
			e.ItsMe = newItsmeUser(evidence)
		}
		if pay.Lookup {
			e.Lookup = "ERROR" // no register is connected
		}
	case broker.Failed:
		state = "ERROR"
		e.Errors = []wireError{failure(s)}
		if s.EID == eid.IDINAge {
			e.Age = failedAge(s, refs)
		}
	default: // it goes on
	}
	if pay.EchoCustom {
		e.Custom = pay.Custom
	}
	if s.State != broker.Finished || !pay.DropState {
		e.Result = &resultNode{}
		e.Result.Identity.State = state
	}
	return marshal(e)
}

// dateForm has seven digits of a second, as the API has it (§8.2).
const dateForm = "2006-01-02T15:04:05.0000000Z07:00"

// fill says who was identified, with the node of the eID.
func (e *envelope) fill(who *eid.Identity, local bool) {
	at := who.At.UTC()
	if local {
		at = at.In(stockholm())
	}
	if who.EID == eid.IDINAge {
		e.Identity, e.Age = fillAge(who, at.Format(dateForm))
		return
	}
	i := &identity{CountryCode: who.Country, FirstName: who.Given, LastName: who.Family, FullName: who.Name,
		PersonalNumber: string(who.Number), DateOfBirth: who.Birth, Age: who.Age, IDProviderName: providers[who.EID],
		IdentificationDate: at.Format(dateForm), IDProviderRequestID: who.Request}
	e.Identity = i
	if who.EID != eid.BankIDSE {
		i.Gender, i.PhoneNumber, i.Email, i.IDProviderPersonID = &who.Gender, who.Phone, who.Email, personID(who)
	}
	switch who.EID {
	case eid.BankIDNO:
		e.Norway = newNorwegian(who)
	case eid.MitID:
		e.MitID = newMitID(who)
	case eid.IDIN:
		e.IDIN = newIDIN(who)
	default: // no node, or one of proofs
	}
}

// personID is what the eID calls a person for good, never the number: that is
// all that Swedish BankID knows.
func personID(who *eid.Identity) string {
	if who.EID == eid.BankIDSE || who.Subject == "" {
		return ""
	}
	return claims.Lasting(who)
}

// stockholm is the local time that older results were written in.
var stockholm = sync.OnceValue(func() *time.Location {
	zone, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		panic(err) // it is linked into the program
	}
	return zone
})

// tokens is the answer of Norwegian BankID to a code, as older results carry it
// (§8.6): the ID token, and blanks for what would open BankID to whoever reads
// the result.
func tokens(evidence []eid.Evidence) string {
	i := slices.IndexFunc(evidence, func(e eid.Evidence) bool { return e.Name == "id_token" })
	if i < 0 {
		return ""
	}
	raw, err := json.MarshalIndent(struct { //nolint:gosec // it stays empty
		Access         string `json:"access_token"`
		Expires        int    `json:"expires_in"`
		RefreshExpires int    `json:"refresh_expires_in"`
		Refresh        string `json:"refresh_token"`
		Type           string `json:"token_type"`
		ID             string `json:"id_token"`
		NotBefore      int    `json:"not-before-policy"`
	}{Type: "bearer", ID: string(evidence[i].Data)}, "", "  ")
	if err != nil { // texts and numbers
		panic(err)
	}
	return strings.ReplaceAll(string(raw), "\n", "\r\n")
}

func node(evidence []eid.Evidence) *bankIDSE {
	var n bankIDSE
	for _, e := range evidence {
		switch e.Name {
		case "bankidse.signature":
			n.Signature = string(bytes.TrimSpace(e.Data))
		case "bankidse.ocsp":
			n.OCSPResponse = string(bytes.TrimSpace(e.Data))
		}
	}
	if n == (bankIDSE{}) {
		return nil
	}
	return &n
}
