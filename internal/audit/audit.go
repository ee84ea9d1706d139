// Package audit makes tampering with a list of rows evident (docs/audit.md).
// Rows are cut into segments; each segment's hash covers the one before it and
// a digest of each of its rows, and is signed. Nothing here knows where rows
// and segments are kept.
package audit

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// MaxRows is how many rows a segment has at most.
const MaxRows = 1024

// A Row is one line of the trail. Rows are in the order of N and Session.
type Row struct {
	N       int64  `json:"n,string"` // positive; grows with the time of writing
	Session string `json:"session"`
	At      int64  `json:"at"` // microseconds UTC
	Actor   string `json:"actor"`
	Action  string `json:"action"`
	Outcome string `json:"outcome"`
}

// Compare is the order of rows.
func Compare(a, b Row) int {
	return cmp.Or(cmp.Compare(a.N, b.N), cmp.Compare(a.Session, b.Session))
}

// A Hash is a SHA-256; in text it is hexadecimal.
type Hash [sha256.Size]byte

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return errors.New("a hash has 64 hexadecimal digits")
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// A Segment vouches for the rows with After < N ≤ To.
type Segment struct {
	Number   int64     `json:"number"`       // 1, 2, 3, …
	After    int64     `json:"after,string"` // To of the segment before; 0 for the first
	To       int64     `json:"to,string"`    // N of its last row
	Size     int       `json:"size"`         // rows
	Previous Hash      `json:"previous"`     // Hash of the segment before; zero for the first
	Hash     Hash      `json:"hash"`
	Tags     []byte    `json:"tags"` // tagSize bytes of each row's digest, to find the one that is wrong
	Made     time.Time `json:"made"` // when it was sealed, to the microsecond
	Note     string    `json:"note"` // checkpoint: the signed note about it
}

// A Sealed is a segment with its rows: a line of an export.
type Sealed struct {
	Segment
	Rows []Row `json:"rows"`
}

const tagSize = 8

// The first bytes of what is hashed, so that a row is never taken for a
// segment. A new form gets new ones.
const (
	rowLabel     = "eidgate audit row v1\n"
	segmentLabel = "eidgate audit segment v1\n"
)

// digest is the hash of a row's canonical form.
func (r *Row) digest(buf []byte) (Hash, []byte) {
	buf = append(buf[:0], rowLabel...)
	buf = binary.BigEndian.AppendUint64(buf, uint64(r.N))  //nolint:gosec // the bits are what counts
	buf = binary.BigEndian.AppendUint64(buf, uint64(r.At)) //nolint:gosec // as above
	for _, s := range []string{r.Session, r.Actor, r.Action, r.Outcome} {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	return sha256.Sum256(buf), buf
}

// sum computes the hash of a segment over rows, and their tags.
func (s *Segment) sum(rows []Row) (h Hash, tags []byte) {
	all := sha256.New()
	head := append([]byte(segmentLabel), s.Previous[:]...)
	for _, n := range []int64{s.Number, s.After, s.To, int64(len(rows))} {
		head = binary.BigEndian.AppendUint64(head, uint64(n)) //nolint:gosec // the bits are what counts
	}
	write(all, head)
	tags = make([]byte, 0, tagSize*len(rows))
	var d Hash
	for i := range rows {
		d, head = rows[i].digest(head)
		write(all, d[:])
		tags = append(tags, d[:tagSize]...)
	}
	return Hash(all.Sum(nil)), tags
}

func write(h hash.Hash, b []byte) { _, _ = h.Write(b) } // never fails

// Seal makes the segment that follows previous, which is zero for the first.
// There must be 1 to MaxRows rows, in order.
func Seal(previous Segment, rows []Row, made time.Time, key *Key) (Segment, error) {
	s := Segment{Number: previous.Number + 1, After: previous.To, To: rows[len(rows)-1].N, Size: len(rows), Previous: previous.Hash,
		Made: made.UTC().Truncate(time.Microsecond)}
	s.Hash, s.Tags = s.sum(rows)
	signed, err := note.Sign(&note.Note{Text: s.text()}, key.signer)
	if err != nil {
		return s, fmt.Errorf("sign segment: %w", err)
	}
	s.Note = string(signed)
	return s, nil
}

// origin begins each checkpoint, and names the keys.
const origin = "eidgate-audit"

// text is what a checkpoint says.
func (s *Segment) text() string {
	return fmt.Sprintf("%s/v1\nsegment %d\nto %d\nhash %s\nmade %s\n", origin, s.Number, s.To,
		base64.StdEncoding.EncodeToString(s.Hash[:]), s.Made.UTC().Format(time.RFC3339Nano))
}

// ErrCheckpoint means that a text is no checkpoint, or is not signed with a key
// that is known.
var ErrCheckpoint = errors.New("no checkpoint that is signed with a known key")

// Checkpoint reads a signed note: number, end, hash and time of a segment.
func Checkpoint(text string, keys note.Verifiers) (Segment, error) {
	var s Segment
	n, err := note.Open([]byte(text), keys)
	if err != nil {
		return s, ErrCheckpoint
	}
	var first, hash, made string
	if _, err := fmt.Sscanf(n.Text, "%s\nsegment %d\nto %d\nhash %s\nmade %s\n", &first, &s.Number, &s.To, &hash, &made); err != nil {
		return s, ErrCheckpoint
	}
	raw, err := base64.StdEncoding.DecodeString(hash)
	if err != nil || len(raw) != len(s.Hash) {
		return s, ErrCheckpoint
	}
	s.Hash = Hash(raw)
	if s.Made, err = time.Parse(time.RFC3339Nano, made); err != nil || s.text() != n.Text {
		return s, ErrCheckpoint
	}
	return s, nil
}

// A Key signs segments.
type Key struct {
	Verifier string // its public half, as golang.org/x/mod/sumdb/note writes it
	secret   string
	signer   note.Signer
}

// NewKey makes an Ed25519 key.
func NewKey() (*Key, error) {
	secret, verifier, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, fmt.Errorf("make audit key: %w", err)
	}
	return ParseKey(verifier + "\n" + secret)
}

// ParseKey reads what Secret gives.
func ParseKey(text string) (*Key, error) {
	verifier, secret, _ := strings.Cut(text, "\n")
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, errors.New("the audit key is not readable") // the library's text may hold some of it
	}
	return &Key{Verifier: verifier, secret: secret, signer: signer}, nil
}

// Secret is both halves, to be kept where nobody sees them.
func (k *Key) Secret() string { return k.Verifier + "\n" + k.secret }

// String keeps the secret half out of texts.
func (k Key) String() string { return k.Verifier }

// LogValue keeps it out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.Verifier) }

// Verifiers reads the public halves of keys.
func Verifiers(keys ...string) (note.Verifiers, error) {
	var all []note.Verifier
	for _, k := range keys {
		v, err := note.NewVerifier(strings.TrimSpace(k))
		if err != nil {
			return nil, errors.New("a verifier key is not readable; it looks like " + origin + "+1a2b3c4d+A…")
		}
		all = append(all, v)
	}
	return note.VerifierList(all...), nil
}
