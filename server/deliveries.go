package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"eidgate/broker"
	"eidgate/notify"
)

// replayApart is what lies between two deliveries that are put back together,
// so that receivers that are well again are not flooded.
const replayApart = 100 * time.Millisecond

// Deliveries lists notifications, see store.Statuses.
func Deliveries(ctx context.Context, c *Config, f broker.DeliveryFilter, limit int) ([]broker.DeliveryStatus, error) {
	s, err := c.openCurrent(ctx)
	if err != nil {
		return nil, err
	}
	all, err := s.Statuses(ctx, f, limit)
	return all, errors.Join(err, s.Close())
}

// A DeliveryAttempt is one attempt as operators see it.
type DeliveryAttempt struct {
	N      int       `json:"n"`
	At     time.Time `json:"at"`
	Took   float64   `json:"took_seconds"`
	State  string    `json:"state"`           // of the delivery, after it
	Status int       `json:"status,omitzero"` // of the answer; 0 for none
	Reason string    `json:"reason,omitempty"`
}

// DeliveryShow finds a notification and the attempts at it; broker.ErrNotFound.
func DeliveryShow(ctx context.Context, c *Config, id string) (d broker.DeliveryStatus, tries []DeliveryAttempt, err error) {
	s, err := c.openCurrent(ctx)
	if err != nil {
		return d, nil, err
	}
	defer func() { _ = s.Close() }() // only read from
	if d, err = s.Status(ctx, id); err != nil {
		return d, nil, err
	}
	all, err := s.Attempts(ctx, id)
	tries = []DeliveryAttempt{}
	for _, a := range all {
		tries = append(tries, DeliveryAttempt{a.Attempt, a.At, a.Took.Seconds(), a.State, a.Status, a.Reason})
	}
	return d, tries, err
}

// ReplayDelivery puts one notification back that has ended: see store.Replay for
// its errors.
func ReplayDelivery(ctx context.Context, c *Config, id string) error {
	s, err := c.openCurrent(ctx)
	if err != nil {
		return err
	}
	return errors.Join(s.Replay(ctx, id, time.Now()), s.Close())
}

// ReplayCount is what a replay of many has done.
type ReplayCount struct {
	Replayed int
	Erased   int       // nothing is left of them to send
	Last     time.Time // when the last one leaves; zero where none does
}

// ReplayDeliveries puts back all notifications that were given up since a time,
// for one account or for all where it is "", ten for each second. One that was
// written in part, since somebody stopped it, can be begun again.
func ReplayDeliveries(ctx context.Context, c *Config, account string, since time.Time) (n ReplayCount, err error) {
	s, err := c.openCurrent(ctx)
	if err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ids, erased, err := s.Replayable(ctx, account, since)
	if err != nil {
		return n, err
	}
	n.Erased = erased
	due := time.Now()
	for _, id := range ids {
		switch err := s.Replay(ctx, id, due); {
		case errors.Is(err, broker.ErrErased):
			n.Erased++
		case errors.Is(err, broker.ErrPending), errors.Is(err, broker.ErrNotFound): // somebody else was quicker
		case err != nil:
			return n, fmt.Errorf("replay delivery %s: %w", id, err)
		default:
			n.Replayed++
			n.Last, due = due, due.Add(replayApart)
		}
	}
	return n, nil
}

// A WebhookKey is the public half of a key that signs an account's
// notifications.
type WebhookKey struct {
	Account string `json:"account"`
	Key     string `json:"key"` // "whpk_…"
}

// WebhookKeys are the keys that receivers verify notifications with, for one
// account or for all where it is "": of each the newest first. ErrNoAccount.
func WebhookKeys(c *Config, account string) ([]WebhookKey, error) {
	if account != "" && !slices.ContainsFunc(c.Accounts, func(a AccountConfig) bool { return a.ID == account }) {
		return nil, ErrNoAccount
	}
	out := []WebhookKey{}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		if account != "" && a.ID != account {
			continue
		}
		for _, file := range []string{a.WebhookSigningFile, a.WebhookFormerSigningFile} {
			if file == "" {
				continue
			}
			secret, err := readWebhookSigning(file)
			if err != nil {
				return nil, fmt.Errorf("%w: webhook signing key of account %s: %w", ErrConfig, a.ID, err)
			}
			public, err := notify.Public(string(secret))
			if err != nil {
				return nil, err
			}
			out = append(out, WebhookKey{a.ID, public})
		}
	}
	return out, nil
}
