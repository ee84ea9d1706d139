// Package gooidc is a relying party on github.com/coreos/go-oidc and
// golang.org/x/oauth2, written as their documentation tells.
package gooidc

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"path"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// A Party logs in whoever opens /EID, and shows what it was told.
type Party struct {
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	config   oauth2.Config
}

// New reads what the issuer says of itself. The party is at the address self.
func New(ctx context.Context, issuer, id, secret, self string, scopes ...string) (*Party, error) {
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, err
	}
	return &Party{provider: provider, verifier: provider.Verifier(&oidc.Config{ClientID: id}), config: oauth2.Config{
		ClientID: id, ClientSecret: secret, Endpoint: provider.Endpoint(), RedirectURL: self + "/callback", Scopes: scopes}}, nil
}

// ServeHTTP implements http.Handler.
func (p *Party) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/callback" {
		p.callback(w, r)
		return
	}
	state, nonce, verifier := oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	for name, value := range map[string]string{"state": state, "nonce": nonce, "verifier": verifier} {
		http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	http.Redirect(w, r, p.config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier),
		oauth2.SetAuthURLParam("acr_values", "idp:"+path.Base(r.URL.Path))), http.StatusFound)
}

func (p *Party) callback(w http.ResponseWriter, r *http.Request) {
	begun := func(name string) string {
		c, err := r.Cookie(name)
		if err != nil {
			return ""
		}
		return c.Value
	}
	query := r.URL.Query()
	if subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(begun("state"))) == 0 {
		say(w, http.StatusBadRequest, map[string]any{"error": "state did not match"})
		return
	}
	if code := query.Get("error"); code != "" {
		say(w, http.StatusUnauthorized, map[string]any{"error": code, "description": query.Get("error_description")})
		return
	}
	out, err := p.finish(r.Context(), query.Get("code"), begun("verifier"), begun("nonce"))
	if err != nil {
		say(w, http.StatusBadGateway, map[string]any{"error": err.Error()})
		return
	}
	say(w, http.StatusOK, out)
}

func say(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the browser has gone
}
