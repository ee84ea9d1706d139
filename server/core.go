// Package server wires everything together: it is the one place that sees all
// packages, and nothing sees it but the command.
package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"eidgate/api/oidc"
	"eidgate/api/signicat"
	"eidgate/api/zignsec"
	"eidgate/broker"
	"eidgate/connector"
	cbankidno "eidgate/connector/bankidno"
	cbankidse "eidgate/connector/bankidse"
	cidin "eidgate/connector/idin"
	cidinage "eidgate/connector/idinage"
	citsme "eidgate/connector/itsme"
	cmitid "eidgate/connector/mitid"
	"eidgate/connector/openid"
	"eidgate/docs"
	"eidgate/eid"
	"eidgate/internal/circuit"
	"eidgate/internal/oidcrp"
	"eidgate/internal/safehttp"
	"eidgate/notify"
	"eidgate/store"
	"eidgate/web"
	"eidgate/web/hosted"
	"eidgate/web/site"
)

// A core is a server without listeners: what dev and serve have in common.
type core struct {
	store      *store.Store
	broker     *broker.Broker
	epoch      string // names this run of this node
	former     bool   // there is a former master key
	worker     *notify.Worker
	health     *health
	metrics    *metrics
	trail      *trail
	handler    http.Handler // the public listener's
	mtls       http.Handler // that of clients with certificates; nil for none
	keys       *oidc.Keyring
	provider   *oidc.Provider
	now        func() time.Time
	agreements agreements
	log        *slog.Logger
}

// parts is what dev and serve decide differently.
type parts struct {
	public     string
	masters    masterKeys
	storeURL   string
	migrate    bool
	agreements agreements
	limits     broker.Limits
	proxies    proxies
	pageRate   int             // of pages from one address; 0 for no limit
	mtls       *oidc.MutualTLS // nil for no such listener
	policy     func(eid.Environment) safehttp.Policy
	mailer     notify.Mailer
	now        func() time.Time
	jumped     func() <-chan struct{}
	observe    func(broker.Observation)
	seen       func(*http.Request, int, http.Header, []byte)
	roots      *x509.CertPool // what calls trust; nil for the system's
	sandbox    bool
	wrap       func(connector.Connector) connector.Connector // nil for none
	also       []string
	phone      string
	faults     func() []string
	themes     map[themed]*web.Theme
	marker     func(text string) error // why a marker in a request cannot be followed; nil where there is no sandbox
	start      *site.Sandbox           // what the first page shows of the sandbox; nil for none
	contact    string                  // how to reach the operator, for the first page of a live server
	version    string
	log        *slog.Logger
}

func (p *parts) command() string {
	if p.sandbox {
		return "dev"
	}
	return "serve"
}

