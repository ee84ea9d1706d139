package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"eidgate/store"
)

// A masterKeys is the master key, and while it changes another one: docs/keys.md.
type masterKeys struct{ current, next, former []byte }

// read reads the keys that are configured.
func (c *KeysConfig) read() (m masterKeys, err error) {
	for _, k := range c.masters() {
		if k.file == "" && k.path != "keys.master_file" {
			continue
		}
		key, err := readMaster(k.file)
		if err != nil {
			return m, fmt.Errorf("%s: %w", k.path, err)
		}
		*k.of(&m) = key
	}
	return m, nil
}

type masterFile struct {
	path, file string
	of         func(*masterKeys) *[]byte
}

func (c *KeysConfig) masters() []masterFile {
	return []masterFile{
		{"keys.master_file", c.MasterFile, func(m *masterKeys) *[]byte { return &m.current }},
		{"keys.next_master_file", c.NextMasterFile, func(m *masterKeys) *[]byte { return &m.next }},
		{"keys.former_master_file", c.FormerMasterFile, func(m *masterKeys) *[]byte { return &m.former }},
	}
}

// wrongMaster says of store.ErrMaster what is to be done about it.
func wrongMaster(err error) error {
	if !errors.Is(err, store.ErrMaster) {
		return err
	}
	return fmt.Errorf("%w: keys.master_file: %w; keys.former_master_file names the one before while it is replaced", ErrConfig, err)
}

func (m *masterKeys) open(ctx context.Context, c store.Config) (*store.Store, error) {
	c.Master, c.Next, c.Former = m.current, m.next, m.former
	return store.Open(ctx, c)
}

// rewrap seals with the master key what is sealed with the former one, and looks
// every minute whether a node that has not changed yet has added something.
func (c *core) rewrap(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		if err := c.rewrapped(ctx); err != nil && ctx.Err() == nil {
			c.log.ErrorContext(ctx, "the former master key cannot be replaced", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (c *core) rewrapped(ctx context.Context) error {
	found, err := c.store.Rewrap(ctx)
	if err != nil {
		return err
	}
	others := c.store.Others(found)
	c.metrics.former.Set(float64(others))
	if others > 0 {
		c.log.InfoContext(ctx, "sealed with the master key what the former one had sealed", "values", others)
		err = c.store.RecordAudit(ctx, "master_key.rewrap")
	}
	if lost := found[""]; lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d values open with none of the master keys", lost))
	}
	return err
}

// A MasterUse is what one of the configured master keys has sealed.
type MasterUse struct {
	ID      string `json:"id"`      // says nothing of the key; "" for what none of them opens
	Setting string `json:"setting"` // where it is configured; "" likewise
	Values  int64  `json:"values"`
}

// MasterUses counts what each has sealed, that which seals first.
func MasterUses(ctx context.Context, c *Config) (out []MasterUse, err error) {
	s, err := c.openCurrent(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	n, err := s.CountMaster(ctx)
	if err != nil {
		return nil, err
	}
	ids := s.Masters()
	for _, k := range c.Keys.masters() {
		if k.file != "" {
			out, ids = append(out, MasterUse{ids[0], k.path, n[ids[0]]}), ids[1:]
		}
	}
	if n[""] > 0 {
		out = append(out, MasterUse{Values: n[""]})
	}
	return out, nil
}
