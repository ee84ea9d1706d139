package zignsec

import (
	"errors"
	"net/http"
	"slices"

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
	id string // of the session that it is about; "" for none
}

func (p *problem) Error() string { return p.Code }

func bad(code, text string) *problem {
	return &problem{status: http.StatusBadRequest, wireError: wireError{code, text}}
}

// answers is the one table from errors to answers (§9.2, §9.3). What is not
// in it is a 500 that tells the outside nothing.
var answers = []struct {
	err        error
	status     int
	code, text string
}{
	{relying.ErrUnknown, 401, "INVALID_APPID", "The access token in the Authorization header is not known. Send it as it was issued, without a scheme word."},
	{errIP, 403, "INVALID_IP", "Calls from this address are not allowed for the account. Add it to the account's Allowed_IPs."},
	{broker.ErrNotFound, 404, "SESSION_NOT_FOUND", "There is no such session, or its data have been erased. Read it soon after its end, with a key of its account and environment."},
	{broker.ErrMove, 400, "INVALID_REQUEST", "The session has ended already. Read its result."},
	{errTooLarge, 413, "INVALID_REQUEST", "The body is larger than 1 MiB. Send less: a text to sign may have 40 000 characters of base64, a hidden one 200 000."},
	{errBody, 400, "INVALID_REQUEST", "The body is neither JSON nor a form. Send application/json or application/x-www-form-urlencoded, in UTF-8."},
	{errDeep, 400, "INVALID_REQUEST", "The body has more than 32 objects and arrays in each other. Send the parameters as members of one object."},
	{errMethod, 405, "INVALID_REQUEST", "This address takes another method; the Allow header names it."},
	{errPath, 404, "INVALID_REQUEST", "There is nothing at this address. Set up a session with POST /v2/eid/{method}, read it with GET /v2/eid/{id}."},
	{errPolls, 429, "INVALID_REQUEST", "Too many reads of one session. Ask every two seconds, or use a webhook."},
	{errReads, 429, "INVALID_REQUEST", "Too many reads with this access token. Ask for each session every two seconds, or use webhooks."},
	{errSetups, 429, "INVALID_REQUEST", "Too many new sessions with this access token. Wait as long as Retry-After says."},
	{broker.ErrOften, 429, "INVALID_REQUEST", "Too many new sessions for this person. Wait as long as Retry-After says, or leave personalnumber out."},
	{broker.ErrOpen, 429, "INVALID_REQUEST", "Three sessions for this person are open. Use one of them, let the person cancel one, or wait as long as Retry-After says."},
	{errGuesses, 429, "INVALID_APPID", "Too many unknown access tokens from this address. Wait as long as Retry-After says; a known token is still accepted."},
}

var (
	errIP      = errors.New("address not allowed")
	errMethod  = errors.New("method not allowed")
	errPath    = errors.New("no such address")
	errPolls   = errors.New("too many reads of a session")
	errReads   = errors.New("too many reads with a key")
	errSetups  = errors.New("too many sessions with a key")
	errGuesses = errors.New("too many unknown keys")
)

// problemOf finds the answer to an error; nil if the table has none.
func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return &problem{status: a.status, wireError: wireError{a.code, a.text}}
		}
	}
	return nil
}

// failures is how each reason is told in a result (§9.2, §13.5).
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

// general are the codes that a failed login of any eID may have. The others
// name what BankID alone does, and are INVALID_REQUEST for other eIDs.
var general = []string{"USER_CANCEL", "EXPIRED_TRANSACTION", "RETRY", "INTERNAL_ERROR", "INVALID_PERSONALNUMBER", "INVALID_REQUEST"}

// failure says why a session has failed. An upstream's own word is told where
// it has a code of this API, and where it is all there is to know of a refusal.
func failure(s *broker.Session) wireError {
	f := failures[s.Reason]
	told := s.Reason == eid.Declined || s.Reason == eid.DocumentFailed
	if s.EID != eid.BankIDSE && !slices.Contains(general, f.Code) {
		f.Code, told = "INVALID_REQUEST", true
	}
	switch {
	case s.EID == eid.BankIDSE && s.Reason == eid.Unavailable && s.Code == "internalError":
		return wireError{"INTERNAL_ERROR", "The eID had an error of its own."}
	case s.Code != "" && told:
		f.Description += " Its own word: " + s.Code + "."
	}
	return f
}
