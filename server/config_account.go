package server

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/idna"

	"eidgate/api/zignsec"
	"eidgate/eid"
	"eidgate/internal/safehttp"
	"eidgate/notify"
	"eidgate/relying"
	"eidgate/web"
)

// sandboxKeyPrefix begins every key of the sandbox, on every computer the
// same; a live server refuses them.
const sandboxKeyPrefix = "5a4db0c5-0000-4000-8000-"

func (k *checker) account(at string, a *AccountConfig, c *Config, seen map[string]string) {
	if !uuidText.MatchString(a.ID) {
		k.doc.Report(at+".id", "%q must be a UUID in lower case; make one once and keep it", a.ID)
	} else if other, twice := seen[a.ID]; twice {
		k.doc.Report(at+".id", "is the id of %s too", other)
	}
	seen[a.ID] = at
	if a.Name == "" {
		k.doc.Report(at+".name", "is required: people read it on every page")
	}
	if len(a.Keys) == 0 && len(a.OIDCClients) == 0 {
		k.doc.Report(at+".keys", "needs at least one key, or oidc_clients beside it")
	}
	count := map[string]int{}
	for i, key := range a.Keys {
		k.key(fmt.Sprintf("%s.keys.%d", at, i), key, seen)
		if count[key.Environment]++; count[key.Environment] == 6 {
			k.doc.Report(at+".keys", "more than 5 keys for %s", key.Environment)
		}
	}
	if count["live"] > 0 && len(a.Hosts) == 0 {
		k.doc.Report(at+".hosts", "is required with live keys: the hosts that people may be sent back to")
	}
	callers := map[string]string{}
	for i := range a.OIDCClients {
		k.client(fmt.Sprintf("%s.oidc_clients.%d", at, i), &a.OIDCClients[i], a, seen)
		callers[a.OIDCClients[i].Environment] = "oidc_clients"
	}
	for env := range count {
		callers[env] = "keys"
	}
	k.configs(at, a, c, callers)
	k.themes(at, a)
	known := slices.Sorted(maps.Keys(constructors))
	for i, e := range a.EIDs {
		if !slices.Contains(known, eid.EID(e)) {
			k.doc.Report(fmt.Sprintf("%s.eids.%d", at, i), "%q is not an eID that this server has; known: %s", e, join(known))
		}
	}
	if !a.signs() && (a.WebhookTest != "" || a.WebhookLive != "") {
		k.doc.Report(at+".webhook_secret_file", "is required with notifications")
	}
	k.webhookSecrets(at, a)
	if a.WebhookEmail != "" && a.WebhookEmail != "thin" && a.WebhookEmail != "full" {
		k.doc.Report(at+".webhook_email", "%q is neither thin nor full", a.WebhookEmail)
	}
	if n := a.Switches.WebhookMaxAttempts; n != 0 && n != 3 && n != 20 {
		k.doc.Report(at+".switches.webhook_max_attempts", "%d is neither 20 nor 3", n)
	}
	if a.Switches.WildcardFrameOrigin {
		k.doc.Warn(at+".switches.wildcard_frame_origin", "lets every page on the web frame this account's pages; name the party's own in frames instead")
	}
	for name, n := range map[string]int{"setups": a.Limits.Setups, "reads": a.Limits.Reads} {
		if n < 0 || n > 100_000 {
			k.doc.Report(at+".limits."+name, "%d must be between 1 and 100000", n)
		}
	}
	if a.Keep != 0 && (a.Keep < 5*time.Minute || a.Keep > 720*time.Hour) {
		k.doc.Report(at+".keep", "%s must be between 5m and 720h", written(a.Keep))
	}
	k.reach(at, a, c)
}

// words are loaded once, and only where an account names a language.
var words = sync.OnceValues(web.NewWords)

