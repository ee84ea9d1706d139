package oidcrp

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"eidgate/internal/jose"
)

// Answer reads the response that a browser brings (§4): the code, or *Refused
// where the provider says no. Whose answer it is is looked at first.
func (c *Client) Answer(l *Login, q url.Values) (code string, err error) {
	for _, name := range []string{"state", "code", "iss", "error", "error_description"} {
		if len(q[name]) > 1 {
			return "", &Error{Kind: Duplicate}
		}
	}
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(l.State)) != 1 {
		return "", &Error{Kind: WrongState}
	}
	if iss := q.Get("iss"); (q.Has("iss") || c.c.RequireIss && q.Get("error") == "") && iss != c.c.Issuer {
		return "", &Error{Kind: MixUp}
	}
	if e := q.Get("error"); e != "" && q.Has("code") { // both a yes and a no
		return "", &Error{Kind: Duplicate}
	} else if e != "" {
		return "", &Refused{Where: "authorization", Code: e, Description: q.Get("error_description")}
	}
	code = q.Get("code")
	switch {
	case code == "":
		return "", &Error{Kind: Missing}
	case len(code) > 4096:
		return "", &Error{Kind: TooLarge}
	}
	return code, nil
}

// Tokens are what a code was good for. They are secrets, and personal.
type Tokens struct {
	Access  string
	Expires time.Time // of Access; zero where the provider does not say
	ID      *jose.Claims
	Signed  string // the ID token as it was signed: evidence
}

// LogValue hides them.
func (Tokens) LogValue() slog.Value { return slog.StringValue("tokens") }

func (Tokens) String() string { return "tokens" }

// GoString is String.
func (t Tokens) GoString() string { return t.String() }

// Info is what UserInfo said of the person.
type Info struct {
	Claims map[string]json.RawMessage
	Signed string // as it was signed: evidence; "" for plain JSON
}

// LogValue hides it.
func (Info) LogValue() slog.Value { return slog.StringValue("userinfo") }

func (Info) String() string { return "userinfo" }

// GoString is String.
func (i Info) GoString() string { return i.String() }

// Read checks a token response, which came at a moment that may be past, and the
// ID token in it (§5).
func (c *Client) Read(ctx context.Context, l *Login, raw []byte, came time.Time) (*Tokens, error) {
	m, err := c.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	all, err := jose.Object(raw)
	if err != nil {
		return nil, &Error{Kind: BadResponse, Err: err}
	}
	text := func(name string) (s string) {
		_ = json.Unmarshal(all[name], &s) // what is no text is as if it were not there
		return s
	}
	t := &Tokens{Access: text("access_token")}
	id := text("id_token")
	if t.Access == "" || id == "" || !strings.EqualFold(text("token_type"), "bearer") {
		return nil, &Error{Kind: BadResponse, Err: errForm}
	}
	var seconds json.Number
	if json.Unmarshal(all["expires_in"], &seconds) == nil {
		if n, err := seconds.Int64(); err == nil && n > 0 && n < 1<<31 {
			t.Expires = came.Add(time.Duration(n) * time.Second)
		}
	}
	v, signed, err := c.open(ctx, m, c.c.IDToken, id, BadIDToken)
	if err != nil {
		return nil, err
	}
	t.Signed = signed
	if t.ID, err = v.Claims(); err != nil {
		return nil, tokenError(err, BadIDToken)
	}
	if err := c.check(l, t, v.Header.Alg, came); err != nil {
		return nil, err
	}
	return t, nil
}

// open decrypts a token where it is encrypted, as it may or must be, and checks
// its signature.
func (c *Client) open(ctx context.Context, m *Metadata, p Protection, token string, kind Kind) (v *jose.Verified, signed string, err error) {
	sealed := strings.Count(token, ".") == 4
	if sealed && p.Encrypted == Never || !sealed && p.Encrypted == Must {
		return nil, "", &Error{Kind: Encryption, Err: errForm}
	}
	if sealed {
		if token, err = c.c.Keys.Decrypt(token, jose.Opening{}); err != nil {
			if e, ok := errors.AsType[*jose.Error](err); ok && e.Kind == jose.NoKey { // ours, so waiting does not help
				return nil, "", &Error{Kind: Encryption, Err: err}
			}
			return nil, "", tokenError(err, Encryption)
		}
	}
	v, err = jose.Verify(ctx, token, jose.Rule{Algs: p.Algs, Typ: []string{"JWT", "JOSE"}, Keys: c.dir.keys(m.JWKS)})
	if err != nil {
		return nil, "", tokenError(err, kind)
	}
	return v, token, nil
}

// check is section 3.1.3.7 of OpenID Connect Core.
func (c *Client) check(l *Login, t *Tokens, alg string, came time.Time) error {
	text := func(name string) (s string) {
		_ = json.Unmarshal(t.ID.Raw[name], &s) // a claim of another type is none
		return s
	}
	switch azp := text("azp"); {
	case t.ID.Issuer != c.c.Issuer:
		return &Error{Kind: WrongIssuer}
	case !slices.Contains(t.ID.Audience, c.c.ClientID), len(t.ID.Audience) > 1 && azp == "", t.ID.Raw["azp"] != nil && azp != c.c.ClientID:
		return &Error{Kind: Audience}
	case t.ID.Subject == "" || len(t.ID.Subject) > 255:
		return &Error{Kind: BadIDToken, Err: errForm}
	case subtle.ConstantTimeCompare([]byte(t.ID.Nonce), []byte(l.Nonce)) != 1:
		return &Error{Kind: WrongNonce}
	}
	if t.ID.NotBefore.Unix() == 0 { // older Keycloaks say so for none
		t.ID.NotBefore = time.Time{}
	}
	if err := t.ID.Times(jose.Window{Now: came, Skew: skew, Need: []string{"exp", "iat"}, Ahead: 24 * time.Hour, Age: 24 * time.Hour}); err != nil {
		return tokenError(err, BadIDToken)
	}
	if t.ID.Raw["at_hash"] != nil && text("at_hash") != half(alg, t.Access) {
		return &Error{Kind: WrongHash}
	}
	return nil
}

// half is the left half of a token's hash, by the hash of a signature.
func half(alg, token string) string {
	var sum []byte
	switch {
	case strings.HasSuffix(alg, "384"):
		s := sha512.Sum384([]byte(token))
		sum = s[:]
	case strings.HasSuffix(alg, "512") || alg == "EdDSA" || alg == "Ed25519":
		s := sha512.Sum512([]byte(token))
		sum = s[:]
	default:
		s := sha256.Sum256([]byte(token))
		sum = s[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