func newCore(ctx context.Context, p parts) (*core, error) {
	c := &core{epoch: uuid.NewString(), former: p.masters.former != nil, metrics: newMetrics(p.version), agreements: p.agreements, now: p.now, log: p.log}
	var err error
	if c.store, err = p.masters.open(ctx, store.Config{URL: p.storeURL, Now: p.now, Log: p.log}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if err := c.open(ctx, p); err != nil {
		return nil, errors.Join(wrongMaster(err), c.store.Close())
	}
	return c, nil
}

func (c *core) open(ctx context.Context, p parts) error {
	if p.migrate {
		if err := c.store.Migrate(ctx); err != nil {
			return err
		}
	} else if n, err := c.store.Pending(ctx); err != nil || n > 0 {
		return errors.Join(err, fmt.Errorf("%w: %d changes are not applied", ErrBehind, n))
	}
	if n, err := c.store.Unknown(ctx); err != nil {
		return err
	} else if n > 0 { // the version before the one that made them runs on
		c.log.WarnContext(ctx, "the database is ahead of this version: a newer one has changed its tables", "changes", n)
	}
	if err := c.store.Begin(ctx); err != nil {
		return err
	}
	if err := c.store.Alone(ctx); err != nil {
		return err
	}
	if _, err := c.store.AuditHead(ctx); err != nil {
		return err
	}
	if err := c.store.MakeAuditKey(ctx); err != nil {
		return err
	}
	c.trail = &trail{store: c.store, metrics: c.metrics, log: p.log}
	c.metrics.outbox.backlog, c.metrics.outbox.givenUp, c.metrics.outbox.now = c.store.Backlog, c.store.GivenUp, p.now
	clients := map[eid.Environment]*safehttp.Client{}
	for _, env := range []eid.Environment{eid.Test, eid.Live} {
		clients[env] = safehttp.New(safehttp.Config{Policy: p.policy(env), Roots: p.roots, Timeouts: safehttp.Timeouts{Total: 10 * time.Second}, Blocked: c.blocked})
	}
	grace := time.Duration(0)
	if p.sandbox { // it stops within three seconds, whoever hangs
		grace = time.Second
	}
	c.worker = notify.New(notify.Config{Grace: grace, Store: c.store, Client: func(e eid.Environment) *safehttp.Client { return clients[e] },
		Mailer: p.mailer, LimitMail: !p.sandbox, Version: p.version, Now: p.now, Jumped: p.jumped, Log: p.log,
		Logout: func(ctx context.Context, body []byte) (string, error) { return c.provider.LogoutToken(ctx, body) },
		Count:  func(kind, result string) { c.metrics.webhooks.WithLabelValues(kind, result).Inc() }})
	providers := oidcrp.NewDirectory(openid.Transport(p.roots), p.now)
	conns := map[eid.Environment]map[eid.EID]connector.Connector{}
	for _, env := range []eid.Environment{eid.Test, eid.Live} {
		conns[env] = map[eid.EID]connector.Connector{}
		for _, e := range p.agreements.eids(env) {
			conns[env][e] = constructors[e](build{p.now, c.metrics.watch(env, e), c.circuits(env, e), providers, p.roots})
			if p.wrap != nil {
				conns[env][e] = p.wrap(conns[env][e])
			}
		}
	}
	var err error
	c.broker, err = broker.New(broker.Config{Store: c.store, Connectors: conns, Settings: c.find,
		Contracts: p.agreements.contracts, Public: p.public, HandleKey: c.store.Secret(store.Handles),
		Outbox: map[string]func(*broker.Final) []broker.Delivery{zignsec.Name: zignsec.Outbox},
		Epoch:  c.epoch, Hint: c.store.Hint, Now: p.now, Jumped: p.jumped, NewID: uuid.NewString, NewRow: newRow, Log: p.log, Limits: p.limits, Wake: c.worker.Wake,
		Observe: func(o broker.Observation) {
			c.metrics.observe(o)
			if p.observe != nil {
				p.observe(o)
			}
		}})
	if err != nil {
		return err
	}
	for h, a := range p.agreements {
		for use, at := range a.ends {
			c.metrics.expiry.WithLabelValues(use, string(h.eid), string(h.env), h.account, h.config).Set(float64(at.Unix()))
		}
	}
	prefix := ""
	if p.sandbox {
		prefix = "sandbox-"
	}
	c.keys = oidc.NewKeyring(oidc.KeyringConfig{Store: c.store, Prefix: prefix, Now: p.now, Jumped: p.jumped, Log: p.log})
	if err := c.keys.Renew(ctx); err != nil {
		return fmt.Errorf("keys of the OpenID provider: %w", err)
	}
	c.health = &health{store: c.store.Ping, writes: c.broker.Lives, version: p.version, command: p.command(), metrics: c.metrics}
	c.handler, err = c.routes(p)
	return err
}

// newRow names a row that nobody outside finds anything by: in the order of
// time, so that what is made together stands together (docs/storage.md).
func newRow() string { return uuid.Must(uuid.NewV7()).String() } // it fails where there is no randomness

// blocked counts a call that a relying party's address would have led astray.
func (c *core) blocked() { c.metrics.alarm("ssrf_blocked") }

// circuits are those of one eID, which the metrics count.
func (c *core) circuits(env eid.Environment, e eid.EID) *circuit.Board {
	b := circuit.NewBoard(c.now, func(ctx context.Context, host string, open bool) {
		if open {
			c.log.WarnContext(ctx, "an upstream does not answer: calls are kept back", "eid", e, "environment", env, "host", host)
			return
		}
		c.log.InfoContext(ctx, "an upstream answers again", "eid", e, "environment", env, "host", host)
	})
	c.metrics.circuits.boards[[2]string{string(e), string(env)}] = b
	return b
}

// A build is what connectors are made from.
type build struct {
	now       func() time.Time
	watch     func(operation, result string, took time.Duration)
	circuits  *circuit.Board
	providers *oidcrp.Directory // what OpenID providers publish, of all eIDs that are ones
	roots     *x509.CertPool
}

// constructors make the connectors that a configuration may name.
var constructors = map[eid.EID]func(build) connector.Connector{
	eid.BankIDSE: func(b build) connector.Connector {
		c := cbankidse.New(b.now)
		c.Watch, c.Circuits = b.watch, b.circuits
		return c
	},
	eid.IDIN: func(b build) connector.Connector {
		c := cidin.New(b.now)
		c.Watch, c.Circuits = b.watch, b.circuits
		c.Trust(b.roots)
		return c
	},
	eid.IDINAge: func(b build) connector.Connector {
		c := cidinage.New(b.now)
		c.Watch = b.watch
		c.Guard(b.circuits)
		c.Trust(b.roots)
		return c
	},
	eid.Itsme:    speaking(citsme.Dialect()),
	eid.BankIDNO: speaking(cbankidno.Dialect()),
	eid.MitID:    speaking(cmitid.Dialect()),
}

// speaking makes the connector of an eID that is an OpenID provider.
func speaking(d openid.Dialect) func(build) connector.Connector {
	return func(b build) connector.Connector {
		c := openid.New(d, b.now, b.providers)
		c.Watch, c.Circuits = b.watch, b.circuits
		return c
	}
}

// routes is the public listener: the API, the pages, static files.
func (c *core) routes(p parts) (http.Handler, error) {
	static, err := web.NewStatic()
	if err != nil {
		return nil, err
	}
	words, err := web.NewWords()
	if err != nil {
		return nil, err
	}
	secure := strings.HasPrefix(p.public, "https://")
	pages, err := hosted.New(hosted.Config{Broker: c.broker, Static: static, Words: words, Look: looks(static, p.themes), Client: p.proxies.client, Secure: secure,
		Phone: p.phone, Faults: p.faults, Rate: p.pageRate, Now: p.now, Log: p.log, Leave: func(ctx context.Context, s *broker.Session, spec *broker.Spec) (hosted.Return, error) {
			if s.API == oidc.Name {
				l, err := c.provider.Leave(ctx, s, spec)
				return hosted.Return{URL: l.URL, Post: l.Post, Cookie: l.Cookie, Over: l.Over}, err
			}
			r, err := zignsec.Leave(s, spec)
			return hosted.Return{URL: r.URL, Message: r.Message, AsText: r.AsText, Origins: r.Origins}, err
		}})
	if err != nil {
		return nil, err
	}
	demoKey := ""
	if p.sandbox {
		demoKey = sandboxKey
	}
	api := zignsec.New(zignsec.Config{DemoKey: demoKey, Marker: p.marker, NoMail: p.mailer == nil, Broker: c.broker, Accounts: c.store, Has: c.agreements.has, Public: p.public, Client: p.proxies.client,
		Security: c.metrics.alarm, Now: p.now, NewID: uuid.NewString, Log: p.log, CheckURL: func(env eid.Environment, raw string, browser bool) (*url.URL, error) {
			policy := p.policy(env)
			policy.AnyPort = policy.AnyPort || browser
			return safehttp.CheckURL(raw, policy)
		}})
	start, err := site.New(site.Config{Static: static, Docs: docs.Files, Contact: p.contact, Sandbox: p.start})
	if err != nil {
		return nil, err
	}
	if c.provider, err = c.openID(p, pages); err != nil {
		return nil, err
	}
	if p.mtls != nil {
		c.mtls = c.clientRoutes(p)
	}
	mux := http.NewServeMux()
	start.Register(mux)
	c.provider.Register(mux)
	for _, path := range []string{"{$}", "{rest}"} {
		mux.HandleFunc(loginRoot+"{id}/"+path, func(w http.ResponseWriter, r *http.Request) {
			pages.Serve(w, r, r.PathValue("id"), r.PathValue("rest"))
		})
	}
	mux.Handle("GET /static/", static)
	mux.HandleFunc("GET /scripts/zignsecautostart.js", static.Autostart)
	callbacks(mux, pages, c.broker, p.log)
	mux.HandleFunc(signicat.IssuersPath, signicat.New(signicat.Config{Banks: c.banks, Log: p.log}).Issuers)
	c.publishKeys(mux, p.now)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		id, rest, ok := hostedPath(r.URL.Path)
		switch {
		case !ok:
			api.ServeHTTP(w, r)
		case r.Method == http.MethodGet && id != "" && !strings.HasSuffix(r.URL.Path, "/") && (rest == "" || zignsec.Selector(rest)): // links on the page begin there
			http.Redirect(w, r, (&url.URL{Path: r.URL.Path + "/", RawQuery: r.URL.RawQuery}).String(), http.StatusSeeOther)
		default:
			pages.Serve(w, r, id, rest)
		}
	})
	e := edge{listener: "public", https: secure, sandbox: p.sandbox, log: p.log, metrics: c.metrics, seen: p.seen}
	if p.sandbox {
		e.pages = p.public + "/docs/errors/"
	}
	return e.wrap(oneSlash(newNames(p.public, p.sandbox, p.also...).only(mux, "v2/eid", "v3/eid", "v2/bankidse", "eid/", "bankidse"))), nil
}

