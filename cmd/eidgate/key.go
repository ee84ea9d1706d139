package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"eidgate/broker"
	"eidgate/server"
)

type keyCmd struct {
	List    keyList    `cmd:"" help:"The keys of the OpenID provider; nothing secret." example:"eidgate key list"`
	Master  keyMaster  `cmd:"" help:"What is sealed with which master key." example:"eidgate key master"`
	Replace keyReplace `cmd:"" help:"Destroy one that others may have, and have another made." example:"eidgate key replace signing-key-5d01a9c2"`
}

type keyList struct {
	configFlag
	JSON bool `name:"json" help:"As JSON."`
}

func (c *keyList) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	keys, err := server.ProviderKeys(ctx, cfg)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(io.out).Encode(keys)
	}
	w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "kid\tuse\talg\tstate\tfrom\tuntil")
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Use, k.Alg, k.State, k.From.Format(time.DateOnly), k.Until.Format(time.DateOnly))
	}
	return w.Flush()
}

type keyMaster struct {
	configFlag
	JSON bool `name:"json" help:"As JSON."`
}

func (c *keyMaster) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	uses, err := server.MasterUses(ctx, cfg)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(io.out).Encode(uses)
	}
	w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
	for _, u := range uses {
		if u.ID == "" {
			u.ID, u.Setting = "none", "no key of this configuration"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", u.ID, u.Setting, count(int(u.Values), "value"))
	}
	return w.Flush()
}

type keyReplace struct {
	configFlag
	ID []string `arg:"" name:"kid" help:"The key's id, as key list and /jwks say it."`
}

func (c *keyReplace) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	for _, id := range c.ID {
		err := server.ReplaceProviderKey(ctx, cfg, id)
		if errors.Is(err, broker.ErrNotFound) {
			return failed(exitNotFound, []string{"which there are:  eidgate key list"}, "no key %s", id)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(io.out, "%s is destroyed; nodes stop using it within a minute, and make another where one is missing\n", id)
	}
	fmt.Fprintln(io.err, "Clients that have a copy of the old keys trust it for up to a day more. What to do:  docs/operations.md")
	return nil
}
