package xmldsig

import (
	"cmp"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// canonical writes el in exclusive canonical form without comments, and without
// the subtree skip (docs/protocols/xmldsig.md §3). Prefixes of the list
// inclusive are treated as in inclusive canonical form, "#default" being the
// empty one.
func canonical(el, skip *etree.Element, inclusive []string) ([]byte, error) {
	w := &writer{scope: around(el), rendered: scope{}, skip: skip}
	for _, prefix := range inclusive {
		if prefix == "#default" {
			prefix = ""
		}
		w.inclusive = append(w.inclusive, prefix)
	}
	if err := w.element(el); err != nil {
		return nil, err
	}
	return w.out, nil
}

// A writer knows what is in scope and what has been rendered of it.
type writer struct {
	out             []byte
	scope, rendered scope
	inclusive       []string
	skip            *etree.Element
}

func (w *writer) element(el *etree.Element) error {
	undo := w.scope.enter(el)
	defer w.scope.leave(undo)
	done, err := w.startTag(el)
	defer w.rendered.leave(done)
	if err != nil {
		return err
	}
	for _, t := range el.Child {
		switch t := t.(type) {
		case *etree.Element:
			if t == w.skip {
				continue
			}
			if err := w.element(t); err != nil {
				return err
			}
		case *etree.CharData:
			w.text(t.Data)
		case *etree.Comment:
		default:
			return refuse(Malformed, "the tree holds more than elements and text")
		}
	}
	w.out = append(w.out, "</"...)
	w.qname(el.Space, el.Tag)
	w.out = append(w.out, '>')
	return nil
}

// startTag writes the start tag and returns what it declared.
func (w *writer) startTag(el *etree.Element) ([]binding, error) {
	type attribute struct {
		namespace string
		etree.Attr
	}
	var attrs []attribute
	prefixes := append([]string{el.Space}, w.inclusive...)
	for _, a := range el.Attr {
		if isDeclaration(a) {
			continue
		}
		var ns string
		if a.Space != "" {
			var ok bool
			if ns, ok = w.scope.of(a.Space); !ok {
				return nil, refuse(Malformed, "the prefix of an attribute is not declared")
			}
			prefixes = append(prefixes, a.Space)
		}
		attrs = append(attrs, attribute{ns, a})
	}
	if _, ok := w.scope.of(el.Space); !ok {
		return nil, refuse(Malformed, "the prefix of an element is not declared")
	}
	slices.Sort(prefixes)
	prefixes = slices.Compact(prefixes)
	slices.SortFunc(attrs, func(a, b attribute) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.Key, b.Key))
	})

	w.out = append(w.out, '<')
	w.qname(el.Space, el.Tag)
	var done []binding
	for _, prefix := range prefixes {
		ns := w.scope[prefix]
		if prefix == "xml" || w.rendered[prefix] == ns {
			continue
		}
		done = append(done, w.rendered.bind(prefix, ns))
		if prefix == "" {
			w.attribute("", "xmlns", ns)
		} else {
			w.attribute("xmlns", prefix, ns)
		}
	}
	for _, a := range attrs {
		w.attribute(a.Space, a.Key, a.Value)
	}
	w.out = append(w.out, '>')
	return done, nil
}

func (w *writer) qname(space, local string) {
	if space != "" {
		w.out = append(append(w.out, space...), ':')
	}
	w.out = append(w.out, local...)
}

func (w *writer) attribute(space, key, value string) {
	w.out = append(w.out, ' ')
	w.qname(space, key)
	w.out = append(w.out, '=', '"')
	for i := range len(value) {
		switch c := value[i]; c {
		case '&':
			w.out = append(w.out, "&amp;"...)
		case '<':
			w.out = append(w.out, "&lt;"...)
		case '"':
			w.out = append(w.out, "&quot;"...)
		case '\t':
			w.out = append(w.out, "&#x9;"...)
		case '\n':
			w.out = append(w.out, "&#xA;"...)
		case '\r':
			w.out = append(w.out, "&#xD;"...)
		default:
			w.out = append(w.out, c)
		}
	}
	w.out = append(w.out, '"')
}

func (w *writer) text(s string) {
	for i := range len(s) {
		switch c := s[i]; c {
		case '&':
			w.out = append(w.out, "&amp;"...)
		case '<':
			w.out = append(w.out, "&lt;"...)
		case '>':
			w.out = append(w.out, "&gt;"...)
		case '\r':
			w.out = append(w.out, "&#xD;"...)
		default:
			w.out = append(w.out, c)
		}
	}
}
