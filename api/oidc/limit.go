package oidc

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"eidgate/broker"
	"eidgate/internal/limit"
	"eidgate/relying"
)

// Limits (§24). The first two are the account's, where it has its own.
var (
	loginRate = limit.Rate{PerSecond: 50, Burst: 100}       // of logins in a client's name
	callRate  = limit.Rate{PerSecond: 200, Burst: 400}      // of what a client calls itself
	failRate  = limit.Rate{PerSecond: 10.0 / 60, Burst: 10} // of wrong secrets of one client from one address; of unknown clients from one
)

// oneAddress is the part of a client's logins that may come from one address:
// anybody can begin them, and shall not use them up alone.
func oneAddress(r limit.Rate) limit.Rate {
	return limit.Rate{PerSecond: r.PerSecond / 5, Burst: max(r.Burst/2, 1)}
}

// limiters remember who has come, each so many callers at most.
type limiters struct {
	logins   *limit.Limiter // by client
	places   *limit.Limiter // the same, by client and address
	calls    *limit.Limiter // by client, and address of one that proves nothing
	failures *limit.Limiter // by client and address, or address
}

func newLimiters() limiters {
	return limiters{logins: limit.New(1 << 12), places: limit.New(1 << 16), calls: limit.New(1 << 16), failures: limit.New(1 << 16)}
}

var (
	errLogins   = bad("temporarily_unavailable", "Too many logins begin at once. Try again in a moment.")
	errCalls    = bad("temporarily_unavailable", "The client calls too often. Wait as long as Retry-After says.")
	errOften    = bad("temporarily_unavailable", "Too many logins were begun for the person whom login_hint names. Wait as long as Retry-After says.")
	errOpen     = bad("temporarily_unavailable", "Three logins are open for the person whom login_hint names. They must finish or cancel one, or wait as long as Retry-After says.")
	errFailures = bad("temporarily_unavailable", "Client authentication has failed too often from this address. Wait as long as Retry-After says.")
)

// exceeded is what is said to somebody who came too often, and how long they must
// stay away, if that is what err means.
func exceeded(err error) (said *wireError, after time.Duration, ok bool) {
	e, ok := errors.AsType[*limit.Exceeded](err)
	switch {
	case !ok:
		return nil, 0, false
	case errors.Is(e, broker.ErrOpen):
		said = errOpen
	case errors.Is(e, broker.ErrOften):
		said = errOften
	default:
		said, ok = errors.AsType[*wireError](e)
	}
	return said, e.After, ok
}

// take lets somebody come once.
func (p *Provider) take(l *limit.Limiter, who string, r limit.Rate, refused *wireError) error {
	if wait := l.Take(who, r, p.c.Clock()); wait > 0 {
		return &limit.Exceeded{Err: refused, After: wait}
	}
	return nil
}

// at names a caller as limits count it: a client, at the address of a request.
func (p *Provider) at(c *relying.Client, r *http.Request) string {
	return c.ID + " " + limit.Address(p.c.Client(r))
}

// admit lets a browser have something written down for it in a client's name: a
// "login", or a "post" that is kept until it comes again with GET. What is
// refused to its address costs the client nothing, and the other way round.
func (p *Provider) admit(r *http.Request, c *relying.Client, a *relying.Account, what string) error {
	rate, place := loginRate.Or(a.Limits.Setups), what+" "+p.at(c, r)
	if wait := p.limits.places.Wait(place, oneAddress(rate), p.c.Clock()); wait > 0 {
		return &limit.Exceeded{Err: errLogins, After: wait}
	}
	if err := p.take(p.limits.logins, what+" "+c.ID, rate, errLogins); err != nil {
		return err
	}
	return p.take(p.limits.places, place, oneAddress(rate), errLogins)
}

// called lets a client that has proven who it is call once. One that proves
// nothing is as many as have its id: there, each address counts for itself.
func (p *Provider) called(r *http.Request, c *relying.Client) error {
	a, err := p.c.Accounts.Account(r.Context(), c.Account)
	if err != nil {
		return fmt.Errorf("account of client: %w", err)
	}
	who := c.ID
	if c.Auth == relying.Public {
		who = p.at(c, r)
	}
	return p.take(p.limits.calls, who, callRate.Or(a.Limits.Reads), errCalls)
}

// guessable says whether a client's proof is one that somebody could find by
// trying. A signature is none, and of a client that proves nothing nobody can
// know a wrong one.
func guessable(c *relying.Client) bool {
	return c.Auth != relying.Public && c.Auth != relying.PrivateKeyJWT && c.Auth != relying.TLS && c.Auth != relying.SelfSignedTLS
}

// shut says that an address has named a client with wrong secrets too often, and
// that even the right one is not looked at there for a while.
func (p *Provider) shut(r *http.Request, c *relying.Client) error {
	if !guessable(c) {
		return nil
	}
	if wait := p.limits.failures.Wait(p.at(c, r), failRate, p.c.Clock()); wait > 0 {
		return &limit.Exceeded{Err: errFailures, After: wait}
	}
	return nil
}

// mistaken counts a proof that is wrong; c is nil where there is no client of that name.
func (p *Provider) mistaken(r *http.Request, c *relying.Client) error {
	p.c.Security("client_auth")
	if c == nil {
		c = &relying.Client{} // whose id no client has
	} else if !guessable(c) {
		return errClient
	}
	if err := p.take(p.limits.failures, p.at(c, r), failRate, errFailures); err != nil {
		return err
	}
	return errClient
}
