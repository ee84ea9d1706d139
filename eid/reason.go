package eid

// A Reason says why a session ended without a result. The set is closed:
// Reasons holds every one of them, and each API and each language has a row
// for each.
type Reason string

const (
	Cancelled          Reason = "cancelled"               // the person stopped, here or in the eID's app
	Declined           Reason = "declined"                // the eID said no
	Expired            Reason = "expired"                 // time ran out
	NotStarted         Reason = "not_started"             // no app picked the order up
	InProgress         Reason = "in_progress"             // another order for the same person was open
	Superseded         Reason = "superseded"              // a newer order replaced this one
	Unusable           Reason = "eid_unusable"            // revoked, blocked, too many wrong codes
	AppTooOld          Reason = "app_too_old"             // the app cannot do what was asked
	RiskBlocked        Reason = "risk_blocked"            // the eID stopped it for safety
	CallDeclined       Reason = "call_declined"           // the person says they are not on the phone with the party
	DocumentFailed     Reason = "document_failed"         // passport, face or other extra check failed
	WrongPerson        Reason = "wrong_person"            // another person than the one asked for
	BrowserNotReturned Reason = "browser_did_not_return"  // confirmed upstream, but nobody came back
	Unavailable        Reason = "upstream_unavailable"    // no or no usable answer
	Refused            Reason = "upstream_refused"        // the upstream refuses our request or certificate
	OutcomeUnknown     Reason = "outcome_unknown"         // a once-only answer may have been lost
	BadProof           Reason = "proof_invalid"           // signature, chain, OCSP or content did not verify
	BadAnswer          Reason = "upstream_answer_invalid" // unreadable or contradictory answer
	BadRequest         Reason = "request_invalid"         // the party asked for something that cannot be
	Internal           Reason = "internal"                // our fault
)

// A ReasonInfo is one row of the registry.
type ReasonInfo struct {
	Outcome string // cancelled, declined, expired or failed: the word of metrics and events
	Text    string // key of the sentence that a person reads
	Explain string // what a developer should know
	Fix     string // what to do about it
}

// Reasons is the registry. docs/errors.md is rendered from it.
var Reasons = map[Reason]ReasonInfo{
	Cancelled:          {"cancelled", "end.cancel", "The person cancelled on our page or in the app of the eID.", "Offer to start again."},
	Declined:           {"declined", "end.declined", "The eID did not confirm the person.", "Offer another way."},
	Expired:            {"expired", "end.expired", "The person did not finish within the time that the eID or this server allows.", "Offer to start again."},
	NotStarted:         {"expired", "end.notStarted", "No app picked the order up within the start window.", "Offer to start again, or the other device flow."},
	InProgress:         {"failed", "end.inProgress", "Another order for the same person was open; the upstream closed both.", "Let the person start again; do not start two sessions for one person."},
	Superseded:         {"failed", "end.superseded", "A newer order for the same person replaced this one.", "Offer to start again."},
	Unusable:           {"declined", "end.unusable", "The person's eID is revoked, blocked, or the code was wrong too often.", "The person needs another eID, or a new one from the issuer."},
	AppTooOld:          {"declined", "end.appTooOld", "The person's app does not support what was asked.", "The person updates the app and starts again."},
	RiskBlocked:        {"declined", "end.risk", "The eID stopped the transaction because of its risk.", "Contact the person in another way."},
	CallDeclined:       {"declined", "end.callDeclined", "The person answered that they are not in a call with the party. This may be fraud.", "Treat as an alarm."},
	DocumentFailed:     {"declined", "end.document", "An extra check (document, face) failed.", "Offer to start again."},
	WrongPerson:        {"failed", "end.wrongPerson", "The eID confirmed another person than the one whose number the request carries.", "Check the number, or let the right person start."},
	BrowserNotReturned: {"failed", "end.notReturned", "The eID confirmed the person, but the browser that started never came back.", "Offer to start again."},
	Unavailable:        {"failed", "end.unavailable", "The upstream did not answer, or answered with a fault of its own.", "Try again later; see the upstream's status."},
	Refused:            {"failed", "end.party", "The upstream refused the request or the certificate of this server.", "Operator: check certificate and agreement; see the log line with this reference."},
	OutcomeUnknown:     {"failed", "end.unknown", "The upstream's answer is given once and may have been lost with a crash or a broken connection.", "Offer to start again."},
	BadProof:           {"failed", "end.unavailable", "The upstream's proof did not verify. Nothing of it was used.", "Operator: see the security event; do not accept the person."},
	BadAnswer:          {"failed", "end.unavailable", "The upstream's answer could not be read or contradicts itself.", "Operator: see the log line with this reference."},
	BadRequest:         {"failed", "end.party", "The request asks for something that the eID cannot do.", "Change the request."},
	Internal:           {"failed", "end.unavailable", "An error of this server.", "Operator: see the log line with this reference."},
}
