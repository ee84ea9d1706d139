package zignsec

import (
	"errors"
	"net/http"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/relying"
)

// A wireError is an entry of "errors" (§9.1).
type wireError struct {
	Code        string `json:"code"`
	Description string `json:"description"`
}

// A problem is what a request gets instead of an answer.
type problem struct {
	status int
	wireError
}

func (p *problem) Error() string { return p.Code }

func bad(code, text string) *problem {
	return &problem{http.StatusBadRequest, wireError{code, text}}
}

// answers is the one table from errors to answers (§9.2, §9.3). What is not
// in it is a 500 that tells the outside nothing.
var answers = []struct {
	err        error
	status     int
	code, text string
}{
	{relying.ErrUnknown, 401, "INVALID_APPID", "The access token in the Authorization header is not known. Send it as it was issued, without a scheme word."},
	{errIP, 403, "INVALID_IP", "Calls from this address are not allowed for the account."},
	{broker.ErrNotFound, 404, "SESSION_NOT_FOUND", "There is no such session, or its data have been erased."},
	{broker.ErrMove, 400, "INVALID_REQUEST", "The session has ended already."},
	{errTooLarge, 413, "INVALID_REQUEST", errTooLarge.Error()},
	{errBody, 400, "INVALID_REQUEST", errBody.Error()},
	{errMethod, 405, "INVALID_REQUEST", "This address takes another method."},
	{errPath, 404, "INVALID_REQUEST", "There is nothing at this address. Set up a session with POST /v2/eid/{method}, read it with GET /v2/eid/{id}."},
	{errRate, 429, "INVALID_REQUEST", "Too many reads of one session. Ask every two seconds, or use a webhook."},
}

var (
	errIP     = errors.New("address not allowed")
	errMethod = errors.New("method not allowed")
	errPath   = errors.New("no such address")
	errRate   = errors.New("too many reads")
)

// problemOf finds the answer to an error; nil if the table has none.
func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return &problem{a.status, wireError{a.code, a.text}}
		}
	}
	return nil
}

// failures is how each reason is told in a result (§9.2, §13.5). An upstream's
// own word, where it has a code of this API, goes before.
var failures = map[eid.Reason]wireError{
	eid.Cancelled:          {"USER_CANCEL", "Action cancelled"},
	eid.Declined:           {"INVALID_REQUEST", "The eID did not confirm the person."},
	eid.Expired:            {"EXPIRED_TRANSACTION", "The person did not finish in time."},
	eid.NotStarted:         {"START_FAILED", "The app was not started in time."},
	eid.InProgress:         {"ALREADY_IN_PROGRESS", "Another order for this person was in progress."},
	eid.Superseded:         {"CANCELLED", "A new order for this person replaced this one."},
	eid.Unusable:           {"CERTIFICATE_ERR", "The person's eID is revoked or blocked."},
	eid.AppTooOld:          {"CLIENT_ERR", "The person's app is too old."},
	eid.RiskBlocked:        {"REQ_BLOCKED", "The transaction was stopped because of its risk."},
	eid.CallDeclined:       {"USER_CANCEL", "The person denied being in a call."},
	eid.DocumentFailed:     {"INVALID_REQUEST", "An extra check of the person failed."},
	eid.WrongPerson:        {"INVALID_PERSONALNUMBER", "Another person than the requested one was identified."},
	eid.BrowserNotReturned: {"EXPIRED_TRANSACTION", "The browser did not return from the eID."},
	eid.Unavailable:        {"RETRY", "The eID did not answer."},
	eid.Refused:            {"ACCESS_DENIED_RP", "The eID refused the request of this server."},
	eid.OutcomeUnknown:     {"INVALID_REQUEST", "The outcome is unknown. Start again."},
	eid.BadProof:           {"INVALID_REQUEST", "The eID's answer could not be verified. Nothing of it was used."},
	eid.BadAnswer:          {"INVALID_REQUEST", "The eID's answer could not be read."},
	eid.BadRequest:         {"INVALID_PARAMETERS", "The eID does not take this request."},
	eid.Internal:           {"INTERNAL_ERROR", "An error of this server."},
}
