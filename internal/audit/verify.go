package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// A Kind is what is wrong with a trail.
type Kind string

// All kinds there are.
const (
	Changed   Kind = "changed"   // this row says something else
	Deleted   Kind = "deleted"   // a row is gone that stood before this one, or at the segment's end
	Inserted  Kind = "inserted"  // this row was not there
	Reordered Kind = "reordered" // this row is not where it was
	Missing   Kind = "missing"   // this segment is gone
	Broken    Kind = "broken"    // this segment does not follow the one before it
	Altered   Kind = "altered"   // the segment's own record is not what was sealed
	Forged    Kind = "forged"    // no known key has signed this segment
	Cut       Kind = "cut"       // the trail ends before this segment, which was there
	Replaced  Kind = "replaced"  // this segment is another one than it was
)

var sentences = map[Kind]string{
	Changed:   "the row was changed",
	Deleted:   "a row was deleted that stood before it",
	Inserted:  "the row was inserted",
	Reordered: "the row is not where it was",
	Missing:   "it is missing",
	Broken:    "it does not follow the segment before it",
	Altered:   "its record was altered",
	Forged:    "its signature is not that of a known key",
	Cut:       "the trail ends before it: the newer end was cut off, or an older state was restored",
	Replaced:  "it is not the one that was known: the trail was written anew, or an older state was restored",
}

// A Finding names the first thing that is wrong with a segment, and nothing of
// what the row holds.
type Finding struct {
	Segment int64 `json:"segment"`
	Row     int64 `json:"row,string,omitempty"` // its N; 0 for none
	Kind    Kind  `json:"kind"`
}

func (f Finding) String() string {
	at := fmt.Sprintf("segment %d", f.Segment)
	switch {
	case f.Row != 0:
		at += fmt.Sprintf(", row %d", f.Row)
	case f.Kind == Deleted:
		return at + ": a row was deleted at its end"
	}
	return at + ": " + sentences[f.Kind]
}

// maxFindings is how many findings a report names.
const maxFindings = 100

// A Report is what a verification has seen.
type Report struct {
	First    int64     `json:"first"` // segment; 0 for none
	Last     int64     `json:"last"`
	Rows     int64     `json:"rows"`
	Until    time.Time `json:"until"` // when the last segment was sealed
	Findings []Finding `json:"findings"`
	More     int       `json:"more"` // findings that are not named
}

// A Verifier is given the segments of a trail in order. It keeps none.
type Verifier struct {
	Keys  note.Verifiers
	Begin int64     // number of the segment that the trail must begin with; 0 for any
	Known []Segment // of which Number and Hash are known from elsewhere
	Report

	last Segment
}

// Add takes the next segment, and its rows. Of a segment with too many rows any
// number above Size will do.
func (v *Verifier) Add(s Sealed) {
	if f := v.check(&s); f != nil {
		v.found(*f)
	}
	for _, k := range v.Known {
		if k.Number == s.Number && k.Hash != s.Hash {
			v.found(Finding{Segment: s.Number, Kind: Replaced})
		}
	}
	if v.First == 0 {
		v.First = s.Number
	}
	v.last, v.Last, v.Until = s.Segment, s.Number, s.Made
	v.last.Tags, v.last.Note = nil, ""
	v.Rows += int64(len(s.Rows))
}

// End is called after the last segment.
func (v *Verifier) End() *Report {
	for _, k := range v.Known {
		switch {
		case k.Number > v.Last:
			v.found(Finding{Segment: k.Number, Kind: Cut})
		case k.Number < v.First:
			v.found(Finding{Segment: k.Number, Kind: Missing})
		}
	}
	return &v.Report
}

func (v *Verifier) found(f Finding) {
	if len(v.Findings) == maxFindings {
		v.More++
		return
	}
	v.Findings = append(v.Findings, f)
}

// check finds the first thing that is wrong; nil for none.
func (v *Verifier) check(s *Sealed) *Finding {
	is := func(k Kind, row int64) *Finding { return &Finding{s.Number, row, k} }
	next := v.last.Number + 1
	if v.First == 0 {
		next = cmp.Or(v.Begin, s.Number)
	}
	switch {
	case s.Number > next:
		return &Finding{next, 0, Missing}
	case s.Number < next:
		return is(Broken, 0)
	case v.First != 0 && (s.Previous != v.last.Hash || s.After != v.last.To),
		s.Number == 1 && (s.Previous != Hash{} || s.After != 0):
		return is(Broken, 0)
	case s.Size < 1 || s.Size > MaxRows || len(s.Tags) != tagSize*s.Size:
		return is(Altered, 0)
	}
	hash, tags := s.sum(s.Rows)
	if !bytes.Equal(tags, s.Tags) {
		return located(s, tags)
	}
	for i := range s.Rows { // which can be wrong in a file alone
		if r := &s.Rows[i]; r.N <= s.After || r.N > s.To || i > 0 && Compare(s.Rows[i-1], *r) >= 0 {
			return is(Reordered, r.N)
		}
	}
	if hash != s.Hash || s.Rows[s.Size-1].N != s.To {
		return is(Altered, 0)
	}
	switch c, err := Checkpoint(s.Note, v.Keys); {
	case err != nil:
		return is(Forged, 0)
	case c.text() != s.text():
		return is(Altered, 0)
	}
	return nil
}

// located finds the first row whose tag is not the one that was sealed; there is
// one.
func located(s *Sealed, tags []byte) *Finding {
	have, want := slices.Collect(slices.Chunk(tags, tagSize)), slices.Collect(slices.Chunk(s.Tags, tagSize))
	among := func(list [][]byte, tag []byte) bool {
		return slices.ContainsFunc(list, func(t []byte) bool { return bytes.Equal(t, tag) })
	}
	for i := range have {
		f := &Finding{s.Number, s.Rows[i].N, Changed}
		switch {
		case i >= len(want):
			f.Kind = Inserted
		case bytes.Equal(have[i], want[i]):
			continue
		case among(have[i:], want[i]) && among(want[i:], have[i]):
			f.Kind = Reordered
		case among(have[i:], want[i]):
			f.Kind = Inserted
		case among(want[i:], have[i]):
			f.Kind = Deleted
		}
		return f
	}
	return &Finding{s.Number, 0, Deleted}
}
