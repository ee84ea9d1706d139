package broker

import (
	"context"
	"net/url"

	"eidgate/connector"
)

// Look says what a browser's page shows now. It changes nothing, whoever
// asks, so that link previews and prefetches use nothing up.
func (b *Broker) Look(ctx context.Context, id string, h Handle, br connector.Browser) (*View, error) {
	s, spec, l, err := b.peek(ctx, id)
	if err != nil {
		return nil, err
	}
	return b.look(ctx, s, spec, l, h, br)
}

// look is Look for a session that has been read; l is its order where that is
// known too, nil otherwise.
func (b *Broker) look(ctx context.Context, s *Session, spec *Spec, l *live, h Handle, br connector.Browser) (*View, error) {
	v := &View{Session: *s, Spec: *spec, Bound: s.Handle != nil && b.holds(s, h)}
	if !s.State.Ended() {
		v.CanLonger = b.deadline(s, maxTime(s.Due, b.now()), b.limits.Extend).After(s.Due)
	}
	switch {
	case !b.holds(s, h) && !mayRebind(s, spec):
		v.Place = AtElsewhere
		return v, nil
	case s.State.Ended():
		v.Place, v.Failed = AtEnd, s.Reason
		return v, nil
	case s.Method == "":
		v.Place = AtChoice
		return v, nil
	}
	if conn := b.connector(s.Environment, s.EID); conn != nil {
		v.Info = conn.Info()
	}
	if s.Order == "" {
		return v, b.front(ctx, v, br, nil, nil)
	}
	return v, b.step(ctx, v, br, l)
}

// peek reads a session for a page. While its order runs here and its row is as
// this node knows it, that is one small read; l is that order, nil otherwise.
func (b *Broker) peek(ctx context.Context, id string) (s *Session, spec *Spec, l *live, err error) {
	if l := b.orders.running(id); l != nil && b.beaten.fresh(b.limits.Dead) {
		version, err := b.c.Store.Version(ctx, id)
		if err != nil {
			return nil, nil, nil, err
		}
		if version == l.session.Version {
			s := *l.session
			return &s, l.spec, l, nil
		}
	}
	s, spec, err = b.open(ctx, id)
	return s, spec, nil, err
}

// front fills in what the connector asks before an order exists, or after one
// that may be tried again.
func (b *Broker) front(ctx context.Context, v *View, br connector.Browser, input url.Values, failed *connector.Fail) error {
	v.Place = AtFront
	conn, ok := b.connector(v.Session.Environment, v.Session.EID).(connector.Fronter)
	if !ok {
		return nil
	}
	l := &live{session: &v.Session, spec: &v.Spec, body: &body{Browser: br, Input: input},
		order: &Order{EID: v.Session.EID, Environment: v.Session.Environment, Mode: v.Spec.mode(v.Session.Method)}}
	r, err := b.request(ctx, l)
	if err != nil {
		return err
	}
	r.Failed = failed
	ask := conn.Front(r)
	v.Front = &ask
	return nil
}

// Straight says whether the page, before an order, would only ask to be left for
// the eID: there is nothing to read and nothing to decide. input is what its form
// would post.
func (v *View) Straight() (input url.Values, ok bool) {
	if v.Place != AtFront || !v.Info.Leaves || v.Spec.Texts {
		return nil, false
	}
	input = url.Values{}
	if v.Front == nil {
		return input, true
	}
	if ask := v.Front; !ask.Auto && len(ask.Form.Fields) > 0 || ask.Form.Error != "" || ask.Document != "" {
		return nil, false
	}
	for _, f := range v.Front.Form.Fields {
		if f.Default != "" {
			input.Set(f.Name, f.Default)
		}
	}
	return input, true
}

// Elective says whether the person may choose another method now.
func (v *View) Elective() bool {
	return len(v.Spec.Methods) > 1 && (v.Place == AtChoice || v.Place == AtFront || v.Place == AtRetry || v.Place == AtStep && v.Leavable)
}

func (s *Spec) mode(method string) string {
	for _, m := range s.Methods {
		if m.Name == method {
			return m.Mode
		}
	}
	return ""
}

// step fills in where the running order stands.
func (b *Broker) step(ctx context.Context, v *View, br connector.Browser, l *live) (err error) {
	var o *Order
	var bd *body
	if l != nil {
		o, bd = l.order, l.body
	} else {
		if o, err = b.c.Store.Order(ctx, v.Session.Order); err != nil {
			return err
		}
		if bd, err = o.body(); err != nil {
			return err
		}
	}
	b.orders.show(o.ID, v.Session.ID, b.now())
	v.Place = AtStep
	if v.Step, err = bd.step(); err != nil {
		return err
	}
	if o.Ended {
		if f, ok := v.Step.(connector.Fail); ok {
			err := b.front(ctx, v, br, bd.Input, &f) // the form to try again with
			v.Place, v.Failed = AtRetry, f.Reason
			return err
		}
	}
	if v.Step == nil { // begun, and its first answer is not there yet
		v.Step = connector.Wait{Hint: "wait.working"}
		return nil
	}
	v.Leavable = bd.Pending == nil && leavable(&v.Session, b.connector(o.Environment, o.EID), v.Step)
	if to, ok := v.Step.(connector.Redirect); ok && to.Renews && v.Bound {
		v.Pass = b.pass(&v.Session)
	}
	if _, waits := v.Step.(connector.Wait); !waits {
		return nil
	}
	if w, ok := b.connector(o.Environment, o.EID).(connector.Viewer); ok {
		now, err := w.View(bd.State, b.now())
		if err != nil {
			return err
		}
		v.Step = now
	}
	return nil
}
