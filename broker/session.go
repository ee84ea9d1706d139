package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// A Session is one attempt of one person, for one account, with one purpose.
// It is the narrow row that changes: what the relying party asked for is the
// Spec, what came out of it are sealed Data.
type Session struct {
	ID          string // UUIDv4; authorises nothing by itself
	Version     int64  // of the row; 0 for one that is not stored yet
	Account     string
	Key         string // id of the API key that created it
	Config      string // configid, "" for the default
	API         string // who writes its answers: "zignsec2"
	Environment eid.Environment
	State       State
	Reason      eid.Reason // why it failed
	Code        string     // the upstream's own word for it
	Purpose     eid.Purpose
	Method      string // as the API names it; "" until the person has chosen
	EID         eid.EID
	Stage       int    // index into Spec.Stages
	Order       string // the running order, or the last one
	Handle      []byte // keyed hash of the bound browser's secret; nil while unbound
	Level       eid.Binding
	Extensions  int
	Language    string
	Created     time.Time
	Confirmed   time.Time
	Ended       time.Time
	Due         time.Time // when it expires; once ended, when it is erased; zero after that
}

// Ref is what a person reads to support: "7QK4-29XM". It is made of the first
// 40 bits of the id, so that a prefix search finds the session; it is no
// secret and opens nothing.
func (s *Session) Ref() string {
	hex := strings.ReplaceAll(s.ID, "-", "")
	var bits uint64
	for i := 0; i < 10 && i < len(hex); i++ {
		bits = bits<<4 | uint64(strings.IndexByte("0123456789abcdef", hex[i])&15)
	}
	out := make([]byte, 0, 9)
	for i := 7; i >= 0; i-- {
		out = append(out, refAlphabet[bits>>(5*i)&31])
		if i == 4 {
			out = append(out, '-')
		}
	}
	return string(out)
}

const refAlphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ" // no 0 O 1 I

// RefPrefix is how the id of a reference's session begins.
func RefPrefix(ref string) (prefix string, ok bool) {
	ref = strings.ReplaceAll(strings.ToUpper(ref), "-", "")
	if len(ref) != 8 {
		return "", false
	}
	var bits uint64
	for i := range len(ref) {
		n := strings.IndexByte(refAlphabet, ref[i])
		if n < 0 {
			return "", false
		}
		bits = bits<<5 | uint64(n) //nolint:gosec // below 32
	}
	hex := fmt.Sprintf("%010x", bits)
	return hex[:8] + "-" + hex[8:], true
}

// LogValue shows what a log may know of a session.
func (s *Session) LogValue() slog.Value {
	return slog.GroupValue(slog.String("ref", s.Ref()), slog.String("account", s.Account),
		slog.String("eid", string(s.EID)), slog.String("state", string(s.State)))
}

// A Spec is what the relying party asked for. It is written once, sealed.
type Spec struct {
	Methods  []Method          `json:"methods"`          // more than one: the person chooses
	Stages   []eid.EID         `json:"stages,omitempty"` // after the eID: "spar"
	Wanted   []string          `json:"wanted,omitempty"` // attributes
	Pinned   eid.Number        `json:"pinned,omitempty"`
	Party    string            `json:"party"`             // display name
	Host     string            `json:"host,omitempty"`    // the party's domain, shown on our pages
	Params   map[string]string `json:"params,omitempty"`  // inputs for connectors
	Frames   []string          `json:"frames,omitempty"`  // origins that may frame the pages; "*" only by switch
	Next     []string          `json:"next,omitempty"`    // origins that the browser may go to at the end, for form-action
	Page     string            `json:"page,omitempty"`    // path of the session's page, ends in "/"
	Marker   string            `json:"marker,omitempty"`  // sandbox steering, "sandbox:cancel;person=bo"
	Layout   string            `json:"layout,omitempty"`  // theme of the pages; "" for ours
	Payload  json.RawMessage   `json:"payload,omitempty"` // what the API must remember; nobody else reads it
	Keep     time.Duration     `json:"keep,omitempty"`    // retention after the end
	Texts    bool              `json:"texts,omitempty"`   // there is something to sign
	Format   string            `json:"format,omitempty"`
	Headless bool              `json:"headless,omitempty"`
	Held     bool              `json:"held,omitempty"` // by the browser of NewSession.Handle
}

