package oidc

import (
	"net/http"
	"time"

	"eidgate/internal/jose"
	"eidgate/relying"
)

// How far a proof's time may be from ours (§18).
const (
	proofAge   = 60 * time.Second
	proofAhead = 30 * time.Second
)

var errProof = bad("invalid_dpop_proof", "The DPoP proof cannot be used.")

// proven reads the proof of a request, if it has one: the thumbprint of the key
// that its sender holds. It counts once.
func (p *Provider) proven(r *http.Request, algs []string, endpoint string) (*jose.Proof, error) {
	all := r.Header.Values("DPoP")
	if len(all) == 0 {
		return nil, nil
	}
	if len(all) > 1 {
		return nil, errProof
	}
	proof, err := jose.ReadProof(all[0], algs)
	if err != nil {
		return nil, errProof
	}
	now := p.c.Now()
	if !proof.For(r.Method, p.here(r)+Root+"/connect/"+endpoint) || proof.IssuedAt.Before(now.Add(-proofAge)) || proof.IssuedAt.After(now.Add(proofAhead)) {
		return nil, errProof
	}
	if err := proof.Claims.Times(jose.Window{Now: now, Skew: skew}); err != nil { // exp and nbf, which a proof may have like any token
		return nil, errProof
	}
	first, err := p.once(r.Context(), "proof "+proof.JKT, proof.ID, proof.IssuedAt.Add(proofAge+proofAhead))
	if err != nil {
		return nil, err
	}
	if !first {
		return nil, errProof
	}
	return proof, nil
}

// proofKey is the key that a client binds what it gets to; "" for none.
func (p *Provider) proofKey(r *http.Request, c *relying.Client, endpoint string) (string, error) {
	proof, err := p.proven(r, c.Policy().Algs, endpoint)
	if err != nil || proof == nil {
		return "", err
	}
	if c.BoundTLS {
		return "", bad("invalid_request", "The client's tokens are bound to its certificate: send no DPoP proof.")
	}
	return proof.JKT, nil
}
