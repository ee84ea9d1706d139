package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWritePlain(t *testing.T) {
	t.Parallel()
	body := []byte(strings.Repeat("<path d='M1 1'/>", 200))
	for accept, packed := range map[string]bool{"": false, "gzip": true, "br, GZIP;q=0.5": true, "gzip; q=0": false, "deflate": false} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", accept)
		w := httptest.NewRecorder()
		WritePlain(w, r, "image/svg+xml", body)
		var got io.Reader = w.Body
		if (w.Header().Get("Content-Encoding") == "gzip") != packed {
			t.Errorf("Accept-Encoding %q: Content-Encoding %q", accept, w.Header().Get("Content-Encoding"))
			continue
		}
		if packed {
			if w.Body.Len() > len(body)/4 {
				t.Errorf("%d bytes of %d left", w.Body.Len(), len(body))
			}
			var err error
			if got, err = gzip.NewReader(w.Body); err != nil {
				t.Fatal(err)
			}
		}
		if text, err := io.ReadAll(got); err != nil || !bytes.Equal(text, body) {
			t.Errorf("Accept-Encoding %q: %d bytes, %v", accept, len(text), err)
		}
		if w.Header().Get("Vary") != "Accept-Encoding" {
			t.Error("a cache would mix the two up")
		}
	}
}
