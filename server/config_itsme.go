package server

import (
	"fmt"

	citsme "eidgate/connector/itsme"
	"eidgate/eid"
	"eidgate/internal/oidcrp"
)

func (c *ItsmeConfig) contract() openIDContract {
	out := openIDContract{issuer: c.Issuer, clientID: c.ClientID, secretFile: c.ClientSecretFile, keys: c.Keys, secretBy: oidcrp.SecretPost, keyAlg: "RSA-OAEP-256"}
	if c.Generation == 1 {
		out.keyAlg = "RSA-OAEP"
	}
	return out
}

// itsme finds everything that is wrong with a contract.
func (k *checker) itsme(at string, c *ItsmeConfig, env eid.Environment) {
	if c.Service == "" {
		k.doc.Report(at+".service", "is required: the code of a service that shares data, or logs in")
	}
	if k.openID(at, c.contract(), env, "itsme", "https://idp.prd.itsme.services/v2", "https://idp.e2e.itsme.services/v2", "one to sign and one that decrypts") && c.Service != "" {
		set, err := c.settings(env)
		k.settings(at, citsme.Dialect(), set, set.Keys, err)
		if set.Signs() && !set.Opens() && set.Generation != 1 {
			k.doc.Warn(at+".keys", "has none that decrypts: only a contract without encryption works so")
		}
	}
}

// settings are what the connector needs.
func (c *ItsmeConfig) settings(env eid.Environment) (citsme.Settings, error) {
	base, err := c.contract().settings(env)
	return citsme.Settings{Settings: base, Generation: c.Generation, Service: c.Service, Login: c.LoginService, Scopes: c.Scopes, Claims: c.Claims, Level: c.Level,
		Unencrypted: c.Unencrypted, OldDevice: c.OldDevice}, err
}

func (c *ItsmeConfig) agreement(env eid.Environment) (agreement, error) {
	set, err := c.settings(env)
	if err != nil {
		return agreement{}, fmt.Errorf("itsme: %w", err)
	}
	return byOpenID(set, set.Settings)
}
