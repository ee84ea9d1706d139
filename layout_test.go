package eidgate_test

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the dependency rule: what each package may import of this
// module. "x/*" stands for every package below x; the most specific line
// counts. Widening a line is a design decision: say why in the commit.
var mayImport = map[string]string{
	"eid": "", "natid": "",
	"relying":         "eid",
	"connector":       "eid",
	"broker":          "eid natid relying connector internal/*", // natid: the pinned person
	"protocol/*":      "internal/*",
	"connector/*":     "eid natid connector protocol/* internal/*",
	"notify":          "eid relying broker internal/*",
	"api/*":           "eid natid relying connector broker api/claims internal/*", // headless APIs switch on steps
	"web":             "internal/*",
	"web/*":           "eid relying connector broker web internal/*",
	"web/dashboard":   "eid relying connector broker notify web internal/*",
	"store":           "eid relying connector broker notify api/oidc internal/*", // connector: the type of refs
	"sandbox":         "internal/*",
	"sandbox/*":       "eid natid sandbox internal/*", // not protocol: two equal mistakes would agree
	"sandbox/control": "sandbox sandbox/* internal/*", // drives the simulators
	"internal/*":      "internal/*",
	"examples/*":      "", // what a relying party writes, without our packages
	"server":          "*", "cmd/*": "*", "test/*": "*",

	"connector/bankidno":           "eid connector connector/openid internal/oidcrp", // what eIDs over OpenID Connect have in common
	"connector/itsme":              "eid connector connector/openid internal/oidcrp",
	"connector/mitid":              "eid connector connector/openid internal/oidcrp",
	"connector/openid/openidtest":  "eid connector connector/* sandbox internal/oidcrp", // runs dialects against simulators
	"sandbox/bankidno":             "sandbox sandbox/openid",
	"sandbox/itsme":                "sandbox sandbox/openid",
	"sandbox/mitid":                "sandbox sandbox/openid",
	"sandbox/openid/openidtest":    "sandbox/openid",
	"connector/idinage":            "eid connector connector/idin protocol/agechecked internal/*", // the age check over iDIN is iDIN, asked less
	"docs":                         "",
	"examples/demo-rp/cmd/demo-rp": "examples/demo-rp",
	"web/site":                     "web", // of the broker it knows only what server tells it
}

const module = "eidgate/"

func TestDependencyRule(t *testing.T) {
	t.Parallel()
	seen := 0
	walk(t, func(name string, _ []byte) {
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return
		}
		pkg := path.Dir(name)
		allowed, ok := line(pkg)
		if !ok {
			t.Errorf("%s: package %q has no line in the dependency rule", name, pkg)
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if local, ok := strings.CutPrefix(imported, module); ok && !matches(allowed, local) {
				t.Errorf("%s: %s must not import %s", name, pkg, local)
			}
		}
	})
	if seen == 0 {
		t.Error("no sources were read")
	}
}

// line finds the most specific line for a package.
func line(pkg string) (string, bool) {
	if allowed, ok := mayImport[pkg]; ok {
		return allowed, true
	}
	for dir := path.Dir(pkg); dir != "."; dir = path.Dir(dir) {
		if allowed, ok := mayImport[dir+"/*"]; ok {
			return allowed, true
		}
	}
	return "", false
}

func matches(allowed, pkg string) bool {
	for _, pattern := range strings.Fields(allowed) {
		below, isTree := strings.CutSuffix(pattern, "*")
		if pattern == pkg || isTree && strings.HasPrefix(pkg, below) {
			return true
		}
	}
	return false
}

func TestRuleItself(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		pkg, imported string
		want          bool
	}{
		{"broker", "connector", true},
		{"broker", "connector/bankidse", false},
		{"sandbox/bankidse", "protocol/bankidse", false},
		{"web/dashboard", "notify", true},
		{"web/hosted", "notify", false},
		{"cmd/eidgate", "server", true},
		{"internal/qr", "eid", false},
	} {
		allowed, ok := line(v.pkg)
		if !ok || matches(allowed, v.imported) != v.want {
			t.Errorf("%s imports %s: %v, want %v", v.pkg, v.imported, !v.want, v.want)
		}
	}
	if _, ok := line("util"); ok {
		t.Error("a package without a line is allowed")
	}
}

var (
	quoted = regexp.MustCompile("`([a-z][a-zA-Z0-9_./-]*)`")
	isPath = regexp.MustCompile(`/|\.(go|md|txt|mod)$`)
)

// ARCHITECTURE.md names paths in backquotes; each one must be there.
func TestArchitectureNamesPaths(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
		name := m[1]
		if !isPath.MatchString(name) {
			continue
		}
		count++
		if _, err := os.Stat(strings.TrimSuffix(name, "/")); err != nil {
			t.Errorf("ARCHITECTURE.md names %s: %v", name, err)
		}
	}
	if count == 0 {
		t.Error("ARCHITECTURE.md names no path")
	}
}

var (
	cited   = regexp.MustCompile(`§ ?([0-9]+(?:\.[0-9]+)?)`)
	notes   = regexp.MustCompile(`docs/(?:(?:protocols|apis)/[a-z0-9]+|personal-numbers)\.md`)
	heading = regexp.MustCompile(`(?m)^#+ §([0-9.]+)`)
)

// Comments cite sections of the notes that their package names; each section
// must be there.
func TestCitations(t *testing.T) {
	t.Parallel()
	texts := map[string]string{} // folder → all that its files say
	walk(t, func(name string, text []byte) {
		if strings.HasSuffix(name, ".go") && name != "layout_test.go" {
			texts[path.Dir(name)] += string(text)
		}
	})
	count := 0
	for dir, text := range texts {
		sections := cited.FindAllStringSubmatch(text, -1)
		if len(sections) == 0 {
			continue
		}
		doc := notes.FindString(text)
		raw, err := os.ReadFile(doc)
		if err != nil {
			t.Errorf("%s cites sections and names no notes: %v", dir, err)
			continue
		}
		have := map[string]bool{}
		for _, h := range heading.FindAllStringSubmatch(string(raw), -1) {
			have[h[1]] = true
		}
		for _, s := range sections {
			if count++; !have[s[1]] {
				t.Errorf("%s cites §%s, which %s does not have", dir, s[1], doc)
			}
		}
	}
	if count < 50 {
		t.Errorf("only %d citations were found", count)
	}
}

// Text that belongs to somebody's machine or notes, not to the project. The
// words are split so that this file does not hold them.
var foreign = regexp.MustCompile(`(?i)\.\./` + `shared|/wo` + `rk/|/ho` + `me/[a-z]|/ro` + `ot/|/Us` + `ers/[a-z]|proxy\.golang` +
	`\.org|registry\.npmjs` + `\.org|\bTODO` + `:|\bFIXME` + `\b|<<<<` + `<<<`)

func TestNoForeignText(t *testing.T) {
	t.Parallel()
	walk(t, func(name string, text []byte) {
		if bytes.IndexByte(text, 0) >= 0 {
			return // no text
		}
		if m := foreign.Find(text); m != nil {
			t.Errorf("%s: %q does not belong here", name, m)
		}
	})
}

// walk calls f with every file of the project.
func walk(t *testing.T, f func(name string, text []byte)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || d.Name() == "node_modules" || name == "bin" || name == "data"):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f(name, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
