package itsme

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"eidgate/sandbox"
)

// ns begins the names of the second generation that are not OpenID's (§5).
const ns = "http://itsme.services/v2/claim/"

// about are the claims that say whose word a token is.
func (s *Simulator) about(l *login, p *sandbox.Person, fault string) members {
	now := s.Clock.Now()
	iss, aud, sub := s.issuer(l.gen), l.client.id, s.subject(l.client, p)
	switch fault {
	case otherIssuer:
		iss = "https://idp.example/v2"
	case otherAudience:
		aud = "somebody"
	case over:
		now = now.Add(-time.Hour)
	}
	return members{{"sub", sub}, {"aud", aud}, {"iss", iss}, {"exp", now.Add(lifetime).Unix()}, {"iat", now.Unix()}}
}

func (s *Simulator) idToken(l *login, p *sandbox.Person, fault string) members {
	out := s.about(l, p, fault)
	if nonce := l.nonce; nonce != "" {
		if fault == otherNonce {
			nonce = "another"
		}
		out = append(out, member{"nonce", nonce})
	}
	if l.gen.number == 1 {
		out = append(out, member{"auth_time", l.ended.Unix()})
	}
	if l.level != "" || l.gen.number == 1 {
		level := l.level
		if level == "" {
			level = l.gen.ns + "acr_basic"
		}
		out = append(out, member{"acr", level})
	}
	if l.gen.number == 2 {
		out = append(out, s.person(l, p, "id_token")...)
	}
	return out
}

func (s *Simulator) info(l *login, p *sandbox.Person, fault string) members {
	out := s.about(l, p, fault)
	if fault == otherSubject {
		out[0].value = strings.Repeat("0", 36)
	}
	return append(out, s.person(l, p, "userinfo")...)
}

// person is what is told of somebody: by scopes, in UserInfo, and what was
// asked for by name in that part; "" for all of it. What the account does not
// have is left out.
func (s *Simulator) person(l *login, p *sandbox.Person, part string) (out members) {
	known := s.known(l, p)
	asked := func(m member) bool {
		if part != "id_token" && slices.ContainsFunc(l.scopes, func(scope string) bool { return slices.Contains(l.byScope(scope), m.name) }) {
			return true
		}
		if part == "" {
			return slices.Contains(l.wants["id_token"], m.name) || slices.Contains(l.wants["userinfo"], m.name)
		}
		return slices.ContainsFunc(l.wants[part], func(want string) bool { return want == m.name || l.gen.number == 1 && sameTag(want, m.name) })
	}
	for _, m := range known {
		if m.value != "" && m.value != nil && asked(m) {
			out = append(out, l.spelled(m, part))
		}
	}
	return out
}

// sameTag compares names of the first generation, which are published in
// several spellings (§5).
func sameTag(a, b string) bool {
	tag := func(s string) string {
		for _, prefix := range []string{"tag:sixdots.be,2016-06:", "tag:sixdots.be,2017-05:", "tag:itsmetag:sixdots.be,2016-06:"} {
			if last, ok := strings.CutPrefix(s, prefix); ok {
				return last
			}
		}
		return s
	}
	return tag(a) == tag(b)
}

// spelled answers under the name that was asked for.
func (l *login) spelled(m member, part string) member {
	for _, want := range l.wants[part] {
		if l.gen.number == 1 && sameTag(want, m.name) {
			m.name = want
		}
	}
	return m
}

// byScope are the claims that a scope releases (§3).
func (l *login) byScope(scope string) []string {
	switch scope {
	case "profile":
		return []string{"name", "given_name", "family_name", "gender", "locale", "birthdate"}
	case "email":
		return []string{"email", "email_verified"}
	case "phone":
		return []string{"phone_number", "phone_number_verified"}
	case "address":
		return []string{"address"}
	case "eid":
		if l.gen.number == 2 {
			return []string{ns + "BENationalNumber", ns + "BEeidSn"}
		}
	case "idDocument":
		if l.gen.number == 2 {
			return []string{ns + "IDDocumentSN", ns + "IDDocumentType", ns + "IDIssuingCountry"}
		}
	}
	return nil
}

