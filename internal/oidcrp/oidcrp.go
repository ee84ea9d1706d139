// Package oidcrp logs people in at OpenID providers: it is the relying party
// that an eID which speaks OpenID Connect sees. What one provider asks for and
// another does not (request objects, encryption, pushed requests) is settings;
// what is never taken from anybody is in docs/protocols/oidcrp.md, to which §
// in comments refers.
//
// A login is Begin, Answer, Redeem and Read, and UserInfo where a provider has
// more to say there. Redeem spends the code and returns what came unread, so
// that it can be kept before anything is made of it.
package oidcrp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"eidgate/internal/circuit"
	"eidgate/internal/jose"
)

// An AuthMethod is how we prove to a provider who we are.
type AuthMethod string

const (
	SecretBasic   AuthMethod = "client_secret_basic"
	SecretPost    AuthMethod = "client_secret_post"
	PrivateKeyJWT AuthMethod = "private_key_jwt"
)

// A Demand says whether something must be there.
type Demand string

const (
	Never Demand = "" // and what has it is refused
	May   Demand = "may"
	Must  Demand = "must"
)

// Config is what one relying party and its provider have agreed on.
type Config struct {
	Issuer   string // exactly what iss and the metadata must say
	Metadata string // address of the metadata; default Issuer + "/.well-known/openid-configuration"
	ClientID string
	Auth     AuthMethod
	Secret   string
	Keys     *jose.Set // ours: they sign assertions and request objects, each with its own algorithm, and decrypt; nil where nothing needs one

	AssertionAudience string // of client assertions: "issuer" (default) or "token", the endpoint
	EncryptAssertion  bool   // sign, then encrypt to the provider's key
	KeyAlg            string // of what we encrypt; default RSA-OAEP-256
	ContentAlg        string // default A128CBC-HS256

	IDToken  Protection
	UserInfo Protection

	RequireIss bool // iss must be in the authorization response; else it is checked where it is present
	NoPKCE     bool // the provider's dialect is older than PKCE
	AllowHTTP  bool // a simulator

	Circuits *circuit.Board // where the client's circuit is, which its calls pass; nil for none. What all share, metadata and keys, does not
}

// LogValue hides the secret.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

func (c Config) String() string { return "client of " + c.Issuer }

// GoString is String: %#v hides the secret too.
func (c Config) GoString() string { return c.String() }

// A Protection says what a token of one kind must be.
type Protection struct {
	Algs      []string // of signatures; default RS256
	Encrypted Demand
	Plain     bool   // UserInfo only: JSON that nobody signed is taken, too
	Issuer    string // UserInfo only: iss of a signed answer where it is not Config.Issuer; OfEndpoint for the service that UserInfo is fetched from
}

// skew is by how much clocks may differ (§5).
const skew = time.Minute

// OfEndpoint is the issuer of a UserInfo that is signed by a service of its
// own: the address that UserInfo is fetched from, or one that it lies below.
const OfEndpoint = "endpoint"

// A Client is a Config in use. It is safe for concurrent use.
type Client struct {
	c    Config
	dir  *Directory
	http *http.Client
}

