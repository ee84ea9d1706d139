package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"eidgate/api/claims"
	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/connector"
	cidinage "eidgate/connector/idinage"
	"eidgate/eid"
	demorp "eidgate/examples/demo-rp"
	"eidgate/internal/safehttp"
	"eidgate/relying"
	"eidgate/sandbox/control"
	"eidgate/store"
)

// Played are the eIDs that the sandbox plays.
var Played = []eid.EID{eid.BankIDSE, eid.IDIN, eid.IDINAge, eid.Itsme, eid.BankIDNO, eid.MitID}

// DevOptions are the flags of "eidgate dev".
type DevOptions struct {
	Host, URL, Data, Store, Auto string
	MTLSURL                      string // where a proxy asks clients for certificates; "" for nowhere
	Port                         int
	KnownAs                      []string
	EIDs                         []eid.EID // none for all
	Seed                         int64
	Frozen, LAN                  bool
	TLS                          bool // not together with URL
	JSON, Quiet, Color, Terminal bool // Terminal: Stderr is a screen
	ReadyFile, EnvFile, Version  string
	Opened                       func(url string) // called when a login would work; may be nil
	Stdout, Stderr               io.Writer
}

// The sandbox's account is the same on every computer; a live server refuses
// its key.
const (
	sandboxAccount = "5a4db0c5-0000-4000-8000-00000000a001"
	sandboxKey     = sandboxKeyPrefix + "000000000001"
	sandboxSecret  = "whsec_c2FuZGJveC1zZWNyZXQtbm90LWZvci1saXZlLXVzZSE=" //nolint:gosec // no secret, as it says itself

	sandboxClient       = "sandbox-quiet-river-417"
	sandboxClientSecret = "sandbox-client-secret-known-to-all-not-for-live-use" //nolint:gosec // likewise
)

