package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"eidgate/sandbox"
)

// What is around logins: who decides, people, clock, faults, switches, and
// what was said.

func (x *control) enqueue(r *http.Request) (any, error) {
	var q sandbox.Queued
	err := read(r, &q)
	if err != nil {
		return nil, err
	}
	if q.Outcome, err = x.outcome(string(q.Outcome), q.Person); err != nil {
		return nil, err
	}
	if q.Times < 0 || q.Times > 1000 {
		return nil, badInput{errors.New("times is from 1 to 1000"), "leave it out for one login"}
	}
	if e := q.Match.EID; e != "" && (!slices.Contains(eids, e) || e == "idinqr") {
		return nil, noEID(e)
	}
	if err := x.matches(r.Context(), q.Match); err != nil {
		return nil, err
	}
	if q = x.Decisions.Enqueue(q); q.ID == 0 {
		return nil, badInput{errors.New("the queue is full"), "DELETE /sandbox/v1/queue empties it"}
	}
	return q, nil
}

// matches refuses what no login can match.
func (x *control) matches(ctx context.Context, m sandbox.Match) error {
	switch {
	case m.Account == "" && m.Session == "":
		return nil
	case x.Sessions == nil:
		return ErrNoSession
	}
	if m.Account != "" {
		if err := x.Sessions.HasAccount(ctx, m.Account); err != nil {
			return err
		}
	}
	if m.Session != "" {
		return x.open(ctx, m.Session)
	}
	return nil
}

// outcome reads an outcome and the person that it is about.
func (x *control) outcome(text, person string) (sandbox.Outcome, error) {
	o, err := sandbox.ParseOutcome(text)
	if err != nil {
		return "", badInput{fmt.Errorf("outcome: %w", err), "GET /sandbox/v1/outcomes lists them"}
	}
	if person != "" {
		if _, err := x.People.Get(person); err != nil {
			return "", fmt.Errorf("person %.40q: %w", person, err)
		}
	}
	return o, nil
}

