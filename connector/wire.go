package connector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// MarshalBefore writes v, of which no field can fail, as a line of JSON before what is
// long: that is not looked through whenever v is read. nil is nothing.
func MarshalBefore(v any, long []byte) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	if long == nil {
		return raw
	}
	return append(append(slices.Grow(raw, 1+len(long)), '\n'), long...)
}

// UnmarshalBefore reads what MarshalBefore wrote.
func UnmarshalBefore(raw []byte, v any) (long []byte, err error) {
	line, long, _ := bytes.Cut(raw, []byte{'\n'})
	return long, json.Unmarshal(line, v)
}

// MarshalStep writes a step so that any node can read it again.
func MarshalStep(s Step) ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write step: %w", err)
	}
	return json.Marshal(tagged{StepName(s), b})
}

// UnmarshalStep reads what MarshalStep wrote.
func UnmarshalStep(b []byte) (Step, error) {
	var t tagged
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, fmt.Errorf("read step: %w", err)
	}
	switch t.Kind {
	case "redirect":
		return decode[Redirect](t.Value)
	case "ask":
		return decode[Ask](t.Value)
	case "wait":
		return decode[Wait](t.Value)
	case "embed":
		return decode[Embed](t.Value)
	case "again":
		return Again{}, nil
	case "done":
		return Done{}, nil
	case "fail":
		return decode[Fail](t.Value)
	}
	return nil, fmt.Errorf("read step: unknown kind %q", t.Kind)
}

// StepName is the step's word in the timeline and in storage.
func StepName(s Step) string {
	switch s.(type) {
	case Redirect:
		return "redirect"
	case Ask:
		return "ask"
	case Wait:
		return "wait"
	case Embed:
		return "embed"
	case Again:
		return "again"
	case Done:
		return "done"
	case Fail:
		return "fail"
	}
	return ""
}

// MarshalEvent writes an event, so that a node that takes over can deliver it
// again.
func MarshalEvent(e Event) ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write event: %w", err)
	}
	return json.Marshal(tagged{EventName(e), b})
}

// UnmarshalEvent reads what MarshalEvent wrote.
func UnmarshalEvent(b []byte) (Event, error) {
	var t tagged
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	switch t.Kind {
	case "returned":
		return decodeEvent[Returned](t.Value)
	case "submitted":
		return decodeEvent[Submitted](t.Value)
	case "shown":
		return decodeEvent[Shown](t.Value)
	case "called":
		return decodeEvent[Called](t.Value)
	case "tick":
		return Tick{}, nil
	case "expired":
		return Expired{}, nil
	}
	return nil, fmt.Errorf("read event: unknown kind %q", t.Kind)
}

// EventName is the event's word in the timeline.
func EventName(e Event) string {
	switch e.(type) {
	case Returned:
		return "returned"
	case Submitted:
		return "submitted"
	case Shown:
		return "shown"
	case Called:
		return "called"
	case Tick:
		return "tick"
	case Expired:
		return "expired"
	}
	return ""
}

type tagged struct {
	Kind  string          `json:"k"`
	Value json.RawMessage `json:"v"`
}

func decode[T Step](b []byte) (Step, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("read step: %w", err)
	}
	return v, nil
}

func decodeEvent[T Event](b []byte) (Event, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	return v, nil
}