// New checks a configuration; *ConfigError. Without a Directory that is all the
// client is good for.
func New(c Config, d *Directory) (*Client, error) {
	if c.Metadata == "" {
		c.Metadata = strings.TrimSuffix(c.Issuer, "/") + "/.well-known/openid-configuration"
	}
	if u, err := url.Parse(c.Issuer); err != nil || !secure(u, c.AllowHTTP) || u.RawQuery != "" || u.Fragment != "" {
		return nil, &ConfigError{"issuer", "must be an https address"}
	}
	if u, err := url.Parse(c.Metadata); err != nil || !secure(u, c.AllowHTTP) {
		return nil, &ConfigError{"metadata", "must be an https address"}
	}
	if c.ClientID == "" {
		return nil, &ConfigError{"client_id", "is required"}
	}
	switch c.Auth {
	case SecretBasic, SecretPost:
		if c.Secret == "" {
			return nil, &ConfigError{"secret", "is required for " + string(c.Auth)}
		}
	case PrivateKeyJWT:
		if c.Keys == nil || len(c.Keys.Algs()) == 0 {
			return nil, &ConfigError{"keys", "must have one that signs"}
		}
	default:
		return nil, &ConfigError{"auth", fmt.Sprintf("%q is none of client_secret_basic, client_secret_post, private_key_jwt", c.Auth)}
	}
	switch c.AssertionAudience {
	case "":
		c.AssertionAudience = "issuer"
	case "issuer", "token":
	default:
		return nil, &ConfigError{"assertion_audience", "must be issuer or token"}
	}
	if c.KeyAlg == "" {
		c.KeyAlg = "RSA-OAEP-256"
	}
	if c.ContentAlg == "" {
		c.ContentAlg = "A128CBC-HS256"
	}
	for name, p := range map[string]*Protection{"id_token": &c.IDToken, "userinfo": &c.UserInfo} {
		if len(p.Algs) == 0 {
			p.Algs = []string{jose.RS256}
		}
		if p.Encrypted != Never && c.Keys == nil {
			return nil, &ConfigError{"keys", "must have one that decrypts: " + name + " comes encrypted"}
		}
	}
	cl := &Client{c: c, dir: d}
	if d != nil {
		cl.http = &http.Client{Transport: c.Circuits.Guard(d.http.Transport), CheckRedirect: d.http.CheckRedirect}
	}
	return cl, nil
}

// secure says whether an address may be talked to.
func secure(u *url.URL, allowHTTP bool) bool {
	return u.Host != "" && u.User == nil && (u.Scheme == "https" || allowHTTP && u.Scheme == "http")
}

// Means is how an authorization request reaches the provider.
type Means string

const (
	Query        Means = "query"
	Signed       Means = "signed"        // a request object that we have signed
	Encrypted    Means = "encrypted"     // one that is signed, then encrypted
	Pushed       Means = "pushed"        // RFC 9126
	PushedSigned Means = "pushed_signed" // a request object that is pushed
	Hidden       Means = "hidden"        // for what an address must not tell: pushed where the provider takes that, else encrypted
)

// A Request is one login that begins.
type Request struct {
	RedirectURI string
	Scope       string
	Params      url.Values                 // acr_values, ui_locales, login_hint, prompt …
	Objects     map[string]json.RawMessage // members that are JSON in a request object and text elsewhere: claims, idp_params
	By          Means                      // default Query
}

// A Login is what must be remembered until the browser is back. It is a secret.
type Login struct {
	State       string    `json:"state"`
	Nonce       string    `json:"nonce"`
	Verifier    string    `json:"verifier,omitempty"`
	RedirectURI string    `json:"redirect"`
	Began       time.Time `json:"began"`
}

// LogValue hides it.
func (Login) LogValue() slog.Value { return slog.StringValue("login") }

func (Login) String() string { return "login" }

// GoString is String.
func (l Login) GoString() string { return l.String() }

func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// Begin makes the address that the browser is sent to (§2).
func (c *Client) Begin(ctx context.Context, r Request) (address string, l *Login, err error) {
	l = &Login{State: random(), Nonce: random(), RedirectURI: r.RedirectURI, Began: c.dir.now()}
	if !c.c.NoPKCE {
		l.Verifier = random()
	}
	address, err = c.Again(ctx, r, l)
	return address, l, err
}

// Again makes another address for a login that has begun, by the same request:
// one that was pushed is gone when a browser has used it, or has waited.
func (c *Client) Again(ctx context.Context, r Request, l *Login) (address string, err error) {
	m, err := c.Metadata(ctx)
	if err != nil {
		return "", err
	}
	all := url.Values{"client_id": {c.c.ClientID}, "response_type": {"code"}, "scope": {r.Scope}, "redirect_uri": {l.RedirectURI},
		"state": {l.State}, "nonce": {l.Nonce}}
	if l.Verifier != "" {
		sum := sha256.Sum256([]byte(l.Verifier))
		all.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
		all.Set("code_challenge_method", "S256")
	}
	maps.Copy(all, r.Params)
	return c.carry(ctx, m, r, all)
}

