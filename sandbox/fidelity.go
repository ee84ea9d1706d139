package sandbox

// A Fidelity says how near one message or ability of a simulator is to the
// real one.
type Fidelity struct {
	Upstream string `json:"upstream"`
	What     string `json:"what"`
	State    string `json:"state"`
	Because  string `json:"because,omitempty"`
}

// How near a simulator is.
const (
	Exact        = "exact"
	Differs      = "differs"
	NotSimulated = "not simulated" // answered 501, never silently
)
