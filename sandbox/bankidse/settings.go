package bankidse

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"eidgate/sandbox"
)

// Windows are the service's clocks (docs/protocols/bankidse.md §8).
type Windows struct {
	Start, Complete, KeepResult, KeepFailure time.Duration
}

// Default windows of the service.
func defaultWindows() Windows {
	return Windows{30 * time.Second, 180 * time.Second, 3 * time.Minute, 5 * time.Minute}
}

// A Span is a time in text, such as "30s".
type Span = sandbox.Span

// Settings are the simulator's switches. As a change, what is missing stays.
type Settings struct {
	Windows struct {
		Start       Span `json:"start"`        // until an app must have the order
		Complete    Span `json:"complete"`     // until the person must be done
		KeepResult  Span `json:"keep_result"`  // how long a result can be collected
		KeepFailure Span `json:"keep_failure"` // the same of a failure
	} `json:"windows"`
	Certificates  string   `json:"certificates"`             // strict: issued or registered here; any: whichever, but one
	Registered    []string `json:"registered"`               // SHA-256 of certificates that are let in as well, hex
	RateLimit     bool     `json:"rate_limit"`               // collects faster than one a second: 429 after ten of them
	TLSRoot       string   `json:"tls_root,omitempty"`       // PEM, only read
	SignatureRoot string   `json:"signature_root,omitempty"` // the same
}

var fingerprintForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Settings shows the switches.
func (s *Simulator) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings()
}

func (s *Simulator) settings() Settings {
	var v Settings
	v.Windows.Start, v.Windows.Complete = Span(s.windows.Start), Span(s.windows.Complete)
	v.Windows.KeepResult, v.Windows.KeepFailure = Span(s.windows.KeepResult), Span(s.windows.KeepFailure)
	v.Certificates, v.Registered, v.RateLimit = s.certificates, append([]string{}, s.registered...), s.rateLimit
	v.TLSRoot, v.SignatureRoot = s.TLSRoot(), s.SignatureRoot()
	return v
}

// Change turns switches; change edits those that are. What does not fit
// changes nothing.
func (s *Simulator) Change(change func(*Settings) error) (Settings, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.settings()
	if err := change(&v); err != nil {
		return v, err
	}
	for i, f := range v.Registered {
		f = strings.ToLower(strings.ReplaceAll(f, ":", ""))
		if v.Registered[i] = f; !fingerprintForm.MatchString(f) {
			return v, fmt.Errorf("registered: %.80q is no SHA-256 of a certificate, 64 hexadecimal digits", f)
		}
	}
	switch {
	case v.Certificates != "strict" && v.Certificates != "any":
		return v, fmt.Errorf("certificates: %.20q is neither strict nor any", v.Certificates)
	case len(v.Registered) > 100:
		return v, errors.New("registered: a hundred certificates are enough")
	}
	w := v.Windows
	s.windows = Windows{time.Duration(w.Start), time.Duration(w.Complete), time.Duration(w.KeepResult), time.Duration(w.KeepFailure)}
	s.certificates, s.registered, s.rateLimit = v.Certificates, slices.Clone(v.Registered), v.RateLimit
	return s.settings(), nil
}
