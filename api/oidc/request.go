package oidc

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"eidgate/api/claims"
	"eidgate/internal/jsondepth"
	"eidgate/relying"
)

// A request is an authorization request that has been checked, as it is kept
// until its answer (docs/protocols/oidc.md §13).
type request struct {
	terms
	Mode    string    `json:"mode"`            // query, form_post or fragment; or one of the first two with ".jwt"
	Front   bool      `json:"front,omitempty"` // response_type "code id_token"
	State   string    `json:"state,omitempty"`
	Prompt  []string  `json:"prompt,omitempty"`
	MaxAge  *int      `json:"max_age,omitempty"` // seconds
	Locales string    `json:"ui_locales,omitempty"`
	Hint    string    `json:"login_hint,omitempty"`
	Person  string    `json:"person,omitempty"` // the sub that must come of it
	Before  before    `json:"before,omitzero"`  // who was logged in when it was made
	ACR     string    `json:"acr_values,omitempty"`
	Levels  []string  `json:"levels,omitempty"`  // one of these acr must come of it
	Ignored []string  `json:"ignored,omitempty"` // what has no effect, "scope spid"
	At      time.Time `json:"at"`
	Pushed  []byte    `json:"pushed,omitempty"` // hash of the handle that it was pushed under
	Sealed  bool      `json:"sealed,omitempty"` // pushed or signed: the browser cannot have altered it
}

// terms are what of a request its tokens depend on: all that is kept of it once
// there is a code.
type terms struct {
	Client    string   `json:"client"`
	Redirect  string   `json:"redirect_uri"`
	Scopes    []string `json:"scopes"`
	Nonce     string   `json:"nonce,omitempty"`
	Challenge string   `json:"challenge,omitempty"` // of S256
	Asked     asked    `json:"asked,omitzero"`      // the claims parameter
	Bound     string   `json:"bound,omitempty"`     // thumbprint of the key that the tokens must come with
}

// before is a login that a browser had: if the same person comes again, that
// goes on.
type before struct {
	SID     string `json:"sid"`
	Subject string `json:"sub"`
}

// asked are claims that are wanted by name, apart from scopes.
type asked struct {
	UserInfo []string `json:"userinfo,omitempty"`
	IDToken  []string `json:"id_token,omitempty"`
}

// telling is the scopes, and those of the client that release what is asked for
// by name beside them.
func (q *request) telling(c *relying.Client) []string {
	if len(q.Asked.UserInfo)+len(q.Asked.IDToken) == 0 {
		return q.Scopes
	}
	return slices.Concat(q.Scopes, claims.Releasing(slices.Concat(q.Asked.UserInfo, q.Asked.IDToken), scopesOf(c)))
}

// use is what the login is for. A claim that is asked for by name makes an
// identification of it, but no age check: sub is to last.
func (q *request) use(c *relying.Client) claims.Use {
	use := claims.UseOf(q.telling(c))
	if use == claims.AgeCheck {
		return claims.UseOf(q.Scopes)
	}
	return use
}

// wanted is what the eID is asked for.
func (q *request) wanted(c *relying.Client) []string { return claims.Wanted(q.telling(c), q.use(c)) }

// scopesOf is what a client may ask for.
func scopesOf(c *relying.Client) []string {
	if len(c.Scopes) == 0 {
		return claims.Scopes()
	}
	return c.Scopes
}

// still are those of scopes that a client may have now: the operator may have
// taken some away since they were granted.
func still(c *relying.Client, scopes []string) []string {
	may := scopesOf(c)
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !slices.Contains(may, s) })
}

func (q *request) has(scope string) bool    { return slices.Contains(q.Scopes, scope) }
func (q *request) prompts(word string) bool { return slices.Contains(q.Prompt, word) }

// prompts are the words of prompt that mean something here.
var promptWords = []string{"none", "login", "consent", "select_account"}

