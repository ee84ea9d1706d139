// Package signicat offers what Signicat's relying parties know beside their
// logins. docs/apis/signicat.md describes it; § in comments refers to that file.
package signicat

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/internal/cache"
)

// ErrNoIDIN says that nobody who is asked for has iDIN.
var ErrNoIDIN = errors.New("no iDIN here")

// A Banks is the list of one contract.
type Banks struct {
	Contract string // names it; its list has changed when List.Changed has
	List     *connector.List
}

// Config is what the API needs; both fields are required.
type Config struct {
	// Banks finds those that the account of a request may offer: ErrNoIDIN if
	// it has none, broker.ErrNotFound while they are not known yet.
	Banks func(ctx context.Context, r *http.Request) (Banks, error)
	Log   *slog.Logger
}

// An API answers what everybody may ask, without a key.
type API struct {
	c       Config
	written *cache.Cache[string, *body]
}

// A body is a list as it goes out, written once for each change of it.
type body struct {
	changed time.Time
	text    []byte
	tag     string
}

// New makes an API.
func New(c Config) *API { return &API{c: c, written: cache.New[string, *body](256)} }

// IssuersPath is where Issuers stands (§1).
const IssuersPath = "/broker/authn/idin/issuers"

const (
	maxAge = time.Hour        // that a list may be kept by whoever asks
	again  = 15 * time.Second // when to ask anew: the broker's pause between tries for a first list
)

// Issuers answers the banks that people can choose from (§1).
func (a *API) Issuers(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Content-Type", "application/json; charset=utf-8")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		a.refuse(w, r, http.StatusMethodNotAllowed, "invalid_request", "Use GET.")
		return
	}
	b, err := a.banks(r)
	switch {
	case errors.Is(err, ErrNoIDIN):
		a.refuse(w, r, http.StatusNotFound, "not_found", "iDIN is not configured here.")
	case err != nil:
		if !errors.Is(err, broker.ErrNotFound) {
			a.c.Log.ErrorContext(r.Context(), "list of banks not read", "api", "signicat", "error", err)
		}
		h.Set("Retry-After", strconv.Itoa(int(again.Seconds())))
		a.refuse(w, r, http.StatusServiceUnavailable, "temporarily_unavailable", "The list of banks could not be fetched yet. Ask again when Retry-After is over.")
	default:
		h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(maxAge.Seconds())))
		h.Set("ETag", b.tag)
		http.ServeContent(w, r, "", b.changed, bytes.NewReader(b.text))
	}
}

// banks finds the body to send.
func (a *API) banks(r *http.Request) (*body, error) {
	found, err := a.c.Banks(r.Context(), r)
	if err != nil {
		return nil, err
	}
	if b, ok := a.written.Get(found.Contract); ok && b.changed.Equal(found.List.Changed) {
		return b, nil
	}
	b, err := write(found.List)
	if err == nil {
		a.written.Put(found.Contract, b)
	}
	return b, err
}

// A country is an element of the answer, an issuer a bank in it (§1).
type country struct {
	Country string   `json:"country"`
	Issuers []issuer `json:"issuers"`
}

type issuer struct {
	Name string `json:"name"`
	ID   string `json:"id"` // BIC
}

// write keeps the order of the directory: which bank comes first on a page is
// for that page to say.
func write(l *connector.List) (*body, error) {
	out := make([]country, 0, len(l.Groups))
	for _, g := range l.Groups {
		c := country{g.Name, make([]issuer, 0, len(g.Entries))}
		for _, e := range g.Entries {
			c.Issuers = append(c.Issuers, issuer{e.Name, e.ID})
		}
		out = append(out, c)
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text.Bytes())
	return &body{l.Changed, text.Bytes(), `"` + hex.EncodeToString(sum[:16]) + `"`}, nil
}

// A refusal is the body of everything that is no list.
type refusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (a *API) refuse(w http.ResponseWriter, r *http.Request, status int, code, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(refusal{code, text}) // the client has gone
	}
}
