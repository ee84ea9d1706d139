package sandbox

import (
	"encoding/json"
	"fmt"
	"time"
)

// An Order is what the phone and the control API may know of an order at an
// upstream. The names of its members are the same for each of them.
type Order struct {
	Ref     string    `json:"ref"`
	EID     string    `json:"eid"`
	State   string    `json:"state"`
	Hint    string    `json:"hint"`
	Next    string    `json:"next"` // what the program will be told
	By      string    `json:"by,omitempty"`
	RP      string    `json:"rp"`
	Person  string    `json:"person,omitempty"` // key, once it is known who
	For     string    `json:"for,omitempty"`    // key of the person that is asked for
	Created time.Time `json:"created"`
	Until   time.Time `json:"until"` // when it ends by itself
	Left    int       `json:"seconds_left"`
	Pending bool      `json:"pending"`
	Page    string    `json:"page,omitempty"` // where a browser acts on it
	QR      string    `json:"qr,omitempty"`   // what the code on a screen says right now
	Return  string    `json:"return_url,omitempty"`
	Ladder  []Rung    `json:"ladder,omitempty"`
	Details any       `json:"details,omitempty"` // the upstream's own
	Asked   string    `json:"asked,omitempty"`   // one order only: the request
	Returns any       `json:"returns,omitempty"` // one order only: what completing it returns, or has
}

// An Act is what somebody does with an order.
type Act struct {
	Event  string          `json:"event"`
	Person string          `json:"person,omitempty"` // key; "" leaves it to the simulator
	Data   json.RawMessage `json:"data,omitempty"`   // what the eID then says, under the upstream's own names
	Source string          `json:"-"`                // who is told to have done it
}

// Seconds are those from now until a moment, begun ones counted, at least 0.
func Seconds(now, until time.Time) int {
	return max(0, int((until.Sub(now)+time.Second-1)/time.Second))
}

// A Span is a time in text, such as "30s".
type Span time.Duration

// MarshalText implements encoding.TextMarshaler.
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil || d <= 0 || d > 24*time.Hour {
		return fmt.Errorf("%.20q is no time from 1ns to 24h; write 30s", b)
	}
	*s = Span(d)
	return nil
}