// readRequest checks everything about a request that its redirect address and
// its client do not decide; of that, types are those of responses that it may
// have. What it does not know it leaves alone.
func readRequest(p params, types []string, now time.Time) (*request, *wireError) {
	q := &request{terms: terms{Client: p["client_id"], Redirect: p["redirect_uri"], Nonce: p["nonce"], Bound: p["dpop_jkt"]}, State: p["state"],
		Locales: p["ui_locales"], Hint: p["login_hint"], ACR: p["acr_values"], At: now}
	kind := words(p["response_type"])
	slices.Sort(kind)
	q.Front = slices.Equal(kind, []string{"code", "id_token"}) && slices.Contains(types, "code id_token")
	if len(q.State) > maxState || len(q.Nonce) > maxState {
		return q, bad("invalid_request", "state and nonce have at most 4096 characters.")
	}
	if q.Bound != "" && !unreserved(q.Bound, 43, 43) {
		return q, bad("invalid_request", "dpop_jkt is not the thumbprint of a key.")
	}
	switch {
	case len(kind) == 0:
		return q, bad("invalid_request", "response_type is missing. Use code.")
	case !q.Front && p["response_type"] != "code":
		return q, bad("unsupported_response_type", "Only response_type code is served.")
	case q.Front && q.Nonce == "":
		return q, bad("invalid_request", "response_type code id_token needs a nonce.")
	}
	for _, s := range words(p["scope"]) {
		if !slices.Contains(q.Scopes, s) {
			q.Scopes = append(q.Scopes, s)
		}
	}
	if !q.has("openid") {
		return q, bad("invalid_scope", "scope must hold openid.")
	}
	if err := q.readPKCE(p); err != nil {
		return q, err
	}
	if err := q.readPrompt(p); err != nil {
		return q, err
	}
	return q, q.readClaims(p["claims"])
}

// readPKCE takes S256 alone (RFC 7636). A method that is left out means plain.
func (q *request) readPKCE(p params) *wireError {
	challenge, method := p["code_challenge"], p["code_challenge_method"]
	switch {
	case challenge == "" && method == "":
		return nil
	case challenge == "":
		return bad("invalid_request", "code_challenge is missing.")
	case method != "S256":
		return bad("invalid_request", "code_challenge_method must be S256.")
	case !unreserved(challenge, 43, 128):
		return bad("invalid_request", "code_challenge is not one of S256.")
	}
	q.Challenge = challenge
	return nil
}

// unreserved says whether a text has only characters that a verifier may have.
func unreserved(s string, least, most int) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~", c) {
			return false
		}
	}
	return true
}

func (q *request) readPrompt(p params) *wireError {
	for _, w := range words(p["prompt"]) {
		if !slices.Contains(promptWords, w) {
			return bad("invalid_request", "prompt has a word that is not served.")
		}
		q.Prompt = append(q.Prompt, w)
	}
	if q.prompts("none") && len(q.Prompt) > 1 {
		return bad("invalid_request", "prompt none stands alone.")
	}
	if text, ok := p["max_age"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return bad("invalid_request", "max_age is a number of seconds.")
		}
		n = min(n, math.MaxInt32) // seconds of 68 years; a Duration holds them
		q.MaxAge = &n
	}
	return nil
}

// readClaims reads the claims parameter (OpenID Connect Core, section 5.5). Of
// what it may say about a claim, only the value of sub and those of acr count.
func (q *request) readClaims(text string) *wireError {
	if text == "" {
		return nil
	}
	if jsondepth.TooDeep([]byte(text)) {
		return bad("invalid_request", "claims is nested more than 32 deep.")
	}
	var in struct {
		UserInfo map[string]json.RawMessage `json:"userinfo"`
		IDToken  map[string]json.RawMessage `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return bad("invalid_request", "claims is not JSON of the form that OpenID Connect gives it.")
	}
	for _, subject := range []json.RawMessage{in.UserInfo["sub"], in.IDToken["sub"]} {
		r, ok := readRule(subject)
		if !ok || r.Value != "" && q.Person != "" && r.Value != q.Person {
			return bad("invalid_request", "claims asks for sub in a form that is not known.")
		}
		if r.Value != "" {
			q.Person = r.Value
		}
	}
	level, ok := readRule(in.IDToken["acr"])
	if !ok {
		return bad("invalid_request", "claims asks for acr in a form that is not known.")
	}
	if level.Essential {
		q.Levels = level.Values
		if level.Value != "" {
			q.Levels = append(q.Levels, level.Value)
		}
	}
	q.Asked = asked{slices.Sorted(maps.Keys(in.UserInfo)), slices.Sorted(maps.Keys(in.IDToken))}
	return nil
}

// A rule is what may be said about a claim that is asked for.
type rule struct {
	Essential bool     `json:"essential"`
	Value     string   `json:"value"`
	Values    []string `json:"values"`
}

func readRule(raw json.RawMessage) (r rule, ok bool) {
	ok = raw == nil || json.Unmarshal(raw, &r) == nil
	return r, ok
}
