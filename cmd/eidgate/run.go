package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"eidgate/eid"
	"eidgate/server"
)

type devCmd struct {
	Host        string   `default:"127.0.0.1" help:"Address to listen on."`
	Port        int      `default:"8700" help:"First of ten ports; 0 picks free ones."`
	URL         string   `help:"The public address, if it is not that of the first port."`
	MTLSURL     string   `name:"mtls-url" help:"Where a proxy of yours asks OpenID Connect clients for certificates; it leads to the seventh port, with the header Client-Cert."`
	AlsoKnownAs []string `placeholder:"NAME" help:"Other host names that the sandbox answers to."`
	LAN         bool     `name:"lan" help:"Listen on all addresses, so that a real phone in the same network can take part."`
	TLS         bool     `name:"tls" help:"Speak https, by a CA of the sandbox's own that is kept in --data; docs/sandbox.md says who must trust it."`
	EIDs        []string `name:"eids" placeholder:"EID" help:"Only these eIDs, of: ${eids}. Default all."`
	Data        string   `placeholder:"DIR" help:"Directory that keeps the data; without it they are gone when you stop."`
	Store       string   `default:"memory" help:"memory, sqlite:FILE or postgres://…"`
	Seed        int64    `help:"Seed of injected faults."`
	Auto        string   `enum:"approve,ask," default:"" help:"approve: logins succeed by themselves; ask: wait for the phone. Default ask on a terminal, else approve."`
	Clock       string   `enum:"real,frozen" default:"real" help:"frozen: time moves only through the control API."`
	ReadyFile   string   `placeholder:"FILE" help:"Written when a login would work."`
	EnvFile     string   `placeholder:"FILE" help:"Written with EIDGATE_URL, EIDGATE_KEY and the other secrets, for your program."`
	Open        bool     `help:"Open the browser."`
	JSON        bool     `name:"json" help:"One JSON object a line on standard output."`
	Quiet       bool     `help:"No screen."`
	Color       string   `enum:"auto,never,always" default:"auto" help:"Colours: auto, never or always."`
}

// played lists the eIDs of the sandbox.
func played() string {
	var out []string
	for _, e := range server.Played {
		out = append(out, string(e))
	}
	return strings.Join(out, ", ")
}

func (c *devCmd) Run(ctx context.Context, io streams) error {
	if c.TLS && c.URL != "" {
		return failed(exitUsage, []string{"behind a proxy, which speaks https itself, leave out --tls", "for another name of this machine:  eidgate dev --tls --also-known-as NAME"},
			"--tls and --url exclude each other")
	}
	if err := c.check(); err != nil {
		return err
	}
	terminal := isTerminal(io.err)
	auto := c.Auto
	if auto == "" {
		auto = "ask"
		if c.JSON || os.Getenv("CI") != "" || !terminal {
			auto = "approve"
		}
	}
	o := server.DevOptions{Host: c.Host, Port: c.Port, URL: c.URL, MTLSURL: c.MTLSURL, KnownAs: c.AlsoKnownAs, LAN: c.LAN, TLS: c.TLS,
		Data: c.Data, Store: c.Store, Seed: c.Seed, Auto: auto, Frozen: c.Clock == "frozen",
		ReadyFile: c.ReadyFile, EnvFile: c.EnvFile, JSON: c.JSON, Quiet: c.Quiet, Terminal: terminal,
		Color:   c.Color == "always" || c.Color == "auto" && terminal && os.Getenv("NO_COLOR") == "",
		Version: version(), Stdout: io.out, Stderr: io.err}
	for _, e := range c.EIDs {
		if !slices.Contains(server.Played, eid.EID(e)) {
			return failed(exitUsage, []string{"known:  " + played()}, "--eids: there is no eID %q", e)
		}
		o.EIDs = append(o.EIDs, eid.EID(e))
	}
	if c.Open {
		o.Opened = func(url string) {
			if err := browse(ctx, url); err != nil {
				fmt.Fprintf(io.err, "eidgate: no browser could be opened: %v\n", err)
			}
		}
	}
	return server.Dev(ctx, o)
}

// check refuses what would be found late, or not at all.
func (c *devCmd) check() error {
	if err := portOf(c.Port, 10, "ten"); err != nil {
		return err
	}
	for name, text := range map[string]string{"--url": c.URL, "--mtls-url": c.MTLSURL} {
		u, err := url.Parse(strings.TrimSuffix(text, "/"))
		if text != "" && (err != nil || u.Host == "" || u.String() != u.Scheme+"://"+u.Host || u.Scheme != "http" && u.Scheme != "https") {
			return failed(exitUsage, []string{"it has a scheme and a host and nothing else:  " + name + " https://eid.example.com"}, "%s: %q is not an address", name, text)
		}
	}
	scheme, _, _ := strings.Cut(c.Store, ":")
	if c.Store != "memory" && (scheme == c.Store || !slices.Contains([]string{"sqlite", "postgres", "postgresql"}, scheme)) {
		return failed(exitUsage, []string{"known:  memory, sqlite:FILE, postgres://USER@HOST/NAME"}, "--store: %q is no store", c.Store)
	}
	return nil
}

// portOf checks the first of some ports that follow each other.
func portOf(first, count int, words string) error {
	if last := 1<<16 - count; first < 0 || first > last {
		return failed(exitUsage, nil, "--port: must be 0, or 1 to %d: %s ports are needed from there", last, words)
	}
	return nil
}

// browse shows an address to the person at this machine.
func browse(ctx context.Context, url string) error {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), name, args...) //nolint:gosec // our own address
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // how the browser ends is its own affair
	return nil
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor fits
}

// defaultConfig is the file if none is named.
const defaultConfig = "eidgate.yaml"

