package openid

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
)

// A Client is a registered relying party.
type Client struct {
	ID, Name  string
	Secret    string // "" where it signs
	Redirects []string
	KeyID     string
	Key       crypto.PublicKey // of its signatures; nil for one with a secret
}

// Algorithm is what a key signs with: the kind of key that is registered
// decides, not the token. "" for kinds that no simulator takes.
func Algorithm(key crypto.PublicKey) jose.SignatureAlgorithm {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() >= 2048 {
			return jose.RS256
		}
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return jose.ES256
		case elliptic.P384():
			return jose.ES384
		}
	}
	return ""
}

// Algorithms are those that Algorithm knows.
var Algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384}

// Published reads the JWKS of a party: the one key that it signs with, by one of
// some algorithms, and those that decrypt, which are RSA; nil for none.
func Published(jwks []byte, algs []jose.SignatureAlgorithm) (sig jose.JSONWebKey, enc []jose.JSONWebKey, err error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &set); err != nil {
		return sig, nil, err
	}
	for _, k := range set.Keys {
		alg := Algorithm(k.Key)
		_, isRSA := k.Key.(*rsa.PublicKey)
		switch {
		case k.Use == "sig" && sig.Key == nil && slices.Contains(algs, alg) && (k.Algorithm == "" || k.Algorithm == string(alg)):
			sig = k
		case k.Use == "enc" && isRSA:
			enc = append(enc, k)
		default:
			return sig, nil, fmt.Errorf("key %q: of another use or kind, or a second one to sign", k.KeyID)
		}
	}
	if sig.Key == nil {
		return sig, nil, errors.New("there is no key to sign with")
	}
	return sig, enc, nil
}

// Knows says whether a way back is registered: octet for octet, but for the
// session that the sandbox adds.
func (c *Client) Knows(back string) bool {
	if slices.Contains(c.Redirects, back) {
		return true
	}
	bare, query, has := strings.Cut(back, "?")
	q, err := url.ParseQuery(query)
	return has && err == nil && !strings.Contains(back, "#") && len(q) == 1 && len(q["session"]) == 1 && slices.Contains(c.Redirects, bare)
}

// Signed reads what the client has signed.
func (c *Client) Signed(token string) (map[string]json.RawMessage, error) {
	alg := Algorithm(c.Key)
	if alg == "" {
		return nil, errors.New("this client has no key")
	}
	j, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
	if err != nil {
		return nil, err
	}
	if j.Signatures[0].Header.KeyID != c.KeyID {
		return nil, errors.New("kid")
	}
	raw, err := j.Verify(c.Key)
	if err != nil {
		return nil, err
	}
	var out map[string]json.RawMessage
	return out, json.Unmarshal(raw, &out)
}

// Clients are those of one provider. The zero value is not ready: NewClients.
type Clients struct {
	clock  *sandbox.Clock
	mu     sync.Mutex
	all    map[string]*Client
	used   map[string]time.Time // jti of assertions
	pushed map[string]pushed
}

// A pushed request is one that waits for its browser (RFC 9126).
type pushed struct {
	client *Client
	params url.Values
	until  time.Time
}

// NewClients makes an empty list.
func NewClients(clock *sandbox.Clock) *Clients {
	return &Clients{clock: clock, all: map[string]*Client{}, used: map[string]time.Time{}, pushed: map[string]pushed{}}
}

// Add registers one.
func (cs *Clients) Add(c *Client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.all[c.ID] = c
}

// Publish replaces the key of a client with the one of its own JWKS, which has
// none that decrypts. The client has no secret afterwards, and logins that have
// begun are lost.
func (cs *Clients) Publish(id string, jwks []byte) error {
	sig, enc, err := Published(jwks, Algorithms)
	if err == nil && enc != nil {
		err = errors.New("nothing is encrypted for clients here")
	}
	if err != nil {
		return err
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	old := cs.all[id]
	if old == nil {
		return errNobody
	}
	c := *old
	c.Secret, c.Key, c.KeyID = "", sig.Key, sig.KeyID
	cs.all[id] = &c
	return nil
}

// Get finds one; nil for none.
func (cs *Clients) Get(id string) *Client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.all[id]
}

var errNobody = errors.New("client_id is not known")