// openID is the OpenID provider.
func (c *core) openID(p parts, pages *hosted.Pages) (*oidc.Provider, error) {
	// A test client's keys may be on this machine, if this server is there too.
	fetch := safehttp.New(safehttp.Config{Policy: p.policy(eid.Test), Roots: p.roots, Timeouts: safehttp.Timeouts{Total: 5 * time.Second}, Blocked: c.blocked})
	return oidc.New(oidc.Config{Broker: c.broker, Accounts: c.store, Store: c.store, Public: p.public, Keys: c.keys.Set, Secret: c.store.Secret(store.Provider), Has: c.agreements.has,
		Browser: pages.Browser, Straight: pages.Straight, Onward: pages.Onward, Problem: pages.Problem, Post: pages.Post, Ended: pages.Ended, Ignored: c.metrics.ignore, Marker: p.marker, Security: c.metrics.alarm, TLS: p.mtls, Secure: strings.HasPrefix(p.public, "https://"),
		Fetch: fetch.Get, Client: p.proxies.client, Now: p.now, NewID: uuid.NewString, Log: p.log})
}

// hostedPath takes /v2/Hosted/{id}/{selector}/{rest} apart, in any case and
// with doubled slashes; it need not have a selector. All that begins so is for
// browsers: id is "" where no session is named.
func hostedPath(path string) (id, rest string, ok bool) {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	switch {
	case len(parts) < 2 || !strings.EqualFold(parts[0], "v2") || !strings.EqualFold(parts[1], "hosted"):
		return "", "", false
	case len(parts) == 2:
		return "", "", true
	case len(parts) > 3:
		rest = path[strings.LastIndexByte(path, '/')+1:]
	}
	return strings.ToLower(parts[2]), rest, true
}

