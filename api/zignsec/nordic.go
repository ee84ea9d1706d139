package zignsec

import (
	"eidgate/api/claims"
	"eidgate/eid"
)

// wantedOfNorway is what Norwegian BankID is asked for, as far as the contract
// covers it: contact data only by Additional_identity_info (§5).
func wantedOfNorway(p params) []string {
	out := []string{eid.WantID, eid.WantNumber, eid.WantName, eid.WantBirth}
	if p.yes("additionalidentityinfo") {
		out = append(out, eid.WantAddress, eid.WantPhone, eid.WantEmail)
	}
	return out
}

// A norwegianNode is what Norwegian BankID says and the identity has no field
// for (§8.3): ours.
type norwegianNode struct {
	Address norwegianAddress `json:"address"`
}

type norwegianAddress struct {
	Street     string `json:"street,omitempty"`
	PostalCode string `json:"postalCode,omitempty"`
	City       string `json:"city,omitempty"`
	Country    string `json:"country,omitempty"` // ISO 3166-1 alpha-2
}

// newNorwegian is nil for a person without an address.
func newNorwegian(who *eid.Identity) *norwegianNode {
	a := who.Address
	if a == nil {
		return nil
	}
	return &norwegianNode{norwegianAddress{Street: claims.Street(a, " "), PostalCode: a.PostalCode, City: a.City, Country: a.Country}}
}

// A mitIDNode is what MitID says beside the identity (§8.3): ours in v2, and
// providerData in v3.
type mitIDNode struct {
	UUID          string `json:"uuid"`
	TransactionID string `json:"transactionId"`
	LOA           string `json:"loa"`
	AAL           string `json:"aal"`
	IAL           string `json:"ial"`
	HasCPR        string `json:"hasCpr"`
	PID           string `json:"pid,omitempty"`
	PIDStatus     string `json:"pidStatus,omitempty"`
	NameSplit     string `json:"nameSplit,omitempty"`
	NameProtected bool   `json:"nameProtected"`
}

func newMitID(who *eid.Identity) *mitIDNode {
	s := who.Signals
	return &mitIDNode{UUID: who.Subject, TransactionID: s["idp_transaction_id"], LOA: s["loa"], AAL: s["aal"], IAL: s["ial"], HasCPR: s["has_cpr"], PID: s["pid"], PIDStatus: s["pid_status"],
		NameSplit: s["name_split"], NameProtected: s["protected"] == "true"}
}

// A norwegianData is providerData of Norwegian BankID in v3.
type norwegianData struct {
	PID           string `json:"pid"`
	TransactionID string `json:"transactionId"`
	Method        string `json:"method"` // BID or BIS
	ACR           string `json:"acr"`
	AMR           string `json:"amr"`
	Originator    string `json:"originator"`
}
