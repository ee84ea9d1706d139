// Package control is the sandbox's control API and virtual phone: who decides
// how a login ends, what was said on the wire, clock, people and faults. A
// click on the phone and a call of the API write the same decision.
// docs/sandbox.md lists the calls, which programs may rely on.
package control

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/bankidse"
)

//go:embed phone.html phone.css
var files embed.FS

// Sessions is what the control API must know of the broker.
type Sessions interface {
	Refs(ctx context.Context, session string) ([]string, error)
	State(ctx context.Context, session string) (state string, err error)
	StartURL(ctx context.Context, session string) (string, error)
	Nudge(ctx context.Context, session string)
}

// ErrNoSession means that there is no such session.
var ErrNoSession = errors.New("no such session")

// A Mailbox keeps the mails of the sandbox.
type Mailbox interface{ All() []any }

// Config is what the control API needs; all fields are required.
type Config struct {
	Clock     *sandbox.Clock
	People    *sandbox.People
	Decisions *sandbox.Decisions
	Recorder  *sandbox.Recorder
	Faults    *sandbox.Faults
	BankIDSE  *bankidse.Simulator
	Sessions  Sessions // nil where the simulators run alone
	Mailbox   Mailbox
}

type control struct {
	Config
	phone *template.Template
}

// New makes the handler of the control listener.
func New(c Config) (http.Handler, error) {
	t, err := template.ParseFS(files, "phone.html")
	if err != nil {
		return nil, err
	}
	x := &control{c, t}
	mux := http.NewServeMux()
	api := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet && r.Method != http.MethodDelete && r.Header.Get("Content-Type") != "application/json" {
				say(w, http.StatusUnsupportedMediaType, map[string]string{"error": "send application/json"})
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
			out, err := f(r)
			if err != nil {
				say(w, statusOf(err), map[string]string{"error": err.Error()})
				return
			}
			say(w, http.StatusOK, out)
		})
	}
	api("GET /sandbox/v1/orders", x.orders)
	api("GET /sandbox/v1/orders/{ref}", func(r *http.Request) (any, error) { return x.BankIDSE.Order(r.PathValue("ref")) })
	api("POST /sandbox/v1/orders/{ref}/events", x.event)
	api("POST /sandbox/v1/scan", x.scan)
	api("POST /sandbox/v1/sessions/{id}/decide", x.decide)
	api("POST /sandbox/v1/decide", x.decideURL)
	api("GET /sandbox/v1/sessions/{id}/explain", x.explain)
	api("GET /sandbox/v1/queue", func(*http.Request) (any, error) { return x.Decisions.Queue(), nil })
	api("POST /sandbox/v1/queue", x.enqueue)
	api("DELETE /sandbox/v1/queue", func(*http.Request) (any, error) { x.Decisions.Clear(); return ok, nil })
	api("GET /sandbox/v1/people", func(*http.Request) (any, error) { return x.People.List(), nil })
	api("POST /sandbox/v1/people", x.putPerson)
	api("DELETE /sandbox/v1/people/{key}", func(r *http.Request) (any, error) { return ok, x.People.Remove(r.PathValue("key")) })
	api("GET /sandbox/v1/clock", func(*http.Request) (any, error) { return map[string]time.Time{"now": x.Clock.Now()}, nil })
	api("POST /sandbox/v1/clock", x.clock)
	api("GET /sandbox/v1/faults", func(*http.Request) (any, error) { return x.Faults.List(), nil })
	api("POST /sandbox/v1/faults", x.addFault)
	api("DELETE /sandbox/v1/faults", func(*http.Request) (any, error) { x.Faults.Clear(); return ok, nil })
	api("GET /sandbox/v1/messages", x.messages)
	api("GET /sandbox/v1/mail", func(*http.Request) (any, error) { return x.Mailbox.All(), nil })
	api("GET /sandbox/v1/outcomes", func(*http.Request) (any, error) { return outcomes, nil })
	api("POST /sandbox/v1/reset", x.reset)
	mux.HandleFunc("GET /phone", x.showPhone)
	mux.HandleFunc("POST /phone", x.actPhone)
	mux.HandleFunc("GET /phone.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "phone.css") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/phone", http.StatusSeeOther) })
	return http.NewCrossOriginProtection().Handler(mux), nil
}

var ok = map[string]bool{"ok": true}

