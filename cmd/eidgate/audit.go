package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"eidgate/internal/audit"
	"eidgate/server"
)

type auditCmd struct {
	Verify auditVerify `cmd:"" help:"Was the audit trail tampered with?" example:"eidgate audit verify --checkpoint kept.txt"`
	Export auditExport `cmd:"" help:"Write the sealed trail, for a place elsewhere." example:"eidgate audit export --after 1200 >>trail.jsonl"`
	Key    auditKey    `cmd:"" help:"The keys that checkpoints are verified with: no secret." example:"eidgate audit key"`
}

type auditVerify struct {
	configFlag
	Checkpoint string   `placeholder:"FILE" help:"A checkpoint that was kept elsewhere: the trail must still have it."`
	Key        []string `placeholder:"KEY" help:"Trust only this verifier key; may be given again."`
	File       string   `placeholder:"EXPORT" help:"Verify an export instead, without configuration and database. Needs --key."`
	JSON       bool     `name:"json" help:"As JSON."`
}

func (c *auditVerify) Run(ctx context.Context, io streams) error {
	report, err := c.verify(ctx, io)
	var unmet *server.Unmet
	switch {
	case errors.As(err, &unmet):
		return failed(exitUnmet, unmet.Try, "%v", err)
	case errors.Is(err, os.ErrNotExist) && !errors.Is(err, server.ErrUnreachable):
		return failed(exitNotFound, nil, "%v", err)
	case err != nil:
		return err
	}
	if err := c.print(io.out, report); err != nil {
		return err
	}
	if n := len(report.Findings) + report.More; n > 0 {
		return failed(exitUnmet, []string{"what each means:  docs/audit.md"}, "the audit trail was tampered with: %s", count(n, "finding"))
	}
	return nil
}

func (c *auditVerify) verify(ctx context.Context, io streams) (*audit.Report, error) {
	check := server.AuditCheck{Keys: c.Key}
	if c.File != "" && len(c.Key) == 0 {
		return nil, failed(exitUsage, []string{"the server prints it:  eidgate audit key"}, "--file needs --key")
	}
	if _, err := audit.Verifiers(c.Key...); err != nil {
		return nil, failed(exitUsage, nil, "--key: %v", err)
	}
	if c.Checkpoint != "" {
		raw, err := os.ReadFile(c.Checkpoint)
		if err != nil {
			return nil, err
		}
		check.Checkpoint = string(raw)
	}
	if c.File != "" {
		return server.VerifyAuditFile(c.File, check)
	}
	cfg, err := c.load(io, false)
	if err != nil {
		return nil, err
	}
	return server.VerifyAudit(ctx, cfg, check)
}

func (c *auditVerify) print(to io.Writer, r *audit.Report) error {
	if c.JSON {
		return json.NewEncoder(to).Encode(r)
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, f := range r.Findings {
		fmt.Fprintln(w, f)
	}
	if r.More > 0 {
		fmt.Fprintf(w, "and %d more\n", r.More)
	}
	if r.First == 0 {
		fmt.Fprintln(w, "nothing is sealed yet")
		return w.Flush()
	}
	fmt.Fprintf(w, "segments\t%d to %d\nrows\t%d\nsealed\t%s\n", r.First, r.Last, r.Rows, r.Until.UTC().Format(time.RFC3339))
	return w.Flush()
}

type auditExport struct {
	configFlag
	After      int64 `placeholder:"N" help:"Only segments after this one."`
	Checkpoint bool  `help:"Only the newest checkpoint, as verify takes it."`
}

func (c *auditExport) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	if !c.Checkpoint {
		return server.ExportAudit(ctx, cfg, c.After, io.out)
	}
	text, err := server.AuditCheckpoint(ctx, cfg)
	switch {
	case err != nil:
		return err
	case text == "":
		return failed(exitNotFound, nil, "nothing is sealed yet")
	}
	_, err = fmt.Fprint(io.out, text)
	return err
}

type auditKey struct{ configFlag }

func (c *auditKey) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	keys, err := server.AuditKeys(ctx, cfg)
	switch {
	case err != nil:
		return err
	case len(keys) == 0:
		return failed(exitNotFound, []string{"a server makes it when it starts:  eidgate serve"}, "there is no key yet")
	}
	for _, k := range keys {
		fmt.Fprintln(io.out, k)
	}
	return nil
}