// Dev runs the sandbox with everything until ctx ends.
func Dev(ctx context.Context, o DevOptions) error {
	start := time.Now()
	at, err := devListen(ctx, &o)
	if err != nil {
		return err
	}
	defer at.ports.close()
	log := newLogger(LogConfig{Level: "error", Format: "text"}, o.Stderr)
	roots := at.ca.roots()
	sims := newSimulators(o.Frozen, o.Auto, o.Seed, roots)
	term := &terminal{out: o.Stdout, err: o.Stderr, json: o.JSON, quiet: o.Quiet, color: o.Color, live: o.Terminal, now: sims.clock.Now,
		docs: strings.TrimPrefix(at.urls["public"], "http://") + "/docs"}
	defer term.close()
	box := &mailbox{}
	sims.issuers = at.urls["issuers"]
	p, data, err := devParts(&o, at.urls, sims)
	if err != nil {
		return err
	}
	var c *core
	p.mailer, p.log, p.seen, p.roots = box, log, term.refusal, roots
	p.start = sims.startPage(at.urls, o.Version, o.plays, func() *store.Store { return c.store })
	p.observe = func(ob broker.Observation) { term.login(ob, "Demo shop", sims.person(ctx, c, ob)) }
	if c, err = newCore(ctx, p); err != nil {
		return err
	}
	defer c.close(ctx)
	if err := devAccount(ctx, c, at.urls["demo"]); err != nil {
		return err
	}
	sims.decisions.Lookup, sims.decisions.Returns = c.lookup, c.returns
	ctl, err := control.New(control.Config{Clock: sims.clock, People: sims.people, Decisions: sims.decisions, Recorder: sims.recorder,
		Faults: sims.faults, BankIDSE: sims.bankidse, IDIN: sims.idin, AgeChecked: sims.age, Itsme: sims.itsme, BankIDNO: sims.bankidno, MitID: sims.mitid,
		Sessions: &sessions{c, at.urls["public"]}, Issuers: at.urls["issuers"], Mailbox: box, Stop: ctx.Done(), Roots: roots, CA: at.ca.pem()})
	if err != nil {
		return err
	}
	ctl = edge{listener: "control", sandbox: true, log: log, metrics: c.metrics}.wrap(newNames(at.urls["public"], true, o.KnownAs...).only(ctl))
	issuer := httpServer(sims.recorder.Wrap("bankidse", sims.clock.Now, sims.bankidse.Handler()), log)
	issuer.TLSConfig = sims.bankidse.TLSConfig()
	shop := &demorp.Shop{Broker: at.urls["public"], Key: sandboxKey, Secret: sandboxSecret, Self: at.urls["demo"], Phone: at.urls["control"] + "/phone", Faults: sims.active,
		Client: sandboxClient, ClientSecret: sandboxClientSecret, Now: sims.clock.Now, HTTP: &http.Client{Transport: trusting(roots)}}
	g, ctx := errgroup.WithContext(ctx)
	servers := map[string]*http.Server{"public": httpServer(c.handler, log), "demo": httpServer(shop.Handler(), log), "control": httpServer(ctl, log),
		"issuers": httpServer(newNames(at.urls["public"], true, o.KnownAs...).only(sims.issuersHandler()), log), "ops": httpServer(c.health.handler(), log), "issuers_tls": issuer}
	if c.mtls != nil {
		servers["mtls"] = httpServer(c.mtls, log)
	}
	if at.ca != nil {
		for _, name := range overTLS {
			servers[name].TLSConfig = publicTLS(fixed(at.ca.leaf))
		}
	}
	for name, s := range servers {
		g.Go(func() error { return serve(ctx, at.listeners[name], s, 2*time.Second, log) })
	}
	g.Go(func() error { return c.run(ctx) })
	g.Go(func() error {
		c.health.ready.Store(true)
		r := &ready{Event: "ready", Version: o.Version, URLs: at.urls, CA: string(at.ca.pem()), Accounts: []readyAccount{{Name: "demo", ID: sandboxAccount, Key: sandboxKey,
			WebhookSecret: sandboxSecret, OIDC: readyOIDC{at.urls["public"] + "/auth/open", sandboxClient, sandboxClientSecret}}}}
		if at.ca != nil {
			r.CAFile = at.ca.file
		}
		term.screen(r, eidNames(p.agreements), data, time.Since(start), at.notes)
		if o.JSON {
			term.event(r)
		}
		if o.Opened != nil {
			o.Opened(at.urls["public"])
		}
		return r.write(o)
	})
	if err = g.Wait(); errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// A place is where the sandbox listens.
type place struct {
	ports     *ports
	listeners map[string]net.Listener
	urls      map[string]string
	notes     []string // what the screen must say about it
	ca        *devCA   // nil without TLS
}

// overTLS are the listeners that speak TLS if any do: those of browsers and
// relying parties.
var overTLS = []string{"public", "issuers", "control", "demo"}

// devListen opens every listener, so that what follows is not in vain.
func devListen(ctx context.Context, o *DevOptions) (*place, error) {
	name := "localhost"
	out := &place{listeners: map[string]net.Listener{}, urls: map[string]string{}}
	if o.LAN {
		ip, err := lanAddress(ownAddresses())
		if err != nil {
			return nil, err
		}
		o.Host, name = "", ip.String()
	}
	out.ports = &ports{host: o.Host, first: o.Port}
	all := []struct {
		name, scheme string
		offset       int
	}{{"public", "http", 0}, {"issuers", "http", 2}, {"control", "http", 3}, {"demo", "http", 4}, {"issuers_tls", "https", 5}, {"mtls", "http", 6}, {"ops", "http", 9}}
	for _, l := range all {
		if l.name == "mtls" && o.MTLSURL == "" {
			continue
		}
		at, err := out.ports.listen(l.offset)
		if err != nil {
			out.ports.close()
			var in *PortInUse
			if errors.As(err, &in) {
				in.By = holderOf(ctx, o.Port+9)
			}
			return nil, err
		}
		host := name
		if l.name == "issuers_tls" || l.name == "mtls" || l.name == "ops" { // for this machine alone
			host = "localhost"
		}
		if o.TLS && slices.Contains(overTLS, l.name) {
			l.scheme = "https"
		}
		out.listeners[l.name] = at
		out.urls[l.name] = fmt.Sprintf("%s://%s:%d", l.scheme, host, portOf(at))
	}
	if o.URL != "" {
		out.urls["local"] = out.urls["public"] // what a proxy or a tunnel must lead to
		out.urls["public"] = strings.TrimSuffix(o.URL, "/")
	}
	if o.MTLSURL != "" {
		out.urls["mtls_local"], out.urls["mtls"] = out.urls["mtls"], strings.TrimSuffix(o.MTLSURL, "/")
	}
	if o.TLS {
		var err error
		if out.ca, err = newDevCA(o.Data, tlsNames(name, o.KnownAs), time.Now()); err != nil {
			out.ports.close()
			return nil, err
		}
		if out.ca.notice != "" {
			out.notes = append(out.notes, out.ca.notice)
		}
	}
	if o.LAN {
		out.notes = append(out.notes, "On a real phone in the same network, open "+out.urls["control"]+"/phone",
			"WARNING: everybody in this network can use this sandbox, and decide its logins.")
	}
	return out, nil
}

// tlsNames are what the sandbox is called by, in its addresses and by others.
func tlsNames(host string, also []string) (out []string) {
	for _, n := range slices.Concat([]string{"localhost", "127.0.0.1", "::1", host}, also) {
		if n = strings.ToLower(n); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// devParts is what the sandbox decides for itself.
func devParts(o *DevOptions, urls map[string]string, sims *simulators) (p parts, data string, err error) {
	demo, err := sims.agreement("Demo shop", urls["issuers_tls"], urls["control"]+"/phone?autostarttoken=")
	if err != nil {
		return p, "", err
	}
	set, err := keyed(demo)
	if err != nil {
		return p, "", err
	}
	p = parts{public: urls["public"], migrate: true, agreements: agreements{}, now: sims.clock.Now, jumped: sims.clock.Jumped,
		sandbox: true, marker: sims.decisions.CheckMarker, wrap: naming, also: o.KnownAs, phone: urls["control"] + "/phone", faults: sims.active, themes: devThemes, version: o.Version}
	if o.plays(eid.BankIDSE) {
		p.agreements[holder{env: eid.Test, eid: eid.BankIDSE}] = agreement{now: set}
	}
	if urls["mtls"] != "" {
		p.mtls = &oidc.MutualTLS{Public: urls["mtls"], Proxy: proxies{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}.passed}
	}
	if err := devDutch(o, urls, sims, p.agreements); err != nil {
		return p, "", err
	}
	if err := devOpenID(o, urls["public"], sims, p.agreements); err != nil {
		return p, "", err
	}
	policy := safehttp.Policy{HTTP: true, Literals: true, AnyPort: true, Loopback: true}
	if o.LAN { // the demo shop is there
		policy.Networks = ownAddresses()
	}
	p.policy = func(eid.Environment) safehttp.Policy { return policy }
	p.storeURL, data, p.masters.current, err = devStore(o)
	return p, data, err
}

func (o *DevOptions) plays(e eid.EID) bool { return len(o.EIDs) == 0 || slices.Contains(o.EIDs, e) }

// The configurations of the sandbox's account besides the usual one.
const (
	counterConfig = "counter"    // a point of service: iDIN with a code on the screen
	ageConfig     = "agechecked" // the age check by AgeChecked instead of the party's own contract
)

// devDutch makes the contracts that Dutch logins run under.
func devDutch(o *DevOptions, urls map[string]string, sims *simulators, all agreements) error {
	if !o.plays(eid.IDIN) && !o.plays(eid.IDINAge) {
		return nil
	}
	shop, qr, err := sims.contract("Demo shop", urls["public"])
	if err != nil {
		return err
	}
	counter := shop
	counter.QR = &qr
	age := sims.age.Merchant("Demo shop")
	for h, set := range map[holder]any{
		{env: eid.Test, eid: eid.IDIN}: shop,
		{env: eid.Test, eid: eid.IDIN, account: sandboxAccount, config: counterConfig}: counter,
		{env: eid.Test, eid: eid.IDINAge}:                                              cidinage.Settings{IDIN: &shop},
		{env: eid.Test, eid: eid.IDINAge, account: sandboxAccount, config: ageConfig}: cidinage.Settings{
			AgeChecked: &cidinage.AgeChecked{Base: age.Base, Key: age.SecretKey, AllowHTTP: true}},
	} {
		if !o.plays(h.eid) {
			continue
		}
		keyed, err := keyed(set)
		if err != nil {
			return err
		}
		all[h] = agreement{now: keyed}
	}
	return nil
}

// eidNames lists what the sandbox plays, as people say it.
func eidNames(a agreements) string {
	var out []string
	for _, e := range a.eids(eid.Test) {
		out = append(out, eidName(e))
	}
	slices.Sort(out)
	return strings.Join(out, "  ")
}

// devOpenID makes agreements with the eIDs that are OpenID providers.
func devOpenID(o *DevOptions, public string, sims *simulators, out agreements) error {
	const name = "Demo shop"
	for e, agree := range map[eid.EID]func() (agreement, error){
		eid.Itsme: func() (agreement, error) {
			set, err := sims.partner(name, public)
			if err != nil {
				return agreement{}, err
			}
			return byOpenID(set, set.Settings)
		},
		eid.BankIDNO: func() (agreement, error) {
			set, err := sims.norwegian(name, public)
			if err != nil {
				return agreement{}, err
			}
			return byOpenID(set, set.Settings)
		},
		eid.MitID: func() (agreement, error) {
			set, err := sims.danish(name, public)
			if err != nil {
				return agreement{}, err
			}
			return byOpenID(set, set.Settings)
		},
	} {
		if !o.plays(e) {
			continue
		}
		a, err := agree()
		if err != nil {
			return fmt.Errorf("%s: %w", e, err)
		}
		out[holder{env: eid.Test, eid: e}] = a
	}
	return nil
}

// devStore says where the data are, and which key opens them, which is no
// secret.
func devStore(o *DevOptions) (storeURL, text string, master []byte, err error) {
	master = make([]byte, 32)
	copy(master, "sandbox master key, known to all")
	if o.Data != "" {
		if err := os.MkdirAll(o.Data, 0o700); err != nil {
			return "", "", nil, err
		}
	}
	switch {
	case o.Store != "" && o.Store != "memory":
		kind, _, _ := strings.Cut(o.Store, ":")
		return o.Store, "in " + kind, master, nil
	case o.Data != "":
		return "sqlite:" + filepath.Join(o.Data, "eidgate.db"), "in " + o.Data, master, nil
	}
	return "memory", "in memory, gone when you stop; --data DIR keeps it", master, nil
}

func devAccount(ctx context.Context, c *core, demo string) error {
	a := &relying.Account{ID: sandboxAccount, Name: "Demo shop", WebhookSecrets: []relying.Secret{sandboxSecret},
		Configs: []relying.Config{{}, {ID: counterConfig}, {ID: ageConfig}}, Layouts: []string{"lamp", "ink"}}
	if err := c.store.PutAccount(ctx, a); err != nil {
		return err
	}
	err := c.store.PutKey(ctx, relying.Key{ID: "5a4db0c5-0000-4000-8000-00000000b001", Account: a.ID, Environment: eid.Test, Created: time.Now()}, sandboxKey, true)
	if err != nil {
		return err
	}
	return c.store.PutClient(ctx, devClient(demo))
}

// devClient may do what a client of a program written for Signicat may, from
// any address of this machine; and the demo shop, too, if it is at another one,
// though a rule for clients is against http in a local network.
func devClient(demo string) *relying.Client {
	c := &relying.Client{ID: sandboxClient, Account: sandboxAccount, Environment: eid.Test, Name: "Demo shop", Profile: relying.Signicat,
		SandboxReturn: true, Scopes: claims.Scopes(), Auth: relying.SecretBasic,
		Secrets: []relying.ClientSecret{{Name: "sandbox", Hash: relying.HashSecret(sandboxClientSecret)}}}
	if back := demo + "/oidc/callback"; !c.Redirect(back) {
		c.Redirects, c.Logouts = []string{back}, []string{demo + "/oidc/bye"}
	}
	return c
}

// write tells programs where everything is. The files appear whole or not at
// all.
func (r *ready) write(o DevOptions) error {
	if o.ReadyFile != "" {
		raw, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := writeWhole(o.ReadyFile, raw, 0o600); err != nil {
			return err
		}
	}
	if o.EnvFile != "" {
		a := r.Accounts[0]
		return writeWhole(o.EnvFile, []byte("EIDGATE_URL="+r.URLs["public"]+"\nEIDGATE_KEY="+a.Key+"\nEIDGATE_WEBHOOK_SECRET="+a.WebhookSecret+
			"\nEIDGATE_CLIENT_ID="+a.OIDC.Client+"\nEIDGATE_CLIENT_SECRET="+a.OIDC.Secret+"\n"), 0o600)
	}
	return nil
}

func writeWhole(path string, raw []byte, mode fs.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, raw, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// sessions is what the control API knows of the broker.
type sessions struct {
	c      *core
	public string
}

// session reads a session; only simulated ones can be decided.
func (s *sessions) session(ctx context.Context, id string) (*broker.Session, error) {
	n, err := s.c.store.Session(ctx, id)
	if errors.Is(err, broker.ErrNotFound) || err == nil && n.Environment != eid.Test {
		return nil, control.ErrNoSession
	}
	return n, err
}

// Refs implements control.Sessions.
func (s *sessions) Refs(ctx context.Context, id string) ([]string, error) {
	if _, err := s.session(ctx, id); err != nil {
		return nil, err
	}
	refs, err := s.c.broker.Refs(ctx, id)
	return upstreamNames(refs), err
}

// upstreamNames are what the simulators call orders. A return's token names
// none of theirs.
func upstreamNames(refs []connector.Ref) (out []string) {
	for _, r := range refs {
		kind, name, found := strings.Cut(string(r), ":")
		switch {
		case !found:
			out = append(out, kind)
		case kind == "qr" || kind == "check":
			out = append(out, name)
		}
	}
	return out
}

// State implements control.Sessions.
func (s *sessions) State(ctx context.Context, id string) (string, error) {
	n, err := s.session(ctx, id)
	if err != nil {
		return "", err
	}
	return string(n.State), nil
}

// StartURL implements control.Sessions.
func (s *sessions) StartURL(ctx context.Context, id string) (string, error) {
	n, err := s.session(ctx, id)
	if err != nil {
		return "", err
	}
	spec, err := s.c.broker.Spec(ctx, n)
	if err != nil {
		return "", err
	}
	return s.public + spec.Page, nil
}

// Nudge implements control.Sessions: the next collect comes at once.
func (s *sessions) Nudge(ctx context.Context, id string) { s.c.broker.Nudge(ctx, id) }

// mailbox keeps the sandbox's mails.
type mailbox struct {
	mu  sync.Mutex
	all []any
}

// Send implements notify.Mailer.
func (m *mailbox) Send(_ context.Context, id, to string, b broker.MailBody) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.all) >= 1000 {
		m.all = m.all[1:]
	}
	m.all = append(m.all, map[string]any{"id": id, "to": to, "subject": b.Subject, "text": b.Text, "attachment": string(b.Attachment)})
	return nil
}

// Clear implements control.Mailbox.
func (m *mailbox) Clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = nil
}

// All implements control.Mailbox.
func (m *mailbox) All() []any {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]any{}, m.all...)
}
