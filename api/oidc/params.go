package oidc

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Bounds of what a request may carry (docs/protocols/oidc.md §11).
const (
	maxBody   = 64 << 10
	maxPushed = 128 << 10
	maxParams = 100
	maxState  = 4096 // characters of state and nonce, which come back unchanged
)

// params are a request's parameters. One that is empty is not there.
type params map[string]string

// A wireError is an error of OAuth, with the text that its reader may see.
type wireError struct {
	Code string
	Text string
}

func (e *wireError) Error() string { return e.Code + ": " + e.Text }

func bad(code, text string) *wireError { return &wireError{code, text} }

// single reads values of which each name may be there once, but for resource.
func single(v url.Values) (params, *wireError) {
	if len(v) > maxParams {
		return nil, bad("invalid_request", "There are too many parameters.")
	}
	p := params{}
	for name, all := range v {
		if len(all) > 1 && name != "resource" {
			return nil, twice(name)
		}
		if !utf8.ValidString(all[0]) { // it would come back as something else
			return nil, bad("invalid_request", "A parameter is not UTF-8.")
		}
		if all[0] != "" {
			p[name] = all[0]
		}
	}
	return p, nil
}

// form reads the body of a back-channel request. What stands in the address
// counts for nothing there.
func form(w http.ResponseWriter, r *http.Request, limit int64) (params, *wireError) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		return nil, bad("invalid_request", "The body must be application/x-www-form-urlencoded.")
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if err := r.ParseForm(); err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return nil, bad("invalid_request", "The body is too large.")
		}
		return nil, bad("invalid_request", "The body cannot be read as a form.")
	}
	return single(r.PostForm)
}

// words are the parts of a list with blanks between.
func words(s string) []string { return strings.Fields(s) }

// plain leaves of a text what an error_description may hold.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return -1
		}
		return c
	}, s)
}
