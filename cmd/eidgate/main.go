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
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"eidgate/internal/strictyaml"
	"eidgate/server"
)

// cli is the command line. Verbs are acts, nouns have verbs below them.
type cli struct {
	Dev         devCmd         `cmd:"" help:"The sandbox with everything, on this machine." example:"eidgate dev"`
	Serve       serveCmd       `cmd:"" help:"Run from a configuration file." example:"eidgate serve --config eidgate.yaml"`
	Check       checkCmd       `cmd:"" help:"All problems of a configuration at once." example:"eidgate check --config eidgate.yaml"`
	Migrate     migrateCmd     `cmd:"" help:"Database changes."`
	Wait        waitCmd        `cmd:"" help:"Wait until a server is ready." example:"eidgate wait --ready-file ready.json --timeout 30s"`
	Healthcheck healthcheckCmd `cmd:"" help:"Is a server ready? For containers without a shell." example:"eidgate healthcheck --config eidgate.yaml"`
	Trigger     triggerCmd     `cmd:"" help:"Sandbox: decide how a login ends." example:"eidgate trigger cancel --next"`
	Sandbox     sandboxCmd     `cmd:"" help:"The simulators alone, in a process of their own." example:"eidgate sandbox --data sim --ready-file sim.json"`
	Session     sessionCmd     `cmd:"" help:"Look at sessions."`
	Delivery    deliveryCmd    `cmd:"" help:"Look at notifications, and send them again."`
	Subject     subjectCmd     `cmd:"" help:"The names of persons: bring them along, take them away."`
	Key         keyCmd         `cmd:"" help:"The provider's keys and the master key."`
	Audit       auditCmd       `cmd:"" help:"The audit trail: is it whole, and a copy of it."`
	Verify      verifyCmd      `cmd:"" help:"Check evidence offline."`
	Version     versionCmd     `cmd:"" help:"Which version this is." example:"eidgate version --json"`
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

// garbage lets the heap grow to four times what lives before it is collected:
// a server keeps little and allocates much, and this saves a fifth of the
// processor for some tens of megabytes.
const garbage = 300

// letGrow sets by how many per cent the heap may grow before it is collected.
// GOGC in the environment wins.
func letGrow(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

func main() {
	letGrow(garbage)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, stop, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run is the whole command; tests call it.
func run(ctx context.Context, stop func(), args []string, io streams) (code int) {
	exited := -1
	parser := newParser(io, func(n int) { exited = n; panic(exit{}) }, kong.BindTo(ctx, (*context.Context)(nil)))
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exit); !ok {
				panic(r)
			}
			code = exited
		}
	}()
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help":
		args = append(args[1:], "--help")
	}
	k, err := parser.Parse(args)
	if err != nil {
		what, _, _ := strings.Cut(err.Error(), ", did you mean") // said below, where it can be copied
		return explain(io.err, &failure{exitUsage, errors.New(what), suggest(parser.Model.Node, args)})
	}
	go func() { // the first Ctrl-C drains, the second stops now
		<-ctx.Done()
		stop()
	}()
	return explain(io.err, k.Run())
}

type exit struct{}

// newParser reads the struct above.
func newParser(io streams, exit func(int), more ...kong.Option) *kong.Kong {
	p, err := kong.New(&cli{}, append(more, kong.Name("eidgate"), kong.Vars{"eids": played()}, kong.Description("A self-hosted broker for the national eIDs of Europe."),
		kong.Writers(io.out, io.err), kong.Exit(exit), kong.Help(help),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Bind(io))...)
	if err != nil {
		panic(err) // the struct is wrong
	}
	return p
}

// help shows an example before anything else.
func help(o kong.HelpOptions, ctx *kong.Context) error {
	if n := ctx.Selected(); n != nil && n.Tag.Has("example") {
		if _, err := fmt.Fprintf(ctx.Stdout, "Example: %s\n\n", n.Tag.Get("example")); err != nil {
			return err
		}
	}
	return kong.DefaultHelpPrinter(o, ctx)
}

// suggest finds the verb or the flag that was meant.
func suggest(n *kong.Node, args []string) []string {
	for len(args) > 0 {
		i := slices.IndexFunc(n.Children, func(c *kong.Node) bool { return c.Name == args[0] })
		if i < 0 {
			break
		}
		n, args = n.Children[i], args[1:]
	}
	var known []string
	for _, c := range n.Children {
		known = append(known, c.Name)
	}
	for _, f := range n.Flags {
		known = append(known, "--"+f.Name)
	}
	for _, arg := range args {
		arg, _, _ = strings.Cut(arg, "=")
		if slices.Contains(known, arg) {
			continue
		}
		for _, k := range known {
			if strictyaml.Distance(arg, k) <= 2 {
				return []string{"did you mean:  " + n.FullPath() + " " + k}
			}
		}
	}
	return []string{"see:  " + n.FullPath() + " --help"}
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
		return taken(err, "eidgate dev", in.Port/10*10+100, 10)
	case errors.Is(err, server.ErrConfig):
		return &failure{exitConfig, err, nil}
	case errors.Is(err, server.ErrUnreachable):
		return &failure{exitUnreachable, err, nil}
	case errors.Is(err, server.ErrBehind):
		return &failure{exitFailed, err, []string{"eidgate migrate up --config FILE"}}
	}
	return &failure{code: exitFailed, err: err}
}

// taken says how a command that needs some ports in a row gets others.
func taken(err error, command string, next, count int) *failure {
	return &failure{exitFailed, err, []string{
		fmt.Sprintf("use other ports:   %s --port %d      (takes %d to %d)", command, next, next, next+count-1),
		"or let me choose:  " + command + " --port 0"}}
}
