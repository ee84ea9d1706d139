package oidc_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var ruleID = regexp.MustCompile(`^(OP-[A-Z]+-\d\d|oidcc-[A-Za-z0-9-]+|fapi2-[A-Za-z0-9_-]+)$`)

// TestManifest holds that each rule of our own (OP-…) and each module of the
// conformance suite that applies (oidcc-…, fapi2-… without the plan's long
// name) is the name of a test, or stands in testdata/manifest.txt with the
// reason why it is not. So none gets lost in silence.
func TestManifest(t *testing.T) {
	t.Parallel()
	named := names(t)
	text, err := os.ReadFile("testdata/manifest.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.SplitSeq(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, reason, excused := strings.Cut(line, ": ")
		switch {
		case !ruleID.MatchString(id) || listed[id]:
			t.Errorf("%q is no id, or there twice", id)
		case excused && (len(reason) < 10 || named[id]):
			t.Errorf("%s has no reason, or a test beside it", id)
		case !excused && !named[id]:
			t.Errorf("%s is not the name of any test, and has no reason", id)
		}
		listed[id] = true
	}
	if len(listed) < 200 {
		t.Errorf("only %d are listed", len(listed))
	}
	for id := range named {
		if !listed[id] {
			t.Errorf("%s is tested and not listed", id)
		}
	}
}

// names are the ids in names of tests: what is handed to in or Run, what tables
// of tests have as keys, and what a failure says when it is about one of many.
func names(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	add := func(e ast.Expr) {
		ast.Inspect(e, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ':' || r == ',' }) {
					if ruleID.MatchString(word) {
						out[word] = true
					}
				}
			}
			return true
		})
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"in", "Run", "Errorf"}, f.Sel.Name) {
					for _, a := range n.Args {
						if _, isFunc := a.(*ast.FuncLit); !isFunc {
							add(a)
						}
					}
				}
			case *ast.KeyValueExpr:
				add(n.Key)
			}
			return true
		})
	}
	return out
}
