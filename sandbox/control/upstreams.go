package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"eidgate/sandbox"
	"eidgate/sandbox/agechecked"
	"eidgate/sandbox/bankidno"
	"eidgate/sandbox/bankidse"
	"eidgate/sandbox/idin"
	"eidgate/sandbox/itsme"
	"eidgate/sandbox/mitid"
)

// An entry is an order in a list: what those of every eID have in common, for
// the phone and the robot, and the whole of it, for programs.
type entry struct {
	sandbox.Order
	whole any
}

// MarshalJSON implements json.Marshaler.
func (e entry) MarshalJSON() ([]byte, error) { return json.Marshal(e.whole) }

// An upstream is a simulator, the same way whichever it is.
type upstream interface {
	orders(all bool) []entry
	order(ref string) (entry, error) // also one that the upstream has forgotten
	do(ref string, a sandbox.Act) (entry, error)
	settings() any
	change(*http.Request) (any, error)
	Changed() <-chan struct{}
	Clear()
}

// eids are those of orders; a code of iDIN QR belongs to no login yet.
var eids = []string{"bankidse", "idin", "idinage", "idinqr", "itsme", "bankidno", "mitid"}

// upstreamNames are those of simulators, in the order of lists.
var upstreamNames = []string{"bankidse", "idin", "agechecked", "itsme", "bankidno", "mitid"}

func upstreams(c *Config) map[string]upstream {
	return map[string]upstream{"bankidse": bankID{c.BankIDSE}, "idin": banks{c.IDIN, shared{c.IDIN}}, "agechecked": plain{c.AgeChecked, shared{c.AgeChecked}},
		"itsme": plain{c.Itsme, shared{c.Itsme}}, "bankidno": norwegian{c.BankIDNO, shared{c.BankIDNO}}, "mitid": plain{c.MitID, shared{c.MitID}}}
}

// allFaults are the kinds of faults of every target.
func allFaults() map[string][]string {
	out := bankidse.Faults()
	maps.Copy(out, idin.Faults())
	maps.Copy(out, agechecked.Faults())
	maps.Copy(out, itsme.Faults())
	maps.Copy(out, bankidno.Faults())
	maps.Copy(out, mitid.Faults())
	return out
}

func allFidelity() []sandbox.Fidelity {
	return slices.Concat(bankidse.Fidelity(), idin.Fidelity(), agechecked.Fidelity(), itsme.Fidelity(), bankidno.Fidelity(), mitid.Fidelity())
}

// bankID shows orders of BankID under the names that were promised for them.
type bankID struct{ *bankidse.Simulator }

func (b bankID) entry(v bankidse.View, err error) (entry, error) { return entry{v.Order, v}, err }

func (b bankID) orders(all bool) (out []entry) {
	for _, v := range b.Orders(all) {
		out = append(out, entry{v.Order, v})
	}
	return out
}

func (b bankID) order(ref string) (entry, error) { return b.entry(b.view(ref)) }

func (b bankID) view(ref string) (bankidse.View, error) {
	v, err := b.Order(ref)
	if errors.Is(err, sandbox.ErrNoOrder) {
		return b.Past(ref)
	}
	return v, err
}

// event reads what an app says; unknown names are refused, as in a body.
func (b bankID) event(a sandbox.Act) (bankidse.Event, error) {
	e := bankidse.Event{Event: a.Event, Person: a.Person, Source: a.Source}
	if len(a.Data) == 0 {
		return e, nil
	}
	d := json.NewDecoder(bytes.NewReader(a.Data))
	d.DisallowUnknownFields()
	if err := d.Decode(&e.Data); err != nil {
		return e, badInput{fmt.Errorf("data cannot be read: %w", err), "see docs/sandbox.md, events"}
	}
	return e, nil
}

func (b bankID) do(ref string, a sandbox.Act) (entry, error) {
	e, err := b.event(a)
	if err != nil {
		return entry{}, err
	}
	return b.entry(b.Do(ref, e))
}

