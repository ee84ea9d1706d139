package server

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"eidgate/internal/golden"
	"eidgate/internal/strictyaml"
)

// TestConfigurationManual renders the comments of the structs in config.go to
// docs/configuration.md. A key without a comment is a mistake.
func TestConfigurationManual(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("testdata/eidgate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := manual{types: map[string]*ast.TypeSpec{}, docs: map[string]string{}, at: map[string]string{}, t: t}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			if spec, ok := s.(*ast.TypeSpec); ok {
				m.types[spec.Name.Name], m.docs[spec.Name.Name] = spec, g.Doc.Text()
			}
		}
	}
	m.Printf(`# Configuration

This page is made from the comments in server/config.go by a test of that
package; %s prints every problem of a file at once.

%s
Times are written like %s, %s or %s. Files may be named relative to the
folder that the server is started in.

%s
%s%s
`, "`eidgate check`", paragraph(m.docs["Config"]), "`90s`", "`15m`", "`24h`", "```yaml", example, "```")
	m.section("Config", "")
	golden.File(t, "../docs/configuration.md", []byte(m.String()))
}

// A manual is being written.
type manual struct {
	strings.Builder
	types map[string]*ast.TypeSpec
	docs  map[string]string
	at    map[string]string // type → path of the section that tells about it
	t     *testing.T
}

func (m *manual) Printf(format string, args ...any) { fmt.Fprintf(m, format, args...) }

// paragraph is a doc comment's text for the page, without the type's name.
func paragraph(doc string) string {
	doc = strings.TrimSpace(doc)
	name, rest, _ := strings.Cut(doc, " ")
	if !strings.HasSuffix(name, "Config") {
		return doc + "\n"
	}
	rest = strings.TrimPrefix(rest, "is ")
	return strings.ToUpper(rest[:1]) + rest[1:] + "\n"
}

// section tells about a struct and then about those in it.
func (m *manual) section(name, path string) {
	if path != "" {
		m.Printf("\n## %s\n\n%s", path, paragraph(m.docs[name]))
	}
	m.at[name] = path
	s, ok := m.types[name].Type.(*ast.StructType)
	if !ok {
		m.t.Fatalf("%s is no struct", name)
	}
	m.Printf("\n| Key | Kind | Meaning |\n|---|---|---|\n")
	var below [][2]string
	for _, f := range s.Fields.List {
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			m.t.Fatal(err)
		}
		key := reflect.StructTag(tag).Get("yaml")
		full := strings.TrimPrefix(path+"."+key, ".")
		kind, sub := m.kind(f.Type)
		text := strings.TrimSpace(f.Comment.Text())
		switch {
		case sub != "" && m.at[sub] != "":
			kind = "as [" + m.at[sub] + "](#" + anchor(m.at[sub]) + ")"
		case sub != "":
			m.at[sub] = full
			below = append(below, [2]string{sub, full})
			kind += "[below](#" + anchor(full) + ")"
		case text == "":
			m.t.Errorf("%s has no comment", full)
		}
		if text == "" {
			text, _, _ = strings.Cut(strings.TrimRight(paragraph(m.docs[sub]), ".\n"), ". ")
			text = strings.ReplaceAll(strings.TrimSpace(text), "\n", " ")
		}
		m.Printf("| `%s` | %s | %s |\n", key, kind, strings.ReplaceAll(text, "|", `\|`))
	}
	for _, b := range below {
		m.section(b[0], b[1])
	}
}

func anchor(path string) string { return strings.ToLower(strings.ReplaceAll(path, ".", "")) }

// kind is what people call a type, and the name of a struct.
func (m *manual) kind(e ast.Expr) (kind, sub string) {
	switch e := e.(type) {
	case *ast.StarExpr:
		return m.kind(e.X)
	case *ast.ArrayType:
		if _, sub := m.kind(e.Elt); sub != "" {
			return "list, ", sub
		}
		return "list", ""
	case *ast.MapType:
		return "table of lists", ""
	case *ast.SelectorExpr:
		return "time", ""
	case *ast.Ident:
		switch e.Name {
		case "string":
			return "text", ""
		case "bool":
			return "true or false", ""
		case "int":
			return "number", ""
		}
		return "", e.Name
	}
	m.t.Fatalf("what is %T called?", e)
	return "", ""
}

// TestExampleIsStrict holds that the manual's example has no key that the
// server would refuse.
func TestExampleIsStrict(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/eidgate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	for _, p := range strictyaml.Decode(raw, &c).Problems {
		t.Error(p)
	}
	if len(c.Accounts) == 0 || c.EIDs.BankIDSE == nil {
		t.Error("the example shows too little")
	}
}
