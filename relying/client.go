package relying

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"eidgate/eid"
)

// A Client is one program of an account that logs people in over OpenID
// Connect. Members are named as in client registration where that has a name.
// docs/apis says under Clients what each means.
type Client struct {
	ID          string          `json:"client_id"`
	Account     string          `json:"account"`
	Environment eid.Environment `json:"environment"`
	Name        string          `json:"client_name"`      // what people read
	Layout      string          `json:"layout,omitempty"` // name of one of the account's themes
	Profile     Profile         `json:"profile"`
	Native      bool            `json:"native,omitempty"`                         // an app: free loopback ports, schemes of its own
	Hybrid      bool            `json:"hybrid,omitempty"`                         // "code id_token" too; signicat only
	BareObject  bool            `json:"accept_unsigned_request_object,omitempty"` // one that is encrypted to us and holds bare JSON; signicat only

	Redirects     []string `json:"redirect_uris,omitempty"`             // compared as they are written
	Logouts       []string `json:"post_logout_redirect_uris,omitempty"` // likewise
	BackLogout    string   `json:"backchannel_logout_uri,omitempty"`    // told when a login ends; https
	SandboxReturn bool     `json:"any_loopback,omitempty"`              // any loopback address will do; test only
	Scopes        []string `json:"scopes,omitempty"`                    // that it may ask for; empty allows all that are served

	Auth        AuthMethod      `json:"token_endpoint_auth_method"`
	AuthAlg     string          `json:"token_endpoint_auth_signing_alg,omitempty"` // "" any of the policy
	Secrets     []ClientSecret  `json:"secrets,omitempty"`                         // at most 10
	Certificate CertificateName `json:"certificate,omitzero"`                      // of tls_client_auth
	JWKSURI     string          `json:"jwks_uri,omitempty"`
	JWKS        json.RawMessage `json:"jwks,omitempty"` // a JWK set; this or JWKSURI
	Keys        []ClientKey     `json:"keys,omitempty"` // with dates, beside JWKS; at most 20

	RequestAlg     string           `json:"request_object_signing_alg,omitempty"`   // "" any of the policy
	IDTokenAlg     string           `json:"id_token_signed_response_alg,omitempty"` // "" the first that the policy signs with
	IDTokenEnc     Encryption       `json:"id_token_encryption,omitzero"`
	EncryptIDToken bool             `json:"require_encrypted_id_token,omitempty"`
	UserData       UserData         `json:"id_token_user_data,omitempty"` // "" by profile, see IDTokenData
	Userinfo       UserinfoResponse `json:"userinfo_response,omitempty"`  // "" is Json
	UserinfoAlg    string           `json:"userinfo_signed_response_alg,omitempty"`
	UserinfoEnc    Encryption       `json:"userinfo_encryption,omitzero"`

	RequirePKCE     bool      `json:"require_pkce,omitempty"`
	RequirePAR      bool      `json:"require_pushed_authorization_requests,omitempty"`
	RequireRequest  bool      `json:"require_signed_request_object,omitempty"`
	ForceLogin      bool      `json:"force_login,omitempty"`             // no single sign-on
	ReferenceTokens bool      `json:"reference_access_tokens,omitempty"` // opaque, where the policy has JWTs
	BoundTLS        bool      `json:"tls_client_certificate_bound_access_tokens,omitempty"`
	Lifetimes       Lifetimes `json:"lifetimes,omitzero"`

	EIDs          []eid.EID `json:"eids,omitempty"`             // allowed; empty allows the account's
	ACRValues     string    `json:"acr_values,omitempty"`       // of requests that have none
	ForceACR      bool      `json:"force_acr_values,omitempty"` // of every request
	Errors        ErrorWord `json:"errors,omitempty"`           // "" is standard
	StringsOnly   bool      `json:"claims_as_strings,omitempty"`
	FrameAncestor []string  `json:"frame_ancestors,omitempty"` // origins that may frame the login
}

// A Profile is the dialect that a client speaks; see Policy.
type Profile string

const (
	Signicat    Profile = "signicat" // as programs written for Signicat expect it
	Standard    Profile = "standard" // OpenID Connect Core
	FAPI2       Profile = "fapi2"    // FAPI 2.0 Security Profile
	FAPI2Signed Profile = "fapi2-ms" // and FAPI 2.0 Message Signing
)