func (b bankID) settings() any { return b.Settings() }

func (b bankID) change(r *http.Request) (any, error) {
	set, err := b.Change(func(s *bankidse.Settings) error { return read(r, s) })
	return set, mend(err, `for example {"windows":{"start":"5s"},"certificates":"any","rate_limit":true}`)
}

// shared is a simulator whose orders have the names that all have.
type shared struct {
	sim interface {
		Orders(all bool) []sandbox.Order
		Order(ref string) (sandbox.Order, error)
		Do(ref string, a sandbox.Act) (sandbox.Order, error)
	}
}

func (s shared) orders(all bool) (out []entry) {
	for _, o := range s.sim.Orders(all) {
		out = append(out, entry{o, o})
	}
	return out
}

func (s shared) order(ref string) (entry, error) {
	o, err := s.sim.Order(ref)
	return entry{o, o}, err
}

func (s shared) do(ref string, a sandbox.Act) (entry, error) {
	o, err := s.sim.Do(ref, a)
	return entry{o, o}, err
}

// banks are those of iDIN, with the codes of iDIN QR.
type banks struct {
	*idin.Simulator
	shared
}

func (b banks) settings() any { return b.Settings() }

func (b banks) change(r *http.Request) (any, error) {
	set, err := b.Change(func(s *idin.Settings) error { return read(r, s) })
	return set, mend(err, `for example {"profile":"worldline","strict_once":false}`)
}

// norwegian is BankID of Norway.
type norwegian struct {
	*bankidno.Simulator
	shared
}

func (n norwegian) settings() any { return n.Settings() }

func (n norwegian) change(r *http.Request) (any, error) {
	set, err := n.Change(func(s *bankidno.Settings) error { return read(r, s) })
	return set, mend(err, `for example {"api":"v1","par":false,"biometrics":false}`)
}

// plain is a simulator without switches.
type plain struct {
	sim interface {
		Changed() <-chan struct{}
		Clear()
	}
	shared
}

func (p plain) Changed() <-chan struct{} { return p.sim.Changed() }

func (p plain) Clear() { p.sim.Clear() }

func (plain) settings() any { return struct{}{} }

func (plain) change(r *http.Request) (any, error) {
	var none struct{}
	return none, read(r, &none)
}

// mend makes an error one of the caller's, with help, unless it is one.
func mend(err error, help string) error {
	if _, mine := errors.AsType[badInput](err); err == nil || mine {
		return err
	}
	return badInput{err, help}
}

// bankID is one order of BankID with all that its app knows.
func (x *control) bankID(ref string) (bankidse.View, error) { return bankID{x.BankIDSE}.view(ref) }

// all lists orders of every eID, newest first.
func (x *control) all(ended bool) []entry {
	out := []entry{}
	for _, name := range upstreamNames {
		out = append(out, x.upstreams[name].orders(ended)...)
	}
	slices.SortStableFunc(out, func(a, b entry) int { return b.Created.Compare(a.Created) })
	return out
}

// find is an order and the upstream that has it.
func (x *control) find(ref string) (entry, upstream, error) {
	for _, name := range upstreamNames {
		if e, err := x.upstreams[name].order(ref); !errors.Is(err, sandbox.ErrNoOrder) {
			return e, x.upstreams[name], err
		}
	}
	return entry{}, nil, sandbox.ErrNoOrder
}

// do lets somebody act on an order, whoever has it.
func (x *control) do(ref string, a sandbox.Act) (entry, error) {
	_, at, err := x.find(ref)
	if err != nil {
		return entry{}, err
	}
	return at.do(ref, a)
}

// changed are closed when any order changes next, a channel for each upstream.
func (x *control) changed() (out [6]<-chan struct{}) {
	for i, name := range upstreamNames {
		out[i] = x.upstreams[name].Changed()
	}
	return out
}