// refs are the upstreams' names for a session's orders.
func (x *control) refs(ctx context.Context, session string) ([]string, error) {
	if x.Sessions == nil {
		return nil, ErrNoSession
	}
	refs, err := x.Sessions.Refs(ctx, session)
	if err != nil {
		return nil, err
	}
	for _, ref := range x.Decisions.Orders(session) {
		if !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

func (x *control) explain(r *http.Request) (any, error) {
	refs, err := x.refs(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	out := map[string][]sandbox.Rung{}
	for _, ref := range refs {
		if rungs, ok := x.Decisions.Explain(ref); ok {
			out[ref] = rungs
		}
	}
	return out, nil
}

const personHelp = `for example {"key":"eve","number":"199001012385","given":"Eve","family":"Test","bankid":["mobile"],"behaviour":"normal"}`

func (x *control) putPerson(r *http.Request) (any, error) {
	var p sandbox.Person
	if err := read(r, &p); err != nil {
		return nil, err
	}
	if err := x.People.Put(p); err != nil {
		return nil, badInput{err, personHelp}
	}
	return x.People.Get(p.Key)
}

func (x *control) patchPerson(r *http.Request) (any, error) {
	key := r.PathValue("key")
	p, err := x.People.Patch(key, func(p *sandbox.Person) error {
		if err := read(r, p); err != nil {
			return err
		}
		if p.Key != key {
			return errors.New("a person's key cannot be changed; add another person")
		}
		return nil
	})
	if !errors.Is(err, sandbox.ErrNobody) {
		err = mend(err, personHelp)
	}
	return p, err
}

func (x *control) newAccount(r *http.Request) (any, error) {
	var in struct {
		Name string
		Auto string
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if x.Sessions == nil {
		return nil, ErrNoSession
	}
	if len(in.Name) > 100 {
		return nil, badInput{errors.New("a name has at most 100 bytes"), "it is what people read on the pages"}
	}
	a := Account{Name: in.Name}
	if in.Auto != "" {
		o, err := x.outcome(in.Auto, "")
		if err != nil {
			return nil, err
		}
		a.Auto = o
	}
	return x.Sessions.NewAccount(r.Context(), a)
}

// newClient hands on what is said: which members a client has, the broker knows.
func (x *control) newClient(r *http.Request) (any, error) {
	var said json.RawMessage
	if err := read(r, &said); err != nil {
		return nil, err
	}
	if x.Sessions == nil {
		return nil, ErrNoSession
	}
	return x.Sessions.NewClient(r.Context(), said)
}

func (x *control) dropAccount(r *http.Request) (any, error) {
	if x.Sessions == nil {
		return nil, ErrNoAccount
	}
	return ok, x.Sessions.DropAccount(r.Context(), r.PathValue("id"))
}

func (x *control) showClock(*http.Request) (any, error) {
	return map[string]time.Time{"now": x.Clock.Now()}, nil
}

func (x *control) moveClock(r *http.Request) (any, error) {
	var in struct {
		Advance string    `json:"advance"`
		Set     time.Time `json:"set"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	const help = `{"advance":"181s"} or {"set":"2026-06-01T12:00:00Z"}`
	switch d, err := time.ParseDuration(in.Advance); {
	case (in.Advance == "") == in.Set.IsZero():
		return nil, badInput{errors.New("say either advance or set"), help}
	case in.Set.IsZero() && (err != nil || d < 0 || d > 20*365*24*time.Hour):
		return nil, badInput{fmt.Errorf("%.20q is no time to advance by", in.Advance), help}
	case in.Set.IsZero() && !x.Clock.Now().Add(d).Before(sandbox.Last),
		!in.Set.IsZero() && (in.Set.Before(sandbox.First) || !in.Set.Before(sandbox.Last)):
		return nil, badInput{errors.New("the sandbox lives from 2000 to 2100"), help}
	case !in.Set.IsZero():
		x.Clock.Set(in.Set)
	default:
		x.Clock.Advance(d)
	}
	return x.showClock(r)
}

func (x *control) addFault(r *http.Request) (any, error) {
	var f sandbox.Fault
	if err := read(r, &f); err != nil {
		return nil, err
	}
	known := allFaults()
	kinds, found := known[f.Target]
	if !found {
		return nil, badInput{fmt.Errorf("%.40q is no target", f.Target), "targets are " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")}
	}
	if err := f.Check(kinds); err != nil {
		return nil, badInput{err, `for example {"target":"bankidse.collect","kind":"http","value":"503","times":3}`}
	}
	if f = x.Faults.Add(f); f.ID == 0 {
		return nil, badInput{errors.New("a thousand faults are on"), "DELETE /sandbox/v1/faults turns them off"}
	}
	return f, nil
}

func (x *control) dropFault(r *http.Request) (any, error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || !x.Faults.Remove(id) {
		return nil, badInput{errors.New("no fault of this number is on"), "GET /sandbox/v1/faults lists them"}
	}
	return ok, nil
}

func (x *control) simulators(*http.Request) (any, error) {
	out := map[string]any{}
	for name, u := range x.upstreams {
		out[name] = u.settings()
	}
	return out, nil
}

func (x *control) named(r *http.Request) (upstream, error) {
	u := x.upstreams[r.PathValue("name")]
	if u == nil {
		return nil, badInput{fmt.Errorf("%.40q is not simulated here", r.PathValue("name")), "GET /sandbox/v1/simulators lists the names"}
	}
	return u, nil
}

func (x *control) simulator(r *http.Request) (any, error) {
	u, err := x.named(r)
	if err != nil {
		return nil, err
	}
	return u.settings(), nil
}

func (x *control) patchSimulator(r *http.Request) (any, error) {
	u, err := x.named(r)
	if err != nil {
		return nil, err
	}
	return u.change(r)
}

func (x *control) messages(r *http.Request) (any, error) {
	q := r.URL.Query()
	refs := q["ref"]
	switch session := q.Get("session"); {
	case session != "":
		var err error
		if refs, err = x.refs(r.Context(), session); err != nil {
			return nil, err
		}
	case len(refs) == 0:
		return nil, badInput{errors.New("messages of which login?"), "add ?session= or ?ref="}
	}
	return x.Recorder.Of(refs...), nil
}

func (x *control) webhooks(r *http.Request) (any, error) {
	if x.Sessions == nil {
		return []Delivery{}, nil
	}
	all, err := x.Sessions.Deliveries(r.Context(), r.URL.Query().Get("session"))
	if all == nil {
		all = []Delivery{}
	}
	return all, err
}

func (x *control) reset(r *http.Request) (any, error) {
	var in struct{ Keep []string }
	if err := read(r, &in); err != nil {
		return nil, err
	}
	parts := map[string]func(){"clock": x.Clock.Reset, "decisions": x.Decisions.Clear, "faults": x.Faults.Clear, "mail": x.Mailbox.Clear, "messages": x.Recorder.Clear,
		"orders": func() { // and switches
			for _, u := range x.upstreams {
				u.Clear()
			}
		}, "people": x.People.Reset}
	for _, k := range in.Keep {
		if parts[k] == nil {
			return nil, badInput{fmt.Errorf("%.40q cannot be kept", k), "keep knows clock, decisions, faults, mail, messages, orders, people"}
		}
	}
	for _, k := range in.Keep {
		delete(parts, k)
	}
	for _, clear := range parts {
		clear()
	}
	return ok, nil
}
