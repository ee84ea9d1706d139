package idin

import (
	"encoding/json"
	"errors"
	"time"

	"eidgate/connector"
	"eidgate/protocol/idin"
)

// A state is what an order must remember between two calls.
type state struct {
	Phase     phase          `json:"phase"`
	ID        string         `json:"id,omitempty"` // transactionID
	Reference string         `json:"reference,omitempty"`
	Entrance  string         `json:"entrance,omitempty"` // comes back as ec
	Issuer    string         `json:"issuer,omitempty"`   // BIC
	Service   idin.ServiceID `json:"service"`
	URL       string         `json:"url,omitempty"` // the bank's page
	Began     time.Time      `json:"began,omitzero"`
	Until     time.Time      `json:"until,omitzero"`   // when the bank's time for the person ends
	Came      time.Time      `json:"came,omitzero"`    // when a browser came back
	Foreign   bool           `json:"foreign,omitzero"` // it was another one than ours
	Asked     time.Time      `json:"asked,omitzero"`   // the last status request
	Tries     int            `json:"tries,omitzero"`   // status requests after the return, beyond the first
	Third     bool           `json:"third,omitzero"`   // the one at three minutes is done
	Answer    []byte         `json:"answer,omitempty"` // of the status request, not yet read
	Got       time.Time      `json:"got,omitzero"`     // when it came: what it says counts from then, whenever it is read
	Code      *code          `json:"code,omitempty"`   // of a point of service
}

// A code is one of iDIN QR on a screen.
type code struct {
	ID      string    `json:"id"`
	Image   string    `json:"image"` // data: address of the picture
	Expires time.Time `json:"expires"`
}

// A phase says where an order stands.
type phase string

const (
	atBank   phase = "bank"   // the person is there
	answered phase = "answer" // the bank's answer is stored and not yet read
	open     phase = "open"   // back, and the bank has no result yet
	asks     phase = "asks"   // confirmed; a person in another browser must say that it was them
	counter  phase = "code"   // a code is on the screen
	rests    phase = "rests"  // its time is over
	lists    phase = "banks"  // the person wants to choose a bank here after all
)

func readState(raw []byte) (*state, error) {
	var s state
	if err := json.Unmarshal(raw, &s); err != nil || s.Phase == "" {
		return nil, errors.New("idin: stored state is not readable")
	}
	return &s, nil
}

// bytes writes the state; no field of it can fail.
func (s *state) bytes() []byte {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return raw
}

// last is when a transaction without a return is asked for: its time is over
// for sure (docs/protocols/idin.md §12).
func (s *state) last() time.Time { return s.Until.Add(10 * time.Second) }

// expected is what the answer to a status request must be about.
func (s *state) expected() idin.Expected {
	return idin.Expected{TransactionID: s.ID, Reference: s.Reference, Issuer: s.Issuer, Service: s.Service}
}

// A debt is what is kept of a transaction whose final status is still owed to
// the scheme: its names, nothing of the person.
type debt struct {
	ID        string         `json:"id"`
	Reference string         `json:"reference"`
	Issuer    string         `json:"issuer"`
	Service   idin.ServiceID `json:"service"`
	Until     time.Time      `json:"until"`
	Asked     int            `json:"asked"` // times, since the bank's time was over
}

func (d *debt) duty(due time.Time) *connector.Duty {
	raw, err := json.Marshal(d)
	if err != nil {
		panic(err) // no field can fail
	}
	return &connector.Duty{State: raw, Due: due}
}
