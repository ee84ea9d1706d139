package idin

import "eidgate/sandbox"

// fidelity says of each message and ability how near it is.
var fidelity = []sandbox.Fidelity{
	{What: "DirectoryReq, AcquirerTrxReq, AcquirerStatusReq and their answers", State: sandbox.Exact},
	{What: "XML signatures of messages and assertions, roll-over of the routing service's key", State: sandbox.Exact},
	{What: "encryption of NameID and attributes", State: sandbox.Exact},
	{What: "markers in the entranceCode", State: sandbox.Exact},
	{What: "hash and fields of iDIN QR codes", State: sandbox.Exact},
	{What: "order of the checks, codes of the refusals", State: sandbox.Differs, Because: "the scheme's list is not public: codes of its family, in an order of ours"},
	{What: "texts for consumers", State: sandbox.Differs, Because: "the official ones are not public"},
	{What: "data once and for 30 s, then success without data", State: sandbox.Differs, Because: "seen at a gateway only; a switch tells them again"},
	{What: "expirationPeriod that is missing", State: sandbox.Differs, Because: "5 minutes, by a switch"},
	{What: "XML that is accepted", State: sandbox.Differs, Because: "comments, CDATA and processing instructions are refused"},
	{What: "age of a request's time stamp", State: sandbox.Differs, Because: "not looked at, since the tolerance is not public"},
	{What: "BIN", State: sandbox.Differs, Because: "computed, and the same after a restart; keys are new"},
	{What: "18 or older", State: sandbox.Differs, Because: "by the day in UTC"},
	{What: "Pending", State: sandbox.Differs, Because: "by a marker or fail:pending only; nobody else has to agree"},
	{What: "place of a signed document's id", State: sandbox.Differs, Because: "an encrypted attribute, which no source settles"},
	{What: "banks", State: sandbox.Differs, Because: "fictitious pages, where one chooses who one is"},
	{What: "Transaction API of iDIN QR", State: sandbox.Differs, Because: "the names in its request are not public"},
	{What: "bank's app, status interface of iDIN QR, BSN", State: sandbox.NotSimulated, Because: "no public source describes them"},
}

// Fidelity says how near the simulator is.
func Fidelity() []sandbox.Fidelity {
	out := make([]sandbox.Fidelity, len(fidelity))
	for i, f := range fidelity {
		f.Upstream = "idin"
		out[i] = f
	}
	return out
}
