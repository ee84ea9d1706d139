package idinage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/circuit"
	"eidgate/protocol/agechecked"
)

// AgeChecked is an agreement with AgeChecked (docs/protocols/agechecked.md §1).
type AgeChecked struct {
	Base      string `json:"base"`
	Key       string `json:"key"`                 // secret merchant key
	Method    string `json:"method,omitempty"`    // that starts a check; "" for the protocol's default
	URLField  string `json:"url_field,omitempty"` // of its answer
	Return    string `json:"return_field,omitempty"`
	AllowHTTP bool   `json:"allow_http,omitempty"` // a simulator
}

// An ageClient calls AgeChecked for one party.
type ageClient = agechecked.Client

func (a *AgeChecked) client(transport http.RoundTripper) (*ageClient, error) {
	cl := &ageClient{Base: a.Base, Key: a.Key, Method: a.Method, URLField: a.URLField, Return: a.Return, AllowHTTP: a.AllowHTTP,
		HTTP: &http.Client{Transport: transport}}
	return cl, cl.Validate()
}

// A state is what an order with AgeChecked must remember.
type state struct {
	Check   int64     `json:"check"`
	Token   string    `json:"token"` // in our return address
	URL     string    `json:"url"`
	Came    time.Time `json:"came,omitzero"`
	Foreign bool      `json:"foreign,omitzero"`
	Silent  int       `json:"silent,omitzero"` // looks in a row without an answer
	Status  int       `json:"status,omitzero"` // final, and a person in another browser must say that it was them
}

// maxSilent is how many looks without an answer mean that there will be none:
// more than a minute's.
const maxSilent = 25

// tokenName is the query parameter of our return address.
const tokenName = "check"

var tokenForm = regexp.MustCompile(`^[A-Z2-7]{26}$`)

func locate(in connector.Inbound) (connector.Ref, error) {
	all := in.Query[tokenName]
	if len(all) != 1 || !tokenForm.MatchString(all[0]) {
		return "", errors.New("not a return from AgeChecked")
	}
	return tokenRef(all[0]), nil
}

func tokenRef(token string) connector.Ref { return connector.Ref("return:" + token) }

func (s *state) bytes() []byte {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // no field can fail
	}
	return raw
}

func (c *Connector) begin(ctx context.Context, r *connector.Request, cl *ageClient) (connector.Result, error) {
	s := &state{Token: rand.Text()}
	start := time.Now()
	started, err := cl.Start(ctx, "NL", with(r.CallbackURL, url.Values{tokenName: {s.Token}}), r.Order)
	c.watch("start", result(err), time.Since(start))
	if err != nil {
		e, _ := errors.AsType[*agechecked.Error](err)
		switch {
		case e == nil:
			return connector.Result{Step: connector.Fail{Reason: eid.BadRequest, Code: "not_sent"}}, nil
		case e.Status != 0 && e.Status < 500:
			return connector.Result{Step: connector.Fail{Reason: eid.Refused, Code: e.Code}}, nil
		}
		return connector.Result{Step: connector.Fail{Reason: eid.Unavailable, Code: e.Code, Retry: true}}, nil
	}
	s.Check, s.URL = started.ID, started.URL
	return connector.Result{Step: connector.Redirect{URL: s.URL}, State: s.bytes(), Refs: []connector.Ref{tokenRef(s.Token), checkRef(s.Check)}}, nil
}

// with adds parameters to an address, which may have some.
func with(address string, more url.Values) string {
	if strings.Contains(address, "?") {
		return address + "&" + more.Encode()
	}
	return address + "?" + more.Encode()
}

// notMade is the result of a request that its circuit has kept back.
const notMade = ""

func result(err error) string {
	e, _ := errors.AsType[*agechecked.Error](err)
	_, open := errors.AsType[*circuit.Open](err)
	switch {
	case err == nil:
		return "ok"
	case open:
		return notMade
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case e != nil && e.Status != 0 && e.Status < 500:
		return "refused"
	}
	return "error"
}

