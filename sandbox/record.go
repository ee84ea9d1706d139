package sandbox

import (
	"bytes"
	"cmp"
	"context"
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

type subjectKey struct{}

// Concerns tells the recorder which order the message is about that a handler
// is answering. Without it, that is the "orderRef" of either body.
func Concerns(ctx context.Context, ref string) {
	if about, ok := ctx.Value(subjectKey{}).(*string); ok && ref != "" {
		*about = ref
	}
}

// Wrap records what a simulator's handler receives and sends.
func (r *Recorder) Wrap(upstream string, now func() time.Time, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
		if err != nil {
			return // the client has gone
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		in := Message{At: now(), Upstream: upstream, Direction: "in", Method: req.Method, URL: req.URL.RequestURI(), Headers: req.Header.Clone()}
		rec, about := &tee{ResponseWriter: w}, ""
		next.ServeHTTP(rec, req.WithContext(context.WithValue(req.Context(), subjectKey{}, &about)))
		out := Message{At: now(), Upstream: upstream, Direction: "out", Method: req.Method, URL: in.URL,
			Status: rec.status, Headers: w.Header().Clone()}
		in.ref = cmp.Or(about, refOf(body), refOf(rec.body.Bytes()))
		out.ref = in.ref
		r.add(in, body)
		r.add(out, rec.body.Bytes())
	})
}

// Transport records the calls that a simulator makes itself, about the order
// that the request's context names with About. next nil is the usual one.
func (r *Recorder) Transport(upstream string, now func() time.Time, next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return caller{r, upstream, now, next}
}

// About is a context for calls about an order.
func About(ctx context.Context, ref string) context.Context {
	return context.WithValue(ctx, subjectKey{}, &ref)
}

type caller struct {
	recorder *Recorder
	upstream string
	now      func() time.Time
	next     http.RoundTripper
}

// RoundTrip implements http.RoundTripper. It reads the answer whole, up to a
// mebibyte.
func (c caller) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	about, _ := req.Context().Value(subjectKey{}).(*string)
	m := Message{At: c.now(), Upstream: c.upstream, Direction: "out", Method: req.Method, URL: req.URL.String(), Headers: req.Header.Clone()}
	if about != nil {
		m.ref = *about
	}
	c.recorder.add(m, sent)
	res, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	m.At, m.Direction, m.Status, m.Headers = c.now(), "in", res.StatusCode, res.Header.Clone()
	c.recorder.add(m, got)
	res.Body = io.NopCloser(bytes.NewReader(got))
	return res, nil
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
