package jose

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
)

// A Rule says what one kind of token of one party may be. Without algorithms
// or without keys it lets nothing pass.
type Rule struct {
	Algs        []string // of signatures, as configured for this party; never taken from the token
	Typ         []string // types that are accepted; none: "JWT"
	TypRequired bool     // whether the header must have a type
	Keys        Keys     // the party's keys
}

// A Header is what a message says of itself. Nothing in it is a reason to trust
// anybody: jku, x5u, jwk and x5c are not looked at.
type Header struct {
	Alg, Enc string
	ID       string // kid
	Typ, Cty string
	Raw      map[string]json.RawMessage
}

// maxTries bounds the keys that are tried for a token that names none (§4).
const maxTries = 4

// Verified is a token whose signature was checked.
type Verified struct {
	Header  Header
	Payload []byte
	Key     PublicKey // by which
}

// Verify reads a token in compact form: at most 64 KiB, three parts, header and
// payload of one reading, algorithm and type as the rule says, signed with a
// key of the party that the header names (§4). Nothing is said of its claims.
func Verify(ctx context.Context, compact string, r Rule) (*Verified, error) {
	m, err := parse(compact)
	if err != nil {
		return nil, err
	}
	if err := r.admits(m.header); err != nil {
		return nil, err
	}
	if r.Keys == nil {
		return nil, refuse(NoKey, "none is known")
	}
	keys, err := r.Keys.Find(ctx, Query{ID: m.header.ID, Alg: m.header.Alg, Use: Signing})
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		return nil, refuse(NoKey, "none is known")
	case len(keys) > maxTries:
		return nil, refuse(NoKey, "too many to try")
	}
	return m.verify(keys)
}

// message is a token of which only the form has been checked.
type message struct {
	header  Header
	input   string // what is signed
	payload []byte
	sig     []byte
}

func parse(compact string) (*message, error) {
	p, err := parts(compact, 3)
	if err != nil {
		return nil, err
	}
	m := &message{input: compact[:len(p[0])+1+len(p[1])]}
	if m.header, err = header(p[0]); err != nil {
		return nil, err
	}
	if m.payload, err = decode(p[1]); err != nil {
		return nil, err
	}
	m.sig, err = decode(p[2])
	return m, err
}

// header reads the first part of a message. What changes how the rest is read
// does not exist here.
func header(part string) (h Header, err error) {
	raw, err := decode(part)
	if err != nil {
		return Header{}, err
	}
	if h.Raw, err = Object(raw); err != nil {
		return Header{}, err
	}
	for _, name := range []string{"crit", "b64", "zip"} {
		if _, ok := h.Raw[name]; ok {
			return Header{}, refuse(BadHeader, name)
		}
	}
	for _, m := range []struct {
		name string
		into *string
	}{{"alg", &h.Alg}, {"enc", &h.Enc}, {"kid", &h.ID}, {"typ", &h.Typ}, {"cty", &h.Cty}} {
		if *m.into, _, err = text(h.Raw, m.name); err != nil {
			return Header{}, err
		}
	}
	return h, nil
}

func (r Rule) admits(h Header) error {
	if _, known := signatures[h.Alg]; !known || !slices.Contains(r.Algs, h.Alg) {
		return refuse(Algorithm, "of the signature")
	}
	if _, ok := h.Raw["typ"]; !ok {
		if r.TypRequired {
			return refuse(Type, "none")
		}
		return nil
	}
	accepted := r.Typ
	if len(accepted) == 0 {
		accepted = []string{"JWT"}
	}
	if !slices.ContainsFunc(accepted, func(typ string) bool { return media(typ) == media(h.Typ) }) {
		return refuse(Type, "another one than expected")
	}
	return nil
}

// media is the full name of a type: case does not matter, and "application/"
// may be left out (RFC 7515 section 4.1.9).
func media(typ string) string {
	if typ = strings.ToLower(typ); strings.Contains(typ, "/") {
		return typ
	}
	return "application/" + typ
}

// verify tries the keys, and makes what was parsed readable if one fits.
func (m *message) verify(keys []PublicKey) (*Verified, error) {
	for _, k := range keys {
		if fits(m.header.Alg, k.Key) && verify(m.header.Alg, k.Key, m.input, m.sig) {
			return &Verified{Header: m.header, Payload: m.payload, Key: k}, nil
		}
	}
	return nil, refuse(Signature, "")
}
