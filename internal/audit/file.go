package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// maxLine is how long a line of an export may be: twenty times what one is.
const maxLine = 8 << 20

// ErrExport means that a file is no export of a trail.
var ErrExport = errors.New("not an export of an audit trail")

// Read reads an export: a line of JSON for each segment, with its rows.
func Read(r io.Reader) iter.Seq2[Sealed, error] {
	return func(yield func(Sealed, error) bool) {
		in := bufio.NewScanner(r)
		in.Buffer(nil, maxLine)
		for n := 1; in.Scan(); n++ {
			var s Sealed
			if err := json.Unmarshal(in.Bytes(), &s); err != nil || s.Number < 1 {
				yield(s, fmt.Errorf("%w: line %d cannot be read", ErrExport, n))
				return
			}
			if !yield(s, nil) {
				return
			}
		}
		if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
			yield(Sealed{}, fmt.Errorf("%w: a line is too long", ErrExport))
		} else if err != nil {
			yield(Sealed{}, fmt.Errorf("read export: %w", err))
		}
	}
}
