package oidc

import "net/http"

// errorsPath is where the addresses of errors lead (§17.5).
const errorsPath = "/config/errors/"

// meanings is what a developer reads there.
var meanings = map[string]string{
	"invalid_client":         "The client is not known here, or has not proven who it is in the way that it is registered with.",
	"invalid_dpop_proof":     "The DPoP proof is not one for this request, is too old, or was used before.",
	"invalid_grant":          "The code or refresh token is used, expired, another client's, or comes without what it was begun with.",
	"invalid_request":        "A parameter is missing, sent twice, or not of its form.",
	"invalid_scope":          "A scope is not known, not the client's, or wider than the one that was granted.",
	"unauthorized_client":    "The client may not use this grant type.",
	"unsupported_grant_type": "Only authorization_code, refresh_token and client_credentials are served.",
}

func (p *Provider) serveMeaning(w http.ResponseWriter, r *http.Request) {
	code := r.PathValue("code")
	text, known := meanings[code]
	if !known {
		http.NotFound(w, r)
		return
	}
	p.c.Problem(w, r, http.StatusOK, code, text)
}
