package control

import "slices"

// A Receipt is what a relying party is told of a login.
type Receipt struct {
	State string `json:"state"`
	Code  string `json:"code,omitempty"`
	Age   int    `json:"age_status,omitempty"` // of an age check: 6 and 7 are 18 or older, the others not
}

// An Outcome is one thing that a login can be made to do.
type Outcome struct {
	EID      string             `json:"eid"`
	Config   string             `json:"configid,omitempty"` // of the sandbox's account; "" for the usual one
	Outcome  string             `json:"outcome"`
	Person   string             `json:"person,omitempty"` // who makes the difference
	About    string             `json:"about"`
	Receives map[string]Receipt `json:"receives"` // by API
}

// The APIs of the list.
const (
	apiV2       = "zignsec-v2"       // with our pages: result and webhook
	apiV3       = "zignsec-v3"       // the same, without the status of an age check that failed
	apiHeadless = "zignsec-headless" // collect, without pages
	apiOIDC     = "oidc"             // the error, or the tokens
)

// Outcomes is every eID's every outcome, with what the relying party receives.
// A test runs each of them on a server. With pages, a person who may try again
// does not, and presses cancel.
func Outcomes() []Outcome {
	all := slices.Concat(swedish(), atBanks("idin", ""), atCounter(), atBanks("idinage", ""), ages(), inApp(), norwegianPages(), danishPages())
	for _, o := range all {
		if o.EID == "itsme" && o.Outcome == "cancel:page" { // v3 has no page before itsme
			continue
		}
		r := o.Receives[apiV2]
		if r.State = map[string]string{"FINISHED": "Finished", "ERROR": "Error"}[r.State]; r.State == "Error" {
			r.Age = 0
		}
		o.Receives[apiV3] = r
	}
	return all
}

func swedish() (out []Outcome) {
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
		e.Receives[apiOIDC] = openID(o.v2, o.outcome)
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
	return Receipt{State: "ERROR", Code: code}
}

// openID is the same over OpenID Connect, which says that nobody was logged in, or
// that the request or its answer is broken.
func openID(code, outcome string) Receipt {
	switch {
	case code == "":
		return Receipt{State: "FINISHED"}
	case outcome == "fail:AP1500" || outcome == "fail:AP3000" || outcome == "fail:invalid_scope" || outcome == "fail:invalid_idp_params": // our request is refused
		return Receipt{State: "ERROR", Code: "server_error"}
	}
	return Receipt{State: "ERROR", Code: "access_denied"}
}

// The statuses of a check that has no outcome of its own.
const (
	approved, notApproved  = 6, 17
	aborted, withoutResult = 3, 4
)

// atBanks is what banks of iDIN do, for an identification or an age check.
func atBanks(eid, config string) (out []Outcome) {
	for _, o := range []struct{ outcome, person, code, about string }{
		{"approve", "", "", "The person approves at the bank."},
		{"approve", "jong", "", "The same, by somebody of 17."},
		{"cancel", "", "USER_CANCEL", "The person cancels at the bank."},
		{"cancel:page", "", "USER_CANCEL", "The person does not go there, and presses cancel on our page."},
		{"decline", "", "INVALID_REQUEST", "The bank declines: status Failure."},
		{"expire", "", "EXPIRED_TRANSACTION", "Nobody acts at the bank until the time is over. A decide moves the clock."},
		{"fail:failure", "", "INVALID_REQUEST", "Status Failure; so is any other word."},
		{"fail:cancelled", "", "USER_CANCEL", "Status Cancelled."},
		{"fail:expired", "", "EXPIRED_TRANSACTION", "Status Expired, without waiting."},
		{"fail:open", "", "EXPIRED_TRANSACTION", "The person comes back, and the bank has no result until the time is over. A decide moves the clock."},
		{"fail:pending", "", "EXPIRED_TRANSACTION", "Somebody else would have to agree, and nobody does. A decide moves the clock."},
		{"fail:no_return", "", "EXPIRED_TRANSACTION", "The person approves, and the browser never comes back. A decide moves the clock."},
		{"fail:incomplete", "", "", "The bank knows half of what was asked for."},
		{"fail:RequestDenied", "", "INVALID_REQUEST", "Success, with this SAML status and without data."},
		{"fail:RequestUnsupported", "", "INVALID_REQUEST", "The same with this status."},
		{"fail:InvalidAttrNameOrValue", "", "INVALID_REQUEST", "The same with this status."},
		{"fail:MismatchWithIDx", "", "INVALID_REQUEST", "The same with this status."},
		{"fail:AuthnFailed", "", "INVALID_REQUEST", "The same with this status."},
		{"fail:SO1100", "", "USER_CANCEL", "The bank is down: the start is refused. May be tried again, at another bank."},
		{"fail:AP1500", "", "INVALID_REQUEST", "The merchant is not active: the start is refused, as with most codes."},
		{"fail:AP3000", "", "INVALID_REQUEST", "The start is refused, with a SAML status."},
	} {
		r := receipt(o.code)
		switch {
		case eid != "idinage":
		case o.code == "" && o.person == "" && o.outcome == "approve":
			r.Age = approved
		case o.code == "":
			r.Age = notApproved // so is who is not known to be of age
		default:
			r.Age = withoutResult
			if o.code == "USER_CANCEL" {
				r.Age = aborted
			}
		}
		e := Outcome{EID: eid, Config: config, Outcome: o.outcome, Person: o.person, About: o.about, Receives: map[string]Receipt{apiV2: r}}
		if eid == "idin" && config == "" && o.outcome != "fail:no_return" && o.outcome != "fail:pending" { // the browser stays at the bank, and nobody is told
			e.Receives[apiOIDC] = openID(o.code, o.outcome)
		}
		out = append(out, e)
	}
	return out
}