// reach checks who may call, frame and be called, and in which language.
func (k *checker) reach(at string, a *AccountConfig, c *Config) {
	if l := a.Language; l != "" && !strings.EqualFold(l, "en") {
		w, err := words()
		if err != nil {
			k.doc.Report(at+".language", "%v", err)
		} else if w.Choose("", l) == "en" { // which is what nothing matches
			k.doc.Report(at+".language", "%q is not a language that pages have; known: %s", l, strings.Join(slices.Sorted(slices.Values(w.Languages())), ", "))
		}
	}
	if item := zignsec.BadAddress(a.AllowedIPs); item != "" {
		k.doc.Report(at+".allowed_ips", "%q is no address, network or range, such as 203.0.113.7, 10.0.0.0/8 or 10.0.0.5-10.0.0.9", item)
	}
	for i, h := range a.Hosts {
		here := fmt.Sprintf("%s.hosts.%d", at, i)
		u, err := url.Parse("https://" + h)
		if err != nil || u.Host != h || h == "" {
			k.doc.Report(here, "%q must be a host, perhaps with a port, for example shop.example", h)
			continue
		}
		k.ascii(here, u)
	}
	for i, o := range a.Frames {
		here := fmt.Sprintf("%s.frames.%d", at, i)
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || o != u.Scheme+"://"+u.Host || strings.ContainsAny(o, "*;,'") {
			k.doc.Report(here, "%q must be an origin, for example https://shop.example", o)
			continue
		}
		k.ascii(here, u)
	}
	k.webhook(at+".webhook_test", a.WebhookTest, eid.Test, c)
	k.webhook(at+".webhook_live", a.WebhookLive, eid.Live, c)
	for i, f := range a.Configs {
		here := fmt.Sprintf("%s.configs.%d", at, i)
		k.webhook(here+".webhook_test", f.WebhookTest, eid.Test, c)
		k.webhook(here+".webhook_live", f.WebhookLive, eid.Live, c)
	}
}

// ascii refuses a host whose letters addresses and headers write in another way:
// what is compared with it would never be equal.
func (k *checker) ascii(at string, u *url.URL) {
	host := u.Hostname()
	if name, err := idna.Lookup.ToASCII(host); err == nil && !strings.EqualFold(name, host) {
		k.doc.Report(at, "%s must be written as addresses have it: %s", host, name)
	}
}

// webhook checks an address of notifications as that of a request is.
func (k *checker) webhook(at, address string, env eid.Environment, c *Config) {
	if address == "" {
		return
	}
	networks, _ := c.Webhooks.networks() // what is none is reported there
	_, err := safehttp.CheckURL(address, livePolicy(env, c.Server.PublicURL, networks))
	if e := (*safehttp.Error)(nil); errors.As(err, &e) {
		k.doc.Report(at, "cannot be used: %s", e.Rule)
	}
}

// configs checks the account's configurations, and for each eID that every one
// of them finds an agreement or none does: otherwise requests would fail late.
// callers names the setting that lets somebody call, for each environment.
func (k *checker) configs(at string, a *AccountConfig, c *Config, callers map[string]string) {
	ids := map[string]bool{}
	for i := range a.Configs {
		f, here := &a.Configs[i], fmt.Sprintf("%s.configs.%d", at, i)
		if ids[f.ID] {
			k.doc.Report(here+".id", "%q stands here a second time", f.ID)
		}
		ids[f.ID] = true
		if !a.signs() && (f.WebhookTest != "" || f.WebhookLive != "") {
			k.doc.Report(at+".webhook_secret_file", "is required with notifications")
		}
		k.eids(here+".eids", &f.EIDs, eid.Live, c.EIDs.IDIN)
		k.eids(here+".test_eids", &f.TestEIDs, eid.Test, c.TestEIDs.IDIN)
	}
	for _, env := range []struct {
		name, path string
		server     *EIDsConfig
		own        func(*ConfigConfig) *EIDsConfig
	}{
		{"live", "eids", &c.EIDs, func(f *ConfigConfig) *EIDsConfig { return &f.EIDs }},
		{"test", "test_eids", &c.TestEIDs, func(f *ConfigConfig) *EIDsConfig { return &f.TestEIDs }},
	} {
		if callers[env.name] == "" {
			continue
		}
		found := false
		for _, e := range eidKeys {
			own := 0
			for i := range a.Configs {
				if e.is(env.own(&a.Configs[i])) {
					own++
				}
			}
			found = found || own > 0 || e.is(env.server)
			general := ids[""] || len(a.Configs) == 1
			if own > 0 && !e.is(env.server) && (own < len(a.Configs) || !general) {
				k.doc.Report(at+".configs", "%s has no %s, so each of these, and one of them without an id, needs its own", env.path, e.name)
			}
		}
		if !found {
			what := callers[env.name]
			k.doc.Warn(at+"."+what, "%s %s, but no eID is configured under %s", env.name, strings.TrimPrefix(what, "oidc_"), env.path)
		}
	}
}

