// Package eid is the vocabulary that every other package shares: which eIDs
// there are, what they say about a person, what proves it, and how an attempt
// can end. It holds no behaviour beyond keeping personal data out of logs.
package eid

import (
	"log/slog"
	"strings"
	"time"
)

// An EID is an electronic identity as a relying party names it, or a stage
// that enriches somebody else's identity ("spar", "pidcpr").
type EID string

const (
	BankIDSE EID = "bankidse"
	IDIN     EID = "idin"
	IDINAge  EID = "idinage"
	Itsme    EID = "itsme"
	BankIDNO EID = "bankidno"
	MitID    EID = "mitid"
	NemID    EID = "nemid"
)

// Name is what people read, spelled as its owner spells it.
func (e EID) Name() string {
	if n, ok := names[e]; ok {
		return n
	}
	return string(e)
}

var names = map[EID]string{
	BankIDSE: "BankID", IDIN: "iDIN", IDINAge: "iDIN", Itsme: "itsme",
	BankIDNO: "BankID", MitID: "MitID", NemID: "NemID",
}

// An Environment is a property of every key, client and session; nothing
// crosses from one to the other.
type Environment string

const (
	Test Environment = "test"
	Live Environment = "live"
)

// A Purpose is what a session is for.
type Purpose string

const (
	Identify Purpose = "identify"
	Age      Purpose = "age"
	Sign     Purpose = "sign"
)

// A Binding says how surely the browser that saw the end is the one that
// began: Strong by cookie, Weak by a one-time token in the address, None when
// no page of ours stood in between.
type Binding string

const (
	Strong Binding = "strong"
	Weak   Binding = "weak"
	None   Binding = "none"
)

// A Number is a national identity number, normalised as natid prints it. Logs
// and error texts show it masked; string(n) is the number itself.
type Number string

func (n Number) String() string       { return strings.Repeat("•", min(len(n), 4)) }
func (n Number) LogValue() slog.Value { return slog.StringValue(n.String()) }

// A Text is what a person is asked to read or sign. Logs show its length.
type Text []byte

func (t Text) LogValue() slog.Value { return slog.IntValue(len(t)) }

// An Identity is what an eID said about one person. Zero fields were not
// given; nothing is derived that the eID did not say, except where a comment
// says so.
type Identity struct {
	EID      EID       `json:"eid"`
	At       time.Time `json:"at"`                // when the eID confirmed
	Request  string    `json:"request,omitempty"` // the upstream's name for the transaction
	Issuer   string    `json:"issuer,omitempty"`  // which of the eID's issuers vouched: a bank's BIC
	Subject  string    `json:"subject"`           // the upstream's persistent name for the person; input of `sub`, never shown as is
	Country  string    `json:"country,omitempty"` // ISO 3166-1 alpha-2
	Number   Number    `json:"number,omitempty"`  // verified by the eID or a match service
	Name     string    `json:"name,omitempty"`    // full name as registered
	Given    string    `json:"given,omitempty"`
	Family   string    `json:"family,omitempty"`
	Birth    string    `json:"birth,omitempty"`  // YYYY-MM-DD; derived from Number where the eID gives none
	Gender   string    `json:"gender,omitempty"` // "male", "female" or ""
	Age      *int      `json:"age,omitempty"`    // whole years at At; nil when unknown: unknown never passes an age check
	Approved *bool     `json:"approved,omitempty"`
	Kind     string    `json:"kind,omitempty"`  // BankID SE: mobile, card or file
	Level    string    `json:"level,omitempty"` // assurance as the upstream states it
	Address  *Address  `json:"address,omitempty"`
	Phone    string    `json:"phone,omitempty"`
	Email    string    `json:"email,omitempty"`
	// Signals are facts that say nothing certain about the person: risk,
	// device address compared with the browser's, issue date of the eID.
	Signals map[string]string `json:"signals,omitempty"`

	// What iDIN says of a name. It has no first names, so Given stays empty.
	Initials  string   `json:"initials,omitempty"`
	Legal     LastName `json:"legal,omitzero"`
	Preferred LastName `json:"preferred,omitzero"`
	Partner   LastName `json:"partner,omitzero"`
	// Sex is iDIN's gender as delivered: 0 unknown, 1 male, 2 female, 9 not specified.
	Sex string `json:"sex,omitempty"`
	// BirthText is the birth date as the eID wrote it, where parts of it may be
	// unknown ("19500000"); Birth is then empty.
	BirthText string `json:"birthText,omitempty"`
	// Former is the Subject that the same person had before the eID renumbered.
	Former string `json:"former,omitempty"`
	// Partial means that the eID could not give everything that was asked.
	Partial bool `json:"partial,omitempty"`
	// Check is the outcome of an age check in the numbers of AgeChecked.
	Check *AgeCheck `json:"check,omitempty"`
}

// A LastName is a surname and what stands before it: "van der", "Berg".
type LastName struct {
	Prefix string `json:"prefix,omitempty"`
	Name   string `json:"name,omitempty"`
}

// Full joins both by one space.
func (n LastName) Full() string { return strings.TrimSpace(n.Prefix + " " + n.Name) }

// An Address is a postal address in the parts that the eID gave. Lines are
// those of an address that has no parts.
type Address struct {
	Street     string   `json:"street,omitempty"` // without number
	Number     string   `json:"number,omitempty"`
	Suffix     string   `json:"suffix,omitempty"` // of the number: "A"
	Extra      string   `json:"extra,omitempty"`
	PostalCode string   `json:"postalCode,omitempty"`
	City       string   `json:"city,omitempty"`
	Country    string   `json:"country,omitempty"` // ISO 3166-1 alpha-2
	Lines      []string `json:"lines,omitempty"`
}

// An AgeCheck is one check with its number and its outcome. Status is one of
// the numbers that AgeChecked publishes: 3 aborted, 4 error, 5 declined, 6 and
// 7 approved, 8, 9 and 10 declined for the network, 12 not required, 17 not
// old enough.
type AgeCheck struct {
	ID     int64 `json:"id"`
	Status int   `json:"status"`
}

// LogValue shows which eID vouched, never for whom.
func (id Identity) LogValue() slog.Value {
	return slog.GroupValue(slog.String("eid", string(id.EID)), slog.Time("at", id.At))
}

func (id Identity) String() string { return "identity by " + string(id.EID) }

// Evidence proves an identity: a signature, an assertion, an OCSP answer, or
// the request that they answer.
type Evidence struct {
	Name string `json:"name"` // "bankidse.signature"
	Type string `json:"type"` // media type
	Data []byte `json:"data"`
}

// LogValue shows what there is, not what it says.
func (e Evidence) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", e.Name), slog.Int("bytes", len(e.Data)))
}

func (e Evidence) String() string { return "evidence " + e.Name }
