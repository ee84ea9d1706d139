package zignsec

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"eidgate/api/claims"
	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/limit"
)

// The headless Swedish BankID (§13): the relying party draws its own pages.

type startAnswer struct {
	ID             string      `json:"id"`
	Errors         []wireError `json:"errors"`
	OrderRef       string      `json:"orderRef"`
	AutoStartToken string      `json:"autoStartToken"`
}

type collectAnswer struct {
	ID             string      `json:"id"`
	Errors         []wireError `json:"errors"`
	ProgressStatus string      `json:"progressStatus,omitempty"`
	Signature      string      `json:"signature,omitempty"`
	OCSPResponse   string      `json:"ocspResponse,omitempty"`
	UserInfo       *userInfo   `json:"userInfo,omitempty"`
	RelayState     string      `json:"relayState,omitempty"`
	Lookup         string      `json:"LookupPersonAddressStatus,omitempty"`
}

// userInfo has all fields that clients know. The times are the certificate's, in
// milliseconds since 1970, and the address is that of the app's device.
type userInfo struct {
	PersonalNumber string `json:"personalNumber"`
	GivenName      string `json:"givenName"`
	Surname        string `json:"surname"`
	Name           string `json:"name"`
	NotBefore      string `json:"notBefore"`
	NotAfter       string `json:"notAfter"`
	IPAddress      string `json:"ipAddress"`
}

// progress maps BankID's hint codes (§13.4, §13.5); others are USER_SIGN.
var progress = map[string]string{"": "OUTSTANDING_TRANSACTION", "outstandingTransaction": "OUTSTANDING_TRANSACTION",
	"noClient": "NO_CLIENT", "started": "STARTED"}

// start makes a session without pages and begins its order at once. A number is
// not mandatory here, not for a signature either; one that is given pins the
// person.
func (a *API) start(w http.ResponseWriter, r *http.Request, c caller, selector string) error {
	n, _, err := a.prepare(w, r, c, selector, headless)
	if err != nil {
		return err
	}
	v, err := a.c.Broker.Begin(r.Context(), *n, connector.Browser{Addr: a.c.Client(r)}, nil)
	if err != nil {
		return err
	}
	wait, ok := v.Step.(connector.Wait)
	if v.Place != broker.AtStep || !ok {
		no := &problem{startStatus(v.Failed), failure(&v.Session), v.Session.ID}
		if v.Failed == eid.Unavailable && v.Session.Code == broker.Busy { // nothing was asked of the eID: soon there may be room
			no.status = http.StatusServiceUnavailable
			return &limit.Exceeded{Err: no, After: time.Second}
		}
		return no
	}
	refs, err := a.c.Broker.Refs(r.Context(), v.Session.ID)
	if err != nil {
		return err
	}
	if len(refs) == 0 {
		return errors.New("an order without a reference")
	}
	write(w, http.StatusOK, startAnswer{ID: v.Session.ID, Errors: []wireError{}, OrderRef: string(refs[len(refs)-1]), AutoStartToken: wait.Token})
	return nil
}

// startStatus is the status of an order that could not be started (§9).
func startStatus(r eid.Reason) int {
	switch r {
	case eid.Unavailable, eid.Refused, eid.BadAnswer:
		return http.StatusBadGateway
	case eid.Internal:
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

// order finds the session of an orderRef. Those with pages are not found: what
// their person does is not the caller's to answer or to stop.
func (a *API) order(r *http.Request, c caller) (*broker.Session, *broker.Spec, error) {
	p, err := decode(r)
	if err != nil {
		return nil, nil, err
	}
	ref := p["orderref"]
	if ref == "" {
		return nil, nil, bad("INVALID_PARAMETERS", "orderRef is missing: send the one that Authenticate or Sign has answered.")
	}
	s, err := a.c.Broker.ByRef(r.Context(), c.Account.ID, c.Key.Environment, eid.BankIDSE, connector.Ref(strings.ToLower(ref))) // a UUID may be written in any case
	if err != nil {
		return nil, nil, err
	}
	spec, err := a.c.Broker.Spec(r.Context(), s)
	if err == nil && (s.API != Name || !spec.Headless) {
		err = broker.ErrNotFound
	}
	return s, spec, err
}

// cancel ends an order that nobody waits for any more.
func (a *API) cancel(w http.ResponseWriter, r *http.Request, c caller) error {
	s, _, err := a.order(r, c)
	if err != nil {
		return err
	}
	if err := a.c.Broker.Withdraw(r.Context(), s.ID, c.Key.ID); err != nil {
		return err
	}
	write(w, http.StatusOK, plainAnswer{ID: s.ID, Errors: []wireError{}})
	return nil
}

// collect tells the order's progress; a result once.
func (a *API) collect(w http.ResponseWriter, r *http.Request, c caller) error {
	if err := a.take(a.reads, c.Key.ID, readRate, c.Account.Limits.Reads, errReads); err != nil {
		return err
	}
	s, spec, err := a.order(r, c)
	if err != nil {
		return err
	}
	if err := a.take(a.polls, c.Account.ID+s.ID, pollRate, 0, errPolls); err != nil {
		return err
	}
	out := collectAnswer{ID: s.ID, Errors: []wireError{}}
	var pay payload
	if err := json.Unmarshal(spec.Payload, &pay); err != nil {
		return err
	}
	out.RelayState = pay.RelayState
	switch s.State {
	case broker.Failed:
		out.Errors = []wireError{failure(s)}
	case broker.Finished:
		who, evidence, line, err := a.c.Broker.Identity(r.Context(), s, c.Key.ID, true)
		if err != nil { // nobody has it, and the next one may
			return err
		}
		first, err := a.c.Broker.Note(r.Context(), s.ID, "collected", line)
		if err != nil {
			return err
		}
		if !first {
			return &problem{http.StatusBadRequest, wireError{"ALREADY_COLLECTED", "The result has been collected. It is given once: read it with GET /v2/eid/{id}."}, s.ID}
		}
		out.ProgressStatus = "COMPLETE"
		out.UserInfo = &userInfo{PersonalNumber: string(who.Number), GivenName: who.Given, Surname: who.Family, Name: who.Name}
		out.UserInfo.NotBefore, out.UserInfo.NotAfter, out.UserInfo.IPAddress = claims.BankIDSE(who, evidence)
		if n := node(evidence); n != nil {
			out.Signature, out.OCSPResponse = n.Signature, n.OCSPResponse
		}
		if pay.Lookup {
			out.Lookup = "ERROR" // no register is connected
		}
	default:
		v, err := a.c.Broker.Look(r.Context(), s.ID, broker.Handle{}, connector.Browser{})
		if err != nil {
			return err
		}
		out.ProgressStatus = "USER_SIGN"
		if wait, ok := v.Step.(connector.Wait); ok {
			if word, ok := progress[wait.Code]; ok {
				out.ProgressStatus = word
			}
		}
	}
	write(w, http.StatusOK, out)
	return nil
}
