package itsme

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

// ns begins the names of the second generation that are not OpenID's (§5).
const ns = "http://itsme.services/v2/claim/"

// about are the claims that say whose word a token is.
func (s *Simulator) about(l *login, p *sandbox.Person, fault string) openid.Members {
	now := s.Clock.Now()
	iss, aud, sub := s.issuer(l.Own.gen), l.Client.ID, s.subject(&l.Own.partner.Client, p)
	switch fault {
	case openid.OtherIssuer:
		iss = "https://idp.example/v2"
	case openid.OtherAudience:
		aud = "somebody"
	case openid.Over:
		now = now.Add(-time.Hour)
	}
	return openid.Members{{Name: "sub", Value: sub}, {Name: "aud", Value: aud}, {Name: "iss", Value: iss}, {Name: "exp", Value: now.Add(lifetime).Unix()}, {Name: "iat", Value: now.Unix()}}
}

func (s *Simulator) idToken(l *login, p *sandbox.Person, fault string) openid.Members {
	out := s.about(l, p, fault)
	if nonce := l.Nonce; nonce != "" {
		if fault == openid.OtherNonce {
			nonce = "another"
		}
		out = append(out, openid.Member{Name: "nonce", Value: nonce})
	}
	if l.Own.gen.number == 1 {
		out = append(out, openid.Member{Name: "auth_time", Value: l.Ended.Unix()})
	}
	if l.Own.level != "" || l.Own.gen.number == 1 {
		level := l.Own.level
		if level == "" {
			level = l.Own.gen.ns + "acr_basic"
		}
		out = append(out, openid.Member{Name: "acr", Value: level})
	}
	if l.Own.gen.number == 2 {
		out = append(out, s.person(l, p, "id_token")...)
	}
	return out
}

func (s *Simulator) info(l *login, p *sandbox.Person, fault string) openid.Members {
	out := s.about(l, p, fault)
	if fault == openid.OtherSubject {
		out[0].Value = strings.Repeat("0", 36)
	}
	return append(out, s.person(l, p, "userinfo")...)
}

