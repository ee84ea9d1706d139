package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"eidgate/internal/jose"
	"eidgate/relying"
)

// skew is by how much a client's clock may differ from ours (§15).
const skew = 30 * time.Second

// badObject is every way in which a request object cannot be used: which one
// it was would tell a stranger something.
var badObject = refuse("invalid_request_object", "Invalid JWT request")

// open reads the request object of a request (RFC 9101), whose parameters then
// are all that count; without one the request is as it is.
func (p *Provider) open(ctx context.Context, c *relying.Client, in params) (params, error) {
	object, ok := in["request"]
	if !ok {
		return in, nil
	}
	inner, err := p.readObject(ctx, c, object)
	var e *jose.Error
	if errors.As(err, &e) || errors.Is(err, errObject) {
		return nil, badObject
	}
	return inner, err
}

var errObject = errors.New("request object cannot be used")

func (p *Provider) readObject(ctx context.Context, c *relying.Client, object string) (params, error) {
	policy := c.Policy()
	if strings.Count(object, ".") == 4 {
		var err error
		if object, err = p.c.Keys().Decrypt(object, jose.Opening{}); err != nil {
			return nil, err
		}
	}
	keys, err := p.keysOf(c)
	if err != nil {
		return nil, err
	}
	algs := policy.Algs
	if c.RequestAlg != "" {
		algs = []string{c.RequestAlg}
	}
	v, err := jose.Verify(ctx, object, jose.Rule{Algs: algs, Typ: []string{"JWT", "oauth-authz-req+jwt"}, Keys: keys})
	if err != nil {
		return nil, err
	}
	cl, err := v.Claims()
	if err != nil {
		return nil, err
	}
	window := jose.Window{Now: p.c.Now(), Skew: skew, Ahead: 24 * time.Hour} // its jti is kept for so long
	if policy.RequestObject && policy.IssuerOnly {                           // FAPI 2.0 Message Signing
		window.Need, window.Age, window.Span = []string{"exp", "nbf"}, time.Hour, time.Hour
	}
	if err := cl.Times(window); err != nil {
		return nil, err
	}
	if cl.Issuer != c.ID || !cl.For(p.issuer) || cl.Subject == c.ID {
		return nil, errObject // a subject is what tells a client assertion apart
	}
	if cl.ID != "" {
		until := cl.Expires
		if until.IsZero() {
			until = p.c.Now().Add(time.Hour)
		}
		first, err := p.once(ctx, "request "+c.ID, cl.ID, until.Add(skew))
		if err != nil {
			return nil, err
		}
		if !first {
			return nil, errObject
		}
	}
	return objectParams(c, cl.Raw)
}

// registered are members of a request object that are about it, and no
// parameters.
var registered = []string{"iss", "aud", "exp", "nbf", "iat", "jti", "sub"}

// objectParams are the parameters in a request object. Numbers and objects are
// written as they would be in an address.
func objectParams(c *relying.Client, raw map[string]json.RawMessage) (params, error) {
	out := params{"client_id": c.ID}
	for name, value := range raw {
		if slices.Contains(registered, name) {
			continue
		}
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			text = string(value)
		}
		switch {
		case name == "request" || name == "request_uri":
			return nil, errObject
		case name == "client_id" && text != c.ID:
			return nil, errObject
		case text != "":
			out[name] = text
		}
	}
	return out, nil
}
