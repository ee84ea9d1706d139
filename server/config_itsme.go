package server

import (
	"fmt"
	"time"

	citsme "eidgate/connector/itsme"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/oidcrp"
)

// itsme finds everything that is wrong with a contract.
func (k *checker) itsme(at string, c *ItsmeConfig, env eid.Environment) {
	before := len(k.doc.Problems)
	if c.Issuer == "" {
		k.doc.Report(at+".issuer", "is required: https://idp.prd.itsme.services/v2 for live keys, https://idp.e2e.itsme.services/v2 for test keys")
	}
	k.upstream(at+".issuer", c.Issuer, env, "itsme")
	if c.ClientID == "" {
		k.doc.Report(at+".client_id", "is required: itsme's name for you, also called partner code")
	}
	if c.Service == "" {
		k.doc.Report(at+".service", "is required: the code of a service that shares data, or logs in")
	}
	switch {
	case c.ClientSecretFile == "" && len(c.Keys) == 0:
		k.doc.Report(at, "needs keys, one to sign and one that decrypts, or client_secret_file")
	case c.ClientSecretFile != "":
		if k.secret(at+".client_secret_file", c.ClientSecretFile) {
			if _, err := readLine(c.ClientSecretFile); err != nil {
				k.doc.Report(at+".client_secret_file", "%v", err)
			}
		}
	}
	k.keys(at+".keys", c.Keys)
	if k.wrong(before) {
		return
	}
	set, err := c.settings(env)
	if err == nil {
		err = set.Check()
	}
	if err != nil {
		k.doc.Report(at, "%v", err)
	}
}

// keys checks keys of ours that an eID knows.
func (k *checker) keys(at string, keys []EIDKeyConfig) {
	seen := map[string]bool{}
	for i, key := range keys {
		path := fmt.Sprintf("%s.%d", at, i)
		if key.ID == "" || seen[key.ID] {
			k.doc.Report(path+".id", "is required, and must be another one for each key: eIDs find keys by it")
		}
		seen[key.ID] = true
		if key.Use != "sign" && key.Use != "decrypt" {
			k.doc.Report(path+".use", "%q is neither sign nor decrypt", key.Use)
		}
		if k.secret(path+".file", key.File) {
			if _, err := readDecryption(key.File); err != nil {
				k.doc.Report(path+".file", "%v", err)
			}
		}
	}
}

// settings are what the connector needs.
func (c *ItsmeConfig) settings(env eid.Environment) (citsme.Settings, error) {
	set := citsme.Settings{Settings: openid.Settings{Issuer: c.Issuer, ClientID: c.ClientID, Auth: oidcrp.PrivateKeyJWT, AllowHTTP: overHTTP(env, c.Issuer)},
		Generation: c.Generation, Service: c.Service, Login: c.LoginService, Scopes: c.Scopes, Claims: c.Claims, Level: c.Level}
	if c.ClientSecretFile != "" {
		secret, err := readLine(c.ClientSecretFile)
		if err != nil {
			return set, fmt.Errorf("client secret: %w", err)
		}
		set.Auth, set.Secret = oidcrp.SecretPost, secret
	}
	alg := "RSA-OAEP-256"
	if c.Generation == 1 {
		alg = "RSA-OAEP"
	}
	for _, key := range c.Keys {
		text, err := readDecryption(key.File)
		if err != nil {
			return set, fmt.Errorf("key %s: %w", key.ID, err)
		}
		k := openid.Key{ID: key.ID, Use: "sig", Alg: "RS256", PEM: text, Until: key.Until}
		if key.Use == "decrypt" {
			k.Use, k.Alg = "enc", alg
		}
		set.Keys = append(set.Keys, k)
	}
	return set, nil
}

func (c *ItsmeConfig) agreement(env eid.Environment) (agreement, error) {
	set, err := c.settings(env)
	if err != nil {
		return agreement{}, fmt.Errorf("itsme: %w", err)
	}
	now, err := keyed(set)
	if err != nil {
		return agreement{}, err
	}
	// Logins that have begun go on when keys or a secret were renewed.
	who, err := keyed([]any{"itsme", set.Issuer, set.ClientID, set.Service})
	now.Key = who.Key
	out := agreement{now: now}
	if len(set.Keys) > 0 && err == nil {
		out.keys = func(now func() time.Time) ([]byte, error) { return set.JWKS(now) }
	}
	return out, err
}
