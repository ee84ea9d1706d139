package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
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
	renews bool                 // orders that earlier settings began go on with those of now: a key or a secret is another
	ends   map[string]time.Time // of certificates, by what they are for: "rp" signs for the party, "routing" for the upstream; and of the last key to "sign" or "decrypt", where each has an end

	keys func(now func() time.Time) ([]byte, error) // the public half of keys that the eID fetches from us; nil for none
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
	if begun == "" || begun == found.now.Key || found.renews {
		return found.now, nil
	}
	for _, old := range found.before {
		if old.Key == begun {
			return old, nil
		}
	}
	c.log.WarnContext(ctx, "the settings that began this order are not configured any more", "session", s, "eid", e)
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

// contracts lists what the upstreams' lists are kept for: each settings once.
func (a agreements) contracts() []broker.Contract {
	var out []broker.Contract
	for h, found := range a {
		out = append(out, broker.Contract{Environment: h.env, EID: h.eid, Settings: found.now})
	}
	order := func(x, y broker.Contract) int {
		return cmp.Or(cmp.Compare(x.Environment, y.Environment), cmp.Compare(x.EID, y.EID), cmp.Compare(x.Settings.Key, y.Settings.Key))
	}
	slices.SortFunc(out, order)
	return slices.CompactFunc(out, func(x, y broker.Contract) bool { return order(x, y) == 0 })
}

// agreements reads every agreement of the configuration.
func (c *Config) agreements() (agreements, error) {
	out := agreements{}
	add := func(account, config string, live, test *EIDsConfig) error {
		for env, blocks := range map[eid.Environment][2]*EIDsConfig{eid.Live: {live, &c.EIDs}, eid.Test: {test, &c.TestEIDs}} {
			made, err := blocks[0].agreements(env, cmp.Or(blocks[0].IDIN, blocks[1].IDIN))
			if err != nil {
				return err
			}
			for e, a := range made {
				out[holder{env, e, account, config}] = a
			}
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

// agreements are those of one block. contract is the one about iDIN that an
// age check of it may use.
func (e *EIDsConfig) agreements(env eid.Environment, contract *IDINConfig) (map[eid.EID]agreement, error) {
	out := map[eid.EID]agreement{}
	var errs []error
	put := func(id eid.EID, a agreement, err error) {
		if out[id] = a; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
		}
	}
	if e.BankIDSE != nil {
		a, err := e.BankIDSE.agreement(env)
		put(eid.BankIDSE, a, err)
	}
	if e.IDIN != nil {
		a, err := e.IDIN.agreement(env)
		put(eid.IDIN, a, err)
	}
	if e.IDINAge != nil {
		a, err := e.IDINAge.agreement(env, contract)
		put(eid.IDINAge, a, err)
	}
	if e.Itsme != nil {
		a, err := e.Itsme.agreement(env)
		put(eid.Itsme, a, err)
	}
	if e.BankIDNO != nil {
		a, err := e.BankIDNO.agreement(env)
		put(eid.BankIDNO, a, err)
	}
	if e.MitID != nil {
		a, err := e.MitID.agreement(env)
		put(eid.MitID, a, err)
	}
	return out, errors.Join(errs...)
}

// agreement is with the certificate of today and, while orders run that were
// begun with it, the one before.
func (b *BankIDSEConfig) agreement(env eid.Environment) (out agreement, err error) {
	cert, err := loadRPCertificate(b.current())
	if err != nil {
		return out, fmt.Errorf("RP certificate: %w", err)
	}
	out.ends = map[string]time.Time{"rp": cert.Leaf.NotAfter}
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
