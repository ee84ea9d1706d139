package sandbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Fault makes an upstream misbehave. Times, Every and Probability thin it
// out; with none of them it happens always.
type Fault struct {
	ID          int     `json:"id"`
	Target      string  `json:"target"` // "bankidse" for its calls, "bankidse.collect" for one of them, "bankidse.result" for what it proves
	Kind        string  `json:"kind"`
	Value       string  `json:"value,omitempty"`
	Times       int     `json:"times,omitempty"`       // so often, then gone
	Every       int     `json:"every,omitempty"`       // only each n-th time
	Probability float64 `json:"probability,omitempty"` // only with this chance
	met         int
}

// Kinds of faults of calls; those of results are the simulators' own. Value
// says more: a time, a status, or that the call is carried out first.
const (
	Delay    = "delay"      // value: a time, at most 30s
	Status   = "http"       // value: a status, perhaps with an error code: "503" or "400 alreadyInProgress"
	HTML     = "html"       // value: a status; the page that a proxy shows
	Reset    = "reset"      // value: "before" (default) or "after" the call has had its effect
	Garbage  = "garbage"    // the same
	Truncate = "truncate"   // the same
	Skew     = "clock_skew" // value: how far this simulator's clock is ahead, or behind with a minus
	Refuse   = "error"      // value: the code of the protocol's own error answer
)

var codeForm = regexp.MustCompile(`^[A-Za-z0-9_]{1,40}$`)

// Check says what is wrong with a fault of a target that knows some kinds.
func (x Fault) Check(kinds []string) error {
	if !slices.Contains(kinds, x.Kind) {
		return fmt.Errorf("%.40q is no fault of %.40s; it knows %s", x.Kind, x.Target, strings.Join(kinds, ", "))
	}
	if x.Times < 0 || x.Every < 0 || x.Probability < 0 || x.Probability > 1 {
		return errors.New("times and every count from 1, probability is from 0 to 1")
	}
	if strings.Contains(x.Target, ".result") {
		return nil
	}
	switch x.Kind {
	case Delay, Skew:
		d, err := time.ParseDuration(x.Value)
		if err != nil || x.Kind == Delay && (d < 0 || d > 30*time.Second) || d.Abs() > 24*time.Hour {
			return fmt.Errorf("value %.20q is no time; write 5s for a delay (at most 30s), -90s for a clock that is behind", x.Value)
		}
	case Status, HTML:
		if s, _ := x.status(); s < 400 || s > 599 {
			return fmt.Errorf("value %.20q is no status from 400 to 599", x.Value)
		}
	case Refuse:
		if !codeForm.MatchString(x.Value) {
			return fmt.Errorf("value %.20q is no code of an error", x.Value)
		}
	case Reset, Garbage, Truncate:
		if x.Value != "" && x.Value != "before" && x.Value != "after" {
			return fmt.Errorf("value %.20q is neither before nor after", x.Value)
		}
	}
	return nil
}

// status takes the value of a status apart.
func (x Fault) status() (int, string) {
	first, code, _ := strings.Cut(x.Value, " ")
	s, err := strconv.Atoi(first)
	if err != nil {
		return 0, ""
	}
	return s, code
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

// Add turns a fault on. A list of a thousand takes no more, and the id stays 0.
func (f *Faults) Add(x Fault) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) >= 1000 {
		return x
	}
	f.last++
	x.ID = f.last
	f.all = append(f.all, x)
	return x
}

// List shows what is on.
func (f *Faults) List() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Fault{}, f.all...)
}

// Clear turns all off.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = nil
}

// Remove turns one off; false when there is none of that number.
func (f *Faults) Remove(id int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.all)
	f.all = slices.DeleteFunc(f.all, func(x Fault) bool { return x.ID == id })
	return len(f.all) < n
}

// Take uses up one fault for any of some targets.
func (f *Faults) Take(targets ...string) (Fault, bool) { return f.TakeBut("", targets...) }

// TakeBut is Take for a call that a kind of fault does not touch: one of that
// kind stays for a later call.
func (f *Faults) TakeBut(kind string, targets ...string) (Fault, bool) {
	return f.take(func(k string) bool { return k != kind }, targets)
}

// TakeOnly is Take for a call that one kind of fault alone touches.
func (f *Faults) TakeOnly(kind string, targets ...string) (Fault, bool) {
	return f.take(func(k string) bool { return k == kind }, targets)
}

func (f *Faults) take(touches func(kind string) bool, targets []string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.all {
		x := &f.all[i]
		if x.Kind == Skew || !touches(x.Kind) || !slices.Contains(targets, x.Target) {
			continue
		}
		x.met++
		if x.Every > 1 && x.met%x.Every != 0 || x.Probability > 0 && f.rand.Float64() >= x.Probability {
			continue
		}
		hit := *x
		if x.Times == 1 {
			f.all = slices.Delete(f.all, i, i+1)
		} else if x.Times > 1 {
			x.Times--
		}
		return hit, true
	}
	return Fault{}, false
}

// Skewed is how far the clock of a target is off.
func (f *Faults) Skewed(target string) (sum time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.all {
		if x.Kind == Skew && x.Target == target {
			d, _ := time.ParseDuration(x.Value) // Check has looked; what is no time is none
			sum += d
		}
	}
	return sum
}

// codes are what an upstream says with a status, where a fault names no code.
var codes = map[int]string{400: "invalidParameters", 401: "unauthorized", 403: "unauthorized", 404: "notFound", 408: "requestTimeout",
	429: "tooManyRequests", 500: "internalError", 503: "maintenance"}

// Apply lets call answer a request, or spoils it.
func (x Fault) Apply(w http.ResponseWriter, r *http.Request, call http.HandlerFunc) {
	switch x.Kind {
	case Delay:
		d, _ := time.ParseDuration(x.Value) // as above
		wait := time.NewTimer(min(d, 30*time.Second))
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
		}
		call(w, r)
		return
	case Status, HTML:
		x.refuse(w)
		return
	}
	if x.Value == "after" {
		call(void{http.Header{}}, r)
	}
	switch x.Kind {
	case Garbage:
		_, _ = w.Write([]byte("<<<not json>>>")) // the client has gone
	case Truncate:
		w.Header().Set("Content-Length", "500")
		_, _ = w.Write([]byte(`{"orderRef":"`)) // the client has gone
	case Reset:
		panic(http.ErrAbortHandler)
	default:
		call(w, r)
	}
}

func (x Fault) refuse(w http.ResponseWriter) {
	status, code := x.status()
	if status == 0 {
		status = http.StatusInternalServerError
	}
	if x.Kind == HTML {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<html><head><title>%d</title></head><body><h1>%s</h1></body></html>\n", status, http.StatusText(status)) // the client has gone
		return
	}
	if code == "" {
		code = codes[status]
	}
	if status == http.StatusTooManyRequests {
		h := w.Header()
		h["RateLimit-Limit"], h["RateLimit-Remaining"], h["RateLimit-Reset"] = []string{"100"}, []string{"0"}, []string{"2"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errorCode":%q,"details":"injected"}`, code) // the client has gone
}

// void takes the answer of a call that nobody will see.
type void struct{ h http.Header }

func (v void) Header() http.Header         { return v.h }
func (v void) Write(b []byte) (int, error) { return len(b), nil }
func (v void) WriteHeader(int)             {}
