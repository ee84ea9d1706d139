// Package idin plays the Dutch banks' side of iDIN for the sandbox: a routing
// service that checks and signs messages, fictitious banks with their pages,
// and the back-end of iDIN QR, on keys that are new at every start.
// docs/protocols/idin.md describes the scheme, § in comments refers to that
// file; docs/protocols/idinqr.md describes the codes. This package is a reading
// of its own and shares nothing with our client but XML signatures. What it
// chooses where the scheme is silent, docs/sandbox.md says.
package idin

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"eidgate/sandbox"
)

// Acquirer is the bank that contracted the merchants of this simulator.
const Acquirer = "1234"

// A Bank is a fictitious issuer.
type Bank struct {
	ID   string `json:"id"` // BIC
	Name string `json:"name"`
	Down bool   `json:"down,omitempty"` // listed, and every start answers SO1100
}

// banks are those of the directory, by name.
var banks = []Bank{
	{"CURRNL2A", "Currence Issuer", false},
	{"DICHNL2A", "Sandbox Bank Dicht", true},
	{"DRIENL2A", "Sandbox Bank Drie", false},
	{"BANKNL2Y", "Sandbox Bank Een", false},
}

// Banks lists the banks of the directory.
func Banks() []Bank { return slices.Clone(banks) }

func bankOf(id string) (Bank, bool) {
	i := slices.IndexFunc(banks, func(b Bank) bool { return b.ID == id })
	if i < 0 {
		return Bank{}, false
	}
	return banks[i], true
}

// Config is what a simulator needs. The fields up to Base are required.
type Config struct {
	Clock     *sandbox.Clock
	People    *sandbox.People
	Decisions *sandbox.Decisions
	Faults    *sandbox.Faults
	Base      func() string // address of the listener that Handler is served on, without a slash at the end

	HTTP *http.Client // calls merchants for iDIN QR; nil for one with a deadline of 10 s
	Keys func() Key   // makes RSA keys; nil for new ones of 2048 bits
}

// A Simulator plays the routing service, the banks and the QR back-end.
type Simulator struct {
	Config
	pki *pki

	mu        sync.Mutex
	settings  Settings
	merchants map[string]*Merchant
	orders    map[string]*order // by transactionID
	bySecret  map[string]*order // by what the bank's page is called with
	queue     []string          // transactionIDs by age
	codes     map[string]*code  // by qr_id
	codeQueue []string
	last      int // number of the latest transaction
	members   int // number of the latest merchant that was made here
	changed   chan struct{}
}

// New makes a simulator; its slow keys are made in the background.
func New(c Config) *Simulator {
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: 10 * time.Second}
	}
	client := *c.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.HTTP = &client
	s := &Simulator{Config: c, pki: newPKI(c.Keys), settings: defaults(), merchants: map[string]*Merchant{}, changed: make(chan struct{})}
	s.empty()
	go s.pki.routing()
	return s
}

// now is the simulator's time, which a fault may put off.
func (s *Simulator) now() time.Time { return s.Clock.Now().Add(s.Faults.Skewed("idin.rs")) }

// Changed is closed when any order changes next.
func (s *Simulator) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Simulator) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Clear forgets all transactions and codes and sets all switches back.
// Merchants and keys stay.
func (s *Simulator) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.empty()
	s.settings = defaults()
	for _, m := range s.merchants {
		m.references = nil
	}
	s.wake()
}

// empty makes the tables new. Numbers of transactions go on.
func (s *Simulator) empty() {
	s.orders, s.bySecret, s.codes = map[string]*order{}, map[string]*order{}, map[string]*code{}
	s.queue, s.codeQueue = nil, nil
}

// Handler is everything below /idin/.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /idin/rs", s.serveRouting)
	mux.HandleFunc("GET /idin/bank/{issuer}", s.spoiled("idin.bank", s.showBank))
	mux.HandleFunc("POST /idin/bank/{issuer}", s.spoiled("idin.bank", s.actBank))
	mux.HandleFunc("POST /idin/qr/generate", s.spoiled("idinqr", s.generate))
	mux.HandleFunc("GET /idin/qr/code/{name}", s.spoiled("idinqr", s.image))
	mux.HandleFunc("GET /idin/qr/open/{link}", s.spoiled("idinqr", s.scanned))
	mux.HandleFunc("GET /idin/qr/open/{link}/{scan}", s.spoiled("idinqr", s.listBanks))
	mux.HandleFunc("POST /idin/qr/open/{link}/{scan}", s.spoiled("idinqr", s.chooseBank))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Eidgate-Sandbox", "1")
		mux.ServeHTTP(w, r)
	})
}

// spoiled lets faults of a target meet a handler. Kinds that the handler must
// carry out itself are in the request's context.
func (s *Simulator) spoiled(target string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f, hit := s.Faults.Take(target)
		switch {
		case !hit:
			next(w, r)
		case slices.Contains(own[target], f.Kind):
			next(w, r.WithContext(withFault(r.Context(), f)))
		default:
			f.Apply(w, r, next)
		}
	}
}

// Errors of who steers the simulator.
var (
	ErrNotKnown = errors.New("no Dutch bank knows this person")
	ErrMerchant = errors.New("merchant")
)

// Settings are the simulator's switches. As a change, what is missing stays.
type Settings struct {
	Profile    string       `json:"profile"`     // plain or worldline: how messages are written (§16.4)
	StrictOnce bool         `json:"strict_once"` // data are told once, and only within the assertion's life
	Lifetime   sandbox.Span `json:"assertion_lifetime"`
	Expiration sandbox.Span `json:"expiration"`      // of a transaction that names none
	FlagExtra  bool         `json:"flag_extra"`      // mark status requests that nothing explains
	RoutingKey string       `json:"routing_key"`     // current or alternate
	AgeName    string       `json:"age_name"`        // is18orolder or 18orolder
	Banks      []Bank       `json:"banks,omitempty"` // only read
	Merchants  []Merchant   `json:"merchants,omitempty"`
}

func defaults() Settings {
	return Settings{Profile: "plain", StrictOnce: true, Lifetime: sandbox.Span(30 * time.Second), Expiration: sandbox.Span(5 * time.Minute),
		RoutingKey: "current", AgeName: "is18orolder"}
}

// Settings shows the switches.
func (s *Simulator) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown()
}

func (s *Simulator) shown() Settings {
	v := s.settings
	v.Banks = Banks()
	for _, m := range s.merchants {
		v.Merchants = append(v.Merchants, *m)
	}
	slices.SortFunc(v.Merchants, func(a, b Merchant) int { return cmp.Compare(a.ID, b.ID) })
	return v
}

// Change turns switches; change edits those that are. What does not fit
// changes nothing.
func (s *Simulator) Change(change func(*Settings) error) (Settings, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.shown()
	if err := change(&v); err != nil {
		return v, err
	}
	v.Banks, v.Merchants = nil, nil
	switch {
	case v.Profile != "plain" && v.Profile != "worldline":
		return v, errors.New("profile is neither plain nor worldline")
	case v.RoutingKey != "current" && v.RoutingKey != "alternate":
		return v, errors.New("routing_key is neither current nor alternate")
	case v.AgeName != "is18orolder" && v.AgeName != "18orolder":
		return v, errors.New("age_name is neither is18orolder nor 18orolder")
	case time.Duration(v.Expiration) < time.Minute || time.Duration(v.Expiration) > 5*time.Minute:
		return v, errors.New("expiration is from 1m to 5m")
	}
	s.settings = v
	return s.shown(), nil
}