// person is what is told of somebody: by scopes, in UserInfo, and what was
// asked for by name in that part; "" for all of it. What the account does not
// have is left out.
func (s *Simulator) person(l *login, p *sandbox.Person, part string) (out openid.Members) {
	known := s.known(l, p)
	asked := func(m openid.Member) bool {
		if part != "id_token" && slices.ContainsFunc(l.Scopes, func(scope string) bool { return slices.Contains(byScope(l, scope), m.Name) }) {
			return true
		}
		if part == "" {
			return slices.Contains(l.Own.wants["id_token"], m.Name) || slices.Contains(l.Own.wants["userinfo"], m.Name)
		}
		return slices.ContainsFunc(l.Own.wants[part], func(want string) bool { return want == m.Name || l.Own.gen.number == 1 && sameTag(want, m.Name) })
	}
	for _, m := range known {
		if m.Value != "" && m.Value != nil && asked(m) {
			out = append(out, spelled(l, m, part))
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
func spelled(l *login, m openid.Member, part string) openid.Member {
	for _, want := range l.Own.wants[part] {
		if l.Own.gen.number == 1 && sameTag(want, m.Name) {
			m.Name = want
		}
	}
	return m
}

// byScope are the claims that a scope releases (§3).
func byScope(l *login, scope string) []string {
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
		if l.Own.gen.number == 2 {
			return []string{ns + "BENationalNumber", ns + "BEeidSn"}
		}
	case "idDocument":
		if l.Own.gen.number == 2 {
			return []string{ns + "IDDocumentSN", ns + "IDDocumentType", ns + "IDIssuingCountry"}
		}
	}
	return nil
}

// known is everything that an account has, under the names of the generation,
// in the order of the documentation.
func (s *Simulator) known(l *login, p *sandbox.Person) openid.Members {
	i, today := p.Itsme, s.Clock.Now()
	belgian := i.Issuer == "BEL"
	out := openid.Members{{Name: "name", Value: p.Name}, {Name: "given_name", Value: p.Given}, {Name: "family_name", Value: p.Family}, {Name: "gender", Value: i.Gender}, {Name: "locale", Value: i.Locale}, {Name: "birthdate", Value: i.Born(today)}, {Name: "email", Value: i.Email}}
	if i.Email != "" {
		out = append(out, openid.Member{Name: "email_verified", Value: false})
	}
	out = append(out, openid.Member{Name: "phone_number", Value: i.Phone}, openid.Member{Name: "phone_number_verified", Value: true})
	if l.Own.gen.number == 1 {
		return append(out, s.first(i)...)
	}
	if belgian && i.Street != "" {
		out = append(out, openid.Member{Name: "address", Value: openid.Members{{Name: "locality", Value: i.City}, {Name: "street_address", Value: i.Street}, {Name: "postal_code", Value: i.PostalCode}, {Name: "formatted", Value: i.Street + " " + i.PostalCode + " " + i.City}}})
	}
	if years, ok := i.Years(today); ok {
		for _, n := range []struct {
			name string
			age  int
		}{{"age_gte_16", 16}, {"age_gte_18", 18}, {"age_gte_21", 21}, {"age_gte_30", 30}} {
			out = append(out, openid.Member{Name: n.name, Value: years >= n.age})
		}
	}
	out = append(out, openid.Member{Name: ns + "claim_citizenship", Value: i.Citizenship}, openid.Member{Name: ns + "claim_citizenship_as_iso", Value: i.CitizenshipISO})
	if belgian {
		out = append(out, openid.Member{Name: ns + "birthdate_as_string", Value: i.BirthText}, openid.Member{Name: ns + "BENationalNumber", Value: i.NationalNumber}, openid.Member{Name: ns + "BEeidSn", Value: i.Document})
		if i.BirthPlace != "" {
			out = append(out, openid.Member{Name: ns + "place_of_birth", Value: openid.Members{{Name: "city", Value: i.BirthPlace}, {Name: "formatted", Value: i.BirthPlace}}})
		}
	}
	about := func(v string) openid.Members {
		return openid.Members{{Name: "birthdate", Value: v}, {Name: "name", Value: v}, {Name: ns + "IDDocumentSN", Value: v}}
	}
	out = append(out, openid.Member{Name: ns + "IDDocumentSN", Value: i.Document}, openid.Member{Name: ns + "IDDocumentType", Value: i.DocumentType}, openid.Member{Name: ns + "IDIssuingCountry", Value: about(i.Issuer)},
		openid.Member{Name: ns + "validityTo", Value: openid.Members{{Name: ns + "IDDocumentSN", Value: "2030-11-10T00:00:00Z"}}}, openid.Member{Name: ns + "verificationDate", Value: about("2023-04-12T15:02:23Z")})
	if belgian {
		out = append(out, openid.Member{Name: ns + "validityFrom", Value: openid.Members{{Name: ns + "BEeidSn", Value: "2020-11-10T00:00:00Z"}}}, openid.Member{Name: ns + "issuance_locality", Value: openid.Members{{Name: ns + "BEeidSn", Value: "BRUXELLES"}}})
	}
	return append(out, openid.Member{Name: ns + "claim_device", Value: device})
}

// device is the phone that everybody has here.
var device = openid.Members{{Name: "os", Value: "ANDROID"}, {Name: "appName", Value: "be.bmid.itsme.e2e"}, {Name: "appRelease", Value: "4.0.0"}, {Name: "deviceLabel", Value: "phone"}, {Name: "debugEnabled", Value: false},
	{Name: "deviceId", Value: "0123456789abcdef0123456789abcdef0"}, {Name: "osRelease", Value: "14"}, {Name: "manufacturer", Value: "ACME"}, {Name: "deviceLockLevel", Value: "true"}, {Name: "rooted", Value: false}, {Name: "deviceModel", Value: "A-100"}}

// first are the claims that only the first generation has.
func (s *Simulator) first(i *sandbox.Itsme) (out openid.Members) {
	const tag = "tag:sixdots.be,2016-06:"
	if i.Street != "" {
		raw, err := json.Marshal(openid.Members{{Name: "country", Value: "BE"}, {Name: "street_address", Value: i.Street}, {Name: "locality", Value: i.City}, {Name: "postal_code", Value: i.PostalCode}})
		if err != nil { // texts only
			panic(err)
		}
		out = append(out, openid.Member{Name: "address", Value: string(raw)})
	}
	out = append(out, openid.Member{Name: tag + "claim_nationality", Value: i.Citizenship}, openid.Member{Name: tag + "claim_city_of_birth", Value: i.BirthPlace})
	if n := i.NationalNumber; n != "" {
		out = append(out, openid.Member{Name: tag + "claim_eid", Value: openid.Members{{Name: "eid", Value: i.Document}, {Name: "national_number", Value: n[:2] + "." + n[2:4] + "." + n[4:6] + "-" + n[6:9] + "." + n[9:]}}})
	}
	return append(out, openid.Member{Name: "tag:sixdots.be,2020-03:claim_birthdate_as_string", Value: i.BirthText})
}
