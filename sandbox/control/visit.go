package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"eidgate/sandbox"
)

// What a robot does at the banks of iDIN, at AgeChecked, and at eIDs that are
// OpenID providers: it goes there as a browser does, presses what the page has a button for, and is sent back.

// bankButtons are the buttons of a bank's page that bring an outcome; those of
// AgeChecked are statuses.
var (
	bankButtons = map[sandbox.Outcome]string{sandbox.Approve: "approve", sandbox.Cancel: "cancel", sandbox.Decline: "fail", "fail:failure": "fail",
		"fail:no_return": "close", "fail:open": "stay"}
	statusButtons = map[sandbox.Outcome]string{sandbox.Cancel: "3", sandbox.Decline: "17"}
)

// Who goes there when nobody says: a customer of a bank, for those of iDIN.
var (
	customer = "vries"
	holders  = map[string]string{"itsme": "florent", "bankidno": "ola", "mitid": "hanne"}
)

// visit lets a browser go to an eID's page and act there, until it is sent back
// to the broker, which is the page that comes, or is refused; the broker may have
// sent it on already. nil means that it stays there, and that the login is over.
func (r *robot) visit(ctx context.Context, b *browser, address string) (*page, error) {
	p, err := b.get(ctx, address)
	if err == nil && p.to != nil && !b.sameSite(p.to) { // an address of ours may lead to the eID's
		p, err = b.get(ctx, p.to.String())
	}
	for err == nil && ctx.Err() == nil {
		switch {
		case p == nil, p.status >= 400, p.to != nil && b.sameSite(p.to), b.sameSite(p.at):
			return p, nil
		case p.to != nil:
			p, err = b.get(ctx, p.to.String())
		default:
			p, err = r.choose(ctx, b, p)
		}
	}
	return nil, errors.Join(err, ctx.Err())
}

// choose does on an eID's page what was decided.
func (r *robot) choose(ctx context.Context, b *browser, p *page) (*page, error) {
	o, found := r.x.shownAt(p.at.String())
	bank, _ := p.with("issuer", "")
	more, _ := p.with("act", "approve")
	switch word := r.outcome.Word(); {
	case !found && bank != nil: // behind a code
		return b.press(ctx, p, "issuer", "")
	case !found:
		return nil, fmt.Errorf("the page %q has nothing that a robot could do", p.title)
	case r.outcome.States() != nil:
		return nil, badInput{errors.New("states are what BankID tells while it waits"), "iDIN tells a state when it is asked; see fail:open and fail:pending"}
	case r.acted[o.Ref] && o.Pending && word == sandbox.Approve && more != nil: // a second thing to agree to
		return b.press(ctx, p, "act", "approve")
	case r.acted[o.Ref], !o.Pending:
		return nil, r.outlast(ctx, o.Until)
	case r.byLadder():
		pause(ctx, r.x.changed())
		return b.get(ctx, p.at.String())
	case word == sandbox.Expire:
		r.acted[o.Ref] = true
		r.x.Clock.Advance(o.Until.Sub(r.x.Clock.Now()) + time.Second)
		return b.get(ctx, p.at.String())
	default:
		return r.button(ctx, b, p, o)
	}
}

// shownAt is the order that a page of an eID is about.
func (x *control) shownAt(address string) (entry, bool) {
	for _, o := range x.all(true) {
		if o.Page == address {
			return o, true
		}
	}
	return entry{}, false
}

// button presses the one that brings the outcome. Where there is none, the
// simulator is told what its page cannot say, and the page loaded again.
func (r *robot) button(ctx context.Context, b *browser, p *page, o entry) (*page, error) {
	name, value := "act", bankButtons[r.outcome]
	if o.EID == "idinage" {
		if name, value = "status", statusButtons[r.outcome]; value == "" {
			value = r.outcome.Code()
		}
	}
	person := cmp.Or(r.in.Person, holders[o.EID], customer)
	has := func(name, value string) bool { f, _ := p.with(name, value); return value != "" && f != nil }
	switch {
	case has(name, value):
		r.acted[o.Ref], r.late = true, value == "stay"
		return b.press(ctx, p, name, value)
	case name == "act" && value != "" && has("person", person):
		return b.press(ctx, p, "person", person)
	}
	r.acted[o.Ref] = true
	_, err := r.x.do(o.Ref, sandbox.Act{Event: string(r.outcome), Person: person, Source: byRobot})
	if err != nil && !errors.Is(err, sandbox.ErrEnded) { // somebody was quicker; the end will tell
		return nil, err
	}
	return b.get(ctx, p.at.String())
}

// outlast moves the clock until a login that nobody ends has ended by time:
// first to when its order is over, then minute by minute.
func (r *robot) outlast(ctx context.Context, until time.Time) error {
	const after = 11 * time.Second // the broker asks ten later
	r.x.Clock.Advance(max(0, until.Sub(r.x.Clock.Now())) + after)
	for i := 1; ctx.Err() == nil; i++ {
		state, err := r.x.Sessions.State(ctx, r.id)
		if err != nil || ended(state) {
			return err
		}
		if i%10 == 0 {
			r.x.Clock.Advance(time.Minute)
		}
		r.x.Sessions.Nudge(ctx, r.id)
		pause(ctx, r.x.changed())
	}
	return ctx.Err()
}

// scan lets a phone, which is another browser, read the code on a counter's
// screen. When it is done there, the screen goes on; a screen that still shows
// the code has nobody who wants it.
func (r *robot) scan(ctx context.Context, p *page) (*page, error) {
	refs, err := r.x.Sessions.Refs(ctx, r.id)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		o, _, err := r.x.find(ref)
		if err != nil || o.EID != "idinqr" || !o.Pending || r.acted[ref] {
			continue
		}
		last, err := r.elsewhere(ctx, o)
		switch {
		case err != nil:
			return nil, err
		case last == nil:
			return r.b.get(ctx, p.at.String())
		case last.status < 400:
			return r.wait(ctx, p)
		}
	}
	return r.b.cancel(ctx, p)
}

// elsewhere lets a phone go to the page of an order, or to where a code leads,
// and say afterwards that it was this person, where it is asked. The page that
// comes is the last one; nil where the phone was not sent back.
func (r *robot) elsewhere(ctx context.Context, o entry) (*page, error) {
	b := r.x.newBrowser(r.b.origin)
	defer b.client.CloseIdleConnections()
	at := o.Page
	if o.EID == "idinqr" {
		r.acted[o.Ref], at = true, o.QR
	}
	p, err := r.visit(ctx, b, at)
	for err == nil && p != nil && p.to != nil && b.sameSite(p.to) {
		p, err = b.get(ctx, p.to.String())
	}
	if err != nil || p == nil {
		return nil, err
	}
	if f, _ := p.with("mine", ""); f != nil {
		return b.press(ctx, p, "mine", "")
	}
	return p, nil
}
