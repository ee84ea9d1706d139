package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"eidgate/relying"
)

// handlePrefix begins the name of a pushed request (RFC 9126).
const handlePrefix = "urn:ietf:params:oauth:request_uri:"

// servePush keeps a request that a client sends itself (§14).
func (p *Provider) servePush(w http.ResponseWriter, r *http.Request) {
	if !method(w, r, http.MethodPost) {
		return
	}
	noStore(w.Header())
	in, wrong := form(w, r, maxPushed)
	if wrong != nil {
		p.oauth(w, r, nil, wrong)
		return
	}
	c, err := p.authenticate(r, in)
	if err == nil {
		err = p.called(r, c)
	}
	if err != nil {
		p.failed(w, r, c, err)
		return
	}
	q, err := p.push(r, c, in)
	if err != nil {
		p.failed(w, r, c, err)
		return
	}
	uri, err := p.keep(r.Context(), c, q)
	if err == nil {
		err = say(w, http.StatusCreated, struct {
			URI     string `json:"request_uri"`
			Expires int    `json:"expires_in"`
		}{uri, int(c.Policy().Pushed.Seconds())})
	}
	if err != nil {
		p.trouble(w, r, err)
	}
}

// keep stores a request that has been checked, and is the name under which its
// client finds it.
func (p *Provider) keep(ctx context.Context, c *relying.Client, q *request) (uri string, err error) {
	raw, err := json.Marshal(q)
	if err != nil {
		return "", err
	}
	handle := p.secret()
	err = p.c.Store.PutPushed(ctx, fingerprint(handle),
		&Pushed{Client: c.ID, Account: c.Account, Request: raw, Expires: q.At.Add(c.Policy().Pushed)})
	return handlePrefix + handle, err
}

func (p *Provider) push(r *http.Request, c *relying.Client, in params) (*request, error) {
	if in["request_uri"] != "" {
		return nil, bad("invalid_request", "request_uri cannot be pushed.")
	}
	key, err := p.proofKey(r, c, "par")
	if err != nil {
		return nil, err
	}
	inner, signed, err := p.open(r.Context(), c, in)
	if err != nil {
		return nil, err
	}
	q, err := p.check(r.Context(), c, inner, signed, true)
	if err != nil {
		return nil, err
	}
	if key != "" {
		if q.Bound != "" && q.Bound != key {
			return nil, errProof
		}
		q.Bound = key
	}
	return q, nil
}

// pushed finds the request that a client has pushed. It can be opened until a
// code is made of it.
func (p *Provider) pushed(ctx context.Context, c *relying.Client, handle string) (*request, error) {
	hash := fingerprint(handle)
	kept, err := p.c.Store.Pushed(ctx, hash, p.c.Now())
	if err == nil && kept.Client != c.ID {
		p.c.Security("cross_tenant")
		err = ErrUnknown
	}
	if errors.Is(err, ErrUnknown) {
		return nil, refuse("invalid_request_uri", "request_uri is used, expired, or another client's.")
	}
	if err != nil {
		return nil, err
	}
	var q request
	if err := json.Unmarshal(kept.Request, &q); err != nil {
		return nil, errors.New("stored request is not readable")
	}
	if !c.Redirect(q.Redirect) { // it has been taken away meanwhile
		return nil, astray(c, q.Redirect)
	}
	q.Pushed = hash[:]
	return &q, nil
}