// A Method is what an API calls a way to identify.
type Method struct {
	Name    string            `json:"name"` // "sbid-another"
	EID     eid.EID           `json:"eid"`
	Mode    string            `json:"mode,omitempty"`
	Country string            `json:"country,omitempty"` // whose chooser lists it, "se"
	Params  map[string]string `json:"params,omitempty"`
}

// LogValue shows nothing: a spec holds what the party sent.
func (s *Spec) LogValue() slog.Value { return slog.IntValue(len(s.Methods)) }

// An Order is one attempt at one upstream. Body is what the owner needs to go
// on; the store keeps it sealed and does not look into it.
type Order struct {
	ID          string
	Session     string
	EID         eid.EID
	Environment eid.Environment
	Mode        string
	Stage       int
	Owner       string // the epoch of the node that may call the upstream
	Fence       int64  // raised by every write; 0 for one that is not stored yet
	Ended       bool
	Due         time.Time // next Tick
	Body        []byte
}

// The kinds of sealed data that a session may have. Evidence is stored under
// its own name, behind "evidence/".
const (
	DataSpec     = "spec"
	DataTexts    = "texts"
	DataIdentity = "identity"
	DataEvidence = "evidence/"
)

// evidence is what is stored of a piece under its name: its media type, a line
// feed, and the bytes as they came.
func evidence(e eid.Evidence) Data {
	return Data{DataEvidence + e.Name, slices.Concat([]byte(e.Type), []byte{'\n'}, e.Data)}
}

// Evidence is the piece that was stored as d.
func (d Data) Evidence() (eid.Evidence, error) {
	kind, body, ok := bytes.Cut(d.Value, []byte{'\n'})
	if !ok {
		return eid.Evidence{}, errors.New("read evidence: stored value is not readable")
	}
	return eid.Evidence{Name: strings.TrimPrefix(d.Kind, DataEvidence), Type: string(kind), Data: body}, nil
}

// Data is a blob that is written once and sealed with the session's key.
type Data struct {
	Kind  string
	Value []byte
}

// A Note is a line of the session's timeline: constant words, no personal
// data.
type Note struct {
	At   time.Time
	Kind string // "created", "state", "step", "event", "upstream", "check", "rp"
	Text string
}

// An Audit row says who did what to which session, and with what outcome.
type Audit struct {
	At      time.Time
	Actor   string // "rp:<key id>", "person", "node"
	Action  string
	Outcome string
}

// A Delivery is a notification in the outbox.
type Delivery struct {
	ID          string // "msg_" + ULID: webhook-id, equal on every attempt
	Session     string
	Account     string
	Environment eid.Environment
	Kind        string // "webhook", "email" or "logout"
	Type        string // "session.finished"
	Profile     string // retry profile: "zignsec-20", "zignsec-3", "standard", "email", "logout"
	URL         string // or the mail address
	Key         string // id of the API key whose text signs X-ZignSec-Hmac-SHA256; "" for none
	UpperHex    bool
	Body        []byte
	Due         time.Time
}

// LogValue shows no address and no body.
func (d Delivery) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", d.ID), slog.String("type", d.Type))
}

// A Message is an event for an order that another node owns.
type Message struct {
	ID    int64
	Order string
	Event []byte // connector.MarshalEvent; sealed in storage
}

// A Mark is where a session stands among those that are due; the zero one is
// before all.
type Mark struct {
	Due time.Time
	ID  string
}

// A Change is everything that one act alters. It is applied wholly or not at
// all.
type Change struct {
	ID      string   // the session's id; always set
	Session *Session // the row as it shall be; Version as it was read, 0 to insert
	Order   *Order   // the row as it shall be; Fence as it was read, 0 to insert
	Refs    []connector.Ref
	Data    []Data
	Notes   []Note
	Audit   []Audit
	Outbox  []Delivery
	Duties  []Duty
	Put     []Message // into the inbox of the orders' owner
	Took    []int64   // messages done with
	Erase   bool      // destroy the session's key and everything sealed with it
}
