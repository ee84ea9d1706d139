package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/relying"
)

// agreements are by which the eIDs know relying parties: the server's own, and
// those that parties have made themselves, which win.
type agreements map[holder]agreement

// A holder is who has an agreement with an eID: a configuration of an account,
// the account (config is ""), or the server (account is "" too).
type holder struct {
	env             eid.Environment
	eid             eid.EID
	account, config string
}

// An agreement is what new orders are begun with, and what orders may still
// run under that were begun before a certificate was renewed.
type agreement struct {
	now    connector.Settings
	before []connector.Settings
	ends   time.Time // of the certificate of now; zero where there is none
}

// find looks from the most particular holder to the server.
func (a agreements) find(env eid.Environment, e eid.EID, account, config string) (agreement, bool) {
	for _, h := range []holder{{env, e, account, config}, {env, e, account, ""}, {env, e, "", ""}} {
		if found, ok := a[h]; ok {
			return found, true
		}
	}
	return agreement{}, false
}

// eids lists what is configured for anybody in an environment.
func (a agreements) eids(env eid.Environment) []eid.EID {
	var out []eid.EID
	for h := range a {
		if h.env == env && !slices.Contains(out, h.eid) {
			out = append(out, h.eid)
		}
	}
	return out
}

// has says whether an account can use an eID.
func (a agreements) has(account *relying.Account, env eid.Environment, e eid.EID) bool {
	_, ok := a.find(env, e, account.ID, "")
	return ok
}

// find is what the broker asks for. An order keeps the settings that it
// was begun with while the configuration has them; BankID gives an order to
// nobody but the certificate's owner who began it (docs/protocols/bankidse.md §2.4).
func (c *core) find(ctx context.Context, s *broker.Session, e eid.EID, begun string) (connector.Settings, error) {
	found, ok := c.agreements.find(s.Environment, e, s.Account, s.Config)
	if !ok {
		return connector.Settings{}, fmt.Errorf("no agreement with %s for %s", e, s.Environment)
	}
	if begun == "" || begun == found.now.Key {
		return found.now, nil
	}
	for _, old := range found.before {
		if old.Key == begun {
			return old, nil
		}
	}
	c.log.WarnContext(ctx, "the certificate that began this order is not configured any more", "session", s, "eid", e)
	return found.now, nil
}

// keyed turns settings into what their connector reads.
func keyed(s any) (connector.Settings, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return connector.Settings{}, err
	}
	sum := sha256.Sum256(raw)
	return connector.Settings{Key: fmt.Sprintf("%x", sum[:16]), Data: raw}, nil
}

// agreements reads every agreement of the configuration.
func (c *Config) agreements() (agreements, error) {
	out := agreements{}
	add := func(account, config string, live, test *EIDsConfig) error {
		for env, e := range map[eid.Environment]*EIDsConfig{eid.Live: live, eid.Test: test} {
			if e.BankIDSE == nil {
				continue
			}
			a, err := e.BankIDSE.agreement(env)
			if err != nil {
				return err
			}
			out[holder{env, eid.BankIDSE, account, config}] = a
		}
		return nil
	}
	if err := add("", "", &c.EIDs, &c.TestEIDs); err != nil {
		return nil, err
	}
	for _, a := range c.Accounts {
		for i := range a.Configs {
			f := &a.Configs[i]
			if err := add(a.ID, f.ID, &f.EIDs, &f.TestEIDs); err != nil {
				return nil, fmt.Errorf("account %s: %w", a.ID, err)
			}
			if len(a.Configs) == 1 { // the only one counts without a configid too: relying.Account.Config
				if err := add(a.ID, "", &f.EIDs, &f.TestEIDs); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, nil
}

// agreement is with the certificate of today and, while orders run that were
// begun with it, the one before.
func (b *BankIDSEConfig) agreement(env eid.Environment) (out agreement, err error) {
	cert, err := loadRPCertificate(b.current())
	if err != nil {
		return out, fmt.Errorf("RP certificate: %w", err)
	}
	out.ends = cert.Leaf.NotAfter
	set, err := b.settings(env, cert)
	if err != nil {
		return out, err
	}
	if out.now, err = keyed(set); err != nil || b.Previous == nil {
		return out, err
	}
	if cert, err = loadRPCertificate(b.Previous); err != nil {
		return out, fmt.Errorf("previous RP certificate: %w", err)
	}
	if set, err = b.settings(env, cert); err != nil {
		return out, err
	}
	old, err := keyed(set)
	out.before = []connector.Settings{old}
	return out, err
}
