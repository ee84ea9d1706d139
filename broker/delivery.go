package broker

import (
	"errors"
	"time"

	"eidgate/eid"
)

// A Claimed delivery is one that a worker may try now.
type Claimed struct {
	Delivery
	Attempt int       // 1, 2, …: this one included
	Spent   int       // attempts that were made before it was last put back; the schedule begins after them
	First   time.Time // when it was written
}

// An Attempt is how one attempt at a delivery ended.
type Attempt struct {
	ID      string
	Attempt int
	State   string    // delivered, pending (again at Due), failed (final) or dead (out of tries)
	Due     time.Time // of the next attempt
	Status  int       // of the answer; 0 for none
	Reason  string    // one word, never an address
	Took    time.Duration
	At      time.Time
	Busy    bool // none was made: its receiver had enough before it, and it waits until Due
}

// MailBody is the Body of a Delivery of kind "email", as JSON.
type MailBody struct {
	Subject    string `json:"subject"`
	Text       string `json:"text"`
	Attachment []byte `json:"attachment,omitempty"` // JSON, for accounts that want the result itself
}

// A DeliveryStatus is a delivery as operators see it: nothing of what is sent,
// and of its address the host alone.
type DeliveryStatus struct {
	ID          string          `json:"id"`
	Session     string          `json:"session"`
	Account     string          `json:"account"`
	Environment eid.Environment `json:"environment"`
	Kind        string          `json:"kind"`
	Type        string          `json:"type"`
	Profile     string          `json:"profile"`
	Host        string          `json:"host,omitempty"` // "" for a mail, and where Erased
	State       string          `json:"state"`
	Attempts    int             `json:"attempts"`               // made, or begun
	Spent       int             `json:"before_replay,omitzero"` // of these; those made before it was last put back
	Status      int             `json:"status,omitzero"`        // of the answer to the last one; 0 for none
	Reason      string          `json:"reason,omitempty"`       // of the last one, one word
	Erased      bool            `json:"erased"`                 // what was to be sent is gone
	Written     time.Time       `json:"written"`
	Due         time.Time       `json:"due,omitzero"`      // of the next attempt, or when the one that is under way counts as lost; while pending
	GivenUp     time.Time       `json:"given_up,omitzero"` // while dead or failed
}

// A DeliveryFilter chooses deliveries; what is empty matches all.
type DeliveryFilter struct {
	Account string
	State   string    // "" for all that are given up
	Since   time.Time // given up since; of those that are not given up, written since
}

// Why a delivery cannot be put back.
var (
	ErrPending = errors.New("the delivery has not ended")
	ErrErased  = errors.New("what was to be sent is erased")
)
