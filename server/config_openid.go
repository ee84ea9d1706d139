package server

import (
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	cbankidno "eidgate/connector/bankidno"
	cmitid "eidgate/connector/mitid"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/jose"
	"eidgate/internal/oidcrp"
)

// openIDContract is what every contract with an eID that speaks OpenID Connect has.
type openIDContract struct {
	issuer, clientID, secretFile string
	keys                         []EIDKeyConfig
	secretBy                     oidcrp.AuthMethod // how a secret is sent
	keyAlg                       string            // of keys that decrypt
}

// openID checks what is common to contracts; false where something is wrong.
// live and test are the eID's own addresses.
func (k *checker) openID(at string, c openIDContract, env eid.Environment, owner, live, test, needs string) bool {
	before := len(k.doc.Problems)
	if c.issuer == "" {
		k.doc.Report(at+".issuer", "is required: %s for live keys, %s for test keys", live, test)
	}
	k.upstream(at+".issuer", c.issuer, env, owner)
	if c.clientID == "" {
		k.doc.Report(at+".client_id", "is required: the name that %s has for you", owner)
	}
	switch {
	case c.secretFile == "" && len(c.keys) == 0:
		k.doc.Report(at, "needs keys, %s, or client_secret_file", needs)
	case c.secretFile != "":
		if k.secret(at+".client_secret_file", c.secretFile) {
			if _, err := readLine(c.secretFile); err != nil {
				k.doc.Report(at+".client_secret_file", "%v", err)
			}
		}
	}
	k.keys(at+".keys", c.keys, c.keyAlg != "")
	return !k.wrong(before)
}

// keys checks keys of ours that an eID knows; opens says whether any decrypt.
func (k *checker) keys(at string, keys []EIDKeyConfig, opens bool) {
	seen := map[string]bool{}
	signs := 0
	for i, key := range keys {
		path := fmt.Sprintf("%s.%d", at, i)
		if key.ID == "" || seen[key.ID] {
			k.doc.Report(path+".id", "is required, and must be another one for each key: eIDs find keys by it")
		}
		seen[key.ID] = true
		switch {
		case key.Use != "sign" && key.Use != "decrypt":
			k.doc.Report(path+".use", "%q is neither sign nor decrypt", key.Use)
		case key.Use == "decrypt" && !opens:
			k.doc.Report(path+".use", "decrypt has no use here: this eID encrypts nothing")
		}
		if key.Use == "sign" {
			if signs++; signs > 1 && key.Until.IsZero() {
				k.doc.Report(path+".until", "is required: there is a newer key to sign above it, which takes over then")
			}
		}
		if k.secret(path+".file", key.File) && (key.Use == "sign" || key.Use == "decrypt") {
			if _, err := key.read(""); err != nil {
				k.doc.Report(path+".file", "%v", err)
			}
		}
	}
}

// keyUses are what our keys are for: as the connector says it, as the configuration
// does, and as a problem does.
var keyUses = []struct{ use, name, text string }{{jose.Signing, "sign", "to sign"}, {jose.Encrypting, "decrypt", "that decrypts"}}

// lasts is when the last key of a use ends; zero where none is, or one has no end.
func lasts(keys []openid.Key, use string) (last time.Time) {
	for _, key := range keys {
		switch {
		case key.Use != use:
		case key.Until.IsZero():
			return time.Time{}
		case key.Until.After(last):
			last = key.Until
		}
	}
	return last
}

// read is a key as the connector takes it; opens is the algorithm of keys that
// decrypt.
func (c *EIDKeyConfig) read(opens string) (openid.Key, error) {
	out := openid.Key{ID: c.ID, Use: jose.Signing, Until: c.Until}
	var err error
	if c.Use == "decrypt" {
		out.Use, out.Alg = jose.Encrypting, opens
		out.PEM, err = readDecryption(c.File)
	} else {
		out.PEM, out.Alg, err = readSigning(c.File)
	}
	return out, err
}

// readSigning reads a key to sign with.
func readSigning(name string) (text, alg string, err error) {
	raw, err := os.ReadFile(name) //nolint:gosec // named by the configuration
	if err != nil {
		return "", "", unwrapPath(err)
	}
	b, rest := pem.Decode(raw)
	for b != nil && b.Type == "EC PARAMETERS" { // "openssl ecparam" writes the curve first
		b, rest = pem.Decode(rest)
	}
	if b == nil {
		return "", "", errors.New("holds no key in PEM")
	}
	text = string(pem.EncodeToMemory(b))
	alg, err = openid.SigningAlg(text)
	return text, alg, err
}

