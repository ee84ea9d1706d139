package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/eid"
	"eidgate/relying"
	"eidgate/sandbox/control"
)

// Find implements control.Sessions.
func (s *sessions) Find(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, s.public+"/") {
		return "", false
	}
	if rest, ok := strings.CutPrefix(u.Path, loginRoot); ok {
		id, _, _ := strings.Cut(rest, "/")
		return id, true
	}
	id, _, _ := hostedPath(u.Path)
	return id, id != ""
}

// Deliveries implements control.Sessions.
func (s *sessions) Deliveries(ctx context.Context, session string) ([]control.Delivery, error) {
	ids := []string{session}
	if session == "" {
		latest, err := s.c.store.List(ctx, "", "", 100)
		if err != nil {
			return nil, err
		}
		ids = nil
		for _, n := range latest {
			ids = append(ids, n.ID)
		}
	} else if _, err := s.session(ctx, session); err != nil {
		return nil, err
	}
	var out []control.Delivery
	for _, id := range ids {
		all, err := s.deliveries(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, all...)
	}
	return out, nil
}

func (s *sessions) deliveries(ctx context.Context, session string) ([]control.Delivery, error) {
	sent, err := s.c.store.Outbox(ctx, session)
	if err != nil || len(sent) == 0 {
		return nil, err
	}
	tries, err := s.c.store.Deliveries(ctx, session)
	if err != nil {
		return nil, err
	}
	var out []control.Delivery
	for _, d := range sent {
		c := control.Delivery{ID: d.ID, Session: d.Session, Account: d.Account, Kind: d.Kind, Type: d.Type, State: d.State, Due: d.Due, Attempts: []control.Attempt{}}
		if u, err := url.Parse(d.URL); err == nil {
			c.Host = u.Host
		}
		if json.Valid(d.Body) {
			c.Body = d.Body
		}
		for _, a := range tries {
			if a.ID == d.ID {
				c.Attempts = append(c.Attempts, control.Attempt{At: a.At, Took: a.Took.Seconds(), State: a.State, Status: a.Status, Reason: a.Reason})
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// madeHere begins the ids of accounts that the control API makes.
const madeHere = "5a4db0c5-0000-4000-9"

// HasAccount implements control.Sessions.
func (s *sessions) HasAccount(ctx context.Context, id string) error {
	_, err := s.c.store.Account(ctx, id)
	if errors.Is(err, relying.ErrUnknown) {
		return control.ErrNoAccount
	}
	return err
}

// NewAccount implements control.Sessions. Its key has the same id, so that it
// can be found again.
func (s *sessions) NewAccount(ctx context.Context, a control.Account) (control.Account, error) {
	var b [46]byte
	_, _ = rand.Read(b[:]) // never fails
	text := hex.EncodeToString(b[:14])
	a.ID = madeHere + text[:3] + "-" + text[3:15]
	a.Key = sandboxKeyPrefix + text[15:27]
	a.WebhookSecret = "whsec_" + base64.StdEncoding.EncodeToString(b[14:])
	if a.Name == "" {
		a.Name = "Test shop " + text[:3]
	}
	err := s.c.store.PutAccount(ctx, &relying.Account{ID: a.ID, Name: a.Name, Language: "en", WebhookSecrets: []relying.Secret{relying.Secret(a.WebhookSecret)}, Auto: string(a.Auto)})
	if err != nil {
		return a, err
	}
	return a, s.c.store.PutKey(ctx, relying.Key{ID: a.ID, Account: a.ID, Environment: eid.Test, Created: time.Now()}, a.Key, true)
}

// madeClient begins the ids of clients that the control API makes.
const madeClient = "sandbox-"

// A newClient is a client as it came to be, with the secret that only this
// answer shows.
type newClient struct {
	*relying.Client
	Secret string `json:"client_secret,omitempty"`
	Issuer string `json:"issuer"`
}

// NewClient implements control.Sessions. A client is the demo account's, speaks
// the standard's dialect and has a secret, unless it says otherwise.
func (s *sessions) NewClient(ctx context.Context, said json.RawMessage) (any, error) {
	c := &relying.Client{}
	d := json.NewDecoder(bytes.NewReader(said))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("%w: %w", control.ErrClient, err)
	}
	if c.ID != "" || len(c.Secrets) > 0 || c.Environment != "" {
		return nil, fmt.Errorf("%w: client_id, secrets and environment are not for the caller to choose", control.ErrClient)
	}
	c.Account, c.Name, c.Profile = cmp.Or(c.Account, sandboxAccount), cmp.Or(c.Name, "Test client"), cmp.Or(c.Profile, relying.Signicat)
	c.Auth = cmp.Or(c.Auth, relying.SecretBasic)
	if c.Account != sandboxAccount && !strings.HasPrefix(c.Account, madeHere) {
		return nil, control.ErrNoAccount
	}
	if err := s.HasAccount(ctx, c.Account); err != nil {
		return nil, err
	}
	c.Environment, c.ID = eid.Test, madeClient+strings.ToLower(rand.Text()[:12])
	out := newClient{Client: c, Issuer: s.public + oidc.Root}
	if c.Auth == relying.SecretBasic || c.Auth == relying.SecretPost {
		out.Secret = rand.Text() + rand.Text()
		c.Secrets = []relying.ClientSecret{{Name: "sandbox", Hash: relying.HashSecret(out.Secret), Created: time.Now()}}
	}
	if err := errors.Join(c.Check(), s.shows(c)); err != nil {
		return nil, fmt.Errorf("%w: %w", control.ErrClient, err)
	}
	if err := s.c.store.PutClient(ctx, c); err != nil {
		return nil, err
	}
	c.Secrets = nil // the hash is of no use to the caller
	return out, nil
}

// shows says what a client with a certificate lacks here.
func (s *sessions) shows(c *relying.Client) error {
	switch needs := c.BoundTLS || c.Auth == relying.TLS || c.Auth == relying.SelfSignedTLS; {
	case needs && s.c.mtls == nil:
		return errors.New("certificates can be shown to a sandbox that has --mtls-url")
	case c.Auth == relying.TLS && c.Certificate.Roots == "":
		return errors.New("certificate.roots: must be there, in PEM: the sandbox believes nobody by itself")
	}
	return nil
}

// DropAccount implements control.Sessions. What still runs is ended first.
func (s *sessions) DropAccount(ctx context.Context, id string) error {
	if !strings.HasPrefix(id, madeHere) {
		return control.ErrNoAccount
	}
	if err := s.HasAccount(ctx, id); err != nil {
		return err
	}
	for _, state := range []broker.State{broker.Created, broker.Started, broker.Confirmed} {
		running, err := s.c.store.List(ctx, id, string(state), 10_000)
		if err != nil {
			return err
		}
		for _, n := range running {
			if err := s.c.broker.Stop(ctx, n.ID); err != nil {
				return err
			}
		}
	}
	return s.c.store.Remove(ctx, id, id)
}