// loginRoot is what addresses of pages begin with of sessions that the OpenID
// provider has made.
const loginRoot = oidc.Root + "/login/"

// run does the background work until ctx ends.
func (c *core) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.broker.Run(ctx) })
	g.Go(func() error { return c.worker.Run(ctx) })
	g.Go(func() error { return c.keys.Run(ctx) })
	g.Go(func() error { return c.sweep(ctx) })
	if c.former {
		g.Go(func() error { return c.rewrap(ctx) })
	}
	g.Go(func() error { return c.trail.seal(ctx) })
	g.Go(func() error { return c.trail.watch(ctx) })
	g.Go(func() error { return c.watchEnds(ctx) })
	g.Go(func() error { return c.store.RunHints(ctx, c.epoch, c.broker.Hinted) })
	return g.Wait()
}

// close ends the core, once nothing runs any more. What the store could say is
// of no use by then.
func (c *core) close(ctx context.Context) {
	c.trail.last(ctx)
	_ = c.store.Close()
}

// sweep removes what the OpenID provider has kept and needs no more, and copies
// of keys that are of no use.
func (c *core) sweep(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := errors.Join(c.store.SweepOIDC(ctx, c.now(), 500), c.store.SweepKeys(ctx, c.now())); err != nil && ctx.Err() == nil {
				c.log.WarnContext(ctx, "sweep", "error", err)
			}
		}
	}
}

// livePolicy is what addresses that relying parties give must keep to.
func livePolicy(env eid.Environment, public string, networks []netip.Prefix) safehttp.Policy {
	p := safehttp.Policy{Networks: networks, Ports: []uint16{443, 8443}}
	if u, err := url.Parse(public); env == eid.Test && err == nil && isLoopback(u.Hostname()) {
		p.Loopback, p.HTTP, p.AnyPort, p.Literals = true, true, true, true
	}
	return p
}
