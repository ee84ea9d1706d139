package claims

import (
	"errors"
	"strings"
	"time"

	"eidgate/eid"
	"eidgate/natid"
)

// Person refuses a name with one of these. None says anything about the name.
var (
	errNumber    = errors.New("must be a Swedish personal number in 12 digits")
	errTransient = errors.New("is a name that iDIN gives anew at each login")
	errName      = errors.New("must be 1 to 255 characters, none of them a blank")
)

// Person is how logins call a person whom a party's list calls name: Swedish
// BankID's by the personal number in 12 digits, which the list may write with a
// dash; the others' as they are, iDIN's by the BIN. A number of ten digits is
// refused, since its century would be a guess.
func Person(e eid.EID, name string, now time.Time) (string, error) {
	switch {
	case e == eid.BankIDSE:
		info, err := natid.Parse("SE", name, now)
		if err != nil || info.Normalized != strings.Replace(name, "-", "", 1) {
			return "", errNumber
		}
		return info.Normalized, nil
	case name == "" || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errName
	case e == eid.IDIN && transient(name):
		return "", errTransient
	}
	return name, nil
}

// transient says whether iDIN's name of a person is only of one login.
func transient(name string) bool { return len(name) >= 5 && strings.EqualFold(name[:5], "TRANS") }
