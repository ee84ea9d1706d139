package bankidse

import (
	"eidgate/connector"
	"eidgate/eid"
)

// pending maps hint codes of an open order to the key of its text; letter
// variants depend on the device (docs/protocols/bankidse.md §6.1, §19).
var pending = map[string]string{
	"outstandingTransaction": "bankidse.rfa1",
	"noClient":               "bankidse.rfa1",
	"started":                "bankidse.rfa15",
	"userMrtd":               "bankidse.rfa23",
	"userCallConfirm":        "bankidse.x1",
	"userSign":               "bankidse.rfa9",
	"processing":             "bankidse.rfa21",
	"userStepUp":             "bankidse.rfa25",
	"userFace":               "bankidse.rfa24",
}

// message is the key of the sentence that a waiting page shows.
func message(s *state) string {
	key, ok := pending[s.Hint]
	switch {
	case s.Rests:
		return "bankidse.rfa17b"
	case !ok && s.Hint != "":
		return "bankidse.rfa21"
	case key == "bankidse.rfa15":
		if s.System == string(connector.Desktop) || s.System == "" {
			return "bankidse.rfa15a"
		}
		return "bankidse.rfa15b"
	case s.Device == onSame && (s.Hint == "" || key == "bankidse.rfa1"):
		return "bankidse.rfa13"
	case s.Hint == "":
		return "bankidse.rfa1"
	}
	return key
}

// unpicked says that no app has the order yet.
func unpicked(hint string) bool {
	return hint == "" || hint == "outstandingTransaction" || hint == "noClient"
}

// failed maps hint codes of an ended order to how the attempt ends. A cancel
// is final; where the person did nothing wrong and a new order may well
// succeed, it may be tried again (§6.2).
var failed = map[string]connector.Fail{
	"expiredTransaction":      {Reason: eid.Expired},
	"certificateErr":          {Reason: eid.Unusable},
	"userCancel":              {Reason: eid.Cancelled},
	"cancelled":               {Reason: eid.Superseded, Retry: true},
	"startFailed":             {Reason: eid.NotStarted, Retry: true},
	"userDeclinedCall":        {Reason: eid.CallDeclined},
	"notSupportedByUserApp":   {Reason: eid.AppTooOld},
	"transactionRiskBlocked":  {Reason: eid.RiskBlocked},
	"mrtdVerificationFailed":  {Reason: eid.DocumentFailed},
	"facialRecognitionFailed": {Reason: eid.DocumentFailed},
	"nfcNotSupportedByDevice": {Reason: eid.DocumentFailed},
	"multipleBankIdsOnDevice": {Reason: eid.Unusable},
	"stepUpFailed":            {Reason: eid.DocumentFailed},
}

// end is how a hint code ends the attempt. Codes that are new to us end it as
// declined, under their own name.
func end(hint string, headless bool) connector.Fail {
	f, ok := failed[hint]
	if !ok {
		f = connector.Fail{Reason: eid.Declined}
	}
	f.Code = word(hint)
	f.Retry = f.Retry && !headless // there is no page to try again on
	return f
}

// refused maps error codes of the API to how the attempt ends (§7).
var refused = map[string]connector.Fail{
	"alreadyinprogress":    {Reason: eid.InProgress, Retry: true},
	"invalidparameters":    {Reason: eid.BadRequest},
	"unauthorized":         {Reason: eid.Refused},
	"notfound":             {Reason: eid.Refused},
	"methodnotallowed":     {Reason: eid.Refused},
	"unsupportedmediatype": {Reason: eid.Refused},
	"requesttimeout":       {Reason: eid.Unavailable, Retry: true},
	"toomanyrequests":      {Reason: eid.Unavailable, Retry: true},
	"internalerror":        {Reason: eid.Unavailable, Retry: true},
	"maintenance":          {Reason: eid.Unavailable, Retry: true},
	"canceled":             {Reason: eid.Superseded, Retry: true},
}