// join lists eIDs for people.
func join(all []eid.EID) string {
	var out []string
	for _, e := range all {
		out = append(out, string(e))
	}
	return strings.Join(out, ", ")
}

func (k *checker) key(at string, key KeyConfig, seen map[string]string) {
	if key.Environment != "test" && key.Environment != "live" {
		k.doc.Report(at+".environment", "%q is neither test nor live", key.Environment)
	}
	if !k.secret(at+".file", key.File) {
		return
	}
	text, err := readKey(key.File)
	switch {
	case err != nil:
		k.doc.Report(at+".file", "%v", err)
	case strings.HasPrefix(text, sandboxKeyPrefix):
		k.doc.Report(at+".file", "holds a key of the sandbox, which everybody knows")
	case seen["key "+text] != "":
		k.doc.Report(at+".file", "holds the same key as %s", seen["key "+text])
	default:
		seen["key "+text] = at
	}
}

func readKey(path string) (string, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	if err != nil {
		return "", err
	}
	text := strings.ToLower(strings.TrimSpace(string(raw)))
	if !uuidText.MatchString(text) {
		return "", errors.New("does not hold a UUID; make one with: uuidgen")
	}
	return text, nil
}

// signs says whether notifications have a Standard Webhooks signature.
func (a *AccountConfig) signs() bool { return a.WebhookSecretFile != "" || a.WebhookSigningFile != "" }

// webhookSecrets checks the secret and the key that sign notifications, and
// those that they replace.
func (k *checker) webhookSecrets(at string, a *AccountConfig) {
	k.replacing(at, "webhook_secret_file", a.WebhookSecretFile, "webhook_former_secret_file", a.WebhookFormerFile,
		"secret", "the one in webhook_secret_file", readWebhookSecret)
	k.replacing(at, "webhook_signing_key_file", a.WebhookSigningFile, "webhook_former_signing_key_file", a.WebhookFormerSigningFile,
		"key", "what eidgate delivery key prints first", readWebhookSigning)
}

// replacing checks one of them: what it is called, and what the party is to be
// given of it.
func (k *checker) replacing(at, name, file, formerName, formerFile, what, give string, from func(path string) (relying.Secret, error)) {
	read := func(name, file string) (text relying.Secret) {
		if file == "" || !k.secret(at+"."+name, file) {
			return ""
		}
		text, err := from(file)
		if err != nil {
			k.doc.Report(at+"."+name, "%v", err)
		}
		return text
	}
	current, former := read(name, file), read(formerName, formerFile)
	switch here := at + "." + formerName; {
	case formerFile == "":
	case file == "":
		k.doc.Report(here, "needs %s beside it: the %s that replaces it", name, what)
	case former == "" || current == "": // that is said
	case former == current:
		k.doc.Report(here, "holds the same %s as %s, which must hold the new one", what, name)
	default:
		k.doc.Warn(here, "notifications have a signature with each of two %ss; give the party %s, and take this line away when it verifies with that", what, give)
	}
}

