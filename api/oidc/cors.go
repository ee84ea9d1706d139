package oidc

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"eidgate/internal/jose"
	"eidgate/relying"
)

// Programs that run in a browser call us from pages of their own (§22). What
// they may read is decided when it is known whose they are; no cookie counts at
// these addresses, so that letting a browser ask gives nothing away.

// crossed are the addresses below Root that pages may call, and how.
var crossed = map[string]string{"/connect/token": "POST", "/connect/userinfo": "GET, POST", "/connect/revocation": "POST"}

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
// logins of its client end; c is nil where nobody knows whose it is. Clients with
// a secret are no pages.
func share(w http.ResponseWriter, r *http.Request, c *relying.Client) {
	origin := r.Header.Get("Origin")
	if origin == "" || c == nil || c.Auth != relying.Public {
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

// shareFailure is share for an error: the client is the one that a request names,
// whether it has proven to be that or not. Others than pages learn nothing by it.
func shareFailure(w http.ResponseWriter, r *http.Request, c *relying.Client) {
	if _, ok := crossed[strings.TrimPrefix(r.URL.Path, Root)]; ok {
		share(w, r, c)
	}
}

// former is the client of an access token that counts no more, for its page to
// read that; nil where that cannot be told, as of a token that was revoked and is
// no JWT, or where no page asks.
func (p *Provider) former(r *http.Request, text string) *relying.Client {
	if r.Header.Get("Origin") == "" {
		return nil
	}
	var id string
	if t, _, err := p.c.Store.ByToken(r.Context(), fingerprint(text), access, time.Unix(0, 0)); err == nil { // expired, and still stored
		id = t.Client
	} else if v, err := jose.Verify(r.Context(), text, jose.Rule{Algs: []string{jose.ES256}, Typ: []string{accessType}, TypRequired: true, Keys: p.c.Keys()}); err == nil {
		if cl, err := v.Claims(); err != nil || json.Unmarshal(cl.Raw["client_id"], &id) != nil {
			return nil
		}
	}
	c, err := p.client(r.Context(), id)
	if err != nil {
		return nil // the answer is the same, and only harder to read
	}
	return c
}