// atCounter is the same at a point of service, where the code stays on the
// screen when a start is refused, and the person there gives up.
func atCounter() []Outcome {
	out := atBanks("idin", "counter")
	for i, o := range out {
		if o.Outcome == "fail:AP1500" || o.Outcome == "fail:AP3000" {
			out[i].Receives[apiV2] = receipt("USER_CANCEL")
		}
	}
	return out
}

// ages is what AgeChecked does.
func ages() (out []Outcome) {
	for _, o := range []struct {
		outcome, person, code string
		status                int
		about                 string
	}{
		{"approve", "", "", approved, "AgeChecked says that the person is of age."},
		{"approve", "jong", "", notApproved, "The same with somebody of 17: it says that they are not."},
		{"cancel", "", "USER_CANCEL", aborted, "The person gives up at AgeChecked."},
		{"cancel:page", "", "USER_CANCEL", aborted, "The person does not go there, and presses cancel on our page."},
		{"decline", "", "", notApproved, "AgeChecked says that the person is not of age."},
		{"expire", "", "EXPIRED_TRANSACTION", withoutResult, "The check stays pending, and so does the browser. A decide moves the clock."},
		{"fail:3", "", "USER_CANCEL", aborted, "Status 3; a number is always that status."},
		{"fail:4", "", "INVALID_REQUEST", withoutResult, "Status 4, an error."},
		{"fail:5", "", "", 5, "Status 5, declined."},
		{"fail:7", "", "", 7, "Status 7, approved."},
		{"fail:8", "", "", 8, "Status 8, the address's country is not known."},
		{"fail:9", "", "", 9, "Status 9, the address's country is not allowed."},
		{"fail:10", "", "", 10, "Status 10, the address is a proxy's."},
		{"fail:12", "", "", 12, "Status 12, no check was required."},
		{"fail:17", "", "", notApproved, "Status 17, not approved."},
		{"fail:InvalidMerchantKey", "", "INVALID_REQUEST", 0, "The start is refused, with any word that is no number."},
	} {
		r := receipt(o.code)
		r.Age = o.status
		out = append(out, Outcome{EID: "idinage", Config: "agechecked", Outcome: o.outcome, Person: o.person, About: o.about, Receives: map[string]Receipt{apiV2: r}})
	}
	return out
}

// atProvider lists what an OpenID provider's people do.
func atProvider(eid string, list []outcome) (out []Outcome) {
	for _, o := range list {
		e := Outcome{EID: eid, Outcome: o.outcome, Person: o.person, About: o.about, Receives: map[string]Receipt{apiV2: receipt(o.code)}}
		if o.outcome != "fail:no_return" { // the browser stays there, and nobody is told
			e.Receives[apiOIDC] = openID(o.code, o.outcome)
		}
		out = append(out, e)
	}
	return out
}

