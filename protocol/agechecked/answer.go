package agechecked

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// A Status is a number of AgeChecked's (§5). What is not published is pending.
type Status int

// The published ones; Pending is what one client takes for the beginning.
const (
	Pending            Status = 0
	Aborted            Status = 3
	Failed             Status = 4 // "Error"
	Declined           Status = 5
	Approved           Status = 6
	ApprovedToo        Status = 7
	CountryNotDetected Status = 8
	CountryDisabled    Status = 9
	Proxy              Status = 10
	NotRequired        Status = 12
	NotApproved        Status = 17
)

var texts = map[Status]string{
	Aborted: "Aborted", Failed: "Error", Declined: "Declined", Approved: "Approved", ApprovedToo: "Approved",
	CountryNotDetected: "DeclinedIPCountryNotDetected", CountryDisabled: "DeclinedIPCountryDisabled", Proxy: "DeclinedIPProxy",
	NotRequired: "AVNotRequired", NotApproved: "NotApproved",
}

// Text is AgeChecked's word for a status; "Pending" where it has none.
func (s Status) Text() string {
	if t, ok := texts[s]; ok {
		return t
	}
	return "Pending"
}

// Final says whether the status can change no more.
func (s Status) Final() bool { _, ok := texts[s]; return ok }

// Approved says whether the age is proven. NotRequired proves none.
func (s Status) Approved() bool { return s == Approved || s == ApprovedToo }

// readStarted reads the answer of the method that starts a check (§3).
func (c *Client) readStarted(raw []byte) (*Started, error) {
	var answer map[string]json.RawMessage
	if json.Unmarshal(raw, &answer) != nil {
		return nil, wrong("the answer is not the JSON that was expected")
	}
	if err := refusal(answer); err != nil {
		return nil, err
	}
	var status struct {
		ID number `json:"agecheckid"`
	}
	if member := answer["avstatus"]; len(member) > 0 && json.Unmarshal(member, &status) != nil {
		return nil, wrong("the answer has no usable avstatus")
	}
	var address string
	switch {
	case status.ID <= 0:
		return nil, wrong("the answer has no usable agecheckid")
	case json.Unmarshal(answer[c.urlField()], &address) != nil || !c.reachable(address):
		return nil, wrong("the answer has no usable address")
	}
	return &Started{ID: int64(status.ID), URL: address}, nil
}

// readResult reads the answer of getagecheck (§4), which must be about id if it
// says so.
func readResult(raw []byte, id int64) (*Result, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil, wrong("the answer is not the JSON that was expected")
	}
	if err := refusal(members); err != nil {
		return nil, err
	}
	var answer struct {
		Status   *number `json:"status"`
		ID       number  `json:"agecheckid"`
		Verified string  `json:"ageverifiedid"`
	}
	switch {
	case json.Unmarshal(raw, &answer) != nil || answer.Status == nil:
		return nil, wrong("the answer has no usable status")
	case answer.ID != 0 && int64(answer.ID) != id:
		return nil, wrong("the answer is another check's")
	case len(answer.Verified) > 128:
		return nil, wrong("the answer has no usable ageverifiedid")
	}
	return &Result{ID: id, Status: Status(*answer.Status), Verified: answer.Verified}, nil
}

// refusal reads what stands for an error: "Error" in the one method, "error" in
// the other, a text or an object with a code (§3, §4). An empty one is none.
func refusal(answer map[string]json.RawMessage) error {
	for _, name := range []string{"Error", "error"} {
		switch text := string(answer[name]); text {
		case "", "null", `""`, "{}", "false":
			continue
		}
		e := &Error{Status: http.StatusOK, Sent: true}
		var object struct {
			Code code `json:"code"`
		}
		var text code
		switch {
		case json.Unmarshal(answer[name], &object) == nil:
			e.Code = string(object.Code)
		case json.Unmarshal(answer[name], &text) == nil:
			e.Code = string(text)
		}
		if e.Code == "" {
			e.Err = errors.New("the answer is an error")
		}
		return e
	}
	return nil
}

func wrong(text string) error {
	return &Error{Status: http.StatusOK, Sent: true, Err: errors.New(text)}
}

// A number is written with or without quotes.
type number int64

func (n *number) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	if s, err := strconv.Unquote(string(raw)); err == nil {
		raw = []byte(s)
	}
	v, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return errors.New("not a number")
	}
	*n = number(v)
	return nil
}

// A code is a plain word in quotes, or a number; what is neither becomes "".
type code string

func (c *code) UnmarshalJSON(raw []byte) error {
	s, err := strconv.Unquote(string(raw))
	if err != nil && raw[0] >= '0' && raw[0] <= '9' {
		s = string(raw)
	}
	if plainCode.MatchString(s) {
		*c = code(s)
	}
	return nil
}
