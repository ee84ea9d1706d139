package zignsec

import (
	"encoding/json"
	"slices"
	"strings"

	"eidgate/api/claims"
	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
)

// What is particular to iDIN: what of a person is asked for, which banks are
// shown, and the nodes of a result (§5.5, §8.3).

// attributes are the words of the parameter of that name; those of a session
// that has none are marked.
var attributes = []struct {
	word  string
	usual bool
}{{eid.WantID, true}, {eid.WantName, true}, {eid.WantAddress, false}, {eid.WantBirth, true}, {eid.WantAdult, false},
	{eid.WantGender, true}, {eid.WantPhone, false}, {eid.WantEmail, false}}

// wanted is what the eID is to be asked for: of an age check the one answer,
// else what the party names, and always a lasting name for the person. None is
// all that the contract covers.
func wanted(p params, ms []method, by workflow) ([]string, error) {
	switch {
	case ms[0].eid == eid.IDINAge:
		return []string{eid.WantAdult}, nil
	case ms[0].eid == eid.BankIDNO && by != third:
		return wantedOfNorway(p), nil
	case !slices.ContainsFunc(ms, func(m method) bool { return m.eid == eid.IDIN }):
		return nil, nil
	}
	words, ok := list(p["attributes"])
	if !ok {
		return nil, bad("INVALID_REQUEST", `attributes is an array of something else than texts. Send it as ["name","birth"], or as name,birth.`)
	}
	asked := map[string]bool{}
	for _, word := range words {
		asked[strings.ToLower(word)] = true
	}
	open := len(asked) == 0
	var out, known []string
	for _, a := range attributes {
		known = append(known, a.word)
		if asked[a.word] || open && a.usual || a.word == eid.WantID {
			out = append(out, a.word)
		}
		delete(asked, a.word)
	}
	switch {
	case len(asked) > 0:
		return nil, bad("INVALID_REQUEST", "attributes has a word that is not known. Known: "+strings.Join(known, ", ")+".")
	case slices.Contains(out, eid.WantBirth) && slices.Contains(out, eid.WantAdult):
		return nil, bad("INVALID_REQUEST", "attributes has birth and adult, which exclude each other at iDIN. Send one of them.")
	}
	return out, nil
}

// maxBanks is how many a request may name: more than there are.
const maxBanks = 50

// banks reads which banks the person is to choose from; nil leaves the choice
// open. One that has the form and does not exist counts for nothing later.
func banks(p params) (map[string]string, error) {
	ids, ok := list(p["idinidp"])
	for i, id := range ids {
		ids[i] = strings.ToUpper(id)
	}
	if !ok || len(ids) > maxBanks || slices.ContainsFunc(ids, func(id string) bool { return !claims.BIC(id) }) {
		return nil, bad("INVALID_REQUEST", "idin_idp must be the BIC of a bank, such as RABONL2U, or up to 50 with commas between.")
	}
	if len(ids) == 0 {
		return nil, nil //nolint:nilnil // nothing to keep is not an error
	}
	return map[string]string{"idin_idp": strings.Join(ids, ",")}, nil
}