// carry puts a request into an address, by the means that was asked for.
func (c *Client) carry(ctx context.Context, m *Metadata, r Request, all url.Values) (string, error) {
	front := url.Values{}
	if r.By == Hidden {
		if r.By = Encrypted; m.PAR != "" {
			r.By = Pushed
		}
	}
	switch r.By {
	case Query, "":
		front = texts(all, r.Objects)
	case Signed, Encrypted:
		object, err := c.object(ctx, m, all, r.Objects, r.By == Encrypted)
		if err != nil {
			return "", err
		}
		for _, name := range []string{"client_id", "response_type", "scope"} { // section 6.1 of OpenID Connect Core wants them here too
			front.Set(name, all.Get(name))
		}
		front.Set("request", object)
		if r.By == Signed || c.c.NoPKCE { // providers of that age compare it before they open the object
			front.Set("redirect_uri", all.Get("redirect_uri"))
		}
	case Pushed, PushedSigned:
		uri, err := c.push(ctx, m, r, all)
		if err != nil {
			return "", err
		}
		front = url.Values{"client_id": {c.c.ClientID}, "request_uri": {uri}}
	default:
		return "", &Error{Kind: BadConfig, Err: fmt.Errorf("means %q", r.By)}
	}
	u, err := url.Parse(m.Authorization)
	if err != nil {
		return "", &Error{Kind: BadMetadata, Err: errNoURL}
	}
	q := u.Query()
	maps.Copy(q, front)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// texts are parameters as they stand in a query or a form.
func texts(all url.Values, objects map[string]json.RawMessage) url.Values {
	out := maps.Clone(all)
	for name, raw := range objects {
		out.Set(name, string(raw))
	}
	return out
}

// objectLife is as long as FAPI 2.0 Message Signing lets it be: a page of ours, or
// of a party, may show the link for as long as its session waits.
const objectLife = time.Hour

// object is a request object (§3).
func (c *Client) object(ctx context.Context, m *Metadata, all url.Values, objects map[string]json.RawMessage, encrypt bool) (string, error) {
	now := c.dir.now()
	claims := map[string]any{"iss": c.c.ClientID, "aud": c.c.Issuer, "jti": random(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(objectLife).Unix()}
	for name, values := range all {
		if len(values) != 1 {
			return "", &Error{Kind: BadConfig, Err: fmt.Errorf("parameter %s has %d values", name, len(values))}
		}
		claims[name] = values[0]
	}
	for name, raw := range objects {
		claims[name] = raw
	}
	return c.sign(ctx, m, claims, encrypt)
}

// sign signs claims, and encrypts them where that is asked for.
func (c *Client) sign(ctx context.Context, m *Metadata, claims map[string]any, encrypt bool) (string, error) {
	var algs []string
	if c.c.Keys != nil {
		algs = c.c.Keys.Algs()
	}
	if len(algs) == 0 {
		return "", &Error{Kind: BadConfig, Err: errNoKeys}
	}
	raw, err := json.Marshal(claims)
	if err != nil {
		return "", &Error{Kind: BadConfig, Err: err}
	}
	token, err := c.c.Keys.Sign(algs[0], "", raw)
	if err != nil {
		return "", &Error{Kind: BadConfig, Err: err}
	}
	if !encrypt {
		return token, nil
	}
	keys, err := c.dir.keys(m.JWKS).Find(ctx, jose.Query{Alg: c.c.KeyAlg, Use: jose.Encrypting})
	if err != nil {
		return "", keyError(err)
	}
	if len(keys) == 0 {
		return "", &Error{Kind: Encryption, Err: errNoEncKey}
	}
	sealed, err := jose.Encrypt(token, keys[0], c.c.KeyAlg, c.c.ContentAlg)
	if err != nil {
		return "", &Error{Kind: Encryption, Err: err}
	}
	return sealed, nil
}
