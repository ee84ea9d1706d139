package oidcrp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"eidgate/internal/cache"
	"eidgate/internal/jose"
)

// How long what providers publish is kept (§1).
const (
	metadataFresh = time.Hour
	metadataStale = 24 * time.Hour // where no newer one can be had
	keysFresh     = time.Hour      // and not asked for more often, but for an unknown kid
	keysUnknown   = time.Minute    // between two such questions
	retry         = 5 * time.Second
	providers     = 1024 // remembered at the same time
)

// A Directory keeps what providers publish, metadata and keys, for all clients
// of a process: ten thousand accounts at one provider share one copy.
type Directory struct {
	http   *http.Client
	now    func() time.Time
	remote *jose.Remote
	mu     sync.Mutex // guards that a provider is made once
	known  *cache.Cache[agreed, *provider]
}

// agreed is what clients must agree on to share metadata: what one of them
// refuses, or takes, is nothing to the others.
type agreed struct {
	metadata, issuer string
	allowHTTP        bool
}

// NewDirectory makes an empty one. The transport bounds connecting; calls have
// deadlines of their own.
func NewDirectory(transport http.RoundTripper, now func() time.Time) *Directory {
	d := &Directory{now: now, known: cache.New[agreed, *provider](providers), http: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	d.remote = jose.NewRemote(d.fetch, now, providers).Keep(keysFresh, keysUnknown)
	return d
}

func (d *Directory) keys(address string) jose.Keys { return d.remote.Party(address) }

// fetch reads a document that a provider publishes. Its errors are never Sent:
// that it was asked for has spent nothing.
func (d *Directory) fetch(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, &Error{Kind: BadMetadata, Err: errNoURL}
	}
	req.Header.Set("Accept", "application/json")
	a, err := do(ctx, d.http, req)
	if e, ok := errors.AsType[*Error](err); ok {
		e.Sent = false
	}
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, &Error{Kind: BadStatus, Status: a.status}
	}
	return a.body, nil
}

// Metadata is what a provider publishes of itself (section 3 of OpenID Connect Discovery).
type Metadata struct {
	Issuer, Authorization, Token, UserInfo, JWKS, PAR, EndSession string
}

// A provider is the metadata at one address, as agreed.
type provider struct {
	mu   sync.Mutex // held while the first copy is fetched: others wait for the same answer
	meta *Metadata
	at   time.Time
	err  error
	next time.Time // not to be asked for before
	busy bool      // a newer copy is being fetched
}

// Metadata is what the provider publishes of itself: at most an hour old, or a
// day where no newer copy can be had. Nobody waits for a newer one.
func (c *Client) Metadata(ctx context.Context) (*Metadata, error) {
	p, now := c.dir.provider(agreed{c.c.Metadata, c.c.Issuer, c.c.AllowHTTP}), c.dir.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.meta == nil || now.Sub(p.at) >= metadataStale {
		if !now.Before(p.next) {
			m, err := c.fetch(ctx)
			p.keep(m, err, now)
		}
		if p.err != nil {
			return nil, p.err
		}
		return p.meta, nil
	}
	if now.Sub(p.at) >= metadataFresh && !now.Before(p.next) && !p.busy {
		p.busy = true
		go func() {
			m, err := c.fetch(context.WithoutCancel(ctx)) // it has a deadline of its own
			p.mu.Lock()
			defer p.mu.Unlock()
			p.keep(m, err, now)
			p.busy = false
		}()
	}
	return p.meta, nil
}

// keep is what was fetched, or why not. The lock is held.
func (p *provider) keep(m *Metadata, err error, now time.Time) {
	if p.err = err; err == nil {
		p.meta, p.at, p.next = m, now, time.Time{}
		return
	}
	if !errors.Is(err, context.Canceled) {
		p.next = now.Add(retry)
	}
}

func (d *Directory) provider(a agreed) *provider {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.known.Get(a)
	if !ok {
		p = &provider{}
		d.known.Put(a, p)
	}
	return p
}

// fetch reads the metadata anew.
func (c *Client) fetch(ctx context.Context) (*Metadata, error) {
	raw, err := c.dir.fetch(ctx, c.c.Metadata)
	if err != nil {
		return nil, err
	}
	return c.parse(raw)
}

func (c *Client) parse(raw []byte) (*Metadata, error) {
	all, err := jose.Object(raw)
	if err != nil {
		return nil, &Error{Kind: BadMetadata, Err: err}
	}
	m := &Metadata{}
	for name, at := range map[string]*string{"issuer": &m.Issuer, "authorization_endpoint": &m.Authorization, "token_endpoint": &m.Token,
		"userinfo_endpoint": &m.UserInfo, "jwks_uri": &m.JWKS, "pushed_authorization_request_endpoint": &m.PAR, "end_session_endpoint": &m.EndSession} {
		if all[name] != nil && json.Unmarshal(all[name], at) != nil {
			return nil, &Error{Kind: BadMetadata, Err: errForm}
		}
		optional := name == "userinfo_endpoint" || name == "pushed_authorization_request_endpoint" || name == "end_session_endpoint"
		if *at == "" && optional {
			continue
		}
		if u, err := url.Parse(*at); err != nil || !secure(u, c.c.AllowHTTP) || u.Fragment != "" {
			return nil, &Error{Kind: BadMetadata, Err: errNoURL}
		}
	}
	if m.Issuer != c.c.Issuer {
		return nil, &Error{Kind: WrongIssuer}
	}
	return m, nil
}
