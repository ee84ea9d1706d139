package zignsec

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
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

type userInfo struct {
	PersonalNumber string `json:"personalNumber"`
	GivenName      string `json:"givenName"`
	Surname        string `json:"surname"`
	Name           string `json:"name"`
	IPAddress      string `json:"ipAddress"`
}

// progress maps BankID's hint codes (§13.4, §13.5); others are USER_SIGN.
var progress = map[string]string{"": "OUTSTANDING_TRANSACTION", "outstandingTransaction": "OUTSTANDING_TRANSACTION",
	"noClient": "NO_CLIENT", "started": "STARTED"}

func (a *API) headless(w http.ResponseWriter, r *http.Request, c caller, verb string) error {
	want := http.MethodPost
	if verb == "collect" {
		want = http.MethodGet
	}
	switch verb {
	case "authenticate", "sign", "collect", "cancel":
	default:
		return errPath
	}
	if r.Method != want {
		return errMethod
	}
	p, err := decode(r)
	if err != nil {
		return err
	}
	if verb == "authenticate" || verb == "sign" {
		return a.start(w, r, c, p, verb == "sign")
	}
	s, err := a.c.Broker.ByRef(r.Context(), c.Account.ID, c.Key.Environment, eid.BankIDSE, connector.Ref(p["orderref"]))
	if err != nil {
		return err
	}
	if verb == "cancel" {
		if _, err := a.c.Broker.Cancel(r.Context(), s.ID, broker.Handle{}); err != nil {
			return err
		}
		write(w, http.StatusOK, struct {
			ID     string      `json:"id"`
			Errors []wireError `json:"errors"`
		}{s.ID, []wireError{}})
		return nil
	}
	return a.collect(w, r, s, p)
}

// start makes a session without pages and begins its order at once.
func (a *API) start(w http.ResponseWriter, r *http.Request, c caller, p params, sign bool) error {
	name := "sbid-another"
	if sign {
		name = "sbid-sign"
	}
	ms, err := a.choose(name, c)
	if err != nil {
		return err
	}
	if sign && p["personalnumber"] == "" { // here a number is not mandatory, and pins nobody if it is missing
		m := ms[0]
		m.purpose = eid.Identify
		ms = []method{m}
	}
	n, err := a.session(p, c, ms)
	if err != nil {
		return err
	}
	if sign {
		n.Purpose = eid.Sign
		if p["uservisibledata"] == "" {
			return bad("INVALID_REQUEST", "userVisibleData is missing: the base64 of the text to sign.")
		}
	}
	n.Spec.Headless, n.Spec.Page = true, "/"
	n.Spec.Params = map[string]string{}
	if ip := p["enduserip"]; ip != "" {
		if _, err := netip.ParseAddr(ip); err != nil {
			return bad("INVALID_IP", "endUserIp is not an address.")
		}
		n.Spec.Params["end_user_ip"] = ip
	}
	s, err := a.c.Broker.Create(r.Context(), *n)
	if err != nil {
		return err
	}
	v, err := a.c.Broker.Open(r.Context(), s.ID, broker.Handle{}, connector.Browser{Addr: a.c.Client(r)}, nil, false)
	if err != nil {
		return err
	}
	wait, ok := v.Step.(connector.Wait)
	if v.Place != broker.AtStep || !ok {
		f := failures[v.Failed]
		return &problem{http.StatusBadGateway, f}
	}
	refs, err := a.c.Broker.Refs(r.Context(), s.ID)
	if err != nil {
		return err
	}
	if len(refs) == 0 {
		return errors.New("an order without a reference")
	}
	write(w, http.StatusOK, startAnswer{ID: s.ID, Errors: []wireError{}, OrderRef: string(refs[len(refs)-1]), AutoStartToken: wait.Token})
	return nil
}

// collect tells the order's progress; a result once.
func (a *API) collect(w http.ResponseWriter, r *http.Request, s *broker.Session, _ params) error {
	out := collectAnswer{ID: s.ID, Errors: []wireError{}}
	spec, err := a.c.Broker.Spec(r.Context(), s)
	if err != nil {
		return err
	}
	var pay payload
	if err := json.Unmarshal(spec.Payload, &pay); err != nil {
		return err
	}
	out.RelayState = pay.RelayState
	switch s.State {
	case broker.Failed:
		out.Errors = []wireError{failures[s.Reason]}
	case broker.Finished:
		first, err := a.c.Broker.Note(r.Context(), s.ID, "collected")
		if err != nil {
			return err
		}
		if !first {
			return bad("ALREADY_COLLECTED", "The result has been collected. It is given once.")
		}
		who, evidence, err := a.c.Broker.Result(r.Context(), s)
		if err != nil {
			return err
		}
		out.ProgressStatus = "COMPLETE"
		out.UserInfo = &userInfo{PersonalNumber: string(who.Number), GivenName: who.Given, Surname: who.Family, Name: who.Name}
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
