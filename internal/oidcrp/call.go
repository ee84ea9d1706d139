package oidcrp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"eidgate/internal/jose"
)

const (
	callTime  = 8 * time.Second // of one call, whatever the context says
	maxAnswer = 256 << 10       // bytes that are read of an answer
)

// An answer is what an endpoint said.
type answer struct {
	status int
	kind   string // media type
	body   []byte
}

// do makes one call. It follows no redirect, repeats nothing, and reads at most
// maxAnswer.
func do(ctx context.Context, over *http.Client, req *http.Request) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	res, err := over.Do(req.WithContext(ctx))
	if err != nil {
		return nil, netError(err, sent.Load())
	}
	defer func() { _ = res.Body.Close() }() // it was read
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		return nil, &Error{Kind: Redirected, Status: res.StatusCode, Sent: true}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, netError(err, true)
	}
	if len(body) > maxAnswer {
		return nil, &Error{Kind: TooLarge, Sent: true}
	}
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	return &answer{res.StatusCode, kind, body}, nil
}

// post sends a form to an endpoint, with the proof of who we are.
func (c *Client) post(ctx context.Context, m *Metadata, where, address string, form url.Values) (*answer, error) {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	switch c.c.Auth {
	case SecretBasic: // RFC 6749, section 2.3.1: both halves are form-encoded first
		pair := url.QueryEscape(c.c.ClientID) + ":" + url.QueryEscape(c.c.Secret)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case SecretPost:
		form.Set("client_id", c.c.ClientID)
		form.Set("client_secret", c.c.Secret)
	case PrivateKeyJWT:
		proof, err := c.assertion(ctx, m)
		if err != nil {
			return nil, err
		}
		form.Set("client_id", c.c.ClientID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", proof)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, &Error{Kind: BadMetadata, Err: errNoURL}
	}
	req.Header = header
	a, err := do(ctx, c.http, req)
	if err != nil {
		return nil, err
	}
	if a.status >= 400 {
		return nil, refused(where, a)
	}
	if a.status != http.StatusOK && (where != "pushed" || a.status != http.StatusCreated) {
		return nil, &Error{Kind: BadStatus, Status: a.status, Sent: true}
	}
	if a.kind != "application/json" {
		return nil, &Error{Kind: ContentType, Sent: true}
	}
	return a, nil
}

// refused reads an error answer of RFC 6749, section 5.2.
func refused(where string, a *answer) error {
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if a.status >= 500 || json.Unmarshal(a.body, &said) != nil || said.Error == "" {
		return &Error{Kind: BadStatus, Status: a.status, Sent: true}
	}
	return &Refused{Where: where, Code: said.Error, Description: said.Description, Status: a.status}
}

// assertion is our signed word for the token and PAR endpoints (RFC 7523).
func (c *Client) assertion(ctx context.Context, m *Metadata) (string, error) {
	now := c.dir.now()
	audience := c.c.Issuer
	if c.c.AssertionAudience == "token" {
		audience = m.Token
	}
	return c.sign(ctx, m, map[string]any{"iss": c.c.ClientID, "sub": c.c.ClientID, "aud": audience, "jti": random(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix()}, c.c.EncryptAssertion)
}

// push sends a request before the browser goes there (RFC 9126).
func (c *Client) push(ctx context.Context, m *Metadata, r Request, all url.Values) (string, error) {
	if m.PAR == "" {
		return "", &Error{Kind: BadMetadata, Err: errNoPAR}
	}
	form := texts(all, r.Objects)
	if r.By == PushedSigned {
		object, err := c.object(ctx, m, all, r.Objects, false)
		if err != nil {
			return "", err
		}
		form = url.Values{"client_id": {c.c.ClientID}, "request": {object}}
	}
	a, err := c.post(ctx, m, "pushed", m.PAR, form)
	if err != nil {
		return "", err
	}
	var out struct {
		URI string `json:"request_uri"`
	}
	if err := json.Unmarshal(a.body, &out); err != nil || out.URI == "" || len(out.URI) > 1024 {
		return "", &Error{Kind: BadResponse, Err: errForm}
	}
	return out.URI, nil
}

// Redeem makes the token call, which works once, and returns the answer as it
// came, so that it can be kept before it is read (§4).
func (c *Client) Redeem(ctx context.Context, l *Login, code string) (raw []byte, err error) {
	m, err := c.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {l.RedirectURI}}
	if l.Verifier != "" {
		form.Set("code_verifier", l.Verifier)
	}
	a, err := c.post(ctx, m, "token", m.Token, form)
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// UserInfo fetches what the provider says of the person, and checks that it is
// the one of the ID token (§6).
func (c *Client) UserInfo(ctx context.Context, t *Tokens) (*Info, error) {
	m, err := c.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	if m.UserInfo == "" {
		return nil, &Error{Kind: BadMetadata, Err: errNoURL}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.UserInfo, nil)
	if err != nil {
		return nil, &Error{Kind: BadMetadata, Err: errNoURL}
	}
	req.Header.Set("Authorization", "Bearer "+t.Access)
	req.Header.Set("Accept", "application/json, application/jwt")
	a, err := do(ctx, c.http, req)
	switch {
	case err != nil:
		return nil, err
	case a.status != http.StatusOK:
		return nil, &Error{Kind: BadStatus, Status: a.status, Sent: true}
	}
	return c.info(ctx, m, t, a)
}

// Post asks a service of the provider's own, at a path below its issuer, in the
// name of who has logged in. Both sides speak JSON; a refusal is a status.
func (c *Client) Post(ctx context.Context, t *Tokens, path string, in any) (status int, body []byte, err error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return 0, nil, &Error{Kind: BadConfig, Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.c.Issuer, "/")+path, bytes.NewReader(raw))
	if err != nil {
		return 0, nil, &Error{Kind: BadConfig, Err: errNoURL}
	}
	req.Header.Set("Authorization", "Bearer "+t.Access)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	a, err := do(ctx, c.http, req)
	if err != nil {
		return 0, nil, err
	}
	if a.status >= 500 {
		return 0, nil, &Error{Kind: BadStatus, Status: a.status, Sent: true}
	}
	return a.status, a.body, nil
}

func (c *Client) info(ctx context.Context, m *Metadata, t *Tokens, a *answer) (*Info, error) {
	out := &Info{}
	p, body := c.c.UserInfo, strings.TrimSpace(string(a.body))
	if strings.HasPrefix(body, "{") { // what it is its form says: not every provider has the right Content-Type
		if !p.Plain {
			return nil, &Error{Kind: BadUserInfo, Err: errors.New("not signed")}
		}
		members, err := jose.Object(a.body)
		if err != nil {
			return nil, &Error{Kind: BadUserInfo, Err: err}
		}
		out.Claims = members
	} else {
		v, signed, err := c.open(ctx, m, p, body, BadUserInfo)
		if err != nil {
			return nil, err
		}
		cl, err := v.Claims()
		if err != nil {
			return nil, tokenError(err, BadUserInfo)
		}
		if err := c.says(p, cl, m.UserInfo); err != nil {
			return nil, err
		}
		out.Claims, out.Signed = cl.Raw, signed
	}
	var sub string
	if json.Unmarshal(out.Claims["sub"], &sub) != nil || sub == "" || sub != t.ID.Subject {
		return nil, &Error{Kind: OtherSubject}
	}
	return out, nil
}

// says checks whose word a signed UserInfo is, for whom and when.
func (c *Client) says(p Protection, cl *jose.Claims, endpoint string) error {
	issuer := p.Issuer
	if issuer == "" {
		issuer = c.c.Issuer
	}
	ours := cl.Issuer == issuer
	if issuer == OfEndpoint {
		ours = cl.Issuer == endpoint || below(endpoint, cl.Issuer)
	}
	switch {
	case !ours:
		return &Error{Kind: WrongIssuer}
	case len(cl.Audience) > 0 && !slices.Contains(cl.Audience, c.c.ClientID):
		return &Error{Kind: Audience}
	}
	if err := cl.Times(jose.Window{Now: c.dir.now(), Skew: skew}); err != nil {
		return tokenError(err, BadUserInfo)
	}
	return nil
}

// below says whether an address is one of a service at another address.
func below(address, service string) bool {
	u, err := url.Parse(service)
	return err == nil && u.Host != "" && strings.HasPrefix(address, strings.TrimSuffix(service, "/")+"/")
}
