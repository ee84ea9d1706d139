// Package idinage proves that a person is 18 or older, and nothing else, behind
// the selector that parties know from AgeChecked. Two upstreams can answer,
// chosen in the settings: AgeChecked itself (docs/protocols/agechecked.md), and
// the party's own contract for iDIN with the one attribute that says so
// (docs/protocols/idin.md §6). Both give a check a number and one of AgeChecked's
// statuses. A person whose age is not known has not proven it.
package idinage

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"eidgate/connector"
	"eidgate/connector/idin"
	"eidgate/eid"
	"eidgate/internal/cache"
	"eidgate/internal/circuit"
)

// Settings choose the upstream; exactly one is set.
type Settings struct {
	IDIN       *idin.Settings `json:"idin,omitempty"`
	AgeChecked *AgeChecked    `json:"agechecked,omitempty"`
}

// LogValue hides the keys.
func (s Settings) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (Settings) String() string { return "settings of the age check" }

// Check finds what is wrong with settings before anybody uses them.
func (s Settings) Check() error {
	switch {
	case (s.IDIN == nil) == (s.AgeChecked == nil):
		return errors.New("the age check needs one upstream: iDIN or AgeChecked")
	case s.IDIN != nil:
		return s.IDIN.Check()
	}
	_, err := s.AgeChecked.client(http.DefaultTransport)
	return err
}

// The statuses that we give ourselves; the others are AgeChecked's.
const (
	approved    = 6
	notApproved = 17
)

// A Connector is the age check for any number of parties.
type Connector struct {
	// Watch, if any, learns of each request to an upstream.
	Watch func(operation, result string, took time.Duration)

	circuits  *circuit.Board
	now       func() time.Time
	idin      *idin.Connector
	transport *http.Transport
	parsed    *cache.Cache[string, *parsed]
}

// parsed is one version of the settings.
type parsed struct {
	idin *connector.Settings // of that connector; nil for AgeChecked
	age  *ageClient
}

// New makes a connector whose clock is now.
func New(now func() time.Time) *Connector {
	c := &Connector{now: now, idin: idin.New(now), parsed: cache.New[string, *parsed](1024), transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second}}
	c.idin.Watch = func(operation, result string, took time.Duration) { c.watch(operation, result, took) }
	return c
}

