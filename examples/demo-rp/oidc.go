package demorp

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A login is one over OpenID Connect, from the request to the logout.
type login struct {
	state    string // random; travels through the browser
	nonce    string // random; comes back in the ID token
	verifier string // random; shows with the code that it was us who asked (PKCE)
	browser  string // cookie of the browser that started
	posted   url.Values
	Provider provider
	URL      string // where the browser was sent; "" if the provider did not say where that is
	Returned bool   // the browser came back, once
	Out      bool   // our own session has ended
	Gone     bool   // the provider's, too

	Calls  []exchange
	Checks []check
	Code   string // the error that the answer carries
	Text   string // error_description
	ID     *idToken
	Name   string
	Info   string // UserInfo, for the page
}

// A provider is what we use of its metadata.
type provider struct {
	Issuer    string `json:"issuer"`
	Authorize string `json:"authorization_endpoint"`
	Token     string `json:"token_endpoint"`
	UserInfo  string `json:"userinfo_endpoint"`
	Keys      string `json:"jwks_uri"`
	Logout    string `json:"end_session_endpoint"`
}

// An idToken is one that was checked.
type idToken struct {
	Text     string `json:"-"` // as it came
	Claims   string `json:"-"` // for the page
	Issuer   string `json:"iss"`
	Audience string `json:"aud"` // of this provider always a text
	Expires  int64  `json:"exp"`
	Issued   int64  `json:"iat"`
	Nonce    string `json:"nonce"`
	Subject  string `json:"sub"`
	IDP      string `json:"idp"`
	Level    string `json:"acr"`
	Name     string `json:"name"`
}

// A scope is what may be asked for.
type scope struct {
	Name, About string
	On          bool
}

var scopes = []scope{
	{"profile", "name, and what else a profile has", true}, {"nin", "national number, not of iDIN", true},
	{"date-of-birth", "", false}, {"age", "in years", false}, {"eighteen-or-older", "yes or no; not with date-of-birth", false},
	{"gender", "", false}, {"address", "of iDIN", false}, {"email", "of iDIN", false}, {"phone", "of iDIN", false},
	{"idp-id", "what the eID calls the person", false}, {"idin-name", "the parts of a Dutch name", false},
}

// skew is how far the provider's clock may be from ours.
const skew = time.Minute

func (s *Shop) issuer() string { return s.Broker + "/auth/open" }

// oidcLogin sends the browser to the provider: for our own form, or for a link
// of the provider's side that starts a login here (OpenID Connect Core, section
// 4). Such a link may name no other provider.
func (s *Shop) oidcLogin(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "cannot be read", http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodGet && r.FormValue("iss") != s.issuer() {
		s.show(w, http.StatusBadRequest, &view{OIDC: true, Stranger: true})
		return
	}
	l := &login{state: rand.Text(), nonce: rand.Text(), verifier: rand.Text() + rand.Text(), browser: s.greet(w, r)}
	challenge := sha256.Sum256([]byte(l.verifier))
	q := url.Values{"client_id": {s.Client}, "response_type": {"code"}, "redirect_uri": {s.Self + "/oidc/callback"}, "scope": {s.wanted(r)},
		"state": {l.state}, "nonce": {l.nonce}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}}
	for _, name := range []string{"acr_values", "login_hint", "prompt", "response_mode", "ui_locales"} {
		if value := r.FormValue(name); value != "" {
			q.Set(name, value)
		}
	}
	raw, x := s.ask(r.Context(), http.MethodGet, s.issuer()+"/.well-known/openid-configuration", nil, secret{})
	l.Calls = []exchange{x}
	if json.Unmarshal(raw, &l.Provider) == nil && l.Provider.Issuer == s.issuer() && l.Provider.Authorize != "" {
		l.URL = l.Provider.Authorize + "?" + q.Encode()
		path := strings.TrimPrefix(l.Provider.Authorize, s.Broker)
		l.Calls = append(l.Calls, exchange{Title: "browser to GET " + path, Status: http.StatusSeeOther, Request: "GET " + path + "\n" + lines(q),
			How: "The whole address", Same: l.URL})
	}
	s.mu.Lock()
	s.logins = append(s.logins, l)
	s.logins = s.logins[max(0, len(s.logins)-maxVisits):]
	s.mu.Unlock()
	if l.URL == "" {
		http.Redirect(w, r, "/oidc#result", http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, l.URL, http.StatusSeeOther)
}