func (c *Connector) resume(ctx context.Context, cl *ageClient, raw []byte, e connector.Event) (connector.Result, error) {
	var s state
	if err := json.Unmarshal(raw, &s); err != nil || s.Check == 0 {
		return connector.Result{}, errors.New("idinage: stored state is not readable")
	}
	switch e := e.(type) {
	case connector.Returned:
		if s.Status != 0 {
			if e.Foreign && e.In.Method != http.MethodPost {
				break
			}
			res := connector.Result{Step: connector.Done{}, State: s.bytes()}
			if e.Foreign {
				res.Binding, res.Notes = eid.Weak, []string{"the person says in another browser that it was them"}
			}
			return res, nil
		}
		if s.Came.IsZero() {
			s.Came, s.Foreign = c.now(), e.Foreign
		}
		s.Foreign = s.Foreign && e.Foreign // the browser that began counts, whoever looked before it
		return c.check(ctx, cl, &s)
	case connector.Tick:
		if !s.Came.IsZero() && s.Status == 0 {
			return c.check(ctx, cl, &s)
		}
	case connector.Expired:
		if s.Came.IsZero() || s.Status != 0 {
			return connector.Result{Step: connector.Fail{Reason: eid.BrowserNotReturned}, State: s.bytes()}, nil
		}
		return connector.Result{Step: connector.Fail{Reason: eid.Expired}, State: s.bytes()}, nil
	}
	return s.stay(c.now()), nil
}

// stay is where the person stands, and when to ask again.
func (s *state) stay(now time.Time) connector.Result {
	res := connector.Result{State: s.bytes(), Step: connector.Redirect{URL: s.URL}}
	switch {
	case s.Status != 0:
		res.Step = connector.Wait{Hint: "idin.asks", Asks: true}
	case !s.Came.IsZero():
		res.Step, res.Due = connector.Wait{Hint: "idinage.open"}, now.Add(3*time.Second)
		if now.Sub(s.Came) > 2*time.Minute {
			res.Due = now.Add(30 * time.Second)
		}
	}
	return res
}

// check asks how it stands. No answer is no outcome: the next look may have
// one.
func (c *Connector) check(ctx context.Context, cl *ageClient, s *state) (connector.Result, error) {
	start := time.Now()
	got, err := cl.Check(ctx, s.Check)
	c.watch("check", result(err), time.Since(start))
	now := c.now()
	if e, ok := errors.AsType[*agechecked.Error](err); ok && e.Status != 0 && e.Status < 500 && e.Status != http.StatusOK {
		return connector.Result{Step: connector.Fail{Reason: eid.Refused, Code: e.Code}}, nil
	}
	if err != nil {
		if s.Silent++; s.Silent >= maxSilent {
			return connector.Result{Step: connector.Fail{Reason: eid.Unavailable, Code: "no_answer"}}, nil
		}
		return s.stay(now), nil
	}
	if s.Silent = 0; !got.Status.Final() {
		return s.stay(now), nil
	}
	switch got.Status {
	case agechecked.Aborted:
		return connector.Result{Step: connector.Fail{Reason: eid.Cancelled, Code: got.Status.Text()}}, nil
	case agechecked.Failed:
		return connector.Result{Step: connector.Fail{Reason: eid.Declined, Code: got.Status.Text()}}, nil
	default: // the check has come to a result
	}
	yes := got.Status.Approved()
	proof, err := json.Marshal(map[string]any{"agecheckid": got.ID, "status": got.Status, "ageverifiedid": got.Verified})
	if err != nil {
		return connector.Result{}, err
	}
	res := connector.Result{Step: connector.Done{}, Confirmed: &eid.Identity{EID: eid.IDINAge, At: now, Request: checkText(s.Check), Subject: checkText(s.Check), Country: "NL",
		Approved: &yes, Check: &eid.AgeCheck{ID: s.Check, Status: int(got.Status)}},
		Evidence: []eid.Evidence{{Name: "agechecked.result", Type: "application/json", Data: proof}}}
	if s.Foreign {
		s.Status = int(got.Status)
		res.Step = connector.Wait{Hint: "idin.asks", Asks: true}
	}
	res.State = s.bytes()
	return res, nil
}
