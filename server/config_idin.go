package server

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"eidgate/connector"
	cidin "eidgate/connector/idin"
	"eidgate/connector/idinage"
	"eidgate/eid"
	"eidgate/protocol/agechecked"
	"eidgate/protocol/idin"
	"eidgate/protocol/idinqr"
)

// eidKeys are the entries of a block of agreements.
var eidKeys = []struct {
	name string
	is   func(*EIDsConfig) bool
}{
	{"bankid_se", func(e *EIDsConfig) bool { return e.BankIDSE != nil }},
	{"idin", func(e *EIDsConfig) bool { return e.IDIN != nil }},
	{"idin_age", func(e *EIDsConfig) bool { return e.IDINAge != nil }},
	{"itsme", func(e *EIDsConfig) bool { return e.Itsme != nil }},
	{"bankid_no", func(e *EIDsConfig) bool { return e.BankIDNO != nil }},
	{"mitid", func(e *EIDsConfig) bool { return e.MitID != nil }},
}

// names are the entries that are there.
func (e *EIDsConfig) names() (out []string) {
	for _, k := range eidKeys {
		if k.is(e) {
			out = append(out, k.name)
		}
	}
	return out
}

var (
	merchantForm = regexp.MustCompile(`^[0-9]{10}$`)
	guidForm     = regexp.MustCompile(`^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

const (
	maxAddress = 512     // characters that iDIN takes of any
	maxSubID   = 999_999 // of a merchant
)

// idin finds everything that is wrong with a contract.
func (k *checker) idin(at string, c *IDINConfig, env eid.Environment) {
	before := len(k.doc.Problems)
	if !merchantForm.MatchString(c.MerchantID) {
		k.doc.Report(at+".merchant_id", "%q must be 10 digits: 4 of the acquirer and 6 of yours; write it with quotes", c.MerchantID)
	}
	if c.SubID < 0 || c.SubID > maxSubID {
		k.doc.Report(at+".sub_id", "%d must be between 0 and %d", c.SubID, maxSubID)
	}
	if c.DirectoryURL == "" {
		k.doc.Report(at+".directory_url", "is required: the address of the routing service, from your acquirer")
	}
	for name, address := range map[string]string{"directory_url": c.DirectoryURL, "transaction_url": c.TransactionURL, "status_url": c.StatusURL} {
		k.upstream(at+"."+name, address, env, "the routing service")
	}
	const what = "the certificate that your acquirer knows, as PKCS#12, or PEM with its key"
	k.signing(at, k.certificate(at, c.current(), what, false))
	if c.Previous != nil {
		k.signing(at+".previous", k.certificate(at+".previous", c.Previous, what, true))
	}
	for i, name := range c.Decryption {
		k.decryption(fmt.Sprintf("%s.decryption.%d", at, i), name)
	}
	k.routing(at+".routing", c.Routing)
	k.banks(at, c)
	if id := idin.ServiceID(c.Services); c.Services < 0 || c.Services > 1<<16-1 || !id.Valid() { //nolint:gosec // the bounds stand beside it
		k.doc.Report(at+".services", "%d is no sum of what iDIN offers: 16384 id, 4096 name, 1024 address, 448 birth date or 64 for 18 or older, 16 gender, 4 telephone, 2 e-mail", c.Services)
	}
	if c.Incomplete != "" && c.Incomplete != cidin.Deliver && c.Incomplete != cidin.Refuse {
		k.doc.Report(at+".incomplete", "%q is neither deliver nor fail", c.Incomplete)
	}
	if c.Expiration != 0 && (c.Expiration < time.Minute || c.Expiration > 5*time.Minute || c.Expiration%time.Second != 0) {
		k.doc.Report(at+".expiration", "%s must be whole seconds between 1m and 5m", c.Expiration)
	}
	if c.Skew < 0 || c.Skew > 5*time.Minute {
		k.doc.Report(at+".skew", "%s must be between 0s and 5m", c.Skew)
	}
	if c.QR != nil {
		k.qr(at+".qr", c.QR, env)
	}
	if k.wrong(before) {
		return
	}
	set, _, err := c.contract(env) // what none of the rules above has found
	if err == nil {
		err = set.Check()
	}
	if err != nil {
		k.doc.Report(at, "%v", err)
	}
}

// wrong says whether an error was reported after the first n problems.
func (k *checker) wrong(n int) bool {
	for _, p := range k.doc.Problems[n:] {
		if !p.Warning {
			return true
		}
	}
	return false
}

// upstream checks an address that we call, if it is given. A simulator speaks
// http, and is for test keys alone.
func (k *checker) upstream(path, address string, env eid.Environment, owner string) {
	if address == "" {
		return
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || len(address) > maxAddress || u.Scheme != "https" && u.Scheme != "http":
		k.doc.Report(path, "must be an https address of at most %d characters, without a user name", maxAddress)
	case env == eid.Live && isLoopback(u.Hostname()):
		k.doc.Report(path, "is on this machine, as simulators are: live keys use %s itself", owner)
	case env == eid.Live && u.Scheme != "https":
		k.doc.Report(path, "must be https")
	}
}

// signing checks the key of a certificate that signs messages.
func (k *checker) signing(at string, c *tls.Certificate) {
	if c == nil {
		return
	}
	if key, ok := c.PrivateKey.(*rsa.PrivateKey); !ok || key.N.BitLen() < 2048 {
		k.doc.Report(at+".certificate", "iDIN takes RSA keys of 2048 bits or more: make a new pair")
	}
}

func (k *checker) decryption(path, name string) {
	if !k.secret(path, name) {
		return
	}
	if _, err := readDecryption(name); err != nil {
		k.doc.Report(path, "%v", err)
	}
}

// readDecryption reads an RSA key: nothing else decrypts here.
func readDecryption(name string) (string, error) {
	raw, err := os.ReadFile(name) //nolint:gosec // named by the configuration
	if err != nil {
		return "", unwrapPath(err)
	}
	b, _ := pem.Decode(raw)
	if b == nil {
		return "", errors.New("holds no key in PEM")
	}
	var key any
	if key, err = x509.ParsePKCS8PrivateKey(b.Bytes); err != nil {
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	}
	if k, ok := key.(*rsa.PrivateKey); err != nil || !ok || k.N.BitLen() < 2048 {
		return "", errors.New("must hold an RSA key of 2048 bits or more, as PKCS#8 or PKCS#1: keys that decrypt are RSA")
	}
	return string(pem.EncodeToMemory(b)), nil
}

// routing checks the certificates by which the routing service's answers are
// verified. That one of them has ended is a warning while another has not.
func (k *checker) routing(at string, files []string) {
	if len(files) == 0 {
		k.doc.Report(at, "is required: the routing service's certificate, from your acquirer's portal")
	}
	var last *x509.Certificate
	for i, name := range files {
		path := fmt.Sprintf("%s.%d", at, i)
		if !k.file(path, name) {
			continue
		}
		_, all, err := readCertificates(name)
		if err != nil {
			k.doc.Report(path, "%v", err)
		}
		for _, c := range all {
			if last == nil || c.NotAfter.After(last.NotAfter) {
				last = c
			}
		}
	}
	if last == nil {
		return
	}
	switch left := last.NotAfter.Sub(k.now); {
	case left <= 0:
		k.doc.Warn(at, "expired on %s: get the next certificate from your acquirer's portal and name it too", last.NotAfter.Format(time.DateOnly))
	case left < soon:
		k.doc.Warn(at, "expires in %d days (%s): get the next certificate from your acquirer's portal and name it too", int(left.Hours()/24), last.NotAfter.Format(time.DateOnly))
	}
}

// readCertificates reads every certificate of a PEM file.
func readCertificates(name string) (text string, all []*x509.Certificate, err error) {
	rest, err := os.ReadFile(name) //nolint:gosec // named by the configuration
	if err != nil {
		return "", nil, unwrapPath(err)
	}
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue // a key is no business of ours
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return "", nil, errors.New("holds a certificate that cannot be read")
		}
		text += string(pem.EncodeToMemory(b))
		all = append(all, c)
	}
	if len(all) == 0 {
		return "", nil, errors.New("holds no certificate in PEM")
	}
	return text, all, nil
}

// banks checks what is said of single banks.
func (k *checker) banks(at string, c *IDINConfig) {
	for _, id := range slices.Sorted(maps.Keys(c.Pins)) {
		path := at + ".pins." + id
		if !idin.ValidIssuer(id) {
			k.doc.Report(path, "is no BIC")
		}
		for i, pin := range c.Pins[id] {
			if raw, err := hex.DecodeString(pin); err != nil || len(raw) != 32 {
				k.doc.Report(fmt.Sprintf("%s.%d", path, i), "must be 64 hex digits: openssl x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum")
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Aliases)) {
		path := at + ".aliases." + id
		if !idin.ValidIssuer(id) {
			k.doc.Report(path, "is no BIC")
		}
		for i, other := range c.Aliases[id] {
			if !idin.ValidIssuer(other) {
				k.doc.Report(fmt.Sprintf("%s.%d", path, i), "%q is no BIC", other)
			}
		}
	}
}

func (k *checker) qr(at string, q *IDINQRConfig, env eid.Environment) {
	if !guidForm.MatchString(q.MerchantToken) {
		k.doc.Report(at+".merchant_token", "must be the GUID that the QR service calls Merchant token")
	}
	if q.QRBackendURL == "" && env == eid.Test {
		k.doc.Report(at+".qr_backend_url", "is required in test_eids: the default is the service for live keys")
	}
	k.upstream(at+".qr_backend_url", q.QRBackendURL, env, "the QR service")
	switch q.SecretEncoding {
	case "", string(idinqr.UTF8), string(idinqr.Hex), string(idinqr.Base64):
	default:
		k.doc.Report(at+".secret_encoding", "%q is none of utf8, hex, base64", q.SecretEncoding)
		return
	}
	if !k.secret(at+".secret_signing_key_file", q.SecretSigningKeyFile) {
		return
	}
	key, err := readLine(q.SecretSigningKeyFile)
	if err == nil {
		_, err = idinqr.ParseKey(key, idinqr.KeyMode(q.SecretEncoding))
	}
	if err != nil {
		k.doc.Report(at+".secret_signing_key_file", "%v", err)
	}
}

// readLine reads a secret of one line.
func readLine(name string) (string, error) {
	raw, err := os.ReadFile(name) //nolint:gosec // named by the configuration
	if err != nil {
		return "", unwrapPath(err)
	}
	text := strings.TrimRight(string(raw), "\r\n")
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return "", errors.New("must hold one line")
	}
	return text, nil
}

// idinAge finds what is wrong with who checks ages. contract says whether there
// is one about iDIN that it could use.
func (k *checker) idinAge(at string, a *IDINAgeConfig, env eid.Environment, contract bool) {
	switch a.Backend {
	case "idin":
		if !contract {
			k.doc.Report(at+".backend", "idin needs a contract: configure idin beside it, or use agechecked")
		}
		if a.AgeChecked != nil {
			k.doc.Report(at+".agechecked", "is for the backend agechecked: remove it, or change backend")
		}
		return
	case "agechecked":
	default:
		k.doc.Report(at+".backend", "%q is neither idin nor agechecked", a.Backend)
		return
	}
	c := a.AgeChecked
	if c == nil {
		k.doc.Report(at+".agechecked", "is required: your agreement with AgeChecked")
		return
	}
	before := len(k.doc.Problems)
	if c.URL != "" && env == eid.Live {
		k.doc.Report(at+".agechecked.url", "is only for test_eids: live keys use AgeChecked itself")
	} else {
		k.upstream(at+".agechecked.url", c.URL, env, "AgeChecked")
	}
	if k.secret(at+".agechecked.key_file", c.KeyFile) {
		if _, err := readLine(c.KeyFile); err != nil {
			k.doc.Report(at+".agechecked.key_file", "%v", err)
		}
	}
	if k.wrong(before) {
		return
	}
	set, err := c.settings(env)
	if err == nil {
		err = idinage.Settings{AgeChecked: &set}.Check()
	}
	if err != nil {
		k.doc.Report(at+".agechecked", "%v", err)
	}
}

func (c *IDINConfig) current() *CertificateConfig {
	return &CertificateConfig{c.Certificate, c.Key, c.PasswordFile}
}

// contract is what new transactions are begun with, and when its certificates
// end.
func (c *IDINConfig) contract(env eid.Environment) (set cidin.Settings, ends map[string]time.Time, err error) {
	set = cidin.Settings{MerchantID: c.MerchantID, SubID: c.SubID, LegalID: c.LegalID, Directory: c.DirectoryURL,
		Transaction: orElse(c.TransactionURL, c.DirectoryURL), Status: orElse(c.StatusURL, c.DirectoryURL), Pins: c.Pins, Aliases: c.Aliases,
		Services: uint16(c.Services), Incomplete: c.Incomplete, Expiration: c.Expiration, Skew: c.Skew, //nolint:gosec // checked
		AllowHTTP: overHTTP(env, c.DirectoryURL, c.TransactionURL, c.StatusURL), RetryOpen: c.StatusRetryAfterReturn, ThreeMinutes: c.StatusAtThreeMinutes}
	ends = map[string]time.Time{}
	if ends["rp"], err = sign(&set, c.current()); err != nil {
		return set, nil, err
	}
	for _, name := range c.Decryption {
		key, err := readDecryption(name)
		if err != nil {
			return set, nil, fmt.Errorf("decryption key %s: %w", name, err)
		}
		set.Decryption = append(set.Decryption, key)
	}
	for _, name := range c.Routing {
		text, all, err := readCertificates(name)
		if err != nil {
			return set, nil, fmt.Errorf("routing service's certificate %s: %w", name, err)
		}
		set.Routing += text
		for _, cert := range all {
			if cert.NotAfter.After(ends["routing"]) {
				ends["routing"] = cert.NotAfter
			}
		}
	}
	if c.QR == nil {
		return set, ends, nil
	}
	key, err := readLine(c.QR.SecretSigningKeyFile)
	if err != nil {
		return set, nil, fmt.Errorf("secret signing key: %w", err)
	}
	set.QR = &cidin.QR{Backend: orElse(c.QR.QRBackendURL, idinqr.LiveURL), Token: c.QR.MerchantToken, Secret: key, Encoding: c.QR.SecretEncoding}
	return set, ends, nil
}

// overHTTP says whether an address is a simulator's, which speaks http.
func overHTTP(env eid.Environment, addresses ...string) bool {
	return env == eid.Test && slices.ContainsFunc(addresses, func(a string) bool { return strings.HasPrefix(a, "http://") })
}

// sign puts a certificate and its key into a contract.
func sign(set *cidin.Settings, c *CertificateConfig) (ends time.Time, err error) {
	cert, err := loadRPCertificate(c)
	if err != nil {
		return ends, fmt.Errorf("certificate: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return ends, fmt.Errorf("key: %w", err)
	}
	set.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Leaf.Raw}))
	set.Key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	return cert.Leaf.NotAfter, nil
}

// contracts are the contract of today, and what the file came to before a
// certificate or a decryption key was renewed: transactions may still run that
// were begun under it.
func (c *IDINConfig) contracts(env eid.Environment) (now cidin.Settings, before []cidin.Settings, ends map[string]time.Time, err error) {
	if now, ends, err = c.contract(env); err != nil {
		return now, nil, nil, err
	}
	keys := [][]string{now.Decryption}
	if len(now.Decryption) > 1 {
		keys = append(keys, now.Decryption[1:])
	}
	signed := []cidin.Settings{now}
	if c.Previous != nil {
		old := now
		if _, err := sign(&old, c.Previous); err != nil {
			return now, nil, nil, fmt.Errorf("previous %w", err)
		}
		signed = append(signed, old)
		if len(now.Decryption) == 0 {
			now.Decryption = []string{now.Key, old.Key}
		}
	}
	for i, old := range signed {
		for j := range keys {
			if i+j > 0 {
				old.Decryption = keys[j]
				before = append(before, old)
			}
		}
	}
	return now, before, ends, nil
}

// agreement is with the acquirer.
func (c *IDINConfig) agreement(env eid.Environment) (agreement, error) {
	return c.agreed(env, func(s cidin.Settings) any { return s })
}

// agreed turns the contracts into an agreement of whoever uses them. Settings
// of before keep the key that they had, and get what is known of decryption
// since: a bank may encrypt for the certificate of today by now.
func (c *IDINConfig) agreed(env eid.Environment, as func(cidin.Settings) any) (out agreement, err error) {
	now, before, ends, err := c.contracts(env)
	if err != nil {
		return out, err
	}
	out.ends = ends
	if out.now, err = keyed(as(now)); err != nil {
		return out, err
	}
	for _, old := range before {
		was, err := keyed(as(old))
		if err != nil {
			return out, err
		}
		old.Decryption = now.Decryption
		is, err := keyed(as(old))
		if err != nil {
			return out, err
		}
		out.before = append(out.before, connector.Settings{Key: was.Key, Data: is.Data})
	}
	return out, nil
}

// agreement is with AgeChecked, or the contract about iDIN, of which a check
// of an age shows no code: a code calls back where identifications are.
func (a *IDINAgeConfig) agreement(env eid.Environment, contract *IDINConfig) (agreement, error) {
	if a.Backend == "idin" {
		if contract == nil {
			return agreement{}, errors.New("there is no contract about iDIN")
		}
		return contract.agreed(env, func(s cidin.Settings) any {
			s.QR = nil
			return idinage.Settings{IDIN: &s}
		})
	}
	set, err := a.AgeChecked.settings(env)
	if err != nil {
		return agreement{}, err
	}
	now, err := keyed(idinage.Settings{AgeChecked: &set})
	return agreement{now: now}, err
}

func (c *AgeCheckedConfig) settings(env eid.Environment) (idinage.AgeChecked, error) {
	base := agechecked.LiveBase
	if env == eid.Test {
		base = orElse(c.URL, agechecked.TestBase)
	}
	key, err := readLine(c.KeyFile)
	if err != nil {
		return idinage.AgeChecked{}, fmt.Errorf("key of AgeChecked: %w", err)
	}
	return idinage.AgeChecked{Base: strings.TrimSuffix(base, "/"), Key: key, Method: c.Method, URLField: c.URLField, Return: c.ReturnField,
		AllowHTTP: overHTTP(env, base)}, nil
}