// settings reports what only the connector finds, and warns of keys that end.
func (k *checker) settings(at string, d openid.Dialect, set any, keys []openid.Key, err error) {
	if err == nil {
		err = d.Check(set)
	}
	if err != nil {
		k.doc.Report(at, "%v", err)
	}
	for _, u := range keyUses {
		last := lasts(keys, u.use)
		if left := last.Sub(k.now); !last.IsZero() && left > 0 && left < soon {
			k.doc.Warn(at+".keys", "the last one %s ends in %d days (%s): name a newer one above it, which the eID then knows in time", u.text, int(left.Hours()/24), last.Format(time.DateOnly))
		}
	}
}

// settings are what the connector needs of a contract.
func (c openIDContract) settings(env eid.Environment) (openid.Settings, error) {
	set := openid.Settings{Issuer: c.issuer, ClientID: c.clientID, Auth: oidcrp.PrivateKeyJWT, AllowHTTP: overHTTP(env, c.issuer)}
	if c.secretFile != "" {
		secret, err := readLine(c.secretFile)
		if err != nil {
			return set, fmt.Errorf("client secret: %w", err)
		}
		set.Auth, set.Secret = c.secretBy, secret
	}
	for _, key := range c.keys {
		k, err := key.read(c.keyAlg)
		if err != nil {
			return set, fmt.Errorf("key %s: %w", key.ID, err)
		}
		set.Keys = append(set.Keys, k)
	}
	return set, nil
}

// byOpenID is the agreement of settings. Logins that have begun go on when keys
// or a secret were renewed.
func byOpenID(set any, base openid.Settings) (agreement, error) {
	now, err := keyed(set)
	out := agreement{now: now, renews: true, ends: map[string]time.Time{}}
	for _, u := range keyUses {
		if last := lasts(base.Keys, u.use); !last.IsZero() {
			out.ends[u.name] = last
		}
	}
	if len(base.Keys) > 0 && err == nil {
		out.keys = func(now func() time.Time) ([]byte, error) { return base.JWKS(now) }
	}
	return out, err
}

func (c *BankIDNOConfig) contract() openIDContract {
	return openIDContract{issuer: c.Issuer, clientID: c.ClientID, secretFile: c.ClientSecretFile, keys: c.Keys, secretBy: oidcrp.SecretBasic}
}

// bankIDNO finds everything that is wrong with a contract.
func (k *checker) bankIDNO(at string, c *BankIDNOConfig, env eid.Environment) {
	if k.openID(at, c.contract(), env, "BankID", "https://auth.bankid.no/auth/realms/prod", "https://auth.current.bankid.no/auth/realms/current", "one to sign") {
		set, err := c.settings(env)
		k.settings(at, cbankidno.Dialect(), set, set.Keys, err)
	}
}

func (c *BankIDNOConfig) settings(env eid.Environment) (cbankidno.Settings, error) {
	base, err := c.contract().settings(env)
	return cbankidno.Settings{Settings: base, Scopes: c.Scopes, Method: c.Method, Level: c.Level}, err
}

func (c *BankIDNOConfig) agreement(env eid.Environment) (agreement, error) {
	set, err := c.settings(env)
	if err != nil {
		return agreement{}, fmt.Errorf("bankid_no: %w", err)
	}
	return byOpenID(set, set.Settings)
}

func (c *MitIDConfig) contract() openIDContract {
	return openIDContract{issuer: c.Issuer, clientID: c.ClientID, secretFile: c.ClientSecretFile, keys: c.Keys, secretBy: oidcrp.SecretBasic}
}

// mitID finds everything that is wrong with a contract.
func (k *checker) mitID(at string, c *MitIDConfig, env eid.Environment) {
	if k.openID(at, c.contract(), env, "the broker", "https://netseidbroker.dk/op", "https://pp.netseidbroker.dk/op", "one to sign") {
		set, err := c.settings(env)
		k.settings(at, cmitid.Dialect(), set, set.Keys, err)
	}
}

func (c *MitIDConfig) settings(env eid.Environment) (cmitid.Settings, error) {
	base, err := c.contract().settings(env)
	return cmitid.Settings{Settings: base, Scopes: c.Scopes, Level: c.Level, Reference: c.ReferenceText, Action: c.ActionText}, err
}

func (c *MitIDConfig) agreement(env eid.Environment) (agreement, error) {
	set, err := c.settings(env)
	if err != nil {
		return agreement{}, fmt.Errorf("mitid: %w", err)
	}
	return byOpenID(set, set.Settings)
}
