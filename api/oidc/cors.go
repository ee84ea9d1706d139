package oidc

import (
	"net/http"
	"net/url"
	"slices"

	"eidgate/relying"
)

// Programs that run in a browser call us from pages of their own (§22). What
// they may read is decided when it is known whose they are; no cookie counts at
// these addresses, so that letting a browser ask gives nothing away.

// crossOrigin answers the question of browsers whether a page may send a
// request at all.
func crossOrigin(h http.HandlerFunc, methods string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		if r.Method != http.MethodOptions || r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
			h(w, r)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.Header().Set("Access-Control-Allow-Methods", methods)
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP")
		w.Header().Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	}
}

// share lets a page read an answer whose origin is that of an address to which
// logins of its client end. Clients with a secret are no pages.
func share(w http.ResponseWriter, r *http.Request, c *relying.Client) {
	origin := r.Header.Get("Origin")
	if origin == "" || c.Auth != relying.Public {
		return
	}
	own := slices.ContainsFunc(c.Redirects, func(address string) bool {
		u, err := url.Parse(address)
		return err == nil && u.Host != "" && origin == u.Scheme+"://"+u.Host
	})
	if own || c.Redirect(origin+"/") {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
	}
}
