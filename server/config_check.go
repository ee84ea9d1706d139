package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"eidgate/eid"
	"eidgate/internal/strictyaml"
	"eidgate/store"
)

// A checker reports what is wrong with the values of a configuration.
type checker struct {
	doc *strictyaml.Document
	now time.Time
	of  *ServerConfig // what the rest depends on
}

func (k *checker) config(c *Config) {
	k.server(&c.Server)
	k.store(&c.Store)
	k.masters(&c.Keys)
	k.eids("eids", &c.EIDs, eid.Live, nil)
	k.eids("test_eids", &c.TestEIDs, eid.Test, nil)
	if len(c.Accounts) == 0 {
		k.doc.Warn("accounts", "there is none, so nobody can use this server")
	}
	seen := map[string]string{}
	for i := range c.Accounts {
		k.account(fmt.Sprintf("accounts.%d", i), &c.Accounts[i], c, seen)
	}
	k.rest(c)
}

func (k *checker) server(s *ServerConfig) {
	u, err := url.Parse(s.PublicURL)
	switch {
	case s.PublicURL == "":
		k.doc.Report("server.public_url", "is required, for example https://eid.example.com")
	case err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		k.doc.Report("server.public_url", "%q must be a scheme and a host and nothing else, for example https://eid.example.com", s.PublicURL)
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		k.doc.Report("server.public_url", "must be https")
	}
	if (s.TLS.Certificate == "") != (s.TLS.Key == "") {
		k.doc.Report("server.tls", "needs both certificate and key, or neither behind a proxy")
	}
	k.pair("server.tls", s.TLS)
	k.mtls(s)
	for name, at := range map[string]string{"public": s.Listen.Public, "mtls": s.Listen.MTLS, "ops": s.Listen.Ops} {
		_, port, err := net.SplitHostPort(at)
		if _, bad := strconv.ParseUint(port, 10, 16); at != "" && (err != nil || bad != nil) {
			k.doc.Report("server.listen."+name, "%q must be an address and a port, for example \":8443\" or \"127.0.0.1:8443\"", at)
		}
	}
	taken := map[string]bool{}
	for _, l := range [][2]string{{"public", orElse(s.Listen.Public, ":8443")}, {"mtls", s.Listen.MTLS}, {"ops", orElse(s.Listen.Ops, opsDefault)}} {
		if l[1] != "" && taken[l[1]] && !strings.HasSuffix(l[1], ":0") {
			k.doc.Report("server.listen."+l[0], "%q is the address of another listener", l[1])
		}
		taken[l[1]] = true
	}
	for i, p := range s.TrustedProxies {
		k.network(fmt.Sprintf("server.trusted_proxies.%d", i), p)
	}
	if u != nil && u.Scheme == "https" && s.TLS.Certificate == "" && len(s.TrustedProxies) == 0 && s.pageRate() > 0 {
		k.doc.Warn("server.trusted_proxies", "is empty, but TLS must end at a proxy: all people then have its address, and share page_rate and the limits of OpenID logins")
	}
	if r := s.pageRate(); r < 0 || r > 100_000 {
		k.doc.Report("server.page_rate", "%d must be between 0 and 100000", r)
	}
	if s.ShutdownDelay != nil && (*s.ShutdownDelay < 0 || *s.ShutdownDelay > time.Minute) {
		k.doc.Report("server.shutdown_delay", "must be between 0s and 1m")
	}
}

// pair opens a listener's certificate with its key.
func (k *checker) pair(at string, c TLSConfig) {
	if c.Certificate == "" {
		return
	}
	readable := k.file(at+".certificate", c.Certificate)
	if !k.secret(at+".key", c.Key) || !readable {
		return
	}
	if _, err := tls.LoadX509KeyPair(c.Certificate, c.Key); err != nil {
		k.doc.Report(at, "%v", err)
	}
}

