package qr

import (
	"bytes"
	"strings"
	"testing"

	library "rsc.io/qr"
)

// TestEncode: a plan that is used again gives the code that a new one would, in
// every version and with every kind of content.
func TestEncode(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"7", "A", "a"} {
		for n := 0; n < 7200; n += 149 {
			content := strings.Repeat(unit, n)
			want, wantErr := library.Encode(content, library.L)
			got, err := encode(content)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%d of %q: %v, want %v", n, unit, err, wantErr)
			}
			if err == nil && (got.Size != want.Size || !bytes.Equal(got.Bitmap, want.Bitmap)) {
				t.Errorf("%d of %q: another code", n, unit)
			}
		}
	}
}
