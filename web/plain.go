package web

import (
	"net/http"
	"strconv"

	"eidgate/internal/gzipped"
)

// WritePlain writes a body that holds no secret, compressed where the client
// takes that: static files, compressed once, and the frames of a code.
func WritePlain(w http.ResponseWriter, r *http.Request, kind string, body []byte) {
	write(w, r, kind, body, nil)
}

// write is WritePlain with a body that may have been compressed before.
func write(w http.ResponseWriter, r *http.Request, kind string, body, packed []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Add("Vary", "Accept-Encoding")
	if gzipped.Taken(r) {
		h.Set("Content-Encoding", "gzip")
		if packed == nil {
			packed = gzipped.Bytes(body)
		}
		body = packed
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client may have gone
}