// pageRate is how many pages one address may fetch in a second; 0 for any.
func (s *ServerConfig) pageRate() int {
	if s.PageRate == nil {
		return 20
	}
	return *s.PageRate
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func (k *checker) store(s *StoreConfig) {
	switch {
	case (s.URL == "") == (s.URLFile == ""):
		k.doc.Report("store", "needs either url or url_file")
	case s.URLFile != "":
		if k.secret("store.url_file", s.URLFile) {
			raw, err := os.ReadFile(s.URLFile)
			if err == nil {
				_, err = storeAddress(strings.TrimSpace(string(raw)))
			}
			if err != nil {
				k.doc.Report("store.url_file", "%v", unwrapPath(err))
			} else {
				k.overTheNetwork("store.url_file", strings.TrimSpace(string(raw)))
			}
		}
	default:
		u, err := storeAddress(s.URL)
		if err != nil {
			k.doc.Report("store.url", "%v", err)
		} else if _, has := u.User.Password(); has {
			k.doc.Report("store.url", "holds a password; put the address into a file and name it in url_file")
		} else {
			k.overTheNetwork("store.url", s.URL)
		}
	}
}

// masters are keys of the right form, and no two the same.
func (k *checker) masters(c *KeysConfig) {
	seen := map[string]string{}
	for _, m := range c.masters() {
		if m.file == "" && m.path != "keys.master_file" {
			continue
		}
		k.secret(m.path, m.file)
		key, err := readMaster(m.file)
		switch other := seen[string(key)]; {
		case m.file == "" || os.IsNotExist(err) || os.IsPermission(err): // that is said already
		case err != nil:
			k.doc.Report(m.path, "%v", err)
		case other != "":
			k.doc.Report(m.path, "is the same key as %s", other)
		default:
			seen[string(key)] = m.path
		}
	}
	if c.NextMasterFile != "" && c.FormerMasterFile != "" {
		k.doc.Report("keys.next_master_file", "cannot be with former_master_file: one change of the master key at a time")
	}
}

// strange says whether the owner of a secret is another user than the one that we
// run as: not root, who can read it anyway. That is certain unless we are root, who
// may look for the user that the server is to run as.
func strange(owner, us int) (foreign, certain bool) {
	return owner != 0 && owner != us, us != 0
}

// overTheNetwork warns of a database that anybody between us could be.
func (k *checker) overTheNetwork(path, address string) {
	if host := store.Unverified(address); host != "" {
		k.doc.Warn(path, "does not verify who %s is, or speaks without TLS where that is not offered; add sslmode=verify-full, and sslrootcert=FILE for a CA of your own", host)
	}
}

// storeAddress checks the form of a store's address. Its errors do not repeat
// it, since it may hold a password.
func storeAddress(text string) (*url.URL, error) {
	if file, ok := strings.CutPrefix(text, "sqlite:"); ok {
		if file == "" {
			return nil, errors.New("names no file after the word sqlite")
		}
		return &url.URL{}, nil
	}
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		return nil, errors.New("must begin with sqlite: or postgres://")
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is no address; in a password, write all but letters and digits as % and two hex digits")
	}
	return u, nil
}

// eids checks the agreements of one block. general is the contract
// about iDIN that an age check of it may use where it has none of its own.
func (k *checker) eids(path string, e *EIDsConfig, env eid.Environment, general *IDINConfig) {
	if e.BankIDSE != nil {
		k.bankIDSE(path+".bankid_se", e.BankIDSE, env)
	}
	if e.IDIN != nil {
		k.idin(path+".idin", e.IDIN, env)
	}
	if e.IDINAge != nil {
		k.idinAge(path+".idin_age", e.IDINAge, env, e.IDIN != nil || general != nil)
	}
	if e.Itsme != nil {
		k.itsme(path+".itsme", e.Itsme, env)
	}
	if e.BankIDNO != nil {
		k.bankIDNO(path+".bankid_no", e.BankIDNO, env)
	}
	if e.MitID != nil {
		k.mitID(path+".mitid", e.MitID, env)
	}
}

func (k *checker) bankIDSE(at string, b *BankIDSEConfig, env eid.Environment) {
	const what = "the RP certificate of your agreement, as PKCS#12 or PEM"
	k.certificate(at, b.current(), what, false)
	if b.Previous != nil {
		k.certificate(at+".previous", b.Previous, what, true)
	}
	for name, value := range map[string]string{"url": b.URL, "tls_roots": b.TLSRoots, "signature_roots": b.SignatureRoots, "launch_url": b.LaunchURL} {
		if value != "" && env == eid.Live {
			k.doc.Report(at+"."+name, "is only for test_eids: live keys use BankID itself")
		}
	}
	if (b.URL == "") != (b.TLSRoots == "") || (b.URL == "") != (b.SignatureRoots == "") {
		k.doc.Report(at, "url, tls_roots and signature_roots belong together")
	}
	switch b.AddressCheck {
	case "", "off", "log", "require-same-prefix", "require-equal":
	default:
		k.doc.Report(at+".address_check", "%q is none of off, log, require-same-prefix, require-equal", b.AddressCheck)
	}
}

