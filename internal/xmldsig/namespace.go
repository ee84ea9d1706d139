package xmldsig

import (
	"strings"

	"github.com/beevik/etree"
)

// A scope maps prefixes to namespace names, "" to the default namespace.
type scope map[string]string

// A binding is what a prefix meant before an element bound it anew.
type binding struct {
	prefix, namespace string
	bound             bool
}

func (s scope) bind(prefix, namespace string) binding {
	before, ok := s[prefix]
	s[prefix] = namespace
	return binding{prefix, before, ok}
}

// enter adds the declarations of el and returns what leave needs.
func (s scope) enter(el *etree.Element) []binding {
	var undo []binding
	for _, a := range el.Attr {
		if isDeclaration(a) {
			undo = append(undo, s.bind(declared(a), a.Value))
		}
	}
	return undo
}

func (s scope) leave(undo []binding) {
	for i := len(undo) - 1; i >= 0; i-- {
		if b := undo[i]; b.bound {
			s[b.prefix] = b.namespace
		} else {
			delete(s, b.prefix)
		}
	}
}

// around is the scope in which el stands, without el's own declarations.
func around(el *etree.Element) scope {
	s := scope{}
	for p := el.Parent(); p != nil; p = p.Parent() {
		for _, a := range p.Attr {
			if !isDeclaration(a) {
				continue
			}
			if _, ok := s[declared(a)]; !ok {
				s[declared(a)] = a.Value
			}
		}
	}
	return s
}

// of gives the namespace of a name with this prefix.
func (s scope) of(prefix string) (string, bool) {
	if prefix == "xml" {
		return xmlNamespace, true
	}
	ns, ok := s[prefix]
	return ns, ok || prefix == ""
}

// check applies the rules of namespaces to a start tag that s has entered.
func (s scope) check(el *etree.Element) error {
	if _, ok := s.of(el.Space); !ok || el.Space == "xmlns" {
		return refuse(Malformed, "the prefix of an element is not declared")
	}
	type expanded struct{ namespace, local string }
	var seen []expanded
	for _, a := range el.Attr {
		if isDeclaration(a) {
			if err := checkDeclaration(a); err != nil {
				return err
			}
			continue
		}
		if a.Space == "" {
			continue // the parser has seen that it is there once
		}
		ns, ok := s.of(a.Space)
		if !ok {
			return refuse(Malformed, "the prefix of an attribute is not declared")
		}
		name := expanded{ns, a.Key}
		for _, other := range seen {
			if other == name {
				return refuse(Malformed, "an element has an attribute twice, under two prefixes")
			}
		}
		seen = append(seen, name)
	}
	return nil
}

func checkDeclaration(a etree.Attr) error {
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

func isDeclaration(a etree.Attr) bool { return a.Space == "xmlns" || a.Space == "" && a.Key == "xmlns" }

// declared is the prefix that a declaration declares.
func declared(a etree.Attr) string {
	if a.Space == "" {
		return ""
	}
	return a.Key
}
