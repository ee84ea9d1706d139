// Package web has what all pages share: words in every language, static files
// under addresses made of their content, and the headers of a page.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"mime"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"eidgate/internal/gzipped"
)

//go:embed static locale templates
var files embed.FS

// Static serves the files of static/, each under the hash of its content, so
// that browsers may keep them for ever.
type Static struct {
	byPath map[string]asset
	byName map[string]string
}

type asset struct {
	body   []byte
	packed []byte
	kind   string
}

// modules are the scripts of a session's page. They are served as one file,
// page.js: a page may take four requests.
var modules = []string{"go.js", "dialog.js", "poll.js", "qr.js", "search.js", "copy.js"}

// NewStatic reads the embedded files.
func NewStatic() (*Static, error) {
	s := &Static{map[string]asset{}, map[string]string{}}
	list, err := files.ReadDir("static")
	if err != nil {
		return nil, err
	}
	parts := make([][]byte, len(modules))
	for _, f := range list {
		body, err := files.ReadFile("static/" + f.Name())
		if err != nil {
			return nil, err
		}
		s.byName[f.Name()] = s.add(f.Name(), body)
		if i := slices.Index(modules, f.Name()); i >= 0 {
			parts[i] = body
		}
	}
	// A block for each keeps their names apart; what a page does not have, its
	// module leaves alone.
	var bundle []byte
	for _, body := range parts {
		bundle = fmt.Appendf(bundle, "{\n%s}\n", body)
	}
	s.byName["page.js"] = s.add("page.js", bundle)
	return s, nil
}

// add is the address of a file: its name and the hash of its content.
func (s *Static) add(name string, body []byte) string {
	ext := path.Ext(name)
	sum := sha256.Sum256(body)
	p := "/static/" + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
	s.byPath[p] = asset{body, gzipped.Bytes(body), mime.TypeByExtension(ext)}
	return p
}

// hashed is the address of a file, of which the hash is no part of the name.
var hashed = regexp.MustCompile(`^/static/([a-z]+)\.[0-9a-f]{12}(\.[a-z]+)$`)

// Path is the address of a file; "" if there is none.
func (s *Static) Path(name string) string { return s.byName[name] }

// ServeHTTP serves files by their address.
func (s *Static) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, ok := s.byPath[r.URL.Path]
	cached := "public, max-age=31536000, immutable"
	if m := hashed.FindStringSubmatch(r.URL.Path); !ok && m != nil { // a page of another version, from another node: ours is better than none
		a, ok = s.byPath[s.byName[m[1]+m[2]]]
		cached = "no-store"
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", cached)
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	write(w, r, a.kind, a.body, a.packed)
}

// Autostart serves the script that framing pages load by its fixed name.
func (s *Static) Autostart(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=3600")
	a := s.byPath[s.byName["zignsecautostart.js"]]
	write(w, r, "text/javascript; charset=utf-8", a.body, a.packed)
}

// Words are the sentences of every language that is complete.
type Words struct {
	all   map[string]map[string]string
	order []string
	match language.Matcher
}

// alias maps codes that people use for a language and that matching would
// take for another one.
var alias = map[string]string{"se": "sv", "dk": "da", "no": "nb", "nn": "nb", "kl": "da"}

// NewWords reads the embedded languages.
func NewWords() (*Words, error) {
	w := &Words{all: map[string]map[string]string{}}
	list, err := files.ReadDir("locale")
	if err != nil {
		return nil, err
	}
	var tags []language.Tag
	for _, f := range list {
		raw, err := files.ReadFile("locale/" + f.Name())
		if err != nil {
			return nil, err
		}
		var m map[string]string
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("words of %s: %w", f.Name(), err)
		}
		name := strings.TrimSuffix(f.Name(), ".json")
		w.all[name] = m
		w.order = append(w.order, name)
	}
	slices.SortFunc(w.order, func(a, b string) int { // English first: it is what nothing matches
		if (a == "en") != (b == "en") {
			return map[bool]int{true: -1, false: 1}[a == "en"]
		}
		return strings.Compare(a, b)
	})
	for _, n := range w.order {
		tags = append(tags, language.Make(n))
	}
	w.match = language.NewMatcher(tags)
	return w, nil
}

