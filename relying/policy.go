package relying

import "time"

// A Policy is what the provider holds a client to. Whatever it does not list
// is refused.
type Policy struct {
	ResponseTypes []string
	ResponseModes []string
	PAR           bool          // requests must be pushed
	RequestObject bool          // requests must be signed
	PKCE          bool          // requests must have a challenge; one that is sent is always checked
	Auth          []AuthMethod  // how the client may prove who it is
	Algs          []string      // signatures that are taken from the client
	Signs         []string      // signatures that are made for it; the first is the default
	IssuerOnly    bool          // a client assertion's aud is the issuer, as a text; else an endpoint's address will do, alone in an array too
	Bound         bool          // access tokens are bound to a key: DPoP or TLS
	RotateRefresh bool          // a refresh token works once, unless it is bound
	JWTAccess     bool          // access tokens are JWTs, without a word about the person; else they are opaque
	AlwaysBad     bool          // errors of the token endpoint are 400, invalid_client too
	Schemes       bool          // apps may have schemes of their own beside https and loopback
	Code          time.Duration // longest life of a code
	Pushed        time.Duration // life of a pushed request
}

var (
	anyAuth    = []AuthMethod{SecretBasic, SecretPost, PrivateKeyJWT, TLS, SelfSignedTLS, Public}
	strongAuth = []AuthMethod{PrivateKeyJWT, TLS, SelfSignedTLS}
	fapiAlgs   = []string{"PS256", "ES256", "EdDSA"}
	coreAlgs   = []string{"RS256", "PS256", "ES256", "EdDSA"}
	allAlgs    = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}
	plainModes = []string{"query", "form_post"}
	jwtModes   = []string{"jwt", "query.jwt", "form_post.jwt"}
)

// policies is the table of profiles, as docs/apis shows it.
var policies = map[Profile]Policy{
	Signicat: {ResponseTypes: []string{"code"}, ResponseModes: plainModes, Auth: anyAuth, Algs: allAlgs, Signs: []string{"RS256", "PS256", "ES256"},
		JWTAccess: true, AlwaysBad: true, Schemes: true, Code: 10 * time.Minute, Pushed: 5 * time.Minute},
	Standard: {ResponseTypes: []string{"code"}, ResponseModes: append(plainModes[:2:2], jwtModes...), Auth: anyAuth, Algs: coreAlgs, Signs: coreAlgs,
		Schemes: true, Code: 10 * time.Minute, Pushed: 5 * time.Minute},
	FAPI2: {ResponseTypes: []string{"code"}, ResponseModes: plainModes, PAR: true, PKCE: true, Auth: strongAuth, Algs: fapiAlgs, Signs: fapiAlgs,
		IssuerOnly: true, Bound: true, Code: time.Minute, Pushed: 90 * time.Second},
	FAPI2Signed: {ResponseTypes: []string{"code"}, ResponseModes: jwtModes, PAR: true, RequestObject: true, PKCE: true, Auth: strongAuth, Algs: fapiAlgs,
		Signs: fapiAlgs, IssuerOnly: true, Bound: true, Code: time.Minute, Pushed: 90 * time.Second},
}

// Policy is that of the client's profile, with what the client itself demands
// on top: its settings only ever narrow it, but for Hybrid. A profile that does
// not exist allows nothing.
func (c *Client) Policy() Policy {
	p := policies[c.Profile]
	p.PAR = p.PAR || c.RequirePAR
	p.RequestObject = p.RequestObject || c.RequireRequest
	p.PKCE = p.PKCE || c.RequirePKCE || c.Auth == Public
	p.RotateRefresh = c.Auth == Public
	p.JWTAccess = p.JWTAccess && !c.ReferenceTokens
	if c.Hybrid && c.Profile == Signicat {
		p.ResponseTypes = append(p.ResponseTypes[:1:1], "code id_token")
		p.ResponseModes = append(p.ResponseModes[:2:2], "fragment")
	}
	return p
}