// Trust says whom to believe to be an upstream; nil for the system's roots. It
// comes before every other call.
func (c *Connector) Trust(roots *x509.CertPool) {
	c.idin.Trust(roots)
	c.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

// Guard has a board keep calls away from upstreams that do not answer. It comes
// before every other call.
func (c *Connector) Guard(b *circuit.Board) { c.circuits, c.idin.Circuits = b, b }

func (c *Connector) watch(operation, result string, took time.Duration) {
	if c.Watch != nil && result != notMade {
		c.Watch(operation, result, took)
	}
}

// Info implements connector.Connector.
func (c *Connector) Info() connector.Info {
	info := c.idin.Info()
	info.EID, info.Purposes = eid.IDINAge, []eid.Purpose{eid.Age}
	return info
}

func (c *Connector) settings(s connector.Settings) (*parsed, error) {
	if p, ok := c.parsed.Get(s.Key); ok {
		return p, nil
	}
	var set Settings
	if err := json.Unmarshal(s.Data, &set); err != nil {
		return nil, &connector.Unknown{Reason: eid.Refused, Err: errors.New("settings of the age check are not readable")}
	}
	p := &parsed{}
	switch {
	case set.IDIN != nil:
		raw, err := json.Marshal(set.IDIN)
		if err != nil {
			return nil, err
		}
		p.idin = &connector.Settings{Key: s.Key, Data: raw}
	case set.AgeChecked != nil:
		cl, err := set.AgeChecked.client(c.circuits.Guard(c.transport))
		if err != nil {
			return nil, &connector.Unknown{Reason: eid.Refused, Err: err}
		}
		p.age = cl
	default:
		return nil, &connector.Unknown{Reason: eid.Refused, Err: errors.New("the age check has no upstream")}
	}
	c.parsed.Put(s.Key, p)
	return p, nil
}

// Contract implements connector.Lister; AgeChecked has banks of its own.
func (c *Connector) Contract(s connector.Settings) (string, error) {
	p, err := c.settings(s)
	if err != nil || p.idin == nil {
		return "", err
	}
	return c.idin.Contract(*p.idin)
}

// List implements connector.Lister.
func (c *Connector) List(ctx context.Context, s connector.Settings) (*connector.List, error) {
	p, err := c.settings(s)
	if err != nil {
		return nil, err
	}
	if p.idin == nil {
		return nil, errors.New("AgeChecked has no list")
	}
	return c.idin.List(ctx, *p.idin)
}

// Locate implements connector.Locator.
func (c *Connector) Locate(in connector.Inbound) (connector.Ref, error) {
	if in.Query.Has(tokenName) {
		return locate(in)
	}
	return c.idin.Locate(in)
}

// Screen implements connector.Screener; who comes from AgeChecked has shown our
// token to be found at all.
func (c *Connector) Screen(s connector.Settings, state []byte, in connector.Inbound) *connector.Reply {
	if p, err := c.settings(s); err == nil && p.idin != nil {
		return c.idin.Screen(*p.idin, state, in)
	}
	return nil
}

// Front implements connector.Fronter: banks, or nothing to ask.
func (c *Connector) Front(r *connector.Request) connector.Ask {
	p, err := c.settings(r.Settings)
	if err != nil || p.idin == nil {
		return connector.Ask{Auto: r.Failed == nil, Form: connector.Form{Name: "idinage"}}
	}
	return c.idin.Front(c.alone(r, p))
}

// alone is the request as iDIN gets it: whether the person is an adult, and
// nothing else.
func (c *Connector) alone(r *connector.Request, p *parsed) *connector.Request {
	next := *r
	next.Purpose, next.Wanted, next.Settings = eid.Age, []string{eid.WantAdult}, *p.idin
	return &next
}

// Begin implements connector.Connector.
func (c *Connector) Begin(ctx context.Context, r *connector.Request) (connector.Result, error) {
	p, err := c.settings(r.Settings)
	if err != nil {
		return connector.Result{}, err
	}
	if p.idin == nil {
		return c.begin(ctx, r, p.age)
	}
	res, err := c.idin.Begin(ctx, c.alone(r, p))
	if err == nil {
		res.Refs = append(res.Refs, checkRef(number(r.Order)))
	}
	return c.proven(r, res), err
}

// Resume implements connector.Connector.
func (c *Connector) Resume(ctx context.Context, r *connector.Request, state []byte, e connector.Event) (connector.Result, error) {
	p, err := c.settings(r.Settings)
	if err != nil {
		return connector.Result{}, err
	}
	if p.idin == nil {
		return c.resume(ctx, p.age, state, e)
	}
	res, err := c.idin.Resume(ctx, c.alone(r, p), state, e)
	return c.proven(r, res), err
}

// Duty implements connector.Collector; only iDIN is owed something, and an
// order of AgeChecked has a state that it does not know.
func (c *Connector) Duty(state []byte, now time.Time) *connector.Duty { return c.idin.Duty(state, now) }

// Collect implements connector.Collector.
func (c *Connector) Collect(ctx context.Context, s connector.Settings, state []byte, now time.Time) (*connector.Duty, string) {
	p, err := c.settings(s)
	if err != nil || p.idin == nil {
		return nil, "not_configured"
	}
	return c.idin.Collect(ctx, *p.idin, state, now)
}

// proven turns what iDIN says into a check: of the person nothing is left but
// the answer.
func (c *Connector) proven(r *connector.Request, res connector.Result) connector.Result {
	if res.Confirmed == nil {
		return res
	}
	yes := res.Confirmed.Approved != nil && *res.Confirmed.Approved
	status := notApproved
	if yes {
		status = approved
	}
	id := number(r.Order)
	res.Confirmed = &eid.Identity{EID: eid.IDINAge, At: res.Confirmed.At, Request: checkText(id), Subject: res.Confirmed.Subject,
		Country: "NL", Level: res.Confirmed.Level, Approved: &yes, Check: &eid.AgeCheck{ID: id, Status: status}}
	return res
}

// number is the check's number with iDIN, which has none of its own: 15
// digits at most, so that no program loses some. It is made of the order's id.
func number(order string) int64 {
	sum := sha256.Sum256([]byte("age check " + order))
	return int64(binary.BigEndian.Uint64(sum[:8])>>15) + 1 //nolint:gosec // 49 bits
}

// checkRef is the ref by which a check's number is found again.
func checkRef(id int64) connector.Ref { return connector.Ref(eid.CheckRef(id)) }

func checkText(id int64) string { return strconv.FormatInt(id, 10) }
