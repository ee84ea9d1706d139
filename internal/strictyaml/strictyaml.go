// Package strictyaml decodes a YAML file into a struct and reports every
// problem at once, each with the line and column that it is about. Keys that
// the struct does not have are problems, with the nearest key as a guess.
package strictyaml

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v3"
)

// A Problem is one thing that is wrong, or, as a Warning, that may become so.
type Problem struct {
	Line, Column int
	Path         string // "eids.bankid_se.certificate"
	Text         string
	Warning      bool
	Source       string // the line, where it cannot be read at all; as a terminal may show it
}

// String is the line that people read.
func (p Problem) String() string {
	where := strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
	s := where + "  "
	if p.Path != "" {
		s += p.Path + ": "
	}
	s += p.Text
	if p.Warning {
		s += "  [warning]"
	}
	return s
}

// A Document is a decoded file: where each key stands, and what was wrong.
type Document struct {
	Problems []Problem
	places   map[string]*yaml.Node
}

// Report adds a problem about a key; unknown keys stand at the nearest one
// above that is in the file.
func (d *Document) Report(path, format string, args ...any) { d.report(path, false, format, args...) }

// Warn adds a warning about a key.
func (d *Document) Warn(path, format string, args ...any) { d.report(path, true, format, args...) }

func (d *Document) report(path string, warning bool, format string, args ...any) {
	p := Problem{Line: 1, Column: 1, Path: path, Text: fmt.Sprintf(format, args...), Warning: warning}
	for at := path; ; at = at[:max(strings.LastIndexByte(at, '.'), 0)] {
		if n := d.places[at]; n != nil {
			p.Line, p.Column = n.Line, n.Column
			break
		}
		if at == "" {
			break
		}
	}
	d.Problems = append(d.Problems, p)
}

// Sorted lists the problems in the order of the file.
func (d *Document) Sorted() []Problem {
	out := slices.Clone(d.Problems)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return out
}

// Decode reads a file into the struct that into points to. Fields are named
// by their yaml tag. A file that is not YAML has exactly one problem.
func Decode(raw []byte, into any) *Document {
	d := &Document{places: map[string]*yaml.Node{}}
	var root, more yaml.Node
	in := yaml.NewDecoder(bytes.NewReader(raw))
	if err := in.Decode(&root); err != nil && !errors.Is(err, io.EOF) { // an empty file
		d.Problems = []Problem{syntax(err, raw)}
		return d
	}
	switch err := in.Decode(&more); {
	case err == nil:
		d.Problems = append(d.Problems, Problem{Line: more.Line, Column: more.Column, Text: "a second document begins here, and would not be read; take away the line with ---"})
	case !errors.Is(err, io.EOF):
		d.Problems = []Problem{syntax(err, raw)}
		return d
	}
	if len(root.Content) == 0 {
		return d
	}
	d.value(root.Content[0], reflect.ValueOf(into).Elem(), "")
	return d
}

// syntax turns the library's "yaml: line 13: text" into a problem. The library
// knows no column, and no line of a character that may be nowhere: that one, or
// a tab where none may be, is found here, else it is the beginning of the line's
// text.
func syntax(err error, raw []byte) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	lines := strings.Split(string(raw), "\n")
	foreign := func(line string) int {
		return strings.IndexFunc(line, func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) && r != '\t' && r != '\r' })
	}
	p := Problem{Line: 1 + max(0, slices.IndexFunc(lines, func(line string) bool { return foreign(line) >= 0 })), Column: 1, Text: "not readable as YAML: " + text}
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if n, why, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(n); err == nil {
				p.Line, p.Text = line, "not readable as YAML: "+why
			}
		}
	}
	if p.Line <= len(lines) {
		source := strings.TrimRight(lines[p.Line-1], "\r ")
		if p.Column = foreign(source) + 1; p.Column == 0 {
			p.Column = strings.IndexByte(source, '\t') + 1
		}
		if p.Column == 0 {
			p.Column = 1 + len(source) - len(strings.TrimLeft(source, " "))
		}
		p.Source = printable(source)
	}
	return p
}

// printable is a line for a terminal, which a file may not steer: each tab is a
// blank, and what else cannot be printed a replacement character.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, line)
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	instantType  = reflect.TypeFor[time.Time]()
)

func (d *Document) value(n *yaml.Node, v reflect.Value, path string) {
	d.places[path] = n
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case v.Type() == durationType:
		var text string
		if n.Decode(&text) != nil {
			d.Report(path, "must be a time such as 15m or 24h")
			return
		}
		t, err := time.ParseDuration(text)
		if err != nil {
			d.Report(path, "%q is not a time; write it like 90s, 15m or 24h", text)
			return
		}
		v.SetInt(int64(t))
	case v.Type() == instantType:
		t, err := time.Parse(time.RFC3339, n.Value)
		if err != nil {
			d.Report(path, "%q is not a date with a time; write it like 2027-01-31T00:00:00Z", n.Value)
			return
		}
		v.Set(reflect.ValueOf(t))
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), path)
	case v.Kind() == reflect.Struct:
		d.mapping(n, v, path)
	case v.Kind() == reflect.Slice:
		d.sequence(n, v, path)
	case v.Kind() == reflect.Map:
		d.table(n, v, path)
	default:
		if n.Kind != yaml.ScalarNode {
			d.Report(path, "must be %s", kindName(v))
			return
		}
		if err := n.Decode(v.Addr().Interface()); err != nil {
			d.Report(path, "%q is not %s", n.Value, kindName(v))
		}
	}
}

func kindName(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	default:
		return "a single value"
	}
}

func (d *Document) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.Report(path, "must have keys below it")
		return
	}
	fields := map[string]reflect.Value{}
	var names []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			fields[name] = v.Field(i)
			names = append(names, name)
		}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		f, ok := fields[key.Value]
		switch {
		case !ok:
			d.places[at] = key
			d.Report(at, "unknown key%s", guess(key.Value, names))
		case seen[key.Value]:
			d.again(key, at)
		default:
			d.value(val, f, at)
			d.places[at] = key
		}
		seen[key.Value] = true
	}
}

// again reports a key that its mapping has already.
func (d *Document) again(key *yaml.Node, at string) {
	d.Problems = append(d.Problems, Problem{key.Line, key.Column, at, "stands here a second time", false, ""})
}

func (d *Document) sequence(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.Report(path, "must be a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		d.value(c, out.Index(i), join(path, strconv.Itoa(i)))
	}
	v.Set(out)
}

func (d *Document) table(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.Report(path, "must have keys below it")
		return
	}
	out := reflect.MakeMap(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, at := n.Content[i], join(path, n.Content[i].Value)
		name := reflect.ValueOf(key.Value).Convert(v.Type().Key())
		if out.MapIndex(name).IsValid() {
			d.again(key, at)
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i+1], e, at)
		out.SetMapIndex(name, e)
	}
	v.Set(out)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// guess names the nearest known key, if one is near.
func guess(key string, names []string) string {
	best, at := "", 1+len(key)/3
	for _, n := range names {
		if dist := Distance(key, n); dist <= at {
			best, at = n, dist
		}
	}
	if best == "" {
		slices.Sort(names)
		return "; known here: " + strings.Join(names, ", ")
	}
	return fmt.Sprintf(". Did you mean %q?", best)
}

// Distance counts the letters to insert, delete or replace between two words.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, above, row[j])
			}
			diagonal, row[j+1] = above, cost
		}
	}
	return row[len(b)]
}
