// Command eidgate is a self-hosted broker for the national eIDs of Europe,
// with a sandbox that plays all of them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"eidgate/internal/strictyaml"
	"eidgate/server"
)

// cli is the command line. Verbs are acts, nouns have verbs below them.
type cli struct {
	Dev         devCmd         `cmd:"" help:"The sandbox with everything, on this machine. Example: eidgate dev"`
	Serve       serveCmd       `cmd:"" help:"Run from a configuration file. Example: eidgate serve --config eidgate.yaml"`
	Check       checkCmd       `cmd:"" help:"Print all problems of a configuration at once. Example: eidgate check --config eidgate.yaml"`
	Migrate     migrateCmd     `cmd:"" help:"Database changes. Example: eidgate migrate up"`
	Wait        waitCmd        `cmd:"" help:"Wait until a server is ready. Example: eidgate wait --ready-file ready.json --timeout 30s"`
	Healthcheck healthcheckCmd `cmd:"" help:"Ask a running server whether it is ready; for containers without a shell."`
	Trigger     triggerCmd     `cmd:"" help:"Sandbox: decide how a login ends. Example: eidgate trigger cancel --next"`
	Sandbox     sandboxCmd     `cmd:"" help:"The simulators alone, in a process of their own. Example: eidgate sandbox --ready-file sim.json"`
	Session     sessionCmd     `cmd:"" help:"Look at sessions. Example: eidgate session show 7QK4-29XM"`
	Verify      verifyCmd      `cmd:"" help:"Check evidence offline. Example: eidgate verify signature signature.xml --ocsp ocsp.der"`
	Version     versionCmd     `cmd:"" help:"Which version this is."`
}

// The exit codes of docs/cli.md.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitConfig      = 3
	exitUnreachable = 4
	exitRefused     = 5
	exitNotFound    = 6
	exitTimeout     = 7
	exitUnmet       = 8
	exitInterrupted = 130
)

// A failure ends the command with its own exit code and says what to try.
type failure struct {
	code int
	err  error
	try  []string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(code int, try []string, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...), try}
}

// streams are where a command writes: results to out, everything else to err.
type streams struct{ out, err io.Writer }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, stop, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run is the whole command; tests call it.
func run(ctx context.Context, stop func(), args []string, io streams) (code int) {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("eidgate"),
		kong.Description("A self-hosted broker for the national eIDs of Europe."),
		kong.Writers(io.out, io.err), kong.Exit(func(n int) { exited = n; panic(exit{}) }),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(io))
	if err != nil {
		panic(err) // the struct above is wrong
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exit); !ok {
				panic(r)
			}
			code = exited
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		return explain(io.err, &failure{exitUsage, err, suggest(parser, args)})
	}
	go func() { // the first Ctrl-C drains, the second stops now
		<-ctx.Done()
		stop()
	}()
	return explain(io.err, k.Run())
}

type exit struct{}

// suggest finds the verb that was meant.
func suggest(p *kong.Kong, args []string) []string {
	for _, n := range p.Model.Children {
		if d := strictyaml.Distance(args[0], n.Name); d > 0 && d <= 2 {
			return []string{"did you mean:  eidgate " + n.Name}
		}
	}
	return []string{"eidgate --help"}
}

// explain writes an error so that it says what to do, and picks the code.
func explain(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	f := &failure{code: exitFailed, err: err}
	if !errors.As(err, &f) {
		f = classify(err)
	}
	text := strings.TrimSpace(f.err.Error())
	if text != "" {
		fmt.Fprintf(w, "eidgate: %s\n", text)
	}
	for _, t := range f.try {
		fmt.Fprintf(w, "  %s\n", t)
	}
	return f.code
}

// classify gives the server's own errors their code and advice.
func classify(err error) *failure {
	var in *server.PortInUse
	switch {
	case errors.As(err, &in):
		next := in.Port/10*10 + 100
		return &failure{exitFailed, err, []string{
			fmt.Sprintf("use other ports:   eidgate dev --port %d      (takes %d to %d)", next, next, next+9),
			"or let me choose:  eidgate dev --port 0"}}
	case errors.Is(err, server.ErrConfig):
		return &failure{exitConfig, err, nil}
	case errors.Is(err, server.ErrUnreachable):
		return &failure{exitUnreachable, err, nil}
	case errors.Is(err, server.ErrBehind):
		return &failure{exitFailed, err, []string{"eidgate migrate up --config FILE"}}
	}
	return &failure{code: exitFailed, err: err}
}