// An AuthMethod is how a client proves who it is.
type AuthMethod string

const (
	SecretBasic   AuthMethod = "client_secret_basic"
	SecretPost    AuthMethod = "client_secret_post"
	PrivateKeyJWT AuthMethod = "private_key_jwt"
	TLS           AuthMethod = "tls_client_auth"
	SelfSignedTLS AuthMethod = "self_signed_tls_client_auth"
	Public        AuthMethod = "none" // cannot keep a secret
)

// A UserData says what an ID token tells of the person.
type UserData string

const (
	Minimal        UserData = "Minimal"        // sub alone
	StandardScopes UserData = "StandardScopes" // what the standard's own scopes release
	All            UserData = "All"            // everything that is released
)

// A UserinfoResponse is the form of a userinfo answer.
type UserinfoResponse string

const (
	JSON               UserinfoResponse = "Json"
	Signed             UserinfoResponse = "Signed"
	Encrypted          UserinfoResponse = "Encrypted"
	SignedAndEncrypted UserinfoResponse = "SignedAndEncrypted"
)

// An ErrorWord says whose words a client hears when a login ends badly.
type ErrorWord string

const (
	StandardErrors ErrorWord = "standard" // access_denied
	SignicatErrors ErrorWord = "signicat" // IDP-3200
)

// An Encryption is how something is encrypted for a client; the zero value is
// not at all. With an Alg, Enc "" is A256GCM, or A256CBC-HS512 for signicat.
type Encryption struct {
	Alg string `json:"alg,omitempty"` // "RSA-OAEP-256"
	Enc string `json:"enc,omitempty"` // "A256GCM"
}

// A ClientSecret is one of several; the text was shown once.
type ClientSecret struct {
	Name    string    `json:"name"`
	Hash    []byte    `json:"hash"` // see HashSecret
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // zero for never
}

// A ClientKey is a public key with the time in which it counts.
type ClientKey struct {
	Name      string          `json:"name"`
	JWK       json.RawMessage `json:"jwk"`
	NotBefore time.Time       `json:"not_before,omitzero"`
	NotAfter  time.Time       `json:"not_after,omitzero"` // zero for no end
}

// Lifetimes are how long things last; zero takes the default.
type Lifetimes struct {
	Code           time.Duration `json:"code,omitempty"`            // default 60 s; 15 s to 10 min, FAPI 60 s at most
	IDToken        time.Duration `json:"id_token,omitempty"`        // default 10 min; 1 min to 24 h
	AccessToken    time.Duration `json:"access_token,omitempty"`    // likewise
	Refresh        time.Duration `json:"refresh,omitempty"`         // of a refresh token and its successors; default 24 h; 1 min to 366 days
	RefreshSliding time.Duration `json:"refresh_sliding,omitempty"` // since the last use; default as Refresh, and no longer
	SSO            time.Duration `json:"sso,omitempty"`             // default 1 h; 1 min to 24 h
}

// LogValue shows the id only.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.ID) }

func (c Client) String() string { return "client " + c.ID }

