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
// are all that count; without one the request is as it is. Signed says that the
// client has signed them.
func (p *Provider) open(ctx context.Context, c *relying.Client, in params) (inner params, signed bool, err error) {
	object, ok := in["request"]
	if !ok {
		return in, false, nil
	}
	inner, signed, err = p.readObject(ctx, c, object)
	var e *jose.Error
	if errors.As(err, &e) || errors.Is(err, errObject) {
		return nil, false, badObject
	}
	return inner, signed, err
}

var errObject = errors.New("request object cannot be used")

func (p *Provider) readObject(ctx context.Context, c *relying.Client, object string) (inner params, signed bool, err error) {
	policy := c.Policy()
	bare := false
	if strings.Count(object, ".") == 4 {
		if object, err = p.c.Keys().Decrypt(object, jose.Opening{Bare: c.BareObject}); err != nil {
			return nil, false, err
		}
		bare = c.BareObject && strings.HasPrefix(object, "{") // no token begins so
	}
	v := &jose.Verified{Payload: []byte(object)}
	if !bare {
		if v, err = p.verifyObject(ctx, c, object); err != nil {
			return nil, false, err
		}
	}
	cl, err := v.Claims()
	if err != nil {
		return nil, false, err
	}
	window := jose.Window{Now: p.c.Now(), Skew: skew, Ahead: 24 * time.Hour} // its jti is kept for so long
	if policy.RequestObject && policy.IssuerOnly {                           // FAPI 2.0 Message Signing
		window.Need, window.Age, window.Span = []string{"exp", "nbf"}, time.Hour, time.Hour
	}
	if err := cl.Times(window); err != nil {
		return nil, false, err
	}
	named := cl.Issuer == c.ID || bare && cl.Issuer == ""
	ours := cl.For(p.issuer) || bare && len(cl.Audience) == 0
	if !named || !ours || cl.Subject == c.ID {
		return nil, false, errObject // a subject is what tells a client assertion apart
	}
	if cl.ID != "" && !bare { // whoever wrote that one must not use up the client's
		until := cl.Expires
		if until.IsZero() {
			until = p.c.Now().Add(time.Hour)
		}
		first, err := p.once(ctx, "request "+c.ID, cl.ID, until.Add(skew))
		if err != nil {
			return nil, false, err
		}
		if !first {
			return nil, false, errObject
		}
	}
	inner, err = objectParams(c, cl.Raw)
	return inner, !bare, err
}

// verifyObject finds the key of the client that has signed a request object.
func (p *Provider) verifyObject(ctx context.Context, c *relying.Client, object string) (*jose.Verified, error) {
	keys, err := p.keysOf(c)
	if err != nil {
		return nil, err
	}
	algs := c.Policy().Algs
	if c.RequestAlg != "" {
		algs = []string{c.RequestAlg}
	}
	return jose.Verify(ctx, object, jose.Rule{Algs: algs, Typ: []string{"JWT", "oauth-authz-req+jwt"}, Keys: keys})
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
