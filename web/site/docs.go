package site

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// A page is one document.
type page struct {
	Path   string // below /docs
	Title  string
	folder string // "" for a page that is in no list
	body   func() (template.HTML, error)
}

// A group is the pages of one folder.
type group struct {
	Name  string
	Pages []*page
}

// folders are in the order of the list, with names for people.
var folders = []struct{ folder, name string }{
	{".", "Use it"}, {"apis", "APIs"}, {"protocols", "Protocols"}, {"decisions", "Decisions"},
}

// first is the order within the first group; others follow by name.
var first = []string{"start", "errors", "errors-oidc", "webhooks", "sandbox", "operations"}

// read finds the documents, the pages of single error codes, and the programs
// that the start page shows.
func (s *Site) read() error {
	s.pages = map[string]*page{}
	return fs.WalkDir(s.c.Docs, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".md" {
			return err
		}
		raw, err := fs.ReadFile(s.c.Docs, name)
		if err != nil {
			return err
		}
		source := s.c.Sandbox.local(string(raw))
		p := &page{Path: strings.TrimSuffix(name, ".md"), Title: title(source), folder: path.Dir(name)}
		if p.Title == "" {
			return fmt.Errorf("docs/%s has no heading", name)
		}
		p.body = render(source, path.Dir(name))
		s.pages[p.Path] = p
		switch name {
		case "start.md":
			s.snippets = programs(source)
		case "errors.md":
			s.codes(source, "[All error codes](errors.md) · [How a login can end](start.md#how-a-login-can-end)")
		case "errors-oidc.md":
			s.codes(source, "[All error codes of OpenID Connect](errors-oidc.md) · [What a program must check](apis/oidc.md#what-your-program-must-check)")
		}
		return nil
	})
}

// title is the text of the first heading.
func title(source string) string {
	line, _, _ := strings.Cut(source, "\n")
	t, ok := strings.CutPrefix(line, "# ")
	if !ok {
		return ""
	}
	return strings.ReplaceAll(t, "`", "")
}

// codes makes a page of every error code of an API: its part of the list, and
// what else to read.
func (s *Site) codes(source, more string) {
	for _, part := range strings.Split(source, "\n## ")[1:] {
		code, text, _ := strings.Cut(part, "\n")
		p := &page{Path: "errors/" + strings.ReplaceAll(code, " ", ""), Title: code}
		p.body = render("# "+code+"\n"+text+"\n\n"+more+"\n", ".")
		s.pages[p.Path] = p
	}
}

// A snippet is a program of docs/start.md.
type snippet struct{ Lang, Name, Text string }

var languages = []struct{ fence, name string }{
	{"go", "Go"}, {"js", "JavaScript"}, {"python", "Python"}, {"csharp", "C#"}, {"php", "PHP"},
}

// programs takes the blocks of code out of start.md: the calls by hand, and
// the program of each language.
func programs(source string) []snippet {
	var hand []string
	byLang := map[string]string{}
	for rest := source; ; {
		_, block, ok := strings.Cut(rest, "\n```")
		if !ok {
			break
		}
		head, block, _ := strings.Cut(block, "\n")
		var code string
		code, rest, _ = strings.Cut(block, "\n```")
		switch {
		case head == "sh":
			hand = append(hand, code)
		case byLang[head] == "":
			byLang[head] = code
		}
	}
	out := []snippet{{"sh", "curl", strings.Join(hand, "\n")}}
	for _, l := range languages {
		if byLang[l.fence] != "" {
			out = append(out, snippet{l.fence, l.name, byLang[l.fence]})
		}
	}
	return out
}

// document shows a page of the documentation, or the list of all.
func (s *Site) document(w http.ResponseWriter, r *http.Request) {
	name := strings.Trim(r.PathValue("path"), "/")
	if name == "" {
		s.show(w, http.StatusOK, "docs", &frame{Title: "Documentation", Nav: s.nav()})
		return
	}
	if md, ok := strings.CutSuffix(name, ".md"); ok {
		http.Redirect(w, r, "/docs/"+md, http.StatusMovedPermanently)
		return
	}
	p := s.pages[name]
	if p == nil {
		s.show(w, http.StatusNotFound, "docs", &frame{Title: "There is no such page", Nav: s.nav()})
		return
	}
	body, err := p.body()
	if err != nil {
		http.Error(w, "This page did not work just now. Try again in a moment.", http.StatusInternalServerError)
		return
	}
	s.show(w, http.StatusOK, "document", &frame{Title: p.Title, Body: body, Nav: s.nav(), Here: name})
}

// nav lists the documents by folder.
func (s *Site) nav() []group {
	rank := func(p *page) int {
		if n := slices.Index(first, p.Path); n >= 0 {
			return n
		}
		return len(first)
	}
	var out []group
	for _, f := range folders {
		g := group{Name: f.name}
		for _, p := range s.pages {
			if p.folder == f.folder {
				g.Pages = append(g.Pages, p)
			}
		}
		slices.SortFunc(g.Pages, func(a, b *page) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a.Path, b.Path)) })
		out = append(out, g)
	}
	return out
}

// render turns Markdown into HTML when it is first asked for. HTML in the
// source is left out. dir is the document's folder, for its links.
func render(source, dir string) func() (template.HTML, error) {
	return sync.OnceValues(func() (template.HTML, error) {
		md := goldmark.New(goldmark.WithExtensions(extension.Table, extension.Linkify),
			goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(relink(dir), 100))))
		var b bytes.Buffer
		if err := md.Convert([]byte(source), &b, parser.WithContext(parser.NewContext(parser.WithIDs(anchors{})))); err != nil {
			return "", err
		}
		// A block of code and a wide table scroll; the keyboard must reach them.
		html := strings.NewReplacer("<pre>", `<pre tabindex="0">`, "<table>", `<div class="wide" tabindex="0"><table>`, "</table>", "</table></div>").Replace(b.String())
		return template.HTML(html), nil //nolint:gosec // our own documents, without raw HTML
	})
}

// anchors names headings as code hosts do, so that a link works in both places.
type anchors map[string]int

// Generate implements parser.IDs.
func (a anchors) Generate(heading []byte, _ ast.NodeKind) []byte {
	id := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, string(heading))
	a[id]++
	if n := a[id]; n > 1 {
		id += "-" + strconv.Itoa(n-1)
	}
	return []byte(id)
}

// Put implements parser.IDs.
func (a anchors) Put(id []byte) { a[string(id)]++ }

// relink makes links between files links between pages.
type relink string

// Transform implements parser.ASTTransformer.
func (dir relink) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if l, ok := n.(*ast.Link); ok && entering {
			to, anchor, _ := strings.Cut(string(l.Destination), "#")
			if md, ok := strings.CutSuffix(to, ".md"); ok && !strings.Contains(to, ":") {
				to = "/docs/" + path.Join(string(dir), md)
				if anchor != "" {
					to += "#" + anchor
				}
				l.Destination = []byte(to)
			}
		}
		return ast.WalkContinue, nil
	})
}
