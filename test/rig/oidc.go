package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// The OpenID client of every rig.
const (
	clientID     = "load-shop"
	clientSecret = "a-secret-of-the-load-shop-that-is-long-enough" //nolint:gosec // known to the rig alone
)

// Alternate makes every request a new connection, so that nodes answer in
// strict turn.
func (p *Party) Alternate() { p.http.Transport.(*http.Transport).DisableKeepAlives = true }

// Authorize begins a login over OpenID Connect with one eID, as acr_values
// names it, in a new browser.
func (p *Party) Authorize(ctx context.Context, acr string) (*Visit, error) {
	at := Public + "/auth/open/connect/authorize?" + url.Values{"client_id": {clientID}, "response_type": {"code"}, "scope": {"openid profile"}, "state": {"order-4711"},
		"redirect_uri": {"http://localhost/done"}, "acr_values": {acr}}.Encode()
	res, body, err := p.do(ctx, http.MethodGet, at, nil, "User-Agent", agent)
	if err != nil {
		return nil, err
	}
	to := res.Header.Get("Location")
	if res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/auth/open/login/") {
		return nil, fmt.Errorf("authorize: %s to %q %.200s", res.Status, to, body)
	}
	v := &Visit{ID: strings.Split(to, "/")[4], Page: Public + to, p: p}
	if c := res.Cookies(); len(c) > 0 {
		v.cookie = c[0].Name + "=" + c[0].Value
	}
	return v, nil
}

// A Refusal is an error that an endpoint of OAuth has answered.
type Refusal struct {
	Status int
	Code   string `json:"error"`
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s", r.Status, r.Code) }

// Tokens are what a code leads to.
type Tokens struct {
	Access string `json:"access_token"`
	ID     string `json:"id_token"`
}

// Redeem turns a code into tokens; *Refusal where the answer is no.
func (p *Party) Redeem(ctx context.Context, code string) (*Tokens, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"http://localhost/done"}, "client_id": {clientID}, "client_secret": {clientSecret}}
	res, body, err := p.do(ctx, http.MethodPost, Public+"/auth/open/connect/token", form)
	var out Tokens
	return &out, answered(res, body, err, &out)
}

// Subject asks UserInfo whom a token is about.
func (p *Party) Subject(ctx context.Context, access string) (string, error) {
	res, body, err := p.do(ctx, http.MethodGet, Public+"/auth/open/connect/userinfo", nil, "Authorization", "Bearer "+access)
	var out struct{ Sub string }
	err = answered(res, body, err, &out)
	return out.Sub, err
}

func answered(res *http.Response, body []byte, err error, into any) error {
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusOK:
		return json.Unmarshal(body, into)
	case res.StatusCode >= 500:
		return fmt.Errorf("%s %.200s", res.Status, body)
	}
	no := &Refusal{Status: res.StatusCode}
	_ = json.Unmarshal(body, no) // some say no without words
	return no
}
