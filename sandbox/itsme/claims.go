package itsme

import (
	"encoding/base64"
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
	if l.Own.level != "" || l.Own.gen.number == 1 || slices.Contains(l.Own.wants["id_token"], "acr") {
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
	for _, m := range s.known(l, p) {
		if a, ok := m.Value.(about); ok {
			m.Value = a.of(l)
		}
		if m.Value == nil || m.Value == "" {
			continue
		}
		for _, name := range under(l, m.Name, part) {
			out = append(out, openid.Member{Name: name, Value: m.Value})
		}
	}
	return out
}

// under are the names under which a claim is told in a part: its own, or, in the
// first generation, those spellings of it that were asked for.
func under(l *login, name, part string) (out []string) {
	if part != "id_token" && slices.ContainsFunc(l.Scopes, func(scope string) bool { return slices.Contains(byScope(l, scope), name) }) {
		out = append(out, name)
	}
	for at, wants := range l.Own.wants {
		if part != "" && part != at {
			continue
		}
		for _, want := range wants {
			if want == name || l.Own.gen.number == 1 && tag(name) != "" && tag(want) == tag(name) {
				out = append(out, want)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// asks says whether a claim is asked for, in whatever part.
func asks(l *login, name string) bool { return len(under(l, name, "")) > 0 }

// tag is what follows the last colon of a name of the first generation, which
// are published in several spellings (§5); "" for any other name.
func tag(name string) string {
	for _, prefix := range []string{"tag:sixdots.be,2016-06:", "tag:sixdots.be,2017-05:", "tag:itsmetag:sixdots.be,2016-06:"} {
		if strings.HasPrefix(name, prefix) {
			return name[strings.LastIndexByte(name, ':')+1:]
		}
	}
	return ""
}

// about is a claim about other claims: what it says of each (§5).
type about openid.Members

// of is what is said of those that the same request asks for; nil for nothing.
func (a about) of(l *login) any {
	var out openid.Members
	for _, m := range a {
		if asks(l, m.Name) {
			out = append(out, m)
		}
	}
	if out == nil {
		return nil
	}
	return out
}

// says makes one that says the same of some claims.
func says(v string, names ...string) (out about) {
	for _, name := range names {
		out = append(out, openid.Member{Name: name, Value: v})
	}
	return out
}

// byScope are the claims that a scope releases (§3).
func byScope(l *login, scope string) []string {
	first := l.Own.gen.number == 1
	switch {
	case scope == "profile" && first:
		return []string{"name", "given_name", "family_name", "gender", "locale", "birthdate"}
	case scope == "profile":
		return []string{"name", "given_name", "family_name", "gender", "locale", "birthdate", "picture"}
	case scope == "email":
		return []string{"email", "email_verified"}
	case scope == "phone":
		return []string{"phone_number", "phone_number_verified"}
	case scope == "address":
		return []string{"address"}
	case scope == "eid" && !first:
		return []string{ns + "BENationalNumber", ns + "BEeidSn"}
	case scope == "idDocument" && !first:
		return []string{ns + "IDDocumentSN", ns + "IDDocumentType", ns + "IDIssuingCountry", ns + "validityFrom", ns + "validityTo"}
	}
	return nil
}

// What everybody's document says.
const (
	issuedAt  = "BRUXELLES"
	validFrom = "2020-11-10T00:00:00Z"
	validTo   = "2030-11-10T00:00:00Z"
	readAt    = "2023-04-12T15:02:23Z"
)

// known is everything that an account has, under the names of the generation,
// in the order of the documentation.
func (s *Simulator) known(l *login, p *sandbox.Person) openid.Members {
	i := p.Itsme
	out := openid.Members{{Name: "name", Value: p.Name}, {Name: "given_name", Value: p.Given}, {Name: "family_name", Value: p.Family}, {Name: "birthdate", Value: i.Born(s.Clock.Now())}, {Name: "email", Value: i.Email}}
	if i.Email != "" {
		out = append(out, openid.Member{Name: "email_verified", Value: false})
	}
	out = append(out, openid.Member{Name: "phone_number", Value: i.Phone}, openid.Member{Name: "phone_number_verified", Value: true})
	if l.Own.gen.number == 1 {
		return append(out, first(i)...)
	}
	return append(out, s.second(l, i)...)
}

// second are the claims that only the second generation has, or has in a form
// of its own.
func (s *Simulator) second(l *login, i *sandbox.Itsme) openid.Members {
	today := s.Clock.Now()
	out := openid.Members{{Name: "gender", Value: i.Gender}, {Name: ns + "official_gender", Value: official[i.Gender]}, {Name: "locale", Value: i.Locale}, {Name: "picture", Value: s.issuer(l.Own.gen) + "/picture"}}
	if years, ok := i.Years(today); ok {
		for _, n := range []struct {
			name string
			age  int
		}{{"age_gte_16", 16}, {"age_gte_18", 18}, {"age_gte_21", 21}, {"age_gte_30", 30}} {
			out = append(out, openid.Member{Name: n.name, Value: years >= n.age})
		}
	}
	out = append(out, openid.Member{Name: ns + "claim_citizenship", Value: i.Citizenship}, openid.Member{Name: ns + "claim_citizenship_as_iso", Value: i.CitizenshipISO})
	if n := i.Register(); n != "" {
		out = append(out, openid.Member{Name: ns + n + "NationalNumber", Value: i.NationalNumber})
		if n == "SI" { // one page of the documentation spells it so
			out = append(out, openid.Member{Name: ns + "SVNationalNumber", Value: i.NationalNumber})
		}
	}
	numbers := []string{ns + "IDDocumentSN"}
	if i.Issuer == "BEL" {
		numbers = []string{ns + "BEeidSn", ns + "IDDocumentSN"}
		out = append(out, belgian(i)...)
	}
	all := append([]string{"birthdate", "name"}, numbers...)
	return append(out, openid.Member{Name: ns + "IDDocumentSN", Value: i.Document}, openid.Member{Name: ns + "IDDocumentType", Value: i.DocumentType},
		openid.Member{Name: ns + "IDIssuingCountry", Value: says(i.Issuer, all...)}, openid.Member{Name: ns + "validityTo", Value: says(validTo, numbers...)},
		openid.Member{Name: ns + "verificationDate", Value: says(readAt, all...)},
		openid.Member{Name: ns + "physical_person_photo", Value: openid.Members{{Name: "format", Value: "image/jpeg"}, {Name: "value", Value: base64.StdEncoding.EncodeToString(photo())}}},
		openid.Member{Name: ns + "claim_device", Value: device(i)},
		openid.Member{Name: ns + "app", Value: openid.Members{{Name: "appInstalledDate", Value: readAt}, {Name: "appName", Value: appName}, {Name: "appRelease", Value: appRelease}}},
		openid.Member{Name: ns + "account", Value: openid.Members{{Name: "activationDate", Value: readAt}, {Name: "activationMechanism", Value: "CONTACT_LESS"}}},
		openid.Member{Name: ns + "identification_mode", Value: "QR"}, openid.Member{Name: ns + "transaction_ip", Value: "192.0.2.1"}, openid.Member{Name: ns + "ongoing_call", Value: false})
}

// official is how documents print a gender.
var official = map[string]string{"male": "M", "female": "F"}

// belgian are the claims that only Belgian documents bring.
func belgian(i *sandbox.Itsme) openid.Members {
	out := openid.Members{{Name: ns + "birthdate_as_string", Value: i.BirthText}, {Name: ns + "BEeidSn", Value: i.Document},
		{Name: ns + "validityFrom", Value: says(validFrom, ns+"BEeidSn", ns+"IDDocumentSN")}, {Name: ns + "issuance_locality", Value: says(issuedAt, ns+"BEeidSn", ns+"IDDocumentSN")}}
	if i.Street != "" {
		out = append(out, openid.Member{Name: "address", Value: openid.Members{{Name: "locality", Value: i.City}, {Name: "street_address", Value: i.Street}, {Name: "postal_code", Value: i.PostalCode}, {Name: "formatted", Value: i.Street + " " + i.PostalCode + " " + i.City}}})
	}
	if place := filled("city", i.BirthPlace, "country", i.BirthCountry); place != nil {
		out = append(out, openid.Member{Name: ns + "place_of_birth", Value: append(place, openid.Member{Name: "formatted", Value: strings.TrimSpace(i.BirthPlace + " " + i.BirthCountry)})})
	}
	return out
}

// filled is an object of those texts that there are, from names and texts.
func filled(pairs ...string) (out openid.Members) {
	for n := 0; n+1 < len(pairs); n += 2 {
		if pairs[n+1] != "" {
			out = append(out, openid.Member{Name: pairs[n], Value: pairs[n+1]})
		}
	}
	return out
}

// The app that everybody has here.
const (
	appName    = "be.bmid.itsme.e2e"
	appRelease = "4.0.0"
)

// device is the phone that everybody has here, with their own number.
func device(i *sandbox.Itsme) openid.Members {
	return openid.Members{{Name: "os", Value: "ANDROID"}, {Name: "appName", Value: appName}, {Name: "appRelease", Value: appRelease}, {Name: "deviceLabel", Value: "phone"}, {Name: "debugEnabled", Value: false},
		{Name: "deviceId", Value: "0123456789abcdef0123456789abcdef0"}, {Name: "osRelease", Value: "14"}, {Name: "manufacturer", Value: "ACME"}, {Name: "deviceLockLevel", Value: "true"}, {Name: "rooted", Value: false}, {Name: "deviceModel", Value: "A-100"},
		{Name: "msisdn", Value: strings.NewReplacer("+", "00", " ", "").Replace(i.Phone)}}
}

// first are the claims that only the first generation has, or has in a form of
// its own.
func first(i *sandbox.Itsme) openid.Members {
	const tag, later = "tag:sixdots.be,2016-06:", "tag:sixdots.be,2017-05:"
	out := openid.Members{{Name: "locale", Value: strings.ToLower(i.Locale)}, {Name: tag + "claim_nationality", Value: i.Citizenship},
		{Name: later + "claim_device", Value: append(device(i), openid.Members{{Name: "hasSimEnabled", Value: true}, {Name: "smsEnabled", Value: true}, {Name: "imei", Value: "000000000000000"}, {Name: "sdkRelease", Value: "4.0.0"}}...)},
		{Name: later + "claim_photo", Value: base64.StdEncoding.EncodeToString(photo())},
		{Name: later + "claim_transaction_info", Value: openid.Members{{Name: "securityLevel", Value: "SOFT_ONLY"}, {Name: "bindLevel", Value: "SOFT_ONLY"}, {Name: "mcc", Value: 206}}}}
	if official[i.Gender] != "" { // it has no word for others
		out = append(out, openid.Member{Name: "gender", Value: i.Gender})
	}
	if strings.HasPrefix(i.DocumentType, "P") {
		out = append(out, openid.Member{Name: later + "claim_passport_sn", Value: i.Document})
	}
	if i.Issuer != "BEL" {
		return out
	}
	if i.Street != "" {
		raw, err := json.Marshal(openid.Members{{Name: "country", Value: "BE"}, {Name: "street_address", Value: i.Street}, {Name: "locality", Value: i.City}, {Name: "postal_code", Value: i.PostalCode}})
		if err != nil { // texts only
			panic(err)
		}
		out = append(out, openid.Member{Name: "address", Value: string(raw)})
	}
	number := i.NationalNumber
	if len(number) == 11 {
		number = number[:2] + "." + number[2:4] + "." + number[4:6] + "-" + number[6:9] + "." + number[9:]
	}
	return append(out, openid.Member{Name: tag + "claim_city_of_birth", Value: i.BirthPlace}, openid.Member{Name: tag + "claim_country_of_birth", Value: i.BirthCountry},
		openid.Member{Name: tag + "claim_eid", Value: filled("eid", i.Document, "issuance_locality", issuedAt, "validity_from", validFrom, "validity_to", validTo, "read_date", readAt, "national_number", number)},
		openid.Member{Name: "tag:sixdots.be,2020-03:claim_birthdate_as_string", Value: i.BirthText})
}
