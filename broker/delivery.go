package broker

import "time"

// A Claimed delivery is one that a worker may try now.
type Claimed struct {
	Delivery
	Attempt int       // 1, 2, …: this one included
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
