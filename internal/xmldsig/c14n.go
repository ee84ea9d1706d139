package xmldsig

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/beevik/etree"
)

// canonical writes el in exclusive canonical form without comments, and without
// the subtree skip (docs/protocols/xmldsig.md §3). Prefixes of the list
// inclusive are treated as in inclusive canonical form, "#default" being the
// empty one. It gives up once there are more octets than most.
func canonical(el, skip *etree.Element, inclusive []string, most int) ([]byte, error) {
	w := &writer{scope: around(el), rendered: newScope(), skip: skip, most: most}
	for _, prefix := range inclusive {
		if prefix == "#default" {
			prefix = ""
		}
		w.inclusive = append(w.inclusive, prefix)
	}
	if err := w.element(el); err != nil {
		return nil, err
	}
	return w.out.Bytes(), nil
}

// A writer knows what is in scope and what has been rendered of it.
type writer struct {
	out             bytes.Buffer
	scope, rendered *scope
	inclusive       []string
	skip            *etree.Element
	most            int // octets

	prefixes []string // of one start tag
	attrs    []resolved
}

// A resolved attribute knows its namespace, by which it is ordered.
type resolved struct {
	namespace string
	*etree.Attr
}

func (w *writer) element(el *etree.Element) error {
	mark, rendered := w.scope.enter(el), len(w.rendered.undo)
	defer w.scope.leave(mark)
	defer w.rendered.leave(rendered)
	if err := w.startTag(el); err != nil {
		return err
	}
	if w.out.Len() > w.most {
		return refuse(Size, "the canonical form exceeds "+strconv.Itoa(w.most)+" bytes")
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
			_, _ = textEscapes.WriteString(&w.out, t.Data) // a buffer takes everything
		case *etree.Comment:
		default:
			return refuse(Malformed, "the tree holds more than elements and text")
		}
	}
	w.out.WriteString("</")
	w.name(el.Space, el.Tag)
	w.out.WriteByte('>')
	return nil
}

func (w *writer) startTag(el *etree.Element) error {
	if err := w.resolve(el); err != nil {
		return err
	}
	w.out.WriteByte('<')
	w.name(el.Space, el.Tag)
	for _, prefix := range w.prefixes {
		ns := w.scope.names[prefix]
		if w.rendered.names[prefix] == ns { // so is xml, which nobody declares
			continue
		}
		w.rendered.bind(prefix, ns)
		if prefix == "" {
			w.attribute("", "xmlns", ns)
		} else {
			w.attribute("xmlns", prefix, ns)
		}
	}
	for _, a := range w.attrs {
		w.attribute(a.Space, a.Key, a.Value)
	}
	w.out.WriteByte('>')
	return nil
}

// resolve lists, in order, the prefixes that el uses or that are always
// rendered, and el's attributes that are no declarations.
func (w *writer) resolve(el *etree.Element) error {
	if _, ok := w.scope.of(el.Space); !ok {
		return refuse(Malformed, "the prefix of an element is not declared")
	}
	w.prefixes = append(append(w.prefixes[:0], el.Space), w.inclusive...)
	w.attrs = w.attrs[:0]
	for i := range el.Attr {
		a := &el.Attr[i]
		if isDeclaration(a) {
			continue
		}
		if a.Space == "" {
			w.attrs = append(w.attrs, resolved{"", a})
			continue
		}
		ns, ok := w.scope.of(a.Space)
		if !ok {
			return refuse(Malformed, "the prefix of an attribute is not declared")
		}
		w.prefixes = append(w.prefixes, a.Space)
		w.attrs = append(w.attrs, resolved{ns, a})
	}
	slices.Sort(w.prefixes)
	w.prefixes = slices.Compact(w.prefixes)
	slices.SortFunc(w.attrs, func(a, b resolved) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.Key, b.Key))
	})
	return nil
}

func (w *writer) name(space, local string) {
	if space != "" {
		w.out.WriteString(space)
		w.out.WriteByte(':')
	}
	w.out.WriteString(local)
}

var (
	textEscapes      = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;")
	attributeEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
)

func (w *writer) attribute(space, key, value string) {
	w.out.WriteByte(' ')
	w.name(space, key)
	w.out.WriteString(`="`)
	_, _ = attributeEscapes.WriteString(&w.out, value)
	w.out.WriteByte('"')
}