// maxAssertion is how long a client's word is good at most: it is remembered so
// long.
const maxAssertion = 10 * time.Minute

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Authenticate finds who calls, by client_secret_basic, client_secret_post or
// private_key_jwt with one of the audiences. The form was parsed.
func (cs *Clients) Authenticate(r *http.Request, audiences ...string) (*Client, error) {
	f := r.PostForm
	id, secret := f.Get("client_id"), f.Get("client_secret")
	if user, pass, ok := r.BasicAuth(); ok { // both halves are form-encoded: RFC 6749, section 2.3.1
		var err1, err2 error
		id, err1 = url.QueryUnescape(user)
		secret, err2 = url.QueryUnescape(pass)
		if err1 != nil || err2 != nil || f.Get("client_secret") != "" || f.Get("client_assertion") != "" {
			return nil, errors.New("more than one proof, or one that cannot be read")
		}
	}
	c := cs.Get(id)
	if c == nil {
		return nil, errNobody
	}
	if token := f.Get("client_assertion"); token != "" {
		if f.Get("client_assertion_type") != assertionType || secret != "" {
			return nil, errors.New("client_assertion_type is another, or there is a secret too")
		}
		return c, cs.asserted(c, token, audiences)
	}
	if c.Secret == "" || subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) != 1 {
		return nil, errors.New("the secret is wrong")
	}
	return c, nil
}

// asserted checks a client's own word (RFC 7523), which works once.
func (cs *Clients) asserted(c *Client, token string, audiences []string) error {
	in, err := c.Signed(token)
	if err != nil {
		return errors.New("client_assertion cannot be read")
	}
	var iss, sub, jti string
	var exp int64
	for name, at := range map[string]any{"iss": &iss, "sub": &sub, "jti": &jti, "exp": &exp} {
		if json.Unmarshal(in[name], at) != nil {
			return errors.New(name + " of client_assertion is missing, or of another type")
		}
	}
	now, until := cs.clock.Now(), time.Unix(exp, 0)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case iss != c.ID || sub != c.ID || !IsFor(in, audiences...) || jti == "" || len(jti) > 255:
		return errors.New("client_assertion is for somebody else")
	case !now.Before(until) || until.After(now.Add(maxAssertion)):
		return errors.New("client_assertion has expired, or is good for more than ten minutes")
	case !cs.used[c.ID+" "+jti].IsZero():
		return errors.New("jti was used before")
	}
	for id, until := range cs.used {
		if now.After(until) {
			delete(cs.used, id)
		}
	}
	cs.used[c.ID+" "+jti] = until
	return nil
}

// IsFor says whether one of the audiences of a token is one of these: aud is a
// text or a list.
func IsFor(claims map[string]json.RawMessage, audiences ...string) bool {
	var list []string
	if json.Unmarshal(claims["aud"], &list) != nil {
		var one string
		if json.Unmarshal(claims["aud"], &one) != nil {
			return false
		}
		list = []string{one}
	}
	return slices.ContainsFunc(list, func(aud string) bool { return slices.Contains(audiences, aud) })
}

// Push keeps a request under a name, for a time, without the proof of who sent
// it; false when too many wait.
func (cs *Clients) Push(c *Client, name string, params url.Values, life time.Duration) bool {
	for _, proof := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		params.Del(proof)
	}
	now := cs.clock.Now()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for old, p := range cs.pushed {
		if now.After(p.until) {
			delete(cs.pushed, old)
		}
	}
	if len(cs.pushed) >= maxKept {
		return false
	}
	cs.pushed[name] = pushed{c, params, now.Add(life)}
	return true
}

// Pushed takes a request that a client has pushed, once.
func (cs *Clients) Pushed(c *Client, name string) (url.Values, bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	p, ok := cs.pushed[name]
	if !ok || p.client != c || cs.clock.Now().After(p.until) {
		return nil, false
	}
	delete(cs.pushed, name)
	return p.params, true
}

// Params are the members of a request object, as parameters: what is no text
// there is JSON here.
func Params(object map[string]json.RawMessage) url.Values {
	out := url.Values{}
	for name, raw := range object {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		out.Set(name, text)
	}
	return out
}

// Single says whether every parameter stands there once.
func Single(q url.Values) bool {
	for _, values := range q {
		if len(values) > 1 {
			return false
		}
	}
	return true
}

// IsChallenge says whether a text has the form of a challenge of S256.
func IsChallenge(text string) bool { return challenge.MatchString(text) }

var challenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