// HashSecret is what is kept of a secret. Secrets are random and long, so one
// round is enough; unlike keys they have a case.
func HashSecret(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// Secret finds the secret of a text among those that have not expired. It
// looks at all of them and takes as long for a client without any.
func (c *Client) Secret(text string, now time.Time) (name string, ok bool) {
	h := HashSecret(text)
	var none [sha256.Size]byte
	subtle.ConstantTimeCompare(h, none[:])
	for _, s := range c.Secrets {
		same := subtle.ConstantTimeCompare(h, s.Hash) == 1
		if same && (s.Expires.IsZero() || now.Before(s.Expires)) {
			name, ok = s.Name, true
		}
	}
	return name, ok
}

// KeySet is the client's own keys that count at an instant, as a JWK set; nil
// where it has none, or they are at JWKSURI.
func (c *Client) KeySet(now time.Time) []byte {
	keys := keysOf(c.JWKS)
	for _, k := range c.Keys {
		if !now.Before(k.NotBefore) && (k.NotAfter.IsZero() || now.Before(k.NotAfter)) {
			keys = append(keys, k.JWK)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return append(append([]byte(`{"keys":[`), bytes.Join(raws(keys), []byte(","))...), "]}"...)
}

func raws(keys []json.RawMessage) [][]byte {
	out := make([][]byte, len(keys))
	for i, k := range keys {
		out[i] = k
	}
	return out
}

func keysOf(set json.RawMessage) []json.RawMessage {
	var s struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(set, &s) != nil {
		return nil
	}
	return s.Keys
}

// IDTokenData is what the client's ID tokens tell: unless it says otherwise,
// StandardScopes for signicat, and sub alone for the others, whose programs ask
// userinfo.
func (c *Client) IDTokenData() UserData {
	switch {
	case c.UserData != "":
		return c.UserData
	case c.Profile == Signicat:
		return StandardScopes
	}
	return Minimal
}

// Life is the lifetimes with their defaults, within what the policy allows.
func (c *Client) Life() Lifetimes {
	l := c.Lifetimes
	set := func(d *time.Duration, byDefault time.Duration) {
		if *d == 0 {
			*d = byDefault
		}
	}
	set(&l.Code, time.Minute)
	set(&l.IDToken, 10*time.Minute)
	set(&l.AccessToken, 10*time.Minute)
	set(&l.Refresh, 24*time.Hour)
	set(&l.RefreshSliding, l.Refresh)
	set(&l.SSO, time.Hour)
	if longest := c.Policy().Code; longest > 0 {
		l.Code = min(l.Code, longest)
	}
	l.RefreshSliding = min(l.RefreshSliding, l.Refresh)
	if c.ForceLogin {
		l.SSO = 0
	}
	return l
}

// A Problem is what is wrong with one member of a record.
type Problem struct{ Member, Rule string }

func (p *Problem) Error() string { return p.Member + ": " + p.Rule }

// Check finds everything that is wrong with a client, each a *Problem, and
// joins it.
func (c *Client) Check() error {
	var all problems
	c.checkNames(&all)
	c.checkAddresses(&all)
	c.checkAuth(&all)
	c.checkKeys(&all)
	c.checkTokens(&all)
	c.checkLifetimes(&all)
	return errors.Join(all...)
}

type problems []error

func (p *problems) add(ok bool, member, rule string, args ...any) {
	if !ok {
		*p = append(*p, &Problem{member, fmt.Sprintf(rule, args...)})
	}
}

var (
	clientID   = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,100}$`)
	scopeToken = regexp.MustCompile(`^[!#-\[\]-~]{1,100}$`)
)

func (c *Client) checkNames(all *problems) {
	all.add(clientID.MatchString(c.ID), "client_id", "must be 1 to 100 letters, digits, or . _ ~ -")
	all.add(c.Account != "" && !strings.Contains(c.Account, "|"), "account", `must be an account's id, without "|"`)
	all.add(c.Environment == eid.Test || c.Environment == eid.Live, "environment", `must be "test" or "live"`)
	all.add(c.Name != "" && len(c.Name) <= 200, "client_name", "must be 1 to 200 bytes, for people to read")
	_, known := policies[c.Profile]
	all.add(known, "profile", "must be %s, %s, %s or %s", Signicat, Standard, FAPI2, FAPI2Signed)
	all.add(!c.Hybrid || c.Profile == Signicat, "hybrid", "exists with the profile %s only", Signicat)
	all.add(!c.BareObject || c.Profile == Signicat, "accept_unsigned_request_object", "exists with the profile %s only", Signicat)
	all.add(!c.BareObject || !c.RequireRequest, "accept_unsigned_request_object", "contradicts require_signed_request_object")
	all.add(c.Errors == "" || c.Errors == StandardErrors || c.Errors == SignicatErrors && c.Profile == Signicat,
		"errors", "must be %s, or with the profile %s also %s", StandardErrors, Signicat, SignicatErrors)
	for i, s := range c.Scopes {
		all.add(scopeToken.MatchString(s), fmt.Sprintf("scopes.%d", i), `must be one word without quotes and "\"`)
		all.add(!slices.Contains(c.Scopes[:i], s), fmt.Sprintf("scopes.%d", i), "is there twice")
	}
	all.add(len(c.ACRValues) <= 2048, "acr_values", "must have 2048 bytes at most")
	all.add(!c.ForceACR || c.ACRValues != "", "force_acr_values", "needs acr_values")
}

func (c *Client) checkAddresses(all *problems) {
	lists := []struct {
		member string
		list   []string
	}{{"redirect_uris", c.Redirects}, {"post_logout_redirect_uris", c.Logouts}}
	for _, l := range lists {
		all.add(len(l.list) <= 50, l.member, "must be 50 at most")
		for i, uri := range l.list {
			member := fmt.Sprintf("%s.%d", l.member, i)
			if rule := c.address(uri); rule != "" {
				all.add(false, member, "%s", rule)
			}
			all.add(!slices.Contains(l.list[:i], uri), member, "is there twice")
		}
	}
	all.add(len(c.Redirects) > 0 || c.SandboxReturn, "redirect_uris", "must have at least one")
	all.add(!c.SandboxReturn || c.Environment == eid.Test, "any_loopback", "is for the environment %s only", eid.Test)
	for member, uri := range map[string]string{"backchannel_logout_uri": c.BackLogout, "jwks_uri": c.JWKSURI} {
		if uri == "" {
			continue
		}
		rule := web(uri, "https")
		local := c.Environment == eid.Test && loopback(uri) // programs under development
		all.add(rule == "" || local, member, "%s", rule)
	}
	for i, o := range c.FrameAncestor {
		all.add(origin(o), fmt.Sprintf("frame_ancestors.%d", i), `must be an origin, "https://shop.example"`)
	}
}

func (c *Client) checkAuth(all *problems) {
	const auth = "token_endpoint_auth_method"
	p := c.Policy()
	all.add(len(p.Auth) == 0 || slices.Contains(p.Auth, c.Auth), auth, "must be one of %v", p.Auth) // a profile that is none has none
	secret := c.Auth == SecretBasic || c.Auth == SecretPost
	all.add(!secret || len(c.Secrets) > 0, "secrets", "must have at least one for %s", c.Auth)
	all.add(secret || len(c.Secrets) == 0, "secrets", "must be empty: a client has one method")
	all.add(len(c.Secrets) <= 10, "secrets", "must be 10 at most")
	seen := map[string]bool{}
	for i, s := range c.Secrets {
		member := fmt.Sprintf("secrets.%d", i)
		all.add(s.Name != "" && !seen[s.Name], member+".name", "must be there, and no other's")
		all.add(len(s.Hash) == sha256.Size, member+".hash", "must be a SHA-256")
		seen[s.Name] = true
	}
	keys := c.JWKSURI != "" || len(c.JWKS) > 0 || len(c.Keys) > 0
	all.add(keys || c.Auth != PrivateKeyJWT && c.Auth != SelfSignedTLS, "jwks", "or jwks_uri or keys must be there for %s", c.Auth)
	all.add(c.AuthAlg == "" || c.Auth == PrivateKeyJWT && slices.Contains(p.Algs, c.AuthAlg),
		"token_endpoint_auth_signing_alg", "is for %s, one of %v", PrivateKeyJWT, p.Algs)
	all.add(c.JWKSURI != "" || c.Auth != SelfSignedTLS || !keys || c.certified(), "jwks", "must have a key with its certificate (x5c) for %s", SelfSignedTLS)
	c.Certificate.check(all, c.Auth == TLS)
}

// certified says whether a key of the client's own has a certificate.
func (c *Client) certified() bool {
	keys := keysOf(c.JWKS)
	for _, k := range c.Keys {
		keys = append(keys, k.JWK)
	}
	return slices.ContainsFunc(keys, func(raw json.RawMessage) bool {
		var k struct {
			Chain []string `json:"x5c"`
		}
		return json.Unmarshal(raw, &k) == nil && len(k.Chain) > 0
	})
}

func (c *Client) checkKeys(all *problems) {
	all.add(c.JWKSURI == "" || len(c.JWKS) == 0 && len(c.Keys) == 0, "jwks_uri", "excludes jwks and keys")
	all.add(len(c.JWKS) <= 64<<10, "jwks", "must have 64 KiB at most")
	if len(c.JWKS) > 0 {
		keys := keysOf(c.JWKS)
		all.add(len(keys) > 0, "jwks", "must be a JWK set with at least one key")
		for i, k := range keys {
			all.add(publicKey(k), fmt.Sprintf("jwks.keys.%d", i), "%s", publicKeyRule)
		}
	}
	all.add(len(c.Keys) <= 20, "keys", "must be 20 at most")
	for i, k := range c.Keys {
		member := fmt.Sprintf("keys.%d", i)
		all.add(k.Name != "", member+".name", "must be there")
		all.add(publicKey(k.JWK), member+".jwk", "%s", publicKeyRule)
		all.add(k.NotAfter.IsZero() || k.NotAfter.After(k.NotBefore), member+".not_after", "must be after not_before")
	}
}

const publicKeyRule = "must be a public key: kty RSA, EC or OKP, and no private or secret member"

// publicKey says whether a JWK may be one; who uses it checks the rest.
func publicKey(raw json.RawMessage) bool {
	var k map[string]json.RawMessage
	if json.Unmarshal(raw, &k) != nil {
		return false
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, there := k[private]; there {
			return false
		}
	}
	kty := string(k["kty"])
	return kty == `"RSA"` || kty == `"EC"` || kty == `"OKP"`
}

var (
	keyAlgs     = []string{"RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW"}
	contentAlgs = []string{"A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A256GCM"}
)

func (c *Client) checkTokens(all *problems) {
	p := c.Policy()
	all.add(c.RequestAlg == "" || slices.Contains(p.Algs, c.RequestAlg), "request_object_signing_alg", "must be one of %v", p.Algs)
	all.add(c.IDTokenAlg == "" || slices.Contains(p.Signs, c.IDTokenAlg), "id_token_signed_response_alg", "must be one of %v", p.Signs)
	all.add(c.UserinfoAlg == "" || slices.Contains(p.Signs, c.UserinfoAlg), "userinfo_signed_response_alg", "must be one of %v", p.Signs)
	keys := c.JWKSURI != "" || len(c.JWKS) > 0 || len(c.Keys) > 0
	encs := []struct {
		member string
		e      Encryption
		need   bool
		why    string
	}{
		{"id_token_encryption", c.IDTokenEnc, c.EncryptIDToken, "require_encrypted_id_token"},
		{"userinfo_encryption", c.UserinfoEnc, c.Userinfo == Encrypted || c.Userinfo == SignedAndEncrypted, "userinfo_response"},
	}
	for _, e := range encs {
		all.add(e.e.Alg == "" && !e.need || slices.Contains(keyAlgs, e.e.Alg), e.member+".alg", "must be one of %v, for %s", keyAlgs, e.why)
		all.add(e.e.Enc == "" || slices.Contains(contentAlgs, e.e.Enc), e.member+".enc", "must be one of %v", contentAlgs)
		all.add(e.e.Enc == "" || e.e.Alg != "", e.member+".enc", "needs an alg")
		all.add(e.e.Alg == "" || keys, e.member, "needs a key of the client")
	}
	all.add(slices.Contains([]UserData{"", Minimal, StandardScopes, All}, c.UserData),
		"id_token_user_data", "must be %s, %s or %s", Minimal, StandardScopes, All)
	all.add(slices.Contains([]UserinfoResponse{"", JSON, Signed, Encrypted, SignedAndEncrypted}, c.Userinfo),
		"userinfo_response", "must be %s, %s, %s or %s", JSON, Signed, Encrypted, SignedAndEncrypted)
}

func (c *Client) checkLifetimes(all *problems) {
	l := c.Lifetimes
	longest := 10 * time.Minute
	if p := c.Policy(); p.Code > 0 {
		longest = p.Code
	}
	const year = 366 * 24 * time.Hour
	for _, b := range []struct {
		member       string
		d, low, high time.Duration
	}{
		{"code", l.Code, 15 * time.Second, longest},
		{"id_token", l.IDToken, time.Minute, 24 * time.Hour},
		{"access_token", l.AccessToken, time.Minute, 24 * time.Hour},
		{"refresh", l.Refresh, time.Minute, year},
		{"refresh_sliding", l.RefreshSliding, time.Minute, year},
		{"sso", l.SSO, time.Minute, 24 * time.Hour},
	} {
		all.add(b.d == 0 || b.d >= b.low && b.d <= b.high, "lifetimes."+b.member, "must be %v to %v", b.low, b.high)
	}
}