// An outcome is one of an OpenID provider: code is that of v2.
type outcome struct{ outcome, person, code, about string }

// norwegianPages is what people do at Norwegian BankID.
func norwegianPages() []Outcome {
	return atProvider("bankidno", []outcome{
		{"approve", "", "", "The person logs in, with the password or with biometrics."},
		{"approve", "kari", "", "The same by somebody without biometrics, who falls back to the password."},
		{"approve", "unge", "", "The same, by somebody of 17."},
		{"cancel", "", "USER_CANCEL", "The person cancels: C301."},
		{"cancel:page", "", "USER_CANCEL", "The person does not go there, and presses cancel on our page."},
		{"decline", "", "USER_CANCEL", "BankID does not work there: 12288. May be tried again; so may any code that is not known."},
		{"expire", "", "EXPIRED_TRANSACTION", "Nobody acts for five minutes: C302. A decide moves the clock."},
		{"fail:C131", "", "USER_CANCEL", "A request runs on the phone already. May be tried again."},
		{"fail:C293", "", "USER_CANCEL", "Another session is open on the phone. May be tried again."},
		{"fail:14ab", "", "USER_CANCEL", "The person cancels, in BankID's other word for it."},
		{"fail:server_error", "", "USER_CANCEL", "BankID is out of order. May be tried again."},
		{"fail:invalid_scope", "", "INVALID_REQUEST", "BankID does not let the contract ask for that."},
		{"fail:no_return", "", "EXPIRED_TRANSACTION", "The person ends on an error page of BankID, and never comes back. A decide moves the clock."},
	})
}

// danishPages is what people do at MitID.
func danishPages() []Outcome {
	return atProvider("mitid", []outcome{
		{"approve", "", "", "The person logs in with the app."},
		{"approve", "emil", "", "The same, by somebody of 15."},
		{"approve", "beskyttet", "", "The same, by somebody whose name is protected: it is empty."},
		{"cancel", "", "USER_CANCEL", "The person aborts: mitid_user_aborted."},
		{"cancel:page", "", "USER_CANCEL", "The person does not go there, and presses cancel on our page."},
		{"decline", "", "USER_CANCEL", "MitID finds nobody: mitid_identity_not_found. May be tried again; so may any word that is not known."},
		{"expire", "", "EXPIRED_TRANSACTION", "Nobody acts for five minutes: mitid_timeout. A decide moves the clock."},
		{"fail:mitid_cpr_match_failed", "", "INVALID_PERSONALNUMBER", "A wrong CPR number, three times."},
		{"fail:mitid_internal_error", "", "USER_CANCEL", "MitID is out of order. May be tried again."},
		{"fail:invalid_idp_params", "", "INVALID_REQUEST", "The broker refuses our request."},
		{"fail:no_return", "", "EXPIRED_TRANSACTION", "The person ends on an error page of the broker, and never comes back. A decide moves the clock."},
	})
}

// inApp is what people do in the app of itsme, which tells a party no more than
// that somebody was refused.
func inApp() []Outcome {
	return atProvider("itsme", []outcome{
		{"approve", "", "", "The person confirms in the app."},
		{"approve", "jonge", "", "The same, by somebody of 17."},
		{"approve", "sanne", "", "The same with a Dutch passport: no address, no number."},
		{"cancel", "", "USER_CANCEL", "The person rejects in the app."},
		{"cancel:page", "", "USER_CANCEL", "The person does not go there, and presses cancel on our page."},
		{"decline", "", "USER_CANCEL", "itsme refuses the person: access_denied, as for who rejects."},
		{"expire", "", "USER_CANCEL", "Nobody acts in the app for three minutes: access_denied too. A decide moves the clock."},
		{"fail:invalid_scope", "", "INVALID_REQUEST", "itsme does not let the contract ask for that; so is any other word."},
		{"fail:temporary_unavailable", "", "USER_CANCEL", "itsme is out of order, in its own spelling. May be tried again."},
		{"fail:no_return", "", "EXPIRED_TRANSACTION", "The person confirms, and the browser never comes back. A decide moves the clock."},
	})
}