// list takes words apart that have commas or blanks between, or are texts in an
// array of JSON (§2.2); not ok is any other array.
func list(text string) (words []string, ok bool) {
	var texts []*string
	if !strings.HasPrefix(text, "[") {
		texts = append(texts, &text)
	} else if json.Unmarshal([]byte(text), &texts) != nil {
		return nil, false
	}
	for _, t := range texts {
		if t == nil {
			return nil, false
		}
		words = append(words, strings.FieldsFunc(*t, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	return words, true
}

// An ageIdentity is the identity of an age check: it says who answered, and
// what, and nothing of the person (§8.2).
type ageIdentity struct {
	CountryCode         string `json:"CountryCode"`
	IDProviderName      string `json:"IdProviderName"`
	IdentificationDate  string `json:"IdentificationDate"`
	IDProviderRequestID int64  `json:"IdProviderRequestId,omitempty"`
	AgeApproved         bool   `json:"AgeApproved"`
}

// ageChecked is the provider's node of an age check (§8.4).
type ageChecked struct {
	ID     int64  `json:"AgeCheckId"`
	Status int    `json:"Status"`
	Text   string `json:"StatusText"`
}

// The statuses of a check that has no outcome.
const (
	ageAborted = 3
	ageError   = 4
)

var ageTexts = map[int]string{ageAborted: "Aborted", ageError: "Error", 5: "Declined", 6: "Approved", 7: "Approved", 8: "DeclinedIPCountryNotDetected",
	9: "DeclinedIPCountryDisabled", 10: "DeclinedIPProxy", 12: "AVNotRequired", 17: "NotApproved"}

func newAgeChecked(id int64, status int) *ageChecked {
	if id == 0 {
		return nil // no check was begun
	}
	return &ageChecked{id, status, ageTexts[status]}
}

// fillAge is the result of an age check. Unknown is not approved.
func fillAge(who *eid.Identity, at string) (*ageIdentity, *ageChecked) {
	check := eid.AgeCheck{}
	if who.Check != nil {
		check = *who.Check
	}
	return &ageIdentity{CountryCode: who.Country, IDProviderName: providers[who.EID], IdentificationDate: at, IDProviderRequestID: check.ID,
		AgeApproved: who.Approved != nil && *who.Approved}, newAgeChecked(check.ID, check.Status)
}

// failedAge is the node of a check that came to nothing. The last one of a
// session counts, where the person has tried again.
func failedAge(s *broker.Session, refs []connector.Ref) *ageChecked {
	status := ageError
	if failure(s).Code == "USER_CANCEL" {
		status = ageAborted
	}
	for _, r := range slices.Backward(refs) {
		if id := eid.CheckID(string(r)); id != 0 {
			return newAgeChecked(id, status)
		}
	}
	return nil
}

// idinNode is what iDIN has delivered, in its own terms: our extension (§8.3).
// What was not delivered is absent.
type idinNode struct {
	Issuer              string       `json:"issuer,omitempty"` // BIC
	Initials            string       `json:"initials,omitempty"`
	LegalLastName       string       `json:"legalLastName,omitempty"`
	LegalPrefix         string       `json:"legalLastNamePrefix,omitempty"`
	PreferredLastName   string       `json:"preferredLastName,omitempty"`
	PreferredPrefix     string       `json:"preferredLastNamePrefix,omitempty"`
	PartnerLastName     string       `json:"partnerLastName,omitempty"`
	PartnerPrefix       string       `json:"partnerLastNamePrefix,omitempty"`
	DateOfBirth         string       `json:"dateOfBirth,omitempty"` // YYYYMMDD, parts may be 00
	EighteenOrOlder     *bool        `json:"eighteenOrOlder,omitempty"`
	Gender              string       `json:"gender,omitempty"` // 0, 1, 2 or 9
	Address             *idinAddress `json:"address,omitempty"`
	DeprecatedBIN       string       `json:"deprecatedBin,omitempty"`
	Level               string       `json:"levelOfAssurance,omitempty"`
	IncompleteAttribute bool         `json:"incomplete"`
}

type idinAddress struct {
	Street       string   `json:"street,omitempty"`
	HouseNumber  string   `json:"houseNumber,omitempty"`
	HouseSuffix  string   `json:"houseNumberSuffix,omitempty"`
	AddressExtra string   `json:"addressExtra,omitempty"`
	PostalCode   string   `json:"postalCode,omitempty"`
	City         string   `json:"city,omitempty"`
	Country      string   `json:"country,omitempty"`
	Lines        []string `json:"internationalAddressLines,omitempty"`
}

func newIDIN(who *eid.Identity) *idinNode {
	n := &idinNode{Issuer: who.Issuer, Initials: who.Initials, LegalLastName: who.Legal.Name, LegalPrefix: who.Legal.Prefix,
		PreferredLastName: who.Preferred.Name, PreferredPrefix: who.Preferred.Prefix, PartnerLastName: who.Partner.Name,
		PartnerPrefix: who.Partner.Prefix, DateOfBirth: who.BirthText, EighteenOrOlder: who.Approved, Gender: who.Sex,
		DeprecatedBIN: who.Former, Level: who.Level, IncompleteAttribute: who.Partial}
	if a := who.Address; a != nil {
		n.Address = &idinAddress{Street: a.Street, HouseNumber: a.Number, HouseSuffix: a.Suffix, AddressExtra: a.Extra,
			PostalCode: a.PostalCode, City: a.City, Country: a.Country, Lines: a.Lines}
	}
	return n
}
