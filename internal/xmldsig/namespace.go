package xmldsig

import (
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// A scope maps prefixes to namespace names, "" to the default namespace, and
// knows what they meant outside of the elements that were entered.
type scope struct {
	names map[string]string
	undo  []binding
}

// A binding is what a prefix meant before an element bound it anew.
type binding struct {
	prefix, namespace string
	bound             bool
}

func newScope() *scope { return &scope{names: map[string]string{}} }

func (s *scope) bind(prefix, namespace string) {
	before, bound := s.names[prefix]
	s.undo = append(s.undo, binding{prefix, before, bound})
	s.names[prefix] = namespace
}

// enter adds the declarations of el and returns what leave needs.
func (s *scope) enter(el *etree.Element) (mark int) {
	mark = len(s.undo)
	for i := range el.Attr {
		if a := &el.Attr[i]; isDeclaration(a) {
			s.bind(declared(a), a.Value)
		}
	}
	return mark
}

func (s *scope) leave(mark int) {
	for i := len(s.undo) - 1; i >= mark; i-- {
		if b := s.undo[i]; b.bound {
			s.names[b.prefix] = b.namespace
		} else {
			delete(s.names, b.prefix)
		}
	}
	s.undo = s.undo[:mark]
}

// around is the scope in which el stands, without el's own declarations.
func around(el *etree.Element) *scope {
	s := newScope()
	var parents []*etree.Element
	for p := el.Parent(); p != nil; p = p.Parent() {
		parents = append(parents, p)
	}
	for _, p := range slices.Backward(parents) {
		s.enter(p)
	}
	return s
}

// of gives the namespace of a name with this prefix. That of "" may be none.
func (s *scope) of(prefix string) (string, bool) {
	if prefix == "xml" {
		return xmlNamespace, true
	}
	ns, ok := s.names[prefix]
	return ns, ok || prefix == ""
}

// check applies the rules of namespaces to a start tag that s has entered.
func (s *scope) check(el *etree.Element) error {
	if _, ok := s.of(el.Space); !ok {
		return refuse(Malformed, "the prefix of an element is not declared")
	}
	for i := range el.Attr {
		a := &el.Attr[i]
		if isDeclaration(a) {
			if err := checkDeclaration(a); err != nil {
				return err
			}
			continue
		}
		if a.Space == "" {
			continue
		}
		ns, ok := s.of(a.Space)
		if !ok {
			return refuse(Malformed, "the prefix of an attribute is not declared")
		}
		for j := range el.Attr[:i] {
			b := &el.Attr[j]
			if b.Key != a.Key || b.Space == "" {
				continue
			}
			if other, _ := s.of(b.Space); other == ns {
				return refuse(Malformed, "an element has an attribute twice, under two prefixes")
			}
		}
	}
	return nil
}

func checkDeclaration(a *etree.Attr) error {
	prefix := declared(a)
	switch {
	case prefix == "xml" || prefix == "xmlns" || a.Value == xmlNamespace || a.Value == xmlnsNamespace:
		return refuse(Malformed, "a reserved prefix or namespace is declared")
	case a.Value == "" && prefix == "":
		return nil
	case !isAbsolute(a.Value):
		return refuse(Malformed, "a namespace name is not absolute")
	}
	return nil
}

// isAbsolute tells whether a namespace name starts with a scheme. C14N is not
// defined for others.
func isAbsolute(name string) bool {
	colon := strings.IndexByte(name, ':')
	return colon > 0 && isLetter(name[0]) && !strings.ContainsAny(name, " \t\r\n") && !strings.ContainsAny(name[:colon], "/?#")
}

func isDeclaration(a *etree.Attr) bool {
	return a.Space == "xmlns" || a.Space == "" && a.Key == "xmlns"
}

// declared is the prefix that a declaration declares.
func declared(a *etree.Attr) string {
	if a.Space == "" {
		return ""
	}
	return a.Key
}
