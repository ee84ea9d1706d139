package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"eidgate/broker"
	cbankidse "eidgate/connector/bankidse"
	"eidgate/eid"
	"eidgate/internal/safehttp"
	"eidgate/notify"
	"eidgate/protocol/bankidse"
	"eidgate/relying"
)

// ServeOptions are what the command adds to the configuration.
type ServeOptions struct {
	Version        string
	Stdout, Stderr io.Writer
	Reload         <-chan os.Signal // each has the listeners' certificates read anew; nil for never
}

// Serve runs from a configuration until ctx ends.
func Serve(ctx context.Context, cfg *Config, o ServeOptions) error {
	log := newLogger(cfg.Log, o.Stdout)
	p, err := cfg.parts(o.Version, log)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c, err := newCore(ctx, p)
	if err != nil {
		return err
	}
	defer c.close(ctx)
	if err := cfg.accounts(ctx, c); err != nil {
		return err
	}
	doors, err := cfg.doors(c, log)
	if err != nil {
		return err
	}
	// On a stop, /readyz says no first, so that a balancer looks elsewhere.
	delay := 5 * time.Second
	if cfg.Server.ShutdownDelay != nil {
		delay = *cfg.Server.ShutdownDelay
	}
	drained, drain := context.WithCancel(context.WithoutCancel(ctx))
	defer drain()
	g, run := errgroup.WithContext(drained)
	g.Go(func() error {
		select {
		case <-ctx.Done():
			log.InfoContext(run, "stopping", "in", delay)
		case <-run.Done():
		}
		c.health.draining.Store(true)
		select {
		case <-time.After(delay):
		case <-run.Done():
		}
		drain()
		return nil
	})
	for _, d := range doors {
		g.Go(func() error { return serve(run, d.listener, d.server, d.drain, log) })
	}
	g.Go(func() error { return c.run(run) })
	g.Go(func() error { return renew(run, o.Reload, doors, log) })
	c.health.ready.Store(true)
	log.InfoContext(ctx, "ready", "version", o.Version, "public_url", cfg.Server.PublicURL)
	err = g.Wait()
	log.InfoContext(ctx, "stopped")
	return err
}

// A door is a listener with what it serves, and how long its requests may take
// after a stop.
type door struct {
	address  string
	server   *http.Server
	drain    time.Duration
	listener net.Listener
	shows    *certificate // nil where it does not speak TLS
}