// certificate opens a certificate with its key and warns of its end; what says
// which one is meant. It is nil if there is something wrong.
func (k *checker) certificate(at string, c *CertificateConfig, what string, old bool) *tls.Certificate {
	if c.Certificate == "" {
		k.doc.Report(at+".certificate", "is required: %s", what)
		return nil
	}
	if !k.secret(at+".certificate", c.Certificate) {
		return nil
	}
	for path, name := range map[string]string{at + ".key": c.Key, at + ".password_file": c.PasswordFile} {
		if name != "" && !k.secret(path, name) {
			return nil
		}
	}
	cert, err := loadRPCertificate(c)
	if err != nil {
		k.doc.Report(at+".certificate", "%v", err)
		return nil
	}
	if !old {
		k.ends(at+".certificate", cert.Leaf)
	}
	return &cert
}

// ends warns of a certificate's end.
func (k *checker) ends(at string, c *x509.Certificate) {
	left := c.NotAfter.Sub(k.now)
	switch {
	case left <= 0:
		k.doc.Report(at, "expired on %s", c.NotAfter.Format(time.DateOnly))
	case left < soon:
		k.doc.Warn(at, "expires in %d days (%s)", int(left.Hours()/24), c.NotAfter.Format(time.DateOnly))
	}
}

func (k *checker) rest(c *Config) {
	bounds := func(path string, d, low, high time.Duration) {
		if d != 0 && (d < low || d > high) {
			k.doc.Report(path, "%s must be between %s and %s", written(d), written(low), written(high))
		}
	}
	bounds("sessions.idle", c.Sessions.Idle, time.Minute, time.Hour)
	bounds("sessions.keep", c.Sessions.Keep, 5*time.Minute, 720*time.Hour)
	switch c.Log.Level {
	case "", "debug", "info", "warn", "error":
	default:
		k.doc.Report("log.level", "%q is none of debug, info, warn, error", c.Log.Level)
	}
	switch c.Log.Format {
	case "", "json", "text":
	default:
		k.doc.Report("log.format", "%q is neither json nor text", c.Log.Format)
	}
	for i, n := range c.Webhooks.AllowedNetworks {
		k.network(fmt.Sprintf("webhooks.allowed_networks.%d", i), n)
	}
	if m := c.Mail; m != nil {
		if m.Host == "" {
			k.doc.Report("mail.host", "is required")
		}
		if _, err := mail.ParseAddress(m.From); err != nil {
			k.doc.Report("mail.from", "must be the address that mail comes from")
		}
		if m.Port != 0 && m.Port != 465 && m.Port != 587 {
			k.doc.Report("mail.port", "%d is neither 465 nor 587; mail without TLS is not supported", m.Port)
		}
		if m.User != "" && m.PasswordFile == "" {
			k.doc.Report("mail.password_file", "is required with user")
		}
		if m.PasswordFile != "" {
			if m.User == "" {
				k.doc.Report("mail.user", "is required with password_file")
			}
			k.secret("mail.password_file", m.PasswordFile)
		}
		if m.CAFile != "" && k.file("mail.ca_file", m.CAFile) {
			if _, err := readRoots(m.CAFile); err != nil {
				k.doc.Report("mail.ca_file", "%v", err)
			}
		}
	}
}

// written is a time as a configuration has it: 1h, not 1h0m0s.
func written(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (w *WebhooksConfig) networks() (out []netip.Prefix, err error) {
	for _, n := range w.AllowedNetworks {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func (k *checker) network(path, text string) {
	if _, err := netip.ParsePrefix(text); err != nil {
		k.doc.Report(path, "%q is not a network such as 10.0.0.0/8", text)
	}
}

// file reports whether a file is there and readable.
func (k *checker) file(path, name string) bool {
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		k.doc.Report(path, "%s cannot be read: %v", name, unwrapPath(err))
		return false
	}
	_ = f.Close() // nothing was written
	return true
}

func unwrapPath(err error) error {
	if pe, ok := err.(*os.PathError); ok { //nolint:errorlint // only to drop the name, which the message has already
		return pe.Err
	}
	return err
}

// secret is file, and nobody but the server may read it, nor let others do so.
func (k *checker) secret(path, name string) bool {
	if name == "" {
		k.doc.Report(path, "is required")
		return false
	}
	if !k.file(path, name) {
		return false
	}
	info, err := os.Stat(name)
	if err != nil {
		return true
	}
	if info.Mode().Perm()&0o077 != 0 {
		k.doc.Report(path, "%s can be read by others; chmod 600", name)
	}
	of, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	if foreign, certain := strange(int(of.Uid), os.Geteuid()); foreign {
		say := k.doc.Warn
		if certain {
			say = k.doc.Report
		}
		say(path, "%s belongs to another user, with number %d, who can read it; chown it to the one that the server runs as", name, of.Uid)
	}
	return true
}