// wanted are the scopes of a request; a link asks for the usual ones.
func (s *Shop) wanted(r *http.Request) string {
	out := "openid"
	for _, o := range scopes {
		if r.Method == http.MethodGet && o.On || slices.Contains(r.Form["scope"], o.Name) {
			out += " " + o.Name
		}
	}
	return out
}

// loginOf looks a login of this browser up.
func (s *Shop) loginOf(r *http.Request, is func(*login) bool) *login {
	b := browser(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range slices.Backward(s.logins) {
		if b != "" && l.browser == b && is(l) {
			return l
		}
	}
	return nil
}

// posted takes an answer in the form of a page of eidgate's (form_post). What
// another site posts may come without our cookie, so nothing is done with it
// until the browser has come again by itself.
func (s *Shop) posted(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "cannot be read", http.StatusBadRequest)
		return
	}
	state := r.PostForm.Get("state")
	s.mu.Lock()
	for _, l := range s.logins {
		if l.state == state && l.posted == nil {
			l.posted = r.PostForm
		}
	}
	s.mu.Unlock()
	http.Redirect(w, r, "/oidc/callback?state="+url.QueryEscape(state), http.StatusSeeOther)
}

// callback is where the browser comes back. The login must be one of this
// browser, and its answer counts once.
func (s *Shop) callback(w http.ResponseWriter, r *http.Request) {
	l := s.loginOf(r, func(l *login) bool { return l.state == r.FormValue("state") })
	if l == nil {
		s.show(w, http.StatusForbidden, &view{OIDC: true, Stranger: true})
		return
	}
	s.mu.Lock()
	first, answer, method := !l.Returned, r.URL.Query(), http.MethodGet
	if l.posted != nil {
		answer, method = l.posted, http.MethodPost
	}
	l.Returned = true
	next := *l
	s.mu.Unlock()
	if first {
		next.Calls = append(slices.Clone(next.Calls), exchange{Title: "browser back at " + method + " /oidc/callback", Status: http.StatusSeeOther, Came: true,
			Request: method + " /oidc/callback\n" + lines(answer)})
		s.finish(r.Context(), &next, answer)
		s.mu.Lock()
		*l = next
		s.mu.Unlock()
	}
	http.Redirect(w, r, "/oidc#result", http.StatusSeeOther)
}

// finish makes the checks that every relying party must make, in their order,
// and stops at the first that fails: then nobody is logged in.
func (s *Shop) finish(ctx context.Context, l *login, answer url.Values) {
	sure := func(ok bool, text string) bool {
		l.Checks = append(l.Checks, verdict(true, ok, text))
		return ok
	}
	sure(true, "The state that came back is the one we made, and this is the browser that started.")
	if !sure(answer.Get("iss") == s.issuer(), "iss says that the answer is from the provider that we asked.") {
		return
	}
	if l.Code = answer.Get("error"); l.Code != "" {
		l.Text = answer.Get("error_description")
		return
	}
	var got struct {
		IDToken string `json:"id_token"`
		Access  string `json:"access_token"`
	}
	by := secret{header: "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(s.Client)+":"+url.QueryEscape(s.ClientSecret))),
		shown: "Basic (client_id:client_secret)", curl: ` -u "$EIDGATE_CLIENT_ID:$EIDGATE_CLIENT_SECRET"`}
	raw, x := s.ask(ctx, http.MethodPost, l.Provider.Token, url.Values{"grant_type": {"authorization_code"}, "code": {answer.Get("code")},
		"redirect_uri": {s.Self + "/oidc/callback"}, "code_verifier": {l.verifier}}, by)
	l.Calls = append(l.Calls, x)
	if !sure(json.Unmarshal(raw, &got) == nil && x.Status == http.StatusOK, "Our own server redeemed the code, with our secret and the verifier of PKCE.") {
		return
	}
	keys, x := s.ask(ctx, http.MethodGet, l.Provider.Keys, nil, secret{})
	l.Calls = append(l.Calls, x)
	id, err := readIDToken(got.IDToken, keys)
	if !sure(err == nil, "The ID token is signed with RS256 and a key of the provider.") ||
		!sure(id.Issuer == s.issuer() && id.Audience == s.Client, "iss and aud of the ID token are the provider and we.") {
		return
	}
	now := s.now()
	if !sure(now.Before(time.Unix(id.Expires, 0).Add(skew)) && time.Unix(id.Issued, 0).Before(now.Add(skew)), "exp of the ID token lies ahead, and iat does not.") ||
		!sure(id.Nonce == l.nonce, "nonce of the ID token is the one we made: it is for this login.") {
		return
	}
	var about struct{ Sub, Name string }
	raw, x = s.ask(ctx, http.MethodGet, l.Provider.UserInfo, nil, secret{header: "Bearer " + got.Access, shown: "Bearer (the access token)", curl: ` -H "Authorization: Bearer $ACCESS_TOKEN"`})
	l.Calls = append(l.Calls, x)
	if !sure(json.Unmarshal(raw, &about) == nil && x.Status == http.StatusOK && about.Sub == id.Subject, "UserInfo is about the same sub.") {
		return
	}
	l.ID, l.Info, l.Name = id, pretty(raw), about.Name
}

