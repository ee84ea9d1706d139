package bankidse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/protocol/bankidse"
)

// A state is what an order must remember between two calls.
type state struct {
	Ref      string    `json:"ref"`
	Token    string    `json:"token"` // autoStartToken
	QRToken  string    `json:"qr_token"`
	QRSecret string    `json:"qr_secret"`
	Began    time.Time `json:"began"`             // when the answer to the start arrived: t = 0 of the code
	Device   string    `json:"device"`            // onSame or onOther: what the page puts in front
	Linked   bool      `json:"linked,omitempty"`  // the page has shown the link that opens the app
	System   string    `json:"system"`            // the browser's kind of device, for texts and links
	Hint     string    `json:"hint,omitempty"`    // last hint code
	Scanned  bool      `json:"scanned,omitempty"` // an app has the order; the code is of no use any more
	Renewals int       `json:"renewals,omitempty"`
	Rests    bool      `json:"rests,omitempty"`  // no order runs until the person asks for a new code
	Intent   string    `json:"intent,omitempty"` // our own text of a login, as the order has it; the party's goes before it
	Nonce    string    `json:"nonce"`            // comes back in the fragment of the return address
	Returned bool      `json:"returned,omitempty"`
	Pinned   string    `json:"pinned,omitempty"`   // 12 digits: only this person
	Typed    string    `json:"typed,omitempty"`    // what is no number, for the form that asks again
	Failures int       `json:"failures,omitempty"` // collects in a row that brought no answer
	Silent   time.Time `json:"silent,omitzero"`    // since when no collect is made, the circuit being open
	Launch   string    `json:"launch"`             // base of the link that opens the app
	Answer   []byte    `json:"-"`                  // the once-only result as keep writes it, not yet verified
}

const (
	onSame  = "same"
	onOther = "other"
)

// read reads what bytes has written.
func (c *Connector) read(raw []byte) (*state, error) {
	line, answer, _ := bytes.Cut(raw, []byte{'\n'})
	s, ok := c.states.Get(string(line))
	if !ok {
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, errors.New("bankidse: stored state is not readable")
		}
		if s.Pinned == "" { // a person's number does not stay in memory
			c.states.Put(string(line), s)
		}
	}
	s.Answer = answer
	return &s, nil
}

func (s *state) bytes() []byte { return connector.MarshalBefore(s, s.Answer) }

// keep makes a completed order's answer one that is stored: a line of JSON
// without the proofs, which are long, and a line for each of them. Proofs that
// have lines themselves stay in the JSON.
func keep(got *bankidse.Collected) ([]byte, error) {
	least, done := *got, *got.Completion
	lines := !strings.Contains(done.Signature, "\n") && !strings.Contains(done.OCSPResponse, "\n")
	if lines {
		done.Signature, done.OCSPResponse = "", ""
	}
	least.Completion = &done
	raw, err := json.Marshal(least)
	if err != nil {
		return nil, fmt.Errorf("keep answer: %w", err)
	}
	if lines {
		proofs := []string{got.Completion.Signature, got.Completion.OCSPResponse}
		raw = slices.Grow(raw, len(proofs[0])+len(proofs[1])+2)
		for _, p := range proofs {
			raw = append(append(raw, '\n'), p...)
		}
	}
	return raw, nil
}

// kept reads what keep has made; nil if it cannot be read.
func kept(raw []byte) *bankidse.Completion {
	line, proofs, lines := bytes.Cut(raw, []byte{'\n'})
	var got bankidse.Collected
	if err := json.Unmarshal(line, &got); err != nil || got.Completion == nil {
		return nil
	}
	if lines {
		signature, ocsp, _ := bytes.Cut(proofs, []byte{'\n'})
		got.Completion.Signature, got.Completion.OCSPResponse = string(signature), string(ocsp)
	}
	return got.Completion
}

// wait is the page at an instant.
func (s *state) wait(now time.Time) connector.Wait {
	w := connector.Wait{Hint: message(s), Code: s.Hint, Rests: s.Rests}
	if s.Rests {
		return w
	}
	w.Token = s.Token
	w.Until = s.Began.Add(orderLife)
	if s.Scanned {
		return w
	}
	w.Launch = s.Launch + s.Token
	if s.Device == onOther {
		o := bankidse.Order{QRStartToken: s.QRToken, QRStartSecret: s.QRSecret}
		w.QR = o.QR(now.Sub(s.Began))
		w.Until = s.Began.Add(startWindow * time.Duration(1+maxRenewals-s.Renewals))
		w.Fresh = s.Renewals > 0 && now.Sub(s.Began) < fresh
	}
	return w
}

const (
	startWindow = 30 * time.Second // in which an app must pick an order up (§8)
	fresh       = 10 * time.Second // how long a page says that the code is new
)

// orderLife is how long BankID keeps an order open (docs/protocols/bankidse.md §8).
const orderLife = 180 * time.Second
