package sandbox

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io/fs"
	"net/http"
)

//go:embed style.css
var style string

// Pages reads the templates of a simulator's pages. Beside their own they have
// "head" and "foot", for a value with Lang, Title, Banner and Faults: a page of
// the sandbox says that it is one, and which faults are on. Pages hold their
// style and load nothing.
func Pages(files fs.FS, patterns ...string) *template.Template {
	t := template.New("").Funcs(template.FuncMap{"style": func() template.CSS { return template.CSS(style) }}) //nolint:gosec // our own file
	return template.Must(template.Must(t.Parse(frame)).ParseFS(files, patterns...))
}

const frame = `{{define "head"}}<!doctype html>
<html lang="{{.Lang}}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<title>{{.Title}} – {{.Banner}}</title>
<style>{{style}}</style>
</head>
<body>
<aside class="banner" aria-label="Simulation" data-testid="banner">{{.Banner}}</aside>
<main>
{{if .Faults}}<p class="fault" lang="en" data-testid="faults">Faults are on: {{range .Faults}}{{.Target}} {{.Kind}}{{if .Value}} {{.Value}}{{end}}; {{end}}</p>{{end}}
<h1>{{.Title}}</h1>{{end}}
{{define "foot"}}</main>
</body>
</html>
{{end}}`

// policy allows a page the style that it holds, and forms that are answered
// with a way back to wherever the relying party is.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self' http: https:; base-uri 'none'; frame-ancestors 'none'"
}()

// PageHeaders go with each page of [Pages].
func PageHeaders(h http.Header) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}