func readWebhookSecret(path string) (relying.Secret, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(raw))
	rest, ok := strings.CutPrefix(text, "whsec_")
	b, err := base64.StdEncoding.DecodeString(rest)
	if !ok || err != nil || len(b) < 24 || len(b) > 64 {
		return "", errors.New(`must be "whsec_" and the base64 of 24 to 64 random bytes: echo "whsec_$(openssl rand -base64 32)"`)
	}
	return relying.Secret(text), nil
}

// readWebhookSigning reads a private key, as notify.Sign takes it.
func readWebhookSigning(path string) (relying.Secret, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	if err != nil {
		return "", unwrapPath(err)
	}
	if b, _ := pem.Decode(raw); b != nil {
		key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
		if own, ok := key.(ed25519.PrivateKey); err == nil && ok {
			return relying.Secret(notify.Private(own)), nil
		}
	}
	return "", errors.New("must hold an Ed25519 key in PEM, as PKCS#8: openssl genpkey -algorithm ed25519")
}

func readMaster(path string) ([]byte, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(key) != 32 {
		return nil, errors.New("must hold 64 hex digits: openssl rand -hex 32")
	}
	if bytes.Equal(key, make([]byte, len(key))) {
		return nil, errors.New("holds nothing but zeros, which everybody can guess: openssl rand -hex 32")
	}
	return key, nil
}

// record is the account as the store keeps it.
func (a *AccountConfig) record() (*relying.Account, error) {
	out := &relying.Account{ID: a.ID, Name: a.Name, Language: a.Language, Hosts: a.Hosts, Frames: a.Frames, Layout: a.Layout,
		AllowedIPs: a.AllowedIPs, WebhookEmail: a.WebhookEmail, Keep: a.Keep,
		Webhooks: addresses(a.WebhookTest, a.WebhookLive), Limits: relying.Limits(a.Limits), Switches: relying.Switches{
			DropStateOnSuccess: a.Switches.DropStateOnSuccess, LegacyErrorStatus: a.Switches.LegacyErrorStatus,
			PostMessageJSON: a.Switches.PostMessageJSON, TargetErrorDetails: a.Switches.TargetErrorDetails,
			HMACHexUpper: a.Switches.HMACHexUpper, IdentificationDateLocal: a.Switches.IdentificationDateLocal,
			WildcardFrameOrigin: a.Switches.WildcardFrameOrigin, AskPersonalNumber: a.Switches.AskPersonalNumber,
			ItsmeLegacyNames: a.Switches.ItsmeLegacyNames, ItsmeBounceURL: a.Switches.ItsmeBounceURL,
			EchoCustom: a.Switches.EchoCustom, WebhookMaxAttempts: a.Switches.WebhookMaxAttempts, NoWebhookHMAC: a.Switches.NoWebhookHMAC}}
	for i := range a.Configs {
		f := &a.Configs[i]
		out.Configs = append(out.Configs, relying.Config{ID: f.ID, Layout: f.Layout, Webhooks: addresses(f.WebhookTest, f.WebhookLive)})
	}
	for i := range a.Themes {
		out.Layouts = append(out.Layouts, a.Themes[i].Name)
	}
	for _, e := range a.EIDs {
		out.EIDs = append(out.EIDs, eid.EID(e))
	}
	for _, one := range []struct {
		file string
		from func(path string) (relying.Secret, error)
	}{{a.WebhookSecretFile, readWebhookSecret}, {a.WebhookFormerFile, readWebhookSecret},
		{a.WebhookSigningFile, readWebhookSigning}, {a.WebhookFormerSigningFile, readWebhookSigning}} {
		if one.file == "" {
			continue
		}
		secret, err := one.from(one.file)
		if err != nil {
			return nil, fmt.Errorf("webhook secret of account %s: %w", a.ID, err)
		}
		out.WebhookSecrets = append(out.WebhookSecrets, secret)
	}
	return out, nil
}

func addresses(test, live string) map[eid.Environment]string {
	out := map[eid.Environment]string{}
	if test != "" {
		out[eid.Test] = test
	}
	if live != "" {
		out[eid.Live] = live
	}
	return out
}