func say(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

// badInput marks what the caller can mend.
type badInput struct{ error }

func statusOf(err error) int {
	var b badInput
	switch {
	case errors.Is(err, bankidse.ErrNoOrder), errors.Is(err, ErrNoSession), errors.Is(err, sandbox.ErrNobody):
		return http.StatusNotFound
	case errors.Is(err, bankidse.ErrEnded), errors.Is(err, sandbox.ErrDecided), errors.Is(err, bankidse.ErrOldCode), errors.Is(err, bankidse.ErrPerson):
		return http.StatusConflict
	case errors.As(err, &b), errors.Is(err, bankidse.ErrBadCode):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

func read[T any](r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, badInput{err}
	}
	return v, nil
}

// orders lists pending orders; wait lets the call hang until there is one.
func (x *control) orders(r *http.Request) (any, error) {
	q := r.URL.Query()
	wait, err := time.ParseDuration(q.Get("wait"))
	if err != nil && q.Has("wait") {
		return nil, badInput{err}
	}
	end := time.NewTimer(min(wait, 25*time.Second))
	defer end.Stop()
	for {
		changed := x.BankIDSE.Changed()
		out := []bankidse.View{}
		for _, v := range x.BankIDSE.Orders(q.Get("state") == "all") {
			if p := q.Get("person"); p == "" || v.Person == p {
				out = append(out, v)
			}
		}
		if len(out) > 0 || wait == 0 {
			return out, nil
		}
		select {
		case <-changed:
		case <-end.C:
			return out, nil
		case <-r.Context().Done():
			return out, nil
		}
	}
}

func (x *control) event(r *http.Request) (any, error) {
	in, err := read[struct{ Event, Person string }](r)
	if err != nil {
		return nil, err
	}
	return x.BankIDSE.Event(r.PathValue("ref"), in.Event, in.Person)
}

func (x *control) scan(r *http.Request) (any, error) {
	in, err := read[struct{ Code, Person string }](r)
	if err != nil {
		return nil, err
	}
	return x.BankIDSE.Scan(in.Code, in.Person)
}

func (x *control) enqueue(r *http.Request) (any, error) {
	q, err := read[sandbox.Queued](r)
	if err != nil {
		return nil, err
	}
	if q.Outcome, err = sandbox.ParseOutcome(string(q.Outcome)); err != nil {
		return nil, badInput{err}
	}
	return x.Decisions.Enqueue(q), nil
}

func (x *control) putPerson(r *http.Request) (any, error) {
	p, err := read[sandbox.Person](r)
	if err != nil {
		return nil, err
	}
	if err := x.People.Put(p); err != nil {
		return nil, badInput{err}
	}
	return p, nil
}

func (x *control) clock(r *http.Request) (any, error) {
	in, err := read[struct {
		Advance string    `json:"advance"`
		Set     time.Time `json:"set"`
	}](r)
	if err != nil {
		return nil, err
	}
	if in.Advance != "" {
		d, err := time.ParseDuration(in.Advance)
		if err != nil || d < 0 {
			return nil, badInput{errors.New("advance is a time such as 181s")}
		}
		x.Clock.Advance(d)
	}
	if !in.Set.IsZero() {
		x.Clock.Set(in.Set)
	}
	return map[string]time.Time{"now": x.Clock.Now()}, nil
}

func (x *control) addFault(r *http.Request) (any, error) {
	f, err := read[sandbox.Fault](r)
	if err != nil {
		return nil, err
	}
	if f.Target == "" || f.Kind == "" {
		return nil, badInput{errors.New("a fault needs a target and a kind")}
	}
	return x.Faults.Add(f), nil
}

func (x *control) refs(ctx context.Context, session string) ([]string, error) {
	if x.Sessions == nil {
		return nil, ErrNoSession
	}
	return x.Sessions.Refs(ctx, session)
}

func (x *control) messages(r *http.Request) (any, error) {
	refs, err := x.refs(r.Context(), r.URL.Query().Get("session"))
	if err != nil {
		return nil, err
	}
	return x.Recorder.Of(refs...), nil
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

func (x *control) reset(r *http.Request) (any, error) {
	in, err := read[struct{ Keep []string }](r)
	if err != nil {
		return nil, err
	}
	x.Decisions.Clear()
	x.Faults.Clear()
	x.Recorder.Clear()
	x.BankIDSE.Clear()
	for _, k := range in.Keep {
		if k == "people" {
			return ok, nil
		}
	}
	x.People.Reset()
	return ok, nil
}

// outcomes is what every eID can be made to do.
var outcomes = map[string][]string{"bankidse": {"approve", "cancel", "decline", "expire", "ignore", "fail:expiredTransaction",
	"fail:certificateErr", "fail:userCancel", "fail:cancelled", "fail:startFailed", "fail:userDeclinedCall", "fail:notSupportedByUserApp",
	"fail:transactionRiskBlocked", "fail:mrtdVerificationFailed", "fail:facialRecognitionFailed", "fail:nfcNotSupportedByDevice",
	"fail:multipleBankIdsOnDevice", "fail:stepUpFailed"}}
