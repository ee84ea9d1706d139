package server

import (
	"context"
	"errors"
	"time"
)

// A ProviderKey is what is no secret of one of the OpenID provider's keys.
type ProviderKey struct {
	ID    string    `json:"kid"`
	Use   string    `json:"use"` // "sig" or "enc"
	Alg   string    `json:"alg"`
	State string    `json:"state"` // next, active, retired, hint or gone
	From  time.Time `json:"from"`
	Until time.Time `json:"until"` // when it stops being the active one
	Gone  time.Time `json:"gone"`  // when it is destroyed
}

// ProviderKeys lists them, oldest first.
func ProviderKeys(ctx context.Context, c *Config) (out []ProviderKey, err error) {
	s, err := c.openCurrent(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	all, err := s.Keys(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, k := range all {
		out = append(out, ProviderKey{k.ID, k.Use, k.Alg, k.State(now), k.From.UTC(), k.Until.UTC(), k.Gone.UTC()})
	}
	return out, nil
}

// ReplaceProviderKey destroys one at once; broker.ErrNotFound. Each node makes or
// takes over another in its place within a minute.
func ReplaceProviderKey(ctx context.Context, c *Config, id string) (err error) {
	s, err := c.openToWrite(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.RemoveKey(ctx, id)
}