type configFlag struct {
	Config string `default:"eidgate.yaml" env:"EIDGATE_CONFIG" placeholder:"FILE" help:"The configuration file; eidgate.yaml if none is named."`
}

type serveCmd struct{ configFlag }

func (c *serveCmd) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	return server.Serve(ctx, cfg, server.ServeOptions{Version: version(), Stdout: io.out, Stderr: io.err, Reload: reload})
}

// load reads the configuration and prints what is wrong with it.
func (c *configFlag) load(io streams, all bool) (*server.Config, error) {
	cfg, problems, err := server.ReadConfig(c.Config)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, failed(exitConfig, []string{"name another one:  --config FILE", "what it may hold:  docs/configuration.md"}, "%s does not exist", c.Config)
		}
		return nil, &failure{exitConfig, err, nil}
	}
	errs, warnings := 0, 0
	for _, p := range problems {
		if p.Warning {
			warnings++
			if !all {
				continue
			}
		} else {
			errs++
		}
		fmt.Fprintf(io.err, "%s:%s\n", filepath.Base(c.Config), p)
		if p.Source != "" {
			fmt.Fprintf(io.err, "  %s\n  %*s\n", p.Source, p.Column, "^")
		}
	}
	if errs > 0 {
		fmt.Fprintf(io.err, "%s, %s. Nothing was started.\n", count(errs, "error"), count(warnings, "warning"))
		return nil, failed(exitConfig, nil, "") // it has been said
	}
	if all {
		fmt.Fprintf(io.out, "%s: no error, %s. It would run:\n", filepath.Base(c.Config), count(warnings, "warning"))
		for _, line := range cfg.Summary() {
			fmt.Fprintf(io.out, "  %s\n", line)
		}
	}
	return cfg, nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type checkCmd struct{ configFlag }

func (c *checkCmd) Run(_ context.Context, io streams) error {
	_, err := c.load(io, true)
	return err
}

type migrateCmd struct {
	Status migrateStatus `cmd:"" help:"What has not been applied." example:"eidgate migrate status --config eidgate.yaml"`
	Up     migrateUp     `cmd:"" help:"Apply all changes." example:"eidgate migrate up --config eidgate.yaml"`
}

type migrateStatus struct{ configFlag }

func (c *migrateStatus) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	return server.MigrateStatus(ctx, cfg, io.out)
}

type migrateUp struct{ configFlag }

func (c *migrateUp) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	return server.MigrateUp(ctx, cfg, io.out)
}

type waitCmd struct {
	ReadyFile string        `placeholder:"FILE" help:"The file that eidgate dev --ready-file writes."`
	URL       string        `help:"Or the address of the operations listener."`
	Timeout   time.Duration `default:"30s" help:"How long."`
}

func (c *waitCmd) Run(ctx context.Context) error {
	if (c.ReadyFile == "") == (c.URL == "") {
		return failed(exitUsage, nil, "name either --ready-file or --url")
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	for why := ""; ; {
		if c.URL == "" {
			if fileIsReady(c.ReadyFile) {
				return nil
			}
		} else if err := answers(ctx, c.URL); err == nil {
			return nil
		} else if ctx.Err() == nil {
			why = ": " + err.Error()
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return failed(exitTimeout, nil, "not ready after %s%s", c.Timeout, why)
			}
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func fileIsReady(path string) bool {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the user
	if err != nil {
		return false
	}
	var f struct{ Event string }
	return json.Unmarshal(raw, &f) == nil && f.Event == "ready"
}

// answers asks /readyz of an operations listener.
func answers(ctx context.Context, base string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", res.Status)
	}
	return nil
}

type healthcheckCmd struct {
	configFlag
	URL string `help:"The operations listener; default that of the configuration file, and http://127.0.0.1:8709 without one."`
}

func (c *healthcheckCmd) Run(ctx context.Context) error {
	if c.URL == "" {
		var err error
		if c.URL, err = server.OpsURL(c.Config); err != nil && (c.Config != defaultConfig || !errors.Is(err, os.ErrNotExist)) {
			return failed(exitConfig, []string{"or name the operations listener:  --url http://ADDRESS"}, "%v", err)
		}
	}
	if err := answers(ctx, c.URL); err != nil {
		return failed(exitUnreachable, []string{"its operations listener is server.listen.ops:  --url http://ADDRESS"}, "%v", err)
	}
	return nil
}

type sandboxCmd struct {
	Host      string `default:"127.0.0.1" help:"Address to listen on."`
	Port      int    `default:"8702" help:"First of four ports; 0 picks free ones."`
	Auto      string `enum:"approve,ask" default:"approve" help:"approve: logins succeed by themselves."`
	Public    string `default:"http://localhost:8700" help:"Public address of the server that uses them: phones that scan a code of iDIN end there."`
	Data      string `required:"" placeholder:"DIR" help:"Directory that gets certificates, keys, and test_eids.yaml for a server's configuration."`
	ReadyFile string `placeholder:"FILE" help:"Written when the simulators answer."`
	Name      string `default:"Demo shop" help:"What the RP certificate says."`
}

func (c *sandboxCmd) Run(ctx context.Context, io streams) error {
	if err := portOf(c.Port, 4, "four"); err != nil {
		return err
	}
	err := server.Sandbox(ctx, server.SandboxOptions{Host: c.Host, Port: c.Port, Auto: c.Auto, Public: c.Public, Data: c.Data,
		ReadyFile: c.ReadyFile, Name: c.Name, Version: version(), Stderr: io.err})
	if in := (*server.PortInUse)(nil); errors.As(err, &in) {
		return taken(err, "eidgate sandbox --data "+c.Data, c.Port+100, 4)
	}
	return err
}