// Languages lists what there is.
func (w *Words) Languages() []string { return w.order }

// Choose picks a language: the first of asked that we have, else what the
// browser accepts, else English.
func (w *Words) Choose(accept string, asked ...string) string {
	for _, a := range asked {
		a = strings.ToLower(a)
		if to, ok := alias[a]; ok {
			a = to
		}
		if w.all[a] != nil {
			return a
		}
	}
	tags, _, err := language.ParseAcceptLanguage(accept[:min(len(accept), 200)])
	if err != nil || len(tags) == 0 {
		return "en"
	}
	_, i, conf := w.match.Match(tags...)
	if conf == language.No {
		return "en"
	}
	return w.order[i]
}

// Say is a sentence with its places filled in; English where a language lacks
// it, the key itself where all do.
func (w *Words) Say(lang, key string, places ...string) string {
	text, ok := w.all[lang][key]
	if !ok {
		if text, ok = w.all["en"][key]; !ok {
			return key
		}
	}
	for i := 0; i+1 < len(places) && strings.Contains(text, "{"); i += 2 {
		text = strings.ReplaceAll(text, "{"+places[i]+"}", places[i+1])
	}
	return text
}

// said is where a template says a sentence.
var said = regexp.MustCompile(`\{\{\$?\.T "([^"]+)"\}\}`)

// Templates reads a file of templates once for each language, with the
// sentences that have no places to fill in already said: what is left to do
// for a page is little. They may call funcs.
func (w *Words) Templates(name string, funcs template.FuncMap) (map[string]*template.Template, error) {
	raw, err := files.ReadFile("templates/" + name)
	if err != nil {
		return nil, err
	}
	all := map[string]*template.Template{}
	for _, lang := range w.order {
		text := said.ReplaceAllStringFunc(string(raw), func(node string) string {
			if s := w.Say(lang, said.FindStringSubmatch(node)[1]); !strings.Contains(s, "{") {
				return template.HTMLEscapeString(s)
			}
			return node
		})
		if all[lang], err = template.New(name).Funcs(funcs).Parse(text); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Templates reads the templates that a package of pages names.
func Templates(funcs template.FuncMap, names ...string) (*template.Template, error) {
	t := template.New("").Funcs(funcs)
	for i, n := range names {
		names[i] = "templates/" + n
	}
	return t.ParseFS(files, names...)
}

// A Policy says what a page may do and who may show it.
type Policy struct {
	Frames []string // origins that may frame it; none by default
	Forms  []string // origins that its forms may lead to, besides ours
	Markup bool     // its scripts write mark-up that this server sends
}

// denied are the abilities of a browser that no page of ours uses.
const denied = "accelerometer=(), autoplay=(), bluetooth=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), " +
	"gyroscope=(), hid=(), identity-credentials-get=(), idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), midi=(), payment=(), " +
	"picture-in-picture=(), publickey-credentials-create=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), web-share=(), xr-spatial-tracking=()"

// always are the headers that every page has. Their values are shared: a header
// is replaced as a whole, or added to, which copies it.
var always = http.Header{
	"Referrer-Policy":              {"no-referrer"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
	"Permissions-Policy":           {denied},
	"Cache-Control":                {"no-store"},
	"Content-Type":                 {"text/html; charset=utf-8"},
}

// Headers sets the headers of a page.
func Headers(h http.Header, p Policy) {
	maps.Copy(h, always)
	// A party that may frame a page may open it in a window of its own as
	// well, and is told there how it ended.
	frames, opener := "'none'", "same-origin"
	if len(p.Frames) > 0 {
		frames, opener = strings.Join(p.Frames, " "), "unsafe-none"
	} else {
		h.Set("X-Frame-Options", "DENY")
	}
	h.Set("Cross-Origin-Opener-Policy", opener)
	forms, trusted := "'self'", ""
	if len(p.Forms) > 0 {
		forms += " " + strings.Join(p.Forms, " ")
	}
	if !p.Markup {
		trusted = "; require-trusted-types-for 'script'"
	}
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; "+
		"form-action "+forms+"; frame-ancestors "+frames+trusted)
}
