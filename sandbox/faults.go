package sandbox

import (
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Fault makes an upstream misbehave.
type Fault struct {
	ID          int     `json:"id"`
	Target      string  `json:"target"` // "bankidse" for its calls, "bankidse.result" for what it proves
	Kind        string  `json:"kind"`   // delay, http, reset, garbage, truncate; for results: bad_signature, truncate, garbage, replay
	Value       string  `json:"value,omitempty"`
	Times       int     `json:"times,omitempty"`       // 0 is always
	Probability float64 `json:"probability,omitempty"` // 0 is always
}

// Faults are those that are on. The same seed makes the same faults.
type Faults struct {
	mu   sync.Mutex
	rand *rand.Rand
	all  []Fault
	last int
}

// NewFaults makes an empty list.
func NewFaults(seed int64) *Faults {
	return &Faults{rand: rand.New(rand.NewPCG(uint64(seed), 1))} //nolint:gosec // repeatable on purpose
}

// Add turns a fault on.
func (f *Faults) Add(x Fault) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	x.ID = f.last
	if len(f.all) < 1000 {
		f.all = append(f.all, x)
	}
	return x
}

// List shows what is on.
func (f *Faults) List() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

// Clear turns all off.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = nil
}

// Take uses up one fault for a target.
func (f *Faults) Take(target string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, x := range f.all {
		if x.Target != target || x.Probability > 0 && f.rand.Float64() >= x.Probability {
			continue
		}
		if x.Times == 1 {
			f.all = slices.Delete(f.all, i, i+1)
		} else if x.Times > 1 {
			f.all[i].Times--
		}
		return x, true
	}
	return Fault{}, false
}

// Apply spoils a call. It is true when the call has been answered so.
func (x Fault) Apply(w http.ResponseWriter, _ string) bool {
	switch x.Kind {
	case "delay":
		if d, err := time.ParseDuration(x.Value); err == nil {
			<-time.After(min(d, 30*time.Second))
		}
		return false
	case "http":
		status := 500
		for _, s := range []int{400, 401, 403, 408, 429, 500, 502, 503} {
			if x.Value == http.StatusText(s) || strings.HasPrefix(x.Value, string(rune('0'+s/100))+string(rune('0'+s/10%10))+string(rune('0'+s%10))) {
				status = s
			}
		}
		codes := map[int]string{400: "invalidParameters", 401: "unauthorized", 403: "unauthorized", 408: "requestTimeout", 429: "tooManyRequests", 500: "internalError", 502: "", 503: "maintenance"}
		if status == 429 {
			w.Header().Set("RateLimit-Reset", "2")
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"errorCode":"` + codes[status] + `","details":"injected"}`)) // the client has gone
		return true
	case "garbage":
		_, _ = w.Write([]byte("<<<not json>>>")) // the client has gone
		return true
	case "truncate":
		w.Header().Set("Content-Length", "500")
		_, _ = w.Write([]byte(`{"orderRef":"`)) // the client has gone
		return true
	case "reset":
		panic(http.ErrAbortHandler)
	}
	return false
}

// Spoil changes what proves a result, both base64.
func (x Fault) Spoil(signature, second string) (string, string) {
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return signature, second
	}
	switch x.Kind {
	case "bad_signature":
		i := strings.Index(string(raw), "<SignatureValue>") + len("<SignatureValue>") + 8
		if i < len(raw) {
			if raw[i] == 'A' {
				raw[i] = 'B'
			} else {
				raw[i] = 'A'
			}
		}
		return base64.StdEncoding.EncodeToString(raw), second
	case "truncate":
		return base64.StdEncoding.EncodeToString(raw[:len(raw)/2]), second
	case "garbage":
		return "bm90IHhtbA==", second
	case "replay": // an answer that was made for another signature
		return signature, base64.StdEncoding.EncodeToString([]byte("old"))
	}
	return signature, second
}
