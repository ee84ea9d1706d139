package claims

import (
	"slices"

	"eidgate/eid"
)

// A scope is what a party asks for in one word.
type scope struct {
	name     string
	standard bool     // OpenID Connect Core has it
	want     []string // what it needs of an eID that releases only what is asked
	use      Use
}

// Proofs says whether one of the scopes tells something of the evidence.
func Proofs(names []string) bool {
	return slices.Contains(names, bankIDExtra) || slices.Contains(names, bankIDEvidence)
}

// Releasing is the scopes, of those that are allowed, which release claims that
// are asked for by name: for each the one that is made for it, which is the last
// in the table.
func Releasing(names, allowed []string) []string {
	var out []string
	for _, name := range names {
		for _, r := range slices.Backward(table) {
			if r.claim != name || !slices.Contains(allowed, r.scope) {
				continue
			}
			if !slices.Contains(out, r.scope) {
				out = append(out, r.scope)
			}
			break
		}
	}
	return out
}

// A Use is what a login is for, which its scopes tell (§2.2).
type Use int

const (
	Login          Use = iota // the same person as last time?
	AgeCheck                  // 18 or older, and nothing else
	Identification            // who is it?
)

// scopes is the list of those that are served, in the order in which they are
// published.
var scopes = []scope{
	{"openid", true, nil, Login},
	{"profile", true, []string{eid.WantName}, Identification},
	{"email", true, []string{eid.WantEmail}, Identification},
	{"address", true, []string{eid.WantAddress}, Identification},
	{"phone", true, []string{eid.WantPhone}, Identification},
	{"gender", false, []string{eid.WantGender}, Identification},
	{dateOfBirth, false, []string{eid.WantBirth}, Identification},
	{"age", false, []string{eid.WantBirth}, Identification},
	{adult, false, []string{eid.WantAdult}, AgeCheck},
	{"age-verification", false, []string{eid.WantBirth}, Identification},
	{"nin", false, []string{eid.WantNumber}, Identification},
	{"idin-name", false, []string{eid.WantName}, Identification},
	{"idp-id", false, []string{eid.WantID}, Login},
	{"mitid-extra", false, nil, Identification},
	{"name", false, []string{eid.WantName}, Identification},
	{"itsme-eid", false, []string{eid.WantNumber, eid.WantDocument}, Identification},
	{"itsme-device", false, []string{eid.WantDevice}, Identification},
	{"nbid-extra", false, nil, Identification},
	{bankIDExtra, false, nil, Identification},
	{bankIDEvidence, false, nil, Identification},
	{"offline_access", true, nil, Login},
}

const (
	dateOfBirth    = "date-of-birth"
	adult          = "eighteen-or-older"
	bankIDExtra    = "sbid-extra"
	bankIDEvidence = "sbid-evidence"
)

// Scopes is what is served, in the order in which it is published. It is not to
// be changed.
func Scopes() []string { return served }

var served, byName = func() ([]string, map[string]*scope) {
	names, byName := make([]string, len(scopes)), map[string]*scope{}
	for i := range scopes {
		s := &scopes[i]
		names[i], byName[s.name] = s.name, s
	}
	return names, byName
}()

// known finds a scope; the zero value if it is not served.
func known(name string) *scope {
	if s := byName[name]; s != nil {
		return s
	}
	return &scope{}
}

// UseOf is what a login with these scopes is for.
func UseOf(names []string) Use {
	use := Login
	for _, n := range names {
		use = max(use, known(n).use)
	}
	return use
}

// Purpose is that of the session.
func (u Use) Purpose() eid.Purpose {
	if u == AgeCheck {
		return eid.Age
	}
	return eid.Identify
}

// Exclusive says whether scopes ask both for the date of birth and for whether
// the person is 18, which the eID refuses to tell at once (§2.2).
func Exclusive(names []string) bool {
	return slices.Contains(names, dateOfBirth) && slices.Contains(names, adult)
}

var wants = []string{eid.WantID, eid.WantNumber, eid.WantName, eid.WantAddress, eid.WantBirth, eid.WantAdult, eid.WantGender, eid.WantPhone, eid.WantEmail, eid.WantDocument, eid.WantDevice}

// Wanted is what must be asked of an eID that releases only what is asked:
// values of eid.Want…, in their order (§2.2). An age check does not ask who the
// person is, unless a scope does.
func Wanted(names []string, use Use) []string {
	asked := make([]string, 0, len(wants))
	if use != AgeCheck {
		asked = append(asked, eid.WantID)
	}
	for _, n := range names {
		asked = append(asked, known(n).want...)
	}
	birth := slices.Contains(asked, eid.WantBirth) // tells who is 18 by the way
	var out []string
	for _, w := range wants {
		if slices.Contains(asked, w) && (w != eid.WantAdult || !birth) {
			out = append(out, w)
		}
	}
	return out
}
