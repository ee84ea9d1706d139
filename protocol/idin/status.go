package idin

import (
	"crypto/x509"
	"time"
)

// A State is where a transaction stands (§10.1).
type State string

const (
	Open      State = "Open"
	Pending   State = "Pending" // several persons must approve; as Open
	Success   State = "Success"
	Cancelled State = "Cancelled"
	Expired   State = "Expired"
	Failure   State = "Failure"
)

// Final says whether the state can change no more.
func (s State) Final() bool { return s != Open && s != Pending }

// Expected is what the answer to a status request must be about.
type Expected struct {
	TransactionID string
	Reference     string    // that the transaction was asked with
	Issuer        string    // BIC of the chosen bank
	Service       ServiceID // that was asked for
}

// A Status is a verified AcquirerStatusRes. What follows At is there with
// Success only.
type Status struct {
	TransactionID string
	State         State
	At            time.Time // when the bank set a final state; zero if it did not say

	Incomplete  bool // the bank says that it lacks some of what was asked (§10.2)
	Issuer      string
	Level       string // of assurance: nl:bvn:bankid:1.0:loa3
	AuthnAt     time.Time
	NotBefore   time.Time
	NotAfter    time.Time // NotOnOrAfter: the first instant at which the assertion does not count
	AssertionID string
	Asked       ServiceID
	Delivered   ServiceID // the groups that the bank released
	Missing     ServiceID // the groups that were asked and not released

	Routing *x509.Certificate // that the message was signed with
	Bank    *x509.Certificate // that the assertion was signed with
	Notes   []Note
}
