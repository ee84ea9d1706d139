package claims

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	"eidgate/eid"
)

// A scheme is what parties call an eID, and what is fixed about it (§2.5).
type scheme struct {
	eid    eid.EID
	code   string  // of idp and acr_values
	issuer string  // idp_issuer; "" where it is not known what Signicat says
	nin    string  // nin_type of its numbers
	acr    string  // of an identity that states no level; "" for none
	levels []level // what stated levels come to
}

// A level is how the upstream's words for one end, in small letters.
type level struct{ end, acr string }

// The levels of eIDAS, as acr has them.
const (
	low         = "low"
	substantial = "substantial"
	high        = "high"
)

var (
	idinLevels  = []level{{":loa2", low}, {":loa3", substantial}, {":loa4", high}}
	nbidLevels  = []level{{":bid", high}, {":bim", high}, {":bis", substantial}, {"loa=3", substantial}, {"loa=4", high}}
	mitidLevels = []level{{low, low}, {substantial, substantial}, {high, high}}
)

var schemes = []scheme{
	{eid: eid.BankIDSE, code: "sbid", nin: "PERSON", acr: substantial},
	{eid: eid.IDIN, code: "idin", issuer: "idin", acr: substantial, levels: idinLevels},
	{eid: eid.IDINAge, code: "idin", issuer: "idin", levels: idinLevels}, // AgeChecked states no level
	{eid: eid.Itsme, code: "itsme", nin: "PERSON", acr: high},
	{eid: eid.BankIDNO, code: "nbid", nin: "BIRTH", acr: high, levels: nbidLevels},
	{eid: eid.MitID, code: "mitid", issuer: "MitID", nin: "PERSON", levels: mitidLevels},
	{eid: eid.NemID, code: "nemid", nin: "PERSON"},
}

func schemeOf(e eid.EID) scheme {
	i := slices.IndexFunc(schemes, func(s scheme) bool { return s.eid == e })
	if i < 0 {
		return scheme{}
	}
	return schemes[i]
}

// IDP is the code of an eID; "" for one that has none. iDIN and the age check
// over it are one to relying parties.
func IDP(e eid.EID) string { return schemeOf(e).code }

// EID is the eID of a code; that of "idin" is eid.IDIN.
func EID(code string) (eid.EID, bool) {
	i := slices.IndexFunc(schemes, func(s scheme) bool { return s.code == code })
	if i < 0 {
		return "", false
	}
	return schemes[i].eid, true
}

// Issuer is who vouched for a person, in the words of idp_issuer; "" where
// nothing is known to stand there.
func Issuer(id *eid.Identity) string { return schemeOf(id.EID).issuer }

// ACR is the assurance of an identity: low, substantial or high; "" for a level
// that is not known, which is not raised to one that is (§2.5).
func ACR(id *eid.Identity) string {
	s := schemeOf(id.EID)
	if id.Level == "" {
		return s.acr
	}
	for _, l := range s.levels {
		if strings.HasSuffix(strings.ToLower(id.Level), l.end) {
			return l.acr
		}
	}
	return ""
}

// AMR is the one element of amr: whatever happened, it happened elsewhere.
const AMR = "external"

// Imported finds the subject that a person had with the party's former
// provider, which wins over ours; idpID is what the eID calls the person.
type Imported func(account, idp, idpID string) (sub string, ok bool)

// Subject is the lasting name of a person towards all programs of an account:
// 44 characters that differ between accounts and between eIDs (§2.5). It is ""
// when the eID has named nobody, and then there must be no login. A nil
// Imported finds nothing.
func Subject(key []byte, account, idp string, id *eid.Identity, imported Imported) string {
	person := raw(id)
	if person == "" {
		return ""
	}
	if imported != nil {
		if sub, ok := imported(account, idp, person); ok {
			return sub
		}
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte("v1|" + account + "|" + idp + "|" + person))
	return base64.URLEncoding.EncodeToString(h.Sum(nil))
}
