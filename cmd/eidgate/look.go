package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"eidgate/broker"
	"eidgate/server"
)

type sessionCmd struct {
	List  sessionList  `cmd:"" help:"The latest sessions; nothing personal." example:"eidgate session list --state failed"`
	Show  sessionShow  `cmd:"" help:"One session's timeline; nothing personal." example:"eidgate session show 7QK4-29XM"`
	Erase sessionErase `cmd:"" help:"Destroy what is personal of sessions that have ended, before its time." example:"eidgate session erase 7QK4-29XM"`
}

type sessionList struct {
	configFlag
	Account string `help:"Only of this account."`
	State   string `enum:"created,started,confirmed,finished,failed,erased," default:"" help:"Only in this state: created, started, confirmed, finished, failed or erased."`
	Limit   int    `default:"20" help:"How many."`
	JSON    bool   `name:"json" help:"As JSON."`
}

func (c *sessionList) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	rows, err := server.Sessions(ctx, cfg, c.Account, c.State, c.Limit)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(io.out).Encode(rows)
	}
	w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "time\tref\taccount\teid\tstate\treason")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Created.UTC().Format(time.RFC3339), r.Ref, r.Account, r.EID, r.State, r.Reason)
	}
	return w.Flush()
}

type sessionShow struct {
	configFlag
	ID   string `arg:"" help:"A session's id or its reference."`
	JSON bool   `name:"json" help:"As JSON."`
}

func (c *sessionShow) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	row, notes, err := server.SessionShow(ctx, cfg, c.ID)
	if err != nil {
		return missed(err, c.ID)
	}
	if c.JSON {
		return json.NewEncoder(io.out).Encode(map[string]any{"session": row, "timeline": notes})
	}
	fmt.Fprintf(io.out, "%s  %s  %s  %s %s\n", row.Ref, row.Account, row.EID, row.State, row.Reason)
	for _, n := range notes {
		fmt.Fprintf(io.out, "  %s  %-9s %s\n", n.At.UTC().Format("2006-01-02T15:04:05.000Z07:00"), n.Kind, n.Text)
	}
	return nil
}

// missed says why a session is not found, if that is what an error means.
func missed(err error, id string) error {
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return failed(exitNotFound, nil, "no session %s", id)
	case errors.Is(err, server.ErrAmbiguous):
		return failed(exitRefused, []string{"name one by its id:  eidgate session list --json"}, "several sessions have the reference %s", id)
	}
	return err
}

type sessionErase struct {
	configFlag
	ID []string `arg:"" help:"A session's id or its reference."`
}

func (c *sessionErase) Run(ctx context.Context, io streams) error {
	cfg, err := c.load(io, false)
	if err != nil {
		return err
	}
	for _, id := range c.ID {
		r, err := server.SessionErase(ctx, cfg, id)
		if errors.Is(err, server.ErrRunning) {
			return failed(exitRefused, []string{"wait for that: a session ends by itself"}, "%s has not ended", r.Ref)
		}
		if err != nil {
			return missed(err, id)
		}
		fmt.Fprintf(io.out, "%s is erased\n", r.Ref)
	}
	return nil
}

type triggerCmd struct {
	Outcome   string `arg:"" help:"approve, cancel, expire, decline or fail:CODE."`
	EID       string `name:"eid" xor:"eid" help:"Only for this eID."`
	Person    string `help:"Key of the test person."`
	Next      bool   `xor:"which" help:"Decide the next login (the default)."`
	Session   string `xor:"which,eid" help:"Or this session, which is run to its end."`
	Control   string `default:"http://localhost:8703" help:"The sandbox's control listener."`
	ReadyFile string `placeholder:"FILE" help:"Or the file that eidgate dev --ready-file writes, which has its CA too."`
}