// doors opens the listeners, all or none.
func (c *Config) doors(of *core, log *slog.Logger) ([]door, error) {
	public, ops := httpServer(of.handler, log), httpServer(of.health.handler(), log)
	out := []door{{address: orElse(c.Server.Listen.Public, ":8443"), server: public, drain: 20 * time.Second},
		{address: orElse(c.Server.Listen.Ops, opsDefault), server: ops, drain: time.Second}}
	if err := out[0].secure("server.tls", c.Server.TLS, publicTLS); err != nil {
		return nil, err
	}
	if of.mtls != nil {
		d := door{address: c.Server.Listen.MTLS, server: httpServer(of.mtls, log), drain: 20 * time.Second}
		if err := d.secure("server.mtls_tls", c.Server.mtlsTLS(), mutualTLS); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	for i := range out {
		var err error
		if out[i].listener, err = net.Listen("tcp", out[i].address); err != nil {
			for _, opened := range out[:i] {
				err = errors.Join(err, opened.listener.Close())
			}
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	return out, nil
}

// secure gives a door its certificate, if there is one.
func (d *door) secure(setting string, files TLSConfig, speak func(showing) *tls.Config) error {
	if files.Certificate == "" {
		return nil
	}
	d.shows = &certificate{setting: setting, files: files}
	if err := d.shows.read(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	d.server.TLSConfig = speak(d.shows.get)
	return nil
}

func orElse(s, usual string) string {
	if s == "" {
		return usual
	}
	return s
}

// parts turns the configuration into what the core is made of.
func (c *Config) parts(version string, log *slog.Logger) (parts, error) {
	p := parts{public: c.Server.PublicURL, contact: c.Server.Contact, pageRate: c.Server.pageRate(), now: time.Now, version: version, log: log,
		limits: broker.Limits{Idle: c.Sessions.Idle, Keep: c.Sessions.Keep}}
	var err error
	if p.masters, err = c.Keys.read(); err != nil {
		return p, err
	}
	if p.storeURL, err = c.Store.address(); err != nil {
		return p, err
	}
	if p.agreements, err = c.agreements(); err != nil {
		return p, err
	}
	if p.themes, err = c.themes(); err != nil {
		return p, err
	}
	for _, n := range c.Server.TrustedProxies {
		prefix, err := netip.ParsePrefix(n)
		if err != nil {
			return p, err
		}
		p.proxies = append(p.proxies, prefix)
	}
	if p.mtls, err = c.Server.mtls(p.proxies); err != nil {
		return p, err
	}
	networks, err := c.Webhooks.networks()
	if err != nil {
		return p, err
	}
	p.policy = func(env eid.Environment) safehttp.Policy { return livePolicy(env, p.public, networks) }
	if m := c.Mail; m != nil {
		relay := &notify.Relay{Host: m.Host, Port: m.Port, User: m.User, From: m.From}
		if relay.Port == 0 {
			relay.Port = 587
		}
		if m.PasswordFile != "" {
			raw, err := os.ReadFile(m.PasswordFile)
			if err != nil {
				return p, err
			}
			relay.Password = strings.TrimSpace(string(raw))
		}
		if m.CAFile != "" {
			if relay.Roots, err = readRoots(m.CAFile); err != nil {
				return p, fmt.Errorf("mail.ca_file: %w", err)
			}
		}
		p.mailer = relay
	}
	return p, nil
}

// readRoots reads a file of certificates.
func readRoots(path string) (*x509.CertPool, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the operator
	if err != nil {
		return nil, unwrapPath(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, errors.New("holds no certificate in PEM")
	}
	return pool, nil
}

// address is where the data are.
func (s *StoreConfig) address() (string, error) {
	if s.URLFile == "" {
		return s.URL, nil
	}
	raw, err := os.ReadFile(s.URLFile)
	if err != nil {
		return "", fmt.Errorf("store.url_file: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// accounts writes the configured relying parties into the store. Keys and
// clients that are not in the configuration any more count no more.
func (c *Config) accounts(ctx context.Context, to *core) error {
	if err := c.retire(ctx, to); err != nil {
		return err
	}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		rec, err := a.record()
		if err != nil {
			return err
		}
		if err := to.store.PutAccount(ctx, rec); err != nil {
			return err
		}
		for _, k := range a.Keys {
			text, err := readKey(k.File)
			if err != nil {
				return err
			}
			key := relying.Key{ID: a.keyID(text), Account: a.ID, Environment: eid.Environment(k.Environment), Created: time.Now()}
			if err := to.store.PutKey(ctx, key, text, !rec.Switches.NoWebhookHMAC); err != nil {
				return err
			}
		}
		if err := a.clients(ctx, to.store); err != nil {
			return err
		}
	}
	return nil
}

// keyID names a key: the same one keeps its id.
func (a *AccountConfig) keyID(text string) string {
	return uuid.NewSHA1(uuid.MustParse(a.ID), []byte(text)).String()
}

// retire revokes the keys, and takes away the clients, that the configuration has
// no more, or has with another account.
func (c *Config) retire(ctx context.Context, to *core) error {
	var keys []string
	clients := map[string][]string{} // by account
	for i := range c.Accounts {
		a := &c.Accounts[i]
		for j := range a.OIDCClients {
			clients[a.ID] = append(clients[a.ID], a.OIDCClients[j].ClientID)
		}
		for _, k := range a.Keys {
			text, err := readKey(k.File)
			if err != nil {
				return err
			}
			keys = append(keys, a.keyID(text))
		}
	}
	gone, err := to.store.KeepKeys(ctx, keys)
	if err != nil {
		return err
	}
	if gone > 0 {
		to.log.InfoContext(ctx, "keys revoked that the configuration has no more", "keys", gone)
	}
	stored, err := to.store.AccountIDs(ctx)
	if err != nil {
		return err
	}
	for _, id := range stored {
		if err := to.store.KeepClients(ctx, id, clients[id]); err != nil {
			return err
		}
	}
	return nil
}

// loadRPCertificate reads PKCS#12 or PEM.
func loadRPCertificate(b *CertificateConfig) (tls.Certificate, error) {
	raw, err := os.ReadFile(b.Certificate)
	if err != nil {
		return tls.Certificate{}, unwrapPath(err)
	}
	if block, _ := pem.Decode(raw); block != nil {
		var key []byte
		if b.Key != "" {
			if key, err = os.ReadFile(b.Key); err != nil {
				return tls.Certificate{}, unwrapPath(err)
			}
		}
		return bankidse.LoadPEM(raw, key)
	}
	password := ""
	if b.PasswordFile != "" {
		text, err := os.ReadFile(b.PasswordFile)
		if err != nil {
			return tls.Certificate{}, unwrapPath(err)
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	return bankidse.LoadPKCS12(raw, password)
}

// current is the certificate that new orders are begun with.
func (b *BankIDSEConfig) current() *CertificateConfig {
	return &CertificateConfig{b.Certificate, b.Key, b.PasswordFile}
}

// settings are the connector's, with BankID's own addresses and roots unless
// a test system is named.
func (b *BankIDSEConfig) settings(env eid.Environment, cert tls.Certificate) (cbankidse.Settings, error) {
	out := cbankidse.Settings{Base: bankidse.LiveBase, StoreOnly: b.StoreOnly, AddressCheck: b.AddressCheck, Launch: b.LaunchURL}
	name := "live"
	if env == eid.Test {
		name, out.Base = "test", bankidse.TestBase
	}
	for _, der := range cert.Certificate {
		out.Certificate += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return out, fmt.Errorf("RP key: %w", err)
	}
	out.Key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	if out.TLSRoots, err = bankidse.Roots(name + "-tls"); err != nil {
		return out, err
	}
	if out.SignatureRoots, err = bankidse.Roots(name + "-signature"); err != nil {
		return out, err
	}
	if b.URL == "" {
		return out, nil
	}
	out.Base = strings.TrimSuffix(b.URL, "/")
	for path, to := range map[string]*string{b.TLSRoots: &out.TLSRoots, b.SignatureRoots: &out.SignatureRoots} {
		raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
		if err != nil {
			return out, fmt.Errorf("roots: %w", err)
		}
		*to = string(raw)
	}
	return out, nil
}