// known is everything that an account has, under the names of the generation,
// in the order of the documentation.
func (s *Simulator) known(l *login, p *sandbox.Person) members {
	i, today := p.Itsme, s.Clock.Now()
	belgian := i.Issuer == "BEL"
	out := members{{"name", p.Name}, {"given_name", p.Given}, {"family_name", p.Family}, {"gender", i.Gender}, {"locale", i.Locale}, {"birthdate", i.Born(today)}, {"email", i.Email}}
	if i.Email != "" {
		out = append(out, member{"email_verified", false})
	}
	out = append(out, member{"phone_number", i.Phone}, member{"phone_number_verified", true})
	if l.gen.number == 1 {
		return append(out, s.first(i)...)
	}
	if belgian && i.Street != "" {
		out = append(out, member{"address", members{{"locality", i.City}, {"street_address", i.Street}, {"postal_code", i.PostalCode}, {"formatted", i.Street + " " + i.PostalCode + " " + i.City}}})
	}
	if years, ok := i.Years(today); ok {
		for _, n := range []struct {
			name string
			age  int
		}{{"age_gte_16", 16}, {"age_gte_18", 18}, {"age_gte_21", 21}, {"age_gte_30", 30}} {
			out = append(out, member{n.name, years >= n.age})
		}
	}
	out = append(out, member{ns + "claim_citizenship", i.Citizenship}, member{ns + "claim_citizenship_as_iso", i.CitizenshipISO})
	if belgian {
		out = append(out, member{ns + "birthdate_as_string", i.BirthText}, member{ns + "BENationalNumber", i.NationalNumber}, member{ns + "BEeidSn", i.Document})
		if i.BirthPlace != "" {
			out = append(out, member{ns + "place_of_birth", members{{"city", i.BirthPlace}, {"formatted", i.BirthPlace}}})
		}
	}
	about := func(v string) members { return members{{"birthdate", v}, {"name", v}, {ns + "IDDocumentSN", v}} }
	out = append(out, member{ns + "IDDocumentSN", i.Document}, member{ns + "IDDocumentType", i.DocumentType}, member{ns + "IDIssuingCountry", about(i.Issuer)},
		member{ns + "validityTo", members{{ns + "IDDocumentSN", "2030-11-10T00:00:00Z"}}}, member{ns + "verificationDate", about("2023-04-12T15:02:23Z")})
	if belgian {
		out = append(out, member{ns + "validityFrom", members{{ns + "BEeidSn", "2020-11-10T00:00:00Z"}}}, member{ns + "issuance_locality", members{{ns + "BEeidSn", "BRUXELLES"}}})
	}
	return append(out, member{ns + "claim_device", device})
}

// device is the phone that everybody has here.
var device = members{{"os", "ANDROID"}, {"appName", "be.bmid.itsme.e2e"}, {"appRelease", "4.0.0"}, {"deviceLabel", "phone"}, {"debugEnabled", false},
	{"deviceId", "0123456789abcdef0123456789abcdef0"}, {"osRelease", "14"}, {"manufacturer", "ACME"}, {"deviceLockLevel", "true"}, {"rooted", false}, {"deviceModel", "A-100"}}

// first are the claims that only the first generation has.
func (s *Simulator) first(i *sandbox.Itsme) (out members) {
	const tag = "tag:sixdots.be,2016-06:"
	if i.Street != "" {
		raw, err := json.Marshal(members{{"country", "BE"}, {"street_address", i.Street}, {"locality", i.City}, {"postal_code", i.PostalCode}})
		if err != nil { // texts only
			panic(err)
		}
		out = append(out, member{"address", string(raw)})
	}
	out = append(out, member{tag + "claim_nationality", i.Citizenship}, member{tag + "claim_city_of_birth", i.BirthPlace})
	if n := i.NationalNumber; n != "" {
		out = append(out, member{tag + "claim_eid", members{{"eid", i.Document}, {"national_number", n[:2] + "." + n[2:4] + "." + n[4:6] + "-" + n[6:9] + "." + n[9:]}}})
	}
	return append(out, member{"tag:sixdots.be,2020-03:claim_birthdate_as_string", i.BirthText})
}
