package server

import (
	"context"
	"net/url"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	cidin "eidgate/connector/idin"
	cidinage "eidgate/connector/idinage"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/sandbox"
)

// originTime bounds what the simulators ask the store.
const originTime = 2 * time.Second

// lookup tells the simulators where an upstream's order comes from.
func (c *core) lookup(ref string) (sandbox.Origin, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), originTime)
	defer cancel()
	s, spec, err := c.broker.Upstream(ctx, eid.Test, eid.BankIDSE, ref)
	if err != nil {
		return sandbox.Origin{}, false
	}
	return c.origin(ctx, s, spec), true
}

// returns tells the same from the address that a login goes back to, before an
// order is known.
func (c *core) returns(address string) (sandbox.Origin, bool) {
	u, err := url.Parse(address)
	if err != nil || !u.Query().Has(sessionName) {
		return sandbox.Origin{}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), originTime)
	defer cancel()
	s, err := c.store.Session(ctx, u.Query().Get(sessionName))
	if err != nil || s.Environment != eid.Test {
		return sandbox.Origin{}, false
	}
	spec, err := c.broker.Spec(ctx, s)
	if err != nil {
		return sandbox.Origin{}, false
	}
	return c.origin(ctx, s, spec), true
}

func (c *core) origin(ctx context.Context, s *broker.Session, spec *broker.Spec) sandbox.Origin {
	out := sandbox.Origin{Session: s.ID, Account: s.Account, EID: string(s.EID), Marker: spec.Marker}
	if a, err := c.store.Account(ctx, s.Account); err == nil {
		if o, err := sandbox.ParseOutcome(a.Auto); err == nil {
			out.Default = o
		}
	}
	return out
}

// sessionName is a parameter of return addresses in the sandbox. It is nobody's
// proof of anything: which order a browser comes back for, it says as it does on
// a live server.
const sessionName = "session"

// naming makes return addresses name their session: a simulator that is asked
// for an order can then ask who decides it, and refuse the order if it is to be.
func naming(c connector.Connector) connector.Connector {
	switch c := c.(type) {
	case *cidin.Connector:
		return namingIDIN{c}
	case *cidinage.Connector:
		return namingAge{c}
	case *openid.Connector:
		return namingOpenID{c}
	}
	return c // BankID tells an order's name before anybody must decide
}

func named(r *connector.Request) *connector.Request {
	next := *r
	next.CallbackURL += "?" + url.Values{sessionName: {r.Session}}.Encode()
	return &next
}

type namingIDIN struct{ *cidin.Connector }

// Begin implements connector.Connector.
func (n namingIDIN) Begin(ctx context.Context, r *connector.Request) (connector.Result, error) {
	return n.Connector.Begin(ctx, named(r))
}

// Resume implements connector.Connector.
func (n namingIDIN) Resume(ctx context.Context, r *connector.Request, state []byte, e connector.Event) (connector.Result, error) {
	return n.Connector.Resume(ctx, named(r), state, e)
}

type namingAge struct{ *cidinage.Connector }

// Begin implements connector.Connector.
func (n namingAge) Begin(ctx context.Context, r *connector.Request) (connector.Result, error) {
	return n.Connector.Begin(ctx, named(r))
}

// Resume implements connector.Connector.
func (n namingAge) Resume(ctx context.Context, r *connector.Request, state []byte, e connector.Event) (connector.Result, error) {
	return n.Connector.Resume(ctx, named(r), state, e)
}

type namingOpenID struct{ *openid.Connector }

// Begin implements connector.Connector.
func (n namingOpenID) Begin(ctx context.Context, r *connector.Request) (connector.Result, error) {
	return n.Connector.Begin(ctx, named(r))
}

// Resume implements connector.Connector.
func (n namingOpenID) Resume(ctx context.Context, r *connector.Request, state []byte, e connector.Event) (connector.Result, error) {
	return n.Connector.Resume(ctx, named(r), state, e)
}
