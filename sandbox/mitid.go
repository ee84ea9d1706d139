package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// MitID is what MitID, and the registers behind its broker, know of a person.
type MitID struct {
	UUID      string `json:"uuid"`
	User      string `json:"user"`          // name at MitID
	Birth     string `json:"date_of_birth"` // 1985-03-29
	CPR       string `json:"cpr,omitempty"` // ten digits; "" for a person without
	PID       string `json:"pid,omitempty"` // of NemID; "" where the register finds none
	Protected bool   `json:"name_protected,omitempty"`
	Status    string `json:"person_status,omitempty"` // of the register: active, emigrated …
	// Authenticators are what the person has: app, code_display, chip, password.
	Authenticators []string `json:"authenticators,omitempty"`
}

var (
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	cprForm  = regexp.MustCompile(`^([0-9]{10})?$`)
	npidForm = regexp.MustCompile(`^(9208-2002-2-[0-9]{12})?$`)
)

// Check says what is wrong with an account.
func (p *MitID) Check() error {
	if p == nil {
		return nil
	}
	if _, err := time.Parse(time.DateOnly, p.Birth); err != nil {
		return errors.New("mitid: date_of_birth is written 1985-03-29")
	}
	switch {
	case !uuidForm.MatchString(p.UUID) || p.User == "":
		return errors.New("mitid: uuid (small letters) and user are required")
	case !cprForm.MatchString(p.CPR):
		return errors.New("mitid: cpr has ten digits, without a hyphen")
	case !npidForm.MatchString(p.PID):
		return errors.New("mitid: pid is written 9208-2002-2- and 12 digits")
	case slices.ContainsFunc(p.Authenticators, func(a string) bool {
		return !slices.Contains([]string{"app", "code_display", "chip", "password"}, a)
	}):
		return errors.New("mitid: authenticators are app, code_display, chip and password")
	}
	return nil
}

// Age is in full years on a day.
func (p *MitID) Age(today time.Time) string {
	born, err := time.Parse(time.DateOnly, p.Birth)
	if err != nil { // Check has looked
		return ""
	}
	today = today.UTC()
	n := today.Year() - born.Year()
	if today.Month() < born.Month() || today.Month() == born.Month() && today.Day() < born.Day() {
		n--
	}
	return strconv.Itoa(n)
}

func danish(n int, m MitID) *MitID {
	m.UUID = fmt.Sprintf("0b8e6f52-2222-4b22-9b22-%012x", n)
	if m.Status == "" {
		m.Status = "active"
	}
	if m.Authenticators == nil {
		m.Authenticators = []string{"app", "code_display", "chip", "password"}
	}
	return &m
}

// withMitID are people with a MitID. Days of their CPR numbers are raised by
// 60, which no register does.
var withMitID = []Person{
	{Key: "hanne", Country: "DK", Given: "Hanne", Family: "Hansen", MitID: danish(0xb2, MitID{User: "hanne85", Birth: "1985-03-29", CPR: "8903859996", PID: "9208-2002-2-000000000017"}),
		About: "the usual person of MitID: CPR number and PID, every authenticator"},
	{Key: "udencpr", Country: "DK", Given: "Uffe", Family: "Uden", MitID: danish(0xb3, MitID{User: "uffe79", Birth: "1979-05-14"}), About: "has a MitID and no CPR number: asking for one fails"},
	{Key: "beskyttet", Country: "DK", Given: "Bente", Family: "Beskyttet", MitID: danish(0xb4, MitID{User: "bente90", Birth: "1990-10-02", CPR: "6210909992", PID: "9208-2002-2-000000000025", Protected: true}),
		About: "name and address are protected: the name is a notice"},
	{Key: "sofie", Country: "DK", Given: "Sofie", Family: "Atten", MitID: danish(0xb5, MitID{User: "sofie08", Birth: "2008-03-01", CPR: "6103089998", PID: "9208-2002-2-000000000033"}), About: "turned 18 in March 2026"},
	{Key: "emil", Country: "DK", Given: "Emil", Family: "Yngre", MitID: danish(0xb6, MitID{User: "emil11", Birth: "2011-08-20", CPR: "8008119997", PID: "9208-2002-2-000000000041"}), About: "15 years old in 2026"},
	{Key: "nypid", Country: "DK", Given: "Nanna", Family: "Ny", MitID: danish(0xb7, MitID{User: "nanna01", Birth: "2001-01-15", CPR: "7501019996"}), About: "never had a NemID: no PID is found"},
	{Key: "emigreret", Country: "DK", Given: "Erik", Family: "Emigreret", MitID: danish(0xb8, MitID{User: "erik66", Birth: "1966-12-24", CPR: "8412669995", PID: "9208-2002-2-000000000066", Status: "emigrated"}),
		About: "has left the country: no address in the register"},
	{Key: "adgangskode", Country: "DK", Given: "Palle", Family: "Password", MitID: danish(0xb9, MitID{User: "palle70", Birth: "1970-07-07", CPR: "6707709991", PID: "9208-2002-2-000000000074", Authenticators: []string{"password", "code_display"}}),
		About: "has neither app nor chip: never level high"},
	{Key: "afbryder", Country: "DK", Given: "Anders", Family: "Afbryder", Behaviour: "cancels", MitID: danish(0xba, MitID{User: "anders82", Birth: "1982-02-02", CPR: "6202829991", PID: "9208-2002-2-000000000082"}), About: "always aborts"},
	{Key: "forkert", Country: "DK", Given: "Freja", Family: "Forkert", Behaviour: "fails:mitid_cpr_match_failed", MitID: danish(0xbb, MitID{User: "freja93", Birth: "1993-09-09", CPR: "6909939994", PID: "9208-2002-2-000000000090"}),
		About: "types a wrong CPR number three times"},
	{Key: "stille", Country: "DK", Given: "Stine", Family: "Stille", Behaviour: "ignores", MitID: danish(0xbc, MitID{User: "stine88", Birth: "1988-08-18", CPR: "7808889998", PID: "9208-2002-2-000000000108"}), About: "never answers: MitID's time runs out"},
}
