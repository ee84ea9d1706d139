// Package gzipped compresses what many may read. A secret never goes through
// it: the length of what is compressed tells of what is in it.
package gzipped

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

var writers = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that exists
	return w
}}

// Bytes compresses a body.
func Bytes(body []byte) []byte {
	var b bytes.Buffer
	w := writers.Get().(*gzip.Writer)
	defer writers.Put(w)
	w.Reset(&b)
	_, _ = w.Write(body) // into memory
	_ = w.Close()
	return b.Bytes()
}

// Taken says whether a client takes compressed bodies (RFC 9110 section
// 12.5.3). An answer that depends on it has "Vary: Accept-Encoding".
func Taken(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return strings.ReplaceAll(q, " ", "") != "q=0"
		}
	}
	return false
}