var errSignature = errors.New("no signature that counts")

// readIDToken checks the signature of an ID token with the provider's keys.
// Which algorithm it has is not for the token to say.
func readIDToken(text string, keys []byte) (*idToken, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errSignature
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		raw[i], err = base64.RawURLEncoding.DecodeString(part)
		if err != nil || base64.RawURLEncoding.EncodeToString(raw[i]) != part { // as it would be written: decoding passes over line ends
			return nil, errSignature
		}
	}
	var head struct{ Alg, Kid string }
	if err := json.Unmarshal(raw[0], &head); err != nil || head.Alg != "RS256" {
		return nil, errSignature
	}
	key, err := keyOf(head.Kid, keys)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], raw[2]); err != nil {
		return nil, errSignature
	}
	id := &idToken{Text: text, Claims: pretty(raw[1])}
	return id, json.Unmarshal(raw[1], id)
}

// keyOf is the key of a set (RFC 7517) that has a name.
func keyOf(name string, set []byte) (*rsa.PublicKey, error) {
	var all struct {
		Keys []struct{ Kid, Kty, Use, N, E string }
	}
	if err := json.Unmarshal(set, &all); err != nil {
		return nil, errSignature
	}
	for _, k := range all.Keys {
		n, err1 := base64.RawURLEncoding.DecodeString(k.N)
		e, err2 := base64.RawURLEncoding.DecodeString(k.E)
		if k.Kid == name && k.Kty == "RSA" && k.Use == "sig" && errors.Join(err1, err2) == nil && len(e) <= 4 {
			return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
		}
	}
	return nil, errSignature
}

// logout ends our own session at once. Ending the provider's is a form, since
// the ID token names the person and does not belong into an address.
func (s *Shop) logout(w http.ResponseWriter, r *http.Request) {
	l := s.loginOf(r, func(l *login) bool { return l.ID != nil && !l.Out })
	if l == nil {
		http.Redirect(w, r, "/oidc", http.StatusSeeOther)
		return
	}
	s.mu.Lock()
	l.Out = true
	s.mu.Unlock()
	s.show(w, http.StatusOK, &view{OIDC: true, Leaving: true, Login: l, State: l.state})
}

// bye is where the provider sends the browser when its session has ended.
func (s *Shop) bye(w http.ResponseWriter, r *http.Request) {
	if l := s.loginOf(r, func(l *login) bool { return l.Out && l.state == r.FormValue("state") }); l != nil {
		s.mu.Lock()
		l.Gone = true
		s.mu.Unlock()
	}
	http.Redirect(w, r, "/oidc#result", http.StatusSeeOther)
}

func (s *Shop) oidcHome(w http.ResponseWriter, r *http.Request) {
	if s.elsewhere(w, r) {
		return
	}
	s.show(w, http.StatusOK, &view{OIDC: true, Login: s.loginOf(r, func(*login) bool { return true })})
}
