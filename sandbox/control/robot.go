package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/bankidse"
)

type decision struct {
	Outcome  string `json:"outcome"`
	Person   string `json:"person"`
	Device   string `json:"device"` // same or other, where the page asks; "" takes what it proposes
	StartURL string `json:"start_url"`
}

type decided struct {
	State    string            `json:"state"`
	Redirect *string           `json:"redirect"`
	Fields   map[string]string `json:"fields,omitempty"` // what the browser posts there; none for a redirect
}

// byRobot is the source of what a robot's phone does.
const byRobot = "this session"

// decide runs a session to its end as a browser and a phone would.
func (x *control) decide(r *http.Request) (any, error) {
	var in decision
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if x.Sessions == nil {
		return nil, ErrNoSession
	}
	id := r.PathValue("id")
	err := x.open(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if in.StartURL, err = x.Sessions.StartURL(r.Context(), id); err != nil {
		return nil, err
	}
	return x.play(r.Context(), in, id)
}

// open refuses a session that has ended.
func (x *control) open(ctx context.Context, id string) error {
	state, err := x.Sessions.State(ctx, id)
	if err == nil && ended(state) {
		err = clash{fmt.Errorf("%w: the session is %s", sandbox.ErrDecided, state), map[string]string{"state": state}}
	}
	return err
}

// decideURL is the same for flows whose session id the caller does not know:
// the address is a page of ours, or one that leads there.
func (x *control) decideURL(r *http.Request) (any, error) {
	var in decision
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if x.Sessions == nil {
		return nil, ErrNoSession
	}
	if !strings.HasPrefix(in.StartURL, "http://") && !strings.HasPrefix(in.StartURL, "https://") {
		return nil, badInput{errors.New("start_url is no http address"), "it is what a relying party would send its browser to"}
	}
	if strings.HasPrefix(in.StartURL, x.Issuers+"/") { // as v3 names for itsme: nothing in it says whose login it is
		return nil, badInput{errors.New("start_url is an eID's own address"), "the answer that names it has the session's id, too: POST /sandbox/v1/sessions/{id}/decide"}
	}
	return x.play(r.Context(), in, "")
}

func ended(state string) bool {
	return state != "created" && state != "started" && state != "confirmed"
}

// A robot is one person with a browser and a phone.
type robot struct {
	x       *control
	b       *browser
	in      decision
	outcome sandbox.Outcome
	id      string
	begun   bool            // the form that starts an order was posted
	acted   map[string]bool // orders that the person has dealt with
	late    bool            // nothing but time ends this login
}

// play lets a robot log in. What the phone does is the decision of tier 10.
func (x *control) play(ctx context.Context, in decision, id string) (any, error) {
	o, err := x.outcome(in.Outcome, in.Person)
	if err != nil {
		return nil, err
	}
	if o.Word() == sandbox.Ignore {
		return nil, badInput{errors.New("who ignores a login never ends it"), "the outcome expire waits until the time is over, by the clock"}
	}
	if in.Device != "" && in.Device != "same" && in.Device != "other" {
		return nil, badInput{fmt.Errorf("device %.20q is neither same nor other", in.Device), "leave it out for what the page proposes"}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	r := &robot{x: x, b: x.newBrowser(""), in: in, outcome: o, acted: map[string]bool{}}
	defer r.b.client.CloseIdleConnections()
	r.id = id
	var first *page // nil for a login without pages
	if _, pages := x.Sessions.Find(in.StartURL); pages || id == "" {
		if first, err = r.arrive(ctx); err != nil {
			return nil, err
		}
	}
	// A delay and a script are the simulator's to carry out; all else the robot
	// does itself.
	dec := sandbox.Decision{Outcome: o, Person: in.Person}
	release, err := x.Decisions.Claim(r.id, dec)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := x.open(ctx, r.id); err != nil { // somebody was quicker, and has left again
		return nil, err
	}
	if r.byLadder() {
		x.Decisions.Set(r.id, dec)
	}
	var out *decided
	if first == nil {
		out, err = r.phoneOnly(ctx)
	} else {
		out, err = r.run(ctx, first)
	}
	if ctx.Err() != nil {
		return nil, errSlow
	}
	if err != nil {
		return nil, err
	}
	return out, r.lost(ctx, out)
}

func (r *robot) byLadder() bool { return r.outcome.After() > 0 || r.outcome.States() != nil }

// arrive opens the page, perhaps by way of a relying party's.
func (r *robot) arrive(ctx context.Context) (*page, error) {
	at := r.in.StartURL
	for range 10 {
		p, err := r.b.get(ctx, at)
		if err != nil {
			return nil, badInput{fmt.Errorf("open start_url: %w", err), "is the relying party running?"}
		}
		if session, found := r.x.Sessions.Find(p.at.String()); found && p.to == nil {
			r.id, r.b.origin = session, p.at.Scheme+"://"+p.at.Host
			_, err := r.x.Sessions.State(ctx, r.id)
			return p, err
		}
		if p.to == nil {
			break
		}
		at = p.to.String()
	}
	return nil, fmt.Errorf("%w: start_url leads to no page of this broker", ErrNoSession)
}

// run looks at pages and does what they say until the browser is sent away,
// or the session has ended on our page.
func (r *robot) run(ctx context.Context, p *page) (*decided, error) {
	for ctx.Err() == nil {
		var err error
		switch {
		case p == nil: // the browser stays where it was sent
			return r.end(ctx, "")
		case p.to != nil && !r.b.sameSite(p.to):
			return r.end(ctx, p.to.String())
		case p.to != nil:
			p, err = r.b.get(ctx, p.to.String())
		case p.status == http.StatusConflict:
			return r.phoneOnly(ctx)
		case p.status >= 400:
			return nil, fmt.Errorf("the page answered %d", p.status)
		case r.b.leaving(p) != nil:
			return r.post(ctx, r.b.leaving(p))
		case r.outcome.Word() == sandbox.CancelPage && r.begun && p.form("cancel") != nil:
			p, err = r.b.cancel(ctx, p)
		case p.code != "" || p.launch != "":
			p, err = r.act(ctx, p)
		case p.away != "":
			away := p.away
			if at, bad := p.at.Parse(away); bad == nil { // ours, where the eID's works once
				away = at.String()
			}
			p, err = r.visit(ctx, r.b, away)
		case p.image:
			p, err = r.scan(ctx, p)
		case p.poll != "" && r.late:
			if err = r.outlast(ctx, r.x.Clock.Now()); err == nil {
				p, err = r.b.get(ctx, p.at.String())
			}
		case p.poll != "":
			p, err = r.wait(ctx, p)
		case p.form("cancel") != nil:
			p, err = r.fill(ctx, p)
		default:
			out, err := r.end(ctx, "")
			if err == nil && !ended(out.State) {
				err = fmt.Errorf("the page %q has nothing that a robot could do", p.title)
			}
			return out, err
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, ctx.Err()
}

func (r *robot) end(ctx context.Context, to string) (*decided, error) {
	state, err := r.x.Sessions.State(ctx, r.id)
	if err != nil {
		return nil, err
	}
	out := &decided{State: state}
	if to != "" {
		out.Redirect = &to
	}
	return out, nil
}

// post is the end of a login whose answer is posted to the relying party.
func (r *robot) post(ctx context.Context, f *form) (*decided, error) {
	out, err := r.end(ctx, f.at)
	if err != nil {
		return nil, err
	}
	out.Fields = map[string]string{}
	for name := range f.hidden {
		out.Fields[name] = f.hidden.Get(name)
	}
	return out, nil
}

// act lets the phone take the order that a page shows, as a camera or by its
// link, and then do what was decided. While the order is dealt with, the page
// waits.
func (r *robot) act(ctx context.Context, p *page) (*page, error) {
	if r.outcome.Word() == sandbox.CancelPage {
		return r.b.cancel(ctx, p)
	}
	e := bankidse.Event{Person: r.in.Person, Source: byRobot}
	var v bankidse.View
	var err error
	if p.code != "" {
		v, err = r.x.BankIDSE.Read(p.code, e)
	} else {
		v, err = r.x.BankIDSE.Open(p.token(), e)
	}
	switch {
	case errors.Is(err, bankidse.ErrEnded), errors.Is(err, bankidse.ErrTaken), errors.Is(err, bankidse.ErrPerson),
		errors.Is(err, bankidse.ErrOldCode), errors.Is(err, bankidse.ErrNoOrder): // the page will tell
		return r.wait(ctx, p)
	case err != nil:
		return nil, err
	}
	if v, err = r.decideOrder(v); err != nil {
		return nil, err
	}
	if back := v.Return; v.State == "complete" && v.Started && strings.HasPrefix(back, "http") {
		return r.b.returned(ctx, back)
	}
	return r.wait(ctx, p)
}

// decideOrder does with an open order what was decided.
func (r *robot) decideOrder(v bankidse.View) (bankidse.View, error) {
	if r.acted[v.Ref] || !v.Pending {
		return v, nil
	}
	r.acted[v.Ref] = true
	if r.byLadder() {
		return v, nil
	}
	if r.outcome == sandbox.Expire {
		r.x.Clock.Advance(v.Until.Sub(r.x.Clock.Now()) + time.Second)
		return v, nil
	}
	out, err := r.x.BankIDSE.Do(v.Ref, bankidse.Event{Event: string(r.outcome), Person: cmp.Or(r.in.Person, v.Person), Source: byRobot})
	if errors.Is(err, bankidse.ErrEnded) { // somebody was quicker; the end will tell
		err = nil
	}
	if err == nil && r.outcome == sandbox.Approve && out.State == "started" { // and stays so, until the time is over
		err = errNoBankID
	}
	return out, err
}

// wait asks for a page's status until it has moved on.
func (r *robot) wait(ctx context.Context, p *page) (*page, error) {
	for ctx.Err() == nil {
		r.x.Sessions.Nudge(ctx, r.id)
		changed := r.x.changed()
		moved, err := r.b.moved(ctx, p)
		if moved || err != nil {
			if err != nil {
				return nil, err
			}
			return r.b.get(ctx, p.at.String())
		}
		if p.code != "" || p.launch != "" { // a new code, perhaps
			next, err := r.b.get(ctx, p.at.String())
			if err != nil || next.to != nil || next.code == "" && next.launch == "" || next.token() != p.token() {
				return next, err
			}
		}
		pause(ctx, changed)
	}
	return nil, ctx.Err()
}

// pause waits for a change of any order, but not long: sessions change too.
func pause(ctx context.Context, changed [6]<-chan struct{}) {
	soon := time.NewTimer(10 * time.Millisecond)
	defer soon.Stop()
	select {
	case <-changed[0]:
	case <-changed[1]:
	case <-changed[2]:
	case <-changed[3]:
	case <-changed[4]:
	case <-changed[5]:
	case <-soon.C:
	case <-ctx.Done():
	}
}

// fill answers what a page asks. Once there was an order, another try is
// declined: this login ends.
func (r *robot) fill(ctx context.Context, p *page) (*page, error) {
	again := p.form("start") != nil && r.begun
	if again || slices.ContainsFunc(p.forms, func(f form) bool { return f.has("renew") }) {
		return r.b.cancel(ctx, p)
	}
	for _, name := range []string{"choose", "start", "submit"} {
		if f := p.form(name); f != nil {
			r.begun = r.begun || name == "start"
			number := ""
			if who, err := r.x.People.Get(r.in.Person); err == nil {
				number = who.Number
			} else if who, err := r.x.People.Get("ada"); err == nil {
				number = who.Number
			}
			return r.b.submit(ctx, p, f, f.proposed(r.in.Device), map[string]string{"personalnumber": number})
		}
	}
	return nil, fmt.Errorf("the page %q asks for something that the robot does not know", p.title)
}

// phoneOnly is for a session that a real browser has open, or that has no
// pages: the robot is only the phone.
func (r *robot) phoneOnly(ctx context.Context) (*decided, error) {
	for ctx.Err() == nil {
		state, err := r.x.Sessions.State(ctx, r.id)
		if err != nil || ended(state) {
			return &decided{State: state}, err
		}
		refs, err := r.x.refs(ctx, r.id)
		if err != nil {
			return nil, err
		}
		changed := r.x.changed()
		if r.outcome.Word() == sandbox.CancelPage {
			return nil, clash{fmt.Errorf("%w: only the browser that has this session can press cancel", sandbox.ErrDecided), map[string]string{"state": state}}
		}
		for _, ref := range refs {
			o, _, err := r.x.find(ref)
			if err != nil || !o.Pending || r.acted[ref] {
				continue
			}
			if o.EID != "bankidse" {
				_, err = r.elsewhere(ctx, o)
			} else {
				err = r.onPhone(ref)
			}
			if err != nil {
				return nil, err
			}
		}
		r.x.Sessions.Nudge(ctx, r.id)
		pause(ctx, changed)
	}
	return nil, ctx.Err()
}

// onPhone takes an order of BankID and does what was decided.
func (r *robot) onPhone(ref string) error {
	v, err := r.x.BankIDSE.Order(ref)
	if err == nil && v.State == "outstanding" {
		v, err = r.x.BankIDSE.Do(ref, bankidse.Event{Event: "scan", Person: r.in.Person, Source: byRobot})
	}
	if err == nil {
		_, err = r.decideOrder(v)
	}
	if errors.Is(err, sandbox.ErrEnded) || errors.Is(err, bankidse.ErrPerson) || errors.Is(err, sandbox.ErrNoOrder) { // the end will tell
		return nil
	}
	return err
}

// lost says that somebody else decided first, and how.
func (r *robot) lost(ctx context.Context, out *decided) error {
	if (r.outcome.Word() == sandbox.Approve) == (out.State == "finished") {
		return nil
	}
	refs, err := r.x.refs(ctx, r.id)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		o, _, err := r.x.find(ref)
		pressed := strings.HasPrefix(o.By, "page of ") && !r.acted[ref]
		if err == nil && (pressed || o.By == "phone" || o.By == "control API") {
			return clash{fmt.Errorf("%w: the session is %s, by the %s", sandbox.ErrDecided, out.State, o.By), happened(o)}
		}
	}
	return nil
}
