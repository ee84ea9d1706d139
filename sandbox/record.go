package sandbox

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
	"unicode/utf8"
)

// A Message is what a simulator received or sent, verbatim.
type Message struct {
	At         time.Time   `json:"at"`
	Upstream   string      `json:"upstream"`
	Direction  string      `json:"direction"` // "in" to the simulator, "out" of it
	Method     string      `json:"method"`
	URL        string      `json:"url"`
	Status     int         `json:"status,omitempty"`
	Headers    http.Header `json:"headers"`
	Body       string      `json:"body,omitempty"`
	BodyBase64 []byte      `json:"body_base64,omitempty"`
	ref        string
}

// A Recorder keeps the latest messages, up to a number of bytes.
type Recorder struct {
	mu    sync.Mutex
	limit int
	size  int
	all   []Message
}

// NewRecorder keeps at most limit bytes of bodies.
func NewRecorder(limit int) *Recorder { return &Recorder{limit: limit} }

func (r *Recorder) add(m Message, body []byte) {
	if utf8.Valid(body) {
		m.Body = string(body)
	} else {
		m.BodyBase64 = bytes.Clone(body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, m)
	r.size += len(body) + 512
	drop := 0
	for r.size > r.limit && drop < len(r.all)-1 {
		r.size -= len(r.all[drop].Body) + len(r.all[drop].BodyBase64) + 512
		drop++
	}
	r.all = slices.Delete(r.all, 0, drop)
}

// Of lists the messages about any of the given orders, in order.
func (r *Recorder) Of(refs ...string) []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []Message{}
	for _, m := range r.all {
		if m.ref != "" && slices.Contains(refs, m.ref) {
			out = append(out, m)
		}
	}
	return out
}

// Clear forgets everything.
func (r *Recorder) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all, r.size = nil, 0
}

// Wrap records what a simulator's handler receives and sends. The order is
// the "orderRef" of either body.
func (r *Recorder) Wrap(upstream string, now func() time.Time, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
		if err != nil {
			return // the client has gone
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		in := Message{At: now(), Upstream: upstream, Direction: "in", Method: req.Method, URL: req.URL.Path, Headers: req.Header.Clone(), ref: refOf(body)}
		rec := &tee{ResponseWriter: w}
		next.ServeHTTP(rec, req)
		out := Message{At: now(), Upstream: upstream, Direction: "out", Method: req.Method, URL: req.URL.Path,
			Status: rec.status, Headers: w.Header().Clone(), ref: refOf(rec.body.Bytes())}
		if in.ref == "" {
			in.ref = out.ref
		} else {
			out.ref = in.ref
		}
		r.add(in, body)
		r.add(out, rec.body.Bytes())
	})
}

func refOf(body []byte) string {
	var v struct {
		OrderRef string `json:"orderRef"`
	}
	if json.Unmarshal(body, &v) != nil {
		return ""
	}
	return v.OrderRef
}

type tee struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *tee) WriteHeader(status int) {
	t.status = status
	t.ResponseWriter.WriteHeader(status)
}

func (t *tee) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	t.body.Write(b)
	return t.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }
