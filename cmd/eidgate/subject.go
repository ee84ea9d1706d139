package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"eidgate/server"
)

type subjectCmd struct {
	Import subjectImport `cmd:"" help:"Give persons the sub that they had with a former provider." example:"eidgate subject import --account ID --dry-run persons.csv"`
	Key    subjectKey    `cmd:"" help:"The key that every other sub is made with: a secret." example:"eidgate subject key --config eidgate.yaml"`
}

type subjectImport struct {
	configFlag
	Account string `required:"" placeholder:"ID" help:"The account whose persons they are."`
	DryRun  bool   `help:"Write nothing; say what would be written."`
	Replace bool   `help:"A person who is stored with another sub gets this one."`
	CSV     string `arg:"" name:"csv" help:"File with the header idp,person,sub, or - for standard input."`
}

func (c *subjectImport) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	letGrow(100) // an import keeps much
	list, name, err := openList(c.CSV)
	if err != nil {
		return err
	}
	defer func() { _ = list.Close() }() // only read from
	n, err := server.ImportSubjects(ctx, cfg, server.SubjectImport{Account: c.Account, List: list, Replace: c.Replace, DryRun: c.DryRun})
	var bad *server.SubjectProblems
	switch {
	case errors.Is(err, server.ErrNoAccount):
		return failed(exitNotFound, []string{"accounts stand in " + c.Config}, "no account %s", c.Account)
	case errors.As(err, &bad):
		for _, p := range bad.List {
			fmt.Fprintf(io.err, "%s:%d  %s\n", name, p.Line, p.Text)
		}
		if bad.More > 0 {
			fmt.Fprintf(io.err, "and %d more\n", bad.More)
		}
		return failed(exitRefused, nil, "%s. Nothing was written", count(len(bad.List)+bad.More, "problem"))
	case err != nil:
		return err
	}
	did := "written"
	if c.DryRun {
		did = "would be written"
	}
	_, err = fmt.Fprintf(io.out, "%d %s, %d stored already\n", n.Written, did, n.Same)
	return err
}

// openList opens a list; name is what its lines are called by.
func openList(path string) (list *os.File, name string, err error) {
	if path == "-" {
		return os.Stdin, "stdin", nil
	}
	f, err := os.Open(path) //nolint:gosec // named by the user
	if errors.Is(err, os.ErrNotExist) {
		return nil, "", failed(exitNotFound, nil, "%s does not exist", path)
	}
	return f, path, err
}

type subjectKey struct{ configFlag }

func (c *subjectKey) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	key, err := server.SubjectKey(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintln(io.err, "This key is a secret: who has it can tell which sub is whose. How it is used:  docs/apis/oidc.md")
	_, err = fmt.Fprintln(io.out, hex.EncodeToString(key))
	return err
}