func (c *triggerCmd) Run(ctx context.Context, io streams) error {
	path, body := "/sandbox/v1/queue", map[string]any{"outcome": c.Outcome, "times": 1, "match": map[string]string{"eid": c.EID}}
	if c.Session != "" {
		path, body = "/sandbox/v1/sessions/"+url.PathEscape(c.Session)+"/decide", map[string]any{"outcome": c.Outcome}
	}
	if c.Person != "" {
		body["person"] = c.Person
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(c.Control, "/")+path, bytes.NewReader(raw))
	if err != nil {
		return failed(exitUsage, nil, "%v", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return failed(exitUnreachable, []string{"is eidgate dev running?", "with --tls, name its ready file:  --ready-file FILE"}, "the sandbox does not answer: %v", err)
	}
	defer res.Body.Close()
	answer, err := readAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusNotFound:
		text, try := reason(answer)
		return failed(exitNotFound, try, "%s", text)
	case res.StatusCode >= 300:
		text, try := reason(answer)
		return failed(exitRefused, try, "refused: %s", text)
	}
	_, err = io.out.Write(append(bytes.TrimSpace(answer), '\n'))
	return err
}

// client reads the ready file, if there is one.
func (c *triggerCmd) client() (*http.Client, error) {
	if c.ReadyFile == "" {
		return http.DefaultClient, nil
	}
	var file struct {
		URLs map[string]string `json:"urls"`
		CA   string            `json:"ca"`
	}
	raw, err := os.ReadFile(c.ReadyFile)
	if err != nil {
		return nil, failed(exitNotFound, []string{"it is written when the sandbox is ready:  eidgate wait --ready-file FILE"}, "%v", err)
	}
	if err := json.Unmarshal(raw, &file); err != nil || file.URLs["control"] == "" {
		return nil, failed(exitUsage, nil, "%s is no ready file of a sandbox", c.ReadyFile)
	}
	c.Control = file.URLs["control"]
	if file.CA == "" {
		return http.DefaultClient, nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(file.CA))
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}}, nil
}

// reason is what a refusal of the control API says, and what to do.
func reason(answer []byte) (text string, try []string) {
	var body struct{ Error, Help string }
	if json.Unmarshal(answer, &body) != nil || body.Error == "" {
		return string(bytes.TrimSpace(answer)), nil
	}
	if body.Help != "" {
		try = []string{body.Help}
	}
	return body.Error, try
}

func readAll(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, 1<<20)) }

type verifyCmd struct {
	Signature verifySignature `cmd:"" help:"A BankID signature with its OCSP answer." example:"eidgate verify signature signature.xml --ocsp ocsp.der"`
}

type verifySignature struct {
	File   string `arg:"" help:"The signature: XML, its base64 text, or a ZignSec result with a BankIDSE node."`
	OCSP   string `name:"ocsp" help:"The OCSP answer: DER or base64. Part of a result file already."`
	Roots  string `default:"live" help:"live, test, or a PEM file with the root."`
	Reveal bool   `help:"Show the person and the texts too. They are personal data."`
	JSON   bool   `name:"json" help:"As JSON."`
}

func (c *verifySignature) Run(_ context.Context, io streams) error {
	v, err := server.VerifySignature(c.File, c.OCSP, c.Roots, c.Reveal)
	var unmet *server.Unmet
	switch {
	case errors.As(err, &unmet):
		return failed(exitUnmet, unmet.Try, "not valid: %v", err)
	case errors.Is(err, os.ErrNotExist):
		return failed(exitNotFound, nil, "%v", err)
	case err != nil:
		return err
	}
	if c.JSON {
		return json.NewEncoder(io.out).Encode(v)
	}
	w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
	for _, f := range v.Fields {
		fmt.Fprintf(w, "%s\t%s\n", f.Name, f.Value)
	}
	return w.Flush()
}

type versionCmd struct {
	JSON bool `name:"json" help:"With commit, Go version and modules."`
}

func (c *versionCmd) Run(io streams) error {
	if !c.JSON {
		_, err := fmt.Fprintln(io.out, "eidgate "+version())
		return err
	}
	out := map[string]any{"version": version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		out["go"] = info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				out["commit"] = s.Value
			}
		}
		mods := map[string]string{}
		for _, m := range info.Deps {
			mods[m.Path] = m.Version
		}
		out["modules"] = mods
	}
	return json.NewEncoder(io.out).Encode(out)
}

// version is what the build says; a plain "go run" has none.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.1.0-dev"
}
