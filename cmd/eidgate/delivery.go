package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"eidgate/broker"
	"eidgate/server"
)

type deliveryCmd struct {
	List   deliveryList   `cmd:"" help:"Notifications that were given up, or others; nothing personal." example:"eidgate delivery list --since 24h"`
	Show   deliveryShow   `cmd:"" help:"One notification and all attempts at it; nothing personal." example:"eidgate delivery show msg_01912f3a5c7e7b1c8d2e3f4a5b6c7d8e"`
	Replay deliveryReplay `cmd:"" help:"Send again what has ended: one, or all that were given up. It has the same id and body, and all its tries." example:"eidgate delivery replay --since 24h"`
	Key    deliveryKey    `cmd:"" help:"The keys that receivers verify signatures v1a with: no secret." example:"eidgate delivery key"`
}

type deliveryList struct {
	configFlag
	State   string        `enum:"dead,failed,pending,delivered," default:"" help:"Only in this state: dead (out of tries), failed (refused for good), pending or delivered. Without it dead and failed."`
	Account string        `placeholder:"ID" help:"Only of this account."`
	Since   time.Duration `placeholder:"24h" help:"Only what was given up so long ago at most; or with another state, written."`
	Limit   int           `default:"20" help:"How many."`
	JSON    bool          `name:"json" help:"As JSON."`
}

func (c *deliveryList) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	f := broker.DeliveryFilter{Account: c.Account, State: c.State}
	if c.Since != 0 {
		f.Since = time.Now().Add(-c.Since)
	}
	rows, err := server.Deliveries(ctx, cfg, f, c.Limit)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(io.out).Encode(rows)
	}
	w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "time\tid\taccount\tkind\thost\tstate\tattempts\tlast")
	for _, d := range rows {
		at := d.Written
		if !d.GivenUp.IsZero() {
			at = d.GivenUp
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", at.UTC().Format(time.RFC3339), d.ID, d.Account, d.Kind, receiver(d), d.State, d.Attempts,
			ended(d.Status, d.Reason))
	}
	return w.Flush()
}

// receiver is where a delivery goes, as far as it is shown.
func receiver(d broker.DeliveryStatus) string {
	switch {
	case d.Erased:
		return "(erased)"
	case d.Host == "":
		return "-"
	}
	return d.Host
}

// ended is what an attempt brought: the status of an answer, or a word.
func ended(status int, reason string) string {
	if status != 0 {
		return strconv.Itoa(status)
	}
	return reason
}

type deliveryShow struct {
	configFlag
	ID   string `arg:"" help:"The webhook-id."`
	JSON bool   `name:"json" help:"As JSON."`
}

func (c *deliveryShow) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	d, tries, err := server.DeliveryShow(ctx, cfg, c.ID)
	if errors.Is(err, broker.ErrNotFound) {
		return failed(exitNotFound, nil, "no delivery %s", c.ID)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(io.out).Encode(map[string]any{"delivery": d, "attempts": tries})
	}
	const precise = "2006-01-02T15:04:05.000Z07:00"
	fmt.Fprintf(io.out, "%s  %s  %s %s  %s  %s\n", d.ID, d.Account, d.Kind, d.Type, receiver(d), d.State)
	fmt.Fprintf(io.out, "  session   %s\n  written   %s\n", d.Session, d.Written.UTC().Format(precise))
	if !d.Due.IsZero() {
		fmt.Fprintf(io.out, "  due       %s\n", d.Due.UTC().Format(precise))
	}
	if !d.GivenUp.IsZero() {
		fmt.Fprintf(io.out, "  given up  %s\n", d.GivenUp.UTC().Format(precise))
	}
	for _, a := range tries {
		if d.Spent > 0 && a.N == d.Spent+1 {
			fmt.Fprintln(io.out, "  replayed")
		}
		fmt.Fprintf(io.out, "  %s  attempt %-3d %-9s %s\n", a.At.UTC().Format(precise), a.N, a.State, ended(a.Status, a.Reason))
	}
	return nil
}

type deliveryReplay struct {
	configFlag
	ID      string        `arg:"" optional:"" help:"The webhook-id: this one, whether it was given up or delivered."`
	Since   time.Duration `placeholder:"24h" help:"Or all that were given up so long ago at most, ten a second."`
	Account string        `placeholder:"ID" help:"With --since: only of this account."`
}

func (c *deliveryReplay) Run(ctx context.Context, io streams) error {
	if (c.ID == "") == (c.Since <= 0) || c.ID != "" && c.Account != "" {
		return failed(exitUsage, []string{"one:   eidgate delivery replay ID", "many:  eidgate delivery replay --since 24h"}, "either an id or --since says what to replay")
	}
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	if c.ID != "" {
		return c.one(ctx, cfg, io)
	}
	n, err := server.ReplayDeliveries(ctx, cfg, c.Account, time.Now().Add(-c.Since))
	if n.Replayed > 0 || err == nil {
		fmt.Fprintf(io.out, "%d replayed, %d cannot be: payload erased\n", n.Replayed, n.Erased)
	}
	if n.Replayed > 1 {
		fmt.Fprintf(io.err, "The last one leaves at %s.\n", n.Last.UTC().Format(time.RFC3339))
	}
	return err
}

func (c *deliveryReplay) one(ctx context.Context, cfg *server.Config, io streams) error {
	switch err := server.ReplayDelivery(ctx, cfg, c.ID); {
	case errors.Is(err, broker.ErrNotFound):
		return failed(exitNotFound, nil, "no delivery %s", c.ID)
	case errors.Is(err, broker.ErrPending):
		return failed(exitRefused, []string{"when it is tried next:  eidgate delivery show " + c.ID}, "%s is pending: it has tries left", c.ID)
	case errors.Is(err, broker.ErrErased):
		return failed(exitRefused, []string{"docs/webhooks.md says how long it can be sent again"}, "%s cannot be sent again: payload erased, the session's data are gone", c.ID)
	case err != nil:
		return err
	}
	_, err := fmt.Fprintln(io.out, "1 replayed")
	return err
}

type deliveryKey struct {
	configFlag
	Account string `placeholder:"ID" help:"Only of this account."`
	JSON    bool   `name:"json" help:"As JSON."`
}

func (c *deliveryKey) Run(io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	keys, err := server.WebhookKeys(cfg, c.Account)
	switch {
	case errors.Is(err, server.ErrNoAccount):
		return failed(exitNotFound, []string{"accounts stand in " + c.Config}, "no account %s", c.Account)
	case err != nil:
		return err
	case len(keys) == 0:
		return failed(exitNotFound, []string{"a file of the account makes it:  webhook_signing_key_file"}, "there is no key")
	case c.JSON:
		return json.NewEncoder(io.out).Encode(keys)
	}
	w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "account\tkey")
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s\n", k.Account, k.Key)
	}
	return w.Flush()
}
