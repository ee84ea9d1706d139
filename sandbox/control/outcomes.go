package control

// A Receipt is what a relying party is told of a login.
type Receipt struct {
	State string `json:"state"`
	Code  string `json:"code,omitempty"`
}

// An Outcome is one thing that a login can be made to do.
type Outcome struct {
	EID      string             `json:"eid"`
	Outcome  string             `json:"outcome"`
	About    string             `json:"about"`
	Receives map[string]Receipt `json:"receives"` // by API
}

// The APIs of the list.
const (
	apiV2       = "zignsec-v2"       // with our pages: result and webhook
	apiHeadless = "zignsec-headless" // collect, without pages
)

// Outcomes is every eID's every outcome, with what the relying party receives.
// A test runs each of them on a server. With pages, a person who may try again
// does not, and presses cancel.
func Outcomes() []Outcome {
	var out []Outcome
	for _, o := range []struct{ outcome, v2, headless, about string }{
		{"approve", "", "", "The person approves."},
		{"cancel", "USER_CANCEL", "USER_CANCEL", "The person cancels in the app."},
		{"cancel:page", "USER_CANCEL", "-", "The person presses cancel on our page."},
		{"decline", "CERTIFICATE_ERR", "CERTIFICATE_ERR", "The BankID cannot be used."},
		{"expire", "EXPIRED_TRANSACTION", "EXPIRED_TRANSACTION", "The app has the order and nobody acts until the time is over. A decide moves the clock."},
		{"fail:expiredTransaction", "EXPIRED_TRANSACTION", "EXPIRED_TRANSACTION", "The same, without waiting."},
		{"fail:certificateErr", "CERTIFICATE_ERR", "CERTIFICATE_ERR", "Three wrong codes, or a revoked BankID."},
		{"fail:userCancel", "USER_CANCEL", "USER_CANCEL", "The person cancels in the app."},
		{"fail:cancelled", "USER_CANCEL", "CANCELLED", "Another order for the same person replaced this one. May be tried again."},
		{"fail:startFailed", "USER_CANCEL", "START_FAILED", "No app took the order in time. Codes are renewed; may be tried again."},
		{"fail:userDeclinedCall", "USER_CANCEL", "USER_CANCEL", "The person denies being in a call."},
		{"fail:notSupportedByUserApp", "CLIENT_ERR", "CLIENT_ERR", "The app is too old."},
		{"fail:transactionRiskBlocked", "REQ_BLOCKED", "REQ_BLOCKED", "BankID stopped it because of its risk."},
		{"fail:mrtdVerificationFailed", "INVALID_REQUEST", "INVALID_REQUEST", "The travel document could not be verified."},
		{"fail:facialRecognitionFailed", "INVALID_REQUEST", "INVALID_REQUEST", "The face check failed."},
		{"fail:nfcNotSupportedByDevice", "INVALID_REQUEST", "INVALID_REQUEST", "The phone cannot read the document."},
		{"fail:multipleBankIdsOnDevice", "CERTIFICATE_ERR", "CERTIFICATE_ERR", "There are several BankIDs on the phone."},
		{"fail:stepUpFailed", "INVALID_REQUEST", "INVALID_REQUEST", "The extra check failed."},
		{"fail:somethingNew", "INVALID_REQUEST", "INVALID_REQUEST", "A hint that nobody knows yet, under any name."},
	} {
		e := Outcome{EID: "bankidse", Outcome: o.outcome, About: o.about, Receives: map[string]Receipt{apiV2: receipt(o.v2)}}
		if o.headless != "-" {
			e.Receives[apiHeadless] = receipt(o.headless)
		}
		out = append(out, e)
	}
	return out
}

func receipt(code string) Receipt {
	if code == "" {
		return Receipt{State: "FINISHED"}
	}
	return Receipt{"ERROR", code}
}
