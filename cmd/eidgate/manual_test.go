package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"eidgate/internal/golden"
)

const exitTable = `# The command

Results go to standard output, everything else to standard error. What can be printed as JSON (` + "`--json`" + `) keeps its names; tables may
change. Secrets are never arguments. This page is made from the command's own help by a test of cmd/eidgate.

| Exit | Meaning |
|---|---|
| 0 | done |
| 1 | did not work; standard error says why, and what to try |
| 2 | wrong usage |
| 3 | the configuration has errors |
| 4 | could not reach server, upstream or database |
| 5 | refused |
| 6 | not found |
| 7 | waited too long |
| 8 | evidence, or the audit trail, did not verify |
| 130 | interrupted |
`

// TestCommandManual renders every verb's help to docs/cli.md.
func TestCommandManual(t *testing.T) {
	t.Setenv("COLUMNS", "80") // which help would follow
	page := bytes.NewBufferString(exitTable)
	var verbs func(n *kong.Node, path []string)
	verbs = func(n *kong.Node, path []string) {
		for _, c := range n.Children {
			if c.Hidden {
				continue
			}
			at := append(path[:len(path):len(path)], c.Name)
			if len(c.Children) > 0 {
				verbs(c, at)
				continue
			}
			if !c.Tag.Has("example") || c.Help == "" {
				t.Errorf("%s has no help or no example", strings.Join(at, " "))
			}
			var out bytes.Buffer
			if code := run(t.Context(), func() {}, append(at, "--help"), streams{&out, io.Discard}); code != 0 {
				t.Errorf("%v --help ends with %d", at, code)
			}
			for l := range strings.Lines(out.String()) {
				if len([]rune(strings.TrimRight(l, "\n"))) > 80 {
					t.Errorf("wider than 80 columns: %s", l)
				}
			}
			fmt.Fprintf(page, "\n## eidgate %s\n\n```\n%s```\n", strings.Join(at, " "), out.String())
		}
	}
	verbs(newParser(streams{io.Discard, io.Discard}, func(int) {}).Model.Node, nil)
	golden.File(t, "../../docs/cli.md", page.Bytes())
}
